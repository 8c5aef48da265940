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

    /// Returns how a secret that can be read in one way only is sent, so that the issuer goes on getting what it gets now.
    fn encoding(&self) -> BasicEncoding {
        let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        match &self.raw_id {
            Some(raw) if !(is_plain(raw) && is_plain(&self.secret)) => BasicEncoding::Raw,
            _ => BasicEncoding::Percent,
        }
    }
}

/// Grants with which an access token proves the secret of the client. With others, some issuers look at a code or an assertion
/// alone, or know the client by it.
const PROVING_GRANTS: [&str; 2] = ["client_credentials", "refresh_token"];

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
    // An issuer that reads the name in another way means another client.
    let is_one_name = !named.is_another(client_id, |_| true);
    let is_proving = form.get("grant_type").is_some_and(|grant| PROVING_GRANTS.contains(&grant));
    let learnable = Learnable {
        registration,
        client_id: client_id.to_owned(),
        method: sent_by,
        secret: Zeroizing::new(secret.to_owned()),
        encoding: presented.encoding(),
        further_readings: further_readings.iter().map(|it| Zeroizing::new((*it).to_owned())).collect(),
        is_proof: is_one_name && is_proving,
    };
    Ok(Some((learnable, body.passed())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_issuer_gets_what_the_caller_sent() {
        let encoding = |raw_id: Option<&str>, secret: &str| {
            let (raw_id, secret) = (raw_id.map(str::to_owned), Zeroizing::new(secret.to_owned()));
            Presented { client_id: "app".to_owned(), raw_id, secret }.encoding()
        };
        assert_eq!(encoding(Some("app"), "s3cret"), BasicEncoding::Percent);
        // An issuer that decodes nothing would not take it for the same if it were encoded.
        assert_eq!(encoding(Some("app"), "a-b"), BasicEncoding::Raw);
        assert_eq!(encoding(None, "a+b%"), BasicEncoding::Percent);
    }
}
