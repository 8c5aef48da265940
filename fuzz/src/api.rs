//! The admin API with the token of an Owner: paths, queries, preconditions and JSON. Input: method and path, headers and
//! body.

use crate::instance::{method, parts, with_headers, with_instance};
use axum::body::Body;
use http::Request;

/// Runs one input.
pub fn run(data: &[u8]) {
    with_instance(|instance| {
        let filled = instance.fill(data);
        let [target, headers, body] = parts::<3>(&filled);
        let Some((first, path)) = target.split_first() else { return };
        let path = format!("/api/v1/{}", String::from_utf8_lossy(path));
        let request = Request::builder().method(method(*first)).uri(path);
        let request = with_headers(request, headers)
            .header("authorization", format!("Bearer {}", instance.token))
            .header("content-type", "application/json");
        let Ok(request) = request.body(Body::from(body.to_vec())) else { return };
        let answer = instance.send(request);
        if answer.status.is_client_error() {
            let text: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(text["status"].as_u64(), Some(answer.status.as_u16().into()), "{text}");
        }
    });
}
