//! What is forwarded, for whom, and what callers get.

mod issuer;
mod learning;
mod passing;
mod unregistered;
mod vendors;

use self::issuer::{Issuer, TOKEN, json as answer};
use crate::{
    engines::on_both_engines,
    few_statements::Log,
    world::{Client, Registration, World},
};
use crossfade_app::Poster;
use serde_json::{Value, json};
use std::time::Duration;

on_both_engines! {
    a_caller_gets_the_issuers_tokens_with_a_secret_of_ours,
    a_wrong_ended_or_unknown_secret_makes_no_call_at_the_issuer,
    the_upstream_secret_is_no_secret_of_ours,
    a_rotation_is_invisible_to_the_issuer_and_ends_the_old_secret,
    the_upstream_secret_is_rotated_at_the_issuer_without_a_gap,
    a_refused_upstream_credential_is_no_fault_of_the_caller,
    what_the_issuer_answers_reaches_the_caller_without_its_cookies,
    headers_that_an_environment_names_are_forwarded,
    every_endpoint_goes_where_the_server_has_it,
    a_credential_goes_to_no_host_that_it_was_not_confirmed_for,
    the_log_names_the_client_and_the_server_of_a_request_that_is_not_forwarded,
    a_request_that_could_be_read_in_two_ways_is_refused,
    a_request_that_comes_back_is_508_whoever_asks,
    a_caller_that_hangs_up_does_not_stop_what_was_sent,
    nothing_that_passes_is_stored,
    a_refused_upstream_credential_is_told_once_and_again_when_it_works,
    callers_and_strangers_cause_no_refusal_of_the_credential,
    a_test_says_what_the_issuer_accepts_and_creates_no_token,
    a_test_finds_how_the_issuer_reads_the_credential_and_the_relay_uses_it,
    tests_of_a_credential_are_few_and_by_those_who_set_it,
    the_way_back_is_said_to_owners_by_kind_and_has_no_secret,
}

const GIVEN: &str = "billing app";
const HOUR: Duration = Duration::from_secs(3600);

/// A client of the environment `staging`, which is in front of an issuer.
struct Front<'w> {
    world: &'w World,
    client: Client,
    client_id: String,
    secret: String,
}

/// What connects to issuers inside a test.
fn here() -> Poster {
    Poster::new(vec!["127.0.0.1/32".parse().unwrap()], None).unwrap()
}

/// Puts `staging` in front of an issuer, registers a client there, and sets its upstream credential.
async fn front<'w>(world: &'w mut World, issuer: &Issuer) -> Front<'w> {
    world.restart_with_poster(here()).await;
    let world = &*world;
    let owner = world.owner().await;
    let server = json!({
        "name": "main", "issuer": issuer.url(""), "token_endpoint": issuer.url("/token"),
        "revocation_endpoint": issuer.url("/revoke"),
        "pushed_authorization_request_endpoint": issuer.url("/par"),
    });
    let other =
        json!({"name": "other", "issuer": issuer.url("/o"), "token_endpoint": issuer.url("/o/token")});
    let upstream = json!({"kind": "generic", "servers": [server, other]});
    set_upstream(world, &upstream).await;
    let property = owner.post("/properties", json!({"name": "Front"})).await.created();
    let body = json!({
        "name": "Billing", "property_id": property["id"], "environments": ["staging"], "client_id": GIVEN,
    });
    let created = owner.post("/clients", body).await.created();
    let registration = Registration::read(&created["registrations"][0]);
    assert_eq!(registration.client_id, GIVEN);
    let (client_id, secret) = (registration.client_id.clone(), registration.secret.clone());
    let client =
        Client { id: text(&created["id"]), name: "Billing".to_owned(), registrations: vec![registration] };
    set_credential(world, &client, json!({"secret": "upstream1"})).await;
    Front { world, client, client_id, secret }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is not a text")).to_owned()
}

async fn set_upstream(world: &World, upstream: &Value) {
    let body = json!({
        "issuer_mode": "upstream", "upstream": upstream, "confirm_environment_slug": "staging",
    });
    world.owner().await.patch("/environments/staging", body).await.ok();
}

async fn set_credential(world: &World, client: &Client, body: Value) {
    let path = client.path("staging", "/upstream-credential");
    world.owner().await.call(http::Method::PUT, &path, Some(body.to_string()), &[]).await.ok();
}

async fn metrics(world: &World) -> String {
    let request = http::Request::get("/metrics").header("host", "localhost");
    let answer = world.send(request.body(axum::body::Body::empty()).unwrap(), [127, 0, 0, 1].into()).await;
    String::from_utf8(answer.bytes).unwrap()
}

impl Front<'_> {
    async fn ask(&self, endpoint: &str, secret: &str, form: &[(&str, &str)]) -> crate::world::Answer {
        let id = self.client_id.replace(' ', "+");
        self.world.oauth("staging").basic(endpoint, &id, secret, form).await
    }

    async fn token(&self, secret: &str) -> crate::world::Answer {
        self.ask("token", secret, &[("grant_type", "client_credentials")]).await
    }
}

async fn a_caller_gets_the_issuers_tokens_with_a_secret_of_ours(mut world: World) {
    let issuer = Issuer::start("upstream1").await;
    let front = front(&mut world, &issuer).await;
    assert_eq!(front.token(&front.secret).await.bytes, TOKEN.as_bytes());
    let seen = issuer.take();
    assert!(seen[0].starts_with("POST /token HTTP/1.1\r\n") && !seen[0].contains(&front.secret), "{seen:?}");
    assert!(seen[0].ends_with("\r\n\r\ngrant_type=client_credentials"), "{seen:?}");
    // In the body, too.
    let form =
        [("grant_type", "x"), ("client_id", GIVEN), ("client_secret", &front.secret), ("resource", "a")];
    assert_eq!(front.world.oauth("staging").form("token", &form, &[]).await.bytes, TOKEN.as_bytes());
    let seen = issuer.take();
    assert!(seen[0].ends_with("\r\n\r\ngrant_type=x&resource=a"), "{seen:?}");
    // The evidence has both uses.
    let owner = front.world.owner().await;
    let secrets = owner.get(&front.client.path("staging", "/secrets")).await.ok();
    assert_eq!(secrets["items"][0]["use_count"], 2, "{secrets}");
}

async fn a_wrong_ended_or_unknown_secret_makes_no_call_at_the_issuer(mut world: World) {
    let issuer = Issuer::start("upstream1").await;
    let front = front(&mut world, &issuer).await;
    let wrong = front.token("crossfade_test_wrong").await;
    let unknown = front.world.oauth("staging").token("nobody", &front.secret).await;
    let owner = front.world.owner().await;
    owner.post(&front.client.path("staging", "/secrets/rotate"), front.client.rotation(0)).await.created();
    let ended = front.token(&front.secret).await;
    for refused in [&wrong, &unknown, &ended] {
        refused.is_invalid_client();
        assert_eq!((&refused.bytes, &refused.headers), (&wrong.bytes, &wrong.headers));
    }
    assert!(issuer.take().is_empty());
}

async fn the_upstream_secret_is_no_secret_of_ours(mut world: World) {
    let issuer = Issuer::start("upstream1").await;
    let front = front(&mut world, &issuer).await;
    front.token("upstream1").await.is_invalid_client();
    assert!(issuer.take().is_empty());
}

async fn a_rotation_is_invisible_to_the_issuer_and_ends_the_old_secret(mut world: World) {
    let issuer = Issuer::start("upstream1").await;
    let front = front(&mut world, &issuer).await;
    let owner = front.world.owner().await;
    let path = front.client.path("staging", "/secrets/rotate");
    let rotated = owner.post(&path, front.client.rotation(24)).await.created();
    let new = text(&rotated["secret"]["value"]);
    for secret in [&front.secret, &new] {
        front.token(secret).await.is_token();
    }
    front.world.advance(24 * HOUR);
    front.token(&front.secret).await.is_invalid_client();
    front.token(&new).await.is_token();
    assert_eq!(issuer.take().len(), 3);
}

async fn the_upstream_secret_is_rotated_at_the_issuer_without_a_gap(mut world: World) {
    let issuer = Issuer::start("upstream1").await;
    let front = front(&mut world, &issuer).await;
    set_credential(front.world, &front.client, json!({"next": "upstream2"})).await;
    front.token(&front.secret).await.is_token();
    assert_eq!(issuer.take().len(), 1);
    issuer.set_secret("upstream2");
    front.token(&front.secret).await.is_token();
    assert_eq!(issuer.take().len(), 2, "the refused one, and the other one once");
    front.token(&front.secret).await.is_token();
    assert_eq!(issuer.take().len(), 1, "the one that worked leads");
    front.world.run_jobs().await;
    let path = front.client.path("staging", "/upstream-credential");
    let shown = front.world.owner().await.get(&path).await.ok();
    let state = |slot: usize| shown["slots"][slot]["state"].as_str().unwrap();
    assert_eq!((state(0), state(1)), ("refused", "ok"), "{shown}");
    assert_eq!(shown["slots"][0]["last_error"], "401 invalid_client");
    assert!(!shown.to_string().contains("upstream1"), "{shown}");
}

async fn a_refused_upstream_credential_is_no_fault_of_the_caller(mut world: World) {
    let issuer = Issuer::start("something else").await;
    let front = front(&mut world, &issuer).await;
    let refused = front.token(&front.secret).await;
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(refused.header("www-authenticate"), None);
    assert_eq!(refused.expect(503)["error"], "temporarily_unavailable");
    // The issuer is down.
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = format!("http://{closed}/token");
    let server = json!({"name": "main", "issuer": format!("http://{closed}"), "token_endpoint": url});
    set_upstream(front.world, &json!({"kind": "generic", "servers": [server]})).await;
    set_credential(front.world, &front.client, json!({})).await;
    let down = front.token(&front.secret).await.expect(503);
    assert!(text(&down["error_description"]).contains("Nothing was sent"), "{down}");
    let metrics = metrics(front.world).await;
    for line in ["credential_refused\"} 1", "not_reached\"} 1", "answered\"} 0"] {
        assert!(
            metrics.contains(&format!("crossfade_upstream_requests_total{{outcome=\"{line}")),
            "{metrics}"
        );
    }
}

async fn what_the_issuer_answers_reaches_the_caller_without_its_cookies(mut world: World) {
    let issuer = Issuer::start("upstream1").await;
    let front = front(&mut world, &issuer).await;
    issuer.answer(&answer(400, r#"{"error":"invalid_grant","error_description":"the code has expired"}"#));
    let refused = front.token(&front.secret).await;
    assert_eq!(refused.request_id.as_deref(), Some("of-the-issuer"));
    assert_eq!(refused.header("set-cookie"), None);
    assert_eq!(refused.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(refused.expect(400)["error_description"], "the code has expired");
    // A page never runs at our address.
    let page = "HTTP/1.1 200 X\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<b></b";
    issuer.answer(page);
    assert_eq!(front.token(&front.secret).await.expect(502)["error"], "server_error");
    issuer.answer("HTTP/1.1 302 X\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n");
    assert_eq!(front.token(&front.secret).await.expect(502)["error"], "server_error");
    assert_eq!(issuer.take().len(), 3, "nothing was sent twice, and no redirect was followed");
}

async fn headers_that_an_environment_names_are_forwarded(mut world: World) {
    let issuer = Issuer::start("upstream1").await;
    let front = front(&mut world, &issuer).await;
    let form = [("grant_type", "x"), ("client_id", GIVEN), ("client_secret", front.secret.as_str())];
    let sent = [("x-tenant", "emea"), ("x-other", "kept")];
    front.world.oauth("staging").form("token", &form, &sent).await.ok();
    assert!(!issuer.take()[0].contains("emea"));
    let server = json!({"name": "main", "issuer": issuer.url(""), "token_endpoint": issuer.url("/token")});
    let mut upstream = json!({"kind": "generic", "servers": [server], "request_headers": ["x-tenant"]});
    set_upstream(front.world, &upstream).await;
    front.world.oauth("staging").form("token", &form, &sent).await.ok();
    let seen = issuer.take();
    assert!(seen[0].contains("\r\nx-tenant: emea\r\n") && !seen[0].contains("kept"), "{seen:?}");
    // None by which an issuer could take the caller for somebody else.
    upstream["request_headers"] = json!(["x-forwarded-for"]);
    let body = json!({"upstream": upstream, "confirm_environment_slug": "staging"});
    let owner = front.world.owner().await;
    let problem = owner.patch("/environments/staging", body).await.refused(422, "invalid_body");
    assert_eq!(problem["field"], "upstream");
}

async fn every_endpoint_goes_where_the_server_has_it(mut world: World) {
    let issuer = Issuer::start("upstream1").await;
    let front = front(&mut world, &issuer).await;
    for (endpoint, path) in [
        ("token", "/token"),
        ("main/token", "/token"),
        ("other/token", "/o/token"),
        ("par", "/par"),
        ("main/par", "/par"),
        ("revoke", "/revoke"),
    ] {
        front.ask(endpoint, &front.secret, &[("a", "b")]).await.ok();
        let seen = issuer.take();
        assert!(seen.len() == 1 && seen[0].starts_with(&format!("POST {path} HTTP/1.1\r\n")), "{seen:?}");
    }
    for endpoint in
        ["introspect", "device_authorization", "bc-authorize", "other/par", "nobody/token", "main/jwks"]
    {
        let missing = front.ask(endpoint, &front.secret, &[("token", "b")]).await;
        assert_eq!(missing.status.as_u16(), 404, "{endpoint}");
    }
    assert_eq!(front.world.oauth("production").basic("par", "a", "b", &[]).await.status.as_u16(), 404);
    assert!(issuer.take().is_empty());
}

async fn a_credential_goes_to_no_host_that_it_was_not_confirmed_for(mut world: World) {
    let (issuer, other) = (Issuer::start("upstream1").await, Issuer::start("upstream1").await);
    let front = front(&mut world, &issuer).await;
    let server = json!({"name": "main", "issuer": other.url(""), "token_endpoint": other.url("/token")});
    set_upstream(front.world, &json!({"kind": "generic", "servers": [server]})).await;
    assert_eq!(front.token(&front.secret).await.expect(503)["error"], "temporarily_unavailable");
    assert!(issuer.take().is_empty() && other.take().is_empty());
    set_credential(front.world, &front.client, json!({})).await;
    front.token(&front.secret).await.is_token();
    assert_eq!((issuer.take().len(), other.take().len()), (0, 1));
}

async fn the_log_names_the_client_and_the_server_of_a_request_that_is_not_forwarded(mut world: World) {
    let (issuer, other) = (Issuer::start("upstream1").await, Issuer::start("upstream1").await);
    let front = front(&mut world, &issuer).await;
    let server = json!({"name": "moved", "issuer": other.url(""), "token_endpoint": other.url("/token")});
    set_upstream(front.world, &json!({"kind": "generic", "servers": [server]})).await;
    let path = front.client.path("staging", "");
    let registration = text(&front.world.owner().await.get(&path).await.ok()["id"]);
    let log = Log::default();
    let guard = log.listen();
    front.token(&front.secret).await.expect(503);
    drop(guard);
    let logged = log.text();
    let line = logged.lines().find(|line| line.contains("cannot forward a request to the issuer"));
    for part in [
        "environment=staging",
        &format!("registration=\"{registration}\""),
        &format!("client_id=\"{GIVEN}\""),
        "upstream_server=\"moved\"",
        "failure=\"no_credential\"",
    ] {
        assert!(line.is_some_and(|line| line.contains(part)), "{part}: {logged}");
    }
    assert!(!logged.contains(&front.secret) && !logged.contains("upstream1"), "{logged}");
}

async fn a_request_that_could_be_read_in_two_ways_is_refused(mut world: World) {
    let issuer = Issuer::start("upstream1").await;
    let front = front(&mut world, &issuer).await;
    for form in [
        &[("Client_ID", "victim")][..],
        &[("client.id", "victim")],
        &[("client_id[]", "victim")],
        &[("scope", "a"), ("scope", "b")],
    ] {
        assert_eq!(front.ask("token", &front.secret, form).await.expect(400)["error"], "invalid_request");
    }
    let other = front.ask("token", &front.secret, &[("client_id", "victim")]).await;
    assert_eq!(other.expect(400)["error"], "invalid_request");
    let query = front.ask("token?audience=x", &front.secret, &[("a", "b")]).await;
    assert_eq!(query.expect(400)["error"], "invalid_request");
    let long = "x".repeat(256 * 1024);
    assert_eq!(front.ask("token", &front.secret, &[("a", &long)]).await.status.as_u16(), 413);
    let many: Vec<(String, &str)> = (0..129).map(|n| (format!("p{n}"), "x")).collect();
    let many: Vec<_> = many.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    assert_eq!(front.ask("token", &front.secret, &many).await.status.as_u16(), 400);
    let empty: Vec<_> = many.iter().map(|(name, _)| (*name, "")).collect();
    assert_eq!(front.ask("token", &front.secret, &empty).await.status.as_u16(), 400);
    assert!(issuer.take().is_empty());
    front.ask("token", &front.secret, &many[..128]).await.ok();
    let large = "x".repeat(200 * 1024);
    front.ask("token", &front.secret, &[("assertion", &large)]).await.ok();
    assert_eq!(issuer.take().len(), 2);
}

async fn a_request_that_comes_back_is_508_whoever_asks(mut world: World) {
    let issuer = Issuer::start("upstream1").await;
    let front = front(&mut world, &issuer).await;
    front.token(&front.secret).await.is_token();
    let seen = issuer.take();
    let via = seen[0].lines().find_map(|line| line.strip_prefix("via: ")).unwrap().to_owned();
    // As it would come back: with the upstream credential.
    let basic = seen[0].lines().find_map(|line| line.strip_prefix("authorization: ")).unwrap().to_owned();
    let headers = [("via", via.as_str()), ("authorization", basic.as_str())];
    let back = front.world.oauth("staging").form("token", &[("grant_type", "x")], &headers).await;
    assert_eq!(back.expect(508)["error"], "server_error");
    assert!(issuer.take().is_empty());
}

async fn a_caller_that_hangs_up_does_not_stop_what_was_sent(mut world: World) {
    let issuer = Issuer::start("upstream1").await;
    let front = front(&mut world, &issuer).await;
    issuer.set_held(true);
    tokio::select! {
        _ = front.token(&front.secret) => panic!("the issuer has not answered"),
        () = issuer.wait_for(1) => {}
    }
    issuer.set_held(false);
    let line = "crossfade_upstream_requests_total{outcome=\"answered\"} 1";
    let answered = async {
        while !metrics(front.world).await.contains(line) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), answered).await.expect("the answer was read");
}

async fn nothing_that_passes_is_stored(mut world: World) {
    let issuer = Issuer::start("upstream1").await;
    let front = front(&mut world, &issuer).await;
    issuer.answer(&answer(200, r#"{"access_token":"canary-token","refresh_token":"canary-refresh"}"#));
    let form = [("grant_type", "password"), ("username", "canary-user"), ("password", "canary-password")];
    front.ask("token", &front.secret, &form).await.ok();
    issuer.answer(&answer(400, r#"{"error":"invalid_grant","error_description":"canary-error"}"#));
    front.ask("token", &front.secret, &[("code", "canary-code")]).await.expect(400);
    front.world.run_jobs().await;
    let owner = front.world.owner().await;
    let trail = owner.get("/audit-events?limit=200").await.ok().to_string();
    let usage = owner.get(&front.client.path("staging", "/usage")).await.ok().to_string();
    let shown = owner.get(&front.client.path("staging", "/upstream-credential")).await.ok().to_string();
    for text in [trail, usage, shown] {
        assert!(!text.contains("canary") && !text.contains("upstream1"), "{text}");
    }
}

/// Returns how often the refusal and the acceptance of an upstream credential were recorded.
async fn turns(world: &World) -> (i64, i64) {
    world.run_jobs().await;
    let number = async |word: &str| {
        let recorded =
            format!("SELECT COUNT(*) FROM audit_events WHERE action = 'upstream_credential.{word}'");
        world.number(&recorded).await
    };
    (number("refused").await, number("accepted").await)
}

async fn a_refused_upstream_credential_is_told_once_and_again_when_it_works(mut world: World) {
    let issuer = Issuer::start("upstream1").await;
    let front = front(&mut world, &issuer).await;
    let id = front.client.id.clone();
    set_owner(front.world, &id).await;
    front.token(&front.secret).await.is_token();
    assert_eq!(turns(front.world).await, (0, 0));
    issuer.set_secret("upstream2");
    for _ in 0..2 {
        for _ in 0..3 {
            front.token(&front.secret).await.expect(503);
        }
        assert_eq!(turns(front.world).await, (1, 0), "once, however many requests there are");
    }
    let owner = front.world.owner().await;
    let event = owner.get("/audit-events?action=upstream_credential.refused").await.ok()["items"][0].clone();
    assert_eq!(event["details"]["last_error"], "401 invalid_client");
    assert_eq!(event["actor"]["kind"], "policy");
    assert_eq!((&event["client_id"], &event["environment"]), (&json!(id), &json!("staging")));
    let path = front.client.path("staging", "/upstream-credential");
    assert_eq!(owner.get(&path).await.ok()["refused_since"], event["details"]["since"]);
    let told = async |event: &str| {
        let told = format!("SELECT COUNT(*) FROM notifications WHERE event = 'upstream_credential.{event}'");
        front.world.number(&told).await
    };
    assert_eq!((told("refused").await, told("accepted").await), (1, 0));
    let browser = front.world.signed_in().await;
    let shown = browser.get("/console").await.text();
    assert!(shown.contains("Refused upstream credentials") && shown.contains("Billing"), "{shown}");
    let page = format!("/console{}", front.client.path("staging", "/security"));
    assert!(browser.get(&page).await.text().contains("has refused the upstream credential"));
    // What a person sets is told to work when it does.
    set_credential(front.world, &front.client, json!({"secret": "upstream2"})).await;
    assert_eq!(turns(front.world).await, (1, 0));
    front.token(&front.secret).await.is_token();
    assert_eq!(turns(front.world).await, (1, 1));
    assert_eq!((told("refused").await, told("accepted").await), (1, 1));
    assert_eq!(owner.get(&path).await.ok()["refused_since"], json!(null));
    assert!(!browser.get("/console").await.text().contains("Refused upstream credentials"));
    // The issuer changes its mind all the time: that is told once in 10 minutes.
    for _ in 0..3 {
        front.world.advance(Duration::from_secs(1));
        issuer.set_secret("other");
        front.token(&front.secret).await.expect(503);
        front.world.run_jobs().await;
        issuer.set_secret("upstream2");
        front.token(&front.secret).await.is_token();
        front.world.run_jobs().await;
    }
    assert_eq!(turns(front.world).await, (1, 1));
}

/// Makes somebody the owner of a client.
async fn set_owner(world: &World, client: &str) {
    world.raw(&format!("UPDATE clients SET owners = '[\"ada@example.com\"]' WHERE id = '{client}'")).await;
}

async fn callers_and_strangers_cause_no_refusal_of_the_credential(mut world: World) {
    let issuer = Issuer::start("upstream1").await;
    let front = front(&mut world, &issuer).await;
    front.token("crossfade_test_wrong").await.is_invalid_client();
    front.world.oauth("staging").token("nobody", &front.secret).await.is_invalid_client();
    for (status, error) in [
        (400, "invalid_grant"),
        (400, "invalid_client"),
        (401, "unauthorized_client"),
        (403, "access_denied"),
        (429, "slow_down"),
        (500, "server_error"),
    ] {
        issuer.answer(&answer(status, &format!(r#"{{"error":"{error}"}}"#)));
        front.ask("token", &front.secret, &[("grant_type", "x"), ("code", "of another")]).await;
        assert_eq!(turns(front.world).await, (0, 0), "{status} {error}");
    }
    let path = front.client.path("staging", "/upstream-credential");
    assert_eq!(front.world.owner().await.get(&path).await.ok()["refused_since"], json!(null));
}

impl Front<'_> {
    fn test_path(&self) -> String {
        self.client.path("staging", "/upstream-credential/test")
    }
}

async fn a_test_says_what_the_issuer_accepts_and_creates_no_token(mut world: World) {
    let issuer = Issuer::start("upstream1").await;
    let front = front(&mut world, &issuer).await;
    set_credential(front.world, &front.client, json!({"next": "upstream2"})).await;
    let owner = front.world.owner().await;
    let tested = owner.post(&front.test_path(), json!({})).await.ok();
    let slots = json!([
        {"slot": "current", "outcome": "accepted", "response": "200"},
        {"slot": "next", "outcome": "refused", "response": "401 invalid_client"},
    ]);
    assert_eq!((&tested["slots"], &tested["server"]), (&slots, &json!("main")), "{tested}");
    let seen = issuer.take();
    assert_eq!(seen.len(), 3, "the refused one in both encodings, because the client_id has a space");
    for request in &seen {
        assert!(
            request.starts_with("POST /revoke ") && request.ends_with("token=crossfade-test"),
            "{request}"
        );
    }
    let path = front.client.path("staging", "/upstream-credential");
    let shown = owner.get(&path).await.ok();
    let states = (&shown["slots"][0]["state"], &shown["slots"][1]["state"]);
    assert_eq!(states, (&json!("ok"), &json!("refused")), "{shown}");
    let event = owner.get("/audit-events?action=upstream_credential.tested").await.ok()["items"][0].clone();
    assert_eq!(event["details"]["slots"], json!(["current", "next"]));
    issuer.answer(&answer(500, "{}"));
    let tested = owner.post(&front.test_path(), json!({})).await.ok();
    assert_eq!(
        (&tested["slots"][0]["outcome"], &tested["slots"][0]["response"]),
        (&json!("undecided"), &json!("500"))
    );
    assert_eq!(owner.get(&path).await.ok()["slots"][0]["state"], "ok", "what was known stays");
    // A new host is not asked until the credential is confirmed for it.
    let other = Issuer::start("upstream1").await;
    let server = json!({"name": "main", "issuer": other.url(""), "token_endpoint": other.url("/token")});
    set_upstream(front.world, &json!({"kind": "generic", "servers": [server]})).await;
    let tested = owner.post(&front.test_path(), json!({})).await.ok();
    assert_eq!((&tested["server"], &tested["slots"][0]["response"]), (&json!(null), &json!("not_confirmed")));
    assert!(other.take().is_empty());
}

async fn a_test_finds_how_the_issuer_reads_the_credential_and_the_relay_uses_it(mut world: World) {
    let strange = "s+%:\u{fc}-1 2";
    // It decodes nothing.
    let issuer = Issuer::start(strange).await;
    let front = front(&mut world, &issuer).await;
    set_credential(front.world, &front.client, json!({"secret": strange})).await;
    front.token(&front.secret).await.expect(503);
    let owner = front.world.owner().await;
    let tested = owner.post(&front.test_path(), json!({})).await.ok();
    assert_eq!(
        (&tested["slots"][0]["outcome"], &tested["basic_encoding"]),
        (&json!("accepted"), &json!("raw")),
        "{tested}"
    );
    front.token(&front.secret).await.is_token();
    let path = front.client.path("staging", "/upstream-credential");
    assert_eq!(owner.get(&path).await.ok()["basic_encoding"], "raw");
    let event = owner.get("/audit-events?action=upstream_credential.encoding_found").await.ok();
    assert_eq!(event["items"][0]["details"], json!({"before": "percent", "after": "raw"}));
    assert_eq!(event["items"][0]["actor"]["kind"], "user", "{event}");
    // It is replaced by one that decodes, which this stub does not: it has the encoded text.
    issuer.set_secret("s%2B%25%3A%C3%BC%2D1%202");
    let tested = owner.post(&front.test_path(), json!({})).await.ok();
    assert_eq!(tested["basic_encoding"], "percent", "{tested}");
    front.token(&front.secret).await.is_token();
    let trail = owner.get("/audit-events?limit=200").await.ok().to_string();
    assert!(!trail.contains(strange) && !trail.contains("s%2B"), "{trail}");
}

async fn tests_of_a_credential_are_few_and_by_those_who_set_it(mut world: World) {
    let issuer = Issuer::start("upstream1").await;
    let front = front(&mut world, &issuer).await;
    for role in ["operations_manager", "viewer"] {
        let other = front.world.user(&format!("{role}@example.com"), role).await;
        let problem = other.post(&front.test_path(), json!({})).await.refused(403, "forbidden");
        assert_eq!(problem["permission"], "secret:rotate", "{role}");
    }
    assert!(issuer.take().is_empty());
    let rotator = front.world.user("rotator@example.com", "secret_rotator").await;
    for _ in 0..3 {
        rotator.post(&front.test_path(), json!({})).await.ok();
    }
    rotator.post(&front.test_path(), json!({})).await.refused(429, "too_many_requests");
    assert_eq!(issuer.take().len(), 3);
}

async fn the_way_back_is_said_to_owners_by_kind_and_has_no_secret(mut world: World) {
    let issuer = Issuer::start("upstream1").await;
    let front = front(&mut world, &issuer).await;
    let path = front.client.path("staging", "/upstream-credential/release");
    let manager = front.world.user("ops@example.com", "operations_manager").await;
    manager.post(&path, json!({})).await.refused(403, "forbidden");
    let owner = front.world.owner().await;
    let before = owner.post(&path, json!({})).await.ok();
    assert_eq!((&before["rotated"], &before["command"]), (&json!(false), &json!(null)), "{before}");
    assert_eq!(before["token_endpoint"], issuer.url("/token"));
    assert!(text(&before["steps"][0]).contains("only need the route"), "{before}");
    owner.post(&front.client.path("staging", "/secrets/rotate"), front.client.rotation(24)).await.created();
    let mut told = vec![before];
    for kind in ["keycloak", "entra", "okta", "auth0", "hydra", "generic"] {
        let server =
            json!({"name": "main", "issuer": issuer.url(""), "token_endpoint": issuer.url("/token")});
        set_upstream(front.world, &json!({"kind": kind, "servers": [server]})).await;
        let after = owner.post(&path, json!({})).await.ok();
        let takes_values = ["keycloak", "okta", "auth0"].contains(&kind);
        assert_eq!((&after["rotated"], after["command"].is_string()), (&json!(true), takes_values), "{kind}");
        assert!(text(&after["steps"][0]).contains("does not know the secrets"), "{after}");
        told.push(after);
    }
    let told = json!(told).to_string();
    assert!(!told.contains("upstream1") && !told.contains(&front.secret), "{told}");
    let events = owner.get("/audit-events?action=upstream_credential.release_read").await.ok();
    assert_eq!(events["items"].as_array().unwrap().len(), 7);
    assert!(issuer.take().is_empty());
    // The issuer gets the secret of Crossfade, and no request fails meanwhile.
    let generic = json!({"kind": "generic", "servers": [
        {"name": "main", "issuer": issuer.url(""), "token_endpoint": issuer.url("/token")},
    ]});
    set_upstream(front.world, &generic).await;
    set_credential(front.world, &front.client, json!({"next": front.secret})).await;
    front.token(&front.secret).await.is_token();
    issuer.set_secret(&front.secret.replace('_', "%5F"));
    front.token(&front.secret).await.is_token();
    let browser = front.world.signed_in().await;
    let page = format!("/console{}", front.client.path("staging", "/settings"));
    let shown = browser.get(&page).await.text();
    assert!(shown.contains("Show the way back") && shown.contains("Test credential"), "{shown}");
}
