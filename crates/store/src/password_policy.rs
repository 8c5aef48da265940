//! The policy for passwords.

use crate::{StoreError, Tx, access::words_json, catalogue::statements, db::Row, ends::Noted};
use crossfade_core::{SessionId, UserId, account::Passwords};

/// The stored policy for passwords.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PasswordPolicyRow {
    /// Who can sign in with a password.
    pub passwords: Passwords,
    /// Accounts that can when nobody else can.
    pub break_glass: Vec<UserId>,
    /// Version, increased by every change.
    pub version: i64,
}

statements! {
    GET = "SELECT passwords, break_glass, version FROM password_policy WHERE one = 1";
    SET = "INSERT INTO password_policy (one, passwords, break_glass, version) VALUES (1, $1, $2, 2)
           ON CONFLICT (one) DO UPDATE SET passwords = excluded.passwords, break_glass = excluded.break_glass,
               version = password_policy.version + 1";
    BY_PASSWORD = "SELECT id, user_id FROM sessions WHERE provider_id IS NULL AND ended_at IS NULL ORDER BY id";
}

impl Tx {
    /// Returns the policy for passwords.
    pub async fn password_policy(&mut self) -> Result<PasswordPolicyRow, StoreError> {
        let Some(row) = self.optional(GET, vec![]).await? else {
            return Ok(PasswordPolicyRow {
                passwords: Passwords::Everyone,
                break_glass: Vec::new(),
                version: 1,
            });
        };
        Ok(PasswordPolicyRow {
            passwords: row.parsed("passwords", Passwords::parse)?,
            break_glass: row.parsed("break_glass", |text| serde_json::from_str(text).ok())?,
            version: row.int("version")?,
        })
    }

    /// Sets the policy for passwords.
    pub async fn set_password_policy(
        &mut self,
        passwords: Passwords,
        break_glass: &[UserId],
    ) -> Result<(), StoreError> {
        self.note(Noted::PasswordPolicy);
        self.put_password_policy(passwords, break_glass).await.map(drop)
    }

    /// Sets the policy for passwords as the journal says. Returns the number of changed rows.
    pub(crate) async fn put_password_policy(
        &mut self,
        passwords: Passwords,
        break_glass: &[UserId],
    ) -> Result<u64, StoreError> {
        let accounts: Vec<String> = break_glass.iter().map(ToString::to_string).collect();
        let args = vec![passwords.as_str().into(), words_json(Some(&accounts)).into()];
        self.execute(SET, args).await
    }

    /// Returns the sessions that have not ended and that were begun with a password or a one-time link, and their accounts.
    pub async fn password_sessions(&mut self) -> Result<Vec<(SessionId, UserId)>, StoreError> {
        let session = |row: &Row| {
            let id = row.parsed("id", |text| SessionId::parse(text).ok())?;
            Ok((id, row.parsed("user_id", |text| UserId::parse(text).ok())?))
        };
        self.rows(BY_PASSWORD, vec![]).await?.iter().map(session).collect()
    }
}
