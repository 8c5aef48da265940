//! What destroys stored values or sends messages elsewhere asks for the name (rule 24).

use crate::engines::on_both_engines;
use crate::world::{Client, Principal, World};
use serde_json::{Value, json};
use std::time::Duration;

on_both_engines! {
    stored_values_are_destroyed_only_for_the_typed_slug_rule_24,
    an_environment_without_stored_values_asks_for_nothing,
    fewer_days_of_retention_ask_where_they_destroy_values,
    other_owners_ask_for_the_name_of_the_client_rule_24,
    the_console_tells_what_show_once_destroys_and_asks_for_the_slug,
    the_console_asks_for_the_name_before_owners_change,
}

const DAY: Duration = Duration::from_secs(86_400);
const PRODUCTION: &str = "/environments/production";

/// The status of revealing the secret that a client was created with.
async fn reveal(owner: &Principal<'_>, client: &Client) -> u16 {
    let secret = &client.registration("production").secret_id;
    let path = client.path("production", &format!("/secrets/{secret}/reveal"));
    owner.post(&path, json!({})).await.status.as_u16()
}

async fn settings(owner: &Principal<'_>) -> Value {
    owner.get(PRODUCTION).await.ok()
}

async fn stored_values_are_destroyed_only_for_the_typed_slug_rule_24(world: World) {
    let client = world.client("Billing", &["production", "staging"]).await;
    let owner = world.owner().await;
    owner.post(&client.path("production", "/secrets/rotate"), client.rotation(24)).await.created();
    let before = settings(&owner).await;
    for typed in [json!(null), json!(""), json!("Production"), json!("staging"), json!("production ")] {
        let mut body = json!({"show_once": true, "name": "Renamed", "max_age_days": 7});
        if !typed.is_null() {
            body["confirm_environment_slug"] = typed.clone();
        }
        let problem = owner.patch(PRODUCTION, body).await.refused(422, "confirmation_mismatch");
        assert_eq!(
            (&problem["field"], &problem["stored_values"]),
            (&json!("confirm_environment_slug"), &json!(2)),
            "{typed}"
        );
        assert!(problem["detail"].as_str().unwrap().contains("Nothing was changed."), "{problem}");
    }
    // On and off again by mistake: nothing was lost.
    owner.patch(PRODUCTION, json!({"show_once": false})).await.ok();
    let mut after = settings(&owner).await;
    after["show_once"] = before["show_once"].clone();
    assert_eq!((after, reveal(&owner, &client).await), (before, 200));
    let body = json!({"show_once": true, "confirm_environment_slug": "production"});
    owner.patch(PRODUCTION, body).await.ok();
    assert_eq!(reveal(&owner, &client).await, 409);
    let event = owner.get("/audit-events?action=environment.updated&limit=1").await.ok()["items"][0].clone();
    assert_eq!(
        (&event["details"]["destroyed_values"], &event["environment"]),
        (&json!(2), &json!("production"))
    );
    assert_eq!(
        world.number("SELECT COUNT(*) FROM secrets WHERE sealed IS NOT NULL").await,
        1,
        "staging is left alone"
    );
}

async fn an_environment_without_stored_values_asks_for_nothing(world: World) {
    let owner = world.owner().await;
    owner.patch(PRODUCTION, json!({"show_once": true})).await.ok();
    let client = world.client("Billing", &["production"]).await;
    assert_eq!(reveal(&owner, &client).await, 409);
    owner.patch(PRODUCTION, json!({"show_once": false})).await.ok();
    owner.patch(PRODUCTION, json!({"show_once": true, "wipe_after_days": 0})).await.ok();
    owner.patch(PRODUCTION, json!({"show_once": true})).await.ok();
}

async fn fewer_days_of_retention_ask_where_they_destroy_values(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    owner.post(&client.path("production", "/secrets/rotate"), client.rotation(0)).await.created();
    owner.patch(PRODUCTION, json!({"wipe_after_days": 20})).await.ok();
    world.advance(DAY * 10);
    owner.patch(PRODUCTION, json!({"wipe_after_days": 11})).await.ok();
    for days in [10, 0] {
        let problem = owner
            .patch(PRODUCTION, json!({"wipe_after_days": days}))
            .await
            .refused(422, "confirmation_mismatch");
        assert_eq!(problem["stored_values"], 1, "{days}");
    }
    world.run_jobs().await;
    assert_eq!(reveal(&owner, &client).await, 200);
    owner.patch(PRODUCTION, json!({"wipe_after_days": 40})).await.ok();
    owner
        .patch(PRODUCTION, json!({"wipe_after_days": 10, "confirm_environment_slug": "production"}))
        .await
        .ok();
    world.run_jobs().await;
    assert_eq!(reveal(&owner, &client).await, 409);
}

async fn other_owners_ask_for_the_name_of_the_client_rule_24(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let path = format!("/clients/{}", client.id);
    for owners in [json!(["eve@example.com"]), json!(["ada@example.com", "eve@example.com"]), json!([])] {
        for name in [json!(null), json!("billing"), json!("New")] {
            let mut body = json!({"owners": owners, "name": "New", "description": "changed"});
            if !name.is_null() {
                body["confirm_client_name"] = name.clone();
            }
            let problem = owner.patch(&path, body).await.refused(422, "confirmation_mismatch");
            assert_eq!(problem["field"], "confirm_client_name", "{owners} {name}");
        }
    }
    let now = owner.get(&path).await.ok();
    assert_eq!((&now["name"], &now["owners"]), (&json!("Billing"), &json!(["ada@example.com"])));
    // The same people, written in another way or with more about the client, go without.
    owner.patch(&path, json!({"owners": [" Ada@Example.com "], "description": "same"})).await.ok();
    let body = json!({"owners": ["eve@example.com"], "name": "New", "confirm_client_name": "Billing"});
    assert_eq!(owner.patch(&path, body).await.ok()["owners"], json!(["eve@example.com"]));
}

async fn the_console_tells_what_show_once_destroys_and_asks_for_the_slug(world: World) {
    world.client("Billing", &["production"]).await;
    let browser = world.signed_in().await;
    let path = "/console/environments/production";
    let page = browser.get(path).await.page(200);
    assert!(page.contains("Turning this on destroys the 1 stored value. This cannot be undone."), "{page}");
    let form = |slug| {
        [
            ("name", "Production"),
            ("kind", "live"),
            ("signing_alg", "ES256"),
            ("position", "2"),
            ("wipe_after_days", "30"),
            ("show_once", "true"),
            ("confirm_environment_slug", slug),
        ]
    };
    let page = browser.post(path, &form("")).await.page(422);
    assert!(
        page.contains("This change permanently destroys 1 stored value of production")
            && page.contains("aria-invalid"),
        "{page}"
    );
    assert_eq!(world.number("SELECT COUNT(*) FROM secrets WHERE sealed IS NOT NULL").await, 1);
    assert_eq!(browser.post(path, &form("production")).await.status.as_u16(), 303);
    assert_eq!(world.number("SELECT COUNT(*) FROM secrets WHERE sealed IS NOT NULL").await, 0);
    assert!(
        !browser.get(path).await.page(200).contains("confirm_environment_slug"),
        "nothing is left to destroy"
    );
}

async fn the_console_asks_for_the_name_before_owners_change(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let browser = world.signed_in().await;
    let path = format!("/console/clients/{}/settings", client.id);
    let form = |owners, name| {
        [("name", "Billing"), ("description", ""), ("owners", owners), ("confirm_client_name", name)]
    };
    let page = browser.post(&path, &form("eve@example.com", "")).await.page(422);
    assert!(
        page.contains("value=\"Billing\"")
            && page.contains("eve@example.com")
            && page.contains("aria-invalid"),
        "{page}"
    );
    assert_eq!(browser.post(&path, &form("ada@example.com", "")).await.status.as_u16(), 303);
    assert_eq!(browser.post(&path, &form("eve@example.com", "Billing")).await.status.as_u16(), 303);
}
