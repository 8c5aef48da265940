//! Keyed digests of credentials, so that anyone who can write to the database cannot create a digest that matches a
//! chosen value.

use crate::keys::seal::derived;
use aws_lc_rs::{constant_time, digest, hmac};
use crossfade_core::{UserId, second_factor::RecoveryCode};
use crossfade_store::Digested;
use zeroize::Zeroizing;

/// Keys of the digests of API tokens, sessions, one-time links, known browsers and codes.
pub(crate) struct Digests {
    tokens: hmac::Key,
    sessions: hmac::Key,
    links: hmac::Key,
    logins: hmac::Key,
    devices: hmac::Key,
    sign_ins: hmac::Key,
    provisioning: hmac::Key,
    recovery: hmac::Key,
    marks: hmac::Key,
    messages: hmac::Key,
    networks: hmac::Key,
    failures: hmac::Key,
    requests: hmac::Key,
}

impl Digests {
    /// Creates the keys. `root` is a key that the database contains only sealed.
    pub(crate) fn new(root: &[u8]) -> Self {
        // One key a kind, so that a digest that is copied to another table matches nothing there.
        let key = |label: &[u8]| hmac::Key::new(hmac::HMAC_SHA256, derived(root, label).as_slice());
        Self {
            tokens: key(b"crossfade: digests of API tokens"),
            sessions: key(b"crossfade: digests of sessions"),
            links: key(b"crossfade: digests of one-time links"),
            logins: key(b"crossfade: codes of the command line"),
            devices: key(b"crossfade: digests of known browsers"),
            sign_ins: key(b"crossfade: digests of sign-ins that wait for a code"),
            provisioning: key(b"crossfade: digests of provisioning tokens"),
            recovery: key(b"crossfade: digests of recovery codes"),
            marks: key(b"crossfade: marks of instances"),
            messages: key(b"crossfade: messages of the Console"),
            networks: key(b"crossfade: networks of sign-ins"),
            failures: key(b"crossfade: failed sign-ins"),
            requests: key(b"crossfade: repeated requests"),
        }
    }

    /// Returns a short mark of this instance under this URL. It reveals nothing about the key.
    pub(crate) fn mark(&self, public_url: &str) -> String {
        let digest = hmac::sign(&self.marks, public_url.as_bytes());
        digest.as_ref().iter().take(4).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Returns the code that proves that this instance wrote a message: 32 hexadecimal digits.
    pub(crate) fn message(&self, text: &str) -> String {
        short(&self.messages, text)
    }

    /// Returns the digest of a network that an account signs in from: 32 hexadecimal digits.
    pub(crate) fn network(&self, text: &str) -> String {
        short(&self.networks, text)
    }

    /// Returns the digest of what failed sign-ins are counted for: 32 hexadecimal digits. What was typed as an email address may
    /// be a password.
    pub(crate) fn failures(&self, text: &str) -> String {
        short(&self.failures, text)
    }

    /// Whether `code` is that of a message, compared in constant time.
    pub(crate) fn is_message(&self, text: &str, code: &str) -> bool {
        constant_time::verify_slices_are_equal(self.message(text).as_bytes(), code.as_bytes()).is_ok()
    }

    /// Returns the digest of the fingerprint of a request. The request can contain a secret of another issuer that is easily guessed.
    pub(crate) fn request(&self, fingerprint: &[u8]) -> Vec<u8> {
        hmac::sign(&self.requests, fingerprint).as_ref().to_vec()
    }

    pub(crate) fn token(&self, value: &str) -> Vec<u8> {
        self.keyed(Digested::Tokens, &fingerprint(value))
    }

    pub(crate) fn session(&self, value: &str) -> Vec<u8> {
        self.keyed(Digested::Sessions, &fingerprint(value))
    }

    pub(crate) fn link(&self, value: &str) -> Vec<u8> {
        self.keyed(Digested::Links, &fingerprint(value))
    }

    pub(crate) fn login(&self, code: &str) -> Vec<u8> {
        hmac::sign(&self.logins, &fingerprint(code)).as_ref().to_vec()
    }

    pub(crate) fn device(&self, value: &str) -> Vec<u8> {
        hmac::sign(&self.devices, &fingerprint(value)).as_ref().to_vec()
    }

    /// Returns the digest of a sign-in that waits for a code.
    pub(crate) fn sign_in(&self, value: &str) -> Vec<u8> {
        hmac::sign(&self.sign_ins, &fingerprint(value)).as_ref().to_vec()
    }

    /// Returns the digest of a token with which a provider provisions people.
    pub(crate) fn provisioning_token(&self, value: &str) -> Vec<u8> {
        hmac::sign(&self.provisioning, &fingerprint(value)).as_ref().to_vec()
    }

    /// Returns the digest of a recovery code of an account. The same code of another account has another one.
    pub(crate) fn recovery_code(&self, user: &UserId, code: &RecoveryCode) -> Vec<u8> {
        let text = format!("{user} {}", code.reveal());
        let digest = hmac::sign(&self.recovery, text.as_bytes()).as_ref().to_vec();
        drop(Zeroizing::new(text));
        digest
    }

    /// Returns the digest of the value with this fingerprint. Older versions stored only the fingerprint and never the
    /// value.
    pub(crate) fn keyed(&self, of: Digested, fingerprint: &[u8]) -> Vec<u8> {
        let key = match of {
            Digested::Tokens => &self.tokens,
            Digested::Sessions => &self.sessions,
            Digested::Links => &self.links,
        };
        hmac::sign(key, fingerprint).as_ref().to_vec()
    }
}

/// Returns half of a keyed digest, as 32 hexadecimal digits.
fn short(key: &hmac::Key, text: &str) -> String {
    hmac::sign(key, text.as_bytes()).as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the SHA-256 of a value. It alone finds nothing.
pub(crate) fn fingerprint(value: &str) -> Vec<u8> {
    digest::digest(&digest::SHA256, value.as_bytes()).as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_guessed_is_stored_by_a_digest_of_this_instance() {
        let (one, other) = (Digests::new(&[1; 32]), Digests::new(&[2; 32]));
        let request = fingerprint("PUT /upstream-credential {\"secret\": \"summer\"}");
        assert_eq!(one.request(&request), Digests::new(&[1; 32]).request(&request));
        assert!(one.request(&request) != request && one.request(&request) != other.request(&request));
        assert_eq!(one.failures("account ada"), Digests::new(&[1; 32]).failures("account ada"));
        assert_ne!(one.failures("account ada"), other.failures("account ada"));
        assert_ne!(one.failures("account ada"), one.network("account ada"), "a key for each kind");
    }

    #[test]
    fn instances_and_addresses_have_marks_of_their_own() {
        let (one, other) = (Digests::new(&[1; 32]), Digests::new(&[2; 32]));
        let (first, second) = ("http://127.0.0.1:8080", "http://127.0.0.1:8081");
        assert_eq!(one.mark(first), Digests::new(&[1; 32]).mark(first));
        assert_eq!(one.mark(first).len(), 8);
        assert_ne!(one.mark(first), other.mark(first));
        assert_ne!(one.mark(first), one.mark(second), "a copy of the database is served beside it");
    }

    /// Stored digests outlive every version of this program. Computed with Python's hmac and hashlib.
    #[test]
    fn the_stored_digest_of_a_credential_never_changes_its_meaning() {
        let root: [u8; 32] = std::array::from_fn(|at| at as u8);
        let digests = Digests::new(&root);
        let hex = |digest: Vec<u8>| digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(
            hex(digests.token("value")),
            "bd00eeb2c093f07bfdb767efb0ecc66de47cd127c957783fe411a084da11a7df"
        );
        assert_eq!(
            hex(digests.session("value")),
            "6bf309f280faa182450062c1c64d6eb7e41470dae9ae410e541c916cb6612814"
        );
        assert_eq!(
            hex(digests.link("value")),
            "3a43c5c80268e4c56005c55c62308153eb492d98456554d30ee610c584ea637a"
        );
    }
}
