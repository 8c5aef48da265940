//! Signing keys and the environments that they sign for.

use aws_lc_rs::{
    digest::{SHA256, digest},
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair,
        KeyPair, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair,
    },
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use crossfade_core::{
    Timestamp,
    environment::{SigningAlg, Slug},
    signing_key::{self, KeyTimes},
};
use serde_json::{Value, json};
use zeroize::Zeroizing;

/// The bytes are not a private key of the algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a private key of this algorithm")]
pub struct InvalidKey;

enum Pair {
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
    Rs256(RsaKeyPair),
}

/// A key that signs access tokens, parsed once. One key, one algorithm.
pub struct SigningKey {
    kid: String,
    times: KeyTimes,
    pair: Pair,
    public: ParsedPublicKey,
    jwk: Value,
    /// The encoded JOSE header and its dot: the same for every token of this key.
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
                (Pair::Es256(pair), jwk)
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
                (Pair::Rs256(pair), jwk)
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
        let public = match &pair {
            Pair::Es256(pair) => ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref()),
            Pair::EdDsa(pair) => ParsedPublicKey::new(&ED25519, pair.public_key().as_ref()),
            Pair::Rs256(pair) => {
                ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public_key().as_ref())
            }
        }
        .map_err(|_| InvalidKey)?;
        Ok(Self { kid, times, pair, public, jwk, header })
    }

    /// The RFC 7638 thumbprint, which names the key.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    pub(crate) fn header(&self) -> &str {
        &self.header
    }

    /// Signs (RFC 7515 §5.1). `None` when the library refuses, which it does for no key that it has parsed.
    pub(crate) fn sign(&self, input: &[u8], signature: &mut Vec<u8>) -> Option<()> {
        match &self.pair {
            Pair::Es256(pair) => {
                signature.extend_from_slice(pair.sign(&SystemRandom::new(), input).ok()?.as_ref());
            }
            Pair::EdDsa(pair) => signature.extend_from_slice(pair.try_sign(input).ok()?.as_ref()),
            Pair::Rs256(pair) => {
                signature.resize(pair.public_modulus_len(), 0);
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), input, signature).ok()?;
            }
        }
        Some(())
    }

    pub(crate) fn verify(&self, input: &[u8], signature: &[u8]) -> bool {
        self.public.verify_sig(input, signature).is_ok()
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
}

impl Environment {
    /// An environment with its keys.
    pub fn new(slug: Slug, issuer: String, keys: Vec<SigningKey>) -> Self {
        Self { slug, issuer, keys }
    }

    /// Its name in URLs.
    pub fn slug(&self) -> &Slug {
        &self.slug
    }

    /// Its issuer identifier (RFC 8414 §2).
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The key that signs at `now`.
    pub(crate) fn signing_key(&self, now: Timestamp) -> Option<&SigningKey> {
        signing_key::signing(self.keys.iter().map(|key| key.times), now)
            .and_then(|index| self.keys.get(index))
    }

    /// The published key that made a token with this encoded header.
    pub(crate) fn key_of_header(&self, header: &str, now: Timestamp) -> Option<&SigningKey> {
        self.keys.iter().find(|key| key.header == header && key.times.is_published(now))
    }

    /// The key set (RFC 7517 §5) at `now`: public members only.
    pub fn jwks(&self, now: Timestamp) -> Value {
        let keys: Vec<&Value> =
            self.keys.iter().filter(|key| key.times.is_published(now)).map(|key| &key.jwk).collect();
        json!({ "keys": keys })
    }
}
