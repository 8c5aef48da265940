//! The form of a forwarded request: byte for byte what the caller sent, except for the authentication of the client.

use super::credential::{SentCredential, SentSecret};
use base64::{Engine, prelude::BASE64_STANDARD};
use crossfade_core::upstream::{BasicEncoding, CredentialMethod, Endpoint};
use http::HeaderValue;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};
use serde::{
    Deserializer,
    de::{MapAccess, Visitor},
};
use std::fmt;
use url::form_urlencoded;
use zeroize::Zeroizing;

/// Maximum number of bytes in the body of a request that is forwarded.
pub const MAX_FORM: usize = 256 * 1024;

/// Parameters that authenticate a client (RFC 6749 §2.3.1, RFC 7521 §4.2). They never go on.
const OURS: [&str; 4] = ["client_id", "client_secret", "client_assertion", "client_assertion_type"];

/// Why a body is not forwarded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FormFault {
    /// A parameter has a name that other parsers read as one that authenticates a client.
    Ambiguous,
    /// The body is not a JSON object whose members are texts.
    NotJson,
}

/// The parameters of a caller without those that authenticate a client.
#[derive(Clone, PartialEq, Eq)]
pub struct Kept {
    body: Zeroizing<Vec<u8>>,
    /// Whether the caller named its `client_id` beside credentials in a header, as a parameter of the request itself.
    names_client: bool,
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").finish_non_exhaustive()
    }
}

impl Kept {
    /// Takes the parameters that authenticate a client off a form.
    pub fn of(form: &[u8]) -> Result<Self, FormFault> {
        let mut body = Zeroizing::new(Vec::with_capacity(form.len()));
        let (mut names_client, mut has_secret) = (false, false);
        for (at, parameter) in form.split(|byte| *byte == b'&').enumerate() {
            let name = decode_name(parameter);
            if OURS.contains(&&*name) {
                names_client |= name == "client_id";
                has_secret |= name != "client_id";
                continue;
            }
            // Some parsers also split at semicolons.
            let mut parts = parameter.split(|byte| *byte == b';');
            if parts.any(|part| has_bad_escape(part) || is_read_as_ours(&decode_name(part))) {
                return Err(FormFault::Ambiguous);
            }
            if at > 0 && !body.is_empty() {
                body.push(b'&');
            }
            body.extend_from_slice(parameter);
        }
        Ok(Self { body, names_client: names_client && !has_secret })
    }

    /// Returns the header and the body that authenticate with a secret; `None` if they cannot be written.
    pub(super) fn authenticated(
        &self,
        endpoint: Endpoint,
        credential: &SentCredential<'_>,
        secret: &SentSecret,
    ) -> Option<(Option<HeaderValue>, Zeroizing<Vec<u8>>)> {
        // Everything but letters and digits is encoded, because servers decode the rest in different ways.
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let id = encode(credential.client_id);
        let raw = secret;
        let secret = Zeroizing::new(encode(&raw.value));
        let mut body = Zeroizing::new(Vec::with_capacity(self.body.len() + id.len() + secret.len() + 32));
        body.extend_from_slice(&self.body);
        let mut append = |name: &str, value: &str| {
            if !body.is_empty() {
                body.push(b'&');
            }
            for part in [name, "=", value] {
                body.extend_from_slice(part.as_bytes());
            }
        };
        match credential.method {
            CredentialMethod::ClientSecretPost => {
                append("client_id", &id);
                append("client_secret", &secret);
                Some((None, body))
            }
            CredentialMethod::ClientSecretBasic => {
                // A pushed request has it in any case, because it is a parameter of the authorization request (RFC 9126 §2.1).
                if self.names_client || endpoint == Endpoint::PushedAuthorizationRequest {
                    append("client_id", &id);
                }
                let credentials = Zeroizing::new(match credential.encoding {
                    BasicEncoding::Percent => format!("{id}:{}", *secret),
                    BasicEncoding::Raw => format!("{}:{}", credential.client_id, *raw.value),
                });
                let header =
                    Zeroizing::new(format!("Basic {}", BASE64_STANDARD.encode(credentials.as_bytes())));
                let mut header = HeaderValue::from_str(&header).ok()?;
                header.set_sensitive(true);
                Some((Some(header), body))
            }
        }
    }
}

/// Returns the value of `client_id` in a form that is passed on as it is, byte for byte; `None` if it has none or an empty one.
/// Refuses a form of which another parser could read another `client_id`.
pub fn passed_client_id(form: &[u8]) -> Result<Option<&[u8]>, FormFault> {
    let mut found = None;
    for parameter in form.split(|byte| *byte == b'&') {
        let name = decode_name(parameter);
        let is_ours = OURS.contains(&&*name);
        let mut parts = parameter.split(|byte| *byte == b';').skip(usize::from(is_ours));
        let is_ambiguous = match is_ours {
            true => parts.next().is_some() || has_bad_escape(parameter),
            false => parts.any(|part| has_bad_escape(part) || is_read_as_ours(&decode_name(part))),
        };
        if is_ambiguous {
            return Err(FormFault::Ambiguous);
        }
        let value = parameter.splitn(2, |byte| *byte == b'=').nth(1).unwrap_or_default();
        if name == "client_id" && !value.is_empty() {
            // A repeated one may be read as the first, the last, or both.
            if found.replace(value).is_some() {
                return Err(FormFault::Ambiguous);
            }
        }
    }
    Ok(found)
}

/// Returns the name of a parameter as parsers of forms read it.
fn decode_name(parameter: &[u8]) -> String {
    let name = parameter.split(|byte| *byte == b'=').next().unwrap_or_default();
    let spaced: Vec<u8> = name.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    percent_decode(&spaced).decode_utf8_lossy().into_owned()
}

/// Whether the name of a parameter has a percent sign without two hexadecimal digits: parsers disagree about those, and some
/// read `%u0063` as a letter.
fn has_bad_escape(parameter: &[u8]) -> bool {
    let name = parameter.split(|byte| *byte == b'=').next().unwrap_or_default();
    let mut after = name.split(|byte| *byte == b'%').skip(1);
    after.any(|rest| !matches!(rest, [a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit()))
}

/// Whether a parser that ignores case, cuts at a NUL, or turns dots and brackets into something else reads a name as one
/// that authenticates a client.
fn is_read_as_ours(name: &str) -> bool {
    let cut = |at: char| name.split(at).next().unwrap_or_default();
    let letters = |text: &str| -> String {
        let ascii = text.chars().map(|letter| match letter {
            // The other case of these is an ASCII letter.
            'ı' | 'İ' => 'i',
            'ſ' => 's',
            '\u{212a}' => 'k',
            other => other.to_ascii_lowercase(),
        });
        ascii.filter(char::is_ascii_alphanumeric).collect()
    };
    let readings = [name, cut('\0'), cut('[')].map(letters);
    OURS.iter().any(|ours| readings.contains(&letters(ours)))
}

/// Returns the form that says the same as a JSON object whose members are texts.
pub fn form_of_json(body: &[u8]) -> Result<Vec<u8>, FormFault> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let members = json.deserialize_map(Members).map_err(|_| FormFault::NotJson)?;
    json.end().map_err(|_| FormFault::NotJson)?;
    let mut form = form_urlencoded::Serializer::new(String::new());
    for (name, value) in &members {
        form.append_pair(name, value);
    }
    Ok(form.finish().into_bytes())
}

/// Reads the members of an object in their order, repeated ones too, which are refused like those of a form.
struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(String, Zeroizing<String>)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of texts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, String>()? {
            members.push((name, Zeroizing::new(value)));
        }
        Ok(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossfade_core::{
        RegistrationId, Timestamp,
        upstream::{
            Endpoint::{PushedAuthorizationRequest, Token},
            Slot,
        },
    };

    fn kept(form: &str) -> String {
        String::from_utf8(Kept::of(form.as_bytes()).unwrap().body.to_vec()).unwrap()
    }

    fn sent(form: &str, endpoint: Endpoint, method: CredentialMethod) -> (Option<String>, String) {
        sent_as(form, endpoint, (method, BasicEncoding::Percent))
    }

    fn sent_as(
        form: &str,
        endpoint: Endpoint,
        (method, encoding): (CredentialMethod, BasicEncoding),
    ) -> (Option<String>, String) {
        let registration = RegistrationId::parse("reg_0000000000000000000001").unwrap();
        let value = Zeroizing::new("s%+ü".to_owned());
        let secret = SentSecret { slot: Slot::Current, value, set_at: Timestamp::from_seconds(0) };
        let secrets = Vec::new();
        let credential =
            SentCredential { registration: &registration, client_id: "b:i l", method, encoding, secrets };
        let kept = Kept::of(form.as_bytes()).unwrap();
        let (header, body) = kept.authenticated(endpoint, &credential, &secret).unwrap();
        let header = header.map(|value| value.to_str().unwrap().to_owned());
        (header, String::from_utf8(body.to_vec()).unwrap())
    }

    #[test]
    fn a_server_that_decodes_nothing_gets_the_credential_as_it_is() {
        let raw = (CredentialMethod::ClientSecretBasic, BasicEncoding::Raw);
        let (header, body) = sent_as("a=b", PushedAuthorizationRequest, raw);
        let header = header.unwrap();
        let credentials = BASE64_STANDARD.decode(header.strip_prefix("Basic ").unwrap()).unwrap();
        assert_eq!(String::from_utf8(credentials).unwrap(), "b:i l:s%+ü");
        assert_eq!(body, "a=b&client_id=b%3Ai%20l", "the form is read in one way");
        let post = (CredentialMethod::ClientSecretPost, BasicEncoding::Raw);
        assert_eq!(sent_as("a=b", Token, post).1, "a=b&client_id=b%3Ai%20l&client_secret=s%25%2B%C3%BC");
    }

    #[test]
    fn everything_but_the_authentication_stays_byte_for_byte() {
        for form in [
            "grant_type=client_credentials",
            "a=%7e%7E~+%20&b&=c&&d=",
            "resource=x&resource=y&audience=%C3%A4",
            "x=a;b&%ff=%fe&scope=a+b",
        ] {
            assert_eq!(kept(form), form);
            for ours in
                ["client_id=a", "client%5Fsecret=b", "client_assertion=c.d.e", "client_assertion%5ftype"]
            {
                assert_eq!(kept(&format!("{form}&{ours}")), form, "{ours}");
                assert_eq!(kept(&format!("{ours}&{form}")), form, "{ours}");
            }
        }
        assert_eq!(kept("client_id=a&x=1&client_secret=b&y=2&client_id=c"), "x=1&y=2");
        assert_eq!(kept(""), "");
    }

    #[test]
    fn a_name_that_another_parser_reads_as_ours_is_refused() {
        for name in [
            "Client_ID",
            "client.id",
            "client+id",
            "client%20id",
            "+client_id",
            "client_id%00",
            "client_id%00x",
            "client_id[]",
            "client_id%5B0%5D",
            "client[secret",
            "clientId",
            "%EF%BB%BFclient_id",
            "client_secret%0d%0a",
            "x=1;client_id",
            "x;client_secret",
            "client_assertion.type",
            "%u0063lient_id",
            "x;%u0063lient_id",
            "a%",
            "a%4",
            "a%4g",
        ] {
            let form = format!("grant_type=x&{name}=victim");
            assert_eq!(Kept::of(form.as_bytes()), Err(FormFault::Ambiguous), "{name}");
        }
        for name in [
            "client_info",
            "client_id_hint",
            "my_client_id",
            "client_notification_token",
            "user_code",
            "%75ser",
        ] {
            let form = format!("{name}=x");
            assert_eq!(kept(&form), form);
        }
    }

    #[test]
    fn the_client_id_of_a_passed_form_is_read_in_one_way_or_refused() {
        let read = |form: &str| passed_client_id(form.as_bytes()).map(|id| id.map(<[u8]>::to_vec));
        for (form, id) in [
            ("", None),
            ("grant_type=x", None),
            ("client_id=", None),
            ("client_id", None),
            ("client_id=a%20b&client_secret=s%zz", Some("a%20b")),
            ("a=b;c&client%5fid=a=b", Some("a=b")),
            ("client_id=&client_id=a", Some("a")),
        ] {
            assert_eq!(read(form), Ok(id.map(|id: &str| id.as_bytes().to_vec())), "{form}");
        }
        for form in [
            "client_id=a&client_id=b",
            "client_id=a;b",
            "client_id=a;client_id=victim",
            "client_secret=s;client_id=victim",
            "a=b;client_id=victim",
            "Client_ID=victim",
            "client_id%00=victim",
            "client.id=victim",
            "client_id[]=victim",
            "a%=b",
            "client_assertion=a;client_id=victim",
        ] {
            assert_eq!(read(form), Err(FormFault::Ambiguous), "{form}");
        }
    }

    #[test]
    fn basic_encodes_everything_but_letters_and_digits() {
        let (header, body) =
            sent("client_id=x&client_secret=y&a=1", Token, CredentialMethod::ClientSecretBasic);
        let expected = BASE64_STANDARD.encode("b%3Ai%20l:s%25%2B%C3%BC");
        assert_eq!((header, body), (Some(format!("Basic {expected}")), "a=1".to_owned()));
        let (header, body) =
            sent("client_id=x&client_secret=y&a=1", Token, CredentialMethod::ClientSecretPost);
        assert_eq!(header, None);
        assert_eq!(body, "a=1&client_id=b%3Ai%20l&client_secret=s%25%2B%C3%BC");
    }

    #[test]
    fn a_client_id_that_belongs_to_the_request_is_named_again() {
        let basic = CredentialMethod::ClientSecretBasic;
        assert_eq!(sent("client_id=x&a=1", Token, basic).1, "a=1&client_id=b%3Ai%20l");
        assert_eq!(sent("a=1", Token, basic).1, "a=1");
        assert_eq!(sent("a=1", PushedAuthorizationRequest, basic).1, "a=1&client_id=b%3Ai%20l");
        assert_eq!(sent("", PushedAuthorizationRequest, basic).1, "client_id=b%3Ai%20l");
    }

    #[test]
    fn json_becomes_a_form_and_keeps_repeated_members() {
        let form = |json: &str| form_of_json(json.as_bytes()).map(|form| String::from_utf8(form).unwrap());
        assert_eq!(
            form(r#"{"grant_type":"x","a b":"c&d=\u00e4"}"#).unwrap(),
            "grant_type=x&a+b=c%26d%3D%C3%A4"
        );
        assert_eq!(form(r#"{"a":"1","a":"2"}"#).unwrap(), "a=1&a=2");
        assert_eq!(form("{}").unwrap(), "");
        for bad in [
            "",
            "[]",
            r#"{"a":1}"#,
            r#"{"a":null}"#,
            r#"{"a":{"b":"c"}}"#,
            r#"{"a":"b"} x"#,
            r#"{"a":"b""#,
            "a=b",
        ] {
            assert_eq!(form(bad), Err(FormFault::NotJson), "{bad}");
        }
    }
}
