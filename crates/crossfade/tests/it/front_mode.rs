//! Environments in front of another issuer: what is set, who sets it, and what cannot work there.

use crate::engines::on_both_engines;
use crate::world::{Answer, Client, OWNER, Principal, Registration, World};
use crossfade_app::{NamedRegistration, NewToken, NoCredential, UpstreamOutcome};
use crossfade_core::{RegistrationId, upstream::Slot};
use http::Method;
use serde_json::{Value, json};
use std::time::Duration;

on_both_engines! {
    an_environment_is_put_in_front_of_an_issuer_by_owners_with_its_name,
    a_url_that_requests_must_not_go_to_is_refused,
    the_mode_changes_only_while_no_client_is_or_was_registered,
    a_given_client_id_is_required_and_never_given_again,
    settings_of_own_tokens_are_null_and_refused,
    there_are_no_metadata_and_no_keys,
    tokens_of_the_issuer_cannot_be_ended_here,
    an_upstream_credential_is_write_only_and_sealed,
    a_credential_goes_to_no_new_host_until_it_is_confirmed,
    what_the_issuer_says_is_stored_and_the_accepted_secret_leads,
    a_deleted_client_leaves_no_credential,
    a_host_that_was_removed_and_comes_back_must_be_confirmed_again,
    a_secret_for_later_confirms_no_new_host,
    a_token_of_one_registration_does_not_set_the_upstream_credential,
    clients_with_the_same_given_id_share_no_answers_and_no_name_in_the_trail,
}

const TOKEN: &str = "https://id.example.com/token";
const VALUE: &str = "s3cret of the issuer: %+\"";

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is not a text")).to_owned()
}

fn upstream(token_endpoint: &str) -> Value {
    json!({"kind": "okta", "servers": [
        {"name": "main", "issuer": "https://id.example.com", "token_endpoint": token_endpoint},
    ]})
}

fn in_front(token_endpoint: &str) -> Value {
    json!({"issuer_mode": "upstream", "upstream": upstream(token_endpoint), "confirm_environment_slug": "staging"})
}

async fn set(world: &World) {
    world.owner().await.patch("/environments/staging", in_front(TOKEN)).await.ok();
}

/// A client of the issuer, registered in staging.
async fn client(world: &World, name: &str, client_id: &str) -> Client {
    let owner = world.owner().await;
    let property =
        text(&owner.post("/properties", json!({"name": format!("Of {name}")})).await.created()["id"]);
    let body =
        json!({"name": name, "property_id": property, "environments": ["staging"], "client_id": client_id});
    let created = owner.post("/clients", body).await.created();
    let registrations = created["registrations"].as_array().unwrap().iter().map(Registration::read).collect();
    Client { id: text(&created["id"]), name: name.to_owned(), registrations }
}

fn origin(url: &str) -> String {
    crossfade_core::upstream::origin(url).unwrap()
}

async fn put(by: &Principal<'_>, client: &Client, body: Value) -> Answer {
    by.call(Method::PUT, &client.path("staging", "/upstream-credential"), Some(body.to_string()), &[]).await
}

async fn registration_id(world: &World, client: &Client) -> RegistrationId {
    let read = world.owner().await.get(&client.path("staging", "")).await.ok();
    RegistrationId::parse(&text(&read["id"])).unwrap()
}

async fn an_environment_is_put_in_front_of_an_issuer_by_owners_with_its_name(world: World) {
    let manager = world.user("ops@example.com", "operations_manager").await;
    let problem = manager.patch("/environments/staging", in_front(TOKEN)).await.refused(403, "forbidden");
    assert_eq!(problem["permission"], "upstream:manage");
    manager.patch("/environments/staging", json!({"name": "Stage"})).await.ok();
    let owner = world.owner().await;
    let mut body = in_front(TOKEN);
    body["confirm_environment_slug"] = "production".into();
    let problem = owner.patch("/environments/staging", body).await.refused(422, "confirmation_mismatch");
    assert!(text(&problem["detail"]).contains("https://id.example.com"), "{problem}");
    let shown = owner.patch("/environments/staging", in_front(TOKEN)).await.ok();
    assert_eq!((&shown["issuer_mode"], &shown["upstream"]["kind"]), (&json!("upstream"), &json!("okta")));
    assert_eq!(shown["upstream"]["servers"][0]["token_endpoint"], TOKEN);
    assert_eq!((&shown["signing_alg"], &shown["signing_key_rotation_days"]), (&json!(null), &json!(null)));
    // A host that is known needs no name, another one does.
    let same = json!({"upstream": upstream("https://id.example.com/other")});
    owner.patch("/environments/staging", same).await.ok();
    let other = json!({"upstream": upstream("https://evil.example.com/token")});
    owner.patch("/environments/staging", other).await.refused(422, "confirmation_mismatch");
    let event = owner.get("/audit-events?action=environment.updated").await.ok()["items"][0].clone();
    assert_eq!(
        event["details"]["after"]["upstream"]["servers"][0]["token_endpoint"],
        "https://id.example.com/other"
    );
    let back = json!({"issuer_mode": "own"});
    let shown = owner.patch("/environments/staging", back).await.ok();
    assert_eq!((&shown["upstream"], &shown["signing_alg"]), (&json!(null), &json!("ES256")));
}

async fn a_url_that_requests_must_not_go_to_is_refused(world: World) {
    let owner = world.owner().await;
    for url in [
        "http://id.example.com/token",
        "https://127.0.0.1/token",
        "https://169.254.169.254/latest/meta-data/",
        "https://10.0.0.1/token",
        "https://[::1]/token",
        "https://ada:secret@id.example.com/token",
        "https://id.example.com/token?secret=a",
        "ftp://id.example.com/token",
        "id.example.com",
    ] {
        let problem = owner.patch("/environments/staging", in_front(url)).await.refused(422, "invalid_body");
        assert_eq!(problem["field"], "upstream", "{url}");
    }
    for body in [
        json!({"issuer_mode": "upstream"}),
        json!({"upstream": upstream(TOKEN)}),
        json!({"issuer_mode": "own", "upstream": upstream(TOKEN)}),
    ] {
        owner.patch("/environments/staging", body).await.refused(422, "invalid_body");
    }
    assert_eq!(owner.get("/environments/staging").await.ok()["issuer_mode"], "own");
}

async fn the_mode_changes_only_while_no_client_is_or_was_registered(world: World) {
    let owner = world.owner().await;
    let own = world.client("Billing", &["staging"]).await;
    owner.patch("/environments/staging", in_front(TOKEN)).await.refused(409, "in_use");
    let delete = json!({"confirm_client_name": "Billing", "reason": "gone"});
    owner.delete(&format!("/clients/{}", own.id), delete).await.expect(200);
    let problem = owner.patch("/environments/staging", in_front(TOKEN)).await.refused(409, "in_use");
    assert_eq!(problem["field"], "issuer_mode", "its history stays");
}

async fn a_given_client_id_is_required_and_never_given_again(world: World) {
    set(&world).await;
    let owner = world.owner().await;
    let odd = "web:app \"1\" \\ %2B'<b>";
    let first = client(&world, "Billing", odd).await;
    assert_eq!(first.registration("staging").client_id, odd);
    let property = text(&owner.get(&format!("/clients/{}", first.id)).await.ok()["property_id"]);
    let create = async |name: &str, environments: &[&str], client_id: Value| {
        let mut body = json!({"name": name, "property_id": property, "environments": environments});
        if !client_id.is_null() {
            body["client_id"] = client_id;
        }
        owner.post("/clients", body).await
    };
    let field = |answer: Answer, status, code: &str| text(&answer.refused(status, code)["field"]);
    assert_eq!(field(create("A", &["staging"], json!(null)).await, 422, "invalid_body"), "client_id");
    assert_eq!(field(create("A", &["production"], json!("own")).await, 422, "invalid_body"), "client_id");
    for bad in ["", "ä", "a\nb", &"a".repeat(257), "crossfade_live_0123456789abcdef"] {
        assert_eq!(
            field(create("A", &["staging"], json!(bad)).await, 422, "invalid_body"),
            "client_id",
            "{bad:?}"
        );
    }
    assert_eq!(field(create("A", &["staging"], json!(odd)).await, 409, "name_taken"), "client_id");
    let delete = json!({"confirm_client_name": "Billing", "reason": "gone"});
    owner.delete(&format!("/clients/{}", first.id), delete).await.expect(200);
    assert_eq!(field(create("A", &["staging"], json!(odd)).await, 409, "name_taken"), "client_id");
    // Both at once: the given one is for the environment in front of the issuer.
    let both = create("Both", &["staging", "production"], json!("0oa1")).await.created();
    let ids: Vec<_> =
        both["registrations"].as_array().unwrap().iter().map(|it| text(&it["client_id"])).collect();
    assert_eq!(ids[0], "0oa1");
    assert_eq!(ids[1].len(), 22);
    let third = create("Third", &["production"], json!(null)).await.created();
    let path = format!("/clients/{}/environments", text(&third["id"]));
    let body = json!({"environment": "staging", "client_id": "0oa2"});
    assert_eq!(owner.post(&path, body).await.created()["client_id"], "0oa2");
    let found = owner.get("/clients?q=0oa2").await.ok();
    assert_eq!(found["items"][0]["name"], "Third");
}

async fn settings_of_own_tokens_are_null_and_refused(world: World) {
    set(&world).await;
    let client = client(&world, "Billing", "0oa1").await;
    let owner = world.owner().await;
    let at = client.path("staging", "");
    let shown = owner.get(&at).await.ok();
    for (member, value) in [
        ("scopes", json!(["read"])),
        ("audience", json!("https://api.example.com")),
        ("access_token_ttl_seconds", json!(600)),
        ("may_introspect", json!(true)),
    ] {
        assert_eq!(shown[member], json!(null), "{member}");
        let problem = owner.patch(&at, json!({member: value})).await.refused(409, "not_in_front_mode");
        assert_eq!(problem["field"], member);
    }
    let kept =
        json!({"token_endpoint_auth_methods": ["client_secret_basic"], "allowed_networks": ["192.0.2.0/24"]});
    owner.patch(&at, kept).await.ok();
    for (member, value) in [("signing_alg", json!("RS256")), ("signing_key_rotation_days", json!(90))] {
        let problem = owner
            .patch("/environments/staging", json!({member: value}))
            .await
            .refused(409, "not_in_front_mode");
        assert_eq!(problem["field"], member);
    }
    owner.patch("/environments/staging", json!({"max_age_days": 30, "guard_extension_hours": 4})).await.ok();
    owner
        .post("/environments/staging/signing-keys/rotate", json!({}))
        .await
        .refused(409, "not_in_front_mode");
    assert_eq!(owner.get("/environments/staging/signing-keys").await.ok(), json!([]));
    let property = text(&owner.get(&format!("/clients/{}", client.id)).await.ok()["property_id"]);
    let limits = format!("/properties/{property}/environments/staging/limits");
    let body = json!({"audiences": []}).to_string();
    owner.call(Method::PUT, &limits, Some(body), &[]).await.refused(409, "not_in_front_mode");
}

async fn there_are_no_metadata_and_no_keys(world: World) {
    let ask = async |path: &str| {
        let request = http::Request::builder().uri(path).body(axum::body::Body::empty()).unwrap();
        world.send(request, [192, 0, 2, 1].into()).await.status.as_u16()
    };
    let paths = [
        "/env/staging/oauth2/jwks",
        "/env/staging/.well-known/openid-configuration",
        "/.well-known/oauth-authorization-server/env/staging",
    ];
    for path in paths {
        assert_eq!(ask(path).await, 200, "{path}");
    }
    set(&world).await;
    for path in paths {
        assert_eq!(ask(path).await, 404, "{path}");
    }
}

async fn tokens_of_the_issuer_cannot_be_ended_here(world: World) {
    set(&world).await;
    let client = client(&world, "Billing", "0oa1").await;
    let owner = world.owner().await;
    let rotate = client.path("staging", "/secrets/rotate");
    let mut body = client.rotation(0);
    body["compromised"] = true.into();
    body["revoke_tokens"] = true.into();
    let problem = owner.post(&rotate, body.clone()).await.refused(409, "not_in_front_mode");
    assert_eq!(problem["field"], "revoke_tokens");
    body["revoke_tokens"] = false.into();
    owner.post(&rotate, body).await.created();
    let rotated = owner.post(&rotate, client.rotation(24)).await.created();
    let old = text(&rotated["previous_secret"]["id"]);
    let reason = json!({"reason": "leak", "revoke_tokens": true});
    let revoke = client.path("staging", &format!("/secrets/{old}/revoke"));
    owner.post(&revoke, reason.clone()).await.refused(409, "not_in_front_mode");
    let rotation = text(&rotated["rotation"]["id"]);
    let rollback = client.path("staging", &format!("/rotations/{rotation}/rollback"));
    owner.post(&rollback, reason).await.refused(409, "not_in_front_mode");
    owner.post(&revoke, json!({"reason": "leak"})).await.ok();
}

async fn an_upstream_credential_is_write_only_and_sealed(world: World) {
    set(&world).await;
    let client = client(&world, "Billing", "0oa1").await;
    let own = world.client("Own", &["production"]).await;
    let owner = world.owner().await;
    let path = client.path("staging", "/upstream-credential");
    owner.get(&own.path("production", "/upstream-credential")).await.refused(409, "not_in_front_mode");
    let none = json!({"method": null, "basic_encoding": null, "refused_since": null, "slots": [], "confirmed_origins": [], "unconfirmed_origins": ["https://id.example.com"]});
    assert_eq!(owner.get(&path).await.ok(), none);
    let problem =
        put(&owner, &client, json!({"method": "client_secret_basic"})).await.refused(422, "invalid_body");
    assert_eq!(problem["field"], "secret");
    let manager = world.user("ops@example.com", "operations_manager").await;
    put(&manager, &client, json!({"secret": VALUE})).await.refused(403, "forbidden");
    let rotator = world.user("rotator@example.com", "secret_rotator").await;
    let answer = put(&rotator, &client, json!({"method": "client_secret_post", "secret": VALUE})).await;
    assert_eq!(answer.header("etag"), Some("\"1\""));
    let shown = answer.ok();
    assert!(!shown.to_string().contains("s3cret"), "{shown}");
    assert_eq!(shown["slots"][0]["state"], "untested");
    assert_eq!(shown["confirmed_origins"], json!(["https://id.example.com"]));
    let viewer = world.user("viewer@example.com", "viewer").await;
    assert_eq!(viewer.get(&path).await.ok(), shown);
    for bad in [json!(""), json!("a\nb"), json!("a".repeat(4097))] {
        for field in ["secret", "next"] {
            let problem = put(&rotator, &client, json!({field: bad})).await.refused(422, "invalid_body");
            assert_eq!(problem["field"], field);
        }
    }
    // The issuer can be a Crossfade, but not with a secret of this registration.
    let body = json!({"secret": client.registrations[0].secret});
    assert_eq!(put(&rotator, &client, body).await.refused(422, "invalid_body")["field"], "secret");
    put(&rotator, &client, json!({"next": "the next one"})).await.ok();
    let shown = put(&rotator, &client, json!({"next": null})).await.ok();
    assert_eq!(shown["slots"].as_array().unwrap().len(), 1);
    let id = registration_id(&world, &client).await;
    let opened = world.app.open_upstream_credential(&id, &origin(TOKEN)).ok().unwrap();
    assert_eq!((opened.first.value.as_str(), opened.second.is_none()), (VALUE, true));
    // Neither the database nor the trail has the value.
    let event = owner.get("/audit-events?action=upstream_credential.set").await.ok();
    assert!(!event.to_string().contains("s3cret") && event["items"].as_array().unwrap().len() == 3);
    for table in ["upstream_slots", "audit_events", "idempotency", "notifications"] {
        let column = if table == "upstream_slots" { "CAST(sealed AS TEXT)" } else { "CAST(details AS TEXT)" };
        let column = if table == "idempotency" { "CAST(reply AS TEXT)" } else { column };
        if matches!(world.location(), crossfade_store::Location::File(_)) {
            let found =
                world.number(&format!("SELECT COUNT(*) FROM {table} WHERE {column} LIKE '%s3cret%'")).await;
            assert_eq!(found, 0, "{table}");
        }
    }
}

async fn a_credential_goes_to_no_new_host_until_it_is_confirmed(mut world: World) {
    set(&world).await;
    let client = client(&world, "Billing", "0oa1").await;
    let id = registration_id(&world, &client).await;
    let open = |world: &World, url: &str| world.app.open_upstream_credential(&id, &origin(url)).map(drop);
    assert_eq!(open(&world, TOKEN), Err(NoCredential::NotSet));
    put(&world.owner().await, &client, json!({"secret": VALUE})).await.ok();
    assert_eq!(open(&world, TOKEN), Ok(()));
    world.owner().await.patch("/environments/staging", in_front(OTHER)).await.ok();
    assert_eq!(open(&world, OTHER), Err(NoCredential::NotConfirmed));
    world.restart().await;
    assert_eq!(open(&world, OTHER), Err(NoCredential::NotConfirmed));
    let owner = world.owner().await;
    let shown = owner.get(&client.path("staging", "/upstream-credential")).await.ok();
    assert_eq!(
        (&shown["confirmed_origins"], &shown["unconfirmed_origins"]),
        (&json!([]), &json!(["https://other.example.com"]))
    );
    put(&owner, &client, json!({})).await.ok();
    assert_eq!(open(&world, OTHER), Ok(()));
    assert_eq!(open(&world, "https://other.example.com:8443/token"), Err(NoCredential::NotConfirmed));
    assert_eq!(open(&world, "http://other.example.com/token"), Err(NoCredential::NotConfirmed));
}

async fn what_the_issuer_says_is_stored_and_the_accepted_secret_leads(mut world: World) {
    set(&world).await;
    let client = client(&world, "Billing", "0oa1").await;
    put(&world.owner().await, &client, json!({"secret": "old", "next": "new"})).await.ok();
    let id = registration_id(&world, &client).await;
    let opened = world.app.open_upstream_credential(&id, &origin(TOKEN)).ok().unwrap();
    let second = opened.second.unwrap();
    assert_eq!((opened.first.slot, second.slot), (Slot::Current, Slot::Next));
    world.advance(Duration::from_secs(60));
    let refused = UpstreamOutcome::Refused("401 invalid_client\n".to_owned());
    world.app.note_upstream_outcome(&id, Slot::Current, opened.first.set_at, &refused);
    world.app.note_upstream_outcome(&id, Slot::Next, second.set_at, &UpstreamOutcome::Accepted);
    world.run_jobs().await;
    let read = async |world: &World| {
        world.owner().await.get(&client.path("staging", "/upstream-credential")).await.ok()["slots"].clone()
    };
    let slots = read(&world).await;
    assert_eq!(
        (&slots[0]["state"], &slots[0]["last_error"]),
        (&json!("refused"), &json!("401 invalid_client"))
    );
    assert_eq!((&slots[1]["state"], slots[1]["last_ok_at"].is_string()), (&json!("ok"), true));
    world.restart().await;
    let opened = world.app.open_upstream_credential(&id, &origin(TOKEN)).ok().unwrap();
    assert_eq!((opened.first.slot, opened.first.value.as_str()), (Slot::Next, "new"), "also after a restart");
    // What was sent before a change says nothing about the secret that is there since then.
    put(&world.owner().await, &client, json!({"secret": "newer", "next": null})).await.ok();
    world.app.note_upstream_outcome(&id, Slot::Current, second.set_at, &refused);
    world.run_jobs().await;
    assert_eq!(read(&world).await[0]["state"], "untested");
}

async fn a_deleted_client_leaves_no_credential(world: World) {
    set(&world).await;
    let client = client(&world, "Billing", "0oa1").await;
    let owner = world.owner().await;
    put(&owner, &client, json!({"secret": VALUE})).await.ok();
    let id = registration_id(&world, &client).await;
    let delete = json!({"confirm_client_name": "Billing", "reason": "gone"});
    owner.delete(&format!("/clients/{}", client.id), delete).await.expect(200);
    assert_eq!(world.app.open_upstream_credential(&id, &origin(TOKEN)).map(drop), Err(NoCredential::NotSet));
    for table in ["upstream_slots", "upstream_credentials"] {
        assert_eq!(world.number(&format!("SELECT COUNT(*) FROM {table}")).await, 0, "{table}");
    }
}

const OTHER: &str = "https://other.example.com/token";

async fn a_host_that_was_removed_and_comes_back_must_be_confirmed_again(mut world: World) {
    set(&world).await;
    let client = client(&world, "Billing", "0oa1").await;
    put(&world.owner().await, &client, json!({"secret": VALUE})).await.ok();
    let id = registration_id(&world, &client).await;
    let move_to = async |world: &World, url: &str| {
        world.owner().await.patch("/environments/staging", in_front(url)).await.ok();
    };
    let open = |world: &World| world.app.open_upstream_credential(&id, &origin(TOKEN)).map(drop);
    move_to(&world, "https://id.example.com/v2/token").await;
    assert_eq!(open(&world), Ok(()), "the host is the same");
    move_to(&world, OTHER).await;
    move_to(&world, TOKEN).await;
    assert_eq!(open(&world), Err(NoCredential::NotConfirmed));
    world.restart().await;
    assert_eq!(open(&world), Err(NoCredential::NotConfirmed));
    let shown = world.owner().await.get(&client.path("staging", "/upstream-credential")).await.ok();
    assert_eq!(shown["unconfirmed_origins"], json!(["https://id.example.com"]));
    put(&world.owner().await, &client, json!({})).await.ok();
    assert_eq!(open(&world), Ok(()));
}

async fn a_secret_for_later_confirms_no_new_host(world: World) {
    set(&world).await;
    let client = client(&world, "Billing", "0oa1").await;
    let owner = world.owner().await;
    put(&owner, &client, json!({"secret": VALUE})).await.ok();
    let id = registration_id(&world, &client).await;
    let mut both = in_front(TOKEN);
    let server = json!({"name": "other", "issuer": "https://other.example.com", "token_endpoint": OTHER});
    both["upstream"]["servers"].as_array_mut().unwrap().push(server);
    owner.patch("/environments/staging", both).await.ok();
    let open = |url: &str| world.app.open_upstream_credential(&id, &origin(url)).map(drop);
    for next in [json!("the next one"), json!(null)] {
        let shown = put(&owner, &client, json!({"next": next})).await.ok();
        assert_eq!(shown["confirmed_origins"], json!(["https://id.example.com"]));
        assert_eq!((open(TOKEN), open(OTHER)), (Ok(()), Err(NoCredential::NotConfirmed)));
    }
    put(&owner, &client, json!({"secret": VALUE, "next": "the next one"})).await.ok();
    assert_eq!((open(TOKEN), open(OTHER)), (Ok(()), Ok(())));
}

async fn a_token_of_one_registration_does_not_set_the_upstream_credential(world: World) {
    set(&world).await;
    let client = client(&world, "Billing", "0oa1").await;
    put(&world.owner().await, &client, json!({"secret": VALUE})).await.ok();
    let only = NamedRegistration { client: "Billing".to_owned(), environment: "staging".to_owned() };
    let new = NewToken {
        user: OWNER.to_owned(),
        name: "nightly".to_owned(),
        expires_days: None,
        scope: Vec::new(),
        only: Some(only),
    };
    let token = world.app.create_token(&new).await.unwrap().reveal().to_owned();
    let limited = Principal { world: &world, token: Some(token) };
    for body in [json!({}), json!({"secret": "theirs"}), json!({"next": "theirs"}), json!({"next": null})] {
        put(&limited, &client, body).await.refused(403, "forbidden");
    }
    limited.get(&client.path("staging", "/upstream-credential")).await.ok();
    limited.post(&client.path("staging", "/secrets/rotate"), client.rotation(24)).await.created();
}

async fn clients_with_the_same_given_id_share_no_answers_and_no_name_in_the_trail(world: World) {
    set(&world).await;
    let owner = world.owner().await;
    let mut body = in_front(TOKEN);
    body["confirm_environment_slug"] = "production".into();
    owner.patch("/environments/production", body).await.ok();
    // It reads like the ID of the account that made it.
    let user = text(&owner.get("/me").await.ok()["user"]["id"]);
    let before = owner.get(&format!("/audit-events?actor={user}&action=secret.rotated")).await.ok();
    let mut given = Vec::new();
    for environment in ["staging", "production"] {
        let name = format!("Billing of {environment}");
        let property =
            text(&owner.post("/properties", json!({"name": format!("Of {name}")})).await.created()["id"]);
        let body =
            json!({"name": name, "property_id": property, "environments": [environment], "client_id": user});
        let created = owner.post("/clients", body).await.created();
        let id = text(&created["id"]);
        world.raw(&format!("UPDATE clients SET owners = '[\"ada@example.com\"]' WHERE id = '{id}'")).await;
        let path = format!("/clients/{id}/environments/{environment}");
        owner.patch(&path, json!({"self_rotation": true})).await.ok();
        let registration = Registration::read(&created["registrations"][0]);
        let (id, secret) = (&registration.client_id, &registration.secret);
        let form = [("client_id", id.as_str()), ("client_secret", secret.as_str())];
        let key = [("idempotency-key", "0123456789abcdefghijkl")];
        let answer = world.oauth(environment).form("rotate-secret", &form, &key).await.ok();
        let again = world.oauth(environment).form("rotate-secret", &form, &key).await.ok();
        assert_eq!(again, answer, "its own answer is given again");
        given.push(answer);
        let registration = text(&owner.get(&path).await.ok()["id"]);
        let events =
            owner.get(&format!("/audit-events?actor={registration}&action=secret.rotated")).await.ok();
        assert_eq!(events["items"].as_array().unwrap().len(), 1, "{events}");
        assert_eq!(events["items"][0]["actor"]["kind"], "client");
    }
    assert_ne!(given[0]["client_secret"], given[1]["client_secret"]);
    let after = owner.get(&format!("/audit-events?actor={user}&action=secret.rotated")).await.ok();
    assert_eq!(after["items"], before["items"]);
}
