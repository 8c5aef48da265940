//! Secrets and rotations.

use crate::engines::on_both_engines;
use crate::harness::*;
use crossfade_core::{
    SecretId, Timestamp, TransitionHours,
    audit::Actor,
    rotation::{self, EndedAs, SecretState},
    secret::SecretOrigin,
};
use crossfade_store::{Rotation, Secret, SecretRow, StoreError, Usage};

on_both_engines! {
    a_second_current_secret_is_a_duplicate_rule_1,
    a_number_is_given_once_in_a_registration,
    a_secret_survives_storage_with_its_use,
    secrets_are_listed_newest_first_page_by_page,
    what_the_rules_look_at_is_what_is_valid_rule_2,
    ending_all_secrets_of_a_registration_revokes_the_valid_ones_and_wipes_every_value_rule_14,
    a_show_once_environment_loses_its_stored_values_and_no_other,
    values_are_wiped_when_their_secrets_have_been_ended_long_enough_rule_15,
    an_expiry_is_found_at_the_deadline_and_noted_once,
    leaked_secrets_and_ended_tokens_are_marked,
    a_rotation_survives_storage_whoever_made_it,
    the_history_is_listed_newest_first_page_by_page,
    a_rotation_is_decided_once_and_only_the_one_that_is_meant,
    the_schema_refuses_a_transition_beyond_168_hours_rule_9,
    no_secret_of_a_missing_registration,
}

const NONE: [SecretId; 0] = [];

async fn get(t: &TestDb, registration: usize, n: usize) -> Secret {
    let found = t.read(async |tx| tx.secret(&registration_id(registration), &secret_id(n)).await).await;
    found.unwrap_or_else(|| panic!("secret {n} is not there"))
}

/// Sets the end of secret `n`: its deadline and its revocation.
async fn end(t: &TestDb, n: usize, expires_at: Option<Timestamp>, revoked_at: Option<Timestamp>) {
    t.write(async |tx| tx.set_secret_end(&secret_id(n), expires_at, revoked_at).await).await;
}

async fn insert(t: &TestDb, secrets: impl IntoIterator<Item = SecretRow>) {
    for row in secrets {
        t.write(async |tx| tx.insert_secret(&row).await).await;
    }
}

async fn a_second_current_secret_is_a_duplicate_rule_1(t: TestDb) {
    t.write(seed_client).await;
    insert(&t, [secret(1, 1, 1)]).await;
    let second = t.try_write(async |tx| tx.insert_secret(&secret(2, 1, 2)).await).await;
    assert!(matches!(second, Err(StoreError::Duplicate)), "{second:?}");
    insert(&t, [secret(3, 2, 1)]).await;
    end(&t, 1, Some(at(50)), None).await;
    insert(&t, [secret(2, 1, 2)]).await;
    let again = t.try_write(async |tx| tx.set_secret_end(&secret_id(1), None, None).await).await;
    assert!(matches!(again, Err(StoreError::Duplicate)), "nor can another one be made current: {again:?}");
    // Roll back: the newer one is revoked first, then the older one is current again.
    t.write(async |tx| {
        tx.set_secret_end(&secret_id(2), None, Some(at(20))).await?;
        tx.set_secret_end(&secret_id(1), None, None).await
    })
    .await;
    let state = get(&t, 1, 1).await.rule.state(at(1_000_000));
    assert_eq!(state, SecretState::Current);
}

async fn a_number_is_given_once_in_a_registration(t: TestDb) {
    t.write(seed_client).await;
    let newest = async |n| t.read(async |tx| tx.newest_secret_number(&registration_id(n)).await).await;
    assert_eq!(newest(1).await, 0);
    insert(&t, [secret(1, 1, 1)]).await;
    end(&t, 1, Some(at(9)), None).await;
    let same = t.try_write(async |tx| tx.insert_secret(&secret(2, 1, 1)).await).await;
    assert!(matches!(same, Err(StoreError::Duplicate)), "{same:?}");
    insert(&t, [secret(2, 1, 10), secret(3, 2, 1)]).await;
    assert_eq!((newest(1).await, newest(2).await), (10, 1));
}

async fn a_secret_survives_storage_with_its_use(t: TestDb) {
    t.write(seed_client).await;
    let expected = Secret {
        rule: rotation::Secret { id: secret_id(1), created_at: at(1), expires_at: None, revoked_at: None },
        number: 1,
        sealed: Some(vec![0, 255, 1]),
        usage: None,
        origin: SecretOrigin::Generated,
    };
    insert(&t, [secret(1, 1, 1), SecretRow { sealed: None, ..secret(2, 2, 1) }]).await;
    assert_same(&get(&t, 1, 1).await, &expected);
    assert_eq!(get(&t, 2, 2).await.sealed, None, "shown once");
    let used = Usage { first_used_at: at(3), last_used_at: at(4), use_count: i64::from(u32::MAX) * 2 };
    add_uses(&t, 1, used).await;
    let deadline = at(7).after(MICRO);
    end(&t, 1, Some(deadline), Some(at(6))).await;
    let mut changed = Secret { usage: Some(used), ..expected };
    (changed.rule.expires_at, changed.rule.revoked_at) = (Some(deadline), Some(at(6)));
    assert_same(&get(&t, 1, 1).await, &changed);
    let other = t.read(async |tx| tx.secret(&registration_id(2), &secret_id(1)).await).await;
    assert!(other.is_none(), "another registration's secret is not there");
    let owner = async |n| t.read(async |tx| tx.registration_of_secret(&secret_id(n)).await).await;
    assert_eq!((owner(1).await, owner(9).await), (Some(registration_id(1)), None));
}

async fn secrets_are_listed_newest_first_page_by_page(t: TestDb) {
    t.write(seed_client).await;
    for n in 1..=5 {
        insert(&t, [secret(n, 1, n as i64)]).await;
        end(&t, n, Some(at(50)), None).await;
    }
    insert(&t, [secret(9, 2, 3)]).await;
    let (mut page, mut seen) = (first(2), Vec::new());
    loop {
        let rows = t.read(async |tx| tx.secrets(&registration_id(1), &page).await).await;
        let Some(last) = rows.last() else { break };
        page = after(last.number, last.rule.id.as_str(), 2);
        seen.extend(rows.into_iter().map(|row| row.rule.id));
        // A rotation meanwhile stands above the page and moves nothing below it.
        let number = 10 + seen.len();
        insert(&t, [secret(number, 1, number as i64)]).await;
        end(&t, number, Some(at(50)), None).await;
    }
    assert_eq!(seen, [5, 4, 3, 2, 1].map(secret_id));
}

async fn what_the_rules_look_at_is_what_is_valid_rule_2(t: TestDb) {
    t.write(seed_client).await;
    insert(&t, [secret(1, 1, 1)]).await;
    end(&t, 1, Some(at(50)), None).await;
    insert(&t, [secret(2, 1, 2)]).await;
    end(&t, 2, Some(at(500)), Some(at(9))).await;
    insert(&t, [secret(3, 1, 3), secret(4, 2, 1)]).await;
    let open = async |now| {
        let rows = t.read(async |tx| tx.open_secrets(&registration_id(1), now).await).await;
        rows.into_iter().map(|row| row.id).collect::<Vec<_>>()
    };
    assert_eq!(open(at(50).before(MICRO)).await, [3, 1].map(secret_id));
    assert_eq!(open(at(50)).await, [secret_id(3)], "until but not at the deadline");
}

async fn ending_all_secrets_of_a_registration_revokes_the_valid_ones_and_wipes_every_value_rule_14(
    t: TestDb,
) {
    t.write(seed_client).await;
    // Expired, revoked, retiring, current; and another registration's.
    for (n, expires_at, revoked_at) in
        [(1, Some(at(10)), None), (2, Some(at(90)), Some(at(11))), (3, Some(at(90)), None)]
    {
        insert(&t, [secret(n, 1, n as i64)]).await;
        end(&t, n, expires_at, revoked_at).await;
    }
    insert(&t, [secret(4, 1, 4), secret(5, 2, 1)]).await;
    t.write(async |tx| tx.end_all_secrets(&registration_id(1), at(20)).await).await;
    for (n, expires_at, revoked_at) in [
        (1, Some(at(10)), None),
        (2, Some(at(90)), Some(at(11))),
        (3, Some(at(90)), Some(at(20))),
        (4, Some(at(20)), Some(at(20))),
    ] {
        let secret = get(&t, 1, n).await;
        assert_eq!((secret.rule.expires_at, secret.rule.revoked_at), (expires_at, revoked_at), "{n}");
        assert_eq!(secret.sealed, None, "{n}");
        assert!(!secret.rule.state(at(20)).is_valid(), "{n}");
    }
    let other = get(&t, 2, 5).await;
    assert!(other.sealed.is_some() && other.rule.state(at(20)) == SecretState::Current);
    assert!(t.read(async |tx| tx.open_secrets(&registration_id(1), at(20)).await).await.is_empty());
}

async fn a_show_once_environment_loses_its_stored_values_and_no_other(t: TestDb) {
    t.write(seed_client).await;
    insert(&t, [secret(1, 1, 1), secret(2, 2, 1)]).await;
    let wipe = async || t.write(async |tx| tx.wipe_environment(&slug("staging")).await).await;
    assert_eq!((wipe().await, wipe().await), (1, 0));
    assert_eq!(get(&t, 1, 1).await.sealed, None);
    assert!(get(&t, 2, 2).await.sealed.is_some());
}

async fn values_are_wiped_when_their_secrets_have_been_ended_long_enough_rule_15(t: TestDb) {
    t.write(seed_client).await;
    // Expired at 10; revoked at 20, long before its deadline; retiring; current.
    for (n, expires_at, revoked_at) in
        [(1, Some(at(10)), None), (2, Some(at(9000)), Some(at(20))), (3, Some(at(9000)), None)]
    {
        insert(&t, [secret(n, 1, n as i64)]).await;
        end(&t, n, expires_at, revoked_at).await;
    }
    insert(&t, [secret(4, 1, 4), secret(5, 2, 1)]).await;
    end(&t, 5, Some(at(1)), None).await;
    let wipe = async |before| t.write(async |tx| tx.wipe_ended_secrets(&slug("staging"), before).await).await;
    assert_eq!(wipe(at(10).before(MICRO)).await, NONE);
    assert_eq!(wipe(at(10)).await, [secret_id(1)]);
    assert_eq!(wipe(at(20).before(MICRO)).await, NONE, "each is told once");
    assert_eq!(wipe(at(20)).await, [secret_id(2)]);
    assert_eq!(wipe(at(8999)).await, NONE);
    assert!(get(&t, 1, 3).await.sealed.is_some() && get(&t, 1, 4).await.sealed.is_some());
    assert!(get(&t, 2, 5).await.sealed.is_some(), "another environment has a time of its own");
}

async fn an_expiry_is_found_at_the_deadline_and_noted_once(t: TestDb) {
    t.write(seed_client).await;
    for (n, expires_at, revoked_at) in [
        (1, Some(at(30)), None),
        (2, Some(at(10)), None),
        (3, Some(at(5)), Some(at(4))),
        (4, Some(at(20)), None),
    ] {
        insert(&t, [secret(n, 1, n as i64)]).await;
        end(&t, n, expires_at, revoked_at).await;
    }
    insert(&t, [secret(5, 1, 5)]).await;
    let expired = async |now, limit| {
        let rows = t.read(async |tx| tx.expired_secrets(now, limit).await).await;
        rows.into_iter().map(|row| row.secret_id).collect::<Vec<_>>()
    };
    assert_eq!(expired(at(10).before(MICRO), 10).await, NONE, "a revoked one never expires");
    let found = t.read(async |tx| tx.expired_secrets(at(10), 10).await).await;
    assert_eq!(found.len(), 1);
    let row = &found[0];
    assert_eq!((&row.secret_id, row.expires_at), (&secret_id(2), at(10)));
    assert_eq!((&row.client_id, row.environment.as_str()), (&client_id(1), "staging"));
    assert_eq!(expired(at(99), 2).await, [2, 4].map(secret_id), "the oldest first");
    t.write(async |tx| tx.note_expiry(&secret_id(2), at(99)).await).await;
    assert_eq!(expired(at(99), 10).await, [4, 1].map(secret_id));
}

async fn leaked_secrets_and_ended_tokens_are_marked(t: TestDb) {
    t.write(seed_client).await;
    insert(&t, [secret(1, 1, 1), secret(2, 2, 1)]).await;
    t.write(async |tx| {
        tx.mark_secret_compromised(&secret_id(1), at(7)).await?;
        tx.revoke_tokens_of_secret(&secret_id(1), at(10)).await
    })
    .await;
    let micros = at(7).as_micros();
    let marked =
        format!("SELECT COUNT(*) FROM secrets WHERE compromised_at = {micros} AND id = '{}'", secret_id(1));
    assert_eq!(t.place.number(&marked).await, 1);
    assert_eq!(t.place.number("SELECT COUNT(*) FROM secrets WHERE compromised_at IS NOT NULL").await, 1);
    let all = t.read(async |tx| tx.secrets_with_revoked_tokens().await).await;
    let all = all.into_iter().collect::<Result<Vec<_>, _>>().unwrap();
    assert_eq!(all, [(secret_id(1), at(10))]);
    let of = async |n| t.read(async |tx| tx.tokens_of_secret_revoked(&secret_id(n)).await).await;
    assert_eq!(of(1).await, Some((secret_id(1), at(10))));
    assert_eq!((of(2).await, of(9).await), (None, None));
}

/// The secrets that rotations point to, all ended but the last.
async fn secrets_of_registration_1(t: &TestDb, count: usize) {
    for n in 1..=count {
        insert(t, [secret(n, 1, n as i64)]).await;
        if n < count {
            end(t, n, Some(at(n as u32)), None).await;
        }
    }
}

async fn a_rotation_survives_storage_whoever_made_it(t: TestDb) {
    t.write(seed_client).await;
    secrets_of_registration_1(&t, 6).await;
    let actors = [
        Actor::User { id: user_id(1), name: "Ada \"L\" O'Brien".into() },
        Actor::Program { id: user_id(2), name: "CI".into() },
        Actor::policy("deadline", "Deadline"),
        Actor::Client { id: oauth_id(1), name: "Billing".into() },
        Actor::machine("init"),
    ];
    for (actor, n) in actors.into_iter().zip(1..) {
        let made = Rotation {
            actor,
            compromised: n % 2 == 0,
            transition: TransitionHours::new([0, 1, 24, 167, 168][n - 1]).unwrap(),
            reason: if n == 1 { String::new() } else { "quarterly 請求書".into() },
            ..rotation(n, 1, n as i64, n, n + 1)
        };
        t.write(async |tx| tx.insert_rotation(&made).await).await;
        let stored = t.read(async |tx| tx.rotation(&registration_id(1), &rotation_id(n)).await).await;
        assert_same(&stored.unwrap(), &made);
    }
    let none = t.read(async |tx| tx.rotation(&registration_id(2), &rotation_id(1)).await).await;
    assert!(none.is_none(), "another registration's rotation is not there");
    let newest = async |n| t.read(async |tx| tx.newest_rotation_number(&registration_id(n)).await).await;
    assert_eq!((newest(1).await, newest(2).await), (5, 0));
    let same = t.try_write(async |tx| tx.insert_rotation(&rotation(9, 1, 5, 5, 6)).await).await;
    assert!(matches!(same, Err(StoreError::Duplicate)), "a number is given once");
}

async fn the_history_is_listed_newest_first_page_by_page(t: TestDb) {
    t.write(seed_client).await;
    secrets_of_registration_1(&t, 6).await;
    for n in 1..=5 {
        t.write(async |tx| tx.insert_rotation(&rotation(n, 1, n as i64, n, n + 1)).await).await;
    }
    let (mut page, mut seen) = (first(2), Vec::new());
    loop {
        let rows = t.read(async |tx| tx.rotations(&registration_id(1), &page).await).await;
        let Some(last) = rows.last() else { break };
        page = after(last.number, last.id.as_str(), 2);
        seen.extend(rows.into_iter().map(|row| row.id));
    }
    assert_eq!(seen, [5, 4, 3, 2, 1].map(rotation_id));
    assert!(t.read(async |tx| tx.rotations(&registration_id(2), &all()).await).await.is_empty());
}

async fn a_rotation_is_decided_once_and_only_the_one_that_is_meant(t: TestDb) {
    t.write(seed_client).await;
    secrets_of_registration_1(&t, 5).await;
    for n in 1..=4 {
        t.write(async |tx| tx.insert_rotation(&rotation(n, 1, n as i64, n, n + 1)).await).await;
    }
    let decide = async |registration, outgoing, ended_as| {
        t.write(async |tx| {
            let (registration, outgoing) = (registration_id(registration), secret_id(outgoing));
            tx.decide_rotation(&registration, &outgoing, ended_as, at(70)).await
        })
        .await
    };
    decide(1, 1, EndedAs::Revoked).await;
    decide(1, 2, EndedAs::RolledBack).await;
    decide(1, 3, EndedAs::Superseded).await;
    decide(1, 2, EndedAs::Revoked).await;
    decide(2, 4, EndedAs::Revoked).await;
    let rows = t.read(async |tx| tx.rotations(&registration_id(1), &all()).await).await;
    let decided: Vec<_> = rows.iter().map(|row| row.decided).collect();
    let expected = [None, Some(EndedAs::Superseded), Some(EndedAs::RolledBack), Some(EndedAs::Revoked)];
    assert_eq!(decided, expected);
}

async fn the_schema_refuses_a_transition_beyond_168_hours_rule_9(t: TestDb) {
    t.write(seed_client).await;
    secrets_of_registration_1(&t, 2).await;
    t.write(async |tx| tx.insert_rotation(&rotation(1, 1, 1, 1, 2)).await).await;
    for hours in [-1, 169] {
        let refused = t.place.try_raw(&format!("UPDATE rotations SET transition_hours = {hours}")).await;
        assert!(refused.is_err(), "{hours}");
    }
}

async fn no_secret_of_a_missing_registration(t: TestDb) {
    t.write(seed_client).await;
    let none: Vec<SecretId> = Vec::new();
    let listed = t.read(async |tx| tx.secrets(&registration_id(9), &all()).await).await;
    assert_eq!(listed.into_iter().map(|row| row.rule.id).collect::<Vec<_>>(), none);
    let orphan = t.try_write(async |tx| tx.insert_secret(&secret(1, 9, 1)).await).await;
    assert!(matches!(orphan, Err(StoreError::Database(_))), "{orphan:?}");
}
