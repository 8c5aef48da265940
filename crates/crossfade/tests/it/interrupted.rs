//! Commands that a signal ends while the server does not answer.

use crate::start::Data;
use std::{
    io::Read,
    net::TcpListener,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, ExitStatus, Stdio},
};

/// Runs a command until its first request has arrived, ends it by a signal, and returns how it ended and its stderr.
fn interrupted(arguments: &[&str], signal: &str) -> (ExitStatus, String) {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_crossfade"))
        .args(arguments)
        .env_clear()
        .env("CROSSFADE_URL", format!("http://{}", server.local_addr().unwrap()))
        .env("CROSSFADE_TOKEN", "crossfade_api_x")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut asked, _) = server.accept().unwrap();
    assert!(asked.read(&mut [0; 1024]).unwrap() > 0);
    let pid = command.id().to_string();
    assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    let mut err = String::new();
    command.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    (command.wait().unwrap(), err)
}

#[test]
fn an_interrupted_command_leaves_no_empty_file_and_says_that_the_outcome_is_unknown() {
    let data = Data::new();
    let file = data.file("value");
    let path = file.to_str().unwrap();
    let user = ["user", "create", "--email", "grace@example.com"];
    let link = ["user", "link", "usr_0000000000000000000001"];
    for command in [&user[..], &link[..]] {
        for (signal, status) in [("-INT", 130), ("-TERM", 143), ("-HUP", 129)] {
            let (ended, err) = interrupted(&[command, &["--output", path]].concat(), signal);
            assert_eq!(ended.code(), Some(status), "{command:?} {signal} {err}");
            let removed =
                format!("it is unknown whether the change was made. Removed the empty file {path}.");
            assert!(err.contains(&removed), "{command:?} {signal} {err}");
            assert!(!Path::new(path).exists(), "{command:?} {signal}");
        }
        let (ended, err) = interrupted(&[command, &["--show"]].concat(), "-TERM");
        assert_eq!(ended.code(), Some(143), "{err}");
        assert!(err.contains("it is unknown whether the change was made. Check"), "{command:?} {err}");
    }
}

#[test]
fn an_interrupted_read_says_nothing_of_a_change() {
    let (ended, err) = interrupted(&["client", "list"], "-TERM");
    assert_eq!((ended.signal(), &*err), (Some(15), ""));
}
