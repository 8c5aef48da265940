//! Compares the machine's clock with the stored time, and warns if they differ (rule 20).

use crate::{error::Error, node::state::Node};
use crossfade_authority::{Clock, MAX_OFFSET, Moment};
use crossfade_store::{Db, StoreError};
use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Interval for reading the clock of a database.
const READ_EVERY: Duration = Duration::from_secs(5);
/// Interval for repeating a warning in the log.
const REPEATED_EVERY: Duration = Duration::from_secs(3600);

/// The last observation of the clock.
#[derive(Default)]
pub(crate) struct ClockWatch(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    /// When the database's clock was last read.
    read_at: Option<Instant>,
    /// When the last warning about a clock that is behind was logged; `None` while the clock is not behind.
    warned_at: Option<Instant>,
    /// When the last warning about this machine's clock was logged; `None` while it agrees with the database's.
    own_warned_at: Option<Instant>,
    /// How far the clock has been set forward since the start, and back.
    forward: Duration,
    back: Duration,
}

/// Changes of the clock since the last observation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Found {
    /// The stored time is ahead of the clock by this much.
    Behind(Duration),
    CaughtUp,
    SetForward(Duration),
    SetBack(Duration),
}

impl Seen {
    fn look(&mut self, moment: &Moment, at: Instant) -> Vec<Found> {
        let mut found = Vec::new();
        let forward = moment.machine.since(moment.earliest);
        if forward > self.forward + MAX_OFFSET {
            found.push(Found::SetForward(forward - self.forward));
        }
        let back = moment.latest.since(moment.machine);
        if back > self.back + MAX_OFFSET {
            found.push(Found::SetBack(back - self.back));
        }
        (self.forward, self.back) = (forward, back);
        match moment.offset() {
            Some(offset) => found.extend(is_due(&mut self.warned_at, at).then_some(Found::Behind(offset))),
            None => found.extend(self.warned_at.take().map(|_| Found::CaughtUp)),
        }
        found
    }

    /// Returns a sentence to log about this machine's clock, if it is more than a minute from the database's.
    fn look_at_own(&mut self, own_offset: i64, at: Instant) -> Option<String> {
        match own_clock(own_offset) {
            Err(sentence) => is_due(&mut self.own_warned_at, at).then_some(sentence),
            Ok(_) => {
                self.own_warned_at = None;
                None
            }
        }
    }
}

/// Whether to log a warning that was last logged at `warned_at`.
fn is_due(warned_at: &mut Option<Instant>, at: Instant) -> bool {
    let is_due = warned_at.is_none_or(|warned_at| at.duration_since(warned_at) >= REPEATED_EVERY);
    if is_due {
        *warned_at = Some(at);
    }
    is_due
}

/// Returns a sentence about this machine's wall clock, which is ahead of the database's by this many microseconds; an error if
/// they differ by more than a minute.
pub(crate) fn own_clock(ahead: i64) -> Result<String, String> {
    let side = if ahead < 0 { "behind" } else { "ahead of" };
    let apart = Duration::from_micros(ahead.unsigned_abs());
    if apart <= MAX_OFFSET {
        return Ok(format!("This machine’s clock is {} ms {side} the database’s.", apart.as_millis()));
    }
    Err(format!(
        "This machine’s clock is {} {side} the database’s. Crossfade decides by the database’s clock, but the log has the \
        machine’s time, and TLS certificates are judged by it.",
        length(apart)
    ))
}

/// Reads the clock of a database that has one, before anything is decided or stored, so that the node's wall clock
/// never counts.
pub(crate) async fn calibrate(db: &Db, clock: &Clock) -> Result<(), StoreError> {
    if let Some((told, asked)) = db.clock(|| clock.ask()).await? {
        clock.calibrate(told, asked);
    }
    Ok(())
}

impl Node {
    /// Returns a sentence about the machine's clock if it is more than a minute behind the stored time, or on PostgreSQL more
    /// than a minute from the database's.
    pub(crate) fn clock_warning(&self) -> Option<String> {
        let moment = self.clock.read();
        let Some(offset) = moment.offset().map(length) else {
            let sentence = own_clock(self.clock.own_offset()?).err()?;
            return Some(format!("{sentence} Compare both clocks, and synchronise them with NTP."));
        };
        let whose = self.whose_clock();
        Some(format!(
            "The {whose} clock is {offset} behind the stored time {}. Tokens use that clock and are not \
            affected. Secrets use the stored time, which runs at half speed until the clock catches up. \
            Correct the clock and synchronise it with NTP.",
            crate::wording::shown(moment.now)
        ))
    }

    /// Returns the time minus the machine's time, in seconds.
    pub(crate) fn clock_offset_seconds(&self) -> f64 {
        let moment = self.clock.read();
        moment.now.since(moment.machine).as_secs_f64()
    }

    /// Returns by how many seconds this machine's wall clock is ahead of the database's; 0 on SQLite.
    pub(crate) fn own_clock_offset_seconds(&self) -> f64 {
        self.clock.own_offset().unwrap_or_default() as f64 / 1e6
    }

    fn whose_clock(&self) -> &'static str {
        if self.db.has_own_clock() { "database’s" } else { "machine’s" }
    }

    /// Reads the clock of a database that has one. On PostgreSQL, tokens use its time.
    pub(crate) async fn calibrate(&self) -> Result<(), Error> {
        if let Some((told, asked)) = self.db.clock(|| self.clock.ask()).await? {
            self.clock.calibrate(told, asked);
            self.clock_watch.0.lock().unwrap_or_else(PoisonError::into_inner).read_at = Some(Instant::now());
        }
        Ok(())
    }

    /// Checks the clock and logs changes.
    pub(crate) async fn watch_clock(&self) {
        let read_at = self.clock_watch.0.lock().unwrap_or_else(PoisonError::into_inner).read_at;
        if read_at.is_none_or(|read_at| read_at.elapsed() >= READ_EVERY)
            && let Err(error) = self.calibrate().await
        {
            tracing::debug!(%error, "cannot read the database's clock");
        }
        let moment = self.clock.read();
        let mut seen = self.clock_watch.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = seen.look(&moment, Instant::now());
        let own_offset = self.clock.own_offset();
        let of_own = own_offset.and_then(|own_offset| seen.look_at_own(own_offset, Instant::now()));
        drop(seen);
        if let Some(sentence) = of_own {
            tracing::warn!(offset_seconds = own_offset.unwrap_or_default() / 1_000_000, "{sentence}");
        }
        let (whose, machine, stored) = (self.whose_clock(), moment.machine, moment.now);
        for found in found {
            match found {
                Found::Behind(by) => tracing::warn!(
                    offset_seconds = by.as_secs(), %machine, %stored,
                    "the {whose} clock is behind the stored time; secrets use the stored time, which runs at \
                    half speed until the clock catches up, and tokens use the clock"
                ),
                Found::CaughtUp => {
                    tracing::info!(%machine, "the {whose} clock is no longer behind the stored time")
                }
                Found::SetForward(by) => tracing::warn!(
                    seconds = by.as_secs(), %machine,
                    "the {whose} clock was set forward, or stopped while the machine was suspended; every \
                    deadline up to now has passed"
                ),
                Found::SetBack(by) => {
                    tracing::warn!(seconds = by.as_secs(), %machine, %stored, "the {whose} clock was set back");
                }
            }
        }
    }
}

/// Returns a duration in its largest unit, rounded: `3 days`, `26 hours`, `5 minutes`.
pub(crate) fn length(span: Duration) -> String {
    let seconds = span.as_secs();
    let (number, unit) = match seconds {
        172_800.. => ((seconds + 43_200) / 86_400, "day"),
        7200.. => ((seconds + 1800) / 3600, "hour"),
        120.. => ((seconds + 30) / 60, "minute"),
        _ => (seconds, "second"),
    };
    crate::wording::count(number, unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossfade_core::Timestamp;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_clock_that_is_behind_is_told_once_and_repeated_each_hour() {
        let (clock, mut seen) = (Clock::manual(Timestamp::from_seconds(100_000)), Seen::default());
        let begun = Instant::now();
        let mut look = |clock: &Clock, after: Duration| seen.look(&clock.read(), begun + after);
        assert_eq!(look(&clock, Duration::ZERO), []);
        clock.raise(Timestamp::from_seconds(100_000).after(HOUR));
        assert_eq!(look(&clock, Duration::ZERO), [Found::Behind(HOUR)]);
        assert_eq!(look(&clock, REPEATED_EVERY - Duration::from_secs(1)), []);
        assert_eq!(look(&clock, REPEATED_EVERY), [Found::Behind(HOUR)]);
        clock.advance(HOUR);
        assert_eq!(look(&clock, REPEATED_EVERY), [Found::CaughtUp]);
        assert_eq!(look(&clock, REPEATED_EVERY), []);
    }

    #[test]
    fn a_clock_that_is_set_is_told_in_both_directions() {
        let start = Timestamp::from_seconds(100_000);
        let (clock, mut seen) = (Clock::manual(start), Seen::default());
        let mut look = |clock: &Clock| seen.look(&clock.read(), Instant::now());
        assert_eq!(look(&clock), []);
        clock.set(start.after(HOUR));
        assert_eq!(look(&clock), [Found::SetForward(HOUR)]);
        assert_eq!(look(&clock), []);
        clock.set(start);
        assert_eq!(look(&clock), [Found::SetBack(HOUR), Found::Behind(HOUR)]);
        clock.set(start.after(MAX_OFFSET));
        assert_eq!(look(&clock), [], "what a minute explains is nothing to tell of");
    }

    #[test]
    fn a_machine_whose_clock_is_not_the_database_s_is_told_once_and_repeated_each_hour() {
        let (mut seen, begun) = (Seen::default(), Instant::now());
        let mut look = |seconds: i64, after: Duration| seen.look_at_own(seconds * 1_000_000, begun + after);
        assert_eq!(look(60, Duration::ZERO), None);
        assert!(look(-300, Duration::ZERO).is_some_and(|it| it.contains("5 minutes behind")));
        assert_eq!(look(-300, REPEATED_EVERY - Duration::from_secs(1)), None);
        assert!(look(300, REPEATED_EVERY).is_some_and(|it| it.contains("5 minutes ahead of")));
        assert_eq!(look(0, REPEATED_EVERY), None);
        assert!(look(300, REPEATED_EVERY).is_some(), "a clock that was right meanwhile");
    }

    #[test]
    fn lengths_are_told_in_their_largest_unit() {
        for (seconds, text) in [
            (61, "61 seconds"),
            (120, "2 minutes"),
            (7169, "119 minutes"),
            (86_400, "24 hours"),
            (172_800, "2 days"),
        ] {
            assert_eq!(length(Duration::from_secs(seconds)), text);
        }
    }
}
