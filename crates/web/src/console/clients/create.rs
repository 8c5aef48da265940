//! Creates a client.

use super::{
    environment::{ShownValue, ValuesPage, belongs_to_form},
    place::Place,
    settings::owners,
};
use crate::console::{
    error::status,
    form::{Fields, Form},
    layout::{Layout, Section},
    message::redirect_with,
    page, page_with,
    session::{Fresh, SignedIn},
};
use crate::reply::{Refused, Reply};
use askama::Template;
use axum::{extract::Query, http::StatusCode};
use crossfade_app::{Input, ListQuery};
use crossfade_core::{
    Problem, PropertyId, Timestamp,
    api::{self, CreateClient},
    roles::Permission,
};
use serde::Deserialize;

#[derive(Template)]
#[template(path = "console/clients/new.html")]
struct NewPage {
    layout: Layout,
    form: Form,
    properties: Vec<(String, String)>,
    environments: Vec<api::Environment>,
    may_create_property: bool,
    /// Whether an environment is in front of another issuer, which gives the client_id.
    has_fronts: bool,
    /// Whether one of them learns secrets.
    has_adopting: bool,
}

async fn load(signed: &SignedIn, form: Form) -> Result<NewPage, Refused> {
    let (app, principal) = (&signed.app, signed.principal());
    let all = ListQuery { limit: Some("200".into()), cursor: None };
    let environments = app.list_environments(principal).await?;
    let properties = app.list_properties(principal, &all).await?.items;
    Ok(NewPage {
        layout: signed.layout(Section::Clients, "Create client").crumb("Clients", "/console/clients"),
        form,
        properties: properties.into_iter().map(|it| (it.id.to_string(), it.name)).collect(),
        has_fronts: environments.iter().any(|it| it.upstream.is_some()),
        has_adopting: environments.iter().any(|it| adopts(it, signed.session.now)),
        environments,
        may_create_property: principal.may_somewhere(Permission::PropertyManage),
    })
}

/// Whether an environment learns secrets at `now`.
pub(super) fn adopts(environment: &api::Environment, now: Timestamp) -> bool {
    environment.adopt_until.is_some_and(|until| now < until)
}

/// What a link to the form fills in.
#[derive(Deserialize, Default)]
pub(super) struct Asked {
    environment: Option<String>,
    client_id: Option<String>,
}

pub(super) async fn show(signed: SignedIn, Query(asked): Query<Asked>) -> Reply {
    if !signed.principal().may_somewhere(Permission::ClientManage) {
        return Err(Problem::not_found().into());
    }
    let environment = asked.environment.unwrap_or_else(|| "development".to_owned());
    let fields = Fields::default().with("environments", environment).with("name", "");
    let fields = fields.with("client_id", asked.client_id.unwrap_or_default());
    Ok(page(&load(&signed, Form::new("", fields)).await?))
}

pub(super) async fn submit(Fresh { signed, fields }: Fresh) -> Reply {
    match created(&signed, &fields).await {
        Ok(client) => {
            let id = client.id.to_string();
            let first = client.registrations.first().map(|it| it.environment.clone()).unwrap_or_default();
            let next = format!("/console/clients/{id}/environments/{first}/credentials");
            let secrets = client.registrations.into_iter().map(|it| (it.environment.clone(), it)).collect();
            delivered(&signed, &id, secrets, next, "created").await
        }
        Err(error) if belongs_to_form(&error.problem) => {
            let problem = error.problem;
            Ok(page_with(status(&problem), &load(&signed, Form::new("", fields).refused(problem)).await?))
        }
        Err(error) => Err(error.into()),
    }
}

async fn created(signed: &SignedIn, fields: &Fields) -> Result<api::Client, crossfade_app::Error> {
    let property = PropertyId::parse(fields.text("property_id")).map_err(|_| {
        Problem::invalid("property_id", "must be selected. If there are no properties yet, create one first")
    })?;
    let body = CreateClient {
        name: fields.text("name").to_owned(),
        property_id: property,
        description: fields.filled("description").map(str::to_owned),
        owners: owners(fields.text("owners")),
        environments: fields.all("environments").map(str::to_owned).collect(),
        client_id: fields.filled("client_id").map(str::to_owned),
        adopt: fields.ticked("adopt"),
        require_value: false,
    };
    Ok(signed.app.create_client(&signed.request(), Input::Value(body)).await?.object)
}

/// Redirects to the first secrets. If they are not stored, the response itself contains them.
pub(super) async fn delivered(
    signed: &SignedIn,
    client: &str,
    registrations: Vec<(String, api::Registration)>,
    next: String,
    done: &'static str,
) -> Reply {
    let place = Place::load(signed, client).await?;
    let unstored = |slug: &str| place.environments.iter().any(|it| it.slug == slug && it.show_once);
    let one = |(slug, registration): (String, api::Registration)| {
        let value = registration.secret?.value.filter(|_| unstored(&slug))?;
        let badge = place.badges.get(&slug)?.badge.clone();
        Some(ShownValue { badge, client_id: registration.client_id.to_string(), value })
    };
    let secrets: Vec<_> = registrations.into_iter().filter_map(one).collect();
    if secrets.is_empty() {
        return Ok(redirect_with(&next, done));
    }
    let sentence = format!("{} has a new client_id and a new secret.", place.client.name);
    let shown = ValuesPage { layout: place.layout(signed), sentence, once: true, secrets, next };
    Ok(page_with(StatusCode::CREATED, &shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_property_the_page_says_what_comes_first() {
        let new = NewPage {
            layout: Layout::sample(Section::Clients, "Create client"),
            form: Form::default(),
            properties: Vec::new(),
            environments: Vec::new(),
            may_create_property: false,
            has_fronts: false,
            has_adopting: false,
        };
        assert!(new.render().unwrap().contains("No properties yet"));
    }
}
