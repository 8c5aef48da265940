//! The time of secrets and the machine's time, where they are apart (rule 20).

use super::*;

const DAY: i64 = 24 * HOUR;
const MINUTE: i64 = 60 * SECOND;

fn iat_and_exp(token: &str) -> (i64, i64) {
    let claims = part(token, 1);
    (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap())
}

#[test]
fn rule_20_a_token_tells_the_machine_s_time_whatever_was_stored() {
    let world = World::with_client();
    for stored in [0, MINUTE, DAY, 365 * DAY] {
        world.authority.clock().raise(at(stored));
        let client = world.client(1, 1);
        let issued = world.authority.issue(&world.staging, &client, None).unwrap();
        let (iat, exp) = iat_and_exp(&issued.access_token().unwrap());
        assert_eq!(iat, at(0).as_seconds(), "no token is issued in the future");
        assert_eq!(exp - iat, i64::from(issued.expires_in), "no token lives longer than it claims");
        assert!(world.is_active(&client, &issued.access_token().unwrap()));
        assert!(
            world.authority.revocable(&world.staging, &client, &issued.access_token().unwrap()).is_some()
        );
    }
}

#[test]
fn rule_20_introspection_ends_a_token_by_the_machine_s_clock() {
    let world = World::with_client();
    world.authority.clock().raise(at(DAY));
    let token = world.token(&world.client(1, 1));
    let (_, exp) = iat_and_exp(&token);
    let end = Timestamp::from_seconds(exp);
    let clock = world.authority.clock();
    clock.advance(end.since(clock.machine()) - Duration::from_micros(1));
    assert!(world.is_active(&world.client(1, 1), &token));
    clock.advance(Duration::from_micros(1));
    assert!(!world.is_active(&world.client(1, 1), &token));
}

#[test]
fn rule_20_a_clock_that_is_set_back_costs_no_token() {
    let world = World::with_client();
    let token = world.token(&world.client(1, 1));
    for behind in [MINUTE, HOUR, DAY, 30 * DAY] {
        world.set(-behind);
        assert!(world.is_active(&world.client(1, 1), &token), "{behind}");
        let newer = world.token(&world.client(1, 1));
        assert!(world.is_active(&world.client(1, 1), &newer), "{behind}");
    }
}

#[test]
fn rule_20_a_token_from_before_a_set_back_lives_no_longer() {
    let world = World::with_client();
    let token = world.token(&world.client(1, 1));
    let (iat, exp) = iat_and_exp(&token);
    world.set(-DAY);
    let clock = world.authority.clock();
    clock.advance(Duration::from_secs((exp - iat) as u64) - Duration::from_secs(1));
    assert!(world.is_active(&world.client(1, 1), &token));
    clock.advance(Duration::from_secs(1));
    assert!(!world.is_active(&world.client(1, 1), &token), "its lifetime has run on");
}

#[test]
fn a_token_from_before_a_wrong_jump_is_valid_again_after_it() {
    let world = World::with_client();
    let token = world.token(&world.client(1, 1));
    world.set(DAY);
    assert!(!world.is_active(&world.client(1, 1), &token));
    world.set(0);
    assert!(world.is_active(&world.client(1, 1), &token));
}

#[test]
fn rule_20_a_corrected_clock_brings_no_revoked_token_back() {
    let world = World::with_client();
    let client = world.client(1, 1);
    let [by_jti, by_secret] = [world.token(&client), world.token(&client)];
    let claims = world.authority.revocable(&world.staging, &client, &by_jti).unwrap();
    world.authority.revoke_token(&claims.jti, Timestamp::from_seconds(claims.exp));
    world.authority.end_tokens_of_secret(secret_id(1), at(25 * HOUR));
    for wrong in [HOUR, DAY, 2 * DAY, 40 * DAY] {
        world.set(wrong);
        world.tidy();
        world.set(0);
        let client = world.client(1, 1);
        assert!(!world.is_active(&client, &by_jti) && !world.is_active(&client, &by_secret), "{wrong}");
    }
}

#[test]
fn rule_20_a_revocation_is_kept_while_the_machine_s_clock_is_behind() {
    let world = World::with_client();
    let client = world.client(1, 1);
    let token = world.token(&client);
    let claims = world.authority.revocable(&world.staging, &client, &token).unwrap();
    world.authority.revoke_token(&claims.jti, Timestamp::from_seconds(claims.exp));
    world.authority.clock().raise(at(2 * DAY));
    world.tidy();
    assert!(!world.is_active(&world.client(1, 1), &token), "the stored time alone has passed its end");
}

#[test]
fn a_deadline_passes_by_the_stored_time_and_no_token_with_it() {
    let world = World::new();
    world.put(1, &[(2, None, None), (1, Some(HOUR), None)], |_| {});
    let token = world.token(&world.client(1, 1));
    world.authority.clock().raise(at(DAY));
    assert_eq!(world.present(&value(1)), REFUSED);
    assert!(world.is_active(&world.client(1, 2), &token));
}
