//! The pages of docs/reference, generated from what they describe. This test fails if a committed page differs, and
//! regenerates the page, to be reviewed and committed.

use crate::cli;
use crossfade_core::{
    Code, Operation,
    audit::{Action, details_schemas},
    roles::{Permission, Role},
};
use serde_json::Value;
use std::{fmt::Write, fs, path::Path};

#[test]
fn the_reference_is_what_it_describes() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference");
    let mut stale = Vec::new();
    for (name, text) in [
        ("cli.md", cli()),
        ("api.md", api()),
        ("openapi.json", format!("{}\n", serde_json::to_string_pretty(crossfade_web::openapi()).unwrap())),
        ("errors.md", errors()),
        ("audit-events.md", audit_events()),
        ("roles.md", roles()),
        (
            "webhook-events.json",
            format!(
                "{}\n",
                serde_json::to_string_pretty(&crossfade_core::webhook::payload_schemas()).unwrap()
            ),
        ),
    ] {
        let path = directory.join(name);
        if fs::read_to_string(&path).ok().as_deref() != Some(text.as_str()) {
            fs::create_dir_all(&directory).unwrap();
            fs::write(path, text).unwrap();
            stale.push(name);
        }
    }
    assert!(stale.is_empty(), "regenerated; review the diff and commit it: {stale:?}");
}

const MADE: &str = "<!-- Generated from the source by a test. Edit the source, not this file. -->\n\n";

fn cli() -> String {
    let mut text = format!("# Command line\n\n{MADE}");
    let mut command = cli::program().term_width(100).disable_help_subcommand(true);
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

/// Returns the catalogue of events with their facts, generated from the types that are written to the trail.
fn audit_events() -> String {
    let mut text = format!(
        "# Audit events\n\n{MADE}Each event records when (`at`), who (`actor`), what (`action`), the `outcome` (`done` or \
         `refused`), the subject (`client_id`, `environment`, `target`), the origin (`source_ip`, `request_id`), the \
         credential (`via`: an API token, a session, a local command or a policy), the `reason`, and the facts below in \
         `details`. `via` is `null` for an OAuth client or an unknown caller (the facts name the secret if it is known), \
         and for events recorded before `via` existed. `seq` increases without gaps. No event contains a secret or its \
         digest.\n\n"
    );
    let mut generator = schemars::SchemaGenerator::default();
    let facts = details_schemas(&mut generator);
    assert_eq!(facts.len(), Action::ALL.len(), "every action has its facts");
    for (action, schema) in facts {
        let _ = writeln!(text, "## {}\n\n{}\n", action.as_str(), action.title());
        let members = schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
        if members.is_empty() {
            continue;
        }
        text.push_str("| fact | type | meaning |\n|---|---|---|\n");
        for (name, member) in members {
            let meaning = member["description"].as_str().unwrap_or_default().replace('\n', " ");
            let _ = writeln!(text, "| `{name}` | {} | {meaning} |", kind(&member));
        }
        text.push('\n');
    }
    text.trim_end().to_owned() + "\n"
}

/// Returns the type that a schema describes, in a few words.
fn kind(schema: &Value) -> String {
    if let Some(reference) = schema["$ref"].as_str() {
        return reference.rsplit('/').next().unwrap_or_default().to_owned();
    }
    if let Some(any) = schema["anyOf"].as_array() {
        return any.iter().map(kind).collect::<Vec<_>>().join(" or ");
    }
    match &schema["type"] {
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
        Value::String(kind) if kind == "array" => format!("list of {}", kind_of_items(schema)),
        Value::String(kind) => match schema["format"].as_str() {
            Some("date-time") => "time".to_owned(),
            _ => kind.clone(),
        },
        _ => "any".to_owned(),
    }
}

fn kind_of_items(schema: &Value) -> String {
    kind(&schema["items"])
}

/// Returns the operations of the API for people; openapi.json is for programs.
fn api() -> String {
    let document = crossfade_web::openapi();
    let mut text = format!(
        "# The admin API\n\n{MADE}{} Base: `/api/v1`. For programs: [openapi.json](openapi.json), served at \
         `/api/openapi.json`. See [errors](errors.md) for error codes and [access](access.md) for what each role can \
         do.\n\n",
        document["info"]["description"].as_str().unwrap()
    );
    for operation in Operation::ALL {
        let path = &document["paths"][operation.path()];
        let described = &path[operation.method().as_str().to_lowercase()];
        let _ = write!(
            text,
            "## {}\n\n`{} {}`\n\n{}\n",
            operation.id(),
            operation.method().as_str(),
            operation.path(),
            described["description"].as_str().unwrap()
        );
        let query: Vec<_> = described["parameters"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|parameter| parameter["in"] == "query")
            .map(|parameter| {
                format!(
                    "- `{}`: {}",
                    parameter["name"].as_str().unwrap(),
                    parameter["description"].as_str().unwrap()
                )
            })
            .collect();
        if !query.is_empty() {
            let _ = writeln!(text, "\nParameters:\n\n{}", query.join("\n"));
        }
        let example = &described["requestBody"]["content"]["application/json"]["example"];
        if !example.is_null() {
            let _ = writeln!(text, "\n```json\n{}\n```", serde_json::to_string_pretty(example).unwrap());
        }
        for (status, answer) in described["responses"].as_object().unwrap() {
            let example = &answer["content"]["application/json"]["example"];
            if !example.is_null() {
                let example = serde_json::to_string_pretty(example).unwrap();
                let _ = writeln!(text, "\n→ {status}\n\n```json\n{example}\n```");
            } else if status.starts_with('2') {
                let _ = writeln!(text, "\n→ {status}");
            }
        }
        let codes: Vec<_> = operation.codes().iter().map(|code| format!("`{}`", code.as_str())).collect();
        let _ = writeln!(text, "\nRefused with {}.\n", codes.join(", "));
    }
    text.trim_end().to_owned() + "\n"
}

fn roles() -> String {
    let roles: Vec<&str> = Role::ALL.iter().map(|role| role.as_str()).collect();
    let mut text = format!(
        "# Roles and permissions\n\n{MADE}[Access](access.md) lists the result of each operation for each role. A grant gives a role on the \
         whole platform, one property or one client, optionally limited to some environments. An API token can be \
         limited to permissions.\n\n\
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
