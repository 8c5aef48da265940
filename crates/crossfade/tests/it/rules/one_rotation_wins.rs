//! Rule 6: of rotations that expect the same current secret, one wins.

use super::{rotate, rotations, storm, text, with};
use crate::engines::on_both_engines;
use crate::world::World;
use serde_json::json;
use std::sync::Arc;

on_both_engines! {
    the_expected_current_secret_must_be_the_current_one_rule_6,
}

on_both_engines! {
    in parallel:
    of_parallel_rotations_exactly_one_wins_rule_6,
}

async fn the_expected_current_secret_must_be_the_current_one_rule_6(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let other = world.client("Other", &["production"]).await;
    let owner = world.owner().await;
    let first = client.registration("production").secret_id.clone();
    let expecting = |id: &str| with(client.rotation(0), json!({"expected_current_secret_id": id}));
    let foreign = &other.registration("production").secret_id;
    rotate(&owner, &client, expecting(foreign)).await.refused(409, "rotation_conflict");
    rotate(&owner, &client, expecting("sec_0000000000000000000000")).await.refused(409, "rotation_conflict");
    let reply = rotate(&owner, &client, expecting(&first)).await.created();
    let problem = rotate(&owner, &client, expecting(&first)).await.refused(409, "rotation_conflict");
    assert_eq!(problem["field"], "expected_current_secret_id");
    assert_eq!(rotations(&owner, &client).await.len(), 1);
    rotate(&owner, &client, expecting(text(&reply["secret"]["id"]))).await.created();
}

async fn of_parallel_rotations_exactly_one_wins_rule_6(world: World) {
    let world = Arc::new(world);
    let client = world.client("Billing", &["production"]).await;
    let first = client.registration("production").secret_id.clone();
    let expecting = with(client.rotation(0), json!({"expected_current_secret_id": first}));
    let rounds = [(expecting, "rotation_conflict"), (client.rotation(24), "transition_in_progress")];
    for (round, (body, code)) in rounds.into_iter().enumerate() {
        let answers = storm(&world, &client, &body, None).await;
        let won = answers.iter().filter(|answer| answer.status.as_u16() == 201).count();
        assert_eq!((won, answers.len()), (1, 50));
        for answer in answers {
            if answer.status.as_u16() != 201 {
                answer.refused(409, code);
            }
        }
        let owner = world.owner().await;
        assert_eq!(rotations(&owner, &client).await.len(), round + 1);
    }
}
