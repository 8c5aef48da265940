//! Data that belongs to the master key: the data keys sealed under it, and the instance it is bound to.

use crate::{StoreError, Tx, catalogue::statements};
use crossfade_core::Timestamp;

/// A stored data key.
#[derive(Clone, Debug)]
pub struct DataKey {
    /// ID, contained in everything created with the key.
    pub id: String,
    /// Purpose: `seal` or `verify`.
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

statements! {
    INSTANCE = "SELECT id, binding FROM instance WHERE one = 1";
    INSERT_INSTANCE = "INSERT INTO instance (one, id, binding, created_at) VALUES (1, $1, $2, $3)";
    REBIND = "UPDATE instance SET binding = $1 WHERE one = 1";
    INSERT = "INSERT INTO data_keys (id, purpose, sealed, created_at) VALUES ($1, $2, $3, $4)";
    LIST = "SELECT id, purpose, sealed FROM data_keys ORDER BY created_at, id";
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
        let args = vec![
            key.id.as_str().into(),
            key.purpose.as_str().into(),
            key.sealed.as_slice().into(),
            now.into(),
        ];
        self.execute(INSERT, args).await.map(drop)
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
