//! What a world promises to the checks that use it.

use crate::{
    engines::run_on_sqlite,
    world::{Check, World},
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex},
    time::Duration,
};

/// Runs on a thread of its own, which no check runs on yet.
fn on_a_thread<T: Send>(work: impl AsyncFnOnce() -> T + Send) -> Result<T, String> {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        catch_unwind(AssertUnwindSafe(|| runtime.block_on(work())))
    };
    let done = std::thread::scope(|scope| scope.spawn(run).join().unwrap());
    done.map_err(|said| match said.downcast::<String>() {
        Ok(said) => *said,
        Err(said) => said.downcast_ref::<&str>().unwrap().to_string(),
    })
}

/// Runs a check that is expected to fail, and returns what it says.
#[track_caller]
fn failure_of(check: impl AsyncFnOnce(World) + Send) -> String {
    on_a_thread(async || run_on_sqlite(check).await).unwrap_err()
}

#[test]
fn a_job_that_is_due_at_the_end_and_fails_fails_the_check() {
    let said = failure_of(async |world: World| world.fail_commits().await);
    assert!(said.starts_with("a due job failed"), "{said}");
    assert!(said.contains("CROSSFADE_TEST_SEED="), "{said}");
}

/// A job whose work is never done.
#[test]
fn a_job_that_is_still_due_after_its_run_fails_the_check() {
    let said = failure_of(async |world: World| {
        let client = world.client("Billing", &["production"]).await;
        let path = client.path("production", "/secrets/rotate");
        world.owner().await.post(&path, client.rotation(1)).await.created();
        let forget = "CREATE TRIGGER forget AFTER UPDATE OF expiry_noted_at ON secrets
                      BEGIN UPDATE secrets SET expiry_noted_at = NULL WHERE id = NEW.id; END";
        world.raw(forget).await;
        world.advance(Duration::from_secs(2 * 3600));
    });
    assert!(said.starts_with("the jobs left something that was due"), "{said}");
}

#[test]
fn an_instance_left_unable_to_run_jobs_is_unable() {
    let said = failure_of(async |world: World| world.ends_unable_to_run_jobs());
    assert!(said.starts_with("the instance was left unable to run jobs, but runs them"), "{said}");
}

#[test]
fn a_world_that_outlives_its_check_fails_it() {
    let kept = Arc::new(Mutex::new(None));
    let said = failure_of(async |world| *kept.lock().unwrap() = Some(world));
    assert!(said.contains("each world that a check made is dropped at its end"), "{said}");
}

#[test]
fn a_world_outside_a_check_is_refused() {
    let said = on_a_thread(async || drop(World::another().await)).unwrap_err();
    assert!(said.contains("a world belongs to a check"), "{said}");
}

#[test]
fn a_seed_repeats_the_ids_and_secrets_of_a_check() {
    let made = |seed| {
        let ids = async || {
            Check::begin_with(seed);
            let mut made = Vec::new();
            for _ in 0..2 {
                let world = World::another().await;
                let client = world.client("Billing", &["production"]).await;
                let it = client.registration("production");
                made.push([client.id.clone(), it.client_id.clone(), it.secret.clone()]);
            }
            Check::end().await;
            made
        };
        on_a_thread(ids).unwrap()
    };
    let (one, again, other) = (made(1), made(1), made(2));
    assert_eq!(one, again);
    assert_ne!(one[0], one[1], "each world of a check has a chance of its own");
    assert_ne!(one[0], other[0]);
}
