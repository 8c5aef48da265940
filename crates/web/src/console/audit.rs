//! The audit trail: who did what, when and why.

use super::{
    error::{Reply, status},
    form::{Fields, Form},
    layout::{Layout, Section},
    page_with,
    session::SignedIn,
};
use askama::Template;
use axum::{
    extract::RawQuery,
    http::{HeaderValue, StatusCode, header},
};
use crossfade_app::{AuditQuery, ListQuery};
use crossfade_core::{Problem, Timestamp, api::AuditEvent, audit::Action};

#[derive(Template)]
#[template(path = "console/audit.html")]
struct AuditPage {
    layout: Layout,
    now: Timestamp,
    filter: Form,
    actions: Vec<(String, String)>,
    environments: Vec<(String, String)>,
    outcomes: [(&'static str, &'static str); 3],
    events: Vec<AuditEvent>,
    /// The filters, for the addresses of other pages and of the export.
    query: String,
    is_first: bool,
    next_cursor: Option<String>,
}

const FILTERS: [&str; 7] = ["actor", "action", "client", "environment", "since", "until", "outcome"];

impl AuditPage {
    fn first(&self) -> String {
        if self.is_first { String::new() } else { format!("/console/audit?{}", self.query) }
    }

    fn next(&self) -> String {
        let next = self.next_cursor.as_ref();
        next.map(|cursor| format!("/console/audit?{}&cursor={cursor}", self.query)).unwrap_or_default()
    }
}

/// A day as a field has it is the time at which it begins, in UTC.
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
    }
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
    let (app, caller) = (&signed.app, signed.caller());
    let (events, next_cursor, problem): (_, _, Option<Problem>) =
        match app.list_audit_events(caller, &query(&fields)).await {
            Ok(found) => (found.items, found.next_cursor, None),
            // A filter that cannot be read is shown at the filter.
            Err(error) if error.problem.code.status() == 400 => (Vec::new(), None, Some(error.problem)),
            Err(error) => return Err(error.into()),
        };
    let any = |label: &str| vec![(String::new(), label.to_owned())];
    let actions = Action::ALL.iter().map(|action| (action.as_str().to_owned(), action.as_str().to_owned()));
    let environments = app.list_environments(caller).await?.into_iter().map(|it| (it.slug, it.name));
    let answer = problem.as_ref().map_or(StatusCode::OK, status);
    let (is_first, address) = (!fields.ticked("cursor"), address(&fields));
    let filter = Form::new("", fields);
    Ok(page_with(
        answer,
        &AuditPage {
            layout: signed.layout(Section::Audit, "Audit"),
            now: signed.session.now,
            filter: match problem {
                Some(problem) => filter.refused(problem),
                None => filter,
            },
            actions: any("Every action").into_iter().chain(actions).collect(),
            environments: any("Every environment").into_iter().chain(environments).collect(),
            outcomes: [("", "Done and refused"), ("done", "Done"), ("refused", "Refused")],
            events,
            query: address,
            is_first,
            next_cursor,
        },
    ))
}

/// The same as a file of JSON lines.
pub(super) async fn export(signed: SignedIn, RawQuery(raw): RawQuery) -> Reply {
    let fields = Fields::parse(raw.unwrap_or_default().as_bytes());
    let export = signed.app.export_audit_events(signed.caller(), &query(&fields)).await?;
    let mut response = crate::api::json_lines(export);
    let named = HeaderValue::from_static("attachment; filename=\"crossfade-audit.jsonl\"");
    response.headers_mut().insert(header::CONTENT_DISPOSITION, named);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_at_midnight_utc_and_the_address_keeps_every_filter() {
        let fields = Fields::parse(b"since=2026-11-24&until=2026-11-25T10:00:00Z&actor=usr_1&x=y&cursor=z");
        let asked = query(&fields);
        assert_eq!(asked.since.as_deref(), Some("2026-11-24T00:00:00Z"));
        assert_eq!(asked.until.as_deref(), Some("2026-11-25T10:00:00Z"));
        assert_eq!(address(&fields), "actor=usr_1&since=2026-11-24&until=2026-11-25T10%3A00%3A00Z");
    }
}
