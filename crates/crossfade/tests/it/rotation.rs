//! The rules of rotation from outside: over HTTP, on both engines, at the boundaries.

use crate::engines::on_both_engines;
use crate::world::World;
use serde_json::json;
use std::time::Duration;

on_both_engines! {
    both_secrets_work_until_the_deadline_and_the_old_one_not_at_it_rule_2,
    zero_hours_means_dead_when_the_call_returns,
    a_deadline_passes_while_the_server_is_down,
    a_leaked_secret_ends_at_once_with_its_tokens_rule_12,
    the_history_says_who_ended_or_extended_a_secret_and_why,
    a_refusal_names_the_environment_in_which_the_permission_is_lacking,
}

const HOUR: Duration = Duration::from_secs(3600);
const MICRO: Duration = Duration::from_micros(1);

async fn both_secrets_work_until_the_deadline_and_the_old_one_not_at_it_rule_2(world: World) {
    let client = world.client("Billing API", &["production"]).await;
    let owner = world.owner().await;
    let old = client.registration("production");
    let oauth = world.oauth("production");
    oauth.token(&old.client_id, &old.secret).await.is_token();

    let reply =
        owner.post(&client.path("production", "/secrets/rotate"), client.rotation(24)).await.created();
    let new = reply["secret"]["value"].as_str().unwrap();
    assert_eq!(reply["previous_secret"]["state"], "retiring");
    assert_eq!(reply["previous_secret"]["expires_at"], world.now().after(HOUR * 24).to_string());

    for secret in [&old.secret, new] {
        oauth.token(&old.client_id, secret).await.is_token();
        oauth.token_by_post(&old.client_id, secret).await.is_token();
    }
    world.advance(HOUR * 24 - Duration::from_millis(1));
    oauth.token(&old.client_id, &old.secret).await.is_token();
    world.advance(Duration::from_millis(1) - MICRO);
    oauth.token(&old.client_id, &old.secret).await.is_token();
    world.advance(MICRO);
    oauth.token(&old.client_id, &old.secret).await.is_invalid_client();
    oauth.token(&old.client_id, new).await.is_token();

    world.run_jobs().await;
    let history = owner.get(&client.path("production", "/rotations")).await.ok();
    assert_eq!(history["items"][0]["ended_as"], "expired");
    assert_eq!(history["items"][0]["outgoing_secret"]["id"], old.secret_id.as_str());
}

async fn zero_hours_means_dead_when_the_call_returns(world: World) {
    let client = world.client("Billing API", &["staging"]).await;
    let old = client.registration("staging");
    let reply = world
        .owner()
        .await
        .post(&client.path("staging", "/secrets/rotate"), client.rotation(0))
        .await
        .created();
    assert_eq!(reply["previous_secret"]["state"], "expired");
    world.oauth("staging").token(&old.client_id, &old.secret).await.is_invalid_client();
}

async fn a_deadline_passes_while_the_server_is_down(mut world: World) {
    let client = world.client("Billing API", &["production"]).await;
    let old = client.registration("production").clone();
    let reply = world
        .owner()
        .await
        .post(&client.path("production", "/secrets/rotate"), client.rotation(1))
        .await
        .created();
    world.advance(HOUR);
    world.restart().await;
    world.oauth("production").token(&old.client_id, &old.secret).await.is_invalid_client();
    world
        .oauth("production")
        .token(&old.client_id, reply["secret"]["value"].as_str().unwrap())
        .await
        .is_token();
}

async fn a_leaked_secret_ends_at_once_with_its_tokens_rule_12(world: World) {
    let client = world.client("Billing API", &["production"]).await;
    let old = client.registration("production");
    let oauth = world.oauth("production");
    let token = oauth.token(&old.client_id, &old.secret).await.is_token();
    let body = json!({"transition_hours": 0, "confirm_client_name": "Billing API", "compromised": true, "revoke_tokens": true, "reason": "found in a log"});
    let reply = world.owner().await.post(&client.path("production", "/secrets/rotate"), body).await.created();
    let new = reply["secret"]["value"].as_str().unwrap();
    assert_eq!(reply["previous_secret"]["state"], "revoked");
    assert_eq!(reply["tokens_valid_offline_until"], world.now().after(HOUR).to_string());
    oauth.token(&old.client_id, &old.secret).await.is_invalid_client();
    assert_eq!(oauth.introspect(&old.client_id, new, &token).await, json!({"active": false}));
    let fresh = oauth.token(&old.client_id, new).await.is_token();
    assert_eq!(oauth.introspect(&old.client_id, new, &fresh).await["active"], true);
}
async fn the_history_says_who_ended_or_extended_a_secret_and_why(world: World) {
    let client = world.client("Billing API", &["production", "staging"]).await;
    let owner = world.owner().await;
    let at = |rest: &str| client.path("production", rest);
    let rotate = async || owner.post(&at("/secrets/rotate"), client.rotation(24)).await.created();
    let history = async || owner.get(&at("/rotations")).await.ok()["items"].clone();

    let first = rotate().await;
    assert_eq!(history().await[0]["ended_reason"], json!(null), "nothing has ended");
    let rolled = format!("/rotations/{}/rollback", first["rotation"]["id"].as_str().unwrap());
    owner.post(&at(&rolled), json!({"reason": "callers failed"})).await.ok();
    world.advance(HOUR);
    let second = rotate().await;
    let extended = format!("/secrets/{}/extend", second["previous_secret"]["id"].as_str().unwrap());
    let later = world.now().after(HOUR * 30).to_string();
    owner.post(&at(&extended), json!({"expires_at": later, "reason": "slow team"})).await.ok();
    let revoked = format!("/secrets/{}/revoke", second["previous_secret"]["id"].as_str().unwrap());
    owner.post(&at(&revoked), json!({"reason": "everybody has moved"})).await.ok();
    world.advance(HOUR);
    rotate().await;
    world.advance(HOUR * 25);
    world.run_jobs().await;

    let told: Vec<_> = history()
        .await
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["ended_as"].clone(), it["ended_reason"].clone()))
        .collect();
    let expected = [
        ("expired", None),
        ("revoked", Some("everybody has moved")),
        ("rolled_back", Some("callers failed")),
    ];
    assert_eq!(told, expected.map(|(ended_as, reason)| (json!(ended_as), json!(reason))));
    let by: Vec<_> = history()
        .await
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["ended_by"]["name"].clone(), it["extended_by"]["name"].clone()))
        .collect();
    let (nobody, owner_name) = (json!(null), json!("owner"));
    assert_eq!(
        by,
        [(&nobody, &nobody), (&owner_name, &owner_name), (&owner_name, &nobody)]
            .map(|(a, b)| (a.clone(), b.clone()))
    );
    // A page of one has its own, and no other environment has any.
    let page = owner.get(&at("/rotations?limit=1")).await.ok();
    let next = format!("/rotations?limit=1&cursor={}", page["next_cursor"].as_str().unwrap());
    assert_eq!(owner.get(&at(&next)).await.ok()["items"][0]["ended_reason"], "everybody has moved");
    owner.post(&client.path("staging", "/secrets/rotate"), client.rotation(1)).await.created();
    let staging = owner.get(&client.path("staging", "/rotations")).await.ok();
    assert_eq!(staging["items"][0]["ended_reason"], json!(null));
}

async fn a_refusal_names_the_environment_in_which_the_permission_is_lacking(world: World) {
    let client = world.client("Billing API", &["production", "staging"]).await;
    let owner = world.owner().await;
    let user = owner.post("/users", json!({"email": "r@example.com"})).await.created();
    let grants = format!("/users/{}/grants", user["id"].as_str().unwrap());
    owner.post(&grants, json!({"role": "viewer"})).await.created();
    owner.post(&grants, json!({"role": "secret_rotator", "environments": ["staging"]})).await.created();
    let rotator = world.token_of("r@example.com", &[]).await;
    rotator.post(&client.path("staging", "/secrets/rotate"), client.rotation(1)).await.created();
    let refused = rotator
        .post(&client.path("production", "/secrets/rotate"), client.rotation(1))
        .await
        .refused(403, "forbidden");
    assert_eq!(refused["permission"], "secret:rotate");
    assert_eq!(
        refused["detail"],
        "This action requires the permission secret:rotate in the environment production. Nothing was changed."
    );
    // What is not in one environment names none.
    let refused = rotator.post("/properties", json!({"name": "Shop"})).await.refused(403, "forbidden");
    assert_eq!(
        refused["detail"],
        "This action requires the permission property:manage. Nothing was changed."
    );
}
