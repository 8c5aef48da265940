//! API types of secrets, their changes and their history.

use super::{Enforced, any_value};
use crate::{
    RotationId, SecretId, Timestamp, UserId,
    audit::Actor,
    rotation::{EndedAs, SecretState},
    secret::SecretOrigin,
    text::{LINE_PATTERN, NAME_PATTERN},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A secret without its value.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Secret {
    /// ID.
    pub id: SecretId,
    /// State at the time of the response.
    pub state: SecretState,
    /// When it was generated.
    pub created_at: Timestamp,
    /// Its deadline; a current secret has none.
    pub expires_at: Option<Timestamp>,
    /// When the secret was revoked, if it was ended before its deadline.
    pub revoked_at: Option<Timestamp>,
    /// Its first successful use.
    pub first_used_at: Option<Timestamp>,
    /// Its last successful use.
    pub last_used_at: Option<Timestamp>,
    /// Number of successful uses.
    pub use_count: i64,
    /// Whether its value can still be revealed.
    pub stored: bool,
    /// Where it came from: `generated` here, or `imported`, which Crossfade learned when the issuer accepted it.
    #[serde(default)]
    #[schemars(!default)]
    pub origin: SecretOrigin,
}

/// A secret with its value, only in responses that deliver the value.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct RevealedSecret {
    /// ID.
    pub id: SecretId,
    /// State at the time of the response.
    pub state: SecretState,
    /// The value. Absent if it was delivered before and is not shown again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// When it was generated.
    pub created_at: Timestamp,
}

impl std::fmt::Debug for RevealedSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RevealedSecret").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Rotates the secret of a registration. `transition_hours` and `confirm_client_name` are required.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = compromised_at_once)]
pub struct RotateSecret {
    /// Transition period, during which the old secret stays valid: a whole number of hours, 0 to 168. Required; there
    /// is no default.
    #[serde(default, deserialize_with = "any_value")]
    #[schemars(!default, required, with = "crate::TransitionHours")]
    pub transition_hours: Option<Value>,
    /// The client's name, to confirm the change.
    #[schemars(required)]
    pub confirm_client_name: Option<String>,
    /// Reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000), regex(pattern = LINE_PATTERN))]
    pub reason: Option<String>,
    /// The current secret the caller expects to replace. If another secret is current, the request is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_current_secret_id: Option<SecretId>,
    /// Ends the secret of a transition that is still running.
    #[serde(default)]
    pub end_running_transition: bool,
    /// The old secret has leaked. Requires `transition_hours` 0.
    #[serde(default)]
    pub compromised: bool,
    /// Also ends the tokens issued under the secrets that end now, for introspection.
    #[serde(default)]
    pub revoke_tokens: bool,
    /// Refuses the rotation with `forbidden` if the response cannot contain the value of the new secret, because you do
    /// not have permission to reveal it. Nothing is changed then.
    #[serde(default)]
    pub require_value: bool,
    /// Rotates only if the current secret is at least this many seconds old, by the server's time. If it is younger,
    /// nothing is changed, and the response is 200 with `rotated` `false`. Must be omitted with `compromised`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 315_360_000))]
    pub if_older_than_seconds: Option<u64>,
}

/// Schema rule: a compromised rotation requires a transition of 0 and no age. Tokens are revoked only where a secret ends.
fn compromised_at_once(schema: &mut schemars::Schema) {
    let leaked = json!({"properties": {"compromised": {"const": true}}, "required": ["compromised"]});
    schema.insert("if".into(), leaked);
    let immediately = json!({"properties": {"transition_hours": {"const": 0}}});
    let at_any_age =
        json!({"properties": {"transition_hours": {"const": 0}, "if_older_than_seconds": {"type": "null"}}});
    schema.insert("then".into(), at_any_age);
    let is_set = |member: &str| json!({"properties": {member: {"const": true}}, "required": [member]});
    let ends_one = json!({"anyOf": [immediately, is_set("end_running_transition")]});
    schema.insert("else".into(), json!({"if": is_set("revoke_tokens"), "then": ends_one}));
}

/// Response to a request to rotate.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RotateSecretAnswer {
    /// The secret was rotated.
    Rotated(Box<RotateSecretReply>),
    /// The current secret is younger than `if_older_than_seconds`.
    NotRotated(NotRotated),
}

/// Response if the current secret is younger than `if_older_than_seconds`. Nothing was changed.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct NotRotated {
    /// Always `false`.
    pub rotated: bool,
    /// The current secret.
    pub secret: YoungSecret,
    /// From when the current secret is old enough for this request.
    pub old_enough_at: Timestamp,
}

/// A current secret that was not rotated.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct YoungSecret {
    /// ID.
    pub id: SecretId,
    /// State at the time of the response.
    pub state: SecretState,
    /// When it was generated.
    pub created_at: Timestamp,
}

fn yes() -> bool {
    true
}

/// Response to a rotation.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RotateSecretReply {
    /// Always `true`.
    #[serde(default = "yes")]
    #[schemars(!default)]
    pub rotated: bool,
    /// The rotation.
    pub rotation: RotationSummary,
    /// The new secret, with its value.
    pub secret: RevealedSecret,
    /// Secret that was replaced.
    pub previous_secret: PreviousSecret,
    /// Secret of the running transition that this rotation ended; absent if no transition was running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_secret_id: Option<SecretId>,
    /// When the last token of the secrets ended by this request expires: until then, a resource server that validates
    /// offline may accept it. Present with `compromised` or `revoke_tokens`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_valid_offline_until: Option<Timestamp>,
    /// `true` if a repeated request came too late for the value to be returned again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub secret_already_delivered: bool,
    /// Since when the change is in force on every node, and how each was known; `null` with `Prefer: respond-async`.
    #[serde(default)]
    #[schemars(!default)]
    pub enforced: Option<Enforced>,
}

/// A rotation, in the response to it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RotationSummary {
    /// ID.
    pub id: RotationId,
    /// The environment.
    pub environment: String,
    /// Who rotated.
    pub initiated_by: Actor,
    /// Time of the rotation.
    pub rotated_at: Timestamp,
    /// The transition period.
    pub transition_hours: u8,
    /// Reason.
    pub reason: String,
}

/// The replaced secret.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PreviousSecret {
    /// ID.
    pub id: SecretId,
    /// State at the time of the response.
    pub state: SecretState,
    /// Its deadline.
    pub expires_at: Timestamp,
}

/// A rotation in the history.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Rotation {
    /// ID.
    pub id: RotationId,
    /// Who rotated.
    pub initiated_by: Actor,
    /// Time of the rotation.
    pub rotated_at: Timestamp,
    /// The transition period chosen.
    pub transition_hours: u8,
    /// Reason.
    pub reason: String,
    /// Whether the outgoing secret had leaked.
    pub compromised: bool,
    /// Secret that was replaced.
    pub outgoing_secret: OutgoingSecret,
    /// Secret that replaced it.
    pub incoming_secret: IncomingSecret,
    /// How the outgoing secret ended.
    pub ended_as: EndedAs,
    /// Who revoked the outgoing secret or rolled back the rotation; `null` if nobody did, or if the audit trail no longer
    /// has it.
    #[serde(default)]
    pub ended_by: Option<Actor>,
    /// Reason for the revocation or rollback; `null` if there was neither, or if the audit trail no longer has it.
    #[serde(default)]
    pub ended_reason: Option<String>,
    /// Who last extended the deadline of the outgoing secret; `null` if nobody did, or if the audit trail no longer has it.
    #[serde(default)]
    pub extended_by: Option<Actor>,
    /// People who have said that they know of the transition, the first one first.
    #[serde(default)]
    pub seen: Vec<Seen>,
}

/// A person who has said that they know of a transition.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Seen {
    /// Account.
    pub user_id: UserId,
    /// Display name.
    pub name: String,
    /// When they said so.
    pub seen_at: Timestamp,
}

/// Who knows of a running transition.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TransitionSeen {
    /// The rotation.
    pub rotation_id: RotationId,
    /// People who have said that they know of the transition, the first one first.
    pub seen: Vec<Seen>,
    /// Whether one of them is an owner of the client. Otherwise the managers of the client are warned in addition.
    #[serde(default)]
    pub seen_by_owner: bool,
}

/// The replaced secret in the history.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct OutgoingSecret {
    /// ID.
    pub id: SecretId,
    /// Its deadline; `null` if it was made current again.
    pub expires_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Its last successful use.
    pub last_used_at: Option<Timestamp>,
}

/// The replacing secret in the history.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct IncomingSecret {
    /// ID.
    pub id: SecretId,
    /// Its first successful use.
    pub first_used_at: Option<Timestamp>,
}

/// Ends a retiring secret.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeSecret {
    /// Reason.
    #[schemars(required, length(min = 1, max = 1000), regex(pattern = NAME_PATTERN))]
    pub reason: Option<String>,
    /// The secret has leaked.
    #[serde(default)]
    pub compromised: bool,
    /// Also ends the tokens issued under the secret, for introspection.
    #[serde(default)]
    pub revoke_tokens: bool,
    /// Revokes the secret only if the change-over verdict is `safe_to_end` at that moment.
    #[serde(default)]
    pub only_if_safe: bool,
    /// Revokes only if safe, as with `only_if_safe`, and with this quiet time in seconds instead of the one derived
    /// from the token lifetime.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 60, max = 604_800))]
    pub quiet_seconds: Option<u64>,
}

/// Extends the deadline of a retiring secret.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExtendSecret {
    /// The new deadline.
    #[schemars(extend("format" = "date-time"))]
    pub expires_at: String,
    /// Reason.
    #[schemars(required, length(min = 1, max = 1000), regex(pattern = NAME_PATTERN))]
    pub reason: Option<String>,
}

/// Rolls back the latest rotation.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RollBackRotation {
    /// Reason.
    #[schemars(required, length(min = 1, max = 1000), regex(pattern = NAME_PATTERN))]
    pub reason: Option<String>,
    /// The caller knows that the new secret has been used.
    #[serde(default)]
    pub acknowledge_in_use: bool,
    /// The new secret has leaked.
    #[serde(default)]
    pub compromised: bool,
    /// Also ends the tokens issued under the new secret, for introspection.
    #[serde(default)]
    pub revoke_tokens: bool,
}

/// Response to revoke, extend and roll back.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SecretChanged {
    /// The secret that was changed.
    pub secret: Secret,
    /// When the last affected token expires; see [`RotateSecretReply::tokens_valid_offline_until`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_valid_offline_until: Option<Timestamp>,
    /// Since when the change is in force on every node, and how each was known; `null` with `Prefer: respond-async`.
    #[serde(default)]
    #[schemars(!default)]
    pub enforced: Option<Enforced>,
}

/// Reveals a secret. Every member and the body are optional.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RevealSecret {
    /// Reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000), regex(pattern = LINE_PATTERN))]
    pub reason: Option<String>,
}

/// Response to a reveal.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct RevealReply {
    /// The secret.
    pub id: SecretId,
    /// The value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// `true` if a repeated request came too late for the value to be returned again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub secret_already_delivered: bool,
}
