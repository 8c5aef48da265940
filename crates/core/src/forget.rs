//! When revocations of access tokens can be forgotten (rule 20).
//!
//! A revocation is no longer needed once its token has expired, if the clock is right. A clock that was ahead when the
//! server started looks right to the server. Measured time therefore counts: servers must have run for the longest
//! token lifetime since the clock showed that expiry.

use crate::{Timestamp, registration::TokenTtl};
use std::time::Duration;

/// Longest time for which a token could be active after its revocation: the longest lifetime plus 1 hour, because the
/// lifetime of a token that was decided just before the tables knew can start later.
pub const TOKENS_LIVE_ON: Duration = Duration::from_secs(TokenTtl::LONGEST.seconds() as u64 + 3600);

/// Returns when the last token of a secret or of a registration that ended at `ended_at` has expired on every clock.
pub fn tokens_expired_by(ended_at: Timestamp) -> Timestamp {
    ended_at.after(TOKENS_LIVE_ON)
}

/// A time that the clock has shown, and how long servers have run since then without the clock showing an earlier time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Passed {
    /// The time; 0 before the first reading.
    pub at: Timestamp,
    /// How long servers have run since then.
    pub ran: Duration,
}

impl Passed {
    /// Updates the state after servers have run for another `ran` and the clock shows `machine`. Returns the time up to
    /// which the revocations of expired tokens can be forgotten, if any.
    pub fn go_on(self, machine: Timestamp, ran: Duration) -> (Self, Option<Timestamp>) {
        let begin = Self { at: machine, ran: Duration::ZERO };
        let ran = self.ran.saturating_add(ran);
        match self.at {
            at if at == Timestamp::from_micros(0) || machine < at => (begin, None),
            at if ran < TOKENS_LIVE_ON => (Self { at, ran }, None),
            at => (begin, Some(at)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICRO: Duration = Duration::from_micros(1);
    const DAY: Duration = Duration::from_secs(86_400);

    fn start() -> Timestamp {
        Timestamp::from_seconds(1_000_000)
    }

    fn passed(at: Timestamp, ran: Duration) -> Passed {
        Passed { at, ran }
    }

    #[test]
    fn rule_20_revocations_are_kept_for_a_token_life_of_running() {
        let unknown = passed(Timestamp::from_micros(0), Duration::ZERO);
        let (first, forgotten) = unknown.go_on(start(), DAY * 9);
        assert_eq!((first, forgotten), (passed(start(), Duration::ZERO), None), "nothing was seen before");
        let ran = TOKENS_LIVE_ON - MICRO;
        let (nearly, forgotten) = first.go_on(start().after(ran), ran);
        assert_eq!((nearly, forgotten), (passed(start(), ran), None));
        let now = start().after(TOKENS_LIVE_ON);
        assert_eq!(nearly.go_on(now, MICRO), (passed(now, Duration::ZERO), Some(start())));
    }

    #[test]
    fn rule_20_a_clock_that_jumps_ahead_forgets_nothing_sooner() {
        let first = passed(start(), Duration::ZERO);
        let ahead = start().after(DAY * 40);
        assert_eq!(first.go_on(ahead, DAY), (passed(start(), DAY), None), "a day was measured");
        let begun_ahead = passed(ahead, DAY);
        let corrected = begun_ahead.go_on(start(), DAY);
        assert_eq!(corrected, (passed(start(), Duration::ZERO), None), "what it showed was wrong");
    }

    #[test]
    fn servers_that_run_for_an_hour_each_forget_too() {
        let (hour, mut seen, mut now) = (Duration::from_secs(3600), passed(start(), Duration::ZERO), start());
        let mut forgotten = None;
        for _ in 0..25 {
            assert_eq!(forgotten, None);
            now = now.after(hour);
            (seen, forgotten) = seen.go_on(now, hour);
        }
        assert_eq!((seen, forgotten), (passed(now, Duration::ZERO), Some(start())));
    }
}
