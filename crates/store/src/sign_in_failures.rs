//! Failed sign-ins that every node counts.

use crate::{StoreError, Tx, catalogue::statements};
use crossfade_core::Timestamp;
use std::collections::HashMap;

statements! {
    OF = "SELECT f.subject, f.forgiven_at FROM sign_in_failures f JOIN (VALUES {rows:1}) AS v ON f.subject = v.column1";
    SET = "INSERT INTO sign_in_failures (subject, forgiven_at) VALUES ($1, $2)
           ON CONFLICT (subject) DO UPDATE SET forgiven_at = excluded.forgiven_at";
    END = "DELETE FROM sign_in_failures WHERE subject = $1";
    FORGET = "DELETE FROM sign_in_failures WHERE forgiven_at <= $1";
}

impl Tx {
    /// Returns when the failures of each of these subjects are forgiven, as far as they have any.
    pub async fn sign_in_failures(
        &mut self,
        subjects: &[String],
    ) -> Result<HashMap<String, Timestamp>, StoreError> {
        let keys: Vec<_> = subjects.iter().map(|subject| vec![subject.as_str().into()]).collect();
        let rows = self.look_up(OF, &keys).await?;
        rows.iter().map(|row| Ok((row.text("subject")?, row.time("forgiven_at")?))).collect()
    }

    /// Records when the failures of a subject are forgiven.
    pub async fn set_sign_in_failures(
        &mut self,
        subject: &str,
        forgiven_at: Timestamp,
    ) -> Result<(), StoreError> {
        self.execute(SET, vec![subject.into(), forgiven_at.into()]).await.map(drop)
    }

    /// Forgives the failures of a subject.
    pub async fn forgive_sign_in_failures(&mut self, subject: &str) -> Result<(), StoreError> {
        self.execute(END, vec![subject.into()]).await.map(drop)
    }

    /// Forgets the failures that are forgiven at `now`.
    pub async fn forget_sign_in_failures(&mut self, now: Timestamp) -> Result<u64, StoreError> {
        self.execute(FORGET, vec![now.into()]).await
    }
}
