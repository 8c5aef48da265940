//! The OAuth endpoints of an environment: parse, call the authority, render.

mod authenticate;
mod direct;
mod form;
mod introspect;
mod metadata;
mod request;
mod revoke;
mod rotate_secret;
mod token;

use crate::{Web, headers, observe::observe_oauth};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, HeaderValue, Response, StatusCode, header},
    middleware,
    routing::{MethodRouter, get, post},
};
use crossfade_core::oauth::{CHALLENGE, OauthError};
pub(crate) use direct::Direct;
use request::OauthRequest;

pub(crate) fn router(web: &Web) -> Router<Web> {
    let name = |handlers: MethodRouter<Web>, operation| {
        observe_oauth(handlers.fallback(method_not_allowed), web, operation)
    };
    let token = async |request: OauthRequest| token::token(&request).map(Body::from);
    let introspect = async |request: OauthRequest| introspect::introspect(&request).map(Body::from);
    let revoke = post(revoke::revoke).layer(middleware::from_fn(crate::finish));
    let rotate_secret = post(rotate_secret::rotate_secret).layer(middleware::from_fn(crate::finish));
    let metadata = name(get(metadata::metadata), "metadata");
    Router::new()
        .route("/env/{environment}/oauth2/token", name(post(token), "token"))
        .route("/env/{environment}/oauth2/introspect", name(post(introspect), "introspect"))
        .route("/env/{environment}/oauth2/revoke", name(revoke, "revoke"))
        .route("/env/{environment}/oauth2/rotate-secret", name(rotate_secret, "self_rotate_secret"))
        .route("/env/{environment}/oauth2/jwks", name(get(metadata::jwks), "jwks"))
        .route("/env/{environment}/.well-known/openid-configuration", metadata.clone())
        // RFC 8414 §3.1: the well-known part is between host and path of the issuer.
        .route("/.well-known/oauth-authorization-server/env/{environment}", metadata)
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

/// Refuses a method that an endpoint does not support, in the form of its other errors. The router adds `Allow`.
async fn method_not_allowed(State(web): State<Web>) -> Response<Body> {
    let body = r#"{"error":"invalid_request","error_description":"This method is not allowed here. The Allow header lists those that are."}"#;
    web.oauth.json(StatusCode::METHOD_NOT_ALLOWED, body).map(Body::from)
}
