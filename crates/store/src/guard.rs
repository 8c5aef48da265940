//! Approaching deadlines, and the warnings sent for them.

use crate::{PageStart, StoreError, Tx, catalogue::statements, db::Row};
use crossfade_core::{
    ClientId, PropertyId, RegistrationId, RotationId, SecretId, Timestamp,
    environment::Slug,
    guard::{Guarded, Mark},
    text::Name,
};

/// A retiring secret of a registration that is not disabled and whose client is not deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NearDeadline {
    /// Input of the rules.
    pub rule: Guarded,
    /// The secret.
    pub secret_id: SecretId,
    /// The rotation that replaced it.
    pub rotation_id: RotationId,
    /// The registration.
    pub registration_id: RegistrationId,
    /// Its client.
    pub client_id: ClientId,
    /// Name of the client.
    pub client: Name,
    /// The property of the client.
    pub property_id: PropertyId,
    /// The environment.
    pub environment: Slug,
}

/// A warning that was sent for a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadlineWarning {
    /// The deadline.
    pub deadline: Timestamp,
    /// Warning time.
    pub mark: Mark,
    /// When the owners were notified.
    pub told_at: Timestamp,
    /// New deadline, if the policy extended it then.
    pub extended_to: Option<Timestamp>,
}

macro_rules! near {
    ($which:literal) => {
        concat!(
            "SELECT s.id, s.expires_at, s.registration_id, t.id AS rotation_id, t.rotated_at, t.compromised, r.client_id, r.environment,
                 c.name, c.property_id, e.guard_extension_hours,
                 (SELECT MIN(w.mark_hours) FROM deadline_warnings w WHERE w.rotation_id = t.id AND w.deadline = s.expires_at) AS told
             FROM secrets s
             JOIN rotations t ON t.outgoing_secret_id = s.id AND t.registration_id = s.registration_id AND t.ended_as IS NULL
             JOIN registrations r ON r.id = s.registration_id
             JOIN clients c ON c.id = r.client_id
             JOIN environments e ON e.slug = r.environment
             WHERE s.expires_at > $1 AND s.expires_at <= $2 AND s.revoked_at IS NULL AND s.expiry_noted_at IS NULL
               AND r.disabled_at IS NULL AND c.deleted_at IS NULL AND ", $which
        )
    };
}

statements! {
    NEAR = near!("(s.expires_at, s.id) > ($3, $4) ORDER BY s.expires_at, s.id LIMIT $5");
    NEAR_OF = near!("s.id = $3");
    TELL = "INSERT INTO deadline_warnings (rotation_id, deadline, mark_hours, told_at) VALUES ($1, $2, $3, $4)";
    EXTENDED = "UPDATE deadline_warnings SET extended_to = $4 WHERE rotation_id = $1 AND deadline = $2 AND mark_hours = $3";
    WARNINGS = "SELECT rotation_id, deadline, mark_hours, told_at, extended_to FROM deadline_warnings WHERE rotation_id = $1
                ORDER BY deadline DESC, mark_hours LIMIT $2";
    WARNED = "SELECT w.mark_hours, CAST(COUNT(*) AS BIGINT) AS secrets FROM secrets s
              JOIN rotations t ON t.outgoing_secret_id = s.id AND t.registration_id = s.registration_id AND t.ended_as IS NULL
              JOIN deadline_warnings w ON w.rotation_id = t.id AND w.deadline = s.expires_at
              JOIN registrations r ON r.id = s.registration_id
              JOIN clients c ON c.id = r.client_id
              WHERE s.expires_at > $1 AND s.revoked_at IS NULL AND s.expiry_noted_at IS NULL
                AND r.disabled_at IS NULL AND c.deleted_at IS NULL
                AND NOT EXISTS (SELECT 1 FROM deadline_warnings u
                                WHERE u.rotation_id = w.rotation_id AND u.deadline = w.deadline AND u.mark_hours < w.mark_hours)
              GROUP BY w.mark_hours";
}

impl Tx {
    /// Returns a page of the deadlines between two times, the next one first, and where the next page begins. A corrupt
    /// row does not hide the others.
    pub async fn near_deadlines(
        &mut self,
        (now, until): (Timestamp, Timestamp),
        page: &PageStart,
    ) -> Result<(Vec<Result<NearDeadline, StoreError>>, Option<(i64, String)>), StoreError> {
        let (at, id) = page.after.clone().unwrap_or_default();
        let args = vec![now.into(), until.into(), at.into(), id.into(), page.limit.into()];
        let rows = self.rows(NEAR, args).await?;
        let last = rows.last().filter(|_| rows.len() as i64 == page.limit);
        let next = last.map(|row| Ok::<_, StoreError>((row.int("expires_at")?, row.text("id")?)));
        Ok((rows.iter().map(near).collect(), next.transpose()?))
    }

    /// Returns the deadline of one secret if it lies between the two times.
    pub async fn near_deadline(
        &mut self,
        (now, until): (Timestamp, Timestamp),
        secret: &SecretId,
    ) -> Result<Option<NearDeadline>, StoreError> {
        let args = vec![now.into(), until.into(), secret.as_str().into()];
        self.optional(NEAR_OF, args).await?.as_ref().map(near).transpose()
    }

    /// Records a warning to the owners. Fails if the warning for this time was already recorded.
    pub async fn insert_deadline_warning(
        &mut self,
        rotation: &RotationId,
        (deadline, mark): (Timestamp, Mark),
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let args = vec![rotation.as_str().into(), deadline.into(), mark.hours().into(), now.into()];
        self.execute(TELL, args).await.map(drop)
    }

    /// Records the new deadline given by the policy together with a warning.
    pub async fn deadline_extended(
        &mut self,
        rotation: &RotationId,
        (deadline, mark): (Timestamp, Mark),
        extended_to: Timestamp,
    ) -> Result<(), StoreError> {
        let args = vec![rotation.as_str().into(), deadline.into(), mark.hours().into(), extended_to.into()];
        self.execute(EXTENDED, args).await.map(drop)
    }

    /// Returns the warnings for the deadlines of a rotation, latest first, at most `limit`.
    pub async fn deadline_warnings(
        &mut self,
        rotation: &RotationId,
        limit: i64,
    ) -> Result<Vec<DeadlineWarning>, StoreError> {
        let args = vec![rotation.as_str().into(), limit.into()];
        let warning = |row: &Row| {
            Ok(DeadlineWarning {
                deadline: row.time("deadline")?,
                mark: row.parsed_int("mark_hours", Mark::from_hours)?,
                told_at: row.time("told_at")?,
                extended_to: row.opt_time("extended_to")?,
            })
        };
        self.rows(WARNINGS, args).await?.iter().map(warning).collect()
    }

    /// Returns the number of retiring secrets by the most urgent warning sent for their deadline.
    pub async fn warned_secrets(&mut self, now: Timestamp) -> Result<[(Mark, i64); 3], StoreError> {
        let mut warned = Mark::ALL.map(|mark| (mark, 0));
        for row in self.rows(WARNED, vec![now.into()]).await? {
            let hours = row.int("mark_hours")?;
            // The guard reports an unreadable warning time; here it must not hide the other numbers.
            if let Some((_, secrets)) = warned.iter_mut().find(|(mark, _)| mark.hours() == hours) {
                *secrets = row.int("secrets")?;
            }
        }
        Ok(warned)
    }
}

fn near(row: &Row) -> Result<NearDeadline, StoreError> {
    let told = match row.opt_int("told")? {
        Some(hours) => Some(Mark::from_hours(hours).ok_or_else(|| row.corrupt("told"))?),
        None => None,
    };
    Ok(NearDeadline {
        rule: Guarded {
            rotated_at: row.time("rotated_at")?,
            deadline: row.time("expires_at")?,
            compromised: row.flag("compromised")?,
            told,
            extension_hours: row.opt_int("guard_extension_hours")?,
        },
        secret_id: row.parsed("id", |text| SecretId::parse(text).ok())?,
        rotation_id: row.parsed("rotation_id", |text| RotationId::parse(text).ok())?,
        registration_id: row.parsed("registration_id", |text| RegistrationId::parse(text).ok())?,
        client_id: row.parsed("client_id", |text| ClientId::parse(text).ok())?,
        client: Name::from_stored(row.text("name")?),
        property_id: row.parsed("property_id", |text| PropertyId::parse(text).ok())?,
        environment: Slug::from_stored(row.text("environment")?),
    })
}
