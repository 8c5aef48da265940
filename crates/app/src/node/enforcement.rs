//! Whether a change is in force on every node (rule 23). A change ends on other nodes what it ends here as soon as each of
//! them has applied it, has given up its lease, or has no lease any more.

use crate::{error::Error, node::state::Node};
use crossfade_core::{
    Code, NodeId, Problem, Timestamp,
    api::{Enforced, EnforcedNode, KnownBy},
};
use crossfade_store::{NodeRow, Purpose};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::timeout;

/// How long it takes to look again if no node says anything.
const LOOKED_EVERY: Duration = Duration::from_millis(20);
/// Pause after the database did not answer.
const TRIED_EVERY: Duration = Duration::from_millis(200);

/// Other nodes that may decide, as a change found them under its lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Others {
    /// Time of the change.
    pub(crate) at: Timestamp,
    /// Until when at least one of them may decide.
    pub(crate) until: Timestamp,
}

impl Node {
    /// Waits until change `seq` is in force on every node. Without `others`, this node's tables are all there is.
    pub(crate) async fn enforced_everywhere(
        &self,
        seq: i64,
        others: Option<Others>,
    ) -> Result<Enforced, Error> {
        let mut nodes = vec![EnforcedNode {
            id: self.own.id.clone(),
            name: self.own.options.name.clone(),
            known_by: KnownBy::Acknowledged,
        }];
        if !self.decides {
            nodes.clear();
        }
        if let Some(others) = others {
            nodes.extend(self.await_others(seq, others).await?);
        }
        Ok(Enforced { at: self.clock.now(), nodes })
    }

    /// Waits for the other nodes: for each until it has applied the change, has given up its lease, or its lease has
    /// ended, and for all of them at most until the last of the leases that the change found has ended.
    async fn await_others(&self, seq: i64, others: Others) -> Result<Vec<EnforcedNode>, Error> {
        let mut found: Option<BTreeMap<NodeId, NodeRow>> = None;
        loop {
            // Before the look: what a node says after it must not be missed.
            let said = self.said.notified();
            tokio::pin!(said);
            said.as_mut().enable();
            let read = self.db.read_for::<_, Error>(Purpose::Feed, async |tx| {
                // In this order, so that no lease counts as ended too early.
                Ok((tx.nodes().await?, tx.clock().await?))
            });
            match read.await {
                Ok((rows, now)) => {
                    let now = now.unwrap_or(others.at);
                    let is_meant = |row: &NodeRow| {
                        row.id != self.own.id
                            && others.at < row.lease_until
                            && row.released_at.is_none_or(|released| others.at <= released)
                    };
                    let known = found.get_or_insert_with(BTreeMap::new);
                    for row in rows.into_iter().filter(is_meant) {
                        // The first lease counts: a later one is used only with this change.
                        let lease_until =
                            known.get(&row.id).map_or(row.lease_until, |before| before.lease_until);
                        known.insert(row.id.clone(), NodeRow { lease_until, ..row });
                    }
                    let done: Option<Vec<_>> = known.values().map(|row| known_by(row, seq, now)).collect();
                    if let Some(done) = done {
                        return Ok(done);
                    }
                }
                // This time is never ahead of the database's.
                Err(error) if others.until < self.clock.machine() => return Err(unknown(error)),
                Err(error) => {
                    tracing::warn!(%error, "cannot read what other nodes have applied");
                    tokio::time::sleep(TRIED_EVERY).await;
                    continue;
                }
            }
            let _ = timeout(LOOKED_EVERY, said).await;
        }
    }
}

/// Returns how it is known that a node no longer decides by what was before change `seq`; `None` if it may.
fn known_by(row: &NodeRow, seq: i64, now: Timestamp) -> Option<EnforcedNode> {
    let known_by = match row {
        _ if row.applied >= seq => KnownBy::Acknowledged,
        NodeRow { released_at: Some(_), .. } => KnownBy::Released,
        _ if row.lease_until <= now => KnownBy::LeaseEnded,
        _ => return None,
    };
    Some(EnforcedNode { id: row.id.clone(), name: row.name.clone(), known_by })
}

/// Returns the error of a change that is in force everywhere, because every lease has ended, when it is not known on which
/// nodes.
fn unknown(error: Error) -> Error {
    let text = "The change was stored, and every other node that could decide by what was before has lost its lease since. \
        Which nodes there are is unknown, because the database does not answer. Read the current state before you retry.";
    Error {
        problem: Problem::new(Code::OutcomeUnknown, text),
        source: Some(Box::new(error)),
        hidden: false,
        fault: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossfade_core::base62;

    fn row(applied: i64, lease_until: i64, released_at: Option<i64>) -> NodeRow {
        let at = Timestamp::from_seconds;
        NodeRow {
            id: NodeId::parse(&format!("node_{}", base62::encode_fixed(&[7; 16], 22))).unwrap(),
            name: "east".to_owned(),
            version: "1".to_owned(),
            started_at: at(0),
            lease_until: at(lease_until),
            applied,
            uncertainty: 0,
            released_at: released_at.map(at),
        }
    }

    #[test]
    fn rule_23_a_node_is_waited_for_until_it_has_applied_released_or_lost_its_lease() {
        let known =
            |row: NodeRow, now| known_by(&row, 10, Timestamp::from_seconds(now)).map(|it| it.known_by);
        assert_eq!(known(row(9, 100, None), 50), None);
        assert_eq!(known(row(10, 100, None), 50), Some(KnownBy::Acknowledged));
        assert_eq!(known(row(9, 100, Some(40)), 50), Some(KnownBy::Released));
        assert_eq!(known(row(9, 100, None), 99), None, "until its very end");
        assert_eq!(known(row(9, 100, None), 100), Some(KnownBy::LeaseEnded));
        assert_eq!(known(row(12, 100, Some(40)), 200), Some(KnownBy::Acknowledged), "what says most");
    }
}
