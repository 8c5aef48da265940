//! The page of the trail in the Console: events with the names of what they are about, on one snapshot, filtered by names
//! that people know.

use super::{
    events::{AuditQuery, Trail},
    names::{self, Named},
};
use crate::{
    app::App,
    error::Error,
    frame::{cursor::ListQuery, principal::Principal},
};
use crossfade_core::{
    ClientId, Code, Operation, Problem, Timestamp, UserId,
    api::{self, Page},
    roles::{Object, Permission},
    text::folded,
};
use crossfade_store::{ClientFilter, PageStart, Tx};
use std::collections::{HashMap, HashSet};

/// Number of clients or accounts among which a name is looked up.
const LOOKED_UP: &str = "200";
const LOOKED_UP_ROWS: i64 = 200;

/// The page of the trail.
#[derive(Clone, Debug)]
pub struct TrailPage {
    /// Time of the snapshot.
    pub now: Timestamp,
    /// The events, newest first; empty if the filter is refused.
    pub events: Page<api::AuditEvent>,
    /// Names of the IDs in the events.
    pub names: HashMap<String, Named>,
    /// All environments.
    pub environments: Vec<api::Environment>,
    /// Why the filter is refused.
    pub refused: Option<Problem>,
}

fn unclear(field: &'static str, what: &str) -> Error {
    Problem::new(Code::InvalidQuery, format!("{field} {what}.")).with_field(field).into()
}

impl App {
    /// Returns a page of the trail. Its filter can name a client or an account instead of its ID.
    pub async fn read_trail(&self, principal: &Principal, query: &AuditQuery) -> Result<TrailPage, Error> {
        self.view_evidence(Operation::ListAuditEvents, principal, Trail, async |tx, principal, ()| {
            let found = async {
                let query = self.with_ids(tx, principal, query).await?;
                self.events_page(tx, principal, &query).await
            };
            let none = || Page { items: Vec::new(), next_cursor: None };
            let (events, refused) = match found.await {
                Ok(events) => (events, None),
                Err(error) if error.problem.code.status() == 400 => (none(), Some(error.problem)),
                Err(error) => return Err(error),
            };
            let ids: HashSet<String> = events.items.iter().flat_map(names::ids).collect();
            Ok(TrailPage {
                now: self.clock.now(),
                names: names::names(tx, principal, &ids).await?,
                environments: self.all_environments(tx).await?,
                events,
                refused,
            })
        })
        .await
    }

    /// Returns a filter with the IDs of the client and the account that it names.
    pub async fn resolve_names(
        &self,
        principal: &Principal,
        query: &AuditQuery,
    ) -> Result<AuditQuery, Error> {
        self.view(Operation::ListAuditEvents, principal, Trail, async |tx, principal, ()| {
            self.with_ids(tx, principal, query).await
        })
        .await
    }

    async fn with_ids(
        &self,
        tx: &mut Tx,
        principal: &Principal,
        query: &AuditQuery,
    ) -> Result<AuditQuery, Error> {
        let mut query = query.clone();
        if let Some(name) = query.client.clone().filter(|name| ClientId::parse(name).is_err()) {
            query.client = Some(self.client_called(tx, principal, &name).await?);
        }
        // An actor can be a program of this server or an address that failed to sign in, too.
        if let Some(name) = query.actor.clone().filter(|name| UserId::parse(name).is_err())
            && principal.may(Permission::UserRead, Object::Platform)
        {
            query.actor = Some(account_called(tx, &name).await?.unwrap_or(name));
        }
        Ok(query)
    }

    /// Returns the ID of the only client with this name or `client_id` that the principal can read.
    async fn client_called(&self, tx: &mut Tx, principal: &Principal, name: &str) -> Result<String, Error> {
        let list = ListQuery { limit: Some(LOOKED_UP.to_owned()), cursor: None };
        let start = self.cursors.start("clients", &list)?;
        let filter = ClientFilter { q: Some(name.to_owned()), ..ClientFilter::default() };
        let is_meant = |it: &api::Client| {
            let by_id = it.registrations.iter().any(|own| own.client_id.as_str() == name);
            by_id || folded(&it.name) == folded(name)
        };
        let found = self.clients_page(tx, principal, &filter, &start).await?.items;
        let mut found = found.into_iter().filter(is_meant);
        match (found.next(), found.next()) {
            (Some(only), None) => Ok(only.id.to_string()),
            (None, _) => Err(unclear("client", "does not match any client's name, client_id or ID")),
            _ => Err(unclear("client", "matches several clients. Enter the client_id of one")),
        }
    }
}

/// Returns the ID of the only account with this name or email address; `None` if there is none.
async fn account_called(tx: &mut Tx, name: &str) -> Result<Option<String>, Error> {
    let users = tx.users(Some(name), &PageStart { after: None, limit: LOOKED_UP_ROWS }).await?;
    let is = |text: &str| folded(text) == folded(name);
    let mut found = users.into_iter().filter(|it| it.email.as_deref().is_some_and(is) || is(&it.name));
    match (found.next(), found.next()) {
        (Some(only), None) => Ok(Some(only.id.to_string())),
        (None, _) => Ok(None),
        _ => Err(unclear("actor", "matches several people. Enter the email address of one")),
    }
}
