//! Callers that presented a recognised secret and were refused, by a drill or by the record of the registration.

use crate::{
    StoreError, Tx, Usage, UsageSource, Value, catalogue::statements, db::Row, evidence::usage_args,
};
use crossfade_core::{DrillId, RegistrationId, SecretId, Timestamp};
use std::collections::{BTreeMap, BTreeSet, HashMap, hash_map::Entry};

/// Refusals of one caller, stored or to add to the stored ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedCallerRow {
    /// The secret.
    pub secret_id: SecretId,
    /// The drill that refused it; `None` if the record did: the registration is disabled, does not allow the
    /// authentication method, or the secret has ended.
    pub drill_id: Option<DrillId>,
    /// The caller.
    pub source: UsageSource,
    /// Times and number of refusals.
    pub refusals: Usage,
}

/// Callers that a drill has refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrillFindings {
    /// Totals of the drill.
    pub counts: DrillCounts,
    /// Refused callers, the latest refusal first, at most 100.
    pub callers: Vec<RefusedCallerRow>,
}

/// Number of callers a drill refused, and of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrillCounts {
    /// The callers.
    pub callers: i64,
    /// The refusals.
    pub refusals: i64,
}

statements! {
    ADD = "INSERT INTO refused_callers (secret_id, drill_id, source_ip, user_agent, instance, gathered, first_at, last_at, refusal_count)
           VALUES {rows:9}
           ON CONFLICT (secret_id, drill_id, source_ip, user_agent, instance, gathered) DO UPDATE SET
             first_at = CASE WHEN excluded.first_at < refused_callers.first_at THEN excluded.first_at ELSE refused_callers.first_at END,
             last_at = CASE WHEN excluded.last_at > refused_callers.last_at THEN excluded.last_at ELSE refused_callers.last_at END,
             refusal_count = refused_callers.refusal_count + excluded.refusal_count";
    KNOWN = "SELECT c.secret_id, c.drill_id, c.source_ip, c.user_agent, c.instance, c.gathered FROM refused_callers c JOIN (VALUES {rows:6}) AS v
             ON c.secret_id = v.column1 AND c.drill_id = v.column2 AND c.source_ip = v.column3 AND c.user_agent = v.column4 AND c.instance = v.column5
               AND c.gathered = CAST(v.column6 AS BIGINT)";
    COUNT = "SELECT CAST(COUNT(*) AS BIGINT) AS callers FROM refused_callers WHERE secret_id = $1 AND drill_id = $2";
    COUNT_DRILL = "SELECT CAST(COUNT(*) AS BIGINT) AS callers, CAST(COALESCE(SUM(refusal_count), 0) AS BIGINT) AS refusals
                   FROM refused_callers WHERE drill_id = $1";
    OF_DRILL = "SELECT secret_id, drill_id, source_ip, user_agent, instance, gathered, first_at, last_at, refusal_count FROM refused_callers
                WHERE drill_id = $1 ORDER BY last_at DESC, source_ip, user_agent, instance, gathered LIMIT $2";
    OF_DRILLS = "SELECT r.secret_id, r.drill_id, r.source_ip, r.user_agent, r.instance, r.gathered, r.first_at, r.last_at, r.refusal_count, r.callers, r.refusals
                 FROM (SELECT c.*, CAST(COUNT(*) OVER (PARTITION BY c.drill_id) AS BIGINT) AS callers,
                         CAST(SUM(c.refusal_count) OVER (PARTITION BY c.drill_id) AS BIGINT) AS refusals,
                         ROW_NUMBER() OVER (PARTITION BY c.drill_id ORDER BY c.last_at DESC, c.source_ip, c.user_agent, c.instance, c.gathered) AS place
                       FROM refused_callers c JOIN (VALUES {rows:1}) AS v ON c.drill_id = v.column1) r
                 WHERE r.place <= 100 ORDER BY r.drill_id, r.place";
    EARLIER = "SELECT c.secret_id, c.drill_id, c.source_ip, c.user_agent, c.instance, c.gathered, c.first_at, c.last_at, c.refusal_count
               FROM refused_callers c JOIN secrets s ON s.id = c.secret_id
               WHERE s.registration_id = $1 AND s.id <> $2 AND c.drill_id = '' AND c.last_at >= $3 AND (s.revoked_at <= c.last_at OR s.expires_at <= c.last_at)
               ORDER BY c.last_at DESC, c.secret_id, c.source_ip, c.user_agent, c.instance, c.gathered LIMIT $4";
    OF_SECRETS = "SELECT c.secret_id, c.drill_id, c.source_ip, c.user_agent, c.instance, c.gathered, c.first_at, c.last_at, c.refusal_count
                  FROM refused_callers c JOIN (VALUES {rows:1}) AS v ON c.secret_id = v.column1";
}

/// Key of a row.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    secret: SecretId,
    drill: Option<DrillId>,
    source: UsageSource,
}

impl Key {
    fn args(&self) -> Vec<Value> {
        let UsageSource { ip, user_agent, instance, gathered } = &self.source;
        let drill = self.drill.as_ref().map_or("", DrillId::as_str);
        let texts = [self.secret.as_str(), drill, ip, user_agent, instance];
        texts.into_iter().map(Value::from).chain([(*gathered).into()]).collect()
    }

    fn stored(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            secret: row.parsed("secret_id", |text| SecretId::parse(text).ok())?,
            drill: match row.text("drill_id")?.as_str() {
                "" => None,
                _ => Some(row.parsed("drill_id", |text| DrillId::parse(text).ok())?),
            },
            source: UsageSource {
                ip: row.text("source_ip")?,
                user_agent: row.text("user_agent")?,
                instance: row.text("instance")?,
                gathered: row.flag("gathered")?,
            },
        })
    }
}

impl Tx {
    /// Adds refusals of callers. Above `most` callers of a drill, or of a secret outside drills, new ones are grouped
    /// in one row without a source.
    pub async fn add_refused_callers(
        &mut self,
        rows: &[RefusedCallerRow],
        most: i64,
    ) -> Result<(), StoreError> {
        let key = |row: &RefusedCallerRow| {
            let RefusedCallerRow { secret_id, drill_id, source, .. } = row.clone();
            Key { secret: secret_id, drill: drill_id, source }
        };
        let keys: BTreeSet<Key> = rows.iter().map(key).collect();
        let stored = self.many(KNOWN, &keys.iter().map(Key::args).collect::<Vec<_>>()).await?;
        let mut known = stored.iter().map(Key::stored).collect::<Result<BTreeSet<_>, _>>()?;
        let mut counts = HashMap::new();
        let mut added: BTreeMap<Key, Usage> = BTreeMap::new();
        for row in rows {
            let mut key = key(row);
            if !known.contains(&key) {
                let count = match counts.entry((key.secret.clone(), key.drill.clone())) {
                    Entry::Occupied(counted) => counted.into_mut(),
                    Entry::Vacant(place) => {
                        let args = key.args().into_iter().take(2).collect();
                        place.insert(self.one(COUNT, args).await?.int("callers")?)
                    }
                };
                if *count >= most {
                    key.source = UsageSource { gathered: true, ..UsageSource::default() };
                } else {
                    *count += 1;
                }
                known.insert(key.clone());
            }
            added.entry(key).and_modify(|usage| usage.merge(&row.refusals)).or_insert(row.refusals);
        }
        let args = added.iter().map(|(key, usage)| [key.args(), usage_args(usage).into()].concat());
        self.many(ADD, &args.collect::<Vec<_>>()).await.map(drop)
    }

    /// Returns the number of callers a drill refused, and of refusals.
    pub async fn drill_counts(&mut self, drill: &DrillId) -> Result<DrillCounts, StoreError> {
        let row = self.one(COUNT_DRILL, vec![drill.as_str().into()]).await?;
        Ok(DrillCounts { callers: row.int("callers")?, refusals: row.int("refusals")? })
    }

    /// Returns at most `limit` callers refused by a drill, the latest refusal first.
    pub async fn drill_callers(
        &mut self,
        drill: &DrillId,
        limit: i64,
    ) -> Result<Vec<RefusedCallerRow>, StoreError> {
        self.rows(OF_DRILL, vec![drill.as_str().into(), limit.into()]).await?.iter().map(caller).collect()
    }

    /// Returns the callers refused by these drills. Drills without refusals are left out.
    pub async fn drill_findings(
        &mut self,
        drills: &[DrillId],
    ) -> Result<HashMap<DrillId, DrillFindings>, StoreError> {
        let args: Vec<_> = drills.iter().map(|id| vec![Value::from(id.as_str())]).collect();
        let mut found: HashMap<DrillId, DrillFindings> = HashMap::new();
        for row in self.look_up(OF_DRILLS, &args).await? {
            let caller = caller(&row)?;
            let counts = DrillCounts { callers: row.int("callers")?, refusals: row.int("refusals")? };
            let drill = caller.drill_id.clone().ok_or_else(|| row.corrupt("drill_id"))?;
            let findings = found.entry(drill).or_insert(DrillFindings { counts, callers: Vec::new() });
            findings.callers.push(caller);
        }
        Ok(found)
    }

    /// Returns at most `limit` callers that were refused after `since` with ended secrets of a registration other than `except`,
    /// the latest refusal first.
    pub async fn refused_with_ended(
        &mut self,
        registration: &RegistrationId,
        except: &SecretId,
        since: Timestamp,
        limit: i64,
    ) -> Result<Vec<RefusedCallerRow>, StoreError> {
        let args = vec![registration.as_str().into(), except.as_str().into(), since.into(), limit.into()];
        self.rows(EARLIER, args).await?.iter().map(caller).collect()
    }

    /// Returns the callers that were refused with these secrets, in one statement.
    pub async fn refused_callers_of_secrets(
        &mut self,
        secrets: &[&SecretId],
    ) -> Result<Vec<RefusedCallerRow>, StoreError> {
        let keys: Vec<_> = secrets.iter().map(|id| vec![id.as_str().into()]).collect();
        self.look_up(OF_SECRETS, &keys).await?.iter().map(caller).collect()
    }
}

fn caller(row: &Row) -> Result<RefusedCallerRow, StoreError> {
    let Key { secret, drill, source } = Key::stored(row)?;
    Ok(RefusedCallerRow {
        secret_id: secret,
        drill_id: drill,
        source,
        refusals: Usage {
            first_used_at: row.time("first_at")?,
            last_used_at: row.time("last_at")?,
            use_count: row.int("refusal_count")?,
        },
    })
}
