//! Permissions of a principal on an object, checked in advance, so that a page offers nothing that would be refused.

use crate::{
    app::App,
    error::Error,
    frame::principal::Principal,
    people::{
        giving::{closes_account, may_change_roles_of, within_reach},
        users::{Account, UserPath},
    },
};
use crossfade_core::{
    Code, Operation,
    roles::{Grant, Object, Permission, Role, Scope},
};

/// Permissions of a principal on a client, or on one of its registrations.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Abilities {
    /// Can change and delete it.
    pub manage: bool,
    /// Can see secrets.
    pub reveal: bool,
    /// Can rotate.
    pub rotate: bool,
    /// Can end a retiring secret.
    pub revoke: bool,
    /// Can extend the deadline of a retiring secret.
    pub extend: bool,
    /// Can make a retiring secret current again.
    pub rollback: bool,
    /// Can schedule drills for a retiring secret.
    pub drill: bool,
    /// Can mark a running transition as seen.
    pub see: bool,
    /// Can see how its callers go back to the upstream issuer.
    pub release: bool,
    /// Can see who holds a role that covers it.
    pub review: bool,
}

/// Permissions of a principal on an account.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct AccountAbilities {
    /// Can change it and create a link for it.
    pub manage: bool,
    /// Can remove its roles, except Owner.
    pub remove_roles: bool,
    /// Roles that the principal can grant to it.
    pub roles: Vec<Role>,
    /// Those of `roles` that would close the account: end its password, sessions, tokens and links.
    pub closing: Vec<Role>,
}

impl Abilities {
    /// All kinds.
    pub const ALL: Self = Self {
        manage: true,
        reveal: true,
        rotate: true,
        revoke: true,
        extend: true,
        rollback: true,
        drill: true,
        see: true,
        release: true,
        review: true,
    };

    pub(crate) fn of(principal: &Principal, object: Object<'_>) -> Self {
        let may = |permission| principal.may(permission, object);
        Self {
            manage: may(Permission::ClientManage),
            reveal: may(Permission::SecretReveal),
            rotate: may(Permission::SecretRotate),
            revoke: may(Permission::SecretRevoke),
            extend: may(Permission::SecretExtend),
            rollback: may(Permission::SecretRollback),
            drill: may(Permission::SecretDrill),
            see: may(Permission::SecretRotate),
            release: may(Permission::UpstreamManage),
            review: principal.may(Permission::UserRead, Object::Platform),
        }
    }
}

impl App {
    /// Returns the principal's permissions on an account.
    pub async fn account_abilities(
        &self,
        principal: &Principal,
        path: UserPath<'_>,
    ) -> Result<AccountAbilities, Error> {
        self.view(Operation::ReadUser, principal, path, async |tx, principal, account: Account| {
            let is_permitted = |asked: Result<(), Error>| match asked {
                Ok(()) => Ok(true),
                Err(error) if error.problem.code == Code::Forbidden => Ok(false),
                Err(error) => Err(error),
            };
            let reaches = is_permitted(within_reach(tx, &account.grants, principal).await)?;
            let changes = is_permitted(may_change_roles_of(tx, principal, &account.user.id).await)?;
            let given = |role: &Role| changes && principal.holding().may_give_role(*role).is_ok();
            let roles: Vec<Role> = Role::ALL.into_iter().filter(given).collect();
            let mut closing = Vec::new();
            for role in &roles {
                let grant = Grant { role: *role, scope: Scope::Platform, environments: None };
                if closes_account(tx, &account.user, &account.grants, &grant).await? {
                    closing.push(*role);
                }
            }
            Ok(AccountAbilities {
                manage: reaches && principal.may_on_platform(Permission::UserManage),
                remove_roles: changes && principal.may_on_platform(Permission::GrantManage),
                roles,
                closing,
            })
        })
        .await
    }
}
