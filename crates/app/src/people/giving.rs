//! Granting roles and access to accounts (rule 24). The rule is in `core/giving.rs`; this applies it to stored rows.

use crate::{
    error::Error,
    frame::{principal::Principal, targets::forbidden_because},
};
use crossfade_core::{
    ClientId, PropertyId, UserId,
    giving::Holding,
    roles::{Grant, Object, Permission, Role, Scope},
};
use crossfade_store::{GrantRow, Maker, StoreError, Tx, User};

/// Returns the client that a grant covers, if it covers one.
fn client_of(grant: &Grant) -> Option<&ClientId> {
    match &grant.scope {
        Scope::Client(client) => Some(client),
        Scope::Platform | Scope::Property(_) => None,
    }
}

/// Returns the property of the client that a grant covers, if it covers one client.
async fn property_of(tx: &mut Tx, grant: &Grant) -> Result<Option<PropertyId>, StoreError> {
    match client_of(grant) {
        Some(client) => Ok(tx.client(client).await?.map(|client| client.property_id)),
        None => Ok(None),
    }
}

/// Returns the grants of an account, without their ids.
pub(crate) async fn grants_of(tx: &mut Tx, account: &UserId) -> Result<Vec<Grant>, StoreError> {
    Ok(tx.grants(account).await?.into_iter().map(|row| row.grant).collect())
}

/// Parses permissions.
pub(crate) fn permissions(words: &[String]) -> Vec<Permission> {
    words.iter().filter_map(|word| Permission::parse(word)).collect()
}

/// Whether giving `grant` closes the account, which ends every way into it (docs/decisions/0010). The first role that
/// sees secrets always does. Any other role does if the account was entered with a link whose creator could not give
/// the grant, because the creator may have kept a way in.
pub(crate) async fn closes_account(
    tx: &mut Tx,
    user: &User,
    held: &[GrantRow],
    grant: &Grant,
) -> Result<bool, StoreError> {
    let saw_secrets = held.iter().any(|row| row.grant.role.sees_secrets());
    if grant.role.sees_secrets() {
        return Ok(!saw_secrets);
    }
    let maker = match &user.password_hash {
        Some(_) => tx.entered_by(&user.id).await?,
        // A program has tokens, which its creator may have asked for. An open link is judged when it is used.
        None => Maker { account: user.created_by.clone(), ..Maker::default() },
    };
    let limit = maker.scope.as_deref().map(permissions);
    if grant.role.given_by() != Permission::OwnerManage {
        // Every manager could give this one: what counts is what a limited token could not.
        let exceeds = |limit: &Vec<Permission>| grant.role.permissions().iter().any(|it| !limit.contains(it));
        return Ok(limit.as_ref().is_some_and(exceeds));
    }
    // An account that sees secrets is beyond the reach of managers already.
    if saw_secrets {
        return Ok(false);
    }
    let grants = match &maker.account {
        Some(account) => grants_of(tx, account).await?,
        None => Vec::new(),
    };
    let holding = Holding { grants: &grants, limit: limit.as_deref() };
    let property = property_of(tx, grant).await?;
    Ok(holding.may_give(grant, property.as_ref()).is_err())
}

/// Returns a permission that `holding` lacks for giving every grant of an account: anyone who gets into the account has
/// all of them.
pub(crate) async fn missing(
    tx: &mut Tx,
    holding: Holding<'_>,
    grants: &[GrantRow],
) -> Result<Option<Permission>, StoreError> {
    let clients = grants.iter().filter_map(|row| client_of(&row.grant)).collect::<Vec<_>>();
    let properties = tx.properties_of_clients(&clients).await?;
    let missing = |row: &GrantRow| {
        let property = client_of(&row.grant).and_then(|client| properties.get(client));
        holding.may_give(&row.grant, property).err()
    };
    Ok(grants.iter().find_map(missing))
}

/// Refuses a principal who could not grant every role of an account: with a link or another email address the principal
/// could take over the account and gain its permissions.
pub(crate) async fn within_reach(
    tx: &mut Tx,
    grants: &[GrantRow],
    principal: &Principal,
) -> Result<(), Error> {
    match missing(tx, principal.holding(), grants).await? {
        None => Ok(()),
        Some(permission) => Err(forbidden_because(
            permission,
            &format!(
                "This account has a role that you cannot grant. This action requires the permission {}. \
                Nothing was changed.",
                permission.as_str()
            ),
        )),
    }
}

/// Refuses a role with more permissions than the principal or its token.
pub(crate) fn may_give_role(principal: &Principal, role: Role) -> Result<(), Error> {
    principal.holding().may_give_role(role).map_err(|permission| cannot_give(role, permission))
}

/// Refuses a grant with permissions that the principal or its token does not have there.
pub(crate) async fn may_give(tx: &mut Tx, principal: &Principal, grant: &Grant) -> Result<(), Error> {
    let property = property_of(tx, grant).await?;
    principal
        .holding()
        .may_give(grant, property.as_ref())
        .map_err(|permission| cannot_give(grant.role, permission))
}

fn cannot_give(role: Role, permission: Permission) -> Error {
    let word = permission.as_str();
    let text = if permission == Permission::OwnerManage {
        format!(
            "Only Owners grant the role {}. This action requires the permission {word}. Nothing was changed.",
            role.name()
        )
    } else if permission == role.given_by() {
        format!("Granting the role {} requires the permission {word}. Nothing was changed.", role.name())
    } else {
        format!(
            "The role {} includes the permission {word}, which you or your token do not have there. Nothing \
            was changed.",
            role.name()
        )
    };
    forbidden_because(permission, &text)
}

/// Refuses to change the roles of the principal's own account and of the accounts behind it: its creator, the creators
/// of its links since an Owner last let its person in, and the accounts behind those. Otherwise people could change
/// their own roles through an account that they created. Owners are exempt, because they can change their own roles
/// anyway.
pub(crate) async fn may_change_roles_of(
    tx: &mut Tx,
    principal: &Principal,
    account: &UserId,
) -> Result<(), Error> {
    if principal.may(Permission::OwnerManage, Object::Platform) {
        return Ok(());
    }
    let text = if principal.user == *account {
        "Only Owners change their own roles. This action requires the permission owner:manage. Nothing was \
        changed."
    } else if tx.is_made_by(&principal.user, account).await? {
        "This account created your account or a link to it, directly or through other accounts, so only \
        Owners can change its roles. This action requires the permission owner:manage. Nothing was changed."
    } else {
        return Ok(());
    };
    Err(forbidden_because(Permission::OwnerManage, text))
}
