//! A database that was restored or replaced: nothing that had ended works again.

use crate::engines::{on_both_engines, on_postgres, on_sqlite};
use crate::{
    database::Place,
    world::{Answer, Client, Principal, World},
};
use axum::body::Body;
use crossfade_app::{Readiness, Restore, back_up};
use crossfade_authority::Clock;
use crossfade_core::{api::ReleaseQuarantine, ended::Cause};
use crossfade_store::Location;
use http::Request;
use serde_json::{Value as Json, json};
use std::{
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    time::Duration,
};
use tempfile::TempDir;

mod factors;
mod forks;
mod incidents;
mod journal;
mod owners;
mod providers;
mod seals;

on_both_engines! {
    a_restored_database_decides_nothing_until_it_is_released,
    what_is_not_released_stays_refused,
    with_the_journal_a_restore_revives_nothing,
    a_server_without_its_journal_decides_nothing,
    a_changed_journal_needs_a_release,
    a_journal_that_cannot_be_written_refuses_ends_and_never_tokens,
    an_end_that_was_not_noted_is_noted_at_the_next_start,
    the_journal_contains_no_secret,
}

on_sqlite! {
    an_older_copy_of_the_file_revives_nothing,
    a_copy_from_before_a_gap_needs_a_release,
    a_backup_with_another_code_is_refused,
}

on_postgres! {
    a_database_on_another_server_needs_a_release,
}

const HOUR: Duration = Duration::from_secs(3600);

/// A backup, and directories of its own.
struct Saved {
    directory: TempDir,
}

impl Saved {
    async fn of(world: &World) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = std::fs::File::create(directory.path().join("it.backup")).unwrap();
        let clock = Clock::manual(world.now());
        back_up(world.location(), world.master_key_file(), &clock, file).await.unwrap();
        Self { directory }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("it.backup")
    }

    /// Restores it into a new database, and serves that.
    async fn restored(&self, before: &World, journal: Option<PathBuf>) -> World {
        let place = Place::file();
        let checked = Restore::check(&self.path(), before.master_key_file()).unwrap();
        checked.run(&place.location, &Clock::manual(before.now())).await.unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::copy(before.master_key_file(), directory.path().join("master.key")).unwrap();
        World::with_journal(place, directory, Clock::manual(before.now()), journal).await
    }
}

async fn text_of(world: &World, path: &str) -> (u16, String) {
    let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let answer = world.send(Request::get(path).body(Body::empty()).unwrap(), here).await;
    (answer.status.as_u16(), String::from_utf8(answer.bytes).unwrap())
}

fn release() -> ReleaseQuarantine {
    ReleaseQuarantine { reason: Some("checked".into()), except: Vec::new() }
}

/// A place for a journal that goes on over restarts.
fn journal() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ends.journal");
    (directory, path)
}

/// The server, started again with this journal.
async fn restarted(mut world: World, path: &Path) -> World {
    world.journal = Some(path.to_owned());
    world.restart().await;
    world
}

async fn token(world: &World, client: &Client, secret: &str) -> Answer {
    world.oauth("production").token(&client.registration("production").client_id, secret).await
}

/// Things of each kind, before any of them ends.
struct Lived {
    billing: Client,
    gone: Client,
    closed: Client,
    owner: Option<String>,
    ended: Option<String>,
    viewer: Option<String>,
    access_token: String,
}

impl Lived {
    async fn before(world: &World) -> Self {
        let billing = world.client("Billing", &["production"]).await;
        let (gone, closed) =
            (world.client("Gone", &["production"]).await, world.client("Closed", &["production"]).await);
        let access_token =
            token(world, &billing, &billing.registration("production").secret).await.is_token();
        Self {
            owner: world.owner().await.token,
            ended: world.owner().await.token,
            viewer: world.user("viewer@example.com", "viewer").await.token,
            billing,
            gone,
            closed,
            access_token,
        }
    }

    fn owner<'w>(&self, world: &'w World) -> Principal<'w> {
        Principal { world, token: self.owner.clone() }
    }

    /// Ends something of each kind. Returns the new secret and the retiring one.
    async fn end(&self, world: &World) -> (String, String) {
        let owner = self.owner(world);
        let first = self.billing.registration("production");
        world
            .oauth("production")
            .basic("revoke", &first.client_id, &first.secret, &[("token", &self.access_token)])
            .await
            .expect(200);
        let rotate = self.billing.path("production", "/secrets/rotate");
        let second = owner.post(&rotate, self.billing.rotation(0)).await.created();
        let third = owner.post(&rotate, self.billing.rotation(1)).await.created();
        let second_id = second["secret"]["id"].as_str().unwrap();
        let extend = self.billing.path("production", &format!("/secrets/{second_id}/extend"));
        let expires_at = world.now().after(HOUR * 10).to_string();
        owner.post(&extend, json!({"expires_at": expires_at, "reason": "late"})).await.ok();
        let delete = json!({"confirm_client_name": "Gone", "reason": "unused"});
        owner.delete(&format!("/clients/{}", self.gone.id), delete).await.expect(200);
        let disable = json!({"enabled": false, "confirm_client_name": "Closed"});
        owner.patch(&self.closed.path("production", ""), disable).await.ok();
        let ended = Principal { world, token: self.ended.clone() };
        let id = ended.get("/me").await.ok()["token_id"].as_str().unwrap().to_owned();
        owner.call(http::Method::DELETE, &format!("/tokens/{id}"), None, &[]).await.expect(204);
        let users = owner.get("/users").await.ok();
        let viewer = users["items"].as_array().unwrap().iter().find(|user| user["name"] == "viewer").unwrap();
        let path = format!("/users/{}", viewer["id"].as_str().unwrap());
        owner.call(http::Method::DELETE, &path, None, &[]).await.expect(204);
        let value = |reply: &Json| reply["secret"]["value"].as_str().unwrap().to_owned();
        (value(&third), value(&second))
    }

    /// Checks that everything that had ended has ended, and everything else works.
    async fn holds(&self, world: &World, (current, retiring): &(String, String)) {
        assert_eq!(world.app.readiness().await, Readiness::Ready);
        let first = &self.billing.registration("production").secret;
        token(world, &self.billing, first).await.is_invalid_client();
        token(world, &self.billing, current).await.is_token();
        token(world, &self.billing, retiring).await.is_token();
        for client in [&self.gone, &self.closed] {
            token(world, client, &client.registration("production").secret).await.is_invalid_client();
        }
        let own = self.billing.registration("production");
        let told = world.oauth("production").introspect(&own.client_id, current, &self.access_token).await;
        assert_eq!(told["active"], false);
        for ended in [&self.ended, &self.viewer] {
            let principal = Principal { world, token: ended.clone() };
            principal.get("/me").await.refused(401, "unauthenticated");
        }
        let owner = self.owner(world);
        let secrets = owner.get(&self.billing.path("production", "/secrets")).await.ok();
        let states: Vec<_> =
            secrets["items"].as_array().unwrap().iter().map(|it| it["state"].as_str().unwrap()).collect();
        assert_eq!(states[..3], ["current", "retiring", "revoked"], "{secrets}");
        let rotations = owner.get(&self.billing.path("production", "/rotations")).await.ok();
        assert_eq!(rotations["items"].as_array().unwrap().len(), 2, "{rotations}");
        // The extended deadline counts, not the one before.
        world.advance(HOUR * 5);
        token(world, &self.billing, retiring).await.is_token();
        world.advance(HOUR * 6);
        token(world, &self.billing, retiring).await.is_invalid_client();
    }
}

async fn a_restored_database_decides_nothing_until_it_is_released(world: World) {
    let lived = Lived::before(&world).await;
    let saved = Saved::of(&world).await;
    let mut after = saved.restored(&world, None).await;
    for _ in 0..2 {
        let own = lived.billing.registration("production");
        assert_eq!(token(&after, &lived.billing, &own.secret).await.status, 503);
        let (oauth, form) = (after.oauth("production"), [("token", lived.access_token.as_str())]);
        assert_eq!(oauth.basic("introspect", &own.client_id, &own.secret, &form).await.status, 503);
        let owner = lived.owner(&after);
        owner.get("/clients").await.ok();
        let rotate = lived.billing.path("production", "/secrets/rotate");
        let refused = owner.post(&rotate, lived.billing.rotation(0)).await.refused(503, "quarantined");
        assert!(refused["detail"].as_str().unwrap().contains("Nothing was changed."), "{refused}");
        let (status, ready) = text_of(&after, "/readyz").await;
        assert!(status == 503 && ready.contains("quarantine"), "{ready}");
        assert!(text_of(&after, "/metrics").await.1.contains("\ncrossfade_quarantined 1\n"));
        assert_eq!(text_of(&after, "/healthz").await.0, 200);
        after.restart().await;
    }
    let owner = lived.owner(&after);
    let found = owner.get("/quarantine").await.ok();
    assert_eq!((found["cause"].as_str(), found["is_complete"].as_bool()), (Some("restored"), Some(true)));
    assert_eq!(found["secrets"].as_array().unwrap().len(), 3);
    let viewer = Principal { world: &after, token: lived.viewer.clone() };
    viewer.get("/quarantine").await.refused(403, "forbidden");
    viewer.post("/quarantine/release", json!({"reason": "mine"})).await.refused(403, "forbidden");
    owner.post("/quarantine/release", json!({})).await.refused(422, "invalid_body");
    owner.post("/quarantine/release", json!({"reason": "checked"})).await.ok();
    owner.post("/quarantine/release", json!({"reason": "again"})).await.refused(409, "not_quarantined");
    assert_eq!(owner.get("/quarantine").await.ok()["cause"], Json::Null);
    let own = lived.billing.registration("production");
    token(&after, &lived.billing, &own.secret).await.is_token();
    // Its revocation may be among what was lost.
    let oauth = after.oauth("production");
    assert_eq!(oauth.introspect(&own.client_id, &own.secret, &lived.access_token).await["active"], false);
    let event = &owner.get("/audit-events?action=quarantine.released").await.ok()["items"][0];
    assert_eq!((&event["details"]["current_secrets"], &event["reason"]), (&json!(3), &json!("checked")));
    after.restart().await;
    token(&after, &lived.billing, &own.secret).await.is_token();
}

async fn what_is_not_released_stays_refused(world: World) {
    let lived = Lived::before(&world).await;
    let saved = Saved::of(&world).await;
    let after = saved.restored(&world, None).await;
    let owner = lived.owner(&after);
    let found = owner.get("/quarantine").await.ok();
    let viewer = Principal { world: &after, token: lived.viewer.clone() };
    let id_of = |list: &str, name: &str| {
        let items = found[list].as_array().unwrap();
        items.iter().find(|it| it["user"] == name).unwrap()["id"].as_str().unwrap().to_owned()
    };
    let viewer_token = id_of("tokens", "viewer");
    let unknown = json!({"reason": "x", "except": ["tok_0000000000000000000000"]});
    owner.post("/quarantine/release", unknown).await.refused(422, "invalid_body");
    let nobody = json!({"reason": "x", "except": [id_of("grants", "owner")]});
    owner.post("/quarantine/release", nobody).await.refused(409, "last_owner");
    let except =
        json!({"reason": "checked", "except": [lived.billing.id, viewer_token, id_of("grants", "viewer")]});
    owner.post("/quarantine/release", except).await.ok();
    token(&after, &lived.billing, &lived.billing.registration("production").secret).await.is_invalid_client();
    token(&after, &lived.gone, &lived.gone.registration("production").secret).await.is_token();
    // It gets a new secret while it is disabled, so the old one works at no time.
    let mut leaked = lived.billing.rotation(0);
    leaked["compromised"] = true.into();
    let rotated = owner.post(&lived.billing.path("production", "/secrets/rotate"), leaked).await.created();
    owner.patch(&lived.billing.path("production", ""), json!({"enabled": true})).await.ok();
    token(&after, &lived.billing, &lived.billing.registration("production").secret).await.is_invalid_client();
    token(&after, &lived.billing, rotated["secret"]["value"].as_str().unwrap()).await.is_token();
    viewer.get("/me").await.refused(401, "unauthenticated");
}

async fn with_the_journal_a_restore_revives_nothing(world: World) {
    let (_directory, path) = journal();
    let world = restarted(world, &path).await;
    let lived = Lived::before(&world).await;
    let saved = Saved::of(&world).await;
    let secrets = lived.end(&world).await;
    let mut after = saved.restored(&world, None).await;
    assert_eq!(after.app.quarantine().map(|(cause, _)| cause), Some(Cause::Restored), "without the journal");
    world.app.close().await;
    world.ends_unable_to_run_jobs();
    after.journal = Some(path);
    after.restart().await;
    let event = &lived.owner(&after).get("/audit-events?action=journal.applied").await.ok()["items"][0];
    assert_eq!(event["details"]["missing"], 0, "{event}");
    lived.holds(&after, &secrets).await;
    // It goes on with the same journal.
    let rotate = lived.billing.path("production", "/secrets/rotate");
    lived.owner(&after).post(&rotate, lived.billing.rotation(0)).await.created();
    after.restart().await;
    assert_eq!(after.app.quarantine(), None);
}

fn copy(from: &Path, to: &Path) {
    for beside in ["db", "db-wal", "db-shm"] {
        let (from, to) = (from.with_extension(beside), to.with_extension(beside));
        match from.exists() {
            true => drop(std::fs::copy(from, to).unwrap()),
            false => drop(std::fs::remove_file(to)),
        }
    }
}

/// Puts a copy in the place of the database of a closed instance. It is a new file, because a connection of that instance
/// may still be about to close, and would remove what the next one has written.
fn put_back(kept: &Path, world: &mut World) {
    let beside = file_of(world);
    let file = tempfile::Builder::new().suffix(".db").tempfile_in(beside.parent().unwrap()).unwrap();
    let (_, path) = file.keep().unwrap();
    copy(kept, &path);
    world.move_to(path);
}

fn file_of(world: &World) -> PathBuf {
    let Location::File(path) = world.location() else { panic!("not a file") };
    path.clone()
}

async fn an_older_copy_of_the_file_revives_nothing(world: World) {
    let (directory, path) = journal();
    let mut world = restarted(world, &path).await;
    let lived = Lived::before(&world).await;
    world.app.close().await;
    let kept = directory.path().join("kept.db");
    copy(&file_of(&world), &kept);
    world.restart().await;
    let secrets = lived.end(&world).await;
    world.app.close().await;
    put_back(&kept, &mut world);
    world.restart().await;
    lived.holds(&world, &secrets).await;
}

async fn a_copy_from_before_a_gap_needs_a_release(world: World) {
    let (directory, path) = journal();
    let mut world = restarted(world, &path).await;
    let lived = Lived::before(&world).await;
    world.app.close().await;
    let kept = directory.path().join("kept.db");
    copy(&file_of(&world), &kept);
    // Without its journal for a while.
    world.journal = None;
    world.restart().await;
    world.app.release_quarantine_here(&release()).await.unwrap();
    let secrets = lived.end(&world).await;
    world.journal = Some(path);
    world.restart().await;
    assert_eq!(world.app.quarantine().map(|(cause, _)| cause), Some(Cause::AnotherJournal));
    world.app.release_quarantine_here(&release()).await.unwrap();
    token(&world, &lived.billing, &secrets.0).await.is_token();
    let rotate = lived.billing.path("production", "/secrets/rotate");
    let mut body = lived.billing.rotation(0);
    body["end_running_transition"] = true.into();
    lived.owner(&world).post(&rotate, body).await.created();
    world.app.close().await;
    put_back(&kept, &mut world);
    world.restart().await;
    assert_eq!(world.app.quarantine().map(|(cause, _)| cause), Some(Cause::JournalIncomplete));
    world.restart().await;
    assert_eq!(world.app.quarantine().map(|(cause, _)| cause), Some(Cause::JournalIncomplete));
    world.app.release_quarantine_here(&release()).await.unwrap();
    world.restart().await;
    assert_eq!(world.app.quarantine(), None);
}

async fn a_server_without_its_journal_decides_nothing(world: World) {
    let (_directory, path) = journal();
    let mut world = restarted(world, &path).await;
    let client = world.client("Billing", &["production"]).await;
    let secret = client.registration("production").secret.clone();
    token(&world, &client, &secret).await.is_token();
    world.journal = None;
    world.restart().await;
    assert_eq!(token(&world, &client, &secret).await.status, 503);
    assert_eq!(world.app.quarantine().map(|(cause, _)| cause), Some(Cause::JournalMissing));
    // With the journal it goes on by itself.
    world.journal = Some(path.clone());
    world.restart().await;
    token(&world, &client, &secret).await.is_token();
    // Without it, after a release.
    world.journal = None;
    world.restart().await;
    world.app.release_quarantine_here(&release()).await.unwrap();
    token(&world, &client, &secret).await.is_token();
    world.restart().await;
    token(&world, &client, &secret).await.is_token();
}

async fn a_changed_journal_needs_a_release(world: World) {
    let (directory, path) = journal();
    let mut world = restarted(world, &path).await;
    let client = world.client("Billing", &["production"]).await;
    world.client("Shipping", &["production"]).await;
    world.client("Warehouse", &["production"]).await;
    world.app.close().await;
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let without = [&lines[..1], &lines[2..]].concat().join("\n") + "\n";
    std::fs::write(&path, without).unwrap();
    world.restart().await;
    assert_eq!(world.app.quarantine().map(|(cause, _)| cause), Some(Cause::JournalDamaged));
    world.app.release_quarantine_here(&release()).await.unwrap();
    world.restart().await;
    token(&world, &client, &client.registration("production").secret).await.is_token();
    let kept = std::fs::read_dir(directory.path()).unwrap();
    let kept = kept.filter(|it| it.as_ref().unwrap().file_name().to_string_lossy().contains("damaged"));
    assert_eq!(kept.count(), 1);
    // A stranger's journal is refused, and left as it is.
    world.app.close().await;
    std::fs::write(&path, "somebody else's notes\n").unwrap();
    let refused = world.try_restart().await.err().unwrap().to_string();
    assert!(refused.contains("not a journal of this instance"), "{refused}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "somebody else's notes\n");
    world.ends_unable_to_run_jobs();
}

async fn a_journal_that_cannot_be_written_refuses_ends_and_never_tokens(world: World) {
    let (directory, path) = journal();
    let world = restarted(world, &path).await;
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let rotate = client.path("production", "/secrets/rotate");
    let aside = directory.path().join("aside");
    std::fs::rename(&path, &aside).unwrap();
    // The first one is stored, and not noted: nobody is told that it was made.
    owner.post(&rotate, client.rotation(0)).await.refused(503, "outcome_unknown");
    let refused = owner.post(&rotate, client.rotation(0)).await.refused(503, "unavailable");
    assert!(refused["detail"].as_str().unwrap().contains("The journal cannot be written"), "{refused}");
    owner.post("/properties", json!({"name": "Shop"})).await.created();
    assert!(text_of(&world, "/metrics").await.1.contains("\ncrossfade_journal_failing 1\n"));
    let (status, ready) = text_of(&world, "/readyz").await;
    assert!(status == 200 && ready.contains("the journal cannot be written"), "{ready}");
    let secrets = owner.get(&client.path("production", "/secrets")).await.ok();
    let id = secrets["items"][0]["id"].as_str().unwrap();
    let reveal =
        owner.post(&client.path("production", &format!("/secrets/{id}/reveal")), json!({})).await.ok();
    let secret = reveal["value"].as_str().unwrap();
    token(&world, &client, secret).await.is_token();
    std::fs::rename(&aside, &path).unwrap();
    world.app.tend_journal().await;
    owner.post(&rotate, client.rotation(0)).await.created();
    assert!(text_of(&world, "/metrics").await.1.contains("\ncrossfade_journal_failing 0\n"));
}

async fn an_end_that_was_not_noted_is_noted_at_the_next_start(world: World) {
    let (directory, path) = journal();
    let mut world = restarted(world, &path).await;
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let aside = directory.path().join("aside");
    std::fs::rename(&path, &aside).unwrap();
    let rotate = client.path("production", "/secrets/rotate");
    owner.post(&rotate, client.rotation(0)).await.refused(503, "outcome_unknown");
    std::fs::rename(&aside, &path).unwrap();
    let lines = || std::fs::read_to_string(&path).unwrap().lines().count();
    let before = lines();
    world.restart().await;
    assert_eq!((lines(), world.app.quarantine()), (before + 1, None));
}

async fn the_journal_contains_no_secret(world: World) {
    let (_directory, path) = journal();
    let world = restarted(world, &path).await;
    let lived = Lived::before(&world).await;
    let (current, retiring) = lived.end(&world).await;
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.lines().count() > 8, "{text}");
    let first = lived.billing.registration("production").secret.clone();
    for secret in [&current, &retiring, &first, &lived.owner.clone().unwrap(), &lived.access_token] {
        assert!(!text.contains(secret.as_str()));
    }
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

async fn a_backup_with_another_code_is_refused(world: World) {
    Lived::before(&world).await;
    let saved = Saved::of(&world).await;
    // Somebody without the master key makes a client of their own, and corrects the hash.
    let text = std::fs::read_to_string(saved.path()).unwrap();
    let changed = text.replacen("Billing", "Bylling", 1);
    assert_ne!(text, changed);
    let (body, trailer) = changed.trim_end().rsplit_once('\n').unwrap();
    let body = format!("{body}\n");
    let mut trailer: Json = serde_json::from_str(trailer).unwrap();
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, body.as_bytes());
    let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    trailer["sha256"] = hash.into();
    std::fs::write(saved.path(), format!("{body}{trailer}\n")).unwrap();
    let refused = Restore::check(&saved.path(), world.master_key_file()).err().unwrap().to_string();
    assert!(
        refused.contains("was modified after it was written, or was not written with the key"),
        "{refused}"
    );
}

async fn a_database_on_another_server_needs_a_release(world: World) {
    let mut world = world;
    let client = world.client("Billing", &["production"]).await;
    let secret = client.registration("production").secret.clone();
    world.restart().await;
    token(&world, &client, &secret).await.is_token();
    world.app.close().await;
    world.raw("UPDATE history SET system_id = system_id + 1").await;
    world.restart().await;
    assert_eq!(world.app.quarantine().map(|(cause, _)| cause), Some(Cause::AnotherServer));
    assert_eq!(token(&world, &client, &secret).await.status, 503);
    world.app.release_quarantine_here(&release()).await.unwrap();
    token(&world, &client, &secret).await.is_token();
    world.restart().await;
    token(&world, &client, &secret).await.is_token();
}
