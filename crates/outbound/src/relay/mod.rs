//! Front mode's relay: forwards a request to an upstream issuer with the upstream credential of a registration. It knows
//! neither who asked nor whether they may.

mod answer;
mod credential;
mod form;
mod headers;
mod pool;
#[cfg(test)]
mod tests;

pub use self::{
    answer::{RelayFailure, Relayed},
    credential::UpstreamCredential,
    form::{FormFault, Kept, MAX_FORM, form_of_json},
};

use self::pool::Issuer;
use crate::{
    connect::Connector,
    webhook::{Destination, Poster},
};
use bytes::Bytes;
use crossfade_core::upstream::{Endpoint, Kind, Refusal, Slot};
use http::{
    HeaderMap, HeaderValue, Request, StatusCode,
    header::{AUTHORIZATION, HOST},
};
use http_body_util::Full;
use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::time::{Duration, timeout};
use zeroize::Zeroizing;

/// Number of requests to one issuer that wait for an answer at the same time.
const MAX_IN_FLIGHT: usize = 200;
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

const TIMES: Times = Times {
    connect: Duration::from_secs(2),
    address: Duration::from_secs(1),
    idle: Duration::from_secs(4),
    whole: Duration::from_secs(30),
};

/// Forwards requests to upstream issuers.
pub struct Relay {
    connector: Connector,
    times: Times,
    max_in_flight: usize,
    issuers: Mutex<HashMap<String, Arc<Issuer>>>,
    answered: AtomicU64,
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
    /// URLs of the issuer's endpoints for tokens and for revocation, where the credential can be tested.
    pub token: &'a Destination,
    /// See `token`.
    pub revocation: Option<&'a Destination>,
    /// Kind of the issuer.
    pub kind: Kind,
    /// Parameters of the caller.
    pub parameters: &'a Kept,
    /// Headers of the caller.
    pub headers: &'a HeaderMap,
    /// Host and port that the caller asked for.
    pub host: Option<&'a str>,
    /// Name of this door in `Via`: a token (RFC 9110 §7.6.3).
    pub pseudonym: &'a str,
}

/// What an answer says about the secret that was sent.
enum Verdict {
    Accepted,
    Refused,
    Unknown,
}

impl Relay {
    /// Returns a relay that connects where webhooks are sent, too.
    pub fn new(poster: &Poster) -> Self {
        Self {
            connector: poster.connector.clone(),
            times: TIMES,
            max_in_flight: MAX_IN_FLIGHT,
            issuers: Mutex::default(),
            answered: AtomicU64::new(0),
            failed: Default::default(),
        }
    }

    /// Whether a request was already forwarded by this door. Asked before anything else, because such a request has the
    /// upstream credential, which is no secret of ours.
    pub fn has_passed(headers: &HeaderMap, pseudonym: &str) -> bool {
        headers::has_passed(headers, pseudonym)
    }

    /// Forwards a request, and returns what the issuer answers. The caller must wait until this returns, also if its own
    /// caller hangs up: a lost answer to a rotated refresh token ends the session of a user.
    pub async fn forward(
        &self,
        request: Forward<'_>,
        credential: &UpstreamCredential,
    ) -> Result<Relayed, RelayFailure> {
        let done = self.bounded(request, credential).await;
        self.count(done.as_ref().err().copied());
        done
    }

    /// Counts a request that was answered, or failed for this reason.
    pub fn count(&self, failure: Option<RelayFailure>) {
        let counter = match failure {
            None => &self.answered,
            Some(failure) => &self.failed[failure as usize],
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the number of forwarded requests by outcome.
    pub fn counts(&self) -> Vec<(&'static str, u64)> {
        let failed = RelayFailure::ALL.into_iter().zip(&self.failed);
        let failed = failed.map(|(failure, count)| (failure.as_str(), count.load(Ordering::Relaxed)));
        std::iter::once(("answered", self.answered.load(Ordering::Relaxed))).chain(failed).collect()
    }

    async fn bounded(
        &self,
        request: Forward<'_>,
        credential: &UpstreamCredential,
    ) -> Result<Relayed, RelayFailure> {
        if Self::has_passed(request.headers, request.pseudonym) {
            return Err(RelayFailure::Loop);
        }
        if headers::has_dpop(request.headers) && !is_same_address(request.host, request.to) {
            return Err(RelayFailure::ProofForOtherUrl);
        }
        let issuer = self.issuer(request.to);
        let _permit = issuer.in_flight.clone().try_acquire_owned().map_err(|_| RelayFailure::Busy)?;
        let attempts = self.attempt(&issuer, request, credential);
        timeout(self.times.whole, attempts).await.unwrap_or(Err(RelayFailure::Late))
    }

    /// Sends a request with the secret that was accepted last, and with the other one if the issuer refuses it: then it has
    /// executed nothing.
    async fn attempt(
        &self,
        issuer: &Arc<Issuer>,
        request: Forward<'_>,
        credential: &UpstreamCredential,
    ) -> Result<Relayed, RelayFailure> {
        let first = credential.leading();
        for slot in [first, first.other()] {
            let sent = (request.endpoint, request.to, request.parameters);
            let Some(message) = compose(&request, sent, credential, slot) else { continue };
            let answer = issuer.exchange(request.to, message).await?;
            match self.judge(&request, credential, slot, &answer).await {
                Verdict::Accepted => {
                    credential.lead(slot);
                    return Ok(answer);
                }
                Verdict::Refused => {}
                Verdict::Unknown => return Err(RelayFailure::CredentialUnknown),
            }
        }
        Err(RelayFailure::CredentialRefused)
    }

    async fn judge(
        &self,
        request: &Forward<'_>,
        credential: &UpstreamCredential,
        slot: Slot,
        answer: &Relayed,
    ) -> Verdict {
        if answer.status.is_success() {
            return Verdict::Accepted;
        }
        match request.kind.refusal(answer.status.as_u16(), answer.error().as_deref()) {
            Refusal::Request => Verdict::Accepted,
            Refusal::Credential => Verdict::Refused,
            Refusal::Undecided => match self.test(request, credential, slot).await {
                Some(true) => Verdict::Accepted,
                Some(false) => Verdict::Refused,
                None => Verdict::Unknown,
            },
        }
    }

    /// Tests a secret, at most once a minute: revokes or refreshes a token that nobody has. Returns `None` if that does not
    /// tell.
    async fn test(&self, request: &Forward<'_>, credential: &UpstreamCredential, slot: Slot) -> Option<bool> {
        if let Some(known) = credential.begin_test(slot) {
            return known;
        }
        let (endpoint, to, form) = match request.revocation {
            Some(to) => (Endpoint::Revocation, to, TEST_REVOCATION),
            None => (Endpoint::Token, request.token, TEST_REFRESH),
        };
        let parameters = Kept::of(form).ok()?;
        let message = compose(request, (endpoint, to, &parameters), credential, slot)?;
        let answer = self.issuer(to).exchange(to, message).await.ok()?;
        let said = match request.kind.refusal(answer.status.as_u16(), answer.error().as_deref()) {
            _ if answer.status.is_success() => Some(true),
            _ if answer.status.is_server_error() || answer.status == StatusCode::TOO_MANY_REQUESTS => None,
            Refusal::Request => Some(true),
            Refusal::Credential => Some(false),
            // It is no token that this client may use, so the status decides.
            Refusal::Undecided if answer.status == StatusCode::UNAUTHORIZED => Some(false),
            Refusal::Undecided => request.kind.is_accepted_without_grant(),
        };
        credential.end_test(slot, said);
        said
    }

    /// Returns the issuer of a URL: scheme, host and port.
    fn issuer(&self, to: &Destination) -> Arc<Issuer> {
        let mut issuers = self.issuers.lock().unwrap_or_else(PoisonError::into_inner);
        let origin = to.origin();
        if let Some(issuer) = issuers.get(&origin) {
            return issuer.clone();
        }
        if issuers.len() >= TIDY_AT {
            issuers.retain(|_, issuer| !issuer.is_unused());
        }
        let issuer = Arc::new(Issuer::new(&self.connector, self.times, self.max_in_flight));
        issuers.insert(origin, issuer.clone());
        issuer
    }
}

/// Returns the request to an issuer; `None` if the slot is empty.
fn compose(
    request: &Forward<'_>,
    (endpoint, to, parameters): (Endpoint, &Destination, &Kept),
    credential: &UpstreamCredential,
    slot: Slot,
) -> Option<Request<Full<Bytes>>> {
    let (authorization, body) = parameters.authenticated(endpoint, credential, slot)?;
    let via = HeaderValue::from_str(&format!("1.1 {}", request.pseudonym)).ok()?;
    let passes_dpop = headers::has_dpop(request.headers) && to == request.to;
    let mut headers = headers::to_issuer(request.headers, passes_dpop, &via);
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
