//! One-time links end with the credential that made them: what a stolen session or token made is no way back in.

use crate::engines::on_both_engines;
use crate::{
    console::browser::{Browser, PASSWORD},
    world::{OWNER, Principal, World},
};
use http::Method;
use serde_json::{Value, json};

on_both_engines! {
    a_link_of_a_stolen_session_ends_with_a_sign_out_everywhere,
    a_link_of_a_copied_cookie_ends_with_another_password,
    a_link_of_a_session_ends_with_that_session_in_the_list,
    an_invitation_outlives_the_plain_sign_out_of_its_maker,
    a_link_of_a_token_ends_with_the_token_alone,
    an_invitation_of_an_ended_token_ends_too_and_is_not_given_again,
    links_of_tokens_end_where_the_tokens_of_the_account_end,
    a_link_to_an_account_ends_with_its_sign_out_everywhere,
}

const NEW: &str = "a sentence that nobody guesses";

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is not a text")).to_owned()
}

/// The status of setting a password by a link.
async fn open(world: &World, link: &str) -> u16 {
    let code = link.rsplit('#').next().unwrap();
    let form = [("link", code), ("email", ""), ("password", NEW), ("repeated", NEW)];
    world.browser().post("/console/link", &form).await.status.as_u16()
}

/// Another person: its id.
async fn peer(world: &World) -> String {
    world.owner().await;
    world.user("peer@example.com", "operations_manager").await;
    let found = world.owner().await.get("/users?q=peer").await.ok();
    text(&found["items"][0]["id"])
}

async fn by_session(browser: &Browser<'_>, user: &str) -> String {
    let page = browser.post(&format!("/console/people/{user}/link"), &[]).await.page(200);
    let at = page.find("https://auth.example.com/console/link#").unwrap();
    page[at..].split('<').next().unwrap().to_owned()
}

async fn by_token(principal: &Principal<'_>, user: &str) -> String {
    text(&principal.post(&format!("/users/{user}/link"), json!({})).await.created()["url"])
}

async fn token_id(principal: &Principal<'_>) -> String {
    text(&principal.get("/me").await.ok()["token_id"])
}

async fn a_link_of_a_stolen_session_ends_with_a_sign_out_everywhere(world: World) {
    let user = peer(&world).await;
    let (thief, victim) = (world.signed_in().await, world.signed_in().await);
    let link = by_session(&thief, &user).await;
    assert_eq!(victim.post("/console/account/sessions/end", &[]).await.status.as_u16(), 303);
    assert_eq!(open(&world, &link).await, 410);
}

async fn a_link_of_a_copied_cookie_ends_with_another_password(world: World) {
    let user = peer(&world).await;
    // The session itself goes on, with another cookie.
    let victim = world.signed_in().await;
    let link = by_session(&victim, &user).await;
    let fields = [("current_password", PASSWORD), ("password", NEW), ("repeated", NEW)];
    assert_eq!(victim.post("/console/account/password", &fields).await.status.as_u16(), 303);
    assert!(victim.is_signed_in().await);
    assert_eq!(open(&world, &link).await, 410);
}

async fn a_link_of_a_session_ends_with_that_session_in_the_list(world: World) {
    let user = peer(&world).await;
    let (thief, victim) = (world.signed_in().await, world.signed_in().await);
    let link = by_session(&thief, &user).await;
    let page = victim.get("/console/account").await.page(200);
    let mut sessions = page
        .split("/console/account/sessions/")
        .skip(1)
        .map(|it| &it[..26])
        .filter(|it| it.starts_with("ses_"));
    assert_eq!(sessions.clone().count(), 2);
    assert!(sessions.any(|id| id.len() == 26));
    let other = page
        .split("<tr>")
        .find(|row| row.contains("/sessions/ses_") && !row.contains("This session"))
        .unwrap();
    let at = other.find("/console/account/sessions/ses_").unwrap();
    let path = other[at..].split('"').next().unwrap();
    assert_eq!(victim.post(path, &[]).await.status.as_u16(), 303);
    assert!(!thief.is_signed_in().await);
    assert_eq!(open(&world, &link).await, 410);
}

async fn an_invitation_outlives_the_plain_sign_out_of_its_maker(world: World) {
    let user = peer(&world).await;
    let owner = world.signed_in().await;
    let link = by_session(&owner, &user).await;
    assert_eq!(owner.post("/console/sign-out", &[]).await.status.as_u16(), 303);
    assert!(!owner.is_signed_in().await);
    assert_eq!(open(&world, &link).await, 303);
}

async fn a_link_of_a_token_ends_with_the_token_alone(world: World) {
    let user = peer(&world).await;
    let (owner, leaked) = (world.owner().await, world.token_of(OWNER, &[]).await);
    let link = by_token(&leaked, &user).await;
    // What another credential of the account ends is another's.
    owner
        .delete(&format!("/tokens/{}", token_id(&world.token_of(OWNER, &[]).await).await), json!({}))
        .await
        .expect(204);
    world.signed_in().await.post("/console/account/sessions/end", &[]).await.leads_to();
    assert!(world.app.read_link(link.rsplit('#').next().unwrap(), None).await.is_ok());
    owner.delete(&format!("/tokens/{}", token_id(&leaked).await), json!({})).await.expect(204);
    assert_eq!(open(&world, &link).await, 410);
}

async fn an_invitation_of_an_ended_token_ends_too_and_is_not_given_again(world: World) {
    let owner = world.owner().await;
    let leaked = world.token_of(OWNER, &[]).await;
    let key = [("idempotency-key", "k")];
    let body = json!({"email": "new@example.com"}).to_string();
    let created = leaked.call(Method::POST, "/users", Some(body), &key).await.created();
    let link = text(&created["activation_link"]["url"]);
    owner.delete(&format!("/tokens/{}", token_id(&leaked).await), json!({})).await.expect(204);
    assert_eq!(open(&world, &link).await, 410);
}

async fn links_of_tokens_end_where_the_tokens_of_the_account_end(world: World) {
    let user = peer(&world).await;
    let leaked = world.token_of(OWNER, &[]).await;
    let link = by_token(&leaked, &user).await;
    let victim = world.signed_in().await;
    let fields =
        [("current_password", PASSWORD), ("password", NEW), ("repeated", NEW), ("end_tokens", "yes")];
    assert_eq!(victim.post("/console/account/password", &fields).await.status.as_u16(), 303);
    assert_eq!(open(&world, &link).await, 410);
    // The same where an account is let in anew.
    let ops = world.token_of("peer@example.com", &[]).await;
    let invited = text(
        &ops.post("/users", json!({"email": "new@example.com"})).await.created()["activation_link"]["url"],
    );
    let owner = world.owner().await;
    assert_eq!(open(&world, &by_token(&owner, &user).await).await, 303);
    assert_eq!(open(&world, &invited).await, 410);
}

async fn a_link_to_an_account_ends_with_its_sign_out_everywhere(world: World) {
    let user = peer(&world).await;
    let owner = world.owner().await;
    assert_eq!(open(&world, &by_token(&owner, &user).await).await, 303);
    let browser = world.browser();
    assert_eq!(browser.sign_in("peer@example.com", NEW).await.status.as_u16(), 303);
    let link = by_token(&owner, &user).await;
    browser.post("/console/account/sessions/end", &[]).await.leads_to();
    assert_eq!(open(&world, &link).await, 410);
}
