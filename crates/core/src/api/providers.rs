//! API types of OpenID Connect providers and of the people whom they know.

use super::{present, users::one_scope};
use crate::{
    ClientId, PropertyId, ProviderId, ProvisioningTokenId, Timestamp,
    environment::{MAX_ENVIRONMENTS, Slug},
    provider::{
        ClientAuthentication, GroupsFrom, MAX_GROUP_GRANTS, MAX_LISTED, MAX_NAME,
        MAX_PROVISIONING_TOKEN_DAYS, MAX_TEXT,
    },
    roles::Role,
    text::NAME_PATTERN,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A URL without a query, as far as a regular expression can say it.
const ISSUER_PATTERN: &str = "^[Hh][Tt][Tt][Pp][Ss]?://[!-\"$->@-~]+$";
/// Text without control characters.
const TEXT_PATTERN: &str = r"^[^\u0000-\u001F\u007F-\u009F]+$";
/// A scope, a value of `acr` and the name of a claim: visible ASCII characters without quotes and backslashes.
const WORD_PATTERN: &str = r"^[!#-\[\]-~]+$";

/// An OpenID Connect provider with which people sign in.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Provider {
    /// ID.
    pub id: ProviderId,
    /// Name: the sign-in page says *Sign in with* and this name.
    pub name: String,
    /// Issuer identifier.
    pub issuer: String,
    /// `client_id` of Crossfade at the provider.
    pub client_id: String,
    /// How Crossfade authenticates at the token endpoint.
    pub client_authentication: ClientAuthentication,
    /// Whether a client secret is set. It is never shown.
    pub has_client_secret: bool,
    /// Scopes that are requested.
    pub scopes: Vec<String>,
    /// Domains of verified email addresses for which accounts are created at the first sign-in; empty: none are created.
    pub domains: Vec<String>,
    /// Claim that lists the groups of a person. A dot leads into an object.
    pub groups_claim: String,
    /// Authentication context classes of which each sign-in needs one; empty: any.
    pub acr_values: Vec<String>,
    /// Roles that groups give.
    pub group_grants: Vec<GroupGrant>,
    /// Where the groups of people come from.
    pub groups_from: GroupsFrom,
    /// Claim of the ID token whose value is the `externalId` of the person in provisioning.
    pub external_id_claim: String,
    /// Whether people can sign in with it.
    pub enabled: bool,
    /// Redirect URI to register at the provider.
    pub redirect_uri: String,
    /// Back-channel logout URI to register at the provider.
    pub back_channel_logout_uri: String,
    /// URI to register at the provider as post-logout redirect URI.
    pub post_logout_redirect_uri: String,
    /// Base URL at which the provider provisions people and groups (SCIM 2.0).
    pub scim_url: String,
    /// When it was created.
    pub created_at: Timestamp,
}

/// A role that a group of a provider gives.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = one_scope)]
pub struct GroupGrant {
    /// Name of the group, exactly as the provider writes it.
    #[schemars(length(min = 1, max = MAX_NAME), regex(pattern = TEXT_PATTERN))]
    pub group: String,
    /// The role. Owner and Operations Manager apply to the whole platform, Application Manager to a property or a
    /// client.
    pub role: Role,
    /// Property it is limited to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub property_id: Option<PropertyId>,
    /// Client it is limited to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<ClientId>,
    /// Environments it is limited to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = MAX_ENVIRONMENTS), inner(regex(pattern = Slug::PATTERN)))]
    pub environments: Option<Vec<String>>,
}

/// Creates a provider.
#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateProvider {
    /// Name: the sign-in page says *Sign in with* and this name.
    #[schemars(length(min = 1, max = 200), regex(pattern = NAME_PATTERN))]
    pub name: String,
    /// Issuer identifier, exactly as the metadata of the provider says it.
    #[schemars(length(max = MAX_TEXT), regex(pattern = ISSUER_PATTERN))]
    pub issuer: String,
    /// `client_id` of Crossfade at the provider.
    #[schemars(length(min = 1, max = MAX_TEXT), regex(pattern = TEXT_PATTERN))]
    pub client_id: String,
    /// Client secret of Crossfade at the provider. Required, unless `client_authentication` is `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = MAX_TEXT), regex(pattern = TEXT_PATTERN))]
    pub client_secret: Option<String>,
    /// How Crossfade authenticates at the token endpoint.
    #[serde(default)]
    pub client_authentication: ClientAuthentication,
    /// Scopes to request. Defaults to `openid`, `email` and `profile`; `openid` is always requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_LISTED), inner(length(max = MAX_NAME), regex(pattern = WORD_PATTERN)))]
    pub scopes: Option<Vec<String>>,
    /// Domains of verified email addresses for which accounts are created at the first sign-in; empty or absent: none are
    /// created.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_LISTED), inner(length(min = 3, max = 253)))]
    pub domains: Vec<String>,
    /// Claim that lists the groups of a person. Defaults to `groups`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = MAX_NAME), regex(pattern = WORD_PATTERN))]
    pub groups_claim: Option<String>,
    /// Authentication context classes of which each sign-in needs one; empty or absent: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_LISTED), inner(length(max = MAX_NAME), regex(pattern = WORD_PATTERN)))]
    pub acr_values: Vec<String>,
    /// Roles that groups give.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_GROUP_GRANTS))]
    pub group_grants: Vec<GroupGrant>,
    /// Where the groups of people come from.
    #[serde(default)]
    pub groups_from: GroupsFrom,
    /// Claim of the ID token whose value is the `externalId` of the person in provisioning. Defaults to `sub`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = MAX_NAME), regex(pattern = WORD_PATTERN))]
    pub external_id_claim: Option<String>,
}

impl std::fmt::Debug for CreateProvider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreateProvider").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Changes a provider. An absent member stays as it is.
#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateProvider {
    /// Name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200), regex(pattern = NAME_PATTERN))]
    pub name: Option<String>,
    /// Issuer identifier. A change requires `confirm_name` and, if a client secret is used, `client_secret`. It ends the
    /// identities of the earlier issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_TEXT), regex(pattern = ISSUER_PATTERN))]
    pub issuer: Option<String>,
    /// `client_id` of Crossfade at the provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = MAX_TEXT), regex(pattern = TEXT_PATTERN))]
    pub client_id: Option<String>,
    /// Client secret of Crossfade at the provider; `null` removes it.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = MAX_TEXT), regex(pattern = TEXT_PATTERN))]
    pub client_secret: Option<Option<String>>,
    /// How Crossfade authenticates at the token endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_authentication: Option<ClientAuthentication>,
    /// Scopes to request; `openid` is always requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_LISTED), inner(length(max = MAX_NAME), regex(pattern = WORD_PATTERN)))]
    pub scopes: Option<Vec<String>>,
    /// Domains of verified email addresses for which accounts are created at the first sign-in; empty: none are created.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_LISTED), inner(length(min = 3, max = 253)))]
    pub domains: Option<Vec<String>>,
    /// Claim that lists the groups of a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = MAX_NAME), regex(pattern = WORD_PATTERN))]
    pub groups_claim: Option<String>,
    /// Authentication context classes of which each sign-in needs one; empty: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_LISTED), inner(length(max = MAX_NAME), regex(pattern = WORD_PATTERN)))]
    pub acr_values: Option<Vec<String>>,
    /// Roles that groups give. Replaces the present ones. Roles are removed now, and given at the next sign-in of each person,
    /// or now if the provider provisions the groups.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_GROUP_GRANTS))]
    pub group_grants: Option<Vec<GroupGrant>>,
    /// Where the groups of people come from. With `provisioning`, roles follow the provisioned groups from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups_from: Option<GroupsFrom>,
    /// Claim of the ID token whose value is the `externalId` of the person in provisioning.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = MAX_NAME), regex(pattern = WORD_PATTERN))]
    pub external_id_claim: Option<String>,
    /// Whether people can sign in with it. Disabling it ends its sessions and removes the roles that its groups gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Name of the provider before this change, to confirm a new issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirm_name: Option<String>,
}

impl std::fmt::Debug for UpdateProvider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpdateProvider").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Who an account is at a provider.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Identity {
    /// The provider.
    pub provider_id: ProviderId,
    /// Name of the provider.
    pub provider_name: String,
    /// Subject at the provider.
    pub subject: String,
    /// When the account was created or linked with it.
    pub created_at: Timestamp,
    /// Its last sign-in; `null` if there was none.
    pub last_used_at: Option<Timestamp>,
}

/// A token with which a provider provisions people and groups. It can do nothing else.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProvisioningToken {
    /// ID.
    pub id: ProvisioningTokenId,
    /// Networks it can be used from; `null`: any.
    pub allowed_networks: Option<Vec<String>>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
    /// Its last use, to the minute; `null` if there was none.
    pub last_used_at: Option<Timestamp>,
    /// Value, only in the response that creates it, and in its repetition within 10 minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

impl std::fmt::Debug for ProvisioningToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProvisioningToken").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Creates a provisioning token.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateProvisioningToken {
    /// Days until it expires. Defaults to 365.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = MAX_PROVISIONING_TOKEN_DAYS))]
    pub expires_days: Option<u32>,
    /// Networks it can be used from, such as `192.0.2.0/24`; absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub allowed_networks: Option<Vec<String>>,
}
