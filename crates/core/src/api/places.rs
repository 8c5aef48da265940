//! Where clients stand: properties, environments and their keys, as the API tells them.

use super::present;
use crate::{
    PropertyId, Timestamp,
    environment::{EnvironmentKind, SigningAlg, Slug},
    registration::TOKEN_PATTERN,
    text::{LINE_PATTERN, NAME_PATTERN},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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

/// The limits of a property in an environment: what its clients may be registered for there.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Limits {
    /// Audiences that a registration can be given beside the issuer, which is always allowed.
    pub audiences: Vec<String>,
    /// Scopes that a registration can be given; `null`: any.
    pub scopes: Option<Vec<String>>,
}

/// Sets the limits of a property in an environment, in place of those so far.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateLimits {
    /// Audiences that a registration can be given beside the issuer. Absent or empty: the issuer alone. No issuer of this
    /// server can be among them.
    #[serde(default)]
    #[schemars(length(max = 100), inner(length(min = 1, max = 500), regex(pattern = TOKEN_PATTERN)))]
    pub audiences: Vec<String>,
    /// Scopes that a registration can be given. Empty: none. Absent or `null`: any.
    #[serde(default)]
    #[schemars(length(max = 100), inner(length(min = 1, max = 200), regex(pattern = TOKEN_PATTERN)))]
    pub scopes: Option<Vec<String>>,
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
    /// When new access tokens begin to be signed with `signing_alg`; `null`: they are. After a change of the algorithm the
    /// new key is published first, and until this time the key before it signs.
    #[serde(default)]
    pub signing_alg_from: Option<Timestamp>,
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
    /// The algorithm of new access tokens. Another one brings a new signing key, which is published first and signs from
    /// `signing_alg_from` on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signing_alg: Option<SigningAlg>,
    /// Whether secrets are shown once and never stored. `true` destroys the values stored so far, which needs
    /// `confirm_environment_slug`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub show_once: Option<bool>,
    /// Days after a secret's end until its stored value is wiped: 0 to 3650. Fewer days need
    /// `confirm_environment_slug` where they destroy values that are stored now.
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
    /// The environment's slug, typed. Required for a change that destroys stored values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirm_environment_slug: Option<String>,
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
