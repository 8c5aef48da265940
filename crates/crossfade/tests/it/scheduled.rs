//! `crossfade secret rotate --if-older-than`, as a job on a schedule runs it.

use crate::commands::{Ended, Site};
use std::{fs, os::unix::fs::PermissionsExt};

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
