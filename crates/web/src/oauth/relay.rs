//! Front mode: requests that are forwarded to the issuer that the environment is in front of, after the client has
//! authenticated with a secret of ours.

use super::{
    authenticate::authenticate, form::Form, learn::learnable, passing::Named, request::OauthRequest,
};
use crate::{Web, body::BodyError};
use axum::{
    body::Bytes,
    http::{HeaderMap, HeaderValue, Response, StatusCode, header},
};
use crossfade_app::{
    FormFault, Kept, Learnable, PassedBody, PassedClient, Passing, RelayFailure, Relayed, Relaying,
    form_of_json,
};
use crossfade_authority::Client;
use crossfade_core::{
    oauth::OauthError,
    upstream::{Endpoint, IssuerKind, Server},
};

/// Answers a request to an endpoint of an environment in front of another issuer. Returns `None` if there is no such endpoint.
pub(super) async fn relay(request: &OauthRequest, endpoint: Endpoint) -> Option<Response<Bytes>> {
    let (web, environment) = (&request.web, &*request.environment);
    let upstream = environment.upstream()?;
    let server = upstream.server(request.server.as_deref())?;
    server.endpoint(endpoint)?;
    if web.app.has_passed(environment, &request.headers) {
        return Some(refuse(web, RelayFailure::Loop));
    }
    if environment.passes_unregistered() {
        match request.decide(|| passed(request, upstream.kind)) {
            Ok(Some((body, client))) => {
                return Some(pass(request, (endpoint, server), body, Some(client)).await);
            }
            Ok(None) => {}
            Err(error) => return Some(web.oauth.refuse(error)),
        }
    }
    if environment.adopts(web.app.authority().clock().now()) {
        match request.decide(|| learnable(request, upstream.kind)) {
            Ok(Some((learnable, body))) => {
                return Some(learn(request, &learnable, (endpoint, server), body).await);
            }
            Ok(None) => {}
            Err(error) => return Some(web.oauth.refuse(error)),
        }
    }
    let (parameters, client) = match request.decide(|| authenticated(request, upstream.kind)) {
        Ok(authenticated) => authenticated,
        Err(error) => return Some(web.oauth.refuse(error)),
    };
    Some(forward(request, &client, (endpoint, server, &parameters)).await)
}

/// Asks the issuer for a browser whether a page may send a request to an endpoint. Returns `None` unless requests of clients
/// that are not registered are passed on.
pub(super) async fn preflight(request: &OauthRequest, endpoint: Endpoint) -> Option<Response<Bytes>> {
    let (web, environment) = (&request.web, &*request.environment);
    let is_preflight = [header::ORIGIN, header::ACCESS_CONTROL_REQUEST_METHOD]
        .iter()
        .all(|name| request.headers.get_all(name).iter().count() == 1);
    let server = environment.upstream()?.server(request.server.as_deref())?;
    server.endpoint(endpoint)?;
    if !environment.passes_unregistered() || !is_preflight {
        return None;
    }
    if web.app.has_passed(environment, &request.headers) {
        return Some(refuse(web, RelayFailure::Loop));
    }
    match request.decide(|| request.check()) {
        Ok(()) => Some(pass(request, (endpoint, server), PassedBody::Preflight, None).await),
        Err(error) => Some(web.oauth.refuse(error)),
    }
}

async fn pass(
    request: &OauthRequest,
    (endpoint, server): (Endpoint, &Server),
    body: PassedBody,
    client: Option<PassedClient>,
) -> Response<Bytes> {
    let is_preflight = matches!(body, PassedBody::Preflight);
    let authorization = request.headers.get(header::AUTHORIZATION).filter(|_| !is_preflight);
    let headers = &request.headers;
    let asked = Passing { server, endpoint, headers, authorization, body, host: host(request), client };
    match request.web.app.pass_on(&request.environment, asked).await {
        Ok(answer) => pass_on(&request.web, answer),
        Err(failure) => refuse(&request.web, failure),
    }
}

/// Forwards a request as it is, with a secret that its registration can learn.
async fn learn(
    request: &OauthRequest,
    learnable: &Learnable,
    (endpoint, server): (Endpoint, &Server),
    body: PassedBody,
) -> Response<Bytes> {
    let authorization = request.headers.get(header::AUTHORIZATION);
    let headers = &request.headers;
    let asked = Passing { server, endpoint, headers, authorization, body, host: host(request), client: None };
    match request.web.app.pass_to_learn(&request.environment, learnable, asked).await {
        Ok((answer, is_learned)) => {
            if is_learned && let Some(upstream) = request.environment.upstream() {
                // The request that has proved the secret is its first use, for the evidence.
                let _ = request.decide(|| authenticated(request, upstream.kind));
            }
            pass_on(&request.web, answer)
        }
        Err(failure) => refuse(&request.web, failure),
    }
}

async fn forward(
    request: &OauthRequest,
    client: &Client,
    (endpoint, server, parameters): (Endpoint, &Server, &Kept),
) -> Response<Bytes> {
    let asked = Relaying { server, endpoint, parameters, headers: &request.headers, host: host(request) };
    match request.web.app.forward(&request.environment, client, asked).await {
        Ok(answer) => pass_on(&request.web, answer),
        Err(failure) => refuse(&request.web, failure),
    }
}

/// Returns host and port that the caller asked for.
fn host(request: &OauthRequest) -> Option<&str> {
    let host = request.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    request.uri.authority().map(|authority| authority.as_str()).or(host)
}

/// The body of a request, and the form that says the same if it is JSON.
pub(super) struct Body<'a> {
    pub(super) raw: &'a Result<Bytes, BodyError>,
    pub(super) converted: Option<Result<Bytes, BodyError>>,
}

impl<'a> Body<'a> {
    /// Reads the body of a request that carries all its parameters there.
    pub(super) fn of(request: &'a OauthRequest, kind: IssuerKind) -> Result<Self, OauthError> {
        request.check()?;
        if request.uri.query().is_some() {
            return Err(OauthError::InvalidRequest("Parameters must be in the body, not in the URL."));
        }
        let converted = match &request.body {
            Ok(body) if kind.accepts_json() && is_json(&request.headers) => {
                let form = form_of_json(body);
                Some(Ok(form.map(Bytes::from).map_err(|_| NOT_JSON)?))
            }
            _ => None,
        };
        Ok(Self { raw: &request.body, converted })
    }

    pub(super) fn is_converted(&self) -> bool {
        self.converted.is_some()
    }

    /// Returns the form, or why there is none.
    pub(super) fn read(&self) -> &Result<Bytes, BodyError> {
        self.converted.as_ref().unwrap_or(self.raw)
    }

    /// Returns the body as it is passed on.
    pub(super) fn passed(&self) -> PassedBody {
        let bytes = self.raw.clone().unwrap_or_default();
        if self.is_converted() { PassedBody::Json(bytes) } else { PassedBody::Form(bytes) }
    }

    /// Returns the form; an empty one if there is none.
    pub(super) fn form(&self) -> &[u8] {
        self.read().as_deref().unwrap_or_default()
    }
}

/// Returns the body and the client of a request that names no client that is or was registered here; `None` if it names one.
fn passed(
    request: &OauthRequest,
    kind: IssuerKind,
) -> Result<Option<(PassedBody, PassedClient)>, OauthError> {
    let body = Body::of(request, kind)?;
    let form = Form::parse_relayed(&request.headers, body.is_converted(), body.read())?;
    let named = Named::read(&request.headers, &form, &body);
    let authority = request.web.app.authority();
    if named.is_ours(|name| authority.was_given(&request.environment, name)) {
        return Ok(None);
    }
    named.check()?;
    let (client_id, method) = named.client();
    let client = PassedClient { client_id, method, ip: request.source.ip };
    Ok(Some((body.passed(), client)))
}

/// Returns the parameters without the authentication, and the client. What the issuer gets says the same in any way in which
/// it is read, because the client was authenticated by one way of reading it.
fn authenticated(request: &OauthRequest, kind: IssuerKind) -> Result<(Kept, Client), OauthError> {
    let body = Body::of(request, kind)?;
    let form = Form::parse_relayed(&request.headers, body.is_converted(), body.read())?;
    let client = authenticate(&request.web, &request.environment, &request.source, &request.headers, &form)?;
    // Only after the authentication: callers that are not authenticated get its answer, whatever they sent.
    let kept = Kept::of(body.form()).map_err(|fault| match fault {
        FormFault::Ambiguous => AMBIGUOUS,
        FormFault::NotJson => NOT_JSON,
    })?;
    Ok((kept, client))
}

pub(super) const AMBIGUOUS: OauthError = OauthError::InvalidRequest(
    "A parameter has a name that could be read as client_id, client_secret or client_assertion.",
);
pub(super) const UNCERTAIN: OauthError =
    OauthError::InvalidRequest("The client_id or the authentication can be read in more than one way.");
const NOT_JSON: OauthError =
    OauthError::InvalidRequest("The body must be a JSON object whose members are strings.");

fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(one), None) = (types.next(), types.next()) else { return false };
    let essence = one.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

/// Returns the answer of an issuer as ours: our headers, and those of the issuer that pass, which come first.
fn pass_on(web: &Web, answer: Relayed) -> Response<Bytes> {
    let mut headers = web.oauth.defaults.clone();
    for name in answer.headers.keys() {
        headers.remove(name);
    }
    for (name, value) in &answer.headers {
        headers.append(name, value.clone());
    }
    let mut response = Response::new(answer.body);
    *response.status_mut() = answer.status;
    *response.headers_mut() = headers;
    response
}

fn refuse(web: &Web, failure: RelayFailure) -> Response<Bytes> {
    let status = StatusCode::from_u16(failure.status()).unwrap_or(StatusCode::BAD_GATEWAY);
    let body = format!(r#"{{"error":"{}","error_description":"{}"}}"#, failure.code(), failure.description());
    let mut response = web.oauth.json(status, body);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}
