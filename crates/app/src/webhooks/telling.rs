//! Messages about a webhook that is an owner of clients and was moved or disabled: one to each other owner, however many
//! clients there are, one about each client to its other webhooks, and one to the URL that is left. Where no owner is
//! notified any more, the managers of the client are told.

use super::owners::hearing_among;
use crate::{
    error::Error,
    frame::{act::Act, incidents::chooses},
};
use crossfade_core::{
    DeliveryId, Random, WebhookId,
    audit::Event,
    messages::{Channel, Class},
    owners::{OwnerChange, is_heard, managers_of},
    webhook::{CLIENT_NAMES, EARLIER_URL},
};
use crossfade_store::{Client, NewDelivery, Notification, Tx, Webhook};
use serde_json::json;
use std::collections::{BTreeMap, HashSet};

/// What is told of a webhook that is an owner.
pub(crate) struct OwnerNews<'a> {
    webhook: &'a Webhook,
    change: OwnerChange,
    /// Its clients, and whether any owner of each is notified of everything now.
    clients: Vec<(Client, bool)>,
    /// Clients of each person who is told, by the address.
    people: BTreeMap<String, Vec<usize>>,
}

impl<'a> OwnerNews<'a> {
    /// Reads who is told that this webhook, an owner of these clients, was changed.
    pub(crate) async fn read(
        tx: &mut Tx,
        webhook: &'a Webhook,
        change: OwnerChange,
        owned: Vec<Client>,
    ) -> Result<Self, Error> {
        let hearing = hearing_after(tx, webhook, change, &owned).await?;
        let heard = |client: Client| (is_heard(&client.owners, &hearing), client);
        let clients: Vec<_> = owned.into_iter().map(heard).map(|(heard, client)| (client, heard)).collect();
        let managers = match clients.iter().all(|(_, is_heard)| *is_heard) {
            true => Vec::new(),
            false => tx.managers(None).await?,
        };
        let mut people: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (index, (client, is_heard)) in clients.iter().enumerate() {
            let mut told: Vec<&str> =
                client.owners.iter().map(String::as_str).filter(|it| WebhookId::parse(it).is_err()).collect();
            if !is_heard {
                let managers = managers_of(&managers, &client.property_id, &client.id);
                told.extend(managers.into_iter().map(|manager| manager.email.as_str()));
            }
            for person in told.into_iter().collect::<HashSet<_>>() {
                people.entry(person.to_owned()).or_default().push(index);
            }
        }
        Ok(Self { webhook, change, clients, people })
    }

    /// Returns the number of people who are told.
    pub(crate) fn people(&self) -> usize {
        self.people.len()
    }

    fn event(&self, is_heard: bool) -> Event {
        Event::ClientOwnerUpdated { webhook_id: self.webhook.id.clone(), change: self.change, is_heard }
    }
}

/// Returns the webhooks among the owners of these clients that are notified of everything after a change of one of them.
pub(crate) async fn hearing_after(
    tx: &mut Tx,
    webhook: &Webhook,
    change: OwnerChange,
    owned: &[Client],
) -> Result<HashSet<WebhookId>, Error> {
    let mut hearing = hearing_among(tx, owned.iter().flat_map(|client| &client.owners)).await?;
    if change != OwnerChange::Moved {
        hearing.remove(&webhook.id);
    }
    Ok(hearing)
}

impl Act<'_> {
    /// Records and tells that a webhook which is an owner was changed. `earlier_url` is the URL that it had, if it has moved.
    pub(crate) async fn tell_of_owner(
        &mut self,
        random: &dyn Random,
        news: &OwnerNews<'_>,
        earlier_url: Option<&str>,
    ) -> Result<(), Error> {
        let events: Vec<_> =
            news.clients.iter().map(|(client, heard)| (news.event(*heard), client.id.clone())).collect();
        self.audit_clients(&events).await?;
        let mut messages = Vec::new();
        if self.mails {
            let mail = |(person, of): (&String, &Vec<usize>)| {
                let message = self.mail_of_owner(random, news, of);
                (Channel::Mail, vec![person.clone()], message)
            };
            messages.extend(news.people.iter().map(mail));
        }
        for (to, message) in self.posts_of_owner(random, news).await? {
            messages.push((Channel::Webhook, to, message));
        }
        let first = news.clients.first().filter(|_| news.webhook.format.says_everything());
        if let (Some(url), Some((client, heard))) = (earlier_url, first) {
            let event = news.event(*heard);
            let mut details = event.details();
            details[CLIENT_NAMES] = json!(names(news, 0..news.clients.len()));
            details[EARLIER_URL] = json!(url);
            let message = self.message(random, &event, client, None, details);
            messages.push((Channel::Webhook, vec![news.webhook.id.to_string()], message));
        }
        if !self.sends {
            return Ok(());
        }
        let mut deliveries = Vec::new();
        for (channel, to, message) in &messages {
            deliveries.extend(to.iter().map(|recipient| NewDelivery {
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
        let notifications: Vec<_> = messages.iter().map(|(.., message)| message.clone()).collect();
        self.tx.insert_notifications(&notifications).await?;
        Ok(self.tx.insert_deliveries(&deliveries).await?)
    }

    /// Returns the message to one person about these clients.
    fn mail_of_owner(&self, random: &dyn Random, news: &OwnerNews<'_>, of: &[usize]) -> Notification {
        // The one that needs something most is named first.
        let unheard = of.iter().find(|index| !news.clients[**index].1);
        let (client, heard) = &news.clients[*unheard.unwrap_or(&of[0])];
        let event = news.event(*heard);
        let mut details = event.details();
        details[CLIENT_NAMES] = json!(names(news, of.iter().copied()));
        let recipients = client.owners.clone();
        Notification { recipients, ..self.message(random, &event, client, None, details) }
    }

    /// Returns one message about each client, and its other webhooks.
    async fn posts_of_owner(
        &mut self,
        random: &dyn Random,
        news: &OwnerNews<'_>,
    ) -> Result<Vec<(Vec<String>, Notification)>, Error> {
        // One that cannot be read prevents no change.
        let mut webhooks: Vec<_> = self.tx.all_webhooks().await?.into_iter().flatten().collect();
        webhooks.retain(|webhook| webhook.disabled.is_none() && webhook.id != news.webhook.id);
        let mut messages = Vec::new();
        for (client, heard) in &news.clients {
            let event = news.event(*heard);
            let details = event.details();
            let gets = |webhook: &&Webhook| {
                webhook.covers(&client.property_id, &client.id)
                    && chooses(webhook, client, &event, None, &details)
            };
            let to: Vec<_> = webhooks.iter().filter(gets).map(|it| it.id.to_string()).collect();
            if !to.is_empty() {
                let recipients = client.owners.clone();
                let message = self.message(random, &event, client, None, details);
                messages.push((to, Notification { recipients, ..message }));
            }
        }
        Ok(messages)
    }
}

fn names<'n>(news: &'n OwnerNews<'_>, of: impl Iterator<Item = usize> + 'n) -> Vec<&'n str> {
    of.map(|index| news.clients[index].0.name.as_str()).collect()
}
