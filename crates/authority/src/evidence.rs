//! Evidence of use, collected in bounded memory while tokens are issued, and removed by the flush.
//!
//! Recording never fails, and waits at most for the few instructions of another record in the same shard. No use is
//! ever lost: a source that does not fit is counted with others of its address, and finally with all others of its
//! secret. There is at most one of these final rows per secret.

use crossfade_core::{DrillId, RegistrationId, SecretId, Timestamp, address::network};
use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashTable};
use std::{
    hash::{BuildHasher, Hash},
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Why a client authentication failed. Recorded in the audit trail; on the wire all reasons are the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Failure {
    /// No readable credentials.
    Malformed,
    /// No such `client_id` in this environment.
    UnknownClient,
    /// The registration is disabled.
    Disabled,
    /// Authentication method not allowed.
    Method,
    /// Not a secret of this client, or a secret that ended long ago.
    Wrong,
    /// A secret whose deadline has passed.
    Expired,
    /// A secret that was ended before its deadline.
    Revoked,
    /// A retiring secret, in a window of a drill.
    Drill,
    /// One of too many failures of a client from a network; the reason is not recorded.
    Throttled,
}

impl Failure {
    /// All causes.
    pub const ALL: [Self; 9] = [
        Self::Malformed,
        Self::UnknownClient,
        Self::Disabled,
        Self::Method,
        Self::Wrong,
        Self::Expired,
        Self::Revoked,
        Self::Drill,
        Self::Throttled,
    ];

    /// Returns the word that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnknownClient => "unknown_client",
            Self::Disabled => "disabled",
            Self::Method => "method",
            Self::Wrong => "wrong",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Drill => "drill",
            Self::Throttled => "throttled",
        }
    }
}

/// First time, last time, count and longest pause of an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counter {
    /// The first time.
    pub first: Timestamp,
    /// The last time.
    pub last: Timestamp,
    /// Number of times.
    pub count: u64,
    /// Longest time between two consecutive ones.
    pub longest_pause: Duration,
}

impl Counter {
    fn once(at: Timestamp) -> Self {
        Self { first: at, last: at, count: 1, longest_pause: Duration::ZERO }
    }

    /// Adds the counts of another counter.
    pub fn merge(&mut self, other: Counter) {
        let between = other.first.since(self.last).max(self.first.since(other.last));
        self.longest_pause = self.longest_pause.max(other.longest_pause).max(between);
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.count += other.count;
    }
}

/// Source of a request. Everything except the address is what the caller says.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The address.
    pub ip: IpAddr,
    /// The user agent.
    pub user_agent: &'a str,
    /// The label of the instance.
    pub instance: &'a str,
}

/// What refused a recognised secret.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RefusedBy {
    /// A window of a drill.
    Drill(DrillId),
    /// The record: the registration is disabled, does not allow the authentication method, or the secret has ended.
    Record,
}

/// Successful uses of one secret from one source since the last flush, or refused attempts.
#[derive(Clone, Debug)]
pub struct SourceCount {
    /// The secret.
    pub secret: SecretId,
    /// What refused the attempts; `None` for successful uses.
    pub refused_by: Option<RefusedBy>,
    /// The address; `None` for the group of those that did not fit.
    pub ip: Option<IpAddr>,
    /// The user agent, shortened.
    pub user_agent: Box<str>,
    /// The label of the instance, shortened.
    pub instance: Box<str>,
    /// Whether it groups sources that did not fit: those of this address or, without an address, all others.
    pub gathered: bool,
    /// The uses.
    pub counter: Counter,
}

/// Failed authentications of one kind from one address since the last flush.
#[derive(Clone, Debug)]
pub struct FailureCount {
    /// The registration, if the `client_id` is known.
    pub registration: Option<RegistrationId>,
    /// The ended secret that was presented, if it was recognised.
    pub secret: Option<SecretId>,
    /// Reason.
    pub failure: Failure,
    /// The address; `None` for the group of those that did not fit.
    pub ip: Option<IpAddr>,
    /// The failures.
    pub counter: Counter,
}

const SHARDS: usize = 16;
/// Maximum number of distinct sources in a shard between two flushes.
const MOST_SOURCES: usize = 2048;
/// Sources per secret and shard, and as many rows that group its sources by address. The limit keeps a caller that
/// invents sources from displacing other secrets' sources. A secret has 16 times as many, about as many as are stored.
const MOST_OF_SECRET: u32 = 256;
/// Sources per secret and shard that a drill refused. Large enough for everything stored about one drill, even if all
/// its callers share an address.
const MOST_OF_DRILL: u32 = 1024;
/// Maximum number of distinct failures with ended secrets in a shard between two flushes, and also of other failures.
const MOST_FAILURES: usize = 256;
/// Maximum length of a stored user agent in bytes.
const USER_AGENT_BYTES: usize = 200;
/// Maximum length of a stored instance label in bytes.
const INSTANCE_BYTES: usize = 64;

#[derive(Default)]
struct Shard {
    sources: HashTable<SourceCount>,
    /// Source counts by hash of the secret, kept separately for drill refusals. Secrets with the same hash share a
    /// limit.
    shares: HashMap<u64, u32, FixedState>,
    failures: HashTable<FailureCount>,
    /// Successful uses since the start; draining does not reset it.
    used: u64,
    failed: [u64; Failure::ALL.len()],
}

impl Shard {
    /// Failures with a recognised (ended) secret have their own limit, so that a flood of guesses cannot hide the
    /// callers still using one.
    fn is_full_of_failures(&self, of_a_secret: bool) -> bool {
        self.failures.iter().filter(|it| it.secret.is_some() == of_a_secret).count() >= MOST_FAILURES
    }
}

/// The evidence collected since the last flush.
pub struct Evidence {
    shards: [Mutex<Shard>; SHARDS],
    hasher: FixedState,
}

/// Key of a count of uses.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Key<'a> {
    secret: &'a str,
    refused_by: Option<&'a RefusedBy>,
    ip: Option<IpAddr>,
    user_agent: &'a str,
    instance: &'a str,
    gathered: bool,
}

impl<'a> Key<'a> {
    fn of(count: &'a SourceCount) -> Self {
        Self {
            secret: count.secret.as_str(),
            refused_by: count.refused_by.as_ref(),
            ip: count.ip,
            user_agent: &count.user_agent,
            instance: &count.instance,
            gathered: count.gathered,
        }
    }

    fn at(secret: &'a SecretId, refused_by: Option<&'a RefusedBy>, source: &Source<'a>) -> Self {
        Self {
            secret: secret.as_str(),
            refused_by,
            ip: Some(source.ip),
            user_agent: shorten(source.user_agent, USER_AGENT_BYTES),
            instance: shorten(source.instance, INSTANCE_BYTES),
            gathered: false,
        }
    }

    /// Returns the key of the row that groups the sources of an address, or all sources.
    fn gathering(self, ip: Option<IpAddr>) -> Self {
        Self { ip, user_agent: "", instance: "", gathered: true, ..self }
    }
}

impl Evidence {
    /// Creates empty evidence. `seed` prevents callers from choosing user agents that collide.
    pub(crate) fn new(seed: u64) -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::default()), hasher: FixedState::with_seed(seed) }
    }

    /// Records one successful use.
    pub fn used(&self, secret: &SecretId, source: &Source<'_>, at: Timestamp) {
        self.add_source(Key::at(secret, None, source), secret, Counter::once(at), 1);
    }

    /// Records a caller that was refused with a recognised secret. The failure itself is recorded separately.
    pub(crate) fn refused(&self, secret: &SecretId, by: &RefusedBy, source: &Source<'_>, at: Timestamp) {
        self.add_source(Key::at(secret, Some(by), source), secret, Counter::once(at), 0);
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

    /// Removes and returns the evidence collected so far.
    pub fn drain(&self) -> (Vec<SourceCount>, Vec<FailureCount>) {
        let (mut sources, mut failures) = (Vec::new(), Vec::new());
        for shard in &self.shards {
            let mut shard = lock(shard);
            sources.extend(std::mem::take(&mut shard.sources));
            shard.shares.clear();
            failures.extend(std::mem::take(&mut shard.failures));
        }
        (sources, failures)
    }

    /// Returns the number of authentications since the start, by outcome: `ok` or the reason for the failure.
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

    /// Returns the last use of a secret, among counts not yet drained.
    pub fn last_use(&self, secret: &SecretId) -> Option<Timestamp> {
        self.latest(secret, |it| it.refused_by.is_none())
    }

    /// Returns the last time the secret was used or refused, among counts not yet drained.
    pub fn last_try(&self, secret: &SecretId) -> Option<Timestamp> {
        self.latest(secret, |_| true)
    }

    fn latest(&self, secret: &SecretId, counts: impl Fn(&SourceCount) -> bool) -> Option<Timestamp> {
        let last = |shard: &Mutex<Shard>| {
            let shard = lock(shard);
            shard
                .sources
                .iter()
                .filter(|it| it.secret == *secret && counts(it))
                .map(|it| it.counter.last)
                .max()
        };
        self.shards.iter().filter_map(last).max()
    }

    /// Puts back rows that could not be written, so that the next flush writes them.
    pub fn restore(&self, sources: Vec<SourceCount>, failures: Vec<FailureCount>) {
        for source in &sources {
            self.add_source(Key::of(source), &source.secret, source.counter, 0);
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
    }

    /// Adds to the collected evidence. `new` of these uses are counted in the totals for the first time.
    fn add_source(&self, key: Key<'_>, secret: &SecretId, counter: Counter, new: u64) {
        let (shard, hash) = self.place(key);
        let mut shard = lock(&self.shards[shard]);
        shard.used += new;
        if let Some(known) = shard.sources.find_mut(hash, |known| Key::of(known) == key) {
            known.counter.merge(counter);
            return;
        }
        let length = shard.sources.len();
        let drilled = matches!(key.refused_by, Some(RefusedBy::Drill(_)));
        let share = shard.shares.entry(self.hash((secret.as_str(), drilled))).or_default();
        let most = if drilled { MOST_OF_DRILL } else { MOST_OF_SECRET };
        let full = |by: u32| length >= MOST_SOURCES * by as usize || *share >= most * by;
        if !key.gathered && full(1) {
            drop(shard);
            return self.add_source(key.gathering(key.ip), secret, counter, 0);
        }
        if key.ip.is_some() && full(2) {
            drop(shard);
            return self.add_source(key.gathering(None), secret, counter, 0);
        }
        *share += 1;
        let new = SourceCount {
            secret: secret.clone(),
            refused_by: key.refused_by.cloned(),
            ip: key.ip,
            user_agent: key.user_agent.into(),
            instance: key.instance.into(),
            gathered: key.gathered,
            counter,
        };
        shard.sources.insert_unique(hash, new, |known| self.place(Key::of(known)).1);
    }

    /// Returns the shard of a source, and its hash there. All sources of one secret and address share a shard, so that
    /// a flood of labels from one address fills only one.
    fn place(&self, key: Key<'_>) -> (usize, u64) {
        let Key { secret, refused_by, ip, user_agent, instance, gathered } = key;
        let address = self.hash((secret, ip));
        (address as usize % SHARDS, self.hash((address, refused_by, user_agent, instance, gathered)))
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

/// Locks a shard, even after a panic in another thread: counters have no half-written state.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

fn shorten(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
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

    fn used(evidence: &Evidence, secret: &SecretId, ip: IpAddr, user_agent: &str, at: Timestamp) {
        evidence.used(secret, &Source { ip, user_agent, instance: "" }, at);
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn counted(first: i64, last: i64, count: u64) -> Counter {
        Counter { first: at(first), last: at(last), count, longest_pause: Duration::ZERO }
    }

    #[test]
    fn uses_are_counted_per_secret_and_source() {
        let evidence = Evidence::new(1);
        for at in [5, 3, 9] {
            used(&evidence, &secret(1), ip(1), "curl", Timestamp::from_seconds(at));
        }
        used(&evidence, &secret(1), ip(2), "curl", Timestamp::from_seconds(4));
        used(&evidence, &secret(2), ip(1), "curl", Timestamp::from_seconds(4));
        let (mut sources, failures) = evidence.drain();
        sources.sort_by_key(|source| std::cmp::Reverse(source.counter.count));
        assert_eq!((sources.len(), failures.len()), (3, 0));
        let expected = Counter { longest_pause: Duration::from_secs(4), ..counted(3, 9, 3) };
        assert_eq!((sources[0].counter, sources[0].ip), (expected, Some(ip(1))));
        assert!(evidence.drain().0.is_empty(), "a drain takes everything");
    }

    #[test]
    fn a_flood_of_sources_stays_bounded_and_loses_no_count() {
        let evidence = Evidence::new(1);
        let flood = 200_000;
        for n in 0..flood {
            used(&evidence, &secret(1), ip(n), "x", Timestamp::from_seconds(1));
        }
        let (sources, _) = evidence.drain();
        assert!(sources.len() <= SHARDS * MOST_OF_SECRET as usize * 2 + 1);
        assert_eq!(sources.iter().map(|s| s.counter.count).sum::<u64>(), u64::from(flood));
        assert!(sources.iter().any(|s| s.ip.is_none()), "the rest is gathered in an explicit row");
    }

    #[test]
    fn what_could_not_be_written_is_kept() {
        let evidence = Evidence::new(1);
        used(&evidence, &secret(1), ip(1), "a", Timestamp::from_seconds(1));
        evidence.failed(None, None, Failure::UnknownClient, ip(1), Timestamp::from_seconds(1));
        let (sources, failures) = evidence.drain();
        used(&evidence, &secret(1), ip(1), "a", Timestamp::from_seconds(2));
        evidence.restore(sources, failures);
        let (sources, failures) = evidence.drain();
        assert_eq!((sources.len(), sources[0].counter.count), (1, 2));
        assert_eq!((failures.len(), failures[0].counter.count), (1, 1));
    }

    #[test]
    fn a_huge_user_agent_is_shortened_at_a_character() {
        let evidence = Evidence::new(1);
        used(&evidence, &secret(1), ip(1), &"é".repeat(5000), Timestamp::from_seconds(1));
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
            used(&evidence, &secret(1), ip(1), &sent, at(1));
            let (sources, ..) = evidence.drain();
            assert_eq!(*sources[0].user_agent, sent[..kept]);
        }
    }

    #[test]
    fn rule_17_agents_that_differ_where_they_are_cut_are_one_source() {
        let evidence = Evidence::new(1);
        for tail in ["x", "y", ""] {
            used(&evidence, &secret(1), ip(1), &format!("{}{tail}", "a".repeat(200)), at(1));
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
        let (sources, mut failures) = evidence.drain();
        assert_eq!((sources.len(), failures.len()), (0, 7));
        failures.sort_by_key(|failure| std::cmp::Reverse(failure.counter.count));
        let longest_pause = Duration::from_secs(4);
        assert_eq!(failures[0].counter, Counter { longest_pause, ..counted(3, 9, 3) });
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
            Failure::Drill,
        ]
        .map(Failure::as_str);
        assert_eq!(
            words,
            ["malformed", "unknown_client", "disabled", "method", "wrong", "expired", "revoked", "drill"]
        );
    }

    #[test]
    fn a_flood_of_failing_addresses_stays_bounded_and_loses_no_count() {
        let evidence = Evidence::new(1);
        let flood = 20_000;
        for n in 0..flood {
            evidence.failed(Some(&registration(1)), None, Failure::Wrong, ip(n), at(1));
        }
        let (_, failures) = evidence.drain();
        assert!(failures.len() <= SHARDS * MOST_FAILURES + 1);
        assert_eq!(failures.iter().map(|f| f.counter.count).sum::<u64>(), u64::from(flood));
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

    /// A known source is still counted individually while the table is full: a flood from elsewhere does not hide the
    /// callers of the old secret.
    #[test]
    fn a_flood_does_not_hide_a_source_that_is_known_already() {
        let evidence = Evidence::new(1);
        used(&evidence, &secret(1), ip(0), "instance", at(1));
        for n in 1..100_000 {
            used(&evidence, &secret(2), ip(n), "flood", at(2));
        }
        used(&evidence, &secret(1), ip(0), "instance", at(3));
        let (sources, ..) = evidence.drain();
        let own: Vec<_> = sources.iter().filter(|source| source.secret == secret(1)).collect();
        assert_eq!(own.len(), 1);
        assert_eq!(
            (own[0].counter, own[0].ip),
            (Counter { longest_pause: Duration::from_secs(2), ..counted(1, 3, 2) }, Some(ip(0)))
        );
    }

    /// A caller that invents addresses, agents and labels for its secret does not hide the callers of another secret.
    #[test]
    fn a_flood_of_one_secret_leaves_room_for_new_sources_of_others() {
        let evidence = Evidence::new(1);
        for n in 0..100_000 {
            let (agent, instance) = (&*format!("agent {n}"), &*format!("{n}"));
            evidence.used(&secret(2), &Source { ip: ip(n), user_agent: agent, instance }, at(1));
            evidence.used(&secret(2), &Source { ip: ip(n % 16), user_agent: agent, instance }, at(1));
        }
        for n in 0..3000 {
            used(&evidence, &secret(1), ip(n), "honest", at(2));
        }
        let (sources, ..) = evidence.drain();
        let of = |n| sources.iter().filter(move |source| source.secret == secret(n));
        assert_eq!(of(1).filter(|it| !it.gathered && it.counter.count == 1).count(), 3000);
        assert_eq!(of(2).map(|it| it.counter.count).sum::<u64>(), 200_000);
        assert!(of(2).count() <= SHARDS * MOST_OF_SECRET as usize * 2 + 1);
        // The room is there again when it was drained.
        used(&evidence, &secret(2), ip(7), "one", at(3));
        assert!(!evidence.drain().0[0].gathered);
    }

    /// A leaked and ended secret has no more room than a valid one.
    #[test]
    fn a_flood_with_an_ended_secret_leaves_room_for_others() {
        let evidence = Evidence::new(1);
        for n in 0..100_000 {
            let source = Source { ip: ip(n), user_agent: "x", instance: "" };
            evidence.refused(&secret(2), &RefusedBy::Record, &source, at(1));
        }
        for n in 0..3000 {
            used(&evidence, &secret(1), ip(n), "honest", at(2));
        }
        let (sources, ..) = evidence.drain();
        let of = |n| sources.iter().filter(move |source| source.secret == secret(n));
        assert_eq!(of(1).filter(|it| !it.gathered).count(), 3000);
        assert_eq!(of(2).map(|it| it.counter.count).sum::<u64>(), 100_000);
        assert!(of(2).count() <= SHARDS * MOST_OF_SECRET as usize * 2 + 1);
    }

    /// The grouped rows are the last resort: one per secret, so that their number is bounded by the table.
    #[test]
    fn rule_17_no_use_is_lost_however_many_secrets_are_used_at_once() {
        let evidence = Evidence::new(1);
        let uses = SHARDS * MOST_SOURCES * 3;
        for n in 0..uses {
            used(&evidence, &secret(n), ip(1), "x", at(1));
            used(&evidence, &secret(n), ip(2), "x", at(1));
        }
        let (sources, _) = evidence.drain();
        assert!(sources.len() <= SHARDS * MOST_SOURCES * 2 + uses);
        assert_eq!(sources.iter().map(|source| source.counter.count).sum::<u64>(), 2 * uses as u64);
        let secrets: std::collections::HashSet<_> = sources.iter().map(|source| &source.secret).collect();
        assert_eq!(secrets.len(), uses, "each secret's first use is there");
    }

    /// Inventing a user agent per request does not hide a caller: the address stays.
    #[test]
    fn a_flood_of_agents_from_one_address_is_gathered_under_the_address() {
        let evidence = Evidence::new(1);
        for n in 0..50_000 {
            used(&evidence, &secret(1), ip(1), &format!("agent {n}"), at(1));
        }
        used(&evidence, &secret(1), ip(2), "honest", at(2));
        let (sources, _) = evidence.drain();
        assert_eq!(sources.len(), MOST_OF_SECRET as usize + 2);
        let gathered: Vec<_> = sources.iter().filter(|source| source.gathered).collect();
        assert_eq!((gathered.len(), gathered[0].ip, &*gathered[0].user_agent), (1, Some(ip(1)), ""));
        assert_eq!(gathered[0].counter.count, 50_000 - u64::from(MOST_OF_SECRET));
        assert!(sources.iter().any(|source| &*source.user_agent == "honest"));
    }

    #[test]
    fn instances_of_one_program_are_told_apart_by_their_labels() {
        let evidence = Evidence::new(1);
        for instance in ["pod-1", "pod-2", "pod-1", &"x".repeat(8192)] {
            evidence.used(&secret(1), &Source { ip: ip(1), user_agent: "a", instance }, at(1));
        }
        let (sources, _) = evidence.drain();
        let mut labels: Vec<_> = sources.iter().map(|it| (it.instance.len(), it.counter.count)).collect();
        labels.sort_unstable();
        assert_eq!(labels, [(5, 1), (5, 2), (INSTANCE_BYTES, 1)]);
    }

    #[test]
    fn the_longest_pause_is_the_longest_between_two_uses_whatever_the_order() {
        let counter = |first, last, pause| Counter {
            longest_pause: Duration::from_secs(pause),
            ..counted(first, last, 2)
        };
        for (one, other, pause) in [
            (counter(0, 10, 4), counter(40, 50, 3), 30),
            (counter(40, 50, 3), counter(0, 10, 4), 30),
            (counter(0, 100, 60), counter(101, 120, 3), 60),
            // The pause of overlapping spans is unknown; it is not longer than either's longest pause.
            (counter(0, 100, 60), counter(20, 30, 5), 60),
        ] {
            let mut merged = one;
            merged.merge(other);
            assert_eq!(merged.longest_pause, Duration::from_secs(pause));
        }
    }

    #[test]
    fn restored_counters_keep_their_first_and_last_time_and_what_was_lost() {
        let evidence = Evidence::new(1);
        used(&evidence, &secret(1), ip(1), "a", at(1));
        used(&evidence, &secret(1), ip(1), "a", at(3));
        evidence.failed(Some(&registration(1)), Some(&secret(1)), Failure::Revoked, ip(1), at(1));
        let (sources, failures) = evidence.drain();
        used(&evidence, &secret(1), ip(1), "a", at(2));
        used(&evidence, &secret(1), ip(1), "a", at(5));
        evidence.failed(Some(&registration(1)), Some(&secret(1)), Failure::Revoked, ip(1), at(4));
        evidence.restore(sources, failures);
        let (sources, failures) = evidence.drain();
        let longest_pause = Duration::from_secs(3);
        assert_eq!((sources.len(), sources[0].counter), (1, Counter { longest_pause, ..counted(1, 5, 4) }));
        assert_eq!((failures.len(), failures[0].counter), (1, Counter { longest_pause, ..counted(1, 4, 2) }));
    }

    #[test]
    fn what_is_restored_into_a_full_table_is_gathered_and_stays_bounded() {
        let evidence = Evidence::new(1);
        let flood = |from: u32| {
            for n in from..from + 60_000 {
                used(&evidence, &secret(1), ip(n), "x", at(1));
                evidence.failed(None, None, Failure::UnknownClient, ip(n), at(1));
            }
        };
        flood(0);
        let (sources, failures) = evidence.drain();
        flood(1_000_000);
        evidence.restore(sources, failures);
        let (sources, failures) = evidence.drain();
        assert!(sources.len() <= SHARDS * MOST_SOURCES * 2 + 1);
        assert!(failures.len() <= SHARDS * MOST_FAILURES + 1);
        assert_eq!(sources.iter().map(|source| source.counter.count).sum::<u64>(), 120_000);
        assert_eq!(failures.iter().map(|failure| failure.counter.count).sum::<u64>(), 120_000);
        assert_eq!(sources.iter().filter(|source| source.ip.is_none()).count(), 1);
        assert_eq!(failures.iter().filter(|failure| failure.ip.is_none()).count(), 1);
    }

    #[test]
    fn rule_17_the_sum_is_exact_under_threads_that_record_drain_and_restore() {
        const THREADS: u64 = 4;
        const EACH: u64 = 5_000;
        let evidence = Evidence::new(1);
        let mut taken = (0, 0);
        let mut add = |(sources, failures): (Vec<SourceCount>, Vec<FailureCount>)| {
            taken.0 += sources.iter().map(|source| source.counter.count).sum::<u64>();
            taken.1 += failures.iter().map(|failure| failure.counter.count).sum::<u64>();
        };
        std::thread::scope(|threads| {
            let recording: Vec<_> = (0..THREADS)
                .map(|thread| {
                    let evidence = &evidence;
                    threads.spawn(move || {
                        for n in 0..EACH {
                            let (from, when) = (ip(n as u32 % 64), at((thread * EACH + n) as i64));
                            used(evidence, &secret(n as usize % 3), from, "agent", when);
                            evidence.failed(None, None, Failure::UnknownClient, from, when);
                        }
                    })
                })
                .collect();
            while recording.iter().any(|thread| !thread.is_finished()) {
                let (sources, failures) = evidence.drain();
                evidence.restore(sources, failures);
                add(evidence.drain());
            }
        });
        add(evidence.drain());
        assert_eq!(taken, (THREADS * EACH, THREADS * EACH));
    }

    #[test]
    fn rule_17_recording_goes_on_after_a_panic_that_held_a_shard() {
        let evidence = Evidence::new(1);
        used(&evidence, &secret(1), ip(1), "a", at(1));
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
        used(&evidence, &secret(1), ip(1), "a", at(2));
        let longest_pause = Duration::from_secs(1);
        assert_eq!(evidence.drain().0[0].counter, Counter { longest_pause, ..counted(1, 2, 2) });
    }
}
