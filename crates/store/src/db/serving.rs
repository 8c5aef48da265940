//! The lock that allows one process to serve a database.

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
    sync::{
        MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};
use tokio::time::timeout;

/// The key of the advisory lock: the ASCII bytes of "crossfad".
pub(super) const ADVISORY_KEY: i64 = 0x6372_6f73_7366_6164;
/// Number of attempts to end one of our own sessions that still holds the lock, and the pause between two attempts.
const TAKE_OVER_TRIES: u32 = 20;
const TAKE_OVER_PAUSE: Duration = Duration::from_millis(100);

/// Time limit for taking the lock of a PostgreSQL server, and for releasing it.
const CLAIMED_WITHIN: Duration = Duration::from_secs(10);
const RELEASED_WITHIN: Duration = Duration::from_secs(2);
/// Maximum number of remembered abandoned claims.
const CLAIMS_REMEMBERED: usize = 16;

/// Starts a term beyond the one this process had, even if a failover has lost that term.
const BEGIN_TERM: &str =
    "UPDATE head SET term = CASE WHEN term < $1 THEN $1 ELSE term END + 1 WHERE one = 1 RETURNING term";
const LOCK_TERM: &str = "SELECT term FROM head WHERE one = 1 FOR UPDATE";
const SET_TERM: &str = "UPDATE head SET term = $1 WHERE one = 1";
const OWN_TERM: &str = "SELECT term FROM head WHERE one = 1";
const READ_TERM: &str = "SELECT term, change_seq FROM head WHERE one = 1";
const OWN_SESSION: &str =
    "SELECT pid, COALESCE(CAST(EXTRACT(EPOCH FROM backend_start) * 1000000 AS BIGINT), 0)
    FROM pg_stat_activity WHERE pid = pg_backend_pid()";
/// Finds the session that holds the lock. A 64-bit key is stored in two halves.
const HOLDER: &str =
    "SELECT l.pid, COALESCE(CAST(EXTRACT(EPOCH FROM a.backend_start) * 1000000 AS BIGINT), 0)
    FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted
      AND CAST(l.classid AS BIGINT) = $1 AND CAST(l.objid AS BIGINT) = $2
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())";

/// The lock, held as long as this process is allowed to serve this database.
pub struct ServeLock {
    pub(super) held: Held,
    term: i64,
    /// PostgreSQL server on which it is held; `None` on SQLite, or if the server does not reveal its identity.
    pub server: Option<ServerId>,
    /// When that server was started.
    started: Option<i64>,
    /// Whether another process has served since this one did, or this one never served.
    pub was_served_since: bool,
}

pub(super) enum Held {
    /// A locked file beside the database, and a connection that keeps the log in place: SQLite removes the log when the
    /// last connection closes.
    File { watch: Watch, keeper: SqliteConnection, _lock: File },
    /// A session that holds an advisory lock.
    Session { session: Box<PgConnection>, holder: Holder },
}

/// The PostgreSQL session that holds or held the lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Holder {
    pid: i32,
    started: i64,
}

impl Db {
    /// Claims this database for one serving process. There can be only one.
    pub async fn lock_for_serving(&self) -> Result<ServeLock, StoreError> {
        self.lock_again(None).await
    }

    /// Claims the database again after the session of a lock broke. If the server has not yet noticed that and the
    /// session still holds the lock, the session is ended.
    pub async fn lock_again(&self, lost: Option<Holder>) -> Result<ServeLock, StoreError> {
        match &self.location {
            Location::File(path) => self.claim_file(path).await,
            Location::Postgres(url) => {
                let claimed = timeout(CLAIMED_WITHIN, self.claim_session(url, lost)).await;
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
        let term = sqlx::query_scalar(OWN_TERM).fetch_one(&mut keeper).await?;
        let watch = self.files.watch(path, (&lock_path, &lock))?;
        let held = Held::File { watch, keeper, _lock: lock };
        self.identity.serve_on(None);
        self.term.store(term, Ordering::SeqCst);
        Ok(ServeLock { held, term, server: None, started: None, was_served_since: term != before + 1 })
    }

    async fn claim_session(&self, url: &PostgresUrl, lost: Option<Holder>) -> Result<ServeLock, StoreError> {
        let servers = Servers::direct(url)?.with(&NOTICED_SOON).with(&READ_COMMITTED);
        let (mut session, server) = servers.connect(&self.identity, Wanted::Instance).await?;
        // A lease that a crash takes back would be no promise, if a pooler has dropped what the session is opened with.
        session.execute("SET synchronous_commit = on").await?;
        let server_started = told(&mut session, STARTED).await?.map(|row| row.try_get(0)).transpose()?;
        let (pid, started): (i32, i64) = sqlx::query_as(OWN_SESSION).fetch_one(&mut session).await?;
        let holder = Holder { pid, started };
        let mut own = self.remember_claim(holder);
        own.extend(lost);
        lock_session(&mut session, &own).await?;
        let (term, was_served_since) = self.begin_term(&mut session, started).await?;
        self.claims().retain(|claim| *claim != holder);
        self.identity.serve_on(server.clone());
        let held = Held::Session { session: Box::new(session), holder };
        Ok(ServeLock { held, term, server, started: server_started, was_served_since })
    }

    /// Records a session that is about to take the lock, and returns the sessions with abandoned claims. Such a session
    /// may hold the lock while it waits in a statement and does not notice that its client is gone.
    fn remember_claim(&self, holder: Holder) -> Vec<Holder> {
        let mut claims = self.claims();
        let before = claims.clone();
        if claims.len() == CLAIMS_REMEMBERED {
            claims.remove(0);
        }
        claims.push(holder);
        before
    }

    fn claims(&self) -> MutexGuard<'_, Vec<Holder>> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins the term of this process. Returns it, and whether the previous term belonged to another process. Terms
    /// distinguish histories, even of one server whose files were restored: if two processes continue the same history,
    /// the start times of their sessions give different terms.
    async fn begin_term(&self, session: &mut PgConnection, started: i64) -> Result<(i64, bool), StoreError> {
        let before = self.term.load(Ordering::SeqCst);
        let mut kept = TermKept { term: &self.term, before, is_stored: false };
        let begun = async {
            session.execute("BEGIN ISOLATION LEVEL READ COMMITTED").await?;
            let found: i64 = sqlx::query_scalar(LOCK_TERM).fetch_one(&mut *session).await?;
            let term = found.max(before).max(0).saturating_add(1).max(started);
            sqlx::query(SET_TERM).bind(term).execute(&mut *session).await?;
            // Set before it becomes visible, so that a change of this process that sees the term is in it.
            self.term.store(term, Ordering::SeqCst);
            session.execute("COMMIT").await?;
            Ok::<_, sqlx::Error>((found, term))
        };
        let (found, term) = match begun.await.map(Some).or_else(unless_unreachable)? {
            Some(begun) => begun,
            None => {
                session.execute("ROLLBACK").await?;
                let found: i64 = sqlx::query_scalar(OWN_TERM).fetch_one(&mut *session).await?;
                self.term.store(found, Ordering::SeqCst);
                (found, found)
            }
        };
        kept.is_stored = true;
        Ok((term, found != before.max(0)))
    }
}

/// Restores the term of this process if a claim fails or is abandoned.
struct TermKept<'a> {
    term: &'a AtomicI64,
    before: i64,
    is_stored: bool,
}

impl Drop for TermKept<'_> {
    fn drop(&mut self) {
        if !self.is_stored {
            self.term.store(self.before, Ordering::SeqCst);
        }
    }
}

/// Settings with which the server notices within 30 seconds that the machine of a session is gone, and releases its
/// lock.
const NOTICED_SOON: [(&str, &str); 3] =
    [("tcp_keepalives_idle", "10"), ("tcp_keepalives_interval", "5"), ("tcp_keepalives_count", "3")];

/// Isolation of the statements that run without a transaction, whatever the default of the role is.
const READ_COMMITTED: [(&str, &str); 1] = [("default_transaction_isolation", "read committed")];

const KEY_HALVES: (i64, i64) = (ADVISORY_KEY >> 32, ADVISORY_KEY & 0xffff_ffff);

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

async fn lock_session(session: &mut PgConnection, own: &[Holder]) -> Result<(), StoreError> {
    for _ in 0..TAKE_OVER_TRIES {
        let locked: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)")
            .bind(ADVISORY_KEY)
            .fetch_one(&mut *session)
            .await?;
        if locked {
            return Ok(());
        }
        let holder: Option<(i32, i64)> = sqlx::query_as(HOLDER)
            .bind(KEY_HALVES.0)
            .bind(KEY_HALVES.1)
            .fetch_optional(&mut *session)
            .await?;
        match holder {
            // It was released in this moment.
            None => {}
            Some((pid, started)) if own.contains(&Holder { pid, started }) => {
                sqlx::query("SELECT pg_terminate_backend($1)").bind(pid).execute(&mut *session).await?;
            }
            _ => return Err(StoreError::AlreadyServed),
        }
        tokio::time::sleep(TAKE_OVER_PAUSE).await;
    }
    Err(StoreError::Open(
        "the lock on the database cannot be taken: an ended session still holds it".to_owned(),
    ))
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
                    let unlocked = sqlx::query("SELECT pg_advisory_unlock($1)").bind(ADVISORY_KEY);
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
    /// locked. Only [`StoreError::AlreadyServed`] means that another process holds the lock.
    pub async fn look(&mut self) -> Result<Option<i64>, StoreError> {
        match &mut self.held {
            Held::File { watch, .. } => watch.check().map(|()| None),
            Held::Session { session, holder } => {
                let found: Option<(i32, i64)> = sqlx::query_as(HOLDER)
                    .bind(KEY_HALVES.0)
                    .bind(KEY_HALVES.1)
                    .fetch_optional(session.as_mut())
                    .await?;
                match found {
                    Some((pid, started)) if *holder == (Holder { pid, started }) => {}
                    Some(_) => return Err(StoreError::AlreadyServed),
                    None => return Err(StoreError::Superseded),
                }
                let (term, change_seq): (i64, i64) =
                    sqlx::query_as(READ_TERM).fetch_one(session.as_mut()).await?;
                if term != self.term {
                    return Err(StoreError::Superseded);
                }
                Ok(Some(change_seq))
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

    /// Returns the session that holds the lock; `None` on SQLite.
    pub fn holder(&self) -> Option<Holder> {
        match &self.held {
            Held::File { .. } => None,
            Held::Session { holder, .. } => Some(*holder),
        }
    }

    /// Returns the PostgreSQL server on which it is held, since that was started; `None` if it is unknown.
    pub fn server_run(&self) -> Option<ServerRun> {
        Some(ServerRun { id: self.server.clone()?, started: self.started })
    }

    /// Returns the number of this process among those that have served the database.
    pub fn term(&self) -> i64 {
        self.term
    }
}
