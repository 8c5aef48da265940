//! Disabling a webhook whose receiver is gone or has failed for days.

use super::{
    shown::about,
    subject::{MANAGE, SubjectIds},
    telling::OwnerNews,
};
use crate::{app::App, error::Error, frame::act::message_id};
use crossfade_core::{
    DeliveryId, WebhookId,
    audit::{Actor, Event},
    messages::{Channel, Class},
    owners::OwnerChange,
    roles::Role,
    webhook::DisabledAs,
};
use crossfade_store::{Client, GrantRow, NewDelivery, Notification, Tx, Webhook};
use serde_json::json;
use std::collections::BTreeSet;

/// Maximum number of grants of one role whose holders are told.
const MAX_TOLD: i64 = 100;

impl App {
    /// Disables a webhook unless it has changed since this version, abandons its waiting deliveries, and mails those who
    /// manage it and the owners of its client. If it is an owner, the other owners of each client are told, and its managers
    /// if no owner is notified any more.
    pub(crate) async fn disable_webhook(
        &self,
        id: &WebhookId,
        version: i64,
        reason: DisabledAs,
        said: &str,
    ) -> Result<(), Error> {
        self.change_as(Actor::policy("webhooks", "Deliveries to webhooks"), async |act| {
            let Some(webhook) = act.tx.webhook(id).await? else { return Ok(()) };
            if webhook.version != version || !act.tx.disable_webhook(id, act.now, reason).await? {
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
            let owned = act.tx.clients_owned_by(id.as_str()).await?;
            if !owned.is_empty() {
                let change = match reason {
                    DisabledAs::Gone => OwnerChange::Gone,
                    DisabledAs::Failing => OwnerChange::Failing,
                    DisabledAs::Disabled => OwnerChange::Disabled,
                };
                let news = OwnerNews::read(act.tx, &webhook, change, owned).await?;
                act.tell_of_owner(self.random.as_ref(), &news, None).await?;
            }
            let client = client_of(act.tx, &webhook).await?;
            let managers = managers_of(act.tx, &webhook, client.as_ref()).await?;
            let mut details = event.details();
            details["managers"] = json!(managers);
            if let Some(client) = &client {
                details["client_id"] = json!(client.id);
                details["client"] = json!(client.name.to_string());
            }
            let recipients = people_of(managers, client);
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
                details,
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
                    class: Class::of(&event),
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

/// Returns the addresses of the managers of a webhook, and of the owners of its client.
fn people_of(managers: BTreeSet<String>, client: Option<Client>) -> Vec<String> {
    let owners = client.into_iter().flat_map(|client| client.owners).filter(|owner| owner.contains('@'));
    managers.into_iter().chain(owners).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Returns the client of a webhook; `None` if it has none, or was deleted.
pub(crate) async fn client_of(tx: &mut Tx, webhook: &Webhook) -> Result<Option<Client>, Error> {
    Ok(match &webhook.client_id {
        Some(client) => tx.client(client).await?,
        None => None,
    })
}

/// Returns the addresses of the accounts that manage a webhook now.
pub(crate) async fn managers_of(
    tx: &mut Tx,
    webhook: &Webhook,
    client: Option<&Client>,
) -> Result<BTreeSet<String>, Error> {
    let subject = match client {
        Some(client) => SubjectIds::Client(&client.property_id, &client.id),
        None => SubjectIds::Platform,
    };
    let mut managers = BTreeSet::new();
    for role in Role::ALL.into_iter().filter(|role| role.permissions().contains(&MANAGE)) {
        let grants = match client {
            Some(client) => {
                let reach = tx.grants_that_reach(role, &client.property_id, &client.id, MAX_TOLD).await?;
                reach.into_iter().map(|(_, row)| row).collect()
            }
            None => tx.grants_on_platform(role, MAX_TOLD).await?,
        };
        let manages = |row: &GrantRow| subject.is_managed_with(&row.grant, &webhook.environments);
        managers.extend(grants.into_iter().filter(manages).map(|row| row.user_id));
    }
    let mut people = BTreeSet::new();
    for manager in managers {
        people.extend(tx.user(&manager).await?.and_then(|user| user.email));
    }
    Ok(people)
}
