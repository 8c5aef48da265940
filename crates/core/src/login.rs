//! Signing in the command line: a person approves it in the browser, and a one-time code brings the API token to the
//! program that asked. The program proves that it asked with a code verifier (RFC 7636), which never leaves it before.

use crate::{Problem, Random, Timestamp, TokenId, UserId};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Maximum number of days after which a token of the command line expires.
pub const MAX_DAYS: u32 = 90;
/// Number of days after which such a token expires unless the person chooses otherwise.
pub const USUAL_DAYS: u32 = 30;

/// Characters of a code: no vowels, and none that looks like another one.
const ALPHABET: &[u8; 28] = b"23456789BCDFGHJKLMNPQRSTVWXZ";
/// Number of characters of a code: 57 bits.
const CHARACTERS: usize = 12;
/// Number of characters between two hyphens.
const GROUP: usize = 4;
/// Length of a code challenge: 256 bits in base64url (RFC 7636 §4.2).
const CHALLENGE_CHARACTERS: usize = 43;

/// Number of characters of a challenge that a person compares: 36 bits.
const CHECKED_CHARACTERS: usize = 6;

/// A one-time code that a person can type. It has no `Display` and no `Serialize`, and is wiped when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct LoginCode(String);

impl LoginCode {
    /// Returns a new code.
    pub fn generate(random: &dyn Random) -> Self {
        let mut code = String::with_capacity(CHARACTERS);
        while code.len() < CHARACTERS {
            let mut byte = [0];
            random.fill(&mut byte);
            // 252 is the largest multiple of 28 in a byte, so that each character is as likely as any other.
            if byte[0] < 252 {
                code.push(char::from(ALPHABET[usize::from(byte[0]) % ALPHABET.len()]));
            }
        }
        Self(code)
    }

    /// Reads a typed code, in upper or lower case and with any hyphens and spaces.
    pub fn parse(text: &str) -> Option<Self> {
        let typed = text.chars().filter(|it| *it != '-' && !it.is_whitespace());
        let code: String = typed.map(|it| it.to_ascii_uppercase()).take(CHARACTERS + 1).collect();
        let is_code = code.len() == CHARACTERS && code.bytes().all(|it| ALPHABET.contains(&it));
        is_code.then_some(Self(code))
    }

    /// Returns the code without hyphens. The caller is responsible for where it goes.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Returns the code in groups, as a person types it. The caller is responsible for where it goes.
    pub fn reveal_grouped(&self) -> String {
        let group = |it: &[u8]| String::from_utf8_lossy(it).into_owned();
        self.0.as_bytes().chunks(GROUP).map(group).collect::<Vec<_>>().join("-")
    }
}

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

    /// Returns the characters by which a person recognises the challenge on two screens.
    pub fn check_code(&self) -> &str {
        self.0.get(..CHECKED_CHARACTERS).unwrap_or_default()
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
    use std::sync::atomic::{AtomicU8, Ordering};

    /// Returns every byte in turn.
    struct Counting(AtomicU8);

    impl Random for Counting {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill_with(|| self.0.fetch_add(1, Ordering::Relaxed));
        }
    }

    #[test]
    fn a_code_is_read_as_a_person_types_it() {
        let code = LoginCode::generate(&Counting(AtomicU8::new(0)));
        assert_eq!(code.reveal_grouped(), "2345-6789-BCDF");
        for typed in ["2345-6789-BCDF", "23456789bcdf", " 2345 6789 bcdf\n"] {
            assert_eq!(
                LoginCode::parse(typed).map(|it| it.reveal().to_owned()).as_deref(),
                Some("23456789BCDF")
            );
        }
        for wrong in
            ["", "2345-6789-BCD", "2345-6789-BCDFG", "2345-6789-BCDA", "2345-6789-BCD0", "2345-6789-BCDé"]
        {
            assert!(LoginCode::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn each_character_is_as_likely_as_any_other() {
        // 21 codes take the 252 bytes that are used, each once.
        let random = Counting(AtomicU8::new(0));
        let codes: String = (0..21).map(|_| LoginCode::generate(&random).reveal().to_owned()).collect();
        for character in ALPHABET {
            assert_eq!(codes.matches(char::from(*character)).count(), 9);
        }
    }

    #[test]
    fn a_challenge_is_256_bits_in_base64url() {
        // RFC 7636, appendix B.
        assert!(CodeChallenge::parse("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM").is_some());
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
