use super::*;

const MICRO: Duration = Duration::from_micros(1);
const MINUTE: Duration = Duration::from_secs(60);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn start() -> Timestamp {
    Timestamp::from_seconds(1_795_525_500)
}

/// Returns the number of admitted sign-ins out of `tries` of different accounts, the n-th from `address(n)`.
fn admitted(throttle: &Throttle, tries: u32, address: impl Fn(u32) -> IpAddr) -> u32 {
    let admitted = (0..tries).filter(|it| throttle.enter(address(*it), &it.to_string(), start()).is_ok());
    admitted.count() as u32
}

#[test]
fn failures_at_an_account_from_everywhere_only_make_a_sign_in_wait() {
    let throttle = Throttle::default();
    let wait = |number: u32, now| {
        let address = IpAddr::from([10, 0, number as u8, 1]);
        let wait = throttle.enter(address, "ada", now).map(|admitted| admitted.wait.as_secs());
        throttle.fail(address, "ada", now);
        wait
    };
    let waits: Vec<_> = (0..40).map(|number| wait(number, start()).unwrap()).collect();
    assert_eq!(waits[..16], [0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    assert!(waits[16..].iter().all(|wait| *wait == 10), "never longer, and never refused");
    // One failure a minute is forgiven, and no more than fifteen are counted.
    assert_eq!(wait(41, start().after(MINUTE - MICRO)), Ok(10));
    assert_eq!(wait(42, start().after(MINUTE * 6)), Ok(5));
    throttle.succeeded(ip("10.0.42.1"), "ada");
    assert_eq!(wait(43, start().after(MINUTE * 6)), Ok(0), "the owner has signed in");
}

#[test]
fn many_sign_ins_of_an_account_at_the_same_time_do_not_wait() {
    let throttle = Throttle::default();
    let admitted = (0..50).map(|_| throttle.enter(ip("192.0.2.1"), "ada", start()).unwrap());
    assert!(admitted.into_iter().all(|admitted| admitted.wait.is_zero()));
}

#[test]
fn another_account_does_not_wait() {
    let throttle = Throttle::default();
    for _ in 0..20 {
        throttle.enter(ip("192.0.2.1"), "ada", start()).unwrap();
        throttle.fail(ip("192.0.2.1"), "ada", start());
    }
    assert_eq!(throttle.enter(ip("192.0.2.1"), "bob", start()).unwrap().wait, Duration::ZERO);
}

#[test]
fn an_address_with_fifty_failures_is_held_up() {
    let throttle = Throttle::default();
    assert_eq!(admitted(&throttle, 60, |_| ip("192.0.2.1")), 50);
    let free = start().after(Duration::from_secs(6));
    let held = |until, is_first| Err(Held { until, is_first });
    assert_eq!(throttle.enter(ip("192.0.2.1"), "ada", free.before(MICRO)), held(free, false));
    let next = throttle.enter(ip("192.0.2.1"), "ada", free).unwrap();
    assert_eq!((next.unseen, throttle.failures_of("192.0.2.0", free)), (11, 49));
    assert_eq!(throttle.enter(ip("192.0.2.1"), "ada", free), held(free.after(Duration::from_secs(6)), true));
    assert!(throttle.enter(ip("192.0.2.2"), "ada", start()).is_ok(), "a neighbour");
}

#[test]
fn a_network_is_held_up_at_each_width() {
    let v4 = |it: u32| IpAddr::from([192, 0, 2, it as u8]);
    let throttle = Throttle::default();
    assert_eq!(admitted(&throttle, 250, v4), 150, "/24");
    assert!(throttle.enter(ip("192.0.3.1"), "x", start()).is_ok());

    let in_64 = |it: u32| ip(&format!("2001:db8:1:1::{it:x}"));
    let throttle = Throttle::default();
    assert_eq!(admitted(&throttle, 250, in_64), 50, "/64");
    assert!(throttle.enter(ip("2001:db8:1:2::1"), "x", start()).is_ok());

    let in_56 = |it: u32| ip(&format!("2001:db8:1:1{:02x}::1", it % 256));
    let throttle = Throttle::default();
    assert_eq!(admitted(&throttle, 250, in_56), 100, "/56");
    assert!(throttle.enter(ip("2001:db8:1:200::1"), "x", start()).is_ok());

    let in_48 = |it: u32| ip(&format!("2001:db8:1:{it:x}00::1"));
    let throttle = Throttle::default();
    assert_eq!(admitted(&throttle, 250, in_48), 150, "/48");
    assert!(throttle.enter(ip("2001:db8:2::1"), "x", start()).is_ok());
}

#[test]
fn an_office_that_signs_in_all_day_is_not_held_up() {
    let throttle = Throttle::default();
    for person in 0..400 {
        let admitted = throttle.enter(ip("192.0.2.1"), &person.to_string(), start());
        assert_eq!(admitted, Ok(Admitted { unseen: 0, wait: Duration::ZERO }));
        throttle.succeeded(ip("192.0.2.1"), &person.to_string());
    }
}

#[test]
fn a_session_with_ten_wrong_passwords_is_held_up_alone() {
    let throttle = Throttle::default();
    let id = |number: u32| SessionId::parse(&format!("ses_{number:022}")).unwrap();
    for _ in 0..10 {
        assert!(throttle.enter_session(&id(1), start()).is_ok());
    }
    let until = start().after(MINUTE);
    assert_eq!(throttle.enter_session(&id(1), start()), Err(Held { until, is_first: true }));
    assert!(throttle.enter_session(&id(2), start()).is_ok());
    assert_eq!(throttle.enter_session(&id(1), until).unwrap().unseen, 1);
    throttle.session_succeeded(&id(1));
    assert!(throttle.enter_session(&id(1), until).is_ok());
}

#[test]
fn a_flood_of_failures_is_told_in_sums_and_none_is_lost() {
    let throttle = Throttle::default();
    let told: Vec<_> = (0..1000).filter_map(|_| throttle.tell(1, start())).collect();
    assert_eq!(told, [1; 60]);
    assert_eq!(throttle.tell(2, start().after(WINDOW - MICRO)), None);
    assert_eq!(throttle.tell(1, start().after(WINDOW)), Some(943));
}

#[test]
fn remembered_sources_and_accounts_are_bounded() {
    let throttle = Throttle::default();
    for n in 0..MOST_REMEMBERED as u32 + 10 {
        throttle.fail(ip("192.0.2.1"), &n.to_string(), start());
        let _ = throttle.enter(IpAddr::from((n << 8).to_be_bytes()), &n.to_string(), start());
    }
    let failed = throttle.failed();
    assert!(failed.sources.len() <= MOST_REMEMBERED && failed.accounts.len() <= MOST_REMEMBERED);
    assert!(failed.at_accounts.len() <= MOST_REMEMBERED);
}

#[test]
fn a_fresh_network_finds_a_place_beside_forty_networks_that_keep_failing() {
    let throttle = Throttle::default();
    let networks: Vec<_> = (0..40_u8).map(|it| IpAddr::from([30, it, 7, 1])).collect();
    let owner = ip("192.0.2.9");
    let mut now = start();
    for address in &networks {
        throttle.enter(*address, "ada", now).unwrap();
        throttle.fail(*address, "ada", now);
    }
    // Each holds places for ten seconds, in which a failure of a source is forgiven three times.
    for round in 0..20 {
        now = now.after(Duration::from_secs(10));
        let at_account = |network: &str| throttle.failures_at("ada", network, now);
        let mut waiting = Vec::new();
        for address in networks.iter().cycle().take(400) {
            waiting.extend(throttle.waits.enter(*address, "ada", &at_account));
        }
        assert_eq!(throttle.enter(owner, "ada", now).unwrap().wait, Duration::from_secs(10));
        let mut place = throttle.waits.enter(owner, "ada", &at_account).expect("a place in each round");
        for address in networks.iter().cycle().take(400) {
            waiting.extend(throttle.waits.enter(*address, "ada", &at_account));
        }
        assert!(
            place.try_recv().is_err_and(|it| it == tokio::sync::oneshot::error::TryRecvError::Empty),
            "round {round}"
        );
        for address in &networks {
            throttle.fail(*address, "ada", now);
        }
    }
    throttle.succeeded(networks[0], "ada");
    assert_eq!(throttle.failures_at("ada", "30.0.7.0", now), 0, "the owner has signed in from there");
}

#[test]
fn what_other_nodes_have_counted_holds_up_as_well() {
    let throttle = Throttle::default();
    let (address, now) = (ip("192.0.2.1"), start());
    let subjects = Subject::of_sign_in(address, "ada");
    let names: Vec<_> = subjects.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["network 0 192.0.2.1", "network 1 192.0.2.1", "network 2 192.0.2.0", "account ada"]);
    // As two nodes store them, one after the other.
    let mut stored = vec![None; subjects.len()];
    let mut admitted = 0;
    for _ in 0..60 {
        let other = Throttle::default();
        other.enter(address, "ada", now).unwrap();
        if other.learn((address, "ada"), &stored, now).is_err() {
            continue;
        }
        admitted += 1;
        for (subject, stored) in subjects.iter().zip(&mut stored) {
            *stored = Some(subject.after_failure(*stored, now));
        }
    }
    assert_eq!(admitted, 50, "as at one node");
    throttle.enter(address, "ada", now).unwrap();
    let until = now.after(Duration::from_secs(6));
    assert_eq!(throttle.learn((address, "ada"), &stored, now), Err(Held { until, is_first: true }));
    assert_eq!(
        throttle.enter(address, "ada", now),
        Err(Held { until, is_first: false }),
        "known from now on"
    );
    // The account only waits, from wherever.
    let elsewhere = (ip("198.51.100.1"), "ada");
    throttle.enter(elsewhere.0, elsewhere.1, now).unwrap();
    let of_account = [None, None, None, stored[3]];
    assert_eq!(throttle.learn(elsewhere, &of_account, now), Ok(Duration::from_secs(10)));
}

#[test]
fn wrong_passwords_of_a_session_count_at_every_node() {
    let id = SessionId::parse("ses_0000000000000000000001").unwrap();
    let (subject, now) = (Subject::of_session(&id), start());
    let mut stored = None;
    let admitted = (0..20).filter(|_| {
        let node = Throttle::default();
        node.enter_session(&id, now).unwrap();
        let admitted = node.learn_session(&id, stored, now).is_ok();
        if admitted {
            stored = Some(subject.after_failure(stored, now));
        }
        admitted
    });
    assert_eq!(admitted.count(), 10);
}
