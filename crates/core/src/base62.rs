//! Fixed-width base62 with the alphabet `0-9A-Za-z`: letters and digits only, so that a double click
//! selects a whole secret and no encoding ever changes it.

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Encodes `bytes`, read as one big-endian number, as exactly `width` base62 digits, zero-padded on the left.
///
/// The caller chooses a `width` that is wide enough (43 for 32 bytes, 22 for 16, 6 for 4); digits
/// beyond it would be lost, which the tests of the callers rule out.
pub fn encode_fixed(bytes: &[u8], width: usize) -> String {
    // In limbs of 32 bits, most significant first: a quarter of the divisions that single bytes would take.
    let big_endian = |limb: &[u8]| limb.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
    let mut number: Vec<u32> = bytes.rchunks(4).rev().map(big_endian).collect();
    let mut digits = vec![b'0'; width];
    for digit in digits.iter_mut().rev() {
        let mut remainder = 0;
        for limb in &mut number {
            let value = remainder << 32 | u64::from(*limb);
            *limb = (value / 62) as u32;
            remainder = value % 62;
        }
        *digit = ALPHABET[remainder as usize];
    }
    zeroize::Zeroize::zeroize(&mut number);
    digits.into_iter().map(char::from).collect()
}

/// Encodes 128 bits as [`encode_fixed`] does, without allocating.
pub fn encode_128_bits(bytes: [u8; 16]) -> [u8; 22] {
    /// The tenth power of 62: the largest in 64 bits, so that most divisions are of 64 bits.
    const TEN_DIGITS: u128 = 839_299_365_868_340_224;
    let mut digits = [b'0'; 22];
    let mut number = u128::from_be_bytes(bytes);
    for chunk in digits.rchunks_mut(10) {
        let mut rest = (number % TEN_DIGITS) as u64;
        number /= TEN_DIGITS;
        for digit in chunk.iter_mut().rev() {
            *digit = ALPHABET[(rest % 62) as usize];
            rest /= 62;
        }
    }
    digits
}

/// Decodes a number of 32 bits that [`encode_fixed`] has encoded, without allocating. `None` for a larger number, and for
/// what is no base62.
pub fn decode_32_bits(digits: &str) -> Option<u32> {
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'Z' => Some(digit - b'A' + 10),
        b'a'..=b'z' => Some(digit - b'a' + 36),
        _ => None,
    };
    digits
        .bytes()
        .try_fold(0_u32, |number, digit| number.checked_mul(62)?.checked_add(u32::from(value(digit)?)))
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
    fn numbers_of_32_bits_are_decoded_as_they_were_encoded() {
        let powers = (0..32).map(|power| 1_u32 << power);
        for number in powers.flat_map(|power| [power, power - 1, !power, power.wrapping_mul(62)]) {
            assert_eq!(decode_32_bits(&encode_fixed(&number.to_be_bytes(), 6)), Some(number));
        }
        assert_eq!(decode_32_bits("4gfFC3"), Some(u32::MAX));
        for wrong in ["4gfFC4", "zzzzzz", "4gfFC30", "00-000", "00 000", "é00000"] {
            assert_eq!(decode_32_bits(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn every_length_of_bytes_is_read_as_one_number() {
        for length in 1..=16 {
            let bytes: Vec<u8> = (1..=length).map(|byte| byte * 15).collect();
            let mut number = bytes.iter().fold(0, |sum, byte| sum << 8 | u128::from(*byte));
            let mut digits = vec![b'0'; 22];
            for digit in digits.iter_mut().rev() {
                *digit = ALPHABET[(number % 62) as usize];
                number /= 62;
            }
            assert_eq!(encode_fixed(&bytes, 22).as_bytes(), digits, "{length} bytes");
        }
    }

    #[test]
    fn numbers_of_128_bits_have_one_encoding() {
        let powers = (0..128).map(|power| 1_u128 << power);
        for number in
            powers.flat_map(|power| [power, power - 1, !power, power.wrapping_mul(62)]).chain([u128::MAX])
        {
            let bytes = number.to_be_bytes();
            assert_eq!(encode_128_bits(bytes), encode_fixed(&bytes, 22).as_bytes(), "{number}");
        }
    }

    #[test]
    fn small_numbers_are_padded() {
        assert_eq!(encode_fixed(&[0], 3), "000");
        assert_eq!(encode_fixed(&[61], 2), "0z");
        assert_eq!(encode_fixed(&[62], 2), "10");
    }
}
