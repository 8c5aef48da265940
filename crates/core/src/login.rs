//! Signing in the command line: a person approves it in the browser, and a one-time code brings the API token to the
//! program that asked. The program proves that it asked with a code verifier (RFC 7636), which never leaves it before.

use crate::{Problem, Timestamp, TokenId, UserId, typed_code::TypedCode};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Maximum number of days after which a token of the command line expires.
pub const MAX_DAYS: u32 = 90;
/// Number of days after which such a token expires unless the person chooses otherwise.
pub const USUAL_DAYS: u32 = 30;

/// Length of a code challenge: 256 bits in base64url (RFC 7636 §4.2).
const CHALLENGE_CHARACTERS: usize = 43;

/// Number of characters that a person compares: 40 bits.
const CHECKED_CHARACTERS: usize = 8;

/// A one-time code that brings an API token to the command line: 60 bits.
pub type LoginCode = TypedCode<12>;

/// The SHA-256 digest of a code verifier in base64url (RFC 7636 §4.2, `S256`).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct CodeChallenge(String);

impl CodeChallenge {
    /// Reads a challenge.
    pub fn parse(text: &str) -> Option<Self> {
        let is_base64url = |it: u8| it.is_ascii_alphanumeric() || it == b'-' || it == b'_';
        let is_challenge = text.len() == CHALLENGE_CHARACTERS && text.bytes().all(is_base64url);
        is_challenge.then(|| Self(text.to_owned()))
    }

    /// Returns the challenge with this SHA-256 digest.
    pub fn of_digest(digest: &[u8]) -> Self {
        Self(URL_SAFE_NO_PAD.encode(digest))
    }

    /// Returns the characters by which a person recognises the challenge on two screens: `7K4Q-9XBM`.
    pub fn check_code(&self) -> String {
        let digest = URL_SAFE_NO_PAD.decode(&self.0).unwrap_or_default();
        let compared = digest.first_chunk().copied().unwrap_or_default();
        TypedCode::<CHECKED_CHARACTERS>::of_bytes(&compared).reveal_grouped()
    }

    /// Returns the challenge as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for CodeChallenge {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("must be a code challenge")
    }
}

/// Checks the number of days after which a token of the command line expires.
pub fn check_days(days: u32) -> Result<u32, Problem> {
    match days {
        1..=MAX_DAYS => Ok(days),
        _ => Err(Problem::invalid(
            "expires_days",
            &format!("must be a whole number of days from 1 to {MAX_DAYS}"),
        )),
    }
}

/// The code and the code verifier with which the command line gets its API token.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedeemLogin {
    /// The code that the browser brought or showed.
    pub code: String,
    /// The code verifier.
    pub verifier: String,
}

/// The API token of a command line that is signed in, without its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LoggedIn {
    /// ID of the token.
    pub id: TokenId,
    /// Name of the token.
    pub name: String,
    /// When the token expires.
    pub expires_at: Timestamp,
    /// ID of the account.
    pub user_id: UserId,
    /// Name of the account.
    pub user_name: String,
    /// Email address of the account.
    pub user_email: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_256_bits_in_base64url() {
        // RFC 7636, appendix B.
        assert!(CodeChallenge::parse("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM").is_some());
        let challenge = CodeChallenge::of_digest(&[0, 1, 30, 31, 32, 255, 9, 10, 7, 7]);
        assert_eq!(challenge.check_code(), "01YZ-0Z9A");
        for wrong in
            ["", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-c", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw+cM"]
        {
            assert!(CodeChallenge::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_token_of_the_command_line_lasts_1_to_90_days() {
        assert!(check_days(1).is_ok() && check_days(90).is_ok());
        for wrong in [0, 91] {
            let problem = check_days(wrong).unwrap_err();
            assert_eq!(problem.field.as_deref(), Some("expires_days"));
        }
    }
}
