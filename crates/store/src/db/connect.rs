//! Connecting to either engine, with what a revocation needs of it, and the schema.

use super::{Engine, StoreError};
use sqlx::{
    ConnectOptions, Postgres, Sqlite,
    migrate::{Migration, MigrationType, Migrator},
    pool::PoolOptions,
    postgres::PgConnectOptions,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use std::{
    fs::{File, OpenOptions},
    path::Path,
    time::Duration,
};

pub(super) const READERS: u32 = 4;
const PG_CONNECTIONS: u32 = 10;
/// How often a file is tried again that others open in the same moment: to give it a write-ahead log takes a lock for
/// which SQLite itself does not wait.
const OPEN_TRIES: u32 = 200;
const OPEN_PAUSE: Duration = Duration::from_millis(50);

pub(super) fn sqlite_options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        // NORMAL can lose the last commits in a power failure, and with them a revocation.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(10))
        .disable_statement_logging()
}

pub(super) async fn open_sqlite(path: &Path) -> Result<Engine, StoreError> {
    let options = sqlite_options(path).journal_mode(SqliteJournalMode::Wal);
    let pool =
        |size| PoolOptions::<Sqlite>::new().max_connections(size).idle_timeout(None).max_lifetime(None);
    let mut tries = 0;
    let write = loop {
        match pool(1).connect_with(options.clone()).await {
            Ok(write) => break write,
            Err(error) if is_busy(&error) && tries < OPEN_TRIES => tries += 1,
            Err(error) => return Err(cannot_open(path, &error)),
        }
        tokio::time::sleep(OPEN_PAUSE).await;
    };
    let read = pool(READERS).connect_lazy_with(options.read_only(true));
    Ok(Engine::Sqlite { read, write })
}

pub(super) async fn open_postgres(options: PgConnectOptions) -> Result<Engine, StoreError> {
    let pool = PoolOptions::<Postgres>::new()
        .max_connections(PG_CONNECTIONS)
        .acquire_timeout(Duration::from_secs(10))
        .connect_with(options)
        .await
        .map_err(|error| StoreError::Open(format!("cannot reach the PostgreSQL database: {error}")))?;
    Ok(Engine::Postgres(pool))
}

pub(super) fn postgres_options(url: &str) -> Result<PgConnectOptions, StoreError> {
    let options: PgConnectOptions =
        url.parse().map_err(|error| StoreError::Open(format!("the database URL is not valid: {error}")))?;
    // A server that is set to acknowledge before it has written could lose a revocation.
    Ok(options
        .options([("synchronous_commit", "on"), ("lock_timeout", "10s"), ("statement_timeout", "60s")])
        .application_name("crossfade")
        .disable_statement_logging())
}

/// Whether another connection has the lock: SQLITE_BUSY, which is the low byte of the extended code.
fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
    code.is_some_and(|code| code & 0xff == 5)
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
];

/// The migrations, shared by both engines but for the name of the type for bytes.
pub(super) fn migrator(blob: &str) -> Migrator {
    let migrations = MIGRATIONS.iter().map(|(version, description, sql)| {
        let sql = sqlx::SqlSafeStr::into_sql_str(sqlx::AssertSqlSafe(sql.replace("{BLOB}", blob)));
        Migration::new(*version, (*description).into(), MigrationType::Simple, sql, false)
    });
    Migrator::with_migrations(migrations.collect())
}
