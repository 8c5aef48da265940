//! Backups: of one moment while everything goes on, between the engines, and refused when anything is wrong.

use crate::engines::{on_both_engines, on_postgres, on_sqlite};
use crate::{
    database::Place,
    start::{Data, Running, is_serving, refuses},
    world::{Client, Principal, World},
};
use crossfade_app::{Backup, Restore, Restored, back_up};
use crossfade_authority::Clock;
use crossfade_core::{Timestamp, api::ReleaseQuarantine};
use crossfade_store::{Db, Integrity, Location, StoreError, Value, backup::TABLES};
use http::Method;
use serde_json::{Value as Json, json};
use std::{
    collections::BTreeMap,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;
use tokio::task::JoinSet;

on_both_engines! {
    in parallel:
    a_backup_is_of_one_moment_while_somebody_rotates,
}

on_postgres! {
    postgres_to_sqlite_and_back,
    postgres_to_postgres,
}

on_both_engines! {
    a_restore_is_written_down_and_tells_what_is_valid,
    time_does_not_run_backwards_over_a_restore_rule_2,
    a_backup_holds_no_key_and_no_value,
    a_backup_changes_nothing_and_does_not_migrate,
    a_restore_into_a_database_with_data_is_refused,
    rows_that_contradict_each_other_leave_nothing_behind,
}

on_sqlite! {
    what_is_no_whole_backup_of_this_version_is_refused,
    a_backup_of_which_one_byte_was_changed_is_refused,
    a_backup_that_changes_while_it_is_restored_is_refused,
    sqlite_to_sqlite,
    sqlite_to_postgres_and_back,
    a_backup_is_nothing_without_its_master_key,
}

const HOUR: Duration = Duration::from_secs(3600);

/// A backup in a file of its own.
struct Saved {
    directory: TempDir,
    backup: Backup,
}

impl Saved {
    async fn of(world: &World) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = std::fs::File::create(directory.path().join("it.backup")).unwrap();
        let backup = back_up(world.location(), world.master_key_file(), &Clock::manual(world.now()), file)
            .await
            .unwrap();
        Self { directory, backup }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("it.backup")
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(self.path()).unwrap()
    }

    async fn restore(&self, key_of: &World, place: &Place) -> Restored {
        let clock = Clock::manual(key_of.now());
        Restore::check(&self.path(), key_of.master_key_file())
            .unwrap()
            .run(&place.location, &clock)
            .await
            .unwrap()
    }

    /// What this says when it is looked at instead of the backup.
    fn refusal(&self, world: &World, bytes: &[u8]) -> String {
        let path = self.directory.path().join("other.backup");
        std::fs::write(&path, bytes).unwrap();
        let refused = Restore::check(&path, world.master_key_file()).err();
        refused.unwrap_or_else(|| panic!("this was taken for a backup")).to_string()
    }
}

/// A restored database, served with the same master key from this time on.
async fn served(key_of: &World, place: Place, now: Timestamp) -> World {
    let directory = tempfile::tempdir().unwrap();
    std::fs::copy(key_of.master_key_file(), directory.path().join("master.key")).unwrap();
    let world = World::at(place, directory, Clock::manual(now)).await;
    let body = ReleaseQuarantine { reason: Some("restored".into()), except: Vec::new() };
    world.app.release_quarantine_here(&body).await.unwrap();
    world
}

/// Every row of every table, sorted: what two databases with the same contents have in common.
async fn contents(location: &Location) -> BTreeMap<&'static str, Vec<String>> {
    let db = Db::open_read_only(location).await.unwrap();
    let read = db.read_all::<_, StoreError>(async |tx| {
        let mut tables = BTreeMap::new();
        for table in TABLES {
            let mut rows = Vec::new();
            let read = |row: Vec<Value>| {
                rows.push(format!("{row:?}"));
                Ok::<_, StoreError>(())
            };
            tx.each_row(table, read).await?;
            rows.sort();
            tables.insert(table.name, rows);
        }
        Ok(tables)
    });
    let tables = read.await.unwrap();
    db.close().await;
    tables
}

/// A client with one secret of each kind, evidence, refusals, a remembered answer, and a pending link.
struct Lived {
    client: Client,
    token: Option<String>,
    revoked: String,
    retiring: String,
    current: String,
}

const REMEMBERED: [(&str, &str); 1] = [("Idempotency-Key", "once")];

async fn live(world: &World) -> Lived {
    let client = world.client("Rechnungen für Ö", &["staging", "production"]).await;
    let owner = world.owner().await;
    let first = client.registration("production").clone();
    let oauth = world.oauth("production");
    oauth.token(&first.client_id, &first.secret).await.is_token();
    oauth.token(&first.client_id, "wrong").await.is_invalid_client();
    let rotate = client.path("production", "/secrets/rotate");
    let second = owner.post(&rotate, client.rotation(24)).await.created()["secret"].clone();
    let revoke = client.path("production", &format!("/secrets/{}/revoke", first.secret_id));
    owner.post(&revoke, json!({"reason": "everybody has moved"})).await.ok();
    world.advance(HOUR);
    let answer = owner.call(Method::POST, &rotate, Some(client.rotation(48).to_string()), &REMEMBERED).await;
    let third = answer.created()["secret"].clone();
    world.app.create_set_up_link().await.unwrap();
    world.run_jobs().await;
    let value = |secret: &Json| secret["value"].as_str().unwrap().to_owned();
    Lived {
        client,
        token: owner.token,
        revoked: first.secret,
        retiring: value(&second),
        current: value(&third),
    }
}

async fn behaves_as_before(lived: &Lived, before: &World, after: &World) {
    let owner = |world| Principal { world, token: lived.token.clone() };
    let (was, is) = (owner(before), owner(after));
    let path = |rest: &str| lived.client.path("production", rest);
    for rest in ["/secrets", "/rotations", "/usage"] {
        assert_eq!(is.get(&path(rest)).await.ok(), was.get(&path(rest)).await.ok(), "{rest}");
    }
    let client_id = &lived.client.registration("production").client_id;
    let oauth = after.oauth("production");
    for secret in [&lived.current, &lived.retiring] {
        oauth.token(client_id, secret).await.is_token();
    }
    oauth.token(client_id, &lived.revoked).await.is_invalid_client();
    let secrets = is.get(&path("/secrets")).await.ok();
    let id = secrets["items"][0]["id"].as_str().unwrap();
    let reveal = is.post(&path(&format!("/secrets/{id}/reveal")), json!({})).await.ok();
    assert_eq!(reveal["value"], lived.current.as_str());
    // What was asked with a key before the backup is not done again after it, and its value not told again.
    let body = lived.client.rotation(48).to_string();
    let again = is.call(Method::POST, &path("/secrets/rotate"), Some(body), &REMEMBERED).await.created();
    assert_eq!(again["secret_already_delivered"], true);
    assert_eq!(again["secret"]["value"], Json::Null);
    assert_eq!(after.number("SELECT COUNT(*) FROM rotations").await, 2);
    assert_eq!(before.number("SELECT COUNT(*) FROM links").await, 1);
    assert_eq!(
        after.number("SELECT COUNT(*) FROM links").await,
        0,
        "a link that was used is not brought back"
    );
}

/// Everything that both have in common: all but the trace of the restore itself.
async fn same_contents(before: &Location, after: &Location) {
    let (before, mut after) = (contents(before).await, contents(after).await);
    let events = after.get_mut("audit_events").unwrap();
    let (old, new): (Vec<_>, Vec<_>) =
        events.drain(..).partition(|event| before["audit_events"].contains(event));
    assert!(new.len() == 1 && new[0].contains("database.restored"), "{new:?}");
    *events = old;
    let statements = after.get_mut("audit_statements").unwrap();
    let (old, new): (Vec<_>, Vec<_>) =
        statements.drain(..).partition(|statement| before["audit_statements"].contains(statement));
    assert!(new.len() == 1 && new[0].contains("backup_created_at"), "where the history forks: {new:?}");
    *statements = old;
    for table in TABLES.iter().filter(|table| table.name != "head") {
        assert_eq!(before[table.name], after[table.name], "{}", table.name);
    }
}

/// From one engine to another, and back again to the first.
async fn moves_and_comes_back(world: World, there: Place, back: Place) {
    let lived = live(&world).await;
    let saved = Saved::of(&world).await;
    saved.restore(&world, &there).await;
    same_contents(world.location(), &there.location).await;

    let once = saved.directory.path().join("again.backup");
    back_up(
        &there.location,
        world.master_key_file(),
        &Clock::manual(world.now()),
        std::fs::File::create(&once).unwrap(),
    )
    .await
    .unwrap();
    let clock = Clock::manual(world.now());
    Restore::check(&once, world.master_key_file()).unwrap().run(&back.location, &clock).await.unwrap();
    same_contents(&there.location, &back.location).await;

    for place in [there, back] {
        let restored = served(&world, place, world.now()).await;
        behaves_as_before(&lived, &world, &restored).await;
    }
}

async fn sqlite_to_sqlite(world: World) {
    moves_and_comes_back(world, Place::file(), Place::file()).await;
}

async fn sqlite_to_postgres_and_back(world: World) {
    let Some(there) = Place::database().await else { return };
    moves_and_comes_back(world, there, Place::file()).await;
}

async fn postgres_to_sqlite_and_back(world: World) {
    let Some(back) = Place::database().await else { return };
    moves_and_comes_back(world, Place::file(), back).await;
}

async fn postgres_to_postgres(world: World) {
    let (Some(there), Some(back)) = (Place::database().await, Place::database().await) else { return };
    moves_and_comes_back(world, there, back).await;
}

/// A file that goes on being written only after somebody has rotated meanwhile.
struct Slow {
    file: std::fs::File,
    rotated: Arc<AtomicUsize>,
    lines: usize,
}

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.lines += 1;
        // After the header, and among the rows: each time two rotations happen before it goes on.
        if self.lines == 2 || self.lines == 60 {
            let until = self.rotated.load(Ordering::SeqCst) + 2;
            for turn in 0.. {
                if self.rotated.load(Ordering::SeqCst) >= until {
                    break;
                }
                assert!(turn < 100_000_000, "nobody rotates any more");
                std::thread::yield_now();
            }
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

async fn a_backup_is_of_one_moment_while_somebody_rotates(world: World) {
    let world = Arc::new(world);
    let client = world.client("Billing", &["production"]).await;
    let (rotated, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let mut writer = JoinSet::new();
    writer.spawn({
        let (world, rotated, stop) = (world.clone(), rotated.clone(), stop.clone());
        async move {
            let owner = world.owner().await;
            let mut body = client.rotation(24);
            body["end_running_transition"] = true.into();
            while !stop.load(Ordering::SeqCst) {
                owner.post(&client.path("production", "/secrets/rotate"), body.clone()).await.created();
                rotated.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    let directory = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let path = directory.path().join(format!("{round}.backup"));
        let file = std::fs::File::create(&path).unwrap();
        let out = Slow { file, rotated: rotated.clone(), lines: 0 };
        let answered = rotated.load(Ordering::SeqCst);
        let backup = back_up(world.location(), world.master_key_file(), &Clock::manual(world.now()), out)
            .await
            .unwrap();
        let (rotations, now) = (backup.rows["rotations"], rotated.load(Ordering::SeqCst) as u64);
        assert!(rotations >= answered as u64, "whatever was answered before is in it");
        // Of the two that it waits for, one may have been stored before it began, and counted after.
        assert!(rotations < now, "{rotations} of {now}: it was taken while somebody rotated");

        let place = Place::file();
        let clock = Clock::manual(world.now());
        let restored = Restore::check(&path, world.master_key_file()).unwrap();
        restored.run(&place.location, &clock).await.unwrap();
        let db = Db::open_read_only(&place.location).await.unwrap();
        assert_eq!(db.integrity().await.unwrap(), Integrity::default());
        let rotations = rotations as i64;
        for (sql, number) in [
            ("SELECT COUNT(*) FROM secrets", rotations + 1),
            ("SELECT COUNT(*) FROM secrets WHERE expires_at IS NULL AND revoked_at IS NULL", 1),
            (
                "SELECT COUNT(*) FROM rotations r JOIN secrets o ON o.id = r.outgoing_secret_id JOIN secrets i ON i.id = r.incoming_secret_id WHERE i.number = o.number + 1",
                rotations,
            ),
            ("SELECT COUNT(*) FROM audit_events WHERE action = 'secret.rotated'", rotations),
            ("SELECT COUNT(*) - MAX(seq) FROM audit_events", 0),
            ("SELECT audit_seq - (SELECT MAX(seq) FROM audit_events) FROM head", 0),
            ("SELECT change_seq - (SELECT MAX(seq) FROM change_log) FROM head", 0),
        ] {
            assert_eq!(place.number(sql).await, number, "{sql}");
        }
        db.close().await;
    }
    stop.store(true, Ordering::SeqCst);
    writer.join_all().await;
}

async fn a_restore_is_written_down_and_tells_what_is_valid(world: World) {
    let lived = live(&world).await;
    let saved = Saved::of(&world).await;
    assert_eq!(saved.backup.header.created_at, world.now());
    // After the backup the retiring secret ends. The restore makes it valid again, and says so.
    let owner = world.owner().await;
    let rotate = lived.client.path("production", "/secrets/rotate");
    let mut leak = lived.client.rotation(0);
    leak["compromised"] = true.into();
    owner.post(&rotate, leak).await.created();
    world.advance(HOUR);
    let place = Place::file();
    let restored = saved.restore(&world, &place).await;
    assert_eq!((restored.current_secrets, restored.retiring_secrets), (2, 1));
    assert_eq!(restored.restored_at, world.now());
    let after = served(&world, place, world.now()).await;
    let owner = Principal { world: &after, token: lived.token.clone() };
    let events = owner.get("/audit-events?action=database.restored").await.ok();
    let event = &events["items"][0];
    assert_eq!(event["actor"]["id"], "restore");
    assert_eq!(event["details"]["backup_created_at"], saved.backup.header.created_at.to_string());
    assert_eq!(events["items"].as_array().unwrap().len(), 1);
}

async fn time_does_not_run_backwards_over_a_restore_rule_2(world: World) {
    let lived = live(&world).await;
    world.advance(HOUR * 48);
    world.run_jobs().await;
    let saved = Saved::of(&world).await;
    let ended = world.now();
    // A machine whose clock is two days behind.
    let place = Place::file();
    let clock = Clock::manual(ended.before(HOUR * 48));
    let restored = Restore::check(&saved.path(), world.master_key_file())
        .unwrap()
        .run(&place.location, &clock)
        .await
        .unwrap();
    assert!(restored.restored_at >= ended, "{} {ended}", restored.restored_at);
    assert_eq!(restored.retiring_secrets, 0);
    let after = served(&world, place, ended.before(HOUR * 48)).await;
    let client_id = &lived.client.registration("production").client_id;
    after.oauth("production").token(client_id, &lived.retiring).await.is_invalid_client();
    after.oauth("production").token(client_id, &lived.current).await.is_token();
}

async fn a_backup_holds_no_key_and_no_value(world: World) {
    let lived = live(&world).await;
    let saved = Saved::of(&world).await;
    let text = String::from_utf8(saved.bytes()).unwrap();
    let key = std::fs::read_to_string(world.master_key_file()).unwrap();
    let key = key.trim().rsplit(':').next().unwrap().to_owned();
    for secret in [&key, &lived.current, &lived.retiring, &lived.revoked, &lived.token.clone().unwrap()] {
        assert!(!text.contains(secret.as_str()));
    }
    assert_eq!(text.len() as u64, saved.backup.bytes);
    assert_eq!(text.lines().count() as u64, saved.backup.total() + TABLES.len() as u64 + 2);
    assert!(
        saved.backup.header.data_keys.len() == 2
            && text.lines().all(|line| serde_json::from_str::<Json>(line).is_ok())
    );
}

async fn a_backup_changes_nothing_and_does_not_migrate(world: World) {
    live(&world).await;
    let before = contents(world.location()).await;
    Saved::of(&world).await;
    assert_eq!(contents(world.location()).await, before);
    world.app.close().await;
    for (version, says) in [(0, "has schema 0"), (9999, "newer version of Crossfade")] {
        world.raw(&format!("DELETE FROM _sqlx_migrations WHERE version BETWEEN 2 AND 100; UPDATE _sqlx_migrations SET version = {version}")).await;
        let refused =
            back_up(world.location(), world.master_key_file(), &Clock::manual(world.now()), Vec::new())
                .await
                .err()
                .unwrap();
        assert!(refused.to_string().contains(says), "{refused}");
    }
    world.raw("DROP TABLE _sqlx_migrations").await;
    let refused = back_up(world.location(), world.master_key_file(), &Clock::manual(world.now()), Vec::new())
        .await
        .err()
        .unwrap();
    assert!(refused.to_string().contains("no Crossfade data"), "{refused}");
    world.ends_unable_to_run_jobs();
}

async fn a_restore_into_a_database_with_data_is_refused(world: World) {
    live(&world).await;
    let saved = Saved::of(&world).await;
    let checked = Restore::check(&saved.path(), world.master_key_file()).unwrap();
    let clock = Clock::manual(world.now());
    let served = checked.run(world.location(), &clock).await.err().unwrap();
    assert!(served.to_string().contains("nother crossfade serve is already using"), "{served}");
    world.app.close().await;
    let before = contents(world.location()).await;
    // A server notices a closed session a moment later; each attempt is a round trip to it.
    let mut refused = served;
    for _ in 0..10_000 {
        refused = checked.run(world.location(), &clock).await.err().unwrap();
        if !refused.to_string().contains("nother crossfade serve") {
            break;
        }
    }
    assert!(refused.to_string().contains("already contains data. Nothing was changed"), "{refused}");
    assert_eq!(contents(world.location()).await, before);
    world.ends_unable_to_run_jobs();
}

async fn rows_that_contradict_each_other_leave_nothing_behind(world: World) {
    live(&world).await;
    // What a broken disk does: a property is gone, and its clients are there.
    if let Location::Postgres(_) = world.location() {
        world.raw("ALTER TABLE clients DROP CONSTRAINT clients_property_id_fkey").await;
    }
    world.raw("DELETE FROM properties").await;
    let saved = Saved::of(&world).await;
    for place in [Some(Place::file()), Place::database().await].into_iter().flatten() {
        let clock = Clock::manual(world.now());
        let checked = Restore::check(&saved.path(), world.master_key_file()).unwrap();
        let refused = checked.run(&place.location, &clock).await.err().unwrap();
        assert!(refused.to_string().contains("refused a row"), "{refused}");
        let is_never_empty = |table: &str| ["head", "leader", "oldest_program"].contains(&table);
        assert!(
            place.fingerprint().await.iter().all(|(table, rows)| rows.is_empty() != is_never_empty(table))
        );
    }
}

/// A line of a backup, changed.
fn with_header(bytes: &[u8], change: impl FnOnce(&mut Json)) -> Vec<u8> {
    let text = std::str::from_utf8(bytes).unwrap();
    let (header, rest) = text.split_once('\n').unwrap();
    let mut header = serde_json::from_str(header).unwrap();
    change(&mut header);
    format!("{header}\n{rest}").into_bytes()
}

async fn what_is_no_whole_backup_of_this_version_is_refused(world: World) {
    live(&world).await;
    let saved = Saved::of(&world).await;
    let bytes = saved.bytes();

    for other in [
        &b""[..],
        b"\n",
        b"{}\n",
        b"[1]\n",
        b"SQLite format 3\0",
        &[0xff; 100],
        b"{\"format\":\"other\",\"format_version\":1}\n",
    ] {
        let refused = saved.refusal(&world, other);
        assert!(refused.contains("is not a Crossfade backup"), "{refused}");
    }
    for (change, says) in [
        (json!({"format_version": 3}), "in a newer format (3)"),
        (json!({"format_version": 1}), "in an older format (1)"),
        (json!({"schema_version": 9999}), "with a newer schema (9999)"),
        (json!({"schema_version": 0}), "with an older schema (0)"),
    ] {
        let changed = with_header(&bytes, |header| {
            header.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        });
        let refused = saved.refusal(&world, &changed);
        assert!(
            refused.contains(says)
                && refused.contains("Crossfade 0.")
                && refused.contains("Nothing was changed"),
            "{refused}"
        );
    }
    // Cut off after any line, and within any.
    let ends: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] == b'\n').collect();
    for end in &ends {
        for cut in [*end, end + 1, end.saturating_sub(5)] {
            if cut < bytes.len() && cut > ends[0] {
                let refused = saved.refusal(&world, &bytes[..cut]);
                assert!(refused.contains("is incomplete"), "at {cut} of {}: {refused}", bytes.len());
            }
        }
    }
    // Something after its end, a line twice, a line missing.
    let mut more = bytes.clone();
    more.push(b'\n');
    let twice = [&bytes[..=ends[9]], &bytes[ends[8] + 1..]].concat();
    let missing = [&bytes[..=ends[8]], &bytes[ends[9] + 1..]].concat();
    for changed in [more, twice, missing] {
        let refused = saved.refusal(&world, &changed);
        assert!(refused.contains("was modified after it was written"), "{refused}");
    }
}

async fn a_backup_of_which_one_byte_was_changed_is_refused(world: World) {
    live(&world).await;
    let saved = Saved::of(&world).await;
    let bytes = saved.bytes();
    let last_line = bytes[..bytes.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap();
    let first_line = bytes.iter().position(|byte| *byte == b'\n').unwrap();
    // Every byte of the header and the trailer, and a share of those between.
    let between = (first_line..last_line).step_by(23);
    for at in (0..=first_line).chain(between).chain(last_line..bytes.len()) {
        for flip in [1, 0x20] {
            let mut changed = bytes.clone();
            changed[at] ^= flip;
            let refused = saved.refusal(&world, &changed);
            assert!(
                refused.contains("othing was changed") || refused.contains("modified after"),
                "byte {at}: {refused}"
            );
        }
    }
}

async fn a_backup_is_nothing_without_its_master_key(world: World) {
    let other = World::another().await;
    live(&world).await;
    let saved = Saved::of(&world).await;
    let missing = saved.directory.path().join("master.key");
    std::fs::set_permissions(saved.path(), std::fs::Permissions::from_mode(0o600)).unwrap();
    for (key, says) in [
        (missing.as_path(), "Put the backed-up instance's key there"),
        (other.master_key_file(), "cannot open this backup"),
        (saved.path().as_path(), "does not contain a Crossfade master key"),
    ] {
        let refused = Restore::check(&saved.path(), key).err().unwrap().to_string();
        assert!(refused.contains(says), "{refused}");
    }
}

async fn a_backup_that_changes_while_it_is_restored_is_refused(world: World) {
    live(&world).await;
    let saved = Saved::of(&world).await;
    let checked = Restore::check(&saved.path(), world.master_key_file()).unwrap();
    // Another whole backup of the same instance, under the same name.
    world.client("Later", &["staging"]).await;
    let later = Saved::of(&world).await;
    std::fs::copy(later.path(), saved.path()).unwrap();
    let place = Place::file();
    let refused = checked.run(&place.location, &Clock::manual(world.now())).await.err().unwrap();
    assert!(refused.to_string().contains("modified while it was read"), "{refused}");
    assert_eq!(place.number("SELECT COUNT(*) FROM clients").await, 0);
}

/// What a command is given to find the data.
fn arguments<'a>(command: &'a str, data: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&[command, "--data-dir", data], more].concat()
}

#[test]
fn the_program_backs_up_a_served_instance_and_restores_it() {
    let data = Data::new();
    let mut server = data.serve(&[]);
    is_serving(&mut server);
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("it.backup");
    let file = file.to_str().unwrap();
    let (status, out, err) =
        Running::start(&arguments("backup", data.path(), &["--output", file, "--json"])).end();
    assert_eq!(status, 0, "{err}");
    assert!(err.contains("3 environments") && err.contains("does not contain the master key"), "{err}");
    let said: Json = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&said["rows"]["users"], &said["engine"], &said["file"]),
        (&json!(1), &json!("sqlite"), &json!(file))
    );
    let found = std::fs::metadata(file).unwrap();
    assert_eq!((found.permissions().mode() & 0o777, json!(found.len())), (0o600, said["bytes"].clone()));
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 1, "nothing else is left");

    let before = std::fs::read(file).unwrap();
    refuses(Running::start(&arguments("backup", data.path(), &["--output", file])), 1, "already exists");
    assert!(std::fs::read(file).unwrap() == before);
    refuses(
        Running::start(&arguments("restore", data.path(), &["--from", file])),
        1,
        "Another crossfade serve",
    );
    drop(server);
    refuses(
        Running::start(&arguments("restore", data.path(), &["--from", file])),
        5,
        "already contains data",
    );

    let new = elsewhere.path().join("new");
    let key = new.join("master.key");
    let restore = || Running::start(&arguments("restore", new.to_str().unwrap(), &["--from", file]));
    refuses(restore(), 1, "is missing, so the backup cannot be restored");
    assert!(!new.exists(), "a command that is refused leaves nothing behind");
    std::fs::create_dir(&new).unwrap();
    std::fs::copy(data.file("master.key"), &key).unwrap();
    let (status, out, err) = restore().end();
    assert_eq!((status, &*out), (0, ""), "{err}");
    for says in [
        "3 environments",
        "Later changes are lost",
        "0 secrets are current",
        "--compromised",
        "crossfade doctor",
    ] {
        assert!(err.contains(says), "{says:?} is missing: {err}");
    }
    let again = elsewhere.path().join("again");
    let more = ["--from", file, "--json", "--master-key-file", key.to_str().unwrap()];
    let (status, out, err) = Running::start(&arguments("restore", again.to_str().unwrap(), &more)).end();
    let said: Json = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{status} {err}"));
    assert_eq!((&said["rows"]["users"], &said["retiring_secrets"]), (&json!(1), &json!(0)));
    assert!(again.join("crossfade.db").exists() && !again.join("master.key").exists());

    let token = ["--user", "ada@example.com", "--name", "laptop"];
    let (status, _, err) =
        Running::start(&[&["token", "create", "--data-dir", new.to_str().unwrap()], &token[..]].concat())
            .end();
    assert_eq!(status, 0, "the Owner is there again: {err}");
}

#[test]
fn a_backup_that_cannot_be_made_leaves_no_file() {
    let data = Data::new();
    let elsewhere = tempfile::tempdir().unwrap();
    let file = |name: &str| elsewhere.path().join(name).to_str().unwrap().to_owned();
    let nowhere = file("no/such/directory/it.backup");
    refuses(Running::start(&arguments("backup", data.path(), &["--output", &nowhere])), 1, "Cannot write");
    let no_data = file("empty");
    let out = file("it.backup");
    refuses(Running::start(&arguments("backup", &no_data, &["--output", &out])), 1, "does not exist");
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}

/// Starts a backup of so many rows that it can be stopped half-way; waits until it writes.
async fn half_way(data: &Data, directory: &Path) -> Running {
    let rows = "INSERT INTO audit_events (seq, at, actor_kind, actor_id, actor_name, action, outcome, details)
                SELECT value, 1, 'machine', 'init', 'crossfade init', 'owner.created', 'done', '{}' FROM
                  (WITH RECURSIVE numbers (value) AS (SELECT 100 UNION ALL SELECT value + 1 FROM numbers WHERE value < 300000) SELECT value FROM numbers)";
    crate::start::raw(&data.file("crossfade.db"), rows).await;
    let file = directory.join("it.backup");
    let program = Running::start(&arguments("backup", data.path(), &["--output", file.to_str().unwrap()]));
    let writes = || {
        let mut files = std::fs::read_dir(directory).unwrap();
        files.next().is_some_and(|file| file.unwrap().metadata().is_ok_and(|file| file.len() > 0))
    };
    for _ in 0..10_000_000 {
        if writes() {
            return program;
        }
        std::thread::yield_now();
    }
    panic!("the backup does not begin");
}

#[tokio::test]
async fn a_backup_that_is_killed_never_has_its_name() {
    let (data, directory) = (Data::new(), tempfile::tempdir().unwrap());
    drop(half_way(&data, directory.path()).await);
    let left: Vec<_> =
        std::fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(left[0].to_string_lossy().ends_with(".partial"), "{left:?}");
    let (part, key) = (directory.path().join(&left[0]), data.file("master.key"));
    let refused = Restore::check(&part, key.as_path()).err().unwrap().to_string();
    assert!(refused.contains("is incomplete") || refused.contains("not a Crossfade backup"), "{refused}");
}

#[tokio::test]
async fn a_backup_that_is_asked_to_stop_leaves_nothing() {
    // A terminal that is closed asks, too.
    for signal in ["-TERM", "-HUP", "-QUIT"] {
        let (data, directory) = (Data::new(), tempfile::tempdir().unwrap());
        let program = half_way(&data, directory.path()).await;
        let pid = program.0.id().to_string();
        assert!(std::process::Command::new("kill").args([signal, &pid]).status().unwrap().success());
        refuses(program, 1, "Stopped before the backup was complete. No file was written");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "{signal}");
    }
}
