//! A change in progress. Only an act appends to the audit trail, the change log and the messages to owners.

use crate::{
    error::Error,
    frame::{
        entry::{About, Author},
        if_match::IfMatch,
    },
    webhooks::owners::readers_of,
};
use crossfade_core::{
    ClientId, Code, DeliveryId, Problem, Random, RegistrationId, SecretId, Timestamp, WebhookId,
    audit::{Actor, Event},
    base62,
    environment::Slug,
    messages::{Channel, Class, Kind, OffFor, cause, is_off, not_after},
    owners::managers_of,
    webhook::{WEBHOOK_NAMES, secrets_ended_by},
};
use crossfade_store::{ChangeKind, Client, NewDelivery, Notification, SwitchedFor, Tx};

/// A change in progress: the transaction, its time, and its author. The permissions of a person are no part of it, so
/// that a policy's change is recorded, told and fed by the same lines as a person's.
pub(crate) struct Act<'a> {
    pub(crate) tx: &'a mut Tx,
    /// Time of the complete change, read once, after the lock was taken.
    pub(crate) now: Timestamp,
    pub(crate) by: Author,
    pub(crate) if_match: IfMatch<'a>,
    /// Whether messages to owners are mailed.
    pub(crate) mails: bool,
    /// Whether messages are sent at all.
    pub(crate) sends: bool,
}

impl<'a> Act<'a> {
    pub(crate) fn new(tx: &'a mut Tx, now: Timestamp, by: impl Into<Author>) -> Self {
        Self { tx, now, by: by.into(), if_match: IfMatch::Any, mails: false, sends: true }
    }

    /// Returns this change as one of another author, for entries that are not the actor's own.
    pub(crate) fn on_behalf_of(&mut self, by: impl Into<Author>) -> Act<'_> {
        Act { mails: self.mails, sends: self.sends, ..Act::new(self.tx, self.now, by) }
    }

    /// Returns this change with messages that are sent only if `wanted`: not for a message that another one of this change
    /// makes unnecessary.
    pub(crate) fn sending(&mut self, wanted: bool) -> Act<'_> {
        let by = self.by.clone();
        Act { mails: self.mails, sends: self.sends && wanted, ..Act::new(self.tx, self.now, by) }
    }

    /// Returns this change with messages that are not mailed, because the owners get a mail about the change itself.
    pub(crate) fn without_mail(&mut self) -> Act<'_> {
        let by = self.by.clone();
        Act { sends: self.sends, ..Act::new(self.tx, self.now, by) }
    }

    /// Refuses the change if the principal has read another version than the present one.
    pub(crate) fn matches(&self, version: i64) -> Result<(), Problem> {
        unless_overtaken(self.if_match.holds(version))
    }

    /// Refuses a change of a list that names a version, because a list has none.
    pub(crate) fn matches_list(&self) -> Result<(), Problem> {
        unless_overtaken(self.if_match.holds_for_list())
    }

    /// Appends a change to the change log, for the tables of every node.
    pub(crate) async fn changed(&mut self, kind: ChangeKind) -> Result<(), Error> {
        self.all_changed(&[kind]).await
    }

    /// Appends changes to the change log, for the tables of every node.
    pub(crate) async fn all_changed(&mut self, kinds: &[ChangeKind]) -> Result<(), Error> {
        Ok(self.tx.append_changes(kinds).await?)
    }

    /// Appends a change of a registration's secrets to the change log, and increases the version of the registration.
    pub(crate) async fn secrets_changed(&mut self, registration: &RegistrationId) -> Result<(), Error> {
        self.tx.touch_registration(registration).await?;
        self.changed(ChangeKind::Registration(registration.clone())).await
    }

    /// Records a change of a registration after which each of its secrets is as it was before.
    pub(crate) async fn secrets_kept(&mut self, registration: &RegistrationId) -> Result<(), Error> {
        self.tx.touch_registration(registration).await?;
        Ok(self.tx.append_widening(&[ChangeKind::Registration(registration.clone())]).await?)
    }

    /// Appends to the audit trail.
    pub(crate) async fn audit(&mut self, event: &Event, about: About<'_>) -> Result<(), Error> {
        self.audit_at(self.now, event, about).await
    }

    /// Appends events to the audit trail, each with the client that it is about.
    pub(crate) async fn audit_clients(&mut self, events: &[(Event, ClientId)]) -> Result<(), Error> {
        let entry = |(event, client): &(Event, ClientId)| {
            let about = About { client: Some(client), target: Some(client.to_string()), ..About::default() };
            self.by.entry(self.now, event, about)
        };
        let entries: Vec<_> = events.iter().map(entry).collect();
        Ok(self.tx.append_audits(&entries).await?)
    }

    /// Appends an event of an earlier time to the audit trail, such as a deadline that has passed.
    pub(crate) async fn audit_at(
        &mut self,
        at: Timestamp,
        event: &Event,
        about: About<'_>,
    ) -> Result<(), Error> {
        Ok(self.tx.append_audit(&self.by.entry(at, event, about)).await?)
    }

    /// Appends to the audit trail something that was refused, and not done.
    pub(crate) async fn audit_refused(&mut self, event: &Event, about: About<'_>) -> Result<(), Error> {
        Ok(self.tx.append_audit(&self.by.refusal(self.now, event, about)).await?)
    }

    /// Appends an event of an earlier time about a client to the audit trail, and queues a message to the owners of the
    /// client.
    pub(crate) async fn tell_at(
        &mut self,
        at: Timestamp,
        random: &dyn Random,
        event: &Event,
        about: About<'_>,
    ) -> Result<(), Error> {
        let (client, environment, reason) = (about.client, about.environment, about.reason);
        self.audit_at(at, event, about).await?;
        let Some(client) = client else { return Ok(()) };
        let Some(client) = self.tx.client(client).await? else { return Ok(()) };
        self.notify(random, event, &client, environment, reason).await
    }

    /// Appends a warning about a client to the audit trail, and queues a message to the owners of the client, and to its
    /// managers, if it is about to cause an outage and nobody looks after it.
    pub(crate) async fn warn(
        &mut self,
        random: &dyn Random,
        event: &Event,
        about: About<'_>,
        warns_managers: bool,
    ) -> Result<(), Error> {
        let (client, environment) = (about.client, about.environment);
        self.audit(event, about).await?;
        let Some(client) = client else { return Ok(()) };
        let Some(client) = self.tx.client(client).await? else { return Ok(()) };
        let managers = match warns_managers && self.mails {
            true => self.tx.managers(Some((&client.property_id, &client.id))).await?,
            false => Vec::new(),
        };
        let managers = managers_of(&managers, &client.property_id, &client.id);
        let managers: Vec<String> = managers.into_iter().map(|manager| manager.email.clone()).collect();
        self.notify_also(random, event, (&client, &managers), environment, None).await
    }

    /// For a secret that ends now: marks it as leaked if `compromised`, and ends the tokens issued under it if
    /// `revoke_tokens`. Otherwise they stay active until they expire.
    pub(crate) async fn end_tokens(
        &mut self,
        secret: &SecretId,
        compromised: bool,
        revoke_tokens: bool,
    ) -> Result<(), Error> {
        if compromised {
            self.tx.mark_secret_compromised(secret, self.now).await?;
        }
        if revoke_tokens {
            self.tx.revoke_tokens_of_secret(secret, self.now).await?;
            self.changed(ChangeKind::TokensOfSecret(secret.clone())).await?;
        }
        Ok(())
    }

    /// Queues a message to the owners of a client and to its webhooks, for delivery after the commit.
    pub(crate) async fn notify(
        &mut self,
        random: &dyn Random,
        event: &Event,
        client: &Client,
        environment: Option<&Slug>,
        reason: Option<&str>,
    ) -> Result<(), Error> {
        self.notify_also(random, event, (client, &[]), environment, reason).await
    }

    /// Queues a message to the owners of a client and to others, for delivery after the commit.
    async fn notify_also(
        &mut self,
        random: &dyn Random,
        event: &Event,
        (client, others): (&Client, &[String]),
        environment: Option<&Slug>,
        reason: Option<&str>,
    ) -> Result<(), Error> {
        if let Some(environment) = environment {
            for secret in secrets_ended_by(event) {
                self.resolve_leak(random, event, client, environment, secret).await?;
            }
        }
        let mut details = event.details();
        let webhooks = self.webhooks_for(client, event, environment, &details).await?;
        if client.owners.is_empty() && others.is_empty() && webhooks.is_empty() {
            return Ok(());
        }
        self.name_webhooks(event, client, &mut details).await?;
        let number = match environment {
            Some(environment) => self.tx.next_message_number(&client.id, environment).await?,
            None => None,
        };
        let notification = Notification {
            number,
            recipients: client.owners.clone(),
            reason: reason.filter(|reason| !reason.is_empty()).map(str::to_owned),
            ..self.message(random, event, client, environment, details)
        };
        self.tx.insert_notification(&notification).await?;
        if !self.sends {
            return Ok(());
        }
        let (cause, not_after) = (cause(event, &notification.id), not_after(event));
        let mut people: Vec<&str> = client.owners.iter().chain(others).map(String::as_str).collect();
        people.retain(|owner| self.mails && WebhookId::parse(owner).is_err());
        self.keep_wanted(event, client, &mut people).await?;
        let mails = people.into_iter().map(|recipient| (Channel::Mail, recipient));
        let posts = webhooks.iter().map(|webhook| (Channel::Webhook, webhook.id.as_str()));
        self.note_incidents(event.action(), client, environment, &notification.details, &webhooks).await?;
        let recipients: Vec<_> = mails.chain(posts).collect();
        self.queue(random, &notification, &recipients, (Class::of(event), &cause, not_after)).await
    }

    /// Adds the names of the webhooks among the owners to the facts of a message that lists the owners, with the recipients
    /// who can manage each of them. Other recipients get its ID, as in the API.
    async fn name_webhooks(
        &mut self,
        event: &Event,
        client: &Client,
        details: &mut serde_json::Value,
    ) -> Result<(), Error> {
        let owners = match event {
            Event::ClientUpdated { after, .. } => &after.owners,
            Event::ClientHandedOver { owners, .. } => owners,
            _ => return Ok(()),
        };
        let webhooks: Vec<_> = owners.iter().filter_map(|owner| WebhookId::parse(owner).ok()).collect();
        if webhooks.is_empty() {
            return Ok(());
        }
        let mut names = self.tx.webhook_names(&webhooks).await?;
        let readers = readers_of(self.tx, &names, client, &client.owners).await?;
        let named = readers.into_iter().filter_map(|(id, to)| {
            let name = names.remove(&id)?.name.to_string();
            Some((id.to_string(), serde_json::json!({"name": name, "to": to})))
        });
        details[WEBHOOK_NAMES] = serde_json::Value::Object(named.collect());
        Ok(())
    }

    /// Returns a message about a client to nobody.
    pub(crate) fn message(
        &self,
        random: &dyn Random,
        event: &Event,
        client: &Client,
        environment: Option<&Slug>,
        details: serde_json::Value,
    ) -> Notification {
        Notification {
            id: message_id(random),
            created_at: self.now,
            number: None,
            event: event.action(),
            client_id: Some(client.id.clone()),
            client_name: Some(client.name.to_string()),
            environment: environment.cloned(),
            recipients: Vec::new(),
            actor_name: Some(self.by.actor.name().to_owned()),
            actor_kind: Some(self.by.actor.kind().to_owned()),
            source: self.by.origin.stored.clone(),
            reason: None,
            details,
        }
    }

    /// Queues the deliveries of a message.
    pub(super) async fn queue(
        &mut self,
        random: &dyn Random,
        notification: &Notification,
        recipients: &[(Channel, &str)],
        (class, cause, not_after): (Class, &str, Option<Timestamp>),
    ) -> Result<(), Error> {
        for (channel, recipient) in recipients {
            let delivery = NewDelivery {
                id: DeliveryId::generate(random).into(),
                notification: &notification.id,
                channel: *channel,
                recipient,
                cause,
                class,
                created_at: self.now,
                not_after,
            };
            self.tx.insert_delivery(&delivery).await?;
        }
        Ok(())
    }
}

impl Act<'_> {
    /// Returns the people who get messages of this kind that are about no single client.
    pub(crate) async fn wanted_by(
        &mut self,
        event: &Event,
        recipients: Vec<String>,
    ) -> Result<Vec<String>, Error> {
        let Some(kind) = Kind::of(event).filter(|kind| kind.off_for() != OffFor::Nobody) else {
            return Ok(recipients);
        };
        let addresses: Vec<&str> = recipients.iter().map(String::as_str).collect();
        let off = self.tx.switches_at(&addresses).await?;
        let is_wanted = |address: &String| off.get(address).is_none_or(|off| !is_off(kind, off));
        Ok(recipients.into_iter().filter(is_wanted).collect())
    }

    /// Removes the recipients who do not get messages of this kind: all, if they are switched off for the client. A
    /// rotation by the client itself is always told: if a stolen secret did it, the message is the only sign.
    async fn keep_wanted(
        &mut self,
        event: &Event,
        client: &Client,
        recipients: &mut Vec<&str>,
    ) -> Result<(), Error> {
        let Some(kind) = Kind::of(event).filter(|kind| kind.off_for() == OffFor::PersonOrClient) else {
            return Ok(());
        };
        if kind == Kind::SecretRotated && matches!(self.by.actor, Actor::Client { .. }) {
            return Ok(());
        }
        if is_off(kind, &self.tx.switches(SwitchedFor::Client(&client.id)).await?) {
            recipients.clear();
        }
        let off = self.tx.switches_at(recipients).await?;
        recipients.retain(|recipient| off.get(*recipient).is_none_or(|off| !is_off(kind, off)));
        Ok(())
    }
}

/// Returns the ID of a new message or lease.
pub(crate) fn message_id(random: &dyn Random) -> String {
    let mut id = [0; 16];
    random.fill(&mut id);
    base62::encode_fixed(&id, 22)
}

fn unless_overtaken(holds: bool) -> Result<(), Problem> {
    if holds {
        return Ok(());
    }
    Err(Problem::new(
        Code::PreconditionFailed,
        "The resource has changed since you read it. Nothing was changed. Read it again, then retry \
        with its new ETag.",
    ))
}
