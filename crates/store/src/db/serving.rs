//! The lock with which a process serves a database: alone on SQLite, beside others on PostgreSQL.

use super::{
    Db, Engine, Location, StoreError,
    connect::{cannot_open, private_file, sqlite_options},
    fault::Fault,
    files::Watch,
    identity::{STARTED, ServerId, ServerRun, told},
    pool::{Purpose, timed_out},
    servers::{PostgresUrl, Servers, Wanted},
};
use sqlx::{ConnectOptions, Connection, Executor, Row, postgres::PgConnection, sqlite::SqliteConnection};
use std::{
    fs::{File, TryLockError},
    path::{Path, PathBuf},
    sync::atomic::Ordering,
    time::Duration,
};
use tokio::time::timeout;

/// The key of the advisory lock: the ASCII bytes of "crossfad".
pub(super) const ADVISORY_KEY: i64 = 0x6372_6f73_7366_6164;
/// Time limit for taking the lock of a PostgreSQL server, and for releasing it.
const CLAIMED_WITHIN: Duration = Duration::from_secs(10);
const RELEASED_WITHIN: Duration = Duration::from_secs(2);
/// Starts a term beyond the one this process had, even if a failover has lost that term.
const BEGIN_TERM: &str =
    "UPDATE head SET term = CASE WHEN term < $1 THEN $1 ELSE term END + 1 WHERE one = 1 RETURNING term";
const OWN_TERM: &str = "SELECT term FROM head WHERE one = 1";
const LAST_CHANGE: &str = "SELECT change_seq FROM head WHERE one = 1";

/// What a serving process holds, as long as it is allowed to serve this database.
pub struct ServeLock {
    pub(super) held: Held,
    /// PostgreSQL server on which it is held; `None` on SQLite, or if the server does not reveal its identity.
    pub server: Option<ServerId>,
    /// When that server was started.
    started: Option<i64>,
}

pub(super) enum Held {
    /// A locked file beside the database, and a connection that keeps the log in place: SQLite removes the log when the
    /// last connection closes.
    File { watch: Watch, keeper: SqliteConnection, _lock: File },
    /// A session in which leases are asked for. Its advisory lock keeps out commands that must be alone, and, if it
    /// is alone, other servers.
    Session { session: Box<PgConnection>, is_alone: bool },
}

/// Who else may hold the advisory lock of a PostgreSQL database.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Beside {
    /// Other servers.
    Servers,
    /// Nobody.
    Nobody,
}

impl Db {
    /// Claims this database for a serving process. On SQLite there can be only one, on PostgreSQL any number.
    pub async fn lock_for_serving(&self) -> Result<ServeLock, StoreError> {
        self.lock(Beside::Servers).await
    }

    /// Claims this database for a command that must be alone: no server runs, and none starts.
    pub async fn lock_alone(&self) -> Result<ServeLock, StoreError> {
        self.lock(Beside::Nobody).await
    }

    async fn lock(&self, beside: Beside) -> Result<ServeLock, StoreError> {
        match &self.location {
            Location::File(path) => self.claim_file(path).await,
            Location::Postgres(url) => {
                let claimed = timeout(CLAIMED_WITHIN, self.claim_session(url, beside)).await;
                claimed.unwrap_or_else(|_| Err(timed_out(CLAIMED_WITHIN).into()))
            }
        }
    }

    async fn claim_file(&self, path: &Path) -> Result<ServeLock, StoreError> {
        let before = self.term.load(Ordering::SeqCst).max(0);
        let (lock_path, lock) = lock_file(path)?;
        let Engine::Sqlite(pools) = &self.engine else { return Err(StoreError::AlreadyServed) };
        let mut lent = pools.lend(Purpose::Change).await?;
        let begun = sqlx::query_scalar::<_, i64>(BEGIN_TERM).bind(before).fetch_one(lent.link()?).await;
        if begun.map(Some).or_else(unless_unreachable)?.is_none() {
            lent.give_up();
        }
        // What is stored counts: SQLite may fail to commit after it has returned the row.
        drop(lent);
        let mut keeper = sqlite_options(path).connect().await?;
        let term: i64 = sqlx::query_scalar(OWN_TERM).fetch_one(&mut keeper).await?;
        let watch = self.files.watch(path, (&lock_path, &lock))?;
        let held = Held::File { watch, keeper, _lock: lock };
        self.identity.serve_on(None);
        self.term.store(term, Ordering::SeqCst);
        Ok(ServeLock { held, server: None, started: None })
    }

    async fn claim_session(&self, url: &PostgresUrl, beside: Beside) -> Result<ServeLock, StoreError> {
        let servers = Servers::direct(url)?.with(&NOTICED_SOON).with(&READ_COMMITTED);
        let (mut session, server) = servers.connect(&self.identity, Wanted::Instance).await?;
        // A lease that a crash takes back would be no promise, if a pooler has dropped what the session is opened with.
        session.execute("SET synchronous_commit = on").await?;
        let started = told(&mut session, STARTED).await?.map(|row| row.try_get(0)).transpose()?;
        let lock = match beside {
            Beside::Servers => "SELECT pg_try_advisory_lock_shared($1)",
            Beside::Nobody => "SELECT pg_try_advisory_lock($1)",
        };
        let is_locked: bool = sqlx::query_scalar(lock).bind(ADVISORY_KEY).fetch_one(&mut session).await?;
        if !is_locked {
            return Err(StoreError::AlreadyServed);
        }
        self.identity.serve_on(server.clone());
        Ok(ServeLock {
            held: Held::Session { session: Box::new(session), is_alone: beside == Beside::Nobody },
            server,
            started,
        })
    }
}

/// Settings with which the server notices within 30 seconds that the machine of a session is gone, and releases its
/// lock.
const NOTICED_SOON: [(&str, &str); 3] =
    [("tcp_keepalives_idle", "10"), ("tcp_keepalives_interval", "5"), ("tcp_keepalives_count", "3")];

/// Isolation of the statements that run without a transaction, whatever the default of the role is.
const READ_COMMITTED: [(&str, &str); 1] = [("default_transaction_isolation", "read committed")];

/// Ignores errors other than an unreachable server: a database that stores no changes, for example on a full disk, is
/// still served, in its present term.
fn unless_unreachable<T>(error: sqlx::Error) -> Result<Option<T>, StoreError> {
    match Fault::of(&error) {
        Fault::Unreachable => Err(error.into()),
        _ => Ok(None),
    }
}

fn lock_file(database: &Path) -> Result<(PathBuf, File), StoreError> {
    let path = database.with_extension("serve-lock");
    let file = private_file(&path)?;
    match file.try_lock() {
        Ok(()) => Ok((path, file)),
        Err(TryLockError::WouldBlock) => Err(StoreError::AlreadyServed),
        Err(TryLockError::Error(error)) => Err(cannot_open(&path, &error)),
    }
}

impl ServeLock {
    /// Releases the lock before returning, so that the next server need not wait until PostgreSQL has noticed that a
    /// session is gone, and the next closing connection folds the log of SQLite into its file. Abandons a session that
    /// does not answer.
    pub async fn release(self) {
        match self.held {
            Held::File { watch, keeper, .. } => {
                drop(watch);
                let _ = Connection::close(keeper).await;
            }
            Held::Session { mut session, .. } => {
                let released = async {
                    let unlocked = sqlx::query("SELECT pg_advisory_unlock_all()");
                    // A failure here means that the session is gone, and its lock with it.
                    let _ = unlocked.execute(session.as_mut()).await;
                    let _ = Connection::close(*session).await;
                };
                let _ = timeout(RELEASED_WITHIN, released).await;
            }
        }
    }

    /// Checks that the lock is still held, and reads the last stored change; `None` on SQLite, where no other process
    /// can have removed changes. Fails if the lock is lost, or if the database at this location is not the one that was
    /// locked.
    pub async fn look(&mut self) -> Result<Option<i64>, StoreError> {
        match &mut self.held {
            Held::File { watch, .. } => watch.check().map(|()| None),
            Held::Session { session, .. } => {
                Ok(Some(sqlx::query_scalar(LAST_CHANGE).fetch_one(session.as_mut()).await?))
            }
        }
    }

    /// Whether the lock is still held. A PostgreSQL session that broke has lost it.
    pub async fn is_held(&mut self) -> bool {
        self.look().await.is_ok()
    }

    /// Whether the lock can be lost while this process runs. A locked file stays locked until the process ends.
    pub fn can_be_lost(&self) -> bool {
        matches!(self.held, Held::Session { .. })
    }

    /// Whether no other server can start until [`Self::share`].
    pub fn is_alone(&self) -> bool {
        match self.held {
            Held::File { .. } => true,
            Held::Session { is_alone, .. } => is_alone,
        }
    }

    /// Keeps out other servers from now on, if there are none.
    pub async fn keep_out_others(&mut self) -> Result<(), StoreError> {
        if let Held::Session { session, is_alone } = &mut self.held
            && !*is_alone
        {
            let lock = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)").bind(ADVISORY_KEY);
            *is_alone = lock.fetch_one(session.as_mut()).await?;
        }
        Ok(())
    }

    /// Lets other servers start.
    pub async fn share(&mut self) -> Result<(), StoreError> {
        if let Held::Session { session, is_alone } = &mut self.held
            && *is_alone
        {
            // As often as it was taken: an answer may have been lost.
            while sqlx::query_scalar("SELECT pg_advisory_unlock($1)")
                .bind(ADVISORY_KEY)
                .fetch_one(session.as_mut())
                .await?
            {}
            *is_alone = false;
        }
        Ok(())
    }

    /// Returns the PostgreSQL server on which it is held, since that was started; `None` if it is unknown.
    pub fn server_run(&self) -> Option<ServerRun> {
        Some(ServerRun { id: self.server.clone()?, started: self.started })
    }
}
