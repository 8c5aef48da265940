//! Front mode's relay: forwards a request to an upstream issuer with the upstream credential of a registration. It knows
//! neither who asked nor whether they may.

mod answer;
mod credential;
mod form;
mod headers;
mod passing;
mod pool;
#[cfg(test)]
mod tests;
mod trial;

pub use self::{
    answer::{RelayFailure, Relayed},
    credential::{SentCredential, SentSecret, Tried},
    form::{FormFault, Kept, MAX_FORM, form_of_json, passed_client_id},
    passing::{Pass, PassedBody},
    trial::Trial,
};

use self::{
    credential::{Tested, Tests, describe_refusal, key},
    pool::Issuer,
};
use crate::{
    connect::Connector,
    webhook::{Destination, Poster},
};
use bytes::Bytes;
use crossfade_core::upstream::{Endpoint, IssuerKind, Refusal, SlotState};
use http::{
    HeaderMap, HeaderValue, Request, StatusCode,
    header::{AUTHORIZATION, HOST},
};
use http_body_util::Full;
use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::time::{Duration, timeout};
use zeroize::Zeroizing;

/// Number of URLs that are kept as they were read.
const MAX_DESTINATIONS: usize = 1024;
/// Number of issuers from which unused ones are removed.
const TIDY_AT: usize = 64;
/// Form that only tests a credential: no issuer has given this token.
const TEST_REFRESH: &[u8] = b"grant_type=refresh_token&refresh_token=crossfade-test";
const TEST_REVOCATION: &[u8] = b"token=crossfade-test";

/// How long a forwarded request can take.
#[derive(Clone, Copy, Debug)]
struct Times {
    /// Looking up the host and connecting, with TLS.
    connect: Duration,
    /// Connecting to one of several addresses.
    address: Duration,
    /// How long a connection is kept without a request. Less than issuers keep it, so that none is closed just as a request
    /// is sent.
    idle: Duration,
    /// From the first to the last byte of the answer, with all attempts.
    whole: Duration,
}

/// How long forwarded requests can take, and how many can wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RelayLimits {
    /// Looking up the host and connecting, with TLS.
    pub connect: Duration,
    /// The whole request, with all attempts.
    pub whole: Duration,
    /// How long a connection is kept without a request.
    pub idle: Duration,
    /// Number of requests to one issuer that wait for an answer at the same time. A client can have half of them.
    pub requests: usize,
}

impl Default for RelayLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            whole: Duration::from_secs(30),
            idle: Duration::from_secs(4),
            requests: 200,
        }
    }
}

/// Forwards requests to upstream issuers.
pub struct Relay {
    connector: Connector,
    times: Times,
    max_in_flight: usize,
    issuers: Mutex<HashMap<String, Arc<Issuer>>>,
    /// URLs that were read, so that no request reads one again.
    destinations: RwLock<HashMap<String, Arc<Destination>>>,
    tests: Tests,
    answered: AtomicU64,
    passed: AtomicU64,
    passed_failed: AtomicU64,
    failed: [AtomicU64; RelayFailure::ALL.len()],
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").field("times", &self.times).finish_non_exhaustive()
    }
}

/// A request of an authenticated client.
#[derive(Clone, Copy, Debug)]
pub struct Forward<'a> {
    /// Endpoint that the caller asked.
    pub endpoint: Endpoint,
    /// URL of the endpoint at the issuer.
    pub to: &'a Destination,
    /// Where the credential is tested if an answer does not tell whether it was refused: the endpoint for revocation or for
    /// tokens; `None` if the credential is for neither.
    pub test_at: Option<(Endpoint, &'a Destination)>,
    /// Kind of the issuer.
    pub kind: IssuerKind,
    /// Parameters of the caller.
    pub parameters: &'a Kept,
    /// Headers of the caller.
    pub headers: &'a HeaderMap,
    /// Names of those that are forwarded besides the usual ones.
    pub further_headers: &'a [String],
    /// Host and port that the caller asked for.
    pub host: Option<&'a str>,
    /// Name of this door in `Via`: a token (RFC 9110 §7.6.3).
    pub pseudonym: &'a str,
}

/// A forwarded request.
#[derive(Clone, Debug)]
pub struct Forwarded {
    /// What the caller gets.
    pub answer: Result<Relayed, RelayFailure>,
    /// What the issuer said about the secrets that were sent, in their order.
    pub tried: Vec<Tried>,
}

impl Relay {
    /// Returns a relay that connects where webhooks are sent, too.
    pub fn new(poster: &Poster, limits: RelayLimits) -> Self {
        let RelayLimits { connect, whole, idle, requests } = limits;
        Self {
            connector: poster.connector.clone(),
            times: Times { connect, address: connect / 2, idle, whole },
            max_in_flight: requests,
            issuers: Mutex::default(),
            destinations: RwLock::default(),
            tests: Tests::default(),
            answered: AtomicU64::new(0),
            passed: AtomicU64::new(0),
            passed_failed: AtomicU64::new(0),
            failed: Default::default(),
        }
    }

    /// Reads the URL of an endpoint; `None` if requests are not sent there. The networks that are allowed can be others than
    /// when the URL was set.
    pub fn destination(&self, url: &str) -> Option<Arc<Destination>> {
        let known = self.destinations.read().unwrap_or_else(PoisonError::into_inner).get(url).cloned();
        if known.is_some() {
            return known;
        }
        let read = Arc::new(Destination::parse(url, self.connector.allowed()).ok()?);
        let mut destinations = self.destinations.write().unwrap_or_else(PoisonError::into_inner);
        if destinations.len() >= MAX_DESTINATIONS {
            destinations.clear();
        }
        destinations.insert(url.to_owned(), read.clone());
        Some(read)
    }

    /// Whether a request was already forwarded by this door. Asked before anything else, because such a request has the
    /// upstream credential, which is no secret of ours.
    pub fn has_passed(headers: &HeaderMap, pseudonym: &str) -> bool {
        headers::has_passed(headers, pseudonym)
    }

    /// Forwards a request. The caller must wait until this returns, also if its own caller hangs up: a lost answer to a
    /// rotated refresh token ends the session of a user.
    pub async fn forward(&self, request: Forward<'_>, credential: &SentCredential<'_>) -> Forwarded {
        let mut tried = Vec::new();
        let answer = self.attempt(request, credential, &mut tried).await;
        Forwarded { answer, tried }
    }

    /// Returns how long the requests that wait for an answer now can take; zero if there are none.
    pub fn longest_wait(&self) -> Duration {
        let issuers = self.issuers.lock().unwrap_or_else(PoisonError::into_inner);
        let is_waiting = issuers.values().any(|issuer| issuer.is_waited_for());
        if is_waiting { self.times.whole } else { Duration::ZERO }
    }

    /// Counts a request that was answered, or failed for this reason.
    pub fn count(&self, failure: Option<RelayFailure>) {
        let counter = match failure {
            None => &self.answered,
            Some(failure) => &self.failed[failure as usize],
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request of a client that is not registered. Strangers change no number of registered clients.
    pub fn count_passed(&self, is_answered: bool) {
        let counter = if is_answered { &self.passed } else { &self.passed_failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the number of forwarded requests by outcome.
    pub fn counts(&self) -> Vec<(&'static str, u64)> {
        let failed = RelayFailure::ALL.into_iter().zip(&self.failed);
        let failed = failed.map(|(failure, count)| (failure.as_str(), count.load(Ordering::Relaxed)));
        let answered =
            [("answered", &self.answered), ("passed", &self.passed), ("passed_failed", &self.passed_failed)];
        let answered = answered.map(|(outcome, count)| (outcome, count.load(Ordering::Relaxed)));
        answered.into_iter().chain(failed).collect()
    }

    async fn attempt(
        &self,
        request: Forward<'_>,
        credential: &SentCredential<'_>,
        tried: &mut Vec<Tried>,
    ) -> Result<Relayed, RelayFailure> {
        if Self::has_passed(request.headers, request.pseudonym) {
            return Err(RelayFailure::Loop);
        }
        if headers::has_dpop(request.headers) && !is_same_address(request.host, request.to) {
            return Err(RelayFailure::ProofForOtherUrl);
        }
        let issuer = self.issuer(request.to);
        let _place = issuer.admit(credential.registration).ok_or(RelayFailure::Busy)?;
        let sent = self.send(&issuer, request, credential, tried);
        timeout(self.times.whole, sent).await.unwrap_or(Err(RelayFailure::Late))
    }

    /// Sends a request with the secret that leads, and with the other one if the issuer refuses that or may have refused it:
    /// then it has executed nothing. Only if no answer tells, the secrets are tested.
    async fn send(
        &self,
        issuer: &Arc<Issuer>,
        request: Forward<'_>,
        credential: &SentCredential<'_>,
        tried: &mut Vec<Tried>,
    ) -> Result<Relayed, RelayFailure> {
        let mut failure = RelayFailure::NoCredential;
        let mut undecided = Vec::new();
        for secret in &credential.secrets {
            let sent = (request.endpoint, request.to, request.parameters);
            let Some(message) = compose(&request, sent, credential, secret) else { continue };
            let answer = issuer.exchange(request.to, message).await?;
            let (slot, set_at) = (secret.slot, secret.set_at);
            let mut note = |state, error| tried.push(Tried { slot, set_at, state, error });
            if answer.is_success() {
                note(SlotState::Ok, None);
                return Ok(answer);
            }
            let (status, error) = (answer.status.as_u16(), answer.error());
            let described = || Some(describe_refusal(status, error.as_deref()));
            match request.kind.refusal(status, error.as_deref()) {
                Refusal::Request => {
                    note(SlotState::Ok, None);
                    return Ok(answer);
                }
                Refusal::Silent => return Ok(answer),
                Refusal::Credential => {
                    note(SlotState::Refused, described());
                    failure = RelayFailure::CredentialRefused;
                }
                Refusal::Undecided => {
                    note(SlotState::Unknown, described());
                    undecided.push((secret, answer));
                }
            }
        }
        for (secret, answer) in undecided {
            let tested = self.test(&request, credential, secret).await;
            let noted = tried.iter_mut().find(|noted| noted.slot == secret.slot);
            match (tested, noted) {
                (Tested::Accepted, noted) => {
                    if let Some(noted) = noted {
                        (noted.state, noted.error) = (SlotState::Ok, None);
                    }
                    return Ok(answer);
                }
                (Tested::Refused, Some(noted)) => {
                    noted.state = SlotState::Refused;
                    if failure == RelayFailure::NoCredential {
                        failure = RelayFailure::CredentialRefused;
                    }
                }
                _ => failure = RelayFailure::CredentialUnknown,
            }
        }
        Err(failure)
    }

    /// Tests a secret, at most once a minute unless the test fails: revokes or refreshes a token that nobody has.
    async fn test(
        &self,
        request: &Forward<'_>,
        credential: &SentCredential<'_>,
        secret: &SentSecret,
    ) -> Tested {
        let probe = async { self.probe(request, credential, secret).await.unwrap_or(Tested::Failed) };
        self.tests.run(&key(credential, secret), probe).await
    }

    /// Returns what an issuer says about a secret without anything that a caller asks for; `None` if it does not answer.
    async fn probe(
        &self,
        request: &Forward<'_>,
        credential: &SentCredential<'_>,
        secret: &SentSecret,
    ) -> Option<Tested> {
        let (endpoint, to) = request.test_at?;
        let is_revocation = endpoint == Endpoint::Revocation;
        let form = if is_revocation { TEST_REVOCATION } else { TEST_REFRESH };
        let parameters = Kept::of(form).ok()?;
        // A proof of the caller is for one request, which is not this one.
        let headers = headers::without_dpop(request.headers);
        let own = Forward { headers: &headers, ..*request };
        let message = compose(&own, (endpoint, to, &parameters), credential, secret)?;
        let answer = self.issuer(to).exchange(to, message).await.ok()?;
        Some(judge(request.kind, &answer))
    }

    /// Returns the issuer of a URL: scheme, host and port.
    fn issuer(&self, to: &Destination) -> Arc<Issuer> {
        let mut issuers = self.issuers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(issuer) = issuers.get(to.origin()) {
            return issuer.clone();
        }
        if issuers.len() >= TIDY_AT {
            issuers.retain(|_, issuer| !issuer.is_unused());
        }
        let issuer = Arc::new(Issuer::new(&self.connector, self.times, self.max_in_flight));
        issuers.insert(to.origin().to_owned(), issuer.clone());
        issuer
    }
}

/// Returns what the answer to a request with a token that nobody has says about the secret.
fn judge(kind: IssuerKind, answer: &Relayed) -> Tested {
    let error = answer.error();
    match kind.refusal(answer.status.as_u16(), error.as_deref()) {
        _ if answer.is_success() => Tested::Accepted,
        _ if answer.status.is_server_error() || answer.status == StatusCode::TOO_MANY_REQUESTS => {
            Tested::Failed
        }
        Refusal::Request => Tested::Accepted,
        Refusal::Credential => Tested::Refused,
        // The token is nobody's and the request names no other client, so only the client can be meant.
        Refusal::Undecided
            if answer.status == StatusCode::UNAUTHORIZED || error.as_deref() == Some("invalid_client") =>
        {
            Tested::Refused
        }
        Refusal::Undecided if kind.is_accepted_without_grant() == Some(true) => Tested::Accepted,
        Refusal::Undecided | Refusal::Silent => Tested::Silent,
    }
}

/// Returns the request to an issuer; `None` if it cannot be written.
fn compose(
    request: &Forward<'_>,
    (endpoint, to, parameters): (Endpoint, &Destination, &Kept),
    credential: &SentCredential<'_>,
    secret: &SentSecret,
) -> Option<Request<Full<Bytes>>> {
    let (authorization, body) = parameters.authenticated(endpoint, credential, secret)?;
    let via = HeaderValue::from_str(&format!("1.1 {}", request.pseudonym)).ok()?;
    let passes_dpop = headers::has_dpop(request.headers) && to == request.to;
    let mut headers = headers::to_issuer(request.headers, request.further_headers, passes_dpop, &via);
    headers.insert(HOST, HeaderValue::from_str(&to.authority()).ok()?);
    if let Some(authorization) = authorization {
        headers.insert(AUTHORIZATION, authorization);
    }
    let mut message = Request::post(to.target.clone()).body(Full::new(wiped(body))).ok()?;
    *message.headers_mut() = headers;
    Some(message)
}

/// Returns bytes that are wiped when the last copy is dropped.
fn wiped(body: Zeroizing<Vec<u8>>) -> Bytes {
    Bytes::from_owner(body)
}

/// Whether a caller asked for the host and port of the issuer's URL.
fn is_same_address(host: Option<&str>, to: &Destination) -> bool {
    let default = if to.is_encrypted() { ":443" } else { ":80" };
    let own = to.authority();
    host.is_some_and(|host| {
        host.strip_suffix(default).unwrap_or(host).eq_ignore_ascii_case(own.trim_end_matches('.'))
    })
}
