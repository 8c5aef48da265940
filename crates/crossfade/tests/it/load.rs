//! A load that runs on across a rotation: no caller hears a gap, and at the deadline the old secret is dead
//! for all of them at once.

use crate::engines::on_both_engines;
use crate::world::World;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{sync::Barrier, task::JoinSet};

on_both_engines! {
    in parallel:
    nobody_hears_a_gap_rule_2,
}

/// Callers at the same time: the even ones never learn of the new secret, the odd ones move over.
const CALLERS: usize = 8;
/// Requests of each caller in each phase.
const REQUESTS: usize = 150;
const DAY: Duration = Duration::from_secs(86_400);

/// What a caller presents in the phases after the rotation.
#[derive(Clone)]
struct Secrets {
    client_id: String,
    old: String,
    new: String,
}

/// Runs every caller once; odd callers present `odd`, even ones `even`. Counts the accepted requests.
async fn wave(world: &Arc<World>, client_id: &str, even: &str, odd: &str) -> [usize; 2] {
    let accepted = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let mut tasks = JoinSet::new();
    for caller in 0..CALLERS {
        let (world, accepted) = (world.clone(), accepted.clone());
        let (client_id, secret) = (client_id.to_owned(), if caller % 2 == 0 { even } else { odd }.to_owned());
        tasks.spawn(async move {
            let oauth = world.oauth("production").from([192, 0, 2, caller as u8], "load/1.0");
            for request in 0..REQUESTS {
                let answer = match request % 2 {
                    0 => oauth.token(&client_id, &secret).await,
                    _ => oauth.token_by_post(&client_id, &secret).await,
                };
                match answer.status.as_u16() {
                    200 => drop(accepted[caller % 2].fetch_add(1, Ordering::Relaxed)),
                    // Many callers of one network fail together.
                    429 => {}
                    _ => answer.is_invalid_client(),
                }
            }
        });
    }
    tasks.join_all().await;
    [accepted[0].load(Ordering::Relaxed), accepted[1].load(Ordering::Relaxed)]
}

/// Every caller presents the old secret while somebody rotates. Each has made half of its requests when the
/// rotation starts, and makes the other half while it runs and after.
async fn rotate_under_load(world: &Arc<World>, client: &crate::world::Client) -> Secrets {
    let registration = client.registration("production").clone();
    let half_way = Arc::new(Barrier::new(CALLERS + 1));
    let mut tasks = JoinSet::new();
    for caller in 0..CALLERS {
        let (world, half_way, registration) = (world.clone(), half_way.clone(), registration.clone());
        tasks.spawn(async move {
            let oauth = world.oauth("production").from([192, 0, 2, caller as u8], "load/1.0");
            for request in 0..REQUESTS {
                if request == REQUESTS / 2 {
                    half_way.wait().await;
                }
                oauth.token(&registration.client_id, &registration.secret).await.is_token();
            }
        });
    }
    let owner = world.owner().await;
    half_way.wait().await;
    let path = client.path("production", "/secrets/rotate");
    let reply = owner.post(&path, client.rotation(24)).await.created();
    let new = reply["secret"]["value"].as_str().unwrap().to_owned();
    // The reply is given only when the change is enforced: the new secret works from here on.
    world.oauth("production").token(&registration.client_id, &new).await.is_token();
    tasks.join_all().await;
    Secrets { client_id: registration.client_id, old: registration.secret, new }
}

async fn nobody_hears_a_gap_rule_2(world: World) {
    let world = Arc::new(world);
    let client = world.client("Billing", &["production"]).await;
    let all = CALLERS / 2 * REQUESTS;
    let Secrets { client_id, old, new } = rotate_under_load(&world, &client).await;

    assert_eq!(wave(&world, &client_id, &old, &new).await, [all, all], "right after the rotation");
    world.advance(DAY - Duration::from_millis(1));
    assert_eq!(wave(&world, &client_id, &old, &new).await, [all, all], "a millisecond before the deadline");
    world.advance(Duration::from_millis(1));
    assert_eq!(wave(&world, &client_id, &old, &new).await, [0, all], "at the deadline");

    // Nothing of it was lost: three waves and the rotation's own.
    let owner = world.owner().await;
    let secrets = owner.get(&client.path("production", "/secrets")).await.ok();
    let count = |at: usize| secrets["items"][at]["use_count"].as_u64().unwrap() as usize;
    assert_eq!((count(1), count(0)), (2 * all + CALLERS * REQUESTS, 3 * all + 1));
    let usage = owner.get(&client.path("production", "/usage")).await.ok();
    assert_eq!(usage["items"].as_array().unwrap().len(), CALLERS + CALLERS / 2 + 1, "one line a source");
}
