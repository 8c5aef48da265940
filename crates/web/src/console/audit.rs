//! The audit trail: who did what, when and why.

use super::{
    audit_event::{FactValue, Line},
    clients::badges,
    error::status,
    form::{Fields, Form},
    layout::{Layout, Section},
    page_with,
    session::SignedIn,
    words,
};
use crate::reply::Reply;
use askama::Template;
use axum::{
    extract::RawQuery,
    http::{HeaderMap, HeaderValue, StatusCode, header},
};
use crossfade_app::{AuditQuery, ExportFormat, ListQuery, TrailPage};
use crossfade_core::{
    Code, Problem, Timestamp,
    api::AuditEvent,
    audit::{Action, Via},
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
    /// Whether the beginning and the end of sessions are left out.
    hides_sessions: bool,
    lines: Vec<Line>,
    /// Start and end of the filter, as applied.
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    /// The filters, for the URLs of other pages and of the export.
    query: String,
    is_first: bool,
    next_cursor: Option<String>,
}

const FILTERS: [&str; 10] =
    ["actor", "action", "client", "environment", "since", "until", "outcome", "via", "via_kind", "sessions"];

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
        without_sessions: hides_sessions(fields),
    }
}

/// Whether the beginning and the end of sessions are left out: unless they are asked for, or what is asked for can be
/// nothing else.
fn hides_sessions(fields: &Fields) -> bool {
    let of_sessions = fields.text("action").trim().starts_with("session.");
    !fields.ticked("sessions") && !of_sessions && fields.filled("via").is_none()
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
    let read = app.read_trail(principal, &query(&fields)).await?;
    let known = badges(&read.environments);
    let TrailPage { now, events, names, environments, refused: problem } = read;
    let any = |label: &str| vec![(String::new(), label.to_owned())];
    let actions =
        Action::ALL.iter().map(|action| (action.as_str().to_owned(), words::event(action.as_str())));
    let environments = environments.into_iter().map(|it| (it.slug, it.name));
    let answer = problem.as_ref().map_or(StatusCode::OK, status);
    let (is_first, address) = (!fields.ticked("cursor"), address(&fields));
    let hides_sessions = hides_sessions(&fields);
    let more = ["actor", "outcome", "via", "via_kind"].iter().any(|name| fields.filled(name).is_some());
    let filter = Form::new("", days(fields));
    Ok(page_with(
        answer,
        &AuditPage {
            layout: signed.layout(Section::Audit, "Audit"),
            now,
            filter: match problem {
                Some(problem) => filter.refused(problem),
                None => filter,
            },
            actions: any("All events").into_iter().chain(actions).collect(),
            environments: any("All environments").into_iter().chain(environments).collect(),
            outcomes: [("", "All outcomes"), ("done", "Done"), ("refused", "Refused")],
            kinds: KINDS,
            more,
            hides_sessions,
            lines: events.items.into_iter().map(|event| Line::new(event, &names, &known)).collect(),
            since,
            until,
            query: address,
            is_first,
            next_cursor: events.next_cursor,
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
    // An export is complete: what the page hides unless asked for is in it.
    let asked = AuditQuery { without_sessions: false, ..query(&fields) };
    let filter = signed.app.resolve_names(signed.principal(), &asked).await?;
    let export = signed.app.export_audit_events(signed.principal(), &filter, ExportFormat::Jsonl).await?;
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
    use crossfade_core::api;
    use serde_json::json;
    use std::collections::HashMap;

    fn production() -> api::Environment {
        serde_json::from_value(json!({
            "slug": "production", "name": "Live shop", "kind": "live", "issuer": "https://auth.example.com/env/production",
            "signing_alg": "ES256", "show_once": false, "wipe_after_days": 30, "max_age_days": 90,
        }))
        .unwrap()
    }

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
            actions: vec![(String::new(), "All events".into())],
            environments: vec![(String::new(), "All environments".into())],
            outcomes: [("", "All outcomes"), ("done", "Done"), ("refused", "Refused")],
            kinds: KINDS,
            more: false,
            hides_sessions: true,
            lines: events
                .into_iter()
                .map(|event| Line::new(event, names, &badges(&[production()])))
                .collect(),
            since: None,
            until: None,
            query: String::new(),
            is_first: true,
            next_cursor: Some("x".into()),
        };
        let names = HashMap::from([(client.to_owned(), Named::Client("Billing".into()))]);
        let html = sample(vec![event("secret.rotated", Some(client))], &names).render().unwrap();
        assert!(html.contains("Billing") && html.contains("Refused") && html.contains("cursor=x"), "{html}");
        assert!(html.contains("Secret rotated") && html.contains("<code>secret.rotated</code>"), "{html}");
        assert!(html.contains("href=\"/console/environments/production\">Live shop</a>"), "{html}");
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
    fn sessions_are_hidden_unless_they_are_asked_for() {
        for (filters, hidden) in [
            ("", true),
            ("outcome=refused", true),
            ("sessions=true", false),
            ("action=session.created", false),
            ("action=secret.rotated", true),
            ("via=ses_1", false),
        ] {
            let fields = Fields::parse(filters.as_bytes());
            assert_eq!(query(&fields).without_sessions, hidden, "{filters}");
        }
        assert_eq!(address(&Fields::parse(b"sessions=true")), "sessions=true");
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
