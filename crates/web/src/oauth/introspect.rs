//! Token introspection (RFC 7662).

use super::request::OauthRequest;
use axum::{
    body::Bytes,
    http::{Response, StatusCode},
};
use crossfade_core::oauth::OauthError;
use serde::Serialize;

/// An active token, in the order of its names.
#[derive(Serialize)]
struct Active<'a> {
    active: bool,
    aud: &'a str,
    client_id: &'a str,
    crossfade_secret: &'a str,
    exp: i64,
    iat: i64,
    iss: &'a str,
    jti: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a str>,
    sub: &'a str,
    token_type: &'static str,
}

/// RFC 7662 §2.2: this is the only response about any other token, whatever the cause.
const INACTIVE: &str = r#"{"active":false}"#;
/// Room for an ordinary response.
const BODY_BYTES: usize = 768;

pub(super) fn introspect(request: &OauthRequest) -> Response<Bytes> {
    match request.decide(|| told(request)) {
        Ok(body) => request.web.oauth.json(StatusCode::OK, body),
        Err(error) => request.web.oauth.refuse(error),
    }
}

fn told(request: &OauthRequest) -> Result<Bytes, OauthError> {
    let (form, client) = request.authenticated()?;
    let token = form.token()?;
    let Some(token) = request.web.app.authority().introspect(&request.environment, &client, token) else {
        return Ok(Bytes::from_static(INACTIVE.as_bytes()));
    };
    let claims = &token.0;
    let active = Active {
        active: true,
        aud: &claims.aud,
        client_id: &claims.client_id,
        crossfade_secret: &claims.crossfade_secret,
        exp: claims.exp,
        iat: claims.iat,
        iss: &claims.iss,
        jti: &claims.jti,
        scope: claims.scope.as_deref(),
        sub: &claims.sub,
        token_type: "Bearer",
    };
    let mut body = Vec::with_capacity(BODY_BYTES);
    // Texts and numbers can always be written.
    serde_json::to_writer(&mut body, &active).map_err(|_| OauthError::TemporarilyUnavailable)?;
    Ok(body.into())
}
