//! API tokens, what they are limited to, and the one-time links of Owners.

use crate::engines::on_both_engines;
use crate::world::{Answer, OWNER, Principal, World};
use crossfade_app::{NewToken, OneTimeLink, OwnerFactors};
use http::{Method, Request};
use serde_json::{Value, json};
use std::{collections::HashSet, sync::Arc, time::Duration};
use tokio::task::JoinSet;

on_both_engines! {
    in parallel:
    a_link_that_many_use_at_once_works_once,
}

on_both_engines! {
    only_one_valid_bearer_token_opens,
    a_limited_token_ends_itself_and_no_other,
    what_a_user_agent_holds_is_shown_cleaned_rule_18,
    a_use_that_is_not_flushed_yet_protects_the_newer_secret_rule_8,
    a_token_ends_at_its_time_and_not_before,
    a_deleted_token_opens_nothing_any_more,
    a_token_cannot_create_tokens,
    one_sees_one_s_own_tokens_and_an_owner_sees_all,
    a_limited_token_may_not_exceed_its_limit,
    a_token_holds_at_most_what_its_owner_holds,
    the_one_permission_that_an_operation_needs_is_enough,
    who_may_rotate_but_not_see_gets_no_value,
    who_manages_clients_but_may_not_see_gets_no_first_secret,
    the_set_up_link_creates_the_first_owner_once,
    links_that_are_wrong_ended_or_of_another_kind_open_nothing,
    a_set_up_link_makes_no_second_owner,
    a_locked_out_owner_sets_a_new_password_once,
    a_recovery_link_ends_after_a_day,
    the_page_behind_a_link_takes_a_form_and_nothing_else,
}

const DAY: Duration = Duration::from_secs(86_400);
const MICRO: Duration = Duration::from_micros(1);
const PASSWORD: &str = "a sentence that nobody guesses";

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is not a text"))
}

/// A request with exactly these `Authorization` headers.
async fn authorized(world: &World, headers: &[&str]) -> Answer {
    let mut request = Request::get("/api/v1/clients");
    for header in headers {
        request = request.header("authorization", *header);
    }
    world.send(request.body(String::new().into()).unwrap(), [192, 0, 2, 1].into()).await
}

/// Submits the page behind a one-time link.
async fn submit(world: &World, link: &str, email: &str, password: &str, repeated: &str) -> Answer {
    let form = [("link", link), ("email", email), ("password", password), ("repeated", repeated)];
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let request = Request::post("/console/link")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body.into())
        .unwrap();
    world.send(request, [192, 0, 2, 1].into()).await
}

/// Checks the status of a page, that it may do nothing and is kept by nobody, and that it repeats no link.
#[track_caller]
fn page(answer: &Answer, status: u16, link: &str) -> String {
    let html = String::from_utf8(answer.bytes.clone()).unwrap();
    assert_eq!(answer.status.as_u16(), status, "{html}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    assert!(answer.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
    assert!(link.is_empty() || !html.contains(link.rsplit('#').next().unwrap()), "{html}");
    html
}

/// The code at the end of a link.
fn code(link: &OneTimeLink) -> &str {
    link.url.rsplit('#').next().unwrap()
}

async fn only_one_valid_bearer_token_opens(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let good = world.owner().await.token.unwrap();
    let secret = &client.registration("production").secret;
    let mut typo = good.clone();
    typo.replace_range(20..21, if &good[20..21] == "a" { "b" } else { "a" });
    for scheme in ["Bearer", "bearer", "BEARER"] {
        assert_eq!(authorized(&world, &[&format!("{scheme} {good}")]).await.status.as_u16(), 200);
    }
    let bearer = format!("Bearer {good}");
    let cases: &[&[&str]] = &[
        &[],
        &[""],
        &["Bearer"],
        &["Bearer "],
        &[&good],
        &[&format!("Basic {good}")],
        &[&format!("Token {good}")],
        &[&format!("Bearer{good}")],
        &[&format!("Bearer {good}x")],
        &[&format!("Bearer {}", &good[..good.len() - 1])],
        &[&format!("Bearer {good},{good}")],
        &[&format!("Bearer {good} {good}")],
        &[&format!("Bearer {typo}")],
        &[&format!("Bearer {secret}")],
        &[&format!("Bearer {}", good.to_uppercase())],
        &[&format!("Bearer \"{good}\"")],
        &[&format!("Bearer {}", "x".repeat(20_000))],
        &[&bearer, &bearer],
        &[&bearer, "Basic eDp5"],
    ];
    for headers in cases {
        let answer = authorized(&world, headers).await;
        // RFC 6750 §3.1: an error is named where one token was sent, and it is the same one for every cause.
        let one_token = matches!(headers, [one] if one.starts_with("Bearer "));
        let challenge = if one_token { ", error=\"invalid_token\"" } else { "" };
        let challenge = format!("Bearer realm=\"crossfade\"{challenge}");
        assert_eq!(answer.header("www-authenticate"), Some(challenge.as_str()), "{headers:?}");
        answer.refused(401, "unauthenticated");
    }
    // Only the header counts: in a query or a form a token would stand in logs.
    let request =
        Request::get(format!("/api/v1/clients?access_token={good}")).body(String::new().into()).unwrap();
    world.send(request, [192, 0, 2, 1].into()).await.refused(401, "unauthenticated");
}

async fn a_limited_token_ends_itself_and_no_other(world: World) {
    let owner = world.owner().await;
    let reader = world.token_of(OWNER, &["client:read"]).await;
    let tokens = owner.get("/tokens?limit=200").await.ok();
    let id = |limited: bool| {
        let all = tokens["items"].as_array().unwrap();
        all.iter().find(|it| it["scope"].is_array() == limited).unwrap()["id"].as_str().unwrap().to_owned()
    };
    reader.delete(&format!("/tokens/{}", id(false)), json!({})).await.refused(403, "forbidden");
    owner.get("/clients").await.ok();
    assert_eq!(reader.delete(&format!("/tokens/{}", id(true)), json!({})).await.status.as_u16(), 204);
    reader.get("/clients").await.refused(401, "unauthenticated");
}

async fn what_a_user_agent_holds_is_shown_cleaned_rule_18(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let it = client.registration("production");
    for agent in [format!("x {}", it.secret), "a\u{9b}31mb\u{202e}c".to_owned()] {
        world
            .oauth("production")
            .from([192, 0, 2, 7], &agent)
            .token(&it.client_id, &it.secret)
            .await
            .is_token();
    }
    let usage = world.owner().await.get(&client.path("production", "/usage")).await.ok();
    assert!(!usage.to_string().contains(&it.secret));
    let agents: Vec<&str> =
        usage["items"].as_array().unwrap().iter().map(|it| it["user_agent"].as_str().unwrap()).collect();
    assert!(agents.contains(&"(withheld: it holds a secret)"), "{agents:?}");
    assert!(agents.contains(&"a\u{fffd}31mb\u{fffd}c"), "{agents:?}");
}

async fn a_use_that_is_not_flushed_yet_protects_the_newer_secret_rule_8(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let path = client.path("production", "/secrets/rotate");
    let reply = owner.post(&path, client.rotation(24)).await.created();
    let (client_id, new) = (&client.registration("production").client_id, &reply["secret"]["value"]);
    world.oauth("production").token(client_id, new.as_str().unwrap()).await.is_token();
    let rollback = format!("/rotations/{}/rollback", reply["rotation"]["id"].as_str().unwrap());
    let answer = owner.post(&client.path("production", &rollback), json!({"reason": "a caller fails"})).await;
    answer.refused(409, "newer_secret_in_use");
}

async fn a_token_ends_at_its_time_and_not_before(world: World) {
    world.owner().await;
    let new = NewToken {
        user: OWNER.to_owned(),
        name: "short".to_owned(),
        expires_days: Some(1),
        scope: vec![],
        only: None,
    };
    let token = world.app.create_token(&new).await.unwrap().reveal().to_owned();
    let principal = Principal { world: &world, token: Some(token) };
    let row = principal.get("/tokens").await.ok()["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["name"] == "short")
        .unwrap()
        .clone();
    assert_eq!(row["expires_at"], world.now().after(DAY).to_string());
    world.advance(DAY - MICRO);
    principal.get("/clients").await.ok();
    world.advance(MICRO);
    principal.get("/clients").await.refused(401, "unauthenticated");
    principal.post("/properties", json!({"name": "x"})).await.refused(401, "unauthenticated");
}

async fn a_deleted_token_opens_nothing_any_more(mut world: World) {
    let owner = world.owner().await;
    let other = world.owner().await;
    owner.get("/clients").await.ok();
    let tokens = owner.get("/tokens").await.ok();
    assert!(
        !tokens.to_string().contains(owner.token.as_ref().unwrap().rsplit('_').next().unwrap()),
        "a list holds no value"
    );
    let ids: Vec<String> =
        tokens["items"].as_array().unwrap().iter().map(|it| text(&it["id"]).to_owned()).collect();
    for id in &ids {
        // The last one ends itself.
        let ends = if other.get("/clients").await.status.as_u16() == 200 { &other } else { &owner };
        let answer = ends.delete(&format!("/tokens/{id}"), json!({})).await;
        assert_eq!(answer.status.as_u16(), 204, "{}", String::from_utf8_lossy(&answer.bytes));
    }
    let values = [owner.token.clone(), other.token.clone()];
    for round in ["running", "restarted"] {
        for token in &values {
            let principal = Principal { world: &world, token: token.clone() };
            let refused = principal.get("/clients").await.refused(401, "unauthenticated");
            assert_eq!(refused["code"], "unauthenticated", "{round}");
        }
        world.restart().await;
    }
}

async fn a_token_cannot_create_tokens(world: World) {
    let owner = world.owner().await;
    owner.post("/tokens", json!({"name": "more"})).await.refused(405, "method_not_allowed");
}

async fn one_sees_one_s_own_tokens_and_an_owner_sees_all(world: World) {
    let owner = world.owner().await;
    let bob = world.user("bob@example.com", "secret_rotator").await;
    let names = async |principal: &Principal<'_>| {
        principal.get("/tokens").await.ok()["items"].as_array().unwrap().clone()
    };
    let (all, bobs) = (names(&owner).await, names(&bob).await);
    assert_eq!((all.len(), bobs.len()), (2, 1));
    let owners = all.iter().find(|token| token["id"] != bobs[0]["id"]).unwrap();
    bob.delete(&format!("/tokens/{}", text(&owners["id"])), json!({})).await.refused(404, "not_found");
    assert_eq!(
        owner.delete(&format!("/tokens/{}", text(&bobs[0]["id"])), json!({})).await.status.as_u16(),
        204
    );
    bob.get("/clients").await.refused(401, "unauthenticated");
}

async fn a_limited_token_may_not_exceed_its_limit(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let rotated =
        owner.post(&client.path("production", "/secrets/rotate"), client.rotation(24)).await.created();
    let secret = &client.registration("production").secret_id;
    let later = world.now().after(DAY * 2).to_string();
    let part = |rest: &str| client.path("production", rest);
    let calls = [
        ("property:manage", Method::POST, "/properties".to_owned(), json!({"name": "x"})),
        ("client:manage", Method::PATCH, format!("/clients/{}", client.id), json!({"name": "x"})),
        ("client:manage", Method::POST, "/clients".to_owned(), json!({})),
        (
            "client:manage",
            Method::DELETE,
            format!("/clients/{}", client.id),
            json!({"confirm_client_name": "Billing", "reason": "x"}),
        ),
        (
            "client:manage",
            Method::PATCH,
            part(""),
            json!({"enabled": false, "confirm_client_name": "Billing"}),
        ),
        (
            "environment:manage",
            Method::PATCH,
            "/environments/production".to_owned(),
            json!({"show_once": true}),
        ),
        (
            "environment:manage",
            Method::POST,
            "/environments/production/signing-keys/rotate".to_owned(),
            json!({}),
        ),
        ("secret:rotate", Method::POST, part("/secrets/rotate"), client.rotation(0)),
        ("secret:reveal", Method::POST, part(&format!("/secrets/{secret}/reveal")), json!({})),
        ("secret:revoke", Method::POST, part(&format!("/secrets/{secret}/revoke")), json!({"reason": "x"})),
        (
            "secret:extend",
            Method::POST,
            part(&format!("/secrets/{secret}/extend")),
            json!({"reason": "x", "expires_at": later}),
        ),
        (
            "secret:rollback",
            Method::POST,
            part(&format!("/rotations/{}/rollback", text(&rotated["rotation"]["id"]))),
            json!({"reason": "x"}),
        ),
        ("audit:read", Method::GET, "/audit-events".to_owned(), json!({})),
    ];
    let reader = world.token_of(OWNER, &["client:read"]).await;
    for (permission, method, path, body) in &calls {
        let body = (*method != Method::GET).then(|| body.to_string());
        let problem = reader.call(method.clone(), path, body, &[]).await.refused(403, "forbidden");
        assert_eq!(problem["permission"], *permission, "{method} {path}");
    }
    reader.get(&part("/secrets")).await.ok();
    // What a token is limited to does not include what it needs to be found out about.
    let auditor = world.token_of(OWNER, &["audit:read"]).await;
    auditor.get("/audit-events").await.ok();
    auditor.get(&part("/secrets")).await.refused(404, "not_found");
    assert!(auditor.get("/clients").await.ok()["items"].as_array().unwrap().is_empty());
    let states = owner.get(&part("/secrets")).await.ok();
    assert_eq!(
        (text(&states["items"][0]["state"]), text(&states["items"][1]["state"])),
        ("current", "retiring")
    );
}

async fn a_token_holds_at_most_what_its_owner_holds(world: World) {
    let client = world.client("Billing", &["production"]).await;
    world.user("viewer@example.com", "viewer").await;
    let greedy = world
        .token_of(
            "viewer@example.com",
            &["client:read", "secret:rotate", "secret:reveal", "audit:read", "client:manage"],
        )
        .await;
    greedy.get(&client.path("production", "/secrets")).await.ok();
    greedy
        .post(&client.path("production", "/secrets/rotate"), client.rotation(0))
        .await
        .refused(403, "forbidden");
    greedy.get("/audit-events").await.refused(403, "forbidden");
    // A permission taken away is gone at the next request.
    world.raw("DELETE FROM grants WHERE role = 'viewer'").await;
    greedy.get(&client.path("production", "/secrets")).await.refused(404, "not_found");
}

async fn the_one_permission_that_an_operation_needs_is_enough(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let rotator = world.token_of(OWNER, &["secret:rotate"]).await;
    let reply =
        rotator.post(&client.path("production", "/secrets/rotate"), client.rotation(24)).await.created();
    assert_eq!(reply["secret"].get("value"), None);
    rotator.get(&client.path("production", "/secrets")).await.refused(404, "not_found");
}

async fn who_may_rotate_but_not_see_gets_no_value(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let rotator = world.token_of(OWNER, &["secret:rotate", "client:read"]).await;
    let path = client.path("production", "/secrets/rotate");
    let reply = rotator.post(&path, client.rotation(24)).await.created();
    assert_eq!(reply["secret"].get("value"), None);
    let id = text(&reply["secret"]["id"]);
    rotator
        .post(&client.path("production", &format!("/secrets/{id}/reveal")), json!({}))
        .await
        .refused(403, "forbidden");
    let value =
        owner.post(&client.path("production", &format!("/secrets/{id}/reveal")), json!({})).await.ok();
    world
        .oauth("production")
        .token(&client.registration("production").client_id, text(&value["value"]))
        .await
        .is_token();

    let body = client.rotation(0).to_string();
    let keyed = [("idempotency-key", "k")];
    let again = rotator
        .call(Method::POST, &path, Some(body.replace('}', ",\"end_running_transition\":true}")), &keyed)
        .await
        .created();
    assert_eq!(again["secret"].get("value"), None);
    let replay = rotator
        .call(Method::POST, &path, Some(body.replace('}', ",\"end_running_transition\":true}")), &keyed)
        .await
        .created();
    assert_eq!((replay["secret"].get("value"), &replay["secret"]["id"]), (None, &again["secret"]["id"]));
}

async fn who_manages_clients_but_may_not_see_gets_no_first_secret(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let manager = world.user("manager@example.com", "application_manager").await;
    let property = owner.get(&format!("/clients/{}", client.id)).await.ok()["property_id"].clone();
    let body = json!({"name": "Second", "property_id": property, "environments": ["staging", "production"]});
    let created = manager.post("/clients", body).await.created();
    for registration in created["registrations"].as_array().unwrap() {
        assert_eq!(registration.get("secret"), None);
    }
    let added = manager
        .post(
            &format!("/clients/{}/environments", text(&created["id"])),
            json!({"environment": "development"}),
        )
        .await
        .created();
    assert_eq!(added.get("secret"), None);
    let whole = format!("{created}{added}");
    assert!(!whole.contains("crossfade_"), "{whole}");
}

async fn the_set_up_link_creates_the_first_owner_once(world: World) {
    let link = world.app.create_set_up_link().await.unwrap();
    assert_eq!(link.expires_at, world.now().after(DAY));
    let (at, code) = (link.url.as_str(), code(&link));
    assert!(at.starts_with("https://auth.example.com/console/link#crossfade_link_"), "{at}");
    // What is not taken uses nothing up.
    for (email, password, repeated) in [
        ("ada@example.com", "too short", "too short"),
        ("ada@example.com", "fourteen chars", "fourteen chars"),
        ("ada@example.com", PASSWORD, "another sentence altogether"),
        ("ada", PASSWORD, PASSWORD),
        ("", PASSWORD, PASSWORD),
        ("ada@example.com", "", ""),
    ] {
        let html = page(&submit(&world, at, email, password, repeated).await, 422, at);
        assert!(html.contains("role=\"alert\"") && !html.contains(PASSWORD), "{html}");
    }
    assert!(!world.app.has_owner().await.unwrap());
    let shortest = "fifteen letters";
    page(&submit(&world, &format!(" {at} "), "Ada@Example.com", shortest, shortest).await, 303, at);
    assert!(world.app.has_owner().await.unwrap());
    let ada = world.token_of("ada@example.com", &[]).await;
    ada.get("/audit-events").await.ok();
    for again in [at, code] {
        page(&submit(&world, again, "eve@example.com", PASSWORD, PASSWORD).await, 410, at);
    }
    assert_eq!(world.number("SELECT COUNT(*) FROM users").await, 1);
    let trail = ada.get("/audit-events").await.ok().to_string();
    assert!(
        trail.contains("owner.created")
            && !trail.contains(&code["crossfade_link_".len()..])
            && !trail.contains(PASSWORD)
            && !trail.contains(shortest)
    );
}

async fn links_that_are_wrong_ended_or_of_another_kind_open_nothing(world: World) {
    let link = world.app.create_set_up_link().await.unwrap();
    let value = code(&link);
    let mut typo = value.to_owned();
    typo.replace_range(20..21, if &value[20..21] == "a" { "b" } else { "a" });
    let shown = submit(&world, "", "ada@example.com", PASSWORD, PASSWORD).await;
    let expected = page(&shown, 410, "");
    let long = "x".repeat(10_000);
    for wrong in [
        "x",
        "#",
        &typo,
        &value[..value.len() - 1],
        &value.to_uppercase(),
        "crossfade_link_",
        "<script>alert(1)</script>",
        "' OR 1=1",
        "\u{0}",
        &long,
    ] {
        let html = page(&submit(&world, wrong, "ada@example.com", PASSWORD, PASSWORD).await, 410, "");
        assert_eq!(html, expected, "{wrong:?} tells nothing more, and is not repeated");
    }
    world.advance(DAY - MICRO);
    let later = world.app.create_set_up_link().await.unwrap();
    page(&submit(&world, value, "ada@example.com", PASSWORD, PASSWORD).await, 410, value);
    world.advance(DAY);
    page(&submit(&world, code(&later), "ada@example.com", PASSWORD, PASSWORD).await, 410, &later.url);
    assert!(!world.app.has_owner().await.unwrap());
    let last = world.app.create_set_up_link().await.unwrap();
    world.advance(DAY - MICRO);
    page(&submit(&world, code(&last), "ada@example.com", PASSWORD, PASSWORD).await, 303, &last.url);
}

async fn a_set_up_link_makes_no_second_owner(world: World) {
    let link = world.app.create_set_up_link().await.unwrap();
    world.app.create_owner(OWNER, PASSWORD).await.unwrap();
    let answer = submit(&world, code(&link), "eve@example.com", PASSWORD, PASSWORD).await;
    assert!([409, 410].contains(&answer.status.as_u16()), "{}", answer.status);
    page(&answer, answer.status.as_u16(), &link.url);
    assert_eq!(world.number("SELECT COUNT(*) FROM users").await, 1);
    assert!(world.app.create_owner("eve@example.com", PASSWORD).await.is_err());
}

async fn a_locked_out_owner_sets_a_new_password_once(world: World) {
    let owner = world.owner().await;
    world.user("bob@example.com", "secret_rotator").await;
    for unknown in ["nobody@example.com", "bob@example.com", "x"] {
        assert!(world.app.recover_owner(unknown, OwnerFactors::Keep).await.is_err(), "{unknown}");
    }
    let link = world.app.recover_owner(" Owner@Example.com ", OwnerFactors::Keep).await.unwrap();
    world.raw("UPDATE users SET password_hash = 'before' WHERE email = 'owner@example.com'").await;
    page(&submit(&world, code(&link), "", "too short", "too short").await, 422, &link.url);
    // A recovery link knows whose it is, whatever stands in the form.
    page(&submit(&world, code(&link), "bob@example.com", PASSWORD, PASSWORD).await, 303, &link.url);
    let hashed = "SELECT COUNT(*) FROM users WHERE password_hash LIKE '$argon2id$v=19$%' AND email = ";
    assert_eq!(world.number(&format!("{hashed}'owner@example.com'")).await, 1);
    assert_eq!(world.number(&format!("{hashed}'bob@example.com'")).await, 0);
    page(&submit(&world, code(&link), "", PASSWORD, PASSWORD).await, 410, &link.url);
    owner.get("/clients").await.refused(401, "unauthenticated");
    let owner = world.owner().await;
    let events = owner.get("/audit-events?limit=5").await.ok();
    let actions: Vec<_> =
        events["items"].as_array().unwrap().iter().map(|event| text(&event["action"])).collect();
    assert_eq!(
        actions,
        ["token.created", "session.created", "user.activated", "token.deleted", "owner.recovered"]
    );
    assert_eq!(
        (&events["items"][4]["actor"]["kind"], &events["items"][4]["target"]),
        (&json!("machine"), &events["items"][2]["target"])
    );
    let whole = owner.get("/audit-events?limit=200").await.ok().to_string();
    assert!(!whole.contains(&code(&link)["crossfade_link_".len()..]) && !whole.contains("argon2"));
    owner.get("/clients").await.ok();
}

async fn a_recovery_link_ends_after_a_day(world: World) {
    world.owner().await;
    let link = world.app.recover_owner(OWNER, OwnerFactors::Keep).await.unwrap();
    assert_eq!(link.expires_at, world.now().after(DAY));
    world.advance(DAY);
    page(&submit(&world, code(&link), "", PASSWORD, PASSWORD).await, 410, &link.url);
}

async fn the_page_behind_a_link_takes_a_form_and_nothing_else(world: World) {
    let shown = world
        .send(Request::get("/console/link").body(String::new().into()).unwrap(), [192, 0, 2, 1].into())
        .await;
    let html = page(&shown, 200, "");
    assert!(html.contains("<form method=\"post\" action=\"/console/link\">"));
    for (content_type, body) in [
        ("application/json", "{}"),
        ("application/x-www-form-urlencoded", "link=x"),
        ("application/x-www-form-urlencoded", ""),
        ("text/plain", "link=x&password=y&repeated=y"),
    ] {
        let request = Request::post("/console/link")
            .header("content-type", content_type)
            .body(body.to_owned().into())
            .unwrap();
        page(&world.send(request, [192, 0, 2, 1].into()).await, 422, "");
    }
    let request = Request::put("/console/link").body(String::new().into()).unwrap();
    assert_eq!(world.send(request, [192, 0, 2, 1].into()).await.status.as_u16(), 405);
}

/// Many people at once use what must work once.
async fn a_link_that_many_use_at_once_works_once(world: World) {
    let world = Arc::new(world);
    let link = world.app.create_set_up_link().await.unwrap();
    let mut tasks = JoinSet::new();
    for number in 0..6 {
        let (world, link) = (world.clone(), link.url.clone());
        tasks.spawn(async move {
            submit(&world, &link, &format!("ada{number}@example.com"), PASSWORD, PASSWORD)
                .await
                .status
                .as_u16()
        });
    }
    let mut statuses = tasks.join_all().await;
    statuses.sort_unstable();
    assert_eq!(
        (statuses[0], statuses.iter().filter(|status| **status == 303).count()),
        (303, 1),
        "{statuses:?}"
    );
    assert_eq!(statuses[1..].iter().collect::<HashSet<_>>(), HashSet::from([&410]));
    assert_eq!(world.number("SELECT COUNT(*) FROM users").await, 1);
}
