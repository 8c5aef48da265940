//! Background work: evidence is flushed, deadlines are recorded, values are wiped.
//!
//! Nothing here enforces anything: a secret ends at its deadline whether or not the worker runs.

use crate::{
    app::App,
    error::Error,
    frame::{entry::About, idempotency::ANSWERS_REMEMBERED},
};
use crossfade_core::{
    Timestamp,
    api::Grain,
    audit::{Actor, Event},
    forget::TOKENS_LIVE_ON,
};
use crossfade_store::{StoreError, Tx};
use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};
use tokio::{sync::watch, task::JoinHandle};

/// Interval of heartbeats.
const BEAT_EVERY: Duration = Duration::from_secs(1);
/// Interval of flushes of evidence.
const FLUSH_EVERY: Duration = Duration::from_secs(2);
/// Pause after a flush, as a multiple of its duration, so that writing evidence takes a small share of one CPU. Reading
/// evidence triggers its own flush.
const PAUSE: u32 = 40;
/// The longest time evidence waits for a flush.
const FLUSH_WITHIN: Duration = Duration::from_secs(5);
/// Number of flushes after which everything else is tidied.
const TIDY_EVERY: u32 = 5;
/// Maximum number of deadlines recorded in one transaction.
const MOST_EXPIRED: i64 = 500;
/// How long remembered values are stored.
const VALUES_LIVE: Duration = Duration::from_secs(600);
/// How long per-minute use is kept.
const MINUTES_LIVE: Duration = Duration::from_secs(3 * 3600);
/// How long per-minute use is kept for a registration with a running or recent transition. A transition lasts at most
/// 168 hours.
const MINUTES_OF_TRANSITIONS_LIVE: Duration = Duration::from_secs(8 * 86_400);
/// How long hourly use is kept.
const HOURS_LIVE: Duration = Duration::from_secs(30 * 86_400);
/// How long daily use is kept.
const DAYS_LIVE: Duration = Duration::from_secs(400 * 86_400);
/// How long failed authentications are kept.
const FAILURES_LIVE: Duration = Duration::from_secs(90 * 86_400);
/// How long queued messages are kept.
const NOTIFICATIONS_LIVE: Duration = Duration::from_secs(30 * 86_400);
/// Number of changes that stay in the log although every table has applied them.
const CHANGES_KEPT: i64 = 10_000;
const DAY: Duration = Duration::from_secs(86_400);

/// The background task of a serving process.
pub struct Worker {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Worker {
    /// Starts the worker.
    pub fn start(app: Arc<App>) -> Self {
        let (stop, stopped) = watch::channel(false);
        #[expect(clippy::disallowed_methods, reason = "this is the worker")]
        let task = tokio::spawn(async move {
            tokio::select! {
                () = beats(&app) => {}
                () = watch_clock(&app) => {}
                () = run(app.clone(), stopped) => {}
            }
        });
        Self { stop, task }
    }

    /// Stops the worker after one last flush.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the worker stopped with an error");
        }
    }
}

/// Records heartbeats, even while other work waits for the database.
async fn beats(app: &App) {
    loop {
        app.node.beat(true);
        tokio::time::sleep(BEAT_EVERY).await;
    }
}

/// Checks the machine's clock, separately from the heartbeats, because reading the clock of a database that does not
/// answer takes a while.
async fn watch_clock(app: &App) {
    loop {
        app.node.watch_clock().await;
        tokio::time::sleep(BEAT_EVERY).await;
    }
}

async fn run(app: Arc<App>, mut stopped: watch::Receiver<bool>) {
    let (mut ticks, mut pause) = (0u32, FLUSH_EVERY);
    loop {
        let stop = tokio::select! {
            () = tokio::time::sleep(pause) => false,
            _ = stopped.changed() => true,
        };
        ticks = ticks.wrapping_add(1);
        let tidy = ticks.is_multiple_of(TIDY_EVERY) && !stop;
        // How long it took, not what time it is.
        let begun = tokio::time::Instant::now();
        let done = if tidy { app.run_jobs().await } else { app.flush().await };
        if let Err(error) = done {
            tracing::error!(%error, "a background job failed and will be retried");
        }
        if stop {
            if let Err(error) = app.write_grouped_refusals(true).await {
                tracing::error!(%error, "cannot write grouped refusals to the audit trail");
            }
            if let Err(error) = app.node.end_recording().await {
                tracing::error!(%error, "cannot write the final evidence");
            }
            return;
        }
        pause = (begun.elapsed() * PAUSE).clamp(FLUSH_EVERY, FLUSH_WITHIN);
    }
}

impl App {
    /// Runs all due jobs immediately.
    pub async fn run_jobs(self: &Arc<Self>) -> Result<(), Error> {
        let now = self.clock.now();
        let flushed = self.flush().await;
        let (guarded, drills) = match &flushed {
            Ok(()) => (self.guard_deadlines().await, self.tell_finished_drills(now).await),
            // Callers and drill results are not stored yet, so skip the jobs that report on them.
            Err(_) => (Ok(()), Ok(())),
        };
        // One that fails does not keep the others from their work.
        let done = [
            flushed,
            guarded,
            drills,
            self.node.apply_changes().await,
            self.node.tell_losses().await,
            self.note_expiries().await,
            self.sum_failures().await,
            self.sum_token_revocations().await,
            self.write_grouped_refusals(false).await,
            self.node.store_unreadable_proxies().await,
            self.tidy().await,
            self.trim_trail().await,
        ];
        done.into_iter().collect()
    }

    async fn flush(&self) -> Result<(), Error> {
        if self.node.changes.failing().is_some() {
            // There may be no change for hours, so this is how the end of a failure is noticed.
            self.node.write(async |_, _| Ok(())).await?;
        }
        self.node.resume_recording().await?;
        self.node.flush_evidence().await?;
        self.write_kept_refusals().await?;
        self.write_token_uses().await
    }

    /// Records in the trail the deadlines that have passed since the last check.
    async fn note_expiries(&self) -> Result<(), Error> {
        loop {
            let noted = self
                .change_as(Actor::policy("deadline", "Deadline"), async |act| {
                    let expired = act.tx.expired_secrets(act.now, MOST_EXPIRED).await?;
                    for secret in &expired {
                        act.tx.note_expiry(&secret.secret_id, act.now).await?;
                        let about = About {
                            client: Some(&secret.client_id),
                            environment: Some(&secret.environment),
                            target: Some(secret.secret_id.to_string()),
                            reason: None,
                        };
                        let (secret_id, expires_at) = (secret.secret_id.clone(), secret.expires_at);
                        let event = Event::SecretExpired { secret_id, expires_at };
                        // The event has the time of the deadline, not of this check.
                        act.tell_at(secret.expires_at, self.random.as_ref(), &event, about).await?;
                    }
                    Ok(expired.len() as i64)
                })
                .await?;
            if noted < MOST_EXPIRED {
                return Ok(());
            }
        }
    }

    async fn tidy(&self) -> Result<(), Error> {
        let (applied, ran, mut forgotten) = (self.node.applied(), self.take_run_time(), None);
        self.change_as(Actor::policy("wipe", "Wiping of stored values"), async |act| {
            for slug in act.tx.environment_slugs().await? {
                let environment = match act.tx.environment(&slug).await {
                    // Its settings cannot be read: the values of the others are wiped all the same.
                    Ok(None) | Err(StoreError::Corrupt { .. }) => continue,
                    Ok(Some(environment)) => environment,
                    Err(error) => return Err(error.into()),
                };
                let days = u32::try_from(environment.wipe_after_days).unwrap_or(u32::MAX);
                let before = act.now.before(DAY * days);
                for secret in act.tx.wipe_ended_secrets(&environment.slug, before).await? {
                    let about =
                        About { target: Some(secret.to_string()), ..About::environment(&environment.slug) };
                    let event = Event::SecretWiped {
                        secret_id: secret,
                        wipe_after_days: environment.wipe_after_days,
                    };
                    act.audit(&event, about).await?;
                }
            }
            let (tx, now) = (&mut *act.tx, act.now);
            tx.tidy_remembered(now.before(VALUES_LIVE), now.before(ANSWERS_REMEMBERED)).await?;
            forgotten = self.forget_revocations(tx, ran).await?;
            tx.delete_failures(now.before(FAILURES_LIVE)).await?;
            for (grain, kept) in [
                (Grain::Minute, MINUTES_OF_TRANSITIONS_LIVE),
                (Grain::Hour, HOURS_LIVE),
                (Grain::Day, DAYS_LIVE),
            ] {
                tx.delete_usage_series(grain, now.before(kept)).await?;
            }
            let minutes = (now.before(MINUTES_LIVE * 2), now.before(MINUTES_LIVE));
            tx.thin_usage_series(Grain::Minute, minutes, now.before(MINUTES_LIVE)).await?;
            tx.delete_evidence_gaps(now.before(DAYS_LIVE)).await?;
            tx.delete_notifications(now.before(NOTIFICATIONS_LIVE)).await?;
            tx.trim_changes(applied.saturating_sub(CHANGES_KEPT)).await?;
            tx.delete_removed_signing_keys(now).await?;
            Ok(())
        })
        .await?;
        if let Some(ended_by) = forgotten {
            self.authority.forget_revocations(ended_by);
        }
        Ok(())
    }

    /// Returns how long the clock has run since the last call.
    fn take_run_time(&self) -> Duration {
        let elapsed = self.clock.elapsed();
        let mut noted = self.node.ran_until.lock().unwrap_or_else(PoisonError::into_inner);
        elapsed.saturating_sub(std::mem::replace(&mut *noted, elapsed))
    }

    /// Forgets revocations of tokens that have expired by every clock, even if this machine's clock was wrong at the
    /// start. Returns the expiry up to which they are forgotten.
    async fn forget_revocations(&self, tx: &mut Tx, ran: Duration) -> Result<Option<Timestamp>, Error> {
        let (moment, elapsed) = (self.clock.read(), self.clock.elapsed());
        let (passed, outlived) = tx.passed().await?.go_on(moment.machine, ran);
        tx.set_passed(passed).await?;
        // A token that this process issued has ended when its lifetime was measured, and by now every older one has ended.
        let measured = (elapsed >= TOKENS_LIVE_ON).then_some(moment.earliest);
        let Some(ended_by) = outlived.max(measured) else { return Ok(None) };
        tx.forget_revoked_access_tokens(ended_by).await?;
        Ok(Some(ended_by))
    }
}
