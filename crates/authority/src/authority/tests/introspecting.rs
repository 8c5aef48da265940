//! Which tokens are active.

use super::*;

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
    let token = world.authority.issue(&staging, &client, None).unwrap().access_token().unwrap();
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
    world.authority.remove_registration(IssuerMode::Own, &slug("staging"), &client_id(1));
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

/// Also after the unchanged token was found active, and is remembered.
#[test]
fn a_token_with_any_byte_changed_is_inactive() {
    for alg in [SigningAlg::EdDSA, SigningAlg::ES256, SigningAlg::RS256] {
        let world = World::with_client();
        let pkcs8 = SigningKey::generate(alg).unwrap();
        let times = KeyTimes { active_from: at(-1), removed_at: None };
        let staging = environment("staging", vec![SigningKey::parse(alg, &pkcs8, times).unwrap()]);
        let client = world.client(1, 1);
        let token = world.authority.issue(&staging, &client, None).unwrap().access_token().unwrap();
        let is_active = |token: &str| world.authority.introspect(&staging, &client, token).is_some();
        assert!(is_active(&token) && is_active(&token), "{alg:?}");
        for place in 0..token.len() {
            let own = token.as_bytes()[place];
            // The next digit of base64url, one that differs in its first bits, and bytes that are no digit.
            let others = [own ^ 1, own ^ 0x20, b'A', b'_', b'.', b'=', b' '];
            for other in others.into_iter().filter(|other| *other != own) {
                let mut changed = token.clone().into_bytes();
                changed[place] = other;
                let changed = String::from_utf8(changed).unwrap();
                assert!(!is_active(&changed), "{alg:?}: byte {place} is {other}");
            }
            assert!(!is_active(&token[..place]), "{alg:?}: cut at {place}");
        }
        assert!(is_active(&token), "{alg:?}");
    }
}

/// What is remembered of a token is its signature alone.
#[test]
fn a_remembered_token_ends_as_any_other() {
    let world = World::with_client();
    let alg = SigningAlg::ES256;
    let pkcs8 = SigningKey::generate(alg).unwrap();
    let key =
        |removed_at| SigningKey::parse(alg, &pkcs8, KeyTimes { active_from: at(-1), removed_at }).unwrap();
    let staging = environment("staging", vec![key(None)]);
    let client = world.client(1, 1);
    let token = world.authority.issue(&staging, &client, None).unwrap().access_token().unwrap();
    let told = |environment: &Environment| {
        let client = world.client(1, 1);
        world.authority.introspect(environment, &client, &token).is_some()
    };
    assert!(told(&staging) && told(&staging));
    assert!(!told(&environment("staging", vec![key(Some(at(0)))])), "its key is no longer published");
    assert!(!told(&world.production) && !told(&world.staging), "an environment with other keys");
    world.put(1, &[(1, None, None)], |registration| registration.token_generation = 1);
    assert!(!told(&staging), "its registration was disabled since");
    world.put(1, &[(1, None, None)], |_| {});
    assert!(told(&staging));
    let exp = part(&token, 1)["exp"].as_i64().unwrap() * SECOND - NOW;
    world.set(exp);
    assert!(!told(&staging));
    world.set(0);
    world.authority.end_tokens_of_secret(secret_id(1), at(24 * HOUR));
    assert!(!told(&staging));
}
