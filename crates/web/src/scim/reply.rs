//! Responses and refusals (RFC 7644 §3.12).

use super::request::Wanted;
use axum::{
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use crossfade_app::{Error, ScimResource};
use crossfade_core::{
    Code, Problem,
    scim::{ERROR_SCHEMA, SCIM_TYPE, project},
};
use serde_json::{Value, json};

/// Media type of SCIM (RFC 7644 §3.1).
const MEDIA_TYPE: &str = "application/scim+json";
/// Seconds after which a provider tries again while an instance is in quarantine.
const QUARANTINE_RETRY: u64 = 300;

/// The result of a handler.
pub(super) type Answer = Result<Response, Refused>;

/// A refusal.
pub(super) struct Refused(Error);

impl<E: Into<Error>> From<E> for Refused {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        if let Some(source) = &self.0.source {
            tracing::error!(code = self.0.problem.code.as_str(), %source, "a request failed");
        }
        refused(&self.0.problem)
    }
}

/// Returns JSON with the media type of SCIM.
pub(super) fn json(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, MEDIA_TYPE)], body.to_string()).into_response()
}

/// Returns a refusal in the form of the standard.
pub(super) fn refused(problem: &Problem) -> Response {
    // The standard has one status for every request that is not valid.
    let status = match problem.code.status() {
        422 => StatusCode::BAD_REQUEST,
        status => StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
    };
    let mut body = json!({"schemas": [ERROR_SCHEMA], "status": status.as_str(), "detail": problem.detail});
    if let Some(word) = problem.members.get(SCIM_TYPE) {
        body["scimType"] = word.clone();
    }
    let mut response = json(status, &body);
    let headers = response.headers_mut();
    if problem.code == Code::Unauthenticated {
        let challenge = match problem.field {
            Some(_) => "Bearer realm=\"crossfade\", error=\"invalid_token\"",
            None => "Bearer realm=\"crossfade\"",
        };
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    let quarantine = (problem.code == Code::Quarantined).then_some(QUARANTINE_RETRY);
    if let Some(seconds) = problem.retry_seconds().or(quarantine) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn resource(status: StatusCode, mut found: ScimResource, wanted: &Wanted) -> Response {
    project(&mut found.shown, wanted.attributes.as_deref(), wanted.excluded.as_deref(), wanted.of);
    let mut response = json(status, &found.shown);
    let mut set = |name: HeaderName, text: &str| {
        if let Ok(value) = HeaderValue::from_str(text) {
            response.headers_mut().insert(name, value);
        }
    };
    set(header::ETAG, &found.tag);
    set(
        if status == StatusCode::CREATED { header::LOCATION } else { header::CONTENT_LOCATION },
        &found.location,
    );
    response
}

/// Returns a resource.
pub(super) fn ok(found: ScimResource, wanted: &Wanted) -> Response {
    resource(StatusCode::OK, found, wanted)
}

/// Returns a new resource.
pub(super) fn created(made: ScimResource, wanted: &Wanted) -> Response {
    resource(StatusCode::CREATED, made, wanted)
}

/// Returns that it was done.
pub(super) fn done() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

/// Refuses what is no part of this server.
pub(super) async fn unsupported() -> Response {
    let text = "This server does not support that. ServiceProviderConfig says what it supports.";
    json(StatusCode::NOT_IMPLEMENTED, &json!({"schemas": [ERROR_SCHEMA], "status": "501", "detail": text}))
}

pub(super) async fn not_found() -> Response {
    refused(&Problem::new(
        Code::NotFound,
        "There is nothing here. People are at Users, and groups at Groups.",
    ))
}

pub(super) async fn method_not_allowed() -> Response {
    let text =
        "This resource does not support the HTTP method. The Allow header lists the supported methods.";
    refused(&Problem::new(Code::MethodNotAllowed, text))
}
