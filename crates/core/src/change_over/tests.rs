use super::*;
use std::collections::{BTreeMap, BTreeSet};

const MINUTE: i64 = 60;
const HOUR: i64 = 3600;
const QUIET: Duration = Duration::from_secs(3600);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(1_795_525_500 + seconds)
}

fn used(first: i64, last: i64, pause: i64) -> Option<Used> {
    let longest_pause = Duration::from_secs(pause.unsigned_abs());
    Some(Used { first: at(first), last: at(last), longest_pause })
}

/// Returns a caller of the old secret that called every `pause` seconds for two days until `last`.
fn steady(last: i64, pause: i64) -> CallerEvidence {
    CallerEvidence { old: used(last - 48 * HOUR, last, pause), ..CallerEvidence::default() }
}

fn moved(caller: CallerEvidence, first: i64, last: i64) -> CallerEvidence {
    CallerEvidence { new: used(first, last, 60), ..caller }
}

/// Returns a rotation at 0 with 168 hours, judged at `now`.
fn judged(callers: &[CallerEvidence], now: i64, change: impl FnOnce(&mut Facts<'_>)) -> Assessment {
    let mut facts = facts_of(callers);
    change(&mut facts);
    assess(&facts, at(now))
}

fn facts_of(callers: &[CallerEvidence]) -> Facts<'_> {
    Facts {
        rotated_at: at(0),
        ends_at: at(168 * HOUR),
        old_last_used: callers.iter().filter_map(|it| it.old.map(|used| used.last)).max(),
        new_first_used: callers.iter().filter_map(|it| it.new.map(|used| used.first)).min(),
        callers,
        gaps: &[],
        earlier_tokens_end_at: None,
        disabled: false,
        rolled_back: false,
        quiet_needed: QUIET,
    }
}

fn verdict(callers: &[CallerEvidence], now: i64) -> Verdict {
    judged(callers, now, |_| {}).verdict
}

#[test]
fn until_the_new_secret_is_used_nothing_has_started() {
    assert_eq!(verdict(&[], HOUR), Verdict::NotStarted);
    let left = judged(&[steady(HOUR, 60)], HOUR, |_| {});
    assert_eq!((left.verdict, left.reasons), (Verdict::NotStarted, vec![Why::NewNeverUsed]));
    // However quiet the old secret is, no caller has shown that the new one works.
    let silent = judged(&[steady(-90 * HOUR, 60)], 100 * HOUR, |_| {});
    assert_eq!((silent.verdict, silent.safe_at), (Verdict::NotStarted, None));
}

#[test]
fn callers_are_moving_while_more_are_left_than_have_moved() {
    let moved_one = moved(steady(HOUR, 60), HOUR + 60, 168 * HOUR);
    let left = steady(2 * HOUR, 60);
    let three = judged(&[moved_one, left, left], 2 * HOUR, |_| {});
    assert_eq!((three.verdict, three.callers.left(), three.callers.moved), (Verdict::Moving, 2, 1));
    let two = judged(&[moved_one, moved_one, left], 2 * HOUR, |_| {});
    assert_eq!((two.verdict, two.callers.left()), (Verdict::CallersLeft, 1));
    assert_eq!(two.summary(), "Not safe to end: 1 caller still uses the old secret.");
}

#[test]
fn it_is_safe_when_everybody_has_moved_and_the_quiet_time_has_passed_to_the_microsecond() {
    let everybody = [moved(steady(HOUR, 60), HOUR + 60, 168 * HOUR)];
    let safe = at(2 * HOUR);
    for (now, expected) in [
        (safe.before(Duration::from_micros(1)), Verdict::Quiet),
        (safe, Verdict::SafeToEnd),
        (at(168 * HOUR).before(Duration::from_micros(1)), Verdict::SafeToEnd),
        (at(168 * HOUR), Verdict::Ended),
    ] {
        let facts = Facts {
            rotated_at: at(0),
            ends_at: at(168 * HOUR),
            old_last_used: Some(at(HOUR)),
            new_first_used: Some(at(HOUR + 60)),
            callers: &everybody,
            gaps: &[],
            earlier_tokens_end_at: None,
            disabled: false,
            rolled_back: false,
            quiet_needed: QUIET,
        };
        let assessed = assess(&facts, now);
        assert_eq!(assessed.verdict, expected, "{now}");
        assert_eq!((assessed.quiet_since, assessed.safe_at), (at(HOUR), Some(safe)));
    }
}

#[test]
fn a_nightly_job_is_waited_for() {
    // Seen every night for a week, last in the night before the rotation.
    let nightly =
        CallerEvidence { old: used(-8 * 24 * HOUR, -10 * HOUR, 24 * HOUR), ..CallerEvidence::default() };
    let rest = moved(steady(HOUR, 60), HOUR + 60, 40 * HOUR);
    assert_eq!(verdict(&[nightly, rest], 13 * HOUR), Verdict::CallersLeft);
    // Silent for longer than ever before plus the quiet time, so it no longer counts.
    assert_eq!(verdict(&[nightly, rest], 14 * HOUR + 24 * MINUTE), Verdict::CallersLeft);
    assert_eq!(verdict(&[nightly, rest], 15 * HOUR), Verdict::SafeToEnd);
}

#[test]
fn a_caller_that_is_hardly_known_is_waited_for_a_day() {
    let rest = moved(steady(HOUR, 60), HOUR + 60, 40 * HOUR);
    for once in [
        CallerEvidence { old: used(HOUR, HOUR, 0), ..CallerEvidence::default() },
        // A burst says nothing of when it comes back.
        CallerEvidence { old: used(HOUR - 60, HOUR, 1), ..CallerEvidence::default() },
    ] {
        assert_eq!(once.expected_until(QUIET, &[]), Some(at(26 * HOUR)));
        assert_eq!(verdict(&[once, rest], 26 * HOUR - 1), Verdict::CallersLeft);
        assert_eq!(verdict(&[once, rest], 26 * HOUR), Verdict::SafeToEnd);
    }
}

#[test]
fn who_was_seen_on_one_day_only_is_waited_for_until_the_next_unless_its_program_is_there_all_the_time() {
    // Every minute for one hour: an instance that was replaced, or a job that runs for an hour a night.
    let brief = CallerEvidence { old: used(0, HOUR, 60), ..CallerEvidence::default() };
    let until = |program| CallerEvidence { program, ..brief }.expected_until(QUIET, &[]).unwrap();
    assert_eq!(until(None), at(26 * HOUR));
    assert_eq!(until(used(0, HOUR, 60)), at(26 * HOUR), "all of it was seen on one day");
    assert_eq!(until(used(-72 * HOUR, HOUR, 10 * 60)), at(2 * HOUR + 10 * 60), "there all the time");
    assert_eq!(until(used(-72 * HOUR, HOUR, 23 * HOUR)), at(25 * HOUR), "back every night");
    assert_eq!(until(used(-48 * HOUR, HOUR, 23 * HOUR)), at(26 * HOUR), "not seen often enough to say so");
    // What it says of itself over a day counts for more.
    let known = CallerEvidence {
        old: used(-24 * HOUR, HOUR, 60),
        program: used(-72 * HOUR, HOUR, 23 * HOUR),
        ..brief
    };
    assert_eq!(known.expected_until(QUIET, &[]), Some(at(2 * HOUR + 60)));
    // Of a burst nothing follows, however often its program is there.
    let burst =
        CallerEvidence { old: used(HOUR - 60, HOUR, 1), program: used(-72 * HOUR, HOUR, 60), ..brief };
    assert_eq!(burst.expected_until(QUIET, &[]), Some(at(26 * HOUR)));
}

#[test]
fn what_many_do_together_has_the_pauses_in_which_none_of_them_came() {
    let one = |first, last| used(first, last, 7).unwrap();
    assert_eq!(Used::together([]), None);
    assert_eq!(Used::together([one(5, 50)]), used(5, 50, 7));
    assert_eq!(Used::together([one(100, 120), one(0, 40), one(10, 30), one(45, 60)]), used(0, 120, 40));
    // When they called within their spans is unknown, but at least as often as the caller with the shortest pause.
    assert_eq!(Used::together([one(0, 100), one(20, 30)]), used(0, 100, 7));
    let rare = |first, last| used(first, last, 50).unwrap();
    assert_eq!(Used::together([rare(0, 500), one(20, 30)]), used(0, 500, 50));
    assert_eq!(Used::together([rare(0, 500), one(10, 495)]), used(0, 500, 10));
    assert_eq!(Used::together([rare(0, 100), rare(30, 60), rare(60, 100)]), used(0, 100, 40));
    assert_eq!(Used::together([one(0, 10), one(10, 20), one(20, 20)]), used(0, 20, 7));
    // One host that runs at night for years is no program that is there all the time.
    let host = used(-240 * HOUR, -2 * HOUR, 22 * HOUR).unwrap();
    let seen_once = CallerEvidence { old: used(0, HOUR, 5 * 60), ..CallerEvidence::default() };
    let program = Used::together([host, seen_once.old.unwrap()]);
    assert_eq!(CallerEvidence { program, ..seen_once }.expected_until(QUIET, &[]), Some(at(24 * HOUR)));
}

#[test]
fn a_caller_known_to_pause_for_days_is_waited_for_as_long() {
    let weekend = CallerEvidence { old: used(-300 * HOUR, HOUR, 72 * HOUR), ..CallerEvidence::default() };
    let rest = moved(steady(HOUR, 60), HOUR + 60, 100 * HOUR);
    assert_eq!(verdict(&[weekend, rest], 73 * HOUR), Verdict::CallersLeft);
    assert_eq!(verdict(&[weekend, rest], 74 * HOUR), Verdict::SafeToEnd);
}

#[test]
fn programs_behind_one_address_count_as_one_that_uses_both() {
    let shared = CallerEvidence {
        old: used(-48 * HOUR, 3 * HOUR, 300),
        new: used(HOUR, 3 * HOUR + 5, 60),
        ..CallerEvidence::default()
    };
    let assessed = judged(&[shared], 3 * HOUR + 10, |_| {});
    assert_eq!((assessed.callers.on_both, assessed.callers.left()), (1, 1));
    assert_eq!(assessed.reasons, [Why::CallersOnBoth]);
    // When the old secret stays unused for longer than ever before, it has moved.
    assert_eq!(shared.state(QUIET, &[], at(4 * HOUR + 299)), CallerState::OnBoth);
    let later = CallerEvidence { new: used(HOUR, 5 * HOUR, 60), ..shared };
    assert_eq!(later.state(QUIET, &[], at(4 * HOUR + 300)), CallerState::Moved);
}

#[test]
fn a_caller_that_went_back_is_on_both() {
    let back = CallerEvidence {
        old: used(-48 * HOUR, 3 * HOUR, 300),
        new: used(HOUR, 2 * HOUR, 60),
        ..CallerEvidence::default()
    };
    assert_eq!(back.state(QUIET, &[], at(3 * HOUR)), CallerState::OnBoth);
    assert_eq!(back.state(QUIET, &[], at(30 * HOUR)), CallerState::Silent);
}

#[test]
fn no_verdict_is_given_across_a_gap_as_if_nothing_had_happened() {
    let everybody = [moved(steady(HOUR, 60), HOUR + 60, 168 * HOUR)];
    let gap = |ended: i64, now: i64| {
        let gaps = [Gap { began: at(ended - 60), ended: at(ended) }];
        let facts = Facts { gaps: &gaps, ..facts_of(&everybody) };
        assess(&facts, at(now))
    };
    let after = gap(10 * HOUR, 10 * HOUR + 1);
    assert_eq!((after.verdict, after.quiet_since), (Verdict::Quiet, at(10 * HOUR)));
    assert!(after.reasons.contains(&Why::Gap));
    assert_eq!(gap(10 * HOUR, 11 * HOUR).verdict, Verdict::SafeToEnd);
    // One before the last use says nothing about the time since.
    assert_eq!(gap(HOUR / 2, 2 * HOUR).quiet_since, at(HOUR));
    // A silent caller is waited for again from the end of the gap.
    let hourly = steady(-HOUR, HOUR);
    assert_eq!(hourly.expected_until(QUIET, &[]), Some(at(HOUR)));
    let between = |began: i64, ended: i64| Gap { began: at(began), ended: at(ended) };
    let until = |gaps: &[Gap]| hourly.expected_until(QUIET, gaps).unwrap();
    assert_eq!(until(&[between(0, 5 * HOUR)]), at(7 * HOUR));
    assert_eq!(
        until(&[between(-HOUR / 2, HOUR / 2)]),
        at(HOUR / 2 + 2 * HOUR),
        "also one before the rotation"
    );
    // A caller that had already been silent for too long is not waited for again, except because of another gap.
    assert_eq!(until(&[between(HOUR, 5 * HOUR)]), at(HOUR));
    assert_eq!(until(&[between(0, 5 * HOUR), between(6 * HOUR, 8 * HOUR)]), at(10 * HOUR));
    assert_eq!(until(&[between(-3 * HOUR, -2 * HOUR)]), at(HOUR), "it has called since");
}

#[test]
fn quiet_counts_from_the_last_use_before_the_rotation() {
    let idle = [moved(steady(-5 * HOUR, 60), 60, 168 * HOUR)];
    let assessed = judged(&idle, 6 * MINUTE, |_| {});
    assert_eq!((assessed.quiet_since, assessed.verdict), (at(-5 * HOUR), Verdict::SafeToEnd));
    assert_eq!(assessed.safe_at, Some(at(0)), "nothing is safe to end before it is retiring");
    // A gap between the last use and the rotation hides what was used in it.
    let gaps = [Gap { began: at(-HOUR), ended: at(-HOUR / 2) }];
    let assessed = assess(&Facts { gaps: &gaps, ..facts_of(&idle) }, at(6 * MINUTE));
    assert_eq!((assessed.quiet_since, assessed.verdict), (at(-HOUR / 2), Verdict::Quiet));
    assert!(assessed.reasons.contains(&Why::Gap));
    let never = judged(&[], 6 * MINUTE, |_| {});
    assert_eq!(never.quiet_since, at(0));
}

#[test]
fn nothing_is_safe_while_the_new_secret_is_silent_too() {
    // Every caller called every minute, and none has for two hours, as in an outage in front of the server.
    let everybody = [moved(steady(HOUR, 60), HOUR + 60, 2 * HOUR), steady(2 * HOUR, 60)];
    let silent = judged(&everybody, 4 * HOUR, |_| {});
    assert_eq!((silent.verdict, silent.callers.left(), silent.safe_at), (Verdict::Quiet, 0, None));
    assert_eq!(silent.reasons, [Why::NobodyLeft, Why::NewSilent]);
    // As soon as a caller uses the new secret, the silence of the old one is meaningful again.
    let back = [moved(steady(HOUR, 60), HOUR + 60, 4 * HOUR), steady(2 * HOUR, 60)];
    assert_eq!(verdict(&back, 4 * HOUR), Verdict::SafeToEnd);
    // A job that is known to come once a night has not been missed before it is due.
    let nightly = CallerEvidence {
        old: used(-8 * 24 * HOUR, -10 * HOUR, 24 * HOUR),
        new: used(14 * HOUR, 14 * HOUR, 0),
        ..CallerEvidence::default()
    };
    assert_eq!(verdict(&[nightly], 20 * HOUR), Verdict::SafeToEnd);
    assert_eq!(verdict(&[nightly], 39 * HOUR), Verdict::Quiet);
}

#[test]
fn after_a_roll_back_nobody_is_told_that_the_old_secret_has_ended() {
    let undone =
        judged(&[steady(HOUR, 60)], 2 * HOUR, |facts| (facts.ends_at, facts.rolled_back) = (at(HOUR), true));
    assert_eq!((undone.verdict, &undone.reasons), (Verdict::Ended, &vec![Why::RolledBack]));
    assert_eq!(undone.summary(), "The rotation was rolled back. The old secret is current again.");
    let ended = judged(&[steady(HOUR, 60)], 2 * HOUR, |facts| facts.ends_at = at(HOUR));
    assert_eq!((ended.summary().as_str(), ended.reasons), ("The old secret has ended.", vec![Why::OldEnded]));
}

#[test]
fn a_disabled_registration_proves_nothing() {
    let everybody = [moved(steady(HOUR, 60), HOUR + 60, 168 * HOUR)];
    let disabled = judged(&everybody, 50 * HOUR, |facts| facts.disabled = true);
    assert_eq!((disabled.verdict, disabled.safe_at), (Verdict::Quiet, None));
    assert!(disabled.reasons.contains(&Why::Disabled));
}

#[test]
fn whoever_a_drill_refused_has_tried_the_old_secret() {
    let rest = moved(steady(HOUR, 60), HOUR + 60, 40 * HOUR);
    let found = CallerEvidence { refused: Some(at(20 * HOUR)), ..CallerEvidence::default() };
    let assessed = judged(&[rest, found], 20 * HOUR + 1, |_| {});
    assert_eq!((assessed.verdict, assessed.quiet_since), (Verdict::CallersLeft, at(20 * HOUR)));
}

#[test]
fn when_it_would_be_safe_only_after_the_deadline_no_time_is_promised() {
    let weekly =
        CallerEvidence { old: used(-90 * 24 * HOUR, -HOUR, 168 * HOUR), ..CallerEvidence::default() };
    let rest = moved(steady(HOUR, 60), HOUR + 60, 168 * HOUR);
    let assessed = judged(&[weekly, rest], 3 * HOUR, |_| {});
    assert_eq!((assessed.verdict, assessed.safe_at), (Verdict::CallersLeft, None));
}

#[test]
fn the_quiet_time_covers_the_life_of_a_token() {
    assert_eq!(quiet_needed(Duration::from_secs(60)), QUIET_AT_LEAST);
    assert_eq!(quiet_needed(Duration::from_secs(7200)), Duration::from_secs(7200));
}

/// Fleets whose calls are all known to the simulation, so that each verdict can be compared with the truth.
mod fleets {
    use super::*;
    use proptest::prelude::*;

    /// A program that calls at a steady pace, moves at some time, and may pause.
    #[derive(Clone, Debug)]
    struct Program {
        every: i64,
        offset: i64,
        /// When it switches to the new secret; `None`: never.
        moves_at: Option<i64>,
        /// Program with which it shares address, agent and label.
        source: usize,
        /// The user agent.
        agent: usize,
        /// Seconds of each day in which it runs, from the start of the day; `None`: all day.
        runs_for: Option<i64>,
        /// Whether it has a different address each day.
        moves_about: bool,
    }

    impl Program {
        fn calls(&self, from: i64, until: i64) -> impl Iterator<Item = i64> + '_ {
            let first = from + (self.offset - from).rem_euclid(self.every);
            let runs = |call: &i64| self.runs_for.is_none_or(|length| call.rem_euclid(DAY) < length);
            (0..).map(move |n| first + n * self.every).take_while(move |call| *call < until).filter(runs)
        }

        /// Returns what distinguishes the program when it calls.
        fn seen_as(&self, call: i64) -> (usize, i64) {
            (self.source, if self.moves_about { call.div_euclid(DAY) } else { 0 })
        }

        fn is_on_old(&self, time: i64) -> bool {
            self.moves_at.is_none_or(|moves| time < moves)
        }
    }

    fn note(used: &mut Option<Used>, time: i64) {
        match used {
            None => *used = super::used(time, time, 0),
            Some(known) => {
                known.longest_pause = known.longest_pause.max(at(time).since(known.last));
                known.last = at(time);
            }
        }
    }

    /// Returns the evidence that would be recorded of the fleet from `since` until `now`.
    fn recorded(fleet: &[Program], since: i64, now: i64) -> Vec<CallerEvidence> {
        let mut callers: BTreeMap<(usize, i64), (usize, CallerEvidence)> = BTreeMap::new();
        let mut calls: Vec<(i64, &Program)> =
            fleet.iter().flat_map(|it| it.calls(since, now).map(move |time| (time, it))).collect();
        calls.sort_by_key(|(time, program)| (*time, program.source, program.is_on_old(*time)));
        for (time, program) in calls {
            let (_, caller) =
                callers.entry(program.seen_as(time)).or_insert((program.agent, CallerEvidence::default()));
            note(if program.is_on_old(time) { &mut caller.old } else { &mut caller.new }, time);
        }
        let agents: BTreeSet<usize> = callers.values().map(|(agent, _)| *agent).collect();
        let together = |agent| {
            let same = callers.values().filter(|(of, _)| *of == agent);
            Used::together(same.filter_map(|(_, caller)| caller.old))
        };
        let programs: BTreeMap<usize, Option<Used>> =
            agents.into_iter().map(|agent| (agent, together(agent))).collect();
        callers
            .into_values()
            .map(|(agent, caller)| CallerEvidence { program: programs[&agent], ..caller })
            .collect()
    }

    /// Whether any caller would be refused after `now` if the old secret ended at `now`.
    fn would_fail(fleet: &[Program], now: i64, ends: i64) -> bool {
        fleet.iter().any(|it| it.calls(now, ends).any(|call| it.is_on_old(call)))
    }

    const ENDS: i64 = 168 * HOUR;
    const DAY: i64 = 24 * HOUR;

    /// Checks a fleet that was observed for a month before the rotation, every hour until the deadline: no
    /// `safe_to_end` may be wrong, and it must come once all callers have moved.
    fn compare(fleet: &[Program]) {
        compare_every(fleet, 1);
    }

    fn compare_every(fleet: &[Program], hours: usize) {
        let last_move = fleet.iter().filter_map(|it| it.moves_at).max().unwrap_or(0);
        let all_move = fleet.iter().all(|it| it.moves_at.is_some());
        let mut was_safe = false;
        for now in (1..168).step_by(hours).map(|hour| hour * HOUR) {
            let callers = recorded(fleet, -30 * 24 * HOUR, now);
            let assessed = judged(&callers, now, |_| {});
            let safe = assessed.verdict == Verdict::SafeToEnd;
            was_safe |= safe;
            assert!(!(safe && would_fail(fleet, now, ENDS)), "{now}: {fleet:?}");
            // A caller is waited for as long as its longest pause and the quiet time; then it must be said.
            let slowest = fleet.iter().map(|it| it.every).max().unwrap_or(0);
            if all_move && now > last_move + 2 * slowest + 2 * HOUR {
                assert!(safe, "{now}: {:?} for {fleet:?}", assessed.verdict);
            }
        }
        assert!(was_safe == all_move || last_move > ENDS - 60 * HOUR, "{fleet:?}");
    }

    fn program(n: usize, every: i64, moves_at: Option<i64>) -> Program {
        let offset = n as i64 * 37;
        Program { every, offset, moves_at, source: n, agent: n, runs_for: None, moves_about: false }
    }

    #[test]
    fn three_callers_that_move_one_after_the_other() {
        compare(&[0, 1, 2].map(|n| program(n, 15 * MINUTE, Some((n as i64 + 1) * 5 * HOUR))));
    }

    #[test]
    fn a_straggler_that_never_moves_is_never_overlooked() {
        compare(&[program(0, 5 * MINUTE, Some(HOUR)), program(1, 50 * MINUTE, None)]);
    }

    #[test]
    fn a_nightly_job_that_never_moves_is_never_overlooked() {
        compare(&[program(0, 5 * MINUTE, Some(HOUR)), program(1, 24 * HOUR, None)]);
    }

    #[test]
    fn a_caller_that_comes_back_every_three_days_is_never_overlooked() {
        compare(&[program(0, 5 * MINUTE, Some(HOUR)), program(1, 72 * HOUR, None)]);
    }

    /// A job that calls every minute for one hour a day, at the same address or at a different one each day; observed
    /// for a month, or for the first time in the night before the rotation.
    #[test]
    fn a_job_that_runs_for_an_hour_a_night_is_never_overlooked() {
        for (moves_about, since) in [(false, -30 * DAY), (true, -30 * DAY), (false, -DAY), (true, -DAY)] {
            let job = Program { runs_for: Some(HOUR), moves_about, ..program(1, MINUTE, None) };
            let fleet = [program(0, 5 * MINUTE, Some(HOUR)), job];
            for now in (1..168).map(|hour| hour * HOUR) {
                let callers = recorded(&fleet, since, now);
                assert_ne!(verdict(&callers, now), Verdict::SafeToEnd, "{now} {moves_about} {since}");
            }
        }
    }

    /// Instances with a different address each day, as after deployments: the verdict does not wait for yesterday's.
    #[test]
    fn instances_that_are_replaced_every_day_do_not_hold_up_the_verdict() {
        let fleet: Vec<_> = (0..3)
            .map(|n| Program { moves_about: true, agent: 0, ..program(n, 10 * MINUTE, Some(30 * HOUR)) })
            .collect();
        compare(&fleet);
        let at_once = recorded(&fleet, -30 * DAY, 31 * HOUR + 10 * MINUTE);
        assert_eq!(verdict(&at_once, 31 * HOUR + 10 * MINUTE), Verdict::SafeToEnd);
    }

    #[test]
    fn three_thousand_callers_with_one_straggler() {
        let mut fleet: Vec<_> =
            (0..3000).map(|n| program(n, 6 * HOUR, Some((n as i64 % 48) * HOUR))).collect();
        compare_every(&fleet, 20);
        fleet.push(program(3000, 10 * HOUR, None));
        compare_every(&fleet, 20);
    }

    /// A limit of the verdict: a straggler that looks like a caller that has moved is seen as long as it calls within
    /// the quiet time, and is overlooked if it calls more rarely.
    #[test]
    fn a_straggler_behind_a_shared_address_is_seen_only_while_it_calls_often() {
        let shared = |every: i64| {
            let mut fleet = vec![program(0, MINUTE, Some(HOUR)), program(1, every, None)];
            fleet[1].source = 0;
            fleet
        };
        compare(&shared(30 * MINUTE));
        let rare = shared(24 * HOUR);
        let wrong = (1..168).map(|hour| hour * HOUR).filter(|now| {
            let callers = recorded(&rare, -30 * 24 * HOUR, *now);
            verdict(&callers, *now) == Verdict::SafeToEnd && would_fail(&rare, *now, ENDS)
        });
        assert!(wrong.count() > 0, "a label for each instance is what tells them apart");
        let mut labelled = rare;
        labelled[1].source = 1;
        compare(&labelled);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// For any regular fleet, the verdict is never `safe_to_end` while a caller would fail.
        #[test]
        fn safe_is_never_said_while_a_regular_caller_would_fail(
            paces in prop::collection::vec((prop::sample::select(vec![60, 300, 900, 3600, 6 * 3600, 24 * 3600, 72 * 3600]), 0i64..86_400, prop::option::of(1i64..100)), 1..12)
        ) {
            let fleet: Vec<_> = paces.into_iter().enumerate().map(|(n, (every, offset, moves))| {
                Program { offset, ..program(n, every, moves.map(|hour| hour * HOUR)) }
            }).collect();
            for now in (1..168).step_by(9).map(|hour| hour * HOUR) {
                let callers = recorded(&fleet, -30 * 24 * HOUR, now);
                let safe = verdict(&callers, now) == Verdict::SafeToEnd;
                prop_assert!(!(safe && would_fail(&fleet, now, ENDS)), "{now}: {fleet:?}");
            }
        }
    }
}

#[test]
fn those_that_were_not_told_apart_have_not_moved_because_one_of_them_has() {
    let steady_one = moved(steady(HOUR, 60), HOUR + 60, 168 * HOUR);
    let many = CallerEvidence { gathered: true, ..steady_one };
    assert_eq!(verdict(&[steady_one], 3 * HOUR), Verdict::SafeToEnd);
    // A day and the quiet time after the last use of the old secret, however often they came until then.
    let day = HOUR + 24 * HOUR + HOUR;
    let left = judged(&[many], day - 1, |_| {});
    assert_eq!((left.verdict, left.callers.on_both), (Verdict::Moving, 1));
    let silent = judged(&[many], day, |_| {});
    assert_eq!((silent.verdict, silent.callers.silent, silent.callers.moved), (Verdict::SafeToEnd, 1, 0));
}

#[test]
fn a_token_of_before_its_life_was_shortened_is_waited_for() {
    let everybody = [moved(steady(HOUR, 60), HOUR + 60, 168 * HOUR)];
    let held = |now: i64| judged(&everybody, now, |facts| facts.earlier_tokens_end_at = Some(at(24 * HOUR)));
    let before = held(24 * HOUR + 30 * MINUTE - 1);
    assert_eq!((before.verdict, before.reasons), (Verdict::Quiet, vec![Why::NobodyLeft, Why::EarlierTokens]));
    assert_eq!(before.safe_at, Some(at(24 * HOUR + 30 * MINUTE)));
    let after = held(24 * HOUR + 30 * MINUTE);
    assert_eq!((after.verdict, after.reasons), (Verdict::SafeToEnd, vec![Why::NobodyLeft]));
}

#[test]
fn the_summary_of_a_quiet_secret_names_what_it_waits_for() {
    let everybody = [moved(steady(HOUR, 60), HOUR + 60, HOUR + 60)];
    let gaps = [Gap { began: at(9 * HOUR), ended: at(10 * HOUR) }];
    let says = |now: i64, change: &dyn Fn(&mut Facts<'_>)| {
        let assessed = judged(&everybody, now, |facts| change(facts));
        assert_eq!(assessed.verdict, Verdict::Quiet);
        assessed.summary()
    };
    let waits =
        |what: &str| format!("Not safe to end yet: no known caller still uses the old secret, but {what}.");
    let (quiet, silent) = ("it has not been quiet for long enough", "the new secret is not in use either");
    assert_eq!(says(2 * HOUR - 1, &|_| {}), waits(quiet));
    // Quiet for long enough, but no caller goes on with the new secret.
    assert_eq!(says(20 * HOUR, &|_| {}), waits(silent));
    assert_eq!(
        says(20 * HOUR, &|facts| facts.disabled = true),
        waits(&format!("{silent}, and the registration is disabled"))
    );
    let tokens = "access tokens issued with a longer lifetime are still valid";
    assert_eq!(says(2 * HOUR, &|facts| facts.earlier_tokens_end_at = Some(at(30 * HOUR))), waits(tokens));
    let gap = assess(&Facts { gaps: &gaps, ..facts_of(&everybody) }, at(10 * HOUR + 60));
    assert!(
        gap.summary().contains("its quiet time restarted after a gap in the evidence"),
        "{}",
        gap.summary()
    );
    // Never used, and rotated a short time ago.
    let unused = [CallerEvidence { new: used(60, 120, 60), ..CallerEvidence::default() }];
    let unused = judged(&unused, 180, |_| {});
    assert_eq!((unused.summary(), unused.reasons), (waits(quiet), vec![Why::NobodyLeft, Why::OldNeverUsed]));
}

#[test]
fn every_delay_of_a_summary_is_an_obstacle() {
    for why in [Why::UsedLately, Why::Gap, Why::Disabled, Why::EarlierTokens, Why::NewSilent] {
        assert!(why.is_obstacle() && why.delay().is_some(), "{why:?}");
    }
    for why in [Why::NobodyLeft, Why::OldNeverUsed, Why::OldEnded, Why::RolledBack] {
        assert!(!why.is_obstacle() && why.delay().is_none(), "{why:?}");
    }
}
