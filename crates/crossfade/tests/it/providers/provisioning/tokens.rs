//! Provisioning tokens: whose they are, and what they can do.

use super::{Scim, refused, tokens_of};
use crate::{engines::on_both_engines, providers::begun, world::World};
use axum::body::Body;
use http::{Method, Request};
use serde_json::{Value, json};
use std::{net::IpAddr, time::Duration};

on_both_engines! {
    a_token_is_shown_once_and_provisions_for_its_provider_alone,
    an_ended_or_expired_token_and_one_of_a_disabled_provider_are_refused,
    a_provider_has_at_most_two_tokens,
    a_token_is_used_only_from_its_networks,
    only_owners_create_tokens_and_none_gives_what_they_do_not_hold,
}

const DAY: Duration = Duration::from_secs(86_400);

async fn a_token_is_shown_once_and_provisions_for_its_provider_alone(mut world: World) {
    begun(&mut world).await;
    let one = Scim::without_idp(&world, "One", json!({})).await;
    let other = Scim::without_idp(&world, "Other", json!({"domains": ["example.org"]})).await;
    assert!(one.token.starts_with("crossfade_scim_"));
    let listed = world.owner().await.get(&tokens_of(&one.id)).await.ok();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    assert!(listed["items"][0].get("value").is_none() && !listed.to_string().contains(&one.token));
    let ada = one.person("ada").await;
    // At the path of another provider, and with a stranger's guesses.
    let crossed = Scim { world: &world, id: other.id.clone(), token: one.token.clone() };
    for path in ["/Users", "/ServiceProviderConfig", "/Schemas", &format!("/Users/{ada}")] {
        let answer = crossed.get(path).await;
        refused(&answer, 401, None);
        assert!(answer.header("www-authenticate").unwrap().starts_with("Bearer"), "{path}");
        assert_eq!(answer.json(), other_stranger(&world, &other.id, path).await, "{path}");
    }
    refused(&other.get(&format!("/Users/{ada}")).await, 404, None);
    refused(&other.delete(&format!("/Users/{ada}")).await, 404, None);
    // It is no API token, and an API token is none of these.
    world.with_token(&one.token).get("/me").await.refused(401, "unauthenticated");
    let api = world.owner().await.token.clone().unwrap();
    refused(&Scim { world: &world, id: one.id.clone(), token: api }.get("/Users").await, 401, None);
    let bare = Request::builder().uri(format!("/scim/v2/{}/Users", one.id)).body(Body::empty()).unwrap();
    refused(&world.send(bare, IpAddr::from([192, 0, 2, 9])).await, 401, None);
    // Its last use is written by the jobs.
    world.run_jobs().await;
    let listed = world.owner().await.get(&tokens_of(&one.id)).await.ok();
    assert!(listed["items"][0]["last_used_at"].is_string(), "{listed}");
}

/// What a stranger with a made-up token gets.
async fn other_stranger(world: &World, id: &str, path: &str) -> Value {
    let token = "crossfade_scim_made_up".to_owned();
    Scim { world, id: id.to_owned(), token }.get(path).await.json()
}

async fn an_ended_or_expired_token_and_one_of_a_disabled_provider_are_refused(mut world: World) {
    begun(&mut world).await;
    let scim = Scim::without_idp(&world, "Example", json!({})).await;
    let tokens = tokens_of(&scim.id);
    scim.get("/Users").await.ok();
    let owner = world.owner().await;
    let listed = owner.get(&tokens).await.ok();
    let path = format!("{tokens}/{}", listed["items"][0]["id"].as_str().unwrap());
    assert_eq!(owner.delete(&path, json!({})).await.status, 204);
    owner.delete(&path, json!({})).await.refused(404, "not_found");
    refused(&scim.get("/Users").await, 401, None);
    let short = owner.post(&tokens, json!({"expires_days": 1})).await.created();
    let short =
        Scim { world: &world, id: scim.id.clone(), token: short["value"].as_str().unwrap().to_owned() };
    short.get("/Users").await.ok();
    world.advance(DAY);
    refused(&short.get("/Users").await, 401, None);
    refused(&short.post("/Users", json!({"userName": "a@example.com", "externalId": "a"})).await, 401, None);
    let third = Scim::of(&world, scim.id.clone()).await;
    third.get("/Users").await.ok();
    let owner = world.owner().await;
    owner.patch(&format!("/providers/{}", scim.id), json!({"enabled": false})).await.ok();
    refused(&third.get("/Users").await, 401, None);
    // It would be valid as soon as somebody enables the provider.
    owner.post(&tokens, json!({})).await.refused(409, "in_use");
    owner.patch(&format!("/providers/{}", scim.id), json!({"enabled": true})).await.ok();
    refused(&third.get("/Users").await, 401, None);
    assert_eq!(owner.get(&tokens).await.ok()["items"], json!([]), "disabling has ended them");
}

async fn a_provider_has_at_most_two_tokens(mut world: World) {
    begun(&mut world).await;
    let scim = Scim::without_idp(&world, "Example", json!({})).await;
    let (owner, tokens) = (world.owner().await, tokens_of(&scim.id));
    let second = owner.post(&tokens, json!({"expires_days": 1})).await.created();
    owner.post(&tokens, json!({})).await.refused(409, "in_use");
    for body in [
        json!({"expires_days": 0}),
        json!({"expires_days": 366}),
        json!({"allowed_networks": ["x"]}),
        json!({"days": 1}),
    ] {
        owner.post(&tokens, body).await.refused(422, "invalid_body");
    }
    world.advance(DAY);
    let owner = world.owner().await;
    let third = owner.post(&tokens, json!({})).await.created();
    let ids: Vec<Value> = owner.get(&tokens).await.ok()["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["id"].clone())
        .collect();
    assert!(ids.contains(&third["id"]) && !ids.contains(&second["id"]), "an expired one makes room");
}

async fn a_token_is_used_only_from_its_networks(mut world: World) {
    begun(&mut world).await;
    let scim = Scim::without_idp(&world, "Example", json!({})).await;
    let body = json!({"allowed_networks": ["198.51.100.0/24"]});
    let created = world.owner().await.post(&tokens_of(&scim.id), body).await.created();
    assert_eq!(created["allowed_networks"], json!(["198.51.100.0/24"]));
    let limited =
        Scim { world: &world, id: scim.id.clone(), token: created["value"].as_str().unwrap().to_owned() };
    refused(&limited.get("/Users").await, 403, None);
    let request = Request::builder()
        .method(Method::GET)
        .uri(format!("/scim/v2/{}/Users", limited.id))
        .header("authorization", format!("Bearer {}", limited.token));
    let answer = world.send(request.body(Body::empty()).unwrap(), IpAddr::from([198, 51, 100, 7])).await;
    assert_eq!(answer.status, 200);
}

async fn only_owners_create_tokens_and_none_gives_what_they_do_not_hold(mut world: World) {
    begun(&mut world).await;
    let groups =
        json!({"group_grants": [{"group": "admins", "role": "owner"}], "groups_from": "provisioning"});
    let scim = Scim::without_idp(&world, "Example", groups).await;
    let tokens = tokens_of(&scim.id);
    let manager = world.user("manager@example.com", "operations_manager").await;
    manager.get(&tokens).await.refused(404, "not_found");
    manager.post(&tokens, json!({})).await.refused(404, "not_found");
    let limited = world.token_of(crate::world::OWNER, &["provider:manage", "user:read"]).await;
    limited.post(&tokens, json!({})).await.refused(403, "forbidden");
    limited.get(&tokens).await.ok();
}
