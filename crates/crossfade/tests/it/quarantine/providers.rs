//! Single sign-on in a restored database: a provider, an identity and the use of passwords that had ended stay ended.

use super::{Saved, journal, journal::restored_with, restarted};
use crate::{
    console::browser::PASSWORD,
    engines::on_both_engines,
    world::{Answer, OWNER, World},
};
use axum::body::Body;
use http::{Method, Request};
use serde_json::{Value, json};
use std::net::IpAddr;

on_both_engines! {
    a_restore_revives_no_identity_and_no_provider,
    a_restore_revives_no_provisioning_token_no_leaver_and_no_member,
    a_restore_lets_no_password_in_that_was_switched_off,
}

async fn add(world: &World, name: &str) -> String {
    let body = json!({
        "name": name, "issuer": "https://id.example.com", "client_id": "crossfade", "client_secret": "very secret",
        "domains": ["example.com"],
    });
    world.owner().await.post("/providers", body).await.created()["id"].as_str().unwrap().to_owned()
}

async fn providers(world: &World) -> Vec<Value> {
    let all = world.owner().await.get("/providers").await.ok();
    all["items"].as_array().unwrap().clone()
}

async fn a_restore_revives_no_identity_and_no_provider(world: World) {
    let (_directory, path) = journal();
    let world = restarted(world, &path).await;
    let (disabled, deleted, kept) =
        (add(&world, "Disabled").await, add(&world, "Deleted").await, add(&world, "Kept").await);
    world.person("bob@example.com", "viewer").await;
    for provider in [&kept, &disabled] {
        world
            .raw(&format!(
                "INSERT INTO identities (provider_id, subject, user_id, created_account, created_at)
                 SELECT '{provider}', 'bob', id, 0, 1 FROM users WHERE email = 'bob@example.com'"
            ))
            .await;
    }
    let saved = Saved::of(&world).await;
    let owner = world.owner().await;
    owner.patch(&format!("/providers/{disabled}"), json!({"enabled": false})).await.ok();
    assert_eq!(owner.delete(&format!("/providers/{deleted}"), json!({})).await.status, 204);
    // A new password with a link unlinks what others may have linked.
    let found = owner.get("/users?q=bob").await.ok();
    let link = format!("/users/{}/link", found["items"][0]["id"].as_str().unwrap());
    let url = owner.post(&link, json!({})).await.created();
    let code = url["url"].as_str().unwrap().rsplit('#').next().unwrap().to_owned();
    let new = "a sentence that nobody guesses";
    let form = [("link", &*code), ("email", ""), ("password", new), ("repeated", new)];
    world.browser().post("/console/link", &form).await.leads_to();
    assert_eq!(world.number("SELECT COUNT(*) FROM identities").await, 0);
    let after = restored_with(&saved, &world, &path).await;
    assert_eq!(after.app.quarantine(), None);
    assert_eq!(after.number("SELECT COUNT(*) FROM identities").await, 0);
    let enabled: Vec<Value> = providers(&after)
        .await
        .into_iter()
        .filter(|it| it["enabled"] == true)
        .map(|it| it["name"].clone())
        .collect();
    assert_eq!(enabled, ["Kept"]);
}

async fn a_restore_lets_no_password_in_that_was_switched_off(world: World) {
    let (_directory, path) = journal();
    let world = restarted(world, &path).await;
    add(&world, "Example").await;
    world.person("bob@example.com", "viewer").await;
    let saved = Saved::of(&world).await;
    let owner = world.owner().await;
    let found = owner.get(&format!("/users?q={OWNER}")).await.ok();
    let body = json!({"passwords": "break_glass", "break_glass": [found["items"][0]["id"]]});
    owner.patch("/sign-in-policy", body.clone()).await.ok();
    let after = restored_with(&saved, &world, &path).await;
    let policy = after.owner().await.get("/sign-in-policy").await.ok();
    assert_eq!((&policy["passwords"], &policy["break_glass"]), (&body["passwords"], &body["break_glass"]));
    assert!(after.browser().sign_in("bob@example.com", PASSWORD).await.page(422).contains("switched off"));
    assert_eq!(after.browser().sign_in(OWNER, PASSWORD).await.leads_to(), "/console");
}

/// Sends a change of a provider. Returns the response.
async fn provision(
    world: &World,
    (provider, token): (&str, &str),
    call: (Method, &str),
    body: Value,
) -> Answer {
    let (method, path) = call;
    let request = Request::builder()
        .method(method)
        .uri(format!("/scim/v2/{provider}{path}"))
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/scim+json");
    let request = request.body(Body::from(body.to_string())).unwrap();
    world.send(request, IpAddr::from([192, 0, 2, 50])).await
}

async fn a_restore_revives_no_provisioning_token_no_leaver_and_no_member(world: World) {
    let (_directory, path) = journal();
    let world = restarted(world, &path).await;
    let provider = add(&world, "Example").await;
    let tokens = format!("/providers/{provider}/provisioning-tokens");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let ended = world.owner().await.post(&tokens, json!({})).await.created();
    let kept = world.owner().await.post(&tokens, json!({})).await.created();
    let (by_ended, by_kept) = (text(&ended["value"]), text(&kept["value"]));
    let by = (&*provider, &*by_kept);
    let mut people = Vec::new();
    for name in ["ada", "bob"] {
        let body = json!({"userName": format!("{name}@example.com"), "externalId": name});
        people.push(text(&provision(&world, by, (Method::POST, "/Users"), body).await.created()["id"]));
    }
    let members: Vec<Value> = people.iter().map(|id| json!({"value": id})).collect();
    let body = json!({"displayName": "Staff", "members": members});
    let group = text(&provision(&world, by, (Method::POST, "/Groups"), body).await.created()["id"]);
    let grants = json!({"group_grants": [{"group": "Admins", "role": "viewer"}]});
    world.owner().await.patch(&format!("/providers/{provider}"), grants).await.ok();
    let body = json!({"displayName": "Admins", "members": [{"value": people[1]}]});
    let admins = text(&provision(&world, by, (Method::POST, "/Groups"), body).await.created()["id"]);
    let saved = Saved::of(&world).await;
    // Another person, and a group of another name, which gives nothing.
    let other = json!({"Operations": [{"op": "replace", "path": "externalId", "value": "eve"}]});
    provision(&world, by, (Method::PATCH, &format!("/Users/{}", people[1])), other).await.ok();
    let rename = json!({"Operations": [{"op": "replace", "path": "displayName", "value": "Guests"}]});
    let renamed = provision(&world, by, (Method::PATCH, &format!("/Groups/{admins}")), rename).await;
    assert_eq!(renamed.status, 204);
    assert_eq!(world.number("SELECT COUNT(*) FROM scim_members").await, 3);
    let leave = json!({"Operations": [{"op": "replace", "path": "active", "value": false}]});
    let ada = format!("/Users/{}", people[0]);
    provision(&world, by, (Method::PATCH, &ada), leave).await.ok();
    let remove =
        json!({"Operations": [{"op": "remove", "path": format!("members[value eq \"{}\"]", people[1])}]});
    let staff = format!("/Groups/{group}");
    assert_eq!(provision(&world, by, (Method::PATCH, &staff), remove).await.status, 204);
    let token = format!("{tokens}/{}", text(&ended["id"]));
    assert_eq!(world.owner().await.delete(&token, json!({})).await.status, 204);
    let after = restored_with(&saved, &world, &path).await;
    assert_eq!(after.app.quarantine(), None);
    assert_eq!(
        provision(&after, (&provider, &by_ended), (Method::GET, "/Users"), json!({})).await.status,
        401
    );
    let people = provision(&after, by, (Method::GET, "/Users"), json!({})).await.ok();
    let active: Vec<bool> =
        people["Resources"].as_array().unwrap().iter().map(|it| it["active"].as_bool().unwrap()).collect();
    assert_eq!(active.iter().filter(|active| **active).count(), 1, "{people}");
    assert_eq!(after.number("SELECT COUNT(*) FROM scim_members").await, 1);
    assert_eq!(after.number("SELECT COUNT(*) FROM scim_users WHERE lets_in = 1").await, 0);
    assert_eq!(after.number("SELECT COUNT(*) FROM users WHERE email = 'ada@example.com'").await, 0);
}
