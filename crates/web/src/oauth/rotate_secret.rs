//! Rotation of a client's own secret.

use super::{OauthRefusal, json, request::OauthRequest};
use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use crossfade_app::SelfRotation;
use crossfade_core::{oauth::OauthError, self_rotation::transition};

pub(super) async fn rotate_secret(request: OauthRequest) -> Response {
    let asked = || {
        let (form, client) = request.authenticated()?;
        let transition = transition(form.get("transition_hours"))?;
        // The credentials are not part of it: a repeated request can come with the other secret.
        let key = request.idempotency_key(format!("transition_hours={}", transition.hours()).as_bytes())?;
        Ok((client, transition, key))
    };
    let (client, transition, key) = match asked() {
        Ok(asked) => asked,
        Err(error) => return OauthRefusal(error).into_response(),
    };
    let origin = request.origin();
    let asked = SelfRotation { transition, key: key.as_ref(), origin: &origin };
    match request.web.app.self_rotate_secret(&client, &asked).await {
        Ok(Ok(reply)) => match serde_json::to_string(&reply) {
            Ok(body) => json(StatusCode::OK, body),
            Err(_) => OauthRefusal(OauthError::TemporarilyUnavailable).into_response(),
        },
        Ok(Err(error)) => OauthRefusal(error).into_response(),
        Err(error) => {
            tracing::warn!(%error, "cannot rotate the secret of a client for the client itself");
            OauthRefusal(OauthError::TemporarilyUnavailable).into_response()
        }
    }
}
