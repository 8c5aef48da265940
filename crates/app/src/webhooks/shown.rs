//! How a webhook is shown: by the API, and in the trail.

use super::subject::{MANAGE, Subject};
use crate::{
    error::Error,
    frame::{
        act::Act, entry::About, idempotency::Repeatable, principal::Principal, targets::forbidden,
        versioned::Versioned,
    },
};
use aws_lc_rs::digest::{SHA256, digest};
use crossfade_core::{
    Operation, SecretId, api, audit::WebhookFacts, roles::Object, text::Name, webhook::still_signs,
};
use crossfade_outbound::Poster;
use crossfade_store::Webhook;

impl Repeatable for Versioned<api::Webhook> {
    async fn may_be_given(&self, principal: &Principal, operation: Operation) -> Result<(), Error> {
        // What a new webhook gets messages about is in the body, so its target does not ask for it. The reply tells its
        // sender nothing new.
        let may = match self.object.client_id {
            Some(_) => principal.may_somewhere(MANAGE),
            None => principal.may(MANAGE, Object::Platform),
        };
        if operation != Operation::CreateWebhook || may { Ok(()) } else { Err(forbidden(MANAGE)) }
    }

    /// Whoever still manages the webhook gets the signing secret again.
    async fn may_have_values(
        &self,
        act: &mut Act<'_>,
        principal: &Principal,
        _: Operation,
    ) -> Result<bool, Error> {
        let Some(webhook) = act.tx.webhook(&self.object.id).await? else { return Ok(false) };
        let Some(subject) = Subject::of(act.tx, &webhook).await? else { return Ok(false) };
        Ok(subject.permit(principal, &webhook.environments).is_ok())
    }

    fn secrets(&self) -> Vec<SecretId> {
        Vec::new()
    }

    fn take_values(&mut self) -> Vec<String> {
        self.object.signing_secret.take().into_iter().collect()
    }

    fn put_values(&mut self, values: Vec<String>) {
        self.object.signing_secret = values.into_iter().next();
    }
}

/// Returns a webhook as the API shows it. `name` is the name of its client or property, if the reader can know it.
pub(super) fn shown(
    webhook: &Webhook,
    name: Option<&Name>,
    now: crossfade_core::Timestamp,
) -> Versioned<api::Webhook> {
    let (disabled_at, disabled_as) = webhook.disabled.unzip();
    let name = name.map(ToString::to_string);
    let object = api::Webhook {
        id: webhook.id.clone(),
        name: webhook.name.to_string(),
        url: webhook.url.clone(),
        property_id: webhook.property_id.clone(),
        property_name: name.clone().filter(|_| webhook.property_id.is_some()),
        client_id: webhook.client_id.clone(),
        client_name: name.filter(|_| webhook.client_id.is_some()),
        environments: webhook.environments.iter().map(ToString::to_string).collect(),
        events: webhook.events.iter().map(|event| event.as_str().to_owned()).collect(),
        format: webhook.format,
        enabled: webhook.disabled.is_none(),
        disabled_at,
        disabled_as,
        failing_since: webhook.failing.map(|failing| failing.since),
        previous_secret_expires_at: webhook.previous_until.filter(|until| still_signs(Some(*until), now)),
        created_at: webhook.created_at,
        signing_secret: None,
    };
    Versioned::new(object, webhook.version)
}

/// Returns the facts of a webhook for the trail.
pub(super) fn facts(poster: &Poster, webhook: &Webhook) -> WebhookFacts {
    let digest: String = digest(&SHA256, webhook.url.as_bytes()).as_ref()[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    WebhookFacts {
        name: webhook.name.to_string(),
        origin: poster.destination(&webhook.url).map(|to| to.origin().to_owned()).unwrap_or_default(),
        url_digest: digest,
        property_id: webhook.property_id.clone(),
        client_id: webhook.client_id.clone(),
        environments: webhook.environments.iter().map(ToString::to_string).collect(),
        events: webhook.events.iter().map(|event| event.as_str().to_owned()).collect(),
        format: webhook.format,
        enabled: webhook.disabled.is_none(),
    }
}

/// Returns the subject of an event about a webhook.
pub(super) fn about(webhook: &Webhook) -> About<'_> {
    About { client: webhook.client_id.as_ref(), target: Some(webhook.id.to_string()), ..About::default() }
}
