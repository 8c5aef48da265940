//! Messages about clients that have other owners since the account of an owner was deleted or has another address: one to
//! each person, however many clients there are, and one about each client to its webhooks.

use crate::{
    error::Error,
    frame::{act::Act, incidents::chooses},
};
use crossfade_core::{
    DeliveryId, Random, WebhookId,
    audit::Event,
    messages::{Channel, Class},
    owners::HandOverCause,
};
use crossfade_store::{Client, NewDelivery, Notification, Webhook};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Maximum number of clients that a message names.
const MAX_NAMED: usize = 20;

/// A client that was handed over.
pub(crate) struct HandedClient {
    /// The client with its present owners.
    pub(crate) client: Client,
    /// Owners before.
    pub(crate) before: Vec<String>,
    /// What is recorded.
    pub(crate) event: Event,
}

/// Clients of which a message says the same.
#[derive(Default)]
struct Counted<'a> {
    count: u64,
    named: Vec<&'a Client>,
}

impl Counted<'_> {
    fn shown(&self) -> Value {
        let client = |client: &&Client| json!({"id": client.id.as_str(), "name": client.name.as_str()});
        json!({"count": self.count, "clients": self.named.iter().map(client).collect::<Vec<_>>()})
    }
}

/// What one person is told.
#[derive(Default)]
struct Told<'a> {
    /// Clients that the person owns no more, owns now, and owned before: in this order.
    of: [Counted<'a>; 3],
}

impl<'a> Told<'a> {
    fn note(&mut self, part: usize, client: &'a Client) {
        let named: usize = self.of.iter().map(|counted| counted.named.len()).sum();
        let counted = &mut self.of[part];
        counted.count += 1;
        if named < MAX_NAMED {
            counted.named.push(client);
        }
    }
}

impl Act<'_> {
    /// Queues the messages about clients that were handed over together.
    pub(crate) async fn tell_of_hand_over(
        &mut self,
        random: &dyn Random,
        handed: &[HandedClient],
    ) -> Result<(), Error> {
        // A single client has a message with all that there is to say about it.
        if let [HandedClient { client, before, event }] = handed {
            let mut told = client.clone();
            if !is_told_otherwise(event) {
                // The address that leaves hears of it, also that of a deleted account: it may be the address of a group.
                told.owners.extend(before.iter().filter(|owner| !client.owners.contains(owner)).cloned());
            }
            return self.notify(random, event, &told, None, None).await;
        }
        let mut messages = Vec::new();
        if self.mails {
            messages.extend(self.mail_messages(random, handed).into_iter().map(|it| (Channel::Mail, it)));
        }
        let posts = self.webhook_messages(random, handed).await?;
        messages.extend(posts.into_iter().map(|it| (Channel::Webhook, it)));
        if !self.sends {
            return Ok(());
        }
        let mut deliveries = Vec::new();
        for (channel, message) in &messages {
            deliveries.extend(message.recipients.iter().map(|recipient| NewDelivery {
                id: DeliveryId::generate(random).into(),
                notification: &message.id,
                channel: *channel,
                recipient,
                cause: &message.id,
                class: Class::Today,
                created_at: self.now,
                not_after: None,
            }));
        }
        let notifications: Vec<_> = messages.iter().map(|(_, message)| message.clone()).collect();
        self.tx.insert_notifications(&notifications).await?;
        Ok(self.tx.insert_deliveries(&deliveries).await?)
    }

    /// Returns one message to each person who was or is an owner.
    fn mail_messages(&self, random: &dyn Random, handed: &[HandedClient]) -> Vec<Notification> {
        let mut people: BTreeMap<&str, Told<'_>> = BTreeMap::new();
        for HandedClient { client, before, .. } in handed {
            for owner in before.iter().chain(client.owners.iter().filter(|it| !before.contains(it))) {
                let part = match (before.contains(owner), client.owners.contains(owner)) {
                    (true, false) => 0,
                    (false, _) => 1,
                    (true, true) => 2,
                };
                people.entry(owner).or_default().note(part, client);
            }
        }
        let Some(first) = handed.first() else { return Vec::new() };
        let is_gone = |told: &Told<'_>| told.of[0].count > 0 && is_told_otherwise(&first.event);
        people.retain(|owner, told| WebhookId::parse(owner).is_err() && !is_gone(told));
        let facts = first.event.details();
        let message = |(recipient, told): (&str, Told<'_>)| {
            let [left, taken, kept] = told.of.map(|counted| counted.shown());
            let details = json!({
                "user_id": facts["user_id"],
                "user_name": facts["user_name"],
                "cause": facts["cause"],
                "left": left,
                "taken": taken,
                "kept": kept,
            });
            Notification {
                client_id: None,
                client_name: None,
                recipients: vec![recipient.to_owned()],
                ..self.message(random, &first.event, &first.client, None, details)
            }
        };
        people.into_iter().map(message).collect()
    }

    /// Returns one message about each client to the webhooks that get it.
    async fn webhook_messages(
        &mut self,
        random: &dyn Random,
        handed: &[HandedClient],
    ) -> Result<Vec<Notification>, Error> {
        // One that cannot be read prevents no change.
        let mut webhooks: Vec<_> = self.tx.all_webhooks().await?.into_iter().flatten().collect();
        webhooks.retain(|webhook| webhook.disabled.is_none());
        let mut messages = Vec::new();
        for HandedClient { client, event, .. } in handed {
            let details = event.details();
            let reaches = |webhook: &&Webhook| {
                webhook.property_id.as_ref().is_none_or(|it| *it == client.property_id)
                    && webhook.client_id.as_ref().is_none_or(|it| *it == client.id)
                    && chooses(webhook, client, event, None, &details)
            };
            let recipients: Vec<String> =
                webhooks.iter().filter(reaches).map(|webhook| webhook.id.to_string()).collect();
            if !recipients.is_empty() {
                messages
                    .push(Notification { recipients, ..self.message(random, event, client, None, details) });
            }
        }
        Ok(messages)
    }
}

/// Whether the address that leaves has a message of its own: that the account has another one.
fn is_told_otherwise(event: &Event) -> bool {
    matches!(event, Event::ClientHandedOver { cause: HandOverCause::AddressChanged, .. })
}
