//! Webhooks: which get a message, their queues, and what is recorded of them.

use crate::engines::on_both_engines;
use crate::harness::*;
use crossfade_core::{
    ClientId, PropertyId, Timestamp, UserId, WebhookId,
    audit::Action,
    messages::{Channel, Class},
    webhook::{DisabledAs, Failing, WebhookFormat},
};
use crossfade_store::{Attempt, NewDelivery, Notification, PageStart, StoreError, Tx, Webhook};
use serde_json::json;
use std::time::Duration;

on_both_engines! {
    in parallel:
    a_webhook_is_read_as_it_was_stored,
    a_webhook_gets_messages_of_its_subject_alone,
    each_webhook_has_a_queue_of_its_own,
    a_delivery_is_logged_and_sent_again_under_its_id,
    a_disabled_webhook_keeps_no_queue,
    an_unreadable_webhook_prevents_no_message,
}

fn wh(number: u32) -> WebhookId {
    WebhookId::parse(&format!("wh_{number:022}")).unwrap()
}

fn webhook(number: u32, property: Option<PropertyId>, client: Option<ClientId>) -> Webhook {
    Webhook {
        id: wh(number),
        name: name("Rotations"),
        url: "https://hooks.example.com/".into(),
        property_id: property,
        client_id: client,
        environments: vec![slug("staging")],
        events: vec![Action::SecretRotated, Action::SecretExpired],
        format: WebhookFormat::Slack,
        signing_secret: vec![1, 2],
        previous_secret: None,
        previous_until: None,
        routing_key: Some(vec![3]),
        created_at: at(number),
        created_by: UserId::parse(&format!("usr_{:022}", 1)).unwrap(),
        disabled: None,
        failing: None,
        version: 1,
    }
}

async fn queue(tx: &mut Tx, number: u32, webhook: &WebhookId) -> Result<String, StoreError> {
    let message = Notification {
        id: format!("message {number}"),
        created_at: at(number),
        number: Some(7),
        event: Action::SecretRotated,
        client_id: Some(client_id(1)),
        client_name: Some("Billing".into()),
        environment: Some(slug("staging")),
        recipients: Vec::new(),
        actor_name: None,
        actor_kind: None,
        source: None,
        reason: None,
        details: json!({}),
    };
    tx.insert_notification(&message).await?;
    let id = format!("del_{number:022}");
    let delivery = NewDelivery {
        id: id.clone(),
        notification: &message.id,
        channel: Channel::Webhook,
        recipient: webhook.as_str(),
        cause: &message.id,
        class: Class::Today,
        created_at: at(number),
        not_after: None,
    };
    tx.insert_delivery(&delivery).await?;
    Ok(id)
}

async fn lease(t: &TestDb, webhook: u32, lease: &str, now: Timestamp) -> Vec<String> {
    let until = now.after(Duration::from_secs(60));
    let leased = async |tx: &mut Tx| tx.lease_deliveries_of(&wh(webhook), lease, (now, until), 2).await;
    t.write(leased).await.into_iter().map(|it| format!("{} #{}", it.id, it.attempts)).collect()
}

async fn a_webhook_is_read_as_it_was_stored(t: TestDb) {
    let stored = webhook(1, None, Some(client_id(1)));
    t.write(async |tx| tx.insert_webhook(&stored).await).await;
    let mut read = t.read(async |tx| tx.webhook(&wh(1)).await).await.unwrap();
    assert_eq!((read.environments.clone(), read.events.clone()), (stored.environments, stored.events));
    assert_eq!(
        (read.format, read.version, read.disabled, read.failing),
        (WebhookFormat::Slack, 1, None, None)
    );
    assert_eq!((read.signing_secret.clone(), read.routing_key.clone()), (vec![1, 2], Some(vec![3])));
    (read.previous_secret, read.signing_secret) = (Some(read.signing_secret), vec![4]);
    read.previous_until = Some(at(9));
    let failing = Failing { since: at(2), last: at(3) };
    t.write(async |tx| {
        tx.set_signing_secrets(&read).await?;
        assert_eq!(tx.failing_webhooks().await?, (0, None));
        tx.webhook_fails(&wh(1), failing).await?;
        assert_eq!(tx.failing_webhooks().await?, (1, Some(at(2))));
        assert!(tx.webhook_works(&wh(1)).await?);
        assert!(!tx.webhook_works(&wh(1)).await?);
        tx.webhook_fails(&wh(1), failing).await?;
        assert!(tx.disable_webhook(&wh(1), at(4), DisabledAs::Gone).await?);
        assert!(!tx.disable_webhook(&wh(1), at(5), DisabledAs::Failing).await?);
        assert_eq!(tx.failing_webhooks().await?, (0, None));
        Ok(())
    })
    .await;
    let mut read = t.read(async |tx| tx.webhook(&wh(1)).await).await.unwrap();
    assert_eq!((read.previous_secret.clone(), read.previous_until), (Some(vec![1, 2]), Some(at(9))));
    assert_eq!(
        (read.disabled, read.failing, read.version),
        (Some((at(4), DisabledAs::Gone)), Some(failing), 3)
    );
    assert_eq!(t.read(async |tx| tx.count_disabled_webhooks().await).await, 1);
    assert_eq!(t.read(async |tx| tx.enabled_version_of(&wh(1)).await).await, None);
    (read.disabled, read.failing) = (None, None);
    t.write(async |tx| tx.update_webhook(&read).await).await;
    let read = t.read(async |tx| tx.webhook(&wh(1)).await).await.unwrap();
    assert_eq!((read.disabled, read.failing, read.version), (None, None, 4));
    assert_eq!(t.read(async |tx| tx.enabled_version_of(&wh(1)).await).await, Some(4));
    assert!(t.read(async |tx| tx.environment_has_webhooks(&slug("staging")).await).await);
    assert!(!t.read(async |tx| tx.environment_has_webhooks(&slug("stag")).await).await);
}

async fn a_webhook_gets_messages_of_its_subject_alone(t: TestDb) {
    let of = [
        webhook(1, None, None),
        webhook(2, Some(property_id(1)), None),
        webhook(3, Some(property_id(2)), None),
        webhook(4, None, Some(client_id(1))),
        webhook(5, None, Some(client_id(2))),
    ];
    t.write(async |tx| {
        for webhook in &of {
            tx.insert_webhook(webhook).await?;
        }
        Ok(())
    })
    .await;
    let found = t.read(async |tx| tx.webhooks_for(&property_id(1), &client_id(1)).await).await;
    let ids: Vec<_> = found.iter().map(|webhook| webhook.id.clone()).collect();
    assert_eq!(ids, [wh(1), wh(2), wh(4)]);
    assert!(of.iter().all(|it| it.covers(&property_id(1), &client_id(1)) == ids.contains(&it.id)));
    let counts = t
        .read(async |tx| {
            let (property, client) = (property_id(2), client_id(2));
            Ok([
                tx.count_webhooks(None, None).await?,
                tx.count_webhooks(Some(&property), None).await?,
                tx.count_webhooks(None, Some(&client)).await?,
            ])
        })
        .await;
    assert_eq!(counts, [1, 1, 1]);
}

async fn each_webhook_has_a_queue_of_its_own(t: TestDb) {
    t.write(async |tx| {
        tx.insert_webhook(&webhook(1, None, None)).await?;
        tx.insert_webhook(&webhook(2, None, None)).await?;
        for number in 1..4 {
            queue(tx, number, &wh(1)).await?;
        }
        queue(tx, 4, &wh(2)).await.map(drop)
    })
    .await;
    let due = async |now| {
        let due = t.read(async |tx| tx.due_webhooks(now).await).await;
        due.into_iter().map(|due| due.id).collect::<Vec<_>>()
    };
    assert_eq!(due(at(1)).await, [wh(1)]);
    assert_eq!(due(at(9)).await, [wh(1), wh(2)]);
    assert!(!t.read(async |tx| tx.has_due_mail(at(9), Class::Wake..=Class::Digest).await).await);
    let first = lease(&t, 1, "one", at(9)).await;
    assert_eq!(first, [format!("del_{:022} #1", 1), format!("del_{:022} #1", 2)]);
    assert_eq!(lease(&t, 2, "two", at(9)).await, [format!("del_{:022} #1", 4)]);
    assert_eq!(due(at(9)).await, [wh(1)], "the third of the first");
    t.write(async |tx| {
        assert!(tx.release_delivery(&format!("del_{:022}", 1), "one").await?);
        assert!(!tx.release_delivery(&format!("del_{:022}", 4), "one").await?);
        Ok(())
    })
    .await;
    assert_eq!(lease(&t, 1, "three", at(9)).await[0], format!("del_{:022} #1", 1), "no attempt was counted");
    let queued = async |channel| t.read(async |tx| Ok(tx.delivery_queue(channel).await?.queued)).await;
    assert_eq!((queued(Channel::Webhook).await, queued(Channel::Mail).await), (4, 0));
}

async fn a_delivery_is_logged_and_sent_again_under_its_id(t: TestDb) {
    let id = t
        .write(async |tx| {
            tx.insert_webhook(&webhook(1, None, None)).await?;
            queue(tx, 1, &wh(1)).await
        })
        .await;
    lease(&t, 1, "one", at(2)).await;
    let attempt = Attempt { status: Some(503), duration_ms: 12 };
    t.write(async |tx| {
        tx.note_attempt(&id, "another", Attempt { status: Some(200), duration_ms: 1 }).await?;
        tx.note_attempt(&id, "one", attempt).await?;
        assert!(tx.delivery_failed(&id, "one", (at(9), "status 503")).await?);
        Ok(())
    })
    .await;
    let log = async || {
        let page = PageStart { after: None, limit: 10 };
        t.read(async |tx| tx.deliveries_of(&wh(1), &page).await).await
    };
    let logged = log().await.remove(0);
    assert_eq!((logged.last_status, logged.last_duration_ms, logged.attempts), (Some(503), Some(12), 1));
    assert_eq!(
        (logged.last_error.as_deref(), logged.number, logged.sent_at),
        (Some("status 503"), Some(7), None)
    );
    t.write(async |tx| tx.replay_delivery(&id, at(5)).await).await;
    assert_eq!(lease(&t, 1, "two", at(5)).await, [format!("{id} #1")]);
    t.write(async |tx| tx.delivery_sent(&id, "two", at(6)).await).await;
    assert_eq!((log().await[0].id.clone(), log().await[0].sent_at), (id.clone(), Some(at(6))));
    assert_eq!(t.read(async |tx| tx.delivery_of(&wh(2), &id).await).await, None, "of another webhook");
}

async fn a_disabled_webhook_keeps_no_queue(t: TestDb) {
    t.write(async |tx| {
        tx.insert_webhook(&webhook(1, None, None)).await?;
        queue(tx, 1, &wh(1)).await?;
        tx.disable_webhook(&wh(1), at(2), DisabledAs::Failing).await?;
        assert_eq!(tx.due_webhooks(at(9)).await?, []);
        assert_eq!(tx.abandon_deliveries_of(&wh(1), at(2)).await?, 1);
        assert!(tx.webhooks_for(&property_id(1), &client_id(1)).await?.is_empty());
        tx.delete_webhook(&wh(1)).await
    })
    .await;
    assert_eq!(t.place.number("SELECT COUNT(*) FROM deliveries").await, 0);
}

async fn an_unreadable_webhook_prevents_no_message(t: TestDb) {
    t.write(async |tx| {
        tx.insert_webhook(&webhook(1, None, None)).await?;
        tx.insert_webhook(&webhook(2, None, None)).await
    })
    .await;
    t.place.raw(&format!("UPDATE webhooks SET events = 'x' WHERE id = '{}'", wh(1))).await;
    let found = t.read(async |tx| tx.webhooks_for(&property_id(1), &client_id(1)).await).await;
    assert_eq!(found.iter().map(|webhook| webhook.id.clone()).collect::<Vec<_>>(), [wh(2)]);
    assert_eq!(t.read(async |tx| tx.all_webhooks().await).await.iter().filter(|it| it.is_err()).count(), 1);
}
