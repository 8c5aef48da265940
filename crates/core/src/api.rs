//! The types of the admin API, shared by the server and the CLI. Requests refuse unknown members.

use crate::{
    ClientId, SecretId, Timestamp,
    audit::{Actor, Via, chain::ChainHash},
};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

mod access;
mod clients;
mod drills;
mod evidence;
mod leaks;
mod mail;
mod messages;
mod nodes;
mod places;
mod providers;
mod quarantine;
mod secrets;
mod unregistered;
mod upstream;
mod users;
mod webhooks;

pub use crate::account::UserKind;
pub use access::{Access, AccessUser};
pub use clients::{
    Client, ClientDeleted, CreateClient, CreateRegistration, DeleteClient, OwnerDetails, Registration,
    UpdateClient, UpdateRegistration,
};
pub use drills::{Drill, RefusedCaller, ScheduleDrill, StopDrill};
pub use evidence::{
    Caller, CallerUse, CannotSee, ChangeOver, DeadlineWarning, EvidenceGap, GapKind, Grain, LockedOut,
    SharePoint, Usage, UsagePoint, VerdictReason,
};
pub use leaks::{FoundSecret, IdentifiedSecret, IdentifiedSecrets, IdentifySecrets};
pub use mail::{Mail, MailEncryption, MailReleased, MailServer, MailTested, ReleaseMail, TestMail};
pub use messages::{ClientMessages, MessageKind, OwnMessages, UpdateClientMessages, UpdateOwnMessages};
pub use nodes::{Enforced, EnforcedNode, KnownBy, Node};
pub use places::{
    CreateEnvironment, Environment, Limits, Property, PropertyBody, RotateSigningKey, SigningKey,
    UpdateEnvironment, UpdateLimits,
};
pub use providers::{
    CreateProvider, CreateProvisioningToken, GroupGrant, Identity, Provider, ProvisioningToken,
    UpdateProvider,
};
pub use quarantine::{HeldGrant, HeldSecret, HeldToken, Quarantine, QuarantineReleased, ReleaseQuarantine};
pub use secrets::{
    ExtendSecret, IncomingSecret, NotRotated, OutgoingSecret, PreviousSecret, RevealReply, RevealSecret,
    RevealedSecret, RevokeSecret, RollBackRotation, RotateSecret, RotateSecretAnswer, RotateSecretReply,
    Rotation, RotationSummary, Secret, SecretChanged, Seen, TransitionSeen, YoungSecret,
};
pub use unregistered::{UnregisteredClient, UnregisteredSource};
pub use upstream::{
    ReleaseUpstreamCredential, TestUpstreamCredential, TestedSlot, UpdateUpstreamCredential,
    UpstreamCredential, UpstreamCredentialTested, UpstreamRelease, UpstreamSlot,
};
pub use users::{
    CreateGrant, CreateLink, CreateUser, DeleteUser, FactorsRemoved, Grant, HandedOver, HandedOverClient, Me,
    OneTimeLink, RemoveFactors, SignInPolicy, Token, UpdateSignInPolicy, UpdateUser, User,
};
pub use webhooks::{
    CreateWebhook, DeliveryStatus, ReplayDelivery, RotateWebhookSecret, TestWebhook, UpdateWebhook, Webhook,
    WebhookDelivery,
};

/// One page of a list.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "{T}Page")]
pub struct Page<T> {
    /// The items, in the order of the list.
    #[schemars(length(max = 200))]
    pub items: Vec<T>,
    /// Where the next page starts; `null` at the end. Opaque. A page can be short or even empty and still have a next
    /// page: continue until this is `null`.
    pub next_cursor: Option<String>,
}

/// Returns a member that may be absent (`None`), `null` (`Some(None)`) or a value.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(d: D) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(d).map(Some)
}

/// Distinguishes `null` from an absent member, so that each is refused with the correct error.
fn any_value<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(d).map(Some)
}

/// One event of the audit trail.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AuditEvent {
    /// Position in the trail; increases without gaps.
    pub seq: i64,
    /// Time.
    pub at: Timestamp,
    /// Actor.
    pub actor: Actor,
    /// Action.
    pub action: String,
    /// `done` or `refused`.
    pub outcome: String,
    /// Client it concerns.
    pub client_id: Option<ClientId>,
    /// Environment it concerns.
    pub environment: Option<String>,
    /// Object it concerns.
    pub target: Option<String>,
    /// Address of the request; `null` for actions of Crossfade itself.
    pub source_ip: Option<String>,
    /// ID of the request in the log.
    pub request_id: Option<String>,
    /// API token, session, local command or policy used for the action; `null` for an OAuth client or an unknown
    /// caller, and for events recorded before this member existed.
    pub via: Option<Via>,
    /// Reason given by the actor.
    pub reason: Option<String>,
    /// Further facts, by action. Never a secret or its digest.
    #[schemars(schema_with = "crate::audit::details_schema")]
    pub details: Value,
    /// Hash of the event before; `null` for events recorded before the trail had a chain.
    pub previous_hash: Option<ChainHash>,
    /// Hash of this event: SHA-256 of its canonical form (RFC 8785) without this member and without members that are
    /// `null`.
    pub hash: Option<ChainHash>,
}

/// Failed client authentications of one kind from one source within an hour.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AuthenticationFailure {
    /// When the hour began.
    pub hour: Timestamp,
    /// The client; `null` if the `client_id` that was sent is not known.
    pub client_id: Option<ClientId>,
    /// The environment of the registration.
    pub environment: Option<String>,
    /// Presented secret, if it was recognised: an ended one, or one that a drill refused.
    pub secret_id: Option<SecretId>,
    /// Reason: `malformed`, `unknown_client`, `disabled`, `method`, `network`, `wrong`, `expired`, `revoked`, `drill` or `throttled`.
    pub reason: String,
    /// The address, or the first 64 bits of an IPv6 address; `null` in the row that groups addresses beyond the limit.
    pub source_ip: Option<String>,
    /// First failure in that hour.
    pub first_at: Timestamp,
    /// Last failure in that hour.
    pub last_at: Timestamp,
    /// Number of times.
    pub count: i64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rotation::SecretState;
    use serde_json::json;

    #[test]
    fn absent_null_and_value_are_three_things() {
        let parse = |json: Value| serde_json::from_value::<UpdateRegistration>(json).map(|u| u.audience);
        assert_eq!(parse(json!({})).unwrap(), None);
        assert_eq!(parse(json!({"audience": null})).unwrap(), Some(None));
        assert_eq!(parse(json!({"audience": "a"})).unwrap(), Some(Some("a".into())));
    }

    #[test]
    fn unknown_members_and_caller_chosen_secrets_are_refused() {
        for body in [
            json!({"transition_hours": 0, "confirm_client_name": "x", "secret": "mine"}),
            json!({"client_secret": "mine"}),
        ] {
            assert!(serde_json::from_value::<RotateSecret>(body).is_err());
        }
    }

    #[test]
    fn a_missing_transition_is_not_null_and_not_zero() {
        let parse = |json: Value| serde_json::from_value::<RotateSecret>(json).unwrap().transition_hours;
        assert_eq!(parse(json!({})), None);
        assert_eq!(parse(json!({"transition_hours": null})), Some(Value::Null));
        assert_eq!(parse(json!({"transition_hours": 0})), Some(json!(0)));
    }

    #[test]
    fn rule_18_a_revealed_secret_in_a_log_is_its_id() {
        let id = SecretId::parse("sec_0000000000000000000001").unwrap();
        let revealed = RevealedSecret {
            id: id.clone(),
            state: SecretState::Current,
            value: Some("crossfade_live_0123456789ab".into()),
            created_at: Timestamp::from_seconds(1),
        };
        assert_eq!(format!("{revealed:?}"), format!("RevealedSecret {{ id: {id}, .. }}"));
    }
}
