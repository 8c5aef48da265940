//! The settings of a registration, parsed into their final types.

use crate::{Problem, Timestamp, oauth::OauthError, secret::looks_like_secret};
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, time::Duration};

/// Why a registration that learns its secret has none yet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Adoption {
    /// No request came that the issuer accepted.
    Waiting,
    /// The issuer accepts any secret of the client.
    PublicClient,
}

impl Adoption {
    /// Returns `waiting` or `public_client`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::PublicClient => "public_client",
        }
    }
}

/// Authentication method of a client (RFC 6749 §2.3.1, names from RFC 7591 §2).
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum AuthMethod {
    /// In the `Authorization` header.
    ClientSecretBasic,
    /// In the body of the request.
    ClientSecretPost,
}

impl AuthMethod {
    /// Both, in the order in which they are listed.
    pub const ALL: [Self; 2] = [Self::ClientSecretBasic, Self::ClientSecretPost];

    /// Returns the registered name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
        }
    }
}

/// A set of authentication methods that is never empty.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct AuthMethods {
    basic: bool,
    post: bool,
}

impl Default for AuthMethods {
    fn default() -> Self {
        Self { basic: true, post: true }
    }
}

impl AuthMethods {
    /// Parses a list. Refuses an empty one, which would lock the client out.
    pub fn parse(methods: &[AuthMethod]) -> Result<Self, Problem> {
        let set = Self {
            basic: methods.contains(&AuthMethod::ClientSecretBasic),
            post: methods.contains(&AuthMethod::ClientSecretPost),
        };
        if methods.is_empty() || methods.len() > 2 {
            return Err(Problem::invalid("token_endpoint_auth_methods", "must contain one method or both"));
        }
        Ok(set)
    }

    /// Whether `method` is in the set.
    pub fn allows(self, method: AuthMethod) -> bool {
        match method {
            AuthMethod::ClientSecretBasic => self.basic,
            AuthMethod::ClientSecretPost => self.post,
        }
    }

    /// Returns the methods in the set.
    pub fn list(self) -> Vec<AuthMethod> {
        AuthMethod::ALL.into_iter().filter(|method| self.allows(*method)).collect()
    }
}

/// Scopes that a registration can request: unique, in the given order, as one space-separated text.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Scopes(String);

/// Maximum number of scopes of a registration.
const MOST_SCOPES: usize = 100;

impl Scopes {
    /// Reads a list of scope tokens (RFC 6749 §3.3: visible ASCII without `"` and `\`).
    pub fn parse(scopes: &[String]) -> Result<Self, Problem> {
        if scopes.len() > MOST_SCOPES {
            return Err(Problem::invalid("scopes", &format!("must contain at most {MOST_SCOPES} entries")));
        }
        let mut unique: Vec<&str> = Vec::new();
        for scope in scopes {
            if !is_scope_token(scope) || scope.len() > 200 || looks_like_secret(scope) {
                return Err(Problem::invalid(
                    "scopes",
                    "must contain scope tokens of 1 to 200 visible ASCII characters, without spaces, quotes \
                    or backslashes",
                ));
            }
            if !unique.contains(&scope.as_str()) {
                unique.push(scope);
            }
        }
        Ok(Self(unique.join(" ")))
    }

    /// Creates scopes from stored text that was parsed before.
    pub fn from_stored(joined: String) -> Self {
        Self(joined)
    }

    /// Returns an after the other.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.split_ascii_whitespace()
    }

    /// Returns one space-separated text, as in a token response and a database row.
    pub fn joined(&self) -> &str {
        &self.0
    }

    /// Returns the scopes granted for `asked`: all of them or none, in the registered order, each once. An absent
    /// `asked` (or one without any scope, which RFC 6749 §3.2 treats as absent) gets all scopes of the registration.
    /// Several spaces count as one.
    pub fn grant(&self, asked: Option<&str>) -> Result<Cow<'_, str>, OauthError> {
        let asked = || asked.unwrap_or_default().split(' ').filter(|token| !token.is_empty());
        if asked().next().is_none() {
            return Ok(self.0.as_str().into());
        }
        if !asked().all(|token| self.iter().any(|scope| scope == token)) {
            let is_malformed = asked().any(|token| !is_scope_token(token));
            return Err(if is_malformed { OauthError::MalformedScope } else { OauthError::InvalidScope });
        }
        let granted: Vec<&str> = self.iter().filter(|scope| asked().any(|token| token == *scope)).collect();
        Ok(granted.join(" ").into())
    }
}

/// A scope token or an audience as a regular expression, for the schemas of the API.
pub const TOKEN_PATTERN: &str = r"^[!#-\[\]-~]+$";

fn is_scope_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

/// Access token lifetime in seconds, 60 to 86,400.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TokenTtl(u32);

impl Default for TokenTtl {
    fn default() -> Self {
        Self(3600)
    }
}

impl TokenTtl {
    /// One day. A signing key must be published for this long after its last signature.
    pub const LONGEST: Self = Self(86_400);

    /// Reads a number of seconds.
    pub fn parse(seconds: i64) -> Result<Self, Problem> {
        match u32::try_from(seconds) {
            Ok(seconds) if (60..=Self::LONGEST.0).contains(&seconds) => Ok(Self(seconds)),
            _ => Err(Problem::invalid(
                "access_token_ttl_seconds",
                "must be a whole number of seconds from 60 to 86400",
            )),
        }
    }

    /// Returns the number of seconds.
    pub const fn seconds(self) -> u32 {
        self.0
    }

    /// Returns when the last token that a registration can have got by `now` expires, for resource servers that validate
    /// offline. `earlier` is when the tokens of an earlier, longer lifetime expire.
    pub fn last_token_expires_at(self, earlier: Option<Timestamp>, now: Timestamp) -> Timestamp {
        let newest = now.after(Duration::from_secs(self.0.into()));
        earlier.map_or(newest, |earlier| earlier.max(newest))
    }
}

/// Reads an audience: an absolute URI or a plain word, without spaces.
pub fn audience(text: &str) -> Result<String, Problem> {
    let visible = text.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e));
    if text.is_empty() || text.len() > 500 || !visible || looks_like_secret(text) {
        return Err(Problem::invalid(
            "audience",
            "must be 1 to 500 visible ASCII characters, without spaces, quotes or backslashes",
        ));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(list: &[&str]) -> Result<Scopes, Problem> {
        Scopes::parse(&list.iter().map(|s| s.to_string()).collect::<Vec<_>>())
    }

    #[test]
    fn scope_is_granted_whole_or_not_at_all_rfc6749_3_3() {
        let registered = scopes(&["read", "write", "read"]).unwrap();
        assert_eq!(registered.grant(None).as_deref(), Ok("read write"));
        for (asked, granted) in [
            ("", "read write"),
            ("  ", "read write"),
            ("write read", "read write"),
            ("write write", "write"),
            ("read  write", "read write"),
            (" read ", "read"),
        ] {
            assert_eq!(registered.grant(Some(asked)).as_deref(), Ok(granted), "{asked:?}");
        }
        for (refused, error) in [
            ("admin", OauthError::InvalidScope),
            ("read admin", OauthError::InvalidScope),
            ("Read", OauthError::InvalidScope),
            ("read\twrite", OauthError::MalformedScope),
            ("read \"write\"", OauthError::MalformedScope),
        ] {
            assert_eq!(registered.grant(Some(refused)), Err(error), "{refused:?}");
        }
    }

    #[test]
    fn scope_tokens_are_visible_ascii_rfc6749_3_3() {
        for bad in ["", "a b", "a\"b", "a\\b", "é", "a\n"] {
            assert!(scopes(&[bad]).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_registration_cannot_be_left_without_a_method() {
        assert!(AuthMethods::parse(&[]).is_err());
        let post = AuthMethods::parse(&[AuthMethod::ClientSecretPost]).unwrap();
        assert!(post.allows(AuthMethod::ClientSecretPost) && !post.allows(AuthMethod::ClientSecretBasic));
        assert_eq!(AuthMethods::default().list(), AuthMethod::ALL);
    }

    #[test]
    fn token_lifetimes() {
        for good in [60, 3600, 86_400] {
            assert_eq!(i64::from(TokenTtl::parse(good).unwrap().seconds()), good);
        }
        for bad in [-1, 0, 59, 86_401, i64::MAX] {
            assert!(TokenTtl::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(TokenTtl::default().seconds(), 3600);
    }

    /// A value that rule 18 keeps out of every setting.
    const SECRET: &str = "crossfade_live_0123456789ab";

    #[test]
    fn methods_have_the_names_of_rfc7591_2() {
        for (method, name) in AuthMethod::ALL.into_iter().zip(["client_secret_basic", "client_secret_post"]) {
            assert_eq!(method.as_str(), name);
            assert_eq!(serde_json::to_value(method).unwrap(), name);
        }
        let basic = AuthMethods::parse(&[AuthMethod::ClientSecretBasic]).unwrap();
        assert!(basic.allows(AuthMethod::ClientSecretBasic) && !basic.allows(AuthMethod::ClientSecretPost));
        assert_eq!(basic.list(), [AuthMethod::ClientSecretBasic]);
    }

    #[test]
    fn at_most_100_scopes_of_at_most_200_characters() {
        let many = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>();
        assert_eq!(Scopes::parse(&many(100)).unwrap().iter().count(), 100);
        assert!(Scopes::parse(&many(101)).is_err());
        assert!(scopes(&[&"a".repeat(200)]).is_ok());
        assert!(scopes(&[&"a".repeat(201)]).is_err());
        assert!(scopes(&[&"~".repeat(201)]).is_err());
    }

    #[test]
    fn rule_18_a_secret_is_no_scope_and_no_audience() {
        assert_eq!(scopes(&["read", SECRET]).unwrap_err().field.as_deref(), Some("scopes"));
        assert_eq!(audience(SECRET).unwrap_err().field.as_deref(), Some("audience"));
    }

    #[test]
    fn scopes_are_stored_as_they_are_sent() {
        let registered = scopes(&["write", "read", "write"]).unwrap();
        assert_eq!(registered.joined(), "write read");
        assert_eq!(Scopes::from_stored("write read".into()), registered);
        assert_eq!(Scopes::default().grant(None).as_deref(), Ok(""));
        assert_eq!(Scopes::default().grant(Some("read")), Err(OauthError::InvalidScope));
    }

    /// Values that are written to a token's claims without escaping must not need any.
    #[test]
    fn an_audience_is_1_to_500_visible_ascii_characters_without_quote_and_backslash() {
        for good in ["api", "https://api.example.com/v1?a=b#c", "urn:example:api", "!", "~", &"a".repeat(500)]
        {
            assert_eq!(audience(good).unwrap(), good);
        }
        for bad in ["", " ", "a b", "a\"b", "a\\b", "é", "a\n", "a\u{7f}", &"a".repeat(501)] {
            assert_eq!(audience(bad).unwrap_err().field.as_deref(), Some("audience"), "{bad:?}");
        }
    }
}
