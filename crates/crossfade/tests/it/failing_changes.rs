//! What users see while the database stores no changes: told apart, never mistaken for an outage, and over by itself.

use crate::engines::{on_both_engines, on_sqlite};
use crate::world::{Answer, World};
use axum::body::Body;
use crossfade_app::Readiness;
use http::Request;
use std::{net::IpAddr, time::Duration};

on_both_engines! {
    a_change_that_is_not_stored_is_told_and_the_next_one_works,
    the_end_of_a_failure_is_noticed_although_nobody_changes_anything,
    a_refusal_is_recorded_once_changes_work_again,
    evidence_is_read_although_none_can_be_stored,
    evidence_outlives_a_reader_who_hangs_up,
    the_console_tells_a_failing_database_and_when_to_try_again,
}

on_sqlite! {
    a_server_starts_on_a_sqlite_file_that_stores_no_changes,
}

async fn look(world: &World, path: &str) -> (u16, String) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let Answer { status, bytes, .. } = world.send(request, IpAddr::from([127, 0, 0, 1])).await;
    (status.as_u16(), String::from_utf8(bytes).unwrap())
}

async fn a_change_that_is_not_stored_is_told_and_the_next_one_works(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let it = client.registration("production");
    let (owner, rotate) = (world.owner().await, client.path("production", "/secrets/rotate"));
    world.fail_commits().await;
    for _ in 0..2 {
        let answer = owner.post(&rotate, client.rotation(0)).await;
        assert_eq!(answer.header("retry-after"), Some("1"));
        let refused = answer.refused(503, "unavailable");
        let detail = refused["detail"].as_str().unwrap();
        assert!(
            detail.contains(". Nothing was changed. ") && !detail.contains("cannot be reached"),
            "{detail}"
        );
    }
    // This node decides all the same.
    world.oauth("production").token(&it.client_id, &it.secret).await.is_token();
    assert!(matches!(world.app.readiness().await, Readiness::ChangesFail(_)));
    let (status, text) = look(&world, "/readyz").await;
    assert!(status == 200 && text.starts_with("ready, but changes fail: the d"), "{status} {text}");
    let (_, metrics) = look(&world, "/metrics").await;
    assert!(metrics.contains("\ncrossfade_changes_failing 1\n"), "{metrics}");
    assert!(metrics.contains("crossfade_changes_failed_total{fault="), "{metrics}");
    world.mend_commits().await;
    owner.post(&rotate, client.rotation(0)).await.created();
    let rotated = owner.get("/audit-events?action=secret.rotated").await.ok();
    assert_eq!(rotated["items"].as_array().unwrap().len(), 1, "of what was not stored, nothing is told");
    assert_eq!(look(&world, "/readyz").await, (200, "ready\n".into()));
    assert!(look(&world, "/metrics").await.1.contains("\ncrossfade_changes_failing 0\n"));
}

async fn the_end_of_a_failure_is_noticed_although_nobody_changes_anything(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let (owner, rotate) = (world.owner().await, client.path("production", "/secrets/rotate"));
    world.fail_commits().await;
    owner.post(&rotate, client.rotation(0)).await.refused(503, "unavailable");
    assert!(world.try_jobs().await.is_err());
    assert!(matches!(world.app.readiness().await, Readiness::ChangesFail(_)));
    world.mend_commits().await;
    world.run_jobs().await;
    assert_eq!(world.app.readiness().await, Readiness::Ready);
}

async fn a_refusal_is_recorded_once_changes_work_again(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let viewer = world.user("viewer@example.com", "viewer").await;
    let rotate = client.path("production", "/secrets/rotate");
    world.fail_commits().await;
    for _ in 0..2 {
        viewer.post(&rotate, client.rotation(0)).await.refused(403, "forbidden");
    }
    world.mend_commits().await;
    world.run_jobs().await;
    assert_eq!(world.number("SELECT COUNT(*) FROM audit_events WHERE action = 'access.refused'").await, 2);
}

async fn evidence_is_read_although_none_can_be_stored(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let it = client.registration("production");
    let owner = world.owner().await;
    world.oauth("production").token(&it.client_id, &it.secret).await.is_token();
    let held = world.hold_writes().await;
    for list in ["/secrets", "/rotations", "/usage"] {
        let path = client.path("production", list);
        let answer = tokio::time::timeout(Duration::from_secs(4), owner.get(&path));
        let found = answer.await.expect("a list waits for evidence for a second").ok();
        if list == "/secrets" {
            assert_eq!(found["items"][0]["last_used_at"], world.now().to_string(), "to the moment");
        }
    }
    drop(held);
    let used = owner.get(&client.path("production", "/usage")).await.ok();
    assert_eq!(used["items"][0]["use_count"], 1, "what was not stored then is stored now, once");
}

async fn evidence_outlives_a_reader_who_hangs_up(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let it = client.registration("production");
    let (owner, usage) = (world.owner().await, client.path("production", "/usage"));
    world.oauth("production").token(&it.client_id, &it.secret).await.is_token();
    let held = world.hold_writes().await;
    tokio::time::timeout(Duration::from_millis(200), owner.get(&usage)).await.expect_err("it waits");
    drop(held);
    assert_eq!(owner.get(&usage).await.ok()["items"][0]["use_count"], 1);
    assert_eq!(world.number("SELECT COUNT(*) FROM evidence_gaps").await, 0);
}

async fn the_console_tells_a_failing_database_and_when_to_try_again(world: World) {
    let request = || {
        Request::post("/console/sign-in")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Body::from("email=owner%40example.com&password=correct+horse+battery+staple&to=%2Fconsole"))
            .unwrap()
    };
    world.owner().await;
    world.fail_commits().await;
    let answer = world.send(request(), IpAddr::from([127, 0, 0, 1])).await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, Some("1")));
    let page = String::from_utf8(answer.bytes.clone()).unwrap();
    assert!(page.contains("Nothing was changed."), "{page}");
    world.mend_commits().await;
    assert_eq!(world.send(request(), IpAddr::from([127, 0, 0, 1])).await.status.as_u16(), 303);
}

/// The fault tests start a server on a real full disk. PostgreSQL is not full in the way that these commits fail.
async fn a_server_starts_on_a_sqlite_file_that_stores_no_changes(mut world: World) {
    let client = world.client("Billing", &["production"]).await;
    let it = client.registration("production");
    world.fail_commits().await;
    world.restart().await;
    world.oauth("production").token(&it.client_id, &it.secret).await.is_token();
    assert!(matches!(world.app.readiness().await, Readiness::ChangesFail(_)));
    world.mend_commits().await;
    world.run_jobs().await;
    assert_eq!(world.app.readiness().await, Readiness::Ready);
    let recorded = "SELECT COUNT(*) FROM evidence_gaps WHERE kind = 'killed'";
    assert_eq!(world.number(recorded).await, 0, "no time passed");
}
