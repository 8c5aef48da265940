//! Every part of the Console in every state, only in debug builds, for checking parts before pages.

use super::{
    crossfade::{Rest, Transition, samples},
    environment::EnvironmentBadge,
    form::{Fields, Form},
    layout::{Layout, Section},
    page,
    theme::Theme,
};
use crate::{
    Web,
    routing::{get, post},
};
use askama::Template;
use axum::{
    Json, Router,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use crossfade_core::{Code, Problem, Timestamp, environment::EnvironmentKind};
use serde_json::json;
use std::time::Duration;

#[derive(Template)]
#[template(path = "console/gallery.html")]
struct Gallery {
    layout: Layout,
    now: Timestamp,
    until: Timestamp,
    earlier: Timestamp,
    moving: Transition,
    late: Transition,
    eventful: Transition,
    started: Transition,
    over: Transition,
    rest: Rest,
    overdue: Rest,
    badges: Vec<EnvironmentBadge>,
    rows: Vec<Row>,
    options: Vec<(&'static str, &'static str)>,
    form: Form,
    refused: Form,
    broken: Form,
    dialog: Form,
}

struct Row {
    name: &'static str,
    id: &'static str,
    environment: EnvironmentBadge,
    status: &'static str,
    moving: bool,
}

impl Gallery {
    fn sample() -> Self {
        let now = samples::now();
        let badges: Vec<_> = [
            ("Development", EnvironmentKind::Test),
            ("Staging", EnvironmentKind::Test),
            ("Production", EnvironmentKind::Live),
            ("Load test", EnvironmentKind::Test),
            ("Partner sandbox", EnvironmentKind::Test),
        ]
        .into_iter()
        .enumerate()
        .map(|(position, (name, kind))| EnvironmentBadge::new(name, kind, position))
        .collect();
        let row = |name, id, at: usize, status, moving| Row {
            name,
            id,
            environment: badges[at].clone(),
            status,
            moving,
        };
        let rows = vec![
            row("Billing API", "cl_0000000000000000000001", 2, "retiring", true),
            row(
                "Warehouse-synchronisation-with-a-name-that-somebody-made-up-in-a-hurry-and-nobody-shortened",
                "cl_0000000000000000000002",
                1,
                "current",
                false,
            ),
            row("請求書 API", "cl_0000000000000000000003", 0, "revoked", false),
        ];
        let filled = Fields::default()
            .with("name", "Billing API")
            .with("role", "viewer")
            .with("environments", "staging")
            .with("kind", "person")
            .with("transition_hours", "24");
        let wrong = filled.clone().with("reason", "");
        let mut again =
            Fields::default().with("name", "").with("role", "viewer").with("transition_hours", "169");
        let general = Form::new("g3", again.clone()).refused(Problem::new(
            Code::NameTaken,
            "A client of this property has this name already. Nothing was changed.",
        ));
        again = again.with("x", "y");
        Self {
            layout: Layout::sample(Section::People, "Gallery")
                .crumb("Clients", "/console/gallery")
                .in_environment(badges[2].clone())
                .done(Some("The gallery was opened. Nothing was changed.")),
            now,
            until: now.after(Duration::from_secs(76_440)),
            earlier: now.before(Duration::from_secs(11_100)),
            moving: samples::moving(13),
            late: samples::moving(20),
            eventful: samples::eventful(),
            started: samples::transition(1, |_| (0, 0), 0),
            over: samples::transition(30, |hour| (40_u64.saturating_sub(u64::from(hour) * 2), 60), 0),
            rest: samples::rest(40),
            overdue: samples::rest(120),
            badges,
            rows,
            options: vec![("viewer", "Viewer"), ("secret_viewer", "Secret Viewer"), ("owner", "Owner")],
            form: Form::new("g1", wrong),
            refused: Form::new("g2", again).refused(Problem::invalid("name", "must not be empty")),
            broken: general,
            dialog: Form::new("g4", filled),
        }
    }
}

pub(super) fn router() -> Router<Web> {
    Router::new()
        .route(
            "/console/gallery",
            get(show).merge(post(async || axum::response::Redirect::to("/console/gallery"))),
        )
        .route(
            "/console/gallery/secret",
            post(async || {
                Json(json!({"value": "crossfade_live_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ"}))
            }),
        )
        .route("/console/gallery/refused", post(refused))
        .route("/console/gallery/fragment", get(fragment))
}

async fn show(theme: Theme) -> Response {
    let mut gallery = Gallery::sample();
    gallery.layout.theme = theme;
    page(&gallery)
}

async fn refused() -> Response {
    let detail = "This secret is not stored any more. Nothing was changed.";
    (StatusCode::CONFLICT, Json(json!({"code": "secret_not_stored", "detail": detail}))).into_response()
}

async fn fragment(headers: HeaderMap) -> Response {
    super::fragment(&headers, "<p class=\"small quiet\">Drawn by the server, again and again.</p>".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gallery_is_rendered() {
        let html = Gallery::sample().render().unwrap();
        assert!(html.contains("Rotate client secret") && html.contains("Name must not be empty."));
        assert!(!html.contains(" style=") && !html.contains(" onclick="), "nothing inline");
    }
}
