//! Deliveries of messages: leases, what becomes of them, and one message for one cause.

use crate::engines::on_both_engines;
use crate::harness::*;
use crossfade_core::{
    Timestamp,
    audit::Action,
    ended::Cause,
    messages::{AbandonedAs, Channel, Class},
};
use crossfade_store::{Location, NewDelivery, Notification, QuarantineRow, Statement, StoreError, Tx};
use serde_json::json;
use std::{ops::RangeInclusive, time::Duration};

on_both_engines! {
    in parallel:
    a_recipient_gets_one_message_for_one_cause,
    a_lease_can_be_released_and_those_of_other_processes_too,
    a_lease_that_has_ended_is_given_again_and_its_holder_changes_nothing,
    a_failed_delivery_waits_for_its_next_attempt,
    what_is_late_or_was_tried_for_long_is_abandoned,
    a_quarantine_abandons_what_is_queued,
    deliveries_are_forgotten_with_their_message,
    messages_about_a_registration_are_numbered,
    what_is_open_is_found_among_many_that_are_not,
    wakes_are_leased_first_and_digests_last,
}

async fn queue(
    tx: &mut Tx,
    number: u32,
    recipients: &[&str],
    cause: &str,
    not_after: Option<Timestamp>,
) -> Result<(), StoreError> {
    let message = Notification {
        id: format!("message {number}"),
        created_at: at(number),
        number: None,
        event: Action::SecretRotated,
        client_id: Some(client_id(1)),
        client_name: Some("Billing".into()),
        environment: Some(slug("staging")),
        recipients: recipients.iter().map(|it| (*it).to_owned()).collect(),
        actor_name: Some("Ada".into()),
        actor_kind: Some("user".into()),
        source: Some("192.0.2.1".into()),
        reason: None,
        details: json!({}),
    };
    tx.insert_notification(&message).await?;
    for recipient in recipients {
        let id = format!("{number} to {recipient}");
        let (notification, created_at) = (message.id.as_str(), at(number));
        let channel = Channel::Mail;
        tx.insert_delivery(&NewDelivery {
            id,
            notification,
            channel,
            recipient,
            cause,
            class: Class::Today,
            created_at,
            not_after,
        })
        .await?;
    }
    Ok(())
}

const MINUTE: Duration = Duration::from_secs(60);
const ALL: RangeInclusive<Class> = Class::Wake..=Class::Digest;

async fn lease(t: &TestDb, lease: &str, now: Timestamp) -> Vec<String> {
    t.write(async |tx| {
        let leased = tx.lease_mail(lease, (now, now.after(MINUTE)), ALL, 2).await?;
        Ok(leased.into_iter().map(|it| format!("{} #{}", it.id, it.attempts)).collect())
    })
    .await
}

async fn queued(t: &TestDb) -> i64 {
    t.read(async |tx| Ok(tx.delivery_queue(Channel::Mail).await?.queued)).await
}

async fn a_recipient_gets_one_message_for_one_cause(t: TestDb) {
    t.write(async |tx| {
        queue(tx, 1, &["ada@example.com", "bob@example.com"], "ended", None).await?;
        queue(tx, 2, &["ada@example.com", "eve@example.com"], "ended", None).await?;
        queue(tx, 3, &["ada@example.com"], "other", None).await?;
        Ok(())
    })
    .await;
    assert_eq!(queued(&t).await, 4);
    let ids = lease(&t, "a", at(9)).await;
    assert_eq!(ids, ["1 to ada@example.com #1", "1 to bob@example.com #1"]);
    assert_eq!(lease(&t, "b", at(9)).await, ["2 to eve@example.com #1", "3 to ada@example.com #1"]);
    assert_eq!(lease(&t, "c", at(9)).await, [""; 0]);
}

async fn a_lease_can_be_released_and_those_of_other_processes_too(t: TestDb) {
    t.write(async |tx| queue(tx, 1, &["ada@example.com", "bob@example.com"], "1", None).await).await;
    assert_eq!(lease(&t, "this-1", at(9)).await.len(), 2);
    t.write(async |tx| tx.release_leases_of_others("this-", at(9)).await).await;
    assert_eq!(lease(&t, "this-2", at(9)).await, [""; 0], "those of this process are held");
    t.write(async |tx| tx.release_lease("this-1").await).await;
    let again = ["1 to ada@example.com #1", "1 to bob@example.com #1"];
    assert_eq!(lease(&t, "this-2", at(9)).await, again, "no attempt was made");
    t.write(async |tx| tx.release_leases_of_others("other-", at(9)).await).await;
    assert_eq!(lease(&t, "other-1", at(9)).await.len(), 2);
}

async fn a_lease_that_has_ended_is_given_again_and_its_holder_changes_nothing(t: TestDb) {
    t.write(async |tx| queue(tx, 1, &["ada@example.com"], "1", None).await).await;
    let micro = Duration::from_micros(1);
    assert_eq!(lease(&t, "one", at(9)).await, ["1 to ada@example.com #1"]);
    let end = at(9).after(MINUTE);
    assert_eq!(lease(&t, "two", end.before(micro)).await, [""; 0]);
    assert_eq!(lease(&t, "two", end).await, ["1 to ada@example.com #2"]);
    t.write(async |tx| {
        let id = "1 to ada@example.com";
        assert!(!tx.delivery_sent(id, "one", end).await?);
        assert!(!tx.delivery_failed(id, "one", (end, "no")).await?);
        assert!(!tx.abandon_delivery(id, "one", (end, AbandonedAs::Refused, None)).await?);
        assert!(tx.delivery_sent(id, "two", end).await?);
        assert!(!tx.delivery_sent(id, "two", end).await?);
        Ok(())
    })
    .await;
    assert_eq!(queued(&t).await, 0);
    assert_eq!(lease(&t, "three", end.after(MINUTE)).await, [""; 0]);
}

async fn a_failed_delivery_waits_for_its_next_attempt(t: TestDb) {
    t.write(async |tx| queue(tx, 1, &["ada@example.com"], "1", None).await).await;
    lease(&t, "a", at(2)).await;
    let again = at(2).after(MINUTE);
    t.write(async |tx| {
        assert!(tx.delivery_failed("1 to ada@example.com", "a", (again, "451 later")).await?);
        Ok(())
    })
    .await;
    let due = async |now| t.read(async |tx| tx.has_due_mail(now, ALL).await).await;
    assert_eq!((due(again.before(Duration::from_micros(1))).await, due(again).await), (false, true));
    let queue = t.read(async |tx| tx.delivery_queue(Channel::Mail).await).await;
    assert_eq!((queue.queued, queue.oldest, queue.last_error), (1, Some(at(1)), Some("451 later".into())));
    assert_eq!(lease(&t, "b", again).await, ["1 to ada@example.com #2"]);
    t.write(async |tx| {
        let refused = (again, AbandonedAs::Refused, Some("550 unknown"));
        assert!(tx.abandon_delivery("1 to ada@example.com", "b", refused).await?);
        Ok(())
    })
    .await;
    assert_eq!(queued(&t).await, 0);
    let lost = async |since| t.read(async |tx| tx.lost_deliveries(Channel::Mail, since).await).await;
    assert_eq!((lost(again).await, lost(again.after(MINUTE)).await), (1, 0));
}

async fn what_is_late_or_was_tried_for_long_is_abandoned(t: TestDb) {
    t.write(async |tx| {
        queue(tx, 10, &["ada@example.com"], "1", Some(at(50))).await?;
        queue(tx, 20, &["ada@example.com"], "2", None).await?;
        Ok(())
    })
    .await;
    let sweep = async |now, since| {
        t.write(async |tx| tx.abandon_old_deliveries(Channel::Mail, now, since).await).await
    };
    assert_eq!(sweep(at(49), at(9)).await, 0);
    assert_eq!(sweep(at(50), at(19)).await, 1);
    assert_eq!(sweep(at(50), at(20)).await, 1);
    let number = async |reason: &str| {
        t.place.number(&format!("SELECT COUNT(*) FROM deliveries WHERE abandoned_as = '{reason}'")).await
    };
    assert_eq!((number("late").await, number("gave_up").await, queued(&t).await), (1, 1, 0));
}

async fn a_quarantine_abandons_what_is_queued(t: TestDb) {
    t.write(async |tx| queue(tx, 1, &["ada@example.com", "bob@example.com"], "1", None).await).await;
    lease(&t, "a", at(2)).await;
    t.write(async |tx| {
        assert!(tx.delivery_sent("1 to ada@example.com", "a", at(2)).await?);
        let row = QuarantineRow { since: at(3), cause: Cause::Restored, data_until: at(2) };
        tx.start_quarantine(&row).await?;
        assert!(!tx.delivery_sent("1 to bob@example.com", "a", at(3)).await?);
        Ok(())
    })
    .await;
    let abandoned = "SELECT COUNT(*) FROM deliveries WHERE abandoned_as = 'quarantine' AND sent_at IS NULL";
    assert_eq!((t.place.number(abandoned).await, queued(&t).await), (1, 0));
}

async fn deliveries_are_forgotten_with_their_message(t: TestDb) {
    t.write(async |tx| {
        queue(tx, 1, &["ada@example.com"], "1", None).await?;
        queue(tx, 2, &["ada@example.com"], "2", None).await?;
        tx.delete_notifications(at(2)).await
    })
    .await;
    assert_eq!(queued(&t).await, 1);
}

/// The digests were queued first, and are due for longer.
async fn wakes_are_leased_first_and_digests_last(t: TestDb) {
    t.write(async |tx| queue(tx, 1, &["ada@example.com"], "today", None).await).await;
    let message = "(SELECT id FROM notifications LIMIT 1)";
    for (urgency, number) in [(2, 10_000), (0, 2)] {
        let rows: Vec<String> = (0..number)
            .map(|n| {
                let id = format!("{urgency} {n:05}");
                format!(
                    "('{id}', {message}, 'mail', 'eve@example.com', '{id}', {urgency}, 0, {})",
                    2 - urgency
                )
            })
            .collect();
        let columns = "id, notification_id, channel, recipient, cause, urgency, created_at, next_attempt_at";
        for rows in rows.chunks(1000) {
            t.place.raw(&format!("INSERT INTO deliveries ({columns}) VALUES {}", rows.join(", "))).await;
        }
    }
    let wakes = Class::Wake..=Class::Wake;
    let others = Class::Today..=Class::Digest;
    t.write(async |tx| {
        let due =
            (tx.has_due_mail(at(9), wakes.clone()).await?, tx.has_due_mail(at(9), others.clone()).await?);
        assert_eq!(due, (true, true));
        let lease = tx.lease_mail("others", (at(9), at(9).after(MINUTE)), others.clone(), 1).await?;
        assert_eq!(lease.iter().map(|it| it.id.as_str()).collect::<Vec<_>>(), ["1 to ada@example.com"]);
        assert!(tx.release_delivery("1 to ada@example.com", "others").await?);
        Ok(())
    })
    .await;
    assert_eq!(lease(&t, "a", at(9)).await, ["0 00000 #1", "0 00001 #1"]);
    assert!(!t.read(async |tx| tx.has_due_mail(at(9), wakes).await).await);
    assert_eq!(lease(&t, "b", at(9)).await, ["1 to ada@example.com #1", "2 00000 #1"]);
}

async fn messages_about_a_registration_are_numbered(t: TestDb) {
    let next = async |t: &TestDb, environment: &str| {
        let environment = slug(environment);
        t.write(async |tx| tx.next_message_number(&client_id(1), &environment).await).await
    };
    t.write(seed).await;
    t.write(async |tx| {
        tx.insert_client(&client(1, "Billing")).await?;
        tx.insert_registration(&registration(1, 1, "staging")).await
    })
    .await;
    assert_eq!([next(&t, "staging").await, next(&t, "staging").await], [Some(1), Some(2)]);
    assert_eq!(next(&t, "production").await, None);
}

async fn what_is_open_is_found_among_many_that_are_not(t: TestDb) {
    t.write(async |tx| queue(tx, 1, &["ada@example.com"], "cause", None).await).await;
    // 30 days of a busy instance.
    let rows: Vec<String> = (0..5000)
        .map(|n| {
            format!(
                "('sent {n}', (SELECT id FROM notifications LIMIT 1), '{}', 'to {}', 'c{n}', {n}, {n}, {n})",
                if n % 2 == 0 { "mail" } else { "webhook" },
                n % 20
            )
        })
        .collect();
    let columns = "id, notification_id, channel, recipient, cause, created_at, next_attempt_at, sent_at";
    for rows in rows.chunks(1000) {
        t.place.raw(&format!("INSERT INTO deliveries ({columns}) VALUES {}", rows.join(", "))).await;
    }
    if matches!(t.place.location, Location::Postgres(_)) {
        t.place.raw("ANALYZE deliveries").await;
    }
    let (now, text) = ("4000", "'webhook'");
    for (name, index, args) in [
        ("DUE", "deliveries_open", vec![now, text, "0", "0"]),
        ("LEASE", "deliveries_open", vec![now, text, now, "50", text, "1", "2"]),
        ("LEASE_OF", "deliveries_due", vec![now, text, now, "50", text, "'to 1'"]),
        ("ABANDON_OLD", "deliveries_open", vec![now, now, text, text, text]),
        ("QUEUE", "deliveries_open", vec![text]),
        ("LAST_ERROR", "deliveries_open", vec![text]),
        ("LOST", "deliveries_abandoned", vec![now, text, text, text, text]),
    ] {
        let of_deliveries = |it: &&Statement| {
            it.name == name && it.sql.contains("deliveries") && !it.sql.contains("webhooks")
        };
        let statement = Statement::all().find(of_deliveries).unwrap();
        assert_eq!(statement.arguments(), args.len(), "{name}");
        let mut sql = statement.sql.to_owned();
        for (n, arg) in args.iter().enumerate().rev() {
            sql = sql.replace(&format!("${}", n + 1), arg);
        }
        let plan = t.place.plan(&sql).await;
        let finds = |index: &str| plan.iter().any(|step| step.contains(index));
        // PostgreSQL may take another index of open deliveries, which is as small.
        let is_small = finds(index) || finds("deliveries_due") || finds("deliveries_open");
        assert!(is_small, "{name}: {plan:#?}");
        for all in ["deliveries_log", "autoindex_deliveries_2", "Seq Scan on deliveries", "SCAN deliveries"] {
            assert!(!finds(all), "{name}: {plan:#?}");
        }
    }
}
