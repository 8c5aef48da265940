//! Rule 16: every failed authentication looks the same.

use super::rotate;
use crate::engines::on_both_engines;
use crate::world::{Answer, World};
use serde_json::json;

on_both_engines! {
    every_failed_authentication_looks_the_same_rule_16,
}

async fn every_failed_authentication_looks_the_same_rule_16(world: World) {
    let client = world.client("Billing", &["production", "staging"]).await;
    let off = world.client("Off", &["production"]).await;
    let post_only = world.client("Post", &["production"]).await;
    let deleted = world.client("Deleted", &["production"]).await;
    let owner = world.owner().await;
    owner
        .patch(&off.path("production", ""), json!({"enabled": false, "confirm_client_name": "Off"}))
        .await
        .ok();
    owner
        .patch(
            &post_only.path("production", ""),
            json!({"token_endpoint_auth_methods": ["client_secret_post"]}),
        )
        .await
        .ok();
    owner
        .delete(&format!("/clients/{}", deleted.id), json!({"confirm_client_name": "Deleted", "reason": "x"}))
        .await;
    let reply = rotate(&owner, &client, client.rotation(0)).await.created();
    let mut mistyped = reply["secret"]["value"].as_str().unwrap().to_owned();
    let last = if mistyped.ends_with('0') { "1" } else { "0" };
    mistyped.replace_range(mistyped.len() - 1.., last);
    let id = &client.registration("production").client_id;
    let ended = &client.registration("production").secret;
    let pairs = [
        ("unknown", "0000000000000000000000", ended.as_str()),
        ("wrong", id, &client.registration("staging").secret),
        ("ended", id, ended),
        ("wrong checksum", id, &mistyped),
        ("no secret of ours", id, "x"),
        ("empty", id, ""),
        ("disabled", &off.registration("production").client_id, &off.registration("production").secret),
        (
            "wrong method",
            &post_only.registration("production").client_id,
            &post_only.registration("production").secret,
        ),
        (
            "deleted",
            &deleted.registration("production").client_id,
            &deleted.registration("production").secret,
        ),
        (
            "other environment",
            &client.registration("staging").client_id,
            &client.registration("staging").secret,
        ),
    ];
    let oauth = world.oauth("production");
    let head = |answer: &Answer| {
        let mut head: Vec<_> =
            answer.headers.iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
        head.sort();
        (answer.status, head, answer.bytes.clone())
    };
    let expected = head(&oauth.token("nobody", "nothing").await);
    assert_eq!(expected.0.as_u16(), 401);
    for (what, client_id, secret) in pairs {
        for endpoint in ["token", "introspect", "revoke"] {
            let form = [("grant_type", "client_credentials"), ("token", "x")];
            assert_eq!(
                head(&oauth.basic(endpoint, client_id, secret, &form).await),
                expected,
                "{what} at {endpoint}"
            );
        }
        if what != "wrong method" {
            assert_eq!(head(&oauth.token_by_post(client_id, secret).await), expected, "{what} by post");
        }
    }
    world.run_jobs().await;
    let reasons = world.number("SELECT COUNT(DISTINCT reason) FROM authentication_failures").await;
    assert!(reasons >= 5, "what the caller cannot tell apart is told apart inside: {reasons}");
}
