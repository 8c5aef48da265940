//! Messages to a person about their own account: who gets which, what they contain, and what an attacker gains by them.

use crate::{
    console::browser::PASSWORD,
    engines::on_both_engines,
    mail_server::{MailServer, Message},
    world::{OWNER, World},
};
use serde_json::json;
use std::{collections::BTreeSet, time::Duration};

on_both_engines! {
    an_invitation_is_mailed_with_its_link_and_stored_sealed_until_it_is_sent,
    a_link_that_has_ended_is_not_mailed,
    a_reset_is_mailed_to_an_account_that_its_managers_could_enter_anyway,
    a_link_to_an_account_that_sees_secrets_is_not_mailed,
    an_address_set_before_a_role_gets_no_link_of_it,
    an_owners_link_is_not_mailed_to_an_address_that_a_manager_has_set,
    a_network_is_not_new_while_none_is_known,
    a_sign_in_from_a_new_browser_or_network_is_told,
    sign_ins_of_someone_with_the_password_cause_few_messages,
    wrong_passwords_cause_no_message,
    a_person_is_told_of_what_changes_their_account,
    without_mail_nothing_about_people_is_recorded,
    a_link_in_no_message_outlives_its_use,
}

const NEW: &str = "another horse battery staple";
const HOUR: Duration = Duration::from_secs(3600);

async fn mailing(world: &mut World) -> MailServer {
    let server = MailServer::start().await;
    world.restart_with_mailer(Some(server.mailer())).await;
    server
}

async fn sent(world: &World, server: &MailServer) -> Vec<Message> {
    while Box::pin(world.app.send_due_messages()).await.unwrap() {}
    server.take()
}

/// Returns recipients and subjects without the host.
async fn told(world: &World, server: &MailServer) -> Vec<(String, String)> {
    let mut told: Vec<_> = sent(world, server)
        .await
        .iter()
        .map(|it| (it.to.clone(), it.header("Subject").split(" (").next().unwrap().to_owned()))
        .collect();
    told.sort();
    told
}

fn body(message: &Message) -> String {
    message.text.replace("=\r\n", "")
}

/// Returns the links that open an account in a message.
fn links(message: &Message) -> BTreeSet<String> {
    let text = body(message);
    let parts = text.split("/console/link#").skip(1);
    parts.map(|rest| rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()).collect()
}

fn pair(to: &str, subject: &str) -> (String, String) {
    (to.to_owned(), subject.to_owned())
}

async fn sealed(world: &World) -> i64 {
    world.number("SELECT COUNT(*) FROM message_links").await
}

async fn an_invitation_is_mailed_with_its_link_and_stored_sealed_until_it_is_sent(mut world: World) {
    let server = mailing(&mut world).await;
    let owner = world.owner().await;
    let created = owner.post("/users", json!({"email": "new@example.com", "name": "New"})).await.created();
    let link = &created["activation_link"];
    let url = link["url"].as_str().unwrap();
    let value = url.rsplit('#').next().unwrap();
    assert_eq!(link["mailed"], true, "the reply keeps the link");
    assert_eq!(sealed(&world).await, 1);
    let in_clear = format!("SELECT COUNT(*) FROM notifications WHERE details LIKE '%{value}%'");
    assert_eq!(world.number(&in_clear).await, 0);
    let messages = sent(&world, &server).await;
    let [message] = messages.as_slice() else { panic!("{messages:?}") };
    assert_eq!((message.to.as_str(), sealed(&world).await), ("new@example.com", 0));
    assert_eq!(message.header("Subject"), "You were invited to Crossfade (auth.example.com)");
    assert_eq!(links(message), BTreeSet::from([value.to_owned()]));
    assert!(!body(message).contains("never mails a secret"), "{}", body(message));
    let browser = world.browser();
    let fields = [("link", value), ("email", ""), ("password", NEW), ("repeated", NEW)];
    assert_eq!(browser.post("/console/link", &fields).await.status.as_u16(), 303);
    assert_eq!(
        told(&world, &server).await,
        [pair("new@example.com", "Your password was set with a one-time link")]
    );
}

async fn a_link_that_has_ended_is_not_mailed(mut world: World) {
    let server = mailing(&mut world).await;
    let owner = world.user("ops@example.com", "operations_manager").await;
    let created = owner.post("/users", json!({"email": "new@example.com"})).await.created();
    let path = format!("/users/{}/link", created["id"].as_str().unwrap());
    let second = owner.post(&path, json!({})).await.created();
    let messages = sent(&world, &server).await;
    let [message] = messages.as_slice() else { panic!("the replaced link is not sent: {messages:?}") };
    let value = second["url"].as_str().unwrap().rsplit('#').next().unwrap().to_owned();
    assert_eq!(links(message), BTreeSet::from([value]));
    // Doctor counts only what was lost.
    let given_up = "SELECT COUNT(*) FROM deliveries WHERE abandoned_as = 'over'";
    assert_eq!(world.number(given_up).await, 1);
    server.set_down(true);
    owner.post(&path, json!({})).await.created();
    assert_eq!(sent(&world, &server).await.len(), 0);
    server.set_down(false);
    world.advance(HOUR * 24);
    assert_eq!(sent(&world, &server).await.len(), 0, "the link has expired");
    world.run_jobs().await;
    assert_eq!(sealed(&world).await, 0);
}

async fn a_reset_is_mailed_to_an_account_that_its_managers_could_enter_anyway(mut world: World) {
    let server = mailing(&mut world).await;
    world.person("view@example.com", "viewer").await;
    let manager = world.user("ops@example.com", "operations_manager").await;
    sent(&world, &server).await;
    let id = user_id(&world, "view@example.com").await;
    let link = manager.post(&format!("/users/{id}/link"), json!({})).await.created();
    assert_eq!(link["mailed"], true);
    let messages = sent(&world, &server).await;
    assert_eq!(messages[0].header("Subject"), "Set a new password for Crossfade (auth.example.com)");
    assert_eq!(links(&messages[0]).len(), 1);
}

async fn user_id(world: &World, email: &str) -> String {
    let found = world.owner().await.get(&format!("/users?q={email}")).await.ok();
    found["items"][0]["id"].as_str().unwrap().to_owned()
}

async fn a_link_to_an_account_that_sees_secrets_is_not_mailed(mut world: World) {
    let server = mailing(&mut world).await;
    let owner = world.owner().await;
    for role in ["secret_viewer", "secret_rotator", "auditor", "owner"] {
        let email = format!("{role}@roles.example.com");
        world.user(&email, role).await;
        let id = user_id(&world, &email).await;
        let link = owner.post(&format!("/users/{id}/link"), json!({})).await.created();
        assert_eq!(link["mailed"], false, "{role}");
        let messages = sent(&world, &server).await;
        let [message] = messages.as_slice() else { panic!("{messages:?}") };
        assert!(message.header("Subject").starts_with("A link to set your password was created"));
        assert_eq!(links(message), BTreeSet::new(), "{role}");
        assert_eq!(sealed(&world).await, 0);
    }
}

/// Whoever manages users sets an address of their own before an Owner gives the account a role, and waits for the mail.
async fn an_address_set_before_a_role_gets_no_link_of_it(mut world: World) {
    let server = mailing(&mut world).await;
    let manager = world.user("mallory@example.com", "operations_manager").await;
    let user = manager.post("/users", json!({"email": "evil@example.com", "name": "Grace"})).await.created();
    let id = user["id"].as_str().unwrap();
    let invited = sent(&world, &server).await;
    assert_eq!(links(&invited[0]).len(), 1, "the manager sees this link anyway");
    let owner = world.owner().await;
    let grant = owner.post(&format!("/users/{id}/grants"), json!({"role": "secret_rotator"})).await.created();
    let url = grant["activation_link"]["url"].as_str().unwrap();
    assert_eq!(grant["activation_link"]["mailed"], false);
    owner.post(&format!("/users/{id}/link"), json!({})).await.created();
    for message in sent(&world, &server).await {
        assert_eq!(links(&message), BTreeSet::new(), "{}", body(&message));
        assert!(!body(&message).contains(url));
    }
}

/// An account that an Owner's link enters keeps its password when it gets a role that sees secrets.
async fn an_owners_link_is_not_mailed_to_an_address_that_a_manager_has_set(mut world: World) {
    let server = mailing(&mut world).await;
    let owner = world.owner().await;
    let manager = world.user("mallory@example.com", "operations_manager").await;
    let user = owner.post("/users", json!({"email": "grace@example.com", "name": "Grace"})).await.created();
    let id = user["id"].as_str().unwrap();
    manager.patch(&format!("/users/{id}"), json!({"email": "evil@example.com"})).await.ok();
    sent(&world, &server).await;
    let link = owner.post(&format!("/users/{id}/link"), json!({})).await.created();
    assert_eq!(link["mailed"], false);
    let messages = sent(&world, &server).await;
    let [message] = messages.as_slice() else { panic!("{messages:?}") };
    assert_eq!((message.to.as_str(), links(message)), ("evil@example.com", BTreeSet::new()));
    assert_eq!(sealed(&world).await, 0);
}

async fn a_network_is_not_new_while_none_is_known(mut world: World) {
    let server = mailing(&mut world).await;
    let browser = world.signed_in().await;
    // As after an upgrade, when no network was noted yet.
    world.raw("DELETE FROM told").await;
    sent(&world, &server).await;
    browser.post("/console/sign-out", &[]).await;
    browser.sign_in(OWNER, PASSWORD).await;
    assert_eq!(told(&world, &server).await, []);
    browser.from([203, 0, 113, 7]).sign_in(OWNER, PASSWORD).await;
    assert_eq!(told(&world, &server).await.len(), 1, "one is known now");
}

async fn a_sign_in_from_a_new_browser_or_network_is_told(mut world: World) {
    let server = mailing(&mut world).await;
    let browser = world.signed_in().await;
    assert_eq!(told(&world, &server).await, [pair(OWNER, "New sign-in to your account")]);
    browser.post("/console/sign-out", &[]).await;
    browser.sign_in(OWNER, PASSWORD).await;
    assert_eq!(told(&world, &server).await, []);
    let elsewhere = browser.from([203, 0, 113, 7]);
    elsewhere.sign_in(OWNER, PASSWORD).await;
    let messages = sent(&world, &server).await;
    assert!(messages[0].header("Subject").starts_with("Sign-in to your account from a new network"));
    assert!(body(&messages[0]).contains("203.0.113.7"), "{}", body(&messages[0]));
    elsewhere.sign_in(OWNER, PASSWORD).await;
    let neighbour = elsewhere.from([203, 0, 113, 8]);
    neighbour.sign_in(OWNER, PASSWORD).await;
    assert_eq!(told(&world, &server).await, [], "a neighbour in the same network");
    // A network that is not used for a long time is new again.
    world.advance(HOUR * 24 * 91);
    world.run_jobs().await;
    world.restart_with_mailer(Some(server.mailer())).await;
    world.signed_in_as(OWNER).await;
    assert_eq!(told(&world, &server).await.iter().filter(|it| it.0 == OWNER).count(), 1);
}

async fn sign_ins_of_someone_with_the_password_cause_few_messages(mut world: World) {
    let server = mailing(&mut world).await;
    world.owner().await;
    for number in 0..20 {
        let thief = world.browser().from([203, 0, number, 1]);
        assert_eq!(thief.sign_in(OWNER, PASSWORD).await.status.as_u16(), 303);
    }
    assert_eq!(told(&world, &server).await.len(), 5);
    world.advance(HOUR * 24);
    world.browser().from([203, 1, 0, 1]).sign_in(OWNER, PASSWORD).await;
    assert_eq!(told(&world, &server).await.len(), 1, "the next day");
}

async fn wrong_passwords_cause_no_message(mut world: World) {
    let server = mailing(&mut world).await;
    world.owner().await;
    for number in 0..5 {
        let stranger = world.browser().from([203, 0, number, 1]);
        assert_eq!(stranger.sign_in(OWNER, "wrong").await.status.as_u16(), 422);
        assert_eq!(stranger.sign_in("nobody@example.com", "wrong").await.status.as_u16(), 422);
        world.advance(HOUR);
    }
    assert_eq!(told(&world, &server).await, []);
    assert_eq!(world.number("SELECT COUNT(*) FROM told").await, 0);
}

async fn a_person_is_told_of_what_changes_their_account(mut world: World) {
    let server = mailing(&mut world).await;
    let client = world.client("Billing", &["production"]).await;
    let browser = world.person("view@example.com", "viewer").await;
    let id = user_id(&world, "view@example.com").await;
    sent(&world, &server).await;
    let token = [("name", "laptop"), ("expires_days", "30")];
    browser.post("/console/account/tokens", &token).await.page(200);
    let owner = world.owner().await;
    let role = json!({"role": "application_manager", "client_id": client.id});
    let grant = owner.post(&format!("/users/{id}/grants"), role).await.created();
    let grant = format!("/users/{id}/grants/{}", grant["id"].as_str().unwrap());
    owner.delete(&grant, json!({})).await.expect(204);
    let fields =
        [("current_password", PASSWORD), ("password", NEW), ("repeated", NEW), ("end_tokens", "yes")];
    browser.post("/console/account/password", &fields).await.leads_to();
    owner.patch(&format!("/users/{id}"), json!({"email": "new@example.com"})).await.ok();
    let messages = sent(&world, &server).await;
    let mut subjects: Vec<_> = messages.iter().map(|it| it.header("Subject")).collect();
    subjects.sort();
    assert_eq!(
        subjects,
        [
            "A role of yours was removed (auth.example.com)",
            "An API token was created for your account (auth.example.com)",
            "The email address of your account was changed (auth.example.com)",
            "You were granted a role (auth.example.com)",
            "Your password was changed (auth.example.com)",
        ]
    );
    for message in &messages {
        assert_eq!(message.to, "view@example.com", "the address before the change");
        assert!(!body(message).contains("crossfade_api_"), "{}", body(message));
        assert!(body(message).contains("Done by"), "{}", body(message));
    }
    let granted = messages.iter().find(|it| it.header("Subject").starts_with("You were granted")).unwrap();
    assert!(body(granted).contains("client Billing"), "{}", body(granted));
}

async fn without_mail_nothing_about_people_is_recorded(world: World) {
    let owner = world.owner().await;
    let created = owner.post("/users", json!({"email": "new@example.com"})).await.created();
    assert_eq!(created["activation_link"]["mailed"], false);
    world.signed_in().await;
    assert_eq!(world.number("SELECT COUNT(*) FROM notifications").await, 0);
    assert_eq!(sealed(&world).await, 0);
}

async fn a_link_in_no_message_outlives_its_use(mut world: World) {
    let server = mailing(&mut world).await;
    server.set_down(true);
    let owner = world.owner().await;
    let created = owner.post("/users", json!({"email": "new@example.com"})).await.created();
    let value = created["activation_link"]["url"].as_str().unwrap().rsplit('#').next().unwrap().to_owned();
    assert_eq!(sent(&world, &server).await.len(), 0);
    let fields = [("link", value.as_str()), ("email", ""), ("password", NEW), ("repeated", NEW)];
    assert_eq!(world.browser().post("/console/link", &fields).await.status.as_u16(), 303);
    world.run_jobs().await;
    assert_eq!(sealed(&world).await, 0);
    server.set_down(false);
    world.advance(HOUR);
    assert_eq!(
        told(&world, &server).await,
        [pair("new@example.com", "Your password was set with a one-time link")]
    );
}
