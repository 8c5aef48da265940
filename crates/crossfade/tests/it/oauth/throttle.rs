//! Guesses of a secret: throttled after verifying, in one way for every cause.

use super::{GRANT, PROTECTED, Seen, is_the_refusal, needed, post};
use crate::engines::{on_both_engines, on_sqlite};
use crate::world::{Client, World};
use serde_json::json;
use std::time::Duration;

on_both_engines! {
    a_right_secret_is_never_throttled,
    the_trail_tells_once_that_failures_are_throttled,
}

on_sqlite! {
    beyond_the_limit_every_cause_and_endpoint_has_one_answer,
    requests_without_credentials_are_never_throttled,
    the_trail_knows_a_recognised_secret_also_beyond_the_limit,
}

/// Failures that are answered as such in a row.
const BURST: usize = 100;

/// Fails as often as is answered as such.
async fn exhaust(world: &World, client_id: &str) {
    for _ in 0..BURST {
        world.oauth("production").token(client_id, "wrong").await.is_invalid_client();
    }
}

fn throttled() -> Seen {
    let mut seen = Seen::refusal();
    let body = r#"{"error":"invalid_client","error_description":"Client authentication failed too often from this network. Correct the client_id or the secret."}"#;
    seen.status = 429;
    seen.headers.retain(|(name, _)| name != "www-authenticate" && name != "content-length");
    seen.headers.push(("content-length".to_owned(), body.len().to_string()));
    seen.headers.push(("retry-after".to_owned(), "1".to_owned()));
    seen.headers.sort();
    seen.body = body.to_owned();
    seen
}

async fn a_right_secret_is_never_throttled(world: World) {
    let client = world.client("Billing API", &["production"]).await;
    let own = client.registration("production");
    exhaust(&world, &own.client_id).await;
    let oauth = world.oauth("production");
    for _ in 0..3 {
        let wrong = oauth.token(&own.client_id, "wrong").await;
        assert_eq!(Seen::of(&wrong), throttled());
        oauth.token(&own.client_id, &own.secret).await.is_token();
    }
    let elsewhere = oauth.clone().from([192, 0, 3, 1], "test/1.0");
    elsewhere.token(&own.client_id, "wrong").await.is_invalid_client();
    world.advance(Duration::from_secs(1));
    is_the_refusal(&oauth.token(&own.client_id, "wrong").await, "one is forgiven after a second");
    assert_eq!(Seen::of(&oauth.token(&own.client_id, "wrong").await), throttled());
}

async fn beyond_the_limit_every_cause_and_endpoint_has_one_answer(world: World) {
    let client = world.client("Billing API", &["production"]).await;
    let disabled = world.client("Disabled API", &["production"]).await;
    super::disable(&world, &disabled, "production").await;
    let rotated = world.client("Rotated API", &["production"]).await;
    rotate_at_once(&world, &rotated).await;
    let of = |client: &Client| client.registration("production").clone();
    let causes = [
        ("wrong", of(&client).client_id, "wrong".to_owned()),
        ("unknown client", "nobody".to_owned(), "wrong".to_owned()),
        ("disabled", of(&disabled).client_id, of(&disabled).secret),
        ("ended", of(&rotated).client_id, of(&rotated).secret),
    ];
    for (cause, client_id, secret) in &causes {
        let oauth = world.oauth("production");
        for number in 0..BURST + 3 {
            let endpoint = PROTECTED[number % PROTECTED.len()];
            let form = if endpoint == "token" { GRANT } else { ("token", "x") };
            let answer = oauth.basic(endpoint, client_id, secret, &[form]).await;
            let expected = if number < BURST { Seen::refusal() } else { throttled() };
            assert_eq!(Seen::of(&answer), expected, "{cause}, attempt {number}, {endpoint}");
        }
    }
}

/// Ends the first secret of a client.
async fn rotate_at_once(world: &World, client: &Client) {
    let body = client.rotation(0);
    world.owner().await.post(&client.path("production", "/secrets/rotate"), body).await.created();
}

/// Many clients send their credentials only when a 401 asks for them.
async fn requests_without_credentials_are_never_throttled(world: World) {
    for number in 0..BURST + 20 {
        let endpoint = PROTECTED[number % PROTECTED.len()];
        is_the_refusal(&post(&world, endpoint, &[], needed(endpoint)).await, "no credentials");
        let malformed = post(&world, endpoint, &[("authorization", b"Basic !!!")], needed(endpoint)).await;
        is_the_refusal(&malformed, "malformed credentials");
    }
}

/// Whoever holds an ended secret cannot hide its use behind wrong ones.
async fn the_trail_knows_a_recognised_secret_also_beyond_the_limit(world: World) {
    let client = world.client("Billing API", &["production"]).await;
    let own = client.registration("production");
    rotate_at_once(&world, &client).await;
    exhaust(&world, &own.client_id).await;
    let answer = world.oauth("production").token(&own.client_id, &own.secret).await;
    assert_eq!(Seen::of(&answer), throttled());
    world.run_jobs().await;
    let events = world.owner().await.get("/audit-events?action=authentication.failed").await.ok();
    let reasons: Vec<_> =
        events["items"].as_array().unwrap().iter().map(|it| &it["details"]["reason"]).collect();
    assert!(reasons.contains(&&json!("expired")), "{events}");
}

async fn the_trail_tells_once_that_failures_are_throttled(world: World) {
    let client = world.client("Billing API", &["production"]).await;
    let own = client.registration("production");
    for _ in 0..BURST + 50 {
        world.oauth("production").token(&own.client_id, "wrong").await;
    }
    world.run_jobs().await;
    let owner = world.owner().await;
    let events = owner.get("/audit-events?action=authentication.failed").await.ok();
    let told: Vec<_> = events["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| (event["details"]["reason"].as_str().unwrap(), event["details"]["count"].clone()))
        .collect();
    assert_eq!(told.len(), 2, "{events}");
    assert!(told.contains(&("wrong", json!(BURST))) && told.contains(&("throttled", json!(50))), "{told:?}");
}
