//! The doctor finds each thing that is broken on purpose, and nothing else; it says how to mend it, and
//! changes nothing.

use crate::engines::on_both_engines;
use crate::{
    start::{Data, Running, is_serving, raw},
    world::World,
};
use crossfade_app::KeySource;
use crossfade_app::doctor::{Check, Findings, Instance, Outcome, examine};
use crossfade_authority::Clock;
use crossfade_core::Timestamp;
use crossfade_store::Location;
use serde_json::Value as Json;
use std::{net::TcpListener, os::unix::fs::PermissionsExt, path::Path, time::Duration};
use tempfile::TempDir;

on_both_engines! {
    a_sound_instance_is_sound_and_stays_as_it_is,
    each_thing_that_is_broken_in_the_database_is_found,
    an_audience_that_has_become_an_issuer_of_this_server_is_found,
    values_that_were_sealed_elsewhere_are_counted,
    a_clock_that_is_wrong_is_found,
    a_database_of_another_schema_is_told_and_not_migrated,
    a_missing_or_foreign_master_key_is_found,
    a_master_key_that_others_can_read_is_found,
    a_mounted_master_key_of_another_user_is_accepted,
}

/// What an instance is after a while: a client, rotated, with stored values, an owner, a remembered answer.
async fn live(world: &World) {
    let client = world.client("Billing", &["staging", "production"]).await;
    let rotate = client.path("production", "/secrets/rotate");
    let body = Some(client.rotation(24).to_string());
    let owner = world.owner().await;
    owner.call(http::Method::POST, &rotate, body, &[("Idempotency-Key", "once")]).await.created();
}

async fn look(world: &World, now: Timestamp) -> Findings {
    // As the program makes it; a test's is made under the umask.
    mode(world.master_key_file().parent().unwrap(), 0o700);
    if let Location::File(path) = world.location() {
        mode(path.parent().unwrap(), 0o700);
    }
    let clock = Clock::manual(now);
    examine(&world.instance(&clock)).await
}

/// The names of the checks that came out like this.
fn names(checks: &[Check], outcome: Outcome) -> Vec<&'static str> {
    checks.iter().filter(|check| check.outcome == outcome).map(|check| check.name).collect()
}

/// Checks that this one thing was found, with this sentence and a way to mend it, and nothing else.
#[track_caller]
fn finds(found: &Findings, name: &str, outcome: Outcome, says: &str) {
    let others: Vec<_> =
        found.checks.iter().filter(|check| check.outcome != Outcome::Ok && check.name != name).collect();
    assert!(others.is_empty(), "{name}: {others:?}");
    let check = found.checks.iter().find(|check| check.name == name).unwrap();
    assert_eq!(check.outcome, outcome, "{check:?}");
    assert!(check.sentence.contains(says), "{says:?} is missing: {check:?}");
    assert!(
        check.sentence.ends_with('.') && check.mend.as_ref().is_some_and(|mend| mend.len() > 10),
        "{check:?}"
    );
}

async fn a_sound_instance_is_sound_and_stays_as_it_is(world: World) {
    live(&world).await;
    let audited = world.number("SELECT COUNT(*) FROM audit_events").await;
    let found = look(&world, world.now()).await;
    assert_eq!(names(&found.checks, Outcome::Ok).len(), found.checks.len(), "{:?}", found.checks);
    assert_eq!(found.served, Some(true));
    let said = |name: &str| &found.checks.iter().find(|check| check.name == name).unwrap().sentence;
    assert_eq!(said("sealed_values"), "4 stored values can be opened.");
    assert_eq!(said("signing_keys"), "3 environments with an active signing key.");
    assert_eq!(world.number("SELECT COUNT(*) FROM audit_events").await, audited);
}

async fn each_thing_that_is_broken_in_the_database_is_found(world: World) {
    live(&world).await;
    let year =
        "UPDATE secrets SET created_at = created_at - 31536000000000 WHERE number = 1 AND expires_at IS NULL";
    // Each is undone before the next.
    for (breaking, mending, name, outcome, says) in [
        (
            "UPDATE grants SET role = 'auditor'",
            "UPDATE grants SET role = 'owner'",
            "owner",
            Outcome::Fail,
            "There is no Owner",
        ),
        (
            "UPDATE clients SET owners = '[]'",
            "UPDATE clients SET owners = '[\"ada@example.com\"]'",
            "client_owners",
            Outcome::Warn,
            "1 client without an owner that is notified",
        ),
        (
            year,
            "UPDATE secrets SET created_at = created_at + 31536000000000 WHERE number = 1 AND expires_at IS NULL",
            "overdue_secrets",
            Outcome::Warn,
            "1 secret older",
        ),
        (
            "UPDATE audit_events SET seq = 999 WHERE seq = 4",
            "UPDATE audit_events SET seq = 4 WHERE seq = 999",
            "audit_trail",
            Outcome::Fail,
            "but it has",
        ),
        (
            "UPDATE secrets SET digest_key = 'x' || digest_key WHERE number = 2",
            "UPDATE secrets SET digest_key = SUBSTR(digest_key, 2) WHERE number = 2",
            "secret_hashes",
            Outcome::Fail,
            "1 secret cannot be verified",
        ),
        (
            "UPDATE signing_keys SET active_from = active_from + 1000000000000 WHERE environment = 'staging'",
            "UPDATE signing_keys SET active_from = active_from - 1000000000000 WHERE environment = 'staging'",
            "signing_keys",
            Outcome::Fail,
            "The environment staging has no active signing key",
        ),
        (
            "UPDATE signing_keys SET environment = CASE environment WHEN 'staging' THEN 'production' WHEN 'production' THEN 'staging' ELSE environment END",
            "UPDATE signing_keys SET environment = CASE environment WHEN 'staging' THEN 'production' WHEN 'production' THEN 'staging' ELSE environment END",
            "signing_keys",
            Outcome::Fail,
            "has a signing key that cannot be opened, and 1 more",
        ),
        (
            "ALTER TABLE notifications RENAME TO elsewhere",
            "ALTER TABLE elsewhere RENAME TO notifications",
            "statements",
            Outcome::Fail,
            "notifications",
        ),
        (
            "ALTER TABLE users RENAME COLUMN email TO mail",
            "ALTER TABLE users RENAME COLUMN mail TO email",
            "owner",
            Outcome::Fail,
            "Reading failed",
        ),
    ] {
        world.raw(breaking).await;
        let mut found = look(&world, world.now()).await;
        if name == "owner" && breaking.starts_with("ALTER") {
            // A statement that does not prepare is told, too.
            found.checks.retain(|check| check.name != "statements");
        }
        if name == "audit_trail" {
            // The chain is broken there, too.
            found.checks.retain(|check| check.name != "audit_chain");
        }
        finds(&found, name, outcome, says);
        world.raw(mending).await;
    }
    let found = look(&world, world.now()).await;
    assert_eq!(names(&found.checks, Outcome::Ok).len(), found.checks.len(), "{:?}", found.checks);
}

async fn an_audience_that_has_become_an_issuer_of_this_server_is_found(mut world: World) {
    world.client("Billing", &["production"]).await;
    world.owner().await;
    world.raw("UPDATE registrations SET audience = 'https://b.example.com/env/staging'").await;
    assert_eq!(names(&look(&world, world.now()).await.checks, Outcome::Fail), [""; 0]);
    world.restart_under("https://b.example.com").await;
    let found = look(&world, world.now()).await;
    assert_eq!(names(&found.checks, Outcome::Fail), ["audiences"]);
    // The own issuer is no other one.
    world.raw("UPDATE registrations SET audience = 'https://b.example.com/env/production'").await;
    assert_eq!(names(&look(&world, world.now()).await.checks, Outcome::Fail), [""; 0]);
}

async fn values_that_were_sealed_elsewhere_are_counted(world: World) {
    live(&world).await;
    // The value of another secret, in both places of a registration.
    world.raw("UPDATE secrets SET sealed = (SELECT sealed FROM signing_keys ORDER BY kid LIMIT 1) WHERE number = 1").await;
    let found = look(&world, world.now()).await;
    finds(&found, "sealed_values", Outcome::Fail, "2 of 4 stored values cannot be opened: secret sec_");
    world.raw("UPDATE idempotency SET actor = 'usr_0000000000000000000009'").await;
    let found = look(&world, world.now()).await;
    finds(&found, "sealed_values", Outcome::Fail, "3 of 4");
}

async fn a_clock_that_is_wrong_is_found(world: World) {
    live(&world).await;
    let now = world.now();
    let (second, day) = (Duration::from_secs(1), Duration::from_secs(86_400));
    finds(&look(&world, now.before(day)).await, "clock", Outcome::Fail, "24 hours behind the stored time");
    finds(
        &look(&world, now.after(second * 61)).await,
        "clock",
        Outcome::Warn,
        "61 seconds after the last stored time",
    );
    world.app.close().await;
    assert_eq!(names(&look(&world, now.after(second * 61)).await.checks, Outcome::Warn), [""; 0]);
    let ahead = look(&world, now.after(day * 31)).await;
    finds(&ahead, "clock", Outcome::Warn, "31 days after the last stored time");
    world.raw("UPDATE environments SET max_age_days = NULL").await;
    finds(&look(&world, now.after(day * 4000)).await, "clock", Outcome::Fail, "4000 days");
    world.ends_unable_to_run_jobs();
}

async fn a_database_of_another_schema_is_told_and_not_migrated(world: World) {
    live(&world).await;
    for (version, outcome, says) in
        [(9999, Outcome::Fail, "newer version of Crossfade"), (0, Outcome::Warn, "has schema 0")]
    {
        world.raw(&format!("DELETE FROM _sqlx_migrations WHERE version BETWEEN 2 AND 100; UPDATE _sqlx_migrations SET version = {version}")).await;
        let requires =
            format!("UPDATE oldest_program SET schema_version = {version}, program_version = '9.9.9'");
        world.raw(&requires).await;
        finds(&look(&world, world.now()).await, "database", outcome, says);
        assert_eq!(world.number("SELECT MAX(version) FROM _sqlx_migrations").await, version);
    }
    world.raw("UPDATE _sqlx_migrations SET version = 9999").await;
    finds(
        &look(&world, world.now()).await,
        "database",
        Outcome::Warn,
        "can run on it, but cannot take a backup",
    );
    world.raw("DROP TABLE _sqlx_migrations").await;
    finds(&look(&world, world.now()).await, "database", Outcome::Fail, "contains no Crossfade data");
}

async fn a_missing_or_foreign_master_key_is_found(world: World) {
    live(&world).await;
    let other = World::another().await;
    let key = std::fs::read(world.master_key_file()).unwrap();
    std::fs::copy(other.master_key_file(), world.master_key_file()).unwrap();
    finds(&look(&world, world.now()).await, "master_key", Outcome::Fail, "does not match this database");
    std::fs::write(world.master_key_file(), "nothing").unwrap();
    finds(
        &look(&world, world.now()).await,
        "master_key",
        Outcome::Fail,
        "does not contain a Crossfade master key",
    );
    std::fs::remove_file(world.master_key_file()).unwrap();
    finds(&look(&world, world.now()).await, "master_key", Outcome::Fail, "is missing");
    assert!(!world.master_key_file().exists(), "none is made");
    std::fs::write(world.master_key_file(), key).unwrap();
}

async fn a_master_key_that_others_can_read_is_found(world: World) {
    live(&world).await;
    let mode = |mode| {
        std::fs::set_permissions(world.master_key_file(), std::fs::Permissions::from_mode(mode)).unwrap()
    };
    for bad in [0o644, 0o604, 0o666, 0o601] {
        mode(bad);
        let found = look(&world, world.now()).await;
        finds(&found, "files", Outcome::Fail, &format!("(mode {bad:o})"));
        let mend = found.checks.iter().find_map(|check| check.mend.clone()).unwrap();
        assert_eq!(mend, format!("chmod 600 {}", world.master_key_file().display()));
    }
    // As it is mounted into a container whose user is not its owner.
    for (mounted, can) in [(0o440, "read"), (0o640, "read"), (0o660, "read and write")] {
        mode(mounted);
        let says = format!("Its group can {can} {} (mode {mounted:o})", world.master_key_file().display());
        let found = look(&world, world.now()).await;
        finds(&found, "files", Outcome::Warn, &says);
        let mend = found.checks.iter().find_map(|check| check.mend.clone()).unwrap();
        assert!(mend.contains("fsGroup"), "{mend}");
    }
    mode(0o400);
    assert_eq!(names(&look(&world, world.now()).await.checks, Outcome::Fail), [""; 0]);
}

async fn a_mounted_master_key_of_another_user_is_accepted(world: World) {
    live(&world).await;
    let (key, mounted) = (world.master_key_file(), world.master_key_file().with_extension("mounted"));
    std::fs::rename(key, &mounted).unwrap();
    std::os::unix::fs::symlink(&mounted, key).unwrap();
    std::fs::set_permissions(&mounted, std::fs::Permissions::from_mode(0o400)).unwrap();
    // Only root can give a file away; for others it stays their own.
    drop(std::os::unix::fs::chown(&mounted, Some(65_534), None));
    assert_eq!(names(&look(&world, world.now()).await.checks, Outcome::Fail), [""; 0]);
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_told_without_its_password() {
    let directory = private();
    let clock = Clock::manual(Timestamp::from_seconds(1_795_525_500));
    let instance = Instance {
        // Port 1 of this machine: nothing listens there.
        location: Location::Postgres("postgres://u:hunter2@127.0.0.1:1/x".into()),
        data_dir: directory.path().to_owned(),
        master_key: KeySource::File(directory.path().join("master.key")),
        journal: None,
        public_url: "http://127.0.0.1".to_owned(),
        audit_sinks: Vec::new(),
        mailer: None,
        clock: &clock,
    };
    let found = examine(&instance).await;
    finds(&found, "database", Outcome::Fail, "Cannot reach the PostgreSQL database");
    assert!(!format!("{:?}", found.checks).contains("hunter2"));
}

/// A directory as the program makes it.
fn private() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    mode(directory.path(), 0o700);
    directory
}

/// A new instance in such a one.
fn made() -> Data {
    let data = Data::new();
    mode(data.path().as_ref(), 0o700);
    data
}

/// Runs the program on a data directory, at a port that is free.
fn doctor(data: &Path, more: &[&str]) -> (i32, String, String) {
    let mut arguments = vec!["doctor", "--data-dir", data.to_str().unwrap()];
    if !more.contains(&"--listen") {
        arguments.extend(["--listen", "127.0.0.1:0"]);
    }
    arguments.extend(more);
    Running::start(&arguments).end()
}

/// Checks that the program finds this one thing.
#[track_caller]
fn tells(data: &Path, more: &[&str], outcome: &str, name: &str, says: &str) {
    let (status, out, err) = doctor(data, more);
    let wrong: Vec<&str> = out.lines().filter(|line| !line.starts_with("ok ")).collect();
    assert_eq!(wrong.len(), 1, "{out}");
    let words: Vec<&str> = wrong[0].split_whitespace().take(2).collect();
    assert_eq!(words, [outcome, name], "{out}");
    assert!(wrong[0].contains(says) && wrong[0].contains(" Fix: "), "{says:?} is missing: {out}");
    match outcome {
        "FAIL" => assert!(status == 1 && err.starts_with("crossfade: 1 of "), "{status} {err}"),
        _ => assert_eq!((status, &*err), (0, "")),
    }
}

/// Checks that one of the checks comes out like this, whatever the others say.
#[track_caller]
fn finds_line(data: &Path, more: &[&str], outcome: &str, name: &str, says: &str) {
    let (status, out, _) = doctor(data, more);
    let is_it = |line: &&str| line.split_whitespace().take(2).eq([outcome, name]);
    let line = out.lines().find(is_it).unwrap_or_else(|| panic!("no {outcome} {name}: {out}"));
    assert!(status == 0 && line.contains(says), "{says:?} is missing: {out}");
}

fn entries(directory: &Path) -> Vec<(String, u64)> {
    let mut entries: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().len()))
        .collect();
    entries.sort();
    entries
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn the_program_finds_nothing_wrong_with_a_new_instance_and_changes_nothing() {
    let data = made();
    let files = |name: &str| std::fs::read(data.file(name)).unwrap();
    let before = [files("crossfade.db"), files("master.key")];
    let (status, out, err) = doctor(data.path().as_ref(), &[]);
    assert_eq!((status, &*err), (0, ""), "{out}");
    assert!(out.lines().count() > 15 && out.lines().all(|line| line.starts_with("ok ")), "{out}");
    assert!(before == [files("crossfade.db"), files("master.key")]);
    let (status, out, _) = doctor(data.path().as_ref(), &["--json"]);
    let said: Json = serde_json::from_str(&out).unwrap();
    assert_eq!((status, &said["failed"], &said["warned"]), (0, &0.into(), &0.into()), "{out}");
    assert_eq!(said["checks"][0]["outcome"], "ok");
    assert_eq!(said["checks"][0]["mend"], Json::Null);
}

#[test]
fn where_nothing_is_the_program_says_so_and_makes_nothing() {
    let directory = private();
    tells(directory.path(), &[], "FAIL", "database", "does not exist");
    assert_eq!(entries(directory.path()), []);
    let missing = directory.path().join("missing");
    tells(&missing, &[], "FAIL", "database", "does not exist");
    assert!(!missing.exists());
}

/// As on a volume that Kubernetes mounts with fsGroup.
#[test]
fn files_of_a_group_are_a_warning_and_a_start_logs_no_error() {
    let data = made();
    let directory = Path::new(data.path());
    mode(directory, 0o2770);
    for name in ["crossfade.db", "master.key"] {
        mode(&data.file(name), 0o640);
    }
    // Such a volume belongs to root. Only root can give it away.
    let _ = std::os::unix::fs::chown(directory, Some(12345), None);
    let (status, out, _) = doctor(directory, &[]);
    let lines = |outcome: &str| out.lines().filter(|line| line.starts_with(outcome)).count();
    assert_eq!((status, lines("FAIL"), lines("warn")), (0, 0, 2), "{out}");
    for says in ["Its group can add and remove files", "Its group can read", "fsGroup"] {
        assert!(out.contains(says), "{says}: {out}");
    }
    let mut server = data.serve(&[]);
    let log = is_serving(&mut server);
    assert!(!log.contains("ERROR") && log.contains("Its group can read"), "{log}");
}

#[test]
fn the_program_finds_files_that_are_not_private() {
    let data = made();
    let directory = Path::new(data.path());
    mode(directory, 0o755);
    tells(directory, &[], "warn", "data_directory", "Every user can list");
    mode(directory, 0o777);
    tells(directory, &[], "FAIL", "data_directory", "Every user can add and remove files");
    mode(directory, 0o750);
    tells(directory, &[], "warn", "data_directory", "Its group can list");
    mode(directory, 0o700);
    for (name, bad, outcome) in [
        ("master.key", 0o640, "warn"),
        ("master.key", 0o644, "FAIL"),
        ("crossfade.db", 0o640, "warn"),
        ("crossfade.db", 0o604, "FAIL"),
        ("crossfade.db", 0o660, "warn"),
    ] {
        mode(&data.file(name), bad);
        tells(directory, &[], outcome, "files", name);
        mode(&data.file(name), 0o600);
        // A command on a busy machine may end before SQLite has removed the files beside the database.
        for beside in ["crossfade.db-wal", "crossfade.db-shm"] {
            let _ = std::fs::remove_file(data.file(beside));
        }
    }
    let url = data.file("url");
    std::fs::write(&url, format!("sqlite:{}", data.file("crossfade.db").display())).unwrap();
    mode(&url, 0o644);
    let more = ["--database-url-file", url.to_str().unwrap()];
    tells(directory, &more, "warn", "database_url_file", "which may contain the database password");
    mode(&url, 0o640);
    assert_eq!(doctor(directory, &more).0, 0);
    let password = data.file("smtp-password");
    std::fs::write(&password, "a password\n").unwrap();
    let smtp =
        ["--smtp-url", "smtp://ada@127.0.0.1:1", "--mail-from", "ada@example.com", "--smtp-password-file"];
    let more = [&smtp[..], &[password.to_str().unwrap()]].concat();
    for (bad, says) in
        [(0o644, "Every user can access"), (0o604, "Every user can access"), (0o640, "Its group can read")]
    {
        mode(&password, bad);
        finds_line(directory, &more, "warn", "smtp_password_file", says);
    }
    mode(&password, 0o600);
    finds_line(directory, &more, "ok", "smtp_password_file", "Only the owner can access");
    // Only root can give a file away.
    if std::os::unix::fs::chown(data.file("master.key"), Some(12345), None).is_ok() {
        tells(directory, &[], "FAIL", "files", "belongs to user 12345");
    }
}

#[tokio::test]
async fn the_program_finds_damage() {
    let data = made();
    let directory = Path::new(data.path());
    let file = data.file("crossfade.db");
    raw(&file, "PRAGMA journal_mode = DELETE").await;
    tells(directory, &[], "warn", "durability", "is delete instead of WAL");
    raw(&file, "PRAGMA journal_mode = WAL").await;
    raw(&file, "INSERT INTO unreadable_proxies VALUES ('10.0.0.1', 253402300799000000)").await;
    tells(directory, &[], "warn", "forwarded_addresses", "Requests from 10.0.0.1");
    raw(&file, "DELETE FROM unreadable_proxies").await;
    raw(&file, "PRAGMA foreign_keys = OFF; INSERT INTO secret_usage VALUES ('sec_nothing', 1, 1, 1)").await;
    tells(directory, &[], "FAIL", "integrity", "secret_usage refers to a missing row of secrets");
    raw(&file, "DELETE FROM secret_usage").await;
    raw(&file, "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET rootpage = rootpage + 1 WHERE name = 'clients_page'").await;
    tells(directory, &[], "FAIL", "integrity", "is damaged");
    let beside = ["db-wal", "db-shm"].map(|extension| file.with_extension(extension));
    beside.iter().for_each(|path| drop(std::fs::remove_file(path)));
    std::fs::write(&file, "no database").unwrap();
    tells(directory, &[], "FAIL", "database", "not a database");
}

#[test]
fn the_program_finds_wrong_settings() {
    let data = made();
    let directory = Path::new(data.path());
    let public = ["--public-url", "https://auth.example.com"];
    let with = |more: &[&'static str]| [&public[..], more].concat();
    let (status, out, err) = doctor(directory, &["--public-url", "http://auth.example.com"]);
    assert_eq!((status, out.lines().count()), (1, 1), "{out}");
    assert!(
        out.starts_with("FAIL  settings  public_url must use https") && err.contains("1 of 1 checks"),
        "{out}"
    );
    tells(directory, &public, "warn", "trusted_proxies", "not in --trusted-proxies");
    tells(
        directory,
        &with(&["--trusted-proxies", "10.0.0.0/8,0.0.0.0/0"]),
        "FAIL",
        "trusted_proxies",
        "0.0.0.0/0",
    );
    tells(
        directory,
        &["--public-url", "http://auth.internal", "--trusted-proxies", "10.0.0.1"],
        "warn",
        "public_url",
        "unencrypted",
    );
    let (status, out, _) = doctor(directory, &with(&["--trusted-proxies", "10.0.0.1"]));
    assert!(status == 0 && !out.contains("warn"), "{out}");
    let (_, out, _) = doctor(directory, &with(&["--listen", "0.0.0.0:0"]));
    assert!(out.contains("warn  public_url") && out.contains("without TLS"), "{out}");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    tells(directory, &["--listen", &address], "FAIL", "server", "another process listens");
    tells(
        directory,
        &["--listen", "192.0.2.1:1", "--public-url", "https://a.example", "--trusted-proxies", "10.0.0.1"],
        "FAIL",
        "server",
        "not possible to listen on",
    );
}

#[test]
fn the_program_asks_the_server_that_runs() {
    let data = made();
    let directory = Path::new(data.path());
    let mut server = data.serve(&[]);
    let said = is_serving(&mut server);
    let address = said.lines().last().unwrap().trim_end_matches('.').rsplit(' ').next().unwrap().to_owned();
    let (status, out, err) = doctor(directory, &["--listen", &address]);
    assert_eq!((status, &*err), (0, ""), "{out}");
    assert!(out.contains(&format!("is ready at {address}")), "{out}");
    // Nothing listens there, and the lock is held.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    tells(directory, &["--listen", &free], "FAIL", "server", "does not respond");
    tells(directory, &[], "warn", "server", "on an unknown port");
    drop(server);
    tells_nothing(directory, &address);
}

#[track_caller]
fn tells_nothing(data: &Path, address: &str) {
    let (status, out, err) = doctor(data, &["--listen", address]);
    assert_eq!((status, &*err), (0, ""), "{out}");
    assert!(out.contains("No server is running on the database"), "{out}");
}

#[test]
fn the_program_finds_a_server_that_is_not_ready() {
    let data = made();
    let mut server = data.serve(&[]);
    is_serving(&mut server);
    // Something that answers in its place, and not with 200.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let answering = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut stream, _) = listener.accept().unwrap();
        let read = stream.read(&mut [0; 1024]).unwrap();
        stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n").unwrap();
        read
    });
    tells(data.path().as_ref(), &["--listen", &address], "FAIL", "server", "returns 503 Service Unavailable");
    assert!(answering.join().unwrap() > 0);
}
