//! What is sent by mistake or in bad faith: it is refused as what it is, it changes nothing, it is not
//! repeated back, and it never brings out a fault of the server.

mod idempotency_keys;
mod ids;
mod lists;
mod names;
mod not_json;
mod order_of_checks;
mod pasted_secrets;
mod routes;
mod settings;
mod shapes;
mod size_and_encoding;
mod transition_hours;

use crate::world::{Answer, Client, Principal};
use http::Method;
use serde_json::{Value, json};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

/// Ids of each kind that nothing has.
const NOBODY: &str = "cl_0000000000000000000000";
const NO_SECRET: &str = "sec_0000000000000000000000";
const NO_DRILL: &str = "drill_0000000000000000000000";
const NO_ROTATION: &str = "rot_0000000000000000000000";

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is not a text"))
}

async fn send(principal: &Principal<'_>, method: &Method, path: &str, body: &str) -> Answer {
    principal.call(method.clone(), path, Some(body.to_owned()), &[]).await
}

/// Everything that a refusal must leave as it is.
async fn snapshot(owner: &Principal<'_>, client: &Client) -> Vec<Value> {
    let mut all = Vec::new();
    for path in ["/properties", "/environments", "/clients"] {
        all.push(owner.get(path).await.ok());
    }
    for registration in &client.registrations {
        for list in ["/secrets", "/rotations", "/drills"] {
            all.push(owner.get(&client.path(&registration.environment, list)).await.ok());
        }
    }
    for table in [
        "properties",
        "clients",
        "registrations",
        "secrets",
        "rotations",
        "drills",
        "signing_keys",
        "notifications",
        "deliveries",
        "idempotency",
        "change_log",
    ] {
        all.push(json!([table, owner.world.number(&format!("SELECT COUNT(*) FROM {table}")).await]));
    }
    all
}

/// Every mutation, with a body that it would take.
async fn mutations(owner: &Principal<'_>, client: &Client) -> Vec<(Method, String, Value)> {
    let property = owner.get(&format!("/clients/{}", client.id)).await.ok()["property_id"].clone();
    let secret = &client.registration("production").secret_id;
    let rotation = owner.get(&client.path("production", "/rotations")).await.ok()["items"][0]["id"].clone();
    let rotation = rotation.as_str().unwrap_or(NO_ROTATION);
    let drill = owner.get(&client.path("production", "/drills")).await.ok()["items"][0]["id"].clone();
    let drill = drill.as_str().unwrap_or(NO_DRILL);
    let later = owner.world.now().after(HOUR * 48).to_string();
    let registration = |rest: &str| client.path("production", rest);
    vec![
        (Method::POST, "/properties".into(), json!({"name": "Shop"})),
        (Method::PATCH, format!("/properties/{}", text(&property)), json!({"name": "Shop"})),
        (Method::POST, "/environments".into(), json!({"slug": "eu", "name": "EU", "kind": "live"})),
        (Method::PATCH, "/environments/staging".into(), json!({"name": "Stage"})),
        (Method::POST, "/environments/staging/signing-keys/rotate".into(), json!({"reason": "yearly"})),
        (
            Method::POST,
            "/clients".into(),
            json!({"name": "New", "property_id": property, "environments": ["staging"]}),
        ),
        (Method::PATCH, format!("/clients/{}", client.id), json!({"description": "Money"})),
        (
            Method::DELETE,
            format!("/clients/{}", client.id),
            json!({"confirm_client_name": client.name, "reason": "x"}),
        ),
        (Method::POST, format!("/clients/{}/environments", client.id), json!({"environment": "development"})),
        (Method::PATCH, registration(""), json!({"scopes": ["read"]})),
        (Method::POST, registration("/secrets/rotate"), client.rotation(0)),
        (Method::POST, registration(&format!("/secrets/{secret}/reveal")), json!({"reason": "x"})),
        (Method::POST, registration(&format!("/secrets/{secret}/revoke")), json!({"reason": "x"})),
        (
            Method::POST,
            registration(&format!("/secrets/{secret}/extend")),
            json!({"reason": "x", "expires_at": later}),
        ),
        (Method::POST, registration(&format!("/rotations/{rotation}/rollback")), json!({"reason": "x"})),
        (
            Method::POST,
            registration("/drills"),
            json!({"reason": "x", "length_seconds": 60, "confirm_client_name": client.name}),
        ),
        (Method::DELETE, registration(&format!("/drills/{drill}")), json!({"reason": "x"})),
    ]
}
