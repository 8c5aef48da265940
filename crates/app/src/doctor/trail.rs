//! Check of the end of the audit trail against what was signed about it.

use super::Check;
use crate::keys::{audit_key::AuditKey, seal::Vault};
use crossfade_core::audit::statement::SignedStatement;
use crossfade_store::{StoreError, Tx};
use std::collections::BTreeSet;

const NAME: &str = "audit_chain";
const MEND: &str = "Run crossfade audit verify, which names the first altered event. Compare with an export or a shipped \
    copy. Then restart the server, which signs the trail as it is.";

/// Checks that the events after the last signed one lead from its hash to the end.
pub(super) async fn audit_chain(tx: &mut Tx, vault: &Vault) -> Result<Check, StoreError> {
    let end = tx.audit_chain_end().await?;
    let keys = match tx.instance().await? {
        Some(instance) => {
            let rows = tx.audit_keys().await?;
            let opened = rows.iter().filter_map(|row| AuditKey::open(vault, &instance, row).ok());
            opened.map(|key| key.id().to_owned()).collect()
        }
        None => BTreeSet::new(),
    };
    let statements = tx.audit_statements(i64::MAX).await?;
    let opened = statements.iter().filter_map(SignedStatement::open);
    let newest = opened.rev().find(|statement| keys.contains(&statement.key));
    let (Some(signed), Some(hash)) = (newest, end.hash) else {
        return Ok(Check::ok(NAME, "Nothing was signed about the audit trail yet."));
    };
    let seq = signed.seq;
    if seq > end.seq {
        let sentence = format!("The audit trail ends with event {}, but event {seq} was signed.", end.seq);
        return Ok(Check::fail(NAME, sentence, MEND));
    }
    Ok(match tx.audit_hash_after((seq, signed.hash), end.seq).await? == hash {
        true => {
            Check::ok(NAME, format!("The audit trail continues event {seq}, the last one that was signed."))
        }
        false => {
            let sentence = format!(
                "The audit trail was written again: it does not continue event {seq}, which was signed."
            );
            Check::fail(NAME, sentence, MEND)
        }
    })
}
