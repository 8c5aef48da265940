//! Properties: the products and sites that own clients.

use super::{
    clients::belongs_to_form,
    error::status,
    form::{Fields, Form, with_label},
    layout::{Layout, Section},
    message::redirect_with,
    page, page_with,
    paths::own_page,
    session::{Fresh, SignedIn, Submitted},
};
use crate::reply::{Refused, Reply};
use askama::Template;
use axum::{
    extract::{Path, RawQuery},
    response::{IntoResponse, Redirect},
};
use crossfade_app::{IfMatch, Input, ListQuery, NO_INPUT, Numbers, PropertyPath, Request};
use crossfade_core::{Code, Timestamp, api, api::PropertyBody, roles::Permission};

#[derive(Template)]
#[template(path = "console/properties.html")]
struct PropertiesPage {
    layout: Layout,
    now: Timestamp,
    properties: Vec<Line>,
    /// Where the next page starts.
    next: String,
    is_first: bool,
    may_manage: bool,
    create: Form,
    /// The refused deletion and its reason.
    problem: Form,
}

/// A property, and the form that renames it.
struct Line {
    property: api::Property,
    numbers: Numbers,
    rename: Form,
}

const PATH: &str = "/console/properties";

async fn load(signed: &SignedIn, cursor: Option<String>) -> Result<PropertiesPage, Refused> {
    let is_first = cursor.is_none();
    let query = ListQuery { limit: None, cursor };
    let found = signed.app.read_property_list(signed.principal(), &query).await?;
    let line = |(property, numbers): (api::Property, Numbers)| {
        let rename = Form::new("rename", Fields::default().with("name", property.name.clone()));
        Line { property, numbers, rename }
    };
    Ok(PropertiesPage {
        layout: signed.layout(Section::Properties, "Properties"),
        now: found.now,
        properties: found.items.into_iter().map(line).collect(),
        next: found
            .next_cursor
            .map(|cursor| format!("/console/properties?cursor={cursor}"))
            .unwrap_or_default(),
        is_first,
        may_manage: signed.principal().may_somewhere(Permission::PropertyManage),
        create: Form::new("create", Fields::default().with("name", "")),
        problem: Form::default(),
    })
}

impl PropertiesPage {
    fn first(&self) -> &'static str {
        if self.is_first { "" } else { "/console/properties" }
    }
}

pub(super) async fn show(signed: SignedIn, RawQuery(raw): RawQuery) -> Reply {
    let query = Fields::parse(raw.unwrap_or_default().as_bytes());
    let mut shown = load(&signed, query.filled("cursor").map(str::to_owned)).await?;
    let done = match signed.said() {
        "created" => Some("The property was created."),
        "renamed" => Some("The property was renamed."),
        "deleted" => Some("The property was deleted."),
        _ => None,
    };
    shown.layout = shown.layout.done(done);
    Ok(page(&shown))
}

/// Redirects a GET for the address of a form to its page.
pub(super) async fn back() -> Redirect {
    Redirect::to("/console/properties")
}

pub(super) async fn create(Submitted { signed, fields }: Submitted) -> Reply {
    let body = PropertyBody { name: fields.text("name").to_owned() };
    match signed.app.create_property(&signed.request(), Input::Value(body)).await {
        Ok(_) => Ok(match own_page(fields.text("to")) {
            Some(to) => Redirect::to(to).into_response(),
            None => redirect_with(PATH, "created"),
        }),
        Err(error) => {
            again(&signed, error, |shown, problem| {
                shown.create = Form::new("create", fields).refused(problem);
            })
            .await
        }
    }
}

pub(super) async fn rename(Path(id): Path<String>, Submitted { signed, fields }: Submitted) -> Reply {
    let body = PropertyBody { name: fields.text("name").to_owned() };
    // A list has no versions, so the shown name is used as one.
    let now = signed.app.read_property(signed.principal(), PropertyPath(&id)).await?;
    let seen = fields.text("name_shown") == now.object.name;
    let request = Request {
        if_match: if seen { IfMatch::Version(now.version) } else { IfMatch::Overtaken },
        ..signed.request()
    };
    match signed.app.update_property(&request, PropertyPath(&id), Input::Value(body)).await {
        Ok(_) => Ok(redirect_with(PATH, "renamed")),
        Err(error) if error.problem.code == Code::PreconditionFailed => {
            let by = signed.app.last_change_of_property(signed.principal(), PropertyPath(&id)).await?;
            again(&signed, error, |shown, _| {
                if let Some(line) = shown.properties.iter_mut().find(|line| line.property.id.as_str() == id) {
                    let now = std::mem::take(&mut line.rename);
                    line.rename = now.overtaken(fields, by, &[("name", "Name")]);
                }
            })
            .await
        }
        Err(error) => {
            again(&signed, error, |shown, mut problem| {
                // The form has one field. What is wrong with the field is shown above it.
                problem.field = None;
                problem.detail = with_label(&problem.detail, "name", "Name");
                if let Some(line) = shown.properties.iter_mut().find(|line| line.property.id.as_str() == id) {
                    line.rename = Form::new("rename", fields).refused(problem);
                }
            })
            .await
        }
    }
}

pub(super) async fn delete(Path(id): Path<String>, Fresh { signed, .. }: Fresh) -> Reply {
    match signed.app.delete_property(&signed.request(), PropertyPath(&id), NO_INPUT).await {
        Ok(()) => Ok(redirect_with(PATH, "deleted")),
        Err(error) => {
            again(&signed, error, |shown, problem| {
                shown.problem = Form::default().refused(problem);
            })
            .await
        }
    }
}

async fn again(
    signed: &SignedIn,
    error: crossfade_app::Error,
    put: impl FnOnce(&mut PropertiesPage, crossfade_core::Problem),
) -> Reply {
    if !belongs_to_form(&error.problem) {
        return Err(error.into());
    }
    let answer = status(&error.problem);
    let mut shown = load(signed, None).await?;
    put(&mut shown, error.problem);
    Ok(page_with(answer, &shown))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::crossfade::samples;
    use crossfade_core::Problem;

    #[test]
    fn who_may_not_manage_has_no_button_and_a_refused_name_stays() {
        let sample = |may_manage, create| PropertiesPage {
            layout: Layout::sample(Section::Properties, "Properties"),
            now: samples::now(),
            properties: Vec::new(),
            next: String::new(),
            is_first: true,
            may_manage,
            create,
            problem: Form::default(),
        };
        let html = sample(false, Form::default()).render().unwrap();
        assert!(html.contains("No properties yet") && !html.contains("Create property"));
        let taken = Form::new("create", Fields::default().with("name", "Shop"))
            .refused(Problem::invalid("name", "is taken"));
        let html = sample(true, taken).render().unwrap();
        assert!(
            html.contains("value=\"Shop\"") && html.contains("Name is taken.") && html.contains(" open"),
            "{html}"
        );
    }
}
