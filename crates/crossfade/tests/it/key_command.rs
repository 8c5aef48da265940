//! A master key that comes from a command: only the settings file names it, and nothing of the key is told.

use crate::start::{Data, Running, is_serving, refuses};
use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// An instance whose key is elsewhere, and settings that name a command.
struct Commanded {
    data: Data,
    key: PathBuf,
    config: PathBuf,
}

impl Commanded {
    fn new() -> Self {
        let data = Data::new();
        let (key, config) = (data.file("elsewhere"), data.file("settings.toml"));
        std::fs::rename(data.file("master.key"), &key).unwrap();
        let it = Self { data, key, config };
        it.runs(&["/bin/cat", it.key.to_str().unwrap()]);
        it
    }

    /// Sets the words of the command.
    fn runs(&self, words: &[&str]) {
        std::fs::write(&self.config, format!("master_key_command = {words:?}\n")).unwrap();
        mode(&self.config, 0o644);
    }

    fn start(&self, command: &[&str]) -> Running {
        let more = ["--data-dir", self.data.path(), "--config", self.config.to_str().unwrap()];
        Running::start(&[command, &more].concat())
    }

    fn serve(&self) -> Running {
        self.start(&["serve", "--listen", "127.0.0.1:0"])
    }

    /// A program with this script.
    fn script(&self, script: &str) -> PathBuf {
        let path = self.data.file("program");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        mode(&path, 0o755);
        path
    }

    /// What the server says until it ends.
    fn failure(&self) -> String {
        let (status, out, err) = self.serve().end();
        assert_eq!((status, &*out), (1, ""), "{err}");
        err
    }
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_command_returns_the_key_and_a_rotation_takes_the_first_one() {
    let it = Commanded::new();
    is_serving(&mut it.serve());
    refuses(it.start(&["keys", "rotate"]), 1, "Make the command return a new key on the first line");
    let new = std::fs::read_to_string(Data::new().file("master.key")).unwrap();
    let both = new.clone() + &std::fs::read_to_string(&it.key).unwrap();
    std::fs::write(&it.key, both).unwrap();
    let (status, out, err) = it.start(&["keys", "rotate", "--json"]).end();
    assert!(status == 0 && out.contains("\"is_new\": false"), "{out}{err}");
    assert!(!(out + &err).contains(new.trim().rsplit(':').next().unwrap()));
    std::fs::write(&it.key, new).unwrap();
    is_serving(&mut it.serve());
    assert!(!it.data.file("master.key").exists(), "no key is written");
}

#[test]
fn an_instance_is_created_with_the_key_of_a_command_only_on_request() {
    let it = Commanded::new();
    for name in ["crossfade.db", "crossfade.db-wal", "crossfade.db-shm"] {
        drop(std::fs::remove_file(it.data.file(name)));
    }
    refuses(it.serve(), 1, "a master key belongs to one instance");
    assert!(!it.data.file("crossfade.db").exists(), "nothing was made");
    let mut init =
        it.start(&["init", "--new-instance", "--owner-email", "ada@example.com", "--password-stdin"]);
    std::io::Write::write_all(&mut init.0.stdin.take().unwrap(), b"correct horse battery staple\n").unwrap();
    let (status, _, err) = init.end();
    assert_eq!(status, 0, "{err}");
    is_serving(&mut it.serve());
}

#[test]
fn no_variable_and_no_flag_makes_a_command_run() {
    let it = Commanded::new();
    let ran = it.data.file("ran");
    it.runs(&["/usr/bin/touch", ran.to_str().unwrap()]);
    let config = it.config.to_str().unwrap();
    for (name, value, says) in [
        ("CROSSFADE_CONFIG", config, "because CROSSFADE_CONFIG names that file"),
        ("CROSSFADE_MASTER_KEY_COMMAND", "/usr/bin/touch", "CROSSFADE_MASTER_KEY_FILE"),
    ] {
        let child = Command::new(env!("CARGO_BIN_EXE_crossfade"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir", it.data.path()])
            .env_clear()
            .env(name, value)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        refuses(Running(child), 2, says);
    }
    let (status, ..) = it.start(&["serve", "--master-key-command", "/usr/bin/touch"]).end();
    assert_eq!(status, 2);
    assert!(!ran.exists());
}

#[test]
fn a_command_that_others_can_choose_is_not_run() {
    let it = Commanded::new();
    for bad in [0o664, 0o646] {
        mode(&it.config, bad);
        refuses(it.serve(), 1, "can change");
    }
    it.runs(&["cat", "/x"]);
    refuses(it.serve(), 2, "must begin with the absolute path of a program");
    it.runs(&[]);
    refuses(it.serve(), 2, "must begin with the absolute path of a program");
    let program = it.script("cat elsewhere");
    it.runs(&[program.to_str().unwrap()]);
    mode(&program, 0o777);
    assert!(it.failure().contains("can change the program"));
    let text = format!("master_key_command = [\"/bin/cat\"]\nmaster_key_file = {:?}\n", it.key);
    std::fs::write(&it.config, text).unwrap();
    refuses(it.serve(), 2, "must not both be set");
}

#[test]
fn a_command_that_fails_is_told_in_one_sentence_and_without_the_key() {
    let it = Commanded::new();
    let key = std::fs::read_to_string(&it.key).unwrap();
    let encoded = key.trim().rsplit(':').next().unwrap();
    let file = it.key.display();
    for (script, says) in [
        (
            format!("cat {file}; echo used {encoded} >&2; echo vault is sealed >&2; exit 3"),
            "failed (exit status: 3)",
        ),
        ("exit 0".to_owned(), "does not contain a Crossfade master key"),
        ("echo not a key".to_owned(), "does not contain a Crossfade master key"),
        (format!("head -c 60 {file}"), "does not contain a Crossfade master key"),
        ("head -c 100000 /dev/zero; exit 0".to_owned(), "returned more than 65536 bytes"),
        ("kill -9 $$".to_owned(), "failed (signal: 9 (SIGKILL))"),
    ] {
        let program = it.script(&script);
        it.runs(&[program.to_str().unwrap(), "argument-with-a-password"]);
        let told = it.failure();
        let last = told.lines().last().unwrap();
        assert!(last.starts_with("crossfade: The master key command /") && last.contains(says), "{told}");
        assert!(last.ends_with("Nothing was changed."), "{last}");
        assert!(!told.contains(&encoded[..20]) && !told.contains("password"), "{told}");
        assert_eq!(told.contains("vault is sealed"), script.contains("vault"), "{told}");
    }
    it.runs(&["/nowhere/program"]);
    assert!(it.failure().contains("cannot be found"));
}

#[test]
fn doctor_runs_the_command_as_well() {
    let it = Commanded::new();
    let doctor = || it.start(&["doctor", "--listen", "127.0.0.1:0"]).end().1;
    assert!(doctor().contains("The master key opens 2 data keys"), "{}", doctor());
    it.runs(&["/bin/false"]);
    assert!(doctor().contains("The master key command /bin/false failed (exit status: 1)"), "{}", doctor());
}
