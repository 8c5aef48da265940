//! The lock on the database, and the behaviour while it is lost. On SQLite it ensures that only one process decides. On
//! PostgreSQL it is the session in which leases are asked for.
//!
//! While the lock is lost, nothing is changed, and secrets are verified until the lease of this node ends. That is longer
//! than a restart of the database, and too short to miss another server's changes for long.

use crate::{
    error::Error,
    history::journal::Journal,
    node::{feed::lacks, lease::Looked, state::Node},
};
use crossfade_authority::LeaseAsked;
use crossfade_core::{Code, Problem};
use crossfade_store::{Fault, Purpose, ServeLock, StoreError};
use std::{
    convert::Infallible,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{sync::Notify, time::timeout};

/// Interval for checking the lock, and time limit for the database's answer.
const CHECKED_EVERY: Duration = Duration::from_secs(1);
const ANSWERS_WITHIN: Duration = Duration::from_secs(3);
/// Pause between two attempts to take a lost lock again, and time limit for one attempt.
const TRIED_EVERY: Duration = Duration::from_millis(200);
const TRY_WITHIN: Duration = Duration::from_secs(5);

/// This process's knowledge of whether it alone serves the database.
pub(crate) struct Hold {
    /// Why the lock is lost; `None` while it is held.
    lost: Mutex<Option<String>>,
    /// Whether all tables must be loaded before anything is changed.
    must_load: AtomicBool,
    watched: AtomicBool,
    /// Triggers an immediate check of the lock.
    doubted: Notify,
    /// Notified when a lost lock is held again.
    taken_again: Notify,
}

/// A file of the database was replaced, so a change would go to a file that is no longer the database.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileReplaced;

impl Hold {
    pub(crate) fn new() -> Self {
        Self {
            lost: Mutex::default(),
            must_load: AtomicBool::new(false),
            watched: AtomicBool::new(false),
            doubted: Notify::new(),
            taken_again: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, Option<String>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that the lock is held.
    fn held(&self) {
        *self.state() = None;
    }

    fn lost(&self, reason: impl Into<String>) {
        let (mut lost, reason) = (self.state(), reason.into());
        if lost.is_none() {
            tracing::error!(
                reason,
                "the lock on the database is lost; no change is stored until it is held again"
            );
        }
        *lost = Some(reason);
    }

    /// Records that the lock is lost, or is held again.
    #[cfg(test)]
    pub(crate) fn set_lost(&self, is_lost: bool) {
        *self.state() = is_lost.then(|| "for a test".to_owned());
    }

    /// Records that a change found the database in a term other than this server's. Triggers a check of the lock; until
    /// then nothing is changed.
    pub(crate) fn doubt(&self) {
        if self.watched.load(Ordering::SeqCst) {
            self.lost("the database is in another term: another server may have served it");
            self.doubted.notify_one();
        }
    }

    /// Returns why the lock is lost; `None` while it is held.
    pub(crate) fn why_lost(&self) -> Option<String> {
        self.state().clone()
    }

    /// Refuses a change while another server could also make changes.
    pub(crate) fn may_change(&self) -> Result<(), Error> {
        match self.why_lost() {
            None => Ok(()),
            Some(why) => Err(Error {
                problem: Problem::new(
                    Code::Unavailable,
                    "This server has lost its lock on the database and is taking it again. Nothing was changed. Try again.",
                ),
                source: Some(why.into()),
                hidden: false,
                fault: Some(Fault::Unreachable),
            }),
        }
    }
}

impl Node {
    /// Whether this process is allowed to verify secrets: it has a lease, and the instance is not in quarantine.
    pub(crate) fn may_decide(&self) -> bool {
        self.lease.holds() && !self.is_held.load(Ordering::SeqCst)
    }

    /// Whether this process holds the lock on the database, so that no other server sends its messages.
    pub(crate) fn holds_lock(&self) -> bool {
        self.hold.may_change().is_ok()
    }

    /// Waits until a lost lock is held again, also if it was before the call.
    pub(crate) async fn lock_taken_again(&self) {
        self.hold.taken_again.notified().await;
    }

    /// Takes the first lease, before anything is served. Without one, this server decides nothing until it is granted one.
    pub(crate) async fn begin_serving(&self) {
        let at = LeaseAsked::now();
        let mut lock = self.lock.lock().await;
        if let Some(lock) = lock.as_mut().filter(|lock| lock.can_be_lost()) {
            self.lease.end();
            self.follows();
            self.renew_lease(lock, Looked { at, was_alone: false }).await;
        }
    }

    /// Keeps the lock on the database: checks it, takes it again when it was lost, and then updates the tables before
    /// anything is changed. Returns when this process must stop.
    pub(crate) async fn keep_serving(&self) -> FileReplaced {
        self.hold.watched.store(true, Ordering::SeqCst);
        tokio::select! {
            stopped = self.keep_lock() => stopped,
            // Beside the lock, which no disk of the journal may delay.
            never = self.keep_journal() => match never {},
            never = self.follow_announcements() => match never {},
            never = self.record_when_asked() => match never {},
        }
    }

    async fn keep_journal(&self) -> Infallible {
        loop {
            if self.hold.why_lost().is_none() {
                self.tend_journal().await;
            }
            tokio::time::sleep(CHECKED_EVERY).await;
        }
    }

    async fn keep_lock(&self) -> FileReplaced {
        loop {
            if let Err(stopped) = self.check_lock().await {
                // Requests that run while the server stops are not decided, either.
                self.lease.end();
                return stopped;
            }
            let is_held = self.hold.why_lost().is_none();
            if is_held {
                self.follow_log().await;
            }
            let pause = if is_held { CHECKED_EVERY.min(self.own.renewed_every()) } else { TRIED_EVERY };
            let _ = timeout(pause, self.hold.doubted.notified()).await;
        }
    }

    async fn check_lock(&self) -> Result<(), FileReplaced> {
        let mut lock = self.lock.lock().await;
        if self.hold.why_lost().is_none()
            && let Some(lock) = lock.as_mut()
        {
            // Before the question: the answer is about no later moment, and changes are applied meanwhile.
            let (at, applied) = (LeaseAsked::now(), self.feed.applied());
            let found = timeout(ANSWERS_WITHIN, lock.look()).await;
            match (found, self.db.leads_elsewhere()) {
                (Ok(Err(StoreError::Replaced(file))), _) => {
                    tracing::error!(file, "a file of the database was replaced while it was in use");
                    return Err(FileReplaced);
                }
                (Ok(Ok(stored)), None) => {
                    if !stored.is_some_and(|stored| lacks(stored, applied)) {
                        let applied_all = stored.is_none_or(|stored| stored <= self.feed.applied());
                        let was_alone = applied_all && lock.is_alone();
                        self.renew_lease(lock, Looked { at, was_alone }).await;
                        self.hold.held();
                        return Ok(());
                    }
                    self.hold.lost("the database lacks changes that were applied");
                }
                (Ok(Err(error)), _) => self.hold.lost(error.to_string()),
                (Ok(Ok(_)), Some(what)) if !lock.can_be_lost() => {
                    tracing::error!(what, "the database file was replaced while it was in use");
                    return Err(FileReplaced);
                }
                (Ok(Ok(_)), Some(what)) => self.hold.lost(what),
                (Err(_), _) => self.hold.lost("the database does not respond"),
            }
        }
        // A locked file is not taken again: if its lock is in doubt, another process has another file.
        if lock.as_ref().is_some_and(|lock| !lock.can_be_lost()) {
            tracing::error!(reason = self.hold.why_lost(), "the lock on the database file is in doubt");
            return Err(FileReplaced);
        }
        self.take_lock_again(&mut lock).await;
        Ok(())
    }

    async fn take_lock_again(&self, lock: &mut Option<ServeLock>) {
        // Reads of this server must not take the last connection that the database has for the lock.
        self.db.hold_reads_back();
        // The database may be another one, or have lost it.
        self.own.forget_lease();
        let at = LeaseAsked::now();
        // A session that lives on would keep this process out, if it has kept out others.
        if let Some(before) = lock.take() {
            before.release().await;
        }
        let again = match timeout(TRY_WITHIN, self.db.lock_for_serving()).await {
            Ok(Ok(again)) => again,
            Ok(Err(error)) => {
                if error.fault() == Fault::Busy {
                    self.db.close_idle_connections();
                }
                self.hold.lost(error.to_string());
                return;
            }
            Err(_) => {
                self.hold.lost("the database does not respond");
                return;
            }
        };
        let before = self.server.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let is_same_server = again.server.is_some() && before.map(|before| before.id) == again.server.clone();
        if !is_same_server {
            self.hold.must_load.store(true, Ordering::SeqCst);
            self.chain_end.forget();
            self.await_leases_of_before();
        }
        tracing::warn!(
            server = again.server.as_ref().map(ToString::to_string),
            is_same_server,
            "the lock on the database is held again"
        );
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = again.server_run();
        let again = lock.insert(again);
        // Nothing is changed before the tables follow the database that is there now.
        match self.follow_database().await {
            Ok(()) => {
                self.renew_lease(again, Looked { at, was_alone: false }).await;
                self.hold.held();
                self.db.let_reads_go_on().await;
                self.hold.taken_again.notify_one();
            }
            Err(error) => {
                tracing::error!(%error, "cannot follow the database; retrying");
                self.hold.lost("the tables do not follow the database");
            }
        }
    }

    /// Applies stored changes that were not applied yet: a change whose commit was not acknowledged in time, or a
    /// change of another process. Returns whether everything that was stored is applied.
    pub(crate) async fn follow_log(&self) -> bool {
        let followed = timeout(ANSWERS_WITHIN, async {
            let head = self.db.read_for::<_, Error>(Purpose::Feed, async |tx| Ok(tx.read_head().await?.0));
            match head.await? {
                stored if stored == self.feed.applied() => Ok(()),
                _ => self.apply_changes().await,
            }
        });
        match followed.await {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => tracing::warn!(%error, "cannot check for changes that are not applied"),
            Err(_) => tracing::warn!("cannot check for changes that are not applied within 3 s"),
        }
        false
    }

    /// Updates the tables to the database: from its change log if the log continues what they have applied, otherwise
    /// by loading everything.
    async fn follow_database(&self) -> Result<(), Error> {
        self.calibrate().await?;
        if self.hold.must_load.load(Ordering::SeqCst) {
            self.settle_history().await?;
            self.load_authority().await?;
            self.hold.must_load.store(false, Ordering::SeqCst);
        }
        self.apply_changes().await
    }

    /// Returns warnings for the text of `readyz` while this node is ready.
    pub(crate) fn lock_notes(&self) -> Vec<String> {
        let lost = self.hold.why_lost();
        let lost = lost
            .map(|why| format!("no changes for now, the lock on the database is being taken again: {why}"));
        let losses = self.feed.losses().0.map(|loss| loss.to_string());
        let journal = self.journal.as_ref().and_then(Journal::failing);
        let journal =
            journal.map(|why| format!("nothing can end for now, the journal cannot be written: {why}"));
        let altered = self.chain_end.altered_after();
        let altered = altered.map(|seq| {
            format!("the audit trail was written again in the database at or before event {seq}, and is not signed")
        });
        let lease = self.own.failing().map(|why| {
            format!("no lease is granted, and this server decides until its last one ends: {why}")
        });
        lost.into_iter()
            .chain(lease)
            .chain(journal)
            .chain(altered)
            .chain(losses)
            .chain(self.feed.unreadable.told())
            .collect()
    }
}
