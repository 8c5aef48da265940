//! This node's lease on PostgreSQL: asked for again long before it ends, and used only once the tables have applied what
//! the database had when it granted it.

use crate::{error::Error, node::state::Node};
use crossfade_authority::{LeaseAsked, MAX_UNCERTAINTY};
use crossfade_core::{NodeId, Timestamp, api};
use crossfade_store::{Fault, Granted, LeaseRequest, ServeLock, StoreError, Wake};
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
/// How often a node that is behind applies what it lacks and asks again.
const TRIES: u32 = 5;
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
    /// Why no lease was granted when it was last asked for.
    failing: Mutex<Option<String>>,
}

/// A look at the lock, which this process held.
#[derive(Clone, Copy)]
pub(crate) struct Looked {
    /// Before the look.
    pub(crate) at: LeaseAsked,
    /// Whether the tables had applied every change that the database had, and no other server could make any.
    pub(crate) was_alone: bool,
}

impl Own {
    pub(crate) fn new(id: NodeId, options: NodeOptions, started_at: Timestamp) -> Self {
        let (granted, heard, failing) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { id, options, started_at, granted, heard, is_released: AtomicBool::new(false), failing }
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

    /// Asks for a lease at the next occasion, because the database may have lost the last one.
    pub(crate) fn forget_lease(&self) {
        *self.granted.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Returns why no lease was granted when it was last asked for.
    pub(crate) fn failing(&self) -> Option<String> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether announcements have arrived lately: each renewal is one.
    fn hears(&self) -> bool {
        let heard = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.is_some_and(|heard| heard.elapsed() < 2 * self.renewed_every() + ANNOUNCED_WITHIN)
    }
}

impl Node {
    /// Asks for a longer lease, if it is time. Otherwise the present one goes on to its end. While the database refuses to
    /// store anything, the lock is enough: at `looked`, this process was the only one that serves.
    pub(crate) async fn renew_lease(&self, lock: &mut ServeLock, looked: Looked) {
        let is_due = self.own.is_due() || !self.lease.holds();
        if self.own.is_released.load(Ordering::SeqCst) || !is_due {
            return;
        }
        if !self.lease.holds() && lock.can_be_lost() {
            // Another node may have led since.
            self.follows();
        }
        let failed = self.ask_until_granted(lock, looked).await.err().map(|error| error.to_string());
        if failed.is_none() {
            self.lead(lock).await;
        }
        let mut failing = self.own.failing.lock().unwrap_or_else(PoisonError::into_inner);
        if failed != *failing
            && let Some(error) = &failed
        {
            tracing::warn!(error, "no lease is granted; this server decides until its present one ends");
        }
        *failing = failed;
    }

    async fn ask_until_granted(&self, lock: &mut ServeLock, looked: Looked) -> Result<(), Error> {
        self.know_time().await?;
        for _ in 0..TRIES {
            match self.ask_for_lease(lock, looked).await? {
                Granted::Lease(_) | Granted::NotNeeded => return Ok(()),
                Granted::Behind => {
                    let within = self.own.renewed_every();
                    timeout(within, self.apply_changes()).await.map_err(|_| late(within))??;
                }
            }
        }
        Err(Error::internal("other processes change the database faster than this server applies it"))
    }

    async fn ask_for_lease(&self, lock: &mut ServeLock, looked: Looked) -> Result<Granted, Error> {
        // Before the question, from which the lease counts.
        let (began, asked, time) = (Instant::now(), LeaseAsked::now(), self.clock.ask());
        let request = LeaseRequest {
            id: &self.own.id,
            name: &self.own.options.name,
            started_at: self.own.started_at,
            length: self.own.options.lease,
            applied: self.feed.position(),
            uncertainty: self.clock.uncertainty().unwrap_or_default(),
        };
        // A longer lease must be visible to others before the present one ends.
        let (within, without_lock) = (
            self.own.renewed_every(),
            self.own.lease_until().is_some() && self.lease.remaining() >= self.own.options.lease / 2,
        );
        match timeout(within, lock.renew(request, without_lock)).await.map_err(|_| late(within))? {
            // The machine may have been suspended meanwhile.
            Ok(Granted::Lease(_)) if asked.elapsed() > within => Err(late(within).into()),
            Ok(Granted::Lease(grant)) => {
                self.clock.calibrate(grant.at, time);
                if !self.lease.holds() {
                    // Another node may have taken this one for stopped, and no longer waits for what it has seen.
                    self.asked_to_record.notify_one();
                }
                self.lease.extend(asked, self.own.options.lease);
                timeout(within, lock.share()).await.map_err(|_| late(within))??;
                *self.own.granted.lock().unwrap_or_else(PoisonError::into_inner) = Some((grant.until, began));
                Ok(Granted::Lease(grant))
            }
            Err(error) if [Fault::Full, Fault::ReadOnly].contains(&error.fault()) && looked.was_alone => {
                tracing::warn!(%error, "the database stores no lease; this server decides because no other can serve");
                self.lease.extend(looked.at, self.own.options.lease);
                // The lease in the database may end meanwhile, so the next one is asked for under the lock.
                self.own.forget_lease();
                Ok(Granted::NotNeeded)
            }
            Err(error) if [Fault::Full, Fault::ReadOnly].contains(&error.fault()) => {
                // The next look counts, at which no other server was there.
                timeout(within, lock.keep_out_others()).await.map_err(|_| late(within))??;
                Err(error.into())
            }
            done => Ok(done?),
        }
    }

    /// Fails if the time of the database is not known well enough to decide by it.
    async fn know_time(&self) -> Result<(), Error> {
        let uncertainty = || self.clock.uncertainty().unwrap_or_default();
        if uncertainty() > MAX_UNCERTAINTY {
            self.calibrate().await?;
        }
        if uncertainty() <= MAX_UNCERTAINTY {
            return Ok(());
        }
        let text = format!(
            "the time of the database is known only to {} ms; a node that knows less than {} ms takes no lease",
            uncertainty().as_millis(),
            MAX_UNCERTAINTY.as_millis()
        );
        Err(Error::internal(text))
    }

    /// Gives up the lease of a node that stops, so that nobody waits for it.
    pub(crate) async fn release_lease(&self, lock: &mut ServeLock) {
        if !lock.can_be_lost() {
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
                        Ok(Wake::Evidence(node)) => {
                            if node != self.own.id.as_str() {
                                self.asked_to_record.notify_one();
                            }
                            continue;
                        }
                        Ok(Wake::Change(_)) => {}
                        Err(_) => self.look_whether_asked().await,
                    }
                    if self.hold.why_lost().is_some() || !self.follow_log().await {
                        continue;
                    }
                    self.note_ends_of_others().await;
                    let within = self.own.renewed_every();
                    match timeout(within, wakes.acknowledge(&self.own.id, self.feed.applied())).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => {
                            tracing::warn!(%error, "cannot say what this node has applied");
                            break;
                        }
                        Err(_) => {
                            tracing::warn!(
                                "cannot say what this node has applied: the database does not respond"
                            );
                            break;
                        }
                    }
                },
                Err(error) => {
                    tracing::warn!(%error, "cannot connect to what announces changes");
                    if self.hold.why_lost().is_none() {
                        self.follow_log().await;
                    }
                }
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
            leads: true,
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
