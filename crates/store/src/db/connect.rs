//! Connecting to either engine, with the settings that make a revocation durable, and the schema.

use super::{
    Db, Engine, Location, StoreError,
    fault::{Fault, describe, is_busy},
    identity::{Identity, Opener},
    pool::{Link, Pools, Purpose, cause_of, timed_out},
    row::{IntoSql, Value, bind_postgres},
    servers::{CONNECT_WITHIN, Servers, Transit, Wanted},
};
use sqlx::{
    ConnectOptions, Connection, Row,
    migrate::{Migration, MigrationType, Migrator},
    postgres::PgConnection,
    sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous},
};
use std::{
    fs::{File, OpenOptions},
    path::Path,
    sync::Arc,
    time::Duration,
};

/// Number of attempts to open a file that another process is opening: switching it to a write-ahead log takes a lock
/// for which SQLite itself does not wait.
const OPEN_TRIES: u32 = 200;
const OPEN_PAUSE: Duration = Duration::from_millis(50);
/// Number of attempts to connect while PostgreSQL has no free connection, and the pause between two attempts.
const BUSY_TRIES: u32 = 20;
const BUSY_PAUSE: Duration = Duration::from_millis(250);
/// Time limit for a statement of PostgreSQL, beyond the server's own limit of 60 s.
pub(super) const ANSWERS_WITHIN: Duration = Duration::from_secs(70);

pub(super) fn sqlite_options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        // NORMAL can lose the last commits in a power failure, and with them a revocation.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(5))
        .disable_statement_logging()
}

pub(super) async fn open_sqlite(path: &Path, identity: &Arc<Identity>) -> Result<Engine, StoreError> {
    let options = sqlite_options(path).journal_mode(SqliteJournalMode::Wal);
    let mut tries = 0;
    loop {
        match options.connect().await {
            // The first one creates the file and its log; the readers cannot.
            Ok(first) => {
                let opener = |options| Opener { options, identity: identity.clone() };
                let pools = Pools::new(opener(options.clone()), opener(options.read_only(true)));
                pools.keep(first);
                return Ok(Engine::Sqlite(pools));
            }
            Err(error) if is_busy(&error) && tries < OPEN_TRIES => tries += 1,
            Err(error) => return Err(cannot_open(path, &describe(&error))),
        }
        tokio::time::sleep(OPEN_PAUSE).await;
    }
}

pub(super) async fn open_postgres(servers: Servers, identity: &Arc<Identity>) -> Result<Engine, StoreError> {
    let opener = |options| Opener { options, identity: identity.clone() };
    let changes = opener(servers.clone());
    let mut opened = PgLink::open(&changes).await;
    for _ in 0..BUSY_TRIES {
        if opened.as_ref().err().map(StoreError::fault) != Some(Fault::Busy) {
            break;
        }
        tokio::time::sleep(BUSY_PAUSE).await;
        opened = PgLink::open(&changes).await;
    }
    let first = opened.map_err(|error| {
        StoreError::Open(format!("cannot reach the PostgreSQL database at {servers}: {}", cause_of(&error)))
    })?;
    let pools: Pools<PgLink> = Pools::new(changes, opener(servers));
    pools.keep(first);
    Ok(Engine::Postgres(pools))
}

impl Location {
    /// Returns the locations of the database servers; `None` for a file.
    pub fn server(&self) -> Result<Option<String>, StoreError> {
        match self {
            Self::File(_) => Ok(None),
            Self::Postgres(url) => Ok(Some(Servers::of(url)?.to_string())),
        }
    }

    /// Returns how sessions are protected on their way to the database servers; `None` for a file.
    pub fn transit(&self) -> Result<Option<Transit>, StoreError> {
        match self {
            Self::File(_) => Ok(None),
            Self::Postgres(url) => Ok(Some(Servers::of(url)?.transit())),
        }
    }
}

impl Db {
    /// Tries once to open a session on the database server, and closes it. Always succeeds for a file.
    pub async fn reach(location: &Location) -> Result<(), StoreError> {
        let Location::Postgres(url) = location else { return Ok(()) };
        match Servers::of(url)?.connect(&Identity::default(), Wanted::Any).await {
            Ok((session, _)) => {
                let _ = Connection::close(session).await;
                Ok(())
            }
            // A standby may be promoted soon.
            Err(StoreError::Elsewhere(cause)) => {
                Err(StoreError::NoConnection { fault: Fault::Unreachable, cause })
            }
            Err(error) => Err(StoreError::NoConnection { fault: error.fault(), cause: cause_of(&error) }),
        }
    }
}

impl Link for SqliteConnection {
    type Opener = Opener<SqliteConnectOptions>;
    const FOR_CHANGES: usize = 1;
    const READS: usize = 6;
    /// None: a request to a disk cannot be cancelled.
    const ANSWERS: Option<(Duration, Duration)> = None;

    async fn open(opener: &Self::Opener) -> Result<Self, StoreError> {
        let mut session = opener.options.connect().await?;
        opener.identity.check_sqlite(&mut session).await?;
        Ok(session)
    }

    /// Always true: the lock beside a file notices that it was replaced.
    fn is_current(&self) -> bool {
        true
    }

    fn past_pooler(_: &Self::Opener) -> Option<Self::Opener> {
        None
    }

    fn begin(&self, purpose: Purpose) -> &'static str {
        match purpose {
            Purpose::Change => "BEGIN IMMEDIATE",
            Purpose::Read | Purpose::LookUp | Purpose::Feed | Purpose::Readiness => "BEGIN",
        }
    }

    async fn run(&mut self, sql: &'static str) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(sql).execute(self).await.map(drop)
    }

    async fn close(self) {
        let _ = Connection::close(self).await;
    }
}

/// A session of a PostgreSQL server.
pub(super) struct PgLink {
    pub(super) session: PgConnection,
    /// Whether the session has the settings it was opened with. A pooler in between may have dropped them.
    keeps_settings: bool,
    /// Whether each transaction may have another session of the server, so that no statement can be kept.
    pub(super) is_pooled: bool,
    /// Identity of the served server when the session was opened.
    identity: Arc<Identity>,
    generation: u64,
}

/// The settings that [`Servers`] opens a session with, as the server shows them.
const SETTINGS: [&str; 3] = ["on", "5s", "1min"];

impl Link for PgLink {
    type Opener = Opener<Servers>;
    /// One is a spare: if the server has no free connection, losing one must not stop all changes.
    const FOR_CHANGES: usize = 2;
    const READS: usize = 6;
    /// A COMMIT can wait for standbys, depending on the server's settings.
    const ANSWERS: Option<(Duration, Duration)> = Some((Duration::from_secs(2), Duration::from_secs(20)));

    async fn open(opener: &Self::Opener) -> Result<Self, StoreError> {
        let identity = opener.identity.clone();
        // Before the session is opened: it may lead to the server before.
        let generation = identity.generation();
        let opened = tokio::time::timeout(CONNECT_WITHIN, async {
            let (mut session, _) = opener.options.connect(&identity, Wanted::Served).await?;
            let sql = "SELECT current_setting('synchronous_commit'), current_setting('lock_timeout'), current_setting('statement_timeout')";
            // Without a statement that is prepared, which another session of a pooler might not have.
            let row = sqlx::raw_sql(sql).fetch_one(&mut session).await?;
            let found: [String; 3] = [row.try_get(0)?, row.try_get(1)?, row.try_get(2)?];
            let is_pooled = opener.options.past_pooler().is_some();
            // Lets the server end a statement whose caller has disconnected. Some platforms cannot; there the timeouts
            // end it.
            if !is_pooled {
                let _ =
                    sqlx::raw_sql("SET client_connection_check_interval = '2s'").execute(&mut session).await;
            }
            let keeps_settings = !is_pooled && found == SETTINGS;
            Ok::<_, StoreError>(Self {
                session,
                keeps_settings,
                is_pooled,
                identity: identity.clone(),
                generation,
            })
        });
        opened.await.unwrap_or_else(|_| Err(timed_out(CONNECT_WITHIN).into()))
    }

    fn is_current(&self) -> bool {
        self.generation == self.identity.generation()
    }

    fn past_pooler(opener: &Self::Opener) -> Option<Self::Opener> {
        let options = opener.options.past_pooler()?.clone();
        Some(Opener { options, identity: opener.identity.clone() })
    }

    fn begin(&self, purpose: Purpose) -> &'static str {
        match (purpose, self.keeps_settings) {
            // Whatever the server, the database and the role are set to, and whatever a pooler has dropped.
            (Purpose::Change, _) => concat!(
                "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL synchronous_commit = on; ",
                "SET LOCAL lock_timeout = '5s'; SET LOCAL statement_timeout = '60s'"
            ),
            (_, true) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            (_, false) => {
                "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = '60s'"
            }
        }
    }

    async fn run(&mut self, sql: &'static str) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(sql).execute(&mut self.session).await.map(drop)
    }

    async fn close(self) {
        let _ = Connection::close(self.session).await;
    }
}

/// A statement of PostgreSQL with its arguments.
type PgQuery = sqlx::query::Query<'static, sqlx::Postgres, sqlx::postgres::PgArguments>;

impl PgLink {
    /// Returns a statement with its arguments, and the session to run it on.
    pub(super) fn query(&mut self, sql: impl IntoSql, args: Vec<Value>) -> (PgQuery, &mut PgConnection) {
        (bind_postgres(sql, args).persistent(!self.is_pooled), &mut self.session)
    }

    /// Whether the session has the settings it was opened with.
    pub(super) fn keeps_settings(&self) -> bool {
        self.keeps_settings
    }
}

pub(super) fn cannot_open(path: &Path, error: &dyn std::fmt::Display) -> StoreError {
    StoreError::Open(format!("cannot open {}: {error}", path.display()))
}

pub(super) fn private_file(path: &Path) -> Result<File, StoreError> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|error| cannot_open(path, &error))
}

pub(super) const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "initial", include_str!("../../migrations/0001_initial.sql")),
    (2, "trail", include_str!("../../migrations/0002_trail.sql")),
    (3, "sessions", include_str!("../../migrations/0003_sessions.sql")),
    (4, "console", include_str!("../../migrations/0004_console.sql")),
    (5, "evidence", include_str!("../../migrations/0005_evidence.sql")),
    (6, "security", include_str!("../../migrations/0006_security.sql")),
    (7, "drills", include_str!("../../migrations/0007_drills.sql")),
    (8, "guard", include_str!("../../migrations/0008_guard.sql")),
    (9, "enabled", include_str!("../../migrations/0009_enabled.sql")),
    (10, "refused", include_str!("../../migrations/0010_refused.sql")),
    (11, "instance", include_str!("../../migrations/0011_instance.sql")),
    (12, "via", include_str!("../../migrations/0012_via.sql")),
    (13, "keyed", include_str!("../../migrations/0013_keyed.sql")),
    (14, "makers", include_str!("../../migrations/0014_makers.sql")),
    (15, "devices", include_str!("../../migrations/0015_devices.sql")),
    (17, "revocations", include_str!("../../migrations/0017_revocations.sql")),
    (18, "limits", include_str!("../../migrations/0018_limits.sql")),
    (20, "user_names", include_str!("../../migrations/0020_user_names.sql")),
    (21, "proxies", include_str!("../../migrations/0021_proxies.sql")),
    (23, "passed", include_str!("../../migrations/0023_passed.sql")),
    (24, "link_makers", include_str!("../../migrations/0024_link_makers.sql")),
    (25, "sigma", include_str!("../../migrations/0025_sigma.sql")),
    (26, "allowed_networks", include_str!("../../migrations/0026_allowed_networks.sql")),
    (28, "oldest_program", include_str!("../../migrations/0028_oldest_program.sql")),
    (29, "audit_chain", include_str!("../../migrations/0029_audit_chain.sql")),
    (31, "key_schedules", include_str!("../../migrations/0031_key_schedules.sql")),
    (32, "quarantine", include_str!("../../migrations/0032_quarantine.sql")),
    (33, "end_hash", include_str!("../../migrations/0033_end_hash.sql")),
    (34, "deliveries", include_str!("../../migrations/0034_deliveries.sql")),
    (35, "value_digests", include_str!("../../migrations/0035_value_digests.sql")),
    (36, "programs", include_str!("../../migrations/0036_programs.sql")),
    (37, "unsealed_ends", include_str!("../../migrations/0037_unsealed_ends.sql")),
    (38, "webhooks", include_str!("../../migrations/0038_webhooks.sql")),
    (39, "owners", include_str!("../../migrations/0039_owners.sql")),
    (40, "sending_place", include_str!("../../migrations/0040_sending_place.sql")),
    (41, "open_deliveries", include_str!("../../migrations/0041_open_deliveries.sql")),
    (42, "time_zones", include_str!("../../migrations/0042_time_zones.sql")),
    (43, "told_subjects", include_str!("../../migrations/0043_told_subjects.sql")),
    (44, "message_origin", include_str!("../../migrations/0044_message_origin.sql")),
    (45, "urgency", include_str!("../../migrations/0045_urgency.sql")),
    (46, "nodes", include_str!("../../migrations/0046_nodes.sql")),
    (47, "recorders", include_str!("../../migrations/0047_recorders.sql")),
    (48, "made_at", include_str!("../../migrations/0048_made_at.sql")),
    (49, "leader", include_str!("../../migrations/0049_leader.sql")),
    (50, "front_mode", include_str!("../../migrations/0050_front_mode.sql")),
    (51, "upstream_credentials", include_str!("../../migrations/0051_upstream_credentials.sql")),
    (52, "sign_in_failures", include_str!("../../migrations/0052_sign_in_failures.sql")),
    (53, "unregistered_clients", include_str!("../../migrations/0053_unregistered_clients.sql")),
    (54, "adoption", include_str!("../../migrations/0054_adoption.sql")),
    (56, "upstream_refusals", include_str!("../../migrations/0056_upstream_refusals.sql")),
    (57, "basic_encoding", include_str!("../../migrations/0057_basic_encoding.sql")),
    (58, "unregistered", include_str!("../../migrations/0058_unregistered.sql")),
    (59, "factors", include_str!("../../migrations/0059_factors.sql")),
    (60, "providers", include_str!("../../migrations/0060_providers.sql")),
    (61, "provider_sessions", include_str!("../../migrations/0061_provider_sessions.sql")),
    (64, "logins", include_str!("../../migrations/0064_logins.sql")),
    (65, "last_active", include_str!("../../migrations/0065_last_active.sql")),
    (66, "passkeys", include_str!("../../migrations/0066_passkeys.sql")),
    (68, "provisioning_tokens", include_str!("../../migrations/0068_provisioning_tokens.sql")),
    (69, "scim", include_str!("../../migrations/0069_scim.sql")),
    (70, "groups_from", include_str!("../../migrations/0070_groups_from.sql")),
    (71, "person_deleted_at", include_str!("../../migrations/0071_person_deleted_at.sql")),
];

/// What migration 50 does on each engine instead of `{CLIENT_IDS}`: only PostgreSQL can drop a constraint.
const CLIENT_IDS: [&str; 2] = [
    include_str!("../../migrations/0050_client_ids.sqlite.sql"),
    include_str!("../../migrations/0050_client_ids.postgres.sql"),
];

/// Returns the migrations. Both engines share them, except for the name of the type for bytes and one constraint.
pub(super) fn migrator(blob: &str) -> Migrator {
    let [sqlite, postgres] = CLIENT_IDS;
    let client_ids = if blob == "BLOB" { sqlite } else { postgres };
    let migrations = MIGRATIONS.iter().map(|(version, description, sql)| {
        let sql = sqlx::SqlSafeStr::into_sql_str(sqlx::AssertSqlSafe(
            sql.replace("{BLOB}", blob).replace("{CLIENT_IDS}", client_ids),
        ));
        Migration::new(*version, (*description).into(), MigrationType::Simple, sql, false)
    });
    Migrator::with_migrations(migrations.collect())
}
