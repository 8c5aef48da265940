//! The size and the encoding of bodies.

use super::send;
use crate::engines::on_both_engines;
use crate::world::{Principal, World};
use http::Method;
use serde_json::json;

on_both_engines! {
    a_body_has_at_most_64_kib,
    a_body_with_an_encoding_is_415_before_authentication,
}

async fn a_body_has_at_most_64_kib(world: World) {
    let owner = world.owner().await;
    let padded = |length: usize| {
        let body = json!({"name": "Shop"}).to_string();
        format!("{body}{}", " ".repeat(length - body.len()))
    };
    send(&owner, &Method::POST, "/properties", &padded(65_537)).await.refused(413, "body_too_large");
    send(&owner, &Method::POST, "/properties", &padded(10_000_000)).await.refused(413, "body_too_large");
    assert!(owner.get("/properties").await.ok()["items"].as_array().unwrap().is_empty());
    send(&owner, &Method::POST, "/properties", &padded(65_536)).await.created();
    let request = world.anonymous();
    send(&request, &Method::POST, "/properties", &padded(65_537)).await.refused(401, "unauthenticated");
}

async fn a_body_with_an_encoding_is_415_before_authentication(world: World) {
    for authorization in ["Bearer nobody", &format!("Bearer {}", world.owner().await.token.unwrap())] {
        let principal = Principal { world: &world, token: None };
        let headers = [("authorization", authorization), ("content-encoding", "gzip")];
        let answer =
            principal.call(Method::POST, "/properties", Some("\u{1f}\u{8b}".to_owned()), &headers).await;
        assert_eq!(answer.header("accept-encoding"), Some("identity"));
        answer.refused(415, "unsupported_encoding");
    }
    let identity = [("content-encoding", "identity")];
    let named = Some(json!({"name": "Shop"}).to_string());
    world.owner().await.call(Method::POST, "/properties", named, &identity).await.created();
    let browser = world.signed_in().await;
    let answer =
        browser.post_with("/console/properties", &[("name", "Bank")], &[("content-encoding", "gzip")]).await;
    answer.page(415);
}
