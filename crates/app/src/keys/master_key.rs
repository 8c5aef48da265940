//! The master keys, the only secrets that are not in the database. They seal the data keys and the ID of the instance,
//! and nothing else.

use crate::{
    error::Error,
    keys::{
        place::SealPlace,
        seal::{SealKey, sealed_by},
    },
};
use base64::{Engine, engine::general_purpose::STANDARD};
use crossfade_core::{Code, Problem, Random};
use std::{
    fs::OpenOptions,
    io::{ErrorKind, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};
use zeroize::Zeroizing;

/// Permission bits for everyone except the owner and the group of a file.
pub(crate) const EVERYBODY: u32 = 0o007;
const HEADER: &str = "crossfade-master-key-1:";

/// The key-encryption keys: the first one seals, and all of them open.
pub(crate) struct MasterKeys {
    first: SealKey,
    others: Vec<SealKey>,
}

impl MasterKeys {
    /// Reads the key file; `Ok(None)` if there is none. Refuses a file that every user of the machine can read, because
    /// nothing sealed under such a key is secret.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, Error> {
        // Reading reports a missing file or a directory.
        let found = std::fs::metadata(path).ok().filter(|found| !found.is_dir());
        let mode = found.map_or(0, |found| found.mode() & 0o7777);
        if mode & EVERYBODY == 0 {
            return Self::read_exposed(path);
        }
        let text = format!(
            "Every user of this machine has access to the master key file {path} (mode {mode:o}). Nothing was changed. Run chmod 600 {path}, or mount the file with mode 0440.",
            path = path.display()
        );
        Err(Problem::new(Code::Unavailable, text).into())
    }

    /// Reads the key file, even if other users can read it.
    pub(crate) fn read_exposed(path: &Path) -> Result<Option<Self>, Error> {
        match std::fs::read_to_string(path).map(Zeroizing::new) {
            Ok(text) => Self::parse(&text).map(Some).map_err(|what| unusable(path, &what)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unusable(path, &format!("cannot be read: {error}"))),
        }
    }

    /// Reads the keys from a text: one a line, between empty lines and comments. Returns what is wrong with the text; it
    /// quotes nothing of it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut keys = Vec::<SealKey>::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let number = at + 1;
            let key = parse_key(line).ok_or_else(|| match text.trim().lines().count() {
                0 | 1 => "does not contain a Crossfade master key".to_owned(),
                _ => format!("does not contain a Crossfade master key on line {number}"),
            })?;
            if keys.iter().any(|other| other.id() == key.id()) {
                return Err(format!("contains master key {} twice", key.id()));
            }
            keys.push(key);
        }
        let mut keys = keys.into_iter();
        let first = keys.next().ok_or("does not contain a Crossfade master key")?;
        Ok(Self { first, others: keys.collect() })
    }

    /// Generates a new key and writes it to a file that must not exist yet, readable only by its owner.
    pub(crate) fn create(path: &Path, random: &dyn Random) -> Result<Self, Error> {
        let text = new_line(random);
        write_new(path, &text).map_err(|error| unusable(path, &format!("cannot be written: {error}")))?;
        Self::parse(&text).map_err(Error::internal)
    }

    /// Generates a new key and puts it in front of the keys in the file, which is replaced in one step. Refuses a file
    /// that is not only the user's own, such as a mounted one. Returns all keys, as the file now holds them.
    pub(crate) fn put_new_first(path: &Path, random: &dyn Random) -> Result<Self, Error> {
        let unwritten = |error: std::io::Error| {
            unusable(path, &format!("cannot be written: {error}. Nothing was changed"))
        };
        let found = std::fs::symlink_metadata(path).map_err(unwritten)?;
        let is_own = found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o077 == 0;
        if !found.is_file() || !is_own {
            let text = format!(
                "The first key in the master key file {path} already seals everything, and Crossfade creates keys \
                only in a file with mode 600 that belongs to the user of this command. Nothing was changed. \
                Put a new key on the first line of {path}, then run this command again.",
                path = path.display()
            );
            return Err(Problem::new(Code::Unavailable, text).into());
        }
        let mut text = new_line(random);
        let id = Self::parse(&text).map_err(Error::internal)?.first.id();
        let old = std::fs::read_to_string(path).map(Zeroizing::new).map_err(unwritten)?;
        // Room for both, because a text that grows leaves a copy in freed memory.
        text.reserve_exact(old.len());
        text.push_str(&old);
        replace(path, &text).map_err(unwritten)?;
        match Self::read(path)? {
            Some(keys) if keys.first.id() == id => Ok(keys),
            // Sealing under a key that the file does not hold would lose everything.
            _ => Err(unusable(path, "was replaced by another program. Nothing was changed. Try again")),
        }
    }

    /// Returns the same keys without those that no longer seal.
    pub(crate) fn without_old(mut self) -> Self {
        self.others.clear();
        self
    }

    /// Returns the ID of the key that seals.
    pub(crate) fn first_id(&self) -> String {
        self.first.id()
    }

    /// Returns the IDs of all keys, in their order.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.all().map(SealKey::id).collect()
    }

    /// Whether the key that sealed this value is one of these.
    pub(crate) fn holds_key_of(&self, sealed: &[u8]) -> bool {
        sealed_by(sealed).is_some_and(|id| self.all().any(|key| key.id() == id))
    }

    /// Seals with the first key.
    pub(crate) fn seal(&self, place: &SealPlace<'_>, plain: &[u8]) -> Result<Vec<u8>, Error> {
        self.first.seal(place, plain)
    }

    /// Opens a value with the key that sealed it; `None` if it was sealed for another place or with another key.
    pub(crate) fn open(&self, place: &SealPlace<'_>, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        self.all().find_map(|key| key.open(place, sealed))
    }

    /// Opens a value that an older version sealed.
    pub(crate) fn open_old(&self, place: &SealPlace<'_>, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        self.all().find_map(|key| key.open_old(place, sealed))
    }

    #[cfg(test)]
    pub(crate) fn first(&self) -> &SealKey {
        &self.first
    }

    fn all(&self) -> impl Iterator<Item = &SealKey> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

/// Reads the key of a line.
fn parse_key(line: &str) -> Option<SealKey> {
    let bytes = STANDARD.decode(line.strip_prefix(HEADER)?).map(Zeroizing::new).ok()?;
    let bytes = Zeroizing::new(<[u8; 32]>::try_from(bytes.as_slice()).ok()?);
    // The id distinguishes keys without revealing anything about them: a hash, truncated to eight bytes.
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes.as_slice());
    let mut id = [0; 8];
    id.copy_from_slice(&digest.as_ref()[..8]);
    Some(SealKey::new(id, &bytes))
}

/// Generates a key, as a line of a key file.
fn new_line(random: &dyn Random) -> Zeroizing<String> {
    let mut bytes = Zeroizing::new([0; 32]);
    random.fill(bytes.as_mut_slice());
    Zeroizing::new(format!("{HEADER}{}\n", STANDARD.encode(bytes.as_slice())))
}

/// Writes a file that must not exist yet, readable only by its owner.
fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    // Secrets sealed under a key that a power failure takes away are lost for good.
    file.sync_all()
}

/// Replaces a file in one step that survives a power failure.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let name = path.file_name().ok_or(ErrorKind::InvalidInput)?.to_string_lossy();
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let partial = directory.join(format!(".{name}.partial"));
    // Left by a command that was killed before it replaced the file, so nothing was sealed under its new key.
    let _ = std::fs::remove_file(&partial);
    let written = write_new(&partial, text).and_then(|()| std::fs::rename(&partial, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&partial);
    }
    written?;
    std::fs::File::open(directory)?.sync_all()
}

fn unusable(path: &Path, what: &str) -> Error {
    Problem::new(Code::Unavailable, format!("The master key file {} {what}.", path.display())).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(byte: u8) -> String {
        format!("{HEADER}{}", STANDARD.encode([byte; 32]))
    }

    #[test]
    fn the_first_line_seals_and_every_line_opens() {
        let place = SealPlace::Instance { id: "i" };
        let (one, two) = (MasterKeys::parse(&line(1)).unwrap(), MasterKeys::parse(&line(2)).unwrap());
        let text = format!("\n# made in May\r\n  {}\r\n\n{}\n", line(2), line(1));
        let both = MasterKeys::parse(&text).unwrap();
        assert_eq!(both.ids(), [two.first_id(), one.first_id()]);
        let sealed = one.seal(&place, b"x").unwrap();
        assert!(both.open(&place, &sealed).is_some() && both.holds_key_of(&sealed));
        assert!(two.open(&place, &sealed).is_none() && !two.holds_key_of(&sealed));
        let sealed = both.seal(&place, b"x").unwrap();
        assert_eq!(sealed_by(&sealed), Some(two.first_id()));
        assert!(both.without_old().open(&place, &one.seal(&place, b"x").unwrap()).is_none());
    }

    #[test]
    fn what_is_wrong_with_a_file_is_told_without_its_keys() {
        let (one, two) = (line(1), line(2));
        for (text, what) in [
            (String::new(), "does not contain a Crossfade master key"),
            ("# nothing\n".to_owned(), "does not contain a Crossfade master key"),
            (format!("{one} {two}"), "does not contain a Crossfade master key"),
            (format!("{one}\n{}\n", &two[..40]), "does not contain a Crossfade master key on line 2"),
            (format!("{one}\n{two}\n{one}\n"), "twice"),
        ] {
            let told = MasterKeys::parse(&text).err().unwrap();
            assert!(told.contains(what), "{told}");
            assert!(!told.contains("AQEB") && !told.contains("AgIC"), "{told}");
        }
    }
}
