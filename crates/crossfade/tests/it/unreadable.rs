//! A stored row that cannot be read: what it is about is refused, told and found, and nothing else is touched.

use crate::engines::on_both_engines;
use crate::world::{Answer, Client, World};
use axum::body::Body;
use crossfade_app::doctor::{Outcome, examine};
use crossfade_authority::Clock;
use http::Request;
use serde_json::json;
use std::net::{IpAddr, Ipv4Addr};

on_both_engines! {
    a_secret_that_cannot_be_read_is_refused_alone,
    a_registration_that_cannot_be_read_is_refused_alone,
    an_environment_whose_key_was_copied_is_refused_alone,
    an_entry_of_the_log_that_cannot_be_read_loads_everything,
    settings_of_an_environment_that_cannot_be_read_end_no_start,
}

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

async fn text_of(world: &World, path: &str) -> String {
    let answer = world.send(Request::get(path).body(Body::empty()).unwrap(), HERE).await;
    assert_eq!(answer.status, 200);
    String::from_utf8(answer.bytes).unwrap()
}

async fn token(world: &World, client: &Client) -> Answer {
    let own = &client.registrations[0];
    world.oauth(&own.environment).token(&own.client_id, &own.secret).await
}

fn secrets_of(client: &Client) -> String {
    let id = &client.registrations[0].client_id;
    format!("registration_id IN (SELECT id FROM registrations WHERE oauth_client_id = '{id}')")
}

/// Rotates `client` because its secret has leaked, and checks that this is enforced.
async fn a_leak_is_ended(world: &World, client: &Client) {
    let environment = &client.registrations[0].environment;
    let body = json!({"transition_hours": 0, "compromised": true, "confirm_client_name": client.name});
    let new = world.owner().await.post(&client.path(environment, "/secrets/rotate"), body).await.created();
    token(world, client).await.is_invalid_client();
    let (own, value) = (&client.registrations[0], new["secret"]["value"].as_str().unwrap());
    world.oauth(environment).token(&own.client_id, value).await.is_token();
}

async fn rotate_signing_key(world: &World, environment: &str, body: serde_json::Value) -> Answer {
    world.owner().await.post(&format!("/environments/{environment}/signing-keys/rotate"), body).await
}

/// How a check of the doctor came out, with its sentence.
async fn found(world: &World, name: &str) -> (Outcome, String) {
    let clock = Clock::manual(world.now());
    let check =
        examine(&world.instance(&clock)).await.checks.into_iter().find(|check| check.name == name).unwrap();
    (check.outcome, check.sentence)
}

async fn is_told(world: &World, what: &str, rows: usize) {
    let ready = text_of(world, "/readyz").await;
    assert!(ready.starts_with("ready\n") && ready.contains(what), "{ready}");
    let metrics = text_of(world, "/metrics").await;
    assert!(metrics.contains(&format!("crossfade_unreadable_rows {rows}\n")), "{metrics}");
}

async fn a_secret_that_cannot_be_read_is_refused_alone(mut world: World) {
    let (alpha, beta) =
        (world.client("Alpha", &["production"]).await, world.client("Beta", &["production"]).await);
    world.raw(&format!("UPDATE secrets SET digest = {} WHERE {}", bytes(&world), secrets_of(&alpha))).await;
    let rotate = alpha.path("production", "/secrets/rotate");
    let new = world.owner().await.post(&rotate, alpha.rotation(24)).await.created();
    let value = new["secret"]["value"].as_str().unwrap().to_owned();
    for _ in 0..2 {
        token(&world, &alpha).await.is_invalid_client();
        world.oauth("production").token(&alpha.registrations[0].client_id, &value).await.is_token();
        is_told(&world, "1 secret", 1).await;
        a_leak_is_ended(
            &world,
            &world
                .client(&format!("New {}", world.number("SELECT COUNT(*) FROM clients").await), &["staging"])
                .await,
        )
        .await;
        world.restart().await;
    }
    a_leak_is_ended(&world, &beta).await;
    let (outcome, sentence) = found(&world, "registrations").await;
    assert!(outcome == Outcome::Fail && sentence.contains(&alpha.registrations[0].secret_id), "{sentence}");
}

async fn a_registration_that_cannot_be_read_is_refused_alone(mut world: World) {
    let (alpha, beta) =
        (world.client("Alpha", &["production"]).await, world.client("Beta", &["production"]).await);
    token(&world, &alpha).await.is_token();
    let id = &alpha.registrations[0].client_id;
    let own =
        world.number(&format!("SELECT COUNT(*) FROM registrations WHERE oauth_client_id = '{id}'")).await;
    assert_eq!(own, 1);
    world
        .raw(&format!(
            "UPDATE registrations SET access_token_ttl_seconds = -1 WHERE oauth_client_id = '{id}'"
        ))
        .await;
    // As a change of it would.
    world.raw(&format!(
            "INSERT INTO change_log (seq, kind, subject) SELECT (SELECT change_seq + 1 FROM head), 'registration', id FROM registrations WHERE oauth_client_id = '{id}';
             UPDATE head SET change_seq = change_seq + 1"
        )).await;
    a_leak_is_ended(&world, &beta).await;
    token(&world, &alpha).await.is_invalid_client();
    is_told(&world, "1 registration", 1).await;
    world.restart().await;
    token(&world, &alpha).await.is_invalid_client();
    is_told(&world, "1 registration", 1).await;
    let (outcome, sentence) = found(&world, "registrations").await;
    assert!(outcome == Outcome::Fail && sentence.contains("access_token_ttl_seconds"), "{sentence}");
    // Once it can be read again, the next change of it is enough.
    world
        .raw(&format!(
            "UPDATE registrations SET access_token_ttl_seconds = 3600 WHERE oauth_client_id = '{id}'"
        ))
        .await;
    a_leak_is_ended(&world, &alpha).await;
    assert_eq!(text_of(&world, "/readyz").await, "ready\n");
}

async fn an_environment_whose_key_was_copied_is_refused_alone(mut world: World) {
    let (beta, gamma) =
        (world.client("Beta", &["production"]).await, world.client("Gamma", &["staging"]).await);
    world.raw("UPDATE signing_keys SET sealed = (SELECT sealed FROM signing_keys WHERE environment = 'production') WHERE environment = 'staging'").await;
    world.restart().await;
    let refused = token(&world, &gamma).await;
    assert!(!refused.status.is_success(), "{refused:?}");
    let keys = Request::get("/env/staging/oauth2/jwks").body(Body::empty()).unwrap();
    assert!(!world.send(keys, HERE).await.status.is_success(), "no empty key set is published");
    is_told(&world, "1 environment", 2).await;
    let (outcome, sentence) = found(&world, "signing_keys").await;
    assert!(outcome == Outcome::Fail && sentence.contains("staging"), "{sentence}");
    a_leak_is_ended(&world, &beta).await;
    // The way out that the doctor names.
    rotate_signing_key(&world, "staging", json!({"immediate": true})).await.created();
    token(&world, &gamma).await.is_token();
    is_told(&world, "1 signing key", 1).await;
    assert_eq!(found(&world, "signing_keys").await.0, Outcome::Warn);
    rotate_signing_key(&world, "staging", json!({"compromised": true})).await.created();
    token(&world, &gamma).await.is_token();
    assert_eq!(text_of(&world, "/readyz").await, "ready\n");
    a_leak_is_ended(&world, &beta).await;
}

async fn an_entry_of_the_log_that_cannot_be_read_loads_everything(world: World) {
    let client = world.client("Billing", &["production"]).await;
    world
        .raw(
            "UPDATE registrations SET disabled_at = 1;
             INSERT INTO change_log (seq, kind, subject) SELECT change_seq + 1, 'garbage', 'x' FROM head;
             UPDATE head SET change_seq = change_seq + 1",
        )
        .await;
    assert_eq!(text_of(&world, "/readyz").await, "ready\n");
    token(&world, &client).await.is_invalid_client();
    a_leak_is_ended(&world, &world.client("Beta", &["production"]).await).await;
}

async fn settings_of_an_environment_that_cannot_be_read_end_no_start(mut world: World) {
    let (beta, gamma) =
        (world.client("Beta", &["production"]).await, world.client("Gamma", &["staging"]).await);
    world.raw("UPDATE environments SET kind = 'garbage' WHERE slug = 'staging'").await;
    world.restart().await;
    // What decides can be read.
    token(&world, &gamma).await.is_token();
    a_leak_is_ended(&world, &beta).await;
    world.run_jobs().await;
    assert_eq!(found(&world, "signing_keys").await.0, Outcome::Fail);
    // It is left out of lists, and nothing else is.
    let owner = world.owner().await;
    let listed = owner.get("/environments").await.ok();
    let slugs: Vec<_> = listed.as_array().unwrap().iter().map(|it| &it["slug"]).collect();
    assert!(
        slugs.iter().any(|it| *it == "production") && !slugs.iter().any(|it| *it == "staging"),
        "{slugs:?}"
    );
    owner.get("/clients").await.ok();
}

fn bytes(world: &World) -> &'static str {
    match world.location() {
        crossfade_store::Location::File(_) => "x'00'",
        crossfade_store::Location::Postgres(_) => "'\\x00'",
    }
}
