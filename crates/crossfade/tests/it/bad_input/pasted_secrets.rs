//! Rule 18: a secret in the wrong place is refused, not repeated, and never logged. And what else a log must not hold.

use super::{HOUR, send, snapshot};
use crate::engines::on_both_engines;
use crate::world::{Principal, World};
use http::Method;
use serde_json::json;
use std::{cell::RefCell, io::Write, sync::Once};

on_both_engines! {
    a_secret_pasted_where_it_does_not_belong_is_refused_and_not_repeated_rule_18,
    a_secret_pasted_into_a_query_is_refused_and_not_repeated_rule_18,
    a_secret_is_never_logged_rule_18,
    what_others_write_stays_on_its_line_of_the_log,
}

thread_local! {
    /// What was logged on this thread since somebody asked for it. A test's runtime has one thread.
    static LOGGED: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// Writes a log to the thread that it is of.
struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOGGED.with_borrow_mut(|logged| {
            if let Some(logged) = logged {
                logged.extend_from_slice(bytes);
            }
        });
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Starts to keep what this thread logs. One subscriber for all tests, because tracing remembers for all
/// threads together which events are of interest to anybody.
fn keep_log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let level = tracing::Level::DEBUG;
        tracing_subscriber::fmt().with_ansi(false).with_max_level(level).with_writer(|| Log).init();
    });
    LOGGED.set(Some(Vec::new()));
}

async fn a_secret_pasted_where_it_does_not_belong_is_refused_and_not_repeated_rule_18(world: World) {
    let client = world.client("Billing", &["production", "staging"]).await;
    let owner = world.owner().await;
    owner.post(&client.path("production", "/secrets/rotate"), client.rotation(24)).await.created();
    let before = snapshot(&owner, &client).await;
    let registration = client.registration("production");
    let token = owner.token.clone().unwrap();
    let (whole, property) =
        (&registration.secret, owner.get("/properties").await.ok()["items"][0]["id"].clone());
    let (rotate, secret) = (
        client.path("production", "/secrets/rotate"),
        client.path("production", &format!("/secrets/{}", registration.secret_id)),
    );
    let later = world.now().after(HOUR * 48).to_string();
    let digits = whole.rsplit('_').next().unwrap().to_owned();
    for pasted in [
        whole.clone(),
        digits.clone(),
        whole[..40].to_owned(),
        format!("old was {whole}, see mail"),
        whole.to_uppercase(),
        whole.replace('_', "%5F"),
        token,
    ] {
        let calls = [
            (Method::POST, "/properties".to_owned(), json!({"name": pasted})),
            (Method::POST, "/environments".to_owned(), json!({"slug": "eu", "name": pasted, "kind": "live"})),
            (Method::POST, "/environments".to_owned(), json!({"slug": pasted, "name": "EU", "kind": "live"})),
            (Method::POST, "/environments".to_owned(), json!({"slug": "eu", "name": "EU", "kind": pasted})),
            (
                Method::POST,
                "/clients".to_owned(),
                json!({"name": pasted, "property_id": property, "environments": ["staging"]}),
            ),
            (
                Method::POST,
                "/clients".to_owned(),
                json!({"name": "New", "description": pasted, "property_id": property, "environments": ["staging"]}),
            ),
            (
                Method::POST,
                "/clients".to_owned(),
                json!({"name": "New", "owners": [format!("{}@example.com", pasted.replace(' ', ""))], "property_id": property, "environments": ["staging"]}),
            ),
            (
                Method::POST,
                "/clients".to_owned(),
                json!({"name": "New", "property_id": pasted, "environments": ["staging"]}),
            ),
            (
                Method::POST,
                "/clients".to_owned(),
                json!({"name": "New", "property_id": property, "environments": [pasted]}),
            ),
            (Method::PATCH, client.path("staging", ""), json!({"scopes": [pasted]})),
            (Method::PATCH, client.path("staging", ""), json!({"audience": pasted})),
            (Method::PATCH, client.path("staging", ""), json!({"reason": pasted})),
            (Method::POST, "/environments/staging/signing-keys/rotate".to_owned(), json!({"reason": pasted})),
            (
                Method::POST,
                rotate.clone(),
                json!({"transition_hours": 0, "confirm_client_name": "Billing", "reason": pasted, "end_running_transition": true}),
            ),
            (
                Method::POST,
                rotate.clone(),
                json!({"transition_hours": 0, "confirm_client_name": pasted, "end_running_transition": true}),
            ),
            (
                Method::POST,
                rotate.clone(),
                json!({"transition_hours": pasted, "confirm_client_name": "Billing"}),
            ),
            (
                Method::POST,
                rotate.clone(),
                json!({"transition_hours": 0, "confirm_client_name": "Billing", "expected_current_secret_id": pasted}),
            ),
            (
                Method::POST,
                rotate.clone(),
                json!({"transition_hours": 0, "confirm_client_name": "Billing", pasted.clone(): 1}),
            ),
            (Method::POST, format!("{secret}/reveal"), json!({"reason": pasted})),
            (Method::POST, format!("{secret}/revoke"), json!({"reason": pasted})),
            (Method::POST, format!("{secret}/extend"), json!({"reason": pasted, "expires_at": later})),
            (Method::POST, format!("{secret}/extend"), json!({"reason": "x", "expires_at": pasted})),
            (
                Method::DELETE,
                format!("/clients/{}", client.id),
                json!({"confirm_client_name": "Billing", "reason": pasted}),
            ),
        ];
        for (method, path, body) in calls {
            let answer = send(&owner, &method, &path, &body.to_string()).await;
            assert_eq!(answer.status.as_u16(), 422, "{method} {path} {body}");
            let echoed = String::from_utf8_lossy(&answer.bytes).to_lowercase();
            assert!(
                !echoed.contains(&digits[..12].to_lowercase()) && !echoed.contains(&pasted.to_lowercase()),
                "{method} {path} repeats it: {echoed}"
            );
        }
        let key = [("idempotency-key", &*pasted)];
        let answer =
            owner.call(Method::POST, "/properties", Some(json!({"name": "Shop"}).to_string()), &key).await;
        assert!(!String::from_utf8_lossy(&answer.bytes).contains(&digits[..12]));
        answer.refused(400, "invalid_query");
    }
    assert_eq!(snapshot(&owner, &client).await, before);
    let whole_trail = owner.get("/audit-events?limit=200").await.ok().to_string().to_lowercase();
    assert!(!whole_trail.contains(&digits[..12].to_lowercase()), "it stands in the trail");
}

async fn a_secret_pasted_into_a_query_is_refused_and_not_repeated_rule_18(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let secret = &client.registration("production").secret;
    let digits = secret.rsplit('_').next().unwrap();
    let mut wrong = Vec::new();
    for path in [
        format!("/audit-events?actor={secret}"),
        format!("/audit-events?action={secret}"),
        format!("/audit-events?client={secret}"),
        format!("/audit-events?environment={secret}"),
        format!("/audit-events?since={secret}"),
        format!("/audit-events?cursor={secret}"),
        format!("/clients?property_id={secret}"),
        format!("/clients?environment={secret}"),
        format!("/clients?{secret}=1"),
        format!("/clients?{secret}=1&{secret}=2"),
    ] {
        let answer = owner.get(&path).await;
        let body = String::from_utf8_lossy(&answer.bytes).into_owned();
        if answer.status.as_u16() != 400 || body.contains(digits) {
            wrong.push((path, answer.status, body));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

async fn a_secret_is_never_logged_rule_18(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let registration = client.registration("production");
    let secret = &registration.secret;
    keep_log();
    owner.get(&format!("/clients?q={secret}")).await;
    // Whoever is asked for a secret's id pastes the secret.
    owner.post(&client.path("production", &format!("/secrets/{secret}/reveal")), json!({})).await;
    owner.get(&format!("/clients/{secret}")).await;
    owner.post("/properties", json!({"name": secret})).await;
    owner.post(&client.path("production", "/secrets/rotate"), json!({secret.as_str(): 1})).await;
    Principal { world: &world, token: Some(secret.clone()) }.get("/clients").await;
    let oauth = world.oauth("production");
    oauth.token(secret, &registration.client_id).await;
    oauth.token(&registration.client_id, secret).await.is_token();
    oauth.token_by_post(&registration.client_id, secret).await.is_token();
    oauth.form(&format!("token?client_secret={secret}"), &[("grant_type", secret)], &[]).await;
    world.oauth(secret).token(&registration.client_id, secret).await;
    let logged = String::from_utf8(LOGGED.take().unwrap()).unwrap();
    assert!(logged.contains("operation=\"reveal_secret\""), "the log is caught: {logged}");
    let digits = secret.rsplit('_').next().unwrap();
    let lines: Vec<_> = logged.lines().filter(|line| line.contains(digits)).collect();
    assert!(lines.is_empty(), "{lines:#?}");
}

/// Nobody writes a line of the log, steers the terminal of its reader, or turns the direction of its text (ASVS 16.4.1).
async fn what_others_write_stays_on_its_line_of_the_log(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let it = client.registration("production");
    let forged = "x\n2026-11-24T12:25:00Z  INFO forged\r\n\u{1b}[2J\u{9b}2J\u{202e}y";
    let escaped: String = forged.bytes().map(|byte| format!("%{byte:02x}")).collect();
    keep_log();
    for path in ["clients", "clients?q=", "properties?cursor=", "audit-events?actor="] {
        owner.get(&format!("/{path}{}", if path.contains('?') { &*escaped } else { "" })).await;
    }
    owner.get(&format!("/clients/{escaped}")).await;
    owner.post("/properties", json!({"name": forged})).await;
    owner.post("/users", json!({"email": forged, "name": forged})).await;
    owner.post("/properties", json!({forged: 1})).await;
    let rotate = client.path("production", "/secrets/rotate");
    owner.post(&rotate, json!({"transition_hours": forged, "reason": forged})).await;
    let oauth = world.oauth("production");
    oauth.token(forged, forged).await;
    oauth.token_by_post(forged, forged).await;
    let agents = "x\u{202e}\u{9b}2J";
    oauth.clone().from([192, 0, 2, 1], agents).token(&it.client_id, "wrong").await;
    oauth.form("token", &[("grant_type", forged), (forged, forged)], &[("x-request-id", agents)]).await;
    oauth.form(&format!("token?{escaped}={escaped}"), &[], &[("origin", agents)]).await;
    world.oauth(&escaped).token(&it.client_id, "wrong").await;
    let browser = world.browser();
    browser.sign_in(forged, forged).await;
    browser.get(&format!("/console/{escaped}?to={escaped}")).await;
    world.run_jobs().await;
    let logged = String::from_utf8(LOGGED.take().unwrap()).unwrap();
    assert!(logged.lines().count() > 10, "the log is caught: {logged}");
    for line in logged.lines() {
        let is_stamped = line.get(4..5) == Some("-") && line.get(10..11) == Some("T");
        assert!(is_stamped && !line.contains("INFO forged"), "{line:?}");
        let steers = |letter: char| letter.is_control() || ('\u{202a}'..='\u{202e}').contains(&letter);
        assert!(!line.contains(steers), "{line:?}");
    }
}
