//! Times on a page. The server writes them in UTC; `time.js` adds the reader's zone first.

use crossfade_core::Timestamp;
use std::{borrow::Borrow, fmt};

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Returns a time such as "24 Nov 2026, 13:05 UTC".
pub(crate) fn utc(time: Timestamp) -> String {
    let text = time.to_string();
    let month = text[5..7].parse().map_or("", |month: usize| MONTHS[(month - 1) % 12]);
    let day = text[8..10].trim_start_matches('0');
    format!("{day} {month} {}, {} UTC", &text[..4], &text[11..16])
}

/// Returns a time with milliseconds, such as "24 Nov 2026, 13:05:00.125 UTC".
pub(crate) fn precisely(time: Timestamp) -> String {
    utc(time).replace(" UTC", &format!("{} UTC", &time.to_string()[16..23]))
}

/// Returns the two largest units of a duration: "21 h 14 min".
pub(crate) fn span(seconds: u64) -> String {
    let units = [("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)];
    let Some(at) = units.iter().position(|(_, size)| seconds >= *size) else { return "0 s".to_owned() };
    let (name, size) = units[at];
    let mut text = format!("{} {name}", seconds / size);
    if let Some((name, next)) = units.get(at + 1)
        && seconds % size / next != 0
    {
        text.push_str(&format!(" {} {name}", seconds % size / next));
    }
    text
}

/// A time on a page. Its text consists of digits and our own words.
#[derive(Clone, Debug)]
pub(crate) struct Moment {
    at: Timestamp,
    shown: Shown,
}

#[derive(Clone, Copy, Debug)]
enum Shown {
    Absolute,
    Stacked,
    Relative(Timestamp),
    Full(Timestamp),
    Left(Timestamp),
}

/// Returns the time itself. Also accepts references, because templates pass them.
pub(crate) fn at(at: impl Borrow<Timestamp>) -> Moment {
    Moment { at: *at.borrow(), shown: Shown::Absolute }
}

/// Returns the time itself in two lines, for a column.
pub(crate) fn stacked(at: impl Borrow<Timestamp>) -> Moment {
    Moment { at: *at.borrow(), shown: Shown::Stacked }
}

/// Returns the time as a duration from now, with the time itself on focus, for lists.
pub(crate) fn relative(at: impl Borrow<Timestamp>, now: impl Borrow<Timestamp>) -> Moment {
    Moment { at: *at.borrow(), shown: Shown::Relative(*now.borrow()) }
}

/// Returns the time itself, with the duration from now on focus, for records.
pub(crate) fn recorded(at: impl Borrow<Timestamp>, now: impl Borrow<Timestamp>) -> Moment {
    Moment { at: *at.borrow(), shown: Shown::Full(*now.borrow()) }
}

/// Returns a countdown.
pub(crate) fn left(at: impl Borrow<Timestamp>, now: impl Borrow<Timestamp>) -> Moment {
    Moment { at: *at.borrow(), shown: Shown::Left(*now.borrow()) }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, full) = (self.at, utc(self.at));
        match self.shown {
            Shown::Absolute => write!(f, "<local-time datetime=\"{at}\">{full}</local-time>"),
            Shown::Stacked => {
                let (day, clock) = full.split_once(", ").unwrap_or((&full, ""));
                write!(
                    f,
                    "<local-time datetime=\"{at}\" stacked><span>{day}</span><span>{clock}</span></local-time>"
                )
            }
            Shown::Relative(now) => {
                let text = ago(at, now);
                write!(
                    f,
                    "<local-time datetime=\"{at}\" relative tabindex=\"0\" role=\"note\" aria-label=\"{text}, {full}\" data-full=\"{full}\">{text}</local-time>"
                )
            }
            Shown::Full(now) => {
                let ago = ago(at, now);
                write!(
                    f,
                    "<local-time datetime=\"{at}\" recorded tabindex=\"0\" role=\"note\" aria-label=\"{full}, {ago}\" data-full=\"{ago}\">{full}</local-time>"
                )
            }
            Shown::Left(now) => {
                let text = if at > now { span(at.since(now).as_secs()) } else { "now".to_owned() };
                write!(f, "<time-left datetime=\"{at}\">{text}</time-left>")
            }
        }
    }
}

impl askama::filters::HtmlSafe for Moment {}

fn ago(at: Timestamp, now: Timestamp) -> String {
    let seconds = at.since(now).max(now.since(at)).as_secs();
    if seconds > 30 * 86_400 {
        return utc(at).split(',').next().unwrap_or_default().to_owned();
    }
    let about = if seconds < 60 { "a moment".to_owned() } else { first_unit(seconds) };
    if at > now { format!("in {about}") } else { format!("{about} ago") }
}

fn first_unit(seconds: u64) -> String {
    span(seconds).split(' ').take(2).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn a_time_has_a_day_a_named_month_and_a_year() {
        assert_eq!(utc(time("2026-11-24T13:05:59Z")), "24 Nov 2026, 13:05 UTC");
        assert_eq!(utc(time("2027-01-04T00:00:00Z")), "4 Jan 2027, 00:00 UTC");
    }

    #[test]
    fn a_span_has_its_two_largest_units() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3599, "59 min 59 s"),
            (3600, "1 h"),
            (76_440, "21 h 14 min"),
            (86_400, "1 d"),
            (90_000, "1 d 1 h"),
            (86_460, "1 d"),
        ] {
            assert_eq!(span(seconds), text);
        }
    }

    #[test]
    fn lists_say_how_long_ago_and_carry_the_time_itself() {
        let now = time("2026-11-24T13:05:00Z");
        assert_eq!(ago(time("2026-11-24T13:04:59Z"), now), "a moment ago");
        assert_eq!(ago(time("2026-11-24T10:00:00Z"), now), "3 h ago");
        assert_eq!(ago(time("2026-11-25T10:19:00Z"), now), "in 21 h");
        assert_eq!(ago(time("2026-09-24T13:05:00Z"), now), "24 Sep 2026");
        let html = relative(time("2026-11-24T10:00:00Z"), now).to_string();
        assert!(
            html.contains("datetime=\"2026-11-24T10:00:00.000000Z\"") && html.contains("10:00 UTC"),
            "{html}"
        );
    }

    #[test]
    fn a_countdown_that_is_over_says_now() {
        let now = time("2026-11-24T13:05:00Z");
        assert!(left(now, now).to_string().contains(">now<"));
        assert!(left(time("2026-11-24T13:05:02Z"), now).to_string().contains(">2 s<"));
    }
}
