//! The change log.

use crate::engines::on_both_engines;
use crate::harness::*;
use crossfade_store::{ChangeKind, StoreError};

on_both_engines! {
    every_kind_of_change_survives_storage,
    the_log_is_read_behind_a_place_and_trimmed_up_to_it,
}

async fn every_kind_of_change_survives_storage(t: TestDb) {
    let kinds = [
        ChangeKind::Registration(registration_id(1)),
        ChangeKind::Environment(slug("staging")),
        ChangeKind::TokensOfSecret(secret_id(1)),
        ChangeKind::AccessToken("jti".into()),
    ];
    t.write(async |tx| {
        tx.stamp(at(7));
        for kind in &kinds {
            tx.append_change(kind).await?;
        }
        Ok(())
    })
    .await;
    let changes = t.read(async |tx| tx.changes(0, 10).await).await;
    assert_eq!(changes.iter().map(|change| change.seq).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert!(changes.iter().all(|change| change.made_at == at(7)));
    assert_eq!(changes.into_iter().map(|change| change.kind).collect::<Vec<_>>(), kinds);
    let made_at = async |seq| t.read(async |tx| tx.change_made_at(seq).await).await;
    assert_eq!((made_at(0).await, made_at(4).await, made_at(5).await), (None, Some(at(7)), None));
}

async fn the_log_is_read_behind_a_place_and_trimmed_up_to_it(t: TestDb) {
    t.write(async |tx| {
        for n in 1..=5 {
            tx.append_change(&ChangeKind::Registration(registration_id(n))).await?;
        }
        Ok(())
    })
    .await;
    let seqs = async |after, limit| {
        let changes = t.read(async |tx| tx.changes(after, limit).await).await;
        changes.into_iter().map(|change| change.seq).collect::<Vec<_>>()
    };
    assert_eq!(seqs(2, 2).await, [3, 4]);
    assert_eq!(seqs(5, 2).await, [0; 0]);
    let trim = async |up_to| t.write(async |tx| tx.trim_changes(up_to).await).await;
    assert_eq!((trim(3).await, trim(3).await), (3, 0));
    assert_eq!(seqs(0, 9).await, [4, 5]);
    assert_eq!(trim(5).await, 2);
    let ((), seq) =
        t.db.write::<_, StoreError>(async |tx| tx.append_change(&ChangeKind::AccessToken("x".into())).await)
            .await
            .unwrap();
    assert_eq!(seq, 6, "a trimmed log goes on counting");
}
