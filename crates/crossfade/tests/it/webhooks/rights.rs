//! Who manages which webhooks.

use super::{
    HOUR, abandoned, body, create, id, log, manager, manager_in, open, path, posting, rotate, send_all, sent,
};
use crate::{
    engines::on_both_engines,
    receiver::Receiver,
    world::{OWNER, Principal, World},
};
use crossfade_app::{NamedRegistration, NewToken};
use serde_json::{Value, json};

on_both_engines! {
    a_manager_of_one_environment_gets_nothing_of_another,
    what_waits_for_another_environment_does_not_leave_once_a_webhook_is_limited,
    webhooks_of_more_than_a_client_are_for_operations_managers,
    managers_reach_their_own_webhooks_alone,
}

async fn a_manager_of_one_environment_gets_nothing_of_another(mut world: World) {
    let (client, receiver) = (posting(&mut world).await, Receiver::start().await);
    let owner = world.owner().await;
    let grace = manager_in(&world, "grace@example.com", &client.id, &["staging"]).await;
    let of_client = json!({"client_id": client.id, "confirm_name": "Billing", "environments": ["staging"]});
    let limited = grace.post("/webhooks", body(&receiver, of_client)).await.created();
    // As an owner of the client, it would be told of every environment.
    let name = json!({"owners": [id(&limited)], "confirm_client_name": "Billing"});
    let refused = owner.patch(&format!("/clients/{}", client.id), name).await.refused(422, "invalid_body");
    assert_eq!(refused["field"], "owners");
    world.raw(&format!("UPDATE clients SET owners = '[\"{}\"]'", id(&limited))).await;
    rotate(&world, &client, "production").await;
    assert_eq!(sent(&world, &receiver).await.len(), 0, "also if it has become one");
    world.raw("UPDATE clients SET owners = '[]'").await;
    // One that is an owner is not limited.
    let of_client = json!({"client_id": client.id, "confirm_name": "Billing"});
    let whole = owner.post("/webhooks", body(&receiver, of_client)).await.created();
    let name = |owners: Value| json!({"owners": owners, "confirm_client_name": "Billing"});
    owner.patch(&format!("/clients/{}", client.id), name(json!([id(&whole)]))).await.ok();
    let narrow = json!({"environments": ["staging"]});
    owner.patch(&path(&whole, ""), narrow.clone()).await.refused(409, "in_use");
    owner.patch(&format!("/clients/{}", client.id), name(json!([]))).await.ok();
    // What it was sent before it was limited is not for those who manage it afterwards.
    rotate(&world, &client, "production").await;
    rotate(&world, &client, "staging").await;
    send_all(&world).await;
    owner.patch(&path(&whole, ""), narrow).await.ok();
    let read = grace.get(&path(&whole, "/deliveries")).await.ok();
    let environments: Vec<_> =
        read["items"].as_array().unwrap().iter().map(|it| &it["environment"]).collect();
    assert_eq!(environments, ["staging"]);
    let all = log(&world, &whole).await;
    assert!(all.len() >= 2, "{all:?}");
    for delivery in all {
        let replay = path(&whole, &format!("/deliveries/{}/replay", delivery["id"].as_str().unwrap()));
        let answer = grace.post(&replay, json!({})).await;
        match delivery["environment"] == "staging" {
            true => drop(answer.ok()),
            false => drop(answer.refused(404, "not_found")),
        }
    }
}

async fn what_waits_for_another_environment_does_not_leave_once_a_webhook_is_limited(mut world: World) {
    let (client, first, hers) = (posting(&mut world).await, Receiver::start().await, Receiver::start().await);
    let (owner, grace) =
        (world.owner().await, manager_in(&world, "grace@example.com", &client.id, &["staging"]).await);
    let of_client = json!({"client_id": client.id, "confirm_name": "Billing"});
    let webhook = owner.post("/webhooks", body(&first, of_client)).await.created();
    let waits = async || {
        // A failure leaves both in the queue.
        first.answer(&["500", "500"]);
        rotate(&world, &client, "production").await;
        rotate(&world, &client, "staging").await;
        send_all(&world).await;
        first.take();
        assert_eq!(open(&world).await, 2);
    };
    let moved = json!({"url": hers.url(), "confirm_name": "Billing"});
    waits().await;
    let narrow = json!({"environments": ["staging"]});
    owner.patch(&path(&webhook, ""), narrow.clone()).await.ok();
    assert_eq!((open(&world).await, abandoned(&world, "not_chosen").await), (1, 1));
    let event = "SELECT COUNT(*) FROM audit_events WHERE action = 'webhook.updated' AND details LIKE '%\"abandoned_deliveries\":1%'";
    assert_eq!(world.number(event).await, 1);
    grace.patch(&path(&webhook, ""), moved.clone()).await.ok();
    let environments = async || {
        let sent = sent(&world, &hers).await;
        sent.iter()
            .map(|it| it.json()["data"]["environment"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    world.advance(HOUR);
    assert_eq!(environments().await, ["staging"]);
    // The same if only the row says so: no other door leads past the attempt, not even a replay by an Owner.
    let back = json!({"url": first.url(), "environments": [], "confirm_name": "Billing"});
    owner.patch(&path(&webhook, ""), back).await.ok();
    waits().await;
    world.raw("UPDATE webhooks SET environments = '[\"staging\"]'").await;
    grace.patch(&path(&webhook, ""), moved).await.ok();
    world.advance(HOUR);
    assert_eq!(environments().await, ["staging"]);
    assert_eq!((open(&world).await, abandoned(&world, "not_chosen").await), (0, 2));
    let all = log(&world, &webhook).await;
    let production = all.iter().find(|it| it["environment"] == "production").unwrap();
    let replay = path(&webhook, &format!("/deliveries/{}/replay", production["id"].as_str().unwrap()));
    owner.post(&replay, json!({})).await.ok();
    assert_eq!(environments().await, [""; 0]);
    // A test is about no environment.
    grace.post(&path(&webhook, "/test"), json!({})).await.created();
    assert_eq!(sent(&world, &hers).await.len(), 1);
}

async fn webhooks_of_more_than_a_client_are_for_operations_managers(mut world: World) {
    let (client, receiver) = (posting(&mut world).await, Receiver::start().await);
    let owner = world.owner().await;
    let property = owner.get(&format!("/clients/{}", client.id)).await.ok()["property_id"].clone();
    let name = owner.get(&format!("/properties/{}", property.as_str().unwrap())).await.ok()["name"].clone();
    let of_property = json!({"property_id": property, "confirm_name": name});
    let user = owner.post("/users", json!({"email": "grace@example.com"})).await.created();
    let grant = json!({"role": "application_manager", "property_id": property});
    owner.post(&format!("/users/{}/grants", user["id"].as_str().unwrap()), grant).await.created();
    let grace = world.token_of("grace@example.com", &[]).await;
    let operator = world.user("olga@example.com", "operations_manager").await;
    grace.post("/webhooks", body(&receiver, of_property.clone())).await.refused(403, "forbidden");
    let mut limited = of_property.clone();
    limited["environments"] = json!(["staging"]);
    grace.post("/webhooks", body(&receiver, limited)).await.refused(403, "forbidden");
    let webhook = operator.post("/webhooks", body(&receiver, of_property)).await.created();
    grace.get(&path(&webhook, "")).await.refused(404, "not_found");
    assert_eq!(grace.get("/webhooks").await.ok()["items"], json!([]));
    let of_client = json!({"client_id": client.id, "confirm_name": "Billing"});
    grace.post("/webhooks", body(&receiver, of_client)).await.created();
}

async fn managers_reach_their_own_webhooks_alone(mut world: World) {
    let (client, receiver) = (posting(&mut world).await, Receiver::start().await);
    let other = world.client("Ledger", &["production"]).await;
    let grace = manager(&world, "grace@example.com", &client.id).await;
    let eve = manager(&world, "eve@example.com", &other.id).await;
    let owner = world.owner().await;
    let of_client = json!({"client_id": client.id, "confirm_name": "Billing"});
    // Not for the platform, a property, or a client of others.
    grace.post("/webhooks", body(&receiver, json!({}))).await.refused(403, "forbidden");
    let property = owner.get(&format!("/clients/{}", client.id)).await.ok()["property_id"].clone();
    let of_property = json!({"property_id": property, "confirm_name": "Property of Billing"});
    let answer = grace.post("/webhooks", body(&receiver, of_property.clone())).await;
    assert!([403, 422].contains(&answer.status.as_u16()));
    let foreign = eve.post("/webhooks", body(&receiver, of_client.clone())).await;
    assert_eq!(foreign.refused(422, "invalid_body")["field"], "client_id");
    let platform = create(&world, &receiver, json!({})).await;
    let own = grace.post("/webhooks", body(&receiver, of_client.clone())).await.created();
    rotate(&world, &client, "production").await;
    send_all(&world).await;
    let listed =
        async |who: &Principal<'_>| who.get("/webhooks").await.ok()["items"].as_array().unwrap().len();
    assert_eq!((listed(&owner).await, listed(&grace).await, listed(&eve).await), (2, 1, 0));
    assert_eq!(grace.get(&path(&own, "/deliveries")).await.ok()["items"].as_array().unwrap().len(), 1);
    let delivery = log(&world, &own).await[0]["id"].as_str().unwrap().to_owned();
    for (who, webhook) in [(&grace, &platform), (&eve, &platform), (&eve, &own)] {
        who.get(&path(webhook, "")).await.refused(404, "not_found");
        who.get(&path(webhook, "/deliveries")).await.refused(404, "not_found");
        who.patch(&path(webhook, ""), json!({"name": "x"})).await.refused(404, "not_found");
        who.post(&path(webhook, "/test"), json!({})).await.refused(404, "not_found");
        who.post(&path(webhook, "/rotate-secret"), json!({"overlap_hours": 0}))
            .await
            .refused(404, "not_found");
        who.post(&path(webhook, &format!("/deliveries/{delivery}/replay")), json!({}))
            .await
            .refused(404, "not_found");
        who.delete(&path(webhook, ""), json!({})).await.refused(404, "not_found");
    }
    // What a viewer reads of a client is no webhook of it, and a token of one registration reaches none.
    let viewer = world.user("vic@example.com", "viewer").await;
    viewer.get("/webhooks").await.refused(403, "forbidden");
    viewer.get(&path(&own, "")).await.refused(404, "not_found");
    let new = NewToken {
        user: OWNER.to_owned(),
        name: "nightly".to_owned(),
        expires_days: None,
        scope: vec!["client:read".into(), "webhook:manage".into()],
        only: Some(NamedRegistration { client: "Billing".into(), environment: "production".into() }),
    };
    let token = world.app.create_token(&new).await.unwrap();
    let limited = Principal { world: &world, token: Some(token.reveal().to_owned()) };
    limited.get("/webhooks").await.refused(403, "forbidden");
    limited.get(&path(&own, "/deliveries")).await.refused(403, "forbidden");
    limited.post("/webhooks", body(&receiver, of_client)).await.refused(403, "forbidden");
    // A permission that is taken away is gone at the next request.
    world
        .raw("DELETE FROM grants WHERE user_id = (SELECT id FROM users WHERE email = 'grace@example.com')")
        .await;
    grace.get(&path(&own, "")).await.refused(404, "not_found");
}
