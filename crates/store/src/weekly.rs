//! What a weekly digest says, and who manages the platform.

use crate::{StoreError, Tx, catalogue::statements, clients::unheard, db::Row};
use crossfade_core::{ClientId, RegistrationId, SecretId, Timestamp, environment::Slug};

/// A registration with something to say about its current secret.
#[derive(Clone, Debug)]
pub struct WeeklySecret {
    /// The secret.
    pub secret_id: SecretId,
    /// When it was generated.
    pub created_at: Timestamp,
    /// Whether it replaced another one.
    pub is_rotated: bool,
    /// Its first use.
    pub first_used_at: Option<Timestamp>,
    /// Maximum age of secrets in the environment, in days; `None`: there is no limit.
    pub max_age_days: Option<i64>,
    /// The client, its environment and its owners.
    pub place: WeeklyPlace,
}

/// A registration, and who is told about it.
#[derive(Clone, Debug)]
pub struct WeeklyPlace {
    /// The client.
    pub client_id: ClientId,
    /// Its name.
    pub client: String,
    /// The environment.
    pub environment: Slug,
    /// Email addresses of the owners.
    pub owners: Vec<String>,
}

/// An ended secret, and where it belongs.
#[derive(Clone, Debug)]
pub struct EndedSecret {
    /// The registration.
    pub registration_id: RegistrationId,
    /// The client.
    pub client_id: ClientId,
    /// The environment.
    pub environment: Slug,
    /// When it ended; `None` if it has no end.
    pub ended_at: Option<Timestamp>,
    /// Whether it was marked as leaked.
    pub compromised: bool,
}

statements! {
    SECRETS = "SELECT s.id AS secret_id, s.created_at, s.number, u.first_used_at, e.max_age_days, c.id AS client_id, c.name, c.owners, r.environment
               FROM secrets s JOIN registrations r ON r.id = s.registration_id JOIN clients c ON c.id = r.client_id
               JOIN environments e ON e.slug = r.environment LEFT JOIN secret_usage u ON u.secret_id = s.id
               WHERE s.id > $1 AND s.expires_at IS NULL AND s.revoked_at IS NULL AND r.disabled_at IS NULL AND c.deleted_at IS NULL AND c.owners <> '[]'
                 AND (s.created_at + e.max_age_days * 86400000000 <= $2 OR (s.number > 1 AND u.first_used_at > $3))
               ORDER BY s.id LIMIT $4";
    REVEALED = "SELECT c.id AS client_id, c.name, c.owners, e.environment, CAST(COUNT(*) AS BIGINT) AS times
                FROM audit_events e JOIN clients c ON c.id = e.client_id
                WHERE e.action = 'secret.revealed' AND e.outcome = 'done' AND e.at > $1 AND e.environment IS NOT NULL AND c.deleted_at IS NULL AND c.owners <> '[]'
                GROUP BY c.id, c.name, c.owners, e.environment ORDER BY times DESC, c.id, e.environment LIMIT $2";
    OWNERLESS = concat!("SELECT c.id, c.name FROM clients c WHERE c.deleted_at IS NULL AND ", unheard!(), " ORDER BY c.name_key, c.id LIMIT $1");
    MANAGERS = "SELECT DISTINCT u.email FROM users u JOIN grants g ON g.user_id = u.id
                WHERE u.deleted_at IS NULL AND u.email IS NOT NULL AND g.role IN ('owner', 'operations_manager') AND g.property_id IS NULL AND g.client_id IS NULL
                ORDER BY u.email";
    ENDED = "SELECT s.registration_id, r.client_id, r.environment, s.expires_at, s.revoked_at, s.compromised_at
             FROM secrets s JOIN registrations r ON r.id = s.registration_id JOIN clients c ON c.id = r.client_id
             WHERE s.id = $1 AND r.disabled_at IS NULL AND c.deleted_at IS NULL";
}

fn place(row: &Row) -> Result<WeeklyPlace, StoreError> {
    Ok(WeeklyPlace {
        client_id: row.parsed("client_id", |text| ClientId::parse(text).ok())?,
        client: row.text("name")?,
        environment: Slug::from_stored(row.text("environment")?),
        owners: row.parsed("owners", |text| serde_json::from_str(text).ok())?,
    })
}

impl Tx {
    /// Returns a page of the current secrets, after one, that are due for rotation until `due_until`, or replaced another
    /// one and were first used after `since`.
    pub async fn weekly_secrets(
        &mut self,
        after: Option<&SecretId>,
        (due_until, since): (Timestamp, Timestamp),
        limit: i64,
    ) -> Result<Vec<WeeklySecret>, StoreError> {
        let after = after.map_or("", SecretId::as_str);
        let rows =
            self.rows(SECRETS, vec![after.into(), due_until.into(), since.into(), limit.into()]).await?;
        let secret = |row: &Row| {
            Ok(WeeklySecret {
                secret_id: row.parsed("secret_id", |text| SecretId::parse(text).ok())?,
                created_at: row.time("created_at")?,
                is_rotated: row.int("number")? > 1,
                first_used_at: row.opt_time("first_used_at")?,
                max_age_days: row.opt_int("max_age_days")?,
                place: place(row)?,
            })
        };
        rows.iter().map(secret).collect()
    }

    /// Returns the registrations whose secrets were revealed after `since`, and how often, the most often first.
    pub async fn weekly_reveals(
        &mut self,
        since: Timestamp,
        limit: i64,
    ) -> Result<Vec<(WeeklyPlace, i64)>, StoreError> {
        let rows = self.rows(REVEALED, vec![since.into(), limit.into()]).await?;
        rows.iter().map(|row| Ok((place(row)?, row.int("times")?))).collect()
    }

    /// Returns clients without an owner that hears of them, by name.
    pub async fn named_ownerless_clients(
        &mut self,
        limit: i64,
    ) -> Result<Vec<(ClientId, String)>, StoreError> {
        let rows = self.rows(OWNERLESS, vec![limit.into()]).await?;
        let client =
            |row: &Row| Ok((row.parsed("id", |text| ClientId::parse(text).ok())?, row.text("name")?));
        rows.iter().map(client).collect()
    }

    /// Returns the email addresses of the Owners and Operations Managers.
    pub async fn manager_addresses(&mut self) -> Result<Vec<String>, StoreError> {
        self.rows(MANAGERS, vec![]).await?.iter().map(|row| row.text("email")).collect()
    }

    /// Returns where a secret belongs, and when it ended; `None` if its registration refuses everything.
    pub async fn ended_secret(&mut self, id: &SecretId) -> Result<Option<EndedSecret>, StoreError> {
        let row = self.optional(ENDED, vec![id.as_str().into()]).await?;
        let secret = |row: &Row| {
            let ends = [row.opt_time("revoked_at")?, row.opt_time("expires_at")?];
            Ok(EndedSecret {
                registration_id: row.parsed("registration_id", |text| RegistrationId::parse(text).ok())?,
                client_id: row.parsed("client_id", |text| ClientId::parse(text).ok())?,
                environment: Slug::from_stored(row.text("environment")?),
                ended_at: ends.into_iter().flatten().min(),
                compromised: row.opt_time("compromised_at")?.is_some(),
            })
        };
        row.as_ref().map(secret).transpose()
    }
}
