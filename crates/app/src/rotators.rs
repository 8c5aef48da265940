//! Who may rotate the secrets of a client: asked by those who may know who holds which role.

use crate::{app::App, caller::Caller, error::Error, targets::ClientPath};
use crossfade_core::{
    Operation, UserId,
    environment::Slug,
    roles::{Object, Permission, Role, Scope},
};
use crossfade_store::Client;

/// Grants that are looked through.
const MOST: i64 = 1000;

/// Somebody who may rotate the secrets of a client.
#[derive(Clone, Debug)]
pub struct Rotator {
    /// Who.
    pub user: UserId,
    /// What they are called.
    pub name: String,
    /// By which role.
    pub role: Role,
    /// On what that holds.
    pub scope: Scope,
    /// In which environments; `None`: in all.
    pub environments: Option<Vec<Slug>>,
}

impl App {
    /// Who may rotate the secrets of a client, a line for each grant. `None` for a caller who may not know of grants.
    pub async fn list_rotators(
        &self,
        caller: &Caller,
        path: ClientPath<'_>,
    ) -> Result<Option<Vec<Rotator>>, Error> {
        self.view(Operation::ReadClient, caller, path, async |tx, caller, client: Client| {
            if !caller.may(Permission::UserRead, Object::Platform) {
                return Ok(None);
            }
            let grants = tx.grants_that_reach(&client.property_id, &client.id, MOST).await?;
            let rotators = grants
                .into_iter()
                .filter(|(_, row)| row.grant.role.permissions().contains(&Permission::SecretRotate))
                .map(|(name, row)| Rotator {
                    user: row.user_id,
                    name,
                    role: row.grant.role,
                    scope: row.grant.scope,
                    environments: row.grant.environments,
                });
            Ok(Some(rotators.collect()))
        })
        .await
    }
}
