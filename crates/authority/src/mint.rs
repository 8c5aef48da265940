//! Access tokens: RFC 9068 JWTs, written without a JSON library on the request path and read back with one.

use crate::{
    clock::{MAX_OFFSET, Moment},
    seen::{self, Seen},
    signing::{Environment, SigningKey},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use crossfade_core::{OauthClientId, SecretId, Timestamp};
use serde::Deserialize;

/// Content of a token.
#[derive(Clone, Copy)]
pub(crate) struct Content<'a> {
    pub(crate) client_id: &'a OauthClientId,
    /// `None`: the issuer itself.
    pub(crate) audience: Option<&'a str>,
    pub(crate) secret: &'a SecretId,
    pub(crate) scope: &'a str,
    /// Time of issue by the machine's clock.
    pub(crate) issued_at: Timestamp,
    pub(crate) ttl_seconds: u32,
    pub(crate) jti: &'a str,
    /// Token generation of the registration.
    pub(crate) generation: i64,
}

/// Writes the claims of a token (RFC 9068 §2.2; `sub` is the client itself, §2.2.3).
pub(crate) fn claims(issuer: &str, content: &Content<'_>) -> String {
    let Content { client_id, audience, secret, scope, issued_at, ttl_seconds, jti, generation } = *content;
    let audience = audience.unwrap_or(issuer);
    let client_id = client_id.as_str();
    let iat = issued_at.as_seconds();
    let mut claims = String::with_capacity(issuer.len() + audience.len() + scope.len() + 300);
    let mut put = |texts: &[&str]| texts.iter().for_each(|text| claims.push_str(text));
    // Nothing here contains a character that JSON would escape: ids are base62; issuer, audience and scopes are visible
    // ASCII without quote and backslash, which is checked at input.
    put(&["{\"iss\":\"", issuer, "\",\"sub\":\"", client_id, "\",\"client_id\":\"", client_id]);
    put(&["\",\"aud\":\"", audience, "\",\"iat\":", Decimal::of(iat).as_str()]);
    put(&[",\"exp\":", Decimal::of(iat + i64::from(ttl_seconds)).as_str(), ",\"jti\":\"", jti]);
    put(&["\",\"crossfade_secret\":\"", secret.as_str(), "\""]);
    if !scope.is_empty() {
        put(&[",\"scope\":\"", scope, "\""]);
    }
    // Most registrations were never disabled, and their tokens are as before.
    if generation > 0 {
        put(&[",\"crossfade_generation\":", Decimal::of(generation).as_str()]);
    }
    put(&["}"]);
    claims
}

/// Returns the length of the token with these claims.
pub(crate) fn token_length(key: &SigningKey, claims: &str) -> usize {
    let encoded = |bytes: usize| bytes.saturating_mul(4).div_ceil(3);
    key.header().len() + encoded(claims.len()) + 1 + encoded(key.signature_bytes())
}

/// Appends the signed token with these claims.
pub(crate) fn sign(key: &SigningKey, claims: &str, out: &mut String) -> Option<()> {
    let start = out.len();
    out.push_str(key.header());
    URL_SAFE_NO_PAD.encode_string(claims, out);
    let mut signature = Vec::with_capacity(key.signature_bytes());
    key.sign(&out.as_bytes()[start..], &mut signature)?;
    out.push('.');
    URL_SAFE_NO_PAD.encode_string(&signature, out);
    Some(())
}

/// A number in decimal digits, written without allocating.
struct Decimal {
    digits: [u8; 20],
    start: usize,
}

impl Decimal {
    fn of(number: i64) -> Self {
        let mut decimal = Self { digits: [0; 20], start: 20 };
        let mut rest = number.unsigned_abs();
        while rest > 0 || decimal.start == 20 {
            decimal.put(b'0' + (rest % 10) as u8);
            rest /= 10;
        }
        if number < 0 {
            decimal.put(b'-');
        }
        decimal
    }

    fn put(&mut self, byte: u8) {
        self.start -= 1;
        self.digits[self.start] = byte;
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.digits[self.start..]).unwrap_or_default()
    }
}

/// Claims of a token that this server issued.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Claims {
    /// The issuer.
    pub iss: String,
    /// The subject: the client.
    pub sub: String,
    /// The client.
    pub client_id: String,
    /// The audience.
    pub aud: String,
    /// Time of issue, in seconds.
    pub iat: i64,
    /// Expiry, in seconds.
    pub exp: i64,
    /// ID.
    pub jti: String,
    /// Secret it was obtained with.
    pub crossfade_secret: String,
    /// Its scope.
    pub scope: Option<String>,
    /// Number of times its registration had been disabled when the token was issued.
    #[serde(default)]
    pub crossfade_generation: i64,
}

/// Reads a token that this environment signed and that has not expired at this moment, by the machine's clock, which
/// its times come from. A signature that takes long to verify is verified once, and remembered in `seen`.
pub(crate) fn read(environment: &Environment, token: &str, at: &Moment, seen: &Seen) -> Option<Claims> {
    let parts = Parts::of(environment, token, at)?;
    let digest = (!parts.key.signs_equally()).then(|| seen::digest(token));
    let is_known = digest.is_some_and(|digest| seen.has(&digest, at.machine));
    if !is_known && !parts.is_signed() {
        return None;
    }
    let claims = parts.claims(environment).filter(|claims| !has_ended(claims, at))?;
    if let Some(digest) = digest.filter(|_| !is_known) {
        seen.note(digest, Timestamp::from_seconds(claims.exp));
    }
    Some(claims)
}

/// Reads a token that this environment signed, expired or not, with a key that is published at this moment.
pub(crate) fn verified(environment: &Environment, token: &str, at: &Moment) -> Option<Claims> {
    Parts::of(environment, token, at).filter(Parts::is_signed)?.claims(environment)
}

/// The parts of a token, with the key that its header names.
struct Parts<'a> {
    key: &'a SigningKey,
    /// What is signed: header and payload.
    input: &'a str,
    payload: &'a str,
    signature: &'a str,
}

impl<'a> Parts<'a> {
    /// Finds the parts of a token with a key that is published at this moment.
    ///
    /// The encoded header must be, byte for byte, one that a published key of the environment writes. Therefore there is
    /// no `alg` to confuse, no `kid` to inject, no `crit` or `jwk` to interpret (RFC 8725 §3.1, §3.10), and no other kind
    /// of JWT is accepted as an access token (§3.12).
    fn of(environment: &'a Environment, token: &'a str, at: &Moment) -> Option<Self> {
        let (input, signature) = token.rsplit_once('.')?;
        let dot = input.find('.')?;
        let (header, payload) = input.split_at(dot + 1);
        let key = environment.key_of_header(header, at.now)?;
        Some(Self { key, input, payload, signature })
    }

    fn is_signed(&self) -> bool {
        let signature = URL_SAFE_NO_PAD.decode(self.signature);
        signature.is_ok_and(|signature| self.key.verify(self.input.as_bytes(), &signature))
    }

    fn claims(&self, environment: &Environment) -> Option<Claims> {
        let payload = URL_SAFE_NO_PAD.decode(self.payload).ok()?;
        let claims: Claims = serde_json::from_slice(&payload).ok()?;
        (claims.iss == environment.issuer()).then_some(claims)
    }
}

/// Whether a token has expired. A token issued before the machine's clock was set back stays valid, but its lifetime
/// has continued to run since then.
fn has_ended(claims: &Claims, at: &Moment) -> bool {
    let (issued_at, ends_at) = (Timestamp::from_seconds(claims.iat), Timestamp::from_seconds(claims.exp));
    let is_ahead = issued_at > at.machine.after(MAX_OFFSET);
    at.machine >= ends_at || (is_ahead && at.latest >= ends_at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::hmac;
    use crossfade_core::{
        environment::{SigningAlg, Slug},
        signing_key::KeyTimes,
    };
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use std::sync::LazyLock;

    const ISSUER: &str = "https://auth.example.com/staging";
    const CLIENT: &str = "0000000000000000000001";
    const SECRET: &str = "sec_0000000000000000000001";
    const IAT: i64 = 1_795_525_500;

    /// Calls [`super::read`] with the same time for every clock.
    fn read(environment: &Environment, token: &str, now: Timestamp) -> Option<Claims> {
        let at = Moment { now, machine: now, earliest: now, latest: now };
        let said = super::read(environment, token, &at, &SEEN);
        assert_eq!(super::read(environment, token, &at, &SEEN), said, "the second time as the first");
        said
    }

    /// Returns the time half a second after [`IAT`].
    fn now() -> Timestamp {
        Timestamp::from_micros(IAT * 1_000_000 + 500_000)
    }

    fn environment(alg: SigningAlg) -> Environment {
        let times = KeyTimes { active_from: Timestamp::from_seconds(0), removed_at: None };
        let key = SigningKey::parse(alg, &SigningKey::generate(alg).unwrap(), times).unwrap();
        Environment::new(Slug::parse("slug", "staging").unwrap(), ISSUER.to_owned(), vec![key])
    }

    static SEEN: LazyLock<Seen> = LazyLock::new(Seen::new);
    static ES256: LazyLock<Environment> = LazyLock::new(|| environment(SigningAlg::ES256));
    static EDDSA: LazyLock<Environment> = LazyLock::new(|| environment(SigningAlg::EdDSA));

    fn key(environment: &Environment) -> &SigningKey {
        environment.signing_key(now()).unwrap()
    }

    fn token(environment: &Environment) -> String {
        let (client_id, secret) = (OauthClientId::parse(CLIENT).unwrap(), SecretId::parse(SECRET).unwrap());
        let content = Content {
            client_id: &client_id,
            audience: None,
            secret: &secret,
            scope: "read write",
            issued_at: now(),
            ttl_seconds: 60,
            jti: "jti",
            generation: 0,
        };
        let claims = super::claims(environment.issuer(), &content);
        let mut token = String::new();
        sign(key(environment), &claims, &mut token).unwrap();
        assert_eq!(token.len(), token_length(key(environment), &claims));
        token
    }

    fn b64(bytes: impl AsRef<[u8]>) -> String {
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn claims() -> Value {
        json!({
            "iss": ISSUER, "sub": CLIENT, "client_id": CLIENT, "aud": ISSUER, "iat": IAT, "exp": IAT + 60,
            "jti": "jti", "crossfade_secret": SECRET, "scope": "read write",
        })
    }

    /// Signs any input with the environment's own key. That is stronger than any attacker, so that refusals are due to
    /// the form and not to the signature.
    fn forge(environment: &Environment, header: &str, payload: &str) -> String {
        let input = format!("{}.{}", b64(header), b64(payload));
        let mut signature = Vec::new();
        key(environment).sign(input.as_bytes(), &mut signature).unwrap();
        format!("{input}.{}", b64(signature))
    }

    fn own_header(environment: &Environment) -> String {
        let header = URL_SAFE_NO_PAD.decode(key(environment).header().trim_end_matches('.')).unwrap();
        String::from_utf8(header).unwrap()
    }

    #[test]
    fn a_token_of_ours_is_read_until_but_not_at_its_end() {
        for environment in [&*ES256, &*EDDSA] {
            let token = token(environment);
            let expected: Claims = serde_json::from_value(claims()).unwrap();
            let end = Timestamp::from_seconds(IAT + 60);
            let micro = std::time::Duration::from_micros(1);
            assert_eq!(read(environment, &token, now()), Some(expected.clone()));
            assert_eq!(read(environment, &token, end.before(micro)), Some(expected));
            assert_eq!(read(environment, &token, end), None);
            assert_eq!(read(environment, &token, end.after(micro)), None);
        }
    }

    #[test]
    fn the_forger_of_these_tests_forges_well() {
        let forged = forge(&ES256, &own_header(&ES256), &claims().to_string());
        assert!(read(&ES256, &forged, now()).is_some());
    }

    /// RFC 8725 §3.1, §3.10, §3.12; RFC 7515 §4.1.11. All but the last two are signed by the right key.
    #[test]
    fn only_our_own_header_byte_for_byte_is_read() {
        let environment = &*ES256;
        let own = own_header(environment);
        let kid = key(environment).kid();
        let jwk = environment.jwks(now())["keys"][0].to_string();
        let other = own_header(&EDDSA);
        let headers = [
            r#"{"alg":"none"}"#.to_owned(),
            format!(r#"{{"alg":"none","kid":"{kid}","typ":"at+jwt"}}"#),
            format!(r#"{{"alg":"None","kid":"{kid}","typ":"at+jwt"}}"#),
            format!(r#"{{"alg":"HS256","kid":"{kid}","typ":"at+jwt"}}"#),
            format!(r#"{{"alg":"EdDSA","kid":"{kid}","typ":"at+jwt"}}"#),
            format!(r#"{{"alg":"es256","kid":"{kid}","typ":"at+jwt"}}"#),
            // The same members in another order, or written differently.
            format!(r#"{{"kid":"{kid}","alg":"ES256","typ":"at+jwt"}}"#),
            format!(r#"{{"typ":"at+jwt","kid":"{kid}","alg":"ES256"}}"#),
            format!(r#"{{"alg": "ES256", "kid": "{kid}", "typ": "at+jwt"}}"#),
            format!(r#"{{"\u0061lg":"ES256","kid":"{kid}","typ":"at+jwt"}}"#),
            format!("{own} "),
            format!(" {own}"),
            // Other kinds of JWT.
            format!(r#"{{"alg":"ES256","kid":"{kid}","typ":"JWT"}}"#),
            format!(r#"{{"alg":"ES256","kid":"{kid}","typ":"AT+JWT"}}"#),
            format!(r#"{{"alg":"ES256","kid":"{kid}","typ":"application/at+jwt"}}"#),
            format!(r#"{{"alg":"ES256","kid":"{kid}"}}"#),
            // More members, fewer, and others.
            format!(r#"{{"alg":"ES256","crit":["exp"],"exp":1,"kid":"{kid}","typ":"at+jwt"}}"#),
            format!(r#"{{"alg":"ES256","b64":false,"crit":["b64"],"kid":"{kid}","typ":"at+jwt"}}"#),
            format!(r#"{{"alg":"ES256","jwk":{jwk},"kid":"{kid}","typ":"at+jwt"}}"#),
            format!(r#"{{"alg":"ES256","jku":"https://evil.example/jwks","kid":"{kid}","typ":"at+jwt"}}"#),
            format!(r#"{{"alg":"ES256","kid":"{kid}","typ":"at+jwt","x5u":"https://evil.example/"}}"#),
            format!(r#"{{"alg":"ES256","alg":"none","kid":"{kid}","typ":"at+jwt"}}"#),
            format!(r#"{{"alg":"ES256","kid":"{kid}","typ":"at+jwt","zip":"DEF"}}"#),
            format!(r#"{{"alg":"ES256","kid":"../{kid}","typ":"at+jwt"}}"#),
            r#"{"alg":"ES256","kid":"","typ":"at+jwt"}"#.to_owned(),
            r#"{"alg":"ES256","typ":"at+jwt"}"#.to_owned(),
            "{}".to_owned(),
            String::new(),
            "null".to_owned(),
            // Another environment's key.
            other,
        ];
        for header in headers {
            assert_ne!(header, own);
            let forged = forge(environment, &header, &claims().to_string());
            assert_eq!(read(environment, &forged, now()), None, "{header}");
        }
    }

    /// RFC 8725 §2.1: the public key as an HMAC key, and no signature at all.
    #[test]
    fn a_public_key_is_no_hmac_key_and_none_is_no_signature() {
        let environment = &*ES256;
        let kid = key(environment).kid();
        let jwks = environment.jwks(now());
        let jwk = &jwks["keys"][0];
        let x = URL_SAFE_NO_PAD.decode(jwk["x"].as_str().unwrap()).unwrap();
        let y = URL_SAFE_NO_PAD.decode(jwk["y"].as_str().unwrap()).unwrap();
        let point = [&[4][..], &x, &y].concat();
        let own = own_header(environment);
        for public in [&point, &x, jwk.to_string().as_bytes(), jwks.to_string().as_bytes(), b"".as_slice()] {
            let hmac_key = hmac::Key::new(hmac::HMAC_SHA256, public);
            for header in [&own, &format!(r#"{{"alg":"HS256","kid":"{kid}","typ":"at+jwt"}}"#)] {
                let input = format!("{}.{}", b64(header), b64(claims().to_string()));
                let tag = hmac::sign(&hmac_key, input.as_bytes());
                assert_eq!(read(environment, &format!("{input}.{}", b64(tag)), now()), None);
            }
        }
        for header in [own, r#"{"alg":"none"}"#.to_owned()] {
            let input = format!("{}.{}", b64(header), b64(claims().to_string()));
            for signature in
                ["".to_owned(), b64([0; 64]), b64([255; 64]), b64([0]), b64([1; 63]), b64([1; 65])]
            {
                assert_eq!(read(environment, &format!("{input}.{signature}"), now()), None);
            }
        }
    }

    #[test]
    fn a_token_in_any_other_shape_is_not_read() {
        let environment = &*ES256;
        let token = token(environment);
        let [header, payload, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!() };
        let json_form = json!({"protected": header, "payload": payload, "signature": signature}).to_string();
        let standard = |text: &str| text.replace('-', "+").replace('_', "/");
        let mut shapes = vec![
            String::new(),
            ".".to_owned(),
            "..".to_owned(),
            "...".to_owned(),
            header.to_owned(),
            format!("{header}."),
            format!("{header}.."),
            format!("{header}.{payload}"),
            format!("{header}.{payload}."),
            format!("{header}..{signature}"),
            format!(".{payload}.{signature}"),
            format!("{header}{payload}.{signature}"),
            format!("{header}.{payload}{signature}"),
            format!("{header}.{payload}..{signature}"),
            format!("{header}..{payload}.{signature}"),
            format!("{token}."),
            format!(".{token}"),
            format!("{token}.{signature}"),
            format!("{header}.{token}"),
            format!("{payload}.{header}.{signature}"),
            format!("{header}.{signature}.{payload}"),
            format!("{token}{token}"),
            format!("{token},{token}"),
            // Five parts: a JWE (RFC 7516 §3.1).
            format!("{header}.{payload}.{payload}.{payload}.{signature}"),
            json_form,
            // Padding, which RFC 7515 §2 leaves off.
            format!("{token}="),
            format!("{token}=="),
            format!("{header}=.{payload}.{signature}"),
            format!("{header}.{payload}=.{signature}"),
            format!("{header}.{payload}==.{signature}"),
            // White space, which nothing in RFC 7519 allows.
            format!(" {token}"),
            format!("{token} "),
            format!("{token}\n"),
            format!("{header}. {payload}.{signature}"),
            format!("{header} .{payload}.{signature}"),
            format!("{header}.{payload}.\t{signature}"),
            format!("{header}.\r\n {payload}.{signature}"),
            format!("{}\n{}", &token[..76], &token[76..]),
            // Characters outside the alphabet.
            format!("{token}\0"),
            format!("{header}.{payload}.{signature}é"),
            format!("\u{feff}{token}"),
            token.replace('.', "%2E"),
            token.replace('.', "\u{2024}"),
            token.to_lowercase(),
            token.to_uppercase(),
            format!("Bearer {token}"),
            // Huge.
            "a".repeat(10_000_000),
            ".".repeat(10_000_000),
            format!("{header}.{}.{signature}", "e".repeat(10_000_000)),
            format!("{token}{}", "A".repeat(10_000_000)),
        ];
        if standard(&token) != token {
            shapes.push(standard(&token));
        }
        for shape in shapes {
            assert_eq!(
                read(environment, &shape, now()),
                None,
                "{}",
                &shape[..shape.floor_char_boundary(300)]
            );
        }
    }

    /// A signature whose encoding uses the letters in which the two alphabets differ (RFC 4648 §4, §5).
    #[test]
    fn only_the_url_safe_alphabet_is_read() {
        let environment = &*ES256;
        let token = std::iter::repeat_with(|| token(environment))
            .find(|token| token.rsplit('.').next().is_some_and(|last| last.contains(['-', '_'])))
            .unwrap();
        assert!(read(environment, &token, now()).is_some());
        let (input, signature) = token.rsplit_once('.').unwrap();
        let standard = signature.replace('-', "+").replace('_', "/");
        assert_eq!(read(environment, &format!("{input}.{standard}"), now()), None);
    }

    /// 86 digits carry four bits more than 64 bytes. A reader that ignores them would know one token under
    /// sixteen texts.
    #[test]
    fn the_unused_bits_of_the_last_digit_are_not_ignored() {
        for environment in [&*ES256, &*EDDSA] {
            let token = token(environment);
            let mut accepted = 0;
            for last in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".chars() {
                let other = format!("{}{last}", &token[..token.len() - 1]);
                accepted += usize::from(read(environment, &other, now()).is_some());
            }
            assert_eq!(accepted, 1);
        }
    }

    /// Claims that only a bug of ours could sign are not read as something else.
    #[test]
    fn claims_that_are_not_ours_are_not_read() {
        let environment = &*ES256;
        let header = own_header(environment);
        let refused = |claims: &Value| {
            let forged = forge(environment, &header, &claims.to_string());
            assert_eq!(read(environment, &forged, now()), None, "{claims}");
        };
        for name in ["iss", "sub", "client_id", "aud", "iat", "exp", "jti", "crossfade_secret"] {
            let mut without = claims();
            without.as_object_mut().unwrap().remove(name);
            refused(&without);
        }
        for (name, value) in [
            ("iss", json!("https://auth.example.com/production")),
            ("iss", json!("https://auth.example.com/staging/")),
            ("iss", json!("https://AUTH.example.com/staging")),
            ("iss", json!("")),
            ("iss", json!([ISSUER])),
            ("iss", json!(null)),
            ("exp", json!(IAT)),
            ("exp", json!(0)),
            ("exp", json!(-1)),
            ("exp", json!(i64::MIN)),
            ("exp", json!(1e30)),
            ("exp", json!((IAT + 60).to_string())),
            ("exp", json!(IAT as f64 + 60.5)),
            ("exp", json!(u64::MAX)),
            ("exp", json!(null)),
            ("client_id", json!(1)),
            ("jti", json!(null)),
            ("scope", json!(["read"])),
        ] {
            let mut changed = claims();
            changed[name] = value;
            refused(&changed);
        }
        for payload in ["", "{}", "[]", "null", "\"\"", "1", "{", "\u{0}", &"[".repeat(100_000)] {
            assert_eq!(read(environment, &forge(environment, &header, payload), now()), None);
        }
        // A duplicate name is not "the last one wins" (RFC 8725 §2.4, RFC 8259 §4).
        let twice = claims().to_string().replacen('{', &format!(r#"{{"exp":{},"#, IAT + 9999), 1);
        assert_eq!(read(environment, &forge(environment, &header, &twice), now()), None);
        let not_utf8 = [b"{\"iss\":\"\xff\"}".as_slice()].concat();
        let input = format!("{}{}", key(environment).header(), b64(not_utf8));
        let mut signature = Vec::new();
        key(environment).sign(input.as_bytes(), &mut signature).unwrap();
        assert_eq!(read(environment, &format!("{input}.{}", b64(signature)), now()), None);
    }

    /// ECDSA allows anyone to turn a signature (r, s) into (r, n - s). Such a token has the same content and the same
    /// `jti`; revocation uses the `jti` and never the text, so nothing is gained.
    #[test]
    fn a_turned_ecdsa_signature_does_not_change_what_a_token_says() {
        const N: [u8; 32] = [
            0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
            0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
        ];
        let token = token(&ES256);
        let (input, signature) = token.rsplit_once('.').unwrap();
        let mut signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let mut borrow = 0;
        for at in (0..32).rev() {
            let difference = i16::from(N[at]) - i16::from(signature[32 + at]) - borrow;
            borrow = i16::from(difference < 0);
            signature[32 + at] = difference.rem_euclid(256) as u8;
        }
        let turned = format!("{input}.{}", b64(signature));
        assert_ne!(turned, token);
        let said = read(&ES256, &turned, now());
        assert!(said.is_none() || said == read(&ES256, &token, now()));
    }

    #[derive(Clone, Debug)]
    enum Change {
        Replace(char),
        Insert(char),
        Remove,
        Truncate,
        Repeat,
        SwapWithNext,
        FlipBit(u8),
    }

    fn change() -> impl Strategy<Value = Change> {
        let digit =
            proptest::char::ranges(vec!['a'..='z', 'A'..='Z', '0'..='9', '-'..='.', '_'..='_'].into());
        let any = prop_oneof![3 => digit, 1 => proptest::char::any()].boxed();
        prop_oneof![
            any.clone().prop_map(Change::Replace),
            any.prop_map(Change::Insert),
            Just(Change::Remove),
            Just(Change::Truncate),
            Just(Change::Repeat),
            Just(Change::SwapWithNext),
            (0u8..7).prop_map(Change::FlipBit),
        ]
    }

    fn apply(change: &Change, at: usize, token: &str) -> String {
        let mut characters: Vec<char> = token.chars().collect();
        match *change {
            Change::Replace(character) => characters[at] = character,
            Change::Insert(character) => characters.insert(at, character),
            Change::Remove => drop(characters.remove(at)),
            Change::Truncate => characters.truncate(at),
            Change::Repeat => characters.extend_from_within(at..),
            Change::SwapWithNext if at + 1 < characters.len() => characters.swap(at, at + 1),
            Change::SwapWithNext => {}
            Change::FlipBit(bit) => characters[at] = char::from(characters[at] as u8 ^ 1 << bit),
        }
        characters.into_iter().collect()
    }

    proptest! {
        #[test]
        fn no_changed_token_is_ever_read(
            eddsa in any::<bool>(), change in change(), at in any::<proptest::sample::Index>()
        ) {
            let environment: &Environment = if eddsa { &EDDSA } else { &ES256 };
            let token = token(environment);
            prop_assert!(read(environment, &token, now()).is_some());
            let changed = apply(&change, at.index(token.len()), &token);
            if changed != token {
                prop_assert_eq!(read(environment, &changed, now()), None, "{}", changed);
            }
        }

        #[test]
        fn no_text_is_ever_read_or_makes_the_reader_panic(text in any::<String>()) {
            prop_assert_eq!(read(&ES256, &text, now()), None);
        }

        /// Reaches further in than plain text does: the header is right, the rest is anything.
        #[test]
        fn nothing_behind_our_header_is_read_unless_we_signed_it(
            payload in proptest::collection::vec(any::<u8>(), 0..300),
            signature in proptest::collection::vec(any::<u8>(), 0..80),
            raw in any::<String>(),
        ) {
            let header = key(&ES256).header();
            for rest in [format!("{}.{}", b64(&payload), b64(&signature)), raw] {
                prop_assert_eq!(read(&ES256, &format!("{header}{rest}"), now()), None);
            }
        }

        /// Further still: the signature is right too.
        #[test]
        fn no_signed_payload_makes_the_reader_panic(payload in any::<String>(), exp in any::<i64>()) {
            let header = own_header(&ES256);
            prop_assert_eq!(read(&ES256, &forge(&ES256, &header, &payload), now()), None);
            let mut changed = claims();
            changed["exp"] = exp.into();
            let alive = read(&ES256, &forge(&ES256, &header, &changed.to_string()), now());
            prop_assert_eq!(alive.is_some(), exp > IAT);
        }
    }
}
