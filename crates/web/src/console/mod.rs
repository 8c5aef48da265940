//! Pages for people. A page is a file, beside it its template, and in it a struct with a sample.

pub(crate) mod assets;
mod cookies;
mod crossfade;
mod environment;
mod form;
#[cfg(debug_assertions)]
mod gallery;
mod layout;
mod link;
mod moment;
mod theme;

use crate::Web;
use askama::Template;
use axum::{
    Router,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
pub(crate) use layout::Sheet;
pub(crate) use theme::Theme;

pub(crate) fn router() -> Router<Web> {
    let link = get(link::show).post(link::submit).layer(axum::middleware::from_fn(crate::finish));
    let router = Router::new().route("/console/link", link);
    #[cfg(debug_assertions)]
    let router = router.merge(gallery::router());
    let mut router = router;
    for asset in [&assets::STYLE, &assets::SCRIPT, &assets::MARK] {
        router = router.route(asset.path(), get(async move |query| asset.serve(&query)));
    }
    router
}

/// A page, with what no page of ours lacks: nothing from elsewhere, nothing inline, no frame around it, nothing kept.
pub(crate) fn page(template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => framed(html.into_response()),
        Err(error) => {
            tracing::error!(%error, "a page could not be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// The same for what was refused.
pub(crate) fn page_with(status: StatusCode, template: &impl Template) -> Response {
    let mut response = page(template);
    *response.status_mut() = status;
    response
}

/// A part of a page that is drawn again and again: sent only where it differs from what the reader has.
fn fragment(headers: &HeaderMap, html: String) -> Response {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, html.as_bytes());
    let tag: String = digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let tag = format!("\"{tag}\"");
    let same = headers.get(header::IF_NONE_MATCH).is_some_and(|value| value.as_bytes() == tag.as_bytes());
    let mut response = if same { StatusCode::NOT_MODIFIED.into_response() } else { html.into_response() };
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    framed(response)
}

/// Headers of every page.
fn framed(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        (
            "content-security-policy",
            "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ),
        ("referrer-policy", "no-referrer"),
        ("x-frame-options", "DENY"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    crate::private(response)
}
