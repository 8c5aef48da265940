//! Malformed and malicious signatures and serializations as public collections of test vectors for JOSE and ECDSA have
//! them, made here for tokens of this server's own keys, because tokens of other keys are never read (decision 0003).

use super::{
    introspect::{introspect, is_inactive, token},
    jws::{Parts, b64, unb64},
};
use crate::engines::on_sqlite;
use crate::world::{Registration, World};
use serde_json::json;
use std::time::Duration;

on_sqlite! {
    signatures_out_of_range_or_of_another_encoding_are_inactive_rfc7515_a_3,
    serializations_that_only_look_alike_are_inactive_rfc7515_2,
    a_token_of_each_algorithm_is_inactive_under_each_other_one_rfc8725_3_1,
}

/// Order of P-256 (SEC 2 §2.4.2).
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc,
    0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

async fn registration(world: &World, environment: &str, alg: &str) -> Registration {
    let owner = world.owner().await;
    owner.patch(&format!("/environments/{environment}"), json!({"signing_alg": alg})).await.ok();
    // Until the key set that others keep has the new key.
    world.advance(Duration::from_secs(360));
    world.client(&format!("Client for {alg}"), &[environment]).await.registration(environment).clone()
}

async fn signatures_out_of_range_or_of_another_encoding_are_inactive_rfc7515_a_3(world: World) {
    let own = registration(&world, "production", "ES256").await;
    let good = token(&world, &own).await;
    let signature = Parts::of(&good).signature;
    let (r, s) = (&signature[..32], &signature[32..]);
    let (zero, one) = ([0; 32], small(1));
    let all_ones = [0xff; 32];
    let mut cases: Vec<(String, Vec<u8>)> = Vec::new();
    let scalars = [
        ("0", zero),
        ("1", one),
        ("n - 1", minus(&ORDER, &one)),
        ("n", ORDER),
        ("n + 1", plus(&ORDER, &one)),
        ("2^256 - 1", all_ones),
    ];
    for (left, first) in &scalars {
        for (right, second) in &scalars {
            cases.push((format!("r = {left}, s = {right}"), [&first[..], &second[..]].concat()));
        }
        cases.push((format!("r = {left}"), [&first[..], s].concat()));
        cases.push((format!("s = {left}"), [r, &first[..]].concat()));
    }
    cases.push(("r negated".into(), [&minus(&ORDER, r)[..], s].concat()));
    cases.push(("DER".into(), der(r, s)));
    cases.push(("DER, 64 bytes of it".into(), der(r, s)[..64].to_vec()));
    cases.push(("each number with a leading zero".into(), [&[0], r, &[0], s].concat()));
    cases.push(("each number reversed".into(), r.iter().rev().chain(s.iter().rev()).copied().collect()));
    cases.push(("s missing".into(), r.to_vec()));
    cases.push(("twice".into(), signature.repeat(2)));
    for length in [1, 31, 32, 33, 63] {
        cases.push((format!("{length} bytes"), signature[..length].to_vec()));
        cases.push((format!("{length} bytes of zeros"), vec![0; length]));
    }
    for length in [65, 72, 96, 128, 256, 4096] {
        let mut longer = signature.clone();
        longer.resize(length, 0);
        cases.push((format!("{length} bytes"), longer));
    }
    for (cause, signature) in cases {
        let (input, _) = good.rsplit_once('.').unwrap();
        is_inactive(&introspect(&world, &own, &format!("{input}.{}", b64(signature))).await, &cause);
    }
    assert_eq!(introspect(&world, &own, &good).await.ok()["active"], true);
}

async fn serializations_that_only_look_alike_are_inactive_rfc7515_2(world: World) {
    for alg in ["ES256", "EdDSA", "RS256"] {
        let own = registration(&world, "production", alg).await;
        let good = token(&world, &own).await;
        assert_eq!(Parts::of(&good).header["alg"], alg);
        let parts: Vec<&str> = good.split('.').collect();
        let header = String::from_utf8(unb64(parts[0])).unwrap();
        let claims = String::from_utf8(unb64(parts[1])).unwrap();
        let inner = header.trim_matches(['{', '}']).to_owned();
        let headers = [
            format!("{{ {inner}}}"),
            format!("{{{inner} }}"),
            format!("{{{inner}}}\n"),
            format!("\u{feff}{header}"),
            format!("{{\"alg\":\"none\",{inner}}}"),
            format!("{{{inner},\"alg\":\"none\"}}"),
            format!("{{{inner},\"alg\":\"{alg}\"}}"),
            format!("{{{inner},\"kid\":\"x\"}}"),
            format!("{{{inner},\"b64\":false,\"crit\":[\"b64\"]}}"),
            format!("{{{inner},\"crit\":[\"\"]}}"),
            format!("{{{inner},\"x\":\"{}\"}}", "a".repeat(30_000)),
            format!("[{header}]"),
            header.replace(alg, &format!("{alg}\\u0000")),
            header.replace(alg, &alg.to_lowercase()),
            header.replacen("alg", "\\u0061lg", 1),
            header.to_uppercase(),
            "{}".to_owned(),
            "null".to_owned(),
            String::new(),
        ];
        let mut tokens: Vec<String> =
            headers.iter().map(|header| format!("{}.{}.{}", b64(header), parts[1], parts[2])).collect();
        let all_claims =
            [format!("{claims} "), format!(" {claims}"), claims.replace(',', ", "), String::new()];
        tokens.extend(all_claims.iter().map(|claims| format!("{}.{}.{}", parts[0], b64(claims), parts[2])));
        for at in 0..3 {
            for change in [with_unused_bits, padded, of_the_other_alphabet, with_a_break, cut, doubled] {
                let mut parts = parts.clone();
                let changed = change(parts[at]);
                parts[at] = &changed;
                tokens.push(parts.join("."));
            }
        }
        for token in tokens.iter().filter(|token| **token != good) {
            let cause = format!("{alg}: {}", token.chars().take(300).collect::<String>());
            is_inactive(&introspect(&world, &own, token).await, &cause);
        }
        assert!(tokens.len() >= 40, "{}", tokens.len());
        assert_eq!(introspect(&world, &own, &good).await.ok()["active"], true);
    }
}

async fn a_token_of_each_algorithm_is_inactive_under_each_other_one_rfc8725_3_1(world: World) {
    let mut tokens = Vec::new();
    for alg in ["ES256", "EdDSA", "RS256"] {
        let own = registration(&world, "production", alg).await;
        let token = token(&world, &own).await;
        assert_eq!(Parts::of(&token).header["alg"], alg);
        tokens.push((own, token));
    }
    for (own, good) in &tokens {
        assert_eq!(introspect(&world, own, good).await.ok()["active"], true, "an earlier key still counts");
        for (_, other) in tokens.iter().filter(|(_, other)| other != good) {
            let (ours, theirs): (Vec<_>, Vec<_>) = (good.split('.').collect(), other.split('.').collect());
            for mixed in [
                [theirs[0], ours[1], ours[2]],
                [ours[0], ours[1], theirs[2]],
                [theirs[0], ours[1], theirs[2]],
            ] {
                is_inactive(&introspect(&world, own, &mixed.join(".")).await, &mixed.join("."));
            }
        }
    }
}

/// The last character carries bits that no byte has: two texts of one value, of which one is canonical (RFC 4648 §3.5).
fn with_unused_bits(part: &str) -> String {
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let unused = [0, 0, 4, 2][part.len() % 4];
    let (rest, last) = part.split_at(part.len() - 1);
    let at = alphabet.find(last).unwrap();
    // With no unused bits this is another value, which is no less wrong.
    format!("{rest}{}", &alphabet[at ^ (1 << (unused / 2))..][..1])
}

fn padded(part: &str) -> String {
    format!("{part}{}", "=".repeat((4 - part.len() % 4) % 4 + 4 * usize::from(part.len().is_multiple_of(4))))
}

fn of_the_other_alphabet(part: &str) -> String {
    format!("{}+/", &part[..part.len() - 2])
}

fn with_a_break(part: &str) -> String {
    format!("{}\r\n{}", &part[..2], &part[2..])
}

fn cut(part: &str) -> String {
    part[..part.len() - 1].to_owned()
}

fn doubled(part: &str) -> String {
    part.repeat(2)
}

/// A signature as ASN.1 has it (RFC 3279 §2.2.3).
fn der(r: &[u8], s: &[u8]) -> Vec<u8> {
    let integer = |bytes: &[u8]| {
        let bytes = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
        let sign: &[u8] = if bytes[0] & 0x80 != 0 { &[0] } else { &[] };
        [&[2, (sign.len() + bytes.len()) as u8], sign, bytes].concat()
    };
    let both = [integer(r), integer(s)].concat();
    [&[0x30, both.len() as u8], &both[..]].concat()
}

fn small(value: u8) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[31] = value;
    bytes
}

fn minus(left: &[u8], right: &[u8]) -> [u8; 32] {
    combine(left, right, |left, right, carry| left - right - carry)
}

fn plus(left: &[u8], right: &[u8]) -> [u8; 32] {
    combine(left, right, |left, right, carry| left + right + carry)
}

fn combine(left: &[u8], right: &[u8], digit: impl Fn(i32, i32, i32) -> i32) -> [u8; 32] {
    let (mut result, mut carry) = ([0; 32], 0);
    for at in (0..32).rev() {
        let value = digit(left[at].into(), right[at].into(), carry);
        result[at] = value.rem_euclid(256) as u8;
        carry = i32::from(!(0..256).contains(&value));
    }
    result
}
