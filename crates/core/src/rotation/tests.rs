//! One test for each rule of rotation, named by its number, and properties over random histories.

use super::*;
use proptest::prelude::*;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
const NOW: i64 = 1_795_525_500_000_000;

fn now() -> Timestamp {
    Timestamp::from_micros(NOW)
}

fn micros(offset: i64) -> Timestamp {
    Timestamp::from_micros(NOW + offset)
}

fn id(n: usize) -> SecretId {
    SecretId::parse(&format!("sec_{n:022}")).unwrap()
}

fn secret(n: usize, expires_at: Option<Timestamp>) -> Secret {
    Secret { id: id(n), created_at: micros(-1_000_000), expires_at, revoked_at: None }
}

fn request(hours: i64) -> RotationRequest {
    RotationRequest {
        transition: TransitionHours::new(hours).unwrap(),
        expected_current: None,
        end_running_transition: false,
        compromised: false,
    }
}

#[test]
fn rule_2_valid_until_but_not_at_the_deadline() {
    let deadline = Some(now());
    assert_eq!(state_at(deadline, None, micros(-1)), SecretState::Retiring);
    assert_eq!(state_at(deadline, None, micros(0)), SecretState::Expired);
    assert_eq!(state_at(deadline, None, micros(1)), SecretState::Expired);
    assert_eq!(state_at(None, None, micros(i64::MAX / 2)), SecretState::Current);
    assert!(SecretState::Current.is_valid() && SecretState::Retiring.is_valid());
    assert!(!SecretState::Expired.is_valid() && !SecretState::Revoked.is_valid());
}

#[test]
fn states_and_ends_have_the_words_of_the_vocabulary() {
    let states = [SecretState::Current, SecretState::Retiring, SecretState::Expired, SecretState::Revoked];
    for (state, word) in states.into_iter().zip(["current", "retiring", "expired", "revoked"]) {
        assert_eq!(state.as_str(), word);
        assert_eq!(serde_json::to_value(state).unwrap(), word);
    }
    let ends =
        [EndedAs::Retiring, EndedAs::Expired, EndedAs::Revoked, EndedAs::RolledBack, EndedAs::Superseded];
    for (ended, word) in ends.into_iter().zip(["retiring", "expired", "revoked", "rolled_back", "superseded"])
    {
        assert_eq!(ended.as_str(), word);
        assert_eq!(serde_json::to_value(ended).unwrap(), word);
        assert_eq!(EndedAs::parse(word), Some(ended));
    }
    assert_eq!(EndedAs::parse("Retiring"), None);
}

#[test]
fn a_revoked_secret_stays_revoked_whatever_its_deadline() {
    for deadline in [None, Some(micros(1)), Some(micros(-1))] {
        // Also if the revocation was written by a node whose clock is ahead of this one's.
        for revoked_at in [-5, 0, 5] {
            assert_eq!(state_at(deadline, Some(micros(revoked_at)), now()), SecretState::Revoked);
        }
    }
}

#[test]
fn ended_at_is_the_end_and_only_the_end() {
    let mut secret = secret(1, Some(now()));
    assert_eq!(secret.ended_at(micros(-1)), None);
    assert_eq!(secret.ended_at(now()), Some(now()));
    secret.revoked_at = Some(micros(-7));
    assert_eq!(secret.ended_at(now()), Some(micros(-7)));
}

#[test]
fn rule_4_the_deadline_is_now_plus_the_transition() {
    for hours in [0, 1, 24, 168] {
        let plan = rotate(&[secret(1, None)], &request(hours), now()).unwrap();
        assert_eq!(plan.outgoing, id(1));
        assert_eq!(plan.outgoing_expires_at, now().after(HOUR * hours as u32));
        assert_eq!((plan.outgoing_revoked_at, plan.superseded), (None, None));
    }
}

/// A current secret has no deadline. Should a row ever have one all the same, it does not count as current.
#[test]
fn rule_4_a_secret_with_a_deadline_is_never_replaced_as_current() {
    assert_eq!(rotate(&[secret(1, Some(micros(5)))], &request(24), now()), Err(Refusal::NoCurrentSecret));
    assert_eq!(rotate(&[secret(1, Some(micros(-5)))], &request(24), now()), Err(Refusal::NoCurrentSecret));
}

#[test]
fn rule_5_a_running_transition_refuses_whatever_the_new_period() {
    let secrets = [secret(2, None), secret(1, Some(micros(1)))];
    for hours in [0, 1, 168] {
        assert_eq!(
            rotate(&secrets, &request(hours), now()),
            Err(Refusal::TransitionInProgress { retiring: id(1), expires_at: micros(1) })
        );
    }
    let ended = rotate(&secrets, &request(24), micros(1)).unwrap();
    assert_eq!(ended.superseded, None, "at its deadline nothing runs any more");
}

#[test]
fn rule_5_end_running_transition_ends_the_oldest() {
    let secrets = [secret(2, None), secret(1, Some(micros(1)))];
    let plan =
        rotate(&secrets, &RotationRequest { end_running_transition: true, ..request(24) }, now()).unwrap();
    assert_eq!((plan.superseded, plan.outgoing), (Some(id(1)), id(2)));
}

#[test]
fn rule_6_another_current_secret_than_expected_is_a_conflict() {
    let secrets = [secret(2, None), secret(1, Some(micros(1)))];
    let expecting =
        |n| RotationRequest { expected_current: Some(id(n)), end_running_transition: true, ..request(1) };
    assert_eq!(rotate(&secrets, &expecting(1), now()), Err(Refusal::RotationConflict { current: id(2) }));
    assert!(rotate(&secrets, &expecting(2), now()).is_ok());
}

/// The first refusal determines the response: a stale view is reported before a running transition.
#[test]
fn rule_6_a_conflict_is_named_before_a_running_transition() {
    let secrets = [secret(2, None), secret(1, Some(micros(1)))];
    let stale = RotationRequest { expected_current: Some(id(1)), ..request(1) };
    assert_eq!(rotate(&secrets, &stale, now()), Err(Refusal::RotationConflict { current: id(2) }));
    let compromised = RotationRequest { compromised: true, transition: TransitionHours::ZERO, ..stale };
    assert_eq!(
        rotate(&secrets, &compromised, now()),
        Err(Refusal::RotationConflict { current: id(2) }),
        "an emergency, too, ends only what the caller saw"
    );
}

#[test]
fn rule_12_compromised_needs_zero_and_revokes_and_ends_what_runs() {
    let secrets = [secret(2, None), secret(1, Some(micros(1)))];
    let compromised = |hours| RotationRequest { compromised: true, ..request(hours) };
    assert_eq!(rotate(&secrets, &compromised(1), now()), Err(Refusal::CompromisedNeedsZero));
    let plan = rotate(&secrets, &compromised(0), now()).unwrap();
    assert_eq!(plan.outgoing_revoked_at, Some(now()));
    assert_eq!(plan.superseded, Some(id(1)));
}

#[test]
fn rule_8_and_12_only_a_retiring_secret_is_revoked() {
    assert_eq!(revoke(&secret(1, Some(micros(1))), now()), Ok(()));
    assert_eq!(revoke(&secret(1, Some(now())), now()), Err(Refusal::NotRetiring));
    assert_eq!(revoke(&secret(1, None), now()), Err(Refusal::NotRetiring));
    let revoked = Secret { revoked_at: Some(micros(-1)), ..secret(1, Some(micros(1))) };
    assert_eq!(revoke(&revoked, now()), Err(Refusal::NotRetiring));
}

#[test]
fn rule_8_extension_later_than_now_later_than_before_at_most_168_hours() {
    let rotated_at = micros(-3_600_000_000);
    let before = micros(1_000);
    let at_most = rotated_at.after(HOUR * 168);
    let retiring = secret(1, Some(before));
    let out_of_range = Err(Refusal::ExtensionOutOfRange { later_than: before, at_most });
    let with = |deadline| extend(&retiring, rotated_at, deadline, now());
    assert_eq!(with(before), out_of_range);
    assert_eq!(with(micros(-1)), out_of_range);
    assert_eq!(with(micros(1_001)), Ok(()));
    assert_eq!(with(at_most), Ok(()));
    assert_eq!(with(Timestamp::from_micros(at_most.as_micros() + 1)), out_of_range);
    assert_eq!(
        extend(&retiring, rotated_at, at_most, before),
        Err(Refusal::NotRetiring),
        "an ended secret is not revived"
    );
}

#[test]
fn rule_8_only_a_retiring_secret_is_extended() {
    let with = |secret: &Secret| extend(secret, now(), micros(2), now());
    assert_eq!(with(&secret(1, Some(micros(1)))), Ok(()));
    assert_eq!(with(&secret(1, None)), Err(Refusal::NotRetiring));
    let revoked = Secret { revoked_at: Some(micros(-1)), ..secret(1, Some(micros(1))) };
    assert_eq!(with(&revoked), Err(Refusal::NotRetiring));
}

#[test]
fn rule_8_roll_back_only_the_latest_running_rotation() {
    let (outgoing, incoming) = (secret(1, Some(micros(1))), secret(2, None));
    let request = RollbackRequest {
        is_latest: true,
        decided: None,
        outgoing: &outgoing,
        incoming: &incoming,
        incoming_last_used_at: None,
        acknowledge_in_use: false,
    };
    assert_eq!(roll_back(&request, now()), Ok(()));
    assert_eq!(roll_back(&request, micros(1)), Err(Refusal::NotRetiring), "at the deadline it is too late");
    assert_eq!(
        roll_back(&RollbackRequest { is_latest: false, ..request.clone() }, now()),
        Err(Refusal::NotRetiring)
    );
    assert_eq!(
        roll_back(&RollbackRequest { decided: Some(EndedAs::RolledBack), ..request.clone() }, now()),
        Err(Refusal::NotRetiring)
    );
    let revoked = Secret { revoked_at: Some(micros(-1)), ..incoming.clone() };
    assert_eq!(
        roll_back(&RollbackRequest { incoming: &revoked, ..request.clone() }, now()),
        Err(Refusal::NotRetiring)
    );
    let used = RollbackRequest { incoming_last_used_at: Some(micros(-1)), ..request };
    assert_eq!(
        roll_back(&used, now()),
        Err(Refusal::NewerSecretInUse { newer: id(2), last_used_at: micros(-1) })
    );
    assert_eq!(roll_back(&RollbackRequest { acknowledge_in_use: true, ..used }, now()), Ok(()));
}

#[test]
fn how_a_rotation_ended_follows_from_the_deadline_unless_decided() {
    let outgoing = secret(1, Some(now()));
    assert_eq!(EndedAs::at(None, &outgoing, micros(-1)), EndedAs::Retiring);
    assert_eq!(EndedAs::at(None, &outgoing, now()), EndedAs::Expired);
    for decided in [EndedAs::Revoked, EndedAs::RolledBack, EndedAs::Superseded] {
        assert_eq!(EndedAs::at(Some(decided), &outgoing, now()), decided);
        assert_eq!(EndedAs::parse(decided.as_str()), Some(decided));
    }
    let revoked = Secret { revoked_at: Some(micros(-1)), ..outgoing };
    assert_eq!(EndedAs::at(None, &revoked, now()), EndedAs::Revoked);
}

#[test]
fn refusals_name_what_a_caller_needs() {
    let problem =
        Refusal::TransitionInProgress { retiring: id(1), expires_at: now() }.problem(Some(micros(-9)));
    assert_eq!(problem.code, Code::TransitionInProgress);
    let named = &problem.members["retiring_secret"];
    assert_eq!(named["id"], id(1).as_str());
    assert_eq!(named["expires_at"], now().to_string());
    assert_eq!(named["last_used_at"], micros(-9).to_string());
    let unused = Refusal::TransitionInProgress { retiring: id(1), expires_at: now() }.problem(None);
    assert_eq!(unused.members["retiring_secret"]["last_used_at"], serde_json::Value::Null);

    let conflict = Refusal::RotationConflict { current: id(1) }.problem(None);
    assert_eq!(conflict.members["current_secret_id"], id(1).as_str());
    assert_eq!(conflict.field.as_deref(), Some("expected_current_secret_id"));

    let range = Refusal::ExtensionOutOfRange { later_than: micros(1), at_most: micros(2) }.problem(None);
    assert_eq!(range.members["later_than"], micros(1).to_string());
    assert_eq!(range.members["at_most"], micros(2).to_string());
    assert_eq!(range.field.as_deref(), Some("expires_at"));

    let in_use = Refusal::NewerSecretInUse { newer: id(2), last_used_at: micros(-3) }.problem(None);
    assert_eq!(in_use.members["newer_secret"]["id"], id(2).as_str());
    assert_eq!(in_use.members["newer_secret"]["last_used_at"], micros(-3).to_string());
    assert_eq!(in_use.field.as_deref(), Some("acknowledge_in_use"));

    assert_eq!(Refusal::CompromisedNeedsZero.problem(None).field.as_deref(), Some("transition_hours"));
    for (refusal, code) in [
        (Refusal::RotationConflict { current: id(1) }, Code::RotationConflict),
        (Refusal::CompromisedNeedsZero, Code::CompromisedNeedsZero),
        (Refusal::NotRetiring, Code::NotRetiring),
        (Refusal::ExtensionOutOfRange { later_than: now(), at_most: now() }, Code::ExtensionOutOfRange),
        (Refusal::NewerSecretInUse { newer: id(1), last_used_at: now() }, Code::NewerSecretInUse),
        (Refusal::NoCurrentSecret, Code::Internal),
    ] {
        assert_eq!(refusal.problem(None).code, code);
    }
}

#[test]
fn without_a_current_secret_nothing_is_guessed() {
    assert_eq!(rotate(&[secret(1, Some(micros(1)))], &request(1), now()), Err(Refusal::NoCurrentSecret));
}

/// Applies a plan to the rows as the store does.
fn apply(secrets: &mut Vec<Secret>, plan: &RotationPlan, at: Timestamp) {
    for secret in secrets.iter_mut() {
        if secret.id == plan.outgoing {
            secret.expires_at = Some(plan.outgoing_expires_at);
            secret.revoked_at = plan.outgoing_revoked_at;
        }
        if Some(&secret.id) == plan.superseded.as_ref() {
            secret.revoked_at = Some(at);
        }
    }
    let next = Secret { id: id(secrets.len() + 1), created_at: at, expires_at: None, revoked_at: None };
    secrets.push(next);
}

proptest! {
    /// Rules 1 and 4 over random histories: one current, at most one retiring, and no deadline ever
    /// moves later because of a rotation.
    #[test]
    fn rules_1_and_4_hold_over_random_histories(
        steps in proptest::collection::vec((0i64..=168, any::<bool>(), any::<bool>(), 0i64..200), 1..30)
    ) {
        let mut secrets = vec![secret(1, None)];
        let mut at = now();
        for (hours, end_running_transition, compromised, wait_hours) in steps {
            at = at.after(HOUR * wait_hours as u32);
            let asked = RotationRequest { end_running_transition, compromised, ..request(hours) };
            let deadlines: Vec<_> = secrets.iter().map(|s| s.expires_at).collect();
            if let Ok(plan) = rotate(&secrets, &asked, at) {
                apply(&mut secrets, &plan, at);
            }
            for (before, after) in deadlines.iter().zip(&secrets) {
                if let Some(before) = before {
                    prop_assert!(after.expires_at.is_some_and(|after| after <= *before));
                }
            }
            let count = |state| secrets.iter().filter(|s| s.state(at) == state).count();
            prop_assert_eq!(count(SecretState::Current), 1);
            prop_assert!(count(SecretState::Retiring) <= 1);
        }
    }
}

#[test]
fn rule_15_a_value_is_wiped_from_that_many_days_after_the_end_of_its_secret() {
    let days = |days: u64| now().before(Duration::from_secs(days * 86_400));
    assert_eq!((wiped_if_ended_by(30, now()), wiped_if_ended_by(0, now())), (days(30), now()));
    assert!(wiped_if_ended_by(-1, now()) < days(3650), "a number that is none wipes nothing");
}

#[test]
fn a_bound_of_creation_finds_what_is_overdue_and_nothing_else() {
    let day = Duration::from_secs(86_400);
    let now = micros(0).after(day * 200);
    for days in [None, Some(1), Some(90), Some(199)] {
        for created in [now.before(day * 90), now.before(day * 90 - Duration::from_micros(1)), now, micros(1)]
        {
            let by_rule = is_overdue(due_at(created, days), now);
            let by_bound = overdue_if_created_by(days, now).is_some_and(|bound| created <= bound);
            assert_eq!(by_rule, by_bound, "{days:?} {created}");
        }
    }
}
