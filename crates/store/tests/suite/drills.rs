//! Drills as they are stored, and as the authority loads them.

use crate::engines::on_both_engines;
use crate::harness::*;
use crossfade_core::{
    DrillId, Timestamp,
    audit::Actor,
    drill::{Drill, Pattern, StoppedAs},
};
use crossfade_store::{
    DrillCounts, DrillRow, RefusedCallerRow, Registration, SecretWindows, StoreError, Usage, UsageSource,
};

on_both_engines! {
    a_drill_comes_back_as_it_was_stored_and_as_it_was_stopped,
    the_authority_loads_the_windows_of_the_last_drill_of_a_retiring_secret,
    pages_join_each_registration_with_its_own_windows,
    callers_add_up_and_beyond_the_cap_are_gathered_without_loss,
    a_drill_is_untold_from_its_end_on_until_it_is_told,
    a_pattern_that_no_rule_lets_through_is_a_corrupt_row,
}

fn drill_id(n: usize) -> DrillId {
    DrillId::parse(&format!("drill_{n:022}")).unwrap()
}

/// A drill of a secret of registration 1: two windows of a minute, ten minutes apart.
fn drill(n: usize, secret: usize, starts_at: Timestamp) -> DrillRow {
    DrillRow {
        rule: Drill {
            id: drill_id(n),
            secret_id: secret_id(secret),
            starts_at,
            pattern: Pattern::new(60, 2, Some(600)).unwrap(),
            stopped: None,
        },
        registration_id: registration_id(1),
        number: n as i64,
        scheduled_by: Actor::machine("init"),
        scheduled_at: at(1),
        reason: "who is left".into(),
        stopped_by: None,
    }
}

/// Client 1 whose secret 1 in staging retires until 5000, and secret 2 is current.
async fn seeded(t: &TestDb) {
    t.write(async |tx| {
        seed_client(tx).await?;
        tx.insert_secret(&secret(1, 1, 1)).await?;
        tx.set_secret_end(&secret_id(1), Some(at(5000)), None).await?;
        tx.insert_secret(&secret(2, 1, 2)).await
    })
    .await;
}

fn caller(drill: usize, ip: &str, first: u32, last: u32, count: i64) -> RefusedCallerRow {
    RefusedCallerRow {
        secret_id: secret_id(1),
        drill_id: Some(drill_id(drill)),
        source: UsageSource { ip: ip.into(), user_agent: "curl".into(), ..UsageSource::default() },
        refusals: Usage { first_used_at: at(first), last_used_at: at(last), use_count: count },
    }
}

async fn windows(t: &TestDb) -> Vec<SecretWindows> {
    whole(t.read(async |tx| tx.verifier(&registration_id(1)).await).await.unwrap()).unwrap().windows
}

async fn a_drill_comes_back_as_it_was_stored_and_as_it_was_stopped(t: TestDb) {
    seeded(&t).await;
    let (one, two) = (drill(1, 1, at(10)), drill(2, 1, at(2000)));
    t.write(async |tx| {
        tx.insert_drill(&one).await?;
        tx.insert_drill(&two).await
    })
    .await;
    let listed = t.read(async |tx| tx.drills(&registration_id(1), &first(10)).await).await;
    assert_eq!(listed.iter().map(|row| row.number).collect::<Vec<_>>(), [2, 1], "the newest first");
    assert_eq!((&listed[1].rule, &listed[1].reason), (&one.rule, &one.reason));
    let next = t.read(async |tx| tx.drills(&registration_id(1), &after(2, "", 10)).await).await;
    assert_eq!(next.len(), 1);
    let elsewhere = t.read(async |tx| tx.drill(&registration_id(2), &drill_id(1)).await).await;
    assert!(elsewhere.is_none(), "another registration has no such drill");

    let by = Actor::policy("x", "X");
    t.write(async |tx| tx.stop_drill(&drill_id(2), (at(2030), StoppedAs::RolledBack), &by).await).await;
    let stopped = t.read(async |tx| tx.latest_drill(&secret_id(1)).await).await.unwrap();
    assert_eq!(
        (stopped.rule.id, stopped.rule.stopped),
        (drill_id(2), Some((at(2030), StoppedAs::RolledBack)))
    );
    assert_eq!(stopped.stopped_by, Some(by));
    assert_eq!(t.read(async |tx| tx.newest_drill_number(&registration_id(1)).await).await, 2);
    assert_eq!(t.read(async |tx| tx.newest_drill_number(&registration_id(2)).await).await, 0);
}

async fn the_authority_loads_the_windows_of_the_last_drill_of_a_retiring_secret(t: TestDb) {
    seeded(&t).await;
    assert!(windows(&t).await.is_empty());
    let (one, two) = (drill(1, 1, at(10)), drill(2, 1, at(2000)));
    t.write(async |tx| tx.insert_drill(&one).await).await;
    let expected = |row: &DrillRow| {
        let (secret_id, drill_id) = (row.rule.secret_id.clone(), row.rule.id.clone());
        SecretWindows { secret_id, drill_id, windows: row.rule.windows() }
    };
    assert_eq!(windows(&t).await, [expected(&one)]);
    assert_eq!(expected(&one).windows.len(), 2);
    t.write(async |tx| tx.insert_drill(&two).await).await;
    assert_eq!(windows(&t).await, [expected(&two)]);
    let stop = (at(2030), StoppedAs::Stopped);
    t.write(async |tx| tx.stop_drill(&drill_id(2), stop, &Actor::machine("init")).await).await;
    let cut = windows(&t).await;
    assert_eq!(cut[0].windows.iter().map(|it| (it.from, it.to)).collect::<Vec<_>>(), [(at(2000), at(2030))]);
    // As a rollback leaves it: the newer secret is revoked.
    t.write(async |tx| tx.set_secret_end(&secret_id(2), Some(at(2040)), Some(at(2040))).await).await;
    for (expires_at, revoked_at) in [(None, None), (Some(at(5000)), Some(at(2040)))] {
        t.write(async |tx| tx.set_secret_end(&secret_id(1), expires_at, revoked_at).await).await;
        assert!(windows(&t).await.is_empty(), "only a retiring secret is drilled");
    }
}

/// Ids that differ in case alone come in the database's own order, in which windows are joined to registrations.
async fn pages_join_each_registration_with_its_own_windows(t: TestDb) {
    let letters: Vec<char> = "aAbBcC019zZyY".chars().collect();
    t.write(async |tx| {
        seed(tx).await?;
        for (n, letter) in letters.iter().enumerate() {
            tx.insert_client(&client(n + 1, &format!("client {n}"))).await?;
            let id = crossfade_core::RegistrationId::parse(&format!("reg_{letter:0>22}")).unwrap();
            let registered = Registration {
                id: id.clone(),
                oauth_client_id: crossfade_core::OauthClientId::parse(&format!("{letter:0>22}")).unwrap(),
                ..registration(1, n + 1, "staging")
            };
            tx.insert_registration(&registered).await?;
            tx.insert_secret(&crossfade_store::SecretRow {
                registration_id: id.clone(),
                ..secret(n + 1, 1, 1)
            })
            .await?;
            tx.set_secret_end(&secret_id(n + 1), Some(at(5000)), None).await?;
            if n % 3 != 1 {
                let row = DrillRow { registration_id: id, number: 1, ..drill(n + 1, n + 1, at(10)) };
                tx.insert_drill(&row).await?;
            }
        }
        Ok(())
    })
    .await;
    for limit in [1, 2, 5, 100] {
        let (mut last, mut seen) = (None::<String>, 0);
        loop {
            let page = t.read(async |tx| tx.verifiers(last.as_deref(), limit).await).await;
            let Some(row) = page.last() else { break };
            last = Some(row.id.clone());
            for row in page.into_iter().map(|it| whole(it).unwrap()) {
                let own: Vec<_> = row.windows.iter().map(|it| &it.secret_id).collect();
                let drilled =
                    letters.iter().position(|it| row.registration_id.as_str().ends_with(*it)).unwrap() % 3
                        != 1;
                assert_eq!(
                    own,
                    row.secrets.iter().map(|it| &it.rule.id).filter(|_| drilled).collect::<Vec<_>>()
                );
                seen += own.len();
            }
        }
        assert_eq!(seen, 9, "{limit} at once");
    }
}

async fn callers_add_up_and_beyond_the_cap_are_gathered_without_loss(t: TestDb) {
    seeded(&t).await;
    t.write(async |tx| {
        tx.insert_drill(&drill(1, 1, at(10))).await?;
        tx.insert_drill(&drill(2, 1, at(2000))).await?;
        // In one flush and in another: rows of one flush differ, those of two need not.
        tx.add_refused_callers(
            &[
                caller(1, "192.0.2.1", 12, 14, 2),
                caller(1, "192.0.2.2", 20, 20, 1),
                caller(1, "192.0.2.3", 21, 22, 5),
            ],
            2,
        )
        .await?;
        tx.add_refused_callers(
            &[
                caller(1, "192.0.2.1", 11, 13, 3),
                caller(1, "192.0.2.4", 15, 30, 7),
                caller(1, "192.0.2.2", 25, 25, 1),
                caller(2, "192.0.2.1", 2001, 2001, 1),
            ],
            2,
        )
        .await?;
        Ok(())
    })
    .await;
    let counts = t.read(async |tx| tx.drill_counts(&drill_id(1)).await).await;
    assert_eq!(counts, DrillCounts { callers: 3, refusals: 19 });
    let rows = t.read(async |tx| tx.drill_callers(&drill_id(1), 10).await).await;
    let told: Vec<_> = rows
        .iter()
        .map(|row| (&*row.source.ip, row.source.gathered, row.refusals.first_used_at, row.refusals.use_count))
        .collect();
    assert_eq!(
        told,
        [("", true, at(15), 12), ("192.0.2.2", false, at(20), 2), ("192.0.2.1", false, at(11), 5)],
        "who was refused last comes first"
    );
    assert_eq!(t.read(async |tx| tx.drill_callers(&drill_id(1), 1).await).await.len(), 1);
    assert_eq!(t.read(async |tx| tx.refused_callers_of_secrets(&[&secret_id(1)]).await).await.len(), 4);
    assert!(t.read(async |tx| tx.refused_callers_of_secrets(&[&secret_id(2)]).await).await.is_empty());
    // Whom the settings refused is found by the secret alone, and has a cap of its own.
    let by_settings = |ip, second| RefusedCallerRow { drill_id: None, ..caller(1, ip, second, second, 1) };
    let rows = [by_settings("192.0.2.1", 40), by_settings("192.0.2.5", 41), by_settings("192.0.2.6", 42)];
    t.write(async |tx| tx.add_refused_callers(&rows, 2).await).await;
    let of_secret = t.read(async |tx| tx.refused_callers_of_secrets(&[&secret_id(1)]).await).await;
    let outside: Vec<_> = of_secret.iter().filter(|it| it.drill_id.is_none()).collect();
    assert_eq!((of_secret.len(), outside.len()), (7, 3));
    assert!(outside.iter().any(|it| it.source.gathered && it.refusals.last_used_at == at(42)));
    let counts = t.read(async |tx| tx.drill_counts(&drill_id(1)).await).await;
    assert_eq!(counts, DrillCounts { callers: 3, refusals: 19 });
    let none = t.read(async |tx| tx.drill_counts(&drill_id(3)).await).await;
    assert_eq!(none, DrillCounts { callers: 0, refusals: 0 });
}

async fn a_drill_is_untold_from_its_end_on_until_it_is_told(t: TestDb) {
    seeded(&t).await;
    t.write(async |tx| {
        tx.insert_drill(&drill(1, 1, at(10))).await?;
        tx.insert_drill(&drill(2, 1, at(2000))).await?;
        tx.stop_drill(&drill_id(2), (at(2010), StoppedAs::Stopped), &Actor::machine("init")).await
    })
    .await;
    let untold = async |before| -> Vec<DrillId> {
        let rows = t.read(async |tx| tx.untold_drills(before, 10).await).await;
        rows.into_iter().map(|row| row.rule.id).collect()
    };
    assert!(untold(at(669)).await.is_empty());
    assert_eq!(untold(at(670)).await, [drill_id(1)]);
    assert_eq!(untold(at(2010)).await, [drill_id(1), drill_id(2)], "a stopped one from its stop on");
    t.write(async |tx| tx.drill_told(&drill_id(1), at(3000)).await).await;
    assert_eq!(untold(at(9000)).await, [drill_id(2)]);
}

async fn a_pattern_that_no_rule_lets_through_is_a_corrupt_row(t: TestDb) {
    seeded(&t).await;
    t.write(async |tx| tx.insert_drill(&drill(1, 1, at(10))).await).await;
    for (column, value, told) in [
        ("length_seconds", "86400", "length_seconds"),
        ("repeat_count", "1000000000", "length_seconds"),
        ("stopped_as", "'unknown'", "stopped_as"),
    ] {
        t.place.raw(&format!("UPDATE drills SET {column} = {value}")).await;
        let read = t.try_read(async |tx| tx.drill(&registration_id(1), &drill_id(1)).await).await;
        assert!(
            matches!(&read, Err(StoreError::Corrupt { table: "drills", column, .. }) if column == told),
            "{column}: {read:?}"
        );
        let whole = drill(1, 1, at(10)).rule.pattern;
        t.place
            .raw(&format!(
                "UPDATE drills SET length_seconds = {}, repeat_count = {}, stopped_as = NULL",
                whole.length_seconds(),
                whole.repeat()
            ))
            .await;
    }
}
