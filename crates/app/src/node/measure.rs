//! Metrics of the complete instance.

use crate::{
    error::Error,
    history::journal::Journal,
    messages::{posting::WebhookState, sending::MailState},
    node::state::Node,
    trail::shipping::SinkState,
};
use crossfade_core::{Timestamp, guard::Mark, messages::Channel};
use crossfade_store::{DeliveryQueue, Fault};
use std::{
    path::Path,
    sync::{Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

/// State of the instance.
#[derive(Clone, Debug, Default)]
pub struct Gauges {
    /// Registrations loaded on this node.
    pub registrations: i64,
    /// Values from the database; `None` while it does not answer.
    pub stored: Option<StoredGauges>,
    /// What prevents changes from being stored; `None` while they work.
    pub changes_failing: Option<Fault>,
    /// Number of changes that failed since the start, by kind of failure.
    pub changes_failed: Vec<(&'static str, u64)>,
    /// The time used for secrets minus the machine's time.
    pub clock_offset_seconds: f64,
    /// Sign-ins waiting because of failures at their account.
    pub sign_ins_waiting: i64,
    /// Changes that the tables had applied and the database has lost, since the start.
    pub changes_lost: u64,
    /// Rows of evidence that the database refused, since the start.
    pub evidence_set_aside: u64,
    /// Runs of the background jobs in which one failed, since the start.
    pub jobs_failed: u64,
    /// Disk of the database file; `None` on PostgreSQL, or if it cannot be read.
    pub disk: Option<Disk>,
    /// Stored rows that cannot be read, and whose subjects are refused.
    pub unreadable_rows: i64,
    /// Whether this node holds the lock on the database.
    pub holds_lock: bool,
    /// Whether this node may decide.
    pub may_decide: bool,
    /// How far this node's time can be from that of the database, in seconds; 0 on SQLite.
    pub clock_uncertainty_seconds: f64,
    /// By how many seconds this machine's wall clock is ahead of the database's; 0 on SQLite.
    pub own_clock_offset_seconds: f64,
    /// Whether the instance is in quarantine.
    pub is_quarantined: bool,
    /// Whether the journal cannot be written.
    pub is_journal_failing: bool,
    /// Whether the audit trail was written again in the database, so that nothing about it is signed.
    pub is_trail_altered: bool,
    /// Client authentications since the start, by outcome.
    pub authentications: Vec<(&'static str, u64)>,
    /// Destinations of the audit trail.
    pub sinks: Vec<SinkState>,
    /// What this process knows of its mail.
    pub mail: MailState,
    /// What this process knows of its deliveries to webhooks.
    pub webhooks: WebhookState,
    /// Requests for other issuers since the start, by outcome.
    pub relayed: Vec<(&'static str, u64)>,
}

/// The values that are read from the database.
#[derive(Clone, Copy, Debug, Default)]
pub struct StoredGauges {
    /// Retiring secrets.
    pub transitions_running: i64,
    /// Current secrets older than their environment allows.
    pub secrets_overdue: i64,
    /// Clients without an owner.
    pub clients_ownerless: i64,
    /// Retiring secrets by the most urgent warning sent for their deadline, in hours.
    pub secrets_warned: [(i64, i64); 3],
    /// End of the last gap in the evidence in which uses may be missing; `None` if there is no such gap.
    pub evidence_lost_until: Option<Timestamp>,
    /// Stored changes that this node's tables have not applied.
    pub changes_behind: i64,
    /// Messages that wait to be sent.
    pub mail_queued: i64,
    /// Seconds since the oldest of them was queued.
    pub mail_oldest_seconds: i64,
    /// Deliveries to webhooks that wait.
    pub webhooks_queued: i64,
    /// Seconds since the oldest of them was queued.
    pub webhooks_oldest_seconds: i64,
    /// Webhooks that were disabled because of their receivers.
    pub webhooks_disabled: i64,
    /// Enabled webhooks whose last attempts failed.
    pub webhooks_failing: i64,
}

/// Space on a disk, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Space that this process can still use.
    pub free: u64,
    /// Size of the disk.
    pub size: u64,
}

impl Disk {
    /// Reads the disk of a directory; `None` if it cannot be read.
    fn of(directory: &Path) -> Option<Self> {
        let found = rustix::fs::statvfs(directory).ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        Some(Self { free: bytes(found.f_bavail), size: bytes(found.f_blocks) })
    }
}

/// Interval for counting overdue and warned secrets. Counting reads all registrations, so it is not done for every
/// scrape.
const COUNTED_EVERY: Duration = Duration::from_secs(60);

/// The last counts and their time.
#[derive(Default)]
pub(crate) struct Counted(Mutex<Option<(Timestamp, Counts)>>);

#[derive(Clone, Copy)]
struct Counts {
    overdue: i64,
    ownerless: i64,
    warned: [(Mark, i64); 3],
    lost_until: Option<Timestamp>,
}

impl Node {
    /// Measures the instance. If the database does not answer, returns the other values.
    pub(crate) async fn measure(&self) -> Gauges {
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
            jobs_failed: self.jobs_failed.load(Ordering::Relaxed),
            disk: self.db.directory().and_then(Disk::of),
            unreadable_rows: i64::try_from(self.feed.unreadable.count()).unwrap_or(i64::MAX),
            holds_lock: self.hold.why_lost().is_none(),
            may_decide: self.lease.holds(),
            clock_uncertainty_seconds: self.clock.uncertainty().unwrap_or_default().as_secs_f64(),
            own_clock_offset_seconds: self.own_clock_offset_seconds(),
            is_quarantined: self.quarantine().is_some(),
            is_journal_failing: self.journal.as_ref().and_then(Journal::failing).is_some(),
            is_trail_altered: self.chain_end.altered_after().is_some(),
            authentications: self.authority.evidence().totals(),
            sinks: Vec::new(),
            mail: MailState::default(),
            webhooks: WebhookState::default(),
            relayed: Vec::new(),
        }
    }

    /// Reads the values from the database. Counts over all registrations can be a minute old.
    async fn measure_stored(&self) -> Result<StoredGauges, Error> {
        let now = self.clock.now();
        let known = *self.counted.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.filter(|(at, _)| now < at.after(COUNTED_EVERY)).map(|(_, counts)| counts);
        let (stored, running, counts, mail, (webhooks, disabled, failing)) = self
            .read(async |tx| {
                let counts = match known {
                    Some(counts) => counts,
                    None => Counts {
                        overdue: tx.overdue_secrets(now).await?,
                        ownerless: tx.ownerless_clients().await?,
                        warned: tx.warned_secrets(now).await?,
                        lost_until: tx.last_evidence_loss().await?,
                    },
                };
                Ok((
                    tx.read_head().await?.0,
                    tx.count_retiring(now).await?,
                    counts,
                    tx.delivery_queue(Channel::Mail).await?,
                    (
                        tx.delivery_queue(Channel::Webhook).await?,
                        tx.count_disabled_webhooks().await?,
                        tx.failing_webhooks().await?.0,
                    ),
                ))
            })
            .await?;
        if known.is_none() {
            *self.counted.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, counts));
        }
        let age = |queue: &DeliveryQueue| {
            queue.oldest.map_or(0, |oldest| i64::try_from(now.since(oldest).as_secs()).unwrap_or(i64::MAX))
        };
        Ok(StoredGauges {
            transitions_running: running,
            secrets_overdue: counts.overdue,
            clients_ownerless: counts.ownerless,
            secrets_warned: counts.warned.map(|(mark, secrets)| (mark.hours(), secrets)),
            evidence_lost_until: counts.lost_until,
            changes_behind: stored.saturating_sub(self.applied()).max(0),
            mail_queued: mail.queued,
            mail_oldest_seconds: age(&mail),
            webhooks_queued: webhooks.queued,
            webhooks_oldest_seconds: age(&webhooks),
            webhooks_disabled: disabled,
            webhooks_failing: failing,
        })
    }
}
