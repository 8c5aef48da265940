//! The change log: what every node's tables must apply.

use crate::{StoreError, Tx, Value, catalogue::statements, ends::Noted};
use crossfade_core::{RegistrationId, SecretId, Timestamp, environment::Slug};

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
    /// Everything: the tables are loaded again.
    Everything,
}

/// One entry of the change log.
#[derive(Clone, Debug)]
pub struct Change {
    /// Sequence number.
    pub seq: i64,
    /// What changed.
    pub kind: ChangeKind,
    /// When it was made.
    pub made_at: Timestamp,
}

statements! {
    APPEND = "INSERT INTO change_log (seq, kind, subject, made_at) VALUES {rows:4}";
    CHANGES = "SELECT seq, kind, subject, made_at FROM change_log WHERE seq > $1 ORDER BY seq LIMIT $2";
    MADE_AT = "SELECT made_at FROM change_log WHERE seq = $1";
    TRIM = "DELETE FROM change_log WHERE seq <= $1";
}

impl ChangeKind {
    fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Registration(id) => ("registration", id.as_str()),
            Self::Environment(slug) => ("environment", slug.as_str()),
            Self::TokensOfSecret(id) => ("tokens_of_secret", id.as_str()),
            Self::AccessToken(jti) => ("access_token", jti),
            Self::Everything => ("everything", ""),
        }
    }

    fn from_parts(kind: &str, subject: String) -> Option<Self> {
        Some(match kind {
            "registration" => Self::Registration(RegistrationId::parse(&subject).ok()?),
            "environment" => Self::Environment(Slug::from_stored(subject)),
            "tokens_of_secret" => Self::TokensOfSecret(SecretId::parse(&subject).ok()?),
            "access_token" => Self::AccessToken(subject),
            "everything" => Self::Everything,
            _ => return None,
        })
    }
}

/// Returns what goes to the journal after a change.
fn noted(kind: &ChangeKind) -> Option<Noted> {
    match kind {
        ChangeKind::Registration(id) => Some(Noted::Registration(id.clone())),
        ChangeKind::TokensOfSecret(id) => Some(Noted::TokensOfSecret(id.clone())),
        ChangeKind::AccessToken(jti) => Some(Noted::AccessToken(jti.clone())),
        ChangeKind::Environment(_) | ChangeKind::Everything => None,
    }
}

impl Tx {
    /// Appends a change that every node's tables must apply.
    pub async fn append_change(&mut self, kind: &ChangeKind) -> Result<(), StoreError> {
        self.append_changes(std::slice::from_ref(kind)).await
    }

    /// Appends changes that every node's tables must apply.
    pub async fn append_changes(&mut self, kinds: &[ChangeKind]) -> Result<(), StoreError> {
        kinds.iter().filter_map(noted).for_each(|noted| self.note(noted));
        self.append(kinds).await
    }

    /// Appends changes by which nothing has ended: not even a journal that cannot be written keeps them from being made.
    pub async fn append_widening(&mut self, kinds: &[ChangeKind]) -> Result<(), StoreError> {
        kinds.iter().filter_map(noted).for_each(|noted| self.note_for_later(noted));
        self.append(kinds).await
    }

    async fn append(&mut self, kinds: &[ChangeKind]) -> Result<(), StoreError> {
        let made_at = self.highest_time();
        let args: Vec<Vec<Value>> = kinds
            .iter()
            .map(|kind| {
                let (kind, subject) = kind.parts();
                vec![self.next_change().into(), kind.into(), subject.into(), made_at.into()]
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
                Ok(Change { seq: row.int("seq")?, kind, made_at: row.time("made_at")? })
            })
            .collect()
    }

    /// Returns when a change was made; `None` if it is not in the log.
    pub async fn change_made_at(&mut self, seq: i64) -> Result<Option<Timestamp>, StoreError> {
        self.optional(MADE_AT, vec![seq.into()]).await?.map(|row| row.time("made_at")).transpose()
    }

    /// Forgets changes that every node has applied.
    pub async fn trim_changes(&mut self, up_to: i64) -> Result<u64, StoreError> {
        self.execute(TRIM, vec![up_to.into()]).await
    }
}
