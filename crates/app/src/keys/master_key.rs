//! The master key, the only secret that is not in the database. It seals the data keys and nothing else.

use crate::{error::Error, keys::seal::SealKey};
use base64::{Engine, engine::general_purpose::STANDARD};
use crossfade_core::{Code, Problem, Random};
use std::{
    fs::OpenOptions,
    io::{ErrorKind, Write},
    os::unix::fs::MetadataExt,
    path::Path,
};
use zeroize::Zeroizing;

/// Permission bits for everyone except the owner and the group of a file.
pub(crate) const EVERYBODY: u32 = 0o007;
const HEADER: &str = "crossfade-master-key-1:";

/// The key-encryption key.
pub struct MasterKey(SealKey);

impl MasterKey {
    /// Reads the key file; `Ok(None)` if there is none. Refuses a file that every user of the machine can read, because
    /// nothing sealed under such a key is secret.
    pub fn read(path: &Path) -> Result<Option<Self>, Error> {
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
        let text = match std::fs::read_to_string(path) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unusable(path, &format!("cannot be read: {error}"))),
        };
        let bytes = text
            .trim()
            .strip_prefix(HEADER)
            .and_then(|encoded| STANDARD.decode(encoded).ok())
            .map(Zeroizing::new)
            .and_then(|bytes| <[u8; 32]>::try_from(bytes.as_slice()).ok())
            .ok_or_else(|| unusable(path, "does not contain a Crossfade master key"))?;
        Ok(Some(Self::from_bytes(&bytes)))
    }

    /// Generates a new key and writes it to a file that must not exist yet, readable only by its owner.
    pub fn create(path: &Path, random: &dyn Random) -> Result<Self, Error> {
        use std::os::unix::fs::OpenOptionsExt;
        let mut bytes = Zeroizing::new([0; 32]);
        random.fill(bytes.as_mut_slice());
        let text = Zeroizing::new(format!("{HEADER}{}\n", STANDARD.encode(bytes.as_slice())));
        let written =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).and_then(|mut file| {
                file.write_all(text.as_bytes())?;
                // Secrets sealed under a key that a power failure takes away are lost for good.
                file.sync_all()
            });
        written.map_err(|error| unusable(path, &format!("cannot be written: {error}")))?;
        Ok(Self::from_bytes(&bytes))
    }

    fn from_bytes(bytes: &[u8; 32]) -> Self {
        // The id distinguishes keys without revealing anything about them: a hash, truncated to eight bytes.
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
        let mut id = [0; 8];
        id.copy_from_slice(&digest.as_ref()[..8]);
        Self(SealKey::new(id, bytes))
    }

    pub(crate) fn sealing(&self) -> &SealKey {
        &self.0
    }
}

fn unusable(path: &Path, what: &str) -> Error {
    Problem::new(Code::Unavailable, format!("The master key file {} {what}.", path.display())).into()
}
