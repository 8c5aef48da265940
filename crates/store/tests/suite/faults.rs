//! What is left of a connection after a failure, and who waits for whom.

use crate::engines::on_both_engines;
use crate::harness::*;
use crossfade_store::{Db, Fault, Purpose, StoreError, Tx};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{sync::Semaphore, task::JoinSet, time::timeout};

on_both_engines! {
    a_failed_commit_stores_nothing_and_the_next_change_works,
    a_change_dropped_in_a_failing_commit_leaves_the_next_working,
    changes_that_wait_keep_no_read_waiting,
    reads_that_do_not_end_keep_no_change_and_no_feed_waiting,
    strangers_that_are_looked_up_keep_nothing_else_waiting,
    a_change_that_gets_no_lock_is_told_that_the_database_is_busy,
    every_connection_is_opened_early_and_kept,
    a_trial_finds_whether_changes_work_and_changes_nothing,
    a_closed_database_lends_no_connection,
}

/// Far above what a read takes, and below any wait for a lock.
const QUICK: Duration = Duration::from_secs(3);

async fn add(t: &TestDb, n: usize) -> Result<(), StoreError> {
    t.try_write(async |tx| tx.insert_property(&property_id(n), &name(&format!("Property {n}")), at(1)).await)
        .await
}

async fn a_failed_commit_stores_nothing_and_the_next_change_works(t: TestDb) {
    t.place.fail_commits().await;
    for n in 1..4 {
        let failed = add(&t, n).await.unwrap_err();
        assert!(matches!(failed, StoreError::Database(_)), "it is known that nothing is stored: {failed:?}");
        let told = failed.to_string();
        assert!(told.contains("SQLSTATE 53100: could not extend file") || told.contains("(787)"), "{told}");
    }
    t.place.mend_commits().await;
    add(&t, 4).await.unwrap();
    let found = t.read(async |tx| tx.properties(&all()).await).await;
    assert_eq!(found.iter().map(|it| it.id.clone()).collect::<Vec<_>>(), [property_id(4)]);
}

async fn a_change_dropped_in_a_failing_commit_leaves_the_next_working(t: TestDb) {
    t.place.fail_commits().await;
    let (polls, _) = count_polls(add(&t, 1)).await;
    for times in 1..polls {
        dropped_after(add(&t, 1), times, times % 2 == 0).await;
    }
    t.place.mend_commits().await;
    add(&t, 2).await.unwrap();
    assert_eq!(t.place.number("SELECT COUNT(*) FROM properties").await, 1);
}

async fn changes_that_wait_keep_no_read_waiting(t: TestDb) {
    let t = Arc::new(t);
    let held = t.place.hold_writes().await;
    let mut changes = JoinSet::new();
    for n in 0..14 {
        let t = t.clone();
        changes.spawn(async move { add(&t, n).await });
    }
    let reads = async {
        for _ in 0..20 {
            t.read(async |tx| tx.environments().await).await;
            for purpose in [Purpose::LookUp, Purpose::Feed, Purpose::Readiness] {
                t.db.read_for::<_, StoreError>(purpose, async |tx| tx.read_head().await).await.unwrap();
            }
        }
    };
    timeout(QUICK, reads).await.expect("no read waits for a change");
    drop(held);
    while let Some(changed) = changes.join_next().await {
        changed.unwrap().unwrap();
    }
    assert_eq!(t.place.number("SELECT COUNT(*) FROM properties").await, 14);
}

async fn reads_that_do_not_end_keep_no_change_and_no_feed_waiting(t: TestDb) {
    let (t, reading, go_on) = (Arc::new(t), Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let mut reads = JoinSet::new();
    for _ in 0..20 {
        let (t, reading, go_on) = (t.clone(), reading.clone(), go_on.clone());
        reads.spawn(async move {
            t.try_read(async |tx| {
                tx.read_head().await?;
                reading.fetch_add(1, Ordering::SeqCst);
                drop(go_on.acquire().await);
                Ok(())
            })
            .await
        });
    }
    while reading.load(Ordering::SeqCst) < 4 {
        tokio::task::yield_now().await;
    }
    let others = async {
        add(&t, 1).await.unwrap();
        for purpose in [Purpose::LookUp, Purpose::Feed, Purpose::Readiness] {
            let (seq, _) = t.db.read_for(purpose, async |tx| tx.read_head().await).await.unwrap();
            assert_eq!(seq, 0);
        }
    };
    timeout(QUICK, others).await.expect("each purpose has connections of its own");
    go_on.close();
    while let Some(read) = reads.join_next().await {
        read.unwrap().unwrap();
    }
}

async fn strangers_that_are_looked_up_keep_nothing_else_waiting(t: TestDb) {
    let (t, looking, go_on) = (Arc::new(t), Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let mut strangers = JoinSet::new();
    for _ in 0..1000 {
        let (t, looking, go_on) = (t.clone(), looking.clone(), go_on.clone());
        strangers.spawn(async move {
            let look = async |tx: &mut Tx| {
                tx.read_head().await?;
                looking.fetch_add(1, Ordering::SeqCst);
                drop(go_on.acquire().await);
                Ok::<_, StoreError>(())
            };
            t.db.read_for(Purpose::LookUp, look).await
        });
    }
    while looking.load(Ordering::SeqCst) < 1 {
        tokio::task::yield_now().await;
    }
    let others = async {
        add(&t, 1).await.unwrap();
        for purpose in [Purpose::Read, Purpose::Feed, Purpose::Readiness] {
            t.db.read_for::<_, StoreError>(purpose, async |tx| tx.read_head().await).await.unwrap();
        }
    };
    timeout(QUICK, others).await.expect("each purpose has connections of its own");
    assert_eq!(looking.load(Ordering::SeqCst), 1, "one at a time");
    go_on.close();
    while let Some(looked) = strangers.join_next().await {
        looked.unwrap().unwrap();
    }
}

async fn a_change_that_gets_no_lock_is_told_that_the_database_is_busy(t: TestDb) {
    let held = t.place.hold_writes().await;
    // The second waits behind the first on SQLite, and for the lock on PostgreSQL; the last for its turn.
    let (one, two, three) = tokio::join!(add(&t, 1), add(&t, 2), add(&t, 3));
    for refused in [one, two, three] {
        assert_eq!(refused.unwrap_err().fault(), Fault::Busy);
    }
    drop(held);
    add(&t, 4).await.unwrap();
}

async fn every_connection_is_opened_early_and_kept(t: TestDb) {
    let (opened, most) = t.db.open_connections().await;
    assert!(opened == most && most >= 8, "{opened} of {most}");
    assert_eq!(t.db.open_connections().await, (opened, most));
}

async fn a_trial_finds_whether_changes_work_and_changes_nothing(t: TestDb) {
    let before = t.place.fingerprint().await;
    Db::try_to_change(&t.place.location).await.unwrap();
    assert_eq!(t.place.fingerprint().await, before);
    let held = t.place.hold_writes().await;
    assert_eq!(Db::try_to_change(&t.place.location).await.unwrap_err().fault(), Fault::Busy);
    drop(held);
    t.place.raw("ALTER TABLE idempotency RENAME TO elsewhere").await;
    let failed = Db::try_to_change(&t.place.location).await.unwrap_err();
    assert!(failed.to_string().contains("idempotency"), "{failed}");
}

async fn a_closed_database_lends_no_connection(t: TestDb) {
    t.db.close().await;
    for purpose in [Purpose::Read, Purpose::LookUp, Purpose::Feed, Purpose::Readiness] {
        let refused = t.db.read_for::<_, StoreError>(purpose, async |tx| tx.read_head().await).await;
        assert_eq!(refused.unwrap_err().fault(), Fault::Unreachable);
    }
    assert_eq!(add(&t, 1).await.unwrap_err().fault(), Fault::Unreachable);
}
