//! Opaque identifiers. Each kind has a prefix, so that an id in a log line or a support ticket shows what it is, and an
//! id of one kind is never mistaken for another. An id has a fixed length and is stored in place, because a node keeps
//! several of each registration in memory.

use crate::{Random, base62};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The text is not an id of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an id that starts with {prefix}")]
pub struct InvalidId {
    /// Prefix of this kind of id.
    pub prefix: &'static str,
}

/// Number of base62 digits after the prefix: 128 random bits.
const RANDOM_DIGITS: usize = 22;

fn generate<const LENGTH: usize>(prefix: &str, random: &dyn Random) -> [u8; LENGTH] {
    let mut bytes = [0; 16];
    random.fill(&mut bytes);
    let mut id = [0; LENGTH];
    let (start, digits) = id.split_at_mut(prefix.len());
    start.copy_from_slice(prefix.as_bytes());
    digits.copy_from_slice(&base62::encode_128_bits(bytes));
    id
}

fn is_valid(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix).is_some_and(|rest| rest.len() == RANDOM_DIGITS && base62::is_base62(rest))
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)+) => { $(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name([u8; $prefix.len() + RANDOM_DIGITS]);

        impl $name {
            /// Prefix of every id of this kind.
            pub const PREFIX: &'static str = $prefix;

            /// Returns a new id of 128 random bits.
            pub fn generate(random: &dyn Random) -> Self {
                Self(generate(Self::PREFIX, random))
            }

            /// Reads an id. Fails on another kind's prefix, another length, or other characters.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                let bytes = text.as_bytes().try_into().ok().filter(|_| is_valid(text, Self::PREFIX));
                bytes.map(Self).ok_or(InvalidId { prefix: Self::PREFIX })
            }

            /// Returns the id as it is written everywhere.
            pub fn as_str(&self) -> &str {
                // An id has only ASCII characters.
                std::str::from_utf8(&self.0).unwrap_or_default()
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.as_str().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let pattern = format!("^{}[0-9A-Za-z]{{{RANDOM_DIGITS}}}$", Self::PREFIX);
                schemars::json_schema!({"type": "string", "pattern": pattern})
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    )+ };
}

ids! {
    /// A product or site that owns clients.
    PropertyId = "prop_";
    /// An application registered under a property. Not the OAuth `client_id`: see [`OauthClientId`].
    ClientId = "cl_";
    /// One client in one environment.
    RegistrationId = "reg_";
    /// One secret of one registration. Safe to log; it reveals nothing about the value.
    SecretId = "sec_";
    /// The record of one change of secrets.
    RotationId = "rot_";
    /// A drill: windows in which a retiring secret is refused.
    DrillId = "drill_";
    /// A person or a service account.
    UserId = "usr_";
    /// One role granted to one user within one scope.
    GrantId = "grant_";
    /// An API token (its id, not its value).
    TokenId = "tok_";
    /// A webhook: a URL that gets messages.
    WebhookId = "wh_";
    /// One message to one recipient.
    DeliveryId = "del_";
    /// A serving process, from its start to its end.
    NodeId = "node_";
    /// A session in the Console (its id, not the value of the cookie).
    SessionId = "ses_";
    /// The OAuth `client_id` of a registration (RFC 6749 §2.2). It has no prefix: every client library form-encodes
    /// letters and digits unchanged.
    OauthClientId = "";
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(u8);
    impl Random for Fixed {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }

    #[test]
    fn a_generated_id_parses_as_its_own_kind_only() {
        let id = SecretId::generate(&Fixed(0xab));
        assert_eq!(SecretId::parse(id.as_str()), Ok(id.clone()));
        assert!(RotationId::parse(id.as_str()).is_err());
        assert!(SecretId::parse("sec_").is_err());
        assert!(SecretId::parse(&format!("{id}0")).is_err());
        assert!(SecretId::parse("sec_0000000000000000000-00").is_err());
    }

    #[test]
    fn oauth_client_ids_are_letters_and_digits() {
        let id = OauthClientId::generate(&Fixed(0xff));
        assert!(base62::is_base62(id.as_str()));
        assert_eq!(id.as_str().len(), 22);
    }
}
