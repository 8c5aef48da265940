//! What a transaction promises: all or nothing, in one order, and a time that never goes back (rules 2, 3).

use crate::engines::on_both_engines;
use crate::harness::*;
use crossfade_core::audit::Action;
use crossfade_store::{AuditFilter, ChangeKind, StoreError, Tx};
use std::{collections::BTreeMap, sync::Arc};
use tokio::task::JoinSet;

on_both_engines! {
    what_is_committed_stands_and_what_comes_after_sees_it,
    a_refusal_rolls_everything_back_rule_3,
    a_caught_failure_still_refuses_the_commit_and_nothing_is_written,
    a_failure_that_is_not_caught_is_told_as_it_is,
    a_panic_rolls_everything_back_rule_3,
    a_read_stays_on_one_snapshot,
    a_read_cannot_write,
    the_highest_time_is_never_lowered_rule_2,
    a_read_whose_caller_hangs_up_leaves_the_connection_clean,
}

on_both_engines! {
    in parallel:
    the_change_log_is_gap_free_and_in_commit_order_under_20_writers,
    a_write_whose_caller_hangs_up_leaves_all_or_nothing_rule_3,
}

/// A refusal of a rule, as a use case has it.
#[derive(Debug)]
enum Failed {
    #[expect(dead_code, reason = "shown when a test fails")]
    Store(StoreError),
    ByARule,
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Several statements that belong together: property `n`, two changes, an event, a time.
async fn change(tx: &mut Tx, n: usize) -> Result<(), StoreError> {
    tx.stamp(at(n as u32));
    tx.insert_property(&property_id(n), &name(&format!("Property {n}")), at(n as u32)).await?;
    tx.append_change(&ChangeKind::AccessToken(format!("{n}/first"))).await?;
    tx.append_change(&ChangeKind::AccessToken(format!("{n}/last"))).await?;
    tx.append_audit(&event(Action::PropertyCreated, at(n as u32))).await
}

async fn what_is_committed_stands_and_what_comes_after_sees_it(t: TestDb) {
    let ((), seq) = t.db.write::<_, StoreError>(async |tx| change(tx, 1).await).await.unwrap();
    assert_eq!(seq, 2, "the sequence number of the last change");
    let (quiet, seq) = t.db.write::<_, StoreError>(async |tx| Ok(tx.highest_time())).await.unwrap();
    assert_eq!((quiet, seq), (at(1), 2), "a write without a change tells the last one");
    let (head, changes) = t.read(async |tx| Ok((tx.read_head().await?, tx.changes(0, 10).await?))).await;
    assert_eq!(head, (2, at(1)));
    let kinds: Vec<_> = changes.into_iter().map(|change| (change.seq, change.kind)).collect();
    let token = |text: &str| ChangeKind::AccessToken(text.into());
    assert_eq!(kinds, [(1, token("1/first")), (2, token("1/last"))]);
}

async fn a_refusal_rolls_everything_back_rule_3(t: TestDb) {
    t.write(async |tx| change(tx, 1).await).await;
    let before = t.place.fingerprint().await;
    let refused =
        t.db.write(async |tx| {
            change(tx, 2).await?;
            Err::<(), _>(Failed::ByARule)
        })
        .await;
    assert!(matches!(refused, Err(Failed::ByARule)), "{refused:?}");
    assert_eq!(t.place.fingerprint().await, before);
    let ((), seq) = t.db.write::<_, StoreError>(async |tx| change(tx, 3).await).await.unwrap();
    assert_eq!(seq, 4, "a refusal leaves no gap in the log");
}

async fn a_caught_failure_still_refuses_the_commit_and_nothing_is_written(t: TestDb) {
    t.write(async |tx| change(tx, 1).await).await;
    let before = t.place.fingerprint().await;
    let result = t
        .try_write(async |tx| {
            change(tx, 2).await?;
            let caught = tx.insert_property(&property_id(1), &name("Same id"), at(3)).await;
            assert!(matches!(caught, Err(StoreError::Duplicate)), "{caught:?}");
            let later = tx.insert_property(&property_id(3), &name("Later"), at(3)).await;
            let told = later.as_ref().err().map(ToString::to_string).unwrap_or_default();
            assert!(matches!(later, Err(StoreError::Poisoned { .. })), "{later:?}");
            assert!(
                told.contains("23505") || told.contains("SQLITE_CONSTRAINT"),
                "the first failure: {told}"
            );
            let read = tx.properties(&all()).await;
            assert!(matches!(read, Err(StoreError::Poisoned { .. })), "{read:?}");
            Ok(())
        })
        .await;
    assert!(matches!(result, Err(StoreError::Poisoned { .. })), "{result:?}");
    assert_eq!(t.place.fingerprint().await, before);
    let ((), seq) = t.db.write::<_, StoreError>(async |tx| change(tx, 4).await).await.unwrap();
    assert_eq!(seq, 4, "the next transaction is clean");
}

async fn a_failure_that_is_not_caught_is_told_as_it_is(t: TestDb) {
    t.write(async |tx| change(tx, 1).await).await;
    let before = t.place.fingerprint().await;
    let duplicate = t.try_write(async |tx| change(tx, 1).await).await;
    assert!(matches!(duplicate, Err(StoreError::Duplicate)), "{duplicate:?}");
    let orphan = t.try_write(async |tx| {
        let mut orphan = client(1, "Orphan");
        orphan.property_id = property_id(9);
        tx.insert_client(&orphan).await
    });
    let orphan = orphan.await;
    assert!(matches!(orphan, Err(StoreError::Database(_))), "a property that is not there: {orphan:?}");
    assert_eq!(t.place.fingerprint().await, before);
    t.write(async |tx| tx.insert_client(&client(1, "Child")).await).await;
    let used = t.try_write(async |tx| tx.delete_property(&property_id(1)).await).await;
    assert!(matches!(used, Err(StoreError::Database(_))), "a row that others point to: {used:?}");
}

async fn a_panic_rolls_everything_back_rule_3(t: TestDb) {
    let before = t.place.fingerprint().await;
    let t = Arc::new(t);
    let mut tasks = JoinSet::new();
    let own = t.clone();
    tasks.spawn(async move {
        own.write(async |tx| {
            change(tx, 1).await?;
            if tx.property(&property_id(1)).await?.is_some() {
                panic!("half-way");
            }
            Ok(())
        })
        .await
    });
    assert!(tasks.join_next().await.unwrap().unwrap_err().is_panic());
    assert_eq!(t.place.fingerprint().await, before);
    t.write(async |tx| change(tx, 2).await).await;
}

async fn a_read_stays_on_one_snapshot(t: TestDb) {
    t.write(async |tx| change(tx, 1).await).await;
    let count = t
        .read(async |tx| {
            let before = tx.properties(&all()).await?.len();
            t.write(async |tx| change(tx, 2).await).await;
            assert_eq!(tx.properties(&all()).await?.len(), before);
            assert_eq!(tx.read_head().await?, (2, at(1)));
            Ok(before)
        })
        .await;
    assert_eq!(count, 1);
    assert_eq!(t.read(async |tx| tx.properties(&all()).await).await.len(), 2);
}

async fn a_read_cannot_write(t: TestDb) {
    let before = t.place.fingerprint().await;
    let refused = t.try_read(async |tx| change(tx, 1).await).await;
    assert!(matches!(refused, Err(StoreError::Database(_))), "{refused:?}");
    assert_eq!(t.place.fingerprint().await, before);
}

async fn the_highest_time_is_never_lowered_rule_2(t: TestDb) {
    let stamp = async |seconds| {
        t.write(async |tx| {
            let before = tx.highest_time();
            tx.stamp(at(seconds));
            Ok(before)
        })
        .await
    };
    stamp(100).await;
    assert_eq!(stamp(50).await, at(100), "the transaction learns the time before it");
    assert_eq!(stamp(0).await, at(100), "an earlier stamp changed nothing");
    let refused =
        t.db.write(async |tx| {
            tx.stamp(at(900));
            Err::<(), _>(Failed::ByARule)
        })
        .await;
    assert!(refused.is_err());
    assert_eq!(stamp(101).await, at(100), "what was refused has not happened");
    t.db.close().await;
    let again = TestDb::open(t.place).await;
    assert_eq!(again.read(async |tx| tx.read_head().await).await, (0, at(101)), "after a restart too");
}

const WRITERS: usize = 20;
const WRITES: usize = 6;

async fn the_change_log_is_gap_free_and_in_commit_order_under_20_writers(t: TestDb) {
    let t = Arc::new(t);
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let t = t.clone();
        writers.spawn(async move {
            let mut told = Vec::new();
            for write in 0..WRITES {
                let n = 1 + writer * WRITES + write;
                // One of three is refused when it has done all its work.
                let outcome =
                    t.db.write(async |tx| {
                        change(tx, n).await?;
                        if n.is_multiple_of(3) { Err(Failed::ByARule) } else { Ok(()) }
                    })
                    .await;
                match outcome {
                    Ok(((), seq)) => told.push((seq, format!("{n}/last"))),
                    Err(error) => assert!(matches!(error, Failed::ByARule), "{error:?}"),
                }
            }
            told
        });
    }
    // Meanwhile a node follows the log. If a number were visible before a smaller one, it would miss it.
    let done = WRITERS * WRITES - WRITERS * WRITES / 3;
    let mut applied = Vec::new();
    while applied.len() < done * 2 {
        let after = applied.len() as i64;
        let changes = t.read(async |tx| tx.changes(after, 7).await).await;
        for change in changes {
            assert_eq!(change.seq, applied.len() as i64 + 1, "no gap, ever");
            applied.push(change.kind);
        }
        tokio::task::yield_now().await;
    }
    let mut told = BTreeMap::new();
    while let Some(writer) = writers.join_next().await {
        told.extend(writer.unwrap());
    }
    assert_eq!(told.len(), done, "each write was told a number of its own");
    for (seq, last) in told {
        assert_eq!(applied[seq as usize - 1], ChangeKind::AccessToken(last), "the number of its last change");
    }
    let events = t.read(async |tx| tx.audit_events(&AuditFilter::default(), None, 1000).await).await.events;
    let seqs: Vec<i64> = events.iter().rev().map(|event| event.seq).collect();
    assert_eq!(seqs, (1..=done as i64).collect::<Vec<_>>(), "the trail has no gap either");
}

async fn a_write_whose_caller_hangs_up_leaves_all_or_nothing_rule_3(t: TestDb) {
    // The first write opens a connection, which takes polls that no later one needs.
    t.write(async |tx| change(tx, 1).await).await;
    let (polls, ()) = count_polls(t.write(async |tx| change(tx, 2).await)).await;
    let mut choices = Choices(0x9e37_79b9_7f4a_7c15);
    let (mut done, mut dropped) = (2, 0);
    for n in 3.. {
        // How many polls a write takes differs from one to the next, so few may be dropped by chance.
        if n > 200 && dropped > 50 {
            break;
        }
        assert!(n < 900, "only {dropped} of {n} were dropped");
        let (times, at_once) = (choices.below(polls + 3), choices.below(2) == 0);
        let finished = dropped_after(t.write(async |tx| change(tx, n).await), times, at_once).await;
        dropped += usize::from(finished.is_none());
        // A commit that was sent before the caller hung up may still be under way; a write waits for it.
        t.write(async |_| Ok(())).await;
        let (there, changes, events, head) = t
            .read(async |tx| {
                let there = tx.property(&property_id(n)).await?.is_some();
                let changes = tx.changes(done * 2, 10).await?.len();
                let events = tx.audit_events(&AuditFilter::default(), None, 1000).await?.events.len();
                Ok((there, changes, events, tx.read_head().await?.0))
            })
            .await;
        assert!(there || finished.is_none(), "{n}: what was told as done stands");
        done += i64::from(there);
        let expected = (if there { 2 } else { 0 }, done as usize, done * 2);
        assert_eq!((changes, events, head), expected, "{n}: dropped after {times} polls");
    }
    // Every connection of the pools is clean: reads and writes at the same time, more than there are.
    let t = Arc::new(t);
    let mut tasks = JoinSet::new();
    for n in 900..930 {
        let t = t.clone();
        tasks.spawn(async move {
            t.write(async |tx| change(tx, n).await).await;
            t.read(async |tx| tx.property(&property_id(n)).await).await.is_some()
        });
    }
    assert!(tasks.join_all().await.into_iter().all(|there| there));
    assert_eq!(t.read(async |tx| tx.read_head().await).await.0, (done + 30) * 2);
}

async fn a_read_whose_caller_hangs_up_leaves_the_connection_clean(t: TestDb) {
    t.write(async |tx| change(tx, 1).await).await;
    let (polls, _) = count_polls(t.read(async |tx| tx.properties(&all()).await)).await;
    let mut choices = Choices(42);
    for n in 0..200 {
        let (times, at_once) = (choices.below(polls + 1), choices.below(2) == 0);
        dropped_after(t.read(async |tx| tx.properties(&all()).await), times, at_once).await;
        assert_eq!(t.read(async |tx| tx.properties(&all()).await).await.len(), 1, "{n}");
    }
    // A snapshot that was left open would hide this.
    t.write(async |tx| change(tx, 2).await).await;
    for _ in 0..20 {
        assert_eq!(t.read(async |tx| tx.properties(&all()).await).await.len(), 2);
    }
}
