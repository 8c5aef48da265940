//! Evidence of use, gathered in bounded memory while tokens are issued and taken away by the flush.
//!
//! Recording never fails and never waits for anything but the few instructions of another record in the
//! same shard. What does not fit is counted without its source, and what does not fit even there is counted
//! as lost, so that a gap is known as a gap.

use crossfade_core::{RegistrationId, SecretId, Timestamp, address::network};
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::{
    hash::{BuildHasher, Hash},
    net::IpAddr,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// Why a client authentication failed. Known to the audit trail; on the wire they are all one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Failure {
    /// Nothing that can be read as credentials.
    Malformed,
    /// No such `client_id` in this environment.
    UnknownClient,
    /// The registration is disabled.
    Disabled,
    /// Not by this method.
    Method,
    /// Not a secret of this client, or one that ended long ago.
    Wrong,
    /// A secret whose deadline has passed.
    Expired,
    /// A secret that was ended before its time.
    Revoked,
}

impl Failure {
    /// Every cause there is.
    pub const ALL: [Self; 7] = [
        Self::Malformed,
        Self::UnknownClient,
        Self::Disabled,
        Self::Method,
        Self::Wrong,
        Self::Expired,
        Self::Revoked,
    ];

    /// The word that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnknownClient => "unknown_client",
            Self::Disabled => "disabled",
            Self::Method => "method",
            Self::Wrong => "wrong",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

/// First time, last time, and how often.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counter {
    /// The first time.
    pub first: Timestamp,
    /// The last time.
    pub last: Timestamp,
    /// How often.
    pub count: u64,
}

impl Counter {
    fn once(at: Timestamp) -> Self {
        Self { first: at, last: at, count: 1 }
    }

    fn merge(&mut self, other: Counter) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.count += other.count;
    }
}

/// Successful uses of one secret from one source since the last flush.
#[derive(Clone, Debug)]
pub struct SourceCount {
    /// The secret.
    pub secret: SecretId,
    /// The address; `None` gathers what did not fit.
    pub ip: Option<IpAddr>,
    /// The user agent, shortened.
    pub user_agent: Box<str>,
    /// The uses.
    pub counter: Counter,
}

/// Failed authentications of one kind from one address since the last flush.
#[derive(Clone, Debug)]
pub struct FailureCount {
    /// The registration, where the `client_id` is known.
    pub registration: Option<RegistrationId>,
    /// The ended secret that was presented, where it is known.
    pub secret: Option<SecretId>,
    /// Why.
    pub failure: Failure,
    /// The address; `None` gathers what did not fit.
    pub ip: Option<IpAddr>,
    /// The failures.
    pub counter: Counter,
}

const SHARDS: usize = 16;
/// Distinct sources that a shard keeps between two flushes.
const MOST_SOURCES: usize = 2048;
/// Distinct failures that a shard keeps between two flushes: so many of ended secrets, and so many others.
const MOST_FAILURES: usize = 256;
/// Bytes of a user agent that are kept.
const USER_AGENT_BYTES: usize = 200;

#[derive(Default)]
struct Shard {
    sources: HashTable<SourceCount>,
    failures: HashTable<FailureCount>,
    /// Everything since the start, which no drain takes away.
    used: u64,
    failed: [u64; Failure::ALL.len()],
}

impl Shard {
    /// What is known of ended secrets has room of its own: a flood of guesses must not hide who still uses one.
    fn is_full_of_failures(&self, of_a_secret: bool) -> bool {
        self.failures.iter().filter(|it| it.secret.is_some() == of_a_secret).count() >= MOST_FAILURES
    }
}

/// What has been gathered since the last flush.
pub struct Evidence {
    shards: [Mutex<Shard>; SHARDS],
    hasher: FixedState,
    lost: AtomicU64,
}

impl Evidence {
    /// Empty. `seed` keeps callers from choosing user agents that collide.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: FixedState::with_seed(seed),
            lost: AtomicU64::new(0),
        }
    }

    /// Records one successful use.
    pub(crate) fn used(&self, secret: &SecretId, ip: IpAddr, user_agent: &str, at: Timestamp) {
        let user_agent = shorten(user_agent);
        let hash = self.hash((secret.as_str(), Some(ip), user_agent));
        self.add_source(hash, secret, Some(ip), user_agent, Counter::once(at), 1);
    }

    /// Records one failed authentication.
    pub(crate) fn failed(
        &self,
        registration: Option<&RegistrationId>,
        secret: Option<&SecretId>,
        failure: Failure,
        ip: IpAddr,
        at: Timestamp,
    ) {
        self.add_failure(registration, secret, failure, Some(network(ip)), Counter::once(at), 1);
    }

    /// Takes what has been gathered, and how many uses were lost since the last time.
    pub fn drain(&self) -> (Vec<SourceCount>, Vec<FailureCount>, u64) {
        let (mut sources, mut failures) = (Vec::new(), Vec::new());
        for shard in &self.shards {
            let mut shard = lock(shard);
            sources.extend(std::mem::take(&mut shard.sources));
            failures.extend(std::mem::take(&mut shard.failures));
        }
        (sources, failures, self.lost.swap(0, Ordering::Relaxed))
    }

    /// Authentications since the start, by outcome: `ok`, or why they failed.
    pub fn totals(&self) -> Vec<(&'static str, u64)> {
        let mut totals = vec![("ok", 0)];
        totals.extend(Failure::ALL.map(|failure| (failure.as_str(), 0)));
        for shard in &self.shards {
            let shard = lock(shard);
            totals[0].1 += shard.used;
            for (total, count) in totals[1..].iter_mut().zip(shard.failed) {
                total.1 += count;
            }
        }
        totals
    }

    /// The last use of a secret that has been gathered and not drained.
    pub fn last_use(&self, secret: &SecretId) -> Option<Timestamp> {
        let last = |shard: &Mutex<Shard>| {
            let shard = lock(shard);
            shard.sources.iter().filter(|it| it.secret == *secret).map(|it| it.counter.last).max()
        };
        self.shards.iter().filter_map(last).max()
    }

    /// Puts back what could not be written, so that the next flush writes it.
    pub fn restore(&self, sources: Vec<SourceCount>, failures: Vec<FailureCount>, lost: u64) {
        for source in sources {
            let hash = self.hash((source.secret.as_str(), source.ip, &*source.user_agent));
            self.add_source(hash, &source.secret, source.ip, &source.user_agent, source.counter, 0);
        }
        for failed in failures {
            self.add_failure(
                failed.registration.as_ref(),
                failed.secret.as_ref(),
                failed.failure,
                failed.ip,
                failed.counter,
                0,
            );
        }
        self.lost.fetch_add(lost, Ordering::Relaxed);
    }

    /// Adds to what has been gathered; `new` of it is counted in the totals for the first time.
    fn add_source(
        &self,
        hash: u64,
        secret: &SecretId,
        ip: Option<IpAddr>,
        user_agent: &str,
        counter: Counter,
        new: u64,
    ) {
        let mut shard = lock(&self.shards[hash as usize % SHARDS]);
        shard.used += new;
        let same = |known: &SourceCount| {
            known.ip == ip && *known.user_agent == *user_agent && known.secret == *secret
        };
        if let Some(known) = shard.sources.find_mut(hash, same) {
            known.counter.merge(counter);
            return;
        }
        let full = shard.sources.len() >= MOST_SOURCES;
        if full && ip.is_some() {
            drop(shard);
            let rest = self.hash((secret.as_str(), None::<IpAddr>, ""));
            return self.add_source(rest, secret, None, "", counter, 0);
        }
        // The gathering rows may go beyond the cap, but not without end.
        if shard.sources.len() >= MOST_SOURCES * 2 {
            self.lost.fetch_add(counter.count, Ordering::Relaxed);
            return;
        }
        let new = SourceCount { secret: secret.clone(), ip, user_agent: user_agent.into(), counter };
        shard.sources.insert_unique(hash, new, |known| {
            self.hash((known.secret.as_str(), known.ip, &*known.user_agent))
        });
    }

    fn add_failure(
        &self,
        registration: Option<&RegistrationId>,
        secret: Option<&SecretId>,
        failure: Failure,
        ip: Option<IpAddr>,
        counter: Counter,
        new: u64,
    ) {
        let hash = self.hash((registration.map(RegistrationId::as_str), failure, ip));
        let mut shard = lock(&self.shards[hash as usize % SHARDS]);
        shard.failed[failure as usize] += new;
        let same = |known: &FailureCount| {
            known.failure == failure
                && known.ip == ip
                && known.registration.as_ref() == registration
                && known.secret.as_ref() == secret
        };
        if let Some(known) = shard.failures.find_mut(hash, same) {
            known.counter.merge(counter);
            return;
        }
        if shard.is_full_of_failures(secret.is_some()) && ip.is_some() {
            drop(shard);
            return self.add_failure(registration, secret, failure, None, counter, 0);
        }
        if shard.failures.len() >= MOST_FAILURES * 2 {
            self.lost.fetch_add(counter.count, Ordering::Relaxed);
            return;
        }
        let new = FailureCount {
            registration: registration.cloned(),
            secret: secret.cloned(),
            failure,
            ip,
            counter,
        };
        shard.failures.insert_unique(hash, new, |known| {
            self.hash((known.registration.as_ref().map(RegistrationId::as_str), known.failure, known.ip))
        });
    }

    fn hash(&self, key: impl Hash) -> u64 {
        self.hasher.hash_one(key)
    }
}

/// A shard, also after a panic in another thread: counters have no half-written state.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

fn shorten(text: &str) -> &str {
    &text[..text.floor_char_boundary(USER_AGENT_BYTES)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn secret(n: usize) -> SecretId {
        SecretId::parse(&format!("sec_{n:022}")).unwrap()
    }

    fn ip(n: u32) -> IpAddr {
        Ipv4Addr::from(n).into()
    }

    fn registration(n: usize) -> RegistrationId {
        RegistrationId::parse(&format!("reg_{n:022}")).unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn counted(first: i64, last: i64, count: u64) -> Counter {
        Counter { first: at(first), last: at(last), count }
    }

    #[test]
    fn uses_are_counted_per_secret_and_source() {
        let evidence = Evidence::new(1);
        for at in [5, 3, 9] {
            evidence.used(&secret(1), ip(1), "curl", Timestamp::from_seconds(at));
        }
        evidence.used(&secret(1), ip(2), "curl", Timestamp::from_seconds(4));
        evidence.used(&secret(2), ip(1), "curl", Timestamp::from_seconds(4));
        let (mut sources, failures, lost) = evidence.drain();
        sources.sort_by_key(|source| std::cmp::Reverse(source.counter.count));
        assert_eq!((sources.len(), failures.len(), lost), (3, 0, 0));
        let expected =
            Counter { first: Timestamp::from_seconds(3), last: Timestamp::from_seconds(9), count: 3 };
        assert_eq!((sources[0].counter, sources[0].ip), (expected, Some(ip(1))));
        assert!(evidence.drain().0.is_empty(), "a drain takes everything");
    }

    #[test]
    fn a_flood_of_sources_stays_bounded_and_loses_no_count() {
        let evidence = Evidence::new(1);
        let flood = 200_000;
        for n in 0..flood {
            evidence.used(&secret(1), ip(n), "x", Timestamp::from_seconds(1));
        }
        let (sources, _, lost) = evidence.drain();
        assert!(sources.len() <= SHARDS * MOST_SOURCES + 1);
        assert_eq!(sources.iter().map(|s| s.counter.count).sum::<u64>() + lost, u64::from(flood));
        assert!(sources.iter().any(|s| s.ip.is_none()), "the rest is gathered in an explicit row");
        assert_eq!(lost, 0);
    }

    #[test]
    fn what_could_not_be_written_is_kept() {
        let evidence = Evidence::new(1);
        evidence.used(&secret(1), ip(1), "a", Timestamp::from_seconds(1));
        evidence.failed(None, None, Failure::UnknownClient, ip(1), Timestamp::from_seconds(1));
        let (sources, failures, lost) = evidence.drain();
        evidence.used(&secret(1), ip(1), "a", Timestamp::from_seconds(2));
        evidence.restore(sources, failures, lost);
        let (sources, failures, _) = evidence.drain();
        assert_eq!((sources.len(), sources[0].counter.count), (1, 2));
        assert_eq!((failures.len(), failures[0].counter.count), (1, 1));
    }

    #[test]
    fn a_huge_user_agent_is_shortened_at_a_character() {
        let evidence = Evidence::new(1);
        evidence.used(&secret(1), ip(1), &"é".repeat(5000), Timestamp::from_seconds(1));
        let (sources, ..) = evidence.drain();
        assert_eq!(&*sources[0].user_agent, "é".repeat(100));
    }

    #[test]
    fn rule_17_an_agent_of_up_to_200_bytes_is_kept_whole() {
        for (sent, kept) in [
            (String::new(), 0),
            ("a".repeat(199), 199),
            ("a".repeat(200), 200),
            ("a".repeat(201), 200),
            // Four bytes each, the last of which would be cut in its middle.
            (format!("a{}", "\u{1f4b8}".repeat(60)), 197),
        ] {
            let evidence = Evidence::new(1);
            evidence.used(&secret(1), ip(1), &sent, at(1));
            let (sources, ..) = evidence.drain();
            assert_eq!(*sources[0].user_agent, sent[..kept]);
        }
    }

    #[test]
    fn rule_17_agents_that_differ_where_they_are_cut_are_one_source() {
        let evidence = Evidence::new(1);
        for tail in ["x", "y", ""] {
            evidence.used(&secret(1), ip(1), &format!("{}{tail}", "a".repeat(200)), at(1));
        }
        let (sources, ..) = evidence.drain();
        assert_eq!((sources.len(), sources[0].counter.count), (1, 3));
    }

    #[test]
    fn rule_16_failures_are_told_apart_by_registration_secret_reason_and_address() {
        let evidence = Evidence::new(1);
        for seconds in [5, 3, 9] {
            evidence.failed(Some(&registration(1)), Some(&secret(1)), Failure::Expired, ip(1), at(seconds));
        }
        evidence.failed(Some(&registration(2)), Some(&secret(1)), Failure::Expired, ip(1), at(4));
        evidence.failed(Some(&registration(1)), Some(&secret(2)), Failure::Expired, ip(1), at(4));
        evidence.failed(Some(&registration(1)), Some(&secret(1)), Failure::Revoked, ip(1), at(4));
        evidence.failed(Some(&registration(1)), Some(&secret(1)), Failure::Expired, ip(2), at(4));
        evidence.failed(Some(&registration(1)), None, Failure::Expired, ip(1), at(4));
        evidence.failed(None, None, Failure::Expired, ip(1), at(4));
        let (sources, mut failures, lost) = evidence.drain();
        assert_eq!((sources.len(), failures.len(), lost), (0, 7, 0));
        failures.sort_by_key(|failure| std::cmp::Reverse(failure.counter.count));
        assert_eq!(failures[0].counter, counted(3, 9, 3));
        assert_eq!(
            (&failures[0].registration, &failures[0].secret, failures[0].failure, failures[0].ip),
            (&Some(registration(1)), &Some(secret(1)), Failure::Expired, Some(ip(1)))
        );
        assert!(failures[1..].iter().all(|failure| failure.counter == counted(4, 4, 1)));
        assert!(evidence.drain().1.is_empty(), "a drain takes everything");
    }

    #[test]
    fn each_reason_has_a_word_of_its_own() {
        let words = [
            Failure::Malformed,
            Failure::UnknownClient,
            Failure::Disabled,
            Failure::Method,
            Failure::Wrong,
            Failure::Expired,
            Failure::Revoked,
        ]
        .map(Failure::as_str);
        assert_eq!(
            words,
            ["malformed", "unknown_client", "disabled", "method", "wrong", "expired", "revoked"]
        );
    }

    #[test]
    fn a_flood_of_failing_addresses_stays_bounded_and_loses_no_count() {
        let evidence = Evidence::new(1);
        let flood = 20_000;
        for n in 0..flood {
            evidence.failed(Some(&registration(1)), None, Failure::Wrong, ip(n), at(1));
        }
        let (_, failures, lost) = evidence.drain();
        assert!(failures.len() <= SHARDS * MOST_FAILURES + 1);
        assert_eq!(failures.iter().map(|f| f.counter.count).sum::<u64>(), u64::from(flood));
        assert_eq!(lost, 0);
        let rest: Vec<_> = failures.iter().filter(|failure| failure.ip.is_none()).collect();
        assert_eq!(rest.len(), 1, "the rest is gathered in one explicit row");
        assert_eq!((&rest[0].registration, rest[0].failure), (&Some(registration(1)), Failure::Wrong));
    }

    #[test]
    fn a_flood_of_guesses_does_not_hide_who_uses_an_ended_secret() {
        let evidence = Evidence::new(1);
        for n in 0..20_000 {
            evidence.failed(Some(&registration(1)), None, Failure::Wrong, ip(n), at(1));
            evidence.failed(None, None, Failure::UnknownClient, ip(n), at(1));
        }
        for n in 0..100 {
            evidence.failed(Some(&registration(1)), Some(&secret(1)), Failure::Expired, ip(n), at(2));
        }
        let (_, failures, ..) = evidence.drain();
        let of_it = failures.iter().filter(|it| it.secret.is_some());
        assert_eq!(of_it.filter(|it| it.ip.is_some()).count(), 100);
    }

    #[test]
    fn failures_of_one_ipv6_network_are_one_source() {
        let evidence = Evidence::new(1);
        for n in 0..1000_u128 {
            let address = std::net::Ipv6Addr::from_bits((0x2001_0db8_u128 << 96) + n);
            evidence.failed(Some(&registration(1)), None, Failure::Wrong, address.into(), at(1));
        }
        let (_, failures, ..) = evidence.drain();
        assert_eq!((failures.len(), failures[0].counter.count), (1, 1000));
        assert_eq!(failures[0].ip, Some("2001:db8::".parse().unwrap()));
    }

    /// A known source goes on being counted as itself while the table is full: a flood from elsewhere does
    /// not hide who uses the old secret.
    #[test]
    fn a_flood_does_not_hide_a_source_that_is_known_already() {
        let evidence = Evidence::new(1);
        evidence.used(&secret(1), ip(0), "instance", at(1));
        for n in 1..100_000 {
            evidence.used(&secret(2), ip(n), "flood", at(2));
        }
        evidence.used(&secret(1), ip(0), "instance", at(3));
        let (sources, ..) = evidence.drain();
        let own: Vec<_> = sources.iter().filter(|source| source.secret == secret(1)).collect();
        assert_eq!(own.len(), 1);
        assert_eq!((own[0].counter, own[0].ip), (counted(1, 3, 2), Some(ip(0))));
    }

    #[test]
    fn what_fits_nowhere_is_counted_as_lost_and_every_use_is_accounted_for() {
        let evidence = Evidence::new(1);
        // One secret each, so that the gathering rows do not merge either.
        let uses = SHARDS * MOST_SOURCES * 3;
        for n in 0..uses {
            evidence.used(&secret(n), ip(1), "x", at(1));
        }
        let attempts = SHARDS * MOST_FAILURES * 3;
        for n in 0..attempts {
            evidence.failed(Some(&registration(n)), None, Failure::Wrong, ip(1), at(1));
        }
        let (sources, failures, lost) = evidence.drain();
        assert!(sources.len() <= SHARDS * MOST_SOURCES * 2);
        assert!(failures.len() <= SHARDS * MOST_FAILURES * 2);
        assert!(lost > 0);
        let kept = sources.iter().map(|source| source.counter.count).sum::<u64>()
            + failures.iter().map(|failure| failure.counter.count).sum::<u64>();
        assert_eq!(kept + lost, (uses + attempts) as u64);
        assert_eq!(evidence.drain().2, 0, "a loss is reported once");
    }

    #[test]
    fn restored_counters_keep_their_first_and_last_time_and_what_was_lost() {
        let evidence = Evidence::new(1);
        evidence.used(&secret(1), ip(1), "a", at(1));
        evidence.used(&secret(1), ip(1), "a", at(3));
        evidence.failed(Some(&registration(1)), Some(&secret(1)), Failure::Revoked, ip(1), at(1));
        let (sources, failures, _) = evidence.drain();
        evidence.used(&secret(1), ip(1), "a", at(2));
        evidence.used(&secret(1), ip(1), "a", at(5));
        evidence.failed(Some(&registration(1)), Some(&secret(1)), Failure::Revoked, ip(1), at(4));
        evidence.restore(sources, failures, 7);
        let (sources, failures, lost) = evidence.drain();
        assert_eq!((sources.len(), sources[0].counter), (1, counted(1, 5, 4)));
        assert_eq!((failures.len(), failures[0].counter), (1, counted(1, 4, 2)));
        assert_eq!(lost, 7);
    }

    #[test]
    fn what_is_restored_into_a_full_table_is_gathered_and_stays_bounded() {
        let evidence = Evidence::new(1);
        let flood = |from: u32| {
            for n in from..from + 60_000 {
                evidence.used(&secret(1), ip(n), "x", at(1));
                evidence.failed(None, None, Failure::UnknownClient, ip(n), at(1));
            }
        };
        flood(0);
        let (sources, failures, lost) = evidence.drain();
        flood(1_000_000);
        evidence.restore(sources, failures, lost);
        let (sources, failures, lost) = evidence.drain();
        assert!(sources.len() <= SHARDS * MOST_SOURCES + 1);
        assert!(failures.len() <= SHARDS * MOST_FAILURES + 1);
        assert_eq!(sources.iter().map(|source| source.counter.count).sum::<u64>(), 120_000);
        assert_eq!(failures.iter().map(|failure| failure.counter.count).sum::<u64>(), 120_000);
        assert_eq!(lost, 0);
        assert_eq!(sources.iter().filter(|source| source.ip.is_none()).count(), 1);
        assert_eq!(failures.iter().filter(|failure| failure.ip.is_none()).count(), 1);
    }

    #[test]
    fn rule_17_the_sum_is_exact_under_threads_that_record_drain_and_restore() {
        const THREADS: u64 = 4;
        const EACH: u64 = 5_000;
        let evidence = Evidence::new(1);
        let mut taken = (0, 0, 0);
        let mut add = |(sources, failures, lost): (Vec<SourceCount>, Vec<FailureCount>, u64)| {
            taken.0 += sources.iter().map(|source| source.counter.count).sum::<u64>();
            taken.1 += failures.iter().map(|failure| failure.counter.count).sum::<u64>();
            taken.2 += lost;
        };
        std::thread::scope(|threads| {
            let recording: Vec<_> = (0..THREADS)
                .map(|thread| {
                    let evidence = &evidence;
                    threads.spawn(move || {
                        for n in 0..EACH {
                            let (from, when) = (ip(n as u32 % 64), at((thread * EACH + n) as i64));
                            evidence.used(&secret(n as usize % 3), from, "agent", when);
                            evidence.failed(None, None, Failure::UnknownClient, from, when);
                        }
                    })
                })
                .collect();
            while recording.iter().any(|thread| !thread.is_finished()) {
                let (sources, failures, lost) = evidence.drain();
                evidence.restore(sources, failures, lost);
                add(evidence.drain());
            }
        });
        add(evidence.drain());
        assert_eq!(taken, (THREADS * EACH, THREADS * EACH, 0));
    }

    #[test]
    fn rule_17_recording_goes_on_after_a_panic_that_held_a_shard() {
        let evidence = Evidence::new(1);
        evidence.used(&secret(1), ip(1), "a", at(1));
        std::thread::scope(|threads| {
            for shard in &evidence.shards {
                let panicked = threads.spawn(|| {
                    let _held = lock(shard);
                    std::panic::resume_unwind(Box::new("on purpose"));
                });
                assert!(panicked.join().is_err());
            }
        });
        assert!(evidence.shards.iter().all(Mutex::is_poisoned));
        evidence.used(&secret(1), ip(1), "a", at(2));
        assert_eq!(evidence.drain().0[0].counter, counted(1, 2, 2));
    }
}
