//! The rules of drills: short windows in which a retiring secret is refused, so that forgotten callers show up while it
//! can still be undone.
//!
//! A drill consists of its windows, which are absolute times, and the time at which it was stopped. Everything else
//! follows from these and the time asked about, so no failure can make a drill outlast its windows. No function here
//! changes a deadline: a drill never extends a secret.

use crate::{
    Code, DrillId, Problem, SecretId, Timestamp,
    rotation::{Secret, SecretState},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{ops::RangeInclusive, time::Duration};

/// Length of a window in seconds. A longer one would be an outage, not a drill.
const LENGTH: RangeInclusive<i64> = 5..=900;
/// Number of windows in a drill.
const REPEAT: RangeInclusive<i64> = 1..=48;
/// Shortest time between two windows in which the secret is accepted, in seconds. It is also at least as long as a
/// window.
const PAUSE: i64 = 60;
/// Seconds from the start of a window to the start of the next. No transition lasts longer.
const EVERY: RangeInclusive<i64> = 1..=604_800;

/// A period in which the old secret is refused: from `from` until just before `to`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Window {
    /// The first instant at which the secret is refused.
    pub from: Timestamp,
    /// The first instant at which it is accepted again.
    pub to: Timestamp,
}

impl Window {
    /// Whether the secret is refused at `now`.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.from <= now && now < self.to
    }
}

/// Length, number and interval of windows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pattern {
    length: i64,
    repeat: i64,
    every: Option<i64>,
}

/// A number of a pattern is missing or out of range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfRange {
    /// The member at fault.
    pub field: &'static str,
    /// What the value must be.
    must: &'static str,
    /// A bound that depends on another member.
    least: Option<i64>,
}

impl Pattern {
    /// Creates a pattern from its numbers, in seconds. `every` is given if and only if there is more than one window.
    pub fn new(length: i64, repeat: i64, every: Option<i64>) -> Result<Self, OutOfRange> {
        let wrong = |field, must| Err(OutOfRange { field, must, least: None });
        if !LENGTH.contains(&length) {
            return wrong("length_seconds", LENGTH_IS);
        }
        if !REPEAT.contains(&repeat) {
            return wrong("repeat", REPEAT_IS);
        }
        match every {
            None if repeat > 1 => {
                wrong("every_seconds", "is required for two or more windows: seconds between window starts")
            }
            Some(_) if repeat == 1 => wrong("every_seconds", "must be omitted unless repeat is 2 or more"),
            Some(every) if !EVERY.contains(&every) => wrong("every_seconds", EVERY_IS),
            // At most half of the time. Refusing for longer finds no additional callers and amounts to an outage.
            Some(every) if every < length + length.max(PAUSE) => Err(OutOfRange {
                field: "every_seconds",
                must: "must leave a pause of at least length_seconds and at least 60 seconds",
                least: Some(length + length.max(PAUSE)),
            }),
            every => Ok(Self { length, repeat, every }),
        }
    }

    /// Reads a pattern from the members of a request. Only integer literals are accepted, so that no other value is
    /// mistaken for a number.
    pub fn from_json(
        length: Option<&Value>,
        repeat: Option<&Value>,
        every: Option<&Value>,
    ) -> Result<Self, OutOfRange> {
        let whole =
            |field, must, value: &Value| value.as_i64().ok_or(OutOfRange { field, must, least: None });
        let length = whole("length_seconds", LENGTH_IS, length.unwrap_or(&Value::Null))?;
        let repeat = repeat.map_or(Ok(1), |value| whole("repeat", REPEAT_IS, value))?;
        let every = every.map(|value| whole("every_seconds", EVERY_IS, value)).transpose()?;
        Self::new(length, repeat, every)
    }

    /// Returns the length of a window in seconds.
    pub fn length_seconds(self) -> i64 {
        self.length
    }

    /// Returns the number of windows.
    pub fn repeat(self) -> i64 {
        self.repeat
    }

    /// Returns the seconds from the start of a window to the start of the next; `None` for a single window.
    pub fn every_seconds(self) -> Option<i64> {
        self.every
    }

    fn windows(self, starts_at: Timestamp) -> impl Iterator<Item = Window> {
        let seconds = |seconds: i64| Duration::from_secs(seconds.unsigned_abs());
        (0..self.repeat).map(move |n| {
            let from = starts_at.after(seconds(n * self.every.unwrap_or(0)));
            Window { from, to: from.after(seconds(self.length)) }
        })
    }
}

const LENGTH_IS: &str = "is required and must be a whole number of seconds from 5 to 900";
const REPEAT_IS: &str = "must be a whole number of windows from 1 to 48";
const EVERY_IS: &str =
    "must be a whole number of seconds: at least twice length_seconds, and at least length_seconds + 60";

impl From<OutOfRange> for Problem {
    fn from(wrong: OutOfRange) -> Self {
        let OutOfRange { field, must, least } = wrong;
        let least = least
            .map(|least| format!(": with this length_seconds, at least {least} seconds"))
            .unwrap_or_default();
        Self::invalid(field, &format!("{must}{least}"))
    }
}

/// Why a drill ended before its last window.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StoppedAs {
    /// A person or program stopped it.
    Stopped,
    /// Its secret was revoked.
    Revoked,
    /// Its secret was made current again.
    RolledBack,
    /// Its secret was ended by a newer rotation.
    Superseded,
    /// Its registration was disabled and refuses every caller.
    Disabled,
    /// Its client was deleted.
    ClientDeleted,
}

impl StoppedAs {
    /// All reasons.
    pub const ALL: [Self; 6] = [
        Self::Stopped,
        Self::Revoked,
        Self::RolledBack,
        Self::Superseded,
        Self::Disabled,
        Self::ClientDeleted,
    ];

    /// Returns the word that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Revoked => "revoked",
            Self::RolledBack => "rolled_back",
            Self::Superseded => "superseded",
            Self::Disabled => "disabled",
            Self::ClientDeleted => "client_deleted",
        }
    }

    /// Parses the word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == text)
    }
}

/// State of a drill at a point in time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DrillState {
    /// Its first window has not begun.
    Scheduled,
    /// Its first window has begun and its last one has not ended. Includes the time between windows.
    Running,
    /// Its last window has ended.
    Finished,
    /// It was stopped before its last window ended.
    Stopped,
}

impl DrillState {
    /// Returns the word that is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Stopped => "stopped",
        }
    }

    /// Whether the drill has ended.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Finished | Self::Stopped)
    }
}

/// A drill of one retiring secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Drill {
    /// ID.
    pub id: DrillId,
    /// Secret that it refuses.
    pub secret_id: SecretId,
    /// When its first window begins.
    pub starts_at: Timestamp,
    /// Its windows.
    pub pattern: Pattern,
    /// When it was stopped, and why.
    pub stopped: Option<(Timestamp, StoppedAs)>,
}

impl Drill {
    /// Returns the windows in which the secret was or will be refused, in order. Windows cancelled by a stop are left
    /// out.
    pub fn windows(&self) -> Vec<Window> {
        let stopped_at = self.stopped.map_or(Timestamp::from_micros(i64::MAX), |(at, _)| at);
        let cut = |it: Window| Window { to: it.to.min(stopped_at), ..it };
        self.pattern.windows(self.starts_at).map(cut).filter(|it| it.from < it.to).collect()
    }

    /// Returns the time from which it refuses nothing any more.
    pub fn ends_at(&self) -> Timestamp {
        let planned = self.pattern.windows(self.starts_at).last().map_or(self.starts_at, |it| it.to);
        self.stopped.map_or(planned, |(at, _)| at.min(planned))
    }

    /// Returns how much of its windows up to `now` has no evidence, so that callers may have been missed. `gaps` must
    /// not contain one another.
    pub fn unrecorded(&self, gaps: impl Iterator<Item = (Timestamp, Timestamp)>, now: Timestamp) -> Duration {
        let windows = self.windows();
        let within = |(began, ended): (Timestamp, Timestamp)| {
            let common = |it: &Window| it.to.min(ended).min(now).since(it.from.max(began));
            windows.iter().map(common).sum::<Duration>()
        };
        gaps.map(within).sum()
    }

    /// Returns its state at `now`.
    pub fn state(&self, now: Timestamp) -> DrillState {
        match self.stopped {
            Some(_) => DrillState::Stopped,
            None if now < self.starts_at => DrillState::Scheduled,
            None if now < self.ends_at() => DrillState::Running,
            None => DrillState::Finished,
        }
    }
}

/// Why a change of a drill is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The first window would begin before now.
    StartsInPast {
        /// The time.
        now: Timestamp,
    },
    /// The registration refuses every caller.
    Disabled,
    /// There is no retiring secret, or it is not the expected one.
    NotRetiring {
        /// The retiring secret, if another one was expected.
        retiring: Option<SecretId>,
    },
    /// The windows would end after the secret's deadline.
    EndsAfterDeadline {
        /// The secret's deadline.
        deadline: Timestamp,
        /// Number of windows that end in time.
        fit: usize,
    },
    /// Another drill of this secret has not ended.
    InProgress {
        /// The other drill.
        drill: DrillId,
        /// When it ends on its own.
        ends_at: Timestamp,
    },
    /// It has already ended.
    Over {
        /// When it ended.
        since: Timestamp,
    },
}

/// Decides whether a drill of `secret` can be scheduled, and creates it. `latest` is the last drill scheduled for this
/// secret; each earlier one had ended when the next was scheduled.
pub fn schedule(
    new: Drill,
    secret: Option<&Secret>,
    expected: Option<&SecretId>,
    latest: Option<&Drill>,
    now: Timestamp,
) -> Result<Drill, Refusal> {
    if new.starts_at < now {
        return Err(Refusal::StartsInPast { now });
    }
    let retiring = secret.filter(|secret| secret.state(now) == SecretState::Retiring);
    let Some((retiring, deadline)) = retiring.and_then(|it| Some((it, it.expires_at?))) else {
        return Err(Refusal::NotRetiring { retiring: None });
    };
    if expected.is_some_and(|expected| *expected != retiring.id) || new.secret_id != retiring.id {
        return Err(Refusal::NotRetiring { retiring: Some(retiring.id.clone()) });
    }
    let windows = new.windows();
    let fit = windows.iter().filter(|window| window.to <= deadline).count();
    if fit < windows.len() {
        return Err(Refusal::EndsAfterDeadline { deadline, fit });
    }
    match latest.filter(|it| !it.state(now).is_over()) {
        Some(other) => Err(Refusal::InProgress { drill: other.id.clone(), ends_at: other.ends_at() }),
        None => Ok(new),
    }
}

/// Stops a drill now. An open window ends at this time.
pub fn stop(drill: &Drill, stopped_as: StoppedAs, now: Timestamp) -> Result<Drill, Refusal> {
    match drill.state(now).is_over() {
        true => Err(Refusal::Over { since: drill.ends_at() }),
        false => Ok(Drill { stopped: Some((now, stopped_as)), ..drill.clone() }),
    }
}

impl Refusal {
    /// Returns the refusal as a problem for the caller.
    pub fn problem(self) -> Problem {
        match self {
            Self::StartsInPast { now } => Problem::new(
                Code::InvalidBody,
                format!(
                    "starts_at must not be in the past. The server time is {now}. Nothing was changed. Omit \
                    starts_at to start now."
                ),
            )
            .with_field("starts_at"),
            Self::Disabled => Problem::new(
                Code::RegistrationDisabled,
                "The registration is disabled and refuses every caller, so a drill would find none. Nothing \
                was changed. Enable the registration first.",
            ),
            Self::NotRetiring { retiring: None } => Problem::new(
                Code::NotRetiring,
                "Drills need a retiring secret, and this registration has none. Nothing was changed. Rotate \
                with a transition period first.",
            ),
            Self::NotRetiring { retiring: Some(retiring) } => Problem::new(
                Code::NotRetiring,
                format!(
                    "The retiring secret is {retiring}, not the one you expected. Nothing was changed. Check \
                    the rotation history."
                ),
            )
            .with_field("secret_id"),
            Self::EndsAfterDeadline { deadline, fit } => {
                let (field, do_this) = match fit {
                    0 => ("starts_at", "Start earlier, use shorter windows, or extend the deadline first."),
                    _ => ("repeat", "Use fewer windows, closer together, or extend the deadline first."),
                };
                let text = format!(
                    "Every window must end by the secret's deadline, {deadline}. Only {fit} of these windows \
                    do. Nothing was changed. {do_this}"
                );
                Problem::new(Code::InvalidBody, text).with_field(field).with("at_most", deadline)
            }
            Self::InProgress { drill, ends_at } => Problem::new(
                Code::DrillInProgress,
                format!(
                    "Drill {drill} of this secret does not end until {ends_at}. Nothing was changed. Wait \
                    for it to end, or stop it first."
                ),
            )
            .with("drill", json!({"id": drill, "ends_at": ends_at})),
            Self::Over { since } => {
                Problem::new(Code::DrillOver, format!("This drill ended at {since}. Nothing was changed."))
            }
        }
    }
}

#[cfg(test)]
mod tests;
