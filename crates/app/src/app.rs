//! The application: shared state of all use cases, and its start.

use crate::{
    error::Error,
    frame::{
        cursor::Cursors,
        pace::Paces,
        reads::{Readings, Reads},
    },
    keys::{
        digests::Digests,
        opening::{Creation, fold_names, open_database, open_keys},
        seal::{Vault, VerifierKeyBytes},
    },
    node::{
        addresses::{AddressPolicy, Addresses},
        changes::Changes,
        clock_watch::{ClockWatch, calibrate},
        evidence::{Alive, Recorded, Unflushed},
        feed::Feed,
        guesses::Guesses,
        in_flight::InFlight,
        lanes::Lanes,
        measure::Counted,
        proxies::UnreadableProxies,
        refusals::Refusals,
        revocations::Revocations,
        serving::Hold,
        strangers::Strangers,
        throttle::Throttle,
        touched::Touched,
    },
    people::tokens::RATE_OF_NEW_TOKENS,
};
use crossfade_authority::{Authority, Clock, VerifierKeys};
use crossfade_core::{
    Code, Problem, Random, SecretId,
    api::{self, Page},
    audit::Actor,
    environment::{DEFAULT_MAX_AGE_DAYS, DEFAULT_WIPE_AFTER_DAYS, DEFAULTS, SigningAlg, Slug},
};
use crossfade_store::{Db, Environment, Fault, Location, Purpose, ServeLock, StoreError};
use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, AtomicU64},
    },
    time::Duration,
};
use tokio::sync::Semaphore;

/// Options for opening an application.
pub struct Options {
    /// Location of the database.
    pub location: Location,
    /// Path of the master key file.
    pub master_key_file: PathBuf,
    /// The base of issuers and links, without a path.
    pub public_url: String,
    /// The clock that decides.
    pub clock: Arc<Clock>,
    /// The source of ids and secrets.
    pub random: Arc<dyn Random>,
    /// Retention of the audit trail in days; `None`: forever.
    pub audit_retention_days: Option<u32>,
    /// How evidence stores addresses.
    pub evidence_addresses: AddressPolicy,
    /// How long a sign-in counts as fresh for dangerous actions.
    pub fresh_sign_in: Duration,
    /// How long evidence data is reused.
    pub readings_kept: Duration,
    /// Whether this process verifies secrets. A local command does not: it takes no lock and loads no tables.
    pub decides: bool,
    /// Whether an empty database becomes a new instance.
    pub creation: Creation,
}

/// The application.
pub struct App {
    /// Reference to the application itself, for work that outlives its caller.
    pub(crate) this: Weak<Self>,
    /// Number of flushes of evidence that have begun.
    pub(crate) flushes: AtomicU64,
    pub(crate) db: Db,
    pub(crate) authority: Arc<Authority>,
    pub(crate) vault: Vault,
    pub(crate) digests: Digests,
    pub(crate) clock: Arc<Clock>,
    pub(crate) clock_watch: ClockWatch,
    /// How long the clock had run when that was last recorded.
    pub(crate) ran_until: Mutex<Duration>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) public_url: String,
    /// Mark that distinguishes this instance from others on the same host, in the names of its cookies.
    mark: String,
    pub(crate) feed: Feed,
    pub(crate) flush: tokio::sync::Mutex<Recorded>,
    /// Number of rows of evidence that the database refused since the start.
    pub(crate) set_aside: AtomicU64,
    pub(crate) addresses: Addresses,
    pub(crate) cursors: Cursors,
    pub(crate) alive: Mutex<Alive>,
    /// Last use of secrets whose evidence is being flushed.
    pub(crate) unflushed: Mutex<HashMap<SecretId, Unflushed>>,
    pub(crate) touched: Touched,
    pub(crate) audit_retention_days: Option<u32>,
    pub(crate) refusals: Refusals,
    pub(crate) revocations: Revocations,
    pub(crate) counted: Counted,
    pub(crate) changes: Changes,
    /// Permits for non-urgent changes that wait for the lock.
    pub(crate) background: Semaphore,
    pub(crate) in_flight: InFlight,
    pub(crate) hashing: Lanes,
    pub(crate) fresh_sign_in: Duration,
    pub(crate) throttle: Throttle,
    pub(crate) unreadable_proxies: UnreadableProxies,
    /// Turns for costly reads.
    pub(crate) reads: Reads,
    /// API tokens that accounts create for themselves.
    pub(crate) new_tokens: Paces,
    /// Credentials that worked recently, and the queue for all others.
    pub(crate) strangers: Strangers,
    /// Whether the platform is known to have an Owner.
    pub(crate) has_owner: AtomicBool,
    /// Turns for connections of reads that no change waits for.
    pub(crate) readers: Semaphore,
    pub(crate) change_overs: Readings<api::ChangeOver>,
    pub(crate) usages: Readings<Page<api::Usage>>,
    pub(crate) usage_series: Readings<Page<api::UsagePoint>>,
    pub(crate) guesses: Guesses,
    /// Prevents other processes from deciding on this database; `None` if this process does not decide either.
    pub(crate) lock: tokio::sync::Mutex<Option<ServeLock>>,
    pub(crate) hold: Hold,
}

/// Time limit for checking the readiness.
const READY_WITHIN: Duration = Duration::from_secs(3);
/// Number of attempts at the start to take a lock that another process holds, and the pause between two attempts.
const LOCK_TRIES: u32 = 6;
const LOCK_PAUSE: Duration = Duration::from_millis(300);
/// Maximum number of non-urgent changes, such as recording a refusal, that wait for the lock at the same time.
const PARALLEL_BACKGROUND: usize = 2;
/// Maximum number of simultaneous reads that no change waits for. One less than the number of connections, so that the
/// reads at the start of a change do not queue behind others.
pub(crate) const PARALLEL_READERS: usize = 5;

/// Whether a node can verify secrets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Readiness {
    /// The node verifies secrets, and changes work.
    Ready,
    /// The node verifies secrets, but changes are not stored.
    ChangesFail(Fault),
    /// The node has lost its lock on the database for too long to decide.
    LockLost(String),
    /// The tables of the node are behind the database.
    Behind,
}

impl App {
    /// Opens the database and loads the authority's tables. The application is ready when this returns.
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
            in_flight: InFlight::default(),
            alive: Mutex::default(),
            hashing: Lanes::default(),
            fresh_sign_in: options.fresh_sign_in,
            throttle: Throttle::default(),
            unreadable_proxies: UnreadableProxies::default(),
            reads: Reads::default(),
            new_tokens: Paces::new(RATE_OF_NEW_TOKENS),
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
                    tracing::error!(%error, "cannot save that evidence is recorded");
                }
                begun => begun?,
            }
        }
        Ok(app)
    }

    /// Returns the authority, which verifies secrets and mints tokens.
    pub fn authority(&self) -> &Arc<Authority> {
        &self.authority
    }

    /// Returns the database, for the lock and for `doctor`.
    pub fn db(&self) -> &Db {
        &self.db
    }

    /// Releases the lock and closes the database.
    pub async fn close(&self) {
        if let Some(lock) = self.lock.lock().await.take() {
            lock.release().await;
        }
        self.db.close().await;
    }

    /// Returns the base of issuers and links.
    pub fn public_url(&self) -> &str {
        &self.public_url
    }

    /// Returns a short mark that distinguishes this instance from others on the same host, because a browser shares
    /// cookies between all ports of a host (RFC 6265 §8.5).
    pub fn mark(&self) -> &str {
        &self.mark
    }

    /// Returns the code that proves that this instance wrote a message, for a cookie.
    pub fn message_code(&self, text: &str) -> String {
        self.digests.message(text)
    }

    /// Whether `code` is the code of a message.
    pub fn is_message_code(&self, text: &str, code: &str) -> bool {
        self.digests.is_message(text, code)
    }

    /// Whether this node can verify secrets now: it holds the lock, or held it a moment ago, and its tables have
    /// applied every stored change.
    pub async fn readiness(&self) -> Readiness {
        match self.hold.why_lost() {
            why if !self.may_decide() => {
                return Readiness::LockLost(
                    why.unwrap_or_else(|| "the database does not respond".to_owned()),
                );
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
                // The tables still decide, and go on to until the lock counts as lost.
                Err(error) => Readiness::ChangesFail(error.fault.unwrap_or(Fault::Failed)),
            }
        };
        let looked = tokio::time::timeout(READY_WITHIN, looked).await;
        looked.unwrap_or(Readiness::ChangesFail(Fault::Busy))
    }

    /// Updates the tables to a database whose last change is `stored`. Returns whether they are up to date.
    async fn follows(&self, stored: i64) -> bool {
        stored == self.applied() || self.apply_changes().await.is_ok()
    }

    /// Opens and keeps every connection to the database that this server can use, so that it still has them when the
    /// database has no more free connections.
    pub async fn open_connections(&self) {
        let (opened, most) = self.db.open_connections().await;
        if opened < most {
            tracing::warn!(
                opened,
                most,
                "cannot open every database connection; fewer requests run at the same time"
            );
        }
    }

    /// Returns the issuer of an environment.
    pub(crate) fn issuer(&self, slug: &Slug) -> String {
        format!("{}/env/{slug}", self.public_url)
    }

    /// Creates the three environments of a new instance, each with a signing key.
    async fn create_default_environments(&self) -> Result<(), Error> {
        if !self.db.read::<_, Error>(async |tx| Ok(tx.environment_slugs().await?)).await?.is_empty() {
            return Ok(());
        }
        self.change_as(Actor::machine("init"), async |act| {
            // Another command may have been quicker.
            if !act.tx.environment_slugs().await?.is_empty() {
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
                    created_at: act.now,
                    version: 1,
                };
                self.add_environment(act, &environment).await?;
            }
            Ok(())
        })
        .await
        .map(drop)
    }
}

/// Takes the lock on the database. PostgreSQL may need a moment to notice that a killed process is gone.
async fn take_lock(db: &Db) -> Result<ServeLock, StoreError> {
    for _ in 0..LOCK_TRIES {
        match db.lock_for_serving().await {
            Err(StoreError::AlreadyServed) => tokio::time::sleep(LOCK_PAUSE).await,
            done => return done,
        }
    }
    db.lock_for_serving().await
}

/// Returns the root key for deriving keys that only need to be the same in each process.
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
