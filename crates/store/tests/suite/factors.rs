//! Second factors: what is stored of them, what ends with what, and what a copy of the database may not revive.

use crate::engines::on_both_engines;
use crate::harness::*;
use crossfade_core::{
    FactorId, Timestamp,
    account::Passwords,
    ended::{End, Hex},
    second_factor::{AskedFor, FactorKind, FactorPolicy},
};
use crossfade_store::{FactorRow, PendingSignIn, SignInPolicyRow};

on_both_engines! {
    a_factor_counts_once_it_is_confirmed,
    an_unconfirmed_factor_is_forgotten_with_the_next_one,
    no_step_is_used_twice,
    two_transactions_use_a_step_once,
    a_recovery_code_works_once_and_for_its_account_alone,
    a_waiting_sign_in_ends_with_the_password_and_with_every_session,
    waiting_sign_ins_of_known_browsers_are_forgotten_last,
    an_account_that_is_deleted_has_no_factors,
    a_passkey_belongs_to_one_account_and_counts_immediately,
    a_challenge_is_taken_once_until_it_ends,
    a_copy_revives_no_removed_passkey,
    a_copy_revives_no_removed_factor_and_no_used_code,
    a_copy_without_a_factor_lets_no_password_in_alone,
    a_copy_asks_for_what_the_policy_asked_last,
    the_policy_is_nobody_until_it_is_set,
}

fn factor_id(n: usize) -> FactorId {
    FactorId::parse(&format!("fac_{n:022}")).unwrap()
}

fn factor(n: usize, of: usize) -> FactorRow {
    FactorRow {
        id: factor_id(n),
        user_id: user_id(of),
        kind: FactorKind::Totp,
        name: format!("phone {n} 請求書"),
        sealed: vec![n as u8; 40],
        created_at: at(n as u32),
        confirmed_at: None,
        last_used_at: None,
        last_step: 0,
    }
}

fn micros(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

/// Two accounts with a password each. The first has factor 1, confirmed with the code of step 5, and two codes.
async fn some(t: &TestDb) {
    t.write(async |tx| {
        tx.insert_user(&user(1, Some("ada@example.com"))).await?;
        tx.insert_user(&user(2, Some("bob@example.com"))).await?;
        tx.set_password(&user_id(1), "hash 1").await?;
        tx.set_password(&user_id(2), "hash 2").await?;
        tx.insert_factor(&factor(1, 1), at(0)).await?;
        assert!(tx.confirm_factor(&factor_id(1), &user_id(1), at(2), 5).await?);
        tx.set_recovery_codes(&user_id(1), &[vec![1; 32], vec![2; 32]], at(2)).await
    })
    .await;
}

async fn has_password(t: &TestDb, n: usize) -> bool {
    t.read(async |tx| Ok(tx.user(&user_id(n)).await?.unwrap().password_hash.is_some())).await
}

async fn a_factor_counts_once_it_is_confirmed(t: TestDb) {
    some(&t).await;
    t.write(async |tx| tx.insert_factor(&factor(2, 2), at(0)).await).await;
    let both = [user_id(1), user_id(2)];
    let with = t.read(async |tx| tx.with_factor(&[&both[0], &both[1]]).await).await;
    assert_eq!(with.into_iter().collect::<Vec<_>>(), [user_id(1)]);
    for (n, has_factor) in [(1, true), (2, false)] {
        let standing = t.read(async |tx| tx.factor_standing(&user_id(n)).await).await;
        assert_eq!((standing.has_factor, standing.policy), (has_factor, FactorPolicy::default()));
    }
    let stored = t.read(async |tx| tx.factors(&user_id(1)).await).await;
    let confirmed =
        FactorRow { confirmed_at: Some(at(2)), last_used_at: Some(at(2)), last_step: 5, ..factor(1, 1) };
    assert_eq!(stored, [confirmed]);
    assert!(!t.write(async |tx| tx.confirm_factor(&factor_id(1), &user_id(1), at(9), 9).await).await);
    let without = t.read(async |tx| tx.people_without_factor().await).await;
    assert_eq!(without.iter().map(|it| it.email.as_str()).collect::<Vec<_>>(), ["bob@example.com"]);
    let mut sealed = Vec::new();
    let seen = t
        .read(async |tx| {
            tx.each_sealed_factor(|user, id, bytes| {
                sealed.push((user.clone(), id.clone(), bytes.to_vec()));
                Ok::<_, crossfade_store::StoreError>(())
            })
            .await
        })
        .await;
    sealed.sort();
    assert_eq!(seen, 2);
    assert_eq!(sealed[0], (user_id(1), factor_id(1), vec![1; 40]));
}

async fn an_unconfirmed_factor_is_forgotten_with_the_next_one(t: TestDb) {
    some(&t).await;
    let ids = async |n: usize| {
        let rows = t.read(async |tx| tx.factors(&user_id(n)).await).await;
        rows.into_iter().map(|row| row.id).collect::<Vec<_>>()
    };
    t.write(async |tx| tx.insert_factor(&factor(2, 1), at(0)).await).await;
    t.write(async |tx| tx.insert_factor(&factor(3, 1), at(0)).await).await;
    assert_eq!(ids(1).await, [factor_id(1), factor_id(3)], "of its account, those that are confirmed stay");
    t.write(async |tx| tx.insert_factor(&factor(4, 2), at(2)).await).await;
    assert_eq!(ids(1).await, [factor_id(1), factor_id(3)]);
    t.write(async |tx| tx.insert_factor(&factor(5, 2), at(3)).await).await;
    assert_eq!((ids(1).await, ids(2).await), (vec![factor_id(1)], vec![factor_id(5)]), "and old ones");
}

fn passkey(n: usize, of: usize) -> FactorRow {
    FactorRow { kind: FactorKind::Passkey, confirmed_at: Some(at(n as u32)), ..factor(n, of) }
}

async fn a_passkey_belongs_to_one_account_and_counts_immediately(t: TestDb) {
    some(&t).await;
    let insert = async |n: usize, of: usize, id: &str| {
        t.write(async |tx| tx.insert_passkey(&passkey(n, of), id).await).await
    };
    assert!(insert(2, 2, "AAEC").await);
    assert!(!insert(3, 1, "AAEC").await && !insert(4, 2, "AAEC").await, "it is there already");
    assert!(insert(5, 2, "AAED").await);
    for (n, has_factor, has_passkey) in [(1, true, false), (2, true, true)] {
        let standing = t.read(async |tx| tx.factor_standing(&user_id(n)).await).await;
        assert_eq!((standing.has_factor, standing.has_passkey), (has_factor, has_passkey), "{n}");
    }
    t.write(async |tx| tx.use_passkey(&factor_id(2), &[7; 50], at(9)).await).await;
    let used = FactorRow { sealed: vec![7; 50], last_used_at: Some(at(9)), ..passkey(2, 2) };
    assert_eq!(t.read(async |tx| tx.passkey("AAEC").await).await, Some(used));
    assert_eq!(t.read(async |tx| tx.passkey("AAEE").await).await, None);
    let two = user_id(2);
    assert_eq!(t.read(async |tx| tx.with_factor(&[&two]).await).await.len(), 1);
    assert_eq!(t.write(async |tx| tx.remove_factors(&two).await).await.len(), 2);
    assert_eq!(t.read(async |tx| tx.passkey("AAED").await).await, None);
}

async fn a_challenge_is_taken_once_until_it_ends(t: TestDb) {
    let take = async |digest: u8, now: u32| {
        t.write(async |tx| tx.take_passkey_challenge(&[digest; 32], at(5), at(now)).await).await
    };
    assert!(take(1, 1).await && !take(1, 1).await && take(2, 1).await);
    assert!(!take(2, 4).await);
    let both = || t.write(async |tx| tx.take_passkey_challenge(&[3; 32], at(5), at(1)).await);
    let (a, b, c) = tokio::join!(both(), both(), both());
    assert_eq!([a, b, c].into_iter().filter(|taken| *taken).count(), 1, "also at the same time");
    assert!(take(1, 5).await, "those that nobody could answer any more are forgotten");
}

async fn a_copy_revives_no_removed_passkey(t: TestDb) {
    some(&t).await;
    t.write(async |tx| tx.insert_passkey(&passkey(2, 1), "AAEC").await).await;
    t.write(async |tx| tx.insert_passkey(&passkey(3, 2), "AAED").await).await;
    let removed = End::FactorRemoved { id: factor_id(2), at: micros(1) };
    t.write(async |tx| tx.apply_end(&removed).await).await;
    assert_eq!(t.read(async |tx| tx.passkey("AAEC").await).await, None);
    let added = |n, of| End::FactorAdded { id: factor_id(n), user_id: user_id(of), at: micros(1) };
    t.write(async |tx| tx.apply_end(&added(3, 2)).await).await;
    assert!(has_password(&t, 2).await, "the passkey is there");
    t.write(async |tx| tx.apply_end(&added(4, 2)).await).await;
    assert!(!has_password(&t, 2).await, "without its password, no other passkey signs in either");
}

async fn no_step_is_used_twice(t: TestDb) {
    some(&t).await;
    for (step, is_used) in [(4, false), (5, false), (6, true), (6, false), (5, false), (8, true), (7, false)]
    {
        let used = t.write(async |tx| tx.use_step(&factor_id(1), step, at(9)).await).await;
        assert_eq!(used, is_used, "{step}");
    }
}

async fn two_transactions_use_a_step_once(t: TestDb) {
    some(&t).await;
    let use_step = || t.write(async |tx| tx.use_step(&factor_id(1), 6, at(9)).await);
    let (a, b, c) = tokio::join!(use_step(), use_step(), use_step());
    assert_eq!([a, b, c].into_iter().filter(|used| *used).count(), 1);
}

async fn a_recovery_code_works_once_and_for_its_account_alone(t: TestDb) {
    some(&t).await;
    let use_code = async |n: usize, digest: u8| {
        t.write(async |tx| tx.use_recovery_code(&user_id(n), &[digest; 32]).await).await
    };
    assert!(!use_code(2, 1).await, "of another account");
    assert!(use_code(1, 1).await);
    assert!(!use_code(1, 1).await);
    assert!(!use_code(1, 9).await);
    let left = async || t.read(async |tx| tx.recovery_codes_left(&user_id(1)).await).await;
    assert_eq!(left().await, 1);
    t.write(async |tx| tx.set_recovery_codes(&user_id(1), &[vec![3; 32]], at(5)).await).await;
    assert!(!use_code(1, 2).await, "replaced");
    assert!(use_code(1, 3).await);
    assert_eq!(left().await, 0);
}

async fn a_waiting_sign_in_ends_with_the_password_and_with_every_session(t: TestDb) {
    some(&t).await;
    let wait = async |digest: u8| {
        t.write(async |tx| {
            tx.insert_pending_sign_in(&[digest; 32], &user_id(1), digest == 1, (at(1), at(301))).await
        })
        .await;
    };
    let found = async |digest: u8, now: u32| {
        t.read(async |tx| tx.pending_sign_in(&[digest; 32], at(now)).await).await
    };
    wait(1).await;
    t.write(async |tx| tx.count_wrong_code(&[1; 32]).await).await;
    let pending = PendingSignIn { user_id: user_id(1), is_known: true, wrong_codes: 1 };
    assert_eq!(found(1, 300).await, Some(pending));
    assert_eq!((found(1, 301).await, found(2, 2).await), (None, None));
    t.write(async |tx| tx.end_pending_sign_in(&[1; 32]).await).await;
    assert_eq!(found(1, 2).await, None);
    wait(2).await;
    t.write(async |tx| tx.set_password(&user_id(2), "another's").await).await;
    assert!(found(2, 2).await.is_some());
    t.write(async |tx| tx.set_password(&user_id(1), "new").await).await;
    assert_eq!(found(2, 2).await, None);
    wait(3).await;
    t.write(async |tx| tx.clear_password(&user_id(1)).await).await;
    assert_eq!(found(3, 2).await, None);
    wait(4).await;
    t.write(async |tx| tx.end_sessions(&user_id(1), None, at(2)).await).await;
    assert_eq!(found(4, 2).await, None);
}

async fn waiting_sign_ins_of_known_browsers_are_forgotten_last(t: TestDb) {
    some(&t).await;
    for n in 0..40_u8 {
        let times = (at(n.into()), at(300));
        t.write(async |tx| tx.insert_pending_sign_in(&[n; 32], &user_id(1), n == 0, times).await).await;
    }
    let other = async |tx: &mut crossfade_store::Tx| {
        tx.insert_pending_sign_in(&[99; 32], &user_id(2), false, (at(50), at(300))).await
    };
    t.write(other).await;
    let found = async |n: u8| t.read(async |tx| tx.pending_sign_in(&[n; 32], at(60)).await).await.is_some();
    assert!(found(0).await && found(39).await && found(99).await && !found(1).await);
    assert_eq!(t.place.number("SELECT COUNT(*) FROM pending_sign_ins").await, 17);
    let late = async |tx: &mut crossfade_store::Tx| {
        tx.insert_pending_sign_in(&[100; 32], &user_id(2), false, (at(300), at(600))).await
    };
    t.write(late).await;
    assert_eq!(
        t.place.number("SELECT COUNT(*) FROM pending_sign_ins").await,
        1,
        "expired ones are forgotten"
    );
}

async fn an_account_that_is_deleted_has_no_factors(t: TestDb) {
    some(&t).await;
    t.write(async |tx| tx.delete_user(&user_id(1), at(9)).await).await;
    for table in ["factors", "recovery_codes", "pending_sign_ins"] {
        assert_eq!(t.place.number(&format!("SELECT COUNT(*) FROM {table}")).await, 0, "{table}");
    }
}

/// What a change notes, as the journal has it.
async fn noted(t: &TestDb) -> Vec<End> {
    t.read(async |tx| tx.ends(0, 100).await).await.into_iter().map(|noted| noted.end).collect()
}

async fn a_copy_revives_no_removed_factor_and_no_used_code(t: TestDb) {
    some(&t).await;
    t.write(async |tx| tx.set_noting(true).await).await;
    t.write(async |tx| tx.use_recovery_code(&user_id(1), &[1; 32]).await).await;
    t.write(async |tx| tx.remove_factor(&factor_id(1)).await).await;
    t.write(async |tx| tx.set_recovery_codes(&user_id(1), &[vec![7; 32]], at(9)).await).await;
    let ends = noted(&t).await;
    assert!(
        matches!(&ends[..], [
        End::RecoveryCode { digest: Hex(digest), .. },
        End::FactorRemoved { id, .. },
        End::RecoveryCodes { user_id, .. },
    ] if *digest == [1; 32] && *id == factor_id(1) && *user_id == crate::harness::user_id(1)),
        "{ends:?}"
    );
    let copy = TestDb::open(t.place.another().await).await;
    some(&copy).await;
    copy.write(async |tx| tx.apply_end(&ends[0]).await).await;
    assert!(!copy.write(async |tx| tx.use_recovery_code(&user_id(1), &[1; 32]).await).await);
    assert_eq!(copy.read(async |tx| tx.recovery_codes_left(&user_id(1)).await).await, 1);
    copy.write(async |tx| tx.apply_end(&ends[1]).await).await;
    assert!(copy.read(async |tx| tx.factors(&user_id(1)).await).await.is_empty());
    let replaced = End::RecoveryCodes { user_id: user_id(1), at: at(9) };
    copy.write(async |tx| tx.apply_end(&replaced).await).await;
    assert_eq!(copy.read(async |tx| tx.recovery_codes_left(&user_id(1)).await).await, 0);
    // Applied to the database that has the new ones, they stay.
    t.write(async |tx| tx.apply_end(&replaced).await).await;
    assert_eq!(t.read(async |tx| tx.recovery_codes_left(&user_id(1)).await).await, 1);
}

async fn a_copy_without_a_factor_lets_no_password_in_alone(t: TestDb) {
    some(&t).await;
    let added = |n, of| End::FactorAdded { id: factor_id(n), user_id: user_id(of), at: micros(1) };
    t.write(async |tx| tx.apply_end(&added(1, 1)).await).await;
    assert!(has_password(&t, 1).await, "the factor is there");
    t.write(async |tx| tx.apply_end(&added(2, 2)).await).await;
    assert!(!has_password(&t, 2).await && has_password(&t, 1).await);
}

async fn a_copy_asks_for_what_the_policy_asked_last(t: TestDb) {
    t.write(async |tx| tx.set_noting(true).await).await;
    let policy = SignInPolicyRow {
        factor: FactorPolicy::default().set(AskedFor::SecretRoles, at(5)).set(AskedFor::Everyone, at(7)),
        passwords: Passwords::BreakGlass,
        break_glass: vec![user_id(1)],
        passwords_on_since: Some(at(3)),
        version: 2,
    };
    t.write(async |tx| tx.set_sign_in_policy(&policy).await).await;
    let ends = noted(&t).await;
    let copy = TestDb::open(t.place.another().await).await;
    copy.write(async |tx| tx.apply_end(&ends[0]).await).await;
    assert_eq!(copy.read(async |tx| tx.sign_in_policy().await).await, policy);
}

async fn the_policy_is_nobody_until_it_is_set(t: TestDb) {
    assert_eq!(t.read(async |tx| tx.sign_in_policy().await).await, SignInPolicyRow::default());
    let factor = FactorPolicy::default().set(AskedFor::Everyone, at(5));
    let policy = SignInPolicyRow { factor, ..SignInPolicyRow::default() };
    t.write(async |tx| tx.set_sign_in_policy(&policy).await).await;
    let set = SignInPolicyRow { version: 2, ..policy };
    assert_eq!(t.read(async |tx| tx.sign_in_policy().await).await, set);
    t.write(async |tx| tx.set_sign_in_policy(&SignInPolicyRow::default()).await).await;
    let unset = SignInPolicyRow { version: 3, ..SignInPolicyRow::default() };
    assert_eq!(t.read(async |tx| tx.sign_in_policy().await).await, unset);
}
