//! Heartbeats of a serving process. A pause between two of them is a gap in the evidence.

use crossfade_core::Timestamp;
use std::time::Duration;

/// The longest heartbeat interval of a serving process that does not count as a gap. A longer one means that the
/// machine was suspended or moved, or its clock was set forward, so callers may have been missed.
const STOOD_STILL: Duration = Duration::from_secs(15);

/// Heartbeats of a serving process.
#[derive(Default)]
pub(crate) struct Alive {
    /// The last heartbeat; `None` before the first.
    last: Option<Timestamp>,
    /// A period without heartbeats that is not yet recorded as a gap.
    pub(crate) still: Option<(Timestamp, Timestamp)>,
}

impl Alive {
    /// Notes a heartbeat at `now`; with `begin`, also the first one. Returns a heartbeat gap that still has to be
    /// recorded.
    pub(crate) fn beat(&mut self, now: Timestamp, begin: bool) -> Option<(Timestamp, Timestamp)> {
        match self.last {
            None if !begin => return None,
            Some(last) if now.since(last) > STOOD_STILL => {
                self.still = Some((self.still.map_or(last, |(from, _)| from), now));
            }
            _ => {}
        }
        self.last = Some(now);
        self.still
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(1_800_000_000 + seconds)
    }

    /// A machine that stood still and a clock that was set forward look the same: callers may have been missed in both
    /// cases.
    #[test]
    fn a_jump_of_the_time_between_two_signs_of_life_is_a_gap_and_a_short_one_is_none() {
        let mut alive = Alive::default();
        assert_eq!(alive.beat(at(-500), false), None, "a process that does not serve");
        assert_eq!(alive.beat(at(0), true), None);
        assert_eq!(alive.beat(at(15), false), None);
        assert_eq!(alive.beat(at(31), false), Some((at(15), at(31))));
        assert_eq!(alive.beat(at(32), true), Some((at(15), at(31))), "until it is recorded");
        assert_eq!(alive.beat(at(3632), true), Some((at(15), at(3632))), "one more, before it was");
        alive.still = None;
        assert_eq!(alive.beat(at(3633), true), None);
    }
}
