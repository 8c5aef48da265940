//! Rule 12: an emergency rotation ends every compromised secret and its tokens.

use super::{HOUR, ended_as, rotate, rotations, text, with};
use crate::engines::on_both_engines;
use crate::world::World;
use serde_json::json;

on_both_engines! {
    an_emergency_ends_a_running_transition_too_rule_12,
    an_emergency_ends_only_the_tokens_of_the_compromised_secrets_rule_12,
    ended_tokens_stay_ended_after_a_restart_rule_12,
}

async fn an_emergency_ends_a_running_transition_too_rule_12(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let registration = client.registration("production");
    let oauth = world.oauth("production");
    let oldest_token = oauth.token(&registration.client_id, &registration.secret).await.is_token();
    let first = rotate(&owner, &client, client.rotation(24)).await.created();
    let leaked = text(&first["secret"]["value"]);
    let leaked_token = oauth.token(&registration.client_id, leaked).await.is_token();
    for hours in [1, 24, 168] {
        let body = with(client.rotation(hours), json!({"compromised": true}));
        let problem = rotate(&owner, &client, body).await.refused(422, "compromised_needs_zero");
        assert_eq!(problem["field"], "transition_hours");
    }
    oauth.token(&registration.client_id, leaked).await.is_token();

    let body =
        with(client.rotation(0), json!({"compromised": true, "revoke_tokens": true, "reason": "leaked"}));
    let second = rotate(&owner, &client, body).await.created();
    let new = text(&second["secret"]["value"]);
    for dead in [leaked, &registration.secret] {
        oauth.token(&registration.client_id, dead).await.is_invalid_client();
    }
    for dead in [&oldest_token, &leaked_token] {
        assert_eq!(oauth.introspect(&registration.client_id, new, dead).await, json!({"active": false}));
    }
    assert_eq!(second["tokens_valid_offline_until"], world.now().after(HOUR).to_string());
    let history = rotations(&owner, &client).await;
    assert_eq!((&history[0]["compromised"], &history[1]["compromised"]), (&json!(true), &json!(false)));
    assert_eq!(ended_as(&owner, &client).await, ["revoked", "superseded"]);
}

async fn an_emergency_ends_only_the_tokens_of_the_compromised_secrets_rule_12(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let other = world.client("Other", &["production"]).await;
    let owner = world.owner().await;
    let (registration, bystander) = (client.registration("production"), other.registration("production"));
    let oauth = world.oauth("production");
    let old_token = oauth.token(&registration.client_id, &registration.secret).await.is_token();
    let others_token = oauth.token(&bystander.client_id, &bystander.secret).await.is_token();
    let second = rotate(&owner, &client, client.rotation(0)).await.created();
    let middle = oauth.token(&registration.client_id, text(&second["secret"]["value"])).await.is_token();
    let body = with(client.rotation(0), json!({"compromised": true, "revoke_tokens": true}));
    let third = rotate(&owner, &client, body).await.created();
    let new = text(&third["secret"]["value"]);
    assert_eq!(oauth.introspect(&registration.client_id, new, &middle).await, json!({"active": false}));
    assert_eq!(
        oauth.introspect(&registration.client_id, new, &old_token).await["active"],
        true,
        "of a secret that was not compromised"
    );
    assert_eq!(
        oauth.introspect(&bystander.client_id, &bystander.secret, &others_token).await["active"],
        true
    );
}

async fn ended_tokens_stay_ended_after_a_restart_rule_12(mut world: World) {
    let client = world.client("Billing", &["production"]).await;
    let registration = client.registration("production").clone();
    let token =
        world.oauth("production").token(&registration.client_id, &registration.secret).await.is_token();
    let body = with(client.rotation(0), json!({"compromised": true, "revoke_tokens": true}));
    let reply = rotate(&world.owner().await, &client, body).await.created();
    world.restart().await;
    world.run_jobs().await;
    let oauth = world.oauth("production");
    oauth.token(&registration.client_id, &registration.secret).await.is_invalid_client();
    assert_eq!(
        oauth.introspect(&registration.client_id, text(&reply["secret"]["value"]), &token).await,
        json!({"active": false})
    );
}
