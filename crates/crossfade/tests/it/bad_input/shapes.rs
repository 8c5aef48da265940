//! JSON of another shape than the operation takes.

use super::{HOUR, mutations, send, snapshot};
use crate::engines::on_both_engines;
use crate::world::World;
use http::Method;
use serde_json::{Value, json};

on_both_engines! {
    bodies_of_another_shape_are_refused_and_change_nothing_422,
    the_field_of_a_problem_names_a_member_and_not_a_value,
    what_stands_within_a_member_is_not_repeated,
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
        // A caller-chosen secret is refused (rule 11).
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
