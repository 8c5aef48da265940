//! Remembered responses.

use crate::engines::on_both_engines;
use crate::harness::*;
use crossfade_core::Timestamp;
use crossfade_store::{Remembered, StoreError};

on_both_engines! {
    an_answer_is_remembered_for_its_actor_and_key_rule_7,
    a_remembered_value_is_wiped_first_and_its_answer_forgotten_later_rule_7,
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
