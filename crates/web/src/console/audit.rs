//! The audit trail: who did what, when and why.

use super::{
    audit_event::{self, FactValue, Line},
    error::status,
    form::{Fields, Form},
    layout::{Layout, Section},
    page_with,
    session::SignedIn,
};
use crate::reply::Reply;
use askama::Template;
use axum::{
    extract::RawQuery,
    http::{HeaderMap, HeaderValue, StatusCode, header},
};
use crossfade_app::{AuditQuery, ClientQuery, Error, ListQuery};
use crossfade_core::{
    ClientId, Code, Problem, Timestamp, UserId, api,
    api::AuditEvent,
    audit::{Action, Via},
    roles::Permission,
    text::folded,
};

#[derive(Template)]
#[template(path = "console/audit.html")]
struct AuditPage {
    layout: Layout,
    now: Timestamp,
    filter: Form,
    actions: Vec<(String, String)>,
    environments: Vec<(String, String)>,
    outcomes: [(&'static str, &'static str); 3],
    kinds: [(&'static str, &'static str); 5],
    /// Whether one of the folded filters is set.
    more: bool,
    lines: Vec<Line>,
    /// Start and end of the filter, as applied.
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    /// The filters, for the URLs of other pages and of the export.
    query: String,
    is_first: bool,
    next_cursor: Option<String>,
}

const FILTERS: [&str; 9] =
    ["actor", "action", "client", "environment", "since", "until", "outcome", "via", "via_kind"];

/// Kinds of [`Via`] with their labels.
const KINDS: [(&str, &str); 5] = [
    ("", "All"),
    ("token", "API tokens"),
    ("session", "Sessions"),
    ("machine", "Local commands"),
    ("policy", "Policies"),
];

/// Returns the name of an event's credential; `None` if the actor's name already says it.
pub(super) fn credential(event: &AuditEvent) -> Option<&'static str> {
    match event.via {
        Some(Via::Token { .. }) => Some("API token"),
        Some(Via::Session { .. }) => Some("Session"),
        Some(Via::Machine { .. } | Via::Policy { .. }) | None => None,
    }
}

/// Returns the path of the events of a token or a session.
pub(super) fn activity(id: impl std::fmt::Display) -> String {
    format!("/console/audit?via={id}")
}

impl AuditPage {
    fn first(&self) -> String {
        if self.is_first { String::new() } else { format!("/console/audit?{}", self.query) }
    }

    fn next(&self) -> String {
        let next = self.next_cursor.as_ref();
        next.map(|cursor| format!("/console/audit?{}&cursor={cursor}", self.query)).unwrap_or_default()
    }
}

/// Returns the time of a field. A day without a time begins at midnight UTC; with JavaScript, the browser sends the
/// time at which the day begins in the reader's zone.
fn time(fields: &Fields, name: &str) -> Option<String> {
    let text = fields.filled(name)?.trim();
    Some(if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() })
}

fn query(fields: &Fields) -> AuditQuery {
    let own = |name: &str| fields.filled(name).map(|text| text.trim().to_owned());
    AuditQuery {
        list: ListQuery { limit: None, cursor: own("cursor") },
        actor: own("actor"),
        action: own("action"),
        client: own("client"),
        environment: own("environment"),
        since: time(fields, "since"),
        until: time(fields, "until"),
        outcome: own("outcome"),
        via: own("via"),
        via_kind: own("via_kind"),
    }
}

/// Reads the filters, with client and actor names resolved to ids.
async fn meant(signed: &SignedIn, fields: &Fields) -> Result<AuditQuery, Error> {
    let (app, principal, mut query) = (&signed.app, signed.principal(), query(fields));
    let list = || ListQuery { limit: Some("200".into()), cursor: None };
    if let Some(name) = query.client.clone().filter(|name| ClientId::parse(name).is_err()) {
        let clients = ClientQuery { list: list(), q: Some(name.clone()), ..ClientQuery::default() };
        let is_meant = |it: &api::Client| {
            let by_id = it.registrations.iter().any(|own| own.client_id.as_str() == name);
            by_id || folded(&it.name) == folded(&name)
        };
        let mut found = app.list_clients(principal, &clients).await?.items.into_iter().filter(is_meant);
        query.client = match (found.next(), found.next()) {
            (Some(only), None) => Some(only.id.to_string()),
            (None, _) => {
                return Err(unclear("client", "does not match any client's name, client_id or ID"));
            }
            _ => return Err(unclear("client", "matches several clients. Enter the client_id of one")),
        };
    }
    // An actor can be a program of this server or an address that failed to sign in, too.
    if let Some(name) = query.actor.clone().filter(|name| UserId::parse(name).is_err())
        && principal.may_somewhere(Permission::UserRead)
    {
        let users = app.list_users(principal, Some(&name), &list()).await?.items;
        let is = |text: &str| folded(text) == folded(&name);
        let mut found = users.into_iter().filter(|it| it.email.as_deref().is_some_and(is) || is(&it.name));
        query.actor = match (found.next(), found.next()) {
            (Some(only), None) => Some(only.id.to_string()),
            (None, _) => Some(name),
            _ => {
                return Err(unclear("actor", "matches several people. Enter the email address of one"));
            }
        };
    }
    Ok(query)
}

fn unclear(field: &'static str, what: &str) -> Error {
    Problem::new(Code::InvalidQuery, format!("{field} {what}.")).with_field(field).into()
}

/// Returns the fields with days only, for fields of the type `date`.
fn days(mut fields: Fields) -> Fields {
    for name in ["since", "until"] {
        let day = fields.filled(name).filter(|text| Timestamp::parse_bound(text.trim()).is_ok());
        if let Some(day) = day.and_then(|text| text.trim().get(..10)).map(str::to_owned) {
            while fields.take(name).is_some() {}
            fields = fields.with(name, day);
        }
    }
    fields
}

fn address(fields: &Fields) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for name in FILTERS {
        if let Some(value) = fields.filled(name) {
            query.append_pair(name, value);
        }
    }
    query.finish()
}

pub(super) async fn show(signed: SignedIn, RawQuery(raw): RawQuery) -> Reply {
    let fields = Fields::parse(raw.unwrap_or_default().as_bytes());
    let (app, principal) = (&signed.app, signed.principal());
    let bound = |name: &str| time(&fields, name).and_then(|text| Timestamp::parse_bound(&text).ok());
    let (since, until) = (bound("since"), bound("until"));
    let found = match meant(&signed, &fields).await {
        Ok(query) => app.list_audit_events(principal, &query).await,
        Err(error) => Err(error),
    };
    let (events, next_cursor, problem): (_, _, Option<Problem>) = match found {
        Ok(found) => (found.items, found.next_cursor, None),
        // A filter that cannot be read is shown at the filter.
        Err(error) if error.problem.code.status() == 400 => (Vec::new(), None, Some(error.problem)),
        Err(error) => return Err(error.into()),
    };
    let any = |label: &str| vec![(String::new(), label.to_owned())];
    let actions = Action::ALL.iter().map(|action| (action.as_str().to_owned(), action.as_str().to_owned()));
    let environments = app.list_environments(principal).await?.into_iter().map(|it| (it.slug, it.name));
    let answer = problem.as_ref().map_or(StatusCode::OK, status);
    let (is_first, address) = (!fields.ticked("cursor"), address(&fields));
    let names = app.names_in_trail(principal, events.iter().flat_map(audit_event::ids)).await?;
    let more = ["actor", "outcome", "via", "via_kind"].iter().any(|name| fields.filled(name).is_some());
    let filter = Form::new("", days(fields));
    Ok(page_with(
        answer,
        &AuditPage {
            layout: signed.layout(Section::Audit, "Audit"),
            now: signed.session.now,
            filter: match problem {
                Some(problem) => filter.refused(problem),
                None => filter,
            },
            actions: any("All actions").into_iter().chain(actions).collect(),
            environments: any("All environments").into_iter().chain(environments).collect(),
            outcomes: [("", "All outcomes"), ("done", "Done"), ("refused", "Refused")],
            kinds: KINDS,
            more,
            lines: events.into_iter().map(|event| Line::new(event, &names)).collect(),
            since,
            until,
            query: address,
            is_first,
            next_cursor,
        },
    ))
}

/// Exports the filtered trail as JSON Lines. An export is itself recorded in the trail, so another site must not be
/// able to start one. Browsers that send no `Sec-Fetch-Site` are let through.
pub(super) async fn export(signed: SignedIn, headers: HeaderMap, RawQuery(raw): RawQuery) -> Reply {
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    if site.is_some_and(|site| ![&b"same-origin"[..], b"none"].contains(&site)) {
        let text = "This request came from another site. Nothing was exported. Start the export from the Console page.";
        return Err(Problem::new(Code::Forbidden, text).into());
    }
    let fields = Fields::parse(raw.unwrap_or_default().as_bytes());
    let export = signed.app.export_audit_events(signed.principal(), &meant(&signed, &fields).await?).await?;
    let mut response = crate::api::json_lines(export);
    let named = HeaderValue::from_static("attachment; filename=\"crossfade-audit.jsonl\"");
    response.headers_mut().insert(header::CONTENT_DISPOSITION, named);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::crossfade::samples;
    use crossfade_app::Named;
    use serde_json::json;
    use std::collections::HashMap;

    #[test]
    fn an_event_names_the_client_and_escapes_what_others_wrote() {
        let client = "cl_0000000000000000000001";
        let event = |action: &str, client: Option<&str>| {
            let event = json!({
                "seq": 7, "at": samples::now(), "actor": {"kind": "user", "id": "usr_0000000000000000000001", "name": "Ada <b>"},
                "action": action, "outcome": "refused", "client_id": client, "environment": "production", "target": null,
                "reason": "<script>", "source_ip": null, "request_id": null,
                "via": {"kind": "token", "id": "tok_0000000000000000000001"}, "details": {},
            });
            serde_json::from_value(event).unwrap()
        };
        let sample = |events: Vec<AuditEvent>, names: &HashMap<String, Named>| AuditPage {
            layout: Layout::sample(Section::Audit, "Audit"),
            now: samples::now(),
            filter: Form::new("", Fields::default()),
            actions: vec![(String::new(), "All actions".into())],
            environments: vec![(String::new(), "All environments".into())],
            outcomes: [("", "All outcomes"), ("done", "Done"), ("refused", "Refused")],
            kinds: KINDS,
            more: false,
            lines: events.into_iter().map(|event| Line::new(event, names)).collect(),
            since: None,
            until: None,
            query: String::new(),
            is_first: true,
            next_cursor: Some("x".into()),
        };
        let names = HashMap::from([(client.to_owned(), Named::Client("Billing".into()))]);
        let html = sample(vec![event("secret.rotated", Some(client))], &names).render().unwrap();
        assert!(html.contains("Billing") && html.contains("Refused") && html.contains("cursor=x"), "{html}");
        assert!(html.contains("href=\"/console/audit?via=tok_0000000000000000000001\">API token"), "{html}");
        assert!(
            !html.contains("<script>") && !html.contains("Ada <b>") && !html.contains(" style="),
            "{html}"
        );
        let html = sample(vec![event("secret.rotated", Some(client))], &HashMap::new()).render().unwrap();
        assert!(html.contains(client) && !html.contains("Billing"), "without the right to its name, the id");
        assert!(sample(Vec::new(), &HashMap::new()).render().unwrap().contains("No matching events"));
    }

    #[test]
    fn a_day_begins_at_midnight_utc_and_the_address_keeps_every_filter() {
        let fields =
            Fields::parse(b"since=2026-11-24&until=2026-11-25T10:00:00Z&actor=usr_1&x=y&cursor=z&via=tok_1");
        let asked = query(&fields);
        assert_eq!(asked.since.as_deref(), Some("2026-11-24T00:00:00Z"));
        assert_eq!(asked.until.as_deref(), Some("2026-11-25T10:00:00Z"));
        assert_eq!(address(&fields), "actor=usr_1&since=2026-11-24&until=2026-11-25T10%3A00%3A00Z&via=tok_1");
        let local = Fields::parse(b"since=2026-11-24T00%3A00%3A00%2B13%3A00&until=soon");
        assert_eq!(time(&local, "since").as_deref(), Some("2026-11-24T00:00:00+13:00"));
        let shown = days(local);
        assert_eq!((shown.text("since"), shown.text("until")), ("2026-11-24", "soon"));
    }
}
