//! The deliveries of a webhook: listing, testing, and sending one again.

use super::{
    shown::{about, shown},
    subject::{Loaded, MANAGE, Subject, WebhookPath},
    webhook::WebhookPage,
};
use crate::{
    app::App,
    error::Error,
    frame::{
        act::message_id,
        cursor::{ListQuery, Scan, Start},
        idempotency::Repeatable,
        principal::Principal,
        request::{NoInput, Request},
    },
};
use crossfade_core::{
    Code, DeliveryId, Operation, Problem,
    api::{self, DeliveryStatus, Page},
    audit::{Action, Event},
    messages::{Channel, Class},
    webhook::payload_type,
};
use crossfade_store::{LoggedDelivery, NewDelivery, Notification, Tx, Webhook};
use tokio::time::Instant;

impl Repeatable for api::WebhookDelivery {}

fn shown_delivery(row: LoggedDelivery) -> Result<api::WebhookDelivery, Error> {
    let status = match (row.sent_at, &row.abandoned_as) {
        (Some(_), _) => DeliveryStatus::Sent,
        (None, Some(_)) => DeliveryStatus::Abandoned,
        (None, None) => DeliveryStatus::Queued,
    };
    Ok(api::WebhookDelivery {
        id: DeliveryId::parse(&row.id).map_err(Error::internal)?,
        event: payload_type(row.event).to_owned(),
        number: row.number,
        client_id: row.client_id,
        environment: row.environment.map(|slug| slug.to_string()),
        status,
        abandoned_as: row.abandoned_as,
        attempts: row.attempts,
        created_at: row.created_at,
        next_attempt_at: (status == DeliveryStatus::Queued).then_some(row.next_attempt_at),
        sent_at: row.sent_at,
        last_status: row.last_status,
        last_duration_ms: row.last_duration_ms,
        last_error: row.last_error,
    })
}

/// Whether the principal can see a delivery: a test, or one about an environment in which they manage the webhooks of the
/// subject. A webhook can have been for more environments earlier.
fn may_see(principal: &Principal, subject: &Subject, delivery: &LoggedDelivery) -> bool {
    let may = |environment| principal.may(MANAGE, subject.ids().object(environment));
    delivery.event == Action::WebhookTested
        || may(None)
        || delivery.environment.as_ref().is_some_and(|it| may(Some(it)))
}

/// Returns a page of the deliveries of a webhook that the principal can see, newest first.
async fn deliveries_page(
    tx: &mut Tx,
    principal: &Principal,
    loaded: &Loaded,
    start: &Start<'_>,
) -> Result<Page<api::WebhookDelivery>, Error> {
    let key = |row: &LoggedDelivery| (row.created_at.as_micros(), row.id.clone());
    let mut scan = Scan::new(start, principal.may(MANAGE, loaded.subject.ids().object(None)));
    while let Some(from) = scan.next() {
        let rows = tx.deliveries_of(&loaded.webhook.id, &from).await?;
        scan.read(rows.len(), rows.last().map(key));
        rows.into_iter()
            .filter(|row| may_see(principal, &loaded.subject, row))
            .for_each(|row| scan.keep(row));
    }
    let (rows, next_cursor) = scan.rows(key)?;
    Ok(Page { items: rows.into_iter().map(shown_delivery).collect::<Result<_, _>>()?, next_cursor })
}

fn unless_disabled(webhook: &Webhook) -> Result<(), Problem> {
    if webhook.disabled.is_none() {
        return Ok(());
    }
    let text = "The webhook is disabled. Nothing was changed. Enable it first.";
    Err(Problem::new(Code::WebhookDisabled, text))
}

impl App {
    /// Returns the deliveries of a webhook, newest first.
    pub async fn list_deliveries(
        &self,
        principal: &Principal,
        path: WebhookPath<'_>,
        query: &ListQuery,
    ) -> Result<Page<api::WebhookDelivery>, Error> {
        let start = self.cursors.start(format_args!("deliveries of {}", path.0), query)?;
        self.view(Operation::ListDeliveries, principal, path, async |tx, principal, loaded: Loaded| {
            deliveries_page(tx, principal, &loaded, &start).await
        })
        .await
    }

    /// Returns everything that the page of a webhook shows.
    pub async fn webhook_page(
        &self,
        principal: &Principal,
        path: WebhookPath<'_>,
        query: &ListQuery,
    ) -> Result<WebhookPage, Error> {
        let start = self.cursors.start(format_args!("deliveries of {}", path.0), query)?;
        self.view(Operation::ReadWebhook, principal, path, async |tx, principal, loaded: Loaded| {
            Ok(WebhookPage {
                deliveries: deliveries_page(tx, principal, &loaded, &start).await?,
                webhook: shown(&loaded.webhook, loaded.subject.name_for(principal), self.clock.now()),
            })
        })
        .await
    }

    /// Queues a test message to a webhook.
    pub async fn test_webhook(
        &self,
        request: &Request<'_>,
        path: WebhookPath<'_>,
        input: NoInput<'_>,
    ) -> Result<api::WebhookDelivery, Error> {
        self.change(Operation::TestWebhook, request, path, async |act, principal, loaded: Loaded| {
            let webhook = loaded.webhook;
            act.matches_list()?;
            input.check()?;
            unless_disabled(&webhook)?;
            self.admit_test(principal)?;
            let event =
                Event::WebhookTested { webhook_id: webhook.id.clone(), name: webhook.name.to_string() };
            act.audit(&event, about(&webhook)).await?;
            let message = Notification {
                id: message_id(self.random.as_ref()),
                created_at: act.now,
                number: None,
                event: event.action(),
                client_id: None,
                client_name: None,
                environment: None,
                recipients: Vec::new(),
                actor_name: Some(act.by.actor.name().to_owned()),
                actor_kind: Some(act.by.actor.kind().to_owned()),
                source: act.by.origin.stored.clone(),
                reason: None,
                details: event.details(),
            };
            act.tx.insert_notification(&message).await?;
            let id: String = DeliveryId::generate(self.random.as_ref()).into();
            let delivery = NewDelivery {
                id: id.clone(),
                notification: &message.id,
                channel: Channel::Webhook,
                recipient: webhook.id.as_str(),
                cause: &message.id,
                class: Class::Today,
                created_at: act.now,
                not_after: None,
            };
            act.tx.insert_delivery(&delivery).await?;
            self.posting.end_pause(&webhook.id);
            delivery_of(act.tx, &webhook, &id).await
        })
        .await
    }

    /// Queues a delivery again under its id, whatever became of it.
    pub async fn replay_delivery(
        &self,
        request: &Request<'_>,
        path: WebhookPath<'_>,
        delivery: &str,
        input: NoInput<'_>,
    ) -> Result<api::WebhookDelivery, Error> {
        self.change(Operation::ReplayDelivery, request, path, async |act, principal, loaded: Loaded| {
            let Loaded { webhook, subject } = loaded;
            let id = DeliveryId::parse(delivery).map_err(|_| Problem::not_found())?;
            let before = act.tx.delivery_of(&webhook.id, id.as_str()).await?;
            before.filter(|row| may_see(principal, &subject, row)).ok_or_else(Problem::not_found)?;
            act.matches_list()?;
            input.check()?;
            unless_disabled(&webhook)?;
            self.admit_test(principal)?;
            act.tx.replay_delivery(id.as_str(), act.now).await?;
            act.audit(&Event::WebhookReplayed { delivery_id: id.clone() }, about(&webhook)).await?;
            self.posting.end_pause(&webhook.id);
            delivery_of(act.tx, &webhook, id.as_str()).await
        })
        .await
    }

    /// Refuses more requests to URLs than an account can need.
    fn admit_test(&self, principal: &Principal) -> Result<(), Problem> {
        if self.webhook_tests.admit(principal.user(), Instant::now()) {
            return Ok(());
        }
        let text = "Your account has sent many tests and replays lately. Nothing was changed. Try again in 2 seconds.";
        Err(Problem::new(Code::TooManyRequests, text).retry_after(2))
    }
}

async fn delivery_of(tx: &mut Tx, webhook: &Webhook, id: &str) -> Result<api::WebhookDelivery, Error> {
    let row = tx.delivery_of(&webhook.id, id).await?;
    shown_delivery(row.ok_or_else(|| Error::internal("the delivery that was queued is missing"))?)
}
