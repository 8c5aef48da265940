//! Runs every change in one transaction: authorise, load, decide, store, audit, queue.

use crate::{
    app::App,
    caller::Caller,
    entry::{About, Author},
    error::{Error, unavailable},
    idempotency::{InFlight, Reply},
    reads::{AccountTurn, ReadTurn, Readings},
    request::{IfMatch, Request},
    targets::{Names, RegistrationPath, Site, Target},
};
use crossfade_core::{
    Code, Operation, Problem, Random, RegistrationId, SecretId, Timestamp, audit::Event, base62,
    environment::Slug,
};
use crossfade_store::{ChangeKind, Client, Fault, NewAuditEvent, Notification, StoreError, Tx};
use std::time::Duration;

/// How long a change with unknown outcome is searched for in the change log.
const APPLIED_WITHIN: Duration = Duration::from_secs(2);
/// How long a read of evidence waits for unstored evidence.
const FLUSHED_WITHIN: Duration = Duration::from_secs(1);
/// How long a read waits for a connection.
const TURN_WITHIN: Duration = Duration::from_secs(5);
/// How long a judgement waits for unstored evidence.
const JUDGED_WITHIN: Duration = Duration::from_secs(3);

/// A change in progress: the transaction, its time, and its author. The permissions of a person are no part of it, so
/// that a policy's change is recorded, told and fed by the same lines as a person's.
pub(crate) struct Act<'a> {
    pub(crate) tx: &'a mut Tx,
    /// Time of the complete change, read once, after the lock was taken.
    pub(crate) now: Timestamp,
    pub(crate) by: Author,
    if_match: Option<IfMatch<'a>>,
}

impl<'a> Act<'a> {
    pub(crate) fn new(tx: &'a mut Tx, now: Timestamp, by: impl Into<Author>) -> Self {
        Self { tx, now, by: by.into(), if_match: None }
    }

    /// Returns this change as one of another author, for entries that are not the actor's own.
    pub(crate) fn on_behalf_of(&mut self, by: impl Into<Author>) -> Act<'_> {
        Act::new(self.tx, self.now, by)
    }

    /// Refuses the change if the caller has read another version than the present one.
    pub(crate) fn matches(&self, version: i64) -> Result<(), Problem> {
        match self.if_match {
            Some(read) if !read.holds(version) => Err(Problem::new(
                Code::PreconditionFailed,
                "The resource has changed since you read it. Nothing was changed. Read it again, then retry \
                with its new ETag.",
            )),
            _ => Ok(()),
        }
    }

    /// Appends a change to the change log, for the tables of every node.
    pub(crate) async fn changed(&mut self, kind: ChangeKind) -> Result<(), Error> {
        self.all_changed(&[kind]).await
    }

    /// Appends changes to the change log, for the tables of every node.
    pub(crate) async fn all_changed(&mut self, kinds: &[ChangeKind]) -> Result<(), Error> {
        Ok(self.tx.append_changes(kinds).await?)
    }

    /// Appends a change of a registration's secrets to the change log, and increases the version of the registration.
    pub(crate) async fn secrets_changed(&mut self, registration: &RegistrationId) -> Result<(), Error> {
        self.tx.touch_registration(registration).await?;
        self.changed(ChangeKind::Registration(registration.clone())).await
    }

    /// Appends to the audit trail.
    pub(crate) async fn audit(&mut self, event: &Event, about: About<'_>) -> Result<(), Error> {
        self.audit_at(self.now, event, about).await
    }

    /// Appends an event of an earlier time to the audit trail, such as a deadline that has passed.
    pub(crate) async fn audit_at(
        &mut self,
        at: Timestamp,
        event: &Event,
        about: About<'_>,
    ) -> Result<(), Error> {
        Ok(self.tx.append_audit(&self.by.entry(at, event, about)).await?)
    }

    /// Appends to the audit trail something that was refused, and not done.
    pub(crate) async fn audit_refused(&mut self, event: &Event, about: About<'_>) -> Result<(), Error> {
        Ok(self.tx.append_audit(&self.by.refusal(self.now, event, about)).await?)
    }

    /// Appends an event about a registration to the audit trail, and queues a message to the owners of its client.
    pub(crate) async fn tell(
        &mut self,
        random: &dyn Random,
        event: &Event,
        site: &Site,
        target: &str,
        reason: &str,
    ) -> Result<(), Error> {
        let about = About {
            client: Some(&site.client.id),
            environment: Some(&site.environment.slug),
            target: Some(target.to_owned()),
            reason: Some(reason),
        };
        self.audit(event, about).await?;
        self.notify(random, event, &site.client, Some(&site.environment.slug)).await
    }

    /// Appends an event of an earlier time about a client to the audit trail, and queues a message to the owners of the
    /// client.
    pub(crate) async fn tell_at(
        &mut self,
        at: Timestamp,
        random: &dyn Random,
        event: &Event,
        about: About<'_>,
    ) -> Result<(), Error> {
        let (client, environment) = (about.client, about.environment);
        self.audit_at(at, event, about).await?;
        let Some(client) = client else { return Ok(()) };
        let Some(client) = self.tx.client(client).await? else { return Ok(()) };
        self.notify(random, event, &client, environment).await
    }

    /// If requested, marks a secret that ends now as leaked, and ends the tokens issued under it.
    pub(crate) async fn end_tokens(
        &mut self,
        secret: &SecretId,
        compromised: bool,
        revoke_tokens: bool,
    ) -> Result<(), Error> {
        if compromised {
            self.tx.mark_secret_compromised(secret, self.now).await?;
        }
        if revoke_tokens {
            self.tx.revoke_tokens_of_secret(secret, self.now).await?;
            self.changed(ChangeKind::TokensOfSecret(secret.clone())).await?;
        }
        Ok(())
    }

    /// Queues a message to the owners of a client, for delivery after the commit.
    pub(crate) async fn notify(
        &mut self,
        random: &dyn Random,
        event: &Event,
        client: &Client,
        environment: Option<&Slug>,
    ) -> Result<(), Error> {
        if client.owners.is_empty() {
            return Ok(());
        }
        let mut id = [0; 16];
        random.fill(&mut id);
        let notification = Notification {
            id: base62::encode_fixed(&id, 22),
            created_at: self.now,
            event: event.action(),
            client_id: Some(client.id.clone()),
            environment: environment.cloned(),
            recipients: client.owners.clone(),
            details: event.details(),
        };
        Ok(self.tx.insert_notification(&notification).await?)
    }
}

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
            request.idempotency.map(|key| InFlight::enter(self, request.caller, key)).transpose()?;
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

    /// Reads `target` after storing all evidence, for a judgement. Fails if the evidence cannot be stored. Checks
    /// access first, so that callers without it cannot trigger a flush.
    pub(crate) async fn judge_evidence<T: Target + Copy, R>(
        &self,
        operation: Operation,
        caller: &Caller,
        target: T,
        work: impl AsyncFnOnce(&mut Tx, &Caller, T::Loaded) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let _turns = self.costly(operation, caller).await?;
        self.view(operation, caller, target, async |_, _, _| Ok(())).await?;
        self.store_for_judgement().await?;
        self.view(operation, caller, target, work).await
    }

    /// Reads `target` after storing the evidence. While changes fail or wait, it reads the evidence stored before.
    /// Checks access first, so that callers without it cannot trigger a flush.
    pub(crate) async fn view_evidence<T: Target + Copy, R>(
        &self,
        operation: Operation,
        caller: &Caller,
        target: T,
        work: impl AsyncFnOnce(&mut Tx, &Caller, T::Loaded) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let _turns = self.costly(operation, caller).await?;
        self.view(operation, caller, target, async |_, _, _| Ok(())).await?;
        self.store_evidence().await;
        self.view(operation, caller, target, work).await
    }

    /// Stores the evidence collected so far, unless changes fail or wait.
    pub(crate) async fn store_evidence(&self) {
        if self.changes.failing().is_some() {
            return;
        }
        match tokio::time::timeout(FLUSHED_WITHIN, self.store_all()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "cannot store evidence before it is read"),
            Err(_) => tracing::warn!("cannot store evidence within 1 s before it is read"),
        }
    }

    /// Stores the evidence for a judgement.
    async fn store_for_judgement(&self) -> Result<(), Error> {
        let stored = tokio::time::timeout(JUDGED_WITHIN, self.store_all()).await;
        stored.unwrap_or_else(|_| Err(unavailable(Fault::Busy).into()))
    }

    /// Returns evidence data that can be up to 1 second old, but is not older than the last change of the registration.
    /// Checks access first, so that cached data is never returned to a caller without permission. `parameters`
    /// distinguish the data of one registration.
    pub(crate) async fn view_kept<R: Clone>(
        &self,
        operation: Operation,
        caller: &Caller,
        path: RegistrationPath<'_>,
        (readings, parameters): (&Readings<R>, String),
        work: impl AsyncFnOnce(&mut Tx, &Caller, Site) -> Result<R, Error>,
    ) -> Result<R, Error> {
        // The turn of the account covers the wait for a reading that another request computes.
        let _turn_of_account = self.reads.account_turn(caller.user()).await?;
        let authorised = self.view(operation, caller, path, async |_, _, site: Site| {
            Ok((site.registration.id, site.registration.version))
        });
        let (registration, version) = authorised.await?;
        let compute = async || {
            let _turn = self.reads.turn().await?;
            match operation {
                Operation::ReadChangeOver => self.store_for_judgement().await?,
                _ => self.store_evidence().await,
            }
            self.view(operation, caller, path, work).await
        };
        readings.get((registration, parameters, version), || self.clock.now(), compute).await
    }

    /// Stores the evidence and the refusals so far, for a read. Runs to the end even if the reader disconnects, because
    /// a commit with unknown outcome would be a gap in the evidence. Simultaneous readers share one flush.
    async fn store_all(&self) -> Result<(), Error> {
        let asked = self.flushes_begun();
        let app = self.this.upgrade().ok_or_else(|| Error::internal("the application is closed"))?;
        #[expect(clippy::disallowed_methods, reason = "a flush of evidence is not dropped half-way")]
        let task = tokio::spawn(async move {
            app.flush_evidence_after(asked).await?;
            app.write_kept_refusals().await
        });
        task.await.map_err(Error::internal)?
    }

    /// Waits for the turns of a costly read.
    pub(crate) async fn costly(
        &self,
        operation: Operation,
        caller: &Caller,
    ) -> Result<Option<(AccountTurn, ReadTurn)>, Error> {
        if !operation.is_costly() {
            return Ok(None);
        }
        let of_account = self.reads.account_turn(caller.user()).await?;
        Ok(Some((of_account, self.reads.turn().await?)))
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

    /// Reads `target` on one consistent snapshot for a caller with permission.
    pub(crate) async fn view<T: Target, R>(
        &self,
        operation: Operation,
        caller: &Caller,
        target: T,
        work: impl AsyncFnOnce(&mut Tx, &Caller, T::Loaded) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let result = self
            .read(async |tx| {
                // Read again, because a right may have been removed while the request was on its way.
                let caller = caller.refreshed(tx, self.clock.now()).await?;
                let loaded = target.load(tx, &caller, operation.access()).await?;
                work(tx, &caller, loaded).await
            })
            .await;
        if let Err(error) = &result
            && (error.hidden || error.problem.code == Code::Forbidden)
        {
            self.audit_refusal(operation, caller, &target.names(), error).await;
        }
        result
    }

    /// Records a refusal in its own transaction, because the change's transaction was rolled back. Groups frequent
    /// refusals of one actor to protect the disk and other writers.
    async fn audit_refusal(&self, operation: Operation, caller: &Caller, names: &Names, error: &Error) {
        let code = error.problem.code;
        if matches!(code.status(), 401 | 500..) {
            return;
        }
        let event = Event::AccessRefused {
            operation: operation.id().to_owned(),
            code: code.as_str().to_owned(),
            field: error.problem.field.clone(),
            count: 1,
        };
        let now = self.clock.now();
        if !self.refusals.note(&caller.actor, &caller.via(), operation, code, now) {
            return;
        }
        let about = About {
            client: names.client.as_ref(),
            environment: names.environment.as_ref(),
            target: names.target.clone(),
            reason: Some(code.title()),
        };
        let refused = caller.author().refusal(now, &event, about);
        // A read stops with its client, so its refusal is noted before anything is waited for.
        if code == Code::NotFound || !operation.is_mutation() || self.changes.failing().is_some() {
            self.refusals.keep([refused]);
            return;
        }
        let written = async {
            let _turn = self.background_turn().await;
            let again = refused.clone();
            self.transact(async |tx, now| Ok(tx.append_audit(&NewAuditEvent { at: now, ..again }).await?))
                .await
        };
        match written.await {
            Ok(()) => {}
            Err(error) => {
                tracing::error!(%error, "cannot write a refusal to the audit trail");
                // Rows that may already be stored are not written again.
                if error.problem.code != Code::OutcomeUnknown {
                    self.refusals.keep([refused]);
                }
            }
        }
    }

    /// Writes the queued refusals.
    pub(crate) async fn write_kept_refusals(&self) -> Result<(), Error> {
        let kept = self.refusals.take_kept();
        if kept.is_empty() {
            return Ok(());
        }
        let written = self.transact(async |tx, _| {
            for refused in kept.events() {
                tx.append_audit(refused).await?;
            }
            kept.commits();
            Ok(())
        });
        let written = written.await;
        if written.as_ref().is_err_and(Error::is_refusal_of_data) {
            let events = kept.events().to_vec();
            kept.settle(true);
            return self.write_each_refusal(events).await;
        }
        // Rows that may already be stored are not written again.
        let is_written =
            written.as_ref().err().is_none_or(|error| error.problem.code == Code::OutcomeUnknown);
        kept.settle(is_written);
        written
    }

    /// Writes refusals one by one, so that a refusal that the database rejects does not block the others.
    async fn write_each_refusal(&self, kept: Vec<NewAuditEvent>) -> Result<(), Error> {
        let mut kept = kept.into_iter();
        while let Some(refused) = kept.next() {
            match self.transact(async |tx, _| Ok(tx.append_audit(&refused).await?)).await {
                Ok(()) => {}
                Err(error) if error.is_refusal_of_data() => {
                    tracing::error!(%error, "omitted a refusal from the audit trail because the database \
                        refused it");
                }
                Err(error) => {
                    let again = (error.problem.code != Code::OutcomeUnknown).then_some(refused);
                    self.refusals.keep(again.into_iter().chain(kept));
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Waits for a permit to write non-urgent data. Few permits exist, so a flood of such writes cannot delay a
    /// rotation or revocation.
    pub(crate) async fn background_turn(&self) -> Option<tokio::sync::SemaphorePermit<'_>> {
        self.background.acquire().await.ok()
    }
}
