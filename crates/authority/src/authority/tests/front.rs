//! Environments in front of other issuers, whose client_ids are given by those issuers.

use super::*;
use crate::{SealedSlot, UpstreamCredential};
use crossfade_core::{
    networks::Networks,
    upstream::{CredentialMethod, IssuerKind, Server, Slot, UnregisteredClients, Upstream},
};

const GIVEN: &str = "web:app \"1\" \\ %2B";

fn upstream() -> Upstream {
    let server = Server {
        name: "main".to_owned(),
        issuer: "https://id.example.com".to_owned(),
        token_endpoint: "https://id.example.com/token".to_owned(),
        pushed_authorization_request_endpoint: None,
        device_authorization_endpoint: None,
        backchannel_authentication_endpoint: None,
        revocation_endpoint: None,
        introspection_endpoint: None,
    };
    Upstream { kind: IssuerKind::Generic, servers: vec![server], request_headers: vec![] }
}

fn front(name: &str) -> Environment {
    let issuer = format!("https://auth.example.com/{name}");
    Environment::in_front_of(slug(name), issuer, upstream(), UnregisteredClients::Pass)
}

/// Publishes registration `n` with the given `client_id` in an environment in front of another issuer. Its secret has
/// the same number.
fn put(world: &World, n: usize, environment: &str, given: &str) {
    let (digest_key, digest) = world.authority.digest(registration_id(n).as_str(), &value(n)).unwrap();
    world.put(n, &[], |registration| {
        registration.client_id = OauthClientId::parse(given).unwrap();
        registration.environment = slug(environment);
        registration.issuer_mode = IssuerMode::Upstream;
        registration.secrets = vec![SecretSlot {
            id: secret_id(n),
            digest,
            digest_key,
            has_value_digest: true,
            expires_at: None,
            revoked_at: None,
            drill: None,
        }];
    });
}

fn present(world: &World, environment: &str, client_id: &str, secret: usize) -> Result<SecretId, OauthError> {
    let environment = world.authority.environment(environment).unwrap();
    let value = value(secret);
    let credentials = Credentials {
        client_id,
        secret: &value,
        further_readings: &[],
        method: BASIC,
        source: Source { ip: IP, user_agent: "tests/1", instance: "" },
        sender: Some(IP),
    };
    world.authority.authenticate(&environment, &credentials).map(|client| client.secret().clone())
}

fn world() -> World {
    let world = World::with_client();
    world.authority.put_environment(front("okta"));
    world.authority.put_environment(front("auth0"));
    world
}

#[test]
fn a_given_client_id_belongs_to_its_environment() {
    let world = world();
    put(&world, 2, "okta", GIVEN);
    put(&world, 3, "auth0", GIVEN);
    assert_eq!(present(&world, "okta", GIVEN, 2), Ok(secret_id(2)));
    assert_eq!(present(&world, "auth0", GIVEN, 3), Ok(secret_id(3)));
    assert_eq!(present(&world, "okta", GIVEN, 3), REFUSED);
    assert_eq!(present(&world, "auth0", GIVEN, 2), REFUSED);
    assert_eq!(present(&world, "staging", GIVEN, 2), REFUSED);
    world.authority.remove_registration(
        IssuerMode::Upstream,
        &slug("okta"),
        &OauthClientId::parse(GIVEN).unwrap(),
    );
    assert_eq!(present(&world, "okta", GIVEN, 2), REFUSED);
    assert_eq!(present(&world, "auth0", GIVEN, 3), Ok(secret_id(3)));
}

#[test]
fn a_given_client_id_never_takes_the_place_of_a_generated_one() {
    let world = world();
    let own = client_id(1);
    put(&world, 2, "okta", own.as_str());
    assert_eq!(present(&world, "staging", own.as_str(), 1), Ok(secret_id(1)));
    assert_eq!(present(&world, "okta", own.as_str(), 2), Ok(secret_id(2)));
    for (environment, secret) in [("staging", 2), ("okta", 1), ("auth0", 1), ("auth0", 2), ("production", 1)]
    {
        assert_eq!(present(&world, environment, own.as_str(), secret), REFUSED, "{environment} {secret}");
    }
    let token = world.token(&world.client(1, 1));
    world.authority.remove_registration(IssuerMode::Upstream, &slug("okta"), &own);
    assert!(world.is_active(&world.client(1, 1), &token));
}

#[test]
fn a_digest_that_was_copied_to_another_environment_matches_nothing_there() {
    let world = world();
    put(&world, 2, "okta", GIVEN);
    let (digest_key, digest) = world.authority.digest(registration_id(2).as_str(), &value(2)).unwrap();
    let (_, of_name) = world.authority.digest(GIVEN, &value(2)).unwrap();
    for digest in [digest, of_name] {
        world.put(3, &[], |registration| {
            registration.client_id = OauthClientId::parse(GIVEN).unwrap();
            registration.environment = slug("auth0");
            registration.issuer_mode = IssuerMode::Upstream;
            registration.secrets = vec![SecretSlot {
                id: secret_id(3),
                digest,
                digest_key: digest_key.clone(),
                has_value_digest: true,
                expires_at: None,
                revoked_at: None,
                drill: None,
            }];
        });
        assert_eq!(present(&world, "auth0", GIVEN, 2), REFUSED);
    }
}

#[test]
fn an_environment_in_front_of_another_issuer_issues_nothing_and_has_no_keys() {
    let world = world();
    put(&world, 2, "okta", GIVEN);
    let environment = world.authority.environment("okta").unwrap();
    let value = value(2);
    let credentials = Credentials {
        client_id: GIVEN,
        secret: &value,
        further_readings: &[],
        method: BASIC,
        source: Source { ip: IP, user_agent: "tests/1", instance: "" },
        sender: Some(IP),
    };
    let client = world.authority.authenticate(&environment, &credentials).ok().unwrap();
    let refused = world.authority.issue(&environment, &client, None).err();
    assert_eq!(refused, Some(OauthError::TemporarilyUnavailable));
    assert_eq!(environment.jwks(at(0))["keys"], json!([]));
    let own = world.token(&world.client(1, 1));
    assert!(world.authority.introspect(&environment, &client, &own).is_none());
    assert!(world.authority.revocable(&environment, &client, &own).is_none());
    assert_eq!((client.client_id().as_str(), client.registration()), (GIVEN, &registration_id(2)));
}

#[test]
fn replaced_tables_keep_both_kinds_of_registrations_apart() {
    let world = world();
    put(&world, 2, "okta", GIVEN);
    put(&world, 3, "auth0", GIVEN);
    assert_eq!(world.authority.registrations(), 3);
    let slot = SealedSlot::new(Slot::Current, vec![1], at(0));
    let method = CredentialMethod::ClientSecretBasic;
    let credential =
        UpstreamCredential::new((method, Default::default()), Vec::new(), vec![slot], Slot::Current);
    world.authority.put_upstream_credential(&registration_id(2), Some(credential));
    assert!(world.authority.upstream_credential(&registration_id(2)).is_some());
    assert!(world.authority.upstream_credential(&registration_id(3)).is_none());
    let changed = world.authority.replace(Tables { environments: vec![front("okta")], ..Tables::default() });
    let given = OauthClientId::parse(GIVEN).unwrap();
    assert_eq!(changed, [client_id(1), given.clone(), given]);
    assert_eq!(world.authority.registrations(), 0);
    assert_eq!(present(&world, "okta", GIVEN, 2), REFUSED);
    assert!(world.authority.upstream_credential(&registration_id(2)).is_none(), "replaced, too");
    put(&world, 2, "okta", GIVEN);
    world.authority.remove_unreadable(&registration_id(2), Some(&(slug("okta"), "unreadable".to_owned())));
    assert_eq!(world.authority.registrations(), 0);
}

#[test]
fn a_client_id_stays_given_when_its_registration_is_disabled_deleted_or_unreadable() {
    let world = world();
    let okta = front("okta");
    let was_given = |name| world.authority.was_given(&okta, name);
    assert!(okta.passes_unregistered());
    put(&world, 2, "okta", "billing");
    put(&world, 3, "auth0", "elsewhere");
    assert_eq!(["billing", "BILLING ", "elsewhere", "other"].map(was_given), [true, true, false, false]);
    let billing = OauthClientId::parse("billing").unwrap();
    world.authority.remove_registration(IssuerMode::Upstream, &slug("okta"), &billing);
    assert!(was_given("billing"), "deleted");
    world.authority.remove_unreadable(&registration_id(4), Some(&(slug("okta"), "broken".to_owned())));
    assert!(was_given("broken"));
    let given = vec![(slug("okta"), "deleted".to_owned())];
    world.authority.replace(Tables { given, ..Tables::default() });
    assert_eq!(["billing", "broken", "deleted"].map(was_given), [false, false, true], "another history");
}

#[test]
fn a_secret_that_can_be_read_in_several_ways_is_accepted_in_each_of_them() {
    let world = world();
    put(&world, 2, "okta", GIVEN);
    let environment = world.authority.environment("okta").unwrap();
    let present = |client_id: &str, readings: [usize; 3]| {
        let [secret, further @ ..] = readings.map(value);
        let credentials = Credentials {
            client_id,
            secret: &secret,
            further_readings: &[&further[0], &further[1]],
            method: BASIC,
            source: Source { ip: IP, user_agent: "tests/1", instance: "" },
            sender: Some(IP),
        };
        world.authority.authenticate(&environment, &credentials).map(|client| client.secret().clone())
    };
    for readings in [[2, 8, 9], [8, 2, 9], [8, 9, 2]] {
        assert_eq!(present(GIVEN, readings), Ok(secret_id(2)), "{readings:?}");
        assert_eq!(present("nobody", readings), REFUSED);
    }
    assert_eq!(present(GIVEN, [7, 8, 9]), REFUSED);
}

#[test]
fn only_what_can_learn_learns_and_only_until_the_time() {
    let world = world();
    let learner =
        |environment: &Environment, readings: [usize; 2], method: AuthMethod, sender: Option<IpAddr>| {
            let [secret, further] = readings.map(value);
            let credentials = Credentials {
                client_id: GIVEN,
                secret: &secret,
                further_readings: &[&further],
                method,
                source: Source { ip: IP, user_agent: "tests/1", instance: "" },
                sender,
            };
            world.authority.learner(environment, &credentials).is_some()
        };
    let put = |change: &dyn Fn(&mut Registration)| {
        let (digest_key, digest) = world.authority.digest(registration_id(2).as_str(), &value(2)).unwrap();
        world.put(2, &[], |registration| {
            registration.client_id = OauthClientId::parse(GIVEN).unwrap();
            registration.environment = slug("okta");
            registration.issuer_mode = IssuerMode::Upstream;
            registration.learns = true;
            registration.secrets = vec![SecretSlot {
                id: secret_id(2),
                digest,
                digest_key,
                has_value_digest: true,
                expires_at: None,
                revoked_at: Some(at(-1)),
                drill: None,
            }];
            change(registration);
        });
    };
    let until = |micros: i64| front("okta").adopting_until(Some(at(micros)));
    put(&|_| {});
    assert!(learner(&until(1), [3, 4], BASIC, Some(IP)));
    for environment in [until(0), until(-1), front("okta"), front("auth0").adopting_until(Some(at(1)))] {
        assert!(!learner(&environment, [3, 4], BASIC, Some(IP)));
    }
    for known in [[2, 3], [3, 2]] {
        assert!(!learner(&until(1), known, BASIC, Some(IP)), "a secret that has ended");
    }
    put(&|registration| registration.learns = false);
    assert!(!learner(&until(1), [3, 4], BASIC, Some(IP)));
    put(&|registration| registration.disabled = true);
    assert!(!learner(&until(1), [3, 4], BASIC, Some(IP)));
    put(&|registration| {
        registration.methods = AuthMethods::parse(&[AuthMethod::ClientSecretPost]).unwrap();
    });
    assert!(!learner(&until(1), [3, 4], BASIC, Some(IP)));
    assert!(learner(&until(1), [3, 4], AuthMethod::ClientSecretPost, Some(IP)));
    put(&|registration| {
        registration.allowed_networks = Some(Networks::parse("n", &["10.0.0.0/8".to_owned()]).unwrap())
    });
    for (sender, can) in [(Some(IP), false), (None, false), (Some([10, 1, 2, 3].into()), true)] {
        assert_eq!(learner(&until(1), [3, 4], BASIC, sender), can, "{sender:?}");
    }
}
