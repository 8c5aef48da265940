//! A rotation that requires an age of the current secret changes nothing while the secret is younger.

use super::{DAY, HOUR, ended_as, roll_back, rotate, rotate_keyed, rotations, storm, text, trail, with};
use crate::engines::on_both_engines;
use crate::world::{OWNER, World};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

on_both_engines! {
    a_secret_is_rotated_from_the_moment_it_is_old_enough,
    a_running_transition_has_a_young_secret_and_is_refused_only_with_an_old_one,
    a_secret_that_is_current_again_has_its_old_age,
    a_job_that_is_wrong_is_refused_although_the_secret_is_young,
    a_repeated_request_is_answered_as_the_first_time,
}

on_both_engines! {
    in parallel:
    of_jobs_at_the_same_moment_one_rotates,
}

const SECOND: Duration = Duration::from_secs(1);

fn if_older(body: Value, age: Duration) -> Value {
    with(body, json!({"if_older_than_seconds": age.as_secs()}))
}

async fn a_secret_is_rotated_from_the_moment_it_is_old_enough(mut world: World) {
    let client = world.client("Billing", &["production"]).await;
    let first = client.registration("production").secret_id.clone();
    let created_at = world.now();
    let body = if_older(client.rotation(24), DAY * 80);
    let owner = world.owner().await;
    let before = trail(&owner).await.len();
    let told = rotate(&owner, &client, body.clone()).await.ok();
    let secret = json!({"id": first, "state": "current", "created_at": created_at.to_string()});
    let old_enough_at = created_at.after(DAY * 80).to_string();
    assert_eq!(told, json!({"rotated": false, "secret": secret, "old_enough_at": old_enough_at}));
    world.advance(DAY * 80 - SECOND);
    assert_eq!(rotate(&owner, &client, body.clone()).await.ok()["rotated"], false, "a second before");
    assert_eq!(trail(&owner).await.len(), before, "nothing was done");
    world.restart().await;
    let owner = world.owner().await;
    assert_eq!(rotate(&owner, &client, body.clone()).await.ok()["secret"]["id"], first, "after a restart");
    world.advance(SECOND);
    let reply = rotate(&owner, &client, body.clone()).await.created();
    assert_eq!((&reply["rotated"], &reply["previous_secret"]["id"]), (&json!(true), &json!(first)));
    // The next run finds a young secret, whose transition runs.
    let again = rotate(&owner, &client, body.clone()).await.ok();
    assert_eq!((&again["rotated"], &again["secret"]["id"]), (&json!(false), &reply["secret"]["id"]));
    world.advance(DAY * 80 + SECOND);
    rotate(&owner, &client, body).await.created();
    assert_eq!(ended_as(&owner, &client).await, ["retiring", "expired"]);
}

async fn a_running_transition_has_a_young_secret_and_is_refused_only_with_an_old_one(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    rotate(&owner, &client, client.rotation(168)).await.created();
    world.advance(HOUR * 2 - SECOND);
    let hourly = if_older(client.rotation(24), HOUR * 2);
    assert_eq!(rotate(&owner, &client, hourly.clone()).await.ok()["rotated"], false, "young");
    world.advance(SECOND);
    rotate(&owner, &client, hourly.clone()).await.refused(409, "transition_in_progress");
    let ending = with(hourly.clone(), json!({"end_running_transition": true}));
    rotate(&owner, &client, ending.clone()).await.created();
    assert_eq!(rotate(&owner, &client, ending).await.ok()["rotated"], false, "ends nothing when young");
    assert_eq!(ended_as(&owner, &client).await, ["retiring", "superseded"]);
}

async fn a_secret_that_is_current_again_has_its_old_age(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    world.advance(DAY * 90);
    let body = if_older(client.rotation(24), DAY * 80);
    let reply = rotate(&owner, &client, body.clone()).await.created();
    let id = &reply["rotation"]["id"];
    roll_back(&owner, &client, id, json!({"reason": "the host did not get it"})).await.ok();
    let again = rotate(&owner, &client, body).await.created();
    assert_eq!(again["previous_secret"]["id"], client.registration("production").secret_id);
}

async fn a_job_that_is_wrong_is_refused_although_the_secret_is_young(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let body = if_older(client.rotation(24), DAY);
    for (wrong, code) in [
        (json!({"confirm_client_name": "Bill"}), "confirmation_mismatch"),
        (json!({"transition_hours": 169}), "transition_out_of_range"),
        (json!({"if_older_than_seconds": 0}), "invalid_body"),
        (json!({"if_older_than_seconds": 315_360_001}), "invalid_body"),
        (json!({"if_older_than_seconds": -1}), "invalid_body"),
        (json!({"if_older_than_seconds": "80d"}), "invalid_body"),
        (json!({"compromised": true, "transition_hours": 0}), "invalid_body"),
    ] {
        let problem = rotate(&owner, &client, with(body.clone(), wrong.clone())).await.refused(422, code);
        if code == "invalid_body" {
            assert_eq!(problem["field"], "if_older_than_seconds", "{wrong}");
        }
    }
    let viewer = world.user("vera@example.com", "viewer").await;
    rotate(&viewer, &client, body.clone()).await.refused(403, "forbidden");
    let blind = world.token_of(OWNER, &["client:read", "secret:rotate"]).await;
    let needing = with(body.clone(), json!({"require_value": true}));
    rotate(&blind, &client, needing).await.refused(403, "forbidden");
    assert_eq!(rotate(&blind, &client, body).await.ok()["rotated"], false);
    assert!(rotations(&owner, &client).await.is_empty());
}

async fn a_repeated_request_is_answered_as_the_first_time(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let body = if_older(client.rotation(24), DAY);
    let first = rotate_keyed(&owner, &client, &body, "tuesday").await.ok();
    world.advance(DAY);
    // The answer that changed nothing does not stand for the day on which the secret is old enough.
    let rotated = rotate_keyed(&owner, &client, &body, "tuesday").await.created();
    let again = rotate_keyed(&owner, &client, &body, "tuesday").await.created();
    assert_eq!((&again["secret"]["value"], &again["rotated"]), (&rotated["secret"]["value"], &json!(true)));
    assert_eq!(first["rotated"], false);
    assert_eq!(rotations(&owner, &client).await.len(), 1);
}

async fn of_jobs_at_the_same_moment_one_rotates(world: World) {
    let world = Arc::new(world);
    let client = world.client("Billing", &["production"]).await;
    let first = client.registration("production").secret_id.clone();
    world.advance(DAY * 81);
    let body = if_older(client.rotation(24), DAY * 80);
    // As the command sends it: each job has read the same current secret.
    let body = with(body, json!({"expected_current_secret_id": first}));
    let answers = storm(&world, &client, &body, None).await;
    let rotated: Vec<_> = answers.iter().filter(|answer| answer.status.as_u16() == 201).collect();
    assert_eq!((rotated.len(), answers.len()), (1, 50));
    let new = text(&rotated[0].json()["secret"]["id"]).to_owned();
    for answer in answers.into_iter().filter(|answer| answer.status.as_u16() != 201) {
        let told = answer.ok();
        assert_eq!((&told["rotated"], text(&told["secret"]["id"])), (&json!(false), &*new));
    }
    assert_eq!(rotations(&world.owner().await, &client).await.len(), 1);
}
