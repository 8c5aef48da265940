//! What the authority loads: registrations page by page, each with its secrets.

use crate::engines::on_both_engines;
use crate::harness::*;
use crossfade_core::{
    OauthClientId, RegistrationId,
    networks::Networks,
    registration::{AuthMethod, AuthMethods, Scopes, TokenTtl},
};
use crossfade_store::{Registration, SecretRow, VerifierRow};
use std::collections::BTreeMap;

on_both_engines! {
    everything_that_decides_is_loaded,
    pages_join_each_registration_with_its_own_secrets,
    an_empty_database_has_nothing_to_load,
    a_secret_that_cannot_be_read_keeps_no_other_from_being_loaded,
}

async fn everything_that_decides_is_loaded(t: TestDb) {
    t.write(seed).await;
    let registered = Registration {
        methods: AuthMethods::parse(&[AuthMethod::ClientSecretPost]).unwrap(),
        scopes: Scopes::from_stored("a b".into()),
        audience: Some("https://api.example.com".into()),
        ttl: TokenTtl::parse(60).unwrap(),
        may_introspect: true,
        allowed_networks: Networks::parse("", &["10.0.0.0/8".to_owned()]).ok(),
        ..registration(1, 1, "production")
    };
    t.write(async |tx| {
        tx.insert_client(&client(1, "Billing")).await?;
        tx.insert_registration(&registered).await?;
        tx.insert_secret(&secret(1, 1, 1)).await?;
        tx.set_secret_end(&secret_id(1), Some(at(50)), Some(at(40))).await?;
        tx.insert_secret(&secret(2, 1, 2)).await
    })
    .await;
    let get =
        async || whole(t.read(async |tx| tx.verifier(&registration_id(1)).await).await.unwrap()).unwrap();
    let row = get().await;
    assert_eq!(row.registration_id, registration_id(1));
    assert_eq!(row.environment, slug("production"));
    assert_eq!(row.oauth_client_id, oauth_id(1));
    assert_eq!((row.disabled, row.deleted, row.may_introspect), (false, false, true));
    assert_eq!(row.allowed_networks, registered.allowed_networks);
    assert!(row.allowed_networks.is_some());
    assert_eq!((row.methods, &row.scopes), (registered.methods, &registered.scopes));
    assert_eq!((row.audience.as_deref(), row.ttl.seconds()), (Some("https://api.example.com"), 60));
    let secrets: Vec<_> = row
        .secrets
        .iter()
        .map(|it| {
            assert!(it.has_value_digest);
            (it.rule.id.clone(), it.rule.expires_at, it.rule.revoked_at, it.digest.clone(), &*it.digest_key)
        })
        .collect();
    let expected = [
        (secret_id(2), None, None, vec![2; 32], "key-2"),
        (secret_id(1), Some(at(50)), Some(at(40)), vec![1; 32], "key-1"),
    ];
    assert_eq!(secrets, expected, "the newest first, each with its digest");
    t.write(async |tx| {
        tx.update_registration(&Registration { disabled_at: Some(at(9)), ..registered.clone() }).await
    })
    .await;
    assert!(get().await.disabled);
    t.write(async |tx| tx.delete_client(&client_id(1), at(9)).await).await;
    assert!(get().await.deleted, "a deleted client's registration is told as deleted");
    assert!(t.read(async |tx| tx.verifier(&registration_id(2)).await).await.is_none());
}

/// Registrations whose ids differ in case alone, so that the order is the database's own, with 0 to 5 secrets.
async fn many(t: &TestDb) -> BTreeMap<RegistrationId, Vec<i64>> {
    let mut expected = BTreeMap::new();
    let environments = ["development", "staging", "production"];
    t.write(async |tx| {
        seed(tx).await?;
        let mut id = 0;
        for (n, letter) in "aAbBcC019zZyY".chars().enumerate() {
            if n % 3 == 0 {
                tx.insert_client(&client(n, &format!("client {n}"))).await?;
            }
            let registration = Registration {
                id: RegistrationId::parse(&format!("reg_{letter:0>22}")).unwrap(),
                oauth_client_id: OauthClientId::parse(&format!("{letter:0>22}")).unwrap(),
                ..registration(1, n - n % 3, environments[n % 3])
            };
            tx.insert_registration(&registration).await?;
            let numbers: Vec<i64> = (1..=(n * 7 % 6) as i64).rev().collect();
            for number in numbers.iter().rev() {
                id += 1;
                let registration_id = registration.id.clone();
                tx.insert_secret(&SecretRow { registration_id, ..secret(id, 1, *number) }).await?;
                tx.set_secret_end(&secret_id(id), Some(at(*number as u32)), None).await?;
            }
            expected.insert(registration.id, numbers);
        }
        Ok(())
    })
    .await;
    expected
}

fn numbers(row: &VerifierRow) -> Vec<i64> {
    let deadline = |seconds: i64| Some(at(seconds as u32));
    row.secrets
        .iter()
        .map(|it| (1..10).find(|number| it.rule.expires_at == deadline(*number)).unwrap())
        .collect()
}

async fn pages_join_each_registration_with_its_own_secrets(t: TestDb) {
    let expected = many(&t).await;
    for limit in [1, 2, 3, 5, 13, 100] {
        let (mut last, mut seen) = (None::<String>, BTreeMap::new());
        loop {
            let page = t.read(async |tx| tx.verifiers(last.as_deref(), limit).await).await;
            assert!(page.len() <= limit as usize);
            let Some(row) = page.last() else { break };
            last = Some(row.id.clone());
            for row in page.into_iter().map(|it| whole(it).unwrap()) {
                let before = seen.insert(row.registration_id.clone(), numbers(&row));
                assert!(before.is_none(), "{} twice in pages of {limit}", row.registration_id);
            }
        }
        assert_eq!(seen, expected, "pages of {limit}");
    }
    for (id, own) in &expected {
        let row = whole(t.read(async |tx| tx.verifier(id).await).await.unwrap()).unwrap();
        assert_eq!(&numbers(&row), own, "{id} alone");
    }
}

async fn an_empty_database_has_nothing_to_load(t: TestDb) {
    assert!(t.read(async |tx| tx.verifiers(None, 10).await).await.is_empty());
}

async fn a_secret_that_cannot_be_read_keeps_no_other_from_being_loaded(t: TestDb) {
    t.write(async |tx| {
        seed_client(tx).await?;
        tx.insert_secret(&secret(1, 1, 1)).await?;
        tx.set_secret_end(&secret_id(1), Some(at(50)), None).await?;
        tx.insert_secret(&secret(2, 1, 2)).await
    })
    .await;
    t.place.unlink().await;
    t.place.raw(&format!("UPDATE secrets SET id = 'garbage' WHERE id = '{}'", secret_id(1))).await;
    let read = t.read(async |tx| tx.verifier(&registration_id(1)).await).await.unwrap();
    let kept: Vec<_> = read.row.unwrap().secrets.into_iter().map(|it| it.rule.id).collect();
    assert_eq!(kept, [secret_id(2)]);
    assert_corrupt(&read.unreadable_secrets[0], "secrets", "id", "garbage");
}
