//! What handlers of the API and of the Console return: a response, or a refusal.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use crossfade_app::Error;
use crossfade_core::{Code, Problem, problem::ProblemDocument};
use serde::Serialize;

/// The result of a handler.
pub(crate) type Reply = Result<Response, Refused>;

/// A use case's error as a response: a problem document. The gate of the Console turns it into a page, because it knows
/// the reader.
pub(crate) struct Refused(Error);

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
        let mut response = problem(&self.0.problem);
        response.extensions_mut().insert(self.0.problem);
        response
    }
}

/// Returns a problem document (RFC 9457).
pub(crate) fn problem(problem: &Problem) -> Response {
    let mut response = json(
        StatusCode::from_u16(problem.code.status()).unwrap_or_default(),
        &ProblemDocument::from(problem),
    );
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    match problem.code {
        // RFC 6750 §3.1: the challenge names an error where a token was sent, and none where there was none.
        Code::Unauthenticated => {
            let challenge = match problem.field {
                Some(_) => "Bearer realm=\"crossfade\", error=\"invalid_token\"",
                None => "Bearer realm=\"crossfade\"",
            };
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        Code::Forbidden => {
            let challenge = "Bearer realm=\"crossfade\", error=\"insufficient_scope\"";
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        // RFC 9110 §15.5.16: which encodings would have been accepted.
        Code::UnsupportedEncoding => {
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        _ => {}
    }
    if let Some(seconds) = problem.retry_seconds() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Returns a JSON response.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => (status, [(header::CONTENT_TYPE, "application/json")], bytes).into_response(),
        Err(error) => {
            tracing::error!(%error, "cannot write a response");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
