//! Rule 15: stored values of secrets are revealed, shown once, and wiped.

use super::{DAY, MICRO, change, items, rotate, secrets, text, with};
use crate::engines::on_both_engines;
use crate::world::World;
use http::Method;
use serde_json::{Value, json};

on_both_engines! {
    a_value_can_be_seen_again_and_each_time_is_written_down_rule_15,
    an_environment_can_show_secrets_once_rule_15,
    stored_values_are_wiped_some_days_after_the_end_rule_15,
}

async fn a_value_can_be_seen_again_and_each_time_is_written_down_rule_15(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let registration = client.registration("production");
    let path = client.path("production", &format!("/secrets/{}/reveal", registration.secret_id));
    for (body, reason) in [
        (None, Value::Null),
        (Some(json!({})), Value::Null),
        (Some(json!({"reason": "new server"})), json!("new server")),
    ] {
        let answer = owner.call(Method::POST, &path, body.map(|body| body.to_string()), &[]).await;
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.ok(), json!({"id": registration.secret_id, "value": registration.secret}));
        let event = items(&owner, "/audit-events?action=secret.revealed&limit=1").await[0].clone();
        assert_eq!(
            (&event["reason"], &event["target"], &event["client_id"]),
            (&reason, &json!(registration.secret_id), &json!(client.id))
        );
    }
    assert_eq!(items(&owner, "/audit-events?action=secret.revealed").await.len(), 3);
    for list in ["/secrets", "/rotations", "/usage", ""] {
        let answer = owner.get(&client.path("production", list)).await;
        assert!(!String::from_utf8(answer.bytes).unwrap().contains(&registration.secret), "{list}");
    }
}

async fn an_environment_can_show_secrets_once_rule_15(world: World) {
    let client = world.client("Billing", &["production", "staging"]).await;
    let owner = world.owner().await;
    let registration = client.registration("production");
    let once = json!({"show_once": true, "confirm_environment_slug": "production"});
    owner.patch("/environments/production", once).await.ok();
    change(&owner, &client, &registration.secret_id, "reveal", json!({}))
        .await
        .refused(409, "secret_not_stored");
    let reply = rotate(&owner, &client, client.rotation(24)).await.created();
    let new = text(&reply["secret"]["value"]);
    change(&owner, &client, text(&reply["secret"]["id"]), "reveal", json!({}))
        .await
        .refused(409, "secret_not_stored");
    assert!(secrets(&owner, &client).await.iter().all(|secret| secret["stored"] == false));
    // Verification never uses the stored value.
    for secret in [&registration.secret, new] {
        world.oauth("production").token(&registration.client_id, secret).await.is_token();
    }
    let staging = client.registration("staging");
    let path = client.path("staging", &format!("/secrets/{}/reveal", staging.secret_id));
    assert_eq!(
        owner.post(&path, json!({})).await.ok()["value"],
        staging.secret.as_str(),
        "other environments are left alone"
    );
    owner.patch("/environments/production", json!({"show_once": false})).await.ok();
    change(&owner, &client, text(&reply["secret"]["id"]), "reveal", json!({}))
        .await
        .refused(409, "secret_not_stored");
}

async fn stored_values_are_wiped_some_days_after_the_end_rule_15(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let registration = client.registration("production");
    let reply = rotate(&owner, &client, client.rotation(24)).await.created();
    let reveal = async |id: &str| change(&owner, &client, id, "reveal", json!({})).await;
    world.advance(DAY * 31 - MICRO);
    world.run_jobs().await;
    reveal(&registration.secret_id).await.ok();
    world.advance(MICRO);
    world.run_jobs().await;
    reveal(&registration.secret_id).await.refused(409, "secret_not_stored");
    reveal(text(&reply["secret"]["id"])).await.ok();
    let wiped = items(&owner, "/audit-events?action=secret.wiped").await;
    assert_eq!(
        (wiped.len(), &wiped[0]["actor"]["kind"], &wiped[0]["target"]),
        (1, &json!("policy"), &json!(registration.secret_id))
    );
    owner
        .patch(
            "/environments/production",
            json!({"wipe_after_days": 0, "confirm_environment_slug": "production"}),
        )
        .await
        .ok();
    let body = with(client.rotation(0), json!({"compromised": true}));
    rotate(&owner, &client, body).await.created();
    world.run_jobs().await;
    reveal(text(&reply["secret"]["id"])).await.refused(409, "secret_not_stored");
}
