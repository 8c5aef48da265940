//! The rules of the product from outside, one after the other: over HTTP, on both engines.

mod all_or_nothing;
mod audit_trail;
mod confirmation;
mod disabled_and_deleted;
mod emergency;
mod evidence_of_use;
mod extend;
mod generated_secrets;
mod idempotency_keys;
mod if_match;
mod least_age;
mod one_refusal;
mod one_rotation_wins;
mod revoke;
mod roll_back;
mod routine_rotation;
mod running_transition;
mod stored_values;
mod two_valid_secrets;

use crate::world::{Answer, Client, Principal, World};
use http::Method;
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use tokio::task::JoinSet;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const MINUTE: Duration = Duration::from_secs(60);
const MICRO: Duration = Duration::from_micros(1);

/// A body with more members.
fn with(mut body: Value, more: Value) -> Value {
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is not a text"))
}

async fn rotate(principal: &Principal<'_>, client: &Client, body: Value) -> Answer {
    principal.post(&client.path("production", "/secrets/rotate"), body).await
}

async fn rotate_keyed(principal: &Principal<'_>, client: &Client, body: &Value, key: &str) -> Answer {
    let path = client.path("production", "/secrets/rotate");
    principal.call(Method::POST, &path, Some(body.to_string()), &[("idempotency-key", key)]).await
}

async fn change(principal: &Principal<'_>, client: &Client, secret: &str, verb: &str, body: Value) -> Answer {
    principal.post(&client.path("production", &format!("/secrets/{secret}/{verb}")), body).await
}

async fn roll_back(principal: &Principal<'_>, client: &Client, rotation: &Value, body: Value) -> Answer {
    let path = client.path("production", &format!("/rotations/{}/rollback", text(rotation)));
    principal.post(&path, body).await
}

async fn items(principal: &Principal<'_>, path: &str) -> Vec<Value> {
    principal.get(path).await.ok()["items"].as_array().unwrap().clone()
}

async fn secrets(principal: &Principal<'_>, client: &Client) -> Vec<Value> {
    items(principal, &client.path("production", "/secrets")).await
}

async fn rotations(principal: &Principal<'_>, client: &Client) -> Vec<Value> {
    items(principal, &client.path("production", "/rotations")).await
}

/// The states of the secrets, newest first.
async fn states(principal: &Principal<'_>, client: &Client) -> Vec<String> {
    secrets(principal, client).await.iter().map(|secret| text(&secret["state"]).to_owned()).collect()
}

/// How the rotations ended, newest first.
async fn ended_as(principal: &Principal<'_>, client: &Client) -> Vec<String> {
    rotations(principal, client).await.iter().map(|rotation| text(&rotation["ended_as"]).to_owned()).collect()
}

/// The whole trail, newest first.
async fn trail(principal: &Principal<'_>) -> Vec<Value> {
    let (mut events, mut path) = (Vec::new(), "/audit-events?limit=200".to_owned());
    loop {
        let page = principal.get(&path).await.ok();
        events.extend(page["items"].as_array().unwrap().clone());
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/audit-events?limit=200&cursor={cursor}"),
            None => return events,
        }
    }
}

/// Sends the same rotation many times at the same moment and tells the statuses and codes.
async fn storm(world: &Arc<World>, client: &Client, body: &Value, key: Option<&'static str>) -> Vec<Answer> {
    let token = world.owner().await.token;
    let mut tasks = JoinSet::new();
    for _ in 0..50 {
        let (world, client, body, token) = (world.clone(), client.clone(), body.clone(), token.clone());
        tasks.spawn(async move {
            let principal = Principal { world: &world, token };
            match key {
                Some(key) => rotate_keyed(&principal, &client, &body, key).await,
                None => rotate(&principal, &client, body).await,
            }
        });
    }
    tasks.join_all().await
}
