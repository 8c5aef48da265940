//! Token introspection (RFC 7662).

use super::{Refused, authenticate::authenticate, form::Form, json};
use crate::{Web, source::Source};
use axum::{
    body::Bytes,
    extract::{Path, State, rejection::BytesRejection},
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use crossfade_core::oauth::OauthError;
use serde_json::{Value, json};

pub(super) async fn introspect(
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
    let answer = || {
        let form = Form::parse(&uri, &headers, &body)?;
        let client = authenticate(&web, &environment, &source, &headers, &form)?;
        let token = form.get("token").ok_or(OauthError::InvalidRequest("token is missing."))?;
        Ok(web.app.authority().introspect(&environment, &client, token))
    };
    let body: Value = match answer() {
        Err(error) => return Refused(error).into_response(),
        // RFC 7662 §2.2: whatever the cause, nothing but this.
        Ok(None) => json!({"active": false}),
        Ok(Some(token)) => {
            let claims = token.0;
            let mut body = json!({
                "active": true, "token_type": "Bearer", "iss": claims.iss, "sub": claims.sub, "aud": claims.aud,
                "client_id": claims.client_id, "iat": claims.iat, "exp": claims.exp, "jti": claims.jti,
                "crossfade_secret": claims.crossfade_secret,
            });
            if let Some(scope) = claims.scope {
                body["scope"] = scope.into();
            }
            body
        }
    };
    json(StatusCode::OK, body.to_string())
}
