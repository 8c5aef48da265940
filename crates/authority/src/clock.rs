//! The clock, and the two times that it tells.
//!
//! *The time* ([`Clock::now`]) decides secrets and everything that is stored (rule 2). It never runs backwards: a deadline
//! that has passed once has passed for good, whatever happens to the machine's clock afterwards. Nor does it stand still:
//! what lies between two times, such as a window of a drill, ends also while the machine's clock is behind.
//!
//! *The machine's time* ([`Clock::machine`]) is what tokens tell (rule 20), because whoever validates a token compares it
//! with a clock that is right. On PostgreSQL it is the database's clock, carried on by the monotonic clock of this process.

use crossfade_core::Timestamp;
use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// How far the time and the machine's time may be apart without anybody being warned (rule 20).
pub const MAX_OFFSET: Duration = Duration::from_secs(60);
/// How long what has passed by a clock that was set far ahead is remembered at least, in microseconds.
const REMEMBERED_MICROS: i64 = 30 * 86_400 * 1_000_000;
/// Stands for a database whose clock was never read.
const UNREAD: i64 = i64::MIN;

/// Tells the time: the greatest of the machine's clock, what its monotonic clock says since the start, and
/// the highest time that was ever stored or told. Where that lies ahead of the others, time goes on from it at half the
/// pace, until the machine's clock has caught up.
#[derive(Debug)]
pub struct Clock {
    source: Source,
    /// Microseconds: the highest time that was stored or told, less half of what had passed since the start. Never
    /// lowered.
    floor: AtomicI64,
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
        started: Instant,
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
    /// The machine's time had its clock never been set forward since the start: before it, nothing may be forgotten that
    /// must not come back when a wrong clock is corrected.
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
    /// What the machine's own clock and the monotonic clock come to.
    present: i64,
    machine: i64,
    elapsed: i64,
    /// What the time goes on by while it is ahead of every source.
    half: i64,
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self::started(Duration::ZERO, false)
    }

    /// The machine's clock, set back: for a simulation that begins in the past and ends in the present. It runs, and
    /// [`advance`](Self::advance) catches up.
    pub fn set_back(span: Duration) -> Self {
        Self::started(span, true)
    }

    /// The clock of a machine that is behind by `span`: for tests.
    pub fn behind(span: Duration) -> Self {
        Self::started(span, false)
    }

    fn started(span: Duration, is_simulated: bool) -> Self {
        #[expect(clippy::disallowed_methods, reason = "this is the clock itself")]
        let started = Instant::now();
        let set_back = micros(span);
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
        let clock = Self { source, floor: AtomicI64::new(0), database, lowest, highest };
        clock.read();
        clock
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        let Reading { present, machine, half, .. } = self.sources();
        self.raised(present.max(machine), half)
    }

    /// The machine's time.
    pub fn machine(&self) -> Timestamp {
        Timestamp::from_micros(self.sources().machine)
    }

    /// Both times, of one moment.
    pub fn read(&self) -> Moment {
        let Reading { present, machine, elapsed, half } = self.sources();
        let now = self.raised(present.max(machine), half);
        let begun = machine - elapsed;
        let lowest = extreme(&self.lowest, begun, i64::min);
        let highest = extreme(&self.highest, begun, i64::max);
        Moment {
            now,
            machine: Timestamp::from_micros(machine),
            earliest: Timestamp::from_micros((lowest + elapsed).max(machine - REMEMBERED_MICROS)),
            latest: Timestamp::from_micros(highest + elapsed),
        }
    }

    fn sources(&self) -> Reading {
        match &self.source {
            Source::System { started_wall, started, set_back, behind, .. } => {
                let (running, behind) = (micros(started.elapsed()), behind.load(Ordering::SeqCst));
                let own = wall() - behind;
                let present = own.max(started_wall.saturating_add(running) - behind);
                let machine = match self.database.load(Ordering::SeqCst) {
                    UNREAD => own,
                    begun => begun.saturating_add(running),
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
        let half = self.sources().half;
        self.floor.fetch_max(stored.as_micros().saturating_sub(half), Ordering::SeqCst);
    }

    /// Says that the database's clock told `at` just now: from here on that is the machine's time. A clock that is set
    /// by hand, or simulates another time, stays as it is.
    pub fn calibrate(&self, at: Timestamp) {
        if let Source::System { started, is_simulated: false, .. } = &self.source {
            self.database.store(at.as_micros() - micros(started.elapsed()), Ordering::SeqCst);
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

fn wall() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "this is the clock itself")]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_2_time_never_runs_backwards() {
        let clock = Clock::manual(Timestamp::from_seconds(1000));
        assert_eq!(clock.now(), Timestamp::from_seconds(1000));
        clock.set(Timestamp::from_seconds(10));
        assert_eq!(clock.now(), Timestamp::from_seconds(1000), "what was told once stays");
        clock.raise(Timestamp::from_seconds(5000));
        assert_eq!(clock.now(), Timestamp::from_seconds(5000), "what was stored once stays");
        clock.set(Timestamp::from_seconds(5001));
        assert_eq!(clock.now(), Timestamp::from_seconds(5001));
    }

    #[test]
    fn the_system_clock_advances_and_respects_what_was_stored() {
        let clock = Clock::system();
        let first = clock.now();
        assert!(first > Timestamp::from_seconds(1_700_000_000));
        assert!(clock.now() >= first);
        let future = first.after(Duration::from_secs(86_400));
        clock.raise(future);
        assert!(clock.now() >= future && clock.now() < future.after(Duration::from_secs(3600)));
    }

    /// A window of a drill that has begun ends, also where the machine was started anew with a clock that is behind.
    #[test]
    fn time_goes_on_at_half_the_pace_while_the_machine_s_clock_is_behind() {
        let (present, clock) = (Clock::system(), Clock::system());
        let future = clock.now().after(Duration::from_secs(60));
        clock.raise(future);
        let (from, told) = (present.now(), clock.now());
        std::thread::sleep(Duration::from_millis(50));
        let until = clock.now();
        let passed = present.now().since(from);
        assert!(until.since(told) >= Duration::from_millis(24), "{:?}", until.since(told));
        assert!(until.since(told) <= passed / 2 + Duration::from_millis(1), "{:?}", until.since(told));
        assert!(until.since(present.now()) < Duration::from_secs(60), "it is caught up with");
    }

    #[test]
    fn what_is_stored_of_the_end_of_time_stops_nothing() {
        for end in [i64::MAX, i64::MIN] {
            let clock = Clock::system();
            let before = clock.now();
            clock.raise(Timestamp::from_micros(end));
            assert!(clock.now() >= before && clock.now() >= Timestamp::from_micros(end));
        }
    }

    #[test]
    fn a_clock_that_is_set_back_catches_up_and_goes_no_further() {
        let (present, behind) = (Clock::system(), Clock::set_back(Duration::from_secs(3600)));
        let apart = || present.now().since(behind.now()).as_secs();
        assert!((3599..=3600).contains(&apart()));
        behind.advance(Duration::from_secs(1800));
        assert!((1799..=1800).contains(&apart()));
        let moment = behind.read();
        assert!(moment.machine.since(moment.earliest) < Duration::from_secs(1), "it was not set forward");
        behind.advance(Duration::from_secs(1_000_000));
        assert_eq!(apart(), 0);
        assert!(behind.now() <= present.now().after(Duration::from_secs(1)));
    }

    #[test]
    fn rule_2_a_lower_stored_time_changes_nothing() {
        let clock = Clock::manual(Timestamp::from_seconds(1000));
        clock.raise(Timestamp::from_seconds(999));
        assert_eq!(clock.now(), Timestamp::from_seconds(1000));
        clock.advance(Duration::from_micros(1));
        assert_eq!(clock.now(), Timestamp::from_micros(1_000_000_001));
    }

    #[test]
    fn the_machine_s_time_stays_behind_a_stored_time() {
        let clock = Clock::system();
        let day = Duration::from_secs(86_400);
        let before = clock.machine();
        clock.raise(before.after(day));
        let moment = clock.read();
        assert!(moment.machine >= before && moment.machine < before.after(MAX_OFFSET));
        let offset = moment.offset().unwrap();
        assert!(offset <= day && offset > day - MAX_OFFSET, "{offset:?}");
        assert!(moment.earliest <= moment.machine && moment.machine <= moment.latest);
    }

    #[test]
    fn an_offset_of_a_minute_is_none() {
        let clock = Clock::manual(Timestamp::from_seconds(1000));
        clock.raise(Timestamp::from_seconds(1000).after(MAX_OFFSET));
        assert_eq!(clock.read().offset(), None);
        clock.raise(clock.now().after(Duration::from_micros(1)));
        assert_eq!(clock.read().offset(), Some(MAX_OFFSET + Duration::from_micros(1)));
    }

    #[test]
    fn the_database_s_clock_is_the_machine_s_time_once_read() {
        let hour = Duration::from_secs(3600);
        let right = Clock::system();
        let (behind, ahead, simulated) = (Clock::behind(hour), Clock::system(), Clock::set_back(hour));
        let is_about = |time: Timestamp, expected: Timestamp| {
            time.since(expected) < Duration::from_secs(5) && expected.since(time) < Duration::from_secs(5)
        };
        assert!(is_about(behind.machine(), right.machine().before(hour)));
        behind.calibrate(right.machine());
        assert!(is_about(behind.machine(), right.machine()));
        assert!(
            is_about(behind.now(), right.now()),
            "no secret lives longer by a node's clock that is behind"
        );
        assert!(behind.is_caught_up(), "it is no simulation");
        ahead.calibrate(right.machine().before(hour));
        assert!(is_about(ahead.machine(), right.machine().before(hour)), "no token comes from the future");
        simulated.calibrate(right.machine());
        assert!(is_about(simulated.machine(), right.machine().before(hour)));
        let manual = Clock::manual(Timestamp::from_seconds(1000));
        manual.calibrate(right.machine());
        assert_eq!(manual.machine(), Timestamp::from_seconds(1000));
    }

    #[test]
    fn a_clock_that_was_set_wrong_and_right_again_is_known() {
        let at = Timestamp::from_seconds;
        let clock = Clock::manual(at(10_000));
        clock.read();
        clock.set(at(96_400));
        let wrong = clock.read();
        assert_eq!((wrong.now, wrong.machine), (at(96_400), at(96_400)));
        assert_eq!((wrong.earliest, wrong.latest), (at(10_000), at(96_400)));
        clock.set(at(10_000));
        clock.advance(Duration::from_secs(60));
        let right = clock.read();
        assert_eq!((right.now, right.machine), (at(96_400), at(10_060)));
        assert_eq!((right.earliest, right.latest), (at(10_060), at(96_460)));
    }

    #[test]
    fn a_machine_s_clock_is_not_moved_by_hand() {
        let clock = Clock::system();
        let before = clock.now();
        clock.advance(Duration::from_secs(86_400));
        clock.set(Timestamp::from_seconds(1));
        let after = clock.now();
        assert!(after >= before && after < before.after(Duration::from_secs(3600)));
    }

    /// What one thread has been told, no other is told less of afterwards: a deadline that one request saw
    /// pass has passed for every later one.
    #[test]
    fn rule_2_time_never_runs_backwards_under_threads() {
        const ROUNDS: i64 = 20_000;
        let clock = Clock::manual(Timestamp::from_seconds(1000));
        let told = AtomicI64::new(0);
        std::thread::scope(|threads| {
            for _ in 0..3 {
                threads.spawn(|| {
                    for _ in 0..ROUNDS {
                        let earlier = told.load(Ordering::SeqCst);
                        let now = clock.now().as_micros();
                        assert!(now >= earlier, "{now} after {earlier}");
                        told.fetch_max(now, Ordering::SeqCst);
                    }
                });
            }
            threads.spawn(|| {
                for round in 0..ROUNDS {
                    // Forwards and backwards by turns, as a machine whose clock is being corrected.
                    let seconds = 1000 + round * 7919 % 5000;
                    clock.set(Timestamp::from_seconds(seconds));
                    clock.raise(Timestamp::from_seconds(seconds / 2));
                }
            });
        });
        assert_eq!(clock.now().as_micros().max(told.into_inner()), clock.now().as_micros());
    }
}
