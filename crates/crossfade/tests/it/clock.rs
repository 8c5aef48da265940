//! A machine whose clock and whose stored time are apart: secrets follow the one, tokens the other (rule 20).

use crate::engines::{on_both_engines, on_postgres};
use crate::{
    database::Place,
    oauth::jws::Parts,
    world::{Registration, World},
};
use axum::body::Body;
use crossfade_authority::Clock;
use crossfade_core::forget::TOKENS_LIVE_ON;
use http::Request;
use std::{net::IpAddr, time::Duration};

on_postgres! {
    rule_20_on_postgresql_tokens_tell_the_database_s_time,
    rule_2_on_postgresql_a_node_s_clock_decides_and_stores_nothing,
}

on_both_engines! {
    rule_20_a_stored_time_ahead_makes_no_token_from_the_future,
    rule_20_a_clock_that_is_set_back_costs_no_token_over_a_restart,
    rule_20_a_revocation_is_kept_until_both_clocks_have_passed,
    rule_20_a_clock_wrong_at_the_start_brings_no_revoked_token_back,
    rule_20_a_revocation_while_the_clock_is_ahead_holds_after_it_is_corrected,
    revocations_are_forgotten_by_servers_that_run_for_hours_each,
    a_clock_that_jumps_and_is_corrected_brings_no_revoked_token_back,
    rule_20_a_clock_that_is_behind_is_told_loudly,
}

const DAY: Duration = Duration::from_secs(86_400);
const HOUR: Duration = Duration::from_secs(3600);

/// Starts again with a stored time that is ahead of the machine's clock by `span`.
async fn restart_behind(world: &mut World, span: Duration) {
    let now = world.clock.machine();
    let ahead = now.after(span).as_micros();
    world.raw(&format!("UPDATE head SET highest_time = {ahead}")).await;
    world.restart_at(now).await;
}

async fn page(world: &World, path: &str) -> String {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let answer = world.send(request, IpAddr::from([127, 0, 0, 1])).await;
    assert_eq!(answer.status, 200, "{path}");
    answer.text()
}

async fn is_active(world: &World, own: &Registration, token: &str) -> bool {
    let oauth = world.oauth(&own.environment);
    oauth.introspect(&own.client_id, &own.secret, token).await["active"].as_bool().unwrap()
}

async fn kept_revocations(world: &World) -> i64 {
    world.number("SELECT COUNT(*) FROM revoked_tokens").await
}

async fn revoke(world: &World, own: &Registration, token: &str) {
    let oauth = world.oauth(&own.environment);
    let answer = oauth.basic("revoke", &own.client_id, &own.secret, &[("token", token)]).await;
    assert_eq!(answer.status, 200);
}

async fn rule_20_a_stored_time_ahead_makes_no_token_from_the_future(mut world: World) {
    let own = world.client("Billing", &["production"]).await.registration("production").clone();
    restart_behind(&mut world, DAY).await;
    let answer = world.oauth("production").token(&own.client_id, &own.secret).await;
    let (token, expires_in) = (answer.is_token(), answer.json()["expires_in"].as_i64().unwrap());
    let claims = Parts::of(&token).claims;
    let (iat, exp) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
    assert_eq!(iat, world.clock.machine().as_seconds());
    assert_eq!(exp - iat, expires_in);
    assert!(is_active(&world, &own, &token).await);
    world.advance(Duration::from_secs(expires_in as u64) - Duration::from_micros(1));
    assert!(is_active(&world, &own, &token).await);
    world.advance(Duration::from_micros(1));
    assert!(!is_active(&world, &own, &token).await, "it lives as long as it says");
}

async fn rule_20_a_clock_that_is_set_back_costs_no_token_over_a_restart(mut world: World) {
    let own = world.client("Billing", &["production"]).await.registration("production").clone();
    let token = world.oauth("production").token(&own.client_id, &own.secret).await.is_token();
    let earlier = world.clock.machine().before(DAY);
    world.restart_at(earlier).await;
    assert!(is_active(&world, &own, &token).await);
    let newer = world.oauth("production").token(&own.client_id, &own.secret).await.is_token();
    assert!(is_active(&world, &own, &newer).await);
}

async fn rule_20_a_revocation_is_kept_until_both_clocks_have_passed(mut world: World) {
    let client = world.client("Billing", &["production"]).await;
    let own = client.registration("production").clone();
    restart_behind(&mut world, DAY * 3).await;
    let revoked = world.oauth("production").token(&own.client_id, &own.secret).await.is_token();
    let leaked = world.oauth("production").token(&own.client_id, &own.secret).await.is_token();
    revoke(&world, &own, &revoked).await;
    let body = serde_json::json!({"transition_hours": 0, "confirm_client_name": "Billing", "compromised": true, "revoke_tokens": true});
    let rotated =
        world.owner().await.post(&client.path("production", "/secrets/rotate"), body).await.created();
    let own = Registration { secret: rotated["secret"]["value"].as_str().unwrap().to_owned(), ..own };
    for _ in 0..2 {
        world.run_jobs().await;
        assert!(!is_active(&world, &own, &revoked).await && !is_active(&world, &own, &leaked).await);
        world.restart_at(world.clock.machine()).await;
    }
    world.advance(HOUR - Duration::from_secs(1));
    world.run_jobs().await;
    assert!(!is_active(&world, &own, &revoked).await);
    world.advance(Duration::from_secs(1));
    world.run_jobs().await;
    assert!(!is_active(&world, &own, &revoked).await, "it has ended on its own");
    assert_eq!(kept_revocations(&world).await, 1, "if the clock is right");
    world.advance(TOKENS_LIVE_ON - HOUR - Duration::from_micros(1));
    world.run_jobs().await;
    assert_eq!(kept_revocations(&world).await, 1);
    world.advance(Duration::from_micros(1));
    world.run_jobs().await;
    assert_eq!(kept_revocations(&world).await, 0, "no token lives longer");
}

async fn rule_20_a_clock_wrong_at_the_start_brings_no_revoked_token_back(mut world: World) {
    let leaked = world.client("Leaked", &["production"]).await;
    let own = world.client("Billing", &["production"]).await.registration("production").clone();
    let revoked = world.oauth("production").token(&own.client_id, &own.secret).await.is_token();
    revoke(&world, &own, &revoked).await;
    let other = leaked.registration("production").clone();
    let ended = world.oauth("production").token(&other.client_id, &other.secret).await.is_token();
    let body = serde_json::json!({"transition_hours": 0, "confirm_client_name": "Leaked", "compromised": true, "revoke_tokens": true});
    let rotated =
        world.owner().await.post(&leaked.path("production", "/secrets/rotate"), body).await.created();
    let other = Registration { secret: rotated["secret"]["value"].as_str().unwrap().to_owned(), ..other };
    for ahead in [DAY * 5, DAY * 40] {
        let right = world.clock.machine();
        world.restart_at(right.after(ahead)).await;
        for _ in 0..3 {
            world.advance(Duration::from_secs(10));
            world.run_jobs().await;
        }
        world.clock.set(right);
        world.advance(Duration::from_secs(1));
        assert!(!is_active(&world, &own, &revoked).await && !is_active(&world, &other, &ended).await);
        world.run_jobs().await;
        world.restart_at(world.clock.machine()).await;
        assert!(!is_active(&world, &own, &revoked).await && !is_active(&world, &other, &ended).await);
    }
}

async fn rule_20_a_revocation_while_the_clock_is_ahead_holds_after_it_is_corrected(world: World) {
    let own = world.client("Billing", &["production"]).await.registration("production").clone();
    let token = world.oauth("production").token(&own.client_id, &own.secret).await.is_token();
    let right = world.clock.machine();
    world.clock.set(right.after(DAY));
    assert!(!is_active(&world, &own, &token).await, "it looks expired");
    revoke(&world, &own, &token).await;
    world.clock.set(right);
    assert!(!is_active(&world, &own, &token).await);
}

async fn revocations_are_forgotten_by_servers_that_run_for_hours_each(mut world: World) {
    let own = world.client("Billing", &["production"]).await.registration("production").clone();
    let revoked = world.oauth("production").token(&own.client_id, &own.secret).await.is_token();
    revoke(&world, &own, &revoked).await;
    let mut kept = Vec::new();
    for _ in 0..5 {
        world.restart_at(world.clock.machine()).await;
        world.advance(HOUR * 13);
        world.run_jobs().await;
        kept.push(kept_revocations(&world).await);
    }
    assert_eq!(kept, [1, 1, 0, 0, 0], "the third look is 26 hours after the first that saw the end");
}

async fn a_clock_that_jumps_and_is_corrected_brings_no_revoked_token_back(world: World) {
    let own = world.client("Billing", &["production"]).await.registration("production").clone();
    let revoked = world.oauth("production").token(&own.client_id, &own.secret).await.is_token();
    revoke(&world, &own, &revoked).await;
    let right = world.clock.machine();
    world.clock.set(right.after(DAY * 2));
    world.run_jobs().await;
    world.clock.set(right);
    let fresh = world.oauth("production").token(&own.client_id, &own.secret).await.is_token();
    assert!(is_active(&world, &own, &fresh).await);
    assert!(!is_active(&world, &own, &revoked).await);
    let mut world = world;
    world.restart_at(right).await;
    assert!(!is_active(&world, &own, &revoked).await);
}

async fn rule_20_a_clock_that_is_behind_is_told_loudly(mut world: World) {
    world.owner().await;
    assert_eq!(page(&world, "/readyz").await, "ready\n");
    assert!(page(&world, "/metrics").await.contains("\ncrossfade_clock_offset_seconds 0\n"));
    assert!(!world.signed_in().await.get("/console").await.page(200).contains("behind the stored time"));
    restart_behind(&mut world, DAY).await;
    let ready = page(&world, "/readyz").await;
    assert!(
        ready.starts_with("ready\nThe ") && ready.contains("clock is 24 hours behind the stored time"),
        "{ready}"
    );
    assert!(ready.contains("Correct the clock"), "{ready}");
    assert!(page(&world, "/metrics").await.contains("\ncrossfade_clock_offset_seconds 86400\n"));
    let overview = world.signed_in().await.get("/console").await.page(200);
    assert!(overview.contains("clock is 24 hours behind the stored time"), "{overview}");
    world.advance(DAY - Duration::from_secs(60));
    assert_eq!(page(&world, "/readyz").await, "ready\n", "a minute is not told of");
}

/// On PostgreSQL "the machine" is the database's: a node whose own clock is wrong issues tokens of the right time.
async fn rule_20_on_postgresql_tokens_tell_the_database_s_time(place: Place) {
    for behind in [HOUR * 2, DAY * 2] {
        let place = place.another().await;
        let world = World::at(place, tempfile::tempdir().unwrap(), Clock::behind(behind)).await;
        let own = world.client("Billing", &["production"]).await.registration("production").clone();
        let clock = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS BIGINT)";
        let before = world.number(clock).await;
        let token = world.oauth("production").token(&own.client_id, &own.secret).await.is_token();
        let after = world.number(clock).await;
        let iat = Parts::of(&token).claims["iat"].as_i64().unwrap();
        // Rounding on one side, what the answer was on its way on the other.
        assert!((before - 2..=after).contains(&iat), "{before} {iat} {after}");
        assert!(is_active(&world, &own, &token).await);
        let told = page(&world, "/readyz").await;
        assert!(
            told.starts_with("ready\nThis machine’s clock is "),
            "a wrong clock is told, and decides nothing: {told}"
        );
        let stored = world.number("SELECT highest_time / 1000000 FROM head").await;
        assert!((before - 5..=after + 5).contains(&stored), "nor do secrets live longer by it");
    }
}

/// A node whose clock is ahead ends no secret early, and stores no time that the database's clock has not shown.
async fn rule_2_on_postgresql_a_node_s_clock_decides_and_stores_nothing(place: Place) {
    for node in [Clock::ahead(HOUR * 2), Clock::ahead(DAY * 400), Clock::behind(HOUR * 2)] {
        let place = place.another().await;
        let world = World::at(place, tempfile::tempdir().unwrap(), node).await;
        let client = world.client("Billing", &["production"]).await;
        let clock = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS BIGINT)";
        let before = world.number(clock).await;
        let body = serde_json::json!({"transition_hours": 1, "confirm_client_name": "Billing"});
        world.owner().await.post(&client.path("production", "/secrets/rotate"), body).await.created();
        world.run_jobs().await;
        let after = world.number(clock).await;
        for (stored, hours) in [
            ("SELECT MAX(expires_at) / 1000000 FROM secrets", 1),
            ("SELECT highest_time / 1000000 FROM head", 0),
            ("SELECT passed_at / 1000000 FROM head", 0),
            ("SELECT MAX(at) / 1000000 FROM audit_events", 0),
        ] {
            let at = world.number(stored).await - hours * 3600;
            assert!((before - 5..=after + 1).contains(&at), "{stored}: {before} {at} {after}");
        }
        let created = world.number("SELECT created_at / 1000000 FROM instance").await;
        assert!((before - 60..=after).contains(&created), "before anything is decided: {created}");
        let told = page(&world, "/readyz").await;
        assert!(told.starts_with("ready\nThis machine’s clock is ") && told.lines().count() == 2, "{told}");
    }
}
