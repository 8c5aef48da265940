//! Token revocation (RFC 7009).

use super::request::OauthRequest;
use crate::Web;
use axum::{
    body::Body,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use crossfade_app::Error;
use crossfade_core::oauth::OauthError;

pub(super) async fn revoke(request: OauthRequest) -> Response {
    let asked = || {
        let (form, client) = request.authenticated()?;
        let token = form.token()?;
        // The hint is not needed: there is one kind of token (RFC 7009 §2.1).
        let claims = request.web.app.authority().revocable(&request.environment, &client, token);
        Ok((client, claims))
    };
    match request.decide(asked) {
        Err(error) => request.web.oauth.refuse(error).map(Body::from),
        // RFC 7009 §2.2: a token that is unknown, revoked or another's is answered like one that was revoked.
        Ok((_, None)) => told(&request.web, request.web.app.confirm_ends().await),
        Ok((client, Some(claims))) => {
            told(&request.web, request.web.app.revoke_token(&client, &claims, request.origin()).await)
        }
    }
}

fn told(web: &Web, done: Result<(), Error>) -> Response {
    match done {
        Ok(()) => StatusCode::OK.into_response(),
        // Its cause is in the log.
        Err(_) => web.oauth.refuse(OauthError::TemporarilyUnavailable).map(Body::from),
    }
}
