use super::*;
use proptest::prelude::*;
use serde_json::json;

const MS: Duration = Duration::from_millis(1);

fn now() -> Timestamp {
    Timestamp::from_seconds(1_795_525_500)
}

fn at(seconds: u64) -> Timestamp {
    now().after(Duration::from_secs(seconds))
}

fn secret_id(n: usize) -> SecretId {
    SecretId::parse(&format!("sec_{n:022}")).unwrap()
}

fn retiring(deadline: Timestamp) -> Secret {
    Secret { id: secret_id(1), created_at: now(), expires_at: Some(deadline), revoked_at: None }
}

fn drill(starts_at: Timestamp, length: i64, repeat: i64, every: Option<i64>) -> Drill {
    Drill {
        id: DrillId::parse(&format!("drill_{:022}", 1)).unwrap(),
        secret_id: secret_id(1),
        starts_at,
        pattern: Pattern::new(length, repeat, every).unwrap(),
        stopped: None,
    }
}

fn refused(windows: &[Window], now: Timestamp) -> bool {
    windows.iter().any(|window| window.holds(now))
}

#[test]
fn the_numbers_of_a_pattern_have_these_limits() {
    for (length, repeat, every) in [
        (5, 1, None),
        (900, 1, None),
        (5, 2, Some(65)),
        (60, 48, Some(120)),
        (900, 48, Some(1800)),
        (61, 2, Some(122)),
        (900, 3, Some(604_800)),
    ] {
        let pattern = Pattern::new(length, repeat, every).unwrap();
        assert_eq!(
            (pattern.length_seconds(), pattern.repeat(), pattern.every_seconds()),
            (length, repeat, every)
        );
    }
    for (length, repeat, every, field) in [
        (4, 1, None, "length_seconds"),
        (901, 1, None, "length_seconds"),
        (-60, 1, None, "length_seconds"),
        (i64::MAX, 1, None, "length_seconds"),
        (60, 0, None, "repeat"),
        (60, 49, Some(120), "repeat"),
        (60, -1, None, "repeat"),
        (60, 2, None, "every_seconds"),
        (60, 1, Some(120), "every_seconds"),
        (60, 2, Some(119), "every_seconds"),
        (900, 2, Some(1799), "every_seconds"),
        (61, 2, Some(121), "every_seconds"),
        (60, 2, Some(-120), "every_seconds"),
        (60, 2, Some(604_801), "every_seconds"),
        (60, 2, Some(i64::MAX), "every_seconds"),
    ] {
        let wrong = Pattern::new(length, repeat, every).unwrap_err();
        assert_eq!(wrong.field, field, "{length} {repeat} {every:?}");
        let problem = Problem::from(wrong);
        assert_eq!((problem.code, problem.field.as_deref()), (Code::InvalidBody, Some(field)));
    }
    let problem = Problem::from(Pattern::new(60, 2, Some(119)).unwrap_err());
    assert!(problem.detail.contains("at least 120"), "{problem}");
}

#[test]
fn only_integer_literals_are_numbers() {
    let length = json!(60);
    let parse = |length: Option<&Value>, repeat: Option<&Value>, every: Option<&Value>| {
        Pattern::from_json(length, repeat, every).map_err(|wrong| wrong.field)
    };
    assert_eq!(parse(Some(&length), None, None), Ok(Pattern::new(60, 1, None).unwrap()));
    assert_eq!(
        parse(Some(&length), Some(&json!(3)), Some(&json!(600))),
        Ok(Pattern::new(60, 3, Some(600)).unwrap())
    );
    assert_eq!(parse(None, None, None), Err("length_seconds"));
    for bad in [json!(null), json!("60"), json!(60.0), json!(true), json!(1e9), json!([60]), json!(u64::MAX)]
    {
        assert_eq!(parse(Some(&bad), None, None), Err("length_seconds"), "{bad}");
        assert_eq!(parse(Some(&length), Some(&bad), None), Err("repeat"), "{bad}");
        assert_eq!(parse(Some(&length), Some(&json!(2)), Some(&bad)), Err("every_seconds"), "{bad}");
    }
}

#[test]
fn a_window_begins_at_its_first_instant_and_is_over_at_its_last() {
    let windows = drill(at(10), 60, 3, Some(600)).windows();
    assert_eq!(
        windows,
        [(10, 70), (610, 670), (1210, 1270)].map(|(from, to)| Window { from: at(from), to: at(to) })
    );
    for window in &windows {
        for (time, expected) in [
            (window.from.before(MS), false),
            (window.from, true),
            (window.from.after(MS), true),
            (window.to.before(MS), true),
            (window.to, false),
            (window.to.after(MS), false),
        ] {
            assert_eq!(refused(&windows, time), expected, "{time}");
        }
    }
}

#[test]
fn the_state_follows_from_the_windows_the_stop_and_the_time() {
    let drill = drill(at(10), 60, 2, Some(600));
    for (time, state) in [
        (now(), DrillState::Scheduled),
        (at(10).before(MS), DrillState::Scheduled),
        (at(10), DrillState::Running),
        (at(70), DrillState::Running),
        (at(670).before(MS), DrillState::Running),
        (at(670), DrillState::Finished),
        (at(670).after(MS), DrillState::Finished),
    ] {
        assert_eq!(drill.state(time), state, "{time}");
        assert_eq!(stop(&drill, StoppedAs::Stopped, time).is_err(), state.is_over(), "{time}");
    }
    assert_eq!(drill.ends_at(), at(670));
    let words = [DrillState::Scheduled, DrillState::Running, DrillState::Finished, DrillState::Stopped];
    assert_eq!(words.map(DrillState::as_str), ["scheduled", "running", "finished", "stopped"]);
    for state in words {
        assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
    }
}

#[test]
fn a_stop_cuts_the_open_window_and_takes_the_later_ones_away() {
    let planned = drill(at(10), 60, 3, Some(600));
    for (time, windows) in [
        (at(5), vec![]),
        (at(10), vec![]),
        (at(30), vec![(10, 30)]),
        (at(70), vec![(10, 70)]),
        (at(300), vec![(10, 70)]),
        (at(615), vec![(10, 70), (610, 615)]),
    ] {
        let stopped = stop(&planned, StoppedAs::RolledBack, time).unwrap();
        assert_eq!((stopped.state(time), stopped.ends_at()), (DrillState::Stopped, time));
        let expected: Vec<_> =
            windows.into_iter().map(|(from, to)| Window { from: at(from), to: at(to) }).collect();
        assert_eq!(stopped.windows(), expected, "{time}");
        assert!(!refused(&stopped.windows(), time) && !refused(&stopped.windows(), time.after(MS)));
        assert_eq!(stop(&stopped, StoppedAs::Stopped, time), Err(Refusal::Over { since: time }));
    }
}

#[test]
fn only_a_retiring_secret_is_drilled() {
    let new = drill(now(), 60, 1, None);
    let ask = |secret: Option<&Secret>| schedule(new.clone(), secret, None, None, now());
    let good = retiring(at(3600));
    assert_eq!(ask(Some(&good)), Ok(new.clone()));
    for bad in [
        Secret { expires_at: None, ..good.clone() },
        Secret { expires_at: Some(now()), ..good.clone() },
        Secret { revoked_at: Some(now()), ..good.clone() },
    ] {
        assert_eq!(ask(Some(&bad)), Err(Refusal::NotRetiring { retiring: None }), "{bad:?}");
    }
    assert_eq!(ask(None), Err(Refusal::NotRetiring { retiring: None }));
    let expect = |n| schedule(new.clone(), Some(&good), Some(&secret_id(n)), None, now());
    assert!(expect(1).is_ok());
    assert_eq!(expect(2), Err(Refusal::NotRetiring { retiring: Some(secret_id(1)) }));
}

#[test]
fn the_last_window_may_end_at_the_deadline_and_not_later() {
    let ask = |new: Drill| schedule(new, Some(&retiring(at(700))), None, None, now());
    assert!(ask(drill(at(640), 60, 1, None)).is_ok());
    assert!(ask(drill(at(40), 60, 2, Some(600))).is_ok());
    let beyond = |fit| Refusal::EndsAfterDeadline { deadline: at(700), fit };
    assert_eq!(ask(drill(at(640).after(MS), 60, 1, None)), Err(beyond(0)));
    assert_eq!(ask(drill(at(700), 60, 1, None)), Err(beyond(0)));
    assert_eq!(ask(drill(at(40).after(MS), 60, 2, Some(600))), Err(beyond(1)));
    assert_eq!(ask(drill(at(0), 60, 48, Some(120))), Err(beyond(6)));
    for (fit, field) in [(0, "starts_at"), (3, "repeat")] {
        let problem = beyond(fit).problem();
        assert_eq!((problem.code.status(), problem.field.as_deref()), (422, Some(field)));
        assert!(problem.detail.contains(&at(700).to_string()), "{problem}");
    }
}

#[test]
fn a_drill_does_not_begin_in_the_past() {
    let ask = |from| schedule(drill(from, 60, 1, None), Some(&retiring(at(700))), None, None, now());
    assert_eq!(ask(now().before(MS)), Err(Refusal::StartsInPast { now: now() }));
    assert!(ask(now()).is_ok());
}

#[test]
fn a_secret_has_one_drill_at_a_time() {
    let first = drill(at(10), 60, 2, Some(600));
    let ask = |first: &Drill, time: Timestamp| {
        schedule(drill(time, 60, 1, None), Some(&retiring(at(3600))), None, Some(first), time)
    };
    let in_progress = Err(Refusal::InProgress { drill: first.id.clone(), ends_at: at(670) });
    assert_eq!(ask(&first, now()), in_progress);
    assert_eq!(ask(&first, at(300)), in_progress, "between windows, too");
    assert_eq!(ask(&first, at(670).before(MS)), in_progress);
    assert!(ask(&first, at(670)).is_ok());
    let stopped = stop(&first, StoppedAs::Stopped, at(20)).unwrap();
    assert!(ask(&stopped, at(20)).is_ok());
}

#[test]
fn each_refusal_has_its_code() {
    let id = DrillId::parse(&format!("drill_{:022}", 1)).unwrap();
    for (refusal, code, status) in [
        (Refusal::NotRetiring { retiring: None }, "not_retiring", 409),
        (Refusal::NotRetiring { retiring: Some(secret_id(1)) }, "not_retiring", 409),
        (Refusal::InProgress { drill: id, ends_at: at(1) }, "drill_in_progress", 409),
        (Refusal::Over { since: now() }, "drill_over", 409),
        (Refusal::StartsInPast { now: now() }, "invalid_body", 422),
    ] {
        let problem = refusal.problem();
        assert_eq!((problem.code.as_str(), problem.code.status()), (code, status));
    }
}

#[test]
fn stored_words_are_read_back() {
    for stopped in StoppedAs::ALL {
        assert_eq!(StoppedAs::parse(stopped.as_str()), Some(stopped));
        assert_eq!(serde_json::to_value(stopped).unwrap(), stopped.as_str());
    }
    assert_eq!(StoppedAs::parse("Stopped"), None);
}

proptest! {
    /// For any schedule and any stop: windows do not touch, none begins before the drill or ends after it, and the
    /// secret is refused only in the windows.
    #[test]
    fn a_drill_never_outlives_its_windows(
        length in 5..901_i64,
        repeat in 1..49_i64,
        pause in 60..4000_i64,
        start in 0..4000_u64,
        stopped in proptest::option::of(0..200_000_u64),
        deadline in 1..604_800_u64,
        probe in 0..210_000_u64,
    ) {
        let new = drill(at(start), length, repeat, (repeat > 1).then_some(length + pause.max(length)));
        let fits = new.ends_at() <= at(deadline);
        let asked = schedule(new.clone(), Some(&retiring(at(deadline))), None, None, now());
        prop_assert_eq!(asked.is_ok(), fits);
        let drill = match stopped.map(|it| (at(it), stop(&new, StoppedAs::Stopped, at(it)))) {
            Some((time, Ok(stopped))) => {
                prop_assert!(time < new.ends_at());
                stopped
            }
            Some((time, Err(_))) => {
                prop_assert!(time >= new.ends_at());
                new
            }
            None => new,
        };
        let windows = drill.windows();
        prop_assert!(windows.len() <= 48);
        for window in &windows {
            prop_assert!(window.from < window.to && window.from >= drill.starts_at && window.to <= drill.ends_at());
            prop_assert!(window.to.since(window.from) <= Duration::from_secs(900));
        }
        for pair in windows.windows(2) {
            prop_assert!(pair[1].from.since(pair[0].to) >= Duration::from_secs(60));
        }
        let time = at(probe);
        if refused(&windows, time) {
            prop_assert!(time >= drill.starts_at && time < drill.ends_at());
            prop_assert!(drill.state(time.min(drill.ends_at())) != DrillState::Scheduled);
        }
    }
}
