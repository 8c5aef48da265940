//! A secret that is pasted in the form in which another program wrote it, through each door (rule 18).

use crate::engines::on_both_engines;
use crate::world::World;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;

on_both_engines! {
    an_encoded_secret_is_refused_by_the_api_and_stored_nowhere_rule_18,
    an_encoded_secret_is_refused_by_a_form_and_stored_nowhere_rule_18,
    an_encoded_secret_in_the_name_of_a_program_is_withheld_from_the_evidence_rule_18,
}

/// The ways in which programs, consoles and logs write a secret, with the name of the client where they add it.
pub fn written(client_id: &str, secret: &str) -> Vec<String> {
    let each = |write: fn(u8) -> String| secret.bytes().map(write).collect::<String>();
    vec![
        format!("Authorization: Basic {}", STANDARD.encode(format!("{client_id}:{secret}"))),
        STANDARD.encode(json!({"client_id": client_id, "client_secret": secret}).to_string()),
        format!("client_id={client_id}&client_secret={}", each(|byte| format!("%{byte:02X}"))),
        format!("{{\"client_secret\":\"{}\"}}", secret.replace('_', "\\u005f")),
        each(|byte| format!("{byte:02x}")),
    ]
}

/// Tables and columns in which a text of a caller can come to stand.
const PLACES: &[(&str, &str)] = &[
    ("audit_events", "reason"),
    ("audit_events", "details"),
    ("clients", "name"),
    ("clients", "description"),
    ("properties", "name"),
    ("rotations", "reason"),
    ("secret_usage_sources", "user_agent"),
    ("refused_callers", "user_agent"),
];

async fn stands_nowhere(world: &World, pasted: &str) {
    // A part that is long enough to be found again, and has nothing that SQL reads.
    let part: String = pasted.chars().filter(char::is_ascii_alphanumeric).collect();
    let literal = pasted.replace('\'', "''");
    for (table, column) in PLACES {
        let found = format!("SELECT COUNT(*) FROM {table} WHERE {column} LIKE '%{literal}%'");
        assert_eq!(world.number(&found).await, 0, "{table}.{column} holds {part}");
    }
}

async fn an_encoded_secret_is_refused_by_the_api_and_stored_nowhere_rule_18(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let registration = client.registration("production");
    let owner = world.owner().await;
    for pasted in written(&registration.client_id, &registration.secret) {
        let mut rotation = client.rotation(24);
        rotation["reason"] = json!(pasted);
        let path = client.path("production", "/secrets/rotate");
        assert_eq!(owner.post(&path, rotation).await.refused(422, "invalid_body")["field"], "reason");
        let named = json!({"name": pasted});
        owner.post("/properties", named).await.refused(422, "invalid_body");
        let described = json!({"description": pasted});
        owner.patch(&format!("/clients/{}", client.id), described).await.refused(422, "invalid_body");
        stands_nowhere(&world, &pasted).await;
    }
    assert_eq!(world.number("SELECT COUNT(*) FROM rotations").await, 0);
}

async fn an_encoded_secret_is_refused_by_a_form_and_stored_nowhere_rule_18(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let registration = client.registration("production");
    let browser = world.signed_in().await;
    let path = format!("/console{}", client.path("production", "/rotate"));
    for pasted in written(&registration.client_id, &registration.secret) {
        let form = [
            ("transition_hours", "24"),
            ("confirm_client_name", &*client.name),
            ("reason", &*pasted),
            ("expected_current_secret_id", &*registration.secret_id),
            ("idempotency_key", "0123456789abcdef"),
        ];
        let page = browser.post(&path, &form).await.page(422);
        assert!(page.contains("looks like a Crossfade secret"), "{page}");
        assert!(!page.contains(&pasted), "the page repeats it");
        stands_nowhere(&world, &pasted).await;
    }
    assert_eq!(world.number("SELECT COUNT(*) FROM rotations").await, 0);
}

async fn an_encoded_secret_in_the_name_of_a_program_is_withheld_from_the_evidence_rule_18(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let registration = client.registration("production");
    for pasted in written(&registration.client_id, &registration.secret) {
        let oauth = world.oauth("production").from([192, 0, 2, 7], &pasted);
        oauth.token(&registration.client_id, &registration.secret).await.is_token();
        oauth.token(&registration.client_id, "wrong").await.is_invalid_client();
        world.run_jobs().await;
        stands_nowhere(&world, &pasted).await;
    }
    let usage = world.owner().await.get(&client.path("production", "/usage")).await.ok();
    assert_eq!(usage["items"][0]["user_agent"], "(withheld: it holds a secret)", "{usage}");
}
