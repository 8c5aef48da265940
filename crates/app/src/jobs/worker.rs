//! The worker: runs the jobs in the background.
//!
//! Nothing here enforces anything: a secret ends at its deadline whether or not the worker runs.

use crate::{app::App, error::Error};
use crossfade_core::Timestamp;
use std::{
    sync::{Arc, atomic::Ordering},
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

/// How long the end of a process waits for the destinations of the audit trail.
const SHIP_WITHIN: Duration = Duration::from_secs(2);

/// The background task of a serving process.
pub struct Worker {
    app: Arc<App>,
    stop: watch::Sender<bool>,
    /// Whether no message is under way, and no further one begins.
    messages_ended: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

impl Worker {
    /// Starts the worker.
    pub fn start(app: Arc<App>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (ended, messages_ended) = watch::channel(false);
        let working = app.clone();
        #[expect(clippy::disallowed_methods, reason = "this is the worker")]
        let task = tokio::spawn(async move {
            tokio::select! {
                () = beats(&app) => {}
                () = watch_clock(&app) => {}
                () = app.ship_trail() => {}
                never = app.follow_sending_place() => match never {},
                () = work(&app, stopped, ended) => {}
            }
        });
        Self { app: working, stop, messages_ended, task }
    }

    /// Lets no further message be sent.
    pub fn end_sending(&self) {
        self.app.end_sending();
    }

    /// Waits for the messages that are under way when sending ends: a few seconds at most.
    pub async fn messages_end(&self) {
        // An error: the worker has ended.
        let _ = self.messages_ended.clone().wait_for(|ended| *ended).await;
    }

    /// Stops the worker after one last flush, and after the messages that are under way.
    pub async fn stop(self) {
        self.end_sending();
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

/// Works until it is stopped, and writes what is left then, beside messages that are still under way.
async fn work(app: &Arc<App>, stopped: watch::Receiver<bool>, messages_ended: watch::Sender<bool>) {
    let messages = async {
        app.send_messages().await;
        messages_ended.send_replace(true);
    };
    tokio::join!(messages, async {
        run(app, stopped).await;
        write_last(app).await;
    });
    app.sending.close().await;
}

/// Writes what is left at the end.
async fn write_last(app: &Arc<App>) {
    if let Err(error) = app.write_grouped_refusals(true).await {
        tracing::error!(%error, "cannot write grouped refusals to the audit trail");
    }
    if let Err(error) = app.node.end_recording().await {
        tracing::error!(%error, "cannot write the final evidence");
    }
    if let Err(error) = app.store_unregistered_clients().await {
        tracing::error!(%error, "cannot store the last requests of unregistered clients");
    }
    if !app.node.leads() {
        return;
    }
    if let Err(error) = app.sign_checkpoint(true).await {
        tracing::error!(%error, "cannot sign the end of the audit trail");
    }
    // What is not shipped now is shipped after the next start.
    let _ = tokio::time::timeout(SHIP_WITHIN, app.ship_trail_once()).await;
}

/// Runs jobs until the worker is stopped, with a last flush then.
async fn run(app: &Arc<App>, mut stopped: watch::Receiver<bool>) {
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
            return;
        }
        pause = (begun.elapsed() * PAUSE).clamp(FLUSH_EVERY, FLUSH_WITHIN);
    }
}

impl App {
    /// Runs all due jobs immediately.
    pub async fn run_jobs(self: &Arc<Self>) -> Result<(), Error> {
        let now = self.clock.now();
        let flushed = Box::pin(self.flush()).await;
        if self.node.quarantine().is_some() {
            // Nothing is decided, extended, told or deleted on the strength of data that may have ended.
            let followed = self.node.apply_changes().await;
            return flushed.and(followed).and(self.write_grouped_refusals(false).await);
        }
        let own = [
            flushed,
            self.node.apply_changes().await,
            self.node.tell_losses().await,
            Box::pin(self.take_data_keys()).await,
            Box::pin(self.roll_digests_over()).await,
            Box::pin(self.store_upstream_outcomes()).await,
            Box::pin(self.store_unregistered_clients()).await,
            Box::pin(self.tell_unwritten_evidence()).await,
            Box::pin(self.tell_presented_secrets()).await,
            self.write_grouped_refusals(false).await,
            self.node.store_unreadable_proxies().await,
        ];
        let is_flushed = own[0].is_ok();
        let own: Result<(), Error> = own.into_iter().collect();
        let led = match self.node.leads() {
            true => self.node.while_leading(Box::pin(self.run_led_jobs(is_flushed, now))).await,
            false => {
                self.forget_revocations_here();
                // So that it continues from here when this node leads.
                let known = self.node.chain_end.marked();
                self.node.read(async |tx| self.node.check_chain(tx, known).await).await
            }
        };
        let done = own.and(led);
        if done.is_err() {
            self.node.jobs_failed.fetch_add(1, Ordering::Relaxed);
        }
        done
    }

    /// Runs the jobs of the node that leads. One that fails does not keep the others from their work. Each has its state on
    /// the heap, because all of them together are too large for the stack of a thread.
    async fn run_led_jobs(&self, is_flushed: bool, now: Timestamp) -> Result<(), Error> {
        let (heard, guarded, drills) = match is_flushed {
            true => {
                let closed = self.node.note_stopped_recorders().await;
                (
                    closed.and(self.node.hear_other_nodes().await),
                    Box::pin(self.guard_deadlines()).await,
                    Box::pin(self.tell_finished_drills(now)).await,
                )
            }
            // Callers and drill results are not stored yet, so skip the jobs that report on them.
            false => (Ok(()), Ok(()), Ok(())),
        };
        let done = [
            heard,
            guarded,
            drills,
            Box::pin(self.digest_stored_values()).await,
            Box::pin(self.rotate_due_signing_keys()).await,
            Box::pin(self.note_expiries()).await,
            // After the jobs whose own messages resolve incidents.
            Box::pin(self.resolve_incidents()).await,
            Box::pin(self.tell_missed_nodes()).await,
            Box::pin(self.sum_failures()).await,
            Box::pin(self.sum_token_revocations()).await,
            Box::pin(self.queue_digests()).await,
            Box::pin(self.tidy()).await,
            Box::pin(self.trim_trail()).await,
            Box::pin(self.sign_checkpoint(false)).await,
        ];
        done.into_iter().collect()
    }

    async fn before_flush(&self) -> Result<(), Error> {
        if self.node.changes.failing().is_some() {
            // There may be no change for hours, so this is how the end of a failure is noticed.
            self.node.write(async |_, _| Ok(())).await?;
        }
        self.node.resume_recording().await
    }

    async fn flush(&self) -> Result<(), Error> {
        if let Err(error) = self.before_flush().await {
            // Evidence is not even tried to be written then.
            self.node.evidence_outage().note(false, self.clock.now());
            return Err(error);
        }
        self.node.flush_evidence().await?;
        self.write_kept_refusals().await?;
        self.write_token_uses().await?;
        self.write_provisioning_token_uses().await
    }
}
