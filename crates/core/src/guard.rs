//! The deadline guard: whether the owners of a client must be warned that an old secret will end while it is still
//! needed, and whether the environment's policy extends it.
//!
//! A pure function of stored rows and the time. A warning stays due until it, or a more urgent one, has been sent. A
//! stopped server or late evidence can delay a warning but never lose it.

use crate::{Problem, Timestamp, TransitionHours, change_over::Verdict, rotation::latest_deadline};
use std::{ops::RangeInclusive, time::Duration};

/// Hours by which a policy can let the guard extend a deadline at a time.
const EXTENSION_HOURS: RangeInclusive<i64> = 1..=TransitionHours::MAX.hours() as i64;

/// Reads the hours by which the guard can extend a deadline at a time.
pub fn extension_hours(hours: i64) -> Result<i64, Problem> {
    let is_within = EXTENSION_HOURS.contains(&hours);
    is_within.then_some(hours).ok_or_else(|| out_of_range("null to switch extensions off"))
}

/// Returns the problem of a number of hours out of range. `or` says what else is possible.
pub fn out_of_range(or: &str) -> Problem {
    let (least, most) = EXTENSION_HOURS.into_inner();
    let must = format!("must be a whole number of hours from {least} to {most}, or {or}");
    Problem::invalid("guard_extension_hours", &must)
}

const HOUR: Duration = Duration::from_secs(3600);

/// Warning times before a deadline. The most urgent one is the least.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Mark {
    /// 1 hour. From here on a policy can extend the deadline.
    OneHour,
    /// 4 hours.
    FourHours,
    /// 24 hours.
    OneDay,
}

impl Mark {
    /// All warning times, the most urgent first.
    pub const ALL: [Self; 3] = [Self::OneHour, Self::FourHours, Self::OneDay];

    /// Returns the number of hours, as stored and shown.
    pub fn hours(self) -> i64 {
        match self {
            Self::OneHour => 1,
            Self::FourHours => 4,
            Self::OneDay => 24,
        }
    }

    /// Reads stored hours.
    pub fn from_hours(hours: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|mark| mark.hours() == hours)
    }

    /// Returns the time from the warning to the deadline.
    pub fn span(self) -> Duration {
        hours(self.hours())
    }

    /// Returns the most recent warning time that has passed. Ignores times at or before the rotation: a 24-hour
    /// transition needs no 24-hour warning. Returns `None` from the deadline on.
    pub fn reached(rotated_at: Timestamp, deadline: Timestamp, now: Timestamp) -> Option<Self> {
        let at = |mark: &Self| deadline.before(mark.span());
        let reached = Self::ALL.into_iter().find(|mark| rotated_at < at(mark) && at(mark) <= now);
        reached.filter(|_| now < deadline)
    }
}

/// Whether the managers of a client are warned in addition to its owners: from 4 hours before the deadline on, unless
/// somebody has marked the transition as seen.
pub fn warns_managers(mark: Mark, is_seen: bool) -> bool {
    mark <= Mark::FourHours && !is_seen
}

/// A retiring secret, as the guard sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Guarded {
    /// Time of the rotation.
    pub rotated_at: Timestamp,
    /// When the old secret ends.
    pub deadline: Timestamp,
    /// Whether the rotation was marked compromised.
    pub compromised: bool,
    /// Most urgent warning already sent for this deadline.
    pub told: Option<Mark>,
    /// Hours by which the environment's policy extends at a time; `None`: it does not.
    pub extension_hours: Option<i64>,
}

/// What to do about a secret that is still needed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Due {
    /// Warn the owners at this warning time.
    pub tell: Option<Mark>,
    /// Extend the deadline to this time.
    pub extend_to: Option<Timestamp>,
}

impl Due {
    /// Whether there is nothing to do.
    pub fn is_nothing(self) -> bool {
        self == Self::default()
    }
}

impl Guarded {
    /// Returns what to do at `now`, if the secret [is still needed](is_needed).
    pub fn due(&self, now: Timestamp) -> Due {
        let Some(mark) = Mark::reached(self.rotated_at, self.deadline, now) else { return Due::default() };
        let tell = self.told.is_none_or(|told| mark < told).then_some(mark);
        Due { tell, extend_to: if mark == Mark::OneHour { self.extended() } else { None } }
    }

    /// Returns the extended deadline if the environment's policy allows one. Never for a compromised rotation, and
    /// never later than rule 8 allows.
    fn extended(&self) -> Option<Timestamp> {
        let hours = hours(self.extension_hours.filter(|_| !self.compromised)?);
        let latest = latest_deadline(self.rotated_at);
        Some(self.deadline.after(hours).min(latest)).filter(|extended| self.deadline < *extended)
    }
}

/// Whether callers would fail at the deadline, as far as is known: some are expected to use the old secret again, or no
/// caller has shown that the new one works. Do not call it for a disabled registration, which has no callers.
pub fn is_needed(verdict: Verdict) -> bool {
    match verdict {
        Verdict::NotStarted | Verdict::Moving | Verdict::CallersLeft => true,
        Verdict::Quiet | Verdict::SafeToEnd | Verdict::Ended => false,
    }
}

/// Whether a deadline needs attention now: callers would fail at it, and it is at most 24 hours away.
pub fn is_urgent(verdict: Verdict, deadline: Timestamp, now: Timestamp) -> bool {
    is_needed(verdict) && now >= deadline.before(Mark::OneDay.span())
}

fn hours(hours: i64) -> Duration {
    HOUR * u32::try_from(hours).unwrap_or(0)
}

#[cfg(test)]
mod tests;
