//! How numbers and times are written in a sentence.

use crossfade_core::Timestamp;

/// Returns a count such as `3 secrets` or `1 secret`.
pub(crate) fn count(number: u64, thing: &str) -> String {
    match (number, thing.strip_suffix('y').filter(|stem| !stem.ends_with(['a', 'e', 'o', 'u']))) {
        (1, _) => format!("1 {thing}"),
        (_, Some(stem)) => format!("{number} {stem}ies"),
        (_, None) => format!("{number} {thing}s"),
    }
}

/// Returns a time to the second.
pub(crate) fn shown(time: Timestamp) -> String {
    Timestamp::from_seconds(time.as_seconds()).to_string().replace(".000000", "")
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_count_is_written_in_the_singular_or_the_plural() {
        let counts = [(1, "delivery"), (4, "delivery"), (2, "data key"), (0, "secret")];
        let written = counts.map(|(number, thing)| super::count(number, thing));
        assert_eq!(written, ["1 delivery", "4 deliveries", "2 data keys", "0 secrets"]);
    }
}
