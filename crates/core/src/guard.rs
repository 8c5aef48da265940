//! The deadline guard: whether the owners of a client must be told that an old secret ends while it is still needed,
//! and whether the policy of the environment gives it longer.
//!
//! A pure function of stored rows and the time. What is due stays due until it is told or a more urgent mark is, so
//! that a server that was down, or evidence that came late, delays a warning and never loses it.

use crate::{Timestamp, TransitionHours, change_over::Verdict};
use std::{ops::RangeInclusive, time::Duration};

/// By how many hours a policy may let the guard extend a deadline at a time.
pub const EXTENSION_HOURS: RangeInclusive<i64> = 1..=168;

const HOUR: Duration = Duration::from_secs(3600);

/// How long before a deadline its owners are told. The most urgent one is the least.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Mark {
    /// An hour. From here on a policy may extend.
    OneHour,
    /// Four hours.
    FourHours,
    /// A day.
    OneDay,
}

impl Mark {
    /// Every mark there is, the most urgent first.
    pub const ALL: [Self; 3] = [Self::OneHour, Self::FourHours, Self::OneDay];

    /// In hours, as it is stored and shown.
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

    /// How long before the deadline it is.
    pub fn span(self) -> Duration {
        hours(self.hours())
    }

    /// The mark of a deadline that was reached last. One that does not lie after the rotation is none: a transition of
    /// a day need not be told at once that a day is left. There is none at the deadline: the secret has ended.
    pub fn reached(rotated_at: Timestamp, deadline: Timestamp, now: Timestamp) -> Option<Self> {
        let at = |mark: &Self| deadline.before(mark.span());
        let reached = Self::ALL.into_iter().find(|mark| rotated_at < at(mark) && at(mark) <= now);
        reached.filter(|_| now < deadline)
    }
}

/// A secret that is retiring, as the guard looks at it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Guarded {
    /// When the rotation was.
    pub rotated_at: Timestamp,
    /// When the old secret ends.
    pub deadline: Timestamp,
    /// Whether the rotation was marked compromised.
    pub compromised: bool,
    /// The most urgent mark of this deadline that the owners were told at.
    pub told: Option<Mark>,
    /// By how many hours the policy of the environment extends at a time; `None`: it does not.
    pub extension_hours: Option<i64>,
}

/// What is to be done about a secret, if it is still needed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Due {
    /// Tell the owners, at this mark.
    pub tell: Option<Mark>,
    /// Move the deadline.
    pub extend_to: Option<Timestamp>,
}

impl Due {
    /// Whether there is nothing to do.
    pub fn is_nothing(self) -> bool {
        self == Self::default()
    }
}

impl Guarded {
    /// What is to be done at `now`, if the secret [is still needed](is_needed).
    pub fn due(&self, now: Timestamp) -> Due {
        let Some(mark) = Mark::reached(self.rotated_at, self.deadline, now) else { return Due::default() };
        let tell = self.told.is_none_or(|told| mark < told).then_some(mark);
        Due { tell, extend_to: if mark == Mark::OneHour { self.extended() } else { None } }
    }

    /// The deadline that the policy gives, if it gives one: never of what has leaked, never beyond what rule 8 allows.
    fn extended(&self) -> Option<Timestamp> {
        let hours = hours(self.extension_hours.filter(|_| !self.compromised)?);
        let latest = self.rotated_at.after(TransitionHours::MAX.span());
        Some(self.deadline.after(hours).min(latest)).filter(|extended| self.deadline < *extended)
    }
}

/// Whether callers would fail at the deadline, as far as is known: some are expected to use the old secret again, or
/// nobody has shown that the new one works. A registration that is disabled has no callers, and is not asked about.
pub fn is_needed(verdict: Verdict) -> bool {
    match verdict {
        Verdict::NotStarted | Verdict::Moving | Verdict::CallersLeft => true,
        Verdict::Quiet | Verdict::SafeToEnd | Verdict::Ended => false,
    }
}

fn hours(hours: i64) -> Duration {
    HOUR * u32::try_from(hours).unwrap_or(0)
}

#[cfg(test)]
mod tests;
