//! Runs every change in one transaction: authorise, load, decide, store, audit, queue.

use crate::{
    app::App,
    error::Error,
    frame::{
        act::Act, entry::Author, idempotency::Repeatable, principal::Principal, request::Request,
        targets::Target,
    },
    node::transaction::Stored,
};
use crossfade_core::{Operation, Timestamp};
use crossfade_store::Tx;

impl App {
    /// Begins a change by an author.
    pub(crate) fn act<'a>(&self, tx: &'a mut Tx, now: Timestamp, by: impl Into<Author>) -> Act<'a> {
        Act { mails: self.sending.mailer.is_some(), ..Act::new(tx, now, by) }
    }

    /// Runs a change of a policy, a local command, or another actor that needs no permission.
    pub(crate) async fn change_as<T>(
        &self,
        by: impl Into<Author>,
        work: impl AsyncFnOnce(&mut Act<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let by = by.into();
        self.node.transact(async |tx, now| work(&mut self.act(tx, now, by)).await).await
    }

    /// Runs a change of the server itself, and waits for no other node.
    pub(crate) async fn change_here<T>(
        &self,
        by: impl Into<Author>,
        work: impl AsyncFnOnce(&mut Act<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        Ok(self.stored_here(by, work).await?.0)
    }

    /// Runs a change of the server itself. Returns it, to wait for other nodes later.
    pub(crate) async fn stored_here<T>(
        &self,
        by: impl Into<Author>,
        work: impl AsyncFnOnce(&mut Act<'_>) -> Result<T, Error>,
    ) -> Result<(T, Stored), Error> {
        let by = by.into();
        self.node.transact_here(async |tx, now| work(&mut self.act(tx, now, by)).await).await
    }

    /// Runs a change of a principal's own account, which needs no permission.
    pub(crate) async fn change_own<T>(
        &self,
        principal: &Principal,
        work: impl AsyncFnOnce(&mut Act<'_>, &Principal) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.node
            .transact(async |tx, now| {
                let principal = principal.refreshed(tx, now).await?;
                work(&mut self.act(tx, now, principal.author()), &principal).await
            })
            .await
    }

    /// Performs `operation` on `target` for a principal with permission. The only way to change anything on behalf of a
    /// principal.
    pub(crate) async fn change<T: Target, R: Repeatable>(
        &self,
        operation: Operation,
        request: &Request<'_>,
        target: T,
        work: impl AsyncFnOnce(&mut Act<'_>, &Principal, T::Loaded) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let _in_flight =
            request.idempotency.map(|key| key.enter(&self.node.in_flight, request.principal)).transpose()?;
        let admitted = self.admit(operation, request, &target).await;
        let admitted = match operation {
            Operation::ReleaseQuarantine => admitted,
            _ => admitted.and_then(|()| self.node.unless_quarantined()),
        };
        let result = match admitted {
            Err(error) => Err(error),
            Ok(()) => {
                let stored = self
                    .node
                    .transact_here(async |tx, now| {
                        let principal = request.principal.refreshed(tx, now).await?;
                        principal.may_begin(operation)?;
                        let loaded = target.load(tx, &principal, operation.access()).await;
                        let mut act =
                            Act { if_match: request.if_match, ..self.act(tx, now, principal.author()) };
                        if let Some(key) = request.idempotency
                            && let Some(reply) =
                                self.replay(&mut act, &principal, key, operation, &loaded).await?
                        {
                            return Ok(reply);
                        }
                        let mut reply = work(&mut act, &principal, loaded?).await?;
                        if let Some(key) = request.idempotency
                            && reply.is_change()
                        {
                            self.remember(&mut act, &principal, key, &mut reply).await?;
                        }
                        Ok(reply)
                    })
                    .await;
                match stored {
                    Ok((reply, _)) if request.responds_async => Ok(reply),
                    Ok((mut reply, change)) => self.node.enforced(change).await.map(|enforced| {
                        reply.set_enforced(enforced);
                        reply
                    }),
                    Err(error) => Err(error),
                }
            }
        };
        if let Err(error) = &result {
            self.audit_refusal(operation, request.principal, &target.names(), error).await;
        }
        result
    }

    /// Checks access in a read transaction, so that refused principals never wait for the write lock. Access is checked
    /// again under the lock, because it may have been removed since.
    async fn admit<T: Target>(
        &self,
        operation: Operation,
        request: &Request<'_>,
        target: &T,
    ) -> Result<(), Error> {
        self.db
            .read(async |tx| {
                let principal = request.principal.refreshed(tx, self.clock.now()).await?;
                principal.may_begin(operation)?;
                let Err(error) = target.load(tx, &principal, operation.access()).await else { return Ok(()) };
                // On a retry, the first request may already have deleted the target.
                match request.idempotency {
                    Some(key) if key.is_remembered(tx, &principal).await? => Ok(()),
                    _ => Err(error),
                }
            })
            .await
    }
}
