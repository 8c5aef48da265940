//! Secrets, rotations, and the data that the authority needs of a registration.

use crate::{PageStart, SecretWindows, StoreError, Tx, Usage, catalogue::statements, clients, db::Row};
use crossfade_core::{
    ClientId, OauthClientId, PropertyId, RegistrationId, RotationId, SecretId, Timestamp, TransitionHours,
    audit::Actor,
    environment::Slug,
    networks::Networks,
    registration::{AuthMethods, Scopes, TokenTtl},
    rotation::{self, EndedAs},
    text::Name,
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
    /// When it was generated.
    pub created_at: Timestamp,
    /// Keyed hash that verifies it.
    pub digest: Vec<u8>,
    /// Key of the hash.
    pub digest_key: String,
    /// The sealed value, unless it is shown once.
    pub sealed: Option<Vec<u8>>,
}

/// A stored rotation.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// ID.
    pub id: RotationId,
    /// The registration.
    pub registration_id: RegistrationId,
    /// Number among the rotations of its registration, from 1.
    pub number: i64,
    /// Who rotated.
    pub actor: Actor,
    /// Time of the rotation.
    pub rotated_at: Timestamp,
    /// The transition period.
    pub transition: TransitionHours,
    /// Reason.
    pub reason: String,
    /// Whether the outgoing secret had leaked.
    pub compromised: bool,
    /// The replaced secret.
    pub outgoing: SecretId,
    /// The replacing secret.
    pub incoming: SecretId,
    /// Its recorded outcome, if any.
    pub decided: Option<EndedAs>,
}

/// A rotation with both of its secrets, for the history.
#[derive(Clone, Debug)]
pub struct RotationLine {
    /// The rotation.
    pub rotation: Rotation,
    /// The replaced secret.
    pub outgoing: rotation::Secret,
    /// Whether its value is stored.
    pub stored: bool,
    /// The last use of the replaced secret.
    pub last_used_at: Option<Timestamp>,
    /// The first use of the replacing one.
    pub first_used_at: Option<Timestamp>,
    /// Marks of the replaced secret.
    pub outgoing_marks: SecretMarks,
    /// Marks of the replacing secret.
    pub incoming_marks: SecretMarks,
}

/// Marks of a secret, besides its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecretMarks {
    /// Time at which it was marked as leaked.
    pub compromised_at: Option<Timestamp>,
    /// Time at which the tokens issued under it were ended for introspection.
    pub tokens_revoked_at: Option<Timestamp>,
}

/// Data that the authority needs to verify the secrets of one registration.
#[derive(Clone, Debug)]
pub struct VerifierRow {
    /// The registration.
    pub registration_id: RegistrationId,
    /// Environment it belongs to.
    pub environment: Slug,
    /// OAuth `client_id` that callers present.
    pub oauth_client_id: OauthClientId,
    /// Whether it refuses everything.
    pub disabled: bool,
    /// Whether its client has been deleted.
    pub deleted: bool,
    /// Number of times it was disabled. Access tokens of an earlier generation have ended.
    pub token_generation: i64,
    /// Allowed authentication methods.
    pub methods: AuthMethods,
    /// Scopes it can request.
    pub scopes: Scopes,
    /// Audience of its tokens, if it is not the issuer.
    pub audience: Option<String>,
    /// Access token lifetime.
    pub ttl: TokenTtl,
    /// Whether it can introspect every token of its environment.
    pub may_introspect: bool,
    /// Networks from which it may be used; `None` allows every address.
    pub allowed_networks: Option<Networks>,
    /// Its secrets, newest first: the secret, its digest, and the id of the digest's key.
    pub secrets: Vec<(rotation::Secret, Vec<u8>, String)>,
    /// Windows in which drills refuse the retiring ones.
    pub windows: Vec<SecretWindows>,
}

/// A registration read for the authority. Unreadable parts do not prevent reading the rest.
#[derive(Debug)]
pub struct ReadVerifier {
    /// ID of the registration, as it is stored.
    pub id: String,
    /// The registration without its unreadable secrets, or the error if it cannot be read itself.
    pub row: Result<VerifierRow, StoreError>,
    /// Why secrets of the registration cannot be read.
    pub unreadable_secrets: Vec<StoreError>,
}

/// Selects a page of a history in one statement.
macro_rules! rotation_lines {
    ($after:literal, $order:literal) => {
        concat!(
            "SELECT t.id, t.registration_id, t.number, t.actor_kind, t.actor_id, t.actor_name, t.rotated_at, t.transition_hours,
                 t.reason, t.compromised, t.outgoing_secret_id, t.incoming_secret_id, t.ended_as,
                 o.created_at, o.expires_at, o.revoked_at, CAST(CASE WHEN o.sealed IS NULL THEN 0 ELSE 1 END AS BIGINT) AS stored,
                 ou.last_used_at, iu.first_used_at, o.compromised_at AS outgoing_compromised_at,
                 o.tokens_revoked_at AS outgoing_tokens_revoked_at, i.compromised_at AS incoming_compromised_at,
                 i.tokens_revoked_at AS incoming_tokens_revoked_at
             FROM rotations t JOIN secrets o ON o.id = t.outgoing_secret_id JOIN secrets i ON i.id = t.incoming_secret_id
             LEFT JOIN secret_usage ou ON ou.secret_id = t.outgoing_secret_id
             LEFT JOIN secret_usage iu ON iu.secret_id = t.incoming_secret_id
             WHERE t.registration_id = $1 AND (CAST($2 AS BIGINT) IS NULL OR ", $after, ") ORDER BY ", $order, " LIMIT $3"
        )
    };
}

statements! {
    COUNT_RETIRING = "SELECT CAST(COUNT(*) AS BIGINT) AS secrets FROM secrets WHERE expires_at > $1 AND revoked_at IS NULL AND expiry_noted_at IS NULL";
    INSERT = "INSERT INTO secrets (id, registration_id, number, created_at, digest, digest_key, sealed) VALUES ($1, $2, $3, $4, $5, $6, $7)";
    NEWEST_NUMBER = "SELECT CAST(COALESCE(MAX(number), 0) AS BIGINT) AS number FROM secrets WHERE registration_id = $1";
    LIST = "SELECT s.id, s.number, s.created_at, s.expires_at, s.revoked_at, s.sealed, u.first_used_at, u.last_used_at, u.use_count
            FROM secrets s LEFT JOIN secret_usage u ON u.secret_id = s.id
            WHERE s.registration_id = $1 AND (CAST($2 AS BIGINT) IS NULL OR s.number < $2)
            ORDER BY s.number DESC LIMIT $3";
    GET = "SELECT s.id, s.number, s.created_at, s.expires_at, s.revoked_at, s.sealed, u.first_used_at, u.last_used_at, u.use_count
           FROM secrets s LEFT JOIN secret_usage u ON u.secret_id = s.id
           WHERE s.registration_id = $1 AND s.id = $2";
    BY_ID = "SELECT s.id, s.number, s.created_at, s.expires_at, s.revoked_at, s.sealed, u.first_used_at, u.last_used_at, u.use_count
             FROM secrets s JOIN (VALUES {rows:1}) AS v ON s.id = v.column1 LEFT JOIN secret_usage u ON u.secret_id = s.id";
    VALID = "SELECT s.id, s.number, s.created_at, s.expires_at, s.revoked_at, s.sealed, u.first_used_at, u.last_used_at, u.use_count
             FROM secrets s LEFT JOIN secret_usage u ON u.secret_id = s.id
             WHERE s.registration_id = $1 AND s.revoked_at IS NULL AND (s.expires_at IS NULL OR s.expires_at > $2)
             ORDER BY s.number DESC";
    OPEN = "SELECT id, created_at, expires_at, revoked_at FROM secrets
            WHERE registration_id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)
            ORDER BY number DESC";
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
    INSERT_ROTATION = "INSERT INTO rotations (id, registration_id, number, actor_kind, actor_id, actor_name, rotated_at, transition_hours,
                           reason, compromised, outgoing_secret_id, incoming_secret_id)
                       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
    ROTATIONS = "SELECT id, registration_id, number, actor_kind, actor_id, actor_name, rotated_at, transition_hours, reason, compromised,
                     outgoing_secret_id, incoming_secret_id, ended_as
                 FROM rotations WHERE registration_id = $1 AND (CAST($2 AS BIGINT) IS NULL OR number < $2) ORDER BY number DESC LIMIT $3";
    LATEST_ROTATIONS = "SELECT t.id, t.registration_id, t.number, t.actor_kind, t.actor_id, t.actor_name, t.rotated_at, t.transition_hours, t.reason, t.compromised,
                            t.outgoing_secret_id, t.incoming_secret_id, t.ended_as
                        FROM rotations t JOIN (VALUES {rows:1}) AS v ON t.registration_id = v.column1
                        WHERE t.number = (SELECT MAX(m.number) FROM rotations m WHERE m.registration_id = t.registration_id)";
    ROTATION_LINES = rotation_lines!("t.number < $2", "t.number DESC");
    ROTATION_LINES_OLDEST = rotation_lines!("t.number > $2", "t.number");
    DECISIONS = "SELECT at, target, action, reason, actor_kind, actor_id, actor_name FROM audit_events
                 WHERE client_id = $1 AND environment = $2 AND at >= $3 AND at <= $4 AND outcome = 'done'
                   AND action IN ('secret.revoked', 'secret.rolled_back', 'secret.extended') AND target IS NOT NULL ORDER BY seq";
    ROTATION = "SELECT id, registration_id, number, actor_kind, actor_id, actor_name, rotated_at, transition_hours, reason, compromised,
                    outgoing_secret_id, incoming_secret_id, ended_as
                FROM rotations WHERE registration_id = $1 AND id = $2";
    DECIDE_ROTATION = "UPDATE rotations SET ended_as = $3, ended_at = $4 WHERE registration_id = $1 AND outgoing_secret_id = $2 AND ended_as IS NULL";
    NEWEST_ROTATION = "SELECT CAST(COALESCE(MAX(number), 0) AS BIGINT) AS number FROM rotations WHERE registration_id = $1";
    VERIFIERS = "SELECT r.id, r.environment, r.oauth_client_id, r.disabled_at, c.deleted_at, r.auth_basic, r.auth_post, r.scopes, r.audience,
                     r.access_token_ttl_seconds, r.may_introspect, r.allowed_networks, r.token_generation
                 FROM registrations r JOIN clients c ON c.id = r.client_id
                 WHERE (CAST($1 AS TEXT) IS NULL OR r.id > $1) AND (CAST($2 AS TEXT) IS NULL OR r.id = $2) ORDER BY r.id LIMIT $3";
    VERIFIER_SECRETS = "SELECT id, registration_id, created_at, expires_at, revoked_at, digest, digest_key FROM secrets
                        WHERE registration_id >= $1 AND registration_id <= $2 ORDER BY registration_id, number DESC";
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

/// A decision about the end of a secret, from the audit trail.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The revoked or extended secret, or the rolled back rotation.
    pub target: String,
    /// When it was made.
    pub at: Timestamp,
    /// Whether it moved the deadline.
    pub is_extension: bool,
    /// The reason; `None` if none was given.
    pub reason: Option<String>,
    /// Who decided.
    pub by: Actor,
}

fn rule(row: &Row) -> Result<rotation::Secret, StoreError> {
    Ok(rotation::Secret {
        id: row.parsed("id", |text| SecretId::parse(text).ok())?,
        created_at: row.time("created_at")?,
        expires_at: row.opt_time("expires_at")?,
        revoked_at: row.opt_time("revoked_at")?,
    })
}

fn secret(row: &Row) -> Result<Secret, StoreError> {
    let usage = match (row.opt_time("first_used_at")?, row.opt_time("last_used_at")?) {
        (Some(first_used_at), Some(last_used_at)) => {
            Some(Usage { first_used_at, last_used_at, use_count: row.int("use_count")? })
        }
        _ => None,
    };
    Ok(Secret { rule: rule(row)?, number: row.int("number")?, sealed: row.opt_blob("sealed")?, usage })
}

/// Returns the actor of a row, from its three columns.
pub(crate) fn actor(row: &Row) -> Result<Actor, StoreError> {
    Actor::from_parts(&row.text("actor_kind")?, row.text("actor_id")?, row.text("actor_name")?)
        .ok_or_else(|| row.corrupt("actor_id"))
}

fn rotation(row: &Row) -> Result<Rotation, StoreError> {
    let hours = row.int("transition_hours")?;
    Ok(Rotation {
        id: row.parsed("id", |text| RotationId::parse(text).ok())?,
        registration_id: row.parsed("registration_id", |text| RegistrationId::parse(text).ok())?,
        number: row.int("number")?,
        actor: actor(row)?,
        rotated_at: row.time("rotated_at")?,
        transition: TransitionHours::new(hours).map_err(|_| row.corrupt("transition_hours"))?,
        reason: row.text("reason")?,
        compromised: row.flag("compromised")?,
        outgoing: row.parsed("outgoing_secret_id", |text| SecretId::parse(text).ok())?,
        incoming: row.parsed("incoming_secret_id", |text| SecretId::parse(text).ok())?,
        decided: row.opt_parsed("ended_as", EndedAs::parse)?,
    })
}

fn rotation_line(row: &Row) -> Result<RotationLine, StoreError> {
    let rotation = rotation(row)?;
    Ok(RotationLine {
        outgoing: rotation::Secret {
            id: rotation.outgoing.clone(),
            created_at: row.time("created_at")?,
            expires_at: row.opt_time("expires_at")?,
            revoked_at: row.opt_time("revoked_at")?,
        },
        stored: row.flag("stored")?,
        last_used_at: row.opt_time("last_used_at")?,
        first_used_at: row.opt_time("first_used_at")?,
        outgoing_marks: SecretMarks {
            compromised_at: row.opt_time("outgoing_compromised_at")?,
            tokens_revoked_at: row.opt_time("outgoing_tokens_revoked_at")?,
        },
        incoming_marks: SecretMarks {
            compromised_at: row.opt_time("incoming_compromised_at")?,
            tokens_revoked_at: row.opt_time("incoming_tokens_revoked_at")?,
        },
        rotation,
    })
}

fn page_by_number(page: &PageStart) -> (Option<i64>, i64) {
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
            new.sealed.clone().into(),
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

    /// Stores a rotation.
    pub async fn insert_rotation(&mut self, new: &Rotation) -> Result<(), StoreError> {
        let args = vec![
            new.id.as_str().into(),
            new.registration_id.as_str().into(),
            new.number.into(),
            new.actor.kind().into(),
            new.actor.id().into(),
            new.actor.name().into(),
            new.rotated_at.into(),
            i64::from(new.transition.hours()).into(),
            new.reason.as_str().into(),
            new.compromised.into(),
            new.outgoing.as_str().into(),
            new.incoming.as_str().into(),
        ];
        self.execute(INSERT_ROTATION, args).await.map(drop)
    }

    /// Returns the latest rotation of each of these registrations that was ever rotated, in one statement.
    pub async fn latest_rotations(
        &mut self,
        registrations: &[&RegistrationId],
    ) -> Result<Vec<Rotation>, StoreError> {
        let keys: Vec<_> = registrations.iter().map(|id| vec![id.as_str().into()]).collect();
        self.look_up(LATEST_ROTATIONS, &keys).await?.iter().map(rotation).collect()
    }

    /// Returns a page of a registration's rotations, newest first.
    pub async fn rotations(
        &mut self,
        registration: &RegistrationId,
        page: &PageStart,
    ) -> Result<Vec<Rotation>, StoreError> {
        let (before, limit) = page_by_number(page);
        let args = vec![registration.as_str().into(), before.into(), limit.into()];
        self.rows(ROTATIONS, args).await?.iter().map(rotation).collect()
    }

    /// Returns a page of the history of a registration.
    pub async fn rotation_lines(
        &mut self,
        registration: &RegistrationId,
        page: &PageStart,
        oldest_first: bool,
    ) -> Result<Vec<RotationLine>, StoreError> {
        let (after, limit) = page_by_number(page);
        let args = vec![registration.as_str().into(), after.into(), limit.into()];
        let statement = if oldest_first { ROTATION_LINES_OLDEST } else { ROTATION_LINES };
        self.rows(statement, args).await?.iter().map(rotation_line).collect()
    }

    /// Returns who revoked, rolled back or extended what of a registration between two times, oldest first.
    pub async fn decisions(
        &mut self,
        client: &ClientId,
        environment: &Slug,
        (from, until): (Timestamp, Timestamp),
    ) -> Result<Vec<Decision>, StoreError> {
        let args = vec![client.as_str().into(), environment.as_str().into(), from.into(), until.into()];
        let decision = |row: &Row| {
            Ok(Decision {
                target: row.text("target")?,
                at: row.time("at")?,
                is_extension: row.text("action")? == "secret.extended",
                reason: row.opt_text("reason")?,
                by: actor(row)?,
            })
        };
        self.rows(DECISIONS, args).await?.iter().map(decision).collect()
    }

    /// Returns a rotation of a registration.
    pub async fn rotation(
        &mut self,
        registration: &RegistrationId,
        id: &RotationId,
    ) -> Result<Option<Rotation>, StoreError> {
        let args = vec![registration.as_str().into(), id.as_str().into()];
        self.optional(ROTATION, args).await?.as_ref().map(rotation).transpose()
    }

    /// Returns the number of the newest rotation of a registration; 0 if there is none.
    pub async fn newest_rotation_number(&mut self, registration: &RegistrationId) -> Result<i64, StoreError> {
        self.one(NEWEST_ROTATION, vec![registration.as_str().into()]).await?.int("number")
    }

    /// Records the outcome of the rotation whose outgoing secret is `outgoing`.
    pub async fn decide_rotation(
        &mut self,
        registration: &RegistrationId,
        outgoing: &SecretId,
        ended_as: EndedAs,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let args = vec![
            registration.as_str().into(),
            outgoing.as_str().into(),
            ended_as.as_str().into(),
            now.into(),
        ];
        self.execute(DECIDE_ROTATION, args).await.map(drop)
    }

    /// Reads a page of the data that the authority needs, by registration ID. Fails only if the database fails.
    pub async fn verifiers(
        &mut self,
        after: Option<&str>,
        limit: i64,
    ) -> Result<Vec<ReadVerifier>, StoreError> {
        self.verifier_rows(after, None, limit).await
    }

    /// Returns the data that the authority needs of one registration.
    pub async fn verifier(
        &mut self,
        registration: &RegistrationId,
    ) -> Result<Option<ReadVerifier>, StoreError> {
        Ok(self.verifier_rows(None, Some(registration), 1).await?.pop())
    }

    async fn verifier_rows(
        &mut self,
        after: Option<&str>,
        only: Option<&RegistrationId>,
        limit: i64,
    ) -> Result<Vec<ReadVerifier>, StoreError> {
        let args = vec![after.into(), only.map(RegistrationId::as_str).into(), limit.into()];
        let rows = self.rows(VERIFIERS, args).await?;
        let read = |row: &Row| ReadVerifier {
            id: row.text("id").unwrap_or_default(),
            row: verifier(row),
            unreadable_secrets: Vec::new(),
        };
        let mut read: Vec<ReadVerifier> = rows.iter().map(read).collect();
        let (Some(first), Some(last)) = (read.first(), read.last()) else { return Ok(read) };
        let (first, last) = (first.id.clone(), last.id.clone());
        let places: HashMap<String, usize> =
            read.iter().enumerate().map(|(at, read)| (read.id.clone(), at)).collect();
        // A secret or a drill of no registration decides nothing.
        for row in self.rows(VERIFIER_SECRETS, vec![first.as_str().into(), last.as_str().into()]).await? {
            let place = row.text("registration_id").ok().and_then(|id| places.get(&id).copied());
            let Some(own) = place.and_then(|at| read.get_mut(at)) else { continue };
            match (verifier_secret(&row), &mut own.row) {
                (Ok(secret), Ok(verifier)) => verifier.secrets.push(secret),
                (Ok(_), Err(_)) => {}
                (Err(error), _) => own.unreadable_secrets.push(error),
            }
        }
        for (registration, windows) in self.drill_windows(&first, &last).await? {
            let place = places.get(&registration).copied();
            let Some(own) = place.and_then(|at| read.get_mut(at)) else { continue };
            match (windows, &mut own.row) {
                (Ok(windows), Ok(verifier)) => verifier.windows.push(windows),
                (Ok(_), Err(_)) => {}
                // Without its windows a secret would be accepted in them.
                (Err(error), _) => own.row = Err(error),
            }
        }
        Ok(read)
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
        let place = |row: &Row| {
            let place = SecretPlace {
                property_id: row.parsed("property_id", |text| PropertyId::parse(text).ok())?,
                client_id: row.parsed("client_id", |text| ClientId::parse(text).ok())?,
                client: Name::from_stored(row.text("name")?),
                environment: Slug::from_stored(row.text("environment")?),
            };
            Ok((row.parsed("id", |text| SecretId::parse(text).ok())?, place))
        };
        self.look_up(PLACES_OF_SECRETS, &keys).await?.iter().map(place).collect()
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

fn verifier_secret(row: &Row) -> Result<(rotation::Secret, Vec<u8>, String), StoreError> {
    Ok((rule(row)?, row.blob("digest")?, row.text("digest_key")?))
}

fn verifier(row: &Row) -> Result<VerifierRow, StoreError> {
    Ok(VerifierRow {
        registration_id: row.parsed("id", |text| RegistrationId::parse(text).ok())?,
        environment: Slug::from_stored(row.text("environment")?),
        oauth_client_id: row.parsed("oauth_client_id", |text| OauthClientId::parse(text).ok())?,
        disabled: row.opt_time("disabled_at")?.is_some(),
        deleted: row.opt_time("deleted_at")?.is_some(),
        token_generation: row.int("token_generation")?,
        methods: clients::methods(row)?,
        scopes: Scopes::from_stored(row.text("scopes")?),
        audience: row.opt_text("audience")?,
        ttl: clients::ttl(row)?,
        may_introspect: row.flag("may_introspect")?,
        allowed_networks: row.opt_parsed("allowed_networks", Networks::from_stored)?,
        secrets: Vec::new(),
        windows: Vec::new(),
    })
}
