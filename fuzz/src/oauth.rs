//! The OAuth endpoints: credentials, forms, forwarded headers. Input: path and query, headers and body.

use crate::instance::{parts, with_headers, with_instance};
use axum::body::Body;
use http::Request;

/// Runs one input.
pub fn run(data: &[u8]) {
    with_instance(|instance| {
        let filled = instance.fill(data);
        let [target, headers, body] = parts::<3>(&filled);
        let target = format!("/env/production/oauth2/{}", String::from_utf8_lossy(target));
        let request = with_headers(Request::post(target), headers);
        let Ok(request) = request.body(Body::from(body.to_vec())) else { return };
        let answer = instance.send(request);
        if answer.status.is_success() {
            return;
        }
        // A refusal never repeats what was sent, and is always JSON where the endpoints are.
        let secret = instance.secret.as_bytes();
        assert!(!answer.body.windows(secret.len()).any(|window| window == secret), "a secret is repeated");
    });
}
