//! Registrations that were created without a secret, to learn it.

use crate::{StoreError, Tx, catalogue::statements};
use crossfade_core::{RegistrationId, Timestamp};

/// A registration that was created without a secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Adoption {
    /// When it was created.
    pub begun_at: Timestamp,
    /// When the issuer was asked whether it accepts a secret that nobody has.
    pub tested_at: Option<Timestamp>,
    /// Whether it accepted that: the client is public, and nothing is learned.
    pub is_public: bool,
}

statements! {
    INSERT = "INSERT INTO adoptions (registration_id, begun_at, is_public) VALUES ($1, $2, 0)";
    GET = "SELECT registration_id, begun_at, tested_at, is_public FROM adoptions WHERE registration_id = $1";
    SET_TESTED = "UPDATE adoptions SET tested_at = $2, is_public = $3 WHERE registration_id = $1 AND tested_at IS NULL";
}

impl Tx {
    /// Records that a registration learns its secret.
    pub async fn insert_adoption(
        &mut self,
        registration: &RegistrationId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.execute(INSERT, vec![registration.as_str().into(), now.into()]).await.map(drop)
    }

    /// Returns what is known of a registration that was created without a secret; `None` if it was not.
    pub async fn adoption(&mut self, registration: &RegistrationId) -> Result<Option<Adoption>, StoreError> {
        let row = self.optional(GET, vec![registration.as_str().into()]).await?;
        row.map(|row| {
            Ok(Adoption {
                begun_at: row.time("begun_at")?,
                tested_at: row.opt_time("tested_at")?,
                is_public: row.flag("is_public")?,
            })
        })
        .transpose()
    }

    /// Records whether the issuer accepts a secret that nobody has. The first record stays. Returns whether it is this one.
    pub async fn set_adoption_tested(
        &mut self,
        registration: &RegistrationId,
        now: Timestamp,
        is_public: bool,
    ) -> Result<bool, StoreError> {
        let args = vec![registration.as_str().into(), now.into(), is_public.into()];
        Ok(self.execute(SET_TESTED, args).await? > 0)
    }
}
