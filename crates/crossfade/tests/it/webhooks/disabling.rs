//! Webhooks that are disabled, by whom, and who is told.

use super::{
    HOUR, abandoned, body, create, id, is_enabled, log, manager, manager_in, open, path, posting, rotate,
    send_all, sent,
};
use crate::{
    engines::on_both_engines,
    mail_server::MailServer,
    receiver::Receiver,
    world::{OWNER, Principal, World},
};
use crossfade_app::{Poster, doctor::examine};
use crossfade_authority::Clock;
use serde_json::json;
use std::{collections::BTreeSet, time::Duration};

on_both_engines! {
    a_receiver_that_is_gone_is_told_no_more_and_people_are,
    a_webhook_that_fails_is_reported_until_it_works_again,
    a_late_queue_of_webhooks_is_seen_on_the_overview_and_by_doctor,
    failures_of_five_days_disable_a_webhook,
    a_dead_webhook_with_rare_events_is_disabled,
    who_manages_a_webhook_is_told_that_it_is_disabled,
    a_disabled_webhook_queues_nothing_and_enabling_replays_nothing,
    enabling_and_disabling_have_a_pace,
}

async fn a_receiver_that_is_gone_is_told_no_more_and_people_are(mut world: World) {
    let (client, receiver, mail) =
        (posting(&mut world).await, Receiver::start().await, MailServer::start().await);
    let webhook = create(&world, &receiver, json!({"name": "Alerts"})).await;
    rotate(&world, &client, "production").await;
    receiver.answer(&["410"]);
    let here = Poster::new(vec!["127.0.0.1/32".parse().unwrap()], None).unwrap();
    world.restart_with_both(mail.mailer(), here).await;
    assert_eq!(sent(&world, &receiver).await.len(), 1);
    let seen = world.owner().await.get(&path(&webhook, "")).await.ok();
    assert_eq!((&seen["enabled"], &seen["disabled_as"]), (&json!(false), &json!("gone")));
    while Box::pin(world.app.send_due_messages()).await.unwrap() {}
    let [told] = mail.take().try_into().unwrap();
    assert_eq!((told.to.as_str(), told.header("Subject")), (OWNER, "Webhook disabled: Alerts".to_owned()));
    let event =
        "SELECT COUNT(*) FROM audit_events WHERE action = 'webhook.disabled' AND actor_kind = 'policy'";
    assert_eq!(world.number(event).await, 1);
    rotate(&world, &client, "production").await;
    assert_eq!((open(&world).await, sent(&world, &receiver).await.len()), (0, 0));
    assert_eq!(world.app.measure().await.stored.unwrap().webhooks_disabled, 1);
}

async fn a_webhook_that_fails_is_reported_until_it_works_again(mut world: World) {
    let (client, receiver) = (posting(&mut world).await, Receiver::start().await);
    create(&world, &receiver, json!({})).await;
    let failing = async || world.app.measure().await.stored.unwrap().webhooks_failing;
    let is_told =
        async || world.signed_in().await.get("/console").await.page(200).contains("1 webhook fails.");
    let found = async || {
        let clock = Clock::manual(world.now());
        let found = examine(&world.instance(&clock)).await;
        found.checks.into_iter().find(|check| check.name == "webhooks").unwrap().sentence
    };
    assert_eq!((failing().await, is_told().await), (0, false));
    receiver.answer(&["500", "500"]);
    rotate(&world, &client, "production").await;
    assert_eq!(sent(&world, &receiver).await.len(), 1);
    assert_eq!((failing().await, is_told().await), (1, false), "one failure is no news");
    world.advance(Duration::from_secs(900));
    assert_eq!(sent(&world, &receiver).await.len(), 1);
    assert_eq!((failing().await, is_told().await), (1, true));
    let said = found().await;
    assert!(said.contains("1 webhook has taken no delivery since") && said.contains("status 500"), "{said}");
    world.advance(HOUR);
    assert_eq!(sent(&world, &receiver).await.len(), 1, "this one is taken");
    assert_eq!((failing().await, is_told().await), (0, false));
}

async fn a_late_queue_of_webhooks_is_seen_on_the_overview_and_by_doctor(mut world: World) {
    let (client, receiver) = (posting(&mut world).await, Receiver::start().await);
    create(&world, &receiver, json!({})).await;
    for _ in 0..2 {
        rotate(&world, &client, "production").await;
    }
    let overview = async |world: &World| world.signed_in().await.get("/console").await.page(200);
    let found = async |world: &World| {
        let clock = Clock::manual(world.now());
        let found = examine(&world.instance(&clock)).await;
        found.checks.into_iter().find(|check| check.name == "webhooks").unwrap().sentence
    };
    world.advance(HOUR);
    assert!(!overview(&world).await.contains("Webhooks are late"), "not yet");
    assert!(found(&world).await.contains("none is late"));
    world.advance(Duration::from_secs(1));
    let page = overview(&world).await;
    assert!(page.contains("Webhooks are late: 2 deliveries wait to be made, the oldest since "), "{page}");
    let said = found(&world).await;
    assert!(said.starts_with("2 deliveries in the queue, the oldest since "), "{said}");
    assert_eq!(world.app.measure().await.stored.unwrap().webhooks_queued, 2);
    assert_eq!(sent(&world, &receiver).await.len(), 2);
    assert!(!overview(&world).await.contains("Webhooks are late"));
    assert!(found(&world).await.contains("none is late"));
}

async fn failures_of_five_days_disable_a_webhook(mut world: World) {
    let (client, receiver) = (posting(&mut world).await, Receiver::start().await);
    let webhook = create(&world, &receiver, json!({})).await;
    receiver.answer(&["500"; 5000]);
    let mut hours = 0;
    while is_enabled(&world, &webhook).await {
        assert!(hours < 24 * 9, "{hours}");
        if hours % 24 == 0 {
            rotate(&world, &client, "production").await;
        }
        send_all(&world).await;
        world.advance(HOUR);
        hours += 1;
    }
    assert!(hours > 24 * 5, "{hours}");
    assert_eq!(open(&world).await, 0);
    let failing = "SELECT COUNT(*) FROM webhooks WHERE disabled_as = 'failing'";
    assert_eq!(world.number(failing).await, 1);
}

async fn a_dead_webhook_with_rare_events_is_disabled(mut world: World) {
    let (client, receiver) = (posting(&mut world).await, Receiver::start().await);
    let webhook = create(&world, &receiver, json!({})).await;
    receiver.answer(&["500"; 100]);
    let give_up = async |world: &World| {
        rotate(world, &client, "production").await;
        for pause in [300, 600, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400] {
            send_all(world).await;
            world.advance(Duration::from_secs(pause));
        }
        assert!(is_enabled(world, &webhook).await, "the last attempt decides");
        send_all(world).await;
    };
    give_up(&world).await;
    assert!(is_enabled(&world, &webhook).await, "after 3 days");
    world.advance(HOUR * 24 * 30);
    give_up(&world).await;
    assert!(!is_enabled(&world, &webhook).await);
}

async fn who_manages_a_webhook_is_told_that_it_is_disabled(mut world: World) {
    let (client, receiver, mail) =
        (posting(&mut world).await, Receiver::start().await, MailServer::start().await);
    let here = Poster::new(vec!["127.0.0.1/32".parse().unwrap()], None).unwrap();
    world.restart_with_both(mail.mailer(), here).await;
    let of_client = json!({"client_id": client.id, "confirm_name": "Billing"});
    let left = manager(&world, "left@example.com", &client.id).await;
    left.post("/webhooks", body(&receiver, of_client)).await.created();
    let gone = "(SELECT id FROM users WHERE email = 'left@example.com')";
    world.raw(&format!("DELETE FROM grants WHERE user_id = {gone}")).await;
    manager(&world, "grace@example.com", &client.id).await;
    manager_in(&world, "stan@example.com", &client.id, &["staging"]).await;
    world.user("vic@example.com", "viewer").await;
    world.raw("UPDATE clients SET owners = '[\"ada@example.com\"]'").await;
    world.raw("DELETE FROM deliveries").await;
    rotate(&world, &client, "production").await;
    world.raw("DELETE FROM deliveries WHERE channel = 'mail'").await;
    receiver.answer(&["410"]);
    send_all(&world).await;
    while Box::pin(world.app.send_due_messages()).await.unwrap() {}
    let told: BTreeSet<String> = mail.take().into_iter().map(|mail| mail.to).collect();
    assert_eq!(told, BTreeSet::from([OWNER, "ada@example.com", "grace@example.com"].map(str::to_owned)));
}

async fn a_disabled_webhook_queues_nothing_and_enabling_replays_nothing(mut world: World) {
    let (client, receiver) = (posting(&mut world).await, Receiver::start().await);
    let webhook = create(&world, &receiver, json!({})).await;
    let owner = world.owner().await;
    rotate(&world, &client, "production").await;
    let disabled = owner.patch(&path(&webhook, ""), json!({"enabled": false})).await.ok();
    assert_eq!((&disabled["disabled_as"], abandoned(&world, "disabled").await), (&json!("disabled"), 1));
    rotate(&world, &client, "production").await;
    assert_eq!((open(&world).await, sent(&world, &receiver).await.len()), (0, 0));
    owner.post(&path(&webhook, "/test"), json!({})).await.refused(409, "webhook_disabled");
    let delivery = log(&world, &webhook).await[0]["id"].as_str().unwrap().to_owned();
    let replay = path(&webhook, &format!("/deliveries/{delivery}/replay"));
    owner.post(&replay, json!({})).await.refused(409, "webhook_disabled");
    owner.patch(&path(&webhook, ""), json!({"enabled": true})).await.ok();
    assert_eq!(sent(&world, &receiver).await.len(), 0);
    owner.post(&replay, json!({})).await.ok();
    let [again] = sent(&world, &receiver).await.try_into().unwrap();
    assert_eq!(again.id(), delivery);
}

async fn enabling_and_disabling_have_a_pace(mut world: World) {
    posting(&mut world).await;
    let receiver = Receiver::start().await;
    let webhook = create(&world, &receiver, json!({})).await;
    let (owner, other) =
        (world.owner().await, world.user("operations@example.com", "operations_manager").await);
    let switch = async |principal: &Principal<'_>, enabled: bool| {
        principal.patch(&path(&webhook, ""), json!({"enabled": enabled})).await
    };
    for number in 0..50 {
        switch(&owner, number % 2 == 1).await.ok();
    }
    let version = "SELECT version FROM webhooks";
    let (events, before) =
        ("SELECT COUNT(*) FROM audit_events WHERE action = 'webhook.updated'", world.number(version).await);
    let refused = switch(&owner, false).await;
    assert_eq!(refused.header("retry-after"), Some("30"));
    refused.refused(429, "too_many_requests");
    let browser = world.signed_in().await;
    let form = [("name", "Hook"), ("url", &receiver.url())];
    let page = browser.post(&format!("/console/webhooks/{}", id(&webhook)), &form).await;
    assert!(page.page(429).contains("too quickly"));
    assert_eq!((world.number(version).await, world.number(events).await), (before, 50));
    assert!(is_enabled(&world, &webhook).await);
    // What is no change needs no pace, and everything else of a webhook goes on.
    switch(&owner, true).await.ok();
    owner.patch(&path(&webhook, ""), json!({"name": "Renamed"})).await.ok();
    switch(&other, false).await.ok();
}
