//! Serving processes on PostgreSQL, and until when each may decide.

use crate::{StoreError, Tx, catalogue::statements, db::Row};
use crossfade_core::{NodeId, Timestamp};

/// A serving process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRow {
    /// Identifies the process.
    pub id: NodeId,
    /// Name for people.
    pub name: String,
    /// Version of the program.
    pub version: String,
    /// When the process started.
    pub started_at: Timestamp,
    /// Until when it may decide.
    pub lease_until: Timestamp,
    /// Last change that it has said to have applied.
    pub applied: i64,
    /// How far its time can be from that of the database, in microseconds.
    pub uncertainty: i64,
    /// When it gave up its lease; `None` if it did not.
    pub released_at: Option<Timestamp>,
    /// Whether it leads.
    pub leads: bool,
}

impl NodeRow {
    /// Whether the node may decide at `now`.
    pub fn may_decide(&self, now: Timestamp) -> bool {
        self.released_at.is_none() && now < self.lease_until
    }
}

statements! {
    NODES = "SELECT n.id, n.name, n.version, n.started_at, n.lease_until, n.applied, n.uncertainty, n.released_at,
                    CAST(CASE WHEN l.one IS NULL THEN 0 ELSE 1 END AS BIGINT) AS leads
             FROM nodes n LEFT JOIN leader l ON l.node_id = n.id ORDER BY n.started_at, n.id";
    LEADER = "SELECT node_id FROM leader WHERE one = 1";
    FORGET = "DELETE FROM nodes WHERE lease_until < $1";
}

fn node(row: &Row) -> Result<NodeRow, StoreError> {
    Ok(NodeRow {
        id: row.parsed("id", |id| NodeId::parse(id).ok())?,
        name: row.text("name")?,
        version: row.text("version")?,
        started_at: row.time("started_at")?,
        lease_until: row.time("lease_until")?,
        applied: row.int("applied")?,
        uncertainty: row.int("uncertainty")?,
        released_at: row.opt_time("released_at")?,
        leads: row.flag("leads")?,
    })
}

impl Tx {
    /// Returns the nodes, oldest first, also those that have stopped lately.
    pub async fn nodes(&mut self) -> Result<Vec<NodeRow>, StoreError> {
        self.rows(NODES, vec![]).await?.iter().map(node).collect()
    }

    /// Whether a node leads. In a transaction that changes something, it does until the end: whoever takes over changes
    /// nothing before.
    pub async fn leads(&mut self, id: &NodeId) -> Result<bool, StoreError> {
        Ok(self.one(LEADER, vec![]).await?.text("node_id")? == id.as_str())
    }

    /// Forgets nodes whose leases ended before `before`.
    pub async fn forget_nodes(&mut self, before: Timestamp) -> Result<u64, StoreError> {
        self.execute(FORGET, vec![before.into()]).await
    }
}
