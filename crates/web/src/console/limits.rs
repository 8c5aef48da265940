//! The page of a property: the audiences and scopes that its clients can have, by environment.

use super::{
    clients::belongs_to_form,
    environment::EnvironmentBadge,
    error::status,
    form::{Fields, Form},
    layout::{Layout, Section},
    message::redirect_with,
    page, page_with,
    session::{Fresh, SignedIn},
};
use crate::reply::{Refused, Reply};
use askama::Template;
use axum::extract::Path;
use crossfade_app::{Input, PlacePath, PropertyPath, Versioned};
use crossfade_core::{Code, Problem, api, api::UpdateLimits, roles::Permission};

#[derive(Template)]
#[template(path = "console/property.html")]
struct PropertyPage {
    layout: Layout,
    id: String,
    rows: Vec<Row>,
    may_manage: bool,
}

/// The limits in one environment.
struct Row {
    badge: EnvironmentBadge,
    slug: String,
    issuer: String,
    limits: api::Limits,
}

#[derive(Template)]
#[template(path = "console/limits.html")]
struct LimitsPage {
    layout: Layout,
    id: String,
    row: Row,
    edit: Form,
}

const LABELS: [(&str, &str); 3] =
    [("audiences", "Audiences"), ("scope_limit", "Scopes"), ("scopes", "Allowed scopes")];

impl Row {
    fn new(at: usize, environment: api::Environment, limits: api::Limits) -> Self {
        Self {
            badge: EnvironmentBadge::new(&environment.name, environment.kind, at),
            slug: environment.slug,
            issuer: environment.issuer,
            limits,
        }
    }
}

/// Returns the page of a property.
pub(super) async fn show(Path(id): Path<String>, signed: SignedIn) -> Reply {
    let property = signed.app.read_property(signed.principal(), PropertyPath(&id)).await?.object;
    let all = signed.app.list_limits(signed.principal(), PropertyPath(&id)).await?;
    let rows =
        all.into_iter().enumerate().map(|(at, (environment, limits))| Row::new(at, environment, limits));
    let rows = rows.collect();
    let done = (signed.said() == "saved")
        .then_some("The limits were saved. Clients keep their present values until they are changed.");
    let layout =
        signed.layout(Section::Properties, &property.name).crumb("Properties", "/console/properties");
    Ok(page(&PropertyPage {
        layout: layout.done(done),
        id,
        rows,
        may_manage: signed.principal().may_on_platform(Permission::EnvironmentManage),
    }))
}

async fn load(signed: &SignedIn, id: &str, slug: &str) -> Result<LimitsPage, Refused> {
    let property = signed.app.read_property(signed.principal(), PropertyPath(id)).await?.object;
    if !signed.principal().may_on_platform(Permission::EnvironmentManage) {
        return Err(Problem::not_found().into());
    }
    let path = PlacePath { property: id, environment: slug };
    let Versioned { object: limits, version } = signed.app.read_limits(signed.principal(), path).await?;
    let environments = signed.app.list_environments(signed.principal()).await?;
    let found = environments.into_iter().enumerate().find(|(_, it)| it.slug == slug);
    let (at, environment) = found.ok_or_else(Problem::not_found)?;
    let row = Row::new(at, environment, limits);
    let fields = Fields::default()
        .with("audiences", row.limits.audiences.join("\n"))
        .with("scope_limit", if row.limits.scopes.is_some() { "some" } else { "any" })
        .with("scopes", row.limits.scopes.clone().unwrap_or_default().join("\n"))
        .with("version", version.to_string());
    let layout = signed
        .layout(Section::Properties, "Limits")
        .crumb("Properties", "/console/properties")
        .crumb(&property.name, &format!("/console/properties/{id}"));
    Ok(LimitsPage {
        layout: layout.of_environment(row.badge.clone()),
        id: id.to_owned(),
        row,
        edit: Form::new("edit", fields),
    })
}

/// Returns the form of the limits in one environment.
pub(super) async fn edit(Path((id, slug)): Path<(String, String)>, signed: SignedIn) -> Reply {
    Ok(page(&load(&signed, &id, &slug).await?))
}

/// Sets the limits in one environment.
pub(super) async fn submit(
    Path((id, slug)): Path<(String, String)>,
    Fresh { signed, fields }: Fresh,
) -> Reply {
    let words = |name: &str| fields.text(name).split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let body = UpdateLimits {
        audiences: words("audiences"),
        scopes: (fields.text("scope_limit") != "any").then(|| words("scopes")),
    };
    let path = PlacePath { property: &id, environment: &slug };
    match signed.app.update_limits(&signed.request_for(&fields), path, Input::Value(body)).await {
        Ok(_) => Ok(redirect_with(&format!("/console/properties/{id}"), "saved")),
        Err(error) if belongs_to_form(&error.problem) => {
            let answer = status(&error.problem);
            let mut shown = load(&signed, &id, &slug).await?;
            shown.edit = match error.problem.code {
                Code::PreconditionFailed => shown.edit.overtaken(fields, None, &LABELS),
                _ => Form::new("edit", fields).refused(error.problem),
            };
            Ok(page_with(answer, &shown))
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossfade_core::environment::EnvironmentKind;

    fn row(audiences: &[&str], scopes: Option<&[&str]>) -> Row {
        let words = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        Row {
            badge: EnvironmentBadge::new("Production", EnvironmentKind::Live, 2),
            slug: "production".into(),
            issuer: "https://auth.example.com/env/production".into(),
            limits: api::Limits { audiences: words(audiences), scopes: scopes.map(words) },
        }
    }

    #[test]
    fn the_page_says_what_is_allowed_and_offers_a_change_to_managers_alone() {
        let sample = |may_manage| PropertyPage {
            layout: Layout::sample(Section::Properties, "Shop"),
            id: "prop_1".into(),
            rows: vec![row(&["https://api.example.com/?a&b"], Some(&[])), row(&[], None)],
            may_manage,
        };
        let html = sample(false).render().unwrap();
        assert!(html.contains("https://api.example.com/?a&#38;b") && html.contains("Any scope"), "{html}");
        assert!(html.contains("No scope") && !html.contains("Change limits"));
        assert!(sample(true).render().unwrap().contains("/console/properties/prop_1/limits/production"));
    }

    #[test]
    fn a_refused_form_keeps_what_was_typed() {
        let typed = Fields::default().with("audiences", "https://auth.example.com/env/x").with("scopes", "");
        let html = LimitsPage {
            layout: Layout::sample(Section::Properties, "Limits"),
            id: "prop_1".into(),
            row: row(&[], None),
            edit: Form::new("edit", typed)
                .refused(Problem::invalid("audiences", "must not contain an issuer")),
        };
        let html = html.render().unwrap();
        assert!(
            html.contains("Audiences must not contain an issuer.") && html.contains("/env/x</textarea>"),
            "{html}"
        );
    }

    #[test]
    fn the_form_names_its_environment() {
        let row = row(&[], None);
        let html = LimitsPage {
            layout: Layout::sample(Section::Properties, "Limits").of_environment(row.badge.clone()),
            id: "prop_1".into(),
            row,
            edit: Form::new("edit", Fields::default()),
        };
        let html = html.render().unwrap();
        assert!(html.contains("allowed for this property's clients in Production."), "{html}");
        assert!(html.contains("page is-live"), "{html}");
    }
}
