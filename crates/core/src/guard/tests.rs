use super::*;
use proptest::prelude::*;

const MS: Duration = Duration::from_millis(1);

fn rotated_at() -> Timestamp {
    Timestamp::from_seconds(1_795_525_500)
}

/// Returns a transition of that many hours without warnings so far, in an environment without a policy.
fn guarded(transition: i64) -> Guarded {
    let deadline = rotated_at().after(hours(transition));
    Guarded { rotated_at: rotated_at(), deadline, compromised: false, told: None, extension_hours: None }
}

fn with_policy(transition: i64, step: i64) -> Guarded {
    Guarded { extension_hours: Some(step), ..guarded(transition) }
}

/// Returns the time at which `mark` is due.
fn before(it: &Guarded, mark: Mark) -> Timestamp {
    it.deadline.before(mark.span())
}

#[test]
fn each_mark_is_due_from_its_very_moment_on() {
    let it = guarded(48);
    for (mark, earlier) in
        [(Mark::OneDay, None), (Mark::FourHours, Some(Mark::OneDay)), (Mark::OneHour, Some(Mark::FourHours))]
    {
        let told = Guarded { told: earlier, ..it };
        let at = before(&it, mark);
        assert_eq!(told.due(at.before(MS)), Due::default(), "{mark:?}");
        assert_eq!(told.due(at.before(Duration::from_micros(1))), Due::default(), "{mark:?}");
        for now in [at, at.after(MS)] {
            assert_eq!(told.due(now), Due { tell: Some(mark), extend_to: None }, "{mark:?}");
            assert!(Guarded { told: Some(mark), ..it }.due(now).is_nothing(), "once");
        }
    }
}

#[test]
fn at_the_deadline_nothing_is_due_any_more() {
    let it = with_policy(48, 24);
    assert_eq!(it.due(it.deadline.before(MS)).tell, Some(Mark::OneHour));
    assert!(it.due(it.deadline.before(MS)).extend_to.is_some());
    for late in [Duration::ZERO, MS, hours(1), hours(1000)] {
        assert!(it.due(it.deadline.after(late)).is_nothing(), "{late:?}");
    }
}

#[test]
fn a_mark_that_does_not_lie_after_the_rotation_is_none() {
    for (transition, first) in [
        (25, Mark::OneDay),
        (24, Mark::FourHours),
        (5, Mark::FourHours),
        (4, Mark::OneHour),
        (2, Mark::OneHour),
    ] {
        let it = guarded(transition);
        let at = before(&it, first);
        assert_eq!(it.due(at).tell, Some(first), "{transition} h");
        assert_eq!(it.due(at.before(MS)).tell, None, "{transition} h");
    }
    let hour = guarded(1);
    assert!(hour.due(rotated_at()).is_nothing() && hour.due(hour.deadline.before(MS)).is_nothing());
    // A deadline that lies a day and a millisecond after the rotation has the mark of a day.
    let longer = Guarded { deadline: guarded(24).deadline.after(MS), ..guarded(24) };
    assert_eq!(longer.due(rotated_at()).tell, None);
    assert_eq!(longer.due(rotated_at().after(MS)).tell, Some(Mark::OneDay));
}

#[test]
fn of_marks_that_were_missed_the_most_urgent_is_told_alone() {
    let it = guarded(168);
    let late = it.deadline.before(MS);
    assert_eq!(it.due(late).tell, Some(Mark::OneHour));
    assert!(Guarded { told: Some(Mark::OneHour), ..it }.due(late).is_nothing());
    assert_eq!(it.due(before(&it, Mark::OneHour).before(MS)).tell, Some(Mark::FourHours));
}

#[test]
fn a_policy_extends_from_an_hour_before_the_deadline_on() {
    let it = with_policy(24, 12);
    let at = before(&it, Mark::OneHour);
    assert_eq!(it.due(at.before(MS)).extend_to, None);
    for now in [at, at.after(MS), it.deadline.before(MS)] {
        assert_eq!(it.due(now).extend_to, Some(it.deadline.after(hours(12))));
    }
    // Also if the owners were warned before there was a policy.
    let told = Guarded { told: Some(Mark::OneHour), ..it };
    assert_eq!(told.due(at), Due { tell: None, extend_to: Some(it.deadline.after(hours(12))) });
    assert_eq!(guarded(24).due(at).extend_to, None, "off by default");
}

#[test]
fn a_policy_extends_to_168_hours_after_the_rotation_and_not_beyond() {
    let latest = rotated_at().after(hours(168));
    let last_hour = |it: &Guarded| it.due(before(it, Mark::OneHour)).extend_to;
    assert_eq!(last_hour(&with_policy(24, 168)), Some(latest));
    assert_eq!(last_hour(&with_policy(167, 1)), Some(latest));
    assert_eq!(last_hour(&with_policy(168, 1)), None);
    let nearly = Guarded { deadline: latest.before(MS), ..with_policy(168, 24) };
    assert_eq!(last_hour(&nearly), Some(latest));
}

#[test]
fn what_has_leaked_is_never_given_longer() {
    let it = Guarded { compromised: true, ..with_policy(24, 24) };
    assert_eq!(it.due(before(&it, Mark::OneHour)), Due { tell: Some(Mark::OneHour), extend_to: None });
}

#[test]
fn a_secret_is_needed_until_nobody_is_known_to_be_left() {
    for (verdict, needed) in [
        (Verdict::NotStarted, true),
        (Verdict::Moving, true),
        (Verdict::CallersLeft, true),
        (Verdict::Quiet, false),
        (Verdict::SafeToEnd, false),
        (Verdict::Ended, false),
    ] {
        assert_eq!(is_needed(verdict), needed, "{verdict:?}");
    }
}

#[test]
fn marks_survive_storage() {
    for mark in Mark::ALL {
        assert_eq!(Mark::from_hours(mark.hours()), Some(mark));
    }
    assert_eq!(Mark::from_hours(2), None);
    assert!(Mark::ALL.is_sorted());
}

/// Looks at a transition whenever the guard runs, and does what it says while the secret is needed.
fn run(mut it: Guarded, looks: &[(u64, bool)]) -> (Vec<(Timestamp, Mark, Timestamp)>, Guarded) {
    let (mut now, mut told) = (it.rotated_at, Vec::new());
    for (pause, needed) in looks {
        now = now.after(Duration::from_millis(*pause));
        let due = it.due(now);
        if !needed || due.is_nothing() {
            continue;
        }
        if let Some(mark) = due.tell {
            told.push((it.deadline, mark, now));
            it.told = Some(mark);
        }
        if let Some(later) = due.extend_to {
            assert!(now < it.deadline && it.deadline < later, "never revived, never shortened");
            it = Guarded { deadline: later, told: Mark::reached(it.rotated_at, later, now), ..it };
        }
    }
    (told, it)
}

proptest! {
    #[test]
    fn however_often_and_late_it_looks_each_mark_of_a_deadline_is_told_once_in_its_time(
        transition in 0..=168i64,
        step in proptest::option::of(1..=168i64),
        compromised: bool,
        looks in proptest::collection::vec((0..7_200_000u64, proptest::bool::weighted(0.9)), 0..200),
    ) {
        let it = Guarded { compromised, extension_hours: step, ..guarded(transition) };
        let (told, end) = run(it, &looks);
        for (n, (deadline, mark, now)) in told.iter().enumerate() {
            let at = deadline.before(mark.span());
            prop_assert!(it.rotated_at < at && at <= *now && now < deadline);
            // Once, and never a lesser one after a more urgent one.
            prop_assert!(told[..n].iter().all(|(other, earlier, _)| other != deadline || earlier > mark));
        }
        prop_assert!(end.deadline <= it.deadline.max(it.rotated_at.after(hours(168))));
        if step.is_none() || compromised {
            prop_assert_eq!(end.deadline, it.deadline);
        }
    }

    #[test]
    fn whoever_looks_every_minute_tells_every_mark_that_lies_within(transition in 1..=168i64) {
        let looks = vec![(60_000, true); usize::try_from(transition * 60 + 60).unwrap()];
        let (told, _) = run(guarded(transition), &looks);
        let within = Mark::ALL.into_iter().rev().filter(|mark| mark.hours() < transition);
        prop_assert_eq!(told.iter().map(|(_, mark, _)| *mark).collect::<Vec<_>>(), within.collect::<Vec<_>>());
    }
}

#[test]
fn managers_are_warned_from_four_hours_on_unless_somebody_has_seen_it() {
    let warned = |is_seen| Mark::ALL.map(|mark| warns_managers(mark, is_seen));
    assert_eq!(warned(false), [true, true, false], "1, 4 and 24 hours before the deadline");
    assert_eq!(warned(true), [false; 3]);
}
