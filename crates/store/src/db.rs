//! The one module that knows which engine it talks to: connecting, migrating, transactions, values, rows.

mod examine;

pub use examine::{Durability, Integrity};

use crate::catalogue::{Statement, statements};
use crossfade_core::Timestamp;
use futures_util::{Stream, TryStreamExt};
use sqlx::{
    Column, ConnectOptions, Executor, Postgres, Row as _, Sqlite,
    migrate::{MigrateError, Migration, MigrationType, Migrator},
    pool::PoolOptions,
    postgres::{PgConnectOptions, PgConnection, PgPool, PgRow},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqliteRow, SqliteSynchronous},
};
use std::{
    borrow::Cow,
    fs::{File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
    time::Duration,
};

/// What can go wrong in the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database could not be opened.
    #[error("{0}")]
    Open(String),
    /// The database was written by a newer version of Crossfade.
    #[error(
        "the database is of a newer version of Crossfade (schema {0}); use that version or restore an older backup"
    )]
    NewerSchema(i64),
    /// Another server works on this database.
    #[error(
        "another crossfade serve is running on this database; stop it first, or give this one a database of its own"
    )]
    AlreadyServed,
    /// There is no database here, or nothing of Crossfade in it.
    #[error("{0}")]
    Missing(String),
    /// A uniqueness rule of the schema refused the statement.
    #[error("a row with this key exists already")]
    Duplicate,
    /// A row does not hold what its column promises.
    #[error("corrupt row in {table}, column {column}, row {row}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The column.
        column: String,
        /// The first column's value, which names the row.
        row: String,
    },
    /// A statement was given another number of arguments than it has.
    #[error("statement {0} got {1} arguments and needs {2}")]
    Arguments(&'static str, usize, usize),
    /// The transaction had failed before and cannot be used or committed any more.
    #[error("the transaction has failed before")]
    Poisoned,
    /// The commit was sent, and its outcome is not known.
    #[error("the outcome of the commit is unknown")]
    OutcomeUnknown(#[source] sqlx::Error),
    /// The database did not do what it was asked.
    #[error("the database failed")]
    Database(#[source] sqlx::Error),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            // By kind, not by constraint name: SQLite does not tell the name.
            sqlx::Error::Database(inner) if inner.is_unique_violation() => Self::Duplicate,
            _ => Self::Database(error),
        }
    }
}

/// Where the database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A SQLite file.
    File(PathBuf),
    /// A PostgreSQL server.
    Postgres(String),
}

impl Location {
    /// Reads a database URL, `postgres://…` or `sqlite:PATH`.
    pub fn parse(url: &str) -> Option<Self> {
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            Some(Self::Postgres(url.to_owned()))
        } else {
            let path = url.strip_prefix("sqlite:")?;
            Some(Self::File(path.strip_prefix("//").unwrap_or(path).into()))
        }
    }

    fn lock_path(&self, what: &str) -> Option<PathBuf> {
        match self {
            Self::File(path) => Some(path.with_extension(what)),
            Self::Postgres(_) => None,
        }
    }
}

enum Engine {
    /// SQLite has one writer. A pool of one makes tasks wait in order instead of in the busy handler.
    Sqlite {
        read: SqlitePool,
        write: SqlitePool,
    },
    Postgres(PgPool),
}

/// A database that has been opened and migrated.
pub struct Db {
    engine: Engine,
    location: Location,
}

/// Held for as long as this process may serve this database.
pub enum ServeLock {
    /// A locked file beside the database.
    File(File),
    /// A session that holds an advisory lock.
    Session(Box<PgConnection>),
}

/// The key of the advisory lock: the ASCII bytes of "crossfad".
const ADVISORY_KEY: i64 = 0x6372_6f73_7366_6164;
const READERS: u32 = 4;
const PG_CONNECTIONS: u32 = 10;

statements! {
    LOCK_HEAD = "UPDATE head SET change_seq = change_seq WHERE one = 1 RETURNING one, change_seq, audit_seq, highest_time";
    STORE_HEAD = "UPDATE head SET change_seq = $1, audit_seq = $2, highest_time = $3 WHERE one = 1";
    READ_HEAD = "SELECT one, change_seq, audit_seq, highest_time FROM head";
    ADVISORY_LOCK_PROBE = "SELECT CAST(1 AS BIGINT) AS one";
}

impl Db {
    /// Opens the database, creating and migrating it where needed.
    pub async fn open(location: &Location) -> Result<Self, StoreError> {
        // Created here, before SQLite does, so that it and the files that SQLite puts beside it are private.
        // Locks stand beside the file itself, so that two names of one database have one lock.
        let location = match location {
            Location::File(path) => {
                drop(private_file(path)?);
                Location::File(path.canonicalize().map_err(|error| cannot_open(path, &error))?)
            }
            Location::Postgres(_) => location.clone(),
        };
        let engine = match &location {
            Location::File(path) => open_sqlite(path).await?,
            Location::Postgres(url) => open_postgres(postgres_options(url)?).await?,
        };
        let db = Self { engine, location };
        db.migrate().await?;
        Ok(db)
    }

    async fn migrate(&self) -> Result<(), StoreError> {
        // The SQLite migrator takes no lock of its own; two commands may start at the same moment.
        let _lock = match self.location.lock_path("migrate-lock") {
            Some(path) => {
                let lock = move || {
                    let file = private_file(&path)?;
                    file.lock().map_err(|error| cannot_open(&path, &error))?;
                    Ok::<_, StoreError>(file)
                };
                let locked = tokio::task::spawn_blocking(lock).await;
                Some(locked.map_err(|_| StoreError::Open("the migration was interrupted".to_owned()))??)
            }
            None => None,
        };
        let result = match &self.engine {
            Engine::Sqlite { write, .. } => migrator("BLOB").run(write).await,
            Engine::Postgres(pool) => migrator("BYTEA").run(pool).await,
        };
        result.map_err(|error| match error {
            MigrateError::VersionMissing(version) | MigrateError::VersionTooNew(version, _) => {
                StoreError::NewerSchema(version)
            }
            other => StoreError::Open(format!("the database could not be migrated: {other}")),
        })
    }

    /// Claims this database for one serving process. Until nodes hold leases there can be only one.
    pub async fn lock_for_serving(&self) -> Result<ServeLock, StoreError> {
        match &self.location {
            Location::File(path) => {
                let path = path.with_extension("serve-lock");
                let file = private_file(&path)?;
                match file.try_lock() {
                    Ok(()) => Ok(ServeLock::File(file)),
                    Err(TryLockError::WouldBlock) => Err(StoreError::AlreadyServed),
                    Err(TryLockError::Error(error)) => Err(cannot_open(&path, &error)),
                }
            }
            Location::Postgres(url) => {
                let mut session = postgres_options(url)?.connect().await?;
                let locked: bool = sqlx::query("SELECT pg_try_advisory_lock($1)")
                    .bind(ADVISORY_KEY)
                    .fetch_one(&mut session)
                    .await?
                    .try_get(0)?;
                if locked {
                    Ok(ServeLock::Session(Box::new(session)))
                } else {
                    Err(StoreError::AlreadyServed)
                }
            }
        }
    }

    /// Runs `work` in one transaction that changes something, and commits it if `work` succeeds. Takes the
    /// head lock first, so changes happen one after the other on both engines. Returns the sequence number
    /// of the last change, which a node's tables must have applied before anybody is told.
    pub async fn write<T, E: From<StoreError>>(
        &self,
        work: impl AsyncFnOnce(&mut Tx) -> Result<T, E>,
    ) -> Result<(T, i64), E> {
        let mut tx = self.begin(Access::Write).await?;
        let head = tx.one(LOCK_HEAD, vec![]).await?;
        tx.head = Head {
            change_seq: head.int("change_seq")?,
            audit_seq: head.int("audit_seq")?,
            highest_time: Timestamp::from_micros(head.int("highest_time")?),
        };
        let done = work(&mut tx).await?;
        let seq = tx.commit().await?;
        Ok((done, seq))
    }

    /// Runs `work` on one consistent snapshot, without changing anything.
    pub async fn read<T, E: From<StoreError>>(
        &self,
        work: impl AsyncFnOnce(&mut Tx) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut tx = self.begin(Access::Read).await?;
        work(&mut tx).await
    }

    /// The same for work that reads whole tables: each statement may take as long as it takes.
    pub async fn read_all<T, E: From<StoreError>>(
        &self,
        work: impl AsyncFnOnce(&mut Tx) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut tx = self.begin(Access::Read).await?;
        if let Conn::Postgres(conn) = &mut tx.conn {
            // The limit counts the time that the reader takes, too.
            let unlimited = sqlx::query("SET LOCAL statement_timeout = 0").execute(&mut **conn).await;
            unlimited.map_err(StoreError::from)?;
        }
        work(&mut tx).await
    }

    async fn begin(&self, access: Access) -> Result<Tx, StoreError> {
        // In a task of its own, because a begin() that is dropped half-way leaves a PostgreSQL connection
        // inside a transaction, and the next borrower would work in it.
        let conn = match &self.engine {
            Engine::Sqlite { read, write } => {
                let (pool, begin) = match access {
                    Access::Read => (read.clone(), "BEGIN"),
                    Access::Write => (write.clone(), "BEGIN IMMEDIATE"),
                };
                Conn::Sqlite(detached(async move { pool.begin_with(begin).await }).await?)
            }
            Engine::Postgres(pool) => {
                let begin = match access {
                    Access::Read => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
                    Access::Write => "BEGIN ISOLATION LEVEL READ COMMITTED",
                };
                let pool = pool.clone();
                Conn::Postgres(detached(async move { pool.begin_with(begin).await }).await?)
            }
        };
        Ok(Tx { conn, poisoned: false, head: Head::default() })
    }

    /// Prepares every statement on this engine. What a test runs on both, and `doctor` on the one at hand.
    pub async fn check_statements(&self) -> Result<usize, StoreError> {
        let mut checked = 0;
        for statement in Statement::all() {
            let (sql, _) = statement.for_rows(2, matches!(self.engine, Engine::Postgres(_)));
            let prepared = match &self.engine {
                Engine::Sqlite { write, .. } => {
                    write.acquire().await?.prepare(sql.into_sql()).await.map(drop)
                }
                Engine::Postgres(pool) => pool.acquire().await?.prepare(sql.into_sql()).await.map(drop),
            };
            prepared.map_err(|error| StoreError::Open(format!("{}: {error}", statement.name)))?;
            checked += 1;
        }
        Ok(checked)
    }

    /// Closes every connection. SQLite folds its log into the database file.
    pub async fn close(&self) {
        match &self.engine {
            Engine::Sqlite { read, write } => {
                read.close().await;
                write.close().await;
            }
            Engine::Postgres(pool) => pool.close().await,
        }
    }
}

impl ServeLock {
    /// Gives the lock back before it returns: whoever serves next need not wait until the server has noticed that
    /// a session is gone.
    pub async fn release(self) {
        if let Self::Session(mut session) = self {
            let unlocked = sqlx::query("SELECT pg_advisory_unlock($1)").bind(ADVISORY_KEY);
            // What fails here is a session that is gone, and its lock with it.
            let _ = unlocked.execute(session.as_mut()).await;
            let _ = sqlx::Connection::close(*session).await;
        }
    }

    /// Whether the lock is still held. A PostgreSQL session that broke has lost it.
    pub async fn is_held(&mut self) -> bool {
        match self {
            Self::File(_) => true,
            Self::Session(session) => {
                sqlx::query(ADVISORY_LOCK_PROBE.sql).execute(session.as_mut()).await.is_ok()
            }
        }
    }
}

trait IntoSql {
    fn into_sql(self) -> sqlx::SqlStr;
}

impl IntoSql for &'static str {
    fn into_sql(self) -> sqlx::SqlStr {
        sqlx::SqlSafeStr::into_sql_str(self)
    }
}

impl IntoSql for Cow<'static, str> {
    /// Made from a statement's text and numbers alone: nothing that anybody sent is in it.
    fn into_sql(self) -> sqlx::SqlStr {
        sqlx::SqlSafeStr::into_sql_str(sqlx::AssertSqlSafe(self.into_owned()))
    }
}

async fn detached<T: Send + 'static>(
    begin: impl Future<Output = Result<T, sqlx::Error>> + Send + 'static,
) -> Result<T, StoreError> {
    #[expect(clippy::disallowed_methods, reason = "begin must finish even when its caller is dropped")]
    let task = tokio::spawn(begin);
    match task.await {
        Ok(result) => Ok(result?),
        Err(_) => Err(StoreError::Database(sqlx::Error::WorkerCrashed)),
    }
}

fn sqlite_options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        // NORMAL can lose the last commits in a power failure, and with them a revocation.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(10))
        .disable_statement_logging()
}

async fn open_sqlite(path: &Path) -> Result<Engine, StoreError> {
    let options = sqlite_options(path).journal_mode(SqliteJournalMode::Wal);
    let pool =
        |size| PoolOptions::<Sqlite>::new().max_connections(size).idle_timeout(None).max_lifetime(None);
    let write = pool(1).connect_with(options.clone()).await.map_err(|error| cannot_open(path, &error))?;
    let read = pool(READERS).connect_lazy_with(options.read_only(true));
    Ok(Engine::Sqlite { read, write })
}

async fn open_postgres(options: PgConnectOptions) -> Result<Engine, StoreError> {
    let pool = PoolOptions::<Postgres>::new()
        .max_connections(PG_CONNECTIONS)
        .acquire_timeout(Duration::from_secs(10))
        .connect_with(options)
        .await
        .map_err(|error| StoreError::Open(format!("cannot reach the PostgreSQL database: {error}")))?;
    Ok(Engine::Postgres(pool))
}

fn postgres_options(url: &str) -> Result<PgConnectOptions, StoreError> {
    let options: PgConnectOptions =
        url.parse().map_err(|error| StoreError::Open(format!("the database URL is not valid: {error}")))?;
    // A server that is set to acknowledge before it has written could lose a revocation.
    Ok(options
        .options([("synchronous_commit", "on"), ("lock_timeout", "10s"), ("statement_timeout", "60s")])
        .application_name("crossfade")
        .disable_statement_logging())
}

fn cannot_open(path: &Path, error: &dyn std::fmt::Display) -> StoreError {
    StoreError::Open(format!("cannot open {}: {error}", path.display()))
}

fn private_file(path: &Path) -> Result<File, StoreError> {
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

const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "initial", include_str!("../migrations/0001_initial.sql")),
    (2, "trail", include_str!("../migrations/0002_trail.sql")),
    (3, "sessions", include_str!("../migrations/0003_sessions.sql")),
    (4, "console", include_str!("../migrations/0004_console.sql")),
    (5, "evidence", include_str!("../migrations/0005_evidence.sql")),
    (6, "security", include_str!("../migrations/0006_security.sql")),
    (7, "drills", include_str!("../migrations/0007_drills.sql")),
    (8, "guard", include_str!("../migrations/0008_guard.sql")),
    (9, "enabled", include_str!("../migrations/0009_enabled.sql")),
];

/// Rows of arguments that a statement is run for at once: few texts, so that each stays prepared.
const ROWS_AT_ONCE: [usize; 4] = [64, 16, 4, 1];

/// The migrations, shared by both engines but for the name of the type for bytes.
fn migrator(blob: &str) -> Migrator {
    let migrations = MIGRATIONS.iter().map(|(version, description, sql)| {
        let sql = sqlx::SqlSafeStr::into_sql_str(sqlx::AssertSqlSafe(sql.replace("{BLOB}", blob)));
        Migration::new(*version, (*description).into(), MigrationType::Simple, sql, false)
    });
    Migrator::with_migrations(migrations.collect())
}

#[derive(Clone, Copy)]
enum Access {
    Read,
    Write,
}

enum Conn {
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    Postgres(sqlx::Transaction<'static, Postgres>),
}

/// The row that orders changes, as read under its lock and as it will be written at the commit.
#[derive(Clone, Copy)]
struct Head {
    change_seq: i64,
    audit_seq: i64,
    highest_time: Timestamp,
}

impl Default for Head {
    fn default() -> Self {
        Self { change_seq: 0, audit_seq: 0, highest_time: Timestamp::from_micros(0) }
    }
}

/// A transaction. The first statement that fails poisons it: PostgreSQL would roll everything back at the
/// commit and still answer that it went well.
pub struct Tx {
    conn: Conn,
    poisoned: bool,
    head: Head,
}

impl Tx {
    /// The highest time at which anything was written before this transaction.
    pub fn highest_time(&self) -> Timestamp {
        self.head.highest_time
    }

    /// Says that this transaction writes at `now`, so that no later one may go back behind it.
    pub fn stamp(&mut self, now: Timestamp) {
        self.head.highest_time = self.head.highest_time.max(now);
    }

    pub(crate) fn next_change(&mut self) -> i64 {
        self.head.change_seq += 1;
        self.head.change_seq
    }

    pub(crate) fn next_audit(&mut self) -> i64 {
        self.head.audit_seq += 1;
        self.head.audit_seq
    }

    /// Goes on counting where another database has stopped.
    pub(crate) fn continue_from(&mut self, change_seq: i64, audit_seq: i64, highest_time: Timestamp) {
        self.head = Head { change_seq, audit_seq, highest_time };
    }

    /// Reads the stored head: the last change and the highest time.
    pub async fn read_head(&mut self) -> Result<(i64, Timestamp), StoreError> {
        let row = self.one(READ_HEAD, vec![]).await?;
        Ok((row.int("change_seq")?, row.time("highest_time")?))
    }

    async fn commit(mut self) -> Result<i64, StoreError> {
        let Head { change_seq, audit_seq, highest_time } = self.head;
        self.execute(STORE_HEAD, vec![change_seq.into(), audit_seq.into(), highest_time.into()]).await?;
        let result = match self.conn {
            Conn::Sqlite(tx) => tx.commit().await,
            Conn::Postgres(tx) => tx.commit().await,
        };
        result.map_err(StoreError::OutcomeUnknown)?;
        Ok(change_seq)
    }

    /// Runs a statement and tells how many rows it changed.
    pub(crate) async fn execute(
        &mut self,
        statement: Statement,
        args: Vec<Value>,
    ) -> Result<u64, StoreError> {
        self.guard(&statement, &args)?;
        let sql = statement.sql;
        let result = match &mut self.conn {
            Conn::Sqlite(tx) => {
                bind_sqlite(sql, args).execute(&mut **tx).await.map(|done| done.rows_affected())
            }
            Conn::Postgres(tx) => {
                bind_postgres(sql, args).execute(&mut **tx).await.map(|done| done.rows_affected())
            }
        };
        self.settle(result)
    }

    /// Runs a statement and reads its rows.
    pub(crate) async fn rows(
        &mut self,
        statement: Statement,
        args: Vec<Value>,
    ) -> Result<Vec<Row>, StoreError> {
        self.guard(&statement, &args)?;
        self.fetch(statement.table(), statement.sql, args).await
    }

    /// Runs a statement for rows of arguments, many at once, and reads the rows that it returns.
    pub(crate) async fn many(
        &mut self,
        statement: Statement,
        mut args: &[Vec<Value>],
    ) -> Result<Vec<Row>, StoreError> {
        let mut returned = Vec::new();
        for size in ROWS_AT_ONCE {
            let (sql, width) = statement.for_rows(size, matches!(self.conn, Conn::Postgres(_)));
            while let Some((rows, rest)) = args.split_at_checked(size) {
                let values: Vec<Value> = rows.iter().flatten().cloned().collect();
                if self.poisoned {
                    return Err(StoreError::Poisoned);
                }
                if values.len() != size * width {
                    return Err(StoreError::Arguments(statement.name, values.len(), size * width));
                }
                returned.extend(self.fetch(statement.table(), sql.clone(), values).await?);
                args = rest;
            }
        }
        Ok(returned)
    }

    async fn fetch(
        &mut self,
        table: &'static str,
        sql: impl IntoSql,
        args: Vec<Value>,
    ) -> Result<Vec<Row>, StoreError> {
        let result =
            match &mut self.conn {
                Conn::Sqlite(tx) => bind_sqlite(sql, args).fetch_all(&mut **tx).await.map(|rows| {
                    rows.into_iter().map(|row| Row { table, row: AnyRow::Sqlite(row) }).collect()
                }),
                Conn::Postgres(tx) => bind_postgres(sql, args).fetch_all(&mut **tx).await.map(|rows| {
                    rows.into_iter().map(|row| Row { table, row: AnyRow::Postgres(row) }).collect()
                }),
            };
        self.settle(result)
    }

    /// Runs a statement and hands its rows over one by one, so that no table has to fit in memory. Tells how
    /// many there were.
    pub(crate) async fn each<E: From<StoreError>>(
        &mut self,
        statement: Statement,
        args: Vec<Value>,
        work: impl FnMut(&Row) -> Result<(), E>,
    ) -> Result<u64, E> {
        self.guard(&statement, &args)?;
        let table = statement.table();
        let done = match &mut self.conn {
            Conn::Sqlite(tx) => {
                let rows = bind_sqlite(statement.sql, args).fetch(&mut **tx);
                hand_over(rows.map_ok(|row| Row { table, row: AnyRow::Sqlite(row) }), work).await
            }
            Conn::Postgres(tx) => {
                let rows = bind_postgres(statement.sql, args).fetch(&mut **tx);
                hand_over(rows.map_ok(|row| Row { table, row: AnyRow::Postgres(row) }), work).await
            }
        };
        // Whoever has not taken every row has not seen what this transaction sees.
        self.poisoned |= done.is_err();
        done
    }

    /// The first row, if there is one.
    pub(crate) async fn optional(
        &mut self,
        statement: Statement,
        args: Vec<Value>,
    ) -> Result<Option<Row>, StoreError> {
        Ok(self.rows(statement, args).await?.into_iter().next())
    }

    /// The one row that there must be.
    pub(crate) async fn one(&mut self, statement: Statement, args: Vec<Value>) -> Result<Row, StoreError> {
        self.optional(statement, args).await?.ok_or_else(|| StoreError::Corrupt {
            table: statement.table(),
            column: "(no row)".into(),
            row: statement.name.into(),
        })
    }

    fn guard(&self, statement: &Statement, args: &[Value]) -> Result<(), StoreError> {
        if self.poisoned {
            return Err(StoreError::Poisoned);
        }
        // SQLite would bind a missing argument as NULL, silently.
        if statement.arguments() != args.len() {
            return Err(StoreError::Arguments(statement.name, args.len(), statement.arguments()));
        }
        Ok(())
    }

    fn settle<T>(&mut self, result: Result<T, sqlx::Error>) -> Result<T, StoreError> {
        self.poisoned |= result.is_err();
        Ok(result?)
    }
}

async fn hand_over<E: From<StoreError>>(
    mut rows: impl Stream<Item = Result<Row, sqlx::Error>> + Unpin,
    mut work: impl FnMut(&Row) -> Result<(), E>,
) -> Result<u64, E> {
    let mut count = 0;
    while let Some(row) = rows.try_next().await.map_err(StoreError::from)? {
        work(&row)?;
        count += 1;
    }
    Ok(count)
}

/// A value to bind. Numbers, booleans and times are all integers to the database.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// A number, a boolean, or a time.
    Int(Option<i64>),
    /// A text.
    Text(Option<String>),
    /// Bytes.
    Blob(Option<Vec<u8>>),
}

macro_rules! values {
    ($($type:ty => $variant:ident($value:ident) $convert:expr;)+) => { $(
        impl From<$type> for Value {
            fn from($value: $type) -> Self { Self::$variant(Some($convert)) }
        }
        impl From<Option<$type>> for Value {
            fn from(value: Option<$type>) -> Self { Self::$variant(value.map(|$value| $convert)) }
        }
    )+ };
}

values! {
    i64 => Int(value) value;
    bool => Int(value) i64::from(value);
    Timestamp => Int(value) value.as_micros();
    &str => Text(value) value.to_owned();
    String => Text(value) value;
    Vec<u8> => Blob(value) value;
    &[u8] => Blob(value) value.to_vec();
}

fn bind_sqlite(
    sql: impl IntoSql,
    args: Vec<Value>,
) -> sqlx::query::Query<'static, Sqlite, sqlx::sqlite::SqliteArguments> {
    args.into_iter().fold(sqlx::query(sql.into_sql()), |query, arg| match arg {
        Value::Int(value) => query.bind(value),
        Value::Text(value) => query.bind(value),
        Value::Blob(value) => query.bind(value),
    })
}

fn bind_postgres(
    sql: impl IntoSql,
    args: Vec<Value>,
) -> sqlx::query::Query<'static, Postgres, sqlx::postgres::PgArguments> {
    args.into_iter().fold(sqlx::query(sql.into_sql()), |query, arg| match arg {
        Value::Int(value) => query.bind(value),
        Value::Text(value) => query.bind(value),
        Value::Blob(value) => query.bind(value),
    })
}

enum AnyRow {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// A row. Columns are read by name; a NULL or a wrong type where a value is promised is a corrupt row.
pub(crate) struct Row {
    table: &'static str,
    row: AnyRow,
}

impl Row {
    pub(crate) fn opt_int(&self, column: &str) -> Result<Option<i64>, StoreError> {
        match &self.row {
            AnyRow::Sqlite(row) => row.try_get(column),
            AnyRow::Postgres(row) => row.try_get(column),
        }
        .map_err(|_| self.corrupt(column))
    }

    pub(crate) fn opt_text(&self, column: &str) -> Result<Option<String>, StoreError> {
        match &self.row {
            AnyRow::Sqlite(row) => row.try_get(column),
            AnyRow::Postgres(row) => row.try_get(column),
        }
        .map_err(|_| self.corrupt(column))
    }

    pub(crate) fn opt_blob(&self, column: &str) -> Result<Option<Vec<u8>>, StoreError> {
        match &self.row {
            AnyRow::Sqlite(row) => row.try_get(column),
            AnyRow::Postgres(row) => row.try_get(column),
        }
        .map_err(|_| self.corrupt(column))
    }

    pub(crate) fn int(&self, column: &str) -> Result<i64, StoreError> {
        self.opt_int(column)?.ok_or_else(|| self.corrupt(column))
    }

    pub(crate) fn flag(&self, column: &str) -> Result<bool, StoreError> {
        Ok(self.int(column)? != 0)
    }

    pub(crate) fn text(&self, column: &str) -> Result<String, StoreError> {
        self.opt_text(column)?.ok_or_else(|| self.corrupt(column))
    }

    pub(crate) fn blob(&self, column: &str) -> Result<Vec<u8>, StoreError> {
        self.opt_blob(column)?.ok_or_else(|| self.corrupt(column))
    }

    pub(crate) fn time(&self, column: &str) -> Result<Timestamp, StoreError> {
        self.int(column).map(Timestamp::from_micros)
    }

    pub(crate) fn opt_time(&self, column: &str) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.opt_int(column)?.map(Timestamp::from_micros))
    }

    /// A text column read into its type; what `parse` does not take is a corrupt row.
    pub(crate) fn parsed<T>(
        &self,
        column: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, StoreError> {
        parse(&self.text(column)?).ok_or_else(|| self.corrupt(column))
    }

    /// A number in its final type.
    pub(crate) fn parsed_int<T>(
        &self,
        column: &str,
        parse: impl FnOnce(i64) -> Option<T>,
    ) -> Result<T, StoreError> {
        parse(self.int(column)?).ok_or_else(|| self.corrupt(column))
    }

    /// The same for a column that may be NULL.
    pub(crate) fn opt_parsed<T>(
        &self,
        column: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, StoreError> {
        self.opt_text(column)?.map(|text| parse(&text).ok_or_else(|| self.corrupt(column))).transpose()
    }

    pub(crate) fn corrupt(&self, column: &str) -> StoreError {
        let first = match &self.row {
            AnyRow::Sqlite(row) => row.columns().first().map(|first| first.name()),
            AnyRow::Postgres(row) => row.columns().first().map(|first| first.name()),
        };
        let first = first.unwrap_or_default();
        let text = || match &self.row {
            AnyRow::Sqlite(row) => row.try_get(first),
            AnyRow::Postgres(row) => row.try_get(first),
        };
        let number = || match &self.row {
            AnyRow::Sqlite(row) => row.try_get::<i64, _>(first),
            AnyRow::Postgres(row) => row.try_get::<i64, _>(first),
        };
        let row = text().or_else(|_| number().map(|number| number.to_string()));
        StoreError::Corrupt { table: self.table, column: column.to_owned(), row: row.unwrap_or_default() }
    }
}
