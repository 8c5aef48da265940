//! OpenID Connect providers with which people sign in: the vocabulary, and what their tokens must say.

mod token;

pub use token::{
    Expected, IdToken, LogoutToken, TokenFault, groups_in, is_fresh, read_id_token, read_logout_token,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Maximum number of providers.
pub const MAX_PROVIDERS: i64 = 20;
/// Maximum length of an issuer, a `client_id`, a client secret and the name of a claim.
pub const MAX_TEXT: usize = 2000;
/// Maximum length of the name of a group and of a subject (OpenID Connect Core §2).
pub const MAX_NAME: usize = 255;
/// Maximum number of scopes, domains and values of `acr`.
pub const MAX_LISTED: usize = 50;
/// Maximum number of groups that give roles.
pub const MAX_GROUP_GRANTS: usize = 200;
/// Scopes of a provider that names none.
pub const DEFAULT_SCOPES: [&str; 3] = ["openid", "email", "profile"];
/// Claim of a provider that names none.
pub const DEFAULT_GROUPS_CLAIM: &str = "groups";
/// Claim that says who a person is in provisioning, of a provider that names none.
pub const DEFAULT_EXTERNAL_ID_CLAIM: &str = "sub";
/// Maximum number of provisioning tokens of a provider at a time: the one in use, and the one that replaces it.
pub const MAX_PROVISIONING_TOKENS: usize = 2;
/// Maximum number of days until a provisioning token expires, and the number if none is said.
pub const MAX_PROVISIONING_TOKEN_DAYS: u32 = 365;

/// Where the groups of people come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GroupsFrom {
    /// From the groups claim, at each sign-in.
    #[default]
    Claim,
    /// From the groups that the provider provisions, at each of their changes.
    Provisioning,
}

impl GroupsFrom {
    /// All sources.
    pub const ALL: [Self; 2] = [Self::Claim, Self::Provisioning];

    /// Returns the word that is stored and sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Claim => "claim",
            Self::Provisioning => "provisioning",
        }
    }

    /// Parses the word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == text)
    }
}

/// How Crossfade authenticates at the token endpoint of a provider.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuthentication {
    /// With the client secret in the `Authorization` header.
    #[default]
    ClientSecretBasic,
    /// With the client secret in the form.
    ClientSecretPost,
    /// Not at all: a public client, which only PKCE protects.
    None,
}

impl ClientAuthentication {
    /// All ways.
    pub const ALL: [Self; 3] = [Self::ClientSecretBasic, Self::ClientSecretPost, Self::None];

    /// Returns the word that is stored and sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
            Self::None => "none",
        }
    }

    /// Parses the word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == text)
    }
}

/// Returns a domain in the form in which it is stored and compared; `None` if it is none.
pub fn domain(text: &str) -> Option<String> {
    let text = text.trim().trim_start_matches('@').to_lowercase();
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|it| it.is_alphanumeric() || it == '-')
    };
    (text.len() <= 253 && text.contains('.') && text.split('.').all(is_label)).then_some(text)
}

/// Whether an email address is in one of these domains. A domain below one of them is another domain.
pub fn is_in_domains(email: &str, domains: &[String]) -> bool {
    let of_address = email.rsplit_once('@').map(|(_, domain)| domain.to_lowercase());
    of_address.is_some_and(|of_address| domains.contains(&of_address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_stored_in_one_form() {
        for (text, expected) in [
            ("Example.COM", Some("example.com")),
            (" @example.com ", Some("example.com")),
            ("büro.example", Some("büro.example")),
            ("example", None),
            ("", None),
            ("a..example", None),
            ("-a.example", None),
            ("*.example.com", None),
            ("ada@example.com", None),
            ("example.com/", None),
        ] {
            assert_eq!(domain(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn an_address_is_in_its_own_domain_alone() {
        let domains = ["example.com".to_owned()];
        assert!(is_in_domains("ada@EXAMPLE.com", &domains));
        for other in ["ada@sub.example.com", "ada@evilexample.com", "ada@example.com.evil", "example.com", ""]
        {
            assert!(!is_in_domains(other, &domains), "{other}");
        }
        assert!(!is_in_domains("ada@example.com", &[]), "no domain: no account is created");
    }
}
