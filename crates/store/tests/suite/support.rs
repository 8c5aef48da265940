//! The change log, remembered answers, revoked access tokens, data keys.

use crate::engines::on_both_engines;
use crate::harness::*;
use crossfade_core::{Timestamp, forget::Passed};
use crossfade_store::{ChangeKind, DataKey, Remembered, StoreError};
use std::time::Duration;

on_both_engines! {
    every_kind_of_change_survives_storage,
    the_log_is_read_behind_a_place_and_trimmed_up_to_it,
    an_answer_is_remembered_for_its_actor_and_key_rule_7,
    a_remembered_value_is_wiped_first_and_its_answer_forgotten_later_rule_7,
    a_revoked_access_token_is_kept_until_it_would_have_ended_rfc7009,
    the_time_that_the_clock_has_shown_is_stored,
    data_keys_come_oldest_first,
}

async fn every_kind_of_change_survives_storage(t: TestDb) {
    let kinds = [
        ChangeKind::Registration(registration_id(1)),
        ChangeKind::Environment(slug("staging")),
        ChangeKind::TokensOfSecret(secret_id(1)),
        ChangeKind::AccessToken("jti".into()),
    ];
    t.write(async |tx| {
        for kind in &kinds {
            tx.append_change(kind).await?;
        }
        Ok(())
    })
    .await;
    let changes = t.read(async |tx| tx.changes(0, 10).await).await;
    assert_eq!(changes.iter().map(|change| change.seq).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(changes.into_iter().map(|change| change.kind).collect::<Vec<_>>(), kinds);
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

fn answer(time: Timestamp) -> Remembered {
    Remembered {
        request: vec![0, 1, 255],
        created_at: time,
        reply: r#"{"a":"請求書"}"#.into(),
        sealed: Some(vec![255, 0]),
    }
}

async fn an_answer_is_remembered_for_its_actor_and_key_rule_7(t: TestDb) {
    t.write(async |tx| tx.remember("usr_1", "key", &answer(at(1))).await).await;
    let get = async |actor, key| t.read(async |tx| tx.remembered(actor, key).await).await;
    assert_same(&get("usr_1", "key").await, &Some(answer(at(1))));
    for (actor, key) in [("usr_2", "key"), ("usr_1", "KEY"), ("usr_1", "key "), ("usr_1", "")] {
        assert!(get(actor, key).await.is_none(), "{actor} {key:?}");
    }
    let again = t.try_write(async |tx| tx.remember("usr_1", "key", &answer(at(2))).await).await;
    assert!(matches!(again, Err(StoreError::Duplicate)), "{again:?}");
    let without_value = Remembered { sealed: None, ..answer(at(3)) };
    t.write(async |tx| tx.remember("usr_2", "key", &without_value).await).await;
    assert_same(&get("usr_2", "key").await, &Some(without_value));
}

async fn a_remembered_value_is_wiped_first_and_its_answer_forgotten_later_rule_7(t: TestDb) {
    t.write(async |tx| tx.remember("usr_1", "key", &answer(at(10))).await).await;
    let tidy = async |values, answers| {
        t.write(async |tx| tx.tidy_remembered(values, answers).await).await;
        t.read(async |tx| tx.remembered("usr_1", "key").await).await
    };
    let long_ago = at(0);
    assert_same(&tidy(at(10).before(MICRO), long_ago).await, &Some(answer(at(10))));
    let wiped = Remembered { sealed: None, ..answer(at(10)) };
    assert_same(&tidy(at(10), long_ago).await, &Some(wiped.clone()));
    assert_same(&tidy(at(99), at(10).before(MICRO)).await, &Some(wiped));
    assert!(tidy(at(99), at(10)).await.is_none());
}

async fn a_revoked_access_token_is_kept_until_it_would_have_ended_rfc7009(t: TestDb) {
    let revoke = async |jti, expires, now| {
        let token = [(String::from(jti), at(expires))];
        !t.write(async |tx| tx.revoke_access_tokens(&token, at(now)).await).await.is_empty()
    };
    assert!(revoke("a", 50, 10).await);
    assert!(!revoke("a", 90, 20).await, "twice is once");
    assert!(revoke("b", 60, 10).await);
    let get = async |jti| t.read(async |tx| tx.revoked_access_token(jti).await).await;
    assert_eq!((get("a").await, get("A").await), (Some(at(50)), None));
    let all = async || {
        let rows = t.read(async |tx| tx.revoked_access_tokens().await).await;
        let mut rows: Vec<_> = rows.into_iter().collect::<Result<_, _>>().unwrap();
        rows.sort();
        rows
    };
    let (a, b) = (("a".to_owned(), at(50)), ("b".to_owned(), at(60)));
    assert_eq!(all().await, [a, b.clone()]);
    let forget = async |now| t.write(async |tx| tx.forget_revoked_access_tokens(now).await).await;
    assert_eq!((forget(at(50).before(MICRO)).await, forget(at(50)).await), (0, 1));
    assert_eq!((get("a").await, get("b").await), (None, Some(at(60))));
    assert_eq!(all().await, [b]);
}

async fn the_time_that_the_clock_has_shown_is_stored(t: TestDb) {
    let read = async || t.read(async |tx| tx.passed().await).await;
    assert_eq!(read().await, Passed { at: Timestamp::from_micros(0), ran: Duration::ZERO });
    let passed = Passed { at: at(50), ran: Duration::from_micros(7) };
    t.write(async |tx| tx.set_passed(passed).await).await;
    assert_eq!(read().await, passed);
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
