//! Tests of metadata, keys and signatures. The whole way is tested with a provider in `crossfade/tests/it/providers`.

use super::{
    Authorization, Metadata, ProviderFailure, Providers,
    keys::{Keys, Refetch, parse},
};
use crate::webhook::Poster;
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as B64};
use crossfade_core::provider::TokenFault;
use serde_json::{Map, Value, json};

const ISSUER: &str = "https://id.example";

fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn document() -> Value {
    json!({
        "issuer": ISSUER, "authorization_endpoint": "https://id.example/auth?tenant=1#x",
        "token_endpoint": "https://id.example/token", "jwks_uri": "https://id.example/jwks",
    })
}

#[test]
fn metadata_of_another_issuer_is_refused() {
    assert!(Metadata::read(ISSUER, &object(document())).is_ok());
    for other in ["https://id.example/", "https://ID.example", "http://id.example"] {
        let read = Metadata::read(other, &object(document()));
        assert_eq!(read, Err(ProviderFailure::Malformed("the metadata is of another issuer")), "{other}");
    }
    for name in ["issuer", "authorization_endpoint", "token_endpoint", "jwks_uri"] {
        let mut document = document();
        document.as_object_mut().unwrap().remove(name);
        assert!(Metadata::read(ISSUER, &object(document)).is_err(), "{name}");
    }
}

#[test]
fn a_person_is_sent_with_everything_that_ties_the_answer_to_the_browser() {
    let metadata = Metadata::read(ISSUER, &object(document())).unwrap();
    let with = Authorization {
        client_id: "cross fade",
        redirect_uri: "https://auth.example.com/back",
        scopes: &["openid".into(), "email".into()],
        state: "s",
        nonce: "n",
        challenge: "c",
        acr_values: &["mfa".into()],
        again: true,
    };
    let url = Providers::authorization_url(&metadata, with);
    assert_eq!(
        url,
        "https://id.example/auth?tenant=1&response_type=code&client_id=cross+fade&redirect_uri=https%3A%2F%2Fauth.example.com%2Fback\
         &scope=openid+email&state=s&nonce=n&code_challenge=c&code_challenge_method=S256&acr_values=mfa&prompt=login&max_age=0"
    );
    let plain =
        Providers::authorization_url(&metadata, Authorization { acr_values: &[], again: false, ..with });
    assert!(!plain.contains("prompt") && !plain.contains("acr_values"), "{plain}");
}

#[test]
fn an_issuer_is_a_url_that_connections_are_made_to() {
    let providers = Providers::new(&Poster::default());
    assert_eq!(
        providers.issuer(" https://id.example/realms/a ").as_deref(),
        Ok("https://id.example/realms/a")
    );
    for bad in [
        "",
        "id.example",
        "http://id.example",
        "https://127.0.0.1",
        "https://id.example?a=b",
        "https://id.example#a",
        "https://user@id.example",
    ] {
        assert!(providers.issuer(bad).is_err(), "{bad}");
    }
}

/// A key pair, and the key that a provider would publish.
fn ed25519(kid: &str) -> (Ed25519KeyPair, Value) {
    let pair = Ed25519KeyPair::generate().unwrap();
    let x = B64.encode(pair.public_key().as_ref());
    (pair, json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid, "use": "sig"}))
}

fn signed(pair: &Ed25519KeyPair, header: &Value, claims: &Value) -> String {
    let input = format!("{}.{}", B64.encode(header.to_string()), B64.encode(claims.to_string()));
    let signature = B64.encode(pair.sign(input.as_bytes()));
    format!("{input}.{signature}")
}

fn keys(list: Value) -> Keys {
    let mut keys = Keys::default();
    keys.store(Ok(object(json!({ "keys": list }))));
    keys
}

fn verify(token: &str, keys: &Keys) -> Result<Map<String, Value>, TokenFault> {
    Ok(parse(token)?.verify(keys.current().unwrap())?.claims)
}

#[test]
fn a_token_is_verified_with_the_key_that_it_names_alone() {
    let (pair, jwk) = ed25519("a");
    let (other, other_jwk) = ed25519("b");
    let all = keys(json!([jwk, other_jwk, {"kty": "unknown"}, "no key"]));
    let header = json!({"alg": "EdDSA", "kid": "a"});
    let token = signed(&pair, &header, &json!({"sub": "ada"}));
    assert_eq!(verify(&token, &all).unwrap()["sub"], "ada");
    // Keys that were swapped: the other key signs in the name of this one.
    assert_eq!(verify(&signed(&other, &header, &json!({})), &all), Err(TokenFault::Signature));
    assert_eq!(
        verify(&signed(&pair, &json!({"alg": "EdDSA", "kid": "c"}), &json!({})), &all),
        Err(TokenFault::UnknownKey)
    );
    // Without a name, only a single key is the right one.
    let unnamed = signed(&pair, &json!({"alg": "EdDSA"}), &json!({"sub": "ada"}));
    assert_eq!(verify(&unnamed, &all), Err(TokenFault::UnknownKey));
    assert!(verify(&unnamed, &keys(json!([jwk]))).is_ok());
    let mut changed = token.clone();
    changed.replace_range(token.find('.').unwrap() + 1..token.find('.').unwrap() + 2, "f");
    assert!(verify(&changed, &all).is_err());
}

#[test]
fn tokens_without_a_signature_or_with_a_shared_key_are_refused() {
    let (pair, jwk) = ed25519("a");
    let all = keys(json!([jwk]));
    for alg in ["none", "None", "HS256", "HS512", "RS512", "ES512", "", "eddsa"] {
        let token = signed(&pair, &json!({"alg": alg, "kid": "a"}), &json!({}));
        assert_eq!(verify(&token, &all), Err(TokenFault::Algorithm), "{alg}");
    }
    let unsigned = format!("{}.{}.", B64.encode(r#"{"alg":"none"}"#), B64.encode("{}"));
    assert_eq!(verify(&unsigned, &all), Err(TokenFault::Algorithm));
    // The public key as a shared key, and a published shared key.
    let x = B64.decode(jwk["x"].as_str().unwrap()).unwrap();
    let shared = keys(json!([{"kty": "oct", "k": B64.encode(x), "kid": "a"}]));
    assert!(shared.current().unwrap().is_empty());
    for odd in ["", "a.b", "a.b.c.d", "....", "e30.e30.", "!!.e30.e30"] {
        assert!(parse(odd).is_err(), "{odd}");
    }
    let critical =
        signed(&pair, &json!({"alg": "EdDSA", "kid": "a", "crit": ["b64"], "b64": false}), &json!({}));
    assert_eq!(verify(&critical, &all), Err(TokenFault::Malformed));
}

#[test]
fn a_key_of_another_kind_or_for_another_algorithm_verifies_nothing() {
    let (pair, jwk) = ed25519("a");
    let token = signed(&pair, &json!({"alg": "EdDSA", "kid": "a"}), &json!({}));
    let document =
        EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
    let ec = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref()).unwrap();
    let point = ec.public_key().as_ref();
    let ec = json!({"kty": "EC", "crv": "P-256", "x": B64.encode(&point[1..33]), "y": B64.encode(&point[33..]), "kid": "a"});
    assert_eq!(verify(&token, &keys(json!([ec]))), Err(TokenFault::UnknownKey));
    assert!(verify(&token, &keys(json!([ec, jwk]))).is_ok(), "one of the right kind is found beside it");
    let with = |name: &str, value: &str| {
        let mut jwk = jwk.clone();
        jwk[name] = value.into();
        keys(json!([jwk]))
    };
    assert_eq!(verify(&token, &with("alg", "RS256")), Err(TokenFault::UnknownKey));
    assert_eq!(verify(&token, &with("use", "enc")), Err(TokenFault::UnknownKey));
    assert_eq!(
        verify(&token, &with("d", "AAAA")),
        Err(TokenFault::UnknownKey),
        "a private key was published"
    );
    assert!(verify(&token, &with("alg", "EdDSA")).is_ok());
}

#[test]
fn strangers_use_up_no_request_for_keys_that_a_sign_in_needs() {
    let mut keys = Keys::default();
    assert!(keys.may_refetch(Refetch::Stranger) && !keys.may_refetch(Refetch::Stranger));
    assert!(keys.may_refetch(Refetch::SignIn) && !keys.may_refetch(Refetch::SignIn));
}

#[test]
fn an_id_token_belongs_to_its_access_token() {
    let (pair, jwk) = ed25519("a");
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA512, b"access");
    let at_hash = B64.encode(&hash.as_ref()[..32]);
    let verified = |claims: &Value| {
        let token = signed(&pair, &json!({"alg": "EdDSA", "kid": "a"}), claims);
        parse(&token).unwrap().verify(keys(json!([jwk])).current().unwrap()).unwrap()
    };
    let with = verified(&json!({"at_hash": at_hash}));
    assert!(with.belongs_to(Some("access")) && !with.belongs_to(Some("other")) && !with.belongs_to(None));
    assert!(
        verified(&json!({})).belongs_to(None) && !verified(&json!({"at_hash": 7})).belongs_to(Some("access"))
    );
}
