//! Finding client secrets in any text, such as a log, a repository or a message.

use super::{
    CHECKSUM_DIGITS, RANDOM_DIGITS, SecretKind, SecretValue,
    readings::{base64_value, decode_base64},
};
use crate::environment::EnvironmentKind;
use std::collections::BTreeMap;

/// Number of characters of every client secret.
const LENGTH: usize = 15 + RANDOM_DIGITS + CHECKSUM_DIGITS;
/// Minimum number of base64 characters that contain a secret.
const MIN_ENCODED: usize = LENGTH * 4 / 3 + 1;
/// Number of bytes that two neighbouring pieces of a text share, so that no secret at their border is missed.
pub const OVERLAP: usize = 2 * MIN_ENCODED;

/// A client secret in a text.
#[derive(Debug)]
pub struct Found {
    /// Position of its first byte in the text, from 0. In base64, of the character that contains the first bits.
    pub offset: usize,
    /// Kind of its environment, as its prefix shows.
    pub kind: EnvironmentKind,
    /// Whether it was found in base64.
    pub is_encoded: bool,
    /// The value.
    pub value: SecretValue,
}

impl Found {
    /// Returns the part of the value that is no secret.
    pub fn prefix(&self) -> &'static str {
        SecretKind::Client(self.kind).prefix()
    }
}

/// Returns every client secret in a text with the right prefix and checksum, in order, also those in base64 without line
/// breaks. The work grows linearly with the length of the text.
pub fn find(text: &[u8]) -> Vec<Found> {
    let mut found = BTreeMap::new();
    for (offset, kind, value) in plain(text) {
        found.insert(offset, Found { offset, kind, is_encoded: false, value });
    }
    let mut from = 0;
    for run in text.split(|byte| base64_value(*byte).is_none()) {
        if run.len() >= MIN_ENCODED {
            encoded(run, from, &mut found);
        }
        from += run.len() + 1;
    }
    found.into_values().collect()
}

/// Finds secrets in a run of base64 characters. The run can begin with others, so each alignment is read.
fn encoded(run: &[u8], from: usize, found: &mut BTreeMap<usize, Found>) {
    let values: Vec<u8> = run.iter().filter_map(|byte| base64_value(*byte)).collect();
    for skipped in 0..4 {
        let decoded = values.get(skipped..).map(decode_base64).unwrap_or_default();
        for (at, kind, value) in plain(&decoded) {
            let offset = from + skipped + at * 4 / 3;
            found.entry(offset).or_insert(Found { offset, kind, is_encoded: true, value });
        }
    }
}

fn plain(text: &[u8]) -> impl Iterator<Item = (usize, EnvironmentKind, SecretValue)> {
    let starts = text.iter().enumerate().filter(|(_, byte)| **byte == b'c').map(|(at, _)| at);
    starts.filter_map(|at| {
        let word = std::str::from_utf8(text.get(at..at + LENGTH)?).ok()?;
        let kinds = [EnvironmentKind::Live, EnvironmentKind::Test];
        kinds
            .into_iter()
            .find_map(|kind| Some((at, kind, SecretValue::parse(SecretKind::Client(kind), word)?)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::{Engine, engine::general_purpose as engines};
    use proptest::prelude::*;

    struct Bytes([u8; 32]);
    impl crate::Random for Bytes {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.iter_mut().zip(self.0.iter().cycle()).for_each(|(byte, own)| *byte = *own);
        }
    }

    fn secret(kind: EnvironmentKind, bytes: [u8; 32]) -> String {
        SecretValue::generate(SecretKind::Client(kind), &Bytes(bytes)).reveal().to_owned()
    }

    fn kind() -> impl Strategy<Value = EnvironmentKind> {
        prop_oneof![Just(EnvironmentKind::Live), Just(EnvironmentKind::Test)]
    }

    fn offsets(text: &[u8]) -> Vec<(usize, String)> {
        find(text).into_iter().map(|it| (it.offset, it.value.reveal().to_owned())).collect()
    }

    #[test]
    fn the_length_of_a_secret_is_that_of_each_kind() {
        for kind in [EnvironmentKind::Live, EnvironmentKind::Test] {
            assert_eq!(secret(kind, [7; 32]).len(), LENGTH);
        }
        assert_eq!(LENGTH, 64);
    }

    #[test]
    fn only_a_whole_client_secret_with_its_checksum_is_found() {
        let live = secret(EnvironmentKind::Live, [7; 32]);
        let token = SecretValue::generate(SecretKind::ApiToken, &Bytes([7; 32])).reveal().to_owned();
        for other in
            ["", &live[..63], &live[1..], &token, &live.to_uppercase(), &live.replace("live", "test_")]
        {
            assert_eq!(offsets(other.as_bytes()), [], "{other}");
        }
        let found = find(live.as_bytes());
        assert_eq!((found[0].prefix(), found[0].is_encoded), ("crossfade_live_", false));
    }

    #[test]
    fn a_secret_in_an_authorization_header_or_a_manifest_is_found() {
        let value = secret(EnvironmentKind::Test, [9; 32]);
        for (text, encoded) in [
            ("Authorization: Basic ", engines::STANDARD.encode(format!("7bLx3Q9aTzKw5mPd2RfYh8:{value}"))),
            ("  secret: ", engines::STANDARD_NO_PAD.encode(format!("{value}\n"))),
            ("token=/", engines::URL_SAFE.encode(format!("ab{value}"))),
        ] {
            let found = find(format!("{text}{encoded}\n").as_bytes());
            assert_eq!(found.len(), 1, "{text}");
            assert!(found[0].is_encoded && found[0].value.reveal() == value && found[0].offset >= text.len());
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in proptest::collection::vec(any::<u8>(), 0..2000)) {
            prop_assert!(find(&text).is_empty());
        }

        #[test]
        fn a_text_made_of_the_parts_of_a_secret_is_read_without_a_panic(
            text in "(crossfade_(live|test|api)_|[0-9A-Za-z]{43,49}|[+/=_é-]){0,40}",
        ) {
            find(text.as_bytes());
        }

        #[test]
        fn a_secret_is_found_at_every_position(
            bytes in any::<[u8; 32]>(), kind in kind(),
            before in proptest::collection::vec(any::<u8>(), 0..300),
            after in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let value = secret(kind, bytes);
            let text = [before.as_slice(), value.as_bytes(), &after].concat();
            prop_assert_eq!(offsets(&text), [(before.len(), value)]);
        }

        #[test]
        fn two_secrets_side_by_side_are_both_found(one in any::<[u8; 32]>(), other in any::<[u8; 32]>(), kind in kind()) {
            let (one, other) = (secret(kind, one), secret(kind, other));
            let text = format!("{one}{other}{one}");
            prop_assert_eq!(offsets(text.as_bytes()), [(0, one.clone()), (64, other), (128, one)]);
        }

        /// However a text is cut into pieces that overlap, the pieces find what the whole text does.
        #[test]
        fn pieces_that_overlap_find_a_secret_at_their_border(
            bytes in any::<[u8; 32]>(), at in 0usize..600, in_base64 in any::<bool>(), shift in 0usize..4,
        ) {
            let value = secret(EnvironmentKind::Live, bytes);
            let value = match in_base64 {
                true => format!(" {} ", engines::STANDARD.encode(format!("{}{value}", "x".repeat(shift)))),
                false => value,
            };
            let mut text = vec![b'.'; 1000];
            text.splice(at..at + value.len(), value.bytes());
            let whole: Vec<usize> = find(&text).iter().map(|it| it.offset).collect();
            prop_assert_eq!(whole.len(), 1);
            let (mut from, mut pieces) = (0, std::collections::BTreeSet::new());
            while from < text.len() {
                let piece = &text[from..text.len().min(from + 200 + OVERLAP)];
                pieces.extend(find(piece).iter().map(|it| from + it.offset));
                from += 200;
            }
            prop_assert_eq!(pieces.into_iter().collect::<Vec<_>>(), whole);
        }
    }
}
