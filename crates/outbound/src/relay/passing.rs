//! Requests of clients that are not registered here: forwarded as they are, with their own authentication.

use super::{Relay, RelayFailure, Relayed, headers, is_same_address};
use crate::webhook::Destination;
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST},
};
use http_body_util::Full;
use tokio::time::timeout;

/// The body of a request that is passed on.
#[derive(Clone)]
pub enum PassedBody {
    /// A form, byte for byte.
    Form(Bytes),
    /// JSON, byte for byte.
    Json(Bytes),
    /// None: a browser asks whether a page may send such a request.
    Preflight,
}

/// A request of a client that is not registered. Has no `Debug`, which would show its secret.
#[derive(Clone)]
pub struct Pass<'a> {
    /// URL of the endpoint at the issuer.
    pub to: &'a Destination,
    /// Headers of the caller.
    pub headers: &'a HeaderMap,
    /// Names of those that are forwarded besides the usual ones.
    pub further_headers: &'a [String],
    /// How the caller authenticates in a header.
    pub authorization: Option<&'a HeaderValue>,
    /// The body.
    pub body: PassedBody,
    /// Host and port that the caller asked for.
    pub host: Option<&'a str>,
    /// Name of this door in `Via`.
    pub pseudonym: &'a str,
}

impl Relay {
    /// Passes a request on. It is sent once, and waits beside the requests of registered clients, not before them.
    pub async fn pass(&self, request: Pass<'_>) -> Result<Relayed, RelayFailure> {
        if Self::has_passed(request.headers, request.pseudonym) {
            return Err(RelayFailure::Loop);
        }
        let has_proof = headers::has_dpop(request.headers);
        if has_proof && !is_same_address(request.host, request.to) {
            return Err(RelayFailure::ProofForOtherUrl);
        }
        let message = compose(&request, has_proof).ok_or(RelayFailure::NotReached)?;
        let issuer = self.issuer(request.to);
        let _permit = issuer.passing.clone().try_acquire_owned().map_err(|_| RelayFailure::Busy)?;
        let sent = issuer.exchange(request.to, message);
        timeout(self.times.whole, sent).await.unwrap_or(Err(RelayFailure::Late))
    }
}

fn compose(request: &Pass<'_>, passes_dpop: bool) -> Option<Request<Full<Bytes>>> {
    let via = HeaderValue::from_str(&format!("1.1 {}", request.pseudonym)).ok()?;
    let further = request.further_headers;
    let mut headers = headers::to_issuer_as_is(request.headers, further, passes_dpop, &via);
    headers.insert(HOST, HeaderValue::from_str(&request.to.authority()).ok()?);
    if let Some(authorization) = request.authorization {
        let mut authorization = authorization.clone();
        authorization.set_sensitive(true);
        headers.insert(AUTHORIZATION, authorization);
    }
    let (method, body) = match &request.body {
        PassedBody::Form(body) => (Method::POST, body.clone()),
        PassedBody::Json(body) => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            (Method::POST, body.clone())
        }
        PassedBody::Preflight => {
            headers.remove(CONTENT_TYPE);
            (Method::OPTIONS, Bytes::new())
        }
    };
    let mut message =
        Request::builder().method(method).uri(request.to.target.clone()).body(Full::new(body)).ok()?;
    *message.headers_mut() = headers;
    Some(message)
}
