//! What the authority promises, rule by rule: who is let in and until when, what a token says and to whom, and
//! what is left behind of each attempt.

use super::*;
use crate::{Counter, FailureCount, RefusedBy, SecretSlot, SigningKey};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use crossfade_core::{
    environment::SigningAlg,
    registration::{AuthMethods, Scopes, TokenTtl},
    signing_key::{self, KeyTimes},
};
use serde_json::{Value, json};
use std::{
    collections::HashSet,
    net::Ipv4Addr,
    sync::{
        Barrier,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

mod at_once;
mod clocks;
mod drills;
mod front;
mod introspecting;
mod issuing;
mod verifying;

const NOW: i64 = 1_795_525_500_000_000;
const SECOND: i64 = 1_000_000;
const HOUR: i64 = 3600 * SECOND;
const STAGING: &str = "https://auth.example.com/staging";
const IP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
const BASIC: AuthMethod = AuthMethod::ClientSecretBasic;
const POST: AuthMethod = AuthMethod::ClientSecretPost;

/// Returns the time this many microseconds after the start of each test.
fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(NOW + micros)
}

fn slug(text: &str) -> Slug {
    Slug::parse("slug", text).unwrap()
}

fn client_id(n: usize) -> OauthClientId {
    OauthClientId::parse(&format!("{n:022}")).unwrap()
}

fn registration_id(n: usize) -> RegistrationId {
    RegistrationId::parse(&format!("reg_{n:022}")).unwrap()
}

fn secret_id(n: usize) -> SecretId {
    SecretId::parse(&format!("sec_{n:022}")).unwrap()
}

fn value(n: usize) -> String {
    format!("crossfade_test_{n:049}")
}

/// An authority with the environments `staging` and `production` at a time that is set by hand.
struct World {
    authority: Authority,
    staging: Arc<Environment>,
    production: Arc<Environment>,
}

impl World {
    fn new() -> Self {
        let keys = VerifierKeys::new([("k1".to_owned(), [7; 32])]);
        let authority = Authority::new(Arc::new(Clock::manual(at(0))), keys);
        authority.put_environment(environment("staging", vec![key(at(-1), None)]));
        authority.put_environment(environment("production", vec![key(at(-1), None)]));
        let [staging, production] =
            ["staging", "production"].map(|slug| authority.environment(slug).unwrap());
        Self { authority, staging, production }
    }

    /// As [`World::new`], with client 1 in staging, whose current secret is number 1.
    fn with_client() -> Self {
        let world = Self::new();
        world.put(1, &[(1, None, None)], |_| {});
        world
    }

    /// Publishes client `n` in staging with these secrets: number, deadline, revocation.
    fn put(
        &self,
        n: usize,
        secrets: &[(usize, Option<i64>, Option<i64>)],
        change: impl FnOnce(&mut Registration),
    ) {
        let mut registration = Registration {
            id: registration_id(n),
            client_id: client_id(n),
            environment: slug("staging"),
            issuer_mode: IssuerMode::Own,
            disabled: false,
            token_generation: 0,
            methods: AuthMethods::default(),
            scopes: Scopes::parse(&["read".to_owned(), "write".to_owned()]).unwrap(),
            audience: None,
            ttl: TokenTtl::default(),
            may_introspect: false,
            allowed_networks: None,
            learns: false,
            secrets: secrets
                .iter()
                .map(|(secret, expires_at, revoked_at)| {
                    let (digest_key, digest) =
                        self.authority.digest(client_id(n).as_str(), &value(*secret)).unwrap();
                    SecretSlot {
                        id: secret_id(*secret),
                        digest,
                        digest_key,
                        has_value_digest: true,
                        expires_at: expires_at.map(at),
                        revoked_at: revoked_at.map(at),
                        drill: None,
                    }
                })
                .collect(),
        };
        change(&mut registration);
        self.authority.put_registration(registration);
    }

    fn set(&self, micros: i64) {
        self.authority.clock().set(at(micros));
    }

    fn authenticate(
        &self,
        environment: &Environment,
        n: usize,
        secret: &str,
        method: AuthMethod,
    ) -> Result<Client, OauthError> {
        let client_id = client_id(n);
        let credentials = Credentials {
            client_id: client_id.as_str(),
            secret,
            further_readings: &[],
            method,
            source: Source { ip: IP, user_agent: "tests/1", instance: "" },
            sender: Some(IP),
        };
        self.authority.authenticate(environment, &credentials)
    }

    /// Returns client `n`, authenticated in staging by its secret number `secret`.
    fn client(&self, n: usize, secret: usize) -> Client {
        self.authenticate(&self.staging, n, &value(secret), BASIC).ok().unwrap()
    }

    /// Returns the result of presenting a secret of client 1 in staging: the secret's id, or the error.
    fn present(&self, secret: &str) -> Result<SecretId, OauthError> {
        self.authenticate(&self.staging, 1, secret, BASIC).map(|client| client.secret().clone())
    }

    fn token(&self, client: &Client) -> String {
        self.authority.issue(&self.staging, client, None).unwrap().access_token().unwrap()
    }

    /// Forgets what a process that has run for longer than a token lives forgets.
    fn tidy(&self) {
        self.authority.forget_revocations(self.authority.clock().read().earliest);
    }

    fn is_active(&self, client: &Client, token: &str) -> bool {
        self.authority.introspect(&self.staging, client, token).is_some()
    }

    /// Returns the one failure since the last look.
    fn failure(&self) -> FailureCount {
        let (_, mut failures) = self.authority.evidence().drain();
        assert_eq!(failures.len(), 1, "{failures:?}");
        failures.pop().unwrap()
    }
}

fn key(active_from: Timestamp, removed_at: Option<Timestamp>) -> SigningKey {
    let alg = SigningAlg::EdDSA;
    let pkcs8 = SigningKey::generate(alg).unwrap();
    SigningKey::parse(alg, &pkcs8, KeyTimes { active_from, removed_at }).unwrap()
}

fn environment(name: &str, keys: Vec<SigningKey>) -> Environment {
    Environment::new(slug(name), format!("https://auth.example.com/{name}"), keys)
}

fn part(token: &str, index: usize) -> Value {
    let part = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

const REFUSED: Result<SecretId, OauthError> = Err(OauthError::InvalidClient);

// What the database says.
