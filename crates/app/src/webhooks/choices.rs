//! The clients that a person can choose for a webhook.

use super::subject::{MANAGE, NewWebhook, SubjectIds};
use crate::{
    app::App,
    clients::find::find_client,
    error::Error,
    frame::{
        cursor::{ListQuery, Scan},
        principal::Principal,
    },
};
use crossfade_core::{
    ClientId, Operation,
    roles::{Object, Permission},
};
use crossfade_store::{Client, ClientFilter, Environment};

/// Number of clients on offer. Any other one is typed.
const MAX_OFFERED: &str = "200";

/// Clients on offer for a webhook.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct OfferedClients {
    /// IDs and names of the oldest ones, at most 200.
    pub clients: Vec<(ClientId, String)>,
    /// Whether there can be more.
    pub has_more: bool,
}

/// Whether the principal can create a webhook for a client, in all environments or in one of these.
fn is_choosable(principal: &Principal, client: &Client, environments: &[Environment]) -> bool {
    let ids = SubjectIds::Client(&client.property_id, &client.id);
    principal.may(Permission::ClientRead, Object::Client(&client.property_id, &client.id))
        && (principal.may(MANAGE, ids.object(None))
            || environments.iter().any(|it| principal.may(MANAGE, ids.object(Some(&it.slug)))))
}

impl App {
    /// Returns the clients that the principal can create a webhook for, oldest first.
    pub async fn clients_for_webhooks(&self, principal: &Principal) -> Result<OfferedClients, Error> {
        let query = ListQuery { limit: Some(MAX_OFFERED.to_owned()), cursor: None };
        let start = self.cursors.start("clients for webhooks", &query)?;
        let _turns = self.costly(Operation::ListClients, principal).await?;
        self.view(Operation::CreateWebhook, principal, NewWebhook, async |tx, principal, ()| {
            let key = |row: &Client| (row.created_at.as_micros(), row.id.to_string());
            let environments = tx.environments().await?;
            let mut scan = Scan::new(&start, principal.may(MANAGE, Object::Platform));
            while let Some(from) = scan.next() {
                let rows = tx.clients(&ClientFilter::default(), &from).await?;
                scan.read(rows.len(), rows.last().map(key));
                rows.into_iter()
                    .filter(|client| is_choosable(principal, client, &environments))
                    .for_each(|client| scan.keep(client));
            }
            let (rows, next) = scan.rows(key)?;
            let clients = rows.into_iter().map(|client| (client.id, client.name.to_string())).collect();
            Ok(OfferedClients { clients, has_more: next.is_some() })
        })
        .await
    }

    /// Returns the client with this ID or this name, among those that the principal can create a webhook for.
    pub async fn client_for_webhook(&self, principal: &Principal, typed: &str) -> Result<ClientId, Error> {
        self.view(Operation::CreateWebhook, principal, NewWebhook, async |tx, principal, ()| {
            let environments = tx.environments().await?;
            let may_choose = |client: &Client| is_choosable(principal, client, &environments);
            Ok(find_client(tx, "client_id", typed, may_choose).await?.id)
        })
        .await
    }
}
