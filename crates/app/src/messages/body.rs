//! Bodies of deliveries to webhooks, by format. Written when they are sent, from the facts that were stored with the event,
//! so each attempt sends the same bytes.

use super::letter::{letter, url};
use crossfade_core::{
    TimeZone,
    webhook::{
        CLIENT_NAMES, EARLIER_URL, Incident, PAYLOAD_VERSION, WEBHOOK_NAMES, WebhookClient, WebhookData,
        WebhookFormat, WebhookPayload, payload_type,
    },
};
use crossfade_outbound::Letter;
use crossfade_store::Notification;
use serde_json::{Value, json};

/// Maximum length of a header of Slack.
const MAX_SLACK_HEADER: usize = 150;
/// Maximum length of a text of Slack, less than its limit of 2,000 in a field.
const MAX_SLACK_FIELD: usize = 1900;
/// Maximum number of fields of a section of Slack.
const MAX_SLACK_FIELDS: usize = 10;
/// Maximum length of a summary of PagerDuty.
const MAX_SUMMARY: usize = 1024;
/// Maximum length of any other text.
const MAX_TEXT: usize = 4000;

/// Returns the body of a delivery; `None` if the stored facts cannot be read. `base` is the base of the Console.
pub(crate) fn body(
    message: &Notification,
    format: WebhookFormat,
    routing_key: Option<&str>,
    base: &str,
) -> Option<Vec<u8>> {
    let letter = || letter(message, "", base, &TimeZone::UTC);
    let body = match format {
        WebhookFormat::Standard => serde_json::to_value(payload(message, base)).ok()?,
        WebhookFormat::Slack => slack(&letter()?),
        WebhookFormat::Teams => teams(&letter()?),
        WebhookFormat::Pagerduty => pagerduty(message, letter, routing_key?)?,
    };
    serde_json::to_vec(&body).ok()
}

fn payload(message: &Notification, base: &str) -> WebhookPayload {
    let client = message.client_id.as_ref().map(|id| WebhookClient {
        id: id.to_string(),
        name: message.client_name.clone().unwrap_or_default(),
    });
    let mut details = message.details.clone();
    if let Some(details) = details.as_object_mut() {
        for of_mail in [WEBHOOK_NAMES, CLIENT_NAMES, EARLIER_URL] {
            details.remove(of_mail);
        }
    }
    WebhookPayload {
        kind: payload_type(message.event).to_owned(),
        version: PAYLOAD_VERSION,
        timestamp: message.created_at,
        number: message.number,
        data: WebhookData {
            client,
            environment: message.environment.as_ref().map(ToString::to_string),
            actor: message.actor_name.clone(),
            reason: message.reason.clone(),
            url: url(message, base),
            details,
        },
    }
}

/// Returns a message for an incoming webhook of Slack. Every text of a person is in a field that Slack shows as it is, but
/// the fallback, in which it is escaped.
fn slack(letter: &Letter) -> Value {
    let plain = |text: &str, most| json!({"type": "plain_text", "text": cut(text, most), "emoji": false});
    let fields: Vec<_> = letter
        .facts
        .iter()
        .map(|(label, value)| plain(&format!("{label}\n{value}"), MAX_SLACK_FIELD))
        .take(MAX_SLACK_FIELDS * 2)
        .collect();
    let mut blocks = vec![
        json!({"type": "header", "text": plain(&letter.heading, MAX_SLACK_HEADER)}),
        json!({"type": "section", "text": plain(&letter.next, MAX_SLACK_FIELD)}),
    ];
    blocks.extend(fields.chunks(MAX_SLACK_FIELDS).map(|fields| json!({"type": "section", "fields": fields})));
    blocks.push(json!({
        "type": "actions",
        "elements": [{"type": "button", "text": plain(letter.button, 75), "url": letter.url}],
    }));
    let escaped =
        cut(&letter.subject, MAX_TEXT).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    json!({"text": escaped, "blocks": blocks})
}

/// Returns a card for a workflow of Teams that posts cards. Its texts are runs, in which Teams reads no Markdown.
fn teams(letter: &Letter) -> Value {
    let run = |text: &str, more: Value| {
        let mut run = json!({"type": "TextRun", "text": cut(text, MAX_TEXT)});
        if let (Some(run), Some(more)) = (run.as_object_mut(), more.as_object()) {
            run.extend(more.clone());
        }
        run
    };
    let block = |inlines: Vec<Value>| json!({"type": "RichTextBlock", "inlines": inlines});
    let colour = if letter.is_urgent { "attention" } else { "default" };
    let mut body = vec![
        block(vec![run(&letter.heading, json!({"size": "large", "weight": "bolder", "color": colour}))]),
        block(vec![run(&letter.next, json!({}))]),
    ];
    for (label, value) in &letter.facts {
        body.push(block(vec![
            run(&format!("{label}: "), json!({"weight": "bolder"})),
            run(value, json!({})),
        ]));
    }
    let card = json!({
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": body,
        "actions": [{"type": "Action.OpenUrl", "title": letter.button, "url": letter.url}],
    });
    let contents = json!({
        "contentType": "application/vnd.microsoft.card.adaptive",
        "contentUrl": null,
        "content": card,
    });
    json!({"type": "message", "attachments": [contents]})
}

/// Returns an event for PagerDuty; `None` if the message neither opens nor resolves an incident.
fn pagerduty(
    message: &Notification,
    letter: impl Fn() -> Option<Letter>,
    routing_key: &str,
) -> Option<Value> {
    let incident = Incident::of(message.event, &message.details)?;
    let mut event = json!({
        "routing_key": routing_key,
        "dedup_key": format!("crossfade:{}", incident.subject),
        "event_action": if incident.severity.is_some() { "trigger" } else { "resolve" },
    });
    let Some(severity) = incident.severity else { return Some(event) };
    let letter = letter()?;
    let details: serde_json::Map<String, Value> = letter
        .facts
        .iter()
        .map(|(label, value)| ((*label).to_owned(), cut(value, MAX_TEXT).into()))
        .collect();
    event["payload"] = json!({
        "summary": cut(&letter.subject, MAX_SUMMARY),
        "source": message.environment.as_ref().map_or("crossfade", |environment| environment.as_str()),
        "severity": severity,
        "timestamp": message.created_at,
        "component": message.client_name,
        "class": payload_type(message.event),
        "custom_details": details,
    });
    if let Some(payload) = event["payload"].as_object_mut() {
        payload.retain(|_, value| !value.is_null());
        payload["custom_details"]["Next"] = cut(&letter.next, MAX_TEXT).into();
    }
    event["client"] = json!("Crossfade");
    event["client_url"] = json!(letter.url);
    event["links"] = json!([{"href": letter.url, "text": letter.button}]);
    Some(event)
}

/// Returns a text of at most this number of characters.
fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most.saturating_sub(1)) {
        Some((at, last)) if at + last.len_utf8() < text.len() => format!("{}…", text[..at].trim_end()),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
