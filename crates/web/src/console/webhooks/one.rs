//! The page of a webhook: its settings, its deliveries, and what can be done with it.

use super::{super::clients::belongs_to_form, About, chosen, environments, format_name, kinds, why_disabled};
use crate::{
    console::{
        error::status,
        form::{Fields, Form},
        layout::{Layout, Section},
        message::redirect_with,
        page, page_with,
        session::{Fresh, SignedIn, Submitted},
    },
    reply::{Refused, Reply},
};
use askama::Template;
use axum::{
    extract::{Path, RawQuery},
    response::Response,
};
use crossfade_app::{Deletion, Input, ListQuery, NO_INPUT, Request, WebhookPage, WebhookPath};
use crossfade_core::{
    Problem, Timestamp,
    api::{self, DeliveryStatus, RotateWebhookSecret, UpdateWebhook, WebhookDelivery},
    webhook::WebhookFormat,
};

#[derive(Template)]
#[template(path = "console/webhooks/one.html")]
struct OnePage {
    layout: Layout,
    now: Timestamp,
    webhook: api::Webhook,
    /// Client or property that it gets messages about; `None` for the platform.
    about: Option<About>,
    /// Why it is disabled.
    disabled: Option<&'static str>,
    format: &'static str,
    deliveries: Vec<Line>,
    next: String,
    is_first: bool,
    settings: Form,
    rotate: Form,
    delete: Form,
    environments: Vec<(String, String)>,
    kinds: Vec<(&'static str, &'static str)>,
    /// A signing secret that was just generated, shown only this once.
    secret: Option<String>,
}

/// When a change must be confirmed.
const REQUIRED: &str =
    "Required to change the URL, to select more, or to disable a webhook that is an owner of a client.";

/// A delivery as it is shown.
struct Line {
    delivery: WebhookDelivery,
    state: String,
    /// Class of the badge of the state.
    kind: &'static str,
    /// What the last attempt led to.
    answer: String,
}

impl Line {
    fn new(delivery: WebhookDelivery) -> Self {
        let (state, kind) = state(&delivery);
        Self { answer: answer(&delivery), state, kind, delivery }
    }
}

fn path(id: &str) -> String {
    format!("/console/webhooks/{id}")
}

impl OnePage {
    async fn load(signed: &SignedIn, id: &str, cursor: Option<String>) -> Result<Self, Refused> {
        let is_first = cursor.is_none();
        let query = ListQuery { limit: None, cursor };
        let found = signed.app.webhook_page(signed.principal(), WebhookPath(id), &query).await?;
        let WebhookPage { webhook, deliveries } = found;
        let environments = environments(signed.app.list_environments(signed.principal()).await?);
        let version = webhook.version.to_string();
        let webhook = webhook.object;
        let mut fields = Fields::default()
            .with("version", version.clone())
            .with("name", webhook.name.clone())
            .with("url", webhook.url.clone())
            .with("routing_key", "")
            .with("confirm_name", "");
        if webhook.enabled {
            fields = fields.with("enabled", "true");
        }
        for slug in &webhook.environments {
            fields = fields.with("environments", slug.clone());
        }
        for event in &webhook.events {
            fields = fields.with("events", event.clone());
        }
        let next = deliveries.next_cursor;
        Ok(Self {
            layout: signed.layout(Section::Webhooks, &webhook.name).crumb("Webhooks", "/console/webhooks"),
            now: signed.session.now,
            about: About::of(&webhook),
            disabled: webhook.disabled_as.as_ref().map(why_disabled),
            format: format_name(webhook.format),
            deliveries: deliveries.items.into_iter().map(Line::new).collect(),
            next: next.map(|cursor| format!("{}?cursor={cursor}#deliveries", path(id))).unwrap_or_default(),
            is_first,
            settings: Form::new("settings", fields),
            rotate: Form::new(
                "rotate",
                Fields::default().with("version", version.clone()).with("overlap_hours", "24"),
            ),
            delete: Form::new("delete", Fields::default().with("version", version).with("confirm_name", "")),
            environments,
            kinds: kinds(),
            secret: None,
            webhook,
        })
    }

    fn page_path(&self) -> String {
        path(self.webhook.id.as_str())
    }

    fn first(&self) -> String {
        if self.is_first { String::new() } else { self.page_path() }
    }

    fn is_pagerduty(&self) -> bool {
        self.webhook.format == WebhookFormat::Pagerduty
    }

    /// Returns what to type to redirect messages.
    fn confirm_hint(&self) -> String {
        match &self.about {
            Some(about) => format!("{REQUIRED} Enter {}.", about.name),
            None => format!("{REQUIRED} Enter platform."),
        }
    }
}

/// Returns what the last attempt of a delivery led to.
fn answer(delivery: &WebhookDelivery) -> String {
    match (delivery.last_status, &delivery.last_error) {
        (_, Some(said)) => said.clone(),
        (Some(code), None) => format!("status {code}"),
        (None, None) => String::new(),
    }
}

/// Returns the state of a delivery and the class of its badge.
fn state(delivery: &WebhookDelivery) -> (String, &'static str) {
    match (delivery.status, delivery.abandoned_as.as_deref()) {
        (DeliveryStatus::Sent, _) => ("Sent".to_owned(), "current"),
        (DeliveryStatus::Queued, _) => ("Queued".to_owned(), ""),
        (DeliveryStatus::Abandoned, reason) => {
            (format!("Abandoned: {}", reason.unwrap_or_default().replace('_', " ")), "danger")
        }
    }
}

pub(in crate::console) async fn show(
    Path(id): Path<String>,
    signed: SignedIn,
    RawQuery(raw): RawQuery,
) -> Reply {
    let query = Fields::parse(raw.unwrap_or_default().as_bytes());
    let mut shown = OnePage::load(&signed, &id, query.filled("cursor").map(str::to_owned)).await?;
    let done = match signed.said() {
        "saved" => Some("The webhook was changed."),
        "tested" => Some("A test message was queued. It is listed under Deliveries."),
        "replayed" => Some("The delivery was queued again under its ID."),
        _ => None,
    };
    shown.layout = shown.layout.done(done);
    Ok(page(&shown))
}

/// Returns the page of a webhook with a signing secret that was just generated.
pub(super) async fn show_secret(signed: &SignedIn, webhook: &api::Webhook) -> Reply {
    let mut shown = OnePage::load(signed, webhook.id.as_str(), None).await?;
    shown.secret = webhook.signing_secret.clone();
    Ok(page(&shown))
}

pub(in crate::console) async fn update(Path(id): Path<String>, Fresh { signed, fields }: Fresh) -> Reply {
    let body = UpdateWebhook {
        name: Some(fields.text("name").to_owned()),
        url: Some(fields.text("url").to_owned()),
        environments: Some(chosen(&fields, "environments")),
        events: Some(chosen(&fields, "events")),
        routing_key: fields.filled("routing_key").map(str::to_owned),
        enabled: Some(fields.ticked("enabled")),
        confirm_name: fields.filled("confirm_name").map(str::to_owned),
    };
    let request = Request { if_match: fields.if_match(), ..signed.request() };
    match signed.app.update_webhook(&request, WebhookPath(&id), Input::Value(body)).await {
        Ok(_) => Ok(redirect_with(&path(&id), "saved")),
        Err(error) => {
            let mut fields = fields;
            while fields.take("routing_key").is_some() {}
            let fields = fields.with("routing_key", "");
            again(&signed, &id, error, |shown, problem| {
                shown.settings = Form::new("settings", fields).refused(problem);
            })
            .await
        }
    }
}

pub(in crate::console) async fn rotate_secret(
    Path(id): Path<String>,
    Fresh { signed, fields }: Fresh,
) -> Reply {
    let hours: Option<u64> = fields.text("overlap_hours").trim().parse().ok();
    let body = RotateWebhookSecret {
        overlap_hours: hours.map(Into::into),
        end_running_overlap: fields.ticked("end_running_overlap"),
    };
    let request = Request { if_match: fields.if_match(), ..signed.request() };
    match signed.app.rotate_webhook_secret(&request, WebhookPath(&id), Input::Value(body)).await {
        Ok(rotated) => show_secret(&signed, &rotated.object).await,
        Err(error) => {
            again(&signed, &id, error, |shown, problem| {
                shown.rotate = Form::new("rotate", fields).refused(problem);
            })
            .await
        }
    }
}

pub(in crate::console) async fn test(Path(id): Path<String>, Submitted { signed, .. }: Submitted) -> Reply {
    signed.app.test_webhook(&signed.request(), WebhookPath(&id), NO_INPUT).await?;
    Ok(to(&id, "tested"))
}

pub(in crate::console) async fn replay(
    Path((id, delivery)): Path<(String, String)>,
    Submitted { signed, .. }: Submitted,
) -> Reply {
    signed.app.replay_delivery(&signed.request(), WebhookPath(&id), &delivery, NO_INPUT).await?;
    Ok(to(&id, "replayed"))
}

pub(in crate::console) async fn delete(Path(id): Path<String>, Fresh { signed, fields }: Fresh) -> Reply {
    let request = Request { if_match: fields.if_match(), ..signed.request() };
    let typed = Deletion::Typed(fields.text("confirm_name"));
    match signed.app.delete_webhook(&request, WebhookPath(&id), typed).await {
        Ok(()) => Ok(redirect_with("/console/webhooks", "deleted")),
        Err(error) => {
            again(&signed, &id, error, |shown, problem| {
                shown.delete = Form::new("delete", fields).refused(problem);
            })
            .await
        }
    }
}

fn to(id: &str, done: &'static str) -> Response {
    redirect_with(&path(id), done)
}

async fn again(
    signed: &SignedIn,
    id: &str,
    error: crossfade_app::Error,
    put: impl FnOnce(&mut OnePage, Problem),
) -> Reply {
    if !belongs_to_form(&error.problem) {
        return Err(error.into());
    }
    let answer = status(&error.problem);
    let mut shown = OnePage::load(signed, id, None).await?;
    put(&mut shown, error.problem);
    Ok(page_with(answer, &shown))
}

#[cfg(test)]
pub(super) mod samples {
    use crate::console::crossfade::samples::now;
    use crossfade_core::{WebhookId, api, webhook::WebhookFormat};

    pub(in crate::console::webhooks) fn webhook() -> api::Webhook {
        api::Webhook {
            id: WebhookId::parse("wh_0000000000000000000001").unwrap(),
            name: "<Rotations>".into(),
            url: "https://hooks.example.com/services/canary".into(),
            property_id: None,
            property_name: None,
            client_id: None,
            client_name: None,
            environments: vec!["staging".into()],
            events: Vec::new(),
            format: WebhookFormat::Standard,
            enabled: true,
            disabled_at: None,
            disabled_as: None,
            failing_since: Some(now()),
            previous_secret_expires_at: None,
            created_at: now(),
            signing_secret: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::crossfade::samples::now;
    use crossfade_core::{ClientId, DeliveryId, webhook::DisabledAs};

    fn sample() -> OnePage {
        let delivery = |number: u32, status, said: Option<&str>| WebhookDelivery {
            id: DeliveryId::parse(&format!("del_{number:022}")).unwrap(),
            event: "secret.rotated".into(),
            number: Some(1),
            client_id: None,
            environment: Some("staging".into()),
            status,
            abandoned_as: (status == DeliveryStatus::Abandoned).then(|| "gave_up".into()),
            attempts: 2,
            created_at: now(),
            next_attempt_at: None,
            sent_at: None,
            last_status: said.is_none().then_some(200),
            last_duration_ms: Some(12),
            last_error: said.map(str::to_owned),
        };
        OnePage {
            layout: Layout::sample(Section::Webhooks, "<Rotations>"),
            now: now(),
            webhook: samples::webhook(),
            about: About::of(&api::Webhook {
                client_id: Some(ClientId::parse("cl_0000000000000000000001").unwrap()),
                client_name: Some("Billing".into()),
                ..samples::webhook()
            }),
            disabled: None,
            format: "Standard Webhooks",
            deliveries: vec![
                Line::new(delivery(1, DeliveryStatus::Sent, None)),
                Line::new(delivery(2, DeliveryStatus::Abandoned, Some("refused address"))),
            ],
            next: String::new(),
            is_first: true,
            settings: Form::new("settings", Fields::default().with("name", "<Rotations>")),
            rotate: Form::new("rotate", Fields::default().with("overlap_hours", "24")),
            delete: Form::new("delete", Fields::default()),
            environments: vec![("staging".into(), "Staging".into())],
            kinds: kinds(),
            secret: None,
        }
    }

    #[test]
    fn the_page_shows_deliveries_and_a_new_secret_once() {
        let html = sample().render().unwrap();
        assert!(html.contains("del_0000000000000000000001") && html.contains("status 200"), "{html}");
        assert!(html.contains("Abandoned: gave up") && html.contains("refused address"), "{html}");
        assert!(html.contains("Enter Billing.") && !html.contains("whsec_"), "{html}");
        let html = OnePage { secret: Some("whsec_x".into()), ..sample() }.render().unwrap();
        assert!(html.contains("whsec_x") && html.contains("data-shown-once"), "{html}");
        let webhook = api::Webhook { enabled: false, ..samples::webhook() };
        let disabled = Some(why_disabled(&DisabledAs::Gone));
        let html = OnePage { webhook, disabled, ..sample() }.render().unwrap();
        assert!(html.contains("is gone (410)") && !html.contains("Send test"), "{html}");
    }
}
