//! Who may rotate the secrets of a client: asked by those who may know who holds which role.

use crate::{app::App, caller::Caller, error::Error, targets::ClientPath};
use crossfade_core::{
    Operation, UserId,
    environment::Slug,
    roles::{Object, Permission, Role, Scope},
    text::folded,
};
use crossfade_store::Client;

/// Grants of each role that are listed.
const MOST: usize = 500;

/// Who may rotate the secrets of a client.
#[derive(Clone, Debug)]
pub struct Rotators {
    /// A line for each grant, in the order of names.
    pub items: Vec<Rotator>,
    /// Whether there are more than are listed.
    pub more: bool,
}

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
    /// Who may rotate the secrets of a client. `None` for a caller who may not know of grants.
    pub async fn list_rotators(
        &self,
        caller: &Caller,
        path: ClientPath<'_>,
    ) -> Result<Option<Rotators>, Error> {
        self.view(Operation::ReadClient, caller, path, async |tx, caller, client: Client| {
            if !caller.may(Permission::UserRead, Object::Platform) {
                return Ok(None);
            }
            let (mut items, mut more) = (Vec::new(), false);
            let rotating = |role: &Role| role.permissions().contains(&Permission::SecretRotate);
            for role in Role::ALL.into_iter().filter(rotating) {
                let limit = i64::try_from(MOST + 1).unwrap_or(i64::MAX);
                let mut grants = tx.grants_that_reach(role, &client.property_id, &client.id, limit).await?;
                more |= grants.len() > MOST;
                grants.truncate(MOST);
                items.extend(grants.into_iter().map(|(name, row)| Rotator {
                    user: row.user_id,
                    name,
                    role: row.grant.role,
                    scope: row.grant.scope,
                    environments: row.grant.environments,
                }));
            }
            items.sort_by_key(|it| folded(&it.name));
            Ok(Some(Rotators { items, more }))
        })
        .await
    }
}
