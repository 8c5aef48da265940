//! What a command prints: data on stdout, everything else on stderr. A reader that has had enough (`| head`)
//! is no error.

use crate::{cli::Destination, failure::Failure};
use comfy_table::{ContentArrangement, Table, presets::NOTHING};
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

/// Writes a line for people to stderr.
pub(crate) fn note(text: &str) {
    // A person who cannot be told is no reason to stop.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Writes a value as JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::failed(error.to_string()))?;
    data(&format!("{text}\n"))
}

/// Writes a table, as wide as the terminal is.
pub(crate) fn table(header: &[&str], rows: Vec<Vec<String>>) -> Result<(), Failure> {
    if rows.is_empty() {
        note("Nothing to show.");
        return Ok(());
    }
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
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
            Self::Show => data(&format!("{value}\n")),
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
