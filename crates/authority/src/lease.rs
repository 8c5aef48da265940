//! The lease: until when this node may decide without hearing from the database.
//!
//! A lease counts from before it was asked for, so that it ends here before it ends in the database, and a margin keeps
//! it so if the clocks drift. It is compared with two clocks: the boot-time clock, and the wall clock, which alone
//! notices that a whole machine stood still and was corrected. Whichever says more has passed counts.

use crate::clock::{boot_time, micros, span, wall};
use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

/// By how much a lease ends earlier here than in the database: more than clocks drift apart in the longest lease.
pub const MARGIN: Duration = Duration::from_millis(500);

/// Until when this node may decide. Never more than the last lease that the database granted.
#[derive(Debug)]
pub struct Lease {
    /// By the boot-time clock and by the wall clock, in microseconds.
    booted: AtomicI64,
    wall: AtomicI64,
}

/// When a lease was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LeaseAsked {
    booted: i64,
    wall: i64,
}

impl LeaseAsked {
    /// Returns this moment.
    pub fn now() -> Self {
        Self { booted: boot_time(), wall: wall() }
    }

    /// Returns how long ago it was, by the boot-time clock.
    pub fn elapsed(&self) -> Duration {
        span(boot_time().saturating_sub(self.booted))
    }
}

impl Lease {
    /// Returns the lease of a process that needs none, because no other process can decide.
    pub fn unlimited() -> Self {
        Self { booted: AtomicI64::new(i64::MAX), wall: AtomicI64::new(i64::MAX) }
    }

    /// Extends the lease to `length` after it was asked for, less the margin.
    pub fn extend(&self, asked: LeaseAsked, length: Duration) {
        let length = micros(length.saturating_sub(MARGIN));
        // A request that compares between the two sees a lease that is too short.
        self.wall.store(asked.wall.saturating_add(length), Ordering::SeqCst);
        self.booted.store(asked.booted.saturating_add(length), Ordering::SeqCst);
    }

    /// Ends the lease now.
    pub fn end(&self) {
        self.booted.store(i64::MIN, Ordering::SeqCst);
        self.wall.store(i64::MIN, Ordering::SeqCst);
    }

    /// Whether this node may decide at this moment.
    pub fn holds(&self) -> bool {
        let until = (self.booted.load(Ordering::SeqCst), self.wall.load(Ordering::SeqCst));
        until == (i64::MAX, i64::MAX) || self.holds_at(LeaseAsked::now())
    }

    /// Returns what is left of the lease.
    pub fn remaining(&self) -> Duration {
        self.remaining_at(LeaseAsked::now())
    }

    fn remaining_at(&self, now: LeaseAsked) -> Duration {
        let booted = self.booted.load(Ordering::SeqCst).saturating_sub(now.booted);
        span(booted.min(self.wall.load(Ordering::SeqCst).saturating_sub(now.wall)))
    }

    fn holds_at(&self, now: LeaseAsked) -> bool {
        now.booted < self.booted.load(Ordering::SeqCst) && now.wall < self.wall.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    fn at(booted: i64, wall: i64) -> LeaseAsked {
        LeaseAsked { booted: booted * SECOND, wall: wall * SECOND }
    }

    #[test]
    fn rule_23_a_lease_counts_from_before_it_was_asked_for_and_ends_a_margin_earlier() {
        let lease = Lease::unlimited();
        assert!(lease.holds() && lease.holds_at(at(i64::MAX / SECOND - 1, 0)));
        lease.extend(at(100, 5000), Duration::from_secs(15));
        assert!(lease.holds_at(at(114, 5014)));
        let end = LeaseAsked { booted: 114_500_000, wall: 5_014_500_000 };
        assert!(!lease.holds_at(end), "half a second before the database ends it");
        assert!(lease.holds_at(LeaseAsked { booted: end.booted - 1, wall: end.wall - 1 }));
        lease.end();
        assert!(!lease.holds_at(at(101, 5001)) && !lease.holds());
        lease.extend(LeaseAsked::now(), Duration::from_secs(60));
        assert!(lease.holds());
        lease.extend(LeaseAsked::now(), MARGIN);
        assert!(!lease.holds(), "a lease as short as the margin is none");
    }

    #[test]
    fn rule_23_the_clock_that_says_more_has_passed_counts() {
        let lease = Lease::unlimited();
        lease.extend(at(100, 5000), Duration::from_secs(15));
        assert!(!lease.holds_at(at(101, 5060)), "the machine stood still and its wall clock was corrected");
        assert!(!lease.holds_at(at(160, 5001)), "the wall clock was set back");
        assert!(
            lease.holds_at(at(101, 4000)),
            "a wall clock that was set back lengthens nothing, and ends nothing"
        );
    }
}
