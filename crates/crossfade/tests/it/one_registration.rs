//! API tokens that are limited to one registration.

use crate::engines::on_both_engines;
use crate::world::{Client, OWNER, Principal, World};
use crossfade_app::{NamedRegistration, NewToken};
use crossfade_core::{Operation, operations::Method, roles::Role};
use http::Method as Verb;
use serde_json::{Value, json};

on_both_engines! {
    a_token_of_one_registration_rotates_it_and_does_nothing_else,
    no_role_of_its_owner_widens_a_token_of_one_registration,
    it_receives_what_it_generates_and_nothing_that_another_credential_did,
    its_rights_end_with_those_of_its_owner,
    a_token_names_its_registration_wherever_it_is_shown,
    a_registration_that_is_not_there_or_unreadable_is_refused_alike,
}

const OWN: &str = "staging";

async fn limited<'w>(world: &'w World, user: &str, client: &str, scope: &[&str]) -> Principal<'w> {
    let new = NewToken {
        user: user.to_owned(),
        name: "nightly".to_owned(),
        expires_days: None,
        scope: scope.iter().map(|word| (*word).to_owned()).collect(),
        only: Some(NamedRegistration { client: client.to_owned(), environment: OWN.to_owned() }),
    };
    let token = world.app.create_token(&new).await.unwrap();
    Principal { world, token: Some(token.reveal().to_owned()) }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is not a text"))
}

fn verb(operation: Operation) -> Verb {
    Verb::from_bytes(operation.method().as_str().as_bytes()).unwrap()
}

/// The path of an operation, about this client in this environment.
fn path(operation: Operation, client: &Client, environment: &str, ids: &[(&str, &str)]) -> String {
    let mut path = operation.path().replace("{client}", &client.id).replace("{environment}", environment);
    for (name, id) in ids {
        path = path.replace(name, id);
    }
    path
}

/// Every operation on every object: what is not in the list of what it may do is refused, and changes nothing.
async fn a_token_of_one_registration_rotates_it_and_does_nothing_else(world: World) {
    let own = world.client("Billing", &[OWN, "production"]).await;
    let other = world.client("Other", &[OWN]).await;
    let owner = world.owner().await;
    let token = limited(&world, OWNER, "Billing", &[]).await;
    let own_id = token.get("/me").await.ok()["token_id"].as_str().unwrap().to_owned();
    let rotated = token.post(&own.path(OWN, "/secrets/rotate"), own.rotation(24)).await.created();
    let rotation = text(&rotated["rotation"]["id"]).to_owned();
    let ids = [
        ("{secret}", own.registration(OWN).secret_id.as_str()),
        ("{rotation}", &rotation),
        ("{property}", "prop_0000000000000000000000"),
        ("{user}", "usr_0000000000000000000000"),
        ("{grant}", "grant_0000000000000000000000"),
        ("{drill}", "drill_0000000000000000000000"),
        ("{token}", "tok_0000000000000000000000"),
        ("{webhook}", "wh_0000000000000000000000"),
        ("{delivery}", "del_0000000000000000000000"),
    ];
    let before = world.number("SELECT MAX(seq) FROM change_log").await;
    let mut reads = Vec::new();
    for operation in Operation::ALL.iter().copied() {
        for (client, environment) in [(&own, OWN), (&own, "production"), (&other, OWN)] {
            let path = path(operation, client, environment, &ids);
            let body = (operation.method() != Method::Get).then(|| client.rotation(0).to_string());
            let answer = token.call(verb(operation), &path, body, &[]).await;
            let status = answer.status.as_u16();
            let is_own = client.id == own.id && environment == OWN;
            match status {
                200 => reads.push((operation.id(), is_own || !operation.path().contains("{environment}"))),
                403 | 404 => {}
                // An upstream credential can be read only in front of another issuer.
                409 if operation == Operation::ReadUpstreamCredential => assert!(is_own, "{path}"),
                // The one change that it may make is refused by its rule: the transition runs.
                _ => assert_eq!((operation, status, is_own), (Operation::RotateSecret, 409, true), "{path}"),
            }
            if !is_own && operation.path().contains("{environment}") {
                assert!([403, 404].contains(&status), "{operation:?} {path} {status}");
            }
        }
    }
    reads.sort_unstable();
    reads.dedup();
    assert!(reads.iter().all(|(_, is_own)| *is_own), "{reads:?}");
    let reads: Vec<_> = reads.into_iter().map(|(id, _)| id).collect();
    let expected = [
        "list_clients",
        "list_drills",
        "list_rotations",
        "list_secrets",
        "list_usage",
        "list_usage_series",
        "read_change_over",
        "read_client",
        "read_client_messages",
        "read_me",
        "read_registration",
    ];
    assert_eq!(reads, expected);
    assert_eq!(world.number("SELECT MAX(seq) FROM change_log").await, before, "nothing was changed");
    token.get("/properties").await.refused(403, "forbidden");
    assert_eq!(
        token.get("/me").await.ok()["user"]["grants"],
        json!([]),
        "the roles of its owner are not shown"
    );
    let clients = token.get("/clients").await.ok();
    assert_eq!(clients["items"].as_array().unwrap().len(), 1);
    let registrations = clients["items"][0]["registrations"].as_array().unwrap();
    assert_eq!((registrations.len(), text(&registrations[0]["environment"])), (1, OWN));
    token.get(&format!("/clients/{}", other.id)).await.refused(404, "not_found");
    // It can end itself, and no other token of its owner.
    let all = owner.get("/tokens").await.ok();
    let foreign = all["items"].as_array().unwrap().iter().find(|it| it["id"] != *own_id).unwrap();
    let foreign = format!("/tokens/{}", text(&foreign["id"]));
    token.delete(&foreign, json!({})).await.refused(403, "forbidden");
    let ended = token.delete(&format!("/tokens/{own_id}"), json!({})).await;
    assert_eq!(ended.status.as_u16(), 204);
    token.get("/me").await.refused(401, "unauthenticated");
}

async fn no_role_of_its_owner_widens_a_token_of_one_registration(world: World) {
    let own = world.client("Billing", &[OWN, "production"]).await;
    for role in Role::ALL {
        let email = format!("one-{}@example.com", role.as_str().replace('_', "-"));
        world.user(&email, role.as_str()).await;
        let rotates = matches!(role, Role::SecretRotator | Role::Owner);
        let every =
            ["client:read", "secret:rotate", "secret:reveal", "client:manage", "user:manage", "audit:read"];
        for scope in [&[][..], &every] {
            let token = limited(&world, &email, &own.id, scope).await;
            let body = json!({"transition_hours": 0, "confirm_client_name": "Billing"});
            let answer = token.post(&own.path(OWN, "/secrets/rotate"), body.clone()).await;
            assert_eq!(answer.status.as_u16(), if rotates { 201 } else { 403 }, "{role:?}");
            let elsewhere = token.post(&own.path("production", "/secrets/rotate"), body).await;
            assert_eq!(elsewhere.status.as_u16(), 404, "{role:?}");
            for closed in ["/users", "/audit-events", "/tokens", "/environments", "/quarantine"] {
                token.get(closed).await.refused(403, "forbidden");
            }
            let managed = token.patch(&format!("/clients/{}", own.id), json!({"name": "x"})).await;
            managed.refused(403, "forbidden");
        }
    }
}

async fn it_receives_what_it_generates_and_nothing_that_another_credential_did(world: World) {
    let own = world.client("Billing", &[OWN]).await;
    let owner = world.owner().await;
    let token = limited(&world, OWNER, "Billing", &[]).await;
    let path = own.path(OWN, "/secrets/rotate");
    let body = json!({"transition_hours": 0, "confirm_client_name": "Billing", "require_value": true});
    let keyed = async |principal: &Principal<'_>, key: &str| {
        principal.call(Verb::POST, &path, Some(body.to_string()), &[("idempotency-key", key)]).await.created()
    };
    let first = keyed(&token, "a").await;
    assert_eq!(keyed(&token, "a").await["secret"]["value"], first["secret"]["value"], "its own, again");
    let id = text(&first["secret"]["id"]);
    token.post(&own.path(OWN, &format!("/secrets/{id}/reveal")), json!({})).await.refused(403, "forbidden");
    // A key of its owner is another key, and one of another such token, too.
    let second = keyed(&owner, "b").await;
    let other = limited(&world, OWNER, "Billing", &[]).await;
    let (third, fourth) = (keyed(&token, "b").await, keyed(&other, "b").await);
    let values = [&first, &second, &third, &fourth].map(|reply| text(&reply["secret"]["value"]));
    assert!((1..4).all(|n| !values[..n].contains(&values[n])), "four rotations");
    // An owner who may rotate but not reveal has no token that receives a value.
    world.user("vera@example.com", "viewer").await;
    let blind = limited(&world, "vera@example.com", "Billing", &[]).await;
    blind.post(&path, body.clone()).await.refused(403, "forbidden");
}

async fn its_rights_end_with_those_of_its_owner(world: World) {
    let own = world.client("Billing", &[OWN]).await;
    let owner = world.owner().await;
    let program = owner.post("/users", json!({"kind": "program", "name": "CI"})).await.created();
    let program = text(&program["id"]).to_owned();
    let grants = format!("/users/{program}/grants");
    let granted = async |body: Value| text(&owner.post(&grants, body).await.created()["id"]).to_owned();
    let grant = granted(json!({"role": "secret_rotator", "client_id": own.id, "environments": [OWN]})).await;
    // The first role that sees secrets would end the token if it were granted later.
    granted(json!({"role": "secret_viewer", "environments": ["production"]})).await;
    let token = limited(&world, &program, &own.id, &[]).await;
    let path = own.path(OWN, "/secrets/rotate");
    token.post(&path, own.rotation(0)).await.created();
    owner.delete(&format!("{grants}/{grant}"), json!({})).await;
    token.post(&path, own.rotation(0)).await.refused(404, "not_found");
    granted(json!({"role": "viewer"})).await;
    token.post(&path, own.rotation(0)).await.refused(403, "forbidden");
    granted(json!({"role": "secret_rotator", "environments": ["production"]})).await;
    token.post(&path, own.rotation(0)).await.refused(403, "forbidden");
    granted(json!({"role": "secret_rotator", "property_id": own_property(&owner, &own).await})).await;
    token.post(&path, own.rotation(0)).await.created();
    let body = json!({"confirm_client_name": "Billing", "reason": "over"});
    owner.delete(&format!("/clients/{}", own.id), body).await;
    token.post(&path, own.rotation(0)).await.refused(404, "not_found");
    assert_eq!(token.get("/clients").await.ok()["items"], json!([]));
    owner.delete(&format!("/users/{program}"), json!({})).await;
    token.get("/me").await.refused(401, "unauthenticated");
}

async fn own_property(owner: &Principal<'_>, client: &Client) -> Value {
    owner.get(&format!("/clients/{}", client.id)).await.ok()["property_id"].clone()
}

async fn a_token_names_its_registration_wherever_it_is_shown(world: World) {
    let own = world.client("Billing", &[OWN]).await;
    let owner = world.owner().await;
    let browser = world.signed_in().await;
    let fields = [("name", "nightly"), ("expires_days", "30"), ("client", "Billing"), ("environment", OWN)];
    let page = browser.post("/console/account/tokens", &fields).await.page(200);
    assert!(page.contains("client:read secret:rotate") && page.contains("</a> in staging"), "{page}");
    let at = page.find("crossfade_api_").unwrap();
    let token = page[at..].split('<').next().unwrap().to_owned();
    let me = Principal { world: &world, token: Some(token) }.get("/me").await.ok();
    assert_eq!((&me["client_id"], &me["environment"]), (&json!(own.id), &json!(OWN)));
    assert_eq!(me["scope"], json!(["client:read", "secret:rotate"]));
    let listed = owner.get("/tokens").await.ok();
    let listed = listed["items"].as_array().unwrap().iter().find(|it| it["id"] == me["token_id"]).unwrap();
    assert_eq!((&listed["client_id"], &listed["environment"]), (&json!(own.id), &json!(OWN)));
    let whole = owner.get("/me").await.ok();
    assert_eq!((&whole["client_id"], &whole["environment"]), (&Value::Null, &Value::Null));
    let events = owner.get("/audit-events?action=token.created").await.ok();
    let event = events["items"].as_array().unwrap().iter().find(|it| it["target"] == me["token_id"]).unwrap();
    assert_eq!(event["details"]["client_id"], json!(own.id));
    assert_eq!(event["details"]["environment"], OWN);
}

async fn a_registration_that_is_not_there_or_unreadable_is_refused_alike(world: World) {
    let own = world.client("Billing", &["production"]).await;
    world.client("Ledger", &["production"]).await;
    let nobody = world.person("nora@example.com", "auditor").await;
    let reader = world.signed_in().await;
    world.raw("DELETE FROM grants WHERE role = 'auditor'").await;
    let ask = async |browser: &crate::console::browser::Browser<'_>, client: &str, environment: &str| {
        let fields =
            [("name", "x"), ("expires_days", "30"), ("client", client), ("environment", environment)];
        browser.post("/console/account/tokens", &fields).await.page(422)
    };
    let unknown = "must be the ID or the unique name of a client";
    for client in ["Nobody", "Bill", "cl_0000000000000000000000", "", "*"] {
        assert!(ask(&reader, client, "production").await.contains(unknown), "{client}");
    }
    for client in ["Billing", own.id.as_str(), "Nobody"] {
        assert!(ask(&nobody, client, "production").await.contains(unknown), "{client}");
    }
    for environment in ["staging", "nowhere", "", "Production"] {
        let page = ask(&reader, "Billing", environment).await;
        assert!(page.contains("must be an environment in which the client is registered"), "{environment}");
    }
    assert_eq!(world.number("SELECT COUNT(*) FROM api_tokens WHERE only_client IS NOT NULL").await, 0);
}
