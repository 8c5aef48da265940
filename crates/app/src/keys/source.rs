//! Where the master keys come from: a file, or the output of a command.

use crate::{
    error::Error,
    keys::{command::KeyCommand, master_key::MasterKeys},
};
use crossfade_core::{Code, Problem, Random};
use std::{
    fmt,
    path::{Path, PathBuf},
};

/// Where the master keys come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeySource {
    /// A file. A new instance creates it.
    File(PathBuf),
    /// A command whose output has the format of the file.
    Command(KeyCommand),
}

impl KeySource {
    /// Path of the file; `None` if the keys come from a command.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Command(_) => None,
        }
    }

    /// Whether there is a key, or at least something in its place.
    pub(crate) fn exists(&self) -> bool {
        self.file().is_none_or(Path::exists)
    }

    /// Reads the keys; `Ok(None)` if there is no file. Refuses a file that every user of the machine can read.
    pub(crate) fn read(&self) -> Result<Option<MasterKeys>, Error> {
        match self {
            Self::File(path) => MasterKeys::read(path),
            Self::Command(command) => self.run(command),
        }
    }

    /// Reads the keys, even if other users can read the file.
    pub(crate) fn read_exposed(&self) -> Result<Option<MasterKeys>, Error> {
        match self {
            Self::File(path) => MasterKeys::read_exposed(path),
            Self::Command(command) => self.run(command),
        }
    }

    fn run(&self, command: &KeyCommand) -> Result<Option<MasterKeys>, Error> {
        let keys = command.output().and_then(|text| {
            MasterKeys::parse(&text).map_err(|what| format!("returned an output that {what}"))
        });
        keys.map(Some).map_err(|what| {
            Problem::new(Code::Unavailable, format!("The {self} {what}. Nothing was changed.")).into()
        })
    }

    /// Generates the key of a new instance.
    pub(crate) fn create(&self, random: &dyn Random) -> Result<MasterKeys, Error> {
        match self {
            Self::File(path) => MasterKeys::create(path, random),
            Self::Command(_) => Err(Error::internal("a command creates no master key")),
        }
    }

    /// Generates a key and puts it in front of the others, if the source is a file of the user's own.
    pub(crate) fn put_new_first(&self, random: &dyn Random) -> Result<MasterKeys, Error> {
        match self {
            Self::File(path) => MasterKeys::put_new_first(path, random),
            Self::Command(_) => {
                let text = format!(
                    "The first key that the {self} returns already seals everything. Nothing was changed. Make \
                    the command return a new key on the first line, then run this command again."
                );
                Err(Problem::new(Code::Unavailable, text).into())
            }
        }
    }

    /// Returns the error for a missing file.
    pub(crate) fn missing(&self) -> Error {
        let text = format!(
            "The {self} is missing, so the database cannot be opened. Restore the file from where you keep it."
        );
        Problem::new(Code::Unavailable, text).into()
    }
}

impl From<&Path> for KeySource {
    fn from(path: &Path) -> Self {
        Self::File(path.to_owned())
    }
}

/// Writes the name of the source, without an article.
impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "master key file {}", path.display()),
            Self::Command(command) => write!(f, "master key command {}", command.program().display()),
        }
    }
}
