//! Processes that record evidence, and up to when each has stored it.

use crate::{EvidenceGap, StoreError, Tx, catalogue::statements, db::Row};
use crossfade_core::{NodeId, Timestamp, api::GapKind};

/// A process that records evidence, or has recorded it last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorder {
    /// The process; `None` for one of a version in which processes had no ID.
    pub node: Option<NodeId>,
    /// Everything that it saw before this time is stored.
    pub recorded_until: Timestamp,
    /// Whether it goes on recording, as far as is known. Otherwise it stopped in order.
    pub is_recording: bool,
    /// Until when it may decide; `None` if it has no lease, or its lease is not known any more.
    pub lease_until: Option<Timestamp>,
    /// When another process last asked it to store what it has.
    pub asked_at: Timestamp,
}

impl Recorder {
    /// Returns the period of which others do not know what this process saw; `None` if it has stored what it was asked for.
    fn silence(&self) -> Option<EvidenceGap> {
        let (began_at, ended_at) = (self.recorded_until, self.asked_at);
        let is_silent = self.is_recording && began_at < ended_at;
        is_silent.then_some(EvidenceGap { began_at, ended_at, kind: GapKind::Unknown })
    }
}

statements! {
    RECORDED = "INSERT INTO evidence_recorders (node_id, recorded_until, recording, asked_at) VALUES ($1, $2, $3, 0)
                ON CONFLICT (node_id) DO UPDATE SET recorded_until = excluded.recorded_until, recording = excluded.recording";
    RECORDERS = "SELECT r.node_id, r.recorded_until, r.recording, r.asked_at, n.lease_until
                 FROM evidence_recorders r LEFT JOIN nodes n ON n.id = r.node_id AND n.released_at IS NULL
                 ORDER BY r.recorded_until, r.node_id";
    FORGET = "DELETE FROM evidence_recorders WHERE node_id = $1";
}

fn recorder(row: &Row) -> Result<Recorder, StoreError> {
    let node = match row.text("node_id")?.is_empty() {
        true => None,
        false => Some(row.parsed("node_id", |id| NodeId::parse(id).ok())?),
    };
    Ok(Recorder {
        node,
        recorded_until: row.time("recorded_until")?,
        is_recording: row.flag("recording")?,
        lease_until: row.opt_time("lease_until")?,
        asked_at: row.time("asked_at")?,
    })
}

fn id(node: Option<&NodeId>) -> String {
    node.map_or_else(String::new, ToString::to_string)
}

impl Tx {
    /// Records that all evidence of a process up to a time is stored, and whether it goes on recording.
    pub async fn evidence_recorded(
        &mut self,
        node: &NodeId,
        until: Timestamp,
        is_recording: bool,
    ) -> Result<(), StoreError> {
        let args = vec![node.as_str().into(), until.into(), is_recording.into()];
        self.execute(RECORDED, args).await.map(drop)
    }

    /// Returns the processes that record evidence, and the last one that stopped in order, the one that is furthest behind
    /// first.
    pub async fn recorders(&mut self) -> Result<Vec<Recorder>, StoreError> {
        self.rows(RECORDERS, vec![]).await?.iter().map(recorder).collect()
    }

    /// Returns the periods of which this process does not know what others saw, the latest first.
    pub(crate) async fn silences(&mut self) -> Result<Vec<EvidenceGap>, StoreError> {
        let own = self.node.clone();
        let others = self.recorders().await?.into_iter().rev();
        let others = others.filter(|it| it.node.as_ref().is_none_or(|node| node.as_str() != own));
        Ok(others.filter_map(|it| it.silence()).collect())
    }

    /// Forgets a process that records no more.
    pub async fn forget_recorder(&mut self, node: Option<&NodeId>) -> Result<(), StoreError> {
        self.execute(FORGET, vec![id(node).into()]).await.map(drop)
    }
}
