//! Responses of the API: JSON with a version tag, pages with a link to the next page, and problems.

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use crossfade_app::{Error, IfMatch, Versioned};
use crossfade_core::{Code, Problem, api::Page, problem::ProblemDocument};
use serde::Serialize;

/// The result of a handler.
pub(crate) type Reply = Result<Response, Refused>;

/// A use case's error as a response.
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
        problem(&self.0.problem)
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

/// Returns 200 with a body.
pub(crate) fn ok<T: Serialize>(body: &T) -> Reply {
    Ok(json(StatusCode::OK, body))
}

/// Returns 201 with a body.
pub(crate) fn created<T: Serialize>(body: &T) -> Reply {
    Ok(json(StatusCode::CREATED, body))
}

/// Returns 204.
pub(crate) fn done(_: ()) -> Reply {
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Returns an object with the tag that `If-Match` is compared with.
pub(crate) fn tagged<T: Serialize>(reply: fn(&T) -> Reply, versioned: &Versioned<T>) -> Reply {
    reply(&versioned.object).map(|mut response| {
        if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", versioned.version)) {
            response.headers_mut().insert(header::ETAG, tag);
        }
        response
    })
}

/// The versions in `If-Match`; `None` without one, and for `*`.
pub(crate) struct Tags(Option<Vec<i64>>);

impl Tags {
    /// Returns the condition of a change.
    pub(crate) fn if_match(&self) -> IfMatch<'_> {
        self.0.as_deref().map_or(IfMatch::Any, IfMatch::AnyOf)
    }
}

/// Reads `If-Match`. Weak tags are accepted (RFC 9110 §13.1.1 would
/// compare strongly), because proxies weaken tags when they compress, and ours are version numbers. A tag that is not
/// ours matches nothing.
pub(crate) fn tags(headers: &HeaderMap) -> Tags {
    let values: Vec<&str> =
        headers.get_all(header::IF_MATCH).iter().map(|value| value.to_str().unwrap_or_default()).collect();
    if values.is_empty() || values.iter().any(|value| value.trim() == "*") {
        return Tags(None);
    }
    let tags = values.iter().flat_map(|value| value.split(',')).map(str::trim);
    let version =
        |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).strip_prefix('"')?.strip_suffix('"')?.parse().ok();
    Tags(Some(tags.filter_map(version).collect()))
}

/// Returns a page, with a link to the next one (RFC 8288).
pub(crate) fn page<T: Serialize>(uri: &Uri, page: &Page<T>) -> Reply {
    let mut response = json(StatusCode::OK, page);
    if let Some(cursor) = &page.next_cursor {
        let kept = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
            .filter(|(name, _)| name != "cursor");
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(kept)
            .append_pair("cursor", cursor)
            .finish();
        let link = format!("<{}?{query}>; rel=\"next\"", uri.path());
        if let Ok(link) = HeaderValue::from_str(&link) {
            response.headers_mut().insert(header::LINK, link);
        }
    }
    Ok(response)
}
