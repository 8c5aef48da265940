//! The list of providers, and the form that creates one.

use super::{super::clients::belongs_to_form, AUTHENTICATIONS, authentication, list_of, without_secret};
use crate::{
    console::{
        error::status,
        form::{Fields, Form},
        layout::{Layout, Section},
        message::redirect_with,
        page, page_with,
        session::{Fresh, SignedIn},
    },
    reply::{Refused, Reply},
};
use askama::Template;
use axum::extract::RawQuery;
use crossfade_app::{Input, ListQuery};
use crossfade_core::{
    Timestamp,
    api::{CreateProvider, Provider},
};

#[derive(Template)]
#[template(path = "console/providers/list.html")]
struct ListPage {
    layout: Layout,
    now: Timestamp,
    providers: Vec<Provider>,
    next: String,
    is_first: bool,
    create: Form,
}

const PATH: &str = "/console/providers";

impl ListPage {
    async fn load(signed: &SignedIn, query: &Fields) -> Result<Self, Refused> {
        let cursor = query.filled("cursor").map(str::to_owned);
        let is_first = cursor.is_none();
        let found = signed.app.list_providers(signed.principal(), &ListQuery { limit: None, cursor }).await?;
        let fields = ["name", "issuer", "client_id", "client_secret", "domains"];
        let fields = fields.iter().fold(Fields::default(), |fields, name| fields.with(name, ""));
        Ok(Self {
            layout: signed.layout(Section::People, "Single sign-on").crumb("People", "/console/people"),
            now: signed.session.now,
            providers: found.items,
            next: found.next_cursor.map(|cursor| format!("{PATH}?cursor={cursor}")).unwrap_or_default(),
            is_first,
            create: Form::new("create", fields.with("client_authentication", "client_secret_basic")),
        })
    }

    fn first(&self) -> &'static str {
        if self.is_first { "" } else { PATH }
    }
}

pub(in crate::console) async fn show(signed: SignedIn, RawQuery(raw): RawQuery) -> Reply {
    let query = Fields::parse(raw.unwrap_or_default().as_bytes());
    let mut shown = ListPage::load(&signed, &query).await?;
    let done =
        (signed.said() == "deleted").then_some("The provider was deleted, and its sessions have ended.");
    shown.layout = shown.layout.done(done);
    Ok(page(&shown))
}

pub(in crate::console) async fn create(Fresh { signed, fields }: Fresh) -> Reply {
    let body = CreateProvider {
        name: fields.text("name").to_owned(),
        issuer: fields.text("issuer").to_owned(),
        client_id: fields.text("client_id").to_owned(),
        client_secret: fields.filled("client_secret").map(str::to_owned),
        client_authentication: authentication(&fields),
        domains: list_of(&fields, "domains"),
        ..CreateProvider::default()
    };
    match signed.app.create_provider(&signed.request(), Input::Value(body)).await {
        Ok(created) => Ok(redirect_with(&format!("{PATH}/{}", created.object.id), "created")),
        Err(error) if belongs_to_form(&error.problem) => {
            let answer = status(&error.problem);
            let mut shown = ListPage::load(&signed, &Fields::default()).await?;
            shown.create = Form::new("create", without_secret(fields)).refused(error.problem);
            Ok(page_with(answer, &shown))
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::samples, *};
    use crate::console::crossfade::samples::now;
    use crossfade_core::Problem;

    #[test]
    fn the_list_names_each_provider_and_a_refused_issuer_stays() {
        let sample = |create: Form| ListPage {
            layout: Layout::sample(Section::People, "Single sign-on"),
            now: now(),
            providers: vec![samples::provider()],
            next: String::new(),
            is_first: true,
            create,
        };
        let html = sample(Form::default()).render().unwrap();
        assert!(html.contains("&#60;Example&#62;") && html.contains("https://id.example.com"), "{html}");
        let fields = Fields::default().with("issuer", "http://id").with("client_secret", "");
        let refused =
            Form::new("create", fields).refused(Problem::invalid("issuer", "must start with https://"));
        let html = sample(refused).render().unwrap();
        assert!(html.contains("value=\"http://id\"") && html.contains("Issuer must start"), "{html}");
        let empty = ListPage { providers: Vec::new(), ..sample(Form::default()) }.render().unwrap();
        assert!(empty.contains("No providers yet"));
    }
}
