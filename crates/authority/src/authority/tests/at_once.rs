//! What many threads see while another changes the tables.

use super::*;

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
                world.authority.remove_registration(IssuerMode::Own, &slug("staging"), &client_id(n - 1));
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
