//! Confirmation with the typed name of the object, for changes that affect others.

use crate::{failure::Failure, output};
use crossfade_core::text::Name;
use std::io::{BufRead, IsTerminal};

/// Returns the client's name from the command, or typed now; the server compares it. `what` says what happens.
pub(super) fn confirmed(given: Option<String>, what: &str) -> Result<String, Failure> {
    match given {
        Some(name) => Ok(name),
        None => typed(&format!("This {what}."), "the client's name")?.ok_or_else(|| {
            Failure::usage("This needs --confirm with the client's name. Nothing was changed.")
        }),
    }
}

/// Asks for the name of the object, and compares it. `sentence` says what happens, and `thing` is the kind of object.
pub(super) fn confirm_name(
    given: Option<String>,
    name: &str,
    sentence: &str,
    thing: &str,
) -> Result<(), Failure> {
    let typed = match given {
        Some(typed) => typed,
        None => typed(sentence, &format!("the name of the {thing}"))?.ok_or_else(|| {
            Failure::usage(format!(
                "{sentence} Nothing was changed. Set --confirm to the name of the {thing}."
            ))
        })?,
    };
    let is_same = match Name::parse("name", name) {
        Ok(name) => name.is_typed_as(&typed),
        Err(_) => typed.trim() == name,
    };
    is_same.then_some(()).ok_or_else(|| {
        Failure::mismatch(format!(
            "--confirm must be the name of the {thing}, exactly as it is shown. Nothing was changed."
        ))
    })
}

/// Asks for text after a sentence that says what happens; `None` without a terminal.
pub(super) fn typed(sentence: &str, what: &str) -> Result<Option<String>, Failure> {
    if !std::io::stdin().is_terminal() {
        return Ok(None);
    }
    output::note(&format!("{sentence} Type {what} to go on:"));
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|error| Failure::failed(format!("Nothing could be read: {error}. Nothing was changed.")))?;
    Ok(Some(line.trim().to_owned()))
}
