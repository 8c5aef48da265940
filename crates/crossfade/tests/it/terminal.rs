//! Commands on a terminal and off it: what asks for a name before it changes something.

use crate::commands::{Ended, Site};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::{
    fs::{File, OpenOptions},
    io::Write,
    os::unix::ffi::OsStrExt,
    process::Stdio,
};

/// Runs a command on a terminal at which this line is typed.
fn at_a_terminal(site: &Site, arguments: &[&str], typed: &str) -> Ended {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let path = std::ffi::OsStr::from_bytes(name.to_bytes());
    let terminal = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut keyboard = File::from(master);
    // The terminal keeps it until the command reads.
    writeln!(keyboard, "{typed}").unwrap();
    let mut command = site.command(&site.token, arguments);
    let output = command.stdin(Stdio::from(terminal)).output().unwrap();
    Ended {
        status: output.status.code().expect("an exit status and no signal"),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn rotated() -> Site {
    let site = Site::new();
    site.client("Billing");
    let rotate =
        ["secret", "rotate", "Billing", "--env", "staging", "--transition", "24h", "--confirm", "Billing"];
    site.does(&[&rotate[..], &["--no-value"]].concat());
    site
}

fn states(site: &Site) -> Vec<String> {
    let list = site.json(&["secret", "list", "Billing", "--env", "staging"]);
    list.as_array().unwrap().iter().map(|it| it["state"].as_str().unwrap().to_owned()).collect()
}

const REVOKE: [&str; 7] = ["secret", "revoke", "Billing", "--env", "staging", "--reason", "moved"];

#[test]
fn a_revocation_while_it_is_not_safe_asks_for_the_name_on_a_terminal() {
    let site = rotated();
    let asked = at_a_terminal(&site, &REVOKE, "billing");
    assert_eq!((asked.status, &*asked.out), (1, ""), "{asked:?}");
    for says in ["No caller has used the new secret", "Type the client's name", "[confirmation_mismatch]"] {
        assert!(asked.err.contains(says), "{says}: {asked:?}");
    }
    assert_eq!(states(&site), ["current", "retiring"]);
    let done = at_a_terminal(&site, &REVOKE, " Billing ");
    assert_eq!(done.status, 0, "{done:?}");
    assert_eq!(states(&site), ["current", "revoked"]);
}

#[test]
fn a_revocation_while_it_is_not_safe_needs_the_name_without_a_terminal() {
    let site = rotated();
    site.refuses(&REVOKE, 2, "Set --confirm to the client's name");
    site.refuses(&[&REVOKE[..], &["--compromised"]].concat(), 2, "Set --confirm to the client's name");
    site.refuses(&[&REVOKE[..], &["--confirm", "Invoices"]].concat(), 1, "[confirmation_mismatch]");
    assert_eq!(states(&site), ["current", "retiring"]);
    let done = site.run(&[&REVOKE[..], &["--confirm", "Billing"]].concat());
    assert_eq!(done.status, 0, "{done:?}");
    assert!(done.err.contains("No caller has used the new secret"), "{done:?}");
    site.refuses(&REVOKE, 5, "has no retiring secret");
}

#[test]
fn deleting_a_user_asks_for_the_name_on_a_terminal() {
    let site = Site::new();
    site.does(&["user", "create", "--email", "grace@example.com", "--name", "Grace Hopper", "--show"]);
    site.does(&["grant", "create", "grace@example.com", "--role", "viewer"]);
    let delete = ["user", "delete", "grace@example.com"];
    let asked = at_a_terminal(&site, &delete, "grace");
    assert_eq!(asked.status, 1, "{asked:?}");
    for says in ["Grace Hopper (grace@example.com, viewer)", "tokens", "Type the user's name"] {
        assert!(asked.err.contains(says), "{says}: {asked:?}");
    }
    site.does(&["user", "show", "grace@example.com"]);
    let done = at_a_terminal(&site, &delete, "Grace Hopper");
    assert_eq!(done.status, 0, "{done:?}");
    site.refuses(&["user", "show", "grace@example.com"], 3, "grace@example.com");
}

#[test]
fn deleting_an_environment_asks_for_the_slug_on_a_terminal() {
    let site = Site::new();
    let delete = ["env", "delete", "development"];
    site.refuses(&delete, 2, "Set --confirm to the environment's slug");
    let asked = at_a_terminal(&site, &delete, "staging");
    assert_eq!(asked.status, 1, "{asked:?}");
    for says in ["Development (development)", "signing keys", "Type the environment's slug"] {
        assert!(asked.err.contains(says), "{says}: {asked:?}");
    }
    site.does(&["env", "show", "development"]);
    assert_eq!(at_a_terminal(&site, &delete, "development").status, 0);
    site.refuses(&["env", "show", "development"], 3, "[not_found]");
}

#[test]
fn a_signing_key_that_ends_tokens_asks_for_the_environment() {
    let site = Site::new();
    let keys = || site.json(&["env", "keys", "staging"]).as_array().unwrap().len();
    let rotate = ["env", "rotate-key", "staging", "--compromised"];
    assert_eq!(at_a_terminal(&site, &rotate, "production").status, 1);
    site.refuses(&rotate, 2, "Set --confirm to the environment's slug");
    site.refuses(&["env", "rotate-key", "staging", "--immediate"], 2, "Set --confirm");
    assert_eq!(keys(), 1);
    assert_eq!(at_a_terminal(&site, &rotate, "staging").status, 0);
    site.does(&["env", "rotate-key", "staging", "--immediate", "--confirm", "staging"]);
    site.does(&["env", "rotate-key", "staging"]);
    assert!(keys() > 1);
}

#[test]
fn a_rotation_asks_for_the_name_on_a_terminal() {
    let site = Site::new();
    site.client("Billing");
    let rotate = ["secret", "rotate", "Billing", "--env", "staging", "--transition", "24h", "--show"];
    let done = at_a_terminal(&site, &rotate, "Billing");
    assert!(done.status == 0 && done.out.starts_with("crossfade_test_"), "{done:?}");
    site.refuses(&rotate, 2, "--confirm");
}
