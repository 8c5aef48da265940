//! Leases of nodes on PostgreSQL: until when each may decide, and up to which change it has applied. The order of leases
//! and changes is what makes an end provable:
//!
//! - A lease is granted only to a node that has applied the last change that the grant sees. It is the same change only if
//!   it was made at the same time: after a failover that has lost changes, others have their numbers.
//! - A node without a lease, or with one that is about to end, is granted one under a lock that no change holds at the same
//!   time. So a change that began before is seen by the grant, and a change that begins later finds the lease.
//! - A node whose lease lasts for long enough is granted a longer one without that lock, so that whoever holds it keeps no
//!   node from deciding. The longer lease is visible before the earlier one ends, or the node does not use it. A change that
//!   the grant did not see therefore finds the node until it has applied the change, or the longer lease has ended.

use super::{
    Db, Engine, Location, StoreError,
    pool::Purpose,
    servers::{Failures, Servers, Wanted, check},
    serving::{Held, ServeLock},
};
use crossfade_core::{NodeId, Timestamp};
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use std::time::Duration;

/// Channel on which a committed change wakes the nodes, with the node that made it as the payload.
pub(super) const CHANGES: &str = "crossfade_changes";
/// Channel on which a node says that it has applied a change, released its lease, or lives.
const NODES: &str = "crossfade_nodes";
/// Channel on which a process asks the others to store their evidence, with the process that asks as the payload.
const EVIDENCE: &str = "crossfade_evidence";

/// Grants a lease under the lock: `FOR SHARE` waits for a change that holds the head, and holds up the next one.
const TAKE: &str = "WITH head_now AS (SELECT change_seq FROM head WHERE one = 1 FOR SHARE),
    latest AS (SELECT change_seq <= $5 AND (SELECT made_at FROM change_log WHERE seq = $5) IS NOT DISTINCT FROM CAST($8 AS BIGINT) AS is_applied, CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT) AS micros FROM head_now)
    INSERT INTO nodes (id, name, version, started_at, applied, uncertainty, lease_until)
    SELECT $1, $2, $3, $4, $5, $6, CASE WHEN is_applied THEN micros + $7 ELSE 0 END FROM latest
    ON CONFLICT (id) DO UPDATE SET applied = excluded.applied, uncertainty = excluded.uncertainty,
        lease_until = GREATEST(nodes.lease_until, excluded.lease_until) WHERE nodes.released_at IS NULL
    RETURNING (SELECT is_applied FROM latest), lease_until, (SELECT micros FROM latest), CAST(pg_notify('crossfade_nodes', $1) AS TEXT)";
/// Grants a longer lease without the lock.
const LENGTHEN: &str = "UPDATE nodes SET applied = $5, uncertainty = $6,
        lease_until = CASE WHEN latest.is_applied THEN latest.micros + $7 ELSE nodes.lease_until END
    FROM (SELECT change_seq <= $5 AND (SELECT made_at FROM change_log WHERE seq = $5) IS NOT DISTINCT FROM CAST($8 AS BIGINT) AS is_applied, CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT) AS micros FROM head WHERE one = 1) AS latest
    WHERE id = $1 AND name = $2 AND version = $3 AND started_at = $4 AND released_at IS NULL
    RETURNING latest.is_applied, lease_until, latest.micros, CAST(pg_notify('crossfade_nodes', $1) AS TEXT)";
const ACKNOWLEDGE: &str = "UPDATE nodes SET applied = $2 WHERE id = $1 AND applied < $2 AND $2 <= (SELECT change_seq FROM head WHERE one = 1)
    RETURNING CAST(pg_notify('crossfade_nodes', $1) AS TEXT)";
const ASK: &str = "WITH asked AS (UPDATE evidence_recorders SET asked_at = $2 WHERE node_id <> $1 AND recording = 1 AND asked_at < $2 RETURNING node_id)
    SELECT CAST(pg_notify('crossfade_evidence', $1) AS TEXT) WHERE EXISTS (SELECT 1 FROM asked)";
const RELEASE: &str =
    "UPDATE nodes SET released_at = CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)
    WHERE id = $1 AND released_at IS NULL RETURNING CAST(pg_notify('crossfade_nodes', $1) AS TEXT)";

/// Makes a node the leader if the one before has no lease any more.
const TAKE_OVER: &str = "UPDATE leader SET node_id = $1 WHERE one = 1 AND node_id <> $1 AND NOT EXISTS (
        SELECT 1 FROM nodes WHERE id = leader.node_id AND released_at IS NULL AND lease_until > CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT))";
const LEADS: &str = "SELECT node_id = $1, EXISTS (SELECT 1 FROM nodes WHERE id <> $1 AND released_at IS NULL AND lease_until > CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT))
    FROM leader WHERE one = 1";

/// What a node asks a lease with.
#[derive(Clone, Debug)]
pub struct LeaseRequest<'a> {
    /// The process.
    pub id: &'a NodeId,
    /// Name for people.
    pub name: &'a str,
    /// When the process started.
    pub started_at: Timestamp,
    /// How long the lease lasts.
    pub length: Duration,
    /// Last change that the tables have applied, and when it was made; `None` if the log did not have it.
    pub applied: (i64, Option<Timestamp>),
    /// How far the node's time can be from that of the database.
    pub uncertainty: Duration,
}

/// A granted lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LeaseGrant {
    /// Until when the database has noted the lease: also an earlier, longer one, if the database's clock was set back.
    pub until: Timestamp,
    /// When it was granted, by the database's clock.
    pub at: Timestamp,
}

/// What became of a request for a lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Granted {
    /// The node may decide.
    Lease(LeaseGrant),
    /// The node has not applied the last change.
    Behind,
    /// On SQLite, no other process can decide.
    NotNeeded,
}

impl ServeLock {
    /// Asks for a lease. A longer one can be asked for without the lock of changes while the present one lasts for much
    /// longer than the request takes. Fails with [`StoreError::Superseded`] if the node has given up its lease, or is not
    /// known any more.
    pub async fn renew(
        &mut self,
        request: LeaseRequest<'_>,
        without_lock: bool,
    ) -> Result<Granted, StoreError> {
        let Held::Session { session, .. } = &mut self.held else { return Ok(Granted::NotNeeded) };
        let granted: Option<(bool, i64, i64, String)> =
            sqlx::query_as(if without_lock { LENGTHEN } else { TAKE })
                .bind(request.id.as_str())
                .bind(request.name)
                .bind(env!("CARGO_PKG_VERSION"))
                .bind(request.started_at.as_micros())
                .bind(request.applied.0)
                .bind(micros(request.uncertainty))
                .bind(micros(request.length))
                .bind(request.applied.1.map(Timestamp::as_micros))
                .fetch_optional(session.as_mut())
                .await?;
        let (is_granted, until, at, _) = granted.ok_or(StoreError::Superseded)?;
        let grant = LeaseGrant { until: Timestamp::from_micros(until), at: Timestamp::from_micros(at) };
        Ok(if is_granted { Granted::Lease(grant) } else { Granted::Behind })
    }

    /// Whether this node leads, and whether another one has a lease. It takes over if the node that led has no lease any
    /// more. A process on SQLite is alone.
    pub async fn lead(&mut self, id: &NodeId) -> Result<(bool, bool), StoreError> {
        let Held::Session { session, .. } = &mut self.held else { return Ok((true, false)) };
        sqlx::query(TAKE_OVER).bind(id.as_str()).execute(session.as_mut()).await?;
        Ok(sqlx::query_as(LEADS).bind(id.as_str()).fetch_one(session.as_mut()).await?)
    }

    /// Gives up the lease of a node that decides nothing any more.
    pub async fn release_lease(&mut self, id: &NodeId) -> Result<(), StoreError> {
        let Held::Session { session, .. } = &mut self.held else { return Ok(()) };
        sqlx::query(RELEASE).bind(id.as_str()).execute(session.as_mut()).await?;
        Ok(())
    }
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

/// What wakes a node: that something was changed, or that another node has said something.
pub enum Wakes {
    /// On SQLite nothing does.
    Nothing,
    /// Notifications of PostgreSQL.
    Listener(Box<PgListener>),
}

/// What a node was woken by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wake {
    /// A process has committed a change; `None` if it is no node.
    Change(Option<String>),
    /// A node has applied a change, released its lease, or lives.
    Node(String),
    /// A process asks the others to store their evidence.
    Evidence(String),
    /// The connection broke, so that wakes may have been lost.
    Broken,
}

impl Db {
    /// Connects to what wakes a node. Nothing arrives through a pooler of transactions, so this leads past it.
    pub async fn wakes(&self) -> Result<Wakes, StoreError> {
        let Location::Postgres(url) = &self.location else { return Ok(Wakes::Nothing) };
        // A crash of the database may undo what is said here, which only makes others wait longer.
        let each = Servers::direct(url)?.with(&[("synchronous_commit", "off")]).now()?;
        let mut failures = Failures::default();
        for options in &each {
            match failures.within(each.len(), self.listen(options, each.len() > 1)).await {
                Ok(listener) => return Ok(Wakes::Listener(Box::new(listener))),
                Err(error) => failures.add(options, error),
            }
        }
        Err(failures.into())
    }

    async fn listen(
        &self,
        options: &PgConnectOptions,
        is_one_of_many: bool,
    ) -> Result<PgListener, StoreError> {
        let identity = self.identity.clone();
        // Also of a connection that the listener opens later by itself.
        let pool = PgPoolOptions::new().max_connections(1).after_connect(move |session, _| {
            let identity = identity.clone();
            Box::pin(async move {
                let checked = check(session, &identity, Wanted::Served, is_one_of_many).await;
                checked.map(drop).map_err(|error| sqlx::Error::Configuration(error.into()))
            })
        });
        let pool = pool.connect_with(options.clone()).await?;
        let mut listener = PgListener::connect_with(&pool).await?;
        // A new one asks all servers.
        listener.eager_reconnect(false);
        listener.listen_all([CHANGES, NODES, EVIDENCE]).await?;
        Ok(listener)
    }

    /// Asks the other processes that record evidence on PostgreSQL to store what they saw before `at`.
    pub async fn ask_recorders(&self, at: Timestamp) -> Result<(), StoreError> {
        let Engine::Postgres(pools) = &self.engine else { return Ok(()) };
        let own = self.node.get().map_or("", NodeId::as_str);
        let mut lent = pools.lend(Purpose::Read).await?;
        sqlx::query(ASK).bind(own).bind(at.as_micros()).execute(&mut lent.link()?.session).await?;
        Ok(())
    }
}

impl Wakes {
    /// Waits for the next wake.
    pub async fn next(&mut self) -> Wake {
        let Self::Listener(listener) = self else { return std::future::pending().await };
        match listener.try_recv().await {
            Ok(Some(notification)) => {
                let payload = notification.payload();
                match notification.channel() {
                    CHANGES => Wake::Change((!payload.is_empty()).then(|| payload.to_owned())),
                    EVIDENCE => Wake::Evidence(payload.to_owned()),
                    _ => Wake::Node(payload.to_owned()),
                }
            }
            Ok(None) | Err(_) => Wake::Broken,
        }
    }

    /// Says in the database that the node has applied the changes up to `applied`, for those who wait for it.
    pub async fn acknowledge(&mut self, id: &NodeId, applied: i64) -> Result<(), StoreError> {
        let Self::Listener(listener) = self else { return Ok(()) };
        let said = sqlx::query(ACKNOWLEDGE).bind(id.as_str()).bind(applied).execute(&mut **listener);
        said.await?;
        Ok(())
    }
}
