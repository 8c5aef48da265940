//! Whether a change is in force on every node (rule 23). A change ends on other nodes what it ends here as soon as each of
//! them has applied it, has given up its lease, or has no lease any more.

use crate::{
    error::Error,
    node::{state::Node, transaction::unconfirmed},
};
use crossfade_core::{
    NodeId, Timestamp,
    api::{Enforced, EnforcedNode, KnownBy},
};
use crossfade_store::{NodeRow, Purpose};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, timeout};

/// How long it takes to look again if no node says anything, at first and later.
const LOOKED_SOON: Duration = Duration::from_millis(20);
const LOOKED_EVERY: Duration = Duration::from_millis(200);
/// Number of looks in quick succession.
const QUICK_LOOKS: u32 = 10;
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

/// The nodes as they were read.
#[derive(Clone)]
pub(crate) struct LookedAtNodes {
    /// Before and after they were read.
    began: Instant,
    seen: Instant,
    rows: Arc<[NodeRow]>,
    /// By the database's clock.
    at: Timestamp,
}

/// Changes that wait for other nodes.
#[derive(Default)]
pub(crate) struct Pending(Mutex<Vec<(i64, Others)>>);

impl Pending {
    fn all(&self) -> MutexGuard<'_, Vec<(i64, Others)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A change that waits, until it is dropped.
struct Waiting<'a> {
    pending: &'a Pending,
    seq: i64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut all = self.pending.all();
        if let Some(at) = all.iter().position(|(seq, _)| *seq == self.seq) {
            all.swap_remove(at);
        }
    }
}

impl Node {
    /// Waits until every change that this node's tables have is in force on every node, before a reply says that something
    /// ended earlier.
    pub(crate) async fn confirm_enforced(&self) -> Result<(), Error> {
        let latest = self.pending.all().iter().copied().max_by_key(|(seq, _)| *seq);
        if let Some((seq, others)) = latest {
            self.await_others(seq, others).await?;
        }
        if !self.leading.is_beside_others() {
            return Ok(());
        }
        // A change of another node, which waits there for a third one.
        let (applied, found) = (self.feed.applied(), self.look_at_nodes(Instant::now()).await?);
        let others = found.rows.iter().filter(|row| row.id != self.own.id && row.may_decide(found.at));
        match others.filter(|row| row.applied < applied).map(|row| row.lease_until).max() {
            Some(until) => self.await_others(applied, Others { at: found.at, until }).await.map(drop),
            None => Ok(()),
        }
    }

    /// Waits before the next answers for leases that the database does not know, because it is another one than before: after
    /// a failover it may lack the last ones that were granted.
    pub(crate) fn await_leases_of_before(&self) {
        let until = Instant::now() + self.own.options.lease;
        *self.unknown_leases_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }

    /// Returns the nodes as they were at `wanted` or later. Those who look at the same time share one look.
    async fn look_at_nodes(&self, wanted: Instant) -> Result<LookedAtNodes, Error> {
        let mut last = self.look.lock().await;
        if let Some(last) = last.as_ref().filter(|last| last.began >= wanted) {
            return Ok(last.clone());
        }
        let began = Instant::now();
        let (rows, at) = self
            .db
            .read_for::<_, Error>(Purpose::Feed, async |tx| {
                Ok((tx.nodes().await?, tx.clock().await?.unwrap_or(self.clock.now())))
            })
            .await?;
        Ok(last.insert(LookedAtNodes { began, seen: Instant::now(), rows: rows.into(), at }).clone())
    }

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
        let unknown = *self.unknown_leases_until.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(until) = unknown.filter(|until| Instant::now() < *until) {
            tokio::time::sleep_until(until).await;
        }
        if let Some(others) = others {
            let _waiting = Waiting { pending: &self.pending, seq };
            self.pending.all().push((seq, others));
            nodes.extend(self.await_others(seq, others).await?);
        }
        Ok(Enforced { at: self.clock.now(), nodes })
    }

    /// Waits for the other nodes: for each until it has applied the change, has given up its lease, or its lease has ended.
    /// A node that does not apply the change is granted no longer lease. What is left of a lease is measured here, so that
    /// none is taken for ended because the database's clock is set forward meanwhile.
    async fn await_others(&self, seq: i64, others: Others) -> Result<Vec<EnforcedNode>, Error> {
        let waits_until = Instant::now() + others.until.since(others.at);
        let mut found: Option<BTreeMap<NodeId, (NodeRow, Instant)>> = None;
        let mut looks = 0;
        loop {
            // Before the look: what a node says after it must not be missed.
            let said = self.said.notified();
            tokio::pin!(said);
            said.as_mut().enable();
            match self.look_at_nodes(Instant::now()).await {
                Ok(LookedAtNodes { seen: now, rows, at, .. }) => {
                    let is_meant = |row: &NodeRow| {
                        row.id != self.own.id
                            && others.at < row.lease_until
                            && row.released_at.is_none_or(|released| others.at <= released)
                    };
                    let known = found.get_or_insert_with(BTreeMap::new);
                    for row in rows.iter().filter(|row| is_meant(row)).cloned() {
                        // A longer lease counts until the node has applied the change.
                        let before =
                            known.get(&row.id).filter(|(before, _)| before.lease_until == row.lease_until);
                        let ends_at =
                            before.map_or_else(|| now + row.lease_until.since(at), |(_, ends_at)| *ends_at);
                        known.insert(row.id.clone(), (row, ends_at));
                    }
                    let done: Option<Vec<_>> = known
                        .values()
                        .map(|(row, has_ended_at)| known_by(row, seq, *has_ended_at <= now))
                        .collect();
                    if let Some(done) = done {
                        return Ok(done);
                    }
                }
                Err(error) if waits_until <= Instant::now() => return Err(unconfirmed(error)),
                Err(error) => {
                    tracing::warn!(%error, "cannot read what other nodes have applied");
                    tokio::time::sleep(TRIED_EVERY).await;
                    continue;
                }
            }
            looks += 1;
            let pause = if looks < QUICK_LOOKS { LOOKED_SOON } else { LOOKED_EVERY };
            let _ = timeout(pause, said).await;
        }
    }
}

/// Returns how it is known that a node no longer decides by what was before change `seq`; `None` if it may.
fn known_by(row: &NodeRow, seq: i64, has_ended: bool) -> Option<EnforcedNode> {
    let known_by = match row {
        _ if row.applied >= seq => KnownBy::Acknowledged,
        NodeRow { released_at: Some(_), .. } => KnownBy::Released,
        _ if has_ended => KnownBy::LeaseEnded,
        _ => return None,
    };
    Some(EnforcedNode { id: row.id.clone(), name: row.name.clone(), known_by })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossfade_core::base62;

    fn row(applied: i64, released_at: Option<i64>) -> NodeRow {
        let at = Timestamp::from_seconds;
        NodeRow {
            id: NodeId::parse(&format!("node_{}", base62::encode_fixed(&[7; 16], 22))).unwrap(),
            name: "east".to_owned(),
            version: "1".to_owned(),
            started_at: at(0),
            lease_until: at(100),
            applied,
            uncertainty: 0,
            released_at: released_at.map(at),
            leads: false,
        }
    }

    #[test]
    fn rule_23_a_node_is_waited_for_until_it_has_applied_released_or_lost_its_lease() {
        let known = |row: NodeRow, has_ended| known_by(&row, 10, has_ended).map(|it| it.known_by);
        assert_eq!(known(row(9, None), false), None);
        assert_eq!(known(row(10, None), false), Some(KnownBy::Acknowledged));
        assert_eq!(known(row(9, Some(40)), false), Some(KnownBy::Released));
        assert_eq!(known(row(9, None), true), Some(KnownBy::LeaseEnded));
        assert_eq!(known(row(12, Some(40)), true), Some(KnownBy::Acknowledged), "what says most");
    }
}
