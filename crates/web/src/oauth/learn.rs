//! Front mode: requests of registrations that have no secret yet, or only one that was learned. They go to the issuer as they
//! are, and what the issuer accepts is learned.

use super::{
    authenticate::{BASE64, SecretReadings, form_decode},
    form::Form,
    passing::Named,
    relay::{Body, UNCERTAIN},
    request::OauthRequest,
};
use crate::source::{instance, user_agent};
use axum::http::{HeaderMap, header};
use base64::Engine;
use crossfade_app::{Learnable, PassedBody};
use crossfade_authority::{Credentials, Source};
use crossfade_core::{
    oauth::OauthError,
    registration::AuthMethod,
    secret::looks_like_secret,
    upstream::{BasicEncoding, CredentialMethod, IssuerKind},
};
use zeroize::Zeroizing;

/// The one client authentication of a request.
struct Presented {
    client_id: String,
    /// The part of a `Basic` header before the colon, as it is; `None` in a form.
    raw_id: Option<String>,
    /// The secret, as it is in the header or in the form.
    secret: Zeroizing<String>,
}

impl Presented {
    /// Reads the authentication; `None` if there is none with a secret, or more than one.
    fn read(headers: &HeaderMap, form: &Form<'_>) -> Option<Self> {
        let mut authorizations = headers.get_all(header::AUTHORIZATION).iter();
        let (header, further) = (authorizations.next(), authorizations.next());
        let has_assertion =
            form.get("client_assertion").is_some() || form.get("client_assertion_type").is_some();
        if further.is_some() || has_assertion {
            return None;
        }
        match (header, form.get("client_secret")) {
            (Some(header), None) => {
                let (scheme, token) = header.to_str().ok()?.split_once(' ')?;
                if !scheme.eq_ignore_ascii_case("basic") {
                    return None;
                }
                let credentials = Zeroizing::new(BASE64.decode(token.trim_start_matches(' ')).ok()?);
                let (raw_id, secret) = std::str::from_utf8(&credentials).ok()?.split_once(':')?;
                let client_id = form_decode(raw_id)?.into_owned();
                if form.get("client_id").is_some_and(|other| other != client_id) {
                    return None;
                }
                let secret = Zeroizing::new(secret.to_owned());
                Some(Self { client_id, raw_id: Some(raw_id.to_owned()), secret })
            }
            (None, Some(secret)) => {
                let client_id = form.get("client_id")?.to_owned();
                Some(Self { client_id, raw_id: None, secret: Zeroizing::new(secret.to_owned()) })
            }
            _ => None,
        }
    }

    /// Returns how the secret is sent to the issuer from now on, so that the issuer gets the same from us.
    fn sent(&self, decoded: &str) -> (BasicEncoding, Zeroizing<String>) {
        let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        match &self.raw_id {
            Some(raw) if *raw == self.client_id && !(is_plain(raw) && is_plain(&self.secret)) => {
                (BasicEncoding::Raw, self.secret.clone())
            }
            _ => (BasicEncoding::Percent, Zeroizing::new(decoded.to_owned())),
        }
    }
}

/// Returns the secret of a request that its registration can learn, and the body; `None` if the request is decided here.
pub(super) fn learnable(
    request: &OauthRequest,
    kind: IssuerKind,
) -> Result<Option<(Learnable, PassedBody)>, OauthError> {
    let body = Body::of(request, kind)?;
    let form = Form::parse_relayed(&request.headers, body.is_converted(), body.read())?;
    let Some(presented) = Presented::read(&request.headers, &form) else { return Ok(None) };
    let readings = match presented.raw_id {
        Some(_) => SecretReadings::of_basic(&presented.secret),
        None => SecretReadings::one(&presented.secret),
    };
    let mut room = [""; 2];
    let (secret, further_readings) = readings.list(&mut room);
    let (method, sent_by) = match presented.raw_id {
        Some(_) => (AuthMethod::ClientSecretBasic, CredentialMethod::ClientSecretBasic),
        None => (AuthMethod::ClientSecretPost, CredentialMethod::ClientSecretPost),
    };
    let (user_agent, instance) = (user_agent(&request.headers), instance(&request.headers));
    let source = Source { ip: request.source.ip, user_agent: &user_agent, instance: &instance };
    let (client_id, sender) = (&*presented.client_id, request.source.sender);
    let credentials = Credentials { client_id, secret, further_readings, method, source, sender };
    let authority = request.web.app.authority();
    let Some(registration) = authority.learner(&request.environment, &credentials) else { return Ok(None) };
    let named = Named::read(&request.headers, &form, &body);
    // A secret that looks like ours is never one of an issuer that we are in front of, and goes to none.
    let is_ours = |reading: &&str| looks_like_secret(reading);
    if named.has_own_secret() || std::iter::once(&secret).chain(further_readings).any(is_ours) {
        return Ok(None);
    }
    named.check()?;
    if named.is_another(client_id, |name| authority.was_given(&request.environment, name)) {
        return Err(UNCERTAIN);
    }
    let (encoding, sent) = presented.sent(secret);
    let learnable = Learnable {
        registration,
        client_id: client_id.to_owned(),
        method: sent_by,
        secret: Zeroizing::new(secret.to_owned()),
        sent,
        encoding,
    };
    Ok(Some((learnable, body.passed())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(raw_id: Option<&str>, client_id: &str, secret: &str, decoded: &str) -> (BasicEncoding, String) {
        let presented = Presented {
            client_id: client_id.to_owned(),
            raw_id: raw_id.map(str::to_owned),
            secret: Zeroizing::new(secret.to_owned()),
        };
        let (encoding, sent) = presented.sent(decoded);
        (encoding, sent.to_string())
    }

    #[test]
    fn the_issuer_gets_what_the_caller_sent() {
        let percent = |text: &str| (BasicEncoding::Percent, text.to_owned());
        let raw = |text: &str| (BasicEncoding::Raw, text.to_owned());
        assert_eq!(sent(Some("app"), "app", "s3cret", "s3cret"), percent("s3cret"));
        // An issuer that decodes nothing would not take it for the same if it were encoded.
        assert_eq!(sent(Some("app"), "app", "a-b", "a-b"), raw("a-b"));
        assert_eq!(sent(Some("app"), "app", "a%2Bb", "a+b"), raw("a%2Bb"));
        assert_eq!(sent(Some("my%20app"), "my app", "a%2Bb", "a+b"), percent("a+b"));
        assert_eq!(sent(None, "app", "a+b%", "a+b%"), percent("a+b%"));
    }
}
