//! The OAuth endpoints of an environment: parse, call the authority, render.

mod authenticate;
mod form;
mod introspect;
mod metadata;
mod request;
mod revoke;
mod rotate_secret;
mod token;

use crate::{Web, observe::observe_oauth};
use axum::{
    Router,
    http::{HeaderValue, StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
};
use crossfade_core::oauth::{CHALLENGE, OauthError};

pub(crate) fn router(web: &Web) -> Router<Web> {
    let name = |handlers: MethodRouter<Web>, operation| {
        observe_oauth(handlers.fallback(method_not_allowed), web, operation)
    };
    let revoke = post(revoke::revoke).layer(middleware::from_fn(crate::finish));
    let rotate_secret = post(rotate_secret::rotate_secret).layer(middleware::from_fn(crate::finish));
    let metadata = name(get(metadata::metadata), "metadata");
    Router::new()
        .route("/env/{environment}/oauth2/token", name(post(token::token), "token"))
        .route("/env/{environment}/oauth2/introspect", name(post(introspect::introspect), "introspect"))
        .route("/env/{environment}/oauth2/revoke", name(revoke, "revoke"))
        .route("/env/{environment}/oauth2/rotate-secret", name(rotate_secret, "self_rotate_secret"))
        .route("/env/{environment}/oauth2/jwks", name(get(metadata::jwks), "jwks"))
        .route("/env/{environment}/.well-known/openid-configuration", metadata.clone())
        // RFC 8414 §3.1: the well-known part is between host and path of the issuer.
        .route("/.well-known/oauth-authorization-server/env/{environment}", metadata)
}

/// A refusal as it is sent.
struct OauthRefusal(OauthError);

impl From<OauthError> for OauthRefusal {
    fn from(error: OauthError) -> Self {
        Self(error)
    }
}

impl IntoResponse for OauthRefusal {
    fn into_response(self) -> Response {
        let error = self.0;
        let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
        let body = format!(r#"{{"error":"{}","error_description":"{}"}}"#, error.code(), error.description());
        let mut response = json(status, body);
        if error == OauthError::InvalidClient {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE));
        }
        let seconds = match error {
            OauthError::TemporarilyUnavailable => Some("1"),
            OauthError::TooManyFailures => Some("1"),
            OauthError::SlowDown => Some("10"),
            _ => None,
        };
        if let Some(seconds) = seconds {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(seconds));
        }
        response
    }
}

/// Returns a JSON response. Every response has `no-store`; HTTP/1.0 also needs the older header (RFC 6749 §5.1).
fn json(status: StatusCode, body: String) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

/// Refuses a method that an endpoint does not support, in the form of its other errors. The router adds `Allow`.
async fn method_not_allowed() -> Response {
    let body = r#"{"error":"invalid_request","error_description":"This method is not allowed here. The Allow header lists those that are."}"#;
    json(StatusCode::METHOD_NOT_ALLOWED, body.to_owned())
}
