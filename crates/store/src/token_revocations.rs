//! Revoked access tokens (RFC 7009): the revocations, their counts, and the time until which each is kept.

use crate::{StoreError, Tx, Value, catalogue::statements, db::Row};
use crossfade_core::{RegistrationId, SecretId, Timestamp, forget::Passed};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, hash_map::Entry},
    time::Duration,
};

/// Revocation of one access token by its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRevocation {
    /// Registration the token was issued to.
    pub registration_id: RegistrationId,
    /// Secret the token was issued under.
    pub secret_id: SecretId,
    /// Address of the revocation, or its network for IPv6.
    pub source_ip: String,
}

/// Revocations by one registration, of tokens under one secret, from one address, in one hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationSum {
    /// When the hour began.
    pub hour: Timestamp,
    /// What the revocations have in common. The address is empty if there were too many.
    pub revocation: TokenRevocation,
    /// Time of the last revocation.
    pub last_at: Timestamp,
    /// Number of revocations.
    pub count: i64,
}

const HOUR_MICROS: i64 = 3_600_000_000;

statements! {
    REVOKE = "INSERT INTO revoked_tokens (jti, expires_at, revoked_at) VALUES {rows:3} ON CONFLICT (jti) DO NOTHING RETURNING jti";
    ADD = "INSERT INTO token_revocations (hour, registration_id, secret_id, source_ip, last_at, revocation_count)
           VALUES {rows:6}
           ON CONFLICT (hour, registration_id, secret_id, source_ip) DO UPDATE SET
             last_at = CASE WHEN excluded.last_at > token_revocations.last_at THEN excluded.last_at ELSE token_revocations.last_at END,
             revocation_count = token_revocations.revocation_count + excluded.revocation_count";
    KNOWN = "SELECT registration_id, secret_id, source_ip FROM token_revocations WHERE hour = $1 AND registration_id = $2";
    COUNT = "SELECT CAST(COALESCE(SUM(revocation_count), 0) AS BIGINT) AS revocations FROM token_revocations WHERE hour = $1 AND registration_id = $2";
    SUMS = "SELECT t.hour, t.registration_id, t.secret_id, t.source_ip, t.last_at, t.revocation_count FROM token_revocations t
            WHERE t.hour < $1 AND CAST($2 AS BIGINT) < (SELECT CAST(SUM(o.revocation_count) AS BIGINT) FROM token_revocations o WHERE o.hour = t.hour AND o.registration_id = t.registration_id)
            ORDER BY t.hour, t.registration_id, t.secret_id, t.source_ip";
    FORGET = "DELETE FROM token_revocations WHERE hour < $1";
    REVOKED_TOKEN = "SELECT jti, expires_at FROM revoked_tokens WHERE jti = $1";
    REVOKED_TOKENS = "SELECT jti, expires_at FROM revoked_tokens";
    READ_PASSED = "SELECT one, passed_at, passed_ran FROM head";
    STORE_PASSED = "UPDATE head SET passed_at = $1, passed_ran = $2 WHERE one = 1";
    FORGET_REVOKED = "DELETE FROM revoked_tokens WHERE expires_at <= $1";
}

/// Group in which a revocation is counted.
type Key = (RegistrationId, SecretId, String);

impl Tx {
    /// Revokes access tokens, each with the time at which it expires. Returns those that were not revoked before.
    pub async fn revoke_access_tokens(
        &mut self,
        tokens: &[(String, Timestamp)],
        now: Timestamp,
    ) -> Result<HashSet<String>, StoreError> {
        let args: Vec<Vec<Value>> = tokens
            .iter()
            .map(|(jti, expires_at)| vec![jti.as_str().into(), (*expires_at).into(), now.into()])
            .collect();
        self.many(REVOKE, &args).await?.iter().map(|row| row.text("jti")).collect()
    }

    /// Counts revocations in the hour of `now`. Above `max_groups` groups of a registration, further addresses are
    /// counted together. Returns the number of each revocation within its registration and hour, from 1.
    pub async fn count_token_revocations(
        &mut self,
        revocations: &[TokenRevocation],
        max_groups: usize,
        now: Timestamp,
    ) -> Result<Vec<i64>, StoreError> {
        let hour = now.as_micros() / HOUR_MICROS;
        let (mut counts, mut known) = (HashMap::new(), HashMap::<RegistrationId, BTreeSet<Key>>::new());
        let mut added = BTreeMap::<Key, i64>::new();
        let mut ordinals = Vec::with_capacity(revocations.len());
        for revocation in revocations {
            let registration = &revocation.registration_id;
            let of = || vec![hour.into(), registration.as_str().into()];
            let count = match counts.entry(registration.clone()) {
                Entry::Occupied(count) => count.into_mut(),
                Entry::Vacant(place) => place.insert(self.one(COUNT, of()).await?.int("revocations")?),
            };
            *count += 1;
            ordinals.push(*count);
            let groups = match known.entry(registration.clone()) {
                Entry::Occupied(groups) => groups.into_mut(),
                Entry::Vacant(place) => {
                    let rows = self.rows(KNOWN, of()).await?;
                    place.insert(rows.iter().map(key).collect::<Result<_, _>>()?)
                }
            };
            let TokenRevocation { registration_id, secret_id, source_ip } = revocation.clone();
            let mut key = (registration_id, secret_id, source_ip);
            if !groups.contains(&key) && groups.len() >= max_groups {
                key.2 = String::new();
            }
            groups.insert(key.clone());
            *added.entry(key).or_default() += 1;
        }
        let args: Vec<Vec<Value>> = added
            .into_iter()
            .map(|((registration, secret, source_ip), count)| {
                let group = [registration.as_str(), secret.as_str(), &source_ip].map(Value::from);
                [vec![hour.into()], group.to_vec(), vec![now.into(), count.into()]].concat()
            })
            .collect();
        self.many(ADD, &args).await?;
        Ok(ordinals)
    }

    /// Returns the totals of the hours that ended before `now` in which a registration revoked more than `told` tokens,
    /// and forgets these hours.
    pub async fn sum_token_revocations(
        &mut self,
        told: i64,
        now: Timestamp,
    ) -> Result<Vec<RevocationSum>, StoreError> {
        let hour = now.as_micros() / HOUR_MICROS;
        let rows = self.rows(SUMS, vec![hour.into(), told.into()]).await?;
        let sums = rows.iter().map(sum).collect::<Result<Vec<_>, _>>()?;
        self.execute(FORGET, vec![hour.into()]).await?;
        Ok(sums)
    }

    /// Returns when the revoked token `jti` would have expired.
    pub async fn revoked_access_token(&mut self, jti: &str) -> Result<Option<Timestamp>, StoreError> {
        self.optional(REVOKED_TOKEN, vec![jti.into()]).await?.map(|row| row.time("expires_at")).transpose()
    }

    /// Returns the revoked tokens that are still stored, and when each would have expired.
    pub async fn revoked_access_tokens(
        &mut self,
    ) -> Result<Vec<Result<(String, Timestamp), StoreError>>, StoreError> {
        let rows = self.rows(REVOKED_TOKENS, vec![]).await?;
        Ok(rows.iter().map(|row| Ok((row.text("jti")?, row.time("expires_at")?))).collect())
    }

    /// Reads the time that the clock has shown, and how long servers have run since then.
    pub async fn passed(&mut self) -> Result<Passed, StoreError> {
        let row = self.one(READ_PASSED, vec![]).await?;
        let ran = u64::try_from(row.int("passed_ran")?).unwrap_or(0);
        Ok(Passed { at: row.time("passed_at")?, ran: Duration::from_micros(ran) })
    }

    /// Stores the time that the clock has shown, and how long servers have run since then.
    pub async fn set_passed(&mut self, passed: Passed) -> Result<(), StoreError> {
        let ran = i64::try_from(passed.ran.as_micros()).unwrap_or(i64::MAX);
        self.execute(STORE_PASSED, vec![passed.at.into(), ran.into()]).await.map(drop)
    }

    /// Forgets revoked tokens that would have expired by `now`.
    pub async fn forget_revoked_access_tokens(&mut self, now: Timestamp) -> Result<u64, StoreError> {
        self.execute(FORGET_REVOKED, vec![now.into()]).await
    }
}

fn key(row: &Row) -> Result<Key, StoreError> {
    Ok((
        row.parsed("registration_id", |text| RegistrationId::parse(text).ok())?,
        row.parsed("secret_id", |text| SecretId::parse(text).ok())?,
        row.text("source_ip")?,
    ))
}

fn sum(row: &Row) -> Result<RevocationSum, StoreError> {
    let (registration_id, secret_id, source_ip) = key(row)?;
    Ok(RevocationSum {
        hour: Timestamp::from_micros(row.int("hour")? * HOUR_MICROS),
        revocation: TokenRevocation { registration_id, secret_id, source_ip },
        last_at: row.time("last_at")?,
        count: row.int("revocation_count")?,
    })
}
