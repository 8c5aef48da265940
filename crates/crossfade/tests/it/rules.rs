//! The rules of the product from outside, one after the other: over HTTP, on both engines.

use crate::engines::on_both_engines;
use crate::world::{Answer, Caller, Client, World};
use http::Method;
use serde_json::{Value, json};
use std::{collections::HashSet, sync::Arc, time::Duration};
use tokio::task::JoinSet;

on_both_engines! {
    in parallel:
    of_parallel_rotations_exactly_one_wins_rule_6,
    parallel_requests_with_one_key_rotate_once_rule_7,
}

on_both_engines! {
    at_most_two_secrets_are_valid_whatever_is_done_rule_1,
    a_change_is_all_or_nothing_and_tells_the_owners_rule_3,
    rotating_while_a_transition_runs_is_refused_and_names_it_rule_5,
    end_running_transition_without_a_running_one_changes_nothing_else_rule_5,
    the_expected_current_secret_must_be_the_current_one_rule_6,
    a_repeated_key_never_rotates_again_rule_7,
    a_key_belongs_to_one_caller_and_one_request_rule_7,
    a_replay_is_audited_as_a_reveal_of_that_client_s_secret_rule_7,
    a_refusal_is_not_remembered_rule_7,
    a_replay_is_authorised_again_rule_7,
    a_replay_gives_the_value_only_to_who_may_still_see_it_rule_7,
    a_replay_survives_a_restart_rule_7,
    other_changes_are_idempotent_too_rule_7,
    a_repeated_creation_is_authorised_again_at_its_place_rule_7,
    only_a_retiring_secret_can_be_revoked_rule_8,
    a_revocation_can_end_the_tokens_of_that_secret_rule_8,
    a_plain_revocation_leaves_tokens_alone_rule_8,
    a_deadline_is_extended_to_168_hours_after_the_rotation_and_no_further_rule_8,
    an_offset_in_a_new_deadline_is_understood_rule_8,
    rolling_back_makes_the_old_secret_current_and_revokes_the_new_one_rule_8,
    a_newer_secret_in_use_is_rolled_back_only_when_that_is_acknowledged_rule_8,
    only_the_latest_rotation_can_be_rolled_back_and_only_while_it_retires_rule_8,
    a_rollback_is_possible_until_the_last_microsecond_rule_8,
    the_name_must_be_typed_exactly_rule_10,
    secrets_are_generated_with_prefix_and_alphabet_rule_11,
    an_emergency_ends_a_running_transition_too_rule_12,
    an_emergency_ends_only_the_tokens_of_the_compromised_secrets_rule_12,
    ended_tokens_stay_ended_after_a_restart_rule_12,
    routine_rotation_touches_neither_tokens_nor_identity_nor_counters_rule_13,
    a_disabled_registration_refuses_everything_and_enabling_revives_nothing_rule_14,
    enabling_revives_no_token_from_before_rule_14,
    disabling_is_seen_by_others_who_introspect_rule_14,
    a_deleted_client_is_dead_its_history_stays_and_its_client_id_is_never_given_again_rule_14,
    a_value_can_be_seen_again_and_each_time_is_written_down_rule_15,
    an_environment_can_show_secrets_once_rule_15,
    stored_values_are_wiped_some_days_after_the_end_rule_15,
    every_failed_authentication_looks_the_same_rule_16,
    each_use_leaves_evidence_rule_17,
    the_trail_says_who_did_what_and_never_a_secret_rule_18,
    the_trail_can_be_filtered,
    a_stale_if_match_changes_nothing_412,
    if_match_is_honoured_on_the_other_objects_412,
    if_match_is_honoured_where_something_is_added_412,
}

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const MINUTE: Duration = Duration::from_secs(60);
const MICRO: Duration = Duration::from_micros(1);

/// A body with more members.
fn with(mut body: Value, more: Value) -> Value {
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is not a text"))
}

async fn rotate(caller: &Caller<'_>, client: &Client, body: Value) -> Answer {
    caller.post(&client.path("production", "/secrets/rotate"), body).await
}

async fn rotate_keyed(caller: &Caller<'_>, client: &Client, body: &Value, key: &str) -> Answer {
    let path = client.path("production", "/secrets/rotate");
    caller.call(Method::POST, &path, Some(body.to_string()), &[("idempotency-key", key)]).await
}

async fn change(caller: &Caller<'_>, client: &Client, secret: &str, verb: &str, body: Value) -> Answer {
    caller.post(&client.path("production", &format!("/secrets/{secret}/{verb}")), body).await
}

async fn roll_back(caller: &Caller<'_>, client: &Client, rotation: &Value, body: Value) -> Answer {
    let path = client.path("production", &format!("/rotations/{}/rollback", text(rotation)));
    caller.post(&path, body).await
}

async fn items(caller: &Caller<'_>, path: &str) -> Vec<Value> {
    caller.get(path).await.ok()["items"].as_array().unwrap().clone()
}

async fn secrets(caller: &Caller<'_>, client: &Client) -> Vec<Value> {
    items(caller, &client.path("production", "/secrets")).await
}

async fn rotations(caller: &Caller<'_>, client: &Client) -> Vec<Value> {
    items(caller, &client.path("production", "/rotations")).await
}

/// The states of the secrets, newest first.
async fn states(caller: &Caller<'_>, client: &Client) -> Vec<String> {
    secrets(caller, client).await.iter().map(|secret| text(&secret["state"]).to_owned()).collect()
}

/// How the rotations ended, newest first.
async fn ended_as(caller: &Caller<'_>, client: &Client) -> Vec<String> {
    rotations(caller, client).await.iter().map(|rotation| text(&rotation["ended_as"]).to_owned()).collect()
}

/// The whole trail, newest first.
async fn trail(caller: &Caller<'_>) -> Vec<Value> {
    let (mut events, mut path) = (Vec::new(), "/audit-events?limit=200".to_owned());
    loop {
        let page = caller.get(&path).await.ok();
        events.extend(page["items"].as_array().unwrap().clone());
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/audit-events?limit=200&cursor={cursor}"),
            None => return events,
        }
    }
}

async fn at_most_two_secrets_are_valid_whatever_is_done_rule_1(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let oauth = world.oauth("production");
    let registration = client.registration("production");
    let mut values = vec![registration.secret.clone()];
    let steps = [
        json!({"transition_hours": 24}),
        json!({"transition_hours": 168, "end_running_transition": true}),
        json!({"transition_hours": 0, "end_running_transition": true}),
        json!({"transition_hours": 168}),
        json!({"transition_hours": 0, "compromised": true}),
        json!({"transition_hours": 1}),
    ];
    for step in steps {
        let reply = rotate(&owner, &client, with(client.rotation(0), step)).await.created();
        values.push(text(&reply["secret"]["value"]).to_owned());
        let states = states(&owner, &client).await;
        let count = |wanted: &str| states.iter().filter(|state| *state == wanted).count();
        assert_eq!((count("current"), count("retiring") <= 1), (1, true), "{states:?}");
        let mut accepted = 0;
        for value in &values {
            let answer = oauth.token(&registration.client_id, value).await;
            accepted += usize::from(answer.status.as_u16() == 200);
        }
        assert_eq!(accepted, count("current") + count("retiring"), "what is shown is what is enforced");
        world.advance(MINUTE);
    }
    assert_eq!(values.iter().collect::<HashSet<_>>().len(), values.len(), "no value is given twice");
}

async fn a_change_is_all_or_nothing_and_tells_the_owners_rule_3(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let queued = "SELECT COUNT(*) FROM notifications WHERE event = 'secret.rotated'";
    let rows = "SELECT (SELECT COUNT(*) FROM secrets) + (SELECT COUNT(*) FROM rotations)";
    let before = world.number(rows).await;
    rotate(&owner, &client, with(client.rotation(24), json!({"confirm_client_name": "X"})))
        .await
        .refused(422, "confirmation_mismatch");
    assert_eq!((world.number(queued).await, world.number(rows).await), (0, before));
    rotate(&owner, &client, client.rotation(24)).await.created();
    assert_eq!((world.number(queued).await, world.number(rows).await), (1, before + 2));
    let events = items(&owner, "/audit-events?action=secret.rotated").await;
    assert_eq!(events.len(), 1);
}

async fn rotating_while_a_transition_runs_is_refused_and_names_it_rule_5(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let registration = client.registration("production");
    let first = rotate(&owner, &client, client.rotation(24)).await.created();
    let deadline = world.now().after(HOUR * 24).to_string();

    let problem = rotate(&owner, &client, client.rotation(24)).await.refused(409, "transition_in_progress");
    assert_eq!(
        problem["retiring_secret"],
        json!({"id": registration.secret_id, "expires_at": deadline, "last_used_at": null})
    );

    world.advance(MINUTE);
    let used_at = world.now().to_string();
    world.oauth("production").token(&registration.client_id, &registration.secret).await.is_token();
    world.advance(MINUTE);
    for hours in [0, 1, 168] {
        let problem =
            rotate(&owner, &client, client.rotation(hours)).await.refused(409, "transition_in_progress");
        assert_eq!(
            problem["retiring_secret"],
            json!({"id": registration.secret_id, "expires_at": deadline, "last_used_at": used_at}),
            "whatever the new period: {hours}"
        );
    }
    assert_eq!(states(&owner, &client).await, ["current", "retiring"]);

    let body = with(client.rotation(24), json!({"end_running_transition": true}));
    let second = rotate(&owner, &client, body).await.created();
    let oauth = world.oauth("production");
    oauth.token(&registration.client_id, &registration.secret).await.is_invalid_client();
    for value in [&first["secret"]["value"], &second["secret"]["value"]] {
        oauth.token(&registration.client_id, text(value)).await.is_token();
    }
    let history = rotations(&owner, &client).await;
    assert_eq!((text(&history[0]["ended_as"]), text(&history[1]["ended_as"])), ("retiring", "superseded"));
    let outgoing = &history[1]["outgoing_secret"];
    assert_eq!(outgoing["ended_at"], world.now().to_string());
    assert_eq!(outgoing["last_used_at"], used_at);
    assert_eq!(states(&owner, &client).await, ["current", "retiring", "revoked"]);
}

async fn end_running_transition_without_a_running_one_changes_nothing_else_rule_5(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    rotate(&owner, &client, with(client.rotation(1), json!({"end_running_transition": true})))
        .await
        .created();
    assert_eq!(states(&owner, &client).await, ["current", "retiring"]);
    // At the deadline nothing runs any more, so nothing stands in the way and nothing is superseded.
    world.advance(HOUR);
    rotate(&owner, &client, client.rotation(1)).await.created();
    assert_eq!(ended_as(&owner, &client).await, ["retiring", "expired"]);
}

async fn the_expected_current_secret_must_be_the_current_one_rule_6(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let other = world.client("Other", &["production"]).await;
    let owner = world.owner().await;
    let first = client.registration("production").secret_id.clone();
    let expecting = |id: &str| with(client.rotation(0), json!({"expected_current_secret_id": id}));
    let foreign = &other.registration("production").secret_id;
    rotate(&owner, &client, expecting(foreign)).await.refused(409, "rotation_conflict");
    rotate(&owner, &client, expecting("sec_0000000000000000000000")).await.refused(409, "rotation_conflict");
    let reply = rotate(&owner, &client, expecting(&first)).await.created();
    let problem = rotate(&owner, &client, expecting(&first)).await.refused(409, "rotation_conflict");
    assert_eq!(problem["field"], "expected_current_secret_id");
    assert_eq!(rotations(&owner, &client).await.len(), 1);
    rotate(&owner, &client, expecting(text(&reply["secret"]["id"]))).await.created();
}

async fn a_repeated_key_never_rotates_again_rule_7(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let body = client.rotation(24);
    let first = rotate_keyed(&owner, &client, &body, "k-1").await.created();
    let replay = rotate_keyed(&owner, &client, &body, "k-1").await;
    assert_eq!(replay.header("cache-control"), Some("no-store"));
    assert_eq!(replay.created(), first, "bare");
    assert_eq!(rotate_keyed(&owner, &client, &body, "\"k-1\"").await.created(), first, "quoted");

    world.advance(MINUTE * 10 - MICRO);
    assert_eq!(rotate_keyed(&owner, &client, &body, "k-1").await.created(), first, "just within ten minutes");
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
    let (token, first) = (owner.token.clone(), rotate_keyed(&owner, &client, &body, "k").await.created());
    world.restart().await;
    let owner = Caller { world: &world, token };
    assert_eq!(rotate_keyed(&owner, &client, &body, "k").await.created(), first);
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
    for _ in 0..2 {
        let answer =
            owner.call(Method::DELETE, &path, Some(delete.clone()), &[("idempotency-key", "d")]).await;
        assert_eq!(answer.status.as_u16(), 204);
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

async fn a_deadline_is_extended_to_168_hours_after_the_rotation_and_no_further_rule_8(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let registration = client.registration("production");
    let oauth = world.oauth("production");
    let rotated_at = world.now();
    rotate(&owner, &client, client.rotation(24)).await.created();
    world.advance(HOUR * 2);
    let extend = async |to: String, reason: &str| {
        change(
            &owner,
            &client,
            &registration.secret_id,
            "extend",
            json!({"expires_at": to, "reason": reason}),
        )
        .await
    };
    let before = rotated_at.after(HOUR * 24);
    let most = rotated_at.after(HOUR * 168);
    extend(most.to_string(), "").await.refused(422, "invalid_body");
    for (to, why) in [
        (most.after(MICRO), "a microsecond beyond"),
        (before, "not later than it was"),
        (before.before(MICRO), "earlier than it was"),
        (world.now(), "now"),
        (rotated_at, "the past"),
    ] {
        let problem = extend(to.to_string(), "more time").await.refused(422, "extension_out_of_range");
        assert_eq!(
            (text(&problem["field"]), text(&problem["at_most"])),
            ("expires_at", &*most.to_string()),
            "{why}"
        );
    }
    for malformed in
        ["", "tomorrow", "2026-11-25", "2026-11-25T08:00:00", "1795525500", "0000-00-00T00:00:00Z"]
    {
        extend(malformed.to_owned(), "more time").await.refused(422, "invalid_body");
    }
    assert_eq!(secrets(&owner, &client).await[1]["expires_at"], before.to_string(), "nothing was changed");

    let reply = extend(before.after(MICRO).to_string(), "a microsecond").await.ok();
    assert_eq!(reply["secret"]["expires_at"], before.after(MICRO).to_string());
    extend(most.to_string(), "more time").await.ok();
    extend(most.to_string(), "again").await.refused(422, "extension_out_of_range");
    world.advance(HOUR * 166 - MICRO);
    oauth.token(&registration.client_id, &registration.secret).await.is_token();
    world.advance(MICRO);
    oauth.token(&registration.client_id, &registration.secret).await.is_invalid_client();
    assert_eq!(ended_as(&owner, &client).await, ["expired"]);
    extend(world.now().after(HOUR).to_string(), "too late").await.refused(409, "not_retiring");
}

async fn an_offset_in_a_new_deadline_is_understood_rule_8(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    rotate(&owner, &client, client.rotation(1)).await.created();
    let utc = world.now().after(HOUR * 5).to_string();
    // The same instant, written as people east of Greenwich write it.
    let east = world.now().after(HOUR * 7).to_string().replace('Z', "+02:00");
    let reply = change(
        &owner,
        &client,
        &client.registration("production").secret_id,
        "extend",
        json!({"expires_at": east, "reason": "x"}),
    )
    .await
    .ok();
    assert_eq!(reply["secret"]["expires_at"], utc);
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

async fn the_name_must_be_typed_exactly_rule_10(world: World) {
    let client = world.client("Café Billing", &["production"]).await;
    let owner = world.owner().await;
    let typed = |name: Value| json!({"transition_hours": 0, "confirm_client_name": name});
    let wrong = [
        "café billing",
        "CAFÉ BILLING",
        "Cafe Billing",
        "Café  Billing",
        "CaféBilling",
        "Café",
        "Café Billing.",
        "",
        " ",
        "Property of Café Billing",
    ];
    for name in wrong {
        let problem = rotate(&owner, &client, typed(name.into())).await.refused(422, "confirmation_mismatch");
        assert_eq!(problem["field"], "confirm_client_name", "{name}");
    }
    rotate(&owner, &client, json!({"transition_hours": 0})).await.refused(422, "confirmation_mismatch");
    rotate(&owner, &client, typed(Value::Null)).await.refused(422, "confirmation_mismatch");
    assert!(rotations(&owner, &client).await.is_empty());
    // Names are trimmed and NFC-normalised; what is typed is compared in the same form.
    rotate(&owner, &client, typed(" Cafe\u{301} Billing ".into())).await.created();
    rotate(&owner, &client, typed("Café Billing".into())).await.created();
}

async fn secrets_are_generated_with_prefix_and_alphabet_rule_11(world: World) {
    let client = world.client("Billing", &["development", "staging", "production"]).await;
    for (environment, prefix) in [
        ("development", "crossfade_test_"),
        ("staging", "crossfade_test_"),
        ("production", "crossfade_live_"),
    ] {
        let secret = &client.registration(environment).secret;
        assert!(secret.starts_with(prefix), "{environment}");
        // 43 digits of base62 carry 256 bits, 6 the checksum.
        assert_eq!(secret.len(), prefix.len() + 49);
        assert!(secret.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
    }
    let ids: HashSet<_> = client.registrations.iter().map(|it| &it.client_id).collect();
    let values: HashSet<_> = client.registrations.iter().map(|it| &it.secret).collect();
    assert_eq!((ids.len(), values.len()), (3, 3), "nothing is shared between environments");
    for (environment, other) in [("staging", "development"), ("production", "staging")] {
        let foreign = client.registration(other);
        world.oauth(environment).token(&foreign.client_id, &foreign.secret).await.is_invalid_client();
    }
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

async fn a_disabled_registration_refuses_everything_and_enabling_revives_nothing_rule_14(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let registration = client.registration("production");
    let oauth = world.oauth("production");
    let token = oauth.token(&registration.client_id, &registration.secret).await.is_token();
    let reply = rotate(&owner, &client, client.rotation(24)).await.created();
    let new = text(&reply["secret"]["value"]);
    let path = client.path("production", "");
    for body in [json!({"enabled": false}), json!({"enabled": false, "confirm_client_name": "billing"})] {
        owner.patch(&path, body).await.refused(422, "confirmation_mismatch");
    }
    oauth.token(&registration.client_id, new).await.is_token();
    let before = secrets(&owner, &client).await;
    let disabled = owner
        .patch(&path, json!({"enabled": false, "confirm_client_name": "Billing", "reason": "incident"}))
        .await
        .ok();
    assert_eq!(disabled["enabled"], false);
    for secret in [&registration.secret, new] {
        oauth.token(&registration.client_id, secret).await.is_invalid_client();
        oauth.token_by_post(&registration.client_id, secret).await.is_invalid_client();
        for endpoint in ["introspect", "revoke"] {
            oauth
                .basic(endpoint, &registration.client_id, secret, &[("token", &token)])
                .await
                .is_invalid_client();
        }
    }
    let states_of = |secrets: &[Value]| {
        secrets
            .iter()
            .map(|it| (it["id"].clone(), it["state"].clone(), it["expires_at"].clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        states_of(&secrets(&owner, &client).await),
        states_of(&before),
        "its secrets are as they were"
    );
    // Its deadlines run on.
    world.advance(HOUR * 24);
    owner.patch(&path, json!({"enabled": true})).await.ok();
    oauth.token(&registration.client_id, &registration.secret).await.is_invalid_client();
    oauth.token(&registration.client_id, new).await.is_token();
}

async fn enabling_revives_no_token_from_before_rule_14(mut world: World) {
    let client = world.client("Billing", &["production"]).await;
    let gateway = world.client("Gateway", &["production"]).await;
    let (own, eyes) = (client.registration("production").clone(), gateway.registration("production").clone());
    let path = client.path("production", "");
    let owner = world.owner().await;
    owner.patch(&gateway.path("production", ""), json!({"may_introspect": true})).await.ok();
    let (off, on) = (json!({"enabled": false, "confirm_client_name": "Billing"}), json!({"enabled": true}));
    let mut tokens = Vec::new();
    for _ in 0..3 {
        tokens.push(world.oauth("production").token(&own.client_id, &own.secret).await.is_token());
        owner.patch(&path, off.clone()).await.ok();
        // To say it again changes nothing.
        owner.patch(&path, off.clone()).await.ok();
        owner.patch(&path, on.clone()).await.ok();
    }
    owner.patch(&path, on.clone()).await.ok();
    let last = world.oauth("production").token(&own.client_id, &own.secret).await.is_token();
    for restarted in [false, true] {
        if restarted {
            world.restart().await;
        }
        let oauth = world.oauth("production");
        for it in [&own, &eyes] {
            for token in &tokens {
                assert_eq!(
                    oauth.introspect(&it.client_id, &it.secret, token).await,
                    json!({"active": false})
                );
            }
            let active = oauth.introspect(&it.client_id, &it.secret, &last).await;
            assert_eq!(active["active"], true, "also in the second in which it was enabled");
        }
        // What has ended is not its client's to revoke either, and is answered alike.
        let revoked = oauth.basic("revoke", &own.client_id, &own.secret, &[("token", &tokens[0])]).await;
        assert_eq!(revoked.status.as_u16(), 200);
    }
    assert_eq!(world.number("SELECT COUNT(*) FROM revoked_tokens").await, 0);
}

async fn disabling_is_seen_by_others_who_introspect_rule_14(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let gateway = world.client("Gateway", &["production"]).await;
    let owner = world.owner().await;
    let (registration, eyes) = (client.registration("production"), gateway.registration("production"));
    let oauth = world.oauth("production");
    owner.patch(&gateway.path("production", ""), json!({"may_introspect": true})).await.ok();
    let token = oauth.token(&registration.client_id, &registration.secret).await.is_token();
    assert_eq!(oauth.introspect(&eyes.client_id, &eyes.secret, &token).await["active"], true);
    owner
        .patch(&client.path("production", ""), json!({"enabled": false, "confirm_client_name": "Billing"}))
        .await
        .ok();
    assert_eq!(oauth.introspect(&eyes.client_id, &eyes.secret, &token).await, json!({"active": false}));
    owner
        .delete(
            &format!("/clients/{}", client.id),
            json!({"confirm_client_name": "Billing", "reason": "gone"}),
        )
        .await;
    assert_eq!(oauth.introspect(&eyes.client_id, &eyes.secret, &token).await, json!({"active": false}));
}

async fn a_deleted_client_is_dead_its_history_stays_and_its_client_id_is_never_given_again_rule_14(
    mut world: World,
) {
    let client = world.client("Billing", &["production", "staging"]).await;
    let registration = client.registration("production").clone();
    let (token, new) = {
        let owner = world.owner().await;
        let reply = rotate(&owner, &client, client.rotation(24)).await.created();
        let path = format!("/clients/{}", client.id);
        owner
            .delete(&path, json!({"confirm_client_name": "billing", "reason": "x"}))
            .await
            .refused(422, "confirmation_mismatch");
        for body in [
            json!({"confirm_client_name": "Billing"}),
            json!({"confirm_client_name": "Billing", "reason": " "}),
        ] {
            let problem = owner.delete(&path, body).await.refused(422, "invalid_body");
            assert_eq!(problem["field"], "reason");
        }
        assert_eq!(owner.call(Method::DELETE, &path, None, &[]).await.status.as_u16(), 400);
        owner.get(&path).await.ok();
        let deleted =
            owner.delete(&path, json!({"confirm_client_name": "Billing", "reason": "retired"})).await;
        assert_eq!((deleted.status.as_u16(), deleted.bytes.len()), (204, 0));
        (owner.token.clone(), text(&reply["secret"]["value"]).to_owned())
    };
    assert_eq!(
        world.number("SELECT COUNT(*) FROM secrets WHERE sealed IS NOT NULL").await,
        0,
        "its values are wiped"
    );
    assert_eq!(world.number("SELECT COUNT(*) FROM rotations").await, 1, "its history stays");
    for round in ["running", "restarted"] {
        let owner = Caller { world: &world, token: token.clone() };
        let oauth = world.oauth("production");
        for secret in [&registration.secret, &new] {
            oauth.token(&registration.client_id, secret).await.is_invalid_client();
        }
        for path in [
            format!("/clients/{}", client.id),
            client.path("production", ""),
            client.path("production", "/secrets"),
            client.path("production", "/rotations"),
            client.path("production", "/usage"),
        ] {
            owner.get(&path).await.refused(404, "not_found");
        }
        rotate(&owner, &client, client.rotation(0)).await.refused(404, "not_found");
        change(&owner, &client, &registration.secret_id, "reveal", json!({})).await.refused(404, "not_found");
        let events = items(&owner, &format!("/audit-events?client={}&outcome=done", client.id)).await;
        assert_eq!(events[0]["action"], "client.deleted", "{round}");
        assert_eq!(events[0]["reason"], "retired");
        world.restart().await;
    }
    let owner = Caller { world: &world, token };
    let property = items(&owner, "/properties").await[0]["id"].clone();
    let again = owner
        .post("/clients", json!({"name": "Billing", "property_id": property, "environments": ["production"]}))
        .await
        .created();
    assert_ne!(again["id"], client.id.as_str());
    assert_ne!(again["registrations"][0]["client_id"], registration.client_id.as_str());
    // The database itself refuses to give a client_id a second time.
    let reused = format!(
        "UPDATE registrations SET oauth_client_id = '{}' WHERE client_id = '{}'",
        registration.client_id,
        text(&again["id"])
    );
    assert!(world.try_raw(&reused).await.is_err());
    owner.delete(&format!("/properties/{}", text(&property)), json!({})).await.refused(409, "in_use");
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
    rotate(&owner, &client, client.rotation(0)).await.created();
    let id = &client.registration("production").client_id;
    let ended = &client.registration("production").secret;
    let pairs = [
        ("unknown", "0000000000000000000000", ended.as_str()),
        ("wrong", id, &client.registration("staging").secret),
        ("ended", id, ended),
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

async fn each_use_leaves_evidence_rule_17(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let registration = client.registration("production");
    let reply = rotate(&owner, &client, client.rotation(24)).await.created();
    let new = text(&reply["secret"]["value"]);
    let first_at = world.now().to_string();
    for (address, agent, secret, times) in [
        ([192, 0, 2, 1], "billing/1.0", &*registration.secret, 3),
        ([192, 0, 2, 2], "billing/1.0", &registration.secret, 1),
        ([192, 0, 2, 1], "billing/1.1", new, 2),
    ] {
        for _ in 0..times {
            world
                .oauth("production")
                .from(address, agent)
                .token(&registration.client_id, secret)
                .await
                .is_token();
        }
        world.advance(MINUTE);
    }
    // A failure is no use.
    world.oauth("production").token(&registration.client_id, "wrong").await.is_invalid_client();
    let shown = secrets(&owner, &client).await;
    assert_eq!((&shown[0]["use_count"], &shown[1]["use_count"]), (&json!(2), &json!(4)));
    assert_eq!(shown[1]["first_used_at"], first_at);
    let usage = items(&owner, &client.path("production", "/usage")).await;
    let lines: Vec<_> = usage
        .iter()
        .map(|line| {
            (
                text(&line["secret_id"]),
                text(&line["source_ip"]),
                text(&line["user_agent"]),
                line["use_count"].as_i64().unwrap(),
                text(&line["state"]),
            )
        })
        .collect();
    assert_eq!(
        lines,
        [
            (text(&reply["secret"]["id"]), "192.0.2.1", "billing/1.1", 2, "current"),
            (&*registration.secret_id, "192.0.2.2", "billing/1.0", 1, "retiring"),
            (&*registration.secret_id, "192.0.2.1", "billing/1.0", 3, "retiring"),
        ]
    );
    let history = rotations(&owner, &client).await;
    assert_eq!(history[0]["outgoing_secret"]["last_used_at"], shown[1]["last_used_at"]);
    assert_eq!(history[0]["incoming_secret"]["first_used_at"], shown[0]["first_used_at"]);
    let since = text(&shown[0]["first_used_at"]);
    assert_eq!(items(&owner, &client.path("production", &format!("/usage?since={since}"))).await.len(), 1);
    world.run_jobs().await;
    assert_eq!(secrets(&owner, &client).await[1]["use_count"], 4, "a flush counts nothing twice");
}

async fn the_trail_says_who_did_what_and_never_a_secret_rule_18(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let bob = world.user("bob@example.com", "owner").await;
    let registration = client.registration("production").clone();
    let mut values =
        vec![registration.secret.clone(), owner.token.clone().unwrap(), bob.token.clone().unwrap()];
    let mut expected: Vec<(&str, Value, Value)> = Vec::new();

    let property = bob.post("/properties", json!({"name": "Shop"})).await.created();
    expected.push(("property.created", property["id"].clone(), Value::Null));
    let property_path = format!("/properties/{}", text(&property["id"]));
    bob.patch(&property_path, json!({"name": "Shops"})).await.ok();
    expected.push(("property.updated", property["id"].clone(), Value::Null));
    bob.delete(&property_path, json!({})).await;
    expected.push(("property.deleted", property["id"].clone(), Value::Null));

    bob.patch(&format!("/clients/{}", client.id), json!({"description": "Money"})).await.ok();
    expected.push(("client.updated", json!(client.id), Value::Null));
    let staging = bob
        .post(&format!("/clients/{}/environments", client.id), json!({"environment": "staging"}))
        .await
        .created();
    values.push(text(&staging["secret"]["value"]).to_owned());
    expected.push(("registration.created", staging["id"].clone(), Value::Null));
    let updated = bob
        .patch(&client.path("production", ""), json!({"scopes": ["read"], "reason": "new API"}))
        .await
        .ok();
    expected.push(("registration.updated", updated["id"].clone(), json!("new API")));

    let reply =
        rotate(&bob, &client, with(client.rotation(24), json!({"reason": "quarterly"}))).await.created();
    values.push(text(&reply["secret"]["value"]).to_owned());
    expected.push(("secret.rotated", reply["rotation"]["id"].clone(), json!("quarterly")));
    let old = registration.secret_id.as_str();
    let later = world.now().after(HOUR * 48).to_string();
    change(&bob, &client, old, "extend", json!({"expires_at": later, "reason": "holiday"})).await.ok();
    expected.push(("secret.extended", json!(old), json!("holiday")));
    change(&bob, &client, old, "reveal", json!({"reason": "restore"})).await.ok();
    expected.push(("secret.revealed", json!(old), json!("restore")));
    roll_back(&bob, &client, &reply["rotation"]["id"], json!({"reason": "broken"})).await.ok();
    expected.push(("secret.rolled_back", reply["rotation"]["id"].clone(), json!("broken")));
    let again = rotate(&bob, &client, client.rotation(24)).await.created();
    values.push(text(&again["secret"]["value"]).to_owned());
    expected.push(("secret.rotated", again["rotation"]["id"].clone(), Value::Null));
    change(&bob, &client, old, "revoke", json!({"reason": "moved"})).await.ok();
    expected.push(("secret.revoked", json!(old), json!("moved")));

    let environment =
        bob.post("/environments", json!({"slug": "eu", "name": "EU", "kind": "live"})).await.created();
    assert_eq!(environment["slug"], "eu");
    expected.push(("environment.created", Value::Null, Value::Null));
    bob.patch("/environments/eu", json!({"name": "Europe"})).await.ok();
    expected.push(("environment.updated", Value::Null, Value::Null));
    bob.post("/environments/eu/signing-keys/rotate", json!({"reason": "yearly"})).await.created();
    expected.push(("signing_key.rotated", Value::Null, json!("yearly")));
    bob.delete("/environments/eu", json!({})).await;
    expected.push(("environment.deleted", Value::Null, Value::Null));

    rotate(&bob, &client, with(client.rotation(24), json!({"confirm_client_name": "Wrong"})))
        .await
        .refused(422, "confirmation_mismatch");
    let mistyped = "The confirmation does not match the name or slug of the resource.";
    expected.push(("access.refused", Value::Null, json!(mistyped)));
    bob.delete(
        &format!("/clients/{}", client.id),
        json!({"confirm_client_name": "Billing", "reason": "retired"}),
    )
    .await;
    expected.push(("client.deleted", json!(client.id), json!("retired")));
    let tokens = bob.get("/tokens").await.ok();
    let token = tokens["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|token| token["user_id"] == reply["rotation"]["initiated_by"]["id"])
        .unwrap()["id"]
        .clone();
    bob.delete(&format!("/tokens/{}", text(&token)), json!({})).await;
    expected.push(("token.deleted", token, Value::Null));

    let events = trail(&owner).await;
    let bobs: Vec<_> = events
        .iter()
        .rev()
        .filter(|event| event["actor"]["name"] == "bob")
        .map(|event| (text(&event["action"]), event["target"].clone(), event["reason"].clone()))
        .collect();
    assert_eq!(bobs, expected);
    for event in &events {
        assert!(["kind", "id", "name"].iter().all(|member| event["actor"][member].is_string()), "{event}");
        assert!(text(&event["at"]).ends_with('Z'), "{event}");
        let refused = event["action"] == "access.refused";
        assert_eq!(event["outcome"], if refused { "refused" } else { "done" }, "{event}");
    }
    let numbers: Vec<_> = events.iter().map(|event| event["seq"].as_i64().unwrap()).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] == pair[1] + 1), "newest first, without gaps: {numbers:?}");
    let whole = serde_json::to_string(&events).unwrap();
    for value in &values {
        // Without its prefix too, and only the first half: a cut-off secret is a secret.
        let digits = value.rsplit('_').next().unwrap();
        assert!(!whole.contains(digits) && !whole.contains(&digits[..20]), "a secret stands in the trail");
    }
}

async fn the_trail_can_be_filtered(world: World) {
    let client = world.client("Billing", &["production", "staging"]).await;
    let owner = world.owner().await;
    let bob = world.user("bob@example.com", "owner").await;
    rotate(&owner, &client, client.rotation(0)).await.created();
    world.advance(HOUR);
    let noon = world.now().to_string();
    let reply = rotate(&bob, &client, client.rotation(0)).await.created();
    let actor = text(&reply["rotation"]["initiated_by"]["id"]);
    let count = async |query: &str| items(&owner, &format!("/audit-events?{query}")).await.len();
    assert_eq!(count("action=secret.rotated").await, 2);
    assert_eq!(count(&format!("actor={actor}")).await, 1);
    assert_eq!(count(&format!("action=secret.rotated&since={noon}")).await, 1);
    assert_eq!(count(&format!("action=secret.rotated&until={noon}")).await, 1);
    assert_eq!(count(&format!("client={}&environment=staging", client.id)).await, 1);
    assert_eq!(count("client=cl_0000000000000000000000").await, 0);
}

async fn a_stale_if_match_changes_nothing_412(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let path = client.path("production", "");
    let stale = owner.get(&path).await.header("etag").unwrap().to_owned();
    assert!(stale.starts_with('"') && stale.ends_with('"'), "a strong tag: {stale}");
    rotate(&owner, &client, client.rotation(24)).await.created();
    let fresh = owner.get(&path).await.header("etag").unwrap().to_owned();
    assert_ne!(stale, fresh, "a rotation changes what was read");
    let secret = &client.registration("production").secret_id;
    let rotation = rotations(&owner, &client).await[0]["id"].clone();
    let calls = [
        (Method::POST, client.path("production", "/secrets/rotate"), client.rotation(0)),
        (
            Method::POST,
            client.path("production", &format!("/secrets/{secret}/revoke")),
            json!({"reason": "x"}),
        ),
        (Method::POST, client.path("production", &format!("/secrets/{secret}/reveal")), json!({})),
        (
            Method::POST,
            client.path("production", &format!("/secrets/{secret}/extend")),
            json!({"reason": "x", "expires_at": world.now().after(HOUR * 48).to_string()}),
        ),
        (
            Method::POST,
            client.path("production", &format!("/rotations/{}/rollback", text(&rotation))),
            json!({"reason": "x"}),
        ),
        (Method::PATCH, path.clone(), json!({"scopes": ["a"]})),
    ];
    for tag in [&*stale, "\"0\"", "nonsense", "", "W/\"0\"", "\"0\", \"99\"", &stale.replace('"', "")] {
        for (method, path, body) in &calls {
            let answer = owner.call(method.clone(), path, Some(body.to_string()), &[("if-match", tag)]).await;
            answer.refused(412, "precondition_failed");
        }
    }
    assert_eq!(owner.get(&path).await.header("etag"), Some(&*fresh), "nothing was changed");
    let body = Some(json!({"scopes": ["a"]}).to_string());
    owner.call(Method::PATCH, &path, body.clone(), &[("if-match", &fresh)]).await.ok();
    owner.call(Method::PATCH, &path, body.clone(), &[("if-match", "*")]).await.ok();
    // RFC 9110 §13.1.1: one of a list is enough. Proxies weaken a tag when they compress.
    for list in ["\"0\", TAG", "TAG,\"99\"", "W/TAG", "\"a,b\" , W/TAG", "\"0\", *, TAG"] {
        let tag = owner.get(&path).await.header("etag").unwrap().to_owned();
        let list = list.replace("TAG", &tag);
        owner.call(Method::PATCH, &path, body.clone(), &[("if-match", &list)]).await.ok();
    }
    let tag = owner.get(&path).await.header("etag").unwrap().to_owned();
    owner.call(Method::PATCH, &path, body, &[("if-match", "\"0\""), ("if-match", &tag)]).await.ok();
}

async fn if_match_is_honoured_on_the_other_objects_412(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let client_path = format!("/clients/{}", client.id);
    let property = text(&owner.get(&client_path).await.ok()["property_id"]).to_owned();
    let calls = [
        (Method::PATCH, client_path.clone(), json!({"description": "x"})),
        (Method::DELETE, client_path.clone(), json!({"confirm_client_name": "Billing", "reason": "x"})),
        (Method::PATCH, format!("/properties/{property}"), json!({"name": "x"})),
        (Method::DELETE, format!("/properties/{property}"), json!({})),
        (Method::PATCH, "/environments/staging".to_owned(), json!({"name": "x"})),
        (Method::DELETE, "/environments/staging".to_owned(), json!({})),
    ];
    for (method, path, body) in calls {
        owner
            .call(method, &path, Some(body.to_string()), &[("if-match", "\"999\"")])
            .await
            .refused(412, "precondition_failed");
    }
    let read = owner.get(&client_path).await.header("etag").unwrap().to_owned();
    rotate(&owner, &client, client.rotation(0)).await.created();
    let body = Some(json!({"description": "x"}).to_string());
    owner
        .call(Method::PATCH, &client_path, body, &[("if-match", &read)])
        .await
        .refused(412, "precondition_failed");
}

async fn if_match_is_honoured_where_something_is_added_412(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    for (path, body) in [
        (format!("/clients/{}/environments", client.id), json!({"environment": "staging"})),
        ("/environments/staging/signing-keys/rotate".to_owned(), json!({})),
    ] {
        let answer =
            owner.call(Method::POST, &path, Some(body.to_string()), &[("if-match", "\"999\"")]).await;
        answer.refused(412, "precondition_failed");
    }
}

/// Sends the same rotation many times at the same moment and tells the statuses and codes.
async fn storm(world: &Arc<World>, client: &Client, body: &Value, key: Option<&'static str>) -> Vec<Answer> {
    let token = world.owner().await.token;
    let mut tasks = JoinSet::new();
    for _ in 0..50 {
        let (world, client, body, token) = (world.clone(), client.clone(), body.clone(), token.clone());
        tasks.spawn(async move {
            let caller = Caller { world: &world, token };
            match key {
                Some(key) => rotate_keyed(&caller, &client, &body, key).await,
                None => rotate(&caller, &client, body).await,
            }
        });
    }
    tasks.join_all().await
}

async fn of_parallel_rotations_exactly_one_wins_rule_6(world: World) {
    let world = Arc::new(world);
    let client = world.client("Billing", &["production"]).await;
    let first = client.registration("production").secret_id.clone();
    let expecting = with(client.rotation(0), json!({"expected_current_secret_id": first}));
    let rounds = [(expecting, "rotation_conflict"), (client.rotation(24), "transition_in_progress")];
    for (round, (body, code)) in rounds.into_iter().enumerate() {
        let answers = storm(&world, &client, &body, None).await;
        let won = answers.iter().filter(|answer| answer.status.as_u16() == 201).count();
        assert_eq!((won, answers.len()), (1, 50));
        for answer in answers {
            if answer.status.as_u16() != 201 {
                answer.refused(409, code);
            }
        }
        let owner = world.owner().await;
        assert_eq!(rotations(&owner, &client).await.len(), round + 1);
    }
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
