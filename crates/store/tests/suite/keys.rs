//! Data keys.

use crate::engines::on_both_engines;
use crate::harness::*;
use crossfade_store::{DataKey, SecretRow, StoreError};

on_both_engines! {
    data_keys_come_oldest_first,
    a_digest_moves_only_to_a_key_that_is_stored,
}

async fn data_keys_come_oldest_first(t: TestDb) {
    let key = |id: &str, purpose: &str| DataKey {
        id: id.into(),
        purpose: purpose.into(),
        sealed: (0..=255).collect(),
    };
    let (old, new, newest) = (key("z", "verify"), key("a", "seal"), key("b", "verify"));
    t.write(async |tx| {
        tx.insert_data_key(&newest, at(2)).await?;
        tx.insert_data_key(&new, at(1)).await?;
        tx.insert_data_key(&old, at(0)).await
    })
    .await;
    let twice = t.try_write(async |tx| tx.insert_data_key(&old, at(9)).await).await;
    assert!(matches!(twice, Err(StoreError::Duplicate)));
    assert_same(&t.read(async |tx| tx.data_keys().await).await, &vec![old, new, newest]);
}

async fn a_digest_moves_only_to_a_key_that_is_stored(t: TestDb) {
    t.write(async |tx| {
        seed_client(tx).await?;
        tx.insert_secret(&secret(1, 1, 1)).await?;
        tx.set_secret_end(&secret_id(1), Some(at(50)), None).await?;
        tx.insert_secret(&SecretRow { digest_key: "key-1".into(), ..secret(2, 1, 2) }).await?;
        let key = DataKey { id: "new".into(), purpose: "verify".into(), sealed: vec![] };
        tx.insert_data_key(&key, at(0)).await
    })
    .await;
    let digests = async |time| {
        let all = t.read(async |tx| tx.digests_of_keys(time).await).await;
        all.into_iter().map(|it| (it.key, it.valid, it.ended)).collect::<Vec<_>>()
    };
    let of = |key: &str, valid, ended| (key.to_owned(), valid, ended);
    assert_eq!(digests(at(49)).await, [of("key-1", 2, 0)]);
    assert_eq!(digests(at(50)).await, [of("key-1", 1, 1)]);
    let moved = async |key: &'static str| {
        t.write(async |tx| tx.redigest_secret(&secret_id(2), key, &[7; 32], &[8; 32]).await).await
    };
    assert_eq!((moved("none").await, moved("new").await, moved("new").await), (false, true, false));
    assert_eq!(digests(at(50)).await, [of("key-1", 0, 1), of("new", 1, 0)]);
}
