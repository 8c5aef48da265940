//! API types of clients and their registrations.

use super::{Enforced, RevealedSecret, present};
use crate::{
    ClientId, OauthClientId, PropertyId, RegistrationId, Timestamp, UserId,
    environment::{MAX_ENVIRONMENTS, Slug},
    owners::OwnerKind,
    registration::{Adoption, AuthMethod, TOKEN_PATTERN},
    text::{LINE_PATTERN, NAME_PATTERN, OWNER_PATTERN},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// A client and its registrations.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Client {
    /// Its id. Not the OAuth `client_id`: each registration has its own.
    pub id: ClientId,
    /// Its name, unique in its property.
    pub name: String,
    /// Description.
    pub description: String,
    /// Property it belongs to.
    pub property_id: PropertyId,
    /// Email addresses of the people, and IDs of the webhooks, that are notified about the client.
    pub owners: Vec<String>,
    /// What each owner is, in the order of `owners`.
    #[serde(default)]
    #[schemars(!default)]
    pub owner_details: Vec<OwnerDetails>,
    /// When it was created.
    pub created_at: Timestamp,
    /// The client's registrations, in the order of the environments.
    pub registrations: Vec<Registration>,
}

/// An owner of a client.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct OwnerDetails {
    /// The owner, as in `owners`.
    pub owner: String,
    /// What the owner is. `null` for an email address, unless the caller can read users: it tells who has an account.
    pub kind: Option<OwnerKind>,
    /// ID of the account, for a caller who can read users; otherwise `null`.
    pub user_id: Option<UserId>,
    /// Display name of the account, for a caller who can read users, or name of the webhook, for a caller who can manage
    /// it; otherwise `null`.
    pub name: Option<String>,
}

/// Creates a client.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateClient {
    /// Its name, unique in its property.
    #[schemars(length(min = 1, max = 200), regex(pattern = NAME_PATTERN))]
    pub name: String,
    /// Property it belongs to.
    pub property_id: PropertyId,
    /// Description.
    #[schemars(length(max = 1000), regex(pattern = LINE_PATTERN))]
    pub description: Option<String>,
    /// Email addresses of the people, and IDs of the webhooks, that are notified about the client.
    #[serde(default)]
    #[schemars(length(max = 50), inner(length(max = 254), regex(pattern = OWNER_PATTERN)))]
    pub owners: Vec<String>,
    /// Environments it is registered in.
    #[schemars(length(min = 1, max = MAX_ENVIRONMENTS), inner(regex(pattern = Slug::PATTERN)))]
    pub environments: Vec<String>,
    /// The client's id at the upstream issuer. Required if one of the environments is in front of an issuer, and only then:
    /// Crossfade generates the others. A later registration has its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = OauthClientId::PATTERN))]
    pub client_id: Option<String>,
    /// Creates the registration in front of an issuer without a secret. It learns the one that its callers have when the
    /// issuer accepts it. Requires that the `adopt_until` of the environment is ahead, and the permission `secret:rotate`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopt: bool,
    /// Refuses the request with `forbidden` if the response cannot contain the value of each first secret, because you
    /// do not have permission to reveal it. Nothing is created then.
    #[serde(default)]
    pub require_value: bool,
}

/// Changes a client. An absent member stays as it is.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateClient {
    /// The name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200), regex(pattern = NAME_PATTERN))]
    pub name: Option<String>,
    /// Description.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000), regex(pattern = LINE_PATTERN))]
    pub description: Option<String>,
    /// Email addresses of the people, and IDs of the webhooks, that are notified about the client. A change requires `confirm_client_name`,
    /// because it redirects messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 50), inner(length(max = 254), regex(pattern = OWNER_PATTERN)))]
    pub owners: Option<Vec<String>>,
    /// The client's name before this change, to confirm it. Required to change the owners.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirm_client_name: Option<String>,
}

/// Deletes a client.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteClient {
    /// The client's name, to confirm the change.
    pub confirm_client_name: String,
    /// Reason.
    #[schemars(length(min = 1, max = 1000), regex(pattern = NAME_PATTERN))]
    pub reason: String,
}

/// Response to the deletion of a client.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ClientDeleted {
    /// Since when the deletion is in force on every node, and how each was known; `null` with `Prefer: respond-async`.
    #[serde(default)]
    #[schemars(!default)]
    pub enforced: Option<Enforced>,
}

/// Registers a client in a further environment.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateRegistration {
    /// The environment.
    #[schemars(regex(pattern = Slug::PATTERN))]
    pub environment: String,
    /// The client's id at the upstream issuer. Required in an environment in front of an issuer, and only there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = OauthClientId::PATTERN))]
    pub client_id: Option<String>,
    /// Creates the registration in front of an issuer without a secret. It learns the one that its callers have when the
    /// issuer accepts it. Requires that the `adopt_until` of the environment is ahead, and the permission `secret:rotate`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopt: bool,
    /// Refuses the request with `forbidden` if the response cannot contain the value of the first secret, because you
    /// do not have permission to reveal it. Nothing is created then.
    #[serde(default)]
    pub require_value: bool,
}

/// One client in one environment.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Registration {
    /// ID.
    pub id: RegistrationId,
    /// The environment.
    pub environment: String,
    /// The OAuth `client_id`.
    pub client_id: OauthClientId,
    /// Whether it can authenticate at all.
    pub enabled: bool,
    /// Allowed authentication methods.
    pub token_endpoint_auth_methods: Vec<AuthMethod>,
    /// Scopes it can request; `null` in front of another issuer.
    pub scopes: Option<Vec<String>>,
    /// The `aud` of its access tokens; `null` in front of another issuer.
    pub audience: Option<String>,
    /// Access token lifetime in seconds; `null` in front of another issuer.
    pub access_token_ttl_seconds: Option<u32>,
    /// Whether it can introspect every token of its environment, not only its own; `null` in front of another issuer.
    pub may_introspect: Option<bool>,
    /// Networks from which it may be used, such as `10.0.0.0/8`; `null` allows every address.
    pub allowed_networks: Option<Vec<String>>,
    /// Whether the client can rotate its own secret, with that secret as its credential.
    #[serde(default)]
    #[schemars(!default)]
    pub self_rotation: bool,
    /// When it was created.
    pub created_at: Timestamp,
    /// When the current secret is overdue for rotation; `null`: never.
    pub rotation_due_at: Option<Timestamp>,
    /// Why a registration that learns its secret has none yet: `waiting` for a request that the issuer accepts, or
    /// `public_client`, because the issuer accepts any secret of it, so that none is learned; `null` for all others.
    #[serde(default)]
    #[schemars(!default)]
    pub adoption: Option<Adoption>,
    /// Its first secret, only in the response that creates it, and only for a caller who can reveal secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<RevealedSecret>,
    /// Since when a change of it is in force on every node, and how each was known. Only in the response to a change, and
    /// not with `Prefer: respond-async`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enforced: Option<Enforced>,
}

/// Schema rule: disabling requires the client's name.
fn disabling_is_confirmed(schema: &mut schemars::Schema) {
    let disables = json!({"properties": {"enabled": {"const": false}}, "required": ["enabled"]});
    schema.insert("if".into(), disables);
    let named = json!({"properties": {"confirm_client_name": {"type": "string"}}, "required": ["confirm_client_name"]});
    schema.insert("then".into(), named);
}

/// Changes a registration. An absent member stays as it is.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = disabling_is_confirmed)]
pub struct UpdateRegistration {
    /// Whether it can authenticate at all. `false` requires `confirm_client_name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// The client's name, to confirm the change. Required to disable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirm_client_name: Option<String>,
    /// Allowed authentication methods.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2))]
    pub token_endpoint_auth_methods: Option<Vec<AuthMethod>>,
    /// Scopes it can request.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100), inner(length(max = 200), regex(pattern = TOKEN_PATTERN)))]
    pub scopes: Option<Vec<String>>,
    /// The `aud` of its access tokens; `null` means the issuer.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 500), regex(pattern = TOKEN_PATTERN))]
    pub audience: Option<Option<String>>,
    /// Access token lifetime in seconds, 60 to 86400.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 60, max = 86400))]
    pub access_token_ttl_seconds: Option<i64>,
    /// Whether it can introspect every token of its environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub may_introspect: Option<bool>,
    /// Networks from which it may be used, such as `10.0.0.0/8`; `null` allows every address.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(max = 50)))]
    pub allowed_networks: Option<Option<Vec<String>>>,
    /// Number of callers that `allowed_networks` may lock out, at most: the `locked_out_count` of the refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub acknowledge_locked_out: Option<u64>,
    /// Whether the client can rotate its own secret, with that secret as its credential. `true` requires the permission
    /// `secret:rotate`, and that the client has an owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub self_rotation: Option<bool>,
    /// Reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000), regex(pattern = LINE_PATTERN))]
    pub reason: Option<String>,
}
