//! The life cycle of a signing key as a function of its row and the time: published first, then signing, then published
//! until the last token it signed has expired.

use crate::{Timestamp, registration::TokenTtl};
use std::time::Duration;

/// How long resource servers can cache a key set: the `max-age` of the JWKS endpoint.
pub const JWKS_MAX_AGE: Duration = Duration::from_secs(300);
/// How far a resource server's clock may be behind.
const SKEW: Duration = Duration::from_secs(60);

/// The times of one signing key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyTimes {
    /// When it starts to sign, unless a newer key signs.
    pub active_from: Timestamp,
    /// When it is removed from the key set; `None` while no newer key exists.
    pub removed_at: Option<Timestamp>,
}

impl KeyTimes {
    /// Whether the key is in the key set at `now`.
    pub fn is_published(&self, now: Timestamp) -> bool {
        self.removed_at.is_none_or(|removed_at| now < removed_at)
    }
}

/// Returns when a key created at `now` starts to sign: after every cached key set has expired, or immediately if the
/// old key must not sign any more.
pub fn activation(now: Timestamp, immediate: bool) -> Timestamp {
    if immediate { now } else { now.after(JWKS_MAX_AGE + SKEW) }
}

/// Returns when `key` leaves the key set after a successor that signs from `successor_from` was created at `now`: once
/// the last token that it can have signed has expired by every clock. A key that would not start before its successor
/// never signs and is removed immediately.
pub fn removal(key: KeyTimes, successor_from: Timestamp, now: Timestamp) -> Timestamp {
    if key.active_from > now && key.active_from >= successor_from {
        return now;
    }
    successor_from.after(Duration::from_secs(u64::from(TokenTtl::LONGEST.seconds())) + SKEW)
}

/// Returns the index of the key that signs at `now`: the one that became active last.
pub fn signing(keys: impl IntoIterator<Item = KeyTimes>, now: Timestamp) -> Option<usize> {
    keys.into_iter()
        .enumerate()
        .filter(|(_, key)| key.active_from <= now && key.is_published(now))
        .max_by_key(|(_, key)| key.active_from)
        .map(|(index, _)| index)
}

/// Whether an environment whose keys rotate every `days` needs a new key at `now`. The age of a key counts from when it
/// starts to sign. Without a key there is nothing to rotate.
pub fn is_due(keys: impl IntoIterator<Item = KeyTimes>, days: i64, now: Timestamp) -> bool {
    let newest = keys.into_iter().filter(|key| key.is_published(now)).map(|key| key.active_from).max();
    let age = Duration::from_secs(days.unsigned_abs().saturating_mul(86_400));
    newest.is_some_and(|active_from| active_from.after(age) <= now)
}

/// Returns when keys of an algorithm begin to sign; `None` if one signs at `now`.
pub fn signs_from<A: PartialEq + Copy>(alg: A, keys: &[(A, KeyTimes)], now: Timestamp) -> Option<Timestamp> {
    let signs_now = signing(keys.iter().map(|(_, times)| *times), now).is_some_and(|at| keys[at].0 == alg);
    let own = keys.iter().filter(|(own, times)| *own == alg && times.is_published(now));
    let begins = own.map(|(_, times)| times.active_from).filter(|from| *from > now);
    if signs_now { None } else { begins.min() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_algorithm_signs_from_the_activation_of_its_key() {
        let at = Timestamp::from_seconds;
        let key =
            |from, removed: Option<i64>| KeyTimes { active_from: at(from), removed_at: removed.map(at) };
        let keys = [("old", key(0, Some(5000))), ("new", key(100, None))];
        assert_eq!(signs_from("new", &keys, at(99)), Some(at(100)));
        assert_eq!(signs_from("new", &keys, at(100)), None);
        assert_eq!(signs_from("old", &keys, at(99)), None, "another key of it may be on its way");
        let back = [("old", key(0, Some(5000))), ("new", key(100, Some(50))), ("old", key(130, None))];
        assert_eq!(signs_from("old", &back, at(50)), None);
    }

    #[test]
    fn a_key_is_published_before_it_signs_and_until_its_last_token_has_ended() {
        let start = Timestamp::from_seconds(1_795_525_500);
        let next_from = activation(start, false);
        let first = KeyTimes { active_from: start, removed_at: None };
        let removed_at = removal(first, next_from, start);
        let old = KeyTimes { removed_at: Some(removed_at), ..first };
        let new = KeyTimes { active_from: next_from, removed_at: None };
        let keys = [old, new];
        let micro = Duration::from_micros(1);
        assert_eq!(signing(keys, start), Some(0));
        assert_eq!(signing(keys, next_from.before(micro)), Some(0));
        assert_eq!(signing(keys, next_from), Some(1));
        assert!(next_from.since(start) > JWKS_MAX_AGE);
        let last_token_ends = next_from.after(Duration::from_secs(86_400));
        assert!(old.is_published(last_token_ends));
        assert!(!old.is_published(removed_at));
        assert_eq!(activation(start, true), start);
    }

    #[test]
    fn a_scheduled_rotation_is_due_once_the_newest_key_has_signed_long_enough() {
        let start = Timestamp::from_seconds(1_795_525_500);
        let due_at = start.after(Duration::from_secs(90 * 86_400));
        let first = KeyTimes { active_from: start, removed_at: None };
        assert!(!is_due([first], 90, due_at.before(Duration::from_micros(1))));
        assert!(is_due([first], 90, due_at));
        let next = KeyTimes { active_from: activation(due_at, false), removed_at: None };
        assert!(!is_due([first, next], 90, due_at), "a key that waits counts");
        let withdrawn = KeyTimes { removed_at: Some(due_at), ..next };
        assert!(is_due([first, withdrawn], 90, due_at));
        assert!(!is_due([], 90, due_at));
    }

    #[test]
    fn a_key_that_waits_is_withdrawn_when_another_one_signs_first() {
        let start = Timestamp::from_seconds(1_795_525_500);
        let waiting = KeyTimes { active_from: activation(start, false), removed_at: None };
        let now = start.after(Duration::from_secs(60));
        assert_eq!(removal(waiting, activation(now, true), now), now, "or it would sign after its successor");
        let later = activation(now, false);
        assert!(
            removal(waiting, later, now) > later,
            "it signs until its successor does, so its tokens need it"
        );
    }

    /// The cached key set may be 300 s old, and a clock may be 60 s behind; a token lives 24 h at most.
    #[test]
    fn the_times_of_a_roll_over_are_these() {
        let start = Timestamp::from_seconds(1_795_525_500);
        assert_eq!(JWKS_MAX_AGE.as_secs(), 300);
        assert_eq!(activation(start, false).since(start).as_secs(), 360);
        let signing = KeyTimes { active_from: start, removed_at: None };
        assert_eq!(removal(signing, start, start).since(start).as_secs(), 86_460);
    }

    #[test]
    fn the_key_that_became_active_last_signs_whatever_the_order_of_the_rows() {
        let at = Timestamp::from_seconds;
        let key =
            |from, removed: Option<i64>| KeyTimes { active_from: at(from), removed_at: removed.map(at) };
        let (first, second, third) = (key(10, Some(100)), key(20, None), key(30, Some(40)));
        assert_eq!(signing([first, second, third], at(35)), Some(2));
        assert_eq!(signing([third, second, first], at(35)), Some(0));
        assert_eq!(signing([third, second, first], at(29)), Some(1), "not yet active");
        assert_eq!(signing([first, second, third], at(40)), Some(1), "no longer published");
        assert_eq!(signing([first, second, third], at(9)), None);
        assert_eq!(signing([], at(9)), None);
    }
}
