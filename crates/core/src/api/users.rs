//! API types of accounts, links, roles and tokens.

use super::Identity;
use crate::{
    ClientId, GrantId, PropertyId, ProviderId, Timestamp, TokenId, UserId,
    account::{Passwords, UserKind},
    environment::{MAX_ENVIRONMENTS, Slug},
    owners::Heirs,
    roles::Role,
    second_factor::AskedFor,
    text::{EMAIL_PATTERN, LINE_PATTERN, NAME_PATTERN},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// An account of a person or a program.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct User {
    /// ID.
    pub id: UserId,
    /// Person or program.
    pub kind: UserKind,
    /// Display name.
    pub name: String,
    /// The email address that a person signs in with; a program has none.
    pub email: Option<String>,
    /// Whether a password is set. A program has none.
    pub activated: bool,
    /// Whether it has a second factor. A program has none.
    #[serde(default)]
    pub second_factor: bool,
    /// When it was created.
    pub created_at: Timestamp,
    /// Its roles.
    pub grants: Vec<Grant>,
    /// Who it is at the providers with which it can sign in.
    #[serde(default)]
    pub identities: Vec<Identity>,
    /// Link with which a new person sets a password, only in the response that creates the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activation_link: Option<OneTimeLink>,
}

/// A link that works once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OneTimeLink {
    /// The complete URL. Anyone who has it can use it. Absent if it was delivered before and is not shown again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// When it expires.
    pub expires_at: Timestamp,
    /// Whether it was also mailed to the account.
    #[serde(default)]
    pub mailed: bool,
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
    /// Kind of account. Defaults to a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<UserKind>,
    /// The email address of a person. A program has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 254), regex(pattern = EMAIL_PATTERN))]
    pub email: Option<String>,
    /// Display name. For a person it defaults to the part of the email address before the `@`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200), regex(pattern = NAME_PATTERN))]
    pub name: Option<String>,
}

/// Schema rule: a person needs an email address; a program has none and therefore needs a name.
fn person_or_program(schema: &mut schemars::Schema) {
    schema.insert("if".into(), json!({"properties": {"kind": {"const": "program"}}, "required": ["kind"]}));
    let program =
        json!({"properties": {"email": {"type": "null"}, "name": {"type": "string"}}, "required": ["name"]});
    schema.insert("then".into(), program);
    schema.insert("else".into(), json!({"properties": {"email": {"type": "string"}}, "required": ["email"]}));
}

/// Creates a one-time link. Accepts no members.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateLink {}

/// Removes the second factors of an account.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveFactors {
    /// Reason, recorded in the audit trail.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000), regex(pattern = LINE_PATTERN))]
    pub reason: Option<String>,
}

/// What ended with the second factors of an account.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct FactorsRemoved {
    /// Number of factors that were removed. If there were none, nothing was changed.
    pub removed_count: u64,
    /// Number of sessions that ended.
    pub ended_sessions: u64,
    /// Number of API tokens that ended.
    pub ended_tokens: u64,
}

/// Whom the instance asks for a second factor, and who can sign in with a password.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SignInPolicy {
    /// Whom it asks for a second factor.
    pub second_factor: AskedFor,
    /// When people were notified that it asks; `null` if it asks nobody.
    pub told_at: Option<Timestamp>,
    /// When the API tokens of people without a second factor are refused, at the earliest; `null` if it asks nobody.
    pub tokens_refused_from: Option<Timestamp>,
    /// Number of people that it asks and that have none.
    pub missing_count: u64,
    /// Who can sign in with a password.
    pub passwords: Passwords,
    /// Owners who can sign in with a password when nobody else can.
    pub break_glass: Vec<UserId>,
}

/// Changes the sign-in policy. An absent member stays as it is.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateSignInPolicy {
    /// Whom to ask for a second factor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub second_factor: Option<AskedFor>,
    /// Who can sign in with a password. With `break_glass`, the sessions of everyone else that were begun with a password end,
    /// and one-time links of people let nobody in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passwords: Option<Passwords>,
    /// Owners who can sign in with a password when nobody else can. With `break_glass`, at least one, and each has a password.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20))]
    pub break_glass: Option<Vec<UserId>>,
    /// Reason, recorded in the audit trail.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000), regex(pattern = LINE_PATTERN))]
    pub reason: Option<String>,
}

/// Changes an account. An absent member stays as it is.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateUser {
    /// Display name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200), regex(pattern = NAME_PATTERN))]
    pub name: Option<String>,
    /// The email address of a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 254), regex(pattern = EMAIL_PATTERN))]
    pub email: Option<String>,
    /// The account's name before this change, to confirm it. Required to change the email address of an account that
    /// owns clients, because the change redirects messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirm_user_name: Option<String>,
}

/// Deletes an account.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = choice_is_confirmed)]
pub struct DeleteUser {
    /// Who owns the account's clients from now on: the ID of a person, or the email address of a group. If it is
    /// omitted, the other owners of each client remain; a client without any is inherited by its managers.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 254))]
    pub hand_over_to: Option<String>,
    /// The account's name, to confirm the change. Required with `hand_over_to`, and if the account owns clients, because
    /// the deletion redirects messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirm_user_name: Option<String>,
}

/// Schema rule: whoever redirects messages confirms with the account's name.
fn choice_is_confirmed(schema: &mut schemars::Schema) {
    let chooses = json!({"properties": {"hand_over_to": {"type": "string"}}, "required": ["hand_over_to"]});
    schema.insert("if".into(), chooses);
    let named =
        json!({"properties": {"confirm_user_name": {"type": "string"}}, "required": ["confirm_user_name"]});
    schema.insert("then".into(), named);
}

/// The clients that an account owns, or owned until it was deleted.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct HandedOver {
    /// Number of clients that the account owns or owned.
    pub handed_over_count: u64,
    /// Number of those that have no owner after it is deleted.
    pub ownerless_count: u64,
    /// Those that you can read, at most 200.
    pub clients: Vec<HandedOverClient>,
}

/// A client that an account owns, or owned until it was deleted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct HandedOverClient {
    /// ID of the client.
    pub id: ClientId,
    /// Name of the client.
    pub name: String,
    /// Its owners after the account is deleted.
    pub owners: Vec<String>,
    /// Who they are.
    pub heirs: Heirs,
}

/// A role granted to a user.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Grant {
    /// ID.
    pub id: GrantId,
    /// The role.
    pub role: Role,
    /// Property it is limited to.
    pub property_id: Option<PropertyId>,
    /// Client it is limited to.
    pub client_id: Option<ClientId>,
    /// Environments it is limited to; `null`: all.
    pub environments: Option<Vec<String>>,
    /// Provider whose group gives the role; `null`: it was granted here.
    #[serde(default)]
    pub provider_id: Option<ProviderId>,
    /// Group that gives the role; `null`: it was granted here.
    #[serde(default)]
    pub group: Option<String>,
    /// When it was granted.
    pub created_at: Timestamp,
    /// Link with which a person sets a new password, only in the response to a grant that first closed the account, and
    /// only for a caller who can create links. All earlier ways into the account have ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activation_link: Option<OneTimeLink>,
}

/// Grants a role on the whole platform, one property or one client, in all environments or in some.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = one_scope)]
pub struct CreateGrant {
    /// The role. Owner and Operations Manager apply to the whole platform, Application Manager to a property or a
    /// client.
    pub role: Role,
    /// Property it is limited to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub property_id: Option<PropertyId>,
    /// Client it is limited to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<ClientId>,
    /// Environments it is limited to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = MAX_ENVIRONMENTS), inner(regex(pattern = Slug::PATTERN)))]
    pub environments: Option<Vec<String>>,
}

/// Schema rule: a grant applies to the platform, one property or one client. The role decides which of these are
/// allowed (`Role::fits_on`).
pub(super) fn one_scope(schema: &mut schemars::Schema) {
    let both = json!({
        "properties": {"property_id": {"type": "string"}, "client_id": {"type": "string"}},
        "required": ["property_id", "client_id"],
    });
    schema.insert("not".into(), both);
    let role = |roles: &[Role]| json!({"properties": {"role": {"enum": roles}}, "required": ["role"]});
    let is_on = |member: &str| json!({"properties": {member: {"type": "string"}}, "required": [member]});
    schema.insert("if".into(), role(&[Role::Owner, Role::OperationsManager]));
    let absent = json!({"type": "null"});
    let platform =
        json!({"properties": {"property_id": &absent, "client_id": &absent, "environments": &absent}});
    schema.insert("then".into(), platform);
    let within = json!({
        "if": role(&[Role::ApplicationManager]),
        "then": {"anyOf": [is_on("property_id"), is_on("client_id")]},
    });
    schema.insert("else".into(), within);
}

/// The account and the token of the request.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Me {
    /// The account.
    pub user: User,
    /// Permissions this token is limited to; `null`: all permissions of the account.
    pub scope: Option<Vec<String>>,
    /// ID of this API token, to find what was done with it in the audit trail.
    pub token_id: Option<TokenId>,
    /// Client this token is limited to, in one environment; `null`: it has no such limit.
    #[serde(default)]
    pub client_id: Option<ClientId>,
    /// Environment this token is limited to; `null`: it has no such limit.
    #[serde(default)]
    pub environment: Option<String>,
}

/// An API token, without its value.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Token {
    /// ID.
    pub id: TokenId,
    /// Account it belongs to.
    pub user_id: UserId,
    /// Name given by its owner.
    pub name: String,
    /// Permissions it is limited to; `null`: all permissions of its owner.
    pub scope: Option<Vec<String>>,
    /// Client it is limited to, in one environment; `null`: it has no such limit.
    #[serde(default)]
    pub client_id: Option<ClientId>,
    /// Environment it is limited to; `null`: it has no such limit.
    #[serde(default)]
    pub environment: Option<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it expires.
    pub expires_at: Option<Timestamp>,
    /// Its last use.
    pub last_used_at: Option<Timestamp>,
}
