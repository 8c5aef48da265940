//! The part of every API request that is read before its use case runs: the principal, and whether the body is JSON at
//! all. Everything else in the body is checked only after the principal has been authorised.

use super::{
    prefer::responds_async,
    reply::{Tags, tags},
};
use crate::{
    Web,
    body::{self, BodyError},
    observe,
    reply::Refused,
    unread::{is_encoded, unsupported_encoding},
};
use axum::{
    body::{Bytes, HttpBody},
    extract::{FromRequest, FromRequestParts, OriginalUri, Path, Request},
    http::{HeaderMap, Method, Uri, header},
};
use crossfade_app::{App, Deletion, IdempotencyKey, Input, Intent, ListQuery, Principal};
use crossfade_core::{Code, Problem, secret::looks_like_secret};
use serde::de::{DeserializeOwned, IgnoredAny};
use std::{collections::HashMap, sync::Arc};

/// An authenticated request.
pub(crate) struct Call {
    pub(crate) app: Arc<App>,
    pub(crate) principal: Principal,
    pub(crate) uri: Uri,
    query: HashMap<String, String>,
    idempotency: Option<IdempotencyKey>,
    tags: Tags,
    responds_async: bool,
    body: Bytes,
}

impl Call {
    /// Returns the envelope of a change request.
    pub(crate) fn request(&self) -> crossfade_app::Request<'_> {
        crossfade_app::Request {
            principal: &self.principal,
            idempotency: self.idempotency.as_ref(),
            if_match: self.tags.if_match(),
            responds_async: self.responds_async,
        }
    }

    /// Returns the body of an operation that requires one.
    pub(crate) fn input<T>(&self) -> Result<Input<'_, T>, Problem> {
        if self.body.is_empty() {
            return Err(Problem::new(
                Code::InvalidJson,
                "This operation requires a JSON body. Nothing was changed.",
            ));
        }
        Ok(Input::Json(&self.body))
    }

    /// Returns the body of an operation for which it is optional.
    pub(crate) fn optional_input<T: Default>(&self) -> Input<'_, T> {
        if self.body.is_empty() { Input::Value(T::default()) } else { Input::Json(&self.body) }
    }

    /// Returns a deletion that the principal has confirmed elsewhere.
    pub(crate) fn deletion(&self) -> Deletion<'_> {
        Deletion::Body(self.optional_input())
    }

    /// Returns a parameter of the query.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        self.query.get(name).cloned()
    }

    /// Reads limit and cursor of a list that also accepts the parameters `others`.
    pub(crate) fn list(&self, others: &[&str]) -> Result<ListQuery, Problem> {
        self.only(&[&["limit", "cursor"], others].concat())?;
        Ok(ListQuery { limit: self.parameter("limit"), cursor: self.parameter("cursor") })
    }

    /// Refuses parameters other than these, because a misspelled filter would silently return more rows.
    pub(crate) fn only(&self, known: &[&str]) -> Result<(), Problem> {
        let Some(unknown) = self.query.keys().find(|name| !known.contains(&name.as_str())) else {
            return Ok(());
        };
        let text = match known {
            [] => "This operation takes no parameters.".to_owned(),
            known => format!("This operation accepts only these parameters: {}.", known.join(", ")),
        };
        Err(named(Problem::new(Code::InvalidQuery, text), unknown))
    }
}

impl FromRequest<Web> for Call {
    type Rejection = Refused;

    async fn from_request(request: Request, web: &Web) -> Result<Self, Refused> {
        let headers = request.headers().clone();
        if is_encoded(&headers) && !request.body().is_end_stream() {
            return Err(unsupported_encoding().into());
        }
        let origin = observe::origin(web, request.extensions(), &headers);
        let principal = web.app.authenticate(bearer(&headers)?, origin, intent(request.method())).await?;
        observe::note_account(request.extensions(), principal.user());
        let method = request.method().clone();
        let uri = request
            .extensions()
            .get::<OriginalUri>()
            .map_or_else(|| request.uri().clone(), |uri| uri.0.clone());
        let query = query(&uri)?;
        let body = body::read(request, web).await.map_err(|error| match error {
            BodyError::TooLarge => Problem::new(
                Code::BodyTooLarge,
                "The request body must be at most 65536 bytes. Nothing was changed.",
            ),
            BodyError::Late => Problem::new(
                Code::InvalidJson,
                "The request body was not received in time. Nothing was changed. Try again.",
            ),
            BodyError::Broken => Problem::new(
                Code::InvalidJson,
                "The request body ended early, or its chunks are malformed. Nothing was changed.",
            ),
        })?;
        match method.is_safe() {
            true if body.is_empty() || body.trim_ascii() == b"{}" => {}
            true => {
                let text = "A read takes no request body. Send what to read as parameters of the query.";
                return Err(Problem::new(Code::InvalidBody, text).into());
            }
            false if body.is_empty() => {}
            false => require_json(&headers, &body)?,
        }
        let idempotency = idempotency(&headers, &method, &uri, &body)?;
        Ok(Self {
            app: web.app.clone(),
            principal,
            uri,
            query,
            idempotency,
            tags: tags(&headers),
            responds_async: responds_async(&headers),
            body,
        })
    }
}

fn intent(method: &Method) -> Intent {
    if method.is_safe() { Intent::Read } else { Intent::Change }
}

/// Returns the token of the only `Authorization: Bearer` header (RFC 6750 §2.1).
fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let token = match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok().and_then(|value| value.split_once(' ')),
        _ => None,
    };
    match token {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
        _ => Err(Problem::new(
            Code::Unauthenticated,
            "The request has no API token. Send one as Authorization: Bearer.",
        )),
    }
}

fn query(uri: &Uri) -> Result<HashMap<String, String>, Problem> {
    let mut query = HashMap::new();
    for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        if value.chars().any(char::is_control) {
            let text = "A query parameter contains a control character.";
            return Err(named(Problem::new(Code::InvalidQuery, text), &name));
        }
        if query.insert(name.to_string(), value.to_string()).is_some() {
            return Err(named(Problem::new(Code::InvalidQuery, "A query parameter is repeated."), &name));
        }
    }
    Ok(query)
}

/// Names the parameter at fault, unless its name is a secret.
fn named(problem: Problem, parameter: &str) -> Problem {
    if looks_like_secret(parameter) { problem } else { problem.with_field(parameter) }
}

fn require_json(headers: &HeaderMap, body: &[u8]) -> Result<(), Problem> {
    let content_type =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Err(Problem::new(
            Code::InvalidJson,
            "The content type must be application/json. Nothing was changed.",
        ));
    }
    // RFC 8259 §8.1: JSON is UTF-8, even in strings that are never read.
    let text = std::str::from_utf8(body).map_err(|_| {
        Problem::new(
            Code::InvalidJson,
            "The request body is not valid JSON because it is not UTF-8. Nothing was changed.",
        )
    })?;
    serde_json::from_str::<IgnoredAny>(text).map(drop).map_err(|error| {
        Problem::new(
            Code::InvalidJson,
            format!(
                "The request body is not valid JSON (line {}, column {}). Nothing was changed.",
                error.line(),
                error.column()
            ),
        )
    })
}

/// Returns the `Idempotency-Key`, either a quoted string (RFC 9651) or bare.
fn idempotency(
    headers: &HeaderMap,
    method: &Method,
    uri: &Uri,
    body: &[u8],
) -> Result<Option<IdempotencyKey>, Problem> {
    let Some(value) = headers.get("idempotency-key").filter(|_| *method != Method::GET) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default().trim();
    let key = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    IdempotencyKey::new(key, method.as_str(), uri.path(), body).map(Some)
}

/// The ids in the path. A path that is not text gets 404.
pub(crate) struct Ids<T>(pub(crate) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Web> for Ids<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, web: &Web) -> Result<Self, Refused> {
        match Path::<T>::from_request_parts(parts, web).await {
            Ok(Path(ids)) => Ok(Self(ids)),
            Err(_) => {
                // 401 comes before 404.
                let origin = observe::origin(web, &parts.extensions, &parts.headers);
                web.app.authenticate(bearer(&parts.headers)?, origin, intent(&parts.method)).await?;
                Err(Problem::not_found().into())
            }
        }
    }
}
