//! Names for the IDs in events of the trail: the trail contains IDs, and readers know people and clients by name.

use crate::{app::App, error::Error, frame::principal::Principal};
use crossfade_core::{
    ClientId, PropertyId, SecretId, SessionId, TokenId, UserId,
    api::AuditEvent,
    environment::Slug,
    roles::{Object, Permission},
};
use crossfade_store::Tx;
use serde_json::Value;
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
    /// A secret of this client in this environment.
    Secret(ClientId, String, Slug),
}

/// Prefixes of IDs that can have a name.
const NAMEABLE: [&str; 6] = ["usr_", "tok_", "ses_", "cl_", "prop_", "sec_"];

/// Returns every ID in an event that can have a name.
pub(super) fn ids(event: &AuditEvent) -> impl Iterator<Item = String> {
    let mut all = vec![event.actor.id().to_owned()];
    all.extend(event.target.clone());
    all.extend(event.client_id.as_ref().map(ToString::to_string));
    all.extend(event.via.as_ref().map(|via| via.id().to_owned()));
    strings(&event.details, &mut all);
    all.into_iter().filter(|id| NAMEABLE.iter().any(|prefix| id.starts_with(prefix)))
}

fn strings(value: &Value, all: &mut Vec<String>) {
    match value {
        Value::String(text) => all.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| strings(item, all)),
        Value::Object(members) => members.values().for_each(|member| strings(member, all)),
        _ => {}
    }
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
            names(tx, principal, &ids).await
        })
        .await
    }
}

/// Returns the names of IDs, with a fixed number of reads.
pub(super) async fn names(
    tx: &mut Tx,
    principal: &Principal,
    ids: &HashSet<String>,
) -> Result<HashMap<String, Named>, Error> {
    let mut names = accounts(tx, principal, ids).await?;
    names.extend(objects(tx, principal, ids).await?);
    Ok(names)
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

/// Returns the names of clients, properties and secrets, with a fixed number of reads.
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
    for (id, place) in tx.places_of_secrets(&parsed(ids, |id| SecretId::parse(id).ok())).await? {
        let object = Object::Registration(&place.property_id, &place.client_id, &place.environment);
        if principal.may(read, object) {
            let secret = Named::Secret(place.client_id.clone(), place.client.to_string(), place.environment);
            names.insert(id.to_string(), secret);
        }
    }
    Ok(names)
}
