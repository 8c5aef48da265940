//! Failed authentications, as flushed by the authority.

use crate::{PageStart, StoreError, Tx, Usage, Value, catalogue::statements, db::Row, evidence::usage_args};
use crossfade_core::{ClientId, PropertyId, RegistrationId, SecretId, Timestamp, environment::Slug};
use std::collections::{BTreeMap, BTreeSet, HashMap, hash_map::Entry};

/// Failed authentications of one kind from one source within an hour, to add to the stored ones.
#[derive(Clone, Debug)]
pub struct FailureRow {
    /// The registration, if the `client_id` is known.
    pub registration_id: Option<RegistrationId>,
    /// The ended secret that was presented, if it was recognised.
    pub secret_id: Option<SecretId>,
    /// Why it failed.
    pub reason: &'static str,
    /// The address.
    pub source_ip: String,
    /// Times and count.
    pub usage: Usage,
}

/// Stored failed authentications, with the client and environment of the registration.
#[derive(Clone, Debug)]
pub struct KnownFailure {
    /// When the hour began.
    pub hour: Timestamp,
    /// The client and its property; `None` if the `client_id` is not known.
    pub client: Option<(PropertyId, ClientId)>,
    /// The environment.
    pub environment: Option<Slug>,
    /// The ended secret that was presented.
    pub secret_id: Option<SecretId>,
    /// Reason.
    pub reason: String,
    /// The address; empty in the row that groups the rest.
    pub source_ip: String,
    /// Times and count.
    pub usage: Usage,
    /// Sort key within the hour.
    pub key: String,
}

/// Filter for a list of failed authentications.
#[derive(Clone, Debug, Default)]
pub struct FailureFilter {
    /// A client.
    pub client: Option<ClientId>,
    /// An environment.
    pub environment: Option<Slug>,
    /// A reason.
    pub reason: Option<String>,
    /// Only rows whose last failure is not older.
    pub since: Option<Timestamp>,
}

/// The failed authentications of one registration, for one reason, in one hour.
#[derive(Clone, Debug)]
pub struct FailureSum {
    /// When the hour began.
    pub hour: Timestamp,
    /// The registration; `None` if the `client_id` is not known.
    pub registration_id: Option<RegistrationId>,
    /// Reason.
    pub reason: String,
    /// Number of times.
    pub count: i64,
    /// Number of distinct sources.
    pub sources: i64,
}

const HOUR_MICROS: i64 = 3_600_000_000;

fn hour_of(at: Timestamp) -> i64 {
    at.as_micros() / HOUR_MICROS
}

statements! {
    ADD_FAILURES = "INSERT INTO authentication_failures (hour, registration_id, secret_id, reason, source_ip, first_at, last_at, failure_count)
                    VALUES {rows:8}
                    ON CONFLICT (hour, registration_id, secret_id, reason, source_ip) DO UPDATE SET
                      first_at = CASE WHEN excluded.first_at < authentication_failures.first_at THEN excluded.first_at ELSE authentication_failures.first_at END,
                      last_at = CASE WHEN excluded.last_at > authentication_failures.last_at THEN excluded.last_at ELSE authentication_failures.last_at END,
                      failure_count = authentication_failures.failure_count + excluded.failure_count";
    COUNT_FAILURES = "SELECT CAST(COUNT(*) AS BIGINT) AS failures FROM authentication_failures WHERE hour = $1 AND secret_id = ''";
    KNOWN_FAILURES = "SELECT f.hour, f.registration_id, f.secret_id, f.reason, f.source_ip FROM authentication_failures f JOIN (VALUES {rows:5}) AS v
                      ON f.hour = CAST(v.column1 AS BIGINT) AND f.registration_id = v.column2 AND f.secret_id = v.column3 AND f.reason = v.column4 AND f.source_ip = v.column5";
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

impl Tx {
    /// Adds failed authentications. Above `most_rows` rows per hour, new sources are grouped without an address. The
    /// limit applies separately to each ended secret and to everything else, so that no flood hides the callers of an
    /// ended secret. For each row that is the first of its kind in its hour, returns the number of kinds so far for
    /// that secret, or for the registration if no secret was recognised.
    ///
    /// Stored rows are counted once per call and not per row, so that a flood does not delay other evidence.
    pub async fn add_failures(
        &mut self,
        rows: &[FailureRow],
        most_rows: i64,
    ) -> Result<Vec<Option<i64>>, StoreError> {
        let keys: Vec<Key> = rows.iter().map(Key::of).collect();
        let distinct: BTreeSet<&Key> = keys.iter().collect();
        let args: Vec<_> = distinct.into_iter().map(Key::args).collect();
        let stored = self.many(KNOWN_FAILURES, &args).await?;
        let mut known = stored.iter().map(Key::stored).collect::<Result<BTreeSet<_>, _>>()?;
        let (mut of_hours, mut of_owners) = (HashMap::new(), HashMap::new());
        for key in &keys {
            if let Entry::Vacant(place) = of_hours.entry(key.hour) {
                place.insert(self.one(COUNT_FAILURES, vec![key.hour.into()]).await?.int("failures")?);
            }
            if let Entry::Vacant(place) = of_owners.entry(key.owner()) {
                let args = key.args().into_iter().take(3).collect();
                place.insert(self.one(COUNT_FAILURES_OF, args).await?.int("failures")?);
            }
        }
        let mut added: BTreeMap<Key, Usage> = BTreeMap::new();
        let mut told = Vec::with_capacity(rows.len());
        for (row, mut key) in rows.iter().zip(keys) {
            let is_known = known.contains(&key);
            let of_owner = of_owners.entry(key.owner()).or_default();
            let of_hour = of_hours.entry(key.hour).or_default();
            let full = match &*key.secret {
                "" => *of_hour >= most_rows,
                _ => *of_owner >= most_rows,
            };
            told.push((!is_known && !full).then(|| {
                *of_owner += 1;
                *of_hour += i64::from(key.secret.is_empty());
                *of_owner
            }));
            if full && !is_known {
                key.source_ip = String::new();
            }
            known.insert(key.clone());
            added.entry(key).and_modify(|usage| usage.merge(&row.usage)).or_insert(row.usage);
        }
        let args = added.into_iter().map(|(key, usage)| {
            let mut args = key.args();
            args.extend(usage_args(&usage));
            args
        });
        self.many(ADD_FAILURES, &args.collect::<Vec<_>>()).await?;
        Ok(told)
    }

    /// Returns a page of failed authentications, newest hour first. Its sort key is the hour and [`KnownFailure::key`].
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

    /// Returns the totals of the hours that ended before `now` and were not totalled before, and marks these hours.
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

/// Key of a row of failed authentications. Unknown values are empty texts.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    hour: i64,
    registration: String,
    secret: String,
    reason: String,
    source_ip: String,
}

impl Key {
    fn of(row: &FailureRow) -> Self {
        Self {
            hour: hour_of(row.usage.last_used_at),
            registration: row.registration_id.as_ref().map(ToString::to_string).unwrap_or_default(),
            secret: row.secret_id.as_ref().map(ToString::to_string).unwrap_or_default(),
            reason: row.reason.to_owned(),
            source_ip: row.source_ip.clone(),
        }
    }

    fn owner(&self) -> (i64, String, String) {
        (self.hour, self.registration.clone(), self.secret.clone())
    }

    fn stored(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            hour: row.int("hour")?,
            registration: row.text("registration_id")?,
            secret: row.text("secret_id")?,
            reason: row.text("reason")?,
            source_ip: row.text("source_ip")?,
        })
    }

    fn args(&self) -> Vec<Value> {
        let Self { hour, registration, secret, reason, source_ip } = self;
        let mut args = vec![(*hour).into()];
        args.extend([registration, secret, reason, source_ip].map(|text| Value::from(text.as_str())));
        args
    }
}

/// Reads an id that is stored as an empty text if it is not known.
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
