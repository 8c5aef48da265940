//! The token endpoint (RFC 6749 §3.2, §4.4).

use super::{OauthRefusal, json, request::OauthRequest};
use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use crossfade_core::oauth::OauthError;

pub(super) async fn token(request: OauthRequest) -> Response {
    let issued = || {
        let (form, client) = request.authenticated()?;
        match form.get("grant_type") {
            Some("client_credentials") => {}
            Some(_) => return Err(OauthError::UnsupportedGrantType),
            None => return Err(OauthError::InvalidRequest("grant_type is missing.")),
        }
        request.web.app.authority().issue(&request.environment, &client, form.get("scope"))
    };
    match request.decide(issued) {
        // RFC 6749 §5.1. The scope is always included if there is one; its characters need no escaping (§3.3).
        Ok(issued) if issued.scope.is_empty() => json(
            StatusCode::OK,
            format!(
                r#"{{"access_token":"{}","token_type":"Bearer","expires_in":{}}}"#,
                issued.access_token, issued.expires_in
            ),
        ),
        Ok(issued) => json(
            StatusCode::OK,
            format!(
                r#"{{"access_token":"{}","token_type":"Bearer","expires_in":{},"scope":"{}"}}"#,
                issued.access_token, issued.expires_in, issued.scope
            ),
        ),
        Err(error) => OauthRefusal(error).into_response(),
    }
}
