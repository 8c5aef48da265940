//! Parses what a person chooses for a webhook.

use crate::{app::App, error::Error, keys::place::SealPlace};
use crossfade_core::{
    Problem, WebhookId,
    audit::Action,
    environment::{MAX_ENVIRONMENTS, Slug},
    webhook::{WebhookFormat, parse_kind},
};
use crossfade_store::Tx;

/// Maximum number of kinds in a list.
const MAX_EVENTS: usize = 50;

/// Parses the environments of a webhook, each once.
pub(super) async fn environments(tx: &mut Tx, list: &[String]) -> Result<Vec<Slug>, Error> {
    let known = tx.environments().await?;
    let is_known = |slug: &String| known.iter().any(|it| it.slug.as_str() == slug.as_str());
    if list.len() > MAX_ENVIRONMENTS || !list.iter().all(is_known) {
        let names: Vec<&str> = known.iter().map(|environment| environment.slug.as_str()).collect();
        let text = format!("must contain only {}", names.join(", "));
        return Err(Problem::invalid("environments", &text).into());
    }
    let chosen = known.into_iter().map(|it| it.slug).filter(|slug| list.iter().any(|it| it == slug.as_str()));
    Ok(chosen.collect())
}

/// Parses the kinds of events of a webhook, each once.
pub(super) fn events(list: &[String]) -> Result<Vec<Action>, Problem> {
    if list.len() > MAX_EVENTS {
        return Err(Problem::invalid("events", &format!("must contain at most {MAX_EVENTS} entries")));
    }
    let mut events = Vec::new();
    for word in list {
        let kinds = crossfade_core::webhook::KINDS.iter().map(|kind| kind.as_str());
        let Some(kind) = parse_kind(word) else {
            let text = format!("must contain only {}", kinds.collect::<Vec<_>>().join(", "));
            return Err(Problem::invalid("events", &text));
        };
        if !events.contains(&kind) {
            events.push(kind);
        }
    }
    Ok(events)
}

/// Parses an integration key of PagerDuty.
pub(super) fn routing_key(text: &str) -> Result<String, Problem> {
    let text = text.trim();
    if (1..=100).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Ok(text.to_owned());
    }
    Err(Problem::invalid(
        "routing_key",
        "must be the integration key of a PagerDuty service, letters and digits",
    ))
}

/// Requires a routing key for PagerDuty, and refuses one elsewhere.
pub(super) fn check_routing_key(format: WebhookFormat, is_set: bool) -> Result<(), Problem> {
    match (format, is_set) {
        (WebhookFormat::Pagerduty, false) => {
            Err(Problem::invalid("routing_key", "is required for the format pagerduty"))
        }
        (WebhookFormat::Pagerduty, true) | (_, false) => Ok(()),
        (_, true) => Err(Problem::invalid("routing_key", "must be omitted unless the format is pagerduty")),
    }
}

impl App {
    /// Parses a URL that deliveries can be sent to.
    pub(super) fn url(&self, text: &str) -> Result<String, Problem> {
        let to = self.posting.poster.destination(text).map_err(|what| Problem::invalid("url", &what))?;
        if crossfade_core::secret::looks_like_secret(text) {
            return Err(Problem::invalid("url", "must not contain a client secret or an API token"));
        }
        Ok(to.as_str().to_owned())
    }

    pub(super) fn seal_of_webhook(
        &self,
        id: &WebhookId,
        secret: &'static str,
        value: &[u8],
    ) -> Result<Vec<u8>, Error> {
        self.vault.seal(&SealPlace::Webhook { id, secret }, value)
    }
}
