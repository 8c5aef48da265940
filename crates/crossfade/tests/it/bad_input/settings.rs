//! Settings out of range.

use super::snapshot;
use crate::engines::on_both_engines;
use crate::world::World;
use serde_json::json;

on_both_engines! {
    settings_out_of_range_are_refused,
}

async fn settings_out_of_range_are_refused(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let before = snapshot(&owner, &client).await;
    let long = "a".repeat(501);
    let many: Vec<String> = (0..101).map(|number| format!("s{number}")).collect();
    for (member, values) in [
        (
            "access_token_ttl_seconds",
            vec![json!(59), json!(0), json!(-1), json!(86_401), json!(i64::MAX), json!(i64::MIN)],
        ),
        ("token_endpoint_auth_methods", vec![json!([])]),
        (
            "scopes",
            vec![
                json!([""]),
                json!(["a b"]),
                json!(["a\"b"]),
                json!(["a\\b"]),
                json!(["é"]),
                json!(["a\nb"]),
                json!(["a".repeat(201)]),
                json!(many),
            ],
        ),
        ("audience", vec![json!(""), json!("a b"), json!("é"), json!("a\nb"), json!("a\"b"), json!(long)]),
    ] {
        for value in values {
            let problem = owner
                .patch(&client.path("production", ""), json!({member: value}))
                .await
                .refused(422, "invalid_body");
            assert_eq!(problem["field"], member, "{value}");
        }
    }
    for body in [
        json!({"access_token_ttl_seconds": "3600"}),
        json!({"access_token_ttl_seconds": 3600.5}),
        json!({"access_token_ttl_seconds": 1e30}),
        json!({"token_endpoint_auth_methods": ["none"]}),
        json!({"token_endpoint_auth_methods": "client_secret_basic"}),
        json!({"scopes": "read"}),
        json!({"may_introspect": "yes"}),
        json!({"enabled": 0}),
    ] {
        owner.patch(&client.path("production", ""), body).await.refused(422, "invalid_body");
    }
    for (member, values) in [
        ("wipe_after_days", vec![json!(-1), json!(3651), json!(i64::MAX)]),
        ("max_age_days", vec![json!(0), json!(-1), json!(3651)]),
        ("guard_extension_hours", vec![json!(0), json!(-1), json!(169), json!(i64::MAX)]),
        ("signing_key_rotation_days", vec![json!(0), json!(-1), json!(3651)]),
        ("position", vec![json!(-1)]),
    ] {
        for value in values {
            let problem = owner
                .patch("/environments/production", json!({member: value}))
                .await
                .refused(422, "invalid_body");
            assert_eq!(problem["field"], member, "{value}");
        }
    }
    assert_eq!(snapshot(&owner, &client).await, before);
    for good in [60, 86_400] {
        owner.patch(&client.path("production", ""), json!({"access_token_ttl_seconds": good})).await.ok();
    }
    owner
        .patch(
            "/environments/production",
            json!({"position": i64::MAX, "max_age_days": null, "wipe_after_days": 3650}),
        )
        .await
        .ok();
}
