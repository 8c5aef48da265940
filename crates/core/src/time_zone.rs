//! Time zones of people, for the times in messages to them. The rules of the zones are part of the program, because a
//! machine may have none, or older ones.

use crate::{Problem, Timestamp};
use jiff::tz;
use std::fmt;

/// A time zone of the IANA database, for example Europe/Berlin.
#[derive(Clone, PartialEq, Eq)]
pub struct TimeZone(tz::TimeZone);

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/// Maximum length of a name.
const MAX_NAME: usize = 64;
/// Pattern of names, for the API schemas.
pub const ZONE_PATTERN: &str = "^[A-Za-z][A-Za-z0-9_+/-]*$";

impl TimeZone {
    /// Coordinated universal time.
    pub const UTC: Self = Self(tz::TimeZone::UTC);

    /// Reads the name of a time zone, whatever its case.
    pub fn parse(field: &'static str, name: &str) -> Result<Self, Problem> {
        let what = "must be the name of a time zone such as Europe/Berlin";
        Self::find(name.trim()).ok_or_else(|| Problem::invalid(field, what))
    }

    /// Returns the time zone that was stored; UTC if this version does not know it.
    pub fn from_stored(name: &str) -> Self {
        Self::find(name).unwrap_or(Self::UTC)
    }

    fn find(name: &str) -> Option<Self> {
        if name.len() > MAX_NAME {
            return None;
        }
        let zone = tz::db().get(name).ok()?;
        (!zone.is_unknown() && zone.iana_name().is_some()).then_some(Self(zone))
    }

    /// Returns the rules of the zone.
    pub(crate) fn rules(&self) -> &tz::TimeZone {
        &self.0
    }

    /// Returns the name of the zone.
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// Whether its times are those of UTC, in winter and in summer, by its name.
    pub fn is_utc(&self) -> bool {
        ["UTC", "Etc/UTC", "UCT", "Etc/UCT", "Zulu", "Etc/Zulu", "Universal", "Etc/Universal"]
            .contains(&self.name())
    }

    /// Returns the place that the zone is named after, for example New York.
    pub fn place(&self) -> String {
        let name = self.name();
        name.rsplit('/').next().unwrap_or(name).replace('_', " ")
    }

    /// Returns the time in this zone and in UTC, such as `24 Nov 2026, 14:05 in Berlin (13:05 UTC)`. Seconds are cut
    /// off, so that no shown deadline is too late.
    pub fn at(&self, time: Timestamp) -> String {
        let utc = Shown::of(&Self::UTC, time);
        if self.is_utc() {
            return format!("{}, {} UTC", utc.day, utc.clock);
        }
        let here = Shown::of(self, time);
        let in_utc = if here.day == utc.day { utc.clock } else { format!("{}, {}", utc.day, utc.clock) };
        format!("{}, {} in {} ({in_utc} UTC)", here.day, here.clock, self.place())
    }

    /// Returns a sentence about the times of a message.
    pub fn sentence(&self) -> String {
        match self.is_utc() {
            true => "Times are in UTC.".to_owned(),
            false => format!("Times are in {} and UTC.", self.place()),
        }
    }
}

impl fmt::Debug for TimeZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A time in a zone.
struct Shown {
    /// Such as `24 Nov 2026`.
    day: String,
    /// Such as `13:05`.
    clock: String,
}

impl Shown {
    fn of(zone: &TimeZone, time: Timestamp) -> Self {
        let time = jiff::Timestamp::from_microsecond(time.as_micros()).unwrap_or_default();
        let time = time.to_zoned_datetime(zone.0.clone());
        let month = usize::try_from(time.month() - 1).ok().and_then(|month| MONTHS.get(month)).unwrap_or(&"");
        Self {
            day: format!("{} {month} {}", time.day(), time.year()),
            clock: format!("{:02}:{:02}", time.hour(), time.minute()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(zone: &str, time: &str) -> String {
        TimeZone::parse("time_zone", zone).unwrap().at(Timestamp::parse(time).unwrap())
    }

    #[test]
    fn a_time_is_shown_in_the_zone_and_in_utc() {
        let time = "2026-11-24T13:05:59Z";
        assert_eq!(at("UTC", time), "24 Nov 2026, 13:05 UTC");
        assert_eq!(at("etc/utc", time), "24 Nov 2026, 13:05 UTC");
        assert_eq!(at("Europe/Berlin", time), "24 Nov 2026, 14:05 in Berlin (13:05 UTC)");
        assert_eq!(at("america/new_york", time), "24 Nov 2026, 08:05 in New York (13:05 UTC)");
        assert_eq!(at("Asia/Kathmandu", time), "24 Nov 2026, 18:50 in Kathmandu (13:05 UTC)");
    }

    #[test]
    fn another_day_in_utc_is_named() {
        let time = "2026-12-31T23:30:00Z";
        assert_eq!(at("Europe/Berlin", time), "1 Jan 2027, 00:30 in Berlin (31 Dec 2026, 23:30 UTC)");
        assert_eq!(
            at("Pacific/Honolulu", "2026-01-01T00:00:00Z"),
            "31 Dec 2025, 14:00 in Honolulu (1 Jan 2026, 00:00 UTC)"
        );
    }

    #[test]
    fn summer_time_begins_and_ends_on_the_second() {
        for (utc, shown) in [
            ("2026-03-29T00:59:59Z", "29 Mar 2026, 01:59 in Berlin (00:59 UTC)"),
            ("2026-03-29T01:00:00Z", "29 Mar 2026, 03:00 in Berlin (01:00 UTC)"),
            ("2026-10-25T00:30:00Z", "25 Oct 2026, 02:30 in Berlin (00:30 UTC)"),
            ("2026-10-25T00:59:59Z", "25 Oct 2026, 02:59 in Berlin (00:59 UTC)"),
            // The same hour again; UTC tells the two apart.
            ("2026-10-25T01:00:00Z", "25 Oct 2026, 02:00 in Berlin (01:00 UTC)"),
            ("2026-10-25T01:30:00Z", "25 Oct 2026, 02:30 in Berlin (01:30 UTC)"),
        ] {
            assert_eq!(at("Europe/Berlin", utc), shown);
        }
        // Half an hour of summer time, in the other half of the year.
        assert_eq!(
            at("Australia/Lord_Howe", "2026-04-04T14:59:59Z"),
            "5 Apr 2026, 01:59 in Lord Howe (4 Apr 2026, 14:59 UTC)"
        );
        assert_eq!(
            at("Australia/Lord_Howe", "2026-04-04T15:00:00Z"),
            "5 Apr 2026, 01:30 in Lord Howe (4 Apr 2026, 15:00 UTC)"
        );
    }

    #[test]
    fn only_names_of_the_database_are_time_zones() {
        for bad in ["", " ", "Berlin", "Mars/Olympus", "+01:00", "../../etc/passwd", "UTC;", &"A/".repeat(99)]
        {
            let problem = TimeZone::parse("time_zone", bad).unwrap_err();
            assert_eq!(problem.field.as_deref(), Some("time_zone"), "{bad}");
        }
        assert_eq!(TimeZone::parse("time_zone", " europe/berlin ").unwrap().name(), "Europe/Berlin");
        assert_eq!(TimeZone::from_stored("Mars/Olympus"), TimeZone::UTC);
    }

    /// The image has no files of time zones.
    #[test]
    fn the_rules_are_part_of_the_program() {
        let bundled = tz::TimeZoneDatabase::bundled();
        assert!(bundled.get("Europe/Berlin").is_ok() && bundled.available().count() > 400);
    }
}
