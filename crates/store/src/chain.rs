//! The chain of the audit trail, and the signed statements about it.

use crate::{AuditEvent, AuditFilter, NewAuditEvent, StoreError, Tx, catalogue::statements};
use crossfade_core::{
    Timestamp, api,
    audit::{
        chain::ChainHash,
        statement::{SignedStatement, StatementKind},
    },
};

/// Number of events read at once where the chain is computed again.
const READ_AT_ONCE: i64 = 1000;

/// A key that signs statements about the trail.
#[derive(Clone, Debug)]
pub struct AuditKeyRow {
    /// ID: the thumbprint of its public key.
    pub id: String,
    /// The private key, sealed.
    pub sealed: Vec<u8>,
}

/// How far the trail has reached, and how far it is signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChainEnd {
    /// The last event; 0 if there is none.
    pub seq: i64,
    /// Its hash; `None` before the chain has begun.
    pub hash: Option<ChainHash>,
    /// The event of the latest statement, and when that was signed; `None` if there is no statement.
    pub signed: Option<(i64, Timestamp)>,
}

statements! {
    HEAD = "SELECT audit_seq, audit_hash FROM head WHERE one = 1";
    EVENT_HASH = "SELECT seq, hash FROM audit_events WHERE seq = $1";
    SIGNED = "SELECT seq, at FROM audit_statements ORDER BY seq DESC, at DESC LIMIT 1";
    ALL_SIGNED = "SELECT seq, signed FROM audit_statements WHERE seq <= $1 ORDER BY seq, at";
    MILESTONES = "SELECT seq, signed FROM audit_statements WHERE seq <= $1 AND kind <> 'checkpoint' ORDER BY seq, at";
    INSERT = "INSERT INTO audit_statements (seq, kind, at, signed) VALUES ($1, $2, $3, $4)
              ON CONFLICT (seq, kind) DO UPDATE SET at = excluded.at, signed = excluded.signed";
    DELETE = "DELETE FROM audit_statements WHERE seq < $1";
    POSITION = "SELECT sink, seq FROM audit_positions WHERE sink = $1";
    POSITIONS = "SELECT sink, seq FROM audit_positions ORDER BY sink";
    SET_POSITION = "INSERT INTO audit_positions (sink, seq, at) VALUES ($1, $2, $3)
                    ON CONFLICT (sink) DO UPDATE SET seq = excluded.seq, at = excluded.at";
    KEYS = "SELECT id, sealed FROM audit_keys ORDER BY created_at, id";
    INSERT_KEY = "INSERT INTO audit_keys (id, sealed, created_at) VALUES ($1, $2, $3)";
}

impl From<AuditEvent> for api::AuditEvent {
    fn from(row: AuditEvent) -> Self {
        exported(row.seq, row.event, row.chained)
    }
}

/// Returns an event as it is exported.
fn exported(seq: i64, event: NewAuditEvent, chained: Option<(ChainHash, ChainHash)>) -> api::AuditEvent {
    api::AuditEvent {
        seq,
        at: event.at,
        actor: event.actor,
        action: event.action.as_str().to_owned(),
        outcome: if event.done { "done" } else { "refused" }.to_owned(),
        client_id: event.client_id,
        environment: event.environment.map(|slug| slug.to_string()),
        target: event.target,
        source_ip: event.origin.stored,
        request_id: event.origin.request_id,
        via: event.via,
        reason: event.reason,
        details: event.details,
        previous_hash: chained.map(|(previous, _)| previous),
        hash: chained.map(|(_, own)| own),
    }
}

impl Tx {
    /// Returns the hash before an event that is appended now, and the hash of that event.
    pub(crate) async fn chain_event(
        &mut self,
        seq: i64,
        new: &NewAuditEvent,
    ) -> Result<(ChainHash, ChainHash), StoreError> {
        let previous = match self.audit_hash() {
            Some(hash) => hash,
            None => self.begin_audit_chain().await?.1,
        };
        let own = ChainHash::of(&exported(seq, new.clone(), None), previous);
        self.set_audit_hash(own);
        Ok((previous, own))
    }

    /// Begins the chain over the events that were recorded before there was one, if that was not done before. Returns the
    /// first and the last of these events, and the hash from which the chain goes on.
    pub async fn begin_audit_chain(&mut self) -> Result<((i64, i64), ChainHash), StoreError> {
        let last = self.last_audit_event().await?;
        let (first, hash) = self.fold_audit_events(0, last, ChainHash::START).await?;
        self.set_audit_hash(hash);
        Ok(((first, last), hash))
    }

    /// Returns how far the trail has reached, and how far it is signed.
    pub async fn audit_chain_end(&mut self) -> Result<ChainEnd, StoreError> {
        let head = self.one(HEAD, vec![]).await?;
        let hash = head.opt_blob("audit_hash")?.as_deref().and_then(ChainHash::from_bytes);
        let signed = self.optional(SIGNED, vec![]).await?;
        let signed = signed.map(|row| Ok::<_, StoreError>((row.int("seq")?, row.time("at")?))).transpose()?;
        Ok(ChainEnd { seq: head.int("audit_seq")?, hash, signed })
    }

    /// Returns the last event of this change, and its hash; `None` before the chain has begun.
    pub fn audit_chain(&self) -> Option<(i64, ChainHash)> {
        Some((self.last_audit(), self.audit_hash()?))
    }

    /// Returns the hash of an event. `before` is the hash before the first stored event, from which the hash of an event
    /// that was recorded before the chain is computed again.
    pub async fn audit_event_hash(&mut self, seq: i64, before: ChainHash) -> Result<ChainHash, StoreError> {
        let row = self.optional(EVENT_HASH, vec![seq.into()]).await?;
        let stored = row.map(|row| row.opt_blob("hash")).transpose()?.flatten();
        if let Some(hash) = stored.as_deref().and_then(ChainHash::from_bytes) {
            return Ok(hash);
        }
        Ok(self.fold_audit_events(0, seq, before).await?.1)
    }

    /// Returns the hash of the event `last`, computed from a known event, its hash, and the events after it.
    pub async fn audit_hash_after(
        &mut self,
        (seq, hash): (i64, ChainHash),
        last: i64,
    ) -> Result<ChainHash, StoreError> {
        Ok(self.fold_audit_events(seq, last, hash).await?.1)
    }

    /// Returns the first event after `after`, and the hash of the event `last`, computed from the events and the hash
    /// before the first.
    async fn fold_audit_events(
        &mut self,
        mut after: i64,
        last: i64,
        mut hash: ChainHash,
    ) -> Result<(i64, ChainHash), StoreError> {
        let mut first = None;
        loop {
            let page = self.export_audit_events(&AuditFilter::default(), after, last, READ_AT_ONCE).await?;
            let Some(end) = page.last().map(|event| event.seq) else { return Ok((first.unwrap_or(1), hash)) };
            first = first.or(page.first().map(|event| event.seq));
            after = end;
            hash = page.into_iter().fold(hash, |hash, event| ChainHash::of(&event.into(), hash));
        }
    }

    /// Stores a signed statement about an event.
    pub async fn insert_audit_statement(
        &mut self,
        (seq, kind, at): (i64, StatementKind, Timestamp),
        signed: &SignedStatement,
    ) -> Result<(), StoreError> {
        let text =
            serde_json::json!({"statement": signed.statement, "signature": signed.signature}).to_string();
        self.execute(INSERT, vec![seq.into(), kind.as_str().into(), at.into(), text.into()]).await.map(drop)
    }

    /// Returns the signed statements about events up to `up_to`, in the order of the events.
    pub async fn audit_statements(&mut self, up_to: i64) -> Result<Vec<SignedStatement>, StoreError> {
        self.read_statements(ALL_SIGNED, up_to).await
    }

    /// Returns the signed statements about events up to `up_to` that are no checkpoints.
    pub async fn audit_milestones(&mut self, up_to: i64) -> Result<Vec<SignedStatement>, StoreError> {
        self.read_statements(MILESTONES, up_to).await
    }

    async fn read_statements(
        &mut self,
        statement: crate::Statement,
        up_to: i64,
    ) -> Result<Vec<SignedStatement>, StoreError> {
        let rows = self.rows(statement, vec![up_to.into()]).await?;
        rows.iter().map(|row| row.parsed("signed", |text| serde_json::from_str(text).ok())).collect()
    }

    /// Deletes the statements about events before `before`.
    pub async fn delete_audit_statements(&mut self, before: i64) -> Result<(), StoreError> {
        self.execute(DELETE, vec![before.into()]).await.map(drop)
    }

    /// Returns the last event that was shipped to a destination; 0 if there is none.
    pub async fn audit_position(&mut self, sink: &str) -> Result<i64, StoreError> {
        let row = self.optional(POSITION, vec![sink.into()]).await?;
        row.map_or(Ok(0), |row| row.int("seq"))
    }

    /// Returns every destination and the last event that was shipped there.
    pub async fn audit_positions(&mut self) -> Result<Vec<(String, i64)>, StoreError> {
        let rows = self.rows(POSITIONS, vec![]).await?;
        rows.iter().map(|row| Ok((row.text("sink")?, row.int("seq")?))).collect()
    }

    /// Records the last event that was shipped to a destination.
    pub async fn set_audit_position(
        &mut self,
        sink: &str,
        seq: i64,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.execute(SET_POSITION, vec![sink.into(), seq.into(), now.into()]).await.map(drop)
    }

    /// Returns the keys that sign statements, oldest first.
    pub async fn audit_keys(&mut self) -> Result<Vec<AuditKeyRow>, StoreError> {
        let rows = self.rows(KEYS, vec![]).await?;
        rows.iter().map(|row| Ok(AuditKeyRow { id: row.text("id")?, sealed: row.blob("sealed")? })).collect()
    }

    /// Stores a new key that signs statements.
    pub async fn insert_audit_key(&mut self, key: &AuditKeyRow, now: Timestamp) -> Result<(), StoreError> {
        let args = vec![key.id.as_str().into(), key.sealed.as_slice().into(), now.into()];
        self.execute(INSERT_KEY, args).await.map(drop)
    }
}
