//! Drills: when the old secret is refused, and what is left behind of it.

use super::*;
use crate::{DrillSlot, SourceCount};
use crossfade_core::{DrillId, drill::Window};

const MS: i64 = 1000;
/// Two windows of a minute, ten minutes apart.
const WINDOWS: [(i64, i64); 2] = [(10 * SECOND, 70 * SECOND), (610 * SECOND, 670 * SECOND)];

fn drill_id(n: usize) -> DrillId {
    DrillId::parse(&format!("drill_{n:022}")).unwrap()
}

fn slot(windows: &[(i64, i64)]) -> Option<DrillSlot> {
    let windows = windows.iter().map(|(from, to)| Window { from: at(*from), to: at(*to) }).collect();
    Some(DrillSlot { id: drill_id(1), windows })
}

/// Returns secret 1 with this deadline, revocation and windows, and the current secret 2.
fn drilled(windows: &[(i64, i64)], expires_at: Option<i64>, revoked_at: Option<i64>) -> World {
    let world = World::new();
    world.put(1, &[(2, None, None), (1, expires_at, revoked_at)], |registration| {
        registration.secrets[1].drill = slot(windows);
    });
    world
}

#[test]
fn the_old_secret_is_refused_from_the_first_instant_of_a_window_until_its_last() {
    let world = drilled(&WINDOWS, Some(HOUR), None);
    for (from, to) in WINDOWS {
        for (time, refused) in [
            (from - MS, false),
            (from - 1, false),
            (from, true),
            (from + 1, true),
            (from + MS, true),
            (to - MS, true),
            (to - 1, true),
            (to, false),
            (to + 1, false),
            (to + MS, false),
        ] {
            world.set(time);
            let expected = if refused { REFUSED } else { Ok(secret_id(1)) };
            assert_eq!(world.present(&value(1)), expected, "{time} of {from} to {to}");
            assert_eq!(world.present(&value(2)), Ok(secret_id(2)), "the new secret is never refused");
        }
    }
}

#[test]
fn a_drill_outlives_neither_its_windows_nor_its_secret() {
    // The windows reach beyond the deadline, which no rule allows; the deadline applies anyway.
    let world = drilled(&[(0, 2 * HOUR)], Some(HOUR), None);
    world.set(HOUR - 1);
    assert_eq!(world.present(&value(1)), REFUSED);
    assert_eq!(world.failure().failure, Failure::Drill);
    world.set(HOUR);
    assert_eq!(world.present(&value(1)), REFUSED);
    assert_eq!(world.failure().failure, Failure::Expired);
    let world = drilled(&WINDOWS, Some(1000 * HOUR), None);
    world.set(WINDOWS[1].1);
    for _ in 0..100 {
        assert_eq!(world.present(&value(1)), Ok(secret_id(1)));
        world.set(world.authority.clock().now().as_micros() - NOW + HOUR);
    }
}

#[test]
fn only_a_retiring_secret_is_refused_by_a_drill() {
    let always = [(0, HOUR)];
    let current = drilled(&always, None, None);
    assert_eq!(current.present(&value(1)), Ok(secret_id(1)), "it is current again");
    let revoked = drilled(&always, Some(HOUR), Some(-1));
    assert_eq!(revoked.present(&value(1)), REFUSED);
    assert_eq!(revoked.failure().failure, Failure::Revoked);
}

#[test]
fn a_stop_is_in_force_with_the_next_record() {
    let world = drilled(&[(0, HOUR)], Some(HOUR), None);
    world.set(10);
    assert_eq!(world.present(&value(1)), REFUSED);
    world.put(1, &[(2, None, None), (1, Some(HOUR), None)], |registration| {
        registration.secrets[1].drill = slot(&[(0, 10)]);
    });
    assert_eq!(world.present(&value(1)), Ok(secret_id(1)));
}

/// A machine's clock that goes back neither opens a window again nor ends one.
#[test]
fn a_clock_that_is_set_back_opens_no_window_again() {
    let world = drilled(&WINDOWS, Some(HOUR), None);
    world.set(WINDOWS[0].1);
    assert_eq!(world.present(&value(1)), Ok(secret_id(1)));
    world.set(WINDOWS[0].0);
    assert_eq!(world.present(&value(1)), Ok(secret_id(1)));
}

#[test]
fn disabled_and_wrong_method_and_wrong_secret_are_told_as_before() {
    let world = World::new();
    let put = |change: fn(&mut Registration)| {
        world.put(1, &[(2, None, None), (1, Some(HOUR), None)], |registration| {
            registration.secrets[1].drill = slot(&[(0, HOUR)]);
            change(registration);
        });
    };
    put(|registration| registration.disabled = true);
    assert_eq!((world.present(&value(1)), world.failure().failure), (REFUSED, Failure::Disabled));
    put(|registration| registration.methods = AuthMethods::parse(&[POST]).unwrap());
    assert_eq!((world.present(&value(1)), world.failure().failure), (REFUSED, Failure::Method));
    put(|_| {});
    assert_eq!((world.present(&value(7)), world.failure().failure), (REFUSED, Failure::Wrong));
}

fn by_drill() -> Option<RefusedBy> {
    Some(RefusedBy::Drill(drill_id(1)))
}

fn present_as(world: &World, ip: IpAddr, user_agent: &str, instance: &str) {
    let client_id = client_id(1);
    let secret = value(1);
    let source = Source { ip, user_agent, instance };
    let credentials = Credentials {
        client_id: client_id.as_str(),
        secret: &secret,
        further_readings: &[],
        method: BASIC,
        source,
        sender: Some(ip),
    };
    assert!(world.authority.authenticate(&world.staging, &credentials).is_err());
}

#[test]
fn whoever_is_refused_is_recorded_by_address_agent_and_label_and_not_as_a_use() {
    let world = drilled(&[(0, HOUR)], Some(HOUR), None);
    let other = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 8));
    for (ip, agent, label) in
        [(IP, "a", ""), (IP, "a", "pod-1"), (other, "a", ""), (IP, "b", ""), (IP, "a", "")]
    {
        present_as(&world, ip, agent, label);
    }
    assert_eq!(world.authority.evidence().last_use(&secret_id(1)), None, "a refusal is no use");
    let (sources, failures) = world.authority.evidence().drain();
    assert_eq!(sources.len(), 4);
    assert!(
        sources.iter().all(|it| it.refused_by == by_drill() && it.secret == secret_id(1) && !it.gathered)
    );
    let of = |ip, agent: &str, label: &str| {
        let same =
            |it: &&SourceCount| it.ip == Some(ip) && &*it.user_agent == agent && &*it.instance == label;
        sources.iter().find(same).unwrap().counter.count
    };
    assert_eq!((of(IP, "a", ""), of(IP, "a", "pod-1"), of(other, "a", ""), of(IP, "b", "")), (2, 1, 1, 1));
    assert_eq!(failures.iter().map(|it| it.counter.count).sum::<u64>(), 5);
    assert!(failures.iter().all(|it| it.failure == Failure::Drill && it.secret == Some(secret_id(1))));
    let totals: Vec<_> = world.authority.evidence().totals().into_iter().filter(|(_, n)| *n > 0).collect();
    assert_eq!(totals, [("drill", 5)], "each is counted once");
}

#[test]
fn uses_and_refusals_of_one_caller_stay_apart_also_when_they_are_put_back() {
    let world = drilled(&[(0, 10)], Some(HOUR), None);
    present_as(&world, IP, "tests/1", "");
    world.set(10);
    assert_eq!(world.present(&value(1)), Ok(secret_id(1)));
    let (sources, failures) = world.authority.evidence().drain();
    world.authority.evidence().restore(sources, failures);
    let (mut sources, failures) = world.authority.evidence().drain();
    sources.sort_by_key(|it| it.refused_by.is_some());
    assert_eq!((sources.len(), failures.len()), (2, 1));
    assert_eq!((&sources[0].refused_by, sources[0].counter.count), (&None, 1));
    assert_eq!((&sources[1].refused_by, sources[1].counter.count), (&by_drill(), 1));
}

#[test]
fn a_flood_of_refused_names_is_bounded_and_loses_no_count() {
    let world = drilled(&[(0, HOUR)], Some(HOUR), None);
    for n in 0..20_000 {
        present_as(&world, IP, &format!("agent {n}"), "");
    }
    let (sources, _) = world.authority.evidence().drain();
    assert!(sources.len() < 3000, "{}", sources.len());
    assert_eq!(sources.iter().map(|it| it.counter.count).sum::<u64>(), 20_000);
    assert!(sources.iter().all(|it| it.refused_by == by_drill()));
}
