//! The one notation for durations and times, for every flag.

use crossfade_core::{Timestamp, TransitionHours, registration::TokenTtl};
use std::{ops::RangeInclusive, time::Duration};

const SECOND: u64 = 1;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

const DURATIONS: &str = "90s, 10m, 24h or 7d";
const TIMES: &str = "2026-11-25T08:00:00Z";

/// A time as it is typed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Moment {
    /// RFC 3339.
    At(Timestamp),
    /// `+24h`: a duration from now.
    Ahead(Duration),
    /// `24h`: a duration ago.
    Ago(Duration),
}

impl Moment {
    /// The time that is meant at `now`.
    pub(crate) fn resolve(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(time) => time,
            Self::Ahead(span) => now.after(span),
            Self::Ago(span) => now.before(span),
        }
    }
}

/// Reads a duration: a whole number with a unit, or `0`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let parsed = match text {
        "0" => Some(Duration::ZERO),
        text => with_unit(text),
    };
    parsed.ok_or_else(|| format!("must be a whole number with a unit, such as {DURATIONS}"))
}

fn with_unit(text: &str) -> Option<Duration> {
    let unit = text.chars().next_back()?;
    let seconds = match unit {
        's' => SECOND,
        'm' => MINUTE,
        'h' => HOUR,
        'd' => DAY,
        _ => return None,
    };
    let number = text.strip_suffix(unit)?;
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = digits.then(|| number.parse().ok()).flatten()?;
    number.checked_mul(seconds).map(Duration::from_secs)
}

/// Reads a duration as seconds.
pub(super) fn seconds(text: &str) -> Result<i64, String> {
    i64::try_from(duration(text)?.as_secs()).map_err(|_| format!("must be less, such as {DURATIONS}"))
}

/// Reads the lifetime of access tokens as seconds.
pub(super) fn token_ttl(text: &str) -> Result<i64, String> {
    let seconds = seconds(text)?;
    TokenTtl::parse(seconds).map(|_| seconds).map_err(|_| "must be from 1m to 24h".to_owned())
}

/// Reads a duration within bounds.
pub(super) fn within(
    bounds: RangeInclusive<u64>,
    words: &'static str,
) -> impl Fn(&str) -> Result<Duration, String> + Clone + Send + Sync + 'static {
    move |text| {
        let span = duration(text)?;
        let is_within = bounds.contains(&span.as_secs());
        is_within.then_some(span).ok_or_else(|| format!("must be {words}"))
    }
}

/// Reads a time to compare others with, in the past or in the future.
pub(super) fn moment(text: &str) -> Result<Moment, String> {
    let must = || {
        format!(
            "must be a time such as {TIMES}, a duration ago such as 24h, or a duration from now such as +24h"
        )
    };
    if let Some(ahead) = text.strip_prefix('+') {
        return duration(ahead).map(Moment::Ahead).map_err(|_| must());
    }
    if let Ok(ago) = duration(text) {
        return Ok(Moment::Ago(ago));
    }
    Timestamp::parse_bound(text).map(Moment::At).map_err(|_| must())
}

/// Reads a time at which something is to happen.
pub(super) fn later(text: &str) -> Result<Moment, String> {
    let must = || format!("must be a duration from now such as +24h, or a time such as {TIMES}");
    match text.strip_prefix('+') {
        Some(ahead) => duration(ahead).map(Moment::Ahead).map_err(|_| must()),
        None => Timestamp::parse(text).map(Moment::At).map_err(|_| must()),
    }
}

/// Reads a transition period: whole hours up to 168 (rule 9).
pub(super) fn transition(text: &str) -> Result<TransitionHours, String> {
    let longest = TransitionHours::MAX.hours();
    let must = || format!("must be whole hours from 0 to {longest}, such as 24h or 7d");
    let seconds = duration(text).map_err(|_| must())?.as_secs();
    let hours =
        (seconds % HOUR == 0).then(|| i64::try_from(seconds / HOUR).ok()).flatten().ok_or_else(must)?;
    TransitionHours::new(hours).map_err(|_| must())
}

/// Reads whole hours up to 168, with or without a unit.
pub(super) fn hours(text: &str) -> Result<TransitionHours, String> {
    match text.parse() {
        Ok(hours) if text.bytes().all(|byte| byte.is_ascii_digit()) => TransitionHours::new(hours)
            .map_err(|_| "must be whole hours from 0 to 168, such as 24h".to_owned()),
        _ => transition(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNREADABLE: [&str; 17] = [
        "",
        "60",
        "1",
        "-1m",
        "+1m",
        "1.5h",
        "10 m",
        "m",
        "10M",
        "1w",
        "10min",
        "1h30m",
        "PT1H",
        "1e3s",
        "٣s",
        "99999999999999999999s",
        "9999999999999999d",
    ];

    #[test]
    fn a_duration_is_a_whole_number_with_a_unit() {
        for (text, seconds) in
            [("90s", 90), ("10m", 600), ("24h", 86_400), ("7d", 604_800), ("0", 0), ("0h", 0)]
        {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in UNREADABLE {
            assert!(duration(text).unwrap_err().contains("90s, 10m, 24h or 7d"), "{text}");
        }
    }

    #[test]
    fn an_overlap_has_whole_hours_with_or_without_a_unit() {
        for (text, wanted) in [("0", 0), ("24", 24), ("24h", 24), ("7d", 168), ("168", 168)] {
            assert_eq!(hours(text).map(TransitionHours::hours), Ok(wanted), "{text}");
        }
        for text in ["", "169", "-1", "1.5", "30m", "8d", "+24", "24 h", "99999999999999999999"] {
            assert!(hours(text).unwrap_err().contains("whole hours from 0 to 168, such as 24h"), "{text}");
        }
    }

    #[test]
    fn a_duration_without_a_sign_is_in_the_past_and_one_with_plus_in_the_future() {
        let (now, hour) = (Timestamp::from_seconds(1_795_525_500), Duration::from_secs(HOUR));
        assert_eq!(moment("1h").unwrap().resolve(now), now.before(hour));
        assert_eq!(moment("+1h").unwrap().resolve(now), now.after(hour));
        assert_eq!(later("+1h").unwrap().resolve(now), now.after(hour));
        assert_eq!(moment("2026-11-24T14:05:00+01:00").unwrap().resolve(now), now);
        assert_eq!(later("2026-11-24T13:05:00Z").unwrap().resolve(now), now);
    }

    #[test]
    fn times_that_cannot_be_read_are_refused_with_an_example() {
        for text in
            ["", "yesterday", "2026-11-25", "2026-11-25T08:00:00", "+", "+60", "60", "-1h", "in=", "1,5h"]
        {
            assert!(moment(text).unwrap_err().contains("+24h"), "{text}");
            assert!(later(text).unwrap_err().contains("+24h"), "{text}");
        }
        assert!(later("24h").is_err(), "24 hours ago is no deadline");
    }

    #[test]
    fn rule_9_a_transition_is_whole_hours_from_0_to_168() {
        for (text, hours) in
            [("0", 0), ("0h", 0), ("24h", 24), ("168h", 168), ("7d", 168), ("1d", 24), ("120m", 2)]
        {
            assert_eq!(transition(text).map(TransitionHours::hours), Ok(hours), "{text}");
        }
        let out_of_range = ["169h", "8d", "90m", "59s", "24"];
        for text in UNREADABLE.iter().chain(&out_of_range) {
            assert!(transition(text).unwrap_err().contains("0 to 168"), "{text}");
        }
    }
}
