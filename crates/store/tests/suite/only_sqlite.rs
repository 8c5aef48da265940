//! What only a file can get wrong.

use crate::harness::*;
use crossfade_store::{Db, Location, StoreError};
use std::{os::unix::fs::PermissionsExt, path::Path};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).permissions().mode()
        & 0o777
}

fn file(t: &TestDb) -> &Path {
    let Location::File(path) = &t.place.location else { panic!("not a file") };
    path
}

#[tokio::test]
async fn the_data_file_and_all_beside_it_are_private() {
    let t = super::open().await.unwrap();
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

#[tokio::test]
async fn closing_folds_the_log_into_the_file() {
    let t = super::open().await.unwrap();
    t.write(seed).await;
    t.db.close().await;
    assert!(!file(&t).with_extension("db-wal").exists());
    assert_eq!(t.place.number("SELECT COUNT(*) FROM environments").await, 3);
}

#[tokio::test]
async fn a_word_where_a_number_is_promised_is_corrupt() {
    let t = super::open().await.unwrap();
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

#[tokio::test]
async fn a_missing_head_is_corrupt_and_nothing_is_written() {
    let t = super::open().await.unwrap();
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
