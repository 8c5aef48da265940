//! The OAuth endpoints from outside, rule by rule. Each test is named after its rule and the RFC section that
//! makes it; the numbers in comments (TOK-01 …) are rows of the standards checklist.
//!
//! Rules of parsing touch no database and run on SQLite alone. What is stored and must take effect is checked
//! on both engines.

mod authenticate;
mod direct;
mod introspect;
pub mod jws;
mod metadata;
mod resource_server;
mod revoke;
mod rotate_secret;
mod secrets;
mod throttle;
mod token;
mod vectors;

use crate::world::{Answer, Client, PUBLIC_URL, World};
use axum::body::Body;
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderName, HeaderValue, Method, Request, header};
use serde_json::{Value, json};
use std::{net::IpAddr, time::Duration};

/// The endpoints that authenticate their caller.
const PROTECTED: [&str; 3] = ["token", "introspect", "revoke"];
/// What the token endpoint needs to be asked.
const GRANT: (&str, &str) = ("grant_type", "client_credentials");
/// A type of content that every endpoint reads.
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
/// The one challenge of a failed client authentication (RFC 6749 §5.2, RFC 7617 §2.1).
const CHALLENGE: &str = r#"Basic realm="crossfade", charset="UTF-8""#;

/// Any request whatsoever; `uri` is the whole path.
async fn ask(world: &World, method: Method, uri: &str, headers: &[(&str, &[u8])], body: &[u8]) -> Answer {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        let (name, value) = (HeaderName::try_from(*name).unwrap(), HeaderValue::from_bytes(value).unwrap());
        request = request.header(name, value);
    }
    world.send(request.body(Body::from(body.to_vec())).unwrap(), IpAddr::from([192, 0, 2, 1])).await
}

/// A POST of a form, already encoded, in the environment "production".
async fn post(world: &World, endpoint: &str, headers: &[(&str, &[u8])], body: &str) -> Answer {
    let mut all: Vec<(&str, &[u8])> = vec![(FORM.0, FORM.1.as_bytes())];
    all.extend_from_slice(headers);
    let uri = format!("/env/production/oauth2/{endpoint}");
    ask(world, Method::POST, &uri, &all, body.as_bytes()).await
}

/// The credentials as a `Basic` header, exactly these bytes.
pub(crate) fn basic(credentials: impl AsRef<[u8]>) -> String {
    format!("Basic {}", STANDARD.encode(credentials))
}

/// A form as it stands in a body.
fn encoded(form: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish()
}

/// The parameters that an endpoint needs besides credentials.
fn needed(endpoint: &str) -> &'static str {
    if endpoint == "token" { "grant_type=client_credentials" } else { "token=x" }
}

/// Changes the settings of a registration.
async fn settings(world: &World, client: &Client, environment: &str, change: Value) -> Value {
    world.owner().await.patch(&client.path(environment, ""), change).await.ok()
}

/// Disables a registration.
async fn disable(world: &World, client: &Client, environment: &str) {
    let change = json!({"enabled": false, "confirm_client_name": client.name});
    settings(world, client, environment, change).await;
}

/// Lets the time pass after which one more failure is not one too many.
fn pause(world: &World) {
    world.advance(Duration::from_secs(1));
}

/// The issuer of an environment.
fn issuer(environment: &str) -> String {
    format!("{PUBLIC_URL}/env/{environment}")
}

/// All that a caller sees of an answer, except the date.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Seen {
    fn of(answer: &Answer) -> Self {
        let mut headers: Vec<(String, String)> = answer
            .headers
            .iter()
            .filter(|(name, _)| *name != header::DATE)
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        headers.sort();
        let body = String::from_utf8_lossy(&answer.bytes).into_owned();
        Self { status: answer.status.as_u16(), headers, body }
    }

    /// How a failed client authentication looks, whatever the cause (TOK-12, TOK-13, TOK-17).
    fn refusal() -> Self {
        let headers = [
            ("cache-control", "no-store"),
            ("content-length", "78"),
            ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
            ("content-type", "application/json"),
            ("cross-origin-resource-policy", "same-origin"),
            ("pragma", "no-cache"),
            ("referrer-policy", "no-referrer"),
            ("strict-transport-security", "max-age=31536000"),
            ("www-authenticate", CHALLENGE),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
        ];
        Self {
            status: 401,
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            body: r#"{"error":"invalid_client","error_description":"Client authentication failed."}"#
                .to_owned(),
        }
    }
}

/// Checks that this is the one refusal of client authentication, to the byte.
#[track_caller]
fn is_the_refusal(answer: &Answer, cause: &str) {
    assert_eq!(Seen::of(answer), Seen::refusal(), "{cause}");
}

/// Checks an error: status, code, and everything that RFC 6749 §5.2 says of its form.
#[track_caller]
fn is_error(answer: &Answer, status: u16, code: &str, cause: &str) {
    let text = String::from_utf8_lossy(&answer.bytes);
    assert_eq!(answer.status.as_u16(), status, "{cause}: {text}");
    assert_eq!(answer.header("content-type"), Some("application/json"), "{cause}");
    is_not_stored(answer, cause);
    let Value::Object(members) = answer.json() else { panic!("{cause}: {text}") };
    assert_eq!(members["error"], code, "{cause}: {text}");
    for (name, value) in &members {
        assert!(["error", "error_description"].contains(&name.as_str()), "{cause}: {name}");
        // RFC 6749 §5.2: %x20-21 / %x23-5B / %x5D-7E.
        let allowed = |byte: u8| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        assert!(value.as_str().unwrap().bytes().all(allowed), "{cause}: {name}");
    }
}

/// RFC 6749 §5.1: neither a cache of HTTP/1.1 nor one of HTTP/1.0 keeps the answer. TOK-27: and it is no
/// redirection, which a client would follow with its credentials.
#[track_caller]
fn is_not_stored(answer: &Answer, cause: &str) {
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{cause}");
    assert_eq!(answer.header("pragma"), Some("no-cache"), "{cause}");
    assert_eq!(answer.header("location"), None, "{cause}");
}
