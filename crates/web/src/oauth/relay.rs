//! Front mode: requests that are forwarded to the issuer that the environment is in front of, after the client has
//! authenticated with a secret of ours.

use super::{authenticate::authenticate, form::Form, request::OauthRequest};
use crate::Web;
use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use crossfade_app::{FormFault, Kept, RelayFailure, Relayed, Relaying, form_of_json};
use crossfade_authority::{Client, Environment};
use crossfade_core::{
    oauth::OauthError,
    upstream::{Endpoint, IssuerKind},
};

/// Answers a request to an endpoint of an environment in front of another issuer. Returns `None` if there is no such endpoint.
pub(super) async fn relay(request: &OauthRequest, endpoint: Endpoint) -> Option<Response> {
    let (web, environment) = (&request.web, &*request.environment);
    let upstream = environment.upstream()?;
    let server = upstream.server(request.server.as_deref())?;
    server.endpoint(endpoint)?;
    if web.app.has_passed(environment, &request.headers) {
        return Some(refuse(web, RelayFailure::Loop));
    }
    let (parameters, client) = match request.decide(|| authenticated(request, upstream.kind)) {
        Ok(authenticated) => authenticated,
        Err(error) => return Some(web.oauth.refuse(error).map(Body::from)),
    };
    Some(forward(request, environment, &client, (endpoint, server, &parameters)).await)
}

async fn forward(
    request: &OauthRequest,
    environment: &Environment,
    client: &Client,
    (endpoint, server, parameters): (Endpoint, &crossfade_core::upstream::Server, &Kept),
) -> Response {
    let host = request.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = request.uri.authority().map(|authority| authority.as_str()).or(host);
    let asked = Relaying { server, endpoint, parameters, headers: &request.headers, host };
    match request.web.app.forward(environment, client, asked).await {
        Ok(answer) => pass_on(&request.web, answer),
        Err(failure) => refuse(&request.web, failure),
    }
}

/// Returns the parameters without the authentication, and the client. What the issuer gets says the same in any way in which
/// it is read, because the client was authenticated by one way of reading it.
fn authenticated(request: &OauthRequest, kind: IssuerKind) -> Result<(Kept, Client), OauthError> {
    request.check()?;
    if request.uri.query().is_some() {
        return Err(OauthError::InvalidRequest("Parameters must be in the body, not in the URL."));
    }
    let is_json = kind.accepts_json() && is_json(&request.headers);
    let converted = match (is_json, &request.body) {
        (true, Ok(body)) => {
            let form = form_of_json(body);
            Some(Ok(form.map(Bytes::from).map_err(|_| NOT_JSON)?))
        }
        _ => None,
    };
    let body = converted.as_ref().unwrap_or(&request.body);
    let form = Form::parse_relayed(&request.headers, is_json, body)?;
    let client = authenticate(&request.web, &request.environment, &request.source, &request.headers, &form)?;
    // Only after the authentication: callers that are not authenticated get its answer, whatever they sent.
    let kept = Kept::of(body.as_deref().unwrap_or_default());
    let kept = kept.map_err(|fault| match fault {
        FormFault::Ambiguous => OauthError::InvalidRequest(
            "A parameter has a name that could be read as client_id, client_secret or client_assertion.",
        ),
        FormFault::NotJson => NOT_JSON,
    })?;
    Ok((kept, client))
}

const NOT_JSON: OauthError =
    OauthError::InvalidRequest("The body must be a JSON object whose members are strings.");

fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(one), None) = (types.next(), types.next()) else { return false };
    let essence = one.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

/// Returns the answer of an issuer as ours: our headers, and those of the issuer that pass, which come first.
fn pass_on(web: &Web, answer: Relayed) -> Response {
    let mut headers = web.oauth.defaults.clone();
    for name in answer.headers.keys() {
        headers.remove(name);
    }
    for (name, value) in &answer.headers {
        headers.append(name, value.clone());
    }
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = answer.status;
    *response.headers_mut() = headers;
    response
}

fn refuse(web: &Web, failure: RelayFailure) -> Response {
    let status = StatusCode::from_u16(failure.status()).unwrap_or(StatusCode::BAD_GATEWAY);
    let body = format!(r#"{{"error":"{}","error_description":"{}"}}"#, failure.code(), failure.description());
    let mut response = web.oauth.json(status, body);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response.map(Body::from)
}
