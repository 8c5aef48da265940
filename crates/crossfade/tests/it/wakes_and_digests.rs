//! Messages that no change causes: reported leaks, ended secrets that are still presented, evidence that cannot be
//! written, and the weekly digest.

use crate::{
    engines::on_both_engines,
    few_statements::{Counter, listen},
    mail_server::{MailServer, Message},
    world::{Client, OWNER, World},
};
use crossfade_app::AddressPolicy;
use crossfade_core::Timestamp;
use http::Method;
use serde_json::json;
use std::time::Duration;

on_both_engines! {
    a_reported_leak_is_told_once_for_each_secret,
    a_report_without_permission_tells_nobody,
    an_ended_secret_is_no_leak,
    an_ended_secret_that_is_still_presented_is_told_once_a_day,
    the_callers_of_an_ended_secret_are_named_as_the_evidence_stores_them,
    guesses_tell_nobody,
    a_leaked_secret_is_told_once,
    evidence_that_cannot_be_written_is_told_once,
    a_database_that_takes_no_change_is_told_of_when_it_does_again,
    who_switched_the_digest_off_gets_none,
    many_digests_are_queued_in_parts_and_each_once,
    a_digest_is_written_once_a_week_and_only_with_content,
    a_digest_after_a_stop_is_one,
    a_webhook_among_the_owners_gets_no_digest,
    no_digest_is_written_for_the_week_before_mail_was_set_up,
    no_digest_is_written_again_in_the_week_of_an_upgrade,
    the_event_counts_the_digests_that_were_written,
    a_run_of_the_jobs_asks_for_no_digest_until_one_is_due,
    a_digest_keeps_the_worst_lines,
    a_digest_comes_on_monday_morning_where_its_reader_lives,
    a_move_to_another_time_zone_neither_doubles_nor_skips_a_digest,
    failing_webhooks_are_in_the_digest_of_who_manages_them,
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// A world that mails, and a client whose owner is ada@example.com.
async fn mailing(world: &mut World) -> (MailServer, Client) {
    let server = MailServer::start().await;
    world.restart_with_mailer(Some(server.mailer())).await;
    // Digests of the time before are not caught up on.
    world.run_jobs().await;
    let client = world.client("Billing", &["production"]).await;
    (server, client)
}

async fn sent(world: &World, server: &MailServer) -> Vec<Message> {
    while Box::pin(world.app.send_due_messages()).await.unwrap() {}
    server.take()
}

async fn subjects(world: &World, server: &MailServer) -> Vec<String> {
    let mut subjects: Vec<_> = sent(world, server).await.iter().map(|it| it.header("Subject")).collect();
    subjects.sort();
    subjects
}

fn body(message: &Message) -> String {
    message.text.replace("=\r\n", "")
}

async fn rotate(world: &World, client: &Client, hours: u32, compromised: bool) {
    let mut body = client.rotation(hours);
    body["compromised"] = json!(compromised);
    world.owner().await.post(&client.path("production", "/secrets/rotate"), body).await.created();
}

async fn a_reported_leak_is_told_once_for_each_secret(mut world: World) {
    let (server, client) = mailing(&mut world).await;
    let secret = client.registration("production").secret.clone();
    let owner = world.owner().await;
    for _ in 0..3 {
        owner.post("/leaks", json!({"text": format!("a {secret} b {secret}")})).await.ok();
    }
    let messages = sent(&world, &server).await;
    let [message] = messages.as_slice() else { panic!("{messages:?}") };
    assert_eq!(message.header("Subject"), "Leaked current secret reported: Billing in production");
    assert!(!body(message).contains(&secret) && body(message).contains("has leaked"), "{}", body(message));
    let events = "SELECT COUNT(*) FROM audit_events WHERE action = 'leak.reported'";
    assert_eq!(world.number(events).await, 1);
    let viewer = world.user("view@example.com", "viewer").await;
    rotate(&world, &client, 24, false).await;
    sent(&world, &server).await;
    viewer.post("/leaks", json!({"text": secret})).await.ok();
    assert_eq!(sent(&world, &server).await.len(), 0, "it is the same secret");
}

async fn a_report_without_permission_tells_nobody(mut world: World) {
    let (server, client) = mailing(&mut world).await;
    let secret = client.registration("production").secret.clone();
    let other = world.client("Ledger", &["production"]).await;
    let stranger = world.user("eve@example.com", "viewer").await;
    world.raw(&format!("UPDATE grants SET client_id = '{}' WHERE role = 'viewer'", other.id)).await;
    // The week in which mail was set up counts as told.
    let told = "SELECT COUNT(*) FROM told WHERE cause NOT LIKE 'digest %'";
    stranger.post("/leaks", json!({"text": secret})).await.ok();
    assert_eq!(subjects(&world, &server).await, [] as [&str; 0]);
    assert_eq!(world.number("SELECT COUNT(*) FROM notifications").await, 0);
    assert_eq!(world.number(told).await, 0);
}

async fn an_ended_secret_is_no_leak(mut world: World) {
    let (server, client) = mailing(&mut world).await;
    let secret = client.registration("production").secret.clone();
    rotate(&world, &client, 0, false).await;
    sent(&world, &server).await;
    world.owner().await.post("/leaks", json!({"text": secret})).await.ok();
    assert_eq!(subjects(&world, &server).await, [] as [&str; 0]);
}

/// Presents a secret so many times.
async fn present(world: &World, client: &Client, secret: &str, times: u32) {
    let id = client.registration("production").client_id.clone();
    for _ in 0..times {
        world.oauth("production").token(&id, secret).await.is_invalid_client();
    }
    world.run_jobs().await;
}

const PRESENTED: &str = "Ended secret still presented: Billing in production";

async fn an_ended_secret_that_is_still_presented_is_told_once_a_day(mut world: World) {
    let (server, client) = mailing(&mut world).await;
    let old = client.registration("production").secret.clone();
    rotate(&world, &client, 0, false).await;
    sent(&world, &server).await;
    present(&world, &client, &old, 19).await;
    assert_eq!(subjects(&world, &server).await, [] as [&str; 0]);
    world.advance(MINUTE * 15);
    present(&world, &client, &old, 19).await;
    assert_eq!(subjects(&world, &server).await, [] as [&str; 0], "the first ones count no more");
    world.advance(MINUTE);
    present(&world, &client, &old, 1).await;
    let messages = sent(&world, &server).await;
    let [message] = messages.as_slice() else { panic!("{messages:?}") };
    assert_eq!(message.header("Subject"), PRESENTED);
    let text = body(message);
    assert!(text.contains("20 times in 15 minutes"), "{text}");
    assert!(text.contains("Callers: 192.0.2.1, \"test/1.0\"\r\n"), "{text}");
    for _ in 0..3 {
        world.advance(HOUR);
        present(&world, &client, &old, 30).await;
    }
    assert_eq!(subjects(&world, &server).await, [] as [&str; 0], "once a day");
    world.advance(DAY);
    present(&world, &client, &old, 30).await;
    assert_eq!(subjects(&world, &server).await, [PRESENTED]);
    world.advance(DAY * 30);
    present(&world, &client, &old, 30).await;
    let told = subjects(&world, &server).await;
    assert!(!told.contains(&PRESENTED.to_owned()), "not for ever: {told:?}");
}

async fn the_callers_of_an_ended_secret_are_named_as_the_evidence_stores_them(mut world: World) {
    let (server, client) = mailing(&mut world).await;
    world.restart_with_mailer_and_addresses(server.mailer(), AddressPolicy::Truncated).await;
    let registration = client.registration("production").clone();
    let (id, old) = (registration.client_id, registration.secret);
    rotate(&world, &client, 0, false).await;
    sent(&world, &server).await;
    // This one stopped long before the message.
    world.oauth("production").from([198, 51, 100, 7], "gone/1.0").token(&id, &old).await.is_invalid_client();
    world.run_jobs().await;
    world.advance(MINUTE * 16);
    for number in 0..5u8 {
        world.advance(SECOND);
        let caller = world.oauth("production").from([10, 1, number, 77], &format!("worker-{number}/2"));
        for _ in 0..4 {
            caller.token(&id, &old).await.is_invalid_client();
        }
    }
    world.run_jobs().await;
    let messages = sent(&world, &server).await;
    let [message] = messages.as_slice() else { panic!("{messages:?}") };
    let text =
        body(message).split("text/html").next().unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    let callers = r#"Callers: 10.1.4.0/24, "worker-4/2"; 10.1.3.0/24, "worker-3/2"; 10.1.2.0/24, "worker-2/2"; and 2 more"#;
    assert!(text.contains(callers), "{text}");
    assert!(text.contains("find the others on the page of the secret"), "{text}");
    assert!(!text.contains("gone/1.0") && !text.contains(".77") && !text.contains(&old), "{text}");
    let recorded = "SELECT COUNT(*) FROM audit_events WHERE action = 'secret.still_presented' AND details LIKE '%\"caller_count\":5%'";
    assert_eq!(world.number(recorded).await, 1);
}

async fn guesses_tell_nobody(mut world: World) {
    let (server, client) = mailing(&mut world).await;
    let guess = format!("{}x", client.registration("production").secret);
    present(&world, &client, &guess, 30).await;
    present(&world, &client, "guessed", 30).await;
    assert_eq!(subjects(&world, &server).await, [] as [&str; 0]);
}

async fn a_leaked_secret_is_told_once(mut world: World) {
    let (server, client) = mailing(&mut world).await;
    let old = client.registration("production").secret.clone();
    rotate(&world, &client, 0, true).await;
    sent(&world, &server).await;
    present(&world, &client, &old, 30).await;
    assert_eq!(subjects(&world, &server).await, [PRESENTED]);
    for _ in 0..3 {
        world.advance(DAY);
        present(&world, &client, &old, 30).await;
        let told = subjects(&world, &server).await;
        assert!(!told.contains(&PRESENTED.to_owned()), "its thief causes nothing more: {told:?}");
    }
}

async fn evidence_that_cannot_be_written_is_told_once(mut world: World) {
    let (server, client) = mailing(&mut world).await;
    let (id, secret) = (
        client.registration("production").client_id.clone(),
        client.registration("production").secret.clone(),
    );
    world.raw("ALTER TABLE secret_usage_sources RENAME TO away").await;
    for _ in 0..8 {
        world.oauth("production").token(&id, &secret).await;
        let _ = world.try_jobs().await;
        world.advance(MINUTE);
    }
    let messages = sent(&world, &server).await;
    let [message] = messages.as_slice() else { panic!("{messages:?}") };
    assert_eq!(
        (message.to.as_str(), message.header("Subject").as_str()),
        (OWNER, "Evidence of use cannot be written")
    );
    world.raw("ALTER TABLE away RENAME TO secret_usage_sources").await;
    world.run_jobs().await;
    world.advance(HOUR);
    world.run_jobs().await;
    assert_eq!(subjects(&world, &server).await, [] as [&str; 0]);
}

/// A change fails first, and from then on evidence is not even tried to be written.
async fn a_database_that_takes_no_change_is_told_of_when_it_does_again(mut world: World) {
    let (server, client) = mailing(&mut world).await;
    let owner = world.owner().await;
    world.fail_commits().await;
    let path = client.path("production", "/secrets/rotate");
    owner.post(&path, client.rotation(0)).await.refused(503, "unavailable");
    for _ in 0..8 {
        let _ = world.try_jobs().await;
        world.advance(MINUTE);
    }
    world.mend_commits().await;
    let _ = world.try_jobs().await;
    world.run_jobs().await;
    assert_eq!(subjects(&world, &server).await, ["Evidence of use could not be written"]);
}

async fn who_switched_the_digest_off_gets_none(mut world: World) {
    let (server, client) = mailing(&mut world).await;
    let owner = world.owner().await;
    owner.patch("/environments/production", json!({"max_age_days": 35})).await.ok();
    let ada = world.user("ada@example.com", "viewer").await;
    let off = Some(json!({"off": ["digest", "evidence.unwritten"]}).to_string());
    ada.call(Method::PUT, "/me/messages", off.clone(), &[]).await.ok();
    let path = format!("/clients/{}/messages", client.id);
    owner.call(Method::PUT, &path, off, &[]).await.refused(422, "invalid_body");
    let kinds = owner.get(&path).await.ok()["kinds"].clone();
    assert!(kinds.as_array().unwrap().iter().all(|it| it["kind"] != "digest.weekly"), "{kinds}");
    sent(&world, &server).await;
    go_to(&world, "2026-11-30T08:00:00Z");
    assert_eq!(digests(&world, &server).await.len(), 0);
}

async fn many_digests_are_queued_in_parts_and_each_once(mut world: World) {
    let (server, client) = mailing(&mut world).await;
    let owner = world.owner().await;
    owner.patch("/environments/production", json!({"max_age_days": 35})).await.ok();
    let other = world.client("Ledger", &["production"]).await;
    for (client, numbers) in [(&client, 0..50), (&other, 50..70)] {
        let owners: Vec<String> = numbers.map(|n| format!("owner{n:02}@example.com")).collect();
        let body = json!({"owners": owners, "confirm_client_name": client.name});
        owner.patch(&format!("/clients/{}", client.id), body).await.ok();
    }
    sent(&world, &server).await;
    go_to(&world, "2026-11-30T08:00:00Z");
    let queued = "SELECT COUNT(*) FROM deliveries WHERE cause LIKE 'digest %'";
    for expected in [50, 70, 70] {
        world.run_jobs().await;
        assert_eq!(world.number(queued).await, expected);
    }
    let queued = owner.get("/audit-events?action=digest.weekly").await.ok();
    assert_eq!(queued["items"].as_array().unwrap().len(), 1, "{queued}");
    // After a restart in between, nobody gets a second one.
    go_to(&world, "2026-12-07T08:00:00Z");
    world.run_jobs().await;
    world.restart_with_mailer(Some(server.mailer())).await;
    for expected in [120, 140, 140] {
        world.run_jobs().await;
        assert_eq!(
            world.number("SELECT COUNT(*) FROM deliveries WHERE cause LIKE 'digest %'").await,
            expected
        );
    }
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

/// Moves the time on to a later one.
fn go_to(world: &World, text: &str) {
    world.advance(at(text).since(world.now()));
}

async fn digests(world: &World, server: &MailServer) -> Vec<Message> {
    world.run_jobs().await;
    let mut digests = sent(world, server).await;
    digests.retain(|it| it.header("Subject").contains(" this week: "));
    digests.sort_by_key(|it| it.to.clone());
    digests
}

async fn a_webhook_among_the_owners_gets_no_digest(mut world: World) {
    let (server, client) = mailing(&mut world).await;
    let owner = world.owner().await;
    let hook = json!({"name": "Hook", "url": "https://hooks.example.com/a", "confirm_name": "platform"});
    let hook = owner.post("/webhooks", hook).await.created()["id"].clone();
    let body = json!({"owners": [hook, "team@example.com"], "confirm_client_name": "Billing"});
    owner.patch(&format!("/clients/{}", client.id), body).await.ok();
    owner.patch("/environments/production", json!({"max_age_days": 35})).await.ok();
    world.run_jobs().await;
    digests(&world, &server).await;
    // Also of what was revealed, and of what is due.
    owner.post(&client.path("production", "/secrets/rotate"), client.rotation(0)).await.created();
    go_to(&world, "2026-12-28T08:00:00Z");
    let to: Vec<_> = digests(&world, &server).await.into_iter().map(|it| it.to).collect();
    assert_eq!(to, ["team@example.com"]);
    let mails = "SELECT COUNT(*) FROM deliveries WHERE channel = 'mail' AND recipient NOT LIKE '%@%'";
    assert_eq!(world.number(mails).await, 0);
}

async fn a_digest_is_written_once_a_week_and_only_with_content(mut world: World) {
    let (server, client) = mailing(&mut world).await;
    world.owner().await.patch("/environments/production", json!({"max_age_days": 35})).await.ok();
    world.run_jobs().await;
    assert_eq!(subjects(&world, &server).await, [] as [&str; 0], "nothing is due");
    // The world begins on 24 November 2026, a Tuesday.
    go_to(&world, "2026-11-30T07:59:59Z");
    assert_eq!(digests(&world, &server).await.len(), 0);
    world.advance(SECOND);
    let found = digests(&world, &server).await;
    let [digest] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(
        (digest.to.as_str(), digest.header("Subject").as_str()),
        ("ada@example.com", "Secrets this week: 1 due")
    );
    assert!(body(digest).contains("Billing") && body(digest).contains("2026-W49"), "{}", body(digest));
    for _ in 0..3 {
        world.advance(SECOND);
        assert_eq!(digests(&world, &server).await.len(), 0);
        world.restart_with_mailer(Some(server.mailer())).await;
        assert_eq!(digests(&world, &server).await.len(), 0, "a restart writes none again");
    }
    go_to(&world, "2026-12-07T07:59:59Z");
    assert_eq!(digests(&world, &server).await.len(), 0);
    world.advance(SECOND);
    assert_eq!(digests(&world, &server).await.len(), 1);
    // After a rotation there is nothing to say until the new secret is used.
    rotate(&world, &client, 0, false).await;
    let unowned = json!({"owners": [], "confirm_client_name": "Billing"});
    world.owner().await.patch(&format!("/clients/{}", client.id), unowned).await.ok();
    go_to(&world, "2026-12-14T08:00:00Z");
    let found = digests(&world, &server).await;
    let [digest] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(
        (digest.to.as_str(), digest.header("Subject").as_str()),
        (OWNER, "Clients this week: 1 client without owners")
    );
}

async fn a_digest_after_a_stop_is_one(mut world: World) {
    let (server, _) = mailing(&mut world).await;
    world.owner().await.patch("/environments/production", json!({"max_age_days": 1})).await.ok();
    world.run_jobs().await;
    sent(&world, &server).await;
    go_to(&world, "2027-01-06T12:00:00Z");
    world.restart_with_mailer(Some(server.mailer())).await;
    let found = digests(&world, &server).await;
    let [digest] = found.as_slice() else { panic!("{found:?}") };
    assert!(body(digest).contains("2027-W01") && body(digest).contains("1 overdue"), "{}", body(digest));
    go_to(&world, "2027-01-11T07:59:59Z");
    assert_eq!(digests(&world, &server).await.len(), 0);
    world.advance(SECOND);
    assert_eq!(digests(&world, &server).await.len(), 1);
}

async fn no_digest_is_written_for_the_week_before_mail_was_set_up(mut world: World) {
    world.client("Billing", &["production"]).await;
    world.owner().await.patch("/environments/production", json!({"max_age_days": 1})).await.ok();
    // A time zone that was set before has no digest to catch up on either.
    world.user(BOB, "viewer").await;
    lives_in(&world, BOB, "Pacific/Auckland").await;
    go_to(&world, "2026-12-06T12:00:00Z");
    let server = MailServer::start().await;
    world.restart_with_mailer(Some(server.mailer())).await;
    for _ in 0..2 {
        assert_eq!(readers_of_digests(&world, &server).await, [] as [&str; 0]);
        world.restart_with_mailer(Some(server.mailer())).await;
    }
    go_to(&world, "2026-12-07T08:00:00Z");
    assert_eq!(readers_of_digests(&world, &server).await, [ADA]);
}

async fn no_digest_is_written_again_in_the_week_of_an_upgrade(mut world: World) {
    let server = MailServer::start().await;
    world.client("Billing", &["production"]).await;
    world.owner().await.patch("/environments/production", json!({"max_age_days": 1})).await.ok();
    go_to(&world, "2026-12-03T12:00:00Z");
    // As a program without time zones wrote it.
    let told = world.now().as_micros();
    world.raw(&format!("INSERT INTO told (cause, told_at) VALUES ('digest 2026-W49', {told})")).await;
    world.restart_with_mailer(Some(server.mailer())).await;
    assert_eq!(readers_of_digests(&world, &server).await, [] as [&str; 0]);
    go_to(&world, "2026-12-07T08:00:00Z");
    assert_eq!(readers_of_digests(&world, &server).await, [ADA]);
}

async fn the_event_counts_the_digests_that_were_written(mut world: World) {
    let server = readers(&mut world, &[(ADA, Some("UTC")), (BOB, Some("UTC"))]).await;
    let off = Some(json!({"time_zone": "UTC", "off": ["digest"]}).to_string());
    world.token_of(BOB, &[]).await.call(Method::PUT, "/me/messages", off, &[]).await.ok();
    sent(&world, &server).await;
    go_to(&world, "2026-11-30T08:00:00Z");
    assert_eq!(readers_of_digests(&world, &server).await, [ADA]);
    let queued = world.owner().await.get("/audit-events?action=digest.weekly").await.ok();
    assert_eq!(queued["items"][0]["details"]["recipients"], 1, "{queued}");
}

async fn a_run_of_the_jobs_asks_for_no_digest_until_one_is_due(mut world: World) {
    let zones = ["Europe/Berlin", "Asia/Tokyo", "Asia/Kathmandu", "America/Lima", "America/Los_Angeles"];
    let people: Vec<String> = (0..zones.len()).map(|n| format!("reader{n}@example.com")).collect();
    let people: Vec<(&str, Option<&str>)> =
        people.iter().zip(zones).map(|(person, zone)| (person.as_str(), Some(zone))).collect();
    let server = readers(&mut world, &people).await;
    let counter = Counter::default();
    let asked = async |world: &World| {
        let _counting = listen(counter.clone());
        counter.taken();
        world.run_jobs().await;
        let of_digests = ["told/TOLD_OF", "told/SINCE", "switches/ZONES", "switches/ZONES_OF"];
        counter
            .taken()
            .into_iter()
            .filter(|(name, _)| of_digests.contains(&name.as_str()))
            .collect::<Vec<_>>()
    };
    world.restart_with_mailer(Some(server.mailer())).await;
    let first: usize = asked(&world).await.iter().map(|(_, number)| number).sum();
    assert!((1..=4).contains(&first), "{first} statements for {} time zones", zones.len());
    world.advance(HOUR);
    assert_eq!(asked(&world).await, []);
    // A change of a time zone is noticed.
    lives_in(&world, people[0].0, "Asia/Tokyo").await;
    assert_ne!(asked(&world).await, []);
}

async fn lives_in(world: &World, reader: &str, zone: &str) {
    let body = Some(json!({"time_zone": zone, "off": []}).to_string());
    world.token_of(reader, &[]).await.call(Method::PUT, "/me/messages", body, &[]).await.ok();
}

/// A world that mails, with a digest for each of these readers in each week.
async fn readers(world: &mut World, readers: &[(&str, Option<&str>)]) -> MailServer {
    let (server, client) = mailing(world).await;
    let owner = world.owner().await;
    owner.patch("/environments/production", json!({"max_age_days": 35})).await.ok();
    let addresses: Vec<&str> = readers.iter().map(|(reader, _)| *reader).collect();
    let owners = json!({"owners": addresses, "confirm_client_name": "Billing"});
    owner.patch(&format!("/clients/{}", client.id), owners).await.ok();
    for (reader, zone) in readers {
        let Some(zone) = zone else { continue };
        world.user(reader, "viewer").await;
        lives_in(world, reader, zone).await;
    }
    digests(world, &server).await;
    server
}

async fn readers_of_digests(world: &World, server: &MailServer) -> Vec<String> {
    digests(world, server).await.into_iter().map(|it| it.to).collect()
}

/// Looks a second before, at and after a time, over restarts: the digests of these readers come at it.
async fn come_at(world: &mut World, server: &MailServer, text: &str, wanted: &[&str]) {
    go_to(world, text);
    let none = [] as [&str; 0];
    assert_eq!(readers_of_digests(world, server).await, none, "a second before {text}");
    world.restart_with_mailer(Some(server.mailer())).await;
    world.advance(SECOND);
    assert_eq!(readers_of_digests(world, server).await, wanted, "{text}");
    world.restart_with_mailer(Some(server.mailer())).await;
    world.advance(SECOND);
    assert_eq!(readers_of_digests(world, server).await, none, "a second after {text}");
}

const ADA: &str = "ada@example.com";
const BOB: &str = "bob@example.com";

async fn a_digest_comes_on_monday_morning_where_its_reader_lives(mut world: World) {
    let (los_angeles, auckland) = (Some("America/Los_Angeles"), Some("Pacific/Auckland"));
    let server =
        readers(&mut world, &[(ADA, auckland), (BOB, los_angeles), ("group@example.com", None)]).await;
    let mut come = async |text, wanted: &[&str]| come_at(&mut world, &server, text, wanted).await;
    come("2026-11-29T18:59:59Z", &[ADA]).await;
    come("2026-11-30T07:59:59Z", &["group@example.com"]).await;
    come("2026-11-30T15:59:59Z", &[BOB]).await;
    come("2026-12-06T18:59:59Z", &[ADA]).await;
    come("2026-12-07T07:59:59Z", &["group@example.com"]).await;
    come("2026-12-07T15:59:59Z", &[BOB]).await;
    // After a stop of months there is one for each.
    go_to(&world, "2027-03-08T16:00:00Z");
    assert_eq!(readers_of_digests(&world, &server).await, [ADA, BOB, "group@example.com"]);
    let mut come = async |text, wanted: &[&str]| come_at(&mut world, &server, text, wanted).await;
    // On 14 March, the clocks go forward in Los Angeles, and on 4 April back in Auckland.
    come("2027-03-14T18:59:59Z", &[ADA]).await;
    come("2027-03-15T07:59:59Z", &["group@example.com"]).await;
    come("2027-03-15T14:59:59Z", &[BOB]).await;
    go_to(&world, "2027-03-31T00:00:00Z");
    readers_of_digests(&world, &server).await;
    come_at(&mut world, &server, "2027-04-04T19:59:59Z", &[ADA]).await;
}

async fn a_move_to_another_time_zone_neither_doubles_nor_skips_a_digest(mut world: World) {
    let server = readers(&mut world, &[(ADA, Some("UTC")), (BOB, Some("Pacific/Auckland"))]).await;
    come_at(&mut world, &server, "2026-11-29T18:59:59Z", &[BOB]).await;
    // The digests of Auckland are queued, and it is past 08:00 there.
    lives_in(&world, ADA, "Pacific/Auckland").await;
    world.restart_with_mailer(Some(server.mailer())).await;
    assert_eq!(readers_of_digests(&world, &server).await, [ADA]);
    lives_in(&world, ADA, "UTC").await;
    lives_in(&world, BOB, "America/Los_Angeles").await;
    for text in ["2026-11-30T07:59:59Z", "2026-11-30T15:59:59Z"] {
        come_at(&mut world, &server, text, &[]).await;
    }
    // One who moves on before the next run of the jobs waits for the morning.
    go_to(&world, "2026-12-06T19:00:00Z");
    assert_eq!(readers_of_digests(&world, &server).await, [] as [&str; 0]);
    lives_in(&world, ADA, "Pacific/Auckland").await;
    lives_in(&world, ADA, "UTC").await;
    come_at(&mut world, &server, "2026-12-07T07:59:59Z", &[ADA]).await;
    come_at(&mut world, &server, "2026-12-07T15:59:59Z", &[BOB]).await;
    // Nor does one who moves when the digest is due and not queued yet go without.
    go_to(&world, "2026-12-14T08:00:00Z");
    lives_in(&world, ADA, "Europe/Berlin").await;
    assert_eq!(readers_of_digests(&world, &server).await, [ADA]);
    come_at(&mut world, &server, "2026-12-14T15:59:59Z", &[BOB]).await;
}

async fn failing_webhooks_are_in_the_digest_of_who_manages_them(mut world: World) {
    let (server, _) = mailing(&mut world).await;
    let owner = world.owner().await;
    world.user("vic@example.com", "viewer").await;
    for name in ["Alerts", "Chat", "Fine"] {
        let hook = json!({"name": name, "url": "https://hooks.example.com/", "confirm_name": "platform"});
        owner.post("/webhooks", hook).await.created();
    }
    let now = world.now().as_micros();
    world
        .raw(&format!(
            "UPDATE webhooks SET failing_since = {now}, last_failure_at = {now} WHERE name = 'Alerts'"
        ))
        .await;
    world
        .raw(&format!("UPDATE webhooks SET disabled_at = {now}, disabled_as = 'gone' WHERE name = 'Chat'"))
        .await;
    go_to(&world, "2026-11-30T08:00:00Z");
    let found = digests(&world, &server).await;
    let [digest] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(
        (digest.to.as_str(), digest.header("Subject").as_str()),
        (OWNER, "Webhooks this week: 2 failing webhooks")
    );
    let text = body(digest);
    assert!(text.contains("Alerts") && text.contains("failing since 24 Nov 2026"), "{text}");
    assert!(text.contains("Chat") && text.contains("disabled since 24 Nov 2026"), "{text}");
    assert!(!text.contains("Fine"), "{text}");
}

async fn a_digest_keeps_the_worst_lines(mut world: World) {
    let (server, _) = mailing(&mut world).await;
    for number in 0..24 {
        world.advance(MINUTE);
        world.client(&format!("Client {number:02}"), &["production"]).await;
    }
    world.owner().await.patch("/environments/production", json!({"max_age_days": 1})).await.ok();
    go_to(&world, "2026-11-30T08:00:00Z");
    let found = digests(&world, &server).await;
    let text = body(&found[0]);
    assert!(text.contains("and 5 more") && text.contains("Overdue secrets (25)"), "{text}");
    assert!(text.contains("Billing") && !text.contains("Client 23"), "the oldest first: {text}");
}
