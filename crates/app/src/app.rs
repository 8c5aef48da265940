//! The application: what every use case works with, and how it starts.

use crate::{
    addresses::{AddressPolicy, Addresses},
    changes::Changes,
    clock_watch::{ClockWatch, calibrate},
    cursor::Cursors,
    devices::Guesses,
    digests::Digests,
    error::Error,
    evidence::{Alive, Recorded, Unflushed},
    feed::Feed,
    measure::Counted,
    opening::{Creation, fold_names, open_database, open_keys},
    password::Lanes,
    proxies::UnreadableProxies,
    reads::{Readings, Reads},
    refusals::Refusals,
    revoke_token::Revocations,
    seal::{Vault, VerifierKeyBytes},
    serving::Hold,
    strangers::Strangers,
    throttle::Throttle,
    worker::Touched,
};
use crossfade_authority::{Authority, Clock, VerifierKeys};
use crossfade_core::{
    Code, Problem, Random, SecretId,
    api::{self, Page},
    environment::{DEFAULT_MAX_AGE_DAYS, DEFAULT_WIPE_AFTER_DAYS, DEFAULTS, SigningAlg, Slug},
};
use crossfade_store::{Db, Environment, Fault, Location, Purpose, ServeLock, StoreError};
use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, AtomicU64},
    },
    time::Duration,
};
use tokio::sync::Semaphore;

/// What an application is opened with.
pub struct Options {
    /// Where the database is.
    pub location: Location,
    /// Where the master key is.
    pub master_key_file: PathBuf,
    /// The base of issuers and links, without a path.
    pub public_url: String,
    /// The clock that decides.
    pub clock: Arc<Clock>,
    /// The source of ids and secrets.
    pub random: Arc<dyn Random>,
    /// Days that events of the audit trail are kept; `None`: for ever.
    pub audit_retention_days: Option<u32>,
    /// What evidence keeps of addresses.
    pub evidence_addresses: AddressPolicy,
    /// How long a sign-in counts as fresh enough for what is dangerous.
    pub fresh_sign_in: Duration,
    /// How long a reading of evidence is given out again.
    pub readings_kept: Duration,
    /// Whether this process decides secrets. A local command does not: it takes no lock and loads no tables.
    pub decides: bool,
    /// Whether an empty database becomes a new instance.
    pub creation: Creation,
}

/// The application.
pub struct App {
    /// The application itself, for work that outlives its caller.
    pub(crate) this: Weak<Self>,
    /// Flushes of evidence that have begun.
    pub(crate) flushes: AtomicU64,
    pub(crate) db: Db,
    pub(crate) authority: Arc<Authority>,
    pub(crate) vault: Vault,
    pub(crate) digests: Digests,
    pub(crate) clock: Arc<Clock>,
    pub(crate) clock_watch: ClockWatch,
    /// How long the clock had run when it was last noted.
    pub(crate) ran_until: Mutex<Duration>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) public_url: String,
    /// Tells this instance from others on the same host, in the names of its cookies.
    mark: String,
    pub(crate) feed: Feed,
    pub(crate) flush: tokio::sync::Mutex<Recorded>,
    /// Rows of evidence that the database refused since the start.
    pub(crate) set_aside: AtomicU64,
    pub(crate) addresses: Addresses,
    pub(crate) cursors: Cursors,
    pub(crate) alive: Mutex<Alive>,
    /// The last use of secrets of which evidence is being flushed.
    pub(crate) unflushed: Mutex<HashMap<SecretId, Unflushed>>,
    pub(crate) touched: Touched,
    pub(crate) audit_retention_days: Option<u32>,
    pub(crate) refusals: Refusals,
    pub(crate) revocations: Revocations,
    pub(crate) counted: Counted,
    pub(crate) changes: Changes,
    /// How many of the changes that can wait stand in the queue for the lock at a time.
    pub(crate) background: Semaphore,
    /// Idempotency keys of requests that are running, each with its actor.
    pub(crate) in_flight: Mutex<HashSet<(String, String)>>,
    pub(crate) hashing: Lanes,
    pub(crate) fresh_sign_in: Duration,
    pub(crate) throttle: Throttle,
    pub(crate) unreadable_proxies: UnreadableProxies,
    /// Turns for costly reads.
    pub(crate) reads: Reads,
    /// Credentials that worked lately, and the queue of all others.
    pub(crate) strangers: Strangers,
    /// Whether the platform was seen to have an Owner.
    pub(crate) has_owner: AtomicBool,
    /// Turns for connections, of reads that no change waits for.
    pub(crate) readers: Semaphore,
    pub(crate) change_overs: Readings<api::ChangeOver>,
    pub(crate) usages: Readings<Page<api::Usage>>,
    pub(crate) usage_series: Readings<Page<api::UsagePoint>>,
    pub(crate) guesses: Guesses,
    /// Keeps other processes from deciding on this database. `None` where this one does not either.
    pub(crate) lock: tokio::sync::Mutex<Option<ServeLock>>,
    pub(crate) hold: Hold,
}

/// How long a look at the readiness may take.
const READY_WITHIN: Duration = Duration::from_secs(3);
/// How often a start tries to take a lock that another process holds, and the pause between two tries.
const LOCK_TRIES: u32 = 6;
const LOCK_PAUSE: Duration = Duration::from_millis(300);
/// Changes that can wait, such as noting a refusal, that may stand in the queue for the lock at the same time.
const PARALLEL_BACKGROUND: usize = 2;
/// Reads that hold a connection at a time, apart from those of changes. It is one less than there are, so the reads with
/// which a change begins do not queue behind others.
const PARALLEL_READERS: usize = 3;

/// Whether a node can decide secrets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Readiness {
    /// The node decides, and changes work.
    Ready,
    /// The node decides, and changes are not stored.
    ChangesFail(Fault),
    /// The node has lost its lock on the database for too long to decide.
    LockLost(String),
    /// The tables of the node are behind the database.
    Behind,
    /// The database does not say what it has stored.
    NoDatabase(Fault),
}

impl App {
    /// Opens the database and loads the authority's tables. Ready to decide when it returns.
    pub async fn open(options: Options) -> Result<Arc<Self>, Error> {
        let db = open_database(&options.location, &options.master_key_file, options.creation).await?;
        calibrate(&db, &options.clock).await.map_err(cannot_start)?;
        let lock = match options.decides {
            true => Some(take_lock(&db).await.map_err(cannot_start)?),
            false => None,
        };
        let (vault, verifier_keys) = open_keys(&db, &options).await?;
        fold_names(&db).await?;
        let root = root(&verifier_keys);
        let addresses = Addresses::new(options.evidence_addresses, &root);
        let cursors = Cursors::new(&root);
        let authority = Arc::new(Authority::new(options.clock.clone(), VerifierKeys::new(verifier_keys)));
        let digests = Digests::new(&root);
        let app = Arc::new_cyclic(|this| Self {
            this: this.clone(),
            flushes: AtomicU64::new(0),
            db,
            authority,
            vault,
            ran_until: Mutex::new(options.clock.elapsed()),
            mark: digests.mark(&options.public_url),
            digests,
            clock: options.clock,
            clock_watch: ClockWatch::default(),
            random: options.random,
            public_url: options.public_url,
            feed: Feed::new(options.decides),
            flush: tokio::sync::Mutex::default(),
            set_aside: AtomicU64::new(0),
            addresses,
            cursors,
            unflushed: Mutex::default(),
            touched: Touched::default(),
            audit_retention_days: options.audit_retention_days,
            refusals: Refusals::default(),
            revocations: Revocations::default(),
            counted: Counted::default(),
            changes: Changes::default(),
            background: Semaphore::new(PARALLEL_BACKGROUND),
            in_flight: Mutex::default(),
            alive: Mutex::default(),
            hashing: Lanes::default(),
            fresh_sign_in: options.fresh_sign_in,
            throttle: Throttle::default(),
            unreadable_proxies: UnreadableProxies::default(),
            reads: Reads::default(),
            strangers: Strangers::default(),
            has_owner: AtomicBool::new(false),
            readers: Semaphore::new(PARALLEL_READERS),
            change_overs: Readings::new(options.readings_kept),
            usages: Readings::new(options.readings_kept),
            usage_series: Readings::new(options.readings_kept),
            guesses: Guesses::default(),
            lock: tokio::sync::Mutex::new(lock),
            hold: Hold::new(),
        });
        app.calibrate().await?;
        app.create_default_environments().await?;
        if options.decides {
            app.load_authority().await?;
            match app.begin_recording().await {
                // This node decides all the same; the worker begins to record as soon as changes work.
                Err(error) if error.fault.is_some() => {
                    tracing::error!(%error, "cannot note that evidence is recorded");
                }
                begun => begun?,
            }
        }
        Ok(app)
    }

    /// What decides secrets and mints tokens.
    pub fn authority(&self) -> &Arc<Authority> {
        &self.authority
    }

    /// The database, for the lock and for `doctor`.
    pub fn db(&self) -> &Db {
        &self.db
    }

    /// Gives the lock back and closes the database.
    pub async fn close(&self) {
        if let Some(lock) = self.lock.lock().await.take() {
            lock.release().await;
        }
        self.db.close().await;
    }

    /// The base of issuers and links.
    pub fn public_url(&self) -> &str {
        &self.public_url
    }

    /// Returns a short mark that tells this instance from others on the same host: a browser keeps the cookies of all
    /// ports of a host together (RFC 6265 §8.5).
    pub fn mark(&self) -> &str {
        &self.mark
    }

    /// Whether this node can decide a secret right now: it holds the lock, or held it a moment ago, and its tables have
    /// applied every change that is stored.
    pub async fn readiness(&self) -> Readiness {
        match self.hold.why_lost() {
            why if !self.may_decide() => {
                return Readiness::LockLost(why.unwrap_or_else(|| "the database does not answer".to_owned()));
            }
            Some(_) => return Readiness::Ready,
            None => {}
        }
        let looked = async {
            let stored =
                self.db.read_for(Purpose::Readiness, async |tx| Ok::<_, Error>(tx.read_head().await?.0));
            let stored = stored.await;
            if stored.is_ok()
                && let Err(error) = self.calibrate().await
            {
                tracing::debug!(%error, "cannot read the database's clock");
            }
            match stored {
                Ok(stored) if self.follows(stored).await => match self.changes.failing() {
                    None => Readiness::Ready,
                    Some(fault) => Readiness::ChangesFail(fault),
                },
                Ok(_) => Readiness::Behind,
                Err(error) => Readiness::NoDatabase(error.fault.unwrap_or(Fault::Failed)),
            }
        };
        let looked = tokio::time::timeout(READY_WITHIN, looked).await;
        looked.unwrap_or(Readiness::NoDatabase(Fault::Busy))
    }

    /// Has the tables follow a database whose last change is `stored`. Tells whether they do.
    async fn follows(&self, stored: i64) -> bool {
        stored == self.applied() || self.apply_changes().await.is_ok()
    }

    /// Opens every connection to the database that this server may use, and keeps them: when the database has no more to
    /// give, this server still has its own.
    pub async fn open_connections(&self) {
        let (opened, most) = self.db.open_connections().await;
        if opened < most {
            tracing::warn!(
                opened,
                most,
                "cannot open every connection to the database; fewer requests run at once"
            );
        }
    }

    /// The issuer of an environment.
    pub(crate) fn issuer(&self, slug: &Slug) -> String {
        format!("{}/env/{slug}", self.public_url)
    }

    /// A new instance has three environments, each with a signing key.
    async fn create_default_environments(&self) -> Result<(), Error> {
        if !self.db.read::<_, Error>(async |tx| Ok(tx.environment_slugs().await?)).await?.is_empty() {
            return Ok(());
        }
        self.transact(async |tx, now| {
            // Another command may have been quicker.
            if !tx.environment_slugs().await?.is_empty() {
                return Ok(());
            }
            for (position, (slug, name, kind)) in DEFAULTS.into_iter().enumerate() {
                let environment = Environment {
                    slug: Slug::from_stored(slug.to_owned()),
                    name: name.to_owned(),
                    kind,
                    position: position as i64,
                    signing_alg: SigningAlg::ES256,
                    show_once: false,
                    wipe_after_days: DEFAULT_WIPE_AFTER_DAYS.into(),
                    max_age_days: Some(DEFAULT_MAX_AGE_DAYS.into()),
                    guard_extension_hours: None,
                    created_at: now,
                    version: 1,
                };
                self.add_environment(tx, &environment, now).await?;
            }
            Ok(())
        })
        .await
        .map(drop)
    }
}

/// Takes the lock on the database. PostgreSQL may take a moment to notice that a process that was killed is gone.
async fn take_lock(db: &Db) -> Result<ServeLock, StoreError> {
    for _ in 0..LOCK_TRIES {
        match db.lock_for_serving().await {
            Err(StoreError::AlreadyServed) => tokio::time::sleep(LOCK_PAUSE).await,
            done => return done,
        }
    }
    db.lock_for_serving().await
}

/// The key that everything else is derived from that only needs to be the same in each process.
pub(crate) fn root(verifier_keys: &VerifierKeyBytes) -> [u8; 32] {
    verifier_keys.first().map(|(_, bytes)| *bytes).unwrap_or_default()
}

pub(crate) fn cannot_start(error: crossfade_store::StoreError) -> Error {
    Problem::new(Code::Unavailable, sentence(&error.to_string())).into()
}

fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", characters.as_str())
}
