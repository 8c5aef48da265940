//! Secrets that are found by their value alone, through a keyed digest of it.

use crate::{
    Secret, SecretPlace, StoreError, Tx, Value,
    carry_over::{SealedSecret, sealed_secret},
    catalogue::statements,
    db::Row,
    secrets::{place, secret},
};
use crossfade_core::{OauthClientId, RegistrationId, SecretId, Timestamp};

/// Digest of the value of a secret alone, to store.
#[derive(Clone, Debug)]
pub struct ValueDigest {
    /// The secret.
    pub secret: SecretId,
    /// ID of the key of the digest.
    pub key: String,
    /// The digest.
    pub digest: Vec<u8>,
}

/// A secret that was found by its value, and where it belongs, even if its client has been deleted.
#[derive(Clone, Debug)]
pub struct LeakedSecret {
    /// The digest that found it.
    pub digest: Vec<u8>,
    /// The secret.
    pub secret: Secret,
    /// When it was marked as leaked.
    pub compromised_at: Option<Timestamp>,
    /// Its place.
    pub place: SecretPlace,
    /// Name of the property.
    pub property: String,
    /// The registration.
    pub registration_id: RegistrationId,
    /// The OAuth `client_id`.
    pub oauth_client_id: OauthClientId,
    /// Since when the registration refuses everything.
    pub disabled_at: Option<Timestamp>,
    /// When the client was deleted.
    pub client_deleted_at: Option<Timestamp>,
}

statements! {
    BY_VALUE = "SELECT s.value_digest, s.id, s.number, s.created_at, s.expires_at, s.revoked_at, s.sealed, s.origin, s.compromised_at, s.registration_id,
                    u.first_used_at, u.last_used_at, u.use_count, r.client_id, r.environment, r.oauth_client_id, r.disabled_at,
                    c.name, c.property_id, c.deleted_at, p.name AS property
                FROM secrets s JOIN registrations r ON r.id = s.registration_id JOIN clients c ON c.id = r.client_id JOIN properties p ON p.id = c.property_id
                LEFT JOIN secret_usage u ON u.secret_id = s.id WHERE s.value_digest IN ({rows:1})";
    ANY_WITHOUT = "SELECT id FROM secrets WHERE value_digest IS NULL LIMIT 1";
    STORED_WITHOUT = "SELECT id, registration_id, sealed FROM secrets
                      WHERE value_digest IS NULL AND sealed IS NOT NULL AND (CAST($1 AS TEXT) IS NULL OR id > $1) ORDER BY id LIMIT $2";
    SET = "UPDATE secrets SET value_digest = $3, value_digest_key = $2 WHERE id = $1 AND value_digest IS NULL
           AND EXISTS (SELECT 1 FROM data_keys k WHERE k.id = $2) RETURNING id, registration_id";
    FORGET = "UPDATE secrets SET value_digest = NULL, value_digest_key = NULL WHERE value_digest_key = $1 RETURNING id, registration_id";
}

fn leaked(row: &Row) -> Result<LeakedSecret, StoreError> {
    Ok(LeakedSecret {
        digest: row.blob("value_digest")?,
        secret: secret(row)?,
        compromised_at: row.opt_time("compromised_at")?,
        place: place(row)?,
        property: row.text("property")?,
        registration_id: registration(row)?,
        oauth_client_id: row.parsed("oauth_client_id", |text| OauthClientId::parse(text).ok())?,
        disabled_at: row.opt_time("disabled_at")?,
        client_deleted_at: row.opt_time("deleted_at")?,
    })
}

fn registration(row: &Row) -> Result<RegistrationId, StoreError> {
    row.parsed("registration_id", |text| RegistrationId::parse(text).ok())
}

impl Tx {
    /// Returns the secrets whose values have these digests, in one statement for up to 4096 digests.
    pub async fn secrets_by_value(&mut self, digests: &[[u8; 32]]) -> Result<Vec<LeakedSecret>, StoreError> {
        let keys: Vec<Vec<Value>> = digests.iter().map(|digest| vec![digest.as_slice().into()]).collect();
        self.look_up(BY_VALUE, &keys).await?.iter().map(leaked).collect()
    }

    /// Whether there is a secret that its value does not find.
    pub async fn has_secret_without_value_digest(&mut self) -> Result<bool, StoreError> {
        Ok(self.optional(ANY_WITHOUT, vec![]).await?.is_some())
    }

    /// Returns a page of stored values without a digest after the secret `after`, by ID.
    pub async fn stored_values_without_digest(
        &mut self,
        after: Option<&SecretId>,
        limit: i64,
    ) -> Result<Vec<SealedSecret>, StoreError> {
        let rows = self.rows(STORED_WITHOUT, vec![after.map(SecretId::as_str).into(), limit.into()]).await?;
        rows.iter().map(sealed_secret).collect()
    }

    /// Stores the digests that are missing, of keys that are stored. Returns the registrations of the changed secrets.
    pub async fn set_value_digests(
        &mut self,
        digests: &[ValueDigest],
    ) -> Result<Vec<RegistrationId>, StoreError> {
        let mut changed = Vec::new();
        for it in digests {
            let args = vec![it.secret.as_str().into(), it.key.as_str().into(), it.digest.as_slice().into()];
            let row = self.optional(SET, args).await?;
            changed.extend(row.as_ref().map(registration).transpose()?);
        }
        Ok(changed)
    }

    /// Removes the digests of a key. Returns the registrations of the changed secrets.
    pub async fn forget_value_digests(&mut self, key: &str) -> Result<Vec<RegistrationId>, StoreError> {
        self.rows(FORGET, vec![key.into()]).await?.iter().map(registration).collect()
    }
}
