//! Environments. Each is a separate OAuth issuer.

use crate::{Problem, secret::looks_like_secret};

/// Maximum number of environments in a request.
pub const MAX_ENVIRONMENTS: usize = 100;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Whether an environment serves real users. Part of every secret's prefix.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum EnvironmentKind {
    /// Test: nothing real depends on it.
    Test,
    /// Real users and data.
    Live,
}

impl EnvironmentKind {
    /// Returns `test` or `live`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Test => "test",
            Self::Live => "live",
        }
    }

    /// Reads `test` or `live`.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Test, Self::Live].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// The name of an environment in URLs: lower-case letters, digits and inner hyphens.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Slug(String);

impl Slug {
    /// Pattern of a slug, for the schemas of the API.
    pub const PATTERN: &'static str = "^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$";

    /// Reads a slug from the member `field` of a request.
    pub fn parse(field: &'static str, text: &str) -> Result<Self, Problem> {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let valid = (1..=40).contains(&text.len())
            && text.bytes().all(inner)
            && !text.starts_with('-')
            && !text.ends_with('-');
        if valid && !looks_like_secret(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Problem::invalid(
                field,
                "must be 1 to 40 lowercase letters, digits and hyphens, and must not start or end with a \
                hyphen",
            ))
        }
    }

    /// Creates a slug from stored text that was parsed before.
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// Returns the slug.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The algorithm of an environment's access tokens (RFC 7518 §3.1, RFC 8037 §3.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub enum SigningAlg {
    /// ECDSA on P-256: small, fast, understood everywhere.
    ES256,
    /// Ed25519: the fastest to sign.
    EdDSA,
    /// RSA with 2048 bits, for resource servers that support nothing newer.
    RS256,
}

impl SigningAlg {
    /// Returns the name used in a JWS header.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ES256 => "ES256",
            Self::EdDSA => "EdDSA",
            Self::RS256 => "RS256",
        }
    }

    /// Reads the name, case-sensitively as RFC 7515 §4.1.1 asks.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::ES256, Self::EdDSA, Self::RS256].into_iter().find(|alg| alg.as_str() == text)
    }
}

/// Environments of a new instance, in order: slug, display name, kind.
pub const DEFAULTS: [(&str, &str, EnvironmentKind); 3] = [
    ("development", "Development", EnvironmentKind::Test),
    ("staging", "Staging", EnvironmentKind::Test),
    ("production", "Production", EnvironmentKind::Live),
];

/// Default number of days after a secret's end until its stored value is wiped.
pub const DEFAULT_WIPE_AFTER_DAYS: u16 = 30;
/// Default maximum secret age in days, after which a secret is overdue for rotation.
pub const DEFAULT_MAX_AGE_DAYS: u16 = 90;

/// Maximum retention and age in days.
const MAX_DAYS: i64 = 3650;

/// Reads the number of days to keep a stored value after the end of its secret.
pub fn retention_days(days: i64) -> Result<i64, Problem> {
    days_from("wipe_after_days", days, 0)
}

/// Reads the maximum secret age in days.
pub fn age_days(days: i64) -> Result<i64, Problem> {
    days_from("max_age_days", days, 1)
}

/// Reads the number of days after which a signing key is rotated.
pub fn signing_key_days(days: i64) -> Result<i64, Problem> {
    days_from("signing_key_rotation_days", days, 1)
}

fn days_from(field: &str, days: i64, least: i64) -> Result<i64, Problem> {
    if (least..=MAX_DAYS).contains(&days) {
        Ok(days)
    } else {
        Err(Problem::invalid(field, &format!("must be a whole number of days from {least} to {MAX_DAYS}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_fit_in_a_path_segment() {
        for good in ["production", "eu-1", "a"] {
            assert_eq!(Slug::parse("slug", good).unwrap().as_str(), good);
        }
        for bad in ["", "-a", "a-", "A", "a/b", "a.b", "ä", "a b", &"a".repeat(41)] {
            assert!(Slug::parse("slug", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn algorithm_names_are_case_sensitive() {
        assert_eq!(SigningAlg::parse("EdDSA"), Some(SigningAlg::EdDSA));
        for bad in ["eddsa", "none", "HS256", ""] {
            assert_eq!(SigningAlg::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn kinds_are_test_and_live_and_only_production_is_live_at_first() {
        for (kind, word) in [(EnvironmentKind::Test, "test"), (EnvironmentKind::Live, "live")] {
            assert_eq!(kind.as_str(), word);
            assert_eq!(EnvironmentKind::parse(word), Some(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), word);
        }
        assert_eq!(EnvironmentKind::parse("Live"), None);
        let live: Vec<_> = DEFAULTS.iter().filter(|(_, _, kind)| *kind == EnvironmentKind::Live).collect();
        assert_eq!(live, [&("production", "Production", EnvironmentKind::Live)]);
        assert_eq!(DEFAULTS.map(|(slug, _, _)| slug), ["development", "staging", "production"]);
    }

    #[test]
    fn rule_15_stored_values_are_wiped_30_days_after_the_end() {
        assert_eq!((DEFAULT_WIPE_AFTER_DAYS, DEFAULT_MAX_AGE_DAYS), (30, 90));
    }

    #[test]
    fn a_slug_is_written_as_it_is() {
        let slug = Slug::parse("slug", "eu-1").unwrap();
        assert_eq!(format!("{slug} {slug:?}"), "eu-1 eu-1");
        assert!(Slug::parse("slug", &"a".repeat(40)).is_ok());
    }
}
