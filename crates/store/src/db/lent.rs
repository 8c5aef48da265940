//! A connection that is lent for one transaction, and its return to the pool.

use super::{
    StoreError,
    pool::{Link, Shared, closed, timed_out},
};
use std::{sync::Arc, time::Duration};
use tokio::{sync::OwnedSemaphorePermit, time::timeout};

/// Time limit for a ROLLBACK, after which its connection is discarded.
pub(super) const ROLLBACK_WITHIN: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No transaction is open.
    Clean,
    /// A transaction is open, and no BEGIN, COMMIT or ROLLBACK is under way.
    Open,
    /// Not known: a BEGIN, COMMIT or ROLLBACK was sent and not acknowledged, or the connection failed.
    Unknown,
}

/// A connection that is lent for one transaction.
pub(super) struct Lent<L: Link> {
    link: Option<L>,
    phase: Phase,
    shared: Arc<Shared<L>>,
    /// Turn, returned after the connection.
    turn: Option<OwnedSemaphorePermit>,
}

impl<L: Link> Lent<L> {
    pub(super) fn new(shared: Arc<Shared<L>>, link: L) -> Self {
        Self { link: Some(link), phase: Phase::Unknown, shared, turn: None }
    }

    /// Keeps this turn until the connection is returned.
    pub(super) fn with_turn(mut self, turn: OwnedSemaphorePermit) -> Self {
        self.turn = Some(turn);
        self
    }

    /// Begins a transaction.
    pub(super) async fn begin(
        &mut self,
        sql: &'static str,
        within: Option<Duration>,
    ) -> Result<(), sqlx::Error> {
        self.step(sql, within).await?;
        self.phase = Phase::Open;
        Ok(())
    }

    /// Returns the connection, to run statements on.
    pub(super) fn link(&mut self) -> Result<&mut L, StoreError> {
        self.link.as_mut().ok_or_else(closed)
    }

    /// Ends the transaction with COMMIT or ROLLBACK.
    pub(super) async fn end(
        &mut self,
        sql: &'static str,
        within: Option<Duration>,
    ) -> Result<(), sqlx::Error> {
        self.phase = Phase::Unknown;
        self.step(sql, within).await?;
        self.phase = Phase::Clean;
        Ok(())
    }

    /// Commits. The connection can be lent again only after an acknowledged commit.
    pub(super) async fn commit(&mut self) -> Result<(), sqlx::Error> {
        self.end("COMMIT", L::ANSWERS.map(|(_, commit)| commit)).await
    }

    /// Rolls back, and discards the connection if that fails.
    pub(super) async fn roll_back(mut self) {
        if self.phase == Phase::Open {
            let _ = self.end("ROLLBACK", Some(ROLLBACK_WITHIN)).await;
        }
    }

    /// Marks the connection as lost, so that nothing waits for its ROLLBACK.
    pub(super) fn give_up(&mut self) {
        self.phase = Phase::Unknown;
    }

    /// Discards this connection and all kept ones, because they may have settings that no longer apply.
    pub(super) fn renew(&mut self) {
        drop(self.shared.take_kept());
        self.give_up();
    }

    async fn step(&mut self, sql: &'static str, within: Option<Duration>) -> Result<(), sqlx::Error> {
        let Some(link) = self.link.as_mut() else { return Err(sqlx::Error::PoolClosed) };
        match within {
            Some(limit) => timeout(limit, link.run(sql)).await.unwrap_or_else(|_| Err(timed_out(limit))),
            None => link.run(sql).await,
        }
    }
}

impl<L: Link> Drop for Lent<L> {
    fn drop(&mut self) {
        let Some(link) = self.link.take() else { return };
        match (self.phase, tokio::runtime::Handle::try_current()) {
            (Phase::Clean, _) => self.shared.give_back(link),
            (Phase::Open, Ok(runtime)) => {
                let mut rest = Self {
                    link: Some(link),
                    // A runtime that shuts down drops the task unrun, and with it this connection.
                    phase: Phase::Unknown,
                    shared: self.shared.clone(),
                    turn: self.turn.take(),
                };
                runtime.spawn(async move {
                    let _ = rest.end("ROLLBACK", Some(ROLLBACK_WITHIN)).await;
                });
            }
            _ => {
                drop(link);
                self.shared.lost_one();
            }
        }
    }
}
