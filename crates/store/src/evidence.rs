//! Evidence of use, as flushed by the authority: how often each secret was used, from where, and when.

use crate::{PageStart, StoreError, Tx, Value, catalogue::statements, db::Row};
use crossfade_core::{
    RegistrationId, SecretId, Timestamp,
    api::{GapKind, Grain},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, btree_map::Entry},
    time::Duration,
};

/// The use of one secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The first use.
    pub first_used_at: Timestamp,
    /// The last use.
    pub last_used_at: Timestamp,
    /// Number of times.
    pub use_count: i64,
}

impl Usage {
    pub(crate) fn merge(&mut self, other: &Self) {
        self.first_used_at = self.first_used_at.min(other.first_used_at);
        self.last_used_at = self.last_used_at.max(other.last_used_at);
        self.use_count += other.use_count;
    }
}

/// Source of a use.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UsageSource {
    /// The address in its stored form; empty in the row that groups all others.
    pub ip: String,
    /// The user agent; empty if none was sent.
    pub user_agent: String,
    /// The instance label; empty if none was sent.
    pub instance: String,
    /// Whether this groups sources beyond the limit: those of this address or, without an address, all others.
    pub gathered: bool,
}

/// The use of one secret from one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageRow {
    /// The secret.
    pub secret_id: SecretId,
    /// The source.
    pub source: UsageSource,
    /// The use.
    pub usage: Usage,
    /// Longest time between two consecutive uses.
    pub longest_pause: Duration,
}

/// The use of one secret from one source, as stored.
#[derive(Clone, Debug)]
pub struct SourceUsage {
    /// The stored use.
    pub row: UsageRow,
    /// The secret's deadline.
    pub expires_at: Option<Timestamp>,
    /// The secret's revocation.
    pub revoked_at: Option<Timestamp>,
}

/// Limits for sources that are stored individually.
#[derive(Clone, Copy, Debug)]
pub struct SourceCaps {
    /// Limit per secret.
    pub of_secret: i64,
    /// Limit per secret and address.
    pub of_address: i64,
}

/// Uses of a secret within an interval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsagePoint {
    /// The secret.
    pub secret_id: SecretId,
    /// Start of the interval.
    pub from: Timestamp,
    /// Number of uses.
    pub use_count: i64,
}

/// A period with no evidence, or without complete evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvidenceGap {
    /// Start.
    pub began_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// Cause.
    pub kind: GapKind,
}

statements! {
    ADD = "INSERT INTO secret_usage (secret_id, first_used_at, last_used_at, use_count) VALUES {rows:4}
           ON CONFLICT (secret_id) DO UPDATE SET
             first_used_at = CASE WHEN excluded.first_used_at < secret_usage.first_used_at THEN excluded.first_used_at ELSE secret_usage.first_used_at END,
             last_used_at = CASE WHEN excluded.last_used_at > secret_usage.last_used_at THEN excluded.last_used_at ELSE secret_usage.last_used_at END,
             use_count = secret_usage.use_count + excluded.use_count";
    ADD_POINTS = "INSERT INTO secret_usage_series (secret_id, grain, bucket, use_count) VALUES {rows:4}
                  ON CONFLICT (secret_id, grain, bucket) DO UPDATE SET use_count = secret_usage_series.use_count + excluded.use_count";
    POINTS = "SELECT p.secret_id, p.grain, p.bucket, p.use_count FROM secret_usage_series p JOIN secrets s ON s.id = p.secret_id
              WHERE s.registration_id = $1 AND p.grain = $2 AND p.bucket >= $3 AND p.bucket <= $4
              ORDER BY p.bucket, s.number LIMIT $5 OFFSET $6";
    DELETE_POINTS = "DELETE FROM secret_usage_series WHERE grain = $1 AND bucket < $2";
    THIN_POINTS = "DELETE FROM secret_usage_series WHERE grain = $1 AND bucket >= $2 AND bucket < $3
                   AND NOT EXISTS (SELECT 1 FROM secrets own JOIN secrets old ON old.registration_id = own.registration_id
                                   WHERE own.id = secret_usage_series.secret_id AND old.expires_at > $4)";
    UPDATE_SOURCES = "UPDATE secret_usage_sources SET
                        first_used_at = CASE WHEN CAST(v.column6 AS BIGINT) < first_used_at THEN CAST(v.column6 AS BIGINT) ELSE first_used_at END,
                        longest_pause = CASE WHEN CAST(v.column6 AS BIGINT) - last_used_at > longest_pause AND CAST(v.column6 AS BIGINT) - last_used_at > CAST(v.column9 AS BIGINT) THEN CAST(v.column6 AS BIGINT) - last_used_at
                                             WHEN CAST(v.column9 AS BIGINT) > longest_pause THEN CAST(v.column9 AS BIGINT) ELSE longest_pause END,
                        last_used_at = CASE WHEN CAST(v.column7 AS BIGINT) > last_used_at THEN CAST(v.column7 AS BIGINT) ELSE last_used_at END,
                        use_count = use_count + CAST(v.column8 AS BIGINT)
                      FROM (VALUES {rows:9}) AS v
                      WHERE secret_id = v.column1 AND source_ip = v.column2 AND user_agent = v.column3 AND instance = v.column4 AND gathered = CAST(v.column5 AS BIGINT)
                      RETURNING secret_id, source_ip, user_agent, instance, gathered";
    INSERT_SOURCES = "INSERT INTO secret_usage_sources (secret_id, source_ip, user_agent, instance, gathered, first_used_at, last_used_at, use_count, longest_pause)
                      VALUES {rows:9}";
    COUNT_SOURCES = "SELECT u.secret_id, CAST(SUM(1 - u.gathered) AS BIGINT) AS own, CAST(SUM(u.gathered) AS BIGINT) AS gathered
                     FROM secret_usage_sources u JOIN (VALUES {rows:1}) AS v ON u.secret_id = v.column1 GROUP BY u.secret_id";
    COUNT_AT_ADDRESSES = "SELECT u.secret_id, u.source_ip, CAST(COUNT(*) AS BIGINT) AS own
                          FROM secret_usage_sources u JOIN (VALUES {rows:2}) AS v ON u.secret_id = v.column1 AND u.source_ip = v.column2
                          WHERE u.gathered = 0 GROUP BY u.secret_id, u.source_ip";
    SOURCES = "SELECT u.secret_id, u.source_ip, u.user_agent, u.instance, u.gathered, u.first_used_at, u.last_used_at, u.use_count, u.longest_pause, s.expires_at, s.revoked_at
               FROM secret_usage_sources u JOIN secrets s ON s.id = u.secret_id
               WHERE s.registration_id = $1 AND (CAST($2 AS BIGINT) IS NULL OR u.last_used_at >= $2)
               ORDER BY s.number DESC, u.last_used_at DESC, u.source_ip, u.user_agent, u.instance, u.gathered LIMIT $3 OFFSET $4";
    CALLERS_SINCE = "SELECT u.secret_id, u.source_ip, u.user_agent, u.instance, u.gathered, u.first_used_at, u.last_used_at, u.use_count, u.longest_pause, s.expires_at, s.revoked_at
                     FROM secret_usage_sources u JOIN secrets s ON s.id = u.secret_id
                     WHERE s.registration_id = $1 AND s.revoked_at IS NULL AND (s.expires_at IS NULL OR s.expires_at > $2) AND u.last_used_at >= $3
                     ORDER BY u.last_used_at DESC, u.source_ip, u.user_agent, u.instance, u.gathered LIMIT $4";
    SOURCES_OF = "SELECT u.secret_id, u.source_ip, u.user_agent, u.instance, u.gathered, u.first_used_at, u.last_used_at, u.use_count, u.longest_pause, s.expires_at, s.revoked_at
                  FROM secret_usage_sources u JOIN (VALUES {rows:1}) AS v ON u.secret_id = v.column1 JOIN secrets s ON s.id = u.secret_id";
    INSERT_GAP = "INSERT INTO evidence_gaps (began_at, ended_at, kind) VALUES ($1, $2, $3)
                  ON CONFLICT (began_at) DO UPDATE SET ended_at = excluded.ended_at, kind = excluded.kind";
    GAPS = "SELECT began_at, ended_at, kind FROM evidence_gaps WHERE ended_at > $1 ORDER BY began_at DESC LIMIT $2";
    LAST_LOSS = "SELECT MAX(ended_at) AS ended_at FROM evidence_gaps WHERE kind <> 'stopped'";
    DELETE_GAPS = "DELETE FROM evidence_gaps WHERE ended_at < $1";
}

pub(crate) fn usage_args(usage: &Usage) -> [Value; 3] {
    [usage.first_used_at.into(), usage.last_used_at.into(), usage.use_count.into()]
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

fn source_args(row: &UsageRow) -> Vec<Value> {
    let UsageSource { ip, user_agent, instance, gathered } = &row.source;
    let mut args: Vec<Value> = vec![row.secret_id.as_str().into()];
    args.extend([
        ip.as_str().into(),
        user_agent.as_str().into(),
        instance.as_str().into(),
        (*gathered).into(),
    ]);
    args.extend(usage_args(&row.usage));
    args.push(micros(row.longest_pause).into());
    args
}

impl Tx {
    /// Adds uses to the totals of their secrets, to the series of every grain, and to their sources. No two rows must
    /// have the same secret and source.
    ///
    /// Beyond the limits, a source is grouped with others of its address, and finally with all others.
    pub async fn add_uses(&mut self, rows: &[UsageRow], caps: SourceCaps) -> Result<(), StoreError> {
        let mut totals: BTreeMap<&SecretId, Usage> = BTreeMap::new();
        for row in rows {
            totals.entry(&row.secret_id).and_modify(|total| total.merge(&row.usage)).or_insert(row.usage);
        }
        let total = |(secret, usage): (&&SecretId, &Usage)| {
            let mut args: Vec<Value> = vec![secret.as_str().into()];
            args.extend(usage_args(usage));
            args
        };
        self.many(ADD, &totals.iter().map(total).collect::<Vec<_>>()).await?;
        let points = totals.iter().flat_map(|(secret, usage)| {
            Grain::ALL.map(|grain| -> Vec<Value> {
                let bucket = grain.bucket(usage.last_used_at);
                vec![secret.as_str().into(), grain.seconds().into(), bucket.into(), usage.use_count.into()]
            })
        });
        self.many(ADD_POINTS, &points.collect::<Vec<_>>()).await?;

        let new = self.add_to_sources(rows).await?;
        match new.is_empty() {
            true => Ok(()),
            false => self.insert_sources(new, caps).await,
        }
    }

    /// Adds uses to stored sources, and returns the other uses.
    async fn add_to_sources(&mut self, rows: &[UsageRow]) -> Result<Vec<UsageRow>, StoreError> {
        let stored = self.many(UPDATE_SOURCES, &rows.iter().map(source_args).collect::<Vec<_>>()).await?;
        if stored.len() == rows.len() {
            return Ok(Vec::new());
        }
        let stored = stored.iter().map(source_key).collect::<Result<HashSet<_>, _>>()?;
        let is_new = |row: &&UsageRow| !stored.contains(&(row.secret_id.clone(), row.source.clone()));
        Ok(rows.iter().filter(is_new).cloned().collect())
    }

    /// Inserts new sources. Those over the limit are added to grouped rows. Free slots are counted once per call, not
    /// per source, so that a flood of sources does not delay other evidence.
    async fn insert_sources(&mut self, new: Vec<UsageRow>, caps: SourceCaps) -> Result<(), StoreError> {
        let mut room = self.room(&new, caps).await?;
        let (mut inserted, rest): (Vec<_>, Vec<_>) =
            new.into_iter().partition(|row| !row.source.gathered && room.takes(row));
        let address = |source: &UsageSource| UsageSource { ip: source.ip.clone(), ..OTHERS };
        let rest = self.add_to_sources(&gathered(rest, address)).await?;
        // Merge already grouped rows with newly grouped ones, so that each secret has a single “others” row.
        let (of_addresses, rest): (Vec<_>, Vec<_>) =
            rest.into_iter().partition(|row| row.source != OTHERS && room.takes(row));
        inserted.extend(of_addresses);
        inserted.extend(self.add_to_sources(&gathered(rest, |_| OTHERS)).await?);
        self.many(INSERT_SOURCES, &inserted.iter().map(source_args).collect::<Vec<_>>()).await.map(drop)
    }

    async fn room(&mut self, new: &[UsageRow], caps: SourceCaps) -> Result<Room, StoreError> {
        let mut room =
            Room { caps, own: HashMap::new(), gathered: HashMap::new(), at_address: HashMap::new() };
        let secrets: BTreeSet<_> = new.iter().map(|row| row.secret_id.as_str()).collect();
        let args: Vec<Vec<Value>> = secrets.into_iter().map(|secret| vec![secret.into()]).collect();
        for row in self.many(COUNT_SOURCES, &args).await? {
            let secret = row.parsed("secret_id", |text| SecretId::parse(text).ok())?;
            room.own.insert(secret.clone(), row.int("own")?);
            room.gathered.insert(secret, row.int("gathered")?);
        }
        let addresses: BTreeSet<_> =
            new.iter().map(|row| (row.secret_id.as_str(), row.source.ip.as_str())).collect();
        let args: Vec<Vec<Value>> =
            addresses.into_iter().map(|(secret, ip)| vec![secret.into(), ip.into()]).collect();
        for row in self.many(COUNT_AT_ADDRESSES, &args).await? {
            let secret = row.parsed("secret_id", |text| SecretId::parse(text).ok())?;
            room.at_address.insert((secret, row.text("source_ip")?), row.int("own")?);
        }
        Ok(room)
    }

    /// Returns the uses of a registration's secrets by source, newest secret first, then latest use first.
    pub async fn usage_sources(
        &mut self,
        registration: &RegistrationId,
        since: Option<Timestamp>,
        page: &PageStart,
    ) -> Result<Vec<SourceUsage>, StoreError> {
        let offset = page.after.as_ref().map_or(0, |(offset, _)| *offset);
        let args = vec![registration.as_str().into(), since.into(), page.limit.into(), offset.into()];
        self.rows(SOURCES, args).await?.iter().map(source_usage).collect()
    }

    /// Returns the sources that used a secret of a registration that is valid at `now` since a time, latest use first.
    pub async fn callers_since(
        &mut self,
        registration: &RegistrationId,
        now: Timestamp,
        since: Timestamp,
        limit: i64,
    ) -> Result<Vec<UsageRow>, StoreError> {
        let args = vec![registration.as_str().into(), now.into(), since.into(), limit.into()];
        self.rows(CALLERS_SINCE, args).await?.iter().map(|row| Ok(source_usage(row)?.row)).collect()
    }

    /// Returns all sources of these secrets, in one statement.
    pub async fn sources_of_secrets(&mut self, secrets: &[&SecretId]) -> Result<Vec<UsageRow>, StoreError> {
        let keys: Vec<_> = secrets.iter().map(|id| vec![id.as_str().into()]).collect();
        self.look_up(SOURCES_OF, &keys).await?.iter().map(|row| Ok(source_usage(row)?.row)).collect()
    }

    /// Returns the uses of a registration's secrets over time, in intervals that overlap `from` to `until`, oldest
    /// first.
    pub async fn usage_series(
        &mut self,
        registration: &RegistrationId,
        grain: Grain,
        (from, until): (Timestamp, Timestamp),
        page: &PageStart,
    ) -> Result<Vec<UsagePoint>, StoreError> {
        let offset = page.after.as_ref().map_or(0, |(offset, _)| *offset);
        let args = vec![
            registration.as_str().into(),
            grain.seconds().into(),
            grain.bucket(from).into(),
            grain.bucket(until).into(),
            page.limit.into(),
            offset.into(),
        ];
        let point = |row: &Row| {
            Ok(UsagePoint {
                secret_id: row.parsed("secret_id", |text| SecretId::parse(text).ok())?,
                from: grain.begins(row.int("bucket")?),
                use_count: row.int("use_count")?,
            })
        };
        self.rows(POINTS, args).await?.iter().map(point).collect()
    }

    /// Forgets uses over time of one grain before a time.
    pub async fn delete_usage_series(&mut self, grain: Grain, before: Timestamp) -> Result<(), StoreError> {
        self.execute(DELETE_POINTS, vec![grain.seconds().into(), grain.bucket(before).into()]).await.map(drop)
    }

    /// Forgets uses over time of one grain between two times, except for registrations with a secret whose deadline is
    /// after `kept_until`.
    pub async fn thin_usage_series(
        &mut self,
        grain: Grain,
        (from, until): (Timestamp, Timestamp),
        kept_until: Timestamp,
    ) -> Result<(), StoreError> {
        let (from, until) = (grain.bucket(from), grain.bucket(until));
        let args = vec![grain.seconds().into(), from.into(), until.into(), kept_until.into()];
        self.execute(THIN_POINTS, args).await.map(drop)
    }

    /// Records a period without complete evidence.
    pub async fn insert_evidence_gap(&mut self, gap: &EvidenceGap) -> Result<(), StoreError> {
        let args = vec![gap.began_at.into(), gap.ended_at.into(), gap.kind.as_str().into()];
        self.execute(INSERT_GAP, args).await.map(drop)
    }

    /// Returns the gaps that ended after a time, latest first. What another process has seen and not stored since it was
    /// asked is one of them.
    pub async fn evidence_gaps(
        &mut self,
        after: Timestamp,
        most: i64,
    ) -> Result<Vec<EvidenceGap>, StoreError> {
        let gap = |row: &Row| {
            Ok::<_, StoreError>(EvidenceGap {
                began_at: row.time("began_at")?,
                ended_at: row.time("ended_at")?,
                kind: row.parsed("kind", GapKind::parse)?,
            })
        };
        let mut gaps = self.silences().await?;
        gaps.retain(|silence| silence.ended_at > after);
        for row in self.rows(GAPS, vec![after.into(), most.into()]).await? {
            gaps.push(gap(&row)?);
        }
        Ok(gaps)
    }

    /// Returns the end of the last gap in which uses may be missing; `None` if there is no such gap. A stop in order is
    /// not one: no secret could be used then.
    pub async fn last_evidence_loss(&mut self) -> Result<Option<Timestamp>, StoreError> {
        self.one(LAST_LOSS, vec![]).await?.opt_time("ended_at")
    }

    /// Forgets gaps that ended before a time.
    pub async fn delete_evidence_gaps(&mut self, before: Timestamp) -> Result<(), StoreError> {
        self.execute(DELETE_GAPS, vec![before.into()]).await.map(drop)
    }
}

/// The row that groups everything beyond the limits.
const OTHERS: UsageSource =
    UsageSource { ip: String::new(), user_agent: String::new(), instance: String::new(), gathered: true };

/// Returns the uses by the rows that group their sources.
fn gathered(rows: Vec<UsageRow>, into: impl Fn(&UsageSource) -> UsageSource) -> Vec<UsageRow> {
    let mut gathered: BTreeMap<(SecretId, UsageSource), UsageRow> = BTreeMap::new();
    for row in rows {
        let source = into(&row.source);
        match gathered.entry((row.secret_id.clone(), source.clone())) {
            Entry::Occupied(mut known) => {
                known.get_mut().usage.merge(&row.usage);
                let longest = known.get().longest_pause.max(row.longest_pause);
                known.get_mut().longest_pause = longest;
            }
            Entry::Vacant(place) => {
                place.insert(UsageRow { source, ..row });
            }
        }
    }
    gathered.into_values().collect()
}

/// Number of stored sources, and its limit.
struct Room {
    caps: SourceCaps,
    own: HashMap<SecretId, i64>,
    gathered: HashMap<SecretId, i64>,
    at_address: HashMap<(SecretId, String), i64>,
}

impl Room {
    /// Whether there is a free place. If so, it is taken.
    fn takes(&mut self, row: &UsageRow) -> bool {
        let secret = || row.secret_id.clone();
        if row.source.gathered {
            return takes(self.gathered.entry(secret()).or_default(), self.caps.of_secret);
        }
        let at_address = self.at_address.entry((secret(), row.source.ip.clone())).or_default();
        *at_address < self.caps.of_address
            && takes(self.own.entry(secret()).or_default(), self.caps.of_secret)
            && takes(at_address, self.caps.of_address)
    }
}

fn takes(stored: &mut i64, most: i64) -> bool {
    let room = *stored < most;
    *stored += i64::from(room);
    room
}

fn source_key(row: &Row) -> Result<(SecretId, UsageSource), StoreError> {
    let source = UsageSource {
        ip: row.text("source_ip")?,
        user_agent: row.text("user_agent")?,
        instance: row.text("instance")?,
        gathered: row.flag("gathered")?,
    };
    Ok((row.parsed("secret_id", |text| SecretId::parse(text).ok())?, source))
}

fn source_usage(row: &Row) -> Result<SourceUsage, StoreError> {
    let (secret_id, source) = source_key(row)?;
    let usage = Usage {
        first_used_at: row.time("first_used_at")?,
        last_used_at: row.time("last_used_at")?,
        use_count: row.int("use_count")?,
    };
    let longest_pause =
        Duration::from_micros(row.parsed_int("longest_pause", |micros| u64::try_from(micros).ok())?);
    Ok(SourceUsage {
        row: UsageRow { secret_id, source, usage, longest_pause },
        expires_at: row.opt_time("expires_at")?,
        revoked_at: row.opt_time("revoked_at")?,
    })
}
