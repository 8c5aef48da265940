//! Runs work in one transaction, and waits until the tables of this node enforce it. Runs reads on one snapshot.

use crate::{
    error::{Error, unavailable},
    history::noting::Awaited,
    node::{chain_end::End, enforcement::Others, state::Node},
};
use crossfade_core::{Code, Problem, Timestamp, api::Enforced};
use crossfade_store::{Fault, StoreError, Tx};
use std::time::Duration;

/// How long a change with unknown outcome is searched for in the change log.
const APPLIED_WITHIN: Duration = Duration::from_secs(2);
/// How long a read waits for a connection.
const TURN_WITHIN: Duration = Duration::from_secs(5);

/// A committed change.
struct Written<T> {
    done: T,
    /// What must be in the journal before the reply.
    awaited: Awaited,
    /// Where the audit trail ended before and after it.
    chain: [Option<End>; 2],
    /// Other nodes that may decide, as it found them.
    others: Option<Others>,
    /// Whether it has appended to the change log.
    changes: bool,
}

/// A stored change that this node's tables enforce.
#[derive(Clone, Copy)]
pub(crate) struct Stored {
    seq: i64,
    /// Other nodes that may decide, as it found them.
    others: Option<Others>,
    epoch: u64,
    changes: bool,
}

impl Node {
    /// Runs `work` in one transaction, with a single time. Returns the sequence number that the tables must have
    /// applied to enforce it.
    pub(crate) async fn write<T>(
        &self,
        work: impl AsyncFnOnce(&mut Tx, Timestamp) -> Result<T, Error>,
    ) -> Result<(T, i64), Error> {
        let (Written { done, .. }, seq) = self.write_noting(work).await?;
        Ok((done, seq))
    }

    /// Runs `work` in one transaction, and notes what it ends for the journal.
    async fn write_noting<T>(
        &self,
        work: impl AsyncFnOnce(&mut Tx, Timestamp) -> Result<T, Error>,
    ) -> Result<(Written<T>, i64), Error> {
        self.hold.may_change()?;
        let mut went_back = false;
        let written = self
            .db
            .write::<Written<T>, Error>(async |tx| {
                if self.feed.is_ahead_of(tx.last_change()) {
                    went_back = true;
                    return Err(StoreError::WentBack.into());
                }
                // The lock on the database may have been lost while this change waited.
                self.hold.may_change()?;
                self.must_lead(tx).await?;
                // Read after the lock, so that everything that ended while this change waited has also ended for the
                // change.
                let told = tx.told(|| self.clock.ask()).await?;
                if let Some(told) = &told {
                    self.clock.calibrate(told.at, told.asked);
                }
                let others = told.and_then(|told| Some(Others { at: told.at, until: told.others_until? }));
                self.clock.raise(tx.highest_time());
                let now = self.clock.now();
                tx.stamp(now);
                let (before, first) = (tx.audit_chain(), tx.last_change());
                let done = work(tx, now).await?;
                let changes = tx.last_change() != first;
                let awaited = self.note_ends(tx).await?;
                Ok(Written { done, awaited, chain: [before, tx.audit_chain()], others, changes })
            })
            .await;
        self.changes.note(&written);
        if let Ok((Written { chain: [before, after], .. }, _)) = &written {
            self.chain_end.follow(*before, *after);
        }
        if went_back {
            self.settle_history().await?;
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

    /// Runs a change in one transaction and waits until every node enforces it, if any node has to.
    pub(crate) async fn transact<T>(
        &self,
        work: impl AsyncFnOnce(&mut Tx, Timestamp) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let (done, change) = self.transact_here(work).await?;
        if change.changes {
            self.enforced(change).await?;
        }
        Ok(done)
    }

    /// Runs a change in one transaction and waits until this node's own tables enforce it.
    pub(crate) async fn transact_here<T>(
        &self,
        work: impl AsyncFnOnce(&mut Tx, Timestamp) -> Result<T, Error>,
    ) -> Result<(T, Stored), Error> {
        let epoch = self.feed.epoch();
        let (Written { done, awaited, others, changes, .. }, seq) = self.write_noting(work).await?;
        self.catch_up(seq, epoch).await.map_err(unconfirmed)?;
        if awaited != Awaited::Nothing {
            self.await_journal(awaited).await?;
            // The database may have been replaced while the change waited for the journal.
            self.catch_up(seq, epoch).await.map_err(unconfirmed)?;
        }
        Ok((done, Stored { seq, others, epoch, changes }))
    }

    /// Waits until a stored change is in force on every node.
    pub(crate) async fn enforced(
        &self,
        Stored { seq, others, epoch, .. }: Stored,
    ) -> Result<Enforced, Error> {
        let enforced = self.enforced_everywhere(seq, others).await?;
        // The database may have been replaced while the change waited for other nodes.
        self.catch_up(seq, epoch).await.map_err(unconfirmed)?;
        Ok(enforced)
    }

    /// Waits for a permit to write non-urgent data. Few permits exist, so a flood of such writes cannot delay a
    /// rotation or revocation.
    pub(crate) async fn background_turn(&self) -> Option<tokio::sync::SemaphorePermit<'_>> {
        self.background.acquire().await.ok()
    }

    /// Runs `work` on one consistent snapshot, for a read that no change waits for.
    pub(crate) async fn read<T>(
        &self,
        work: impl AsyncFnOnce(&mut Tx) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let turn = tokio::time::timeout(TURN_WITHIN, self.readers.acquire()).await;
        let _turn = turn.map_err(|_| unavailable(Fault::Busy))?.map_err(Error::internal)?;
        self.db.read(work).await
    }
}

/// Returns the error of a change that is stored, when it is not known whether this node enforces it.
pub(crate) fn unconfirmed(error: Error) -> Error {
    Error {
        problem: match error.problem.code {
            Code::OutcomeUnknown => error.problem.clone(),
            _ => Problem::new(
                Code::OutcomeUnknown,
                "The change was stored, but the server has not confirmed that it is enforced yet. Read the current \
                state before you retry.",
            ),
        },
        source: Some(Box::new(error)),
        hidden: false,
        fault: None,
    }
}
