//! What a backup holds, and that it can be written again.

use crate::engines::on_both_engines;
use crate::harness::*;
use crossfade_core::Timestamp;
use crossfade_store::{
    AuditFilter, Db, Link, LinkPurpose, Maker, StoreError, Value,
    backup::{Kind, LEFT_OUT, TABLES, Table},
};

on_both_engines! {
    no_table_and_no_column_is_forgotten,
    every_value_of_every_table_survives,
    a_restored_head_goes_on_counting_and_never_goes_back,
    a_database_is_empty_until_anything_is_in_it,
    rows_are_handed_over_one_by_one_until_somebody_says_stop,
    a_backup_sees_one_moment_whatever_is_written_meanwhile,
}

/// A row with a value in every column. All texts are the same, so that rows refer to each other.
fn row(table: &Table) -> Vec<Value> {
    let value = |kind| match kind {
        Kind::Int | Kind::Local => Value::Int(Some(1)),
        Kind::Text => Value::Text(Some("{\"ö\": 1}".into())),
        Kind::Blob | Kind::Withheld => Value::Blob(Some((0..=255).collect())),
    };
    table.kept().map(|(_, kind)| value(kind)).collect()
}

async fn fill(t: &TestDb) {
    t.write(async |tx| {
        for table in TABLES {
            tx.insert_row(table, row(table)).await?;
        }
        Ok(())
    })
    .await;
}

async fn rows_of(db: &Db, table: &Table) -> Vec<Vec<Value>> {
    db.read_all::<_, StoreError>(async |tx| {
        let mut rows = Vec::new();
        let read = |row| {
            rows.push(row);
            Ok::<_, StoreError>(())
        };
        let count = tx.each_row(table, read).await?;
        assert_eq!(count, rows.len() as u64);
        Ok(rows)
    })
    .await
    .unwrap()
}

async fn no_table_and_no_column_is_forgotten(t: TestDb) {
    let mut named = Vec::new();
    for table in TABLES {
        for (column, kind) in table.columns {
            let kind = match *kind {
                Kind::Withheld => Kind::Blob,
                Kind::Local => Kind::Int,
                kept => kept,
            };
            named.push((table.name.to_owned(), (*column).to_owned(), format!("{kind:?}")));
        }
    }
    named.sort();
    let mut real = t.place.columns().await;
    let before = real.len();
    real.retain(|(table, _, _)| !LEFT_OUT.contains(&table.as_str()));
    assert!(real.len() < before, "what is left out is in the schema");
    assert_eq!(named, real);
}

async fn every_value_of_every_table_survives(t: TestDb) {
    fill(&t).await;
    for table in TABLES {
        let mut rows = rows_of(&t.db, table).await;
        if table.name == "head" {
            // The transaction counts on from it.
            let counters = std::iter::repeat_n(Value::Int(Some(1)), 5);
            assert_eq!(rows.pop(), Some(counters.chain([Value::Blob(None), Value::Blob(None)]).collect()));
            rows.push(row(table));
        }
        assert_eq!(rows, [row(table)], "{}", table.name);
    }
    assert_eq!(t.place.number("SELECT COUNT(*) FROM idempotency WHERE sealed IS NULL").await, 1);
}

async fn a_restored_head_goes_on_counting_and_never_goes_back(t: TestDb) {
    let (hash, end_hash) = ([7; 32], [9; 16]);
    let head = |change, audit, highest| {
        let counters = [1, change, audit, highest, 0].map(|n| Value::Int(Some(n)));
        let hashes = [Value::Blob(Some(hash.to_vec())), Value::Blob(Some(end_hash.to_vec()))];
        counters.into_iter().chain(hashes).collect::<Vec<_>>()
    };
    let late = Timestamp::from_seconds(1_900_000_000);
    let event = event(crossfade_core::audit::Action::OwnerCreated, late);
    t.write(async |tx| {
        tx.insert_row(&TABLES[0], head(41, 7, late.as_micros())).await?;
        tx.append_audit(&event).await
    })
    .await;
    assert_eq!(t.read(async |tx| tx.read_head().await).await, (41, late));
    let listed = t.read(async |tx| tx.audit_events(&AuditFilter::default(), None, 1).await).await.events;
    assert_eq!(listed[0].chained.unwrap().0.as_bytes(), hash, "the chain goes on");
    let history = t.read(async |tx| tx.history().await).await;
    assert_eq!(history.end_hash.unwrap().as_bytes(), end_hash, "the hash of the ends goes on");
    let trail = t.read(async |tx| tx.trail().await).await;
    assert_eq!((trail.events, trail.first, trail.last, trail.given), (1, 8, 8, 8));
    let broken = vec![Value::Int(Some(1)), Value::Int(None), Value::Int(Some(1)), Value::Int(Some(1))];
    let refused = t.try_write(async |tx| tx.insert_row(&TABLES[0], broken.clone()).await).await;
    assert!(matches!(refused, Err(StoreError::Corrupt { .. })), "{refused:?}");
}

async fn a_database_is_empty_until_anything_is_in_it(t: TestDb) {
    let empty = async || t.read(async |tx| tx.is_empty().await).await;
    assert!(empty().await);
    let link =
        Link { purpose: LinkPurpose::SetUp, user_id: None, maker: Maker::default(), expires_at: at(9) };
    t.write(async |tx| tx.insert_link(&link, &[1; 32], at(0)).await).await;
    assert!(!empty().await, "a link");
    t.place.raw("DELETE FROM links").await;
    fill(&t).await;
    t.place.raw("UPDATE head SET change_seq = 0, audit_seq = 0").await;
    for table in TABLES.iter().rev().filter(|table| table.name != "head") {
        assert!(!empty().await, "{} and what it refers to", table.name);
        t.place.raw(&format!("DELETE FROM {}", table.name)).await;
    }
    assert!(empty().await);
    for counter in ["change_seq", "audit_seq"] {
        t.place.raw(&format!("UPDATE head SET {counter} = 1")).await;
        assert!(!empty().await, "something has been counted: {counter}");
        t.place.raw(&format!("UPDATE head SET {counter} = 0")).await;
    }
}

async fn rows_are_handed_over_one_by_one_until_somebody_says_stop(t: TestDb) {
    t.write(async |tx| {
        for n in 1..=500 {
            tx.insert_property(&property_id(n), &name(&format!("Property {n}")), at(0)).await?;
        }
        Ok(())
    })
    .await;
    let properties = TABLES.iter().find(|table| table.name == "properties").unwrap();
    assert_eq!(rows_of(&t.db, properties).await.len(), 500);
    let mut seen = 0;
    let stop = |_| {
        seen += 1;
        if seen == 3 { Err(StoreError::Open("enough".into())) } else { Ok(()) }
    };
    let stopped = t
        .try_read(async |tx| {
            let stopped = tx.each_row(properties, stop).await;
            assert!(matches!(stopped, Err(StoreError::Open(_))), "{stopped:?}");
            tx.environments().await
        })
        .await;
    assert!(matches!(stopped, Err(StoreError::Poisoned { .. })), "{stopped:?}");
    assert_eq!(seen, 3);
    assert_eq!(rows_of(&t.db, properties).await.len(), 500, "the connection is as good as before");
}

async fn a_backup_sees_one_moment_whatever_is_written_meanwhile(t: TestDb) {
    t.write(seed).await;
    let properties = TABLES.iter().find(|table| table.name == "properties").unwrap();
    let seen =
        t.db.read_all::<_, StoreError>(async |tx| {
            let before = tx.read_head().await?;
            for n in 2..=20 {
                let new = format!("Property {n}");
                t.write(async |tx| tx.insert_property(&property_id(n), &name(&new), at(0)).await).await;
            }
            let count = tx.each_row(properties, |_| Ok::<_, StoreError>(())).await?;
            assert_eq!(tx.read_head().await?, before);
            Ok(count)
        })
        .await
        .unwrap();
    assert_eq!(seen, 1);
    assert_eq!(rows_of(&t.db, properties).await.len(), 20);
}
