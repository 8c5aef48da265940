//! Costly reads are bounded for each account, and readings of evidence are kept for a second.

use crate::engines::on_both_engines;
use crate::world::{Principal, World};
use serde_json::Value;
use std::{task::Poll, time::Duration};

on_both_engines! {
    an_account_with_two_costly_reads_gets_no_third,
    a_reading_is_kept_for_a_second_for_those_who_may_read_it,
    a_change_is_in_the_next_reading,
    a_refused_read_is_in_the_trail,
    the_page_of_a_person_waits_for_its_turn,
}

const SECOND: Duration = Duration::from_secs(1);
const MICRO: Duration = Duration::from_micros(1);

async fn uses(principal: &Principal<'_>, path: &str) -> u64 {
    let answer = principal.get(path).await.ok();
    answer["items"].as_array().unwrap().iter().map(|it| it["use_count"].as_u64().unwrap()).sum()
}

async fn an_account_with_two_costly_reads_gets_no_third(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let registration = client.registration("production");
    let rotate = client.path("production", "/secrets/rotate");
    world.owner().await.post(&rotate, client.rotation(24)).await.created();
    let (first, second) =
        (world.user("ada@example.com", "viewer").await, world.token_of("ada@example.com", &[]).await);
    let other = world.user("bob@example.com", "viewer").await;
    world.oauth("production").token(&registration.client_id, &registration.secret).await.is_token();
    // Evidence waits to be stored, and a verdict waits for it for longer than a read waits for its turn.
    let held = world.hold_writes().await;
    let path = |seconds: u32| client.path("production", &format!("/change-over?quiet_seconds={seconds}"));
    let paths: Vec<_> = (61..=65).map(path).collect();
    let mut reads: Vec<_> = [(&first, 0), (&second, 1), (&second, 2), (&other, 3)]
        .map(|(principal, path)| Box::pin(principal.get(&paths[path])))
        .into();
    // The first answer is the refusal of one of three.
    let (at, refused) = std::future::poll_fn(|context| {
        let done = reads.iter_mut().enumerate().find_map(|(at, read)| match read.as_mut().poll(context) {
            Poll::Ready(answer) => Some((at, answer)),
            Poll::Pending => None,
        });
        done.map_or(Poll::Pending, Poll::Ready)
    })
    .await;
    assert!(at < 3, "another account has turns of its own");
    assert_eq!(refused.header("retry-after"), Some("1"));
    refused.refused(429, "too_many_requests");
    first.get(&format!("/clients/{}", client.id)).await.ok();
    drop(held);
    drop(reads.remove(at));
    for read in reads {
        read.await.ok();
    }
    second.get(&paths[at]).await.ok();
}

async fn the_page_of_a_person_waits_for_its_turn(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let registration = client.registration("production");
    let rotate = client.path("production", "/secrets/rotate");
    world.owner().await.post(&rotate, client.rotation(24)).await.created();
    let viewer = world.user("ada@example.com", "operations_manager").await;
    let browser = world.person("eve@example.com", "operations_manager").await;
    let of = |email: &str| format!("/users?q={email}");
    let found = world.owner().await.get(&of("ada@example.com")).await.ok();
    let page = format!("/console/people/{}", found["items"][0]["id"].as_str().unwrap());
    let same = world.token_of("eve@example.com", &[]).await;
    browser.get(&page).await.page(200);
    world.oauth("production").token(&registration.client_id, &registration.secret).await.is_token();
    let held = world.hold_writes().await;
    let path = |seconds: u32| client.path("production", &format!("/change-over?quiet_seconds={seconds}"));
    let (first, second) = (path(61), path(62));
    let mut reads: Vec<_> =
        [(&same, &first), (&same, &second)].map(|(principal, path)| Box::pin(principal.get(path))).into();
    // Both of the account run, so its page waits, and the page of another account does not.
    std::future::poll_fn(|context| {
        assert!(reads.iter_mut().all(|read| read.as_mut().poll(context).is_pending()));
        Poll::Ready(())
    })
    .await;
    // Their tasks have come to their turns when other requests have passed them.
    for _ in 0..5 {
        viewer.get(&of("ada@example.com")).await.ok();
    }
    let (refused, ()) = tokio::join!(browser.get(&page), async {
        viewer.get(&of("ada@example.com")).await.ok();
    });
    refused.page(429);
    drop(held);
    for read in reads {
        read.await.ok();
    }
    browser.get(&page).await.page(200);
}

async fn a_reading_is_kept_for_a_second_for_those_who_may_read_it(mut world: World) {
    let client = world.client("Billing", &["production", "staging"]).await;
    let registration = client.registration("production").clone();
    world.restart_with_readings_kept(SECOND).await;
    let owner = world.owner().await;
    let path = client.path("production", "/usage");
    let token = async || {
        let answer = world.oauth("production").token(&registration.client_id, &registration.secret).await;
        answer.is_token();
    };
    token().await;
    assert_eq!(uses(&owner, &path).await, 1);
    token().await;
    assert_eq!(uses(&owner, &path).await, 1, "kept");
    assert_eq!(uses(&owner, &format!("{path}?limit=7")).await, 2, "other parameters are another reading");
    assert_eq!(uses(&owner, &client.path("staging", "/usage")).await, 0, "so is another registration");
    // A caller who may not read it learns nothing of it, before and after a right is removed.
    world.user("ada@example.com", "operations_manager").await;
    let ada = world.token_of("ada@example.com", &["audit:read"]).await;
    assert!([403, 404].contains(&ada.get(&path).await.status.as_u16()));
    let viewer = world.user("bob@example.com", "viewer").await;
    assert_eq!(uses(&viewer, &path).await, 1, "the reading of another account");
    world.raw("DELETE FROM grants WHERE role = 'viewer'").await;
    assert_eq!(viewer.get(&path).await.status.as_u16(), 404);
    world.advance(SECOND - MICRO);
    assert_eq!(uses(&owner, &path).await, 1);
    world.advance(MICRO);
    assert_eq!(uses(&owner, &path).await, 2);
}

async fn a_change_is_in_the_next_reading(mut world: World) {
    let client = world.client("Billing", &["production"]).await;
    world.restart_with_readings_kept(SECOND).await;
    let owner = world.owner().await;
    let path = client.path("production", "/change-over");
    let rotate = async || -> Value {
        let body = client.rotation(0);
        owner.post(&client.path("production", "/secrets/rotate"), body).await.created()
    };
    for _ in 0..3 {
        let rotated = rotate().await;
        assert_eq!(owner.get(&path).await.ok()["rotation_id"], rotated["rotation"]["id"]);
    }
}

async fn a_refused_read_is_in_the_trail(world: World) {
    let auditor = world.user("ada@example.com", "auditor").await;
    assert!([403, 404].contains(&auditor.get("/users").await.status.as_u16()));
    let trail = world.owner().await.get("/audit-events?action=access.refused").await.ok();
    assert_eq!(trail["items"][0]["details"]["operation"], "list_users", "{trail}");
}
