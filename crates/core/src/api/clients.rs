//! Clients and their registrations, as the API tells them.

use super::{RevealedSecret, present};
use crate::{
    ClientId, OauthClientId, PropertyId, RegistrationId, Timestamp,
    environment::{MAX_ENVIRONMENTS, Slug},
    registration::{AuthMethod, TOKEN_PATTERN},
    text::{EMAIL_PATTERN, LINE_PATTERN, NAME_PATTERN},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    #[schemars(length(min = 1, max = MAX_ENVIRONMENTS), inner(regex(pattern = Slug::PATTERN)))]
    pub environments: Vec<String>,
    /// Refuses with `forbidden` if the answer cannot hold the value of each first secret, because you may not reveal
    /// it. Nothing is created then.
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
    /// What it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000), regex(pattern = LINE_PATTERN))]
    pub description: Option<String>,
    /// The people who are told of what concerns it. Other owners than now need `confirm_client_name`, because
    /// messages go elsewhere then.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 50), inner(length(max = 254), regex(pattern = EMAIL_PATTERN)))]
    pub owners: Option<Vec<String>>,
    /// The client's name, typed: the name that it has before this change. Required for other owners.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirm_client_name: Option<String>,
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
    /// Refuses with `forbidden` if the answer cannot hold the value of the first secret, because you may not reveal it.
    /// Nothing is created then.
    #[serde(default)]
    pub require_value: bool,
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
    #[schemars(length(min = 1, max = 2))]
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
