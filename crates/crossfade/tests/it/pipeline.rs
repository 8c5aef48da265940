//! A pipeline as the guide has it, and the answers to wrong usage.

use crate::{
    commands::{Ended, Site, token},
    start::{Data, Running, raw, refuses},
};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

/// The sh blocks of a page.
fn blocks(page: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guide").join(page);
    let text = fs::read_to_string(path).unwrap();
    let blocks = text.split("```sh\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap().to_owned()).collect()
}

/// Runs a script in the data directory, with this token.
fn shell(site: &Site, token: &str, script: &str) -> Ended {
    let binary = Path::new(env!("CARGO_BIN_EXE_crossfade"));
    let path = format!("{}:/usr/bin:/bin", binary.parent().unwrap().display());
    let mut command = Command::new("sh");
    command.args(["-euc", script]).current_dir(site.data.path()).stdin(Stdio::null()).env_clear();
    command.env("PATH", path).env("CROSSFADE_DATA_DIR", site.data.path());
    let output = command.env("CROSSFADE_URL", &site.url).env("CROSSFADE_TOKEN", token).output().unwrap();
    Ended {
        status: output.status.code().expect("an exit status and no signal"),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn the_pipeline_of_the_guide_rotates_waits_and_revokes() {
    let site = Site::new();
    site.does(&["property", "create", "Payments"]);
    let create =
        ["client", "create", "Billing API", "--property", "Payments", "--env", "production", "--no-value"];
    site.does(&create);
    let blocks = blocks("pipeline.md");
    let [setup, rotate, scheduled, narrow, finish] = &blocks[..] else { panic!("five blocks: {blocks:?}") };
    let made = shell(&site, &site.token, setup);
    assert_eq!(made.status, 0, "{made:?}");
    assert!(!made.err.contains("also needs"), "the scope suffices: {made:?}");

    // From here on as the program, by the token that the guide makes.
    let token = fs::read_to_string(site.data.file("pipeline.token")).unwrap();
    let token = token.trim();
    let metadata = fs::metadata(site.data.file("pipeline.token")).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "only its owner reads the token");
    let young = shell(&site, "", scheduled);
    assert!(young.status == 0 && young.err.contains("is younger than --if-older-than"), "{young:?}");
    assert!(!site.data.file("billing.secret").exists(), "{young:?}");
    let rotated = shell(&site, "", rotate);
    assert_eq!(rotated.status, 0, "{rotated:?}");
    let secret = fs::read_to_string(site.data.file("new.secret")).unwrap();
    assert!(secret.starts_with("crossfade_live_"), "the value is there");

    // No caller has moved, so waiting ends at its limit, and only the condition keeps the secret.
    let lines: Vec<&str> = finish.lines().filter(|line| line.starts_with("crossfade ")).collect();
    let [watch, revoke] = lines[..] else { panic!("two commands: {finish}") };
    assert!(watch.contains("--timeout 2h"), "no job hangs: {watch}");
    let soon = finish.replace("--timeout 2h", "--timeout 1s");
    let waited = shell(&site, "", &soon);
    assert_eq!(waited.status, 6, "{waited:?}");
    assert!(waited.err.contains("within 1 s. Not safe to end"), "{waited:?}");
    // A second rotation by a job that is run again.
    fs::remove_file(site.data.file("new.secret")).unwrap();
    let again = shell(&site, "", rotate);
    assert!(again.status == 5 && again.err.contains("[transition_in_progress]"), "{again:?}");
    let kept = shell(&site, token, revoke);
    assert_eq!(kept.status, 5, "{kept:?}");
    assert!(kept.err.contains("[not_safe_to_end]"), "{kept:?}");
    let revoked = shell(&site, token, &revoke.replace("--only-if safe", "--confirm 'Billing API'"));
    assert_eq!(revoked.status, 0, "{revoked:?}");
    // A job that is run again after it has ended the secret: the block as it stands in the guide.
    let again = shell(&site, "", finish);
    assert_eq!(again.status, 0, "{again:?}");
    assert!(again.err.contains("has no retiring secret in production. Nothing was changed."), "{again:?}");

    // With the token of one registration, once the secret is old enough.
    let made = shell(&site, &site.token, &format!("program=ada@example.com\n{narrow}"));
    assert!(made.status == 0 && made.err.contains("Wrote the token to nightly.token."), "{made:?}");
    let nightly = scheduled.replace("pipeline.token", "nightly.token").replace("80d", "1s");
    let rotated = shell(&site, "", &nightly);
    assert_eq!(rotated.status, 0, "{rotated:?}");
    let value = fs::read_to_string(site.data.file("billing.secret")).unwrap();
    assert!(value.starts_with("crossfade_live_") && value != secret, "{rotated:?}");
    let nightly = fs::read_to_string(site.data.file("nightly.token")).unwrap();
    let kept = shell(&site, nightly.trim(), &revoke.replace("--only-if safe", "--confirm 'Billing API'"));
    assert!(kept.status == 4 && kept.err.contains("secret:revoke"), "it only rotates: {kept:?}");
}

#[tokio::test]
async fn the_pipeline_of_the_guide_ends_the_old_secret_once_that_is_safe() {
    let site = Site::new();
    site.does(&["property", "create", "Payments"]);
    let create =
        ["client", "create", "Billing API", "--property", "Payments", "--env", "production", "--show"];
    let client = site.json(&create);
    let registration = &client["registrations"][0];
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let (id, old) = (text(&registration["client_id"]), text(&registration["secret"]["value"]));
    let blocks = blocks("pipeline.md");
    let (setup, rotate, finish) = (&blocks[0], &blocks[1], blocks.last().unwrap());
    for (token, script) in [(&*site.token, setup), ("", rotate)] {
        let done = shell(&site, token, script);
        assert_eq!(done.status, 0, "{done:?}");
    }
    let new = fs::read_to_string(site.data.file("new.secret")).unwrap();
    // The one caller moves. It has just used the old secret, which must be quiet for an hour.
    for secret in [&old, new.trim()] {
        assert_eq!(site.call("production", &id, secret), 200);
    }
    let waited = shell(&site, "", &finish.replace("--timeout 2h", "--timeout 1s"));
    assert!(waited.status == 6 && waited.err.contains("has not been quiet for long enough"), "{waited:?}");
    // Two hours pass for the old secret. The server keeps a reading for a second.
    let earlier = "UPDATE secret_usage SET first_used_at = first_used_at - 7200000000, last_used_at = last_used_at - 7200000000
                   WHERE secret_id = (SELECT outgoing_secret_id FROM rotations);
                   UPDATE secret_usage_sources SET first_used_at = first_used_at - 7200000000, last_used_at = last_used_at - 7200000000
                   WHERE secret_id = (SELECT outgoing_secret_id FROM rotations)";
    raw(&site.data.file("crossfade.db"), earlier).await;
    thread::sleep(Duration::from_millis(1500));
    let done = shell(&site, "", finish);
    assert_eq!(done.status, 0, "{done:?}");
    assert!(done.out.contains("Safe to end: the recorded evidence shows no caller left"), "{done:?}");
    assert!(done.err.contains("Revoked the old secret sec_") && !done.err.contains("Warning"), "{done:?}");
    assert_eq!([&old, new.trim()].map(|it| site.call("production", &id, it)), [401, 200]);
}

#[test]
fn a_token_without_reading_is_told_what_it_lacks_and_not_that_nothing_is_there() {
    let site = Site::new();
    let client = site.client("Billing");
    let arguments =
        ["token", "create", "--data-dir", site.data.path(), "--user", "ada@example.com", "--name", "x"];
    let (status, out, err) = Running::start(&[&arguments[..], &["--scope", "secret:rotate"]].concat()).end();
    assert_eq!((status, out.lines().count()), (0, 1), "{err}");
    assert!(err.contains("crossfade secret rotate also needs client:read and secret:reveal"), "{err}");
    let narrow = out.trim();
    let by_id = client["id"].as_str().unwrap();
    for name in ["Billing", by_id, "Nobody"] {
        let rotate = [
            "secret",
            "rotate",
            name,
            "--env",
            "staging",
            "--transition",
            "0",
            "--confirm",
            "Billing",
            "--show",
        ];
        let ended = site.run_as(narrow, &rotate);
        assert_eq!((ended.status, &*ended.out), (4, ""), "{ended:?}");
        assert!(
            ended.err.contains("its scope lacks client:read") && ended.err.contains("[forbidden]"),
            "{ended:?}"
        );
    }
    let property = site.run_as(narrow, &["property", "show", "Payments"]);
    assert!(property.status == 4 && property.err.contains("client:read"), "{property:?}");
    for list in [["client", "list"], ["property", "list"]] {
        let ended = site.run_as(narrow, &list);
        assert!(ended.status == 4 && ended.err.contains("client:read"), "an empty list says why: {ended:?}");
    }
    // An account without a role.
    let program = site.json(&["user", "create", "--program", "--name", "nobody"]);
    let roleless = token(&site.data, program["id"].as_str().unwrap(), &[]);
    let ended = site.run_as(&roleless, &["client", "show", "Billing"]);
    assert!(ended.status == 4 && ended.err.contains("no role with client:read"), "{ended:?}");
    // Who may read is told the truth.
    site.refuses(&["client", "show", "Nobody"], 3, "No client that you can read is named Nobody");
    let (status, _, err) = Running::start(&[&arguments[..], &["--scope", "secret:eat"]].concat()).end();
    assert!(status == 2 && err.contains("secret:rotate"), "the permissions are listed: {err}");
}

#[test]
fn wrong_usage_shows_one_example_and_no_flag_that_a_variable_has_set_as_required() {
    let site = Site::new();
    for (arguments, example) in [
        (&["secret", "rotate", "X", "--env", "staging"][..], "crossfade secret rotate \"Billing API\""),
        (
            &["drill", "schedule", "X", "--env", "staging", "--length", "60", "--reason", "r"],
            "crossfade drill schedule",
        ),
        (&["secret", "extend", "X", "--env", "staging", "--until", "24h", "--reason", "r"], "--until +24h"),
        (&["secret", "list", "X", "--env", "staging,dev"], "crossfade secret list"),
    ] {
        let ended = site.run(arguments);
        assert_eq!((ended.status, &*ended.out), (2, ""), "{ended:?}");
        let usage = ended.err.lines().find(|line| line.starts_with("Usage: crossfade ")).unwrap();
        assert!(usage.contains("[OPTIONS]") && !usage.contains("--url"), "{ended:?}");
        let shown = ended.err.lines().filter(|line| line.starts_with("Example: ") && line.contains(example));
        assert_eq!(shown.count(), 1, "{ended:?}");
    }
    let mut serve = Command::new(env!("CARGO_BIN_EXE_crossfade"));
    let output = serve.arg("serve").env_clear().env("CROSSFADE_MAX_CONNECTIONS", "many").output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{err}");
    assert!(err.contains("The value comes from the variable CROSSFADE_MAX_CONNECTIONS."), "{err}");
}

#[test]
fn a_refusal_names_flags_and_not_members_of_the_api() {
    let site = Site::new();
    site.client("Billing");
    let place = ["Billing", "--env", "staging"];
    let rotate = [&["secret", "rotate"], &place[..], &["--confirm", "Billing", "--no-value"]].concat();
    site.does(&[&rotate[..], &["--transition", "24h"]].concat());
    site.refuses(
        &[&rotate[..], &["--transition", "24h"]].concat(),
        5,
        "or set --end-running-transition to end",
    );
    let leaked = [&rotate[..], &["--transition", "1h", "--compromised"]].concat();
    site.refuses(&leaked, 2, "Set --transition to 0");
    let extend = [&["secret", "extend"], &place[..], &["--reason", "late", "--until", "+7d"]].concat();
    site.refuses(&extend, 1, "--until must be later than");
    let beyond = [&["secret", "extend"], &place[..], &["--reason", "late", "--until", "+400h"]].concat();
    site.refuses(&beyond, 2, "--until must be at most 168 hours after the rotation");
    let done =
        site.run(&[&["secret", "extend"], &place[..], &["--reason", "late", "--until", "+48h"]].concat());
    assert_eq!(done.status, 0, "{done:?}");
}

#[test]
fn a_log_that_is_no_level_stops_the_start() {
    let data = Data::new();
    for log in ["nonsense=", "inof"] {
        refuses(data.serve(&["--log", log]), 2, "log must be a level");
    }
}

#[test]
fn a_token_of_an_account_without_the_permission_is_created_with_a_warning() {
    let site = Site::new();
    let program = site.json(&["user", "create", "--program", "--name", "deploy"]);
    let id = program["id"].as_str().unwrap();
    let create = |scope: &[&str]| {
        let arguments = ["token", "create", "--data-dir", site.data.path(), "--user", id, "--name", "x"];
        Running::start(&[&arguments[..], scope].concat()).end()
    };
    let (status, out, err) = create(&[]);
    assert_eq!((status, out.lines().count()), (0, 1), "{err}");
    assert!(err.contains("has no role yet"), "{err}");
    site.does(&["grant", "create", id, "--role", "viewer"]);
    let (status, _, err) = create(&["--scope", "client:read,secret:reveal"]);
    assert!(status == 0 && err.contains("has no role with secret:reveal"), "{err}");
    let (status, _, err) = create(&["--scope", "client:read"]);
    assert_eq!((status, &*err), (0, ""));
}
