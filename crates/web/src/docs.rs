//! Public pages that responses and the Console link to: error codes, roles, and the API.

use crate::{
    Web,
    console::{Sheet, Theme, protected},
    document::Document,
    routing::get,
};
use askama::Template;
use axum::{
    Router,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use crossfade_core::{
    Code, Operation,
    operations::Access,
    roles::{Permission, Role},
};
use serde_json::Value;
use std::sync::OnceLock;

pub(crate) fn router() -> Router<Web> {
    Router::new()
        .route("/docs", get(async || Redirect::to("/docs/api")))
        .route("/docs/api", get(api))
        .route("/docs/errors", get(errors))
        .route("/docs/roles", get(roles))
}

/// A page that is the same for every reader, rendered once per theme.
struct Page {
    render: fn(Theme) -> askama::Result<String>,
    made: [OnceLock<Document>; Theme::ALL.len()],
}

impl Page {
    const fn new(render: fn(Theme) -> askama::Result<String>) -> Self {
        Self { render, made: [const { OnceLock::new() }; Theme::ALL.len()] }
    }

    fn answer(&self, theme: Theme, headers: &HeaderMap) -> Response {
        let made = &self.made[theme as usize];
        let document = match made.get() {
            Some(document) => document,
            None => match (self.render)(theme) {
                Ok(html) => made.get_or_init(|| Document::new("text/html; charset=utf-8", html)),
                Err(error) => {
                    tracing::error!(%error, "cannot render a page");
                    return StatusCode::INTERNAL_SERVER_ERROR.into_response();
                }
            },
        };
        let mut response = protected(document.answer(headers));
        let out = response.headers_mut();
        // Nothing here is personal, so the page can be cached; the theme is in a cookie.
        out.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        out.insert(header::VARY, HeaderValue::from_static("cookie"));
        response
    }
}

fn sheet(title: &'static str, theme: Theme) -> Sheet {
    Sheet { title, theme, wide: true }
}

/// The page that the `type` of a problem links to (RFC 9457 §3.1.1).
#[derive(Template)]
#[template(path = "errors.html")]
struct Errors {
    sheet: Sheet,
    codes: &'static [Code],
}

async fn errors(theme: Theme, headers: HeaderMap) -> Response {
    static PAGE: Page =
        Page::new(|theme| Errors { sheet: sheet("Error codes", theme), codes: Code::ALL }.render());
    PAGE.answer(theme, &headers)
}

/// The roles with their permissions, generated from the table that decides.
#[derive(Template)]
#[template(path = "roles.html")]
struct Roles {
    sheet: Sheet,
}

async fn roles(theme: Theme, headers: HeaderMap) -> Response {
    static PAGE: Page = Page::new(|theme| Roles { sheet: sheet("Roles", theme) }.render());
    PAGE.answer(theme, &headers)
}

/// The operations of the API for people, generated from the document for programs.
#[derive(Template)]
#[template(path = "api.html")]
struct ApiReference {
    sheet: Sheet,
}

impl ApiReference {
    fn parameters(&self, operation: &Operation) -> Vec<(&'static str, &'static str)> {
        let all = described(*operation)["parameters"].as_array();
        let queries = all.into_iter().flatten().filter(|it| it["in"] == "query");
        queries.filter_map(|it| Some((it["name"].as_str()?, it["description"].as_str()?))).collect()
    }

    fn body(&self, operation: &Operation) -> Option<String> {
        pretty(&described(*operation)["requestBody"]["content"]["application/json"]["example"])
    }

    fn answer(&self, operation: &Operation) -> Option<String> {
        let answers = described(*operation)["responses"].as_object()?;
        let (_, success) = answers.iter().find(|(status, _)| status.starts_with('2'))?;
        pretty(&success["content"]["application/json"]["example"])
    }
}

fn described(operation: Operation) -> &'static Value {
    let method = operation.method().as_str().to_lowercase();
    &crate::openapi()["paths"][operation.path()][method]
}

fn pretty(example: &Value) -> Option<String> {
    (!example.is_null()).then(|| serde_json::to_string_pretty(example).unwrap_or_default())
}

async fn api(theme: Theme, headers: HeaderMap) -> Response {
    static PAGE: Page = Page::new(|theme| ApiReference { sheet: sheet("The admin API", theme) }.render());
    PAGE.answer(theme, &headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_and_every_role_is_explained() {
        let sheet = || sheet("x", Theme::System);
        let errors = Errors { sheet: sheet(), codes: Code::ALL }.render().unwrap();
        for code in Code::ALL {
            assert!(errors.contains(&format!("id=\"{}\"", code.as_str())), "{code:?}");
        }
        let api = ApiReference { sheet: sheet() }.render().unwrap();
        for operation in Operation::ALL {
            assert!(api.contains(&format!("id=\"{}\"", operation.id())), "{operation:?}");
        }
        let roles = Roles { sheet: sheet() }.render().unwrap();
        for role in Role::ALL {
            assert!(roles.contains(&format!("id=\"{}\"", role.as_str())), "{role:?}");
        }
        for permission in Permission::ALL {
            assert!(roles.contains(permission.as_str()), "{permission:?}");
        }
    }
}
