//! Lists of the Console: clients with the state of their registrations, and transitions that run.

use crate::{
    app::App,
    caller::Caller,
    clients::ClientQuery,
    cursor::{Scan, invalid},
    error::Error,
    targets::ClientPath,
};
use crossfade_core::{
    ClientId, Operation, Problem,
    roles::{Object, Permission},
};
use crossfade_store::{Client, ClientLine, ClientOrder};

/// A page of clients.
#[derive(Clone, Debug)]
pub struct ClientLines {
    /// The lines.
    pub items: Vec<ClientLine>,
    /// Where the next page starts.
    pub next_cursor: Option<String>,
}

/// Transitions that are read at most.
const MOST_TRANSITIONS: i64 = 500;

/// Takes out of a line what the caller may not read. `None` where nothing is left.
fn readable(caller: &Caller, mut line: ClientLine) -> Option<ClientLine> {
    let (property, id) = (&line.property_id, &line.id);
    let read = Permission::ClientRead;
    let whole = caller.may(read, Object::Client(property, id));
    line.registrations.retain(|it| caller.may(read, Object::Registration(property, id, &it.environment)));
    (whole || !line.registrations.is_empty()).then_some(line)
}

impl App {
    /// The clients that the caller may read, as lines.
    pub async fn list_client_lines(
        &self,
        caller: &Caller,
        query: &ClientQuery,
        order: ClientOrder,
    ) -> Result<ClientLines, Error> {
        let start = query.list.start()?;
        let filter = query.filter(self)?;
        let unknown = || invalid("cursor", "is not one that this server gave out");
        self.db
            .read(async |tx| {
                let now = self.clock.now();
                let caller = &caller.refreshed(tx, now).await?;
                // A line is found again by its client alone.
                let key = |line: &ClientLine| (0, line.id.to_string());
                let mut scan = Scan::new(&start, caller.may(Permission::ClientRead, Object::Platform));
                while let Some(from) = scan.next() {
                    let after = from.after.map(|(_, id)| ClientId::parse(&id)).transpose();
                    let after = after.map_err(|_| unknown())?;
                    let lines = tx.client_lines(&filter, order, after.as_ref(), from.limit, now).await?;
                    scan.read(lines.len(), lines.last().map(key));
                    lines
                        .into_iter()
                        .filter_map(|line| readable(caller, line))
                        .for_each(|line| scan.keep(line));
                }
                let (items, next_cursor) = scan.rows(key);
                Ok(ClientLines { items, next_cursor })
            })
            .await
    }

    /// One client as a line.
    pub async fn read_client_line(&self, caller: &Caller, path: ClientPath<'_>) -> Result<ClientLine, Error> {
        self.view(Operation::ReadClient, caller, path, async |tx, caller, client: Client| {
            let line = tx.client_line(&client.id, self.clock.now()).await?;
            Ok(line.and_then(|line| readable(caller, line)).ok_or_else(Problem::not_found)?)
        })
        .await
    }

    /// The transitions that run and that the caller may read, the one that ends next first.
    pub async fn list_transitions(&self, caller: &Caller) -> Result<Vec<ClientLine>, Error> {
        // Evidence is flushed for those alone who may read any of it.
        let now = self.clock.now();
        let caller = &self.db.read::<_, Error>(async |tx| caller.refreshed(tx, now).await).await?;
        if !caller.may_somewhere(Permission::ClientRead) {
            return Ok(Vec::new());
        }
        self.flush_evidence().await?;
        self.db
            .read(async |tx| {
                let now = self.clock.now();
                let caller = &caller.refreshed(tx, now).await?;
                let lines = tx.transitions(now, MOST_TRANSITIONS).await?;
                let readable = lines.into_iter().filter_map(|line| readable(caller, line));
                Ok(readable.filter(|line| !line.registrations.is_empty()).collect())
            })
            .await
    }
}
