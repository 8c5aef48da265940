//! Secrets, what is done to them and their history, as the API tells them.

use super::any_value;
use crate::{
    RotationId, SecretId, Timestamp,
    audit::Actor,
    rotation::{EndedAs, SecretState},
    text::{LINE_PATTERN, NAME_PATTERN},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A secret without its value.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Secret {
    /// Its id.
    pub id: SecretId,
    /// What it is now.
    pub state: SecretState,
    /// When it was generated.
    pub created_at: Timestamp,
    /// Its deadline; a current secret has none.
    pub expires_at: Option<Timestamp>,
    /// When it was ended before its time.
    pub revoked_at: Option<Timestamp>,
    /// Its first successful use.
    pub first_used_at: Option<Timestamp>,
    /// Its last successful use.
    pub last_used_at: Option<Timestamp>,
    /// How often it was used successfully.
    pub use_count: i64,
    /// Whether its value can still be revealed.
    pub stored: bool,
}

/// A secret with its value: only in answers that hand it out.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct RevealedSecret {
    /// Its id.
    pub id: SecretId,
    /// What it is now.
    pub state: SecretState,
    /// The value. Absent when it has been delivered before and is not shown again here.
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
    /// How long the old secret stays valid: a whole number of hours, 0 to 168. Never a default.
    #[serde(default, deserialize_with = "any_value")]
    #[schemars(!default, required, with = "crate::TransitionHours")]
    pub transition_hours: Option<Value>,
    /// The client's name, typed.
    #[schemars(required)]
    pub confirm_client_name: Option<String>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000), regex(pattern = LINE_PATTERN))]
    pub reason: Option<String>,
    /// The current secret that the caller expects to replace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_current_secret_id: Option<SecretId>,
    /// Ends the secret of a transition that is still running.
    #[serde(default)]
    pub end_running_transition: bool,
    /// The old secret has leaked. Needs `transition_hours` 0.
    #[serde(default)]
    pub compromised: bool,
    /// Also ends, for introspection, the tokens issued under the secrets that end now.
    #[serde(default)]
    pub revoke_tokens: bool,
    /// Refuses the rotation with `forbidden` if the answer cannot hold the value of the new secret, because you may not
    /// reveal it. Nothing is changed then.
    #[serde(default)]
    pub require_value: bool,
}

/// What has leaked is not valid for another hour.
fn compromised_at_once(schema: &mut schemars::Schema) {
    let leaked = json!({"properties": {"compromised": {"const": true}}, "required": ["compromised"]});
    schema.insert("if".into(), leaked);
    schema.insert("then".into(), json!({"properties": {"transition_hours": {"const": 0}}}));
}

/// The answer to a rotation.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RotateSecretReply {
    /// The rotation.
    pub rotation: RotationSummary,
    /// The new secret, with its value.
    pub secret: RevealedSecret,
    /// The secret that was replaced.
    pub previous_secret: PreviousSecret,
    /// Until when a resource server that validates offline may still accept a token issued under the
    /// secrets that ended now. Present when they ended as compromised or with `revoke_tokens`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_valid_offline_until: Option<Timestamp>,
    /// Set on a replay that comes too late to get the value again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub secret_already_delivered: bool,
}

/// A rotation as it is answered to the one who made it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RotationSummary {
    /// Its id.
    pub id: RotationId,
    /// The environment.
    pub environment: String,
    /// Who rotated.
    pub initiated_by: Actor,
    /// When.
    pub rotated_at: Timestamp,
    /// The transition period.
    pub transition_hours: u8,
    /// Why.
    pub reason: String,
}

/// The replaced secret.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PreviousSecret {
    /// Its id.
    pub id: SecretId,
    /// What it is now.
    pub state: SecretState,
    /// Its deadline.
    pub expires_at: Timestamp,
}

/// One line of the history.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Rotation {
    /// Its id.
    pub id: RotationId,
    /// Who rotated.
    pub initiated_by: Actor,
    /// When.
    pub rotated_at: Timestamp,
    /// The transition period chosen.
    pub transition_hours: u8,
    /// Why.
    pub reason: String,
    /// Whether the outgoing secret had leaked.
    pub compromised: bool,
    /// The secret that was replaced.
    pub outgoing_secret: OutgoingSecret,
    /// The secret that replaced it.
    pub incoming_secret: IncomingSecret,
    /// How the outgoing secret ended.
    pub ended_as: EndedAs,
    /// Reason of the revocation or the roll-back; `null` if there was neither, or if the audit trail no longer has it.
    #[serde(default)]
    pub ended_reason: Option<String>,
}

/// The replaced secret in the history.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct OutgoingSecret {
    /// Its id.
    pub id: SecretId,
    /// Its deadline; `null` when it was made current again.
    pub expires_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Its last successful use.
    pub last_used_at: Option<Timestamp>,
}

/// The replacing secret in the history.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct IncomingSecret {
    /// Its id.
    pub id: SecretId,
    /// Its first successful use.
    pub first_used_at: Option<Timestamp>,
}

/// Ends a retiring secret.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeSecret {
    /// Why.
    #[schemars(required, length(min = 1, max = 1000), regex(pattern = NAME_PATTERN))]
    pub reason: Option<String>,
    /// It has leaked.
    #[serde(default)]
    pub compromised: bool,
    /// Also ends, for introspection, the tokens issued under it.
    #[serde(default)]
    pub revoke_tokens: bool,
    /// Only if the change-over's verdict is at this moment that it is safe to end the old secret.
    #[serde(default)]
    pub only_if_safe: bool,
    /// The same, and for how long the old secret must be quiet, where it is not the time that follows from the life of the
    /// tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 60, max = 604_800))]
    pub quiet_seconds: Option<u64>,
}

/// Gives a retiring secret longer.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExtendSecret {
    /// The new deadline.
    #[schemars(extend("format" = "date-time"))]
    pub expires_at: String,
    /// Why.
    #[schemars(required, length(min = 1, max = 1000), regex(pattern = NAME_PATTERN))]
    pub reason: Option<String>,
}

/// Undoes the latest rotation.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RollBackRotation {
    /// Why.
    #[schemars(required, length(min = 1, max = 1000), regex(pattern = NAME_PATTERN))]
    pub reason: Option<String>,
    /// The caller knows that the newer secret has been used.
    #[serde(default)]
    pub acknowledge_in_use: bool,
    /// The newer secret has leaked.
    #[serde(default)]
    pub compromised: bool,
    /// Also ends, for introspection, the tokens issued under the newer secret.
    #[serde(default)]
    pub revoke_tokens: bool,
}

/// The answer to revoke, extend and roll back: the secrets of the registration that still matter.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SecretChanged {
    /// The secret that was changed.
    pub secret: Secret,
    /// As in [`RotateSecretReply`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_valid_offline_until: Option<Timestamp>,
}

/// Reveals a secret. Every member is optional, and so is the body.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RevealSecret {
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000), regex(pattern = LINE_PATTERN))]
    pub reason: Option<String>,
}

/// The answer to a reveal.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct RevealReply {
    /// The secret.
    pub id: SecretId,
    /// The value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Set on a replay that comes too late to get the value again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub secret_already_delivered: bool,
}
