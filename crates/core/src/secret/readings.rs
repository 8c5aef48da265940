//! Readings of a text: its content after decoding the forms in which secrets get pasted, such as
//! `Authorization: Basic …`, a URL, a JSON string, an HTML page or a hex dump.

use crate::text::is_invisible;
use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

/// Maximum depth of nested encodings, such as base64 of percent-encoded text.
const MAX_DEPTH: usize = 3;
/// Maximum number of bytes read per byte of the text, which bounds the work for a text made to have many readings.
const MAX_BYTES_READ: usize = 64;
/// Minimum number of characters by which a secret is recognised: the shortest prefix and the digits that make it
/// suspicious.
const MIN_LENGTH: usize = 26;
/// Minimum number of base64 characters that encode as many.
const MIN_BASE64: usize = MIN_LENGTH * 4 / 3 + 1;
/// Minimum number of base32 characters that encode as many.
const MIN_BASE32: usize = MIN_LENGTH * 8 / 5 + 1;

/// Whether `is_secret` is true for any reading of `text`. Each reading is ASCII without white space and invisible
/// characters; `?` replaces everything else. The work grows linearly with the length of the text.
pub(super) fn any_reading(text: &str, is_secret: impl Fn(&str) -> bool) -> bool {
    let squeezed = squeeze(text);
    let left = squeezed.len().saturating_mul(MAX_BYTES_READ);
    Search { is_secret, left }.any(&squeezed, MAX_DEPTH)
}

struct Search<F> {
    is_secret: F,
    /// Bytes that can still be read.
    left: usize,
}

impl<F: Fn(&str) -> bool> Search<F> {
    fn any(&mut self, text: &str, depth: usize) -> bool {
        if text.len() < MIN_LENGTH || text.len() > self.left {
            return false;
        }
        self.left -= text.len();
        if (self.is_secret)(text) {
            return true;
        }
        // Not an encoding, and nothing is left to put together in what was.
        if joined(text).is_some_and(|text| self.any(&text, depth)) {
            return true;
        }
        let Some(depth) = depth.checked_sub(1) else { return false };
        let unescaped = [unescape(text), unquote(text)];
        unescaped.into_iter().flatten().any(|text| self.any(&squeeze(&text), depth))
            || self.any_run(text, MIN_BASE64, 4, base64_value, decode_base64, depth)
            || self.any_run(text, MIN_BASE32, 8, base32_value, decode_base32, depth)
            || self.any_run(text, MIN_LENGTH * 2, 2, hex_value, decode_hex, depth)
    }

    /// Reads runs of digits of an encoding. A run can begin in the middle of something else, so each alignment is read.
    fn any_run(
        &mut self,
        text: &str,
        min: usize,
        alignments: usize,
        value: fn(u8) -> Option<u8>,
        decode: fn(&[u8]) -> Vec<u8>,
        depth: usize,
    ) -> bool {
        let values: Vec<Option<u8>> = text.bytes().map(value).collect();
        let runs = values.split(Option::is_none).filter(|run| run.len() >= min);
        for run in runs {
            let digits: Vec<u8> = run.iter().flatten().copied().collect();
            for aligned in (0..alignments).filter_map(|skipped| digits.get(skipped..)) {
                if read_bytes(&decode(aligned)).is_some_and(|text| self.any(&text, depth)) {
                    return true;
                }
            }
        }
        false
    }
}

fn squeeze(text: &str) -> String {
    // The blank of Braille is seen as nothing, too.
    let is_kept = |it: &char| !it.is_whitespace() && !is_invisible(*it) && *it != '\u{2800}';
    if text.is_ascii() {
        return text.chars().filter(is_kept).collect();
    }
    // Also what is composed or of another width: a name is normalised after it was checked.
    let ascii = |it: char| if it.is_ascii() { it } else { '?' };
    text.nfkc().filter(|it| is_kept(it) && !is_combining_mark(*it)).map(ascii).collect()
}

/// Returns the text of decoded bytes, if enough of them in a row are text. The zeros of UTF-16 are invisible.
fn read_bytes(bytes: &[u8]) -> Option<String> {
    let text = squeeze(&String::from_utf8_lossy(bytes));
    text.split('?').any(|run| run.len() >= MIN_LENGTH).then_some(text)
}

fn hex_value(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

fn decode_hex(values: &[u8]) -> Vec<u8> {
    values.chunks_exact(2).map(|pair| pair.iter().fold(0, |byte, value| byte << 4 | value)).collect()
}

/// Decodes a digit of either base64 alphabet (RFC 4648 §4, §5).
pub(super) fn base64_value(digit: u8) -> Option<u8> {
    Some(match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    })
}

/// Decodes a base32 digit in either case (RFC 4648 §6).
fn base32_value(digit: u8) -> Option<u8> {
    Some(match digit.to_ascii_uppercase() {
        letter @ b'A'..=b'Z' => letter - b'A',
        digit @ b'2'..=b'7' => digit - b'2' + 26,
        _ => return None,
    })
}

fn decode_base32(values: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(values.len() / 8 * 5 + 5);
    for group in values.chunks(8) {
        let bits = group.iter().fold(0u64, |bits, value| bits << 5 | u64::from(*value));
        let bits = bits << (5 * (8 - group.len()));
        bytes.extend(bits.to_be_bytes().into_iter().skip(3).take(group.len() * 5 / 8));
    }
    bytes
}

pub(super) fn decode_base64(values: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(values.len() / 4 * 3 + 3);
    for group in values.chunks(4) {
        let bits = group.iter().fold(0u32, |bits, value| bits << 6 | u32::from(*value));
        let bits = bits << (6 * (4 - group.len()));
        bytes.extend(bits.to_be_bytes().into_iter().skip(1).take(group.len() - 1));
    }
    bytes
}

/// Decodes percent-encoding, escapes of JSON and of programming languages, and HTML character references; `None` if
/// there are none.
fn unescape(text: &str) -> Option<String> {
    if !text.contains(['%', '\\', '&']) {
        return None;
    }
    // Bytes, because an escape can be of a byte and several of them of one character.
    let mut read = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['%', '\\', '&']) {
        let (before, escaped) = rest.split_at(at);
        read.extend_from_slice(before.as_bytes());
        let (character, length) = match escaped.as_bytes() {
            [b'%', b'u' | b'U', ..] => code(escaped, 2, 4),
            [b'%', ..] => code(escaped, 1, 2),
            [b'\\', b'u', b'{', ..] => delimited(escaped, 3, "}", 16),
            [b'\\', b'u', ..] => code(escaped, 2, 4),
            [b'\\', b'U', ..] => code(escaped, 2, 8),
            [b'\\', b'x', ..] => code(escaped, 2, 2),
            [b'\\', b'0'..=b'3', ..] if octal(escaped).is_some() => octal(escaped),
            [b'\\', b'n' | b'r' | b't' | b'b' | b'f', ..] => Some((' ', 2)),
            [b'\\', other, ..] => Some((char::from(*other), 2)),
            [b'&', b'#', b'x' | b'X', ..] => delimited(escaped, 3, ";", 16),
            [b'&', b'#', ..] => delimited(escaped, 2, ";", 10),
            _ => named(escaped),
        }
        .unwrap_or((char::from(escaped.as_bytes().first().copied().unwrap_or_default()), 1));
        match (escaped.as_bytes(), u8::try_from(u32::from(character))) {
            ([b'%', next, ..] | [b'\\', next @ (b'x' | b'0'..=b'3'), ..], Ok(byte))
                if !b"uU".contains(next) =>
            {
                read.push(byte)
            }
            _ => read.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
        rest = escaped.get(length..).unwrap_or_default();
    }
    read.extend_from_slice(rest.as_bytes());
    Some(String::from_utf8_lossy(&read).into_owned())
}

/// Reads the character whose code is the `digits` hexadecimal digits at `from`, and returns it with the position after
/// them. `None` if they are no character's code.
fn code(escaped: &str, from: usize, digits: usize) -> Option<(char, usize)> {
    let digits = escaped.get(from..from + digits)?;
    let value = u32::from_str_radix(digits, 16).ok()?;
    Some((char::from_u32(value)?, from + digits.len()))
}

/// Reads a byte as shells and C write it: three octal digits.
fn octal(escaped: &str) -> Option<(char, usize)> {
    let digits = escaped.get(1..4)?;
    Some((char::from(u8::from_str_radix(digits, 8).ok()?), 4))
}

/// Decodes quoted-printable (RFC 2045 §6.7); `None` if nothing is encoded that way.
fn unquote(text: &str) -> Option<String> {
    let (first, rest) = text.split_once('=')?;
    let mut read = first.as_bytes().to_vec();
    for part in rest.split('=') {
        match part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                read.push(byte);
                read.extend_from_slice(part.as_bytes().get(2..).unwrap_or_default());
            }
            None => read.extend_from_slice(part.as_bytes()),
        }
    }
    Some(String::from_utf8_lossy(&read).into_owned())
}

/// Joins text that is split into parts: concatenated literals of a programming language, or the bytes of a dump.
fn joined(text: &str) -> Option<String> {
    let is_between = |it: char| "\"'`+,;:|-[](){}".contains(it);
    let joined = text.replace("0x", "").replace("0X", "").replace(is_between, "");
    (joined.len() < text.len()).then_some(joined)
}

/// Reads digits up to `end`.
fn delimited(escaped: &str, from: usize, end: &str, radix: u32) -> Option<(char, usize)> {
    const MAX_DIGITS: usize = 8;
    let rest = escaped.get(from..)?;
    let digits = rest.bytes().take(MAX_DIGITS).take_while(u8::is_ascii_hexdigit).count();
    let (digits, rest) = rest.split_at(digits);
    let value = u32::from_str_radix(digits, radix).ok()?;
    let ended = if rest.starts_with(end) { end.len() } else { 0 };
    Some((char::from_u32(value)?, from + digits.len() + ended))
}

/// Reads a named HTML character reference that a secret can contain, or that contains another reference.
fn named(escaped: &str) -> Option<(char, usize)> {
    let names = [("&amp;", '&'), ("&lowbar;", '_'), ("&UnderBar;", '_'), ("&percnt;", '%'), ("&bsol;", '\\')];
    names.into_iter().find(|(name, _)| escaped.starts_with(name)).map(|(name, it)| (it, name.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_undone_one_level_at_a_time() {
        for (escaped, expected) in [
            ("a%5Fb", "a_b"),
            ("a%255Fb", "a%5Fb"),
            ("a\\u005fb\\x5f\\u{5F}\\U0000005F", "a_b___"),
            ("a&#95;b&#x5f;&lowbar;&amp;#95;", "a_b__&#95;"),
            ("a\\_b\\n", "a_b "),
            ("100%, \\, & or %zz %", "100%, , & or %zz %"),
            ("a%E2%80%8Bb\\xe2\\x80\\x8Bc", "a\u{200B}b\u{200B}c"),
            ("\\", "\\"),
            ("%u005f%", "_%"),
        ] {
            assert_eq!(unescape(escaped).as_deref(), Some(expected), "{escaped}");
        }
        assert_eq!(unescape("nothing"), None);
    }

    #[test]
    fn base32_is_read_as_the_standard_writes_it_rfc4648_10() {
        for (text, encoded) in
            [("f", "MY"), ("fo", "MZXQ"), ("foo", "mzxw6"), ("foobar", "MZXW6YTBOI"), ("", "")]
        {
            let values: Vec<u8> = encoded.bytes().filter_map(base32_value).collect();
            assert_eq!(decode_base32(&values), text.as_bytes(), "{encoded}");
        }
    }

    #[test]
    fn base64_and_hex_are_read_as_the_standard_writes_them_rfc4648_10() {
        for (text, encoded) in
            [("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy"), ("", ""), ("?>", "Pz4")]
        {
            let values: Vec<u8> = encoded.bytes().filter_map(base64_value).collect();
            assert_eq!(decode_base64(&values), text.as_bytes(), "{encoded}");
        }
        let values: Vec<u8> = "666F6f626172".bytes().filter_map(hex_value).collect();
        assert_eq!(decode_hex(&values), b"foobar");
    }
}
