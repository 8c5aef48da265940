//! Webhooks: signed, repeated, independent of each other, and nothing for those who may not.

use crate::{
    engines::on_both_engines,
    mail_server::MailServer,
    receiver::{Delivery, Receiver},
    world::{Client, OWNER, Principal, World},
};
use crossfade_app::{NamedRegistration, NewToken, Poster, Restore, back_up};
use crossfade_authority::Clock;
use serde_json::{Value, json};
use std::{collections::BTreeSet, time::Duration};

on_both_engines! {
    a_delivery_is_signed_and_numbered_and_has_no_secret,
    two_secrets_sign_until_the_overlap_ends,
    a_failed_delivery_follows_the_schedule_under_its_id,
    a_receiver_that_is_gone_is_told_no_more_and_people_are,
    failures_of_five_days_disable_a_webhook,
    a_dead_webhook_with_rare_events_is_disabled,
    a_change_reaches_a_lane_that_is_running,
    what_an_earlier_url_answered_says_nothing_of_the_new_one,
    a_delivery_has_the_time_of_the_machine,
    a_manager_of_one_environment_gets_nothing_of_another,
    webhooks_of_more_than_a_client_are_for_operations_managers,
    a_wider_choice_is_confirmed_and_its_environments_stay,
    an_incident_is_not_opened_after_its_end,
    an_incident_ends_with_every_end_of_its_cause,
    a_routing_key_goes_to_no_other_host,
    who_manages_a_webhook_is_told_that_it_is_disabled,
    a_redirect_is_not_followed_and_an_inner_address_is_not_asked,
    a_dead_webhook_holds_up_no_other_and_no_mail,
    a_long_queue_starves_no_other_webhook,
    a_disabled_webhook_queues_nothing_and_enabling_replays_nothing,
    a_delivery_is_replayed_under_its_id_and_a_test_is_told,
    a_webhook_chooses_environments_and_events,
    a_client_names_a_webhook_as_its_owner,
    managers_reach_their_own_webhooks_alone,
    a_url_and_a_secret_are_told_once_or_never,
    a_url_of_the_inside_is_refused_in_every_spelling,
    people_get_messages_in_their_own_form,
    an_incident_is_opened_and_resolved,
    a_quarantine_sends_nothing_to_webhooks,
    a_copy_of_the_database_sends_nothing_to_webhooks,
    a_restored_database_sends_no_delivery_of_the_backup,
    a_webhook_ends_with_its_client,
}

const HOUR: Duration = Duration::from_secs(3600);
const SECOND: Duration = Duration::from_secs(1);

/// A world that may send to this machine, and a client without owners.
async fn posting(world: &mut World) -> Client {
    let here = Poster::new(vec!["127.0.0.1/32".parse().unwrap()], None).unwrap();
    world.restart_with_poster(here).await;
    let client = world.client("Billing", &["staging", "production"]).await;
    world.raw("UPDATE clients SET owners = '[]'").await;
    client
}

fn body(receiver: &Receiver, more: Value) -> Value {
    let mut body = json!({"name": "Hook", "url": receiver.url(), "confirm_name": "platform"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

/// Creates a webhook of the platform.
async fn create(world: &World, receiver: &Receiver, more: Value) -> Value {
    world.owner().await.post("/webhooks", body(receiver, more)).await.created()
}

fn id(webhook: &Value) -> &str {
    webhook["id"].as_str().unwrap()
}

fn path(webhook: &Value, rest: &str) -> String {
    format!("/webhooks/{}{rest}", id(webhook))
}

async fn rotate(world: &World, client: &Client, environment: &str) -> Value {
    let mut body = client.rotation(168);
    body["end_running_transition"] = json!(true);
    world.owner().await.post(&client.path(environment, "/secrets/rotate"), body).await.created()
}

async fn send_all(world: &World) {
    while world.app.send_due_webhooks().await.unwrap() {}
}

async fn sent(world: &World, receiver: &Receiver) -> Vec<Delivery> {
    send_all(world).await;
    receiver.take()
}

async fn open(world: &World) -> i64 {
    world
        .number("SELECT COUNT(*) FROM deliveries WHERE channel = 'webhook' AND sent_at IS NULL AND abandoned_at IS NULL")
        .await
}

async fn abandoned(world: &World, reason: &str) -> i64 {
    world.number(&format!("SELECT COUNT(*) FROM deliveries WHERE abandoned_as = '{reason}'")).await
}

async fn log(world: &World, webhook: &Value) -> Vec<Value> {
    let log = world.owner().await.get(&path(webhook, "/deliveries")).await.ok();
    log["items"].as_array().unwrap().clone()
}

async fn a_delivery_is_signed_and_numbered_and_has_no_secret(mut world: World) {
    let (client, receiver) = (posting(&mut world).await, Receiver::start().await);
    let webhook = create(&world, &receiver, json!({})).await;
    let secret = webhook["signing_secret"].as_str().unwrap().to_owned();
    let mut values = Vec::new();
    for _ in 0..2 {
        values.push(
            rotate(&world, &client, "production").await["secret"]["value"].as_str().unwrap().to_owned(),
        );
    }
    let deliveries = sent(&world, &receiver).await;
    assert_eq!(
        deliveries.iter().map(Delivery::kind).collect::<BTreeSet<_>>(),
        BTreeSet::from(["secret.rotated".into()])
    );
    let mut numbers: Vec<_> = deliveries.iter().map(|it| it.json()["number"].as_i64().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2]);
    for delivery in &deliveries {
        assert_eq!(delivery.signatures_by(&secret), (1, 1));
        assert!(
            delivery.is_verified_by(&secret)
                && !delivery.is_verified_by("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
        );
        let changed = Delivery { body: format!("{} ", delivery.body), ..delivery.clone() };
        assert!(!changed.is_verified_by(&secret));
        assert!(delivery.id().starts_with("del_") && !delivery.id().contains('.'));
        assert_eq!(delivery.headers["content-type"], "application/json");
        let payload = delivery.json();
        assert_eq!((&payload["version"], &payload["data"]["environment"]), (&json!(1), &json!("production")));
        assert_eq!(payload["data"]["client"], json!({"id": client.id, "name": "Billing"}));
        assert!(payload["data"]["details"]["incoming_secret_id"].as_str().unwrap().starts_with("sec_"));
        for value in values.iter().chain([&secret]) {
            assert!(!delivery.body.contains(value), "{}", delivery.body);
        }
    }
    assert_eq!(open(&world).await, 0);
    assert_eq!(sent(&world, &receiver).await.len(), 0);
    let state = world.app.measure().await;
    assert_eq!((state.webhooks.sent, state.webhooks.failed), (2, 0));
}

async fn two_secrets_sign_until_the_overlap_ends(mut world: World) {
    let (client, receiver) = (posting(&mut world).await, Receiver::start().await);
    let webhook = create(&world, &receiver, json!({})).await;
    let owner = world.owner().await;
    let path = path(&webhook, "/rotate-secret");
    for wrong in [
        json!({}),
        json!({"overlap_hours": null}),
        json!({"overlap_hours": 169}),
        json!({"overlap_hours": -1}),
        json!({"overlap_hours": 1.5}),
        json!({"overlap_hours": "24"}),
    ] {
        let refused = owner.post(&path, wrong).await.refused(422, "invalid_body");
        assert_eq!(refused["field"], "overlap_hours");
    }
    let first = webhook["signing_secret"].as_str().unwrap();
    let rotated = owner.post(&path, json!({"overlap_hours": 1})).await.ok();
    let second = rotated["signing_secret"].as_str().unwrap();
    let until = world.now().after(HOUR);
    assert_eq!(rotated["previous_secret_expires_at"], json!(until));
    owner.post(&path, json!({"overlap_hours": 24})).await.refused(409, "overlap_in_progress");
    let signed = async |world: &World| {
        rotate(world, &client, "production").await;
        let [delivery] = sent(world, &receiver).await.try_into().unwrap();
        assert!(delivery.is_verified_by(second));
        (delivery.signatures_by(first), delivery.signatures_by(second))
    };
    world.advance(HOUR - SECOND);
    assert_eq!(signed(&world).await, ((1, 2), (1, 2)));
    world.advance(SECOND);
    assert_eq!(signed(&world).await, ((0, 1), (1, 1)));
    world.advance(SECOND);
    assert_eq!(signed(&world).await, ((0, 1), (1, 1)));
    let third = owner.post(&path, json!({"overlap_hours": 0})).await.ok();
    rotate(&world, &client, "production").await;
    let [delivery] = sent(&world, &receiver).await.try_into().unwrap();
    assert_eq!(delivery.signatures_by(third["signing_secret"].as_str().unwrap()), (1, 1));
    // One that has leaked ends although an overlap runs.
    owner.post(&path, json!({"overlap_hours": 24})).await.ok();
    let last = owner.post(&path, json!({"overlap_hours": 0, "end_running_overlap": true})).await.ok();
    rotate(&world, &client, "production").await;
    let [delivery] = sent(&world, &receiver).await.try_into().unwrap();
    assert_eq!(delivery.signatures_by(last["signing_secret"].as_str().unwrap()), (1, 1));
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
    while world.app.send_due_messages().await.unwrap() {}
    let [told] = mail.take().try_into().unwrap();
    assert_eq!((told.to.as_str(), told.header("Subject")), (OWNER, "Webhook disabled: Alerts".to_owned()));
    let event =
        "SELECT COUNT(*) FROM audit_events WHERE action = 'webhook.disabled' AND actor_kind = 'policy'";
    assert_eq!(world.number(event).await, 1);
    rotate(&world, &client, "production").await;
    assert_eq!((open(&world).await, sent(&world, &receiver).await.len()), (0, 0));
    assert_eq!(world.app.measure().await.stored.unwrap().webhooks_disabled, 1);
}

async fn is_enabled(world: &World, webhook: &Value) -> bool {
    world.owner().await.get(&path(webhook, "")).await.ok()["enabled"] == true
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

async fn a_delivery_has_the_time_of_the_machine(mut world: World) {
    let (client, receiver) = (posting(&mut world).await, Receiver::start().await);
    create(&world, &receiver, json!({})).await;
    // The machine's clock was ahead, and what was stored then is later than the time of every receiver.
    let machine = world.clock.machine();
    world.clock.raise(machine.after(HOUR * 24));
    assert!(world.now() > machine);
    rotate(&world, &client, "production").await;
    let [delivery] = sent(&world, &receiver).await.try_into().unwrap();
    assert_eq!(delivery.headers["webhook-timestamp"], machine.as_seconds().to_string());
}

async fn a_manager_of_one_environment_gets_nothing_of_another(mut world: World) {
    let (client, receiver) = (posting(&mut world).await, Receiver::start().await);
    let owner = world.owner().await;
    let grace = manager_in(&world, "grace@example.com", &client.id, &["staging"]).await;
    let of_client = json!({"client_id": client.id, "confirm_name": "Billing", "environments": ["staging"]});
    let limited = grace.post("/webhooks", body(&receiver, of_client)).await.created();
    // As an owner of the client, it would be told of every environment.
    let name = json!({"owners": [id(&limited)], "confirm_client_name": "Billing"});
    let refused = owner.patch(&format!("/clients/{}", client.id), name).await.refused(422, "invalid_body");
    assert_eq!(refused["field"], "owners");
    world.raw(&format!("UPDATE clients SET owners = '[\"{}\"]'", id(&limited))).await;
    rotate(&world, &client, "production").await;
    assert_eq!(sent(&world, &receiver).await.len(), 0, "also if it has become one");
    world.raw("UPDATE clients SET owners = '[]'").await;
    // One that is an owner is not limited.
    let of_client = json!({"client_id": client.id, "confirm_name": "Billing"});
    let whole = owner.post("/webhooks", body(&receiver, of_client)).await.created();
    let name = |owners: Value| json!({"owners": owners, "confirm_client_name": "Billing"});
    owner.patch(&format!("/clients/{}", client.id), name(json!([id(&whole)]))).await.ok();
    let narrow = json!({"environments": ["staging"]});
    owner.patch(&path(&whole, ""), narrow.clone()).await.refused(409, "in_use");
    owner.patch(&format!("/clients/{}", client.id), name(json!([]))).await.ok();
    // What it was sent before it was limited is not for those who manage it afterwards.
    rotate(&world, &client, "production").await;
    rotate(&world, &client, "staging").await;
    send_all(&world).await;
    owner.patch(&path(&whole, ""), narrow).await.ok();
    let read = grace.get(&path(&whole, "/deliveries")).await.ok();
    let environments: Vec<_> =
        read["items"].as_array().unwrap().iter().map(|it| &it["environment"]).collect();
    assert_eq!(environments, ["staging"]);
    let all = log(&world, &whole).await;
    assert!(all.len() >= 2, "{all:?}");
    for delivery in all {
        let replay = path(&whole, &format!("/deliveries/{}/replay", delivery["id"].as_str().unwrap()));
        let answer = grace.post(&replay, json!({})).await;
        match delivery["environment"] == "staging" {
            true => drop(answer.ok()),
            false => drop(answer.refused(404, "not_found")),
        }
    }
}

/// A manager of one client in these environments.
async fn manager_in<'w>(world: &'w World, email: &str, client: &str, environments: &[&str]) -> Principal<'w> {
    let owner = world.owner().await;
    let user = owner.post("/users", json!({"email": email})).await.created();
    let grant = json!({"role": "application_manager", "client_id": client, "environments": environments});
    owner.post(&format!("/users/{}/grants", user["id"].as_str().unwrap()), grant).await.created();
    world.token_of(email, &[]).await
}

async fn webhooks_of_more_than_a_client_are_for_operations_managers(mut world: World) {
    let (client, receiver) = (posting(&mut world).await, Receiver::start().await);
    let owner = world.owner().await;
    let property = owner.get(&format!("/clients/{}", client.id)).await.ok()["property_id"].clone();
    let name = owner.get(&format!("/properties/{}", property.as_str().unwrap())).await.ok()["name"].clone();
    let of_property = json!({"property_id": property, "confirm_name": name});
    let user = owner.post("/users", json!({"email": "grace@example.com"})).await.created();
    let grant = json!({"role": "application_manager", "property_id": property});
    owner.post(&format!("/users/{}/grants", user["id"].as_str().unwrap()), grant).await.created();
    let grace = world.token_of("grace@example.com", &[]).await;
    let operator = world.user("olga@example.com", "operations_manager").await;
    grace.post("/webhooks", body(&receiver, of_property.clone())).await.refused(403, "forbidden");
    let mut limited = of_property.clone();
    limited["environments"] = json!(["staging"]);
    grace.post("/webhooks", body(&receiver, limited)).await.refused(403, "forbidden");
    let webhook = operator.post("/webhooks", body(&receiver, of_property)).await.created();
    grace.get(&path(&webhook, "")).await.refused(404, "not_found");
    assert_eq!(grace.get("/webhooks").await.ok()["items"], json!([]));
    let of_client = json!({"client_id": client.id, "confirm_name": "Billing"});
    grace.post("/webhooks", body(&receiver, of_client)).await.created();
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

/// A webhook for PagerDuty.
async fn on_call(world: &World, receiver: &Receiver, more: Value) -> Value {
    let mut body = json!({"format": "pagerduty", "routing_key": "0123456789abcdef0123456789abcdef"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    create(world, receiver, body).await
}

/// What happened to incidents: `trigger` or `resolve`, and the key.
fn incidents(sent: &[Delivery]) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    sent.iter().map(Delivery::json).map(|it| (text(&it["event_action"]), text(&it["dedup_key"]))).collect()
}

async fn schedule_drill(world: &World, client: &Client) {
    let body = json!({"length_seconds": 60, "confirm_client_name": "Billing", "reason": "who is left"});
    world.owner().await.post(&client.path("production", "/drills"), body).await.created();
}

async fn an_incident_is_not_opened_after_its_end(mut world: World) {
    let (client, receiver) = (posting(&mut world).await, Receiver::start().await);
    let owner = world.owner().await;
    let webhook = on_call(&world, &receiver, json!({})).await;
    rotate(&world, &client, "production").await;
    // Its first attempt fails, and its end comes before the second.
    receiver.answer(&["500"]);
    schedule_drill(&world, &client).await;
    let [(opened, key)] = incidents(&sent(&world, &receiver).await).try_into().unwrap();
    assert_eq!(opened, "trigger");
    let drills = owner.get(&client.path("production", "/drills")).await.ok();
    let drill = drills["items"][0]["id"].as_str().unwrap().to_owned();
    let stop = client.path("production", &format!("/drills/{drill}"));
    owner.delete(&stop, json!({"reason": "invoices fail"})).await.ok();
    world.advance(HOUR);
    assert_eq!(incidents(&sent(&world, &receiver).await), [("resolve".to_owned(), key)]);
    assert_eq!((open(&world).await, abandoned(&world, "late").await), (0, 1));
    // A replay opens it no more either.
    let late = "SELECT COUNT(*) FROM deliveries WHERE abandoned_as = 'late'";
    let first = log(&world, &webhook).await.into_iter().find(|it| it["abandoned_as"] == "late").unwrap();
    let replay = path(&webhook, &format!("/deliveries/{}/replay", first["id"].as_str().unwrap()));
    owner.post(&replay, json!({})).await.ok();
    assert_eq!((sent(&world, &receiver).await.len(), world.number(late).await), (0, 1));
}

async fn an_incident_ends_with_every_end_of_its_cause(mut world: World) {
    let (client, receiver) = (posting(&mut world).await, Receiver::start().await);
    let owner = world.owner().await;
    on_call(&world, &receiver, json!({})).await;
    let path = |rest: &str| client.path("production", rest);
    // A drill ends with its secret, a rollback, a newer rotation and its registration.
    for end in ["revoke", "rollback", "rotate", "disable"] {
        let rotated = rotate(&world, &client, "production").await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let (outgoing, rotation) =
            (text(&rotated["previous_secret"]["id"]), text(&rotated["rotation"]["id"]));
        let _ = sent(&world, &receiver).await;
        schedule_drill(&world, &client).await;
        let [(opened, key)] = incidents(&sent(&world, &receiver).await).try_into().unwrap();
        assert_eq!(opened, "trigger", "{end}");
        let over = json!({"reason": "over"});
        match end {
            "revoke" => drop(owner.post(&path(&format!("/secrets/{outgoing}/revoke")), over).await.ok()),
            "rollback" => {
                drop(owner.post(&path(&format!("/rotations/{rotation}/rollback")), over).await.ok())
            }
            "rotate" => drop(rotate(&world, &client, "production").await),
            _ => {
                let body = json!({"enabled": false, "confirm_client_name": "Billing", "reason": "over"});
                owner.patch(&path(""), body).await.ok();
            }
        }
        let after = incidents(&sent(&world, &receiver).await);
        assert!(after.contains(&("resolve".to_owned(), key)), "{end}: {after:?}");
    }
    // The registration is disabled, and its secret retires: the deletion of the client ends both incidents.
    let deletion = json!({"confirm_client_name": "Billing", "reason": "gone"});
    assert_eq!(owner.delete(&format!("/clients/{}", client.id), deletion).await.status, 204);
    let ended = incidents(&sent(&world, &receiver).await);
    assert_eq!(ended.len(), 2, "{ended:?}");
    assert!(ended.iter().all(|(what, _)| what == "resolve"), "{ended:?}");
    assert!(ended.iter().any(|(_, key)| key.starts_with("crossfade:reg_")), "{ended:?}");
    assert!(ended.iter().any(|(_, key)| key.starts_with("crossfade:sec_")), "{ended:?}");
}

async fn a_routing_key_goes_to_no_other_host(mut world: World) {
    let (_, receiver, other) = (posting(&mut world).await, Receiver::start().await, Receiver::start().await);
    let webhook = on_call(&world, &receiver, json!({})).await;
    let owner = world.owner().await;
    let moved = json!({"url": other.url(), "confirm_name": "platform"});
    let refused = owner.patch(&path(&webhook, ""), moved.clone()).await.refused(422, "invalid_body");
    assert_eq!(refused["field"], "routing_key");
    let same = json!({"url": format!("{}/other", receiver.url()), "confirm_name": "platform"});
    owner.patch(&path(&webhook, ""), same).await.ok();
    let mut with_key = moved;
    with_key["routing_key"] = json!("ffffffffffffffffffffffffffffffff");
    owner.patch(&path(&webhook, ""), with_key).await.ok();
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
    while world.app.send_due_messages().await.unwrap() {}
    let told: BTreeSet<String> = mail.take().into_iter().map(|mail| mail.to).collect();
    assert_eq!(told, BTreeSet::from([OWNER, "ada@example.com", "grace@example.com"].map(str::to_owned)));
}

async fn a_redirect_is_not_followed_and_an_inner_address_is_not_asked(mut world: World) {
    let (client, receiver, other) =
        (posting(&mut world).await, Receiver::start().await, Receiver::start().await);
    let webhook = create(&world, &receiver, json!({})).await;
    rotate(&world, &client, "production").await;
    receiver.answer(&[&format!("302\r\nlocation: {}", other.url())]);
    assert_eq!((sent(&world, &receiver).await.len(), other.take().len()), (1, 0));
    let said = log(&world, &webhook).await[0]["last_error"].as_str().unwrap().to_owned();
    assert_eq!(said, "status 302, a redirect, which is not followed");
    // The setting no longer allows the network. What is told is no more than that.
    world.restart_with_poster(Poster::new(vec!["10.255.0.0/16".parse().unwrap()], None).unwrap()).await;
    world.raw(&format!("UPDATE webhooks SET url = 'https://localhost:{}/'", port(&receiver))).await;
    world.advance(HOUR);
    send_all(&world).await;
    let logged = &log(&world, &webhook).await[0];
    assert_eq!((&logged["last_error"], &logged["last_status"]), (&json!("refused address"), &Value::Null));
    assert!(receiver.take().is_empty());
}

fn port(receiver: &Receiver) -> String {
    receiver.url().split([':', '/']).nth(4).unwrap().to_owned()
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
    assert!(world.app.send_due_webhooks().await.unwrap());
    assert_eq!((busy.take().len(), other.take().len()), (50, 1), "one batch of each");
    send_all(&world).await;
    assert_eq!((busy.take().len(), open(&world).await), (451, 0));
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

async fn a_webhook_chooses_environments_and_events(mut world: World) {
    let (client, receiver) = (posting(&mut world).await, Receiver::start().await);
    let other = world.client("Ledger", &["production"]).await;
    create(&world, &receiver, json!({"client_id": client.id, "confirm_name": "Billing", "environments": ["production"], "events": ["secret.rotated"]})).await;
    rotate(&world, &client, "staging").await;
    rotate(&world, &other, "production").await;
    assert_eq!(sent(&world, &receiver).await.len(), 0);
    rotate(&world, &client, "production").await;
    let kinds: Vec<_> = sent(&world, &receiver).await.iter().map(Delivery::kind).collect();
    assert_eq!(kinds, ["secret.rotated"]);
    world.advance(HOUR * 168);
    world.run_jobs().await;
    assert_eq!(sent(&world, &receiver).await.len(), 0);
    let owner = world.owner().await;
    let unknown = body(&receiver, json!({"events": ["user.created"]}));
    assert_eq!(owner.post("/webhooks", unknown).await.refused(422, "invalid_body")["field"], "events");
    let unknown = body(&receiver, json!({"environments": ["nowhere"]}));
    assert_eq!(owner.post("/webhooks", unknown).await.refused(422, "invalid_body")["field"], "environments");
}

async fn a_client_names_a_webhook_as_its_owner(mut world: World) {
    let (client, receiver) = (posting(&mut world).await, Receiver::start().await);
    let other = world.client("Ledger", &["production"]).await;
    let webhook = create(&world, &receiver, json!({"events": ["secret.expired"]})).await;
    let foreign = create(&world, &receiver, json!({"client_id": other.id, "confirm_name": "Ledger"})).await;
    let owner = world.owner().await;
    let patch = async |list: Value| {
        let body = json!({"owners": list, "confirm_client_name": "Billing"});
        owner.patch(&format!("/clients/{}", client.id), body).await
    };
    for refused in [json!([id(&foreign)]), json!(["wh_0000000000000000000000"])] {
        assert_eq!(patch(refused).await.refused(422, "invalid_body")["field"], "owners");
    }
    let changed = patch(json!([id(&webhook), "ada@example.com"])).await.ok();
    assert_eq!(changed["owners"], json!([id(&webhook), "ada@example.com"]));
    rotate(&world, &client, "production").await;
    let kinds: Vec<_> = sent(&world, &receiver).await.iter().map(Delivery::kind).collect();
    assert_eq!(
        BTreeSet::from_iter(kinds),
        BTreeSet::from(["client.updated".into(), "secret.rotated".into()])
    );
    owner.delete(&path(&webhook, ""), json!({})).await.refused(409, "in_use");
    patch(json!(["ada@example.com"])).await.ok();
    let answer = owner.delete(&path(&webhook, ""), json!({})).await;
    assert_eq!(answer.status, 204);
}

/// A manager of one client.
async fn manager<'w>(world: &'w World, email: &str, client: &str) -> Principal<'w> {
    let owner = world.owner().await;
    let user = owner.post("/users", json!({"email": email})).await.created();
    let grant = json!({"role": "application_manager", "client_id": client});
    owner.post(&format!("/users/{}/grants", user["id"].as_str().unwrap()), grant).await.created();
    world.token_of(email, &[]).await
}

async fn managers_reach_their_own_webhooks_alone(mut world: World) {
    let (client, receiver) = (posting(&mut world).await, Receiver::start().await);
    let other = world.client("Ledger", &["production"]).await;
    let grace = manager(&world, "grace@example.com", &client.id).await;
    let eve = manager(&world, "eve@example.com", &other.id).await;
    let owner = world.owner().await;
    let of_client = json!({"client_id": client.id, "confirm_name": "Billing"});
    // Not for the platform, a property, or a client of others.
    grace.post("/webhooks", body(&receiver, json!({}))).await.refused(403, "forbidden");
    let property = owner.get(&format!("/clients/{}", client.id)).await.ok()["property_id"].clone();
    let of_property = json!({"property_id": property, "confirm_name": "Property of Billing"});
    let answer = grace.post("/webhooks", body(&receiver, of_property.clone())).await;
    assert!([403, 422].contains(&answer.status.as_u16()));
    let foreign = eve.post("/webhooks", body(&receiver, of_client.clone())).await;
    assert_eq!(foreign.refused(422, "invalid_body")["field"], "client_id");
    let platform = create(&world, &receiver, json!({})).await;
    let own = grace.post("/webhooks", body(&receiver, of_client.clone())).await.created();
    rotate(&world, &client, "production").await;
    send_all(&world).await;
    let listed =
        async |who: &Principal<'_>| who.get("/webhooks").await.ok()["items"].as_array().unwrap().len();
    assert_eq!((listed(&owner).await, listed(&grace).await, listed(&eve).await), (2, 1, 0));
    assert_eq!(grace.get(&path(&own, "/deliveries")).await.ok()["items"].as_array().unwrap().len(), 1);
    let delivery = log(&world, &own).await[0]["id"].as_str().unwrap().to_owned();
    for (who, webhook) in [(&grace, &platform), (&eve, &platform), (&eve, &own)] {
        who.get(&path(webhook, "")).await.refused(404, "not_found");
        who.get(&path(webhook, "/deliveries")).await.refused(404, "not_found");
        who.patch(&path(webhook, ""), json!({"name": "x"})).await.refused(404, "not_found");
        who.post(&path(webhook, "/test"), json!({})).await.refused(404, "not_found");
        who.post(&path(webhook, "/rotate-secret"), json!({"overlap_hours": 0}))
            .await
            .refused(404, "not_found");
        who.post(&path(webhook, &format!("/deliveries/{delivery}/replay")), json!({}))
            .await
            .refused(404, "not_found");
        who.delete(&path(webhook, ""), json!({})).await.refused(404, "not_found");
    }
    // What a viewer reads of a client is no webhook of it, and a token of one registration reaches none.
    let viewer = world.user("vic@example.com", "viewer").await;
    viewer.get("/webhooks").await.refused(403, "forbidden");
    viewer.get(&path(&own, "")).await.refused(404, "not_found");
    let new = NewToken {
        user: OWNER.to_owned(),
        name: "nightly".to_owned(),
        expires_days: None,
        scope: vec!["client:read".into(), "webhook:manage".into()],
        only: Some(NamedRegistration { client: "Billing".into(), environment: "production".into() }),
    };
    let token = world.app.create_token(&new).await.unwrap();
    let limited = Principal { world: &world, token: Some(token.reveal().to_owned()) };
    limited.get("/webhooks").await.refused(403, "forbidden");
    limited.get(&path(&own, "/deliveries")).await.refused(403, "forbidden");
    limited.post("/webhooks", body(&receiver, of_client)).await.refused(403, "forbidden");
    // A permission that is taken away is gone at the next request.
    world
        .raw("DELETE FROM grants WHERE user_id = (SELECT id FROM users WHERE email = 'grace@example.com')")
        .await;
    grace.get(&path(&own, "")).await.refused(404, "not_found");
}

async fn a_url_and_a_secret_are_told_once_or_never(mut world: World) {
    let (_, receiver) = (posting(&mut world).await, Receiver::start().await);
    let owner = world.owner().await;
    let mut wrong = body(&receiver, json!({}));
    wrong["confirm_name"] = json!("Billing");
    owner.post("/webhooks", wrong).await.refused(422, "confirmation_mismatch");
    let key = [("idempotency-key", "one")];
    let text = body(&receiver, json!({})).to_string();
    let first = owner.call(http::Method::POST, "/webhooks", Some(text.clone()), &key).await.created();
    let again = owner.call(http::Method::POST, "/webhooks", Some(text), &key).await.created();
    assert_eq!(first["id"], again["id"]);
    // A reply that was lost is given again for a while (rule 7), to whoever still manages the webhook.
    assert!(first["signing_secret"].is_string() && first["signing_secret"] == again["signing_secret"]);
    let rotated = path(&first, "/rotate-secret");
    let (hours, key_of_rotation) = (json!({"overlap_hours": 0}).to_string(), [("idempotency-key", "two")]);
    let twice =
        async || owner.call(http::Method::POST, &rotated, Some(hours.clone()), &key_of_rotation).await.ok();
    assert_eq!(twice().await["signing_secret"], twice().await["signing_secret"]);
    world.advance(Duration::from_secs(600));
    assert!(twice().await.get("signing_secret").is_none());
    let read = owner.call(http::Method::GET, &path(&first, ""), None, &[]).await;
    assert_eq!(read.header("etag"), Some("\"2\""));
    assert!(read.ok().get("signing_secret").is_none());
    let stale = [("if-match", "\"7\"")];
    let change = json!({"name": "Other"}).to_string();
    owner
        .call(http::Method::PATCH, &path(&first, ""), Some(change), &stale)
        .await
        .refused(412, "precondition_failed");
    let moved = json!({"url": format!("{}/canary-path", receiver.url())});
    owner.patch(&path(&first, ""), moved.clone()).await.refused(422, "confirmation_mismatch");
    let mut confirmed = moved;
    confirmed["confirm_name"] = json!("platform");
    owner.patch(&path(&first, ""), confirmed).await.ok();
    let secret = first["signing_secret"].as_str().unwrap();
    for table in ["audit_events", "idempotency", "notifications"] {
        for canary in [secret, "canary-path"] {
            let columns = if table == "idempotency" { "reply" } else { "details" };
            let found = format!("SELECT COUNT(*) FROM {table} WHERE {columns} LIKE '%{canary}%'");
            let is_answer = table == "idempotency" && canary == "canary-path";
            assert!(is_answer || world.number(&found).await == 0, "{table} {canary}");
        }
    }
}

async fn a_url_of_the_inside_is_refused_in_every_spelling(world: World) {
    let owner = world.owner().await;
    for url in [
        "http://127.0.0.1/",
        "https://127.0.0.1/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://[::ffff:127.0.0.1]/",
        "https://[64:ff9b::7f00:1]/",
        "https://169.254.169.254/latest/",
        "https://ada:secret@hooks.example.com/",
        "https://hooks.example.com\\@127.0.0.1/",
        "https://127。0。0。1/",
        "https://hooks.example.com:22/",
        "ftp://hooks.example.com/",
        "",
    ] {
        let body = json!({"name": "Hook", "url": url, "confirm_name": "platform"});
        let refused = owner.post("/webhooks", body).await.refused(422, "invalid_body");
        assert_eq!(refused["field"], "url", "{url}");
        assert!(!refused["detail"].as_str().unwrap().contains("secret"), "{refused}");
    }
    assert_eq!(world.number("SELECT COUNT(*) FROM webhooks").await, 0);
}

async fn people_get_messages_in_their_own_form(mut world: World) {
    let (client, slack, teams) =
        (posting(&mut world).await, Receiver::start().await, Receiver::start().await);
    create(&world, &slack, json!({"format": "slack"})).await;
    create(&world, &teams, json!({"format": "teams"})).await;
    let mut rotation = client.rotation(24);
    rotation["reason"] = json!("<!channel> *bold* [x](https://evil.example) \"quoted\"");
    world.owner().await.post(&client.path("production", "/secrets/rotate"), rotation).await.created();
    let [to_slack] = sent(&world, &slack).await.try_into().unwrap();
    let message = to_slack.json();
    assert_eq!(message["text"], "Secret rotated: Billing in production");
    for text in texts(&message["blocks"]) {
        assert_eq!(text["type"], "plain_text", "nothing is markup: {text}");
    }
    let [to_teams] = teams.take().try_into().unwrap();
    let card = &to_teams.json()["attachments"][0]["content"];
    assert_eq!(card["type"], "AdaptiveCard");
    assert!(to_teams.body.contains("https://evil.example") && !to_teams.body.contains("\"TextBlock\""));
    assert!(card["actions"][0]["url"].as_str().unwrap().contains("/console/clients/"));
}

/// The text objects of Slack in these blocks.
fn texts(value: &Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(members) if members.contains_key("emoji") => vec![value.clone()],
        Value::Object(members) => members.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

async fn an_incident_is_opened_and_resolved(mut world: World) {
    let (client, receiver) = (posting(&mut world).await, Receiver::start().await);
    let owner = world.owner().await;
    let missing = body(&receiver, json!({"format": "pagerduty"}));
    assert_eq!(owner.post("/webhooks", missing).await.refused(422, "invalid_body")["field"], "routing_key");
    let key = "0123456789abcdef0123456789abcdef";
    let webhook = create(&world, &receiver, json!({"format": "pagerduty", "routing_key": key})).await;
    assert!(!webhook.to_string().contains(key));
    rotate(&world, &client, "production").await;
    assert_eq!(sent(&world, &receiver).await.len(), 0, "a rotation is no incident");
    world.advance(HOUR * 164);
    world.run_jobs().await;
    let opened: Vec<_> = sent(&world, &receiver).await.iter().map(Delivery::json).collect();
    assert!(!opened.is_empty());
    for event in &opened {
        assert_eq!((&event["event_action"], &event["routing_key"]), (&json!("trigger"), &json!(key)));
        assert_eq!(event["payload"]["severity"], "error");
    }
    world.advance(HOUR * 4);
    world.run_jobs().await;
    let [closed] = sent(&world, &receiver).await.try_into().unwrap();
    assert_eq!(closed.json()["event_action"], "resolve");
    assert_eq!(closed.json()["dedup_key"], opened[0]["dedup_key"]);
}

async fn a_quarantine_sends_nothing_to_webhooks(mut world: World) {
    let (client, receiver) = (posting(&mut world).await, Receiver::start().await);
    create(&world, &receiver, json!({})).await;
    rotate(&world, &client, "production").await;
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("ends.journal");
    world.journal = Some(journal.clone());
    let here = || Poster::new(vec!["127.0.0.1/32".parse().unwrap()], None).unwrap();
    world.restart_with_poster(here()).await;
    std::fs::remove_file(&journal).unwrap();
    world.restart_with_poster(here()).await;
    assert!(world.app.quarantine().is_some(), "the journal is missing");
    assert_eq!((sent(&world, &receiver).await.len(), abandoned(&world, "quarantine").await), (0, 1));
    world.raw("UPDATE deliveries SET abandoned_at = NULL").await;
    assert_eq!(sent(&world, &receiver).await.len(), 0);
    world.raw("UPDATE deliveries SET abandoned_at = 1").await;
    let release = crossfade_core::api::ReleaseQuarantine { reason: Some("checked".into()), except: vec![] };
    world.app.release_quarantine_here(&release).await.unwrap();
    rotate(&world, &client, "production").await;
    assert_eq!(sent(&world, &receiver).await.len(), 1);
}

/// Also without mail.
async fn a_copy_of_the_database_sends_nothing_to_webhooks(mut world: World) {
    let (client, receiver) = (posting(&mut world).await, Receiver::start().await);
    create(&world, &receiver, json!({})).await;
    rotate(&world, &client, "production").await;
    assert_eq!(sent(&world, &receiver).await.len(), 1);
    rotate(&world, &client, "production").await;
    let elsewhere = "UPDATE sending_place SET place = REPLACE(place, '\"number\":\"', '\"number\":\"1')";
    world.raw(elsewhere).await;
    world.advance(HOUR);
    let here = Poster::new(vec!["127.0.0.1/32".parse().unwrap()], None).unwrap();
    world.restart_with_poster(here).await;
    assert_eq!(sent(&world, &receiver).await.len(), 0);
    assert_eq!(world.number("SELECT COUNT(*) FROM audit_events WHERE action = 'mail.held'").await, 1);
    world.owner().await.post("/mail/release", json!({"reason": "moved"})).await.ok();
    assert_eq!(sent(&world, &receiver).await.len(), 0, "the original sends its own");
    world.advance(HOUR);
    rotate(&world, &client, "production").await;
    assert_eq!(sent(&world, &receiver).await.len(), 1);
}

async fn a_restored_database_sends_no_delivery_of_the_backup(mut world: World) {
    let (client, receiver) = (posting(&mut world).await, Receiver::start().await);
    let webhook = create(&world, &receiver, json!({})).await;
    rotate(&world, &client, "production").await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("it.backup");
    let clock = Clock::manual(world.now());
    let file = std::fs::File::create(&path).unwrap();
    back_up(world.location(), world.master_key_file(), &clock, file).await.unwrap();
    let place = crate::database::Place::file();
    let checked = Restore::check(&path, world.master_key_file()).unwrap();
    checked.run(&place.location, &clock).await.unwrap();
    let own = tempfile::tempdir().unwrap();
    std::fs::copy(world.master_key_file(), own.path().join("master.key")).unwrap();
    let mut restored = World::at(place, own, Clock::manual(world.now())).await;
    restored.restart_with_poster(Poster::new(vec!["127.0.0.1/32".parse().unwrap()], None).unwrap()).await;
    assert_eq!(restored.number("SELECT COUNT(*) FROM deliveries").await, 0);
    assert_eq!(sent(&restored, &receiver).await.len(), 0);
    let release = crossfade_core::api::ReleaseQuarantine { reason: Some("checked".into()), except: vec![] };
    restored.app.release_quarantine_here(&release).await.unwrap();
    rotate(&restored, &client, "production").await;
    assert_eq!(sent(&restored, &receiver).await.len(), 0, "what is sent is released for itself");
    restored.owner().await.post("/mail/release", json!({"reason": "moved"})).await.ok();
    restored.advance(HOUR);
    // The webhook is there, and signs with the same secret.
    rotate(&restored, &client, "production").await;
    let [delivery] = sent(&restored, &receiver).await.try_into().unwrap();
    assert_eq!(delivery.signatures_by(webhook["signing_secret"].as_str().unwrap()), (1, 1));
}

async fn a_webhook_ends_with_its_client(mut world: World) {
    let (client, receiver) = (posting(&mut world).await, Receiver::start().await);
    let webhook = create(&world, &receiver, json!({"client_id": client.id, "confirm_name": "Billing"})).await;
    let owner = world.owner().await;
    let deletion = json!({"confirm_client_name": "Billing", "reason": "gone"});
    let answer = owner.delete(&format!("/clients/{}", client.id), deletion).await;
    assert_eq!(answer.status, 204);
    owner.get(&path(&webhook, "")).await.refused(404, "not_found");
    world.run_jobs().await;
    let kinds: Vec<_> = sent(&world, &receiver).await.iter().map(Delivery::kind).collect();
    assert_eq!(kinds, ["client.deleted"]);
    world.run_jobs().await;
    assert_eq!(world.number("SELECT COUNT(*) FROM webhooks").await, 0);
}
