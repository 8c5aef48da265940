//! Rule 8: the latest rotation can be rolled back.

use super::{DAY, HOUR, MICRO, MINUTE, change, ended_as, roll_back, rotate, rotations, states, text, with};
use crate::engines::on_both_engines;
use crate::world::World;
use serde_json::{Value, json};

on_both_engines! {
    rolling_back_makes_the_old_secret_current_and_revokes_the_new_one_rule_8,
    a_newer_secret_in_use_is_rolled_back_only_when_that_is_acknowledged_rule_8,
    only_the_latest_rotation_can_be_rolled_back_and_only_while_it_retires_rule_8,
    a_rollback_is_possible_until_the_last_microsecond_rule_8,
}

async fn rolling_back_makes_the_old_secret_current_and_revokes_the_new_one_rule_8(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let registration = client.registration("production");
    let oauth = world.oauth("production");
    let reply = rotate(&owner, &client, client.rotation(24)).await.created();
    let (id, new) = (&reply["rotation"]["id"], text(&reply["secret"]["value"]));
    for body in [json!({}), json!({"reason": ""})] {
        let problem = roll_back(&owner, &client, id, body).await.refused(422, "invalid_body");
        assert_eq!(problem["field"], "reason");
    }
    world.advance(HOUR);
    let back = roll_back(&owner, &client, id, json!({"reason": "the deploy failed"})).await.ok();
    assert_eq!(
        (text(&back["secret"]["id"]), text(&back["secret"]["state"]), &back["secret"]["expires_at"]),
        (&*registration.secret_id, "current", &Value::Null)
    );
    oauth.token(&registration.client_id, new).await.is_invalid_client();
    world.advance(DAY * 30);
    oauth.token(&registration.client_id, &registration.secret).await.is_token();
    assert_eq!(states(&owner, &client).await, ["revoked", "current"]);
    let history = rotations(&owner, &client).await;
    assert_eq!(
        (text(&history[0]["ended_as"]), &history[0]["outgoing_secret"]["expires_at"]),
        ("rolled_back", &Value::Null)
    );
    roll_back(&owner, &client, id, json!({"reason": "twice"})).await.refused(409, "not_retiring");

    // The same secret retires a second time: the first rotation's record stays as it is.
    rotate(&owner, &client, client.rotation(24)).await.created();
    change(&owner, &client, &registration.secret_id, "revoke", json!({"reason": "done"})).await.ok();
    assert_eq!(ended_as(&owner, &client).await, ["revoked", "rolled_back"]);
}

async fn a_newer_secret_in_use_is_rolled_back_only_when_that_is_acknowledged_rule_8(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let registration = client.registration("production");
    let oauth = world.oauth("production");
    let reply = rotate(&owner, &client, client.rotation(24)).await.created();
    let (id, new) = (&reply["rotation"]["id"], text(&reply["secret"]["value"]));
    let token = oauth.token(&registration.client_id, new).await.is_token();
    let used_at = world.now().to_string();
    world.advance(MINUTE);
    let problem =
        roll_back(&owner, &client, id, json!({"reason": "x"})).await.refused(409, "newer_secret_in_use");
    assert_eq!(problem["newer_secret"], json!({"id": reply["secret"]["id"], "last_used_at": used_at}));
    roll_back(&owner, &client, id, json!({"reason": "x", "acknowledge_in_use": false}))
        .await
        .refused(409, "newer_secret_in_use");
    oauth.token(&registration.client_id, new).await.is_token();
    let body = json!({"reason": "x", "acknowledge_in_use": true, "compromised": true, "revoke_tokens": true});
    let back = roll_back(&owner, &client, id, body).await.ok();
    assert_eq!(back["tokens_valid_offline_until"], world.now().after(HOUR).to_string());
    oauth.token(&registration.client_id, new).await.is_invalid_client();
    assert_eq!(
        oauth.introspect(&registration.client_id, &registration.secret, &token).await,
        json!({"active": false})
    );
}

async fn only_the_latest_rotation_can_be_rolled_back_and_only_while_it_retires_rule_8(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let first = rotate(&owner, &client, client.rotation(24)).await.created();
    let body = with(client.rotation(24), json!({"end_running_transition": true}));
    let second = rotate(&owner, &client, body).await.created();
    let reason = || json!({"reason": "x", "acknowledge_in_use": true});
    roll_back(&owner, &client, &first["rotation"]["id"], reason()).await.refused(409, "not_retiring");
    world.advance(HOUR * 24);
    roll_back(&owner, &client, &second["rotation"]["id"], reason()).await.refused(409, "not_retiring");
    let emergency = with(client.rotation(0), json!({"compromised": true}));
    let third = rotate(&owner, &client, emergency).await.created();
    roll_back(&owner, &client, &third["rotation"]["id"], reason()).await.refused(409, "not_retiring");
    assert_eq!(states(&owner, &client).await, ["current", "revoked", "expired", "revoked"]);
}

async fn a_rollback_is_possible_until_the_last_microsecond_rule_8(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let reply = rotate(&owner, &client, client.rotation(1)).await.created();
    world.advance(HOUR - MICRO);
    roll_back(&owner, &client, &reply["rotation"]["id"], json!({"reason": "x"})).await.ok();
}
