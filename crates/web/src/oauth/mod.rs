//! The OAuth endpoints of an environment: parse, call the authority, render.

mod authenticate;
mod direct;
mod form;
mod introspect;
mod learn;
mod metadata;
mod passing;
mod relay;
mod request;
mod revoke;
mod rotate_secret;
mod token;

use crate::{
    Web, headers,
    observe::observe_oauth,
    routing::{get, post},
};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{FromRequest, Request, State},
    http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header},
    middleware,
    routing::MethodRouter,
};
use crossfade_core::{
    oauth::{CHALLENGE, OauthError},
    upstream::Endpoint,
};
pub(crate) use direct::Direct;
use request::OauthRequest;

pub(crate) fn router(web: &Web) -> Router<Web> {
    let name = |handlers: MethodRouter<Web>, operation| {
        observe_oauth(handlers.fallback(method_not_allowed), web, operation)
    };
    let name_forwarded = |handlers: MethodRouter<Web>, endpoint: Endpoint| {
        let other = move |State(web): State<Web>, request: Request| other_method(web, request, endpoint);
        observe_oauth(handlers.fallback(other), web, endpoint.operation())
    };
    // A forwarded request runs to its end, also if its caller hangs up.
    let finished = |handlers: MethodRouter<Web>| handlers.layer(middleware::from_fn(crate::finish));
    let token = async |request: OauthRequest| match request.is_forwarded() {
        false => token::token(&request).map(Body::from),
        true => relayed(&request, Endpoint::Token).await,
    };
    let introspect = async |request: OauthRequest| match request.is_forwarded() {
        false => introspect::introspect(&request).map(Body::from),
        true => relayed(&request, Endpoint::Introspection).await,
    };
    let revoke = async |request: OauthRequest| match request.is_forwarded() {
        false => revoke::revoke(request).await,
        true => relayed(&request, Endpoint::Revocation).await,
    };
    let rotate_secret = finished(post(rotate_secret::rotate_secret));
    let metadata = name(get(metadata::metadata), "metadata");
    let own = Router::new()
        .route("/env/{environment}/oauth2/token", name_forwarded(finished(post(token)), Endpoint::Token))
        .route(
            "/env/{environment}/oauth2/introspect",
            name_forwarded(finished(post(introspect)), Endpoint::Introspection),
        )
        .route(
            "/env/{environment}/oauth2/revoke",
            name_forwarded(finished(post(revoke)), Endpoint::Revocation),
        )
        .route("/env/{environment}/oauth2/rotate-secret", name(rotate_secret, "self_rotate_secret"))
        .route("/env/{environment}/oauth2/jwks", name(get(metadata::jwks), "jwks"))
        .route("/env/{environment}/.well-known/openid-configuration", metadata.clone())
        // RFC 8414 §3.1: the well-known part is between host and path of the issuer.
        .route("/.well-known/oauth-authorization-server/env/{environment}", metadata);
    Endpoint::ALL.into_iter().fold(own, |routes, endpoint| {
        let forwards = move || {
            let answer = move |request: OauthRequest| async move { relayed(&request, endpoint).await };
            name_forwarded(finished(post(answer)), endpoint)
        };
        let path = endpoint.path();
        let is_own = matches!(endpoint, Endpoint::Token | Endpoint::Introspection | Endpoint::Revocation);
        let routes = match is_own {
            true => routes,
            false => routes.route(&format!("/env/{{environment}}/oauth2/{path}"), forwards()),
        };
        routes.route(&format!("/env/{{environment}}/oauth2/{{server}}/{path}"), forwards())
    })
}

/// Answers a request for the issuer that the environment is in front of.
async fn relayed(request: &OauthRequest, endpoint: Endpoint) -> Response<Body> {
    relay::relay(request, endpoint).await.map_or_else(crate::nothing_here, |answer| answer.map(Body::from))
}

/// Headers and bodies of responses, prepared once: only a copy of the list is made for a response.
pub(crate) struct Prepared {
    /// The default headers.
    defaults: HeaderMap,
    /// Headers of a JSON response. HTTP/1.0 also needs the older form of `no-store` (RFC 6749 §5.1).
    json: HeaderMap,
    /// The responses to failed authentications, which are the same for all of a kind (rule 16).
    invalid_client: (HeaderMap, Bytes),
    too_many_failures: (HeaderMap, Bytes),
}

impl Prepared {
    /// Prepares the responses of a server with this URL.
    pub(crate) fn new(public_url: &str) -> Self {
        let defaults = headers::defaults(public_url);
        let mut json = defaults.clone();
        json.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        json.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
        let refused = |error| (with_hints(json.clone(), error), Bytes::from(described(error)));
        let invalid_client = refused(OauthError::InvalidClient);
        let too_many_failures = refused(OauthError::TooManyFailures);
        Self { defaults, json, invalid_client, too_many_failures }
    }

    /// Returns a JSON response.
    fn json(&self, status: StatusCode, body: impl Into<Bytes>) -> Response<Bytes> {
        respond(status, self.json.clone(), body.into())
    }

    /// Returns the response to a request that is refused.
    fn refuse(&self, error: OauthError) -> Response<Bytes> {
        let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
        let (headers, body) = match error {
            OauthError::InvalidClient => self.invalid_client.clone(),
            OauthError::TooManyFailures => self.too_many_failures.clone(),
            _ => (with_hints(self.json.clone(), error), described(error).into()),
        };
        respond(status, headers, body)
    }
}

fn respond(status: StatusCode, headers: HeaderMap, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn described(error: OauthError) -> String {
    format!(r#"{{"error":"{}","error_description":"{}"}}"#, error.code(), error.description())
}

/// Adds what an error tells the client to do.
fn with_hints(mut headers: HeaderMap, error: OauthError) -> HeaderMap {
    if error == OauthError::InvalidClient {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE));
    }
    let seconds = match error {
        OauthError::TemporarilyUnavailable => Some("1"),
        OauthError::TooManyFailures => Some("1"),
        OauthError::SlowDown => Some("10"),
        _ => None,
    };
    if let Some(seconds) = seconds {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static(seconds));
    }
    headers
}

/// Answers a method that an endpoint does not support itself: the questions of browsers go to the issuer where requests of
/// clients that are not registered do.
async fn other_method(web: Web, request: Request, endpoint: Endpoint) -> Response<Body> {
    if request.method() == Method::OPTIONS
        && let Ok(request) = OauthRequest::from_request(request, &web).await
        && let Some(answer) = relay::preflight(&request, endpoint).await
    {
        return answer.map(Body::from);
    }
    method_not_allowed(State(web)).await
}

/// Refuses a method that an endpoint does not support, in the form of its other errors. The router adds `Allow`.
async fn method_not_allowed(State(web): State<Web>) -> Response<Body> {
    let body = r#"{"error":"invalid_request","error_description":"This method is not allowed here. The Allow header lists those that are."}"#;
    web.oauth.json(StatusCode::METHOD_NOT_ALLOWED, body).map(Body::from)
}
