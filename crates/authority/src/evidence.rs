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
    /// A secret of this client, from outside its allowed networks.
    Network,
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
    pub const ALL: [Self; 10] = [
        Self::Malformed,
        Self::UnknownClient,
        Self::Disabled,
        Self::Method,
        Self::Network,
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
            Self::Network => "network",
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
    /// Numbers of these failures: without a recognised secret, and with one.
    kinds: [usize; 2],
    /// Successful uses since the start; draining does not reset it.
    used: u64,
    failed: [u64; Failure::ALL.len()],
}

impl Shard {
    /// Failures with a recognised (ended) secret have their own limit, so that a flood of guesses cannot hide the
    /// callers still using one.
    fn is_full_of_failures(&self, of_a_secret: bool) -> bool {
        self.kinds[usize::from(of_a_secret)] >= MOST_FAILURES
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
            shard.kinds = [0; 2];
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
        shard.kinds[usize::from(secret.is_some())] += 1;
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
mod tests;
