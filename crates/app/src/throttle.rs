//! Failed sign-ins slow down whoever causes them, and nobody else: an account is never locked, so that a stranger
//! who knows an e-mail address cannot keep its owner out.

use crossfade_core::{Timestamp, address::network};
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Failures that somebody may have at once, and the time after which one of them is forgiven.
struct Limit {
    burst: u32,
    forgiven_after: Duration,
}

/// For one account from one address.
const ACCOUNT: Limit = Limit { burst: 10, forgiven_after: Duration::from_secs(60) };
/// For all accounts from one address, behind which a whole office may sit.
const ADDRESS: Limit = Limit { burst: 50, forgiven_after: Duration::from_secs(6) };
/// Sources that are remembered. Beyond that those are forgotten that would be forgiven first.
const SOURCES: usize = 20_000;

/// What counts as one source.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    Address(IpAddr),
    Account(IpAddr, String),
}

/// What a source has failed lately.
struct Failed {
    /// When all of it is forgiven (the generic cell rate algorithm).
    forgiven: Timestamp,
    /// Tries that were refused unseen since one was last looked at.
    unseen: u64,
}

/// Who has failed lately. In memory: a restart forgives everybody.
#[derive(Default)]
pub(crate) struct Throttle {
    failed: Mutex<HashMap<Key, Failed>>,
    told: Mutex<Told>,
}

/// How many failures the trail was told of lately, from wherever they came.
#[derive(Default)]
struct Told {
    until: Option<Timestamp>,
    written: u32,
    gathered: u64,
}

/// Failures that the trail is told of one by one within a window; beyond that they are gathered.
const ONE_BY_ONE: u32 = 60;
const WINDOW: Duration = Duration::from_secs(60);

/// A try may be looked at.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Admitted {
    /// How many were refused unseen before it.
    pub(crate) unseen: u64,
}

/// A try must not be looked at.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// Until when.
    pub(crate) until: Timestamp,
    /// Whether the one before was still looked at: the trail says once that somebody is held up.
    pub(crate) is_first: bool,
}

impl Throttle {
    /// Counts a try of this account from this address as a failure until it has succeeded, so that tries at the same
    /// moment are counted too; or says that it must not be looked at.
    pub(crate) fn enter(&self, address: IpAddr, account: &str, now: Timestamp) -> Result<Admitted, Held> {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = keys(address, account);
        let free = keys.iter().filter_map(|(key, limit)| {
            // The time at which every failure is forgiven; one more is let through when it is near enough.
            let free = failed.get(key)?.forgiven.before(limit.forgiven_after * (limit.burst - 1));
            (now < free).then_some(free)
        });
        if let Some(until) = free.max() {
            let [(_, _), (shared, _)] = &keys;
            let is_first = match failed.get_mut(shared) {
                Some(source) => {
                    source.unseen += 1;
                    source.unseen == 1
                }
                None => true,
            };
            return Err(Held { until, is_first });
        }
        let mut unseen = 0;
        for (key, limit) in keys {
            let source = failed.entry(key).or_insert(Failed { forgiven: now, unseen: 0 });
            source.forgiven = source.forgiven.max(now).after(limit.forgiven_after);
            unseen += std::mem::take(&mut source.unseen);
        }
        if failed.len() > SOURCES {
            failed.retain(|_, source| source.forgiven > now);
        }
        if failed.len() > SOURCES {
            let mut times: Vec<_> = failed.values().map(|source| source.forgiven).collect();
            let (_, middle, _) = times.select_nth_unstable(SOURCES / 2);
            let middle = *middle;
            failed.retain(|_, source| source.forgiven > middle);
        }
        Ok(Admitted { unseen })
    }

    /// With what count the trail is told of `count` failures; `None` when they are gathered for the next time.
    pub(crate) fn tell(&self, count: u64, now: Timestamp) -> Option<u64> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.until.is_none_or(|until| until <= now) {
            (told.until, told.written) = (Some(now.after(WINDOW)), 0);
        }
        if told.written >= ONE_BY_ONE {
            told.gathered += count;
            return None;
        }
        told.written += 1;
        Some(count + std::mem::take(&mut told.gathered))
    }

    /// It was the account's owner: forgives what was failed with it from there, and does not count this try.
    pub(crate) fn succeeded(&self, address: IpAddr, account: &str) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let [(own, _), (shared, limit)] = keys(address, account);
        failed.remove(&own);
        if let Some(source) = failed.get_mut(&shared) {
            source.forgiven = source.forgiven.before(limit.forgiven_after);
        }
    }
}

fn keys(address: IpAddr, account: &str) -> [(Key, Limit); 2] {
    let address = network(address);
    [(Key::Account(address, account.to_owned()), ACCOUNT), (Key::Address(address), ADDRESS)]
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICRO: Duration = Duration::from_micros(1);

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn start() -> Timestamp {
        Timestamp::from_seconds(1_795_525_500)
    }

    #[test]
    fn ten_failures_are_let_through_and_then_one_a_minute() {
        let throttle = Throttle::default();
        let (from, now) = (ip("192.0.2.1"), start());
        for _ in 0..10 {
            assert_eq!(throttle.enter(from, "ada", now), Ok(Admitted { unseen: 0 }));
        }
        let free = now.after(Duration::from_secs(60));
        let held = |until, is_first| Err(Held { until, is_first });
        assert_eq!(throttle.enter(from, "ada", now), held(free, true));
        assert_eq!(throttle.enter(from, "ada", free.before(MICRO)), held(free, false));
        assert_eq!(throttle.enter(from, "ada", free), Ok(Admitted { unseen: 2 }));
        assert_eq!(throttle.enter(from, "ada", free), held(free.after(Duration::from_secs(60)), true));
    }

    #[test]
    fn another_address_and_another_account_are_not_held_up() {
        let throttle = Throttle::default();
        let admitted = |address, account| throttle.enter(ip(address), account, start()).is_ok();
        let tried = (0..20).filter(|_| admitted("192.0.2.1", "ada")).count();
        assert_eq!(tried, 10);
        assert!(admitted("192.0.2.2", "ada"));
        assert!(admitted("192.0.2.1", "bob"));
        throttle.succeeded(ip("192.0.2.1"), "ada");
        assert!(admitted("192.0.2.1", "ada"));
    }

    #[test]
    fn an_address_that_tries_many_accounts_is_held_up_for_all_of_them() {
        let throttle = Throttle::default();
        for account in 0..50 {
            assert_eq!(
                throttle.enter(ip("2001:db8::1"), &account.to_string(), start()),
                Ok(Admitted { unseen: 0 })
            );
        }
        let free = start().after(Duration::from_secs(6));
        let held = throttle.enter(ip("2001:db8::2"), "new", start());
        assert_eq!(held, Err(Held { until: free, is_first: true }), "one network");
        assert_eq!(throttle.enter(ip("2001:db8:0:1::1"), "new", start()), Ok(Admitted { unseen: 0 }));
    }

    #[test]
    fn an_office_that_signs_in_all_day_is_not_held_up() {
        let throttle = Throttle::default();
        for person in 0..200 {
            assert_eq!(
                throttle.enter(ip("192.0.2.1"), &person.to_string(), start()),
                Ok(Admitted { unseen: 0 })
            );
            throttle.succeeded(ip("192.0.2.1"), &person.to_string());
        }
    }

    #[test]
    fn a_flood_from_everywhere_is_gathered_and_none_is_lost() {
        let throttle = Throttle::default();
        let told: Vec<_> = (0..1000).filter_map(|_| throttle.tell(1, start())).collect();
        assert_eq!(told, [1; 60]);
        assert_eq!(throttle.tell(2, start().after(WINDOW - MICRO)), None);
        assert_eq!(throttle.tell(1, start().after(WINDOW)), Some(943));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let throttle = Throttle::default();
        for n in 0..SOURCES as u32 + 10 {
            let _ = throttle.enter(IpAddr::from(n.to_be_bytes()), "ada", start());
        }
        assert!(throttle.failed.lock().unwrap().len() <= SOURCES);
    }
}
