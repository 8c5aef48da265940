//! The list of accounts.

use super::{
    super::{
        error::status,
        form::{Fields, Form},
        layout::{Layout, Section},
        page, page_with,
        session::{Fresh, SignedIn},
    },
    user,
};
use crate::reply::{Refused, Reply};
use askama::Template;
use axum::extract::Query;
use crossfade_app::{Input, ListQuery};
use crossfade_core::{
    Timestamp,
    api::{CreateUser, User, UserKind},
    roles::Permission,
};
use serde::Deserialize;

#[derive(Template)]
#[template(path = "console/people/list.html")]
struct PeoplePage {
    layout: Layout,
    now: Timestamp,
    users: Vec<User>,
    /// Search text.
    q: String,
    /// Whether this is not the first page.
    is_later: bool,
    next: Option<String>,
    /// Whether this reader can create accounts.
    may_create: bool,
    /// Whether this reader can manage the providers for single sign-on.
    may_manage_providers: bool,
    /// Whether this reader can set the sign-in policy.
    sets_policy: bool,
    create: Form,
}

const HANDED_OVER: &str =
    "The account was deleted, and its clients were handed over. The new owners are notified.";
const OWNERLESS: &str = "The account was deleted. Some of its clients have no owner now, because nobody manages them: \
    filter Clients by Without owner only.";
const DELETED: &str = "The account was deleted with its sessions, tokens and roles.";

#[derive(Deserialize, Default)]
pub(in crate::console) struct Asked {
    q: Option<String>,
    cursor: Option<String>,
}

impl PeoplePage {
    async fn load(signed: &SignedIn, asked: Asked) -> Result<Self, Refused> {
        let list = ListQuery { limit: None, cursor: asked.cursor.clone() };
        let found = signed.app.list_users(signed.principal(), asked.q.as_deref(), &list).await?;
        let done = match signed.said() {
            "deleted" => Some(DELETED),
            "handed-over" => Some(HANDED_OVER),
            "ownerless" => Some(OWNERLESS),
            _ => None,
        };
        let layout = signed.layout(Section::People, "People");
        Ok(Self {
            layout: layout.done(done),
            now: signed.session.now,
            users: found.items,
            q: asked.q.unwrap_or_default(),
            is_later: asked.cursor.is_some(),
            next: found.next_cursor,
            may_create: signed.principal().may_on_platform(Permission::UserManage),
            may_manage_providers: signed.principal().may_on_platform(Permission::ProviderManage),
            sets_policy: signed.principal().may_on_platform(Permission::OwnerManage),
            create: Form::new("create", Fields::default().with("kind", "person")),
        })
    }

    /// Returns the URL of a page of this search.
    fn address(&self, cursor: Option<&str>) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        if !self.q.is_empty() {
            query.append_pair("q", &self.q);
        }
        if let Some(cursor) = cursor {
            query.append_pair("cursor", cursor);
        }
        format!("/console/people?{}", query.finish())
    }

    fn first_address(&self) -> String {
        if self.is_later { self.address(None) } else { String::new() }
    }

    fn next_address(&self) -> String {
        self.next.as_deref().map(|cursor| self.address(Some(cursor))).unwrap_or_default()
    }

    fn shown(&self) -> String {
        let more = if self.is_later || self.next.is_some() { " on this page" } else { "" };
        format!("{}{more}", self.users.len())
    }
}

pub(in crate::console) async fn show(signed: SignedIn, Query(asked): Query<Asked>) -> Reply {
    Ok(page(&PeoplePage::load(&signed, asked).await?))
}

pub(in crate::console) async fn create(Fresh { signed, fields }: Fresh) -> Reply {
    let kind = if fields.text("kind") == "program" { UserKind::Program } else { UserKind::Person };
    let email = fields.filled("email").filter(|_| kind == UserKind::Person).map(str::to_owned);
    let body = CreateUser { kind: Some(kind), email, name: fields.filled("name").map(str::to_owned) };
    match signed.app.create_user(&signed.request(), Input::Value(body)).await {
        Ok(created) => user::show_new(&signed, &created.object).await,
        Err(error) if error.is_about_input() => {
            let mut shown = PeoplePage::load(&signed, Asked::default()).await?;
            let answer = status(&error.problem);
            shown.create = Form::new("create", fields).refused(error.problem);
            Ok(page_with(answer, &shown))
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::samples, *};
    use crate::console::crossfade;
    use crossfade_core::Problem;

    fn sample() -> PeoplePage {
        PeoplePage {
            layout: Layout::sample(Section::People, "People"),
            now: crossfade::samples::now(),
            users: vec![
                samples::user(1, UserKind::Person, "Ada Lovelace"),
                samples::user(2, UserKind::Person, "<script>"),
                samples::user(3, UserKind::Program, "deploy"),
            ],
            q: "a&b".into(),
            is_later: true,
            next: Some("x".into()),
            may_create: true,
            may_manage_providers: true,
            sets_policy: true,
            create: Form::new("create", Fields::default()),
        }
    }

    #[test]
    fn the_page_is_rendered() {
        let html = sample().render().unwrap();
        assert!(html.contains("&#60;script&#62;") && html.contains("Secret Rotator of a client"), "{html}");
        assert!(html.contains("/console/people?q=a%26b&#38;cursor=x"), "{html}");
        let none = PeoplePage { users: vec![], next: None, is_later: false, ..sample() }.render().unwrap();
        assert!(none.contains("No matching accounts"));
        let reader = PeoplePage { may_create: false, ..sample() }.render().unwrap();
        assert!(!reader.contains("create-person"));
        let problem = Problem::invalid("email", "must be an email address");
        let create = Form::new("create", Fields::default().with("email", "x")).refused(problem);
        let refused = PeoplePage { create, ..sample() }.render().unwrap();
        assert!(
            refused.contains("aria-labelledby=\"create-person-title\" open")
                && refused.contains("Email must be an email address.")
        );
    }
}
