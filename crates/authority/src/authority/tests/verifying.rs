//! Which secret is accepted, and what each use and each refusal leaves.

use super::*;

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
        let (digest_key, digest) = world.authority.digest(client_id(n).as_str(), &value(n)).unwrap();
        let secret = SecretSlot {
            id: secret_id(n),
            digest,
            digest_key,
            has_value_digest: true,
            expires_at: None,
            revoked_at: None,
            drill: None,
        };
        Registration {
            id: registration_id(n),
            client_id: client_id(n),
            environment: slug("staging"),
            issuer_mode: IssuerMode::Own,
            disabled,
            methods: AuthMethods::default(),
            scopes: Scopes::parse(&["read".to_owned(), "write".to_owned()]).unwrap(),
            audience: None,
            ttl: TokenTtl::default(),
            token_generation: 0,
            may_introspect: false,
            allowed_networks: None,
            learns: false,
            secrets: vec![secret],
        }
    };
    let changed = world.authority.replace(Tables {
        environments: vec![environment("staging", vec![key(at(-1), None)])],
        registrations: vec![as_published(1, false), as_published(2, true), as_published(4, false)],
        given: Vec::new(),
        upstream_credentials: Vec::new(),
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
    assert_eq!(world.authority.malformed(IP), OauthError::InvalidClient);
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
            further_readings: &[],
            method: BASIC,
            source: Source { ip: IP, user_agent: "", instance: "" },
            sender: Some(IP),
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
    let (_, digest) = world.authority.digest(client_id(1).as_str(), &value(1)).unwrap();
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let again = world.authority.digest(client_id(1).as_str(), &hex).unwrap().1;
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

    world.authority.remove_registration(IssuerMode::Own, &slug("staging"), &client_id(1));
    assert_eq!(world.authority.registrations(), 0);
    assert!(enters(2, POST).is_err());
    assert_eq!(world.failure().failure, Failure::UnknownClient);
    world.authority.remove_registration(IssuerMode::Own, &slug("staging"), &client_id(1));
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
fn a_missing_digest_of_a_value_is_noted_once_for_a_valid_and_for_an_ended_secret() {
    let world = World::new();
    let staging = world.staging.clone();
    let put = |n: usize, is_missing: bool| {
        world.put(n, &[(n, None, None), (n + 10, Some(-1), None)], |registration| {
            registration.secrets.iter_mut().for_each(|secret| secret.has_value_digest = !is_missing);
        });
    };
    put(1, false);
    put(2, true);
    for _ in 0..2 {
        for n in [1, 2] {
            assert!(world.authenticate(&staging, n, &value(n), BASIC).is_ok());
            assert!(world.authenticate(&staging, n, &value(n + 10), BASIC).is_err());
            assert!(world.authenticate(&staging, n, "wrong", BASIC).is_err());
        }
    }
    let mut noted = world.authority.take_outdated(9);
    noted.sort_by(|a, b| a.secret.cmp(&b.secret));
    let secrets: Vec<_> = noted.iter().map(|it| it.secret.clone()).collect();
    assert_eq!(secrets, [secret_id(2), secret_id(12)]);
    assert!(noted.iter().all(|it| it.digest.is_none()), "the digests that verify stay");
    assert_eq!(Some(noted[1].value_digest), world.authority.value_digest(&value(12)));
    put(2, false);
    assert!(world.authenticate(&staging, 2, &value(2), BASIC).is_ok());
    assert!(world.authority.take_outdated(9).is_empty());
}
