//! Common part of the three endpoints that clients post to: an environment, a form, an authenticated client.

use super::{authenticate::authenticate, form::Form};
use crate::{
    Web,
    body::{self, BODY_BYTES, BodyError},
    source::{SourceAddress, peer},
    unread::is_encoded,
};
use axum::{
    BoxError,
    body::{Bytes, HttpBody},
    extract::{FromRequest, FromRequestParts, RawPathParams, Request},
    http::{HeaderMap, Uri, request::Parts},
    response::Response,
};
use crossfade_app::{IdempotencyKey, MAX_FORM};
use crossfade_authority::{Client, Environment};
use crossfade_core::{audit::Origin, oauth::OauthError};
use std::{net::IpAddr, sync::Arc};

/// A request to an existing environment, not yet parsed further.
pub(super) struct OauthRequest {
    pub(super) web: Web,
    pub(super) environment: Arc<Environment>,
    /// Server of the issuer that the environment is in front of, if the path names one.
    pub(super) server: Option<String>,
    pub(super) source: SourceAddress,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    pub(super) body: Result<Bytes, BodyError>,
}

impl OauthRequest {
    /// Reads a request to its end. Returns `None` if its body does not arrive in time.
    pub(super) async fn read<B>(
        web: &Web,
        environment: Arc<Environment>,
        parts: Parts,
        peer: IpAddr,
        body: B,
    ) -> Option<Self>
    where
        B: HttpBody<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        let Parts { uri, headers, .. } = parts;
        let source = SourceAddress::of(web, peer, &headers);
        let most = if environment.upstream().is_some() { MAX_FORM } else { BODY_BYTES };
        let body = body::read_directly(body, most).await;
        let is_late = body == Err(BodyError::Late);
        let server = None;
        (!is_late).then(|| Self { web: web.clone(), environment, server, source, uri, headers, body })
    }

    /// Whether the environment is in front of another issuer.
    pub(super) fn is_forwarded(&self) -> bool {
        self.environment.upstream().is_some()
    }

    /// Refuses requests that cannot be decided now, or whose body cannot be read.
    pub(super) fn check(&self) -> Result<(), OauthError> {
        if !self.web.app.may_decide() {
            return Err(OauthError::TemporarilyUnavailable);
        }
        if is_encoded(&self.headers) {
            return Err(OauthError::InvalidRequest("Send the body without Content-Encoding."));
        }
        Ok(())
    }

    /// Returns the parameters and the client that sent them.
    pub(super) fn authenticated(&self) -> Result<(Form<'_>, Client), OauthError> {
        self.check()?;
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
        let path = RawPathParams::from_request_parts(&mut parts, web).await;
        let named = |name: &str| {
            let mut parameters = path.as_ref().ok()?.iter();
            parameters.find_map(|(own, value)| (own == name).then_some(value))
        };
        let environment = named("environment").and_then(|slug| web.app.authority().environment(slug));
        let Some(environment) = environment else { return Err(crate::nothing_here()) };
        let server = named("server").map(str::to_owned);
        let peer = peer(&parts.extensions);
        let read = Self::read(web, environment, parts, peer, body).await.ok_or_else(crate::too_slow)?;
        Ok(Self { server, ..read })
    }
}
