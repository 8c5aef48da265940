//! Digests of values for secrets of earlier versions, whose values are stored. Others get theirs when they are used.

use crate::{
    app::App,
    error::Error,
    keys::{place::SealPlace, roll_over::verifier_keys_policy},
};
use crossfade_core::SecretId;
use crossfade_store::{ChangeKind, SealedSecret, ValueDigest};
use std::sync::PoisonError;

/// Number of values in one transaction, which every change waits for.
const VALUES_AT_ONCE: i64 = 100;
/// Maximum number of transactions in one run of the job.
const MAX_PAGES: usize = 100;

impl App {
    /// Stores missing digests of stored values. Looks at each value once until the keys change.
    pub(crate) async fn digest_stored_values(&self) -> Result<(), Error> {
        for _ in 0..MAX_PAGES {
            let after = self.values_digested.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let read = self.db.read::<_, Error>(async |tx| {
                Ok(tx.stored_values_without_digest(after.as_ref(), VALUES_AT_ONCE).await?)
            });
            let page = read.await?;
            let Some(last) = page.last().map(|row| row.id.clone()) else { return Ok(()) };
            let digests: Vec<ValueDigest> =
                page.iter().filter_map(|row| self.digest_of_stored(row)).collect();
            if !digests.is_empty() {
                self.store_value_digests(&digests).await?;
            }
            self.go_on_after(Some(last));
        }
        Ok(())
    }

    /// Looks at every stored value again, because digests may have been removed with their key.
    pub(crate) fn digest_values_again(&self) {
        self.go_on_after(None);
    }

    fn go_on_after(&self, last: Option<SecretId>) {
        *self.values_digested.lock().unwrap_or_else(PoisonError::into_inner) = last;
    }

    async fn store_value_digests(&self, digests: &[ValueDigest]) -> Result<(), Error> {
        let _turn = self.node.background_turn().await;
        self.change_as(verifier_keys_policy(), async |act| {
            let changed = act.tx.set_value_digests(digests).await?;
            let changed: Vec<ChangeKind> = changed.into_iter().map(ChangeKind::Registration).collect();
            Ok(act.tx.append_widening(&changed).await?)
        })
        .await
    }

    /// Returns the digest of a stored value; `None` if the value does not open, which doctor reports.
    fn digest_of_stored(&self, row: &SealedSecret) -> Option<ValueDigest> {
        let place = SealPlace::Secret { registration: &row.registration_id, secret: &row.id };
        let value = self.vault.open(&place, &row.sealed).ok()?;
        let digest = self.authority.value_digest(std::str::from_utf8(&value).ok()?)?;
        let key = self.authority.verifier_keys().pop()?;
        Some(ValueDigest { secret: row.id.clone(), key, digest: digest.to_vec() })
    }
}
