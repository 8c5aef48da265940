//! The body of an OAuth request: `application/x-www-form-urlencoded` (RFC 6749 §3.2, Appendix B).

use crate::body::BodyError;
use axum::{
    body::Bytes,
    http::{HeaderMap, Uri, header},
};
use crossfade_core::oauth::OauthError;
use std::borrow::Cow;

/// Maximum number of parameters in a request. Ordinary requests have six.
const MOST_PARAMETERS: usize = 32;
/// Maximum number of parameters in a request that is forwarded: other issuers have more of them.
const MOST_RELAYED: usize = 128;
/// Parameters that can be repeated (RFC 8707 §2).
const REPEATABLE: [&str; 2] = ["resource", "audience"];
/// Parameters that must not be in a URL, where they would be logged.
const BODY_ONLY: [&str; 6] =
    ["client_id", "client_secret", "token", "grant_type", "scope", "client_assertion"];

/// The parameters of a request, each at most once.
pub(crate) struct Form<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Form<'a> {
    /// Parses the parameters. A parameter without a value counts as absent (RFC 6749 §3.2); a repeated one makes the
    /// request invalid.
    pub(crate) fn parse(
        uri: &Uri,
        headers: &HeaderMap,
        body: &'a Result<Bytes, BodyError>,
    ) -> Result<Self, OauthError> {
        let in_url = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
        if in_url.into_iter().any(|(name, _)| BODY_ONLY.contains(&&*name)) {
            return Err(OauthError::InvalidRequest("Parameters must be in the body, not in the URL."));
        }
        if !is_form(headers) {
            return Err(OauthError::InvalidRequest(
                "The content type must be application/x-www-form-urlencoded.",
            ));
        }
        Self::parse_body(body, OauthError::BodyTooLarge, MOST_PARAMETERS)
    }

    /// Parses the parameters of a request that is forwarded. `is_converted`: the body was no form when it arrived.
    pub(crate) fn parse_relayed(
        headers: &HeaderMap,
        is_converted: bool,
        body: &'a Result<Bytes, BodyError>,
    ) -> Result<Self, OauthError> {
        if !is_converted && !is_form(headers) {
            return Err(OauthError::InvalidRequest(
                "The content type must be application/x-www-form-urlencoded.",
            ));
        }
        Self::parse_body(body, OauthError::RelayedBodyTooLarge, MOST_RELAYED)
    }

    fn parse_body(
        body: &'a Result<Bytes, BodyError>,
        too_large: OauthError,
        most_parameters: usize,
    ) -> Result<Self, OauthError> {
        let body = body.as_ref().map_err(|error| match error {
            BodyError::TooLarge => too_large,
            BodyError::Broken | BodyError::Late => {
                OauthError::InvalidRequest("The body did not arrive complete.")
            }
        })?;
        // Before any of them is read, those without a value, too: all of them are work, and are forwarded.
        if body.split(|byte| *byte == b'&').nth(most_parameters).is_some() {
            return Err(OauthError::InvalidRequest("The request has too many parameters."));
        }
        let mut parameters: Vec<(Cow<'a, str>, Cow<'a, str>)> = Vec::with_capacity(6);
        for (name, value) in form_urlencoded::parse(body) {
            if value.is_empty() {
                continue;
            }
            if parameters.iter().any(|(known, _)| *known == name) && !REPEATABLE.contains(&&*name) {
                return Err(OauthError::InvalidRequest("A parameter is repeated."));
            }
            parameters.push((name, value));
        }
        Ok(Self(parameters))
    }

    /// Returns the value of a parameter.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    /// Returns the token parameter without surrounding white space, which comes from a file or a terminal. Otherwise a
    /// revocation would miss the token and still get 200 (RFC 7009 §2.2).
    pub(crate) fn token(&self) -> Result<&str, OauthError> {
        let token = self.get("token").map(str::trim).filter(|token| !token.is_empty());
        token.ok_or(OauthError::InvalidRequest("token is missing."))
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(one), None) = (types.next(), types.next()) else { return false };
    let essence = one.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_without_a_value_count_too() {
        for part in ["a", "a=", ""] {
            let parts = |number: usize| Ok(Bytes::from(vec![part; number].join("&")));
            let parse = |body| Form::parse_body(&body, OauthError::BodyTooLarge, 3).is_ok();
            assert_eq!([3, 4].map(|number| parse(parts(number))), [true, false], "{part}");
        }
    }
}
