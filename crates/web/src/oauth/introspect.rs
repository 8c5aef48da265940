//! Token introspection (RFC 7662).

use super::{OauthRefusal, json, request::OauthRequest};
use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

pub(super) async fn introspect(request: OauthRequest) -> Response {
    let answer = || {
        let (form, client) = request.authenticated()?;
        let token = form.token()?;
        Ok(request.web.app.authority().introspect(&request.environment, &client, token))
    };
    let body: Value = match request.decide(answer) {
        Err(error) => return OauthRefusal(error).into_response(),
        // RFC 7662 §2.2: this is the only response, whatever the cause.
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
