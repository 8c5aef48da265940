//! Sessions of people in the Console.

use crate::engines::on_both_engines;
use crate::harness::*;
use crossfade_core::{SessionId, Timestamp};
use crossfade_store::SessionRow;

on_both_engines! {
    a_sign_in_survives_storage_and_is_found_by_its_digest_alone,
    an_account_s_sign_ins_are_listed_newest_first_within_their_limits,
    confirming_changes_the_digest_and_the_time_of_that_one_only,
    what_is_ended_is_not_found_and_cannot_be_ended_or_confirmed_again,
    an_account_that_is_deleted_has_no_sign_ins,
    old_sign_ins_are_forgotten_when_a_new_one_begins,
}

fn session_id(n: usize) -> SessionId {
    SessionId::parse(&format!("ses_{n:022}")).unwrap()
}

/// Sign-in `n` of account `of`, begun `n` seconds after the tests begin.
fn session(n: usize, of: usize) -> SessionRow {
    let time = at(n as u32);
    SessionRow {
        id: session_id(n),
        user_id: user_id(of),
        created_at: time,
        authenticated_at: time,
        last_seen_at: time,
        source_ip: "2001:db8::1".into(),
        user_agent: "Firefox 請求書 '\"".into(),
        provider_id: None,
    }
}

/// Two accounts; the first has sign-ins 1 to 3, the second 4.
async fn some(t: &TestDb) {
    t.write(async |tx| {
        tx.insert_user(&user(1, Some("ada@example.com"))).await?;
        tx.insert_user(&user(2, Some("bob@example.com"))).await?;
        for (n, of) in [(1, 1), (2, 1), (3, 1), (4, 2)] {
            tx.insert_session(&session(n, of), &[n as u8; 32], at(0)).await?;
        }
        Ok(())
    })
    .await;
}

async fn found(t: &TestDb, digest: u8) -> Option<SessionRow> {
    t.read(async |tx| tx.session_by_digest(&[digest; 32]).await).await
}

async fn listed(t: &TestDb, began: Timestamp, seen: Timestamp) -> Vec<SessionId> {
    let rows = t.read(async |tx| tx.sessions_of(&user_id(1), began, seen, 100).await).await;
    rows.into_iter().map(|row| row.id).collect()
}

async fn a_sign_in_survives_storage_and_is_found_by_its_digest_alone(t: TestDb) {
    some(&t).await;
    assert_eq!(found(&t, 2).await, Some(session(2, 1)));
    assert_eq!(found(&t, 9).await, None);
    assert_eq!(t.read(async |tx| tx.session_by_digest(&[2; 31]).await).await, None);
}

async fn an_account_s_sign_ins_are_listed_newest_first_within_their_limits(t: TestDb) {
    some(&t).await;
    let [one, two, three] = [1, 2, 3].map(session_id);
    assert_eq!(listed(&t, at(0), at(0)).await, [three.clone(), two.clone(), one.clone()]);
    assert_eq!(listed(&t, at(1), at(0)).await, [three.clone(), two.clone()], "began after");
    assert_eq!(listed(&t, at(0), at(2)).await, std::slice::from_ref(&three), "seen after");
    t.write(async |tx| tx.touch_session(&one, at(9)).await).await;
    t.write(async |tx| tx.touch_session(&one, at(8)).await).await;
    assert_eq!(listed(&t, at(0), at(8)).await, [one], "never seen earlier than before");
    let page = t.read(async |tx| tx.sessions_of(&user_id(1), at(0), at(0), 2).await).await;
    assert_eq!(page.into_iter().map(|row| row.id).collect::<Vec<_>>(), [three, two]);
}

async fn confirming_changes_the_digest_and_the_time_of_that_one_only(t: TestDb) {
    some(&t).await;
    t.write(async |tx| tx.confirm_session(&session_id(2), &[22; 32], at(50)).await).await;
    assert_eq!(found(&t, 2).await, None);
    let expected = SessionRow { authenticated_at: at(50), last_seen_at: at(50), ..session(2, 1) };
    assert_eq!(found(&t, 22).await, Some(expected));
    assert_eq!(found(&t, 1).await, Some(session(1, 1)));
}

async fn what_is_ended_is_not_found_and_cannot_be_ended_or_confirmed_again(t: TestDb) {
    some(&t).await;
    let end =
        async |n, of| t.write(async |tx| tx.end_session(&session_id(n), &user_id(of), at(60)).await).await;
    assert!(!end(1, 2).await, "another's is not ended");
    assert!(end(1, 1).await);
    assert!(!end(1, 1).await);
    t.write(async |tx| tx.confirm_session(&session_id(1), &[11; 32], at(70)).await).await;
    assert_eq!((found(&t, 1).await, found(&t, 11).await), (None, None));
    let end_others = async |except: Option<SessionId>| {
        t.write(async |tx| tx.end_sessions(&user_id(1), except.as_ref(), at(61)).await).await
    };
    assert_eq!(end_others(Some(session_id(3))).await, 1);
    assert!(found(&t, 2).await.is_none() && found(&t, 3).await.is_some() && found(&t, 4).await.is_some());
    assert_eq!(end_others(None).await, 1);
    assert!(found(&t, 3).await.is_none() && found(&t, 4).await.is_some());
}

async fn an_account_that_is_deleted_has_no_sign_ins(t: TestDb) {
    some(&t).await;
    t.write(async |tx| tx.delete_user(&user_id(1), at(60)).await).await;
    assert!(found(&t, 1).await.is_none() && found(&t, 4).await.is_some());
    assert_eq!(t.place.number("SELECT COUNT(*) FROM sessions WHERE ended_at IS NULL").await, 1);
}

async fn old_sign_ins_are_forgotten_when_a_new_one_begins(t: TestDb) {
    some(&t).await;
    t.write(async |tx| tx.insert_session(&session(5, 2), &[5; 32], at(2)).await).await;
    assert_eq!(t.place.number("SELECT COUNT(*) FROM sessions").await, 4);
    assert!(found(&t, 1).await.is_none() && found(&t, 2).await.is_some());
}
