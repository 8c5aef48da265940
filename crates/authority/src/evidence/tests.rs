use super::*;
use std::net::Ipv4Addr;

fn secret(n: usize) -> SecretId {
    SecretId::parse(&format!("sec_{n:022}")).unwrap()
}

fn ip(n: u32) -> IpAddr {
    Ipv4Addr::from(n).into()
}

fn registration(n: usize) -> RegistrationId {
    RegistrationId::parse(&format!("reg_{n:022}")).unwrap()
}

fn used(evidence: &Evidence, secret: &SecretId, ip: IpAddr, user_agent: &str, at: Timestamp) {
    evidence.used(secret, &Source { ip, user_agent, instance: "" }, at);
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

fn counted(first: i64, last: i64, count: u64) -> Counter {
    Counter { first: at(first), last: at(last), count, longest_pause: Duration::ZERO }
}

#[test]
fn uses_are_counted_per_secret_and_source() {
    let evidence = Evidence::new(1);
    for at in [5, 3, 9] {
        used(&evidence, &secret(1), ip(1), "curl", Timestamp::from_seconds(at));
    }
    used(&evidence, &secret(1), ip(2), "curl", Timestamp::from_seconds(4));
    used(&evidence, &secret(2), ip(1), "curl", Timestamp::from_seconds(4));
    let (mut sources, failures) = evidence.drain();
    sources.sort_by_key(|source| std::cmp::Reverse(source.counter.count));
    assert_eq!((sources.len(), failures.len()), (3, 0));
    let expected = Counter { longest_pause: Duration::from_secs(4), ..counted(3, 9, 3) };
    assert_eq!((sources[0].counter, sources[0].ip), (expected, Some(ip(1))));
    assert!(evidence.drain().0.is_empty(), "a drain takes everything");
}

#[test]
fn a_flood_of_sources_stays_bounded_and_loses_no_count() {
    let evidence = Evidence::new(1);
    let flood = 200_000;
    for n in 0..flood {
        used(&evidence, &secret(1), ip(n), "x", Timestamp::from_seconds(1));
    }
    let (sources, _) = evidence.drain();
    assert!(sources.len() <= SHARDS * MOST_OF_SECRET as usize * 2 + 1);
    assert_eq!(sources.iter().map(|s| s.counter.count).sum::<u64>(), u64::from(flood));
    assert!(sources.iter().any(|s| s.ip.is_none()), "the rest is gathered in an explicit row");
}

#[test]
fn what_could_not_be_written_is_kept() {
    let evidence = Evidence::new(1);
    used(&evidence, &secret(1), ip(1), "a", Timestamp::from_seconds(1));
    evidence.failed(None, None, Failure::UnknownClient, ip(1), Timestamp::from_seconds(1));
    let (sources, failures) = evidence.drain();
    used(&evidence, &secret(1), ip(1), "a", Timestamp::from_seconds(2));
    evidence.restore(sources, failures);
    let (sources, failures) = evidence.drain();
    assert_eq!((sources.len(), sources[0].counter.count), (1, 2));
    assert_eq!((failures.len(), failures[0].counter.count), (1, 1));
}

#[test]
fn a_huge_user_agent_is_shortened_at_a_character() {
    let evidence = Evidence::new(1);
    used(&evidence, &secret(1), ip(1), &"é".repeat(5000), Timestamp::from_seconds(1));
    let (sources, ..) = evidence.drain();
    assert_eq!(&*sources[0].user_agent, "é".repeat(100));
}

#[test]
fn rule_17_an_agent_of_up_to_200_bytes_is_kept_whole() {
    for (sent, kept) in [
        (String::new(), 0),
        ("a".repeat(199), 199),
        ("a".repeat(200), 200),
        ("a".repeat(201), 200),
        // Four bytes each, the last of which would be cut in its middle.
        (format!("a{}", "\u{1f4b8}".repeat(60)), 197),
    ] {
        let evidence = Evidence::new(1);
        used(&evidence, &secret(1), ip(1), &sent, at(1));
        let (sources, ..) = evidence.drain();
        assert_eq!(*sources[0].user_agent, sent[..kept]);
    }
}

#[test]
fn rule_17_agents_that_differ_where_they_are_cut_are_one_source() {
    let evidence = Evidence::new(1);
    for tail in ["x", "y", ""] {
        used(&evidence, &secret(1), ip(1), &format!("{}{tail}", "a".repeat(200)), at(1));
    }
    let (sources, ..) = evidence.drain();
    assert_eq!((sources.len(), sources[0].counter.count), (1, 3));
}

#[test]
fn rule_16_failures_are_told_apart_by_registration_secret_reason_and_address() {
    let evidence = Evidence::new(1);
    for seconds in [5, 3, 9] {
        evidence.failed(Some(&registration(1)), Some(&secret(1)), Failure::Expired, ip(1), at(seconds));
    }
    evidence.failed(Some(&registration(2)), Some(&secret(1)), Failure::Expired, ip(1), at(4));
    evidence.failed(Some(&registration(1)), Some(&secret(2)), Failure::Expired, ip(1), at(4));
    evidence.failed(Some(&registration(1)), Some(&secret(1)), Failure::Revoked, ip(1), at(4));
    evidence.failed(Some(&registration(1)), Some(&secret(1)), Failure::Expired, ip(2), at(4));
    evidence.failed(Some(&registration(1)), None, Failure::Expired, ip(1), at(4));
    evidence.failed(None, None, Failure::Expired, ip(1), at(4));
    let (sources, mut failures) = evidence.drain();
    assert_eq!((sources.len(), failures.len()), (0, 7));
    failures.sort_by_key(|failure| std::cmp::Reverse(failure.counter.count));
    let longest_pause = Duration::from_secs(4);
    assert_eq!(failures[0].counter, Counter { longest_pause, ..counted(3, 9, 3) });
    assert_eq!(
        (&failures[0].registration, &failures[0].secret, failures[0].failure, failures[0].ip),
        (&Some(registration(1)), &Some(secret(1)), Failure::Expired, Some(ip(1)))
    );
    assert!(failures[1..].iter().all(|failure| failure.counter == counted(4, 4, 1)));
    assert!(evidence.drain().1.is_empty(), "a drain takes everything");
}

#[test]
fn each_reason_has_a_word_of_its_own() {
    let words = [
        Failure::Malformed,
        Failure::UnknownClient,
        Failure::Disabled,
        Failure::Method,
        Failure::Wrong,
        Failure::Expired,
        Failure::Revoked,
        Failure::Drill,
    ]
    .map(Failure::as_str);
    assert_eq!(
        words,
        ["malformed", "unknown_client", "disabled", "method", "wrong", "expired", "revoked", "drill"]
    );
}

#[test]
fn a_flood_of_failing_addresses_stays_bounded_and_loses_no_count() {
    let evidence = Evidence::new(1);
    let flood = 20_000;
    for n in 0..flood {
        evidence.failed(Some(&registration(1)), None, Failure::Wrong, ip(n), at(1));
    }
    let (_, failures) = evidence.drain();
    assert!(failures.len() <= SHARDS * MOST_FAILURES + 1);
    assert_eq!(failures.iter().map(|f| f.counter.count).sum::<u64>(), u64::from(flood));
    let rest: Vec<_> = failures.iter().filter(|failure| failure.ip.is_none()).collect();
    assert_eq!(rest.len(), 1, "the rest is gathered in one explicit row");
    assert_eq!((&rest[0].registration, rest[0].failure), (&Some(registration(1)), Failure::Wrong));
}

#[test]
fn a_flood_of_guesses_does_not_hide_who_uses_an_ended_secret() {
    let evidence = Evidence::new(1);
    for n in 0..20_000 {
        evidence.failed(Some(&registration(1)), None, Failure::Wrong, ip(n), at(1));
        evidence.failed(None, None, Failure::UnknownClient, ip(n), at(1));
    }
    for n in 0..100 {
        evidence.failed(Some(&registration(1)), Some(&secret(1)), Failure::Expired, ip(n), at(2));
    }
    let (_, failures, ..) = evidence.drain();
    let of_it = failures.iter().filter(|it| it.secret.is_some());
    assert_eq!(of_it.filter(|it| it.ip.is_some()).count(), 100);
}

#[test]
fn failures_of_one_ipv6_network_are_one_source() {
    let evidence = Evidence::new(1);
    for n in 0..1000_u128 {
        let address = std::net::Ipv6Addr::from_bits((0x2001_0db8_u128 << 96) + n);
        evidence.failed(Some(&registration(1)), None, Failure::Wrong, address.into(), at(1));
    }
    let (_, failures, ..) = evidence.drain();
    assert_eq!((failures.len(), failures[0].counter.count), (1, 1000));
    assert_eq!(failures[0].ip, Some("2001:db8::".parse().unwrap()));
}

/// A known source is still counted individually while the table is full: a flood from elsewhere does not hide the
/// callers of the old secret.
#[test]
fn a_flood_does_not_hide_a_source_that_is_known_already() {
    let evidence = Evidence::new(1);
    used(&evidence, &secret(1), ip(0), "instance", at(1));
    for n in 1..100_000 {
        used(&evidence, &secret(2), ip(n), "flood", at(2));
    }
    used(&evidence, &secret(1), ip(0), "instance", at(3));
    let (sources, ..) = evidence.drain();
    let own: Vec<_> = sources.iter().filter(|source| source.secret == secret(1)).collect();
    assert_eq!(own.len(), 1);
    assert_eq!(
        (own[0].counter, own[0].ip),
        (Counter { longest_pause: Duration::from_secs(2), ..counted(1, 3, 2) }, Some(ip(0)))
    );
}

/// A caller that invents addresses, agents and labels for its secret does not hide the callers of another secret.
#[test]
fn a_flood_of_one_secret_leaves_room_for_new_sources_of_others() {
    let evidence = Evidence::new(1);
    for n in 0..100_000 {
        let (agent, instance) = (&*format!("agent {n}"), &*format!("{n}"));
        evidence.used(&secret(2), &Source { ip: ip(n), user_agent: agent, instance }, at(1));
        evidence.used(&secret(2), &Source { ip: ip(n % 16), user_agent: agent, instance }, at(1));
    }
    for n in 0..3000 {
        used(&evidence, &secret(1), ip(n), "honest", at(2));
    }
    let (sources, ..) = evidence.drain();
    let of = |n| sources.iter().filter(move |source| source.secret == secret(n));
    assert_eq!(of(1).filter(|it| !it.gathered && it.counter.count == 1).count(), 3000);
    assert_eq!(of(2).map(|it| it.counter.count).sum::<u64>(), 200_000);
    assert!(of(2).count() <= SHARDS * MOST_OF_SECRET as usize * 2 + 1);
    // The room is there again when it was drained.
    used(&evidence, &secret(2), ip(7), "one", at(3));
    assert!(!evidence.drain().0[0].gathered);
}

/// A leaked and ended secret has no more room than a valid one.
#[test]
fn a_flood_with_an_ended_secret_leaves_room_for_others() {
    let evidence = Evidence::new(1);
    for n in 0..100_000 {
        let source = Source { ip: ip(n), user_agent: "x", instance: "" };
        evidence.refused(&secret(2), &RefusedBy::Record, &source, at(1));
    }
    for n in 0..3000 {
        used(&evidence, &secret(1), ip(n), "honest", at(2));
    }
    let (sources, ..) = evidence.drain();
    let of = |n| sources.iter().filter(move |source| source.secret == secret(n));
    assert_eq!(of(1).filter(|it| !it.gathered).count(), 3000);
    assert_eq!(of(2).map(|it| it.counter.count).sum::<u64>(), 100_000);
    assert!(of(2).count() <= SHARDS * MOST_OF_SECRET as usize * 2 + 1);
}

/// The grouped rows are the last resort: one per secret, so that their number is bounded by the table.
#[test]
fn rule_17_no_use_is_lost_however_many_secrets_are_used_at_once() {
    let evidence = Evidence::new(1);
    let uses = SHARDS * MOST_SOURCES * 3;
    for n in 0..uses {
        used(&evidence, &secret(n), ip(1), "x", at(1));
        used(&evidence, &secret(n), ip(2), "x", at(1));
    }
    let (sources, _) = evidence.drain();
    assert!(sources.len() <= SHARDS * MOST_SOURCES * 2 + uses);
    assert_eq!(sources.iter().map(|source| source.counter.count).sum::<u64>(), 2 * uses as u64);
    let secrets: std::collections::HashSet<_> = sources.iter().map(|source| &source.secret).collect();
    assert_eq!(secrets.len(), uses, "each secret's first use is there");
}

/// Inventing a user agent per request does not hide a caller: the address stays.
#[test]
fn a_flood_of_agents_from_one_address_is_gathered_under_the_address() {
    let evidence = Evidence::new(1);
    for n in 0..50_000 {
        used(&evidence, &secret(1), ip(1), &format!("agent {n}"), at(1));
    }
    used(&evidence, &secret(1), ip(2), "honest", at(2));
    let (sources, _) = evidence.drain();
    assert_eq!(sources.len(), MOST_OF_SECRET as usize + 2);
    let gathered: Vec<_> = sources.iter().filter(|source| source.gathered).collect();
    assert_eq!((gathered.len(), gathered[0].ip, &*gathered[0].user_agent), (1, Some(ip(1)), ""));
    assert_eq!(gathered[0].counter.count, 50_000 - u64::from(MOST_OF_SECRET));
    assert!(sources.iter().any(|source| &*source.user_agent == "honest"));
}

#[test]
fn instances_of_one_program_are_told_apart_by_their_labels() {
    let evidence = Evidence::new(1);
    for instance in ["pod-1", "pod-2", "pod-1", &"x".repeat(8192)] {
        evidence.used(&secret(1), &Source { ip: ip(1), user_agent: "a", instance }, at(1));
    }
    let (sources, _) = evidence.drain();
    let mut labels: Vec<_> = sources.iter().map(|it| (it.instance.len(), it.counter.count)).collect();
    labels.sort_unstable();
    assert_eq!(labels, [(5, 1), (5, 2), (INSTANCE_BYTES, 1)]);
}

#[test]
fn the_longest_pause_is_the_longest_between_two_uses_whatever_the_order() {
    let counter =
        |first, last, pause| Counter { longest_pause: Duration::from_secs(pause), ..counted(first, last, 2) };
    for (one, other, pause) in [
        (counter(0, 10, 4), counter(40, 50, 3), 30),
        (counter(40, 50, 3), counter(0, 10, 4), 30),
        (counter(0, 100, 60), counter(101, 120, 3), 60),
        // The pause of overlapping spans is unknown; it is not longer than either's longest pause.
        (counter(0, 100, 60), counter(20, 30, 5), 60),
    ] {
        let mut merged = one;
        merged.merge(other);
        assert_eq!(merged.longest_pause, Duration::from_secs(pause));
    }
}

#[test]
fn restored_counters_keep_their_first_and_last_time_and_what_was_lost() {
    let evidence = Evidence::new(1);
    used(&evidence, &secret(1), ip(1), "a", at(1));
    used(&evidence, &secret(1), ip(1), "a", at(3));
    evidence.failed(Some(&registration(1)), Some(&secret(1)), Failure::Revoked, ip(1), at(1));
    let (sources, failures) = evidence.drain();
    used(&evidence, &secret(1), ip(1), "a", at(2));
    used(&evidence, &secret(1), ip(1), "a", at(5));
    evidence.failed(Some(&registration(1)), Some(&secret(1)), Failure::Revoked, ip(1), at(4));
    evidence.restore(sources, failures);
    let (sources, failures) = evidence.drain();
    let longest_pause = Duration::from_secs(3);
    assert_eq!((sources.len(), sources[0].counter), (1, Counter { longest_pause, ..counted(1, 5, 4) }));
    assert_eq!((failures.len(), failures[0].counter), (1, Counter { longest_pause, ..counted(1, 4, 2) }));
}

#[test]
fn what_is_restored_into_a_full_table_is_gathered_and_stays_bounded() {
    let evidence = Evidence::new(1);
    let flood = |from: u32| {
        for n in from..from + 60_000 {
            used(&evidence, &secret(1), ip(n), "x", at(1));
            evidence.failed(None, None, Failure::UnknownClient, ip(n), at(1));
        }
    };
    flood(0);
    let (sources, failures) = evidence.drain();
    flood(1_000_000);
    evidence.restore(sources, failures);
    let (sources, failures) = evidence.drain();
    assert!(sources.len() <= SHARDS * MOST_SOURCES * 2 + 1);
    assert!(failures.len() <= SHARDS * MOST_FAILURES + 1);
    assert_eq!(sources.iter().map(|source| source.counter.count).sum::<u64>(), 120_000);
    assert_eq!(failures.iter().map(|failure| failure.counter.count).sum::<u64>(), 120_000);
    assert_eq!(sources.iter().filter(|source| source.ip.is_none()).count(), 1);
    assert_eq!(failures.iter().filter(|failure| failure.ip.is_none()).count(), 1);
}

#[test]
fn rule_17_the_sum_is_exact_under_threads_that_record_drain_and_restore() {
    const THREADS: u64 = 4;
    const EACH: u64 = 5_000;
    let evidence = Evidence::new(1);
    let mut taken = (0, 0);
    let mut add = |(sources, failures): (Vec<SourceCount>, Vec<FailureCount>)| {
        taken.0 += sources.iter().map(|source| source.counter.count).sum::<u64>();
        taken.1 += failures.iter().map(|failure| failure.counter.count).sum::<u64>();
    };
    std::thread::scope(|threads| {
        let recording: Vec<_> = (0..THREADS)
            .map(|thread| {
                let evidence = &evidence;
                threads.spawn(move || {
                    for n in 0..EACH {
                        let (from, when) = (ip(n as u32 % 64), at((thread * EACH + n) as i64));
                        used(evidence, &secret(n as usize % 3), from, "agent", when);
                        evidence.failed(None, None, Failure::UnknownClient, from, when);
                    }
                })
            })
            .collect();
        while recording.iter().any(|thread| !thread.is_finished()) {
            let (sources, failures) = evidence.drain();
            evidence.restore(sources, failures);
            add(evidence.drain());
        }
    });
    add(evidence.drain());
    assert_eq!(taken, (THREADS * EACH, THREADS * EACH));
}

#[test]
fn rule_17_recording_goes_on_after_a_panic_that_held_a_shard() {
    let evidence = Evidence::new(1);
    used(&evidence, &secret(1), ip(1), "a", at(1));
    std::thread::scope(|threads| {
        for shard in &evidence.shards {
            let panicked = threads.spawn(|| {
                let _held = lock(shard);
                std::panic::resume_unwind(Box::new("on purpose"));
            });
            assert!(panicked.join().is_err());
        }
    });
    assert!(evidence.shards.iter().all(Mutex::is_poisoned));
    used(&evidence, &secret(1), ip(1), "a", at(2));
    let longest_pause = Duration::from_secs(1);
    assert_eq!(evidence.drain().0[0].counter, Counter { longest_pause, ..counted(1, 2, 2) });
}
