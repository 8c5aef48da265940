//! Drills, as the API tells them.

use super::any_value;
use crate::{
    DrillId, SecretId, Timestamp,
    audit::Actor,
    drill::{DrillState, StoppedAs, Window},
    text::NAME_PATTERN,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Schedules windows in which the retiring secret is refused. `length_seconds`, `confirm_client_name` and `reason`
/// are required; `every_seconds` is, too, with more than one window.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = one_window_is_enough)]
pub struct ScheduleDrill {
    /// The retiring secret that the caller expects to refuse.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_id: Option<SecretId>,
    /// When the first window begins; now when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub starts_at: Option<String>,
    /// How long each window is, in whole seconds.
    #[serde(default, deserialize_with = "any_value")]
    #[schemars(!default, required, with = "i64", range(min = 5, max = 900))]
    pub length_seconds: Option<Value>,
    /// How many windows there are; one when absent.
    #[serde(default, deserialize_with = "any_value", skip_serializing_if = "Option::is_none")]
    #[schemars(!default, with = "i64", range(min = 1, max = 48))]
    pub repeat: Option<Value>,
    /// Seconds from the beginning of a window to that of the next: at least twice `length_seconds`, and a minute more than it.
    #[serde(default, deserialize_with = "any_value", skip_serializing_if = "Option::is_none")]
    #[schemars(!default, with = "i64", range(min = 65, max = 604_800))]
    pub every_seconds: Option<Value>,
    /// The client's name, typed.
    #[schemars(required)]
    pub confirm_client_name: Option<String>,
    /// Why.
    #[schemars(required, length(min = 1, max = 1000), regex(pattern = NAME_PATTERN))]
    pub reason: Option<String>,
}

/// What stands in the schema as whole numbers, so that `null` is none, can be left out.
fn one_window_is_enough(schema: &mut schemars::Schema) {
    if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|name| name != "repeat" && name != "every_seconds");
    }
}

/// Stops a drill. The body can be left out.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StopDrill {
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000), regex(pattern = crate::text::LINE_PATTERN))]
    pub reason: Option<String>,
}

/// A drill and whom it has found.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Drill {
    /// Its id.
    pub id: DrillId,
    /// The secret that it refuses in its windows.
    pub secret_id: SecretId,
    /// What it is now.
    pub state: DrillState,
    /// Who scheduled it.
    pub scheduled_by: Actor,
    /// When.
    pub scheduled_at: Timestamp,
    /// Why.
    pub reason: String,
    /// Its windows, in order. What a stop has cut off is not there.
    pub windows: Vec<Window>,
    /// From when on it refuses nothing any more.
    pub ends_at: Timestamp,
    /// When it was stopped.
    pub stopped_at: Option<Timestamp>,
    /// Why it ended before its last window did.
    pub stopped_as: Option<StoppedAs>,
    /// Who stopped it, or did what stopped it.
    pub stopped_by: Option<Actor>,
    /// How many callers it has refused.
    pub caller_count: i64,
    /// How often it has refused them.
    pub refusal_count: i64,
    /// For how many seconds of its windows so far nothing was recorded, because no server ran: who came then was not
    /// found.
    pub unrecorded_seconds: u64,
    /// The callers, those that were refused last first; the first 100.
    pub callers: Vec<RefusedCaller>,
}

/// A caller that presented the old secret and was refused: in a window of a drill, or since it has ended.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RefusedCaller {
    /// The address that it came from; `null` in the row that gathers what was beyond the cap.
    pub source_ip: Option<String>,
    /// The user agent; `null` where none was sent.
    pub user_agent: Option<String>,
    /// The label of the instance, from the header Crossfade-Instance; `null` where none was sent.
    pub instance: Option<String>,
    /// Whether this gathers callers beyond the cap: of its address, or, without an address, all others.
    pub gathered: bool,
    /// When it was first refused.
    pub first_at: Timestamp,
    /// When it was last refused.
    pub last_at: Timestamp,
    /// How often.
    pub refusal_count: i64,
}
