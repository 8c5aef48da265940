//! Cookies of the Console (RFC 6265): the session, the known browser, the theme, and the result of a form.

use crate::reply::Refused;
use axum::{
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Redirect, Response},
};
use crossfade_app::{
    ANSWER_WITHIN, App, CODE_WITHIN, KNOWN_FOR, NewSession, SIGN_IN_WITHIN, join_devices, parse_devices,
};
use crossfade_core::secret::SecretValue;
use std::sync::{Arc, Mutex, PoisonError};

/// Cookies to set with any response.
#[derive(Clone, Default)]
pub(super) struct CookiesToSet(Arc<Mutex<Vec<HeaderValue>>>);

impl CookiesToSet {
    pub(super) fn set(&self, cookie: HeaderValue) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(cookie);
    }

    pub(super) fn take(&self) -> Vec<HeaderValue> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn is_https(app: &App) -> bool {
    app.admin_url().starts_with("https://")
}

/// Returns the name of a cookie of this instance. A browser sends the cookies of every port of a host to all of them
/// (RFC 6265 §8.5), so each instance has its own names. With `__Host-`, a browser accepts the cookie only from this
/// host over TLS, so that no other host can set it (RFC 6265bis §4.1.3.2).
fn name(app: &App, kind: &str) -> String {
    let prefix = if is_https(app) { "__Host-" } else { "" };
    format!("{prefix}crossfade_{}_{kind}", app.mark())
}

/// Kind of the session cookie.
const SESSION: &str = "session";
const DEVICE: &str = "device";
/// Kind of the cookie of a sign-in that waits for the code of a second factor.
const SIGN_IN: &str = "signin";
/// Kind of the cookie of a sign-in with a passkey.
const PASSKEY: &str = "passkey";
const THEME: &str = "theme";
/// Kind of the cookie with the result of a form. The page's code follows, so that two tabs keep their messages apart.
const DONE: &str = "done_";
/// Kind of the cookie of a sign-in at a provider. Letters of its state follow, so that two tabs keep theirs apart.
const PROVIDER_SIGN_IN: &str = "sign_in_";
/// Seconds for which a message waits for its page.
const DONE_FOR: u64 = 60;

/// Returns the value of a request's session cookie.
pub(super) fn session(app: &App, headers: &HeaderMap) -> Option<String> {
    read(headers, &name(app, SESSION))
}

/// Returns the values of a request's known browser cookie.
pub(super) fn devices(app: &App, headers: &HeaderMap) -> Vec<SecretValue> {
    read(headers, &name(app, DEVICE)).map_or_else(Vec::new, |cookie| parse_devices(&cookie))
}

/// Returns the cookie of a session. `Lax` and not `Strict`: with `Strict`, a link in an email or a chat would lead to
/// the sign-in page although the reader is signed in. No GET changes anything, and the origin of every other request is
/// checked (`gate.rs`), so `Lax` is safe.
pub(super) fn of_session(app: &App, value: &SecretValue) -> Result<HeaderValue, Refused> {
    cookie(app, SESSION, value.reveal(), None)
}

/// Returns the cookie of a known browser.
pub(super) fn of_devices(app: &App, values: &[SecretValue]) -> Result<HeaderValue, Refused> {
    cookie(app, DEVICE, &join_devices(values), Some(KNOWN_FOR.as_secs()))
}

/// Returns the value of a request's cookie of a sign-in that waits for a code.
pub(super) fn sign_in(app: &App, headers: &HeaderMap) -> Option<String> {
    read(headers, &name(app, SIGN_IN))
}

/// Returns the cookie of a sign-in that waits for a code.
pub(super) fn of_sign_in(app: &App, value: &SecretValue) -> Result<HeaderValue, Refused> {
    cookie(app, SIGN_IN, value.reveal(), Some(CODE_WITHIN.as_secs()))
}

/// Returns the cookie that removes a sign-in that waited for a code.
pub(super) fn without_sign_in(app: &App) -> Result<HeaderValue, Refused> {
    cookie(app, SIGN_IN, "", Some(0))
}

/// Returns the value of a request's cookie of a sign-in with a passkey.
pub(super) fn passkey(app: &App, headers: &HeaderMap) -> Option<String> {
    read(headers, &name(app, PASSKEY))
}

/// Returns the cookie of a sign-in with a passkey.
pub(super) fn of_passkey(app: &App, value: &str) -> Result<HeaderValue, Refused> {
    cookie(app, PASSKEY, value, Some(ANSWER_WITHIN.as_secs()))
}

/// Returns the cookie that removes that of a sign-in with a passkey.
pub(super) fn without_passkey(app: &App) -> Result<HeaderValue, Refused> {
    cookie(app, PASSKEY, "", Some(0))
}

/// Returns the value of a request's theme cookie.
pub(super) fn theme(app: &App, headers: &HeaderMap) -> Option<String> {
    read(headers, &name(app, THEME))
}

/// Returns the cookie of a theme, which is kept for a year.
pub(super) fn of_theme(app: &App, word: &str) -> Result<HeaderValue, Refused> {
    cookie(app, THEME, word, Some(365 * 86_400))
}

/// Returns the value of the cookie with the message for the page with this code.
pub(super) fn message(app: &App, headers: &HeaderMap, page: &str) -> Option<String> {
    read(headers, &name(app, &format!("{DONE}{page}")))
}

/// Returns the cookie of a message for a page.
pub(super) fn of_message(app: &App, page: &str, value: &str) -> Result<HeaderValue, Refused> {
    cookie(app, &format!("{DONE}{page}"), value, Some(DONE_FOR))
}

/// Returns the cookie that removes the message of a page, because the page has shown it.
pub(super) fn without_message(app: &App, page: &str) -> Result<HeaderValue, Refused> {
    cookie(app, &format!("{DONE}{page}"), "", Some(0))
}

/// Returns the value of the cookie of a sign-in at a provider.
pub(super) fn provider_sign_in(app: &App, headers: &HeaderMap, state: &str) -> Option<String> {
    read(headers, &name(app, &format!("{PROVIDER_SIGN_IN}{state}")))
}

/// Returns the cookie of a sign-in at a provider. `Lax`, because the provider sends the browser back with a link.
pub(super) fn of_provider_sign_in(app: &App, state: &str, value: &str) -> Result<HeaderValue, Refused> {
    cookie(app, &format!("{PROVIDER_SIGN_IN}{state}"), value, Some(SIGN_IN_WITHIN.as_secs()))
}

/// Returns the cookie that removes that of a sign-in at a provider.
pub(super) fn without_provider_sign_in(app: &App, state: &str) -> Result<HeaderValue, Refused> {
    cookie(app, &format!("{PROVIDER_SIGN_IN}{state}"), "", Some(0))
}

/// Redirects with the cookies of a new session.
pub(super) fn signed_in(app: &App, new: &NewSession, to: &str) -> Result<Response, Refused> {
    let mut response = Redirect::to(to).into_response();
    for cookie in [of_session(app, &new.value)?, of_devices(app, &new.devices)?] {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// Removes the session cookie. The browser stays known.
pub(super) fn without_session(app: &App, mut response: Response) -> Response {
    if let Ok(gone) = cookie(app, SESSION, "", Some(0)) {
        response.headers_mut().insert(header::SET_COOKIE, gone);
    }
    response
}

fn cookie(app: &App, kind: &str, value: &str, max_age: Option<u64>) -> Result<HeaderValue, Refused> {
    let secure = if is_https(app) { "; Secure" } else { "" };
    let max_age = max_age.map_or_else(String::new, |seconds| format!("; Max-Age={seconds}"));
    let name = name(app, kind);
    let text = format!("{name}={value}; Path=/{max_age}; HttpOnly; SameSite=Lax{secure}");
    let mut header = HeaderValue::try_from(text).map_err(crossfade_app::Error::internal)?;
    header.set_sensitive(true);
    Ok(header)
}

/// Returns the value of the cookie `name`; `None` if it is sent twice, because it is unclear which one is ours.
fn read(headers: &HeaderMap, name: &str) -> Option<String> {
    let mut values = headers
        .get_all(header::COOKIE)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b';'))
        // Another application of this host can set cookies that are no text. They must not hide ours.
        .filter_map(|pair| std::str::from_utf8(pair).ok()?.trim().split_once('='))
        .filter(|(own, _)| *own == name)
        .map(|(_, value)| value.to_owned());
    let value = values.next()?;
    values.next().is_none().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_among_others_and_a_doubled_one_is_none() {
        let read = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::COOKIE, value.parse().unwrap());
            }
            super::read(&headers, "a")
        };
        assert_eq!(read(&["a=1"]), Some("1".into()));
        assert_eq!(read(&["b=2; a=1; aa=3"]), Some("1".into()));
        assert_eq!(read(&["b=2", "a=1"]), Some("1".into()));
        assert_eq!(read(&["a=1; a=2"]), None);
        assert_eq!(read(&["a=1", "a=1"]), None);
        assert_eq!(read(&["A=1", "x a=1"]), None);
        assert_eq!(read(&[]), None);
    }

    #[test]
    fn a_cookie_of_another_application_that_is_no_text_hides_nothing() {
        let read = |value: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.append(header::COOKIE, HeaderValue::from_bytes(value).unwrap());
            super::read(&headers, "a")
        };
        assert_eq!(read("shop=café; a=1".as_bytes()), Some("1".into()));
        assert_eq!(read(b"shop=caf\xe9; a=1"), Some("1".into()));
        assert_eq!(read(b"a=1\xe9"), None, "ours is text");
    }
}
