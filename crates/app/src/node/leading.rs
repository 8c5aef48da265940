//! Which node leads: it does what one node at a time is enough for, such as the jobs and the sending of messages. Another
//! takes over when its lease has ended or was given up.

use crate::{error::Error, node::state::Node};
use crossfade_store::{ServeLock, Tx};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::time::timeout;

tokio::task_local! {
    /// Set while a task does what only the node that leads does.
    static LEADS: ();
}

/// Whether this node leads.
pub(crate) struct Leading {
    leads: AtomicBool,
    /// Whether others could lead. A process that takes no lease is alone.
    has_others: AtomicBool,
    /// Whether another node had a lease when this one last looked.
    is_beside_others: AtomicBool,
    /// How often it has begun to lead.
    begun: AtomicU64,
}

impl Leading {
    pub(crate) fn new() -> Self {
        Self {
            leads: AtomicBool::new(true),
            has_others: AtomicBool::new(false),
            is_beside_others: AtomicBool::new(false),
            begun: AtomicU64::new(0),
        }
    }

    /// Whether another node had a lease when this one last asked for its own.
    pub(crate) fn is_beside_others(&self) -> bool {
        self.is_beside_others.load(Ordering::SeqCst)
    }
}

impl Node {
    /// Whether this node leads, as far as it knows. It must also hold its lease.
    pub(crate) fn leads(&self) -> bool {
        self.leading.leads.load(Ordering::SeqCst) && self.lease.holds()
    }

    /// Returns how often this node has begun to lead. What it knew of the work before is out of date then.
    pub(crate) fn led(&self) -> u64 {
        self.leading.begun.load(Ordering::SeqCst)
    }

    /// Finds out whether this node leads. Takes over if no other node does.
    pub(crate) async fn lead(&self, lock: &mut ServeLock) {
        self.leading.has_others.store(lock.can_be_lost(), Ordering::SeqCst);
        let found = timeout(self.own.renewed_every(), lock.lead(&self.own.id)).await;
        let (leads, is_beside_others) = found.unwrap_or(Ok((false, true))).unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot find out which node leads");
            (false, true)
        });
        self.leading.is_beside_others.store(is_beside_others, Ordering::SeqCst);
        if leads && !self.leading.leads.swap(leads, Ordering::SeqCst) {
            self.leading.begun.fetch_add(1, Ordering::SeqCst);
            tracing::info!("this node leads");
        }
        self.leading.leads.store(leads, Ordering::SeqCst);
    }

    /// Notes that this node does not lead before it has found out whether it does.
    pub(crate) fn follows(&self) {
        self.leading.leads.store(false, Ordering::SeqCst);
    }

    /// Runs `work`, which changes nothing any more once another node leads.
    pub(crate) async fn while_leading(
        &self,
        work: impl Future<Output = Result<(), Error>>,
    ) -> Result<(), Error> {
        match LEADS.scope((), work).await {
            Err(error) if !self.leads() => {
                tracing::info!(%error, "another node leads, and does what was begun here");
                Ok(())
            }
            done => done,
        }
    }

    /// Refuses a change of what only the node that leads does, if this one does not any more.
    pub(crate) async fn must_lead(&self, tx: &mut Tx) -> Result<(), Error> {
        let is_bound = LEADS.try_with(|()| ()).is_ok() && self.leading.has_others.load(Ordering::SeqCst);
        if is_bound && !tx.leads(&self.own.id).await? {
            self.follows();
            return Err(Error::internal("another node leads"));
        }
        Ok(())
    }
}
