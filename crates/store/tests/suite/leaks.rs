//! Secrets that are found by their value.

use crate::engines::on_both_engines;
use crate::harness::*;
use crossfade_store::{DataKey, SecretRow, ValueDigest};

on_both_engines! {
    a_secret_is_found_by_the_digest_of_its_value,
    a_missing_digest_is_set_once_and_only_of_a_stored_key,
    digests_are_removed_with_their_key,
    stored_values_without_a_digest_are_read_page_by_page,
}

fn digest(n: u8) -> [u8; 32] {
    [n ^ 0xff; 32]
}

async fn fill(t: &TestDb) {
    t.write(async |tx| {
        seed_client(tx).await?;
        for key in ["key-1", "key-2"] {
            let key = DataKey { id: key.into(), purpose: "verify".into(), sealed: vec![] };
            tx.insert_data_key(&key, at(0)).await?;
        }
        tx.insert_secret(&secret(1, 1, 1)).await?;
        tx.set_secret_end(&secret_id(1), Some(at(50)), Some(at(40))).await?;
        tx.insert_secret(&SecretRow { sealed: None, ..secret(2, 1, 2) }).await?;
        tx.insert_secret(&secret(3, 2, 1)).await
    })
    .await;
}

async fn forget(t: &TestDb) {
    t.place.raw("UPDATE secrets SET value_digest = NULL, value_digest_key = NULL").await;
}

async fn a_secret_is_found_by_the_digest_of_its_value(t: TestDb) {
    fill(&t).await;
    let find = async |digests: Vec<[u8; 32]>| {
        let mut found = t.read(async |tx| tx.secrets_by_value(&digests).await).await;
        found.sort_by_key(|it| it.secret.number);
        found
    };
    assert!(find(vec![]).await.is_empty());
    assert!(find((100..200).map(digest).collect()).await.is_empty());
    let found = find((1..=100).map(digest).collect()).await;
    let ids: Vec<_> = found.iter().map(|it| it.secret.rule.id.clone()).collect();
    assert_eq!(ids.len(), 3);
    let first = found.iter().find(|it| it.secret.rule.id == secret_id(1)).unwrap();
    assert_eq!((first.secret.rule.revoked_at, first.digest.as_slice()), (Some(at(40)), &digest(1)[..]));
    assert_eq!((&first.registration_id, &first.oauth_client_id), (&registration_id(1), &oauth_id(1)));
    assert_eq!((first.place.environment.as_str(), first.property.as_str()), ("staging", "Shop"));
    t.write(async |tx| tx.delete_client(&client_id(1), at(9)).await).await;
    assert_eq!(find(vec![digest(3)]).await[0].client_deleted_at, Some(at(9)));
}

async fn a_missing_digest_is_set_once_and_only_of_a_stored_key(t: TestDb) {
    fill(&t).await;
    let lacks = async || t.read(async |tx| tx.has_secret_without_value_digest().await).await;
    assert!(!lacks().await);
    forget(&t).await;
    assert!(lacks().await);
    let set = async |secret: usize, key: &str, n: u8| {
        let new = ValueDigest { secret: secret_id(secret), key: key.to_owned(), digest: digest(n).to_vec() };
        t.write(async |tx| tx.set_value_digests(&[new]).await).await
    };
    assert_eq!(set(1, "none", 1).await, []);
    assert_eq!(set(9, "key-1", 1).await, []);
    assert_eq!(set(1, "key-1", 1).await, [registration_id(1)]);
    assert_eq!(set(1, "key-2", 7).await, [], "it stays");
    assert_eq!((set(2, "key-1", 2).await.len(), set(3, "key-1", 3).await.len()), (1, 1));
    assert!(!lacks().await);
    let kept = t.read(async |tx| tx.secrets_by_value(&[digest(1), digest(7)]).await).await;
    assert_eq!(kept.len(), 1);
}

async fn digests_are_removed_with_their_key(t: TestDb) {
    fill(&t).await;
    let removed = async |key: &'static str| t.write(async |tx| tx.forget_value_digests(key).await).await;
    assert_eq!(removed("none").await, []);
    assert_eq!(removed("key-2").await, [registration_id(1)]);
    let left = t.read(async |tx| tx.secrets_by_value(&[digest(1), digest(2), digest(3)]).await).await;
    assert_eq!(left.len(), 2);
}

async fn stored_values_without_a_digest_are_read_page_by_page(t: TestDb) {
    fill(&t).await;
    let page = async |after: Option<usize>, limit| {
        let after = after.map(secret_id);
        let rows = t.read(async |tx| tx.stored_values_without_digest(after.as_ref(), limit).await).await;
        rows.into_iter().map(|row| row.id).collect::<Vec<_>>()
    };
    assert_eq!(page(None, 9).await, []);
    forget(&t).await;
    assert_eq!(page(None, 1).await, [secret_id(1)]);
    assert_eq!(page(Some(1), 9).await, [secret_id(3)], "2 is not stored");
    assert_eq!(page(Some(3), 9).await, []);
}
