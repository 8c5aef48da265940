//! Names for the IDs in events of the trail: the trail contains IDs, and readers know people and clients by name.

use crate::{app::App, caller::Caller, error::Error};
use crossfade_core::{
    ClientId, PropertyId, SessionId, TokenId, UserId,
    roles::{Object, Permission},
};
use crossfade_store::Tx;
use std::collections::{HashMap, HashSet};

/// The object of an ID.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Named {
    /// An account: its name, and whether it still exists.
    Account(String, bool),
    /// An API token: its name and its owner's name.
    Token(String, String),
    /// A session of the account with this name.
    Session(String),
    /// A client.
    Client(String),
    /// A property.
    Property(String),
}

impl App {
    /// Returns the names of those IDs that have one, if the caller is permitted to know it. A caller who can read the
    /// complete trail knows all names from it; other callers know the names of objects they can read, and their own.
    pub async fn names_in_trail(
        &self,
        caller: &Caller,
        ids: impl IntoIterator<Item = String>,
    ) -> Result<HashMap<String, Named>, Error> {
        let ids: HashSet<String> = ids.into_iter().collect();
        self.read(async |tx| {
            let caller = &caller.refreshed(tx, self.clock.now()).await?;
            let mut names = HashMap::new();
            for id in ids {
                if let Some(name) = name(tx, caller, &id).await? {
                    names.insert(id, name);
                }
            }
            Ok(names)
        })
        .await
    }
}

async fn name(tx: &mut Tx, caller: &Caller, id: &str) -> Result<Option<Named>, Error> {
    let reads_all = caller.may(Permission::AuditRead, Object::Platform);
    if let Ok(id) = UserId::parse(id) {
        return Ok(account(tx, caller, &id).await?.map(|(name, is_there)| Named::Account(name, is_there)));
    }
    if let Ok(id) = TokenId::parse(id) {
        let Some((owner, name)) = tx.token_name(&id).await? else { return Ok(None) };
        let may =
            reads_all || &owner == caller.user() || caller.may(Permission::TokenManage, Object::Platform);
        let owner = account(tx, caller, &owner).await?.filter(|_| may);
        return Ok(owner.map(|(owner, _)| Named::Token(name, owner)));
    }
    if let Ok(id) = SessionId::parse(id) {
        let Some(owner) = tx.user_of_session(&id).await? else { return Ok(None) };
        return Ok(account(tx, caller, &owner).await?.map(|(name, _)| Named::Session(name)));
    }
    if let Ok(id) = ClientId::parse(id) {
        let Some((name, property)) = tx.client_name(&id).await? else { return Ok(None) };
        let may = caller.may(Permission::ClientRead, Object::Client(&property, &id));
        return Ok(may.then(|| Named::Client(name.to_string())));
    }
    if let Ok(id) = PropertyId::parse(id) {
        let may = reads_all || caller.may(Permission::ClientRead, Object::Property(&id));
        let property = tx.property(&id).await?.filter(|_| may);
        return Ok(property.map(|property| Named::Property(property.name.to_string())));
    }
    Ok(None)
}

async fn account(tx: &mut Tx, caller: &Caller, id: &UserId) -> Result<Option<(String, bool)>, Error> {
    let reads_all = caller.may(Permission::AuditRead, Object::Platform);
    let may = reads_all || id == caller.user() || caller.may(Permission::UserRead, Object::Platform);
    Ok(tx.user_name(id).await?.filter(|_| may))
}
