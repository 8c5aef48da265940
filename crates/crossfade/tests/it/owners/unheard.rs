//! Owners that are webhooks and hear nothing, or no more: what counts as an owner that is notified, and who is told that one
//! is not any more.

use super::{events, id_of, letters, own_by, owners_of, pairs, person, sent, subjects};
use crate::{
    engines::on_both_engines,
    mail_server::{MailServer, Message},
    receiver::{Delivery, Receiver},
    world::{Client, OWNER, World},
};
use crossfade_app::{Poster, doctor::examine};
use crossfade_authority::Clock;
use serde_json::{Value, json};

on_both_engines! {
    self_rotation_needs_an_owner_that_is_not_pagerduty_or_disabled,
    who_inherits_from_the_last_owner_that_hears_is_a_manager,
    a_client_whose_owners_hear_nothing_counts_as_one_without,
    an_owner_is_disabled_with_the_name_and_the_other_owners_are_told,
    an_owner_is_moved_with_the_name_and_its_earlier_receiver_is_told_once,
    managers_are_told_when_the_last_owner_that_hears_is_gone,
    a_webhook_that_owns_many_clients_is_one_message_to_each_person,
}

async fn hook(world: &World, client: &Client, more: Value) -> String {
    let mut body = json!({
        "name": "Hook", "url": "https://hooks.example.com/a", "client_id": client.id, "confirm_name": client.name,
    });
    let body_of = body.as_object_mut().unwrap();
    body_of.extend(more.as_object().unwrap().clone());
    body_of.retain(|_, value| !value.is_null());
    world.owner().await.post("/webhooks", body).await.created()["id"].as_str().unwrap().to_owned()
}

fn pagerduty() -> Value {
    json!({"format": "pagerduty", "routing_key": "0123456789abcdef0123456789abcdef"})
}

/// Returns the text of a letter without its line ends.
fn text_of(letter: &Message) -> String {
    letter.text.replace("=\r\n", "").split_whitespace().collect::<Vec<_>>().join(" ")
}

fn path(webhook: &str) -> String {
    format!("/webhooks/{webhook}")
}

/// Switches a webhook, with the name of its client.
fn switched(enabled: bool) -> Value {
    json!({"enabled": enabled, "confirm_name": "Billing"})
}

async fn self_rotation_needs_an_owner_that_is_not_pagerduty_or_disabled(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let (owner, registration) = (world.owner().await, client.path("production", ""));
    let of_client = format!("/clients/{}", client.id);
    let owned = |list: &[&str]| json!({"owners": list, "confirm_client_name": "Billing"});
    let (on, off) = (json!({"self_rotation": true}), json!({"self_rotation": false}));
    let (deaf, hears) = (hook(&world, &client, pagerduty()).await, hook(&world, &client, json!({})).await);
    let unheard = async || {
        let found = examine(&world.instance(&Clock::manual(world.now()))).await;
        found.checks.into_iter().find(|check| check.name == "self_rotation").unwrap().sentence
    };
    // Neither one that gets incidents alone nor one that is disabled.
    own_by(&world, &client, &[&deaf]).await;
    let refused = owner.patch(&registration, on.clone()).await.refused(422, "invalid_body");
    assert_eq!(refused["field"], "self_rotation");
    own_by(&world, &client, &[&deaf, &hears]).await;
    owner.patch(&path(&hears), switched(false)).await.ok();
    owner.patch(&registration, on.clone()).await.refused(422, "invalid_body");
    owner.patch(&path(&hears), switched(true)).await.ok();
    owner.patch(&registration, on.clone()).await.ok();
    assert!(unheard().await.starts_with("Every client that can rotate"));
    // The last one that hears can neither be removed nor disabled while it is on.
    let refused = owner.patch(&of_client, owned(&[&deaf])).await.refused(409, "in_use");
    assert_eq!(refused["field"], "owners");
    let refused = owner.patch(&path(&hears), switched(false)).await.refused(409, "in_use");
    assert_eq!(refused["field"], "enabled");
    assert!(refused["detail"].as_str().unwrap().contains("client Billing"), "{refused}");
    let browser = world.signed_in().await;
    let form = [("name", "Hook"), ("url", "https://hooks.example.com/a"), ("confirm_name", "Billing")];
    let page = browser.post(&format!("/console/webhooks/{hears}"), &form).await.page(409);
    assert!(page.contains("the only owner"), "{page}");
    assert_eq!(owner.get(&path(&hears)).await.ok()["enabled"], true, "nothing was changed");
    // With another one that hears, it can. Then that one is the last.
    own_by(&world, &client, &[&deaf, &hears, "team@example.com"]).await;
    owner.patch(&path(&hears), switched(false)).await.ok();
    owner.patch(&of_client, owned(&[&deaf, &hears])).await.refused(409, "in_use");
    // Other changes go on where nobody has heard before.
    world.raw(&format!("UPDATE clients SET owners = '[\"{deaf}\",\"{hears}\"]'")).await;
    assert!(unheard().await.starts_with("1 registration with self-rotation"), "{}", unheard().await);
    owner.patch(&of_client, owned(&[&deaf])).await.ok();
    owner.patch(&path(&deaf), switched(false)).await.ok();
    owner.patch(&registration, off).await.ok();
    assert!(unheard().await.starts_with("Every client that can rotate"));
    // Without mail, an address hears of nothing.
    world.raw("UPDATE clients SET owners = '[\"team@example.com\"]'").await;
    owner.patch(&registration, on).await.ok();
    assert!(unheard().await.starts_with("1 registration"), "{}", unheard().await);
}

async fn who_inherits_from_the_last_owner_that_hears_is_a_manager(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let (deaf, hears) = (hook(&world, &client, pagerduty()).await, hook(&world, &client, json!({})).await);
    for (email, webhook) in [("grace@example.com", &deaf), ("alan@example.com", &hears)] {
        person(&world, email, "viewer").await;
        own_by(&world, &client, &[email, webhook]).await;
        let user = id_of(&world, email).await;
        let plan = owner.get(&format!("/users/{user}/hand-over")).await.ok();
        let name = email.split('@').next().unwrap();
        owner.delete(&format!("/users/{user}"), json!({"confirm_user_name": name})).await.ok();
        let expected = if *webhook == deaf { json!([OWNER, deaf]) } else { json!([hears]) };
        assert_eq!(
            (&plan["clients"][0]["owners"], &owners_of(&world, &client).await),
            (&expected, &expected)
        );
        assert_eq!(plan["ownerless_count"], 0);
    }
}

async fn a_client_whose_owners_hear_nothing_counts_as_one_without(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let other = world.client("Ledger", &["production"]).await;
    let owner = world.owner().await;
    let (deaf, hears) = (hook(&world, &client, pagerduty()).await, hook(&world, &client, json!({})).await);
    own_by(&world, &other, &["ada@example.com"]).await;
    let counted = async || {
        let listed = owner.get("/clients?ownerless=true").await.ok()["items"].as_array().unwrap().len();
        // The counts of the metrics can be a minute old.
        let page = world.signed_in().await.get("/console/clients?ownerless=true").await.page(200);
        let overview = world.signed_in().await.get("/console").await.page(200);
        (listed, page.contains(&client.id), overview.contains("1 client has no owner"))
    };
    for owners in [vec![], vec![&*deaf]] {
        own_by(&world, &client, &owners).await;
        assert_eq!(counted().await, (1, true, true), "{owners:?}");
    }
    assert_eq!(world.app.measure().await.stored.unwrap().clients_ownerless, 1);
    for owners in [vec![&*hears], vec![&*deaf, &*hears], vec![&*deaf, "team@example.com"]] {
        own_by(&world, &client, &owners).await;
        assert_eq!(counted().await, (0, false, false), "{owners:?}");
    }
    own_by(&world, &client, &[&hears]).await;
    owner.patch(&path(&hears), switched(false)).await.ok();
    assert_eq!(counted().await, (1, true, true));
}

/// A world that mails and posts to this machine, and a client without owners.
async fn telling(world: &mut World) -> (Client, MailServer) {
    let (mail, here) =
        (MailServer::start().await, Poster::new(vec!["127.0.0.1/32".parse().unwrap()], None).unwrap());
    world.restart_with_both(mail.mailer(), here).await;
    let client = world.client("Billing", &["production"]).await;
    world.raw("UPDATE clients SET owners = '[]'").await;
    (client, mail)
}

async fn posted(world: &World, receiver: &Receiver) -> Vec<Delivery> {
    while Box::pin(world.app.send_due_webhooks()).await.unwrap() {}
    receiver.take()
}

async fn an_owner_is_disabled_with_the_name_and_the_other_owners_are_told(mut world: World) {
    let (client, mail) = telling(&mut world).await;
    let (first, second) = (Receiver::start().await, Receiver::start().await);
    let webhook = hook(&world, &client, json!({"url": first.url()})).await;
    let other = hook(&world, &client, json!({"url": second.url(), "events": ["secret.rotated"]})).await;
    let owner = world.owner().await;
    // One that is no owner is disabled without a word.
    owner.patch(&path(&webhook), json!({"enabled": false})).await.ok();
    owner.patch(&path(&webhook), json!({"enabled": true})).await.ok();
    own_by(&world, &client, &[&webhook, &other, "team@example.com"]).await;
    posted(&world, &first).await;
    sent(&world, &mail).await;
    second.take();
    for body in [json!({"enabled": false}), json!({"enabled": false, "confirm_name": "Ledger"})] {
        owner.patch(&path(&webhook), body).await.refused(422, "confirmation_mismatch");
    }
    owner.patch(&path(&webhook), switched(false)).await.ok();
    let letters = letters(&world, &mail).await;
    assert_eq!(subjects(&letters), pairs(&[("team@example.com", "Owner disabled: Billing")]));
    assert!(
        text_of(&letters[0]).contains(&webhook) && !letters[0].text.contains("Hook"),
        "{}",
        letters[0].text
    );
    let posts = posted(&world, &second).await;
    let told = &posts[0].json()["data"];
    assert_eq!(posts.iter().map(Delivery::kind).collect::<Vec<_>>(), ["client.owner_updated"]);
    let facts = json!({"webhook_id": webhook, "change": "disabled", "is_heard": true});
    assert_eq!((&told["client"]["name"], &told["details"]), (&json!("Billing"), &facts));
    assert_eq!((first.take().len(), events(&world, "client.owner_updated").await.len()), (0, 1));
}

async fn an_owner_is_moved_with_the_name_and_its_earlier_receiver_is_told_once(mut world: World) {
    let (client, mail) = telling(&mut world).await;
    let (old, new) = (Receiver::start().await, Receiver::start().await);
    let webhook = hook(&world, &client, json!({"url": old.url()})).await;
    own_by(&world, &client, &[&webhook, "team@example.com"]).await;
    posted(&world, &old).await;
    sent(&world, &mail).await;
    let owner = world.owner().await;
    let moved = json!({"url": new.url(), "confirm_name": "Billing"});
    owner.patch(&path(&webhook), json!({"url": new.url()})).await.refused(422, "confirmation_mismatch");
    // What it answers says nothing of the new URL, and it is asked once.
    old.answer(&["410"]);
    owner.patch(&path(&webhook), moved).await.ok();
    let told = posted(&world, &old).await;
    assert_eq!(told.iter().map(Delivery::kind).collect::<Vec<_>>(), ["client.owner_updated"]);
    let details = told[0].json()["data"]["details"].clone();
    assert_eq!(details, json!({"webhook_id": webhook, "change": "moved", "is_heard": true}));
    let seen = owner.get(&path(&webhook)).await.ok();
    assert_eq!((&seen["enabled"], &seen["failing_since"]), (&json!(true), &Value::Null));
    assert_eq!((posted(&world, &old).await.len(), new.take().len()), (0, 0));
    let letters = letters(&world, &mail).await;
    assert_eq!(subjects(&letters), pairs(&[("team@example.com", "Owner moved: Billing")]));
    assert!(!letters[0].text.contains("127.0.0.1"), "the URL is for those who manage it");
    // A move is told beside the other change of the same request, too.
    let both = json!({"url": old.url(), "enabled": false, "confirm_name": "Billing"});
    owner.patch(&path(&webhook), both).await.ok();
    let expected =
        [("team@example.com", "Owner disabled: Billing"), ("team@example.com", "Owner moved: Billing")];
    assert_eq!(sent(&world, &mail).await, pairs(&expected));
    // In people's form, it names no URL either.
    let chat = json!({"url": old.url(), "format": "slack"});
    let chat = hook(&world, &client, chat).await;
    own_by(&world, &client, &[&chat]).await;
    posted(&world, &old).await;
    owner.patch(&path(&chat), json!({"url": new.url(), "confirm_name": "Billing"})).await.ok();
    let [told] = posted(&world, &old).await.try_into().unwrap();
    let text = told.json().to_string();
    assert!(text.contains("Owner moved: Billing") && !text.contains("127.0.0.1"), "{text}");
}

async fn managers_are_told_when_the_last_owner_that_hears_is_gone(mut world: World) {
    let (client, mail) = telling(&mut world).await;
    let receiver = Receiver::start().await;
    let owner = world.owner().await;
    let platform = json!({"client_id": null, "confirm_name": "platform", "url": receiver.url()});
    let webhook = hook(&world, &client, platform).await;
    own_by(&world, &client, &[&webhook]).await;
    posted(&world, &receiver).await;
    owner.patch(&client.path("production", ""), json!({"self_rotation": true})).await.ok();
    sent(&world, &mail).await;
    receiver.answer(&["410"]);
    posted(&world, &receiver).await;
    assert_eq!(owner.get(&path(&webhook)).await.ok()["enabled"], false);
    let letters = letters(&world, &mail).await;
    let expected = pairs(&[(OWNER, "No owner is notified: Billing"), (OWNER, "Webhook disabled: Hook")]);
    assert_eq!(subjects(&letters), expected);
    let told = letters.iter().find(|it| it.header("Subject").starts_with("No owner")).unwrap();
    let text = text_of(told);
    assert!(text.contains("No owner is notified") && text.contains("because you manage"), "{text}");
    let found = events(&world, "client.owner_updated").await;
    assert_eq!(found[0]["details"], json!({"webhook_id": webhook, "change": "gone", "is_heard": false}));
}

async fn a_webhook_that_owns_many_clients_is_one_message_to_each_person(mut world: World) {
    let (client, mail) = telling(&mut world).await;
    let platform = json!({"client_id": null, "confirm_name": "platform"});
    let webhook = hook(&world, &client, platform).await;
    own_by(&world, &client, &[&webhook, "team@example.com"]).await;
    super::hand_over::insert_clients(&world, &client, 500, &[&webhook, "team@example.com"]).await;
    sent(&world, &mail).await;
    let body = json!({"enabled": false, "confirm_name": "platform"});
    world.owner().await.patch(&path(&webhook), body).await.ok();
    let letters = letters(&world, &mail).await;
    assert_eq!(letters.len(), 1);
    assert!(text_of(&letters[0]).contains(" and 481 others"), "{}", letters[0].text);
    let recorded = "SELECT COUNT(*) FROM audit_events WHERE action = 'client.owner_updated'";
    assert_eq!(world.number(recorded).await, 501);
}
