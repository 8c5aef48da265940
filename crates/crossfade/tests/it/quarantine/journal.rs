//! What the journal brings back, and what it refuses while it cannot be written.

use super::{Lived, Saved, copy, file_of, journal, put_back, release, restarted, text_of, token};
use crate::engines::{on_both_engines, on_sqlite};
use crate::world::World;
use crossfade_core::{Code, ended::Cause};
use crossfade_store::Location;
use http::Method;
use serde_json::json;
use std::{path::Path, time::Duration};

on_both_engines! {
    a_removed_signing_key_stays_removed,
    what_began_and_ended_after_the_copy_has_ended,
    narrowed_settings_stay_narrow,
    a_repeat_waits_for_the_journal_as_the_first_did,
    nothing_ends_between_a_release_and_the_journal,
    what_ends_nothing_needs_no_journal,
    a_read_that_fails_after_the_commit_leaves_the_outcome_unknown,
    a_database_that_goes_back_under_a_server_revives_nothing,
    what_waits_in_an_older_copy_is_not_sent_again,
}

on_sqlite! {
    a_copy_from_before_the_journal_needs_a_release,
    a_copy_from_between_a_release_and_the_journal_needs_a_release,
}

const HOUR: Duration = Duration::from_secs(3600);

/// The backup, served with the journal from the time of the backup on.
pub(super) async fn restored_with(saved: &Saved, world: &World, path: &Path) -> World {
    world.app.close().await;
    world.ends_unable_to_run_jobs();
    let after = saved.restored(world, Some(path.to_owned())).await;
    assert_eq!(after.app.quarantine(), None);
    after
}

async fn a_removed_signing_key_stays_removed(world: World) {
    let (_directory, path) = journal();
    let world = restarted(world, &path).await;
    let lived = Lived::before(&world).await;
    let saved = Saved::of(&world).await;
    let body = json!({"compromised": true, "reason": "leaked"});
    lived.owner(&world).post("/environments/production/signing-keys/rotate", body).await.created();
    let after = restored_with(&saved, &world, &path).await;
    let own = lived.billing.registration("production");
    let is_active = async |token: &str| {
        let told = after.oauth("production").introspect(&own.client_id, &own.secret, token).await;
        told["active"].as_bool().unwrap()
    };
    assert!(!is_active(&lived.access_token).await, "signed with the leaked key");
    let new = token(&after, &lived.billing, &own.secret).await.is_token();
    assert!(is_active(&new).await);
    let keys = lived.owner(&after).get("/environments/production/signing-keys").await.ok();
    assert_eq!(keys["items"].as_array().or(keys.as_array()).unwrap().len(), 1, "{keys}");
}

async fn what_began_and_ended_after_the_copy_has_ended(world: World) {
    let (_directory, path) = journal();
    let world = restarted(world, &path).await;
    let lived = Lived::before(&world).await;
    let saved = Saved::of(&world).await;
    let owner = lived.owner(&world);
    let rotate = lived.billing.path("production", "/secrets/rotate");
    let second = owner.post(&rotate, lived.billing.rotation(0)).await.created();
    let second = second["secret"]["value"].as_str().unwrap();
    let ended = token(&world, &lived.billing, second).await.is_token();
    world.advance(HOUR);
    let mut body = lived.billing.rotation(0);
    for (name, value) in
        [("compromised", json!(true)), ("revoke_tokens", json!(true)), ("reason", json!("leaked"))]
    {
        body[name] = value;
    }
    let third = owner.post(&rotate, body).await.created();
    let third = third["secret"]["value"].as_str().unwrap();
    let ended_at = world.now();
    let after = restored_with(&saved, &world, &path).await;
    let id = &lived.billing.registration("production").client_id;
    assert_eq!(after.oauth("production").introspect(id, third, &ended).await["active"], false);
    token(&after, &lived.billing, third).await.is_token();
    assert!(after.now() >= ended_at, "the clock of the copy");
}

async fn narrowed_settings_stay_narrow(world: World) {
    let (_directory, path) = journal();
    let world = restarted(world, &path).await;
    let lived = Lived::before(&world).await;
    let saved = Saved::of(&world).await;
    let narrow = json!({
        "token_endpoint_auth_methods": ["client_secret_post"],
        "access_token_ttl_seconds": 300,
        "allowed_networks": ["198.51.100.0/24"],
    });
    let place = lived.billing.path("production", "");
    let mut body = narrow.clone();
    body["acknowledge_locked_out"] = 100.into();
    lived.owner(&world).patch(&place, body).await.ok();
    let after = restored_with(&saved, &world, &path).await;
    let found = lived.owner(&after).get(&place).await.ok();
    for (name, value) in narrow.as_object().unwrap() {
        assert_eq!(&found[name], value, "{found}");
    }
}

async fn a_repeat_waits_for_the_journal_as_the_first_did(world: World) {
    let (directory, path) = journal();
    let world = restarted(world, &path).await;
    let lived = Lived::before(&world).await;
    let own = lived.billing.registration("production");
    let (oauth, form) = (world.oauth("production"), [("token", lived.access_token.as_str())]);
    let revoke = async || oauth.basic("revoke", &own.client_id, &own.secret, &form).await.status.as_u16();
    let owner = lived.owner(&world);
    let rotate = lived.closed.path("production", "/secrets/rotate");
    let again = async || {
        let body = Some(lived.closed.rotation(0).to_string());
        owner.call(Method::POST, &rotate, body, &[("Idempotency-Key", "once")]).await
    };
    let aside = directory.path().join("aside");
    std::fs::rename(&path, &aside).unwrap();
    again().await.refused(503, "outcome_unknown");
    again().await.refused(503, "outcome_unknown");
    std::fs::rename(&aside, &path).unwrap();
    world.app.tend_journal().await;
    again().await.created();
    std::fs::rename(&path, &aside).unwrap();
    for _ in 0..3 {
        assert_eq!(revoke().await, 503);
    }
    std::fs::rename(&aside, &path).unwrap();
    world.app.tend_journal().await;
    assert_eq!(revoke().await, 200);
}

async fn nothing_ends_between_a_release_and_the_journal(world: World) {
    let (directory, path) = journal();
    let mut world = restarted(world, &path).await;
    let lived = Lived::before(&world).await;
    // A directory that is not there: the next journal cannot begin.
    let missing = directory.path().join("missing");
    world.journal = Some(missing.join("ends.journal"));
    world.restart().await;
    assert_eq!(world.app.quarantine().map(|(cause, _)| cause), Some(Cause::JournalMissing));
    world.app.release_quarantine_here(&release()).await.unwrap();
    let owner = lived.owner(&world);
    let rotate = lived.billing.path("production", "/secrets/rotate");
    owner.post(&rotate, lived.billing.rotation(0)).await.refused(503, "unavailable");
    assert!(text_of(&world, "/metrics").await.1.contains("\ncrossfade_journal_failing 1\n"));
    token(&world, &lived.billing, &lived.billing.registration("production").secret).await.is_token();
    std::fs::create_dir(&missing).unwrap();
    world.app.tend_journal().await;
    owner.post(&rotate, lived.billing.rotation(0)).await.created();
    assert!(text_of(&world, "/metrics").await.1.contains("\ncrossfade_journal_failing 0\n"));
    world.restart().await;
    assert_eq!(world.app.quarantine(), None);
}

async fn what_ends_nothing_needs_no_journal(world: World) {
    let (directory, path) = journal();
    let world = restarted(world, &path).await;
    let lived = Lived::before(&world).await;
    let owner = lived.owner(&world);
    let rotated =
        owner.post(&lived.billing.path("production", "/secrets/rotate"), lived.billing.rotation(1)).await;
    rotated.created();
    let secrets = owner.get(&lived.billing.path("production", "/secrets")).await.ok();
    let retiring = secrets["items"].as_array().unwrap().iter().find(|it| it["state"] == "retiring").unwrap();
    let aside = directory.path().join("aside");
    std::fs::rename(&path, &aside).unwrap();
    let rotate = lived.closed.path("production", "/secrets/rotate");
    owner.post(&rotate, lived.closed.rotation(0)).await.refused(503, "outcome_unknown");
    owner.post(&rotate, lived.closed.rotation(0)).await.refused(503, "unavailable");
    let extend = format!("/secrets/{}/extend", retiring["id"].as_str().unwrap());
    let expires_at = world.now().after(HOUR * 10).to_string();
    let body = json!({"expires_at": expires_at, "reason": "the journal fails"});
    owner.post(&lived.billing.path("production", &extend), body).await.ok();
    world.client("Shipping", &["production"]).await;
    let lines = || std::fs::read_to_string(&path).unwrap().lines().count();
    std::fs::rename(&aside, &path).unwrap();
    let before = lines();
    world.app.tend_journal().await;
    assert_eq!(lines(), before + 3, "the rotation, the extension and the new registration");
}

/// Has each noted end that is stored from now on be one that cannot be read.
async fn spoil_ends(world: &World) {
    let spoil = match world.location() {
        Location::File(_) => {
            "CREATE TRIGGER spoil AFTER INSERT ON ends
             BEGIN UPDATE ends SET entry = 'spoiled' WHERE seq = NEW.seq; END"
        }
        Location::Postgres(_) => {
            "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS
               $$ BEGIN NEW.entry := 'spoiled'; RETURN NEW; END $$;
             CREATE TRIGGER spoil BEFORE INSERT ON ends FOR EACH ROW EXECUTE FUNCTION spoil()"
        }
    };
    world.raw(spoil).await;
}

async fn mend_ends(world: &World) {
    world.raw("DELETE FROM ends WHERE entry = 'spoiled'").await;
    world
        .raw(match world.location() {
            Location::File(_) => "DROP TRIGGER spoil",
            Location::Postgres(_) => "DROP TRIGGER spoil ON ends; DROP FUNCTION spoil()",
        })
        .await;
}

async fn a_read_that_fails_after_the_commit_leaves_the_outcome_unknown(world: World) {
    let (_directory, path) = journal();
    let mut world = restarted(world, &path).await;
    let lived = Lived::before(&world).await;
    spoil_ends(&world).await;
    let rotate = lived.billing.path("production", "/secrets/rotate");
    let refused =
        lived.owner(&world).post(&rotate, lived.billing.rotation(0)).await.refused(503, "outcome_unknown");
    let text = refused["detail"].as_str().unwrap();
    assert!(text.contains("The change was stored.") && !text.contains("Nothing was changed"), "{text}");
    let first = &lived.billing.registration("production").secret;
    token(&world, &lived.billing, first).await.is_invalid_client();
    world.app.close().await;
    mend_ends(&world).await;
    world.restart().await;
    lived.owner(&world).post(&rotate, lived.billing.rotation(0)).await.created();
    spoil_ends(&world).await;
    world.app.close().await;
    let beside = world.open_beside().await.unwrap();
    let unknown = beside.create_data_keys(&world.master_key_file().into()).await.unwrap_err();
    beside.close().await;
    assert_eq!(unknown.problem.code, Code::OutcomeUnknown);
    assert!(!unknown.problem.detail.contains("Nothing was changed"), "{unknown}");
    mend_ends(&world).await;
    world.restart().await;
    assert_eq!(world.app.quarantine(), None);
}

/// What a snapshot that is put back leaves under a server that goes on, on the same database server.
async fn a_database_that_goes_back_under_a_server_revives_nothing(world: World) {
    let (_directory, path) = journal();
    let world = restarted(world, &path).await;
    let lived = Lived::before(&world).await;
    let own = lived.billing.registration("production");
    token(&world, &lived.billing, &own.secret).await.is_token();
    world.raw("CREATE TABLE before AS SELECT change_seq, end_seq, end_hash FROM head").await;
    let body = json!({"enabled": false, "confirm_client_name": lived.billing.name});
    lived.owner(&world).patch(&lived.billing.path("production", ""), body).await.ok();
    world
        .raw("UPDATE registrations SET disabled_at = NULL; DELETE FROM ends WHERE seq > (SELECT end_seq FROM before); DELETE FROM change_log WHERE seq > (SELECT change_seq FROM before); UPDATE head SET change_seq = (SELECT change_seq FROM before), end_seq = (SELECT end_seq FROM before), end_hash = (SELECT end_hash FROM before); DROP TABLE before")
        .await;
    assert_eq!(text_of(&world, "/readyz").await.0, 200);
    assert_eq!(world.app.quarantine(), None, "the journal has all that is missing");
    token(&world, &lived.billing, &own.secret).await.is_invalid_client();
    let events = lived.owner(&world).get("/audit-events?action=journal.applied").await.ok();
    assert_eq!(events["items"].as_array().unwrap().len(), 1, "{events}");
}

async fn what_waits_in_an_older_copy_is_not_sent_again(world: World) {
    let (_directory, path) = journal();
    let world = restarted(world, &path).await;
    let lived = Lived::before(&world).await;
    let owner = lived.owner(&world);
    let hook = json!({"name": "Hook", "url": "https://hooks.example.com/a", "confirm_name": "platform", "events": ["secret.rotated"]});
    owner.post("/webhooks", hook).await.created();
    let rotate = lived.billing.path("production", "/secrets/rotate");
    let mut again = lived.billing.rotation(24);
    again["end_running_transition"] = true.into();
    owner.post(&rotate, again.clone()).await.created();
    let waiting = "SELECT COUNT(*) FROM deliveries WHERE sent_at IS NULL AND abandoned_at IS NULL";
    assert_eq!(world.number(waiting).await, 1);
    // The original sends it and goes on. Then the copy is put back, with the message still waiting.
    world.raw("CREATE TABLE before AS SELECT change_seq, end_seq, end_hash FROM head").await;
    let body = json!({"enabled": false, "confirm_client_name": lived.billing.name});
    owner.patch(&lived.billing.path("production", ""), body).await.ok();
    world
        .raw("UPDATE registrations SET disabled_at = NULL; DELETE FROM ends WHERE seq > (SELECT end_seq FROM before); DELETE FROM change_log WHERE seq > (SELECT change_seq FROM before); UPDATE head SET change_seq = (SELECT change_seq FROM before), end_seq = (SELECT end_seq FROM before), end_hash = (SELECT end_hash FROM before); DROP TABLE before")
        .await;
    assert_eq!(text_of(&world, "/readyz").await.0, 200);
    assert_eq!((world.app.quarantine(), world.number(waiting).await), (None, 0));
    let restored = "SELECT COUNT(*) FROM deliveries WHERE abandoned_as = 'restored'";
    assert_eq!(world.number(restored).await, 1);
    let events = owner.get("/audit-events?action=journal.applied").await.ok();
    assert_eq!(events["items"][0]["details"]["abandoned"], 1, "{events}");
    // What happens from now on is sent.
    let enabled = json!({"enabled": true, "confirm_client_name": lived.billing.name});
    owner.patch(&lived.billing.path("production", ""), enabled).await.ok();
    owner.post(&rotate, again).await.created();
    assert_eq!(world.number(waiting).await, 1);
}

async fn a_copy_from_before_the_journal_needs_a_release(world: World) {
    let (directory, path) = journal();
    let mut world = world;
    world.app.close().await;
    let kept = directory.path().join("kept.db");
    copy(&file_of(&world), &kept);
    world.journal = Some(path);
    world.restart().await;
    world.app.close().await;
    put_back(&kept, &mut world);
    world.restart().await;
    assert_eq!(world.app.quarantine().map(|(cause, _)| cause), Some(Cause::AnotherJournal));
}

async fn a_copy_from_between_a_release_and_the_journal_needs_a_release(world: World) {
    let (directory, path) = journal();
    let mut world = restarted(world, &path).await;
    let lived = Lived::before(&world).await;
    world.journal = None;
    world.restart().await;
    world.app.close().await;
    let beside = world.open_beside().await.unwrap();
    beside.release_quarantine_here(&release()).await.unwrap();
    beside.close().await;
    let kept = directory.path().join("kept.db");
    copy(&file_of(&world), &kept);
    world.journal = Some(path);
    for _ in 0..2 {
        // As long as nothing has ended since, nothing is missing.
        put_back(&kept, &mut world);
        world.restart().await;
        assert_eq!(world.app.quarantine(), None);
        world.app.close().await;
    }
    world.restart().await;
    lived.end(&world).await;
    world.app.close().await;
    put_back(&kept, &mut world);
    world.restart().await;
    assert_eq!(world.app.quarantine().map(|(cause, _)| cause), Some(Cause::AnotherJournal));
}
