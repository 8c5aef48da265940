//! Token revocation (RFC 7009).

use super::{Refused, authenticate::authenticate, form::Form};
use crate::{Web, source::Source};
use axum::{
    body::Bytes,
    extract::{Path, State, rejection::BytesRejection},
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use crossfade_core::oauth::OauthError;

pub(super) async fn revoke(
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
    let asked = || {
        let form = Form::parse(&uri, &headers, &body)?;
        let client = authenticate(&web, &environment, &source, &headers, &form)?;
        let token = form.get("token").ok_or(OauthError::InvalidRequest("token is missing."))?;
        // The hint is not needed: there is one kind of token (RFC 7009 §2.1).
        let token = web.app.authority().own_token(&environment, &client, token);
        Ok((client, token))
    };
    match asked() {
        Err(error) => Refused(error).into_response(),
        // RFC 7009 §2.2: a token that is unknown, ended or another's is answered like one that was revoked.
        Ok((_, None)) => done(),
        Ok((client, Some(token))) => match web.app.revoke_token(&client, &token).await {
            Ok(()) => done(),
            Err(error) => {
                tracing::error!(%error, "a token could not be revoked");
                Refused(OauthError::TemporarilyUnavailable).into_response()
            }
        },
    }
}

fn done() -> Response {
    crate::private(StatusCode::OK.into_response())
}
