//! The policy that asks people for a second factor: whom it asks, what they can do until they have added one, and when
//! their API tokens are refused.

use super::{
    browser::{Browser, PASSWORD},
    factors::enrol,
};
use crate::engines::on_both_engines;
use crate::mail_server::MailServer;
use crate::world::{OWNER, Principal, World};
use serde_json::{Value, json};
use std::time::Duration;

on_both_engines! {
    an_owner_without_a_factor_asks_nobody_for_one,
    only_owners_read_and_set_the_policy,
    people_who_are_asked_are_told_in_the_same_change,
    a_session_without_a_factor_leads_to_the_account_page_alone,
    nothing_but_the_own_account_is_done_before_a_factor_is_added,
    tokens_are_refused_seven_days_after_the_policy_was_told,
    tokens_of_programs_are_never_refused,
    a_role_that_sees_secrets_is_asked_since_it_was_granted,
    a_higher_policy_gives_nobody_more_time,
    the_last_factor_stays_while_the_policy_asks_for_it,
    a_person_who_is_invited_later_adds_a_factor_first,
    a_policy_that_someone_else_has_changed_is_not_overwritten,
}

const DAY: Duration = Duration::from_secs(86_400);
const MICRO: Duration = Duration::from_micros(1);
const PATH: &str = "/sign-in-policy";

async fn set(owner: &Principal<'_>, asked_for: &str) -> Value {
    owner.patch(PATH, json!({"second_factor": asked_for})).await.ok()
}

/// An Owner with a factor, signed in, and a token of theirs.
async fn owner(world: &World) -> (Browser<'_>, Principal<'_>) {
    let browser = world.signed_in().await;
    enrol(world, &browser).await;
    let owner = world.owner().await;
    (browser, owner)
}

async fn an_owner_without_a_factor_asks_nobody_for_one(world: World) {
    let owner = world.owner().await;
    let policy = owner.get(PATH).await.ok();
    assert_eq!(
        policy,
        json!({
            "second_factor": "optional", "told_at": null, "tokens_refused_from": null, "missing_count": 0,
            "passwords": "everyone", "break_glass": [],
        })
    );
    let refused = owner.patch(PATH, json!({"second_factor": "everyone"})).await;
    let refused = refused.refused(403, "second_factor_required");
    assert!(refused["detail"].as_str().unwrap().contains("lock yourself out"), "{refused}");
    let browser = world.signed_in_as(OWNER).await;
    let fields = [("second_factor", "everyone"), ("version", "1")];
    let page = browser.post("/console/sign-in-policy", &fields).await.page(403);
    assert!(page.contains("lock yourself out"), "{page}");
    enrol(&world, &browser).await;
    assert_eq!(browser.post("/console/sign-in-policy", &fields).await.leads_to(), "/console/sign-in-policy");
    assert_eq!(owner.get(PATH).await.ok()["second_factor"], "everyone");
}

async fn only_owners_read_and_set_the_policy(world: World) {
    let (_, owner) = owner(&world).await;
    for role in ["viewer", "operations_manager", "auditor", "secret_rotator"] {
        let other = world.user(&format!("{}@example.com", role.replace('_', ".")), role).await;
        other.get(PATH).await.refused(403, "forbidden");
        other.patch(PATH, json!({"second_factor": "everyone"})).await.refused(403, "forbidden");
    }
    let wrong = owner.patch(PATH, json!({"second_factor": "nobody"})).await.refused(422, "invalid_body");
    assert_eq!(wrong["field"], "second_factor");
    assert_eq!(owner.get(PATH).await.ok()["second_factor"], "optional");
}

async fn people_who_are_asked_are_told_in_the_same_change(mut world: World) {
    let server = MailServer::start().await;
    world.restart_with_mailer(Some(server.mailer())).await;
    let (_, owner) = owner(&world).await;
    world.user("viewer@example.com", "viewer").await;
    world.user("rotator@example.com", "secret_rotator").await;
    owner.post("/users", json!({"kind": "program", "name": "CI"})).await.created();
    while Box::pin(world.app.send_due_messages()).await.unwrap() {}
    server.take();
    let told = async || {
        while Box::pin(world.app.send_due_messages()).await.unwrap() {}
        let sent = server.take();
        let is_it = |it: &&crate::mail_server::Message| {
            it.header("Subject").starts_with("Your account must have a second factor")
        };
        let mut told: Vec<_> = sent.iter().filter(is_it).map(|it| it.to.clone()).collect();
        told.sort();
        told
    };
    let policy = set(&owner, "secret_roles").await;
    assert_eq!(policy["missing_count"], 1);
    assert_eq!(told().await, ["rotator@example.com"]);
    let policy = set(&owner, "everyone").await;
    assert_eq!(policy["missing_count"], 2);
    assert_eq!(told().await, ["rotator@example.com", "viewer@example.com"]);
    set(&owner, "secret_roles").await;
    assert!(told().await.is_empty(), "nobody is asked for more than before");
    let trail = owner.get("/audit-events?action=sign_in_policy.updated").await.ok();
    let details: Vec<_> = trail["items"].as_array().unwrap().iter().map(|it| it["details"].clone()).collect();
    assert_eq!(details.iter().map(|it| it["told"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 2, 1]);
    let asked_for = ["before", "after"].map(|at| &details[1][at]["second_factor"]);
    assert_eq!(asked_for, [&json!("secret_roles"), &json!("everyone")]);
}

async fn a_session_without_a_factor_leads_to_the_account_page_alone(world: World) {
    let (_, owner) = owner(&world).await;
    let bob = world.person("bob@example.com", "secret_rotator").await;
    bob.get("/console/clients").await.page(200);
    set(&owner, "everyone").await;
    for path in
        ["/console", "/console/clients", "/console/people", "/console/webhooks", "/console/properties"]
    {
        assert_eq!(bob.get(path).await.leads_to(), "/console/account#factors-title", "{path}");
    }
    let refused = bob.script("/console/properties", &[("name", "Shop")]).await;
    assert_eq!(refused.status.as_u16(), 403, "{}", refused.text());
    assert_eq!(refused.json()["code"], "second_factor_required");
    let page = bob.get("/console/account").await.page(200);
    assert!(page.contains("Your account must have a second factor. Add one to continue."), "{page}");
    assert!(!page.contains("commandfor=\"create-token\""), "{page}");
    assert_eq!(bob.get("/console/sign-in?to=/console/clients").await.leads_to(), "/console/clients");
    enrol(&world, &bob).await;
    bob.get("/console/clients").await.page(200);
    let stranger = world.browser();
    stranger.sign_in("bob@example.com", PASSWORD).await.leads_to();
    assert!(!stranger.is_signed_in().await);
}

async fn nothing_but_the_own_account_is_done_before_a_factor_is_added(world: World) {
    let (_, owner) = owner(&world).await;
    let bob = world.person("bob@example.com", "operations_manager").await;
    set(&owner, "everyone").await;
    let before = world.number("SELECT COUNT(*) FROM audit_events").await;
    let token = [("name", "laptop"), ("expires_days", "30")];
    assert_eq!(bob.post("/console/account/tokens", &token).await.status, 403);
    assert_eq!(
        bob.post("/console/properties", &[("name", "Shop")]).await.leads_to(),
        "/console/account#factors-title"
    );
    assert_eq!(world.number("SELECT COUNT(*) FROM api_tokens WHERE name = 'laptop'").await, 0);
    assert_eq!(world.number("SELECT COUNT(*) FROM audit_events").await, before);
    bob.post("/console/account/name", &[("name", "Robert")]).await.leads_to();
    bob.post("/console/account/messages", &[("time_zone", "Europe/Berlin")]).await.leads_to();
    bob.post("/console/sign-out", &[]).await.leads_to();
}

async fn tokens_are_refused_seven_days_after_the_policy_was_told(world: World) {
    let (browser, owner) = owner(&world).await;
    let bob = world.user("bob@example.com", "viewer").await;
    let policy = set(&owner, "everyone").await;
    assert_eq!(policy["told_at"], json!(world.now().to_string()));
    world.advance(DAY * 7 - MICRO);
    bob.get("/clients").await.ok();
    world.advance(MICRO);
    let refused = bob.get("/clients").await.refused(403, "second_factor_required");
    assert!(refused["detail"].as_str().unwrap().contains("add one on your account page"), "{refused}");
    bob.get("/me").await.refused(403, "second_factor_required");
    bob.post("/properties", json!({"name": "Shop"})).await.refused(403, "second_factor_required");
    owner.get("/clients").await.ok();
    drop(browser);
    set(&owner, "optional").await;
    bob.get("/clients").await.ok();
}

async fn tokens_of_programs_are_never_refused(world: World) {
    let (_, owner) = owner(&world).await;
    let program = owner.post("/users", json!({"kind": "program", "name": "CI"})).await.created();
    let id = program["id"].as_str().unwrap().to_owned();
    owner.post(&format!("/users/{id}/grants"), json!({"role": "secret_rotator"})).await.created();
    let token = world.token_of(&id, &[]).await;
    set(&owner, "everyone").await;
    assert_eq!(owner.get(PATH).await.ok()["missing_count"], 0);
    world.advance(DAY * 30);
    token.get("/clients").await.ok();
}

async fn a_role_that_sees_secrets_is_asked_since_it_was_granted(world: World) {
    let (_, owner) = owner(&world).await;
    world.user("bob@example.com", "viewer").await;
    set(&owner, "secret_roles").await;
    world.advance(DAY * 30);
    let users = owner.get("/users?q=bob").await.ok();
    let id = users["items"][0]["id"].as_str().unwrap();
    world.token_of("bob@example.com", &[]).await.get("/clients").await.ok();
    owner.post(&format!("/users/{id}/grants"), json!({"role": "secret_viewer"})).await.created();
    let bob = world.token_of("bob@example.com", &[]).await;
    world.advance(DAY * 7 - MICRO);
    bob.get("/clients").await.ok();
    world.advance(MICRO);
    bob.get("/clients").await.refused(403, "second_factor_required");
}

async fn a_higher_policy_gives_nobody_more_time(world: World) {
    let (_, owner) = owner(&world).await;
    let (rotator, viewer) = (
        world.user("rot@example.com", "secret_rotator").await,
        world.user("view@example.com", "viewer").await,
    );
    set(&owner, "secret_roles").await;
    world.advance(DAY * 6);
    set(&owner, "everyone").await;
    world.advance(DAY);
    rotator.get("/clients").await.refused(403, "second_factor_required");
    viewer.get("/clients").await.ok();
    world.advance(DAY * 6);
    viewer.get("/clients").await.refused(403, "second_factor_required");
}

async fn the_last_factor_stays_while_the_policy_asks_for_it(world: World) {
    let (browser, owner) = owner(&world).await;
    set(&owner, "secret_roles").await;
    let page = browser.get("/console/account").await.page(200);
    let at = page.find("/console/account/factors/fac_").unwrap();
    let path = page[at..].split('"').next().unwrap().to_owned();
    let refused = browser.post(&path, &[]).await.page(403);
    assert!(refused.contains("this is the only one"), "{refused}");
    assert_eq!(world.number("SELECT COUNT(*) FROM factors").await, 1);
    set(&owner, "optional").await;
    browser.post(&path, &[]).await.leads_to();
    assert_eq!(world.number("SELECT COUNT(*) FROM factors").await, 0);
}

async fn a_person_who_is_invited_later_adds_a_factor_first(world: World) {
    let (_, owner) = owner(&world).await;
    set(&owner, "everyone").await;
    let created = owner.post("/users", json!({"email": "new@example.com"})).await.created();
    let link = created["activation_link"]["url"].as_str().unwrap();
    let fields = [("link", link), ("email", ""), ("password", PASSWORD), ("repeated", PASSWORD)];
    let browser = world.browser();
    browser.post("/console/link", &fields).await.leads_to();
    assert_eq!(browser.get("/console/leaks").await.leads_to(), "/console/account#factors-title");
    enrol(&world, &browser).await;
    browser.get("/console/leaks").await.page(200);
}

async fn a_policy_that_someone_else_has_changed_is_not_overwritten(world: World) {
    let (browser, owner) = owner(&world).await;
    set(&owner, "secret_roles").await;
    let fields = [("second_factor", "everyone"), ("version", "1")];
    assert_eq!(browser.post("/console/sign-in-policy", &fields).await.status, 412);
    assert_eq!(owner.get(PATH).await.ok()["second_factor"], "secret_roles");
    let fields = [("second_factor", "everyone"), ("version", "2")];
    browser.post("/console/sign-in-policy", &fields).await.leads_to();
    assert_eq!(owner.get(PATH).await.ok()["second_factor"], "everyone");
}
