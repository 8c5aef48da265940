//! Test messages by mail: sent to the person who asks, with the words of the mail server, and at a pace.

use crate::{
    engines::on_both_engines,
    mail_server::MailServer,
    start::{Data, Running, refuses},
    world::World,
};
use crossfade_app::Mailer;
use http::Method;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

on_both_engines! {
    a_test_message_goes_to_the_person_who_asks,
    only_those_who_see_mail_can_test_it,
    what_the_mail_server_says_to_a_test_is_shown,
    a_test_is_sent_after_its_commit_and_once_for_one_key,
    tests_of_mail_have_a_pace,
    mail_that_is_not_set_up_cannot_be_tested,
    the_overview_says_whether_owners_are_told,
    a_test_that_succeeds_ends_the_rest_of_the_mail_server,
    an_accepted_test_on_the_machine_ends_the_rest_of_the_server,
    a_test_is_sent_where_mail_is_held,
    the_mail_server_is_shown_without_user_and_password,
    a_test_on_the_machine_goes_to_any_address,
}

const OWNER: &str = "owner@example.com";
const TESTED: &str = "SELECT COUNT(*) FROM audit_events WHERE action = 'mail.tested'";

async fn mailing(world: &mut World) -> MailServer {
    let server = MailServer::start().await;
    world.restart_with_mailer(Some(server.mailer())).await;
    server
}

async fn test(world: &World) -> Value {
    world.owner().await.post("/mail/test", json!({})).await.ok()
}

async fn a_test_message_goes_to_the_person_who_asks(mut world: World) {
    let server = mailing(&mut world).await;
    let tested = test(&world).await;
    assert_eq!(
        (&tested["accepted"], &tested["error"], &tested["recipient"]),
        (&json!(true), &Value::Null, &json!(OWNER))
    );
    assert_eq!(tested["server"]["encryption"], "none");
    let messages = server.take();
    let [message] = &messages[..] else { panic!("{messages:?}") };
    assert_eq!(
        (message.to.as_str(), message.header("Subject")),
        (OWNER, "Test message from Crossfade".to_owned())
    );
    assert!(message.text.contains("because you asked for it"), "{}", message.text);
    let by = format!("{TESTED} AND actor_kind = 'user' AND details LIKE '%{OWNER}%'");
    assert_eq!(world.number(&by).await, 1);
    // The Console is a door of the same use case.
    let page = world.signed_in().await.post("/console/mail/test", &[]).await.page(200);
    assert!(page.contains("The mail server accepted the test message to owner@example.com."), "{page}");
    assert_eq!((server.take().len(), world.number(TESTED).await), (1, 2));
    assert_eq!(
        world.number("SELECT COUNT(*) FROM notifications WHERE event = 'mail.tested'").await,
        0,
        "it is not queued"
    );
}

async fn only_those_who_see_mail_can_test_it(mut world: World) {
    let server = mailing(&mut world).await;
    let owner = world.owner().await;
    for role in ["viewer", "secret_rotator", "operations_manager", "auditor"] {
        let user = world.user(&format!("{role}@example.com"), role).await;
        user.post("/mail/test", json!({})).await.refused(403, "forbidden");
    }
    let program = owner.post("/users", json!({"kind": "program", "name": "CI"})).await.created();
    let id = program["id"].as_str().unwrap();
    owner.post(&format!("/users/{id}/grants"), json!({"role": "owner"})).await.created();
    let refused =
        world.token_of(id, &[]).await.post("/mail/test", json!({})).await.refused(409, "not_a_person");
    assert!(refused["detail"].as_str().unwrap().contains("no email address"), "{refused}");
    owner.post("/mail/test", json!({"to": "eve@example.com"})).await.refused(422, "invalid_body");
    assert_eq!((server.take().len(), server.connections(), world.number(TESTED).await), (0, 0, 0));
}

async fn what_the_mail_server_says_to_a_test_is_shown(mut world: World) {
    let server = mailing(&mut world).await;
    server.refuse(Some("550 5.7.1 <b>not here</b>"));
    let tested = test(&world).await;
    let said = "the mail server refuses the recipient: 550 5.7.1 <b>not here</b>";
    assert_eq!((&tested["accepted"], &tested["error"]), (&json!(false), &json!(said)));
    let page = world.signed_in().await.post("/console/mail/test", &[]).await.page(200);
    let shown = "The test message to owner@example.com was not accepted: the mail server refuses the recipient: 550 5.7.1 &#60;b&#62;not here";
    assert!(page.contains(shown), "{page}");
    server.set_down(true);
    let tested = test(&world).await;
    assert_eq!(tested["accepted"], false);
    assert!(tested["error"].as_str().unwrap().starts_with("cannot connect"), "{tested}");
    assert_eq!(world.number(TESTED).await, 3, "each was tried");
}

async fn a_test_is_sent_after_its_commit_and_once_for_one_key(mut world: World) {
    let server = mailing(&mut world).await;
    let owner = world.owner().await;
    world.fail_commits().await;
    let failed = owner.post("/mail/test", json!({})).await;
    assert_ne!(failed.status.as_u16(), 200);
    world.mend_commits().await;
    assert_eq!((server.take().len(), world.number(TESTED).await), (0, 0), "nothing leaves before the commit");
    let once = async || {
        let headers = [("Idempotency-Key", "once")];
        owner.call(Method::POST, "/mail/test", Some("{}".to_owned()), &headers).await.ok()
    };
    assert_eq!(once().await["accepted"], true);
    let again = once().await;
    assert_eq!((&again["accepted"], &again["recipient"]), (&Value::Null, &json!(OWNER)));
    assert_eq!((server.take().len(), world.number(TESTED).await), (1, 1));
}

async fn tests_of_mail_have_a_pace(mut world: World) {
    let server = mailing(&mut world).await;
    server.refuse(Some("550 no"));
    for _ in 0..3 {
        assert_eq!(test(&world).await["accepted"], false);
    }
    let refused = world.owner().await.post("/mail/test", json!({})).await;
    assert_eq!(refused.header("retry-after"), Some("20"));
    refused.refused(429, "too_many_requests");
    let refused = world.signed_in().await.post("/console/mail/test", &[]).await;
    assert_eq!(refused.header("refresh"), None, "a form that is sent is not sent again");
    let page = refused.page(429);
    assert!(
        page.contains("several test messages lately") && page.contains("Send me a test message"),
        "{page}"
    );
    assert_eq!((server.connections(), world.number(TESTED).await), (3, 3));
}

async fn mail_that_is_not_set_up_cannot_be_tested(world: World) {
    let owner = world.owner().await;
    let refused = owner.post("/mail/test", json!({})).await.refused(409, "mail_not_set_up");
    assert!(refused["detail"].as_str().unwrap().contains("CROSSFADE_SMTP_URL"), "{refused}");
    let shown = owner.get("/mail").await.ok();
    assert_eq!(
        (&shown["server"], &shown["sender"], &shown["last_error"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    let page = world.signed_in().await.get("/console/mail").await.page(200);
    assert!(page.contains("Mail is not set up.") && !page.contains("Send me a test message"), "{page}");
}

async fn the_overview_says_whether_owners_are_told(mut world: World) {
    let client = world.client("Billing", &["production"]).await;
    let overview = async |world: &World| world.signed_in().await.get("/console").await.page(200);
    let page = overview(&world).await;
    assert!(
        page.contains("Mail is not set up. Owners are not notified of rotations and deadlines."),
        "{page}"
    );
    let server = mailing(&mut world).await;
    world
        .owner()
        .await
        .post(&client.path("production", "/secrets/rotate"), client.rotation(24))
        .await
        .created();
    world.advance(Duration::from_secs(15 * 60));
    let page = overview(&world).await;
    assert!(!page.contains("Mail is"), "not late yet: {page}");
    world.advance(Duration::from_secs(1));
    let page = overview(&world).await;
    assert!(page.contains("Mail is late: ") && page.contains("to be sent, the oldest since "), "{page}");
    server.set_down(true);
    Box::pin(world.app.send_due_messages()).await.unwrap();
    let page = overview(&world).await;
    assert!(page.contains("Mail cannot be sent, and messages to owners wait: cannot connect"), "{page}");
    server.set_down(false);
    world.advance(Duration::from_secs(600));
    while Box::pin(world.app.send_due_messages()).await.unwrap() {}
    let page = overview(&world).await;
    assert!(!page.contains("Mail is") && !page.contains("Mail cannot"), "{page}");
}

async fn a_test_that_succeeds_ends_the_rest_of_the_mail_server(mut world: World) {
    let server = mailing(&mut world).await;
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    owner.post(&client.path("production", "/secrets/rotate"), client.rotation(24)).await.created();
    server.set_down(true);
    Box::pin(world.app.send_due_messages()).await.unwrap();
    let shown = owner.get("/mail").await.ok();
    assert_eq!((&shown["queued"], &shown["failing_since"]), (&json!(1), &json!(world.now())));
    assert!(shown["last_error"].as_str().unwrap().starts_with("cannot connect"), "{shown}");
    let browser = world.signed_in().await;
    let page = browser.get("/console/mail").await.page(200);
    assert!(page.contains("Mail cannot be sent.") && page.contains("cannot connect"), "{page}");
    assert_eq!(test(&world).await["accepted"], false);
    assert_eq!(
        owner.get("/mail").await.ok()["failing_since"],
        shown["failing_since"],
        "a test prolongs no rest"
    );
    server.set_down(false);
    assert_eq!(test(&world).await["accepted"], true);
    let shown = owner.get("/mail").await.ok();
    assert_eq!(shown["failing_since"], Value::Null);
    let page = browser.get("/console/mail").await.page(200);
    assert!(!page.contains("Mail cannot be sent."), "{page}");
    let sent_now = Box::pin(world.app.send_due_messages()).await.unwrap();
    assert!(sent_now, "the message does not wait for its next attempt");
    assert_eq!(owner.get("/mail").await.ok()["queued"], 0);
}

/// A command is another process, which knows nothing but the database.
async fn an_accepted_test_on_the_machine_ends_the_rest_of_the_server(mut world: World) {
    let server = mailing(&mut world).await;
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    owner.post(&client.path("production", "/secrets/rotate"), client.rotation(24)).await.created();
    server.set_down(true);
    Box::pin(world.app.send_due_messages()).await.unwrap();
    let mailer = server.mailer();
    let shown = world.app.read_mail_here(Some(&mailer)).await.unwrap();
    assert_eq!(shown.failing_since, Some(world.now()), "the command says since when the server fails");
    let tested = Box::pin(world.app.test_mail_here(&mailer, "ada@example.com")).await.unwrap();
    assert_eq!(tested.accepted, Some(false));
    assert!(!Box::pin(world.app.send_due_messages()).await.unwrap(), "a test that fails wakes nothing");
    let failing = world.app.read_mail_here(None).await.unwrap().failing_since;
    assert_eq!(failing, shown.failing_since);
    server.set_down(false);
    assert!(!Box::pin(world.app.send_due_messages()).await.unwrap(), "the server rests");
    let tested = Box::pin(world.app.test_mail_here(&mailer, "ada@example.com")).await.unwrap();
    assert_eq!(tested.accepted, Some(true));
    assert_eq!(world.app.read_mail_here(None).await.unwrap().failing_since, None);
    assert!(Box::pin(world.app.send_due_messages()).await.unwrap(), "the server does not wait");
    assert_eq!(owner.get("/mail").await.ok()["queued"], 0);
}

async fn a_test_is_sent_where_mail_is_held(mut world: World) {
    let server = mailing(&mut world).await;
    world.restart_with_mailer_under(Some(server.mailer()), "https://elsewhere.example.com").await;
    let page = world.signed_in().await.get("/console/mail").await.page(200);
    assert!(page.contains("Release mail") && page.contains("Send me a test message"), "{page}");
    assert_eq!(test(&world).await["accepted"], true);
    assert_eq!(server.take().len(), 1);
    assert!(world.app.sending_held_since().is_some(), "a test releases nothing");
}

async fn the_mail_server_is_shown_without_user_and_password(mut world: World) {
    let url = "smtp://canary-user:canary-password@mail.example.com:2525";
    let server = crossfade_app::MailServer::parse(url, None, None).unwrap();
    let mailer = Arc::new(Mailer::new(server, "Crossfade <crossfade@example.com>").unwrap());
    world.restart_with_mailer(Some(mailer)).await;
    let shown = world.owner().await.get("/mail").await.ok();
    let expected = json!({"host": "mail.example.com", "port": 2525, "encryption": "starttls"});
    assert_eq!(
        (&shown["server"], &shown["sender"]),
        (&expected, &json!("Crossfade <crossfade@example.com>"))
    );
    let page = world.signed_in().await.get("/console/mail").await.page(200);
    assert!(page.contains("mail.example.com:2525") && page.contains("STARTTLS"), "{page}");
    assert!(!format!("{shown}{page}").contains("canary"), "{page}");
}

async fn a_test_on_the_machine_goes_to_any_address(mut world: World) {
    let server = mailing(&mut world).await;
    let tested = world.app.test_mail_here(&server.mailer(), "grace@example.com").await.unwrap();
    assert_eq!(tested.accepted, Some(true));
    let messages = server.take();
    assert!(messages[0].text.contains("crossfade mail test"), "{messages:?}");
    assert_eq!((messages.len(), messages[0].to.as_str()), (1, "grace@example.com"));
    assert_eq!(world.number(&format!("{TESTED} AND actor_kind = 'machine'")).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_tests_mail_and_says_what_the_mail_server_answers() {
    let (server, data) = (MailServer::start().await, Data::new());
    let url = server.url();
    let run = |words: &[&str], more: &[&str]| {
        let settings = ["--data-dir", data.path(), "--smtp-url", &url, "--mail-from", "a@example.com"];
        Running::start(&[words, &settings, more].concat())
    };
    let test = ["mail", "test", "--to", "grace@example.com"];
    let (status, out, err) = run(&test, &[]).end();
    assert_eq!((status, &*out), (0, ""), "{err}");
    assert!(err.contains("Sent a test message to grace@example.com. Accepted by 127.0.0.1:"), "{err}");
    assert_eq!(server.take().len(), 1);
    server.refuse(Some("550 5.1.1 unknown"));
    refuses(run(&test, &[]), 1, "was not accepted by 127.0.0.1:");
    let (status, out, err) = run(&test, &["--json"]).end();
    let said: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((status, &said["accepted"]), (1, &json!(false)), "{err}");
    assert!(err.contains("550 5.1.1 unknown"), "{err}");
    refuses(run(&["mail", "test", "--to", "grace"], &[]), 2, "--to must be an email address");
    let without = ["mail", "test", "--to", "grace@example.com", "--data-dir", data.path()];
    refuses(Running::start(&without), 2, "Mail is not set up. Nothing was sent.");
    let (status, out, err) = run(&["mail", "show"], &[]).end();
    assert_eq!((status, &*err), (0, ""), "{out}");
    for line in
        ["(not encrypted).", "Sender: a@example.com", "Messages that wait, by mail and to webhooks: 0."]
    {
        assert!(out.contains(line), "{out}");
    }
}
