//! Data keys: what seals values and hashes secrets, itself sealed under the master key.

use crate::{StoreError, Tx, catalogue::statements};
use crossfade_core::Timestamp;

/// A data key as it is stored.
#[derive(Clone, Debug)]
pub struct DataKey {
    /// Its id, which everything made with it carries.
    pub id: String,
    /// What it is for: `seal` or `verify`.
    pub purpose: String,
    /// The key, sealed under the master key.
    pub sealed: Vec<u8>,
}

statements! {
    INSERT = "INSERT INTO data_keys (id, purpose, sealed, created_at) VALUES ($1, $2, $3, $4)";
    LIST = "SELECT id, purpose, sealed FROM data_keys ORDER BY created_at, id";
}

impl Tx {
    /// Stores a new data key.
    pub async fn insert_data_key(&mut self, key: &DataKey, now: Timestamp) -> Result<(), StoreError> {
        let args = vec![
            key.id.as_str().into(),
            key.purpose.as_str().into(),
            key.sealed.as_slice().into(),
            now.into(),
        ];
        self.execute(INSERT, args).await.map(drop)
    }

    /// Every data key, oldest first.
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
