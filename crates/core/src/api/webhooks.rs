//! API types of webhooks and their deliveries.

use super::any_value;
use crate::{
    ClientId, DeliveryId, PropertyId, Timestamp, WebhookId,
    environment::{MAX_ENVIRONMENTS, Slug},
    text::NAME_PATTERN,
    webhook::{DisabledAs, KINDS, MAX_URL, WebhookFormat},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A URL, as far as a regular expression can say it.
const URL_PATTERN: &str = "^[Hh][Tt][Tt][Pp][Ss]?://[!-~]+$";
/// An integration key of PagerDuty.
const KEY_PATTERN: &str = "^[0-9A-Za-z]+$";

/// Returns the schema of a list of kinds of events.
fn kinds(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let words: Vec<&str> = KINDS.iter().map(|kind| kind.as_str()).collect();
    schemars::json_schema!({"type": "array", "maxItems": 50, "items": {"type": "string", "enum": words}})
}

/// Returns the schema of a list of kinds of events that can be `null`.
fn kinds_or_null(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let mut schema = kinds(generator);
    schema.insert("type".to_owned(), serde_json::json!(["array", "null"]));
    schema
}

/// A URL that gets messages about the platform, a property or a client.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct Webhook {
    /// ID.
    pub id: WebhookId,
    /// Name.
    pub name: String,
    /// Where the messages are sent.
    pub url: String,
    /// Property whose clients it gets messages about; `null` if it belongs to the platform or a client.
    pub property_id: Option<PropertyId>,
    /// Name of the property; `null` without one, or if you cannot read it.
    pub property_name: Option<String>,
    /// Client that it gets messages about; `null` if it belongs to the platform or a property.
    pub client_id: Option<ClientId>,
    /// Name of the client; `null` without one, or if you cannot read it.
    pub client_name: Option<String>,
    /// Environments that it gets messages about; empty: all, and messages about the client as a whole.
    pub environments: Vec<String>,
    /// Kinds of events that it gets messages about; empty: all.
    pub events: Vec<String>,
    /// Form of the bodies.
    pub format: WebhookFormat,
    /// Whether messages are sent.
    pub enabled: bool,
    /// When it was disabled; `null` if it is enabled.
    pub disabled_at: Option<Timestamp>,
    /// Why it is disabled; `null` if it is enabled.
    pub disabled_as: Option<DisabledAs>,
    /// Since when every attempt has failed; `null` if the last one succeeded.
    pub failing_since: Option<Timestamp>,
    /// Until when the earlier signing secret signs as well; `null` if only one signs.
    pub previous_secret_expires_at: Option<Timestamp>,
    /// When it was created.
    pub created_at: Timestamp,
    /// Signing secret, only in the response that generates it, and in its repetition within 10 minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_secret: Option<String>,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Creates a webhook for a client, a property, or, with neither, the platform.
#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateWebhook {
    /// Name to recognise the webhook by.
    #[schemars(length(min = 1, max = 200), regex(pattern = NAME_PATTERN))]
    pub name: String,
    /// URL to send messages to. Required, except for the format `pagerduty`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_URL), regex(pattern = URL_PATTERN))]
    pub url: Option<String>,
    /// Property whose clients it gets messages about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub property_id: Option<PropertyId>,
    /// Client that it gets messages about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<ClientId>,
    /// Environments; empty or absent: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_ENVIRONMENTS), inner(regex(pattern = Slug::PATTERN)))]
    pub environments: Vec<String>,
    /// Kinds of events; empty or absent: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "kinds")]
    pub events: Vec<String>,
    /// Form of the bodies. Never changes.
    #[serde(default)]
    pub format: WebhookFormat,
    /// Integration key of the PagerDuty service. Required for the format `pagerduty`, and only there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100), regex(pattern = KEY_PATTERN))]
    pub routing_key: Option<String>,
    /// Name of the client or property whose messages are sent, to confirm it; `platform` for a webhook of the platform.
    pub confirm_name: String,
}

impl std::fmt::Debug for CreateWebhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreateWebhook").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Changes a webhook. An absent member stays as it is.
#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateWebhook {
    /// Name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200), regex(pattern = NAME_PATTERN))]
    pub name: Option<String>,
    /// URL to send messages to. A change requires `confirm_name`, because it redirects messages, and for PagerDuty and
    /// another host `routing_key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_URL), regex(pattern = URL_PATTERN))]
    pub url: Option<String>,
    /// Environments; empty: all. More environments than before require `confirm_name`. Waiting deliveries that are not chosen
    /// any more are abandoned.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_ENVIRONMENTS), inner(regex(pattern = Slug::PATTERN)))]
    pub environments: Option<Vec<String>>,
    /// Kinds of events; empty: all. More kinds than before require `confirm_name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "kinds_or_null")]
    pub events: Option<Vec<String>>,
    /// Integration key of the PagerDuty service. A change requires `confirm_name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100), regex(pattern = KEY_PATTERN))]
    pub routing_key: Option<String>,
    /// Whether messages are sent. Waiting deliveries of a disabled webhook are abandoned, and enabling it again sends
    /// none of them. Disabling a webhook that is an owner of a client requires `confirm_name`, and is refused if a client
    /// that can rotate its own secret would have no other owner that is notified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Name of the client or property whose messages are sent, to confirm it; `platform` for a webhook of the platform.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirm_name: Option<String>,
}

impl std::fmt::Debug for UpdateWebhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpdateWebhook").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Generates a new signing secret.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateWebhookSecret {
    /// Whole hours for which the earlier signing secret signs as well, 0 to 168. Required.
    #[serde(default, deserialize_with = "any_value", skip_serializing_if = "Option::is_none")]
    #[schemars(!default, required, with = "u64", range(max = 168))]
    pub overlap_hours: Option<Value>,
    /// Whether to end the secret of a running overlap. Otherwise the request is refused while two secrets sign.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub end_running_overlap: bool,
}

/// Sends a test message. Accepts no members.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TestWebhook {}

/// Sends a delivery again. Accepts no members.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplayDelivery {}

/// State of a delivery.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryStatus {
    /// It waits for its next attempt.
    Queued,
    /// The receiver has taken it.
    Sent,
    /// It is not sent any more.
    Abandoned,
}

/// One message to one webhook.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct WebhookDelivery {
    /// ID: the `webhook-id` of every attempt.
    pub id: DeliveryId,
    /// Type of the event.
    pub event: String,
    /// Number among the messages about its registration.
    pub number: Option<i64>,
    /// Client that the event concerns.
    pub client_id: Option<ClientId>,
    /// Environment that the event concerns.
    pub environment: Option<String>,
    /// State.
    pub status: DeliveryStatus,
    /// Why it is not sent any more: `late`, `refused`, `gave_up`, `disabled`, `not_chosen`, `over`, `moved`,
    /// `restored`, `quarantine` or `unreadable`.
    pub abandoned_as: Option<String>,
    /// Number of attempts.
    pub attempts: i64,
    /// When it was queued.
    pub created_at: Timestamp,
    /// When it is tried next; `null` if it does not wait.
    pub next_attempt_at: Option<Timestamp>,
    /// When the receiver took it.
    pub sent_at: Option<Timestamp>,
    /// HTTP status of the last answer; `null` if there was none.
    pub last_status: Option<i64>,
    /// Duration of the last attempt in milliseconds.
    pub last_duration_ms: Option<i64>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
}
