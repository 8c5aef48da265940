//! What the real program makes of its environment: variables, proxies, terminals that are none.

use crate::{
    database::Place,
    start::{Data, Running, is_serving, refuses},
};
use crossfade_store::Location;
use std::{
    io::{Read, Write},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

/// Runs the program with these variables, and no other.
fn with(variables: &[(&str, &str)], arguments: &[&str]) -> Running {
    let child = Command::new(env!("CARGO_BIN_EXE_crossfade"))
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    Running(child)
}

/// A place that takes connections, and tells what each of them sent first.
fn listener() -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut said = [0; 4096];
            let length = stream.read(&mut said).unwrap_or(0);
            drop(
                stream
                    .write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
            );
            if sender.send(String::from_utf8_lossy(&said[..length]).into_owned()).is_err() {
                return;
            }
        }
    });
    (address.to_string(), receiver)
}

#[test]
fn a_misspelt_variable_starts_no_server_and_makes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("data");
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--data-dir", place.to_str().unwrap()];
    for (name, nearest) in [
        ("CROSSFADE_DATABASE_URI", "CROSSFADE_DATABASE_URL"),
        ("CROSSFADE_MASTERKEY_FILE", "CROSSFADE_MASTER_KEY_FILE"),
        ("CROSSFADE_LOGS", "CROSSFADE_LOG"),
    ] {
        refuses(with(&[(name, "x")], &arguments), 2, &format!("Set {nearest}"));
    }
    refuses(with(&[("CROSSFADE_TOKN", "x")], &["client", "list"]), 2, "Set CROSSFADE_TOKEN");
    assert!(!place.exists(), "nothing was made");
}

#[test]
fn an_empty_variable_that_names_a_place_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("data");
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--data-dir", place.to_str().unwrap()];
    for name in [
        "CROSSFADE_DATABASE_URL",
        "CROSSFADE_DATABASE_URL_FILE",
        "CROSSFADE_MASTER_KEY_FILE",
        "CROSSFADE_CONFIG",
    ] {
        refuses(with(&[(name, "")], &arguments), 2, &format!("{name} is set to an empty value"));
    }
    assert!(!place.exists(), "nothing was made");
    // As wrong in a file or as a flag.
    let file = directory.path().join("settings.toml");
    for (line, says) in [
        ("log = \"\"", "log must not"),
        ("data_dir = \"\"", "data_dir must not"),
        ("database_url = \"\"", "database_url must"),
    ] {
        std::fs::write(&file, line).unwrap();
        refuses(
            with(&[], &["serve", "--listen", "127.0.0.1:0", "--config", file.to_str().unwrap()]),
            2,
            says,
        );
    }
    refuses(with(&[], &[&arguments[..], &["--log", ""]].concat()), 2, "log must not be empty");
}

#[test]
fn other_empty_variables_are_unset_and_those_of_kubernetes_are_none() {
    let data = Data::new();
    let variables = [
        ("CROSSFADE_LOG", ""),
        ("CROSSFADE_LOG_FORMAT", ""),
        ("CROSSFADE_LISTEN", ""),
        ("CROSSFADE_PUBLIC_URL", ""),
        ("CROSSFADE_TRUSTED_PROXIES", ""),
        ("CROSSFADE_MAX_CONNECTIONS", ""),
        ("CROSSFADE_AUDIT_RETENTION_DAYS", ""),
        ("CROSSFADE_URL", ""),
        ("CROSSFADE_SERVICE_HOST", "10.0.0.7"),
        ("CROSSFADE_PORT", "tcp://10.0.0.7:8080"),
        ("CROSSFADE_PORT_8080_TCP_ADDR", "10.0.0.7"),
    ];
    let mut server = with(&variables, &["serve", "--data-dir", data.path(), "--listen", "127.0.0.1:0"]);
    let said = is_serving(&mut server);
    assert!(said.contains("connection limits"), "the log is written: {said}");
}

#[tokio::test]
async fn a_database_url_is_read_from_a_file_and_its_password_is_no_argument() {
    let data = Data::new();
    let file = data.file("url");
    // On both engines: what stands in the file is what counts.
    let mut urls = vec![format!("sqlite:{}", data.file("crossfade.db").display())];
    let place = Place::database().await;
    if let Some(Location::Postgres(url)) = place.as_ref().map(|place| &place.location) {
        urls.push(url.to_string());
    }
    let other = tempfile::tempdir().unwrap();
    for url in urls {
        std::fs::write(&file, format!("{url}\n")).unwrap();
        let key =
            if url.starts_with("sqlite") { data.file("master.key") } else { other.path().join("master.key") };
        let key = key.to_str().unwrap().to_owned();
        let path = file.to_str().unwrap();
        let arguments =
            ["serve", "--listen", "127.0.0.1:0", "--master-key-file", &key, "--database-url-file", path];
        let mut server = with(&[], &arguments);
        let said = is_serving(&mut server);
        assert!(!said.contains("Warning"), "{said}");
        drop(server);
        for (mode, warns) in [(0o644, true), (0o600, false), (0o440, false)] {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            let mut server = with(&[], &arguments);
            let said = is_serving(&mut server);
            assert_eq!(said.contains("Every user of this machine has access to"), warns, "{mode:o} {said}");
            drop(server);
            // A password that the server does not ask for makes the settings file one to keep from others.
            let has_password = url.starts_with("postgres");
            let url = if has_password { url.replacen("@", ":unused@", 1) } else { url.clone() };
            let config = data.file("crossfade.toml");
            std::fs::write(&config, format!("database_url = \"{url}\"\n")).unwrap();
            std::fs::set_permissions(&config, std::fs::Permissions::from_mode(mode)).unwrap();
            let by_config = ["serve", "--listen", "127.0.0.1:0", "--master-key-file", &key, "--config"];
            let mut server = with(&[], &[&by_config[..], &[config.to_str().unwrap()]].concat());
            let said = is_serving(&mut server);
            let is_told = said.contains("Every user of this machine has access to");
            assert_eq!(is_told, warns && has_password, "{mode:o} {said}");
        }
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let both = [&arguments[..], &["--database-url", &url]].concat();
        refuses(with(&[], &both), 2, "must not both be set");
    }
    std::fs::write(&file, "\n").unwrap();
    refuses(with(&[], &["serve", "--database-url-file", file.to_str().unwrap()]), 2, "is empty");
    std::fs::remove_file(&file).unwrap();
    refuses(with(&[], &["serve", "--database-url-file", file.to_str().unwrap()]), 1, "Cannot read");
}

#[test]
fn a_password_among_the_arguments_is_warned_of() {
    for (url, warns) in [
        ("postgres://u:hunter2@127.0.0.1:1/x", true),
        ("postgres://u@127.0.0.1:1/x?password=hunter2", true),
        ("postgres://u@127.0.0.1:1/x", false),
    ] {
        let arguments = ["doctor", "--listen", "127.0.0.1:0"];
        let (_, out, err) = with(&[], &[&arguments[..], &["--database-url", url]].concat()).end();
        assert_eq!(err.contains("can read the password in --database-url"), warns, "{err}");
        assert!(!err.contains("hunter2") && !out.contains("hunter2"), "{out}{err}");
        let (_, _, err) = with(&[("CROSSFADE_DATABASE_URL", url)], &arguments).end();
        assert!(!err.contains("Warning"), "{err}");
    }
}

#[test]
fn a_master_key_that_everybody_can_read_is_refused_and_one_of_a_group_is_not() {
    let data = Data::new();
    let mode = |mode| {
        std::fs::set_permissions(data.file("master.key"), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(0o444);
    let says = "Every user of this machine has access to the master key file";
    refuses(data.serve(&[]), 1, says);
    let token = ["token", "create", "--user", "ada@example.com", "--name", "x", "--data-dir", data.path()];
    refuses(Running::start(&token), 1, says);
    refuses(
        Running::start(&["owner", "recover", "--email", "ada@example.com", "--data-dir", data.path()]),
        1,
        says,
    );
    mode(0o440);
    is_serving(&mut data.serve(&[]));
}

#[test]
fn a_command_speaks_to_this_machine_past_every_proxy() {
    let data = Data::new();
    let mut server = data.serve(&[]);
    let said = is_serving(&mut server);
    let url = said.split("Serving ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    let token = ["token", "create", "--data-dir", data.path(), "--user", "ada@example.com", "--name", "ci"];
    let (_, token, _) = Running::start(&token).end();
    let (proxy, seen) = listener();
    let proxy = format!("http://{proxy}");
    let variables = [
        ("http_proxy", &*proxy),
        ("HTTP_PROXY", &proxy),
        ("all_proxy", &proxy),
        ("ALL_PROXY", &proxy),
        ("CROSSFADE_TOKEN", token.trim_end()),
    ];
    for url in [url.clone(), url.replace("127.0.0.1", "localhost")] {
        let (status, out, err) = with(&variables, &["client", "list", "--json", "--url", &url]).end();
        assert_eq!((status, &*out, &*err), (0, "[]\n", ""), "{url}");
    }
    assert!(seen.recv_timeout(Duration::from_millis(100)).is_err(), "the proxy was asked");
}

#[test]
fn a_token_is_not_sent_unencrypted_to_another_machine() {
    // Whoever is on the way, as a proxy is, sees what is sent.
    let (proxy, seen) = listener();
    let proxy = format!("http://{proxy}");
    let variables = [("http_proxy", &*proxy), ("CROSSFADE_TOKEN", "crossfade_api_secret")];
    let command = ["whoami", "--url", "http://auth.example.com"];
    refuses(with(&variables, &command), 2, "unencrypted to auth.example.com. Nothing was sent.");
    assert!(seen.recv_timeout(Duration::from_millis(200)).is_err(), "something was sent");
    let (status, _, err) = with(&variables, &[&command[..], &["--insecure-http"]].concat()).end();
    assert!(status == 1 && err.contains("Warning: the API token is sent unencrypted"), "{err}");
    assert!(seen.recv_timeout(Duration::from_secs(5)).unwrap().contains("auth.example.com"));
    for (url, says) in [
        ("https://ada:hunter2@auth.example.com", "must not contain a user"),
        ("https://auth.example.com/?x", "must not contain ?"),
        ("ftp://auth.example.com", "must start with"),
    ] {
        let (status, _, err) = with(&variables, &["whoami", "--url", url]).end();
        assert!(status == 2 && err.contains(says) && !err.contains("hunter2"), "{url}: {err}");
    }
}

#[test]
fn what_a_server_answers_does_not_steer_a_terminal() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let steering = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}2J\u{202e}x";
    thread::spawn(move || {
        let problem = serde_json::json!({
            "type": "about:blank", "title": steering, "status": 403, "detail": steering, "code": steering,
        });
        let body = problem.to_string();
        for mut stream in listener.incoming().map_while(Result::ok) {
            drop(stream.read(&mut [0; 4096]));
            let head = format!(
                "HTTP/1.1 403 Forbidden\r\nContent-Type: application/problem+json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            drop(stream.write_all(format!("{head}{body}").as_bytes()));
        }
    });
    let variables = [("CROSSFADE_TOKEN", "crossfade_api_x")];
    let (status, out, err) = with(&variables, &["whoami", "--url", &url]).end();
    assert_eq!((status, &*out), (4, ""), "{err:?}");
    assert!(err.contains("[2J"), "it is there, and harmless: {err:?}");
    let steers = |letter: char| letter.is_control() && letter != '\n' || letter == '\u{202e}';
    assert!(!err.chars().any(steers), "{err:?}");
}
