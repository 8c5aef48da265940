//! API types of upstream credentials.

use super::present;
use crate::{
    Timestamp,
    upstream::{BasicEncoding, CredentialMethod, MAX_SECRET, Slot, SlotState, TestOutcome},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The credential with which Crossfade authenticates at the upstream issuer for a registration. Its secrets are never
/// shown.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct UpstreamCredential {
    /// How it is sent; `null` if none is set.
    pub method: Option<CredentialMethod>,
    /// How it is written into the `Authorization` header; `null` if none is set. A test finds how the issuer reads it.
    pub basic_encoding: Option<BasicEncoding>,
    /// Since when the issuer refuses all its secrets, so that callers get no tokens; `null` if it does not.
    pub refused_since: Option<Timestamp>,
    /// Its secrets: the one in use, and the one that will replace it at the issuer.
    pub slots: Vec<UpstreamSlot>,
    /// Scheme, host and port of each server that it is sent to.
    pub confirmed_origins: Vec<String>,
    /// Servers of the environment that were added since it was set. It is not sent to them until it is set or confirmed
    /// again.
    pub unconfirmed_origins: Vec<String>,
}

/// A secret of an upstream credential, without its value.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct UpstreamSlot {
    /// Which of the two it is.
    pub slot: Slot,
    /// When it was set.
    pub set_at: Timestamp,
    /// What is known about it.
    pub state: SlotState,
    /// When the issuer last accepted it, to the minute; `null`: not since it was set.
    pub last_ok_at: Option<Timestamp>,
    /// How the issuer last refused it, such as `401 invalid_client`; `null`: not since it was set.
    pub last_error: Option<String>,
}

/// Sets or confirms the upstream credential of a registration. It is sent to the servers that the environment has now; with
/// `next` and without `secret`, only to those that it was confirmed for before. Stored secrets cannot be read, so those that
/// are absent stay.
#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateUpstreamCredential {
    /// How it is sent.
    pub method: Option<CredentialMethod>,
    /// The secret that the issuer has now. Required the first time; absent: the stored one stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = MAX_SECRET))]
    pub secret: Option<String>,
    /// The secret that the issuer will have. Absent: the stored one stays; `null`: it is removed.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = MAX_SECRET))]
    pub next: Option<Option<String>>,
}

/// Tests the upstream credential of a registration.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TestUpstreamCredential {}

/// What the upstream issuer said about the secrets of an upstream credential. The test revokes or refreshes a token that
/// nobody has, so it creates none.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct UpstreamCredentialTested {
    /// When it was tested.
    pub tested_at: Timestamp,
    /// Name of the server that was asked: the first one that the credential is confirmed for; `null` if there is none.
    pub server: Option<String>,
    /// How the credential is written into the `Authorization` header from now on; `null` if none is set.
    pub basic_encoding: Option<BasicEncoding>,
    /// Its secrets. None if no credential is set.
    pub slots: Vec<TestedSlot>,
}

/// What the upstream issuer said about a secret of an upstream credential.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TestedSlot {
    /// Which of the two it is.
    pub slot: Slot,
    /// What the test has shown.
    pub outcome: TestOutcome,
    /// Status and `error` of the response, such as `401 invalid_client`, or why there is none, such as `not_reached`; `null` if
    /// this request was repeated, and tested nothing.
    pub response: Option<String>,
}

/// Asks how the callers of a client go back to the upstream issuer.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseUpstreamCredential {}

/// How the callers of a client go back to the upstream issuer. Nothing of it is done here, and it has no secret.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct UpstreamRelease {
    /// Whether a secret of the registration was rotated here. Before, callers can still have the issuer's own secret.
    pub rotated: bool,
    /// Token endpoint of the issuer, to which callers go back.
    pub token_endpoint: String,
    /// What to do, in this order, as sentences.
    pub steps: Vec<String>,
    /// Command that sets the current secret of Crossfade at the issuer, from the variable `SECRET`. Replace the words in
    /// capitals. `null` if the issuer makes its secrets itself, or the product is not known.
    pub command: Option<String>,
}
