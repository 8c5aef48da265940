//! API types of properties, environments and their keys.

use super::present;
use crate::{
    PropertyId, Timestamp,
    environment::{EnvironmentKind, SigningAlg, Slug},
    registration::TOKEN_PATTERN,
    text::{LINE_PATTERN, NAME_PATTERN},
    upstream::{IssuerMode, UnregisteredClients, Upstream},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A property.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Property {
    /// ID.
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

/// Limits of a property in an environment: the audiences and scopes that its clients can have there.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Limits {
    /// Audiences that a registration can have besides the issuer, which is always allowed.
    pub audiences: Vec<String>,
    /// Scopes that a registration can have; `null`: any.
    pub scopes: Option<Vec<String>>,
}

/// Sets the limits of a property in an environment. Replaces the earlier limits.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateLimits {
    /// Audiences that a registration can have besides the issuer. Absent or empty: only the issuer. Must not contain an
    /// issuer of this server.
    #[serde(default)]
    #[schemars(length(max = 100), inner(length(min = 1, max = 500), regex(pattern = TOKEN_PATTERN)))]
    pub audiences: Vec<String>,
    /// Scopes that a registration can have. Empty: none. Absent or `null`: any.
    #[serde(default)]
    #[schemars(length(max = 100), inner(length(min = 1, max = 200), regex(pattern = TOKEN_PATTERN)))]
    pub scopes: Option<Vec<String>>,
}

/// An environment and its settings.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Environment {
    /// Its name in URLs. Never changes.
    pub slug: String,
    /// Display name.
    pub name: String,
    /// Whether it serves real users.
    pub kind: EnvironmentKind,
    /// Its OAuth issuer.
    pub issuer: String,
    /// Who issues its tokens: Crossfade, or an upstream issuer that Crossfade is in front of.
    #[serde(default)]
    #[schemars(!default)]
    pub issuer_mode: IssuerMode,
    /// The issuer that it is in front of; `null` while Crossfade issues its tokens.
    #[serde(default)]
    #[schemars(!default)]
    pub upstream: Option<Upstream>,
    /// Whether requests of clients that are not registered here are refused or passed on to the issuer; `null` while Crossfade
    /// issues its tokens.
    #[serde(default)]
    #[schemars(!default)]
    pub unregistered_clients: Option<UnregisteredClients>,
    /// Until when a registration without a secret learns the one that the issuer accepts; `null`: none does.
    #[serde(default)]
    #[schemars(!default)]
    pub adopt_until: Option<Timestamp>,
    /// Signing algorithm of new access tokens; `null` in front of another issuer.
    pub signing_alg: Option<SigningAlg>,
    /// When new access tokens will be signed with `signing_alg`; `null` if they already are. After a change of the
    /// algorithm, the new key is published first, and the earlier key signs until this time.
    #[serde(default)]
    pub signing_alg_from: Option<Timestamp>,
    /// Whether secrets are shown once and never stored.
    pub show_once: bool,
    /// Days after a secret's end until its stored value is wiped.
    pub wipe_after_days: u16,
    /// Maximum secret age in days, after which a secret is overdue; `null`: no limit.
    pub max_age_days: Option<u16>,
    /// Hours the deadline guard adds when an old secret is still needed 1 hour before its deadline, up to 168 hours
    /// after the rotation. `null` turns this off.
    pub guard_extension_hours: Option<u16>,
    /// Days after which a new signing key is created on a schedule; `null`: only on request.
    #[serde(default)]
    pub signing_key_rotation_days: Option<u16>,
}

/// Creates an environment at the end of the list.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateEnvironment {
    /// Name in URLs.
    #[schemars(regex(pattern = Slug::PATTERN))]
    pub slug: String,
    /// Display name.
    #[schemars(length(min = 1, max = 200), regex(pattern = NAME_PATTERN))]
    pub name: String,
    /// Whether it serves real users.
    pub kind: EnvironmentKind,
    /// Signing algorithm of its access tokens. Defaults to ES256.
    pub signing_alg: Option<SigningAlg>,
}

/// Changes an environment. An absent member stays as it is.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateEnvironment {
    /// Display name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200), regex(pattern = NAME_PATTERN))]
    pub name: Option<String>,
    /// Whether it serves real users. Determines the prefix of secrets generated from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<EnvironmentKind>,
    /// Signing algorithm of new access tokens. A change creates a new signing key, which is published first and signs
    /// from `signing_alg_from` on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signing_alg: Option<SigningAlg>,
    /// Whether secrets are shown once and never stored. `true` destroys the stored values, which requires
    /// `confirm_environment_slug`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub show_once: Option<bool>,
    /// Days after a secret's end until its stored value is wiped: 0 to 3650. Fewer days require
    /// `confirm_environment_slug` if they destroy stored values.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 3650))]
    pub wipe_after_days: Option<i64>,
    /// Maximum secret age in days, 1 to 3650; `null`: no limit.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3650))]
    pub max_age_days: Option<Option<i64>>,
    /// Hours the deadline guard adds to a deadline at a time, 1 to 168; `null`: it does not extend.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = crate::TransitionHours::MAX.hours()))]
    pub guard_extension_hours: Option<Option<i64>>,
    /// Days after which a new signing key is created on a schedule, 1 to 3650; `null`: only on request. The new key is
    /// published first and signs once every cached key set has expired.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3650))]
    pub signing_key_rotation_days: Option<Option<i64>>,
    /// Who issues its tokens. Changes only while no client is or was registered in it. Requires the permission
    /// `upstream:manage`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer_mode: Option<IssuerMode>,
    /// The issuer that it is in front of, with all of its servers. Required with the `issuer_mode` `upstream`. A new host
    /// requires `confirm_environment_slug`, and gets no upstream credential until it is set or confirmed again. Requires the
    /// permission `upstream:manage`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<Upstream>,
    /// What happens to a request that names no client that is or was registered here: `refuse`, the default, or `pass` to
    /// forward it with its own authentication. Must be omitted while `issuer_mode` is `own`. Requires the permission
    /// `upstream:manage`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unregistered_clients: Option<UnregisteredClients>,
    /// Until when a registration that was created with `adopt` learns the secret that the issuer accepts: at most 90 days
    /// ahead; `null`: nothing is learned. Must be omitted while `issuer_mode` is `own`. Requires the permission
    /// `upstream:manage`.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub adopt_until: Option<Option<String>>,
    /// Position in the list, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub position: Option<i64>,
    /// The environment's slug, to confirm a change that destroys stored values or sends requests to another host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirm_environment_slug: Option<String>,
}

/// Creates a new signing key for an environment.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateSigningKey {
    /// Reason.
    #[schemars(length(max = 1000), regex(pattern = LINE_PATTERN))]
    pub reason: Option<String>,
    /// The new key signs immediately, before resource servers can have fetched it.
    #[serde(default)]
    pub immediate: bool,
    /// The old keys have leaked: they are removed from the key set immediately, and every token they signed ends. The
    /// new key signs immediately.
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
    /// When it starts to sign.
    pub active_from: Timestamp,
    /// When it is removed from the key set.
    pub removed_at: Option<Timestamp>,
}
