//! Rule 8: a retiring secret can be revoked.

use super::{HOUR, change, roll_back, rotate, rotations, text};
use crate::engines::on_both_engines;
use crate::world::World;
use serde_json::json;

on_both_engines! {
    only_a_retiring_secret_can_be_revoked_rule_8,
    a_revocation_can_end_the_tokens_of_that_secret_rule_8,
    a_plain_revocation_leaves_tokens_alone_rule_8,
}

async fn only_a_retiring_secret_can_be_revoked_rule_8(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let registration = client.registration("production");
    let oauth = world.oauth("production");
    let reason = || json!({"reason": "seen in a chat"});
    let old = &registration.secret_id;
    change(&owner, &client, old, "revoke", reason()).await.refused(409, "not_retiring");
    let reply = rotate(&owner, &client, client.rotation(24)).await.created();
    for body in [json!({}), json!({"reason": null}), json!({"reason": ""}), json!({"reason": " \t"})] {
        let problem = change(&owner, &client, old, "revoke", body.clone()).await.refused(422, "invalid_body");
        assert_eq!(problem["field"], "reason", "{body}");
    }
    change(&owner, &client, text(&reply["secret"]["id"]), "revoke", reason())
        .await
        .refused(409, "not_retiring");
    oauth.token(&registration.client_id, &registration.secret).await.is_token();

    world.advance(HOUR);
    let revoked = change(&owner, &client, old, "revoke", reason()).await.ok();
    assert_eq!(
        (text(&revoked["secret"]["state"]), text(&revoked["secret"]["revoked_at"])),
        ("revoked", &*world.now().to_string())
    );
    oauth.token(&registration.client_id, &registration.secret).await.is_invalid_client();
    oauth.token(&registration.client_id, text(&reply["secret"]["value"])).await.is_token();
    change(&owner, &client, old, "revoke", reason()).await.refused(409, "not_retiring");
    let history = rotations(&owner, &client).await;
    assert_eq!(history[0]["ended_as"], "revoked");
    assert_eq!(history[0]["outgoing_secret"]["ended_at"], world.now().to_string());
    roll_back(&owner, &client, &history[0]["id"], reason()).await.refused(409, "not_retiring");
    change(
        &owner,
        &client,
        old,
        "extend",
        json!({"reason": "x", "expires_at": world.now().after(HOUR).to_string()}),
    )
    .await
    .refused(409, "not_retiring");
}

async fn a_revocation_can_end_the_tokens_of_that_secret_rule_8(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let registration = client.registration("production");
    let oauth = world.oauth("production");
    let reply = rotate(&owner, &client, client.rotation(24)).await.created();
    let new = text(&reply["secret"]["value"]);
    let old_token = oauth.token(&registration.client_id, &registration.secret).await.is_token();
    let new_token = oauth.token(&registration.client_id, new).await.is_token();
    let body = json!({"reason": "leaked", "compromised": true, "revoke_tokens": true});
    let revoked = change(&owner, &client, &registration.secret_id, "revoke", body).await.ok();
    assert_eq!(revoked["tokens_valid_offline_until"], world.now().after(HOUR).to_string());
    assert_eq!(oauth.introspect(&registration.client_id, new, &old_token).await, json!({"active": false}));
    assert_eq!(oauth.introspect(&registration.client_id, new, &new_token).await["active"], true);
}

async fn a_plain_revocation_leaves_tokens_alone_rule_8(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let registration = client.registration("production");
    let oauth = world.oauth("production");
    let token = oauth.token(&registration.client_id, &registration.secret).await.is_token();
    let reply = rotate(&owner, &client, client.rotation(24)).await.created();
    change(&owner, &client, &registration.secret_id, "revoke", json!({"reason": "done"})).await.ok();
    assert_eq!(
        oauth.introspect(&registration.client_id, text(&reply["secret"]["value"]), &token).await["active"],
        true
    );
}
