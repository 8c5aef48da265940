//! Registrations without a secret: they learn the one that the issuer accepts.

use super::{answer, here, issuer::Issuer, issuer::TOKEN, set_upstream, text};
use crate::{
    engines::on_both_engines,
    world::{Answer, Client, Registration, World},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::Method;
use serde_json::{Value, json};
use std::time::Duration;

on_both_engines! {
    a_secret_that_the_issuer_accepts_is_learned_and_verified_here,
    a_second_secret_is_learned_and_a_third_one_is_not,
    many_requests_at_once_learn_one_secret,
    a_learned_secret_is_rotated_away_like_any_other,
    a_rotation_gives_a_registration_without_a_secret_its_first_one,
    a_public_client_is_never_learned,
    only_an_access_token_proves_a_secret,
    what_strangers_send_leaves_nothing,
    nothing_is_learned_for_a_registration_that_is_disabled_or_deleted,
    nothing_is_learned_after_the_time_or_by_another_way,
    a_secret_of_ours_goes_to_no_issuer_and_is_not_learned,
    a_request_that_names_another_client_is_refused,
    a_secret_with_odd_characters_is_learned_as_the_issuer_reads_it,
    an_issuer_that_decodes_has_the_decoded_secret,
    a_grant_that_can_do_without_the_secret_proves_none,
    a_secret_that_can_be_guessed_is_not_learned,
    a_rotation_by_age_waits_for_the_first_secret,
    the_request_that_proves_a_secret_is_its_first_use,
    a_secret_that_is_too_long_works_at_the_issuer_until_the_end,
    owners_say_until_when_and_rotators_say_for_whom,
}

const HOUR: Duration = Duration::from_secs(3600);
const FORM: &str = "grant_type=client_credentials";

/// A client in front of an issuer, without a secret.
struct Adopted<'w> {
    world: &'w World,
    client: Client,
}

async fn adopted<'w>(world: &'w mut World, issuer: &Issuer, client_id: &str) -> Adopted<'w> {
    world.restart_with_poster(here()).await;
    let world = &*world;
    let server = json!({
        "name": "main", "issuer": issuer.url(""), "token_endpoint": issuer.url("/token"),
        "pushed_authorization_request_endpoint": issuer.url("/par"),
    });
    set_upstream(world, &json!({"kind": "generic", "servers": [server]})).await;
    let until = world.now().after(24 * HOUR).to_string();
    let body = json!({"adopt_until": until});
    let shown = world.owner().await.patch("/environments/staging", body).await.ok();
    assert_eq!(shown["adopt_until"], until);
    let client = without_secret(world, "Billing", client_id).await;
    Adopted { world, client }
}

async fn without_secret(world: &World, name: &str, client_id: &str) -> Client {
    let owner = world.owner().await;
    let property = owner.post("/properties", json!({"name": format!("Of {name}")})).await.created();
    let body = json!({
        "name": name, "property_id": property["id"], "environments": ["staging"], "client_id": client_id,
        "adopt": true,
    });
    let created = owner.post("/clients", body).await.created();
    let shown = &created["registrations"][0];
    assert_eq!((&shown["secret"], &shown["adoption"]), (&Value::Null, &json!("waiting")));
    let registration = Registration {
        environment: "staging".into(),
        client_id: client_id.to_owned(),
        secret_id: String::new(),
        secret: String::new(),
    };
    Client { id: text(&created["id"]), name: name.to_owned(), registrations: vec![registration] }
}

impl Adopted<'_> {
    async fn send(&self, endpoint: &str, credentials: &str, form: &str) -> Answer {
        let basic = format!("Basic {}", STANDARD.encode(credentials));
        let headers = [("content-type", "application/x-www-form-urlencoded"), ("authorization", &*basic)];
        self.world.oauth("staging").raw(Method::POST, endpoint, form.as_bytes().to_vec(), &headers).await
    }

    async fn token(&self, secret: &str) -> Answer {
        self.send("token", &format!("{}:{secret}", self.client.registrations[0].client_id), FORM).await
    }

    async fn secrets(&self) -> Vec<Value> {
        let owner = self.world.owner().await;
        let listed = owner.get(&self.client.path("staging", "/secrets")).await.ok();
        listed["items"].as_array().unwrap().clone()
    }

    async fn registration(&self) -> Value {
        self.world.owner().await.get(&self.client.path("staging", "")).await.ok()
    }

    async fn slots(&self) -> Vec<String> {
        let owner = self.world.owner().await;
        let shown = owner.get(&self.client.path("staging", "/upstream-credential")).await.ok();
        let slot = |it: &Value| format!("{} {}", text(&it["slot"]), text(&it["state"]));
        shown["slots"].as_array().unwrap().iter().map(slot).collect()
    }
}

async fn events(world: &World, action: &str) -> Vec<Value> {
    let found = world.owner().await.get(&format!("/audit-events?action={action}")).await.ok();
    found["items"].as_array().unwrap().clone()
}

async fn a_secret_that_the_issuer_accepts_is_learned_and_verified_here(mut world: World) {
    let issuer = Issuer::start("upstream1ofTheIssuer").await;
    let front = adopted(&mut world, &issuer, "app").await;
    let owner = front.world.owner().await;
    let waiting =
        async || owner.get("/clients?without_secret=true").await.ok()["items"].as_array().unwrap().len();
    assert_eq!((waiting().await, front.secrets().await.len()), (1, 0));
    assert_eq!(front.token("wrong").await.expect(401)["error"], "invalid_client");
    assert_eq!(issuer.take().len(), 1, "the issuer decides");
    assert_eq!(front.token("upstream1ofTheIssuer").await.bytes, TOKEN.as_bytes());
    let seen = issuer.take();
    let basic = |credentials: &str| format!("authorization: Basic {}\r\n", STANDARD.encode(credentials));
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert!(
        seen[0].contains(&basic("app:upstream1ofTheIssuer")) && seen[0].ends_with(FORM),
        "as it was sent: {seen:?}"
    );
    assert!(seen[1].ends_with("grant_type=refresh_token&refresh_token=crossfade-test"), "{seen:?}");
    assert!(!seen[1].contains(&basic("app:upstream1ofTheIssuer")), "a secret that nobody has: {seen:?}");
    let secrets = front.secrets().await;
    assert_eq!((secrets.len(), &secrets[0]["origin"]), (1, &json!("imported")));
    assert_eq!((&secrets[0]["state"], &secrets[0]["stored"]), (&json!("current"), &json!(false)));
    assert_eq!(front.slots().await, ["current ok"]);
    assert_eq!((waiting().await, &front.registration().await["adoption"]), (0, &Value::Null));
    let learned = events(front.world, "secret.learned").await;
    assert_eq!(learned[0]["details"]["secret_id"], secrets[0]["id"]);
    assert_eq!(learned[0]["details"]["method"], "client_secret_basic");
    // From now on it is verified here, with evidence.
    front.token("upstream1ofTheIssuer").await.is_token();
    assert_eq!(front.secrets().await[0]["use_count"], 2, "the request that has proved it is counted");
    assert_eq!(issuer.take().len(), 1);
    front.world.advance(24 * HOUR);
    front.token("wrong").await.is_invalid_client();
    assert!(issuer.take().is_empty());
    front.token("upstream1ofTheIssuer").await.is_token();
    for table in ["audit_events", "notifications", "upstream_slots"] {
        let column = if table == "upstream_slots" { "CAST(sealed AS TEXT)" } else { "CAST(details AS TEXT)" };
        let found = format!("SELECT COUNT(*) FROM {table} WHERE {column} LIKE '%upstream1ofTheIssuer%'");
        assert_eq!(front.world.number(&found).await, 0, "{table}");
    }
}

async fn a_second_secret_is_learned_and_a_third_one_is_not(mut world: World) {
    let issuer = Issuer::start("upstream1ofTheIssuer").await;
    let front = adopted(&mut world, &issuer, "app").await;
    front.token("upstream1ofTheIssuer").await.is_token();
    issuer.set_secret("upstream2ofTheIssuer");
    front.token("upstream2ofTheIssuer").await.is_token();
    assert_eq!(issuer.take().len(), 4, "a secret that nobody has is tried before each");
    let secrets = front.secrets().await;
    let states: Vec<_> = secrets.iter().map(|it| (text(&it["state"]), text(&it["origin"]))).collect();
    let imported = |state: &str| (state.to_owned(), "imported".to_owned());
    assert_eq!(states, [imported("current"), imported("retiring")]);
    assert_eq!(front.slots().await, ["current ok", "next ok"]);
    issuer.set_secret("upstream3ofTheIssuer");
    front.token("upstream3ofTheIssuer").await.is_invalid_client();
    assert!(issuer.take().is_empty());
    // Callers of both work, with whichever of them the issuer still accepts.
    issuer.set_secret("upstream1ofTheIssuer");
    for secret in ["upstream1ofTheIssuer", "upstream2ofTheIssuer"] {
        front.token(secret).await.is_token();
    }
    let owner = front.world.owner().await;
    let rotations = owner.get(&front.client.path("staging", "/rotations")).await.ok();
    assert_eq!(rotations["items"][0]["outgoing_secret"]["id"], secrets[1]["id"]);
    // The way back is still without a new secret.
    let release = front.client.path("staging", "/upstream-credential/release");
    assert_eq!(owner.post(&release, json!({})).await.ok()["rotated"], false);
    // The one that is not wanted is ended like any other.
    let revoke = format!("/secrets/{}/revoke", text(&secrets[1]["id"]));
    owner.post(&front.client.path("staging", &revoke), json!({"reason": "moved"})).await.ok();
    issuer.take();
    front.token("upstream1ofTheIssuer").await.is_invalid_client();
    assert!(issuer.take().is_empty(), "what has ended is not learned again");
    front.token("upstream2ofTheIssuer").await.is_token();
}

async fn many_requests_at_once_learn_one_secret(mut world: World) {
    let issuer = Issuer::start("upstream1ofTheIssuer").await;
    let front = adopted(&mut world, &issuer, "app").await;
    let answers = futures_util::future::join_all((0..20).map(|_| front.token("upstream1ofTheIssuer"))).await;
    for answer in answers {
        answer.is_token();
    }
    assert_eq!(front.secrets().await.len(), 1);
    assert_eq!(events(front.world, "secret.learned").await.len(), 1);
    let tests = issuer.take().into_iter().filter(|it| it.ends_with("refresh_token=crossfade-test"));
    assert_eq!(tests.count(), 1);
}

async fn a_learned_secret_is_rotated_away_like_any_other(mut world: World) {
    let issuer = Issuer::start("upstream1ofTheIssuer").await;
    let front = adopted(&mut world, &issuer, "app").await;
    front.token("upstream1ofTheIssuer").await.is_token();
    let owner = front.world.owner().await;
    let path = front.client.path("staging", "/secrets/rotate");
    let rotated = owner.post(&path, front.client.rotation(24)).await.created();
    let new = text(&rotated["secret"]["value"]);
    for secret in ["upstream1ofTheIssuer", &new] {
        front.token(secret).await.is_token();
    }
    issuer.take();
    // A third secret is not learned after that, although the time has not passed.
    front.token("upstream2ofTheIssuer").await.is_invalid_client();
    assert!(issuer.take().is_empty());
    front.world.advance(24 * HOUR);
    front.token("upstream1ofTheIssuer").await.is_invalid_client();
    front.token(&new).await.is_token();
    assert_eq!(issuer.take().len(), 1, "the issuer goes on getting its own secret");
}

async fn a_rotation_gives_a_registration_without_a_secret_its_first_one(mut world: World) {
    let issuer = Issuer::start("upstream1ofTheIssuer").await;
    let front = adopted(&mut world, &issuer, "app").await;
    let owner = front.world.owner().await;
    let path = front.client.path("staging", "/secrets/rotate");
    // No transition keeps a secret that is not known here.
    let refused = owner.post(&path, front.client.rotation(24)).await.refused(422, "transition_out_of_range");
    assert_eq!(refused["field"], "transition_hours");
    assert_eq!(front.registration().await["adoption"], "waiting");
    let rotated = owner.post(&path, front.client.rotation(0)).await.created();
    assert_eq!(rotated["previous_secret"]["state"], "expired", "nobody has it");
    let new = text(&rotated["secret"]["value"]);
    front.token("upstream1ofTheIssuer").await.is_invalid_client();
    assert!(issuer.take().is_empty(), "nothing is learned any more");
    assert_eq!(front.registration().await["adoption"], Value::Null);
    let set = front.client.path("staging", "/upstream-credential");
    owner
        .call(Method::PUT, &set, Some(json!({"secret": "upstream1ofTheIssuer"}).to_string()), &[])
        .await
        .ok();
    front.token(&new).await.is_token();
}

async fn a_public_client_is_never_learned(mut world: World) {
    let issuer = Issuer::start("upstream1ofTheIssuer").await;
    let front = adopted(&mut world, &issuer, "app").await;
    // It looks at the grant alone.
    issuer.refuse_with(&answer(400, r#"{"error":"invalid_grant"}"#));
    for _ in 0..2 {
        assert_eq!(front.token("upstream1ofTheIssuer").await.expect(200)["access_token"], "of-the-issuer");
    }
    assert_eq!(front.secrets().await.len(), 0);
    assert_eq!(front.registration().await["adoption"], "public_client");
    assert_eq!(events(front.world, "registration.public_client_found").await.len(), 1);
    // The issuer answers until the time is over.
    front.world.advance(24 * HOUR);
    issuer.take();
    front.token("upstream1ofTheIssuer").await.is_invalid_client();
    assert!(issuer.take().is_empty());
}

async fn only_an_access_token_proves_a_secret(mut world: World) {
    let issuer = Issuer::start("upstream1ofTheIssuer").await;
    let front = adopted(&mut world, &issuer, "app").await;
    for (status, body) in [
        (200, r#"{"error":"invalid_client"}"#),
        (200, r#"{"access_token":""}"#),
        (200, r#"{"access_token":null}"#),
        (200, r#"{"token_type":"Bearer"}"#),
        (200, "[]"),
        (201, "{}"),
        (400, TOKEN),
        (401, TOKEN),
        (500, TOKEN),
    ] {
        issuer.answer(&answer(status, body));
        assert_eq!(front.token("upstream1ofTheIssuer").await.status.as_u16(), status, "{body}");
        assert_eq!(front.secrets().await.len(), 0, "{status} {body}");
    }
    front.send("par", "app:upstream1ofTheIssuer", "response_type=code").await.expect(200);
    assert_eq!(front.secrets().await.len(), 0, "another endpoint");
    front.token("upstream1ofTheIssuer").await.is_token();
    assert_eq!(front.secrets().await.len(), 1);
}

async fn what_strangers_send_leaves_nothing(mut world: World) {
    let issuer = Issuer::start("upstream1ofTheIssuer").await;
    let front = adopted(&mut world, &issuer, "app").await;
    let count = async |table: &str| front.world.number(&format!("SELECT COUNT(*) FROM {table}")).await;
    let rows = async || {
        (
            count("secrets").await,
            count("upstream_slots").await,
            count("rotations").await,
            count("change_log").await,
        )
    };
    let before = rows().await;
    for n in 0..50 {
        front.token(&format!("guess{n}")).await.expect(401);
    }
    assert_eq!(issuer.take().len(), 50, "and no test");
    assert_eq!(rows().await, before);
    front.token("upstream1ofTheIssuer").await.is_token();
    assert_eq!(front.secrets().await.len(), 1, "guesses keep nobody out");
}

async fn nothing_is_learned_for_a_registration_that_is_disabled_or_deleted(mut world: World) {
    let issuer = Issuer::start("upstream1ofTheIssuer").await;
    let front = adopted(&mut world, &issuer, "app").await;
    let owner = front.world.owner().await;
    let path = front.client.path("staging", "");
    owner.patch(&path, json!({"enabled": false, "confirm_client_name": "Billing"})).await.ok();
    front.token("upstream1ofTheIssuer").await.is_invalid_client();
    owner.patch(&path, json!({"enabled": true, "allowed_networks": ["203.0.113.0/24"]})).await.ok();
    front.token("upstream1ofTheIssuer").await.is_invalid_client();
    let methods = json!({"allowed_networks": null, "token_endpoint_auth_methods": ["client_secret_post"]});
    owner.patch(&path, methods).await.ok();
    front.token("upstream1ofTheIssuer").await.is_invalid_client();
    assert!(issuer.take().is_empty());
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", "app"),
        ("client_secret", "upstream1ofTheIssuer"),
    ];
    // While the issuer has it, the client is deleted.
    issuer.set_held(true);
    let asked = async { front.world.oauth("staging").form("token", &form, &[]).await };
    let deleted = async {
        issuer.wait_for(1).await;
        let gone = json!({"confirm_client_name": "Billing", "reason": "gone"});
        owner.delete(&format!("/clients/{}", front.client.id), gone).await.expect(200);
        issuer.set_held(false);
    };
    let (answer, ()) = futures_util::future::join(asked, deleted).await;
    answer.is_token();
    assert_eq!(front.world.number("SELECT COUNT(*) FROM secrets WHERE origin = 'imported'").await, 0);
    issuer.take();
    front.world.oauth("staging").form("token", &form, &[]).await.is_invalid_client();
    assert!(issuer.take().is_empty());
}

async fn nothing_is_learned_after_the_time_or_by_another_way(mut world: World) {
    let issuer = Issuer::start("upstream1ofTheIssuer").await;
    let front = adopted(&mut world, &issuer, "app").await;
    let owner = front.world.owner().await;
    for headers in [
        &[("authorization", "Bearer upstream1ofTheIssuer")][..],
        &[("authorization", "Basic !")],
        &[("authorization", "Basic YXBwOnVwc3RyZWFtMQ=="), ("authorization", "Basic YXBwOnVwc3RyZWFtMQ==")],
    ] {
        let all: Vec<_> = [("content-type", "application/x-www-form-urlencoded")]
            .into_iter()
            .chain(headers.iter().copied())
            .collect();
        let oauth = front.world.oauth("staging");
        let refused = oauth.raw(Method::POST, "token", FORM.as_bytes().to_vec(), &all).await;
        assert!([400, 401].contains(&refused.status.as_u16()), "{headers:?}");
    }
    let both = format!("{FORM}&client_secret=upstream1ofTheIssuer");
    front.send("token", "app:upstream1ofTheIssuer", &both).await.expect(400);
    let assertion = format!("{FORM}&client_assertion=e30.e30.AA&client_assertion_type=x&client_id=app");
    front.send("token", "app:upstream1ofTheIssuer", &assertion).await.expect(400);
    assert!(issuer.take().is_empty());
    // Between the request and the answer, the time is over.
    issuer.set_held(true);
    let stopped = async {
        issuer.wait_for(1).await;
        owner.patch("/environments/staging", json!({"adopt_until": null})).await.ok();
        issuer.set_held(false);
    };
    let (answer, ()) = futures_util::future::join(front.token("upstream1ofTheIssuer"), stopped).await;
    answer.is_token();
    assert_eq!(front.secrets().await.len(), 0);
    issuer.take();
    front.token("upstream1ofTheIssuer").await.is_invalid_client();
    assert!(issuer.take().is_empty());
    // It is listed as what was not seen.
    let listed = owner.get("/clients?without_secret=true&environment=staging").await.ok();
    assert_eq!(listed["items"][0]["registrations"][0]["adoption"], "waiting");
    let past = front.world.now().before(HOUR).to_string();
    owner.patch("/environments/staging", json!({"adopt_until": past})).await.ok();
    front.token("upstream1ofTheIssuer").await.is_invalid_client();
    assert!(issuer.take().is_empty());
}

async fn a_secret_of_ours_goes_to_no_issuer_and_is_not_learned(mut world: World) {
    let own = world.client("Own", &["development"]).await.registration("development").secret.clone();
    let issuer = Issuer::start(&own).await;
    let front = adopted(&mut world, &issuer, "app").await;
    front.token(&own).await.is_invalid_client();
    front.token(&own.replace('_', "%5F")).await.is_invalid_client();
    let form = [("grant_type", "client_credentials"), ("client_id", "app"), ("client_secret", &own)];
    front.world.oauth("staging").form("token", &form, &[]).await.is_invalid_client();
    assert!(issuer.take().is_empty());
    assert_eq!(front.secrets().await.len(), 0);
}

async fn a_request_that_names_another_client_is_refused(mut world: World) {
    let issuer = Issuer::start("upstream1ofTheIssuer").await;
    let front = adopted(&mut world, &issuer, "app").await;
    // Its old secret may be good at the issuer, though it has ended here.
    without_secret(front.world, "Other", "a%70p").await;
    let ambiguous = format!("{FORM}&Client_ID=other");
    for (credentials, form) in [
        ("a%70p:upstream1ofTheIssuer", FORM),
        ("app:upstream1ofTheIssuer", "grant_type=client_credentials&client_id=a%2570p"),
        ("app:upstream1ofTheIssuer", &*ambiguous),
    ] {
        let refused = front.send("token", credentials, form).await;
        assert_eq!(refused.expect(400)["error"], "invalid_request", "{credentials} {form}");
    }
    assert!(issuer.take().is_empty());
}

async fn a_secret_with_odd_characters_is_learned_as_the_issuer_reads_it(mut world: World) {
    // The issuer decodes nothing.
    let secret = "p%2Bq-r+s0123456789";
    let issuer = Issuer::start(secret).await;
    let front = adopted(&mut world, &issuer, "app").await;
    front.token(secret).await.is_token();
    assert_eq!(front.secrets().await.len(), 1);
    assert_eq!(issuer.take().len(), 4, "one that nobody has, and two other readings");
    front.token(secret).await.is_token();
    let basic = format!("authorization: Basic {}\r\n", STANDARD.encode(format!("app:{secret}")));
    let seen = issuer.take();
    assert!(seen.len() == 1 && seen[0].contains(&basic), "{seen:?}");
    // It is the same secret in a form, and no second one.
    let form =
        |secret| [("grant_type", "client_credentials"), ("client_id", "app"), ("client_secret", secret)];
    front.world.oauth("staging").form("token", &form(secret), &[]).await.is_token();
    assert_eq!(front.secrets().await.len(), 1);
    front.world.advance(24 * HOUR);
    for other in ["p+q-r s0123456789", "p+q-r+s0123456789"] {
        front.world.oauth("staging").form("token", &form(other), &[]).await.is_invalid_client();
    }
    front.token("p%2Bq%2Dr%2Bs0123456789").await.is_invalid_client();
}

async fn an_issuer_that_decodes_has_the_decoded_secret(mut world: World) {
    let issuer = Issuer::start("p+q/r s0123456789").await;
    issuer.decode_basic();
    let front = adopted(&mut world, &issuer, "app").await;
    // The first answer is the token; the client must not refresh, which the issuer says once it has authenticated it.
    issuer.answer(&answer(200, TOKEN));
    issuer.answer(&answer(400, r#"{"error":"invalid_request"}"#));
    front.token("p%2Bq/r+s0123456789").await.is_token();
    assert_eq!((front.secrets().await.len(), front.slots().await), (1, vec!["current ok".to_owned()]));
    front.world.advance(24 * HOUR);
    front.token("p%2Bq%2Fr%20s0123456789").await.is_token();
    front.token("p+q/r+s0123456789").await.is_invalid_client();
}

/// An issuer can look at an assertion, a code or a password alone, or know the client by it.
async fn a_grant_that_can_do_without_the_secret_proves_none(mut world: World) {
    let issuer = Issuer::start("upstream1ofTheIssuer").await;
    let front = adopted(&mut world, &issuer, "app").await;
    issuer.take_any(true);
    for grant in [
        "urn:ietf:params:oauth:grant-type:jwt-bearer&assertion=x",
        "urn:ietf:params:oauth:grant-type:device_code&device_code=x",
        "urn:ietf:params:oauth:grant-type:token-exchange&subject_token=x",
        "authorization_code&code=x",
        "password&username=x&password=x",
    ] {
        front.send("token", "app:ofAStranger0123456789", &format!("grant_type={grant}")).await.is_token();
        assert_eq!(issuer.take().len(), 1, "{grant}");
    }
    // An issuer that reads the name in another way means another client.
    front.send("token", "a%70p:ofAStranger0123456789", FORM).await.is_token();
    assert_eq!((issuer.take().len(), front.secrets().await.len()), (1, 0));
    issuer.take_any(false);
    front
        .send("token", "app:upstream1ofTheIssuer", "grant_type=refresh_token&refresh_token=x")
        .await
        .is_token();
    assert_eq!(front.secrets().await.len(), 1);
}

/// No lockout of the issuer protects it here.
async fn a_secret_that_can_be_guessed_is_not_learned(mut world: World) {
    let issuer = Issuer::start("hunter2hunter2!").await;
    let front = adopted(&mut world, &issuer, "app").await;
    front.token("hunter2hunter2!").await.is_token();
    assert_eq!((front.secrets().await.len(), issuer.take().len()), (0, 1));
}

/// A nightly job must not end what nobody has decided to end.
async fn a_rotation_by_age_waits_for_the_first_secret(mut world: World) {
    let issuer = Issuer::start("upstream1ofTheIssuer").await;
    let front = adopted(&mut world, &issuer, "app").await;
    let rotate = front.client.path("staging", "/secrets/rotate");
    let body =
        json!({"transition_hours": 24, "confirm_client_name": "Billing", "if_older_than_seconds": 86_400});
    let refused =
        front.world.owner().await.post(&rotate, body.clone()).await.refused(409, "rotation_conflict");
    assert_eq!(refused["field"], "if_older_than_seconds");
    assert_eq!(
        (front.secrets().await.len(), front.registration().await["adoption"].clone()),
        (0, json!("waiting"))
    );
    front.token("upstream1ofTheIssuer").await.is_token();
    assert_eq!(front.world.owner().await.post(&rotate, body).await.ok()["rotated"], false);
}

async fn the_request_that_proves_a_secret_is_its_first_use(mut world: World) {
    let issuer = Issuer::start("upstream1ofTheIssuer").await;
    let front = adopted(&mut world, &issuer, "app").await;
    front.token("upstream1ofTheIssuer").await.is_token();
    issuer.set_secret("upstream2ofTheIssuer");
    front.token("upstream2ofTheIssuer").await.is_token();
    let owner = front.world.owner().await;
    let usage = owner.get(&front.client.path("staging", "/usage")).await.ok();
    let counts: Vec<_> =
        usage["items"].as_array().unwrap().iter().map(|it| it["use_count"].clone()).collect();
    assert_eq!(counts, [json!(1), json!(1)], "{usage}");
    // So nobody ends the second one by mistake.
    let rotations = owner.get(&front.client.path("staging", "/rotations")).await.ok();
    let back = format!("/rotations/{}/rollback", text(&rotations["items"][0]["id"]));
    let back = front.client.path("staging", &back);
    owner.post(&back, json!({"reason": "x"})).await.refused(409, "newer_secret_in_use");
}

async fn a_secret_that_is_too_long_works_at_the_issuer_until_the_end(mut world: World) {
    let long = "x".repeat(257);
    let issuer = Issuer::start(&long).await;
    let front = adopted(&mut world, &issuer, "app").await;
    front.token(&long).await.is_token();
    assert_eq!((front.secrets().await.len(), issuer.take().len()), (0, 1));
    front.world.advance(24 * HOUR);
    front.token(&long).await.is_invalid_client();
    assert!(issuer.take().is_empty());
}

async fn owners_say_until_when_and_rotators_say_for_whom(mut world: World) {
    let issuer = Issuer::start("upstream1ofTheIssuer").await;
    let front = adopted(&mut world, &issuer, "app").await;
    let owner = front.world.owner().await;
    let manager = front.world.user("manager@example.com", "operations_manager").await;
    let until = |hours: u32| json!({"adopt_until": front.world.now().after(hours * HOUR).to_string()});
    manager.patch("/environments/staging", until(1)).await.refused(403, "forbidden");
    for bad in [until(24 * 90 + 1), json!({"adopt_until": "tomorrow"}), json!({"adopt_until": ""})] {
        let problem = owner.patch("/environments/staging", bad).await.refused(422, "invalid_body");
        assert_eq!(problem["field"], "adopt_until");
    }
    let problem = owner.patch("/environments/production", until(1)).await.refused(422, "invalid_body");
    assert_eq!(problem["field"], "adopt_until");
    owner.patch("/environments/staging", until(24 * 90)).await.ok();
    let event = &events(front.world, "environment.updated").await[0];
    assert!(event["details"]["after"]["adopt_until"].is_string());
    let of = |environment: &str, client_id: Value| {
        let name = format!("In {environment} {client_id}");
        let property = text(&json!(front.client.id));
        json!({"name": name, "property_id": property, "environments": [environment], "client_id": client_id, "adopt": true})
    };
    let mut own = of("production", Value::Null);
    own["property_id"] = owner.post("/properties", json!({"name": "P"})).await.created()["id"].clone();
    let problem = owner.post("/clients", own.clone()).await.refused(422, "invalid_body");
    assert_eq!(problem["field"], "adopt");
    owner.patch("/environments/staging", json!({"adopt_until": null})).await.ok();
    let mut late = of("staging", json!("other"));
    late["property_id"] = own["property_id"].clone();
    let problem = owner.post("/clients", late.clone()).await.refused(422, "invalid_body");
    assert_eq!(problem["field"], "adopt");
    owner.patch("/environments/staging", until(1)).await.ok();
    let application_manager = front.world.user("app@example.com", "application_manager").await;
    application_manager.post("/clients", late.clone()).await.refused(403, "forbidden");
    owner.post("/clients", late).await.created();
}
