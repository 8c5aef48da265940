//! Rotations, and the history of a registration.

use crate::{
    PageStart, StoreError, Tx,
    catalogue::statements,
    db::Row,
    secrets::{actor, page_by_number},
};
use crossfade_core::{
    ClientId, RegistrationId, RotationId, SecretId, Timestamp, TransitionHours,
    audit::Actor,
    environment::Slug,
    rotation::{self, EndedAs},
};

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
    LATEST_OWN = "SELECT rotated_at FROM rotations WHERE registration_id = $1 AND actor_kind = 'client' ORDER BY number DESC LIMIT 1";
    INSERT = "INSERT INTO rotations (id, registration_id, number, actor_kind, actor_id, actor_name, rotated_at, transition_hours,
                           reason, compromised, outgoing_secret_id, incoming_secret_id)
                       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
    LIST = "SELECT id, registration_id, number, actor_kind, actor_id, actor_name, rotated_at, transition_hours, reason, compromised,
                     outgoing_secret_id, incoming_secret_id, ended_as
                 FROM rotations WHERE registration_id = $1 AND (CAST($2 AS BIGINT) IS NULL OR number < $2) ORDER BY number DESC LIMIT $3";
    LATEST = "SELECT t.id, t.registration_id, t.number, t.actor_kind, t.actor_id, t.actor_name, t.rotated_at, t.transition_hours, t.reason, t.compromised,
                            t.outgoing_secret_id, t.incoming_secret_id, t.ended_as
                        FROM rotations t JOIN (VALUES {rows:1}) AS v ON t.registration_id = v.column1
                        WHERE t.number = (SELECT MAX(m.number) FROM rotations m WHERE m.registration_id = t.registration_id)";
    LINES = rotation_lines!("t.number < $2", "t.number DESC");
    LINES_OLDEST = rotation_lines!("t.number > $2", "t.number");
    DECISIONS = "SELECT at, target, action, reason, actor_kind, actor_id, actor_name FROM audit_events
                 WHERE client_id = $1 AND environment = $2 AND at >= $3 AND at <= $4 AND outcome = 'done'
                   AND action IN ('secret.revoked', 'secret.rolled_back', 'secret.extended') AND target IS NOT NULL ORDER BY seq";
    GET = "SELECT id, registration_id, number, actor_kind, actor_id, actor_name, rotated_at, transition_hours, reason, compromised,
                    outgoing_secret_id, incoming_secret_id, ended_as
                FROM rotations WHERE registration_id = $1 AND id = $2";
    DECIDE = "UPDATE rotations SET ended_as = $3, ended_at = $4 WHERE registration_id = $1 AND outgoing_secret_id = $2 AND ended_as IS NULL";
    NEWEST_NUMBER = "SELECT CAST(COALESCE(MAX(number), 0) AS BIGINT) AS number FROM rotations WHERE registration_id = $1";
}

impl Tx {
    /// Returns when a client last rotated the secret of its own registration.
    pub async fn last_self_rotation(
        &mut self,
        registration: &RegistrationId,
    ) -> Result<Option<Timestamp>, StoreError> {
        let row = self.optional(LATEST_OWN, vec![registration.as_str().into()]).await?;
        row.map(|row| row.time("rotated_at")).transpose()
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
        self.execute(INSERT, args).await.map(drop)
    }

    /// Returns the latest rotation of each of these registrations that was ever rotated, in one statement.
    pub async fn latest_rotations(
        &mut self,
        registrations: &[&RegistrationId],
    ) -> Result<Vec<Rotation>, StoreError> {
        let keys: Vec<_> = registrations.iter().map(|id| vec![id.as_str().into()]).collect();
        self.look_up(LATEST, &keys).await?.iter().map(rotation).collect()
    }

    /// Returns a page of a registration's rotations, newest first.
    pub async fn rotations(
        &mut self,
        registration: &RegistrationId,
        page: &PageStart,
    ) -> Result<Vec<Rotation>, StoreError> {
        let (before, limit) = page_by_number(page);
        let args = vec![registration.as_str().into(), before.into(), limit.into()];
        self.rows(LIST, args).await?.iter().map(rotation).collect()
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
        let statement = if oldest_first { LINES_OLDEST } else { LINES };
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
        self.optional(GET, args).await?.as_ref().map(rotation).transpose()
    }

    /// Returns the number of the newest rotation of a registration; 0 if there is none.
    pub async fn newest_rotation_number(&mut self, registration: &RegistrationId) -> Result<i64, StoreError> {
        self.one(NEWEST_NUMBER, vec![registration.as_str().into()]).await?.int("number")
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
        self.execute(DECIDE, args).await.map(drop)
    }
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
