//! The value of a new secret: a command whose value cannot be received changes nothing.

use crate::engines::on_both_engines;
use crate::{
    commands::{Site, token},
    start::{Data, Running},
    world::{Principal, World},
};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;

on_both_engines! {
    a_rotation_that_requires_the_value_is_refused_without_the_permission_to_reveal,
    a_client_that_requires_its_value_is_not_created_without_the_permission_to_reveal,
}

const BLIND: [&str; 3] = ["client:read", "client:manage", "secret:rotate"];

#[track_caller]
fn lacks_reveal(problem: &Value) {
    assert_eq!(problem["permission"], "secret:reveal", "{problem}");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("secret:reveal") && detail.contains("Nothing was changed."), "{problem}");
}

async fn secrets(owner: &Principal<'_>, path: &str) -> Value {
    owner.get(path).await.ok()["items"].clone()
}

async fn a_rotation_that_requires_the_value_is_refused_without_the_permission_to_reveal(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let blind = world.token_of(crate::world::OWNER, &BLIND).await;
    let (list, rotate) =
        (client.path("production", "/secrets"), client.path("production", "/secrets/rotate"));
    let before = secrets(&owner, &list).await;
    let mut body = client.rotation(24);
    body["require_value"] = json!(true);
    lacks_reveal(&blind.post(&rotate, body.clone()).await.refused(403, "forbidden"));
    // Before anything of the request is judged.
    let mut wrong = body.clone();
    wrong["confirm_client_name"] = json!("Somebody else");
    lacks_reveal(&blind.post(&rotate, wrong).await.refused(403, "forbidden"));
    assert_eq!(secrets(&owner, &list).await, before);
    assert!(owner.post(&rotate, body).await.created()["secret"]["value"].is_string());
    let without = blind
        .post(
            &rotate,
            json!({"transition_hours": 0, "confirm_client_name": "Billing", "end_running_transition": true}),
        )
        .await
        .created();
    assert!(without["secret"].get("value").is_none(), "{without}");
}

async fn a_client_that_requires_its_value_is_not_created_without_the_permission_to_reveal(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let manager = world.user("manager@example.com", "operations_manager").await;
    let property = owner.get("/properties").await.ok()["items"][0]["id"].clone();
    let create = json!({"name": "Reports", "property_id": property, "environments": ["staging"], "require_value": true});
    lacks_reveal(&manager.post("/clients", create.clone()).await.refused(403, "forbidden"));
    let register = json!({"environment": "staging", "require_value": true});
    let path = format!("/clients/{}/environments", client.id);
    lacks_reveal(&manager.post(&path, register.clone()).await.refused(403, "forbidden"));
    let clients = owner.get("/clients").await.ok();
    assert_eq!(clients["items"].as_array().unwrap().len(), 1, "{clients}");
    assert_eq!(clients["items"][0]["registrations"].as_array().unwrap().len(), 1, "{clients}");
    assert!(owner.post(&path, register).await.created()["secret"]["value"].is_string());
    let made = owner.post("/clients", create).await.created();
    assert!(made["registrations"][0]["secret"]["value"].is_string(), "{made}");
}

#[test]
fn a_command_whose_value_cannot_be_received_changes_nothing_and_exits_4() {
    let site = Site::new();
    site.client("Billing");
    let blind = token(&site.data, "ada@example.com", &["--scope", &BLIND.join(",")]);
    let place = ["Billing", "--env", "staging"];
    let rotate =
        [&["secret", "rotate"], &place[..], &["--transition", "24h", "--confirm", "Billing"]].concat();
    let create = ["client", "create", "Reports", "--property", "Payments", "--env", "staging"];
    let register = ["client", "register", "Billing", "--env", "production"];
    let state = || (site.json(&[&["secret", "list"], &place[..]].concat()), site.json(&["client", "list"]));
    let before = state();
    let file = site.file("new");
    for command in [&rotate[..], &create, &register] {
        for destination in [&["--show"][..], &["--output", &file], &["--show", "--json"]] {
            let ended = site.run_as(&blind, &[command, destination].concat());
            assert_eq!((ended.status, &*ended.out), (4, ""), "{ended:?}");
            for says in ["secret:reveal", "Nothing was changed.", "set --no-value", "[forbidden]"] {
                assert!(ended.err.contains(says), "{says}: {ended:?}");
            }
        }
    }
    assert!(!site.data.file("new").exists() && state() == before);

    for command in [&rotate[..], &create, &register] {
        let ended = site.run_as(&blind, &[command, &["--no-value"]].concat());
        assert_eq!(ended.status, 0, "{ended:?}");
    }
    let (secrets, clients) = state();
    assert_eq!((secrets.as_array().unwrap().len(), clients.as_array().unwrap().len()), (2, 2));
    // Who may have the value gets none either where it is not wanted.
    let again = [&rotate[..], &["--end-running-transition", "--no-value", "--json"]].concat();
    let ended = site.run(&again);
    assert!(ended.status == 0 && !ended.out.contains("\"value\"") && ended.out.contains("sec_"), "{ended:?}");
    assert!(ended.err.contains("Its value was not received."), "{ended:?}");
}

#[test]
fn a_token_and_a_recovery_link_go_to_new_files_that_only_their_owner_reads() {
    let data = Data::new();
    let place = ["--data-dir", data.path()];
    let create = ["token", "create", "--user", "ada@example.com", "--name", "pipeline"];
    let recover = ["owner", "recover", "--email", "ada@example.com"];
    for (name, command, begins) in [("token", &create[..], "crossfade_"), ("link", &recover[..], "http://")] {
        let file = data.file(name);
        let output = ["--output", file.to_str().unwrap()];
        let run = || Running::start(&[command, &place[..], &output[..]].concat()).end();
        let (status, out, err) = run();
        assert_eq!((status, &*out), (0, ""), "{err}");
        assert!(err.contains(&format!("Wrote the {name} to")), "{err}");
        let value = std::fs::read_to_string(&file).unwrap();
        assert!(value.starts_with(begins) && !value.contains('\n') && !err.contains(&value), "{value}");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let (status, _, err) = run();
        assert!(status == 1 && err.contains("already exists"), "{err}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), value, "it is not overwritten");
    }
    let unused = data.file("unused");
    let nobody = ["token", "create", "--user", "nobody@example.com", "--name", "x", "--output"];
    let (status, ..) = Running::start(&[&nobody[..], &[unused.to_str().unwrap()], &place[..]].concat()).end();
    assert!(status != 0 && !unused.exists(), "a refusal leaves no file");
}
