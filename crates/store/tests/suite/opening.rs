//! Opening, migrating, and claiming a database.

use crate::engines::on_both_engines;
use crate::harness::*;
use crossfade_store::{Db, Statement, StoreError};

on_both_engines! {
    every_statement_prepares_on_this_engine,
    migrations_run_twice_and_keep_what_is_there,
    two_processes_that_migrate_at_the_same_time_both_succeed,
    a_database_of_a_newer_version_is_refused_and_left_alone,
    a_database_of_a_newer_version_that_permits_this_one_is_opened,
    a_newer_database_without_a_migration_of_ours_is_refused,
    a_database_whose_first_migration_differs_is_refused,
    a_command_that_must_be_alone_is_refused_until_the_server_lets_go,
    servers_of_different_databases_do_not_hinder_each_other,
    a_version_that_shuts_out_the_server_that_runs_migrates_nothing,
}

async fn every_statement_prepares_on_this_engine(t: TestDb) {
    assert_eq!(t.db.check_statements().await.unwrap(), Statement::all().count());
}

async fn migrations_run_twice_and_keep_what_is_there(t: TestDb) {
    t.write(seed_client).await;
    let before = t.place.fingerprint().await;
    let migrations = t.place.number("SELECT COUNT(*) FROM _sqlx_migrations WHERE success").await;
    t.db.close().await;
    let again = Db::open(&t.place.location).await.unwrap();
    assert_eq!(t.place.fingerprint().await, before);
    assert_eq!(t.place.number("SELECT COUNT(*) FROM _sqlx_migrations").await, migrations);
    again.close().await;
}

async fn two_processes_that_migrate_at_the_same_time_both_succeed(place: Place) {
    let open = || Db::open(&place.location);
    let (a, b, c, d) = tokio::join!(open(), open(), open(), open());
    for db in [a, b, c, d] {
        db.unwrap().check_statements().await.unwrap();
    }
    assert_eq!(place.number("SELECT COUNT(*) FROM _sqlx_migrations WHERE NOT success").await, 0);
    assert_eq!(place.number("SELECT COUNT(*) FROM head").await, 1);
}

/// SQL of a migration that this program does not know.
const OF_THE_FUTURE: &str =
    "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
     SELECT 9999, 'of the future', success, checksum, execution_time FROM _sqlx_migrations WHERE version = 1";

async fn a_database_of_a_newer_version_is_refused_and_left_alone(t: TestDb) {
    t.write(seed_client).await;
    t.db.close().await;
    t.place.raw(OF_THE_FUTURE).await;
    t.place.raw("UPDATE oldest_program SET schema_version = 9999, program_version = '9.9.9'").await;
    let before = t.place.fingerprint().await;
    let refused = Db::open(&t.place.location).await.err().unwrap();
    assert!(matches!(refused, StoreError::NewerSchema { .. }), "{refused:?}");
    let ours = Db::program_schema();
    let says = format!(
        "the database was written by a newer version of Crossfade: it requires Crossfade 9.9.9 (schema 9999) or later, \
         but this is Crossfade {} (schema {ours}); use that version, or restore an older backup into an empty database",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(refused.to_string(), says);
    assert_eq!(t.place.fingerprint().await, before);
}

async fn a_database_of_a_newer_version_that_permits_this_one_is_opened(t: TestDb) {
    t.write(seed_client).await;
    t.db.close().await;
    t.place.raw(OF_THE_FUTURE).await;
    t.place.raw("ALTER TABLE clients ADD COLUMN of_the_future TEXT").await;
    let before = t.place.fingerprint().await;
    let db = Db::open(&t.place.location).await.unwrap();
    assert_eq!(t.place.fingerprint().await, before);
    assert!(db.may_run_on_newer().await.unwrap());
    db.check_statements().await.unwrap();
    db.write(async |tx| tx.append_changes(&[]).await).await.unwrap();
    db.close().await;
    assert_eq!(t.place.number("SELECT MAX(version) FROM _sqlx_migrations").await, 9999);
}

async fn a_newer_database_without_a_migration_of_ours_is_refused(t: TestDb) {
    t.db.close().await;
    t.place.raw(OF_THE_FUTURE).await;
    t.place.raw("DELETE FROM _sqlx_migrations WHERE version = 2").await;
    let refused = Db::open(&t.place.location).await.err().unwrap();
    assert!(refused.to_string().contains("it requires schema 9999 or later"), "{refused}");
}

async fn a_database_whose_first_migration_differs_is_refused(t: TestDb) {
    t.write(async |tx| {
        seed_client(tx).await?;
        tx.insert_secret(&secret(1, 1, 1)).await
    })
    .await;
    t.db.close().await;
    t.place.raw("UPDATE _sqlx_migrations SET checksum = (SELECT digest FROM secrets)").await;
    let refused = Db::open(&t.place.location).await.err().unwrap();
    assert!(matches!(refused, StoreError::Open(_)), "{refused:?}");
    assert!(refused.to_string().contains("cannot migrate"), "{refused}");
}

async fn a_command_that_must_be_alone_is_refused_until_the_server_lets_go(t: TestDb) {
    let other_process = Db::open(&t.place.location).await.unwrap();
    let mut first = t.db.lock_for_serving().await.unwrap();
    for db in [&other_process, &t.db] {
        let second = db.lock_alone().await.err();
        assert!(matches!(second, Some(StoreError::AlreadyServed)), "{second:?}");
    }
    assert!(first.is_held().await, "a refused attempt takes nothing away");
    // Commands beside the server keep working.
    t.write(seed).await;
    drop(first);
    // A server notices a closed session a moment later; each attempt is a round trip to it.
    for _ in 0..10_000 {
        match other_process.lock_alone().await {
            Ok(mut second) => return assert!(second.is_held().await),
            Err(error) => assert!(matches!(error, StoreError::AlreadyServed), "{error:?}"),
        }
    }
    panic!("the lock was not released");
}

async fn servers_of_different_databases_do_not_hinder_each_other(one: TestDb) {
    let two = TestDb::open(one.place.another().await).await;
    let _first = one.db.lock_for_serving().await.unwrap();
    assert!(two.db.lock_for_serving().await.is_ok());
}

async fn a_version_that_shuts_out_the_server_that_runs_migrates_nothing(t: TestDb) {
    // As an earlier version has left it.
    let place = t.place.another_empty().await;
    place.migrate_to(48).await;
    let earlier = Db::connect(&place.location).await.unwrap();
    let server = earlier.lock_for_serving().await.unwrap();
    let refused = Db::open(&place.location).await.err().unwrap().to_string();
    assert!(refused.contains("a server of an earlier version"), "{refused}");
    let stored = place.number("SELECT MAX(version) FROM _sqlx_migrations").await;
    assert_eq!(stored, 48);
    server.release().await;
    let migrated = Db::open(&place.location).await.unwrap();
    assert_eq!(migrated.stored_schema().await.unwrap(), Some(Db::program_schema()));
}
