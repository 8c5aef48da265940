//! The deadline guard from outside: who is told when, over restarts, and when a policy extends.

use crate::engines::on_both_engines;
use crate::world::{Client, World};
use crossfade_core::Timestamp;
use serde_json::{Value, json};
use std::time::Duration;

on_both_engines! {
    the_owners_are_told_once_at_each_mark_of_the_transition_over_restarts,
    what_is_told_says_what_is_known,
    what_is_stored_damaged_of_one_does_not_keep_the_guard_from_the_others,
    nobody_is_told_of_an_old_secret_that_nobody_needs,
    a_new_secret_that_was_never_used_is_told_even_where_the_old_one_was_neither,
    marks_before_the_rotation_are_none,
    a_server_that_was_down_until_after_the_deadline_revives_nothing,
    a_deadline_that_was_extended_has_marks_of_its_own,
    a_policy_extends_an_hour_before_the_end_up_to_168_hours_in_all,
    a_policy_counts_from_when_it_is_set_and_no_longer_when_it_is_taken_back,
    what_has_leaked_is_never_extended,
    a_disabled_registration_is_let_be_until_it_is_enabled,
    what_has_ended_is_not_told_of,
    a_person_who_revokes_meanwhile_wins,
    two_looks_at_once_tell_once,
    who_tries_in_a_drill_still_needs_the_old_secret_and_the_windows_stay,
    evidence_that_is_still_in_memory_counts,
    a_client_without_owners_is_told_of_in_the_trail,
}

const MS: Duration = Duration::from_millis(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const MARKS: [u32; 3] = [24, 4, 1];

/// A client in production, whose secret was used, after a rotation.
struct Stage {
    client: Client,
    id: String,
    old: String,
    new: String,
    rotated_at: Timestamp,
}

impl Stage {
    /// In an environment that extends by so many hours, if any.
    async fn set(world: &World, transition: u32, policy: Option<u32>) -> Self {
        let client = world.client("Billing", &["production"]).await;
        let it = client.registration("production").clone();
        world.oauth("production").token(&it.client_id, &it.secret).await.is_token();
        let owner = world.owner().await;
        owner.patch("/environments/production", json!({"guard_extension_hours": policy})).await.ok();
        let path = client.path("production", "/secrets/rotate");
        let reply = owner.post(&path, client.rotation(transition)).await.created();
        Self {
            id: it.client_id,
            old: it.secret,
            new: text(&reply["secret"]["value"]),
            rotated_at: time(&reply["rotation"]["rotated_at"]),
            client,
        }
    }

    fn path(&self, rest: &str) -> String {
        self.client.path("production", rest)
    }

    async fn use_secret(&self, world: &World, secret: &str) {
        world.oauth("production").token(&self.id, secret).await.is_token();
    }

    async fn secret(&self, world: &World) -> Value {
        let secret = &self.client.registration("production").secret_id;
        let all = world.owner().await.get(&self.path("/secrets")).await.ok();
        let items = all["items"].as_array().unwrap();
        items.iter().find(|it| it["id"] == secret.as_str()).unwrap().clone()
    }

    async fn deadline(&self, world: &World) -> Timestamp {
        time(&self.secret(world).await["expires_at"])
    }

    async fn extend(&self, world: &World, to: Timestamp) {
        let secret = &self.client.registration("production").secret_id;
        let body = json!({"expires_at": to.to_string(), "reason": "one is late"});
        world.owner().await.post(&self.path(&format!("/secrets/{secret}/extend")), body).await.ok();
    }

    async fn revoke(&self, world: &World) {
        let secret = &self.client.registration("production").secret_id;
        let path = self.path(&format!("/secrets/{secret}/revoke"));
        world.owner().await.post(&path, json!({"reason": "enough"})).await.ok();
    }

    /// Whether the old secret is accepted.
    async fn accepts_old(&self, world: &World) -> bool {
        world.oauth("production").token(&self.id, &self.old).await.status == 200
    }
}

/// What stands in the trail of this action, the oldest first. What is queued to the owners is the same.
async fn events(world: &World, action: &str) -> Vec<Value> {
    let found = world.owner().await.get(&format!("/audit-events?action={action}&limit=200")).await.ok();
    let mut found = found["items"].as_array().unwrap().clone();
    found.reverse();
    let queued = format!("SELECT COUNT(*) FROM notifications WHERE event = '{action}'");
    assert_eq!(world.number(&queued).await, found.len() as i64, "{action}");
    found
}

/// The marks that were told, in order.
async fn told(world: &World) -> Vec<i64> {
    let found = events(world, "transition.deadline_near").await;
    found.iter().map(|it| it["details"]["hours_before"].as_i64().unwrap()).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is not a text")).to_owned()
}

fn time(value: &Value) -> Timestamp {
    Timestamp::parse(&text(value)).unwrap()
}

fn advance_to(world: &World, time: Timestamp) {
    assert!(time >= world.now());
    world.advance(time.since(world.now()));
}

async fn the_owners_are_told_once_at_each_mark_of_the_transition_over_restarts(mut world: World) {
    let stage = Stage::set(&world, 48, None).await;
    let deadline = stage.rotated_at.after(48 * HOUR);
    let mut expected = Vec::new();
    for mark in MARKS {
        let at = deadline.before(mark * HOUR);
        for (now, due) in [(at.before(MS), false), (at, true), (at.after(MS), true)] {
            advance_to(&world, now);
            for _ in 0..2 {
                world.run_jobs().await;
                world.run_jobs().await;
                if due && expected.last() != Some(&i64::from(mark)) {
                    expected.push(i64::from(mark));
                }
                assert_eq!(told(&world).await, expected, "{now} of {at}");
                world.restart().await;
            }
        }
    }
    for now in [deadline.before(MS), deadline, deadline.after(MS), deadline.after(HOUR)] {
        advance_to(&world, now);
        world.run_jobs().await;
        assert_eq!(told(&world).await, expected, "{now} of {deadline}");
        assert_eq!(stage.accepts_old(&world).await, now < deadline);
        assert_eq!(stage.deadline(&world).await, deadline, "without a policy nothing is extended");
    }
}

async fn what_is_told_says_what_is_known(world: World) {
    let stage = Stage::set(&world, 48, None).await;
    let secret_id = stage.client.registration("production").secret_id.clone();
    advance_to(&world, stage.rotated_at.after(24 * HOUR));
    world.run_jobs().await;
    let first = &events(&world, "transition.deadline_near").await[0];
    assert_eq!(first["actor"], json!({"kind": "policy", "id": "guard", "name": "Deadline guard"}));
    assert_eq!(
        (&first["target"], &first["environment"], &first["client_id"]),
        (&json!(secret_id), &json!("production"), &json!(stage.client.id))
    );
    let details = &first["details"];
    assert_eq!((&details["verdict"], &details["hours_before"]), (&json!("not_started"), &json!(24)));
    assert_eq!(
        (time(&details["expires_at"]), time(&details["last_used_at"])),
        (stage.rotated_at.after(48 * HOUR), stage.rotated_at)
    );
    assert_eq!(details["new_first_used_at"], Value::Null);

    // One caller uses the new secret, and the old one goes on.
    stage.use_secret(&world, &stage.new).await;
    world.advance(MINUTE);
    stage.use_secret(&world, &stage.old).await;
    let last_used = world.now();
    advance_to(&world, stage.rotated_at.after(44 * HOUR));
    world.run_jobs().await;
    let second = events(&world, "transition.deadline_near").await.remove(1)["details"].clone();
    assert_eq!((&second["callers_left"], time(&second["last_used_at"])), (&json!(1), last_used));
    assert!(second["new_first_used_at"].is_string() && second["verdict"] == "moving", "{second}");
    let queued = "SELECT COUNT(*) FROM notifications WHERE event = 'transition.deadline_near' AND environment = 'production' AND recipients LIKE '%ada@example.com%'";
    assert_eq!(world.number(queued).await, 2);

    let change = world.owner().await.get(&stage.path("/change-over")).await.ok();
    let warnings = change["deadline_warnings"].as_array().unwrap();
    assert_eq!(warnings.iter().map(|it| it["hours_before"].as_i64().unwrap()).collect::<Vec<_>>(), [4, 24]);
    assert_eq!((time(&warnings[0]["told_at"]), &warnings[0]["extended_to"]), (world.now(), &Value::Null));
}

async fn what_is_stored_damaged_of_one_does_not_keep_the_guard_from_the_others(world: World) {
    let stage = Stage::set(&world, 48, None).await;
    let other = world.client("Ledger", &["production"]).await;
    let it = other.registration("production").clone();
    world.oauth("production").token(&it.client_id, &it.secret).await.is_token();
    world
        .owner()
        .await
        .post(&other.path("production", "/secrets/rotate"), other.rotation(48))
        .await
        .created();
    world.run_jobs().await;
    let first = &stage.client.registration("production").secret_id;
    world
        .raw(&format!("UPDATE secret_usage_sources SET longest_pause = -1 WHERE secret_id = '{first}'"))
        .await;
    advance_to(&world, stage.rotated_at.after(24 * HOUR));
    assert!(world.try_jobs().await.is_err(), "it is not hushed up");
    let near = events(&world, "transition.deadline_near").await;
    assert_eq!(near.iter().map(|it| &it["client_id"]).collect::<Vec<_>>(), [&json!(other.id)]);
    // Also where what was told of the deadline cannot be read, and on the Overview.
    let damaged = "INSERT INTO deadline_warnings (rotation_id, deadline, mark_hours, told_at)
                       SELECT t.id, s.expires_at, 99, 0 FROM rotations t JOIN secrets s ON s.id = t.outgoing_secret_id";
    world.raw(&format!("{damaged} WHERE s.id = '{first}'")).await;
    assert!(world.try_jobs().await.is_err());
    let overview = world.signed_in().await.get("/console").await.page(200);
    assert!(overview.contains("Ledger"), "{overview}");
    world.raw("DELETE FROM deadline_warnings WHERE mark_hours = 99").await;
    // And when it is mended, the first one is told of.
    world.raw("UPDATE secret_usage_sources SET longest_pause = 0 WHERE longest_pause = -1").await;
    world.run_jobs().await;
    assert_eq!(events(&world, "transition.deadline_near").await.len(), 2);
}

async fn nobody_is_told_of_an_old_secret_that_nobody_needs(world: World) {
    let stage = Stage::set(&world, 48, Some(24)).await;
    world.advance(HOUR);
    // The same caller: it has moved.
    stage.use_secret(&world, &stage.new).await;
    for hours in [24, 44, 47] {
        advance_to(&world, stage.rotated_at.after(hours * HOUR));
        world.run_jobs().await;
    }
    assert_eq!(told(&world).await, [0; 0]);
    // It comes back half an hour before the end: that is told at once, and the policy extends.
    world.advance(30 * MINUTE);
    stage.use_secret(&world, &stage.old).await;
    world.run_jobs().await;
    assert_eq!(told(&world).await, [1]);
    assert_eq!(stage.deadline(&world).await, stage.rotated_at.after(72 * HOUR));
}

async fn a_new_secret_that_was_never_used_is_told_even_where_the_old_one_was_neither(world: World) {
    let client = world.client("Nightly", &["production"]).await;
    world
        .owner()
        .await
        .post(&client.path("production", "/secrets/rotate"), client.rotation(4))
        .await
        .created();
    world.advance(3 * HOUR);
    world.run_jobs().await;
    assert_eq!(told(&world).await, [1], "of the marks that were missed the most urgent");
    let details = &events(&world, "transition.deadline_near").await[0]["details"];
    assert_eq!((&details["last_used_at"], &details["callers_left"]), (&Value::Null, &json!(0)));
}

async fn marks_before_the_rotation_are_none(mut world: World) {
    let stage = Stage::set(&world, 3, None).await;
    world.run_jobs().await;
    assert_eq!(told(&world).await, [0; 0], "neither a day nor four hours lie within");
    // The server is down from before the mark until a minute before the end.
    world.restart_at(stage.rotated_at.after(3 * HOUR - MINUTE)).await;
    world.run_jobs().await;
    assert_eq!(told(&world).await, [1]);
    // What was rotated with no transition has no deadline to be told of.
    let client = world.client("Other", &["production"]).await;
    world
        .owner()
        .await
        .post(&client.path("production", "/secrets/rotate"), client.rotation(0))
        .await
        .created();
    world.run_jobs().await;
    assert_eq!(told(&world).await, [1]);
}

async fn a_server_that_was_down_until_after_the_deadline_revives_nothing(mut world: World) {
    let stage = Stage::set(&world, 24, Some(24)).await;
    let deadline = stage.rotated_at.after(24 * HOUR);
    advance_to(&world, deadline.before(2 * HOUR));
    world.run_jobs().await;
    assert_eq!(told(&world).await, [4]);
    world.restart_at(deadline).await;
    world.run_jobs().await;
    assert_eq!((told(&world).await, stage.deadline(&world).await), (vec![4], deadline));
    assert_eq!(events(&world, "secret.extended").await.len(), 0);
    assert!(!stage.accepts_old(&world).await);
    assert_eq!(stage.secret(&world).await["state"], "expired");
}

async fn a_deadline_that_was_extended_has_marks_of_its_own(mut world: World) {
    let stage = Stage::set(&world, 24, None).await;
    advance_to(&world, stage.rotated_at.after(23 * HOUR));
    world.run_jobs().await;
    assert_eq!(told(&world).await, [1]);
    stage.extend(&world, stage.rotated_at.after(72 * HOUR)).await;
    world.run_jobs().await;
    assert_eq!(told(&world).await, [1], "the new deadline is two days away");
    for (hours, expected) in [(48, vec![1, 24]), (68, vec![1, 24, 4]), (71, vec![1, 24, 4, 1])] {
        advance_to(&world, stage.rotated_at.after(hours * HOUR));
        world.restart().await;
        world.run_jobs().await;
        world.run_jobs().await;
        assert_eq!(told(&world).await, expected, "after {hours} h");
    }
    assert_eq!(events(&world, "secret.extended").await.len(), 1, "by a person");
}

async fn a_policy_extends_an_hour_before_the_end_up_to_168_hours_in_all(mut world: World) {
    let stage = Stage::set(&world, 24, Some(60)).await;
    let at = |hours: u32| stage.rotated_at.after(hours * HOUR);
    for (deadline, extended) in [(24, 84), (84, 144), (144, 168)] {
        for (now, moved) in [
            (at(deadline - 1).before(MS), false),
            (at(deadline - 1), true),
            (at(deadline - 1).after(MS), true),
        ] {
            advance_to(&world, now);
            world.run_jobs().await;
            world.restart().await;
            world.run_jobs().await;
            let expected = if moved { at(extended) } else { at(deadline) };
            assert_eq!(stage.deadline(&world).await, expected, "{now}");
        }
        // The tables of this node enforce it: at the end that it had the secret goes on.
        advance_to(&world, at(deadline));
        assert!(stage.accepts_old(&world).await);
    }
    advance_to(&world, at(167));
    world.run_jobs().await;
    assert_eq!(stage.deadline(&world).await, at(168), "168 hours in all");
    advance_to(&world, at(168).before(MS));
    world.run_jobs().await;
    assert!(stage.accepts_old(&world).await);
    world.advance(MS);
    assert!(!stage.accepts_old(&world).await);
    world.run_jobs().await;

    let extended = events(&world, "secret.extended").await;
    assert_eq!(extended.len(), 3);
    for it in &extended {
        assert_eq!(it["actor"], json!({"kind": "policy", "id": "guard", "name": "Deadline guard"}));
        assert_eq!(
            it["reason"],
            "Not safe to end: the change-over has not started. No caller has used the new secret."
        );
    }
    let details = &extended[0]["details"];
    assert_eq!((time(&details["expires_at_before"]), time(&details["expires_at"])), (at(24), at(84)));
    // A millisecond before an hour it was the mark of four hours that had been missed.
    assert_eq!(told(&world).await, [4, 1, 4, 1, 4, 1, 1]);
    let change = world.owner().await.get(&stage.path("/change-over")).await.ok();
    let moved =
        change["deadline_warnings"].as_array().unwrap().iter().filter(|it| !it["extended_to"].is_null());
    assert_eq!(moved.map(|it| time(&it["extended_to"])).collect::<Vec<_>>(), [at(168), at(144), at(84)]);
}

async fn a_policy_counts_from_when_it_is_set_and_no_longer_when_it_is_taken_back(world: World) {
    let stage = Stage::set(&world, 24, None).await;
    let owner = world.owner().await;
    advance_to(&world, stage.rotated_at.after(23 * HOUR));
    world.run_jobs().await;
    let set = async |hours: Value| {
        owner.patch("/environments/production", json!({"guard_extension_hours": hours})).await.ok()["guard_extension_hours"].clone()
    };
    assert_eq!(set(json!(2)).await, 2);
    world.run_jobs().await;
    // Three hours are left: that was told with the extension, and is not told again as a mark.
    world.run_jobs().await;
    assert_eq!(
        (told(&world).await, stage.deadline(&world).await),
        (vec![1], stage.rotated_at.after(26 * HOUR))
    );
    assert_eq!(set(Value::Null).await, Value::Null);
    advance_to(&world, stage.rotated_at.after(25 * HOUR));
    world.run_jobs().await;
    assert_eq!(
        (told(&world).await, stage.deadline(&world).await),
        (vec![1, 1], stage.rotated_at.after(26 * HOUR))
    );
    let updated = world.owner().await.get("/audit-events?action=environment.updated").await.ok();
    let details = &updated["items"][0]["details"];
    assert_eq!(
        (&details["before"]["guard_extension_hours"], &details["after"]["guard_extension_hours"]),
        (&json!(2), &Value::Null)
    );
}

async fn what_has_leaked_is_never_extended(world: World) {
    let stage = Stage::set(&world, 24, Some(24)).await;
    // An emergency leaves nothing that retires, so the mark is set past the rules.
    world.raw("UPDATE rotations SET compromised = 1").await;
    advance_to(&world, stage.rotated_at.after(23 * HOUR));
    world.run_jobs().await;
    assert_eq!(
        (told(&world).await, stage.deadline(&world).await),
        (vec![1], stage.rotated_at.after(24 * HOUR))
    );
    let mut body = stage.client.rotation(0);
    body["compromised"] = true.into();
    world.owner().await.post(&stage.path("/secrets/rotate"), body).await.created();
    world.run_jobs().await;
    assert!(!stage.accepts_old(&world).await);
    assert_eq!((told(&world).await, events(&world, "secret.extended").await.len()), (vec![1], 0));
}

async fn a_disabled_registration_is_let_be_until_it_is_enabled(world: World) {
    let stage = Stage::set(&world, 24, Some(24)).await;
    let owner = world.owner().await;
    let enable = async |enabled: bool| {
        owner.patch(&stage.path(""), json!({"enabled": enabled, "confirm_client_name": "Billing"})).await.ok()
    };
    enable(false).await;
    advance_to(&world, stage.rotated_at.after(23 * HOUR));
    world.run_jobs().await;
    assert_eq!(
        (told(&world).await, stage.deadline(&world).await),
        (vec![], stage.rotated_at.after(24 * HOUR))
    );
    enable(true).await;
    world.run_jobs().await;
    assert_eq!(
        (told(&world).await, stage.deadline(&world).await),
        (vec![1], stage.rotated_at.after(48 * HOUR))
    );
}

async fn what_has_ended_is_not_told_of(world: World) {
    let stage = Stage::set(&world, 48, Some(24)).await;
    stage.revoke(&world).await;
    let deleted = world.client("Deleted", &["production"]).await;
    let owner = world.owner().await;
    owner.post(&deleted.path("production", "/secrets/rotate"), deleted.rotation(48)).await.created();
    owner
        .delete(
            &format!("/clients/{}", deleted.id),
            json!({"confirm_client_name": "Deleted", "reason": "gone"}),
        )
        .await;
    let back = world.client("Rolled back", &["production"]).await;
    let reply = owner.post(&back.path("production", "/secrets/rotate"), back.rotation(48)).await.created();
    let path = back.path("production", &format!("/rotations/{}/rollback", text(&reply["rotation"]["id"])));
    owner.post(&path, json!({"reason": "too early"})).await.ok();
    for hours in [24, 44, 47] {
        advance_to(&world, stage.rotated_at.after(hours * HOUR));
        world.run_jobs().await;
    }
    assert_eq!((told(&world).await, events(&world, "secret.extended").await.len()), (vec![], 0));
    assert_eq!(world.number("SELECT COUNT(*) FROM deadline_warnings").await, 0);
}

async fn a_person_who_revokes_meanwhile_wins(world: World) {
    let stage = Stage::set(&world, 24, Some(24)).await;
    advance_to(&world, stage.rotated_at.after(23 * HOUR));
    // Both look twice, so that each comes first somewhere; whichever does, the end is an end.
    tokio::join!(world.run_jobs(), stage.revoke(&world), world.run_jobs());
    world.run_jobs().await;
    assert!(!stage.accepts_old(&world).await);
    assert_eq!(stage.secret(&world).await["state"], "revoked");
    let seq = |events: &[Value]| events.iter().map(|it| it["seq"].as_i64().unwrap()).max();
    let (extended, revoked) =
        (events(&world, "secret.extended").await, events(&world, "secret.revoked").await);
    assert!(extended.len() <= 1 && seq(&extended) < seq(&revoked), "{extended:?} {revoked:?}");
    assert!(told(&world).await.len() <= 1);
}

async fn two_looks_at_once_tell_once(world: World) {
    let stage = Stage::set(&world, 24, Some(24)).await;
    advance_to(&world, stage.rotated_at.after(23 * HOUR));
    tokio::join!(world.run_jobs(), world.run_jobs(), world.run_jobs(), world.run_jobs());
    assert_eq!((told(&world).await, events(&world, "secret.extended").await.len()), (vec![1], 1));
    assert_eq!(stage.deadline(&world).await, stage.rotated_at.after(48 * HOUR));
}

async fn who_tries_in_a_drill_still_needs_the_old_secret_and_the_windows_stay(world: World) {
    let stage = Stage::set(&world, 24, Some(24)).await;
    stage.use_secret(&world, &stage.new).await;
    advance_to(&world, stage.rotated_at.after(22 * HOUR + 59 * MINUTE));
    let body = json!({"length_seconds": 900, "confirm_client_name": "Billing", "reason": "who is left"});
    let drill = world.owner().await.post(&stage.path("/drills"), body).await.created();
    world.run_jobs().await;
    assert_eq!(told(&world).await, [0; 0], "everybody has moved");
    assert!(!stage.accepts_old(&world).await, "it is drilled, and somebody tries");
    world.advance(MINUTE);
    world.run_jobs().await;
    assert_eq!(
        (told(&world).await, stage.deadline(&world).await),
        (vec![1], stage.rotated_at.after(48 * HOUR))
    );
    let drills = world.owner().await.get(&stage.path("/drills")).await.ok();
    assert_eq!(drills["items"][0]["windows"], drill["windows"]);
    assert!(!stage.accepts_old(&world).await, "the window is open still");
}

async fn evidence_that_is_still_in_memory_counts(world: World) {
    let stage = Stage::set(&world, 24, None).await;
    stage.use_secret(&world, &stage.new).await;
    advance_to(&world, stage.rotated_at.after(23 * HOUR));
    stage.use_secret(&world, &stage.old).await;
    world.run_jobs().await;
    assert_eq!(told(&world).await, [1]);
}

async fn a_client_without_owners_is_told_of_in_the_trail(world: World) {
    let stage = Stage::set(&world, 24, None).await;
    world
        .owner()
        .await
        .patch(
            &format!("/clients/{}", stage.client.id),
            json!({"owners": [], "confirm_client_name": stage.client.name}),
        )
        .await
        .ok();
    advance_to(&world, stage.rotated_at.after(23 * HOUR));
    world.run_jobs().await;
    let found = world.owner().await.get("/audit-events?action=transition.deadline_near").await.ok();
    assert_eq!(found["items"].as_array().unwrap().len(), 1);
    assert_eq!(
        world.number("SELECT COUNT(*) FROM notifications WHERE event = 'transition.deadline_near'").await,
        0
    );
}
