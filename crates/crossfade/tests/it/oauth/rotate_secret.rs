//! A client replaces its own secret, with that secret as its only credential.

use super::{Seen, encoded, is_the_refusal, settings};
use crate::engines::on_both_engines;
use crate::world::{Answer, Client, World};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::task::JoinSet;

on_both_engines! {
    self_rotation_is_off_until_it_is_turned_on,
    a_client_that_rotates_its_secret_keeps_the_old_one_for_a_day,
    a_client_cannot_mark_its_own_rotation_as_compromised,
    during_a_transition_no_secret_rotates_itself,
    a_client_rotates_its_secret_once_a_day,
    a_lost_answer_is_had_again_with_either_secret_for_ten_minutes,
    an_answer_is_not_given_again_after_the_rotation_was_undone,
    a_key_that_can_be_guessed_is_refused,
    a_failed_authentication_at_the_rotation_is_the_one_refusal,
    a_disabled_or_deleted_client_rotates_nothing,
    in_quarantine_no_client_rotates_its_secret,
    a_refusing_window_of_a_drill_refuses_the_old_secret_here_too,
    a_secret_that_is_shown_once_is_given_again_to_the_client_alone,
    only_who_may_rotate_turns_self_rotation_on,
    a_client_that_asks_too_often_is_slowed_down,
    a_refusal_after_a_right_secret_is_recorded_once_with_its_reason,
    self_rotation_needs_an_owner_who_hears_of_it,
}

on_both_engines! {
    in parallel:
    of_instances_that_rotate_at_once_one_does,
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is not a text"))
}

/// A client whose self-rotation is turned on.
async fn client(world: &World) -> Client {
    let client = world.client("Billing", &["production"]).await;
    settings(world, &client, "production", json!({"self_rotation": true})).await;
    client
}

/// Returns a key that is long enough, from a short one.
fn key(short: &str) -> String {
    format!("{short:-<22}")
}

/// Asks for a rotation with this secret, form and key, or with a key of its own.
async fn ask(
    world: &World,
    client: &Client,
    secret: &str,
    form: &[(&str, &str)],
    short: Option<&str>,
) -> Answer {
    static KEYS: AtomicU32 = AtomicU32::new(0);
    let own = || format!("own-{}", KEYS.fetch_add(1, Ordering::Relaxed));
    let key = key(&short.map_or_else(own, str::to_owned));
    ask_with(world, client, secret, form, &[("idempotency-key", &key)]).await
}

/// Asks for a rotation with this secret, form and headers.
async fn ask_with(
    world: &World,
    client: &Client,
    secret: &str,
    form: &[(&str, &str)],
    headers: &[(&str, &str)],
) -> Answer {
    let basic = super::basic(format!("{}:{secret}", client.registration("production").client_id));
    let headers: Vec<_> =
        [("authorization", basic.as_str())].into_iter().chain(headers.iter().copied()).collect();
    world.oauth("production").form("rotate-secret", form, &headers).await
}

async fn rotate(world: &World, client: &Client, secret: &str) -> Answer {
    ask(world, client, secret, &[], None).await
}

#[track_caller]
fn is(answer: &Answer, status: u16, error: &str) {
    assert_eq!(answer.status.as_u16(), status, "{}", String::from_utf8_lossy(&answer.bytes));
    assert_eq!(answer.json()["error"], error);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

async fn rotations(world: &World, client: &Client) -> Vec<Value> {
    let list = world.owner().await.get(&client.path("production", "/rotations")).await.ok();
    list["items"].as_array().unwrap().clone()
}

async fn token(world: &World, client: &Client, secret: &str) -> Answer {
    world.oauth("production").token(&client.registration("production").client_id, secret).await
}

async fn roll_back(world: &World, client: &Client, rotation: &Value) {
    let path = client.path("production", &format!("/rotations/{}/rollback", text(rotation)));
    let body = json!({"reason": "nobody asked for it", "acknowledge_in_use": true});
    world.owner().await.post(&path, body).await.ok();
}

async fn self_rotation_is_off_until_it_is_turned_on(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let secret = &client.registration("production").secret;
    let path = client.path("production", "");
    let owner = world.owner().await;
    assert_eq!(owner.get(&path).await.ok()["self_rotation"], false);
    is(&rotate(&world, &client, secret).await, 400, "unauthorized_client");
    settings(&world, &client, "production", json!({"self_rotation": true})).await;
    assert_eq!(owner.get(&path).await.ok()["self_rotation"], true);
    settings(&world, &client, "production", json!({"scopes": ["read"]})).await;
    settings(&world, &client, "production", json!({"self_rotation": false})).await;
    is(&rotate(&world, &client, secret).await, 400, "unauthorized_client");
    assert!(rotations(&world, &client).await.is_empty());
    // Each change of it is in the trail, and the owners are told of it.
    let events = owner.get("/audit-events?action=registration.updated").await.ok();
    let set: Vec<_> = events["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["details"]["after"]["self_rotation"])
        .collect();
    assert_eq!(set, [false, true, true]);
    let told = "SELECT COUNT(*) FROM notifications WHERE event = 'registration.updated'";
    assert_eq!(world.number(told).await, 2, "not of other settings");
}

async fn a_client_that_rotates_its_secret_keeps_the_old_one_for_a_day(world: World) {
    let client = client(&world).await;
    let own = client.registration("production");
    let told = world.number("SELECT COUNT(*) FROM notifications WHERE event = 'secret.rotated'").await;
    for wrong in ["23", "0", "169", "-1", "24.0", "a day", " 24"] {
        let answer = ask(&world, &client, &own.secret, &[("transition_hours", wrong)], None).await;
        is(&answer, 400, "invalid_request");
    }
    let rotated_at = world.now();
    let answer = rotate(&world, &client, &own.secret).await;
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let reply = answer.ok();
    let members: Vec<_> = reply.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        members,
        [
            "client_id",
            "client_secret",
            "client_secret_expires_at",
            "previous_secret_expires_at",
            "previous_secret_id",
            "rotation_id",
            "secret_id"
        ]
    );
    assert_eq!((text(&reply["client_id"]), &reply["client_secret_expires_at"]), (&*own.client_id, &json!(0)));
    assert_eq!(text(&reply["previous_secret_id"]), own.secret_id);
    assert_eq!(reply["previous_secret_expires_at"], rotated_at.after(DAY).as_seconds());
    let new = text(&reply["client_secret"]).to_owned();
    world.advance(DAY - SECOND);
    token(&world, &client, &own.secret).await.is_token();
    token(&world, &client, &new).await.is_token();
    world.advance(SECOND);
    token(&world, &client, &own.secret).await.is_invalid_client();
    token(&world, &client, &new).await.is_token();
    // The owners are told, and the trail and the history name the client itself.
    let told_now = world.number("SELECT COUNT(*) FROM notifications WHERE event = 'secret.rotated'").await;
    assert_eq!(told_now, told + 1);
    let actor = json!({"kind": "client", "id": own.client_id, "name": "Billing"});
    let history = rotations(&world, &client).await;
    assert_eq!((&history[0]["initiated_by"], &history[0]["compromised"]), (&actor, &json!(false)));
    let events = world.owner().await.get("/audit-events?action=secret.rotated").await.ok();
    let event = &events["items"][0];
    assert_eq!(
        (&event["actor"], &event["via"], &event["source_ip"]),
        (&actor, &Value::Null, &json!("192.0.2.1"))
    );
    assert!(!event.to_string().contains(&new[20..]), "no value in the trail");
    // A longer transition.
    let longer = ask(&world, &client, &new, &[("transition_hours", "168")], None).await.ok();
    assert_eq!(longer["previous_secret_expires_at"], world.now().after(DAY * 7).as_seconds());
}

/// A compromised secret and its tokens end at once, without time for the other callers to move.
async fn a_client_cannot_mark_its_own_rotation_as_compromised(world: World) {
    let client = client(&world).await;
    let own = client.registration("production");
    let issued = token(&world, &client, &own.secret).await.is_token();
    let form = [("compromised", "true"), ("revoke_tokens", "true"), ("reason", "leaked")];
    let reply = ask(&world, &client, &own.secret, &form, Some("k")).await.ok();
    assert_eq!(reply["previous_secret_expires_at"], world.now().after(DAY).as_seconds());
    let new = text(&reply["client_secret"]);
    let seen = world.oauth("production").introspect(&own.client_id, new, &issued).await;
    assert_eq!(seen["active"], true, "{seen}");
    token(&world, &client, &own.secret).await.is_token();
    let made = &rotations(&world, &client).await[0];
    assert_eq!((&made["compromised"], &made["transition_hours"]), (&json!(false), &json!(24)));
    assert_ne!(made["reason"], "leaked");
    let secrets = world.owner().await.get(&client.path("production", "/secrets")).await.ok();
    for secret in secrets["items"].as_array().unwrap() {
        assert_eq!(secret["compromised_at"], Value::Null, "{secret}");
    }
    let events = world.owner().await.get("/audit-events?action=secret.rotated").await.ok();
    assert_eq!(events["items"][0]["details"]["compromised"], false, "{events}");
    let told = "SELECT COUNT(*) FROM notifications WHERE event = 'secret.rotated' AND details LIKE '%\"compromised\":false%'";
    assert_eq!(world.number(told).await, 1);
    assert_eq!(ask(&world, &client, new, &[], Some("k")).await.ok(), reply, "the request without them");
}

async fn during_a_transition_no_secret_rotates_itself(world: World) {
    let client = client(&world).await;
    let own = client.registration("production");
    let owner = world.owner().await;
    let path = client.path("production", "/secrets/rotate");
    let reply = owner.post(&path, client.rotation(48)).await.created();
    let new = text(&reply["secret"]["value"]);
    for step in [Duration::ZERO, HOUR, HOUR * 47 - SECOND] {
        world.advance(step);
        is(&rotate(&world, &client, &own.secret).await, 409, "transition_in_progress");
        is(&rotate(&world, &client, new).await, 409, "transition_in_progress");
    }
    world.advance(SECOND);
    is_the_refusal(&rotate(&world, &client, &own.secret).await, "the old secret has ended");
    rotate(&world, &client, new).await.ok();
    assert_eq!(rotations(&world, &client).await.len(), 2);
}

async fn a_client_rotates_its_secret_once_a_day(mut world: World) {
    let client = client(&world).await;
    let own = client.registration("production");
    let first = rotate(&world, &client, &own.secret).await.ok();
    let new = text(&first["client_secret"]).to_owned();
    world.advance(HOUR);
    // A person ends the transition; the pause is not over.
    let path = client.path("production", &format!("/secrets/{}/revoke", own.secret_id));
    world.owner().await.post(&path, json!({"reason": "all have moved"})).await.ok();
    is(&rotate(&world, &client, &new).await, 409, "rotated_recently");
    world.advance(DAY - HOUR - SECOND);
    is(&rotate(&world, &client, &new).await, 409, "rotated_recently");
    world.restart().await;
    is(&rotate(&world, &client, &new).await, 409, "rotated_recently");
    world.advance(SECOND);
    rotate(&world, &client, &new).await.ok();
    assert_eq!(rotations(&world, &client).await.len(), 2);
}

async fn a_lost_answer_is_had_again_with_either_secret_for_ten_minutes(mut world: World) {
    let client = client(&world).await;
    let other = world.client("Other", &["production"]).await;
    settings(&world, &other, "production", json!({"self_rotation": true})).await;
    let old = client.registration("production").secret.clone();
    let hours = [("transition_hours", "48")];
    let first = ask(&world, &client, &old, &hours, Some("k-1")).await.ok();
    let new = text(&first["client_secret"]).to_owned();
    let again = async |world: &World, secret: &str| ask(world, &client, secret, &hours, Some("k-1")).await;
    assert_eq!(again(&world, &old).await.ok(), first);
    let quoted = format!("\"{}\"", key("k-1"));
    let quoted = [("idempotency-key", quoted.as_str())];
    assert_eq!(ask_with(&world, &client, &old, &hours, &quoted).await.ok(), first, "quoted");
    world.restart().await;
    world.run_jobs().await;
    world.advance(MINUTE * 10 - SECOND);
    world.run_jobs().await;
    assert_eq!(again(&world, &new).await.ok(), first, "a second before");
    // By another method of authentication, it is the same request.
    let id = client.registration("production").client_id.as_str();
    let form = [("transition_hours", "48"), ("client_id", id), ("client_secret", new.as_str())];
    let k_1 = key("k-1");
    let headers = [("idempotency-key", k_1.as_str())];
    assert_eq!(world.oauth("production").form("rotate-secret", &form, &headers).await.ok(), first);
    let wrong = ask(&world, &client, &new, &[("transition_hours", "24")], Some("k-1")).await;
    is(&wrong, 400, "invalid_request");
    is(&ask(&world, &client, &new, &hours, Some("k-2")).await, 409, "transition_in_progress");
    let another =
        ask(&world, &other, &other.registration("production").secret, &hours, Some("k-1")).await.ok();
    assert_ne!(another["client_secret"], first["client_secret"], "the key of another client");
    assert_eq!(another["client_id"], other.registration("production").client_id);
    world.advance(SECOND);
    is(&again(&world, &new).await, 409, "rotation_over");
    is(&again(&world, &old).await, 409, "rotation_over");
    world.run_jobs().await;
    let sealed = format!("SELECT COUNT(*) FROM idempotency WHERE sealed IS NOT NULL AND actor = '{id}'");
    assert_eq!(world.number(&sealed).await, 0, "wiped");
    assert_eq!(rotations(&world, &client).await.len(), 1);
    // Each time that the value was given again is in the trail, by the client.
    let events = world.owner().await.get("/audit-events?action=secret.revealed").await.ok();
    let events = events["items"].as_array().unwrap().clone();
    assert_eq!(events.len(), 4);
    for event in &events {
        assert_eq!(
            (&event["actor"]["kind"], &event["details"]["replayed"]),
            (&json!("client"), &json!("self_rotate_secret"))
        );
    }
}

async fn an_answer_is_not_given_again_after_the_rotation_was_undone(world: World) {
    let client = client(&world).await;
    let old = client.registration("production").secret.clone();
    let first = ask(&world, &client, &old, &[], Some("k")).await.ok();
    let new = text(&first["client_secret"]);
    roll_back(&world, &client, &first["rotation_id"]).await;
    is_the_refusal(&ask(&world, &client, new, &[], Some("k")).await, "the new secret is revoked");
    is(&ask(&world, &client, &old, &[], Some("k")).await, 409, "rotation_over");
    is(&rotate(&world, &client, &old).await, 409, "rotated_recently");
    token(&world, &client, &old).await.is_token();
    assert_eq!(rotations(&world, &client).await[0]["ended_as"], "rolled_back");
    // Turned off in between, nothing is given again, either.
    world.advance(DAY);
    let second = ask(&world, &client, &old, &[], Some("k-2")).await.ok();
    settings(&world, &client, "production", json!({"self_rotation": false})).await;
    let newer = text(&second["client_secret"]);
    is(&ask(&world, &client, newer, &[], Some("k-2")).await, 400, "unauthorized_client");
}

async fn a_key_that_can_be_guessed_is_refused(world: World) {
    let client = client(&world).await;
    let secret = &client.registration("production").secret;
    let long = "k".repeat(256);
    let short = "k".repeat(21);
    is(&ask_with(&world, &client, secret, &[], &[]).await, 400, "invalid_request");
    for key in ["", "2026-11", &short, &long, secret] {
        let answer = ask_with(&world, &client, secret, &[], &[("idempotency-key", key)]).await;
        is(&answer, 400, "invalid_request");
    }
    // Whoever is not authenticated learns nothing of it.
    is_the_refusal(&ask_with(&world, &client, "wrong", &[], &[]).await, "a wrong secret without a key");
    assert!(rotations(&world, &client).await.is_empty());
    let uuid = [("idempotency-key", "0b1f7d7e-5f3a-4f0e-9a7c-2f1f6f4b9f10")];
    ask_with(&world, &client, secret, &[], &uuid).await.ok();
}

async fn a_failed_authentication_at_the_rotation_is_the_one_refusal(world: World) {
    let on = client(&world).await;
    let off = world.client("Off", &["production"]).await;
    let other = world.client("Elsewhere", &["staging"]).await;
    let secret = &other.registration("staging").secret;
    let ended = off.registration("production").secret.clone();
    world.owner().await.post(&off.path("production", "/secrets/rotate"), off.rotation(0)).await.created();
    let ids = [
        on.registration("production").client_id.as_str(),
        off.registration("production").client_id.as_str(),
        other.registration("staging").client_id.as_str(),
        "0000000000000000000000",
        "nobody",
    ];
    for id in ids {
        for value in [secret.as_str(), &ended, "wrong", ""] {
            for key in [None, Some("k")] {
                super::pause(&world);
                let basic = super::basic(format!("{id}:{value}"));
                let mut headers = vec![("authorization", basic.as_str())];
                headers.extend(key.map(|key| ("idempotency-key", key)));
                let answer = world.oauth("production").form("rotate-secret", &[], &headers).await;
                assert_eq!(Seen::of(&answer), Seen::refusal(), "{id}");
            }
        }
    }
    let oauth = world.oauth("production");
    is_the_refusal(&oauth.form("rotate-secret", &[], &[]).await, "no credentials");
    let url = "rotate-secret?transition_hours=24&client_secret=x";
    let form = [("content-type", "application/x-www-form-urlencoded")];
    is(&oauth.raw(http::Method::POST, url, Vec::new(), &form).await, 400, "invalid_request");
    let large = encoded(&[("x", &"x".repeat(70_000))]).into_bytes();
    let answer = oauth.raw(http::Method::POST, "rotate-secret", large, &form).await;
    assert_eq!(answer.status.as_u16(), 413);
    assert_eq!(oauth.raw(http::Method::GET, "rotate-secret", Vec::new(), &[]).await.status.as_u16(), 405);
    let repeated = b"transition_hours=24&transition_hours=48".to_vec();
    is(&oauth.raw(http::Method::POST, "rotate-secret", repeated, &form).await, 400, "invalid_request");
    assert_eq!(world.number("SELECT COUNT(*) FROM rotations WHERE actor_kind = 'client'").await, 0);
}

async fn a_disabled_or_deleted_client_rotates_nothing(world: World) {
    let client = client(&world).await;
    let secret = client.registration("production").secret.clone();
    super::disable(&world, &client, "production").await;
    is_the_refusal(&rotate(&world, &client, &secret).await, "disabled");
    settings(&world, &client, "production", json!({"enabled": true})).await;
    let first = ask(&world, &client, &secret, &[], Some("k")).await.ok();
    super::disable(&world, &client, "production").await;
    is_the_refusal(&ask(&world, &client, &secret, &[], Some("k")).await, "no answer again while disabled");
    let body = json!({"confirm_client_name": "Billing", "reason": "over"});
    world.owner().await.delete(&format!("/clients/{}", client.id), body).await;
    is_the_refusal(&ask(&world, &client, text(&first["client_secret"]), &[], Some("k")).await, "deleted");
}

async fn in_quarantine_no_client_rotates_its_secret(mut world: World) {
    let client = client(&world).await;
    let secret = client.registration("production").secret.clone();
    let at = world.now().as_micros();
    world
        .raw(&format!(
            "INSERT INTO quarantine (one, since, cause, data_until) VALUES (1, {at}, 'restored', {at})"
        ))
        .await;
    world.restart().await;
    is(&rotate(&world, &client, &secret).await, 503, "temporarily_unavailable");
    assert_eq!(world.number("SELECT COUNT(*) FROM rotations").await, 0);
}

async fn a_refusing_window_of_a_drill_refuses_the_old_secret_here_too(world: World) {
    let client = client(&world).await;
    let old = client.registration("production").secret.clone();
    let first = ask(&world, &client, &old, &[], Some("k")).await.ok();
    let body = json!({
        "starts_at": world.now().after(MINUTE * 2).to_string(), "length_seconds": 120, "reason": "who is left",
        "confirm_client_name": "Billing",
    });
    world.owner().await.post(&client.path("production", "/drills"), body).await.created();
    world.advance(MINUTE * 2 - SECOND);
    assert_eq!(ask(&world, &client, &old, &[], Some("k")).await.ok(), first);
    world.advance(SECOND);
    is_the_refusal(&ask(&world, &client, &old, &[], Some("k")).await, "in the window");
    let new = text(&first["client_secret"]);
    assert_eq!(ask(&world, &client, new, &[], Some("k")).await.ok(), first);
    is(&rotate(&world, &client, new).await, 409, "transition_in_progress");
}

async fn a_secret_that_is_shown_once_is_given_again_to_the_client_alone(world: World) {
    let client = client(&world).await;
    let owner = world.owner().await;
    let body = json!({"show_once": true, "confirm_environment_slug": "production"});
    owner.patch("/environments/production", body).await.ok();
    let old = client.registration("production").secret.clone();
    let first = ask(&world, &client, &old, &[], Some("k")).await.ok();
    assert_eq!(ask(&world, &client, &old, &[], Some("k")).await.ok(), first);
    let reveal = client.path("production", &format!("/secrets/{}/reveal", text(&first["secret_id"])));
    owner.post(&reveal, json!({})).await.refused(409, "secret_not_stored");
}

/// The recorded refusals of self-rotations: code, reason and whether the client is named.
async fn refusals(world: &World) -> Vec<(String, String, bool)> {
    let list = world.owner().await.get("/audit-events?action=access.refused").await.ok();
    let items = list["items"].as_array().unwrap().iter();
    let of_it = items.filter(|it| it["details"]["operation"] == "self_rotate_secret");
    let mut found: Vec<_> = of_it
        .map(|it| {
            let is_named =
                it["actor"]["kind"] == "client" && it["client_id"].is_string() && it["outcome"] == "refused";
            (text(&it["details"]["code"]).to_owned(), text(&it["reason"]).to_owned(), is_named)
        })
        .collect();
    found.sort();
    found
}

async fn a_refusal_after_a_right_secret_is_recorded_once_with_its_reason(world: World) {
    let off = world.client("Off", &["production"]).await;
    let on = client(&world).await;
    let secret = &on.registration("production").secret;
    let uuid = |n: u32| format!("0b1f7d7e-5f3a-4f0e-9a7c-2f1f6f4b9f{n:02}");
    for n in 0..4 {
        is(&rotate(&world, &off, &off.registration("production").secret).await, 400, "unauthorized_client");
        is(&ask(&world, &on, secret, &[("transition_hours", "1")], None).await, 400, "invalid_request");
        is(
            &ask_with(&world, &on, secret, &[], &[("idempotency-key", "short")]).await,
            400,
            "invalid_request",
        );
        // Wrong secrets are failed authentications, as everywhere.
        is_the_refusal(&ask(&world, &on, "wrong", &[], None).await, "a wrong secret");
        assert_eq!(refusals(&world).await.len(), 3, "attempt {n}");
    }
    let done = ask_with(&world, &on, secret, &[], &[("idempotency-key", &uuid(1))]).await.ok();
    for _ in 0..2 {
        is(&rotate(&world, &on, secret).await, 409, "transition_in_progress");
        let other = [("transition_hours", "48")];
        let key = uuid(1);
        is(
            &ask_with(&world, &on, secret, &other, &[("idempotency-key", &key)]).await,
            400,
            "invalid_request",
        );
    }
    world.advance(MINUTE * 11);
    is(&ask_with(&world, &on, secret, &[], &[("idempotency-key", &uuid(1))]).await, 409, "rotation_over");
    let found = refusals(&world).await;
    let said = |code: &str, part: &str| {
        let is_it = |it: &&(String, String, bool)| it.0 == code && it.1.contains(part) && it.2;
        assert_eq!(found.iter().filter(is_it).count(), 1, "{code} {part}: {found:?}");
    };
    said("unauthorized_client", "not permitted");
    said("invalid_request", "transition_hours");
    said("invalid_request", "Idempotency-Key must be 22");
    said("invalid_request", "different request");
    said("transition_in_progress", "still valid");
    said("rotation_over", "not given again");
    assert_eq!(found.len(), 6, "{found:?}");
    let recorded = format!("{found:?}");
    assert!(!recorded.contains(secret.as_str()) && !recorded.contains(text(&done["client_secret"])));
}

async fn self_rotation_needs_an_owner_who_hears_of_it(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let (path, owner) = (client.path("production", ""), world.owner().await);
    let of_client = format!("/clients/{}", client.id);
    let owned = |list: &[&str]| json!({"owners": list, "confirm_client_name": "Billing"});
    owner.patch(&of_client, owned(&[])).await.ok();
    let refused = owner.patch(&path, json!({"self_rotation": true})).await.refused(422, "invalid_body");
    assert_eq!(refused["field"], "self_rotation");
    assert!(text(&refused["detail"]).contains("owners of the client first"), "{refused}");
    let browser = world.signed_in().await;
    let settings = format!("/console/clients/{}/environments/production/settings", client.id);
    let page = browser.get(&settings).await.page(200);
    assert!(page.contains("requires an owner"), "{page}");
    owner.patch(&of_client, owned(&["ada@example.com", "team@example.com"])).await.ok();
    owner.patch(&path, json!({"self_rotation": true})).await.ok();
    // One of two may go, and the last one may not.
    owner.patch(&of_client, owned(&["team@example.com"])).await.ok();
    let refused = owner.patch(&of_client, owned(&[])).await.refused(409, "in_use");
    assert_eq!(refused["field"], "owners");
    assert!(text(&refused["detail"]).contains("in production"), "{refused}");
    assert_eq!(
        owner.get(&of_client).await.ok()["owners"],
        json!(["team@example.com"]),
        "nothing was changed"
    );
    // Other changes of a client that has no owner since an earlier version go on.
    world.raw("UPDATE clients SET owners = '[]'").await;
    owner.patch(&path, json!({"self_rotation": true, "scopes": ["read"]})).await.ok();
    owner.patch(&of_client, json!({"owners": [], "description": "still none"})).await.ok();
    owner.patch(&path, json!({"self_rotation": false})).await.ok();
    owner.patch(&of_client, owned(&["ada@example.com"])).await.ok();
    owner.patch(&of_client, owned(&[])).await.ok();
}

async fn only_who_may_rotate_turns_self_rotation_on(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let path = client.path("production", "");
    let owner = world.owner().await;
    let manager = world.user("mia@example.com", "operations_manager").await;
    let rotator = world.user("rosa@example.com", "secret_rotator").await;
    let (on, off) = (json!({"self_rotation": true}), json!({"self_rotation": false}));
    let problem = manager.patch(&path, on.clone()).await.refused(403, "forbidden");
    assert_eq!(problem["permission"], "secret:rotate");
    rotator.patch(&path, on.clone()).await.refused(403, "forbidden");
    let narrow = world.token_of(crate::world::OWNER, &["client:read", "client:manage"]).await;
    narrow.patch(&path, on.clone()).await.refused(403, "forbidden");
    owner.patch(&path, on.clone()).await.ok();
    manager.patch(&path, json!({"self_rotation": true, "scopes": ["a"]})).await.ok();
    manager.patch(&path, off).await.ok();
    manager.patch(&path, on).await.refused(403, "forbidden");
    owner.patch(&path, json!({"self_rotation": "yes"})).await.refused(422, "invalid_body");
}

async fn a_client_that_asks_too_often_is_slowed_down(world: World) {
    let client = client(&world).await;
    let own = client.registration("production");
    let mut seen = Vec::new();
    for _ in 0..15 {
        let answer = rotate(&world, &client, &own.secret).await;
        seen.push(answer.status.as_u16());
        if answer.status.as_u16() == 429 {
            is(&answer, 429, "slow_down");
            assert_eq!(answer.header("retry-after"), Some("10"));
        }
    }
    let count = |status: u16| seen.iter().filter(|it| **it == status).count();
    assert_eq!((count(200), count(409), count(429)), (1, 9, 5), "{seen:?}");
    token(&world, &client, &own.secret).await.is_token();
}

async fn of_instances_that_rotate_at_once_one_does(world: World) {
    let world = Arc::new(world);
    let client = client(&world).await;
    let secret = client.registration("production").secret.clone();
    let mut tasks = JoinSet::new();
    for number in 0..20 {
        let (world, client, secret) = (world.clone(), client.clone(), secret.clone());
        tasks.spawn(async move {
            // Half of them share a key.
            let key = if number % 2 == 0 { "shared".to_owned() } else { format!("k-{number}") };
            ask(&world, &client, &secret, &[], Some(&key)).await
        });
    }
    let answers = tasks.join_all().await;
    let mut won: Vec<_> =
        answers.iter().filter(|answer| answer.status.as_u16() == 200).map(Answer::json).collect();
    won.dedup();
    assert_eq!(won.len(), 1, "one secret, however often it is given");
    for answer in answers.iter().filter(|answer| answer.status.as_u16() != 200) {
        assert!([409, 429].contains(&answer.status.as_u16()), "{}", answer.status);
    }
    assert_eq!(rotations(&world, &client).await.len(), 1);
}
