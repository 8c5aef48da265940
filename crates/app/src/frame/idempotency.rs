//! Repeated requests: a change is made once, and its response is returned again (rule 7).

use crate::{
    app::App,
    error::Error,
    frame::{act::Act, entry::About, principal::Principal},
    keys::place::SealPlace,
    node::in_flight::{Entered, InFlight},
};
use crossfade_core::{
    Code, Operation, Problem, SecretId,
    api::Enforced,
    audit::Event,
    operations::Method,
    roles::{Object, Permission},
};
use crossfade_store::{Remembered, Tx};
use serde::{Serialize, de::DeserializeOwned};
use std::time::Duration;

/// How long a repeated request gets the values again.
pub(crate) const VALUES_REMEMBERED: Duration = Duration::from_secs(600);
/// How long a repeated request is recognised at all.
pub(crate) const ANSWERS_REMEMBERED: Duration = Duration::from_secs(24 * 3600);

/// A client-chosen key, and a fingerprint of its request.
#[derive(Clone, Debug)]
pub struct IdempotencyKey {
    key: String,
    request: Vec<u8>,
}

impl IdempotencyKey {
    /// Returns the key `key` for a request of this method and path with this body.
    pub fn new(key: &str, method: &str, path: &str, body: &[u8]) -> Result<Self, Problem> {
        let valid = (1..=255).contains(&key.len()) && key.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        if !valid || crossfade_core::secret::looks_like_secret(key) {
            return Err(Problem::new(
                Code::InvalidQuery,
                "Idempotency-Key must be 1 to 255 visible ASCII characters, and must not be a secret.",
            )
            .with_field("Idempotency-Key"));
        }
        let mut request = format!("{method} {path}\n").into_bytes();
        request.extend_from_slice(body);
        let request = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &request).as_ref().to_vec();
        Ok(Self { key: key.to_owned(), request })
    }

    /// Returns the text of the key.
    pub fn as_str(&self) -> &str {
        &self.key
    }

    /// Returns the fingerprint of its request.
    pub(crate) fn request(&self) -> &[u8] {
        &self.request
    }

    /// Reserves the key for a request of the principal until the result is dropped.
    pub(crate) fn enter<'a>(
        &self,
        running: &'a InFlight,
        principal: &Principal,
    ) -> Result<Entered<'a>, Problem> {
        let in_flight = || {
            let text = "A request with this Idempotency-Key is still running. Try again in a moment.";
            Problem::new(Code::IdempotencyInFlight, text).with_field("Idempotency-Key")
        };
        running.enter(principal.key(), &self.key).ok_or_else(in_flight)
    }

    /// Whether a request of the principal with this key has been answered.
    pub(crate) async fn is_remembered(&self, tx: &mut Tx, principal: &Principal) -> Result<bool, Error> {
        Ok(tx.remembered(principal.key(), &self.key).await?.is_some())
    }
}

/// A response that can be remembered: JSON, with its secret values kept separately.
pub(crate) trait Repeatable: Serialize + DeserializeOwned {
    /// Whether it tells of a change. If not, a repeated request is decided again.
    fn is_change(&self) -> bool {
        true
    }

    /// Returns the secrets whose values it contains or could contain.
    fn secrets(&self) -> Vec<SecretId> {
        Vec::new()
    }

    /// Refuses a principal who no longer has permission where the request was made, for an operation whose target does
    /// not determine the place.
    async fn may_be_given(&self, _principal: &Principal, _operation: Operation) -> Result<(), Error> {
        Ok(())
    }

    /// Whether the principal can see the values now. Records a reveal if so.
    async fn may_have_values(
        &self,
        act: &mut Act<'_>,
        principal: &Principal,
        operation: Operation,
    ) -> Result<bool, Error> {
        reveal(act, principal, operation, &self.secrets()).await
    }

    /// Removes the secret values, in the order of [`Self::secrets`].
    fn take_values(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// Puts them back.
    fn put_values(&mut self, _values: Vec<String>) {}

    /// Marks the values as delivered before.
    fn mark_delivered(&mut self) {}

    /// Says since when the change is in force on every node.
    fn set_enforced(&mut self, _enforced: Enforced) {}
}

impl Repeatable for () {}

impl App {
    /// Returns the earlier response to this request (rule 7).
    pub(crate) async fn replay<R: Repeatable, L>(
        &self,
        act: &mut Act<'_>,
        principal: &Principal,
        key: &IdempotencyKey,
        operation: Operation,
        loaded: &Result<L, Error>,
    ) -> Result<Option<R>, Error> {
        let Some(remembered) = act.tx.remembered(principal.key(), &key.key).await? else { return Ok(None) };
        // Authorised again. What the first request deleted is not there any more, which is its success.
        let gone = matches!(loaded, Err(error) if error.problem.code == Code::NotFound);
        let deleted = operation.method() == Method::Delete;
        let is_same = self.is_request(&remembered.request, key);
        if loaded.is_err() && !(gone && deleted && is_same) {
            return Ok(None);
        }
        if !is_same {
            return Err(Problem::new(
                Code::IdempotencyMismatch,
                "This Idempotency-Key was already used for a different request. Nothing was changed. Use a \
                new key.",
            )
            .with_field("Idempotency-Key")
            .into());
        }
        let mut reply: R = serde_json::from_str(&remembered.reply).map_err(Error::internal)?;
        reply.may_be_given(principal, operation).await?;
        act.tx.confirm_ends();
        if let Some(sealed) = &remembered.sealed
            && act.now < remembered.created_at.after(VALUES_REMEMBERED)
        {
            // The key belongs to the account; this token of it may be one that sees no secrets.
            if reply.may_have_values(act, principal, operation).await? {
                let values =
                    self.vault.open(&SealPlace::Answer { actor: principal.key(), key: &key.key }, sealed)?;
                reply.put_values(serde_json::from_slice(&values).map_err(Error::internal)?);
            }
        } else {
            reply.mark_delivered();
        }
        Ok(Some(reply))
    }

    pub(crate) async fn remember<R: Repeatable>(
        &self,
        act: &mut Act<'_>,
        principal: &Principal,
        key: &IdempotencyKey,
        reply: &mut R,
    ) -> Result<(), Error> {
        let values = reply.take_values();
        let stored = serde_json::to_string(reply).map_err(Error::internal)?;
        let sealed = if values.is_empty() {
            None
        } else {
            let plain = zeroize::Zeroizing::new(serde_json::to_vec(&values).map_err(Error::internal)?);
            Some(self.vault.seal(&SealPlace::Answer { actor: principal.key(), key: &key.key }, &plain)?)
        };
        reply.put_values(values);
        let request = self.digests.request(&key.request);
        let answer = Remembered { request, created_at: act.now, reply: stored, sealed };
        Ok(act.tx.remember(principal.key(), &key.key, &answer).await?)
    }

    /// Whether a stored fingerprint is that of the request of `key`. Earlier versions stored it without a key.
    fn is_request(&self, stored: &[u8], key: &IdempotencyKey) -> bool {
        stored == self.digests.request(&key.request) || stored == key.request
    }
}

/// Whether the principal can see all of these secrets. If so, records a reveal for each.
async fn reveal(
    act: &mut Act<'_>,
    principal: &Principal,
    operation: Operation,
    secrets: &[SecretId],
) -> Result<bool, Error> {
    let mut places = Vec::new();
    for secret in secrets {
        let Some((property, client, environment)) = act.tx.place_of_secret(secret).await? else {
            return Ok(false);
        };
        let object = Object::Registration(&property, &client, &environment);
        let may = match operation {
            Operation::RotateSecret => principal.may_receive(object),
            _ => principal.may(Permission::SecretReveal, object),
        };
        if !may {
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
