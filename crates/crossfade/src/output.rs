//! What a command prints: data on stdout, everything else on stderr. A reader that has had enough (`| head`)
//! is no error.

use crate::{cli::Destination, failure::Failure};
use comfy_table::{ContentArrangement, Table, presets::NOTHING};
use crossfade_core::Timestamp;
use serde::Serialize;
use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Write},
    path::Path,
};

/// Writes data to stdout.
pub(crate) fn data(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("Nothing can be written to stdout: {error}.")))
        }
        _ => Ok(()),
    }
}

/// Writes a value that exists nowhere else. Unlike [`data`] it fails when nobody reads it.
pub(crate) fn value(text: &str, lost: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written
        .map_err(|error| Failure::failed(format!("It is done, but nobody read the value: {error}. {lost}")))
}

/// What to do when a secret was made and its value has not arrived.
pub(crate) const LOST_SECRET: &str =
    "Reveal it with crossfade secret reveal; where values are not stored, rotate again.";

/// Writes a line for people to stderr.
pub(crate) fn note(text: &str) {
    // A person who cannot be told is no reason to stop.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// A time in a table: to the second, and `-` where there is none. JSON has the microseconds.
pub(crate) fn time(at: Option<Timestamp>) -> String {
    at.map_or_else(
        || "-".to_owned(),
        |at| Timestamp::from_seconds(at.as_seconds()).to_string().replace(".000000", ""),
    )
}

/// Writes a value as JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::failed(error.to_string()))?;
    data(&format!("{text}\n"))
}

/// Writes as JSON what holds a secret that exists nowhere else.
pub(crate) fn json_value(content: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(content).map_err(|error| Failure::failed(error.to_string()))?;
    value(&format!("{text}\n"), LOST_SECRET)
}

/// Writes a table.
pub(crate) fn table(header: &[&str], rows: Vec<Vec<String>>) -> Result<(), Failure> {
    if rows.is_empty() {
        note("Nothing to show.");
        return Ok(());
    }
    let mut table = Table::new();
    // Never wrapped: an id or a time that is broken in the middle cannot be copied.
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().map(|name| name.to_uppercase()).collect::<Vec<_>>());
    for row in rows {
        table.add_row(row);
    }
    data(&format!("{}\n", table.trim_fmt()))
}

/// A file for a value, opened before anything is changed, so that a value is never made that cannot be kept.
pub(crate) enum Sink {
    /// Stdout.
    Show,
    /// A new file that only its owner can read.
    File(File, std::path::PathBuf),
}

impl Sink {
    /// Opens the destination.
    pub(crate) fn open(destination: &Destination) -> Result<Self, Failure> {
        match &destination.output {
            None => Ok(Self::Show),
            Some(path) => create_private(path).map(|file| Self::File(file, path.clone())),
        }
    }

    /// Whether the value goes to stdout.
    pub(crate) fn shows(&self) -> bool {
        matches!(self, Self::Show)
    }

    /// Hands the value over. A file holds it without a line end, as mounted secrets do.
    pub(crate) fn put(self, value: &str) -> Result<(), Failure> {
        match self {
            Self::Show => self::value(&format!("{value}\n"), LOST_SECRET),
            Self::File(mut file, path) => {
                let written = file.write_all(value.as_bytes()).and_then(|()| file.sync_all());
                written.map_err(|error| {
                    Failure::failed(format!("The secret could not be written to {}: {error}. Reveal it with crossfade secret reveal.", path.display()))
                })?;
                note(&format!("The secret stands in {}.", path.display()));
                Ok(())
            }
        }
    }

    /// Takes an unused file away again, after a refusal.
    pub(crate) fn discard(self) {
        if let Self::File(file, path) = self {
            drop(file);
            let _ = std::fs::remove_file(path);
        }
    }
}

fn create_private(path: &Path) -> Result<File, Failure> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|error| {
        match error.kind() {
            ErrorKind::AlreadyExists => Failure::failed(format!(
                "{} exists already. Nothing was changed; name a new file.",
                path.display()
            )),
            _ => Failure::failed(format!(
                "{} cannot be written: {error}. Nothing was changed.",
                path.display()
            )),
        }
    })
}
