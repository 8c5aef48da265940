//! Command lines that a person has approved, until they get their API token.

use crate::{StoreError, Tx, catalogue::statements};
use crossfade_core::{SessionId, Timestamp, UserId, login::CodeChallenge};

/// An approved command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginRow {
    /// Account of the person.
    pub user_id: UserId,
    /// Session in which it was approved, and with which the approval ends.
    pub session_id: SessionId,
    /// Digest of the secret that only the program that asked has.
    pub challenge: CodeChallenge,
    /// The token to create, as JSON.
    pub token: String,
    /// When the approval expires.
    pub expires_at: Timestamp,
}

statements! {
    FORGET = "DELETE FROM logins WHERE expires_at <= $1 OR user_id = $2";
    INSERT = "INSERT INTO logins (digest, user_id, session_id, challenge, token, expires_at) VALUES ($1, $2, $3, $4, $5, $6)";
    BY_DIGEST = "SELECT l.user_id, l.session_id, l.challenge, l.token, l.expires_at FROM logins l
                 JOIN sessions s ON s.id = l.session_id AND s.ended_at IS NULL
                 JOIN users u ON u.id = l.user_id AND u.deleted_at IS NULL
                 WHERE l.digest = $1 AND l.expires_at > $2";
    END = "DELETE FROM logins WHERE digest = $1";
    END_OF = "DELETE FROM logins WHERE user_id = $1";
}

impl Tx {
    /// Stores an approval by the keyed digest of its code. It replaces an earlier one of the account. Forgets expired
    /// ones.
    pub async fn insert_login(
        &mut self,
        new: &LoginRow,
        digest: &[u8],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.execute(FORGET, vec![now.into(), new.user_id.as_str().into()]).await?;
        let args = vec![
            digest.into(),
            new.user_id.as_str().into(),
            new.session_id.as_str().into(),
            new.challenge.as_str().into(),
            new.token.as_str().into(),
            new.expires_at.into(),
        ];
        self.execute(INSERT, args).await.map(drop)
    }

    /// Returns the approval with this digest, if it has not expired at `now` and neither its session nor its account
    /// has ended.
    pub async fn login(&mut self, digest: &[u8], now: Timestamp) -> Result<Option<LoginRow>, StoreError> {
        let row = self.optional(BY_DIGEST, vec![digest.into(), now.into()]).await?;
        row.map(|row| {
            Ok(LoginRow {
                user_id: row.parsed("user_id", |text| UserId::parse(text).ok())?,
                session_id: row.parsed("session_id", |text| SessionId::parse(text).ok())?,
                challenge: row.parsed("challenge", CodeChallenge::parse)?,
                token: row.text("token")?,
                expires_at: row.time("expires_at")?,
            })
        })
        .transpose()
    }

    /// Ends the approval of an account, whose code would become an API token.
    pub(crate) async fn end_logins_of(&mut self, user: &UserId) -> Result<(), StoreError> {
        self.execute(END_OF, vec![user.as_str().into()]).await.map(drop)
    }

    /// Ends an approval. A code works once.
    pub async fn end_login(&mut self, digest: &[u8]) -> Result<(), StoreError> {
        self.execute(END, vec![digest.into()]).await.map(drop)
    }
}
