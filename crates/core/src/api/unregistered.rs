//! API types of clients that are not registered in an environment in front of another issuer.

use crate::{OauthClientId, Timestamp, unregistered::PassedMethod};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A client that is not registered in an environment and to which the upstream issuer gave tokens, or the sum of all other
/// requests that were passed on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct UnregisteredClient {
    /// The client at the upstream issuer; `null` in the sum, which is listed last.
    pub client_id: Option<OauthClientId>,
    /// First request that is counted.
    pub first_seen_at: Timestamp,
    /// Last request, accepted or not.
    pub last_seen_at: Timestamp,
    /// Last request for which the issuer gave a token; `null` in the sum.
    pub last_token_at: Option<Timestamp>,
    /// Number of requests that the issuer accepted.
    pub accepted_count: i64,
    /// Number of requests that the issuer refused.
    pub refused_count: i64,
    /// Number of requests without a response of the issuer that could be passed on.
    pub failed_count: i64,
    /// Status of the last response of the issuer; `null` in the sum.
    pub last_status: Option<u16>,
    /// How the client authenticated when it got tokens. Empty in the sum.
    pub authentication_methods: Vec<PassedMethod>,
    /// The addresses from which the client last got tokens, at most 5, latest first. Empty in the sum, and for a client that
    /// does not authenticate, because it can run in the browsers of people.
    pub sources: Vec<UnregisteredSource>,
}

/// An address from which an unregistered client got tokens.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct UnregisteredSource {
    /// The address, its network, or a hash of it, as the setting `evidence_addresses` says.
    pub source_ip: String,
    /// When the issuer last gave it a token.
    pub last_token_at: Timestamp,
}
