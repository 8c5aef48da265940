//! The keys of the hash that verifies secrets, and the hash.

use aws_lc_rs::hmac;
use crossfade_core::OauthClientId;

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
}

impl VerifierKeys {
    /// Creates the keys from ids and key bytes. New digests use the last key.
    pub fn new(keys: impl IntoIterator<Item = (String, [u8; 32])>) -> Self {
        Self(Vec::new()).replaced(keys)
    }

    /// Returns the keys `stored`. Keys that were known before keep their places, new ones follow.
    pub(crate) fn replaced(&self, stored: impl IntoIterator<Item = (String, [u8; 32])>) -> Self {
        let empty = |own: &VerifierKey| VerifierKey { id: own.id.clone(), key: None };
        let mut keys: Vec<VerifierKey> = self.0.iter().map(empty).collect();
        for (id, bytes) in stored {
            let key = Some(hmac::Key::new(hmac::HMAC_SHA256, &bytes));
            match keys.iter_mut().find(|own| own.id == id) {
                Some(known) => known.key = key,
                None => keys.push(VerifierKey { id, key }),
            }
        }
        Self(keys)
    }

    /// Returns the ids of the keys, oldest first.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.present().map(|(_, id, _)| id.to_owned()).collect()
    }

    /// Returns the digest of a new secret and the id of its key; `None` if there is no key.
    pub fn digest(&self, client_id: &OauthClientId, secret: &str) -> Option<(String, [u8; DIGEST])> {
        let (_, id, key) = self.present().last()?;
        Some((id.to_owned(), digest(key, client_id.as_str(), secret)))
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

/// Returns the HMAC over length, `client_id` and secret. The `client_id` is unique across all environments, so a digest
/// copied to another registration or environment matches nothing there.
pub(super) fn digest(key: &hmac::Key, client_id: &str, secret: &str) -> [u8; DIGEST] {
    let mut context = hmac::Context::with_key(key);
    context.update(&(client_id.len() as u64).to_be_bytes());
    context.update(client_id.as_bytes());
    context.update(secret.as_bytes());
    let mut out = [0; DIGEST];
    out.copy_from_slice(context.sign().as_ref());
    out
}
