//! Rule 7: a repeated `Idempotency-Key` never rotates again.

use super::{MICRO, MINUTE, change, items, rotate, rotate_keyed, rotations, storm, text};
use crate::engines::on_both_engines;
use crate::world::{Answer, Principal, World};
use http::Method;
use serde_json::{Value, json};
use std::{collections::HashSet, sync::Arc};

on_both_engines! {
    a_repeated_key_never_rotates_again_rule_7,
    a_key_belongs_to_one_caller_and_one_request_rule_7,
    a_replay_is_audited_as_a_reveal_of_that_client_s_secret_rule_7,
    a_refusal_is_not_remembered_rule_7,
    a_replay_is_authorised_again_rule_7,
    a_replay_gives_the_value_only_to_who_may_still_see_it_rule_7,
    a_replay_survives_a_restart_rule_7,
    other_changes_are_idempotent_too_rule_7,
    a_repeated_creation_is_authorised_again_at_its_place_rule_7,
}

on_both_engines! {
    in parallel:
    parallel_requests_with_one_key_rotate_once_rule_7,
}

/// Returns what every response to the same request has. Since when the change is in force is said anew.
fn same(answer: Answer) -> Value {
    let mut reply = answer.created();
    assert!(reply.as_object_mut().unwrap().remove("enforced").is_some_and(|enforced| enforced.is_object()));
    reply
}

async fn a_repeated_key_never_rotates_again_rule_7(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let body = client.rotation(24);
    let first = same(rotate_keyed(&owner, &client, &body, "k-1").await);
    let replay = rotate_keyed(&owner, &client, &body, "k-1").await;
    assert_eq!(replay.header("cache-control"), Some("no-store"));
    assert_eq!(same(replay), first, "bare");
    assert_eq!(same(rotate_keyed(&owner, &client, &body, "\"k-1\"").await), first, "quoted");

    world.advance(MINUTE * 10 - MICRO);
    assert_eq!(same(rotate_keyed(&owner, &client, &body, "k-1").await), first, "just within ten minutes");
    world.advance(MICRO);
    let late = rotate_keyed(&owner, &client, &body, "k-1").await.created();
    assert_eq!((&late["secret_already_delivered"], &late["secret"]["value"]), (&json!(true), &Value::Null));
    assert_eq!((&late["rotation"], &late["secret"]["id"]), (&first["rotation"], &first["secret"]["id"]));
    world.run_jobs().await;
    let later = rotate_keyed(&owner, &client, &body, "k-1").await.created();
    assert_eq!(later, late, "tidying changes nothing");

    let problem =
        rotate_keyed(&owner, &client, &client.rotation(1), "k-1").await.refused(422, "idempotency_mismatch");
    assert_eq!(problem["field"], "Idempotency-Key");
    let elsewhere =
        change(&owner, &client, text(&first["previous_secret"]["id"]), "revoke", json!({"reason": "x"}))
            .await;
    elsewhere.ok();
    assert_eq!(rotations(&owner, &client).await.len(), 1);
}

async fn a_key_belongs_to_one_caller_and_one_request_rule_7(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let other = world.client("Other", &["production"]).await;
    let owner = world.owner().await;
    let bob = world.user("bob@example.com", "owner").await;
    let body = client.rotation(0);
    let first = rotate_keyed(&owner, &client, &body, "shared").await.created();
    let bobs = rotate_keyed(&bob, &client, &body, "shared").await.created();
    assert_ne!(first["secret"]["id"], bobs["secret"]["id"], "another caller's key is another key");
    assert_eq!(rotations(&owner, &client).await.len(), 2);
    rotate_keyed(&owner, &other, &other.rotation(0), "shared").await.refused(422, "idempotency_mismatch");
    assert!(rotations(&owner, &other).await.is_empty());
}

async fn a_replay_is_audited_as_a_reveal_of_that_client_s_secret_rule_7(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let body = client.rotation(24);
    rotate_keyed(&owner, &client, &body, "k").await.created();
    assert!(items(&owner, "/audit-events?action=secret.revealed").await.is_empty());
    rotate_keyed(&owner, &client, &body, "k").await.created();
    let reveals = items(&owner, "/audit-events?action=secret.revealed").await;
    assert_eq!(reveals.len(), 1);
    world.advance(MINUTE * 10);
    rotate_keyed(&owner, &client, &body, "k").await.created();
    assert_eq!(items(&owner, "/audit-events?action=secret.revealed").await.len(), 1, "nothing was shown");
    // Rule 15: each reveal is audited. An auditor asks whose secret was shown.
    assert_eq!(
        (&reveals[0]["client_id"], &reveals[0]["environment"]),
        (&json!(client.id), &json!("production")),
        "{}",
        reveals[0]
    );
}

async fn a_refusal_is_not_remembered_rule_7(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let running = rotate(&owner, &client, client.rotation(24)).await.created();
    let body = client.rotation(24);
    rotate_keyed(&owner, &client, &body, "again").await.refused(409, "transition_in_progress");
    change(&owner, &client, text(&running["previous_secret"]["id"]), "revoke", json!({"reason": "done"}))
        .await
        .ok();
    rotate_keyed(&owner, &client, &body, "again").await.created();
    assert_eq!(rotations(&owner, &client).await.len(), 2);
}

async fn a_replay_is_authorised_again_rule_7(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let bob = world.user("bob@example.com", "secret_rotator").await;
    let body = client.rotation(24);
    rotate_keyed(&bob, &client, &body, "k").await.created();
    world.raw("UPDATE grants SET role = 'viewer' WHERE role = 'secret_rotator'").await;
    rotate_keyed(&bob, &client, &body, "k").await.refused(403, "forbidden");
    world.raw("DELETE FROM grants WHERE role = 'viewer'").await;
    rotate_keyed(&bob, &client, &body, "k").await.refused(404, "not_found");
    assert_eq!(rotations(&owner, &client).await.len(), 1);
}

async fn a_replay_gives_the_value_only_to_who_may_still_see_it_rule_7(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let body = client.rotation(24);
    rotate_keyed(&owner, &client, &body, "k").await.created();
    // The same actor with a lesser token: a token holds at most what it is limited to.
    let lesser = world.token_of(crate::world::OWNER, &["secret:rotate", "client:read"]).await;
    let replay = rotate_keyed(&lesser, &client, &body, "k").await.created();
    assert_eq!(replay["secret"]["value"], Value::Null);
}

async fn a_replay_survives_a_restart_rule_7(mut world: World) {
    let client = world.client("Billing", &["production"]).await;
    let body = client.rotation(24);
    let owner = world.owner().await;
    let (token, first) = (owner.token.clone(), same(rotate_keyed(&owner, &client, &body, "k").await));
    world.restart().await;
    let owner = Principal { world: &world, token };
    assert_eq!(same(rotate_keyed(&owner, &client, &body, "k").await), first);
    assert_eq!(rotations(&owner, &client).await.len(), 1);
}

async fn other_changes_are_idempotent_too_rule_7(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let property = owner.get(&format!("/clients/{}", client.id)).await.ok()["property_id"].clone();
    let body = json!({"name": "Second", "property_id": property, "environments": ["staging"]}).to_string();
    let create =
        async || owner.call(Method::POST, "/clients", Some(body.clone()), &[("idempotency-key", "c")]).await;
    let first = create().await.created();
    assert_eq!(create().await.created(), first);
    let path = format!("/clients/{}", text(&first["id"]));
    let delete = json!({"confirm_client_name": "Second", "reason": "mistake"}).to_string();
    for _ in 0..3 {
        let answer =
            owner.call(Method::DELETE, &path, Some(delete.clone()), &[("idempotency-key", "d")]).await;
        assert!(answer.ok()["enforced"].is_object());
        // As an earlier version remembered it.
        world.raw("UPDATE idempotency SET reply = 'null' WHERE key = 'd'").await;
    }
    world.advance(MINUTE * 10);
    let late = create().await.created();
    assert_eq!((&late["id"], &late["registrations"][0]["secret"]["value"]), (&first["id"], &Value::Null));
}

async fn a_repeated_creation_is_authorised_again_at_its_place_rule_7(world: World) {
    let owner = world.owner().await;
    let create =
        async |path: &str, body: Value| text(&owner.post(path, body).await.created()["id"]).to_owned();
    let first = create("/properties", json!({"name": "First"})).await;
    let second = create("/properties", json!({"name": "Second"})).await;
    let user = create("/users", json!({"kind": "program", "name": "CI"})).await;
    let grants = format!("/users/{user}/grants");
    let role = |property: &str| json!({"role": "application_manager", "property_id": property});
    let grant = create(&grants, role(&first)).await;
    owner.post(&grants, role(&second)).await.created();
    let caller = world.token_of(&user, &[]).await;
    let body = json!({"name": "Billing", "property_id": first, "environments": ["staging"]}).to_string();
    let create =
        async || caller.call(Method::POST, "/clients", Some(body.clone()), &[("idempotency-key", "c")]).await;
    assert_eq!(create().await.created(), create().await.created());
    owner.delete(&format!("{grants}/{grant}"), json!({})).await.expect(204);
    let viewer = json!({"role": "viewer", "property_id": first});
    create().await.refused(422, "invalid_body");
    owner.post(&grants, viewer).await.created();
    create().await.refused(403, "forbidden");
    owner.post(&grants, role(&first)).await.created();
    create().await.created();
}

async fn parallel_requests_with_one_key_rotate_once_rule_7(world: World) {
    let world = Arc::new(world);
    let client = world.client("Billing", &["production"]).await;
    let answers = storm(&world, &client, &client.rotation(24), Some("one")).await;
    let mut ids = HashSet::new();
    for answer in answers {
        if answer.status.as_u16() == 201 {
            ids.insert(text(&answer.json()["secret"]["id"]).to_owned());
        } else {
            answer.refused(409, "idempotency_in_flight");
        }
    }
    assert_eq!(ids.len(), 1);
    assert_eq!(rotations(&world.owner().await, &client).await.len(), 1);
}
