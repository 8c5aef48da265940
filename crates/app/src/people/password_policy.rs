//! Who can sign in with a password: everyone, or only Owners that are kept for the case that no provider works.

use crate::{
    app::App,
    error::Error,
    frame::{
        entry::About,
        idempotency::Repeatable,
        principal::Principal,
        request::{Input, Request},
        targets::Platform,
        versioned::Versioned,
    },
};
use crossfade_core::{
    Code, Operation, Problem, UserId,
    account::Passwords,
    api::{PasswordPolicy, UpdatePasswordPolicy},
    audit::Event,
    roles::Role,
};
use crossfade_store::{GrantRow, PasswordPolicyRow, StoreError, Tx};

impl Repeatable for Versioned<PasswordPolicy> {}

/// Maximum number of Owners who can sign in with a password when nobody else can.
const MAX_BREAK_GLASS: usize = 20;

fn shown(row: &PasswordPolicyRow) -> PasswordPolicy {
    PasswordPolicy { passwords: row.passwords, break_glass: row.break_glass.clone() }
}

/// Whether an account can sign in with its password. One that is kept for emergencies must still be an Owner.
pub(crate) async fn accepts_password(tx: &mut Tx, account: &UserId) -> Result<bool, StoreError> {
    let policy = tx.password_policy().await?;
    Ok(match policy.passwords {
        Passwords::Everyone => true,
        Passwords::BreakGlass => {
            policy.break_glass.contains(account)
                && tx.owners().await?.iter().any(|owner| owner.id == *account)
        }
    })
}

impl App {
    /// Returns who can sign in with a password, and its version.
    pub async fn read_password_policy(
        &self,
        principal: &Principal,
    ) -> Result<Versioned<PasswordPolicy>, Error> {
        self.view(Operation::ReadPasswordPolicy, principal, Platform, async |tx, _, ()| {
            let row = tx.password_policy().await?;
            Ok(Versioned::new(shown(&row), row.version))
        })
        .await
    }

    /// Returns whether only Owners that are kept for emergencies can sign in with a password, for the page that asks for it.
    pub async fn are_passwords_off(&self) -> Result<bool, Error> {
        let policy = self.look_up_for(None, async |tx| Ok(tx.password_policy().await?)).await?;
        Ok(policy.passwords == Passwords::BreakGlass)
    }

    /// Sets who can sign in with a password.
    pub async fn update_password_policy(
        &self,
        request: &Request<'_>,
        input: Input<'_, UpdatePasswordPolicy>,
    ) -> Result<Versioned<PasswordPolicy>, Error> {
        self.change(Operation::UpdatePasswordPolicy, request, Platform, async |act, _, ()| {
            let before = act.tx.password_policy().await?;
            act.matches(before.version)?;
            let body = input.read()?;
            let mut after = before.clone();
            after.passwords = body.passwords.unwrap_or(before.passwords);
            if let Some(list) = body.break_glass {
                after.break_glass = Vec::new();
                for account in list {
                    if !after.break_glass.contains(&account) {
                        after.break_glass.push(account);
                    }
                }
            }
            if after.break_glass.len() > MAX_BREAK_GLASS {
                let what = format!("must contain at most {MAX_BREAK_GLASS} accounts");
                return Err(Problem::invalid("break_glass", &what).into());
            }
            let owners = act.tx.owners().await?;
            let can = |account: &UserId| {
                owners.iter().any(|owner| owner.id == *account && owner.password_hash.is_some())
            };
            for account in &after.break_glass {
                // What a group gives goes with its provider, and is then no way in.
                let by_hand = |row: &GrantRow| row.grant.role == Role::Owner && row.source.is_none();
                if !act.tx.grants(account).await?.iter().any(by_hand) {
                    let what = "must contain only Owners whose role was granted by hand, and not by a group";
                    return Err(Problem::invalid("break_glass", what).into());
                }
            }
            if !after.break_glass.iter().all(can) {
                return Err(Problem::invalid("break_glass", "must contain only Owners who have a password").into());
            }
            if after.passwords == Passwords::BreakGlass {
                if after.break_glass.is_empty() {
                    let what = "must contain at least one Owner who has a password, to sign in when no provider works";
                    return Err(Problem::invalid("break_glass", what).into());
                }
                if act.tx.enabled_providers().await?.is_empty() {
                    let text = "No provider is enabled, so nobody else could sign in. Nothing was changed. Add a provider first.";
                    return Err(Problem::new(Code::InUse, text).with_field("passwords").into());
                }
            }
            if after == before {
                return Ok(Versioned::new(shown(&before), before.version));
            }
            act.tx.set_password_policy(after.passwords, &after.break_glass).await?;
            let mut ended_sessions = 0;
            if after.passwords == Passwords::BreakGlass {
                // One that waits for a code has passed the check of its password.
                act.tx.end_all_pending_sign_ins().await?;
                for (session, account) in act.tx.password_sessions().await? {
                    if after.break_glass.contains(&account) {
                        continue;
                    }
                    if act.tx.end_session(&session, &account, act.now).await? {
                        act.tx.end_links_by_session(&session).await?;
                        ended_sessions += 1;
                    }
                }
            }
            let event = Event::PasswordPolicyUpdated {
                passwords_before: before.passwords,
                break_glass_before: before.break_glass,
                passwords: after.passwords,
                break_glass: after.break_glass.clone(),
                ended_sessions,
            };
            act.audit(&event, About::default()).await?;
            let row = act.tx.password_policy().await?;
            Ok(Versioned::new(shown(&row), row.version))
        })
        .await
    }
}
