//! The commands against a real server: what stands on stdout and on stderr, and the status that scripts rely on.

use crate::start::{Data, Running, is_serving};
use serde_json::Value as Json;
use std::{
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    process::{Command, Output, Stdio},
};

/// A server with an Owner, and what is needed to speak to it.
pub struct Site {
    pub data: Data,
    pub url: String,
    pub token: String,
    server: Running,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub status: i32,
    pub out: String,
    pub err: String,
}

impl Site {
    pub fn new() -> Self {
        let data = Data::new();
        let mut server = data.serve(&[]);
        let said = is_serving(&mut server);
        let url = said.split("Serving ").nth(1).unwrap().split_whitespace().next().unwrap();
        let url = url.trim_end_matches(['.', ',']).to_owned();
        let token = token(&data, "ada@example.com", &[]);
        Self { data, url, token, server }
    }

    pub fn command(&self, token: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_crossfade"));
        command.args(arguments).env_clear().env("CROSSFADE_URL", &self.url).env("CROSSFADE_TOKEN", token);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn run_as(&self, token: &str, arguments: &[&str]) -> Ended {
        let Output { status, stdout, stderr } = self.command(token, arguments).output().unwrap();
        let status = status.code().expect("an exit status and no signal");
        Ended { status, out: String::from_utf8(stdout).unwrap(), err: String::from_utf8(stderr).unwrap() }
    }

    pub fn run(&self, arguments: &[&str]) -> Ended {
        self.run_as(&self.token, arguments)
    }

    /// Does it; what stands on stdout.
    #[track_caller]
    pub fn does(&self, arguments: &[&str]) -> String {
        let ended = self.run(arguments);
        assert_eq!(ended.status, 0, "{arguments:?}: {ended:?}");
        ended.out
    }

    /// Does it; its JSON.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Json {
        let out = self.does(&[arguments, &["--json"]].concat());
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {out}"))
    }

    /// Is refused with this status, nothing on stdout, and one line that says this.
    #[track_caller]
    pub fn refuses(&self, arguments: &[&str], status: i32, says: &str) {
        let ended = self.run(arguments);
        assert_eq!((ended.status, &*ended.out), (status, ""), "{arguments:?}: {ended:?}");
        assert!(ended.err.starts_with("crossfade: ") && ended.err.lines().count() == 1, "{ended:?}");
        assert!(ended.err.contains(says), "{says:?} is missing: {ended:?}");
    }

    pub fn file(&self, name: &str) -> String {
        self.data.file(name).to_str().unwrap().to_owned()
    }

    /// Asks for an access token; the status of the answer.
    pub fn call(&self, environment: &str, id: &str, secret: &str) -> u16 {
        let body = format!("grant_type=client_credentials&client_id={id}&client_secret={secret}");
        let address = self.url.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        write!(
            stream,
            "POST /env/{environment}/oauth2/token HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
        status.and_then(|it| it.parse().ok()).unwrap_or_else(|| panic!("{answer}"))
    }

    /// A client in staging under the property Payments.
    pub fn client(&self, name: &str) -> Json {
        let there = self.json(&["property", "list"]);
        if !there.as_array().unwrap().iter().any(|it| it["name"] == "Payments") {
            self.does(&["property", "create", "Payments"]);
        }
        self.json(&["client", "create", name, "--property", "Payments", "--env", "staging", "--show"])
    }
}

/// A token, made at the machine while the server runs.
pub fn token(data: &Data, user: &str, more: &[&str]) -> String {
    let arguments = ["token", "create", "--data-dir", data.path(), "--user", user, "--name", "test"];
    let (status, out, err) = Running::start(&[&arguments[..], more].concat()).end();
    assert_eq!(status, 0, "{err}");
    out.trim_end().to_owned()
}

/// As a machine does that is suspended or moved. Nobody knows who called meanwhile.
#[test]
fn a_time_in_which_the_server_stood_still_is_a_gap_before_anybody_is_told_of_quiet() {
    let site = Site::new();
    site.client("Billing");
    let place = ["Billing", "--env", "staging"];
    let with = |words: &[&'static str], more: &[&'static str]| [words, &place, more].concat();
    site.does(&with(&["secret", "rotate"], &["--transition", "24h", "--confirm", "Billing", "--show"]));
    let change_over = with(&["secret", "change-over"], &[]);
    assert_eq!(site.json(&change_over)["gaps"], serde_json::json!([]));
    let server = site.server.0.id().to_string();
    let signal =
        |name| assert!(Command::new("kill").args([name, server.as_str()]).status().unwrap().success());
    signal("-STOP");
    std::thread::sleep(std::time::Duration::from_secs(17));
    signal("-CONT");
    let told = site.json(&change_over);
    assert_eq!(
        (told["gaps"][0]["kind"].as_str(), told["gaps"].as_array().unwrap().len()),
        (Some("unknown"), 1),
        "{told}"
    );
    assert_eq!(told["quiet_since"], told["gaps"][0]["to"], "{told}");
}

#[test]
fn a_pipeline_that_waits_for_a_change_over_is_told_when_the_old_secret_ends_before() {
    let site = Site::new();
    site.client("Billing");
    let place = ["Billing", "--env", "staging"];
    let with = |words: &[&'static str], more: &[&'static str]| [words, &place, more].concat();
    // With a limit, so that a failure of this test leaves no process behind.
    let watch = with(&["secret", "watch"], &["--every", "1s", "--timeout", "60s"]);
    site.refuses(&watch, 5, "[not_retiring]");
    let rotate = with(&["secret", "rotate"], &["--transition", "24h", "--confirm", "Billing", "--show"]);
    site.does(&rotate);
    let now = site.json(&with(&["secret", "change-over"], &[]));
    assert_eq!(now["verdict"], "not_started", "{now}");
    assert!(site.does(&with(&["secret", "change-over"], &[])).contains("has not started"));

    let mut waiting = site.command(&site.token, &watch).spawn().unwrap();
    // It says at once how things stand, and goes on waiting.
    let mut said = [0; 64];
    let length = waiting.stderr.as_mut().unwrap().read(&mut said).unwrap();
    assert!(length > 0 && waiting.try_wait().unwrap().is_none());
    for goal in ["safe", "quiet=30m"] {
        let revoke = with(&["secret", "revoke"], &["--only-if", goal, "--reason", "enough"]);
        site.refuses(&revoke, 5, "[not_safe_to_end]\n");
    }
    let revoked = site.run(&with(&["secret", "revoke"], &["--reason", "enough", "--confirm", "Billing"]));
    assert_eq!(revoked.status, 0, "{revoked:?}");
    assert!(revoked.err.contains("No caller has used the new secret"), "who fails is told: {revoked:?}");
    let ended = waiting.wait_with_output().unwrap();
    let (out, err) = (String::from_utf8(ended.stdout).unwrap(), String::from_utf8(ended.stderr).unwrap());
    assert_eq!(ended.status.code(), Some(1), "{err}");
    assert!(
        out.starts_with("The old secret has ended.")
            && err.contains("before the condition was met. [not_retiring]"),
        "{out}{err}"
    );
    assert_eq!(site.json(&with(&["secret", "series"], &["--grain", "day"])), serde_json::json!([]));
}

#[test]
fn a_watch_at_its_timeout_says_why_and_exits_with_a_status_of_its_own() {
    let site = Site::new();
    site.client("Billing");
    let place = ["Billing", "--env", "staging"];
    site.does(
        &[&["secret", "rotate"], &place[..], &["--transition", "24h", "--confirm", "Billing", "--no-value"]]
            .concat(),
    );
    let watch = [&["secret", "watch"], &place[..], &["--until", "quiet=1m", "--timeout", "3s"]].concat();
    let ended = site.run(&watch);
    assert_eq!(ended.status, 6, "{ended:?}");
    let last = ended.err.lines().last().unwrap();
    assert!(last.contains("not met within 3 s. Not safe to end") && last.contains("new secret"), "{ended:?}");
    assert!(ended.out.contains("- No caller has used the new secret."), "the reasons: {ended:?}");
    let ended = site.run(&[&watch[..], &["--json"]].concat());
    let last: Json = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((ended.status, &last["verdict"]), (6, &"not_started".into()), "{ended:?}");
}

#[test]
fn a_revocation_says_what_it_did_and_can_be_run_again_with_a_condition() {
    let site = Site::new();
    site.client("Billing");
    let with = |words: &[&'static str], more: &[&'static str]| {
        [words, &["Billing", "--env", "staging"], more].concat()
    };
    site.does(&with(&["secret", "rotate"], &["--transition", "24h", "--confirm", "Billing", "--no-value"]));
    let revoke = |more: &[&'static str]| {
        site.run(&with(&["secret", "revoke"], &[&["--reason", "moved"], more].concat()))
    };
    let extended = site.run(&with(&["secret", "extend"], &["--until", "+48h", "--reason", "late"]));
    assert!(extended.status == 0 && extended.err.starts_with("Extended the deadline"), "{extended:?}");
    let done = revoke(&["--confirm", "Billing"]);
    let said: Vec<&str> = done.err.lines().collect();
    assert_eq!((done.status, said.len()), (0, 2), "{done:?}");
    assert!(said[0].starts_with("Warning: Not safe to end"), "{done:?}");
    assert!(said[1].starts_with("Revoked the old secret sec_"), "{done:?}");
    // An earlier run has ended it: that is what the job is for.
    let again = revoke(&["--only-if", "safe"]);
    assert_eq!((again.status, &*again.out), (0, ""), "{again:?}");
    assert!(again.err.contains("has no retiring secret in staging. Nothing was changed."), "{again:?}");
    let again = revoke(&["--only-if", "quiet=1m", "--json"]);
    let nothing: Json = serde_json::from_str(&again.out).unwrap();
    assert_eq!((again.status, nothing), (0, serde_json::json!({"secret": null})));
    let refused = revoke(&["--confirm", "Billing"]);
    assert!(refused.status == 5 && refused.err.ends_with("[not_retiring]\n"), "{refused:?}");
    // The server still judges what it is asked for.
    let refused = site.run(&with(&["secret", "revoke"], &["--reason", "", "--only-if", "safe"]));
    assert!(refused.status != 0 && refused.err.contains("--reason"), "{refused:?}");
    // After a roll back the old secret is current again: the job has not reached its goal.
    site.does(&with(&["secret", "rotate"], &["--transition", "24h", "--confirm", "Billing", "--no-value"]));
    site.does(&with(&["secret", "rollback"], &["--reason", "callers failed"]));
    let refused = revoke(&["--only-if", "safe"]);
    assert!(refused.status == 5 && refused.err.ends_with("[not_retiring]\n"), "{refused:?}");
    assert!(refused.err.contains("was rolled back") && refused.out.is_empty(), "{refused:?}");
}

/// The server keeps a reading for a second.
#[test]
fn a_change_over_right_after_a_use_shows_the_use() {
    let site = Site::new();
    let client = site.client("Billing");
    let id = client["registrations"][0]["client_id"].as_str().unwrap();
    let place = ["Billing", "--env", "staging"];
    let rotate =
        [&["secret", "rotate"], &place[..], &["--transition", "24h", "--confirm", "Billing", "--show"]]
            .concat();
    let new = site.does(&rotate);
    let change_over = [&["secret", "change-over"], &place[..]].concat();
    assert_eq!(site.json(&change_over)["verdict"], "not_started");
    assert_eq!(site.call("staging", id, new.trim()), 200);
    assert_eq!(site.json(&change_over)["verdict"], "quiet");
}

#[test]
fn a_refused_token_is_named_as_the_variable_that_holds_it() {
    let site = Site::new();
    let ended = site.run_as("crossfade_token_wrong", &["client", "list"]);
    assert_eq!(ended.status, 4, "{ended:?}");
    assert!(ended.err.contains("CROSSFADE_TOKEN") && !ended.err.contains("Bearer"), "{ended:?}");
}

#[test]
fn people_and_programs_get_roles_and_lose_them() {
    let site = Site::new();
    site.does(&["property", "create", "Payments"]);

    let made = site.run(&["user", "create", "--email", "grace@example.com", "--name", "Grace", "--show"]);
    assert_eq!(made.status, 0, "{made:?}");
    assert!(made.out.starts_with(&site.url) && made.out.lines().count() == 1, "the link alone: {made:?}");
    assert!(made.err.contains("Created the user usr_") && made.err.contains("works once"), "{made:?}");

    let file = site.file("link");
    let link = site.run(&["user", "link", "grace@example.com", "--output", &file]);
    assert_eq!((link.status, &*link.out), (0, ""), "{link:?}");
    let url = std::fs::read_to_string(&file).unwrap();
    assert!(url.starts_with(&site.url) && !url.ends_with('\n') && url != made.out.trim_end(), "{url}");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!link.err.contains(&url), "{link:?}");
    site.refuses(&["user", "link", "grace@example.com", "--output", &file], 1, "already exists");
    let unused = site.file("unused");
    site.refuses(&["user", "link", "nobody@example.com", "--output", &unused], 3, "nobody@example.com");
    assert!(!site.data.file("unused").exists(), "a refusal leaves no file");

    let shown = site.json(&["user", "link", "Grace@Example.com", "--show"]);
    assert!(shown["url"].as_str().unwrap().starts_with(&site.url), "{shown}");
    let program = site.json(&["user", "create", "--program", "--name", "deploy"]);
    assert_eq!((&program["kind"], &program["email"]), (&"program".into(), &Json::Null), "{program}");
    site.refuses(&["user", "link", program["id"].as_str().unwrap(), "--show"], 5, "[not_a_person]");

    let email = "grace@example.com";
    let mut grant = site.json(&[
        "grant",
        "create",
        email,
        "--role",
        "secret_rotator",
        "--property",
        "Payments",
        "--env",
        "staging",
    ]);
    assert_eq!(grant["environments"], serde_json::json!(["staging"]), "{grant}");
    let link = grant.as_object_mut().unwrap().remove("activation_link").unwrap();
    assert!(
        link["expires_at"].is_string() && link.get("url").is_none(),
        "nobody has said where it goes: {link}"
    );
    let again =
        ["grant", "create", email, "--role", "secret_rotator", "--property", "Payments", "--env", "staging"];
    site.refuses(&again, 5, "[already_granted]");
    assert_eq!(site.json(&["grant", "list", email]), Json::Array(vec![grant.clone()]));
    let changed = site.json(&["user", "update", email, "--name", "Grace Hopper"]);
    assert_eq!((&changed["name"], &changed["grants"][0]), (&"Grace Hopper".into(), &grant), "{changed}");
    let table = site.does(&["user", "show", email]);
    assert!(table.contains("Grace Hopper") && table.contains("secret_rotator"), "{table}");

    let grant = grant["id"].as_str().unwrap();
    assert_eq!(site.does(&["grant", "delete", email, grant]), "");
    site.refuses(&["grant", "delete", email, grant], 3, "[not_found]");
    let first = ["grant", "create", email, "--role", "secret_viewer"];
    let given = site.run(&[&first[..], &["--show"]].concat());
    assert!(given.out.lines().last().unwrap().starts_with(&site.url), "{given:?}");
    assert!(given.err.contains("The account of grace@example.com was closed"), "{given:?}");
    site.does(&[
        "grant",
        "delete",
        email,
        given.out.lines().find_map(|line| line.split(' ').find(|word| word.starts_with("grant_"))).unwrap(),
    ]);
    let file = site.file("first-link");
    let given = site.run(&[&first[..], &["--output", &file]].concat());
    assert!(std::fs::read_to_string(&file).unwrap().starts_with(&site.url), "{given:?}");
    let second =
        site.run(&["grant", "create", email, "--role", "secret_rotator", "--output", &site.file("none")]);
    assert!(second.status == 0 && !site.data.file("none").exists(), "{second:?}");
    site.refuses(&["user", "delete", email], 2, "Set --confirm to the user's name");
    site.refuses(&["user", "delete", email, "--confirm", "Grace"], 1, "[confirmation_mismatch]");
    site.does(&["user", "delete", email, "--confirm", "Grace Hopper"]);
    site.refuses(&["user", "show", email], 3, email);
    site.refuses(&["user", "show", "grace"], 2, "not a user ID or an email address");
    let names: Vec<Json> =
        site.json(&["user", "list"]).as_array().unwrap().iter().map(|it| it["name"].clone()).collect();
    assert_eq!(names, ["ada", "deploy"]);
}

#[test]
fn tables_have_reasons_and_names_in_place_of_ids() {
    let site = Site::new();
    let client = site.client("Billing");
    let place = ["Billing", "--env", "staging"];
    let with = |words: &[&'static str], more: &[&'static str]| [words, &place, more].concat();
    let rotate = ["--transition", "24h", "--confirm", "Billing", "--reason", "quarterly", "--show"];
    site.does(&with(&["secret", "rotate"], &rotate));
    site.does(&with(&["secret", "rollback"], &["--reason", "callers failed"]));
    site.does(&with(&["secret", "rotate"], &rotate));
    site.does(&with(&["secret", "revoke"], &["--reason", "everybody moved", "--confirm", "Billing"]));
    let history = site.does(&with(&["secret", "history"], &[]));
    let lines: Vec<&str> = history.lines().collect();
    assert!(lines[1].contains("quarterly") && lines[1].ends_with("everybody moved"), "{history}");
    assert!(lines[2].contains("rolled back") && lines[2].ends_with("callers failed"), "{history}");

    site.does(&["user", "create", "--email", "grace@example.com", "--show"]);
    let grace = ["grant", "create", "grace@example.com", "--role", "viewer"];
    site.does(&[&grace[..], &["--property", "Payments"]].concat());
    site.does(&[&grace[..], &["--client", "Billing"]].concat());
    let token = token(&site.data, "grace@example.com", &[]);
    for table in [
        site.does(&["grant", "list", "grace@example.com"]),
        site.does(&["user", "show", "grace@example.com"]),
        site.run_as(&token, &["whoami"]).out,
    ] {
        assert!(table.contains("Payments") && table.contains("Billing"), "{table}");
        assert!(!table.contains("prop_") && !table.contains("cl_"), "{table}");
    }
    let tokens = site.does(&["token", "list"]);
    assert!(tokens.contains("ada@example.com") && tokens.contains("grace@example.com"), "{tokens}");
    assert!(!tokens.contains("usr_"), "{tokens}");
    let own = site.run_as(&token, &["token", "list"]);
    assert!(own.out.contains("grace@example.com") && !own.out.contains("usr_"), "{own:?}");
    let audit = site.does(&["audit", "list"]);
    assert!(audit.contains("everybody moved") && audit.contains("Payments"), "{audit}");
    assert!(!audit.contains("cl_") && !audit.contains("prop_") && !audit.contains("usr_"), "{audit}");
    // Programs read the IDs.
    let json = site.does(&["audit", "list", "--json"]);
    assert!(json.contains(client["id"].as_str().unwrap()), "{json}");
}

#[test]
fn a_change_of_a_provider_that_takes_access_away_needs_its_name() {
    let site = Site::new();
    let (issuer, grant) = ("https://id.example.com", "--group-role");
    let made = ["provider", "create", "Example", "--issuer", issuer, "--client-id", "x"];
    let public = ["--client-authentication", "none", grant, "staff=viewer", grant, "admins=owner"];
    site.does(&[&made[..], &public].concat());
    let update = |more: &[&'static str]| [&["provider", "update", "Example"], more].concat();
    let roles = || site.json(&["provider", "show", "Example"])["group_grants"].as_array().unwrap().len();
    site.refuses(&update(&[grant, "staff=viewer"]), 2, "--confirm");
    site.refuses(&update(&["--no-group-roles"]), 2, "--confirm");
    site.refuses(&update(&["--disable"]), 2, "--confirm");
    site.refuses(&update(&["--disable", "--confirm", "Exampel"]), 1, "must match");
    site.refuses(&update(&["--groups-from", "provisioning"]), 2, "--confirm");
    assert_eq!(roles(), 2, "nothing was changed");
    // What adds a role takes none away.
    site.does(&update(&[grant, "staff=viewer", grant, "admins=owner", grant, "ops=auditor"]));
    site.does(&update(&[grant, "staff=viewer", "--confirm", "Example"]));
    assert_eq!(roles(), 1);
    let shown = site.does(&["provider", "show", "Example"]);
    assert!(shown.contains("external ID claim") && shown.contains("openid, email, profile"), "{shown}");
    site.does(&update(&["--disable", "--confirm", "Example"]));
    // Nothing is left to end.
    site.does(&update(&["--disable"]));
}

#[test]
fn webhooks_are_listed_with_the_names_of_what_they_are_about() {
    let site = Site::new();
    let client = site.client("Billing");
    let create = |name: &str, more: &[&str]| {
        let url = ["--to", "https://hooks.example.com/x", "--output", &site.file(name)];
        site.json(&[&["webhook", "create", name], more, &url].concat())
    };
    create("of-client", &["--client", "Billing", "--confirm", "Billing"]);
    create("of-property", &["--property", "Payments", "--confirm", "Payments"]);
    let of_all = create("of-all", &["--confirm", "platform"]);
    for (words, about) in [("of-client", "Billing"), ("of-property", "Payments"), ("of-all", "platform")] {
        let shown = site.does(&["webhook", "show", words]);
        assert!(shown.contains(about) && !shown.contains("cl_") && !shown.contains("prop_"), "{shown}");
    }
    let listed = site.does(&["webhook", "list"]);
    assert!(listed.contains("Billing") && listed.contains("Payments"), "{listed}");
    assert!(!listed.contains("cl_") && !listed.contains("prop_"), "{listed}");
    let json = site.json(&["webhook", "show", "of-client"]);
    assert_eq!((&json["client_id"], &json["client_name"]), (&client["id"], &"Billing".into()));
    // A webhook among the owners has its name there, and its ID for the next command.
    let id = of_all["id"].as_str().unwrap();
    site.does(&["client", "update", "Billing", "--owner", id, "--confirm", "Billing"]);
    let shown = site.does(&["client", "show", "Billing"]);
    assert!(shown.contains(&format!("of-all (webhook {id})")), "{shown}");
}

#[test]
fn the_clients_of_a_user_are_listed_before_the_deletion() {
    let site = Site::new();
    let client = site.client("Billing");
    let second = site.client("Ledger");
    site.does(&["user", "create", "--email", "grace@example.com", "--name", "Grace Hopper", "--show"]);
    let own = |client: &str, owners: &str| {
        site.does(&["client", "update", client, "--owner", owners, "--confirm", client]);
    };
    own("Billing", "grace@example.com");
    own("Ledger", "grace@example.com,team@example.com");
    let table = site.does(&["user", "hand-over", "grace@example.com"]);
    assert!(table.contains("team@example.com (the other owners)"), "{table}");
    assert!(table.contains("ada@example.com (the managers)"), "{table}");
    assert_eq!(site.json(&["user", "hand-over", "grace@example.com"])["handed_over_count"], 2);
    let delete = ["user", "delete", "grace@example.com"];
    let asked = site.run(&delete);
    assert_eq!((asked.status, &*asked.out), (2, ""), "{asked:?}");
    assert!(asked.err.contains("Grace Hopper owns 2 clients. After the deletion:"), "{asked:?}");
    let line = |name: &str, client: &Json, heirs: &str| {
        format!("  {name} ({}) is owned by {heirs}\n", client["id"].as_str().unwrap())
    };
    for line in [
        line("Billing", &client, "ada@example.com (the managers)"),
        line("Ledger", &second, "team@example.com (the other owners)"),
    ] {
        assert!(asked.err.contains(&line), "{line}: {asked:?}");
    }
    let chosen = site.run(&[&delete[..], &["--hand-over-to", "new@example.com"]].concat());
    assert!(
        chosen.err.contains("Grace Hopper owns 2 clients, which new@example.com takes over:"),
        "{chosen:?}"
    );
    assert_eq!(site.json(&["user", "list"]).as_array().unwrap().len(), 2, "nobody was deleted");
    let done = site.does(&[&delete[..], &["--confirm", "Grace Hopper"]].concat());
    assert!(done.contains("Billing") && done.contains("Ledger"), "{done}");
}

#[test]
fn a_client_is_found_changed_disabled_and_deleted() {
    let site = Site::new();
    let client = site.client("Billing");
    let (id, oauth) =
        (client["id"].as_str().unwrap(), client["registrations"][0]["client_id"].as_str().unwrap());
    assert!(client["registrations"][0]["secret"]["value"].is_string(), "{client}");
    for name in [id, "Billing", oauth] {
        assert_eq!(site.json(&["client", "show", name])["id"], client["id"], "{name}");
    }
    let table = site.does(&["client", "show", "Billing"]);
    assert!(table.contains("Payments") && table.contains(oauth), "{table}");
    assert_eq!(site.json(&["client", "list", "--property", "Payments"]).as_array().unwrap().len(), 1);
    site.refuses(
        &["client", "list", "--property", "Nothing"],
        3,
        "No property that you can read is named Nothing",
    );

    let owners = ["client", "update", "Billing", "--name", "Invoices", "--owner", "a@example.com"];
    site.refuses(&owners, 2, "--confirm");
    site.refuses(
        &[&owners[..], &["--confirm", "Invoices"]].concat(),
        1,
        "--confirm must match the client's name",
    );
    let changed = site.json(&[&owners[..], &["--confirm", "Billing"]].concat());
    assert_eq!((&changed["name"], &changed["owners"][0]), (&"Invoices".into(), &"a@example.com".into()));
    assert_eq!(site.json(&["client", "list", "--ownerless"]), serde_json::json!([]));
    let changed = site.json(&["client", "update", oauth, "--no-owners", "--confirm", "Invoices"]);
    assert_eq!((&changed["name"], &changed["owners"]), (&"Invoices".into(), &serde_json::json!([])));
    assert_eq!(site.json(&["client", "list", "--ownerless"])[0]["id"], client["id"]);

    let file = site.file("secret");
    let added =
        site.run(&["client", "register", "Invoices", "--env", "production", "--output", &file, "--json"]);
    let json: Json = serde_json::from_str(&added.out).unwrap();
    assert_eq!((added.status, &json["registrations"][0]["environment"]), (0, &"production".into()));
    assert!(json["registrations"][0]["secret"].get("value").is_none(), "{json}");
    assert!(std::fs::read_to_string(&file).unwrap().starts_with("crossfade_live_"));

    let update = ["registration", "update", "Invoices", "--env", "staging"];
    let with = |more: &[&'static str]| [&update[..], more].concat();
    let limits = ["property", "limits", "set", "Payments", "--env", "staging"];
    let audience = "https://api.example.com";
    let own = format!("{}/env/production", site.url);
    site.refuses(&[&limits[..], &["--audience", &own, "--any-scope"]].concat(), 1, "--audience");
    let set = site.json(&[&limits[..], &["--audience", audience, "--scope", "read,write"]].concat());
    assert_eq!(set, serde_json::json!({"audiences": [audience], "scopes": ["read", "write"]}));
    let shown = site.does(&["property", "limits", "show", "Payments", "--env", "staging"]);
    assert!(shown.contains(&format!("the issuer, {audience}")) && shown.contains("read, write"), "{shown}");
    site.refuses(&["property", "limits", "show", "Payments", "--env", "nowhere"], 3, "[not_found]");

    let settings = site.json(&with(&[
        "--scope",
        "read,write",
        "--audience",
        "https://api.example.com",
        "--token-ttl",
        "10m",
        "--auth-method",
        "client_secret_post",
        "--may-introspect",
        "true",
    ]));
    assert_eq!(
        (&settings["scopes"], &settings["audience"], &settings["access_token_ttl_seconds"]),
        (&serde_json::json!(["read", "write"]), &"https://api.example.com".into(), &600.into())
    );
    assert_eq!(settings["token_endpoint_auth_methods"], serde_json::json!(["client_secret_post"]));
    assert_eq!(settings["may_introspect"], true);
    let settings = site.json(&with(&["--audience", "none", "--no-scopes"]));
    assert_eq!(settings["scopes"], serde_json::json!([]));
    assert!(settings["audience"].as_str().unwrap().ends_with("/env/staging"), "{settings}");
    for ttl in ["1s", "2d"] {
        let wrong = site.run(&with(&["--token-ttl", ttl]));
        assert_eq!(wrong.status, 2, "{wrong:?}");
        assert!(wrong.err.contains("'--token-ttl <DURATION>': must be from 1m to 24h"), "{wrong:?}");
    }
    site.refuses(&with(&["--scope", "read  write"]), 2, "--scope must contain scope tokens");

    site.refuses(&with(&["--disable"]), 2, "--confirm");
    site.refuses(
        &with(&["--disable", "--confirm", "Billing"]),
        1,
        "--confirm must match the client's name exactly. Nothing was changed. [confirmation_mismatch]",
    );
    assert_eq!(site.json(&["registration", "show", oauth, "--env", "staging"])["enabled"], true);
    assert_eq!(site.json(&with(&["--disable", "--confirm", "Invoices"]))["enabled"], false);
    assert!(site.does(&["registration", "show", "Invoices", "--env", "staging"]).contains("disabled"));
    assert_eq!(site.json(&with(&["--enable"]))["enabled"], true);
    site.refuses(&["registration", "show", "Invoices", "--env", "../../.."], 3, "[not_found]");

    site.refuses(&["client", "delete", "Invoices", "--reason", "gone"], 2, "--confirm");
    site.refuses(
        &["client", "delete", "Invoices", "--reason", "gone", "--confirm", "X"],
        1,
        "--confirm must match",
    );
    site.does(&["client", "delete", "Invoices", "--reason", "gone", "--confirm", "Invoices"]);
    site.refuses(&["client", "show", id], 3, "[not_found]");
    let history = site.json(&["audit", "list", "--client", id, "--action", "client.deleted"]);
    assert_eq!((history.as_array().unwrap().len(), &history[0]["reason"]), (1, &"gone".into()), "{history}");
}

#[test]
fn environments_and_properties_are_made_changed_and_deleted() {
    let site = Site::new();
    let made = site.json(&["env", "create", "qa", "--kind", "test", "--signing-alg", "EdDSA"]);
    assert_eq!((&made["name"], &made["signing_alg"]), (&"qa".into(), &"EdDSA".into()), "{made}");
    site.refuses(&["env", "create", "qa", "--kind", "test"], 5, "[name_taken]");
    let changed = site.json(&[
        "env",
        "update",
        "qa",
        "--name",
        "Quality",
        "--kind",
        "live",
        "--position",
        "0",
        "--show-once",
        "true",
        "--wipe-after-days",
        "3",
        "--max-age-days",
        "90",
    ]);
    assert_eq!((&changed["max_age_days"], &changed["wipe_after_days"]), (&90.into(), &3.into()), "{changed}");
    assert_eq!((&changed["kind"], &changed["show_once"]), (&"live".into(), &true.into()), "{changed}");
    assert_eq!(site.json(&["env", "list"])[0], changed);
    let changed = site.json(&["env", "update", "qa", "--max-age-days", "none"]);
    assert_eq!((&changed["max_age_days"], &changed["wipe_after_days"]), (&Json::Null, &3.into()));
    assert_eq!(site.json(&["env", "show", "qa"]), changed);
    site.refuses(&["env", "update", "qa", "--wipe-after-days", "9999"], 2, "--wipe-after-days must be");
    let changed = site.json(&["env", "update", "qa", "--guard-extension-hours", "168"]);
    assert_eq!(changed["guard_extension_hours"], 168);
    site.refuses(
        &["env", "update", "qa", "--guard-extension-hours", "169"],
        2,
        "--guard-extension-hours must be",
    );
    assert_eq!(
        site.json(&["env", "update", "qa", "--guard-extension-hours", "none"])["guard_extension_hours"],
        Json::Null
    );
    site.refuses(&["env", "delete", "qa"], 2, "Set --confirm to the environment's slug");
    site.refuses(&["env", "delete", "qa", "--confirm", "Quality"], 1, "[confirmation_mismatch]");
    site.does(&["env", "delete", "qa", "--confirm", "qa"]);
    site.refuses(&["env", "show", "qa"], 3, "[not_found]");

    site.client("Billing");
    let renamed = site.json(&["property", "update", "Payments", "--name", "Money"]);
    assert_eq!(site.json(&["property", "show", "Money"]), renamed);
    site.refuses(&["property", "delete", "Money"], 5, "[in_use]");
    site.refuses(&["env", "delete", "staging", "--confirm", "staging"], 5, "[in_use]");
    site.refuses(&["env", "update", "staging", "--show-once", "true"], 2, "destroys 1 stored value");
    site.does(&["property", "create", "Empty"]);
    assert_eq!(site.does(&["property", "delete", "Empty"]), "");
    site.refuses(&["property", "show", "Empty"], 3, "No property that you can read is named Empty");
}

#[test]
fn an_export_of_an_unknown_signer_is_not_proven() {
    let site = Site::new();
    site.client("Billing");
    let kept = site.file("checkpoint.json");
    std::fs::write(&kept, site.does(&["audit", "checkpoint"])).unwrap();
    let checkpoint: Json = serde_json::from_slice(&std::fs::read(&kept).unwrap()).unwrap();
    let key = checkpoint["statement"]["key"].as_str().unwrap();
    let path = site.file("trail.jsonl");
    std::fs::write(&path, site.does(&["audit", "export"])).unwrap();
    let verify = ["audit", "verify", &path];
    let ended = site.run(&verify);
    assert_eq!(ended.status, 7, "{ended:?}");
    assert!(
        ended.out.starts_with("Not proven: the signer is not known.\nVerified the complete export"),
        "{ended:?}"
    );
    assert!(ended.err.starts_with("crossfade: The signer is not known"), "{ended:?}");
    let json: Json = serde_json::from_str(&site.run(&[&verify[..], &["--json"]].concat()).out).unwrap();
    assert!(json["not_proven"].as_str().unwrap().starts_with("The signer is not known"), "{json}");
    for known in [["--key", key], ["--checkpoint", &kept]] {
        let out = site.does(&[&verify[..], &known].concat());
        assert!(
            out.starts_with("Verified the complete export") && out.ends_with(&format!("key {key}.\n")),
            "{out}"
        );
    }
    let ended = site.run(&[&verify[..], &["--key", "other"]].concat());
    assert_eq!((ended.status, ended.out.as_str()), (1, ""), "{ended:?}");
}

#[test]
fn the_trail_is_listed_filtered_and_exported() {
    let site = Site::new();
    let client = site.client("Billing");
    let exported = site.does(&["audit", "export"]);
    let (all, statements) = exported.split_at(exported.find("{\"statement\"").unwrap());
    assert_eq!(statements.lines().count(), 2, "where the chain begins, and the export");
    let events: Vec<Json> = all.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let seqs: Vec<i64> = events.iter().map(|it| it["seq"].as_i64().unwrap()).collect();
    assert!(seqs.len() >= 3 && seqs.is_sorted(), "oldest first: {seqs:?}");
    assert!(all.ends_with('\n'));

    let filtered =
        site.does(&["audit", "export", "--client", "Billing", "--env", "staging", "--outcome", "done"]);
    for line in filtered.lines().filter(|line| !line.starts_with("{\"statement\"")) {
        let event: Json = serde_json::from_str(line).unwrap();
        assert_eq!((&event["client_id"], &event["environment"]), (&client["id"], &"staging".into()));
    }
    let count = |text: String| text.lines().filter(|line| !line.starts_with("{\"statement\"")).count();
    let by_ada = ["--actor", "ada@example.com", "--action", "property.created"];
    let listed = site.json(&[&["audit", "list"][..], &by_ada].concat());
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["actor"]["name"]), (1, &"ada".into()));
    assert_eq!(count(site.does(&[&["audit", "export"][..], &by_ada].concat())), 1);
    let listed = site.json(&["audit", "list", "--action", "client.created"]);
    let token = listed[0]["via"]["id"].as_str().unwrap();
    assert!(token.starts_with("tok_"), "{listed}");
    let through = site.json(&["audit", "list", "--via", token, "--action", "client.created"]);
    assert_eq!(through, listed);
    assert!(site.does(&["audit", "list", "--via-kind", "machine"]).contains("token.created"));
    assert_eq!(count(site.does(&["audit", "export", "--via", "tok_0000000000000000000000"])), 0);
    assert_eq!(site.run(&["audit", "list", "--via-kind", "robot"]).status, 2);
    assert_eq!(site.json(&["audit", "list", "--limit", "2"]).as_array().unwrap().len(), 2);
    assert_eq!(count(site.does(&["audit", "export", "--since", "2100-01-01T00:00:00Z"])), 0);
    assert!(site.does(&["audit", "export", "--since", "1h"]).contains(all.trim_end()));
    assert_eq!(count(site.does(&["audit", "export", "--until", "1h"])), 0);
    assert_eq!(site.run(&["audit", "export", "--since", "yesterday"]).status, 2);
    site.refuses(&["audit", "export", "--action", "secret.eaten"], 2, "--action must be");
    site.refuses(
        &["audit", "export", "--client", "Nobody"],
        3,
        "No client that you can read is named Nobody",
    );
    assert_eq!(site.json(&["audit", "failures", "--env", "staging"]), serde_json::json!([]));
    assert_eq!(site.run(&["audit", "failures", "--since", "x"]).status, 2);
}

#[test]
fn failed_authentications_are_listed() {
    let site = Site::new();
    let client = site.client("Billing");
    let oauth = client["registrations"][0]["client_id"].as_str().unwrap();
    let body = format!("grant_type=client_credentials&client_id={oauth}&client_secret=wrong");
    let address = site.url.strip_prefix("http://").unwrap();
    let mut connection = TcpStream::connect(address).unwrap();
    let head = "Content-Type: application/x-www-form-urlencoded\r\nConnection: close";
    write!(
        connection,
        "POST /env/staging/oauth2/token HTTP/1.1\r\nHost: {address}\r\n{head}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");

    // Written behind the answer: asked for until it is there.
    let ask = ["audit", "failures", "--client", oauth, "--reason", "wrong"];
    let found = (0..500).map(|_| site.json(&ask)).find(|it| it[0]["count"] == 1).unwrap();
    assert_eq!((&found[0]["client_id"], &found[0]["source_ip"]), (&client["id"], &"127.0.0.1".into()));
    let table = site.does(&ask);
    assert!(table.contains("Billing") && !table.contains("cl_") && table.contains("wrong"), "{table}");
    assert_eq!(site.json(&["audit", "failures", "--reason", "expired"]), serde_json::json!([]));
    site.refuses(&["audit", "failures", "--reason", "expird"], 2, "--reason must be one of malformed,");
    site.refuses(&["secret", "list", "Billing", "--env", "prod"], 3, "has no registration in prod");
}

#[test]
fn a_reader_of_an_export_who_has_had_enough_is_no_error() {
    let site = Site::new();
    let mut export = site.command(&site.token, &["audit", "export"]).spawn().unwrap();
    // Nobody reads any more, before anything is written.
    drop(export.stdout.take());
    let ended = export.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), &*ended.stderr), (Some(0), &b""[..]), "{ended:?}");
}

#[test]
fn a_value_that_nobody_reads_is_an_error() {
    let site = Site::new();
    site.does(&["property", "create", "Payments"]);
    let client = ["client", "create", "Billing", "--property", "Payments", "--env", "staging", "--show"];
    for (arguments, remedy) in [
        (&["user", "create", "--email", "grace@example.com", "--show"][..], "crossfade user link"),
        (&client[..], "crossfade secret reveal"),
    ] {
        let mut create = site.command(&site.token, arguments).spawn().unwrap();
        drop(create.stdout.take());
        let ended = create.wait_with_output().unwrap();
        let err = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{err}");
        assert!(err.contains("could not be printed") && err.contains(remedy), "{err}");
    }
}

#[test]
fn every_exit_status_means_what_it_says() {
    let site = Site::new();
    site.client("Billing");
    let program = site.json(&["user", "create", "--program", "--name", "watcher"]);
    let id = program["id"].as_str().unwrap();
    site.does(&["grant", "create", id, "--role", "viewer"]);
    let limited = token(&site.data, "ada@example.com", &["--scope", "client:read"]);

    let me = site.run_as(&limited, &["whoami", "--json"]);
    let json: Json = serde_json::from_str(&me.out).unwrap();
    assert_eq!((me.status, &json["scope"]), (0, &serde_json::json!(["client:read"])));
    let me = site.run(&["whoami"]);
    assert!(me.out.contains("ada@example.com") && me.err.contains("all permissions of its owner"), "{me:?}");

    assert_eq!(site.run(&["property", "create", "a\u{200b}b"]).status, 2);
    assert_eq!(site.run(&["property", "create"]).status, 2);
    assert_eq!(site.run(&["audit", "list", "--outcome", "maybe"]).status, 2);
    site.refuses(&["client", "show", "Nobody"], 3, "No client that you can read is named Nobody");
    let forbidden = site.run_as(&limited, &["property", "create", "More"]);
    assert_eq!(forbidden.status, 4, "{forbidden:?}");
    assert!(forbidden.err.contains("[forbidden]"), "{forbidden:?}");
    let unknown = site.run_as("nothing", &["whoami"]);
    assert_eq!(unknown.status, 4, "{unknown:?}");
    assert!(unknown.err.contains("[unauthenticated]"), "{unknown:?}");
    site.refuses(&["property", "create", "Payments"], 5, "[name_taken]");
}

#[test]
fn a_table_that_is_no_terminal_s_is_whole() {
    let site = Site::new();
    let name = "A client with a name that is much longer than any terminal ".repeat(2);
    site.client(name.trim_end());
    let table = site.does(&["client", "list"]);
    assert!(table.contains(name.trim_end()) && !table.contains('…'), "{table}");
}

#[test]
fn there_is_a_manual_page_for_each_command() {
    let directory = tempfile::tempdir().unwrap();
    let pages = directory.path().join("man1");
    let (status, out, err) = Running::start(&["man", "--dir", pages.to_str().unwrap()]).end();
    assert_eq!((status, &*out), (0, ""), "{err}");
    for (name, says) in [
        ("crossfade", "crossfade\\-secret"),
        ("crossfade-secret-rotate", "transition"),
        ("crossfade-grant-create", "role"),
        ("crossfade-audit-export", "until"),
    ] {
        let page = std::fs::read_to_string(pages.join(format!("{name}.1"))).unwrap();
        assert!(page.contains(".TH") && page.contains(says), "{name}: {page}");
        if name != "crossfade" {
            let examples =
                page.split(".SH EXAMPLES\n.nf\n").nth(1).unwrap_or_else(|| panic!("{name}: {page}"));
            let examples = examples.split("\n.fi\n").next().unwrap();
            assert_eq!(
                examples.lines().filter(|line| line.contains("crossfade ")).count(),
                2,
                "{name}: {examples}"
            );
        }
    }
    let (status, out, err) = Running::start(&["man"]).end();
    assert_eq!((status, &*err), (0, ""));
    assert_eq!(out, std::fs::read_to_string(pages.join("crossfade.1")).unwrap());
}

#[test]
fn a_drill_is_scheduled_listed_and_stopped() {
    let site = Site::new();
    let client = site.client("Billing");
    let place = ["Billing", "--env", "staging"];
    let drill = |verb: &'static str, more: &[&'static str]| -> Vec<&'static str> {
        [&["drill", verb], &place[..], more].concat()
    };
    let asked = ["--length", "60s", "--confirm", "Billing", "--reason", "who is left?"];
    let ask = |more: &[&'static str]| drill("schedule", &[&asked[..], more].concat());
    site.refuses(&ask(&[]), 5, "[not_retiring]");
    let rotate =
        ["secret", "rotate", "Billing", "--env", "staging", "--transition", "1h", "--confirm", "Billing"];
    site.does(&[&rotate[..], &["--output", &site.file("new")]].concat());

    // Refused here, before anything is asked of the server, with the flag that is meant.
    site.refuses(&ask(&["--repeat", "2", "--every", "90s"]), 2, "--every must");
    site.refuses(&ask(&["--every", "10m"]), 2, "--every");
    // Refused there.
    site.refuses(&ask(&["--repeat", "9", "--every", "10m"]), 1, "crossfade: --repeat: ");
    site.refuses(&ask(&["--start", "2020-01-01T00:00:00Z"]), 1, "--start must not");
    let mistyped = drill("schedule", &["--length", "60s", "--confirm", "billing", "--reason", "x"]);
    site.refuses(&mistyped, 1, "[confirmation_mismatch]");
    site.refuses(&drill("stop", &["--running"]), 5, "has no scheduled or running drill in staging");
    assert_eq!(site.run(&drill("list", &[])).err, "Nothing to show.\n");

    let made = site.run(&ask(&["--start", "+10m", "--repeat", "3", "--every", "10m"]));
    assert_eq!((made.status, made.out.lines().count()), (0, 4), "a heading and three windows: {made:?}");
    assert!(made.err.contains("crossfade drill stop 'Billing' --env staging --running"), "{made:?}");
    site.refuses(&ask(&[]), 5, "[drill_in_progress]");
    let listed = site.json(&drill("list", &[]));
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["state"]), (1, &"scheduled".into()));
    assert_eq!(listed[0]["secret_id"], client["registrations"][0]["secret"]["id"]);
    site.refuses(&drill("stop", &["drill_0000000000000000000000"]), 3, "[not_found]");
    let stopped = site.json(&drill("stop", &["--running", "--reason", "enough"]));
    assert_eq!((&stopped["state"], &stopped["id"]), (&"stopped".into(), &listed[0]["id"]));
    let id = listed[0]["id"].as_str().unwrap();
    site.refuses(&["drill", "stop", "Billing", "--env", "staging", id], 5, "[drill_over]");

    // One that runs finds whoever calls, and the list names them.
    site.does(&ask(&[]));
    let (id, old) =
        (&client["registrations"][0]["client_id"], &client["registrations"][0]["secret"]["value"]);
    let form = format!(
        "grant_type=client_credentials&client_id={}&client_secret={}",
        id.as_str().unwrap(),
        old.as_str().unwrap()
    );
    let host = site.url.trim_start_matches("http://");
    let mut server = TcpStream::connect(host).unwrap();
    write!(
        server,
        "POST /env/staging/oauth2/token HTTP/1.1\r\nHost: {host}\r\nUser-Agent: old-worker/1\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    )
    .unwrap();
    let mut answer = String::new();
    server.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    let shown = site.does(&drill("list", &[]));
    assert!(
        shown.contains("running") && shown.contains("stopped") && shown.contains("old-worker/1"),
        "{shown}"
    );
    assert!(!shown.contains(old.as_str().unwrap()));
    site.does(&drill("stop", &["--running"]));
}
