//! Lists for the Console: clients with the state of their registrations.

use crate::{
    app::App,
    clients::query::{ClientQuery, Facts, is_found_in},
    error::Error,
    frame::{
        cursor::{ListQuery, Scan, Start, unknown_cursor},
        principal::Principal,
    },
    properties::property::properties_page,
};
use crossfade_core::{
    ClientId, Operation, SecretId, Timestamp, api,
    roles::{Object, Permission},
};
use crossfade_store::{ClientFilter, ClientLine, ClientOrder, LinePlace, RegistrationLine, Tx};

/// A page of clients.
#[derive(Clone, Debug)]
pub struct ClientLines {
    /// The lines.
    pub items: Vec<ClientLine>,
    /// Where the next page starts.
    pub next_cursor: Option<String>,
}

/// What the list of clients shows.
#[derive(Clone, Debug)]
pub struct ClientList {
    /// Time of the snapshot.
    pub now: Timestamp,
    /// A page of clients.
    pub lines: ClientLines,
    /// All environments.
    pub environments: Vec<api::Environment>,
    /// The first properties that the principal can read.
    pub properties: Vec<api::Property>,
}

/// Number of properties that the list can be filtered by.
const MOST_PROPERTIES: &str = "200";

/// Removes from a line what the principal cannot read; `None` if nothing is left.
pub(crate) fn readable(principal: &Principal, mut line: ClientLine) -> Option<ClientLine> {
    let (property, id) = (&line.property_id, &line.id);
    let read = Permission::ClientRead;
    let whole = principal.may(read, Object::Client(property, id));
    line.registrations.retain(|it| principal.may(read, Object::Registration(property, id, &it.environment)));
    (whole || !line.registrations.is_empty()).then_some(line)
}

/// Whether a line is in its right place: when sorted by secrets, a client appears once, at the first of its secrets
/// that the principal can read.
fn belongs(line: &ClientLine, order: ClientOrder, filter: &ClientFilter) -> bool {
    let Some((at, secret)) = &line.placed_by else { return true };
    let asked =
        |it: &&RegistrationLine| filter.environment.as_ref().is_none_or(|only| it.environment == *only);
    let secrets = line.registrations.iter().filter(asked);
    let secrets = secrets.filter_map(|it| Some((it.current_since?, it.current.as_ref()?.as_str())));
    let first = match order {
        ClientOrder::NewestSecret => secrets.max(),
        _ => secrets.min(),
    };
    first == Some((*at, secret.as_str()))
}

/// Returns the sort key of a line.
fn key(line: &ClientLine) -> (i64, String) {
    match &line.placed_by {
        Some((at, secret)) => (at.as_micros(), secret.to_string()),
        None => (0, line.id.to_string()),
    }
}

/// Returns the position of a cursor; `None` if it belongs to another order.
fn place(order: ClientOrder, (at, id): &(i64, String)) -> Option<LinePlace> {
    Some(match order {
        ClientOrder::Name | ClientOrder::NameReversed => LinePlace::Client(ClientId::parse(id).ok()?),
        ClientOrder::OldestSecret | ClientOrder::NewestSecret => {
            LinePlace::Secret(Timestamp::from_micros(*at), SecretId::parse(id).ok()?)
        }
    })
}

impl App {
    /// Returns what the list of clients shows: the clients that the principal can read, as lines, and what the list can be
    /// filtered by.
    pub async fn read_client_list(
        &self,
        principal: &Principal,
        query: &ClientQuery,
        order: ClientOrder,
    ) -> Result<ClientList, Error> {
        let start = self.cursors.start(format!("lines of clients, {order:?}"), &query.list)?;
        let all = ListQuery { limit: Some(MOST_PROPERTIES.to_owned()), cursor: None };
        let all = self.cursors.start("properties", &all)?;
        let filter = query.filter(self)?;
        let _turns = self.costly(Operation::ListClients, principal).await?;
        self.read(async |tx| {
            let now = self.clock.now();
            let principal = &principal.refreshed(tx, now).await?;
            Ok(ClientList {
                now,
                lines: self.client_lines(tx, principal, (&filter, order), &start).await?,
                environments: self.all_environments(tx).await?,
                properties: properties_page(tx, principal, &all).await?.items,
            })
        })
        .await
    }

    /// Returns a page of clients, within a read.
    pub(crate) async fn client_lines(
        &self,
        tx: &mut Tx,
        principal: &Principal,
        (filter, order): (&ClientFilter, ClientOrder),
        start: &Start<'_>,
    ) -> Result<ClientLines, Error> {
        let now = self.clock.now();
        let everything = principal.may(Permission::ClientRead, Object::Platform);
        let environments = tx.environments().await?;
        let found = |line: &ClientLine| {
            let facts = line.registrations.iter().map(|it| Facts {
                environment: &it.environment,
                oauth_client_id: &it.oauth_client_id,
                current_since: it.current_since,
            });
            everything || is_found_in(filter, &line.name, &facts.collect::<Vec<_>>(), &environments)
        };
        // Readers of everything have the first of all secrets; others the first of those that they can read.
        let of_lines = ClientFilter { once: everything, ..filter.clone() };
        let mut scan = Scan::new(start, everything);
        while let Some(from) = scan.next() {
            let after = match &from.after {
                Some(after) => Some(place(order, after).ok_or_else(unknown_cursor)?),
                None => None,
            };
            let lines = tx.client_lines(&of_lines, order, after.as_ref(), from.limit, now).await?;
            scan.read(lines.len(), lines.last().map(key));
            lines
                .into_iter()
                .filter_map(|line| readable(principal, line))
                .filter(|line| belongs(line, order, filter))
                .filter(found)
                .for_each(|line| scan.keep(line));
        }
        let (items, next_cursor) = scan.rows(key)?;
        Ok(ClientLines { items, next_cursor })
    }
}
