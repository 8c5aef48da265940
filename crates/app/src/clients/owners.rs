//! Owners of clients: what is known of them, and how the owners of a new client hear of it.

use super::client::facts;
use crate::{
    app::App,
    error::Error,
    frame::{act::Act, principal::Principal},
    webhooks::owners::may_manage,
};
use crossfade_core::{
    UserId, WebhookId, api,
    audit::{ClientFacts, Event},
    owners::OwnerKind,
    roles::{Object, Permission},
};
use crossfade_store::{Client, Tx, WebhookName};
use std::collections::{BTreeSet, HashMap};

/// What is known of the owners of clients.
#[derive(Clone, Default, Debug)]
pub(crate) struct KnownOwners {
    /// Accounts by their email addresses: ID and name.
    accounts: HashMap<String, (UserId, String)>,
    /// Webhooks by their IDs.
    webhooks: HashMap<WebhookId, WebhookName>,
}

/// Returns what is known of the owners of clients, in one statement for accounts and one for webhooks.
pub(crate) async fn known_owners(
    clients: impl IntoIterator<Item = &Client>,
    tx: &mut Tx,
) -> Result<KnownOwners, Error> {
    let owners: BTreeSet<&str> =
        clients.into_iter().flat_map(|client| client.owners.iter().map(String::as_str)).collect();
    let webhooks: Vec<WebhookId> = owners.iter().filter_map(|owner| WebhookId::parse(owner).ok()).collect();
    let accounts = tx.accounts_at(&owners.into_iter().collect::<Vec<_>>()).await?;
    let webhooks = match webhooks.is_empty() {
        true => HashMap::new(),
        false => tx.webhook_names(&webhooks).await?,
    };
    Ok(KnownOwners { accounts, webhooks })
}

/// Returns what each owner is. Whether an address has an account, and whose it is, is shown to principals who can read
/// accounts, and the name of a webhook to principals who can manage it.
pub(super) fn owner_details(
    principal: &Principal,
    client: &Client,
    known: &KnownOwners,
) -> Vec<api::OwnerDetails> {
    let reads_users = principal.may(Permission::UserRead, Object::Platform);
    let details = |owner: &String| {
        if let Ok(webhook) = WebhookId::parse(owner) {
            let named = known.webhooks.get(&webhook).filter(|it| may_manage(principal, it, client));
            let name = named.map(|it| it.name.to_string());
            return api::OwnerDetails {
                owner: owner.clone(),
                kind: Some(OwnerKind::Webhook),
                user_id: None,
                name,
            };
        }
        let account = known.accounts.get(owner);
        let (user_id, name) = account.filter(|_| reads_users).cloned().unzip();
        let kind = match account {
            _ if !reads_users => None,
            Some(_) => Some(OwnerKind::User),
            None => Some(OwnerKind::Group),
        };
        api::OwnerDetails { owner: owner.clone(), kind, user_id, name }
    };
    client.owners.iter().map(details).collect()
}

/// Returns the number of owners that are mailed.
pub(crate) fn addresses(owners: &[String]) -> usize {
    owners.iter().filter(|owner| WebhookId::parse(owner).is_err()).count()
}

impl App {
    /// Tells the owners of a new client that they own it, as if they had been added later. The account that created it
    /// knows.
    pub(super) async fn tell_new_owners(
        &self,
        act: &mut Act<'_>,
        principal: &Principal,
        client: &Client,
    ) -> Result<(), Error> {
        let creator = act.tx.user(principal.user()).await?.and_then(|user| user.email);
        let mut told = client.clone();
        told.owners.retain(|owner| Some(owner) != creator.as_ref());
        if told.owners.is_empty() {
            return Ok(());
        }
        self.unless_many_messages(principal, addresses(&told.owners))?;
        let before = ClientFacts { owners: Vec::new(), ..facts(client) };
        let event = Event::ClientUpdated { before, after: facts(client) };
        act.notify(self.random.as_ref(), &event, &told, None, None).await
    }
}
