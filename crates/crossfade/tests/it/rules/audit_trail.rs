//! Rule 18: the audit trail says who did what, and never a secret.

use super::{HOUR, change, items, roll_back, rotate, text, trail, with};
use crate::engines::on_both_engines;
use crate::world::World;
use serde_json::{Value, json};

on_both_engines! {
    the_trail_says_who_did_what_and_never_a_secret_rule_18,
    the_trail_can_be_filtered,
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
