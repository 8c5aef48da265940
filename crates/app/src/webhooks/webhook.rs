//! Webhooks: list, read, delete.

use super::{
    shown::{about, facts, shown},
    subject::{Loaded, MANAGE, NewWebhook, WebhookPath, manageable, names_of},
};
use crate::{
    app::App,
    error::Error,
    frame::{
        cursor::{ListQuery, Scan},
        principal::Principal,
        request::{Deletion, Request},
        versioned::Versioned,
    },
};
use crossfade_core::{
    ClientId, Code, Operation, Problem, PropertyId,
    api::{self, Page},
    audit::Event,
    text::Name,
    webhook::DisabledAs,
};
use crossfade_store::Webhook;
use std::collections::HashMap;

/// A webhook with its deliveries, for a page.
#[derive(Clone, Debug)]
pub struct WebhookPage {
    /// The webhook, with its version.
    pub webhook: Versioned<api::Webhook>,
    /// Its deliveries, newest first.
    pub deliveries: Page<api::WebhookDelivery>,
}

/// Returns the name of the client or property of a webhook.
fn name_among<'a>(names: &'a HashMap<String, Name>, webhook: &Webhook) -> Option<&'a Name> {
    let client = webhook.client_id.as_ref().map(ClientId::as_str);
    names.get(client.or(webhook.property_id.as_ref().map(PropertyId::as_str))?)
}

impl App {
    /// Returns the webhooks that the principal can manage, oldest first.
    pub async fn list_webhooks(
        &self,
        principal: &Principal,
        query: &ListQuery,
    ) -> Result<Page<api::Webhook>, Error> {
        let start = self.cursors.start("webhooks", query)?;
        self.view(Operation::ListWebhooks, principal, NewWebhook, async |tx, principal, ()| {
            let key = |row: &Webhook| (row.created_at.as_micros(), row.id.to_string());
            let mut scan = Scan::new(&start, false);
            while let Some(from) = scan.next() {
                let rows = tx.webhooks(&from).await?;
                scan.read(rows.len(), rows.last().map(key));
                manageable(tx, principal, rows).await?.into_iter().for_each(|row| scan.keep(row));
            }
            let (rows, next_cursor) = scan.rows(key)?;
            let (names, now) = (names_of(tx, principal, rows.iter()).await?, self.clock.now());
            let shown = |row: &Webhook| shown(row, name_among(&names, row), now).object;
            Ok(Page { items: rows.iter().map(shown).collect(), next_cursor })
        })
        .await
    }

    /// Returns the number of webhooks that the principal can manage and that were disabled because of their receivers, and
    /// of those that have failed for a while.
    pub async fn count_broken_webhooks(&self, principal: &Principal) -> Result<(usize, usize), Error> {
        if !principal.may_somewhere(MANAGE) {
            return Ok((0, 0));
        }
        self.read(async |tx| {
            let now = self.clock.now();
            let principal = &principal.refreshed(tx, now).await?;
            let webhooks = tx.all_webhooks().await?.into_iter().flatten();
            let is_broken = |webhook: &Webhook| {
                webhook.disabled.is_some_and(|(_, reason)| reason != DisabledAs::Disabled)
            };
            let is_failing = |webhook: &Webhook| {
                webhook.disabled.is_none() && webhook.failing.is_some_and(|failing| failing.is_lasting(now))
            };
            let told = webhooks.filter(|webhook| is_broken(webhook) || is_failing(webhook)).collect();
            let told = manageable(tx, principal, told).await?;
            let failing = told.iter().filter(|webhook| is_failing(webhook)).count();
            Ok((told.len() - failing, failing))
        })
        .await
    }

    /// Returns a webhook and its version.
    pub async fn read_webhook(
        &self,
        principal: &Principal,
        path: WebhookPath<'_>,
    ) -> Result<Versioned<api::Webhook>, Error> {
        self.view(Operation::ReadWebhook, principal, path, async |_, principal, loaded: Loaded| {
            Ok(shown(&loaded.webhook, loaded.subject.name_for(principal), self.clock.now()))
        })
        .await
    }

    /// Deletes a webhook and its deliveries.
    pub async fn delete_webhook(
        &self,
        request: &Request<'_>,
        path: WebhookPath<'_>,
        deletion: Deletion<'_>,
    ) -> Result<(), Error> {
        self.change(Operation::DeleteWebhook, request, path, async |act, _, loaded: Loaded| {
            let webhook = loaded.webhook;
            act.matches(webhook.version)?;
            deletion.check("confirm_name", &[webhook.name.as_str()], "the name of the webhook")?;
            if act.tx.client_owned_by(&webhook.id).await?.is_some() {
                let text = "The webhook is an owner of a client. Nothing was changed. Remove it from the owners first.";
                return Err(Problem::new(Code::InUse, text).into());
            }
            act.tx.delete_webhook(&webhook.id).await?;
            let event = Event::WebhookDeleted { webhook: facts(&self.posting.poster, &webhook) };
            act.audit(&event, about(&webhook)).await
        })
        .await
    }
}
