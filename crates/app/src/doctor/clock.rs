//! Checks the machine's clock against the latest stored time.

use super::{Check, shown};
use crate::node::clock_watch::{length, own_clock};
use crossfade_authority::MAX_OFFSET;
use crossfade_core::Timestamp;
use std::time::Duration;

/// Longest standstill of an instance for which its clock does not look wrong.
const MAX_STANDSTILL: Duration = Duration::from_secs(30 * 86_400);
/// A standstill longer than any plausible one.
const IMPOSSIBLE_STANDSTILL: Duration = Duration::from_secs(3650 * 86_400);

/// Compares `machine`, the time of the clock named by `whose`, with the stored time. A running server stores its time
/// at least twice a minute.
pub(super) fn clock(whose: &str, machine: Timestamp, stored: Timestamp, is_served: bool) -> Check {
    const NAME: &str = "clock";
    let (behind, ahead) = (stored.since(machine), machine.since(stored));
    let (says, stored_at) = (format!("The {whose} clock says {}", shown(machine)), shown(stored));
    if behind > MAX_OFFSET {
        // Half the pace: twice as long as the clock is behind.
        let caught_up = shown(machine.after(behind * 2));
        return Check::fail(
            NAME,
            format!(
                "{says}, {} behind the stored time {stored_at}. Until about {caught_up}, secrets use the \
                stored time, which runs at half speed, so deadlines may come up to twice as late. Tokens use \
                the clock and are not affected.",
                length(behind)
            ),
            "If the clock is wrong, correct it and synchronise it with NTP. If the clock is right and the \
            stored time is wrong, wait, or restore a backup taken before that time was stored into an empty \
            database.",
        );
    }
    let correct = "Correct the clock and synchronise it with NTP before the server starts, because a stored \
        time is never taken back.";
    if stored.as_micros() != 0 && is_served && ahead > MAX_OFFSET {
        return Check::warn(
            NAME,
            format!(
                "{says}, {} after the last stored time {stored_at}, although a server is running on this \
                database. The clock of this machine differs from the server's clock, or the server cannot \
                write.",
                length(ahead)
            ),
            "Compare the clocks, synchronise both with NTP, and check the server log.",
        );
    }
    if stored.as_micros() == 0 || ahead <= MAX_STANDSTILL {
        return Check::ok(NAME, format!("{says}; the last stored time is {stored_at}."));
    }
    let sentence = format!(
        "{says}, {} after the last stored time {stored_at}. If the instance was not stopped for that long, \
        the clock is wrong, and the next start will expire every deadline up to that time.",
        length(ahead)
    );
    if ahead > IMPOSSIBLE_STANDSTILL {
        Check::fail(NAME, sentence, correct)
    } else {
        Check::warn(NAME, sentence, correct)
    }
}

/// Compares this machine's clock with that of the database, by which the server decides.
pub(super) fn machine(machine: Timestamp, database: Timestamp) -> Check {
    const NAME: &str = "machine_clock";
    match own_clock(machine.as_micros().saturating_sub(database.as_micros())) {
        Ok(sentence) => Check::ok(NAME, sentence),
        Err(sentence) => Check::warn(NAME, sentence, "Compare both clocks, and synchronise them with NTP."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Outcome;

    const MICRO: Duration = Duration::from_micros(1);

    #[test]
    fn a_machine_whose_clock_is_not_the_database_s_is_warned_of() {
        let database = Timestamp::from_seconds(1_000_000);
        for (seconds, outcome, says) in [
            (1_000_000, Outcome::Ok, "0 ms"),
            (1_000_060, Outcome::Ok, "60000 ms ahead of"),
            (1_000_300, Outcome::Warn, "5 minutes ahead of"),
            (999_700, Outcome::Warn, "5 minutes behind"),
        ] {
            let found = machine(Timestamp::from_seconds(seconds), database);
            assert_eq!(found.outcome, outcome, "{found:?}");
            assert!(found.sentence.contains(says), "{found:?}");
        }
    }

    #[test]
    fn a_clock_that_is_wrong_is_told_before_it_does_harm() {
        let stored = Timestamp::from_seconds(1_795_525_500);
        for (machine, is_served, outcome) in [
            (stored, true, Outcome::Ok),
            (stored.before(MAX_OFFSET), true, Outcome::Ok),
            (stored.before(MAX_OFFSET + MICRO), true, Outcome::Fail),
            (stored.before(MAX_OFFSET + MICRO), false, Outcome::Fail),
            (stored.after(MAX_OFFSET), true, Outcome::Ok),
            (stored.after(MAX_OFFSET + MICRO), true, Outcome::Warn),
            (stored.after(MAX_OFFSET + MICRO), false, Outcome::Ok),
            (stored.after(MAX_STANDSTILL), false, Outcome::Ok),
            (stored.after(MAX_STANDSTILL + MICRO), false, Outcome::Warn),
            (stored.after(IMPOSSIBLE_STANDSTILL), false, Outcome::Warn),
            (stored.after(IMPOSSIBLE_STANDSTILL + MICRO), false, Outcome::Fail),
        ] {
            let found = clock("machine’s", machine, stored, is_served);
            assert_eq!((found.outcome, found.mend.is_some()), (outcome, outcome != Outcome::Ok), "{found:?}");
        }
        let unused = clock("machine’s", stored, Timestamp::from_micros(0), true);
        assert_eq!(unused.outcome, Outcome::Ok, "nothing was ever stored");
    }

    #[test]
    fn a_clock_that_is_behind_is_told_until_when_and_what_for() {
        let stored = Timestamp::parse("2026-11-25T13:05:00Z").unwrap();
        let found = clock("machine’s", stored.before(Duration::from_secs(86_400)), stored, false);
        for says in [
            "clock says 2026-11-24T13:05:00Z, 24 hours behind the stored time 2026-11-25T13:05:00Z",
            "Until about 2026-11-26T13:05:00Z",
            "Tokens use the clock and are not affected",
        ] {
            assert!(found.sentence.contains(says), "{says}: {found:?}");
        }
    }
}
