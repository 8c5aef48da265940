//! The settings file. What is said of it never quotes a line or a value, because either may hold a password.

use super::Settings;
use crate::failure::Failure;
use std::path::Path;

/// Maximum length of a name that is quoted: more than any setting has.
const MAX_KEY: usize = 32;

/// Reads a settings file.
pub(super) fn read(path: &Path) -> Result<Settings, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::failed(format!("Cannot read the settings file {}: {error}.", path.display()))
    })?;
    let invalid = |error: toml::de::Error| {
        let start = error.span().map_or(0, |span| span.start);
        let line = text.bytes().take(start).filter(|byte| *byte == b'\n').count();
        let key = text.lines().nth(line).and_then(|line| line.split_once('=')).map(|(key, _)| key.trim());
        let key = key.filter(|key| is_bare(key)).map(|key| format!(" ({key})")).unwrap_or_default();
        let what = without_value(error.message());
        Failure::usage(format!(
            "The settings file {} is not valid at line {}{key}: {what}.",
            path.display(),
            line + 1
        ))
    };
    let settings = toml::from_str(&text).map_err(invalid)?;
    // A string whose quotes end too late holds the lines after it. The words of a command may have several lines.
    let values: toml::Table = toml::from_str(&text).map_err(invalid)?;
    match values.iter().find(|(key, value)| *key != "master_key_command" && !is_one_line(value)) {
        Some((key, _)) => Err(Failure::usage(format!(
            "{key} must be one line of text in the settings file {}.",
            path.display()
        ))),
        None => Ok(settings),
    }
}

/// Whether a text has the form of a setting's name. Part of a password that a broken line begins with usually has not.
fn is_bare(key: &str) -> bool {
    (1..=MAX_KEY).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// Returns the message of an error without the value that it quotes: what was expected, and an unknown key.
fn without_value(message: &str) -> String {
    let message = message.trim_end_matches('.');
    let Some((found, expected)) = message.rsplit_once(", expected ") else {
        return message.lines().next().unwrap_or_default().to_owned();
    };
    let expected = match expected.lines().next().unwrap_or_default() {
        "u32" | "u64" => "a whole number",
        expected => expected,
    };
    let unknown = found.strip_prefix("unknown field `").and_then(|name| name.strip_suffix('`'));
    match unknown.filter(|key| is_bare(key)) {
        Some(key) => format!("{key} is unknown, expected {expected}"),
        None => format!("expected {expected}"),
    }
}

fn is_one_line(value: &toml::Value) -> bool {
    match value {
        toml::Value::String(text) => !text.contains(char::is_control),
        toml::Value::Array(values) => values.iter().all(is_one_line),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("crossfade.toml");
        std::fs::write(&path, text).unwrap();
        read(&path).unwrap_err().sentence().replace(&path.display().to_string(), "FILE")
    }

    #[test]
    fn a_refusal_says_where_and_what_is_expected() {
        for (text, said) in [
            ("listen = 7", "The settings file FILE is not valid at line 1 (listen): expected a string."),
            (
                "\nidle_seconds = \"a\"",
                "The settings file FILE is not valid at line 2 (idle_seconds): expected a whole number.",
            ),
            ("log = '''a\nb'''", "log must be one line of text in the settings file FILE."),
            (
                "trusted_proxies = [\"a\\nb\"]",
                "trusted_proxies must be one line of text in the settings file FILE.",
            ),
        ] {
            assert_eq!(refused(text), said, "{text}");
        }
        assert!(refused("[server]").contains("line 1: server is unknown, expected one of `"));
        assert!(
            refused("lsten = \"127.0.0.1:1\"")
                .contains("line 1 (lsten): lsten is unknown, expected one of `")
        );
    }

    #[test]
    fn a_refusal_quotes_no_value() {
        for text in [
            "listen = '''\ndatabase_url = \"postgres://u:canary@db/x\"\n'''",
            "data_dir = \"\"\"\ndatabase_url = 'postgres://u:canary@db/x'\n\"\"\"",
            "idle_seconds = \"postgres://u:canary@db/x\"",
            "log_format = \"postgres://u:canary@db/x\"",
            "trusted_proxies = \"a, expected postgres://u:canary@db/x\"",
            "database_url postgres://u:canary@db/x?sslmode=require",
            "\"postgres://u:canary@db/x\" = 1",
            "database_url = postgres://u:canary@db/x",
            "database_url = \"postgres://u:canary@db/x",
            "a = 1\na.'postgres://u:canary@db/x' = 1",
            "database_url = \"x\"\nSGVsbG8canaryZ2Q=",
            "smtp_password\ncanary-1=",
            "'postgres://u:canary@db/x' = 1\n'postgres://u:canary@db/x' = 1",
        ] {
            let said = refused(text);
            assert!(!said.contains("canary") && said.lines().count() == 1, "{text}: {said}");
        }
    }
}
