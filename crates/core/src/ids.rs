//! Opaque identifiers. Each kind has a prefix, so that an id in a log line or a support ticket shows what it is, and an
//! id of one kind is never mistaken for another. An id has a fixed length and is stored in place, because a node keeps
//! several of each registration in memory.

use crate::{Random, base62};
use serde::{Deserialize, Serialize};
use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
};

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
    /// An OpenID Connect provider with which people sign in.
    ProviderId = "idp_";
    /// A second factor of an account.
    FactorId = "fac_";
    /// A token with which a provider provisions people (its id, not its value).
    ProvisioningTokenId = "prov_";
    /// A person whom a provider has provisioned: their resource, not their account.
    ScimUserId = "su_";
    /// A group that a provider has provisioned.
    ScimGroupId = "sg_";
}

/// The OAuth `client_id` of a registration (RFC 6749 §2.2): generated by Crossfade, or given by the upstream issuer of an
/// environment in front mode. A generated one has only letters and digits, which every client library form-encodes
/// unchanged, and is unique across all environments. A given one is unique in its environment.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OauthClientId(Characters);

/// Characters of a `client_id`. Every text has one form, so that equal texts are equal.
#[derive(Clone, PartialEq, Eq)]
enum Characters {
    /// 22 letters and digits, as generated ones are. Stored in place.
    Letters([u8; RANDOM_DIGITS]),
    /// Anything else.
    Other(Box<str>),
}

/// The text is not a `client_id`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a client_id of 1 to {} visible ASCII characters and spaces", OauthClientId::MAX_LENGTH)]
pub struct InvalidClientId;

impl OauthClientId {
    /// Maximum length.
    pub const MAX_LENGTH: usize = 256;
    /// Characters of a `client_id` (VSCHAR of RFC 6749 §A.1), for the schemas of the API.
    pub const PATTERN: &'static str = "^[ -~]{1,256}$";

    /// Returns a new `client_id` of 128 random bits.
    pub fn generate(random: &dyn Random) -> Self {
        Self(Characters::Letters(generate("", random)))
    }

    /// Reads a `client_id`.
    pub fn parse(text: &str) -> Result<Self, InvalidClientId> {
        if let Some(generated) = Self::generated(text) {
            return Ok(generated);
        }
        let is_allowed = |byte: u8| matches!(byte, b' '..=b'~');
        match (1..=Self::MAX_LENGTH).contains(&text.len()) && text.bytes().all(is_allowed) {
            true => Ok(Self(Characters::Other(text.into()))),
            false => Err(InvalidClientId),
        }
    }

    /// Returns the ID of a registration in the place of its `client_id`, where a given one would not do: it can read as any
    /// other ID, and is unique in its environment alone.
    pub fn of_registration(id: &RegistrationId) -> Self {
        Self(Characters::Other(id.as_str().into()))
    }

    /// Reads a `client_id` that has the form of a generated one; `None` if it has another. Never allocates.
    pub fn generated(text: &str) -> Option<Self> {
        let bytes = text.as_bytes().try_into().ok().filter(|_| is_valid(text, ""));
        bytes.map(|bytes| Self(Characters::Letters(bytes)))
    }

    /// Whether it has the form of a generated one.
    pub fn is_generated(&self) -> bool {
        matches!(self.0, Characters::Letters(_))
    }

    /// Returns the `client_id` as it is written everywhere.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            // Letters and digits are ASCII.
            Characters::Letters(bytes) => std::str::from_utf8(bytes).unwrap_or_default(),
            Characters::Other(text) => text,
        }
    }
}

impl Hash for OauthClientId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match &self.0 {
            Characters::Letters(bytes) => bytes.hash(state),
            Characters::Other(text) => text.hash(state),
        }
    }
}

impl Ord for OauthClientId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl PartialOrd for OauthClientId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl TryFrom<String> for OauthClientId {
    type Error = InvalidClientId;
    fn try_from(text: String) -> Result<Self, InvalidClientId> {
        Self::parse(&text)
    }
}

impl From<OauthClientId> for String {
    fn from(id: OauthClientId) -> String {
        id.as_str().to_owned()
    }
}

impl fmt::Display for OauthClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for OauthClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

impl schemars::JsonSchema for OauthClientId {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "OauthClientId".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "pattern": Self::PATTERN})
    }
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
        assert!(id.is_generated());
        assert_eq!(OauthClientId::parse(id.as_str()), Ok(id));
    }

    #[test]
    fn a_given_client_id_has_1_to_256_characters_of_vschar_rfc6749_a_1() {
        let longest = "~".repeat(256);
        for good in ["a", "web:app 1", "\"\\%&'<>", "0oa1b2c3d4", &"a".repeat(23), &longest] {
            let id = OauthClientId::parse(good).unwrap();
            assert_eq!((id.as_str(), id.to_string()), (good, good.to_owned()));
            assert!(!id.is_generated());
            assert_eq!(OauthClientId::generated(good), None);
            assert_eq!(serde_json::to_value(&id).unwrap(), good);
        }
        for bad in ["", "\u{7f}", "a\n", "a\tb", "ä", "a\u{0}", &"a".repeat(257)] {
            assert_eq!(OauthClientId::parse(bad), Err(InvalidClientId), "{bad:?}");
        }
    }

    #[test]
    fn a_log_line_shows_where_a_client_id_ends() {
        assert_eq!(format!("{:?}", OauthClientId::parse("a\" b").unwrap()), "\"a\\\" b\"");
    }

    #[test]
    fn a_client_id_takes_no_more_memory_than_its_neighbour_in_a_table_needs() {
        assert_eq!(size_of::<OauthClientId>(), 24);
    }
}
