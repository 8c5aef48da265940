//! Common part of the three endpoints that clients post to: an environment, a form, an authenticated client.

use super::{authenticate::authenticate, form::Form};
use crate::{
    Web,
    body::{self, BodyError},
    source::SourceHeaders,
    unread::is_encoded,
};
use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Request},
    http::{HeaderMap, Uri},
    response::Response,
};
use crossfade_app::IdempotencyKey;
use crossfade_authority::{Client, Environment};
use crossfade_core::{audit::Origin, oauth::OauthError};
use std::sync::Arc;

/// A request to an existing environment, not yet parsed further.
pub(super) struct OauthRequest {
    pub(super) web: Web,
    pub(super) environment: Arc<Environment>,
    source: SourceHeaders,
    uri: Uri,
    headers: HeaderMap,
    body: Result<Bytes, BodyError>,
}

impl OauthRequest {
    /// Returns the parameters and the client that sent them.
    pub(super) fn authenticated(&self) -> Result<(Form<'_>, Client), OauthError> {
        if !self.web.app.may_decide() {
            return Err(OauthError::TemporarilyUnavailable);
        }
        if is_encoded(&self.headers) {
            return Err(OauthError::InvalidRequest("Send the body without Content-Encoding."));
        }
        let form = Form::parse(&self.uri, &self.headers, &self.body)?;
        let client = authenticate(&self.web, &self.environment, &self.source, &self.headers, &form)?;
        Ok((form, client))
    }

    /// Decides about the client, unless this node may not decide any more when the work is done: the process may have stood
    /// still meanwhile, and have missed an end (rule 23).
    pub(super) fn decide<T>(&self, work: impl FnOnce() -> Result<T, OauthError>) -> Result<T, OauthError> {
        let done = work();
        if self.web.app.may_decide() { done } else { Err(OauthError::TemporarilyUnavailable) }
    }

    /// Returns the `Idempotency-Key` of a request with this content.
    pub(super) fn idempotency_key(&self, content: &[u8]) -> Result<Option<IdempotencyKey>, OauthError> {
        let mut values = self.headers.get_all("idempotency-key").iter();
        let (Some(value), second) = (values.next(), values.next()) else { return Ok(None) };
        let text = value.to_str().unwrap_or_default().trim();
        let key = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
        let key = IdempotencyKey::new(key, "POST", self.uri.path(), content);
        let text = "Idempotency-Key must be 1 to 255 visible ASCII characters, and must not be a secret.";
        match (key, second) {
            (Ok(key), None) => Ok(Some(key)),
            _ => Err(OauthError::InvalidRequest(text)),
        }
    }

    /// Returns the origin of the request, for the trail. OAuth requests have no ID in the log.
    pub(super) fn origin(&self) -> Origin {
        self.web.app.origin(self.source.ip)
    }
}

impl FromRequest<Web> for OauthRequest {
    type Rejection = Response;

    async fn from_request(request: Request, web: &Web) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let environment = match Path::<String>::from_request_parts(&mut parts, web).await {
            Ok(Path(slug)) => web.app.authority().environment(&slug),
            Err(_) => None,
        };
        let Some(environment) = environment else { return Err(crate::nothing_here()) };
        let Ok(source) = SourceHeaders::from_request_parts(&mut parts, web).await;
        // Taken, not copied: what reads the body needs neither.
        let (uri, headers) = (std::mem::take(&mut parts.uri), std::mem::take(&mut parts.headers));
        let body = body::read(Request::from_parts(parts, body), web).await;
        if body == Err(BodyError::Late) {
            return Err(crate::too_slow());
        }
        Ok(Self { web: web.clone(), environment, source, uri, headers, body })
    }
}
