//! The text of a secret: generating it, recognising it, and preventing leaks.

mod find;
mod readings;

pub use find::{Found, OVERLAP, find};

use crate::{Random, base62, environment::EnvironmentKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Number of base62 digits for 256 bits: 62^43 is the first power of 62 above 2^256.
const RANDOM_DIGITS: usize = 43;
/// Number of base62 digits of the CRC-32 after them.
const CHECKSUM_DIGITS: usize = 6;

/// Where a secret came from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SecretOrigin {
    /// Crossfade generated it.
    #[default]
    Generated,
    /// Another server made it. Crossfade learned it when the issuer accepted it.
    Imported,
}

impl SecretOrigin {
    /// Returns `generated` or `imported`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Generated => "generated",
            Self::Imported => "imported",
        }
    }

    /// Reads `generated` or `imported`.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Generated, Self::Imported].into_iter().find(|origin| origin.as_str() == text)
    }
}

/// Kind of value, as its prefix shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SecretKind {
    /// A client secret of an environment of this kind.
    Client(EnvironmentKind),
    /// An API token.
    ApiToken,
    /// The secret part of a one-time link.
    Link,
    /// Value of a session cookie.
    Session,
    /// Value of the cookie of a known browser.
    Device,
    /// Value of the cookie of a sign-in that waits for the code of a second factor.
    SignIn,
    /// A token with which a provider provisions people.
    Provisioning,
}

impl SecretKind {
    /// All kinds.
    pub const ALL: [Self; 8] = [
        Self::Client(EnvironmentKind::Live),
        Self::Client(EnvironmentKind::Test),
        Self::ApiToken,
        Self::Link,
        Self::Session,
        Self::Device,
        Self::SignIn,
        Self::Provisioning,
    ];

    /// Returns the prefix of this kind of value: the product, then the purpose of the value.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Client(EnvironmentKind::Live) => "crossfade_live_",
            Self::Client(EnvironmentKind::Test) => "crossfade_test_",
            Self::ApiToken => "crossfade_api_",
            Self::Link => "crossfade_link_",
            Self::Session => "crossfade_session_",
            Self::Device => "crossfade_device_",
            Self::SignIn => "crossfade_signin_",
            Self::Provisioning => "crossfade_scim_",
        }
    }
}

/// The value of a secret. It has no `Display` and no `Serialize`, its `Debug` hides the value, and it is wiped when
/// dropped. [`SecretValue::reveal`] is the only way to its text.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SecretValue(String);

impl SecretValue {
    /// Returns a new value: prefix, 256 random bits in base62, and the checksum of these digits.
    pub fn generate(kind: SecretKind, random: &dyn Random) -> Self {
        let mut bytes = [0; 32];
        random.fill(&mut bytes);
        let mut digits = base62::encode_fixed(&bytes, RANDOM_DIGITS);
        let value = format!("{}{digits}{}", kind.prefix(), checksum(&digits));
        bytes.zeroize();
        digits.zeroize();
        Self(value)
    }

    /// Reads a value of `kind`; `None` when prefix, length, alphabet or checksum is wrong.
    pub fn parse(kind: SecretKind, text: &str) -> Option<Self> {
        let digits = text.strip_prefix(kind.prefix())?;
        is_checksummed(digits).then(|| Self(text.to_owned()))
    }

    /// Creates a value from stored text that [`SecretValue::generate`] created.
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// Returns the secret as text. The caller is responsible for where it goes.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(…)")
    }
}

/// Whether `text` contains something that looks like one of our secrets, complete or truncated, even if it is split
/// over lines or encoded: in base64 such as `Basic …`, in base32 or hex, or with percent, JSON or HTML escapes, nested
/// up to three deep. Names, reasons and identifiers that do are refused (rule 18).
pub fn looks_like_secret(text: &str) -> bool {
    readings::any_reading(text, holds_secret)
}

fn holds_secret(text: &str) -> bool {
    let lowered = text.to_ascii_lowercase();
    let prefixed = SecretKind::ALL.iter().any(|kind| {
        lowered
            .match_indices(kind.prefix())
            .any(|(at, prefix)| digits_at_start(&text[at + prefix.len()..]) >= SUSPICIOUS_DIGITS)
    });
    prefixed || text.split(|c: char| !c.is_ascii_alphanumeric()).any(holds_checksummed)
}

/// Whether a run of digits contains digits with their checksum. White space between words has been removed.
fn holds_checksummed(run: &str) -> bool {
    const LENGTH: usize = RANDOM_DIGITS + CHECKSUM_DIGITS;
    let checksums = run.bytes().enumerate().skip(RANDOM_DIGITS);
    // The largest checksum is 4gfFC3, so that most places need no look.
    let mut places = checksums.filter(|(_, first)| (b'0'..=b'4').contains(first)).map(|(at, _)| at);
    places.any(|at| {
        let from = at - RANDOM_DIGITS;
        run.get(from..from + LENGTH).is_some_and(is_checksummed)
    })
}

/// Number of digits after a prefix that make a text count as (part of) a secret.
const SUSPICIOUS_DIGITS: usize = 12;

fn digits_at_start(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_alphanumeric).count()
}

fn is_checksummed(digits: &str) -> bool {
    digits.len() == RANDOM_DIGITS + CHECKSUM_DIGITS
        && base62::is_base62(digits)
        && base62::decode_32_bits(&digits[RANDOM_DIGITS..])
            == Some(crc32fast::hash(&digits.as_bytes()[..RANDOM_DIGITS]))
}

/// Returns the CRC-32 (IEEE) of the random digits in base62: the layout that secret scanners recognise.
fn checksum(digits: &str) -> String {
    base62::encode_fixed(&crc32fast::hash(digits.as_bytes()).to_be_bytes(), CHECKSUM_DIGITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counting(std::sync::atomic::AtomicU64);
    impl Random for Counting {
        fn fill(&self, bytes: &mut [u8]) {
            let n = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, std::sync::atomic::Ordering::Relaxed);
            for (at, byte) in bytes.iter_mut().enumerate() {
                *byte = (n.rotate_left(at as u32 * 7) >> 5) as u8 ^ at as u8;
            }
        }
    }

    fn some_secret() -> SecretValue {
        let random = Counting(std::sync::atomic::AtomicU64::new(7));
        SecretValue::generate(SecretKind::Client(EnvironmentKind::Live), &random)
    }

    #[test]
    fn the_published_checksum_vector_holds() {
        // A public, expired sample of the layout that secret scanners look for.
        assert_eq!(checksum("zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ"), "0mLq17");
    }

    #[test]
    fn rule_11_prefix_256_bits_checksum_letters_digits_underscore() {
        let value = some_secret();
        let text = value.reveal();
        assert_eq!(text.len(), 64);
        assert!(text.starts_with("crossfade_live_"));
        assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'));
        assert!(SecretValue::parse(SecretKind::Client(EnvironmentKind::Live), text).is_some());
        assert!(SecretValue::parse(SecretKind::Client(EnvironmentKind::Test), text).is_none());
        let mut typo = text.to_owned();
        typo.replace_range(20..21, if &text[20..21] == "a" { "b" } else { "a" });
        assert!(SecretValue::parse(SecretKind::Client(EnvironmentKind::Live), &typo).is_none());
    }

    #[test]
    fn all_256_bits_reach_the_text() {
        struct Bit(usize);
        impl Random for Bit {
            fn fill(&self, bytes: &mut [u8]) {
                bytes[self.0 / 8] = 1 << (self.0 % 8);
            }
        }
        let texts: std::collections::HashSet<String> = (0..256)
            .map(|bit| SecretValue::generate(SecretKind::ApiToken, &Bit(bit)).reveal().to_owned())
            .collect();
        assert_eq!(texts.len(), 256);
    }

    #[test]
    fn rule_18_secrets_are_recognised_whole_cut_off_encoded_and_bare() {
        let value = some_secret();
        let text = value.reveal();
        for pasted in [
            text.to_owned(),
            format!("rotated because {text} leaked"),
            text[..30].to_owned(),
            text.to_uppercase(),
            text.replace('_', "%5F"),
            format!("{}\n{}", &text[..20], &text[20..]),
            text["crossfade_live_".len()..].to_owned(),
        ] {
            assert!(looks_like_secret(&pasted), "{pasted}");
        }
        for harmless in [
            "quarterly",
            "crossfade_live_",
            "crossfade_live_ rollout",
            "Crossfade live cut-over",
            "sec_0123456789012345678901",
            "",
        ] {
            assert!(!looks_like_secret(harmless), "{harmless}");
        }
    }

    #[test]
    fn debug_hides_the_value() {
        assert_eq!(format!("{:?}", some_secret()), "SecretValue(…)");
    }

    #[test]
    fn rule_11_the_prefix_tells_the_product_and_the_kind() {
        let prefixes = SecretKind::ALL.map(SecretKind::prefix);
        let expected = [
            "crossfade_live_",
            "crossfade_test_",
            "crossfade_api_",
            "crossfade_link_",
            "crossfade_session_",
            "crossfade_device_",
            "crossfade_signin_",
            "crossfade_scim_",
        ];
        assert_eq!(prefixes, expected);
        let random = Counting(std::sync::atomic::AtomicU64::new(7));
        for made in SecretKind::ALL {
            let value = SecretValue::generate(made, &random);
            for read in SecretKind::ALL {
                assert_eq!(SecretValue::parse(read, value.reveal()).is_some(), read == made);
            }
            assert!(looks_like_secret(value.reveal()));
        }
    }

    #[test]
    fn rule_11_only_a_whole_value_of_the_right_alphabet_is_read() {
        let kind = SecretKind::Client(EnvironmentKind::Live);
        let text = some_secret().reveal().to_owned();
        for other in [
            String::new(),
            kind.prefix().to_owned(),
            text[..63].to_owned(),
            format!("{text}0"),
            format!("{text} "),
            format!(" {text}"),
            text.replace("live_", "live_-")[..64].to_owned(),
            format!("{}é{}", &text[..20], &text[22..]),
        ] {
            assert!(SecretValue::parse(kind, &other).is_none(), "{other:?}");
        }
        assert_eq!(SecretValue::from_stored(text.clone()).reveal(), text);
    }

    #[test]
    fn rule_18_twelve_digits_behind_a_prefix_are_suspicious_and_eleven_are_not() {
        for kind in SecretKind::ALL {
            let prefix = kind.prefix();
            assert!(!looks_like_secret(&format!("see {prefix}0123456789a")));
            assert!(looks_like_secret(&format!("see {prefix}0123456789ab")));
            assert!(looks_like_secret(&format!("{prefix} {prefix}0123456789ab")), "not the first mention");
            assert!(looks_like_secret(&format!("{}0123456789ab", prefix.replace('_', "%5f"))));
        }
    }

    /// Digits without a prefix are suspicious only with the correct checksum.
    #[test]
    fn rule_18_bare_digits_count_only_with_their_checksum() {
        let bare = some_secret().reveal()["crossfade_live_".len()..].to_owned();
        assert!(looks_like_secret(&format!("key={bare};")));
        let last = if bare.ends_with('a') { 'b' } else { 'a' };
        assert!(!looks_like_secret(&format!("{}{last}", &bare[..48])));
        assert!(!looks_like_secret(&"a".repeat(49)));
    }

    /// Whether a combination of encodings is unrealistic: non-ASCII characters as codes of their bytes, or in both
    /// widths.
    fn is_odd(outer: &str, inner: &str) -> bool {
        ["zero-width", "full-width", "invisible blanks"].contains(&inner)
            && ["JSON", "HTML", "HTML in hex", "base64 of UTF-16", "added literals"].contains(&outer)
    }

    /// Name of an encoding, and its function.
    type Encoding = (&'static str, fn(&str) -> String);

    /// Returns the encodings in which a text may be pasted.
    fn encodings() -> Vec<Encoding> {
        use base64::{Engine, engine::general_purpose as engines};
        fn each(text: &str, write: impl Fn(u8) -> String) -> String {
            text.bytes().map(write).collect()
        }
        vec![
            ("plain", |text| text.to_owned()),
            ("base64", |text| engines::STANDARD.encode(text)),
            ("base64 unpadded", |text| engines::STANDARD_NO_PAD.encode(text)),
            ("base64url", |text| engines::URL_SAFE.encode(text)),
            ("base64 shifted by one", |text| engines::STANDARD.encode(format!("a{text}"))),
            ("base64 shifted by two", |text| engines::STANDARD.encode(format!("ab{text}z"))),
            ("base64 of UTF-16", |text| {
                let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
                engines::STANDARD.encode(bytes)
            }),
            ("base64 in lines", |text| {
                let encoded = engines::STANDARD.encode(text);
                let lines: Vec<_> = encoded.as_bytes().chunks(20).map(String::from_utf8_lossy).collect();
                lines.join("\r\n ")
            }),
            ("basic", |text| {
                format!("Basic {}", engines::STANDARD.encode(format!("7bLx3Q9aTzKw5mPd2RfYh8:{text}")))
            }),
            ("percent", |text| each(text, |byte| format!("%{byte:02X}"))),
            ("percent lower case", |text| each(text, |byte| format!("%{byte:02x}"))),
            ("percent of some", |text| text.replace('_', "%5F").replace('=', "%3D").replace('+', "%2B")),
            ("JSON", |text| each(text, |byte| format!("\\u{byte:04x}"))),
            ("JSON of some", |text| text.replace('_', "\\u005F").replace('/', "\\/")),
            ("code", |text| each(text, |byte| format!("\\x{byte:02x}"))),
            ("HTML", |text| each(text, |byte| format!("&#{byte};"))),
            ("HTML in hex", |text| each(text, |byte| format!("&#x{byte:X};"))),
            ("Markdown", |text| text.replace('_', "\\_")),
            ("base32", |text| base32(text)),
            ("base32 lower case", |text| base32(&format!("ab{text}")).to_lowercase()),
            ("hex", |text| each(text, |byte| format!("{byte:02x}"))),
            ("hex dump", |text| each(text, |byte| format!("{byte:02X} "))),
            ("hex with colons", |text| each(text, |byte| format!("{byte:02x}:"))),
            ("array of bytes", |text| each(text, |byte| format!("0x{byte:02x}, "))),
            ("quoted-printable", |text| each(text, |byte| format!("={byte:02X}"))),
            ("octal", |text| each(text, |byte| format!("\\{byte:03o}"))),
            ("added literals", |text| {
                text.as_bytes().chunks(9).map(String::from_utf8_lossy).collect::<Vec<_>>().join("\" + \"")
            }),
            ("invisible blanks", |text| text.chars().flat_map(|it| [it, '\u{2800}']).collect()),
            ("zero-width", |text| text.chars().flat_map(|it| [it, '\u{200B}']).collect()),
            ("full-width", |text| {
                let wide = |it: char| char::from_u32(u32::from(it) + 0xFEE0).unwrap();
                text.chars().map(|it| if it.is_ascii_graphic() { wide(it) } else { it }).collect()
            }),
        ]
    }

    fn base32(text: &str) -> String {
        let bits: String = text.bytes().map(|byte| format!("{byte:08b}")).collect();
        let groups = bits.as_bytes().chunks(5).map(|five| {
            let five = format!("{:0<5}", std::str::from_utf8(five).unwrap());
            usize::from_str_radix(&five, 2).unwrap()
        });
        groups.map(|value| char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[value])).collect()
    }

    #[test]
    fn rule_18_a_secret_is_recognised_in_every_encoding_and_in_two_of_them() {
        let secret = some_secret();
        for (outer, encode) in encodings() {
            let once = encode(secret.reveal());
            assert!(looks_like_secret(&format!("leaked: {once}, rotate")), "{outer}: {once}");
            for (inner, first) in encodings().into_iter().filter(|(inner, _)| !is_odd(outer, inner)) {
                let twice = encode(&first(secret.reveal()));
                assert!(looks_like_secret(&twice), "{outer} of {inner}: {twice}");
            }
        }
    }

    #[test]
    fn rule_18_bare_digits_are_recognised_between_words_and_encoded() {
        let secret = some_secret();
        let bare = &secret.reveal()["crossfade_live_".len()..];
        for (name, encode) in encodings() {
            assert!(looks_like_secret(&format!("the key {} leaked", encode(bare))), "{name}");
        }
    }

    #[test]
    fn rule_18_a_letter_that_is_normalised_later_hides_no_secret() {
        let kelvin = format!("crossfade_live_{}", "K0123456789ab").replace('K', "\u{212A}");
        assert!(looks_like_secret(&kelvin), "U+212A becomes K");
    }

    #[test]
    fn rule_18_ordinary_text_is_no_secret_however_encoded() {
        let jwt = "eyJhbGciOiJFUzI1NiIsImtpZCI6InAzSngwdjhuUTJtNCIsInR5cCI6ImF0K2p3dCJ9.eyJpc3MiOiJodHRwczovL2F1dGguZXhhbXBsZS5jb20vZW52L3Byb2R1Y3Rpb24iLCJjcm9zc2ZhZGVfc2VjcmV0Ijoic2VjXzAwMDAwMDAwMDAwMDAwMDAwMDAwMDEifQ.c2lnbmF0dXJl";
        for text in [
            "Quarterly rotation, as agreed with the billing team on 24 November 2026 (ticket OPS-4711).",
            "Vierteljährliche Rotation der Geheimnisse für den Zahlungsdienst; 100 % der Aufrufer sind umgezogen.",
            "請求書サービスのシークレットを四半期ごとに更新します。担当者に連絡済みです。",
            "crossfade_secret crossfade_live_ crossfade_session_ crossfade_api_token_for_the_billing_team",
            "C:\\new\\uploads\\x\\%TEMP%\\u12 & &# &#; &#x; %, %u, \\",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "-----BEGIN CERTIFICATE----- MIIBtjCCAVugAwIBAgITBmyf1XSXNmY/Owua2eiedgPySjAKBggqhkjOPQQDAjA5",
            "01ARZ3NDEKTSV4RRFFQ69G5FAV 123e4567-e89b-12d3-a456-426614174000",
            jwt,
        ] {
            for (name, encode) in
                encodings().into_iter().filter(|(name, _)| text.is_ascii() || *name != "full-width")
            {
                assert!(!looks_like_secret(&encode(text)), "{name} of {text}");
            }
        }
    }

    /// The longest body, in shapes that have as many readings as possible: unbounded work would never end.
    #[test]
    fn rule_18_the_search_of_the_longest_text_ends() {
        use base64::{Engine, engine::general_purpose::STANDARD};
        let nested = (0..8).fold("a long text of words ".repeat(400), |text, _| STANDARD.encode(text));
        for part in
            ["%25", "\\u0025", "&amp;", "ICAg", "YWFh", "0", "4", "6161", "crossfade_live_", "ａ", "\u{FDFA}"]
        {
            let text = part.repeat(65_536 / part.len());
            assert!(!looks_like_secret(&text), "{part}");
        }
        assert!(!looks_like_secret(&nested[..65_536]));
    }

    proptest::proptest! {
        #[test]
        fn rule_18_no_text_makes_the_search_fail(text in "\\PC{0,300}|[%\\\\&#xu;{}0-9a-f=]{0,300}|[A-Za-z0-9+/_=-]{0,300}") {
            let _ = looks_like_secret(&text);
        }

        #[test]
        fn rule_18_random_bytes_are_no_secret(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
            use base64::{Engine, engine::general_purpose::STANDARD};
            proptest::prop_assert!(!looks_like_secret(&STANDARD.encode(&bytes)));
        }

        #[test]
        fn rule_18_any_secret_is_recognised_in_any_two_encodings_amid_text(
            bytes in proptest::array::uniform32(proptest::prelude::any::<u8>()),
            kind in 0..5usize, outer in 0..22usize, inner in 0..22usize, before in "[a-z ]{0,20}", after in "[ .,;]{0,3}",
        ) {
            struct Fixed([u8; 32]);
            impl Random for Fixed {
                fn fill(&self, out: &mut [u8]) {
                    out.copy_from_slice(&self.0);
                }
            }
            let secret = SecretValue::generate(SecretKind::ALL[kind], &Fixed(bytes));
            let all = encodings();
            proptest::prop_assume!(!is_odd(all[outer].0, all[inner].0));
            let text = format!("{before}{}{after}", all[outer].1(&all[inner].1(secret.reveal())));
            proptest::prop_assert!(looks_like_secret(&text), "{text}");
        }
    }
}
