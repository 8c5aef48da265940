//! Nodes, and how a change came into force on them.

use crate::{NodeId, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A serving process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Node {
    /// Identifies the process; new at each start.
    pub id: NodeId,
    /// Name for people, by default that of the host.
    pub name: String,
    /// Version of the program.
    pub version: String,
    /// When the process started.
    pub started_at: Timestamp,
    /// Until when it can decide without hearing from the database again; `null` on SQLite, where only one process can.
    pub lease_until: Option<Timestamp>,
    /// Last change that its tables are known to have applied.
    pub applied: i64,
    /// How far its time can be from that of the database, in milliseconds; 0 on SQLite.
    pub uncertainty_ms: f64,
    /// Whether it runs the jobs and sends the messages. One node does, and another takes over when its lease has ended.
    pub leads: bool,
}

/// Since when a change is in force on every node, and how that is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Enforced {
    /// A request that begins later is decided by the change, on every node.
    pub at: Timestamp,
    /// Every node that could decide when the change was stored.
    pub nodes: Vec<EnforcedNode>,
}

/// A node on which a change is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EnforcedNode {
    /// The node.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// How it is known that the node no longer decides by what was before.
    pub known_by: KnownBy,
}

/// How it is known that a node no longer decides by what was before a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KnownBy {
    /// The node has applied the change.
    Acknowledged,
    /// The node gave up its lease, as a node that stops does.
    Released,
    /// The node's lease ended. It decides again only after it has applied the change.
    LeaseEnded,
}
