//! Responses of the API: JSON with a version tag, and pages with a link to the next page.

use crate::reply::{Reply, json};
use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::IntoResponse,
};
use crossfade_app::{IfMatch, Versioned};
use crossfade_core::api::Page;
use serde::Serialize;

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
