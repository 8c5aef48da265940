//! What an issuer answers, and why there is no answer that can be passed on.

use super::headers;
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING},
    response::Parts,
};
use serde::{Deserialize, de::IgnoredAny};
use std::borrow::Cow;

/// Types of content that pass. No browser runs any of them.
const PASSING: [&str; 4] =
    ["application/json", "application/jwt", "application/x-www-form-urlencoded", "text/plain"];

/// The answer of an issuer, as the caller gets it.
#[derive(Clone, Debug)]
pub struct Relayed {
    /// Status.
    pub status: StatusCode,
    /// Headers that pass.
    pub headers: HeaderMap,
    /// Body, as the issuer sent it.
    pub body: Bytes,
}

/// Why a request was not forwarded, or has no answer that can be passed on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RelayFailure {
    /// The request was already forwarded by this door.
    Loop,
    /// The proof of possession of a key is for another URL than that of the issuer (RFC 9449 §4.3).
    ProofForOtherUrl,
    /// Too many requests wait for the issuer.
    Busy,
    /// There is no connection to the issuer. Nothing was sent.
    NotReached,
    /// The issuer did not answer in time.
    Late,
    /// The connection ended before the end of the answer.
    Broken,
    /// The answer is not one of an OAuth endpoint: a redirect, a page, or too long.
    NotOauth,
    /// There is no upstream credential for this host.
    NoCredential,
    /// The issuer refuses the upstream credential.
    CredentialRefused,
    /// The issuer may have refused the upstream credential, and a test of it did not tell.
    CredentialUnknown,
}

impl RelayFailure {
    /// All failures, in the order in which they are listed.
    pub const ALL: [Self; 10] = [
        Self::Loop,
        Self::ProofForOtherUrl,
        Self::Busy,
        Self::NotReached,
        Self::Late,
        Self::Broken,
        Self::NotOauth,
        Self::NoCredential,
        Self::CredentialRefused,
        Self::CredentialUnknown,
    ];

    /// Returns its name in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Loop => "loop",
            Self::ProofForOtherUrl => "proof_for_other_url",
            Self::Busy => "busy",
            Self::NotReached => "not_reached",
            Self::Late => "late",
            Self::Broken => "broken",
            Self::NotOauth => "not_oauth",
            Self::NoCredential => "no_credential",
            Self::CredentialRefused => "credential_refused",
            Self::CredentialUnknown => "credential_unknown",
        }
    }

    /// Returns the status for the caller. 503 says that nothing was executed, 502 that the issuer may have executed it.
    pub fn status(self) -> u16 {
        match self {
            Self::Loop => 508,
            Self::ProofForOtherUrl => 400,
            Self::Busy
            | Self::NotReached
            | Self::NoCredential
            | Self::CredentialRefused
            | Self::CredentialUnknown => 503,
            Self::Late | Self::Broken | Self::NotOauth => 502,
        }
    }

    /// Returns the `error` for the caller.
    pub fn code(self) -> &'static str {
        match self {
            Self::Loop | Self::Late | Self::Broken | Self::NotOauth => "server_error",
            Self::ProofForOtherUrl => "invalid_dpop_proof",
            Self::Busy
            | Self::NotReached
            | Self::NoCredential
            | Self::CredentialRefused
            | Self::CredentialUnknown => "temporarily_unavailable",
        }
    }

    /// Returns the description for the caller. Constant texts, so nothing of the issuer is reflected.
    pub fn description(self) -> &'static str {
        match self {
            Self::Loop => {
                "The request came back to this server. The address of the issuer must not lead to this server."
            }
            Self::ProofForOtherUrl => {
                "The DPoP proof is for the URL of this server, and the issuer accepts proofs for its own URL only. \
                Send the request to the URL of the issuer, or without DPoP."
            }
            Self::Busy => "Too many requests wait for the issuer. Nothing was sent. Try again.",
            Self::NotReached => "The issuer cannot be reached. Nothing was sent. Try again.",
            Self::Late => "The issuer did not answer in time. The request may have been executed.",
            Self::Broken => "The answer of the issuer is incomplete. The request may have been executed.",
            Self::NotOauth => {
                "The answer of the issuer is not one of an OAuth endpoint. The request may have been executed."
            }
            Self::NoCredential | Self::CredentialRefused | Self::CredentialUnknown => {
                "The server cannot authenticate at the issuer. The client is authenticated. Try again later."
            }
        }
    }
}

/// The member of an error that is read (RFC 6749 §5.2).
#[derive(Deserialize)]
struct ErrorBody {
    error: String,
}

/// The member of a successful answer that is looked for. Its value is not kept.
#[derive(Deserialize)]
struct TokenBody<'a> {
    #[serde(borrow, default)]
    access_token: Option<Cow<'a, str>>,
}

/// Any body with an error, in whatever form.
#[derive(Deserialize)]
struct AnyError {
    error: Option<IgnoredAny>,
}

impl Relayed {
    /// Returns the answer with this head and body, if it can be passed on.
    pub(super) fn new(head: &Parts, body: Bytes) -> Result<Self, RelayFailure> {
        let status = head.status;
        let is_encoded = head.headers.get(CONTENT_ENCODING).is_some_and(|it| it != "identity");
        // Proxies and application servers refuse a credential with a page. The status says enough.
        let is_refused = status == StatusCode::UNAUTHORIZED;
        if status.is_informational() || status.is_redirection() || (is_encoded && !is_refused) {
            return Err(RelayFailure::NotOauth);
        }
        let mut headers = headers::to_caller(&head.headers);
        if body.is_empty() {
            headers.remove(CONTENT_TYPE);
            return Ok(Self { status, headers, body });
        }
        let mut types = head.headers.get_all(CONTENT_TYPE).iter();
        let essence = match (types.next(), types.next()) {
            (Some(one), None) => essence(one),
            _ => String::new(),
        };
        let passes = PASSING.contains(&&*essence)
            || (essence.starts_with("application/") && essence.ends_with("+json"))
            || (essence.starts_with("application/") && essence.ends_with("+jwt"));
        if is_refused && (!passes || is_encoded) {
            headers.remove(CONTENT_TYPE);
            return Ok(Self { status, headers, body: Bytes::new() });
        }
        if !passes {
            // Issuers and what is before them ask to wait in pages, too.
            if !matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
                return Err(RelayFailure::NotOauth);
            }
            let text = r#"{"error":"temporarily_unavailable","error_description":"The issuer asks to try again later."}"#;
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            return Ok(Self { status, headers, body: Bytes::from_static(text.as_bytes()) });
        }
        // Where the end of the connection ends the body, half of it looks complete.
        let is_delimited =
            head.headers.contains_key(CONTENT_LENGTH) || head.headers.contains_key(TRANSFER_ENCODING);
        if !is_delimited && essence.ends_with("json") && serde_json::from_slice::<IgnoredAny>(&body).is_err()
        {
            return Err(RelayFailure::Broken);
        }
        Ok(Self { status, headers, body })
    }

    /// Whether the issuer gave an access token (RFC 6749 §5.1), in JSON or, as some issuers do, in a form. Only that shows that
    /// it authenticated the client.
    pub fn has_access_token(&self) -> bool {
        let in_json = serde_json::from_slice::<TokenBody>(&self.body)
            .is_ok_and(|body| body.access_token.is_some_and(|token| !token.is_empty()));
        let in_form = || {
            self.body
                .split(|byte| *byte == b'&')
                .any(|part| matches!(part.strip_prefix(b"access_token="), Some([_, ..])))
        };
        self.is_success() && (in_json || in_form())
    }

    /// Whether the issuer did what it was asked: some issuers give errors with the status of success.
    pub fn is_success(&self) -> bool {
        let is_error = serde_json::from_slice::<AnyError>(&self.body).is_ok_and(|body| body.error.is_some())
            || self.body.split(|byte| *byte == b'&').any(|part| part.starts_with(b"error="));
        self.status.is_success() && !is_error
    }

    /// Returns the `error` of a refusal; `None` if it has none.
    pub(super) fn error(&self) -> Option<String> {
        serde_json::from_slice::<ErrorBody>(&self.body).ok().map(|body| body.error)
    }
}

/// Returns a type of content without its parameters, in lower case.
fn essence(value: &HeaderValue) -> String {
    let text = value.to_str().unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}
