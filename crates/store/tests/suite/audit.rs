//! The audit trail and the messages to owners.

use crate::harness::*;
use crossfade_core::audit::{Action, Actor, Origin};
use crossfade_store::{AuditFilter, NewAuditEvent, Notification};
use serde_json::json;

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
    let events = t.read(async |tx| tx.audit_events(filter, None, 1000).await).await;
    events.into_iter().map(|event| event.seq).collect()
}

fn full(actor: Actor) -> NewAuditEvent {
    NewAuditEvent {
        at: at(7).after(MICRO),
        actor,
        origin: Origin { ip: Some([192, 0, 2, 7].into()), request_id: Some("7bLx3Q9aTzK".into()) },
        action: Action::SecretRotated,
        done: false,
        client_id: Some(client_id(1)),
        environment: Some(slug("staging")),
        target: Some("sec_…".into()),
        reason: Some("quarterly \"請求書\" O'Brien".into()),
        details: json!({"hours": 24, "none": null, "list": [1, 2.5, "x\u{0}y"], "nested": {"a": true}}),
    }
}

#[tokio::test]
async fn an_event_survives_storage_whoever_acted() {
    let Some(t) = super::open().await else { return };
    let events = [
        full(Actor::User { id: user_id(1), name: "Ada".into() }),
        full(Actor::Program { id: user_id(2), name: "CI".into() }),
        full(Actor::policy("deadline", "Deadline")),
        full(Actor::Client { id: oauth_id(1), name: "Billing".into() }),
        full(Actor::machine("init")),
        event(Action::OwnerCreated, at(8)),
    ];
    append(&t, &events).await;
    let stored = t.read(async |tx| tx.audit_events(&AuditFilter::default(), None, 100).await).await;
    assert_eq!(stored.len(), events.len());
    for (stored, (seq, expected)) in stored.iter().rev().zip((1..).zip(&events)) {
        assert_eq!(stored.seq, seq, "in the order in which they were appended");
        assert_same(&stored.event, expected);
    }
}

#[tokio::test]
async fn every_action_can_be_stored_and_filtered_by() {
    let Some(t) = super::open().await else { return };
    let events: Vec<_> = Action::ALL.iter().map(|action| event(*action, at(1))).collect();
    append(&t, &events).await;
    for (seq, action) in (1..).zip(Action::ALL) {
        let filter = AuditFilter { action: Some(*action), ..AuditFilter::default() };
        assert_eq!(seqs(&t, &filter).await, [seq], "{action:?}");
    }
}

#[tokio::test]
async fn the_trail_is_limited_by_each_filter_and_by_all_together() {
    let Some(t) = super::open().await else { return };
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
        (
            AuditFilter {
                actor: Some(user_id(1).to_string()),
                action: Some(Action::SecretRotated),
                client: Some(client_id(1)),
                environment: Some(slug("staging")),
                since: Some(at(10)),
                until: Some(at(11)),
                done: Some(true),
            },
            vec![1],
        ),
    ] {
        assert_eq!(seqs(&t, &filter).await, expected, "{filter:?}");
    }
}

#[tokio::test]
async fn the_trail_is_read_page_by_page_while_it_grows() {
    let Some(t) = super::open().await else { return };
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
            let page = t.read(async |tx| tx.audit_events(&filter, before, 2).await).await;
            let Some(last) = page.last() else { break };
            before = Some(last.seq);
            seen.extend(page.into_iter().map(|event| event.seq));
            append(&t, &events[..1]).await;
        }
        assert_eq!(seen, expected);
    }
}

#[tokio::test]
async fn a_message_survives_storage_until_it_is_forgotten() {
    let Some(t) = super::open().await else { return };
    let message = |n: usize, client: Option<usize>, time: u32| Notification {
        id: format!("message {n}"),
        created_at: at(time),
        event: Action::SecretRotated,
        client_id: client.map(client_id),
        environment: client.map(|_| slug("staging")),
        recipients: if client.is_some() {
            vec!["o'brien@example.com".into(), "ada@example.com".into()]
        } else {
            vec![]
        },
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

#[tokio::test]
async fn an_export_reads_forward_and_stops_where_it_began() {
    let Some(t) = super::open().await else { return };
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

#[tokio::test]
async fn a_trail_is_trimmed_at_its_beginning_and_never_in_the_middle() {
    let Some(t) = super::open().await else { return };
    // The third is dated back, as the event of a deadline is.
    let events: Vec<_> = [1, 5, 2, 8].map(|second| event(Action::SecretExpired, at(second))).into();
    append(&t, &events).await;
    let trim = async |second| t.write(async |tx| tx.trim_audit_events(at(second)).await).await;
    assert_eq!(trim(1).await, (0, 0), "nothing is older");
    assert_eq!(trim(3).await, (1, 1), "up to the first that is young enough");
    assert_eq!(seqs(&t, &AuditFilter::default()).await, [4, 3, 2]);
    assert_eq!(trim(100).await, (3, 4), "all");
    append(&t, &events[..1]).await;
    assert_eq!(seqs(&t, &AuditFilter::default()).await, [5], "numbers are not given again");
}
