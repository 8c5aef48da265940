//! Reads client credentials from a request (RFC 6749 §2.3.1) and lets the authority verify them.

use super::form::Form;
use crate::{
    Web,
    source::{SourceAddress, instance, user_agent},
};
use axum::http::{HeaderMap, header};
use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use crossfade_authority::{Client, Credentials, Environment};
use crossfade_core::{oauth::OauthError, registration::AuthMethod};
use std::borrow::Cow;

/// Accepts base64 with or without padding (RFC 4648 §3.2).
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Maximum length of an id or a secret in bytes. Ours have 22 and 64.
const LONGEST: usize = 256;
/// Maximum length of encoded credentials in bytes, and of what they decode to.
const ENCODED: usize = 4 * LONGEST;
const DECODED: usize = ENCODED / 4 * 3;

/// Authenticates the client of a request.
pub(crate) fn authenticate(
    web: &Web,
    environment: &Environment,
    source: &SourceAddress,
    headers: &HeaderMap,
    form: &Form<'_>,
) -> Result<Client, OauthError> {
    let authority = web.app.authority();
    let mut authorizations = headers.get_all(header::AUTHORIZATION).iter();
    let authorization = authorizations.next();
    // RFC 6749 §2.3: one method a request. Two are refused even if both are right.
    let in_body = form.get("client_secret").is_some();
    let two_headers = authorizations.next().is_some();
    let assertion = form.get("client_assertion").is_some() || form.get("client_assertion_type").is_some();
    let methods = usize::from(authorization.is_some()) + usize::from(in_body) + usize::from(assertion);
    if methods > 1 || two_headers {
        return Err(OauthError::InvalidRequest("The request uses more than one authentication method."));
    }
    let malformed = || authority.malformed(source.ip);
    let (user_agent, instance) = (user_agent(headers), instance(headers));
    let sender = source.sender;
    let decide = |client_id: &str, secret: &str, further_readings: &[&str], method| {
        if client_id.len() > LONGEST || secret.len() > LONGEST {
            return Err(malformed());
        }
        let source =
            crossfade_authority::Source { ip: source.ip, user_agent: &user_agent, instance: &instance };
        let credentials = Credentials { client_id, secret, further_readings, method, source, sender };
        authority.authenticate(environment, &credentials)
    };
    match authorization {
        Some(value) => {
            let mut room = [0; DECODED];
            let basic = value.to_str().ok().and_then(|value| decode_basic(value, &mut room));
            // Other issuers have made secrets that are sent in several ways.
            let split = if environment.upstream().is_some() { split_further } else { split };
            let (id, readings) = basic.and_then(split).ok_or_else(malformed)?;
            if form.get("client_id").is_some_and(|other| other != id) {
                return Err(OauthError::InvalidRequest(
                    "The client_id in the body does not match the one in the header.",
                ));
            }
            let mut room = [""; 2];
            let (secret, further) = readings.list(&mut room);
            decide(&id, secret, further, AuthMethod::ClientSecretBasic)
        }
        None => match (form.get("client_id"), form.get("client_secret")) {
            (Some(id), Some(secret)) => decide(id, secret, &[], AuthMethod::ClientSecretPost),
            _ => Err(malformed()),
        },
    }
}

/// Returns the credentials of a `Basic` header (RFC 7617 §2; the scheme is case-insensitive, RFC 9110 §11.1).
fn decode_basic<'a>(header: &str, room: &'a mut [u8; DECODED]) -> Option<&'a str> {
    let (scheme, rest) = header.split_once(' ')?;
    let encoded = rest.trim_start_matches(' ');
    if !scheme.eq_ignore_ascii_case("basic") || encoded.len() > ENCODED {
        return None;
    }
    let length = BASE64.decode_slice(encoded, room).ok()?;
    std::str::from_utf8(&room[..length]).ok()
}

/// Splits at the first colon and form-decodes each half (RFC 6749 §2.3.1, Appendix B). A second attempt with the raw
/// text is not needed: form encoding changes nothing in our values, so raw text decodes to itself.
fn split(credentials: &str) -> Option<(Cow<'_, str>, SecretReadings<'_>)> {
    let (id, secret) = credentials.split_once(':')?;
    Some((form_decode(id)?, SecretReadings { first: form_decode(secret)?, further: [None, None] }))
}

/// Splits at the first colon, and reads the secret in every way in which issuers read it.
fn split_further(credentials: &str) -> Option<(Cow<'_, str>, SecretReadings<'_>)> {
    let (id, secret) = credentials.split_once(':')?;
    Some((form_decode(id)?, SecretReadings::of_basic(secret)))
}

/// What a secret can be that was sent. How many readings there are depends only on what was sent.
pub(super) struct SecretReadings<'a> {
    /// Of a form (RFC 6749 §2.3.1), or raw if it is none.
    first: Cow<'a, str>,
    further: [Option<Cow<'a, str>>; 2],
}

impl<'a> SecretReadings<'a> {
    /// Returns a secret that can be read in one way only.
    pub(super) fn one(secret: &'a str) -> Self {
        Self { first: secret.into(), further: [None, None] }
    }

    /// Reads the secret of a `Basic` header: as that of a form, raw, and as that of a URL. They are the same unless it has `%` or
    /// `+`.
    pub(super) fn of_basic(raw: &'a str) -> Self {
        match form_decode(raw) {
            Some(Cow::Owned(first)) => {
                let of_url =
                    if raw.contains('+') { decode(raw.as_bytes(), b'+').map(Cow::Owned) } else { None };
                Self { first: first.into(), further: [Some(raw.into()), of_url] }
            }
            _ => Self::one(raw),
        }
    }

    /// Returns the first reading and the further ones, in this room.
    pub(super) fn list<'b>(&'b self, room: &'b mut [&'b str; 2]) -> (&'b str, &'b [&'b str]) {
        let mut number = 0;
        for (place, reading) in room.iter_mut().zip(self.further.iter().flatten()) {
            *place = reading;
            number += 1;
        }
        (&self.first, room.get(..number).unwrap_or_default())
    }
}

pub(super) fn form_decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains(['%', '+']) {
        return Some(text.into());
    }
    decode(text.as_bytes(), b' ').map(Cow::Owned)
}

/// Decodes percent escapes, and `+` as the given character: a space in a form, itself in a URL.
pub(super) fn decode(text: &[u8], plus: u8) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => plus,
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            other => other,
        });
    }
    String::from_utf8(decoded).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(header: &str) -> Option<(String, String)> {
        let mut room = [0; DECODED];
        let (id, secret) = split(decode_basic(header, &mut room)?)?;
        Some((id.into_owned(), secret.first.into_owned()))
    }

    #[test]
    fn the_secret_of_another_issuer_is_read_in_three_ways() {
        let readings = |raw: &str| {
            let readings = SecretReadings::of_basic(raw);
            let mut room = [""; 2];
            let (first, further) = readings.list(&mut room);
            std::iter::once(first).chain(further.iter().copied()).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(readings("plain_1:-~"), ["plain_1:-~"]);
        assert_eq!(readings("a%2Bb"), ["a+b", "a%2Bb"]);
        assert_eq!(readings("a+b%20c"), ["a b c", "a+b%20c", "a+b c"]);
        assert_eq!(readings("100%"), ["100%"], "no form");
        assert_eq!(readings("%FF"), ["%FF"], "not UTF-8");
    }

    fn basic(credentials: &str) -> String {
        format!("Basic {}", BASE64.encode(credentials))
    }

    #[test]
    fn basic_is_form_decoded_after_the_first_colon_rfc6749_2_3_1() {
        let published = "Basic MVBwRyUyRlErMTp6JTJGdFo5VndGWnFBcG1JUSUyQlpIMUk1cExrJTJGdUI0dWQlM0FYMiUyRjhiTCUyQndmRlR0MXJGdyUzRA==";
        let expected = ("1PpG/Q 1", "z/tZ9VwFZqApmIQ+ZH1I5pLk/uB4ud:X2/8bL+wfFTt1rFw=");
        assert_eq!(decoded(published), Some((expected.0.into(), expected.1.into())));
        let appendix_b = basic("client+%25%26%2B%2D%5F%2E%21%7E%2A%27%28%29:x");
        assert_eq!(decoded(&appendix_b).unwrap().0, "client %&+-_.!~*'()");
        for same in ["id:s_1", "id:s%5F1", "id:s%5f1", "%69d:s_1"] {
            assert_eq!(decoded(&basic(same)), Some(("id".into(), "s_1".into())), "{same}");
        }
        assert_eq!(decoded(&basic("id:a:b")), Some(("id".into(), "a:b".into())), "the first colon splits");
    }

    #[test]
    fn malformed_basic_headers_are_nothing_rfc7617() {
        for bad in ["Basic", "Basic ", "Bearer abc", "Basic !!!!", "Basic YWJj=====", "", "Basic\tYTpi"] {
            assert_eq!(decoded(bad), None, "{bad}");
        }
        for bad in ["no-colon", "id:S%", "id:%ZZ", "id:%f", "id:%FF", "%80:x"] {
            assert_eq!(decoded(&basic(bad)), None, "{bad}");
        }
        assert_eq!(decoded(&format!("Basic {}", BASE64.encode([0xff, b':', 0xfe]))), None, "not UTF-8");
        assert!(decoded(&basic(&format!("id:{}", "x".repeat(DECODED - 3)))).is_some(), "as long as can be");
        for length in [DECODED - 2, 2000] {
            assert_eq!(decoded(&basic(&format!("id:{}", "x".repeat(length)))), None, "too long to be ours");
        }
    }

    #[test]
    fn scheme_case_and_padding_do_not_matter_rfc9110_11_1() {
        for good in ["bAsIc YTpi", "BASIC  YTpi", "Basic YTpiYw==", "Basic YTpiYw"] {
            assert!(decoded(good).is_some(), "{good}");
        }
    }
}
