//! The chain of the audit trail: what is appended continues it, and whoever touches a row past the store is found.

use crate::engines::on_both_engines;
use crate::harness::*;
use crossfade_core::{
    api,
    audit::{
        Action, Actor, Origin, Via,
        chain::ChainHash,
        statement::{SignedStatement, Statement, StatementKind},
        verify::{Fault, Known, Verified, Verifier},
    },
};
use crossfade_store::{AuditFilter, AuditKeyRow, ChainEnd, NewAuditEvent};
use serde_json::{Map, Value, json};

on_both_engines! {
    each_event_continues_the_one_before_it,
    a_row_that_a_hand_has_touched_is_named,
    events_of_before_the_chain_are_where_it_begins,
    statements_and_keys_are_kept_until_they_are_deleted,
    a_change_that_is_rolled_back_leaves_the_chain_as_it_was,
}

async fn append(t: &TestDb, events: &[NewAuditEvent]) {
    t.write(async |tx| {
        for event in events {
            tx.append_audit(event).await?;
        }
        Ok(())
    })
    .await;
}

/// An event with every member, and with texts and numbers that are hard to write in one way only.
fn full(actor: Actor) -> NewAuditEvent {
    NewAuditEvent {
        actor,
        origin: Origin {
            ip: None,
            stored: Some("192.0.2.0/24".into()),
            request_id: Some("7bLx3Q9aTzK".into()),
        },
        via: Some(Via::Token { id: token_id(1) }),
        done: false,
        client_id: Some(client_id(1)),
        environment: Some(slug("staging")),
        target: Some("sec_…".into()),
        reason: Some("quarterly \"請求書\" 😀 \\ \u{7f}\u{1b}\t".into()),
        details: json!({"hours": 24, "none": null, "list": [1, 2.5, -7, 1e21, "x\u{0}y"], "é": {"a": true, "B": false}}),
        ..event(Action::SecretRotated, at(7).after(MICRO))
    }
}

fn known(kind: StatementKind, seq: i64, hash: ChainHash) -> Known {
    let first_seq = (kind == StatementKind::Start).then_some(1);
    let statement = Statement { first_seq, ..Statement::new(kind, (seq, hash), at(0)) };
    Known { statement, is_outside: false }
}

async fn verify(t: &TestDb, known: Vec<Known>) -> Result<Verified, Fault> {
    let (events, end) = t
        .read(async |tx| {
            let events = tx.export_audit_events(&AuditFilter::default(), i64::MIN, i64::MAX, 1000).await?;
            Ok((events, tx.audit_chain_end().await?))
        })
        .await;
    let mut verifier = Verifier::new(known);
    for event in events {
        let event = serde_json::to_value(api::AuditEvent::from(event)).unwrap();
        let members: Map<String, Value> = event.as_object().unwrap().clone();
        verifier.push(members)?;
    }
    verifier.finish(end.hash.map(|hash| (end.seq, hash)))
}

fn from_the_first() -> Vec<Known> {
    vec![known(StatementKind::Start, 0, ChainHash::START)]
}

async fn each_event_continues_the_one_before_it(t: TestDb) {
    let mut events = vec![
        full(Actor::User { id: user_id(1), name: "Ada".into() }),
        full(Actor::Client { id: oauth_id(1), name: "Billing".into() }),
        full(Actor::Unknown { id: String::new(), name: "unknown client".into() }),
        // Dated earlier than it is written, as the event of a deadline is.
        event(Action::SecretExpired, at(1)),
    ];
    events.extend(Action::ALL.iter().map(|action| event(*action, at(9))));
    for some in events.chunks(3) {
        append(&t, some).await;
    }
    let verified = verify(&t, from_the_first()).await.unwrap();
    assert_eq!((verified.events, verified.before_chain), (events.len() as u64, 0));
    let filter = AuditFilter { action: Some(Action::SecretRotated), ..AuditFilter::default() };
    let listed = t.read(async |tx| tx.audit_events(&filter, None, 10).await).await.events;
    let (_, own) = listed.last().unwrap().chained.unwrap();
    let exported = serde_json::to_value(api::AuditEvent::from(listed.last().unwrap().clone())).unwrap();
    assert_eq!(exported["hash"], json!(own));
    assert_eq!(exported["previous_hash"], json!(ChainHash::START));
}

async fn a_row_that_a_hand_has_touched_is_named(t: TestDb) {
    let events: Vec<_> =
        (0..8).map(|n| NewAuditEvent { at: at(n), ..full(Actor::machine("init")) }).collect();
    append(&t, &events).await;
    let hand = async |sql: &str, mend: &str| {
        t.place.raw(sql).await;
        let found = verify(&t, from_the_first()).await.expect_err(sql);
        t.place.raw(mend).await;
        assert_eq!(verify(&t, from_the_first()).await.unwrap().events, 8, "{mend}");
        found
    };
    t.place.raw("CREATE TABLE kept AS SELECT * FROM audit_events").await;
    let mend = "DELETE FROM audit_events; INSERT INTO audit_events SELECT * FROM kept";
    for change in [
        "at = at + 1",
        "actor_kind = 'policy'",
        "actor_id = 'other'",
        "actor_name = 'other'",
        "action = 'secret.revoked'",
        "outcome = 'done'",
        "client_id = NULL",
        "environment = 'production'",
        "target = 'other'",
        "reason = NULL",
        "details = '{}'",
        "source_ip = '192.0.2.1'",
        "request_id = NULL",
        "via_kind = NULL, via_id = NULL",
        "hash = previous_hash",
        "hash = NULL, previous_hash = NULL",
    ] {
        let found = hand(&format!("UPDATE audit_events SET {change} WHERE seq = 5"), mend).await;
        assert_eq!(found, Fault::Altered { seq: 5 }, "{change}");
    }
    let found = hand("DELETE FROM audit_events WHERE seq IN (3, 4)", mend).await;
    assert_eq!(found, Fault::Missing { first: 3, last: 4 });
    let found = hand("DELETE FROM audit_events WHERE seq = 1", mend).await;
    assert_eq!(found, Fault::Missing { first: 1, last: 1 });
    let found = hand("DELETE FROM audit_events WHERE seq = 8", mend).await;
    assert_eq!(found, Fault::CutOff { last: 7, up_to: 8 });
    let columns = "at, actor_kind, actor_id, actor_name, action, outcome, details, previous_hash, hash";
    for seq in [0, 9] {
        let insert = format!(
            "INSERT INTO audit_events (seq, {columns}) SELECT {seq}, {columns} FROM audit_events WHERE seq = 8"
        );
        assert!(
            matches!(hand(&insert, mend).await, Fault::Inserted { .. } | Fault::Altered { seq: 9 }),
            "{seq}"
        );
    }
    // Two rows change places; and all rows after one move up, so that there is room for another.
    let found = hand(
        "UPDATE audit_events SET seq = -1 WHERE seq = 2; UPDATE audit_events SET seq = 2 WHERE seq = 6; \
         UPDATE audit_events SET seq = 6 WHERE seq = -1",
        mend,
    );
    assert_eq!(found.await, Fault::Altered { seq: 2 });
    let found = hand(
        "UPDATE audit_events SET seq = -seq WHERE seq > 4; UPDATE audit_events SET seq = 1 - seq WHERE seq < 0; \
         INSERT INTO audit_events SELECT * FROM kept WHERE seq = 5",
        mend,
    );
    assert_eq!(found.await, Fault::Altered { seq: 6 });
    let mend = "UPDATE head SET audit_hash = (SELECT hash FROM kept WHERE seq = 8)";
    let found = hand("UPDATE head SET audit_hash = (SELECT hash FROM kept WHERE seq = 7)", mend).await;
    assert_eq!(found, Fault::Replaced { seq: 8 });
}

async fn events_of_before_the_chain_are_where_it_begins(t: TestDb) {
    let events: Vec<_> = (0..5).map(|n| event(Action::ClientUpdated, at(n))).collect();
    append(&t, &events).await;
    // As an earlier version left it.
    t.place
        .raw("UPDATE audit_events SET hash = NULL, previous_hash = NULL; UPDATE head SET audit_hash = NULL")
        .await;
    let ((first, last), hash) = t.write(async |tx| tx.begin_audit_chain().await).await;
    assert_eq!((first, last), (1, 5));
    append(&t, &events[..2]).await;
    let start = || vec![known(StatementKind::Start, 5, hash)];
    let verified = verify(&t, start()).await.unwrap();
    assert_eq!((verified.events, verified.before_chain), (7, 5));
    t.place.raw("UPDATE audit_events SET target = 'other' WHERE seq = 2").await;
    assert_eq!(verify(&t, start()).await, Err(Fault::Rewritten { after: 0, up_to: 5 }));
    t.place.raw("UPDATE audit_events SET target = NULL WHERE seq = 2").await;
    // Retention cuts off in the middle of them, twice, and then behind them.
    let (mut before, mut all) = (ChainHash::START, start());
    for seq in [2, 4, 6] {
        before = t.read(async |tx| tx.audit_event_hash(seq, before).await).await;
        t.write(async |tx| tx.trim_audit_events(seq).await).await;
        all.push(known(StatementKind::Trim, seq, before));
        let verified = verify(&t, all.clone()).await.unwrap();
        assert_eq!((verified.first_seq, verified.last_seq), (Some(seq + 1), Some(7)));
    }
    assert_eq!(verify(&t, all[..3].to_vec()).await, Err(Fault::Missing { first: 5, last: 6 }));
    // A trail whose chain has not begun begins it with the first event that is appended.
    t.place
        .raw("UPDATE audit_events SET hash = NULL, previous_hash = NULL; UPDATE head SET audit_hash = NULL")
        .await;
    append(&t, &events[..1]).await;
    let stored = t.read(async |tx| tx.audit_events(&AuditFilter::default(), None, 9).await).await.events;
    let (newest, old) = (&stored[0], api::AuditEvent::from(stored[1].clone()));
    assert_eq!((newest.seq, newest.chained.unwrap().0), (8, ChainHash::of(&old, ChainHash::START)));
}

async fn statements_and_keys_are_kept_until_they_are_deleted(t: TestDb) {
    let end = t.read(async |tx| tx.audit_chain_end().await).await;
    assert_eq!(end, ChainEnd { seq: 0, hash: None, signed: None });
    let signed = |n: i64| SignedStatement { statement: json!({"seq": n}), signature: "x".into() };
    t.write(async |tx| {
        for (seq, kind) in [
            (0, StatementKind::Start),
            (4, StatementKind::Checkpoint),
            (7, StatementKind::Restore),
            (9, StatementKind::Checkpoint),
        ] {
            tx.insert_audit_statement((seq, kind, at(seq as u32)), &signed(seq)).await?;
        }
        tx.insert_audit_statement((9, StatementKind::Checkpoint, at(10)), &signed(10)).await?;
        tx.insert_audit_key(&AuditKeyRow { id: "b".into(), sealed: vec![1] }, at(1)).await?;
        tx.insert_audit_key(&AuditKeyRow { id: "a".into(), sealed: vec![2] }, at(2)).await
    })
    .await;
    let all = t.read(async |tx| tx.audit_statements(i64::MAX).await).await;
    assert_eq!(all, [0, 4, 7, 10].map(signed), "one of each kind about an event, the latest");
    assert_eq!(t.read(async |tx| tx.audit_milestones(7).await).await, [0, 7].map(signed));
    let end = t.read(async |tx| tx.audit_chain_end().await).await;
    assert_eq!(end.signed, Some((9, at(10))));
    t.write(async |tx| tx.delete_audit_statements(7).await).await;
    assert_eq!(t.read(async |tx| tx.audit_statements(i64::MAX).await).await, [7, 10].map(signed));
    assert_eq!(t.read(async |tx| tx.audit_position("file:/a").await).await, 0);
    for seq in [3, 9] {
        t.write(async |tx| tx.set_audit_position("file:/a", seq, at(1)).await).await;
    }
    assert_eq!(t.read(async |tx| tx.audit_positions().await).await, [("file:/a".to_owned(), 9)]);
    let keys = t.read(async |tx| tx.audit_keys().await).await;
    assert_eq!(keys.iter().map(|key| (&*key.id, key.sealed[0])).collect::<Vec<_>>(), [("b", 1), ("a", 2)]);
}

async fn a_change_that_is_rolled_back_leaves_the_chain_as_it_was(t: TestDb) {
    append(&t, &[event(Action::ClientUpdated, at(1))]).await;
    let before = t.read(async |tx| tx.audit_chain_end().await).await;
    let refused = t.try_write(async |tx| {
        tx.append_audit(&event(Action::ClientUpdated, at(2))).await?;
        assert_eq!(tx.audit_chain().unwrap().0, 2);
        tx.insert_property(&property_id(1), &name("Shop"), at(0)).await?;
        tx.insert_property(&property_id(1), &name("Shop"), at(0)).await
    });
    assert!(refused.await.is_err());
    assert_eq!(t.read(async |tx| tx.audit_chain_end().await).await, before);
    append(&t, &[event(Action::ClientUpdated, at(3))]).await;
    assert_eq!(verify(&t, from_the_first()).await.unwrap().events, 2);
}
