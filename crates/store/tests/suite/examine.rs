//! Looking at a database without touching it.

use crate::engines::on_both_engines;
use crate::harness::*;
use crossfade_store::{Db, StoreError};

on_both_engines! {
    what_is_opened_to_be_read_cannot_be_changed,
    the_stored_schema_is_told_and_none_is_made,
    whether_a_server_runs_is_found_out_without_taking_its_lock,
    a_sound_database_is_found_to_be_sound,
    secrets_and_clients_are_counted,
}

async fn what_is_opened_to_be_read_cannot_be_changed(t: TestDb) {
    t.write(seed).await;
    let looking = Db::open_read_only(&t.place.location).await.unwrap();
    assert_eq!(looking.read::<_, StoreError>(async |tx| tx.environments().await).await.unwrap().len(), 3);
    let before = t.place.fingerprint().await;
    let refused = looking.write::<_, StoreError>(seed_client).await;
    assert!(matches!(refused, Err(StoreError::Database(_))), "{refused:?}");
    assert_eq!(t.place.fingerprint().await, before);
    assert_eq!(looking.check_statements().await.unwrap(), t.db.check_statements().await.unwrap());
    looking.close().await;
}

async fn the_stored_schema_is_told_and_none_is_made(t: TestDb) {
    assert_eq!(t.db.stored_schema().await.unwrap(), Some(Db::program_schema()));
    t.place.raw("DROP TABLE _sqlx_migrations").await;
    let looking = Db::open_read_only(&t.place.location).await.unwrap();
    assert_eq!(looking.stored_schema().await.unwrap(), None);
}

async fn whether_a_server_runs_is_found_out_without_taking_its_lock(t: TestDb) {
    let looking = Db::open_read_only(&t.place.location).await.unwrap();
    assert!(!looking.is_served().await.unwrap(), "nobody ever served it");
    let lock = t.db.lock_for_serving().await.unwrap();
    assert!(looking.is_served().await.unwrap());
    let second = t.db.lock_alone().await.err();
    assert!(matches!(second, Some(StoreError::AlreadyServed)), "{second:?}");
    drop(lock);
    // A server notices a closed session a moment later; each attempt is a round trip to it.
    for _ in 0..10_000 {
        if !looking.is_served().await.unwrap() {
            return assert!(t.db.lock_alone().await.is_ok());
        }
    }
    panic!("the lock was not released");
}

async fn a_sound_database_is_found_to_be_sound(t: TestDb) {
    t.write(seed_client).await;
    let looking = Db::open_read_only(&t.place.location).await.unwrap();
    assert_eq!(looking.integrity().await.unwrap(), crossfade_store::Integrity::default());
    assert_eq!(looking.durability().await.unwrap(), t.db.durability().await.unwrap());
}

async fn secrets_and_clients_are_counted(t: TestDb) {
    t.write(async |tx| {
        seed_client(tx).await?;
        tx.insert_client(&crossfade_store::Client { owners: vec![], ..client(2, "Shipping") }).await?;
        tx.insert_secret(&secret(1, 1, 1)).await?;
        tx.set_secret_end(&secret_id(1), Some(at(50)), None).await?;
        tx.insert_secret(&secret(2, 1, 2)).await?;
        tx.insert_secret(&secret(3, 2, 1)).await?;
        tx.set_secret_end(&secret_id(3), None, Some(at(10))).await?;
        tx.insert_data_key(
            &crossfade_store::DataKey { id: "key-2".into(), purpose: "verify".into(), sealed: vec![] },
            at(0),
        )
        .await
    })
    .await;
    let valid = async |time| t.read(async |tx| tx.valid_secrets(time).await).await;
    let before = valid(at(50).before(MICRO)).await;
    assert_eq!((before.current, before.retiring), (1, 1));
    assert_eq!((valid(at(50)).await.current, valid(at(50)).await.retiring), (1, 0));
    let without = async |purpose: &'static str, time| {
        t.read(async |tx| tx.secrets_without_key(purpose, time).await).await
    };
    assert_eq!((without("verify", at(49)).await, without("seal", at(49)).await), (1, 2));
    assert_eq!(
        (without("verify", at(50)).await, without("seal", at(50)).await),
        (0, 1),
        "ended ones need no key"
    );
    assert_eq!(t.read(async |tx| tx.ownerless_clients().await).await, 1);
    let overdue = async |time| t.read(async |tx| tx.overdue_secrets(time).await).await;
    let limit = at(2).after(DAY * 90);
    assert_eq!((overdue(limit.before(MICRO)).await, overdue(limit).await), (0, 1));
}
