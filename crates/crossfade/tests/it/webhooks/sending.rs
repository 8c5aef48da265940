//! Attempts, replays, and webhooks that hold each other up.

use super::{HOUR, SECOND, abandoned, create, id, log, open, path, posting, rotate, send_all, sent};
use crate::{engines::on_both_engines, mail_server::MailServer, receiver::Receiver, world::World};
use crossfade_app::Poster;
use serde_json::{Value, json};
use std::{collections::BTreeSet, time::Duration};

on_both_engines! {
    a_failed_delivery_follows_the_schedule_under_its_id,
    a_dead_webhook_holds_up_no_other_and_no_mail,
    a_long_queue_starves_no_other_webhook,
    a_delivery_is_replayed_under_its_id_and_a_test_is_told,
}

async fn a_failed_delivery_follows_the_schedule_under_its_id(mut world: World) {
    let (client, receiver) = (posting(&mut world).await, Receiver::start().await);
    let webhook = create(&world, &receiver, json!({})).await;
    rotate(&world, &client, "production").await;
    receiver.answer(&[
        "500",
        "503\r\nretry-after: 600",
        "404",
        "302",
        "400",
        "500",
        "500",
        "500",
        "500",
        "500",
    ]);
    let mut ids = BTreeSet::new();
    let mut bodies = BTreeSet::new();
    let mut times = BTreeSet::new();
    let pauses = [5, 600, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400];
    for pause in pauses {
        let [delivery] = sent(&world, &receiver).await.try_into().unwrap();
        ids.insert(delivery.id().to_owned());
        times.insert(delivery.headers["webhook-timestamp"].clone());
        bodies.insert(delivery.body);
        world.advance(Duration::from_secs(pause) - SECOND);
        assert_eq!(sent(&world, &receiver).await.len(), 0, "{pause}");
        world.advance(SECOND);
    }
    assert_eq!((ids.len(), bodies.len(), times.len()), (1, 1, 9));
    assert_eq!((sent(&world, &receiver).await.len(), open(&world).await), (1, 0));
    assert_eq!(abandoned(&world, "gave_up").await, 1);
    let logged = &log(&world, &webhook).await[0];
    assert_eq!(
        (&logged["attempts"], &logged["last_status"], &logged["status"]),
        (&json!(10), &json!(500), &json!("abandoned"))
    );
    let seen = world.owner().await.get(&path(&webhook, "")).await.ok();
    assert!(seen["failing_since"].is_string() && seen["enabled"] == json!(true), "{seen}");
    rotate(&world, &client, "production").await;
    world.advance(HOUR);
    assert_eq!(sent(&world, &receiver).await.len(), 1);
    assert_eq!(world.owner().await.get(&path(&webhook, "")).await.ok()["failing_since"], Value::Null);
}

async fn a_dead_webhook_holds_up_no_other_and_no_mail(mut world: World) {
    let (client, dead, alive) = (posting(&mut world).await, Receiver::start().await, Receiver::start().await);
    let mail = MailServer::start().await;
    mail.set_down(true);
    let here = Poster::new(vec!["127.0.0.1/32".parse().unwrap()], None).unwrap();
    world.restart_with_both(mail.mailer(), here).await;
    let owners = json!({"owners": ["ada@example.com"], "confirm_client_name": "Billing"});
    world.owner().await.patch(&format!("/clients/{}", client.id), owners).await.ok();
    create(&world, &dead, json!({})).await;
    create(&world, &alive, json!({})).await;
    dead.set_silent(true);
    rotate(&world, &client, "production").await;
    let begun = tokio::time::Instant::now();
    // The mail server that is down, the receiver that never answers, and a token, all at the same time.
    let mails = world.app.send_due_messages();
    let posts = world.app.send_due_webhooks();
    let first = async {
        loop {
            if let Some(delivery) = alive.take().pop() {
                return (delivery.kind(), begun.elapsed());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let (mails, (kind, took)) = tokio::join!(mails, async {
        tokio::select! {
            found = first => found,
            posted = posts => panic!("the dead one ended first: {posted:?}"),
        }
    });
    mails.unwrap();
    assert_eq!(kind, "secret.rotated");
    assert!(took < Duration::from_secs(10), "{took:?}");
}

async fn a_long_queue_starves_no_other_webhook(mut world: World) {
    let (client, busy, other) = (posting(&mut world).await, Receiver::start().await, Receiver::start().await);
    let webhook = create(&world, &busy, json!({})).await;
    create(&world, &other, json!({"events": ["secret.rotated"]})).await;
    rotate(&world, &client, "production").await;
    send_all(&world).await;
    let _ = (busy.take(), other.take());
    let values: Vec<String> = (0..500)
        .map(|n| {
            format!(
                "('del_{n:022}', (SELECT id FROM notifications LIMIT 1), 'webhook', '{}', 'c{n}', 1, 1)",
                id(&webhook)
            )
        })
        .collect();
    let columns = "id, notification_id, channel, recipient, cause, created_at, next_attempt_at";
    world.raw(&format!("INSERT INTO deliveries ({columns}) VALUES {}", values.join(", "))).await;
    world.raw("UPDATE deliveries SET created_at = 2000000000000000").await;
    rotate(&world, &client, "production").await;
    assert!(Box::pin(world.app.send_due_webhooks()).await.unwrap());
    assert_eq!((busy.take().len(), other.take().len()), (50, 1), "one batch of each");
    send_all(&world).await;
    assert_eq!((busy.take().len(), open(&world).await), (451, 0));
}

async fn a_delivery_is_replayed_under_its_id_and_a_test_is_told(mut world: World) {
    let (_, receiver, other) = (posting(&mut world).await, Receiver::start().await, Receiver::start().await);
    let webhook = create(&world, &receiver, json!({})).await;
    let another = create(&world, &other, json!({})).await;
    let owner = world.owner().await;
    let queued = owner.post(&path(&webhook, "/test"), json!({})).await.created();
    assert_eq!((&queued["event"], &queued["status"]), (&json!("webhook.test"), &json!("queued")));
    let [first] = sent(&world, &receiver).await.try_into().unwrap();
    assert_eq!((first.kind(), first.id()), ("webhook.test".to_owned(), queued["id"].as_str().unwrap()));
    assert!(other.take().is_empty());
    let logged = &log(&world, &webhook).await[0];
    assert_eq!(
        (&logged["status"], &logged["last_status"], &logged["attempts"]),
        (&json!("sent"), &json!(204), &json!(1))
    );
    let replay = |webhook: &Value| path(webhook, &format!("/deliveries/{}/replay", first.id()));
    owner.post(&replay(&another), json!({})).await.refused(404, "not_found");
    owner.post(&replay(&webhook), json!({})).await.ok();
    let [again] = sent(&world, &receiver).await.try_into().unwrap();
    assert_eq!((again.id(), &again.body), (first.id(), &first.body));
    let actions = "SELECT COUNT(*) FROM audit_events WHERE action IN ('webhook.tested', 'webhook.replayed')";
    assert_eq!(world.number(actions).await, 2);
}
