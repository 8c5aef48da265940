//! Rule 13: a routine rotation changes nothing but the secret.

use super::{MINUTE, rotate, secrets, text};
use crate::engines::on_both_engines;
use crate::world::World;
use serde_json::{Value, json};

on_both_engines! {
    routine_rotation_touches_neither_tokens_nor_identity_nor_counters_rule_13,
}

async fn routine_rotation_touches_neither_tokens_nor_identity_nor_counters_rule_13(world: World) {
    let client = world.client("Billing", &["production", "staging"]).await;
    let owner = world.owner().await;
    let registration = client.registration("production");
    let oauth = world.oauth("production");
    let token = oauth.token(&registration.client_id, &registration.secret).await.is_token();
    let settings = |mut shown: Value| {
        // When the next rotation is due is the one thing that a rotation is meant to move.
        shown.as_object_mut().unwrap().remove("rotation_due_at");
        shown
    };
    let before = settings(owner.get(&client.path("production", "")).await.ok());
    world.advance(MINUTE);
    let reply = rotate(&owner, &client, client.rotation(0)).await.created();
    assert_eq!(reply.get("tokens_valid_offline_until"), None);
    assert_eq!(settings(owner.get(&client.path("production", "")).await.ok()), before);
    assert_eq!(
        oauth.introspect(&registration.client_id, text(&reply["secret"]["value"]), &token).await["active"],
        true
    );
    let old = secrets(&owner, &client).await[1].clone();
    assert_eq!((&old["use_count"], text(&old["id"])), (&json!(1), &*registration.secret_id));
    let staging = client.registration("staging");
    world.oauth("staging").token(&staging.client_id, &staging.secret).await.is_token();
}
