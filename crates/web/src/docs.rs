//! Pages that answers point to: the meaning of an error code.

use crate::{Web, console::page};
use axum::{
    Router,
    response::{IntoResponse, Response},
    routing::get,
};
use crossfade_core::Code;
use std::fmt::Write;

pub(crate) fn router() -> Router<Web> {
    Router::new().route("/docs/errors", get(errors))
}

/// Where the `type` of a problem leads (RFC 9457 §3.1.1).
async fn errors() -> Response {
    let mut rows = String::new();
    for code in Code::ALL {
        // Codes and titles are our own words; there is nothing in them to escape.
        let _ = write!(
            rows,
            "<tr id=\"{code}\"><th scope=\"row\"><code>{code}</code></th><td>{status}</td><td>{title}</td></tr>",
            code = code.as_str(),
            status = code.status(),
            title = code.title()
        );
    }
    page(include_str!("errors.html").replace("{rows}", &rows).into_response())
}
