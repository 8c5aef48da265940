//! The token endpoint (RFC 6749 §3.2, §4.4).

use super::request::OauthRequest;
use axum::{
    body::Bytes,
    http::{Response, StatusCode},
};
use crossfade_core::oauth::OauthError;
use std::fmt::Write;

pub(super) fn token(request: &OauthRequest) -> Response<Bytes> {
    match request.decide(|| issue(request)) {
        Ok(body) => request.web.oauth.json(StatusCode::OK, body),
        Err(error) => request.web.oauth.refuse(error),
    }
}

/// Returns the body of a response with a token (RFC 6749 §5.1), written into one buffer of the right size.
fn issue(request: &OauthRequest) -> Result<String, OauthError> {
    let (form, client) = request.authenticated()?;
    match form.get("grant_type") {
        Some("client_credentials") => {}
        Some(_) => return Err(OauthError::UnsupportedGrantType),
        None => return Err(OauthError::InvalidRequest("grant_type is missing.")),
    }
    let issued = request.web.app.authority().issue(&request.environment, &client, form.get("scope"))?;
    const START: &str = r#"{"access_token":""#;
    const KIND: &str = r#"","token_type":"Bearer","expires_in":"#;
    const SCOPE: &str = r#","scope":""#;
    let digits = issued.expires_in.checked_ilog10().unwrap_or_default() as usize + 1;
    let scope = if issued.scope.is_empty() { 0 } else { SCOPE.len() + issued.scope.len() + 1 };
    let length = START.len() + issued.token_length() + KIND.len() + digits + scope + 1;
    let mut body = String::with_capacity(length);
    body.push_str(START);
    issued.write_token(&mut body)?;
    body.push_str(KIND);
    // Writing into a text does not fail.
    let _ = write!(body, "{}", issued.expires_in);
    // The scope is always included if there is one; its characters need no escaping (§3.3).
    if !issued.scope.is_empty() {
        for text in [SCOPE, &issued.scope, "\""] {
            body.push_str(text);
        }
    }
    body.push('}');
    debug_assert_eq!(body.len(), length, "it was not copied into a larger buffer");
    Ok(body)
}
