//! What keeps an incident open, and how long one is noted.

use crate::engines::on_both_engines;
use crate::harness::*;
use crossfade_core::{
    DrillId, RegistrationId, SecretId, Timestamp,
    audit::Actor,
    drill::{Drill, Pattern, StoppedAs},
    messages::{LEAK, leak_cause},
    webhook::INCIDENT,
};
use crossfade_store::DrillRow;

on_both_engines! {
    what_keeps_an_incident_open_is_known_until_it_is_over_or_its_client_is_deleted,
    an_end_that_is_not_noted_is_found_after_its_deadline,
    open_incidents_and_leaks_are_noted_for_as_long_as_they_last,
}

const DRILL: &str = "drill_0000000000000000000001";

/// Secret 1 of registration 1 retires until 50, secret 2 is current, and secret 3 was revoked. A drill ends at 40, and
/// registration 2 is disabled.
async fn seeded(t: &TestDb) {
    let drill = DrillRow {
        rule: Drill {
            id: DrillId::parse(DRILL).unwrap(),
            secret_id: secret_id(1),
            starts_at: at(10),
            pattern: Pattern::new(30, 1, None).unwrap(),
            stopped: None,
        },
        registration_id: registration_id(1),
        number: 1,
        scheduled_by: Actor::machine("init"),
        scheduled_at: at(1),
        reason: "who is left".into(),
        stopped_by: None,
    };
    t.write(async |tx| {
        seed_client(tx).await?;
        for (number, ends) in [(3, Some((at(90), Some(at(5))))), (1, Some((at(50), None))), (2, None)] {
            tx.insert_secret(&secret(number, 1, number as i64)).await?;
            if let Some((expires_at, revoked_at)) = ends {
                tx.set_secret_end(&secret_id(number), Some(expires_at), revoked_at).await?;
            }
        }
        tx.insert_drill(&drill).await?;
        tx.disable_registrations(registration_id(2).as_str(), at(6)).await
    })
    .await;
}

async fn what_keeps_an_incident_open_is_known_until_it_is_over_or_its_client_is_deleted(t: TestDb) {
    seeded(&t).await;
    let secrets: Vec<SecretId> = [1, 2, 3, 9].map(secret_id).into();
    let valid = async |now: Timestamp| {
        let found = t.read(async |tx| tx.valid_of(&secrets, now).await).await;
        let mut found: Vec<_> = found.into_iter().collect();
        found.sort();
        found
    };
    let drills = [DrillId::parse(DRILL).unwrap()];
    let running = async |now: Timestamp| t.read(async |tx| tx.running_of(&drills, now).await).await.len();
    let registrations = [registration_id(1), registration_id(2)];
    let disabled =
        async || -> Vec<RegistrationId> { t.read(async |tx| tx.disabled_of(&registrations).await).await };
    let (retiring, current) = ((secret_id(1), Some(at(50))), (secret_id(2), None));
    assert_eq!(valid(at(50).before(MICRO)).await, [retiring, current.clone()]);
    assert_eq!(valid(at(50)).await, [current]);
    assert_eq!((running(at(40).before(MICRO)).await, running(at(40)).await), (1, 0));
    assert_eq!(disabled().await, [registration_id(2)]);
    t.write(async |tx| {
        tx.stop_drill(&drills[0], (at(20), StoppedAs::Stopped), &Actor::machine("init")).await
    })
    .await;
    assert_eq!((running(at(20).before(MICRO)).await, running(at(20)).await), (1, 0));
    let nothing = t.read(async |tx| {
        Ok((tx.valid_of(&[], at(9)).await?, tx.running_of(&[], at(9)).await?, tx.disabled_of(&[]).await?))
    });
    assert_eq!(nothing.await, Default::default());
    t.write(async |tx| tx.delete_client(&client_id(1), at(9)).await).await;
    assert_eq!((valid(at(9)).await, running(at(9)).await, disabled().await), Default::default());
}

async fn an_end_that_is_not_noted_is_found_after_its_deadline(t: TestDb) {
    seeded(&t).await;
    let unended = async || {
        let rows = t.read(async |tx| tx.unended_secrets(&registration_id(1)).await).await;
        rows.into_iter().map(|row| row.id).collect::<Vec<_>>()
    };
    assert_eq!(unended().await, [2, 1].map(secret_id), "however late it is");
    t.write(async |tx| tx.note_expiry(&secret_id(1), at(60)).await).await;
    assert_eq!(unended().await, [secret_id(2)]);
    t.write(async |tx| tx.end_all_secrets(&registration_id(1), at(70)).await).await;
    assert_eq!(unended().await, [] as [SecretId; 0]);
}

async fn open_incidents_and_leaks_are_noted_for_as_long_as_they_last(t: TestDb) {
    let leak = leak_cause(&secret_id(1));
    t.write(async |tx| {
        tx.tell_once_about(LEAK, &leak, at(1)).await?;
        tx.tell_once_about(INCIDENT, "incident a", at(1)).await?;
        tx.tell_once_about("usr_1", "network x", at(1)).await?;
        tx.tell_once("presented x", at(1)).await?;
        // A leak of an earlier version.
        tx.tell_once(&leak_cause(&secret_id(2)), at(1)).await
    })
    .await;
    let noted = async || t.read(async |tx| tx.noted_incidents().await).await;
    assert_eq!(noted().await, ["incident a".to_owned(), leak.clone()]);
    assert_eq!(t.write(async |tx| tx.forget_told(at(99)).await).await, 2);
    assert_eq!(noted().await, ["incident a".to_owned(), leak.clone()]);
    assert_eq!(t.place.number("SELECT COUNT(*) FROM told").await, 3);
    t.write(async |tx| tx.end_told(&leak).await).await;
    assert_eq!(noted().await, ["incident a"]);
}
