//! The theme: light, dark, or the system's setting. Stored in a cookie, so that the first paint is correct.

use super::{cookies::of_theme, paths::own_page, session::Sent};
use crate::Web;
use axum::{
    Json,
    extract::{FromRequestParts, State},
    http::{HeaderMap, header, request::Parts},
    response::{IntoResponse, Redirect},
};
use crossfade_core::Problem;
use serde_json::json;
use std::convert::Infallible;

/// The chosen theme.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Theme {
    #[default]
    System,
    Light,
    Dark,
}

impl Theme {
    pub(crate) const ALL: [Self; 3] = [Self::System, Self::Light, Self::Dark];

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

    /// Returns the attribute for the style sheet.
    pub(crate) fn attribute(&self) -> Attribute {
        Attribute(match self {
            Self::System => "",
            Self::Light => " data-theme=\"light\"",
            Self::Dark => " data-theme=\"dark\"",
        })
    }
}

/// An attribute with one of our own words.
pub(crate) struct Attribute(&'static str);

impl std::fmt::Display for Attribute {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl askama::filters::HtmlSafe for Attribute {}

/// Stores the choice for a year.
pub(super) async fn submit(
    State(web): State<Web>,
    headers: HeaderMap,
    Sent { fields, .. }: Sent,
) -> crate::reply::Reply {
    let script = super::error::is_script(&headers);
    let theme = Theme::parse(fields.text("theme"))
        .ok_or_else(|| Problem::invalid("theme", "must be system, light or dark"))?;
    let to = own_page(fields.text("to")).unwrap_or("/console");
    let mut response = match script {
        true => Json(json!({})).into_response(),
        false => Redirect::to(to).into_response(),
    };
    response.headers_mut().insert(header::SET_COOKIE, of_theme(&web.app, theme.word())?);
    Ok(response)
}

impl FromRequestParts<Web> for Theme {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Infallible> {
        let cookie = super::cookies::theme(&web.app, &parts.headers);
        Ok(cookie.and_then(|word| Self::parse(&word)).unwrap_or_default())
    }
}
