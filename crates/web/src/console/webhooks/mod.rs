//! Webhooks: the list with the form that creates one, and the page of one with its settings and its deliveries.

pub(super) mod list;
pub(super) mod one;

use super::form::Fields;
use crossfade_core::{
    api::Environment,
    webhook::{DisabledAs, KINDS, WebhookFormat},
};

/// Environments that a form offers: slug and name.
fn environments(list: Vec<Environment>) -> Vec<(String, String)> {
    list.into_iter().map(|environment| (environment.slug, environment.name)).collect()
}

/// Kinds of events that a form offers, with what each means.
fn kinds() -> Vec<(&'static str, &'static str)> {
    KINDS.iter().map(|kind| (kind.as_str(), kind.title())).collect()
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
