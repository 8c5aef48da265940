//! The audit trail: refusals, failed authentications, who may read what of it, export and retention.

use crate::engines::on_both_engines;
use crate::world::{Client, Principal, World};
use crossfade_app::AddressPolicy;
use http::Method;
use serde_json::{Value, json};
use std::{collections::BTreeSet, time::Duration};

on_both_engines! {
    a_refusal_names_who_what_and_from_where,
    what_is_hidden_is_not_told_by_the_time_that_a_refusal_takes_to_be_written,
    refusals_that_come_too_fast_are_gathered_and_none_is_lost,
    gathered_refusals_that_could_not_be_written_are_written_later,
    whoever_may_not_do_a_thing_does_not_wait_for_the_one_writer,
    a_read_writes_evidence_down_for_those_alone_who_may_read_it,
    a_filter_that_finds_little_in_a_long_trail_is_answered_page_by_page,
    failed_authentications_stand_in_the_trail_with_their_reason,
    a_flood_of_failures_is_a_bounded_number_of_events,
    addresses_are_stored_as_the_policy_says_wherever_they_are_stored,
    an_auditor_of_one_property_reads_what_concerns_it,
    an_export_is_the_whole_trail_oldest_first_and_is_itself_an_event,
    a_retention_takes_whole_days_away_and_says_so,
}

const HOUR: Duration = Duration::from_secs(3600);

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is not a text")).to_owned()
}

async fn events(principal: &Principal<'_>, filter: &str) -> Vec<Value> {
    let page = principal.get(&format!("/audit-events?limit=200&{filter}")).await.ok();
    page["items"].as_array().unwrap().clone()
}

/// Somebody with a role on the property of a client, in one environment or in all.
async fn holder<'w>(world: &'w World, role: &str, client: &Client, environments: Value) -> Principal<'w> {
    let owner = world.owner().await;
    let property = owner.get(&format!("/clients/{}", client.id)).await.ok()["property_id"].clone();
    let email = format!("{role}-{}@example.com", environments.as_array().map_or(0, Vec::len));
    let user = text(&owner.post("/users", json!({"email": email})).await.created()["id"]);
    let body = json!({"role": role, "property_id": property, "environments": environments});
    owner.post(&format!("/users/{user}/grants"), body).await.created();
    world.token_of(&email, &[]).await
}

async fn a_refusal_names_who_what_and_from_where(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let other = world.client("Other", &["production"]).await;
    let viewer = holder(&world, "viewer", &client, Value::Null).await;
    let answer = viewer.post(&client.path("production", "/secrets/rotate"), client.rotation(0)).await;
    let request_id = answer.request_id.clone().unwrap();
    answer.refused(403, "forbidden");
    // A read of what is there and not theirs counts; one of what is not there is a slip.
    viewer.get(&format!("/clients/{}", other.id)).await.refused(404, "not_found");
    viewer.get("/clients/cl_0000000000000000000000").await.refused(404, "not_found");
    let owner = world.owner().await;
    let refused = events(&owner, "outcome=refused").await;
    assert_eq!(refused.len(), 2, "{refused:?}");
    assert_eq!(refused[1]["client_id"], client.id.as_str());
    assert_eq!(
        (&refused[1]["environment"], &refused[1]["source_ip"]),
        (&json!("production"), &json!("192.0.2.200"))
    );
    assert_eq!(refused[1]["request_id"], request_id.as_str());
    assert_eq!(
        refused[1]["details"],
        json!({"operation": "rotate_secret", "code": "forbidden", "field": null, "count": 1})
    );
    assert_eq!(
        (&refused[0]["client_id"], &refused[0]["details"]["operation"]),
        (&json!(other.id), &json!("read_client"))
    );
}

async fn what_is_hidden_is_not_told_by_the_time_that_a_refusal_takes_to_be_written(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let other = world.client("Other", &["production"]).await;
    let viewer = holder(&world, "viewer", &client, Value::Null).await;
    let rotate = |id: &str| format!("/clients/{id}/environments/production/secrets/rotate");
    viewer.get(&format!("/clients/{}", client.id)).await.ok();
    // Nothing can be written; what is not theirs is answered as what is not there, at once.
    let held = world.hold_writes().await;
    let refusals = async {
        for id in [other.id.as_str(), "cl_0000000000000000000000"] {
            viewer.get(&format!("/clients/{id}")).await.refused(404, "not_found");
            viewer.post(&rotate(id), client.rotation(0)).await.refused(404, "not_found");
        }
    };
    tokio::time::timeout(Duration::from_secs(20), refusals).await.expect("answered without a write");
    drop(held);
    let count = "SELECT COUNT(*) FROM audit_events WHERE action = 'access.refused'";
    assert_eq!(world.number(count).await, 0);
    world.run_jobs().await;
    // A read of what is not there is a slip; an attempt to change it is told.
    assert_eq!(world.number(count).await, 3);
    let owner = world.owner().await;
    let of_other = events(&owner, &format!("outcome=refused&client={}", other.id)).await;
    assert_eq!(of_other.len(), 2, "{of_other:?}");
}

async fn refusals_that_come_too_fast_are_gathered_and_none_is_lost(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let viewer = holder(&world, "viewer", &client, Value::Null).await;
    for _ in 0..200 {
        viewer
            .post(&client.path("production", "/secrets/rotate"), client.rotation(0))
            .await
            .refused(403, "forbidden");
    }
    let owner = world.owner().await;
    let told = async || -> Vec<u64> {
        events(&owner, "outcome=refused")
            .await
            .iter()
            .map(|it| it["details"]["count"].as_u64().unwrap())
            .collect()
    };
    assert_eq!(told().await.len(), 60);
    world.advance(Duration::from_secs(60));
    world.run_jobs().await;
    let counts = told().await;
    assert_eq!((counts.len(), counts.iter().sum::<u64>(), counts[0]), (61, 200, 140));
    for event in events(&owner, "outcome=refused").await {
        assert_eq!(
            event["reason"], "You can read this resource, but you do not have permission for this action.",
            "gathered or not: {event}"
        );
    }
}

async fn gathered_refusals_that_could_not_be_written_are_written_later(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let viewer = holder(&world, "viewer", &client, Value::Null).await;
    for _ in 0..70 {
        viewer
            .post(&client.path("production", "/secrets/rotate"), client.rotation(0))
            .await
            .refused(403, "forbidden");
    }
    world.advance(Duration::from_secs(60));
    world.raw("ALTER TABLE audit_events RENAME TO audit_events_away").await;
    assert!(world.app.run_jobs().await.is_err());
    world.raw("ALTER TABLE audit_events_away RENAME TO audit_events").await;
    world.run_jobs().await;
    let counts = events(&world.owner().await, "outcome=refused").await;
    assert_eq!(counts.iter().map(|it| it["details"]["count"].as_u64().unwrap()).sum::<u64>(), 70);
}

async fn whoever_may_not_do_a_thing_does_not_wait_for_the_one_writer(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let viewer = holder(&world, "viewer", &client, Value::Null).await;
    let path = client.path("production", "/secrets/rotate");
    // Beyond these a refusal is gathered and not written.
    for _ in 0..60 {
        viewer.post(&path, client.rotation(0)).await.refused(403, "forbidden");
    }
    let held = world.hold_writes().await;
    viewer.post(&path, client.rotation(0)).await.refused(403, "forbidden");
    for path in ["/clients/cl_0000000000000000000000", "/tokens/tok_0000000000000000000000"] {
        let body = Some(json!({"reason": "x", "confirm_client_name": "x"}).to_string());
        viewer.call(Method::DELETE, path, body, &[("idempotency-key", path)]).await.refused(404, "not_found");
    }
    drop(held);
}

async fn a_read_writes_evidence_down_for_those_alone_who_may_read_it(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let it = client.registration("production");
    let nobody = world.user("eve@example.com", "viewer").await;
    let user = text(&nobody.get("/me").await.ok()["user"]["id"]);
    world.raw(&format!("DELETE FROM grants WHERE user_id = '{user}'")).await;
    world.oauth("production").token(&it.client_id, &it.secret).await.is_token();
    let written = async || world.number("SELECT COUNT(*) FROM secret_usage").await;
    for rest in ["/secrets", "/rotations", "/usage"] {
        nobody.get(&client.path("production", rest)).await.refused(404, "not_found");
    }
    for path in ["/audit-events", "/audit-events/export", "/authentication-failures"] {
        nobody.get(path).await.refused(403, "forbidden");
    }
    let session = world.person("eve2@example.com", "viewer").await;
    world.raw("DELETE FROM grants WHERE role = 'viewer'").await;
    session.get("/console").await;
    assert_eq!(written().await, 0);
    let owner = world.owner().await;
    owner.get(&client.path("production", "/usage")).await.ok();
    assert_eq!(written().await, 1);
    // When a token was used is written by the worker and by no read.
    let used = async || world.number("SELECT COUNT(*) FROM api_tokens WHERE last_used_at IS NOT NULL").await;
    assert_eq!(used().await, 0);
    world.run_jobs().await;
    assert!(used().await > 0);
}

async fn a_filter_that_finds_little_in_a_long_trail_is_answered_page_by_page(world: World) {
    let owner = world.owner().await;
    // The rows that follow continue no chain, so the server signs nothing more.
    world.ends_unable_to_run_jobs();
    let next = world.number("SELECT audit_seq + 1 FROM head").await;
    let (last, at) = (next + 130_000, world.now().as_micros());
    world.raw(&format!(
            "WITH RECURSIVE numbers (n) AS (SELECT {next} UNION ALL SELECT n + 1 FROM numbers WHERE n < {last})
             INSERT INTO audit_events (seq, at, actor_kind, actor_id, actor_name, action, outcome, environment, details)
             SELECT n, {at}, 'machine', 'init', 'x', 'secret.rotated', 'done', CASE n WHEN {next} THEN 'staging' END, '{{}}' FROM numbers;
             UPDATE head SET audit_seq = {last}"
        )).await;
    let first = owner.get("/audit-events?environment=staging").await.ok();
    assert_eq!(first["items"], json!([]), "looked at 100,000");
    let cursor = text(&first["next_cursor"]);
    let second = owner.get(&format!("/audit-events?environment=staging&cursor={cursor}")).await.ok();
    assert_eq!((second["items"][0]["seq"].as_i64(), &second["next_cursor"]), (Some(next), &Value::Null));
}

async fn failed_authentications_stand_in_the_trail_with_their_reason(world: World) {
    let client = world.client("Billing", &["production", "staging"]).await;
    let owner = world.owner().await;
    let it = client.registration("production").clone();
    let oauth = world.oauth("production");
    let first = owner.post(&client.path("production", "/secrets/rotate"), client.rotation(0)).await.created();
    oauth.token(&it.client_id, &it.secret).await.is_invalid_client();
    let second = text(&first["secret"]["value"]);
    owner.post(&client.path("production", "/secrets/rotate"), client.rotation(24)).await.created();
    let revoke = format!("/secrets/{}/revoke", text(&first["secret"]["id"]));
    owner.post(&client.path("production", &revoke), json!({"reason": "done"})).await.ok();
    oauth.token(&it.client_id, &second).await.is_invalid_client();
    oauth.token(&it.client_id, "wrong").await.is_invalid_client();
    oauth.token("nobody", "wrong").await.is_invalid_client();
    oauth
        .form("token", &[("grant_type", "client_credentials")], &[("authorization", "Basic %")])
        .await
        .is_invalid_client();
    let path = client.path("staging", "");
    owner.patch(&path, json!({"token_endpoint_auth_methods": ["client_secret_post"]})).await.ok();
    let staging = client.registration("staging");
    world.oauth("staging").token(&staging.client_id, &staging.secret).await.is_invalid_client();
    owner.patch(&path, json!({"enabled": false, "confirm_client_name": "Billing"})).await.ok();
    for _ in 0..3 {
        world.oauth("staging").token_by_post(&staging.client_id, &staging.secret).await.is_invalid_client();
    }
    let failures = owner.get("/authentication-failures").await.ok()["items"].as_array().unwrap().clone();
    let of = |reason: &str| {
        failures.iter().find(|it| it["reason"] == reason).unwrap_or_else(|| panic!("{reason}: {failures:?}"))
    };
    for reason in ["expired", "revoked", "wrong", "method"] {
        assert_eq!(
            (&of(reason)["client_id"], &of(reason)["count"]),
            (&json!(client.id), &json!(1)),
            "{reason}"
        );
    }
    assert_eq!(of("expired")["secret_id"], it.secret_id.as_str());
    assert_eq!(of("revoked")["secret_id"], first["secret"]["id"]);
    assert_eq!((&of("disabled")["count"], &of("disabled")["environment"]), (&json!(3), &json!("staging")));
    for reason in ["unknown_client", "malformed"] {
        assert!(of(reason)["client_id"].is_null() && of(reason)["environment"].is_null(), "{reason}");
    }
    let told = events(&owner, "action=authentication.failed").await;
    let reasons: BTreeSet<String> = told.iter().map(|it| text(&it["details"]["reason"])).collect();
    assert_eq!(reasons.len(), 7, "{reasons:?}");
    let expired = told.iter().find(|it| it["details"]["reason"] == "expired").unwrap();
    assert_eq!(expired["actor"], json!({"kind": "client", "id": it.client_id, "name": "Billing"}));
    assert_eq!((&expired["outcome"], &expired["source_ip"]), (&json!("refused"), &json!("192.0.2.1")));
    // The hour is summed once, when it has ended.
    world.advance(HOUR + Duration::from_secs(61));
    world.run_jobs().await;
    world.run_jobs().await;
    let sums = events(&owner, "action=authentication.failures").await;
    let disabled: Vec<_> = sums.iter().filter(|it| it["details"]["reason"] == "disabled").collect();
    assert_eq!((sums.len(), disabled.len()), (7, 1), "{sums:?}");
    assert_eq!(
        (&disabled[0]["details"]["count"], &disabled[0]["details"]["sources"]),
        (&json!(3), &json!(1))
    );
    for (filter, count) in
        [("reason=wrong", 1), ("environment=staging", 2), ("since=2030-01-01T00:00:00Z", 0)]
    {
        let page = owner.get(&format!("/authentication-failures?{filter}")).await.ok();
        assert_eq!(page["items"].as_array().unwrap().len(), count, "{filter}");
    }
}

async fn a_flood_of_failures_is_a_bounded_number_of_events(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let client_id = &client.registration("production").client_id;
    for n in 0..=255 {
        let oauth = world.oauth("production").from([198, n, 100, 1], "flood");
        oauth.token(client_id, "wrong").await.is_invalid_client();
        oauth.token("nobody", "wrong").await.is_invalid_client();
    }
    let owner = world.owner().await;
    owner.get("/authentication-failures").await.ok();
    let told = events(&owner, "action=authentication.failed").await;
    assert_eq!(told.len(), 40, "twenty of the client, twenty of nobody known");
    world.advance(HOUR + Duration::from_secs(61));
    world.run_jobs().await;
    let sums = events(&owner, "action=authentication.failures").await;
    let counts: Vec<_> =
        sums.iter().map(|it| (it["details"]["count"].clone(), it["details"]["sources"].clone())).collect();
    assert_eq!(counts, [(json!(256), json!(256)), (json!(256), json!(256))]);
}

async fn an_auditor_of_one_property_reads_what_concerns_it(world: World) {
    let own = world.client("Own", &["production", "staging"]).await;
    let foreign = world.client("Foreign", &["production"]).await;
    let owner = world.owner().await;
    for (client, environment) in [(&own, "production"), (&own, "staging"), (&foreign, "production")] {
        owner.post(&client.path(environment, "/secrets/rotate"), client.rotation(1)).await.created();
    }
    world
        .oauth("production")
        .token(&foreign.registration("production").client_id, "wrong")
        .await
        .is_invalid_client();
    world.oauth("production").token("nobody", "wrong").await.is_invalid_client();
    world
        .oauth("production")
        .token(&own.registration("production").client_id, "wrong")
        .await
        .is_invalid_client();
    let auditor = holder(&world, "auditor", &own, Value::Null).await;
    let all = events(&auditor, "").await;
    assert!(!all.is_empty() && all.iter().all(|it| it["client_id"] == own.id.as_str()), "{all:?}");
    assert_eq!(events(&auditor, &format!("client={}", foreign.id)).await, Vec::<Value>::new());
    let failures = auditor.get("/authentication-failures").await.ok()["items"].clone();
    assert_eq!(failures.as_array().unwrap().len(), 1, "{failures}");
    let narrow = holder(&world, "auditor", &own, json!(["staging"])).await;
    let seen = events(&narrow, "").await;
    assert!(!seen.is_empty() && seen.iter().all(|it| it["environment"] == "staging"), "{seen:?}");
    // Pages are cut after what may not be read has been left out.
    let (mut path, mut paged) = ("/audit-events?limit=2".to_owned(), Vec::new());
    loop {
        let page = auditor.get(&path).await.ok();
        paged.extend(page["items"].as_array().unwrap().iter().map(|it| it["seq"].clone()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/audit-events?limit=2&cursor={cursor}");
    }
    assert_eq!(paged, all.iter().map(|it| it["seq"].clone()).collect::<Vec<_>>());
    // What of a deleted client stands in the trail stays readable to whoever audits its property.
    owner.delete(&format!("/clients/{}", own.id), json!({"confirm_client_name": "Own", "reason": "x"})).await;
    assert_eq!(events(&auditor, "action=client.deleted").await.len(), 1);
    assert!(exported(&auditor, "").await.iter().all(|it| it["client_id"] == own.id.as_str()));
}

async fn an_export_is_the_whole_trail_oldest_first_and_is_itself_an_event(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    for n in 0..600 {
        owner.patch(&format!("/clients/{}", client.id), json!({"description": format!("{n}")})).await.ok();
    }
    let lines = exported(&owner, "").await;
    let seqs: Vec<_> = lines.iter().map(|it| it["seq"].as_i64().unwrap()).collect();
    assert_eq!(seqs, (1..=seqs.len() as i64).collect::<Vec<_>>());
    assert!(seqs.len() > 600);
    let event = &events(&owner, "action=audit.exported").await[0];
    assert_eq!(event["details"], json!({"filter": "", "up_to_seq": seqs.len()}));
    let filter = format!("action=client.updated&client={}", client.id);
    assert_eq!(exported(&owner, &filter).await.len(), 600);
    owner.get("/audit-events/export?limit=5").await.refused(400, "invalid_query");
}

async fn a_retention_takes_whole_days_away_and_says_so(mut world: World) {
    let client = world.client("Billing", &["production"]).await;
    let token = world.owner().await.token;
    world.restart_with_retention(30).await;
    world.run_jobs().await;
    let owner = Principal { world: &world, token: token.clone() };
    let before = events(&owner, "").await.len();
    assert!(before > 3);
    world.advance(29 * 24 * HOUR);
    world.run_jobs().await;
    assert_eq!(events(&owner, "").await.len(), before, "not yet");
    world.advance(2 * 24 * HOUR);
    world.run_jobs().await;
    world.run_jobs().await;
    let left = events(&owner, "").await;
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(left[0]["action"], "audit.trimmed");
    assert_eq!(left[0]["details"], json!({"events": before, "up_to_seq": before, "retention_days": 30}));
    assert_eq!(left[0]["seq"].as_u64(), Some(before as u64 + 1));
    // The history of rotations is not the trail, and stays.
    owner.get(&client.path("production", "/secrets")).await.ok();
}

/// The events of an export.
async fn exported(principal: &Principal<'_>, filter: &str) -> Vec<Value> {
    let answer = principal.call(Method::GET, &format!("/audit-events/export?{filter}"), None, &[]).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, Some("application/jsonl")));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let text = String::from_utf8(answer.bytes).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line.get("statement").is_none()).collect()
}

/// Every column of the schema that holds an address of a caller. Addresses of declared proxies are not of a caller.
const WITH_ADDRESSES: [&str; 6] = [
    "audit_events",
    "authentication_failures",
    "refused_callers",
    "secret_usage_sources",
    "sessions",
    "token_revocations",
];

async fn addresses_are_stored_as_the_policy_says_wherever_they_are_stored(mut world: World) {
    let client = world.client("Billing", &["production"]).await;
    for policy in [AddressPolicy::Truncated, AddressPolicy::Hashed] {
        for table in WITH_ADDRESSES {
            world.raw(&format!("DELETE FROM {table}")).await;
        }
        world.restart_with_addresses(policy).await;
        let production = client.registration("production");
        let oauth = world.oauth("production").from([198, 51, 100, 77], "worker/1");
        let token = oauth.token(&production.client_id, &production.secret).await.is_token();
        oauth.token(&production.client_id, "crossfade_secret_of_nobody").await.is_invalid_client();
        let form = [("token", token.as_str())];
        oauth.basic("revoke", &production.client_id, &production.secret, &form).await;
        world.signed_in().await;
        world.owner().await.get("/clients/cl_0000000000000000000000").await.refused(404, "not_found");
        world.run_jobs().await;
        for table in WITH_ADDRESSES {
            let full = format!(
                "SELECT COUNT(*) FROM {table} WHERE source_ip <> '' AND source_ip NOT LIKE '%/24' AND source_ip NOT LIKE 'hashed:%'"
            );
            assert_eq!(world.number(&full).await, 0, "{policy:?} {table}");
        }
        assert_eq!(
            world.number("SELECT COUNT(*) FROM audit_events WHERE details LIKE '%198.51.100.77%'").await,
            0,
            "{policy:?}"
        );
        let owner = world.owner().await;
        let failed = &events(&owner, "action=authentication.failed").await[0];
        assert_eq!(failed["source_ip"], failed["details"]["source_ip"]);
        let expected = if policy == AddressPolicy::Truncated { "198.51.100.0/24" } else { "hashed:" };
        for action in ["authentication.failed", "access_token.revoked"] {
            let [event] = &events(&owner, &format!("action={action}")).await[..] else { panic!("{action}") };
            assert!(text(&event["source_ip"]).starts_with(expected), "{event}");
        }
        let [created] = &events(&owner, "action=session.created").await[..] else { panic!("one session") };
        assert!(
            text(&created["source_ip"]).starts_with(&expected.replace("198.51.100", "192.0.2")),
            "{created}"
        );
    }
}
