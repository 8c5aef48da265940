//! Runs every read on one consistent snapshot. A read of evidence first stores the evidence that is still in memory.

use crate::{
    app::App,
    error::{Error, unavailable},
    frame::{
        principal::Principal,
        reads::{AccountTurn, ReadTurn, Readings},
        targets::{RegistrationPath, Site, Target},
    },
};
use crossfade_core::{Code, Operation};
use crossfade_store::{Fault, Tx};
use std::time::Duration;

/// How long a read of evidence waits for unstored evidence.
const FLUSHED_WITHIN: Duration = Duration::from_secs(1);
/// How long a judgement waits for unstored evidence.
const JUDGED_WITHIN: Duration = Duration::from_secs(3);

impl App {
    /// Runs `work` on one consistent snapshot, for a read that no change waits for.
    pub(crate) async fn read<T>(
        &self,
        work: impl AsyncFnOnce(&mut Tx) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.node.read(work).await
    }

    /// Reads `target` on one consistent snapshot for a principal with permission.
    pub(crate) async fn view<T: Target, R>(
        &self,
        operation: Operation,
        principal: &Principal,
        target: T,
        work: impl AsyncFnOnce(&mut Tx, &Principal, T::Loaded) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let result = self
            .read(async |tx| {
                // Read again, because a right may have been removed while the request was on its way.
                let principal = principal.refreshed(tx, self.clock.now()).await?;
                principal.may_begin(operation)?;
                let loaded = target.load(tx, &principal, operation.access()).await?;
                work(tx, &principal, loaded).await
            })
            .await;
        if let Err(error) = &result
            && (error.hidden || error.problem.code == Code::Forbidden)
        {
            self.audit_refusal(operation, principal, &target.names(), error).await;
        }
        result
    }

    /// Reads `target` after storing the evidence. While changes fail or wait, it reads the evidence stored before.
    /// Checks access first, so that principals without it cannot trigger a flush.
    pub(crate) async fn view_evidence<T: Target + Copy, R>(
        &self,
        operation: Operation,
        principal: &Principal,
        target: T,
        work: impl AsyncFnOnce(&mut Tx, &Principal, T::Loaded) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let _turns = self.costly(operation, principal).await?;
        self.view(operation, principal, target, async |_, _, _| Ok(())).await?;
        self.store_evidence().await;
        self.view(operation, principal, target, work).await
    }

    /// Reads `target` after storing all evidence, for a judgement. Fails if the evidence cannot be stored. Checks
    /// access first, so that principals without it cannot trigger a flush.
    pub(crate) async fn judge_evidence<T: Target + Copy, R>(
        &self,
        operation: Operation,
        principal: &Principal,
        target: T,
        work: impl AsyncFnOnce(&mut Tx, &Principal, T::Loaded) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let _turns = self.costly(operation, principal).await?;
        self.view(operation, principal, target, async |_, _, _| Ok(())).await?;
        self.store_for_judgement().await?;
        self.view(operation, principal, target, work).await
    }

    /// Returns evidence data that can be up to 1 second old, but is not older than the last change of the registration.
    /// Checks access first, so that cached data is never returned to a principal without permission. `parameters`
    /// distinguish the data of one registration.
    pub(crate) async fn view_kept<R: Clone>(
        &self,
        operation: Operation,
        principal: &Principal,
        path: RegistrationPath<'_>,
        (readings, parameters): (&Readings<R>, String),
        work: impl AsyncFnOnce(&mut Tx, &Principal, Site) -> Result<R, Error>,
    ) -> Result<R, Error> {
        // The turn of the account covers the wait for a reading that another request computes.
        let _turn_of_account = self.reads.account_turn(principal.user()).await?;
        let authorised = self.view(operation, principal, path, async |_, _, site: Site| {
            Ok((site.registration.id, site.registration.version))
        });
        let (registration, version) = authorised.await?;
        let compute = async || {
            let _turn = self.reads.turn().await?;
            match operation {
                Operation::ReadChangeOver => self.store_for_judgement().await?,
                _ => self.store_evidence().await,
            }
            self.view(operation, principal, path, work).await
        };
        readings.get((registration, parameters, version), || self.clock.now(), compute).await
    }

    /// Waits for the turns of a costly read.
    pub(crate) async fn costly(
        &self,
        operation: Operation,
        principal: &Principal,
    ) -> Result<Option<(AccountTurn, ReadTurn)>, Error> {
        if !operation.is_costly() {
            return Ok(None);
        }
        let of_account = self.reads.account_turn(principal.user()).await?;
        Ok(Some((of_account, self.reads.turn().await?)))
    }

    /// Stores the evidence collected so far, unless changes fail or wait.
    pub(crate) async fn store_evidence(&self) {
        if self.node.changes.failing().is_some() {
            return;
        }
        match tokio::time::timeout(FLUSHED_WITHIN, self.store_all()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "cannot store evidence before it is read"),
            Err(_) => tracing::warn!("cannot store evidence within 1 s before it is read"),
        }
        if let Err(error) = self.node.hear_other_nodes().await {
            tracing::warn!(%error, "cannot ask other nodes for their evidence");
        }
    }

    /// Stores the evidence for a judgement.
    pub(crate) async fn store_for_judgement(&self) -> Result<(), Error> {
        let stored = tokio::time::timeout(JUDGED_WITHIN, self.store_all()).await;
        stored.unwrap_or_else(|_| Err(unavailable(Fault::Busy).into()))?;
        self.node.hear_other_nodes().await
    }

    /// Stores the evidence and the refusals so far, for a read. Runs to the end even if the reader disconnects, because
    /// a commit with unknown outcome would be a gap in the evidence. Simultaneous readers share one flush.
    async fn store_all(&self) -> Result<(), Error> {
        let asked = self.node.flushes_begun();
        let app = self.this.upgrade().ok_or_else(|| Error::internal("the application is closed"))?;
        #[expect(clippy::disallowed_methods, reason = "a flush of evidence is not dropped half-way")]
        let task = tokio::spawn(async move {
            app.node.flush_evidence_after(asked).await?;
            app.write_kept_refusals().await
        });
        task.await.map_err(Error::internal)?
    }
}
