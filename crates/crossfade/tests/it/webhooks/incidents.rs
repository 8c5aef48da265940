//! Incidents of PagerDuty: opened and resolved.

use super::{HOUR, abandoned, body, create, log, open, path, posting, rotate, sent};
use crate::{
    engines::on_both_engines,
    receiver::{Delivery, Receiver},
    world::{Client, World},
};
use serde_json::{Value, json};
use std::time::Duration;

on_both_engines! {
    an_incident_is_not_opened_after_its_end,
    an_incident_ends_with_every_end_of_its_cause,
    a_routing_key_goes_to_no_other_host,
    an_incident_is_opened_and_resolved,
    a_leaked_secret_is_an_incident_until_it_has_ended,
    a_leak_that_is_over_opens_nothing,
    a_webhook_that_chooses_less_resolves_what_it_has_opened,
    an_incident_of_another_environment_is_resolved_and_none_is_opened_once_a_webhook_is_limited,
    a_disabled_webhook_resolves_what_it_has_opened_once_it_is_enabled,
    a_client_that_is_deleted_at_a_deadline_resolves_its_incidents,
    the_end_of_a_secret_resolves_a_report_that_is_not_known_any_more,
    an_incident_whose_end_cannot_be_read_waits,
    ended_secrets_that_are_presented_are_an_incident_until_they_are_not,
    an_end_that_comes_first_opens_no_incident_of_presented_secrets,
}

/// A webhook for PagerDuty.
async fn on_call(world: &World, receiver: &Receiver, more: Value) -> Value {
    let mut body = json!({"format": "pagerduty", "routing_key": "0123456789abcdef0123456789abcdef"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    create(world, receiver, body).await
}

/// What happened to incidents: `trigger` or `resolve`, and the key.
fn incidents(sent: &[Delivery]) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    sent.iter().map(Delivery::json).map(|it| (text(&it["event_action"]), text(&it["dedup_key"]))).collect()
}

/// Presents a secret of production so many times.
async fn present(world: &World, client: &Client, secret: &str, times: u32) {
    let id = client.registration("production").client_id.clone();
    for _ in 0..times {
        world.oauth("production").token(&id, secret).await.is_invalid_client();
    }
    world.run_jobs().await;
}

const MINUTE: Duration = Duration::from_secs(60);

async fn ended_secrets_that_are_presented_are_an_incident_until_they_are_not(mut world: World) {
    let (client, receiver, other) =
        (posting(&mut world).await, Receiver::start().await, Receiver::start().await);
    on_call(&world, &receiver, json!({"events": ["secret.still_presented"]})).await;
    on_call(&world, &other, json!({"events": ["transition.deadline_near"]})).await;
    let old = client.registration("production").secret.clone();
    let rotation = json!({"transition_hours": 0, "confirm_client_name": "Billing", "reason": "over"});
    world.owner().await.post(&client.path("production", "/secrets/rotate"), rotation).await.created();
    present(&world, &client, &old, 19).await;
    assert!(incidents(&sent(&world, &receiver).await).is_empty());
    present(&world, &client, &old, 1).await;
    let all = sent(&world, &receiver).await;
    let event = all[0].json();
    assert_eq!(
        (&event["payload"]["severity"], &event["payload"]["class"]),
        (&json!("error"), &json!("secret.still_presented"))
    );
    let [(opened, key)] = incidents(&all).try_into().unwrap();
    assert!(opened == "trigger" && key.starts_with("crossfade:presented:reg_"), "{opened} {key}");
    // A single caller keeps it open.
    for _ in 0..3 {
        world.advance(MINUTE * 59);
        present(&world, &client, &old, 1).await;
        assert_eq!((incidents(&sent(&world, &receiver).await), noted(&world).await), (vec![], 1));
    }
    world.advance(MINUTE * 60 - Duration::from_secs(10));
    world.run_jobs().await;
    assert!(incidents(&sent(&world, &receiver).await).is_empty());
    world.advance(MINUTE);
    world.run_jobs().await;
    assert_eq!(incidents(&sent(&world, &receiver).await), [("resolve".to_owned(), key.clone())]);
    // The next day it is opened again, and a deleted client resolves it.
    world.advance(HOUR * 24);
    present(&world, &client, &old, 30).await;
    assert_eq!(incidents(&sent(&world, &receiver).await), [("trigger".to_owned(), key.clone())]);
    let deletion = json!({"confirm_client_name": "Billing", "reason": "gone"});
    assert_eq!(world.owner().await.delete(&format!("/clients/{}", client.id), deletion).await.status, 200);
    assert_eq!(incidents(&sent(&world, &receiver).await), [("resolve".to_owned(), key)]);
    let others = incidents(&sent(&world, &other).await);
    assert!(others.iter().all(|(_, key)| !key.contains("presented")), "{others:?}");
    assert_eq!(noted(&world).await, 0);
}

async fn an_end_that_comes_first_opens_no_incident_of_presented_secrets(mut world: World) {
    let (client, receiver) = (posting(&mut world).await, Receiver::start().await);
    on_call(&world, &receiver, json!({"events": ["secret.still_presented"]})).await;
    let old = client.registration("production").secret.clone();
    let rotation = json!({"transition_hours": 0, "confirm_client_name": "Billing", "reason": "over"});
    world.owner().await.post(&client.path("production", "/secrets/rotate"), rotation).await.created();
    receiver.answer(&["500"]);
    present(&world, &client, &old, 20).await;
    assert_eq!(incidents(&sent(&world, &receiver).await).len(), 1);
    // All callers have stopped before the second attempt.
    world.advance(HOUR * 2);
    world.run_jobs().await;
    let after = incidents(&sent(&world, &receiver).await);
    assert!(after.iter().all(|(what, _)| what == "resolve"), "{after:?}");
    assert_eq!((abandoned(&world, "over").await, noted(&world).await), (1, 0));
}

async fn schedule_drill(world: &World, client: &Client) {
    let body = json!({"length_seconds": 60, "confirm_client_name": client.name, "reason": "who is left"});
    world.owner().await.post(&client.path("production", "/drills"), body).await.created();
}

async fn an_incident_is_not_opened_after_its_end(mut world: World) {
    let (client, receiver) = (posting(&mut world).await, Receiver::start().await);
    let owner = world.owner().await;
    let webhook = on_call(&world, &receiver, json!({})).await;
    rotate(&world, &client, "production").await;
    // Its first attempt fails, and its end comes before the second.
    receiver.answer(&["500"]);
    schedule_drill(&world, &client).await;
    let [(opened, key)] = incidents(&sent(&world, &receiver).await).try_into().unwrap();
    assert_eq!(opened, "trigger");
    let drills = owner.get(&client.path("production", "/drills")).await.ok();
    let drill = drills["items"][0]["id"].as_str().unwrap().to_owned();
    let stop = client.path("production", &format!("/drills/{drill}"));
    owner.delete(&stop, json!({"reason": "invoices fail"})).await.ok();
    world.advance(HOUR);
    assert_eq!(incidents(&sent(&world, &receiver).await), [("resolve".to_owned(), key)]);
    assert_eq!((open(&world).await, abandoned(&world, "late").await), (0, 1));
    // A replay opens it no more either.
    let first = log(&world, &webhook).await.into_iter().find(|it| it["abandoned_as"] == "late").unwrap();
    let replay = path(&webhook, &format!("/deliveries/{}/replay", first["id"].as_str().unwrap()));
    owner.post(&replay, json!({})).await.ok();
    assert_eq!((sent(&world, &receiver).await.len(), abandoned(&world, "over").await), (0, 1));
}

async fn an_incident_ends_with_every_end_of_its_cause(mut world: World) {
    let (client, receiver) = (posting(&mut world).await, Receiver::start().await);
    let owner = world.owner().await;
    on_call(&world, &receiver, json!({})).await;
    let path = |rest: &str| client.path("production", rest);
    // A drill ends with its secret, a rollback, a newer rotation and its registration.
    for end in ["revoke", "rollback", "rotate", "disable"] {
        let rotated = rotate(&world, &client, "production").await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let (outgoing, rotation) =
            (text(&rotated["previous_secret"]["id"]), text(&rotated["rotation"]["id"]));
        let _ = sent(&world, &receiver).await;
        schedule_drill(&world, &client).await;
        let [(opened, key)] = incidents(&sent(&world, &receiver).await).try_into().unwrap();
        assert_eq!(opened, "trigger", "{end}");
        let over = json!({"reason": "over"});
        match end {
            "revoke" => drop(owner.post(&path(&format!("/secrets/{outgoing}/revoke")), over).await.ok()),
            "rollback" => {
                drop(owner.post(&path(&format!("/rotations/{rotation}/rollback")), over).await.ok())
            }
            "rotate" => drop(rotate(&world, &client, "production").await),
            _ => {
                let body = json!({"enabled": false, "confirm_client_name": "Billing", "reason": "over"});
                owner.patch(&path(""), body).await.ok();
            }
        }
        let after = incidents(&sent(&world, &receiver).await);
        assert!(after.contains(&("resolve".to_owned(), key)), "{end}: {after:?}");
    }
    // The registration is disabled, and its secret retires: the deletion of the client ends both incidents.
    let deletion = json!({"confirm_client_name": "Billing", "reason": "gone"});
    assert_eq!(owner.delete(&format!("/clients/{}", client.id), deletion).await.status, 200);
    let ended = incidents(&sent(&world, &receiver).await);
    assert!(ended.iter().all(|(what, _)| what == "resolve"), "{ended:?}");
    let of =
        |kind: &str| ended.iter().filter(|(_, key)| key.starts_with(&format!("crossfade:{kind}"))).count();
    // Those whose leak would end are all that had not ended before.
    assert_eq!((of("reg_"), of("sec_")), (1, 1), "{ended:?}");
    assert_eq!(of("leak:sec_") + 2, ended.len(), "{ended:?}");
    assert_eq!(noted(&world).await, 0);
}

async fn a_routing_key_goes_to_no_other_host(mut world: World) {
    let (_, receiver, other) = (posting(&mut world).await, Receiver::start().await, Receiver::start().await);
    let webhook = on_call(&world, &receiver, json!({})).await;
    let owner = world.owner().await;
    let moved = json!({"url": other.url(), "confirm_name": "platform"});
    let refused = owner.patch(&path(&webhook, ""), moved.clone()).await.refused(422, "invalid_body");
    assert_eq!(refused["field"], "routing_key");
    let same = json!({"url": format!("{}/other", receiver.url()), "confirm_name": "platform"});
    owner.patch(&path(&webhook, ""), same).await.ok();
    let mut with_key = moved;
    with_key["routing_key"] = json!("ffffffffffffffffffffffffffffffff");
    owner.patch(&path(&webhook, ""), with_key).await.ok();
}

async fn an_incident_is_opened_and_resolved(mut world: World) {
    let (client, receiver) = (posting(&mut world).await, Receiver::start().await);
    let owner = world.owner().await;
    let missing = body(&receiver, json!({"format": "pagerduty"}));
    assert_eq!(owner.post("/webhooks", missing).await.refused(422, "invalid_body")["field"], "routing_key");
    let key = "0123456789abcdef0123456789abcdef";
    let webhook = create(&world, &receiver, json!({"format": "pagerduty", "routing_key": key})).await;
    assert!(!webhook.to_string().contains(key));
    rotate(&world, &client, "production").await;
    assert_eq!(sent(&world, &receiver).await.len(), 0, "a rotation is no incident");
    world.advance(HOUR * 164);
    world.run_jobs().await;
    let opened: Vec<_> = sent(&world, &receiver).await.iter().map(Delivery::json).collect();
    assert!(!opened.is_empty());
    for event in &opened {
        assert_eq!((&event["event_action"], &event["routing_key"]), (&json!("trigger"), &json!(key)));
        assert_eq!(event["payload"]["severity"], "error");
    }
    world.advance(HOUR * 4);
    world.run_jobs().await;
    let closed = incidents(&sent(&world, &receiver).await);
    assert!(closed.iter().all(|(what, _)| what == "resolve"), "{closed:?}");
    assert_eq!(closed.iter().filter(|(_, key)| opened[0]["dedup_key"] == **key).count(), 1, "{closed:?}");
    assert_eq!(noted(&world).await, 0);
}

/// The number of incidents that are noted as open.
async fn noted(world: &World) -> i64 {
    world.number("SELECT COUNT(*) FROM told WHERE cause LIKE 'incident %'").await
}

/// Rotates, and lets a warning of the deadline, a report of the old secret and a drill open incidents. Returns the keys.
async fn three_incidents(world: &World, client: &Client, receiver: &Receiver) -> Vec<String> {
    let owner = world.owner().await;
    let rotated = rotate(world, client, "production").await;
    let old = rotated["previous_secret"]["id"].as_str().unwrap().to_owned();
    world.advance(HOUR * 164);
    world.run_jobs().await;
    let revealed =
        owner.post(&client.path("production", &format!("/secrets/{old}/reveal")), json!({})).await.ok();
    report(world, revealed["value"].as_str().unwrap()).await;
    schedule_drill(world, client).await;
    let mut opened = incidents(&sent(world, receiver).await);
    assert!(opened.iter().all(|(what, _)| what == "trigger"), "{opened:?}");
    opened.sort();
    opened.dedup();
    assert_eq!(opened.len(), 3, "{opened:?}");
    opened.into_iter().map(|(_, key)| key).collect()
}

/// What was resolved, each once.
fn resolved(sent: &[Delivery]) -> Vec<String> {
    let mut all = incidents(sent);
    assert!(all.iter().all(|(what, _)| what == "resolve"), "{all:?}");
    let number = all.len();
    all.sort();
    all.dedup();
    assert_eq!(number, all.len(), "{all:?}");
    all.into_iter().map(|(_, key)| key).collect()
}

async fn a_webhook_that_chooses_less_resolves_what_it_has_opened(mut world: World) {
    let (client, receiver, other) =
        (posting(&mut world).await, Receiver::start().await, Receiver::start().await);
    let webhook = on_call(&world, &receiver, json!({})).await;
    let opened = three_incidents(&world, &client, &receiver).await;
    let less = json!({"events": ["registration.updated"], "environments": ["staging"]});
    world.owner().await.patch(&path(&webhook, ""), less.clone()).await.ok();
    // One that has never chosen them is not told.
    on_call(&world, &other, less).await;
    world.advance(HOUR * 4);
    world.run_jobs().await;
    assert_eq!(resolved(&sent(&world, &receiver).await), opened);
    assert_eq!((other.take().len(), noted(&world).await), (0, 0));
    // It opens no more of them.
    rotate(&world, &client, "production").await;
    world.advance(HOUR * 164);
    world.run_jobs().await;
    assert_eq!((sent(&world, &receiver).await.len(), noted(&world).await), (0, 0));
}

async fn an_incident_of_another_environment_is_resolved_and_none_is_opened_once_a_webhook_is_limited(
    mut world: World,
) {
    let (client, receiver) = (posting(&mut world).await, Receiver::start().await);
    let owner = world.owner().await;
    let webhook = on_call(&world, &receiver, json!({})).await;
    let switch = async |enabled: bool| {
        let body = json!({"enabled": enabled, "confirm_client_name": "Billing"});
        owner.patch(&client.path("production", ""), body).await.ok();
    };
    // The beginning waits for its next attempt.
    receiver.answer(&["500"]);
    switch(false).await;
    assert_eq!(incidents(&sent(&world, &receiver).await).len(), 1);
    owner.patch(&path(&webhook, ""), json!({"environments": ["staging"]})).await.ok();
    world.advance(HOUR);
    assert_eq!(incidents(&sent(&world, &receiver).await), []);
    assert_eq!((open(&world).await, abandoned(&world, "not_chosen").await), (0, 1));
    // The receiver may have taken the attempt that it did not answer.
    switch(true).await;
    let [(what, _)] = incidents(&sent(&world, &receiver).await).try_into().unwrap();
    assert_eq!(what, "resolve");
}

async fn a_disabled_webhook_resolves_what_it_has_opened_once_it_is_enabled(mut world: World) {
    let (client, receiver, gone) =
        (posting(&mut world).await, Receiver::start().await, Receiver::start().await);
    let owner = world.owner().await;
    let webhook = on_call(&world, &receiver, json!({})).await;
    let opened = three_incidents(&world, &client, &receiver).await;
    assert_eq!(noted(&world).await, 3);
    owner.patch(&path(&webhook, ""), json!({"enabled": false})).await.ok();
    world.advance(HOUR * 4);
    world.run_jobs().await;
    assert_eq!(sent(&world, &receiver).await.len(), 0, "a disabled webhook is sent nothing");
    assert_eq!(noted(&world).await, 3);
    owner.patch(&path(&webhook, ""), json!({"enabled": true})).await.ok();
    world.run_jobs().await;
    assert_eq!(resolved(&sent(&world, &receiver).await), opened);
    assert_eq!(noted(&world).await, 0);
    world.run_jobs().await;
    assert_eq!(sent(&world, &receiver).await.len(), 0);
    // What a deleted webhook has opened is forgotten.
    let deleted = on_call(&world, &gone, json!({"events": ["leak.reported"]})).await;
    let rotated = rotate(&world, &client, "production").await;
    report(&world, rotated["secret"]["value"].as_str().unwrap()).await;
    assert_eq!(noted(&world).await, 2);
    assert_eq!(owner.delete(&path(&deleted, ""), json!({})).await.status, 204);
    world.run_jobs().await;
    assert_eq!(noted(&world).await, 1);
}

async fn a_client_that_is_deleted_at_a_deadline_resolves_its_incidents(mut world: World) {
    let first = posting(&mut world).await;
    for forgets in [false, true] {
        let receiver = Receiver::start().await;
        let client = match forgets {
            false => first.clone(),
            true => world.client("Ledger", &["production"]).await,
        };
        on_call(&world, &receiver, json!({})).await;
        let opened = three_incidents(&world, &client, &receiver).await;
        if forgets {
            world.raw("DELETE FROM told").await;
        }
        // The deadline has passed, and no job has noted it.
        world.advance(HOUR * 4);
        let deletion = json!({"confirm_client_name": client.name, "reason": "gone"});
        assert_eq!(
            world.owner().await.delete(&format!("/clients/{}", client.id), deletion).await.status,
            200
        );
        world.run_jobs().await;
        let resolved = resolved(&sent(&world, &receiver).await);
        // The drill was over by then, and is known by its note alone.
        let is_known = |key: &&String| !forgets || !key.contains("drill");
        for key in opened.iter().filter(is_known) {
            assert!(resolved.contains(key), "{key} {resolved:?}");
        }
        assert_eq!(noted(&world).await, 0);
        world.raw("DELETE FROM webhooks").await;
    }
}

async fn the_end_of_a_secret_resolves_a_report_that_is_not_known_any_more(mut world: World) {
    let (client, receiver) = (posting(&mut world).await, Receiver::start().await);
    on_call(&world, &receiver, json!({"events": ["leak.reported"]})).await;
    let rotated = rotate(&world, &client, "production").await;
    let value = rotated["secret"]["value"].as_str().unwrap().to_owned();
    let secret = report(&world, &value).await;
    assert_eq!(incidents(&sent(&world, &receiver).await), [pair("trigger", &format!("leak:{secret}"))]);
    // As after a restore of an older backup.
    world.raw("DELETE FROM told").await;
    let body = json!({"transition_hours": 0, "confirm_client_name": "Billing", "reason": "leaked",
        "compromised": true, "end_running_transition": true});
    world.owner().await.post(&client.path("production", "/secrets/rotate"), body).await.created();
    let ended = resolved(&sent(&world, &receiver).await);
    assert!(ended.contains(&format!("crossfade:leak:{secret}")), "{ended:?}");
    // The job that notes the deadline says it no more.
    world.advance(HOUR);
    world.run_jobs().await;
    assert_eq!(sent(&world, &receiver).await.len(), 0);
}

async fn an_incident_whose_end_cannot_be_read_waits(mut world: World) {
    let (client, receiver) = (posting(&mut world).await, Receiver::start().await);
    on_call(&world, &receiver, json!({"events": ["registration.updated"]})).await;
    let disable = json!({"enabled": false, "confirm_client_name": "Billing"});
    world.owner().await.patch(&client.path("production", ""), disable).await.ok();
    let attempts = "SELECT COUNT(*) FROM deliveries WHERE attempts > 0";
    world.raw("ALTER TABLE registrations RENAME TO hidden").await;
    assert!(world.app.send_due_webhooks().await.unwrap());
    world.raw("ALTER TABLE hidden RENAME TO registrations").await;
    assert_eq!((receiver.take().len(), open(&world).await, world.number(attempts).await), (0, 1, 0));
    assert_eq!(incidents(&sent(&world, &receiver).await).len(), 1);
    assert_eq!((open(&world).await, abandoned(&world, "late").await), (0, 0));
}

/// Reports a secret by its value, and returns its ID.
async fn report(world: &World, value: &str) -> String {
    let reply = world.owner().await.post("/leaks", json!({"text": format!("found {value}.")})).await.ok();
    reply["found"][0]["identified"]["secret"]["id"].as_str().unwrap().to_owned()
}

fn pair(what: &str, key: &str) -> (String, String) {
    (what.to_owned(), format!("crossfade:{key}"))
}

async fn a_leaked_secret_is_an_incident_until_it_has_ended(mut world: World) {
    let (client, receiver) = (posting(&mut world).await, Receiver::start().await);
    let owner = world.owner().await;
    // The kind that opens an incident is chosen with all that closes it.
    on_call(&world, &receiver, json!({"events": ["leak.reported"]})).await;
    let path = |rest: &str| client.path("production", rest);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    for end in ["expire", "revoke", "rollback", "rotate", "emergency", "delete"] {
        let mut body = client.rotation(24);
        body["end_running_transition"] = json!(true);
        let rotated = owner.post(&path("/secrets/rotate"), body).await.created();
        let (current, old) = (text(&rotated["secret"]["id"]), text(&rotated["previous_secret"]["id"]));
        let rotation = text(&rotated["rotation"]["id"]);
        // The old secret leaks, or the new one.
        let is_old = ["expire", "revoke", "rotate"].contains(&end);
        let secret = if is_old { &old } else { &current };
        let revealed = owner.post(&path(&format!("/secrets/{secret}/reveal")), json!({})).await.ok();
        let value = text(&revealed["value"]);
        assert_eq!(report(&world, &value).await, *secret);
        let key = format!("leak:{secret}");
        let opened: Vec<_> = sent(&world, &receiver).await;
        // Every end of a secret resolves a leak of it, also one that is not known any more.
        let opened: Vec<_> = opened.into_iter().filter(|it| it.json()["event_action"] == "trigger").collect();
        assert_eq!(incidents(&opened), [pair("trigger", &key)], "{end}");
        assert_eq!(opened[0].json()["payload"]["severity"], "critical");
        assert!(!opened[0].body.contains(&value));
        // Another report of the same secret opens nothing, and a longer life ends nothing.
        report(&world, &value).await;
        if end == "revoke" {
            let body = json!({"expires_at": world.now().after(HOUR * 48).to_string(), "reason": "more"});
            owner.post(&path(&format!("/secrets/{old}/extend")), body).await.ok();
        }
        assert_eq!(incidents(&sent(&world, &receiver).await), [], "{end}");
        let over = json!({"reason": "over"});
        match end {
            "expire" => {
                world.advance(HOUR * 168);
                world.run_jobs().await;
            }
            "revoke" => drop(owner.post(&path(&format!("/secrets/{old}/revoke")), over).await.ok()),
            "rollback" => {
                drop(owner.post(&path(&format!("/rotations/{rotation}/rollback")), over).await.ok())
            }
            "rotate" => drop(rotate(&world, &client, "production").await),
            "emergency" => {
                let body = json!({"transition_hours": 0, "confirm_client_name": "Billing", "reason": "leaked",
                    "compromised": true, "end_running_transition": true});
                owner.post(&path("/secrets/rotate"), body).await.created();
            }
            _ => {
                let deletion = json!({"confirm_client_name": "Billing", "reason": "gone"});
                assert_eq!(owner.delete(&format!("/clients/{}", client.id), deletion).await.status, 200);
            }
        }
        assert!(resolved(&sent(&world, &receiver).await).contains(&format!("crossfade:{key}")), "{end}");
        // What notes the end later says it no more.
        world.advance(HOUR);
        world.run_jobs().await;
        assert_eq!(incidents(&sent(&world, &receiver).await), [], "{end}");
    }
}

async fn a_leak_that_is_over_opens_nothing(mut world: World) {
    let (client, receiver) = (posting(&mut world).await, Receiver::start().await);
    let owner = world.owner().await;
    on_call(&world, &receiver, json!({"events": ["leak.reported"]})).await;
    let rotated = rotate(&world, &client, "production").await;
    let value = rotated["secret"]["value"].as_str().unwrap().to_owned();
    // The first attempt fails, and the secret ends before the second.
    receiver.answer(&["500"]);
    let secret = report(&world, &value).await;
    assert_eq!(incidents(&sent(&world, &receiver).await), [pair("trigger", &format!("leak:{secret}"))]);
    let body = json!({"transition_hours": 0, "confirm_client_name": "Billing", "reason": "leaked",
        "compromised": true, "end_running_transition": true});
    owner.post(&client.path("production", "/secrets/rotate"), body).await.created();
    world.advance(HOUR);
    assert!(resolved(&sent(&world, &receiver).await).contains(&format!("crossfade:leak:{secret}")));
    assert_eq!((open(&world).await, abandoned(&world, "over").await), (0, 1));
    // An ended secret that is found is no incident, and is known after months, when what was told is forgotten.
    assert_eq!(report(&world, &value).await, secret);
    assert!(incidents(&sent(&world, &receiver).await).is_empty());
    let rotated = rotate(&world, &client, "production").await;
    let value = rotated["secret"]["value"].as_str().unwrap().to_owned();
    let secret = report(&world, &value).await;
    let key = format!("crossfade:leak:{secret}");
    let of_key = async |world: &World| -> Vec<String> {
        let sent = incidents(&sent(world, &receiver).await);
        sent.into_iter().filter(|(_, of)| *of == key).map(|(what, _)| what).collect()
    };
    assert_eq!(of_key(&world).await, ["trigger"]);
    world.advance(HOUR * 24 * 200);
    world.run_jobs().await;
    report(&world, &value).await;
    assert_eq!(of_key(&world).await, [] as [&str; 0]);
    rotate(&world, &client, "production").await;
    world.advance(HOUR * 24 * 8);
    world.run_jobs().await;
    assert_eq!(of_key(&world).await, ["resolve"]);
}
