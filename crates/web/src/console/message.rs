//! Message about what a form did, shown once on the page that follows. It is in a cookie and not in the URL, so no
//! link, bookmark or reload can show it.

use super::{cookies, gate::BACKGROUND, moment::precisely, session::Found};
use crate::Web;
use axum::{
    extract::FromRequestParts,
    http::{HeaderValue, Method, Uri, header, request::Parts},
    response::{IntoResponse, Redirect, Response},
};
use crossfade_app::App;
use crossfade_core::{
    Timestamp,
    api::{Enforced, KnownBy},
    secret::looks_like_secret,
};
use std::convert::Infallible;

/// Word of the message that the address of a page contained a secret.
const SECRET_IN_ADDRESS: &str = "secret-in-address";
const SECRET_IN_ADDRESS_SENTENCE: &str = "The address of this page contained a secret. The browser history and the \
    logs of proxies may still contain it. Rotate or revoke that secret.";
/// Word of the message that the session was confirmed at a provider.
pub(super) const CONFIRMED: &str = "confirmed";
const CONFIRMED_SENTENCE: &str = "You have confirmed that it is you. Nothing was changed yet: do it again.";
/// Page for people who are not signed in.
const SIGN_IN: &str = "/console/sign-in";

/// What a form did, on its way to the page at `path`. The gate turns it into a cookie.
#[derive(Clone)]
struct Message {
    path: String,
    word: String,
}

/// Separates the word of a message from where the change is in force. Neither contains it.
const WHERE: char = '~';

/// Word of the message that a request brings; empty if there is none.
#[derive(Clone, Default)]
pub(super) struct Said(String);

impl Said {
    pub(super) fn word(&self) -> &str {
        self.0.split(WHERE).next().unwrap_or_default()
    }

    /// Returns a sentence about the nodes on which the change is in force; empty if this node is the only one.
    pub(super) fn enforced(&self) -> String {
        let told = self.0.split_once(WHERE).and_then(|(_, told)| Everywhere::parse(told));
        told.map(|it| it.sentence()).unwrap_or_default()
    }

    /// Returns the warning for any page.
    pub(super) fn warning(&self) -> Option<&'static str> {
        (self.word() == SECRET_IN_ADDRESS).then_some(SECRET_IN_ADDRESS_SENTENCE)
    }

    /// Returns the message about the previous request that any page shows.
    pub(super) fn done(&self) -> Option<&'static str> {
        (self.word() == CONFIRMED).then_some(CONFIRMED_SENTENCE)
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
            response.extensions_mut().insert(Message { path, word: SECRET_IN_ADDRESS.to_owned() });
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

/// What a message says about several nodes on which a change is in force.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Everywhere {
    nodes: usize,
    /// Number of those that did not answer.
    silent: usize,
    at: Timestamp,
}

impl Everywhere {
    /// Returns `None` for one node: there, a change is in force when it is answered.
    pub(super) fn of(Enforced { at, nodes }: &Enforced) -> Option<Self> {
        let silent = nodes.iter().filter(|it| it.known_by == KnownBy::LeaseEnded).count();
        (nodes.len() > 1).then_some(Self { nodes: nodes.len(), silent, at: *at })
    }

    fn written(self) -> String {
        format!("{}{WHERE}{}{WHERE}{}", self.nodes, self.silent, self.at.as_micros())
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(WHERE);
        let mut next = || parts.next()?.parse::<i64>().ok();
        let (nodes, silent, at) = (next()?, next()?, next()?);
        let at = Timestamp::from_micros(at);
        Some(Self { nodes: nodes.try_into().ok()?, silent: silent.try_into().ok()?, at })
    }

    pub(super) fn sentence(self) -> String {
        let Self { nodes, silent, at } = self;
        let lost = match silent {
            0 => String::new(),
            1 => " One of them did not answer, and had to lose its lease.".to_owned(),
            _ => format!(" {silent} of them did not answer, and had to lose their lease."),
        };
        format!("In force on {nodes} nodes since {}.{lost}", precisely(at))
    }
}

/// Redirects to a page, which says what `word` means there.
pub(super) fn redirect_with(to: &str, word: &'static str) -> Response {
    redirect(to, word.to_owned())
}

/// Redirects to a page, which says what `word` means there and on which nodes the change is in force.
pub(super) fn redirect_once_enforced(to: &str, word: &'static str, enforced: Option<&Enforced>) -> Response {
    match enforced.and_then(Everywhere::of) {
        Some(everywhere) => redirect(to, format!("{word}{WHERE}{}", everywhere.written())),
        None => redirect_with(to, word),
    }
}

fn redirect(to: &str, word: String) -> Response {
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
    let code = app.message_code(&text(reader(&path, found), &path, &word));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crossfade_core::{NodeId, api::EnforcedNode, base62};

    fn enforced(known: &[KnownBy]) -> Enforced {
        let id = NodeId::parse(&format!("node_{}", base62::encode_fixed(&[1; 16], 22))).unwrap();
        let node =
            |known_by: &KnownBy| EnforcedNode { id: id.clone(), name: "one".into(), known_by: *known_by };
        Enforced {
            at: Timestamp::from_micros(1_764_075_900_125_999),
            nodes: known.iter().map(node).collect(),
        }
    }

    #[test]
    fn a_message_says_on_how_many_nodes_a_change_is_in_force() {
        use KnownBy::{Acknowledged, LeaseEnded, Released};
        assert_eq!(Everywhere::of(&enforced(&[Acknowledged])), None);
        let sentence = |known: &[KnownBy]| {
            let told = Everywhere::of(&enforced(known)).unwrap();
            assert_eq!(Everywhere::parse(&told.written()), Some(told));
            told.sentence()
        };
        assert_eq!(
            sentence(&[Acknowledged, Released]),
            "In force on 2 nodes since 25 Nov 2025, 13:05:00.125 UTC."
        );
        assert!(sentence(&[Acknowledged, LeaseEnded]).contains(" One of them did not answer"));
        assert!(sentence(&[Acknowledged, LeaseEnded, LeaseEnded]).contains(" 2 of them did not answer"));
        let said = Said("revoked~2~0~1764075900125999".into());
        assert_eq!(
            (said.word(), said.enforced().as_str()),
            ("revoked", sentence(&[Acknowledged; 2]).as_str())
        );
        for word in ["revoked", "revoked~", "revoked~2", "revoked~x~0~1", "revoked~-2~0~1"] {
            assert_eq!(Said(word.into()).enforced(), "", "{word}");
        }
    }
}
