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
        self.next_of(rate, 1, now, latest).ok()
    }

    /// Returns when this many may begin together; an error with that time if it is later than `latest`, so they are refused and
    /// not counted.
    fn next_of(&mut self, rate: Rate, count: u32, now: Instant, latest: Instant) -> Result<Instant, Instant> {
        let whole_at = self.whole_at.max(now) + rate.interval * count;
        // More than a whole burst begin when the whole burst is free.
        let begins_at = now.max(whole_at - rate.interval * rate.burst.max(count));
        if begins_at > latest {
            return Err(begins_at);
        }
        self.whole_at = whole_at;
        Ok(begins_at)
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
        self.admit_all(user, 1, now).is_ok()
    }

    /// Admits this many for the account now, all or none of them. Returns how long they would have to wait otherwise.
    pub(crate) fn admit_all(&self, user: &K, count: u32, now: Instant) -> Result<(), Duration> {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        if accounts.len() > MAX_IDLE_ACCOUNTS {
            accounts.retain(|_, pace| !pace.is_idle(now));
        }
        let pace = accounts.entry(user.clone()).or_insert_with(|| Pace::new(now));
        let begun = pace.next_of(self.rate, count, now, now);
        begun.map(drop).map_err(|begins_at| begins_at.duration_since(now))
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
    fn many_are_admitted_together_or_not_at_all() {
        let (paces, now) = (Paces::new(RATE), Instant::now());
        let user = UserId::parse(&format!("usr_{:022}", 1)).unwrap();
        assert_eq!(paces.admit_all(&user, 3, now), Ok(()));
        assert_eq!(paces.admit_all(&user, 3, now), Err(RATE.interval));
        assert_eq!(paces.admit_all(&user, 2, now), Ok(()), "a refusal is not counted");
        assert_eq!(paces.admit_all(&user, 1, now), Err(RATE.interval));
        // More than a burst wait for the whole of it, and delay what follows by as much.
        assert_eq!(paces.admit_all(&user, 7, now), Err(RATE.interval * 5));
        let whole = now + RATE.interval * 5;
        assert_eq!(paces.admit_all(&user, 7, whole), Ok(()));
        assert_eq!(paces.admit_all(&user, 1, whole), Err(RATE.interval * 3));
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
