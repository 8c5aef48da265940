//! The Settings tab of a client: name, owners, further environments, and deletion.

use super::{
    create::adopts,
    place::{Place, Tabs},
};
use crate::console::{
    error::status,
    form::{Fields, Form},
    layout::Layout,
    message::{redirect_once_enforced, redirect_with},
    page, page_with,
    session::{Fresh, SignedIn},
};
use crate::reply::{Refused, Reply};
use askama::Template;
use axum::extract::Path;
use crossfade_app::{ClientPath, Input};
use crossfade_core::{
    Code, Problem,
    api::{CreateRegistration, DeleteClient, UpdateClient, UpdateClientMessages},
};

#[derive(Template)]
#[template(path = "console/clients/settings.html")]
struct SettingsPage {
    layout: Layout,
    tabs: Tabs,
    id: String,
    name: String,
    /// Environments in which it is not registered.
    others: Vec<(String, String)>,
    /// Whether one of them is in front of another issuer, which gives the client_id.
    has_fronts: bool,
    /// Whether one of them learns secrets.
    has_adopting: bool,
    edit: Form,
    messages: Form,
    add: Form,
    delete: Form,
}

impl SettingsPage {
    fn owners_hint(&self) -> String {
        format!(
            "Type {} to change the owners. Messages about this client then go to the new owners.",
            self.name
        )
    }

    fn messages_hint(&self) -> String {
        format!("Type {} to switch off more than before.", self.name)
    }

    fn confirm_hint(&self) -> String {
        format!("Type {} to confirm.", self.name)
    }
}

const LABELS: [(&str, &str); 3] = [("name", "Name"), ("description", "Description"), ("owners", "Owners")];

/// Which of the forms is shown again.
enum Which {
    Edit,
    Messages,
    Add,
    Delete,
}

async fn load(signed: &SignedIn, client: &str) -> Result<SettingsPage, Refused> {
    let place = Place::load(signed, client).await?;
    if !place.may.manage {
        return Err(Problem::not_found().into());
    }
    let it = &place.client;
    let registered = |slug: &str| it.registrations.iter().any(|own| own.environment == slug);
    let others = place.environments.iter().filter(|other| !registered(&other.slug));
    let fields = Fields::default()
        .with("name", it.name.clone())
        .with("description", it.description.clone())
        .with("owners", it.owners.join("\n"))
        .with("confirm_client_name", "")
        .with("version", place.version.to_string());
    let of_client = signed.app.read_client_messages(signed.principal(), ClientPath(client)).await?;
    let messages = Fields::default()
        .with("version", of_client.version.to_string())
        .with("confirm_client_name", "")
        .with("reason", "");
    let messages = of_client.object.off.into_iter().fold(messages, |fields, word| fields.with("off", word));
    Ok(SettingsPage {
        layout: place.layout(signed),
        tabs: place.tabs("Client settings"),
        id: it.id.to_string(),
        name: it.name.clone(),
        has_fronts: others.clone().any(|other| other.upstream.is_some()),
        has_adopting: others.clone().any(|other| adopts(other, signed.session.now)),
        others: others.map(|other| (other.slug.clone(), other.name.clone())).collect(),
        edit: Form::new("edit", fields),
        messages: Form::new("messages", messages),
        add: Form::new("add", Fields::default()),
        delete: Form::new("delete", Fields::default().with("confirm_client_name", "").with("reason", "")),
    })
}

pub(super) async fn show(Path(client): Path<String>, signed: SignedIn) -> Reply {
    let mut shown = load(&signed, &client).await?;
    let done = match signed.said() {
        "saved" => Some("The client was updated."),
        "messages" => Some("The messages about the client were saved. Its owners are notified of a change."),
        _ => None,
    };
    shown.layout = shown.layout.done(done);
    Ok(page(&shown))
}

async fn again(
    signed: &SignedIn,
    client: &str,
    fields: Fields,
    error: crossfade_app::Error,
    which: Which,
) -> Reply {
    if !super::environment::belongs_to_form(&error.problem) {
        return Err(error.into());
    }
    let problem = error.problem;
    let answer = status(&problem);
    let mut shown = load(signed, client).await?;
    match which {
        Which::Edit if problem.code == Code::PreconditionFailed => {
            let by = signed.app.last_change_of_client(signed.principal(), ClientPath(client)).await?;
            shown.edit = shown.edit.overtaken(fields, by, &LABELS);
        }
        Which::Edit => shown.edit = Form::new("edit", fields).refused(problem),
        Which::Messages if problem.code == Code::PreconditionFailed => {
            let by = signed.app.last_change_of_client(signed.principal(), ClientPath(client)).await?;
            shown.messages = shown.messages.overtaken(fields, by, &[("off", "Switched off")]);
        }
        Which::Messages => shown.messages = Form::new("messages", fields).refused(problem),
        Which::Add => shown.add = Form::new("add", fields).refused(problem),
        Which::Delete => shown.delete = Form::new("delete", fields).refused(problem),
    }
    Ok(page_with(answer, &shown))
}

/// Parses typed owners: one per line, or separated by commas.
pub(super) fn owners(text: &str) -> Vec<String> {
    text.split([',', '\n', '\r', ';', ' '])
        .map(str::trim)
        .filter(|it| !it.is_empty())
        .map(str::to_owned)
        .collect()
}

pub(super) async fn submit(Path(client): Path<String>, Fresh { signed, fields }: Fresh) -> Reply {
    let body = UpdateClient {
        name: Some(fields.text("name").to_owned()),
        description: Some(fields.text("description").to_owned()),
        owners: Some(owners(fields.text("owners"))),
        confirm_client_name: fields.filled("confirm_client_name").map(str::to_owned),
    };
    match signed
        .app
        .update_client(&signed.request_for(&fields), ClientPath(&client), Input::Value(body))
        .await
    {
        Ok(_) => Ok(redirect_with(&format!("/console/clients/{client}/settings"), "saved")),
        Err(error) => again(&signed, &client, fields, error, Which::Edit).await,
    }
}

pub(super) async fn switch_messages(Path(client): Path<String>, Fresh { signed, fields }: Fresh) -> Reply {
    let body = UpdateClientMessages {
        off: fields.all("off").map(str::to_owned).collect(),
        confirm_client_name: fields.filled("confirm_client_name").map(str::to_owned),
        reason: fields.filled("reason").map(str::to_owned),
    };
    let request = signed.request_for(&fields);
    match signed.app.update_client_messages(&request, ClientPath(&client), Input::Value(body)).await {
        Ok(_) => Ok(redirect_with(&format!("/console/clients/{client}/settings"), "messages")),
        Err(error) => again(&signed, &client, fields, error, Which::Messages).await,
    }
}

pub(super) async fn add_environment(Path(client): Path<String>, Fresh { signed, fields }: Fresh) -> Reply {
    let slug = fields.text("environment").to_owned();
    let client_id = fields.filled("client_id").map(str::to_owned);
    let adopt = fields.ticked("adopt");
    let body = CreateRegistration { environment: slug.clone(), client_id, adopt, require_value: false };
    match signed.app.create_registration(&signed.request(), ClientPath(&client), Input::Value(body)).await {
        Ok(created) => {
            let secrets = vec![(slug.clone(), created.object)];
            let next = format!("/console/clients/{client}/environments/{slug}/credentials");
            super::create::delivered(&signed, &client, secrets, next, "added").await
        }
        Err(error) => again(&signed, &client, fields, error, Which::Add).await,
    }
}

pub(super) async fn delete(Path(client): Path<String>, Fresh { signed, fields }: Fresh) -> Reply {
    let body = DeleteClient {
        confirm_client_name: fields.text("confirm_client_name").to_owned(),
        reason: fields.text("reason").to_owned(),
    };
    match signed.app.delete_client(&signed.request(), ClientPath(&client), Input::Value(body)).await {
        Ok(deleted) => Ok(redirect_once_enforced("/console/clients", "deleted", deleted.enforced.as_ref())),
        Err(error) => again(&signed, &client, fields, error, Which::Delete).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::layout::Section;

    #[test]
    fn owners_are_taken_as_people_type_them() {
        assert_eq!(
            owners(" a@x.example, b@x.example\r\nc@x.example\n\n"),
            ["a@x.example", "b@x.example", "c@x.example"]
        );
        assert!(owners(" \n").is_empty());
    }

    #[test]
    fn a_refused_deletion_comes_back_open_with_what_was_typed() {
        let typed = Fields::default().with("confirm_client_name", "Biling").with("reason", "gone");
        let problem =
            Problem::new(Code::ConfirmationMismatch, "confirm_client_name must be the client's name.")
                .with_field("confirm_client_name");
        let html = SettingsPage {
            layout: Layout::sample(Section::Clients, "Billing"),
            tabs: Tabs::sample("Client settings"),
            id: "cl_1".into(),
            name: "Billing".into(),
            others: vec![("staging".into(), "Staging".into())],
            has_fronts: true,
            has_adopting: true,
            edit: Form::new("edit", Fields::default()),
            messages: Form::new("messages", Fields::default()),
            add: Form::new("add", Fields::default()),
            delete: Form::new("delete", typed).refused(problem),
        };
        let html = html.render().unwrap();
        assert!(
            html.contains("aria-labelledby=\"delete-title\" open") && html.contains("value=\"Biling\""),
            "{html}"
        );
    }
}
