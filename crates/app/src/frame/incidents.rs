//! Incidents of PagerDuty: which webhooks get a message, what they have opened, and what resolves it. An incident is noted when
//! its message is queued, and until the message that resolves it is queued, so that a webhook that has other choices by then, or
//! was disabled for a while, resolves what it has opened.

use super::act::{Act, message_id};
use crate::error::Error;
use crossfade_core::{
    ClientId, Random, SecretId, Timestamp,
    audit::{Action, Event},
    environment::Slug,
    messages::{Channel, Class, QUIET_AFTER, leak_cause},
    webhook::{Choice, INCIDENT, Incident, OpenIncident, OpenWhile, RESOLVES, WebhookFormat, leak_subject},
};
use crossfade_store::{Client, Notification, Tx, Webhook};
use serde_json::{Value, json};
use std::collections::HashSet;

impl Act<'_> {
    /// Returns the webhooks that get a message about an event of a client: those that are its owners, those that have chosen
    /// it, and those that have opened the incident that it resolves.
    pub(super) async fn webhooks_for(
        &mut self,
        client: &Client,
        event: &Event,
        environment: Option<&Slug>,
        details: &Value,
    ) -> Result<Vec<Webhook>, Error> {
        let mut webhooks = self.tx.webhooks_for(&client.property_id, &client.id).await?;
        let open = match (Incident::of(event.action(), details), environment) {
            (Some(Incident { subject, severity: None }), Some(environment)) => {
                let causes: Vec<_> = webhooks
                    .iter()
                    .filter(|it| it.format == WebhookFormat::Pagerduty)
                    .map(|it| open_at(it, &client.id, environment, &subject).cause())
                    .collect();
                if causes.is_empty() { HashSet::new() } else { self.tx.told_of(&causes).await? }
            }
            _ => HashSet::new(),
        };
        let open: HashSet<_> =
            open.iter().filter_map(|cause| OpenIncident::parse(cause)).map(|it| it.webhook).collect();
        webhooks.retain(|webhook| {
            open.contains(&webhook.id) || chooses(webhook, client, event, environment, details)
        });
        Ok(webhooks)
    }

    /// Notes the incident that a message opens at these webhooks, or that it resolves it there.
    pub(super) async fn note_incidents(
        &mut self,
        event: Action,
        client: &Client,
        environment: Option<&Slug>,
        details: &Value,
        webhooks: &[Webhook],
    ) -> Result<(), Error> {
        let (Some(incident), Some(environment)) = (Incident::of(event, details), environment) else {
            return Ok(());
        };
        for webhook in webhooks.iter().filter(|webhook| webhook.format == WebhookFormat::Pagerduty) {
            let cause = open_at(webhook, &client.id, environment, &incident.subject).cause();
            match incident.severity {
                Some(_) => self.tx.tell_once_about(INCIDENT, &cause, self.now).await?,
                None => self.tx.end_told(&cause).await?,
            };
        }
        Ok(())
    }

    /// Queues a message to PagerDuty alone that the incident of this subject is over, at most once for a cause.
    async fn resolve_once(
        &mut self,
        random: &dyn Random,
        event: &Event,
        (client, environment): (&Client, &Slug),
        subject: &str,
        cause: Option<&str>,
    ) -> Result<(), Error> {
        let mut details = event.details();
        details[RESOLVES] = subject.into();
        let mut webhooks = self.webhooks_for(client, event, Some(environment), &details).await?;
        webhooks.retain(|webhook| webhook.format == WebhookFormat::Pagerduty);
        if webhooks.is_empty() {
            return Ok(());
        }
        self.note_incidents(event.action(), client, Some(environment), &details, &webhooks).await?;
        let notification = self.message(random, event, client, Some(environment), details);
        self.tx.insert_notification(&notification).await?;
        let recipients: Vec<_> =
            webhooks.iter().map(|webhook| (Channel::Webhook, webhook.id.as_str())).collect();
        let cause = cause.unwrap_or(&notification.id);
        self.queue(random, &notification, &recipients, (Class::Today, cause, None)).await
    }

    /// Queues a message to PagerDuty alone that the incident of this subject is over.
    pub(crate) async fn resolve(
        &mut self,
        random: &dyn Random,
        event: &Event,
        client: &Client,
        environment: &Slug,
        subject: &str,
    ) -> Result<(), Error> {
        self.resolve_once(random, event, (client, environment), subject, None).await
    }

    /// Queues a message to PagerDuty alone that the incident of a leaked secret is over, because the secret has ended: once, also if
    /// the report is not known any more, as after a restore.
    pub(crate) async fn resolve_leak(
        &mut self,
        random: &dyn Random,
        event: &Event,
        client: &Client,
        environment: &Slug,
        secret: &SecretId,
    ) -> Result<(), Error> {
        self.tx.end_told(&leak_cause(secret)).await?;
        let subject = leak_subject(secret);
        let cause = format!("over {subject}");
        self.resolve_once(random, event, (client, environment), &subject, Some(&cause)).await
    }

    /// Queues messages to PagerDuty alone that the incidents of a secret are over, because something other than a change of it has
    /// ended it.
    pub(crate) async fn resolve_ended(
        &mut self,
        random: &dyn Random,
        client: &Client,
        environment: &Slug,
        secret: &SecretId,
    ) -> Result<(), Error> {
        let event =
            Event::SecretRevoked { secret_id: secret.clone(), compromised: false, revoke_tokens: false };
        self.resolve(random, &event, client, environment, secret.as_str()).await?;
        self.resolve_leak(random, &event, client, environment, secret).await
    }

    /// Queues a message to one webhook that an incident which it has opened is over. Does nothing if the incident is not noted any
    /// more, or the webhook is disabled.
    pub(crate) async fn resolve_at(
        &mut self,
        random: &dyn Random,
        incident: &OpenIncident,
    ) -> Result<(), Error> {
        if self.tx.enabled_version_of(&incident.webhook).await?.is_none()
            || !self.tx.end_told(&incident.cause()).await?
        {
            return Ok(());
        }
        let event = match incident.open_while() {
            Some(OpenWhile::Drill(_)) => Action::DrillFinished,
            Some(OpenWhile::Disabled(_)) => Action::RegistrationUpdated,
            Some(OpenWhile::Presented(_)) => Action::EndedSecretPresented,
            Some(OpenWhile::UpstreamRefused(_)) => Action::UpstreamCredentialAccepted,
            _ => Action::SecretExpired,
        };
        let client = self.tx.client(&incident.client).await?;
        let notification = Notification {
            id: message_id(random),
            created_at: self.now,
            number: None,
            event,
            client_id: Some(incident.client.clone()),
            client_name: client.map(|client| client.name.to_string()),
            environment: Some(incident.environment.clone()),
            recipients: Vec::new(),
            actor_name: Some(self.by.actor.name().to_owned()),
            actor_kind: Some(self.by.actor.kind().to_owned()),
            source: None,
            reason: None,
            details: json!({ RESOLVES: incident.subject }),
        };
        self.tx.insert_notification(&notification).await?;
        let recipients = [(Channel::Webhook, incident.webhook.as_str())];
        self.queue(random, &notification, &recipients, (Class::Today, &notification.id, None)).await
    }
}

fn open_at(webhook: &Webhook, client: &ClientId, environment: &Slug, subject: &str) -> OpenIncident {
    OpenIncident {
        webhook: webhook.id.clone(),
        client: client.clone(),
        environment: environment.clone(),
        subject: subject.to_owned(),
    }
}

/// Whether a webhook that may get messages about a client gets one about this event: it is an owner, or has chosen it.
pub(crate) fn chooses(
    webhook: &Webhook,
    client: &Client,
    event: &Event,
    environment: Option<&Slug>,
    details: &Value,
) -> bool {
    let is_owner = client.owners.iter().any(|owner| owner == webhook.id.as_str());
    let choice = webhook.choice();
    // An owner is told everything that its format can say. It has no list of environments.
    let choice = if is_owner { Choice { events: &[], ..choice } } else { choice };
    choice.includes(event.action(), environment, details)
}

/// Returns those of these incidents whose cause is over at `now`. Takes at most five statements.
pub(crate) async fn over(
    tx: &mut Tx,
    incidents: Vec<OpenIncident>,
    now: Timestamp,
) -> Result<Vec<OpenIncident>, Error> {
    let (mut secrets, mut drills, mut registrations) = (Vec::new(), Vec::new(), Vec::new());
    let (mut presented, mut refused) = (Vec::new(), Vec::new());
    for incident in &incidents {
        match incident.open_while() {
            Some(OpenWhile::Valid(id) | OpenWhile::Retiring(id)) => secrets.push(id),
            Some(OpenWhile::Drill(id)) => drills.push(id),
            Some(OpenWhile::Disabled(id)) => registrations.push(id),
            Some(OpenWhile::Presented(id)) => presented.push(id),
            Some(OpenWhile::UpstreamRefused(id)) => refused.push(id),
            None => {}
        }
    }
    let (valid, running) = (tx.valid_of(&secrets, now).await?, tx.running_of(&drills, now).await?);
    let disabled = tx.disabled_of(&registrations).await?;
    let presented = tx.presented_of(&presented, now.before(QUIET_AFTER), now).await?;
    let refused = tx.upstream_refused_of(&refused).await?;
    let is_over = |incident: &OpenIncident| match incident.open_while() {
        Some(OpenWhile::Valid(id)) => !valid.contains_key(&id),
        // A current secret has no deadline any more.
        Some(OpenWhile::Retiring(id)) => !matches!(valid.get(&id), Some(Some(_))),
        Some(OpenWhile::Drill(id)) => !running.contains(&id),
        Some(OpenWhile::Disabled(id)) => !disabled.contains(&id),
        Some(OpenWhile::Presented(id)) => !presented.contains(&id),
        Some(OpenWhile::UpstreamRefused(id)) => !refused.contains(&id),
        None => false,
    };
    Ok(incidents.into_iter().filter(is_over).collect())
}
