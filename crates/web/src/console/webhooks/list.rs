//! The list of webhooks, and the form that creates one.

use super::{super::clients::belongs_to_form, About, chosen, environments, format_name, kinds, one};
use crate::{
    console::{
        error::status,
        form::{Fields, Form},
        layout::{Layout, Section},
        offers, page, page_with,
        session::{Fresh, SignedIn},
    },
    reply::{Refused, Reply},
};
use askama::Template;
use axum::extract::RawQuery;
use crossfade_app::{Error, Input, ListQuery, OfferedClients};
use crossfade_core::{
    Problem, PropertyId, Timestamp,
    api::{self, CreateWebhook},
    roles::Permission,
    webhook::WebhookFormat,
};

#[derive(Template)]
#[template(path = "console/webhooks/list.html")]
struct ListPage {
    layout: Layout,
    now: Timestamp,
    webhooks: Vec<Line>,
    next: String,
    is_first: bool,
    may_create: bool,
    create: Form,
    /// What a webhook can get messages about: value and label.
    scopes: Vec<(String, String)>,
    /// Clients that the person can choose.
    offered: OfferedClients,
    environments: Vec<(String, String)>,
    kinds: Vec<(&'static str, &'static str)>,
}

/// A webhook as it is shown.
struct Line {
    webhook: api::Webhook,
    /// Host of its URL. The rest can be a secret.
    host: String,
    format: &'static str,
    /// Client or property that it gets messages about; `None` for the platform.
    about: Option<About>,
}

impl Line {
    fn new(webhook: api::Webhook) -> Self {
        let rest = webhook.url.split_once("://").map_or("", |(_, rest)| rest);
        let host = rest.split(['/', '?']).next().unwrap_or_default().to_owned();
        Self { host, format: format_name(webhook.format), about: About::of(&webhook), webhook }
    }
}

/// Formats on offer.
const FORMATS: [(&str, &str); 4] = [
    ("standard", "Standard Webhooks (JSON, for programs)"),
    ("slack", "Slack"),
    ("teams", "Microsoft Teams"),
    ("pagerduty", "PagerDuty"),
];
const PATH: &str = "/console/webhooks";
/// Number of properties on offer.
const MAX_OFFERED: &str = "200";

impl ListPage {
    async fn load(signed: &SignedIn, query: &Fields) -> Result<Self, Refused> {
        let cursor = query.filled("cursor").map(str::to_owned);
        let is_first = cursor.is_none();
        let asked = ListQuery { limit: None, cursor };
        let (app, principal) = (&signed.app, signed.principal());
        let found = app.list_webhooks(principal, &asked).await?;
        let mut scopes = Vec::new();
        if principal.may_on_platform(Permission::WebhookManage) {
            scopes.push(("platform".to_owned(), "All clients".to_owned()));
            let asked = ListQuery { limit: Some(MAX_OFFERED.to_owned()), cursor: None };
            let properties = app.list_properties(principal, &asked).await?.items;
            let property = |it: api::Property| (it.id.to_string(), format!("Property {}", it.name));
            scopes.extend(properties.into_iter().map(property));
        }
        scopes.push(("client".to_owned(), "One client".to_owned()));
        let may_create = principal.may_somewhere(Permission::WebhookManage);
        let offered = match may_create {
            true => app.clients_for_webhooks(principal).await?,
            false => OfferedClients::default(),
        };
        let client = query.filled("client").unwrap_or_default();
        let first = if client.is_empty() { scopes[0].0.as_str() } else { "client" };
        let fields = ["name", "url", "routing_key", "confirm_name"];
        let fields = fields.iter().fold(Fields::default(), |fields, name| fields.with(name, ""));
        let fields = fields.with("format", "standard").with("scope", first).with("client_id", client);
        Ok(Self {
            layout: signed.layout(Section::Webhooks, "Webhooks"),
            now: signed.session.now,
            webhooks: found.items.into_iter().map(Line::new).collect(),
            next: found.next_cursor.map(|cursor| format!("{PATH}?cursor={cursor}")).unwrap_or_default(),
            is_first,
            may_create,
            create: Form::new("create", fields),
            scopes,
            offered,
            environments: environments(app.list_environments(principal).await?),
            kinds: kinds(),
        })
    }

    /// Returns what the field for a client accepts.
    fn client_hint(&self) -> &'static str {
        offers::hint(self.offered.has_more)
    }

    fn first(&self) -> &'static str {
        if self.is_first { "" } else { PATH }
    }
}

pub(in crate::console) async fn show(signed: SignedIn, RawQuery(raw): RawQuery) -> Reply {
    let query = Fields::parse(raw.unwrap_or_default().as_bytes());
    let mut shown = ListPage::load(&signed, &query).await?;
    let done = (signed.said() == "deleted").then_some("The webhook was deleted, with its deliveries.");
    shown.layout = shown.layout.done(done);
    Ok(page(&shown))
}

async fn body(signed: &SignedIn, fields: &Fields) -> Result<CreateWebhook, Error> {
    let (property_id, client_id) = match fields.text("scope") {
        "platform" => (None, None),
        "client" => {
            let typed = fields.text("client_id");
            (None, Some(signed.app.client_for_webhook(signed.principal(), typed).await?))
        }
        property => {
            let id = PropertyId::parse(property);
            (Some(id.map_err(|_| Problem::invalid("scope", "must be one of the choices"))?), None)
        }
    };
    let format = WebhookFormat::parse(fields.text("format"));
    Ok(CreateWebhook {
        name: fields.text("name").to_owned(),
        url: fields.filled("url").map(str::to_owned),
        property_id,
        client_id,
        environments: chosen(fields, "environments"),
        events: chosen(fields, "events"),
        format: format.ok_or_else(|| Problem::invalid("format", "must be one of the choices"))?,
        routing_key: fields.filled("routing_key").map(str::to_owned),
        confirm_name: fields.text("confirm_name").to_owned(),
    })
}

pub(in crate::console) async fn create(Fresh { signed, fields }: Fresh) -> Reply {
    let created = match body(&signed, &fields).await {
        Ok(body) => signed.app.create_webhook(&signed.request(), Input::Value(body)).await,
        Err(error) => Err(error),
    };
    match created {
        Ok(created) => one::show_secret(&signed, &created.object).await,
        Err(error) if belongs_to_form(&error.problem) => {
            let answer = status(&error.problem);
            let mut shown = ListPage::load(&signed, &Fields::default()).await?;
            // A key is not sent back.
            let mut fields = fields;
            while fields.take("routing_key").is_some() {}
            shown.create = Form::new("create", fields.with("routing_key", "")).refused(error.problem);
            Ok(page_with(answer, &shown))
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::crossfade::samples;

    fn sample() -> ListPage {
        ListPage {
            layout: Layout::sample(Section::Webhooks, "Webhooks"),
            now: samples::now(),
            webhooks: vec![Line::new(one::samples::webhook())],
            next: String::new(),
            is_first: true,
            may_create: true,
            create: Form::new("create", Fields::default().with("format", "standard").with("url", "")),
            scopes: vec![("platform".into(), "All clients".into())],
            offered: OfferedClients::default(),
            environments: vec![("staging".into(), "Staging".into())],
            kinds: kinds(),
        }
    }

    #[test]
    fn the_list_names_each_webhook_and_a_refused_url_stays() {
        let html = sample().render().unwrap();
        assert!(html.contains("&#60;Rotations&#62;") && html.contains("hooks.example.com"), "{html}");
        assert!(!html.contains("canary"), "the path of a URL can be a secret: {html}");
        let empty = ListPage { webhooks: Vec::new(), ..sample() }.render().unwrap();
        assert!(empty.contains("No webhooks yet"));
        let fields = Fields::default().with("url", "http://127.0.0.1/").with("format", "standard");
        let create = Form::new("create", fields).refused(Problem::invalid("url", "must start with https://"));
        let html = ListPage { create, ..sample() }.render().unwrap();
        assert!(html.contains("value=\"http://127.0.0.1/\"") && html.contains("URL must start"), "{html}");
    }
}
