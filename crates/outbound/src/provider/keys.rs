//! The keys of a provider, and the tokens that they sign (RFC 7515, RFC 7517).

use super::{ProviderFailure, ProviderLink};
use aws_lc_rs::digest::{Algorithm as Hash, SHA256, SHA384, SHA512, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use crossfade_core::provider::TokenFault;
use jsonwebtoken::{
    Algorithm, DecodingKey, Validation,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse},
};
use serde_json::{Map, Value};
use tokio::time::{Duration, Instant};

/// Maximum length of a token.
const MAX_TOKEN: usize = 64 * 1024;
/// Maximum number of keys that are read.
const MAX_KEYS: usize = 100;
/// Pause between two requests for keys because a token names an unknown one.
const REFETCH_PAUSE: Duration = Duration::from_secs(60);

/// A token whose signature was verified.
#[derive(Clone, PartialEq, Eq)]
pub struct Verified {
    /// Its claims.
    pub claims: Map<String, Value>,
    algorithm: Algorithm,
    /// Type in its header.
    pub typ: Option<String>,
}

impl std::fmt::Debug for Verified {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verified").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl Verified {
    /// Whether the token belongs to an access token, as far as it says so (OpenID Connect Core §3.1.3.6).
    pub fn belongs_to(&self, access_token: Option<&str>) -> bool {
        let Some(expected) = self.claims.get("at_hash") else { return true };
        let (Some(expected), Some(access_token)) = (expected.as_str(), access_token) else { return false };
        let hash: &'static Hash = match self.algorithm {
            Algorithm::ES384 => &SHA384,
            Algorithm::EdDSA => &SHA512,
            _ => &SHA256,
        };
        let hash = digest(hash, access_token.as_bytes());
        let (left, _) = hash.as_ref().split_at(hash.as_ref().len() / 2);
        URL_SAFE_NO_PAD.encode(left) == expected
    }
}

/// Why a token was not verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum VerifyFailure {
    /// The token is wrong.
    Token(TokenFault),
    /// The provider did not give its keys.
    Provider(ProviderFailure),
}

impl From<TokenFault> for VerifyFailure {
    fn from(fault: TokenFault) -> Self {
        Self::Token(fault)
    }
}

/// For whom keys are fetched again. Strangers, who can name any key, use up none of the requests for sign-ins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refetch {
    SignIn,
    Stranger,
}

impl Refetch {
    pub(super) fn of(link: ProviderLink) -> Self {
        match link {
            ProviderLink::TokenEndpoint => Self::SignIn,
            ProviderLink::Stranger => Self::Stranger,
        }
    }
}

/// The keys of a provider, as they were last fetched.
#[derive(Default)]
pub(super) struct Keys {
    fetched: Option<(Instant, Result<Vec<Jwk>, ProviderFailure>)>,
    refetched: [Option<Instant>; 2],
}

impl Keys {
    /// Whether the keys must be fetched: there are none, or they are older than this; after a failure, older than `failed`.
    pub(super) fn is_outdated(&self, kept: Duration, failed: Duration) -> bool {
        self.fetched
            .as_ref()
            .is_none_or(|(at, result)| at.elapsed() >= if result.is_ok() { kept } else { failed })
    }

    /// Whether the keys may be fetched again because a token names an unknown one. It is counted if they may.
    pub(super) fn may_refetch(&mut self, whom: Refetch) -> bool {
        let last = &mut self.refetched[usize::from(whom == Refetch::Stranger)];
        let may = last.is_none_or(|at| at.elapsed() >= REFETCH_PAUSE);
        if may {
            *last = Some(Instant::now());
        }
        may
    }

    /// Stores what was fetched. Earlier keys stay if a provider gives none for a moment.
    pub(super) fn store(&mut self, document: Result<Map<String, Value>, ProviderFailure>) {
        let read = document.and_then(|document| read(&document));
        match (&read, &self.fetched) {
            (Err(_), Some((_, Ok(_)))) if !self.is_outdated(super::KEPT_FOR, super::FAILED_FOR) => {}
            _ => self.fetched = Some((Instant::now(), read)),
        }
    }

    pub(super) fn current(&self) -> Result<&[Jwk], ProviderFailure> {
        match &self.fetched {
            Some((_, Ok(keys))) => Ok(keys),
            Some((_, Err(failure))) => Err(failure.clone()),
            None => Ok(&[]),
        }
    }
}

/// Reads the keys that can verify. One that is of another kind hides no other.
fn read(document: &Map<String, Value>) -> Result<Vec<Jwk>, ProviderFailure> {
    let keys = document.get("keys").and_then(Value::as_array);
    let keys = keys.ok_or(ProviderFailure::Malformed("the key set has no keys"))?;
    let key = |value: &Value| {
        let key: Jwk = serde_json::from_value(value.clone()).ok()?;
        let is_public =
            !matches!(key.algorithm, AlgorithmParameters::OctetKey(_)) && value.get("d").is_none();
        let signs = matches!(key.common.public_key_use, None | Some(PublicKeyUse::Signature));
        (is_public && signs).then_some(key)
    };
    Ok(keys.iter().take(MAX_KEYS).filter_map(key).collect())
}

/// A token that is not verified yet.
pub(super) struct Parsed<'a> {
    token: &'a str,
    algorithm: Algorithm,
    kid: Option<String>,
    typ: Option<String>,
}

/// Reads the header of a token. `none` and algorithms with a shared key are refused here, whatever keys there are.
pub(super) fn parse(token: &str) -> Result<Parsed<'_>, TokenFault> {
    let parts: Vec<&str> = token.split('.').collect();
    let [header, _, _] = parts[..] else { return Err(TokenFault::Malformed) };
    if token.len() > MAX_TOKEN {
        return Err(TokenFault::Malformed);
    }
    let header = URL_SAFE_NO_PAD.decode(header).map_err(|_| TokenFault::Malformed)?;
    let header: Map<String, Value> = serde_json::from_slice(&header).map_err(|_| TokenFault::Malformed)?;
    // An extension that must be understood is none of ours (RFC 7515 §4.1.11).
    if header.contains_key("crit") {
        return Err(TokenFault::Malformed);
    }
    let text = |name: &str| match header.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(TokenFault::Malformed),
    };
    let algorithm = match text("alg")?.as_deref() {
        Some("RS256") => Algorithm::RS256,
        Some("PS256") => Algorithm::PS256,
        Some("ES256") => Algorithm::ES256,
        Some("ES384") => Algorithm::ES384,
        Some("EdDSA") => Algorithm::EdDSA,
        _ => return Err(TokenFault::Algorithm),
    };
    Ok(Parsed { token, algorithm, kid: text("kid")?, typ: text("typ")? })
}

impl Parsed<'_> {
    /// Whether a key can have signed the token: its kind is that of the algorithm, and it has the name that the token names.
    pub(super) fn fits(&self, key: &Jwk) -> bool {
        let is_kind = match (self.algorithm, &key.algorithm) {
            (Algorithm::RS256 | Algorithm::PS256, AlgorithmParameters::RSA(_)) => true,
            (Algorithm::ES256, AlgorithmParameters::EllipticCurve(key)) => key.curve == EllipticCurve::P256,
            (Algorithm::ES384, AlgorithmParameters::EllipticCurve(key)) => key.curve == EllipticCurve::P384,
            (Algorithm::EdDSA, AlgorithmParameters::OctetKeyPair(key)) => key.curve == EllipticCurve::Ed25519,
            _ => false,
        };
        // A key for one algorithm verifies no other.
        let is_for = key.common.key_algorithm.is_none_or(|own| own == self.key_algorithm());
        let is_named = match (&self.kid, &key.common.key_id) {
            (Some(kid), own) => own.as_ref() == Some(kid),
            (None, _) => true,
        };
        is_kind && is_for && is_named
    }

    fn key_algorithm(&self) -> KeyAlgorithm {
        match self.algorithm {
            Algorithm::PS256 => KeyAlgorithm::PS256,
            Algorithm::ES256 => KeyAlgorithm::ES256,
            Algorithm::ES384 => KeyAlgorithm::ES384,
            Algorithm::EdDSA => KeyAlgorithm::EdDSA,
            _ => KeyAlgorithm::RS256,
        }
    }

    /// Verifies the signature with the one key that fits. A token that names none is accepted if there is only one.
    pub(super) fn verify(self, keys: &[Jwk]) -> Result<Verified, TokenFault> {
        let mut fitting = keys.iter().filter(|key| self.fits(key));
        let key = match (fitting.next(), fitting.next()) {
            (Some(key), None) => key,
            _ => return Err(TokenFault::UnknownKey),
        };
        let key = DecodingKey::from_jwk(key).map_err(|_| TokenFault::UnknownKey)?;
        let mut validation = Validation::new(self.algorithm);
        // The claims are checked by our own clock, and by rules that this library does not have.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        let decoded = jsonwebtoken::decode::<Map<String, Value>>(self.token, &key, &validation);
        let claims = decoded.map_err(|_| TokenFault::Signature)?.claims;
        Ok(Verified { claims, algorithm: self.algorithm, typ: self.typ })
    }
}
