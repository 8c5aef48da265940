//! Networks from which a client may call: who is refused, and who would be before a rule is saved.

use crate::engines::on_both_engines;
use crate::world::{Client, World};
use serde_json::{Value, json};
use std::time::Duration;

on_both_engines! {
    outside_its_networks_a_secret_is_refused_like_a_wrong_one,
    a_rule_that_locks_callers_out_names_them_first,
    what_is_no_list_of_networks_is_refused_and_changes_nothing,
    a_limited_client_keeps_its_networks_through_a_restart,
    a_proxy_that_does_not_say_for_whom_it_asks_is_in_no_network,
    as_many_callers_are_locked_out_as_were_acknowledged,
    callers_behind_a_proxy_that_forwards_nothing_are_named,
    a_caller_that_a_rule_locks_out_is_found_by_a_drill,
    callers_of_ended_secrets_and_known_networks_are_not_asked_about,
}

const INSIDE: [u8; 4] = [10, 1, 2, 3];
const OUTSIDE: [u8; 4] = [192, 0, 2, 1];

fn path(client: &Client) -> String {
    client.path("production", "")
}

async fn limit(world: &World, client: &Client, networks: Value) -> Value {
    let change = json!({"allowed_networks": networks, "acknowledge_locked_out": 100});
    world.owner().await.patch(&path(client), change).await.ok()
}

async fn outside_its_networks_a_secret_is_refused_like_a_wrong_one(world: World) {
    let client = world.client("Billing API", &["production"]).await;
    let own = client.registration("production");
    let shown = limit(&world, &client, json!(["10.0.0.0/8", "2001:db8::/32"])).await;
    assert_eq!(shown["allowed_networks"], json!(["10.0.0.0/8", "2001:db8::/32"]));
    let (inside, outside) = (
        world.oauth("production").from(INSIDE, "inside/1"),
        world.oauth("production").from(OUTSIDE, "outside/1"),
    );
    let token = inside.token(&own.client_id, &own.secret).await.is_token();
    let wrong = outside.token(&own.client_id, "wrong").await;
    let refused = outside.token(&own.client_id, &own.secret).await;
    assert_eq!(
        (refused.status, &refused.headers, &refused.bytes),
        (wrong.status, &wrong.headers, &wrong.bytes)
    );
    outside.basic("introspect", &own.client_id, &own.secret, &[("token", &token)]).await.is_invalid_client();
    outside.basic("revoke", &own.client_id, &own.secret, &[("token", &token)]).await.is_invalid_client();
    assert_eq!(inside.introspect(&own.client_id, &own.secret, &token).await["active"], true);

    world.run_jobs().await;
    let owner = world.owner().await;
    let events = owner.get("/audit-events?action=authentication.failed").await.ok();
    let reasons: Vec<_> =
        events["items"].as_array().unwrap().iter().map(|event| event["details"]["reason"].clone()).collect();
    assert!(reasons.contains(&json!("network")) && reasons.contains(&json!("wrong")), "{events}");

    limit(&world, &client, Value::Null).await;
    outside.token(&own.client_id, &own.secret).await.is_token();
}

async fn a_rule_that_locks_callers_out_names_them_first(world: World) {
    let client = world.client("Billing API", &["production"]).await;
    let own = client.registration("production");
    let owner = world.owner().await;
    for (from, agent) in [(INSIDE, "inside/1"), (OUTSIDE, "outside/1"), ([192, 0, 2, 9], "outside/2")] {
        world.oauth("production").from(from, agent).token(&own.client_id, &own.secret).await.is_token();
    }
    // Who used both secrets is one caller.
    let rotate = client.path("production", "/secrets/rotate");
    let rotated = owner.post(&rotate, client.rotation(24)).await.created();
    let new = rotated["secret"]["value"].as_str().unwrap();
    world.oauth("production").from(OUTSIDE, "outside/1").token(&own.client_id, new).await.is_token();
    let rule = |networks: Value| json!({"allowed_networks": networks});
    let problem = owner
        .patch(&path(&client), rule(json!(["10.0.0.0/8", "192.0.2.9"])))
        .await
        .refused(409, "callers_locked_out");
    let named = problem["locked_out"].as_array().unwrap();
    assert_eq!((named.len(), &named[0]["source_ip"]), (1, &json!("192.0.2.1")), "{problem}");
    assert_eq!(named[0]["user_agent"], "outside/1");
    assert!(problem["detail"].as_str().unwrap().contains("1 caller of the last 30 days"), "{problem}");
    assert_eq!(owner.get(&path(&client)).await.ok()["allowed_networks"], Value::Null, "nothing was changed");
    world.oauth("production").from(OUTSIDE, "outside/1").token(&own.client_id, &own.secret).await.is_token();

    let fits = rule(json!(["10.0.0.0/8", "192.0.2.0/24"]));
    assert_eq!(owner.patch(&path(&client), fits).await.ok()["allowed_networks"].as_array().unwrap().len(), 2);
    let event = &owner.get("/audit-events?action=registration.updated").await.ok()["items"][0]["details"];
    assert_eq!(
        (&event["before"]["allowed_networks"], &event["after"]["allowed_networks"]),
        (&Value::Null, &json!(["10.0.0.0/8", "192.0.2.0/24"]))
    );

    // Those who were seen long ago are not asked about, and neither are the callers of an ended secret.
    world.advance(Duration::from_secs(31 * 24 * 3600));
    owner.patch(&path(&client), rule(json!(["10.0.0.0/8"]))).await.ok();
}

async fn what_is_no_list_of_networks_is_refused_and_changes_nothing(world: World) {
    let client = world.client("Billing API", &["production"]).await;
    let owner = world.owner().await;
    for (networks, says) in [
        (json!([]), "1 to 64 networks; null allows every address"),
        (json!(["10.1.2.3/8"]), "must contain 10.0.0.0/8"),
        (json!(["everywhere"]), "networks such as"),
        (json!("10.0.0.0/8"), "allowed_networks"),
        (json!([7]), "allowed_networks"),
    ] {
        let problem = owner
            .patch(&path(&client), json!({"allowed_networks": networks}))
            .await
            .refused(422, "invalid_body");
        assert!(problem["detail"].as_str().unwrap().contains(says), "{networks}: {problem}");
    }
    assert_eq!(owner.get(&path(&client)).await.ok()["allowed_networks"], Value::Null);
    let viewer = world.user("viewer@example.com", "viewer").await;
    viewer.patch(&path(&client), json!({"allowed_networks": ["10.0.0.0/8"]})).await.refused(403, "forbidden");
}

async fn a_limited_client_keeps_its_networks_through_a_restart(mut world: World) {
    let client = world.client("Billing API", &["production"]).await;
    let own = client.registration("production").clone();
    limit(&world, &client, json!(["10.0.0.0/8"])).await;
    world.restart().await;
    let from = |address| world.oauth("production").from(address, "test/1");
    from(OUTSIDE).token(&own.client_id, &own.secret).await.is_invalid_client();
    from(INSIDE).token(&own.client_id, &own.secret).await.is_token();
    let rotated = world
        .owner()
        .await
        .post(&client.path("production", "/secrets/rotate"), client.rotation(24))
        .await
        .created();
    let new = rotated["secret"]["value"].as_str().unwrap();
    from(OUTSIDE).token(&own.client_id, new).await.is_invalid_client();
    from(INSIDE).token(&own.client_id, new).await.is_token();
}

async fn a_proxy_that_does_not_say_for_whom_it_asks_is_in_no_network(mut world: World) {
    let client = world.client("Billing API", &["production"]).await;
    let own = client.registration("production").clone();
    limit(&world, &client, json!(["10.0.0.0/8", "203.0.113.0/24"])).await;
    world.trust(&["10.9.0.0/16"]);
    let proxy = world.oauth("production").from([10, 9, 0, 1], "proxy/1");
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", own.client_id.as_str()),
        ("client_secret", own.secret.as_str()),
    ];
    for (forwarded, is_allowed) in [
        (Some("203.0.113.5"), true),
        (Some("198.51.100.1, 203.0.113.5"), true),
        (Some("10.1.2.3, 10.9.0.2"), true),
        (Some("198.51.100.1"), false),
        (Some("unknown"), false),
        (Some("203.0.113.5, x"), false),
        (Some("10.9.0.7"), false),
        (Some(""), false),
        (None, false),
    ] {
        let headers: Vec<_> = forwarded.iter().map(|hops| ("x-forwarded-for", *hops)).collect();
        let answer = proxy.form("token", &form, &headers).await;
        assert_eq!(answer.status.as_u16(), if is_allowed { 200 } else { 401 }, "{forwarded:?}");
    }
}

async fn callers_of_ended_secrets_and_known_networks_are_not_asked_about(world: World) {
    let client = world.client("Billing API", &["production"]).await;
    let own = client.registration("production");
    let owner = world.owner().await;
    world.oauth("production").from(OUTSIDE, "old/1").token(&own.client_id, &own.secret).await.is_token();
    owner.post(&client.path("production", "/secrets/rotate"), client.rotation(0)).await.created();
    let rule = json!({"allowed_networks": ["10.0.0.0/8"]});
    owner.patch(&path(&client), rule.clone()).await.ok();
    owner.patch(&path(&client), rule).await.ok();
    let stale = owner
        .call(
            http::Method::PATCH,
            &path(&client),
            Some(json!({"allowed_networks": ["192.0.2.0/24"]}).to_string()),
            &[("if-match", "\"1\"")],
        )
        .await;
    stale.refused(412, "precondition_failed");
}

async fn as_many_callers_are_locked_out_as_were_acknowledged(world: World) {
    let client = world.client("Billing API", &["production"]).await;
    let own = client.registration("production");
    let owner = world.owner().await;
    let is_used = async |agent: &str| {
        world.oauth("production").from(OUTSIDE, agent).token(&own.client_id, &own.secret).await.is_token();
    };
    is_used("outside/1").await;
    let rule = |count: Value| json!({"allowed_networks": ["10.0.0.0/8"], "acknowledge_locked_out": count});
    let problem = owner.patch(&path(&client), rule(Value::Null)).await.refused(409, "callers_locked_out");
    assert_eq!(
        (&problem["locked_out_count"], problem["locked_out"].as_array().unwrap().len()),
        (&json!(1), 1)
    );
    is_used("outside/2").await;
    let problem = owner.patch(&path(&client), rule(json!(1))).await.refused(409, "callers_locked_out");
    assert_eq!(problem["locked_out_count"], 2, "one that was not shown");
    owner.patch(&path(&client), rule(json!(true))).await.refused(422, "invalid_body");
    owner.patch(&path(&client), rule(json!(2))).await.ok();
    let event = &owner.get("/audit-events?action=registration.updated").await.ok()["items"][0]["details"];
    assert_eq!(event["locked_out_count"], 2);
}

async fn callers_behind_a_proxy_that_forwards_nothing_are_named(mut world: World) {
    world.trust(&["10.9.0.0/16"]);
    let client = world.client("Billing API", &["production"]).await;
    let own = client.registration("production").clone();
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", own.client_id.as_str()),
        ("client_secret", own.secret.as_str()),
    ];
    world.oauth("production").from([10, 9, 0, 1], "proxy/1").form("token", &form, &[]).await.is_token();
    let rule = json!({"allowed_networks": ["10.0.0.0/8"]});
    let problem = world.owner().await.patch(&path(&client), rule).await.refused(409, "callers_locked_out");
    assert_eq!(problem["locked_out"][0]["source_ip"], "10.9.0.1");
}

async fn a_caller_that_a_rule_locks_out_is_found_by_a_drill(world: World) {
    let client = world.client("Billing API", &["production"]).await;
    let own = client.registration("production");
    let owner = world.owner().await;
    owner.post(&client.path("production", "/secrets/rotate"), client.rotation(24)).await.created();
    let drill = json!({"length_seconds": 60, "reason": "test", "confirm_client_name": "Billing API"});
    owner.post(&client.path("production", "/drills"), drill).await.created();
    limit(&world, &client, json!(["10.0.0.0/8"])).await;
    world
        .oauth("production")
        .from(OUTSIDE, "late/1")
        .token(&own.client_id, &own.secret)
        .await
        .is_invalid_client();
    world.advance(Duration::from_secs(120));
    world.run_jobs().await;
    let finished = owner.get("/audit-events?action=drill.finished").await.ok();
    let details = &finished["items"][0]["details"];
    assert_eq!(
        (&details["caller_count"], &details["callers"][0]["user_agent"]),
        (&json!(1), &json!("late/1"))
    );
}
