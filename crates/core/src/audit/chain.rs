//! The chain of the audit trail. The hash of an event covers the event as it is exported and the hash of the event before
//! it, so that nobody can change, remove or insert an event without changing every later hash.

use crate::api;
use aws_lc_rs::digest::{SHA256, digest};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::Error as _};
use serde_json::{Map, Value};
use std::{cmp::Ordering, fmt};

/// Member of an exported event that has the hash of the event before it.
pub const PREVIOUS_HASH: &str = "previous_hash";
/// Member of an exported event that has its own hash, the only one that the hash does not cover.
pub const HASH: &str = "hash";

/// Hash of an event: SHA-256, in JSON as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, JsonSchema)]
pub struct ChainHash(#[schemars(with = "String")] [u8; 32]);

impl ChainHash {
    /// Hash before the first event of a trail.
    pub const START: Self = Self([0; 32]);

    /// Reads a stored hash.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Returns the hash as it is stored.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Reads 64 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != 64 || text.bytes().any(|byte| !matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// Returns the hash of an event that follows `previous`.
    pub fn of(event: &api::AuditEvent, previous: Self) -> Self {
        let event = api::AuditEvent { previous_hash: Some(previous), hash: None, ..event.clone() };
        match serde_json::to_value(event) {
            Ok(Value::Object(members)) => Self::of_members(members),
            // An event is always an object.
            _ => Self::START,
        }
    }

    /// Returns the hash of an exported event: of its canonical form (RFC 8785) without `hash` and without members that
    /// are null. A member that a later version adds is null in earlier events, so their hashes stay the same.
    pub fn of_members(mut event: Map<String, Value>) -> Self {
        event.retain(|name, value| name != HASH && !value.is_null());
        Self::of_bytes(&canonical(&Value::Object(event)))
    }

    fn of_bytes(bytes: &[u8]) -> Self {
        Self::from_bytes(digest(&SHA256, bytes).as_ref()).unwrap_or(Self::START)
    }
}

impl fmt::Display for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for ChainHash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().map_or('0', char::from);
        let text: String = self.0.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect();
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for ChainHash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom("must have 64 lower-case hexadecimal digits"))
    }
}

/// Returns the canonical form of a JSON value (RFC 8785).
pub fn canonical(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(512);
    write_canonical(value, &mut bytes);
    bytes
}

fn write_canonical(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(truth) => out.extend_from_slice(if *truth { b"true" } else { b"false" }),
        Value::Number(number) => write_number(number, out),
        Value::String(text) => write_text(text, out),
        Value::Array(items) => {
            out.push(b'[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write_canonical(item, out);
            }
            out.push(b']');
        }
        Value::Object(members) => {
            let mut members: Vec<(&String, &Value)> = members.iter().collect();
            members.sort_unstable_by(|(a, _), (b, _)| compare_names(a, b));
            out.push(b'{');
            for (at, (name, value)) in members.into_iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write_text(name, out);
                out.push(b':');
                write_canonical(value, out);
            }
            out.push(b'}');
        }
    }
}

/// Compares names by UTF-16 code units (RFC 8785 §3.2.3).
fn compare_names(a: &str, b: &str) -> Ordering {
    if a.is_ascii() && b.is_ascii() { a.cmp(b) } else { a.encode_utf16().cmp(b.encode_utf16()) }
}

/// Writes a string. Serde escapes exactly what RFC 8785 §3.2.2.2 requires, in the same way.
fn write_text(text: &str, out: &mut Vec<u8>) {
    // Writing to a vector does not fail.
    let _ = serde_json::to_writer(out, text);
}

/// Writes a number as ECMAScript does, which knows only 64-bit floating point (RFC 8785 §3.2.2.3).
fn write_number(number: &serde_json::Number, out: &mut Vec<u8>) {
    const EXACT: u64 = 1 << 53;
    match (number.as_i64(), number.as_f64()) {
        (Some(whole), _) if whole.unsigned_abs() <= EXACT => {
            out.extend_from_slice(whole.to_string().as_bytes())
        }
        (_, Some(float)) => write_float(float, out),
        _ => out.extend_from_slice(b"null"),
    }
}

/// Writes a floating point number with the fewest digits that identify it (ECMA-262 §6.1.6.1.20).
fn write_float(float: f64, out: &mut Vec<u8>) {
    if float == 0.0 || !float.is_finite() {
        return out.push(b'0');
    }
    // Rust gives the same digits: `d.ddde±x`.
    let text = format!("{:e}", float.abs());
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let digits: String = digits.chars().filter(|c| *c != '.').collect();
    let point = exponent.parse::<i32>().unwrap_or(0) + 1;
    let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    let zeros = |number: i32| "0".repeat(usize::try_from(number).unwrap_or(0));
    let split = |at: i32| digits.split_at(usize::try_from(at).unwrap_or(0));
    let shown = if count <= point && point <= 21 {
        format!("{digits}{}", zeros(point - count))
    } else if 0 < point && point <= 21 {
        let (whole, rest) = split(point);
        format!("{whole}.{rest}")
    } else if -6 < point && point <= 0 {
        format!("0.{}{digits}", zeros(-point))
    } else {
        let (first, rest) = split(1);
        let rest = if rest.is_empty() { String::new() } else { format!(".{rest}") };
        format!("{first}{rest}e{}{}", if point > 0 { '+' } else { '-' }, (point - 1).abs())
    };
    if float < 0.0 {
        out.push(b'-');
    }
    out.extend_from_slice(shown.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn text(value: &Value) -> String {
        String::from_utf8(canonical(value)).unwrap()
    }

    /// The examples of RFC 8785 §3.2.2 and §3.2.3.
    #[test]
    fn the_examples_of_the_standard_have_their_canonical_form() {
        let mut value: Value = serde_json::from_str(
            r#"{"string":"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/","literals":[null,true,false]}"#,
        )
        .unwrap();
        // The parser of this program does not round every decimal correctly. No event has one.
        value["numbers"] =
            json!([f64::from_bits(0x41b3_de43_5555_5555), 1E30, 4.50, 2e-3, 0.000000000000000000000000001]);
        let expected = "{\"literals\":[null,true,false],\"numbers\":[333333333.3333333,1e+30,4.5,0.002,1e-27],\
             \"string\":\"€$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}";
        assert_eq!(text(&value), expected);
        let names =
            json!({"\u{20ac}": 1, "\r": 2, "\u{fb33}": 3, "1": 4, "\u{1f600}": 5, "\u{80}": 6, "\u{f6}": 7});
        assert_eq!(text(&names), "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"ö\":7,\"€\":1,\"😀\":5,\"\u{fb33}\":3}");
    }

    /// RFC 8785 appendix B.
    #[test]
    fn numbers_are_written_as_ecmascript_does() {
        for (bits, expected) in [
            (0x0000_0000_0000_0000, "0"),
            (0x8000_0000_0000_0000, "0"),
            (0x0000_0000_0000_0001, "5e-324"),
            (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
            (0x4340_0000_0000_0000, "9007199254740992"),
            (0xc340_0000_0000_0000, "-9007199254740992"),
            (0x4430_0000_0000_0000, "295147905179352830000"),
            (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"),
            (0x44b5_2d02_c7e1_4af6, "1e+23"),
            (0x444b_1ae4_d6e2_ef4e, "999999999999999700000"),
            (0x444b_1ae4_d6e2_ef50, "1e+21"),
            (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
            (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"),
            (0x41b3_de43_5555_5553, "333333333.3333332"),
            (0xbecb_f647_612f_3696, "-0.0000033333333333333333"),
        ] {
            assert_eq!(text(&json!(f64::from_bits(bits))), expected, "{bits:x}");
        }
        assert_eq!(text(&json!(u64::MAX)), "18446744073709552000");
        assert_eq!(text(&json!(-5)), "-5");
    }

    proptest! {
        #[test]
        fn a_canonical_form_is_read_as_the_same_value(words in proptest::collection::btree_map(".*", ".*", 0..6), n in any::<i32>()) {
            let value = json!({"words": words, "n": n, "list": [true, null, n]});
            let read: Value = serde_json::from_slice(&canonical(&value)).unwrap();
            prop_assert_eq!(&read, &value);
            prop_assert_eq!(canonical(&read), canonical(&value));
        }

        #[test]
        fn a_hash_is_read_as_it_is_written(bytes in any::<[u8; 32]>()) {
            let hash = ChainHash(bytes);
            prop_assert_eq!(ChainHash::parse(&hash.to_string()), Some(hash));
            prop_assert_eq!(serde_json::to_value(hash).unwrap(), json!(hash.to_string()));
            prop_assert_eq!(serde_json::from_value::<ChainHash>(json!(hash.to_string())).unwrap(), hash);
        }
    }

    #[test]
    fn a_hash_covers_each_member_and_the_hash_before() {
        let event = json!({"seq": 1, "action": "secret.rotated", "reason": null, "details": {"n": null}});
        let hash = |event: &Value| ChainHash::of_members(event.as_object().unwrap().clone());
        let mut other = event.clone();
        other["hash"] = json!("anything");
        other.as_object_mut().unwrap().remove("reason");
        assert_eq!(hash(&event), hash(&other), "without its own hash and without members that are null");
        for (name, value) in
            [("seq", json!(2)), ("reason", json!("")), ("previous_hash", json!("0")), ("details", json!({}))]
        {
            let mut other = event.clone();
            other[name] = value;
            assert_ne!(hash(&event), hash(&other), "{name}");
        }
    }
}
