//! The life of a secret as its client sees it: rows SEC-01 to SEC-17 of the checklist. The rules of rotation
//! themselves have a suite of their own.

use super::{PROTECTED, basic, is_the_refusal, needed, pause, post};
use crate::engines::{on_both_engines, on_sqlite};
use crate::world::{Client, Registration, World};
use base64::{Engine, engine::general_purpose::STANDARD};
use crossfade_store::Location;
use serde_json::{Value, json};
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use std::time::Duration;

on_both_engines! {
    at_most_two_secrets_are_alive,
    a_transition_is_whole_hours_from_0_to_168,
    a_deadline_survives_a_restart,
    of_simultaneous_rotations_one_happens,
    revoke_and_rollback_act_at_once_and_are_recorded,
    environments_are_isolated,
}

on_sqlite! {
    what_is_stored_is_no_secret_rfc6819_5_1_4_1_3,
}

const HOUR: Duration = Duration::from_secs(3600);

/// Every byte that an embedded database has on disk.
pub(super) fn files_of(world: &World) -> Vec<u8> {
    let Location::File(path) = world.location() else { panic!("not a file") };
    let directory = path.parent().unwrap();
    let files = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    files.flat_map(|file| std::fs::read(file).unwrap()).collect()
}

async fn rotate(world: &World, client: &Client, environment: &str, body: Value) -> Value {
    world.owner().await.post(&client.path(environment, "/secrets/rotate"), body).await.created()
}

fn value_of(reply: &Value) -> String {
    reply["secret"]["value"].as_str().unwrap().to_owned()
}

/// Whether a secret authenticates, the same at every endpoint and by either method.
async fn works(world: &World, own: &Registration, secret: &str) -> bool {
    let oauth = world.oauth(&own.environment);
    let mut answers =
        vec![oauth.token(&own.client_id, secret).await, oauth.token_by_post(&own.client_id, secret).await];
    for endpoint in ["introspect", "revoke"] {
        answers.push(oauth.basic(endpoint, &own.client_id, secret, &[("token", "x")]).await);
    }
    let status = answers[0].status.as_u16();
    assert!(answers.iter().all(|answer| answer.status.as_u16() == status), "the endpoints do not agree");
    assert!([200, 401].contains(&status));
    status == 200
}

/// SEC-04, SEC-12: two are alive at most, a third is a conflict or ends the oldest; and the use of the
/// retiring one is seen.
async fn at_most_two_secrets_are_alive(world: World) {
    let client = world.client("Billing API", &["production"]).await;
    let own = client.registration("production");
    let second = value_of(&rotate(&world, &client, "production", client.rotation(24)).await);
    let owner = world.owner().await;
    let path = client.path("production", "/secrets/rotate");
    owner.post(&path, client.rotation(24)).await.refused(409, "transition_in_progress");
    assert!(
        works(&world, own, &own.secret).await && works(&world, own, &second).await,
        "a refusal changes nothing"
    );

    world.run_jobs().await;
    let usage = owner.get(&client.path("production", "/usage")).await.ok();
    let retiring =
        usage["items"].as_array().unwrap().iter().find(|item| item["state"] == "retiring").unwrap();
    assert_eq!(
        (retiring["secret_id"].as_str(), retiring["source_ip"].as_str()),
        (Some(own.secret_id.as_str()), Some("192.0.2.1"))
    );
    assert_eq!(retiring["last_used_at"], world.now().to_string());
    assert!(!usage.to_string().contains(&own.secret));

    let mut forced = client.rotation(24);
    forced["end_running_transition"] = true.into();
    let third = value_of(&rotate(&world, &client, "production", forced).await);
    assert!(!works(&world, own, &own.secret).await, "the oldest has ended");
    assert!(works(&world, own, &second).await && works(&world, own, &third).await);
}

/// SEC-05, SEC-07: whole hours from 0 to 168, and they are hours.
async fn a_transition_is_whole_hours_from_0_to_168(world: World) {
    let client = world.client("Billing API", &["production", "staging", "development"]).await;
    let owner = world.owner().await;
    let path = client.path("production", "/secrets/rotate");
    for hours in [
        json!(169),
        json!(-1),
        json!(1.5),
        json!(null),
        json!("24"),
        json!(1e9),
        json!(u64::MAX),
        json!([1]),
        json!(true),
    ] {
        owner.post(&path, client.rotation(hours)).await.refused(422, "transition_out_of_range");
    }
    owner
        .post(&path, json!({"confirm_client_name": "Billing API"}))
        .await
        .refused(422, "transition_out_of_range");
    let mut ends = Vec::new();
    for (environment, hours) in [("development", 0), ("staging", 1), ("production", 168)] {
        let reply = rotate(&world, &client, environment, client.rotation(hours)).await;
        ends.push((world.now().after(HOUR * hours), client.registration(environment)));
        assert!(works(&world, client.registration(environment), &value_of(&reply)).await);
    }
    for (end, own) in ends {
        if end > world.now() {
            world.advance(end.since(world.now()) - Duration::from_secs(1));
            assert!(works(&world, own, &own.secret).await, "a second before, in {}", own.environment);
            world.advance(Duration::from_secs(1));
        }
        assert!(!works(&world, own, &own.secret).await, "at the deadline, in {}", own.environment);
    }
}

/// SEC-06: a deadline is stored, so that a process that starts within the transition keeps it.
async fn a_deadline_survives_a_restart(mut world: World) {
    let client = world.client("Billing API", &["production"]).await;
    let own = client.registration("production").clone();
    let new = value_of(&rotate(&world, &client, "production", client.rotation(2)).await);
    world.advance(HOUR);
    world.restart().await;
    assert!(works(&world, &own, &own.secret).await && works(&world, &own, &new).await);
    world.advance(HOUR);
    assert!(!works(&world, &own, &own.secret).await && works(&world, &own, &new).await);
}

/// SEC-08: of simultaneous rotations, one happens.
async fn of_simultaneous_rotations_one_happens(world: World) {
    let client = world.client("Billing API", &["production"]).await;
    let own = client.registration("production");
    let (owner, path) = (world.owner().await, client.path("production", "/secrets/rotate"));
    let mut body = client.rotation(24);
    body["expected_current_secret_id"] = own.secret_id.as_str().into();
    let go = || owner.post(&path, body.clone());
    let (a, b, c, d, e, f, g, h) = tokio::join!(go(), go(), go(), go(), go(), go(), go(), go());
    let (won, lost): (Vec<_>, Vec<_>) =
        [a, b, c, d, e, f, g, h].into_iter().partition(|answer| answer.status.as_u16() == 201);
    assert_eq!(won.len(), 1);
    assert!(
        lost.iter().all(|answer| answer.status.as_u16() == 409),
        "{:?}",
        lost.iter().map(|answer| answer.status).collect::<Vec<_>>()
    );
    assert!(works(&world, own, &own.secret).await && works(&world, own, &value_of(&won[0].json())).await);
    let secrets = owner.get(&client.path("production", "/secrets")).await.ok();
    assert_eq!(secrets["items"].as_array().unwrap().len(), 2);
}

/// SEC-09, SEC-11, SEC-16: what ends a secret by hand ends it when the call returns, and for good; and
/// the history says what, when, by whom and why, but no value.
async fn revoke_and_rollback_act_at_once_and_are_recorded(mut world: World) {
    let client = world.client("Billing API", &["production", "staging"]).await;
    let (revoked, rolled) =
        (client.registration("production").clone(), client.registration("staging").clone());
    let kept = value_of(&rotate(&world, &client, "production", client.rotation(24)).await);
    let reply = rotate(&world, &client, "staging", client.rotation(24)).await;
    let dropped = value_of(&reply);
    {
        let owner = world.owner().await;
        let path = client.path("production", &format!("/secrets/{}/revoke", revoked.secret_id));
        owner.post(&path, json!({"reason": "found in a log"})).await.ok();
        owner.post(&path, json!({"reason": "again"})).await.refused(409, "not_retiring");
        let path = client
            .path("staging", &format!("/rotations/{}/rollback", reply["rotation"]["id"].as_str().unwrap()));
        owner.post(&path, json!({"reason": "deployed too early"})).await.ok();
    }
    for _ in 0..2 {
        assert!(!works(&world, &revoked, &revoked.secret).await && works(&world, &revoked, &kept).await);
        assert!(works(&world, &rolled, &rolled.secret).await && !works(&world, &rolled, &dropped).await);
        world.restart().await;
    }
    let owner = world.owner().await;
    for (environment, ended_as) in [("production", "revoked"), ("staging", "rolled_back")] {
        let history = owner.get(&client.path(environment, "/rotations")).await.ok();
        let rotation = &history["items"][0];
        assert_eq!(rotation["ended_as"], ended_as);
        assert_eq!(rotation["initiated_by"]["kind"], "user");
        let secrets = owner.get(&client.path(environment, "/secrets")).await.ok();
        for value in [&revoked.secret, &kept, &rolled.secret, &dropped] {
            assert!(
                !history.to_string().contains(value.as_str())
                    && !secrets.to_string().contains(value.as_str())
            );
        }
    }
}

/// SEC-15: each of a client's secrets works in its own environment alone, under its own id alone.
async fn environments_are_isolated(world: World) {
    let client = world.client("Billing API", &["development", "staging", "production"]).await;
    for place in &client.registrations {
        for id in &client.registrations {
            for secret in &client.registrations {
                let own = Registration { environment: place.environment.clone(), ..id.clone() };
                let all_its_own = place.client_id == id.client_id && id.client_id == secret.client_id;
                let oauth = world.oauth(&own.environment);
                let answer = oauth.token(&own.client_id, &secret.secret).await;
                assert_eq!(answer.status.as_u16() == 200, all_its_own);
                if !all_its_own {
                    is_the_refusal(&answer, "another environment's");
                }
            }
        }
    }
}

/// SEC-03: the database holds no secret, and what it holds instead authenticates nobody.
async fn what_is_stored_is_no_secret_rfc6819_5_1_4_1_3(world: World) {
    let client = world.client("Billing API", &["production"]).await;
    let own = client.registration("production");
    let new = value_of(&rotate(&world, &client, "production", client.rotation(24)).await);
    world.oauth("production").token(&own.client_id, &new).await.is_token();
    world.run_jobs().await;
    let stored = files_of(&world);
    let holds = |what: &str| stored.windows(what.len()).any(|window| window == what.as_bytes());
    assert!(holds(&own.client_id), "this is the database");
    for secret in [&own.secret, &new] {
        // The part that is not a prefix: raw, and as it stood in a header.
        assert!(!holds(&secret[15..]) && !holds(&STANDARD.encode(format!("{}:{secret}", own.client_id))));
    }

    let Location::File(path) = world.location() else { panic!("not a file") };
    let options = SqliteConnectOptions::new().filename(path).read_only(true);
    let mut database = SqliteConnection::connect_with(&options).await.unwrap();
    let digests: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT digest FROM secrets").fetch_all(&mut database).await.unwrap();
    let sealed: Vec<Vec<u8>> = sqlx::query_scalar("SELECT sealed FROM secrets WHERE sealed IS NOT NULL")
        .fetch_all(&mut database)
        .await
        .unwrap();
    assert_eq!((digests.len(), sealed.len()), (2, 2));
    for bytes in digests.iter().chain(&sealed) {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let escaped: String = bytes.iter().map(|byte| format!("%{byte:02X}")).collect();
        let encodings = [
            hex.clone().into_bytes(),
            hex.to_uppercase().into_bytes(),
            STANDARD.encode(bytes).into_bytes(),
            super::jws::b64(bytes).into_bytes(),
            bytes.clone(),
            escaped.into_bytes(),
        ];
        for encoding in encodings {
            let header = basic([own.client_id.as_bytes(), b":", &encoding].concat());
            for endpoint in PROTECTED {
                pause(&world);
                let answer =
                    post(&world, endpoint, &[("authorization", header.as_bytes())], needed(endpoint)).await;
                is_the_refusal(&answer, "what is stored");
            }
        }
    }
}
