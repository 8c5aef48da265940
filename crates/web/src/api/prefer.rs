//! The preference of a caller who does not wait for other nodes (RFC 7240).

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};

const PREFER: HeaderName = HeaderName::from_static("prefer");
const APPLIED: HeaderName = HeaderName::from_static("preference-applied");
const RESPOND_ASYNC: &str = "respond-async";

/// Whether the caller prefers a response that does not wait (RFC 7240 §4.1).
pub(super) fn responds_async(headers: &HeaderMap) -> bool {
    let values = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    // A preference can have parameters, which this one does not need.
    let mut names = values.flat_map(|value| value.split(',')).filter_map(|one| one.split(';').next());
    names.any(|name| name.trim().eq_ignore_ascii_case(RESPOND_ASYNC))
}

/// Says in the response to a change that did not wait that this is why (RFC 7240 §3).
pub(super) async fn tell(request: Request, next: Next) -> Response {
    let applies = !request.method().is_safe() && responds_async(request.headers());
    let mut response = next.run(request).await;
    if applies && response.status().is_success() {
        response.headers_mut().insert(APPLIED, HeaderValue::from_static(RESPOND_ASYNC));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preference_is_found_among_others_rfc7240_2() {
        let prefers = |values: &[&'static str]| {
            let pairs = values.iter().map(|value| (PREFER, HeaderValue::from_static(value)));
            responds_async(&pairs.collect())
        };
        for values in [
            &["respond-async"][..],
            &["Respond-Async"],
            &["wait=10, respond-async"],
            &["return=minimal", "respond-async; foo=\"bar\""],
        ] {
            assert!(prefers(values), "{values:?}");
        }
        for values in [&[][..], &["wait=10"], &["respond-asynchronously"], &["return=respond-async"]] {
            assert!(!prefers(values), "{values:?}");
        }
    }
}
