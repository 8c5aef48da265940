//! Ended secrets that are still presented: how often, and when their owners are told.
//!
//! Only a secret that was ours is counted, so nobody who guesses causes a message. Someone who holds an old leaked secret
//! can: at most one message, because the owners know that it leaked. For any other ended secret it is one in a day and for
//! a month, as long as a forgotten caller is likely.

use crate::{RegistrationId, SecretId, Timestamp};
use std::{collections::VecDeque, time::Duration};

/// Number of attempts within [`COUNTED_FOR`] from which owners are told.
pub const MANY_TRIES: u64 = 20;
/// How long an attempt counts.
pub const COUNTED_FOR: Duration = Duration::from_secs(15 * 60);
/// How long after the last attempt the incident of a registration stays open.
pub const QUIET_AFTER: Duration = Duration::from_secs(3600);
/// How long after the end of a secret its owners are told.
pub const TOLD_FOR: Duration = Duration::from_secs(30 * 86_400);

/// Attempts to use one ended secret.
#[derive(Clone, Debug, Default)]
pub struct Tries {
    /// Numbers of attempts, with the time of the last one of each.
    counts: VecDeque<(Timestamp, u64)>,
}

/// Maximum number of counts that are kept: one for each flush of evidence, of which there is at most one in 2 seconds.
const MAX_COUNTS: usize = 512;

impl Tries {
    /// Counts attempts that were made between two times.
    pub fn add(&mut self, (first, last): (Timestamp, Timestamp), count: u64) {
        // When the others were made is not known.
        let count = if last.since(first) > COUNTED_FOR { count.min(1) } else { count };
        let is_full = self.counts.len() >= MAX_COUNTS;
        match self.counts.back_mut() {
            Some((at, number)) if *at == last || is_full => {
                (*at, *number) = (last, number.saturating_add(count))
            }
            _ => self.counts.push_back((last, count)),
        }
    }

    /// Returns the number of attempts that count at `now`, and forgets the others.
    pub fn count(&mut self, now: Timestamp) -> u64 {
        self.counts.retain(|(at, _)| now.since(*at) < COUNTED_FOR);
        self.counts.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }
}

/// Whether the owners of a secret that ended at `ended_at` are told that it is still presented.
pub fn is_told(tries: u64, ended_at: Timestamp, now: Timestamp) -> bool {
    tries >= MANY_TRIES && ended_at <= now && now.since(ended_at) < TOLD_FOR
}

/// Returns the cause of a message about an ended secret that is still presented.
pub fn presented_cause(secret: &SecretId, compromised: bool, now: Timestamp) -> String {
    if compromised { format!("presented {secret}") } else { format!("presented {secret} {}", day(now)) }
}

/// Returns the cause of the one message of a day about ended secrets of a registration.
pub fn presented_at_cause(registration: &RegistrationId, now: Timestamp) -> String {
    format!("presented_at {registration} {}", day(now))
}

/// Returns the day of a time, such as `2026-11-24`.
pub fn day(at: Timestamp) -> String {
    at.to_string().chars().take(10).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(minutes: u32) -> Timestamp {
        Timestamp::from_seconds(1_795_525_500).after(MINUTE * minutes)
    }

    #[test]
    fn attempts_count_for_a_quarter_of_an_hour() {
        let mut tries = Tries::default();
        for minute in 0..20 {
            tries.add((at(minute), at(minute)), 2);
        }
        assert_eq!(tries.count(at(19)), 30);
        assert_eq!(tries.count(at(20)), 28);
        assert_eq!(tries.count(at(34)), 0);
    }

    #[test]
    fn attempts_over_a_longer_time_count_once() {
        let mut tries = Tries::default();
        tries.add((at(0), at(16)), 100);
        assert_eq!(tries.count(at(16)), 1);
        tries.add((at(16), at(17)), 100);
        assert_eq!(tries.count(at(17)), 101);
    }

    #[test]
    fn many_counts_take_bounded_memory() {
        let mut tries = Tries::default();
        for second in 0..10_000 {
            let now = at(0).after(Duration::from_millis(second));
            tries.add((now, now), 1);
        }
        assert!(tries.counts.len() <= MAX_COUNTS);
        assert_eq!(tries.count(at(0).after(Duration::from_secs(10))), 10_000);
    }

    #[test]
    fn owners_are_told_from_twenty_attempts_on_and_for_a_month() {
        let ended = at(0);
        assert!(!is_told(19, ended, at(1)) && is_told(20, ended, at(1)));
        assert!(is_told(20, ended, ended.after(TOLD_FOR).before(Duration::from_micros(1))));
        assert!(!is_told(20, ended, ended.after(TOLD_FOR)));
        assert!(!is_told(20, at(2), at(1)), "it has not ended");
    }

    #[test]
    fn a_leaked_secret_is_one_cause_and_any_other_is_one_a_day() {
        let secret = SecretId::parse("sec_0000000000000000000001").unwrap();
        let cause = |compromised, minutes| presented_cause(&secret, compromised, at(minutes));
        assert_eq!(cause(true, 0), cause(true, 3000));
        assert_eq!(cause(false, 0), cause(false, 60));
        assert_ne!(cause(false, 0), cause(false, 1440));
    }
}
