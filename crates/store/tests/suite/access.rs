//! People and programs: accounts, grants, tokens, links.

use crate::engines::on_both_engines;
use crate::harness::*;
use crossfade_core::api::UserKind;
use crossfade_core::roles::{Grant, OneRegistration, Role, Scope};
use crossfade_store::{GrantRow, Link, LinkPurpose, Maker, StoreError, TokenRow, User};

on_both_engines! {
    an_account_survives_storage,
    grants_of_every_role_and_scope_survive_storage,
    an_owner_of_the_platform_is_one_without_any_limit,
    a_token_is_found_by_its_digest_with_its_owner,
    the_last_use_of_a_token_only_moves_forward,
    tokens_are_listed_of_one_or_of_all_page_by_page,
    a_link_works_once_and_until_but_not_at_its_end,
    a_new_link_replaces_the_earlier_one_of_the_same_purpose_and_account,
}

async fn an_account_survives_storage(t: TestDb) {
    let person = User { name: "Ada 請求書 O'Brien".into(), ..user(1, Some("ada@example.com")) };
    let programs = [user(2, None), user(3, None)];
    assert_eq!((person.kind, programs[0].kind), (UserKind::Person, UserKind::Program));
    t.write(async |tx| {
        tx.insert_user(&person).await?;
        for program in &programs {
            tx.insert_user(program).await?;
        }
        Ok(())
    })
    .await;
    for expected in [&person, &programs[0], &programs[1]] {
        let stored = t.read(async |tx| tx.user(&expected.id).await).await.unwrap();
        assert_same(&stored, expected);
    }
    t.write(async |tx| tx.set_password(&user_id(1), "$argon2id$…").await).await;
    let by_email = async |text| t.read(async |tx| tx.user_by_email(text).await).await;
    let expected = User { password_hash: Some("$argon2id$…".into()), version: 2, ..person };
    assert_same(&by_email("ada@example.com").await, &Some(expected));
    assert!(by_email("ada@example.co").await.is_none());
    assert!(by_email("%").await.is_none());
    assert!(t.read(async |tx| tx.user(&user_id(9)).await).await.is_none());
    let twice = t.try_write(async |tx| tx.insert_user(&user(4, Some("ada@example.com"))).await).await;
    assert!(matches!(twice, Err(StoreError::Duplicate)), "one account for an address");
}

async fn grants_of_every_role_and_scope_survive_storage(t: TestDb) {
    let scopes = [Scope::Platform, Scope::Property(property_id(1)), Scope::Client(client_id(1))];
    let environments = [None, Some(vec![]), Some(vec![slug("staging"), slug("production")])];
    let mut expected = Vec::new();
    for role in Role::ALL {
        for scope in &scopes {
            for environments in &environments {
                let grant = Grant { role, scope: scope.clone(), environments: environments.clone() };
                let n = expected.len();
                expected.push(grant_row(n + 1, 1, grant, at(n as u32)));
            }
        }
    }
    t.write(async |tx| {
        tx.insert_user(&user(1, None)).await?;
        tx.insert_user(&user(2, None)).await?;
        for row in &expected {
            tx.insert_grant(row).await?;
        }
        Ok(())
    })
    .await;
    let grants = async |n| t.read(async |tx| tx.grants(&user_id(n)).await).await;
    let all = |rows: &[GrantRow]| format!("{rows:?}");
    assert_eq!(all(&grants(1).await), all(&expected));
    assert!(grants(2).await.is_empty(), "another's are not among them");
}

async fn an_owner_of_the_platform_is_one_without_any_limit(t: TestDb) {
    let cases = [
        (Role::Owner, Scope::Platform, None, true),
        (Role::Owner, Scope::Platform, Some(vec![slug("staging")]), false),
        (Role::Owner, Scope::Property(property_id(1)), None, false),
        (Role::Owner, Scope::Client(client_id(1)), None, false),
        (Role::OperationsManager, Scope::Platform, None, false),
        (Role::Owner, Scope::Platform, None, true),
    ];
    t.write(async |tx| {
        for ((role, scope, environments, _), n) in cases.iter().cloned().zip(1..) {
            tx.insert_user(&user(n, Some(&format!("{n}@example.com")))).await?;
            tx.insert_grant(&grant_row(n, n, Grant { role, scope, environments }, at(0))).await?;
        }
        // A second grant of the same does not make two owners.
        let again = Grant { role: Role::Owner, scope: Scope::Platform, environments: None };
        tx.insert_grant(&grant_row(99, 1, again.clone(), at(0))).await?;
        // A program that is one is not counted: nobody can help it in when it is locked out.
        tx.insert_user(&user(98, None)).await?;
        tx.insert_grant(&grant_row(98, 98, again, at(0))).await
    })
    .await;
    let owners = t.read(async |tx| tx.owners().await).await;
    let owners: Vec<_> = owners.into_iter().map(|user| user.id).collect();
    let expected: Vec<_> =
        (1..).zip(&cases).filter(|(_, (.., owner))| *owner).map(|(n, _)| user_id(n)).collect();
    assert_eq!(owners, expected);
}

fn token(n: usize, user: usize) -> TokenRow {
    TokenRow {
        id: token_id(n),
        user_id: user_id(user),
        name: format!("token {n}"),
        scope: None,
        only: None,
        created_at: at(n as u32 / 2),
        expires_at: None,
        last_used_at: None,
    }
}

async fn a_token_is_found_by_its_digest_with_its_owner(t: TestDb) {
    let limited = TokenRow {
        scope: Some(vec!["client:read".into(), "secret:rotate".into()]),
        expires_at: Some(at(500)),
        only: Some(OneRegistration { client: client_id(1), environment: slug("staging") }),
        ..token(1, 1)
    };
    let empty = TokenRow { scope: Some(vec![]), ..token(2, 1) };
    let unlimited = token(3, 1);
    t.write(async |tx| {
        tx.insert_user(&user(1, None)).await?;
        for (row, digest) in [(&limited, 1), (&empty, 2), (&unlimited, 3)] {
            tx.insert_token(row, &[digest; 32]).await?;
        }
        Ok(())
    })
    .await;
    let by_digest = async |digest: &[u8]| t.read(async |tx| tx.token_owner(digest).await).await;
    for (row, digest) in [(&limited, 1), (&empty, 2), (&unlimited, 3)] {
        let found = by_digest(&[digest; 32]).await.unwrap();
        assert_same(&found.token, row);
        assert_same(&found.user, &user(1, None));
    }
    assert!(by_digest(&[9; 32]).await.is_none());
    assert!(by_digest(&[]).await.is_none());
    let same = t.try_write(async |tx| tx.insert_token(&token(4, 1), &[1; 32]).await).await;
    assert!(matches!(same, Err(StoreError::Duplicate)));
    t.write(async |tx| tx.delete_token(&token_id(1), at(9)).await).await;
    assert!(by_digest(&[1; 32]).await.is_none(), "an ended token is gone");
    assert!(t.read(async |tx| tx.token(&token_id(1)).await).await.is_none());
    assert!(t.read(async |tx| tx.token(&token_id(2)).await).await.is_some());
    t.place.raw("UPDATE users SET deleted_at = 1").await;
    assert!(by_digest(&[3; 32]).await.is_none(), "so is one of a deleted account");
}

async fn the_last_use_of_a_token_only_moves_forward(t: TestDb) {
    t.write(async |tx| {
        tx.insert_user(&user(1, None)).await?;
        tx.insert_token(&token(1, 1), &[1]).await
    })
    .await;
    for (used, known) in [(50, 50), (40, 50), (60, 60)] {
        t.write(async |tx| tx.touch_token(&token_id(1), at(used)).await).await;
        let stored = t.read(async |tx| tx.token(&token_id(1)).await).await.unwrap();
        assert_eq!(stored.last_used_at, Some(at(known)));
    }
}

async fn tokens_are_listed_of_one_or_of_all_page_by_page(t: TestDb) {
    t.write(async |tx| {
        for n in 1..=2 {
            tx.insert_user(&user(n, None)).await?;
        }
        for n in 1..=7 {
            tx.insert_token(&token(n, 1 + n % 2), &[n as u8]).await?;
        }
        tx.delete_token(&token_id(4), at(9)).await
    })
    .await;
    let list = async |owner: Option<usize>| {
        let (mut page, mut seen) = (first(2), Vec::new());
        loop {
            let owner = owner.map(user_id);
            let rows = t.read(async |tx| tx.tokens(owner.as_ref(), &page).await).await;
            let Some(last) = rows.last() else { return seen };
            page = after(last.created_at.as_micros(), last.id.as_str(), 2);
            seen.extend(rows.into_iter().map(|row| row.id));
        }
    };
    assert_eq!(list(None).await, [1, 2, 3, 5, 6, 7].map(token_id));
    assert_eq!(list(Some(1)).await, [2, 6].map(token_id));
    assert_eq!(list(Some(2)).await, [1, 3, 5, 7].map(token_id));
    assert_eq!(list(Some(3)).await, []);
}

fn link(purpose: LinkPurpose, user: Option<usize>, expires_at: u32) -> Link {
    let user_id = user.map(user_id);
    Link {
        purpose,
        maker: Maker { account: user_id.clone(), ..Maker::default() },
        user_id,
        expires_at: at(expires_at),
    }
}

async fn usable(t: &TestDb, digest: u8, now: u32) -> Option<Link> {
    t.read(async |tx| tx.link(&[digest], at(now)).await).await
}

async fn put_link(t: &TestDb, new: &Link, digest: u8, now: u32) {
    t.write(async |tx| tx.insert_link(new, &[digest], at(now)).await).await;
}

async fn a_link_works_once_and_until_but_not_at_its_end(t: TestDb) {
    t.write(async |tx| tx.insert_user(&user(1, Some("ada@example.com"))).await).await;
    let links = [link(LinkPurpose::SetUp, None, 100), link(LinkPurpose::Password, Some(1), 100)];
    for (digest, new) in (1..).zip(&links) {
        put_link(&t, new, digest, 10).await;
        assert_same(&usable(&t, digest, 10).await, &Some(new.clone()));
        let last = t.read(async |tx| tx.link(&[digest], at(100).before(MICRO)).await).await;
        assert!(last.is_some());
        assert!(usable(&t, digest, 100).await.is_none(), "at its end");
        assert!(usable(&t, 9, 10).await.is_none());
        t.write(async |tx| tx.use_link(&[digest], at(20)).await).await;
        assert!(usable(&t, digest, 20).await.is_none(), "used up");
    }
}

async fn a_new_link_replaces_the_earlier_one_of_the_same_purpose_and_account(t: TestDb) {
    t.write(async |tx| {
        tx.insert_user(&user(1, Some("ada@example.com"))).await?;
        tx.insert_user(&user(2, Some("grace@example.com"))).await
    })
    .await;
    put_link(&t, &link(LinkPurpose::SetUp, None, 100), 1, 10).await;
    put_link(&t, &link(LinkPurpose::Password, Some(1), 100), 2, 10).await;
    put_link(&t, &link(LinkPurpose::Password, Some(2), 100), 3, 10).await;
    let alive = async |now| {
        let mut alive = Vec::new();
        for digest in 1..=9 {
            if usable(&t, digest, now).await.is_some() {
                alive.push(digest);
            }
        }
        alive
    };
    assert_eq!(alive(10).await, [1, 2, 3]);
    put_link(&t, &link(LinkPurpose::Password, Some(1), 100), 4, 11).await;
    assert_eq!(alive(11).await, [1, 3, 4], "that account's, nobody else's");
    put_link(&t, &link(LinkPurpose::SetUp, None, 100), 5, 12).await;
    assert_eq!(alive(12).await, [3, 4, 5]);
    t.write(async |tx| tx.use_link(&[5], at(13)).await).await;
    put_link(&t, &link(LinkPurpose::Password, Some(2), 200), 6, 100).await;
    assert_eq!(alive(100).await, [6]);
    assert_eq!(t.place.number("SELECT COUNT(*) FROM links").await, 1, "used and ended ones are tidied away");
}
