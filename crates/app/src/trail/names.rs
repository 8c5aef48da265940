//! Names for the IDs in events of the trail: the trail contains IDs, and readers know people and clients by name.

use crate::{app::App, error::Error, frame::principal::Principal};
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
    /// Returns the names of those IDs that have one, if the principal is permitted to know it. A principal who can read
    /// the complete trail knows all names from it; other principals know the names of objects they can read, and their
    /// own.
    pub async fn names_in_trail(
        &self,
        principal: &Principal,
        ids: impl IntoIterator<Item = String>,
    ) -> Result<HashMap<String, Named>, Error> {
        let ids: HashSet<String> = ids.into_iter().collect();
        self.read(async |tx| {
            let principal = &principal.refreshed(tx, self.clock.now()).await?;
            let mut names = accounts(tx, principal, &ids).await?;
            names.extend(objects(tx, principal, &ids).await?);
            Ok(names)
        })
        .await
    }
}

/// Returns those IDs that `parse` understands.
fn parsed<Id>(ids: &HashSet<String>, parse: impl Fn(&str) -> Option<Id>) -> Vec<Id> {
    ids.iter().filter_map(|id| parse(id)).collect()
}

/// Returns the names of accounts, tokens and sessions, with a fixed number of reads.
async fn accounts(
    tx: &mut Tx,
    principal: &Principal,
    ids: &HashSet<String>,
) -> Result<HashMap<String, Named>, Error> {
    let tokens = tx.token_names(&parsed(ids, |id| TokenId::parse(id).ok())).await?;
    let sessions = tx.users_of_sessions(&parsed(ids, |id| SessionId::parse(id).ok())).await?;
    let mut users: HashSet<_> = parsed(ids, |id| UserId::parse(id).ok()).into_iter().collect();
    users.extend(tokens.values().map(|(owner, _)| owner.clone()));
    users.extend(sessions.values().cloned());
    let mut known = tx.user_names(&users.into_iter().collect::<Vec<_>>()).await?;
    let reads_all = principal.may(Permission::AuditRead, Object::Platform);
    let reads_users = reads_all || principal.may(Permission::UserRead, Object::Platform);
    known.retain(|id, _| reads_users || id == principal.user());
    let reads_tokens = reads_all || principal.may(Permission::TokenManage, Object::Platform);
    let mut names = HashMap::new();
    for (id, (owner, name)) in tokens {
        if let (true, Some((owner, _))) = (reads_tokens || owner == *principal.user(), known.get(&owner)) {
            names.insert(id.to_string(), Named::Token(name, owner.clone()));
        }
    }
    for (id, owner) in sessions {
        if let Some((owner, _)) = known.get(&owner) {
            names.insert(id.to_string(), Named::Session(owner.clone()));
        }
    }
    let known =
        known.into_iter().map(|(id, (name, is_there))| (id.to_string(), Named::Account(name, is_there)));
    names.extend(known.filter(|(id, _)| ids.contains(id)));
    Ok(names)
}

/// Returns the names of clients and properties, with a fixed number of reads.
async fn objects(
    tx: &mut Tx,
    principal: &Principal,
    ids: &HashSet<String>,
) -> Result<HashMap<String, Named>, Error> {
    let reads_all = principal.may(Permission::AuditRead, Object::Platform);
    let read = Permission::ClientRead;
    let mut names = HashMap::new();
    for (id, (name, property)) in tx.client_names(&parsed(ids, |id| ClientId::parse(id).ok())).await? {
        if principal.may(read, Object::Client(&property, &id)) {
            names.insert(id.to_string(), Named::Client(name.to_string()));
        }
    }
    for (id, name) in tx.property_names(&parsed(ids, |id| PropertyId::parse(id).ok())).await? {
        if reads_all || principal.may(read, Object::Property(&id)) {
            names.insert(id.to_string(), Named::Property(name.to_string()));
        }
    }
    Ok(names)
}
