//! The tokens that are issued, and the keys that sign them.

use super::*;

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
    assert_eq!((issued.expires_in, &*issued.scope), (3600, "read write"));
    let kid = world.staging.jwks(at(0))["keys"][0]["kid"].clone();
    assert_eq!(
        part(&issued.access_token().unwrap(), 0),
        json!({"alg": "EdDSA", "kid": kid, "typ": "at+jwt"})
    );
    let claims = part(&issued.access_token().unwrap(), 1);
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
        let claims = part(&issued.access_token().unwrap(), 1);
        assert_eq!(claims["aud"], "https://api.example.com/~v1?x='{}'");
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), ttl);
        assert_eq!(i64::from(issued.expires_in), ttl);
        assert_eq!((&*issued.scope, claims.get("scope")), ("", None), "no empty scope is claimed");
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
        assert_eq!(part(&issued.access_token().unwrap(), 1)["scope"], granted);
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
        let client = world.client(1, 1);
        let refused = world.authority.issue(&cannot, &client, None);
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
        let token = world.authority.issue(&staging, &client, None).unwrap().access_token().unwrap();
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
