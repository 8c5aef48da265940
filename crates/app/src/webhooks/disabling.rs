//! Disabling a webhook whose receiver is gone or has failed for days.

use super::webhook::about;
use crate::{app::App, error::Error, frame::act::message_id};
use crossfade_core::{
    DeliveryId, WebhookId,
    audit::{Actor, Event},
    messages::Channel,
    webhook::DisabledAs,
};
use crossfade_store::{NewDelivery, Notification, Tx, Webhook};

impl App {
    /// Disables a webhook, abandons its waiting deliveries, and mails the account that created it and the owners of its
    /// client.
    pub(crate) async fn disable_webhook(
        &self,
        id: &WebhookId,
        reason: DisabledAs,
        said: &str,
    ) -> Result<(), Error> {
        self.change_as(Actor::policy("webhooks", "Deliveries to webhooks"), async |act| {
            let Some(webhook) = act.tx.webhook(id).await? else { return Ok(()) };
            if !act.tx.disable_webhook(id, act.now, reason).await? {
                return Ok(());
            }
            let abandoned_deliveries = act.tx.abandon_deliveries_of(id, act.now).await?;
            let to = self.posting.poster.destination(&webhook.url);
            let event = Event::WebhookDisabled {
                webhook_id: webhook.id.clone(),
                name: webhook.name.to_string(),
                host: to.map(|to| to.host().to_owned()).unwrap_or_default(),
                disabled_as: reason,
                last_error: said.to_owned(),
                abandoned_deliveries,
            };
            act.audit(&event, about(&webhook)).await?;
            tracing::warn!(webhook = %id, reason = reason.as_str(), error = said, "a webhook was disabled");
            let recipients = people_of(act.tx, &webhook).await?;
            let message = Notification {
                id: message_id(self.random.as_ref()),
                created_at: act.now,
                number: None,
                event: event.action(),
                client_id: None,
                client_name: None,
                environment: None,
                recipients,
                actor_name: None,
                actor_kind: None,
                source: None,
                reason: None,
                details: event.details(),
            };
            if message.recipients.is_empty() {
                return Ok(());
            }
            act.tx.insert_notification(&message).await?;
            for recipient in message.recipients.iter().filter(|_| act.mails) {
                let delivery = NewDelivery {
                    id: DeliveryId::generate(self.random.as_ref()).into(),
                    notification: &message.id,
                    channel: Channel::Mail,
                    recipient,
                    cause: &message.id,
                    created_at: act.now,
                    not_after: None,
                };
                act.tx.insert_delivery(&delivery).await?;
            }
            Ok(())
        })
        .await
    }
}

/// Returns the addresses of the account that created a webhook and of the owners of its client.
async fn people_of(tx: &mut Tx, webhook: &Webhook) -> Result<Vec<String>, Error> {
    let creator = tx.user(&webhook.created_by).await?;
    let mut people: Vec<String> = creator.and_then(|user| user.email).into_iter().collect();
    if let Some(client) = &webhook.client_id
        && let Some(client) = tx.client(client).await?
    {
        people.extend(client.owners.into_iter().filter(|owner| owner.contains('@')));
    }
    people.sort();
    people.dedup();
    Ok(people)
}
