//! Drills from outside: when the old secret is refused and when not, whatever happens meanwhile, and whom they find.

use crate::engines::on_both_engines;
use crate::world::{Answer, Client, Oauth, World};
use crossfade_core::Timestamp;
use serde_json::{Value, json};
use std::time::Duration;

on_both_engines! {
    the_old_secret_is_refused_in_the_windows_and_at_no_other_time,
    a_refusal_by_a_drill_is_the_401_of_an_ended_secret_byte_for_byte,
    a_drill_begins_when_the_call_returns_and_a_stop_too,
    a_drill_never_changes_a_deadline,
    an_extension_leaves_the_windows_as_they_are,
    a_roll_back_ends_the_drill_for_good,
    whatever_ends_the_secret_ends_the_drill,
    a_disabled_registration_has_no_drill,
    a_window_in_which_no_server_ran_is_told,
    only_one_drill_of_a_secret_at_a_time,
    a_drill_finds_every_caller_within_its_windows_and_no_other,
    a_thousand_callers_are_found_one_by_one_and_no_refusal_is_lost,
    a_drill_that_was_stopped_before_it_began_found_nobody,
    what_is_asked_for_wrongly_is_named_and_changes_nothing,
    a_repeated_request_schedules_once_and_an_old_version_not_at_all,
    what_callers_say_of_themselves_is_harmless_where_it_is_told_rule_18,
    a_restart_within_a_window_forgets_neither_the_window_nor_who_was_found,
}

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// A client after a rotation with 24 hours.
struct Stage {
    client: Client,
    id: String,
    old: String,
    new: String,
}

impl Stage {
    async fn set(world: &World) -> Self {
        let client = world.client("Billing", &["production"]).await;
        let it = client.registration("production").clone();
        let reply = world
            .owner()
            .await
            .post(&client.path("production", "/secrets/rotate"), client.rotation(24))
            .await;
        let new = text(&reply.created()["secret"]["value"]);
        Self { client, id: it.client_id, old: it.secret, new }
    }

    fn path(&self, rest: &str) -> String {
        self.client.path("production", rest)
    }

    async fn schedule(&self, world: &World, more: Value) -> Answer {
        world.owner().await.post(&self.path("/drills"), body(more)).await
    }

    async fn list(&self, world: &World) -> Value {
        world.owner().await.get(&self.path("/drills")).await.ok()["items"].clone()
    }

    async fn stop(&self, world: &World, drill: &Value) -> Answer {
        let path = self.path(&format!("/drills/{}", text(&drill["id"])));
        world.owner().await.delete(&path, json!({"reason": "invoices fail"})).await
    }

    /// Whether the old secret is refused now. The new one never is.
    async fn refused(&self, world: &World) -> bool {
        let oauth = world.oauth("production");
        oauth.token(&self.id, &self.new).await.is_token();
        let answer = oauth.token(&self.id, &self.old).await;
        match answer.status.as_u16() {
            200 => false,
            _ => {
                answer.is_invalid_client();
                true
            }
        }
    }

    async fn events(&self, world: &World, action: &str) -> Vec<Value> {
        let found = world.owner().await.get(&format!("/audit-events?action={action}&limit=200")).await.ok();
        found["items"].as_array().unwrap().clone()
    }
}

fn body(more: Value) -> Value {
    let mut body = json!({"length_seconds": 60, "confirm_client_name": "Billing", "reason": "who is left"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is not a text")).to_owned()
}

fn time(value: &Value) -> Timestamp {
    Timestamp::parse(value.as_str().unwrap()).unwrap()
}

/// The windows of a drill.
fn windows(drill: &Value) -> Vec<(Timestamp, Timestamp)> {
    drill["windows"].as_array().unwrap().iter().map(|it| (time(&it["from"]), time(&it["to"]))).collect()
}

fn advance_to(world: &World, time: Timestamp) {
    assert!(time >= world.now());
    world.advance(time.since(world.now()));
}

/// Presents a secret as one instance of a program.
async fn call(oauth: &Oauth<'_>, stage: &Stage, secret: &str, label: &str) -> Answer {
    let form = [("grant_type", "client_credentials"), ("client_id", &stage.id), ("client_secret", secret)];
    oauth.form("token", &form, &[("crossfade-instance", label)]).await
}

async fn the_old_secret_is_refused_in_the_windows_and_at_no_other_time(mut world: World) {
    let stage = Stage::set(&world).await;
    let starts_at = world.now().after(10 * MINUTE);
    let drill = stage
        .schedule(&world, json!({"starts_at": starts_at, "repeat": 3, "every_seconds": 600}))
        .await
        .created();
    assert_eq!(
        (&drill["state"], time(&drill["ends_at"])),
        (&json!("scheduled"), starts_at.after(21 * MINUTE))
    );
    assert_eq!(drill["scheduled_by"]["kind"], "user");
    for (n, (from, to)) in windows(&drill).into_iter().enumerate() {
        assert_eq!(
            (from, to),
            (starts_at.after(10 * MINUTE * n as u32), starts_at.after(10 * MINUTE * n as u32 + MINUTE))
        );
        for (at, refused) in [
            (from.before(MS), false),
            (from, true),
            (from.after(MS), true),
            (to.before(MS), true),
            (to, false),
            (to.after(MS), false),
        ] {
            advance_to(&world, at);
            assert_eq!(stage.refused(&world).await, refused, "{at} of {from} to {to}");
            // The same after a restart at this very moment.
            world.restart().await;
            assert_eq!(stage.refused(&world).await, refused, "{at} of {from} to {to}, after a restart");
        }
    }
    advance_to(&world, starts_at.after(23 * HOUR));
    assert!(!stage.refused(&world).await);
}

async fn a_refusal_by_a_drill_is_the_401_of_an_ended_secret_byte_for_byte(world: World) {
    let stage = Stage::set(&world).await;
    let oauth = world.oauth("production");
    stage.schedule(&world, json!({})).await.created();
    let ended = world.client("Ended", &["production"]).await;
    let it = ended.registration("production").clone();
    world.owner().await.post(&ended.path("production", "/secrets/rotate"), ended.rotation(0)).await.created();
    for endpoint in ["token", "introspect", "revoke"] {
        let form = [("grant_type", "client_credentials"), ("token", "x")];
        let drilled = oauth.basic(endpoint, &stage.id, &stage.old, &form).await;
        let expired = oauth.basic(endpoint, &it.client_id, &it.secret, &form).await;
        let unknown = oauth.basic(endpoint, "nobody", "nothing", &form).await;
        drilled.is_invalid_client();
        for other in [&expired, &unknown] {
            assert_eq!(
                (drilled.status, &drilled.headers, &drilled.bytes),
                (other.status, &other.headers, &other.bytes),
                "{endpoint}"
            );
        }
    }
    let drilled = oauth.token_by_post(&stage.id, &stage.old).await;
    let expired = oauth.token_by_post(&it.client_id, &it.secret).await;
    assert_eq!(
        (drilled.status, drilled.headers, drilled.bytes),
        (expired.status, expired.headers, expired.bytes)
    );
}

async fn a_drill_begins_when_the_call_returns_and_a_stop_too(world: World) {
    let stage = Stage::set(&world).await;
    assert!(!stage.refused(&world).await);
    let drill = stage
        .schedule(&world, json!({"length_seconds": 900, "repeat": 2, "every_seconds": 1800}))
        .await
        .created();
    assert_eq!((&drill["state"], windows(&drill)[0].0), (&json!("running"), world.now()));
    assert!(stage.refused(&world).await);
    world.advance(MINUTE);
    assert!(stage.refused(&world).await);
    let stopped = stage.stop(&world, &drill).await.ok();
    assert!(!stage.refused(&world).await);
    assert_eq!(
        (&stopped["state"], &stopped["stopped_as"], time(&stopped["stopped_at"])),
        (&json!("stopped"), &json!("stopped"), world.now())
    );
    assert_eq!(windows(&stopped), [(windows(&drill)[0].0, world.now())]);
    stage.stop(&world, &drill).await.refused(409, "drill_over");
    world.advance(30 * MINUTE);
    assert!(!stage.refused(&world).await, "the later windows are gone");
    assert_eq!(stage.events(&world, "drill.scheduled").await.len(), 1);
    let told = stage.events(&world, "drill.stopped").await;
    assert_eq!(
        (told.len(), &told[0]["reason"], &told[0]["target"]),
        (1, &json!("invoices fail"), &drill["id"])
    );
}

async fn a_drill_never_changes_a_deadline(world: World) {
    let stage = Stage::set(&world).await;
    let deadline = async || {
        world.owner().await.get(&stage.path("/secrets")).await.ok()["items"][1]["expires_at"].clone()
    };
    let before = deadline().await;
    let ends = time(&before);
    // Up to the deadline, and not a microsecond beyond.
    let late = stage
        .schedule(&world, json!({"starts_at": ends.before(MINUTE).after(Duration::from_micros(1))}))
        .await
        .refused(422, "invalid_body");
    assert_eq!((&late["field"], &late["at_most"]), (&json!("starts_at"), &before));
    let many = stage
        .schedule(&world, json!({"starts_at": ends.before(11 * MINUTE), "repeat": 3, "every_seconds": 600}))
        .await
        .refused(422, "invalid_body");
    assert_eq!(many["field"], "repeat");
    let drill = stage.schedule(&world, json!({"starts_at": ends.before(MINUTE)})).await.created();
    assert_eq!(time(&drill["ends_at"]), ends);
    assert_eq!(deadline().await, before);
    advance_to(&world, ends.before(MS));
    assert!(stage.refused(&world).await);
    advance_to(&world, ends);
    assert!(stage.refused(&world).await, "it has expired");
    world.run_jobs().await;
    assert_eq!(deadline().await, before);
    stage.stop(&world, &drill).await.refused(409, "drill_over");
    stage.schedule(&world, json!({})).await.refused(409, "not_retiring");
}

async fn an_extension_leaves_the_windows_as_they_are(world: World) {
    let stage = Stage::set(&world).await;
    let secret = &stage.client.registration("production").secret_id;
    let drill = stage.schedule(&world, json!({"repeat": 2, "every_seconds": 600})).await.created();
    let later = world.now().after(48 * HOUR).to_string();
    world
        .owner()
        .await
        .post(
            &stage.path(&format!("/secrets/{secret}/extend")),
            json!({"expires_at": later, "reason": "one is late"}),
        )
        .await
        .ok();
    assert!(stage.refused(&world).await);
    assert_eq!(stage.list(&world).await[0]["windows"], drill["windows"]);
    world.advance(MINUTE);
    assert!(!stage.refused(&world).await);
}

async fn a_roll_back_ends_the_drill_for_good(mut world: World) {
    let stage = Stage::set(&world).await;
    stage
        .schedule(&world, json!({"length_seconds": 900, "repeat": 3, "every_seconds": 1800}))
        .await
        .created();
    assert!(stage.refused(&world).await);
    let rotation = text(&world.owner().await.get(&stage.path("/rotations")).await.ok()["items"][0]["id"]);
    let body = json!({"reason": "a caller fails", "acknowledge_in_use": true});
    world.owner().await.post(&stage.path(&format!("/rotations/{rotation}/rollback")), body).await.ok();
    let oauth = world.oauth("production");
    oauth.token(&stage.id, &stage.old).await.is_token();
    let drill = stage.list(&world).await[0].clone();
    assert_eq!((&drill["state"], &drill["stopped_as"]), (&json!("stopped"), &json!("rolled_back")));
    let told = stage.events(&world, "drill.stopped").await;
    assert_eq!((told.len(), &told[0]["details"]["stopped_as"]), (1, &json!("rolled_back")));
    // It retires a second time, within what would have been a window: nothing of the drill is left.
    let owner = world.owner().await;
    owner.post(&stage.path("/secrets/rotate"), stage.client.rotation(24)).await.created();
    for _ in 0..2 {
        world.oauth("production").token(&stage.id, &stage.old).await.is_token();
        world.advance(30 * MINUTE);
        world.oauth("production").token(&stage.id, &stage.old).await.is_token();
        world.restart().await;
    }
}

async fn whatever_ends_the_secret_ends_the_drill(world: World) {
    let secret_of = |stage: &Stage| stage.client.registration("production").secret_id.clone();
    let stage = Stage::set(&world).await;
    stage.schedule(&world, json!({"repeat": 2, "every_seconds": 600})).await.created();
    let path = stage.path(&format!("/secrets/{}/revoke", secret_of(&stage)));
    world.owner().await.post(&path, json!({"reason": "enough"})).await.ok();
    assert_eq!(stage.list(&world).await[0]["stopped_as"], "revoked");
    assert!(stage.refused(&world).await);
    let reason = |failures: &Value| text(&failures["items"][0]["reason"]);
    let failures = world.owner().await.get("/authentication-failures").await.ok();
    assert_eq!(reason(&failures), "revoked");

    // The current secret of before retires now, and is drilled.
    let owner = world.owner().await;
    owner.post(&stage.path("/secrets/rotate"), stage.client.rotation(24)).await.created();
    stage.schedule(&world, json!({"repeat": 2, "every_seconds": 600})).await.created();
    let mut body = stage.client.rotation(24);
    body["end_running_transition"] = true.into();
    owner.post(&stage.path("/secrets/rotate"), body).await.created();
    let drills = stage.list(&world).await;
    assert_eq!(
        (&drills[0]["stopped_as"], &drills[1]["stopped_as"]),
        (&json!("superseded"), &json!("revoked"))
    );

    stage.schedule(&world, json!({"repeat": 2, "every_seconds": 600})).await.created();
    let path = format!("/clients/{}", stage.client.id);
    owner.delete(&path, json!({"confirm_client_name": "Billing", "reason": "gone"})).await;
    assert_eq!(world.number("SELECT COUNT(*) FROM drills WHERE stopped_as = 'client_deleted'").await, 1);
    world.advance(HOUR);
    world.run_jobs().await;
    assert_eq!(world.number("SELECT COUNT(*) FROM drills WHERE told_at IS NULL").await, 0);
}

/// What refuses everybody finds nobody.
async fn a_disabled_registration_has_no_drill(world: World) {
    let stage = Stage::set(&world).await;
    let owner = world.owner().await;
    let enable = async |enabled: bool| {
        let body = json!({"enabled": enabled, "confirm_client_name": "Billing"});
        owner.patch(&stage.path(""), body).await.ok();
    };
    stage.schedule(&world, json!({"repeat": 2, "every_seconds": 600})).await.created();
    world.advance(30 * SECOND);
    enable(false).await;
    let drill = stage.list(&world).await[0].clone();
    assert_eq!(
        (&drill["state"], &drill["stopped_as"], time(&drill["ends_at"])),
        (&json!("stopped"), &json!("disabled"), world.now())
    );
    let told = stage.events(&world, "drill.stopped").await;
    assert_eq!((told.len(), &told[0]["details"]["stopped_as"]), (1, &json!("disabled")));
    world.oauth("production").token(&stage.id, &stage.old).await.is_invalid_client();
    assert_eq!(owner.get("/authentication-failures?reason=drill").await.ok()["items"], json!([]));
    stage.schedule(&world, json!({})).await.refused(409, "registration_disabled");
    enable(true).await;
    assert!(!stage.refused(&world).await, "it is over for good");
    world.advance(10 * MINUTE);
    assert!(!stage.refused(&world).await);
    // A change of other settings stops none.
    stage.schedule(&world, json!({"repeat": 2, "every_seconds": 600})).await.created();
    owner.patch(&stage.path(""), json!({"scopes": ["read"], "enabled": true})).await.ok();
    assert!(stage.refused(&world).await);
}

/// While no server runs, a window finds nobody, and says so.
async fn a_window_in_which_no_server_ran_is_told(mut world: World) {
    let stage = Stage::set(&world).await;
    let drill = stage.schedule(&world, json!({"repeat": 2, "every_seconds": 600})).await.created();
    let [first, second] = windows(&drill)[..] else { panic!("{drill}") };
    assert_eq!(drill["unrecorded_seconds"], 0);
    advance_to(&world, first.0.after(20 * SECOND));
    assert!(stage.refused(&world).await);
    world.run_jobs().await;
    let back = second.0.after(10 * SECOND).after(MS);
    world.restart_at(back).await;
    // The rest of the first window, and the beginning of the second.
    assert_eq!(stage.list(&world).await[0]["unrecorded_seconds"], 40 + 11);
    advance_to(&world, second.1.after(5 * SECOND));
    world.run_jobs().await;
    let told = stage.events(&world, "drill.finished").await;
    assert_eq!((told.len(), &told[0]["details"]["unrecorded_seconds"]), (1, &json!(51)));
}

async fn only_one_drill_of_a_secret_at_a_time(world: World) {
    let stage = Stage::set(&world).await;
    let first = stage.schedule(&world, json!({"repeat": 2, "every_seconds": 600})).await.created();
    let in_progress = stage
        .schedule(&world, json!({"starts_at": world.now().after(HOUR)}))
        .await
        .refused(409, "drill_in_progress");
    assert_eq!(in_progress["drill"], json!({"id": first["id"], "ends_at": first["ends_at"]}));
    stage.stop(&world, &first).await.ok();
    let second = stage.schedule(&world, json!({"starts_at": world.now().after(MINUTE)})).await.created();
    assert!(!stage.refused(&world).await);
    world.advance(MINUTE);
    assert!(stage.refused(&world).await);
    let listed = stage.list(&world).await;
    assert_eq!((&listed[0]["id"], &listed[1]["id"]), (&second["id"], &first["id"]), "newest first");
    let page = world.owner().await.get(&stage.path("/drills?limit=1")).await.ok();
    let next = world
        .owner()
        .await
        .get(&stage.path(&format!("/drills?limit=1&cursor={}", text(&page["next_cursor"]))))
        .await
        .ok();
    assert_eq!((&page["items"][0]["id"], &next["items"][0]["id"]), (&second["id"], &first["id"]));
}

async fn a_drill_finds_every_caller_within_its_windows_and_no_other(world: World) {
    let stage = Stage::set(&world).await;
    let near = world.oauth("production");
    let far = world.oauth("production").from([198, 51, 100, 7], "worker/2");
    call(&near, &stage, &stage.old, "early").await.is_token();
    let drill = stage
        .schedule(&world, json!({"starts_at": world.now().after(MINUTE), "repeat": 2, "every_seconds": 600}))
        .await
        .created();
    let [first, second] = windows(&drill)[..] else { panic!("{drill}") };
    advance_to(&world, first.0);
    for label in ["a", "b", "a"] {
        call(&near, &stage, &stage.old, label).await.is_invalid_client();
    }
    call(&near, &stage, &stage.new, "moved").await.is_token();
    call(&near, &stage, "crossfade_live_wrong", "stranger").await.is_invalid_client();
    advance_to(&world, first.1);
    call(&near, &stage, &stage.old, "between").await.is_token();
    world.run_jobs().await;
    assert!(stage.events(&world, "drill.finished").await.is_empty(), "it is not over");
    advance_to(&world, second.1.before(MS));
    call(&far, &stage, &stage.old, "c").await.is_invalid_client();

    let found = stage.list(&world).await[0].clone();
    let labels = |found: &Value| -> Vec<String> {
        found["callers"].as_array().unwrap().iter().map(|it| text(&it["instance"])).collect()
    };
    assert_eq!((found["caller_count"].as_i64(), found["refusal_count"].as_i64()), (Some(3), Some(4)));
    assert_eq!(labels(&found), ["c", "a", "b"]);
    let last = &found["callers"][0];
    assert_eq!((&last["source_ip"], &last["user_agent"]), (&json!("198.51.100.7"), &json!("worker/2")));
    assert_eq!((time(&last["first_at"]), last["gathered"].as_bool()), (second.1.before(MS), Some(false)));

    // The event comes once, when everything is stored.
    advance_to(&world, second.1);
    world.run_jobs().await;
    assert!(stage.events(&world, "drill.finished").await.is_empty());
    world.advance(5 * SECOND);
    for _ in 0..3 {
        world.run_jobs().await;
    }
    let told = stage.events(&world, "drill.finished").await;
    assert_eq!(told.len(), 1);
    let details = &told[0]["details"];
    assert_eq!(
        (details["caller_count"].as_i64(), details["refusal_count"].as_i64(), &details["stopped"]),
        (Some(3), Some(4), &json!(false))
    );
    assert_eq!(
        (labels(details), &told[0]["actor"]["id"]),
        (vec!["c".to_owned(), "a".to_owned(), "b".to_owned()], &json!("drill"))
    );
    assert_eq!(stage.list(&world).await[0]["state"], "finished");
    let queued = world
        .number("SELECT COUNT(*) FROM notifications WHERE event IN ('drill.scheduled', 'drill.finished')")
        .await;
    assert_eq!(queued, 2, "the owners of the client are told");

    // Failures and their trail tell the drill apart, and a refusal is no use of the secret.
    let failures = world.owner().await.get("/authentication-failures?reason=drill").await.ok();
    let counts: i64 =
        failures["items"].as_array().unwrap().iter().map(|it| it["count"].as_i64().unwrap()).sum();
    assert_eq!((counts, &failures["items"][0]["secret_id"]), (4, &drill["secret_id"]));
    let trail = stage.events(&world, "authentication.failed").await;
    assert!(
        trail
            .iter()
            .any(|it| it["details"]["reason"] == "drill" && it["details"]["secret_id"] == drill["secret_id"])
    );
    let secrets = world.owner().await.get(&stage.path("/secrets")).await.ok();
    assert_eq!(
        (secrets["items"][1]["use_count"].as_i64(), time(&secrets["items"][1]["last_used_at"])),
        (Some(2), first.1)
    );
    // Whoever a drill has found is left.
    let over = world.owner().await.get(&stage.path("/change-over")).await.ok();
    let callers = over["callers"].as_array().unwrap();
    let one = callers.iter().find(|it| it["instance"] == "c").unwrap();
    assert_eq!(
        (&one["state"], &one["old"], time(&one["refused_at"])),
        (&json!("on_old"), &Value::Null, second.1.before(MS))
    );
}

async fn a_thousand_callers_are_found_one_by_one_and_no_refusal_is_lost(world: World) {
    let stage = Stage::set(&world).await;
    stage.schedule(&world, json!({})).await.created();
    let oauth = world.oauth("production");
    for n in 0..1003 {
        let answer = call(&oauth, &stage, &stage.old, &format!("pod-{n}")).await;
        // Beyond the hundredth failure of one network, the answer is 429; the refusal counts all the same.
        assert_eq!(answer.status.as_u16(), if n < 100 { 401 } else { 429 });
    }
    let found = stage.list(&world).await[0].clone();
    assert_eq!((found["caller_count"].as_i64(), found["refusal_count"].as_i64()), (Some(1001), Some(1003)));
    assert_eq!(found["callers"].as_array().unwrap().len(), 100);
}

async fn a_drill_that_was_stopped_before_it_began_found_nobody(world: World) {
    let stage = Stage::set(&world).await;
    let drill = stage.schedule(&world, json!({"starts_at": world.now().after(MINUTE)})).await.created();
    let stopped = stage.stop(&world, &drill).await.ok();
    assert_eq!((&stopped["state"], &stopped["windows"]), (&json!("stopped"), &json!([])));
    world.advance(HOUR);
    world.run_jobs().await;
    assert!(stage.events(&world, "drill.finished").await.is_empty());
    assert!(!stage.refused(&world).await);
}

async fn what_is_asked_for_wrongly_is_named_and_changes_nothing(world: World) {
    let stage = Stage::set(&world).await;
    let past = world.now().before(MS);
    for (more, field) in [
        (json!({"length_seconds": 4}), "length_seconds"),
        (json!({"length_seconds": 901}), "length_seconds"),
        (json!({"length_seconds": null}), "length_seconds"),
        (json!({"length_seconds": "60"}), "length_seconds"),
        (json!({"length_seconds": 60.5}), "length_seconds"),
        (json!({"repeat": 0}), "repeat"),
        (json!({"repeat": 49, "every_seconds": 600}), "repeat"),
        (json!({"repeat": null}), "repeat"),
        (json!({"repeat": 2}), "every_seconds"),
        (json!({"every_seconds": 600}), "every_seconds"),
        (json!({"repeat": 2, "every_seconds": 119}), "every_seconds"),
        (json!({"starts_at": "soon"}), "starts_at"),
        (json!({"starts_at": past}), "starts_at"),
        (json!({"starts_at": "9998-01-01T00:00:00Z"}), "starts_at"),
        (json!({"reason": ""}), "reason"),
        (json!({"reason": null}), "reason"),
        (json!({"windows": []}), "windows"),
    ] {
        let problem = stage.schedule(&world, more.clone()).await.refused(422, "invalid_body");
        assert_eq!(problem["field"], field, "{more}");
    }
    stage
        .schedule(&world, json!({"confirm_client_name": "billing"}))
        .await
        .refused(422, "confirmation_mismatch");
    let mut without = body(json!({}));
    without.as_object_mut().unwrap().remove("length_seconds");
    world.owner().await.post(&stage.path("/drills"), without).await.refused(422, "invalid_body");
    let other = stage
        .schedule(&world, json!({"secret_id": "sec_0000000000000000000000"}))
        .await
        .refused(409, "not_retiring");
    assert_eq!(other["field"], "secret_id");
    for drill in ["drill_0000000000000000000000", "x", "sec_0000000000000000000000"] {
        stage.stop(&world, &json!({"id": drill})).await.refused(404, "not_found");
    }
    assert_eq!(world.number("SELECT COUNT(*) FROM drills").await, 0);
    assert!(!stage.refused(&world).await);
    // A secret that was never rotated has no old one, and one that has leaked has none left.
    let fresh = world.client("Fresh", &["production"]).await;
    let mut fits = body(json!({}));
    fits["confirm_client_name"] = "Fresh".into();
    world
        .owner()
        .await
        .post(&fresh.path("production", "/drills"), fits.clone())
        .await
        .refused(409, "not_retiring");
    let mut leaked = fresh.rotation(0);
    leaked["compromised"] = true.into();
    world.owner().await.post(&fresh.path("production", "/secrets/rotate"), leaked).await.created();
    world.owner().await.post(&fresh.path("production", "/drills"), fits).await.refused(409, "not_retiring");
}

async fn a_repeated_request_schedules_once_and_an_old_version_not_at_all(world: World) {
    let stage = Stage::set(&world).await;
    let owner = world.owner().await;
    let send = async |headers: &[(&str, &str)]| {
        owner
            .call(http::Method::POST, &stage.path("/drills"), Some(body(json!({})).to_string()), headers)
            .await
    };
    send(&[("if-match", "\"1\"")]).await.refused(412, "precondition_failed");
    let key = [("idempotency-key", "once")];
    let (first, again) = (send(&key).await.created(), send(&key).await.created());
    assert_eq!(first, again);
    assert_eq!(world.number("SELECT COUNT(*) FROM drills").await, 1);
    send(&[]).await.refused(409, "drill_in_progress");
}

/// Whatever a stranger sends as an agent or a label: no secret and nothing that steers a terminal is kept.
async fn what_callers_say_of_themselves_is_harmless_where_it_is_told_rule_18(world: World) {
    let stage = Stage::set(&world).await;
    stage.schedule(&world, json!({})).await.created();
    let oauth = world.oauth("production").from([192, 0, 2, 9], &format!("agent {}", stage.old));
    call(&oauth, &stage, &stage.old, &stage.new).await.is_invalid_client();
    world.advance(2 * MINUTE);
    world.run_jobs().await;
    let all = format!("{} {}", stage.list(&world).await, json!(stage.events(&world, "drill.finished").await));
    assert!(all.contains("withheld"), "{all}");
    for secret in [&stage.old, &stage.new] {
        assert!(!all.contains(secret.as_str()), "a secret is told: {all}");
    }
}

/// A process that dies within a window: the windows hold on, and what was stored of the callers is there.
async fn a_restart_within_a_window_forgets_neither_the_window_nor_who_was_found(mut world: World) {
    let stage = Stage::set(&world).await;
    stage.schedule(&world, json!({"length_seconds": 120})).await.created();
    let oauth = world.oauth("production");
    call(&oauth, &stage, &stage.old, "a").await.is_invalid_client();
    world.run_jobs().await;
    world.advance(MINUTE);
    // Also on a machine whose clock says that the drill has not begun.
    world.restart_at(world.now().before(HOUR)).await;
    assert!(stage.refused(&world).await);
    let found = stage.list(&world).await[0].clone();
    assert_eq!(found["caller_count"], 2, "one with a label before, one without after");
}
