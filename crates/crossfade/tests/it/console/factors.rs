//! Second factors: adding them, signing in with them, and what a person who has lost them can do. The codes come from a
//! library that shares no code with the program.

use super::browser::{Browser, PASSWORD};
use crate::engines::on_both_engines;
use crate::mail_server::MailServer;
use crate::world::{Answer, OWNER, World};
use crossfade_app::{CodeEntered, OwnerFactors, Proof, Visitor};
use crossfade_core::audit::Origin;
use serde_json::{Value, json};
use std::time::Duration;
use totp_rs::{Builder, Secret, Totp};

on_both_engines! {
    a_factor_counts_once_its_first_code_was_entered,
    a_factor_that_is_not_confirmed_is_forgotten_after_fifteen_minutes,
    a_first_factor_ends_the_other_sessions,
    nothing_of_a_factor_is_stored_as_it_is_shown,
    no_session_begins_before_the_code,
    a_code_is_accepted_one_step_before_and_after_its_time,
    a_code_signs_in_once,
    two_nodes_accept_a_code_once,
    a_wrong_password_says_nothing_about_a_factor,
    a_known_browser_skips_no_code,
    five_wrong_codes_end_a_sign_in,
    wrong_codes_of_strangers_hold_up_no_known_browser,
    a_recovery_code_is_accepted_while_codes_are_held_up,
    a_recovery_code_works_once_and_is_told,
    new_recovery_codes_replace_the_others,
    a_sign_in_waits_five_minutes_for_its_code,
    a_sign_in_ends_with_the_password_it_began_with,
    a_reset_of_the_password_keeps_the_factor,
    a_cookie_of_a_waiting_sign_in_opens_nothing,
    a_dangerous_action_asks_for_the_password_and_a_code,
    a_new_password_asks_for_a_code,
    wrong_codes_in_a_session_are_limited,
    a_script_signs_in_again_with_both,
    a_person_removes_a_factor_and_its_codes,
    an_account_has_five_factors_at_most,
    an_owner_removes_the_factors_of_another_person,
    only_owners_remove_factors_and_never_their_own,
    the_machine_removes_the_factors_of_an_owner,
    a_role_that_closes_an_account_removes_its_factors,
    a_person_changes_their_own_name,
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_secs(30);
const HOUR: Duration = Duration::from_secs(3600);
const NEW: &str = "four quite unrelated words";

/// A code generator.
pub struct Phone(Totp);

impl Phone {
    /// The code that it shows now.
    pub fn code(&self, world: &World) -> String {
        self.code_in(world, 0)
    }

    /// The code that it shows this many steps from now.
    pub fn code_in(&self, world: &World, steps: i64) -> String {
        let now = world.now().as_micros() / 1_000_000 + steps * 30;
        self.0.generate(now.unsigned_abs()).to_string()
    }
}

/// The text of an element to copy from.
fn text_of(page: &str, id: &str) -> String {
    let start = format!("<pre id=\"{id}\" tabindex=\"0\">");
    page.split_once(&start).unwrap().1.split('<').next().unwrap().to_owned()
}

/// Begins to add a factor. Returns the code generator and the path that confirms it.
async fn begin(browser: &Browser<'_>, name: &str) -> (Phone, String) {
    let page = browser.post("/console/account/factors", &[("name", name)]).await.page(200);
    let secret = text_of(&page, "factor-secret").replace(' ', "");
    let totp = Builder::new().with_secret(Secret::try_from_base32(secret).unwrap()).build().unwrap();
    let at = page.find("/console/account/factors/fac_").unwrap();
    (Phone(totp), page[at..].split('"').next().unwrap().to_owned())
}

/// Adds a first factor. Returns the code generator and the recovery codes, after the step of its first code.
pub async fn enrol(world: &World, browser: &Browser<'_>) -> (Phone, Vec<String>) {
    let (phone, path) = begin(browser, "phone").await;
    let page = browser.post(&path, &[("code", &phone.code(world))]).await.page(200);
    let codes: Vec<String> = text_of(&page, "recovery-codes").lines().map(str::to_owned).collect();
    assert_eq!(codes.len(), 10, "{codes:?}");
    world.advance(STEP);
    (phone, codes)
}

async fn enter(browser: &Browser<'_>, code: &str) -> Answer {
    browser.post("/console/sign-in/code", &[("code", code), ("to", "/console/clients")]).await
}

/// A browser that nobody knows, in front of the page that asks for the code.
async fn asked(world: &World) -> Browser<'_> {
    let browser = world.browser();
    let answer = browser.sign_in(OWNER, PASSWORD).await;
    assert_eq!(answer.leads_to(), "/console/sign-in/code?to=%2Fconsole");
    browser
}

async fn sessions(world: &World) -> i64 {
    world.number("SELECT COUNT(*) FROM sessions WHERE ended_at IS NULL").await
}

async fn details(world: &World, action: &str) -> Vec<Value> {
    let trail = world.owner().await.get(&format!("/audit-events?action={action}&limit=50")).await.ok();
    trail["items"].as_array().unwrap().iter().map(|it| it["details"].clone()).collect()
}

async fn a_factor_counts_once_its_first_code_was_entered(world: World) {
    let browser = world.signed_in().await;
    let (phone, path) = begin(&browser, "phone").await;
    assert_eq!(world.browser().sign_in(OWNER, PASSWORD).await.leads_to(), "/console");
    for wrong in ["", "000000", "abcdef", &phone.code_in(&world, 5)] {
        let page = browser.post(&path, &[("code", wrong)]).await.page(422);
        assert!(page.contains("The code is wrong or was used before."), "{wrong}: {page}");
    }
    assert!(!world.owner().await.get("/me").await.ok()["user"]["second_factor"].as_bool().unwrap());
    let page = browser.post(&path, &[("code", &phone.code(&world))]).await.page(200);
    let codes = text_of(&page, "recovery-codes");
    let is_code = |line: &str| line.len() == 11 && line.split('-').all(|group| group.len() == 5);
    assert!(codes.lines().count() == 10 && codes.lines().all(is_code), "{codes}");
    assert!(world.owner().await.get("/me").await.ok()["user"]["second_factor"].as_bool().unwrap());
    assert_eq!(browser.post(&path, &[("code", &phone.code_in(&world, 1))]).await.status, 404, "once");
    let page = browser.get("/console/account").await.page(200);
    assert!(page.contains("10 recovery codes are left") && !page.contains("factor-secret"), "{page}");
    let added = details(&world, "factor.added").await;
    assert_eq!((&added[0]["kind"], &added[0]["name"]), (&json!("totp"), &json!("phone")), "{added:?}");
    assert_eq!(details(&world, "recovery_codes.created").await, [json!({"count": 10})]);
}

async fn a_factor_that_is_not_confirmed_is_forgotten_after_fifteen_minutes(world: World) {
    let browser = world.signed_in().await;
    let (phone, path) = begin(&browser, "phone").await;
    world.advance(MINUTE * 15);
    let fields = [("code", &*phone.code(&world)), ("confirm_password", PASSWORD)];
    assert_eq!(browser.post(&path, &fields).await.status, 404);
    begin(&browser, "another").await;
    assert_eq!(world.number("SELECT COUNT(*) FROM factors").await, 1);
    assert!(details(&world, "factor.added").await.is_empty());
}

async fn a_first_factor_ends_the_other_sessions(world: World) {
    let (here, there) = (world.signed_in().await, world.signed_in_as(OWNER).await);
    let (_, path) = begin(&here, "phone").await;
    assert!(there.is_signed_in().await, "{path}");
    enrol(&world, &here).await;
    assert!(here.is_signed_in().await && !there.is_signed_in().await);
    assert_eq!(details(&world, "factor.added").await[0]["ended_sessions"], 1);
}

async fn nothing_of_a_factor_is_stored_as_it_is_shown(world: World) {
    let browser = world.signed_in().await;
    let page = browser.post("/console/account/factors", &[("name", "phone")]).await.page(200);
    let secret = text_of(&page, "factor-secret").replace(' ', "");
    let totp = Builder::new().with_secret(Secret::try_from_base32(secret).unwrap()).build().unwrap();
    let at = page.find("/console/account/factors/fac_").unwrap();
    let path = page[at..].split('"').next().unwrap().to_owned();
    let phone = Phone(totp);
    let page = browser.post(&path, &[("code", &phone.code(&world))]).await.page(200);
    let codes = text_of(&page, "recovery-codes");
    let hex: String = phone.0.secret().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let is_postgres = matches!(world.location(), crossfade_store::Location::Postgres(_));
    let column = if is_postgres { "encode(sealed, 'hex')" } else { "lower(hex(sealed))" };
    assert_eq!(world.number(&format!("SELECT COUNT(*) FROM factors WHERE {column} LIKE '%{hex}%'")).await, 0);
    let trail = world.owner().await.get("/audit-events?limit=200").await.ok().to_string();
    assert!(!codes.lines().any(|code| trail.contains(code)) && !trail.contains(&hex));
    assert_eq!(world.number("SELECT COUNT(*) FROM recovery_codes WHERE LENGTH(digest) = 32").await, 10);
}

async fn no_session_begins_before_the_code(world: World) {
    let first = world.signed_in().await;
    let (phone, _) = enrol(&world, &first).await;
    let before = sessions(&world).await;
    let browser = world.browser();
    let answer = browser
        .post("/console/sign-in", &[("email", OWNER), ("password", PASSWORD), ("to", "/console/clients?q=a")])
        .await;
    assert_eq!(answer.leads_to(), "/console/sign-in/code?to=%2Fconsole%2Fclients%3Fq%3Da");
    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.starts_with(&format!("{}=crossfade_signin_", browser.name_of("signin"))), "{cookie}");
    assert!(cookie.ends_with("; Path=/; Max-Age=300; HttpOnly; SameSite=Lax; Secure"), "{cookie}");
    assert!(browser.cookie().is_none() && !browser.jar().contains_key(&browser.name_of("device")));
    assert!(!browser.is_signed_in().await);
    assert_eq!(sessions(&world).await, before);
    let page = browser.get("/console/sign-in/code?to=%2Fconsole%2Fclients").await.page(200);
    assert!(page.contains("name=\"to\" value=\"/console/clients\"") && !page.contains(OWNER), "{page}");
    assert_eq!(enter(&browser, &phone.code(&world)).await.leads_to(), "/console/clients");
    assert!(browser.is_signed_in().await);
    assert!(!browser.jar().contains_key(&browser.name_of("signin")), "its cookie is gone");
    assert_eq!(sessions(&world).await, before + 1);
    assert_eq!(world.number("SELECT COUNT(*) FROM pending_sign_ins").await, 0);
    // One who is signed in needs no code.
    assert_eq!(browser.get("/console/sign-in/code?to=/console/people").await.leads_to(), "/console/people");
    assert_eq!(world.browser().get("/console/sign-in/code").await.leads_to(), "/console/sign-in");
}

async fn a_code_is_accepted_one_step_before_and_after_its_time(world: World) {
    let first = world.signed_in().await;
    let (phone, _) = enrol(&world, &first).await;
    world.advance(STEP * 10);
    for (steps, is_accepted) in [(-2, false), (2, false), (-1, true), (0, true), (1, true)] {
        let browser = asked(&world).await;
        let answer = enter(&browser, &phone.code_in(&world, steps)).await;
        assert_eq!(answer.status.as_u16(), if is_accepted { 303 } else { 422 }, "{steps}");
        assert_eq!(browser.is_signed_in().await, is_accepted, "{steps}");
    }
}

async fn a_code_signs_in_once(world: World) {
    let first = world.signed_in().await;
    let (phone, _) = enrol(&world, &first).await;
    let (code, before) = (phone.code(&world), phone.code_in(&world, -1));
    let (one, two) = (asked(&world).await, asked(&world).await);
    assert_eq!(enter(&one, &code).await.leads_to(), "/console/clients");
    let page = enter(&two, &code).await.page(422);
    assert!(page.contains("The code is wrong or was used before. Wait for the next one."), "{page}");
    assert_eq!(enter(&two, &before).await.status, 422, "nor an earlier one");
    world.advance(STEP);
    assert_eq!(enter(&two, &code).await.status, 422, "while it would still be in time");
    enter(&two, &phone.code(&world)).await.leads_to();
}

async fn two_nodes_accept_a_code_once(world: World) {
    let first = world.signed_in().await;
    let (phone, _) = enrol(&world, &first).await;
    let beside = world.open_beside().await.unwrap();
    let mut waiting = Vec::new();
    for _ in 0..6 {
        let browser = asked(&world).await;
        let value = browser.jar()[&browser.name_of("signin")].clone();
        waiting.push(value);
    }
    let before = sessions(&world).await;
    let visitor = Visitor { origin: Origin::default(), user_agent: String::new(), devices: Vec::new() };
    let code = phone.code(&world);
    let enter = async |at: usize| {
        let app = if at.is_multiple_of(2) { &world.app } else { &beside };
        matches!(
            app.enter_code(&waiting[at], Proof::Code(&code), &visitor).await.unwrap(),
            CodeEntered::Done(_)
        )
    };
    let done = tokio::join!(enter(0), enter(1), enter(2), enter(3), enter(4), enter(5));
    let done = [done.0, done.1, done.2, done.3, done.4, done.5];
    assert_eq!(done.into_iter().filter(|done| *done).count(), 1, "{done:?}");
    assert_eq!(sessions(&world).await, before + 1);
    beside.close().await;
}

async fn a_wrong_password_says_nothing_about_a_factor(world: World) {
    world.person("bob@example.com", "viewer").await;
    let first = world.signed_in().await;
    enrol(&world, &first).await;
    let mut pages = Vec::new();
    for email in [OWNER, "bob@example.com", "nobody@example.com"] {
        let answer = world.browser().sign_in(email, "wrong horse battery staple").await;
        assert!(answer.header("set-cookie").is_none());
        pages.push(answer.page(422).replace(email, ""));
    }
    pages.dedup();
    assert_eq!(pages.len(), 1);
    assert_eq!(world.number("SELECT COUNT(*) FROM pending_sign_ins").await, 0);
}

async fn a_known_browser_skips_no_code(world: World) {
    let browser = world.signed_in().await;
    enrol(&world, &browser).await;
    browser.post("/console/sign-out", &[]).await.leads_to();
    let answer = browser.sign_in(OWNER, PASSWORD).await;
    assert!(answer.leads_to().starts_with("/console/sign-in/code"));
    assert!(!browser.is_signed_in().await);
}

async fn five_wrong_codes_end_a_sign_in(world: World) {
    let first = world.signed_in().await;
    let (phone, _) = enrol(&world, &first).await;
    let browser = asked(&world).await;
    for _ in 0..4 {
        assert_eq!(enter(&browser, "000000").await.status, 422);
    }
    assert_eq!(enter(&browser, "000000").await.leads_to(), "/console/sign-in");
    assert!(browser.get("/console/sign-in").await.page(200).contains("Too many wrong codes. Sign in again."));
    assert_eq!(enter(&browser, &phone.code(&world)).await.leads_to(), "/console/sign-in");
    assert!(!browser.is_signed_in().await);
    let refused = details(&world, "session.refused").await;
    assert_eq!(refused.iter().filter(|it| it["reason"] == "code").count(), 5, "{refused:?}");
    enter(&asked(&world).await, &phone.code(&world)).await.leads_to();
}

/// Uses up what strangers may guess of an account's codes.
async fn guess(world: &World) {
    for _ in 0..2 {
        let stranger = asked(world).await;
        for _ in 0..5 {
            enter(&stranger, "000000").await;
        }
    }
}

async fn wrong_codes_of_strangers_hold_up_no_known_browser(world: World) {
    let known = world.signed_in().await;
    let (phone, _) = enrol(&world, &known).await;
    guess(&world).await;
    let stranger = asked(&world).await;
    let held = enter(&stranger, &phone.code(&world)).await;
    assert_eq!(held.status, 429);
    assert!(held.header("retry-after").is_some_and(|it| it.parse::<u64>().unwrap() <= 3600));
    assert!(held.page(429).contains("A recovery code works now."));
    assert!(!stranger.is_signed_in().await);
    known.post("/console/sign-out", &[]).await.leads_to();
    known.sign_in(OWNER, PASSWORD).await.leads_to();
    enter(&known, &phone.code(&world)).await.leads_to();
    assert!(known.is_signed_in().await);
    // One more is checked after an hour.
    world.advance(HOUR);
    let stranger = asked(&world).await;
    assert_eq!(enter(&stranger, "000000").await.status, 422);
    assert_eq!(enter(&stranger, "000000").await.status, 429);
}

async fn a_recovery_code_is_accepted_while_codes_are_held_up(world: World) {
    let first = world.signed_in().await;
    let (_, codes) = enrol(&world, &first).await;
    guess(&world).await;
    let stranger = asked(&world).await;
    assert_eq!(enter(&stranger, "000000").await.status, 429);
    enter(&stranger, &codes[0].to_lowercase().replace('-', " ")).await.leads_to();
    assert!(stranger.is_signed_in().await);
}

async fn a_recovery_code_works_once_and_is_told(mut world: World) {
    let server = MailServer::start().await;
    world.restart_with_mailer(Some(server.mailer())).await;
    let first = world.signed_in().await;
    let (_, codes) = enrol(&world, &first).await;
    let browser = asked(&world).await;
    enter(&browser, &codes[3]).await.leads_to();
    let again = asked(&world).await;
    assert_eq!(enter(&again, &codes[3]).await.status, 422);
    assert!(browser.get("/console/account").await.page(200).contains("9 recovery codes are left"));
    assert_eq!(details(&world, "recovery_code.used").await, [json!({"left": 9})]);
    while Box::pin(world.app.send_due_messages()).await.unwrap() {}
    let sent = server.take();
    let subjects: Vec<_> =
        sent.iter().map(|it| it.header("Subject").split(" (").next().unwrap().to_owned()).collect();
    for subject in [
        "A second factor was added to your account",
        "Recovery codes were created for your account",
        "A recovery code of your account was used",
    ] {
        assert!(subjects.iter().any(|it| it == subject), "{subjects:?}");
    }
    assert!(!sent.iter().any(|it| codes.iter().any(|code| it.text.contains(code))));
}

async fn new_recovery_codes_replace_the_others(world: World) {
    let browser = world.signed_in().await;
    let page = browser.post("/console/account/recovery-codes", &[]).await;
    assert_eq!(page.status, 422, "there is no factor");
    let (_, old) = enrol(&world, &browser).await;
    let page = browser.post("/console/account/recovery-codes", &[]).await.page(200);
    let new: Vec<_> = text_of(&page, "recovery-codes").lines().map(str::to_owned).collect();
    assert!(new.len() == 10 && !new.iter().any(|code| old.contains(code)));
    let stranger = asked(&world).await;
    assert_eq!(enter(&stranger, &old[0]).await.status, 422);
    enter(&stranger, &new[0]).await.leads_to();
}

async fn a_sign_in_waits_five_minutes_for_its_code(world: World) {
    let first = world.signed_in().await;
    let (phone, _) = enrol(&world, &first).await;
    let (early, late) = (asked(&world).await, asked(&world).await);
    world.advance(MINUTE * 5 - SECOND);
    enter(&early, &phone.code(&world)).await.leads_to();
    assert!(early.is_signed_in().await);
    world.advance(SECOND);
    assert_eq!(late.get("/console/sign-in/code").await.leads_to(), "/console/sign-in");
    assert_eq!(enter(&late, &phone.code_in(&world, 1)).await.leads_to(), "/console/sign-in");
    assert!(late.get("/console/sign-in").await.page(200).contains("The sign-in took too long"));
    assert!(!late.is_signed_in().await);
}

async fn a_sign_in_ends_with_the_password_it_began_with(world: World) {
    let here = world.signed_in().await;
    let (phone, _) = enrol(&world, &here).await;
    let thief = asked(&world).await;
    let code = phone.code(&world);
    let fields = [("current_password", PASSWORD), ("code", &*code), ("password", NEW), ("repeated", NEW)];
    assert_eq!(here.post("/console/account/password", &fields).await.leads_to(), "/console/account");
    world.advance(STEP);
    assert_eq!(enter(&thief, &phone.code(&world)).await.leads_to(), "/console/sign-in");
    assert!(!thief.is_signed_in().await && here.is_signed_in().await);
    let another = world.browser();
    another.sign_in(OWNER, NEW).await.leads_to();
    here.post("/console/account/sessions/end", &[]).await.leads_to();
    assert_eq!(
        enter(&another, &phone.code(&world)).await.leads_to(),
        "/console/sign-in",
        "signed out everywhere"
    );
}

async fn a_reset_of_the_password_keeps_the_factor(world: World) {
    let here = world.signed_in().await;
    let (phone, _) = enrol(&world, &here).await;
    let link = world.app.recover_owner(OWNER, OwnerFactors::Keep).await.unwrap().url;
    let browser = world.browser();
    let before = sessions(&world).await;
    let fields = [("link", &*link), ("email", ""), ("password", NEW), ("repeated", NEW)];
    let answer = browser.post("/console/link", &fields).await;
    assert_eq!(answer.leads_to(), "/console/sign-in/code?to=%2Fconsole");
    assert!(!browser.is_signed_in().await && !here.is_signed_in().await);
    assert_eq!(sessions(&world).await, before - 1, "what was open has ended, and nothing began");
    assert_eq!(enter(&browser, "000000").await.status, 422);
    enter(&browser, &phone.code(&world)).await.leads_to();
    assert!(browser.is_signed_in().await);
    assert_eq!(world.browser().sign_in(OWNER, PASSWORD).await.status, 422);
    assert!(world.browser().sign_in(OWNER, NEW).await.leads_to().starts_with("/console/sign-in/code"));
    let trail = world.owner().await.get("/audit-events?action=user.activated").await.ok();
    assert_eq!(trail["items"][0]["via"], Value::Null, "no session began with it: {trail}");
}

async fn a_cookie_of_a_waiting_sign_in_opens_nothing(world: World) {
    let first = world.signed_in().await;
    enrol(&world, &first).await;
    let browser = asked(&world).await;
    let value = browser.jar()[&browser.name_of("signin")].clone();
    let thief = world.browser();
    thief.jar().insert(thief.name_of("session"), value.clone());
    assert!(!thief.is_signed_in().await);
    let session = value.replace("crossfade_signin_", "crossfade_session_");
    thief.jar().insert(thief.name_of("session"), session);
    assert!(!thief.is_signed_in().await);
    // Nor does the cookie of a session wait for a code.
    let session = first.cookie().unwrap();
    for value in [session.clone(), session.replace("crossfade_session_", "crossfade_signin_"), "x".into()] {
        thief.jar().insert(thief.name_of("signin"), value);
        assert_eq!(thief.get("/console/sign-in/code").await.leads_to(), "/console/sign-in");
        assert_eq!(enter(&thief, "000000").await.leads_to(), "/console/sign-in");
    }
}

async fn a_dangerous_action_asks_for_the_password_and_a_code(world: World) {
    let browser = world.signed_in().await;
    let (phone, codes) = enrol(&world, &browser).await;
    world.advance(MINUTE * 10);
    let token = [("name", "laptop"), ("expires_days", "30")];
    let page = browser.post("/console/account/tokens", &token).await.page(403);
    assert!(page.contains("name=\"confirm_code\"") && page.contains("Confirm it is you"), "{page}");
    let with = |password: &'static str, code: String| {
        let browser = &browser;
        async move {
            let mut fields = token.to_vec();
            fields.extend([("confirm_password", password), ("confirm_code", code.as_str())]);
            browser.post("/console/account/tokens", &fields).await
        }
    };
    assert!(with(PASSWORD, String::new()).await.page(403).contains("The code is wrong"));
    assert!(with("wrong", phone.code(&world)).await.page(403).contains("Wrong password."));
    // The code was not used up by a wrong password.
    assert_eq!(with(PASSWORD, phone.code(&world)).await.status, 200);
    world.advance(MINUTE * 10);
    let wrong = [("password", PASSWORD), ("code", "000000")];
    let refused = browser.script("/console/confirm", &wrong).await;
    assert_eq!((refused.status.as_u16(), refused.json()["field"].as_str()), (422, Some("code")));
    assert_eq!(browser.get("/console/session").await.ok(), json!({"fresh": false}));
    let right = [("password", PASSWORD), ("code", &*codes[0])];
    assert_eq!(browser.script("/console/confirm", &right).await.ok(), json!({"fresh": true}));
    world.advance(MINUTE * 10);
    assert_eq!(browser.script("/console/confirm", &right).await.status, 422, "a recovery code works once");
}

async fn a_new_password_asks_for_a_code(world: World) {
    let browser = world.signed_in().await;
    let (phone, _) = enrol(&world, &browser).await;
    world.advance(MINUTE * 10);
    assert!(browser.get("/console/account").await.page(200).contains("id=\"password-code\""));
    let code = phone.code(&world);
    for (wrong, why) in [("", "is wrong or was used before"), ("000000", "is wrong or was used before")] {
        let fields = [("current_password", PASSWORD), ("code", wrong), ("password", NEW), ("repeated", NEW)];
        assert!(browser.post("/console/account/password", &fields).await.page(422).contains(why));
    }
    assert_eq!(browser.get("/console/session").await.ok(), json!({"fresh": false}), "no way around it");
    let fields = [("current_password", PASSWORD), ("code", &*code), ("password", NEW), ("repeated", NEW)];
    browser.post("/console/account/password", &fields).await.leads_to();
    assert_eq!(browser.get("/console/session").await.ok(), json!({"fresh": true}));
}

async fn wrong_codes_in_a_session_are_limited(world: World) {
    let browser = world.signed_in().await;
    let (phone, codes) = enrol(&world, &browser).await;
    world.advance(MINUTE * 10);
    let confirm = async |code: &str| {
        browser.script("/console/confirm", &[("password", PASSWORD), ("code", code)]).await
    };
    for _ in 0..10 {
        assert_eq!(confirm("000000").await.json()["field"], "code");
    }
    let held = confirm(&phone.code(&world)).await;
    assert!(held.text().contains("Too many wrong passwords or codes."), "{}", held.text());
    assert_eq!(confirm(&codes[0]).await.ok(), json!({"fresh": true}));
}

async fn a_script_signs_in_again_with_both(world: World) {
    let browser = world.signed_in().await;
    let (phone, _) = enrol(&world, &browser).await;
    world.advance(HOUR);
    assert!(!browser.is_signed_in().await);
    let send = async |code: &str| {
        let fields = [("email", OWNER), ("password", PASSWORD), ("code", code), ("to", "/console/session")];
        browser.script("/console/sign-in", &fields).await
    };
    let refused = send("000000").await;
    assert_eq!((refused.status.as_u16(), refused.json()["field"].as_str()), (422, Some("code")));
    assert!(!browser.is_signed_in().await);
    send(&phone.code(&world)).await.leads_to();
    assert!(browser.is_signed_in().await);
}

async fn a_person_removes_a_factor_and_its_codes(world: World) {
    let browser = world.signed_in().await;
    enrol(&world, &browser).await;
    let (tablet, path) = begin(&browser, "tablet").await;
    assert_eq!(browser.post(&path, &[("code", &tablet.code(&world))]).await.leads_to(), "/console/account");
    let page = browser.get("/console/account").await.page(200);
    let ids: Vec<String> = page
        .split("command=\"show-modal\" commandfor=\"remove-fac_")
        .skip(1)
        .map(|rest| format!("fac_{}", rest.split('"').next().unwrap()))
        .collect();
    assert_eq!(ids.len(), 2);
    let bob = world.person("bob@example.com", "viewer").await;
    assert_eq!(bob.post(&format!("/console/account/factors/{}/remove", ids[0]), &[]).await.status, 404);
    let remove = async |id: &str| browser.post(&format!("/console/account/factors/{id}/remove"), &[]).await;
    remove(&ids[0]).await.leads_to();
    assert_eq!(world.number("SELECT COUNT(*) FROM recovery_codes").await, 10);
    assert!(world.browser().sign_in(OWNER, PASSWORD).await.leads_to().starts_with("/console/sign-in/code"));
    remove(&ids[1]).await.leads_to();
    assert_eq!(world.number("SELECT COUNT(*) FROM recovery_codes").await, 0);
    assert_eq!(world.browser().sign_in(OWNER, PASSWORD).await.leads_to(), "/console");
    let removed = details(&world, "factor.removed").await;
    assert_eq!((&removed[1]["names"], &removed[0]["names"]), (&json!(["phone"]), &json!(["tablet"])));
}

async fn an_account_has_five_factors_at_most(world: World) {
    let browser = world.signed_in().await;
    enrol(&world, &browser).await;
    let twice = browser.post("/console/account/factors", &[("name", "phone")]).await.page(422);
    assert!(twice.contains("is the name of another factor of yours"), "{twice}");
    for name in ["b", "c", "d", "e"] {
        let (phone, path) = begin(&browser, name).await;
        browser.post(&path, &[("code", &phone.code(&world))]).await.leads_to();
    }
    let page = browser.post("/console/account/factors", &[("name", "f")]).await.page(422);
    assert!(page.contains("already has 5 second factors"), "{page}");
}

async fn id_of(world: &World, email: &str) -> String {
    let users = world.owner().await.get(&format!("/users?q={email}")).await.ok();
    users["items"][0]["id"].as_str().unwrap().to_owned()
}

async fn an_owner_removes_the_factors_of_another_person(mut world: World) {
    let server = MailServer::start().await;
    world.restart_with_mailer(Some(server.mailer())).await;
    let bob = world.person("bob@example.com", "secret_rotator").await;
    let (phone, _) = enrol(&world, &bob).await;
    let token = world.token_of("bob@example.com", &[]).await;
    let id = id_of(&world, "bob@example.com").await;
    let owner = world.owner().await;
    assert_eq!(owner.get(&format!("/users/{id}")).await.ok()["second_factor"], true);
    assert_eq!(owner.get("/users?q=bob").await.ok()["items"][0]["second_factor"], true);
    let waiting = world.browser();
    waiting.sign_in("bob@example.com", PASSWORD).await.leads_to();
    let link = owner.post(&format!("/users/{id}/link"), json!({})).await.created();
    let ended =
        owner.delete(&format!("/users/{id}/factors"), json!({"reason": "the phone was lost"})).await.ok();
    assert_eq!((&ended["removed_count"], &ended["ended_sessions"]), (&json!(1), &json!(1)), "{ended}");
    assert!(ended["ended_tokens"].as_u64().unwrap() >= 1);
    assert!(!bob.is_signed_in().await);
    token.get("/me").await.refused(401, "unauthenticated");
    assert_eq!(enter(&waiting, &phone.code(&world)).await.leads_to(), "/console/sign-in");
    let fields =
        [("link", link["url"].as_str().unwrap()), ("email", ""), ("password", NEW), ("repeated", NEW)];
    assert_eq!(world.browser().post("/console/link", &fields).await.status, 410);
    assert_eq!(owner.get(&format!("/users/{id}")).await.ok()["second_factor"], false);
    assert_eq!(world.browser().sign_in("bob@example.com", PASSWORD).await.leads_to(), "/console");
    let again = owner.delete(&format!("/users/{id}/factors"), json!({})).await.ok();
    assert_eq!(again, json!({"removed_count": 0, "ended_sessions": 0, "ended_tokens": 0}));
    let trail = owner.get("/audit-events?action=factor.removed").await.ok();
    let event = &trail["items"][0];
    assert_eq!((&event["reason"], &event["target"]), (&json!("the phone was lost"), &json!(id)));
    while Box::pin(world.app.send_due_messages()).await.unwrap() {}
    let told = server.take();
    let is_told = |it: &crate::mail_server::Message| {
        it.to == "bob@example.com"
            && it.header("Subject").starts_with("A second factor of your account was removed")
    };
    assert!(told.iter().any(is_told));
}

async fn only_owners_remove_factors_and_never_their_own(world: World) {
    let bob = world.person("bob@example.com", "viewer").await;
    enrol(&world, &bob).await;
    let here = world.signed_in().await;
    enrol(&world, &here).await;
    let (bob_id, owner_id) = (id_of(&world, "bob@example.com").await, id_of(&world, OWNER).await);
    for role in ["operations_manager", "application_manager", "auditor", "secret_rotator"] {
        let email = format!("{role}@example.com").replace('_', ".");
        let other = world.user(&email, role).await;
        let status = other.delete(&format!("/users/{bob_id}/factors"), json!({})).await.status.as_u16();
        assert!([403, 404].contains(&status), "{role}: {status}");
    }
    let owner = world.owner().await;
    let refused =
        owner.delete(&format!("/users/{owner_id}/factors"), json!({})).await.refused(403, "forbidden");
    assert!(refused["detail"].as_str().unwrap().contains("your own account"), "{refused}");
    let program = owner.post("/users", json!({"kind": "program", "name": "CI"})).await.created();
    let path = format!("/users/{}/factors", program["id"].as_str().unwrap());
    owner.delete(&path, json!({})).await.refused(409, "not_a_person");
    assert_eq!(world.number("SELECT COUNT(*) FROM factors WHERE confirmed_at IS NOT NULL").await, 2);
}

async fn the_machine_removes_the_factors_of_an_owner(world: World) {
    let here = world.signed_in().await;
    enrol(&world, &here).await;
    let token = world.owner().await;
    let link = world.app.recover_owner(OWNER, OwnerFactors::Remove).await.unwrap().url;
    assert!(!here.is_signed_in().await);
    token.get("/me").await.refused(401, "unauthenticated");
    let browser = world.browser();
    let fields = [("link", &*link), ("email", ""), ("password", NEW), ("repeated", NEW)];
    assert_eq!(browser.post("/console/link", &fields).await.leads_to(), "/console");
    assert!(browser.is_signed_in().await);
    let trail = world.owner().await.get("/audit-events?action=factor.removed").await.ok();
    let event = &trail["items"][0];
    assert_eq!(
        (&event["actor"]["kind"], &event["via"]["kind"]),
        (&json!("machine"), &json!("machine")),
        "{event}"
    );
}

async fn a_role_that_closes_an_account_removes_its_factors(world: World) {
    let bob = world.person("bob@example.com", "viewer").await;
    enrol(&world, &bob).await;
    let id = id_of(&world, "bob@example.com").await;
    let owner = world.owner().await;
    let granted =
        owner.post(&format!("/users/{id}/grants"), json!({"role": "secret_viewer"})).await.created();
    assert_eq!(world.number("SELECT COUNT(*) FROM factors").await, 0);
    let link = granted["activation_link"]["url"].as_str().unwrap();
    let fields = [("link", link), ("email", ""), ("password", NEW), ("repeated", NEW)];
    assert_eq!(world.browser().post("/console/link", &fields).await.leads_to(), "/console");
}

async fn a_person_changes_their_own_name(world: World) {
    let bob = world.person("bob@example.com", "viewer").await;
    let empty = bob.post("/console/account/name", &[("name", " ")]).await.page(422);
    assert!(empty.contains("id=\"profile-name-error\""), "{empty}");
    bob.post("/console/account/name", &[("name", "Robert")]).await.leads_to();
    assert!(bob.get("/console/account").await.page(200).contains("Robert"));
    let updated = details(&world, "user.updated").await;
    assert_eq!(
        (&updated[0]["before"]["name"], &updated[0]["after"]["name"]),
        (&json!("bob"), &json!("Robert"))
    );
    bob.post("/console/account/name", &[("name", "Robert")]).await.leads_to();
    assert_eq!(details(&world, "user.updated").await.len(), 1, "nothing was changed");
}
