//! The limits of properties in environments.

use crate::{StoreError, Tx, access::words_json, catalogue::statements, db::Row};
use crossfade_core::{PropertyId, environment::Slug, limits::Limits, registration::Scopes};
use std::collections::HashMap;

statements! {
    GET = "SELECT property_id, audiences, scopes, version FROM limits WHERE property_id = $1 AND environment = $2";
    OF_PLACES = "SELECT l.property_id, l.environment, l.audiences, l.scopes, l.version FROM limits l
                 JOIN (VALUES {rows:2}) AS v ON l.property_id = v.column1 AND l.environment = v.column2";
    SET = "INSERT INTO limits (property_id, environment, audiences, scopes, version) VALUES ($1, $2, $3, $4, 1)
           ON CONFLICT (property_id, environment)
           DO UPDATE SET audiences = excluded.audiences, scopes = excluded.scopes, version = limits.version + 1";
    DELETE_OF_PROPERTY = "DELETE FROM limits WHERE property_id = $1";
    DELETE_OF_ENVIRONMENT = "DELETE FROM limits WHERE environment = $1";
}

/// Stored limits.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StoredLimits {
    /// The limits.
    pub limits: Limits,
    /// Version, increased by every change; 0 if no limits were ever set.
    pub version: i64,
}

fn stored(row: &Row) -> Result<StoredLimits, StoreError> {
    let limits = Limits {
        audiences: row.parsed("audiences", |text| serde_json::from_str(text).ok())?,
        scopes: row.opt_text("scopes")?.map(Scopes::from_stored),
    };
    Ok(StoredLimits { limits, version: row.int("version")? })
}

impl Tx {
    /// Returns the limits of a property in an environment.
    pub async fn limits(
        &mut self,
        property: &PropertyId,
        environment: &Slug,
    ) -> Result<StoredLimits, StoreError> {
        let Some(row) =
            self.optional(GET, vec![property.as_str().into(), environment.as_str().into()]).await?
        else {
            return Ok(StoredLimits::default());
        };
        stored(&row)
    }

    /// Returns the limits of a property in these environments, in one statement. Environments without limits are left
    /// out.
    pub async fn limits_in(
        &mut self,
        property: &PropertyId,
        environments: &[&Slug],
    ) -> Result<HashMap<Slug, StoredLimits>, StoreError> {
        let place = |slug: &&Slug| vec![property.as_str().into(), slug.as_str().into()];
        let places: Vec<_> = environments.iter().map(place).collect();
        let limits = |row: &Row| Ok((Slug::from_stored(row.text("environment")?), stored(row)?));
        self.look_up(OF_PLACES, &places).await?.iter().map(limits).collect()
    }

    /// Sets the limits of a property in an environment.
    pub async fn set_limits(
        &mut self,
        property: &PropertyId,
        environment: &Slug,
        limits: &Limits,
    ) -> Result<(), StoreError> {
        let args = vec![
            property.as_str().into(),
            environment.as_str().into(),
            words_json(Some(&limits.audiences)).into(),
            limits.scopes.as_ref().map(Scopes::joined).into(),
        ];
        self.execute(SET, args).await.map(drop)
    }

    /// Deletes the limits of a property.
    pub async fn delete_limits_of_property(&mut self, property: &PropertyId) -> Result<(), StoreError> {
        self.execute(DELETE_OF_PROPERTY, vec![property.as_str().into()]).await.map(drop)
    }

    /// Deletes the limits of an environment.
    pub async fn delete_limits_of_environment(&mut self, environment: &Slug) -> Result<(), StoreError> {
        self.execute(DELETE_OF_ENVIRONMENT, vec![environment.as_str().into()]).await.map(drop)
    }
}
