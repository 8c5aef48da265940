//! Known browsers, in which an account signed in recently.

use crate::{StoreError, Tx, catalogue::statements};
use crossfade_core::{Timestamp, UserId};

/// Maximum number of known browsers per account; the latest are kept.
const MOST_OF_USER: i64 = 20;

/// A stored known browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRow {
    /// The account that signed in.
    pub user_id: UserId,
    /// Number of wrong passwords sent with its cookie.
    pub wrong_passwords: i64,
}

statements! {
    INSERT = "INSERT INTO devices (digest, user_id, created_at, expires_at, wrong_passwords) VALUES ($1, $2, $3, $4, 0)";
    FORGET = "DELETE FROM devices WHERE expires_at <= $1";
    FORGET_OLDEST = "DELETE FROM devices WHERE user_id = $1 AND digest NOT IN (
                       SELECT digest FROM devices WHERE user_id = $1 ORDER BY created_at DESC, digest LIMIT $2)";
    BY_DIGEST = "SELECT user_id, wrong_passwords FROM devices WHERE digest = $1 AND expires_at > $2";
    COUNT_WRONG = "UPDATE devices SET wrong_passwords = wrong_passwords + 1 WHERE digest = $1 RETURNING user_id, wrong_passwords";
    END = "DELETE FROM devices WHERE digest = $1";
    END_OF = "DELETE FROM devices WHERE user_id = $1";
}

impl Tx {
    /// Stores a known browser by the digest of its cookie. Forgets expired ones, and the oldest of the account.
    pub async fn insert_device(
        &mut self,
        user: &UserId,
        digest: &[u8],
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<(), StoreError> {
        self.execute(FORGET, vec![now.into()]).await?;
        let args = vec![digest.into(), user.as_str().into(), now.into(), expires_at.into()];
        self.execute(INSERT, args).await?;
        self.execute(FORGET_OLDEST, vec![user.as_str().into(), MOST_OF_USER.into()]).await.map(drop)
    }

    /// Returns the known browser with this digest, if it has not expired.
    pub async fn device(&mut self, digest: &[u8], now: Timestamp) -> Result<Option<DeviceRow>, StoreError> {
        let row = self.optional(BY_DIGEST, vec![digest.into(), now.into()]).await?;
        row.map(|row| {
            Ok(DeviceRow {
                user_id: row.parsed("user_id", |text| UserId::parse(text).ok())?,
                wrong_passwords: row.int("wrong_passwords")?,
            })
        })
        .transpose()
    }

    /// Counts a wrong password sent with a cookie. Returns the number so far; `None` if the browser is not known.
    pub async fn count_wrong_password(&mut self, digest: &[u8]) -> Result<Option<i64>, StoreError> {
        let row = self.optional(COUNT_WRONG, vec![digest.into()]).await?;
        row.map(|row| row.int("wrong_passwords")).transpose()
    }

    /// Removes a known browser. Returns whether it was known.
    pub async fn end_device(&mut self, digest: &[u8]) -> Result<bool, StoreError> {
        Ok(self.execute(END, vec![digest.into()]).await? > 0)
    }

    /// Removes every known browser of an account.
    pub async fn end_devices(&mut self, user: &UserId) -> Result<u64, StoreError> {
        self.execute(END_OF, vec![user.as_str().into()]).await
    }
}
