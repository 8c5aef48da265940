//! What a caller may do to something, asked beforehand: a page offers nothing that would be refused.

use crate::{
    app::App,
    caller::Caller,
    error::Error,
    targets::{ClientPath, RegistrationPath, Site},
};
use crossfade_core::{
    Operation,
    roles::{Object, Permission},
};
use crossfade_store::Client;

/// What a caller may do to a client, or to it in one environment.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Abilities {
    /// Change and delete it.
    pub manage: bool,
    /// See secrets.
    pub reveal: bool,
    /// Rotate.
    pub rotate: bool,
    /// End a retiring secret.
    pub revoke: bool,
    /// Give a retiring secret longer.
    pub extend: bool,
    /// Make a retiring secret current again.
    pub rollback: bool,
    /// Refuse a retiring secret for a while.
    pub drill: bool,
}

impl Abilities {
    /// All of them.
    pub const ALL: Self = Self {
        manage: true,
        reveal: true,
        rotate: true,
        revoke: true,
        extend: true,
        rollback: true,
        drill: true,
    };

    fn of(caller: &Caller, object: Object<'_>) -> Self {
        let may = |permission| caller.may(permission, object);
        Self {
            manage: may(Permission::ClientManage),
            reveal: may(Permission::SecretReveal),
            rotate: may(Permission::SecretRotate),
            revoke: may(Permission::SecretRevoke),
            extend: may(Permission::SecretExtend),
            rollback: may(Permission::SecretRollback),
            drill: may(Permission::SecretDrill),
        }
    }
}

impl App {
    /// What the caller may do to a client in every environment.
    pub async fn client_abilities(&self, caller: &Caller, path: ClientPath<'_>) -> Result<Abilities, Error> {
        self.view(Operation::ReadClient, caller, path, async |_, caller, client: Client| {
            Ok(Abilities::of(caller, Object::Client(&client.property_id, &client.id)))
        })
        .await
    }

    /// What the caller may do to a client in one environment.
    pub async fn abilities(&self, caller: &Caller, path: RegistrationPath<'_>) -> Result<Abilities, Error> {
        self.view(Operation::ReadRegistration, caller, path, async |_, caller, site: Site| {
            Ok(Abilities::of(caller, site.object()))
        })
        .await
    }
}
