//! Headers of every response. This is the only place that adds them: it wraps the router, and responses that HTTP gives
//! before there is a request (`crossfade`'s connections) use the same list.

use crate::{Unread, Web, source::peer};
use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use std::sync::Arc;

/// Default headers: no script runs in the response, no page frames it, and it is not treated as another type, stored,
/// or read by a page of another site.
const DEFAULTS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
];

/// One year, only for this host, because its subdomains may belong to others.
const TRANSPORT: (HeaderName, &str) = (header::STRICT_TRANSPORT_SECURITY, "max-age=31536000");

/// Returns the default headers of a server with this URL.
fn of(public_url: &str) -> impl Iterator<Item = (HeaderName, &'static str)> {
    let is_https = public_url.starts_with("https://");
    DEFAULTS.into_iter().chain(is_https.then_some(TRANSPORT))
}

/// Returns the default headers of a server with this URL as a list.
pub(crate) fn defaults(public_url: &str) -> HeaderMap {
    of(public_url).map(|(name, value)| (name, HeaderValue::from_static(value))).collect()
}

/// Returns header lines for responses without a request, to input that cannot be read as HTTP.
pub fn headers_of_unreadable_requests(public_url: &str) -> String {
    of(public_url).map(|(name, value)| format!("{name}: {value}\r\n")).collect()
}

/// Responds to a request that is refused unread, and adds missing default headers to every response.
pub(crate) async fn complete(
    State((web, url)): State<(Web, Arc<str>)>,
    request: Request,
    next: Next,
) -> Response {
    let refused = request.extensions().get::<Unread>().copied();
    let mut response = match refused.or_else(|| web.transport.refuses(&request, &url)) {
        Some(refused) => {
            if refused == Unread::PlainHttp {
                let from = peer(request.extensions());
                tracing::warn!(%from, "refused a request over plain HTTP");
            }
            refused.into_response()
        }
        None => next.run(request).await,
    };
    let headers = response.headers_mut();
    for (name, value) in of(&url) {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Responds to a method that a path does not support (RFC 9110 §15.5.6). The router adds the `Allow` header.
pub(crate) async fn method_not_allowed() -> Response {
    let text = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    let sentence =
        "This resource does not support the HTTP method. The Allow header lists the supported methods.\n";
    (StatusCode::METHOD_NOT_ALLOWED, text, sentence).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_under_https_asks_for_https_alone() {
        let (plain, secure) =
            (headers_of_unreadable_requests("http://a"), headers_of_unreadable_requests("https://a"));
        assert_eq!(secure.strip_prefix(&plain), Some("strict-transport-security: max-age=31536000\r\n"));
        assert!(plain.contains("x-content-type-options: nosniff\r\n") && plain.ends_with("\r\n"), "{plain}");
    }
}
