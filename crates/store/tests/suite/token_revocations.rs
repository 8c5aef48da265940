//! Access tokens that OAuth clients revoked, and how long each is kept.

use crate::engines::on_both_engines;
use crate::harness::*;
use crossfade_core::{Timestamp, forget::Passed};
use crossfade_store::{RevocationSum, TokenRevocation};
use std::time::Duration;

on_both_engines! {
    revocations_are_numbered_within_their_hour_and_registration,
    an_hour_is_summed_once_it_has_ended_by_secret_and_address,
    a_revoked_access_token_is_kept_until_it_would_have_ended_rfc7009,
    the_time_that_the_clock_has_shown_is_stored,
}

const HOUR: u32 = 3600;

/// Returns the time `second` seconds after a full hour.
fn past_hour(second: u32) -> Timestamp {
    at(HOUR - 300 + second)
}

fn revocation(registration: usize, secret: usize, address: &str) -> TokenRevocation {
    TokenRevocation {
        registration_id: registration_id(registration),
        secret_id: secret_id(secret),
        source_ip: address.to_owned(),
    }
}

async fn count(t: &TestDb, revocations: &[TokenRevocation], second: u32) -> Vec<i64> {
    t.write(async |tx| tx.count_token_revocations(revocations, 3, past_hour(second)).await).await
}

async fn sums(t: &TestDb, told: i64, second: u32) -> Vec<RevocationSum> {
    t.write(async |tx| tx.sum_token_revocations(told, past_hour(second)).await).await
}

async fn revocations_are_numbered_within_their_hour_and_registration(t: TestDb) {
    t.write(seed_client).await;
    let (one, two) = (revocation(1, 1, "192.0.2.1"), revocation(2, 2, "192.0.2.1"));
    assert_eq!(count(&t, &[one.clone(), two.clone(), one.clone()], 10).await, [1, 1, 2]);
    assert_eq!(count(&t, &[one.clone(), two.clone()], HOUR - 1).await, [3, 2]);
    assert_eq!(count(&t, &[one], HOUR).await, [1], "another hour");
    assert_eq!(count(&t, &[], HOUR).await, [0; 0]);
}

async fn an_hour_is_summed_once_it_has_ended_by_secret_and_address(t: TestDb) {
    t.write(seed_client).await;
    let flood: Vec<_> = (0..70).map(|n| revocation(1, 1 + n % 2, "192.0.2.1")).collect();
    count(&t, &flood, 10).await;
    count(&t, &[revocation(1, 1, "192.0.2.9")], 20).await;
    for n in 0..5 {
        count(&t, &[revocation(1, 1, &format!("198.51.100.{n}"))], 30 + n).await;
    }
    count(&t, &[revocation(2, 2, "192.0.2.1")], 10).await;
    assert!(sums(&t, 20, HOUR - 1).await.is_empty(), "it has not ended");
    let told = sums(&t, 20, HOUR).await;
    let sum = |secret, address, second, count| RevocationSum {
        hour: past_hour(0),
        revocation: revocation(1, secret, address),
        last_at: past_hour(second),
        count,
    };
    // Three groups, and the rest; the registration with one revocation has no sum.
    let expected = [
        sum(1, "", 34, 5),
        sum(1, "192.0.2.1", 10, 35),
        sum(1, "192.0.2.9", 20, 1),
        sum(2, "192.0.2.1", 10, 35),
    ];
    assert_eq!(told, expected);
    assert!(sums(&t, 0, HOUR).await.is_empty(), "told once");
}

async fn a_revoked_access_token_is_kept_until_it_would_have_ended_rfc7009(t: TestDb) {
    let revoke = async |jti, expires, now| {
        let token = [(String::from(jti), at(expires))];
        !t.write(async |tx| tx.revoke_access_tokens(&token, at(now)).await).await.is_empty()
    };
    assert!(revoke("a", 50, 10).await);
    assert!(!revoke("a", 90, 20).await, "twice is once");
    assert!(revoke("b", 60, 10).await);
    let get = async |jti| t.read(async |tx| tx.revoked_access_token(jti).await).await;
    assert_eq!((get("a").await, get("A").await), (Some(at(50)), None));
    let all = async || {
        let rows = t.read(async |tx| tx.revoked_access_tokens().await).await;
        let mut rows: Vec<_> = rows.into_iter().collect::<Result<_, _>>().unwrap();
        rows.sort();
        rows
    };
    let (a, b) = (("a".to_owned(), at(50)), ("b".to_owned(), at(60)));
    assert_eq!(all().await, [a, b.clone()]);
    let forget = async |now| t.write(async |tx| tx.forget_revoked_access_tokens(now).await).await;
    assert_eq!((forget(at(50).before(MICRO)).await, forget(at(50)).await), (0, 1));
    assert_eq!((get("a").await, get("b").await), (None, Some(at(60))));
    assert_eq!(all().await, [b]);
}

async fn the_time_that_the_clock_has_shown_is_stored(t: TestDb) {
    let read = async || t.read(async |tx| tx.passed().await).await;
    assert_eq!(read().await, Passed { at: Timestamp::from_micros(0), ran: Duration::ZERO });
    let passed = Passed { at: at(50), ran: Duration::from_micros(7) };
    t.write(async |tx| tx.set_passed(passed).await).await;
    assert_eq!(read().await, passed);
}
