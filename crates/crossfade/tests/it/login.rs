//! `crossfade login`, with the real program and server. Where a person looks at a browser, this sends what the browser
//! sends.

use crate::commands::{Ended, Site};
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

/// A person's home and the server.
struct Home {
    site: Site,
    cookies: String,
}

impl Home {
    fn new() -> Self {
        let site = Site::new();
        let form = [("email", "ada@example.com"), ("password", "correct horse battery staple")];
        let answer = post(&site.url, "/console/sign-in", "", &form);
        let cookies: Vec<_> = answer
            .lines()
            .filter_map(|line| line.strip_prefix("set-cookie: ")?.split(';').next())
            .map(str::to_owned)
            .collect();
        assert_eq!(cookies.len(), 2, "{answer}");
        Self { site, cookies: cookies.join("; ") }
    }

    fn config(&self) -> PathBuf {
        self.site.data.file("home")
    }

    fn profile(&self, name: &str) -> PathBuf {
        self.config().join(format!("crossfade/profiles/{name}.json"))
    }

    /// A command without CROSSFADE_TOKEN and CROSSFADE_URL.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_crossfade"));
        command.args(arguments).env_clear().env("XDG_CONFIG_HOME", self.config());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        ended(self.command(arguments).stdin(Stdio::null()).spawn().unwrap())
    }

    #[track_caller]
    fn does(&self, arguments: &[&str]) -> String {
        let ended = self.run(arguments);
        assert_eq!(ended.status, 0, "{arguments:?}: {ended:?}");
        ended.out
    }

    #[track_caller]
    fn refuses(&self, arguments: &[&str], status: i32, says: &str) {
        let ended = self.run(arguments);
        assert_eq!((ended.status, &*ended.out), (status, ""), "{arguments:?}: {ended:?}");
        assert!(ended.err.contains(says), "{says:?} is missing: {ended:?}");
    }

    /// Approves the command line that asks with this address; the page.
    fn approve(&self, address: &str) -> String {
        let (_, query) = address.split_once('?').unwrap();
        let fields: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let fields: Vec<_> = fields
            .iter()
            .flat_map(|(name, value)| match &**name {
                "scope" => value.split(' ').map(|word| ("scope", word)).collect(),
                name => vec![(name, &**value)],
            })
            .collect();
        let page = post(&self.site.url, "/console/command-line", &self.cookies, &fields);
        assert!(page.starts_with("HTTP/1.1 200"), "{page}");
        page
    }

    /// Signs in with a code that is typed.
    fn types_code(&self, more: &[&str]) -> Ended {
        let arguments = [&["login", "--no-browser", "--url", &self.site.url], more].concat();
        let mut child = self.command(&arguments).spawn().unwrap();
        let mut err = BufReader::new(child.stderr.take().unwrap());
        let address = loop {
            let mut line = String::new();
            assert_ne!(err.read_line(&mut line).unwrap(), 0, "no address");
            if line.starts_with(&self.site.url) {
                break line;
            }
        };
        let page = self.approve(address.trim());
        let code =
            page.split("<pre id=\"login-code\" tabindex=\"0\">").nth(1).unwrap().split('<').next().unwrap();
        writeln!(child.stdin.take().unwrap(), "{}", code.to_lowercase()).unwrap();
        let mut said = String::new();
        err.read_to_string(&mut said).unwrap();
        Ended { err: said, ..ended(child) }
    }
}

fn ended(mut child: Child) -> Ended {
    let (mut out, mut err) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_string(&mut err).unwrap();
    }
    Ended { status: child.wait().unwrap().code().unwrap(), out, err }
}

/// Sends a form as a browser does; the whole answer.
fn post(url: &str, path: &str, cookies: &str, fields: &[(&str, &str)]) -> String {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    send(
        url,
        &format!(
            "POST {path} HTTP/1.1\r\nCookie: {cookies}\r\nSec-Fetch-Site: same-origin\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n",
            body.len()
        ),
        &body,
    )
}

fn send(url: &str, head: &str, body: &str) -> String {
    let address = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "{head}Host: {address}\r\nConnection: close\r\n\r\n{body}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_typed_code_signs_in_and_a_profile_does_the_rest() {
    let home = Home::new();
    home.refuses(&["whoami"], 2, "Run crossfade login");
    let ended = home.types_code(&["--profile", "work", "--scope", "client:read", "--expires-days", "7"]);
    assert_eq!((ended.status, &*ended.out), (0, ""), "{ended:?}");
    assert!(ended.err.contains("as ada@example.com") && ended.err.contains("The profile work"), "{ended:?}");
    let path = home.profile("work");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let me: serde_json::Value = serde_json::from_str(&home.does(&["whoami", "--json"])).unwrap();
    assert_eq!(
        (&me["user"]["email"], &me["scope"]),
        (&"ada@example.com".into(), &serde_json::json!(["client:read"]))
    );
    let listed = home.does(&["profile", "list"]);
    assert!(
        listed.contains("work") && listed.contains('*') && !listed.contains("crossfade_api_"),
        "{listed}"
    );
    // Signed in again, the earlier token ends.
    let earlier = fs::read_to_string(&path).unwrap();
    let earlier: serde_json::Value = serde_json::from_str(&earlier).unwrap();
    assert_eq!(home.types_code(&["--profile", "work"]).status, 0);
    let refused = home.site.run_as(earlier["token"].as_str().unwrap(), &["whoami"]);
    assert_eq!(refused.status, 4, "{refused:?}");
    home.does(&["whoami"]);
    assert_eq!(home.run(&["logout"]).status, 0);
    assert!(!path.exists());
    home.refuses(&["whoami"], 2, "Run crossfade login");
}

#[test]
fn the_browser_brings_the_code_back() {
    let home = Home::new();
    let (opened, browser) = (home.site.data.file("opened"), home.site.data.file("browser"));
    fs::write(
        &browser,
        format!("#!/bin/sh\nprintf %s \"$1\" > {0}.part && mv {0}.part {0}\n", opened.display()),
    )
    .unwrap();
    fs::set_permissions(&browser, fs::Permissions::from_mode(0o755)).unwrap();
    let mut child = home.command(&["login", "--url", &home.site.url]);
    let child = child.env("BROWSER", &browser).env("PATH", "/usr/bin:/bin").spawn().unwrap();
    let address = (0..3000)
        .find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(20));
            fs::read_to_string(&opened).ok()
        })
        .expect("the address in the browser");
    let page = home.approve(&address);
    let back = page.lines().find_map(|line| line.strip_prefix("refresh: 0; url=")).expect("a way back");
    let (base, query) = back.trim().split_once("/?").unwrap();
    let strange = send(base, "GET /?code=2345-6789-BCDF&state=someone-elses-state HTTP/1.1\r\n", "");
    assert!(strange.starts_with("HTTP/1.1 404"), "{strange}");
    let told = send(base, &format!("GET /?{query} HTTP/1.1\r\n"), "");
    assert!(told.contains("The command line is signed in."), "{told}");
    let ended = ended(child);
    assert_eq!((ended.status, &*ended.out), (0, ""), "{ended:?}");
    let name = "127.0.0.1";
    assert!(ended.err.contains(&format!("The profile {name}")), "{ended:?}");
    home.does(&["whoami", "--profile", name]);
    home.does(&["whoami", "--url", &home.site.url]);
    home.refuses(
        &["whoami", "--url", "http://127.0.0.1:9"],
        2,
        "You are not signed in at http://127.0.0.1:9.",
    );
    home.refuses(&["whoami", "--profile", name, "--url", "http://127.0.0.1:9"], 2, "Nothing was sent.");
    home.refuses(&["profile", "use", "other"], 3, "There is no profile other");
}

#[test]
fn a_token_that_ended_says_how_to_sign_in_again() {
    let home = Home::new();
    assert_eq!(home.types_code(&["--profile", "work"]).status, 0);
    let profile: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(home.profile("work")).unwrap()).unwrap();
    home.does(&["token", "delete", profile["token_id"].as_str().unwrap()]);
    home.refuses(&["whoami"], 4, "Run crossfade login --profile work.");
    // Nothing is left to end at the server.
    assert_eq!(home.run(&["logout"]).status, 0);
    assert!(!home.profile("work").exists());
}

#[test]
fn a_server_that_is_away_keeps_the_profile_unless_it_is_forgotten() {
    let home = Home::new();
    assert_eq!(home.types_code(&["--profile", "work"]).status, 0);
    let path = home.profile("work");
    let profile = fs::read_to_string(&path).unwrap();
    fs::write(&path, profile.replace(&home.site.url, "http://127.0.0.1:1")).unwrap();
    home.refuses(&["logout"], 1, "The profile was kept.");
    assert!(path.exists());
    let forgotten = home.run(&["logout", "--forget"]);
    assert!(forgotten.status == 0 && forgotten.err.contains("is valid until"), "{forgotten:?}");
    assert!(!path.exists());
}
