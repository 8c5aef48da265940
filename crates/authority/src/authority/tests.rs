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

mod clocks;
mod drills;

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
            disabled: false,
            token_generation: 0,
            methods: AuthMethods::default(),
            scopes: Scopes::parse(&["read".to_owned(), "write".to_owned()]).unwrap(),
            audience: None,
            ttl: TokenTtl::default(),
            may_introspect: false,
            secrets: secrets
                .iter()
                .map(|(secret, expires_at, revoked_at)| {
                    let (digest_key, digest) = self.authority.digest(&client_id(n), &value(*secret)).unwrap();
                    SecretSlot {
                        id: secret_id(*secret),
                        digest,
                        digest_key,
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
            method,
            source: Source { ip: IP, user_agent: "tests/1", instance: "" },
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
        self.authority.issue(&self.staging, client, None).unwrap().access_token
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

#[test]
fn tables_that_are_replaced_hold_nothing_else() {
    let world = World::new();
    for n in [1, 2, 3] {
        world.put(n, &[(n, None, None)], |_| {});
    }
    let token = world.token(&world.client(1, 1));
    world.authority.end_tokens_of_secret(secret_id(9), at(HOUR));
    world.authority.revoke_token("gone", at(HOUR));
    let as_published = |n: usize, disabled| {
        let (digest_key, digest) = world.authority.digest(&client_id(n), &value(n)).unwrap();
        let secret = SecretSlot {
            id: secret_id(n),
            digest,
            digest_key,
            expires_at: None,
            revoked_at: None,
            drill: None,
        };
        Registration {
            id: registration_id(n),
            client_id: client_id(n),
            environment: slug("staging"),
            disabled,
            methods: AuthMethods::default(),
            scopes: Scopes::parse(&["read".to_owned(), "write".to_owned()]).unwrap(),
            audience: None,
            ttl: TokenTtl::default(),
            token_generation: 0,
            may_introspect: false,
            secrets: vec![secret],
        }
    };
    let changed = world.authority.replace(Tables {
        environments: vec![environment("staging", vec![key(at(-1), None)])],
        registrations: vec![as_published(1, false), as_published(2, true), as_published(4, false)],
        secrets_with_ended_tokens: vec![(secret_id(1), at(HOUR))],
        revoked_tokens: vec![("new".to_owned(), at(HOUR))],
    });
    assert_eq!(changed, [client_id(2), client_id(3), client_id(4)], "1 is decided as before");
    assert!(world.authority.environment("production").is_none());
    let staging = world.authority.environment("staging").unwrap();
    let presented = |n| world.authenticate(&staging, n, &value(n), BASIC).is_ok();
    assert_eq!([1, 2, 3, 4].map(presented), [true, false, false, true]);
    assert!(!world.is_active(&world.client(1, 1), &token));
    assert_eq!(world.authority.registrations(), 3);
    assert!(!world.authority.revoked_tokens.pin().contains_key("gone"));
    assert!(world.authority.revoked_tokens.pin().contains_key("new"));
    assert!(!world.authority.secrets_with_ended_tokens.pin().contains_key(&secret_id(9)));
}

// Who is let in.

#[test]
fn rule_2_a_retiring_secret_is_accepted_until_but_not_at_its_deadline() {
    for deadline in [1, 1000, HOUR, 168 * HOUR] {
        let world = World::new();
        world.put(1, &[(2, None, None), (1, Some(deadline), None)], |_| {});
        for before in [0, deadline - 1000, deadline - 1] {
            world.set(before);
            assert_eq!(world.present(&value(1)), Ok(secret_id(1)), "{before} of {deadline}");
        }
        for after in [deadline, deadline + 1, deadline + 1000, deadline + 1000 * HOUR] {
            world.set(after);
            assert_eq!(world.present(&value(1)), REFUSED, "{after} of {deadline}");
            assert_eq!(world.present(&value(2)), Ok(secret_id(2)), "a current secret has no deadline");
        }
    }
}

#[test]
fn rule_2_a_machine_s_clock_that_is_set_back_revives_nothing() {
    let world = World::new();
    world.put(1, &[(2, None, None), (1, Some(HOUR), None)], |_| {});
    world.set(HOUR);
    assert_eq!(world.present(&value(1)), REFUSED);
    world.set(0);
    assert_eq!(world.present(&value(1)), REFUSED);
}

#[test]
fn rule_2_a_deadline_that_the_stored_time_has_passed_has_passed() {
    let world = World::new();
    world.put(1, &[(2, None, None), (1, Some(HOUR), None)], |_| {});
    assert_eq!(world.present(&value(1)), Ok(secret_id(1)));
    world.authority.clock().raise(at(HOUR));
    assert_eq!(world.present(&value(1)), REFUSED, "whatever the machine's clock says");
}

#[test]
fn a_transition_of_zero_ends_the_old_secret_when_the_call_returns() {
    let world = World::with_client();
    assert_eq!(world.present(&value(1)), Ok(secret_id(1)));
    world.put(1, &[(2, None, None), (1, Some(0), None)], |_| {});
    assert_eq!(world.present(&value(1)), REFUSED);
    assert_eq!(world.present(&value(2)), Ok(secret_id(2)));
}

#[test]
fn both_methods_are_taken_and_only_those_that_the_registration_has() {
    let world = World::new();
    for (allowed, expected) in
        [(&[BASIC, POST][..], [true, true]), (&[BASIC], [true, false]), (&[POST], [false, true])]
    {
        world.put(1, &[(1, None, None)], |registration| {
            registration.methods = AuthMethods::parse(allowed).unwrap();
        });
        let taken =
            [BASIC, POST].map(|method| world.authenticate(&world.staging, 1, &value(1), method).is_ok());
        assert_eq!(taken, expected, "{allowed:?}");
    }
}

#[test]
fn an_authenticated_client_is_the_one_that_was_asked_for() {
    let world = World::with_client();
    let client = world.client(1, 1);
    assert_eq!(client.client_id(), &client_id(1));
    assert_eq!(client.registration(), &registration_id(1));
    assert_eq!(client.secret(), &secret_id(1));
}

/// A caller refused with a recognised secret is recorded, whatever refused it; a caller that guesses is not.
#[test]
fn whoever_is_refused_with_a_secret_that_is_known_is_recorded_with_it() {
    let world = World::new();
    world.put(
        2,
        &[(4, None, None), (3, Some(HOUR), None), (2, Some(0), None), (1, Some(HOUR), Some(-5))],
        |it| {
            it.disabled = true;
        },
    );
    world.put(3, &[(5, None, None)], |it| it.methods = AuthMethods::parse(&[POST]).unwrap());
    world.put(4, &[(2, Some(0), None), (1, Some(HOUR), Some(-5))], |_| {});
    for (client, secret) in [(2, 4), (2, 3), (4, 2), (4, 1), (2, 5), (3, 5), (3, 4), (9, 4)] {
        assert!(world.authenticate(&world.staging, client, &value(secret), BASIC).is_err());
    }
    let (mut sources, failures) = world.authority.evidence().drain();
    sources.sort_by(|one, other| one.secret.cmp(&other.secret));
    let recorded: Vec<_> =
        sources.into_iter().map(|it| (it.secret, it.refused_by, it.counter.count)).collect();
    let expected = [1, 2, 3, 4, 5].map(|n| (secret_id(n), Some(RefusedBy::Record), 1));
    assert_eq!(recorded, expected);
    assert_eq!(failures.iter().map(|it| it.counter.count).sum::<u64>(), 8);
}

#[test]
fn a_client_of_another_environment_is_unknown() {
    let world = World::with_client();
    let elsewhere = world.authenticate(&world.production, 1, &value(1), BASIC);
    assert_eq!(elsewhere.err(), Some(OauthError::InvalidClient));
    let failure = world.failure();
    assert_eq!((failure.failure, failure.registration), (Failure::UnknownClient, None));
    assert_eq!(world.present(&value(1)), Ok(secret_id(1)));
}

/// Rule 16: one error for the caller, seven words for the trail.
#[test]
fn rule_16_the_caller_sees_one_error_and_the_trail_tells_the_reasons_apart() {
    let world = World::new();
    world.put(1, &[(1, None, None), (2, Some(0), None), (3, Some(HOUR), Some(-5))], |_| {});
    world.put(2, &[(4, None, None)], |registration| registration.disabled = true);
    world.put(3, &[(5, None, None)], |registration| {
        registration.methods = AuthMethods::parse(&[POST]).unwrap();
    });
    let known =
        |registration, secret: Option<usize>| (Some(registration_id(registration)), secret.map(secret_id));
    for (client, secret, failure, (registration, ended)) in [
        (9, 1, Failure::UnknownClient, (None, None)),
        (1, 4, Failure::Wrong, known(1, None)),
        (1, 2, Failure::Expired, known(1, Some(2))),
        (1, 3, Failure::Revoked, known(1, Some(3))),
        (2, 4, Failure::Disabled, known(2, Some(4))),
        (2, 1, Failure::Disabled, known(2, None)),
        (3, 5, Failure::Method, known(3, Some(5))),
        (3, 1, Failure::Method, known(3, None)),
    ] {
        let refused = world.authenticate(&world.staging, client, &value(secret), BASIC);
        assert_eq!(refused.err(), Some(OauthError::InvalidClient), "{failure:?}");
        let left = world.failure();
        assert_eq!((left.registration, left.secret, left.failure), (registration, ended, failure));
        assert_eq!(
            (left.ip, left.counter),
            (Some(IP), Counter { first: at(0), last: at(0), count: 1, longest_pause: Duration::ZERO })
        );
    }
    assert_eq!(world.authority.malformed(&world.staging, IP), OauthError::InvalidClient);
    let left = world.failure();
    assert_eq!((left.registration, left.secret, left.failure), (None, None, Failure::Malformed));
}

#[test]
fn a_client_id_that_is_none_is_unknown() {
    let world = World::with_client();
    let padded = format!(" {}", client_id(1));
    for client_id in ["", "1", "é", "\0", &padded, &"0".repeat(100_000), registration_id(1).as_str()] {
        let secret = &value(1);
        let credentials = Credentials {
            client_id,
            secret,
            method: BASIC,
            source: Source { ip: IP, user_agent: "", instance: "" },
        };
        let refused = world.authority.authenticate(&world.staging, &credentials);
        assert_eq!(refused.err(), Some(OauthError::InvalidClient));
        assert_eq!(world.failure().failure, Failure::UnknownClient);
    }
}

#[test]
fn a_secret_is_taken_only_as_it_was_given_out() {
    let world = World::with_client();
    let own = value(1);
    for near in [
        "",
        &own[..own.len() - 1],
        &own[1..],
        &format!("{own}0"),
        &format!("{own} "),
        &format!("{own}\n"),
        &format!("{own}\0"),
        &format!(" {own}"),
        &own.to_uppercase(),
        &own.replace('_', "%5F"),
        &format!("{own}{own}"),
        client_id(1).as_str(),
        secret_id(1).as_str(),
        &"x".repeat(1_000_000),
    ] {
        assert_eq!(world.present(near), REFUSED, "{:?}", &near[..near.len().min(80)]);
        assert_eq!(world.failure().failure, Failure::Wrong);
    }
}

/// Who has read the database has digests, and no way in with them (rule 15).
#[test]
fn rule_15_the_stored_digest_is_no_secret() {
    let world = World::with_client();
    let (_, digest) = world.authority.digest(&client_id(1), &value(1)).unwrap();
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let again = world.authority.digest(&client_id(1), &hex).unwrap().1;
    for presented in [
        hex.to_uppercase(),
        format!("0x{hex}"),
        format!("\\x{hex}"),
        hex,
        STANDARD.encode(digest),
        URL_SAFE_NO_PAD.encode(digest),
        digest.iter().map(|byte| char::from(*byte)).collect(),
        String::from_utf8_lossy(&digest).into_owned(),
        STANDARD.encode(again),
    ] {
        assert_eq!(world.present(&presented), REFUSED, "{presented}");
        assert_eq!(world.failure().failure, Failure::Wrong);
    }
}

#[test]
fn nothing_is_shared_between_registrations() {
    let world = World::with_client();
    world.put(2, &[(2, None, None)], |_| {});
    world.put(3, &[(3, None, None)], |registration| registration.environment = slug("production"));
    let enters = |environment: &Environment, client, secret| {
        world.authenticate(environment, client, &value(secret), BASIC).is_ok()
    };
    for client in 1..=3 {
        for secret in 1..=3 {
            let own = client == secret;
            assert_eq!(enters(&world.staging, client, secret), own && client != 3);
            assert_eq!(enters(&world.production, client, secret), own && client == 3);
        }
    }
}

#[test]
fn secrets_beyond_the_four_that_are_kept_count_as_wrong() {
    let world = World::new();
    let ended = |n: usize, at: i64| (n, Some(at), None);
    world.put(
        1,
        &[ended(1, -40), ended(2, -30), ended(3, -20), ended(4, -10), (5, Some(HOUR), None), (6, None, None)],
        |_| {},
    );
    assert_eq!(world.present(&value(6)), Ok(secret_id(6)));
    assert_eq!(world.present(&value(5)), Ok(secret_id(5)));
    for (secret, failure, known) in [
        (4, Failure::Expired, Some(secret_id(4))),
        (3, Failure::Expired, Some(secret_id(3))),
        (2, Failure::Wrong, None),
        (1, Failure::Wrong, None),
    ] {
        assert_eq!(world.present(&value(secret)), REFUSED);
        let left = world.failure();
        assert_eq!((left.failure, left.secret), (failure, known), "{secret}");
    }
}

#[test]
fn publishing_again_replaces_the_registration_and_removing_makes_it_unknown() {
    let world = World::with_client();
    world.put(1, &[(2, None, None)], |registration| {
        registration.methods = AuthMethods::parse(&[POST]).unwrap();
        registration.scopes = Scopes::parse(&["admin".to_owned()]).unwrap();
    });
    assert_eq!(world.authority.registrations(), 1);
    let enters = |secret, method| world.authenticate(&world.staging, 1, &value(secret), method);
    assert!(enters(2, BASIC).is_err() && enters(1, BASIC).is_err() && enters(1, POST).is_err());
    let client = enters(2, POST).ok().unwrap();
    assert_eq!(world.authority.issue(&world.staging, &client, None).unwrap().scope, "admin");
    world.authority.evidence().drain();

    world.authority.remove_registration(&client_id(1));
    assert_eq!(world.authority.registrations(), 0);
    assert!(enters(2, POST).is_err());
    assert_eq!(world.failure().failure, Failure::UnknownClient);
    world.authority.remove_registration(&client_id(1));
}

#[test]
fn rule_14_a_disabled_registration_refuses_everything_and_enabling_revives_nothing_that_has_ended() {
    let world = World::new();
    let secrets = [(2, None, None), (1, Some(HOUR), None)];
    world.put(1, &secrets, |registration| registration.disabled = true);
    for secret in [1, 2] {
        for method in [BASIC, POST] {
            assert!(world.authenticate(&world.staging, 1, &value(secret), method).is_err());
        }
    }
    world.set(HOUR);
    world.put(1, &secrets, |_| {});
    assert_eq!(world.present(&value(2)), Ok(secret_id(2)));
    assert_eq!(world.present(&value(1)), REFUSED, "its deadline ran on");
}

#[test]
fn rule_17_each_use_leaves_which_secret_when_from_where_and_how_often() {
    let world = World::new();
    world.put(1, &[(2, None, None), (1, Some(HOUR), None)], |_| {});
    for (micros, secret) in [(0, 1), (10, 2), (20, 1), (30, 1)] {
        world.set(micros);
        world.client(1, secret);
    }
    let (mut sources, failures) = world.authority.evidence().drain();
    assert_eq!(failures.len(), 0);
    sources.sort_by(|a, b| a.secret.cmp(&b.secret));
    let seen: Vec<_> = sources
        .iter()
        .map(|source| (source.secret.clone(), source.ip, &*source.user_agent, source.counter))
        .collect();
    let counter = |first, last, count, pause| Counter {
        first: at(first),
        last: at(last),
        count,
        longest_pause: Duration::from_micros(pause),
    };
    assert_eq!(
        seen,
        [
            (secret_id(1), Some(IP), "tests/1", counter(0, 30, 3, 20)),
            (secret_id(2), Some(IP), "tests/1", counter(10, 10, 1, 0)),
        ]
    );
}

#[test]
fn an_environment_is_found_by_its_exact_name_and_gone_when_removed() {
    let world = World::new();
    assert_eq!(world.authority.environment("staging").unwrap().issuer(), STAGING);
    for name in ["", "Staging", "stagin", "staging ", "development"] {
        assert!(world.authority.environment(name).is_none(), "{name:?}");
    }
    world.authority.remove_environment(&slug("staging"));
    assert!(world.authority.environment("staging").is_none());
    assert!(world.authority.environment("production").is_some());
}

// Content of a token.

#[test]
fn rfc_9068_2_a_token_says_exactly_this() {
    let world = World::with_client();
    world.set(999_999);
    let client = world.client(1, 1);
    let issued = world.authority.issue(&world.staging, &client, None).unwrap();
    assert_eq!((issued.expires_in, issued.scope.as_str()), (3600, "read write"));
    let kid = world.staging.jwks(at(0))["keys"][0]["kid"].clone();
    assert_eq!(part(&issued.access_token, 0), json!({"alg": "EdDSA", "kid": kid, "typ": "at+jwt"}));
    let claims = part(&issued.access_token, 1);
    let jti = claims["jti"].as_str().unwrap();
    assert!(jti.len() == 22 && jti.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{jti}");
    let seconds = NOW / SECOND;
    assert_eq!(
        claims,
        json!({
            "iss": STAGING,
            "sub": client_id(1).as_str(),
            "client_id": client_id(1).as_str(),
            "aud": STAGING,
            // Whole seconds, rounded down: a token is never valid before it was issued.
            "iat": seconds,
            "exp": seconds + 3600,
            "jti": jti,
            "crossfade_secret": secret_id(1).as_str(),
            "scope": "read write",
        })
    );
}

#[test]
fn a_token_has_the_registration_s_audience_lifetime_and_scopes() {
    let world = World::new();
    for ttl in [60, 86_400] {
        world.put(1, &[(1, None, None)], |registration| {
            registration.audience = Some("https://api.example.com/~v1?x='{}'".to_owned());
            registration.ttl = TokenTtl::parse(ttl).unwrap();
            registration.scopes = Scopes::default();
        });
        let client = world.client(1, 1);
        let issued = world.authority.issue(&world.staging, &client, None).unwrap();
        let claims = part(&issued.access_token, 1);
        assert_eq!(claims["aud"], "https://api.example.com/~v1?x='{}'");
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), ttl);
        assert_eq!(i64::from(issued.expires_in), ttl);
        assert_eq!((issued.scope.as_str(), claims.get("scope")), ("", None), "no empty scope is claimed");
    }
}

#[test]
fn rfc_6749_3_3_scope_is_granted_whole_or_refused() {
    let world = World::with_client();
    let client = world.client(1, 1);
    let grant = |scope| world.authority.issue(&world.staging, &client, scope);
    for (asked, granted) in [
        (None, "read write"),
        (Some(""), "read write"),
        (Some("write"), "write"),
        (Some("write read"), "read write"),
    ] {
        let issued = grant(asked).unwrap();
        assert_eq!(issued.scope, granted);
        assert_eq!(part(&issued.access_token, 1)["scope"], granted);
    }
    for refused in ["admin", "read admin", "READ"] {
        assert_eq!(grant(Some(refused)).err(), Some(OauthError::InvalidScope), "{refused:?}");
    }
    assert_eq!(grant(Some("read\",\"aud\":\"x")).err(), Some(OauthError::MalformedScope));
}

/// Every character that a scope and an audience can contain (RFC 6749 §3.3) is unescaped in the claims.
#[test]
fn claims_are_json_whatever_a_registration_holds() {
    let world = World::new();
    let visible: String =
        (0x21..=0x7eu8).map(char::from).filter(|character| !matches!(character, '"' | '\\')).collect();
    world.put(1, &[(1, None, None)], |registration| {
        registration.scopes = Scopes::parse(std::slice::from_ref(&visible)).unwrap();
        registration.audience = Some(crossfade_core::registration::audience(&visible).unwrap());
    });
    let client = world.client(1, 1);
    let token = world.token(&client);
    let claims = part(&token, 1);
    assert_eq!((claims["scope"].as_str(), claims["aud"].as_str()), (Some(&*visible), Some(&*visible)));
    assert!(world.is_active(&client, &token));
}

#[test]
fn a_token_belongs_to_the_moment_of_the_authentication() {
    let world = World::with_client();
    let client = world.client(1, 1);
    world.set(HOUR);
    assert_eq!(part(&world.token(&client), 1)["iat"], NOW / SECOND);
}

#[test]
fn an_environment_that_cannot_sign_says_so() {
    let world = World::with_client();
    for keys in [vec![], vec![key(at(1), None)], vec![key(at(-9), Some(at(0)))]] {
        let cannot = environment("staging", keys);
        let refused = world.authority.issue(&cannot, &world.client(1, 1), None);
        assert_eq!(refused.err(), Some(OauthError::TemporarilyUnavailable));
    }
}

#[test]
fn no_two_tokens_have_the_same_jti() {
    let world = World::with_client();
    let client = world.client(1, 1);
    let jti = |token: &str| part(token, 1)["jti"].as_str().unwrap().to_owned();
    let jtis: Vec<String> = std::thread::scope(|threads| {
        let issuing = [(); 3]
            .map(|()| threads.spawn(|| (0..200).map(|_| jti(&world.token(&client))).collect::<Vec<_>>()));
        issuing.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(jtis.iter().collect::<HashSet<_>>().len(), 600);
}

#[test]
fn signing_keys_roll_over_without_a_token_that_fails() {
    let world = World::with_client();
    let next_from = signing_key::activation(at(0), false);
    let first = KeyTimes { active_from: at(-1), removed_at: None };
    let gone = signing_key::removal(first, next_from, at(0));
    let staging = environment("staging", vec![key(at(-1), Some(gone)), key(next_from, None)]);
    world.put(1, &[(1, None, None)], |registration| registration.ttl = TokenTtl::LONGEST);
    let issue = || {
        let client = world.client(1, 1);
        let token = world.authority.issue(&staging, &client, None).unwrap().access_token;
        (part(&token, 0)["kid"].clone(), token)
    };
    let active = |token: &str| world.authority.introspect(&staging, &world.client(1, 1), token).is_some();
    let micro = Duration::from_micros(1);
    let clock = world.authority.clock();

    clock.set(next_from.before(micro));
    let (old_kid, last_of_old) = issue();
    clock.set(next_from);
    let (new_kid, first_of_new) = issue();
    assert_ne!(old_kid, new_kid);
    assert!(active(&last_of_old) && active(&first_of_new));

    let exp = |token: &str| Timestamp::from_seconds(part(token, 1)["exp"].as_i64().unwrap());
    clock.set(exp(&last_of_old).before(micro));
    assert!(active(&last_of_old), "the old key is published for as long as its last token lives");
    clock.set(gone);
    assert!(!active(&last_of_old));
    let (kid, token) = issue();
    assert!(kid == new_kid && active(&token));
}

// Who gets information about a token.

#[test]
fn rfc_7662_4_a_client_is_told_of_its_own_tokens_and_a_permitted_one_of_all() {
    let world = World::with_client();
    world.put(2, &[(2, None, None)], |_| {});
    world.put(3, &[(3, None, None)], |registration| registration.may_introspect = true);
    let [owner, stranger, permitted] = [(1, 1), (2, 2), (3, 3)].map(|(n, secret)| world.client(n, secret));
    let token = world.token(&owner);
    let told = |client| world.authority.introspect(&world.staging, client, &token).map(|active| active.0);
    let claims: Claims = serde_json::from_value(part(&token, 1)).unwrap();
    assert_eq!(told(&owner), Some(claims.clone()));
    assert_eq!(told(&stranger), None);
    assert_eq!(told(&permitted), Some(claims.clone()));
    let own = |client| world.authority.revocable(&world.staging, client, &token);
    assert_eq!(own(&owner), Some(claims));
    assert_eq!(own(&stranger), None);
    assert_eq!(own(&permitted), None, "to see a token is not to own it (RFC 7009 §2.1)");
}

#[test]
fn a_token_is_active_until_but_not_at_its_exp() {
    let world = World::with_client();
    world.set(700_000);
    let token = world.token(&world.client(1, 1));
    let exp = part(&token, 1)["exp"].as_i64().unwrap() * SECOND - NOW;
    for (micros, active) in [(exp - SECOND, true), (exp - 1, true), (exp, false), (exp + 1, false)] {
        world.set(micros);
        assert_eq!(world.is_active(&world.client(1, 1), &token), active, "{micros}");
    }
}

#[test]
fn another_environment_knows_nothing_of_a_token() {
    let world = World::with_client();
    world.put(2, &[(2, None, None)], |registration| {
        registration.environment = slug("production");
        registration.may_introspect = true;
    });
    let token = world.token(&world.client(1, 1));
    let foreign = world.authenticate(&world.production, 2, &value(2), BASIC).ok().unwrap();
    assert!(world.authority.introspect(&world.production, &foreign, &token).is_none());

    // Not even if both environments had the same keys: the issuer differs.
    let alg = SigningAlg::EdDSA;
    let pkcs8 = SigningKey::generate(alg).unwrap();
    let shared = |name| {
        let times = KeyTimes { active_from: at(-1), removed_at: None };
        environment(name, vec![SigningKey::parse(alg, &pkcs8, times).unwrap()])
    };
    let (staging, production) = (shared("staging"), shared("production"));
    let client = world.client(1, 1);
    let token = world.authority.issue(&staging, &client, None).unwrap().access_token;
    assert!(world.authority.introspect(&staging, &client, &token).is_some());
    assert!(world.authority.introspect(&production, &foreign, &token).is_none());

    // And not if the client stood in another environment than the token.
    world.put(1, &[(1, None, None)], |registration| registration.environment = slug("production"));
    assert!(world.authority.introspect(&staging, &client, &token).is_none());
}

#[test]
fn rule_14_tokens_of_a_disabled_or_deleted_client_are_inactive() {
    let world = World::with_client();
    world.put(2, &[(2, None, None)], |registration| registration.may_introspect = true);
    let (owner, permitted) = (world.client(1, 1), world.client(2, 2));
    let token = world.token(&owner);
    assert!(world.is_active(&permitted, &token));
    world.put(1, &[(1, None, None)], |registration| registration.disabled = true);
    // Also for the client itself, which authenticated before it was disabled.
    assert!(!world.is_active(&permitted, &token) && !world.is_active(&owner, &token));
    world.put(1, &[(1, None, None)], |_| {});
    assert!(world.is_active(&permitted, &token), "enabling gives back what has not ended");
    world.authority.remove_registration(&client_id(1));
    assert!(!world.is_active(&permitted, &token) && !world.is_active(&owner, &token));
}

#[test]
fn rule_13_routine_rotation_leaves_issued_tokens_alone() {
    let world = World::with_client();
    let token = world.token(&world.client(1, 1));
    world.put(1, &[(2, None, None), (1, Some(0), None)], |_| {});
    assert_eq!(world.present(&value(1)), REFUSED);
    assert!(world.is_active(&world.client(1, 2), &token));
    // Not even when the record has long forgotten the secret.
    let secrets: Vec<_> = (2..=5).map(|n| (n, (n < 5).then_some(n as i64), None)).collect();
    world.put(1, &secrets, |_| {});
    assert!(world.is_active(&world.client(1, 5), &token));
}

#[test]
fn rule_12_the_tokens_of_a_compromised_secret_end_and_only_those() {
    let world = World::new();
    world.put(1, &[(2, None, None), (1, Some(HOUR), None)], |_| {});
    world.put(2, &[(3, None, None)], |_| {});
    let (by_old, by_new, other) = (world.client(1, 1), world.client(1, 2), world.client(2, 3));
    let ended = [world.token(&by_old), world.token(&by_old)];
    let (alive, others) = (world.token(&by_new), world.token(&other));
    world.authority.end_tokens_of_secret(secret_id(1), at(24 * HOUR));
    for token in &ended {
        assert!(!world.is_active(&by_new, token));
        assert!(world.authority.revocable(&world.staging, &by_new, token).is_none());
    }
    assert!(world.is_active(&by_new, &alive) && world.is_active(&other, &others));
    // A request that authenticated before the end and issues after it gains nothing.
    assert!(!world.is_active(&by_new, &world.token(&by_old)));
}

#[test]
fn rfc_7009_a_revoked_token_is_inactive_and_only_that_one() {
    let world = World::with_client();
    let client = world.client(1, 1);
    let (revoked, kept) = (world.token(&client), world.token(&client));
    let claims = world.authority.revocable(&world.staging, &client, &revoked).unwrap();
    world.authority.revoke_token(&claims.jti, Timestamp::from_seconds(claims.exp));
    assert!(!world.is_active(&client, &revoked));
    assert!(world.authority.revocable(&world.staging, &client, &revoked).is_none());
    assert!(world.is_active(&client, &kept));
}

#[test]
fn tidying_forgets_revocations_when_and_not_before_the_tokens_have_ended() {
    let world = World::with_client();
    let client = world.client(1, 1);
    let [by_jti, by_secret] = [world.token(&client), world.token(&client)];
    let claims = world.authority.revocable(&world.staging, &client, &by_jti).unwrap();
    let until = Timestamp::from_seconds(claims.exp);
    world.authority.revoke_token(&claims.jti, until);
    world.authority.end_tokens_of_secret(secret_id(1), until);
    let remembered = || {
        let authority = &world.authority;
        (authority.revoked_tokens.pin().len(), authority.secrets_with_ended_tokens.pin().len())
    };
    let clock = world.authority.clock();
    for (now, expected) in
        [(at(0), (1, 1)), (until.before(Duration::from_micros(1)), (1, 1)), (until, (0, 0))]
    {
        clock.advance(now.since(clock.now()));
        world.tidy();
        assert_eq!(remembered(), expected, "{now}");
        let client = world.client(1, 1);
        assert!(!world.is_active(&client, &by_jti) && !world.is_active(&client, &by_secret), "{now}");
    }
}

#[test]
fn a_text_that_is_no_token_is_inactive() {
    let world = World::with_client();
    let client = world.client(1, 1);
    for text in ["", ".", "..", "...", &value(1), client_id(1).as_str(), "e30.e30.", "null"] {
        assert!(!world.is_active(&client, text), "{text}");
        assert!(world.authority.revocable(&world.staging, &client, text).is_none());
    }
}

// Under threads.

/// Tells the readers that the writer is done, even if an assertion failed, because a failing test must not hang.
struct Finished<'a>(&'a AtomicBool);

impl Drop for Finished<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// Returns which of the secrets 1 and 2 is valid in a version of the registration.
fn valid_in(version: usize) -> [bool; 2] {
    [[true, false], [true, true], [false, true]][version % 3]
}

/// Publishes a version: secret 1 current; then retiring beside 2; then ended, by its deadline and by
/// revocation in turn.
fn publish(world: &World, version: usize) {
    let end = if version.is_multiple_of(2) { (1, Some(0), None) } else { (1, Some(HOUR), Some(0)) };
    match version % 3 {
        0 => world.put(1, &[(1, None, None)], |_| {}),
        1 => world.put(1, &[(2, None, None), (1, Some(HOUR), None)], |_| {}),
        _ => world.put(1, &[(2, None, None), end], |_| {}),
    }
}

/// Linearisability, seen from outside: a reader notes which version was published for certain before its
/// request and which one had at most been begun after it; its outcome must be that of a version between. When
/// both are the same, no other outcome is allowed, so no ended secret is accepted after the publishing call
/// has returned.
#[test]
fn rules_2_and_3_each_outcome_was_true_at_some_moment_of_its_request() {
    const VERSIONS: usize = 3_000;
    const READERS: usize = 3;
    let world = World::new();
    publish(&world, 0);
    let (begun, published) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let (certain, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    let start = Barrier::new(READERS + 1);
    std::thread::scope(|threads| {
        for reader in 0..READERS {
            let (world, begun, published, certain, done, start) =
                (&world, &begun, &published, &certain, &done, &start);
            threads.spawn(move || {
                start.wait();
                let mut turn = reader;
                loop {
                    // Read first, so that there is a last round after the last version.
                    let last = done.load(SeqCst);
                    for secret in [turn % 2, (turn + 1) % 2] {
                        let from = published.load(SeqCst);
                        let accepted = world.present(&value(secret + 1)).is_ok();
                        let to = begun.load(SeqCst);
                        assert!(
                            (from..=to).any(|version| valid_in(version)[secret] == accepted),
                            "secret {} accepted: {accepted}, versions {from} to {to}",
                            secret + 1
                        );
                        certain.fetch_add(usize::from(from == to), SeqCst);
                    }
                    turn += 1;
                    if last {
                        break;
                    }
                }
            });
        }
        let _finished = Finished(&done);
        start.wait();
        for version in 1..=VERSIONS {
            begun.store(version, SeqCst);
            publish(&world, version);
            published.store(version, SeqCst);
            if version % 8 == 0 {
                std::thread::yield_now();
            }
        }
    });
    assert!(
        certain.into_inner() >= 2 * READERS,
        "each reader has seen at least the last version for certain"
    );
    let (sources, failures) = world.authority.evidence().drain();
    assert!(!sources.is_empty() && !failures.is_empty());
}

/// Rule 2 when only the clock advances: the deadline passes while requests are running.
#[test]
fn rule_2_no_request_that_begins_after_the_deadline_is_let_in() {
    const ROUNDS: i64 = 300;
    let world = World::new();
    let (deadline, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    world.put(1, &[(2, None, None), (1, Some(SECOND), None)], |_| {});
    std::thread::scope(|threads| {
        for _ in 0..3 {
            threads.spawn(|| {
                while !over.load(SeqCst) {
                    // The secret with this number has ended for certain.
                    let ended = deadline.load(SeqCst);
                    if ended > 0 {
                        assert!(world.present(&value(ended)).is_err(), "secret {ended}");
                    }
                }
            });
        }
        let _finished = Finished(&over);
        for round in 1..=ROUNDS {
            let n = round as usize;
            world.put(1, &[(n + 1, None, None), (n, Some(round * SECOND), None)], |_| {});
            world.set(round * SECOND - 1);
            assert_eq!(world.present(&value(n)), Ok(secret_id(n)));
            world.set(round * SECOND);
            deadline.store(n, SeqCst);
        }
    });
}

/// Publishing one registration disturbs no other.
#[test]
fn a_registration_that_nobody_changes_is_known_all_the_time() {
    let world = World::new();
    world.put(1, &[(1, None, None)], |_| {});
    let over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                while !over.load(SeqCst) {
                    assert_eq!(world.present(&value(1)), Ok(secret_id(1)));
                }
            });
        }
        let _finished = Finished(&over);
        // Enough that the table grows several times under the readers.
        for n in 2..3_000 {
            world.put(n, &[(2, None, None)], |_| {});
            if n % 3 == 0 {
                world.authority.remove_registration(&client_id(n - 1));
            }
        }
    });
    assert_eq!(world.authority.registrations(), 2_999 - 999);
}

#[test]
fn rule_12_no_token_of_a_compromised_secret_is_active_after_the_end_was_published() {
    const SECRETS: usize = 200;
    let world = World::new();
    let (ended, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let tokens: Vec<String> = (1..=SECRETS)
        .map(|n| {
            world.put(1, &[(n, None, None)], |_| {});
            world.token(&world.client(1, n))
        })
        .collect();
    let client = world.client(1, SECRETS);
    std::thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                loop {
                    let certain = ended.load(SeqCst);
                    if certain > 0 {
                        assert!(!world.is_active(&client, &tokens[certain - 1]), "{certain}");
                    }
                    if certain == SECRETS || over.load(SeqCst) {
                        break;
                    }
                }
            });
        }
        let _finished = Finished(&over);
        for n in 1..=SECRETS {
            assert!(world.is_active(&client, &tokens[n - 1]), "{n}");
            world.authority.end_tokens_of_secret(secret_id(n), at(24 * HOUR));
            ended.store(n, SeqCst);
            world.tidy();
        }
    });
}
