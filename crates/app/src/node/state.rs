//! The state of this process, and what it knows: the database, the clock and the authority.

use crate::{
    history::journal::Journal,
    keys::seal::Vault,
    node::{
        addresses::Addresses,
        alive::Alive,
        chain_end::KnownEnd,
        changes::Changes,
        clock_watch::ClockWatch,
        enforcement::{LookedAtNodes, Pending},
        evidence::{Recorded, Unflushed},
        feed::Feed,
        in_flight::InFlight,
        lanes::Lanes,
        leading::Leading,
        lease::Own,
        measure::Counted,
        password_checks::PasswordChecks,
        proxies::UnreadableProxies,
        refusals::Refusals,
        revocations::Revocations,
        serving::Hold,
        strangers::Strangers,
        throttle::Throttle,
        touched::Touched,
        wakes::{EvidenceOutage, Presented},
    },
    options::Options,
};
use crossfade_authority::{Authority, Clock, Lease};
use crossfade_core::{NodeId, ProvisioningTokenId, Random, SecretId, environment::Slug};
use crossfade_store::{Db, QuarantineRow, ServeLock, ServerRun};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64},
    },
    time::Duration,
};
use tokio::{
    sync::{Notify, Semaphore},
    time::Instant,
};

/// Maximum number of non-urgent changes, such as recording a refusal, that wait for the lock at the same time.
const PARALLEL_BACKGROUND: usize = 2;
/// Maximum number of simultaneous reads that no change waits for. One less than the number of connections, so that the
/// reads at the start of a change do not queue behind others.
pub(crate) const PARALLEL_READERS: usize = 5;

/// What a node is made of.
pub(crate) struct Parts {
    pub(crate) db: Arc<Db>,
    pub(crate) authority: Arc<Authority>,
    /// Opens the signing keys for the tables.
    pub(crate) vault: Arc<Vault>,
    /// What allows this process to decide; `None` if it does not.
    pub(crate) lock: Option<ServeLock>,
    /// Journal of the ends; `None` if none is configured, or if this process does not decide.
    pub(crate) journal: Option<Journal>,
    /// Journal of the server beside a process that does not decide.
    pub(crate) beside: Option<Journal>,
}

/// The state of this process. It knows no use case.
pub(crate) struct Node {
    pub(crate) db: Arc<Db>,
    pub(crate) clock: Arc<Clock>,
    pub(crate) authority: Arc<Authority>,
    pub(crate) vault: Arc<Vault>,
    /// The base of issuers, without a path.
    public_url: String,
    /// Whether messages to owners are mailed.
    pub(crate) mails: bool,
    pub(crate) feed: Feed,
    /// What allows this process to decide; `None` if it does not.
    pub(crate) lock: tokio::sync::Mutex<Option<ServeLock>>,
    pub(crate) hold: Hold,
    /// This process as a node, and until when it may decide.
    pub(crate) own: Own,
    pub(crate) lease: Lease,
    pub(crate) leading: Leading,
    /// Whether this process verifies secrets.
    pub(crate) decides: bool,
    /// Notified when another node has applied a change, has given up its lease, or lives.
    pub(crate) said: Notify,
    pub(crate) pending: Pending,
    /// The last look at other nodes, which those who wait for them share.
    pub(crate) look: tokio::sync::Mutex<Option<LookedAtNodes>>,
    /// Until when leases can last that the database does not know any more.
    pub(crate) unknown_leases_until: Mutex<Option<Instant>>,
    /// When other nodes were last asked for their evidence.
    pub(crate) heard: tokio::sync::Mutex<Option<Instant>>,
    /// PostgreSQL server on which this process last took the lock.
    pub(crate) server: Mutex<Option<ServerRun>>,
    pub(crate) journal: Option<Journal>,
    /// Journal of the server beside a process that does not decide, and whether such a process has ended something and
    /// knows none.
    pub(crate) beside: Option<Journal>,
    pub(crate) is_unnoted: AtomicBool,
    /// Creates the IDs of journals.
    pub(crate) random: Arc<dyn Random>,
    pub(crate) quarantine: Mutex<Option<QuarantineRow>>,
    /// Whether there is a quarantine, for the path of every request.
    pub(crate) is_held: AtomicBool,
    /// Whether it has compared the database with its journal, and serves.
    pub(crate) has_started: AtomicBool,
    /// Number of quarantines whose release this process has seen, and after how many of them the history was settled.
    pub(crate) releases: AtomicU64,
    pub(crate) settled: AtomicU64,
    pub(crate) changes: Changes,
    /// The end of the audit trail as this process wrote or verified it.
    pub(crate) chain_end: KnownEnd,
    /// Permits for non-urgent changes that wait for the lock.
    pub(crate) background: Semaphore,
    /// Turns for connections of reads that no change waits for.
    pub(crate) readers: Semaphore,
    pub(crate) clock_watch: ClockWatch,
    /// How long the clock had run when that was last recorded.
    pub(crate) ran_until: Mutex<Duration>,
    /// Number of flushes of evidence that have begun.
    pub(crate) flushes: AtomicU64,
    pub(crate) flush: tokio::sync::Mutex<Recorded>,
    /// Notified when another process asks for the evidence, and whether the next flush must say that it has stored it.
    pub(crate) asked_to_record: Notify,
    pub(crate) must_note_recorded: AtomicBool,
    /// Number of rows of evidence that the database refused since the start.
    pub(crate) set_aside: AtomicU64,
    /// Number of runs of the background jobs in which one failed, since the start.
    pub(crate) jobs_failed: AtomicU64,
    pub(crate) alive: Mutex<Alive>,
    /// Last use of secrets whose evidence is being flushed.
    pub(crate) unflushed: Mutex<HashMap<SecretId, Unflushed>>,
    pub(crate) addresses: Addresses,
    pub(crate) touched: Touched,
    pub(crate) touched_by_providers: Touched<ProvisioningTokenId>,
    pub(crate) refusals: Refusals,
    pub(crate) revocations: Revocations,
    pub(crate) in_flight: InFlight,
    pub(crate) hashing: Lanes,
    pub(crate) throttle: Throttle,
    pub(crate) password_checks: PasswordChecks,
    /// Credentials that worked recently, and the queue for all others.
    pub(crate) strangers: Strangers,
    pub(crate) unreadable_proxies: UnreadableProxies,
    pub(crate) counted: Counted,
    /// Attempts with ended secrets.
    pub(crate) presented: Mutex<Presented>,
    pub(crate) evidence_outage: Mutex<EvidenceOutage>,
}

impl Node {
    pub(crate) fn new(parts: Parts, addresses: Addresses, options: &Options) -> Self {
        let Parts { db, authority, vault, lock, journal, beside } = parts;
        let server = Mutex::new(lock.as_ref().and_then(ServeLock::server_run));
        Self {
            db,
            clock: options.clock.clone(),
            authority,
            vault,
            public_url: options.public_url.clone(),
            mails: options.mailer.is_some(),
            feed: Feed::new(options.decides),
            lock: tokio::sync::Mutex::new(lock),
            hold: Hold::new(),
            own: Own::new(
                NodeId::generate(options.random.as_ref()),
                options.node.clone(),
                options.clock.now(),
            ),
            lease: Lease::unlimited(),
            leading: Leading::new(),
            decides: options.decides,
            said: Notify::new(),
            pending: Pending::default(),
            look: tokio::sync::Mutex::default(),
            unknown_leases_until: Mutex::default(),
            heard: tokio::sync::Mutex::default(),
            server,
            journal,
            beside,
            is_unnoted: AtomicBool::new(false),
            random: options.random.clone(),
            quarantine: Mutex::default(),
            is_held: AtomicBool::new(false),
            has_started: AtomicBool::new(false),
            releases: AtomicU64::new(0),
            settled: AtomicU64::new(0),
            changes: Changes::default(),
            chain_end: KnownEnd::default(),
            background: Semaphore::new(PARALLEL_BACKGROUND),
            readers: Semaphore::new(PARALLEL_READERS),
            clock_watch: ClockWatch::default(),
            ran_until: Mutex::new(options.clock.elapsed()),
            flushes: AtomicU64::new(0),
            flush: tokio::sync::Mutex::default(),
            asked_to_record: Notify::new(),
            must_note_recorded: AtomicBool::new(false),
            set_aside: AtomicU64::new(0),
            jobs_failed: AtomicU64::new(0),
            alive: Mutex::default(),
            unflushed: Mutex::default(),
            addresses,
            touched: Touched::default(),
            touched_by_providers: Touched::default(),
            refusals: Refusals::default(),
            revocations: Revocations::default(),
            in_flight: InFlight::default(),
            hashing: Lanes::default(),
            throttle: Throttle::default(),
            password_checks: PasswordChecks::default(),
            strangers: Strangers::default(),
            unreadable_proxies: UnreadableProxies::default(),
            counted: Counted::default(),
            presented: Mutex::default(),
            evidence_outage: Mutex::default(),
        }
    }

    /// Returns the issuer of an environment.
    pub(crate) fn issuer(&self, slug: &Slug) -> String {
        format!("{}/env/{slug}", self.public_url)
    }
}
