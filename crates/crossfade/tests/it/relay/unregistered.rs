//! Which clients still pass without being registered: not taken over yet.

use super::{
    Front, front, here,
    issuer::{Issuer, json as answer},
    passing::{FORM, assertion, set},
    text,
};
use crate::{
    engines::on_both_engines,
    world::{Answer, OWNER, Principal, World},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use crossfade_app::{AddressPolicy, NamedRegistration, NewToken};
use http::Method;
use serde_json::{Value, json};
use std::time::Duration;

on_both_engines! {
    clients_that_pass_are_listed_with_what_the_issuer_says,
    names_of_strangers_are_one_number,
    a_stranger_under_the_name_of_a_client_changes_no_address,
    a_registered_client_leaves_the_list_and_does_not_come_back,
    a_client_is_forgotten_after_ninety_days_without_a_token,
    requests_that_cannot_be_stored_are_stored_later,
    an_unregistered_client_is_read_with_a_role_on_the_platform_alone,
    nothing_of_a_passed_request_is_kept_but_its_client_and_address,
    addresses_of_unregistered_clients_are_stored_as_the_policy_says,
}

const DAY: Duration = Duration::from_secs(86_400);

impl Front<'_> {
    /// Asks as a client that is not registered, from an address.
    async fn pass(&self, from: [u8; 4], form: &str, basic: Option<&str>) -> Answer {
        let basic = basic.map(|credentials| format!("Basic {}", STANDARD.encode(credentials)));
        let mut headers = vec![("content-type", "application/x-www-form-urlencoded")];
        headers.extend(basic.as_deref().map(|value| ("authorization", value)));
        let oauth = self.world.oauth("staging").from(from, "worker/1");
        oauth.raw(Method::POST, "token", form.as_bytes().to_vec(), &headers).await
    }

    async fn list(&self) -> Vec<Value> {
        self.world.run_jobs().await;
        list(&self.world.owner().await).await
    }
}

const PATH: &str = "/environments/staging/unregistered-clients";

async fn list(principal: &Principal<'_>) -> Vec<Value> {
    principal.get(PATH).await.ok()["items"].as_array().unwrap().clone()
}

fn names(list: &[Value]) -> Vec<&str> {
    list.iter().map(|it| it["client_id"].as_str().unwrap_or("-")).collect()
}

fn counts(it: &Value) -> [i64; 3] {
    ["accepted_count", "refused_count", "failed_count"].map(|name| it[name].as_i64().unwrap())
}

const HERE: [u8; 4] = [192, 0, 2, 7];
const THERE: [u8; 4] = [198, 51, 100, 9];

async fn clients_that_pass_are_listed_with_what_the_issuer_says(mut world: World) {
    let issuer = Issuer::start("upstream1").await;
    let front = front(&mut world, &issuer).await;
    assert!(front.list().await.is_empty());
    set(front.world, "pass").await;
    front.pass(HERE, FORM, Some("portal:upstream1")).await.is_token();
    front.world.advance(DAY);
    front.pass(THERE, FORM, Some("portal:upstream1")).await.is_token();
    front.pass(HERE, &format!("{FORM}&client_id=portal&client_secret=upstream1"), None).await.is_token();
    front.pass(HERE, FORM, Some("portal:wrong")).await.expect(401);
    front.world.advance(DAY);
    // The issuer of this test looks for the secret at the end; it does not read assertions.
    let signed = assertion(r#"{"sub":"a=b \"c\" <d>"}"#);
    front.pass(HERE, &format!("{signed}&client_secret=upstream1"), None).await.is_token();
    let listed = front.list().await;
    assert_eq!(names(&listed), ["a=b \"c\" <d>", "portal"]);
    let [signed, portal] = &listed[..] else { panic!("{listed:?}") };
    assert_eq!(signed["authentication_methods"], json!(["assertion"]));
    assert_eq!(portal["authentication_methods"], json!(["client_secret_basic", "client_secret_post"]));
    assert_eq!((counts(portal), &portal["last_status"]), ([3, 1, 0], &json!(401)));
    let sources: Vec<_> =
        portal["sources"].as_array().unwrap().iter().map(|it| text(&it["source_ip"])).collect();
    assert_eq!(sources, ["192.0.2.7", "198.51.100.9"], "{portal}");
    assert!(text(&portal["first_seen_at"]) < text(&portal["last_token_at"]), "{portal}");
    assert_eq!(portal["last_seen_at"], portal["last_token_at"]);
    let owner = front.world.owner().await;
    let first = owner.get(&format!("{PATH}?limit=1")).await.ok();
    let cursor = text(&first["next_cursor"]);
    let second = owner.get(&format!("{PATH}?limit=1&cursor={cursor}")).await.ok();
    assert_eq!((&first["items"][0], &second["items"][0]), (&listed[0], &listed[1]));
    assert_eq!(second["next_cursor"], Value::Null);
    owner.get(&format!("{PATH}?q=portal")).await.refused(400, "invalid_query");
    // No other environment has them.
    let own = owner.get("/environments/production/unregistered-clients").await.ok();
    assert_eq!(own["items"], json!([]));
}

async fn names_of_strangers_are_one_number(mut world: World) {
    let issuer = Issuer::start("upstream1").await;
    let front = front(&mut world, &issuer).await;
    set(front.world, "pass").await;
    for n in 0..20 {
        front.pass(THERE, FORM, Some(&format!("made-up-{n}:guess"))).await.expect(401);
    }
    front.pass(THERE, "grant_type=authorization_code&code=c", None).await.expect(401);
    // An issuer that says yes without a token has not said that the client exists.
    issuer.answer(&answer(200, "{}"));
    front.pass(THERE, FORM, Some("empty:upstream1")).await.ok();
    issuer.answer(&answer(200, r#"{"error":"invalid_client","access_token":"x"}"#));
    front.pass(THERE, FORM, Some("polite:upstream1")).await.ok();
    issuer.answer("HTTP/1.1 302 X\r\nlocation: /\r\ncontent-length: 0\r\n\r\n");
    front.pass(THERE, FORM, Some("moved:upstream1")).await.expect(502);
    let basic = format!("Basic {}", STANDARD.encode("revoker:upstream1"));
    let headers = [("content-type", "application/x-www-form-urlencoded"), ("authorization", basic.as_str())];
    let oauth = front.world.oauth("staging");
    oauth.raw(Method::POST, "revoke", b"token=x".to_vec(), &headers).await.ok();
    let listed = front.list().await;
    let [sum] = &listed[..] else { panic!("{listed:?}") };
    assert_eq!((&sum["client_id"], counts(sum)), (&Value::Null, [1, 23, 1]));
    assert_eq!((&sum["sources"], &sum["authentication_methods"]), (&json!([]), &json!([])));
    let stored = "SELECT COUNT(*) FROM unregistered_clients WHERE client_id <> '' OR sources LIKE '%198%'";
    assert_eq!(front.world.number(stored).await, 0);
}

async fn a_stranger_under_the_name_of_a_client_changes_no_address(mut world: World) {
    let issuer = Issuer::start("upstream1").await;
    let front = front(&mut world, &issuer).await;
    set(front.world, "pass").await;
    front.pass(HERE, FORM, Some("portal:upstream1")).await.is_token();
    front.list().await;
    for n in 0..10 {
        front
            .pass([198, 51, 100, n], &format!("{FORM}&client_id=portal&client_secret=guess"), None)
            .await
            .expect(401);
    }
    let listed = front.list().await;
    assert_eq!((names(&listed), counts(&listed[0])), (vec!["portal"], [1, 10, 0]));
    assert_eq!(listed[0]["sources"].as_array().unwrap().len(), 1, "{listed:?}");
    assert_eq!(listed[0]["authentication_methods"], json!(["client_secret_basic"]));
}

async fn a_registered_client_leaves_the_list_and_does_not_come_back(mut world: World) {
    let issuer = Issuer::start("upstream1").await;
    let front = front(&mut world, &issuer).await;
    set(front.world, "pass").await;
    for name in ["portal", "PORTAL", "intranet"] {
        front.pass(HERE, FORM, Some(&format!("{name}:upstream1"))).await.is_token();
    }
    assert_eq!(front.list().await.len(), 3);
    // What is still in memory is of a client that is registered by then.
    front.pass(HERE, FORM, Some("portal:upstream1")).await.is_token();
    let owner = front.world.owner().await;
    let property = owner.post("/properties", json!({"name": "Portal"})).await.created();
    let body = json!({
        "name": "Portal", "property_id": property["id"], "environments": ["staging"], "client_id": "portal",
    });
    let created = owner.post("/clients", body).await.created();
    assert_eq!(names(&list(&owner).await), ["intranet"], "at once, in all its forms");
    assert_eq!(names(&front.list().await), ["intranet"]);
    front.pass(HERE, FORM, Some("portal:upstream1")).await.is_invalid_client();
    let id = text(&created["id"]);
    owner
        .delete(&format!("/clients/{id}"), json!({"confirm_client_name": "Portal", "reason": "moved"}))
        .await
        .expect(200);
    front.pass(HERE, FORM, Some("portal:upstream1")).await.is_invalid_client();
    assert_eq!(names(&front.list().await), ["intranet"]);
    let stored = "SELECT COUNT(*) FROM unregistered_clients WHERE client_id = 'portal'";
    assert_eq!(front.world.number(stored).await, 0);
}

async fn a_client_is_forgotten_after_ninety_days_without_a_token(mut world: World) {
    let issuer = Issuer::start("upstream1").await;
    let front = front(&mut world, &issuer).await;
    set(front.world, "pass").await;
    front.pass(HERE, FORM, Some("portal:upstream1")).await.is_token();
    front.pass(HERE, FORM, Some("stranger:guess")).await.expect(401);
    assert_eq!(names(&front.list().await), ["portal", "-"]);
    front.world.advance(89 * DAY);
    // A stranger does not keep it.
    front.pass(HERE, FORM, Some("portal:guess")).await.expect(401);
    assert_eq!(names(&front.list().await), ["portal", "-"]);
    front.world.advance(2 * DAY);
    assert!(front.list().await.is_empty());
}

async fn requests_that_cannot_be_stored_are_stored_later(mut world: World) {
    let issuer = Issuer::start("upstream1").await;
    let front = front(&mut world, &issuer).await;
    set(front.world, "pass").await;
    front.world.raw("ALTER TABLE unregistered_clients RENAME TO away").await;
    front.pass(HERE, FORM, Some("portal:upstream1")).await.is_token();
    front.world.try_jobs().await.unwrap_err();
    front.pass(HERE, FORM, Some("portal:upstream1")).await.is_token();
    front.world.raw("ALTER TABLE away RENAME TO unregistered_clients").await;
    let listed = front.list().await;
    assert_eq!((names(&listed), counts(&listed[0])), (vec!["portal"], [2, 0, 0]));
    // The worker's own storing is all: the requests themselves write nothing.
    front.pass(HERE, FORM, Some("portal:upstream1")).await.is_token();
    assert_eq!(counts(&list(&front.world.owner().await).await[0]), [2, 0, 0]);
    assert_eq!(counts(&front.list().await[0]), [3, 0, 0]);
}

async fn an_unregistered_client_is_read_with_a_role_on_the_platform_alone(mut world: World) {
    let issuer = Issuer::start("upstream1").await;
    let front = front(&mut world, &issuer).await;
    set(front.world, "pass").await;
    front.pass(HERE, FORM, Some("portal:upstream1")).await.is_token();
    assert_eq!(names(&front.list().await), ["portal"]);
    let owner = front.world.owner().await;
    let reader = front.world.user("reader@example.com", "viewer").await;
    assert_eq!(names(&list(&reader).await), ["portal"]);
    front
        .world
        .token_of("reader@example.com", &["audit:read"])
        .await
        .get(PATH)
        .await
        .refused(403, "forbidden");
    // A role on one client, and a token of one registration.
    let user = text(&owner.post("/users", json!({"email": "one@example.com"})).await.created()["id"]);
    let grant = json!({"role": "application_manager", "client_id": front.client.id});
    owner.post(&format!("/users/{user}/grants"), grant).await.created();
    front.world.token_of("one@example.com", &[]).await.get(PATH).await.refused(403, "forbidden");
    let only = NamedRegistration { client: "Billing".to_owned(), environment: "staging".to_owned() };
    let new = NewToken {
        user: OWNER.to_owned(),
        name: "nightly".to_owned(),
        expires_days: None,
        scope: Vec::new(),
        only: Some(only),
    };
    let token = front.world.app.create_token(&new).await.unwrap().reveal().to_owned();
    Principal { world: front.world, token: Some(token) }.get(PATH).await.refused(403, "forbidden");
    Principal { world: front.world, token: None }.get(PATH).await.refused(401, "unauthenticated");
    owner.get("/environments/nowhere/unregistered-clients").await.refused(404, "not_found");
}

async fn nothing_of_a_passed_request_is_kept_but_its_client_and_address(mut world: World) {
    let issuer = Issuer::start("upstream1").await;
    let front = front(&mut world, &issuer).await;
    set(front.world, "pass").await;
    issuer.answer(&answer(200, r#"{"access_token":"canary-token","refresh_token":"canary-refresh"}"#));
    let form = "grant_type=password&username=canary-user&password=canary-password";
    front.pass(HERE, form, Some("portal:upstream1")).await.ok();
    let listed = json!(front.list().await).to_string();
    let trail = front.world.owner().await.get("/audit-events?limit=200").await.ok().to_string();
    for kept in [&listed, &trail] {
        assert!(!kept.contains("canary") && !kept.contains("upstream1"), "{kept}");
    }
    assert!(!trail.contains("192.0.2.7") && !trail.contains("portal"), "{trail}");
}

async fn addresses_of_unregistered_clients_are_stored_as_the_policy_says(mut world: World) {
    let issuer = Issuer::start("upstream1").await;
    set(front(&mut world, &issuer).await.world, "pass").await;
    for (policy, expected) in [(AddressPolicy::Truncated, "192.0.2.0/24"), (AddressPolicy::Hashed, "hashed:")]
    {
        world.raw("DELETE FROM unregistered_clients").await;
        world.restart_with_poster_and_addresses(here(), policy).await;
        let form =
            [("grant_type", "client_credentials"), ("client_id", "portal"), ("client_secret", "upstream1")];
        world.oauth("staging").from(HERE, "worker/1").form("token", &form, &[]).await.is_token();
        world.run_jobs().await;
        let listed = list(&world.owner().await).await;
        assert!(text(&listed[0]["sources"][0]["source_ip"]).starts_with(expected), "{listed:?}");
        let full = "SELECT COUNT(*) FROM unregistered_clients WHERE sources LIKE '%192.0.2.7%'";
        assert_eq!(world.number(full).await, 0);
    }
}
