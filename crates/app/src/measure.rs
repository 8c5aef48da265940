//! Numbers about the whole instance, for metrics.

use crate::{app::App, error::Error};
use crossfade_core::Timestamp;
use crossfade_store::Fault;
use std::{
    sync::{Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

/// How the instance is.
#[derive(Clone, Debug, Default)]
pub struct Gauges {
    /// Registrations that this node decides.
    pub registrations: i64,
    /// What the database tells. None while it does not answer.
    pub stored: Option<StoredGauges>,
    /// What keeps changes from being stored; None while they work.
    pub changes_failing: Option<Fault>,
    /// Changes that failed since the start, by what kept them from being stored.
    pub changes_failed: Vec<(&'static str, u64)>,
    /// The time that decides secrets less the machine's time.
    pub clock_offset_seconds: f64,
    /// Sign-ins that wait because of failures at their account.
    pub sign_ins_waiting: i64,
    /// Changes that the tables had applied and the database has lost, since the start.
    pub changes_lost: u64,
    /// Rows of evidence that the database refused, since the start.
    pub evidence_set_aside: u64,
    /// Stored rows that cannot be read, and whose subjects are refused.
    pub unreadable_rows: i64,
    /// Whether this node holds the lock on the database.
    pub holds_lock: bool,
    /// Client authentications since the start, by outcome.
    pub authentications: Vec<(&'static str, u64)>,
}

/// The part of the numbers that is read from the database.
#[derive(Clone, Copy, Debug, Default)]
pub struct StoredGauges {
    /// Secrets that are retiring.
    pub transitions_running: i64,
    /// Current secrets older than their environment allows.
    pub secrets_overdue: i64,
    /// Stored changes that this node's tables have not applied.
    pub changes_behind: i64,
}

/// Overdue secrets are counted over all registrations, so not for every scrape.
const COUNTED_EVERY: Duration = Duration::from_secs(60);

/// What was counted, and when.
#[derive(Default)]
pub(crate) struct Counted(Mutex<Option<(Timestamp, i64)>>);

impl App {
    /// Measures the instance. A database that does not answer is no reason to tell nothing.
    pub async fn measure(&self) -> Gauges {
        let stored = self.measure_stored().await;
        if let Err(error) = &stored {
            tracing::warn!(%error, "cannot read the numbers that the database has");
        }
        Gauges {
            registrations: i64::try_from(self.authority.registrations()).unwrap_or(i64::MAX),
            stored: stored.ok(),
            changes_failing: self.changes.failing(),
            changes_failed: self.changes.failed(),
            clock_offset_seconds: self.clock_offset_seconds(),
            sign_ins_waiting: i64::try_from(self.throttle.waits.len()).unwrap_or(i64::MAX),
            changes_lost: self.feed.losses().1,
            evidence_set_aside: self.set_aside.load(Ordering::Relaxed),
            unreadable_rows: i64::try_from(self.feed.unreadable.count()).unwrap_or(i64::MAX),
            holds_lock: self.hold.why_lost().is_none(),
            authentications: self.authority.evidence().totals(),
        }
    }

    /// Counts over all registrations may be a minute old.
    async fn measure_stored(&self) -> Result<StoredGauges, Error> {
        let now = self.clock.now();
        let known = *self.counted.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.filter(|(at, _)| now < at.after(COUNTED_EVERY)).map(|(_, overdue)| overdue);
        let (stored, running, overdue) = self
            .read(async |tx| {
                let overdue = match known {
                    Some(overdue) => overdue,
                    None => tx.overdue_secrets(now).await?,
                };
                Ok((tx.read_head().await?.0, tx.count_retiring(now).await?, overdue))
            })
            .await?;
        if known.is_none() {
            *self.counted.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, overdue));
        }
        Ok(StoredGauges {
            transitions_running: running,
            secrets_overdue: overdue,
            changes_behind: stored.saturating_sub(self.applied()).max(0),
        })
    }
}
