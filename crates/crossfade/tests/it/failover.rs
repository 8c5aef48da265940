//! A database that loses changes, is served by another process, or refuses what it is to store.

use crate::engines::{on_both_engines, on_sqlite};
use crate::world::{Answer, Client, World};
use axum::body::Body;
use http::Request;
use serde_json::json;
use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};
use tokio::time::{sleep, timeout};

on_both_engines! {
    a_change_after_lost_changes_is_refused_then_enforced,
    lost_changes_are_told_everywhere,
    a_registration_that_the_database_lost_is_refused,
    a_trimmed_log_that_skips_changes_loads_everything,
    an_instance_of_an_earlier_version_is_bound_at_its_next_start,
    a_database_that_names_another_instance_is_refused,
    evidence_that_the_database_refuses_holds_up_no_other,
    evidence_of_a_lost_secret_holds_up_no_other,
    a_null_character_is_refused_by_every_door,
}

on_sqlite! {
    a_server_that_another_has_followed_changes_nothing,
}

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

async fn text_of(world: &World, path: &str) -> (u16, String) {
    let answer = world.send(Request::get(path).body(Body::empty()).unwrap(), HERE).await;
    (answer.status.as_u16(), String::from_utf8(answer.bytes).unwrap())
}

async fn head(world: &World) -> i64 {
    world.number("SELECT change_seq FROM head").await
}

/// What a failover to a standby leaves that has not got the changes after `seq`.
async fn lose_changes_after(world: &World, seq: i64) {
    world.raw(&format!("DELETE FROM change_log WHERE seq > {seq}; UPDATE head SET change_seq = {seq}")).await;
}

async fn token(world: &World, client: &Client) -> Answer {
    let own = client.registration("production");
    world.oauth("production").token(&own.client_id, &own.secret).await
}

async fn disable(world: &World, client: &Client) {
    let body = json!({"enabled": false, "confirm_client_name": client.name});
    world.owner().await.patch(&client.path("production", ""), body).await.ok();
}

fn is_for_later(answer: Answer) {
    assert_eq!(answer.header("retry-after"), Some("1"));
    let problem = answer.refused(503, "unavailable");
    assert!(problem["detail"].as_str().unwrap().contains("Nothing was changed."), "{problem}");
}

async fn a_change_after_lost_changes_is_refused_then_enforced(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let before = head(&world).await;
    disable(&world, &client).await;
    token(&world, &client).await.is_invalid_client();
    let owner = world.owner().await;
    world.raw("UPDATE registrations SET disabled_at = NULL").await;
    lose_changes_after(&world, before).await;
    let body = json!({"transition_hours": 0, "compromised": true, "confirm_client_name": "Billing"});
    let rotate = client.path("production", "/secrets/rotate");
    let changes = head(&world).await;
    is_for_later(owner.post(&rotate, body.clone()).await);
    assert_eq!(head(&world).await, changes, "nothing was written");
    // The tables are what the database says now.
    token(&world, &client).await.is_token();
    let new = owner.post(&rotate, body).await.created();
    token(&world, &client).await.is_invalid_client();
    let id = &client.registration("production").client_id;
    world.oauth("production").token(id, new["secret"]["value"].as_str().unwrap()).await.is_token();
}

async fn lost_changes_are_told_everywhere(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let before = head(&world).await;
    disable(&world, &client).await;
    world.raw("UPDATE registrations SET disabled_at = NULL").await;
    let lost = head(&world).await - before;
    lose_changes_after(&world, before).await;
    let (status, ready) = text_of(&world, "/readyz").await;
    assert_eq!(status, 200, "{ready}");
    assert!(ready.contains(&format!("lost changes {} to {}", before + 1, before + lost)), "{ready}");
    token(&world, &client).await.is_token();
    let (_, metrics) = text_of(&world, "/metrics").await;
    assert!(metrics.contains(&format!("crossfade_changes_lost_total {lost}\n")), "{metrics}");
    world.run_jobs().await;
    let events = world.owner().await.get("/audit-events?action=database.changes_lost").await.ok();
    let details = &events["items"][0]["details"];
    let id = &client.registration("production").client_id;
    assert_eq!((&details["first_seq"], &details["last_seq"]), (&json!(before + 1), &json!(before + lost)));
    assert_eq!((&details["registrations"], &details["client_ids"]), (&json!(1), &json!([id])));
    world.run_jobs().await;
    let again = world.owner().await.get("/audit-events?action=database.changes_lost").await.ok();
    assert_eq!(again["items"].as_array().unwrap().len(), 1, "told once");
}

async fn a_registration_that_the_database_lost_is_refused(world: World) {
    world.client("Orders", &["production"]).await;
    let before = head(&world).await;
    let client = world.client("Billing", &["production"]).await;
    token(&world, &client).await.is_token();
    let own = format!("(SELECT id FROM registrations WHERE client_id = '{}')", client.id);
    world.run_jobs().await;
    for table in ["secret_usage", "secret_usage_sources", "secret_usage_series"] {
        world.raw(&format!("DELETE FROM {table}")).await;
    }
    world.raw(&format!("DELETE FROM secrets WHERE registration_id IN {own}")).await;
    world.raw(&format!("DELETE FROM registrations WHERE client_id = '{}'", client.id)).await;
    lose_changes_after(&world, before).await;
    assert_eq!(text_of(&world, "/readyz").await.0, 200);
    token(&world, &client).await.is_invalid_client();
}

async fn a_trimmed_log_that_skips_changes_loads_everything(world: World) {
    let client = world.client("Billing", &["production"]).await;
    world
        .raw("UPDATE registrations SET disabled_at = 1; UPDATE head SET change_seq = change_seq + 20000")
        .await;
    assert_eq!(text_of(&world, "/readyz").await, (200, "ready\n".to_owned()));
    token(&world, &client).await.is_invalid_client();
}

async fn a_server_that_another_has_followed_changes_nothing(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    world.raw("UPDATE head SET term = term + 1").await;
    let changes = head(&world).await;
    token(&world, &client).await.is_token();
    let rotate = client.path("production", "/secrets/rotate");
    let app = world.app.clone();
    let (stopped, refused) = tokio::join!(timeout(Duration::from_secs(10), app.keep_serving()), async {
        sleep(Duration::from_millis(100)).await;
        owner.post(&rotate, client.rotation(24)).await
    });
    is_for_later(refused);
    assert!(stopped.is_ok(), "it stops: another process decides on this file");
    assert_eq!(head(&world).await, changes);
    assert!(!world.app.may_decide());
    world.ends_unable_to_run_jobs();
}

async fn an_instance_of_an_earlier_version_is_bound_at_its_next_start(mut world: World) {
    let client = world.client("Billing", &["production"]).await;
    world.raw("DELETE FROM instance").await;
    world.restart().await;
    assert_eq!(world.number("SELECT COUNT(*) FROM instance").await, 1);
    token(&world, &client).await.is_token();
}

async fn a_database_that_names_another_instance_is_refused(world: World) {
    world.client("Billing", &["production"]).await;
    drop(world.open_beside().await.unwrap());
    world.raw("UPDATE instance SET id = 'inst_other'").await;
    let refused = world.open_beside().await.err().unwrap().to_string();
    assert!(refused.contains("instance inst_other") && refused.contains("not bound"), "{refused}");
    world.raw("DELETE FROM data_keys; DELETE FROM instance").await;
    let refused = world.open_beside().await.err().unwrap().to_string();
    assert!(refused.contains("no instance"), "{refused}");
    world.ends_unable_to_run_jobs();
}

async fn evidence_that_the_database_refuses_holds_up_no_other(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let own = client.registration("production");
    refuse_agents(&world).await;
    for agent in ["plain/1.0", "agent → new", "bad/1.0", "other/2.0"] {
        world
            .oauth("production")
            .from([192, 0, 2, 1], agent)
            .token(&own.client_id, &own.secret)
            .await
            .is_token();
    }
    world.oauth("production").token(&own.client_id, "wrong").await.is_invalid_client();
    world.run_jobs().await;
    let usage = world.owner().await.get(&client.path("production", "/usage")).await.ok();
    let mut agents: Vec<&str> =
        usage["items"].as_array().unwrap().iter().map(|it| it["user_agent"].as_str().unwrap()).collect();
    agents.sort_unstable();
    assert_eq!(agents, ["agent ? new", "other/2.0", "plain/1.0"]);
    assert_eq!(world.number("SELECT COUNT(*) FROM evidence_gaps WHERE kind = 'refused'").await, 1);
    assert_eq!(world.number("SELECT COUNT(*) FROM authentication_failures").await, 1);
    let (_, metrics) = text_of(&world, "/metrics").await;
    assert!(metrics.contains("crossfade_evidence_set_aside_total 1\n"), "{metrics}");
    world.run_jobs().await;
    assert_eq!(
        world.number("SELECT CAST(SUM(use_count) AS BIGINT) FROM secret_usage_sources").await,
        3,
        "counted once"
    );
}

async fn evidence_of_a_lost_secret_holds_up_no_other(world: World) {
    let (lost, kept) =
        (world.client("Lost", &["production"]).await, world.client("Kept", &["production"]).await);
    token(&world, &lost).await.is_token();
    token(&world, &kept).await.is_token();
    let own = format!("(SELECT id FROM registrations WHERE client_id = '{}')", lost.id);
    world.raw(&format!("DELETE FROM secrets WHERE registration_id IN {own}")).await;
    world.run_jobs().await;
    assert_eq!(world.number("SELECT CAST(SUM(use_count) AS BIGINT) FROM secret_usage_sources").await, 1);
    let usage = world.owner().await.get(&kept.path("production", "/usage")).await.ok();
    assert_eq!(usage["items"][0]["use_count"], 1);
}

async fn a_null_character_is_refused_by_every_door(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    for path in [
        "/clients?q=a%00b",
        "/clients?property_id=%00",
        "/clients?environment=%00",
        "/clients/a%00b",
        "/audit-events?actor=%00",
        "/audit-events?action=%00",
        "/audit-events?client=%00",
        "/audit-events?environment=%00",
        "/authentication-failures?reason=%00",
        "/environments/%00/signing-keys",
        "/clients?cursor=%00",
        "/users/%00",
        "/properties/%00",
    ] {
        let answer = owner.get(path).await;
        assert!(answer.status.is_client_error() || answer.status.is_success(), "{path}: {answer:?}");
    }
    let body = json!({"transition_hours": 1, "confirm_client_name": "Bill\0ing", "reason": "a\0b"});
    owner.post(&client.path("production", "/secrets/rotate"), body).await.refused(422, "invalid_body");
    owner.post("/properties", json!({"name": "a\0b"})).await.refused(422, "invalid_body");
    owner
        .post("/users", json!({"kind": "person", "name": "A", "email": "a\0@example.com"}))
        .await
        .refused(422, "invalid_body");
    world.oauth("production").token("a\0b", "c\0d").await.is_invalid_client();
    world.oauth("production").token_by_post("a\0b", "c\0d").await.is_invalid_client();
    let mut sign_in = Request::post("/console/sign-in")
        .body(Body::from("email=a%00b%40example.com&password=x&to=%2Fconsole"))
        .unwrap();
    sign_in.headers_mut().insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
    sign_in.headers_mut().insert("sec-fetch-site", "same-origin".parse().unwrap());
    let answer = world.send(sign_in, HERE).await;
    assert!(!answer.status.is_server_error(), "{answer:?}");
    world.run_jobs().await;
}

/// Has the database refuse sources whose user agent holds an arrow, or begins with `bad`.
async fn refuse_agents(world: &World) {
    let refused = world.try_raw(
        "ALTER TABLE secret_usage_sources ADD CONSTRAINT agents CHECK (user_agent NOT LIKE '%→%' AND user_agent NOT LIKE 'bad%')",
    );
    if refused.await.is_err() {
        world
            .raw(
                "CREATE TRIGGER agents BEFORE INSERT ON secret_usage_sources
                 WHEN NEW.user_agent LIKE '%→%' OR NEW.user_agent LIKE 'bad%'
                 BEGIN SELECT RAISE(ABORT, 'refused'); END",
            )
            .await;
    }
}
