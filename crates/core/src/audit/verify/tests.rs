use super::*;
use proptest::prelude::*;
use serde_json::json;

type Event = Map<String, Value>;

fn event(seq: i64) -> Event {
    let event = json!({"seq": seq, "at": "2026-11-25T08:00:00Z", "action": "secret.rotated", "reason": null,
        "details": {"n": seq}, "previous_hash": null, "hash": null});
    event.as_object().unwrap().clone()
}

fn seal(mut event: Event, previous: ChainHash) -> (Event, ChainHash) {
    event.insert(PREVIOUS_HASH.into(), previous.to_string().into());
    let hash = ChainHash::of_members(event.clone());
    event.insert(HASH.into(), hash.to_string().into());
    (event, hash)
}

/// A trail of `count` events of which the first `old` were recorded before it had a chain, and its hashes from 0 on.
fn trail(count: i64, old: i64) -> (Vec<Event>, Vec<ChainHash>) {
    let (mut events, mut hashes) = (Vec::new(), vec![ChainHash::START]);
    for seq in 1..=count {
        let (sealed, hash) = seal(event(seq), hashes[hashes.len() - 1]);
        events.push(if seq <= old { event(seq) } else { sealed });
        hashes.push(hash);
    }
    (events, hashes)
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(1_795_525_500 + seconds)
}

fn known(kind: StatementKind, seq: i64, hash: ChainHash) -> Known {
    let first_seq = (kind == StatementKind::Start).then_some(1);
    Known {
        statement: Statement { first_seq, ..Statement::new(kind, (seq, hash), at(seq)) },
        is_outside: false,
    }
}

fn started(old: i64, hashes: &[ChainHash]) -> Vec<Known> {
    vec![known(StatementKind::Start, old, hashes[old as usize])]
}

fn verify(events: Vec<Event>, known: Vec<Known>, end: Option<(i64, ChainHash)>) -> Result<Verified, Fault> {
    let mut verifier = Verifier::new(known);
    events.into_iter().try_for_each(|event| verifier.push(event))?;
    verifier.finish(end)
}

#[test]
fn a_trail_is_verified_from_its_first_event_to_its_last() {
    for old in [0, 4, 9] {
        let (events, hashes) = trail(9, old);
        let mut known = started(old, &hashes);
        known.push(super::tests::known(StatementKind::Checkpoint, 9, hashes[9]));
        let verified = verify(events, known, Some((9, hashes[9]))).unwrap();
        assert_eq!((verified.events, verified.first_seq, verified.last_seq), (9, Some(1), Some(9)));
        assert_eq!((verified.before_chain, verified.signed_seq), (old as u64, Some(9)));
    }
    assert_eq!(
        verify(vec![], started(0, &[ChainHash::START]), Some((0, ChainHash::START))).unwrap().events,
        0
    );
}

#[test]
fn a_trail_begins_where_retention_has_cut_it_off() {
    for old in [0, 6] {
        let (mut events, hashes) = trail(9, old);
        events.drain(..5);
        let trimmed = |seq: usize| {
            let mut all = started(old, &hashes);
            all.push(known(StatementKind::Trim, seq as i64, hashes[seq]));
            all
        };
        let verified = verify(events.clone(), trimmed(5), Some((9, hashes[9]))).unwrap();
        assert_eq!((verified.first_seq, verified.signed_seq), (Some(6), Some(old.max(5))));
        assert_eq!(verify(events.clone(), trimmed(3), None), Err(Fault::Missing { first: 4, last: 5 }));
        assert_eq!(
            verify(events.clone(), started(0, &hashes), None),
            Err(Fault::Missing { first: 1, last: 5 })
        );
        assert_eq!(verify(events, trimmed(6), None), Err(Fault::Inserted { seq: 6 }));
    }
}

#[test]
fn a_trail_that_ends_too_early_or_too_late_is_named() {
    let (events, hashes) = trail(9, 0);
    let start = || started(0, &hashes);
    let end = Some((9, hashes[9]));
    assert_eq!(verify(events[..7].to_vec(), start(), end), Err(Fault::CutOff { last: 7, up_to: 9 }));
    let mut signed = start();
    signed.push(known(StatementKind::Checkpoint, 8, hashes[8]));
    assert_eq!(verify(events[..7].to_vec(), signed, None), Err(Fault::CutOff { last: 7, up_to: 8 }));
    assert_eq!(verify(events, start(), Some((7, hashes[7]))), Err(Fault::Inserted { seq: 8 }));
    assert_eq!(verify(vec![], start(), end), Err(Fault::CutOff { last: 0, up_to: 9 }));
    assert_eq!(verify(vec![], vec![], None), Err(Fault::Unsigned));
}

/// Somebody with the database can write every hash again, but not sign.
#[test]
fn a_trail_that_was_written_again_does_not_fit_a_signed_statement() {
    let (events, hashes) = trail(9, 0);
    let (mut forged, mut previous) = (Vec::new(), ChainHash::START);
    for mut event in events {
        if event["seq"] == 4 {
            event["details"] = json!({"n": "forged"});
        }
        let (sealed, hash) = seal(event, previous);
        forged.push(sealed);
        previous = hash;
    }
    let with = |seqs: &[usize], is_outside| {
        let mut all = started(0, &hashes);
        let of = |seq: &usize| known(StatementKind::Checkpoint, *seq as i64, hashes[*seq]);
        all.extend(seqs.iter().map(|seq| Known { is_outside, ..of(seq) }));
        all
    };
    let end = Some((9, previous));
    assert!(verify(forged.clone(), with(&[], false), end).is_ok(), "without a checkpoint nobody can know");
    for is_outside in [false, true] {
        let found = verify(forged.clone(), with(&[3, 6, 9], is_outside), end);
        assert_eq!(found, Err(Fault::Rewritten { after: 3, up_to: 6 }));
    }
}

#[test]
fn a_checkpoint_of_a_replaced_history_names_the_fork() {
    let (_, lost) = trail(9, 0);
    let (mut events, hashes) = trail(6, 0);
    let (other, hash) = seal(Event::from_iter([("seq".into(), json!(7))]), hashes[6]);
    events.push(other);
    let restore = Known {
        statement: Statement { at: at(100), ..known(StatementKind::Restore, 6, hashes[6]).statement },
        is_outside: false,
    };
    let with = |seq: usize| {
        let outside = Known { is_outside: true, ..known(StatementKind::Checkpoint, seq as i64, lost[seq]) };
        let mut all = started(0, &hashes);
        all.extend([restore.clone(), outside]);
        verify(events.clone(), all, Some((7, hash)))
    };
    let forked = |seq| Err(Fault::Forked { seq: 6, restored_at: at(100), checkpoint_seq: seq });
    assert_eq!((with(7), with(9)), (forked(7), forked(9)));
    let verified = with(5).unwrap();
    assert_eq!(verified.forks, [Fork { seq: 6, backup_created_at: None, restored_at: at(100) }]);
    assert_eq!(verified.last_seq, Some(7));
}

#[test]
fn a_checkpoint_older_than_the_first_event_is_not_compared() {
    let (mut events, hashes) = trail(9, 0);
    let with = |events: &[Event], seq: usize, hash: ChainHash| {
        let outside = Known { is_outside: true, ..known(StatementKind::Checkpoint, seq as i64, hash) };
        let mut all = started(0, &hashes);
        all.extend([known(StatementKind::Trim, 5, hashes[5]), outside]);
        verify(events.to_vec(), all, None)
    };
    events.drain(..5);
    assert_eq!(with(&events, 3, ChainHash::START).unwrap().not_compared, Some(3), "whatever its hash is");
    assert_eq!(with(&events, 5, hashes[5]).unwrap().not_compared, None, "the signed end of what was deleted");
    assert_eq!(with(&events, 7, hashes[7]).unwrap().not_compared, None);
    assert_eq!(with(&[], 3, hashes[3]).unwrap().not_compared, Some(3));
}

#[test]
fn a_filtered_export_is_verified_row_by_row() {
    let (events, hashes) = trail(9, 2);
    let chosen = [1, 4, 8].map(|at: usize| events[at].clone());
    let export = Statement {
        events: Some(3),
        sha256: Some("abc".into()),
        ..Statement::new(StatementKind::Export, (9, hashes[9]), at(9))
    };
    let verify = |events: &[Event], lines: &str| {
        let mut rows = RowVerifier::default();
        events.iter().try_for_each(|event| rows.push(event.clone()))?;
        rows.finish(&export, lines)
    };
    let verified = verify(&chosen, "abc").unwrap();
    assert_eq!((verified.events, verified.before_chain, verified.last_seq), (3, 1, Some(9)));
    assert_eq!(verify(&chosen, "abd"), Err(Fault::OtherLines));
    assert_eq!(verify(&chosen[..2], "abc"), Err(Fault::OtherLines));
    let mut altered = chosen.clone();
    altered[1]["details"] = json!({});
    assert_eq!(verify(&altered, "abc"), Err(Fault::Altered { seq: 5 }));
    altered[1] = chosen[0].clone();
    assert_eq!(verify(&altered, "abc"), Err(Fault::Inserted { seq: 2 }));
    altered[0] = chosen[1].clone();
    altered[1] = event(6);
    assert_eq!(verify(&altered, "abc"), Err(Fault::Altered { seq: 6 }), "a row without its hash");
}

/// What somebody without the key can do to the rows of a trail.
#[derive(Clone, Debug)]
enum Hand {
    Alter(usize),
    Seal(usize),
    Drop(usize),
    Insert(usize),
    Double(usize),
    Swap(usize, usize),
    Strip(usize),
}

fn hands(rows: usize) -> impl Strategy<Value = Hand> {
    let at = 0..rows;
    prop_oneof![
        at.clone().prop_map(Hand::Alter),
        at.clone().prop_map(Hand::Seal),
        at.clone().prop_map(Hand::Drop),
        at.clone().prop_map(Hand::Insert),
        at.clone().prop_map(Hand::Double),
        (at.clone(), at.clone()).prop_map(|(a, b)| Hand::Swap(a, b)),
        at.prop_map(Hand::Strip),
    ]
}

proptest! {
    #[test]
    fn the_first_row_that_a_hand_has_touched_is_named(hand in hands(12), old in 0..12_i64) {
        let (mut rows, hashes) = trail(12, old);
        let seq = |at: usize| at as i64 + 1;
        let before = |at: usize| hashes[at];
        let is_old = |at: usize| (at as i64) < old;
        let expected = match hand.clone() {
            Hand::Alter(at) => {
                rows[at]["details"] = json!({"n": "other"});
                // Of the rows before the chain only all together are confirmed.
                if is_old(at) { Fault::Rewritten { after: 0, up_to: old } } else { Fault::Altered { seq: seq(at) } }
            }
            Hand::Seal(at) => {
                rows[at]["details"] = json!({"n": "other"});
                rows[at] = seal(rows[at].clone(), before(at)).0;
                if is_old(at) { Fault::Altered { seq: seq(at) } } else { Fault::Replaced { seq: seq(at) } }
            }
            Hand::Drop(11) => {
                rows.pop();
                Fault::CutOff { last: 11, up_to: 12 }
            }
            Hand::Drop(at) => {
                rows.remove(at);
                Fault::Missing { first: seq(at), last: seq(at) }
            }
            Hand::Insert(at) => {
                let inserted = seal(event(seq(at)), ChainHash::parse(&"a".repeat(64)).unwrap()).0;
                rows.insert(at, inserted);
                if at as i64 <= old { Fault::Altered { seq: seq(at) } } else { Fault::Inserted { seq: seq(at) } }
            }
            Hand::Double(at) => {
                rows.insert(at, rows[at].clone());
                Fault::Inserted { seq: seq(at) }
            }
            Hand::Swap(a, b) => {
                prop_assume!(a != b);
                rows.swap(a, b);
                Fault::Missing { first: seq(a.min(b)), last: a.max(b) as i64 }
            }
            Hand::Strip(at) => {
                prop_assume!(!is_old(at));
                rows[at][HASH] = Value::Null;
                rows[at][PREVIOUS_HASH] = Value::Null;
                Fault::Altered { seq: seq(at) }
            }
        };
        let found = verify(rows, started(old, &hashes), Some((12, hashes[12])));
        prop_assert_eq!(found, Err(expected), "{:?}", hand);
    }

    #[test]
    fn a_trail_of_any_length_verifies(count in 0..40_i64, old in 0..40_i64) {
        let old = old.min(count);
        let (rows, hashes) = trail(count, old);
        let verified = verify(rows, started(old, &hashes), Some((count, hashes[count as usize])));
        prop_assert_eq!(verified.unwrap().events, count as u64);
    }
}
