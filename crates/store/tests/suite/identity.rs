//! Connections that lead to another instance, and terms of processes that serve.

use crate::engines::{on_both_engines, on_sqlite};
use crate::harness::*;
use crossfade_core::Timestamp;
use crossfade_store::{Db, InstanceRow, StoreError, Tx};
use std::pin::Pin;

on_sqlite! {
    a_process_whose_term_has_passed_changes_nothing,
}

on_both_engines! {
    a_text_with_a_null_character_is_refused_and_poisons_nothing,
    a_new_connection_to_another_instance_is_refused,
}

async fn instance(tx: &mut Tx) -> Result<(), StoreError> {
    let row = InstanceRow { id: "inst_1".into(), binding: vec![1, 2, 3] };
    tx.insert_instance(&row, Timestamp::from_seconds(1_795_525_500)).await
}

/// Uses several connections at once, so that some of them are new.
fn use_connections(t: &TestDb, more: u32) -> Pin<Box<dyn Future<Output = Result<(), StoreError>> + '_>> {
    Box::pin(t.try_read(async move |tx| match more {
        0 => tx.environments().await.map(drop),
        _ => use_connections(t, more - 1).await,
    }))
}

async fn a_new_connection_to_another_instance_is_refused(place: Place) {
    for (other, says) in
        [("UPDATE instance SET id = 'inst_2'", "inst_2"), ("DROP TABLE instance", "is empty")]
    {
        let t = TestDb::open(place.another().await).await;
        t.write(instance).await;
        t.db.expect_instance("inst_1");
        assert_eq!(t.db.leads_elsewhere(), None);
        t.place.raw(other).await;
        let refused = use_connections(&t, 3).await;
        assert!(matches!(&refused, Err(StoreError::Elsewhere(what)) if what.contains(says)), "{refused:?}");
        assert!(t.db.leads_elsewhere().is_some_and(|what| what.contains(says)));
    }
}

async fn a_process_whose_term_has_passed_changes_nothing(t: TestDb) {
    let first = t.db.lock_for_serving().await.unwrap();
    t.write(seed).await;
    t.place.raw("UPDATE head SET term = 7").await;
    let before = t.place.fingerprint().await;
    let refused = t.try_write(seed_client).await;
    assert!(matches!(refused, Err(StoreError::Superseded)), "{refused:?}");
    assert_eq!(t.place.fingerprint().await, before);
    first.release().await;
    let _second = t.db.lock_for_serving().await.unwrap();
    t.write(async |tx| tx.environments().await).await;
    // A local command has no term.
    let local = Db::open(&t.place.location).await.unwrap();
    local.write::<_, StoreError>(async |tx| tx.environments().await).await.unwrap();
    local.close().await;
}

async fn a_text_with_a_null_character_is_refused_and_poisons_nothing(t: TestDb) {
    let found = t
        .try_read(async |tx| {
            let refused = tx.remembered("a\0b", "c").await.err();
            assert!(matches!(refused, Some(StoreError::Unstorable)), "{refused:?}");
            tx.remembered("a", "c").await
        })
        .await;
    assert!(found.unwrap().is_none());
}
