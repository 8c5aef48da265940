//! Identity of a database: the instance and the server that every new connection must lead to.

use super::StoreError;
use sqlx::{Executor, PgConnection, Row, SqliteConnection};
use std::sync::{
    Arc, Mutex, OnceLock, PoisonError,
    atomic::{AtomicU64, Ordering},
};

const INSTANCE: &str = "SELECT id FROM instance WHERE one = 1";
const IS_STANDBY: &str = "SELECT pg_is_in_recovery()";
const SYSTEM: &str = "SELECT system_identifier FROM pg_control_system()";
/// Reads the timeline from the log, because the control file contains a new timeline only after the next checkpoint.
const TIMELINE: &str = "SELECT pg_walfile_name(pg_current_wal_lsn())";

/// Reads since when the server runs, in microseconds.
pub(super) const STARTED: &str =
    "SELECT CAST(EXTRACT(EPOCH FROM pg_postmaster_start_time()) * 1000000 AS BIGINT)";

/// A PostgreSQL server and its timeline.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerId {
    /// Identifier of its data directory, from `initdb`.
    pub system: i64,
    /// The timeline, which each promotion of a standby changes.
    pub timeline: u32,
}

impl std::fmt::Display for ServerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "system {}, timeline {}", self.system, self.timeline)
    }
}

/// A PostgreSQL server since it was started. A copy of its data directory is started at another time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerRun {
    /// The server.
    pub id: ServerId,
    /// When it was started, in microseconds since 1970; `None` if it does not say.
    pub started: Option<i64>,
}

/// Everything needed to open a connection to the right database.
pub(super) struct Opener<O> {
    pub(super) options: O,
    pub(super) identity: Arc<Identity>,
}

/// The instance and server that every connection of a [`super::Db`] must lead to.
#[derive(Default)]
pub(super) struct Identity {
    /// The instance; unset until the database has been opened.
    instance: OnceLock<String>,
    /// Server on which the lock is held; unset in a process that does not serve.
    server: Mutex<Option<Option<ServerId>>>,
    /// Number of times that server has changed.
    generation: AtomicU64,
    /// Where the last connection led, if it did not lead to the expected database.
    elsewhere: Mutex<Option<String>>,
}

impl Identity {
    /// Requires every new connection from now on to lead to this instance.
    pub(super) fn expect(&self, instance: &str) {
        let _ = self.instance.set(instance.to_owned());
    }

    /// Requires every connection from now on to lead to this server. Connections to another server are no longer used;
    /// a server that does not reveal its identity counts as another one.
    pub(super) fn serve_on(&self, server: Option<ServerId>) {
        let mut known = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        if server.is_none() || known.as_ref() != Some(&server) {
            self.generation.fetch_add(1, Ordering::SeqCst);
        }
        *known = Some(server);
        self.note(None);
    }

    /// Returns the number of times the served server has changed.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    /// Returns where the last connection led, if it did not lead to the expected database.
    pub(super) fn elsewhere(&self) -> Option<String> {
        self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, elsewhere: Option<String>) {
        *self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner) = elsewhere;
    }

    /// Refuses a SQLite connection that leads to another instance, because another file may be at the path by now.
    pub(super) async fn check_sqlite(&self, connection: &mut SqliteConnection) -> Result<(), StoreError> {
        let Some(expected) = self.instance.get() else { return Ok(()) };
        let row = connection.fetch_optional(INSTANCE).await;
        self.check_instance(expected, row.and_then(|row| row.map(|row| row.try_get(0)).transpose()))
    }

    /// Refuses a PostgreSQL connection that leads to another instance. Accepts every connection before the instance is
    /// known.
    pub(super) async fn check_postgres_instance(
        &self,
        connection: &mut PgConnection,
    ) -> Result<(), StoreError> {
        let Some(expected) = self.instance.get() else { return Ok(()) };
        let row = connection.fetch_optional(INSTANCE).await;
        self.check_instance(expected, row.and_then(|row| row.map(|row| row.try_get(0)).transpose()))
    }

    /// Refuses a PostgreSQL connection that leads to another instance or another server.
    pub(super) async fn check_postgres(&self, connection: &mut PgConnection) -> Result<(), StoreError> {
        self.check_postgres_instance(connection).await?;
        let known = self.server.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(expected) = known else { return Ok(()) };
        match connected(connection).await {
            Ok(found) if found == expected => Ok(()),
            Ok(found) => {
                let shown = |server: Option<ServerId>| {
                    server.map_or_else(|| "unknown".to_owned(), |server| server.to_string())
                };
                let (found, expected) = (shown(found), shown(expected));
                Err(self
                    .refuse(format!("the database is on another server ({found}) than before ({expected})")))
            }
            Err(StoreError::Elsewhere(what)) => Err(self.refuse(what)),
            Err(error) => Err(error),
        }
    }

    /// Refuses a server whose timeline is older than that of the server which was served last: a promotion has left it
    /// behind, and it may still be written to.
    pub(super) fn check_timeline(&self, found: Option<&ServerId>) -> Result<(), StoreError> {
        let known = self.server.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match (known.flatten(), found) {
            (Some(known), Some(found)) if known.system == found.system && found.timeline < known.timeline => {
                let (found, known) = (found.timeline, known.timeline);
                Err(self.refuse(format!(
                    "the database server is a former primary (timeline {found}, while timeline {known} was served)"
                )))
            }
            _ => Ok(()),
        }
    }

    fn check_instance(
        &self,
        expected: &str,
        found: Result<Option<String>, sqlx::Error>,
    ) -> Result<(), StoreError> {
        match found {
            Ok(Some(found)) if found == expected => {
                self.note(None);
                Ok(())
            }
            Ok(Some(found)) => {
                Err(self
                    .refuse(format!("the database belongs to instance {found}, not to instance {expected}")))
            }
            Ok(None) => {
                Err(self.refuse(format!("the database is empty and does not contain instance {expected}")))
            }
            // No such table, in the words of either engine.
            Err(sqlx::Error::Database(error))
                if error.code().as_deref() == Some("42P01") || error.message().contains("no such table") =>
            {
                Err(self.refuse(format!("the database is empty and does not contain instance {expected}")))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn refuse(&self, what: String) -> StoreError {
        self.note(Some(what.clone()));
        StoreError::Elsewhere(what)
    }
}

/// Reads which server a connection leads to. A standby is refused: it may be behind, and cannot be written.
pub(super) async fn connected(connection: &mut PgConnection) -> Result<Option<ServerId>, StoreError> {
    if is_standby(connection).await? {
        return Err(StoreError::Elsewhere(
            "the database server is a standby, which cannot be written to".to_owned(),
        ));
    }
    // Some services restrict these functions. Then every new session counts as another server.
    let system = told(connection, SYSTEM).await?.map(|row| row.try_get::<i64, _>(0)).transpose()?;
    let log = told(connection, TIMELINE).await?.map(|row| row.try_get::<String, _>(0)).transpose()?;
    let timeline = log.and_then(|name| u32::from_str_radix(name.get(..8)?, 16).ok());
    Ok(system.zip(timeline).map(|(system, timeline)| ServerId { system, timeline }))
}

/// Whether the server follows another one.
pub(super) async fn is_standby(connection: &mut PgConnection) -> Result<bool, StoreError> {
    Ok(connection.fetch_one(IS_STANDBY).await?.try_get(0)?)
}

/// Returns the row, or `None` if the server does not answer this query.
pub(super) async fn told(
    connection: &mut PgConnection,
    question: &'static str,
) -> Result<Option<sqlx::postgres::PgRow>, StoreError> {
    match connection.fetch_one(question).await {
        Ok(row) => Ok(Some(row)),
        Err(sqlx::Error::Database(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_former_primary_is_refused_once_its_successor_was_served() {
        let server = |system, timeline| Some(ServerId { system, timeline });
        let identity = Identity::default();
        assert!(identity.check_timeline(server(1, 1).as_ref()).is_ok(), "no server was served yet");
        identity.serve_on(server(1, 2));
        for accepted in [server(1, 2), server(1, 3), server(2, 1), None] {
            assert!(identity.check_timeline(accepted.as_ref()).is_ok(), "{accepted:?}");
        }
        let refused = identity.check_timeline(server(1, 1).as_ref()).unwrap_err();
        assert!(refused.to_string().contains("is a former primary"), "{refused}");
        assert_eq!(identity.elsewhere(), Some(refused.to_string()));
    }
}
