//! A command line is signed in by the person who approves it, and by the program that asked, alone.

use super::browser::Browser;
use crate::engines::on_both_engines;
use crate::world::{Answer, OWNER, World};
use crossfade_app::code_challenge;
use http::Method;
use serde_json::{Value, json};
use std::time::Duration;

on_both_engines! {
    an_approved_command_line_gets_a_limited_token_once,
    a_code_without_its_verifier_ends,
    a_code_ends_after_five_minutes_and_with_its_session,
    a_newer_code_replaces_the_older,
    an_address_that_the_command_did_not_make_is_refused,
    a_code_of_the_browser_goes_to_the_own_machine,
    a_code_is_no_link_and_a_link_is_no_code,
    a_token_of_the_command_line_has_an_end,
    what_is_sent_for_a_code_is_refused_with_a_reason,
}

const PAGE: &str = "/console/command-line";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

/// Approves a command line with this verifier; the answer.
async fn approve(browser: &Browser<'_>, verifier: &str, more: &[(&str, &str)]) -> Answer {
    let challenge = code_challenge(verifier);
    let mut fields = vec![("challenge", challenge.as_str()), ("name", "laptop"), ("expires_days", "30")];
    for (name, value) in more {
        fields.retain(|(it, _)| it != name);
        fields.push((name, value));
    }
    browser.post(PAGE, &fields).await
}

/// The code that a page shows.
fn shown_code(answer: &Answer) -> String {
    let page = answer.page(200);
    let code = page.split("<pre id=\"login-code\" tabindex=\"0\">").nth(1).expect("a code");
    code.split('<').next().unwrap().to_owned()
}

async fn code(browser: &Browser<'_>, verifier: &str) -> String {
    shown_code(&approve(browser, verifier, &[]).await)
}

/// What the program sends: no cookie and no origin.
async fn redeem(world: &World, code: &str, verifier: &str) -> Answer {
    send(world, &json!({"code": code, "verifier": verifier}).to_string(), "application/json").await
}

async fn send(world: &World, body: &str, kind: &str) -> Answer {
    let program = world.browser().from([192, 0, 2, 77]);
    let headers = [("content-type", kind), ("accept", "application/json")];
    program.send(Method::POST, "/console/command-line/token", Some(body.to_owned()), &headers).await
}

/// Checks that nothing was given for a code.
#[track_caller]
fn refused(answer: &Answer, status: u16, code: &str) {
    let json = answer.json();
    assert_eq!((answer.status.as_u16(), json["code"].as_str()), (status, Some(code)), "{json}");
    assert!(json["detail"].as_str().unwrap().contains("Nothing was changed."), "{json}");
}

async fn tokens(world: &World) -> i64 {
    world.number("SELECT COUNT(*) FROM api_tokens WHERE name = 'laptop' AND deleted_at IS NULL").await
}

async fn an_approved_command_line_gets_a_limited_token_once(world: World) {
    let browser = world.signed_in().await;
    let asked =
        format!("{PAGE}?challenge={}&name=laptop&scope=client:read", code_challenge(VERIFIER).as_str());
    let page = browser.get(&asked).await.page(200);
    assert!(page.contains("value=\"client:read\" checked") && page.contains("value=\"laptop\""), "{page}");
    let approved = approve(&browser, VERIFIER, &[("scope", "client:read"), ("expires_days", "7")]).await;
    assert!(approved.header("refresh").is_none());
    let code = shown_code(&approved);
    assert_eq!(tokens(&world).await, 0, "a token exists when somebody has its value");
    let redeemed = redeem(&world, &code.to_lowercase().replace('-', " "), VERIFIER).await.ok();
    let (value, token) = (redeemed["value"].as_str().unwrap(), &redeemed["token"]);
    assert_eq!((&token["name"], &token["user_email"]), (&json!("laptop"), &json!(OWNER)));
    assert_eq!(token["expires_at"], json!(world.now().after(Duration::from_secs(7 * 86_400))));
    refused(&redeem(&world, &code, VERIFIER).await, 404, "not_found");
    let laptop = world.with_token(value);
    let me = laptop.get("/me").await.ok();
    assert_eq!((&me["scope"], &me["token_id"]), (&json!(["client:read"]), &token["id"]));
    laptop.get("/users").await.refused(403, "forbidden");
    let events = world.owner().await.get("/audit-events?action=token.created").await.ok();
    let event = events["items"].as_array().unwrap().iter().find(|it| it["target"] == token["id"]).unwrap();
    assert_eq!(
        (&event["via"]["kind"], &event["source_ip"]),
        (&json!("session"), &json!("192.0.2.77")),
        "{event}"
    );
}

async fn a_code_without_its_verifier_ends(world: World) {
    let browser = world.signed_in().await;
    let code = code(&browser, VERIFIER).await;
    refused(&redeem(&world, &code, "someone else").await, 404, "not_found");
    refused(&redeem(&world, &code, VERIFIER).await, 404, "not_found");
    assert_eq!(tokens(&world).await, 0);
}

async fn a_code_ends_after_five_minutes_and_with_its_session(world: World) {
    let browser = world.signed_in().await;
    let late = code(&browser, VERIFIER).await;
    world.advance(Duration::from_secs(300));
    refused(&redeem(&world, &late, VERIFIER).await, 404, "not_found");
    let in_time = code(&browser, VERIFIER).await;
    world.advance(Duration::from_secs(300) - Duration::from_micros(1));
    redeem(&world, &in_time, VERIFIER).await.ok();
    // A fresh session, in which a stolen cookie approves a command line; the person signs out everywhere.
    let (thief, victim) = (world.signed_in_as(OWNER).await, world.signed_in_as(OWNER).await);
    let stolen = code(&thief, VERIFIER).await;
    victim.post("/console/account/sessions/end", &[]).await;
    refused(&redeem(&world, &stolen, VERIFIER).await, 404, "not_found");
    let bob = world.person("bob@example.com", "viewer").await;
    let leaving = code(&bob, VERIFIER).await;
    let owner = world.owner().await;
    let found = owner.get("/users?q=bob").await.ok();
    let path = format!("/users/{}", found["items"][0]["id"].as_str().unwrap());
    assert_eq!(owner.delete(&path, json!({})).await.status.as_u16(), 204);
    refused(&redeem(&world, &leaving, VERIFIER).await, 404, "not_found");
    assert_eq!(tokens(&world).await, 1);
}

async fn a_newer_code_replaces_the_older(world: World) {
    let browser = world.signed_in().await;
    let (older, newer) = (code(&browser, VERIFIER).await, code(&browser, VERIFIER).await);
    refused(&redeem(&world, &older, VERIFIER).await, 404, "not_found");
    redeem(&world, &newer, VERIFIER).await.ok();
}

async fn an_address_that_the_command_did_not_make_is_refused(world: World) {
    let browser = world.signed_in().await;
    let challenge = code_challenge(VERIFIER);
    for query in [
        String::new(),
        "challenge=short".to_owned(),
        format!("challenge={}&port=49152", challenge.as_str()),
        format!("challenge={}&port=80&state=abcdefghijklmnop", challenge.as_str()),
        format!("challenge={}&port=evil.example&state=abcdefghijklmnop", challenge.as_str()),
    ] {
        let page = browser.get(&format!("{PAGE}?{query}")).await.page(422);
        assert!(page.contains("Run crossfade login again."), "{query}: {page}");
    }
    for more in [("challenge", "short"), ("port", "49152")] {
        approve(&browser, VERIFIER, &[more]).await.page(422);
    }
    assert_eq!(world.number("SELECT COUNT(*) FROM logins").await, 0);
    let signed_out = world.browser().get(&format!("{PAGE}?challenge={}", challenge.as_str())).await;
    assert!(signed_out.leads_to().starts_with("/console/sign-in?to=%2Fconsole%2Fcommand-line%3Fchallenge"));
}

async fn a_code_of_the_browser_goes_to_the_own_machine(world: World) {
    let browser = world.signed_in().await;
    let approved = approve(&browser, VERIFIER, &[("port", "49152"), ("state", "abcdefghijklmnop")]).await;
    approved.page(200);
    let address = approved.header("refresh").unwrap().strip_prefix("0; url=").unwrap().to_owned();
    let code = address.strip_prefix("http://127.0.0.1:49152/?code=").unwrap();
    let (code, state) = code.split_once("&state=").unwrap();
    assert_eq!(state, "abcdefghijklmnop");
    redeem(&world, code, VERIFIER).await.ok();
}

async fn a_code_is_no_link_and_a_link_is_no_code(world: World) {
    let browser = world.signed_in().await;
    let code = code(&browser, VERIFIER).await;
    let password = "a sentence that nobody guesses";
    let form = [("link", &*code), ("email", ""), ("password", password), ("repeated", password)];
    world.browser().post("/console/link", &form).await.page(410);
    let created = world.owner().await.post("/users", json!({"email": "grace@example.com"})).await.created();
    let link = created["activation_link"]["url"].as_str().unwrap().rsplit('#').next().unwrap().to_owned();
    refused(&redeem(&world, &link, VERIFIER).await, 404, "not_found");
    redeem(&world, &code, VERIFIER).await.ok();
}

async fn a_token_of_the_command_line_has_an_end(world: World) {
    let browser = world.signed_in().await;
    for (field, value, says) in [
        ("expires_days", "0", "1 to 90"),
        ("expires_days", "91", "1 to 90"),
        ("expires_days", "", "1 to 90"),
        ("name", "", "Name"),
        ("scope", "everything", "not a permission"),
    ] {
        let page = approve(&browser, VERIFIER, &[(field, value)]).await.page(422);
        assert!(page.contains(says) && page.contains("Approve command line"), "{field}: {page}");
    }
    assert_eq!(world.number("SELECT COUNT(*) FROM logins").await, 0);
}

async fn what_is_sent_for_a_code_is_refused_with_a_reason(world: World) {
    let good: Value = json!({"code": "2345-6789-BCDF", "verifier": VERIFIER});
    refused(&send(&world, &good.to_string(), "application/json").await, 404, "not_found");
    refused(&send(&world, &good.to_string(), "text/plain").await, 400, "invalid_json");
    for body in
        ["", "{", "[]", "{\"code\":1,\"verifier\":\"x\"}", "{\"code\":\"x\",\"verifier\":\"x\",\"more\":1}"]
    {
        refused(&send(&world, body, "application/json").await, 400, "invalid_json");
    }
    let long = json!({"code": "x".repeat(70_000), "verifier": ""}).to_string();
    refused(&send(&world, &long, "application/json").await, 413, "body_too_large");
}
