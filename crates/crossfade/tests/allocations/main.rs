//! The guard of the token endpoint: how often a request allocates memory, and how many bytes.
//!
//! Counts are the same on every machine, which times are not. They are those of a test build, of one thread, from the
//! parsed head of a request to its whole response: what HTTP itself allocates is not in them. A binary of its own,
//! because the counting allocator is that of all its tests.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod instance;
mod memory;
mod verdict;

use instance::{Credentials, Instance};
use verdict::{Counts, judge};

/// Requests before the measured ones, so that tables have grown and every source is known.
const WARM_UP: usize = 300;
/// Measured requests, whose mean counts.
const MEASURED: usize = 300;

/// One kind of request, with the stated counts of one such request.
struct Case {
    what: &'static str,
    environment: &'static str,
    endpoint: &'static str,
    credentials: Credentials,
    status: u16,
    stated: Counts,
}

const fn counts(allocations: u64, bytes: u64) -> Counts {
    Counts { allocations, bytes }
}

/// Lower a number when a change lowers the count: the guard asks for it.
const CASES: [Case; 8] = [
    Case {
        what: "token, EdDSA, Basic",
        environment: "eddsa",
        endpoint: "token",
        credentials: Credentials::Basic,
        status: 200,
        stated: counts(7, 2_399),
    },
    Case {
        what: "token, EdDSA, form",
        environment: "eddsa",
        endpoint: "token",
        credentials: Credentials::Form,
        status: 200,
        stated: counts(7, 2_399),
    },
    Case {
        what: "token, ES256, Basic",
        environment: "es256",
        endpoint: "token",
        credentials: Credentials::Basic,
        status: 200,
        stated: counts(10, 2_524),
    },
    Case {
        what: "token, ES256, form",
        environment: "es256",
        endpoint: "token",
        credentials: Credentials::Form,
        status: 200,
        stated: counts(10, 2_524),
    },
    Case {
        what: "wrong secret",
        environment: "eddsa",
        endpoint: "token",
        credentials: Credentials::WrongSecret,
        status: 401,
        stated: counts(3, 1_392),
    },
    Case {
        what: "unknown client",
        environment: "eddsa",
        endpoint: "token",
        credentials: Credentials::UnknownClient,
        status: 401,
        stated: counts(3, 1_392),
    },
    Case {
        what: "introspection, EdDSA",
        environment: "eddsa",
        endpoint: "introspect",
        credentials: Credentials::Basic,
        status: 200,
        stated: counts(12, 1_848),
    },
    Case {
        what: "introspection, ES256",
        environment: "es256",
        endpoint: "introspect",
        credentials: Credentials::Basic,
        status: 200,
        stated: counts(11, 1_784),
    },
];

/// Measures the mean of one request of a case. `more` runs beside each request.
fn measure(instance: &mut Instance, case: &Case, more: fn()) -> Counts {
    let mut total = Counts { allocations: 0, bytes: 0 };
    for number in 0..WARM_UP + MEASURED {
        let request = instance.request(case.environment, case.endpoint, case.credentials);
        let mut answered = None;
        let counted = allocation_counter::measure(|| {
            more();
            answered = Some(instance.answer(request));
        });
        let answered = answered.unwrap();
        assert_eq!(answered.status, case.status, "{}: {}", case.what, answered.text());
        if number >= WARM_UP {
            total.allocations += counted.count_total;
            total.bytes += counted.bytes_total;
        }
    }
    let mean = |sum: u64| (sum + MEASURED as u64 / 2) / MEASURED as u64;
    Counts { allocations: mean(total.allocations), bytes: mean(total.bytes) }
}

#[test]
fn a_request_allocates_no_more_than_stated() {
    let mut instance = Instance::new();
    let mut faults = Vec::new();
    for case in &CASES {
        let measured = measure(&mut instance, case, || {});
        println!("{}: {} allocations, {} bytes", case.what, measured.allocations, measured.bytes);
        faults.extend(judge(case.what, measured, case.stated).err());
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The guard sees four small allocations more in each request.
#[test]
fn the_guard_fails_when_a_request_allocates_more() {
    let mut instance = Instance::new();
    let case = &CASES[0];
    let before = measure(&mut instance, case, || {});
    let after = measure(&mut instance, case, || {
        for bytes in [16, 32, 48, 64] {
            std::hint::black_box(Vec::<u8>::with_capacity(std::hint::black_box(bytes)));
        }
    });
    assert_eq!(after, Counts { allocations: before.allocations + 4, bytes: before.bytes + 160 });
    let fault = judge(case.what, after, before).unwrap_err();
    assert!(fault.contains("token, EdDSA, Basic"), "{fault}");
}

/// A refusal must not cost more than a token, or wrong secrets would slow down right ones.
#[test]
fn a_refusal_allocates_no_more_than_a_token() {
    let mut instance = Instance::new();
    let [token, wrong, unknown] =
        [&CASES[0], &CASES[4], &CASES[5]].map(|case| measure(&mut instance, case, || {}));
    for refusal in [wrong, unknown] {
        assert!(
            refusal.allocations <= token.allocations && refusal.bytes <= token.bytes,
            "{refusal:?} {token:?}"
        );
    }
}
