//! The weekly digest: when it is due, and in which week.

use crate::{TimeZone, Timestamp};
use jiff::{ToSpan, civil::Weekday, tz};

/// Hour of the day at which digests are due, on Mondays.
const DUE_AT_HOUR: i8 = 8;

/// A digest that is due.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DueDigest {
    /// The ISO week that begins on the Monday of the digest, such as `2026-W48`.
    pub week: String,
    /// When it was due.
    pub due_at: Timestamp,
    /// When the digest of the next week is due.
    pub next_at: Timestamp,
}

/// Returns the last digest that is due at `now` in a time zone: that of the last Monday, 08:00. Earlier ones are not made up
/// for. `None` outside the range of the calendar.
pub fn due_digest(now: Timestamp, zone: &TimeZone) -> Option<DueDigest> {
    due_digest_in(now, zone.rules())
}

/// Returns the week whose digest becomes due by a change of the time zone at `now`, from one where that of the week `before` was
/// due: because it is later there, or because that digest is not queued yet. `None` if there is none.
pub fn due_by_move(now: Timestamp, (before, is_queued): (&str, bool), after: &TimeZone) -> Option<String> {
    let after = due_digest(now, after)?.week;
    let is_due = after.as_str() > before || (after == before && !is_queued);
    is_due.then_some(after)
}

fn due_digest_in(now: Timestamp, zone: &tz::TimeZone) -> Option<DueDigest> {
    let now = jiff::Timestamp::from_microsecond(now.as_micros()).ok()?;
    let today = zone.to_datetime(now).date();
    let since_monday = i64::from(today.weekday().since(Weekday::Monday));
    let mut monday = today.checked_sub(since_monday.days()).ok()?;
    let due_on = |monday: jiff::civil::Date| zone.to_timestamp(monday.at(DUE_AT_HOUR, 0, 0, 0)).ok();
    let mut due_at = due_on(monday)?;
    if due_at > now {
        monday = monday.checked_sub(7.days()).ok()?;
        due_at = due_on(monday)?;
    }
    let next_at = due_on(monday.checked_add(7.days()).ok()?)?;
    let week = monday.iso_week_date();
    Some(DueDigest {
        week: format!("{:04}-W{:02}", week.year(), week.week()),
        due_at: Timestamp::from_micros(due_at.as_microsecond()),
        next_at: Timestamp::from_micros(next_at.as_microsecond()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    const BERLIN: &str = "CET-1CEST,M3.5.0,M10.5.0/3";

    fn zone(posix: &str) -> tz::TimeZone {
        tz::TimeZone::posix(posix).unwrap()
    }

    #[test]
    fn a_move_to_where_it_is_later_makes_a_digest_due() {
        let [auckland, utc, los_angeles] =
            ["Pacific/Auckland", "UTC", "America/Los_Angeles"].map(TimeZone::from_stored);
        // In Auckland it is Monday, 08:00.
        let now = at("2026-11-29T19:00:00Z");
        let second = Duration::from_secs(1);
        let week = Some("2026-W49".to_owned());
        let due = |now, before: &TimeZone, is_queued, after: &TimeZone| {
            due_by_move(now, (&due_digest(now, before).unwrap().week, is_queued), after)
        };
        assert_eq!(due(now, &utc, true, &auckland), week);
        assert_eq!(due(now.before(second), &utc, true, &auckland), None);
        for is_queued in [true, false] {
            assert_eq!(due(now, &auckland, is_queued, &los_angeles), None, "it comes later");
        }
        let in_both = at("2026-11-30T08:00:00Z");
        assert_eq!(due(in_both, &utc, true, &auckland), None, "it was sent");
        assert_eq!(due(in_both, &utc, false, &auckland), week, "it is not queued yet");
        assert_eq!(due(at("2026-11-30T15:59:59Z"), &los_angeles, true, &utc), week);
        assert_eq!(due(at("2026-11-30T16:00:00Z"), &los_angeles, true, &utc), None);
    }

    #[test]
    fn a_digest_is_due_on_monday_at_eight_and_not_a_second_before() {
        let monday = at("2026-11-30T08:00:00Z");
        let week = |now| due_digest(now, &TimeZone::UTC).unwrap().week;
        let second = Duration::from_secs(1);
        assert_eq!(
            [monday.before(second), monday, monday.after(second)].map(week),
            ["2026-W48", "2026-W49", "2026-W49"]
        );
        let sunday = at("2026-12-06T23:59:59Z");
        assert_eq!(
            due_digest(sunday, &TimeZone::UTC).unwrap(),
            DueDigest { week: "2026-W49".into(), due_at: monday, next_at: at("2026-12-07T08:00:00Z") }
        );
    }

    #[test]
    fn each_week_of_a_year_has_one_digest_over_new_year_and_daylight_saving() {
        for name in ["UTC0", BERLIN, "EST5EDT,M3.2.0,M11.1.0", "<+13>-13", "<+0545>-5:45"] {
            let (zone, hour) = (zone(name), Duration::from_secs(3600));
            let (mut now, mut weeks) = (at("2026-01-01T00:00:00Z"), Vec::new());
            while now < at("2027-01-31T00:00:00Z") {
                let due = due_digest_in(now, &zone).unwrap();
                assert!(due.due_at <= now && now < due.due_at.after(hour * 169), "{name} {now} {due:?}");
                assert!(now < due.next_at && due.next_at <= now.after(hour * 169), "{name} {now} {due:?}");
                assert_eq!(due_digest_in(due.next_at, &zone).unwrap().due_at, due.next_at, "{name} {now}");
                if weeks.last() != Some(&due.week) {
                    weeks.push(due.week);
                }
                now = now.after(hour);
            }
            let mut distinct = weeks.clone();
            distinct.sort();
            distinct.dedup();
            assert_eq!(weeks, distinct, "{name}");
            assert_eq!((weeks.first().unwrap().as_str(), weeks.len()), ("2026-W01", 57), "{name}");
            assert!(weeks.contains(&"2026-W53".to_owned()), "{name}");
        }
    }

    #[test]
    fn eight_in_the_morning_is_local_also_after_daylight_saving() {
        let berlin = zone(BERLIN);
        // The clocks go back on Sunday, 25 October 2026.
        for (now, due_at) in [
            ("2026-10-24T00:00:00Z", "2026-10-19T06:00:00Z"),
            ("2026-10-26T06:59:59Z", "2026-10-19T06:00:00Z"),
            ("2026-10-26T07:00:00Z", "2026-10-26T07:00:00Z"),
        ] {
            assert_eq!(due_digest_in(at(now), &berlin).unwrap().due_at, at(due_at), "{now}");
        }
    }
}
