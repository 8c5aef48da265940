//! Throttling of failed sign-ins. Failures slow down their sources. An account is never locked, because otherwise
//! anyone who knows an email address could keep its owner out. Failures at one account only delay its next sign-in, by
//! at most 10 seconds.

mod cells;
mod waits;

use cells::{Cells, Limit};
use crossfade_core::{
    SessionId, Timestamp, UserId,
    address::{prefix, wide_network},
};
use std::{
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
pub(crate) use waits::Waits;

/// Networks that count as sources, the narrowest first: bits of IPv4, bits of IPv6, and their limit. Providers give a
/// customer a /64, a /56 or a /48 of IPv6.
const WIDTHS: [(u32, u32, Limit); 3] = [
    (32, 64, Limit { burst: 50, forgiven_after: Duration::from_secs(6) }),
    // IPv4 has two widths only: this one is the same address again, with more room.
    (32, 56, Limit { burst: 100, forgiven_after: Duration::from_secs(4) }),
    (24, 48, Limit { burst: 150, forgiven_after: Duration::from_secs(3) }),
];
/// Limit for wrong passwords of a session when it is asked to confirm the password.
const SESSION: Limit = Limit { burst: 10, forgiven_after: Duration::from_secs(60) };
/// Limit for wrong codes of second factors. At any time 3 of 1,000,000 codes are right: beyond the burst, somebody who knows
/// the password guesses one within a year with a probability below 3%.
const CODES: Limit = Limit { burst: 10, forgiven_after: Duration::from_secs(60 * 60) };
/// Limit for failures at one account from all sources. They never refuse a sign-in.
const ACCOUNT: Limit =
    Limit { burst: FREE_FAILURES + MAX_WAIT_SECONDS, forgiven_after: Duration::from_secs(60) };
/// Number of failures at an account that cause no delay.
const FREE_FAILURES: u32 = 5;
/// Maximum delay because of failures at an account, in seconds. Each failure beyond the free ones adds 1 second.
const MAX_WAIT_SECONDS: u32 = 10;
/// Limit for failures of a network at one account. They determine which network gives way if many sign-ins of the
/// account wait, and never refuse a sign-in. They outlast a wait, so a returning network is recognised.
const AT_ACCOUNT: Limit = Limit { burst: 60, forgiven_after: Duration::from_secs(120) };
/// Maximum number of sources, and of accounts, that are remembered.
const MOST_REMEMBERED: usize = 20_000;

/// Maximum number of failures recorded individually within a window; further ones are grouped.
const ONE_BY_ONE: u32 = 60;
const WINDOW: Duration = Duration::from_secs(60);

/// Recent failures that this process knows of. Those that count for a network, an account or a session are stored, too, so that
/// every node counts them.
pub(crate) struct Throttle {
    failed: Mutex<Failed>,
    told: Mutex<Told>,
    pub(crate) waits: Waits,
}

struct Failed {
    sources: Cells<(usize, IpAddr)>,
    sessions: Cells<SessionId>,
    accounts: Cells<String>,
    /// By account and wide network.
    at_accounts: Cells<(String, String)>,
}

impl Failed {
    /// Returns how long a sign-in of an account waits.
    fn wait(&self, account: &str, now: Timestamp) -> Duration {
        let earlier = self.accounts.failures(&account.to_owned(), ACCOUNT, now);
        Duration::from_secs(earlier.saturating_sub(FREE_FAILURES.into()).min(MAX_WAIT_SECONDS.into()))
    }
}

/// Number of failures recorded recently, from all sources.
#[derive(Default)]
struct Told {
    until: Option<Timestamp>,
    written: u32,
    gathered: u64,
}

/// An attempt that is allowed to be checked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Admitted {
    /// Number of attempts before it that were refused without a check.
    pub(crate) unseen: u64,
    /// How long the attempt waits first, because of failures at its account.
    pub(crate) wait: Duration,
}

/// An attempt that must not be checked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// End of the throttling.
    pub(crate) until: Timestamp,
    /// Whether the attempt before was still checked, so that the trail records the throttling of a source once.
    pub(crate) is_first: bool,
}

/// What failures are stored for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    /// Names it. What was typed as an email address is in it, so it is stored as a keyed digest only.
    pub(crate) name: String,
    limit: Limit,
}

impl Subject {
    fn network((width, address): (usize, IpAddr), limit: Limit) -> Self {
        Self { name: format!("network {width} {address}"), limit }
    }

    /// Returns what a failed sign-in from an address counts for: its networks, and last the account.
    pub(crate) fn of_sign_in(address: IpAddr, account: &str) -> Vec<Self> {
        let networks = sources(address).map(|(key, limit)| Self::network(key, limit));
        networks.into_iter().chain([Self::of_account(account)]).collect()
    }

    /// Returns what failures at an account count for, from wherever they come.
    pub(crate) fn of_account(account: &str) -> Self {
        Self { name: format!("account {account}"), limit: ACCOUNT }
    }

    /// Returns what a wrong password of a signed-in person counts for.
    pub(crate) fn of_session(session: &SessionId) -> Self {
        Self { name: format!("session {session}"), limit: SESSION }
    }

    /// Returns what wrong codes of an account's second factors count for, from browsers that it does not know.
    pub(crate) fn of_codes(user: &UserId) -> Self {
        Self { name: format!("codes {user}"), limit: CODES }
    }

    /// Returns what wrong codes of a signed-in person count for.
    pub(crate) fn of_codes_in(session: &SessionId) -> Self {
        Self { name: format!("codes in {session}"), limit: CODES }
    }

    /// Returns when the next attempt is checked; `None`: now. `forgiven` is when all failures so far are forgiven.
    pub(crate) fn free_at(&self, forgiven: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
        self.limit.free_at(forgiven?, now)
    }

    /// Returns when all failures are forgiven after one more.
    pub(crate) fn after_failure(&self, forgiven: Option<Timestamp>, now: Timestamp) -> Timestamp {
        self.limit.after_failure(forgiven, now)
    }
}

impl Default for Throttle {
    fn default() -> Self {
        let failed = Failed {
            sources: Cells::new(MOST_REMEMBERED),
            sessions: Cells::new(MOST_REMEMBERED),
            accounts: Cells::new(MOST_REMEMBERED),
            at_accounts: Cells::new(MOST_REMEMBERED),
        };
        Self { failed: Mutex::new(failed), told: Mutex::default(), waits: Waits::default() }
    }
}

impl Throttle {
    fn failed(&self) -> MutexGuard<'_, Failed> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a sign-in as a failure of its networks until it has succeeded, so that parallel ones also count. Refuses
    /// it if one of its networks has failed too often.
    pub(crate) fn enter(&self, address: IpAddr, account: &str, now: Timestamp) -> Result<Admitted, Held> {
        let mut failed = self.failed();
        let sources = sources(address);
        let narrow = &sources[0];
        let free = sources.iter().filter_map(|(key, limit)| failed.sources.free_at(key, *limit, now)).max();
        if let Some(until) = free {
            return Err(Held { until, is_first: failed.sources.refuse(&narrow.0) });
        }
        let unseen = sources.iter().map(|(key, limit)| failed.sources.fail(*key, *limit, now)).sum();
        Ok(Admitted { unseen, wait: failed.wait(account, now) })
    }

    /// Counts what is stored about an attempt that has been admitted: for each subject of [`Subject::of_sign_in`], when its
    /// failures are forgiven. Returns how long the attempt waits, or refuses it after all.
    pub(crate) fn learn(
        &self,
        (address, account): (IpAddr, &str),
        stored: &[Option<Timestamp>],
        now: Timestamp,
    ) -> Result<Duration, Held> {
        let mut failed = self.failed();
        let sources = sources(address);
        let of_sources = || sources.iter().zip(stored).filter_map(|(it, stored)| Some((it, (*stored)?)));
        let free = of_sources().filter_map(|((_, limit), stored)| limit.free_at(stored, now)).max();
        if let Some(until) = free {
            for (key, limit) in &sources {
                failed.sources.take_back(key, *limit);
            }
            for ((key, _), stored) in of_sources() {
                failed.sources.learn(*key, stored);
            }
            return Err(Held { until, is_first: failed.sources.refuse(&sources[0].0) });
        }
        for ((key, limit), stored) in of_sources() {
            // This attempt is undecided, and counts on top.
            failed.sources.learn(*key, limit.after_failure(Some(stored), now));
        }
        if let Some(Some(stored)) = stored.get(sources.len()) {
            failed.accounts.learn(account.to_owned(), *stored);
        }
        Ok(failed.wait(account, now))
    }

    /// Counts what is stored about a confirmation that has been admitted, or refuses it after all.
    pub(crate) fn learn_session(
        &self,
        session: &SessionId,
        stored: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), Held> {
        let Some(stored) = stored else { return Ok(()) };
        let mut failed = self.failed();
        match SESSION.free_at(stored, now) {
            None => {
                failed.sessions.learn(session.clone(), SESSION.after_failure(Some(stored), now));
                Ok(())
            }
            Some(until) => {
                failed.sessions.take_back(session, SESSION);
                failed.sessions.learn(session.clone(), stored);
                Err(Held { until, is_first: failed.sessions.refuse(session) })
            }
        }
    }

    /// Returns the recent failures of a wide network, including its undecided sign-ins.
    pub(crate) fn failures_of(&self, network: &str, now: Timestamp) -> u64 {
        let Ok(network) = network.parse::<IpAddr>() else { return 0 };
        let last = WIDTHS.len() - 1;
        self.failed().sources.failures(&(last, network), WIDTHS[last].2, now)
    }

    /// Counts a failure at an account. Only checked attempts count: many simultaneous sign-ins are not failures.
    pub(crate) fn fail(&self, address: IpAddr, account: &str, now: Timestamp) {
        let mut failed = self.failed();
        failed.accounts.fail(account.to_owned(), ACCOUNT, now);
        let network = wide_network(address).to_string();
        failed.at_accounts.fail((account.to_owned(), network), AT_ACCOUNT, now);
    }

    /// Returns the failures of a wide network at an account in the last minutes.
    pub(crate) fn failures_at(&self, account: &str, network: &str, now: Timestamp) -> u64 {
        let key = (account.to_owned(), network.to_owned());
        self.failed().at_accounts.failures(&key, AT_ACCOUNT, now)
    }

    /// Clears the failures of an account after a successful sign-in, and does not count this attempt for its source.
    pub(crate) fn succeeded(&self, address: IpAddr, account: &str) {
        let mut failed = self.failed();
        failed.accounts.forgive(&account.to_owned());
        failed.at_accounts.forgive(&(account.to_owned(), wide_network(address).to_string()));
        for (key, limit) in sources(address) {
            failed.sources.take_back(&key, limit);
        }
    }

    /// Counts a confirmation of the password as wrong until it was correct, or refuses to check it. Only the session
    /// itself is throttled, so that others cannot delay the account's owner and a stolen session cannot guess from many
    /// addresses.
    pub(crate) fn enter_session(&self, session: &SessionId, now: Timestamp) -> Result<Admitted, Held> {
        let mut failed = self.failed();
        if let Some(until) = failed.sessions.free_at(session, SESSION, now) {
            return Err(Held { until, is_first: failed.sessions.refuse(session) });
        }
        let unseen = failed.sessions.fail(session.clone(), SESSION, now);
        Ok(Admitted { unseen, wait: Duration::ZERO })
    }

    /// Forgives the wrong passwords of a session.
    pub(crate) fn session_succeeded(&self, session: &SessionId) {
        self.failed().sessions.forgive(session);
    }

    /// Returns the number of failures to record in the trail now; `None` if they are held for the next event.
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
}

/// Returns the networks of an address that count as sources, the narrowest first.
fn sources(address: IpAddr) -> [((usize, IpAddr), Limit); 3] {
    let mut width = 0..WIDTHS.len();
    WIDTHS.map(|(v4, v6, limit)| ((width.next().unwrap_or_default(), prefix(address, v4, v6)), limit))
}

#[cfg(test)]
mod tests;
