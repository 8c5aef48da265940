//! Tokens with which providers provision people and groups.

use crate::{StoreError, Tx, catalogue::statements, db::Row, ends::Noted};
use crossfade_core::{ProviderId, ProvisioningTokenId, Timestamp, networks::Networks};

/// A stored provisioning token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProvisioningTokenRow {
    /// ID.
    pub id: ProvisioningTokenId,
    /// Provider it belongs to.
    pub provider_id: ProviderId,
    /// Networks it can be used from; `None`: any.
    pub allowed_networks: Option<Networks>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
    /// Its last use, to the minute.
    pub last_used_at: Option<Timestamp>,
}

macro_rules! columns {
    () => {
        "id, provider_id, allowed_networks, created_at, expires_at, last_used_at"
    };
}

statements! {
    INSERT = "INSERT INTO provisioning_tokens (id, provider_id, digest, allowed_networks, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)";
    OF_PROVIDER = concat!("SELECT ", columns!(), " FROM provisioning_tokens WHERE provider_id = $1 AND deleted_at IS NULL ORDER BY created_at, id");
    BY_DIGEST = concat!("SELECT ", columns!(), " FROM provisioning_tokens WHERE digest = $1 AND deleted_at IS NULL");
    TOUCH = "UPDATE provisioning_tokens SET last_used_at = $2 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2)";
    DELETE = "UPDATE provisioning_tokens SET deleted_at = $2 WHERE id = $1 AND deleted_at IS NULL";
}

fn token(row: &Row) -> Result<ProvisioningTokenRow, StoreError> {
    Ok(ProvisioningTokenRow {
        id: row.parsed("id", |text| ProvisioningTokenId::parse(text).ok())?,
        provider_id: row.parsed("provider_id", |text| ProviderId::parse(text).ok())?,
        allowed_networks: row.opt_parsed("allowed_networks", Networks::from_stored)?,
        created_at: row.time("created_at")?,
        expires_at: row.time("expires_at")?,
        last_used_at: row.opt_time("last_used_at")?,
    })
}

impl Tx {
    /// Stores a new token by the keyed digest of its value.
    pub async fn insert_provisioning_token(
        &mut self,
        new: &ProvisioningTokenRow,
        digest: &[u8],
    ) -> Result<(), StoreError> {
        let args = vec![
            new.id.as_str().into(),
            new.provider_id.as_str().into(),
            digest.into(),
            new.allowed_networks.as_ref().map(Networks::stored).into(),
            new.created_at.into(),
            new.expires_at.into(),
        ];
        self.execute(INSERT, args).await.map(drop)
    }

    /// Returns the tokens of a provider that were not ended, oldest first. There are a few at most.
    pub async fn provisioning_tokens(
        &mut self,
        provider: &ProviderId,
    ) -> Result<Vec<ProvisioningTokenRow>, StoreError> {
        self.rows(OF_PROVIDER, vec![provider.as_str().into()]).await?.iter().map(token).collect()
    }

    /// Returns the token with this digest, if it was not ended.
    pub async fn provisioning_token(
        &mut self,
        digest: &[u8],
    ) -> Result<Option<ProvisioningTokenRow>, StoreError> {
        self.optional(BY_DIGEST, vec![digest.into()]).await?.as_ref().map(token).transpose()
    }

    /// Records the last use of a token.
    pub async fn touch_provisioning_token(
        &mut self,
        id: &ProvisioningTokenId,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        self.execute(TOUCH, vec![id.as_str().into(), at.into()]).await.map(drop)
    }

    /// Ends a token. Returns whether it had not ended.
    pub async fn delete_provisioning_token(
        &mut self,
        id: &ProvisioningTokenId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.note(Noted::ProvisioningToken(id.clone()));
        Ok(self.execute(DELETE, vec![id.as_str().into(), now.into()]).await? > 0)
    }
}
