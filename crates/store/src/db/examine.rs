//! Opening a database without changing it, and checks that depend on its engine.

use super::{
    CLOCK, Db, Engine, Location, StoreError,
    connect::{MIGRATIONS, cannot_open, open_postgres, sqlite_options},
    fault::describe,
    identity::Opener,
    pool::{Pools, Purpose},
    servers::Servers,
    serving::ADVISORY_KEY,
};
use crossfade_core::Timestamp;
use sqlx::{ConnectOptions, Row, sqlite::SqliteConnection};
use std::{
    fs::{File, TryLockError},
    io::ErrorKind,
    sync::Arc,
};

/// Durability of a commit, as the engine is set up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Durability {
    /// SQLite.
    Sqlite {
        /// The journal mode of the file.
        journal_mode: String,
        /// `PRAGMA synchronous`; 2 is FULL.
        synchronous: i64,
    },
    /// PostgreSQL.
    Postgres {
        /// `server_version_num`, such as 150004.
        version: i64,
        /// Setting of this program's sessions, regardless of the server's default.
        synchronous_commit: String,
        /// Whether the server flushes at all.
        fsync: String,
        /// Whether the server can repair pages that a crash has left half-written.
        full_page_writes: String,
        /// The encoding of the database.
        encoding: String,
        /// Whether the server is a standby.
        standby: bool,
        /// Whether sessions have the settings this program opens them with; a pooler may drop them.
        keeps_settings: bool,
    },
}

/// Copies of a PostgreSQL server that confirm its commits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standbys {
    /// The setting `synchronous_standby_names`; empty if no standby has to confirm a commit.
    pub names: String,
    /// Number of connected standbys.
    pub connected: i64,
    /// Number of connected standbys that confirm each commit; `None` if the role is not allowed to see that.
    pub synchronous: Option<i64>,
}

/// Result of an engine's check of its own file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Integrity {
    /// Damage in the engine's words, at most a few lines.
    pub damage: Vec<String>,
    /// Rows that refer to a missing row, by table.
    pub dangling: Vec<String>,
}

/// Maximum number of reported lines of damage.
const MOST_LINES: usize = 10;

impl Db {
    /// Returns the schema version of this program.
    pub fn program_schema() -> i64 {
        MIGRATIONS.iter().map(|(version, _, _)| *version).max().unwrap_or_default()
    }

    /// Opens an existing database read-only: nothing is created, migrated or written.
    pub async fn open_read_only(location: &Location) -> Result<Self, StoreError> {
        let identity = Arc::default();
        match location {
            Location::File(path) => {
                let path = path.canonicalize().map_err(|error| match error.kind() {
                    ErrorKind::NotFound => {
                        StoreError::Missing(format!("the database {} does not exist", path.display()))
                    }
                    _ => cannot_open(path, &error),
                })?;
                let options = sqlite_options(&path).create_if_missing(false).read_only(true);
                let first = options.connect().await.map_err(|error| cannot_open(&path, &describe(&error)))?;
                let opener = |options| Opener { options, identity: Arc::clone(&identity) };
                let pools = Pools::new(opener(options.clone()), opener(options));
                pools.keep(first);
                Ok(Self::new(Engine::Sqlite(pools), Location::File(path), identity))
            }
            Location::Postgres(url) => {
                let servers = Servers::of(url)?.with(&[("default_transaction_read_only", "on")]);
                let engine = open_postgres(servers, &identity).await?;
                Ok(Self::new(engine, location.clone(), identity))
            }
        }
    }

    /// Returns the name of the engine.
    pub fn engine(&self) -> &'static str {
        match self.engine {
            Engine::Sqlite(_) => "sqlite",
            Engine::Postgres(_) => "postgresql",
        }
    }

    /// Whether the database has its own clock, which can differ from this machine's.
    pub fn has_own_clock(&self) -> bool {
        matches!(self.engine, Engine::Postgres(_))
    }

    /// Reads the database's own clock; `None` if it has none. Calls `ask` just before the question is sent.
    pub async fn clock<A>(&self, ask: impl FnOnce() -> A) -> Result<Option<(Timestamp, A)>, StoreError> {
        match &self.engine {
            Engine::Sqlite(_) => Ok(None),
            Engine::Postgres(pools) => {
                let mut lent = pools.begin(Purpose::Readiness).await?;
                let link = lent.link()?;
                let asked = ask();
                let micros =
                    sqlx::query_scalar(CLOCK).persistent(!link.is_pooled).fetch_one(&mut link.session);
                let told = (Timestamp::from_micros(micros.await?), asked);
                lent.roll_back().await;
                Ok(Some(told))
            }
        }
    }

    /// Returns the schema version of the database; `None` if it contains nothing of Crossfade.
    pub async fn stored_schema(&self) -> Result<Option<i64>, StoreError> {
        const VERSION: &str = "SELECT MAX(version) FROM _sqlx_migrations";
        Ok(match &self.engine {
            Engine::Sqlite(pools) => {
                let mut lent = pools.lend(Purpose::Read).await?;
                let session = lent.link()?;
                let known = "SELECT COUNT(*) FROM sqlite_schema WHERE name = '_sqlx_migrations'";
                let tables: i64 = sqlx::query_scalar(known).fetch_one(&mut *session).await?;
                if tables == 0 { None } else { sqlx::query_scalar(VERSION).fetch_one(session).await? }
            }
            Engine::Postgres(pools) => {
                let mut lent = pools.lend(Purpose::Read).await?;
                let session = &mut lent.link()?.session;
                let known = "SELECT to_regclass('_sqlx_migrations') IS NOT NULL";
                let known: bool = sqlx::query_scalar(known).fetch_one(&mut *session).await?;
                if known { sqlx::query_scalar(VERSION).fetch_one(session).await? } else { None }
            }
        })
    }

    /// Returns the oldest program that can run on the database: the newest migration that it knows, and its version;
    /// `None` if the schema is older than this record.
    pub async fn oldest_program(&self) -> Result<Option<(i64, String)>, StoreError> {
        const OLDEST: &str = "SELECT schema_version, program_version FROM oldest_program WHERE one = 1";
        Ok(match &self.engine {
            Engine::Sqlite(pools) => {
                let mut lent = pools.lend(Purpose::Read).await?;
                let session = lent.link()?;
                let known = "SELECT COUNT(*) FROM sqlite_schema WHERE name = 'oldest_program'";
                let tables: i64 = sqlx::query_scalar(known).fetch_one(&mut *session).await?;
                if tables == 0 { None } else { sqlx::query_as(OLDEST).fetch_optional(session).await? }
            }
            Engine::Postgres(pools) => {
                let mut lent = pools.lend(Purpose::Read).await?;
                let session = &mut lent.link()?.session;
                let known = "SELECT to_regclass('oldest_program') IS NOT NULL";
                let known: bool = sqlx::query_scalar(known).fetch_one(&mut *session).await?;
                if known { sqlx::query_as(OLDEST).fetch_optional(session).await? } else { None }
            }
        })
    }

    /// Whether a process is serving this database. Determined without taking its lock.
    pub async fn is_served(&self) -> Result<bool, StoreError> {
        match &self.engine {
            Engine::Sqlite(_) => {
                let Some(path) = self.location.lock_path("serve-lock") else { return Ok(false) };
                let file = match File::open(&path) {
                    Ok(file) => file,
                    Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
                    Err(error) => return Err(cannot_open(&path, &error)),
                };
                // A shared lock, released immediately: it checks without claiming.
                match file.try_lock_shared() {
                    Ok(()) => Ok(false),
                    Err(TryLockError::WouldBlock) => Ok(true),
                    Err(TryLockError::Error(error)) => Err(cannot_open(&path, &error)),
                }
            }
            Engine::Postgres(pools) => {
                let mut lent = pools.lend(Purpose::Read).await?;
                // A key of 64 bits is stored there in two halves.
                let sql = "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND granted
                             AND CAST(classid AS BIGINT) = $1 AND CAST(objid AS BIGINT) = $2
                             AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))";
                let held = sqlx::query_scalar(sql).bind(ADVISORY_KEY >> 32).bind(ADVISORY_KEY & 0xffff_ffff);
                Ok(held.fetch_one(&mut lent.link()?.session).await?)
            }
        }
    }

    /// Reads the durability of a commit, as the engine is set up.
    pub async fn durability(&self) -> Result<Durability, StoreError> {
        match &self.engine {
            Engine::Sqlite(pools) => {
                let mut lent = pools.lend(Purpose::Change).await?;
                let session = lent.link()?;
                Ok(Durability::Sqlite {
                    journal_mode: sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut *session).await?,
                    synchronous: sqlx::query_scalar("PRAGMA synchronous").fetch_one(session).await?,
                })
            }
            Engine::Postgres(pools) => {
                // In the transaction of a change, because that is what sets what a pooler has dropped.
                let mut lent = pools.begin(Purpose::Change).await?;
                let keeps_settings = lent.link()?.keeps_settings();
                let sql = "SELECT CAST(current_setting('server_version_num') AS BIGINT), current_setting('synchronous_commit'),
                             current_setting('fsync'), current_setting('full_page_writes'), current_setting('server_encoding'),
                             pg_is_in_recovery()";
                let row = sqlx::raw_sql(sql).fetch_one(&mut lent.link()?.session).await?;
                lent.roll_back().await;
                Ok(Durability::Postgres {
                    version: row.try_get(0)?,
                    synchronous_commit: row.try_get(1)?,
                    fsync: row.try_get(2)?,
                    full_page_writes: row.try_get(3)?,
                    encoding: row.try_get(4)?,
                    standby: row.try_get(5)?,
                    keeps_settings,
                })
            }
        }
    }

    /// Reads which copies of the server confirm its commits; `None` on SQLite.
    pub async fn standbys(&self) -> Result<Option<Standbys>, StoreError> {
        let Engine::Postgres(pools) = &self.engine else { return Ok(None) };
        // Another role sees the rows, but not their columns.
        let sql = "SELECT current_setting('synchronous_standby_names'), COUNT(*), COUNT(sync_state),
                     COUNT(*) FILTER (WHERE sync_state IN ('sync', 'quorum')) FROM pg_stat_replication";
        let mut lent = pools.begin(Purpose::Read).await?;
        let row = sqlx::raw_sql(sql).fetch_one(&mut lent.link()?.session).await?;
        lent.roll_back().await;
        let (connected, seen): (i64, i64) = (row.try_get(1)?, row.try_get(2)?);
        let synchronous = if seen == connected { Some(row.try_get(3)?) } else { None };
        Ok(Some(Standbys { names: row.try_get(0)?, connected, synchronous }))
    }

    /// Lets the engine check its own file. PostgreSQL has no such check, so it reports nothing.
    pub async fn integrity(&self) -> Result<Integrity, StoreError> {
        match &self.engine {
            Engine::Sqlite(pools) => sqlite_integrity(pools.lend(Purpose::Read).await?.link()?).await,
            Engine::Postgres(_) => Ok(Integrity::default()),
        }
    }
}

async fn sqlite_integrity(session: &mut SqliteConnection) -> Result<Integrity, StoreError> {
    let lines: Vec<String> =
        match sqlx::query_scalar("PRAGMA integrity_check(10)").fetch_all(&mut *session).await {
            Ok(lines) => lines,
            // A file that is damaged enough fails the check itself.
            Err(sqlx::Error::Database(error)) => vec![error.message().to_owned()],
            Err(error) => return Err(error.into()),
        };
    // One answer may be several lines, under a heading.
    let lines = lines.iter().flat_map(|answer| answer.lines());
    let damage: Vec<String> =
        lines.filter(|line| *line != "ok" && !line.starts_with("***")).map(str::to_owned).collect();
    if !damage.is_empty() {
        return Ok(Integrity { damage, dangling: Vec::new() });
    }
    let mut dangling = Vec::new();
    for row in sqlx::query("PRAGMA foreign_key_check").fetch_all(&mut *session).await?.iter().take(MOST_LINES)
    {
        let (table, parent): (String, String) = (row.try_get(0)?, row.try_get(2)?);
        dangling.push(format!("a row of {table} refers to a missing row of {parent}"));
    }
    dangling.dedup();
    Ok(Integrity { damage, dangling })
}
