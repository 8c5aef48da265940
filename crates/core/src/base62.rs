//! Fixed-width base62 with the alphabet `0-9A-Za-z`: letters and digits only, so that a double click
//! selects a whole secret and no encoding ever changes it.

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Writes `bytes`, read as one big-endian number, as exactly `width` base62 digits, zero-padded on
/// the left.
///
/// The caller chooses a `width` that is wide enough (43 for 32 bytes, 22 for 16, 6 for 4); digits
/// beyond it would be lost, which the tests of the callers rule out.
pub fn encode_fixed(bytes: &[u8], width: usize) -> String {
    let mut number = bytes.to_vec();
    let mut digits = vec![b'0'; width];
    for digit in digits.iter_mut().rev() {
        let mut remainder = 0u32;
        for byte in &mut number {
            let value = remainder << 8 | u32::from(*byte);
            *byte = (value / 62) as u8;
            remainder = value % 62;
        }
        *digit = ALPHABET[remainder as usize];
    }
    zeroize::Zeroize::zeroize(&mut number);
    digits.into_iter().map(char::from).collect()
}

/// Whether every byte of `text` is a base62 digit.
pub fn is_base62(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_values_fit_their_widths() {
        assert_eq!(encode_fixed(&[0xff; 4], 6), "4gfFC3");
        assert!(!encode_fixed(&[0xff; 32], 43).starts_with('0'));
        assert_eq!(&encode_fixed(&[0xff; 32], 44)[..1], "0", "44 digits are more than needed");
        assert_eq!(&encode_fixed(&[0xff; 16], 23)[..1], "0", "23 digits are more than needed");
    }

    #[test]
    fn small_numbers_are_padded() {
        assert_eq!(encode_fixed(&[0], 3), "000");
        assert_eq!(encode_fixed(&[61], 2), "0z");
        assert_eq!(encode_fixed(&[62], 2), "10");
    }
}
