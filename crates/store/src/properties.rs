//! Properties.

use crate::{
    PageStart, StoreError, Tx,
    catalogue::statements,
    db::{Row, Value},
};
use crossfade_core::{
    PropertyId, Timestamp,
    text::{Name, folded},
};
use std::collections::HashMap;

/// A stored property.
#[derive(Clone, Debug)]
pub struct Property {
    /// ID.
    pub id: PropertyId,
    /// Name.
    pub name: Name,
    /// When it was created.
    pub created_at: Timestamp,
    /// Version, increased by every change of the row.
    pub version: i64,
}

statements! {
    INSERT = "INSERT INTO properties (id, name, name_key, created_at, version) VALUES ($1, $2, $3, $4, 1)";
    GET = "SELECT id, name, created_at, version FROM properties WHERE id = $1";
    NAMED = "SELECT p.id, p.name FROM properties p JOIN (VALUES {rows:1}) AS v ON p.id = v.column1";
    TAKEN = "SELECT id FROM properties WHERE name_key = $1";
    LIST = "SELECT id, name, created_at, version FROM properties
            WHERE CAST($1 AS BIGINT) IS NULL OR created_at > $1 OR (created_at = $1 AND id > $2)
            ORDER BY created_at, id LIMIT $3";
    RENAME = "UPDATE properties SET name = $2, name_key = $3, version = version + 1 WHERE id = $1";
    DELETE = "DELETE FROM properties WHERE id = $1";
    HAS_CLIENTS = "SELECT id FROM clients WHERE property_id = $1 LIMIT 1";
}

/// Returns the key for comparing names: names that differ only in case are too similar for one list.
pub(crate) fn name_key(name: &Name) -> String {
    folded(name.as_str())
}

fn property(row: &Row) -> Result<Property, StoreError> {
    Ok(Property {
        id: row.parsed("id", |text| PropertyId::parse(text).ok())?,
        name: Name::from_stored(row.text("name")?),
        created_at: row.time("created_at")?,
        version: row.int("version")?,
    })
}

impl Tx {
    /// Returns the names of properties, in one statement.
    pub async fn property_names(
        &mut self,
        ids: &[PropertyId],
    ) -> Result<HashMap<PropertyId, Name>, StoreError> {
        let keys: Vec<_> = ids.iter().map(|id| vec![id.as_str().into()]).collect();
        let name = |row: &Row| {
            let id = row.parsed("id", |text| PropertyId::parse(text).ok())?;
            Ok((id, Name::from_stored(row.text("name")?)))
        };
        self.look_up(NAMED, &keys).await?.iter().map(name).collect()
    }

    /// Stores a new property.
    pub async fn insert_property(
        &mut self,
        id: &PropertyId,
        name: &Name,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let args = vec![id.as_str().into(), name.as_str().into(), name_key(name).into(), now.into()];
        self.execute(INSERT, args).await.map(drop)
    }

    /// Returns a property.
    pub async fn property(&mut self, id: &PropertyId) -> Result<Option<Property>, StoreError> {
        self.optional(GET, vec![id.as_str().into()]).await?.as_ref().map(property).transpose()
    }

    /// Returns the property with this name, ignoring case.
    pub async fn property_named(&mut self, name: &Name) -> Result<Option<PropertyId>, StoreError> {
        let row = self.optional(TAKEN, vec![name_key(name).into()]).await?;
        row.map(|row| row.parsed("id", |text| PropertyId::parse(text).ok())).transpose()
    }

    /// Returns a page of properties, oldest first.
    pub async fn properties(&mut self, page: &PageStart) -> Result<Vec<Property>, StoreError> {
        self.rows(LIST, page.args()).await?.iter().map(property).collect()
    }

    /// Renames a property.
    pub async fn rename_property(&mut self, id: &PropertyId, name: &Name) -> Result<(), StoreError> {
        let args = vec![id.as_str().into(), name.as_str().into(), name_key(name).into()];
        self.execute(RENAME, args).await.map(drop)
    }

    /// Deletes a property that has no clients.
    pub async fn delete_property(&mut self, id: &PropertyId) -> Result<(), StoreError> {
        self.execute(DELETE, vec![id.as_str().into()]).await.map(drop)
    }

    /// Whether the property has or ever had clients. Their history refers to it.
    pub async fn property_has_clients(&mut self, id: &PropertyId) -> Result<bool, StoreError> {
        Ok(self.optional(HAS_CLIENTS, vec![id.as_str().into()]).await?.is_some())
    }
}

impl PageStart {
    pub(crate) fn args(&self) -> Vec<Value> {
        let (at, id) = self.after.clone().unzip();
        vec![at.into(), id.into(), self.limit.into()]
    }
}
