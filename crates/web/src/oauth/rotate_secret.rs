//! Rotation of a client's own secret.

use super::request::OauthRequest;
use axum::{body::Body, http::StatusCode, response::Response};
use crossfade_app::SelfRotation;
use crossfade_core::{oauth::OauthError, self_rotation::transition};

/// Minimum length of the `Idempotency-Key`: room for 128 random bits.
const MIN_KEY_LENGTH: usize = 22;

pub(super) async fn rotate_secret(request: OauthRequest) -> Response {
    let origin = request.origin();
    let refuse = |error| request.web.oauth.refuse(error).map(Body::from);
    let (form, client) = match request.decide(|| request.authenticated()) {
        Ok(authenticated) => authenticated,
        Err(error) => return refuse(error),
    };
    let asked = || {
        let transition = transition(form.get("transition_hours"))?;
        // The credentials are not part of it: a repeated request can come with the other secret. So whoever has stolen the
        // old secret and guesses the key gets the new one.
        let key = request.idempotency_key(format!("transition_hours={}", transition.hours()).as_bytes())?;
        let key = key.filter(|key| key.as_str().len() >= MIN_KEY_LENGTH);
        let text = "Idempotency-Key must be 22 to 255 visible ASCII characters that nobody can guess, such as a UUID.";
        Ok((transition, key.ok_or(OauthError::InvalidRequest(text))?))
    };
    let (transition, key) = match asked() {
        Ok(asked) => asked,
        Err(error) => {
            request.web.app.audit_refused_self_rotation(&client, &origin, error).await;
            return refuse(error);
        }
    };
    let asked = SelfRotation { transition, key: &key, origin: &origin };
    match request.web.app.self_rotate_secret(&client, &asked).await {
        Ok(Ok(reply)) => match serde_json::to_string(&reply) {
            Ok(body) => request.web.oauth.json(StatusCode::OK, body).map(Body::from),
            Err(_) => refuse(OauthError::TemporarilyUnavailable),
        },
        Ok(Err(error)) => refuse(error),
        Err(error) => {
            tracing::warn!(%error, "cannot rotate the secret of a client for the client itself");
            refuse(OauthError::TemporarilyUnavailable)
        }
    }
}
