//! Light, dark, or what the system says: kept in a cookie, so that the first paint is right.

use super::session::{Sent, own_path};
use crate::Web;
use axum::{
    Json,
    extract::{FromRequestParts, State},
    http::{HeaderMap, HeaderValue, header, request::Parts},
    response::{IntoResponse, Redirect},
};
use crossfade_core::Problem;
use serde_json::json;
use std::convert::Infallible;

/// The colours that somebody wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Theme {
    #[default]
    System,
    Light,
    Dark,
}

impl Theme {
    pub(crate) const ALL: [Self; 3] = [Self::System, Self::Light, Self::Dark];
    /// The name of the cookie.
    pub(crate) const COOKIE: &str = "crossfade_theme";

    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::System => "System",
            Self::Light => "Light",
            Self::Dark => "Dark",
        }
    }

    pub(crate) fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|theme| theme.word() == word)
    }

    /// What the style sheet goes by.
    pub(crate) fn attribute(&self) -> Attribute {
        Attribute(match self {
            Self::System => "",
            Self::Light => " data-theme=\"light\"",
            Self::Dark => " data-theme=\"dark\"",
        })
    }
}

/// An attribute of our own words.
pub(crate) struct Attribute(&'static str);

impl std::fmt::Display for Attribute {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl askama::filters::HtmlSafe for Attribute {}

/// Keeps the choice for a year.
pub(super) async fn submit(
    State(web): State<Web>,
    headers: HeaderMap,
    Sent { fields, .. }: Sent,
) -> super::error::Reply {
    let script = super::error::is_script(&headers);
    let theme = Theme::parse(fields.text("theme"))
        .ok_or_else(|| Problem::invalid("theme", "must be system, light or dark"))?;
    let to = own_path(fields.text("to")).unwrap_or("/console");
    let mut response = match script {
        true => Json(json!({})).into_response(),
        false => Redirect::to(to).into_response(),
    };
    let secure = if web.app.public_url().starts_with("https://") { "; Secure" } else { "" };
    let cookie = format!(
        "{}={}; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax{secure}",
        Theme::COOKIE,
        theme.word()
    );
    if let Ok(cookie) = HeaderValue::try_from(cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

impl<S: Sync> FromRequestParts<S> for Theme {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let cookie = super::cookies::read(&parts.headers, Self::COOKIE);
        Ok(cookie.and_then(|word| Self::parse(&word)).unwrap_or_default())
    }
}
