//! OpenID Connect providers, as Crossfade asks them: their metadata and keys (Discovery §4), a code for tokens, and the claims
//! of a person. One connection for each request, without redirects, to the networks that webhooks are sent to.

mod exchange;
mod keys;
mod metadata;
#[cfg(test)]
mod tests;

pub use self::{
    keys::{Verified, VerifyFailure},
    metadata::Metadata,
};

use self::{
    exchange::Exchange,
    keys::{Keys, Refetch},
};
use crate::{
    connect::Connector,
    webhook::{Destination, Poster},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use crossfade_core::provider::ClientAuthentication;
use serde_json::{Map, Value};
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{
    sync::{Mutex as Turn, Semaphore, SemaphorePermit},
    time::{Duration, Instant},
};
use zeroize::Zeroizing;

/// How long the metadata and the keys of a provider are kept.
const KEPT_FOR: Duration = Duration::from_secs(600);
/// How long nobody else is let to wait for a provider that has just failed.
const FAILED_FOR: Duration = Duration::from_secs(5);
/// Number of host names that are looked up for providers at the same time.
const MAX_LOOK_UPS: usize = 16;
/// Number of sign-ins that wait for one provider at the same time.
const MAX_SIGN_INS: usize = 32;
/// Number of issuers from which unused ones are removed.
const TIDY_AT: usize = 64;

/// Why a provider did not do what it was asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ProviderFailure {
    /// It cannot be reached, or does not answer in time.
    Unreachable(String),
    /// Too many sign-ins wait for it.
    Busy,
    /// It answered with an error. The word of OAuth 2.0, if there was one.
    Refused(String),
    /// Its answer is not what the standards say.
    Malformed(&'static str),
}

impl fmt::Display for ProviderFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(what) => write!(f, "cannot reach the provider: {what}"),
            Self::Busy => f.write_str("too many sign-ins wait for the provider"),
            Self::Refused(what) => write!(f, "the provider refused: {what}"),
            Self::Malformed(what) => write!(f, "the answer of the provider is not valid: {what}"),
        }
    }
}

/// Crossfade as a client of a provider. Nothing prints the secret.
pub struct ProviderClient<'a> {
    /// Issuer.
    pub issuer: &'a str,
    /// `client_id`.
    pub client_id: &'a str,
    /// How it authenticates.
    pub authentication: ClientAuthentication,
    /// Client secret.
    pub secret: Option<Zeroizing<String>>,
}

/// What a person is sent to a provider with.
#[derive(Clone, Copy, Debug)]
pub struct Authorization<'a> {
    /// `client_id`.
    pub client_id: &'a str,
    /// Where the person comes back.
    pub redirect_uri: &'a str,
    /// Scopes to request.
    pub scopes: &'a [String],
    /// Ties the answer to the browser.
    pub state: &'a str,
    /// Ties the ID token to the browser.
    pub nonce: &'a str,
    /// Hash of the verifier (RFC 7636 §4.2).
    pub challenge: &'a str,
    /// Authentication context classes; empty: any.
    pub acr_values: &'a [String],
    /// Whether the person must authenticate again.
    pub again: bool,
}

/// A code to redeem.
#[derive(Clone, Copy)]
pub struct Redemption<'a> {
    /// The code.
    pub code: &'a str,
    /// The redirect URI that it was given for.
    pub redirect_uri: &'a str,
    /// The verifier of its challenge.
    pub verifier: &'a str,
}

/// What a code was redeemed for. Nothing prints it.
pub struct Tokens {
    /// The ID token.
    pub id_token: Zeroizing<String>,
    /// The access token.
    pub access_token: Option<Zeroizing<String>>,
}

/// Which person brings a token that is verified.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProviderLink {
    /// The token endpoint, over TLS.
    TokenEndpoint,
    /// Anybody who can reach the server.
    Stranger,
}

/// What is known of one issuer.
struct Known {
    metadata: Turn<Option<Outcome<Arc<Metadata>>>>,
    keys: Turn<Keys>,
    sign_ins: Semaphore,
}

/// The outcome of a request, and when it was there.
struct Outcome<T> {
    at: Instant,
    result: Result<T, ProviderFailure>,
}

impl<T: Clone> Outcome<T> {
    /// Returns what is still used.
    fn current(&self) -> Option<Result<T, ProviderFailure>> {
        let limit = if self.result.is_ok() { KEPT_FOR } else { FAILED_FOR };
        (self.at.elapsed() < limit).then(|| self.result.clone())
    }
}

/// Asks providers.
pub struct Providers {
    connector: Connector,
    known: Mutex<HashMap<String, Arc<Known>>>,
}

impl fmt::Debug for Providers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Providers").finish_non_exhaustive()
    }
}

impl Providers {
    /// Returns what connects where webhooks are sent, too.
    pub fn new(poster: &Poster) -> Self {
        Self { connector: poster.connector.with_own_look_ups(MAX_LOOK_UPS), known: Mutex::default() }
    }

    /// Reads the identifier of an issuer. Returns what is wrong otherwise, as a predicate.
    pub fn issuer(&self, text: &str) -> Result<String, String> {
        let text = text.trim();
        let is_plain = !text.contains(['?', '#']);
        let read = Destination::parse(text, self.connector.allowed());
        match read {
            Ok(_) if is_plain => Ok(text.to_owned()),
            Ok(_) => Err("must be a URL without query and fragment".to_owned()),
            Err(_) if !is_plain => Err("must be a URL without query and fragment".to_owned()),
            Err(what) => {
                Err(what
                    .replace("such as https://hooks.example.com/crossfade", "such as https://id.example.com"))
            }
        }
    }

    /// Forgets what is known of an issuer, so that it is asked again.
    pub fn forget(&self, issuer: &str) {
        self.known().remove(issuer);
    }

    /// Returns the metadata of an issuer.
    pub async fn metadata(&self, issuer: &str) -> Result<Arc<Metadata>, ProviderFailure> {
        let known = self.of(issuer);
        // One request at a time: the others wait for its outcome.
        let mut metadata = known.metadata.lock().await;
        if let Some(current) = metadata.as_ref().and_then(Outcome::current) {
            return current;
        }
        let result = self.ask_for_metadata(issuer).await.map(Arc::new);
        *metadata = Some(Outcome { at: Instant::now(), result: result.clone() });
        result
    }

    /// Returns where a person is sent to sign in.
    pub fn authorization_url(metadata: &Metadata, with: Authorization<'_>) -> String {
        let mut url = metadata.authorization_endpoint.clone();
        {
            let mut query = url.query_pairs_mut();
            query
                .append_pair("response_type", "code")
                .append_pair("client_id", with.client_id)
                .append_pair("redirect_uri", with.redirect_uri)
                .append_pair("scope", &with.scopes.join(" "))
                .append_pair("state", with.state)
                .append_pair("nonce", with.nonce)
                .append_pair("code_challenge", with.challenge)
                .append_pair("code_challenge_method", "S256");
            if !with.acr_values.is_empty() {
                query.append_pair("acr_values", &with.acr_values.join(" "));
            }
            if with.again {
                query.append_pair("prompt", "login").append_pair("max_age", "0");
            }
        }
        url.into()
    }

    /// Returns where a person is sent to sign out at the provider, too; `None` if it offers that nowhere.
    pub fn end_session_url(metadata: &Metadata, client_id: &str, back: &str) -> Option<String> {
        let mut url = metadata.end_session_endpoint.clone()?;
        url.query_pairs_mut()
            .append_pair("client_id", client_id)
            .append_pair("post_logout_redirect_uri", back);
        Some(url.into())
    }

    /// Redeems a code.
    pub async fn redeem(
        &self,
        client: &ProviderClient<'_>,
        code: Redemption<'_>,
    ) -> Result<Tokens, ProviderFailure> {
        let metadata = self.metadata(client.issuer).await?;
        let known = self.of(client.issuer);
        let _place = place(&known)?;
        let (body, authorization) = written(client, code);
        let to = self.destination(&metadata.token_endpoint)?;
        let request = Exchange { to: &to, form: Some(&body), authorization: authorization.as_ref() };
        let mut answer = exchange::ask(&self.connector, request).await?;
        let mut take = |name: &str| match answer.remove(name) {
            Some(Value::String(token)) => Some(Zeroizing::new(token)),
            _ => None,
        };
        Ok(Tokens {
            access_token: take("access_token"),
            id_token: take("id_token")
                .ok_or(ProviderFailure::Malformed("the token response has no id_token"))?,
        })
    }

    /// Returns what the provider says of the person of an access token; `None` if it has no endpoint for that.
    pub async fn user_info(
        &self,
        issuer: &str,
        access_token: &Zeroizing<String>,
    ) -> Result<Option<Map<String, Value>>, ProviderFailure> {
        let metadata = self.metadata(issuer).await?;
        let Some(endpoint) = &metadata.userinfo_endpoint else { return Ok(None) };
        let to = self.destination(endpoint)?;
        let authorization = Zeroizing::new(format!("Bearer {}", access_token.as_str()));
        let request = Exchange { to: &to, form: None, authorization: Some(&authorization) };
        exchange::ask(&self.connector, request).await.map(Some)
    }

    /// Verifies the signature of a token with the keys of an issuer. Everything that needs no key is checked first.
    pub async fn verify(
        &self,
        issuer: &str,
        token: &str,
        link: ProviderLink,
    ) -> Result<Verified, VerifyFailure> {
        let parsed = keys::parse(token)?;
        let metadata = self.metadata(issuer).await.map_err(VerifyFailure::Provider)?;
        let known = self.of(issuer);
        let mut keys = known.keys.lock().await;
        let fetch = async || {
            let to = self.destination(&metadata.jwks_uri)?;
            let request = Exchange { to: &to, form: None, authorization: None };
            exchange::ask(&self.connector, request).await
        };
        if keys.is_outdated(KEPT_FOR, FAILED_FOR) {
            keys.store(fetch().await);
        }
        let knows = keys.current().map_err(VerifyFailure::Provider)?.iter().any(|key| parsed.fits(key));
        if !knows && keys.may_refetch(Refetch::of(link)) {
            keys.store(fetch().await);
        }
        let candidates = keys.current().map_err(VerifyFailure::Provider)?.to_vec();
        drop(keys);
        Ok(parsed.verify(&candidates)?)
    }

    async fn ask_for_metadata(&self, issuer: &str) -> Result<Metadata, ProviderFailure> {
        let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let to = self.destination(&url)?;
        let request = Exchange { to: &to, form: None, authorization: None };
        let document = exchange::ask(&self.connector, request).await?;
        let metadata = Metadata::read(issuer, &document)?;
        for endpoint in
            [&metadata.token_endpoint, &metadata.jwks_uri].into_iter().chain(&metadata.userinfo_endpoint)
        {
            self.destination(endpoint)?;
        }
        let to_browser = [Some(&metadata.authorization_endpoint), metadata.end_session_endpoint.as_ref()];
        for endpoint in to_browser.into_iter().flatten() {
            self.destination(endpoint.as_str())?;
        }
        Ok(metadata)
    }

    fn destination(&self, url: &str) -> Result<Destination, ProviderFailure> {
        let must = "an endpoint is no URL that this instance connects to";
        Destination::parse(url, self.connector.allowed()).map_err(|_| ProviderFailure::Malformed(must))
    }

    fn of(&self, issuer: &str) -> Arc<Known> {
        let mut known = self.known();
        if known.len() >= TIDY_AT && !known.contains_key(issuer) {
            known.retain(|_, it| Arc::strong_count(it) > 1);
        }
        let new = || {
            Arc::new(Known {
                metadata: Turn::default(),
                keys: Turn::default(),
                sign_ins: Semaphore::new(MAX_SIGN_INS),
            })
        };
        known.entry(issuer.to_owned()).or_insert_with(new).clone()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Known>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the form with which a code is redeemed, and the `Authorization` header.
fn written(
    client: &ProviderClient<'_>,
    code: Redemption<'_>,
) -> (Zeroizing<String>, Option<Zeroizing<String>>) {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "authorization_code")
        .append_pair("code", code.code)
        .append_pair("redirect_uri", code.redirect_uri)
        .append_pair("code_verifier", code.verifier);
    let secret = client.secret.as_ref().map_or("", |secret| secret.as_str());
    let mut authorization = None;
    match client.authentication {
        ClientAuthentication::ClientSecretBasic => {
            // Both are encoded as in a form before they are joined (RFC 6749 §2.3.1).
            let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            let joined = Zeroizing::new(format!("{}:{}", encode(client.client_id), encode(secret)));
            authorization = Some(Zeroizing::new(format!("Basic {}", STANDARD.encode(joined.as_bytes()))));
        }
        ClientAuthentication::ClientSecretPost => {
            form.append_pair("client_id", client.client_id).append_pair("client_secret", secret);
        }
        ClientAuthentication::None => {
            form.append_pair("client_id", client.client_id);
        }
    }
    (Zeroizing::new(form.finish()), authorization)
}

/// Returns a place among the sign-ins that wait for a provider.
fn place(known: &Known) -> Result<SemaphorePermit<'_>, ProviderFailure> {
    known.sign_ins.try_acquire().map_err(|_| ProviderFailure::Busy)
}
