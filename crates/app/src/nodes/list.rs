//! Lists the nodes.

use crate::{
    app::App,
    error::Error,
    frame::{principal::Principal, targets::Platform},
    node::lease::millis,
};
use crossfade_core::{Operation, api};
use crossfade_store::NodeRow;
use std::time::Duration;

impl App {
    /// Returns the nodes, oldest first: those that may decide, and those that have lost their lease within a day and did
    /// not give it up. On SQLite, only this process.
    pub async fn list_nodes(&self, principal: &Principal) -> Result<Vec<api::Node>, Error> {
        let found =
            self.view(Operation::ListNodes, principal, Platform, async |tx, _, ()| Ok(tx.nodes().await?));
        let found = found.await?;
        if !self.db.has_own_clock() {
            return Ok(vec![self.node.own_node()]);
        }
        Ok(found.into_iter().filter(|row| row.released_at.is_none()).map(shown).collect())
    }
}

fn shown(row: NodeRow) -> api::Node {
    let uncertainty = Duration::from_micros(u64::try_from(row.uncertainty).unwrap_or(0));
    api::Node {
        id: row.id,
        name: row.name,
        version: row.version,
        started_at: row.started_at,
        lease_until: Some(row.lease_until),
        applied: row.applied,
        uncertainty_ms: millis(uncertainty),
        leads: row.leads,
    }
}
