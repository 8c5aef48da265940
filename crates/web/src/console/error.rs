//! Refusals as pages in words.

use super::{
    layout::{Layout, Person, Section, Sheet},
    page_with,
    session::Found,
    theme::Theme,
};
use askama::Template;
use axum::{
    Json,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use crossfade_core::{Code, Problem};
use serde_json::json;

/// Sets the seconds after which to try again (RFC 9110 §10.2.3).
pub(super) fn retry_after(response: &mut Response, seconds: Option<u64>) {
    if let Some(seconds) = seconds {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
}

pub(super) fn status(problem: &Problem) -> StatusCode {
    StatusCode::from_u16(problem.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Whether a script made the request and expects JSON instead of a page.
pub(super) fn is_script(headers: &HeaderMap) -> bool {
    headers.get(header::ACCEPT).is_some_and(|value| value.as_bytes().starts_with(b"application/json"))
}

/// The page of an error for a signed-in person.
#[derive(Template)]
#[template(path = "console/error.html")]
struct ErrorPage<'a> {
    layout: Layout,
    detail: &'a str,
}

/// The page of an error for everyone else.
#[derive(Template)]
#[template(path = "console/error_sheet.html")]
struct ErrorSheet<'a> {
    sheet: Sheet,
    detail: &'a str,
    warning: Option<&'static str>,
}

/// Returns the page of a refusal for its reader.
pub(super) fn page_of(
    problem: &Problem,
    found: &Found,
    (theme, script): (Theme, bool),
    warning: Option<&'static str>,
) -> Response {
    let mut response = page_without_headers(problem, found, (theme, script), warning);
    retry_after(&mut response, problem.retry_seconds());
    if problem.code == Code::TooManyRequests && !script {
        // Only reads are refused with it, so the page can be asked for again.
        response.headers_mut().insert(header::REFRESH, HeaderValue::from_static("2"));
    }
    response
}

fn page_without_headers(
    problem: &Problem,
    found: &Found,
    (theme, script): (Theme, bool),
    warning: Option<&'static str>,
) -> Response {
    let status = status(problem);
    let mut response = if script {
        let body = json!({"code": problem.code.as_str(), "detail": problem.detail, "field": problem.field});
        (status, Json(body)).into_response()
    } else {
        page_in_words(problem, status, found, (theme, warning))
    };
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

fn page_in_words(
    problem: &Problem,
    status: StatusCode,
    found: &Found,
    (theme, warning): (Theme, Option<&'static str>),
) -> Response {
    let title = title(problem.code);
    match found {
        Found::Session(session) => {
            let layout = Layout {
                title: title.to_owned(),
                section: Section::Account,
                nav: Section::of(&session.principal),
                person: Person {
                    name: session.name.clone(),
                    email: session.email.clone(),
                    has_factor: session.has_factor,
                    uses_passkey: false,
                },
                theme,
                here: "/console".to_owned(),
                crumbs: Vec::new(),
                environment: None,
                names_environment: false,
                done: None,
                warning,
                quarantine: None,
                may_release: false,
                confirms_with: None,
            };
            page_with(status, &ErrorPage { layout, detail: &problem.detail })
        }
        Found::Nobody | Found::Unknown(_) => {
            let sheet = Sheet { title, theme, wide: false };
            page_with(status, &ErrorSheet { sheet, detail: &problem.detail, warning })
        }
    }
}

fn title(code: Code) -> &'static str {
    match code.status() {
        401 => "You are signed out",
        403 => "Permission required",
        404 => "Not found",
        405 => "Action not supported here",
        409 | 412 => "Conflict",
        429 => "Too many requests",
        503 => "Temporarily unavailable",
        500.. => "Server error",
        _ => "Request refused",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_a_page() {
        for code in Code::ALL {
            let detail = "Nothing was changed.";
            let layout = Layout::sample(Section::Account, title(*code));
            let html = ErrorPage { layout, detail }.render().unwrap();
            assert!(html.contains(title(*code)) && html.contains(detail));
            let sheet = Sheet { title: title(*code), theme: Theme::System, wide: false };
            let html = ErrorSheet { sheet, detail, warning: None }.render().unwrap();
            assert!(html.contains(title(*code)) && html.contains(detail));
        }
    }
}
