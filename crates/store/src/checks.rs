//! Checks of the complete database, by `doctor` and after a restore.

use crate::{SealedSecret, StoreError, Tx, carry_over::sealed_secret, catalogue::statements};
use crossfade_core::Timestamp;

/// Number of valid secrets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ValidSecrets {
    /// Current secrets.
    pub current: i64,
    /// Retiring secrets.
    pub retiring: i64,
}

/// Numbering of the audit trail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trail {
    /// Number of events.
    pub events: i64,
    /// Number of the first event.
    pub first: i64,
    /// Number of the last event.
    pub last: i64,
    /// Last number that was given out.
    pub given: i64,
}

/// A remembered response whose values are still stored.
#[derive(Clone, Debug)]
pub struct SealedAnswer {
    /// Actor of the request.
    pub actor: String,
    /// Idempotency key of the request.
    pub key: String,
    /// The values, sealed.
    pub sealed: Vec<u8>,
}

statements! {
    SEALED_SECRETS = "SELECT id, registration_id, sealed FROM secrets WHERE sealed IS NOT NULL";
    SEALED_ANSWERS = "SELECT actor, key, sealed FROM idempotency WHERE sealed IS NOT NULL";
    WITHOUT_KEY = "SELECT CAST(COUNT(*) AS BIGINT) AS number FROM secrets
                   WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)
                     AND NOT EXISTS (SELECT 1 FROM data_keys k WHERE k.id = digest_key AND k.purpose = $1)";
    OVERDUE = "SELECT CAST(COUNT(*) AS BIGINT) AS number FROM secrets s
               JOIN registrations r ON r.id = s.registration_id
               JOIN clients c ON c.id = r.client_id
               JOIN (VALUES {rows:2}) AS v ON v.column1 = r.environment
               WHERE s.expires_at IS NULL AND s.revoked_at IS NULL AND c.deleted_at IS NULL AND r.disabled_at IS NULL
                 AND s.created_at <= CAST(v.column2 AS BIGINT)";
    VALID = "SELECT CAST(COALESCE(SUM(CASE WHEN s.expires_at IS NULL THEN 1 ELSE 0 END), 0) AS BIGINT) AS current_secrets,
                    CAST(COALESCE(SUM(CASE WHEN s.expires_at > $1 THEN 1 ELSE 0 END), 0) AS BIGINT) AS retiring_secrets
             FROM secrets s WHERE s.revoked_at IS NULL";
    TRAIL = "SELECT CAST(COUNT(*) AS BIGINT) AS events, CAST(COALESCE(MIN(seq), 1) AS BIGINT) AS first_seq,
                    CAST(COALESCE(MAX(seq), 0) AS BIGINT) AS last_seq FROM audit_events";
    GIVEN = "SELECT audit_seq FROM head";
}

impl Tx {
    /// Passes on every stored value of a secret, sealed.
    pub async fn each_sealed_secret<E: From<StoreError>>(
        &mut self,
        mut work: impl FnMut(SealedSecret) -> Result<(), E>,
    ) -> Result<u64, E> {
        self.each(SEALED_SECRETS, vec![], |row| work(sealed_secret(row)?)).await
    }

    /// Passes on every remembered response whose values are still stored.
    pub async fn each_sealed_answer<E: From<StoreError>>(
        &mut self,
        mut work: impl FnMut(SealedAnswer) -> Result<(), E>,
    ) -> Result<u64, E> {
        self.each(SEALED_ANSWERS, vec![], |row| {
            work(SealedAnswer {
                actor: row.text("actor")?,
                key: row.text("key")?,
                sealed: row.blob("sealed")?,
            })
        })
        .await
    }

    /// Returns the number of valid secrets that cannot be verified because their hash key is not among the data keys with
    /// this purpose.
    pub async fn secrets_without_key(&mut self, purpose: &str, now: Timestamp) -> Result<i64, StoreError> {
        self.one(WITHOUT_KEY, vec![purpose.into(), now.into()]).await?.int("number")
    }

    /// Returns the number of current secrets that are older at `now` than their environment allows.
    pub async fn overdue_secrets(&mut self, now: Timestamp) -> Result<i64, StoreError> {
        let bounds = self.overdue_bounds(Some(now)).await?;
        let rows = self.look_up(OVERDUE, &bounds.rows).await?;
        rows.iter().try_fold(0, |sum, row| Ok(sum + row.int("number")?))
    }

    /// Returns the numbers of current and retiring secrets at `now`.
    pub async fn valid_secrets(&mut self, now: Timestamp) -> Result<ValidSecrets, StoreError> {
        let row = self.one(VALID, vec![now.into()]).await?;
        Ok(ValidSecrets { current: row.int("current_secrets")?, retiring: row.int("retiring_secrets")? })
    }

    /// Reads the numbering of the audit trail.
    pub async fn trail(&mut self) -> Result<Trail, StoreError> {
        let given = self.one(GIVEN, vec![]).await?.int("audit_seq")?;
        let row = self.one(TRAIL, vec![]).await?;
        Ok(Trail {
            events: row.int("events")?,
            first: row.int("first_seq")?,
            last: row.int("last_seq")?,
            given,
        })
    }
}
