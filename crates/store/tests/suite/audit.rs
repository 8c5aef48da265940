//! The audit trail and the messages to owners.

use crate::engines::on_both_engines;
use crate::harness::*;
use crossfade_core::{
    Timestamp,
    audit::{Action, Actor, Origin, Via},
};
use crossfade_store::{AuditFilter, LOOKED_AT_ONCE, NewAuditEvent, Notification, Statement, Tx};
use serde_json::json;

on_both_engines! {
    an_event_survives_storage_whoever_acted,
    every_action_can_be_stored_and_filtered_by,
    the_trail_is_limited_by_each_filter_and_by_all_together,
    the_trail_leaves_out_sessions_but_no_refused_sign_in,
    the_trail_is_read_page_by_page_while_it_grows,
    what_the_trail_is_read_by_has_an_index,
    a_filter_without_an_index_looks_at_so_many_events_and_says_where_to_look_on,
    a_message_survives_storage_until_it_is_forgotten,
    an_export_reads_forward_and_stops_where_it_began,
    a_trail_is_trimmed_at_its_beginning_and_never_in_the_middle,
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

async fn seqs(t: &TestDb, filter: &AuditFilter) -> Vec<i64> {
    let events = t.read(async |tx| tx.audit_events(filter, None, 1000).await).await.events;
    events.into_iter().map(|event| event.seq).collect()
}

fn full(actor: Actor) -> NewAuditEvent {
    NewAuditEvent {
        at: at(7).after(MICRO),
        actor,
        origin: Origin {
            ip: None,
            stored: Some("192.0.2.0/24".into()),
            request_id: Some("7bLx3Q9aTzK".into()),
        },
        via: Some(Via::Token { id: token_id(1) }),
        action: Action::SecretRotated,
        done: false,
        client_id: Some(client_id(1)),
        environment: Some(slug("staging")),
        target: Some("sec_…".into()),
        reason: Some("quarterly \"請求書\" O'Brien".into()),
        details: json!({"hours": 24, "none": null, "list": [1, 2.5, "x\u{0}y"], "nested": {"a": true}}),
    }
}

async fn an_event_survives_storage_whoever_acted(t: TestDb) {
    let events = [
        full(Actor::User { id: user_id(1), name: "Ada".into() }),
        full(Actor::Program { id: user_id(2), name: "CI".into() }),
        full(Actor::policy("deadline", "Deadline")),
        full(Actor::Client { id: oauth_id(1), name: "Billing".into() }),
        full(Actor::machine("init")),
        NewAuditEvent {
            via: Some(Via::Machine { id: "token create".into() }),
            ..event(Action::TokenCreated, at(8))
        },
        event(Action::OwnerCreated, at(8)),
    ];
    append(&t, &events).await;
    let stored = t.read(async |tx| tx.audit_events(&AuditFilter::default(), None, 100).await).await.events;
    assert_eq!(stored.len(), events.len());
    for (stored, (seq, expected)) in stored.iter().rev().zip((1..).zip(&events)) {
        assert_eq!(stored.seq, seq, "in the order in which they were appended");
        assert_same(&stored.event, expected);
    }
}

async fn every_action_can_be_stored_and_filtered_by(t: TestDb) {
    let events: Vec<_> = Action::ALL.iter().map(|action| event(*action, at(1))).collect();
    append(&t, &events).await;
    for (seq, action) in (1..).zip(Action::ALL) {
        let filter = AuditFilter { action: Some(*action), ..AuditFilter::default() };
        assert_eq!(seqs(&t, &filter).await, [seq], "{action:?}");
    }
}

async fn the_trail_is_limited_by_each_filter_and_by_all_together(t: TestDb) {
    let by = |n: usize| Actor::User { id: user_id(n), name: format!("user {n}") };
    let mut events = Vec::new();
    for (actor, client, environment, time) in [
        (1, Some(1), Some("staging"), 10),
        (2, Some(1), Some("production"), 20),
        (1, Some(2), Some("staging"), 30),
        (1, None, None, 40),
    ] {
        events.push(NewAuditEvent {
            actor: by(actor),
            client_id: client.map(client_id),
            environment: environment.map(slug),
            via: client.map(|n| Via::Token { id: token_id(n) }),
            ..event(Action::SecretRotated, at(time))
        });
    }
    append(&t, &events).await;
    let none = AuditFilter::default;
    for (filter, expected) in [
        (none(), vec![4, 3, 2, 1]),
        (AuditFilter { actor: Some(user_id(1).to_string()), ..none() }, vec![4, 3, 1]),
        (AuditFilter { actor: Some("%".into()), ..none() }, vec![]),
        (AuditFilter { client: Some(client_id(1)), ..none() }, vec![2, 1]),
        (AuditFilter { environment: Some(slug("staging")), ..none() }, vec![3, 1]),
        (AuditFilter { since: Some(at(20)), ..none() }, vec![4, 3, 2]),
        (AuditFilter { since: Some(at(20).after(MICRO)), ..none() }, vec![4, 3]),
        (AuditFilter { until: Some(at(20)), ..none() }, vec![1]),
        (AuditFilter { until: Some(at(20).after(MICRO)), ..none() }, vec![2, 1]),
        (AuditFilter { action: Some(Action::SecretRevoked), ..none() }, vec![]),
        (AuditFilter { done: Some(true), ..none() }, vec![4, 3, 2, 1]),
        (AuditFilter { done: Some(false), ..none() }, vec![]),
        (AuditFilter { via: Some(token_id(1).to_string()), ..none() }, vec![2, 1]),
        (AuditFilter { via: Some("deadline".into()), ..none() }, vec![]),
        (AuditFilter { via_kind: Some("token".into()), ..none() }, vec![3, 2, 1]),
        (AuditFilter { via_kind: Some("session".into()), ..none() }, vec![]),
        (
            AuditFilter {
                actor: Some(user_id(1).to_string()),
                action: Some(Action::SecretRotated),
                client: Some(client_id(1)),
                environment: Some(slug("staging")),
                since: Some(at(10)),
                until: Some(at(11)),
                done: Some(true),
                via: Some(token_id(1).to_string()),
                via_kind: Some("token".into()),
                without_sessions: true,
            },
            vec![1],
        ),
    ] {
        assert_eq!(seqs(&t, &filter).await, expected, "{filter:?}");
    }
}

async fn the_trail_leaves_out_sessions_but_no_refused_sign_in(t: TestDb) {
    let actions =
        [Action::SessionCreated, Action::SecretRotated, Action::SessionRefused, Action::SessionEnded];
    let events: Vec<_> = actions.into_iter().map(|action| event(action, at(10))).collect();
    append(&t, &events).await;
    let without = AuditFilter { without_sessions: true, ..AuditFilter::default() };
    assert_eq!(seqs(&t, &without).await, [3, 2]);
    let exported = t.read(async |tx| tx.export_audit_events(&without, 0, 9, 9).await).await;
    assert_eq!(exported.iter().map(|event| event.seq).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(seqs(&t, &AuditFilter::default()).await, [4, 3, 2, 1]);
}

async fn the_trail_is_read_page_by_page_while_it_grows(t: TestDb) {
    let events: Vec<_> = (0..9)
        .map(|n| event(if n % 2 == 0 { Action::SecretRotated } else { Action::ClientUpdated }, at(n)))
        .collect();
    append(&t, &events).await;
    for (filter, expected) in [
        (AuditFilter::default(), vec![9, 8, 7, 6, 5, 4, 3, 2, 1]),
        (AuditFilter { action: Some(Action::SecretRotated), ..AuditFilter::default() }, vec![9, 7, 5, 3, 1]),
    ] {
        let (mut before, mut seen) = (Some(10), Vec::new());
        loop {
            let page = t.read(async |tx| tx.audit_events(&filter, before, 2).await).await.events;
            let Some(last) = page.last() else { break };
            before = Some(last.seq);
            seen.extend(page.into_iter().map(|event| event.seq));
            append(&t, &events[..1]).await;
        }
        assert_eq!(seen, expected);
    }
}

/// A trail of 25,000 events, of which every thousandth was refused; of two actors, two clients and two actions one has
/// one event in a hundred.
async fn long_trail(t: &TestDb) {
    let (ada, grace) = (user_id(1), user_id(2));
    let (one, two) = (client_id(1), client_id(2));
    let rare = |rare: &str, common: &str| format!("CASE n % 100 WHEN 0 THEN '{rare}' ELSE '{common}' END");
    let (actor, client) = (rare(ada.as_str(), grace.as_str()), rare(one.as_str(), two.as_str()));
    let action = rare("secret.revoked", "secret.rotated");
    let via = rare(token_id(1).as_str(), token_id(2).as_str());
    t.place
        .raw(&format!(
            "WITH RECURSIVE numbers (n) AS (SELECT CAST(1 AS BIGINT) UNION ALL SELECT n + 1 FROM numbers WHERE n < 25000)
             INSERT INTO audit_events (seq, at, actor_kind, actor_id, actor_name, action, outcome, client_id, via_id, details)
             SELECT n, n * 1000000, 'user', {actor}, 'x', {action}, CASE n % 1000 WHEN 0 THEN 'refused' ELSE 'done' END,
                    {client}, {via}, '{{}}' FROM numbers;
             UPDATE head SET audit_seq = 25000; ANALYZE"
        ))
        .await;
}

async fn what_the_trail_is_read_by_has_an_index(t: TestDb) {
    long_trail(&t).await;
    let sqlite = matches!(t.place.location, crossfade_store::Location::File(_));
    for (name, index) in [
        ("TRAIL_OF_CLIENT", "audit_events_client"),
        ("LOOKED_OF_CLIENT", "audit_events_client"),
        ("TRAIL_OF_ACTOR", "audit_events_actor"),
        ("LOOKED_OF_ACTOR", "audit_events_actor"),
        ("TRAIL_OF_VIA", "audit_events_via"),
        ("LOOKED_OF_VIA", "audit_events_via"),
        ("TRAIL_OF_ACTION", "audit_events_action"),
        ("LOOKED_OF_ACTION", "audit_events_action"),
        ("TRAIL", if sqlite { "sqlite_autoindex_audit_events_1" } else { "audit_events_pkey" }),
        ("LOOKED", if sqlite { "sqlite_autoindex_audit_events_1" } else { "audit_events_pkey" }),
    ] {
        let statement =
            Statement::all().find(|it| it.name == name && it.sql.contains("audit_events")).unwrap();
        let rare = match index {
            "audit_events_client" => client_id(1).to_string(),
            "audit_events_actor" => user_id(1).to_string(),
            "audit_events_via" => token_id(1).to_string(),
            _ => "secret.revoked".to_owned(),
        };
        let value = |n: usize| match (name.starts_with("TRAIL"), n) {
            (_, 1) => i64::MAX.to_string(),
            (_, 2) | (true, 12) => "51".to_owned(),
            (false, 3) | (true, 7 | 8) => "NULL".to_owned(),
            (true, 13) => "0".to_owned(),
            _ => format!("'{rare}'"),
        };
        let mut sql = statement.sql.to_owned();
        for n in (1..=statement.arguments()).rev() {
            sql = sql.replace(&format!("${n}"), &value(n));
        }
        let plan = t.place.plan(&sql).await;
        assert!(plan.iter().any(|step| step.contains(index)), "{name}: {plan:#?}");
        let whole = |step: &String| step.contains("Seq Scan") || step == "SCAN audit_events";
        assert!(!plan.iter().any(whole), "{name}: {plan:#?}");
    }
}

async fn a_filter_without_an_index_looks_at_so_many_events_and_says_where_to_look_on(t: TestDb) {
    long_trail(&t).await;
    let look = async |filter: &AuditFilter, before, limit| {
        let page = t.read(async |tx| tx.audit_events(filter, before, limit).await).await;
        (page.events.into_iter().map(|event| event.seq).collect::<Vec<_>>(), page.looked, page.next)
    };
    let nobody = AuditFilter { environment: Some(slug("staging")), ..AuditFilter::default() };
    assert_eq!(look(&nobody, None, 50).await, (vec![], LOOKED_AT_ONCE, Some(15_001)));
    assert_eq!(look(&nobody, Some(15_001), 50).await, (vec![], LOOKED_AT_ONCE, Some(5001)));
    assert_eq!(look(&nobody, Some(5001), 50).await, (vec![], 5000, None));
    let refused = AuditFilter { done: Some(false), ..AuditFilter::default() };
    assert_eq!(look(&refused, None, 2).await, (vec![25_000, 24_000], 2, Some(24_000)));
    assert_eq!(look(&refused, Some(24_000), 9).await.2, Some(15_000));
    let rare = AuditFilter { actor: Some(user_id(1).to_string()), ..refused.clone() };
    assert_eq!(look(&rare, None, 50).await.1, 250, "its own events and no others");
    // Nothing before an event that was written before that time can be younger.
    let late = AuditFilter { since: Some(Timestamp::from_seconds(24_999)), ..AuditFilter::default() };
    assert_eq!(look(&late, None, 50).await, (vec![25_000, 24_999], LOOKED_AT_ONCE, None));
}

async fn a_message_survives_storage_until_it_is_forgotten(t: TestDb) {
    let message = |n: usize, client: Option<usize>, time: u32| Notification {
        id: format!("message {n}"),
        created_at: at(time),
        number: client.map(|_| n as i64),
        event: Action::SecretRotated,
        client_id: client.map(client_id),
        client_name: client.map(|_| "Billing".into()),
        environment: client.map(|_| slug("staging")),
        recipients: if client.is_some() {
            vec!["o'brien@example.com".into(), "ada@example.com".into()]
        } else {
            vec![]
        },
        actor_name: Some("Ada".into()),
        actor_kind: Some("user".into()),
        source: Some("192.0.2.1".into()),
        reason: (n == 1).then(|| "a reason".into()),
        details: json!({"n": n}),
    };
    let messages =
        [message(1, Some(1), 10), message(2, Some(2), 20), message(3, None, 20), message(4, Some(1), 30)];
    t.write(async |tx| {
        for message in &messages {
            tx.insert_notification(message).await?;
        }
        Ok(())
    })
    .await;
    let list = async |client: Option<usize>| {
        let client = client.map(client_id);
        t.read(async |tx| tx.notifications(client.as_ref()).await).await
    };
    let newest_first = [&messages[3], &messages[1], &messages[2], &messages[0]];
    assert_same(&list(None).await.iter().collect::<Vec<_>>(), &newest_first.to_vec());
    assert_same(&list(Some(1)).await.iter().collect::<Vec<_>>(), &vec![&messages[3], &messages[0]]);
    assert!(list(Some(9)).await.is_empty());
    let forget = async |before| t.write(async |tx| tx.delete_notifications(before).await).await;
    assert_eq!((forget(at(20)).await, forget(at(20).after(MICRO)).await), (1, 2));
    assert_eq!(list(None).await.len(), 1);
}

async fn an_export_reads_forward_and_stops_where_it_began(t: TestDb) {
    let events: Vec<_> = (0..5).map(|n| event(Action::SecretRotated, at(n))).collect();
    append(&t, &events).await;
    let up_to = t.read(async |tx| tx.last_audit_event().await).await;
    append(&t, &events[..1]).await;
    let page = async |after| {
        let none = AuditFilter::default();
        let events = t.read(async |tx| tx.export_audit_events(&none, after, up_to, 2).await).await;
        events.into_iter().map(|event| event.seq).collect::<Vec<_>>()
    };
    assert_eq!(
        (page(0).await, page(2).await, page(4).await, page(5).await),
        (vec![1, 2], vec![3, 4], vec![5], vec![])
    );
}

async fn a_trail_is_trimmed_at_its_beginning_and_never_in_the_middle(t: TestDb) {
    // The third is dated back, as the event of a deadline is.
    let events: Vec<_> = [1, 5, 2, 8].map(|second| event(Action::SecretExpired, at(second))).into();
    append(&t, &events).await;
    let trim = async |second| {
        let trimmed = async |tx: &mut Tx| match tx.last_audit_event_to_trim(at(second), 2).await? {
            Some(last) => Ok((tx.trim_audit_events(last).await?, last)),
            None => Ok((0, 0)),
        };
        t.write(trimmed).await
    };
    assert_eq!(trim(1).await, (0, 0), "nothing is older");
    assert_eq!(trim(3).await, (1, 1), "up to the first that is young enough");
    assert_eq!(seqs(&t, &AuditFilter::default()).await, [4, 3, 2]);
    assert_eq!(trim(100).await, (2, 3), "no more than was asked for");
    assert_eq!(trim(100).await, (1, 4), "all");
    assert_eq!(trim(100).await, (0, 0), "nothing is left");
    append(&t, &events[..1]).await;
    assert_eq!(seqs(&t, &AuditFilter::default()).await, [5], "numbers are not given again");
}
