//! Incidents of PagerDuty: opened and resolved.

use super::{HOUR, abandoned, body, create, log, open, path, posting, rotate, sent};
use crate::{
    engines::on_both_engines,
    receiver::{Delivery, Receiver},
    world::{Client, World},
};
use serde_json::{Value, json};

on_both_engines! {
    an_incident_is_not_opened_after_its_end,
    an_incident_ends_with_every_end_of_its_cause,
    a_routing_key_goes_to_no_other_host,
    an_incident_is_opened_and_resolved,
    a_leaked_secret_is_an_incident_until_it_has_ended,
    a_leak_that_is_over_opens_nothing,
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

async fn schedule_drill(world: &World, client: &Client) {
    let body = json!({"length_seconds": 60, "confirm_client_name": "Billing", "reason": "who is left"});
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
    let late = "SELECT COUNT(*) FROM deliveries WHERE abandoned_as = 'late'";
    let first = log(&world, &webhook).await.into_iter().find(|it| it["abandoned_as"] == "late").unwrap();
    let replay = path(&webhook, &format!("/deliveries/{}/replay", first["id"].as_str().unwrap()));
    owner.post(&replay, json!({})).await.ok();
    assert_eq!((sent(&world, &receiver).await.len(), world.number(late).await), (0, 1));
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
    assert_eq!(owner.delete(&format!("/clients/{}", client.id), deletion).await.status, 204);
    let ended = incidents(&sent(&world, &receiver).await);
    assert_eq!(ended.len(), 2, "{ended:?}");
    assert!(ended.iter().all(|(what, _)| what == "resolve"), "{ended:?}");
    assert!(ended.iter().any(|(_, key)| key.starts_with("crossfade:reg_")), "{ended:?}");
    assert!(ended.iter().any(|(_, key)| key.starts_with("crossfade:sec_")), "{ended:?}");
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
    let [closed] = sent(&world, &receiver).await.try_into().unwrap();
    assert_eq!(closed.json()["event_action"], "resolve");
    assert_eq!(closed.json()["dedup_key"], opened[0]["dedup_key"]);
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
                assert_eq!(owner.delete(&format!("/clients/{}", client.id), deletion).await.status, 204);
            }
        }
        assert_eq!(incidents(&sent(&world, &receiver).await), [pair("resolve", &key)], "{end}");
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
    assert_eq!(incidents(&sent(&world, &receiver).await), [pair("resolve", &format!("leak:{secret}"))]);
    assert_eq!((open(&world).await, abandoned(&world, "late").await), (0, 1));
    // An ended secret that is found is no incident, and is known after months, when what was told is forgotten.
    assert_eq!(report(&world, &value).await, secret);
    assert_eq!(incidents(&sent(&world, &receiver).await), []);
    let rotated = rotate(&world, &client, "production").await;
    let value = rotated["secret"]["value"].as_str().unwrap().to_owned();
    let secret = report(&world, &value).await;
    assert_eq!(sent(&world, &receiver).await.len(), 1);
    world.advance(HOUR * 24 * 200);
    world.run_jobs().await;
    report(&world, &value).await;
    assert_eq!(incidents(&sent(&world, &receiver).await), []);
    rotate(&world, &client, "production").await;
    world.advance(HOUR * 24 * 8);
    world.run_jobs().await;
    assert_eq!(incidents(&sent(&world, &receiver).await), [pair("resolve", &format!("leak:{secret}"))]);
}
