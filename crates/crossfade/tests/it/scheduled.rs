//! `crossfade secret rotate --if-older-than`, as a job on a schedule runs it.

use crate::commands::{Ended, Site};
use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
};

/// Runs the job with the file `billing.secret`.
fn job(site: &Site, age: &str, more: &[&str]) -> Ended {
    let file = site.file("billing.secret");
    let job =
        ["secret", "rotate", "Billing", "--env", "staging", "--transition", "0", "--confirm", "Billing"];
    site.run(&[&job[..], &["--if-older-than", age, "--output", &file], more].concat())
}

/// Runs the job until the secret is a second old.
fn rotated(site: &Site, more: &[&str]) -> Ended {
    for _ in 0..200 {
        let ended = job(site, "1s", more);
        if !ended.err.contains("is younger than") {
            return ended;
        }
    }
    panic!("the secret does not grow old")
}

/// Asks for an access token with a secret. Returns the status.
fn token_status(site: &Site, client_id: &str, secret: &str) -> u16 {
    let form = format!("grant_type=client_credentials&client_id={client_id}&client_secret={secret}");
    let host = site.url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    write!(
        stream,
        "POST /env/staging/oauth2/token HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: \
         application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_job_rotates_an_old_secret_and_leaves_a_young_one_and_its_file() {
    let site = Site::new();
    let client = site.client("Billing");
    let first = client["registrations"][0]["secret"]["id"].as_str().unwrap();
    let path = site.data.file("billing.secret");
    let young = job(&site, "80d", &[]);
    assert_eq!((young.status, &*young.out), (0, ""), "{young:?}");
    assert!(
        young.err.contains(&format!(
            "The current secret {first} is younger than --if-older-than. Nothing was changed."
        )),
        "{young:?}"
    );
    assert!(!path.exists(), "no file for no value");

    let done = rotated(&site, &[]);
    assert_eq!(done.status, 0, "{done:?}");
    let value = fs::read_to_string(&path).unwrap();
    assert!(value.starts_with("crossfade_test_"), "{done:?}");
    // The file is there from now on: it is left, and later replaced.
    let before = fs::metadata(&path).unwrap().modified().unwrap();
    let young = job(&site, "80d", &["--json"]);
    let told: serde_json::Value = serde_json::from_str(&young.out).unwrap();
    assert_eq!((young.status, told["rotated"].as_bool()), (0, Some(false)), "{young:?}");
    let young = job(&site, "80d", &["--exit-code"]);
    assert_eq!((young.status, &*young.out), (8, ""), "{young:?}");
    assert_eq!(fs::read_to_string(&path).unwrap(), value);
    assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), before, "untouched");

    let done = rotated(&site, &["--json", "--exit-code"]);
    let told: serde_json::Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!((done.status, told["rotated"].as_bool()), (0, Some(true)), "{done:?}");
    assert!(told["secret"]["value"].is_null(), "the value is in the file alone");
    assert_ne!(fs::read_to_string(&path).unwrap(), value, "replaced");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let left: Vec<_> = fs::read_dir(site.data.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
    let left = left.iter().filter(|name| name.to_string_lossy().starts_with("billing.secret")).count();
    assert_eq!(left, 1, "no file beside it");
}

#[test]
fn a_job_replaces_no_file_but_one_with_a_client_secret() {
    let site = Site::new();
    site.client("Billing");
    let path = site.data.file("billing.secret");
    for content in ["-----BEGIN PRIVATE KEY-----", "", "crossfade_test_short", &"x".repeat(300)] {
        fs::write(&path, content).unwrap();
        for age in ["80d", "1s"] {
            let ended = job(&site, age, &[]);
            assert_eq!(ended.status, 1, "{content}: {ended:?}");
            assert!(
                ended.err.contains("is not a file with a client secret. Nothing was changed."),
                "{ended:?}"
            );
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
    }
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(site.file("elsewhere"), &path).unwrap();
    assert_eq!(job(&site, "80d", &[]).status, 1, "a link is no file");
    let history = site.json(&["secret", "history", "Billing", "--env", "staging"]);
    assert_eq!(history, serde_json::json!([]), "nothing was rotated");
}

/// A job that was stopped after the rotation, and runs again with its key.
#[test]
fn a_job_that_runs_again_with_its_key_receives_the_same_secret() {
    let site = Site::new();
    site.client("Billing");
    let rotate = |key: &str, file: &str, more: &[&str]| {
        let file = site.file(file);
        let command = [
            "secret",
            "rotate",
            "Billing",
            "--env",
            "staging",
            "--transition",
            "24h",
            "--confirm",
            "Billing",
        ];
        let key = format!("--idempotency-key={key}");
        site.run(&[&command[..], &[&key, "--output", &file], more].concat())
    };
    let value = |file: &str| fs::read_to_string(site.data.file(file)).unwrap();
    assert_eq!(rotate("job-19", "first", &[]).status, 0);
    let again = rotate("job-19", "second", &[]);
    assert_eq!(again.status, 0, "{again:?}");
    assert_eq!(value("first"), value("second"), "one rotation, one value");
    let history = site.json(&["secret", "history", "Billing", "--env", "staging"]);
    assert_eq!(history.as_array().unwrap().len(), 1, "{history}");

    let other = rotate("job-19", "third", &["--reason", "another request"]);
    assert_eq!(other.status, 1, "{other:?}");
    assert!(
        other.err.contains("--idempotency-key: ") && other.err.contains("[idempotency_mismatch]"),
        "{other:?}"
    );
    let next = rotate("job-20", "third", &[]);
    assert!(next.status == 5 && next.err.contains("[transition_in_progress]"), "{next:?}");

    // Nothing delivers a secret that is refused since a person rolled the rotation back.
    site.does(&["secret", "rollback", "Billing", "--env", "staging", "--reason", "the release failed"]);
    let late = rotate("job-19", "third", &[]);
    assert_eq!(late.status, 5, "{late:?}");
    assert!(late.err.contains("is no longer current, so its value is not given. Use a new key."), "{late:?}");
    assert!(!site.data.file("third").exists(), "no file for no value");
}

/// The run after one whose delivery failed must not look as if everything were well.
#[test]
fn a_job_is_told_of_a_new_secret_that_no_caller_uses() {
    let site = Site::new();
    let client = site.client("Billing");
    let rotate = ["secret", "rotate", "Billing", "--env", "staging", "--confirm", "Billing"];
    let young = |age: &str| {
        let more = ["--transition", "24h", "--no-value", "--if-older-than", age, "--exit-code"];
        site.run(&[&rotate[..], &more].concat())
    };
    assert_eq!(young("80d").status, 8, "it was never rotated");
    let issued = site.json(&[&rotate[..], &["--transition", "24h", "--show"]].concat());
    let id = issued["secret"]["id"].as_str().unwrap();
    let unused = young("80d");
    assert_eq!((unused.status, &*unused.out), (9, ""), "{unused:?}");
    let sentence = format!("No caller has used the current secret {id} since the rotation at ");
    assert!(unused.err.contains(&sentence) && unused.err.contains("crossfade secret rollback"), "{unused:?}");

    let client_id = client["registrations"][0]["client_id"].as_str().unwrap();
    let new = issued["secret"]["value"].as_str().unwrap();
    assert_eq!(token_status(&site, client_id, new), 200);
    assert_eq!(young("80d").status, 8, "a caller uses it");

    // After a rollback, the secret that every caller has is current.
    site.does(&["secret", "revoke", "Billing", "--env", "staging", "--reason", "r", "--confirm", "Billing"]);
    site.does(&[&rotate[..], &["--transition", "24h", "--no-value"]].concat());
    assert_eq!(young("80d").status, 9);
    site.does(&["secret", "rollback", "Billing", "--env", "staging", "--reason", "the release failed"]);
    assert_eq!(young("80d").status, 8);

    // Without a transition, an unused client is told of nothing until callers are refused.
    site.does(&[&rotate[..], &["--transition", "0", "--no-value"]].concat());
    assert_eq!(young("80d").status, 8, "nobody was refused");
    assert_eq!(token_status(&site, client_id, new), 401);
    let ended = young("80d");
    assert_eq!(ended.status, 9, "{ended:?}");
    assert!(ended.err.contains("callers are refused since the old secret ended at "), "{ended:?}");
}
