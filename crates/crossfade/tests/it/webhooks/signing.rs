//! Signatures, their secrets, and the time that they state.

use super::{HOUR, SECOND, body, create, open, path, posting, rotate, sent};
use crate::{
    engines::on_both_engines,
    receiver::{Delivery, Receiver},
    world::World,
};
use serde_json::json;
use std::{collections::BTreeSet, time::Duration};

on_both_engines! {
    a_delivery_is_signed_and_numbered_and_has_no_secret,
    two_secrets_sign_until_the_overlap_ends,
    a_delivery_has_the_time_of_the_machine,
    a_url_and_a_secret_are_told_once_or_never,
}

async fn a_delivery_is_signed_and_numbered_and_has_no_secret(mut world: World) {
    let (client, receiver) = (posting(&mut world).await, Receiver::start().await);
    let webhook = create(&world, &receiver, json!({})).await;
    let secret = webhook["signing_secret"].as_str().unwrap().to_owned();
    let mut values = Vec::new();
    for _ in 0..2 {
        values.push(
            rotate(&world, &client, "production").await["secret"]["value"].as_str().unwrap().to_owned(),
        );
    }
    let deliveries = sent(&world, &receiver).await;
    assert_eq!(
        deliveries.iter().map(Delivery::kind).collect::<BTreeSet<_>>(),
        BTreeSet::from(["secret.rotated".into()])
    );
    let mut numbers: Vec<_> = deliveries.iter().map(|it| it.json()["number"].as_i64().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2]);
    for delivery in &deliveries {
        assert_eq!(delivery.signatures_by(&secret), (1, 1));
        assert!(
            delivery.is_verified_by(&secret)
                && !delivery.is_verified_by("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
        );
        let changed = Delivery { body: format!("{} ", delivery.body), ..delivery.clone() };
        assert!(!changed.is_verified_by(&secret));
        assert!(delivery.id().starts_with("del_") && !delivery.id().contains('.'));
        assert_eq!(delivery.headers["content-type"], "application/json");
        let payload = delivery.json();
        assert_eq!((&payload["version"], &payload["data"]["environment"]), (&json!(1), &json!("production")));
        assert_eq!(payload["data"]["client"], json!({"id": client.id, "name": "Billing"}));
        assert!(payload["data"]["details"]["incoming_secret_id"].as_str().unwrap().starts_with("sec_"));
        for value in values.iter().chain([&secret]) {
            assert!(!delivery.body.contains(value), "{}", delivery.body);
        }
    }
    assert_eq!(open(&world).await, 0);
    assert_eq!(sent(&world, &receiver).await.len(), 0);
    let state = world.app.measure().await;
    assert_eq!((state.webhooks.sent, state.webhooks.failed), (2, 0));
}

async fn two_secrets_sign_until_the_overlap_ends(mut world: World) {
    let (client, receiver) = (posting(&mut world).await, Receiver::start().await);
    let webhook = create(&world, &receiver, json!({})).await;
    let owner = world.owner().await;
    let path = path(&webhook, "/rotate-secret");
    for wrong in [
        json!({}),
        json!({"overlap_hours": null}),
        json!({"overlap_hours": 169}),
        json!({"overlap_hours": -1}),
        json!({"overlap_hours": 1.5}),
        json!({"overlap_hours": "24"}),
    ] {
        let refused = owner.post(&path, wrong).await.refused(422, "invalid_body");
        assert_eq!(refused["field"], "overlap_hours");
    }
    let first = webhook["signing_secret"].as_str().unwrap();
    let rotated = owner.post(&path, json!({"overlap_hours": 1})).await.ok();
    let second = rotated["signing_secret"].as_str().unwrap();
    let until = world.now().after(HOUR);
    assert_eq!(rotated["previous_secret_expires_at"], json!(until));
    owner.post(&path, json!({"overlap_hours": 24})).await.refused(409, "overlap_in_progress");
    let signed = async |world: &World| {
        rotate(world, &client, "production").await;
        let [delivery] = sent(world, &receiver).await.try_into().unwrap();
        assert!(delivery.is_verified_by(second));
        (delivery.signatures_by(first), delivery.signatures_by(second))
    };
    world.advance(HOUR - SECOND);
    assert_eq!(signed(&world).await, ((1, 2), (1, 2)));
    world.advance(SECOND);
    assert_eq!(signed(&world).await, ((0, 1), (1, 1)));
    world.advance(SECOND);
    assert_eq!(signed(&world).await, ((0, 1), (1, 1)));
    let third = owner.post(&path, json!({"overlap_hours": 0})).await.ok();
    rotate(&world, &client, "production").await;
    let [delivery] = sent(&world, &receiver).await.try_into().unwrap();
    assert_eq!(delivery.signatures_by(third["signing_secret"].as_str().unwrap()), (1, 1));
    // One that has leaked ends although an overlap runs.
    owner.post(&path, json!({"overlap_hours": 24})).await.ok();
    let last = owner.post(&path, json!({"overlap_hours": 0, "end_running_overlap": true})).await.ok();
    rotate(&world, &client, "production").await;
    let [delivery] = sent(&world, &receiver).await.try_into().unwrap();
    assert_eq!(delivery.signatures_by(last["signing_secret"].as_str().unwrap()), (1, 1));
}

async fn a_delivery_has_the_time_of_the_machine(mut world: World) {
    let (client, receiver) = (posting(&mut world).await, Receiver::start().await);
    create(&world, &receiver, json!({})).await;
    // The machine's clock was ahead, and what was stored then is later than the time of every receiver.
    let machine = world.clock.machine();
    world.clock.raise(machine.after(HOUR * 24));
    assert!(world.now() > machine);
    rotate(&world, &client, "production").await;
    let [delivery] = sent(&world, &receiver).await.try_into().unwrap();
    assert_eq!(delivery.headers["webhook-timestamp"], machine.as_seconds().to_string());
}

async fn a_url_and_a_secret_are_told_once_or_never(mut world: World) {
    let (_, receiver) = (posting(&mut world).await, Receiver::start().await);
    let owner = world.owner().await;
    let mut wrong = body(&receiver, json!({}));
    wrong["confirm_name"] = json!("Billing");
    owner.post("/webhooks", wrong).await.refused(422, "confirmation_mismatch");
    let key = [("idempotency-key", "one")];
    let text = body(&receiver, json!({})).to_string();
    let first = owner.call(http::Method::POST, "/webhooks", Some(text.clone()), &key).await.created();
    let again = owner.call(http::Method::POST, "/webhooks", Some(text), &key).await.created();
    assert_eq!(first["id"], again["id"]);
    // A reply that was lost is given again for a while (rule 7), to whoever still manages the webhook.
    assert!(first["signing_secret"].is_string() && first["signing_secret"] == again["signing_secret"]);
    let rotated = path(&first, "/rotate-secret");
    let (hours, key_of_rotation) = (json!({"overlap_hours": 0}).to_string(), [("idempotency-key", "two")]);
    let twice =
        async || owner.call(http::Method::POST, &rotated, Some(hours.clone()), &key_of_rotation).await.ok();
    assert_eq!(twice().await["signing_secret"], twice().await["signing_secret"]);
    world.advance(Duration::from_secs(600));
    assert!(twice().await.get("signing_secret").is_none());
    let read = owner.call(http::Method::GET, &path(&first, ""), None, &[]).await;
    assert_eq!(read.header("etag"), Some("\"2\""));
    assert!(read.ok().get("signing_secret").is_none());
    let stale = [("if-match", "\"7\"")];
    let change = json!({"name": "Other"}).to_string();
    owner
        .call(http::Method::PATCH, &path(&first, ""), Some(change), &stale)
        .await
        .refused(412, "precondition_failed");
    let moved = json!({"url": format!("{}/canary-path", receiver.url())});
    owner.patch(&path(&first, ""), moved.clone()).await.refused(422, "confirmation_mismatch");
    let mut confirmed = moved;
    confirmed["confirm_name"] = json!("platform");
    owner.patch(&path(&first, ""), confirmed).await.ok();
    let secret = first["signing_secret"].as_str().unwrap();
    for table in ["audit_events", "idempotency", "notifications"] {
        for canary in [secret, "canary-path"] {
            let columns = if table == "idempotency" { "reply" } else { "details" };
            let found = format!("SELECT COUNT(*) FROM {table} WHERE {columns} LIKE '%{canary}%'");
            let is_answer = table == "idempotency" && canary == "canary-path";
            assert!(is_answer || world.number(&found).await == 0, "{table} {canary}");
        }
    }
}
