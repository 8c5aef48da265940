//! Text that people type: names, reasons, email addresses. Parsed once into its final form.

use crate::{Problem, secret::looks_like_secret};
use serde::{Deserialize, Serialize};
use std::fmt;
use unicode_normalization::UnicodeNormalization;

/// Regular expression class of the visible characters, except these.
macro_rules! visible {
    ($but:expr) => {
        concat!(
            r"[^\u0000-\u001F\u007F-\u009F\u00AD\u034F\u061C\u115F\u1160\u17B4\u17B5\u180B-\u180F\u200B-\u200F",
            r"\u2028-\u202E\u2060-\u206F\u3164\uFE00-\uFE0E\uFEFF\uFFA0\uFFF0-\uFFFB",
            $but,
            "]"
        )
    };
}
/// White space that is not a control character.
macro_rules! spaces {
    () => {
        r" \u00A0\u1680\u2000-\u200A\u202F\u205F\u3000"
    };
}

/// Maximum length of a name in characters.
pub const NAME_CHARACTERS: usize = 200;
/// Maximum length of a reason or description in characters.
pub const REASON_CHARACTERS: usize = 1000;

/// Pattern for one line of visible text, for the schemas of the API. It does not exclude the few invisible characters
/// above U+FFFF, for which regular expressions have no common notation.
pub const LINE_PATTERN: &str = concat!("^", visible!(""), "*$");
/// Pattern for one line of visible text with at least one character that is not a space.
pub const NAME_PATTERN: &str = concat!("^", visible!(""), "*", visible!(spaces!()), visible!(""), "*$");
/// An email address as a regular expression.
pub const EMAIL_PATTERN: &str =
    concat!("^", visible!(concat!(spaces!(), "@")), "+@", visible!(concat!(spaces!(), "@")), "+$");

/// An owner of a client as a regular expression: an email address, or the id of a webhook.
pub const OWNER_PATTERN: &str = concat!(
    "^(?:wh_[0-9A-Za-z]{22}|",
    visible!(concat!(spaces!(), "@")),
    "+@",
    visible!(concat!(spaces!(), "@")),
    "+)$"
);

/// A name as it is shown and typed: trimmed, NFC, without invisible characters or characters that change the direction
/// of text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Debug)]
#[serde(transparent)]
pub struct Name(String);

impl Name {
    /// Reads a name from the member `field` of a request.
    pub fn parse(field: &'static str, text: &str) -> Result<Self, Problem> {
        let name = line(field, text, NAME_CHARACTERS)?;
        if name.is_empty() {
            return Err(Problem::invalid(field, "must not be empty"));
        }
        Ok(Self(name))
    }

    /// Creates a name from stored text that was parsed before.
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `typed` is this name. The typed text is normalised like the name, so that a keyboard that composes
    /// letters differently still confirms it. Case-sensitive.
    pub fn is_typed_as(&self, typed: &str) -> bool {
        typed.trim().nfc().eq(self.0.chars())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A reason for an action. Can be empty if no reason is required.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug, Default)]
#[serde(transparent)]
pub struct Reason(String);

impl Reason {
    /// Reads a reason; an absent one is empty.
    pub fn parse(text: Option<&str>) -> Result<Self, Problem> {
        line("reason", text.unwrap_or_default(), REASON_CHARACTERS).map(Self)
    }

    /// Reads a reason that is required.
    pub fn required(text: Option<&str>) -> Result<Self, Problem> {
        let reason = Self::parse(text)?;
        if reason.0.is_empty() {
            return Err(Problem::invalid("reason", "is required"));
        }
        Ok(reason)
    }

    /// Returns the reason's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Returns a line of visible text: trimmed, NFC, at most `longest` characters, nothing that looks like one of our
/// secrets (rule 18).
pub fn line(field: &'static str, text: &str, longest: usize) -> Result<String, Problem> {
    if looks_like_secret(text) {
        let what = "contains text that looks like a Crossfade secret, which would be stored unencrypted";
        return Err(Problem::invalid(field, what).advise("Remove the secret."));
    }
    let text: String = text.trim().nfc().collect();
    if text.chars().count() > longest {
        return Err(Problem::invalid(field, &format!("must be at most {longest} characters long")));
    }
    if text.chars().any(is_invisible) {
        return Err(Problem::invalid(
            field,
            "must not contain control, zero-width or direction-changing characters",
        ));
    }
    Ok(text)
}

/// Returns a password in the form that is hashed, so that keyboards that compose a letter differently type the same
/// password (NIST SP 800-63B-4 §3.1.1.2).
pub fn password(text: &str) -> zeroize::Zeroizing<String> {
    zeroize::Zeroizing::new(text.nfc().collect())
}

/// What is wrong with a text that is no email address.
pub(crate) const NOT_AN_EMAIL: &str = "must be an email address such as ada@example.com";

/// Returns an email address, lower-cased, checked only as far as a person's typing slips go: something, one `@`, a
/// domain; no spaces.
pub fn email(field: &'static str, text: &str) -> Result<String, Problem> {
    let text = line(field, text, 254)?.to_lowercase();
    let valid = text
        .split_once('@')
        .is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty() && !domain.contains('@'));
    if !valid || text.chars().any(char::is_whitespace) {
        return Err(Problem::invalid(field, NOT_AN_EMAIL));
    }
    Ok(text)
}

/// Returns untrusted text in a form that is safe to store and show: without characters that could control a terminal or
/// mislead a reader, and without any of the text if it contains a secret (rule 18).
pub fn shown(text: &str) -> String {
    if looks_like_secret(text) {
        return "(withheld: it holds a secret)".to_owned();
    }
    text.chars().map(|it| if it.is_control() || is_invisible(it) { '\u{fffd}' } else { it }).collect()
}

/// Returns the text for searching and sorting: composed, in lower case, with one form of sigma. Databases fold case
/// differently, or only for ASCII.
pub fn folded(text: &str) -> String {
    // Lower case has another sigma at the end of a word, so the start of a name would not be found in the whole.
    text.nfc().collect::<String>().to_lowercase().replace('ς', "σ")
}

/// Returns the text with `?` for each non-ASCII character, for a database that accepts only ASCII.
pub fn in_ascii(text: &str) -> String {
    text.chars().map(|it| if it.is_ascii() { it } else { '?' }).collect()
}

/// Whether a character is a control, zero-width, direction-changing or other invisible format character, a line
/// separator, or in the tag block.
pub(crate) fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{00AD}' | '\u{034F}' | '\u{061C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}'
            | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{FE00}'..='\u{FE0E}' | '\u{FEFF}' | '\u{FFA0}'
            | '\u{FFF0}'..='\u{FFFB}' | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}'
            | '\u{E0000}'..='\u{E0FFF}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;
    use proptest::prelude::*;

    #[test]
    fn names_are_trimmed_and_normalised() {
        assert_eq!(Name::parse("name", "  Caf\u{65}\u{301} ").unwrap().as_str(), "Caf\u{e9}");
        assert!(Name::parse("name", "Caf\u{e9}").unwrap().is_typed_as("Cafe\u{301} "));
    }

    #[test]
    fn a_folded_part_is_a_part_of_the_folded_whole() {
        for (part, whole) in [("ΚΩΣΤΑΣ", "ΚΩΣΤΑΣΑ"), ("κώστας", "ΚΏΣΤΑΣ Α."), ("Élo", "ÉLODIE"), ("Σ", "ς")]
        {
            assert!(folded(whole).contains(&folded(part)), "{part} {whole}");
        }
    }

    #[test]
    fn names_that_cannot_be_typed_are_refused() {
        for bad in
            ["", "  ", "a\u{200b}b", "a\u{202e}b", "a\nb", "a\u{0}b", "a\u{2066}b", "a\u{feff}", "a\u{e0041}"]
        {
            let problem = Name::parse("name", bad).unwrap_err();
            assert_eq!(
                (problem.code, problem.field.as_deref()),
                (Code::InvalidBody, Some("name")),
                "{bad:?}"
            );
        }
        assert!(Name::parse("name", &"é".repeat(200)).is_ok());
        assert!(Name::parse("name", &"é".repeat(201)).is_err());
    }

    #[test]
    fn names_of_all_scripts_are_taken() {
        for good in ["<b>\"O'Brien\"</b>", "الفواتير", "חשבוניות", "請求書 API", "Billing 💸", "❤\u{fe0f}"]
        {
            assert_eq!(Name::parse("name", good).unwrap().as_str(), good);
        }
    }

    #[test]
    fn confirmation_is_exact_in_case_and_inner_space() {
        let name = Name::parse("name", "Billing API").unwrap();
        assert!(name.is_typed_as(" Billing API"));
        for wrong in ["billing API", "Billing  API", "Billing", "", "Billing API!"] {
            assert!(!name.is_typed_as(wrong), "{wrong}");
        }
    }

    #[test]
    fn email_addresses() {
        assert_eq!(email("email", " Ada@Example.com ").unwrap(), "ada@example.com");
        for bad in ["", "ada", "@example.com", "ada@", "a@b@c", "a da@example.com"] {
            assert!(email("email", bad).is_err(), "{bad}");
        }
    }

    const SECRET: &str = "crossfade_test_0123456789ab";

    #[test]
    fn rule_18_a_secret_is_no_name_no_reason_and_no_address() {
        let field = |problem: Problem| (problem.code, problem.field.unwrap_or_default().to_string());
        let refused = |name: &str| (Code::InvalidBody, name.to_owned());
        assert_eq!(field(Name::parse("name", SECRET).unwrap_err()), refused("name"));
        assert_eq!(field(Reason::parse(Some(SECRET)).unwrap_err()), refused("reason"));
        assert_eq!(field(Reason::required(Some(SECRET)).unwrap_err()), refused("reason"));
        assert_eq!(field(email("email", &format!("{SECRET}@example.com")).unwrap_err()), refused("email"));
    }

    #[test]
    fn a_reason_may_be_absent_unless_it_is_required() {
        for absent in [None, Some(""), Some("  ")] {
            assert_eq!(Reason::parse(absent).unwrap().as_str(), "");
            let problem = Reason::required(absent).unwrap_err();
            assert_eq!((problem.code, problem.field.as_deref()), (Code::InvalidBody, Some("reason")));
        }
        for read in [Reason::parse, Reason::required] {
            assert_eq!(read(Some(" quarterly ")).unwrap().as_str(), "quarterly");
            assert_eq!(read(Some(&"é".repeat(1000))).unwrap().as_str(), "é".repeat(1000));
            assert!(read(Some(&"é".repeat(1001))).is_err());
            assert!(read(Some("two\nlines")).is_err());
        }
    }

    #[test]
    fn a_name_is_shown_as_it_was_stored() {
        let name = Name::from_stored("Billing API".into());
        assert_eq!(name.to_string(), "Billing API");
        assert_eq!(Name::parse("name", " Billing API ").unwrap(), name);
    }

    /// The first and the last character of each range of Default_Ignorable_Code_Point (Unicode 16,
    /// DerivedCoreProperties), of the controls, and of the characters that change direction. U+FE0F alone is
    /// taken: keyboards write it behind an emoji.
    #[test]
    fn characters_that_are_not_seen_are_refused() {
        for (first, last) in [
            ('\u{0}', '\u{1f}'),
            ('\u{7f}', '\u{9f}'),
            ('\u{ad}', '\u{ad}'),
            ('\u{34f}', '\u{34f}'),
            ('\u{61c}', '\u{61c}'),
            ('\u{115f}', '\u{1160}'),
            ('\u{17b4}', '\u{17b5}'),
            ('\u{180b}', '\u{180f}'),
            ('\u{200b}', '\u{200f}'),
            ('\u{2028}', '\u{202e}'),
            ('\u{2060}', '\u{206f}'),
            ('\u{3164}', '\u{3164}'),
            ('\u{fe00}', '\u{fe0e}'),
            ('\u{feff}', '\u{feff}'),
            ('\u{ffa0}', '\u{ffa0}'),
            ('\u{fff0}', '\u{fffb}'),
            ('\u{1bca0}', '\u{1bca3}'),
            ('\u{1d173}', '\u{1d17a}'),
            ('\u{e0000}', '\u{e0fff}'),
        ] {
            for hidden in [first, last] {
                let code = u32::from(hidden);
                assert!(Name::parse("name", &format!("a{hidden}b")).is_err(), "U+{code:04X}");
            }
        }
    }

    proptest! {
        /// Rule 10: every accepted name confirms itself, both as typed and as shown.
        #[test]
        fn rule_10_a_name_is_confirmed_by_typing_it(text in "[ a-zé\u{300}-\u{303}\u{ac00}-\u{ac10}\u{2000}\u{212b}]{1,20}") {
            if let Ok(name) = Name::parse("name", &text) {
                prop_assert!(name.is_typed_as(&text));
                prop_assert!(name.is_typed_as(name.as_str()));
                let again = Name::parse("name", name.as_str()).ok();
                prop_assert_eq!(again, Some(name));
            }
        }
    }
}
