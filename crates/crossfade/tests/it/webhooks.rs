//! Webhooks: signed, repeated, independent of each other, and nothing for those who may not.

use crate::{
    receiver::{Delivery, Receiver},
    world::{Client, Principal, World},
};
use crossfade_app::Poster;
use serde_json::{Value, json};
use std::time::Duration;

mod addresses;
mod changes;
mod choices;
mod copies;
mod disabling;
mod incidents;
mod names;
mod rights;
mod sending;
mod signing;

const HOUR: Duration = Duration::from_secs(3600);

const SECOND: Duration = Duration::from_secs(1);

/// A world that may send to this machine, and a client without owners.
async fn posting(world: &mut World) -> Client {
    let here = Poster::new(vec!["127.0.0.1/32".parse().unwrap()], None).unwrap();
    world.restart_with_poster(here).await;
    let client = world.client("Billing", &["staging", "production"]).await;
    world.raw("UPDATE clients SET owners = '[]'").await;
    client
}

fn body(receiver: &Receiver, more: Value) -> Value {
    let mut body = json!({"name": "Hook", "url": receiver.url(), "confirm_name": "platform"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

/// Creates a webhook of the platform.
async fn create(world: &World, receiver: &Receiver, more: Value) -> Value {
    world.owner().await.post("/webhooks", body(receiver, more)).await.created()
}

fn id(webhook: &Value) -> &str {
    webhook["id"].as_str().unwrap()
}

fn path(webhook: &Value, rest: &str) -> String {
    format!("/webhooks/{}{rest}", id(webhook))
}

async fn rotate(world: &World, client: &Client, environment: &str) -> Value {
    let mut body = client.rotation(168);
    body["end_running_transition"] = json!(true);
    world.owner().await.post(&client.path(environment, "/secrets/rotate"), body).await.created()
}

async fn send_all(world: &World) {
    while Box::pin(world.app.send_due_webhooks()).await.unwrap() {}
}

async fn sent(world: &World, receiver: &Receiver) -> Vec<Delivery> {
    send_all(world).await;
    receiver.take()
}

async fn open(world: &World) -> i64 {
    world
        .number("SELECT COUNT(*) FROM deliveries WHERE channel = 'webhook' AND sent_at IS NULL AND abandoned_at IS NULL")
        .await
}

async fn abandoned(world: &World, reason: &str) -> i64 {
    world.number(&format!("SELECT COUNT(*) FROM deliveries WHERE abandoned_as = '{reason}'")).await
}

async fn log(world: &World, webhook: &Value) -> Vec<Value> {
    let log = world.owner().await.get(&path(webhook, "/deliveries")).await.ok();
    log["items"].as_array().unwrap().clone()
}

async fn is_enabled(world: &World, webhook: &Value) -> bool {
    world.owner().await.get(&path(webhook, "")).await.ok()["enabled"] == true
}

/// A manager of one client in these environments.
async fn manager_in<'w>(world: &'w World, email: &str, client: &str, environments: &[&str]) -> Principal<'w> {
    let owner = world.owner().await;
    let user = owner.post("/users", json!({"email": email})).await.created();
    let grant = json!({"role": "application_manager", "client_id": client, "environments": environments});
    owner.post(&format!("/users/{}/grants", user["id"].as_str().unwrap()), grant).await.created();
    world.token_of(email, &[]).await
}

/// A manager of one client.
async fn manager<'w>(world: &'w World, email: &str, client: &str) -> Principal<'w> {
    let owner = world.owner().await;
    let user = owner.post("/users", json!({"email": email})).await.created();
    let grant = json!({"role": "application_manager", "client_id": client});
    owner.post(&format!("/users/{}/grants", user["id"].as_str().unwrap()), grant).await.created();
    world.token_of(email, &[]).await
}
