//! A whole instance inside a test: real database, real use cases, real door, and time as an argument.

mod answer;
mod check;
mod client;
mod oauth;
mod principal;

pub use answer::Answer;
pub use client::{Client, Registration};
pub use oauth::Oauth;
pub use principal::Principal;

use crate::{database::Place, engines::Subject};
use axum::body::{Body, to_bytes};
pub use check::Check;
use check::{Chance, Left};
use crossfade_app::{
    AddressPolicy, App, Creation, DEFAULT_LEASE, NewToken, NodeOptions, Options, PasswordCost,
    doctor::Instance,
};
use crossfade_authority::Clock;
use crossfade_core::Timestamp;
use crossfade_store::Location;
use crossfade_web::{Arrival, Door, Routers, Transport, TrustedProxies};
use http::{Request, header};
use serde_json::json;
use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;

/// The base of issuers in a test.
pub const PUBLIC_URL: &str = "https://auth.example.com";
/// Whose token most tests use.
pub const OWNER: &str = "owner@example.com";
/// Where time starts.
const START: i64 = 1_795_525_500;

/// An instance, its clock, and its door.
pub struct World {
    pub clock: Arc<Clock>,
    pub app: Arc<App>,
    pub door: Door,
    proxies: TrustedProxies,
    location: Location,
    master_key_file: PathBuf,
    directory: Arc<TempDir>,
    place: Arc<Place>,
    chance: Arc<Chance>,
    check: Arc<Check>,
    is_unable: AtomicBool,
    /// Journal of the next starts.
    pub journal: Option<PathBuf>,
}

impl Subject for World {
    async fn open(place: Place) -> Self {
        Check::begin();
        Self::on(place).await
    }

    async fn end() {
        Check::end().await;
    }
}

/// For checks that make their worlds themselves.
impl Subject for Place {
    async fn open(place: Place) -> Self {
        Check::begin();
        place
    }

    async fn end() {
        Check::end().await;
    }
}

/// A world that is dropped by a check that passes leaves its jobs to the end of the check. One that fails says how to
/// repeat its chance.
impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.check.print_how_to_repeat();
        }
        self.check.leave(Left {
            app: self.app.clone(),
            place: self.place.clone(),
            _directory: self.directory.clone(),
            is_unable: self.is_unable.load(Ordering::Relaxed),
        });
    }
}

impl World {
    /// Another one, on a SQLite file of its own.
    pub async fn another() -> Self {
        Self::on(Place::migrated_file().await).await
    }

    async fn on(place: Place) -> Self {
        let clock = Clock::manual(Timestamp::from_seconds(START));
        Self::at(place, tempfile::tempdir().unwrap(), clock).await
    }

    /// On a database, with the master key in this directory if there is one.
    pub async fn at(place: Place, directory: TempDir, clock: Clock) -> Self {
        Self::with_journal(place, directory, clock, None).await
    }

    /// The same with a journal.
    pub async fn with_journal(
        place: Place,
        directory: TempDir,
        clock: Clock,
        journal: Option<PathBuf>,
    ) -> Self {
        let master_key_file = directory.path().join("master.key");
        let clock = Arc::new(clock);
        let location = place.location.clone();
        let check = Check::current();
        let chance = Arc::new(check.chance());
        let options = options(&location, &master_key_file, &clock, &chance);
        let app = App::open(Options { journal: journal.clone(), ..options }).await.unwrap();
        let door = door(&app, TrustedProxies::default());
        Self {
            clock,
            app,
            door,
            proxies: TrustedProxies::default(),
            location,
            master_key_file,
            directory: Arc::new(directory),
            place: Arc::new(place),
            chance,
            check,
            is_unable: AtomicBool::new(false),
            journal,
        }
    }

    /// Believes forwarded headers from these networks.
    pub fn trust(&mut self, networks: &[&str]) {
        self.proxies = TrustedProxies(networks.iter().map(|network| network.parse().unwrap()).collect());
        self.door = door(&self.app, self.proxies.clone());
    }

    /// Moves time on.
    pub fn advance(&self, span: Duration) {
        self.clock.advance(span);
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Stops the process without any farewell and starts it again: what was only in memory is gone.
    pub async fn restart(&mut self) {
        self.restart_at(self.clock.now()).await;
    }

    /// Restarts with the machine's clock set to `time`.
    pub async fn restart_at(&mut self, time: Timestamp) {
        self.open_again(time, None).await;
    }

    /// The same where the start may be refused; then nothing runs until the next restart.
    pub async fn try_restart(&mut self) -> Result<(), crossfade_app::Error> {
        self.app.close().await;
        let clock = Arc::new(Clock::manual(self.clock.now()));
        self.app = App::open(self.options(&clock)).await?;
        self.clock = clock;
        self.door = door(&self.app, self.proxies.clone());
        Ok(())
    }

    /// Restarts with destinations of the audit trail.
    pub async fn restart_with_sinks(&mut self, audit_sinks: Vec<crossfade_app::AuditSink>) {
        let clock = Arc::new(Clock::manual(self.clock.now()));
        let options = self.options(&clock);
        self.open_with(Options { audit_sinks, ..options }).await;
    }

    /// Restarts with mail, or without.
    pub async fn restart_with_mailer(&mut self, mailer: Option<Arc<crossfade_app::Mailer>>) {
        let clock = Arc::new(Clock::manual(self.clock.now()));
        let options = self.options(&clock);
        self.open_with(Options { mailer, ..options }).await;
    }

    /// Restarts with what sends to webhooks.
    pub async fn restart_with_poster(&mut self, poster: crossfade_app::Poster) {
        let clock = Arc::new(Clock::manual(self.clock.now()));
        let options = self.options(&clock);
        self.open_with(Options { poster: Arc::new(poster), ..options }).await;
    }

    /// Restarts with mail and with what sends to webhooks.
    pub async fn restart_with_both(
        &mut self,
        mailer: Arc<crossfade_app::Mailer>,
        poster: crossfade_app::Poster,
    ) {
        let clock = Arc::new(Clock::manual(self.clock.now()));
        let options = self.options(&clock);
        self.open_with(Options { mailer: Some(mailer), poster: Arc::new(poster), ..options }).await;
    }

    /// Restarts with mail under another public URL.
    pub async fn restart_with_mailer_under(
        &mut self,
        mailer: Option<Arc<crossfade_app::Mailer>>,
        public_url: &str,
    ) {
        let clock = Arc::new(Clock::manual(self.clock.now()));
        let options = self.options(&clock);
        let (public_url, admin_url) = (public_url.to_owned(), public_url.to_owned());
        self.open_with(Options { mailer, public_url, admin_url, ..options }).await;
    }

    /// Restarts with an audit retention in days.
    pub async fn restart_with_retention(&mut self, days: u32) {
        self.open_again(self.clock.now(), Some(days)).await;
    }

    /// The same where readings of evidence are kept for a while.
    pub async fn restart_with_readings_kept(&mut self, readings_kept: Duration) {
        let clock = Arc::new(Clock::manual(self.clock.now()));
        let options = self.options(&clock);
        self.open_with(Options { readings_kept, ..options }).await;
    }

    /// Restarts where new passwords cost what they cost in production.
    pub async fn restart_with_password_cost(&mut self, password_cost: PasswordCost) {
        let clock = Arc::new(Clock::manual(self.clock.now()));
        let options = self.options(&clock);
        self.open_with(Options { password_cost, ..options }).await;
    }

    /// Restarts with leases of another length.
    pub async fn restart_with_lease(&mut self, lease: Duration) {
        let clock = Arc::new(Clock::manual(self.clock.now()));
        let options = self.options(&clock);
        self.open_with(Options { node: NodeOptions { lease, ..options.node.clone() }, ..options }).await;
    }

    /// Restarts with another form of stored addresses.
    pub async fn restart_with_addresses(&mut self, evidence_addresses: AddressPolicy) {
        let clock = Arc::new(Clock::manual(self.clock.now()));
        let options = self.options(&clock);
        self.open_with(Options { evidence_addresses, ..options }).await;
    }

    /// Restarts with what sends to webhooks and issuers, and another form of stored addresses.
    pub async fn restart_with_poster_and_addresses(
        &mut self,
        poster: crossfade_app::Poster,
        evidence_addresses: AddressPolicy,
    ) {
        let clock = Arc::new(Clock::manual(self.clock.now()));
        let options = self.options(&clock);
        self.open_with(Options { poster: Arc::new(poster), evidence_addresses, ..options }).await;
    }

    /// Restarts with mail and another form of stored addresses.
    pub async fn restart_with_mailer_and_addresses(
        &mut self,
        mailer: Arc<crossfade_app::Mailer>,
        evidence_addresses: AddressPolicy,
    ) {
        let clock = Arc::new(Clock::manual(self.clock.now()));
        let options = self.options(&clock);
        self.open_with(Options { mailer: Some(mailer), evidence_addresses, ..options }).await;
    }

    /// Restarts with another public URL.
    pub async fn restart_under(&mut self, public_url: &str) {
        let clock = Arc::new(Clock::manual(self.clock.now()));
        let options = self.options(&clock);
        let (public_url, admin_url) = (public_url.to_owned(), public_url.to_owned());
        self.open_with(Options { public_url, admin_url, ..options }).await;
    }

    /// Opens the database as a local command does beside the server.
    pub async fn open_beside(&self) -> Result<Arc<App>, crossfade_app::Error> {
        let options = self.options(&self.clock);
        App::open(Options { decides: false, creation: Creation::Never, ..options }).await
    }

    /// Opens the database as a local command does that knows no journal.
    pub async fn open_beside_without_journal(&self) -> Result<Arc<App>, crossfade_app::Error> {
        let options = self.options(&self.clock);
        App::open(Options { decides: false, creation: Creation::Never, journal: None, ..options }).await
    }

    fn options(&self, clock: &Arc<Clock>) -> Options {
        let options = options(&self.location, &self.master_key_file, clock, &self.chance);
        Options { journal: self.journal.clone(), ..options }
    }

    async fn open_again(&mut self, time: Timestamp, audit_retention_days: Option<u32>) {
        let clock = Arc::new(Clock::manual(time));
        let options = self.options(&clock);
        self.open_with(Options { audit_retention_days, ..options }).await;
    }

    async fn open_with(&mut self, options: Options) {
        self.app.close().await;
        let clock = options.clock.clone();
        self.app = App::open(options).await.unwrap();
        self.clock = clock;
        self.door = door(&self.app, self.proxies.clone());
    }

    /// Has the next start open this SQLite file.
    pub fn move_to(&mut self, path: PathBuf) {
        self.location = Location::File(path);
    }

    /// Does everything that is due in the background.
    pub async fn run_jobs(&self) {
        Box::pin(self.app.run_jobs()).await.unwrap();
    }

    /// Runs the background jobs and returns their error.
    pub async fn try_jobs(&self) -> Result<(), crossfade_app::Error> {
        Box::pin(self.app.run_jobs()).await
    }

    /// Declares that this check leaves an instance that can run no job: it is stopped, or its database is not its own.
    pub fn ends_unable_to_run_jobs(&self) {
        self.is_unable.store(true, Ordering::Relaxed);
    }

    /// The Owner, created at the first call.
    pub async fn owner(&self) -> Principal<'_> {
        if !self.app.has_owner().await.unwrap() {
            self.app.create_owner(OWNER, "correct horse battery staple").await.unwrap();
        }
        self.token_of(OWNER, &[]).await
    }

    /// A user's token, limited to permissions unless there are none.
    pub async fn token_of(&self, user: &str, scope: &[&str]) -> Principal<'_> {
        let scope = scope.iter().map(|word| (*word).to_owned()).collect();
        let new = NewToken {
            user: user.to_owned(),
            name: "test".to_owned(),
            expires_days: None,
            scope,
            only: None,
        };
        let token = self.app.create_token(&new).await.unwrap();
        Principal { world: self, token: Some(token.reveal().to_owned()) }
    }

    /// Whoever has this API token.
    pub fn with_token(&self, value: &str) -> Principal<'_> {
        Principal { world: self, token: Some(value.to_owned()) }
    }

    /// Another person with a role on the whole platform, written past the API, which makes no people yet.
    pub async fn user(&self, email: &str, role: &str) -> Principal<'_> {
        let number = self.number("SELECT COUNT(*) FROM users").await;
        let (at, name) = (self.now().as_micros(), email.split('@').next().unwrap());
        self.raw(&format!(
            "INSERT INTO users (id, kind, email, name, created_at, version)
             VALUES ('usr_{number:022}', 'person', '{email}', '{name}', {at}, 1);
             INSERT INTO grants (id, user_id, role, created_at)
             VALUES ('grant_{number:022}', 'usr_{number:022}', '{role}', {at})"
        ))
        .await;
        self.token_of(email, &[]).await
    }

    /// Runs SQL past the store.
    pub async fn raw(&self, sql: &str) {
        self.place.raw(sql).await;
    }

    /// Runs SQL past the store and returns the database's error.
    pub async fn try_raw(&self, sql: &str) -> Result<(), sqlx::Error> {
        self.place.try_raw(sql).await
    }

    /// Holds the lock that every write needs, until what comes back is dropped.
    pub async fn hold_writes(&self) -> Box<dyn Send> {
        self.place.hold_writes().await
    }

    /// Lets every commit fail that follows.
    pub async fn fail_commits(&self) {
        self.place.fail_commits().await;
    }

    /// Ends what [`Self::fail_commits`] began.
    pub async fn mend_commits(&self) {
        self.place.mend_commits().await;
    }

    /// Reads one number past the store.
    pub async fn number(&self, sql: &str) -> i64 {
        self.place.number(sql).await
    }

    /// Where everything is stored.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// This instance, for the checks of `doctor`.
    pub fn instance<'a>(&self, clock: &'a Clock) -> Instance<'a> {
        Instance {
            location: self.location().clone(),
            data_dir: self.master_key_file().parent().unwrap().to_owned(),
            master_key: self.master_key_file().into(),
            journal: self.journal.clone(),
            public_url: self.app.public_url().to_owned(),
            audit_sinks: Vec::new(),
            mailer: None,
            clock,
        }
    }

    /// Path of the master key file.
    pub fn master_key_file(&self) -> &Path {
        &self.master_key_file
    }

    /// Nobody.
    pub fn anonymous(&self) -> Principal<'_> {
        Principal { world: self, token: None }
    }

    /// Sends a request over TLS as it is, from an address.
    pub async fn send(&self, request: Request<Body>, from: IpAddr) -> Answer {
        self.send_as(request, Arrival::new(SocketAddr::new(from, 40_000), true)).await
    }

    /// Sends a request without TLS as it is, from an address.
    pub async fn send_plain(&self, request: Request<Body>, from: IpAddr) -> Answer {
        self.send_as(request, Arrival::new(SocketAddr::new(from, 40_000), false)).await
    }

    /// Sends a request that reached the server in this way.
    pub async fn send_as(&self, request: Request<Body>, arrival: Arrival) -> Answer {
        let response = self.door.answer(request, arrival).await;
        let length = http_body::Body::size_hint(response.body()).exact();
        let (mut parts, body) = response.into_parts();
        // HTTP adds it where the answer does not have it.
        if let Some(length) = length {
            parts.headers.entry(header::CONTENT_LENGTH).or_insert(length.into());
        }
        let bytes = to_bytes(Body::new(body), usize::MAX).await.unwrap().to_vec();
        // Of each answer its own; what is left can be compared.
        let id = parts.headers.remove("x-request-id");
        let request_id = id.map(|id| id.to_str().unwrap().to_owned());
        Answer { status: parts.status, headers: parts.headers, bytes, request_id }
    }

    /// A property with a client in these environments.
    pub async fn client(&self, name: &str, environments: &[&str]) -> Client {
        let owner = self.owner().await;
        let property =
            owner.post("/properties", json!({"name": format!("Property of {name}")})).await.created();
        let body = json!({"name": name, "property_id": property["id"], "environments": environments});
        let client = owner.post("/clients", body).await.created();
        // Not by the API, which tells the new owner.
        let id = client["id"].as_str().unwrap();
        self.raw(&format!("UPDATE clients SET owners = '[\"ada@example.com\"]' WHERE id = '{id}'")).await;
        Client {
            id: client["id"].as_str().unwrap().to_owned(),
            name: name.to_owned(),
            registrations: client["registrations"]
                .as_array()
                .unwrap()
                .iter()
                .map(Registration::read)
                .collect(),
        }
    }

    /// The OAuth endpoints of an environment, asked from 192.0.2.1 by "test/1.0".
    pub fn oauth(&self, environment: &str) -> Oauth<'_> {
        Oauth {
            world: self,
            environment: environment.to_owned(),
            from: IpAddr::from([192, 0, 2, 1]),
            agent: "test/1.0".to_owned(),
        }
    }
}

fn door(app: &Arc<App>, proxies: TrustedProxies) -> Door {
    Routers::new(app.clone(), Transport { proxies, ..Transport::default() }).unwrap().everything()
}

fn options(location: &Location, master_key_file: &Path, clock: &Arc<Clock>, chance: &Arc<Chance>) -> Options {
    Options {
        poster: Arc::default(),
        relay: Default::default(),
        location: location.clone(),
        master_key: master_key_file.into(),
        public_url: PUBLIC_URL.to_owned(),
        admin_url: PUBLIC_URL.to_owned(),
        clock: clock.clone(),
        random: chance.clone(),
        audit_retention_days: None,
        audit_sinks: Vec::new(),
        mailer: None,
        journal: None,
        evidence_addresses: AddressPolicy::Full,
        fresh_sign_in: Duration::from_secs(600),
        // A password costs more than the rest of most tests.
        password_cost: PasswordCost { memory: 64, passes: 1 },
        readings_kept: Duration::ZERO,
        node: NodeOptions { name: "here".to_owned(), lease: DEFAULT_LEASE },
        decides: true,
        creation: Creation::WithNewKey,
    }
}
