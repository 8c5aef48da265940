//! Facts that events of the audit trail record. They are types of their own: when a type of the API changes, the
//! recorded trail and its meaning stay as they are.

use crate::{
    ClientId, GrantId, OauthClientId, PropertyId, ProviderId, RegistrationId, Timestamp, UserId,
    account::Passwords,
    api,
    environment::{EnvironmentKind, SigningAlg},
    provider::{ClientAuthentication, GroupsFrom},
    registration::AuthMethod,
    roles::Role,
    second_factor::AskedFor,
    upstream::{IssuerKind, IssuerMode, Server, UnregisteredClients, Upstream},
    webhook::WebhookFormat,
};
use schemars::JsonSchema;
use serde::Serialize;

/// The changeable facts of a user.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct UserFacts {
    /// Display name.
    pub name: String,
    /// The email address.
    pub email: Option<String>,
}

/// The sign-in policy.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct SignInFacts {
    /// Whom it asks for a second factor.
    pub second_factor: AskedFor,
    /// Who can sign in with a password.
    pub passwords: Passwords,
    /// Owners who can when nobody else can.
    pub break_glass: Vec<UserId>,
}

/// The messages to a person.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct OwnMessagesFacts {
    /// Name of the time zone; `null`: only UTC.
    pub time_zone: Option<String>,
    /// Kinds and classes of messages that are switched off.
    pub off: Vec<String>,
}

/// The changeable facts of a client.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ClientFacts {
    /// The name.
    pub name: String,
    /// Description.
    pub description: String,
    /// Email addresses of the people, and IDs of the webhooks, that are notified about the client.
    pub owners: Vec<String>,
}

/// The changeable facts of a webhook. A URL can itself be a secret, so only its host is recorded, and its digest.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
pub struct WebhookFacts {
    /// Name.
    pub name: String,
    /// Scheme, host and port of its URL.
    pub origin: String,
    /// First 16 digits of the SHA-256 digest of its URL in hexadecimal, which show whether the URL was changed.
    pub url_digest: String,
    /// Property whose clients it gets messages about.
    pub property_id: Option<PropertyId>,
    /// Client that it gets messages about.
    pub client_id: Option<ClientId>,
    /// Environments; empty: all.
    pub environments: Vec<String>,
    /// Kinds of events; empty: all.
    pub events: Vec<String>,
    /// Form of the bodies.
    pub format: WebhookFormat,
    /// Whether messages are sent.
    pub enabled: bool,
}

/// Defines the facts of an object, with their documentation, and takes them from the object as the API shows it.
macro_rules! facts_of {
    ($($(#[doc = $doc:literal])+ $name:ident of $object:ident { $($(#[doc = $field_doc:literal])+ $field:ident: $type:ty,)* })+) => { $(
        $(#[doc = $doc])+
        #[derive(Clone, Debug, Serialize, JsonSchema)]
        pub struct $name { $($(#[doc = $field_doc])+ pub $field: $type,)* }

        impl From<api::$object> for $name {
            fn from(shown: api::$object) -> Self {
                Self { $($field: shown.$field,)* }
            }
        }
    )+ };
}

facts_of! {
    /// The facts of a grant.
    GrantFacts of Grant {
        /// ID.
        id: GrantId,
        /// The role.
        role: Role,
        /// Property it is limited to.
        property_id: Option<PropertyId>,
        /// Client it is limited to.
        client_id: Option<ClientId>,
        /// Environments it is limited to; `null`: all.
        environments: Option<Vec<String>>,
        /// Provider whose group gives the role; `null`: it was granted here.
        provider_id: Option<ProviderId>,
        /// Group that gives the role; `null`: it was granted here.
        group: Option<String>,
        /// When it was granted.
        created_at: Timestamp,
    }
    /// The limits of a property in an environment.
    LimitsFacts of Limits {
        /// Audiences that a registration can have besides the issuer, which is always allowed.
        audiences: Vec<String>,
        /// Scopes that a registration can have; `null`: any.
        scopes: Option<Vec<String>>,
    }
    /// The facts of a registration.
    RegistrationFacts of Registration {
        /// ID.
        id: RegistrationId,
        /// The environment.
        environment: String,
        /// The OAuth `client_id`.
        client_id: OauthClientId,
        /// Whether it can authenticate at all.
        enabled: bool,
        /// Allowed authentication methods.
        token_endpoint_auth_methods: Vec<AuthMethod>,
        /// Scopes it can request; `null` in front of another issuer.
        scopes: Option<Vec<String>>,
        /// The `aud` of its access tokens; `null` in front of another issuer.
        audience: Option<String>,
        /// Access token lifetime in seconds; `null` in front of another issuer.
        access_token_ttl_seconds: Option<u32>,
        /// Whether it can introspect every token of its environment, not only its own; `null` in front of another issuer.
        may_introspect: Option<bool>,
        /// Networks from which it may be used; `null` allows every address.
        allowed_networks: Option<Vec<String>>,
        /// Whether the client can rotate its own secret.
        self_rotation: bool,
        /// When it was created.
        created_at: Timestamp,
        /// When the current secret is overdue for rotation; `null`: never.
        rotation_due_at: Option<Timestamp>,
    }
    /// The facts of a refused caller.
    RefusedCallerFacts of RefusedCaller {
        /// Its address; `null` in the row that groups callers beyond the limit.
        source_ip: Option<String>,
        /// User agent; `null` if none was sent.
        user_agent: Option<String>,
        /// Instance label, from the header Crossfade-Instance; `null` if none was sent.
        instance: Option<String>,
        /// Whether this row groups callers beyond the limit: those of its address or, without an address, all others.
        gathered: bool,
        /// First refusal.
        first_at: Timestamp,
        /// Last refusal.
        last_at: Timestamp,
        /// Number of times.
        refusal_count: i64,
    }
}

/// The facts of an environment.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct EnvironmentFacts {
    /// Its name in URLs. Never changes.
    pub slug: String,
    /// Display name.
    pub name: String,
    /// Whether it serves real users.
    pub kind: EnvironmentKind,
    /// Its OAuth issuer.
    pub issuer: String,
    /// Who issues its tokens.
    pub issuer_mode: IssuerMode,
    /// The issuer that it is in front of; `null` while Crossfade issues its tokens.
    pub upstream: Option<UpstreamFacts>,
    /// Whether requests of clients that are not registered here were refused or passed on; `null` while Crossfade issues its
    /// tokens.
    pub unregistered_clients: Option<UnregisteredClients>,
    /// Until when a registration without a secret learns the one that the issuer accepts; `null`: none does.
    pub adopt_until: Option<Timestamp>,
    /// Signing algorithm of new access tokens; `null` in front of another issuer.
    pub signing_alg: Option<SigningAlg>,
    /// When new access tokens will be signed with `signing_alg`; `null` if they already were.
    pub signing_alg_from: Option<Timestamp>,
    /// Whether secrets are shown once and never stored.
    pub show_once: bool,
    /// Days after a secret's end until its stored value is wiped.
    pub wipe_after_days: u16,
    /// Maximum secret age in days, after which a secret is overdue; `null`: no limit.
    pub max_age_days: Option<u16>,
    /// Hours the deadline guard adds; `null` turns this off.
    pub guard_extension_hours: Option<u16>,
    /// Days after which a new signing key is created on a schedule; `null`: only on request.
    pub signing_key_rotation_days: Option<u16>,
}

impl From<api::Environment> for EnvironmentFacts {
    fn from(shown: api::Environment) -> Self {
        Self {
            slug: shown.slug,
            name: shown.name,
            kind: shown.kind,
            issuer: shown.issuer,
            issuer_mode: shown.issuer_mode,
            upstream: shown.upstream.map(Into::into),
            unregistered_clients: shown.unregistered_clients,
            adopt_until: shown.adopt_until,
            signing_alg: shown.signing_alg,
            signing_alg_from: shown.signing_alg_from,
            show_once: shown.show_once,
            wipe_after_days: shown.wipe_after_days,
            max_age_days: shown.max_age_days,
            guard_extension_hours: shown.guard_extension_hours,
            signing_key_rotation_days: shown.signing_key_rotation_days,
        }
    }
}

/// The facts of a provider. Its client secret is none.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct ProviderFacts {
    /// Name.
    pub name: String,
    /// Issuer identifier.
    pub issuer: String,
    /// `client_id` of Crossfade at the provider.
    pub client_id: String,
    /// How Crossfade authenticates at the token endpoint.
    pub client_authentication: ClientAuthentication,
    /// Whether a client secret is set.
    pub has_client_secret: bool,
    /// Scopes that are requested.
    pub scopes: Vec<String>,
    /// Domains for which accounts are created.
    pub domains: Vec<String>,
    /// Claim that lists the groups of a person.
    pub groups_claim: String,
    /// Authentication context classes of which each sign-in needs one.
    pub acr_values: Vec<String>,
    /// Roles that groups give.
    pub group_grants: Vec<GroupGrantFacts>,
    /// Where the groups of people come from.
    pub groups_from: GroupsFrom,
    /// Claim that says who a person is in provisioning.
    pub external_id_claim: String,
    /// Whether people can sign in with it.
    pub enabled: bool,
}

/// A role that a group of a provider gives.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct GroupGrantFacts {
    /// Name of the group.
    pub group: String,
    /// The role.
    pub role: Role,
    /// Property it is limited to.
    pub property_id: Option<PropertyId>,
    /// Client it is limited to.
    pub client_id: Option<ClientId>,
    /// Environments it is limited to; `null`: all.
    pub environments: Option<Vec<String>>,
}

impl From<api::GroupGrant> for GroupGrantFacts {
    fn from(shown: api::GroupGrant) -> Self {
        let api::GroupGrant { group, role, property_id, client_id, environments } = shown;
        Self { group, role, property_id, client_id, environments }
    }
}

impl From<api::Provider> for ProviderFacts {
    fn from(shown: api::Provider) -> Self {
        Self {
            name: shown.name,
            issuer: shown.issuer,
            client_id: shown.client_id,
            client_authentication: shown.client_authentication,
            has_client_secret: shown.has_client_secret,
            scopes: shown.scopes,
            domains: shown.domains,
            groups_claim: shown.groups_claim,
            acr_values: shown.acr_values,
            group_grants: shown.group_grants.into_iter().map(Into::into).collect(),
            groups_from: shown.groups_from,
            external_id_claim: shown.external_id_claim,
            enabled: shown.enabled,
        }
    }
}

/// A person whom a provider provisions.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct ScimUserFacts {
    /// `userName`: the email address.
    pub user_name: String,
    /// `externalId`: who the person is at the provider.
    pub external_id: String,
    /// Name of the person.
    pub name: String,
    /// Whether the person is active: has an account.
    pub active: bool,
}

/// The facts of an issuer that an environment is in front of.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct UpstreamFacts {
    /// Kind of the issuer.
    pub kind: IssuerKind,
    /// Its authorization servers.
    pub servers: Vec<UpstreamServerFacts>,
    /// Names of request headers that are forwarded besides the usual ones.
    pub request_headers: Vec<String>,
}

/// The facts of an authorization server of an upstream issuer.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct UpstreamServerFacts {
    /// Name of the server in paths.
    pub name: String,
    /// Issuer identifier.
    pub issuer: String,
    /// URL of the token endpoint.
    pub token_endpoint: String,
    /// URL for pushed authorization requests; `null`: not forwarded.
    pub pushed_authorization_request_endpoint: Option<String>,
    /// URL for device authorization; `null`: not forwarded.
    pub device_authorization_endpoint: Option<String>,
    /// URL for backchannel authentication; `null`: not forwarded.
    pub backchannel_authentication_endpoint: Option<String>,
    /// URL for token revocation; `null`: not forwarded.
    pub revocation_endpoint: Option<String>,
    /// URL for token introspection; `null`: not forwarded.
    pub introspection_endpoint: Option<String>,
}

impl From<Upstream> for UpstreamFacts {
    fn from(upstream: Upstream) -> Self {
        let Upstream { kind, servers, request_headers } = upstream;
        Self { kind, servers: servers.into_iter().map(Into::into).collect(), request_headers }
    }
}

impl From<Server> for UpstreamServerFacts {
    fn from(server: Server) -> Self {
        Self {
            name: server.name,
            issuer: server.issuer,
            token_endpoint: server.token_endpoint,
            pushed_authorization_request_endpoint: server.pushed_authorization_request_endpoint,
            device_authorization_endpoint: server.device_authorization_endpoint,
            backchannel_authentication_endpoint: server.backchannel_authentication_endpoint,
            revocation_endpoint: server.revocation_endpoint,
            introspection_endpoint: server.introspection_endpoint,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json, to_value};

    const AT: &str = "2026-11-24T13:05:00.000000Z";

    /// Takes the facts of an object that the API shows as this JSON.
    fn recorded<Shown: serde::de::DeserializeOwned, Facts: From<Shown> + Serialize>(shown: &Value) -> Value {
        to_value(Facts::from(serde_json::from_value(shown.clone()).unwrap())).unwrap()
    }

    #[test]
    fn the_facts_of_a_grant_are_recorded_in_this_form() {
        let grant = json!({
            "id": "grant_0000000000000000000001", "role": "operations_manager", "property_id": null,
            "client_id": "cl_0000000000000000000001", "environments": ["staging"], "created_at": AT,
            "provider_id": "idp_0000000000000000000001", "group": "admins",
        });
        assert_eq!(recorded::<api::Grant, GrantFacts>(&grant), grant);
    }

    #[test]
    fn the_facts_of_a_provider_are_recorded_in_this_form() {
        let facts = json!({
            "name": "Example", "issuer": "https://id.example", "client_id": "crossfade",
            "client_authentication": "client_secret_basic", "has_client_secret": true, "scopes": ["openid"],
            "domains": ["example.com"], "groups_claim": "groups", "acr_values": [],
            "group_grants": [{
                "group": "admins", "role": "viewer", "property_id": null, "client_id": null, "environments": null,
            }],
            "groups_from": "claim", "external_id_claim": "sub", "enabled": true,
        });
        let mut shown = facts.clone();
        for (name, value) in [
            ("id", "idp_0000000000000000000001"),
            ("redirect_uri", "https://auth.example.com/a"),
            ("back_channel_logout_uri", "https://auth.example.com/b"),
            ("post_logout_redirect_uri", "https://auth.example.com/c"),
            ("scim_url", "https://auth.example.com/d"),
            ("created_at", AT),
        ] {
            shown[name] = value.into();
        }
        assert_eq!(recorded::<api::Provider, ProviderFacts>(&shown), facts);
    }

    #[test]
    fn the_facts_of_limits_are_recorded_in_this_form() {
        for limits in [
            json!({"audiences": ["https://api.example.com"], "scopes": null}),
            json!({"audiences": [], "scopes": ["read"]}),
        ] {
            assert_eq!(recorded::<api::Limits, LimitsFacts>(&limits), limits);
        }
    }

    #[test]
    fn the_facts_of_an_environment_are_recorded_in_this_form() {
        let environment = json!({
            "slug": "staging", "name": "Staging", "kind": "test",
            "issuer": "https://auth.example.com/env/staging", "issuer_mode": "own", "upstream": null, "unregistered_clients": "pass",
            "adopt_until": AT,
            "signing_alg": "RS256", "signing_alg_from": AT,
            "show_once": true, "wipe_after_days": 30, "max_age_days": null, "guard_extension_hours": 24,
            "signing_key_rotation_days": 90,
        });
        assert_eq!(recorded::<api::Environment, EnvironmentFacts>(&environment), environment);
    }

    /// A secret that the API shows once is no fact.
    #[test]
    fn the_facts_of_a_registration_are_recorded_in_this_form() {
        let registration = json!({
            "id": "reg_0000000000000000000001", "environment": "staging",
            "client_id": "0000000000000000000001", "enabled": false,
            "token_endpoint_auth_methods": ["client_secret_basic"], "scopes": ["read"], "audience": "a",
            "access_token_ttl_seconds": 600, "may_introspect": true, "allowed_networks": ["10.0.0.0/8"], "self_rotation": true, "created_at": AT, "rotation_due_at": AT,
        });
        assert_eq!(recorded::<api::Registration, RegistrationFacts>(&registration), registration);
    }

    #[test]
    fn the_facts_of_a_refused_caller_are_recorded_in_this_form() {
        let caller = json!({
            "source_ip": "192.0.2.1", "user_agent": null, "instance": "blue", "gathered": false,
            "first_at": AT, "last_at": AT, "refusal_count": 3,
        });
        assert_eq!(recorded::<api::RefusedCaller, RefusedCallerFacts>(&caller), caller);
    }
}
