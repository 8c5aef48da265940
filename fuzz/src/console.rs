//! The Console: paths, queries, cookies and forms, by a stranger and by an Owner who is signed in. Input: method and
//! path, headers and body.

use crate::instance::{method, parts, with_headers, with_instance};
use axum::body::Body;
use http::Request;

/// Runs one input.
pub fn run(data: &[u8]) {
    with_instance(|instance| {
        let filled = instance.fill(data);
        let [target, headers, body] = parts::<3>(&filled);
        let Some((first, path)) = target.split_first() else { return };
        let path = format!("/console{}", String::from_utf8_lossy(path));
        let request = with_headers(Request::builder().method(method(*first)).uri(path), headers);
        let Ok(request) = request.body(Body::from(body.to_vec())) else { return };
        let is_signed_in = request.headers().contains_key("cookie");
        let answer = instance.send(request);
        let header = |name: &str| answer.headers.get(name).map(|value| value.as_bytes());
        let is_asset = header("cache-control") != Some(&b"no-store"[..]);
        assert!(is_asset || header("x-frame-options") == Some(&b"DENY"[..]), "{:?}", answer.headers);
        // What a stranger gets names nothing of the instance.
        let names = |text: &str| answer.body.windows(text.len()).any(|window| window == text.as_bytes());
        assert!(is_signed_in || !(names(&instance.secret) || names("Billing")), "a stranger reads a name");
    });
}
