//! The one module that knows which engine it talks to: connecting, migrating, transactions, values, rows.

mod connect;
mod examine;
mod fault;
mod migrate;
mod pool;
mod row;
mod trial;
mod tx;

pub use examine::{Durability, Integrity};
pub use fault::Fault;
pub use pool::Purpose;
pub(crate) use row::Row;
pub use row::Value;
pub use tx::Tx;

use crate::catalogue::{Statement, statements};
use connect::{PgLink, cannot_open, open_postgres, open_sqlite, postgres_options, private_file};
use crossfade_core::Timestamp;
use fault::describe;
use pool::Pools;
use row::IntoSql;
use sqlx::{ConnectOptions, Executor, Row as _, postgres::PgConnection, sqlite::SqliteConnection};
use std::{
    fs::{File, TryLockError},
    path::PathBuf,
};
use tx::{Conn, Head};

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
    /// An earlier statement of the transaction failed, so the transaction cannot be used or committed.
    #[error("an earlier statement of the transaction failed: {cause}")]
    Poisoned {
        /// The kind of the first failure.
        fault: Fault,
        /// The first failure.
        cause: String,
    },
    /// The commit was sent, and its outcome is not known.
    #[error("the outcome of the commit is unknown: {}", describe(.0))]
    OutcomeUnknown(#[source] sqlx::Error),
    /// No turn or no connection was free in time.
    #[error("the database is busy: {0}")]
    Busy(&'static str),
    /// No connection could be opened.
    #[error("cannot connect to the database: {cause}")]
    NoConnection {
        /// The kind of the failure.
        fault: Fault,
        /// The failure.
        cause: String,
    },
    /// The database did not do what it was asked.
    #[error("the database failed: {}", describe(.0))]
    Database(#[source] sqlx::Error),
}

impl StoreError {
    /// The kind of the failure.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Poisoned { fault, .. } | Self::NoConnection { fault, .. } => *fault,
            Self::Busy(_) => Fault::Busy,
            Self::OutcomeUnknown(error) | Self::Database(error) => Fault::of(error),
            Self::Open(_) | Self::Missing(_) => Fault::Unreachable,
            _ => Fault::Failed,
        }
    }
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
    Sqlite(Pools<SqliteConnection>),
    Postgres(Pools<PgLink>),
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
        let mut tx = self.begin(Purpose::Change).await?;
        let done = async {
            let head = tx.one(LOCK_HEAD, vec![]).await?;
            tx.head = Head {
                change_seq: head.int("change_seq")?,
                audit_seq: head.int("audit_seq")?,
                highest_time: Timestamp::from_micros(head.int("highest_time")?),
            };
            let done = work(&mut tx).await?;
            tx.store_head().await?;
            Ok::<_, E>(done)
        };
        match done.await {
            Ok(done) => Ok((done, tx.commit().await?)),
            Err(error) => {
                tx.roll_back().await;
                Err(error)
            }
        }
    }

    /// Runs `work` on one consistent snapshot, without changing anything.
    pub async fn read<T, E: From<StoreError>>(
        &self,
        work: impl AsyncFnOnce(&mut Tx) -> Result<T, E>,
    ) -> Result<T, E> {
        self.read_for(Purpose::Read, work).await
    }

    /// Runs `work` on one consistent snapshot, in the turns of `purpose`.
    pub async fn read_for<T, E: From<StoreError>>(
        &self,
        purpose: Purpose,
        work: impl AsyncFnOnce(&mut Tx) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut tx = self.begin(purpose).await?;
        work(&mut tx).await
    }

    /// Runs `work`, which reads whole tables, on one snapshot: each statement may take as long as it takes.
    pub async fn read_all<T, E: From<StoreError>>(
        &self,
        work: impl AsyncFnOnce(&mut Tx) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut tx = self.begin(Purpose::Read).await?;
        tx.lift_limits().await?;
        work(&mut tx).await
    }

    async fn begin(&self, purpose: Purpose) -> Result<Tx, StoreError> {
        Ok(Tx::new(match &self.engine {
            Engine::Sqlite(pools) => Conn::Sqlite(pools.begin(purpose).await?),
            Engine::Postgres(pools) => Conn::Postgres(pools.begin(purpose).await?),
        }))
    }

    /// Opens every connection that this process may use, so that later nobody else can have taken them all. Returns how
    /// many there are, and how many there should be.
    pub async fn open_connections(&self) -> (usize, usize) {
        match &self.engine {
            Engine::Sqlite(pools) => pools.open_all().await,
            Engine::Postgres(pools) => pools.open_all().await,
        }
    }

    /// Prepares every statement on this engine. What a test runs on both, and `doctor` on the one at hand.
    pub async fn check_statements(&self) -> Result<usize, StoreError> {
        let mut checked = 0;
        for statement in Statement::all() {
            let (sql, _) = statement.for_rows(2, matches!(self.engine, Engine::Postgres(_)));
            let sql = sql.into_sql();
            let prepared = match &self.engine {
                Engine::Sqlite(pools) => {
                    pools.lend(Purpose::Read).await?.link()?.prepare(sql).await.map(drop)
                }
                Engine::Postgres(pools) => {
                    pools.lend(Purpose::Read).await?.link()?.session.prepare(sql).await.map(drop)
                }
            };
            let failed = |error| StoreError::Open(format!("{}: {}", statement.name, describe(&error)));
            prepared.map_err(failed)?;
            checked += 1;
        }
        Ok(checked)
    }

    /// Closes every connection. SQLite folds its log into the database file.
    pub async fn close(&self) {
        match &self.engine {
            Engine::Sqlite(pools) => pools.close().await,
            Engine::Postgres(pools) => pools.close().await,
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
