//! Messages that a person or a client has switched off, and times in the reader's zone.

use super::{HOUR, events, id_of, letters, mailing, own_by, pairs, put, rotate, sent, without_role};
use crate::{
    engines::on_both_engines,
    world::{OWNER, World},
};
use http::Method;
use serde_json::{Value, json};

on_both_engines! {
    what_a_person_switched_off_is_not_sent_to_them,
    a_rotation_by_the_client_itself_is_told_whatever_is_off,
    what_is_off_for_a_client_is_sent_to_nobody_and_the_owners_are_told_of_that,
    a_limited_token_and_a_program_switch_nothing,
    messages_about_who_hears_what_cannot_be_switched_off,
    times_are_in_the_zone_of_the_reader,
}

async fn what_a_person_switched_off_is_not_sent_to_them(mut world: World) {
    let server = mailing(&mut world).await;
    let client = world.client("Billing", &["production"]).await;
    let grace = world.user("grace@example.com", "viewer").await;
    own_by(&world, &client, &["grace@example.com", "team@example.com"]).await;
    sent(&world, &server).await;
    let read = grace.get("/me/messages").await.ok();
    assert_eq!((&read["off"], &read["time_zone"]), (&json!([]), &Value::Null));
    let off = json!({"off": ["secret.rotated"]});
    let reply = put(&grace, "/me/messages", off.clone()).await.ok();
    assert_eq!(reply, grace.get("/me/messages").await.ok());
    let kind = reply["kinds"].as_array().unwrap().iter().find(|it| it["kind"] == "secret.rotated").unwrap();
    assert_eq!((&kind["is_sent"], &kind["class"]), (&json!(false), &json!("today")));
    assert_eq!(events(&world, "user.messages_updated").await.len(), 1);
    let told = sent(&world, &server).await;
    assert_eq!((told.len(), told[0].0.as_str()), (1, "grace@example.com"), "{told:?}");
    assert!(told[0].1.starts_with("Your messages were switched off"), "{told:?}");
    rotate(&world, &client, 24).await;
    let rotated = [("team@example.com", "Secret rotated: Billing in production")];
    assert_eq!(sent(&world, &server).await, pairs(&rotated));
    // A class stops all its kinds. Setting the same again tells nobody.
    put(&grace, "/me/messages", json!({"off": ["today"]})).await.ok();
    put(&grace, "/me/messages", json!({"off": ["today"], "time_zone": "UTC"})).await.ok();
    assert_eq!(sent(&world, &server).await.len(), 1);
    world.advance(HOUR * 23);
    world.run_jobs().await;
    let imminent = sent(&world, &server).await;
    assert!(imminent.iter().any(|(to, _)| to == "grace@example.com"), "of another class: {imminent:?}");
    world.advance(HOUR);
    world.run_jobs().await;
    assert_eq!(sent(&world, &server).await.len(), 1, "only the group hears that it has expired");
    let tag = grace.get("/me/messages").await.header("etag").unwrap().to_owned();
    let stale = [("if-match", "\"1\"")];
    grace
        .call(Method::PUT, "/me/messages", Some("{}".into()), &stale)
        .await
        .refused(412, "precondition_failed");
    grace.call(Method::PUT, "/me/messages", Some("{}".into()), &[("if-match", &*tag)]).await.ok();
    for wrong in [json!({"off": ["nonsense"]}), json!({"off": "today"}), json!({"time_zone": "Berlin"})] {
        put(&grace, "/me/messages", wrong).await.refused(422, "invalid_body");
    }
}

/// If a stolen secret rotates itself, the message is the only sign.
async fn a_rotation_by_the_client_itself_is_told_whatever_is_off(mut world: World) {
    let server = mailing(&mut world).await;
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    own_by(&world, &client, &[OWNER, "team@example.com"]).await;
    owner.patch(&client.path("production", ""), json!({"self_rotation": true})).await.ok();
    put(&owner, "/me/messages", json!({"off": ["secret.rotated"]})).await.ok();
    let off = json!({"off": ["today"], "confirm_client_name": "Billing"});
    put(&owner, &format!("/clients/{}/messages", client.id), off).await.ok();
    sent(&world, &server).await;
    let place = client.registration("production");
    let basic = crate::oauth::basic(format!("{}:{}", place.client_id, place.secret));
    let headers = [("authorization", basic.as_str()), ("idempotency-key", "0123456789abcdefghijkl")];
    let reply = world.oauth("production").form("rotate-secret", &[], &headers).await;
    assert_eq!(reply.status.as_u16(), 200, "{}", String::from_utf8_lossy(&reply.bytes));
    let told: Vec<_> = sent(&world, &server).await.into_iter().map(|(to, _)| to).collect();
    assert_eq!(told, [OWNER, "team@example.com"]);
}

/// An attacker who manages clients silences the owners before an attack. That is not silent.
async fn what_is_off_for_a_client_is_sent_to_nobody_and_the_owners_are_told_of_that(mut world: World) {
    let server = mailing(&mut world).await;
    let client = world.client("Billing", &["production"]).await;
    world.user("grace@example.com", "viewer").await;
    own_by(&world, &client, &["grace@example.com", "team@example.com"]).await;
    sent(&world, &server).await;
    let path = format!("/clients/{}/messages", client.id);
    let owner = world.owner().await;
    let off = |name: &str| json!({"off": ["today", "wake"], "confirm_client_name": name, "reason": "noise"});
    put(&owner, &path, off("Biling")).await.refused(422, "confirmation_mismatch");
    put(&owner, &path, json!({"off": ["wake"]})).await.refused(422, "confirmation_mismatch");
    let viewer = world.user("eve@example.com", "viewer").await;
    put(&viewer, &path, off("Billing")).await.refused(403, "forbidden");
    let (_, nobody) = without_role(&world, "nobody@example.com").await;
    put(&nobody, &path, off("Billing")).await.refused(404, "not_found");
    nobody.get(&path).await.refused(404, "not_found");
    let _ = sent(&world, &server).await;
    put(&owner, &path, off("Billing")).await.ok();
    let switched = "Messages switched off: Billing";
    let told = pairs(&[("grace@example.com", switched), ("team@example.com", switched)]);
    assert_eq!(sent(&world, &server).await, told);
    assert_eq!(viewer.get(&path).await.ok()["off"], json!(["wake", "today"]));
    let event = &events(&world, "client.messages_updated").await[0];
    assert_eq!((&event["details"]["off"], &event["reason"]), (&json!(["wake", "today"]), &json!("noise")));
    rotate(&world, &client, 24).await;
    world.advance(HOUR * 23);
    world.run_jobs().await;
    assert_eq!(sent(&world, &server).await, [], "neither the group, nor a person, nor a manager");
    own_by(&world, &client, &["evil@example.net"]).await;
    let redirected = sent(&world, &server).await;
    assert_eq!(redirected.len(), 3, "who was removed is told: {redirected:?}");
    // On again, without the name.
    put(&owner, &path, json!({"off": ["wake", "secret.rotated"], "confirm_client_name": "Billing"}))
        .await
        .ok();
    put(&owner, &path, json!({"off": []})).await.ok();
    let told = pairs(&[
        ("evil@example.net", "Messages switched on: Billing"),
        ("evil@example.net", "Messages switched on: Billing"),
    ]);
    assert_eq!(sent(&world, &server).await, told);
    world.advance(HOUR);
    world.run_jobs().await;
    assert_eq!(sent(&world, &server).await.len(), 1);
}

async fn a_limited_token_and_a_program_switch_nothing(world: World) {
    world.user("grace@example.com", "viewer").await;
    let limited = world.token_of("grace@example.com", &["client:read"]).await;
    limited.get("/me/messages").await.refused(403, "forbidden");
    put(&limited, "/me/messages", json!({"off": ["today"]})).await.refused(403, "forbidden");
    let robot = json!({"kind": "program", "name": "robot"});
    let robot = world.owner().await.post("/users", robot).await.created();
    let robot = world.token_of(robot["id"].as_str().unwrap(), &[]).await;
    put(&robot, "/me/messages", json!({"off": ["today"]})).await.refused(403, "forbidden");
    assert_eq!(world.number("SELECT COUNT(*) FROM messages_off").await, 0);
    // The switches of an account end with it.
    let grace = world.token_of("grace@example.com", &[]).await;
    put(&grace, "/me/messages", json!({"off": ["today"]})).await.ok();
    let id = id_of(&world, "grace@example.com").await;
    world.owner().await.delete(&format!("/users/{id}"), json!({})).await;
    assert_eq!(world.number("SELECT COUNT(*) FROM messages_off").await, 0);
}

async fn messages_about_who_hears_what_cannot_be_switched_off(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let kinds = owner.get("/me/messages").await.ok()["kinds"].clone();
    let always: Vec<_> = kinds.as_array().unwrap().iter().filter(|it| it["can_be_off"] == false).collect();
    assert!(always.len() >= 2, "{kinds}");
    for kind in always {
        let off = json!({"off": [kind["kind"]], "confirm_client_name": "Billing"});
        let path = format!("/clients/{}/messages", client.id);
        assert_eq!(put(&owner, &path, off).await.refused(422, "invalid_body")["field"], "off");
        put(&owner, "/me/messages", json!({"off": [kind["kind"]]})).await.refused(422, "invalid_body");
    }
}

async fn times_are_in_the_zone_of_the_reader(mut world: World) {
    let server = mailing(&mut world).await;
    let client = world.client("Billing", &["production"]).await;
    let grace = world.user("grace@example.com", "viewer").await;
    own_by(&world, &client, &["grace@example.com", "team@example.com"]).await;
    sent(&world, &server).await;
    let reply = put(&grace, "/me/messages", json!({"time_zone": "europe/berlin"})).await.ok();
    assert_eq!(reply["time_zone"], "Europe/Berlin");
    rotate(&world, &client, 24).await;
    for letter in letters(&world, &server).await {
        let text = letter.text.replace("=\r\n", "").replace("\r\n", " ");
        let is_grace = letter.to == "grace@example.com";
        assert_eq!(text.contains("25 Nov 2026, 14:05 in Berlin (13:05 UTC)"), is_grace, "{text}");
        assert_eq!(text.contains("valid until 25 Nov 2026, 13:05 UTC"), !is_grace, "{text}");
    }
    let at = format!("/users/{}", id_of(&world, "grace@example.com").await);
    world.owner().await.delete(&at, json!({"confirm_user_name": "grace"})).await.ok();
    assert_eq!(world.number("SELECT COUNT(*) FROM users WHERE time_zone IS NOT NULL").await, 0);
}
