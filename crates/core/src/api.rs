//! The types of the admin API, shared by the server and the CLI. Requests refuse unknown members.

use crate::{
    ClientId, GrantId, OauthClientId, PropertyId, RegistrationId, RotationId, SecretId, Timestamp, TokenId,
    UserId,
    audit::Actor,
    environment::{EnvironmentKind, SigningAlg, Slug},
    registration::{AuthMethod, TOKEN_PATTERN},
    rotation::{EndedAs, SecretState},
    text::{EMAIL_PATTERN, LINE_PATTERN, NAME_PATTERN},
};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

mod drills;
mod evidence;

pub use drills::{Drill, DrillCaller, ScheduleDrill, StopDrill};
pub use evidence::{
    Caller, CallerUse, CannotSee, ChangeOver, DeadlineWarning, EvidenceGap, GapKind, Grain, Reason,
    SharePoint, Usage, UsagePoint,
};

/// One page of a list.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "{T}Page")]
pub struct Page<T> {
    /// The items, in the order of the list.
    pub items: Vec<T>,
    /// Where the next page starts; `null` at the end. Opaque. A page may be short, or even empty, and have a next
    /// one: read on until this is `null`.
    pub next_cursor: Option<String>,
}

/// A member that may be absent (`None`), `null` (`Some(None)`) or a value.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(d: D) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(d).map(Some)
}

/// A property.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Property {
    /// Its id.
    pub id: PropertyId,
    /// Its name, unique on the platform.
    pub name: String,
    /// When it was created.
    pub created_at: Timestamp,
}

/// Creates or renames a property.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PropertyBody {
    /// The name.
    #[schemars(length(min = 1, max = 200), regex(pattern = NAME_PATTERN))]
    pub name: String,
}

/// An environment and its settings.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Environment {
    /// Its name in URLs. Never changes.
    pub slug: String,
    /// Its shown name.
    pub name: String,
    /// Whether it serves real users.
    pub kind: EnvironmentKind,
    /// Its OAuth issuer.
    pub issuer: String,
    /// The algorithm of new access tokens.
    pub signing_alg: SigningAlg,
    /// Whether secrets are shown once and never stored.
    pub show_once: bool,
    /// Days after a secret's end until its stored value is wiped.
    pub wipe_after_days: u16,
    /// Days after which a secret counts as overdue; `null`: never.
    pub max_age_days: Option<u16>,
    /// Hours by which the deadline guard extends, at a time, the deadline of an old secret that is still needed an hour
    /// before it ends: up to 168 hours after the rotation; `null`: it does not.
    pub guard_extension_hours: Option<u16>,
}

/// Creates an environment at the end of the list.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateEnvironment {
    /// Its name in URLs.
    #[schemars(regex(pattern = Slug::PATTERN))]
    pub slug: String,
    /// Its shown name.
    #[schemars(length(min = 1, max = 200), regex(pattern = NAME_PATTERN))]
    pub name: String,
    /// Whether it serves real users.
    pub kind: EnvironmentKind,
    /// The algorithm of its access tokens; ES256 when absent.
    pub signing_alg: Option<SigningAlg>,
}

/// Changes an environment. An absent member stays as it is.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateEnvironment {
    /// The shown name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200), regex(pattern = NAME_PATTERN))]
    pub name: Option<String>,
    /// Whether it serves real users. Decides the prefix of secrets generated from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<EnvironmentKind>,
    /// The algorithm of new access tokens. Another one brings a new signing key, published first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signing_alg: Option<SigningAlg>,
    /// Whether secrets are shown once and never stored. `true` wipes the values stored so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub show_once: Option<bool>,
    /// Days after a secret's end until its stored value is wiped: 0 to 3650.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 3650))]
    pub wipe_after_days: Option<i64>,
    /// Days after which a secret counts as overdue, 1 to 3650; `null`: never.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3650))]
    pub max_age_days: Option<Option<i64>>,
    /// Hours by which the deadline guard may extend a deadline at a time, 1 to 168; `null`: it does not.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 168))]
    pub guard_extension_hours: Option<Option<i64>>,
    /// Its place in the list, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub position: Option<i64>,
}

/// Gives an environment a new signing key.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateSigningKey {
    /// Why.
    #[schemars(length(max = 1000), regex(pattern = LINE_PATTERN))]
    pub reason: Option<String>,
    /// The new key signs at once, before resource servers can have fetched it.
    #[serde(default)]
    pub immediate: bool,
    /// The old keys have leaked: they leave the key set at once, and every token that they signed ends. The
    /// new key signs at once.
    #[serde(default)]
    pub compromised: bool,
}

/// A signing key of an environment, without its private part.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SigningKey {
    /// Its `kid`.
    pub kid: String,
    /// Its algorithm.
    pub alg: SigningAlg,
    /// From when on it signs.
    pub active_from: Timestamp,
    /// From when on it is no longer published.
    pub removed_at: Option<Timestamp>,
}

/// A client and its registrations.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Client {
    /// Its id. Not the OAuth `client_id`: each registration has its own.
    pub id: ClientId,
    /// Its name, unique in its property.
    pub name: String,
    /// What it is.
    pub description: String,
    /// The property that it belongs to.
    pub property_id: PropertyId,
    /// E-mail addresses of the people who are told of what concerns it.
    pub owners: Vec<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// It in each environment, in the order of the environments.
    pub registrations: Vec<Registration>,
}

/// Creates a client.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateClient {
    /// Its name, unique in its property.
    #[schemars(length(min = 1, max = 200), regex(pattern = NAME_PATTERN))]
    pub name: String,
    /// The property that it belongs to.
    pub property_id: PropertyId,
    /// What it is.
    #[schemars(length(max = 1000), regex(pattern = LINE_PATTERN))]
    pub description: Option<String>,
    /// E-mail addresses of the people who are told of what concerns it.
    #[serde(default)]
    #[schemars(length(max = 50), inner(length(max = 254), regex(pattern = EMAIL_PATTERN)))]
    pub owners: Vec<String>,
    /// The environments that it is registered in.
    #[schemars(length(min = 1), inner(regex(pattern = Slug::PATTERN)))]
    pub environments: Vec<String>,
}

/// Changes a client. An absent member stays as it is.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateClient {
    /// The name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200), regex(pattern = NAME_PATTERN))]
    pub name: Option<String>,
    /// What it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000), regex(pattern = LINE_PATTERN))]
    pub description: Option<String>,
    /// The people who are told of what concerns it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 50), inner(length(max = 254), regex(pattern = EMAIL_PATTERN)))]
    pub owners: Option<Vec<String>>,
}

/// Deletes a client.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteClient {
    /// The client's name, typed.
    pub confirm_client_name: String,
    /// Why.
    #[schemars(length(min = 1, max = 1000), regex(pattern = NAME_PATTERN))]
    pub reason: String,
}

/// Registers a client in a further environment.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateRegistration {
    /// The environment.
    #[schemars(regex(pattern = Slug::PATTERN))]
    pub environment: String,
}

/// One client in one environment.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Registration {
    /// Its id.
    pub id: RegistrationId,
    /// The environment.
    pub environment: String,
    /// The OAuth `client_id`.
    pub client_id: OauthClientId,
    /// Whether it may authenticate at all.
    pub enabled: bool,
    /// How it may present its secret.
    pub token_endpoint_auth_methods: Vec<AuthMethod>,
    /// The scopes that it may ask for.
    pub scopes: Vec<String>,
    /// The `aud` of its access tokens.
    pub audience: String,
    /// Seconds that its access tokens live.
    pub access_token_ttl_seconds: u32,
    /// Whether it may introspect every token of its environment, not only its own.
    pub may_introspect: bool,
    /// When it was created.
    pub created_at: Timestamp,
    /// When the current secret counts as overdue for rotation; `null`: never.
    pub rotation_due_at: Option<Timestamp>,
    /// Its first secret: only in the answer that creates it, and only for a caller who may reveal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<RevealedSecret>,
}

/// Changes a registration. An absent member stays as it is.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateRegistration {
    /// Whether it may authenticate at all. `false` needs `confirm_client_name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// The client's name, typed. Needed to disable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirm_client_name: Option<String>,
    /// How it may present its secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub token_endpoint_auth_methods: Option<Vec<AuthMethod>>,
    /// The scopes that it may ask for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100), inner(length(max = 200), regex(pattern = TOKEN_PATTERN)))]
    pub scopes: Option<Vec<String>>,
    /// The `aud` of its access tokens; `null`: the issuer.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 500), regex(pattern = TOKEN_PATTERN))]
    pub audience: Option<Option<String>>,
    /// Seconds that its access tokens live, 60 to 86400.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 60, max = 86400))]
    pub access_token_ttl_seconds: Option<i64>,
    /// Whether it may introspect every token of its environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub may_introspect: Option<bool>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000), regex(pattern = LINE_PATTERN))]
    pub reason: Option<String>,
}

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
}

/// What has leaked is not valid for another hour.
fn compromised_at_once(schema: &mut schemars::Schema) {
    let leaked = json!({"properties": {"compromised": {"const": true}}, "required": ["compromised"]});
    schema.insert("if".into(), leaked);
    schema.insert("then".into(), json!({"properties": {"transition_hours": {"const": 0}}}));
}

/// Keeps `null` apart from an absent member, so that both are refused as what they are.
fn any_value<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(d).map(Some)
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

/// An API token, without its value.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Token {
    /// Its id.
    pub id: TokenId,
    /// Whose it is.
    pub user_id: UserId,
    /// What its owner calls it.
    pub name: String,
    /// What it is limited to; `null`: whatever its owner may.
    pub scope: Option<Vec<String>>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// Its last use.
    pub last_used_at: Option<Timestamp>,
}

/// One event of the audit trail.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AuditEvent {
    /// Its place in the trail; grows without gaps of meaning.
    pub seq: i64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// What.
    pub action: String,
    /// `done` or `refused`.
    pub outcome: String,
    /// The client that it concerns.
    pub client_id: Option<ClientId>,
    /// The environment that it concerns.
    pub environment: Option<String>,
    /// The object that it concerns.
    pub target: Option<String>,
    /// The address that it was asked from; `null` for what Crossfade does by itself.
    pub source_ip: Option<String>,
    /// The request's id in the log.
    pub request_id: Option<String>,
    /// Why, in the actor's words.
    pub reason: Option<String>,
    /// Further facts, by action. Never a secret or its digest.
    #[schemars(schema_with = "crate::audit::details_schema")]
    pub details: Value,
}

/// Whether an account is a person's or a program's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UserKind {
    /// A person, who signs in with an e-mail address and a password.
    Person,
    /// A program, which holds API tokens and nothing else.
    Program,
}

impl UserKind {
    /// The word that is stored and sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Program => "program",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Person, Self::Program].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// An account: a person's or a program's.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct User {
    /// Its id.
    pub id: UserId,
    /// Whose it is.
    pub kind: UserKind,
    /// The shown name.
    pub name: String,
    /// The e-mail address that a person signs in with; a program has none.
    pub email: Option<String>,
    /// Whether a password is set. A program has none.
    pub activated: bool,
    /// When it was created.
    pub created_at: Timestamp,
    /// The roles that it holds.
    pub grants: Vec<Grant>,
    /// The link with which a new person sets a password: only in the answer that creates the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activation_link: Option<OneTimeLink>,
}

/// A link that works once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OneTimeLink {
    /// The whole address; whoever holds it may use it. Absent when it has been delivered before and is not shown
    /// again here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// When it ends by itself.
    pub expires_at: Timestamp,
}

impl std::fmt::Debug for OneTimeLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OneTimeLink").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// Creates an account.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = person_or_program)]
pub struct CreateUser {
    /// A person when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<UserKind>,
    /// The e-mail address of a person. A program has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 254), regex(pattern = EMAIL_PATTERN))]
    pub email: Option<String>,
    /// The shown name; what stands before the `@` when a person's is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200), regex(pattern = NAME_PATTERN))]
    pub name: Option<String>,
}

/// A person signs in with an e-mail address; a program has none, and no part of one to be called by.
fn person_or_program(schema: &mut schemars::Schema) {
    schema.insert("if".into(), json!({"properties": {"kind": {"const": "program"}}, "required": ["kind"]}));
    let program =
        json!({"properties": {"email": {"type": "null"}, "name": {"type": "string"}}, "required": ["name"]});
    schema.insert("then".into(), program);
    schema.insert("else".into(), json!({"properties": {"email": {"type": "string"}}, "required": ["email"]}));
}

/// Makes a one-time link. Takes no members.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateLink {}

/// Changes an account. An absent member stays as it is.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateUser {
    /// The shown name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200), regex(pattern = NAME_PATTERN))]
    pub name: Option<String>,
    /// The e-mail address of a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 254), regex(pattern = EMAIL_PATTERN))]
    pub email: Option<String>,
}

/// A role that a user holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Grant {
    /// Its id.
    pub id: GrantId,
    /// The role.
    pub role: crate::roles::Role,
    /// The property that it is limited to.
    pub property_id: Option<PropertyId>,
    /// The client that it is limited to.
    pub client_id: Option<ClientId>,
    /// The environments that it is limited to; `null`: all.
    pub environments: Option<Vec<String>>,
    /// When it was given.
    pub created_at: Timestamp,
    /// The link with which a person sets a new password: only in the answer that gives them their first role that
    /// sees secrets, to whoever may make links. Everything that let somebody into the account before has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activation_link: Option<OneTimeLink>,
}

/// Gives a role: on the whole platform, or on one property or one client; in all environments, or in some.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = one_scope)]
pub struct CreateGrant {
    /// The role. Owner and Operations Manager are roles of the whole platform, Application Manager is one of a
    /// property or of a client.
    pub role: crate::roles::Role,
    /// The property that it is limited to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub property_id: Option<PropertyId>,
    /// The client that it is limited to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<ClientId>,
    /// The environments that it is limited to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1), inner(regex(pattern = Slug::PATTERN)))]
    pub environments: Option<Vec<String>>,
}

/// A grant is on the platform, or on one property, or on one client. What fits its role is said in words.
fn one_scope(schema: &mut schemars::Schema) {
    let both = json!({
        "properties": {"property_id": {"type": "string"}, "client_id": {"type": "string"}},
        "required": ["property_id", "client_id"],
    });
    schema.insert("not".into(), both);
}

/// Who asks.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Me {
    /// The account.
    pub user: User,
    /// The permissions that this token is limited to; `null`: whatever the account may.
    pub scope: Option<Vec<String>>,
}

/// Failed client authentications of one kind from one source within an hour.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AuthenticationFailure {
    /// When the hour began.
    pub hour: Timestamp,
    /// The client; `null` where the `client_id` that was sent is not known.
    pub client_id: Option<ClientId>,
    /// The environment of the registration.
    pub environment: Option<String>,
    /// The secret that was presented, where it is known: an ended one, or one that a drill refused.
    pub secret_id: Option<SecretId>,
    /// Why: `malformed`, `unknown_client`, `disabled`, `method`, `wrong`, `expired`, `revoked` or `drill`.
    pub reason: String,
    /// The address, of IPv6 its first 64 bits; `null` in the row that gathers what was beyond the cap.
    pub source_ip: Option<String>,
    /// The first time in that hour.
    pub first_at: Timestamp,
    /// The last time in that hour.
    pub last_at: Timestamp,
    /// How often.
    pub count: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

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
