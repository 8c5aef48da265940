//! The pages of docs/reference, made from what they describe. This test fails when a committed page differs,
//! and writes the page anew, to be looked at and committed.

use crate::cli::{self, Cli};
use clap::CommandFactory;
use crossfade_core::{
    Code, Operation,
    audit::Action,
    roles::{Permission, Role},
};
use std::{fmt::Write, fs, path::Path};

#[test]
fn the_reference_is_what_it_describes() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference");
    let mut stale = Vec::new();
    for (name, text) in [
        ("cli.md", cli()),
        ("errors.md", errors()),
        ("audit-events.md", audit_events()),
        ("roles.md", roles()),
    ] {
        let path = directory.join(name);
        if fs::read_to_string(&path).ok().as_deref() != Some(text.as_str()) {
            fs::create_dir_all(&directory).unwrap();
            fs::write(path, text).unwrap();
            stale.push(name);
        }
    }
    assert!(stale.is_empty(), "written anew, look at the difference and commit it: {stale:?}");
}

const MADE: &str = "<!-- Made by a test from the source; change it there. -->\n\n";

fn cli() -> String {
    let mut text = format!("# Command line\n\n{MADE}");
    let mut command = Cli::command().term_width(100).disable_help_subcommand(true);
    command.build();
    write_command(&mut text, &mut command, "");
    text.push_str("## Commands and operations\n\n| command | operation of the API |\n|---|---|\n");
    for operation in Operation::ALL {
        let _ = writeln!(text, "| `crossfade {}` | `{}` |", cli::command(*operation), operation.id());
    }
    text
}

fn write_command(text: &mut String, command: &mut clap::Command, parent: &str) {
    let name = format!("{parent}{}", command.get_name());
    let help = command.render_long_help().to_string();
    let help: Vec<&str> = help.lines().map(str::trim_end).collect();
    let _ = write!(text, "## {name}\n\n```text\n{}\n```\n\n", help.join("\n").trim_end());
    for child in command.get_subcommands_mut() {
        write_command(text, child, &format!("{name} "));
    }
}

fn errors() -> String {
    let mut text = format!(
        "# Error codes of the API\n\n{MADE}Every refusal is an `application/problem+json` document (RFC 9457). \
         Programs read `code`, people read `detail`; `field` names the member or parameter at fault.\n\n\
         | code | status | meaning |\n|---|---|---|\n"
    );
    for code in Code::ALL {
        let _ = writeln!(text, "| `{}` | {} | {} |", code.as_str(), code.status(), code.title());
    }
    text
}

fn audit_events() -> String {
    let mut text = format!("# Audit events\n\n{MADE}| action | what happened |\n|---|---|\n");
    for action in Action::ALL {
        let _ = writeln!(text, "| `{}` | {} |", action.as_str(), action.title());
    }
    text
}

fn roles() -> String {
    let roles: Vec<&str> = Role::ALL.iter().map(|role| role.as_str()).collect();
    let mut text = format!(
        "# Roles and permissions\n\n{MADE}A grant gives a role on the whole platform, on one property or on one client, \
         and optionally in some environments only. An API token may be limited to permissions.\n\n\
         | permission | what it allows | {} |\n|---|---|{}\n",
        roles.join(" | "),
        "---|".repeat(roles.len())
    );
    for permission in Permission::ALL {
        let has = |role: Role| if role.permissions().contains(permission) { "yes" } else { "" };
        let cells: Vec<&str> = Role::ALL.into_iter().map(has).collect();
        let _ =
            writeln!(text, "| `{}` | {} | {} |", permission.as_str(), permission.title(), cells.join(" | "));
    }
    text
}
