//! Pages for people. So far the one that a one-time link leads to.

mod link;

use crate::Web;
use axum::{
    Router,
    http::{HeaderValue, header},
    response::Response,
    routing::get,
};

pub(crate) fn router() -> Router<Web> {
    let link = get(link::show).post(link::submit).layer(axum::middleware::from_fn(crate::finish));
    Router::new()
        .route("/console/link", link)
        .route("/console/assets/link.js", get(link::script))
        .route("/console/assets/page.css", get(link::style))
}

/// Headers of every page: nothing from elsewhere, nothing inline, no frame around it, nothing kept.
pub(crate) fn page(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'self'; script-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    crate::private(response)
}
