//! Front mode: which clients a request names, in every way in which an issuer could read it. A request is passed on only if none
//! of them is or was registered here, and nothing in it can be read in two ways.

use super::{
    authenticate::{BASE64, decode},
    form::Form,
    relay::{Body, UNCERTAIN},
};
use axum::http::{HeaderMap, HeaderValue, header};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use crossfade_app::passed_client_id;
use crossfade_core::{
    OauthClientId, oauth::OauthError, secret::looks_like_secret, unregistered::PassedMethod,
};
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};
use std::fmt;

/// Maximum length of credentials that are passed on, in bytes.
const MAX_CREDENTIALS: usize = 8192;
/// Maximum number of colons in the part of a `Basic` header that can be a `client_id`.
const MAX_COLONS: usize = 16;
/// Schemes of the header that can be read in one way only.
const SCHEMES: [&str; 3] = ["Basic", "Bearer", "DPoP"];
/// Longest part of a `Basic` header that can be a `client_id`, every character of it encoded.
const MAX_ENCODED_ID: usize = 3 * OauthClientId::MAX_LENGTH;

/// What a request says about its client.
pub(super) struct Named {
    /// Every reading of every name.
    readings: Vec<String>,
    /// The names as they are meant: one for each place that has one.
    meant: Vec<String>,
    /// Whether a part of it cannot be read with certainty.
    is_uncertain: bool,
    /// Whether it presents a secret of ours, which no issuer may get.
    has_own_secret: bool,
    /// How it authenticates.
    method: PassedMethod,
}

impl Named {
    /// Reads the names of a request.
    pub(super) fn read(headers: &HeaderMap, form: &Form<'_>, body: &Body<'_>) -> Self {
        let mut named = Self {
            readings: Vec::new(),
            meant: Vec::new(),
            is_uncertain: false,
            has_own_secret: false,
            method: PassedMethod::None,
        };
        let mut authorizations = headers.get_all(header::AUTHORIZATION).iter();
        if let Some(value) = authorizations.next() {
            named.read_authorization(value);
        }
        named.is_uncertain |= authorizations.next().is_some();
        match passed_client_id(body.form()) {
            Ok(Some(raw)) => named.read_client_id(raw),
            Ok(None) => {}
            Err(_) => named.is_uncertain = true,
        }
        if let Some(secret) = form.get("client_secret") {
            named.note_secret(secret);
            named.method = PassedMethod::ClientSecretPost;
        }
        if let Some(object) = form.get("request") {
            named.read_request_object(object);
        }
        if let Some(assertion) = form.get("client_assertion") {
            named.read_assertion(assertion);
            named.method = PassedMethod::Assertion;
        }
        if let Some(grant) = form.get("assertion") {
            named.read_grant(grant);
        }
        named
    }

    /// Whether the client is ours, by any of its names.
    pub(super) fn is_ours(&self, was_given: impl Fn(&str) -> bool) -> bool {
        self.has_own_secret || self.readings.iter().any(|name| was_given(name))
    }

    /// Whether it presents a secret that looks like one of ours.
    pub(super) fn has_own_secret(&self) -> bool {
        self.has_own_secret
    }

    /// Whether one of its readings is another client of ours than this one.
    pub(super) fn is_another(&self, client_id: &str, was_given: impl Fn(&str) -> bool) -> bool {
        self.readings.iter().any(|name| name != client_id && was_given(name))
    }

    /// Refuses a request that an issuer could read in two ways.
    pub(super) fn check(&self) -> Result<(), OauthError> {
        if self.is_uncertain {
            return Err(UNCERTAIN);
        }
        if self.meant.windows(2).any(|two| two[0] != two[1]) {
            return Err(OauthError::InvalidRequest("The request names two clients."));
        }
        Ok(())
    }

    /// Returns the client that a checked request names, and how it authenticates. What looks like a secret is no name.
    pub(super) fn client(&self) -> (Option<OauthClientId>, PassedMethod) {
        let meant = self.meant.first().filter(|name| !looks_like_secret(name));
        (meant.and_then(|name| OauthClientId::parse(name).ok()), self.method)
    }

    /// Notes a name in its readings; the first one is meant.
    fn note(&mut self, readings: [Option<String>; 3]) {
        let [meant, others @ ..] = readings;
        match meant.filter(|name| OauthClientId::parse(name).is_ok()) {
            Some(name) => {
                self.readings.push(name.clone());
                self.meant.push(name);
            }
            None => self.is_uncertain = true,
        }
        self.readings.extend(others.into_iter().flatten());
    }

    fn note_secret(&mut self, secret: &str) {
        self.is_uncertain |= secret.len() > MAX_CREDENTIALS;
        self.has_own_secret |= !self.is_uncertain && looks_like_secret(secret);
    }

    /// Reads `Basic` credentials (RFC 7617 §2). Of the other schemes, those of tokens name no client, and all others are
    /// uncertain: some issuers only look at the first letters of a scheme.
    fn read_authorization(&mut self, value: &HeaderValue) {
        let parts = value.to_str().ok().filter(|text| text.len() <= MAX_CREDENTIALS);
        let parts = parts.and_then(|text| text.split_once(' '));
        let Some((scheme, token)) = parts.map(|(scheme, rest)| (scheme, rest.trim_matches(' '))) else {
            self.is_uncertain = true;
            return;
        };
        // A list of parameters or of several credentials is read in too many ways.
        let is_scheme = SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known));
        let is_token = token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte));
        if !is_scheme || !is_token || token.is_empty() {
            self.is_uncertain = true;
            return;
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            self.note_secret(token);
            return;
        }
        match BASE64.decode(token) {
            Ok(credentials) => {
                self.method = PassedMethod::ClientSecretBasic;
                self.read_basic(&credentials);
            }
            Err(_) => self.is_uncertain = true,
        }
    }

    fn read_basic(&mut self, credentials: &[u8]) {
        let ids = credentials.get(..MAX_ENCODED_ID + 1).unwrap_or(credentials);
        let mut colons = ids.iter().enumerate().filter(|(_, byte)| **byte == b':').map(|(at, _)| at);
        let Some(first) = colons.next() else {
            self.is_uncertain = true;
            return;
        };
        let [form, raw, url] = basic_readings(&ids[..first]);
        self.is_uncertain |= raw.as_deref().is_none_or(|raw| OauthClientId::parse(raw).is_err());
        self.note([form, raw, url]);
        // Raw credentials of a client_id with a colon.
        for at in colons.by_ref().take(MAX_COLONS) {
            self.readings.extend(basic_readings(&ids[..at]).into_iter().flatten());
        }
        self.is_uncertain |= colons.next().is_some();
        self.note_secret(&String::from_utf8_lossy(credentials));
    }

    /// Reads the parameter `client_id`.
    fn read_client_id(&mut self, raw: &[u8]) {
        self.note([decode(raw, b' '), decode(raw, b'+'), None]);
    }

    /// Reads the assertion that a client authenticates with (RFC 7523 §3). Its signature is checked by the issuer alone.
    fn read_assertion(&mut self, assertion: &str) {
        let has_name = !self.meant.is_empty();
        match Claims::of(assertion) {
            Some(Claims { subject: Some(subject), issuer, .. })
                if issuer.as_ref().is_none_or(|own| *own == subject) =>
            {
                self.note([Some(subject), None, None]);
            }
            // A token of another issuer, such as that of a workload: it stands for the client that the request names.
            Some(Claims { subject, issuer, .. }) if has_name => {
                self.readings.extend(subject.into_iter().chain(issuer));
            }
            _ => self.is_uncertain = true,
        }
    }

    /// Reads an assertion that is the grant (RFC 7521 §4.1), by whose issuer some issuers find the client.
    fn read_grant(&mut self, assertion: &str) {
        let has_name = !self.meant.is_empty();
        match Claims::of(assertion) {
            Some(Claims { subject, issuer, .. }) => self.readings.extend(subject.into_iter().chain(issuer)),
            // It can be SAML (RFC 7522).
            None => self.is_uncertain |= !has_name,
        }
    }

    /// Reads the request object of a pushed request (RFC 9101 §4).
    fn read_request_object(&mut self, object: &str) {
        let has_name = !self.meant.is_empty();
        match Claims::of(object) {
            Some(Claims { issuer, client_id: Some(client_id), .. }) => {
                self.readings.extend(issuer);
                self.note([Some(client_id), None, None]);
            }
            Some(Claims { issuer, .. }) if has_name => self.readings.extend(issuer),
            // It can be encrypted.
            None if has_name => {}
            _ => self.is_uncertain = true,
        }
    }
}

/// Returns the readings of a `client_id` in a `Basic` header: of a form (RFC 6749 §2.3.1), raw, and of a URL.
fn basic_readings(id: &[u8]) -> [Option<String>; 3] {
    [decode(id, b' '), std::str::from_utf8(id).ok().map(str::to_owned), decode(id, b'+')]
}

/// Claims of a token that can name a client.
#[derive(Default)]
struct Claims {
    subject: Option<String>,
    issuer: Option<String>,
    client_id: Option<String>,
}

impl Claims {
    /// Reads the claims of a signed token without its signature; `None` if they cannot be read in one way alone.
    fn of(token: &str) -> Option<Self> {
        let mut parts = token.split('.');
        let (Some(_), Some(claims), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return None;
        };
        let json = BASE64_URL_SAFE_NO_PAD.decode(claims).ok()?;
        let mut json = serde_json::Deserializer::from_slice(&json);
        let read = json.deserialize_map(ClaimsOf).ok()?;
        json.end().ok()?;
        Some(read)
    }
}

/// A claim that names somebody is a text; others are anything.
#[derive(Deserialize)]
#[serde(untagged)]
enum Claim {
    Text(String),
    Other(IgnoredAny),
}

struct ClaimsOf;

impl<'de> Visitor<'de> for ClaimsOf {
    type Value = Claims;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("claims, each at most once")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Claims, A::Error> {
        let mut claims = Claims::default();
        while let Some(name) = map.next_key::<String>()? {
            // Some parsers ignore case, also that of letters that are no ASCII in the other case.
            if !name.is_ascii() {
                return Err(serde::de::Error::custom("a name that can be read in two ways"));
            }
            let place = match name.to_ascii_lowercase().as_str() {
                "sub" => &mut claims.subject,
                "iss" => &mut claims.issuer,
                "client_id" => &mut claims.client_id,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            match map.next_value()? {
                Claim::Text(text) if place.is_none() && !text.contains(char::is_control) => {
                    *place = Some(text);
                }
                _ => return Err(serde::de::Error::custom("a name that is repeated or no text")),
            }
        }
        Ok(claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Bytes;

    /// Returns what a request names, if it can be passed on: the readings, sorted.
    fn read(authorization: &[&str], form: &str) -> Option<Vec<String>> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        for value in authorization {
            headers.append(header::AUTHORIZATION, value.parse().unwrap());
        }
        let body = Ok(Bytes::from(form.to_owned()));
        let body = Body { raw: &body, converted: None };
        let parsed = Form::parse_relayed(&headers, false, body.read()).ok()?;
        let mut named = Named::read(&headers, &parsed, &body);
        named.check().ok()?;
        assert!(!named.is_ours(|_| false));
        named.readings.sort();
        named.readings.dedup();
        Some(named.readings)
    }

    fn basic(credentials: &str) -> String {
        format!("Basic {}", BASE64.encode(credentials))
    }

    fn token(claims: &str) -> String {
        format!("e30.{}.AA", BASE64_URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn a_client_is_named_in_every_reading_of_basic() {
        let names = |credentials: &str| read(&[&basic(credentials)], "");
        let of = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(names("app:secret"), of(&["app"]));
        assert_eq!(names("a%2Bb+c:s%zz"), of(&["a%2Bb+c", "a+b c", "a+b+c"]));
        assert_eq!(names("app:one:two"), of(&["app", "app:one"]), "raw, with a colon in the client_id");
        for uncertain in ["app", ":secret", "a%zz:s", "a%00:s", "a%0a:s", &format!("{}:s", "a".repeat(800))] {
            assert_eq!(names(uncertain), None, "{uncertain}");
        }
        assert_eq!(names(&format!("a{}", ":".repeat(40))), None);
    }

    #[test]
    fn other_credentials_in_a_header_are_passed_only_in_a_plain_form() {
        assert_eq!(read(&["Bearer abc.def-~"], ""), Some(vec![]));
        assert_eq!(read(&["dpop abc"], ""), Some(vec![]));
        for uncertain in [
            "Basic",
            "Basic !",
            "Basic\tYTpi",
            "Digest a=\"b\", c=d",
            "Bearer a, Basic YTpi",
            "Basic YTpi YTpi",
            "Bearer",
            "Basic-YTpi x",
            "BasicX YTpi",
            "Negotiate YTpi",
        ] {
            assert_eq!(read(&[uncertain], ""), None, "{uncertain}");
        }
        assert_eq!(read(&["Bearer a", &basic("a:b")], ""), None);
    }

    #[test]
    fn two_names_are_refused() {
        let one = basic("app:s");
        assert_eq!(read(&[&one], "client_id=app"), Some(vec!["app".to_owned()]));
        assert_eq!(read(&[&one], "client_id=other"), None);
        let own = token(r#"{"iss":"app","sub":"app"}"#);
        assert_eq!(read(&[&one], &format!("client_assertion={own}")), Some(vec!["app".to_owned()]));
        assert_eq!(read(&[], &format!("client_id=other&client_assertion={own}")), None);
    }

    #[test]
    fn an_assertion_names_its_subject_and_its_issuer() {
        let names =
            |form: &str, claims: &str| read(&[], &format!("{form}client_assertion={}", token(claims)));
        assert_eq!(names("", r#"{"sub":"app"}"#), Some(vec!["app".to_owned()]));
        let workload = r#"{"iss":"https://k8s","sub":"system:pod","aud":[1]}"#;
        let expected = ["app", "https://k8s", "system:pod"].map(str::to_owned);
        assert_eq!(names("client_id=app&", workload), Some(expected.to_vec()));
        for uncertain in [
            workload,
            "{}",
            "",
            "[]",
            r#"{"sub":["app"]}"#,
            r#"{"sub":"app","sub":"victim"}"#,
            r#"{"Sub":"victim","sub":"app"}"#,
            r#"{"sub":"app"}{}"#,
            r#"{"sub":"app\n"}"#,
            r#"{"iss":"app","sub":"app","i\u017fs":"victim","\u017fub":"victim"}"#,
            r#"{"iss":"app"}"#,
        ] {
            assert_eq!(names("", uncertain), None, "{uncertain}");
        }
        for text in ["a.b", "a.b.c.d.e", "%3Csaml%3E", "e30.e30=.AA"] {
            assert_eq!(read(&[], &format!("client_assertion={text}")), None, "{text}");
        }
    }

    #[test]
    fn an_assertion_that_is_the_grant_names_whoever_is_in_it() {
        let grant = format!("assertion={}", token(r#"{"iss":"app","sub":"ada"}"#));
        assert_eq!(read(&[], &grant), Some(vec!["ada".to_owned(), "app".to_owned()]));
        assert_eq!(read(&[], "assertion=PHNhbWw-"), None);
        assert_eq!(read(&[], "client_id=app&assertion=PHNhbWw-"), Some(vec!["app".to_owned()]));
    }

    #[test]
    fn a_request_object_names_its_client() {
        let names = |form: &str, claims: &str| read(&[], &format!("{form}request={}", token(claims)));
        assert_eq!(names("", r#"{"client_id":"app"}"#), Some(vec!["app".to_owned()]));
        assert_eq!(names("", "{}"), None);
        assert_eq!(names("client_id=other&", r#"{"client_id":"app"}"#), None);
        assert_eq!(read(&[], "client_id=app&request=a.b.c.d.e"), Some(vec!["app".to_owned()]));
        assert_eq!(read(&[], "request=a.b.c.d.e"), None);
    }

    #[test]
    fn a_form_that_another_parser_reads_otherwise_is_refused() {
        let app = || Some(vec!["app".to_owned()]);
        assert_eq!(read(&[], "client_id=app"), app());
        assert_eq!(read(&[], "client_id=&client_id=app"), app());
        assert_eq!(read(&[], "grant_type=authorization_code&code=c"), Some(vec![]));
        assert_eq!(read(&[], "client_id=a+b"), Some(vec!["a b".to_owned(), "a+b".to_owned()]));
        for uncertain in [
            "client_id=a&client_id=b",
            "client_id=a;client_id=b",
            "client_id=a%00",
            "client_id=%zz",
            "client_id=%ff",
            "Client_Id=a",
            "client_id=%C3%A4",
        ] {
            assert_eq!(read(&[], uncertain), None, "{uncertain}");
        }
    }

    #[test]
    fn a_secret_of_ours_is_never_passed_on() {
        let secret = "crossfade_test_0123456789012345678901234567890123456789012";
        let named = |authorization: Option<String>, form: String| {
            let mut headers = HeaderMap::new();
            headers
                .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
            if let Some(value) = authorization {
                headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            }
            let body = Ok(Bytes::from(form));
            let body = Body { raw: &body, converted: None };
            let parsed = Form::parse_relayed(&headers, false, body.read()).unwrap();
            Named::read(&headers, &parsed, &body).is_ours(|_| false)
        };
        assert!(named(Some(basic(&format!("app:{secret}"))), String::new()));
        assert!(named(Some(format!("Bearer {secret}")), String::new()));
        assert!(named(None, format!("client_id=app&client_secret={secret}")));
        assert!(!named(None, "client_id=app&client_secret=other".to_owned()));
    }
}
