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
