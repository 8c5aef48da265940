//! Authorization server metadata (RFC 8414) and the key set (RFC 7517).

use crate::{
    Web,
    document::{is_known, tag},
};
use axum::{
    extract::{Path, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use crossfade_authority::{Authority, Environment};
use crossfade_core::{registration::AuthMethod, signing_key::JWKS_MAX_AGE};
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) async fn metadata(
    State(web): State<Web>,
    Path(environment): Path<String>,
    headers: HeaderMap,
) -> Response {
    let authority = web.app.authority();
    let Some(environment) = own(authority, &environment) else { return crate::nothing_here() };
    let issuer = environment.issuer();
    let methods = AuthMethod::ALL.map(AuthMethod::as_str);
    let document = json!({
        "issuer": issuer,
        "token_endpoint": format!("{issuer}/oauth2/token"),
        "token_endpoint_auth_methods_supported": methods,
        "introspection_endpoint": format!("{issuer}/oauth2/introspect"),
        "introspection_endpoint_auth_methods_supported": methods,
        "revocation_endpoint": format!("{issuer}/oauth2/revoke"),
        "revocation_endpoint_auth_methods_supported": methods,
        "crossfade_rotate_secret_endpoint": format!("{issuer}/oauth2/rotate-secret"),
        "jwks_uri": format!("{issuer}/oauth2/jwks"),
        "grant_types_supported": ["client_credentials"],
        // Required by RFC 8414 §2 also where there is no authorization endpoint; none of its values applies.
        "response_types_supported": [],
        "subject_types_supported": ["public"],
    });
    cacheable(&document, &headers)
}

pub(super) async fn jwks(
    State(web): State<Web>,
    Path(environment): Path<String>,
    headers: HeaderMap,
) -> Response {
    let authority = web.app.authority();
    let Some(environment) = own(authority, &environment) else { return crate::nothing_here() };
    cacheable(&environment.jwks(authority.clock().now()), &headers)
}

/// Returns an environment that issues its own tokens. The metadata and the keys of another one are at its issuer: a document
/// here would have to name that issuer, which RFC 8414 §3.3 forbids.
fn own(authority: &Authority, slug: &str) -> Option<Arc<Environment>> {
    authority.environment(slug).filter(|environment| environment.upstream().is_none())
}

/// Returns a public document that can be cached for a while. Its tag is a hash of it.
fn cacheable(document: &Value, headers: &HeaderMap) -> Response {
    let body = document.to_string();
    let tag = tag(body.as_bytes());
    let mut response = match is_known(headers, &tag) {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => body.into_response(),
    };
    let out = response.headers_mut();
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    out.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    out.insert(
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("cross-origin"),
    );
    let age = format!("public, max-age={}", JWKS_MAX_AGE.as_secs());
    if let Ok(age) = HeaderValue::try_from(age) {
        out.insert(header::CACHE_CONTROL, age);
    }
    out.insert(header::ETAG, tag);
    response
}
