//! Passwords from known browsers that are being checked, so that two guesses at the same time are two.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

type Digest = Vec<u8>;

/// Passwords being checked, by known browser.
#[derive(Clone, Default)]
pub(crate) struct Guesses(Arc<Mutex<HashMap<Digest, i64>>>);

/// A password being checked.
pub(crate) struct Guess {
    guesses: Guesses,
    pub(crate) digest: Digest,
}

impl Guesses {
    fn counts(&self) -> MutexGuard<'_, HashMap<Digest, i64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a guess until it is dropped. Returns it with the number of guesses being checked, including this one.
    pub(crate) fn begin(&self, digest: Digest) -> (Guess, i64) {
        let mut counts = self.counts();
        let count = counts.entry(digest.clone()).or_default();
        *count += 1;
        let running = *count;
        drop(counts);
        (Guess { guesses: self.clone(), digest }, running)
    }
}

impl Drop for Guess {
    fn drop(&mut self) {
        let mut counts = self.guesses.counts();
        let left = counts.get_mut(&self.digest).map_or(0, |count| {
            *count -= 1;
            *count
        });
        if left <= 0 {
            counts.remove(&self.digest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guess_counts_until_it_is_over() {
        let guesses = Guesses::default();
        let (first, one) = guesses.begin(vec![1]);
        let (second, two) = guesses.begin(vec![1]);
        let (_other, other) = guesses.begin(vec![2]);
        assert_eq!((one, two, other), (1, 2, 1));
        drop(first);
        assert_eq!(guesses.begin(vec![1]).1, 2);
        drop(second);
        assert_eq!(guesses.counts().len(), 1);
    }
}
