//! The sign-in policy: whom the instance asks for a second factor, and who can sign in with a password.

use crate::{StoreError, Tx, access::words_json, catalogue::statements, db::Row, ends::Noted};
use crossfade_core::{
    SessionId, Timestamp, UserId,
    account::Passwords,
    second_factor::{AskedFor, FactorPolicy},
};

/// The stored sign-in policy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignInPolicyRow {
    /// Whom the instance asks for a second factor.
    pub factor: FactorPolicy,
    /// Who can sign in with a password.
    pub passwords: Passwords,
    /// Accounts that can when nobody else can.
    pub break_glass: Vec<UserId>,
    /// When passwords were switched on again; `None` if they never were.
    pub passwords_on_since: Option<Timestamp>,
    /// Version, increased by every change.
    pub version: i64,
}

impl Default for SignInPolicyRow {
    fn default() -> Self {
        Self {
            factor: FactorPolicy::default(),
            passwords: Passwords::Everyone,
            break_glass: Vec::new(),
            passwords_on_since: None,
            version: 1,
        }
    }
}

statements! {
    GET = "SELECT second_factor, told_at, secret_roles_told_at, passwords, break_glass, passwords_on_since, version
           FROM sign_in_policy WHERE one = 1";
    SET = "INSERT INTO sign_in_policy (one, second_factor, told_at, secret_roles_told_at, passwords, break_glass, passwords_on_since, version)
           VALUES (1, $1, $2, $3, $4, $5, $6, 2)
           ON CONFLICT (one) DO UPDATE SET second_factor = excluded.second_factor, told_at = excluded.told_at,
               secret_roles_told_at = excluded.secret_roles_told_at, passwords = excluded.passwords,
               break_glass = excluded.break_glass, passwords_on_since = excluded.passwords_on_since,
               version = sign_in_policy.version + 1";
    BY_PASSWORD = "SELECT id, user_id FROM sessions WHERE provider_id IS NULL AND ended_at IS NULL ORDER BY id";
}

/// Reads whom a policy asks for a second factor, in a row that may have none.
pub(crate) fn factor_policy(row: &Row) -> Result<FactorPolicy, StoreError> {
    Ok(FactorPolicy {
        asked_for: row.opt_parsed("second_factor", AskedFor::parse)?.unwrap_or_default(),
        told_at: row.opt_time("told_at")?,
        secret_roles_told_at: row.opt_time("secret_roles_told_at")?,
    })
}

impl Tx {
    /// Returns the sign-in policy.
    pub async fn sign_in_policy(&mut self) -> Result<SignInPolicyRow, StoreError> {
        let Some(row) = self.optional(GET, vec![]).await? else { return Ok(SignInPolicyRow::default()) };
        Ok(SignInPolicyRow {
            factor: factor_policy(&row)?,
            passwords: row.parsed("passwords", Passwords::parse)?,
            break_glass: row.parsed("break_glass", |text| serde_json::from_str(text).ok())?,
            passwords_on_since: row.opt_time("passwords_on_since")?,
            version: row.int("version")?,
        })
    }

    /// Sets the sign-in policy. The version is counted, whatever it is in `new`.
    pub async fn set_sign_in_policy(&mut self, new: &SignInPolicyRow) -> Result<(), StoreError> {
        self.note(Noted::SignInPolicy);
        self.put_sign_in_policy(new).await.map(drop)
    }

    /// Sets the sign-in policy as the journal says. Returns the number of changed rows.
    pub(crate) async fn put_sign_in_policy(&mut self, new: &SignInPolicyRow) -> Result<u64, StoreError> {
        let accounts: Vec<String> = new.break_glass.iter().map(ToString::to_string).collect();
        let args = vec![
            new.factor.asked_for.as_str().into(),
            new.factor.told_at.into(),
            new.factor.secret_roles_told_at.into(),
            new.passwords.as_str().into(),
            words_json(Some(&accounts)).into(),
            new.passwords_on_since.into(),
        ];
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
