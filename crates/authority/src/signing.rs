//! Signing keys and the environments that they sign for.

use aws_lc_rs::{
    digest::{SHA256, digest},
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
        ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair,
    },
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use crossfade_core::{
    Timestamp,
    environment::{SigningAlg, Slug},
    signing_key::{self, KeyTimes},
    upstream::{IssuerMode, UnregisteredClients, Upstream},
};
use serde_json::{Value, json};
use std::sync::Arc;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The bytes are not a private key of the algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a private key of this algorithm")]
pub struct InvalidKey;

/// A private key, with its public key where that verifies.
enum Pair {
    Es256(EcdsaKeyPair, ParsedPublicKey),
    EdDsa(Ed25519KeyPair),
    Rs256(RsaKeyPair, ParsedPublicKey),
}

/// A key that signs access tokens, parsed once. Each key has one algorithm.
pub struct SigningKey {
    kid: String,
    times: KeyTimes,
    pair: Pair,
    jwk: Value,
    /// The encoded JOSE header with its dot, which is the same for every token of this key.
    header: String,
}

impl SigningKey {
    /// Generates a private key (PKCS #8).
    pub fn generate(alg: SigningAlg) -> Result<Zeroizing<Vec<u8>>, InvalidKey> {
        let rng = SystemRandom::new();
        let document = match alg {
            SigningAlg::ES256 => EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &rng)
                .map_err(|_| InvalidKey)?
                .as_ref()
                .to_vec(),
            SigningAlg::EdDSA => {
                Ed25519KeyPair::generate_pkcs8(&rng).map_err(|_| InvalidKey)?.as_ref().to_vec()
            }
            SigningAlg::RS256 => {
                let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| InvalidKey)?;
                let der: aws_lc_rs::encoding::Pkcs8V1Der<'static> =
                    aws_lc_rs::encoding::AsDer::as_der(&pair).map_err(|_| InvalidKey)?;
                der.as_ref().to_vec()
            }
        };
        Ok(Zeroizing::new(document))
    }

    /// Parses a private key and derives everything public from it.
    pub fn parse(alg: SigningAlg, pkcs8: &[u8], times: KeyTimes) -> Result<Self, InvalidKey> {
        let (pair, mut jwk) = match alg {
            SigningAlg::ES256 => {
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8)
                    .map_err(|_| InvalidKey)?;
                // An uncompressed point: 0x04, x, y (SEC 1 §2.3.3).
                let point = pair.public_key().as_ref();
                let (x, y) = (point.get(1..33).ok_or(InvalidKey)?, point.get(33..65).ok_or(InvalidKey)?);
                let jwk = json!({"crv": "P-256", "kty": "EC", "x": b64(x), "y": b64(y)});
                let public = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).map_err(|_| InvalidKey)?;
                (Pair::Es256(pair, public), jwk)
            }
            SigningAlg::EdDSA => {
                let pair = Ed25519KeyPair::from_pkcs8(pkcs8).map_err(|_| InvalidKey)?;
                let jwk = json!({"crv": "Ed25519", "kty": "OKP", "x": b64(pair.public_key().as_ref())});
                (Pair::EdDsa(pair), jwk)
            }
            SigningAlg::RS256 => {
                let pair = RsaKeyPair::from_pkcs8(pkcs8).map_err(|_| InvalidKey)?;
                let public = pair.public_key();
                let e = public.exponent().big_endian_without_leading_zero();
                let n = public.modulus().big_endian_without_leading_zero();
                let jwk = json!({"e": b64(e), "kty": "RSA", "n": b64(n)});
                let parsed = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public.as_ref());
                let parsed = parsed.map_err(|_| InvalidKey)?;
                (Pair::Rs256(pair, parsed), jwk)
            }
        };
        // RFC 7638: the hash of the required members in lexicographic order, which is serde_json's order.
        let kid = b64(digest(&SHA256, jwk.to_string().as_bytes()).as_ref());
        if let Some(members) = jwk.as_object_mut() {
            for (name, value) in [("kid", kid.as_str()), ("use", "sig"), ("alg", alg.as_str())] {
                members.insert(name.to_owned(), value.into());
            }
        }
        let header = json!({"alg": alg.as_str(), "kid": kid, "typ": "at+jwt"}).to_string();
        let header = format!("{}.", b64(header.as_bytes()));
        Ok(Self { kid, times, pair, jwk, header })
    }

    /// Returns the RFC 7638 thumbprint, which identifies the key.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Returns when the key signs and is published.
    pub fn times(&self) -> KeyTimes {
        self.times
    }

    pub(crate) fn header(&self) -> &str {
        &self.header
    }

    /// Signs (RFC 7515 §5.1). `None` if the library refuses, which does not happen for a key that it has parsed.
    pub(crate) fn sign(&self, input: &[u8], signature: &mut Vec<u8>) -> Option<()> {
        match &self.pair {
            Pair::Es256(pair, _) => {
                signature.extend_from_slice(pair.sign(&SystemRandom::new(), input).ok()?.as_ref());
            }
            Pair::EdDsa(pair) => signature.extend_from_slice(pair.try_sign(input).ok()?.as_ref()),
            Pair::Rs256(pair, _) => {
                signature.resize(pair.public_modulus_len(), 0);
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), input, signature).ok()?;
            }
        }
        Some(())
    }

    /// Returns the length of a signature.
    pub(crate) fn signature_bytes(&self) -> usize {
        match &self.pair {
            Pair::Es256(..) | Pair::EdDsa(_) => 64,
            Pair::Rs256(pair, _) => pair.public_modulus_len(),
        }
    }

    /// Whether it signs the same content with the same signature each time (RFC 8032 §5.1.6), faster than a public key
    /// verifies.
    pub(crate) fn signs_equally(&self) -> bool {
        matches!(self.pair, Pair::EdDsa(_))
    }

    /// Whether this key made the signature.
    pub(crate) fn verify(&self, input: &[u8], signature: &[u8]) -> bool {
        match &self.pair {
            Pair::Es256(_, public) | Pair::Rs256(_, public) => public.verify_sig(input, signature).is_ok(),
            // In constant time: a caller who chooses the claims would otherwise learn their right signature,
            // byte by byte.
            Pair::EdDsa(pair) => pair.try_sign(input).is_ok_and(|own| own.as_ref().ct_eq(signature).into()),
        }
    }
}

fn b64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// An environment prepared for the request path.
pub struct Environment {
    slug: Slug,
    issuer: String,
    keys: Vec<SigningKey>,
    upstream: Option<Arc<Upstream>>,
    unregistered_clients: UnregisteredClients,
    adopt_until: Option<Timestamp>,
}

impl Environment {
    /// Creates an environment with its keys.
    pub fn new(slug: Slug, issuer: String, keys: Vec<SigningKey>) -> Self {
        let unregistered_clients = UnregisteredClients::Refuse;
        Self { slug, issuer, keys, upstream: None, unregistered_clients, adopt_until: None }
    }

    /// Creates an environment in front of another issuer. It has no keys, so it cannot issue tokens of its own.
    pub fn in_front_of(
        slug: Slug,
        issuer: String,
        upstream: Upstream,
        unregistered_clients: UnregisteredClients,
    ) -> Self {
        let (keys, upstream) = (Vec::new(), Some(Arc::new(upstream)));
        Self { slug, issuer, keys, upstream, unregistered_clients, adopt_until: None }
    }

    /// Lets registrations without a secret learn one until this time.
    pub fn adopting_until(self, adopt_until: Option<Timestamp>) -> Self {
        Self { adopt_until, ..self }
    }

    /// Whether registrations without a secret learn one at `now`.
    pub fn adopts(&self, now: Timestamp) -> bool {
        self.upstream.is_some() && self.adopt_until.is_some_and(|until| now < until)
    }

    /// Whether requests that name no client that is or was registered in it are forwarded as they are.
    pub fn passes_unregistered(&self) -> bool {
        self.unregistered_clients == UnregisteredClients::Pass
    }

    /// Returns the issuer that it is in front of; `None` if it issues its own tokens.
    pub fn upstream(&self) -> Option<&Arc<Upstream>> {
        self.upstream.as_ref()
    }

    /// Returns who issues its tokens.
    pub fn issuer_mode(&self) -> IssuerMode {
        if self.upstream.is_some() { IssuerMode::Upstream } else { IssuerMode::Own }
    }

    /// Returns the name in URLs.
    pub fn slug(&self) -> &Slug {
        &self.slug
    }

    /// Returns its issuer identifier (RFC 8414 §2).
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Returns the key that signs at `now`.
    pub(crate) fn signing_key(&self, now: Timestamp) -> Option<&SigningKey> {
        signing_key::signing(self.keys.iter().map(|key| key.times), now)
            .and_then(|index| self.keys.get(index))
    }

    /// Returns the published key that writes this encoded header.
    pub(crate) fn key_of_header(&self, header: &str, now: Timestamp) -> Option<&SigningKey> {
        self.keys.iter().find(|key| key.header == header && key.times.is_published(now))
    }

    /// Returns the key set (RFC 7517 §5) at `now`: public members only.
    pub fn jwks(&self, now: Timestamp) -> Value {
        let keys: Vec<&Value> =
            self.keys.iter().filter(|key| key.times.is_published(now)).map(|key| &key.jwk).collect();
        json!({ "keys": keys })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{ED25519, RsaPublicKeyComponents, UnparsedPublicKey};
    use std::time::Duration;

    const START: i64 = 1_795_525_500;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(START + seconds)
    }

    fn always() -> KeyTimes {
        KeyTimes { active_from: at(0), removed_at: None }
    }

    fn generate(alg: SigningAlg, times: KeyTimes) -> SigningKey {
        SigningKey::parse(alg, &SigningKey::generate(alg).unwrap(), times).unwrap()
    }

    fn environment(keys: Vec<SigningKey>) -> Environment {
        Environment::new(
            Slug::parse("slug", "staging").unwrap(),
            "https://auth.example.com/staging".to_owned(),
            keys,
        )
    }

    fn unb64(text: &str) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(text).unwrap()
    }

    fn member(jwk: &Value, name: &str) -> Vec<u8> {
        unb64(jwk[name].as_str().unwrap())
    }

    /// Verifies as a resource server does that has nothing but the JWK (RFC 7518 §3.3, §3.4; RFC 8037 §3.1).
    fn verifies_by_jwk(jwk: &Value, input: &[u8], signature: &[u8]) -> bool {
        match jwk["alg"].as_str().unwrap() {
            "ES256" => {
                assert_eq!((jwk["kty"].as_str(), jwk["crv"].as_str()), (Some("EC"), Some("P-256")));
                let point = [&[4][..], &member(jwk, "x"), &member(jwk, "y")].concat();
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(input, signature).is_ok()
            }
            "EdDSA" => {
                assert_eq!((jwk["kty"].as_str(), jwk["crv"].as_str()), (Some("OKP"), Some("Ed25519")));
                UnparsedPublicKey::new(&ED25519, member(jwk, "x")).verify(input, signature).is_ok()
            }
            "RS256" => {
                assert_eq!(jwk["kty"], "RSA");
                let public = RsaPublicKeyComponents { n: member(jwk, "n"), e: member(jwk, "e") };
                public.verify(&RSA_PKCS1_2048_8192_SHA256, input, signature).is_ok()
            }
            other => panic!("{other}"),
        }
    }

    /// Computes a thumbprint independently (RFC 7638 §3): only the required members, in lexicographic order, without
    /// white space.
    fn thumbprint(jwk: &Value) -> String {
        let text = |name: &str| jwk[name].as_str().unwrap().to_owned();
        let canonical = match &*text("kty") {
            "EC" => format!(r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#, text("x"), text("y")),
            "OKP" => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, text("x")),
            "RSA" => format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, text("e"), text("n")),
            other => panic!("{other}"),
        };
        URL_SAFE_NO_PAD.encode(digest(&SHA256, canonical.as_bytes()))
    }

    fn kids(environment: &Environment, now: Timestamp) -> Vec<String> {
        let jwks = environment.jwks(now);
        jwks["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn for_each_algorithm_the_public_jwk_alone_verifies_and_its_thumbprint_is_the_kid() {
        for (alg, signature_bytes, members) in [
            (SigningAlg::ES256, 64, &["alg", "crv", "kid", "kty", "use", "x", "y"][..]),
            (SigningAlg::EdDSA, 64, &["alg", "crv", "kid", "kty", "use", "x"]),
            (SigningAlg::RS256, 256, &["alg", "e", "kid", "kty", "n", "use"]),
        ] {
            let key = generate(alg, always());
            let header: Value =
                serde_json::from_slice(&unb64(key.header().strip_suffix('.').unwrap())).unwrap();
            assert_eq!(
                header,
                json!({"alg": alg.as_str(), "kid": key.kid(), "typ": "at+jwt"}),
                "RFC 9068 §2.1"
            );
            let mut signature = Vec::new();
            key.sign(b"header.claims", &mut signature).unwrap();
            let kid = key.kid().to_owned();
            let jwks = environment(vec![key]).jwks(at(0));
            let jwk = &jwks["keys"][0];
            let names: Vec<&String> = jwk.as_object().unwrap().keys().collect();
            assert_eq!(names, members, "nothing private is published");
            assert_eq!((jwk["alg"].as_str(), jwk["use"].as_str()), (Some(alg.as_str()), Some("sig")));
            assert_eq!(jwk["kid"], kid.as_str());
            assert_eq!(thumbprint(jwk), kid);
            assert_eq!(signature.len(), signature_bytes, "{alg:?}");
            assert!(verifies_by_jwk(jwk, b"header.claims", &signature), "{alg:?}");
            assert!(!verifies_by_jwk(jwk, b"header.claimt", &signature), "{alg:?}");
            signature[10] ^= 1;
            assert!(!verifies_by_jwk(jwk, b"header.claims", &signature), "{alg:?}");
        }
    }

    /// The key of RFC 8037 Appendix A: its thumbprint (A.3) and its signature (A.4).
    #[test]
    fn rfc_8037_appendix_a_thumbprint_and_signature() {
        // PKCS #8 of an Ed25519 key (RFC 8410 §7): this prefix, then the seed.
        let mut pkcs8 = vec![0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70];
        pkcs8.extend([0x04, 0x22, 0x04, 0x20]);
        pkcs8.extend(unb64("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"));
        let key = SigningKey::parse(SigningAlg::EdDSA, &pkcs8, always()).unwrap();
        assert_eq!(key.jwk["x"], "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
        assert_eq!(key.kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        let mut signature = Vec::new();
        key.sign(b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc", &mut signature).unwrap();
        let published =
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
        assert_eq!(b64(&signature), published);
    }

    #[test]
    fn a_key_is_one_key_of_one_algorithm() {
        let es256 = SigningKey::generate(SigningAlg::ES256).unwrap();
        let eddsa = SigningKey::generate(SigningAlg::EdDSA).unwrap();
        for (alg, pkcs8) in [
            (SigningAlg::EdDSA, &es256[..]),
            (SigningAlg::RS256, &es256),
            (SigningAlg::ES256, &eddsa),
            (SigningAlg::ES256, b""),
            (SigningAlg::EdDSA, &eddsa[1..]),
        ] {
            assert!(SigningKey::parse(alg, pkcs8, always()).is_err(), "{alg:?}");
        }
        let again = SigningKey::parse(SigningAlg::ES256, &es256, always()).unwrap();
        let first = SigningKey::parse(SigningAlg::ES256, &es256, always()).unwrap();
        assert_eq!(again.kid(), first.kid(), "the same after a restart");
        assert_ne!(generate(SigningAlg::ES256, always()).kid(), first.kid());
    }

    /// Published before it signs, so that no resource server meets an unknown `kid`; and published after it
    /// has signed, until its last token has ended.
    #[test]
    fn keys_roll_over_in_time() {
        let next_from = signing_key::activation(at(0), false);
        let first = KeyTimes { active_from: at(-100), removed_at: None };
        let gone = signing_key::removal(first, next_from, at(0));
        let old = generate(SigningAlg::ES256, KeyTimes { active_from: at(-100), removed_at: Some(gone) });
        let new = generate(SigningAlg::EdDSA, KeyTimes { active_from: next_from, removed_at: None });
        let (old_kid, new_kid) = (old.kid().to_owned(), new.kid().to_owned());
        let (old_header, new_header) = (old.header().to_owned(), new.header().to_owned());
        let environment = environment(vec![old, new]);
        let micro = Duration::from_micros(1);
        let signs = |now| environment.signing_key(now).map(|key| key.kid().to_owned());
        assert_eq!(signs(at(-101)), None, "before any key is active nothing is signed");
        for (now, signing, published) in [
            (at(0), &old_kid, vec![&old_kid, &new_kid]),
            (next_from.before(micro), &old_kid, vec![&old_kid, &new_kid]),
            (next_from, &new_kid, vec![&old_kid, &new_kid]),
            (gone.before(micro), &new_kid, vec![&old_kid, &new_kid]),
            (gone, &new_kid, vec![&new_kid]),
        ] {
            assert_eq!(signs(now).as_ref(), Some(signing), "{now}");
            assert_eq!(kids(&environment, now).iter().collect::<Vec<_>>(), published, "{now}");
            let known = |header| environment.key_of_header(header, now).map(SigningKey::kid);
            assert_eq!(known(&old_header), published.contains(&&old_kid).then_some(&*old_kid), "{now}");
            assert_eq!(known(&new_header), Some(&*new_kid), "{now}");
        }
    }

    #[test]
    fn an_environment_without_keys_publishes_an_empty_set_and_signs_nothing() {
        let none = environment(Vec::new());
        assert_eq!(none.jwks(at(0)), json!({"keys": []}));
        assert!(none.signing_key(at(0)).is_none());
        assert!(none.key_of_header("", at(0)).is_none());
    }
}
