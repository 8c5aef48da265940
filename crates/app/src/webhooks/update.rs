//! Changing, disabling and enabling a webhook.

use super::{
    fields::{check_routing_key, environments, events, routing_key},
    shown::{about, facts, shown},
    subject::{Loaded, WebhookPath},
    telling::{OwnerNews, hearing_after},
};
use crate::{
    app::App,
    error::Error,
    frame::{
        principal::Principal,
        request::{Input, Request},
        versioned::Versioned,
    },
};
use crossfade_core::{
    ClientId, Code, Operation, Problem,
    api::{self, UpdateWebhook},
    audit::Event,
    owners::{OwnerChange, is_heard},
    text::Name,
    webhook::{DisabledAs, WebhookFormat},
};
use crossfade_store::{Client, Tx, Webhook};
use tokio::time::Instant;

impl App {
    /// Changes, disables or enables a webhook.
    pub async fn update_webhook(
        &self,
        request: &Request<'_>,
        path: WebhookPath<'_>,
        input: Input<'_, UpdateWebhook>,
    ) -> Result<Versioned<api::Webhook>, Error> {
        self.change(Operation::UpdateWebhook, request, path, async |act, principal, loaded: Loaded| {
            let Loaded { mut webhook, subject } = loaded;
            act.matches(webhook.version)?;
            let body = input.read()?;
            let before = facts(&self.posting.poster, &webhook);
            let (before_choice, earlier_url) =
                ((webhook.environments.clone(), webhook.events.clone()), webhook.url.clone());
            let mut is_wider = false;
            if let Some(name) = &body.name {
                webhook.name = Name::parse("name", name)?;
            }
            let url = body.url.as_deref().map(|url| self.url(url)).transpose()?;
            let is_moved = url.as_ref().is_some_and(|url| *url != webhook.url);
            if let Some(list) = &body.environments {
                let chosen = environments(act.tx, list).await?;
                subject.permit(principal, &chosen)?;
                // Its owners' messages are about every environment.
                if !chosen.is_empty() && act.tx.client_owned_by(&webhook.id).await?.is_some() {
                    let text = "The webhook is an owner of a client, and an owner gets messages about all environments. \
                        Nothing was changed. Remove it from the owners first.";
                    return Err(Problem::new(Code::InUse, text).with_field("environments").into());
                }
                is_wider |= widens(&webhook.environments, &chosen);
                webhook.environments = chosen;
            }
            if let Some(list) = &body.events {
                let chosen = events(list)?;
                is_wider |= widens(&webhook.events, &chosen);
                webhook.events = chosen;
            }
            // An owner gets what it has not chosen, too.
            let narrows = webhook.environments != before_choice.0 || webhook.events != before_choice.1;
            let key = body.routing_key.as_deref().map(routing_key).transpose()?;
            if key.is_some() {
                check_routing_key(webhook.format, true)?;
            }
            let origin = |url: &str| self.posting.poster.destination(url).map(|to| to.origin().to_owned()).ok();
            if let Some(url) = &url
                && webhook.format == WebhookFormat::Pagerduty
                && key.is_none()
                && origin(url) != origin(&webhook.url)
            {
                // The key can be replaced, but not read, so it is sent to no host that it was not given for.
                let what = "is required with the URL of another host";
                return Err(Problem::invalid("routing_key", what).into());
            }
            // Both in one request are two messages, so that none hides the other.
            let is_disabled = body.enabled == Some(false) && webhook.disabled.is_none();
            let moved = (is_moved || key.is_some()).then_some(OwnerChange::Moved);
            let changes: Vec<_> =
                moved.into_iter().chain(is_disabled.then_some(OwnerChange::Disabled)).collect();
            let owned = match changes.is_empty() {
                true => Vec::new(),
                false => act.tx.clients_owned_by(webhook.id.as_str()).await?,
            };
            // More messages leave, they go elsewhere, or an owner gets none any more: the name must be typed (rule 24).
            if is_moved || is_wider || key.is_some() || !owned.is_empty() {
                subject.confirm(body.confirm_name.as_deref())?;
            }
            if is_disabled {
                unless_unheard(act.tx, &webhook, &owned).await?;
            }
            if is_moved || key.is_some() {
                // What the earlier receiver answered says nothing of this one.
                webhook.failing = None;
            }
            webhook.url = url.unwrap_or(webhook.url);
            if let Some(key) = &key {
                webhook.routing_key = Some(self.seal_of_webhook(&webhook.id, "routing", key.as_bytes())?);
            }
            let mut abandoned_deliveries = 0;
            if narrows {
                abandoned_deliveries += act.tx.abandon_unchosen_deliveries(&webhook, act.now).await?;
            }
            if body.enabled.is_some_and(|enabled| enabled == webhook.disabled.is_some()) {
                self.unless_many_switches(principal)?;
            }
            match (body.enabled, webhook.disabled) {
                (Some(true), Some(_)) => (webhook.disabled, webhook.failing) = (None, None),
                (Some(false), None) => {
                    webhook.disabled = Some((act.now, DisabledAs::Disabled));
                    abandoned_deliveries += act.tx.abandon_deliveries_of(&webhook.id, act.now).await?;
                }
                _ => {}
            }
            let after = facts(&self.posting.poster, &webhook);
            if after == before && !is_moved && key.is_none() {
                return Ok(shown(&webhook, subject.name_for(principal), act.now));
            }
            act.tx.update_webhook(&webhook).await?;
            let event = Event::WebhookUpdated {
                before,
                after,
                routing_key_replaced: key.is_some(),
                abandoned_deliveries,
            };
            act.audit(&event, about(&webhook)).await?;
            for change in changes.into_iter().filter(|_| !owned.is_empty()) {
                let news = OwnerNews::read(act.tx, &webhook, change, owned.clone()).await?;
                self.unless_many_messages(principal, news.people())?;
                // A disabled webhook is sent nothing.
                let earlier = (is_moved && webhook.disabled.is_none()).then_some(earlier_url.as_str());
                act.tell_of_owner(self.random.as_ref(), &news, earlier).await?;
            }
            self.posting.end_pause(&webhook.id);
            webhook.version += 1;
            Ok(shown(&webhook, subject.name_for(principal), act.now))
        })
        .await
    }

    /// Refuses a principal who has enabled and disabled too many webhooks at once.
    fn unless_many_switches(&self, principal: &Principal) -> Result<(), Problem> {
        if self.webhook_switches.admit(principal.user(), Instant::now()) {
            return Ok(());
        }
        let text = "Your account enables and disables webhooks too quickly. Nothing was changed. Try again in 30 seconds.";
        Err(Problem::new(Code::TooManyRequests, text).retry_after(30))
    }
}

/// Refuses to disable the last owner of a client that hears of its self-rotations, if the client can rotate its own secret:
/// nobody would hear of that.
async fn unless_unheard(tx: &mut Tx, webhook: &Webhook, owned: &[Client]) -> Result<(), Error> {
    let hearing = hearing_after(tx, webhook, OwnerChange::Disabled, owned).await?;
    let mut with_it = hearing.clone();
    with_it.extend(webhook.format.says_everything().then(|| webhook.id.clone()));
    let is_last =
        |client: &&Client| !is_heard(&client.owners, &hearing) && is_heard(&client.owners, &with_it);
    let last: Vec<&ClientId> = owned.iter().filter(is_last).map(|client| &client.id).collect();
    let registrations = tx.registrations_of(&last).await?;
    let is_on = |client: &&Client| {
        registrations.get(&client.id).is_some_and(|all| all.iter().any(|it| it.self_rotation))
    };
    let Some(client) = owned.iter().find(is_on) else { return Ok(()) };
    let text = format!(
        "The webhook is the only owner of the client {} that is notified, and the client can rotate its own secret. Nothing \
        was changed. Add another owner to the client, or turn its self-rotation off first.",
        client.name
    );
    Err(Problem::new(Code::InUse, text).with_field("enabled").into())
}

/// Whether a choice includes more than the one before it. An empty one is everything.
fn widens<T: PartialEq>(before: &[T], after: &[T]) -> bool {
    !before.is_empty() && (after.is_empty() || after.iter().any(|one| !before.contains(one)))
}
