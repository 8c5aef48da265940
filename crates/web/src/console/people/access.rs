//! The access review: who holds which role, where, since when and why. Filtered, it answers what a person may do, and who
//! may do something to a client.

use super::super::{
    error::status,
    form::{Fields, Form},
    layout::{Layout, Section},
    offers::Offers,
    page_with,
    session::SignedIn,
};
use crate::reply::Reply;
use askama::Template;
use axum::{
    extract::RawQuery,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use crossfade_app::{AccessQuery, ListQuery, UserPath};
use crossfade_core::{
    Code, Problem, Timestamp,
    api::{Access, Page},
    roles::{Permission, Role},
};

#[derive(Template)]
#[template(path = "console/people/access.html")]
struct AccessPage {
    layout: Layout,
    now: Timestamp,
    filter: Form,
    offers: Offers,
    permissions: Vec<(&'static str, &'static str)>,
    environments: Vec<(String, String)>,
    rows: Vec<Row>,
    /// What the list answers, in one sentence.
    sentence: String,
    /// The filters, for the addresses of other pages and of the export.
    query: String,
    is_later: bool,
    next: Option<String>,
}

/// A role in the list.
struct Row {
    access: Access,
    /// Whether the reader can remove the role.
    may_remove: bool,
}

impl Row {
    /// Returns where the role applies.
    fn place(&self) -> String {
        let grant = &self.access.grant;
        let named = |name: &Option<String>, id: String| name.clone().unwrap_or(id);
        match (&grant.property_id, &grant.client_id) {
            (_, Some(client)) => format!("Client {}", named(&self.access.client_name, client.to_string())),
            (Some(property), None) => {
                format!("Property {}", named(&self.access.property_name, property.to_string()))
            }
            (None, None) => "Whole platform".to_owned(),
        }
    }

    fn environments(&self) -> String {
        self.access.grant.environments.as_ref().map_or_else(|| "All".to_owned(), |slugs| slugs.join(", "))
    }
}

/// Parameters that filter the list.
const FILTERS: [&str; 4] = ["user", "client", "environment", "permission"];
/// First line of an export.
const COLUMNS: &str = "user_id,user_kind,user_name,user_email,role,scope,scope_id,scope_name,environments,granted_at,source,group,last_active_at,grant_id\r\n";

/// Returns the query of a form.
fn query(fields: &Fields) -> AccessQuery {
    let filled = |name: &str| fields.filled(name).map(|it| it.trim().to_owned());
    AccessQuery {
        list: ListQuery { limit: None, cursor: filled("cursor") },
        user: filled("user"),
        client: filled("client"),
        environment: filled("environment"),
        permission: filled("permission"),
    }
}

/// Returns what the list answers.
fn sentence(user: Option<&str>, query: &AccessQuery, client: Option<&str>) -> String {
    let whom = user.map(|name| format!(" of {name}")).unwrap_or_default();
    let what = query.permission.as_ref().map(|permission| format!(" with {permission}")).unwrap_or_default();
    let place = match (client, &query.environment) {
        (Some(client), Some(environment)) => format!(", for {client} in {environment}"),
        (Some(client), None) => format!(", for {client}"),
        (None, Some(environment)) => format!(", in {environment}"),
        (None, None) => String::new(),
    };
    format!("Roles{whom}{what}{place}, by account.")
}

fn encoded(fields: &Fields) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for name in FILTERS {
        if let Some(value) = fields.filled(name) {
            query.append_pair(name, value);
        }
    }
    query.finish()
}

impl AccessPage {
    fn address(&self, cursor: Option<&str>) -> String {
        let mut query = form_urlencoded::Serializer::new(self.query.clone());
        if let Some(cursor) = cursor {
            query.append_pair("cursor", cursor);
        }
        format!("/console/access?{}", query.finish())
    }

    fn first_address(&self) -> String {
        if self.is_later { self.address(None) } else { String::new() }
    }

    fn next_address(&self) -> String {
        self.next.as_deref().map(|cursor| self.address(Some(cursor))).unwrap_or_default()
    }

    fn shown(&self) -> String {
        let more = if self.is_later || self.next.is_some() { " on this page" } else { "" };
        match self.rows.len() {
            1 => format!("1 role{more}"),
            roles => format!("{roles} roles{more}"),
        }
    }
}

pub(in crate::console) async fn show(signed: SignedIn, RawQuery(raw): RawQuery) -> Reply {
    let fields = Fields::parse(raw.unwrap_or_default().as_bytes());
    let asked = query(&fields);
    let (app, principal) = (&signed.app, signed.principal());
    let (found, problem) = match app.list_access(principal, &asked).await {
        Ok(found) => (found, None),
        // A client that was typed, for example.
        Err(error) if error.problem.code == Code::InvalidQuery => {
            (Page { items: Vec::new(), next_cursor: None }, Some(error.problem))
        }
        Err(error) => return Err(error.into()),
    };
    let answer = problem.as_ref().map_or(StatusCode::OK, status);
    let user = match &asked.user {
        Some(id) => Some(app.read_user(principal, UserPath(id)).await?.object.name),
        None => None,
    };
    let done = (signed.said() == "taken").then_some("The role was removed, effective from the next request.");
    let owner = principal.may_on_platform(Permission::OwnerManage);
    let gives = principal.may_on_platform(Permission::GrantManage);
    let row = |access: Access| {
        // What a group gives is taken away at the provider, and an account does not change its own roles.
        let may_remove = gives
            && access.grant.provider_id.is_none()
            && (access.grant.role != Role::Owner || owner)
            && (owner || access.user.id != *principal.user());
        Row { access, may_remove }
    };
    let environments = app.list_environments(principal).await?;
    let all = [(String::new(), "All environments".to_owned())];
    let query = encoded(&fields);
    let sentence = sentence(user.as_deref(), &asked, fields.filled("client"));
    let filter = Form::new("", fields);
    let shown = AccessPage {
        layout: signed.layout(Section::People, "Access").crumb("People", "/console/people").done(done),
        now: signed.session.now,
        sentence,
        query,
        is_later: asked.list.cursor.is_some(),
        next: found.next_cursor,
        rows: found.items.into_iter().map(row).collect(),
        offers: Offers::load(&signed).await?,
        permissions: permissions(),
        environments: all.into_iter().chain(environments.into_iter().map(|it| (it.slug, it.name))).collect(),
        filter: match problem {
            Some(problem) => filter.refused(problem),
            None => filter,
        },
    };
    Ok(page_with(answer, &shown))
}

fn permissions() -> Vec<(&'static str, &'static str)> {
    let words = Permission::ALL.iter().map(|it| (it.as_str(), it.as_str()));
    [("", "All permissions")].into_iter().chain(words).collect()
}

/// Exports the whole list as CSV (RFC 4180).
pub(in crate::console) async fn export(
    signed: SignedIn,
    headers: HeaderMap,
    RawQuery(raw): RawQuery,
) -> Reply {
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    if site.is_some_and(|site| ![&b"same-origin"[..], b"none"].contains(&site)) {
        let text = "This request came from another site. Nothing was exported. Start the export from the Console page.";
        return Err(Problem::new(Code::Forbidden, text).into());
    }
    let fields = Fields::parse(raw.unwrap_or_default().as_bytes());
    let found = signed.app.export_access(signed.principal(), &query(&fields)).await?;
    let mut csv = COLUMNS.to_owned();
    found.iter().for_each(|access| csv.push_str(&line(access)));
    let mut response: Response = csv.into_response();
    let kind = HeaderValue::from_static("text/csv; charset=utf-8; header=present");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    let named = HeaderValue::from_static("attachment; filename=\"crossfade-access.csv\"");
    response.headers_mut().insert(header::CONTENT_DISPOSITION, named);
    Ok(response)
}

fn line(access: &Access) -> String {
    let (user, grant) = (&access.user, &access.grant);
    let text = |it: &Option<String>| it.clone().unwrap_or_default();
    let time = |it: Option<Timestamp>| it.map(|it| it.to_string()).unwrap_or_default();
    let (scope, id, name) = match (&grant.property_id, &grant.client_id) {
        (_, Some(client)) => ("client", client.to_string(), text(&access.client_name)),
        (Some(property), None) => ("property", property.to_string(), text(&access.property_name)),
        (None, None) => ("platform", String::new(), String::new()),
    };
    let cells = [
        user.id.to_string(),
        user.kind.as_str().to_owned(),
        user.name.clone(),
        text(&user.email),
        grant.role.as_str().to_owned(),
        scope.to_owned(),
        id,
        name,
        grant.environments.as_ref().map(|slugs| slugs.join(" ")).unwrap_or_default(),
        grant.created_at.to_string(),
        access.provider_name.clone().unwrap_or_else(|| "manual".to_owned()),
        text(&grant.group),
        time(user.last_active_at),
        grant.id.to_string(),
    ];
    format!("{}\r\n", cells.map(|it| cell(&it)).join(","))
}

/// Characters with which a spreadsheet begins a formula.
const FORMULA: [char; 10] = ['=', '+', '-', '@', '\t', '\r', '＝', '＋', '－', '＠'];

/// Returns a cell. A spreadsheet would run one that begins like a formula, so it begins with an apostrophe instead.
fn cell(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut begins = true;
    for character in text.chars() {
        if begins && FORMULA.contains(&character) {
            safe.push('\'');
        }
        safe.push(character);
        // Some spreadsheets begin a cell after a semicolon.
        begins = matches!(character, ';' | '\t' | '\r' | '\n');
    }
    let text = safe;
    match text.contains([',', ';', '"', '\r', '\n']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::{crossfade::samples, people::samples as people};
    use crossfade_core::{
        ProviderId,
        api::{AccessUser, UserKind},
    };

    fn access(n: u32, name: &str) -> Access {
        let user = people::user(n, UserKind::Person, name);
        Access {
            user: AccessUser {
                id: user.id,
                kind: user.kind,
                name: user.name,
                email: user.email,
                last_active_at: (n == 1).then(samples::now),
            },
            grant: user.grants[2].clone(),
            property_name: None,
            client_name: Some("Billing <b>".to_owned()),
            provider_name: None,
            permissions: vec!["secret:rotate".to_owned()],
        }
    }

    fn sample(rows: Vec<Row>) -> String {
        AccessPage {
            layout: Layout::sample(Section::People, "Access"),
            now: samples::now(),
            filter: Form::new("", Fields::default().with("permission", "secret:rotate")),
            offers: Offers::default(),
            permissions: permissions(),
            environments: vec![("staging".into(), "Staging".into())],
            rows,
            sentence: "The roles, by account.".into(),
            query: "permission=secret%3Arotate".into(),
            is_later: false,
            next: None,
        }
        .render()
        .unwrap()
    }

    #[test]
    fn a_role_says_where_since_when_and_why_its_account_holds_it() {
        let mut by_group = access(2, "Bob");
        by_group.provider_name = Some("Company".to_owned());
        by_group.grant.provider_id = Some(ProviderId::parse("idp_0000000000000000000001").unwrap());
        by_group.grant.group = Some("platform".to_owned());
        let html = sample(vec![
            Row { access: access(1, "Ada <i>"), may_remove: true },
            Row { access: by_group, may_remove: false },
        ]);
        assert!(html.contains("Ada &#60;i&#62;") && html.contains("Client Billing &#60;b&#62;"), "{html}");
        assert!(html.contains("Granted manually") && html.contains("Group platform of Company"), "{html}");
        assert_eq!(html.matches("command=\"show-modal\" commandfor=\"take-").count(), 1, "{html}");
        assert!(html.contains("/console/access/export?permission=secret%3Arotate"), "{html}");
        assert!(sample(vec![]).contains("No role matches these filters"));
    }

    #[test]
    fn a_cell_is_no_formula_and_cannot_leave_its_place() {
        assert_eq!(cell("=1+1"), "'=1+1");
        assert_eq!(cell("@SUM(A1)"), "'@SUM(A1)");
        assert_eq!(cell("x;=cmd|'/C calc'!A0;y"), "\"x;'=cmd|'/C calc'!A0;y\"");
        assert_eq!(cell("＝1"), "'＝1");
        assert_eq!(cell("Ada, \"the\" first"), "\"Ada, \"\"the\"\" first\"");
        assert_eq!(cell("two\r\nlines"), "\"two\r\nlines\"");
        let cells = line(&access(1, "-Ada")).trim_end().split(',').count();
        assert_eq!(cells, COLUMNS.trim_end().split(',').count());
    }

    #[test]
    fn the_sentence_names_what_was_asked() {
        let asked = AccessQuery {
            environment: Some("production".into()),
            permission: Some("secret:rotate".into()),
            ..AccessQuery::default()
        };
        assert!(
            sentence(None, &asked, Some("Billing"))
                .starts_with("Roles with secret:rotate, for Billing in production, by account.")
        );
        assert!(
            sentence(Some("Ada"), &AccessQuery::default(), None).starts_with("Roles of Ada, by account.")
        );
    }
}
