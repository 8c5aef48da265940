//! API types of secrets that were found somewhere.

use super::Secret;
use crate::{ClientId, OauthClientId, PropertyId, RegistrationId, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Identifies the client secrets in a text.
#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IdentifySecrets {
    /// Text that may contain client secrets, such as a log or a finding of a scanner. It is not stored and not logged.
    #[schemars(required)]
    pub text: Option<String>,
}

impl std::fmt::Debug for IdentifySecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IdentifySecrets").finish_non_exhaustive()
    }
}

/// Client secrets in a text.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct IdentifiedSecrets {
    /// Each place in the text that has the form of a client secret, in order.
    pub found: Vec<FoundSecret>,
    /// Whether the instance has secrets that this search cannot recognise, because they were created by an earlier version
    /// and their values have not been seen since.
    pub older_secrets_not_searched: bool,
}

/// A place in a text that has the form of a client secret: prefix and checksum are right.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct FoundSecret {
    /// Position of its first byte in the text in UTF-8, from 0.
    pub offset: u64,
    /// Line of the text, from 1.
    pub line: u64,
    /// Its prefix, which is the same for many secrets.
    pub prefix: String,
    /// Whether it was found in base64.
    pub encoded: bool,
    /// What it is; `null` if it belongs to no registration that you can read.
    pub identified: Option<IdentifiedSecret>,
}

/// A secret of a registration.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct IdentifiedSecret {
    /// The secret.
    pub secret: Secret,
    /// When it was marked as leaked.
    pub compromised_at: Option<Timestamp>,
    /// ID of the property.
    pub property_id: PropertyId,
    /// Name of the property.
    pub property: String,
    /// ID of the client.
    pub client_id: ClientId,
    /// Name of the client.
    pub client: String,
    /// When the client was deleted.
    pub client_deleted_at: Option<Timestamp>,
    /// The environment.
    pub environment: String,
    /// ID of the registration.
    pub registration_id: RegistrationId,
    /// The OAuth `client_id`.
    pub oauth_client_id: OauthClientId,
    /// Since when the registration refuses every secret.
    pub disabled_at: Option<Timestamp>,
}
