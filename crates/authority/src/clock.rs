//! The clock. Time never runs backwards: a deadline that has passed once has passed for good, whatever
//! happens to the machine's clock afterwards. Nor does it stand still: what lies between two times, such as a window of
//! a drill, ends also while the machine's clock is behind.

use crossfade_core::Timestamp;
use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Tells the time: the greatest of the machine's clock, what its monotonic clock says since the start, and
/// the highest time that was ever stored or told. Where that lies ahead of the others, time goes on from it at half the
/// pace, until the machine's clock has caught up.
#[derive(Debug)]
pub struct Clock {
    source: Source,
    /// Microseconds: the highest time that was stored or told, less half of what had passed since the start. Never
    /// lowered.
    floor: AtomicI64,
}

#[derive(Debug)]
enum Source {
    /// `behind`: microseconds by which it is still set back.
    System {
        started_wall: i64,
        started: Instant,
        behind: AtomicI64,
    },
    Manual(AtomicI64),
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self::set_back(Duration::ZERO)
    }

    /// The machine's clock, set back: for a simulation that begins in the past and ends in the present. It runs, and
    /// [`advance`](Self::advance) catches up.
    pub fn set_back(span: Duration) -> Self {
        #[expect(clippy::disallowed_methods, reason = "this is the clock itself")]
        let started = Instant::now();
        let behind = AtomicI64::new(micros(span));
        Self { source: Source::System { started_wall: wall(), started, behind }, floor: AtomicI64::new(0) }
    }

    /// A clock that is set by hand, for tests and simulations.
    pub fn manual(at: Timestamp) -> Self {
        Self { source: Source::Manual(AtomicI64::new(at.as_micros())), floor: AtomicI64::new(0) }
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        let (reading, half) = match &self.source {
            Source::System { started_wall, started, behind } => {
                let elapsed = micros(started.elapsed());
                let present = wall().max(started_wall.saturating_add(elapsed));
                (present - behind.load(Ordering::SeqCst), elapsed / 2)
            }
            Source::Manual(at) => (at.load(Ordering::SeqCst), 0),
        };
        let before = self.floor.fetch_max(reading - half, Ordering::SeqCst);
        Timestamp::from_micros(before.saturating_add(half).max(reading))
    }

    /// Says that `stored` has been a time once, so that this clock never goes back behind it.
    pub fn raise(&self, stored: Timestamp) {
        let half = match &self.source {
            Source::System { started, .. } => micros(started.elapsed()) / 2,
            Source::Manual(_) => 0,
        };
        self.floor.fetch_max(stored.as_micros().saturating_sub(half), Ordering::SeqCst);
    }

    /// Whether it is not one that was set back and has still to catch up.
    pub fn is_caught_up(&self) -> bool {
        match &self.source {
            Source::Manual(_) => true,
            Source::System { behind, .. } => behind.load(Ordering::SeqCst) == 0,
        }
    }

    /// Moves a manual clock; one that is set back catches up, and never goes beyond the machine's.
    pub fn advance(&self, span: Duration) {
        match &self.source {
            Source::Manual(at) => {
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
        if let Source::Manual(at) = &self.source {
            at.store(to.as_micros(), Ordering::SeqCst);
        }
    }
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
