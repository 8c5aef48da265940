//! The application: shared state of all use cases, and its start.

use crate::{
    environments::environment::new_environment,
    error::{Error, cannot_start},
    frame::{
        cursor::Cursors,
        pace::{Paces, Rate},
        principal::Principal,
        reads::{Readings, Reads},
    },
    history::journal::Journal,
    jobs::queue_digests::DigestQueue,
    keys::{
        audit_key::AuditKey,
        digests::Digests,
        opening::{fold_names, open_database, open_keys, remove_copied_seals},
        seal::{Vault, root},
        source::KeySource,
    },
    messages::{posting::Posting, sending::Sending},
    node::{
        addresses::Addresses,
        clock_watch::calibrate,
        measure::Gauges,
        serving::FileReplaced,
        state::{Node, Parts},
    },
    options::Options,
    people::{
        passkeys::{ANSWER_WITHIN, Ceremonies, PasskeyStates},
        password::PasswordCost,
    },
    providers::state::SignInStates,
    provisioning::list::Searches,
    secrets::security::Security,
    trail::{shipping::Shipping, statements::open_chain},
    upstream::{learning::Learnings, outcomes::Outcomes, unregistered::Unregistered},
};
use crossfade_authority::{Authority, Clock, VerifierKeys};
use crossfade_core::{
    Code, NodeId, Problem, ProviderId, Random, RegistrationId, SecretId,
    api::{self, Page},
    audit::{Actor, Origin},
    ended::Cause,
    environment::{DEFAULTS, Slug},
    second_factor::RelyingParty,
};
use crossfade_outbound::{Providers, Relay};
use crossfade_store::{Db, Fault, Purpose, ServeLock, StoreError};
use ipnet::IpNet;
use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError, RwLock, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{sync::watch, time::Instant};

/// The application.
pub struct App {
    /// Reference to the application itself, for work that outlives its caller.
    pub(crate) this: Weak<Self>,
    pub(crate) node: Node,
    pub(crate) db: Arc<Db>,
    pub(crate) authority: Arc<Authority>,
    pub(crate) vault: Arc<Vault>,
    /// The key that signs statements about the audit trail.
    pub(crate) audit_key: AuditKey,
    pub(crate) digests: Digests,
    /// Where the master keys come from, to open data keys that were created since the start.
    pub(crate) master_key: KeySource,
    /// Networks whose forwarded headers are accepted.
    pub(crate) trusted_proxies: RwLock<Vec<IpNet>>,
    pub(crate) clock: Arc<Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) public_url: String,
    pub(crate) admin_url: String,
    /// Mark that distinguishes this instance from others on the same host, in the names of its cookies.
    mark: String,
    pub(crate) cursors: Cursors,
    pub(crate) audit_retention_days: Option<u32>,
    /// Where the audit trail is shipped to.
    pub(crate) shipping: Shipping,
    /// Mail to owners.
    pub(crate) sending: Sending,
    /// Messages to webhooks.
    pub(crate) posting: Posting,
    /// What upstream issuers said about credentials, until it is stored.
    pub(crate) upstream_outcomes: Outcomes,
    /// Requests of clients that are not registered, until they are stored.
    pub(crate) unregistered: Unregistered,
    /// Forwards requests to the issuers that environments are in front of.
    pub(crate) relay: Relay,
    /// Asks OpenID Connect providers.
    pub(crate) providers: Providers,
    /// Seals what browsers keep while their people are at a provider.
    pub(crate) sign_in_states: SignInStates,
    /// Sign-ins with providers of each network.
    pub(crate) provider_sign_ins: Paces<String>,
    /// Asks for passkeys and checks their answers; `None` where no browser offers any.
    pub(crate) passkeys: Option<Ceremonies>,
    /// Seals what browsers bring back with answers of passkeys.
    pub(crate) passkey_states: PasskeyStates,
    /// Logout tokens of each network.
    pub(crate) provider_logouts: Paces<String>,
    /// Requests with which each provider provisions.
    pub(crate) provisioning_requests: Paces<ProviderId>,
    /// Lists of providers that are filtered without an index.
    pub(crate) provisioning_searches: Searches,
    /// Whether the process is about to stop, so that load balancers send requests elsewhere.
    is_leaving: AtomicBool,
    /// Whether the process ends, so that no further message is sent.
    pub(crate) ends_sending: watch::Sender<bool>,
    /// Tests and replays of webhooks that accounts ask for.
    pub(crate) webhook_tests: Paces,
    /// Test messages by mail that accounts ask for.
    pub(crate) mail_tests: Paces,
    /// Tests of the upstream credential of each registration.
    pub(crate) upstream_tests: Paces<RegistrationId>,
    /// Registrations that learn a secret at this moment.
    pub(crate) learnings: Learnings,
    /// Attempts of each registration to learn a secret.
    pub(crate) learnings_of_one: Paces<RegistrationId>,
    /// Webhooks that accounts enable and disable.
    pub(crate) webhook_switches: Paces,
    pub(crate) fresh_sign_in: Duration,
    pub(crate) password_cost: PasswordCost,
    /// Turns for costly reads.
    pub(crate) reads: Reads,
    /// API tokens that accounts create for themselves.
    pub(crate) new_tokens: Paces,
    /// Changes of accounts that are mailed to addresses of their choice.
    pub(crate) mailed_changes: Paces,
    /// Requests of clients to rotate their own secrets.
    pub(crate) self_rotations: Paces<RegistrationId>,
    /// Refusals of these requests, by their reasons, that the trail has.
    pub(crate) refused_self_rotations: Paces<(RegistrationId, &'static str)>,
    /// Texts that accounts have searched for secrets.
    pub(crate) searches: Paces,
    /// Digests that are due and still to be queued.
    pub(crate) digest_queue: DigestQueue,
    /// The last secret whose stored value has a digest; `None` before the first.
    pub(crate) values_digested: Mutex<Option<SecretId>>,
    /// Whether the platform is known to have an Owner.
    pub(crate) has_owner: AtomicBool,
    pub(crate) change_overs: Readings<api::ChangeOver>,
    pub(crate) usages: Readings<Page<api::Usage>>,
    pub(crate) securities: Readings<Security>,
    pub(crate) usage_series: Readings<Page<api::UsagePoint>>,
}

/// API tokens that an account creates for itself. Each is an event and a row that are kept, so nobody fills the database
/// with them.
const RATE_OF_NEW_TOKENS: Rate = Rate { burst: 100, interval: Duration::from_secs(30) };
/// Messages to addresses of an account's choice, which its changes cause: new accounts, links, owners and switches. Nobody
/// fills mailboxes with them.
const RATE_OF_MAILED_CHANGES: Rate = Rate { burst: 500, interval: Duration::from_millis(250) };
/// Requests of a client to rotate its own secret: one succeeds in a day, and the others read the database.
const RATE_OF_SELF_ROTATIONS: Rate = Rate { burst: 10, interval: Duration::from_secs(10) };
/// Refused self-rotations of a registration for one reason, in the trail.
const RATE_OF_REFUSED_SELF_ROTATIONS: Rate = Rate { burst: 1, interval: Duration::from_secs(3600) };

/// Sign-ins with providers from one network or known browser. Each can be a request to the provider, and nobody is authenticated yet.
const RATE_OF_PROVIDER_SIGN_INS: Rate = Rate { burst: 60, interval: Duration::from_secs(1) };
/// Logout tokens from one network. Each costs the check of a signature.
const RATE_OF_PROVIDER_LOGOUTS: Rate = Rate { burst: 120, interval: Duration::from_millis(500) };

/// Requests with which a provider provisions. Providers send some dozens a second when they begin.
const RATE_OF_PROVISIONING: Rate = Rate { burst: 1000, interval: Duration::from_millis(20) };

/// Texts that an account searches for secrets. Each is an event that is kept.
const RATE_OF_SEARCHES: Rate = Rate { burst: 200, interval: Duration::from_secs(1) };

/// Tests and replays of webhooks that an account asks for. Each is a request to a URL of its choice.
const RATE_OF_WEBHOOK_TESTS: Rate = Rate { burst: 100, interval: Duration::from_secs(2) };

/// Test messages by mail that an account asks for. Each signs in to the mail server, which locks its account after many refused
/// passwords.
const RATE_OF_MAIL_TESTS: Rate = Rate { burst: 3, interval: Duration::from_secs(20) };

/// Tests of the upstream credential of a registration. Issuers lock clients after many refused secrets.
const RATE_OF_UPSTREAM_TESTS: Rate = Rate { burst: 3, interval: Duration::from_secs(20) };

/// Webhooks that an account enables or disables. Each is an event that is kept, and a webhook whose receiver is gone is
/// disabled again with a mail to everyone who manages it.
const RATE_OF_WEBHOOK_SWITCHES: Rate = Rate { burst: 50, interval: Duration::from_secs(30) };

/// Time limit for checking the readiness.
const READY_WITHIN: Duration = Duration::from_secs(3);
/// Number of attempts at the start to take a lock that another process holds, and the pause between two attempts.
const LOCK_TRIES: u32 = 6;
const LOCK_PAUSE: Duration = Duration::from_millis(300);

/// Whether a node can verify secrets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Readiness {
    /// The node verifies secrets, and changes work.
    Ready,
    /// The node verifies secrets, but changes are not stored.
    ChangesFail(Fault),
    /// The process is about to stop, and verifies secrets until then.
    Stopping,
    /// The instance is in quarantine.
    Quarantined(Cause),
    /// The node has lost its lock on the database for too long to decide.
    LockLost(String),
    /// The tables of the node are behind the database.
    Behind,
}

impl App {
    /// Opens the database and loads the authority's tables. The application is ready when this returns.
    pub async fn open(options: Options) -> Result<Arc<Self>, Error> {
        let db = open_database(&options.location, &options.master_key, options.creation).await?;
        calibrate(&db, &options.clock).await.map_err(cannot_start)?;
        let lock = match options.decides {
            true => Some(take_lock(&db).await.map_err(cannot_start)?),
            false => None,
        };
        let (vault, verifier_keys) = open_keys(&db, &options).await?;
        fold_names(&db).await?;
        if options.decides {
            remove_copied_seals(&db).await;
        }
        let audit_key = open_chain(&db, &vault, &options.clock).await?;
        let root = root(&verifier_keys);
        let authority =
            Arc::new(Authority::new(options.clock.clone(), VerifierKeys::new(verifier_keys.keys)));
        let (db, vault, digests) = (Arc::new(db), Arc::new(vault), Digests::new(&root));
        let journal = match &options.journal {
            Some(path) => {
                let instance = db.read::<_, Error>(async |tx| Ok(tx.instance().await?)).await?;
                let instance = instance.ok_or_else(|| Error::internal("there is no instance"))?;
                Some(Journal::new(path, &root, &instance.id))
            }
            None => None,
        };
        let (journal, beside) = if options.decides { (journal, None) } else { (None, journal) };
        let parts = Parts {
            db: db.clone(),
            authority: authority.clone(),
            vault: vault.clone(),
            lock,
            journal,
            beside,
        };
        let node = Node::new(parts, Addresses::new(options.evidence_addresses, &root), &options);
        // Tells the leases of messages of this process from those of others.
        let sending = Sending::new(options.mailer, node.own.id.to_string());
        let app = Arc::new_cyclic(|this| Self {
            this: this.clone(),
            node,
            db,
            authority,
            vault,
            audit_key,
            mark: digests.mark(&options.admin_url),
            digests,
            master_key: options.master_key,
            trusted_proxies: RwLock::default(),
            clock: options.clock,
            random: options.random,
            passkeys: RelyingParty::of(&options.admin_url)
                .map(|party| Ceremonies::new(&party, ANSWER_WITHIN)),
            passkey_states: PasskeyStates::new(&root),
            public_url: options.public_url,
            admin_url: options.admin_url,
            cursors: Cursors::new(&root),
            audit_retention_days: options.audit_retention_days,
            shipping: Shipping::new(options.audit_sinks),
            sending,
            relay: Relay::new(&options.poster, options.relay),
            providers: Providers::new(&options.poster),
            sign_in_states: SignInStates::new(&root),
            provider_sign_ins: Paces::new(RATE_OF_PROVIDER_SIGN_INS),
            provider_logouts: Paces::new(RATE_OF_PROVIDER_LOGOUTS),
            provisioning_requests: Paces::new(RATE_OF_PROVISIONING),
            provisioning_searches: Searches::default(),
            posting: Posting::new(options.poster),
            upstream_outcomes: Outcomes::default(),
            unregistered: Unregistered::default(),
            is_leaving: AtomicBool::new(false),
            ends_sending: watch::Sender::new(false),
            webhook_tests: Paces::new(RATE_OF_WEBHOOK_TESTS),
            mail_tests: Paces::new(RATE_OF_MAIL_TESTS),
            upstream_tests: Paces::new(RATE_OF_UPSTREAM_TESTS),
            learnings: Learnings::default(),
            learnings_of_one: Paces::new(RATE_OF_UPSTREAM_TESTS),
            webhook_switches: Paces::new(RATE_OF_WEBHOOK_SWITCHES),
            fresh_sign_in: options.fresh_sign_in,
            password_cost: options.password_cost,
            reads: Reads::default(),
            new_tokens: Paces::new(RATE_OF_NEW_TOKENS),
            mailed_changes: Paces::new(RATE_OF_MAILED_CHANGES),
            self_rotations: Paces::new(RATE_OF_SELF_ROTATIONS),
            refused_self_rotations: Paces::new(RATE_OF_REFUSED_SELF_ROTATIONS),
            searches: Paces::new(RATE_OF_SEARCHES),
            digest_queue: DigestQueue::default(),
            values_digested: Mutex::default(),
            has_owner: AtomicBool::new(false),
            change_overs: Readings::new(options.readings_kept),
            usages: Readings::new(options.readings_kept),
            securities: Readings::new(options.readings_kept),
            usage_series: Readings::new(options.readings_kept),
        });
        if options.decides {
            app.db.is_node(&app.node.own.id);
        }
        app.node.calibrate().await?;
        if options.decides {
            app.node.settle_history().await?;
            // The journal may have brought data keys back.
            app.take_data_keys().await?;
        }
        app.create_default_environments().await?;
        if options.decides {
            app.node.load_authority().await?;
            match app.settle_sending_place().await {
                // Looked at again before anything is sent.
                Err(error) if error.fault.is_some() => {
                    tracing::error!(%error, "cannot save where messages are sent from");
                }
                settled => settled?,
            }
            match app.node.begin_recording().await {
                // This node decides all the same; the worker begins to record as soon as changes work.
                Err(error) if error.fault.is_some() => {
                    tracing::error!(%error, "cannot save that evidence is recorded");
                }
                begun => begun?,
            }
        }
        app.node.has_started.store(true, Ordering::SeqCst);
        Ok(app)
    }

    /// Refuses a change that is mailed to addresses of the principal's choice, if the account has caused many messages lately.
    pub(crate) fn unless_many_messages(&self, principal: &Principal, messages: usize) -> Result<(), Problem> {
        let messages = u32::try_from(messages.max(1)).unwrap_or(u32::MAX);
        let Err(wait) = self.mailed_changes.admit_all(principal.user(), messages, Instant::now()) else {
            return Ok(());
        };
        let seconds = wait.as_millis().div_ceil(1000).max(1);
        let wait = crate::wording::count(u64::try_from(seconds).unwrap_or(u64::MAX), "second");
        let text = format!(
            "Your account has caused many messages to others lately. Nothing was changed. Try again in {wait}."
        );
        Err(Problem::new(Code::TooManyRequests, text).retry_after(u64::try_from(seconds).unwrap_or(u64::MAX)))
    }

    /// Returns the authority, which verifies secrets and mints tokens.
    pub fn authority(&self) -> &Arc<Authority> {
        &self.authority
    }

    /// Returns the database, for the lock and for `doctor`.
    pub fn db(&self) -> &Db {
        &self.db
    }

    /// Releases the locks and closes the database and the journal.
    pub async fn close(&self) {
        if let Some(journal) = &self.node.journal {
            journal.close().await;
        }
        if let Some(mut lock) = self.node.lock.lock().await.take() {
            self.node.release_lease(&mut lock).await;
            lock.release().await;
        }
        self.db.close().await;
    }

    /// Returns the base of issuers and links.
    pub fn public_url(&self) -> &str {
        &self.public_url
    }

    /// Returns the base of the Console and of links to it.
    pub fn admin_url(&self) -> &str {
        &self.admin_url
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
        if self.is_leaving() {
            return Readiness::Stopping;
        }
        if let Some((cause, _)) = self.quarantine() {
            return Readiness::Quarantined(cause);
        }
        match self.node.hold.why_lost() {
            why if !self.node.may_decide() => {
                let why = why.or_else(|| self.node.own.failing());
                return Readiness::LockLost(why.unwrap_or_else(|| "no lease was granted yet".to_owned()));
            }
            Some(_) => return Readiness::Ready,
            None => {}
        }
        let looked = async {
            let stored =
                self.db.read_for(Purpose::Readiness, async |tx| Ok::<_, Error>(tx.read_head().await?.0));
            let stored = stored.await;
            if stored.is_ok()
                && let Err(error) = self.node.calibrate().await
            {
                tracing::debug!(%error, "cannot read the database's clock");
            }
            match stored {
                Ok(stored) if self.follows(stored).await => match self.node.changes.failing() {
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
        stored == self.node.applied() || self.node.apply_changes().await.is_ok()
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
        self.node.issuer(slug)
    }

    /// Writes the evidence collected so far. Returns when it is stored, including evidence taken by another flush.
    pub async fn flush_evidence(&self) -> Result<(), Error> {
        self.node.flush_evidence().await
    }

    /// Writes the remaining evidence, and records that it is complete up to now. For the orderly end of a process.
    pub async fn end_recording(&self) -> Result<(), Error> {
        self.node.end_recording().await
    }

    /// Returns the origin of a request from this address, with the stored form of the address.
    pub fn origin(&self, ip: IpAddr) -> Origin {
        Origin { ip: Some(ip), stored: Some(self.node.addresses.kept(ip)), request_id: None }
    }

    /// Whether this process is allowed to verify secrets: it has a lease, and the instance is not in quarantine.
    pub fn may_decide(&self) -> bool {
        self.node.may_decide()
    }

    /// Takes the first lease of this node, before it serves. If it gets none, it decides nothing until it does.
    pub async fn begin_serving(&self) {
        self.node.begin_serving().await;
    }

    /// Returns the id of this process as a node.
    pub fn own_node(&self) -> &NodeId {
        &self.node.own.id
    }

    /// Says in the readiness from now on that this process is about to stop. Requests are served as before.
    pub fn begin_leaving(&self) {
        self.is_leaving.store(true, Ordering::Relaxed);
    }

    /// Whether this process is about to stop.
    pub fn is_leaving(&self) -> bool {
        self.is_leaving.load(Ordering::Relaxed)
    }

    /// Keeps the lock on the database and the lease. Returns when this process must stop.
    pub async fn keep_serving(&self) -> FileReplaced {
        self.node.keep_serving().await
    }

    /// Notes ends that are stored and not in the journal yet.
    pub async fn tend_journal(&self) {
        self.node.tend_journal().await;
    }

    /// Whether this process has ended something and knows no journal, although the database is used with one.
    pub fn is_unnoted(&self) -> bool {
        self.node.is_unnoted()
    }

    /// Waits until everything that has ended is noted in the journal and in force on every node, before a reply says that
    /// something ended earlier.
    pub async fn confirm_ends(&self) -> Result<(), Error> {
        self.node.confirm_ends().await?;
        self.node.confirm_enforced().await
    }

    /// Returns warnings for the text of `readyz` while this node is ready.
    pub fn lock_notes(&self) -> Vec<String> {
        self.node.lock_notes()
    }

    /// Returns a sentence about the machine's clock if it is more than a minute behind the stored time.
    pub fn clock_warning(&self) -> Option<String> {
        self.node.clock_warning()
    }

    /// Measures the instance. If the database does not answer, returns the other values.
    pub async fn measure(&self) -> Gauges {
        let mail = self.sending.state();
        let webhooks = self.posting.state();
        let relayed = self.relay.counts();
        Gauges { sinks: self.shipping.states(), mail, webhooks, relayed, ..self.node.measure().await }
    }

    /// Records that the caller's address in a request from this declared proxy could not be read, so that the proxy
    /// counts as the caller.
    pub fn note_unreadable_proxy(&self, proxy: IpAddr) {
        self.node.note_unreadable_proxy(proxy);
    }

    /// Sets the networks whose forwarded headers are accepted, so that callers behind a proxy that forwards no address are
    /// told apart.
    pub fn set_trusted_proxies(&self, networks: Vec<IpNet>) {
        *self.trusted_proxies.write().unwrap_or_else(PoisonError::into_inner) = networks;
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
                let slug = Slug::from_stored(slug.to_owned());
                let environment = new_environment(slug, name, kind, position, act.now);
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
