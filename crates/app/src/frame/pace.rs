//! The pace at which one account or one registration can do something: a burst after a time without any, and then one each interval.

use crossfade_core::UserId;
use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Accounts that are remembered although their whole burst is free.
const MAX_IDLE_ACCOUNTS: usize = 256;

/// A burst, and the time between two beginnings after it.
#[derive(Clone, Copy)]
pub(crate) struct Rate {
    pub(crate) burst: u32,
    pub(crate) interval: Duration,
}

/// How much of a burst is used.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    /// When the whole burst is free again.
    whole_at: Instant,
}

impl Pace {
    pub(crate) fn new(now: Instant) -> Self {
        Self { whole_at: now }
    }

    /// Whether the whole burst is free.
    pub(crate) fn is_idle(&self, now: Instant) -> bool {
        self.whole_at <= now
    }

    /// Returns when the next one may begin. `None`: later than `latest`, so it is refused and not counted.
    pub(crate) fn next(&mut self, rate: Rate, now: Instant, latest: Instant) -> Option<Instant> {
        let whole_at = self.whole_at.max(now) + rate.interval;
        let begins_at = now.max(whole_at - rate.interval * rate.burst);
        (begins_at <= latest).then(|| {
            self.whole_at = whole_at;
            begins_at
        })
    }
}

/// The paces of all accounts, or of all registrations, for one thing.
pub(crate) struct Paces<K = UserId> {
    rate: Rate,
    accounts: Mutex<HashMap<K, Pace>>,
}

impl<K: Clone + Eq + Hash> Paces<K> {
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate, accounts: Mutex::default() }
    }

    /// Whether the account may begin another one now. It is counted if it may.
    pub(crate) fn admit(&self, user: &K, now: Instant) -> bool {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        if accounts.len() > MAX_IDLE_ACCOUNTS {
            accounts.retain(|_, pace| !pace.is_idle(now));
        }
        let pace = accounts.entry(user.clone()).or_insert_with(|| Pace::new(now));
        pace.next(self.rate, now, now).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { burst: 5, interval: Duration::from_secs(10) };

    #[test]
    fn an_account_begins_a_burst_and_then_one_each_interval() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        for _ in 0..RATE.burst {
            assert_eq!(pace.next(RATE, start, start), Some(start));
        }
        assert_eq!(pace.next(RATE, start, start), None);
        let latest = start + RATE.interval * 2;
        assert_eq!(pace.next(RATE, start, latest), Some(start + RATE.interval));
        assert_eq!(pace.next(RATE, start, latest), Some(latest));
        assert_eq!(pace.next(RATE, start, latest), None, "a refused one");
        let later = start + RATE.interval * 3;
        assert_eq!(pace.next(RATE, later, later), Some(later), "a refused one is not counted");
        let whole = later + RATE.interval * RATE.burst;
        assert!(pace.is_idle(whole) && !pace.is_idle(later));
        let begun = (0..=RATE.burst).filter(|_| pace.next(RATE, whole, whole).is_some()).count();
        assert_eq!(begun, RATE.burst as usize, "no burst grows with time");
    }

    #[test]
    fn the_pace_of_one_account_is_not_that_of_another() {
        let (paces, now) = (Paces::new(RATE), Instant::now());
        let user = |number: u32| UserId::parse(&format!("usr_{number:022}")).unwrap();
        let admitted = (0..10).filter(|_| paces.admit(&user(1), now)).count();
        assert_eq!(admitted, 5);
        assert!(paces.admit(&user(2), now));
        for number in 3..=300 {
            assert!(paces.admit(&user(number), now));
        }
        assert!(!paces.admit(&user(1), now), "one that is in use is not forgotten");
        assert!(paces.admit(&user(301), now + RATE.interval * 9));
        assert_eq!(paces.accounts.lock().unwrap().len(), 1);
    }
}
