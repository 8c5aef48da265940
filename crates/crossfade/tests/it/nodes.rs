//! Nodes: who may decide until when, and that a change is answered only when it is in force on all of them (rule 23).

use crate::engines::{on_both_engines, on_postgres, on_sqlite};
use crate::mail_server::MailServer;
use crate::world::{Answer, Client, OWNER, Principal, World};
use axum::body::Body;
use crossfade_core::base62;
use crossfade_web::{Routers, Transport};
use http::{Method, Request};
use serde_json::{Value, json};
use std::{
    future::Future,
    net::{IpAddr, Ipv4Addr},
    pin::pin,
    time::Duration,
};
use tokio::time::{Instant, sleep, timeout};

on_both_engines! {
    nodes_are_listed_for_platform_roles,
    rule_23_a_reply_says_since_when_a_change_is_in_force,
}

on_sqlite! {
    rule_23_on_sqlite_the_only_node_needs_no_lease,
}

on_postgres! {
    rule_23_a_change_waits_until_another_node_has_applied_it,
    rule_23_a_change_waits_until_another_node_gives_up_its_lease,
    rule_23_a_change_waits_until_the_lease_of_another_node_has_ended,
    rule_23_a_reply_says_how_each_node_was_known,
    rule_23_the_console_says_on_how_many_nodes_an_end_is_in_force,
    rule_23_a_caller_who_prefers_it_does_not_wait,
    rule_23_a_node_that_could_not_decide_is_not_waited_for,
    rule_23_a_caller_that_is_gone_changes_nothing_about_it,
    rule_23_a_node_decides_nothing_without_a_lease,
    rule_23_another_process_is_answered_when_the_node_has_applied_its_change,
    a_lease_is_given_up_at_the_end_and_forgotten_after_a_day,
    the_log_keeps_what_the_slowest_node_has_not_applied,
    a_node_without_a_lease_is_told_once_unless_it_was_started_again,
}

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Time of the database in microseconds, as SQL.
const NOW: &str = "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)";

fn other_id() -> String {
    format!("node_{}", base62::encode_fixed(&[7; 16], 22))
}

/// Another node, whose lease ends in this many milliseconds and whose tables have applied `applied`.
async fn another_node(world: &World, lease_ms: i64, applied: i64) {
    let sql = format!(
        "INSERT INTO nodes (id, name, version, started_at, lease_until, applied, uncertainty)
        VALUES ('{}', 'west', '0.1.0', {NOW}, {NOW} + {lease_ms} * 1000, {applied}, 0)",
        other_id()
    );
    world.raw(&sql).await;
}

/// Removes the other node, for which what comes at the end of a test would wait.
async fn no_other_node(world: &World) {
    world.raw("DELETE FROM nodes").await;
}

async fn head(world: &World) -> i64 {
    world.number("SELECT change_seq FROM head").await
}

/// Disables the registration. The Owner is asked for before, because a new token of the Owner is a change of its own.
async fn disable(owner: &Principal<'_>, client: &Client) -> Answer {
    let body = json!({"enabled": false, "confirm_client_name": client.name});
    owner.patch(&client.path("production", ""), body).await
}

async fn enable(owner: &Principal<'_>, client: &Client) -> Answer {
    owner.patch(&client.path("production", ""), json!({"enabled": true})).await
}

async fn token(world: &World, client: &Client) -> Answer {
    let own = client.registration("production");
    world.oauth("production").token(&own.client_id, &own.secret).await
}

/// Does `meanwhile` while `change` waits, which must not be done before. Returns how long the change took after it.
async fn done_after<T>(change: impl Future<Output = T>, meanwhile: impl AsyncFnOnce()) -> (T, Duration) {
    let mut change = pin!(change);
    assert!(timeout(Duration::from_millis(600), &mut change).await.is_err(), "it waits for the other node");
    meanwhile().await;
    let begun = Instant::now();
    (timeout(Duration::from_secs(20), change).await.expect("it is done"), begun.elapsed())
}

async fn nodes_are_listed_for_platform_roles(world: World) {
    world.app.begin_serving().await;
    let nodes = world.owner().await.get("/nodes").await.ok();
    let [node] = nodes.as_array().unwrap().as_slice() else { panic!("{nodes}") };
    assert_eq!((&node["name"], &node["version"]), (&json!("here"), &json!(env!("CARGO_PKG_VERSION"))));
    assert!(node["id"].as_str().unwrap().starts_with("node_"), "{node}");
    assert_eq!(node["applied"], json!(head(&world).await));
    assert!(node["uncertainty_ms"].as_f64().unwrap() < 100.0, "{node}");
    assert_eq!(node["leads"], json!(true), "{node}");
}

async fn rule_23_on_sqlite_the_only_node_needs_no_lease(world: World) {
    world.app.begin_serving().await;
    let nodes = world.owner().await.get("/nodes").await.ok();
    assert_eq!(nodes[0]["lease_until"], Value::Null);
    assert_eq!(world.number("SELECT COUNT(*) FROM nodes").await, 0);
    assert!(world.app.may_decide());
}

async fn rule_23_a_change_waits_until_another_node_has_applied_it(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let before = head(&world).await;
    another_node(&world, 60_000, before).await;
    let (answer, took) = done_after(disable(&owner, &client), async || {
        token(&world, &client).await.is_invalid_client();
        world.raw(&format!("UPDATE nodes SET applied = {}", head(&world).await)).await;
    })
    .await;
    answer.ok();
    assert!(took < Duration::from_secs(5), "{took:?}");
}

async fn rule_23_a_change_waits_until_another_node_gives_up_its_lease(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    another_node(&world, 60_000, 0).await;
    let release = async || world.raw(&format!("UPDATE nodes SET released_at = {NOW}")).await;
    done_after(disable(&owner, &client), release).await.0.ok();
}

async fn rule_23_a_change_waits_until_the_lease_of_another_node_has_ended(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    another_node(&world, 3_000, 0).await;
    // Granted before the change was stored, and visible only now.
    let renew = async || world.raw(&format!("UPDATE nodes SET lease_until = {NOW} + 4000000")).await;
    let (answer, took) = done_after(disable(&owner, &client), renew).await;
    answer.ok();
    assert!(
        took > Duration::from_millis(2_700) && took < Duration::from_secs(15),
        "the longer lease counts: {took:?}"
    );
    no_other_node(&world).await;
}

/// Every change that ends something, or that another node has to know.
async fn rule_23_a_reply_says_since_when_a_change_is_in_force(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let reason = json!({"reason": "quarterly"});
    let rotated =
        owner.post(&client.path("production", "/secrets/rotate"), client.rotation(24)).await.created();
    let back = format!("/rotations/{}/rollback", rotated["rotation"]["id"].as_str().unwrap());
    let rolled_back = owner.post(&client.path("production", &back), reason.clone()).await.ok();
    let again =
        owner.post(&client.path("production", "/secrets/rotate"), client.rotation(24)).await.created();
    let old = again["previous_secret"]["id"].as_str().unwrap();
    let at = |hours: u64| world.clock.now().after(Duration::from_secs(hours * 3600)).to_string();
    let body = json!({"expires_at": at(48), "reason": "one more day"});
    let extended = owner.post(&client.path("production", &format!("/secrets/{old}/extend")), body).await.ok();
    let revoked =
        owner.post(&client.path("production", &format!("/secrets/{old}/revoke")), reason).await.ok();
    let registration = client.path("production", "");
    let disabled = json!({"enabled": false, "confirm_client_name": "Billing"});
    let disabled = owner.patch(&registration, disabled).await.ok();
    let narrowed = owner.patch(&registration, json!({"allowed_networks": ["10.0.0.0/8"]})).await.ok();
    let deletion = json!({"confirm_client_name": "Billing", "reason": "over"});
    let deleted = owner.delete(&format!("/clients/{}", client.id), deletion).await.ok();
    for reply in [rotated, rolled_back, again, extended, revoked, disabled, narrowed, deleted] {
        let enforced = &reply["enforced"];
        let [node] = enforced["nodes"].as_array().unwrap().as_slice() else { panic!("{reply}") };
        assert_eq!((&node["name"], &node["known_by"]), (&json!("here"), &json!("acknowledged")), "{reply}");
        assert!(enforced["at"].as_str().is_some_and(|at| at.ends_with('Z')), "{reply}");
    }
}

/// Returns the name of each node with how it was known.
fn known(reply: &Value) -> Vec<(&str, &str)> {
    let nodes = reply["enforced"]["nodes"].as_array().unwrap();
    nodes.iter().map(|it| (it["name"].as_str().unwrap(), it["known_by"].as_str().unwrap())).collect()
}

async fn rule_23_a_reply_says_how_each_node_was_known(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let rotate = async || {
        owner.post(&client.path("production", "/secrets/rotate"), client.rotation(0)).await.created()
    };
    another_node(&world, 60_000, i64::MAX).await;
    assert_eq!(known(&rotate().await), [("here", "acknowledged"), ("west", "acknowledged")]);
    world.raw(&format!("UPDATE nodes SET applied = 0, lease_until = {NOW} + 3000000")).await;
    assert_eq!(known(&rotate().await), [("here", "acknowledged"), ("west", "lease_ended")]);
    assert_eq!(known(&rotate().await), [("here", "acknowledged")], "it was not there any more");
    world.raw(&format!("UPDATE nodes SET lease_until = {NOW} + 60000000")).await;
    let release = async || world.raw(&format!("UPDATE nodes SET released_at = {NOW}")).await;
    let (reply, _) = done_after(rotate(), release).await;
    assert_eq!(known(&reply), [("here", "acknowledged"), ("west", "released")]);
}

async fn rule_23_the_console_says_on_how_many_nodes_an_end_is_in_force(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let browser = world.signed_in().await;
    let path = |rest: &str| format!("/console{}", client.path("production", rest));
    let said = async |to: &str| {
        let page = browser.get(to).await.page(200);
        let (_, rest) = page.split_once("In force on ").unwrap_or_else(|| panic!("{page}"));
        rest.split_once('<').unwrap().0.trim().to_owned()
    };
    another_node(&world, 60_000, i64::MAX).await;
    let rotation = [("transition_hours", "0"), ("confirm_client_name", "Billing"), ("reason", "quarterly")];
    let rotated = browser.post(&path("/rotate"), &rotation).await;
    let rotated = said(rotated.leads_to()).await;
    assert!(rotated.starts_with("2 nodes since ") && rotated.ends_with(" UTC."), "{rotated}");
    assert!(!browser.get(&path("/credentials")).await.page(200).contains("In force on"), "it is said once");
    world.raw(&format!("UPDATE nodes SET applied = 0, lease_until = {NOW} + 3000000")).await;
    let disabling =
        [("change", "disable"), ("confirm_client_name", "Billing"), ("version", "2"), ("reason", "over")];
    let disabled = browser.post(&path("/settings"), &disabling).await;
    let disabled = said(disabled.leads_to()).await;
    assert!(disabled.ends_with("UTC. One of them did not answer, and had to lose its lease."), "{disabled}");
    no_other_node(&world).await;
}

async fn rule_23_a_caller_who_prefers_it_does_not_wait(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    another_node(&world, 60_000, 0).await;
    let (path, body) = (client.path("production", "/secrets/rotate"), client.rotation(0).to_string());
    let call =
        async |headers: &[(&str, &str)]| owner.call(Method::POST, &path, Some(body.clone()), headers).await;
    let (key, prefer) = (("Idempotency-Key", "one"), ("Prefer", "respond-async"));
    let quick = timeout(Duration::from_secs(5), call(&[key, prefer])).await.expect("it does not wait");
    assert_eq!(quick.header("preference-applied"), Some("respond-async"));
    let quick = quick.created();
    assert_eq!(quick["enforced"], Value::Null);
    token(&world, &client).await.is_invalid_client();
    let apply = async || world.raw(&format!("UPDATE nodes SET applied = {}", head(&world).await)).await;
    let (told, _) = done_after(call(&[key]), apply).await;
    assert_eq!(told.header("preference-applied"), None);
    let told = told.created();
    assert_eq!(told["secret"]["id"], quick["secret"]["id"], "the same rotation");
    assert_eq!(known(&told), [("here", "acknowledged"), ("west", "acknowledged")]);
    no_other_node(&world).await;
}

async fn rule_23_a_node_that_could_not_decide_is_not_waited_for(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    another_node(&world, -1, 0).await;
    let begun = Instant::now();
    disable(&owner, &client).await.ok();
    world.raw(&format!("UPDATE nodes SET lease_until = {NOW} + 60000000, released_at = {NOW}")).await;
    enable(&owner, &client).await.ok();
    assert!(begun.elapsed() < Duration::from_secs(10));
}

async fn rule_23_a_caller_that_is_gone_changes_nothing_about_it(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    another_node(&world, 60_000, 0).await;
    assert!(timeout(Duration::from_millis(600), disable(&owner, &client)).await.is_err());
    token(&world, &client).await.is_invalid_client();
    assert_eq!(world.number("SELECT COUNT(*) FROM registrations WHERE disabled_at IS NOT NULL").await, 1);
    no_other_node(&world).await;
}

async fn rule_23_a_node_decides_nothing_without_a_lease(mut world: World) {
    let client = world.client("Billing", &["production"]).await;
    world.restart_with_lease(Duration::from_secs(4)).await;
    world.app.begin_serving().await;
    token(&world, &client).await.is_token();
    let begun = Instant::now();
    while world.app.may_decide() {
        assert!(begun.elapsed() < Duration::from_secs(20), "nobody renews the lease");
        sleep(Duration::from_millis(20)).await;
    }
    let own = client.registration("production");
    for secret in [own.secret.as_str(), "wrong"] {
        let answer = world.oauth("production").token(&own.client_id, secret).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["error"]),
            (503, &json!("temporarily_unavailable"))
        );
    }
    let ready = world.send(Request::get("/readyz").body(Body::empty()).unwrap(), HERE).await;
    assert_eq!(ready.status, 503);
    let app = world.app.clone();
    tokio::select! {
        stopped = app.keep_serving() => panic!("{stopped:?}"),
        () = async {
            while !world.app.may_decide() {
                assert!(begun.elapsed() < Duration::from_secs(40), "it takes a lease again");
                sleep(Duration::from_millis(20)).await;
            }
            token(&world, &client).await.is_token();
            // Longer than a lease.
            sleep(Duration::from_secs(5)).await;
            token(&world, &client).await.is_token();
        } => {}
    }
}

async fn rule_23_another_process_is_answered_when_the_node_has_applied_its_change(mut world: World) {
    let client = world.client("Billing", &["production"]).await;
    world.app.begin_serving().await;
    let (node, own) = (world.app.clone(), world.door.clone());
    tokio::select! {
        stopped = node.keep_serving() => panic!("{stopped:?}"),
        () = async {
            // As a local command does, it changes the database and decides nothing.
            let beside = world.open_beside().await.unwrap();
            let other = Routers::new(beside.clone(), Transport::default()).unwrap().everything();
            for round in 0..20 {
                world.door = other.clone();
                let begun = Instant::now();
                let owner = world.owner().await;
                match round % 2 {
                    0 => disable(&owner, &client).await.ok(),
                    _ => enable(&owner, &client).await.ok(),
                };
                assert!(begun.elapsed() < Duration::from_secs(5), "it need not wait for the end of the lease");
                world.door = own.clone();
                match round % 2 {
                    0 => token(&world, &client).await.is_invalid_client(),
                    _ => drop(token(&world, &client).await.is_token()),
                }
            }
            beside.close().await;
        } => {}
    }
}

async fn a_lease_is_given_up_at_the_end_and_forgotten_after_a_day(mut world: World) {
    world.app.begin_serving().await;
    assert_eq!(world.number("SELECT COUNT(*) FROM nodes WHERE released_at IS NULL").await, 1);
    world.restart().await;
    assert_eq!(world.number("SELECT COUNT(*) FROM nodes WHERE released_at IS NOT NULL").await, 1);
    assert_eq!(world.owner().await.get("/nodes").await.ok(), json!([]), "it has stopped");
    world.raw("UPDATE nodes SET lease_until = 0").await;
    world.run_jobs().await;
    assert_eq!(world.number("SELECT COUNT(*) FROM nodes").await, 0);
}

async fn the_log_keeps_what_the_slowest_node_has_not_applied(world: World) {
    let first = world.number("SELECT MIN(seq) FROM change_log").await;
    world.raw("UPDATE head SET change_seq = change_seq + 20000").await;
    another_node(&world, 0, first).await;
    // By the clock of the database: that of this world is set by hand.
    world.raw(&format!("UPDATE nodes SET lease_until = {NOW} + 3600000000")).await;
    world.run_jobs().await;
    assert_eq!(world.number("SELECT MIN(seq) FROM change_log").await, first);
    world.raw("UPDATE nodes SET released_at = 1").await;
    world.run_jobs().await;
    assert!(world.number("SELECT COALESCE(MIN(seq), 1000000) FROM change_log").await > first);
}

async fn a_node_without_a_lease_is_told_once_unless_it_was_started_again(mut world: World) {
    let server = MailServer::start().await;
    world.restart_with_mailer(Some(server.mailer())).await;
    let owner = world.owner().await;
    world.user("eve@example.com", "viewer").await;
    let told = async |world: &World| -> Vec<(String, String)> {
        world.run_jobs().await;
        while Box::pin(world.app.send_due_messages()).await.unwrap() {}
        server.take().iter().map(|it| (it.to.clone(), it.header("Subject"))).collect()
    };
    told(&world).await;
    another_node(&world, -50_000, 0).await;
    assert_eq!(told(&world).await, [], "it may come back");
    let earlier = format!("UPDATE nodes SET lease_until = {NOW} - 61000000 WHERE name = 'west'");
    world.raw(&earlier).await;
    world.raw("UPDATE nodes SET released_at = lease_until WHERE name = 'west'").await;
    assert_eq!(told(&world).await, [], "it stopped in order");
    world.raw("UPDATE nodes SET released_at = NULL WHERE name = 'west'").await;
    let expected = [(OWNER.to_owned(), "A node has no lease: west".to_owned())];
    assert_eq!(told(&world).await, expected, "the managers of the platform");
    assert_eq!(told(&world).await, [], "once");
    let event = owner.get("/audit-events?action=node.without_lease").await.ok();
    assert_eq!(event["items"][0]["details"]["name"], "west", "{event}");
    // It came back, and is gone again: another time.
    world.raw(&earlier).await;
    assert_eq!(told(&world).await, expected);
    // It was started again: another process of the same name can decide.
    world.raw(&earlier).await;
    let again = format!(
        "INSERT INTO nodes (id, name, version, started_at, lease_until, applied, uncertainty)
        VALUES ('node_{}', 'west', '0.1.0', {NOW}, {NOW} + 60000000, {}, 0)",
        base62::encode_fixed(&[8; 16], 22),
        head(&world).await + 1000
    );
    world.raw(&again).await;
    assert_eq!(told(&world).await, []);
    no_other_node(&world).await;
}
