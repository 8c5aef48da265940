//! Signing keys that an environment has rotated on a schedule.

use crate::engines::on_both_engines;
use crate::world::World;
use crossfade_core::Timestamp;
use serde_json::{Value, json};
use std::time::Duration;

on_both_engines! {
    a_schedule_rotates_the_signing_key_and_publishes_it_first,
    without_a_schedule_no_key_is_rotated,
}

const DAY: Duration = Duration::from_secs(86_400);

async fn keys(world: &World, environment: &str) -> Vec<Value> {
    let path = format!("/environments/{environment}/signing-keys");
    world.owner().await.get(&path).await.ok().as_array().unwrap().clone()
}

async fn set(world: &World, days: Value) -> Value {
    let change = json!({"signing_key_rotation_days": days});
    world.owner().await.patch("/environments/production", change).await.ok()
}

async fn a_schedule_rotates_the_signing_key_and_publishes_it_first(mut world: World) {
    assert_eq!(set(&world, json!(30)).await["signing_key_rotation_days"], 30);
    let first = keys(&world, "production").await;
    world.advance(DAY * 30 - Duration::from_secs(60));
    world.run_jobs().await;
    assert_eq!(keys(&world, "production").await, first);
    world.advance(Duration::from_secs(60));
    world.run_jobs().await;
    let both = keys(&world, "production").await;
    assert_eq!((both.len(), keys(&world, "staging").await.len()), (2, 1));
    let times = |key: &Value, name: &str| serde_json::from_value::<Timestamp>(key[name].clone()).unwrap();
    assert_eq!(times(&both[1], "active_from").since(world.now()), Duration::from_secs(360));
    assert_eq!(
        times(&both[0], "removed_at").since(times(&both[1], "active_from")),
        DAY + Duration::from_secs(60)
    );
    let event = &world.owner().await.get("/audit-events?action=signing_key.rotated").await.ok()["items"][0];
    assert_eq!(
        (&event["actor"]["kind"], &event["actor"]["id"]),
        (&json!("policy"), &json!("signing_key_schedule"))
    );
    assert_eq!(
        (&event["environment"], &event["details"]["immediate"]),
        (&json!("production"), &json!(false))
    );
    // Neither a second look nor a restart rotates again.
    world.restart().await;
    world.run_jobs().await;
    world.advance(DAY * 29);
    world.run_jobs().await;
    assert_eq!(keys(&world, "production").await.len(), 1, "the old one has left the key set");
    world.advance(DAY);
    world.run_jobs().await;
    assert_eq!(keys(&world, "production").await.len(), 1, "its age counts from when it signs");
    world.advance(Duration::from_secs(360));
    world.run_jobs().await;
    assert_eq!(keys(&world, "production").await.len(), 2);
}

async fn without_a_schedule_no_key_is_rotated(world: World) {
    let first = keys(&world, "production").await;
    set(&world, json!(1)).await;
    set(&world, Value::Null).await;
    world.advance(DAY * 400);
    world.run_jobs().await;
    assert_eq!(keys(&world, "production").await, first);
}
