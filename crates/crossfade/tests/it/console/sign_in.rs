//! Signing in and out, how long a sign-in lasts, and what ends it.

use super::browser::{Browser, PASSWORD};
use crate::engines::on_both_engines;
use crate::world::{OWNER, Principal, World};
use crossfade_app::{NewToken, OwnerFactors, PasswordCost};
use http::Method;
use serde_json::{Value, json};
use std::time::Duration;

on_both_engines! {
    the_right_password_signs_in,
    a_sign_in_leads_to_pages_alone,
    a_failed_sign_in_tells_nobody_which_accounts_there_are,
    a_sign_in_that_is_not_used_ends_after_an_hour,
    the_last_use_is_noted_to_the_minute_and_never_later_than_it_was,
    a_sign_in_ends_after_twelve_hours_however_much_it_is_used,
    what_a_page_asks_by_itself_keeps_nobody_signed_in,
    a_sign_in_outlives_a_restart,
    only_what_was_given_out_opens,
    signing_out_ends_the_sign_in_itself,
    one_sees_and_ends_one_s_own_sign_ins_and_no_others,
    a_right_that_is_taken_away_is_gone_at_the_next_request,
    another_password_ends_every_other_sign_in,
    a_new_password_ends_tokens_that_a_thief_created,
    signing_out_everywhere_ends_tokens_where_asked,
    tokens_stay_where_their_person_keeps_them,
    every_token_that_ends_with_its_account_or_password_is_recorded,
    a_one_time_link_signs_in_and_ends_what_was_open,
    a_one_time_link_ends_the_sign_in_that_its_cookie_replaces,
    a_sign_in_leads_to_our_own_pages_only,
    a_new_sign_in_in_the_same_browser_ends_the_one_before,
    a_password_is_the_same_however_a_keyboard_composes_it,
    a_stored_password_is_an_argon2id_hash,
    the_database_does_not_hold_what_a_cookie_does,
}

const MICRO: Duration = Duration::from_micros(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// The latest events of the trail, newest first.
async fn actions(world: &World, count: usize) -> Vec<String> {
    let events = world.owner().await.get(&format!("/audit-events?limit={}", count + 1)).await.ok();
    // The newest is the token that this very question was asked with.
    let events = events["items"].as_array().unwrap()[1..].iter();
    events.map(|event| event["action"].as_str().unwrap().to_owned()).collect()
}

/// Creates a token in the Console, and returns its value.
async fn create_token(browser: &Browser<'_>) -> String {
    let page = browser
        .post("/console/account/tokens", &[("name", "laptop"), ("expires_days", "30")])
        .await
        .page(200);
    let at = page.find("crossfade_api_").unwrap();
    page[at..].split('<').next().unwrap().to_owned()
}

/// Creates a program, and returns its ID.
async fn program(world: &World) -> String {
    let created =
        world.owner().await.post("/users", json!({"kind": "program", "name": "CI"})).await.created();
    created["id"].as_str().unwrap().to_owned()
}

async fn the_right_password_signs_in(world: World) {
    world.owner().await;
    let browser = world.browser();
    assert_eq!(
        browser.get("/console/account?x=1").await.leads_to(),
        "/console/sign-in?to=%2Fconsole%2Faccount%3Fx%3D1"
    );
    let form = browser.get("/console/sign-in?to=%2Fconsole%2Faccount%3Fx%3D1").await.page(200);
    assert!(form.contains("name=\"to\" value=\"/console/account?x=1\""), "{form}");
    let fields = [("email", " Owner@Example.com"), ("password", PASSWORD), ("to", "/console/account?x=1")];
    let answer = browser.post("/console/sign-in", &fields).await;
    assert_eq!(answer.leads_to(), "/console/account?x=1");
    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.starts_with(&format!("{}=crossfade_session_", browser.name_of("session"))), "{cookie}");
    assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure"), "{cookie}");
    assert!(browser.get("/console/account").await.page(200).contains(OWNER));
    // Somebody who is signed in needs no sign-in page.
    assert_eq!(browser.get("/console/sign-in?to=/console/people").await.leads_to(), "/console/people");
    assert_eq!(actions(&world, 1).await, ["session.created"]);
}

async fn a_sign_in_leads_to_pages_alone(world: World) {
    let browser = world.signed_in().await;
    for to in [
        "/console/audit/export",
        "/console/audit/export?action=secret.rotated",
        "/console/session",
        "/console/confirm",
        "/console/sign-in?to=/console/audit/export",
        "/console/assets/console.js",
        "/api/v1/me",
        "//evil.example",
    ] {
        let to_there = form_urlencoded::Serializer::new(String::new()).append_pair("to", to).finish();
        assert_eq!(browser.get(&format!("/console/sign-in?{to_there}")).await.leads_to(), "/console", "{to}");
        let fields = [("email", OWNER), ("password", PASSWORD), ("to", to)];
        assert_eq!(world.browser().post("/console/sign-in", &fields).await.leads_to(), "/console", "{to}");
        let theme = [("theme", "dark"), ("to", to)];
        assert_eq!(browser.post("/console/theme", &theme).await.leads_to(), "/console", "{to}");
    }
    assert!(!actions(&world, 50).await.contains(&"audit.exported".to_owned()));
}

async fn a_failed_sign_in_tells_nobody_which_accounts_there_are(world: World) {
    world.person("bob@example.com", "viewer").await;
    world.user("new@example.com", "viewer").await;
    let browser = world.browser();
    let mut pages = Vec::new();
    for (email, password) in [
        (OWNER, "wrong horse battery staple"),
        (OWNER, ""),
        (OWNER, "correct horse battery staple "),
        ("bob@example.com", "Correct horse battery staple"),
        ("new@example.com", PASSWORD),
        ("nobody@example.com", PASSWORD),
        ("nobody", PASSWORD),
        ("", PASSWORD),
    ] {
        let answer = browser.sign_in(email, password).await;
        let page = answer.page(422).replace(&format!("value=\"{email}\""), "value=\"\"");
        // The first empty field has the focus.
        let page = page.replace(" autofocus", "");
        assert!(answer.header("set-cookie").is_none());
        assert!(!page.contains(PASSWORD));
        pages.push(page);
    }
    pages.dedup();
    assert_eq!(pages.len(), 1, "one and the same page");
    assert_eq!(world.number("SELECT COUNT(*) FROM sessions WHERE ended_at IS NULL").await, 1, "Bob's own");
    // The trail tells them apart, and repeats no password and no address that is nobody's.
    let trail = world.owner().await.get("/audit-events?action=session.refused&limit=50").await.ok();
    let reasons: Vec<_> = trail["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["details"]["reason"].as_str().unwrap())
        .collect();
    assert_eq!(
        reasons,
        [
            "unknown_account",
            "unknown_account",
            "unknown_account",
            "no_password",
            "password",
            "password",
            "password",
            "password"
        ]
    );
    assert!(
        trail["items"]
            .as_array()
            .unwrap()
            .iter()
            .all(|it| it["outcome"] == "refused" && it["source_ip"] == "192.0.2.10")
    );
    assert!(!trail.to_string().contains("nobody") && !trail.to_string().contains("horse"), "{trail}");
}

async fn a_sign_in_that_is_not_used_ends_after_an_hour(world: World) {
    let browser = world.signed_in().await;
    world.advance(HOUR - MICRO);
    assert!(browser.is_signed_in().await);
    world.advance(HOUR - MICRO);
    assert!(browser.is_signed_in().await, "each use begins another hour");
    world.advance(HOUR);
    assert!(!browser.is_signed_in().await);
    let browser = world.signed_in().await;
    world.advance(HOUR + MICRO);
    assert!(!browser.is_signed_in().await);
    assert_eq!(browser.script("/console/account/tokens", &[("name", "x")]).await.status.as_u16(), 401);
    assert_eq!(world.number("SELECT COUNT(*) FROM api_tokens WHERE name = 'x'").await, 0);
}

async fn the_last_use_is_noted_to_the_minute_and_never_later_than_it_was(world: World) {
    let browser = world.signed_in().await;
    world.advance(MINUTE - MICRO);
    assert!(browser.is_signed_in().await);
    world.advance(HOUR - MINUTE);
    assert!(browser.is_signed_in().await, "a microsecond before an hour after the sign-in");
    world.advance(HOUR - MICRO);
    assert!(browser.is_signed_in().await);
}

async fn a_sign_in_ends_after_twelve_hours_however_much_it_is_used(world: World) {
    for (beyond, lasts) in [(Duration::ZERO, false), (MICRO, false)] {
        let browser = world.signed_in().await;
        for _ in 0..23 {
            world.advance(HOUR / 2);
            assert!(browser.is_signed_in().await);
        }
        world.advance(HOUR / 2 - MICRO);
        assert!(browser.is_signed_in().await, "a microsecond before");
        world.advance(MICRO + beyond);
        assert_eq!(browser.is_signed_in().await, lasts);
    }
}

async fn what_a_page_asks_by_itself_keeps_nobody_signed_in(world: World) {
    let browser = world.signed_in().await;
    for _ in 0..4 {
        world.advance(HOUR / 4 - MICRO);
        let polled =
            browser.send(Method::GET, "/console/session", None, &[("crossfade-background", "1")]).await;
        assert_eq!(polled.status.as_u16(), 200);
    }
    world.advance(MICRO * 4);
    assert!(!browser.is_signed_in().await);
}

async fn a_sign_in_outlives_a_restart(mut world: World) {
    let cookie = world.signed_in().await.cookie().unwrap();
    world.restart().await;
    let browser = world.browser();
    browser.jar().insert(browser.name_of("session"), cookie);
    assert!(browser.is_signed_in().await);
}

async fn only_what_was_given_out_opens(world: World) {
    let signed_in = world.signed_in().await;
    let good = signed_in.cookie().unwrap();
    let mut typo = good.clone();
    typo.replace_range(25..26, if &good[25..26] == "a" { "b" } else { "a" });
    let id = signed_in.get("/console/account").await.page(200);
    let id = &id[id.find("ses_").unwrap()..][..26];
    let token = world.owner().await.token.unwrap();
    for wrong in ["", "x", &typo, &good[..good.len() - 1], &good.to_uppercase(), id, &token, "' OR 1=1 --"] {
        let browser = world.browser();
        browser.jar().insert(browser.name_of("session"), wrong.into());
        assert!(!browser.is_signed_in().await, "{wrong}");
    }
    // The name without the prefix is another cookie here, and of two of one name neither counts.
    let browser = world.browser();
    browser.jar().insert(browser.name_of("session").trim_start_matches("__Host-").into(), good.clone());
    assert!(!browser.is_signed_in().await);
    let name = browser.name_of("session");
    let twice = format!("{name}={good}; {name}={typo}");
    let answer = world.browser().send(Method::GET, "/console/account", None, &[("cookie", &twice)]).await;
    assert_eq!(answer.status.as_u16(), 303);
    // A cookie is no API token.
    let bearer = format!("Bearer {good}");
    let api = world.browser().send(Method::GET, "/api/v1/clients", None, &[("authorization", &bearer)]).await;
    assert_eq!(api.status.as_u16(), 401);
}

async fn signing_out_ends_the_sign_in_itself(world: World) {
    let browser = world.signed_in().await;
    let other = world.signed_in().await;
    let cookie = browser.cookie().unwrap();
    assert_eq!(browser.get("/console/sign-out").await.leads_to(), "/console");
    assert!(browser.is_signed_in().await, "a link does not sign out");
    let answer = browser.post("/console/sign-out", &[]).await;
    assert_eq!(answer.leads_to(), "/console/sign-in");
    assert_eq!(answer.header("clear-site-data"), Some("\"cache\", \"storage\""));
    assert_eq!(browser.cookie(), None);
    assert!(browser.get("/console/sign-in").await.page(200).contains("You are signed out."));
    browser.jar().insert(browser.name_of("session"), cookie);
    assert!(!browser.is_signed_in().await, "a copy of the cookie is worth nothing either");
    assert!(other.is_signed_in().await);
    assert_eq!(
        browser.post("/console/sign-out", &[]).await.leads_to(),
        "/console/sign-in",
        "twice is no error"
    );
    assert_eq!(actions(&world, 1).await, ["session.ended"]);
}

async fn one_sees_and_ends_one_s_own_sign_ins_and_no_others(world: World) {
    let bob = world.person("bob@example.com", "viewer").await;
    let (laptop, phone) = (world.signed_in().await, world.browser().from([203, 0, 113, 5]));
    world.advance(MINUTE);
    let agent = [("sec-fetch-site", "same-origin"), ("user-agent", "Mozilla/5.0 (iPhone) Safari/605 <b>")];
    phone.post_with("/console/sign-in", &[("email", OWNER), ("password", PASSWORD)], &agent).await.leads_to();
    let page = laptop.get("/console/account").await.page(200);
    assert!(page.contains("Safari on iPhone") && page.contains("203.0.113.5"), "{page}");
    assert_eq!(page.matches("/console/account/sessions/ses_").count(), 2);
    let ids: Vec<_> = page
        .match_indices("/console/account/sessions/")
        .map(|(at, path)| &page[at + path.len()..][..26])
        .filter(|id| id.starts_with("ses_"))
        .collect();
    // Newest first: the phone.
    let end = format!("/console/account/sessions/{}/end", ids[0]);
    assert_eq!(bob.post(&end, &[]).await.status.as_u16(), 404, "another's is not there");
    assert!(phone.is_signed_in().await);
    assert_eq!(laptop.post(&end, &[]).await.leads_to(), "/console/account");
    assert!(!phone.is_signed_in().await && laptop.is_signed_in().await);
    assert_eq!(laptop.post(&end, &[]).await.status.as_u16(), 404);
    let second = world.signed_in().await;
    assert_eq!(laptop.post("/console/account/sessions/end", &[]).await.leads_to(), "/console/sign-in");
    assert!(!laptop.is_signed_in().await && !second.is_signed_in().await && bob.is_signed_in().await);
}

async fn a_right_that_is_taken_away_is_gone_at_the_next_request(world: World) {
    let manager = world.person("ops@example.com", "operations_manager").await;
    let people = manager.get("/console/people").await.page(200);
    assert!(people.contains("href=\"/console/people\" data-hotkey"), "in the rail");
    world.raw("UPDATE grants SET role = 'viewer' WHERE role = 'operations_manager'").await;
    let refused = manager.get("/console/people").await.page(403);
    assert!(
        refused.contains("Permission required") && !refused.contains("href=\"/console/people\" data-hotkey"),
        "{refused}"
    );
    let owner = world.owner().await;
    let users = owner.get("/users?q=ops").await.ok();
    owner.delete(&format!("/users/{}", users["items"][0]["id"].as_str().unwrap()), json!({})).await;
    assert!(!manager.is_signed_in().await, "an account that is gone is signed out");
    assert_eq!(manager.sign_in("ops@example.com", PASSWORD).await.status.as_u16(), 422);
    assert_eq!(world.number("SELECT COUNT(*) FROM sessions WHERE ended_at IS NOT NULL").await, 1);
}

async fn another_password_ends_every_other_sign_in(world: World) {
    let (here, there) = (world.signed_in().await, world.signed_in().await);
    let new = "four quite unrelated words";
    let change =
        |current, new, repeated| [("current_password", current), ("password", new), ("repeated", repeated)];
    for (fields, field) in [
        (change("wrong horse battery staple", new, new), "Current password does not match your password."),
        (
            change(PASSWORD, new, "something else again"),
            "Confirm new password does not match the new password.",
        ),
        (change(PASSWORD, "too short", "too short"), "New password must have at least 15 characters"),
        (
            change(PASSWORD, "crossfade owner 1234567", "crossfade owner 1234567"),
            "New password must not consist of your own name",
        ),
    ] {
        let page = here.post("/console/account/password", &fields).await.page(422);
        assert!(page.contains(field) && !page.contains(new) && !page.contains(PASSWORD), "{field}: {page}");
    }
    assert!(there.is_signed_in().await);
    let (link, before) =
        (world.app.recover_owner(OWNER, OwnerFactors::Keep).await.unwrap().url, here.cookie().unwrap());
    assert_eq!(
        here.post("/console/account/password", &change(PASSWORD, new, new)).await.leads_to(),
        "/console/account"
    );
    assert!(here.is_signed_in().await && !there.is_signed_in().await);
    // Whoever had copied the cookie, or a link, is out, too.
    let thief = world.browser();
    thief.jar().insert(thief.name_of("session"), before);
    assert!(!thief.is_signed_in().await);
    let fields = [("link", &*link), ("email", ""), ("password", PASSWORD), ("repeated", PASSWORD)];
    assert_eq!(thief.post("/console/link", &fields).await.status.as_u16(), 410);
    assert_eq!(there.sign_in(OWNER, PASSWORD).await.status.as_u16(), 422);
    assert_eq!(there.sign_in(OWNER, new).await.status.as_u16(), 303);
    let trail = world.owner().await.get("/audit-events?action=user.password_changed").await.ok();
    assert_eq!(trail["items"][0]["details"], json!({"ended_sessions": 1, "ended_tokens": 0}));
}

/// A thief with a cookie makes a token; what closes the account for the thief closes it for the token.
async fn a_new_password_ends_tokens_that_a_thief_created(world: World) {
    let thief = world.signed_in().await;
    let stolen = create_token(&thief).await;
    let principal = Principal { world: &world, token: Some(stolen.clone()) };
    let id = principal.get("/me").await.ok()["token_id"].as_str().unwrap().to_owned();
    let program = world
        .app
        .create_token(&NewToken {
            user: program(&world).await,
            name: "CI".into(),
            expires_days: None,
            scope: vec![],
            only: None,
        })
        .await
        .unwrap();
    world.advance(MINUTE);
    let victim = world.signed_in().await;
    let page = victim.get("/console/account").await.page(200);
    assert!(
        page.contains("name=\"end_tokens\" value=\"yes\" checked") && page.matches(&id).count() >= 2,
        "offered by name: {page}"
    );
    let new = "four quite unrelated words";
    let fields =
        [("current_password", PASSWORD), ("password", new), ("repeated", new), ("end_tokens", "yes")];
    assert_eq!(victim.post("/console/account/password", &fields).await.leads_to(), "/console/account");
    assert!(victim.get("/console/account").await.page(200).contains("all your API tokens have ended"));
    principal.get("/me").await.refused(401, "unauthenticated");
    assert!(!thief.is_signed_in().await && victim.is_signed_in().await);
    let program = Principal { world: &world, token: Some(program.reveal().to_owned()) };
    program.get("/me").await.ok();
    let owner = world.owner().await;
    let events =
        owner.get("/audit-events?action=token.deleted").await.ok()["items"].as_array().unwrap().clone();
    let ended = events.iter().find(|event| event["target"] == id.as_str()).unwrap();
    assert_eq!((&ended["details"]["name"], &ended["via"]["kind"]), (&json!("laptop"), &json!("session")));
    let changed = owner.get("/audit-events?action=user.password_changed").await.ok();
    assert_eq!(changed["items"][0]["details"]["ended_tokens"], events.len());
}

async fn signing_out_everywhere_ends_tokens_where_asked(world: World) {
    let thief = world.signed_in().await;
    let principal = Principal { world: &world, token: Some(create_token(&thief).await) };
    let victim = world.signed_in().await;
    let page = victim.get("/console/account").await.page(200);
    assert!(page.contains("<dialog id=\"sign-out\""), "{page}");
    let done = victim.post("/console/account/sessions/end", &[("end_tokens", "yes")]).await;
    assert_eq!(done.leads_to(), "/console/sign-in");
    assert!(victim.get("/console/sign-in").await.page(200).contains("your API tokens have ended"));
    principal.get("/me").await.refused(401, "unauthenticated");
    let owner = world.owner().await;
    let ended = owner.get("/audit-events?action=session.ended").await.ok();
    let details = &ended["items"][0]["details"];
    assert!(details["sessions"] == 2 && details["ended_tokens"].as_i64() > Some(0), "{details}");
}

async fn tokens_stay_where_their_person_keeps_them(world: World) {
    let browser = world.signed_in().await;
    let principal = Principal { world: &world, token: Some(create_token(&browser).await) };
    let new = "four quite unrelated words";
    let fields = [("current_password", PASSWORD), ("password", new), ("repeated", new)];
    assert_eq!(browser.post("/console/account/password", &fields).await.leads_to(), "/console/account");
    principal.get("/me").await.ok();
    assert_eq!(browser.post("/console/account/sessions/end", &[]).await.leads_to(), "/console/sign-in");
    principal.get("/me").await.ok();
    let refused = [("current_password", "wrong horse battery staple"), ("end_tokens", "yes")];
    let again = world.browser();
    again.sign_in(OWNER, new).await;
    let page = again.post("/console/account/password", &refused).await.page(422);
    assert!(page.contains("name=\"end_tokens\" value=\"yes\" checked"), "what was chosen stays");
    principal.get("/me").await.ok();
}

/// A one-time link, a role that sees secrets and a deletion end tokens, too; each stands in the trail.
async fn every_token_that_ends_with_its_account_or_password_is_recorded(world: World) {
    let owner = world.owner().await;
    let bob = world.user("bob@example.com", "viewer").await;
    let first = bob.get("/me").await.ok();
    let user = first["user"]["id"].as_str().unwrap().to_owned();
    let link = owner.post(&format!("/users/{user}/link"), json!({})).await.created();
    let new = "four quite unrelated words";
    let fields =
        [("link", link["url"].as_str().unwrap()), ("email", ""), ("password", new), ("repeated", new)];
    world.browser().post("/console/link", &fields).await.leads_to();
    let second = world.token_of("bob@example.com", &[]).await.get("/me").await.ok();
    owner.post(&format!("/users/{user}/grants"), json!({"role": "secret_viewer"})).await.created();
    let third = world.token_of("bob@example.com", &[]).await.get("/me").await.ok();
    owner.delete(&format!("/users/{user}"), json!({})).await;
    let events = owner.get("/audit-events?action=token.deleted").await.ok();
    let ended: Vec<&Value> = events["items"].as_array().unwrap().iter().map(|it| &it["target"]).collect();
    assert_eq!(ended, [&third["token_id"], &second["token_id"], &first["token_id"]]);
    world.check_ways().await;
}

async fn a_one_time_link_signs_in_and_ends_what_was_open(world: World) {
    let old = world.signed_in().await;
    let link = world.app.recover_owner(OWNER, OwnerFactors::Keep).await.unwrap().url;
    let new = "four quite unrelated words";
    let browser = world.browser();
    let fields = [("link", &*link), ("email", ""), ("password", new), ("repeated", new)];
    assert_eq!(browser.post("/console/link", &fields).await.leads_to(), "/console");
    assert!(browser.is_signed_in().await && !old.is_signed_in().await);
}

async fn a_one_time_link_ends_the_sign_in_that_its_cookie_replaces(world: World) {
    let browser = world.person("bob@example.com", "viewer").await;
    let bob = browser.cookie().unwrap();
    let link = world.app.recover_owner(OWNER, OwnerFactors::Keep).await.unwrap().url;
    let fields = [("link", &*link), ("email", ""), ("password", PASSWORD), ("repeated", PASSWORD)];
    assert_eq!(browser.post("/console/link", &fields).await.leads_to(), "/console");
    assert_ne!(browser.cookie(), Some(bob.clone()));
    let thief = world.browser();
    thief.jar().insert(thief.name_of("session"), bob);
    assert!(!thief.is_signed_in().await && browser.is_signed_in().await);
}

async fn a_sign_in_leads_to_our_own_pages_only(world: World) {
    world.owner().await;
    for elsewhere in [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "/api/v1/clients",
        "/console.evil",
        "javascript:alert(1)",
        "/console/\r\nx",
    ] {
        let fields = [("email", OWNER), ("password", PASSWORD), ("to", elsewhere)];
        assert_eq!(
            world.browser().post("/console/sign-in", &fields).await.leads_to(),
            "/console",
            "{elsewhere}"
        );
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("to", elsewhere).finish();
        let page = world.browser().get(&format!("/console/sign-in?{query}")).await.page(200);
        assert!(page.contains("name=\"to\" value=\"/console\""), "{elsewhere}");
    }
}

async fn a_new_sign_in_in_the_same_browser_ends_the_one_before(world: World) {
    world.person("bob@example.com", "viewer").await;
    let browser = world.signed_in().await;
    let before = browser.cookie().unwrap();
    assert_eq!(browser.sign_in("bob@example.com", "wrong horse battery staple").await.status.as_u16(), 422);
    assert_eq!(browser.cookie().unwrap(), before, "a failed one changes nothing");
    assert_eq!(browser.sign_in("bob@example.com", PASSWORD).await.status.as_u16(), 303);
    assert!(browser.get("/console/account").await.page(200).contains("bob@example.com"));
    let other = world.browser();
    other.jar().insert(other.name_of("session"), before);
    assert!(!other.is_signed_in().await);
}

async fn a_password_is_the_same_however_a_keyboard_composes_it(world: World) {
    world.app.create_owner(OWNER, "fünf schöne Wörter zusammen").await.unwrap();
    let composed = world.browser().sign_in(OWNER, "fünf schöne Wörter zusammen").await;
    let decomposed = world.browser().sign_in(OWNER, "fu\u{308}nf scho\u{308}ne Wo\u{308}rter zusammen").await;
    assert_eq!((composed.status.as_u16(), decomposed.status.as_u16()), (303, 303));
    assert_eq!(world.browser().sign_in(OWNER, "funf schone Worter zusammen").await.status.as_u16(), 422);
}

async fn a_stored_password_is_an_argon2id_hash(mut world: World) {
    world.restart_with_password_cost(PasswordCost::RECOMMENDED).await;
    world.owner().await;
    let stored = async |like: &str| {
        world
            .number(&format!("SELECT CAST(COUNT(*) AS BIGINT) FROM users WHERE password_hash LIKE '{like}'"))
            .await
    };
    assert_eq!((stored("$argon2id$v=19$m=19456,t=2,p=1$%").await, stored("%").await), (1, 1));
}

async fn the_database_does_not_hold_what_a_cookie_does(world: World) {
    let browser = world.signed_in().await;
    let value = browser.cookie().unwrap();
    let digits = &value["crossfade_session_".len()..];
    assert_eq!(digits.len(), 49, "256 random bits and a checksum");
    let text = "SELECT COUNT(*) FROM sessions WHERE id || user_id || source_ip || user_agent LIKE";
    assert_eq!(world.number(&format!("{text} '%{digits}%'")).await, 0);
    // What is as long as HMAC-SHA-256 is not the value, which is longer.
    assert_eq!(world.number("SELECT COUNT(*) FROM sessions WHERE length(digest) = 32").await, 1);
    assert_eq!(world.number("SELECT COUNT(*) FROM sessions WHERE length(digest) <> 32").await, 0);
    let trail = world.owner().await.get("/audit-events?limit=200").await.ok().to_string();
    assert!(!trail.contains(digits) && !browser.get("/console/account").await.text().contains(digits));
    assert_ne!(browser.cookie(), world.signed_in().await.cookie());
}
