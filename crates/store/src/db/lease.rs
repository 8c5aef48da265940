//! Leases of nodes on PostgreSQL: until when each may decide, and up to which change it has applied. The order of leases
//! and changes is what makes an end provable. A lease is granted under a lock that no change holds at the same time. So a
//! change that began before the lease was granted is in the number that the grant returns, and a change that began after
//! it finds the lease.

use super::{
    Db, Location, StoreError,
    connect::postgres_options,
    serving::{Held, ServeLock},
};
use crossfade_core::{NodeId, Timestamp};
use sqlx::postgres::{PgListener, PgPoolOptions};
use std::time::Duration;

/// Channel on which a committed change wakes the nodes, with the node that made it as the payload.
pub(super) const CHANGES: &str = "crossfade_changes";
/// Channel on which a node says that it has applied a change, released its lease, or lives.
const NODES: &str = "crossfade_nodes";

/// Grants a lease. `FOR SHARE` waits for a change that holds the head, and holds up the next one until this commit.
const RENEW: &str = "WITH latest AS (SELECT change_seq FROM head WHERE one = 1 FOR SHARE)
    INSERT INTO nodes (id, name, version, started_at, lease_until, applied, uncertainty)
    SELECT $1, $2, $3, $4, CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT) + $5, $6, $7 FROM latest
    ON CONFLICT (id) DO UPDATE SET lease_until = excluded.lease_until, applied = excluded.applied,
        uncertainty = excluded.uncertainty WHERE nodes.released_at IS NULL
    RETURNING (SELECT change_seq FROM latest), lease_until, CAST(pg_notify('crossfade_nodes', $1) AS TEXT)";
const ACKNOWLEDGE: &str = "UPDATE nodes SET applied = $2 WHERE id = $1 AND applied < $2
    RETURNING CAST(pg_notify('crossfade_nodes', $1) AS TEXT)";
const RELEASE: &str =
    "UPDATE nodes SET released_at = CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)
    WHERE id = $1 AND released_at IS NULL RETURNING CAST(pg_notify('crossfade_nodes', $1) AS TEXT)";

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
    /// Last change that the tables have applied.
    pub applied: i64,
    /// How far the node's time can be from that of the database.
    pub uncertainty: Duration,
}

/// A granted lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LeaseGrant {
    /// The last change when it was granted. The node may decide by the lease only once it has applied that change.
    pub seq: i64,
    /// Until when the database has noted the lease.
    pub until: Timestamp,
    /// When it was granted.
    pub at: Timestamp,
}

impl ServeLock {
    /// Asks for a lease, or a longer one; `None` on SQLite, where no other process can decide. Fails with
    /// [`StoreError::Superseded`] if the node has released its lease.
    pub async fn renew(&mut self, request: LeaseRequest<'_>) -> Result<Option<LeaseGrant>, StoreError> {
        let Held::Session { session, .. } = &mut self.held else { return Ok(None) };
        let length = micros(request.length);
        let granted: Option<(i64, i64, String)> = sqlx::query_as(RENEW)
            .bind(request.id.as_str())
            .bind(request.name)
            .bind(env!("CARGO_PKG_VERSION"))
            .bind(request.started_at.as_micros())
            .bind(length)
            .bind(request.applied)
            .bind(micros(request.uncertainty))
            .fetch_optional(session.as_mut())
            .await?;
        let (seq, until, _) = granted.ok_or(StoreError::Superseded)?;
        let (until, at) = (Timestamp::from_micros(until), Timestamp::from_micros(until - length));
        Ok(Some(LeaseGrant { seq, until, at }))
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
    /// The connection broke, so that wakes may have been lost.
    Broken,
}

impl Db {
    /// Connects to what wakes a node. Through a pooler that hands its sessions around, nothing arrives.
    pub async fn wakes(&self) -> Result<Wakes, StoreError> {
        let Location::Postgres(url) = &self.location else { return Ok(Wakes::Nothing) };
        // A crash of the database may undo what is said here, which only makes others wait longer.
        let options = postgres_options(url)?.options([("synchronous_commit", "off")]);
        let pool = PgPoolOptions::new().max_connections(1).connect_with(options).await?;
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.listen_all([CHANGES, NODES]).await?;
        Ok(Wakes::Listener(Box::new(listener)))
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
