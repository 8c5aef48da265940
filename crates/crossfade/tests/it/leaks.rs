//! Found secrets: who learns what they are, how they are searched, and what nobody learns.

use crate::{
    commands::Site,
    console::browser::Browser,
    data_keys::{create, delete, keys},
    engines::{on_both_engines, on_sqlite},
    few_statements::{Counter, listen},
    roles::{OBJECTS, Stage, YES, everybody},
    world::{Client, Principal, World},
};
use base64::Engine;
use crossfade_app::DataKeyPurpose;
use crossfade_authority::SystemRandom;
use crossfade_core::{
    Operation,
    environment::EnvironmentKind,
    secret::{SecretKind, SecretValue},
};
use serde_json::{Value, json};
use std::{io::Write, process::Stdio, time::Duration};

on_both_engines! {
    each_role_learns_of_what_it_can_read_and_of_nothing_else,
    each_state_of_a_secret_is_told,
    a_secret_is_found_wherever_it_is_in_a_text,
    a_search_is_in_the_trail_without_the_text,
    an_older_secret_is_found_once_its_value_is_seen,
    a_secret_is_found_across_new_and_deleted_keys,
    what_is_sent_wrongly_is_refused,
    who_can_read_no_client_searches_nothing,
}

on_sqlite! {
    in_a_quarantine_nothing_is_identified,
    the_console_identifies_a_secret_and_leads_to_its_end,
}

fn unknown(kind: EnvironmentKind) -> String {
    SecretValue::generate(SecretKind::Client(kind), &SystemRandom).reveal().to_owned()
}

async fn search(principal: &Principal<'_>, text: &str) -> Value {
    principal.post("/leaks", json!({"text": text})).await.ok()
}

/// What the only secret in a text is.
async fn identify(principal: &Principal<'_>, text: &str) -> Value {
    let reply = search(principal, text).await;
    assert_eq!(reply["found"].as_array().unwrap().len(), 1, "{reply}");
    reply["found"][0]["identified"].clone()
}

async fn rotate(world: &World, client: &Client, environment: &str, body: Value) -> (String, String) {
    let rotated =
        world.owner().await.post(&client.path(environment, "/secrets/rotate"), body).await.created();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&rotated["secret"]["id"]), text(&rotated["secret"]["value"]))
}

/// Every role × own, foreign, other-environment and unreadable registration. What cannot be read is answered, worked on and
/// recorded like a secret that does not exist.
async fn each_role_learns_of_what_it_can_read_and_of_nothing_else(world: World) {
    let stage = Stage::set(&world).await;
    for role in everybody() {
        let holder = stage.holder(role).await;
        for (object, name) in OBJECTS.iter().enumerate() {
            let (environment, value) = stage.secret(object);
            let kind =
                if environment == "production" { EnvironmentKind::Live } else { EnvironmentKind::Test };
            let ask = async |value: &str| {
                let counter = Counter::default();
                let counting = listen(counter.clone());
                let body = json!({"text": format!("key = {value}")});
                let answer = holder.principal().post("/leaks", body).await;
                drop(counting);
                let trail =
                    world.owner().await.get("/audit-events?action=secrets.identified&limit=1").await.ok();
                let mut headers = answer.headers.clone();
                headers.remove("x-request-id");
                let event = trail["items"][0].clone();
                let recorded =
                    [event["client_id"].clone(), event["target"].clone(), event["details"].clone()];
                (answer.status, headers, answer.bytes, counter.taken(), recorded)
            };
            let (there, nowhere) = (ask(value).await, ask(&unknown(kind)).await);
            let reply: Value = serde_json::from_slice(&there.2).unwrap();
            if stage.expected(Operation::IdentifySecrets, &holder, object) != YES {
                assert_eq!((there.0.as_u16(), &there), (403, &nowhere), "{role:?} {name}");
                continue;
            }
            let may_read = stage.expected(Operation::ReadRegistration, &holder, object) == YES;
            assert_eq!(!reply["found"][0]["identified"].is_null(), may_read, "{role:?} {name}: {reply}");
            assert_eq!(nowhere.0.as_u16(), 200, "{role:?} {name}");
            if !may_read {
                assert_eq!(there, nowhere, "{role:?} {name}");
                assert_eq!(there.4[2], json!({"found": 1, "identified": 0}));
            }
        }
    }
}

async fn each_state_of_a_secret_is_told(world: World) {
    let client = world.client("Billing", &["production", "staging"]).await;
    let owner = world.owner().await;
    let own = client.registration("production").clone();
    let told = identify(&owner, &own.secret).await;
    assert_eq!((&told["secret"]["state"], &told["secret"]["id"]), (&json!("current"), &json!(own.secret_id)));
    assert_eq!((&told["client_id"], &told["client"]), (&json!(client.id), &json!("Billing")));
    assert_eq!(
        (&told["environment"], &told["oauth_client_id"]),
        (&json!("production"), &json!(own.client_id))
    );
    assert_eq!(told["client_deleted_at"], Value::Null);

    let (_, second) = rotate(&world, &client, "production", client.rotation(24)).await;
    let told = identify(&owner, &own.secret).await;
    assert_eq!(told["secret"]["state"], "retiring");
    let deadline = told["secret"]["expires_at"].clone();
    assert!(deadline.is_string());
    world.advance(Duration::from_secs(24 * 3600));
    let told = identify(&owner, &own.secret).await;
    assert_eq!((&told["secret"]["state"], &told["secret"]["expires_at"]), (&json!("expired"), &deadline));

    let mut leaked = client.rotation(0);
    leaked["compromised"] = true.into();
    rotate(&world, &client, "production", leaked).await;
    let told = identify(&owner, &second).await;
    assert_eq!(told["secret"]["state"], "revoked");
    assert_eq!(told["compromised_at"], told["secret"]["revoked_at"]);

    let disable = json!({"enabled": false, "confirm_client_name": client.name});
    owner.patch(&client.path("staging", ""), disable).await.ok();
    let staging = client.registration("staging").secret.clone();
    let told = identify(&owner, &staging).await;
    assert!(told["disabled_at"].is_string() && told["secret"]["state"] == "current", "{told}");

    let path = format!("/clients/{}", client.id);
    owner.delete(&path, json!({"confirm_client_name": client.name, "reason": "over"})).await.expect(200);
    let told = identify(&owner, &staging).await;
    assert!(told["client_deleted_at"].is_string() && told["secret"]["state"] == "revoked", "{told}");
}

async fn a_secret_is_found_wherever_it_is_in_a_text(world: World) {
    let client = world.client("Billing", &["production", "staging"]).await;
    let owner = world.owner().await;
    let (live, test) = (&client.registration("production").secret, &client.registration("staging").secret);
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("id:{live}"));
    let text = format!("é={live}\n\n{test}{live}\nAuthorization: Basic {basic}\n{}", &live[..63]);
    let reply = search(&owner, &text).await;
    let places: Vec<_> = reply["found"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| {
            let environment = it["identified"]["environment"].as_str().unwrap();
            (it["line"].as_u64().unwrap(), it["encoded"].as_bool().unwrap(), environment)
        })
        .collect();
    let expected =
        [(1, false, "production"), (3, false, "staging"), (3, false, "production"), (4, true, "production")];
    assert_eq!(places, expected, "{reply}");
    assert_eq!(reply["found"][0]["offset"], 3, "bytes in UTF-8");
    assert_eq!(
        (&reply["found"][1]["prefix"], &reply["found"][0]["prefix"]),
        (&json!("crossfade_test_"), &json!("crossfade_live_"))
    );
    let plain = reply.to_string();
    assert!(!plain.contains(&live[15..30]) && !plain.contains(&test[15..30]), "{plain}");
    let nothing = json!({"found": [], "older_secrets_not_searched": false});
    for text in ["", "crossfade_live_", owner.token.as_deref().unwrap()] {
        assert_eq!(search(&owner, text).await, nothing);
    }
    let body = json!({"text": std::iter::repeat_n(live.as_str(), 900).collect::<Vec<_>>().join("\n")});
    assert_eq!(owner.post("/leaks", body).await.ok()["found"].as_array().unwrap().len(), 900);
}

async fn a_search_is_in_the_trail_without_the_text(world: World) {
    let client = world.client("Billing", &["production", "staging"]).await;
    let owner = world.owner().await;
    let (live, test) = (&client.registration("production").secret, &client.registration("staging").secret);
    let last =
        async || owner.get("/audit-events?action=secrets.identified&limit=1").await.ok()["items"][0].clone();
    search(&owner, &format!("hunter2 {live} {live}")).await;
    let event = last().await;
    assert_eq!(event["details"], json!({"found": 2, "identified": 2}));
    assert_eq!(event["target"], *client.registration("production").secret_id);
    assert_eq!((&event["client_id"], &event["environment"]), (&json!(client.id), &json!("production")));
    assert_eq!(event["via"]["kind"], "token");
    search(&owner, &format!("{live} {test} {}", unknown(EnvironmentKind::Live))).await;
    let event = last().await;
    assert_eq!(event["details"], json!({"found": 3, "identified": 2}));
    assert_eq!(event["target"], Value::Null, "two secrets");
    for needle in ["hunter2", &live[15..], "value_digest"] {
        let sql = format!(
            "SELECT COUNT(*) FROM audit_events WHERE details LIKE '%{needle}%' OR reason LIKE '%{needle}%'"
        );
        assert_eq!(world.number(&sql).await, 0);
    }
}

async fn forget(world: &World) {
    world.raw("UPDATE secrets SET value_digest = NULL, value_digest_key = NULL").await;
}

/// A secret of an earlier version has no digest of its value.
async fn an_older_secret_is_found_once_its_value_is_seen(mut world: World) {
    let stored = world.client("Stored", &["production"]).await;
    let used = world.client("Used", &["production"]).await;
    let ended = world.client("Ended", &["production"]).await;
    let (_, second) = rotate(&world, &ended, "production", ended.rotation(0)).await;
    let value = |client: &Client| client.registration("production").secret.clone();
    world.raw("UPDATE secrets SET sealed = NULL WHERE registration_id IN (SELECT r.id FROM registrations r JOIN clients c ON c.id = r.client_id WHERE c.name <> 'Stored')").await;
    forget(&world).await;
    let digested = async |world: &World| {
        world.number("SELECT COUNT(*) FROM secrets WHERE value_digest IS NOT NULL").await
    };
    world.restart().await;
    let owner = world.owner().await;
    let text = format!("{}\n{}\n{}", value(&stored), value(&used), value(&ended));
    let told = async |owner: &Principal<'_>| {
        let reply = search(owner, &text).await;
        let names = reply["found"].as_array().unwrap().iter().map(|it| it["identified"]["client"].clone());
        let names: Vec<String> = names.map(|name| name.as_str().unwrap_or("-").to_owned()).collect();
        (names.join(" "), reply["older_secrets_not_searched"].as_bool().unwrap())
    };
    assert_eq!(told(&owner).await, ("- - -".to_owned(), true), "the answer says what it cannot know");
    world.run_jobs().await;
    assert_eq!(told(&owner).await, ("Stored - -".to_owned(), true), "a stored value is read by a job");

    let own = used.registration("production");
    for _ in 0..3 {
        world.oauth("production").token(&own.client_id, "wrong").await.is_invalid_client();
        world.oauth("production").token(&own.client_id, &own.secret).await.is_token();
    }
    let before = world.number("SELECT change_seq FROM head").await;
    assert_eq!(digested(&world).await, 1, "a request stores nothing");
    world.run_jobs().await;
    assert_eq!(told(&owner).await, ("Stored Used -".to_owned(), true));
    world.oauth("production").token(&own.client_id, &own.secret).await.is_token();
    world.run_jobs().await;
    assert_eq!(world.number("SELECT change_seq FROM head").await, before + 1, "noted once");

    let own = ended.registration("production");
    world.oauth("production").token(&own.client_id, &own.secret).await.is_invalid_client();
    world.run_jobs().await;
    let names = "Stored Used Ended".to_owned();
    assert_eq!(told(&owner).await, (names, true), "the secret that replaced the last one was not used yet");
    world.oauth("production").token(&own.client_id, &second).await.is_token();
    world.run_jobs().await;
    assert!(!told(&owner).await.1, "every secret is searched");
}

async fn a_secret_is_found_across_new_and_deleted_keys(mut world: World) {
    let billing = world.client("Billing", &["production"]).await;
    let own = billing.registration("production").clone();
    let (_, second) = rotate(&world, &billing, "production", billing.rotation(0)).await;
    let (_, third) = rotate(&world, &billing, "production", billing.rotation(0)).await;
    // The first ended secret is not stored any more, the second is.
    world.raw(&format!("UPDATE secrets SET sealed = NULL WHERE id = '{}'", own.secret_id)).await;
    let old = keys(&world, DataKeyPurpose::Verify).await.pop().unwrap().id;
    create(&world).await.unwrap();
    world.run_jobs().await;
    let (_, fourth) = rotate(&world, &billing, "production", billing.rotation(24)).await;
    let states = async |world: &World| {
        let text = [&own.secret, &second, &third, &fourth].map(String::as_str).join(" ");
        let reply = search(&world.owner().await, &text).await;
        let states = reply["found"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["identified"]["secret"]["state"].as_str().unwrap_or("-").to_owned());
        (states.collect::<Vec<_>>().join(" "), reply["older_secrets_not_searched"] == true)
    };
    let all = ("expired expired retiring current".to_owned(), false);
    assert_eq!(states(&world).await, all, "under both keys");
    let master = world.open_beside().await.unwrap();
    master.rotate_master_key(&world.master_key_file().into()).await.unwrap();
    master.close().await;
    world.restart().await;
    assert_eq!(states(&world).await, all, "another master key changes no digest");

    world.oauth("production").token(&own.client_id, &third).await.is_token();
    world.run_jobs().await;
    assert_eq!(
        world.number(&format!("SELECT COUNT(*) FROM secrets WHERE value_digest_key = '{old}'")).await,
        2
    );
    delete(&world, &old).await.unwrap();
    assert_eq!(
        states(&world).await,
        ("- - retiring current".to_owned(), true),
        "the digests went with their key"
    );
    world.run_jobs().await;
    let stored = ("- expired retiring current".to_owned(), true);
    assert_eq!(states(&world).await, stored, "a stored value is read again");
    world.restart().await;
    assert_eq!(states(&world).await, stored);
}

async fn what_is_sent_wrongly_is_refused(world: World) {
    let owner = world.owner().await;
    let refused = owner.post("/leaks", json!({})).await.refused(422, "invalid_body");
    assert_eq!(refused["field"], "text");
    owner.post("/leaks", json!({"text": 7})).await.refused(422, "invalid_body");
    owner.post("/leaks", json!({"text": "x", "more": 1})).await.refused(422, "invalid_body");
    owner.post("/leaks", json!({"text": "x".repeat(65_536)})).await.refused(413, "body_too_large");
    let body = || Some(json!({"text": "x"}).to_string());
    let conditional = owner.call(http::Method::POST, "/leaks", body(), &[("if-match", "\"1\"")]).await;
    conditional.refused(412, "precondition_failed");
    world.anonymous().call(http::Method::POST, "/leaks", body(), &[]).await.refused(401, "unauthenticated");
    let limited = world.token_of(crate::world::OWNER, &["audit:read"]).await;
    let client = world.client("Billing", &["production"]).await;
    let body = json!({"text": client.registration("production").secret});
    limited.post("/leaks", body).await.refused(403, "forbidden");
}

/// Whoever can read no client fills neither the trail nor the time of others.
async fn who_can_read_no_client_searches_nothing(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let nobody = world.token_of(crate::world::OWNER, &["audit:read"]).await;
    let events = "SELECT COUNT(*) FROM audit_events";
    let searches = "SELECT COUNT(*) FROM audit_events WHERE action = 'secrets.identified'";
    let before = world.number(events).await;
    for text in [&*client.registration("production").secret, &unknown(EnvironmentKind::Live), ""].repeat(25) {
        nobody.post("/leaks", json!({"text": text})).await.refused(403, "forbidden");
    }
    assert_eq!(world.number(searches).await, 0);
    assert!(world.number(events).await <= before + 61, "refusals are grouped");
    // A text without a secret is no event, either.
    search(&world.owner().await, "nothing").await;
    assert_eq!(world.number(searches).await, 0);
}

async fn in_a_quarantine_nothing_is_identified(mut world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await.token;
    world.raw("INSERT INTO quarantine (one, since, cause, data_until) VALUES (1, 1, 'restored', 1)").await;
    world.restart().await;
    let owner = Principal { world: &world, token: owner };
    let body = json!({"text": client.registration("production").secret});
    owner.post("/leaks", body).await.refused(503, "quarantined");
}

async fn the_console_identifies_a_secret_and_leads_to_its_end(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let own = client.registration("production").clone();
    let browser = world.signed_in().await;
    let sent = async |browser: &Browser<'_>, text: &str| {
        browser.post("/console/leaks", &[("text", text)]).await.page(200)
    };
    assert!(browser.get("/console/leaks").await.page(200).contains("name=\"text\""));
    let page = sent(&browser, &format!("CLIENT_SECRET={}", own.secret)).await;
    assert!(
        page.contains("Billing") && !page.contains(&own.secret) && !page.contains("CLIENT_SECRET"),
        "{page}"
    );
    let path = format!("/console/clients/{}/environments/production/security", client.id);
    let link = format!("{path}?leaked={}", own.secret_id);
    assert!(page.contains(&format!("href=\"{link}\">Rotate</a>")), "{page}");
    let dialog = |page: &str, id: &str| {
        let from = page.split_once(&format!("id=\"{id}\" ")).map(|(_, rest)| rest.to_owned());
        from.map(|rest| rest.split("</dialog>").next().unwrap().to_owned())
    };
    let page = browser.get(&link).await.page(200);
    let rotate_dialog = dialog(&page, "rotate").unwrap();
    assert!(rotate_dialog.split('>').next().unwrap().ends_with(" open"), "{rotate_dialog}");
    assert!(rotate_dialog.contains("name=\"compromised\" value=\"true\" checked"), "{rotate_dialog}");
    assert!(rotate_dialog.contains("max=\"168\" step=\"1\" required value=\"0\""), "{rotate_dialog}");
    let closed = dialog(&browser.get(&path).await.page(200), "rotate").unwrap();
    assert!(!closed.split('>').next().unwrap().ends_with(" open"));

    rotate(&world, &client, "production", client.rotation(24)).await;
    assert!(sent(&browser, &own.secret).await.contains(">Revoke</a>"));
    let page = browser.get(&link).await.page(200);
    let revoke = dialog(&page, "revoke").unwrap();
    assert!(revoke.split('>').next().unwrap().ends_with(" open"), "{revoke}");
    assert!(revoke.contains("name=\"compromised\" value=\"true\" checked"), "{revoke}");

    let page = sent(&browser, &unknown(EnvironmentKind::Live)).await;
    assert!(page.contains("It belongs to no registration that you can read."), "{page}");
    let viewer = world.person("grace@example.com", "viewer").await;
    let page = sent(&viewer, &own.secret).await;
    assert!(page.contains("Your role cannot end it") && !page.contains("?leaked="), "{page}");
}

#[test]
fn the_command_reads_a_pipe_and_names_what_it_finds() {
    let site = Site::new();
    let created = site.client("Billing");
    let value = created["registrations"][0]["secret"]["value"].as_str().unwrap().to_owned();
    let run = |token: &str, more: &[&str], input: &[u8]| {
        let mut command = site.command(token, &[&["secret", "identify"][..], more].concat());
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let done = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (done.status.code().unwrap(), text(done.stdout), text(done.stderr))
    };
    // A long input, not UTF-8, with secrets at the borders of pieces.
    let mut input = vec![0xff; 64 * 1024 - 30];
    input.extend(value.bytes());
    input.extend(vec![b'\n'; 64 * 1024]);
    input.extend(unknown(EnvironmentKind::Live).bytes());
    input.extend(value.bytes());
    let (status, out, err) = run(&site.token, &[], &input);
    assert_eq!(status, 0, "{err}");
    assert!(err.contains("Found 3 client secrets. 2 belong to registrations that you can read."), "{err}");
    assert!(err.contains("crossfade secret rotate --transition 0 --compromised"), "{err}");
    let lines: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[1][..4], ["1", "current", "Billing", "staging"], "{out}");
    assert_eq!((lines[2][..2].to_vec(), lines[3][1]), (vec!["65537", "unknown"], "current"), "{out}");
    assert!(!out.contains(&value[15..]) && !err.contains(&value[15..]));
    let (status, out, _) = run(&site.token, &["--json"], &input);
    let reply: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((status, reply["found"].as_array().unwrap().len()), (0, 3));
    assert_eq!(reply["found"][0]["offset"], 64 * 1024 - 30);
    assert_eq!(reply["found"][2]["identified"]["client"], "Billing");
    assert_eq!(reply["older_secrets_not_searched"], false);

    // For a pipeline.
    let (status, out, err) = run(&site.token, &["--exit-code"], &input);
    assert!(
        status == 10 && out.contains("current") && err.contains("The input contains a valid secret."),
        "{err}"
    );
    let strange = unknown(EnvironmentKind::Live);
    assert_eq!(run(&site.token, &["--exit-code"], strange.as_bytes()).0, 0);
    assert_eq!(run(&site.token, &["--exit-code", "--json"], value.as_bytes()).0, 10);

    let (status, out, err) = run(&site.token, &[], b"nothing here");
    assert_eq!((status, &*out), (0, ""));
    assert!(err.contains("The text contains no client secret."), "{err}");
    let (status, out, err) = run("crossfade_api_wrong", &[], b"nothing here");
    assert!(status == 4 && out.is_empty(), "{err}");
}
