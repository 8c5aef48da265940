//! Webhooks: the list with the form that creates one, and the page of one with its settings and its deliveries.

pub(super) mod list;
pub(super) mod one;

use super::form::Fields;
use crossfade_core::{
    api::{Environment, Webhook},
    audit::Action,
    webhook::{DisabledAs, KINDS, WebhookFormat},
};

/// Client or property that a webhook gets messages about.
struct About {
    /// What it is.
    kind: &'static str,
    id: String,
    /// Its name, or its ID for a person who cannot read it.
    name: String,
    /// Its page.
    path: String,
}

impl About {
    /// Returns what a webhook gets messages about; `None` for the platform.
    fn of(webhook: &Webhook) -> Option<Self> {
        let about = |kind, id: String, name: Option<&String>, path| Self {
            kind,
            name: name.unwrap_or(&id).clone(),
            path: format!("/console/{path}/{id}"),
            id,
        };
        match (&webhook.client_id, &webhook.property_id) {
            (Some(id), _) => Some(about("Client", id.to_string(), webhook.client_name.as_ref(), "clients")),
            (None, Some(id)) => {
                Some(about("Property", id.to_string(), webhook.property_name.as_ref(), "properties"))
            }
            (None, None) => None,
        }
    }
}

/// Environments that a form offers: slug and name.
fn environments(list: Vec<Environment>) -> Vec<(String, String)> {
    list.into_iter().map(|environment| (environment.slug, environment.name)).collect()
}

/// Kinds of events that a form offers, with what each means.
fn kinds() -> Vec<(&'static str, &'static str)> {
    KINDS.iter().map(|kind| (kind.as_str(), meaning(*kind))).collect()
}

/// Returns when a webhook gets an event. Of these, the audit trail has more than webhooks get.
fn meaning(kind: Action) -> &'static str {
    match kind {
        Action::RegistrationUpdated => {
            "A registration was enabled or disabled, or self-rotation was turned on or off."
        }
        Action::ClientUpdated => "The owners of a client were set or changed.",
        kind => kind.title(),
    }
}

/// Returns the format as it is shown.
fn format_name(format: WebhookFormat) -> &'static str {
    match format {
        WebhookFormat::Standard => "Standard Webhooks",
        WebhookFormat::Slack => "Slack",
        WebhookFormat::Teams => "Microsoft Teams",
        WebhookFormat::Pagerduty => "PagerDuty",
    }
}

/// Returns why a webhook is disabled, as a sentence.
fn why_disabled(reason: &DisabledAs) -> &'static str {
    match reason {
        DisabledAs::Disabled => "This webhook is disabled.",
        DisabledAs::Gone => "This webhook is disabled, because the receiver answered that it is gone (410).",
        DisabledAs::Failing => "This webhook is disabled, because all attempts of 5 days failed.",
    }
}

fn chosen(fields: &Fields, name: &str) -> Vec<String> {
    fields.all(name).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_event_is_described_as_webhooks_get_it() {
        let kinds = super::kinds();
        let meaning = |word: &str| kinds.iter().find(|(kind, _)| *kind == word).unwrap().1;
        assert_eq!(meaning("client.updated"), "The owners of a client were set or changed.");
        assert!(meaning("registration.updated").contains("self-rotation"));
        assert_eq!(meaning("secret.rotated"), crossfade_core::audit::Action::SecretRotated.title());
    }
}
