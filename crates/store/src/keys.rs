//! Data that belongs to the master key: the data keys sealed under it, and the instance it is bound to.

use crate::{StoreError, Tx, catalogue::statements, db::Row, ends::Noted};
use crossfade_core::{SecretId, Timestamp};

/// A stored data key.
#[derive(Clone, Debug)]
pub struct DataKey {
    /// ID, contained in everything created with the key.
    pub id: String,
    /// Purpose, such as `seal` or `verify`.
    pub purpose: String,
    /// The key, sealed under the master key.
    pub sealed: Vec<u8>,
}

/// The instance that a database belongs to.
#[derive(Clone, Debug)]
pub struct InstanceRow {
    /// Its ID.
    pub id: String,
    /// The ID, sealed under the master key.
    pub binding: Vec<u8>,
}

/// Digests under one verifier key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DigestsOfKey {
    /// ID of the key.
    pub key: String,
    /// Number of valid secrets.
    pub valid: i64,
    /// Number of ended secrets.
    pub ended: i64,
}

/// A valid secret whose digest needs an older verifier key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OutdatedSecret {
    /// ID of the key.
    pub key: String,
    /// ID of the client.
    pub client_id: String,
    /// Name of the client.
    pub client: String,
    /// Slug of the environment.
    pub environment: String,
    /// ID of the registration.
    pub registration_id: String,
    /// The OAuth `client_id`.
    pub oauth_client_id: String,
    /// The secret.
    pub secret_id: String,
    /// Its deadline; `None` if it is current.
    pub expires_at: Option<Timestamp>,
    /// Its last recorded use.
    pub last_used_at: Option<Timestamp>,
}

statements! {
    INSTANCE = "SELECT id, binding FROM instance WHERE one = 1";
    INSERT_INSTANCE = "INSERT INTO instance (one, id, binding, created_at) VALUES (1, $1, $2, $3)";
    REBIND = "UPDATE instance SET binding = $1 WHERE one = 1";
    INSERT = "INSERT INTO data_keys (id, purpose, sealed, created_at) VALUES ($1, $2, $3, $4)";
    LIST = "SELECT id, purpose, sealed FROM data_keys ORDER BY created_at, id";
    REDIGEST = "UPDATE secrets SET digest = $3, digest_key = $2, value_digest = $4, value_digest_key = $2 WHERE id = $1 AND digest_key <> $2
                AND EXISTS (SELECT 1 FROM data_keys k WHERE k.id = $2)";
    DIGESTS = "SELECT digest_key, CAST(COUNT(*) AS BIGINT) AS digests,
                      CAST(COALESCE(SUM(CASE WHEN revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $1) THEN 1 ELSE 0 END), 0) AS BIGINT) AS valid
               FROM secrets GROUP BY digest_key ORDER BY digest_key";
    OUTDATED = "SELECT s.id, s.digest_key, s.expires_at, s.registration_id, r.environment, r.oauth_client_id, c.id AS client_id, c.name,
                    u.last_used_at
                FROM secrets s JOIN registrations r ON r.id = s.registration_id JOIN clients c ON c.id = r.client_id
                LEFT JOIN secret_usage u ON u.secret_id = s.id
                WHERE s.digest_key <> $1 AND s.revoked_at IS NULL AND (s.expires_at IS NULL OR s.expires_at > $2)
                ORDER BY c.name_key, c.id, r.environment, s.number DESC";
}

impl Tx {
    /// Returns the instance that this database belongs to; `None` before the first start.
    pub async fn instance(&mut self) -> Result<Option<InstanceRow>, StoreError> {
        let row = self.optional(INSTANCE, vec![]).await?;
        row.map(|row| Ok(InstanceRow { id: row.text("id")?, binding: row.blob("binding")? })).transpose()
    }

    /// Records the instance of this database.
    pub async fn insert_instance(
        &mut self,
        instance: &InstanceRow,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let args = vec![instance.id.as_str().into(), instance.binding.as_slice().into(), now.into()];
        self.execute(INSERT_INSTANCE, args).await.map(drop)
    }

    /// Stores the ID of the instance with a new seal.
    pub async fn rebind_instance(&mut self, binding: &[u8]) -> Result<(), StoreError> {
        self.execute(REBIND, vec![binding.into()]).await.map(drop)
    }

    /// Stores a new data key.
    pub async fn insert_data_key(&mut self, key: &DataKey, now: Timestamp) -> Result<(), StoreError> {
        self.note_for_later(Noted::DataKey(key.id.clone()));
        let args = vec![
            key.id.as_str().into(),
            key.purpose.as_str().into(),
            key.sealed.as_slice().into(),
            now.into(),
        ];
        self.execute(INSERT, args).await.map(drop)
    }

    /// Stores both digests of a secret under another key. Returns whether it was changed.
    pub async fn redigest_secret(
        &mut self,
        secret: &SecretId,
        key: &str,
        digest: &[u8],
        value_digest: &[u8],
    ) -> Result<bool, StoreError> {
        let args = vec![secret.as_str().into(), key.into(), digest.into(), value_digest.into()];
        Ok(self.execute(REDIGEST, args).await? > 0)
    }

    /// Returns the number of digests of each verifier key that has any.
    pub async fn digests_of_keys(&mut self, now: Timestamp) -> Result<Vec<DigestsOfKey>, StoreError> {
        let rows = self.rows(DIGESTS, vec![now.into()]).await?;
        rows.iter()
            .map(|row| {
                let (digests, valid) = (row.int("digests")?, row.int("valid")?);
                Ok(DigestsOfKey { key: row.text("digest_key")?, valid, ended: digests - valid })
            })
            .collect()
    }

    /// Returns the secrets that are valid at `now` and whose digests need another key than this one, by client and
    /// environment.
    pub async fn secrets_of_other_keys(
        &mut self,
        key: &str,
        now: Timestamp,
    ) -> Result<Vec<OutdatedSecret>, StoreError> {
        let secret = |row: &Row| {
            Ok(OutdatedSecret {
                key: row.text("digest_key")?,
                client_id: row.text("client_id")?,
                client: row.text("name")?,
                environment: row.text("environment")?,
                registration_id: row.text("registration_id")?,
                oauth_client_id: row.text("oauth_client_id")?,
                secret_id: row.text("id")?,
                expires_at: row.opt_time("expires_at")?,
                last_used_at: row.opt_time("last_used_at")?,
            })
        };
        self.rows(OUTDATED, vec![key.into(), now.into()]).await?.iter().map(secret).collect()
    }

    /// Returns all data keys, oldest first.
    pub async fn data_keys(&mut self) -> Result<Vec<DataKey>, StoreError> {
        let rows = self.rows(LIST, vec![]).await?;
        rows.iter()
            .map(|row| {
                Ok(DataKey {
                    id: row.text("id")?,
                    purpose: row.text("purpose")?,
                    sealed: row.blob("sealed")?,
                })
            })
            .collect()
    }
}
