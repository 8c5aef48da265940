//! The token endpoint (RFC 6749 §3.2, §4.4).

use super::{Refused, authenticate::authenticate, form::Form, json};
use crate::{Web, source::Source};
use axum::{
    body::Bytes,
    extract::{Path, State, rejection::BytesRejection},
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use crossfade_core::oauth::OauthError;

pub(super) async fn token(
    State(web): State<Web>,
    Path(environment): Path<String>,
    source: Source,
    uri: Uri,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let Some(environment) = web.app.authority().environment(&environment) else {
        return crate::not_found().await;
    };
    let issued = || {
        let form = Form::parse(&uri, &headers, &body)?;
        let client = authenticate(&web, &environment, &source, &headers, &form)?;
        match form.get("grant_type") {
            Some("client_credentials") => {}
            Some(_) => return Err(OauthError::UnsupportedGrantType),
            None => return Err(OauthError::InvalidRequest("grant_type is missing.")),
        }
        web.app.authority().issue(&environment, &client, form.get("scope"))
    };
    match issued() {
        // RFC 6749 §5.1. The scope is always told when there is one; its characters need no escaping (§3.3).
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
        Err(error) => Refused(error).into_response(),
    }
}
