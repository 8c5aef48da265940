//! This node's lease on PostgreSQL: asked for again long before it ends, and used only once the tables have applied what
//! the database had when it granted it.

use crate::{error::Error, node::state::Node};
use crossfade_authority::{LeaseAsked, MAX_UNCERTAINTY};
use crossfade_core::{NodeId, Timestamp, api};
use crossfade_store::{Fault, LeaseRequest, ServeLock, StoreError, Wake};
use std::{
    convert::Infallible,
    ops::RangeInclusive,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, sleep, timeout};

/// How long a lease can last, in seconds. At least three renewals and the margin fit in.
pub const LEASE_SECONDS: RangeInclusive<u64> = 2..=120;
/// Length of a lease if no other is set.
pub const DEFAULT_LEASE: Duration = Duration::from_secs(15);
/// How often a lease is asked for again while it lasts.
const RENEWALS: u32 = 4;
/// How long a node waits for a change to be announced, if announcements arrive, and if they do not.
const ANNOUNCED_WITHIN: Duration = Duration::from_secs(1);
const POLLED_EVERY: Duration = Duration::from_millis(100);
/// Pause before the connection for announcements is opened again.
const CONNECTED_EVERY: Duration = Duration::from_secs(1);

/// How this process is called, and how long its leases last.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// Name for people.
    pub name: String,
    /// Length of a lease.
    pub lease: Duration,
}

/// This process as a node.
pub(crate) struct Own {
    pub(crate) id: NodeId,
    pub(crate) options: NodeOptions,
    pub(crate) started_at: Timestamp,
    /// Until when the database has granted it a lease, and when that was asked for; `None` before the first.
    granted: Mutex<Option<(Timestamp, Instant)>>,
    /// When this node last heard of itself, by which it knows that announcements arrive.
    heard: Mutex<Option<Instant>>,
    /// Whether it has given up its lease for good.
    is_released: AtomicBool,
}

impl Own {
    pub(crate) fn new(id: NodeId, options: NodeOptions, started_at: Timestamp) -> Self {
        let (granted, heard) = (Mutex::default(), Mutex::default());
        Self { id, options, started_at, granted, heard, is_released: AtomicBool::new(false) }
    }

    /// Returns until when the database has granted this node a lease; `None` if it has none.
    pub(crate) fn lease_until(&self) -> Option<Timestamp> {
        self.granted.lock().unwrap_or_else(PoisonError::into_inner).map(|(until, _)| until)
    }

    /// Returns the pause between two renewals.
    pub(crate) fn renewed_every(&self) -> Duration {
        self.options.lease / RENEWALS
    }

    fn is_due(&self) -> bool {
        let granted = *self.granted.lock().unwrap_or_else(PoisonError::into_inner);
        granted.is_none_or(|(_, asked)| asked.elapsed() >= self.renewed_every())
    }

    /// Whether announcements have arrived lately: each renewal is one.
    fn hears(&self) -> bool {
        let heard = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.is_some_and(|heard| heard.elapsed() < 2 * self.renewed_every() + ANNOUNCED_WITHIN)
    }
}

impl Node {
    /// Asks for a longer lease, if it is time. The tables must have applied what the database had then, before the lease
    /// counts. While the database refuses to store anything, the lock is enough: after `looked`, this process was the only
    /// one that serves, and nothing can end.
    pub(crate) async fn renew_lease(&self, lock: &mut ServeLock, looked: LeaseAsked) -> Result<(), Error> {
        if self.own.is_released.load(Ordering::SeqCst) || !self.own.is_due() {
            return Ok(());
        }
        let uncertainty = self.clock.uncertainty().unwrap_or_default();
        if uncertainty > MAX_UNCERTAINTY {
            self.calibrate().await?;
        }
        let uncertainty = self.clock.uncertainty().unwrap_or_default();
        if uncertainty > MAX_UNCERTAINTY {
            let text = format!(
                "the time of the database is known only to {} ms; a node that knows less than {} ms takes no lease",
                uncertainty.as_millis(),
                MAX_UNCERTAINTY.as_millis()
            );
            return Err(Error::internal(text));
        }
        // Before the question, from which the lease counts.
        let (began, asked, time) = (Instant::now(), LeaseAsked::now(), self.clock.ask());
        let request = LeaseRequest {
            id: &self.own.id,
            name: &self.own.options.name,
            started_at: self.own.started_at,
            length: self.own.options.lease,
            applied: self.feed.applied(),
            uncertainty,
        };
        let within = self.own.renewed_every();
        let granted = match timeout(within, lock.renew(request)).await.map_err(|_| late(within))? {
            Err(error) if [Fault::Full, Fault::ReadOnly, Fault::Denied].contains(&error.fault()) => {
                tracing::debug!(%error, "the database stores no lease");
                self.lease.extend(looked, self.own.options.lease);
                return Ok(());
            }
            granted => granted?,
        };
        let Some(grant) = granted else { return Ok(()) };
        self.clock.calibrate(grant.at, time);
        if self.feed.applied() < grant.seq {
            self.apply_changes().await?;
        }
        if self.feed.applied() < grant.seq {
            return Err(Error::internal(
                "the tables lack a change that the database had when it granted the lease",
            ));
        }
        self.lease.extend(asked, self.own.options.lease);
        *self.own.granted.lock().unwrap_or_else(PoisonError::into_inner) = Some((grant.until, began));
        Ok(())
    }

    /// Gives up the lease of a node that stops, so that nobody waits for it.
    pub(crate) async fn release_lease(&self, lock: &mut ServeLock) {
        if self.own.lease_until().is_none() {
            return;
        }
        // In this order: what was decided before it is given up was decided with it.
        self.own.is_released.store(true, Ordering::SeqCst);
        self.lease.end();
        let within = self.own.renewed_every();
        match timeout(within, lock.release_lease(&self.own.id)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "cannot give up the lease, which ends by itself"),
            Err(_) => tracing::warn!("cannot give up the lease, which ends by itself"),
        }
    }

    /// Applies changes of other processes as soon as they are announced, and says so. Polls where no announcement
    /// arrives.
    pub(crate) async fn follow_announcements(&self) -> Infallible {
        loop {
            match self.db.wakes().await {
                Ok(mut wakes) => loop {
                    let pause = if self.own.hears() { ANNOUNCED_WITHIN } else { POLLED_EVERY };
                    match timeout(pause, wakes.next()).await {
                        Ok(Wake::Broken) => break,
                        Ok(Wake::Change(Some(node))) if node == self.own.id.as_str() => continue,
                        Ok(Wake::Node(node)) => {
                            if node == self.own.id.as_str() {
                                *self.own.heard.lock().unwrap_or_else(PoisonError::into_inner) =
                                    Some(Instant::now());
                            }
                            self.said.notify_waiters();
                            continue;
                        }
                        Ok(Wake::Change(_)) | Err(_) => {}
                    }
                    if self.hold.why_lost().is_some() {
                        continue;
                    }
                    self.follow_log().await;
                    if let Err(error) = wakes.acknowledge(&self.own.id, self.feed.applied()).await {
                        tracing::warn!(%error, "cannot say what this node has applied");
                        break;
                    }
                },
                Err(error) => tracing::warn!(%error, "cannot connect to what announces changes"),
            }
            *self.own.heard.lock().unwrap_or_else(PoisonError::into_inner) = None;
            sleep(CONNECTED_EVERY).await;
        }
    }

    /// Returns this node as it knows itself.
    pub(crate) fn own_node(&self) -> api::Node {
        api::Node {
            id: self.own.id.clone(),
            name: self.own.options.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: self.own.started_at,
            lease_until: self.own.lease_until(),
            applied: self.feed.applied(),
            uncertainty_ms: millis(self.clock.uncertainty().unwrap_or_default()),
        }
    }
}

/// Returns a duration in milliseconds, with three decimals.
pub(crate) fn millis(span: Duration) -> f64 {
    span.as_micros() as f64 / 1000.0
}

fn late(within: Duration) -> StoreError {
    let text = format!("no lease was granted within {} ms", within.as_millis());
    StoreError::Open(text)
}
