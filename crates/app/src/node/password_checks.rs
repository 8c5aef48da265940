//! Passwords from known browsers that are being checked, so that two checks at the same time count as two.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

type Digest = Vec<u8>;

/// Passwords being checked, by known browser.
#[derive(Clone, Default)]
pub(crate) struct PasswordChecks(Arc<Mutex<HashMap<Digest, i64>>>);

/// A password being checked.
pub(crate) struct PasswordCheck {
    checks: PasswordChecks,
    pub(crate) digest: Digest,
}

impl PasswordChecks {
    fn counts(&self) -> MutexGuard<'_, HashMap<Digest, i64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a check until it is dropped. Returns it with the number of checks that run, including this one.
    pub(crate) fn begin(&self, digest: Digest) -> (PasswordCheck, i64) {
        let mut counts = self.counts();
        let count = counts.entry(digest.clone()).or_default();
        *count += 1;
        let running = *count;
        drop(counts);
        (PasswordCheck { checks: self.clone(), digest }, running)
    }
}

impl Drop for PasswordCheck {
    fn drop(&mut self) {
        let mut counts = self.checks.counts();
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
    fn a_check_counts_until_it_is_over() {
        let checks = PasswordChecks::default();
        let (first, one) = checks.begin(vec![1]);
        let (second, two) = checks.begin(vec![1]);
        let (_other, other) = checks.begin(vec![2]);
        assert_eq!((one, two, other), (1, 2, 1));
        drop(first);
        assert_eq!(checks.begin(vec![1]).1, 2);
        drop(second);
        assert_eq!(checks.counts().len(), 1);
    }
}
