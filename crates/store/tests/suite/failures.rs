//! Evidence of failures, as the flush adds it (rule 17).

use crate::engines::on_both_engines;
use crate::harness::*;
use crossfade_core::Timestamp;
use crossfade_store::{FailureFilter, FailureRow, KnownFailure, PageStart, Usage};

on_both_engines! {
    failures_of_one_kind_and_source_add_up_within_the_hour,
    failures_beyond_the_cap_are_gathered_without_their_source,
    the_first_failure_of_a_kind_in_an_hour_is_told_from_the_next,
    an_hour_is_summed_once_when_it_has_ended,
    failures_are_read_page_by_page_without_a_repetition,
    many_failures_at_once_are_what_they_are_one_by_one,
}

fn usage(first: u32, last: u32, use_count: i64) -> Usage {
    Usage { first_used_at: at(first), last_used_at: at(last), use_count }
}

/// Client 1 with secrets 1 and 2 in staging (2 is current) and secret 3 in production.
async fn seeded(t: &TestDb) {
    t.write(async |tx| {
        seed_client(tx).await?;
        tx.insert_secret(&secret(1, 1, 1)).await?;
        tx.set_secret_end(&secret_id(1), Some(at(900)), None).await?;
        tx.insert_secret(&secret(2, 1, 2)).await?;
        tx.insert_secret(&secret(3, 2, 1)).await
    })
    .await;
}

fn failure(registration: Option<usize>, secret: Option<usize>, ip: &str, usage: Usage) -> FailureRow {
    FailureRow {
        registration_id: registration.map(registration_id),
        secret_id: secret.map(secret_id),
        reason: if secret.is_some() { "expired" } else { "wrong" },
        source_ip: ip.into(),
        usage,
    }
}

async fn fail(t: &TestDb, row: &FailureRow, most: i64) {
    t.write(async |tx| tx.add_failures(std::slice::from_ref(row), most).await).await;
}

/// The failures of registration 1 whose last is not older, newest hour first.
async fn failures(t: &TestDb, since: Timestamp) -> Vec<KnownFailure> {
    let (client, environment) = (Some(client_id(1)), Some(slug("staging")));
    let filter = FailureFilter { client, environment, since: Some(since), reason: None };
    let page = PageStart { after: None, limit: 1000 };
    t.read(async |tx| tx.authentication_failures(&filter, &page).await).await
}

/// A time that is the beginning of an hour, in seconds behind the beginning of the tests.
fn full_hour() -> u32 {
    let begin = at(0).as_seconds();
    u32::try_from(3600 - begin % 3600).unwrap()
}

async fn failures_of_one_kind_and_source_add_up_within_the_hour(t: TestDb) {
    seeded(&t).await;
    let hour = full_hour();
    for row in [
        failure(Some(1), Some(1), "192.0.2.1", usage(hour + 50, hour + 60, 2)),
        failure(Some(1), Some(1), "192.0.2.1", usage(hour + 10, hour + 20, 3)),
        failure(Some(1), None, "192.0.2.1", usage(hour + 70, hour + 70, 1)),
        failure(Some(2), None, "192.0.2.1", usage(hour, hour, 1)),
        failure(None, None, "192.0.2.1", usage(hour, hour, 1)),
        failure(Some(1), Some(1), "192.0.2.1", usage(hour + 3600, hour + 3600, 9)),
    ] {
        fail(&t, &row, 100).await;
    }
    let since = async |time| {
        let told = |it: KnownFailure| (it.secret_id, it.reason, it.source_ip, it.usage);
        failures(&t, time).await.into_iter().map(told).collect::<Vec<_>>()
    };
    let expired = |usage| (Some(secret_id(1)), "expired".to_owned(), "192.0.2.1".to_owned(), usage);
    let wrong = (None, "wrong".to_owned(), "192.0.2.1".to_owned(), usage(hour + 70, hour + 70, 1));
    let second_hour = expired(usage(hour + 3600, hour + 3600, 9));
    let first_hour = expired(usage(hour + 10, hour + 60, 5));
    assert_eq!(since(at(hour)).await, [second_hour.clone(), first_hour, wrong]);
    assert_eq!(since(at(hour + 3600)).await, [second_hour]);
    let forget = async |time| t.write(async |tx| tx.delete_failures(time).await).await;
    assert_eq!(forget(at(hour + 3600).before(MICRO)).await, 0, "an hour is forgotten when it has ended");
    assert_eq!(forget(at(hour + 3600)).await, 4);
    assert_eq!(since(at(hour)).await.len(), 1);
}

async fn failures_beyond_the_cap_are_gathered_without_their_source(t: TestDb) {
    seeded(&t).await;
    let hour = full_hour();
    for n in 1..=6 {
        fail(&t, &failure(Some(1), None, &format!("192.0.2.{n}"), usage(hour + n, hour + n, 1)), 3).await;
    }
    fail(&t, &failure(Some(1), None, "192.0.2.2", usage(hour + 20, hour + 20, 5)), 3).await;
    // The next hour begins anew.
    fail(&t, &failure(Some(1), None, "192.0.2.9", usage(hour + 3600, hour + 3600, 1)), 3).await;
    let rows = failures(&t, at(hour)).await;
    let told: Vec<_> = rows.iter().map(|it| (it.source_ip.as_str(), it.usage.use_count)).collect();
    let expected = [("192.0.2.9", 1), ("", 3), ("192.0.2.1", 1), ("192.0.2.2", 6), ("192.0.2.3", 1)];
    assert_eq!(told, expected, "a source that is known goes on by itself");
}

async fn the_first_failure_of_a_kind_in_an_hour_is_told_from_the_next(t: TestDb) {
    seeded(&t).await;
    let hour = full_hour();
    let add = async |row: FailureRow, most| {
        let told = t.write(async |tx| tx.add_failures(std::slice::from_ref(&row), most).await).await;
        assert_eq!(told.len(), 1);
        told[0]
    };
    let used = |second| usage(hour + second, hour + second, 1);
    assert_eq!(add(failure(Some(1), None, "192.0.2.1", used(0)), 9).await, Some(1));
    assert_eq!(add(failure(Some(1), None, "192.0.2.1", used(1)), 9).await, None, "known");
    assert_eq!(add(failure(Some(1), Some(1), "192.0.2.1", used(1)), 9).await, Some(1), "of a secret");
    assert_eq!(add(failure(None, None, "192.0.2.1", used(1)), 9).await, Some(1), "of nobody known");
    assert_eq!(add(failure(Some(1), None, "192.0.2.2", used(1)), 2).await, None, "gathered");
    assert_eq!(add(failure(Some(1), Some(1), "192.0.2.2", used(1)), 2).await, Some(2), "has room of its own");
    assert_eq!(add(failure(Some(1), Some(1), "192.0.2.3", used(1)), 2).await, None, "but not without end");
    assert_eq!(
        add(failure(Some(1), Some(2), "192.0.2.3", used(1)), 2).await,
        Some(1),
        "nor at another's cost"
    );
    assert_eq!(add(failure(Some(1), None, "192.0.2.1", used(3600)), 9).await, Some(1), "another hour");
}

/// However a flush is divided, what is stored and what is told is the same.
async fn many_failures_at_once_are_what_they_are_one_by_one(place: Place) {
    let hour = full_hour();
    let rows: Vec<_> = (0..60)
        .map(|n| {
            let (registration, secret) = (n % 5 != 0, n % 3 == 0);
            let at = hour + n + 3600 * u32::from(n > 40);
            let of = registration.then_some(1);
            failure(of, of.filter(|_| secret), &format!("192.0.2.{}", n % 23), usage(at, at, 1))
        })
        .collect();
    let mut outcomes = Vec::new();
    for at_once in [1, 7, 60] {
        let t = TestDb::open(place.another().await).await;
        seeded(&t).await;
        let mut told = Vec::new();
        for some in rows.chunks(at_once) {
            told.extend(t.write(async |tx| tx.add_failures(some, 8).await).await);
        }
        let stored = failures(&t, at(hour)).await;
        let stored = stored.into_iter().map(|it| (it.hour, it.key, it.usage));
        outcomes.push((told, stored.collect::<Vec<_>>()));
    }
    assert!(outcomes[0].1.iter().any(|(_, key, _)| key.ends_with('~')), "some are gathered");
    assert_eq!(outcomes[0], outcomes[1]);
    assert_eq!(outcomes[0], outcomes[2]);
}

async fn an_hour_is_summed_once_when_it_has_ended(t: TestDb) {
    seeded(&t).await;
    let hour = full_hour();
    for (ip, count) in [("192.0.2.1", 4), ("192.0.2.2", 3)] {
        fail(&t, &failure(Some(1), None, ip, usage(hour, hour + 9, count)), 100).await;
    }
    fail(&t, &failure(None, None, "192.0.2.1", usage(hour, hour, 2)), 100).await;
    let sum = async |time| {
        let sums = t.write(async |tx| tx.sum_failures(time).await).await;
        sums.into_iter().map(|it| (it.hour, it.registration_id, it.count, it.sources)).collect::<Vec<_>>()
    };
    assert_eq!(sum(at(hour + 3600).before(MICRO)).await, [], "not before it has ended");
    let expected = [(at(hour), None, 2, 1), (at(hour), Some(registration_id(1)), 7, 2)];
    assert_eq!(sum(at(hour + 3600)).await, expected);
    assert_eq!(sum(at(hour + 7200)).await, [], "once");
}

async fn failures_are_read_page_by_page_without_a_repetition(t: TestDb) {
    seeded(&t).await;
    let hour = full_hour();
    for n in 0..7 {
        let at = hour + 3600 * (n % 3);
        fail(&t, &failure(Some(1), None, &format!("192.0.2.{n}"), usage(at, at, 1)), 100).await;
    }
    let (mut seen, mut page) = (Vec::new(), PageStart { after: None, limit: 2 });
    loop {
        let rows =
            t.read(async |tx| tx.authentication_failures(&FailureFilter::default(), &page).await).await;
        let Some(last) = rows.last() else { break };
        page.after = Some((last.hour.as_micros(), last.key.clone()));
        seen.extend(rows.into_iter().map(|it| it.source_ip));
    }
    assert_eq!(seen.len(), 7);
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 7);
}
