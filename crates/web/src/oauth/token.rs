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
        let authority = request.web.app.authority();
        let issued = authority.issue(&request.environment, &client, form.get("scope"))?;
        Ok((issued.access_token()?, issued.expires_in, issued.scope.into_owned()))
    };
    match issued() {
        // RFC 6749 §5.1. The scope is always included if there is one; its characters need no escaping (§3.3).
        Ok((token, seconds, scope)) if scope.is_empty() => json(
            StatusCode::OK,
            format!(r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":{seconds}}}"#),
        ),
        Ok((token, seconds, scope)) => json(
            StatusCode::OK,
            format!(
                r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":{seconds},"scope":"{scope}"}}"#
            ),
        ),
        Err(error) => OauthRefusal(error).into_response(),
    }
}
