//! Webhooks among the owners of a client.

use crate::error::Error;
use crossfade_core::{Problem, WebhookId};
use crossfade_store::{Client, Tx};

/// Requires that each webhook among the owners of a client exists and gets messages about the client.
pub(crate) async fn check_webhook_owners(tx: &mut Tx, client: &Client) -> Result<(), Error> {
    for id in client.owners.iter().filter_map(|owner| WebhookId::parse(owner).ok()) {
        let webhook = tx.webhook(&id).await?;
        if !webhook.is_some_and(|webhook| webhook.covers(&client.property_id, &client.id)) {
            let what =
                "must contain only email addresses and webhooks of the client, its property or the platform";
            return Err(Problem::invalid("owners", what).into());
        }
    }
    Ok(())
}
