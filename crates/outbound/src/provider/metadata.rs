//! The metadata of a provider (OpenID Connect Discovery §3).

use super::ProviderFailure;
use serde_json::{Map, Value};
use url::Url;

/// What is used of the metadata of a provider.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Metadata {
    pub(super) authorization_endpoint: Url,
    pub(super) token_endpoint: String,
    pub(super) jwks_uri: String,
    pub(super) userinfo_endpoint: Option<String>,
    pub(super) end_session_endpoint: Option<Url>,
    /// Whether an authorization response names its issuer (RFC 9207).
    pub names_issuer: bool,
}

impl Metadata {
    /// Reads the metadata of an issuer.
    pub(super) fn read(issuer: &str, document: &Map<String, Value>) -> Result<Self, ProviderFailure> {
        let text = |name: &str| document.get(name).and_then(Value::as_str).map(str::to_owned);
        // Another issuer could get what is meant for this one (Discovery §4.3).
        if text("issuer").as_deref() != Some(issuer) {
            return Err(ProviderFailure::Malformed("the metadata is of another issuer"));
        }
        let missing = |what| move || ProviderFailure::Malformed(what);
        let url = |text: String| {
            let mut url = Url::parse(&text).ok()?;
            url.set_fragment(None);
            Some(url)
        };
        let authorization_endpoint = text("authorization_endpoint")
            .and_then(url)
            .ok_or_else(missing("the metadata has no authorization_endpoint"))?;
        Ok(Self {
            authorization_endpoint,
            token_endpoint: text("token_endpoint")
                .ok_or_else(missing("the metadata has no token_endpoint"))?,
            jwks_uri: text("jwks_uri").ok_or_else(missing("the metadata has no jwks_uri"))?,
            userinfo_endpoint: text("userinfo_endpoint"),
            end_session_endpoint: text("end_session_endpoint").and_then(url),
            names_issuer: document.get("authorization_response_iss_parameter_supported")
                == Some(&Value::Bool(true)),
        })
    }
}
