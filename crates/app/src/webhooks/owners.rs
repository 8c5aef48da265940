//! Webhooks among the owners of a client.

use super::subject::{MANAGE, SubjectIds};
use crate::{error::Error, frame::principal::Principal};
use crossfade_core::{Problem, WebhookId};
use crossfade_store::{Client, Tx, Webhook, WebhookName};
use std::collections::{BTreeSet, HashMap, HashSet};

/// Whether the principal can manage a webhook that is an owner of this client, in every environment.
pub(crate) fn may_manage(principal: &Principal, webhook: &WebhookName, client: &Client) -> bool {
    subject_of(webhook, client).is_some_and(|ids| principal.may(MANAGE, ids.object(None)))
}

/// Returns those of the recipients of a message about this client whose accounts can manage each of its webhooks, and so see
/// the name of it. Takes two statements, however many there are.
pub(crate) async fn readers_of(
    tx: &mut Tx,
    webhooks: &HashMap<WebhookId, WebhookName>,
    client: &Client,
    recipients: &[String],
) -> Result<HashMap<WebhookId, Vec<String>>, Error> {
    let addresses: Vec<&str> = recipients.iter().map(String::as_str).collect();
    let accounts = tx.accounts_at(&addresses).await?;
    if accounts.is_empty() {
        return Ok(HashMap::new());
    }
    let grants = tx.grants_of(&accounts.values().map(|(id, _)| id).collect::<Vec<_>>()).await?;
    let mut readers = HashMap::new();
    for (id, webhook) in webhooks {
        let Some(ids) = subject_of(webhook, client) else { continue };
        let manages = |address: &&String| {
            let rows = accounts.get(*address).and_then(|(user, _)| grants.get(user));
            rows.is_some_and(|rows| rows.iter().any(|row| ids.is_managed_with(&row.grant, &[])))
        };
        let of_this: Vec<String> = recipients.iter().filter(manages).cloned().collect();
        if !of_this.is_empty() {
            readers.insert(id.clone(), of_this);
        }
    }
    Ok(readers)
}

/// Returns what an owner of this client that is a webhook gets messages about; `None` if that is another client.
fn subject_of<'a>(webhook: &WebhookName, client: &'a Client) -> Option<SubjectIds<'a>> {
    match (&webhook.client_id, &webhook.property_id) {
        (Some(own), _) if *own == client.id => Some(SubjectIds::Client(&client.property_id, &client.id)),
        (Some(_), _) => None,
        (None, Some(_)) => Some(SubjectIds::Property),
        (None, None) => Some(SubjectIds::Platform),
    }
}

/// Returns those of the webhooks among these owners that hear of everything that happens to a client (`owners::hears`). Takes
/// one statement at most.
pub(crate) async fn hearing_among<'a>(
    tx: &mut Tx,
    owners: impl IntoIterator<Item = &'a String>,
) -> Result<HashSet<WebhookId>, Error> {
    let webhooks: BTreeSet<_> = owners.into_iter().filter_map(|it| WebhookId::parse(it).ok()).collect();
    if webhooks.is_empty() {
        return Ok(HashSet::new());
    }
    let named = tx.webhook_names(&Vec::from_iter(webhooks)).await?;
    Ok(named.into_iter().filter_map(|(id, webhook)| webhook.hears.then_some(id)).collect())
}

/// Requires that each webhook among the owners of a client exists and gets messages about the client in every environment.
pub(crate) async fn check_webhook_owners(tx: &mut Tx, client: &Client) -> Result<(), Error> {
    for id in client.owners.iter().filter_map(|owner| WebhookId::parse(owner).ok()) {
        let webhook = tx.webhook(&id).await?;
        // Whoever manages one environment manages a webhook that is limited to it, and an owner is told of all.
        let is_suitable = |webhook: Webhook| {
            webhook.environments.is_empty() && webhook.covers(&client.property_id, &client.id)
        };
        if !webhook.is_some_and(is_suitable) {
            let what = "must contain only email addresses and webhooks of the client, its property or the platform that \
                are not limited to environments";
            return Err(Problem::invalid("owners", what).into());
        }
    }
    Ok(())
}
