//! The verdict on a count: within 5% of the stated one, more, or so much less that the stated one must be lowered.

/// Allocations of one request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counts {
    pub allocations: u64,
    pub bytes: u64,
}

/// Compares a count with the stated one. Fails with a sentence that says what to do.
pub fn judge(what: &str, measured: Counts, stated: Counts) -> Result<(), String> {
    let kinds =
        [("allocations", measured.allocations, stated.allocations), ("bytes", measured.bytes, stated.bytes)];
    let faults: Vec<String> =
        kinds.into_iter().filter_map(|(kind, measured, stated)| one(kind, measured, stated)).collect();
    match faults.is_empty() {
        true => Ok(()),
        false => Err(format!("{what}: {}", faults.join(" "))),
    }
}

fn one(kind: &str, measured: u64, stated: u64) -> Option<String> {
    if measured * 100 > stated * 105 {
        return Some(format!(
            "{measured} {kind} instead of {stated}, more than 5% more. Find what allocates, or state the new number with its reason."
        ));
    }
    let is_lower = measured * 105 < stated * 100;
    is_lower
        .then(|| format!("{measured} {kind} instead of {stated}. Lower the stated number, so that it stays."))
}

#[test]
fn a_count_passes_within_5_percent_and_fails_beyond_in_either_direction() {
    let stated = Counts { allocations: 100, bytes: 1000 };
    let judged = |allocations, bytes| judge("token", Counts { allocations, bytes }, stated);
    for (allocations, bytes) in [(100, 1000), (105, 1000), (96, 1000), (100, 1050), (100, 953)] {
        assert_eq!(judged(allocations, bytes), Ok(()), "{allocations} {bytes}");
    }
    for (allocations, bytes, word) in
        [(106, 1000, "more than 5%"), (100, 1051, "more than 5%"), (95, 1000, "Lower"), (100, 952, "Lower")]
    {
        let fault = judged(allocations, bytes).unwrap_err();
        assert!(fault.starts_with("token: ") && fault.contains(word), "{fault}");
    }
}
