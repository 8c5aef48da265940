//! The gate of the Console, which every request passes: it checks the origin and looks up the session; on the way back
//! it turns a refusal into a page.

use super::{
    cookies::{self, CookiesToSet},
    error,
    message::{self, Said},
    session::Found,
    theme::Theme,
};
use crate::{
    Web, observe,
    reply::Refused,
    unread::{is_encoded, unsupported_encoding},
};
use axum::{
    body::HttpBody,
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, HeaderValue, Uri, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use crossfade_app::Intent;
use crossfade_core::{Code, Problem};

/// Header that the script sends with automatic requests of a page.
pub(super) const BACKGROUND: &str = "crossfade-background";

pub(super) async fn pass(State(web): State<Web>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let found = look_up(&web, &parts).await;
    if let Found::Session(session) = &found {
        observe::note_account(&parts.extensions, session.principal.user());
    }
    let script = error::is_script(&parts.headers);
    let Ok(theme) = Theme::from_request_parts(&mut parts, &web).await;
    let cookies = CookiesToSet::default();
    let said = Said::of(&web.app, &parts, &found);
    let uri = parts.uri.clone();
    // Our own addresses are made of ids and slugs, which nothing has to escape.
    let mut response = if parts.uri.path().contains('%') {
        Refused::from(Problem::not_found()).into_response()
    } else if let Some(redirect) = message::without_secret(&parts.method, &parts.uri) {
        redirect
    } else if is_encoded(&parts.headers) && !body.is_end_stream() {
        Refused::from(unsupported_encoding()).into_response()
    } else if parts.method.is_safe() || is_ours(&parts.headers, &parts.uri, web.app.admin_url()) {
        parts.extensions.insert(found.clone());
        parts.extensions.insert(cookies.clone());
        parts.extensions.insert(said.clone());
        next.run(Request::from_parts(parts, body)).await
    } else {
        let text =
            "This request came from another site. Nothing was changed. Submit it from the Console page.";
        Refused::from(Problem::new(Code::Forbidden, text)).into_response()
    };
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let warning = said.warning().or_else(|| message::warning_of_path(uri.path()));
        response = error::page_of(&problem, &found, (theme, script), warning);
    }
    said.carry_on(&mut response);
    said.shown(&web.app, &uri, &mut response);
    let message = message::cookie_of(&web.app, &found, &mut response);
    for cookie in cookies.take().into_iter().chain(message) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    hardened(&web, response)
}

async fn look_up(web: &Web, parts: &Parts) -> Found {
    let headers = &parts.headers;
    let origin = observe::origin(web, &parts.extensions, headers);
    let Some(value) = cookies::session(&web.app, headers) else { return Found::Nobody };
    let intent = if parts.method.is_safe() { Intent::Read } else { Intent::Change };
    match web.app.session(&value, &origin, !headers.contains_key(BACKGROUND), intent).await {
        Ok(session) => Found::Session(Box::new(session)),
        Err(error) if error.problem.code == Code::Unauthenticated => Found::Nobody,
        Err(error) => {
            // Without a cause, too many unknown callers are waiting; a line for each would flood the log.
            match error.source.is_some() {
                true => tracing::error!(%error, "cannot look up a session"),
                false => tracing::debug!(%error, "a session was not looked up"),
            }
            Found::Unknown(error.problem)
        }
    }
}

/// Whether a request that changes something comes from our own pages. Browsers declare it in `Sec-Fetch-Site`, or at
/// least in `Origin`. A client that sends neither is not a browser, and has only cookies that it was given on purpose.
fn is_ours(headers: &HeaderMap, uri: &Uri, public_url: &str) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("unreadable"));
    match (text("sec-fetch-site"), text("origin")) {
        // "none": the person typed the address or reloaded the page.
        (Some(site), _) => ["same-origin", "none"].contains(&site),
        (None, None) => true,
        (None, Some(origin)) => {
            let host = text("host").or_else(|| uri.authority().map(|authority| authority.as_str()));
            let named = origin.split_once("://").map(|(_, host)| host);
            // With TLS, a page that was loaded without it is not ours.
            let by_host = !public_url.starts_with("https://") && named.is_some() && named == host;
            origin == public_url || by_host
        }
    }
}

fn hardened(web: &Web, response: Response) -> Response {
    let mut response = super::protected(response);
    let url = web.app.admin_url();
    if !url.starts_with("https://") && !is_trustworthy(url) {
        // Over plain http a browser sends no Sec-Fetch-Site, and without a referrer no Origin either.
        let same_origin = HeaderValue::from_static("same-origin");
        response.headers_mut().insert(header::REFERRER_POLICY, same_origin);
        // Browsers ignore this one there, and say so as an error on every page.
        response.headers_mut().remove("cross-origin-opener-policy");
    }
    response
}

/// Whether browsers treat this http address like https (W3C Secure Contexts §3.1).
fn is_trustworthy(public_url: &str) -> bool {
    let host = public_url.trim_start_matches("http://");
    ["127.", "localhost", "[::1]"].iter().any(|local| host.starts_with(local))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "https://auth.example.com";

    fn ours(headers: &[(&'static str, &str)], public_url: &str) -> bool {
        let headers = headers.iter().map(|(name, value)| {
            (axum::http::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        });
        is_ours(&headers.collect(), &Uri::from_static("/console"), public_url)
    }

    #[test]
    fn only_our_own_pages_change_something() {
        // A server without TLS is reached by more than one name.
        let named = [("origin", "http://10.0.0.1:8080"), ("host", "10.0.0.1:8080")];
        assert!(ours(&named, "http://127.0.0.1:8080") && !ours(&named, OWN));
        for good in [
            &[("sec-fetch-site", "same-origin")][..],
            &[("sec-fetch-site", "same-origin"), ("origin", "null")],
            &[("sec-fetch-site", "none")],
            &[("origin", OWN)],
            &[],
        ] {
            assert!(ours(good, OWN), "{good:?}");
        }
        for bad in [
            &[("sec-fetch-site", "cross-site")][..],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "cross-site"), ("origin", OWN)],
            &[("sec-fetch-site", "")],
            &[("origin", "null")],
            &[("origin", "https://evil.example"), ("host", "auth.example.com")],
            &[("origin", "https://auth.example.com.evil.example"), ("host", "auth.example.com")],
            &[("origin", "auth.example.com"), ("host", "auth.example.com")],
            &[("origin", "http://auth.example.com"), ("host", "auth.example.com")],
            &[("origin", "http://auth.example.com:81"), ("host", "auth.example.com")],
        ] {
            assert!(!ours(bad, OWN), "{bad:?}");
        }
    }
}
