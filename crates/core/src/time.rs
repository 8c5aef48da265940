//! Points in time and the transition period. Both are types, so that hours are never mistaken for seconds, and a
//! missing period never for zero.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A point in time: microseconds since 1970-01-01T00:00:00Z. Written as RFC 3339 in UTC with six
/// decimals, so that a deadline that is shown is exactly the deadline that is enforced.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(i64);

/// The latest time: the end of the year 9998, which every offset can still write as RFC 3339.
const LATEST_MICROS: i64 = 253_370_764_799_999_999;

/// The text is not an RFC 3339 time with an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an RFC 3339 time such as 2026-11-24T13:05:00Z")]
pub struct InvalidTimestamp;

impl Timestamp {
    /// Creates a time from microseconds since the epoch, clamped to the years 1970 to 9998.
    pub fn from_micros(micros: i64) -> Self {
        Self(micros.clamp(0, LATEST_MICROS))
    }

    /// Creates a time from whole seconds since the epoch.
    pub fn from_seconds(seconds: i64) -> Self {
        Self::from_micros(seconds.saturating_mul(1_000_000))
    }

    /// Returns the microseconds since the epoch.
    pub fn as_micros(self) -> i64 {
        self.0
    }

    /// Returns the whole seconds since the epoch, rounded down: a JWT's NumericDate (RFC 7519 §2).
    pub fn as_seconds(self) -> i64 {
        self.0 / 1_000_000
    }

    /// Returns this time plus `span`.
    pub fn after(self, span: std::time::Duration) -> Self {
        let micros = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        Self::from_micros(self.0.saturating_add(micros))
    }

    /// Returns this time minus `span`.
    pub fn before(self, span: std::time::Duration) -> Self {
        let micros = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        Self::from_micros(self.0.saturating_sub(micros))
    }

    /// Returns the time since `earlier`; zero if this time is not later.
    pub fn since(self, earlier: Timestamp) -> std::time::Duration {
        let micros = u64::try_from(self.0 - earlier.0).unwrap_or(0);
        std::time::Duration::from_micros(micros)
    }

    /// Reads an RFC 3339 time with any offset.
    pub fn parse(text: &str) -> Result<Self, InvalidTimestamp> {
        let time: jiff::Timestamp = text.parse().map_err(|_| InvalidTimestamp)?;
        let micros = time.as_microsecond();
        if (0..=LATEST_MICROS).contains(&micros) { Ok(Self(micros)) } else { Err(InvalidTimestamp) }
    }

    /// Parses a time to compare others with. A time out of range becomes the first or the last possible time.
    pub fn parse_bound(text: &str) -> Result<Self, InvalidTimestamp> {
        let time: jiff::Timestamp = text.parse().map_err(|_| InvalidTimestamp)?;
        Ok(Self(time.as_microsecond().clamp(0, LATEST_MICROS)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = jiff::Timestamp::from_microsecond(self.0).unwrap_or_default();
        write!(f, "{time:.6}")
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for Timestamp {
    type Error = InvalidTimestamp;
    fn try_from(text: String) -> Result<Self, InvalidTimestamp> {
        Self::parse(&text)
    }
}

impl From<Timestamp> for String {
    fn from(time: Timestamp) -> String {
        time.to_string()
    }
}

impl schemars::JsonSchema for Timestamp {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "format": "date-time",
            "description": "RFC 3339 in UTC, with six decimals.",
        })
    }
}

/// The transition period, during which the old secret stays valid after a rotation: whole hours, 0 to 168. Zero ends it
/// before the call returns. Deliberately without a default.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(transparent)]
pub struct TransitionHours(u8);

impl schemars::JsonSchema for TransitionHours {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TransitionHours".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "integer", "minimum": 0, "maximum": Self::MAX.0})
    }
}

/// The transition period is missing or not a whole number of hours from 0 to 168.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "transition_hours is required and must be a whole number of hours from 0 to {}",
    TransitionHours::MAX.hours()
)]
pub struct TransitionOutOfRange;

impl TransitionHours {
    /// The old secret ends immediately.
    pub const ZERO: Self = Self(0);
    /// Seven days, the longest transition period. Every rule that speaks of 168 hours takes it from here.
    pub const MAX: Self = Self(168);

    /// Creates a transition period from a number of hours.
    pub fn new(hours: i64) -> Result<Self, TransitionOutOfRange> {
        match u8::try_from(hours) {
            Ok(hours) if hours <= Self::MAX.0 => Ok(Self(hours)),
            _ => Err(TransitionOutOfRange),
        }
    }

    /// Reads a transition period from a JSON member. Only an integer literal is accepted: `24.0`, `"24"`, `true`,
    /// `null` and an absent member are refused, so that no other value is mistaken for zero.
    pub fn from_json(value: Option<&serde_json::Value>) -> Result<Self, TransitionOutOfRange> {
        let hours = value.and_then(serde_json::Value::as_i64).ok_or(TransitionOutOfRange)?;
        Self::new(hours)
    }

    /// Returns the number of hours.
    pub const fn hours(self) -> u8 {
        self.0
    }

    /// Returns the transition period as a [`Duration`](std::time::Duration).
    pub const fn span(self) -> std::time::Duration {
        std::time::Duration::from_secs(self.0 as u64 * 3600)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_bound_may_lie_before_and_after_all_times() {
        assert_eq!(Timestamp::parse_bound("0058-04-15T09:39:25+16:51"), Ok(Timestamp(0)));
        assert_eq!(Timestamp::parse_bound("9999-12-30T00:00:00Z"), Ok(Timestamp(LATEST_MICROS)));
        assert_eq!(Timestamp::parse_bound("yesterday"), Err(InvalidTimestamp));
    }

    #[test]
    fn rfc3339_round_trips_to_the_microsecond() {
        let time = Timestamp::from_micros(1_795_525_500_123_456);
        assert_eq!(time.to_string(), "2026-11-24T13:05:00.123456Z");
        assert_eq!(Timestamp::parse("2026-11-24T14:05:00.123456+01:00"), Ok(time));
        assert_eq!(Timestamp::from_micros(0).to_string(), "1970-01-01T00:00:00.000000Z");
    }

    #[test]
    fn times_that_rfc3339_cannot_write_are_refused() {
        for text in [
            "",
            "2026-11-24",
            "2026-11-24T13:05:00",
            "24/11/2026",
            "-000001-01-01T00:00:00Z",
            "1969-12-31T23:59:59Z",
        ] {
            assert_eq!(Timestamp::parse(text), Err(InvalidTimestamp), "{text}");
        }
        assert_eq!(Timestamp::from_micros(i64::MAX).to_string(), "9998-12-31T23:59:59.999999Z");
    }

    #[test]
    fn rule_9_only_whole_hours_from_0_to_168() {
        for (value, hours) in [(json!(0), 0), (json!(1), 1), (json!(24), 24), (json!(168), 168)] {
            assert_eq!(TransitionHours::from_json(Some(&value)).unwrap().hours(), hours);
        }
        for value in [
            json!(-1),
            json!(169),
            json!(1.5),
            json!(24.0),
            json!(null),
            json!(true),
            json!("24"),
            json!(1e9),
            json!(256),
            json!(u64::MAX),
            json!([24]),
        ] {
            assert_eq!(TransitionHours::from_json(Some(&value)), Err(TransitionOutOfRange), "{value}");
        }
        assert_eq!(TransitionHours::from_json(None), Err(TransitionOutOfRange));
    }

    #[test]
    fn hours_are_hours() {
        assert_eq!(TransitionHours::new(1).unwrap().span().as_secs(), 3600);
        assert_eq!(TransitionHours::MAX.span().as_secs(), 7 * 24 * 3600);
    }

    #[test]
    fn rfc7519_2_a_numeric_date_is_whole_seconds_rounded_down() {
        let time = Timestamp::from_micros(1_795_525_500_999_999);
        assert_eq!(time.as_micros(), 1_795_525_500_999_999);
        assert_eq!(time.as_seconds(), 1_795_525_500);
        assert_eq!(Timestamp::from_seconds(1_795_525_500).as_micros(), 1_795_525_500_000_000);
    }

    #[test]
    fn spans_are_added_taken_and_measured_and_never_leave_the_range() {
        use std::time::Duration;
        let (start, end) = (Timestamp::from_micros(1000), Timestamp::from_micros(1007));
        let span = Duration::from_micros(7);
        assert_eq!((start.after(span), end.before(span)), (end, start));
        assert_eq!((end.since(start), start.since(end)), (span, Duration::ZERO));
        let latest = Timestamp::from_micros(i64::MAX);
        assert_eq!(latest.after(Duration::MAX), latest);
        assert_eq!(latest.before(Duration::MAX), Timestamp::from_micros(0));
        assert_eq!(Timestamp::from_micros(-1).as_micros(), 0);
        assert_eq!(Timestamp::from_seconds(i64::MAX), latest);
    }

    #[test]
    fn a_time_is_written_the_same_way_everywhere() {
        let time = Timestamp::from_micros(1_795_525_500_000_000);
        let text = "2026-11-24T13:05:00.000000Z";
        assert_eq!(format!("{time} {time:?}"), format!("{text} {text}"));
        assert_eq!(serde_json::to_value(time).unwrap(), text);
        assert_eq!(serde_json::from_value::<Timestamp>(json!(text)).unwrap(), time);
        assert!(serde_json::from_value::<Timestamp>(json!(1_795_525_500)).is_err());
    }

    /// Rule 9 as the bytes of a body: what JSON calls the same number is not the same literal.
    #[test]
    fn rule_9_only_an_integer_literal() {
        for (text, hours) in [("0", Some(0)), ("168", Some(168)), (" 24 ", Some(24))] {
            assert_eq!(from_body(text), hours, "{text}");
        }
        for text in ["-0", "24.0", "24e0", "1e2", "2.4e1", "0.0", "-1", "169", "[]", "{}", "\"\"", "false"] {
            assert_eq!(from_body(text), None, "{text}");
        }
    }

    fn from_body(text: &str) -> Option<u8> {
        let value: serde_json::Value = serde_json::from_str(text).unwrap();
        TransitionHours::from_json(Some(&value)).ok().map(TransitionHours::hours)
    }
}
