//! Which messages a webhook gets, and in which form.

use super::{HOUR, body, create, id, path, posting, rotate, sent};
use crate::{
    engines::on_both_engines,
    receiver::{Delivery, Receiver},
    world::World,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

on_both_engines! {
    a_webhook_chooses_environments_and_events,
    a_client_names_a_webhook_as_its_owner,
    people_get_messages_in_their_own_form,
}

async fn a_webhook_chooses_environments_and_events(mut world: World) {
    let (client, receiver) = (posting(&mut world).await, Receiver::start().await);
    let other = world.client("Ledger", &["production"]).await;
    create(&world, &receiver, json!({"client_id": client.id, "confirm_name": "Billing", "environments": ["production"], "events": ["secret.rotated"]})).await;
    rotate(&world, &client, "staging").await;
    rotate(&world, &other, "production").await;
    assert_eq!(sent(&world, &receiver).await.len(), 0);
    rotate(&world, &client, "production").await;
    let kinds: Vec<_> = sent(&world, &receiver).await.iter().map(Delivery::kind).collect();
    assert_eq!(kinds, ["secret.rotated"]);
    world.advance(HOUR * 168);
    world.run_jobs().await;
    assert_eq!(sent(&world, &receiver).await.len(), 0);
    let owner = world.owner().await;
    let unknown = body(&receiver, json!({"events": ["user.created"]}));
    assert_eq!(owner.post("/webhooks", unknown).await.refused(422, "invalid_body")["field"], "events");
    let unknown = body(&receiver, json!({"environments": ["nowhere"]}));
    assert_eq!(owner.post("/webhooks", unknown).await.refused(422, "invalid_body")["field"], "environments");
}

async fn a_client_names_a_webhook_as_its_owner(mut world: World) {
    let (client, receiver) = (posting(&mut world).await, Receiver::start().await);
    let other = world.client("Ledger", &["production"]).await;
    let webhook = create(&world, &receiver, json!({"events": ["secret.expired"]})).await;
    let foreign = create(&world, &receiver, json!({"client_id": other.id, "confirm_name": "Ledger"})).await;
    let owner = world.owner().await;
    let patch = async |list: Value| {
        let body = json!({"owners": list, "confirm_client_name": "Billing"});
        owner.patch(&format!("/clients/{}", client.id), body).await
    };
    for refused in [json!([id(&foreign)]), json!(["wh_0000000000000000000000"])] {
        assert_eq!(patch(refused).await.refused(422, "invalid_body")["field"], "owners");
    }
    let changed = patch(json!([id(&webhook), "ada@example.com"])).await.ok();
    assert_eq!(changed["owners"], json!([id(&webhook), "ada@example.com"]));
    rotate(&world, &client, "production").await;
    let kinds: Vec<_> = sent(&world, &receiver).await.iter().map(Delivery::kind).collect();
    assert_eq!(
        BTreeSet::from_iter(kinds),
        BTreeSet::from(["client.updated".into(), "secret.rotated".into()])
    );
    owner.delete(&path(&webhook, ""), json!({})).await.refused(409, "in_use");
    patch(json!(["ada@example.com"])).await.ok();
    let answer = owner.delete(&path(&webhook, ""), json!({})).await;
    assert_eq!(answer.status, 204);
}

async fn people_get_messages_in_their_own_form(mut world: World) {
    let (client, slack, teams) =
        (posting(&mut world).await, Receiver::start().await, Receiver::start().await);
    create(&world, &slack, json!({"format": "slack"})).await;
    create(&world, &teams, json!({"format": "teams"})).await;
    let mut rotation = client.rotation(24);
    rotation["reason"] = json!("<!channel> *bold* [x](https://evil.example) \"quoted\"");
    world.owner().await.post(&client.path("production", "/secrets/rotate"), rotation).await.created();
    let [to_slack] = sent(&world, &slack).await.try_into().unwrap();
    let message = to_slack.json();
    assert_eq!(message["text"], "Secret rotated: Billing in production");
    for text in texts(&message["blocks"]) {
        assert_eq!(text["type"], "plain_text", "nothing is markup: {text}");
    }
    let [to_teams] = teams.take().try_into().unwrap();
    let card = &to_teams.json()["attachments"][0]["content"];
    assert_eq!(card["type"], "AdaptiveCard");
    assert!(to_teams.body.contains("https://evil.example") && !to_teams.body.contains("\"TextBlock\""));
    assert!(card["actions"][0]["url"].as_str().unwrap().contains("/console/clients/"));
}

/// The text objects of Slack in these blocks.
fn texts(value: &Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(members) if members.contains_key("emoji") => vec![value.clone()],
        Value::Object(members) => members.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}
