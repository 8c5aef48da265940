//! What is sent by mistake or in bad faith: it is refused as what it is, it changes nothing, it is not
//! repeated back, and it never brings out a fault of the server.

use crate::engines::on_both_engines;
use crate::world::{Answer, Caller, Client, World};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::Method;
use serde_json::{Value, json};
use std::{cell::RefCell, io::Write, sync::Once, time::Duration};

on_both_engines! {
    a_transition_is_a_whole_number_of_hours_from_0_to_168_rule_9,
    a_number_beyond_all_floats_is_out_of_range_too_rule_9,
    what_is_not_json_is_invalid_json_400,
    json_is_utf_8_rfc8259_8_1,
    bodies_of_another_shape_are_refused_and_change_nothing_422,
    the_field_of_a_problem_names_a_member_and_not_a_value,
    what_stands_within_a_member_is_not_repeated,
    a_body_has_at_most_64_kib,
    ids_that_are_foreign_unknown_malformed_or_of_another_kind_are_one_and_the_same_404,
    what_one_may_not_read_is_the_same_404,
    a_secret_pasted_where_it_does_not_belong_is_refused_and_not_repeated_rule_18,
    a_secret_pasted_into_a_query_is_refused_and_not_repeated_rule_18,
    a_secret_is_never_logged_rule_18,
    names_and_reasons_that_cannot_be_shown_or_typed_are_refused,
    names_are_unique_in_the_form_in_which_they_are_compared,
    settings_out_of_range_are_refused,
    lists_refuse_bad_limits_cursors_and_parameters,
    a_body_with_an_encoding_is_415_before_authentication,
    pages_are_cut_without_loss_and_linked,
    a_zero_byte_in_a_query_finds_nothing,
    a_search_takes_its_text_literally,
    unknown_routes_are_404_and_wrong_methods_405_with_allow,
    the_root_of_the_api_is_an_unknown_route_of_it,
    checks_come_in_the_contract_s_order,
    a_missing_secret_is_404_before_anything_else_is_412,
    a_request_that_contradicts_itself_is_422_before_409,
    a_path_that_is_no_text_is_401_without_a_token,
    bad_idempotency_keys_are_refused,
    names_of_all_scripts_come_back_as_they_were_sent,
}

const HOUR: Duration = Duration::from_secs(3600);

/// Ids of each kind that nothing has.
const NOBODY: &str = "cl_0000000000000000000000";
const NO_SECRET: &str = "sec_0000000000000000000000";
const NO_DRILL: &str = "drill_0000000000000000000000";
const NO_ROTATION: &str = "rot_0000000000000000000000";

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is not a text"))
}

async fn send(caller: &Caller<'_>, method: &Method, path: &str, body: &str) -> Answer {
    caller.call(method.clone(), path, Some(body.to_owned()), &[]).await
}

/// Everything that a refusal must leave as it is.
async fn snapshot(owner: &Caller<'_>, client: &Client) -> Vec<Value> {
    let mut all = Vec::new();
    for path in ["/properties", "/environments", "/clients"] {
        all.push(owner.get(path).await.ok());
    }
    for registration in &client.registrations {
        for list in ["/secrets", "/rotations", "/drills"] {
            all.push(owner.get(&client.path(&registration.environment, list)).await.ok());
        }
    }
    for table in [
        "properties",
        "clients",
        "registrations",
        "secrets",
        "rotations",
        "drills",
        "signing_keys",
        "notifications",
        "idempotency",
        "change_log",
    ] {
        all.push(json!([table, owner.world.number(&format!("SELECT COUNT(*) FROM {table}")).await]));
    }
    all
}

/// Every mutation, with a body that it would take.
async fn mutations(owner: &Caller<'_>, client: &Client) -> Vec<(Method, String, Value)> {
    let property = owner.get(&format!("/clients/{}", client.id)).await.ok()["property_id"].clone();
    let secret = &client.registration("production").secret_id;
    let rotation = owner.get(&client.path("production", "/rotations")).await.ok()["items"][0]["id"].clone();
    let rotation = rotation.as_str().unwrap_or(NO_ROTATION);
    let drill = owner.get(&client.path("production", "/drills")).await.ok()["items"][0]["id"].clone();
    let drill = drill.as_str().unwrap_or(NO_DRILL);
    let later = owner.world.now().after(HOUR * 48).to_string();
    let registration = |rest: &str| client.path("production", rest);
    vec![
        (Method::POST, "/properties".into(), json!({"name": "Shop"})),
        (Method::PATCH, format!("/properties/{}", text(&property)), json!({"name": "Shop"})),
        (Method::POST, "/environments".into(), json!({"slug": "eu", "name": "EU", "kind": "live"})),
        (Method::PATCH, "/environments/staging".into(), json!({"name": "Stage"})),
        (Method::POST, "/environments/staging/signing-keys/rotate".into(), json!({"reason": "yearly"})),
        (
            Method::POST,
            "/clients".into(),
            json!({"name": "New", "property_id": property, "environments": ["staging"]}),
        ),
        (Method::PATCH, format!("/clients/{}", client.id), json!({"description": "Money"})),
        (
            Method::DELETE,
            format!("/clients/{}", client.id),
            json!({"confirm_client_name": client.name, "reason": "x"}),
        ),
        (Method::POST, format!("/clients/{}/environments", client.id), json!({"environment": "development"})),
        (Method::PATCH, registration(""), json!({"scopes": ["read"]})),
        (Method::POST, registration("/secrets/rotate"), client.rotation(0)),
        (Method::POST, registration(&format!("/secrets/{secret}/reveal")), json!({"reason": "x"})),
        (Method::POST, registration(&format!("/secrets/{secret}/revoke")), json!({"reason": "x"})),
        (
            Method::POST,
            registration(&format!("/secrets/{secret}/extend")),
            json!({"reason": "x", "expires_at": later}),
        ),
        (Method::POST, registration(&format!("/rotations/{rotation}/rollback")), json!({"reason": "x"})),
        (
            Method::POST,
            registration("/drills"),
            json!({"reason": "x", "length_seconds": 60, "confirm_client_name": client.name}),
        ),
        (Method::DELETE, registration(&format!("/drills/{drill}")), json!({"reason": "x"})),
    ]
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

async fn a_transition_is_a_whole_number_of_hours_from_0_to_168_rule_9(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let path = client.path("production", "/secrets/rotate");
    let before = snapshot(&owner, &client).await;
    let missing = r#"{"confirm_client_name": "Billing"}"#.to_owned();
    let values = [
        "null",
        "\"24\"",
        "\"\"",
        "\"24h\"",
        "24.5",
        "1.5",
        "0.5",
        "-1",
        "-0.0",
        "169",
        "168.0",
        "24.0",
        "0.0",
        "1e1",
        "1e9",
        "1e-1",
        "true",
        "false",
        "[]",
        "[24]",
        "{}",
        "{\"hours\": 24}",
        "256",
        "4294967296",
        "9223372036854775808",
        "18446744073709551616",
        "99999999999999999999999999999999",
        "-9223372036854775809",
        "1e308",
    ];
    let bodies = values
        .iter()
        .map(|value| format!(r#"{{"transition_hours": {value}, "confirm_client_name": "Billing"}}"#));
    for body in bodies.chain([missing]) {
        let problem = send(&owner, &Method::POST, &path, &body).await.refused(422, "transition_out_of_range");
        assert_eq!(problem["field"], "transition_hours", "{body}");
        assert!(text(&problem["detail"]).contains("from 0 to 168"), "{body}");
    }
    assert_eq!(snapshot(&owner, &client).await, before);
    for good in [168, 0] {
        let body = json!({"transition_hours": good, "confirm_client_name": "Billing", "end_running_transition": true});
        let reply = owner.post(&path, body).await.created();
        assert_eq!(reply["rotation"]["transition_hours"], good);
    }
}

async fn a_number_beyond_all_floats_is_out_of_range_too_rule_9(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    for value in ["1e400", "-1e400", "1e999999999"] {
        let body = format!(r#"{{"transition_hours": {value}, "confirm_client_name": "Billing"}}"#);
        let answer = send(&owner, &Method::POST, &client.path("production", "/secrets/rotate"), &body).await;
        answer.refused(422, "transition_out_of_range");
    }
}

async fn what_is_not_json_is_invalid_json_400(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let before = snapshot(&owner, &client).await;
    let calls = mutations(&owner, &client).await;
    for (method, path, good) in &calls {
        for body in [
            "{",
            "{\"name\": }",
            "name=Shop",
            "{'name': 'Shop'}",
            "{\"name\": \"a\"} x",
            "{\"a\": 1,}",
            "\u{feff}{}",
            "{\"a\": 01}",
            "{\"a\": NaN}",
            " ",
        ] {
            send(&owner, method, path, body).await.refused(400, "invalid_json");
        }
        for wrong in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/jsonp",
            "application/merge-patch+json",
            "",
        ] {
            let answer =
                owner.call(method.clone(), path, Some(good.to_string()), &[("content-type", wrong)]).await;
            answer.refused(400, "invalid_json");
        }
        if !path.ends_with("/reveal") && !path.contains("/drills/") {
            owner.call(method.clone(), path, None, &[]).await.refused(400, "invalid_json");
        }
    }
    assert_eq!(snapshot(&owner, &client).await, before);
    let charset = [("content-type", "Application/JSON; charset=utf-8")];
    owner
        .call(Method::POST, "/properties", Some(json!({"name": "Shop"}).to_string()), &charset)
        .await
        .created();
}

async fn json_is_utf_8_rfc8259_8_1(world: World) {
    let owner = world.owner().await;
    let request = http::Request::post("/api/v1/properties")
        .header("authorization", format!("Bearer {}", owner.token.clone().unwrap()))
        .header("content-type", "application/json")
        .body(b"{\"name\": \"\xff\xfe\"}".to_vec().into())
        .unwrap();
    world.send(request, [192, 0, 2, 1].into()).await.refused(400, "invalid_json");
}

async fn bodies_of_another_shape_are_refused_and_change_nothing_422(world: World) {
    let client = world.client("Billing", &["production", "staging"]).await;
    let owner = world.owner().await;
    owner.post(&client.path("production", "/secrets/rotate"), client.rotation(24)).await.created();
    let drill = json!({"starts_at": world.now().after(HOUR), "length_seconds": 60, "confirm_client_name": "Billing", "reason": "x"});
    owner.post(&client.path("production", "/drills"), drill).await.created();
    let before = snapshot(&owner, &client).await;
    let calls = mutations(&owner, &client).await;
    for (method, path, good) in &calls {
        let with = |member: &str, value: Value| {
            let mut body = good.clone();
            body[member] = value;
            body.to_string()
        };
        let first = good.as_object().unwrap().iter().next().unwrap();
        let repeated = format!("{{{}: {}, {}", json!(first.0), first.1, &good.to_string()[1..]);
        let wrong_type = with(first.0, json!({"nested": [1]}));
        let mut bodies = vec![
            "null".to_owned(),
            "[]".to_owned(),
            "\"x\"".to_owned(),
            "7".to_owned(),
            json!([good]).to_string(),
            json!(good.as_object().unwrap().values().collect::<Vec<_>>()).to_string(),
            repeated,
            wrong_type,
            with("unknown", json!(1)),
            with("Name", json!("x")),
            with("", json!("x")),
            with("__proto__", json!({})),
        ];
        // A caller-chosen secret is refused (product rule 11).
        for member in ["secret", "value", "client_secret", "secret_value", "client_id", "id"] {
            bodies.push(with(member, json!("hunter2hunter2hunter2")));
        }
        for body in bodies {
            let answer = send(&owner, method, path, &body).await;
            assert_eq!(
                answer.status.as_u16(),
                422,
                "{method} {path} {body}: {}",
                String::from_utf8_lossy(&answer.bytes)
            );
            assert!(
                !String::from_utf8_lossy(&answer.bytes).contains("hunter2"),
                "a value is not repeated back: {body}"
            );
        }
        for member in good.as_object().unwrap().keys() {
            let endless = with(member, json!("ENDLESS")).replace("\"ENDLESS\"", "1e999");
            for body in [with(member, json!({"nested": [1]})), endless] {
                let problem = send(&owner, method, path, &body).await.expect(422);
                assert_eq!(problem["field"], *member, "{method} {path} {body}: {problem}");
                assert!(problem["detail"].as_str().unwrap().ends_with("Nothing was changed."), "{problem}");
            }
        }
        let deep = format!("{{\"unknown\": {}{}}}", "[".repeat(20_000), "]".repeat(20_000));
        let answer = send(&owner, method, path, &deep).await;
        assert!([400, 422].contains(&answer.status.as_u16()), "{method} {path}: {}", answer.status);
    }
    assert_eq!(snapshot(&owner, &client).await, before);
}

async fn the_field_of_a_problem_names_a_member_and_not_a_value(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let unknown =
        owner.patch(&client.path("production", ""), json!({"scope": []})).await.refused(422, "invalid_body");
    assert_eq!(unknown["field"], "scope");
    let missing =
        owner.post("/environments", json!({"slug": "eu", "kind": "live"})).await.refused(422, "invalid_body");
    assert_eq!(missing["field"], "name");
    for (method, path, body) in [
        (Method::POST, "/environments".to_owned(), json!({"slug": "eu", "name": "EU", "kind": "magic"})),
        (Method::PATCH, client.path("production", ""), json!({"token_endpoint_auth_methods": ["magic"]})),
        (Method::PATCH, "/environments/staging".to_owned(), json!({"signing_alg": "magic"})),
    ] {
        let problem = send(&owner, &method, &path, &body.to_string()).await.refused(422, "invalid_body");
        let member = body.as_object().unwrap().keys().next_back().unwrap().clone();
        let field = problem["field"].as_str().unwrap();
        assert!(field == member || field == "kind", "{path}: {field}");
    }
}

/// A member that takes any value names itself, and nothing within it.
async fn what_stands_within_a_member_is_not_repeated(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    for body in [
        r#"{"transition_hours": {"hunter2": 1e999}}"#,
        r#"{"transition_hours": [1, {"a.hunter2": "\ud800"}]}"#,
    ] {
        let path = client.path("production", "/secrets/rotate");
        let problem = send(&owner, &Method::POST, &path, body).await.expect(422);
        assert_eq!(problem["field"], "transition_hours", "{problem}");
        assert!(!problem.to_string().contains("hunter2"), "{problem}");
    }
    let told = owner.get("/audit-events?limit=200").await.ok().to_string();
    assert!(!told.contains("hunter2"), "{told}");
}

async fn a_body_has_at_most_64_kib(world: World) {
    let owner = world.owner().await;
    let padded = |length: usize| {
        let body = json!({"name": "Shop"}).to_string();
        format!("{body}{}", " ".repeat(length - body.len()))
    };
    send(&owner, &Method::POST, "/properties", &padded(65_537)).await.refused(413, "body_too_large");
    send(&owner, &Method::POST, "/properties", &padded(10_000_000)).await.refused(413, "body_too_large");
    assert!(owner.get("/properties").await.ok()["items"].as_array().unwrap().is_empty());
    send(&owner, &Method::POST, "/properties", &padded(65_536)).await.created();
    let request = world.anonymous();
    send(&request, &Method::POST, "/properties", &padded(65_537)).await.refused(401, "unauthenticated");
}

async fn ids_that_are_foreign_unknown_malformed_or_of_another_kind_are_one_and_the_same_404(world: World) {
    let client = world.client("Billing", &["production", "staging"]).await;
    let other = world.client("Other", &["production"]).await;
    let gone = world.client("Gone", &["production"]).await;
    let owner = world.owner().await;
    owner
        .delete(&format!("/clients/{}", gone.id), json!({"confirm_client_name": "Gone", "reason": "x"}))
        .await;
    let rotated =
        owner.post(&other.path("production", "/secrets/rotate"), other.rotation(24)).await.created();
    let foreign_rotation = text(&rotated["rotation"]["id"]);
    let before = (snapshot(&owner, &client).await, snapshot(&owner, &other).await);
    let expected = owner.get(&format!("/clients/{NOBODY}")).await;
    let same = |answer: Answer, what: &str| {
        assert_eq!(answer.status.as_u16(), 404, "{what}");
        assert_eq!(
            (answer.bytes, answer.headers),
            (expected.bytes.clone(), expected.headers.clone()),
            "{what}"
        );
    };
    let property = owner.get("/properties").await.ok()["items"][0]["id"].clone();
    let secret = &client.registration("production").secret_id;
    let lower = client.id.to_lowercase();
    let clients = [
        &*gone.id,
        secret,
        text(&property),
        "cl_",
        "x",
        "%20",
        "..",
        "%2e%2e",
        "%00",
        "%FF",
        "%F0%9F%92%B8",
        &client.name,
        &lower,
        &client.id[..24],
        "null",
        "*",
    ];
    for id in clients {
        for rest in [
            "",
            "/environments/production",
            "/environments/production/secrets",
            "/environments/production/rotations",
            "/environments/production/usage",
        ] {
            let path = format!("/clients/{id}{rest}");
            same(owner.get(&path).await, &path);
        }
        let path = format!("/clients/{id}/environments/production/secrets/rotate");
        same(owner.post(&path, client.rotation(0)).await, &path);
        let path = format!("/clients/{id}");
        same(owner.delete(&path, json!({"confirm_client_name": client.name, "reason": "x"})).await, &path);
    }
    for environment in ["development", "nowhere", "Production", "production%20", "%00", "-", "prod.uction"] {
        let path = client.path(environment, "/secrets");
        same(owner.get(&path).await, &path);
    }
    // What belongs to another registration is not there, whatever is asked of it.
    let staging = &client.registration("staging").secret_id;
    let foreign = &other.registration("production").secret_id;
    for id in [
        staging,
        foreign,
        &gone.registration("production").secret_id,
        NO_SECRET,
        foreign_rotation,
        &client.id,
        "x",
        "%00",
        "%FF",
    ] {
        for (verb, body) in [
            ("reveal", json!({})),
            ("revoke", json!({"reason": "x"})),
            ("extend", json!({"reason": "x", "expires_at": world.now().after(HOUR).to_string()})),
        ] {
            let path = client.path("production", &format!("/secrets/{id}/{verb}"));
            same(owner.post(&path, body).await, &path);
        }
    }
    for id in [foreign_rotation, NO_ROTATION, secret, "x", "%00"] {
        let path = client.path("production", &format!("/rotations/{id}/rollback"));
        same(owner.post(&path, json!({"reason": "x"})).await, &path);
    }
    for path in ["/properties/prop_0000000000000000000000", "/properties/x", "/properties/%00"] {
        same(owner.get(path).await, path);
        same(owner.patch(path, json!({"name": "x"})).await, path);
        same(owner.delete(path, json!({})).await, path);
    }
    for path in ["/environments/nowhere", "/environments/%00", "/environments/A"] {
        same(owner.patch(path, json!({"name": "x"})).await, path);
        same(owner.delete(path, json!({})).await, path);
    }
    for path in ["/tokens/tok_0000000000000000000000", "/tokens/x", "/nothing", "/clients/", "/clients//x/y"]
    {
        same(owner.delete(path, json!({})).await, path);
    }
    assert_eq!((snapshot(&owner, &client).await, snapshot(&owner, &other).await), before);
}

async fn what_one_may_not_read_is_the_same_404(world: World) {
    let mine = world.client("Mine", &["production"]).await;
    let theirs = world.client("Theirs", &["production"]).await;
    let owner = world.owner().await;
    let bob = world.user("bob@example.com", "secret_rotator").await;
    let property = owner.get(&format!("/clients/{}", mine.id)).await.ok()["property_id"].clone();
    world
        .raw(&format!("UPDATE grants SET property_id = '{}' WHERE role = 'secret_rotator'", text(&property)))
        .await;
    bob.post(&mine.path("production", "/secrets/rotate"), mine.rotation(24)).await.created();
    let expected = bob.get(&format!("/clients/{NOBODY}")).await;
    let secret = &theirs.registration("production").secret_id;
    let rotate = theirs.path("production", "/secrets/rotate");
    let reveal = theirs.path("production", &format!("/secrets/{secret}/reveal"));
    for answer in [
        bob.get(&format!("/clients/{}", theirs.id)).await,
        bob.get(&theirs.path("production", "/secrets")).await,
        bob.post(&rotate, theirs.rotation(0)).await,
        bob.post(&rotate, json!({})).await,
        bob.post(&reveal, json!({})).await,
        bob.delete(
            &format!("/clients/{}", theirs.id),
            json!({"confirm_client_name": "Theirs", "reason": "x"}),
        )
        .await,
    ] {
        assert_eq!(
            (answer.status, answer.bytes, answer.headers),
            (expected.status, expected.bytes.clone(), expected.headers.clone())
        );
    }
    let list = bob.get("/clients").await.ok();
    assert_eq!(
        list["items"].as_array().unwrap().iter().map(|it| text(&it["id"])).collect::<Vec<_>>(),
        [mine.id.as_str()]
    );
    // What one may read but not do is 403.
    bob.patch(&format!("/clients/{}", mine.id), json!({"name": "x"})).await.refused(403, "forbidden");
    bob.get("/audit-events").await.refused(403, "forbidden");
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
    Caller { world: &world, token: Some(secret.clone()) }.get("/clients").await;
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

async fn names_and_reasons_that_cannot_be_shown_or_typed_are_refused(world: World) {
    let client = world.client("Billing", &["production", "staging"]).await;
    let owner = world.owner().await;
    let before = snapshot(&owner, &client).await;
    let property = owner.get("/properties").await.ok()["items"][0]["id"].clone();
    let long = "é".repeat(201);
    let hostile = [
        "a\u{0}b",
        "a\nb",
        "a\tb",
        "a\u{7f}b",
        "a\u{85}b",
        "a\u{200b}b",
        "a\u{200d}b",
        "a\u{202e}b",
        "a\u{2066}b",
        "a\u{2028}b",
        "\u{feff}a",
        "a\u{ad}b",
        "a\u{e0041}b",
    ];
    let unnamed = ["", " ", "\t\n", "\u{3000}", long.as_str()];
    for name in hostile.iter().chain(&unnamed) {
        for (method, path, body) in [
            (Method::POST, "/properties".to_owned(), json!({"name": name})),
            (Method::PATCH, format!("/properties/{}", text(&property)), json!({"name": name})),
            (
                Method::POST,
                "/clients".to_owned(),
                json!({"name": name, "property_id": property, "environments": ["staging"]}),
            ),
            (Method::PATCH, format!("/clients/{}", client.id), json!({"name": name})),
            (Method::POST, "/environments".to_owned(), json!({"slug": "eu", "name": name, "kind": "live"})),
            (Method::PATCH, "/environments/staging".to_owned(), json!({"name": name})),
        ] {
            let problem = send(&owner, &method, &path, &body.to_string()).await.refused(422, "invalid_body");
            assert_eq!(problem["field"], "name", "{path} {name:?}");
        }
    }
    let long = "é".repeat(1001);
    for reason in hostile.iter().chain([&long.as_str()]) {
        let body = json!({"transition_hours": 0, "confirm_client_name": "Billing", "reason": reason});
        let problem = owner
            .post(&client.path("production", "/secrets/rotate"), body)
            .await
            .refused(422, "invalid_body");
        assert_eq!(problem["field"], "reason", "{reason:?}");
        let problem = owner
            .patch(&format!("/clients/{}", client.id), json!({"description": reason}))
            .await
            .refused(422, "invalid_body");
        assert_eq!(problem["field"], "description", "{reason:?}");
    }
    for owners in [
        json!(["ada"]),
        json!(["@example.com"]),
        json!(["ada@"]),
        json!(["a@b@c"]),
        json!(["a da@example.com"]),
        json!([""]),
        json!(["ada@exa\u{202e}mple.com"]),
        json!(["ada@example.com\nbcc: x@y"]),
        json!(vec!["ada@example.com"; 51]),
    ] {
        let problem = owner
            .patch(&format!("/clients/{}", client.id), json!({"owners": owners}))
            .await
            .refused(422, "invalid_body");
        assert_eq!(problem["field"], "owners", "{owners}");
    }
    for slug in ["", "A", "a b", "-a", "a-", "a/b", "ä", "a.b", "..", &"a".repeat(41)] {
        let problem = owner
            .post("/environments", json!({"slug": slug, "name": "EU", "kind": "live"}))
            .await
            .refused(422, "invalid_body");
        assert_eq!(problem["field"], "slug", "{slug}");
    }
    for environments in [json!([]), json!(["nowhere"]), json!(["staging", "nowhere"])] {
        let body = json!({"name": "New", "property_id": property, "environments": environments});
        assert_eq!(owner.post("/clients", body).await.refused(422, "invalid_body")["field"], "environments");
    }
    for unknown in ["prop_0000000000000000000000", "x", NOBODY] {
        let body = json!({"name": "New", "property_id": unknown, "environments": ["staging"]});
        owner.post("/clients", body).await.refused(422, "invalid_body");
    }
    assert_eq!(snapshot(&owner, &client).await, before);
}

async fn names_are_unique_in_the_form_in_which_they_are_compared(world: World) {
    let client = world.client("Café", &["production"]).await;
    let owner = world.owner().await;
    let property = owner.get("/properties").await.ok()["items"][0]["id"].clone();
    for same in ["Café", " Cafe\u{301} "] {
        let body = json!({"name": same, "property_id": property, "environments": ["staging"]});
        owner.post("/clients", body).await.refused(409, "name_taken");
    }
    owner.post("/properties", json!({"name": "Property of Cafe\u{301}"})).await.refused(409, "name_taken");
    owner
        .post("/environments", json!({"slug": "staging", "name": "x", "kind": "test"}))
        .await
        .refused(409, "name_taken");
    owner
        .post(&format!("/clients/{}/environments", client.id), json!({"environment": "production"}))
        .await
        .refused(409, "name_taken");
    let elsewhere = owner.post("/properties", json!({"name": "Elsewhere"})).await.created();
    owner
        .post(
            "/clients",
            json!({"name": "Café", "property_id": elsewhere["id"], "environments": ["staging"]}),
        )
        .await
        .created();
}

async fn settings_out_of_range_are_refused(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let before = snapshot(&owner, &client).await;
    let long = "a".repeat(501);
    let many: Vec<String> = (0..101).map(|number| format!("s{number}")).collect();
    for (member, values) in [
        (
            "access_token_ttl_seconds",
            vec![json!(59), json!(0), json!(-1), json!(86_401), json!(i64::MAX), json!(i64::MIN)],
        ),
        ("token_endpoint_auth_methods", vec![json!([])]),
        (
            "scopes",
            vec![
                json!([""]),
                json!(["a b"]),
                json!(["a\"b"]),
                json!(["a\\b"]),
                json!(["é"]),
                json!(["a\nb"]),
                json!(["a".repeat(201)]),
                json!(many),
            ],
        ),
        ("audience", vec![json!(""), json!("a b"), json!("é"), json!("a\nb"), json!("a\"b"), json!(long)]),
    ] {
        for value in values {
            let problem = owner
                .patch(&client.path("production", ""), json!({member: value}))
                .await
                .refused(422, "invalid_body");
            assert_eq!(problem["field"], member, "{value}");
        }
    }
    for body in [
        json!({"access_token_ttl_seconds": "3600"}),
        json!({"access_token_ttl_seconds": 3600.5}),
        json!({"access_token_ttl_seconds": 1e30}),
        json!({"token_endpoint_auth_methods": ["none"]}),
        json!({"token_endpoint_auth_methods": "client_secret_basic"}),
        json!({"scopes": "read"}),
        json!({"may_introspect": "yes"}),
        json!({"enabled": 0}),
    ] {
        owner.patch(&client.path("production", ""), body).await.refused(422, "invalid_body");
    }
    for (member, values) in [
        ("wipe_after_days", vec![json!(-1), json!(3651), json!(i64::MAX)]),
        ("max_age_days", vec![json!(0), json!(-1), json!(3651)]),
        ("guard_extension_hours", vec![json!(0), json!(-1), json!(169), json!(i64::MAX)]),
        ("position", vec![json!(-1)]),
    ] {
        for value in values {
            let problem = owner
                .patch("/environments/production", json!({member: value}))
                .await
                .refused(422, "invalid_body");
            assert_eq!(problem["field"], member, "{value}");
        }
    }
    assert_eq!(snapshot(&owner, &client).await, before);
    for good in [60, 86_400] {
        owner.patch(&client.path("production", ""), json!({"access_token_ttl_seconds": good})).await.ok();
    }
    owner
        .patch(
            "/environments/production",
            json!({"position": i64::MAX, "max_age_days": null, "wipe_after_days": 3650}),
        )
        .await
        .ok();
}

async fn lists_refuse_bad_limits_cursors_and_parameters(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    for _ in 0..2 {
        owner.post(&client.path("production", "/secrets/rotate"), client.rotation(0)).await.created();
    }
    world.client("Shop", &["production"]).await;
    let lists = [
        "/properties",
        "/clients",
        "/tokens",
        "/users",
        "/audit-events",
        &client.path("production", "/secrets"),
        &client.path("production", "/rotations"),
        &client.path("production", "/usage"),
        &client.path("production", "/usage/series"),
    ];
    // Those that the server gave out for another list, and those that somebody made.
    let (mut cursors, mut wrong) = (Vec::new(), Vec::new());
    for list in lists {
        cursors.extend(
            owner.get(&format!("{list}?limit=1")).await.ok()["next_cursor"]
                .as_str()
                .map(|it| (it.to_owned(), list)),
        );
    }
    assert!(cursors.len() >= 4, "{cursors:?}");
    for forged in ["1.9223372036854775807.usage", "1.-5.usage", "1.0.", "1.1.cl_0", "-1.cl_0"] {
        cursors.push((URL_SAFE_NO_PAD.encode(forged), "no list"));
    }
    for list in lists {
        for (cursor, given) in &cursors {
            let answer = owner.get(&format!("{list}?cursor={cursor}")).await;
            let status = answer.status.as_u16();
            if status != if *given == list { 200 } else { 400 } {
                wrong.push((list, *given, status));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

async fn a_body_with_an_encoding_is_415_before_authentication(world: World) {
    for authorization in ["Bearer nobody", &format!("Bearer {}", world.owner().await.token.unwrap())] {
        let caller = Caller { world: &world, token: None };
        let headers = [("authorization", authorization), ("content-encoding", "gzip")];
        let answer =
            caller.call(Method::POST, "/properties", Some("\u{1f}\u{8b}".to_owned()), &headers).await;
        assert_eq!(answer.header("accept-encoding"), Some("identity"));
        answer.refused(415, "unsupported_encoding");
    }
    let identity = [("content-encoding", "identity")];
    let named = Some(json!({"name": "Shop"}).to_string());
    world.owner().await.call(Method::POST, "/properties", named, &identity).await.created();
    let browser = world.signed_in().await;
    let answer =
        browser.post_with("/console/properties", &[("name", "Bank")], &[("content-encoding", "gzip")]).await;
    answer.page(415);
}

async fn pages_are_cut_without_loss_and_linked(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    for _ in 0..6 {
        owner.post(&client.path("production", "/secrets/rotate"), client.rotation(0)).await.created();
    }
    for (list, all) in [("/secrets", 7), ("/rotations", 6)] {
        let (mut seen, mut path) = (Vec::new(), client.path("production", &format!("{list}?limit=2")));
        loop {
            let answer = owner.get(&path).await;
            let link = answer.header("link").map(str::to_owned);
            let page = answer.ok();
            let items = page["items"].as_array().unwrap();
            assert!((1..=2).contains(&items.len()), "{page}");
            seen.extend(items.iter().map(|item| text(&item["id"]).to_owned()));
            let Some(cursor) = page["next_cursor"].as_str() else {
                assert_eq!(link, None);
                break;
            };
            let target = link.unwrap();
            let target = target
                .strip_prefix('<')
                .and_then(|rest| rest.strip_suffix(">; rel=\"next\""))
                .unwrap()
                .to_owned();
            assert!(target.contains(cursor) && target.contains("limit=2"), "{target}");
            path = target.strip_prefix("/api/v1").unwrap().to_owned();
        }
        let whole = owner.get(&client.path("production", list)).await.ok();
        let whole: Vec<_> =
            whole["items"].as_array().unwrap().iter().map(|item| text(&item["id"]).to_owned()).collect();
        assert_eq!((&seen, seen.len()), (&whole, all));
    }
}

async fn a_zero_byte_in_a_query_finds_nothing(world: World) {
    world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let mut wrong = Vec::new();
    for path in [
        "/clients?q=%00",
        "/clients?q=a%00b",
        "/audit-events?actor=%00",
        "/clients?q=%FF",
        "/audit-events?actor=%ED%A0%80",
    ] {
        let answer = owner.get(path).await;
        let found = answer.status.as_u16() == 200 && !answer.json()["items"].as_array().unwrap().is_empty();
        if found || ![200, 400].contains(&answer.status.as_u16()) {
            wrong.push((path, answer.status, found));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

async fn a_search_takes_its_text_literally(world: World) {
    world.client("Billing 100% \\ _x", &["production"]).await;
    world.client("Other", &["production"]).await;
    let owner = world.owner().await;
    for (q, found) in [
        ("%25", 1),
        ("_", 1),
        ("%5C", 1),
        ("billing", 1),
        ("'", 0),
        ("%25%25", 0),
        ("100%25", 1),
        ("%20", 2),
        ("%27%20OR%201=1--", 0),
    ] {
        assert_eq!(
            owner.get(&format!("/clients?q={q}")).await.ok()["items"].as_array().unwrap().len(),
            found,
            "{q}"
        );
    }
}

async fn unknown_routes_are_404_and_wrong_methods_405_with_allow(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    for path in ["/nothing", "/clients/x/y", "/secrets", "/properties/x/y", "/audit-events/1", "/users/x/y/z"]
    {
        for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE] {
            owner.call(method, path, None, &[]).await.refused(404, "not_found");
        }
    }
    let secret = client.path("production", &format!("/secrets/{NO_SECRET}/reveal"));
    for (method, path, allowed) in [
        (Method::PUT, "/properties", ["GET", "POST"].as_slice()),
        (Method::DELETE, "/properties", &["GET", "POST"]),
        (Method::POST, "/properties/x", &["GET", "PATCH", "DELETE"]),
        (Method::GET, &client.path("production", "/secrets/rotate"), &["POST"]),
        (Method::GET, &secret, &["POST"]),
        (Method::PUT, &secret, &["POST"]),
        (Method::DELETE, "/audit-events", &["GET"]),
        (Method::POST, "/tokens", &["GET"]),
        (Method::OPTIONS, "/clients", &["GET", "POST"]),
        (Method::TRACE, "/clients", &["GET", "POST"]),
    ] {
        let answer = owner.call(method.clone(), path, None, &[]).await;
        let allow = answer.header("allow").unwrap_or_default().to_owned();
        answer.refused(405, "method_not_allowed");
        for name in allowed {
            assert!(allow.split(',').any(|it| it.trim() == *name), "{method} {path}: {allow}");
        }
    }
}

async fn the_root_of_the_api_is_an_unknown_route_of_it(world: World) {
    let owner = world.owner().await;
    for path in ["", "/"] {
        owner.get(path).await.refused(404, "not_found");
    }
}

async fn checks_come_in_the_contract_s_order(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let viewer = world.user("viewer@example.com", "viewer").await;
    let rotated =
        owner.post(&client.path("production", "/secrets/rotate"), client.rotation(24)).await.created();
    assert_eq!(rotated["previous_secret"]["state"], "retiring");
    let before = snapshot(&owner, &client).await;
    let rotate = client.path("production", "/secrets/rotate");
    let nowhere = format!("/clients/{NOBODY}/environments/production/secrets/rotate");
    let stale = [("if-match", "\"999\"")];
    let good = client.rotation(24).to_string();
    let call = async |caller: &Caller<'_>, path: &str, body: &str, headers: &[(&str, &str)]| {
        caller.call(Method::POST, path, Some(body.to_owned()), headers).await
    };

    call(&world.anonymous(), &nowhere, "{", &stale).await.refused(401, "unauthenticated");
    call(&world.anonymous(), &format!("{rotate}?a=1&a=2"), "{", &[("idempotency-key", "")])
        .await
        .refused(401, "unauthenticated");
    call(&viewer, &nowhere, "{", &stale).await.refused(400, "invalid_json");
    call(&viewer, &nowhere, "{}", &[("content-type", "text/plain")]).await.refused(400, "invalid_json");
    call(&viewer, &nowhere, "{}", &stale).await.refused(404, "not_found");
    call(&viewer, &rotate, "{}", &stale).await.refused(403, "forbidden");
    call(&viewer, &rotate, "{}", &[]).await.refused(403, "forbidden");
    call(&owner, &rotate, "{}", &stale).await.refused(412, "precondition_failed");
    call(&owner, &rotate, &good, &stale).await.refused(412, "precondition_failed");
    call(&owner, &rotate, "{}", &[]).await.refused(422, "transition_out_of_range");
    call(&owner, &rotate, &json!({"transition_hours": 24, "confirm_client_name": "x"}).to_string(), &[])
        .await
        .refused(422, "confirmation_mismatch");
    let emergency = json!({"transition_hours": 24, "confirm_client_name": "Billing", "compromised": true, "expected_current_secret_id": NO_SECRET});
    call(&owner, &rotate, &emergency.to_string(), &[]).await.refused(422, "compromised_needs_zero");
    call(&owner, &rotate, &good, &[]).await.refused(409, "transition_in_progress");
    assert_eq!(snapshot(&owner, &client).await, before);
}

async fn a_missing_secret_is_404_before_anything_else_is_412(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let stale = [("if-match", "\"999\"")];
    for rest in [
        format!("/secrets/{NO_SECRET}/reveal"),
        format!("/secrets/{NO_SECRET}/revoke"),
        format!("/secrets/{NO_SECRET}/extend"),
        format!("/rotations/{NO_ROTATION}/rollback"),
    ] {
        owner
            .call(Method::POST, &client.path("production", &rest), Some("{}".to_owned()), &[])
            .await
            .refused(404, "not_found");
        owner
            .call(Method::POST, &client.path("production", &rest), Some("{}".to_owned()), &stale)
            .await
            .refused(404, "not_found");
    }
}

async fn a_request_that_contradicts_itself_is_422_before_409(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let rotate = client.path("production", "/secrets/rotate");
    // No secret ends with this, whatever the state: so there are no tokens to end.
    let body = json!({"transition_hours": 24, "confirm_client_name": "Billing", "revoke_tokens": true});
    owner.post(&rotate, body.clone()).await.refused(422, "invalid_body");
    owner.post(&rotate, client.rotation(24)).await.created();
    owner.post(&rotate, body).await.refused(422, "invalid_body");
}

async fn a_path_that_is_no_text_is_401_without_a_token(world: World) {
    for path in ["/clients/%FF", "/clients/x", "/clients/%FF/environments/production"] {
        world.anonymous().get(path).await.refused(401, "unauthenticated");
    }
}

async fn bad_idempotency_keys_are_refused(world: World) {
    let owner = world.owner().await;
    let long = "k".repeat(256);
    for key in ["", "\"\"", "é", "a\tb", &long] {
        let answer = owner
            .call(
                Method::POST,
                "/properties",
                Some(json!({"name": "Shop"}).to_string()),
                &[("idempotency-key", key)],
            )
            .await;
        assert_eq!(answer.refused(400, "invalid_query")["field"], "Idempotency-Key", "{key:?}");
    }
    assert!(owner.get("/properties").await.ok()["items"].as_array().unwrap().is_empty());
    let longest = "k".repeat(255);
    owner
        .call(
            Method::POST,
            "/properties",
            Some(json!({"name": "Shop"}).to_string()),
            &[("idempotency-key", &longest)],
        )
        .await
        .created();
}

async fn names_of_all_scripts_come_back_as_they_were_sent(world: World) {
    let owner = world.owner().await;
    for name in [
        "<script>alert(1)</script>",
        "O'Brien \"Bob\" \\ %00 ${x} {{y}}",
        "الفواتير",
        "請求書 API",
        "💸 ❤\u{fe0f}",
        "'; DROP TABLE clients; --",
    ] {
        let client = world.client(name, &["production"]).await;
        let answer = owner.get(&format!("/clients/{}", client.id)).await;
        assert_eq!(
            (answer.header("content-type"), answer.header("x-content-type-options")),
            (Some("application/json"), Some("nosniff"))
        );
        assert_eq!(answer.ok()["name"], name);
        owner.post(&client.path("production", "/secrets/rotate"), client.rotation(0)).await.created();
    }
}
