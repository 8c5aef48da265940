//! The accounts that can rotate the secrets of a client, for principals who can view grants.

use crate::{error::Error, frame::principal::Principal};
use crossfade_core::{
    UserId,
    environment::Slug,
    roles::{Object, Permission, Role, Scope},
    text::folded,
};
use crossfade_store::{Client, Tx};

/// Maximum number of grants listed per role.
const MOST: usize = 500;

/// The accounts that can rotate the secrets of a client.
#[derive(Clone, Debug)]
pub struct Rotators {
    /// One line per grant, in the order of names.
    pub items: Vec<Rotator>,
    /// Whether there are more than the listed ones.
    pub more: bool,
}

/// An account that can rotate the secrets of a client.
#[derive(Clone, Debug)]
pub struct Rotator {
    /// Actor.
    pub user: UserId,
    /// Name.
    pub name: String,
    /// Role that permits it.
    pub role: Role,
    /// Scope of the role.
    pub scope: Scope,
    /// Environments of the role; `None`: all.
    pub environments: Option<Vec<Slug>>,
}

/// Returns the accounts that can rotate the secrets of a client; `None` for a principal who cannot view grants.
pub(super) async fn rotators_of(
    tx: &mut Tx,
    principal: &Principal,
    client: &Client,
) -> Result<Option<Rotators>, Error> {
    if !principal.may(Permission::UserRead, Object::Platform) {
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
}
