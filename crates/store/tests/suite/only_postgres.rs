//! What only a server can get wrong.

use crate::engines::on_postgres;
use crate::harness::*;
use crossfade_core::{NodeId, Timestamp};
use crossfade_store::{Db, Fault, LeaseRequest, Location, Purpose, StoreError};
use std::time::Duration;

on_postgres! {
    a_serve_lock_whose_session_broke_is_not_held,
    a_lock_that_an_ended_session_still_holds_is_taken_over,
    broken_sessions_are_replaced,
    a_commit_whose_session_breaks_is_unknown_never_done,
    sessions_of_a_read_only_time_are_not_kept,
    a_start_writes_nothing_where_nothing_is_to_migrate,
    a_session_that_ends_while_a_change_waits_leaves_the_next_working,
    a_change_that_waits_for_a_new_term_of_its_own_process_is_in_it,
    a_history_of_another_process_is_not_taken_for_the_own,
    reads_that_are_held_back_leave_their_connections_to_the_feed,
    a_commit_that_was_given_up_does_not_keep_the_lock_from_its_process,
    a_server_that_cannot_be_reached_is_refused_without_telling_the_password,
    a_change_and_a_lease_are_flushed_whatever_the_database_says,
    a_role_reads_which_standbys_confirm_commits,
}

/// Notes the setting under which a row is written.
const NOTE: &str = "CREATE TABLE noted (setting TEXT);
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN INSERT INTO noted VALUES (current_setting('synchronous_commit')); RETURN NULL; END $$;
    CREATE TRIGGER note AFTER UPDATE ON head FOR EACH ROW EXECUTE FUNCTION note();
    CREATE TRIGGER note AFTER INSERT ON nodes FOR EACH ROW EXECUTE FUNCTION note()";

async fn a_change_and_a_lease_are_flushed_whatever_the_database_says(t: TestDb) {
    t.place.raw(NOTE).await;
    let name = database(&t);
    t.place.raw(&format!("ALTER DATABASE {name} SET synchronous_commit = off")).await;
    let again = Db::open(&t.place.location).await.unwrap();
    let mut lock = again.lock_for_serving().await.unwrap();
    again.write::<_, StoreError>(async |tx| seed(tx).await).await.unwrap();
    let id = NodeId::parse(&format!("node_{:022}", 1)).unwrap();
    let request = LeaseRequest {
        id: &id,
        name: "a",
        started_at: Timestamp::from_seconds(1),
        length: Duration::from_secs(15),
        applied: 1_000,
        uncertainty: Duration::ZERO,
    };
    lock.renew(request, false).await.unwrap();
    assert!(t.place.number("SELECT COUNT(*) FROM noted").await >= 3, "the term, the change and the lease");
    assert_eq!(t.place.number("SELECT COUNT(*) FROM noted WHERE setting <> 'on'").await, 0);
    // The database is set as it was told to be.
    assert_eq!(
        t.place.number("SELECT COUNT(*) FROM pg_db_role_setting WHERE 'synchronous_commit=off' = ANY (setconfig) AND setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())").await,
        1
    );
}

async fn a_role_reads_which_standbys_confirm_commits(t: TestDb) {
    let found = t.db.standbys().await.unwrap().unwrap();
    assert_eq!((&*found.names, found.connected, found.synchronous), ("", 0, Some(0)));
}

async fn a_serve_lock_whose_session_broke_is_not_held(t: TestDb) {
    let mut lock = t.db.lock_for_serving().await.unwrap();
    assert!(lock.is_held().await);
    t.place
        .raw("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())")
        .await;
    assert!(!lock.is_held().await);
}

async fn a_lock_that_an_ended_session_still_holds_is_taken_over(t: TestDb) {
    let lost = t.db.lock_for_serving().await.unwrap();
    // The session lives on: to the server it looks as if its client had not gone.
    assert!(matches!(t.db.lock_for_serving().await.err(), Some(StoreError::AlreadyServed)));
    let mut again = t.db.lock_again(lost.holder()).await.unwrap();
    assert!(again.is_held().await && !again.was_served_since);
    assert!(again.term() > lost.term());
    assert_eq!(again.server, lost.server);
    assert!(again.server.is_some());
    // Nobody else's session is ended.
    assert!(matches!(t.db.lock_again(lost.holder()).await.err(), Some(StoreError::AlreadyServed)));
    assert!(again.is_held().await);
}

async fn broken_sessions_are_replaced(t: TestDb) {
    t.write(seed).await;
    t.place
        .raw("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
        .await;
    assert_eq!(t.read(async |tx| tx.environments().await).await.len(), 3);
}

async fn a_commit_whose_session_breaks_is_unknown_never_done(t: TestDb) {
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

async fn a_server_that_cannot_be_reached_is_refused_without_telling_the_password(_: Place) {
    // Port 1 of this machine: nothing listens there.
    let location = Location::Postgres("postgres://u:hunter2@127.0.0.1:1/x".into());
    let error = Db::open(&location).await.err().unwrap();
    assert!(matches!(error, StoreError::Open(_)), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
}

/// The name of the database of a test.
fn database(t: &TestDb) -> String {
    let Location::Postgres(url) = &t.place.location else { panic!("not a server") };
    url.split('?').next().unwrap().rsplit('/').next().unwrap().to_owned()
}

async fn sessions_of_a_read_only_time_are_not_kept(t: TestDb) {
    let name = database(&t);
    let end_sessions = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    t.place.raw(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on")).await;
    t.place.raw(end_sessions).await;
    for _ in 0..3 {
        let refused = t.try_write(seed).await.unwrap_err();
        assert_eq!(refused.fault(), Fault::ReadOnly);
        assert!(refused.to_string().contains("SQLSTATE 25006"), "{refused}");
    }
    t.place
        .raw(&format!("BEGIN READ WRITE; ALTER DATABASE {name} RESET default_transaction_read_only; COMMIT"))
        .await;
    t.write(seed).await;
}

async fn a_start_writes_nothing_where_nothing_is_to_migrate(t: TestDb) {
    t.write(seed).await;
    let name = database(&t);
    t.place.raw(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on")).await;
    let again = Db::open(&t.place.location).await.unwrap();
    let found = again.read::<_, StoreError>(async |tx| tx.environments().await).await.unwrap();
    assert_eq!(found.len(), 3);
}

async fn a_session_that_ends_while_a_change_waits_leaves_the_next_working(t: TestDb) {
    let held = t.place.hold_writes().await;
    let end_waiting = async {
        while t.place.number("SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'").await == 0 {}
    };
    let (failed, ()) = tokio::join!(t.try_write(seed), end_waiting);
    let failed = failed.unwrap_err();
    assert_eq!(failed.fault(), Fault::Unreachable);
    assert!(failed.to_string().contains("SQLSTATE 57P01"), "{failed}");
    drop(held);
    t.write(seed).await;
}

async fn a_change_that_waits_for_a_new_term_of_its_own_process_is_in_it(t: TestDb) {
    let mut lock = t.db.lock_for_serving().await.unwrap();
    t.write(seed).await;
    for _ in 0..5 {
        let held = t.place.hold_writes().await;
        // First the new term waits for the row of the head, then the change behind it.
        let again = t.db.lock_again(lock.holder());
        let change = async {
            t.place.wait_for("SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'", 1).await;
            let changed = t.try_write(async |tx| tx.environments().await.map(drop));
            let release = async {
                t.place.wait_for("SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'", 2).await;
                drop(held);
            };
            tokio::join!(changed, release).0
        };
        let (again, changed) = tokio::join!(again, change);
        changed.unwrap();
        lock = again.unwrap();
        assert!(!lock.was_served_since);
    }
}

async fn a_history_of_another_process_is_not_taken_for_the_own(t: TestDb) {
    let lock = t.db.lock_for_serving().await.unwrap();
    let own = lock.term();
    lock.release().await;
    // A copy of before that term is put back, and another process serves it: in terms that this process has passed.
    t.place.raw("UPDATE head SET term = 0").await;
    let other = Db::open(&t.place.location).await.unwrap();
    let second = other.lock_for_serving().await.unwrap();
    assert_ne!(second.term(), own, "two processes that continue one history have terms of their own");
    second.release().await;
    let again = t.db.lock_again(None).await.unwrap();
    assert!(again.was_served_since);
    again.release().await;
    t.place.raw("UPDATE head SET term = 1").await;
    assert!(t.db.lock_again(None).await.unwrap().was_served_since);
    other.close().await;
}

async fn reads_that_are_held_back_leave_their_connections_to_the_feed(t: TestDb) {
    let own = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'crossfade'";
    let (opened, _) = t.db.open_connections().await;
    t.place.wait_for(own, opened as i64).await;
    t.db.hold_reads_back();
    t.place.wait_for(own, 2).await;
    t.db.read_for(Purpose::Feed, async |tx| tx.read_head().await).await.unwrap();
    // The connection of the feed is not kept, either.
    t.place.wait_for(own, 2).await;
    let read = t.try_read(async |tx| tx.environments().await);
    let (read, ()) = tokio::join!(read, async {
        t.place.wait_for(own, 2).await;
        t.db.let_reads_go_on().await;
    });
    read.unwrap();
    t.place.wait_for(own, 3).await;
}

async fn a_commit_that_was_given_up_does_not_keep_the_lock_from_its_process(t: TestDb) {
    let lock = t.db.lock_for_serving().await.unwrap();
    let holder = lock.holder();
    // A claim that hangs in its own transaction, and is dropped there.
    let held = t.place.hold_writes().await;
    let waits = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    tokio::select! {
        _ = t.db.lock_again(holder) => panic!("the head is locked"),
        () = t.place.wait_for(waits, 1) => {}
    }
    let again = t.db.lock_again(holder);
    let (again, ()) = tokio::join!(again, async {
        t.place.wait_for(waits, 1).await;
        drop(held);
    });
    assert!(!again.unwrap().was_served_since, "the term of the dropped claim was never begun");
    t.write(seed).await;
}
