//! Signs where the trail begins, how far it has reached, where it was cut off, and where a restored backup forked it.

use crate::{
    app::App,
    error::Error,
    frame::principal::Principal,
    keys::{audit_key::AuditKey, seal::Vault},
    node::chain_end::Marked,
    trail::events::Trail,
};
use crossfade_authority::Clock;
use crossfade_core::{
    Operation, Timestamp,
    audit::{
        chain::ChainHash,
        statement::{SignedStatement, Statement, StatementKind},
    },
};
use crossfade_store::{ChainEnd, Db, Tx};
use std::time::Duration;

/// Number of events after which a checkpoint is signed.
const EVENTS_UNSIGNED: i64 = 1000;
/// How long events wait for a checkpoint.
const UNSIGNED_FOR: Duration = Duration::from_secs(3600);

/// Opens the key that signs statements. In a database without one, creates it and begins the chain.
pub(crate) async fn open_chain(db: &Db, vault: &Vault, clock: &Clock) -> Result<AuditKey, Error> {
    let found = async |tx: &mut Tx| match tx.audit_chain_end().await?.signed {
        Some(_) => newest_key(tx, vault).await,
        None => Ok(None),
    };
    match db.read::<_, Error>(found).await? {
        Some(key) => Ok(key),
        None => {
            let begun = async |tx: &mut Tx| {
                clock.raise(tx.highest_time());
                let now = clock.now();
                tx.stamp(now);
                begin(tx, vault, now).await
            };
            Ok(db.write::<_, Error>(begun).await?.0)
        }
    }
}

/// Begins the chain and signs where it begins, unless that was done. Returns the key.
pub(crate) async fn begin(tx: &mut Tx, vault: &Vault, now: Timestamp) -> Result<AuditKey, Error> {
    let key = match newest_key(tx, vault).await? {
        Some(key) => key,
        None => {
            tx.insert_audit_key(&AuditKey::generate(vault)?, now).await?;
            newest_key(tx, vault).await?.ok_or_else(|| Error::internal("the database has no audit key"))?
        }
    };
    if tx.audit_chain_end().await?.signed.is_none() {
        let ((first, last), hash) = tx.begin_audit_chain().await?;
        let start =
            Statement { first_seq: Some(first), ..Statement::new(StatementKind::Start, (last, hash), now) };
        store(tx, &key, start).await?;
    }
    Ok(key)
}

async fn newest_key(tx: &mut Tx, vault: &Vault) -> Result<Option<AuditKey>, Error> {
    let keys = tx.audit_keys().await?;
    match (keys.last(), tx.instance().await?) {
        (Some(row), Some(instance)) => AuditKey::open(vault, &instance, row).map(Some),
        _ => Ok(None),
    }
}

/// Signs and stores a statement.
pub(crate) async fn store(tx: &mut Tx, key: &AuditKey, statement: Statement) -> Result<(), Error> {
    let place = (statement.seq, statement.kind, statement.at);
    Ok(tx.insert_audit_statement(place, &key.sign(statement)?).await?)
}

/// Signs that the history up to the last event of a restored backup goes on differently.
pub(crate) async fn fork(
    tx: &mut Tx,
    vault: &Vault,
    backup_created_at: Timestamp,
    now: Timestamp,
) -> Result<(), Error> {
    let key = begin(tx, vault, now).await?;
    let end = tx.audit_chain().ok_or_else(|| Error::internal("the trail has no chain"))?;
    let fork = Statement {
        backup_created_at: Some(backup_created_at),
        ..Statement::new(StatementKind::Restore, end, now)
    };
    store(tx, &key, fork).await
}

impl App {
    /// Signs how far the trail has reached, if many events are not signed yet or some have waited for long, or if
    /// `is_last` and any is not.
    pub(crate) async fn sign_checkpoint(&self, is_last: bool) -> Result<(), Error> {
        let end = self.node.read(async |tx| Ok(tx.audit_chain_end().await?)).await?;
        if !is_due(&end, self.clock.now(), is_last) {
            return Ok(());
        }
        if self.node.chain_end.altered_after().is_some() {
            return Ok(());
        }
        let known = self.node.chain_end.marked();
        let signed = self.node.transact(async |tx, now| match tx.audit_chain() {
            Some(end) => {
                self.node.check_chain(tx, known).await?;
                store(tx, &self.audit_key, Statement::new(StatementKind::Checkpoint, end, now)).await
            }
            None => Ok(()),
        });
        signed.await
    }

    /// Signs that the trail begins after `up_to`, and deletes the statements about earlier events.
    pub(crate) async fn sign_trim(
        &self,
        tx: &mut Tx,
        known: Marked,
        up_to: i64,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.node.check_chain(tx, known).await?;
        let statements = tx.audit_milestones(up_to).await?;
        let mut trims =
            statements.iter().filter_map(SignedStatement::open).filter(|it| it.kind == StatementKind::Trim);
        let before = trims.next_back().map_or(ChainHash::START, |trim| trim.hash);
        let end = (up_to, tx.audit_event_hash(up_to, before).await?);
        store(tx, &self.audit_key, Statement::new(StatementKind::Trim, end, now)).await?;
        Ok(tx.delete_audit_statements(up_to).await?)
    }

    /// Returns a statement about the last event, signed now, for a principal who can audit anything. It is not stored.
    pub async fn read_audit_checkpoint(&self, principal: &Principal) -> Result<SignedStatement, Error> {
        let operation = Operation::ReadAuditCheckpoint;
        let known = self.node.chain_end.marked();
        let end = self
            .view(operation, principal, Trail, async |tx, _, ()| {
                self.node.check_chain(tx, known).await?;
                Ok(tx.audit_chain_end().await?)
            })
            .await?;
        let end = (end.seq, end.hash.unwrap_or(ChainHash::START));
        self.audit_key.sign(Statement::new(StatementKind::Checkpoint, end, self.clock.now()))
    }
}

fn is_due(end: &ChainEnd, now: Timestamp, is_last: bool) -> bool {
    let (seq, at) = end.signed.unwrap_or((0, Timestamp::from_micros(0)));
    let unsigned = end.seq - seq;
    unsigned >= EVENTS_UNSIGNED || (unsigned > 0 && (is_last || now.since(at) >= UNSIGNED_FOR))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_due_after_many_events_or_an_hour_or_at_the_end() {
        let at = Timestamp::from_seconds(1_795_525_500);
        let end = |seq| ChainEnd { seq, hash: None, signed: Some((10, at)) };
        let later = |seconds| at.after(Duration::from_secs(seconds));
        assert!(!is_due(&end(10), later(9999), true), "nothing is unsigned");
        assert!(!is_due(&end(1009), later(3599), false));
        assert!(is_due(&end(1010), later(0), false));
        assert!(is_due(&end(11), later(3600), false));
        assert!(is_due(&end(11), later(0), true));
    }
}
