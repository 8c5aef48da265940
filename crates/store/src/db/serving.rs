//! The lock that lets one process serve a database, and what its holder sees there.

use super::{
    Db, Engine, Location, StoreError,
    connect::{cannot_open, postgres_options, private_file},
    fault::Fault,
    identity::{ServerId, connected},
    pool::Purpose,
};
use sqlx::{ConnectOptions, Connection, postgres::PgConnection};
use std::{
    fs::{File, TryLockError},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::atomic::Ordering,
    time::Duration,
};

/// The key of the advisory lock: the ASCII bytes of "crossfad".
pub(super) const ADVISORY_KEY: i64 = 0x6372_6f73_7366_6164;
/// How often a session of our own that still holds the lock is asked to end, and the pause between two tries.
const TAKE_OVER_TRIES: u32 = 20;
const TAKE_OVER_PAUSE: Duration = Duration::from_millis(100);

/// Beyond the term that this process had, also where a failover has lost that one.
const BEGIN_TERM: &str =
    "UPDATE head SET term = CASE WHEN term < $1 THEN $1 ELSE term END + 1 WHERE one = 1 RETURNING term";
const OWN_TERM: &str = "SELECT term FROM head WHERE one = 1";
const READ_TERM: &str = "SELECT term, change_seq FROM head WHERE one = 1";
/// A 64-bit key is stored in two halves.
const HOLDER: &str =
    "SELECT l.pid, COALESCE(CAST(EXTRACT(EPOCH FROM a.backend_start) * 1000000 AS BIGINT), 0)
    FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted
      AND CAST(l.classid AS BIGINT) = $1 AND CAST(l.objid AS BIGINT) = $2
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())";

/// Held for as long as this process may serve this database.
pub struct ServeLock {
    held: Held,
    term: i64,
    /// The PostgreSQL server that it is held on; `None` on SQLite, and where the server does not tell.
    pub server: Option<ServerId>,
    /// Whether another process has served since this one did, or this one never did.
    pub was_served_since: bool,
}

enum Held {
    /// A locked file beside the database, and the database.
    File { lock: (PathBuf, File), database: (PathBuf, FileId) },
    /// A session that holds an advisory lock.
    Session { session: Box<PgConnection>, holder: Holder },
}

/// The PostgreSQL session that holds or held the lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Holder {
    pid: i32,
    started: i64,
}

/// The device and inode of a file.
type FileId = (u64, u64);

impl Db {
    /// Claims this database for one serving process. Until nodes hold leases there can be only one.
    pub async fn lock_for_serving(&self) -> Result<ServeLock, StoreError> {
        self.claim(None).await
    }

    /// Claims it again after the session of a lock broke. The server may not have noticed the end of that session yet:
    /// if the session still holds the lock, it is ended.
    pub async fn lock_again(&self, lost: Option<Holder>) -> Result<ServeLock, StoreError> {
        self.claim(lost).await
    }

    async fn claim(&self, lost: Option<Holder>) -> Result<ServeLock, StoreError> {
        let before = self.term.load(Ordering::SeqCst).max(0);
        let (held, term, server): (_, i64, _) = match &self.location {
            Location::File(path) => {
                let held = lock_file(path)?;
                let Engine::Sqlite(pools) = &self.engine else { return Err(StoreError::AlreadyServed) };
                let mut lent = pools.lend(Purpose::Change).await?;
                let begun =
                    sqlx::query_scalar::<_, i64>(BEGIN_TERM).bind(before).fetch_one(lent.link()?).await;
                if begun.map(Some).or_else(unless_unreachable)?.is_none() {
                    lent.give_up();
                }
                // What is stored counts: SQLite may fail to commit after it has returned the row.
                drop(lent);
                let term =
                    sqlx::query_scalar(OWN_TERM).fetch_one(pools.lend(Purpose::Read).await?.link()?).await?;
                (held, term, None)
            }
            Location::Postgres(url) => {
                let mut session = postgres_options(url)?.options(NOTICED_SOON).connect().await?;
                self.identity.check_postgres_instance(&mut session).await?;
                let server = connected(&mut session).await?;
                lock_session(&mut session, lost).await?;
                let begun = sqlx::query_scalar(BEGIN_TERM).bind(before).fetch_one(&mut session).await;
                let term = match begun.map(Some).or_else(unless_unreachable)? {
                    Some(term) => term,
                    None => sqlx::query_scalar(OWN_TERM).fetch_one(&mut session).await?,
                };
                let own: (i32, i64) = sqlx::query_as(HOLDER)
                    .bind(KEY_HALVES.0)
                    .bind(KEY_HALVES.1)
                    .fetch_one(&mut session)
                    .await?;
                let holder = Holder { pid: own.0, started: own.1 };
                let held = Held::Session { session: Box::new(session), holder };
                (held, term, server)
            }
        };
        self.identity.serve_on(server.clone());
        self.term.store(term, Ordering::SeqCst);
        Ok(ServeLock { held, term, server, was_served_since: term != before + 1 })
    }
}

/// Has the server notice within half a minute that the machine of a session is gone, and with it the lock.
const NOTICED_SOON: [(&str, &str); 3] =
    [("tcp_keepalives_idle", "10"), ("tcp_keepalives_interval", "5"), ("tcp_keepalives_count", "3")];

const KEY_HALVES: (i64, i64) = (ADVISORY_KEY >> 32, ADVISORY_KEY & 0xffff_ffff);

/// A database that stores no changes, such as on a full disk, is served all the same, in the term that it has.
fn unless_unreachable(error: sqlx::Error) -> Result<Option<i64>, StoreError> {
    match Fault::of(&error) {
        Fault::Unreachable => Err(error.into()),
        _ => Ok(None),
    }
}

fn lock_file(database: &Path) -> Result<Held, StoreError> {
    let path = database.with_extension("serve-lock");
    let file = private_file(&path)?;
    match file.try_lock() {
        Ok(()) => {
            let id = file_id(database).map_err(|error| cannot_open(database, &error))?;
            Ok(Held::File { lock: (path, file), database: (database.to_owned(), id) })
        }
        Err(TryLockError::WouldBlock) => Err(StoreError::AlreadyServed),
        Err(TryLockError::Error(error)) => Err(cannot_open(&path, &error)),
    }
}

async fn lock_session(session: &mut PgConnection, lost: Option<Holder>) -> Result<(), StoreError> {
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
        match (holder, lost) {
            // It was released in this moment.
            (None, _) => {}
            (Some((pid, started)), Some(lost)) if lost == (Holder { pid, started }) => {
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
    /// Gives the lock back before it returns: whoever serves next need not wait until the server has noticed that
    /// a session is gone.
    pub async fn release(self) {
        if let Held::Session { mut session, .. } = self.held {
            let unlocked = sqlx::query("SELECT pg_advisory_unlock($1)").bind(ADVISORY_KEY);
            // What fails here is a session that is gone, and its lock with it.
            let _ = unlocked.execute(session.as_mut()).await;
            let _ = Connection::close(*session).await;
        }
    }

    /// Checks that the lock is still held, and reads the last stored change; `None` on SQLite, where nobody else can have
    /// taken changes away. Fails where the lock is lost, or the database at this place is not the one that was locked.
    pub async fn look(&mut self) -> Result<Option<i64>, StoreError> {
        match &mut self.held {
            Held::File { lock: (path, file), database: (database, id) } => {
                let locked = file.metadata().map(|found| (found.dev(), found.ino()));
                let same = |path: &Path, expected: std::io::Result<FileId>| {
                    file_id(path).ok().zip(expected.ok()).is_some_and(|(found, expected)| found == expected)
                };
                if !same(database, Ok(*id)) {
                    return Err(StoreError::Replaced(database.display().to_string()));
                }
                if !same(path, locked) {
                    return Err(StoreError::Replaced(path.display().to_string()));
                }
                Ok(None)
            }
            Held::Session { session, holder } => {
                let found: Option<(i32, i64)> = sqlx::query_as(HOLDER)
                    .bind(KEY_HALVES.0)
                    .bind(KEY_HALVES.1)
                    .fetch_optional(session.as_mut())
                    .await?;
                if found != Some((holder.pid, holder.started)) {
                    return Err(StoreError::Superseded);
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

    /// Whether the lock can be lost while this process runs: a locked file is its own until it ends.
    pub fn can_be_lost(&self) -> bool {
        matches!(self.held, Held::Session { .. })
    }

    /// The session that holds it; `None` on SQLite.
    pub fn holder(&self) -> Option<Holder> {
        match &self.held {
            Held::File { .. } => None,
            Held::Session { holder, .. } => Some(*holder),
        }
    }

    /// The number of this process among those that have served the database.
    pub fn term(&self) -> i64 {
        self.term
    }
}

fn file_id(path: &Path) -> std::io::Result<FileId> {
    std::fs::metadata(path).map(|found| (found.dev(), found.ino()))
}
