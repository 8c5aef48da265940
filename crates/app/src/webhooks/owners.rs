//! Webhooks among the owners of a client.

use super::subject::{MANAGE, SubjectIds};
use crate::{error::Error, frame::principal::Principal};
use crossfade_core::{Problem, WebhookId};
use crossfade_store::{Client, Tx, Webhook, WebhookName};

/// Whether the principal can manage a webhook that is an owner of this client, in every environment.
pub(crate) fn may_manage(principal: &Principal, webhook: &WebhookName, client: &Client) -> bool {
    let ids = match (&webhook.client_id, &webhook.property_id) {
        (Some(own), _) if *own == client.id => SubjectIds::Client(&client.property_id, &client.id),
        (Some(_), _) => return false,
        (None, Some(_)) => SubjectIds::Property,
        (None, None) => SubjectIds::Platform,
    };
    principal.may(MANAGE, ids.object(None))
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
