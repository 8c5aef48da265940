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
use crossfade_app::{Error, Input, ListQuery, Request, UserPath};
use crossfade_core::{
    Problem, Timestamp, UserId,
    account::Passwords,
    api::{CreateProvider, Provider, UpdatePasswordPolicy},
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
    passwords: Form,
}

/// Who can sign in with a password, on offer.
const PASSWORDS: [(&str, &str); 2] =
    [("everyone", "Everyone who has one"), ("break_glass", "Only these Owners")];
const PATH: &str = "/console/providers";

impl ListPage {
    async fn load(signed: &SignedIn, query: &Fields) -> Result<Self, Refused> {
        let cursor = query.filled("cursor").map(str::to_owned);
        let is_first = cursor.is_none();
        let found = signed.app.list_providers(signed.principal(), &ListQuery { limit: None, cursor }).await?;
        let policy = signed.app.read_password_policy(signed.principal()).await?;
        let mut owners = Vec::new();
        for account in &policy.object.break_glass {
            let user = signed.app.read_user(signed.principal(), UserPath(account.as_str())).await;
            owners.push(
                user.map_or_else(|_| account.to_string(), |user| user.object.email.unwrap_or_default()),
            );
        }
        let passwords = Fields::default()
            .with("version", policy.version.to_string())
            .with("passwords", policy.object.passwords.as_str())
            .with("break_glass", owners.join("\n"));
        let fields = ["name", "issuer", "client_id", "client_secret", "domains"];
        let fields = fields.iter().fold(Fields::default(), |fields, name| fields.with(name, ""));
        Ok(Self {
            layout: signed.layout(Section::People, "Single sign-on").crumb("People", "/console/people"),
            now: signed.session.now,
            providers: found.items,
            next: found.next_cursor.map(|cursor| format!("{PATH}?cursor={cursor}")).unwrap_or_default(),
            is_first,
            create: Form::new("create", fields.with("client_authentication", "client_secret_basic")),
            passwords: Form::new("passwords", passwords),
        })
    }

    fn first(&self) -> &'static str {
        if self.is_first { "" } else { PATH }
    }
}

pub(in crate::console) async fn show(signed: SignedIn, RawQuery(raw): RawQuery) -> Reply {
    let query = Fields::parse(raw.unwrap_or_default().as_bytes());
    let mut shown = ListPage::load(&signed, &query).await?;
    let done = match signed.said() {
        "deleted" => Some("The provider was deleted, and its sessions have ended."),
        "passwords" => Some("It was saved who can sign in with a password."),
        _ => None,
    };
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

/// Sets who can sign in with a password.
pub(in crate::console) async fn set_passwords(Fresh { signed, fields }: Fresh) -> Reply {
    match changed_passwords(&signed, &fields).await {
        Ok(()) => Ok(redirect_with(PATH, "passwords")),
        Err(error) if belongs_to_form(&error.problem) => {
            let answer = status(&error.problem);
            let mut shown = ListPage::load(&signed, &Fields::default()).await?;
            shown.passwords = Form::new("passwords", fields).refused(error.problem);
            Ok(page_with(answer, &shown))
        }
        Err(error) => Err(error.into()),
    }
}

async fn changed_passwords(signed: &SignedIn, fields: &Fields) -> Result<(), Error> {
    let mut break_glass = Vec::new();
    for address in list_of(fields, "break_glass") {
        break_glass.push(account_of(signed, &address).await?);
    }
    // Which choices there are is in the answer to whoever may choose.
    let passwords = Passwords::parse(fields.text("passwords"));
    let body = UpdatePasswordPolicy { passwords, break_glass: Some(break_glass) };
    let request = Request { if_match: fields.if_match(), ..signed.request() };
    signed.app.update_password_policy(&request, Input::Value(body)).await.map(drop)
}

/// Returns the account with this email address or this ID.
async fn account_of(signed: &SignedIn, text: &str) -> Result<UserId, Error> {
    if let Ok(id) = UserId::parse(text) {
        return Ok(id);
    }
    let query = ListQuery { limit: None, cursor: None };
    let found = signed.app.list_users(signed.principal(), Some(text), &query).await?;
    let address = text.to_lowercase();
    let own = found.items.into_iter().find(|user| user.email.as_deref() == Some(address.as_str()));
    let must = || Problem::invalid("break_glass", "must contain only Owners who have a password");
    Ok(own.ok_or_else(must)?.id)
}

#[cfg(test)]
mod tests {
    use super::{super::samples, *};
    use crate::console::crossfade::samples::now;

    #[test]
    fn the_list_names_each_provider_and_a_refused_issuer_stays() {
        let sample = |create: Form| ListPage {
            layout: Layout::sample(Section::People, "Single sign-on"),
            now: now(),
            providers: vec![samples::provider()],
            next: String::new(),
            is_first: true,
            create,
            passwords: Form::new("passwords", Fields::default().with("passwords", "everyone")),
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
