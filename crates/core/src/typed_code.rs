//! Codes that a person reads from one screen or sheet and types somewhere else.

use crate::Random;
use std::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Characters of a code (Crockford's base 32): no I, L, O and U, which look like others.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// A random code of `N` characters, each of 5 bits. It has no `Display` and no `Serialize`, and is wiped when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct TypedCode<const N: usize>(String);

impl<const N: usize> TypedCode<N> {
    /// Number of characters between two hyphens.
    const GROUP: usize = if N.is_multiple_of(4) { 4 } else { 5 };

    /// Returns a new code.
    pub fn generate(random: &dyn Random) -> Self {
        let mut bytes = [0; N];
        random.fill(&mut bytes);
        let code = Self::of_bytes(&bytes);
        bytes.zeroize();
        code
    }

    /// Returns the code of the low 5 bits of each byte.
    pub fn of_bytes(bytes: &[u8; N]) -> Self {
        Self(bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 31)])).collect())
    }

    /// Reads a typed code, in upper or lower case and with any hyphens and spaces. Characters that look like others count
    /// as these.
    pub fn parse(text: &str) -> Option<Self> {
        let is_typed = |c: &char| !c.is_whitespace() && *c != '-';
        let meant = |c: char| match c.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            c => c,
        };
        // One more than is allowed, so that a long text is not read as a code.
        let code: String = text.chars().filter(is_typed).map(meant).take(N + 1).collect();
        let is_code = code.len() == N && code.bytes().all(|byte| ALPHABET.contains(&byte));
        is_code.then_some(Self(code))
    }

    /// Returns the characters. The caller is responsible for where they go.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Returns the characters in groups, as a person types them. The caller is responsible for where they go.
    pub fn reveal_grouped(&self) -> String {
        let group = |it: &[u8]| String::from_utf8_lossy(it).into_owned();
        self.0.as_bytes().chunks(Self::GROUP).map(group).collect::<Vec<_>>().join("-")
    }
}

impl<const N: usize> fmt::Debug for TypedCode<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TypedCode(…)")
    }
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

    fn code<const N: usize>(first: u8) -> TypedCode<N> {
        TypedCode::generate(&Counting(AtomicU8::new(first)))
    }

    #[test]
    fn a_code_is_read_as_a_person_types_it() {
        assert_eq!(code::<12>(0).reveal_grouped(), "0123-4567-89AB");
        assert_eq!(code::<10>(16).reveal_grouped(), "GHJKM-NPQRS");
        for typed in
            ["0123-4567-89AB", "0123456789ab", " 0123 4567 89ab\n", "oi23-4567-89AB", "0L23-4567-89AB"]
        {
            let read = TypedCode::<12>::parse(typed).map(|it| it.reveal().to_owned());
            assert_eq!(read.as_deref(), Some("0123456789AB"), "{typed}");
        }
        for wrong in
            ["", "0123-4567-89A", "0123-4567-89ABC", "0123-4567-89AU", "0123-4567-89Aé", "０123456789AB"]
        {
            assert!(TypedCode::<12>::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn each_character_is_as_likely_as_any_other() {
        let random = Counting(AtomicU8::new(0));
        let codes: String = (0..64).map(|_| TypedCode::<12>::generate(&random).reveal().to_owned()).collect();
        for character in ALPHABET {
            assert_eq!(codes.matches(char::from(*character)).count(), 24);
        }
    }

    #[test]
    fn no_value_is_shown_by_accident() {
        assert_eq!(format!("{:?}", code::<10>(1)), "TypedCode(…)");
    }
}
