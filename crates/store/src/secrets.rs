//! Secrets, their ends, and where they belong.

use crate::{PageStart, StoreError, Tx, Usage, catalogue::statements, db::Row};
use crossfade_core::{
    ClientId, PropertyId, RegistrationId, SecretId, Timestamp, audit::Actor, environment::Slug, rotation,
    secret::SecretOrigin, text::Name,
};
use std::collections::HashMap;

/// A stored secret with its use.
#[derive(Clone, Debug)]
pub struct Secret {
    /// Input of the rules.
    pub rule: rotation::Secret,
    /// Number among the secrets of its registration, from 1.
    pub number: i64,
    /// The sealed value, while it is stored.
    pub sealed: Option<Vec<u8>>,
    /// Use of the secret.
    pub usage: Option<Usage>,
    /// Where it came from.
    pub origin: SecretOrigin,
}

/// A new secret to store.
#[derive(Clone, Debug)]
pub struct SecretRow {
    /// ID.
    pub id: SecretId,
    /// The registration.
    pub registration_id: RegistrationId,
    /// Number among the secrets of its registration.
    pub number: i64,
    /// When it was generated or learned.
    pub created_at: Timestamp,
    /// Keyed hash that verifies it.
    pub digest: Vec<u8>,
    /// Keyed hash of the value alone, which finds it.
    pub value_digest: Vec<u8>,
    /// Key of both hashes.
    pub digest_key: String,
    /// The sealed value, unless it is shown once.
    pub sealed: Option<Vec<u8>>,
    /// Where it came from.
    pub origin: SecretOrigin,
}

statements! {
    COUNT_RETIRING = "SELECT CAST(COUNT(*) AS BIGINT) AS secrets FROM secrets WHERE expires_at > $1 AND revoked_at IS NULL AND expiry_noted_at IS NULL";
    INSERT = "INSERT INTO secrets (id, registration_id, number, created_at, digest, digest_key, value_digest, value_digest_key, sealed, origin)
              VALUES ($1, $2, $3, $4, $5, $6, $7, $6, $8, $9)";
    NEWEST_NUMBER = "SELECT CAST(COALESCE(MAX(number), 0) AS BIGINT) AS number FROM secrets WHERE registration_id = $1";
    LIST = "SELECT s.id, s.number, s.created_at, s.expires_at, s.revoked_at, s.sealed, s.origin, u.first_used_at, u.last_used_at, u.use_count
            FROM secrets s LEFT JOIN secret_usage u ON u.secret_id = s.id
            WHERE s.registration_id = $1 AND (CAST($2 AS BIGINT) IS NULL OR s.number < $2)
            ORDER BY s.number DESC LIMIT $3";
    GET = "SELECT s.id, s.number, s.created_at, s.expires_at, s.revoked_at, s.sealed, s.origin, u.first_used_at, u.last_used_at, u.use_count
           FROM secrets s LEFT JOIN secret_usage u ON u.secret_id = s.id
           WHERE s.registration_id = $1 AND s.id = $2";
    BY_ID = "SELECT s.id, s.number, s.created_at, s.expires_at, s.revoked_at, s.sealed, s.origin, u.first_used_at, u.last_used_at, u.use_count
             FROM secrets s JOIN (VALUES {rows:1}) AS v ON s.id = v.column1 LEFT JOIN secret_usage u ON u.secret_id = s.id";
    VALID = "SELECT s.id, s.number, s.created_at, s.expires_at, s.revoked_at, s.sealed, s.origin, u.first_used_at, u.last_used_at, u.use_count
             FROM secrets s LEFT JOIN secret_usage u ON u.secret_id = s.id
             WHERE s.registration_id = $1 AND s.revoked_at IS NULL AND (s.expires_at IS NULL OR s.expires_at > $2)
             ORDER BY s.number DESC";
    OPEN = "SELECT id, created_at, expires_at, revoked_at FROM secrets
            WHERE registration_id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)
            ORDER BY number DESC";
    UNENDED = "SELECT id, created_at, expires_at, revoked_at FROM secrets
               WHERE registration_id = $1 AND revoked_at IS NULL AND expiry_noted_at IS NULL ORDER BY number DESC";
    SET_END = "UPDATE secrets SET expires_at = $2, revoked_at = $3 WHERE id = $1";
    COMPROMISED = "UPDATE secrets SET compromised_at = $2 WHERE id = $1";
    REVOKE_TOKENS = "UPDATE secrets SET tokens_revoked_at = $2 WHERE id = $1";
    TOKENS_REVOKED = "SELECT id, tokens_revoked_at FROM secrets WHERE tokens_revoked_at IS NOT NULL";
    SECRET_TOKENS_REVOKED = "SELECT id, tokens_revoked_at FROM secrets WHERE id = $1 AND tokens_revoked_at IS NOT NULL";
    END_ALL = "UPDATE secrets SET revoked_at = $2, expires_at = COALESCE(expires_at, $2) WHERE registration_id = $1 AND revoked_at IS NULL
               AND (expires_at IS NULL OR expires_at > $2)";
    WIPE_REGISTRATION = "UPDATE secrets SET sealed = NULL WHERE registration_id = $1";
    WIPE_ENVIRONMENT = "UPDATE secrets SET sealed = NULL WHERE sealed IS NOT NULL
                        AND registration_id IN (SELECT id FROM registrations WHERE environment = $1)";
    STORED_VALUES = "SELECT CAST(COUNT(*) AS BIGINT) AS stored FROM secrets WHERE sealed IS NOT NULL
                     AND registration_id IN (SELECT id FROM registrations WHERE environment = $1)
                     AND (CAST($2 AS BIGINT) IS NULL OR COALESCE(revoked_at, expires_at) <= $2)";
    WIPE_ENDED = "UPDATE secrets SET sealed = NULL WHERE sealed IS NOT NULL AND COALESCE(revoked_at, expires_at) <= $2
                  AND registration_id IN (SELECT id FROM registrations WHERE environment = $1) RETURNING id, registration_id";
    EXPIRED_UNNOTED = "SELECT s.id, s.registration_id, s.expires_at, r.client_id, r.environment FROM secrets s JOIN registrations r ON r.id = s.registration_id
                       WHERE s.expires_at IS NOT NULL AND s.expires_at <= $1 AND s.expiry_noted_at IS NULL AND s.revoked_at IS NULL
                       ORDER BY s.expires_at LIMIT $2";
    NOTE_EXPIRY = "UPDATE secrets SET expiry_noted_at = $2 WHERE id = $1";
    PLACE_OF_SECRET = "SELECT s.id, c.property_id, r.client_id, r.environment FROM secrets s
                       JOIN registrations r ON r.id = s.registration_id JOIN clients c ON c.id = r.client_id WHERE s.id = $1";
    PLACES_OF_SECRETS = "SELECT s.id, c.property_id, r.client_id, r.environment, c.name FROM secrets s JOIN (VALUES {rows:1}) AS v ON s.id = v.column1
                         JOIN registrations r ON r.id = s.registration_id JOIN clients c ON c.id = r.client_id";
    REGISTRATION_OF_SECRET = "SELECT registration_id FROM secrets WHERE id = $1";
}

/// Where a secret belongs, even if its client has been deleted.
#[derive(Clone, Debug)]
pub struct SecretPlace {
    /// The client's property.
    pub property_id: PropertyId,
    /// The client.
    pub client_id: ClientId,
    /// The client's name.
    pub client: Name,
    /// The environment.
    pub environment: Slug,
}

pub(crate) fn rule(row: &Row) -> Result<rotation::Secret, StoreError> {
    Ok(rotation::Secret {
        id: row.parsed("id", |text| SecretId::parse(text).ok())?,
        created_at: row.time("created_at")?,
        expires_at: row.opt_time("expires_at")?,
        revoked_at: row.opt_time("revoked_at")?,
    })
}

pub(crate) fn secret(row: &Row) -> Result<Secret, StoreError> {
    let usage = match (row.opt_time("first_used_at")?, row.opt_time("last_used_at")?) {
        (Some(first_used_at), Some(last_used_at)) => {
            Some(Usage { first_used_at, last_used_at, use_count: row.int("use_count")? })
        }
        _ => None,
    };
    Ok(Secret {
        rule: rule(row)?,
        number: row.int("number")?,
        sealed: row.opt_blob("sealed")?,
        usage,
        origin: origin(row)?,
    })
}

pub(crate) fn origin(row: &Row) -> Result<SecretOrigin, StoreError> {
    row.parsed("origin", SecretOrigin::parse)
}

pub(crate) fn place(row: &Row) -> Result<SecretPlace, StoreError> {
    Ok(SecretPlace {
        property_id: row.parsed("property_id", |text| PropertyId::parse(text).ok())?,
        client_id: row.parsed("client_id", |text| ClientId::parse(text).ok())?,
        client: Name::from_stored(row.text("name")?),
        environment: Slug::from_stored(row.text("environment")?),
    })
}

/// Returns the actor of a row, from its three columns.
pub(crate) fn actor(row: &Row) -> Result<Actor, StoreError> {
    Actor::from_parts(&row.text("actor_kind")?, row.text("actor_id")?, row.text("actor_name")?)
        .ok_or_else(|| row.corrupt("actor_id"))
}

pub(crate) fn page_by_number(page: &PageStart) -> (Option<i64>, i64) {
    (page.after.as_ref().map(|(number, _)| *number), page.limit)
}

/// A retiring secret whose deadline has passed, not yet recorded in the audit trail.
#[derive(Clone, Debug)]
pub struct Expired {
    /// The secret.
    pub secret_id: SecretId,
    /// Its deadline.
    pub expires_at: Timestamp,
    /// The client.
    pub client_id: ClientId,
    /// The environment.
    pub environment: Slug,
}

impl Tx {
    /// Returns the number of retiring secrets.
    pub async fn count_retiring(&mut self, now: Timestamp) -> Result<i64, StoreError> {
        self.one(COUNT_RETIRING, vec![now.into()]).await?.int("secrets")
    }

    /// Stores a new secret.
    pub async fn insert_secret(&mut self, new: &SecretRow) -> Result<(), StoreError> {
        let args = vec![
            new.id.as_str().into(),
            new.registration_id.as_str().into(),
            new.number.into(),
            new.created_at.into(),
            new.digest.as_slice().into(),
            new.digest_key.as_str().into(),
            new.value_digest.as_slice().into(),
            new.sealed.clone().into(),
            new.origin.as_str().into(),
        ];
        self.execute(INSERT, args).await.map(drop)
    }

    /// Returns the number of the newest secret of a registration; 0 if there is none.
    pub async fn newest_secret_number(&mut self, registration: &RegistrationId) -> Result<i64, StoreError> {
        self.one(NEWEST_NUMBER, vec![registration.as_str().into()]).await?.int("number")
    }

    /// Returns a page of a registration's secrets, newest first.
    pub async fn secrets(
        &mut self,
        registration: &RegistrationId,
        page: &PageStart,
    ) -> Result<Vec<Secret>, StoreError> {
        let (before, limit) = page_by_number(page);
        let args = vec![registration.as_str().into(), before.into(), limit.into()];
        self.rows(LIST, args).await?.iter().map(secret).collect()
    }

    /// Returns these secrets, in one statement.
    pub async fn secrets_by_id(
        &mut self,
        ids: &[&SecretId],
    ) -> Result<HashMap<SecretId, Secret>, StoreError> {
        let keys: Vec<_> = ids.iter().map(|id| vec![id.as_str().into()]).collect();
        let known = |row: &Row| secret(row).map(|secret| (secret.rule.id.clone(), secret));
        self.look_up(BY_ID, &keys).await?.iter().map(known).collect()
    }

    /// Returns the secrets of a registration that are valid at `now`, newest first, with their use.
    pub async fn valid_secrets_of(
        &mut self,
        registration: &RegistrationId,
        now: Timestamp,
    ) -> Result<Vec<Secret>, StoreError> {
        let args = vec![registration.as_str().into(), now.into()];
        self.rows(VALID, args).await?.iter().map(secret).collect()
    }

    /// Returns a secret of a registration.
    pub async fn secret(
        &mut self,
        registration: &RegistrationId,
        id: &SecretId,
    ) -> Result<Option<Secret>, StoreError> {
        let args = vec![registration.as_str().into(), id.as_str().into()];
        self.optional(GET, args).await?.as_ref().map(secret).transpose()
    }

    /// Returns the secrets of a registration that are valid at `now`, for the rules of rotation.
    pub async fn open_secrets(
        &mut self,
        registration: &RegistrationId,
        now: Timestamp,
    ) -> Result<Vec<rotation::Secret>, StoreError> {
        let args = vec![registration.as_str().into(), now.into()];
        self.rows(OPEN, args).await?.iter().map(rule).collect()
    }

    /// Returns the secrets of a registration whose end is not recorded: the valid ones, and those whose deadline has just
    /// passed.
    pub async fn unended_secrets(
        &mut self,
        registration: &RegistrationId,
    ) -> Result<Vec<rotation::Secret>, StoreError> {
        self.rows(UNENDED, vec![registration.as_str().into()]).await?.iter().map(rule).collect()
    }

    /// Sets the deadline and the revocation of a secret.
    pub async fn set_secret_end(
        &mut self,
        id: &SecretId,
        expires_at: Option<Timestamp>,
        revoked_at: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        self.execute(SET_END, vec![id.as_str().into(), expires_at.into(), revoked_at.into()]).await.map(drop)
    }

    /// Marks a secret as leaked.
    pub async fn mark_secret_compromised(&mut self, id: &SecretId, now: Timestamp) -> Result<(), StoreError> {
        self.execute(COMPROMISED, vec![id.as_str().into(), now.into()]).await.map(drop)
    }

    /// Ends the tokens issued under a secret, for introspection.
    pub async fn revoke_tokens_of_secret(&mut self, id: &SecretId, now: Timestamp) -> Result<(), StoreError> {
        self.execute(REVOKE_TOKENS, vec![id.as_str().into(), now.into()]).await.map(drop)
    }

    /// Returns the secrets whose tokens were ended, and when.
    pub async fn secrets_with_revoked_tokens(
        &mut self,
    ) -> Result<Vec<Result<(SecretId, Timestamp), StoreError>>, StoreError> {
        let rows = self.rows(TOKENS_REVOKED, vec![]).await?;
        Ok(rows.iter().map(revoked_tokens_of).collect())
    }

    /// Returns when the tokens of this secret were ended.
    pub async fn tokens_of_secret_revoked(
        &mut self,
        id: &SecretId,
    ) -> Result<Option<(SecretId, Timestamp)>, StoreError> {
        let row = self.optional(SECRET_TOKENS_REVOKED, vec![id.as_str().into()]).await?;
        row.as_ref().map(revoked_tokens_of).transpose()
    }

    /// Revokes every secret of a registration that is still valid, and wipes all stored values.
    pub async fn end_all_secrets(
        &mut self,
        registration: &RegistrationId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.execute(END_ALL, vec![registration.as_str().into(), now.into()]).await?;
        self.execute(WIPE_REGISTRATION, vec![registration.as_str().into()]).await.map(drop)
    }

    /// Counts the stored values of an environment: all, or those of secrets that ended at `ended_by` or earlier.
    pub async fn stored_values(
        &mut self,
        environment: &Slug,
        ended_by: Option<Timestamp>,
    ) -> Result<u64, StoreError> {
        let row = self.optional(STORED_VALUES, vec![environment.as_str().into(), ended_by.into()]).await?;
        let stored = row.map(|row| row.int("stored")).transpose()?.unwrap_or_default();
        Ok(u64::try_from(stored).unwrap_or_default())
    }

    /// Wipes every stored value of an environment.
    pub async fn wipe_environment(&mut self, environment: &Slug) -> Result<u64, StoreError> {
        self.execute(WIPE_ENVIRONMENT, vec![environment.as_str().into()]).await
    }

    /// Wipes the stored values of an environment's secrets that ended at `before` or earlier.
    pub async fn wipe_ended_secrets(
        &mut self,
        environment: &Slug,
        before: Timestamp,
    ) -> Result<Vec<SecretId>, StoreError> {
        let rows = self.rows(WIPE_ENDED, vec![environment.as_str().into(), before.into()]).await?;
        rows.iter().map(|row| row.parsed("id", |text| SecretId::parse(text).ok())).collect()
    }

    /// Returns at most `limit` secrets whose deadline has passed by `now` and is not yet recorded.
    pub async fn expired_secrets(&mut self, now: Timestamp, limit: i64) -> Result<Vec<Expired>, StoreError> {
        let rows = self.rows(EXPIRED_UNNOTED, vec![now.into(), limit.into()]).await?;
        rows.iter()
            .map(|row| {
                Ok(Expired {
                    secret_id: row.parsed("id", |text| SecretId::parse(text).ok())?,
                    expires_at: row.time("expires_at")?,
                    client_id: row.parsed("client_id", |text| ClientId::parse(text).ok())?,
                    environment: Slug::from_stored(row.text("environment")?),
                })
            })
            .collect()
    }

    /// Records that the end of this secret is in the audit trail.
    pub async fn note_expiry(&mut self, id: &SecretId, now: Timestamp) -> Result<(), StoreError> {
        self.execute(NOTE_EXPIRY, vec![id.as_str().into(), now.into()]).await.map(drop)
    }

    /// Returns the property, the client and the environment that a secret belongs to.
    pub async fn place_of_secret(
        &mut self,
        id: &SecretId,
    ) -> Result<Option<(PropertyId, ClientId, Slug)>, StoreError> {
        let row = self.optional(PLACE_OF_SECRET, vec![id.as_str().into()]).await?;
        row.map(|row| {
            Ok((
                row.parsed("property_id", |text| PropertyId::parse(text).ok())?,
                row.parsed("client_id", |text| ClientId::parse(text).ok())?,
                Slug::from_stored(row.text("environment")?),
            ))
        })
        .transpose()
    }

    /// Returns the clients and environments that these secrets belong to, in one statement.
    pub async fn places_of_secrets(
        &mut self,
        ids: &[SecretId],
    ) -> Result<HashMap<SecretId, SecretPlace>, StoreError> {
        let keys: Vec<_> = ids.iter().map(|id| vec![id.as_str().into()]).collect();
        let known = |row: &Row| Ok((row.parsed("id", |text| SecretId::parse(text).ok())?, place(row)?));
        self.look_up(PLACES_OF_SECRETS, &keys).await?.iter().map(known).collect()
    }

    /// Returns the registration that a secret belongs to.
    pub async fn registration_of_secret(
        &mut self,
        id: &SecretId,
    ) -> Result<Option<RegistrationId>, StoreError> {
        let row = self.optional(REGISTRATION_OF_SECRET, vec![id.as_str().into()]).await?;
        row.map(|row| row.parsed("registration_id", |text| RegistrationId::parse(text).ok())).transpose()
    }
}

fn revoked_tokens_of(row: &Row) -> Result<(SecretId, Timestamp), StoreError> {
    Ok((row.parsed("id", |text| SecretId::parse(text).ok())?, row.time("tokens_revoked_at")?))
}
