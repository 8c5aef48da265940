//! Runs every change in one transaction: authorise, load, decide, store, audit, queue.

use crate::{
    app::App,
    error::Error,
    frame::{act::Act, caller::Caller, entry::Author, idempotency::Reply, request::Request, targets::Target},
};
use crossfade_core::{Code, Operation, Problem, Timestamp};
use crossfade_store::{StoreError, Tx};
use std::time::Duration;

/// How long a change with unknown outcome is searched for in the change log.
const APPLIED_WITHIN: Duration = Duration::from_secs(2);

impl App {
    /// Runs `work` in one transaction, with a single time. Returns the sequence number that the tables must have
    /// applied to enforce it.
    pub(crate) async fn write<T>(
        &self,
        work: impl AsyncFnOnce(&mut Tx, Timestamp) -> Result<T, Error>,
    ) -> Result<(T, i64), Error> {
        self.hold.may_change()?;
        let mut went_back = false;
        let written = self
            .db
            .write::<T, Error>(async |tx| {
                if self.feed.is_ahead_of(tx.last_change()) {
                    went_back = true;
                    return Err(StoreError::WentBack.into());
                }
                // The lock on the database may have been lost while this change waited.
                self.hold.may_change()?;
                // Read after the lock, so that everything that ended while this change waited has also ended for the
                // change.
                if let Some(told) = tx.told() {
                    self.clock.calibrate(told);
                }
                self.clock.raise(tx.highest_time());
                let now = self.clock.now();
                tx.stamp(now);
                work(tx, now).await
            })
            .await;
        self.changes.note(&written);
        if went_back {
            self.load_authority().await?;
        }
        if written.as_ref().is_err_and(Error::is_superseded) {
            self.hold.doubt();
        }
        if written.as_ref().is_err_and(|error| error.problem.code == Code::OutcomeUnknown) {
            // If it was stored after all, this node enforces it without waiting for the next read of the log.
            let _ = tokio::time::timeout(APPLIED_WITHIN, self.apply_changes()).await;
        }
        written
    }

    /// Runs a change in one transaction and waits until this node's own tables enforce it.
    pub(crate) async fn transact<T>(
        &self,
        work: impl AsyncFnOnce(&mut Tx, Timestamp) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let epoch = self.feed.epoch();
        let (done, seq) = self.write(work).await?;
        self.catch_up(seq, epoch).await.map_err(|error| Error {
            problem: match error.problem.code {
                Code::OutcomeUnknown => error.problem.clone(),
                _ => Problem::new(
                    Code::OutcomeUnknown,
                    "The change was stored, but the server has not confirmed that it is enforced yet. Read \
                    the current state before you retry.",
                ),
            },
            source: Some(Box::new(error)),
            hidden: false,
            fault: None,
        })?;
        Ok(done)
    }

    /// Runs a change of a policy, a local command, or another actor that needs no permission.
    pub(crate) async fn change_as<T>(
        &self,
        by: impl Into<Author>,
        work: impl AsyncFnOnce(&mut Act<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let by = by.into();
        self.transact(async |tx, now| work(&mut Act::new(tx, now, by)).await).await
    }

    /// Runs a change of a caller's own account, which needs no permission.
    pub(crate) async fn change_own<T>(
        &self,
        caller: &Caller,
        work: impl AsyncFnOnce(&mut Act<'_>, &Caller) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.transact(async |tx, now| {
            let caller = caller.refreshed(tx, now).await?;
            work(&mut Act::new(tx, now, caller.author()), &caller).await
        })
        .await
    }

    /// Performs `operation` on `target` for a caller with permission. The only way to change anything on behalf of a
    /// caller.
    pub(crate) async fn change<T: Target, R: Reply>(
        &self,
        operation: Operation,
        request: &Request<'_>,
        target: T,
        work: impl AsyncFnOnce(&mut Act<'_>, &Caller, T::Loaded) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let _in_flight =
            request.idempotency.map(|key| key.enter(&self.in_flight, request.caller)).transpose()?;
        let result = match self.admit(operation, request, &target).await {
            Err(error) => Err(error),
            Ok(()) => {
                self.transact(async |tx, now| {
                    let caller = request.caller.refreshed(tx, now).await?;
                    let loaded = target.load(tx, &caller, operation.access()).await;
                    let mut act = Act { if_match: request.if_match, ..Act::new(tx, now, caller.author()) };
                    if let Some(key) = request.idempotency
                        && let Some(reply) = self.replay(&mut act, &caller, key, operation, &loaded).await?
                    {
                        return Ok(reply);
                    }
                    let mut reply = work(&mut act, &caller, loaded?).await?;
                    if let Some(key) = request.idempotency {
                        self.remember(&mut act, &caller, key, &mut reply).await?;
                    }
                    Ok(reply)
                })
                .await
            }
        };
        if let Err(error) = &result {
            self.audit_refusal(operation, request.caller, &target.names(), error).await;
        }
        result
    }

    /// Checks access in a read transaction, so that refused callers never wait for the write lock. Access is checked
    /// again under the lock, because it may have been removed since.
    async fn admit<T: Target>(
        &self,
        operation: Operation,
        request: &Request<'_>,
        target: &T,
    ) -> Result<(), Error> {
        self.db
            .read(async |tx| {
                let caller = request.caller.refreshed(tx, self.clock.now()).await?;
                let Err(error) = target.load(tx, &caller, operation.access()).await else { return Ok(()) };
                // On a retry, the first request may already have deleted the target.
                match request.idempotency {
                    Some(key) if key.is_remembered(tx, &caller).await? => Ok(()),
                    _ => Err(error),
                }
            })
            .await
    }

    /// Waits for a permit to write non-urgent data. Few permits exist, so a flood of such writes cannot delay a
    /// rotation or revocation.
    pub(crate) async fn background_turn(&self) -> Option<tokio::sync::SemaphorePermit<'_>> {
        self.background.acquire().await.ok()
    }
}
