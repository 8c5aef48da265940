//! What keeps an incident open.

use crate::{StoreError, Tx, Value, catalogue::statements};
use crossfade_core::{DrillId, RegistrationId, SecretId, Timestamp};
use std::collections::HashMap;

statements! {
    NOTED = "SELECT cause FROM told WHERE subject IN ('incident', 'leak') ORDER BY cause";
    VALID = "SELECT s.id, s.expires_at FROM secrets s JOIN (VALUES {rows:1}) AS v ON s.id = v.column1
             JOIN registrations r ON r.id = s.registration_id JOIN clients c ON c.id = r.client_id
             WHERE c.deleted_at IS NULL AND s.revoked_at IS NULL AND (s.expires_at IS NULL OR s.expires_at > $1)";
    DRILLS = "SELECT d.id FROM drills d JOIN (VALUES {rows:1}) AS v ON d.id = v.column1
              JOIN registrations r ON r.id = d.registration_id JOIN clients c ON c.id = r.client_id
              WHERE c.deleted_at IS NULL AND d.ends_at > $1";
    DISABLED = "SELECT r.id FROM registrations r JOIN (VALUES {rows:1}) AS v ON r.id = v.column1 JOIN clients c ON c.id = r.client_id
                WHERE c.deleted_at IS NULL AND r.disabled_at IS NOT NULL";
    // The message itself counts, too, whether its callers are recorded or not. Its cause is that of `presented_at_cause`.
    PRESENTED = "SELECT r.id FROM registrations r JOIN (VALUES {rows:1}) AS v ON r.id = v.column1 JOIN clients c ON c.id = r.client_id
                WHERE c.deleted_at IS NULL AND r.disabled_at IS NULL AND (
                  EXISTS (SELECT 1 FROM secrets s JOIN refused_callers f ON f.secret_id = s.id WHERE s.registration_id = r.id AND f.drill_id = ''
                          AND f.last_at > $1 AND (s.revoked_at IS NOT NULL OR s.expires_at <= $2))
                  OR EXISTS (SELECT 1 FROM told t WHERE t.told_at > $1 AND t.cause LIKE 'presented_at ' || r.id || ' %'))";
}

impl Tx {
    /// Returns the causes of the incidents and leaks that are noted, in one statement.
    pub async fn noted_incidents(&mut self) -> Result<Vec<String>, StoreError> {
        self.rows(NOTED, vec![]).await?.iter().map(|row| row.text("cause")).collect()
    }

    /// Returns those of these secrets that are valid at `now` and whose client exists, with their deadlines, in one statement.
    pub async fn valid_of(
        &mut self,
        secrets: &[SecretId],
        now: Timestamp,
    ) -> Result<HashMap<SecretId, Option<Timestamp>>, StoreError> {
        if secrets.is_empty() {
            return Ok(HashMap::new());
        }
        let keys: Vec<Vec<Value>> = secrets.iter().map(|id| vec![id.as_str().into()]).collect();
        let rows = self.rows_with(VALID, vec![now.into()], &keys).await?;
        rows.iter()
            .map(|row| Ok((row.parsed("id", |id| SecretId::parse(id).ok())?, row.opt_time("expires_at")?)))
            .collect()
    }

    /// Returns those of these drills that end after `now` and whose client exists, in one statement.
    pub async fn running_of(
        &mut self,
        drills: &[DrillId],
        now: Timestamp,
    ) -> Result<Vec<DrillId>, StoreError> {
        if drills.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<Vec<Value>> = drills.iter().map(|id| vec![id.as_str().into()]).collect();
        let rows = self.rows_with(DRILLS, vec![now.into()], &keys).await?;
        rows.iter().map(|row| row.parsed("id", |id| DrillId::parse(id).ok())).collect()
    }

    /// Returns those of these registrations whose ended secrets were presented after `since`, and whose client exists, in one
    /// statement. A disabled one refuses everything, so it is left out.
    pub async fn presented_of(
        &mut self,
        registrations: &[RegistrationId],
        since: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<RegistrationId>, StoreError> {
        if registrations.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<Vec<Value>> = registrations.iter().map(|id| vec![id.as_str().into()]).collect();
        let rows = self.rows_with(PRESENTED, vec![since.into(), now.into()], &keys).await?;
        rows.iter().map(|row| row.parsed("id", |id| RegistrationId::parse(id).ok())).collect()
    }

    /// Returns those of these registrations that are disabled and whose client exists, in one statement.
    pub async fn disabled_of(
        &mut self,
        registrations: &[RegistrationId],
    ) -> Result<Vec<RegistrationId>, StoreError> {
        if registrations.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<Vec<Value>> = registrations.iter().map(|id| vec![id.as_str().into()]).collect();
        let rows = self.rows_with(DISABLED, vec![], &keys).await?;
        rows.iter().map(|row| row.parsed("id", |id| RegistrationId::parse(id).ok())).collect()
    }
}
