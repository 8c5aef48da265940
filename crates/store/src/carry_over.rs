//! Converting a database to keyed digests and bound seals, which older versions did not have.

use crate::{StoreError, Tx, catalogue::statements, db::Row, ends::Noted};
use crossfade_core::{RegistrationId, SecretId, environment::Slug};

/// Kinds of rows that are found by a digest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Digested {
    /// API tokens.
    Tokens,
    /// Sessions.
    Sessions,
    /// One-time links.
    Links,
}

impl Digested {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Tokens, Self::Sessions, Self::Links];
}

/// The stored value of a secret, sealed.
#[derive(Clone, Debug)]
pub struct SealedSecret {
    /// The secret.
    pub id: SecretId,
    /// Its registration.
    pub registration_id: RegistrationId,
    /// The value, sealed.
    pub sealed: Vec<u8>,
}

/// A private key, sealed.
#[derive(Clone, Debug)]
pub struct SealedSigningKey {
    /// ID.
    pub kid: String,
    /// The environment that it signs for.
    pub environment: Slug,
    /// The key, sealed.
    pub sealed: Vec<u8>,
}

statements! {
    UNKEYED_TOKENS = "SELECT digest FROM api_tokens WHERE keyed = 0 ORDER BY digest LIMIT $1";
    UNKEYED_SESSIONS = "SELECT digest FROM sessions WHERE keyed = 0 ORDER BY digest LIMIT $1";
    UNKEYED_LINKS = "SELECT digest FROM links WHERE keyed = 0 ORDER BY digest LIMIT $1";
    KEY_TOKEN = "UPDATE api_tokens SET digest = $2, keyed = 1 WHERE digest = $1 AND keyed = 0";
    KEY_SESSION = "UPDATE sessions SET digest = $2, keyed = 1 WHERE digest = $1 AND keyed = 0";
    KEY_LINK = "UPDATE links SET digest = $2, keyed = 1 WHERE digest = $1 AND keyed = 0";
    ANY_KEYED = "SELECT digest FROM api_tokens WHERE keyed <> 0
                 UNION ALL SELECT digest FROM sessions WHERE keyed <> 0
                 UNION ALL SELECT digest FROM links WHERE keyed <> 0 LIMIT 1";
    SECRETS = "SELECT id, registration_id, sealed FROM secrets
               WHERE sealed IS NOT NULL AND (CAST($1 AS TEXT) IS NULL OR id > $1) ORDER BY id LIMIT $2";
    RESEAL_SECRET = "UPDATE secrets SET sealed = $2 WHERE id = $1";
    SIGNING_KEYS = "SELECT kid, environment, sealed FROM signing_keys ORDER BY kid";
    RESEAL_SIGNING_KEY = "UPDATE signing_keys SET sealed = $2 WHERE kid = $1";
    RESEAL_ANSWER = "UPDATE idempotency SET sealed = $3 WHERE actor = $1 AND key = $2";
    RESEAL_DATA_KEY = "UPDATE data_keys SET sealed = $2 WHERE id = $1";
    DELETE_DATA_KEY = "DELETE FROM data_keys WHERE id = $1";
}

pub(crate) fn sealed_secret(row: &Row) -> Result<SealedSecret, StoreError> {
    Ok(SealedSecret {
        id: row.parsed("id", |text| SecretId::parse(text).ok())?,
        registration_id: row.parsed("registration_id", |text| RegistrationId::parse(text).ok())?,
        sealed: row.blob("sealed")?,
    })
}

impl Tx {
    /// Returns digests that are not keyed yet.
    pub async fn unkeyed_digests(&mut self, of: Digested, limit: i64) -> Result<Vec<Vec<u8>>, StoreError> {
        let statement = match of {
            Digested::Tokens => UNKEYED_TOKENS,
            Digested::Sessions => UNKEYED_SESSIONS,
            Digested::Links => UNKEYED_LINKS,
        };
        self.rows(statement, vec![limit.into()]).await?.iter().map(|row| row.blob("digest")).collect()
    }

    /// Replaces a digest with the keyed digest of the same value.
    pub async fn key_digest(&mut self, of: Digested, old: &[u8], keyed: &[u8]) -> Result<(), StoreError> {
        let statement = match of {
            Digested::Tokens => KEY_TOKEN,
            Digested::Sessions => KEY_SESSION,
            Digested::Links => KEY_LINK,
        };
        self.execute(statement, vec![old.into(), keyed.into()]).await.map(drop)
    }

    /// Whether any digest is keyed.
    pub async fn has_keyed_digest(&mut self) -> Result<bool, StoreError> {
        Ok(self.optional(ANY_KEYED, vec![]).await?.is_some())
    }

    /// Returns a page of stored values after the secret `after`, by id.
    pub async fn sealed_secrets(
        &mut self,
        after: Option<&SecretId>,
        limit: i64,
    ) -> Result<Vec<SealedSecret>, StoreError> {
        let rows = self.rows(SECRETS, vec![after.map(SecretId::as_str).into(), limit.into()]).await?;
        rows.iter().map(sealed_secret).collect()
    }

    /// Stores the value of a secret with a new seal.
    pub async fn reseal_secret(&mut self, id: &SecretId, sealed: &[u8]) -> Result<(), StoreError> {
        self.execute(RESEAL_SECRET, vec![id.as_str().into(), sealed.into()]).await.map(drop)
    }

    /// Returns all signing keys, sealed.
    pub async fn sealed_signing_keys(&mut self) -> Result<Vec<SealedSigningKey>, StoreError> {
        let rows = self.rows(SIGNING_KEYS, vec![]).await?;
        rows.iter()
            .map(|row| {
                Ok(SealedSigningKey {
                    kid: row.text("kid")?,
                    environment: Slug::from_stored(row.text("environment")?),
                    sealed: row.blob("sealed")?,
                })
            })
            .collect()
    }

    /// Stores a signing key with a new seal.
    pub async fn reseal_signing_key(&mut self, kid: &str, sealed: &[u8]) -> Result<(), StoreError> {
        self.execute(RESEAL_SIGNING_KEY, vec![kid.into(), sealed.into()]).await.map(drop)
    }

    /// Stores the values of a remembered response with a new seal.
    pub async fn reseal_answer(&mut self, actor: &str, key: &str, sealed: &[u8]) -> Result<(), StoreError> {
        self.execute(RESEAL_ANSWER, vec![actor.into(), key.into(), sealed.into()]).await.map(drop)
    }

    /// Stores a data key with a new seal.
    pub async fn reseal_data_key(&mut self, id: &str, sealed: &[u8]) -> Result<(), StoreError> {
        self.note_for_later(Noted::DataKey(id.to_owned()));
        self.execute(RESEAL_DATA_KEY, vec![id.into(), sealed.into()]).await.map(drop)
    }

    /// Deletes a data key that is no longer used for any seal.
    pub async fn delete_data_key(&mut self, id: &str) -> Result<(), StoreError> {
        self.note_for_later(Noted::DataKey(id.to_owned()));
        self.execute(DELETE_DATA_KEY, vec![id.into()]).await.map(drop)
    }
}
