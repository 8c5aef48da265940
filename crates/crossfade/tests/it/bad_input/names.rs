//! Names and reasons.

use super::{NOBODY, send, snapshot, text};
use crate::engines::on_both_engines;
use crate::world::World;
use http::Method;
use serde_json::json;

on_both_engines! {
    names_and_reasons_that_cannot_be_shown_or_typed_are_refused,
    names_are_unique_in_the_form_in_which_they_are_compared,
    names_of_all_scripts_come_back_as_they_were_sent,
}

async fn names_and_reasons_that_cannot_be_shown_or_typed_are_refused(world: World) {
    let client = world.client("Billing", &["production", "staging"]).await;
    let owner = world.owner().await;
    let before = snapshot(&owner, &client).await;
    let property = owner.get("/properties").await.ok()["items"][0]["id"].clone();
    let long = "é".repeat(201);
    let hostile = [
        "a\u{0}b",
        "a\nb",
        "a\tb",
        "a\u{7f}b",
        "a\u{85}b",
        "a\u{200b}b",
        "a\u{200d}b",
        "a\u{202e}b",
        "a\u{2066}b",
        "a\u{2028}b",
        "\u{feff}a",
        "a\u{ad}b",
        "a\u{e0041}b",
    ];
    let unnamed = ["", " ", "\t\n", "\u{3000}", long.as_str()];
    for name in hostile.iter().chain(&unnamed) {
        for (method, path, body) in [
            (Method::POST, "/properties".to_owned(), json!({"name": name})),
            (Method::PATCH, format!("/properties/{}", text(&property)), json!({"name": name})),
            (
                Method::POST,
                "/clients".to_owned(),
                json!({"name": name, "property_id": property, "environments": ["staging"]}),
            ),
            (Method::PATCH, format!("/clients/{}", client.id), json!({"name": name})),
            (Method::POST, "/environments".to_owned(), json!({"slug": "eu", "name": name, "kind": "live"})),
            (Method::PATCH, "/environments/staging".to_owned(), json!({"name": name})),
        ] {
            let problem = send(&owner, &method, &path, &body.to_string()).await.refused(422, "invalid_body");
            assert_eq!(problem["field"], "name", "{path} {name:?}");
        }
    }
    let long = "é".repeat(1001);
    for reason in hostile.iter().chain([&long.as_str()]) {
        let body = json!({"transition_hours": 0, "confirm_client_name": "Billing", "reason": reason});
        let problem = owner
            .post(&client.path("production", "/secrets/rotate"), body)
            .await
            .refused(422, "invalid_body");
        assert_eq!(problem["field"], "reason", "{reason:?}");
        let problem = owner
            .patch(&format!("/clients/{}", client.id), json!({"description": reason}))
            .await
            .refused(422, "invalid_body");
        assert_eq!(problem["field"], "description", "{reason:?}");
    }
    for owners in [
        json!(["ada"]),
        json!(["@example.com"]),
        json!(["ada@"]),
        json!(["a@b@c"]),
        json!(["a da@example.com"]),
        json!([""]),
        json!(["ada@exa\u{202e}mple.com"]),
        json!(["ada@example.com\nbcc: x@y"]),
        json!(vec!["ada@example.com"; 51]),
    ] {
        let problem = owner
            .patch(&format!("/clients/{}", client.id), json!({"owners": owners}))
            .await
            .refused(422, "invalid_body");
        assert_eq!(problem["field"], "owners", "{owners}");
    }
    for slug in ["", "A", "a b", "-a", "a-", "a/b", "ä", "a.b", "..", &"a".repeat(41)] {
        let problem = owner
            .post("/environments", json!({"slug": slug, "name": "EU", "kind": "live"}))
            .await
            .refused(422, "invalid_body");
        assert_eq!(problem["field"], "slug", "{slug}");
    }
    for environments in [json!([]), json!(["nowhere"]), json!(["staging", "nowhere"])] {
        let body = json!({"name": "New", "property_id": property, "environments": environments});
        assert_eq!(owner.post("/clients", body).await.refused(422, "invalid_body")["field"], "environments");
    }
    for unknown in ["prop_0000000000000000000000", "x", NOBODY] {
        let body = json!({"name": "New", "property_id": unknown, "environments": ["staging"]});
        owner.post("/clients", body).await.refused(422, "invalid_body");
    }
    assert_eq!(snapshot(&owner, &client).await, before);
}

async fn names_are_unique_in_the_form_in_which_they_are_compared(world: World) {
    let client = world.client("Café", &["production"]).await;
    let owner = world.owner().await;
    let property = owner.get("/properties").await.ok()["items"][0]["id"].clone();
    for same in ["Café", " Cafe\u{301} "] {
        let body = json!({"name": same, "property_id": property, "environments": ["staging"]});
        owner.post("/clients", body).await.refused(409, "name_taken");
    }
    owner.post("/properties", json!({"name": "Property of Cafe\u{301}"})).await.refused(409, "name_taken");
    owner
        .post("/environments", json!({"slug": "staging", "name": "x", "kind": "test"}))
        .await
        .refused(409, "name_taken");
    owner
        .post(&format!("/clients/{}/environments", client.id), json!({"environment": "production"}))
        .await
        .refused(409, "name_taken");
    let elsewhere = owner.post("/properties", json!({"name": "Elsewhere"})).await.created();
    owner
        .post(
            "/clients",
            json!({"name": "Café", "property_id": elsewhere["id"], "environments": ["staging"]}),
        )
        .await
        .created();
}

async fn names_of_all_scripts_come_back_as_they_were_sent(world: World) {
    let owner = world.owner().await;
    for name in [
        "<script>alert(1)</script>",
        "O'Brien \"Bob\" \\ %00 ${x} {{y}}",
        "الفواتير",
        "請求書 API",
        "💸 ❤\u{fe0f}",
        "'; DROP TABLE clients; --",
    ] {
        let client = world.client(name, &["production"]).await;
        let answer = owner.get(&format!("/clients/{}", client.id)).await;
        assert_eq!(
            (answer.header("content-type"), answer.header("x-content-type-options")),
            (Some("application/json"), Some("nosniff"))
        );
        assert_eq!(answer.ok()["name"], name);
        owner.post(&client.path("production", "/secrets/rotate"), client.rotation(0)).await.created();
    }
}
