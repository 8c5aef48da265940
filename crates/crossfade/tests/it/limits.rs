//! The limits of a property in an environment: what its clients can be given there, and who sets that.

use crate::engines::on_both_engines;
use crate::world::{Client, PUBLIC_URL, Principal, World};
use http::Method;
use serde_json::{Value, json};

on_both_engines! {
    none_set_allow_any_scope_and_the_issuer_alone,
    set_limits_bound_what_registrations_are_given,
    what_is_stored_stays_until_it_is_edited,
    an_issuer_of_this_server_is_in_no_limits,
    limits_are_set_by_whoever_manages_environments,
    limits_have_a_version_and_end_with_their_property_and_environment,
    the_console_shows_limits_and_lets_managers_set_them,
}

const API: &str = "https://invoices.example.com";

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is not a text")).to_owned()
}

/// Where the limits of a client's property in an environment are.
async fn limits_of(world: &World, client: &Client, environment: &str) -> String {
    let read = world.owner().await.get(&format!("/clients/{}", client.id)).await.ok();
    format!("/properties/{}/environments/{environment}/limits", text(&read["property_id"]))
}

/// The manager of one client.
async fn manager<'w>(world: &'w World, client: &Client) -> Principal<'w> {
    let owner = world.owner().await;
    let user = text(&owner.post("/users", json!({"email": "app@example.com"})).await.created()["id"]);
    let body = json!({"role": "application_manager", "client_id": client.id});
    owner.post(&format!("/users/{user}/grants"), body).await.created();
    world.token_of("app@example.com", &[]).await
}

async fn put(by: &Principal<'_>, path: &str, body: Value) -> crate::world::Answer {
    by.call(Method::PUT, path, Some(body.to_string()), &[]).await
}

/// The `aud` and the scope of a new token.
async fn token(world: &World, client: &Client, environment: &str) -> (String, String) {
    let it = client.registration(environment);
    let answer = world.oauth(environment).token(&it.client_id, &it.secret).await;
    let scope = answer.json()["scope"].as_str().unwrap_or_default().to_owned();
    let token = answer.is_token();
    let claims = token.split('.').nth(1).unwrap();
    use base64::Engine;
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    (text(&claims["aud"]), scope)
}

async fn none_set_allow_any_scope_and_the_issuer_alone(world: World) {
    let client = world.client("Billing", &["staging", "production"]).await;
    let path = limits_of(&world, &client, "production").await;
    let read = world.owner().await.get(&path).await;
    assert_eq!(read.header("etag"), Some("\"0\""));
    assert_eq!(read.ok(), json!({"audiences": [], "scopes": null}));
    let manager = manager(&world, &client).await;
    let at = client.path("production", "");
    manager.patch(&at, json!({"scopes": ["anything", "at:all"]})).await.ok();
    let issuer = format!("{PUBLIC_URL}/env/production");
    for audience in [API, "billing", &format!("{PUBLIC_URL}/env/staging")] {
        for caller in [&manager, &world.owner().await] {
            let problem = caller.patch(&at, json!({"audience": audience})).await.refused(422, "invalid_body");
            assert_eq!(problem["field"], "audience", "{audience}");
            assert!(text(&problem["detail"]).contains("Nothing was changed."), "{problem}");
        }
    }
    for own in [json!(issuer), json!(null)] {
        assert_eq!(manager.patch(&at, json!({"audience": own})).await.ok()["audience"], issuer.as_str());
    }
    assert_eq!(token(&world, &client, "production").await, (issuer, "anything at:all".into()));
}

async fn set_limits_bound_what_registrations_are_given(world: World) {
    let client = world.client("Billing", &["staging", "production"]).await;
    let path = limits_of(&world, &client, "production").await;
    let owner = world.owner().await;
    let body = json!({"audiences": [API, "billing", API], "scopes": ["read", "write"]});
    let set = put(&owner, &path, body).await;
    assert_eq!(set.header("etag"), Some("\"1\""));
    assert_eq!(set.ok(), json!({"audiences": [API, "billing"], "scopes": ["read", "write"]}));
    let manager = manager(&world, &client).await;
    let at = client.path("production", "");
    manager.patch(&at, json!({"audience": API, "scopes": ["read"]})).await.ok();
    assert_eq!(token(&world, &client, "production").await, (API.into(), "read".into()));
    let problem = manager.patch(&at, json!({"scopes": ["read", "admin"]})).await.refused(422, "invalid_body");
    assert_eq!(problem["field"], "scopes");
    manager.patch(&at, json!({"audience": "other"})).await.refused(422, "invalid_body");
    // Another environment has limits of its own.
    manager.patch(&client.path("staging", ""), json!({"audience": API})).await.refused(422, "invalid_body");
    manager.patch(&client.path("staging", ""), json!({"scopes": ["admin"]})).await.ok();
    put(&owner, &path, json!({"audiences": [], "scopes": []})).await.ok();
    manager.patch(&at, json!({"scopes": ["write"]})).await.refused(422, "invalid_body");
    manager.patch(&at, json!({"scopes": []})).await.ok();
}

async fn what_is_stored_stays_until_it_is_edited(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let path = limits_of(&world, &client, "production").await;
    let owner = world.owner().await;
    put(&owner, &path, json!({"audiences": [API]})).await.ok();
    let at = client.path("production", "");
    owner.patch(&at, json!({"audience": API, "scopes": ["admin", "read"]})).await.ok();
    put(&owner, &path, json!({"audiences": [], "scopes": ["read"]})).await.ok();
    assert_eq!(token(&world, &client, "production").await, (API.into(), "admin read".into()));
    // Whoever sends everything back changes nothing of it.
    let manager = manager(&world, &client).await;
    let body = json!({"audience": API, "scopes": ["admin", "read"], "access_token_ttl_seconds": 60});
    manager.patch(&at, body).await.ok();
    assert_eq!(token(&world, &client, "production").await, (API.into(), "admin read".into()));
    manager.patch(&at, json!({"scopes": ["admin"]})).await.refused(422, "invalid_body");
    manager.patch(&at, json!({"scopes": ["read"]})).await.ok();
    manager.patch(&at, json!({"audience": null})).await.ok();
    manager.patch(&at, json!({"audience": API})).await.refused(422, "invalid_body");
}

async fn an_issuer_of_this_server_is_in_no_limits(world: World) {
    let client = world.client("Billing", &["staging", "production"]).await;
    let path = limits_of(&world, &client, "production").await;
    let owner = world.owner().await;
    for spelling in [
        "https://auth.example.com/env/staging",
        "https://auth.example.com/env/production",
        "https://AUTH.example.com:443/env/%73taging/",
        "http://auth.example.com/x/../env/staging",
    ] {
        let problem =
            put(&owner, &path, json!({"audiences": [API, spelling]})).await.refused(422, "invalid_body");
        assert_eq!(problem["field"], "audiences", "{spelling}");
        let problem =
            owner.patch(&client.path("production", ""), json!({"audience": format!("{spelling}/")})).await;
        assert_eq!(problem.refused(422, "invalid_body")["field"], "audience", "{spelling}");
    }
    assert_eq!(owner.get(&path).await.ok()["audiences"], json!([]));
}

async fn limits_are_set_by_whoever_manages_environments(world: World) {
    let client = world.client("Billing", &["staging", "production"]).await;
    let (path, other) =
        (limits_of(&world, &client, "production").await, limits_of(&world, &client, "staging").await);
    let owner = world.owner().await;
    let property = path.split('/').nth(2).unwrap();
    for (role, email) in [("application_manager", "pm@example.com"), ("viewer", "view@example.com")] {
        let user = text(&owner.post("/users", json!({"email": email})).await.created()["id"]);
        let body = json!({"role": role, "property_id": property, "environments": ["production"]});
        owner.post(&format!("/users/{user}/grants"), body).await.created();
        let reader = world.token_of(email, &[]).await;
        reader.get(&path).await.ok();
        let refused = put(&reader, &path, json!({"audiences": [API]})).await.refused(403, "forbidden");
        assert_eq!(refused["permission"], "environment:manage");
        reader.get(&other).await.refused(404, "not_found");
        put(&reader, &other, json!({"audiences": [API]})).await.refused(404, "not_found");
    }
    // Who manages one client alone may not read its property either.
    manager(&world, &client).await.get(&path).await.refused(404, "not_found");
    let ops = world.user("ops@example.com", "operations_manager").await;
    put(&ops, &path, json!({"audiences": [API]})).await.ok();
    let event = owner.get("/audit-events?action=limits.updated").await.ok()["items"][0].clone();
    assert_eq!((&event["environment"], &event["target"]), (&json!("production"), &json!(property)));
    let details =
        json!({"before": {"audiences": [], "scopes": null}, "after": {"audiences": [API], "scopes": null}});
    assert_eq!(event["details"], details);
}

async fn limits_have_a_version_and_end_with_their_property_and_environment(world: World) {
    let owner = world.owner().await;
    let property = text(&owner.post("/properties", json!({"name": "Shop"})).await.created()["id"]);
    owner.post("/environments", json!({"slug": "qa", "name": "QA", "kind": "test"})).await.created();
    let path = |environment: &str| format!("/properties/{property}/environments/{environment}/limits");
    let tagged = async |tag: &str| {
        let body = json!({"audiences": [API]}).to_string();
        owner.call(Method::PUT, &path("qa"), Some(body), &[("if-match", tag)]).await
    };
    tagged("\"1\"").await.refused(412, "precondition_failed");
    tagged("\"0\"").await.ok();
    tagged("\"0\"").await.refused(412, "precondition_failed");
    tagged("\"1\"").await.ok();
    for (body, field) in [
        (json!({"audiences": ["a b"]}), "audiences"),
        (json!({"audiences": API}), "audiences"),
        (json!({"scopes": ["a b"]}), "scopes"),
        (json!({"audience": [API]}), "audience"),
        (json!({"audiences": vec!["a"; 101]}), "audiences"),
    ] {
        assert_eq!(
            put(&owner, &path("qa"), body.clone()).await.refused(422, "invalid_body")["field"],
            field,
            "{body}"
        );
    }
    put(&owner, &path("nowhere"), json!({})).await.refused(404, "not_found");
    put(&owner, &path("staging"), json!({"scopes": ["read"]})).await.ok();
    owner.delete("/environments/qa", json!({})).await.expect(204);
    assert_eq!(world.number("SELECT COUNT(*) FROM limits").await, 1);
    // A later environment of the same slug comes into nothing.
    owner.post("/environments", json!({"slug": "qa", "name": "QA", "kind": "test"})).await.created();
    assert_eq!(owner.get(&path("qa")).await.ok(), json!({"audiences": [], "scopes": null}));
    owner.delete(&format!("/properties/{property}"), json!({})).await.expect(204);
    assert_eq!(world.number("SELECT COUNT(*) FROM limits").await, 0);
}

async fn the_console_shows_limits_and_lets_managers_set_them(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let path = limits_of(&world, &client, "production").await;
    let property = path.split('/').nth(2).unwrap();
    let (page, form) = (
        format!("/console/properties/{property}"),
        format!("/console/properties/{property}/limits/production"),
    );
    let owner = world.signed_in().await;
    assert!(owner.get(&page).await.page(200).contains(&format!("href=\"{form}\"")));
    let typed = |audiences, limit, scopes| {
        [("audiences", audiences), ("scope_limit", limit), ("scopes", scopes), ("version", "0")]
    };
    let refused =
        owner.post(&form, &typed("https://auth.example.com/env/staging", "any", "")).await.page(422);
    assert!(refused.contains("aria-invalid") && refused.contains("an issuer of this server"), "{refused}");
    let set = typed("https://invoices.example.com\r\nbilling", "some", "read\r\nwrite");
    assert_eq!(owner.post(&form, &set).await.status.as_u16(), 303);
    let overtaken = owner.post(&form, &typed("", "any", "")).await.page(412);
    assert!(overtaken.contains("after you opened this page"), "{overtaken}");
    assert_eq!(
        world.owner().await.get(&path).await.ok(),
        json!({"audiences": [API, "billing"], "scopes": ["read", "write"]})
    );
    let viewer = world.person("view@example.com", "viewer").await;
    world.raw("UPDATE grants SET environments = '[\"production\"]' WHERE role = 'viewer'").await;
    let seen = viewer.get(&page).await.page(200);
    assert!(
        seen.contains(API)
            && seen.contains("read write")
            && !seen.contains("Change limits")
            && !seen.contains("Staging"),
        "{seen}"
    );
    assert_eq!(viewer.get(&form).await.status.as_u16(), 404);
    assert_eq!(viewer.post(&form, &set).await.status.as_u16(), 403);
    assert_eq!(world.number("SELECT COUNT(*) FROM audit_events WHERE outcome = 'refused' AND action = 'access.refused' AND actor_name = 'view'").await, 1, "the form alone");
}
