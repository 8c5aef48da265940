//! Creating a webhook.

use super::{
    fields::{check_routing_key, environments, events, routing_key},
    shown::{about, facts, shown},
    subject::{NewWebhook, Subject},
};
use crate::{
    app::App,
    error::Error,
    frame::{
        act::Act,
        principal::Principal,
        request::{Input, Request},
        targets::{ClientPath, PropertyPath, Target},
        versioned::Versioned,
    },
};
use crossfade_core::{
    Code, Operation, Problem, WebhookId,
    api::{self, CreateWebhook},
    audit::Event,
    text::Name,
    webhook::{MAX_WEBHOOKS, PAGERDUTY_URL, WebhookFormat},
};
use crossfade_outbound::SigningSecret;
use crossfade_store::Webhook;

impl App {
    /// Creates a webhook. The reply has its signing secret.
    pub async fn create_webhook(
        &self,
        request: &Request<'_>,
        input: Input<'_, CreateWebhook>,
    ) -> Result<Versioned<api::Webhook>, Error> {
        self.change(Operation::CreateWebhook, request, NewWebhook, async |act, principal, ()| {
            act.matches_list()?;
            let body = input.read()?;
            let subject = subject_of_new(act, principal, &body).await?;
            let environments = environments(act.tx, &body.environments).await?;
            subject.permit(principal, &environments)?;
            let name = Name::parse("name", &body.name)?;
            let url = match (&body.url, body.format) {
                (Some(url), _) => self.url(url)?,
                (None, WebhookFormat::Pagerduty) => PAGERDUTY_URL.to_owned(),
                (None, _) => return Err(Problem::invalid("url", "is required").into()),
            };
            let routing_key = body.routing_key.as_deref().map(routing_key).transpose()?;
            check_routing_key(body.format, routing_key.is_some())?;
            let events = events(&body.events)?;
            subject.confirm(Some(&body.confirm_name))?;
            let (property_id, client_id) = match &subject {
                Subject::Platform => (None, None),
                Subject::Property(property) => (Some(property.id.clone()), None),
                Subject::Client(client) => (None, Some(client.id.clone())),
            };
            if act.tx.count_webhooks(property_id.as_ref(), client_id.as_ref()).await? >= MAX_WEBHOOKS {
                let field = match &subject {
                    Subject::Platform => "name",
                    Subject::Property(_) => "property_id",
                    Subject::Client(_) => "client_id",
                };
                let text = format!("must not get another webhook, because there are {MAX_WEBHOOKS}");
                return Err(Problem::invalid(field, &text).into());
            }
            let id = WebhookId::generate(self.random.as_ref());
            let secret = SigningSecret::generate(self.random.as_ref());
            let webhook = Webhook {
                name,
                url,
                property_id,
                client_id,
                environments,
                events,
                format: body.format,
                signing_secret: self.seal_of_webhook(&id, "signing", secret.bytes())?,
                previous_secret: None,
                previous_until: None,
                routing_key: match routing_key {
                    Some(key) => Some(self.seal_of_webhook(&id, "routing", key.as_bytes())?),
                    None => None,
                },
                created_at: act.now,
                created_by: principal.user().clone(),
                disabled: None,
                failing: None,
                version: 1,
                id,
            };
            act.tx.insert_webhook(&webhook).await?;
            // Also without mail, the place that sends is known from the first webhook on.
            self.may_send_from_here(act).await?;
            let event = Event::WebhookCreated { webhook: facts(&self.posting.poster, &webhook) };
            act.audit(&event, about(&webhook)).await?;
            let mut reply = shown(&webhook, subject.name_for(principal), act.now);
            reply.object.signing_secret = Some(secret.text());
            Ok(reply)
        })
        .await
    }
}

/// Returns what a new webhook gets messages about, if it exists and the principal can read it.
async fn subject_of_new(
    act: &mut Act<'_>,
    principal: &Principal,
    body: &CreateWebhook,
) -> Result<Subject, Error> {
    let read = Operation::ReadClient.access();
    match (&body.property_id, &body.client_id) {
        (Some(_), Some(_)) => {
            Err(Problem::invalid("client_id", "must be omitted when property_id is set").into())
        }
        (Some(property), None) => match PropertyPath(property.as_str()).load(act.tx, principal, read).await {
            Ok(property) => Ok(Subject::Property(property)),
            Err(error) if error.problem.code == Code::NotFound => {
                Err(Problem::invalid("property_id", "must be the id of a property that you can read").into())
            }
            Err(error) => Err(error),
        },
        (None, Some(client)) => match ClientPath(client.as_str()).load(act.tx, principal, read).await {
            Ok(client) => Ok(Subject::Client(client)),
            Err(error) if error.problem.code == Code::NotFound => {
                Err(Problem::invalid("client_id", "must be the id of a client that you can read").into())
            }
            Err(error) => Err(error),
        },
        (None, None) => Ok(Subject::Platform),
    }
}
