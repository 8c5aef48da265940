//! The clock and its two times.
//!
//! *The time* ([`Clock::now`]) is used for secrets and everything stored (rule 2). It never runs backwards: once a
//! deadline has passed, it stays passed, whatever happens to the machine's clock afterwards. It never stands still
//! either: a period between two times, such as a window of a drill, ends even while the machine's clock is behind.
//!
//! *The machine's time* ([`Clock::machine`]) is used in tokens (rule 20), because a resource server compares a token
//! with a correct clock.
//!
//! On PostgreSQL both come from the database's clock, continued by the boot-time clock of this machine. Once the
//! database's clock has been read ([`Clock::calibrate`]), this machine's wall clock decides nothing, and its earlier
//! times no longer count. When exactly the database read its clock is unknown, between the question and the answer: the
//! time assumes the question, so that it is never behind the database's, and the machine's time the answer, so that it
//! is never ahead. [`Clock::uncertainty`] is half of what lies between them.

use crossfade_core::Timestamp;
use rustix::time::{ClockId, clock_gettime};
use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The most by which the time of a database's clock may be uncertain. A node that knows less takes no lease.
pub const MAX_UNCERTAINTY: Duration = Duration::from_millis(100);
/// How far the time and the machine's time can differ without a warning (rule 20).
pub const MAX_OFFSET: Duration = Duration::from_secs(60);
/// Value for a database whose clock was never read.
const UNREAD: i64 = i64::MIN;
/// By which part of the time that has passed a database's clock can gain on the boot-time clock: the 500 ppm by which
/// Linux slews a clock at most.
const DRIFT: i64 = 2000;

/// A clock whose time is the latest of three: the authoritative clock, its boot-time clock since the start, and the
/// latest time ever stored or returned. If the last of these is ahead of the others, the time continues from it at half
/// speed until the machine's clock has caught up.
#[derive(Debug)]
pub struct Clock {
    source: TimeSource,
    /// The latest time stored or returned, minus half of the time elapsed since the start, in microseconds. Never
    /// lowered.
    floor: AtomicI64,
    /// The latest stored time, computed like `floor`. It replaces `floor` when a database's clock is first read.
    stored: AtomicI64,
    /// The latest that the database's clock can say, minus [`at_most`] of the time elapsed since the start, in
    /// microseconds; [`UNREAD`] without such a clock.
    latest: AtomicI64,
    /// The earliest that it can say, minus [`at_least`] of the time elapsed since the start.
    earliest: AtomicI64,
    /// How long the last question about its time took, and when it was asked, in microseconds since the start.
    took: AtomicI64,
    asked: AtomicI64,
    /// This machine's wall clock minus the database's at the last question, in microseconds; [`UNREAD`] without such a clock.
    own_offset: AtomicI64,
    /// The lowest and the highest machine's time since the start, each minus the time elapsed by then, in microseconds.
    lowest: AtomicI64,
    highest: AtomicI64,
}

#[derive(Debug)]
enum TimeSource {
    /// `set_back`: microseconds by which it was set back at the start; `behind`: microseconds by which it is still
    /// behind.
    System {
        started_wall: i64,
        /// The boot-time clock at the start.
        started: i64,
        set_back: i64,
        behind: AtomicI64,
        /// Whether it runs on simulated time, which no database's clock corrects.
        is_simulated: bool,
    },
    /// `advanced`: microseconds by which it was advanced.
    Manual { at: AtomicI64, advanced: AtomicI64 },
}

/// When a database was asked for the time of its clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asked {
    /// By the boot-time clock, in microseconds.
    booted: i64,
}

/// One reading of the clock. The time is never before the machine's time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment {
    /// The time, for secrets and everything stored.
    pub now: Timestamp,
    /// The machine's time, for tokens.
    pub machine: Timestamp,
    /// What the machine's time would be if its clock had never been set forward since the start.
    pub earliest: Timestamp,
    /// What the machine's time would be if its clock had never been set back since the start: the time that a token
    /// issued before that has reached.
    pub latest: Timestamp,
}

impl Moment {
    /// Returns the time minus the machine's time, if they differ by more than [`MAX_OFFSET`].
    pub fn offset(&self) -> Option<Duration> {
        let offset = self.now.since(self.machine);
        (offset > MAX_OFFSET).then_some(offset)
    }
}

/// The readings of a clock's sources, in microseconds.
struct Reading {
    /// The later of the authoritative clock and the boot-time clock.
    present: i64,
    machine: i64,
    elapsed: i64,
    /// How far the time advances while it is ahead of every source.
    half: i64,
}

impl Clock {
    /// Returns the machine's clock.
    pub fn system() -> Self {
        Self::started(0, false)
    }

    /// Returns the machine's clock, set back, for a simulation that begins in the past and ends in the present. The
    /// clock runs, and [`advance`](Self::advance) catches up.
    pub fn set_back(span: Duration) -> Self {
        Self::started(micros(span), true)
    }

    /// Returns the clock of a machine that is behind by `span`: for tests.
    pub fn behind(span: Duration) -> Self {
        Self::started(micros(span), false)
    }

    /// Returns the clock of a machine that is ahead by `span`: for tests.
    pub fn ahead(span: Duration) -> Self {
        Self::started(-micros(span), false)
    }

    fn started(set_back: i64, is_simulated: bool) -> Self {
        let started = boot_time();
        let behind = AtomicI64::new(set_back);
        Self::of(TimeSource::System { started_wall: wall(), started, set_back, behind, is_simulated })
    }

    /// Returns a clock that is set by hand, for tests and simulations.
    pub fn manual(at: Timestamp) -> Self {
        Self::of(TimeSource::Manual { at: AtomicI64::new(at.as_micros()), advanced: AtomicI64::new(0) })
    }

    fn of(source: TimeSource) -> Self {
        let (latest, earliest) = (AtomicI64::new(UNREAD), AtomicI64::new(UNREAD));
        let (took, asked, own_offset) = (AtomicI64::new(0), AtomicI64::new(0), AtomicI64::new(UNREAD));
        let (lowest, highest) = (AtomicI64::new(i64::MAX), AtomicI64::new(i64::MIN));
        let (floor, stored) = (AtomicI64::new(0), AtomicI64::new(0));
        let clock =
            Self { source, floor, stored, latest, earliest, took, asked, own_offset, lowest, highest };
        clock.read();
        clock
    }

    /// Returns the time.
    pub fn now(&self) -> Timestamp {
        let Reading { present, half, .. } = self.sources();
        self.raised(present, half)
    }

    /// Returns the machine's time.
    pub fn machine(&self) -> Timestamp {
        Timestamp::from_micros(self.sources().machine)
    }

    /// Returns how long the clock has run, regardless of the time it was set to.
    pub fn elapsed(&self) -> Duration {
        Duration::from_micros(u64::try_from(self.sources().elapsed).unwrap_or(0))
    }

    /// Returns both times from one reading.
    pub fn read(&self) -> Moment {
        let Reading { present, machine, elapsed, half } = self.sources();
        let now = self.raised(present, half);
        let begun = machine - elapsed;
        let lowest = extreme(&self.lowest, begun, i64::min);
        let highest = extreme(&self.highest, begun, i64::max);
        Moment {
            now,
            machine: Timestamp::from_micros(machine),
            earliest: Timestamp::from_micros(lowest + elapsed),
            latest: Timestamp::from_micros(highest + elapsed),
        }
    }

    fn sources(&self) -> Reading {
        match &self.source {
            TimeSource::System { started_wall, started, set_back, behind, .. } => {
                let running = boot_time() - started;
                let behind = behind.load(Ordering::SeqCst);
                let (present, machine) = match self.latest.load(Ordering::SeqCst) {
                    UNREAD => {
                        let own = wall() - behind;
                        (own.max(started_wall.saturating_add(running) - behind), own)
                    }
                    latest => {
                        let latest = latest.saturating_add(at_most(running));
                        // The two are stored one after the other.
                        (
                            latest,
                            self.earliest
                                .load(Ordering::SeqCst)
                                .saturating_add(at_least(running))
                                .min(latest),
                        )
                    }
                };
                // A simulation that catches up is no clock that was set.
                Reading { present, machine, elapsed: running + set_back - behind, half: running / 2 }
            }
            TimeSource::Manual { at, advanced } => {
                let at = at.load(Ordering::SeqCst);
                Reading { present: at, machine: at, elapsed: advanced.load(Ordering::SeqCst), half: 0 }
            }
        }
    }

    fn raised(&self, reading: i64, half: i64) -> Timestamp {
        let before = self.floor.fetch_max(reading - half, Ordering::SeqCst);
        Timestamp::from_micros(before.saturating_add(half).max(reading))
    }

    /// Raises the clock to at least `stored`, a time seen before.
    pub fn raise(&self, stored: Timestamp) {
        let floor = stored.as_micros().saturating_sub(self.sources().half);
        self.stored.fetch_max(floor, Ordering::SeqCst);
        self.floor.fetch_max(floor, Ordering::SeqCst);
    }

    /// Begins a question about the time of a database's clock.
    pub fn ask(&self) -> Asked {
        Asked { booted: boot_time() }
    }

    /// Sets the time and the machine's time by `at`, which the database's clock said after it was `asked` and before
    /// now. Times of this machine's clock before the first such reading no longer count. A clock that is set by hand or
    /// runs on simulated time is left unchanged.
    pub fn calibrate(&self, at: Timestamp, asked: Asked) {
        if let TimeSource::System { started, behind, is_simulated: false, .. } = &self.source {
            let (asked, answered) = (asked.booted - started, boot_time() - started);
            if self.is_known_better(asked, answered) {
                return;
            }
            self.earliest.store(at.as_micros().saturating_sub(at_least(answered)), Ordering::SeqCst);
            let before = self.latest.swap(at.as_micros().saturating_sub(at_most(asked)), Ordering::SeqCst);
            self.took.store(answered - asked, Ordering::SeqCst);
            self.asked.store(asked, Ordering::SeqCst);
            let own = wall() - behind.load(Ordering::SeqCst);
            self.own_offset.store(own.saturating_sub(at.as_micros()), Ordering::SeqCst);
            if before == UNREAD {
                self.floor.store(self.stored.load(Ordering::SeqCst), Ordering::SeqCst);
                self.lowest.store(i64::MAX, Ordering::SeqCst);
                self.highest.store(i64::MIN, Ordering::SeqCst);
            }
        }
    }

    /// Whether an answer is so late that the time is known better without it.
    fn is_known_better(&self, asked: i64, answered: i64) -> bool {
        let late = span(answered - asked) / 2;
        late > MAX_UNCERTAINTY && self.uncertainty().is_some_and(|known| known < late)
    }

    /// Returns how uncertain the time of the database's clock is: half of the time that the last question took, and what
    /// the clocks can have drifted since. The time is ahead of that clock by at most twice as much, and the machine's time
    /// behind. `None` if no database's clock was read.
    pub fn uncertainty(&self) -> Option<Duration> {
        let TimeSource::System { started, .. } = &self.source else { return None };
        if self.latest.load(Ordering::SeqCst) == UNREAD {
            return None;
        }
        let since = boot_time() - started - self.asked.load(Ordering::SeqCst);
        Some(span(self.took.load(Ordering::SeqCst) / 2 + (at_most(since) - since)))
    }

    /// Returns by how many microseconds this machine's wall clock was ahead of the database's when that was last read; negative
    /// if it was behind. `None` if no database's clock was read.
    pub fn own_offset(&self) -> Option<i64> {
        Some(self.own_offset.load(Ordering::SeqCst)).filter(|offset| *offset != UNREAD)
    }

    /// Whether the clock has caught up with the machine's. Always true unless it was set back.
    pub fn is_caught_up(&self) -> bool {
        match &self.source {
            TimeSource::System { behind, is_simulated: true, .. } => behind.load(Ordering::SeqCst) == 0,
            TimeSource::System { .. } | TimeSource::Manual { .. } => true,
        }
    }

    /// Whether it is set by hand.
    pub fn is_manual(&self) -> bool {
        matches!(self.source, TimeSource::Manual { .. })
    }

    /// Advances a manual clock. A clock that was set back catches up, but never goes beyond the machine's.
    pub fn advance(&self, span: Duration) {
        match &self.source {
            TimeSource::Manual { at, advanced } => {
                advanced.fetch_add(micros(span), Ordering::SeqCst);
                at.fetch_add(micros(span), Ordering::SeqCst);
            }
            TimeSource::System { behind, .. } => {
                let caught_up = |behind: i64| Some(behind.saturating_sub(micros(span)).max(0));
                let _ = behind.fetch_update(Ordering::SeqCst, Ordering::SeqCst, caught_up);
            }
        }
    }

    /// Sets a manual clock, even to an earlier time. A machine's clock is left unchanged.
    pub fn set(&self, to: Timestamp) {
        if let TimeSource::Manual { at, .. } = &self.source {
            at.store(to.as_micros(), Ordering::SeqCst);
        }
    }
}

/// Lowers or raises `known` to `value`, and returns it. Reads first, because there is nearly always nothing to write.
fn extreme(known: &AtomicI64, value: i64, better: impl Fn(i64, i64) -> i64) -> i64 {
    let before = known.load(Ordering::Relaxed);
    if better(before, value) != before {
        let _ = known.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |known| Some(better(known, value)));
    }
    better(before, value)
}

/// Returns how far a database's clock has advanced at most while the boot-time clock advanced by `passed`.
fn at_most(passed: i64) -> i64 {
    passed.saturating_add(passed / DRIFT)
}

/// Returns how far it has advanced at least.
fn at_least(passed: i64) -> i64 {
    passed.saturating_sub(passed / DRIFT)
}

pub(crate) fn span(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

pub(crate) fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

/// Returns the microseconds since this machine was booted, including time suspended. This clock is never set.
pub(crate) fn boot_time() -> i64 {
    #[cfg(target_os = "linux")]
    const CLOCK: ClockId = ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    const CLOCK: ClockId = ClockId::Monotonic;
    let passed = clock_gettime(CLOCK);
    passed.tv_sec.saturating_mul(1_000_000).saturating_add(passed.tv_nsec / 1000)
}

pub(crate) fn wall() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "this is the clock itself")]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(0))
}

#[cfg(test)]
mod tests;
