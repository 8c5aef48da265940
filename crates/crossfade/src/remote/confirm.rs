//! The client's name, typed by the person who changes something that callers feel.

use crate::{failure::Failure, output};
use std::io::{BufRead, IsTerminal};

/// The name that the command gives, or that is typed now. `what` says what happens.
pub(super) fn confirmed(given: Option<String>, what: &str) -> Result<String, Failure> {
    match given {
        Some(name) => Ok(name),
        None => ask(what),
    }
}

fn ask(what: &str) -> Result<String, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage("Say --confirm with the client's name."));
    }
    output::note(&format!("This {what}. Type the client's name to go on:"));
    read_line()
}

/// What is typed now, after a sentence that says what happens; `None` where nobody can type.
pub(super) fn typed(sentence: &str, what: &str) -> Result<Option<String>, Failure> {
    if !std::io::stdin().is_terminal() {
        return Ok(None);
    }
    output::note(&format!("{sentence} Type {what} to go on:"));
    read_line().map(Some)
}

fn read_line() -> Result<String, Failure> {
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|error| Failure::failed(format!("Nothing could be read: {error}.")))?;
    Ok(line.trim().to_owned())
}
