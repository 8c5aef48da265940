//! How anything is changed: one transaction that authorises, loads, decides, stores, audits and queues.

use crate::{
    app::App,
    caller::{Caller, digest},
    error::Error,
    targets::{Names, Site, Target},
};
use crossfade_core::{
    ClientId, Code, Operation, Problem, SecretId, Timestamp,
    audit::{Actor, Event, Origin},
    environment::Slug,
    operations::Method,
    roles::{Object, Permission},
};
use crossfade_store::{ChangeKind, Client, NewAuditEvent, Notification, Remembered, Tx};
use serde::{Serialize, de::DeserializeOwned};
use std::time::Duration;

/// How long a repeated request is answered with the values again.
pub(crate) const VALUES_REMEMBERED: Duration = Duration::from_secs(600);
/// Of what has no version, such as a list that something is added to: no tag can match it (RFC 9110 §13.1.1).
pub(crate) const NO_VERSION: i64 = 0;
/// How long a repeated request is recognised at all.
pub(crate) const ANSWERS_REMEMBERED: Duration = Duration::from_secs(24 * 3600);

/// The envelope of a change.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Who asks.
    pub caller: &'a Caller,
    /// Makes a repetition harmless.
    pub idempotency: Option<&'a IdempotencyKey>,
    /// The version that the caller has read, if it must still be that.
    pub if_match: Option<i64>,
}

/// A client-chosen key, and a fingerprint of the request that it was sent with.
#[derive(Clone, Debug)]
pub struct IdempotencyKey {
    key: String,
    request: Vec<u8>,
}

impl IdempotencyKey {
    /// The key `key` for a request of this method and path with this body.
    pub fn new(key: &str, method: &str, path: &str, body: &[u8]) -> Result<Self, Problem> {
        let valid = (1..=255).contains(&key.len()) && key.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        if !valid || crossfade_core::secret::looks_like_secret(key) {
            return Err(Problem::new(
                Code::InvalidQuery,
                "Idempotency-Key must be 1 to 255 visible ASCII characters, and not a secret.",
            )
            .with_field("Idempotency-Key"));
        }
        let mut request = format!("{method} {path}\n").into_bytes();
        request.extend_from_slice(body);
        let request = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &request).as_ref().to_vec();
        Ok(Self { key: key.to_owned(), request })
    }
}

/// The input of an operation: JSON that is read only after the caller has been authorised, because what is
/// wrong with a body is nobody's business who may not send it; or a value made by a form.
#[derive(Clone, Debug)]
pub enum Input<'a, T> {
    /// A JSON text.
    Json(&'a [u8]),
    /// A value.
    Value(T),
}

impl<T: DeserializeOwned> Input<'_, T> {
    /// The same for a body whose only number is a member with a problem of its own: a number beyond all floats
    /// is refused before it is known which member holds it.
    pub(crate) fn read_with(self, number_out_of_range: Problem) -> Result<T, Problem> {
        match &self {
            Self::Json(text) => match serde_json::from_slice::<serde_json::Value>(text) {
                Err(error) if error.to_string().starts_with("number out of range") => {
                    Err(number_out_of_range)
                }
                _ => self.read(),
            },
            Self::Value(_) => self.read(),
        }
    }

    pub(crate) fn read(self) -> Result<T, Problem> {
        match self {
            Self::Value(value) => Ok(value),
            // serde would read an array as the members in order.
            Self::Json(text) if text.trim_ascii_start().first() != Some(&b'{') => {
                Err(Problem::new(Code::InvalidBody, "The body must be a JSON object. Nothing was changed."))
            }
            Self::Json(text) => serde_json::from_slice(text).map_err(|error| body_problem(&error)),
        }
    }
}

/// What serde found, as a sentence. It names the member where serde does.
fn body_problem(error: &serde_json::Error) -> Problem {
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or(&text);
    // A value may be a secret that was sent to the wrong place; names of members and of types may be shown.
    let names_member =
        ["unknown field", "missing field", "duplicate field"].iter().any(|it| what.starts_with(it))
            && !crossfade_core::secret::looks_like_secret(what);
    let shown = if names_member { what } else { "a member has the wrong type or form" };
    let problem = Problem::new(
        Code::InvalidBody,
        format!("The body is not what this operation takes: {shown}. Nothing was changed."),
    );
    match what.split('`').nth(1) {
        // It goes into the trail, so only what looks like the name of a member.
        Some(member)
            if names_member
                && member.len() <= 64
                && member.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte)) =>
        {
            problem.with_field(member)
        }
        _ => problem,
    }
}

/// An answer that can be remembered: JSON, and apart from it the secret values in it.
pub(crate) trait Reply: Serialize + DeserializeOwned {
    /// The secrets of which it holds, or could hold, the values.
    fn secrets(&self) -> Vec<SecretId> {
        Vec::new()
    }

    /// Whether the caller may have the values now; where it takes that, it is written down.
    async fn may_have_values(&self, act: &mut Act<'_>, operation: Operation) -> Result<bool, Error> {
        reveal(act, operation, &self.secrets()).await
    }

    /// Takes the secret values out, in the order of [`Self::secrets`].
    fn take_values(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// Puts them back.
    fn put_values(&mut self, _values: Vec<String>) {}

    /// Says that the values were delivered before and are not given again.
    fn mark_delivered(&mut self) {}
}

impl Reply for () {}

/// A change in progress: the transaction, its one time, and who acts.
pub(crate) struct Act<'a> {
    pub(crate) tx: &'a mut Tx,
    /// The time of the whole change, read once, after the lock was taken.
    pub(crate) now: Timestamp,
    pub(crate) caller: &'a Caller,
    if_match: Option<i64>,
}

impl Act<'_> {
    /// Refuses when the caller has read another version than there is.
    pub(crate) fn matches(&self, version: i64) -> Result<(), Problem> {
        match self.if_match {
            Some(read) if read != version => Err(Problem::new(
                Code::PreconditionFailed,
                "This has changed since you read it. Nothing was changed. Read it again and decide anew.",
            )),
            _ => Ok(()),
        }
    }

    /// Tells every node's tables of a change.
    pub(crate) async fn changed(&mut self, kind: ChangeKind) -> Result<(), Error> {
        Ok(self.tx.append_change(&kind).await?)
    }

    /// Tells every node's tables, and whoever holds a version of the registration, that its secrets changed.
    pub(crate) async fn secrets_changed(&mut self, site: &Site) -> Result<(), Error> {
        self.tx.touch_registration(&site.registration.id).await?;
        self.changed(ChangeKind::Registration(site.registration.id.clone())).await
    }

    /// Appends to the audit trail.
    pub(crate) async fn audit(&mut self, event: &Event, about: About<'_>) -> Result<(), Error> {
        let written = about.event(self.now, self.caller.actor.clone(), event).from(&self.caller.origin);
        Ok(self.tx.append_audit(&written).await?)
    }

    /// Appends to the audit trail what was done to a registration, and queues it to the owners of its client.
    pub(crate) async fn tell(
        &mut self,
        app: &App,
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
        self.notify(app, event, &site.client, Some(&site.environment.slug)).await
    }

    /// Marks a secret that ends now as leaked, and ends the tokens issued under it, as asked.
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

    /// Queues a message to the owners of a client; delivered after the commit.
    pub(crate) async fn notify(
        &mut self,
        app: &App,
        event: &Event,
        client: &Client,
        environment: Option<&Slug>,
    ) -> Result<(), Error> {
        app.queue_notification(self.tx, self.now, event, client, environment).await
    }
}

/// What an audit event is about.
#[derive(Clone, Debug, Default)]
pub(crate) struct About<'a> {
    pub(crate) client: Option<&'a ClientId>,
    pub(crate) environment: Option<&'a Slug>,
    pub(crate) target: Option<String>,
    pub(crate) reason: Option<&'a str>,
}

impl<'a> About<'a> {
    /// About one object that belongs to no client.
    pub(crate) fn target(id: impl ToString) -> Self {
        Self { target: Some(id.to_string()), ..Self::default() }
    }

    /// About an environment.
    pub(crate) fn environment(slug: &'a Slug) -> Self {
        Self { environment: Some(slug), ..Self::default() }
    }

    /// The event, done by nobody's request.
    pub(crate) fn event(self, at: Timestamp, actor: Actor, event: &Event) -> NewAuditEvent {
        NewAuditEvent {
            at,
            actor,
            origin: Origin::default(),
            action: event.action(),
            done: true,
            client_id: self.client.cloned(),
            environment: self.environment.cloned(),
            target: self.target,
            reason: self.reason.filter(|reason| !reason.is_empty()).map(str::to_owned),
            details: event.details(),
        }
    }
}

/// Whether the caller may see all of these secrets; if so, that is written down for each.
async fn reveal(act: &mut Act<'_>, operation: Operation, secrets: &[SecretId]) -> Result<bool, Error> {
    let mut places = Vec::new();
    for secret in secrets {
        let Some((property, client, environment)) = act.tx.place_of_secret(secret).await? else {
            return Ok(false);
        };
        if !act.caller.may(Permission::SecretReveal, Object::Registration(&property, &client, &environment)) {
            return Ok(false);
        }
        places.push((secret, client, environment));
    }
    for (secret, client, environment) in &places {
        let about = About {
            client: Some(client),
            environment: Some(environment),
            target: Some(secret.to_string()),
            ..About::default()
        };
        let event = Event::SecretRevealed {
            secret_id: (*secret).clone(),
            state: None,
            replayed: Some(operation.id().to_owned()),
        };
        act.audit(&event, about).await?;
    }
    Ok(true)
}

impl App {
    /// Runs `work` in one transaction, with the one time that it happens at. Returns the sequence number that
    /// tables must have applied to enforce it.
    pub(crate) async fn write<T>(
        &self,
        work: impl AsyncFnOnce(&mut Tx, Timestamp) -> Result<T, Error>,
    ) -> Result<(T, i64), Error> {
        self.db
            .write::<T, Error>(async |tx| {
                // After the lock: whatever ended while this change waited has ended for it too.
                self.clock.raise(tx.highest_time());
                let now = self.clock.now();
                tx.stamp(now);
                work(tx, now).await
            })
            .await
    }

    /// Runs a change in one transaction and waits until this node's own tables enforce it.
    pub(crate) async fn transact<T>(
        &self,
        work: impl AsyncFnOnce(&mut Tx, Timestamp) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let (done, seq) = self.write(work).await?;
        self.catch_up(seq).await.map_err(|error| Error {
            problem: Problem::new(
                Code::OutcomeUnknown,
                "The change is stored, but this server cannot say yet that it enforces it. Read the state before you try again.",
            ),
            source: Some(Box::new(error)),
            hidden: false,
        })?;
        Ok(done)
    }

    /// Does `operation` to `target` on behalf of a caller who may. The only way to change anything on a caller's
    /// behalf.
    pub(crate) async fn change<T: Target, R: Reply>(
        &self,
        operation: Operation,
        request: &Request<'_>,
        target: T,
        work: impl AsyncFnOnce(&mut Act<'_>, T::Loaded) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let _in_flight =
            request.idempotency.map(|key| InFlight::enter(self, request.caller, key)).transpose()?;
        let result = match self.admit(operation, request, &target).await {
            Err(error) => Err(error),
            Ok(()) => {
                self.transact(async |tx, now| {
                    let caller = request.caller.refreshed(tx, now).await?;
                    let loaded = target.load(tx, &caller, operation.access()).await;
                    let mut act = Act { tx, now, caller: &caller, if_match: request.if_match };
                    if let Some(key) = request.idempotency
                        && let Some(reply) = self.replay(&mut act, key, operation, &loaded).await?
                    {
                        return Ok(reply);
                    }
                    let mut reply = work(&mut act, loaded?).await?;
                    if let Some(key) = request.idempotency {
                        self.remember(&mut act, key, &mut reply).await?;
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

    /// Refuses on a read whoever may not do this, so that they never stand in the queue for the one lock. Under the
    /// lock it is asked again: a right may be gone by then.
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
                // What a first request has deleted is not there for its repetition.
                match request.idempotency {
                    Some(key) if tx.remembered(caller.key(), &key.key).await?.is_some() => Ok(()),
                    _ => Err(error),
                }
            })
            .await
    }

    /// The same as [`Self::view`] of what evidence tells: it is written down first, but not for whoever may not read.
    pub(crate) async fn view_evidence<T: Target + Copy, R>(
        &self,
        operation: Operation,
        caller: &Caller,
        target: T,
        work: impl AsyncFnOnce(&mut Tx, &Caller, T::Loaded) -> Result<R, Error>,
    ) -> Result<R, Error> {
        self.view(operation, caller, target, async |_, _, _| Ok(())).await?;
        self.flush_evidence().await?;
        self.write_kept_refusals().await?;
        self.view(operation, caller, target, work).await
    }

    /// Reads `target` on one consistent snapshot for a caller who may.
    pub(crate) async fn view<T: Target, R>(
        &self,
        operation: Operation,
        caller: &Caller,
        target: T,
        work: impl AsyncFnOnce(&mut Tx, &Caller, T::Loaded) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let result = self
            .db
            .read(async |tx| {
                // Read again: a right that was taken away while the request was on its way is gone.
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

    /// The answer that was given to this request before (product rule 7).
    async fn replay<R: Reply, L>(
        &self,
        act: &mut Act<'_>,
        key: &IdempotencyKey,
        operation: Operation,
        loaded: &Result<L, Error>,
    ) -> Result<Option<R>, Error> {
        let Some(remembered) = act.tx.remembered(act.caller.key(), &key.key).await? else { return Ok(None) };
        // Authorised again. What the first request deleted is not there any more, which is its success.
        let gone = matches!(loaded, Err(error) if error.problem.code == Code::NotFound);
        let deleted = operation.method() == Method::Delete;
        if loaded.is_err() && !(gone && deleted && remembered.request == key.request) {
            return Ok(None);
        }
        if remembered.request != key.request {
            return Err(Problem::new(
                Code::IdempotencyMismatch,
                "This Idempotency-Key was used for another request. Nothing was changed. Use a new key for a new request.",
            )
            .with_field("Idempotency-Key")
            .into());
        }
        let mut reply: R = serde_json::from_str(&remembered.reply).map_err(Error::internal)?;
        if let Some(sealed) = &remembered.sealed
            && act.now < remembered.created_at.after(VALUES_REMEMBERED)
        {
            // The key belongs to the account; this token of it may be one that sees no secrets.
            if reply.may_have_values(act, operation).await? {
                let values = self.vault.open(&remembered_place(act.caller.key(), &key.key), sealed)?;
                reply.put_values(serde_json::from_slice(&values).map_err(Error::internal)?);
            }
        } else {
            reply.mark_delivered();
        }
        Ok(Some(reply))
    }

    async fn remember<R: Reply>(
        &self,
        act: &mut Act<'_>,
        key: &IdempotencyKey,
        reply: &mut R,
    ) -> Result<(), Error> {
        let values = reply.take_values();
        let stored = serde_json::to_string(reply).map_err(Error::internal)?;
        let sealed = if values.is_empty() {
            None
        } else {
            let plain = zeroize::Zeroizing::new(serde_json::to_vec(&values).map_err(Error::internal)?);
            Some(self.vault.seal(&remembered_place(act.caller.key(), &key.key), &plain)?)
        };
        reply.put_values(values);
        let answer = Remembered { request: key.request.clone(), created_at: act.now, reply: stored, sealed };
        Ok(act.tx.remember(act.caller.key(), &key.key, &answer).await?)
    }

    /// A refusal of somebody known stands in the trail, in a transaction of its own: the change's was rolled
    /// back. Whoever is refused very often is gathered, so that neither the disk nor other writers suffer.
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
        if !self.refusals.note(&caller.actor, operation, code, now) {
            return;
        }
        let about = About {
            client: names.client.as_ref(),
            environment: names.environment.as_ref(),
            target: names.target.clone(),
            reason: None,
        };
        let mut refused = about.event(now, caller.actor.clone(), &event).from(&caller.origin);
        refused.done = false;
        if code == Code::NotFound {
            self.refusals.keep([refused]);
            return;
        }
        let _turn = self.background_turn().await;
        let written = self
            .transact(async |tx, now| Ok(tx.append_audit(&NewAuditEvent { at: now, ..refused }).await?))
            .await;
        if let Err(error) = written {
            tracing::error!(%error, "a refusal could not be written to the audit trail");
        }
    }

    /// Writes the refusals that were kept.
    pub(crate) async fn write_kept_refusals(&self) -> Result<(), Error> {
        let kept = self.refusals.take_kept();
        if kept.is_empty() {
            return Ok(());
        }
        let written = self.transact(async |tx, _| {
            for refused in &kept {
                tx.append_audit(refused).await?;
            }
            Ok(())
        });
        let written = written.await;
        // What was perhaps written is not written again.
        if written.as_ref().is_err_and(|error| error.problem.code != Code::OutcomeUnknown) {
            self.refusals.keep(kept);
        }
        written
    }

    /// Waits for a turn to write what nobody rotates or revokes by: only a few of these stand in the queue for the
    /// one lock at a time, so that a flood of them does not delay the end of a secret.
    pub(crate) async fn background_turn(&self) -> Option<tokio::sync::SemaphorePermit<'_>> {
        self.background.acquire().await.ok()
    }

    pub(crate) async fn queue_notification(
        &self,
        tx: &mut Tx,
        now: Timestamp,
        event: &Event,
        client: &Client,
        environment: Option<&Slug>,
    ) -> Result<(), Error> {
        if client.owners.is_empty() {
            return Ok(());
        }
        let mut id = [0; 16];
        self.random.fill(&mut id);
        let notification = Notification {
            id: crossfade_core::base62::encode_fixed(&id, 22),
            created_at: now,
            event: event.action(),
            client_id: Some(client.id.clone()),
            environment: environment.cloned(),
            recipients: client.owners.clone(),
            details: event.details(),
        };
        Ok(tx.insert_notification(&notification).await?)
    }
}

/// Binds remembered values to whom and what they were an answer to.
pub(crate) fn remembered_place(actor: &str, key: &str) -> String {
    let key: String = digest(key).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("idempotency/{actor}/{key}")
}

/// Holds a key for as long as its request runs.
struct InFlight<'a> {
    app: &'a App,
    entry: (String, String),
}

impl<'a> InFlight<'a> {
    fn enter(app: &'a App, caller: &Caller, key: &IdempotencyKey) -> Result<Self, Problem> {
        let entry = (caller.key().to_owned(), key.key.clone());
        let entered =
            app.in_flight.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(entry.clone());
        if entered {
            Ok(Self { app, entry })
        } else {
            Err(Problem::new(
                Code::IdempotencyInFlight,
                "A request with this Idempotency-Key is still running. Try again in a moment.",
            )
            .with_field("Idempotency-Key"))
        }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.app.in_flight.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&self.entry);
    }
}
