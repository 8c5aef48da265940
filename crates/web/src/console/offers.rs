//! Clients and environments that a form offers beside its fields.

use super::session::SignedIn;
use crate::reply::Refused;
use crossfade_app::{ClientQuery, ListQuery};
use crossfade_core::roles::Permission;

/// Maximum number of clients on offer. Any other one is typed, so that the page stays short however many there are.
const MAX_CLIENTS: &str = "200";

/// Registrations on offer: their clients and their environments.
#[derive(Default)]
pub(super) struct Offers {
    /// IDs and names of the oldest clients that the person can read.
    pub(super) clients: Vec<(String, String)>,
    /// Whether there are more clients.
    pub(super) has_more: bool,
    /// Slugs and names of the environments.
    pub(super) environments: Vec<(String, String)>,
}

impl Offers {
    /// Loads what the person can read; nothing for a person who can read no client.
    pub(super) async fn load(signed: &SignedIn) -> Result<Self, Refused> {
        let (app, principal) = (&signed.app, signed.principal());
        if !principal.may_somewhere(Permission::ClientRead) {
            return Ok(Self::default());
        }
        let list = ListQuery { limit: Some(MAX_CLIENTS.to_owned()), cursor: None };
        let found = app.list_clients(principal, &ClientQuery { list, ..ClientQuery::default() }).await?;
        let environments = app.list_environments(principal).await?;
        Ok(Self {
            has_more: found.next_cursor.is_some(),
            clients: found.items.into_iter().map(|it| (it.id.to_string(), it.name)).collect(),
            environments: environments.into_iter().map(|it| (it.slug, it.name)).collect(),
        })
    }

    /// Returns what a field for a client accepts.
    pub(super) fn hint(&self) -> &'static str {
        hint(self.has_more)
    }
}

/// Returns what a field for a client accepts, beside a list of clients that can have more.
pub(super) fn hint(has_more: bool) -> &'static str {
    match has_more {
        true => "ID or unique name. Type a name to search the first 200 clients.",
        false => "ID or unique name. Type a name to search.",
    }
}
