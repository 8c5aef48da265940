//! Message about what a form did, shown once on the page that follows. It is in a cookie and not in the URL, so no
//! link, bookmark or reload can show it.

use super::{cookies, gate::BACKGROUND, session::Found};
use crate::Web;
use axum::{
    extract::FromRequestParts,
    http::{HeaderValue, Method, Uri, header, request::Parts},
    response::{IntoResponse, Redirect, Response},
};
use crossfade_app::App;
use crossfade_core::secret::looks_like_secret;
use std::convert::Infallible;

/// Word of the message that the address of a page contained a secret.
const SECRET_IN_ADDRESS: &str = "secret-in-address";
const SECRET_IN_ADDRESS_SENTENCE: &str = "The address of this page contained a secret. The browser history and the \
    logs of proxies may still contain it. Rotate or revoke that secret.";
/// Page for people who are not signed in.
const SIGN_IN: &str = "/console/sign-in";

/// What a form did, on its way to the page at `path`. The gate turns it into a cookie.
#[derive(Clone)]
struct Message {
    path: String,
    word: &'static str,
}

/// Word of the message that a request brings; empty if there is none.
#[derive(Clone, Default)]
pub(super) struct Said(String);

impl Said {
    pub(super) fn word(&self) -> &str {
        &self.0
    }

    /// Returns the warning for any page.
    pub(super) fn warning(&self) -> Option<&'static str> {
        (self.0 == SECRET_IN_ADDRESS).then_some(SECRET_IN_ADDRESS_SENTENCE)
    }

    /// Returns the message for this page and reader. A request of a script or in advance leaves it for the page.
    pub(super) fn of(app: &App, parts: &Parts, found: &Found) -> Self {
        let in_advance = ["sec-purpose", "purpose"].iter().any(|name| {
            parts.headers.get(*name).is_some_and(|value| value.as_bytes().starts_with(b"prefetch"))
        });
        let shows = parts.method == Method::GET
            && !in_advance
            && !parts.headers.contains_key(BACKGROUND)
            && !super::error::is_script(&parts.headers);
        let path = parts.uri.path();
        let Some(value) = shows.then(|| cookies::message(app, &parts.headers, &code_of_page(app, path)))
        else {
            return Self::default();
        };
        let value = value.unwrap_or_default();
        let known = value
            .split_once('.')
            .filter(|(word, code)| app.is_message_code(&text(reader(path, found), path, word), code));
        Self(known.map(|(word, _)| word.to_owned()).unwrap_or_default())
    }

    /// Hands the warning on to the page that this response redirects to, such as the sign-in page.
    pub(super) fn carry_on(&self, response: &mut Response) {
        if self.warning().is_none() || !response.status().is_redirection() {
            return;
        }
        let to = response.headers().get(header::LOCATION).and_then(|to| to.to_str().ok());
        let path = to.and_then(|to| to.split(['?', '#']).next()).map(str::to_owned);
        if let Some(path) = path.filter(|_| response.extensions().get::<Message>().is_none()) {
            response.extensions_mut().insert(Message { path, word: SECRET_IN_ADDRESS });
        }
    }

    /// Removes the message from the browser if this response has shown it.
    pub(super) fn shown(&self, app: &App, uri: &Uri, response: &mut Response) {
        let is_page = response.status().is_success() || self.warning().is_some();
        if self.0.is_empty() || !is_page || response.status().is_redirection() {
            return;
        }
        if let Ok(cookie) = cookies::without_message(app, &code_of_page(app, uri.path())) {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
    }
}

impl FromRequestParts<Web> for Said {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &Web) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}

/// Redirects to a page, which says what `word` means there.
pub(super) fn redirect_with(to: &str, word: &'static str) -> Response {
    let path = to.split(['?', '#']).next().unwrap_or_default().to_owned();
    let mut response = Redirect::to(to).into_response();
    response.extensions_mut().insert(Message { path, word });
    response
}

/// Returns the warning for the error page of an address that contains a secret in its path.
pub(super) fn warning_of_path(path: &str) -> Option<&'static str> {
    looks_like_secret(path).then_some(SECRET_IN_ADDRESS_SENTENCE)
}

/// Redirects to the same address without parameters that contain a secret.
pub(super) fn without_secret(method: &Method, uri: &Uri) -> Option<Response> {
    let query = uri.query().filter(|query| method.is_safe() && looks_like_secret(query))?;
    let pairs = form_urlencoded::parse(query.as_bytes());
    let kept = pairs.filter(|(name, value)| !looks_like_secret(name) && !looks_like_secret(value));
    let kept = form_urlencoded::Serializer::new(String::new()).extend_pairs(kept).finish();
    // A secret can be split over the name and the value.
    let to = match kept.is_empty() || looks_like_secret(&kept) {
        true => uri.path().to_owned(),
        false => format!("{}?{kept}", uri.path()),
    };
    Some(redirect_with(&to, SECRET_IN_ADDRESS))
}

/// Returns the cookie of the message that a response carries.
pub(super) fn cookie_of(app: &App, found: &Found, response: &mut Response) -> Option<HeaderValue> {
    let Message { path, word } = response.extensions_mut().remove::<Message>()?;
    let code = app.message_code(&text(reader(&path, found), &path, word));
    cookies::of_message(app, &code_of_page(app, &path), &format!("{word}.{code}")).ok()
}

/// Returns the account that a message is for; empty on the page for people who are not signed in.
fn reader<'a>(path: &str, found: &'a Found) -> &'a str {
    match found {
        Found::Session(session) if path != SIGN_IN => session.principal.user().as_str(),
        _ => "",
    }
}

fn text(reader: &str, path: &str, word: &str) -> String {
    format!("{reader}\0{path}\0{word}")
}

/// Returns eight digits that distinguish the cookie of one page from that of another.
fn code_of_page(app: &App, path: &str) -> String {
    app.message_code(path).chars().take(8).collect()
}
