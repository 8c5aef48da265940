//! Second factors of people: factors, recovery codes, and sign-ins that wait for a code.

use crate::{StoreError, Tx, catalogue::statements, db::Row, ends::Noted, sign_in_policy::factor_policy};
use crossfade_core::{
    FactorId, Timestamp, UserId,
    second_factor::{FactorKind, FactorPolicy},
};
use std::collections::HashSet;

/// Maximum number of sign-ins of one account that wait for a code. Those of known browsers are forgotten last.
const MAX_PENDING: i64 = 16;

/// A stored factor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactorRow {
    /// ID.
    pub id: FactorId,
    /// Account it belongs to.
    pub user_id: UserId,
    /// Kind.
    pub kind: FactorKind,
    /// Name given by its owner.
    pub name: String,
    /// The shared secret, or the public key of a passkey with its counter, sealed.
    pub sealed: Vec<u8>,
    /// When it was begun.
    pub created_at: Timestamp,
    /// When its first code was entered; `None` if that is still to come.
    pub confirmed_at: Option<Timestamp>,
    /// When a code of it was last accepted.
    pub last_used_at: Option<Timestamp>,
    /// Step of the last accepted code.
    pub last_step: i64,
}

/// A stored sign-in that waits for a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingSignIn {
    /// Account whose password was right.
    pub user_id: UserId,
    /// Whether the browser was known to the account.
    pub is_known: bool,
    /// Number of wrong codes.
    pub wrong_codes: i64,
}

/// The policy and the factors of one account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FactorStanding {
    /// The policy.
    pub policy: FactorPolicy,
    /// When passwords were switched on again; `None` if they never were.
    pub passwords_on_since: Option<Timestamp>,
    /// Whether the account has a confirmed factor.
    pub has_factor: bool,
    /// Whether one of them is a passkey.
    pub has_passkey: bool,
    /// Whether the account can sign in with a provider.
    pub has_identity: bool,
}

/// A person whom a policy may ask for a second factor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WithoutFactor {
    /// Account.
    pub id: UserId,
    /// Email address.
    pub email: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// Whether it has a password.
    pub has_password: bool,
    /// Whether it can sign in with a provider.
    pub has_identity: bool,
}

statements! {
    INSERT = "INSERT INTO factors (id, user_id, kind, name, sealed, created_at, last_step) VALUES ($1, $2, $3, $4, $5, $6, 0)";
    // Another account can have added it at the same time.
    INSERT_PASSKEY = "INSERT INTO factors (id, user_id, kind, name, sealed, created_at, confirmed_at, last_step, credential_id) VALUES ($1, $2, $3, $4, $5, $6, $6, 0, $7)
                      ON CONFLICT (credential_id) DO NOTHING";
    PASSKEY = "SELECT id, user_id, kind, name, sealed, created_at, confirmed_at, last_used_at, last_step FROM factors WHERE credential_id = $1";
    USE_PASSKEY = "UPDATE factors SET sealed = $2, last_used_at = $3 WHERE id = $1";
    IS_ALONE = "SELECT signs_in_alone FROM factors WHERE credential_id = $1";
    SET_ALONE = "UPDATE factors SET signs_in_alone = 1 WHERE id = $1";
    SET_NONE_ALONE = "UPDATE factors SET signs_in_alone = 0 WHERE user_id = $1";
    FORGET_CHALLENGES = "DELETE FROM passkey_challenges WHERE expires_at <= $1";
    INSERT_CHALLENGE = "INSERT INTO passkey_challenges (digest, expires_at) VALUES ($1, $2) ON CONFLICT (digest) DO NOTHING";
    OF_USER = "SELECT id, user_id, kind, name, sealed, created_at, confirmed_at, last_used_at, last_step FROM factors WHERE user_id = $1 ORDER BY created_at, id";
    FORGET_UNCONFIRMED = "DELETE FROM factors WHERE confirmed_at IS NULL AND (user_id = $1 OR created_at <= $2)";
    CONFIRM = "UPDATE factors SET confirmed_at = $2, last_used_at = $2, last_step = $3 WHERE id = $1 AND confirmed_at IS NULL";
    // Also of two transactions that have both read the earlier step, only one is told that it used this one.
    USE_STEP = "UPDATE factors SET last_step = $2, last_used_at = $3 WHERE id = $1 AND last_step < $2";
    REMOVE = "DELETE FROM factors WHERE id = $1 RETURNING id";
    REMOVE_OF = "DELETE FROM factors WHERE user_id = $1 RETURNING id, name, confirmed_at";
    FACTOR = "SELECT id FROM factors WHERE id = $1";
    WITH_FACTOR = "SELECT DISTINCT f.user_id FROM factors f JOIN (VALUES {rows:1}) AS v ON f.user_id = v.column1 WHERE f.confirmed_at IS NOT NULL";
    SEALED = "SELECT id, user_id, sealed FROM factors";
    INSERT_CODES = "INSERT INTO recovery_codes (digest, user_id, created_at) VALUES {rows:3}";
    COUNT_CODES = "SELECT COUNT(*) AS n FROM recovery_codes WHERE user_id = $1";
    END_CODES = "DELETE FROM recovery_codes WHERE user_id = $1 AND created_at < $2";
    END_ALL_CODES = "DELETE FROM recovery_codes WHERE user_id = $1";
    USE_CODE = "DELETE FROM recovery_codes WHERE digest = $1 AND user_id = $2 RETURNING user_id";
    END_CODE = "DELETE FROM recovery_codes WHERE digest = $1";
    FORGET_PENDING = "DELETE FROM pending_sign_ins WHERE expires_at <= $1";
    INSERT_PENDING = "INSERT INTO pending_sign_ins (digest, user_id, is_known, created_at, expires_at, wrong_codes) VALUES ($1, $2, $3, $4, $5, 0)";
    FORGET_MOST_PENDING = "DELETE FROM pending_sign_ins WHERE user_id = $1 AND digest NOT IN (
                             SELECT digest FROM pending_sign_ins WHERE user_id = $1 ORDER BY is_known DESC, created_at DESC, digest LIMIT $2)";
    PENDING = "SELECT user_id, is_known, wrong_codes FROM pending_sign_ins WHERE digest = $1 AND expires_at > $2";
    COUNT_WRONG_CODE = "UPDATE pending_sign_ins SET wrong_codes = wrong_codes + 1 WHERE digest = $1";
    END_PENDING = "DELETE FROM pending_sign_ins WHERE digest = $1";
    END_ALL_PENDING = "DELETE FROM pending_sign_ins";
    END_PENDING_OF = "DELETE FROM pending_sign_ins WHERE user_id = $1";
    STANDING = "SELECT p.second_factor, p.told_at, p.secret_roles_told_at, p.passwords_on_since,
                  (SELECT COUNT(*) FROM factors f WHERE f.user_id = $1 AND f.confirmed_at IS NOT NULL) AS factors,
                  (SELECT COUNT(*) FROM factors f WHERE f.user_id = $1 AND f.credential_id IS NOT NULL) AS passkeys,
                  (SELECT COUNT(*) FROM identities i WHERE i.user_id = $1) AS identities
                FROM (SELECT 1 AS one) AS o LEFT JOIN sign_in_policy p ON p.one = o.one";
    WITHOUT_FACTOR = "SELECT u.id, u.email, u.created_at, u.password_hash, (SELECT COUNT(*) FROM identities i WHERE i.user_id = u.id) AS identities FROM users u WHERE u.deleted_at IS NULL AND u.kind = 'person' AND u.email IS NOT NULL
                        AND NOT EXISTS (SELECT 1 FROM factors f WHERE f.user_id = u.id AND f.confirmed_at IS NOT NULL)
                      ORDER BY u.created_at, u.id";
}

fn factor(row: &Row) -> Result<FactorRow, StoreError> {
    Ok(FactorRow {
        id: row.parsed("id", |text| FactorId::parse(text).ok())?,
        user_id: row.parsed("user_id", |text| UserId::parse(text).ok())?,
        kind: row.parsed("kind", FactorKind::parse)?,
        name: row.text("name")?,
        sealed: row.blob("sealed")?,
        created_at: row.time("created_at")?,
        confirmed_at: row.opt_time("confirmed_at")?,
        last_used_at: row.opt_time("last_used_at")?,
        last_step: row.int("last_step")?,
    })
}

impl Tx {
    /// Stores a factor that is not confirmed yet. Forgets the other unconfirmed factors of its account, and all that
    /// were begun up to `forget`.
    pub async fn insert_factor(&mut self, new: &FactorRow, forget: Timestamp) -> Result<(), StoreError> {
        self.execute(FORGET_UNCONFIRMED, vec![new.user_id.as_str().into(), forget.into()]).await?;
        let args = vec![
            new.id.as_str().into(),
            new.user_id.as_str().into(),
            new.kind.as_str().into(),
            new.name.as_str().into(),
            new.sealed.as_slice().into(),
            new.created_at.into(),
        ];
        self.execute(INSERT, args).await.map(drop)
    }

    /// Stores a passkey, which counts from now on. Returns whether it was in no account before.
    pub async fn insert_passkey(&mut self, new: &FactorRow, credential_id: &str) -> Result<bool, StoreError> {
        let args = vec![
            new.id.as_str().into(),
            new.user_id.as_str().into(),
            new.kind.as_str().into(),
            new.name.as_str().into(),
            new.sealed.as_slice().into(),
            new.created_at.into(),
            credential_id.into(),
        ];
        let is_new = self.execute(INSERT_PASSKEY, args).await? > 0;
        if is_new {
            self.note(Noted::FactorAdded(new.id.clone(), new.user_id.clone()));
        }
        Ok(is_new)
    }

    /// Returns the passkey with this ID.
    pub async fn passkey(&mut self, credential_id: &str) -> Result<Option<FactorRow>, StoreError> {
        self.optional(PASSKEY, vec![credential_id.into()]).await?.as_ref().map(factor).transpose()
    }

    /// Records that a passkey was used, with its new counter.
    pub async fn use_passkey(
        &mut self,
        id: &FactorId,
        sealed: &[u8],
        at: Timestamp,
    ) -> Result<(), StoreError> {
        self.execute(USE_PASSKEY, vec![id.as_str().into(), sealed.into(), at.into()]).await.map(drop)
    }

    /// Whether a passkey signs in alone: it was added, or used after the password, since the password was set.
    pub async fn is_passkey_alone(&mut self, credential_id: &str) -> Result<bool, StoreError> {
        let row = self.optional(IS_ALONE, vec![credential_id.into()]).await?;
        row.map_or(Ok(false), |row| Ok(row.int("signs_in_alone")? > 0))
    }

    /// Lets a passkey sign in alone, because it was used after the password.
    pub async fn let_passkey_alone(&mut self, id: &FactorId) -> Result<(), StoreError> {
        self.execute(SET_ALONE, vec![id.as_str().into()]).await.map(drop)
    }

    /// Lets no passkey of an account sign in alone, because it has another password.
    pub(crate) async fn let_no_passkey_alone(&mut self, user: &UserId) -> Result<(), StoreError> {
        self.execute(SET_NONE_ALONE, vec![user.as_str().into()]).await.map(drop)
    }

    /// Records a challenge of a passkey as answered, until it could not be answered any more. Returns whether it is the
    /// first time.
    pub async fn take_passkey_challenge(
        &mut self,
        digest: &[u8],
        until: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.execute(FORGET_CHALLENGES, vec![now.into()]).await?;
        Ok(self.execute(INSERT_CHALLENGE, vec![digest.into(), until.into()]).await? > 0)
    }

    /// Returns the factors of an account, oldest first, also unconfirmed ones.
    pub async fn factors(&mut self, user: &UserId) -> Result<Vec<FactorRow>, StoreError> {
        self.rows(OF_USER, vec![user.as_str().into()]).await?.iter().map(factor).collect()
    }

    /// Confirms a factor with the step of its first code. Returns whether it was unconfirmed.
    pub async fn confirm_factor(
        &mut self,
        id: &FactorId,
        user: &UserId,
        at: Timestamp,
        step: i64,
    ) -> Result<bool, StoreError> {
        self.note(Noted::FactorAdded(id.clone(), user.clone()));
        Ok(self.execute(CONFIRM, vec![id.as_str().into(), at.into(), step.into()]).await? > 0)
    }

    /// Records that the code of a step was used. Returns `false` if it, or a later one, was used before.
    pub async fn use_step(&mut self, id: &FactorId, step: i64, at: Timestamp) -> Result<bool, StoreError> {
        Ok(self.execute(USE_STEP, vec![id.as_str().into(), step.into(), at.into()]).await? > 0)
    }

    /// Removes a factor. Returns whether it was there.
    pub async fn remove_factor(&mut self, id: &FactorId) -> Result<bool, StoreError> {
        self.note(Noted::FactorRemoved(id.clone()));
        Ok(self.optional(REMOVE, vec![id.as_str().into()]).await?.is_some())
    }

    /// Removes every factor and every recovery code of an account. Returns the names of the confirmed factors.
    pub async fn remove_factors(&mut self, user: &UserId) -> Result<Vec<String>, StoreError> {
        let mut names = Vec::new();
        for row in self.rows(REMOVE_OF, vec![user.as_str().into()]).await? {
            self.note(Noted::FactorRemoved(row.parsed("id", |text| FactorId::parse(text).ok())?));
            if row.opt_time("confirmed_at")?.is_some() {
                names.push(row.text("name")?);
            }
        }
        if self.execute(END_ALL_CODES, vec![user.as_str().into()]).await? > 0 {
            self.note(Noted::RecoveryCodes(user.clone()));
        }
        names.sort();
        Ok(names)
    }

    /// Whether there is a factor with this ID.
    pub(crate) async fn has_factor(&mut self, id: &FactorId) -> Result<bool, StoreError> {
        Ok(self.optional(FACTOR, vec![id.as_str().into()]).await?.is_some())
    }

    /// Returns those of the accounts that have a confirmed factor, in one statement.
    pub async fn with_factor(&mut self, users: &[&UserId]) -> Result<HashSet<UserId>, StoreError> {
        let keys: Vec<_> = users.iter().map(|id| vec![id.as_str().into()]).collect();
        let user = |row: &Row| row.parsed("user_id", |text| UserId::parse(text).ok());
        self.look_up(WITH_FACTOR, &keys).await?.iter().map(user).collect()
    }

    /// Passes on the sealed value of every factor.
    pub async fn each_sealed_factor<E: From<StoreError>>(
        &mut self,
        mut work: impl FnMut(&UserId, &FactorId, &[u8]) -> Result<(), E>,
    ) -> Result<u64, E> {
        self.each(SEALED, vec![], |row| {
            let user = row.parsed("user_id", |text| UserId::parse(text).ok())?;
            let id = row.parsed("id", |text| FactorId::parse(text).ok())?;
            work(&user, &id, &row.blob("sealed")?)
        })
        .await
    }

    /// Replaces the recovery codes of an account, by their keyed digests.
    pub async fn set_recovery_codes(
        &mut self,
        user: &UserId,
        digests: &[Vec<u8>],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.note(Noted::RecoveryCodes(user.clone()));
        self.execute(END_ALL_CODES, vec![user.as_str().into()]).await?;
        let rows: Vec<_> = digests
            .iter()
            .map(|digest| vec![digest.as_slice().into(), user.as_str().into(), now.into()])
            .collect();
        self.many(INSERT_CODES, &rows).await.map(drop)
    }

    /// Returns the number of unused recovery codes of an account.
    pub async fn recovery_codes_left(&mut self, user: &UserId) -> Result<i64, StoreError> {
        self.one(COUNT_CODES, vec![user.as_str().into()]).await?.int("n")
    }

    /// Uses up a recovery code of an account. Returns whether there was one with this digest.
    pub async fn use_recovery_code(&mut self, user: &UserId, digest: &[u8]) -> Result<bool, StoreError> {
        let args = vec![digest.into(), user.as_str().into()];
        let is_used = self.optional(USE_CODE, args).await?.is_some();
        if is_used {
            self.note(Noted::RecoveryCode(digest.to_vec()));
        }
        Ok(is_used)
    }

    /// Ends a recovery code that was used.
    pub(crate) async fn end_recovery_code(&mut self, digest: &[u8]) -> Result<u64, StoreError> {
        self.execute(END_CODE, vec![digest.into()]).await
    }

    /// Ends the recovery codes of an account that were created before `at`.
    pub(crate) async fn end_recovery_codes(
        &mut self,
        user: &UserId,
        at: Timestamp,
    ) -> Result<u64, StoreError> {
        self.execute(END_CODES, vec![user.as_str().into(), at.into()]).await
    }

    /// Stores a sign-in that waits for a code, by the keyed digest of its cookie. Forgets expired ones, and those of the
    /// account beyond the limit.
    pub async fn insert_pending_sign_in(
        &mut self,
        digest: &[u8],
        user: &UserId,
        is_known: bool,
        (now, expires_at): (Timestamp, Timestamp),
    ) -> Result<(), StoreError> {
        self.execute(FORGET_PENDING, vec![now.into()]).await?;
        let args = vec![digest.into(), user.as_str().into(), is_known.into(), now.into(), expires_at.into()];
        self.execute(INSERT_PENDING, args).await?;
        self.execute(FORGET_MOST_PENDING, vec![user.as_str().into(), MAX_PENDING.into()]).await.map(drop)
    }

    /// Returns the sign-in that waits for a code with this digest, if it has not expired.
    pub async fn pending_sign_in(
        &mut self,
        digest: &[u8],
        now: Timestamp,
    ) -> Result<Option<PendingSignIn>, StoreError> {
        let row = self.optional(PENDING, vec![digest.into(), now.into()]).await?;
        row.map(|row| {
            Ok(PendingSignIn {
                user_id: row.parsed("user_id", |text| UserId::parse(text).ok())?,
                is_known: row.flag("is_known")?,
                wrong_codes: row.int("wrong_codes")?,
            })
        })
        .transpose()
    }

    /// Counts a wrong code of a sign-in.
    pub async fn count_wrong_code(&mut self, digest: &[u8]) -> Result<(), StoreError> {
        self.execute(COUNT_WRONG_CODE, vec![digest.into()]).await.map(drop)
    }

    /// Ends a sign-in that waits for a code.
    pub async fn end_pending_sign_in(&mut self, digest: &[u8]) -> Result<(), StoreError> {
        self.execute(END_PENDING, vec![digest.into()]).await.map(drop)
    }

    /// Ends every sign-in that waits for a code.
    pub async fn end_all_pending_sign_ins(&mut self) -> Result<(), StoreError> {
        self.execute(END_ALL_PENDING, vec![]).await.map(drop)
    }

    /// Ends the sign-ins of an account that wait for a code.
    pub(crate) async fn end_pending_sign_ins(&mut self, user: &UserId) -> Result<(), StoreError> {
        self.execute(END_PENDING_OF, vec![user.as_str().into()]).await.map(drop)
    }

    /// Returns the policy, and whether an account has a factor, in one statement.
    pub async fn factor_standing(&mut self, user: &UserId) -> Result<FactorStanding, StoreError> {
        let row = self.one(STANDING, vec![user.as_str().into()]).await?;
        Ok(FactorStanding {
            policy: factor_policy(&row)?,
            passwords_on_since: row.opt_time("passwords_on_since")?,
            has_factor: row.int("factors")? > 0,
            has_passkey: row.int("passkeys")? > 0,
            has_identity: row.int("identities")? > 0,
        })
    }

    /// Returns the people who have no confirmed factor, oldest first.
    pub async fn people_without_factor(&mut self) -> Result<Vec<WithoutFactor>, StoreError> {
        let person = |row: &Row| {
            let id = row.parsed("id", |text| UserId::parse(text).ok())?;
            Ok(WithoutFactor {
                id,
                email: row.text("email")?,
                created_at: row.time("created_at")?,
                has_password: row.opt_text("password_hash")?.is_some(),
                has_identity: row.int("identities")? > 0,
            })
        };
        self.rows(WITHOUT_FACTOR, vec![]).await?.iter().map(person).collect()
    }
}
