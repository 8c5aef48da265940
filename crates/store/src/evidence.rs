//! Failed authentications, as flushed by the authority.

use crate::{PageStart, StoreError, Tx, Usage, catalogue::statements, db::Row};
use crossfade_core::{ClientId, PropertyId, RegistrationId, SecretId, Timestamp, environment::Slug};

/// Failed authentications of one kind from one source within an hour, to be added to what is stored.
#[derive(Clone, Debug)]
pub struct FailureRow {
    /// The registration, where the `client_id` is known.
    pub registration_id: Option<RegistrationId>,
    /// The ended secret that was presented, where it is known.
    pub secret_id: Option<SecretId>,
    /// Why it failed.
    pub reason: &'static str,
    /// The address.
    pub source_ip: String,
    /// When and how often.
    pub usage: Usage,
}

/// Failed authentications as they are stored, with what the registration belongs to.
#[derive(Clone, Debug)]
pub struct KnownFailure {
    /// When the hour began.
    pub hour: Timestamp,
    /// The client and its property; `None` where the `client_id` is not known.
    pub client: Option<(PropertyId, ClientId)>,
    /// The environment.
    pub environment: Option<Slug>,
    /// The ended secret that was presented.
    pub secret_id: Option<SecretId>,
    /// Why.
    pub reason: String,
    /// The address; empty in the row that gathers the rest.
    pub source_ip: String,
    /// When and how often.
    pub usage: Usage,
    /// Its place within the hour.
    pub key: String,
}

/// What a list of failed authentications is limited to.
#[derive(Clone, Debug, Default)]
pub struct FailureFilter {
    /// A client.
    pub client: Option<ClientId>,
    /// An environment.
    pub environment: Option<Slug>,
    /// A reason.
    pub reason: Option<String>,
    /// Only those whose last failure is not older.
    pub since: Option<Timestamp>,
}

/// The failed authentications of one registration, for one reason, in one hour.
#[derive(Clone, Debug)]
pub struct FailureSum {
    /// When the hour began.
    pub hour: Timestamp,
    /// The registration; `None` where the `client_id` is not known.
    pub registration_id: Option<RegistrationId>,
    /// Why.
    pub reason: String,
    /// How often.
    pub count: i64,
    /// From how many sources that were told apart.
    pub sources: i64,
}

const HOUR_MICROS: i64 = 3_600_000_000;

fn hour_of(at: Timestamp) -> i64 {
    at.as_micros() / HOUR_MICROS
}

statements! {
    ADD_FAILURES = "INSERT INTO authentication_failures (hour, registration_id, secret_id, reason, source_ip, first_at, last_at, failure_count)
                    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
                    ON CONFLICT (hour, registration_id, secret_id, reason, source_ip) DO UPDATE SET
                      first_at = CASE WHEN excluded.first_at < authentication_failures.first_at THEN excluded.first_at ELSE authentication_failures.first_at END,
                      last_at = CASE WHEN excluded.last_at > authentication_failures.last_at THEN excluded.last_at ELSE authentication_failures.last_at END,
                      failure_count = authentication_failures.failure_count + excluded.failure_count";
    COUNT_FAILURES = "SELECT CAST(COUNT(*) AS BIGINT) AS failures FROM authentication_failures WHERE hour = $1 AND secret_id = ''";
    HAS_FAILURES = "SELECT hour FROM authentication_failures
                    WHERE hour = $1 AND registration_id = $2 AND secret_id = $3 AND reason = $4 AND source_ip = $5";
    COUNT_FAILURES_OF = "SELECT CAST(COUNT(*) AS BIGINT) AS failures FROM authentication_failures WHERE hour = $1 AND registration_id = $2 AND secret_id = $3";
    FAILURES = "SELECT f.hour, c.property_id, r.client_id, r.environment, f.secret_id, f.reason, f.source_ip, f.first_at, f.last_at, f.failure_count,
                    f.registration_id || '~' || f.secret_id || '~' || f.reason || '~' || f.source_ip AS place
                FROM authentication_failures f
                LEFT JOIN registrations r ON r.id = f.registration_id
                LEFT JOIN clients c ON c.id = r.client_id
                WHERE (CAST($1 AS BIGINT) IS NULL OR f.hour < $1
                       OR (f.hour = $1 AND f.registration_id || '~' || f.secret_id || '~' || f.reason || '~' || f.source_ip > $2))
                  AND (CAST($4 AS TEXT) IS NULL OR r.client_id = $4)
                  AND (CAST($5 AS TEXT) IS NULL OR r.environment = $5)
                  AND (CAST($6 AS TEXT) IS NULL OR f.reason = $6)
                  AND (CAST($7 AS BIGINT) IS NULL OR f.last_at >= $7)
                ORDER BY f.hour DESC, place LIMIT $3";
    SUMS = "SELECT hour, registration_id, reason, CAST(SUM(failure_count) AS BIGINT) AS failures,
                CAST(COUNT(DISTINCT source_ip) AS BIGINT) AS sources
            FROM authentication_failures WHERE hour < $1 AND summed = 0
            GROUP BY hour, registration_id, reason ORDER BY hour, registration_id, reason";
    MARK_SUMMED = "UPDATE authentication_failures SET summed = 1 WHERE hour < $1 AND summed = 0";
    DELETE_FAILURES = "DELETE FROM authentication_failures WHERE hour < $1";
}

fn usage_args(usage: &Usage) -> [crate::db::Value; 3] {
    [usage.first_used_at.into(), usage.last_used_at.into(), usage.use_count.into()]
}

impl Tx {
    /// Adds failed authentications. Beyond `most_rows` rows an hour, new sources are gathered without address: so many
    /// of each ended secret, and so many of all else, so that no flood hides who still uses an ended secret. Tells, of
    /// failures that are the first of their kind in this hour, how many kinds there are in it now of that secret, or of
    /// the registration where no secret was recognised.
    pub async fn add_failures(
        &mut self,
        row: &FailureRow,
        most_rows: i64,
    ) -> Result<Option<i64>, StoreError> {
        let hour = hour_of(row.usage.last_used_at);
        let registration = row.registration_id.as_ref().map_or("", RegistrationId::as_str);
        let secret = row.secret_id.as_ref().map_or("", SecretId::as_str);
        let key = |source: &str| {
            vec![hour.into(), registration.into(), secret.into(), row.reason.into(), source.into()]
        };
        let known = self.optional(HAS_FAILURES, key(&row.source_ip)).await?.is_some();
        let of_secret = || vec![hour.into(), registration.into(), secret.into()];
        let counted = match secret {
            "" => self.one(COUNT_FAILURES, vec![hour.into()]).await?,
            _ => self.one(COUNT_FAILURES_OF, of_secret()).await?,
        };
        let full = !known && counted.int("failures")? >= most_rows;
        let mut args = key(if full { "" } else { &row.source_ip });
        args.extend(usage_args(&row.usage));
        self.execute(ADD_FAILURES, args).await?;
        if known || full {
            return Ok(None);
        }
        let kinds = self.one(COUNT_FAILURES_OF, of_secret()).await?;
        kinds.int("failures").map(Some)
    }

    /// A page of failed authentications, newest hour first. Its sort key is the hour and [`KnownFailure::key`].
    pub async fn authentication_failures(
        &mut self,
        filter: &FailureFilter,
        page: &PageStart,
    ) -> Result<Vec<KnownFailure>, StoreError> {
        let hour = |at: &i64| at / HOUR_MICROS;
        let after = page.after.as_ref().map(|(at, key)| (hour(at), key.clone()));
        let mut args = PageStart { after, limit: page.limit }.args();
        args.extend([
            filter.client.as_ref().map(ClientId::as_str).into(),
            filter.environment.as_ref().map(Slug::as_str).into(),
            filter.reason.clone().into(),
            filter.since.into(),
        ]);
        self.rows(FAILURES, args).await?.iter().map(known_failure).collect()
    }

    /// The sums of the hours that ended before `now` and have not been summed, which they are from now on.
    pub async fn sum_failures(&mut self, now: Timestamp) -> Result<Vec<FailureSum>, StoreError> {
        let hour = hour_of(now);
        let rows = self.rows(SUMS, vec![hour.into()]).await?;
        let sums = rows
            .iter()
            .map(|row| {
                Ok(FailureSum {
                    hour: Timestamp::from_micros(row.int("hour")? * HOUR_MICROS),
                    registration_id: known(row, "registration_id", |text| RegistrationId::parse(text).ok())?,
                    reason: row.text("reason")?,
                    count: row.int("failures")?,
                    sources: row.int("sources")?,
                })
            })
            .collect::<Result<Vec<_>, StoreError>>()?;
        if !sums.is_empty() {
            self.execute(MARK_SUMMED, vec![hour.into()]).await?;
        }
        Ok(sums)
    }

    /// Forgets failures of hours that ended before `before`.
    pub async fn delete_failures(&mut self, before: Timestamp) -> Result<u64, StoreError> {
        self.execute(DELETE_FAILURES, vec![hour_of(before).into()]).await
    }
}

/// An id that is stored as an empty text where it is not known.
fn known<T>(row: &Row, column: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, StoreError> {
    match row.text(column)?.as_str() {
        "" => Ok(None),
        text => parse(text).map(Some).ok_or_else(|| row.corrupt(column)),
    }
}

fn known_failure(row: &Row) -> Result<KnownFailure, StoreError> {
    let property = row.opt_parsed("property_id", |text| PropertyId::parse(text).ok())?;
    let client = row.opt_parsed("client_id", |text| ClientId::parse(text).ok())?;
    Ok(KnownFailure {
        hour: Timestamp::from_micros(row.int("hour")? * HOUR_MICROS),
        client: property.zip(client),
        environment: row.opt_text("environment")?.map(Slug::from_stored),
        secret_id: known(row, "secret_id", |text| SecretId::parse(text).ok())?,
        reason: row.text("reason")?,
        source_ip: row.text("source_ip")?,
        usage: Usage {
            first_used_at: row.time("first_at")?,
            last_used_at: row.time("last_at")?,
            use_count: row.int("failure_count")?,
        },
        key: row.text("place")?,
    })
}
