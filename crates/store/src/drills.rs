//! Drills: the windows in which a retiring secret is refused.

use crate::{PageStart, StoreError, Tx, catalogue::statements, db::Row, secrets::actor};
use crossfade_core::{
    DrillId, RegistrationId, SecretId, Timestamp,
    audit::Actor,
    drill::{Drill, Pattern, StoppedAs, Window},
};

/// A stored drill.
#[derive(Clone, Debug)]
pub struct DrillRow {
    /// Input of the rules.
    pub rule: Drill,
    /// The registration.
    pub registration_id: RegistrationId,
    /// Number among the drills of its registration, from 1.
    pub number: i64,
    /// Who scheduled it.
    pub scheduled_by: Actor,
    /// When it was scheduled.
    pub scheduled_at: Timestamp,
    /// Reason.
    pub reason: String,
    /// Who stopped it.
    pub stopped_by: Option<Actor>,
}

/// The windows of a secret's last drill, as the authority needs them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretWindows {
    /// The secret.
    pub secret_id: SecretId,
    /// The drill.
    pub drill_id: DrillId,
    /// The windows, in order.
    pub windows: Vec<Window>,
}

statements! {
    INSERT = "INSERT INTO drills (id, registration_id, number, secret_id, actor_kind, actor_id, actor_name, scheduled_at, reason, starts_at,
                  length_seconds, repeat_count, every_seconds, ends_at)
              VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";
    NEWEST_NUMBER = "SELECT CAST(COALESCE(MAX(number), 0) AS BIGINT) AS number FROM drills WHERE registration_id = $1";
    LIST = "SELECT id, registration_id, number, secret_id, actor_kind, actor_id, actor_name, scheduled_at, reason, starts_at, length_seconds,
                repeat_count, every_seconds, stopped_at, stopped_as, stopper_kind, stopper_id, stopper_name
            FROM drills WHERE registration_id = $1 AND (CAST($2 AS BIGINT) IS NULL OR number < $2) ORDER BY number DESC LIMIT $3";
    GET = "SELECT id, registration_id, number, secret_id, actor_kind, actor_id, actor_name, scheduled_at, reason, starts_at, length_seconds,
               repeat_count, every_seconds, stopped_at, stopped_as, stopper_kind, stopper_id, stopper_name
           FROM drills WHERE registration_id = $1 AND id = $2";
    OF_SECRETS = "SELECT r.id, r.registration_id, r.number, r.secret_id, r.actor_kind, r.actor_id, r.actor_name, r.scheduled_at, r.reason, r.starts_at,
                      r.length_seconds, r.repeat_count, r.every_seconds, r.stopped_at, r.stopped_as, r.stopper_kind, r.stopper_id, r.stopper_name
                  FROM (SELECT d.*, ROW_NUMBER() OVER (PARTITION BY d.secret_id ORDER BY d.number DESC) AS place
                        FROM drills d JOIN (VALUES {rows:1}) AS v ON d.secret_id = v.column1) r
                  WHERE r.place <= 100";
    LATEST = "SELECT id, registration_id, number, secret_id, actor_kind, actor_id, actor_name, scheduled_at, reason, starts_at, length_seconds,
                  repeat_count, every_seconds, stopped_at, stopped_as, stopper_kind, stopper_id, stopper_name
              FROM drills WHERE secret_id = $1 ORDER BY number DESC LIMIT 1";
    STOP = "UPDATE drills SET ends_at = $2, stopped_at = $2, stopped_as = $3, stopper_kind = $4, stopper_id = $5, stopper_name = $6 WHERE id = $1";
    UNTOLD = "SELECT id, registration_id, number, secret_id, actor_kind, actor_id, actor_name, scheduled_at, reason, starts_at, length_seconds,
                  repeat_count, every_seconds, stopped_at, stopped_as, stopper_kind, stopper_id, stopper_name
              FROM drills WHERE told_at IS NULL AND ends_at <= $1 ORDER BY ends_at, id LIMIT $2";
    TOLD = "UPDATE drills SET told_at = $2 WHERE id = $1";
    WINDOWS = "SELECT d.id, d.registration_id, d.number, d.secret_id, d.actor_kind, d.actor_id, d.actor_name, d.scheduled_at, d.reason,
                   d.starts_at, d.length_seconds, d.repeat_count, d.every_seconds, d.stopped_at, d.stopped_as, d.stopper_kind, d.stopper_id,
                   d.stopper_name
               FROM drills d JOIN secrets s ON s.id = d.secret_id
               WHERE d.registration_id >= $1 AND d.registration_id <= $2 AND s.expires_at IS NOT NULL AND s.revoked_at IS NULL
                 AND NOT EXISTS (SELECT 1 FROM drills later WHERE later.secret_id = d.secret_id AND later.number > d.number)
               ORDER BY d.registration_id, d.number";
}

impl Tx {
    /// Stores a drill that is not stopped.
    pub async fn insert_drill(&mut self, new: &DrillRow) -> Result<(), StoreError> {
        let Drill { id, secret_id, starts_at, pattern, .. } = &new.rule;
        let args = vec![
            id.as_str().into(),
            new.registration_id.as_str().into(),
            new.number.into(),
            secret_id.as_str().into(),
            new.scheduled_by.kind().into(),
            new.scheduled_by.id().into(),
            new.scheduled_by.name().into(),
            new.scheduled_at.into(),
            new.reason.as_str().into(),
            (*starts_at).into(),
            pattern.length_seconds().into(),
            pattern.repeat().into(),
            pattern.every_seconds().into(),
            new.rule.ends_at().into(),
        ];
        self.execute(INSERT, args).await.map(drop)
    }

    /// Returns the number of the newest drill of a registration; 0 if there is none.
    pub async fn newest_drill_number(&mut self, registration: &RegistrationId) -> Result<i64, StoreError> {
        self.one(NEWEST_NUMBER, vec![registration.as_str().into()]).await?.int("number")
    }

    /// Returns a page of a registration's drills, newest first.
    pub async fn drills(
        &mut self,
        registration: &RegistrationId,
        page: &PageStart,
    ) -> Result<Vec<DrillRow>, StoreError> {
        let before = page.after.as_ref().map(|(number, _)| *number);
        let args = vec![registration.as_str().into(), before.into(), page.limit.into()];
        self.rows(LIST, args).await?.iter().map(drill).collect()
    }

    /// Returns the drills of these secrets, newest first, at most 100 per secret.
    pub async fn drills_of_secrets(&mut self, secrets: &[SecretId]) -> Result<Vec<DrillRow>, StoreError> {
        let args: Vec<_> = secrets.iter().map(|id| vec![id.as_str().into()]).collect();
        let mut drills: Vec<_> =
            self.look_up(OF_SECRETS, &args).await?.iter().map(drill).collect::<Result<_, _>>()?;
        drills.sort_by_key(|drill| std::cmp::Reverse(drill.number));
        Ok(drills)
    }

    /// Returns a drill of a registration.
    pub async fn drill(
        &mut self,
        registration: &RegistrationId,
        id: &DrillId,
    ) -> Result<Option<DrillRow>, StoreError> {
        let args = vec![registration.as_str().into(), id.as_str().into()];
        self.optional(GET, args).await?.as_ref().map(drill).transpose()
    }

    /// Returns the last scheduled drill of a secret, which is the only one that may not have ended.
    pub async fn latest_drill(&mut self, secret: &SecretId) -> Result<Option<DrillRow>, StoreError> {
        self.optional(LATEST, vec![secret.as_str().into()]).await?.as_ref().map(drill).transpose()
    }

    /// Records that a drill was stopped, and by whom.
    pub async fn stop_drill(
        &mut self,
        id: &DrillId,
        (at, stopped_as): (Timestamp, StoppedAs),
        by: &Actor,
    ) -> Result<(), StoreError> {
        let args = vec![
            id.as_str().into(),
            at.into(),
            stopped_as.as_str().into(),
            by.kind().into(),
            by.id().into(),
            by.name().into(),
        ];
        self.execute(STOP, args).await.map(drop)
    }

    /// Returns the drills that had ended by `before` and are not yet in the audit trail as finished, at most `limit`.
    pub async fn untold_drills(
        &mut self,
        before: Timestamp,
        limit: i64,
    ) -> Result<Vec<DrillRow>, StoreError> {
        self.rows(UNTOLD, vec![before.into(), limit.into()]).await?.iter().map(drill).collect()
    }

    /// Records that the end of a drill was reported.
    pub async fn drill_told(&mut self, id: &DrillId, now: Timestamp) -> Result<(), StoreError> {
        self.execute(TOLD, vec![id.as_str().into(), now.into()]).await.map(drop)
    }

    /// Returns the windows of retiring secrets of the registrations in a range of ids. For each secret only those of
    /// its last drill, because an earlier drill had ended when that one was scheduled, and time never runs backwards.
    pub(crate) async fn drill_windows(
        &mut self,
        first: &str,
        last: &str,
    ) -> Result<Vec<(String, Result<SecretWindows, StoreError>)>, StoreError> {
        let rows = self.rows(WINDOWS, vec![first.into(), last.into()]).await?;
        let windows = |row: &Row| {
            let windows = drill(row).map(|DrillRow { rule, .. }| {
                let windows = rule.windows();
                SecretWindows { secret_id: rule.secret_id, drill_id: rule.id, windows }
            });
            (row.text("registration_id").unwrap_or_default(), windows)
        };
        Ok(rows.iter().map(windows).collect())
    }
}

fn drill(row: &Row) -> Result<DrillRow, StoreError> {
    let pattern =
        Pattern::new(row.int("length_seconds")?, row.int("repeat_count")?, row.opt_int("every_seconds")?)
            .map_err(|_| row.corrupt("length_seconds"))?;
    let stopped = row.opt_time("stopped_at")?.zip(row.opt_parsed("stopped_as", StoppedAs::parse)?);
    let stopped_by = match row.opt_text("stopper_kind")? {
        Some(kind) => {
            let by = Actor::from_parts(&kind, row.text("stopper_id")?, row.text("stopper_name")?);
            Some(by.ok_or_else(|| row.corrupt("stopper_id"))?)
        }
        None => None,
    };
    Ok(DrillRow {
        rule: Drill {
            id: row.parsed("id", |text| DrillId::parse(text).ok())?,
            secret_id: row.parsed("secret_id", |text| SecretId::parse(text).ok())?,
            starts_at: row.time("starts_at")?,
            pattern,
            stopped,
        },
        registration_id: row.parsed("registration_id", |text| RegistrationId::parse(text).ok())?,
        number: row.int("number")?,
        scheduled_by: actor(row)?,
        scheduled_at: row.time("scheduled_at")?,
        reason: row.text("reason")?,
        stopped_by,
    })
}
