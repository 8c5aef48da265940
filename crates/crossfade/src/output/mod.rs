//! Output of commands: data on stdout, everything else on stderr. A reader that stops reading (`| head`) is not an
//! error.

mod awaited;
mod clean;
mod table;

use self::awaited::{await_value, received};
pub(crate) use self::{
    awaited::abandon,
    clean::{line, lines},
    table::{Column, fixed, table, table_of_values, text},
};
use crate::{cli::NewValue, failure::Failure};
use crossfade_core::{
    Timestamp,
    environment::EnvironmentKind,
    secret::{SecretKind, SecretValue},
};
use serde::Serialize;
use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, IsTerminal, Write},
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// Writes data to stdout. For a terminal the data is cleaned; a pipe or a file gets it unchanged.
pub(crate) fn data(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let text = if out.is_terminal() { lines(text) } else { text.into() };
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(unwritable(&error)),
        _ => Ok(()),
    }
}

/// Writes data that arrives in parts, only in complete lines.
#[derive(Default)]
pub(crate) struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    /// Writes the complete lines so far; `false` if the reader has stopped reading.
    pub(crate) fn write(&mut self, part: impl AsRef<[u8]>) -> Result<bool, Failure> {
        let mut out = std::io::stdout().lock();
        if out.is_terminal() {
            return self.write_to(&mut Cleaned(out), part.as_ref());
        }
        self.write_to(&mut out, part.as_ref())
    }

    fn write_to(&mut self, out: &mut impl Write, part: &[u8]) -> Result<bool, Failure> {
        self.begun.extend_from_slice(part);
        let whole = self.begun.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let rest = self.begun.split_off(whole);
        let lines = std::mem::replace(&mut self.begun, rest);
        match out.write_all(&lines).and_then(|()| out.flush()) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(unwritable(&error)),
        }
    }

    /// Ends the output, which must be the end of a line.
    pub(crate) fn end(self) -> Result<(), Failure> {
        match self.begun.is_empty() {
            true => Ok(()),
            false => Err(Failure::failed(
                "The response ended in the middle of a line. The lines written are complete, but later ones \
                are missing.",
            )),
        }
    }
}

/// Cleans complete lines on their way to a terminal.
struct Cleaned<W>(W);

impl<W: Write> Write for Cleaned<W> {
    fn write(&mut self, whole: &[u8]) -> std::io::Result<usize> {
        self.0.write_all(lines(&String::from_utf8_lossy(whole)).as_bytes())?;
        Ok(whole.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

fn unwritable(error: &std::io::Error) -> Failure {
    Failure::failed(format!("Cannot write to stdout: {error}."))
}

/// Writes a value that exists nowhere else. Unlike [`data`], it fails if the reader has stopped reading.
pub(crate) fn value(text: &str, lost: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let text = if out.is_terminal() { lines(text) } else { text.into() };
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| {
        Failure::failed(format!("The change was made, but its value could not be printed: {error}. {lost}"))
    })
}

/// A kind of value that is delivered once.
pub(crate) struct Kind {
    noun: &'static str,
    lost: &'static str,
}

impl Kind {
    /// Returns the failure for a response without the expected value.
    pub(crate) fn not_given(&self) -> Failure {
        Failure::failed(format!("The change was made, but the response has no {}. {}", self.noun, self.lost))
    }
}

/// The secret of a registration.
pub(crate) const SECRET: Kind = Kind {
    noun: "secret",
    lost: "Show it with crossfade secret reveal. If the environment does not store values, rotate again.",
};

/// The signing secret of a webhook.
pub(crate) const SIGNING_SECRET: Kind =
    Kind { noun: "signing secret", lost: "Generate another with crossfade webhook rotate-secret." };

/// A one-time link.
pub(crate) const LINK: Kind =
    Kind { noun: "link", lost: "Create another with crossfade user link, which replaces this one." };

/// An API token.
pub(crate) const TOKEN: Kind =
    Kind { noun: "token", lost: "Delete it with crossfade token delete, and create another one." };

/// A one-time link for a locked-out Owner.
pub(crate) const RECOVERY: Kind =
    Kind { noun: "link", lost: "Run crossfade owner recover again, which ends the earlier link." };

/// Writes a line for people to stderr.
pub(crate) fn note(text: &str) {
    // Failing to write a note is no reason to stop.
    let _ = writeln!(std::io::stderr(), "{}", lines(text));
}

/// Writes the beginning of a line that a person completes to stderr.
pub(crate) fn prompt(text: &str) {
    let mut err = std::io::stderr();
    // Failing to write a prompt is no reason to stop.
    let _ = write!(err, "{text}").and_then(|()| err.flush());
}

/// Writes a line to stderr that warns about an action without preventing it.
pub(crate) fn warning(text: &str) {
    note(&format!("Warning: {text}"));
}

/// Returns a time for a table, to the second, or `-` if there is none. JSON has the microseconds.
pub(crate) fn time(at: Option<Timestamp>) -> String {
    at.map_or_else(
        || "-".to_owned(),
        |at| Timestamp::from_seconds(at.as_seconds()).to_string().replace(".000000", ""),
    )
}

/// Writes a value as JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::failed(error.to_string()))?;
    data(&format!("{}\n", clean::json(&text)))
}

/// Writes JSON with a value that exists nowhere else.
pub(crate) fn json_value(content: &impl Serialize, kind: &Kind) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(content).map_err(|error| Failure::failed(error.to_string()))?;
    value(&format!("{}\n", clean::json(&text)), kind.lost)
}

/// Destination of a value, opened before anything is changed, so that no value is created that cannot be stored.
pub(crate) enum Sink {
    /// Nowhere: the value is not requested.
    Closed,
    /// Stdout.
    Show,
    /// A new file that only its owner can read.
    File(File, PathBuf),
    /// A new file beside the one that it replaces once it contains the value.
    Next { file: File, path: PathBuf, replaces: PathBuf },
}

impl Sink {
    /// Opens the destination: a file, or stdout.
    pub(crate) fn open(output: Option<&Path>) -> Result<Self, Failure> {
        match output {
            None => Ok(Self::Show),
            Some(path) => create_private(path).map(|file| Self::File(file, path.to_owned())),
        }
    }

    /// Opens the destination for the value of a request, and removes the unused file if the request is refused.
    pub(crate) async fn around<T>(
        output: Option<&Path>,
        request: impl Future<Output = Result<T, Failure>>,
    ) -> Result<(Self, T), Failure> {
        Self::open(output)?.until(request).await
    }

    /// Waits for the response to a request, and removes the unused file if the request is refused.
    async fn until<T>(self, request: impl Future<Output = Result<T, Failure>>) -> Result<(Self, T), Failure> {
        let path = match &self {
            Self::File(_, path) | Self::Next { path, .. } => Some(path.as_path()),
            Self::Closed | Self::Show => None,
        };
        await_value(path);
        match request.await {
            Ok(reply) => {
                if path.is_none() {
                    received();
                }
                Ok((self, reply))
            }
            Err(failure) => {
                self.discard();
                Err(failure)
            }
        }
    }

    /// Opens the destination for the value of a secret that may be left as it is. An existing file is replaced when the
    /// value is written.
    pub(crate) async fn for_next<T>(
        value: &NewValue,
        request: impl Future<Output = Result<T, Failure>>,
    ) -> Result<(Self, T), Failure> {
        match &value.output {
            Some(replaces) if replaces.symlink_metadata().is_ok() => {
                let (file, path) = create_beside(replaces)?;
                Self::Next { file, path, replaces: replaces.clone() }.until(request).await
            }
            _ => Self::for_new(value, request).await,
        }
    }

    /// Opens the destination for the value of a new secret, as [`Self::around`] does.
    pub(crate) async fn for_new<T>(
        value: &NewValue,
        request: impl Future<Output = Result<T, Failure>>,
    ) -> Result<(Self, T), Failure> {
        match value.no_value {
            true => Ok((Self::Closed, request.await?)),
            false => Self::around(value.output.as_deref(), request).await,
        }
    }

    /// Whether the value is not requested.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }

    /// Whether the value goes to stdout.
    pub(crate) fn shows(&self) -> bool {
        matches!(self, Self::Show)
    }

    /// Writes the value. A file contains it without a line end, like mounted secrets.
    pub(crate) fn put(self, text: &str, kind: &Kind) -> Result<(), Failure> {
        let _whole = received();
        match self {
            Self::Closed => Ok(()),
            Self::Show => value(&format!("{text}\n"), kind.lost),
            Self::File(mut file, path) => {
                let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
                let (noun, path) = (kind.noun, path.display());
                written.map_err(|error| {
                    Failure::failed(format!(
                        "The change was made, but the {noun} could not be written to {path}: {error}. {}",
                        kind.lost
                    ))
                })?;
                note(&format!("Wrote the {noun} to {path}."));
                Ok(())
            }
            Self::Next { mut file, path, replaces } => {
                let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
                let written = written.and_then(|()| std::fs::rename(&path, &replaces));
                let (noun, path, replaces) = (kind.noun, path.display(), replaces.display());
                written.map_err(|error| {
                    Failure::failed(format!(
                        "The change was made, but {replaces} could not be replaced by the new {noun} in {path}: \
                        {error}. {}",
                        kind.lost
                    ))
                })?;
                note(&format!("Wrote the {noun} to {replaces}."));
                Ok(())
            }
        }
    }

    /// Removes the unused file after a refusal.
    pub(crate) fn discard(self) {
        let _whole = received();
        if let Self::File(file, path) | Self::Next { file, path, .. } = self {
            drop(file);
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Longest file that can be a client secret with white space around it.
const MAX_SECRET_FILE: u64 = 256;

/// Creates a private file beside one that contains a client secret. Any other file is not replaced.
fn create_beside(replaces: &Path) -> Result<(File, PathBuf), Failure> {
    let metadata = replaces.symlink_metadata();
    let is_short = metadata.is_ok_and(|it| it.is_file() && it.len() <= MAX_SECRET_FILE);
    let content = is_short.then(|| std::fs::read_to_string(replaces).map(Zeroizing::new).ok()).flatten();
    let is_secret = |text: &str| {
        let kinds = [EnvironmentKind::Test, EnvironmentKind::Live].map(SecretKind::Client);
        kinds.into_iter().any(|kind| SecretValue::parse(kind, text).is_some())
    };
    if !content.is_some_and(|text| is_secret(text.trim())) {
        return Err(Failure::failed(format!(
            "{} exists and is not a file with a client secret. Nothing was changed. Choose another file.",
            replaces.display()
        )));
    }
    let mut name = replaces.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let path = replaces.with_file_name(name);
    Ok((create_private(&path)?, path))
}

fn create_private(path: &Path) -> Result<File, Failure> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|error| {
        match error.kind() {
            ErrorKind::AlreadyExists => Failure::failed(format!(
                "{} already exists. Nothing was changed. Choose a new file name.",
                path.display()
            )),
            _ => Failure::failed(format!("Cannot write {}: {error}. Nothing was changed.", path.display())),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_lines_are_written() {
        let (mut lines, mut out) = (Lines::default(), Vec::new());
        for part in ["{\"a\":", "1}\n{\"b\"", ":2}\n{\"c\":3}\n{"] {
            assert!(lines.write_to(&mut out, part.as_bytes()).unwrap());
        }
        assert_eq!(String::from_utf8(out).unwrap(), "{\"a\":1}\n{\"b\":2}\n{\"c\":3}\n");
        assert!(lines.end().is_err(), "it broke off");
        assert!(Lines::default().end().is_ok());
    }
}
