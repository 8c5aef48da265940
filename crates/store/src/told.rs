//! What was told, by its cause.

use crate::{StoreError, Tx, Value, catalogue::statements};
use crossfade_core::Timestamp;
use std::collections::HashSet;

statements! {
    TELL = "INSERT INTO told (cause, told_at, subject) VALUES ($1, $2, $3) ON CONFLICT (cause) DO NOTHING";
    AGAIN = "UPDATE told SET told_at = $2, subject = $3 WHERE cause = $1";
    ANY = "SELECT cause FROM told WHERE cause = $1";
    TOLD_OF = "SELECT t.cause FROM told t JOIN (VALUES {rows:1}) AS v ON t.cause = v.column1";
    ANY_BEGINNING = "SELECT cause FROM told WHERE cause LIKE $1 LIMIT 1";
    SINCE = "SELECT cause FROM told WHERE subject = $1 AND told_at > $2 ORDER BY cause";
    COUNT = "SELECT CAST(COUNT(*) AS BIGINT) AS told FROM told WHERE subject = $1 AND told_at > $2";
    END = "DELETE FROM told WHERE cause = $1";
    // A leak is told once for each secret, until the secret ends. An open incident is noted until it is resolved, and a mail
    // server that fails until it works.
    FORGET = "DELETE FROM told WHERE told_at < $1 AND cause NOT LIKE 'leak %' AND cause <> 'mail fails' AND (subject IS NULL OR subject <> 'incident')";
    TOLD_AT = "SELECT told_at FROM told WHERE cause = $1";
    FORGET_ABOUT = "DELETE FROM told WHERE subject = $1 AND told_at < $2";
}

/// Cause of the row that says since when the mail server cannot be used.
const MAIL_FAILS: &str = "mail fails";

impl Tx {
    /// Notes since when the mail server cannot be used; `None`: it can.
    pub async fn set_mail_failing(&mut self, since: Option<Timestamp>) -> Result<(), StoreError> {
        match since {
            Some(since) => self.tell_again_about("mail", MAIL_FAILS, since).await.map(drop),
            None => self.end_told(MAIL_FAILS).await.map(drop),
        }
    }

    /// Returns since when the mail server cannot be used; `None` if it can, or was not tried.
    pub async fn mail_failing_since(&mut self) -> Result<Option<Timestamp>, StoreError> {
        let row = self.optional(TOLD_AT, vec![MAIL_FAILS.into()]).await?;
        row.map(|row| row.time("told_at")).transpose()
    }

    /// Notes that this is told now. Returns whether it was not told before.
    pub async fn tell_once(&mut self, cause: &str, now: Timestamp) -> Result<bool, StoreError> {
        Ok(self.execute(TELL, vec![cause.into(), now.into(), Value::from(None::<String>)]).await? == 1)
    }

    /// Notes that this is told now about a subject. Returns whether it was not told before.
    pub async fn tell_once_about(
        &mut self,
        subject: &str,
        cause: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        Ok(self.execute(TELL, vec![cause.into(), now.into(), subject.into()]).await? == 1)
    }

    /// Notes that this is told again now about a subject. Returns whether it was not told before.
    pub async fn tell_again_about(
        &mut self,
        subject: &str,
        cause: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        match self.execute(AGAIN, vec![cause.into(), now.into(), subject.into()]).await? {
            0 => self.tell_once_about(subject, cause, now).await,
            _ => Ok(false),
        }
    }

    /// Whether this was told.
    pub async fn is_told(&mut self, cause: &str) -> Result<bool, StoreError> {
        Ok(self.optional(ANY, vec![cause.into()]).await?.is_some())
    }

    /// Forgets what was told, because its cause is over. Returns whether it was told.
    pub async fn end_told(&mut self, cause: &str) -> Result<bool, StoreError> {
        Ok(self.execute(END, vec![cause.into()]).await? == 1)
    }

    /// Returns which of these causes were told, in one statement.
    pub async fn told_of(&mut self, causes: &[String]) -> Result<HashSet<String>, StoreError> {
        let keys: Vec<Vec<Value>> = causes.iter().map(|cause| vec![cause.as_str().into()]).collect();
        let rows = self.rows_with(TOLD_OF, vec![], &keys).await?;
        rows.iter().map(|row| row.text("cause")).collect()
    }

    /// Whether a cause that begins with a word and a space was told. The word has no `%` and no `_`.
    pub async fn is_any_told(&mut self, word: &str) -> Result<bool, StoreError> {
        Ok(self.optional(ANY_BEGINNING, vec![format!("{word} %").into()]).await?.is_some())
    }

    /// Returns the causes that were told about a subject after `since`.
    pub async fn told_about(&mut self, subject: &str, since: Timestamp) -> Result<Vec<String>, StoreError> {
        let rows = self.rows(SINCE, vec![subject.into(), since.into()]).await?;
        rows.iter().map(|row| row.text("cause")).collect()
    }

    /// Returns how many causes were told about a subject after `since`.
    pub async fn told_since(&mut self, subject: &str, since: Timestamp) -> Result<i64, StoreError> {
        self.one(COUNT, vec![subject.into(), since.into()]).await?.int("told")
    }

    /// Forgets what was told about a subject before `before`.
    pub async fn forget_told_about(&mut self, subject: &str, before: Timestamp) -> Result<u64, StoreError> {
        self.execute(FORGET_ABOUT, vec![subject.into(), before.into()]).await
    }

    /// Forgets what was told before `before`.
    pub async fn forget_told(&mut self, before: Timestamp) -> Result<u64, StoreError> {
        self.execute(FORGET, vec![before.into()]).await
    }
}
