//! API types of drills.

use super::any_value;
use crate::{
    DrillId, SecretId, Timestamp,
    audit::Actor,
    drill::{DrillState, StoppedAs, Window},
    text::NAME_PATTERN,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Schedules windows in which the retiring secret is refused. `length_seconds`, `confirm_client_name` and `reason` are
/// required. With more than one window, `every_seconds` is also required.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = one_window_is_enough)]
pub struct ScheduleDrill {
    /// The retiring secret that the caller expects to refuse.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_id: Option<SecretId>,
    /// Start of the first window. Defaults to now.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub starts_at: Option<String>,
    /// Length of each window in whole seconds.
    #[serde(default, deserialize_with = "any_value")]
    #[schemars(!default, required, with = "i64", range(min = 5, max = 900))]
    pub length_seconds: Option<Value>,
    /// Number of windows. Defaults to 1.
    #[serde(default, deserialize_with = "any_value", skip_serializing_if = "Option::is_none")]
    #[schemars(!default, with = "i64", range(min = 1, max = 48))]
    pub repeat: Option<Value>,
    /// Seconds from the start of one window to the start of the next: at least twice `length_seconds`, and at least 60
    /// more than `length_seconds`.
    #[serde(default, deserialize_with = "any_value", skip_serializing_if = "Option::is_none")]
    #[schemars(!default, with = "i64", range(min = 65, max = 604_800))]
    pub every_seconds: Option<Value>,
    /// The client's name, to confirm the drill.
    #[schemars(required)]
    pub confirm_client_name: Option<String>,
    /// Reason.
    #[schemars(required, length(min = 1, max = 1000), regex(pattern = NAME_PATTERN))]
    pub reason: Option<String>,
}

/// Schema rule: more than one window requires the time between them; one window has none. Keeps fields optional whose
/// schema is a whole number, so that `null` is not a valid value.
fn one_window_is_enough(schema: &mut schemars::Schema) {
    if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|name| name != "repeat" && name != "every_seconds");
    }
    schema.insert("if".into(), json!({"properties": {"repeat": {"minimum": 2}}, "required": ["repeat"]}));
    schema.insert("then".into(), json!({"required": ["every_seconds"]}));
    schema.insert("else".into(), json!({"not": {"required": ["every_seconds"]}}));
}

/// Stops a drill. The body can be left out.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StopDrill {
    /// Reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000), regex(pattern = crate::text::LINE_PATTERN))]
    pub reason: Option<String>,
}

/// A drill and the callers it refused.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Drill {
    /// ID.
    pub id: DrillId,
    /// Secret that it refuses in its windows.
    pub secret_id: SecretId,
    /// Present state.
    pub state: DrillState,
    /// Who scheduled it.
    pub scheduled_by: Actor,
    /// When it was scheduled.
    pub scheduled_at: Timestamp,
    /// Reason.
    pub reason: String,
    /// Its windows, in order. Windows cancelled by a stop are left out.
    pub windows: Vec<Window>,
    /// When the drill ends or ended.
    pub ends_at: Timestamp,
    /// When it was stopped.
    pub stopped_at: Option<Timestamp>,
    /// Why it ended before its last window.
    pub stopped_as: Option<StoppedAs>,
    /// Who stopped it, or made the change that stopped it.
    pub stopped_by: Option<Actor>,
    /// Number of refused callers.
    pub caller_count: i64,
    /// Number of refusals.
    pub refusal_count: i64,
    /// Seconds of its windows so far without evidence because no server was running. Callers of those seconds are
    /// missing from the results.
    pub unrecorded_seconds: u64,
    /// Refused callers, the latest refusal first. At most 100.
    pub callers: Vec<RefusedCaller>,
}

/// A caller that presented the old secret and was refused, by a drill or after the secret had ended.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RefusedCaller {
    /// Its address; `null` in the row that groups callers beyond the limit.
    pub source_ip: Option<String>,
    /// User agent; `null` if none was sent.
    pub user_agent: Option<String>,
    /// Instance label, from the header Crossfade-Instance; `null` if none was sent.
    pub instance: Option<String>,
    /// Whether this row groups callers beyond the limit: those of its address or, without an address, all others.
    pub gathered: bool,
    /// First refusal.
    pub first_at: Timestamp,
    /// Last refusal.
    pub last_at: Timestamp,
    /// Number of times.
    pub refusal_count: i64,
}
