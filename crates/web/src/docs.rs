//! Pages that answers point to: the meaning of an error code.

use crate::{
    Web,
    console::{Sheet, Theme, page},
};
use askama::Template;
use axum::{Router, response::Response, routing::get};
use crossfade_core::Code;

pub(crate) fn router() -> Router<Web> {
    Router::new().route("/docs/errors", get(errors))
}

/// Where the `type` of a problem leads (RFC 9457 §3.1.1).
#[derive(Template)]
#[template(path = "errors.html")]
struct Errors {
    sheet: Sheet,
    codes: &'static [Code],
}

async fn errors(theme: Theme) -> Response {
    page(&Errors { sheet: Sheet { title: "Error codes", theme, wide: true }, codes: Code::ALL })
}
