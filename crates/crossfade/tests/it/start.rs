//! A server that cannot start says so in one sentence, soon, and with the status that scripts rely on. The
//! real program, with a time limit, killed by its handle.

use crate::database::Place;
use crossfade_store::Location;
use sqlx::{ConnectOptions, Connection, sqlite::SqliteConnectOptions};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_crossfade");
/// How often a child is looked at, and how often at most: ten seconds.
const TICK: Duration = Duration::from_millis(20);
const TICKS: u32 = 3000;

/// A child that does not outlive its test.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Running {
    pub fn start(arguments: &[&str]) -> Self {
        let child = Command::new(BINARY)
            .args(arguments)
            // Whatever is set where the tests run is not the program's.
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self(child)
    }

    pub fn wait(&mut self) -> ExitStatus {
        for _ in 0..TICKS {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            thread::sleep(TICK);
        }
        panic!("the program runs on after a minute");
    }

    /// Lets it end; tells its status, its stdout and its stderr.
    pub fn end(mut self) -> (i32, String, String) {
        let status = self.wait();
        let (mut out, mut err) = (String::new(), String::new());
        self.0.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        self.0.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        (status.code().expect("an exit status and no signal"), out, err)
    }
}

/// A data directory with a database in it, made as an operator makes it.
pub struct Data {
    directory: TempDir,
}

impl Data {
    pub fn new() -> Self {
        let data = Self { directory: tempfile::tempdir().unwrap() };
        let mut init = Running::start(&[
            "init",
            "--data-dir",
            data.path(),
            "--owner-email",
            "ada@example.com",
            "--password-stdin",
        ]);
        init.0.stdin.take().unwrap().write_all(b"correct horse battery staple\n").unwrap();
        let (status, out, err) = init.end();
        assert_eq!((status, &*out), (0, ""), "{err}");
        data
    }

    pub fn path(&self) -> &str {
        self.directory.path().to_str().unwrap()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Serves it on a port of the system's choice.
    pub fn serve(&self, more: &[&str]) -> Running {
        let mut arguments = vec!["serve", "--data-dir", self.path(), "--listen", "127.0.0.1:0"];
        arguments.extend(more);
        Running::start(&arguments)
    }
}

/// Checks that a program ended with this status and one sentence, which says this, and nothing on stdout.
#[track_caller]
pub fn refuses(program: Running, status: i32, says: &str) {
    let (ended, out, err) = program.end();
    let err = without_warning(&err);
    assert_eq!((ended, &*out), (status, ""), "{err}");
    assert!(err.starts_with("crossfade: ") && err.ends_with('\n'), "{err:?}");
    assert_eq!(err.lines().count(), 1, "one line: {err:?}");
    assert!(err.trim_end().ends_with(['.', ')']), "a sentence: {err:?}");
    assert!(err.contains(says), "{says:?} is missing: {err:?}");
}

/// What a program said, but for the warning of a password in --database-url: the tests may be given one.
fn without_warning(err: &str) -> String {
    err.split_inclusive('\n').filter(|line| !line.starts_with("Warning: other users")).collect()
}

/// Checks that the command line itself is refused, in clap's words.
#[track_caller]
fn wrong_usage(arguments: &[&str], says: &str) {
    let (ended, out, err) = Running::start(arguments).end();
    assert_eq!((ended, &*out), (2, ""), "{arguments:?}: {err}");
    assert!(err.contains(says), "{says:?} is missing: {err:?}");
}

pub async fn raw(path: &Path, sql: &'static str) {
    let mut session = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
    sqlx::raw_sql(sql).execute(&mut session).await.unwrap();
    session.close().await.unwrap();
}

/// Waits until a server says that it serves.
pub fn is_serving(server: &mut Running) -> String {
    let err = BufReader::new(server.0.stderr.take().unwrap());
    let (sender, receiver) = std::sync::mpsc::channel();
    // On a thread of its own, because reading cannot be given up; it ends with the child.
    thread::spawn(move || {
        let mut all = String::new();
        for line in err.lines().map_while(Result::ok) {
            all.push_str(&line);
            all.push('\n');
            if line.starts_with("Serving ") {
                break;
            }
        }
        sender.send(all)
    });
    let said = receiver.recv_timeout(TICK * TICKS).unwrap();
    assert!(said.contains("Serving http://127.0.0.1:"), "{said}");
    said
}

#[test]
fn a_database_without_its_master_key_is_not_served() {
    let data = Data::new();
    std::fs::remove_file(data.file("master.key")).unwrap();
    refuses(data.serve(&[]), 1, "is missing");
    assert!(!data.file("master.key").exists(), "no new key is made for an old database");
}

#[test]
fn another_master_key_does_not_open_a_database() {
    let (data, other) = (Data::new(), Data::new());
    let key = std::fs::read(data.file("master.key")).unwrap();
    std::fs::copy(other.file("master.key"), data.file("master.key")).unwrap();
    refuses(data.serve(&[]), 1, "does not match this database");
    // With its own key it is as it was.
    std::fs::write(data.file("master.key"), key).unwrap();
    let mut server = data.serve(&[]);
    is_serving(&mut server);
}

#[test]
fn an_empty_place_with_an_existing_master_key_becomes_no_new_instance() {
    let data = Data::new();
    let key = std::fs::read(data.file("master.key")).unwrap();
    for name in ["crossfade.db", "crossfade.db-wal", "crossfade.db-shm"] {
        drop(std::fs::remove_file(data.file(name)));
    }
    refuses(data.serve(&[]), 1, "a master key belongs to one instance");
    refuses(init(&data, &[]), 1, "a master key belongs to one instance");
    let arguments =
        ["token", "create", "--data-dir", data.path(), "--user", "ada@example.com", "--name", "x"];
    refuses(Running::start(&arguments), 1, "does not exist");
    assert!(!data.file("crossfade.db").exists(), "nothing was made");
    let (status, _, err) = init(&data, &["--new-instance"]).end();
    assert_eq!(status, 0, "{err}");
    assert_eq!(std::fs::read(data.file("master.key")).unwrap(), key);
    is_serving(&mut data.serve(&[]));
}

#[test]
fn a_server_whose_database_file_was_replaced_stops() {
    let data = Data::new();
    let mut server = data.serve(&[]);
    is_serving(&mut server);
    std::fs::rename(data.file("crossfade.db"), data.file("aside.db")).unwrap();
    std::fs::copy(data.file("aside.db"), data.file("crossfade.db")).unwrap();
    assert_eq!(server.wait().code(), Some(1));
}

#[tokio::test]
async fn another_postgres_database_or_schema_becomes_no_new_instance() {
    let (Some(own), Some(empty)) = (Place::database().await, Place::database().await) else { return };
    let Location::Postgres(url) = &own.location else { panic!("not PostgreSQL") };
    let Location::Postgres(elsewhere) = &empty.location else { panic!("not PostgreSQL") };
    let data = Data { directory: tempfile::tempdir().unwrap() };
    let (status, _, err) = init(&data, &["--database-url", url]).end();
    assert_eq!(status, 0, "{err}");
    own.raw("CREATE SCHEMA other").await;
    let mark = if url.contains('?') { '&' } else { '?' };
    let schema = format!("{}{mark}options=-csearch_path%3Dother", &**url);
    for wrong in [&**elsewhere, &*schema] {
        refuses(data.serve(&["--database-url", wrong]), 1, "a master key belongs to one instance");
        refuses(init(&data, &["--database-url", wrong]), 1, "a master key belongs to one instance");
        for command in [
            vec!["token", "create", "--user", "ada@example.com", "--name", "x"],
            vec!["owner", "recover", "--email", "ada@example.com"],
        ] {
            let place = ["--data-dir", data.path(), "--database-url", wrong];
            let arguments: Vec<&str> = command.into_iter().chain(place).collect();
            refuses(Running::start(&arguments), 1, "There is no instance in the PostgreSQL database");
        }
    }
    let tables = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema IN ('public', 'other')";
    assert_eq!(empty.number(tables).await, 0, "nothing was made");
    is_serving(&mut data.serve(&["--database-url", url]));
}

#[tokio::test]
async fn a_database_that_is_not_utf8_is_refused_by_every_local_command() {
    let Some(place) = Place::database().await else { return };
    let Location::Postgres(url) = &place.location else { panic!("not PostgreSQL") };
    let (server, name) = url.split('?').next().unwrap().rsplit_once('/').unwrap();
    let name = format!("{name}_latin1");
    let create =
        format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'");
    place.raw(&create).await;
    let latin1 = format!("{server}/{name}");
    let data = Data { directory: tempfile::tempdir().unwrap() };
    let says = "The database stores text as LATIN1";
    refuses(data.serve(&["--database-url", &latin1]), 1, says);
    refuses(init(&data, &["--database-url", &latin1]), 1, says);
    for command in [
        vec!["token", "create", "--user", "ada@example.com", "--name", "x"],
        vec!["owner", "recover", "--email", "ada@example.com"],
    ] {
        let place = ["--data-dir", data.path(), "--database-url", &latin1];
        let arguments: Vec<&str> = command.into_iter().chain(place).collect();
        refuses(Running::start(&arguments), 1, says);
    }
    assert!(!data.file("master.key").exists(), "no key is made for a database that is refused");
    place.raw(&format!("DROP DATABASE {name} WITH (FORCE)")).await;
}

/// `crossfade init` in a data directory.
fn init(data: &Data, more: &[&str]) -> Running {
    let mut arguments =
        vec!["init", "--data-dir", data.path(), "--owner-email", "ada@example.com", "--password-stdin"];
    arguments.extend(more);
    let mut init = Running::start(&arguments);
    init.0.stdin.take().unwrap().write_all(b"correct horse battery staple\n").unwrap();
    init
}

#[test]
fn a_master_key_file_that_holds_no_key_is_refused() {
    let data = Data::new();
    let whole = std::fs::read_to_string(data.file("master.key")).unwrap();
    let short = "crossfade-master-key-1:AAAAAAAAAAAAAAAAAAAAAA==\n";
    let without_header = whole.split(':').next_back().unwrap();
    for broken in ["", "\n", "not a key", short, &whole[..40], without_header] {
        std::fs::write(data.file("master.key"), broken).unwrap();
        refuses(data.serve(&[]), 1, "does not contain a Crossfade master key");
    }
    std::fs::write(data.file("master.key"), whole.repeat(2)).unwrap();
    refuses(data.serve(&[]), 1, " twice.");
    // Bytes that are no text, and a directory in its place, cannot be read even as root.
    std::fs::write(data.file("master.key"), [0xff, 0xfe]).unwrap();
    refuses(data.serve(&[]), 1, "master key file");
    std::fs::remove_file(data.file("master.key")).unwrap();
    std::fs::create_dir(data.file("master.key")).unwrap();
    refuses(data.serve(&[]), 1, "cannot be read");
}

#[test]
fn a_master_key_that_cannot_be_written_stops_a_new_instance() {
    let directory = tempfile::tempdir().unwrap();
    let (data, key) = (directory.path().join("data"), directory.path().join("nowhere/master.key"));
    let arguments = [
        "serve",
        "--data-dir",
        data.to_str().unwrap(),
        "--listen",
        "127.0.0.1:0",
        "--master-key-file",
        key.to_str().unwrap(),
    ];
    refuses(Running::start(&arguments), 1, "cannot be written");
}

/// SQL of a migration that this program does not know.
const OF_THE_FUTURE: &str =
    "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
     SELECT 9999, 'of the future', success, checksum, execution_time FROM _sqlx_migrations WHERE version = 1";

#[tokio::test]
async fn a_database_of_a_newer_version_is_served_only_if_it_permits_that() {
    let data = Data::new();
    raw(&data.file("crossfade.db"), OF_THE_FUTURE).await;
    let mut server = data.serve(&[]);
    is_serving(&mut server);
    drop(server);
    let requires_newer = "UPDATE oldest_program SET schema_version = 9999, program_version = '9.9.9'";
    raw(&data.file("crossfade.db"), requires_newer).await;
    refuses(data.serve(&[]), 1, "requires Crossfade 9.9.9 (schema 9999) or later, but this is Crossfade 0.");
}

#[test]
fn a_file_that_is_no_database_is_not_served_and_left_alone() {
    let data = Data::new();
    let text = "This is a letter and not a database.\n".repeat(100);
    for name in ["crossfade.db-wal", "crossfade.db-shm"] {
        drop(std::fs::remove_file(data.file(name)));
    }
    std::fs::write(data.file("crossfade.db"), &text).unwrap();
    refuses(data.serve(&[]), 1, "crossfade.db");
    assert_eq!(std::fs::read_to_string(data.file("crossfade.db")).unwrap(), text);
}

#[test]
fn an_address_in_use_is_said_before_anything_is_made() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let arguments = ["serve", "--data-dir", data.to_str().unwrap(), "--listen", &address];
    refuses(Running::start(&arguments), 1, "is already in use");
    assert!(!data.exists());
}

#[test]
fn a_data_directory_that_cannot_be_made_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "x").unwrap();
    // Below a regular file nothing can be made, also not by root.
    for path in [file.join("data"), file.join("deep/data")] {
        let arguments = ["serve", "--data-dir", path.to_str().unwrap(), "--listen", "127.0.0.1:0"];
        refuses(Running::start(&arguments), 1, "Cannot create the data directory");
    }
    let arguments = ["serve", "--data-dir", file.to_str().unwrap(), "--listen", "127.0.0.1:0"];
    refuses(Running::start(&arguments), 1, file.to_str().unwrap());
}

#[test]
fn a_second_server_on_the_same_database_is_refused_until_the_first_ends() {
    let data = Data::new();
    let mut first = data.serve(&[]);
    is_serving(&mut first);
    refuses(data.serve(&[]), 1, "nother crossfade serve is already using this database");
    assert!(first.0.try_wait().unwrap().is_none(), "the first serves on");
    drop(first);
    let mut second = data.serve(&[]);
    is_serving(&mut second);
}

#[tokio::test]
async fn servers_share_a_postgres_database() {
    let Some(place) = Place::database().await else { return };
    let Location::Postgres(url) = &place.location else { panic!("not PostgreSQL") };
    let directory = tempfile::tempdir().unwrap();
    let data = Data { directory };
    let more = ["--database-url", url];
    let mut first = data.serve(&more);
    is_serving(&mut first);
    let mut second = data.serve(&more);
    is_serving(&mut second);
    assert!(first.0.try_wait().unwrap().is_none(), "the first serves on");
}

#[test]
fn a_database_url_that_leads_nowhere_is_refused_without_its_password() {
    let data = Data { directory: tempfile::tempdir().unwrap() };
    for (url, status) in [("mysql://u:hunter2@127.0.0.1/x", 2), ("/var/lib/crossfade.db", 2), ("", 2)] {
        refuses(data.serve(&["--database-url", url]), status, "database_url");
    }
    let (status, out, err) =
        data.serve(&["--database-url", "postgres://u:hunter2@127.0.0.1:notaport/x"]).end();
    assert_eq!((status, &*out), (1, ""), "{err}");
    assert!(!err.contains("hunter2") && without_warning(&err).lines().count() == 1, "{err}");
}

#[test]
fn settings_that_are_wrong_are_wrong_usage() {
    let data = Data { directory: tempfile::tempdir().unwrap() };
    for (flag, value) in [
        ("--trusted-proxies", "10.0.0.0/33"),
        ("--trusted-proxies", "proxy.example.com"),
        ("--log", "crossfade=loud"),
    ] {
        refuses(data.serve(&[flag, value]), 2, &flag[2..].replace('-', "_"));
    }
    for listen in ["8080", "localhost", "127.0.0.1", "127.0.0.1:99999", ""] {
        refuses(Running::start(&["serve", "--data-dir", data.path(), "--listen", listen]), 2, "listen");
    }
    assert_eq!(std::fs::read_dir(data.path()).unwrap().count(), 0, "nothing was made");
}

#[test]
fn a_public_url_that_is_wrong_is_wrong_usage() {
    let data = Data { directory: tempfile::tempdir().unwrap() };
    for url in [
        "auth.example.com",
        "http://auth.example.com",
        "https://auth.example.com/path",
        "https://auth.example.com?x",
        "https://u@auth.example.com",
        "ftp://auth.example.com",
        "",
    ] {
        refuses(data.serve(&["--public-url", url]), 2, "public_url");
    }
}

#[test]
fn a_settings_file_is_read_strictly() {
    let data = Data { directory: tempfile::tempdir().unwrap() };
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    for (text, says) in [
        ("lisen = \"127.0.0.1:0\"\n", "lisen"),
        ("listen = 8080\n", "listen"),
        ("listen = \n", path),
        ("[server]\nlisten = \"127.0.0.1:0\"\n", "server"),
        ("database_url = postgres://u:hunter2@127.0.0.1/x\n", path),
    ] {
        std::fs::write(path, text).unwrap();
        let (_, _, err) = data.serve(&["--config", path]).end();
        assert!(!err.contains("hunter2"), "a password of the file is repeated: {err}");
        refuses(data.serve(&["--config", path]), 2, says);
    }
}

#[test]
fn a_settings_file_that_is_not_there_is_refused() {
    let data = Data { directory: tempfile::tempdir().unwrap() };
    let missing = data.file("none.toml");
    refuses(data.serve(&["--config", missing.to_str().unwrap()]), 1, "Cannot read");
}

#[test]
fn a_command_line_that_is_wrong_ends_with_2() {
    let rotate = ["secret", "rotate", "Billing", "--env", "production", "--show", "--transition"];
    for hours in ["169h", "-1h", "1.5h", "", "24m", "1e3"] {
        let transition = format!("--transition={hours}");
        let mut arguments = rotate[..6].to_vec();
        arguments.push(&transition);
        wrong_usage(&arguments, "0 to 168");
    }
    wrong_usage(&rotate[..6], "--transition");
    wrong_usage(&["serve", "--lisen", "127.0.0.1:0"], "--lisen");
    wrong_usage(&["serv"], "serv");
    wrong_usage(&["init", "--owner-email", "ada@example.com"], "--password-stdin");
}

#[test]
fn a_local_command_in_the_wrong_directory_makes_no_database() {
    let data = Data { directory: tempfile::tempdir().unwrap() };
    let missing = data.file("elsewhere");
    let missing = missing.to_str().unwrap();
    let arguments = ["token", "create", "--user", "ada@example.com", "--name", "x", "--data-dir", missing];
    refuses(Running::start(&arguments), 1, "does not exist");
    assert!(!std::path::Path::new(missing).exists());
}

#[test]
fn beyond_loopback_the_public_url_must_be_said() {
    let data = Data { directory: tempfile::tempdir().unwrap() };
    refuses(
        Running::start(&["serve", "--listen", "0.0.0.0:0", "--data-dir", data.path()]),
        2,
        "public_url must be set",
    );
}

#[test]
fn a_first_owner_is_made_once() {
    let data = Data::new();
    let mut again = Running::start(&[
        "init",
        "--data-dir",
        data.path(),
        "--owner-email",
        "eve@example.com",
        "--password-stdin",
    ]);
    again.0.stdin.take().unwrap().write_all(b"another sentence altogether\n").unwrap();
    refuses(again, 5, "already has an Owner");
    refuses(
        Running::start(&["owner", "recover", "--data-dir", data.path(), "--email", "eve@example.com"]),
        3,
        "No Owner has the email address",
    );
    refuses(
        Running::start(&[
            "token",
            "create",
            "--data-dir",
            data.path(),
            "--user",
            "eve@example.com",
            "--name",
            "ci",
        ]),
        3,
        "There is no user",
    );
    let create = ["token", "create", "--data-dir", data.path(), "--user", "ada@example.com", "--name", "ci"];
    wrong_usage(&[&create[..], &["--scope", "secret:everything"]].concat(), "secret:everything");
}

#[test]
fn a_short_password_makes_no_owner() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    for password in [&b"short\n"[..], b"\n", b""] {
        let mut init = Running::start(&[
            "init",
            "--data-dir",
            path,
            "--owner-email",
            "ada@example.com",
            "--password-stdin",
        ]);
        init.0.stdin.take().unwrap().write_all(password).unwrap();
        refuses(init, 1, "password");
    }
}

#[test]
fn local_commands_work_while_a_server_runs_and_print_data_alone() {
    use std::os::unix::fs::PermissionsExt;
    let data = Data::new();
    let mut server = data.serve(&[]);
    is_serving(&mut server);
    let arguments = [
        "token",
        "create",
        "--data-dir",
        data.path(),
        "--user",
        "ada@example.com",
        "--name",
        "ci",
        "--expires-days",
        "30",
    ];
    let (status, out, err) = Running::start(&arguments).end();
    assert_eq!((status, &*err), (0, ""));
    assert!(out.starts_with("crossfade_api_") && out.lines().count() == 1, "one token, alone");
    let (status, out, _) =
        Running::start(&["owner", "recover", "--data-dir", data.path(), "--email", "ada@example.com"]).end();
    assert_eq!((status, out.lines().count(), out.contains("/console/link#crossfade_link_")), (0, 1, true));
    for name in ["crossfade.db", "master.key"] {
        let mode = std::fs::metadata(data.file(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn a_new_instance_prints_its_set_up_link_alone_on_stdout() {
    let data = Data { directory: tempfile::tempdir().unwrap() };
    let mut server = data.serve(&[]);
    is_serving(&mut server);
    drop(server.0.kill());
    let mut out = String::new();
    server.0.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    assert!(out.contains("/console/link#crossfade_link_") && out.lines().count() == 1);
}

/// When the tests run as root, the owner of the file says nothing; tests/packages runs the program as another user.
#[test]
fn a_server_writes_no_core_dump_and_hides_its_memory() {
    use std::os::unix::fs::MetadataExt;
    let data = Data::new();
    let mut server = data.serve(&[]);
    is_serving(&mut server);
    let of = |name: &str| PathBuf::from(format!("/proc/{}/{name}", server.0.id()));
    let limits = std::fs::read_to_string(of("limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"]);
    assert_eq!(std::fs::metadata(of("environ")).unwrap().uid(), 0);
    let (_, out, _) = Running::start(&["doctor", "--data-dir", data.path(), "--json"]).end();
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    let check = report["checks"].as_array().unwrap().iter().find(|it| it["name"] == "core_dumps").unwrap();
    assert_eq!(check["outcome"], "ok", "{check}");
}
