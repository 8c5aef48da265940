//! Failed sign-ins: they hold up their network, they delay their account, and a known browser is free of both.

use super::browser::{Browser, PASSWORD};
use crate::engines::on_both_engines;
use crate::world::{OWNER, World};
use crossfade_app::PasswordCost;
use serde_json::{Value, json};
use std::time::Duration;

on_both_engines! {
    a_network_with_too_many_failures_is_held_up_alone,
    what_one_process_counted_counts_at_the_next,
    ten_failures_from_the_own_address_only_make_the_owner_wait,
    failures_from_many_networks_make_a_sign_in_wait_ten_seconds,
    a_known_browser_is_held_up_by_nobody,
    the_cookie_of_a_known_browser_changes_with_each_sign_in,
    a_browser_is_known_to_every_account_that_signed_in_there,
    ten_wrong_passwords_end_a_known_browser,
    the_right_password_gives_a_known_browser_ten_guesses_again,
    parallel_guesses_of_a_known_browser_are_counted,
    a_known_browser_is_unknown_after_ninety_days,
    what_ends_every_session_ends_known_browsers,
    a_deleted_account_has_no_known_browser,
    the_database_does_not_hold_the_cookie_of_a_known_browser,
}

const MICRO: Duration = Duration::from_micros(1);
const WRONG: &str = "wrong horse battery staple";
/// Every failure at an account is forgiven after so long.
const FORGIVEN: Duration = Duration::from_secs(900);
const DAY: Duration = Duration::from_secs(86_400);

/// Wrong passwords for different accounts, until the network of the browser is held up.
async fn hold_up(browser: &Browser<'_>) {
    for number in 0..50 {
        let email = format!("nobody{number}@example.com");
        assert_eq!(browser.sign_in(&email, WRONG).await.status.as_u16(), 422);
    }
    assert_eq!(browser.sign_in("nobody@example.com", WRONG).await.status.as_u16(), 429);
}

/// Wrong passwords for the Owner, as many as delay nothing.
async fn fail(browser: &Browser<'_>, times: usize) {
    for _ in 0..times {
        assert_eq!(browser.sign_in(OWNER, WRONG).await.status.as_u16(), 422);
    }
}

async fn refusals(world: &World, reason: &str) -> Vec<u64> {
    let trail = world.owner().await.get("/audit-events?action=session.refused&limit=200").await.ok();
    let items = trail["items"].as_array().unwrap().iter();
    let items = items.filter(|it| it["details"]["reason"] == reason);
    items.map(|it| it["details"]["count"].as_u64().unwrap()).collect()
}

/// Whether a sign-in with a wrong password has to wait first.
async fn waits(world: &World, browser: &Browser<'_>) -> bool {
    let mut sign_in = std::pin::pin!(browser.sign_in(OWNER, WRONG));
    let waiting = async {
        while world.app.measure().await.sign_ins_waiting == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        answer = &mut sign_in => {
            assert_eq!(answer.status.as_u16(), 422);
            return false;
        }
        () = waiting => {}
    }
    world.advance(Duration::from_secs(10));
    assert_eq!(sign_in.await.status.as_u16(), 422);
    true
}

/// Whether the browser is known to the Owner's account: what makes a stranger wait does not make it wait.
async fn is_known(world: &World, browser: &Browser<'_>) -> bool {
    let stranger = world.browser().from([198, 51, 100, 1]);
    for _ in 0..7 {
        if waits(world, &stranger).await {
            break;
        }
    }
    !waits(world, browser).await
}

async fn a_network_with_too_many_failures_is_held_up_alone(world: World) {
    world.owner().await;
    let attacker = world.browser().from([203, 0, 113, 66]);
    hold_up(&attacker).await;
    let held = attacker.sign_in(OWNER, PASSWORD).await;
    assert!(held.page(429).contains("Try again in 6 s"), "{}", held.text());
    assert_eq!(held.header("retry-after"), Some("6"));
    assert!(held.header("set-cookie").is_none());
    // An account that does not exist is held up in the same words.
    let nobody = attacker.sign_in("nobody@example.com", PASSWORD).await;
    assert_eq!(nobody.page(429).replace("nobody@example.com", OWNER), held.text());
    assert_eq!(world.browser().sign_in(OWNER, PASSWORD).await.status.as_u16(), 303, "from elsewhere");
    world.advance(Duration::from_secs(6) - MICRO);
    assert_eq!(attacker.sign_in(OWNER, PASSWORD).await.status.as_u16(), 429);
    world.advance(MICRO);
    assert_eq!(attacker.sign_in(OWNER, WRONG).await.status.as_u16(), 422);
    assert_eq!(attacker.sign_in(OWNER, PASSWORD).await.status.as_u16(), 429);
    // The trail says that somebody is held up, and how often they tried without a look.
    assert_eq!(refusals(&world, "throttled").await, [1, 1]);
    assert_eq!(refusals(&world, "password").await, [5], "four were tried without a look before");
}

/// A process that has just started knows what the others have stored, and nothing else.
async fn what_one_process_counted_counts_at_the_next(mut world: World) {
    world.owner().await;
    hold_up(&world.browser().from([203, 0, 113, 66])).await;
    fail(&world.browser().from([198, 51, 100, 1]), 6).await;
    world.restart().await;
    let held = world.browser().from([203, 0, 113, 66]);
    assert_eq!(held.sign_in(OWNER, PASSWORD).await.status.as_u16(), 429);
    assert_eq!(held.sign_in(OWNER, PASSWORD).await.status.as_u16(), 429, "from memory");
    let owner = world.browser().from([198, 51, 100, 2]);
    let right = owner.sign_in_after(PASSWORD, Duration::from_secs(1)).await;
    assert_eq!(right.status.as_u16(), 303, "six failures at the account make it wait");
    world.restart().await;
    let again = world.browser().from([198, 51, 100, 3]).sign_in(OWNER, PASSWORD).await;
    assert_eq!(again.status.as_u16(), 303, "they are forgiven everywhere");
    let readable = "SELECT COUNT(*) FROM sign_in_failures WHERE subject LIKE '%@%' OR subject LIKE '%.%'";
    assert_eq!(world.number(readable).await, 0, "neither addresses nor what was typed");
    assert!(world.number("SELECT COUNT(*) FROM sign_in_failures").await > 50);
    world.advance(FORGIVEN);
    world.run_jobs().await;
    assert_eq!(world.number("SELECT COUNT(*) FROM sign_in_failures").await, 0);
}

async fn ten_failures_from_the_own_address_only_make_the_owner_wait(world: World) {
    world.owner().await;
    let browser = world.browser();
    fail(&browser, 6).await;
    for seconds in 1..=4 {
        let wrong = browser.sign_in_after(WRONG, Duration::from_secs(seconds)).await;
        assert_eq!(wrong.status.as_u16(), 422);
    }
    assert_eq!(browser.sign_in_after(PASSWORD, Duration::from_secs(5)).await.status.as_u16(), 303);
    assert_eq!(world.browser().sign_in(OWNER, PASSWORD).await.status.as_u16(), 303, "failures are forgiven");
}

async fn failures_from_many_networks_make_a_sign_in_wait_ten_seconds(world: World) {
    world.owner().await;
    let from = |network: u8| world.browser().from([10, network, 0, 1]);
    for network in 0..6 {
        fail(&from(network), 1).await;
    }
    for network in 6..20 {
        let seconds = u64::from(network - 5).min(10);
        let wrong = from(network).sign_in_after(WRONG, Duration::from_secs(seconds)).await;
        assert_eq!(wrong.status.as_u16(), 422);
    }
    assert_eq!(world.browser().sign_in_after(PASSWORD, Duration::from_secs(10)).await.status.as_u16(), 303);
}

async fn a_known_browser_is_held_up_by_nobody(world: World) {
    let known = world.signed_in().await;
    known.post("/console/sign-out", &[]).await.leads_to();
    let neighbour = world.browser();
    fail(&neighbour, 6).await;
    hold_up_the_rest(&neighbour).await;
    assert_eq!(known.sign_in(OWNER, PASSWORD).await.status.as_u16(), 303, "the same address, without a wait");
    let held = world.browser();
    assert_eq!(held.sign_in(OWNER, PASSWORD).await.status.as_u16(), 429, "an unknown browser there");
    // It is known to this account, and to no other one.
    assert_eq!(known.sign_in("nobody@example.com", PASSWORD).await.status.as_u16(), 429);
}

async fn the_cookie_of_a_known_browser_changes_with_each_sign_in(world: World) {
    world.owner().await;
    let browser = world.browser();
    let answer = browser.sign_in(OWNER, PASSWORD).await;
    let cookies: Vec<_> =
        answer.headers.get_all("set-cookie").iter().map(|it| it.to_str().unwrap()).collect();
    let cookie = cookies.iter().find(|it| it.starts_with(&browser.name_of("device"))).unwrap();
    assert!(cookie.ends_with("; Path=/; Max-Age=7776000; HttpOnly; SameSite=Lax; Secure"), "{cookie}");
    let first = browser.jar()[&browser.name_of("device")].clone();
    assert_eq!(first.len(), "crossfade_device_".len() + 49, "256 random bits and a checksum");
    browser.post("/console/sign-out", &[]).await.leads_to();
    assert_eq!(browser.jar()[&browser.name_of("device")], first, "signing out keeps it");
    browser.sign_in(OWNER, PASSWORD).await.leads_to();
    assert_ne!(browser.jar()[&browser.name_of("device")], first);
    assert_eq!(world.number("SELECT COUNT(*) FROM devices").await, 1);
    let thief = world.browser();
    thief.jar().insert(thief.name_of("device"), first);
    assert!(!is_known(&world, &thief).await && is_known(&world, &browser).await);
}

async fn a_browser_is_known_to_every_account_that_signed_in_there(world: World) {
    world.person("bob@example.com", "viewer").await;
    let browser = world.signed_in().await;
    browser.sign_in("bob@example.com", PASSWORD).await.leads_to();
    assert_eq!(browser.jar()[&browser.name_of("device")].split('.').count(), 2);
    assert!(is_known(&world, &browser).await);
}

async fn ten_wrong_passwords_end_a_known_browser(world: World) {
    let known = world.signed_in().await;
    let cookie = known.jar()[&known.name_of("device")].clone();
    fail(&known, 9).await;
    assert_eq!(world.number("SELECT COUNT(*) FROM devices").await, 1);
    fail(&known, 1).await;
    assert_eq!(world.number("SELECT COUNT(*) FROM devices").await, 0);
    assert_eq!(known.jar()[&known.name_of("device")], cookie);
    assert!(!is_known(&world, &known).await);
    let trail = world.owner().await.get("/audit-events?action=device.ended").await.ok();
    let events = trail["items"].as_array().unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["details"], json!({"wrong_passwords": 10}));
    assert_eq!(events[0]["actor"]["kind"], "unknown");
    assert!(!trail.to_string().contains("horse"));
}

async fn the_right_password_gives_a_known_browser_ten_guesses_again(world: World) {
    let known = world.signed_in().await;
    for _ in 0..2 {
        fail(&known, 9).await;
        assert_eq!(known.sign_in(OWNER, PASSWORD).await.status.as_u16(), 303);
    }
    assert!(is_known(&world, &known).await);
}

async fn parallel_guesses_of_a_known_browser_are_counted(mut world: World) {
    // All begin before the first one has been checked.
    world.restart_with_password_cost(PasswordCost::RECOMMENDED).await;
    let known = world.signed_in().await;
    fail(&known, 5).await;
    let guess = || known.sign_in(OWNER, WRONG);
    tokio::join!(guess(), guess(), guess(), guess(), guess(), guess(), guess());
    assert_eq!(world.number("SELECT COUNT(*) FROM devices").await, 0, "ended by the tenth");
    let trail = world.owner().await.get("/audit-events?action=device.ended").await.ok();
    assert_eq!(trail["items"][0]["details"], json!({"wrong_passwords": 10}));
}

async fn a_known_browser_is_unknown_after_ninety_days(world: World) {
    let known = world.signed_in().await;
    world.advance(DAY * 90 - MICRO);
    assert_eq!(known.sign_in(OWNER, WRONG).await.status.as_u16(), 422);
    let counted = "SELECT COUNT(*) FROM devices WHERE wrong_passwords = 1";
    assert_eq!(world.number(counted).await, 1);
    world.advance(MICRO);
    assert_eq!(known.sign_in(OWNER, WRONG).await.status.as_u16(), 422);
    assert_eq!(world.number(counted).await, 1, "the browser was a stranger");
    assert!(!is_known(&world, &known).await);
}

async fn what_ends_every_session_ends_known_browsers(world: World) {
    let owner = world.owner().await;
    let users = owner.get("/users?q=owner").await.ok();
    let id = users["items"][0]["id"].as_str().unwrap().to_owned();
    // Signing out everywhere.
    let (here, there) = (world.signed_in().await, world.signed_in().await);
    assert!(is_known(&world, &there).await);
    here.post("/console/account/sessions/end", &[]).await.leads_to();
    assert!(!is_known(&world, &here).await && !is_known(&world, &there).await);
    world.advance(FORGIVEN);
    // A reset of the password by an Owner, at the link and at its use.
    let known = world.signed_in().await;
    let other = world.user("other@example.com", "owner").await;
    let link: Value = other.post(&format!("/users/{id}/link"), json!({})).await.created();
    assert!(!is_known(&world, &known).await);
    let fields = [
        ("link", link["url"].as_str().unwrap()),
        ("email", ""),
        ("password", PASSWORD),
        ("repeated", PASSWORD),
    ];
    let browser = world.browser();
    browser.post("/console/link", &fields).await.leads_to();
    assert!(is_known(&world, &browser).await, "the browser that used the link");
    world.advance(FORGIVEN);
    // Another password keeps this browser and no other.
    let other = world.signed_in().await;
    let new = "four quite unrelated words";
    let change = [("current_password", PASSWORD), ("password", new), ("repeated", new)];
    browser.post("/console/account/password", &change).await.leads_to();
    assert!(is_known(&world, &browser).await && !is_known(&world, &other).await);
}

async fn a_deleted_account_has_no_known_browser(world: World) {
    world.person("bob@example.com", "viewer").await;
    let users = world.owner().await.get("/users?q=bob").await.ok();
    let path = format!("/users/{}", users["items"][0]["id"].as_str().unwrap());
    world.owner().await.delete(&path, json!({})).await;
    assert_eq!(world.number("SELECT COUNT(*) FROM devices").await, 0);
}

async fn the_database_does_not_hold_the_cookie_of_a_known_browser(world: World) {
    let browser = world.signed_in().await;
    let trail = world.owner().await.get("/audit-events?limit=200").await.ok().to_string();
    assert!(!trail.contains(&browser.jar()[&browser.name_of("device")]["crossfade_device_".len()..]));
    for _ in 0..25 {
        world.signed_in().await;
        world.advance(Duration::from_secs(1));
    }
    assert_eq!(world.number("SELECT COUNT(*) FROM devices").await, 20, "the latest of an account");
}

/// Wrong passwords for different accounts, after six at the Owner's.
async fn hold_up_the_rest(browser: &Browser<'_>) {
    for number in 0..44 {
        let email = format!("nobody{number}@example.com");
        assert_eq!(browser.sign_in(&email, WRONG).await.status.as_u16(), 422);
    }
}
