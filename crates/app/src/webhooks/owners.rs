//! Webhooks among the owners of a client.

use crate::error::Error;
use crossfade_core::{Problem, WebhookId};
use crossfade_store::{Client, Tx, Webhook};

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
