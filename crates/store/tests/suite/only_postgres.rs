//! What only a server can get wrong.

use crate::harness::*;
use crossfade_store::{Db, Location, StoreError};

#[tokio::test]
async fn a_serve_lock_whose_session_broke_is_not_held() {
    let Some(t) = super::open().await else { return };
    let mut lock = t.db.lock_for_serving().await.unwrap();
    assert!(lock.is_held().await);
    t.place
        .raw("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())")
        .await;
    assert!(!lock.is_held().await);
}

#[tokio::test]
async fn broken_sessions_are_replaced() {
    let Some(t) = super::open().await else { return };
    t.write(seed).await;
    t.place
        .raw("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
        .await;
    assert_eq!(t.read(async |tx| tx.environments().await).await.len(), 3);
}

#[tokio::test]
async fn a_commit_whose_session_breaks_is_unknown_never_done() {
    let Some(t) = super::open().await else { return };
    let outcome = t
        .try_write(async |tx| {
            seed(tx).await?;
            t.place
                .raw("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction' AND datname = current_database()")
                .await;
            Ok(())
        })
        .await;
    assert!(matches!(outcome, Err(StoreError::Database(_) | StoreError::OutcomeUnknown(_))), "{outcome:?}");
    assert_eq!(t.place.number("SELECT COUNT(*) FROM environments").await, 0);
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_refused_without_telling_the_password() {
    // Port 1 of this machine: nothing listens there.
    let location = Location::Postgres("postgres://u:hunter2@127.0.0.1:1/x".into());
    let Some(_) = super::place().await else { return };
    let error = Db::open(&location).await.err().unwrap();
    assert!(matches!(error, StoreError::Open(_)), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
}
