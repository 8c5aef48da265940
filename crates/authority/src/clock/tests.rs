//! Both times of a clock, in every order in which their sources can be wrong.

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

/// A window of a drill that has begun ends even if the machine restarts with a clock that is behind.
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
    // The test may be interrupted between the two readings.
    assert!((3590..=3600).contains(&apart()));
    behind.advance(Duration::from_secs(1800));
    assert!((1790..=1800).contains(&apart()));
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
    behind.calibrate(right.machine(), behind.ask());
    assert!(is_about(behind.machine(), right.machine()));
    assert!(is_about(behind.now(), right.now()), "no secret lives longer by a node's clock that is behind");
    assert!(behind.is_caught_up(), "it is no simulation");
    ahead.calibrate(right.machine().before(hour), ahead.ask());
    assert!(is_about(ahead.machine(), right.machine().before(hour)), "no token comes from the future");
    assert!(
        is_about(ahead.now(), right.now().before(hour)),
        "no secret ends early by a node's clock that is ahead"
    );
    simulated.calibrate(right.machine(), simulated.ask());
    assert!(is_about(simulated.machine(), right.machine().before(hour)));
    let manual = Clock::manual(Timestamp::from_seconds(1000));
    manual.calibrate(right.machine(), manual.ask());
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

/// Once one thread has read a time, no other thread reads an earlier one: a deadline that one request saw pass has
/// passed for every later one.
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

/// Returns the clock of a database that is right, and a node whose clock is ahead by the span.
fn node_ahead(span: Duration) -> (Timestamp, Clock) {
    let (told, clock) = (Clock::system().machine(), Clock::ahead(span));
    assert!(clock.now().since(told) >= span && clock.read().machine.since(told) >= span);
    clock.calibrate(told, clock.ask());
    (told, clock)
}

#[test]
fn rule_2_a_node_s_wall_clock_decides_nothing_beside_a_database_s() {
    for hours in [0, 2, 400 * 24] {
        let (told, clock) = node_ahead(Duration::from_secs(3600) * hours);
        let moment = clock.read();
        for time in [clock.now(), clock.machine(), moment.now, moment.machine, moment.earliest, moment.latest]
        {
            assert!(
                time >= told && time.since(told) < Duration::from_secs(5),
                "{hours} h: {time} and {told}"
            );
        }
        assert_eq!(moment.offset(), None, "{hours} h: no clock is behind");
    }
}

#[test]
fn rule_2_a_stored_time_is_a_floor_below_a_database_s_clock() {
    let (hour, day) = (Duration::from_secs(3600), Duration::from_secs(86_400));
    let clock = Clock::system();
    let right = clock.machine();
    clock.raise(right.after(day));
    clock.calibrate(right.before(hour), clock.ask());
    assert!(clock.now() >= right.after(day), "it was stored");
    assert!(clock.machine() < right);
    clock.calibrate(right.after(2 * day), clock.ask());
    let before = clock.now();
    assert!(before >= right.after(2 * day));
    clock.calibrate(right, clock.ask());
    assert!(clock.now() >= before, "the database's clock was set back");
    let offset = clock.read().offset().unwrap();
    assert!(offset > 2 * day - MAX_OFFSET && offset < 2 * day + MAX_OFFSET, "{offset:?}");
}

#[test]
fn a_clock_that_is_set_runs_on_in_what_has_elapsed() {
    let clock = Clock::manual(Timestamp::from_seconds(1000));
    clock.set(Timestamp::from_seconds(900_000));
    assert_eq!(clock.elapsed(), Duration::ZERO);
    clock.advance(Duration::from_secs(7));
    clock.set(Timestamp::from_seconds(1));
    assert_eq!(clock.elapsed(), Duration::from_secs(7));
}

#[test]
fn a_clock_that_was_set_forty_days_ahead_is_known() {
    let at = Timestamp::from_seconds;
    let clock = Clock::manual(at(10_000));
    clock.read();
    clock.set(at(10_000).after(Duration::from_secs(40 * 86_400)));
    assert_eq!(clock.read().earliest, at(10_000));
}

#[test]
fn rule_2_the_time_is_never_behind_a_database_s_clock_and_the_machine_s_time_never_ahead() {
    let clock = Clock::system();
    assert_eq!(clock.uncertainty(), None);
    let asked = clock.ask();
    let told = Clock::system().machine();
    while clock.ask().booted - asked.booted < 2000 {}
    clock.calibrate(told, asked);
    let moment = clock.read();
    let passed = Duration::from_micros((clock.ask().booted - asked.booted) as u64);
    assert!(moment.now.since(told) >= Duration::from_millis(2), "the database may have answered at once");
    assert!(moment.now.since(told) <= passed + Duration::from_millis(1));
    assert!(moment.machine >= told && moment.now.since(moment.machine) >= Duration::from_millis(2));
    let uncertainty = clock.uncertainty().unwrap();
    assert!(uncertainty >= Duration::from_millis(1) && uncertainty <= passed, "{uncertainty:?}");
    assert_eq!((at_least(4_000_000_000), at_most(4_000_000_000)), (3_998_000_000, 4_002_000_000), "500 ppm");
    let (late, before) = (Asked { booted: asked.booted - 10_000_000 }, clock.now());
    clock.calibrate(told, late);
    assert!(clock.now().since(before) < Duration::from_secs(5), "an answer that says less is left out");
}
