//! The clock, and the two times that it tells.
//!
//! *The time* ([`Clock::now`]) decides secrets and everything that is stored (rule 2). It never runs backwards: a deadline
//! that has passed once has passed for good, whatever happens to the machine's clock afterwards. Nor does it stand still:
//! what lies between two times, such as a window of a drill, ends also while the machine's clock is behind.
//!
//! *The machine's time* ([`Clock::machine`]) is what tokens tell (rule 20), because whoever validates a token compares it
//! with a clock that is right.
//!
//! On PostgreSQL both come from the database's clock, carried on by the boot-time clock of this machine. Once the
//! database's clock is read ([`Clock::calibrate`]), this machine's wall clock decides nothing, and no time that it told
//! before counts.

use crossfade_core::Timestamp;
use rustix::time::{ClockId, clock_gettime};
use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// How far the time and the machine's time may be apart without anybody being warned (rule 20).
pub const MAX_OFFSET: Duration = Duration::from_secs(60);
/// Stands for a database whose clock was never read.
const UNREAD: i64 = i64::MIN;

/// Tells the time: the greatest of the clock that counts, what its boot-time clock says since the start, and
/// the highest time that was ever stored or told. Where that lies ahead of the others, time goes on from it at half the
/// pace, until the machine's clock has caught up.
#[derive(Debug)]
pub struct Clock {
    source: Source,
    /// Microseconds: the highest time that was stored or told, less half of what had passed since the start. Never
    /// lowered.
    floor: AtomicI64,
    /// The same of the highest time that was stored: what remains of the floor when a database's clock is first read.
    stored: AtomicI64,
    /// What the database's clock said less what had passed since the start, in microseconds; [`UNREAD`] without one.
    database: AtomicI64,
    /// The lowest and the highest machine's time since the start, each less what had passed by then, in microseconds.
    lowest: AtomicI64,
    highest: AtomicI64,
}

#[derive(Debug)]
enum Source {
    /// `set_back`: microseconds by which it was set back at the start; `behind`: by which it still is.
    System {
        started_wall: i64,
        /// What the boot-time clock said at the start.
        started: i64,
        set_back: i64,
        behind: AtomicI64,
        /// Whether it tells the time of a simulation, which no database's clock corrects.
        is_simulated: bool,
    },
    /// `advanced`: microseconds by which it was moved on.
    Manual { at: AtomicI64, advanced: AtomicI64 },
}

/// One reading of the clock. The time is never before the machine's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment {
    /// The time: what decides secrets, and what is stored.
    pub now: Timestamp,
    /// The machine's time: what tokens tell.
    pub machine: Timestamp,
    /// The machine's time had its clock never been set forward since the start.
    pub earliest: Timestamp,
    /// The machine's time had its clock never been set back since the start: how far a token has lived that was issued
    /// before that.
    pub latest: Timestamp,
}

impl Moment {
    /// The time less the machine's time, where both are further apart than [`MAX_OFFSET`].
    pub fn offset(&self) -> Option<Duration> {
        let offset = self.now.since(self.machine);
        (offset > MAX_OFFSET).then_some(offset)
    }
}

/// What the sources of a clock say, in microseconds.
struct Reading {
    /// What the clock that counts and the boot-time clock come to.
    present: i64,
    machine: i64,
    elapsed: i64,
    /// What the time goes on by while it is ahead of every source.
    half: i64,
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self::started(0, false)
    }

    /// The machine's clock, set back: for a simulation that begins in the past and ends in the present. It runs, and
    /// [`advance`](Self::advance) catches up.
    pub fn set_back(span: Duration) -> Self {
        Self::started(micros(span), true)
    }

    /// The clock of a machine that is behind by `span`: for tests.
    pub fn behind(span: Duration) -> Self {
        Self::started(micros(span), false)
    }

    /// The clock of a machine that is ahead by `span`: for tests.
    pub fn ahead(span: Duration) -> Self {
        Self::started(-micros(span), false)
    }

    fn started(set_back: i64, is_simulated: bool) -> Self {
        let started = boot_time();
        let behind = AtomicI64::new(set_back);
        Self::of(Source::System { started_wall: wall(), started, set_back, behind, is_simulated })
    }

    /// A clock that is set by hand, for tests and simulations.
    pub fn manual(at: Timestamp) -> Self {
        Self::of(Source::Manual { at: AtomicI64::new(at.as_micros()), advanced: AtomicI64::new(0) })
    }

    fn of(source: Source) -> Self {
        let database = AtomicI64::new(UNREAD);
        let (lowest, highest) = (AtomicI64::new(i64::MAX), AtomicI64::new(i64::MIN));
        let (floor, stored) = (AtomicI64::new(0), AtomicI64::new(0));
        let clock = Self { source, floor, stored, database, lowest, highest };
        clock.read();
        clock
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        let Reading { present, half, .. } = self.sources();
        self.raised(present, half)
    }

    /// The machine's time.
    pub fn machine(&self) -> Timestamp {
        Timestamp::from_micros(self.sources().machine)
    }

    /// How long it has run, whatever its time was set to.
    pub fn elapsed(&self) -> Duration {
        Duration::from_micros(u64::try_from(self.sources().elapsed).unwrap_or(0))
    }

    /// Both times, of one moment.
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
            Source::System { started_wall, started, set_back, behind, .. } => {
                let running = boot_time() - started;
                let behind = behind.load(Ordering::SeqCst);
                let (present, machine) = match self.database.load(Ordering::SeqCst) {
                    UNREAD => {
                        let own = wall() - behind;
                        (own.max(started_wall.saturating_add(running) - behind), own)
                    }
                    begun => (begun.saturating_add(running), begun.saturating_add(running)),
                };
                // A simulation that catches up is no clock that was set.
                Reading { present, machine, elapsed: running + set_back - behind, half: running / 2 }
            }
            Source::Manual { at, advanced } => {
                let at = at.load(Ordering::SeqCst);
                Reading { present: at, machine: at, elapsed: advanced.load(Ordering::SeqCst), half: 0 }
            }
        }
    }

    fn raised(&self, reading: i64, half: i64) -> Timestamp {
        let before = self.floor.fetch_max(reading - half, Ordering::SeqCst);
        Timestamp::from_micros(before.saturating_add(half).max(reading))
    }

    /// Says that `stored` has been a time once, so that this clock never goes back behind it.
    pub fn raise(&self, stored: Timestamp) {
        let floor = stored.as_micros().saturating_sub(self.sources().half);
        self.stored.fetch_max(floor, Ordering::SeqCst);
        self.floor.fetch_max(floor, Ordering::SeqCst);
    }

    /// Says that the database's clock told `at` just now: from here on that is the time and the machine's time. What this
    /// machine's clock told before the first such reading counts no more. A clock that is set by hand, or simulates another
    /// time, stays as it is.
    pub fn calibrate(&self, at: Timestamp) {
        if let Source::System { started, is_simulated: false, .. } = &self.source {
            let begun = at.as_micros().saturating_sub(boot_time() - started);
            if self.database.swap(begun, Ordering::SeqCst) == UNREAD {
                self.floor.store(self.stored.load(Ordering::SeqCst), Ordering::SeqCst);
                self.lowest.store(i64::MAX, Ordering::SeqCst);
                self.highest.store(i64::MIN, Ordering::SeqCst);
            }
        }
    }

    /// Whether it is not one that was set back and has still to catch up.
    pub fn is_caught_up(&self) -> bool {
        match &self.source {
            Source::System { behind, is_simulated: true, .. } => behind.load(Ordering::SeqCst) == 0,
            Source::System { .. } | Source::Manual { .. } => true,
        }
    }

    /// Whether it is set by hand.
    pub fn is_manual(&self) -> bool {
        matches!(self.source, Source::Manual { .. })
    }

    /// Moves a manual clock; one that is set back catches up, and never goes beyond the machine's.
    pub fn advance(&self, span: Duration) {
        match &self.source {
            Source::Manual { at, advanced } => {
                advanced.fetch_add(micros(span), Ordering::SeqCst);
                at.fetch_add(micros(span), Ordering::SeqCst);
            }
            Source::System { behind, .. } => {
                let caught_up = |behind: i64| Some(behind.saturating_sub(micros(span)).max(0));
                let _ = behind.fetch_update(Ordering::SeqCst, Ordering::SeqCst, caught_up);
            }
        }
    }

    /// Sets a manual clock, also to an earlier time; a machine's clock is left alone.
    pub fn set(&self, to: Timestamp) {
        if let Source::Manual { at, .. } = &self.source {
            at.store(to.as_micros(), Ordering::SeqCst);
        }
    }
}

/// Lowers or raises what is known to `value`, and returns it. Read first: nearly always there is nothing to write.
fn extreme(known: &AtomicI64, value: i64, better: impl Fn(i64, i64) -> i64) -> i64 {
    let before = known.load(Ordering::Relaxed);
    if better(before, value) != before {
        let _ = known.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |known| Some(better(known, value)));
    }
    better(before, value)
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

/// What has passed since this machine was booted, suspended or not, in microseconds. It is never set.
fn boot_time() -> i64 {
    #[cfg(target_os = "linux")]
    const CLOCK: ClockId = ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    const CLOCK: ClockId = ClockId::Monotonic;
    let passed = clock_gettime(CLOCK);
    passed.tv_sec.saturating_mul(1_000_000).saturating_add(passed.tv_nsec / 1000)
}

fn wall() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "this is the clock itself")]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(0))
}

#[cfg(test)]
mod tests;
