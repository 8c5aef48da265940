//! The only module that knows the database engine: connecting, migrating, transactions, values, rows.

mod connect;
mod examine;
mod fault;
mod files;
mod identity;
mod lease;
mod lent;
mod migrate;
mod place;
mod pool;
mod refusal;
mod row;
mod servers;
mod serving;
mod trial;
mod tx;

pub use examine::{Durability, Integrity, Standbys};
pub use fault::Fault;
pub use identity::{ServerId, ServerRun};
pub use lease::{Granted, LeaseGrant, LeaseRequest, Wake, Wakes};
pub use pool::Purpose;
pub(crate) use row::Row;
pub use row::Value;
pub use servers::{PostgresUrl, Transit};
pub use serving::{Holder, ServeLock};
pub use tx::{TRACE_STATEMENTS, Told, Tx};

use crate::catalogue::{Statement, statements};
use connect::{PgLink, cannot_open, open_postgres, open_sqlite, private_file};
use crossfade_core::{NodeId, Timestamp, audit::chain::ChainHash, ended::EndHash};
use fault::describe;
use files::Files;
use identity::Identity;
use pool::Pools;
use row::IntoSql;
use servers::Servers;
use sqlx::{Executor, sqlite::SqliteConnection};
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicI64, Ordering},
    },
};
use tx::{Conn, Head};

/// Errors of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database could not be opened.
    #[error("{0}")]
    Open(String),
    /// The database was written by a newer version of Crossfade, and this version must not run on it.
    #[error(
        "the database was written by a newer version of Crossfade: it requires {requires} or later, but this is \
        Crossfade {version} (schema {schema}); use that version, or restore an older backup into an empty \
        database", version = env!("CARGO_PKG_VERSION"), schema = Db::program_schema()
    )]
    NewerSchema {
        /// The oldest program that can run on the database.
        requires: String,
    },
    /// Another server works on this database.
    #[error(
        "another crossfade serve is already using this database; stop it first, or use a different database"
    )]
    AlreadyServed,
    /// Another server has served this database since this one got the lock.
    #[error("another crossfade serve has used this database since then")]
    Superseded,
    /// The database lacks changes that this process has applied.
    #[error("the database lacks changes that this server has applied")]
    WentBack,
    /// A file that this process uses is no longer the one at its path.
    #[error("the file {0} was replaced or removed while it was in use")]
    Replaced(String),
    /// A connection led to a different database from the one that was opened.
    #[error("{0}")]
    Elsewhere(String),
    /// There is no database here, or it is not one of Crossfade.
    #[error("{0}")]
    Missing(String),
    /// A uniqueness rule of the schema refused the statement.
    #[error("a row with this key already exists")]
    Duplicate,
    /// A row contains a value that its column does not allow.
    #[error("corrupt row in {table}, column {column}, row {row}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The column.
        column: String,
        /// The first column's value, which identifies the row.
        row: String,
    },
    /// A text contains the character U+0000, which no engine stores.
    #[error("a text contains the character U+0000, which cannot be stored")]
    Unstorable,
    /// A statement got the wrong number of arguments.
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
    /// The commit was sent, and its outcome is unknown.
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
    /// The database failed to execute a statement.
    #[error("the database failed: {}", describe(.0))]
    Database(#[source] sqlx::Error),
}

impl StoreError {
    /// Returns the kind of the failure.
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

/// Location of the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A SQLite file.
    File(PathBuf),
    /// A PostgreSQL server.
    Postgres(PostgresUrl),
}

impl Location {
    /// Parses a database URL, `postgres://…` or `sqlite:PATH`.
    pub fn parse(url: &str) -> Option<Self> {
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            Some(Self::Postgres(url.into()))
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
    /// What every connection must lead to.
    identity: Arc<Identity>,
    /// Term in which this process serves; [`NO_TERM`] if it does not serve.
    term: AtomicI64,
    /// Sessions that tried to take the serving lock and did not confirm it, newest last.
    claims: Mutex<Vec<Holder>>,
    /// Files that must stay at their paths while this process serves.
    files: Arc<Files>,
    /// The node of this process; unset in a process that takes no lease.
    node: OnceLock<NodeId>,
}

/// Term of a process that does not serve. The term of its changes is not compared.
const NO_TERM: i64 = -1;

/// Writes the head of PostgreSQL and wakes the nodes when this is committed. Both engines share the statement without that.
const STORE_HEAD_AND_WAKE: &str = "UPDATE head SET change_seq = $1, audit_seq = $2, highest_time = $3, audit_hash = $4, end_seq = $5, end_hash = $6 WHERE one = 1
    RETURNING CAST(pg_notify('crossfade_changes', $7) AS TEXT)";

/// Reads the clock of PostgreSQL, and until when any node but $1 may decide. With the lock on the head, no other node can
/// get a longer lease before this transaction has ended.
const CLOCK_AND_LEASES: &str = "SELECT clock.micros, (SELECT MAX(lease_until) FROM nodes WHERE id <> $1 AND released_at IS NULL AND lease_until > clock.micros)
    FROM (SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT) AS micros) AS clock";

/// Reads the clock of PostgreSQL; not now(), which is the start of the transaction.
const CLOCK: &str = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)";

statements! {
    LOCK_HEAD = "UPDATE head SET change_seq = change_seq WHERE one = 1 RETURNING one, change_seq, audit_seq, highest_time, term, audit_hash, end_seq, end_hash, noting";
    STORE_HEAD = "UPDATE head SET change_seq = $1, audit_seq = $2, highest_time = $3, audit_hash = $4, end_seq = $5, end_hash = $6 WHERE one = 1";
    READ_HEAD = "SELECT one, change_seq, audit_seq, highest_time FROM head";
}

impl Db {
    /// Opens the database, and creates and migrates it if needed.
    pub async fn open(location: &Location) -> Result<Self, StoreError> {
        let db = Self::connect(location).await?;
        db.migrate().await?;
        Ok(db)
    }

    /// Opens the database without migrating it. Creates a missing SQLite file.
    pub async fn connect(location: &Location) -> Result<Self, StoreError> {
        // Created here, before SQLite does, so that the file and SQLite's other files are private. Lock files are next
        // to the file itself, so that two names of one database have one lock.
        let location = match location {
            Location::File(path) => {
                drop(private_file(path)?);
                Location::File(path.canonicalize().map_err(|error| cannot_open(path, &error))?)
            }
            Location::Postgres(_) => location.clone(),
        };
        let identity = Arc::default();
        let engine = match &location {
            Location::File(path) => open_sqlite(path, &identity).await?,
            Location::Postgres(url) => open_postgres(Servers::of(url)?, &identity).await?,
        };
        Ok(Self::new(engine, location, identity))
    }

    fn new(engine: Engine, location: Location, identity: Arc<Identity>) -> Self {
        let (term, claims) = (AtomicI64::new(NO_TERM), Mutex::default());
        Self { engine, location, identity, term, claims, files: Arc::default(), node: OnceLock::new() }
    }

    /// Returns the directory of the database file; `None` on PostgreSQL.
    pub fn directory(&self) -> Option<&Path> {
        match &self.location {
            Location::File(path) => path.parent(),
            Location::Postgres(_) => None,
        }
    }

    /// Refuses every new connection from now on that does not lead to this instance.
    pub fn expect_instance(&self, id: &str) {
        self.identity.expect(id);
    }

    /// Names the node of this process, which its changes do not wake or wait for.
    pub fn is_node(&self, id: &NodeId) {
        let _ = self.node.set(id.clone());
    }

    /// Returns where the last new connection led, if not to the expected instance and server.
    pub fn leads_elsewhere(&self) -> Option<String> {
        self.identity.elsewhere()
    }

    /// Runs `work` in one writing transaction, and commits it if `work` succeeds. Takes the head lock first, so changes
    /// happen one after the other on both engines. Returns the sequence number of the last change, which a node's
    /// tables must have applied before it responds.
    pub async fn write<T, E: From<StoreError>>(
        &self,
        work: impl AsyncFnOnce(&mut Tx) -> Result<T, E>,
    ) -> Result<(T, i64), E> {
        let mut tx = self.begin(Purpose::Change).await?;
        let done = async {
            let head = tx.one(LOCK_HEAD, vec![]).await?;
            let term = self.term.load(Ordering::SeqCst);
            if term != NO_TERM && term != head.int("term")? {
                return Err(StoreError::Superseded.into());
            }
            self.files.check()?;
            tx.head = Head {
                change_seq: head.int("change_seq")?,
                audit_seq: head.int("audit_seq")?,
                audit_hash: head.opt_blob("audit_hash")?.as_deref().and_then(ChainHash::from_bytes),
                highest_time: Timestamp::from_micros(head.int("highest_time")?),
                end_seq: head.int("end_seq")?,
                end_hash: head.opt_blob("end_hash")?.as_deref().and_then(EndHash::from_bytes),
            };
            tx.is_noting = head.flag("noting")?;
            tx.began_at = tx.head.change_seq;
            tx.node = self.node.get().map_or_else(String::new, ToString::to_string);
            let done = work(&mut tx).await?;
            tx.note_ends().await?;
            tx.store_head().await?;
            Ok::<_, E>(done)
        };
        match done.await {
            Ok(done) => {
                let seq = tx.commit().await?;
                // Before the answer: what was committed to a file without a name is lost with this process.
                self.files.check().map_err(|error| {
                    StoreError::OutcomeUnknown(sqlx::Error::Io(std::io::Error::other(error)))
                })?;
                Ok((done, seq))
            }
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

    /// Runs `work` on one consistent snapshot, using a turn of `purpose`.
    pub async fn read_for<T, E: From<StoreError>>(
        &self,
        purpose: Purpose,
        work: impl AsyncFnOnce(&mut Tx) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut tx = self.begin(purpose).await?;
        work(&mut tx).await
    }

    /// Runs `work` on one consistent snapshot without a statement timeout, for work that reads whole tables.
    pub async fn read_all<T, E: From<StoreError>>(
        &self,
        work: impl AsyncFnOnce(&mut Tx) -> Result<T, E>,
    ) -> Result<T, E> {
        self.read_all_for(Purpose::Read, work).await
    }

    /// Runs `work` as [`Self::read_all`] does, using a turn of `purpose`.
    pub async fn read_all_for<T, E: From<StoreError>>(
        &self,
        purpose: Purpose,
        work: impl AsyncFnOnce(&mut Tx) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut tx = self.begin(purpose).await?;
        tx.lift_limits().await?;
        work(&mut tx).await
    }

    async fn begin(&self, purpose: Purpose) -> Result<Tx, StoreError> {
        Ok(Tx::new(match &self.engine {
            Engine::Sqlite(pools) => Conn::Sqlite(pools.begin(purpose).await?),
            Engine::Postgres(pools) => Conn::Postgres(pools.begin(purpose).await?),
        }))
    }

    /// Opens every connection that this process can use, so that other programs cannot take them all later. Returns how
    /// many there are, and how many there should be.
    pub async fn open_connections(&self) -> (usize, usize) {
        match &self.engine {
            Engine::Sqlite(pools) => pools.open_all().await,
            Engine::Postgres(pools) => pools.open_all().await,
        }
    }

    /// Reserves the connections of a PostgreSQL server for the lock, changes and the feed, until
    /// [`Self::let_reads_go_on`]: after a restart of the server every program opens its connections again, and there
    /// may be too few.
    pub fn hold_reads_back(&self) {
        if let Engine::Postgres(pools) = &self.engine {
            pools.hold_reads_back();
        }
    }

    /// Closes every unused connection to a PostgreSQL server.
    pub fn close_idle_connections(&self) {
        if let Engine::Postgres(pools) = &self.engine {
            pools.close_idle();
        }
    }

    /// Opens the connections for changes, then allows connections for reads again.
    pub async fn let_reads_go_on(&self) {
        if let Engine::Postgres(pools) = &self.engine {
            pools.let_reads_go_on().await;
        }
    }

    /// Prepares every statement on this engine. A test runs it on both engines, and `doctor` on the present one.
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
