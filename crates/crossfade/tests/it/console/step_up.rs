//! A fresh sign-in before what is dangerous.

use super::{
    browser::{Browser, PASSWORD},
    forms::FRESH,
};
use crate::engines::on_both_engines;
use crate::world::{OWNER, World};
use serde_json::{Value, json};
use std::time::Duration;

on_both_engines! {
    a_sign_in_is_fresh_for_ten_minutes,
    whatever_is_dangerous_asks_for_it,
    without_a_script_the_page_carries_on_what_was_typed,
    a_script_asks_in_a_dialog_and_then_again,
    a_stolen_cookie_does_not_guess_passwords,
    strangers_who_fail_delay_no_fresh_sign_in,
    another_s_password_makes_nobody_fresh,
}

const MICRO: Duration = Duration::from_micros(1);
/// How long a sign-in is fresh, in a test.
const FRESH_FOR: Duration = Duration::from_secs(600);

async fn tokens(world: &World) -> i64 {
    world.number("SELECT COUNT(*) FROM api_tokens WHERE name = 'laptop'").await
}

async fn create_token(browser: &Browser<'_>) -> u16 {
    browser
        .post("/console/account/tokens", &[("name", "laptop"), ("expires_days", "30")])
        .await
        .status
        .as_u16()
}

async fn is_fresh(browser: &Browser<'_>) -> Value {
    browser.get("/console/session").await.ok()
}

async fn a_sign_in_is_fresh_for_ten_minutes(world: World) {
    let browser = world.signed_in().await;
    world.advance(FRESH_FOR - MICRO);
    assert_eq!(is_fresh(&browser).await, json!({"fresh": true}));
    assert_eq!(create_token(&browser).await, 200);
    assert_eq!(tokens(&world).await, 1);
    world.advance(MICRO);
    assert_eq!(is_fresh(&browser).await, json!({"fresh": false}));
    assert_eq!(create_token(&browser).await, 403);
    world.advance(MICRO);
    assert_eq!(create_token(&browser).await, 403);
    assert_eq!(tokens(&world).await, 1);
    assert!(browser.is_signed_in().await, "nobody is signed out by it");
}

async fn whatever_is_dangerous_asks_for_it(world: World) {
    let browser = world.signed_in().await;
    world.person("bob@example.com", "viewer").await;
    let users = world.owner().await.get("/users?q=bob").await.ok();
    let events = "SELECT COUNT(*) FROM audit_events";
    let before = world.number(events).await;
    world.advance(FRESH_FOR);
    for path in FRESH {
        let path = path.replace("{user}", users["items"][0]["id"].as_str().unwrap()).replace(['{', '}'], "");
        let page = browser.post(&path, &[("name", "laptop"), ("role", "viewer")]).await.page(403);
        assert!(
            page.contains("<h1>Confirm it is you</h1>") && page.contains(&format!("action=\"{path}\"")),
            "{path}: {page}"
        );
        let script = browser.script(&path, &[("name", "laptop")]).await;
        assert_eq!(
            (script.status.as_u16(), script.json()["code"].as_str()),
            (403, Some("fresh_sign_in_required"))
        );
    }
    assert_eq!(world.number(events).await, before, "nothing was changed");
}

async fn without_a_script_the_page_carries_on_what_was_typed(world: World) {
    let browser = world.signed_in().await;
    world.advance(FRESH_FOR);
    let typed =
        [("name", "laptop"), ("expires_days", "30"), ("scope", "client:read"), ("scope", "audit:read")];
    let page = browser.post("/console/account/tokens", &typed).await.page(403);
    for (name, value) in typed {
        assert!(
            page.contains(&format!("<input type=\"hidden\" name=\"{name}\" value=\"{value}\">")),
            "{page}"
        );
    }
    let before = browser.cookie();
    let mut wrong = typed.to_vec();
    wrong.push(("confirm_password", "wrong horse battery staple"));
    let page = browser.post("/console/account/tokens", &wrong).await.page(403);
    assert!(
        page.contains("Wrong password.")
            && page.contains("value=\"audit:read\"")
            && !page.contains("wrong horse"),
        "{page}"
    );
    assert_eq!((tokens(&world).await, browser.cookie()), (0, before.clone()));
    let mut right = typed.to_vec();
    right.push(("confirm_password", PASSWORD));
    let page = browser.post("/console/account/tokens", &right).await.page(200);
    assert!(page.contains("crossfade_api_"), "{page}");
    assert_eq!(tokens(&world).await, 1);
    assert_eq!(
        world
            .number("SELECT COUNT(*) FROM api_tokens WHERE scope = '[\"client:read\",\"audit:read\"]'")
            .await,
        1
    );
    // The cookie holds another value now; the one before opens nothing.
    assert_ne!(browser.cookie(), before);
    let thief = world.browser();
    thief.jar().insert(thief.name_of("session"), before.unwrap());
    assert!(!thief.is_signed_in().await && browser.is_signed_in().await);
    assert_eq!(create_token(&browser).await, 200, "fresh for a while");
}

async fn a_script_asks_in_a_dialog_and_then_again(world: World) {
    let browser = world.signed_in().await;
    world.advance(FRESH_FOR);
    let wrong = browser.script("/console/confirm", &[("password", "wrong horse battery staple")]).await;
    assert_eq!(wrong.status.as_u16(), 422);
    assert_eq!(wrong.json()["detail"], "Wrong password. Nothing was changed.");
    assert_eq!(is_fresh(&browser).await, json!({"fresh": false}));
    let right = browser.script("/console/confirm", &[("password", PASSWORD)]).await;
    assert_eq!(right.ok(), json!({"fresh": true}));
    assert_eq!(is_fresh(&browser).await, json!({"fresh": true}));
    assert_eq!(create_token(&browser).await, 200);
    world.advance(FRESH_FOR);
    assert_eq!(create_token(&browser).await, 403, "for ten minutes from then");
}

async fn a_stolen_cookie_does_not_guess_passwords(world: World) {
    let browser = world.signed_in().await;
    for _ in 0..10 {
        assert_eq!(browser.script("/console/confirm", &[("password", "guess")]).await.status.as_u16(), 422);
    }
    let held = browser.script("/console/confirm", &[("password", PASSWORD)]).await;
    assert!(held.expect(422)["detail"].as_str().unwrap().starts_with("Too many wrong passwords."));
    let changed = [
        ("current_password", PASSWORD),
        ("password", "four quite unrelated words"),
        ("repeated", "four quite unrelated words"),
    ];
    assert_eq!(browser.post("/console/account/password", &changed).await.status.as_u16(), 422);
    world.advance(Duration::from_secs(60));
    assert_eq!(browser.script("/console/confirm", &[("password", PASSWORD)]).await.status.as_u16(), 200);
}

async fn strangers_who_fail_delay_no_fresh_sign_in(world: World) {
    let browser = world.signed_in().await;
    let stranger = world.browser();
    for _ in 0..6 {
        assert_eq!(stranger.sign_in(OWNER, "guess").await.status.as_u16(), 422);
    }
    assert_eq!(browser.script("/console/confirm", &[("password", PASSWORD)]).await.status.as_u16(), 200);
}

async fn another_s_password_makes_nobody_fresh(world: World) {
    let bob = world.person("bob@example.com", "viewer").await;
    world.raw("UPDATE users SET password_hash = NULL WHERE email = 'bob@example.com'").await;
    assert_eq!(bob.script("/console/confirm", &[("password", PASSWORD)]).await.status.as_u16(), 422);
}
