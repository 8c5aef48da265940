//! Malformed idempotency keys.

use crate::engines::on_both_engines;
use crate::world::World;
use http::Method;
use serde_json::json;

on_both_engines! {
    bad_idempotency_keys_are_refused,
}

async fn bad_idempotency_keys_are_refused(world: World) {
    let owner = world.owner().await;
    let long = "k".repeat(256);
    for key in ["", "\"\"", "é", "a\tb", &long] {
        let answer = owner
            .call(
                Method::POST,
                "/properties",
                Some(json!({"name": "Shop"}).to_string()),
                &[("idempotency-key", key)],
            )
            .await;
        assert_eq!(answer.refused(400, "invalid_query")["field"], "Idempotency-Key", "{key:?}");
    }
    assert!(owner.get("/properties").await.ok()["items"].as_array().unwrap().is_empty());
    let longest = "k".repeat(255);
    owner
        .call(
            Method::POST,
            "/properties",
            Some(json!({"name": "Shop"}).to_string()),
            &[("idempotency-key", &longest)],
        )
        .await
        .created();
}
