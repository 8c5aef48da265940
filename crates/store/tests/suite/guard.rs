//! Deadlines that are near, and what was told of them.

use crate::engines::on_both_engines;
use crate::harness::*;
use crossfade_core::{
    Timestamp,
    guard::{Guarded, Mark},
    rotation::EndedAs,
};
use crossfade_store::{DeadlineWarning, Environment, NearDeadline, Registration, StoreError};

on_both_engines! {
    deadlines_between_two_times_are_listed_page_by_page_with_what_the_rules_look_at,
    what_has_ended_is_disabled_or_deleted_has_no_near_deadline,
    a_secret_that_was_made_current_again_and_retires_anew_is_listed_once_with_its_last_rotation,
    each_mark_of_a_deadline_is_noted_once_and_another_deadline_has_its_own,
    warned_secrets_are_counted_by_their_most_urgent_warning,
}

/// Client 1: in staging secret 1 retires until 5000, in production secret 3 until 5000, too.
async fn seeded(t: &TestDb) {
    t.write(async |tx| {
        seed_client(tx).await?;
        for (registration, old) in [(1, 1), (2, 3)] {
            tx.insert_secret(&secret(old, registration, 1)).await?;
            tx.set_secret_end(&secret_id(old), Some(at(5000)), None).await?;
            tx.insert_secret(&secret(old + 1, registration, 2)).await?;
            tx.insert_rotation(&rotation(old, registration, 1, old, old + 1)).await?;
        }
        Ok(())
    })
    .await;
}

async fn near(t: &TestDb, now: Timestamp, until: Timestamp) -> Vec<NearDeadline> {
    let (mut found, mut page) = (Vec::new(), first(1));
    loop {
        let (rows, next) = t.read(async |tx| tx.near_deadlines((now, until), &page).await).await;
        found.extend(rows.into_iter().map(Result::unwrap));
        let Some((at, id)) = next else { return found };
        page = after(at, &id, 1);
    }
}

async fn deadlines_between_two_times_are_listed_page_by_page_with_what_the_rules_look_at(t: TestDb) {
    seeded(&t).await;
    t.write(async |tx| {
        let policy = Environment { guard_extension_hours: Some(12), ..environment("production", 2) };
        tx.update_environment(&policy).await
    })
    .await;
    let found = near(&t, at(4999), at(5000)).await;
    let rule = Guarded {
        rotated_at: at(1),
        deadline: at(5000),
        compromised: false,
        told: None,
        extension_hours: None,
    };
    let staging = NearDeadline {
        rule,
        secret_id: secret_id(1),
        rotation_id: rotation_id(1),
        registration_id: registration_id(1),
        client_id: client_id(1),
        client: name("Billing"),
        property_id: property_id(1),
        environment: slug("staging"),
    };
    assert_eq!(found[0], staging);
    let production = Guarded { rotated_at: at(3), extension_hours: Some(12), ..rule };
    assert_eq!((found.len(), &found[1].secret_id, found[1].rule), (2, &secret_id(3), production));
    // From the deadline on, and before its time, there is nothing.
    assert!(near(&t, at(5000), at(9000)).await.is_empty());
    assert!(near(&t, at(0), at(5000).before(MICRO)).await.is_empty());
    let times = (at(0), at(9000));
    let one = async |n| t.read(async |tx| tx.near_deadline(times, &secret_id(n)).await).await;
    assert_eq!((one(1).await, one(2).await), (Some(staging), None));
}

async fn what_has_ended_is_disabled_or_deleted_has_no_near_deadline(t: TestDb) {
    seeded(&t).await;
    let count = async || near(&t, at(0), at(9000)).await.len();
    t.write(async |tx| tx.set_secret_end(&secret_id(1), Some(at(5000)), Some(at(10))).await).await;
    assert_eq!(count().await, 1);
    let disabled = |disabled_at| Registration { disabled_at, ..registration(2, 1, "production") };
    t.write(async |tx| tx.update_registration(&disabled(Some(at(10)))).await).await;
    assert_eq!(count().await, 0);
    t.write(async |tx| tx.update_registration(&disabled(None)).await).await;
    assert_eq!(count().await, 1);
    t.write(async |tx| tx.delete_client(&client_id(1), at(10)).await).await;
    assert_eq!(count().await, 0);
}

async fn a_secret_that_was_made_current_again_and_retires_anew_is_listed_once_with_its_last_rotation(
    t: TestDb,
) {
    seeded(&t).await;
    t.write(async |tx| {
        tx.decide_rotation(&registration_id(1), &secret_id(1), EndedAs::RolledBack, at(10)).await?;
        tx.set_secret_end(&secret_id(2), Some(at(10)), Some(at(10))).await?;
        tx.insert_secret(&secret(5, 1, 3)).await?;
        tx.insert_rotation(&rotation(20, 1, 2, 1, 5)).await
    })
    .await;
    let found = near(&t, at(0), at(9000)).await;
    let of_secret: Vec<_> = found.iter().filter(|it| it.secret_id == secret_id(1)).collect();
    assert_eq!((of_secret.len(), &of_secret[0].rotation_id), (1, &rotation_id(20)));
}

async fn each_mark_of_a_deadline_is_noted_once_and_another_deadline_has_its_own(t: TestDb) {
    seeded(&t).await;
    let tell = async |deadline, mark, now| {
        t.try_write(async |tx| tx.insert_deadline_warning(&rotation_id(1), (deadline, mark), now).await).await
    };
    let told = async || {
        let all = near(&t, at(0), at(9000)).await;
        all.iter().find(|it| it.secret_id == secret_id(1)).unwrap().rule.told
    };
    tell(at(5000), Mark::FourHours, at(20)).await.unwrap();
    tell(at(5000), Mark::OneHour, at(30)).await.unwrap();
    assert_eq!(told().await, Some(Mark::OneHour), "the most urgent one");
    assert!(matches!(tell(at(5000), Mark::OneHour, at(40)).await, Err(StoreError::Duplicate)));
    t.write(async |tx| {
        tx.deadline_extended(&rotation_id(1), (at(5000), Mark::OneHour), at(9000)).await?;
        tx.set_secret_end(&secret_id(1), Some(at(9000)), None).await
    })
    .await;
    assert_eq!(told().await, None, "of the new deadline nobody was told");
    tell(at(9000), Mark::OneHour, at(50)).await.unwrap();

    let warnings =
        async |n, limit| t.read(async |tx| tx.deadline_warnings(&rotation_id(n), limit).await).await;
    let warning = |deadline, mark, told_at, extended_to| DeadlineWarning {
        deadline: at(deadline),
        mark,
        told_at: at(told_at),
        extended_to,
    };
    let all = [
        warning(9000, Mark::OneHour, 50, None),
        warning(5000, Mark::OneHour, 30, Some(at(9000))),
        warning(5000, Mark::FourHours, 20, None),
    ];
    assert_eq!(warnings(1, 9).await, all);
    assert_eq!(warnings(1, 1).await, all[..1]);
    assert!(warnings(3, 9).await.is_empty(), "another rotation has none");
}

async fn warned_secrets_are_counted_by_their_most_urgent_warning(t: TestDb) {
    seeded(&t).await;
    let counts = async |now| {
        t.read(async |tx| tx.warned_secrets(at(now)).await)
            .await
            .map(|(mark, secrets)| (mark.hours(), secrets))
    };
    let warn = async |n, deadline, mark| {
        t.write(async |tx| tx.insert_deadline_warning(&rotation_id(n), (at(deadline), mark), at(20)).await)
            .await;
    };
    assert_eq!(counts(10).await, [(1, 0), (4, 0), (24, 0)]);
    warn(1, 5000, Mark::OneDay).await;
    warn(3, 5000, Mark::OneDay).await;
    assert_eq!(counts(10).await, [(1, 0), (4, 0), (24, 2)]);
    warn(1, 5000, Mark::OneHour).await;
    assert_eq!(counts(10).await, [(1, 1), (4, 0), (24, 1)]);
    assert_eq!(counts(5000).await, [(1, 0), (4, 0), (24, 0)], "the deadlines have passed");
    // The warnings were for the earlier deadline.
    t.write(async |tx| tx.set_secret_end(&secret_id(1), Some(at(9000)), None).await).await;
    assert_eq!(counts(10).await, [(1, 0), (4, 0), (24, 1)]);
    let disabled = Registration { disabled_at: Some(at(10)), ..registration(2, 1, "production") };
    t.write(async |tx| tx.update_registration(&disabled).await).await;
    assert_eq!(counts(10).await, [(1, 0), (4, 0), (24, 0)]);
}
