//! Requests of clients that are not registered: refused, or passed on to the issuer as they are.

use super::{Front, GIVEN, front, issuer::Issuer, issuer::TOKEN, set_upstream, text};
use crate::{
    engines::on_both_engines,
    world::{Answer, World},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use http::Method;
use serde_json::json;

on_both_engines! {
    an_unregistered_client_is_refused_unless_its_environment_passes_it,
    a_passed_request_reaches_the_issuer_byte_for_byte,
    a_name_that_was_ever_registered_is_never_passed,
    a_request_that_names_two_clients_is_refused,
    a_secret_of_ours_is_not_passed_under_another_name,
    a_preflight_is_answered_by_the_issuer_only_while_clients_pass,
    strangers_take_no_place_of_a_registered_client,
    only_owners_let_unregistered_clients_pass,
}

pub(super) const FORM: &str = "grant_type=client_credentials";
const URLENCODED: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

pub(super) async fn set(world: &World, unregistered: &str) {
    let body = json!({"unregistered_clients": unregistered});
    let shown = world.owner().await.patch("/environments/staging", body).await.ok();
    assert_eq!(shown["unregistered_clients"], unregistered);
}

impl Front<'_> {
    async fn send(&self, form: &str, headers: &[(&str, &str)]) -> Answer {
        let all: Vec<_> = [URLENCODED].into_iter().chain(headers.iter().copied()).collect();
        let oauth = self.world.oauth("staging");
        oauth.raw(Method::POST, "token", form.as_bytes().to_vec(), &all).await
    }

    async fn basic(&self, credentials: &str, form: &str) -> Answer {
        let basic = format!("Basic {}", STANDARD.encode(credentials));
        self.send(form, &[("authorization", &basic)]).await
    }
}

pub(super) fn assertion(claims: &str) -> String {
    let kind = "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
    let claims = URL_SAFE_NO_PAD.encode(claims);
    format!("{FORM}&client_assertion_type={kind}&client_assertion=e30.{claims}.AA")
}

async fn an_unregistered_client_is_refused_unless_its_environment_passes_it(mut world: World) {
    let issuer = Issuer::start("upstream1").await;
    let front = front(&mut world, &issuer).await;
    let shown = front.world.owner().await.get("/environments/staging").await.ok();
    assert_eq!(shown["unregistered_clients"], "refuse");
    front.basic("other:upstream1", FORM).await.is_invalid_client();
    front.send("grant_type=authorization_code&client_id=spa&code=c", &[]).await.is_invalid_client();
    assert!(issuer.take().is_empty());
    set(front.world, "pass").await;
    front.basic("other:upstream1", FORM).await.is_token();
    // What the issuer refuses, it refuses itself.
    let refused = front.basic("other:wrong", FORM).await;
    assert_eq!(refused.expect(401)["error"], "invalid_client");
    front.send("grant_type=authorization_code&client_id=spa&code=c", &[]).await.expect(401);
    front.send(FORM, &[]).await.expect(401);
    assert_eq!(issuer.take().len(), 4);
    // Registered clients are authenticated here, as before.
    front.token(&front.secret).await.is_token();
    front.token("upstream1").await.is_invalid_client();
    assert_eq!(issuer.take().len(), 1);
    let metrics = super::metrics(front.world).await;
    for line in ["passed\"} 4", "answered\"} 1"] {
        let line = format!("crossfade_upstream_requests_total{{outcome=\"{line}");
        assert!(metrics.contains(&line), "{metrics}");
    }
    set(front.world, "refuse").await;
    front.basic("other:upstream1", FORM).await.is_invalid_client();
    assert!(issuer.take().is_empty());
}

async fn a_passed_request_reaches_the_issuer_byte_for_byte(mut world: World) {
    let issuer = Issuer::start("upstream1").await;
    let front = front(&mut world, &issuer).await;
    set(front.world, "pass").await;
    let form = "a=%7e%7E~+%20&b&=c&&d=&resource=x&resource=y&client_id=other&client_secret=upstream1";
    let headers = [
        ("cookie", "canary"),
        ("x-forwarded-for", "canary"),
        ("origin", "https://app.example.com"),
        ("user-agent", "app/1"),
    ];
    let answer = front.send(form, &headers).await;
    assert_eq!(answer.header("set-cookie"), None);
    assert_eq!(answer.bytes, TOKEN.as_bytes());
    let seen = issuer.take();
    assert!(seen[0].starts_with("POST /token HTTP/1.1\r\n"), "{seen:?}");
    assert!(seen[0].ends_with(&format!("\r\n\r\n{form}")), "{seen:?}");
    for line in ["origin: https://app.example.com\r\n", "user-agent: app/1\r\n", "via: 1.1 crossfade-"] {
        assert!(seen[0].contains(line), "{line}: {seen:?}");
    }
    assert!(!seen[0].contains("canary") && !seen[0].contains("authorization"), "{seen:?}");
    let basic = format!("Basic {}", STANDARD.encode("a+b%2Bc:upstream1"));
    front.send(FORM, &[("authorization", &basic)]).await.is_token();
    assert!(issuer.take()[0].contains(&format!("authorization: {basic}\r\n")));
    // A request that comes back is not passed on again.
    let via = seen[0].lines().find_map(|line| line.strip_prefix("via: ")).unwrap();
    front.send(form, &[("via", via)]).await.expect(508);
    let query = front.world.oauth("staging").raw(Method::POST, "token?a=b", form.into(), &[URLENCODED]).await;
    query.expect(400);
    assert_eq!(front.send(&format!("a={}", "x".repeat(256 * 1024)), &[]).await.status.as_u16(), 413);
    front.send(FORM, &[("content-encoding", "gzip")]).await.expect(400);
    assert!(issuer.take().is_empty());
}

async fn a_name_that_was_ever_registered_is_never_passed(mut world: World) {
    let issuer = Issuer::start("upstream1").await;
    let front = front(&mut world, &issuer).await;
    set(front.world, "pass").await;
    let jwt = |claims: serde_json::Value| assertion(&claims.to_string());
    let attempts = async || {
        front.basic("billing+app:upstream1", FORM).await.is_invalid_client();
        front.basic("billing app:upstream1", FORM).await.is_invalid_client();
        front.basic("billing%20app:upstream1", FORM).await.is_invalid_client();
        front.basic("Billing App:upstream1", FORM).await.is_invalid_client();
        for form in [
            format!("{FORM}&client_id=billing+app&client_secret=upstream1"),
            format!("{FORM}&client_id=BILLING%20APP%20&client_secret=upstream1"),
            format!("{FORM}&client_id=billing%20app"),
            jwt(json!({"iss": GIVEN, "sub": GIVEN})),
            format!("{}&client_id=other", jwt(json!({"iss": "https://k8s", "sub": GIVEN}))),
        ] {
            front.send(&form, &[]).await.is_invalid_client();
        }
        // Whatever else it says.
        let other = front.basic("other:upstream1", &format!("{FORM}&client_id=billing+app")).await;
        assert_eq!(other.expect(400)["error"], "invalid_request");
    };
    attempts().await;
    let owner = front.world.owner().await;
    let disable = json!({"enabled": false, "confirm_client_name": front.client.name});
    owner.patch(&front.client.path("staging", ""), disable).await.ok();
    attempts().await;
    let deletion = json!({"confirm_client_name": front.client.name, "reason": "x"});
    let path = format!("/clients/{}", front.client.id);
    assert_eq!(owner.delete(&path, deletion).await.status.as_u16(), 200);
    attempts().await;
    assert!(issuer.take().is_empty());
    // Also after a start, and if the row cannot be read.
    world.restart_with_poster(super::here()).await;
    let again = |name: &str| {
        let basic = format!("Basic {}", STANDARD.encode(format!("{name}:upstream1")));
        let (world, form) = (&world, FORM.as_bytes().to_vec());
        async move {
            let headers = [URLENCODED, ("authorization", &basic)];
            world.oauth("staging").raw(Method::POST, "token", form, &headers).await
        }
    };
    again("billing+app").await.is_invalid_client();
    assert!(issuer.take().is_empty());
    again("other").await.is_token();
    world.raw("UPDATE registrations SET access_token_ttl_seconds = -1").await;
    world.restart_with_poster(super::here()).await;
    let basic = format!("Basic {}", STANDARD.encode("billing+app:upstream1"));
    let headers = [URLENCODED, ("authorization", basic.as_str())];
    let answer = world.oauth("staging").raw(Method::POST, "token", FORM.into(), &headers).await;
    answer.is_invalid_client();
    assert_eq!(issuer.take().len(), 1);
}

async fn a_request_that_names_two_clients_is_refused(mut world: World) {
    let issuer = Issuer::start("upstream1").await;
    let front = front(&mut world, &issuer).await;
    set(front.world, "pass").await;
    let own = json!({"iss": "other", "sub": "other"}).to_string();
    let two = [
        front.basic("one:upstream1", &format!("{FORM}&client_id=other")).await,
        front.send(&format!("{}&client_id=one", assertion(&own)), &[]).await,
        front.send(&format!("{FORM}&client_id=one&client_id=other"), &[]).await,
        front.send(&format!("{FORM}&client_id=one;client_id=other"), &[]).await,
        front.send(&format!("{FORM}&client_id=one&Client_ID=other"), &[]).await,
        front.basic("one%zz:upstream1", FORM).await,
        front.send(FORM, &[("authorization", "Digest username=\"one\", nonce=\"n\"")]).await,
        front.send(&assertion("{}"), &[]).await,
    ];
    for (at, answer) in two.into_iter().enumerate() {
        assert_eq!(answer.expect(400)["error"], "invalid_request", "{at}");
    }
    assert!(issuer.take().is_empty());
    front.send(&assertion(&own), &[]).await.expect(401);
    assert_eq!(issuer.take().len(), 1);
}

async fn a_secret_of_ours_is_not_passed_under_another_name(mut world: World) {
    let issuer = Issuer::start("upstream1").await;
    let front = front(&mut world, &issuer).await;
    set(front.world, "pass").await;
    front.basic(&format!("biling app:{}", front.secret), FORM).await.is_invalid_client();
    let form = format!("{FORM}&client_id=biling&client_secret={}", front.secret);
    front.send(&form, &[]).await.is_invalid_client();
    front.send(FORM, &[("authorization", &format!("Bearer {}", front.secret))]).await.is_invalid_client();
    assert!(issuer.take().is_empty());
}

async fn a_preflight_is_answered_by_the_issuer_only_while_clients_pass(mut world: World) {
    let issuer = Issuer::start("upstream1").await;
    let front = front(&mut world, &issuer).await;
    let headers = [
        ("origin", "https://app.example.com"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "dpop"),
        ("cookie", "canary"),
        ("authorization", "canary"),
    ];
    let oauth = front.world.oauth("staging");
    let ask = async |endpoint: &str, headers: &[(&str, &str)]| {
        oauth.raw(Method::OPTIONS, endpoint, Vec::new(), headers).await
    };
    assert_eq!(ask("token", &headers).await.status.as_u16(), 405);
    set(front.world, "pass").await;
    for (endpoint, path) in [("token", "/token"), ("revoke", "/revoke"), ("other/token", "/o/token")] {
        assert_eq!(ask(endpoint, &headers).await.request_id.as_deref(), Some("of-the-issuer"));
        let seen = issuer.take();
        assert!(seen[0].starts_with(&format!("OPTIONS {path} HTTP/1.1\r\n")), "{seen:?}");
        assert!(seen[0].contains("access-control-request-headers: dpop\r\n"), "{seen:?}");
        assert!(!seen[0].contains("canary") && !seen[0].contains("content-type"), "{seen:?}");
    }
    assert_eq!(ask("token", &[]).await.status.as_u16(), 405, "no browser asks so");
    assert_eq!(ask("introspect", &headers).await.status.as_u16(), 405, "the issuer has no such endpoint");
    let own = front.world.oauth("production").raw(Method::OPTIONS, "token", Vec::new(), &headers).await;
    assert_eq!(own.status.as_u16(), 405);
    assert!(issuer.take().is_empty());
}

async fn strangers_take_no_place_of_a_registered_client(mut world: World) {
    let issuer = Issuer::start("upstream1").await;
    let front = front(&mut world, &issuer).await;
    set(front.world, "pass").await;
    issuer.set_held(true);
    let flood = futures_util::future::join_all((0..60).map(|_| front.basic("other:wrong", FORM)));
    let ours = async {
        issuer.wait_for(50).await;
        let answer = front.token(&front.secret);
        let release = async {
            issuer.wait_for(51).await;
            issuer.set_held(false);
        };
        tokio::join!(answer, release).0
    };
    let (strangers, ours) = tokio::join!(flood, ours);
    ours.is_token();
    let busy = strangers.iter().filter(|answer| answer.status.as_u16() == 503).count();
    assert_eq!((strangers.len(), busy), (60, 10));
}

async fn only_owners_let_unregistered_clients_pass(mut world: World) {
    let issuer = Issuer::start("upstream1").await;
    let front = front(&mut world, &issuer).await;
    let world = front.world;
    let manager = world.user("ops@example.com", "operations_manager").await;
    let pass = json!({"unregistered_clients": "pass"});
    let problem = manager.patch("/environments/staging", pass.clone()).await.refused(403, "forbidden");
    assert_eq!(problem["permission"], "upstream:manage");
    // As it is: a form sends it again.
    manager.patch("/environments/staging", json!({"unregistered_clients": "refuse"})).await.ok();
    let owner = world.owner().await;
    let problem = owner.patch("/environments/production", pass.clone()).await.refused(422, "invalid_body");
    assert_eq!(problem["field"], "unregistered_clients");
    assert_eq!(owner.get("/environments/production").await.ok()["unregistered_clients"], json!(null));
    owner.patch("/environments/staging", pass).await.ok();
    let event = owner.get("/audit-events?action=environment.updated").await.ok()["items"][0].clone();
    assert_eq!(event["details"]["before"]["unregistered_clients"], "refuse");
    assert_eq!(event["details"]["after"]["unregistered_clients"], "pass");
    // The setting ends with the issuer that it was made for.
    owner.post("/environments", json!({"slug": "qa", "name": "QA", "kind": "test"})).await.created();
    let server = json!({"name": "main", "issuer": "https://id.example.com", "token_endpoint": "https://id.example.com/t"});
    let upstream = json!({"kind": "generic", "servers": [server]});
    let set = |mode: &str| {
        let mut body = json!({"issuer_mode": mode, "confirm_environment_slug": "qa"});
        if mode == "upstream" {
            body["upstream"] = upstream.clone();
            body["unregistered_clients"] = "pass".into();
        }
        let owner = &owner;
        async move { owner.patch("/environments/qa", body).await.ok() }
    };
    assert_eq!(text(&set("upstream").await["unregistered_clients"]), "pass");
    assert_eq!(set("own").await["unregistered_clients"], json!(null));
    let again = json!({"issuer_mode": "upstream", "upstream": upstream, "confirm_environment_slug": "qa"});
    assert_eq!(owner.patch("/environments/qa", again).await.ok()["unregistered_clients"], "refuse");
    let stays = json!({"kind": "generic", "servers": [{"name": "main", "issuer": issuer.url(""), "token_endpoint": issuer.url("/token")}]});
    set_upstream(world, &stays).await;
    assert_eq!(owner.get("/environments/staging").await.ok()["unregistered_clients"], "pass");
}
