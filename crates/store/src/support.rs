//! Shared support: the change log, remembered responses, revoked access tokens.

use crate::{StoreError, Tx, Value, catalogue::statements};
use crossfade_core::{RegistrationId, SecretId, Timestamp, environment::Slug, forget::Passed};
use std::time::Duration;

/// Subject of a change in the log.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum ChangeKind {
    /// A registration's settings or secrets.
    Registration(RegistrationId),
    /// An environment's settings or signing keys.
    Environment(Slug),
    /// The tokens of a secret were ended.
    TokensOfSecret(SecretId),
    /// One access token was revoked, named by its `jti`.
    AccessToken(String),
}

/// One entry of the change log.
#[derive(Clone, Debug)]
pub struct Change {
    /// Sequence number.
    pub seq: i64,
    /// What changed.
    pub kind: ChangeKind,
}

/// A response that is remembered for a repeated `Idempotency-Key`.
#[derive(Clone, Debug)]
pub struct Remembered {
    /// The fingerprint of the request.
    pub request: Vec<u8>,
    /// Time of the response.
    pub created_at: Timestamp,
    /// The response, as JSON without secret values.
    pub reply: String,
    /// The secret values of the response, sealed.
    pub sealed: Option<Vec<u8>>,
}

statements! {
    APPEND = "INSERT INTO change_log (seq, kind, subject) VALUES {rows:3}";
    CHANGES = "SELECT seq, kind, subject FROM change_log WHERE seq > $1 ORDER BY seq LIMIT $2";
    TRIM = "DELETE FROM change_log WHERE seq <= $1";
    REMEMBERED = "SELECT request, created_at, reply, sealed FROM idempotency WHERE actor = $1 AND key = $2";
    REMEMBER = "INSERT INTO idempotency (actor, key, request, created_at, reply, sealed) VALUES ($1, $2, $3, $4, $5, $6)";
    WIPE_REMEMBERED = "UPDATE idempotency SET sealed = NULL WHERE sealed IS NOT NULL AND created_at <= $1";
    FORGET_REMEMBERED = "DELETE FROM idempotency WHERE created_at <= $1";
    REVOKED_TOKEN = "SELECT jti, expires_at FROM revoked_tokens WHERE jti = $1";
    REVOKED_TOKENS = "SELECT jti, expires_at FROM revoked_tokens";
    READ_PASSED = "SELECT one, passed_at, passed_ran FROM head";
    STORE_PASSED = "UPDATE head SET passed_at = $1, passed_ran = $2 WHERE one = 1";
    FORGET_REVOKED = "DELETE FROM revoked_tokens WHERE expires_at <= $1";
}

impl ChangeKind {
    fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Registration(id) => ("registration", id.as_str()),
            Self::Environment(slug) => ("environment", slug.as_str()),
            Self::TokensOfSecret(id) => ("tokens_of_secret", id.as_str()),
            Self::AccessToken(jti) => ("access_token", jti),
        }
    }

    fn from_parts(kind: &str, subject: String) -> Option<Self> {
        Some(match kind {
            "registration" => Self::Registration(RegistrationId::parse(&subject).ok()?),
            "environment" => Self::Environment(Slug::from_stored(subject)),
            "tokens_of_secret" => Self::TokensOfSecret(SecretId::parse(&subject).ok()?),
            "access_token" => Self::AccessToken(subject),
            _ => return None,
        })
    }
}

impl Tx {
    /// Appends a change that every node's tables must apply.
    pub async fn append_change(&mut self, kind: &ChangeKind) -> Result<(), StoreError> {
        self.append_changes(std::slice::from_ref(kind)).await
    }

    /// Appends changes that every node's tables must apply.
    pub async fn append_changes(&mut self, kinds: &[ChangeKind]) -> Result<(), StoreError> {
        let args: Vec<Vec<Value>> = kinds
            .iter()
            .map(|kind| {
                let (kind, subject) = kind.parts();
                vec![self.next_change().into(), kind.into(), subject.into()]
            })
            .collect();
        self.many(APPEND, &args).await.map(drop)
    }

    /// Returns the changes after `after`, oldest first.
    pub async fn changes(&mut self, after: i64, limit: i64) -> Result<Vec<Change>, StoreError> {
        let rows = self.rows(CHANGES, vec![after.into(), limit.into()]).await?;
        rows.iter()
            .map(|row| {
                let subject = row.text("subject")?;
                let kind = row.parsed("kind", |kind| ChangeKind::from_parts(kind, subject))?;
                Ok(Change { seq: row.int("seq")?, kind })
            })
            .collect()
    }

    /// Forgets changes that every node has applied.
    pub async fn trim_changes(&mut self, up_to: i64) -> Result<u64, StoreError> {
        self.execute(TRIM, vec![up_to.into()]).await
    }

    /// Returns the remembered response to this actor's request with this key.
    pub async fn remembered(&mut self, actor: &str, key: &str) -> Result<Option<Remembered>, StoreError> {
        let row = self.optional(REMEMBERED, vec![actor.into(), key.into()]).await?;
        row.map(|row| {
            Ok(Remembered {
                request: row.blob("request")?,
                created_at: row.time("created_at")?,
                reply: row.text("reply")?,
                sealed: row.opt_blob("sealed")?,
            })
        })
        .transpose()
    }

    /// Remembers a response.
    pub async fn remember(&mut self, actor: &str, key: &str, answer: &Remembered) -> Result<(), StoreError> {
        let args = vec![
            actor.into(),
            key.into(),
            answer.request.as_slice().into(),
            answer.created_at.into(),
            answer.reply.as_str().into(),
            answer.sealed.clone().into(),
        ];
        self.execute(REMEMBER, args).await.map(drop)
    }

    /// Wipes the values of responses from `values_before` or earlier, and forgets responses from `answers_before` or
    /// earlier.
    pub async fn tidy_remembered(
        &mut self,
        values_before: Timestamp,
        answers_before: Timestamp,
    ) -> Result<(), StoreError> {
        self.execute(WIPE_REMEMBERED, vec![values_before.into()]).await?;
        self.execute(FORGET_REMEMBERED, vec![answers_before.into()]).await.map(drop)
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
