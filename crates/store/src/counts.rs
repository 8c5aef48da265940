//! Numbers of clients and of overdue secrets, for lists of what they belong to.

use crate::{StoreError, Tx, Value, catalogue::statements};
use crossfade_core::{PropertyId, Timestamp, environment::Slug};
use std::collections::HashMap;

/// What a property has in one environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisteredCount {
    /// The property.
    pub property_id: PropertyId,
    /// The environment.
    pub environment: Slug,
    /// Number of clients that are registered in the environment.
    pub clients: u64,
    /// Number of them whose current secret is overdue.
    pub overdue: u64,
}

statements! {
    CLIENTS = "SELECT c.property_id, CAST(COUNT(*) AS BIGINT) AS clients FROM clients c JOIN (VALUES {rows:1}) AS v ON c.property_id = v.column1
               WHERE c.deleted_at IS NULL GROUP BY c.property_id";
    // From an environment on, a secret that is as old as the bound is overdue; without one, none is.
    REGISTERED = "SELECT c.property_id, r.environment, CAST(COUNT(*) AS BIGINT) AS clients,
                      CAST(COUNT(CASE WHEN s.created_at <= CAST(v.column2 AS BIGINT) THEN 1 END) AS BIGINT) AS overdue
                  FROM registrations r JOIN (VALUES {rows:2}) AS v ON r.environment = v.column1
                  JOIN clients c ON c.id = r.client_id
                  LEFT JOIN secrets s ON s.registration_id = r.id AND s.expires_at IS NULL AND s.revoked_at IS NULL
                  WHERE c.deleted_at IS NULL GROUP BY c.property_id, r.environment";
}

impl Tx {
    /// Returns the number of clients of these properties, in one statement. Properties without clients are left out.
    pub async fn clients_of_properties(
        &mut self,
        properties: &[&PropertyId],
    ) -> Result<HashMap<PropertyId, u64>, StoreError> {
        let keys: Vec<_> = properties.iter().map(|id| vec![id.as_str().into()]).collect();
        let rows = self.look_up(CLIENTS, &keys).await?;
        let count = |row: &crate::db::Row| {
            let property = row.parsed("property_id", |text| PropertyId::parse(text).ok())?;
            Ok((property, row.int("clients")?.unsigned_abs()))
        };
        rows.iter().map(count).collect()
    }

    /// Returns the number of registered clients and of overdue secrets of every property in these environments, in one
    /// statement. `overdue_since` of an environment: secrets generated at that time or before are overdue.
    pub async fn registered_counts(
        &mut self,
        environments: &[(&Slug, Option<Timestamp>)],
    ) -> Result<Vec<RegisteredCount>, StoreError> {
        let key = |(slug, overdue_since): &(&Slug, Option<Timestamp>)| -> Vec<Value> {
            vec![slug.as_str().into(), (*overdue_since).into()]
        };
        let keys: Vec<_> = environments.iter().map(key).collect();
        let rows = self.look_up(REGISTERED, &keys).await?;
        let count = |row: &crate::db::Row| {
            Ok(RegisteredCount {
                property_id: row.parsed("property_id", |text| PropertyId::parse(text).ok())?,
                environment: Slug::from_stored(row.text("environment")?),
                clients: row.int("clients")?.unsigned_abs(),
                overdue: row.int("overdue")?.unsigned_abs(),
            })
        };
        rows.iter().map(count).collect()
    }
}
