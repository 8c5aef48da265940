//! Idempotency keys of running requests.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Idempotency keys of running requests, each with its actor.
#[derive(Default)]
pub(crate) struct InFlight(Mutex<HashSet<(String, String)>>);

/// A key that is reserved while its request runs.
pub(crate) struct Entered<'a> {
    keys: &'a InFlight,
    entry: (String, String),
}

impl InFlight {
    /// Reserves a key of an actor; `None` if a request with it is running.
    pub(crate) fn enter(&self, actor: &str, key: &str) -> Option<Entered<'_>> {
        let entry = (actor.to_owned(), key.to_owned());
        self.keys().insert(entry.clone()).then(|| Entered { keys: self, entry })
    }

    fn keys(&self) -> MutexGuard<'_, HashSet<(String, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.keys.keys().remove(&self.entry);
    }
}
