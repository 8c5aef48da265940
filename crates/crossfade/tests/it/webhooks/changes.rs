//! Changes of a webhook, and when they take effect.

use super::{abandoned, create, id, is_enabled, open, path, posting, rotate, send_all, sent};
use crate::{
    engines::on_both_engines,
    receiver::{Delivery, Receiver},
    world::{Client, World},
};
use serde_json::{Value, json};

on_both_engines! {
    a_change_reaches_a_lane_that_is_running,
    what_an_earlier_url_answered_says_nothing_of_the_new_one,
    a_wider_choice_is_confirmed_and_its_environments_stay,
    a_webhook_ends_with_its_client,
    what_waits_and_is_not_chosen_any_more_is_abandoned,
    a_change_of_a_webhook_that_changes_nothing_is_none,
}

/// Queues this number of deliveries to a webhook.
async fn queue(world: &World, client: &Client, number: usize) {
    for _ in 0..number {
        rotate(world, client, "production").await;
    }
}

async fn a_change_reaches_a_lane_that_is_running(mut world: World) {
    let (client, slow, new) = (posting(&mut world).await, Receiver::start().await, Receiver::start().await);
    let owner = world.owner().await;
    for change in ["move", "disable", "delete", "rotate", "quarantine"] {
        let webhook = create(&world, &slow, json!({})).await;
        queue(&world, &client, 6).await;
        slow.set_held(true);
        let changed = async {
            slow.wait_for(2).await;
            let path = |rest| path(&webhook, rest);
            match change {
                "move" => {
                    let body = json!({"url": new.url(), "confirm_name": "platform"});
                    owner.patch(&path(""), body).await.ok();
                }
                "disable" => drop(owner.patch(&path(""), json!({"enabled": false})).await.ok()),
                "delete" => assert_eq!(owner.delete(&path(""), json!({})).await.status, 204),
                "rotate" => drop(owner.post(&path("/rotate-secret"), json!({"overlap_hours": 0})).await.ok()),
                _ => {
                    let quarantine =
                        "INSERT INTO quarantine (one, since, cause, data_until) VALUES (1, 1, 'restored', 1)";
                    world.raw(quarantine).await;
                }
            }
            slow.set_held(false);
        };
        let (sent, ()) = tokio::join!(world.app.send_due_webhooks(), changed);
        sent.unwrap();
        // The two requests that had begun, and none after.
        assert_eq!(slow.take().len(), 2, "{change}");
        match change {
            "move" => {
                send_all(&world).await;
                assert_eq!((slow.take().len(), new.take().len()), (0, 4));
            }
            "rotate" => {
                let first = webhook["signing_secret"].as_str().unwrap();
                let rest = self::sent(&world, &slow).await;
                assert_eq!(rest.len(), 4);
                assert!(rest.iter().all(|delivery| delivery.signatures_by(first) == (0, 1)));
            }
            "quarantine" => world.raw("DELETE FROM quarantine").await,
            _ => assert_eq!(open(&world).await, 0, "{change}"),
        }
        world.raw("DELETE FROM deliveries; DELETE FROM webhooks").await;
    }
}

async fn what_an_earlier_url_answered_says_nothing_of_the_new_one(mut world: World) {
    let (client, old, new) = (posting(&mut world).await, Receiver::start().await, Receiver::start().await);
    let webhook = create(&world, &old, json!({})).await;
    let owner = world.owner().await;
    let moved = |to: &Receiver| json!({"url": to.url(), "confirm_name": "platform"});
    // It answers that it is gone after the webhook has moved.
    rotate(&world, &client, "production").await;
    old.answer(&["410"]);
    old.set_held(true);
    let changed = async {
        old.wait_for(1).await;
        owner.patch(&path(&webhook, ""), moved(&new)).await.ok();
        old.set_held(false);
    };
    let (posted, ()) = tokio::join!(world.app.send_due_webhooks(), changed);
    posted.unwrap();
    assert!(is_enabled(&world, &webhook).await);
    // Its failures end with it.
    owner.patch(&path(&webhook, ""), moved(&old)).await.ok();
    rotate(&world, &client, "production").await;
    old.answer(&["500"]);
    send_all(&world).await;
    assert!(owner.get(&path(&webhook, "")).await.ok()["failing_since"].is_string());
    let seen = owner.patch(&path(&webhook, ""), moved(&new)).await.ok();
    assert_eq!(seen["failing_since"], Value::Null);
    assert_eq!(owner.get(&path(&webhook, "")).await.ok()["failing_since"], Value::Null);
}

async fn a_wider_choice_is_confirmed_and_its_environments_stay(mut world: World) {
    let (_, receiver) = (posting(&mut world).await, Receiver::start().await);
    let owner = world.owner().await;
    owner
        .post("/environments", json!({"slug": "preview", "name": "Preview", "kind": "test"}))
        .await
        .created();
    let chosen = json!({"environments": ["preview", "staging"], "events": ["secret.rotated"]});
    let webhook = create(&world, &receiver, chosen).await;
    for wider in [
        json!({"environments": []}),
        json!({"environments": ["production"]}),
        json!({"events": []}),
        json!({"events": ["secret.rotated", "secret.expired"]}),
    ] {
        owner.patch(&path(&webhook, ""), wider).await.refused(422, "confirmation_mismatch");
    }
    owner
        .patch(&path(&webhook, ""), json!({"environments": ["preview"], "events": ["secret.rotated"]}))
        .await
        .ok();
    // A later environment of the same slug would come into the messages of this one.
    let environment = "/environments/preview";
    owner.delete(environment, json!({})).await.refused(409, "in_use");
    owner.patch(&path(&webhook, ""), json!({"environments": [], "confirm_name": "platform"})).await.ok();
    assert_eq!(owner.delete(environment, json!({})).await.status, 204);
}

async fn what_waits_and_is_not_chosen_any_more_is_abandoned(mut world: World) {
    let (client, receiver) = (posting(&mut world).await, Receiver::start().await);
    let webhook = create(&world, &receiver, json!({})).await;
    let owner = world.owner().await;
    rotate(&world, &client, "production").await;
    owner.post(&path(&webhook, "/test"), json!({})).await.created();
    assert_eq!(open(&world).await, 2);
    let revoked = json!({"events": ["secret.revoked", "secret.rotated"]});
    owner.patch(&path(&webhook, ""), revoked).await.ok();
    assert_eq!(open(&world).await, 2, "both are still chosen");
    owner.patch(&path(&webhook, ""), json!({"events": ["secret.revoked"]})).await.ok();
    let kinds: Vec<_> = sent(&world, &receiver).await.iter().map(Delivery::kind).collect();
    assert_eq!((kinds, abandoned(&world, "not_chosen").await), (vec!["webhook.test".to_owned()], 1));
    // An owner gets what it has not chosen, too.
    world.raw(&format!("UPDATE clients SET owners = '[\"{}\"]'", id(&webhook))).await;
    rotate(&world, &client, "production").await;
    owner.patch(&path(&webhook, ""), json!({"events": ["secret.revoked"], "name": "Same"})).await.ok();
    let wider = json!({"events": ["secret.revoked", "secret.expired"], "confirm_name": "platform"});
    owner.patch(&path(&webhook, ""), wider).await.ok();
    assert_eq!(sent(&world, &receiver).await.len(), 1);
}

async fn a_webhook_ends_with_its_client(mut world: World) {
    let (client, receiver) = (posting(&mut world).await, Receiver::start().await);
    let webhook = create(&world, &receiver, json!({"client_id": client.id, "confirm_name": "Billing"})).await;
    let owner = world.owner().await;
    let deletion = json!({"confirm_client_name": "Billing", "reason": "gone"});
    let answer = owner.delete(&format!("/clients/{}", client.id), deletion).await;
    assert_eq!(answer.status, 200);
    owner.get(&path(&webhook, "")).await.refused(404, "not_found");
    world.run_jobs().await;
    let kinds: Vec<_> = sent(&world, &receiver).await.iter().map(Delivery::kind).collect();
    assert_eq!(kinds, ["client.deleted"]);
    world.run_jobs().await;
    assert_eq!(world.number("SELECT COUNT(*) FROM webhooks").await, 0);
}

async fn a_change_of_a_webhook_that_changes_nothing_is_none(mut world: World) {
    posting(&mut world).await;
    let receiver = Receiver::start().await;
    let webhook = create(&world, &receiver, json!({"name": "Alerts", "events": ["secret.rotated"]})).await;
    let owner = world.owner().await;
    let events = "SELECT COUNT(*) FROM audit_events WHERE action = 'webhook.updated'";
    let same = json!({"name": "Alerts", "events": ["secret.rotated"], "environments": [], "enabled": true, "url": receiver.url()});
    for body in [json!({}), json!({"enabled": true}), same] {
        owner.patch(&path(&webhook, ""), body).await.ok();
    }
    assert_eq!((world.number("SELECT version FROM webhooks").await, world.number(events).await), (1, 0));
    // The same name beside something else is a change.
    owner.patch(&path(&webhook, ""), json!({"name": "Alerts", "enabled": false})).await.ok();
    owner.patch(&path(&webhook, ""), json!({"enabled": false})).await.ok();
    assert_eq!((world.number("SELECT version FROM webhooks").await, world.number(events).await), (2, 1));
}
