//! What only a file can get wrong.

use crate::engines::on_sqlite;
use crate::harness::*;
use crossfade_store::{Db, Location, StoreError};
use std::{os::unix::fs::PermissionsExt, path::Path};

on_sqlite! {
    the_data_file_and_all_beside_it_are_private,
    closing_folds_the_log_into_the_file,
    a_word_where_a_number_is_promised_is_corrupt,
    a_missing_head_is_corrupt_and_nothing_is_written,
    what_a_crash_left_in_the_log_is_seen_without_folding_it_in,
    damage_is_found,
    other_connections_that_open_and_close_leave_the_files_in_place,
    a_serve_lock_whose_files_were_replaced_is_not_held,
    a_change_whose_files_are_replaced_meanwhile_is_of_unknown_outcome,
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).permissions().mode()
        & 0o777
}

fn file(t: &TestDb) -> &Path {
    let Location::File(path) = &t.place.location else { panic!("not a file") };
    path
}

async fn the_data_file_and_all_beside_it_are_private(t: TestDb) {
    let _serving = t.db.lock_for_serving().await.unwrap();
    t.write(seed).await;
    t.read(async |tx| tx.environments().await).await;
    let mut seen = Vec::new();
    for entry in std::fs::read_dir(file(&t).parent().unwrap()).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        seen.push(path.file_name().unwrap().to_string_lossy().into_owned());
    }
    for name in ["crossfade.db", "crossfade.db-wal"] {
        assert!(seen.iter().any(|file| file == name), "{name} is not among {seen:?}");
    }
}

async fn closing_folds_the_log_into_the_file(t: TestDb) {
    t.write(seed).await;
    t.db.close().await;
    assert!(!file(&t).with_extension("db-wal").exists());
    assert_eq!(t.place.number("SELECT COUNT(*) FROM environments").await, 3);
}

async fn a_word_where_a_number_is_promised_is_corrupt(t: TestDb) {
    t.write(seed).await;
    for (sql, column) in [
        ("UPDATE environments SET position = 'last' WHERE slug = 'staging'", "position"),
        ("UPDATE environments SET position = 0.5 WHERE slug = 'staging'", "position"),
        ("UPDATE environments SET position = 1, show_once = X'00' WHERE slug = 'staging'", "show_once"),
    ] {
        t.place.raw(sql).await;
        let error = t.try_read(async |tx| tx.environment(&slug("staging")).await).await.unwrap_err();
        assert_corrupt(&error, "environments", column, "staging");
    }
}

async fn a_missing_head_is_corrupt_and_nothing_is_written(t: TestDb) {
    t.place.raw("DELETE FROM head").await;
    let error = t.try_write(seed).await.unwrap_err();
    assert_corrupt(&error, "head", "(no row)", "LOCK_HEAD");
    assert_eq!(t.place.number("SELECT COUNT(*) FROM environments").await, 0);
}

#[tokio::test]
async fn what_is_not_a_database_is_refused_with_its_path() {
    let directory = tempfile::tempdir().unwrap();
    let no_directory = directory.path().join("missing").join("crossfade.db");
    let no_database = directory.path().join("notes.txt");
    std::fs::write(&no_database, "x".repeat(4096)).unwrap();
    for path in [directory.path(), &no_directory, &no_database] {
        let error = Db::open(&Location::File(path.into())).await.err().unwrap();
        assert!(matches!(error, StoreError::Open(_)), "{error:?}");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }
    assert_eq!(std::fs::read_to_string(&no_database).unwrap(), "x".repeat(4096), "it is left alone");
}

#[tokio::test]
async fn looking_creates_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("crossfade.db");
    let missing = Db::open_read_only(&Location::File(path.clone())).await.err().unwrap();
    assert!(matches!(missing, StoreError::Missing(_)), "{missing:?}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    std::fs::write(&path, "").unwrap();
    let looking = Db::open_read_only(&Location::File(path.clone())).await.unwrap();
    assert_eq!(looking.stored_schema().await.unwrap(), None, "an empty file is a database without tables");
    looking.close().await;
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
    std::fs::write(&path, "x".repeat(4096)).unwrap();
    let refused = async { Db::open_read_only(&Location::File(path.clone())).await?.stored_schema().await };
    assert!(refused.await.is_err(), "what is no database");
}

async fn what_a_crash_left_in_the_log_is_seen_without_folding_it_in(t: TestDb) {
    t.write(seed).await;
    let crashed = tempfile::tempdir().unwrap();
    let copy = crashed.path().join("crossfade.db");
    for (from, to) in [("db", "db"), ("db-wal", "db-wal")] {
        std::fs::copy(file(&t).with_extension(from), copy.with_extension(to)).unwrap();
    }
    let before = [std::fs::read(&copy).unwrap(), std::fs::read(copy.with_extension("db-wal")).unwrap()];
    let looking = Db::open_read_only(&Location::File(copy.clone())).await.unwrap();
    assert_eq!(looking.read::<_, StoreError>(async |tx| tx.environments().await).await.unwrap().len(), 3);
    looking.close().await;
    let after = [std::fs::read(&copy).unwrap(), std::fs::read(copy.with_extension("db-wal")).unwrap()];
    assert!(before == after, "the file and its log are as they were");
}

async fn damage_is_found(t: TestDb) {
    t.write(seed_client).await;
    let looking = Db::open_read_only(&t.place.location).await.unwrap();
    t.place.raw("DELETE FROM properties").await;
    let found = looking.integrity().await.unwrap();
    assert_eq!(found.damage, [""; 0]);
    assert_eq!(found.dangling, ["a row of clients refers to a missing row of properties"]);
    t.place
        .raw("PRAGMA writable_schema = ON; UPDATE sqlite_schema SET rootpage = rootpage + 1 WHERE name = 'clients_page'")
        .await;
    let looking = Db::open_read_only(&t.place.location).await.unwrap();
    assert!(!looking.integrity().await.unwrap().damage.is_empty());
}

async fn a_serve_lock_whose_files_were_replaced_is_not_held(place: Place) {
    for name in ["crossfade.db", "crossfade.db-wal", "crossfade.db-shm", "crossfade.serve-lock"] {
        let t = TestDb::open(place.another().await).await;
        let path = file(&t).canonicalize().unwrap();
        let mut lock = t.db.lock_for_serving().await.unwrap();
        t.write(seed).await;
        assert!(lock.is_held().await);
        let file = path.with_file_name(name);
        assert!(file.exists(), "{name}");
        std::fs::rename(&file, file.with_extension("aside")).unwrap();
        assert!(matches!(lock.look().await, Err(StoreError::Replaced(_))), "{name} is gone");
        let refused = t.try_write(async |tx| tx.delete_failures(at(0)).await).await;
        assert!(matches!(refused, Err(StoreError::Replaced(_))), "{name} is gone, and nothing is changed");
        std::fs::write(&file, "").unwrap();
        assert!(!lock.is_held().await, "{name} is another file");
        let refused = t.try_write(async |tx| tx.delete_failures(at(0)).await).await;
        assert!(matches!(refused, Err(StoreError::Replaced(_))), "{name} is another file");
    }
}

/// A file can also be replaced while the change is being made: the commit succeeds, and is in no file with a name.
async fn a_change_whose_files_are_replaced_meanwhile_is_of_unknown_outcome(place: Place) {
    for name in ["crossfade.db", "crossfade.db-wal", "crossfade.db-shm"] {
        let t = TestDb::open(place.another().await).await;
        let file = file(&t).canonicalize().unwrap().with_file_name(name);
        let _lock = t.db.lock_for_serving().await.unwrap();
        t.write(seed).await;
        let changed = t
            .try_write(async |tx| {
                std::fs::rename(&file, file.with_extension("aside")).unwrap();
                tx.delete_failures(at(0)).await
            })
            .await;
        assert!(matches!(changed, Err(StoreError::OutcomeUnknown(_))), "{name}: {changed:?}");
    }
}

/// SQLite removes the log when the last connection closes. That must not look like a log that somebody removed.
async fn other_connections_that_open_and_close_leave_the_files_in_place(t: TestDb) {
    let mut lock = t.db.lock_for_serving().await.unwrap();
    for _ in 0..3 {
        t.write(async |tx| tx.delete_failures(at(0)).await).await;
        let other = Db::open(&t.place.location).await.unwrap();
        other.read::<_, StoreError>(async |tx| tx.environments().await).await.unwrap();
        other.close().await;
        t.place.raw("PRAGMA wal_checkpoint(TRUNCATE)").await;
        assert!(lock.is_held().await);
    }
    // Even the last connection of the pools: only the one that the lock holds is left.
    t.db.close().await;
    assert!(lock.is_held().await);
    lock.release().await;
    assert!(!file(&t).with_extension("db-wal").exists(), "the log is folded into the file");
}
