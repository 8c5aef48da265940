//! Access tokens: RFC 9068 JWTs, written without a JSON library on the request path and read back with one.

use crate::signing::{Environment, SigningKey};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use crossfade_core::{OauthClientId, SecretId, Timestamp};
use serde::Deserialize;
use std::fmt::Write;

/// What a token says.
pub(crate) struct Content<'a> {
    pub(crate) client_id: &'a OauthClientId,
    /// `None`: the issuer itself.
    pub(crate) audience: Option<&'a str>,
    pub(crate) secret: &'a SecretId,
    pub(crate) scope: &'a str,
    pub(crate) issued_at: Timestamp,
    pub(crate) ttl_seconds: u32,
    pub(crate) jti: &'a str,
}

/// Writes and signs a token (RFC 9068 §2.2; `sub` is the client itself, §2.2.3).
pub(crate) fn mint(issuer: &str, key: &SigningKey, content: &Content<'_>) -> Option<String> {
    let Content { client_id, audience, secret, scope, issued_at, ttl_seconds, jti } = content;
    let audience = audience.unwrap_or(issuer);
    let iat = issued_at.as_seconds();
    let exp = iat + i64::from(*ttl_seconds);
    let mut claims = String::with_capacity(issuer.len() + audience.len() + scope.len() + 300);
    // Nothing here holds a character that JSON would escape: ids are base62; issuer, audience and scopes are
    // visible ASCII without quote and backslash, which is checked where they enter.
    write!(
        claims,
        r#"{{"iss":"{issuer}","sub":"{client_id}","client_id":"{client_id}","aud":"{audience}","iat":{iat},"exp":{exp},"jti":"{jti}","crossfade_secret":"{secret}""#
    )
    .ok()?;
    if !scope.is_empty() {
        write!(claims, r#","scope":"{scope}""#).ok()?;
    }
    claims.push('}');

    let mut token = String::with_capacity(key.header().len() + claims.len() * 4 / 3 + 360);
    token.push_str(key.header());
    URL_SAFE_NO_PAD.encode_string(&claims, &mut token);
    let mut signature = Vec::with_capacity(64);
    key.sign(token.as_bytes(), &mut signature)?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(&signature, &mut token);
    Some(token)
}

/// The claims of a token of ours.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Claims {
    /// The issuer.
    pub iss: String,
    /// The subject: the client.
    pub sub: String,
    /// The client.
    pub client_id: String,
    /// The audience.
    pub aud: String,
    /// When it was issued, in seconds.
    pub iat: i64,
    /// When it ends, in seconds.
    pub exp: i64,
    /// Its id.
    pub jti: String,
    /// The secret that it was obtained with.
    pub crossfade_secret: String,
    /// Its scope.
    pub scope: Option<String>,
}

/// Reads a token that this environment signed and that has not ended by `now`.
///
/// The encoded header must be, byte for byte, one that a published key of the environment writes. So there is
/// no `alg` to confuse, no `kid` to inject, no `crit` or `jwk` to interpret (RFC 8725 §3.1, §3.10), and no
/// other kind of JWT passes for an access token (§3.12).
pub(crate) fn read(environment: &Environment, token: &str, now: Timestamp) -> Option<Claims> {
    let (input, signature) = token.rsplit_once('.')?;
    let dot = input.find('.')?;
    let (header, payload) = input.split_at(dot + 1);
    let key = environment.key_of_header(header, now)?;
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    if !key.verify(input.as_bytes(), &signature) {
        return None;
    }
    let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    let ours = claims.iss == environment.issuer();
    let alive = now < Timestamp::from_seconds(claims.exp);
    (ours && alive).then_some(claims)
}
