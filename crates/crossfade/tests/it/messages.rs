//! Messages to owners: queued in the transaction of what they tell, sent at least once, and never when they are of no
//! use.

use crate::{
    engines::on_both_engines,
    mail_server::{MailServer, Message},
    world::{Client, World},
};
use crossfade_app::{MailState, Restore, back_up};
use crossfade_authority::Clock;
use serde_json::json;
use std::{collections::BTreeSet, time::Duration};

on_both_engines! {
    a_message_is_queued_with_its_change_and_not_without_it,
    each_owner_gets_one_message_and_no_secret,
    what_was_queued_before_mail_was_set_up_is_not_sent,
    a_warning_is_sent_up_to_its_deadline_and_not_from_it_on,
    a_lost_process_sends_again_under_the_same_message_id,
    a_second_worker_does_not_send_what_the_first_has_leased,
    a_refusal_for_now_is_tried_again_and_one_for_good_is_not,
    a_server_that_is_down_costs_no_message_and_is_told,
    a_server_that_refuses_everything_is_tried_with_one_message,
    a_slow_recipient_takes_one_place_and_holds_up_nobody,
    a_wake_is_sent_before_what_was_queued_earlier,
    a_wake_that_is_queued_beside_slow_messages_does_not_wait_for_them,
    the_messages_of_a_lost_process_wait_for_no_lease,
    a_quarantine_sends_nothing_of_before_and_nothing_until_its_release,
    a_restored_database_sends_no_message_of_the_backup,
    a_database_in_another_place_sends_nothing_until_it_is_released,
    a_database_that_is_back_in_its_place_sends_again,
    a_promoted_copy_at_another_address_sends_nothing,
    a_second_move_keeps_what_was_queued_since_the_first,
    what_waits_before_the_first_place_is_known_is_not_sent,
    each_part_of_the_place_holds_mail,
    a_hold_is_shown_without_mail_where_webhooks_wait,
    a_message_whose_lease_may_end_during_an_attempt_is_not_begun,
    the_end_of_a_secret_is_told_once,
    an_extension_is_told_without_the_warning_that_led_to_it,
    owners_are_told_who_they_are_now,
    every_kind_of_message_can_be_written,
    messages_of_a_registration_are_numbered,
}

const HOUR: Duration = Duration::from_secs(3600);
const MICRO: Duration = Duration::from_micros(1);

/// A world that mails, and a client whose owner is ada@example.com.
async fn mailing(world: &mut World) -> (MailServer, Client) {
    let server = MailServer::start().await;
    world.restart_with_mailer(Some(server.mailer())).await;
    let client = world.client("Billing", &["production"]).await;
    (server, client)
}

async fn rotate(world: &World, client: &Client, hours: u32) -> serde_json::Value {
    let path = client.path("production", "/secrets/rotate");
    world.owner().await.post(&path, client.rotation(hours)).await.created()
}

async fn send_all(world: &World) {
    while Box::pin(world.app.send_due_messages()).await.unwrap() {}
}

async fn sent(world: &World, server: &MailServer) -> Vec<String> {
    send_all(world).await;
    let mut subjects: Vec<_> = server.take().iter().map(|message| message.header("Subject")).collect();
    subjects.sort();
    subjects
}

async fn open(world: &World) -> i64 {
    world.number("SELECT COUNT(*) FROM deliveries WHERE sent_at IS NULL AND abandoned_at IS NULL").await
}

async fn abandoned(world: &World, reason: &str) -> i64 {
    world.number(&format!("SELECT COUNT(*) FROM deliveries WHERE abandoned_as = '{reason}'")).await
}

fn mail(world: &World) -> MailState {
    world.app.mail().unwrap()
}

async fn a_message_is_queued_with_its_change_and_not_without_it(mut world: World) {
    let (server, client) = mailing(&mut world).await;
    let path = client.path("production", "/secrets/rotate");
    let owner = world.owner().await;
    let mut wrong = client.rotation(24);
    wrong["confirm_client_name"] = json!("X");
    owner.post(&path, wrong).await.refused(422, "confirmation_mismatch");
    assert_eq!(open(&world).await, 0);
    world.fail_commits().await;
    let answer = owner.post(&path, client.rotation(24)).await;
    assert_ne!(answer.status.as_u16(), 201);
    world.mend_commits().await;
    assert_eq!((open(&world).await, sent(&world, &server).await.len()), (0, 0));
    rotate(&world, &client, 24).await;
    assert_eq!(open(&world).await, 1);
    assert_eq!(sent(&world, &server).await, ["Secret rotated: Billing in production"]);
    assert_eq!(open(&world).await, 0);
}

async fn each_owner_gets_one_message_and_no_secret(mut world: World) {
    let (server, client) = mailing(&mut world).await;
    let owners = json!({"owners": ["ada@example.com", "bob@example.com"], "confirm_client_name": "Billing"});
    world.owner().await.patch(&format!("/clients/{}", client.id), owners).await.ok();
    send_all(&world).await;
    server.take();
    let reply = rotate(&world, &client, 24).await;
    send_all(&world).await;
    let messages = server.take();
    let to: BTreeSet<&str> = messages.iter().map(|message| message.to.as_str()).collect();
    assert_eq!((messages.len(), to), (2, BTreeSet::from(["ada@example.com", "bob@example.com"])));
    let value = reply["secret"]["value"].as_str().unwrap();
    for message in &messages {
        let text = message.text.replace("=\r\n", "");
        assert!(!text.contains(value), "{text}");
        assert!(text.contains("25 Nov 2026, 13:05 UTC"), "the deadline: {text}");
        let link = format!("/console/clients/{}/environments/production/security", client.id);
        assert!(text.contains(&link), "{text}");
        assert_eq!(message.header("Auto-Submitted"), "auto-generated");
    }
    assert_eq!(messages.iter().map(|message| message.header("Message-ID")).collect::<BTreeSet<_>>().len(), 2);
}

async fn what_was_queued_before_mail_was_set_up_is_not_sent(mut world: World) {
    let client = world.client("Billing", &["production"]).await;
    rotate(&world, &client, 24).await;
    assert_eq!(world.number("SELECT COUNT(*) FROM notifications").await, 1);
    let server = MailServer::start().await;
    world.restart_with_mailer(Some(server.mailer())).await;
    assert_eq!((sent(&world, &server).await.len(), open(&world).await), (0, 0));
}

async fn a_warning_is_sent_up_to_its_deadline_and_not_from_it_on(mut world: World) {
    for (late, is_sent) in [(false, true), (true, false)] {
        let (server, client) = mailing_another(&mut world, late).await;
        rotate(&world, &client, 48).await;
        send_all(&world).await;
        server.take();
        world.advance(HOUR * 44);
        world.run_jobs().await;
        world.advance(if late { HOUR * 4 } else { HOUR * 4 - MICRO });
        let subjects = sent(&world, &server).await;
        let warned = subjects.iter().filter(|subject| subject.contains("is still needed")).count();
        // The owner, and the manager, because nobody has seen it.
        assert_eq!(warned, if is_sent { 2 } else { 0 }, "{subjects:?}");
        assert_eq!(abandoned(&world, "late").await, if late { 2 } else { 0 });
    }
}

async fn mailing_another(world: &mut World, late: bool) -> (MailServer, Client) {
    let server = MailServer::start().await;
    world.restart_with_mailer(Some(server.mailer())).await;
    let client = world.client(if late { "Ledger" } else { "Billing" }, &["production"]).await;
    (server, client)
}

async fn a_lost_process_sends_again_under_the_same_message_id(mut world: World) {
    let (server, client) = mailing(&mut world).await;
    rotate(&world, &client, 24).await;
    let leased = "UPDATE deliveries SET leased_by = 'lost', attempts = 1, leased_until = ";
    let until = world.now().after(HOUR).as_micros();
    send_all(&world).await;
    let [first]: [Message; 1] = server.take().try_into().unwrap();
    // The process was lost after the message was taken, and before that was stored.
    world.raw(&format!("{leased}{until}, sent_at = NULL")).await;
    world.restart_with_mailer(Some(server.mailer())).await;
    world.advance(HOUR - MICRO);
    assert_eq!(sent(&world, &server).await.len(), 0);
    world.advance(MICRO);
    send_all(&world).await;
    let [again]: [Message; 1] = server.take().try_into().unwrap();
    assert_eq!(again.text, first.text);
    assert_eq!(world.number("SELECT attempts FROM deliveries").await, 2);
}

async fn a_second_worker_does_not_send_what_the_first_has_leased(mut world: World) {
    let (server, client) = mailing(&mut world).await;
    for n in 0..3 {
        rotate(&world, &client, 1).await;
        world.advance(HOUR * (n + 2));
    }
    let both = async || tokio::join!(world.app.send_due_messages(), world.app.send_due_messages());
    let (one, two) = both().await;
    let _ = (one.unwrap(), two.unwrap());
    let messages = server.take();
    let ids: BTreeSet<String> = messages.iter().map(|message| message.header("Message-ID")).collect();
    assert_eq!((messages.len(), ids.len(), open(&world).await), (3, 3, 0));
}

async fn a_refusal_for_now_is_tried_again_and_one_for_good_is_not(mut world: World) {
    let (server, client) = mailing(&mut world).await;
    rotate(&world, &client, 168).await;
    server.refuse(Some("450 4.2.1 later"));
    assert_eq!((sent(&world, &server).await.len(), open(&world).await), (0, 1));
    let said = "SELECT COUNT(*) FROM deliveries WHERE last_error LIKE '%recipient: 450 4.2.1 later%'";
    assert_eq!(world.number(said).await, 1);
    server.refuse(None);
    world.advance(Duration::from_secs(60) - MICRO);
    assert_eq!(sent(&world, &server).await.len(), 0);
    world.advance(MICRO);
    assert_eq!(sent(&world, &server).await.len(), 1);
    rotate_again(&world, &client).await;
    server.refuse(Some("550 5.1.1 unknown"));
    assert_eq!((sent(&world, &server).await.len(), open(&world).await), (0, 0));
    assert_eq!((abandoned(&world, "refused").await, mail(&world).refused, mail(&world).failed), (1, 1, 1));
    server.refuse(Some("450 4.2.1 later"));
    rotate_again(&world, &client).await;
    send_all(&world).await;
    world.advance(HOUR * 72 - MICRO);
    world.run_jobs().await;
    assert_eq!(abandoned(&world, "gave_up").await, 0);
    world.advance(MICRO);
    world.run_jobs().await;
    assert_eq!(abandoned(&world, "gave_up").await, 1);
}

async fn rotate_again(world: &World, client: &Client) {
    let mut body = client.rotation(168);
    body["end_running_transition"] = json!(true);
    world.owner().await.post(&client.path("production", "/secrets/rotate"), body).await.created();
}

async fn a_server_that_is_down_costs_no_message_and_is_told(mut world: World) {
    let (server, client) = mailing(&mut world).await;
    server.set_down(true);
    rotate(&world, &client, 168).await;
    assert_eq!((sent(&world, &server).await.len(), open(&world).await), (0, 1));
    assert!(mail(&world).failing.unwrap().starts_with("cannot connect"), "{:?}", mail(&world));
    let stored = world.app.measure().await.stored.unwrap();
    assert_eq!((stored.mail_queued, stored.mail_oldest_seconds), (1, 0));
    world.advance(HOUR);
    assert_eq!(world.app.measure().await.stored.unwrap().mail_oldest_seconds, 3600);
    server.set_down(false);
    assert_eq!(sent(&world, &server).await.len(), 1);
    assert_eq!(mail(&world), MailState { sent: 1, failed: 1, ..MailState::default() });
}

/// Many refused passwords at once lock an account.
async fn a_server_that_refuses_everything_is_tried_with_one_message(mut world: World) {
    let (server, client) = mailing(&mut world).await;
    rotate(&world, &client, 168).await;
    for _ in 0..19 {
        rotate_again(&world, &client).await;
    }
    assert_eq!(open(&world).await, 20);
    server.set_down(true);
    let mut tried = Vec::new();
    for seconds in [0, 59, 1, 119, 1, 239, 1, 299, 1, 299, 1] {
        world.advance(Duration::from_secs(seconds));
        let before = server.connections();
        send_all(&world).await;
        tried.push(server.connections() - before);
    }
    assert_eq!(tried, [1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1]);
    server.set_down(false);
    world.advance(Duration::from_secs(300));
    assert_eq!((sent(&world, &server).await.len(), open(&world).await), (20, 0));
}

/// A dialog may take 20 minutes. It is the first one, so the server is not known to work when it begins.
async fn a_slow_recipient_takes_one_place_and_holds_up_nobody(mut world: World) {
    let (server, client) = mailing(&mut world).await;
    server.hold(Some("ada@example.com"));
    rotate(&world, &client, 168).await;
    for number in 0..40 {
        let owner = format!("owner-{number}@example.com");
        world.raw(&format!("UPDATE clients SET owners = '[\"{owner}\"]'")).await;
        rotate_again(&world, &client).await;
    }
    let others_are_stored = async {
        for _ in 0..1000 {
            if open(&world).await == 1 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{} messages wait for one", open(&world).await);
    };
    let (all, ()) = tokio::join!(world.app.send_due_messages(), async {
        others_are_stored.await;
        assert_eq!(server.take().len(), 40);
        server.hold(None);
    });
    assert!(all.unwrap());
    assert_eq!((server.take().len(), open(&world).await, mail(&world).sent), (1, 0, 41));
}

async fn a_wake_is_sent_before_what_was_queued_earlier(mut world: World) {
    let (server, client) = mailing(&mut world).await;
    rotate(&world, &client, 2).await;
    world.advance(HOUR);
    world.run_jobs().await;
    let urgency = |n| format!("SELECT COUNT(*) FROM deliveries WHERE urgency = {n}");
    // The owner, and the manager, because nobody has seen it.
    assert_eq!((world.number(&urgency(0)).await, world.number(&urgency(1)).await), (2, 1));
    let digests: Vec<_> =
        (0..300).map(|n| format!("('d{n}', (SELECT id FROM notifications WHERE event = 'secret.rotated'), 'mail', 'eve@example.com', 'd{n}', 2, 1, 1)")).collect();
    let columns = "id, notification_id, channel, recipient, cause, urgency, created_at, next_attempt_at";
    world.raw(&format!("INSERT INTO deliveries ({columns}) VALUES {}", digests.join(", "))).await;
    send_all(&world).await;
    let subjects: Vec<_> = server.take().iter().map(|message| message.header("Subject")).collect();
    assert_eq!((subjects.len(), open(&world).await), (303, 0));
    // Several are under way at a time, so they need not end in this order.
    let last_wake = subjects.iter().rposition(|subject| subject.contains("is still needed"));
    assert!(last_wake.is_some_and(|last| last < 16), "{last_wake:?}");
}

/// A mail server that does not answer for messages to Eve. One connection to it is kept.
async fn slow_to_eve(world: &mut World) -> MailServer {
    let (server, client) = mailing(world).await;
    rotate(world, &client, 168).await;
    send_all(world).await;
    server.take();
    server.hold(Some("eve@example.com"));
    server
}

/// All places of other messages are taken, and more are leased ahead.
async fn a_wake_that_is_queued_beside_slow_messages_does_not_wait_for_them(mut world: World) {
    let server = slow_to_eve(&mut world).await;
    let message = "(SELECT id FROM notifications WHERE event = 'secret.rotated')";
    let columns = "id, notification_id, channel, recipient, cause, urgency, created_at, next_attempt_at";
    let row = |id: &str, to: &str, urgency: i64| {
        format!("('{id}', {message}, 'mail', '{to}', '{id}', {urgency}, 1, 1)")
    };
    let digests: Vec<_> = (0..100).map(|n| row(&format!("d{n}"), "eve@example.com", 2)).collect();
    world.raw(&format!("INSERT INTO deliveries ({columns}) VALUES {}", digests.join(", "))).await;
    let wake_arrives = async {
        let leased = "SELECT COUNT(*) FROM deliveries WHERE leased_by IS NOT NULL";
        for _ in 0..1000 {
            if world.number(leased).await > 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let wake = row("wake", "ada@example.com", 0);
        world.raw(&format!("INSERT INTO deliveries ({columns}) VALUES {wake}")).await;
        // It has its own lane, while the other one waits.
        let wakes = world.app.send_due_messages();
        let arrived = async {
            for _ in 0..1000 {
                if let [wake] = &server.take()[..] {
                    assert_eq!(wake.to, "ada@example.com");
                    server.hold(None);
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            panic!("the wake waits for digests");
        };
        tokio::join!(wakes, arrived).0.unwrap();
    };
    let (all, ()) = tokio::join!(world.app.send_due_messages(), wake_arrives);
    assert!(all.unwrap());
    send_all(&world).await;
    assert_eq!(open(&world).await, 0);
}

async fn the_messages_of_a_lost_process_wait_for_no_lease(mut world: World) {
    let (server, client) = mailing(&mut world).await;
    rotate(&world, &client, 24).await;
    let until = world.now().after(HOUR).as_micros();
    world
        .raw(&format!("UPDATE deliveries SET leased_by = 'lost', attempts = 1, leased_until = {until}"))
        .await;
    world.restart_with_mailer(Some(server.mailer())).await;
    assert_eq!(sent(&world, &server).await.len(), 0);
    world.app.release_leases_of_others().await.unwrap();
    assert_eq!(sent(&world, &server).await.len(), 1);
}

async fn a_quarantine_sends_nothing_of_before_and_nothing_until_its_release(mut world: World) {
    let (server, client) = mailing(&mut world).await;
    rotate(&world, &client, 168).await;
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("ends.journal");
    world.journal = Some(journal.clone());
    world.restart_with_mailer(Some(server.mailer())).await;
    std::fs::remove_file(&journal).unwrap();
    world.restart_with_mailer(Some(server.mailer())).await;
    assert!(world.app.quarantine().is_some(), "the journal is missing");
    assert_eq!((sent(&world, &server).await.len(), abandoned(&world, "quarantine").await), (0, 1));
    // Not even what gets into the queue in some other way.
    world.raw("UPDATE deliveries SET abandoned_at = NULL").await;
    assert_eq!(sent(&world, &server).await.len(), 0);
    world.raw("UPDATE deliveries SET abandoned_at = 1").await;
    // Nor a test, from neither door.
    world.owner().await.post("/mail/test", json!({})).await.refused(503, "quarantined");
    let refused = world.app.test_mail_here(&server.mailer(), "ada@example.com").await.unwrap_err();
    assert_eq!(refused.problem.code, crossfade_core::Code::Quarantined);
    assert_eq!(
        world
            .number("SELECT COUNT(*) FROM audit_events WHERE action = 'mail.tested' AND outcome = 'ok'")
            .await,
        0
    );
    assert_eq!(server.take().len(), 0);
    let release = crossfade_core::api::ReleaseQuarantine { reason: Some("checked".into()), except: vec![] };
    world.app.release_quarantine_here(&release).await.unwrap();
    world.run_jobs().await;
    assert_eq!(sent(&world, &server).await.len(), 0);
    rotate_again(&world, &client).await;
    assert_eq!(sent(&world, &server).await.len(), 1);
}

async fn a_restored_database_sends_no_message_of_the_backup(mut world: World) {
    let (server, client) = mailing(&mut world).await;
    rotate(&world, &client, 168).await;
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
    restored.restart_with_mailer(Some(server.mailer())).await;
    assert_eq!(restored.number("SELECT COUNT(*) FROM notifications").await, 1);
    assert_eq!(restored.number("SELECT COUNT(*) FROM deliveries").await, 0);
    assert_eq!(sent(&restored, &server).await.len(), 0);
    let release = crossfade_core::api::ReleaseQuarantine { reason: Some("checked".into()), except: vec![] };
    restored.app.release_quarantine_here(&release).await.unwrap();
    restored.run_jobs().await;
    assert_eq!(sent(&restored, &server).await.len(), 0);
    rotate_again(&restored, &client).await;
    assert_eq!(sent(&restored, &server).await.len(), 0, "mail is released for itself");
    assert_eq!(sent(&world, &server).await.len(), 1, "the instance itself sends");
}

/// Makes the database one that was copied from elsewhere.
async fn copied_from_elsewhere(world: &World) {
    let elsewhere = "REPLACE(place, '\"database\":\"', '\"database\":\"/elsewhere')";
    let elsewhere = format!("REPLACE({elsewhere}, '\"number\":\"', '\"number\":\"1')");
    world.raw(&format!("UPDATE sending_place SET place = {elsewhere}")).await;
}

async fn a_database_in_another_place_sends_nothing_until_it_is_released(mut world: World) {
    let (server, client) = mailing(&mut world).await;
    rotate(&world, &client, 168).await;
    copied_from_elsewhere(&world).await;
    world.advance(HOUR);
    world.restart_with_mailer(Some(server.mailer())).await;
    assert_eq!(mail(&world).held_since, Some(world.now()));
    world.advance(HOUR);
    rotate_again(&world, &client).await;
    assert_eq!((sent(&world, &server).await.len(), open(&world).await), (0, 2));
    world.restart_with_mailer(Some(server.mailer())).await;
    assert_eq!((sent(&world, &server).await.len(), open(&world).await), (0, 2), "a restart releases nothing");
    let held = "SELECT COUNT(*) FROM audit_events WHERE action = 'mail.held'";
    assert_eq!(world.number(held).await, 1);
    let manager = world.user("omar@example.com", "operations_manager").await;
    manager.get("/mail").await.refused(403, "forbidden");
    manager.post("/mail/release", json!({"reason": "moved"})).await.refused(403, "forbidden");
    let owner = world.owner().await;
    owner.post("/mail/release", json!({})).await.refused(422, "invalid_body");
    let shown = owner.get("/mail").await.ok();
    assert!(shown["sends_from"].as_str().unwrap().contains("/elsewhere"), "{shown}");
    assert_eq!(shown["queued"], 2);
    let released = owner.post("/mail/release", json!({"reason": "moved"})).await.ok();
    assert_eq!((&released["abandoned"], &released["sends_from"]), (&json!(1), &shown["held_place"]));
    assert_eq!(abandoned(&world, "moved").await, 1, "the original sends its own");
    assert_eq!(sent(&world, &server).await.len(), 1);
    assert_eq!(mail(&world).held_since, None);
    owner.post("/mail/release", json!({"reason": "again"})).await.refused(409, "mail_not_held");
    world.restart_with_mailer(Some(server.mailer())).await;
    rotate_again(&world, &client).await;
    assert_eq!(sent(&world, &server).await.len(), 1);
}

async fn a_database_that_is_back_in_its_place_sends_again(mut world: World) {
    let (server, client) = mailing(&mut world).await;
    let elsewhere = "https://elsewhere.example.com";
    world.restart_with_mailer_under(Some(server.mailer()), elsewhere).await;
    rotate(&world, &client, 168).await;
    assert_eq!((sent(&world, &server).await.len(), open(&world).await), (0, 1));
    world.restart_with_mailer(Some(server.mailer())).await;
    assert_eq!((mail(&world).held_since, sent(&world, &server).await.len()), (None, 1));
    let ended = "SELECT COUNT(*) FROM audit_events WHERE action = 'mail.released' AND actor_kind = 'machine' AND reason LIKE '%where it was before%'";
    assert_eq!(world.number(ended).await, 1, "the end of a hold is in the trail, also without a person");
}

/// Such as a standby, or a recovery to a point in time: the same system on a later timeline.
async fn a_promoted_copy_at_another_address_sends_nothing(mut world: World) {
    let (server, client) = mailing(&mut world).await;
    rotate(&world, &client, 168).await;
    let changed = [
        ("\"database\":\"", "\"database\":\"elsewhere-"),
        ("\"started\":", "\"started\":1"),
        ("\"timeline\":1", "\"timeline\":0"),
    ];
    for (from, to) in changed {
        world.raw(&format!("UPDATE sending_place SET place = REPLACE(place, '{from}', '{to}')")).await;
    }
    world.restart_with_mailer(Some(server.mailer())).await;
    assert_eq!((mail(&world).held_since, sent(&world, &server).await.len()), (Some(world.now()), 0));
}

async fn a_second_move_keeps_what_was_queued_since_the_first(mut world: World) {
    let (server, client) = mailing(&mut world).await;
    let elsewhere = ["https://one.example.com", "https://two.example.com"];
    world.restart_with_mailer_under(Some(server.mailer()), elsewhere[0]).await;
    let first = world.now();
    world.advance(HOUR);
    rotate(&world, &client, 168).await;
    world.advance(HOUR);
    world.restart_with_mailer_under(Some(server.mailer()), elsewhere[1]).await;
    assert_eq!(mail(&world).held_since, Some(first));
    let release = crossfade_core::api::ReleaseMail { reason: Some("moved twice".into()) };
    assert_eq!(world.app.release_mail_here(&release).await.unwrap().abandoned, 0);
    assert_eq!(sent(&world, &server).await.len(), 1);
}

/// A copy that is the first to be started with a program that knows places adopts its own.
async fn what_waits_before_the_first_place_is_known_is_not_sent(mut world: World) {
    let (server, client) = mailing(&mut world).await;
    rotate(&world, &client, 168).await;
    world.raw("DELETE FROM sending_place").await;
    world.restart_with_mailer(Some(server.mailer())).await;
    assert_eq!((sent(&world, &server).await.len(), open(&world).await), (0, 0));
    assert_eq!(abandoned(&world, "moved").await, 1, "the original sends its own");
    rotate_again(&world, &client).await;
    assert_eq!(sent(&world, &server).await.len(), 1);
}

async fn each_part_of_the_place_holds_mail(mut world: World) {
    let (server, client) = mailing(&mut world).await;
    let stored = "SELECT COUNT(*) FROM sending_place WHERE held_since IS NOT NULL";
    for part in ["public_url", "database", "number"] {
        // On PostgreSQL the name of the database. Its address can be written in several ways.
        let end = if part == "database" { "\",\"number" } else { "" };
        let (from, to) = match end {
            "" => (format!("\"{part}\":\""), format!("\"{part}\":\"1")),
            _ => (end.to_owned(), format!("1{end}")),
        };
        world.raw(&format!("UPDATE sending_place SET place = REPLACE(place, '{from}', '{to}')")).await;
        world.restart_with_mailer(Some(server.mailer())).await;
        assert_eq!(world.number(stored).await, 1, "{part}");
        let release = crossfade_core::api::ReleaseMail { reason: Some("moved".into()) };
        world.app.release_mail_here(&release).await.unwrap();
        assert_eq!(world.number(stored).await, 0, "{part}");
    }
    rotate(&world, &client, 168).await;
    assert_eq!(sent(&world, &server).await.len(), 1);
    // Nothing is held where nothing is sent.
    copied_from_elsewhere(&world).await;
    world.restart().await;
    assert_eq!(world.number(stored).await, 0);
}

async fn a_hold_is_shown_without_mail_where_webhooks_wait(mut world: World) {
    let owner = world.owner().await;
    let hook = json!({"name": "Alerts", "url": "https://hooks.example.com/", "confirm_name": "platform"});
    owner.post("/webhooks", hook).await.created();
    world.person("vic@example.com", "viewer").await;
    let shown = async |world: &World| {
        let (owner, viewer) = (world.signed_in().await, world.signed_in_as("vic@example.com").await);
        let notice = |page: &str| (page.contains("no webhook messages"), page.contains("Review and release"));
        (notice(&owner.get("/console").await.text()), notice(&viewer.get("/console").await.text()))
    };
    assert_eq!(shown(&world).await, ((false, false), (false, false)));
    copied_from_elsewhere(&world).await;
    world.restart().await;
    assert_eq!(world.app.sending_held_since(), Some(world.now()));
    assert_eq!(world.app.measure().await.mail.held_since, Some(world.now()));
    assert_eq!(world.app.read_mail_here(None).await.unwrap().held_since, Some(world.now()));
    assert_eq!(shown(&world).await, ((true, true), (false, false)));
    let clock = Clock::manual(world.now());
    let found = crossfade_app::doctor::examine(&world.instance(&clock)).await;
    let check = found.checks.iter().find(|check| check.name == "mail").unwrap();
    assert!(check.sentence.contains("in another place"), "{}", check.sentence);
}

async fn a_message_whose_lease_may_end_during_an_attempt_is_not_begun(mut world: World) {
    let server = slow_to_eve(&mut world).await;
    let message = "(SELECT id FROM notifications WHERE event = 'secret.rotated')";
    let columns = "id, notification_id, channel, recipient, cause, urgency, created_at, next_attempt_at";
    let row = |n: u32| format!("('d{n}', {message}, 'mail', 'eve@example.com', 'd{n}', 1, 1, 1)");
    let rows: Vec<_> = (0..9).map(row).collect();
    world.raw(&format!("INSERT INTO deliveries ({columns}) VALUES {}", rows.join(", "))).await;
    let connections = server.connections();
    let lease_runs_on = async {
        let leased = "SELECT COUNT(*) FROM deliveries WHERE leased_by IS NOT NULL";
        // The kept connection and four new ones: five are under way, and four are leased ahead.
        for _ in 0..1000 {
            if world.number(leased).await == 9 && server.connections() == connections + 4 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!((world.number(leased).await, server.connections()), (9, connections + 4));
        // Ten minutes later an attempt could outlast the lease. What is given back is leased again only when it is due.
        world.advance(Duration::from_secs(600));
        let later = "UPDATE deliveries SET next_attempt_at = next_attempt_at + 9000000000000000 WHERE sent_at IS NULL";
        world.raw(later).await;
        server.hold(None);
    };
    let (all, ()) = tokio::join!(world.app.send_due_messages(), lease_runs_on);
    assert!(all.unwrap());
    assert_eq!((server.take().len(), open(&world).await), (5, 4));
    let given_back = "SELECT COUNT(*) FROM deliveries WHERE sent_at IS NULL AND leased_by IS NULL";
    assert_eq!(world.number(given_back).await, 4);
    world.raw("UPDATE deliveries SET next_attempt_at = 1 WHERE sent_at IS NULL").await;
    send_all(&world).await;
    assert_eq!((server.take().len(), open(&world).await), (4, 0));
}

async fn the_end_of_a_secret_is_told_once(mut world: World) {
    let (server, client) = mailing(&mut world).await;
    rotate(&world, &client, 0).await;
    world.run_jobs().await;
    world.advance(Duration::from_secs(1));
    world.run_jobs().await;
    let expired = world.number("SELECT COUNT(*) FROM notifications WHERE event = 'secret.expired'").await;
    assert_eq!(
        sent(&world, &server).await,
        ["Secret rotated, the old one is refused: Billing in production"]
    );
    rotate(&world, &client, 1).await;
    send_all(&world).await;
    server.take();
    world.advance(HOUR);
    world.run_jobs().await;
    let noted = world.number("SELECT COUNT(*) FROM notifications WHERE event = 'secret.expired'").await;
    assert_eq!(noted, expired + 1);
    assert_eq!(sent(&world, &server).await, ["Old secret expired: Billing in production"]);
}

async fn an_extension_is_told_without_the_warning_that_led_to_it(mut world: World) {
    let (server, client) = mailing(&mut world).await;
    let extends = json!({"guard_extension_hours": 24});
    world.owner().await.patch("/environments/production", extends).await.ok();
    rotate(&world, &client, 24).await;
    send_all(&world).await;
    server.take();
    world.advance(HOUR * 23);
    world.run_jobs().await;
    let warned = "SELECT COUNT(*) FROM notifications WHERE event = 'transition.deadline_near'";
    assert_eq!(world.number(warned).await, 1);
    assert_eq!(sent(&world, &server).await, ["Deadline extended: Billing in production"]);
}

async fn owners_are_told_who_they_are_now(mut world: World) {
    let (server, client) = mailing(&mut world).await;
    let owners = json!({"owners": ["bob@example.com"], "confirm_client_name": "Billing"});
    world.owner().await.patch(&format!("/clients/{}", client.id), owners).await.ok();
    send_all(&world).await;
    let mut told: Vec<_> =
        server.take().into_iter().map(|message| (message.to.clone(), message.header("Subject"))).collect();
    told.sort();
    assert_eq!(
        told,
        [
            ("ada@example.com".to_owned(), "You are no longer an owner: Billing".to_owned()),
            ("bob@example.com".to_owned(), "You are an owner: Billing".to_owned()),
        ]
    );
    world.owner().await.patch(&format!("/clients/{}", client.id), json!({"description": "x"})).await.ok();
    assert_eq!(sent(&world, &server).await.len(), 0);
}

async fn every_kind_of_message_can_be_written(mut world: World) {
    let (server, client) = mailing(&mut world).await;
    let owner = world.owner().await;
    let path = |rest: &str| client.path("production", rest);
    let name = json!("Billing");
    let rotated = rotate(&world, &client, 24).await;
    let old = rotated["previous_secret"]["id"].as_str().unwrap();
    let at = |span: Duration| json!(world.now().after(span));
    let drill =
        json!({"starts_at": at(HOUR), "length_seconds": 60, "confirm_client_name": name, "reason": "try"});
    let drill = owner.post(&path("/drills"), drill).await.created();
    owner.delete(&path(&format!("/drills/{}", drill["id"].as_str().unwrap())), json!({})).await.ok();
    owner
        .post(
            &path(&format!("/secrets/{old}/extend")),
            json!({"expires_at": at(HOUR * 100), "reason": "late"}),
        )
        .await
        .ok();
    let rotation = rotated["rotation"]["id"].as_str().unwrap();
    owner.post(&path(&format!("/rotations/{rotation}/rollback")), json!({"reason": "broken"})).await.ok();
    let rotated = rotate(&world, &client, 24).await;
    let old = rotated["previous_secret"]["id"].as_str().unwrap();
    owner.post(&path(&format!("/secrets/{old}/revoke")), json!({"reason": "moved"})).await.ok();
    owner.patch(&path(""), json!({"enabled": false, "confirm_client_name": name})).await.ok();
    let gone = json!({"reason": "moved", "confirm_client_name": name});
    owner.delete(&format!("/clients/{}", client.id), gone).await;
    send_all(&world).await;
    assert_eq!(abandoned(&world, "unreadable").await, 0);
    let kinds = world.number("SELECT COUNT(DISTINCT event) FROM notifications").await;
    let subjects: BTreeSet<String> = server.take().iter().map(|message| message.header("Subject")).collect();
    assert_eq!((subjects.len() as i64, kinds), (8, 8), "{subjects:?}");
}

async fn messages_of_a_registration_are_numbered(mut world: World) {
    let (_server, client) = mailing(&mut world).await;
    rotate(&world, &client, 168).await;
    rotate_again(&world, &client).await;
    assert_eq!(
        world.number("SELECT MAX(number) FROM notifications WHERE environment = 'production'").await,
        2
    );
}
