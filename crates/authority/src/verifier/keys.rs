//! The keys of the hash that verifies secrets, and the hash.

use aws_lc_rs::hmac;

/// The length of a digest: HMAC-SHA-256.
pub(crate) const DIGEST: usize = 32;

/// Keys of the hash that verifies secrets, each with its id. Normally one; several while keys roll over. The work is the
/// same for every caller: one hash per key.
#[derive(Clone)]
pub struct VerifierKeys(Vec<VerifierKey>);

/// One of the keys. A deleted key leaves its place empty, because records name keys by their place.
#[derive(Clone)]
struct VerifierKey {
    id: String,
    key: Option<hmac::Key>,
    /// Key of the digest of a value alone, derived from the same bytes.
    value_key: Option<hmac::Key>,
}

/// Purpose of the keys of the digests of values.
const VALUES: &[u8] = b"crossfade: digests of values of client secrets";

impl VerifierKeys {
    /// Creates the keys from ids and key bytes. New digests use the last key.
    pub fn new(keys: impl IntoIterator<Item = (String, [u8; 32])>) -> Self {
        Self(Vec::new()).replaced(keys)
    }

    /// Returns the keys `stored`. Keys that were known before keep their places, new ones follow.
    pub(crate) fn replaced(&self, stored: impl IntoIterator<Item = (String, [u8; 32])>) -> Self {
        let empty = |own: &VerifierKey| VerifierKey { id: own.id.clone(), key: None, value_key: None };
        let mut keys: Vec<VerifierKey> = self.0.iter().map(empty).collect();
        for (id, bytes) in stored {
            let key = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
            let value_key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, VALUES).as_ref());
            let new = VerifierKey { id, key: Some(key), value_key: Some(value_key) };
            match keys.iter_mut().find(|own| own.id == new.id) {
                Some(known) => *known = new,
                None => keys.push(new),
            }
        }
        Self(keys)
    }

    /// Returns the ids of the keys, oldest first.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.present().map(|(_, id, _)| id.to_owned()).collect()
    }

    /// Returns the digest of a new secret of the registration with this name, and the id of its key; `None` if there is no
    /// key.
    pub fn digest(&self, name: &str, secret: &str) -> Option<(String, [u8; DIGEST])> {
        let (_, id, key) = self.present().last()?;
        Some((id.to_owned(), digest(key, name, secret)))
    }

    /// Returns the digest of a value alone under the newest key; `None` if there is no key. It names no registration, so
    /// that it finds the one that a value belongs to, and it verifies nothing.
    pub fn value_digest(&self, secret: &str) -> Option<[u8; DIGEST]> {
        Some(value_digest(self.0.iter().rev().find_map(|own| own.value_key.as_ref())?, secret))
    }

    /// Returns the digests of a value alone under every key.
    pub fn value_digests(&self, secret: &str) -> Vec<[u8; DIGEST]> {
        self.0.iter().filter_map(|own| own.value_key.as_ref()).map(|key| value_digest(key, secret)).collect()
    }

    /// Passes on the place, id and key of each key.
    pub(super) fn present(&self) -> impl DoubleEndedIterator<Item = (usize, &str, &hmac::Key)> {
        let keys = self.0.iter().enumerate();
        keys.filter_map(|(at, own)| Some((at, own.id.as_str(), own.key.as_ref()?)))
    }

    /// Returns the place of a key, which records name it by.
    pub(super) fn index(&self, id: &str) -> Option<u8> {
        self.0.iter().position(|own| own.id == id).and_then(|index| u8::try_from(index).ok())
    }
}

fn value_digest(key: &hmac::Key, secret: &str) -> [u8; DIGEST] {
    let mut out = [0; DIGEST];
    out.copy_from_slice(hmac::sign(key, secret.as_bytes()).as_ref());
    out
}

/// Returns the HMAC over length, name and secret. The name is unique across all environments, so a digest copied to
/// another registration or environment matches nothing there.
pub(super) fn digest(key: &hmac::Key, name: &str, secret: &str) -> [u8; DIGEST] {
    let mut context = hmac::Context::with_key(key);
    context.update(&(name.len() as u64).to_be_bytes());
    context.update(name.as_bytes());
    context.update(secret.as_bytes());
    let mut out = [0; DIGEST];
    out.copy_from_slice(context.sign().as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(ids: &[(&str, u8)]) -> VerifierKeys {
        VerifierKeys::new(ids.iter().map(|(id, byte)| ((*id).to_owned(), [*byte; 32])))
    }

    #[test]
    fn the_digest_of_a_value_verifies_nothing() {
        let keys = keys(&[("old", 7), ("new", 9)]);
        let (_, verifying) = keys.digest("0000000000000000000001", "value").unwrap();
        let finding = keys.value_digests("value");
        assert_eq!(finding.len(), 2);
        assert!(!finding.contains(&verifying) && finding[0] != finding[1]);
        assert_eq!(keys.value_digest("value"), Some(finding[1]), "the newest key");
        let raw = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &[9; 32]), b"value");
        assert_ne!(raw.as_ref(), finding[1], "not under the key that verifies");
        let left = keys.replaced([("new".to_owned(), [9; 32])]);
        assert_eq!(left.value_digests("value"), [finding[1]], "a deleted key finds nothing");
    }

    /// Stored digests outlive every version of this program. Computed with Python's hmac.
    #[test]
    fn the_stored_digest_of_a_value_never_changes_its_meaning() {
        let digest = keys(&[("only", 7)]).value_digest("value").unwrap();
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "1cc50cbadac55b5f8c9c008379564b774b5a851c777d123d58c4415b7301a952");
    }
}
