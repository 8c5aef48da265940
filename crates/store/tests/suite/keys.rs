//! Data keys.

use crate::engines::on_both_engines;
use crate::harness::*;
use crossfade_store::{DataKey, StoreError};

on_both_engines! {
    data_keys_come_oldest_first,
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
