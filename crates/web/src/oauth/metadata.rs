//! Authorization server metadata (RFC 8414) and the key set (RFC 7517).

use crate::Web;
use axum::{
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use crossfade_core::{registration::AuthMethod, signing_key::JWKS_MAX_AGE};
use serde_json::{Value, json};

pub(super) async fn metadata(
    State(web): State<Web>,
    Path(environment): Path<String>,
    headers: HeaderMap,
) -> Response {
    let authority = web.app.authority();
    let Some(environment) = authority.environment(&environment) else { return crate::not_found().await };
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
    let Some(environment) = authority.environment(&environment) else { return crate::not_found().await };
    cacheable(&environment.jwks(authority.clock().now()), &headers)
}

/// A document that anybody may read and keep for a while. Its tag is a hash of it.
fn cacheable(document: &Value, headers: &HeaderMap) -> Response {
    let body = document.to_string();
    let tag = format!("\"{:016x}\"", fnv(body.as_bytes()));
    // RFC 9110 §13.1.2: a star, or tags compared weakly; §5.3: several lines are one list.
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut known = known.flat_map(|line| line.split(',')).map(str::trim);
    let unchanged = known.any(|one| one == "*" || one.trim_start_matches("W/") == tag);
    let mut response =
        if unchanged { StatusCode::NOT_MODIFIED.into_response() } else { body.into_response() };
    let out = response.headers_mut();
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    out.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    out.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    let age = format!("public, max-age={}", JWKS_MAX_AGE.as_secs());
    for (name, value) in [(header::CACHE_CONTROL, age), (header::ETAG, tag)] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            out.insert(name, value);
        }
    }
    response
}

/// FNV-1a: tells versions of a public document apart.
fn fnv(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
