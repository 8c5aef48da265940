//! Passkeys: adding them, signing in and confirming with them, and every answer that must not be accepted.

use super::authenticator::{Manner, Passkey, request};
use super::browser::{Browser, PASSWORD};
use crate::engines::on_both_engines;
use crate::mail_server::MailServer;
use crate::world::{Answer, OWNER, World};
use crossfade_app::{PasskeyAnswer, PasskeySignIn, Visitor};
use crossfade_core::audit::Origin;
use serde_json::{Value, json};
use std::time::Duration;

on_both_engines! {
    a_passkey_signs_in_alone_and_no_code_is_asked_for,
    a_first_passkey_ends_the_other_sessions_and_brings_recovery_codes,
    a_passkey_finishes_a_sign_in_after_the_password,
    an_answer_signs_in_once,
    two_nodes_accept_an_answer_once,
    an_answer_is_for_one_purpose_and_one_browser,
    an_answer_that_was_not_signed_for_this_console_signs_nobody_in,
    what_is_no_answer_is_refused_as_a_wrong_one,
    an_answer_is_accepted_for_five_minutes,
    a_counter_that_goes_back_is_refused_and_told,
    a_passkey_belongs_to_one_account,
    a_passkey_that_checks_nobody_is_not_added,
    a_removed_passkey_signs_nobody_in,
    a_passkey_signs_in_nobody_who_cannot_use_a_password,
    a_passkey_confirms_its_session_alone,
    a_form_without_a_script_is_confirmed_with_a_passkey_too,
    a_new_password_takes_a_passkey_in_place_of_a_code,
    a_passkey_from_before_a_new_password_signs_in_alone_after_it_was_used_with_that,
    wrong_passkeys_count_for_their_network_and_not_for_a_known_browser,
    an_owner_removes_the_passkeys_of_another_person,
    nothing_of_a_passkey_is_stored_as_it_was_sent,
    a_policy_that_asks_for_a_second_factor_takes_a_passkey,
    without_a_host_name_and_https_no_passkey_is_offered,
}

const MINUTE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);
const NEW: &str = "four quite unrelated words";

/// Adds a passkey. Returns it with the answer of the server.
pub async fn add(browser: &Browser<'_>, name: &str) -> (Passkey, Answer) {
    let asked = request(browser, "/console/account/passkeys/begin").await;
    let (passkey, credential) = Passkey::make(&asked, &Manner::default());
    (passkey, send(browser, name, &credential, &asked).await)
}

async fn send(browser: &Browser<'_>, name: &str, credential: &str, asked: &Value) -> Answer {
    let state = asked["state"].as_str().unwrap();
    let fields = [("name", name), ("passkey", credential), ("state", state)];
    browser.post("/console/account/passkeys", &fields).await
}

/// Adds the first factor of an account, a passkey. Returns it with the recovery codes.
pub async fn enrol(browser: &Browser<'_>) -> (Passkey, Vec<String>) {
    let (passkey, answer) = add(browser, "laptop").await;
    let page = answer.page(200);
    let codes = page.split_once("<pre id=\"recovery-codes\" tabindex=\"0\">").unwrap().1;
    let codes: Vec<_> = codes.split('<').next().unwrap().lines().map(str::to_owned).collect();
    assert_eq!(codes.len(), 10, "{codes:?}");
    (passkey, codes)
}

/// Sends an answer to the sign-in page.
async fn enter(browser: &Browser<'_>, credential: &str) -> Answer {
    let fields = [("passkey", credential), ("to", "/console/account")];
    browser.post("/console/sign-in/passkey", &fields).await
}

pub async fn sign_in(browser: &Browser<'_>, passkey: &Passkey, manner: &Manner) -> Answer {
    let asked = request(browser, "/console/sign-in/passkey/begin").await;
    enter(browser, &passkey.sign(&asked, manner)).await
}

/// Sends an answer to the page for the code.
pub async fn finish(browser: &Browser<'_>, passkey: &Passkey, manner: &Manner) -> Answer {
    let asked = request(browser, "/console/sign-in/code/passkey").await;
    let (credential, state) = (passkey.sign(&asked, manner), asked["state"].as_str().unwrap());
    browser.post("/console/sign-in/code", &[("passkey", &*credential), ("state", state)]).await
}

/// Lets the last sign-in be long ago.
async fn age(world: &World) {
    world.raw("UPDATE sessions SET authenticated_at = authenticated_at - 7200000000").await;
}

async fn details(world: &World, action: &str) -> Vec<Value> {
    let trail = world.owner().await.get(&format!("/audit-events?action={action}&limit=50")).await.ok();
    trail["items"].as_array().unwrap().iter().map(|it| it["details"].clone()).collect()
}

async fn refused(world: &World, reason: &str) -> usize {
    details(world, "session.refused").await.iter().filter(|it| it["reason"] == reason).count()
}

async fn sessions(world: &World) -> i64 {
    world.number("SELECT COUNT(*) FROM sessions WHERE ended_at IS NULL").await
}

fn visitor() -> Visitor {
    Visitor { origin: Origin::default(), user_agent: String::new(), devices: Vec::new() }
}

async fn a_passkey_signs_in_alone_and_no_code_is_asked_for(world: World) {
    let here = world.signed_in().await;
    let (passkey, _) = enrol(&here).await;
    assert!(world.owner().await.get("/me").await.ok()["user"]["second_factor"].as_bool().unwrap());
    let added = details(&world, "factor.added").await;
    assert_eq!((&added[0]["kind"], &added[0]["name"]), (&json!("passkey"), &json!("laptop")), "{added:?}");
    let page = here.get("/console/account").await.page(200);
    assert!(page.contains("laptop<span class=\"sub\">Passkey</span>"), "{page}");
    world.advance(MINUTE);
    let browser = world.browser();
    let page = browser.get("/console/sign-in").await.page(200);
    assert!(page.contains("Sign in with a passkey</button>"), "{page}");
    let asked = request(&browser, "/console/sign-in/passkey/begin").await;
    assert_eq!(asked["options"]["publicKey"]["allowCredentials"], json!([]), "nobody is named");
    assert!(asked.get("state").is_none(), "it is in the cookie");
    assert_eq!(
        enter(&browser, &passkey.sign(&asked, &Manner::default())).await.leads_to(),
        "/console/account"
    );
    assert!(browser.is_signed_in().await && !browser.jar().contains_key(&browser.name_of("passkey")));
    let signed_in = &details(&world, "session.created").await[0];
    assert_eq!(signed_in["passkey_id"], added[0]["factor_id"], "{signed_in}");
    assert_eq!(world.number("SELECT COUNT(*) FROM factors WHERE last_used_at IS NOT NULL").await, 1);
    // The session is as fresh as one of a password and a code.
    assert_eq!(browser.post("/console/account/recovery-codes", &[]).await.status, 200);
    assert_eq!(refused(&world, "passkey").await, 0);
    // A script signs in again where a session has ended.
    let script = world.browser();
    request(&script, "/console/sign-in/passkey/begin").await;
    assert_eq!(script.script("/console/sign-in/passkey", &[("passkey", "{}")]).await.status, 422);
    let asked = request(&script, "/console/sign-in/passkey/begin").await;
    let credential = passkey.sign(&asked, &Manner::default());
    script.script("/console/sign-in/passkey", &[("passkey", &credential)]).await.leads_to();
    assert!(script.is_signed_in().await);
}

async fn a_first_passkey_ends_the_other_sessions_and_brings_recovery_codes(world: World) {
    let (here, there) = (world.signed_in().await, world.signed_in_as(OWNER).await);
    let (_, codes) = enrol(&here).await;
    assert!(here.is_signed_in().await && !there.is_signed_in().await);
    assert_eq!(details(&world, "factor.added").await[0]["ended_sessions"], 1);
    assert_eq!(there.sign_in(OWNER, PASSWORD).await.leads_to(), "/console/sign-in/code?to=%2Fconsole");
    let page = there.get("/console/sign-in/code").await.page(200);
    assert!(page.contains("Use a passkey</button>"), "{page}");
    // No code of six digits is right for a passkey.
    assert_eq!(there.post("/console/sign-in/code", &[("code", "000000")]).await.status, 422);
    assert_eq!(there.post("/console/sign-in/code", &[("code", &codes[0])]).await.leads_to(), "/console");
    // A further one brings no codes.
    assert_eq!(add(&here, "").await.1.leads_to(), "/console/account");
    let names = world.number("SELECT COUNT(DISTINCT name) FROM factors").await;
    assert_eq!(names, 2, "it has a name of its own");
    let again = add(&here, "laptop").await.1.page(422);
    assert!(again.contains("Name is the name of another factor of yours"), "{again}");
}

async fn a_passkey_finishes_a_sign_in_after_the_password(world: World) {
    let here = world.signed_in().await;
    let (passkey, _) = enrol(&here).await;
    let browser = world.browser();
    assert_eq!(browser.script("/console/sign-in/code/passkey", &[]).await.status, 422, "nothing waits");
    browser.sign_in(OWNER, PASSWORD).await.leads_to();
    let asked = request(&browser, "/console/sign-in/code/passkey").await;
    assert_eq!(asked["options"]["publicKey"]["allowCredentials"].as_array().unwrap().len(), 1, "{asked}");
    let page = finish(&browser, &passkey, &Manner::unverified()).await.page(422);
    assert!(page.contains("The passkey was not accepted. Try again"), "{page}");
    assert!(!browser.is_signed_in().await);
    // Also from a device that does not say whose passkey it is.
    let silent = Manner { handle: Some(None), ..Manner::default() };
    assert_eq!(finish(&browser, &passkey, &silent).await.leads_to(), "/console");
    assert!(browser.is_signed_in().await);
    assert_eq!(refused(&world, "passkey").await, 1);
    // Five wrong answers end it.
    let thief = world.browser();
    thief.sign_in(OWNER, PASSWORD).await.leads_to();
    for _ in 0..4 {
        assert_eq!(finish(&thief, &passkey, &Manner::unverified()).await.status, 422);
    }
    assert_eq!(finish(&thief, &passkey, &Manner::unverified()).await.leads_to(), "/console/sign-in");
    assert_eq!(thief.script("/console/sign-in/code/passkey", &[]).await.status, 422);
}

async fn an_answer_signs_in_once(world: World) {
    let (passkey, _) = enrol(&world.signed_in().await).await;
    let browser = world.browser();
    let asked = request(&browser, "/console/sign-in/passkey/begin").await;
    let cookie = browser.jar()[&browser.name_of("passkey")].clone();
    let credential = passkey.sign(&asked, &Manner::default());
    enter(&browser, &credential).await.leads_to();
    let (before, thief) = (sessions(&world).await, world.browser());
    for _ in 0..2 {
        thief.jar().insert(thief.name_of("passkey"), cookie.clone());
        let page = enter(&thief, &credential).await.page(422);
        assert!(page.contains("The passkey was not accepted. Try again"), "{page}");
    }
    assert!(!thief.is_signed_in().await && sessions(&world).await == before);
    // Another signature with the same challenge is another answer to the same question.
    thief.jar().insert(thief.name_of("passkey"), cookie.clone());
    assert_eq!(enter(&thief, &passkey.sign(&asked, &Manner::default())).await.status, 422);
    // Where nothing was asked.
    assert_eq!(enter(&world.browser(), &credential).await.status, 422);
    assert_eq!(sessions(&world).await, before);
}

async fn two_nodes_accept_an_answer_once(world: World) {
    let (passkey, _) = enrol(&world.signed_in().await).await;
    let beside = world.open_beside().await.unwrap();
    let before = sessions(&world).await;
    let asked = world.app.begin_passkey_sign_in().unwrap();
    let credential = passkey.sign(&json!({"options": asked.options}), &Manner::default());
    let answer = PasskeyAnswer { credential: &credential, state: &asked.state };
    let visitor = visitor();
    let enter = async |at: usize| {
        let app = if at.is_multiple_of(2) { &world.app } else { &beside };
        matches!(app.sign_in_with_passkey(answer, &visitor).await.unwrap(), PasskeySignIn::Done(_))
    };
    let done = tokio::join!(enter(0), enter(1), enter(2), enter(3), enter(4), enter(5));
    let done = [done.0, done.1, done.2, done.3, done.4, done.5];
    assert_eq!(done.into_iter().filter(|done| *done).count(), 1, "{done:?}");
    assert_eq!(sessions(&world).await, before + 1);
    beside.close().await;
}

async fn an_answer_is_for_one_purpose_and_one_browser(world: World) {
    let here = world.signed_in().await;
    let (passkey, codes) = enrol(&here).await;
    let there = world.browser();
    there.sign_in(OWNER, PASSWORD).await.leads_to();
    let waiting = request(&there, "/console/sign-in/code/passkey").await;
    there.post("/console/sign-in/code", &[("code", &codes[1])]).await.leads_to();
    age(&world).await;
    let manner = Manner::default();
    let confirm = async |browser: &Browser<'_>, credential: &str, state: &Value| {
        let fields = [("passkey", credential), ("state", state.as_str().unwrap_or_default())];
        browser.script("/console/confirm", &fields).await.status.as_u16()
    };
    let (own, other) =
        (request(&here, "/console/confirm/passkey").await, request(&there, "/console/confirm/passkey").await);
    let stranger = world.browser();
    let public = request(&stranger, "/console/sign-in/passkey/begin").await;
    let public_state = json!(stranger.jar()[&stranger.name_of("passkey")].clone());
    // Asked for another session, for a sign-in, or for nobody; and one state with the answer to another.
    for (asked, state) in [
        (&other, &other["state"]),
        (&waiting, &waiting["state"]),
        (&public, &public_state),
        (&own, &other["state"]),
        (&other, &own["state"]),
        (&own, &json!("")),
    ] {
        assert_eq!(confirm(&here, &passkey.sign(asked, &manner), state).await, 422);
    }
    // And the other way round: what confirms a session signs nobody in.
    let thief = world.browser();
    for (asked, state) in [(&own, &own["state"]), (&waiting, &waiting["state"])] {
        thief.jar().insert(thief.name_of("passkey"), state.as_str().unwrap().to_owned());
        assert_eq!(enter(&thief, &passkey.sign(asked, &manner)).await.status, 422);
    }
    thief.sign_in(OWNER, PASSWORD).await.leads_to();
    let credential = passkey.sign(&waiting, &manner);
    let fields = [("passkey", &*credential), ("state", waiting["state"].as_str().unwrap())];
    assert_eq!(thief.post("/console/sign-in/code", &fields).await.status, 422, "of another sign-in");
    assert_eq!(confirm(&here, &passkey.sign(&own, &manner), &own["state"]).await, 200);
    assert_eq!(confirm(&here, &passkey.sign(&own, &manner), &own["state"]).await, 422, "once");
    // A request to add one is no request for a signature, and the other way round.
    let adding = request(&here, "/console/account/passkeys/begin").await;
    let (_, made) = Passkey::make(&adding, &manner);
    assert_eq!(send(&here, "phone", &made, &other).await.status, 422);
    assert_eq!(send(&there, "phone", &made, &adding).await.status, 403, "not fresh");
}

async fn an_answer_that_was_not_signed_for_this_console_signs_nobody_in(world: World) {
    let here = world.signed_in().await;
    let (passkey, _) = enrol(&here).await;
    let bob = world.person("bob@example.com", "viewer").await;
    let (foreign, _) = enrol(&bob).await;
    let browser = world.browser();
    let before = sessions(&world).await;
    let with = |change: fn(&mut Manner)| {
        let mut manner = Manner::default();
        change(&mut manner);
        manner
    };
    let manners = [
        with(|it| it.origin = "https://evil.example".into()),
        with(|it| it.origin = "https://sub.auth.example.com".into()),
        with(|it| it.origin = "https://auth.example.com:8443".into()),
        with(|it| it.origin = "http://auth.example.com".into()),
        with(|it| it.host = "example.com".into()),
        with(|it| it.host = "evil.example".into()),
        with(|it| it.ceremony = "webauthn.create"),
        with(|it| it.crosses_origins = true),
        with(|it| it.flags = 0x04),
        with(|it| it.flags = 0),
        Manner::unverified(),
        // Whose it is: nobody's, another account's, and that of the account itself.
        with(|it| it.handle = Some(None)),
        with(|it| it.handle = Some(Some(Vec::new()))),
        Manner { handle: Some(Some(foreign.handle.clone())), ..Manner::default() },
        with(|it| it.handle = Some(Some(b"owner@example.com".to_vec()))),
    ];
    for (at, manner) in manners.iter().enumerate() {
        let page = sign_in(&browser, &passkey, manner).await.page(422);
        assert!(page.contains("The passkey was not accepted. Try again"), "{at}: {page}");
    }
    // A key that is in no account, and another key under an ID that is.
    let asked = request(&here, "/console/account/passkeys/begin").await;
    let (mut unknown, _) = Passkey::make(&asked, &Manner::default());
    assert_eq!(sign_in(&browser, &unknown, &Manner::default()).await.status, 422);
    (unknown.id, unknown.handle) = (passkey.id.clone(), passkey.handle.clone());
    assert_eq!(sign_in(&browser, &unknown, &Manner::default()).await.status, 422);
    assert_eq!((sessions(&world).await, refused(&world, "passkey").await), (before, manners.len() + 2));
    assert!(!browser.is_signed_in().await);
    assert_eq!(
        world.number("SELECT COUNT(*) FROM passkey_challenges").await,
        2,
        "of the two that were added"
    );
    sign_in(&browser, &passkey, &Manner::default()).await.leads_to();
}

async fn what_is_no_answer_is_refused_as_a_wrong_one(world: World) {
    let here = world.signed_in().await;
    let (passkey, _) = enrol(&here).await;
    let browser = world.browser();
    let asked = request(&browser, "/console/sign-in/passkey/begin").await;
    let cookie = browser.jar()[&browser.name_of("passkey")].clone();
    let right = passkey.sign(&asked, &Manner::default());
    let changed = |name: &str, to: Value| {
        let mut answer: Value = serde_json::from_str(&right).unwrap();
        answer["response"][name] = to;
        answer.to_string()
    };
    let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
    for wrong in [
        String::new(),
        "{}".into(),
        "[]".into(),
        "null".into(),
        right[..right.len() / 2].to_owned(),
        right.replace("rawId", "rawid"),
        changed("signature", json!("")),
        changed("signature", json!("%%%")),
        changed("signature", json!("AAAA")),
        changed("clientDataJSON", json!("e30")),
        changed("clientDataJSON", json!("bm8ganNvbg==")),
        changed("authenticatorData", json!("AA")),
        changed("authenticatorData", json!("A".repeat(20_000))),
        changed("authenticatorData", Value::Null),
        deep,
    ] {
        browser.jar().insert(browser.name_of("passkey"), cookie.clone());
        let start: String = wrong.chars().take(60).collect();
        assert_eq!(enter(&browser, &wrong).await.status, 422, "{start}");
    }
    browser.jar().insert(browser.name_of("passkey"), cookie.clone());
    assert_eq!(enter(&browser, &"a".repeat(70_000)).await.status, 413);
    for wrong in ["", "a", &cookie[1..], &"A".repeat(4000)] {
        browser.jar().insert(browser.name_of("passkey"), wrong.to_owned());
        assert_eq!(enter(&browser, &right).await.status, 422, "{wrong}");
    }
    // The same in a session.
    let adding = request(&here, "/console/account/passkeys/begin").await;
    let (_, made) = Passkey::make(&adding, &Manner::default());
    for wrong in
        ["", "{}", &made[..made.len() / 2], &made.replace("attestationObject", "attestation"), &right]
    {
        let answer = send(&here, "phone", wrong, &adding).await;
        assert!(answer.page(422).contains("Nothing was changed."), "{wrong}");
    }
    assert_eq!(world.number("SELECT COUNT(*) FROM factors").await, 1);
    browser.jar().insert(browser.name_of("passkey"), cookie);
    enter(&browser, &right).await.leads_to();
}

async fn an_answer_is_accepted_for_five_minutes(world: World) {
    let here = world.signed_in().await;
    let (passkey, _) = enrol(&here).await;
    let (early, late) = (world.browser(), world.browser());
    let asked = request(&early, "/console/sign-in/passkey/begin").await;
    let cookie = early.jar()[&early.name_of("passkey")].clone();
    let adding = request(&here, "/console/account/passkeys/begin").await;
    let (_, made) = Passkey::make(&adding, &Manner::default());
    let other = request(&late, "/console/sign-in/passkey/begin").await;
    world.advance(MINUTE * 5 - SECOND);
    enter(&early, &passkey.sign(&asked, &Manner::default())).await.leads_to();
    world.advance(SECOND);
    assert_eq!(enter(&late, &passkey.sign(&other, &Manner::default())).await.status, 422);
    assert!(send(&here, "phone", &made, &adding).await.page(422).contains("longer than 5 minutes"));
    // The answer that was accepted is forgotten, and comes too late.
    sign_in(&late, &passkey, &Manner::default()).await.leads_to();
    let thief = world.browser();
    thief.jar().insert(thief.name_of("passkey"), cookie);
    assert_eq!(enter(&thief, &passkey.sign(&asked, &Manner::default())).await.status, 422);
    let kept = world.number("SELECT COUNT(*) FROM passkey_challenges").await;
    assert_eq!(kept, 1, "only the last one can still be answered");
}

async fn a_counter_that_goes_back_is_refused_and_told(mut world: World) {
    let server = MailServer::start().await;
    world.restart_with_mailer(Some(server.mailer())).await;
    let (passkey, _) = enrol(&world.signed_in().await).await;
    let browser = world.browser();
    sign_in(&browser, &passkey, &Manner::counting(7)).await.leads_to();
    for counter in [7, 6, 0] {
        let copy = world.browser();
        assert_eq!(sign_in(&copy, &passkey, &Manner::counting(counter)).await.status, 422, "{counter}");
        assert!(!copy.is_signed_in().await);
    }
    let told = details(&world, "factor.suspected").await;
    assert_eq!((told.len(), &told[0]["name"]), (3, &json!("laptop")), "{told:?}");
    assert_eq!(refused(&world, "passkey").await, 3);
    while Box::pin(world.app.send_due_messages()).await.unwrap() {}
    let sent = server.take();
    let copied = sent
        .iter()
        .filter(|it| it.header("Subject").starts_with("A passkey of your account may have been copied"));
    assert_eq!(copied.count(), 3);
    // A refused answer moves no counter, and the passkey itself goes on.
    sign_in(&world.browser(), &passkey, &Manner::counting(8)).await.leads_to();
}

async fn a_passkey_belongs_to_one_account(world: World) {
    let here = world.signed_in().await;
    let (passkey, _) = enrol(&here).await;
    let bob = world.person("bob@example.com", "viewer").await;
    for browser in [&here, &bob] {
        let asked = request(browser, "/console/account/passkeys/begin").await;
        let page = send(browser, "copy", &passkey.attest(&asked, &Manner::default()), &asked).await.page(422);
        assert!(page.contains("Nothing was changed. Add the passkey again."), "{page}");
    }
    assert_eq!(world.number("SELECT COUNT(*) FROM factors").await, 1);
    // The handle is the account's, and that of another account is another.
    let asked = request(&here, "/console/account/passkeys/begin").await;
    let (second, _) = Passkey::make(&asked, &Manner::default());
    assert_eq!(second.handle, passkey.handle);
    assert_eq!(asked["options"]["publicKey"]["excludeCredentials"].as_array().unwrap().len(), 1);
    let (other, _) = enrol(&bob).await;
    assert!(other.handle != passkey.handle && other.handle.len() == 32);
    // With the password of one account, the passkey of another finishes nothing.
    let browser = world.browser();
    browser.sign_in(OWNER, PASSWORD).await.leads_to();
    assert_eq!(finish(&browser, &other, &Manner::default()).await.status, 422);
}

async fn a_passkey_that_checks_nobody_is_not_added(world: World) {
    let here = world.signed_in().await;
    for manner in [
        Manner::unverified(),
        Manner { origin: "https://evil.example".into(), ..Manner::default() },
        Manner { host: "evil.example".into(), ..Manner::default() },
        Manner { crosses_origins: true, ..Manner::default() },
    ] {
        let asked = request(&here, "/console/account/passkeys/begin").await;
        let (_, made) = Passkey::make(&asked, &manner);
        assert_eq!(send(&here, "phone", &made, &asked).await.status, 422);
    }
    assert_eq!(world.number("SELECT COUNT(*) FROM factors").await, 0);
    assert!(details(&world, "factor.added").await.is_empty());
    // Nor a sixth factor.
    enrol(&here).await;
    for name in ["b", "c", "d"] {
        add(&here, name).await.1.leads_to();
    }
    let asked = request(&here, "/console/account/passkeys/begin").await;
    add(&here, "e").await.1.leads_to();
    let (_, made) = Passkey::make(&asked, &Manner::default());
    assert!(send(&here, "f", &made, &asked).await.page(422).contains("already has 5 second factors"));
    assert_eq!(here.script("/console/account/passkeys/begin", &[]).await.status, 422);
}

async fn a_removed_passkey_signs_nobody_in(world: World) {
    let here = world.signed_in().await;
    let (passkey, codes) = enrol(&here).await;
    let page = here.get("/console/account").await.page(200);
    let at = page.find("/console/account/factors/fac_").unwrap();
    let path = page[at..].split('"').next().unwrap().to_owned();
    let waiting = world.browser();
    let asked = request(&waiting, "/console/sign-in/passkey/begin").await;
    let there = world.browser();
    assert_eq!(sign_in(&there, &passkey, &Manner::default()).await.status, 303);
    assert_eq!(here.post(&path, &[]).await.leads_to(), "/console/account");
    // Whoever had the passkey may have begun that session.
    assert!(here.is_signed_in().await && !there.is_signed_in().await);
    assert_eq!(details(&world, "factor.removed").await[0]["ended_sessions"], 1);
    assert_eq!(enter(&waiting, &passkey.sign(&asked, &Manner::default())).await.status, 422);
    assert_eq!(details(&world, "factor.removed").await[0]["names"], json!(["laptop"]));
    assert_eq!(world.number("SELECT COUNT(*) FROM recovery_codes").await, 0, "{codes:?}");
    assert_eq!(world.browser().sign_in(OWNER, PASSWORD).await.leads_to(), "/console");
}

async fn a_passkey_signs_in_nobody_who_cannot_use_a_password(world: World) {
    world.signed_in().await;
    let bob = world.person("bob@example.com", "viewer").await;
    let (passkey, _) = enrol(&bob).await;
    let off = "A passkey signs in only where a password could";
    let hash = "UPDATE users SET password_hash = NULL WHERE email = 'bob@example.com'";
    let policy = "INSERT INTO sign_in_policy (one, second_factor, passwords, break_glass, version) VALUES (1, 'optional', 'break_glass', '[]', 2)";
    for change in [policy, hash] {
        world.raw(change).await;
        let browser = world.browser();
        let page = sign_in(&browser, &passkey, &Manner::default()).await.page(422);
        assert!(page.contains(off) && !browser.is_signed_in().await, "{change}: {page}");
        // A session that is open is confirmed in no other way.
        let asked = request(&bob, "/console/confirm/passkey").await;
        let credential = passkey.sign(&asked, &Manner::default());
        let fields = [("passkey", &*credential), ("state", asked["state"].as_str().unwrap())];
        assert_eq!(bob.script("/console/confirm", &fields).await.status, 403, "{change}");
        // Nor is another one asked for, which could never be used.
        let more = bob.script("/console/account/passkeys/begin", &[]).await;
        assert_eq!(more.status, 403, "{change}");
        world.raw("DELETE FROM sign_in_policy").await;
    }
    assert_eq!(refused(&world, "passwords_off").await, 2);
    let owner = world.owner().await;
    let id = owner.get("/users?q=bob").await.ok()["items"][0]["id"].as_str().unwrap().to_owned();
    owner.delete(&format!("/users/{id}"), json!({})).await;
    assert_eq!(sign_in(&world.browser(), &passkey, &Manner::default()).await.status, 422);
    assert_eq!(world.number("SELECT COUNT(*) FROM factors").await, 0, "they go with the account");
}

async fn a_passkey_confirms_its_session_alone(world: World) {
    let here = world.signed_in().await;
    let (passkey, _) = enrol(&here).await;
    age(&world).await;
    assert_eq!(here.script("/console/account/recovery-codes", &[]).await.status, 403);
    let page = here.get("/console/account").await.page(200);
    assert!(page.contains("begin=\"/console/confirm/passkey\""), "{page}");
    let confirm = async |manner: &Manner| {
        let asked = request(&here, "/console/confirm/passkey").await;
        let credential = passkey.sign(&asked, manner);
        let fields = [("passkey", &*credential), ("state", asked["state"].as_str().unwrap())];
        here.script("/console/confirm", &fields).await
    };
    let cookie = here.cookie();
    let wrong = confirm(&Manner::unverified()).await;
    assert_eq!(wrong.status, 422);
    assert!(wrong.text().contains("The passkey was not accepted. Nothing was changed."), "{}", wrong.text());
    assert_eq!(here.script("/console/account/recovery-codes", &[]).await.status, 403);
    assert_eq!(confirm(&Manner::default()).await.status, 200);
    assert_ne!(here.cookie(), cookie, "a copy of the cookie is worthless");
    assert_eq!(here.post("/console/account/recovery-codes", &[]).await.status, 200);
    assert_eq!(refused(&world, "passkey").await, 1);
    // Wrong ones of a session are limited, together with its wrong passwords.
    age(&world).await;
    for _ in 0..10 {
        assert_eq!(confirm(&Manner::unverified()).await.status, 422);
    }
    let held = confirm(&Manner::default()).await;
    assert!(held.status == 422 && held.text().contains("Too many wrong passwords"), "{}", held.text());
    world.advance(MINUTE * 2);
    assert_eq!(confirm(&Manner::default()).await.status, 200);
}

async fn a_form_without_a_script_is_confirmed_with_a_passkey_too(world: World) {
    let here = world.signed_in().await;
    let (passkey, _) = enrol(&here).await;
    age(&world).await;
    let typed = [("name", "Ada of Lovelace")];
    let page = here.post("/console/account/name", &typed).await.page(403);
    assert!(
        page.contains("name=\"confirm_passkey\"") && page.contains("A passkey needs JavaScript."),
        "{page}"
    );
    let asked = request(&here, "/console/confirm/passkey").await;
    let state = asked["state"].as_str().unwrap();
    let wrong = passkey.sign(&asked, &Manner::unverified());
    let fields = [typed[0], ("confirm_password", ""), ("confirm_passkey", &wrong), ("confirm_state", state)];
    let page = here.post("/console/account/name", &fields).await.page(403);
    assert!(page.contains("The passkey was not accepted.") && page.contains("Ada of Lovelace"), "{page}");
    assert!(!page.contains(&wrong.replace('"', "&#34;")), "the answer is not carried on");
    let right = passkey.sign(&asked, &Manner::default());
    let fields = [typed[0], ("confirm_password", ""), ("confirm_passkey", &right), ("confirm_state", state)];
    here.post("/console/account/name", &fields).await.leads_to();
}

async fn a_new_password_takes_a_passkey_in_place_of_a_code(world: World) {
    let here = world.signed_in().await;
    let (passkey, _) = enrol(&here).await;
    let change = async |current: &str, manner: &Manner| {
        let asked = request(&here, "/console/confirm/passkey").await;
        let (credential, state) = (passkey.sign(&asked, manner), asked["state"].as_str().unwrap().to_owned());
        let fields = [
            ("current_password", current),
            ("password", NEW),
            ("repeated", NEW),
            ("passkey", &credential),
            ("state", &state),
        ];
        here.post("/console/account/password", &fields).await
    };
    assert_eq!(change("wrong horse battery staple", &Manner::default()).await.status, 422);
    assert_eq!(change(PASSWORD, &Manner::unverified()).await.status, 422);
    assert_eq!(world.browser().sign_in(OWNER, NEW).await.status, 422);
    assert_eq!(change(PASSWORD, &Manner::default()).await.leads_to(), "/console/account");
    assert!(world.browser().sign_in(OWNER, NEW).await.leads_to().starts_with("/console/sign-in/code"));
}

async fn a_passkey_from_before_a_new_password_signs_in_alone_after_it_was_used_with_that(world: World) {
    world.owner().await;
    let bob = world.person("bob@example.com", "viewer").await;
    let (planted, _) = enrol(&bob).await;
    let browser = world.browser();
    assert_eq!(sign_in(&browser, &planted, &Manner::default()).await.leads_to(), "/console/account");
    let id =
        world.owner().await.get("/users?q=bob").await.ok()["items"][0]["id"].as_str().unwrap().to_owned();
    let made = world.owner().await.post(&format!("/users/{id}/link"), json!({})).await.created();
    let link = made["url"].as_str().unwrap().split('#').nth(1).unwrap().to_owned();
    let fields = [("link", &*link), ("email", ""), ("password", NEW), ("repeated", NEW)];
    world.browser().post("/console/link", &fields).await;
    assert!(!browser.is_signed_in().await);
    let page = sign_in(&world.browser(), &planted, &Manner::default()).await.page(422);
    assert!(page.contains("The password of your account was changed."), "{page}");
    let own = world.browser();
    own.sign_in("bob@example.com", NEW).await.leads_to();
    assert_eq!(finish(&own, &planted, &Manner::default()).await.leads_to(), "/console");
    let again = world.browser();
    assert_eq!(sign_in(&again, &planted, &Manner::default()).await.leads_to(), "/console/account");
}

async fn wrong_passkeys_count_for_their_network_and_not_for_a_known_browser(world: World) {
    let known = world.signed_in().await;
    let (passkey, _) = enrol(&known).await;
    known.post("/console/sign-out", &[]).await.leads_to();
    let stranger = world.browser();
    for _ in 0..50 {
        assert_eq!(enter(&stranger, "{}").await.status, 422);
    }
    let held = sign_in(&stranger, &passkey, &Manner::default()).await;
    assert!(held.header("retry-after").is_some());
    assert!(held.page(429).contains("Too many failed sign-ins from your network."));
    // The network is the same for passwords, and nobody is delayed elsewhere.
    assert_eq!(stranger.sign_in(OWNER, PASSWORD).await.status, 429);
    let elsewhere = world.browser().from([198, 51, 100, 7]);
    sign_in(&elsewhere, &passkey, &Manner::default()).await.leads_to();
    sign_in(&known, &passkey, &Manner::default()).await.leads_to();
    assert!(known.is_signed_in().await);
    // Ten wrong ones end that a browser is known.
    for _ in 0..10 {
        assert_eq!(sign_in(&known, &passkey, &Manner::unverified()).await.status, 422);
    }
    assert_eq!(sign_in(&known, &passkey, &Manner::default()).await.status, 429);
}

async fn an_owner_removes_the_passkeys_of_another_person(world: World) {
    let bob = world.person("bob@example.com", "viewer").await;
    let (passkey, _) = enrol(&bob).await;
    let owner = world.owner().await;
    let id = owner.get("/users?q=bob").await.ok()["items"][0]["id"].as_str().unwrap().to_owned();
    owner.delete(&format!("/users/{id}/factors"), json!({"reason": "lost"})).await.ok();
    assert!(!bob.is_signed_in().await);
    assert_eq!(sign_in(&world.browser(), &passkey, &Manner::default()).await.status, 422);
    assert_eq!(world.number("SELECT COUNT(*) FROM factors").await, 0);
    assert_eq!(world.browser().sign_in("bob@example.com", PASSWORD).await.leads_to(), "/console");
}

async fn nothing_of_a_passkey_is_stored_as_it_was_sent(world: World) {
    let (passkey, _) = enrol(&world.signed_in().await).await;
    let is_postgres = matches!(world.location(), crossfade_store::Location::Postgres(_));
    let column = if is_postgres { "encode(sealed, 'hex')" } else { "lower(hex(sealed))" };
    let hex: String = "cred_id".bytes().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(world.number(&format!("SELECT COUNT(*) FROM factors WHERE {column} LIKE '%{hex}%'")).await, 0);
    // A passkey that is copied to another account opens nothing there.
    world.person("bob@example.com", "viewer").await;
    world.raw("UPDATE factors SET user_id = (SELECT id FROM users WHERE email = 'bob@example.com')").await;
    let answer = sign_in(&world.browser(), &passkey, &Manner::default()).await;
    assert_eq!(answer.status, 500);
    assert_eq!(world.number("SELECT COUNT(*) FROM sessions WHERE ended_at IS NULL").await, 2);
}

async fn a_policy_that_asks_for_a_second_factor_takes_a_passkey(world: World) {
    let here = world.signed_in().await;
    let (_, codes) = enrol(&here).await;
    assert_eq!(codes.len(), 10);
    let bob = world.person("bob@example.com", "viewer").await;
    world.owner().await.patch("/sign-in-policy", json!({"second_factor": "everyone"})).await.ok();
    assert_eq!(bob.get("/console/clients").await.leads_to(), "/console/account#factors-title");
    let (passkey, _) = enrol(&bob).await;
    assert_eq!(bob.get("/console/clients").await.status, 200);
    let page = bob.get("/console/account").await.page(200);
    let at = page.find("/console/account/factors/fac_").unwrap();
    let page = bob.post(page[at..].split('"').next().unwrap(), &[]).await.page(403);
    assert!(page.contains("this is the only one"), "{page}");
    sign_in(&world.browser(), &passkey, &Manner::default()).await.leads_to();
}

async fn without_a_host_name_and_https_no_passkey_is_offered(mut world: World) {
    let here = world.signed_in().await;
    let (passkey, codes) = enrol(&here).await;
    let asked = request(&world.browser(), "/console/sign-in/passkey/begin").await;
    for url in ["http://127.0.0.1:8080", "https://192.0.2.1", "http://auth.example.com"] {
        world.restart_under(url).await;
        let browser = world.browser();
        assert!(!browser.get("/console/sign-in").await.page(200).contains("pass-key"), "{url}");
        for path in ["/console/sign-in/passkey/begin", "/console/sign-in/passkey"] {
            let answer =
                browser.script(path, &[("passkey", &passkey.sign(&asked, &Manner::default()))]).await;
            assert_eq!(answer.status, 403, "{url} {path}");
            assert!(
                answer.text().contains("a host name and https. Nothing was changed."),
                "{}",
                answer.text()
            );
        }
        // It still counts: the password alone signs nobody in.
        assert!(browser.sign_in(OWNER, PASSWORD).await.leads_to().starts_with("/console/sign-in/code"));
        let page = browser.get("/console/sign-in/code").await.page(200);
        assert!(!page.contains("pass-key"), "{url}");
        assert_eq!(browser.script("/console/sign-in/code/passkey", &[]).await.status, 403);
        let code = &codes[url.len() % 10];
        browser.post("/console/sign-in/code", &[("code", code)]).await.leads_to();
        let page = browser.get("/console/account").await.page(200);
        assert!(page.contains("so none can be added here") && !page.contains("pass-key"), "{page}");
        for path in
            ["/console/account/passkeys/begin", "/console/account/passkeys", "/console/confirm/passkey"]
        {
            let fields = [("passkey", "{}"), ("name", "x")];
            assert_eq!(browser.script(path, &fields).await.status, 403, "{url} {path}");
        }
    }
    // On this machine without https, with the origin of its port.
    world.restart_under("http://localhost:8080").await;
    assert!(world.browser().get("/console/sign-in").await.page(200).contains("pass-key"));
    let asked = request(&world.browser(), "/console/sign-in/passkey/begin").await;
    assert_eq!(asked["options"]["publicKey"]["rpId"], "localhost");
}
