//! The Console: pages for people. Each page is a file with a struct and a sample, with its template beside it.

mod account;
mod agent;
pub(crate) mod assets;
mod audit;
mod audit_event;
mod clients;
mod code;
mod command_line;
mod confirm;
mod cookies;
mod crossfade;
mod environment;
mod environments;
mod error;
mod factors;
mod form;
#[cfg(debug_assertions)]
mod gallery;
mod gate;
mod home;
mod layout;
mod leaks;
mod limits;
mod link;
mod mail;
mod message;
mod moment;
mod nodes;
mod offers;
mod passkeys;
mod paths;
mod people;
mod properties;
mod provider_sign_in;
mod providers;
mod quarantine;
mod session;
mod sign_in;
mod sign_in_policy;
mod switches;
mod theme;
mod webhooks;
mod words;

use crate::{
    Web,
    document::{is_known, tag},
    reply::Refused,
    routing::{any, get, post},
};
use askama::Template;
use axum::{
    Router,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header},
    middleware,
    response::{IntoResponse, Redirect, Response},
};
use crossfade_core::{Code, Problem};
pub(crate) use layout::Sheet;
pub(crate) use theme::Theme;

pub(crate) fn router(web: &Web) -> Router<Web> {
    let pages = Router::new()
        .route("/", get(async || Redirect::to("/console")))
        .route("/console", get(home::show))
        .route("/console/properties", get(properties::show).merge(post(properties::create)))
        .route("/console/properties/{property}", get(limits::show).merge(post(properties::rename)))
        .route(
            "/console/properties/{property}/limits/{environment}",
            get(limits::edit).merge(post(limits::submit)),
        )
        .route("/console/properties/{property}/delete", get(properties::back).merge(post(properties::delete)))
        .route("/console/environments", get(environments::list::show).merge(post(environments::list::create)))
        .route(
            "/console/environments/{environment}",
            get(environments::one::show).merge(post(environments::one::update)),
        )
        .route("/console/environments/{environment}/keys", post(environments::one::rotate_key))
        .route("/console/environments/{environment}/unregistered", get(environments::unregistered::show))
        .route("/console/environments/{environment}/delete", post(environments::one::delete))
        .route("/console/audit", get(audit::show))
        .route("/console/audit/export", get(audit::export))
        .route("/console/leaks", get(leaks::show).merge(post(leaks::identify)))
        .route("/console/mail", get(mail::show))
        .route("/console/mail/release", post(mail::release))
        .route("/console/mail/test", post(mail::test))
        .route("/console/nodes", get(nodes::show))
        .route("/console/quarantine", get(quarantine::show))
        .route("/console/quarantine/release", post(quarantine::release))
        .route("/console/webhooks", get(webhooks::list::show).merge(post(webhooks::list::create)))
        .route("/console/webhooks/{webhook}", get(webhooks::one::show).merge(post(webhooks::one::update)))
        .route("/console/webhooks/{webhook}/secret", post(webhooks::one::rotate_secret))
        .route("/console/webhooks/{webhook}/test", post(webhooks::one::test))
        .route("/console/webhooks/{webhook}/delete", post(webhooks::one::delete))
        .route("/console/webhooks/{webhook}/deliveries/{delivery}/replay", post(webhooks::one::replay))
        .merge(clients::router())
        .route("/console/sign-in", get(sign_in::show).merge(post(sign_in::submit)))
        .route("/console/sign-in/{provider}", get(provider_sign_in::begin))
        .route("/console/sign-in/callback/{provider}", get(provider_sign_in::back))
        .route("/console/sign-in/out/{provider}", get(provider_sign_in::sign_out))
        .route("/console/sign-in/back-channel/{provider}", post(provider_sign_in::back_channel))
        .route("/console/sign-in/code", get(code::show).merge(post(code::submit)))
        .route("/console/sign-in/code/passkey", post(code::begin_passkey))
        .route("/console/sign-in/passkey", post(passkeys::sign_in))
        .route("/console/sign-in/passkey/begin", post(passkeys::begin_sign_in))
        .route("/console/sign-in-policy", get(sign_in_policy::show).merge(post(sign_in_policy::update)))
        .route("/console/sign-out", post(sign_in::sign_out))
        .route("/console/link", get(link::show).merge(post(link::submit)))
        .route("/console/command-line", get(command_line::show).merge(post(command_line::approve)))
        .route("/console/command-line/token", post(command_line::redeem))
        .route("/console/session", get(confirm::state))
        .route("/console/confirm", post(confirm::submit))
        .route("/console/confirm/passkey", post(confirm::begin_passkey))
        .route("/console/theme", post(theme::submit))
        .route("/console/account", get(account::show))
        .route("/console/account/name", post(account::rename))
        .route("/console/account/factors", post(factors::begin))
        .route("/console/account/factors/{factor}", post(factors::add))
        .route("/console/account/factors/{factor}/remove", post(factors::remove))
        .route("/console/account/passkeys", post(passkeys::add))
        .route("/console/account/passkeys/begin", post(passkeys::begin))
        .route("/console/account/recovery-codes", post(factors::create_codes))
        .route("/console/account/messages", post(account::switch_messages))
        .route("/console/account/password", post(account::change_password))
        .route("/console/account/sessions/end", post(account::end_sessions))
        .route("/console/account/sessions/{session}/end", post(account::end_session))
        .route("/console/account/tokens", post(account::create_token))
        .route("/console/account/tokens/{token}/delete", post(account::delete_token))
        .route("/console/account/providers/{provider}/link", post(provider_sign_in::link))
        .route("/console/account/providers/{provider}/unlink", post(account::unlink))
        .route("/console/providers", get(providers::list::show).merge(post(providers::list::create)))
        .route("/console/providers/{provider}", get(providers::one::show).merge(post(providers::one::update)))
        .route("/console/providers/{provider}/delete", post(providers::one::delete))
        .route("/console/providers/{provider}/provisioning-tokens", post(providers::one::create_token))
        .route(
            "/console/providers/{provider}/provisioning-tokens/{token}/delete",
            post(providers::one::delete_token),
        )
        .route("/console/providers/{provider}/groups", post(providers::one::add_group))
        .route("/console/providers/{provider}/groups/remove", post(providers::one::remove_group))
        .route("/console/access", get(people::access::show))
        .route("/console/access/export", get(people::access::export))
        .route("/console/people", get(people::list::show).merge(post(people::list::create)))
        .route("/console/people/{user}", get(people::user::show).merge(post(people::user::update)))
        .route("/console/people/{user}/link", post(people::user::create_link))
        .route("/console/people/{user}/delete", post(people::user::delete))
        .route("/console/people/{user}/factors/remove", post(people::user::remove_factors))
        .route("/console/people/{user}/grants", post(people::user::create_grant))
        .route("/console/people/{user}/grants/{grant}/delete", post(people::user::delete_grant))
        .route("/console/{*rest}", any(nothing));
    #[cfg(debug_assertions)]
    let pages = pages.merge(gallery::router());
    let mut router = pages
        .method_not_allowed_fallback(not_here)
        .layer(middleware::from_fn_with_state(web.clone(), gate::pass))
        .layer(middleware::from_fn(crate::finish));
    for asset in [&assets::STYLE, &assets::SCRIPT, &assets::MARK] {
        router = router
            .route(asset.path(), get(async move |query, headers: HeaderMap| asset.serve(&query, &headers)));
    }
    router
}

async fn nothing(method: Method, uri: Uri) -> Response {
    match crate::without_slash(&uri).filter(|_| method.is_safe()) {
        Some(page) => page,
        None => Refused::from(Problem::not_found()).into_response(),
    }
}

/// Redirects a GET for the address of a form to the page of the form, for example after a reload, or from an address
/// bar that still has the address of a refused form.
async fn not_here(method: Method, uri: Uri) -> Response {
    match paths::page_of(uri.path()).filter(|_| method == Method::GET) {
        Some(page) => Redirect::to(page).into_response(),
        None => {
            let text = "This address does not support that method. Nothing was changed.";
            Refused::from(Problem::new(Code::MethodNotAllowed, text)).into_response()
        }
    }
}

/// Returns a page.
pub(crate) fn page(template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => framed(html.into_response()),
        Err(error) => {
            tracing::error!(%error, "cannot render a page");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Renders a page with a status other than 200.
pub(crate) fn page_with(status: StatusCode, template: &impl Template) -> Response {
    let mut response = page(template);
    *response.status_mut() = status;
    response
}

/// Returns the live part of a page, only if it differs from what the reader has.
fn fragment(headers: &HeaderMap, html: String) -> Response {
    let tag = tag(html.as_bytes());
    let mut response = match is_known(headers, &tag) {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => html.into_response(),
    };
    response.headers_mut().insert(header::ETAG, tag);
    framed(response)
}

fn framed(mut response: Response) -> Response {
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, html);
    protected(response)
}

/// Adds the headers of every page, beyond those of every response: a page loads its own style and scripts, nothing
/// inline and nothing from elsewhere, and shares no window with another site.
pub(crate) fn protected(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
