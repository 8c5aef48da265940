//! The text of a secret: how it is made, recognised and kept from leaking.

use crate::{Random, base62, environment::EnvironmentKind};
use std::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Base62 digits that carry 256 bits: 62^43 is the first power of 62 above 2^256.
const RANDOM_DIGITS: usize = 43;
/// Base62 digits of the CRC-32 behind them.
const CHECKSUM_DIGITS: usize = 6;

/// What the prefix of a value says about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SecretKind {
    /// A client secret of an environment of this kind.
    Client(EnvironmentKind),
    /// An API token.
    ApiToken,
    /// The secret part of a one-time link.
    Link,
    /// What the cookie of a sign-in holds.
    Session,
    /// What the cookie of a known browser holds.
    Device,
}

impl SecretKind {
    /// Every kind there is.
    pub const ALL: [Self; 6] = [
        Self::Client(EnvironmentKind::Live),
        Self::Client(EnvironmentKind::Test),
        Self::ApiToken,
        Self::Link,
        Self::Session,
        Self::Device,
    ];

    /// What a value of this kind starts with: the product, then what the value opens.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Client(EnvironmentKind::Live) => "crossfade_live_",
            Self::Client(EnvironmentKind::Test) => "crossfade_test_",
            Self::ApiToken => "crossfade_api_",
            Self::Link => "crossfade_link_",
            Self::Session => "crossfade_session_",
            Self::Device => "crossfade_device_",
        }
    }
}

/// The value of a secret. It has no `Display`, no `Serialize` and a `Debug` that hides it; it is wiped
/// when dropped. [`SecretValue::reveal`] is the one way to its text.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SecretValue(String);

impl SecretValue {
    /// A new value: prefix, 256 random bits in base62, and the checksum of these digits.
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

    /// Takes a value that was made by [`SecretValue::generate`] and has been kept sealed since.
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// The text itself. Whoever calls this answers for where it goes.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(…)")
    }
}

/// Whether `text` holds something that looks like one of our secrets, whole or cut off, also when it
/// was percent-encoded or broken over lines. Names, reasons and identifiers that do are refused.
pub fn looks_like_secret(text: &str) -> bool {
    let squeezed: String = text
        .replace("%5F", "_")
        .replace("%5f", "_")
        .chars()
        .filter(|character| !character.is_whitespace())
        .collect();
    let lowered = squeezed.to_ascii_lowercase();
    let prefixed = SecretKind::ALL.iter().any(|kind| {
        lowered
            .match_indices(kind.prefix())
            .any(|(at, prefix)| digits_at_start(&squeezed[at + prefix.len()..]) >= SUSPICIOUS_DIGITS)
    });
    prefixed || squeezed.split(|c: char| !c.is_ascii_alphanumeric()).any(is_checksummed)
}

/// Digits behind a prefix from which on a text counts as (part of) a secret.
const SUSPICIOUS_DIGITS: usize = 12;

fn digits_at_start(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_alphanumeric).count()
}

fn is_checksummed(digits: &str) -> bool {
    digits.len() == RANDOM_DIGITS + CHECKSUM_DIGITS
        && base62::is_base62(digits)
        && checksum(&digits[..RANDOM_DIGITS]) == digits[RANDOM_DIGITS..]
}

/// CRC-32 (IEEE) of the random digits alone, in base62: the layout that secret scanners know.
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

    /// Digits without a prefix are suspicious only with the right checksum.
    #[test]
    fn rule_18_bare_digits_count_only_with_their_checksum() {
        let bare = some_secret().reveal()["crossfade_live_".len()..].to_owned();
        assert!(looks_like_secret(&format!("key={bare};")));
        let last = if bare.ends_with('a') { 'b' } else { 'a' };
        assert!(!looks_like_secret(&format!("{}{last}", &bare[..48])));
        assert!(!looks_like_secret(&"a".repeat(49)));
    }
}
