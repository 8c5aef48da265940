//! Confirmation with the typed name of the object, for changes that affect others.

use crate::{failure::Failure, output};
use crossfade_core::text::Name;
use std::io::{BufRead, IsTerminal};

/// Returns the client's name from the command, or typed now; the server compares it. `what` says what happens.
pub(super) fn confirmed(given: Option<String>, what: &str) -> Result<String, Failure> {
    confirmed_name(given, what, "the client's name")
}

/// Returns a name from the command, or typed now; the server compares it. `what` says what happens, and `whose_name` what to
/// type.
pub(super) fn confirmed_name(given: Option<String>, what: &str, whose_name: &str) -> Result<String, Failure> {
    match given {
        Some(name) => Ok(name),
        None => typed(&format!("This {what}."), whose_name)?.ok_or_else(|| {
            Failure::usage(format!(
                "This command needs a confirmation. Nothing was changed. Set --confirm to {whose_name}, or run the \
                command in a terminal."
            ))
        }),
    }
}

/// Asks for the name of the object, and compares it. `sentence` says what happens, and `whose_name` what to type, such
/// as "the client's name".
pub(super) fn confirm_name(
    given: Option<String>,
    name: &str,
    sentence: &str,
    whose_name: &str,
) -> Result<(), Failure> {
    let typed = match given {
        Some(typed) => typed,
        None => typed(sentence, whose_name)?.ok_or_else(|| {
            Failure::usage(format!(
                "{sentence} Nothing was changed. Set --confirm to {whose_name}, or run the command in a \
                terminal."
            ))
        })?,
    };
    let is_same = match Name::parse("name", name) {
        Ok(name) => name.is_typed_as(&typed),
        Err(_) => typed.trim() == name,
    };
    is_same.then_some(()).ok_or_else(|| {
        Failure::mismatch(format!("--confirm must match {whose_name} exactly. Nothing was changed."))
    })
}

/// Asks for text after a sentence that says what happens; `None` without a terminal.
pub(super) fn typed(sentence: &str, what: &str) -> Result<Option<String>, Failure> {
    if !std::io::stdin().is_terminal() {
        return Ok(None);
    }
    output::note(&format!("{sentence} Type {what} to continue:"));
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(|error| {
        Failure::failed(format!("Cannot read from the terminal: {error}. Nothing was changed."))
    })?;
    Ok(Some(line.trim().to_owned()))
}
