//! Tokens whose signature was verified, so that one is verified once. A table of limited size.

use aws_lc_rs::digest::{SHA256, digest as hash};
use crossfade_core::Timestamp;
use std::sync::{Mutex, PoisonError};

/// Number of buckets. The first two bytes of a digest choose one.
const BUCKETS: usize = 1 << 13;
/// Maximum number of tokens in a bucket: 65,536 in all, in at most 2.6 MB.
const PER_BUCKET: usize = 8;

/// A digest of a whole token: its header, which names the key, its claims and its signature.
type Digest = [u8; 32];

struct Entry {
    digest: Digest,
    expires_at: Timestamp,
}

/// Digests of tokens that had a right signature, until they expire. Nothing else is known of a token by this table: that
/// its key is published, and that nothing has ended the token, is checked each time.
pub(crate) struct Seen(Box<[Mutex<Vec<Entry>>]>);

/// Returns the digest of a token.
pub(crate) fn digest(token: &str) -> Digest {
    let mut out = [0; 32];
    out.copy_from_slice(hash(&SHA256, token.as_bytes()).as_ref());
    out
}

impl Seen {
    pub(crate) fn new() -> Self {
        Self((0..BUCKETS).map(|_| Mutex::default()).collect())
    }

    /// Whether a token was noted and has not expired.
    pub(crate) fn has(&self, digest: &Digest, now: Timestamp) -> bool {
        self.with(digest, |bucket| {
            bucket.iter().any(|entry| entry.digest == *digest && now < entry.expires_at)
        })
    }

    /// Notes a token with a right signature. In a full bucket it replaces the one that expires first.
    pub(crate) fn note(&self, digest: Digest, expires_at: Timestamp) {
        let new = Entry { digest, expires_at };
        self.with(&digest, |bucket| {
            if bucket.len() < PER_BUCKET {
                return bucket.push(new);
            }
            if let Some(first) = bucket.iter_mut().min_by_key(|entry| entry.expires_at) {
                *first = new;
            }
        });
    }

    /// Works on the bucket of a digest, even after a panic in another thread: an entry has no half-written state.
    fn with<T>(&self, digest: &Digest, work: impl FnOnce(&mut Vec<Entry>) -> T) -> T {
        let place = usize::from(u16::from_be_bytes([digest[0], digest[1]])) % BUCKETS;
        work(&mut self.0[place].lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    #[test]
    fn a_token_is_known_until_it_expires_and_no_other_is() {
        let seen = Seen::new();
        seen.note(digest("a"), at(10));
        assert!(seen.has(&digest("a"), at(9)) && !seen.has(&digest("a"), at(10)));
        assert!(!seen.has(&digest("b"), at(0)));
    }

    #[test]
    fn a_full_bucket_forgets_the_token_that_expires_first() {
        let seen = Seen::new();
        let token = |number: u8| {
            let mut digest = [0; 32];
            digest[31] = number;
            digest
        };
        for number in 0..PER_BUCKET as u8 + 1 {
            seen.note(token(number), at(100 + i64::from(number)));
        }
        let known = (0..PER_BUCKET as u8 + 1).filter(|number| seen.has(&token(*number), at(0)));
        assert_eq!(known.collect::<Vec<_>>(), (1..PER_BUCKET as u8 + 1).collect::<Vec<_>>());
    }
}
