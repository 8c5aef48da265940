//! When API tokens were last used.

use crossfade_core::{Timestamp, TokenId};
use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
};

const MINUTE: i64 = 60_000_000;

/// When tokens were last used, to the minute, so that a busy token costs one write per minute.
pub(crate) struct Touched<K = TokenId>(Mutex<HashMap<K, Touch>>);

impl<K> Default for Touched<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

struct Touch {
    minute: Timestamp,
    written: bool,
}

fn minute(at: Timestamp) -> Timestamp {
    Timestamp::from_micros(at.as_micros() / MINUTE * MINUTE)
}

impl<K: Clone + Eq + Hash> Touched<K> {
    pub(crate) fn note(&self, token: &K, at: Timestamp) {
        let minute = minute(at);
        let mut touched = self.lock();
        match touched.get_mut(token) {
            Some(touch) if touch.minute >= minute => {}
            Some(touch) => *touch = Touch { minute, written: false },
            None => drop(touched.insert(token.clone(), Touch { minute, written: false })),
        }
    }

    /// Returns the uses to write, and remembers for a minute that they were written.
    pub(crate) fn take(&self, now: Timestamp) -> Vec<(K, Timestamp)> {
        let mut touched = self.lock();
        touched.retain(|_, touch| !touch.written || touch.minute >= minute(now));
        let unwritten = touched.iter_mut().filter(|(_, touch)| !touch.written);
        unwritten
            .map(|(token, touch)| {
                touch.written = true;
                (token.clone(), touch.minute)
            })
            .collect()
    }

    pub(crate) fn put_back(&self, unwritten: &[(K, Timestamp)]) {
        let mut touched = self.lock();
        for (token, minute) in unwritten {
            let touch = touched.entry(token.clone()).or_insert(Touch { minute: *minute, written: true });
            touch.written = false;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Touch>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_token_is_written_once_a_minute_and_again_when_that_failed() {
        let (touched, token) =
            (Touched::<TokenId>::default(), TokenId::parse("tok_0000000000000000000001").unwrap());
        let at = |seconds| Timestamp::from_seconds(seconds);
        let note = |seconds| touched.note(&token, at(seconds));
        for second in [61, 65, 62] {
            note(second);
        }
        let first = touched.take(at(70));
        assert_eq!(first, [(token.clone(), at(60))]);
        note(119);
        assert!(touched.take(at(119)).is_empty(), "its minute stands");
        touched.put_back(&first);
        assert_eq!(touched.take(at(119)), first);
        note(120);
        assert_eq!(touched.take(at(121)), [(token.clone(), at(120))]);
        assert!(touched.take(at(200)).is_empty() && touched.lock().is_empty(), "what is idle is forgotten");
    }
}
