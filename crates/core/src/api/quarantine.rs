//! API types of the quarantine.

use crate::{Timestamp, ended::Cause, text::NAME_PATTERN};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The quarantine, and what the database holds as valid.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Quarantine {
    /// Why the instance is in quarantine; `null` if it is not.
    pub cause: Option<Cause>,
    /// When the quarantine began; `null` if there is none.
    pub since: Option<Timestamp>,
    /// Up to when the data reaches: anything later may have ended and be missing; `null` if there is no quarantine.
    pub data_until: Option<Timestamp>,
    /// Whether each of the lists is complete. Each has at most 1000 items.
    pub is_complete: bool,
    /// Valid secrets of enabled registrations, by client, environment and age.
    pub secrets: Vec<HeldSecret>,
    /// Valid API tokens, by account.
    pub tokens: Vec<HeldToken>,
    /// Granted roles, by account.
    pub grants: Vec<HeldGrant>,
}

/// A secret that the database holds as valid.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct HeldSecret {
    /// ID of the client.
    pub client_id: String,
    /// Name of the client.
    pub client: String,
    /// Slug of the environment.
    pub environment: String,
    /// ID of the registration.
    pub registration_id: String,
    /// The OAuth `client_id`.
    pub oauth_client_id: String,
    /// ID of the secret.
    pub secret_id: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// Its deadline; `null` if it is current.
    pub expires_at: Option<Timestamp>,
    /// Its last recorded use.
    pub last_used_at: Option<Timestamp>,
}

/// An API token that the database holds as valid.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct HeldToken {
    /// ID of the token.
    pub id: String,
    /// Its name.
    pub name: String,
    /// ID of its account.
    pub user_id: String,
    /// Name of its account.
    pub user: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// Its last recorded use.
    pub last_used_at: Option<Timestamp>,
}

/// A role that the database holds as granted.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct HeldGrant {
    /// ID of the grant.
    pub id: String,
    /// The role.
    pub role: String,
    /// ID of the account.
    pub user_id: String,
    /// Name of the account.
    pub user: String,
    /// Property that it is limited to.
    pub property_id: Option<String>,
    /// Client that it is limited to.
    pub client_id: Option<String>,
}

/// Ends the quarantine.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseQuarantine {
    /// Reason.
    #[schemars(required, length(min = 1, max = 1000), regex(pattern = NAME_PATTERN))]
    pub reason: Option<String>,
    /// IDs of clients and registrations that are disabled, of API tokens and accounts that end, and of grants that are
    /// removed, instead of being released.
    #[serde(default)]
    #[schemars(length(max = 1000))]
    pub except: Vec<String>,
}

/// A released quarantine.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct QuarantineReleased {
    /// When it was released. Access tokens issued before are inactive.
    pub released_at: Timestamp,
    /// Number of current secrets.
    pub current_secrets: i64,
    /// Number of retiring secrets.
    pub retiring_secrets: i64,
}
