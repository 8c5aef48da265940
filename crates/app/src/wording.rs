//! How numbers and times are written in a sentence.

use crossfade_core::Timestamp;

/// Returns a count such as `3 secrets` or `1 secret`.
pub(crate) fn count(number: u64, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

/// Returns a time to the second.
pub(crate) fn shown(time: Timestamp) -> String {
    Timestamp::from_seconds(time.as_seconds()).to_string().replace(".000000", "")
}
