//! Environments and their signing keys.

use crate::engines::on_both_engines;
use crate::harness::*;
use crossfade_core::{
    environment::{EnvironmentKind, SigningAlg},
    signing_key::KeyTimes,
    upstream::{UnregisteredClients, Upstream},
};
use crossfade_store::{Environment, SigningKey, StoreError};

on_both_engines! {
    every_setting_of_an_environment_survives_storage,
    environments_keep_the_order_that_an_operator_gave_them,
    an_environment_is_deleted_with_its_keys_but_not_from_under_a_registration,
    a_deleted_client_s_registration_still_counts_as_history,
    signing_keys_come_in_the_order_in_which_they_become_active,
    a_removed_key_is_forgotten_at_its_time_and_not_before,
}

fn key(kid: &str, environment: &str, alg: SigningAlg, active_from: u32) -> SigningKey {
    SigningKey {
        kid: kid.into(),
        environment: slug(environment),
        alg,
        sealed: vec![0, 1, 254, 255],
        times: KeyTimes { active_from: at(active_from), removed_at: None },
    }
}

fn upstream() -> Upstream {
    serde_json::from_value(serde_json::json!({
        "kind": "okta",
        "servers": [{"name": "main", "issuer": "https://id.example", "token_endpoint": "https://id.example/token"}],
    }))
    .unwrap()
}

async fn every_setting_of_an_environment_survives_storage(t: TestDb) {
    let created = environment("staging", 7);
    t.write(async |tx| tx.insert_environment(&created).await).await;
    let stored = t.read(async |tx| tx.environment(&slug("staging")).await).await.unwrap();
    assert_same(&stored, &created);
    for alg in [SigningAlg::ES256, SigningAlg::EdDSA, SigningAlg::RS256] {
        let before = t.read(async |tx| tx.environment(&slug("staging")).await).await.unwrap();
        let changed = Environment {
            name: "Staging 💸".into(),
            kind: EnvironmentKind::Live,
            position: 2,
            signing_alg: alg,
            show_once: true,
            wipe_after_days: 0,
            max_age_days: None,
            guard_extension_hours: Some(24),
            signing_key_rotation_days: Some(90),
            upstream: (alg == SigningAlg::RS256).then(upstream),
            unregistered_clients: UnregisteredClients::Pass,
            adopt_until: (alg == SigningAlg::RS256).then(|| at(9)),
            version: before.version + 1,
            ..before
        };
        t.write(async |tx| tx.update_environment(&changed).await).await;
        let stored = t.read(async |tx| tx.environment(&slug("staging")).await).await.unwrap();
        assert_same(&stored, &changed);
        let front = t.read(async |tx| tx.upstream(&slug("staging")).await).await;
        assert_eq!(
            front,
            changed.upstream.map(|upstream| (upstream, UnregisteredClients::Pass, changed.adopt_until))
        );
    }
    assert!(t.read(async |tx| tx.environment(&slug("production")).await).await.is_none());
    let twice = t.try_write(async |tx| tx.insert_environment(&created).await).await;
    assert!(matches!(twice, Err(StoreError::Duplicate)));
}

async fn environments_keep_the_order_that_an_operator_gave_them(t: TestDb) {
    t.write(seed).await;
    let order = async || {
        let list = t.read(async |tx| tx.environments().await).await;
        list.into_iter().map(|environment| environment.slug.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(order().await, ["development", "staging", "production"]);
    let slugs = ["production", "development", "staging"].map(slug);
    t.write(async |tx| tx.order_environments(&slugs).await).await;
    assert_eq!(order().await, ["production", "development", "staging"]);
}

async fn an_environment_is_deleted_with_its_keys_but_not_from_under_a_registration(t: TestDb) {
    t.write(seed_client).await;
    t.write(async |tx| {
        tx.insert_signing_key(&key("a", "development", SigningAlg::ES256, 0), at(0)).await?;
        tx.insert_signing_key(&key("b", "staging", SigningAlg::ES256, 0), at(0)).await?;
        tx.delete_environment(&slug("development")).await
    })
    .await;
    assert!(t.read(async |tx| tx.environment(&slug("development")).await).await.is_none());
    assert_eq!(t.place.number("SELECT COUNT(*) FROM signing_keys").await, 1);
    let used = t.try_write(async |tx| tx.delete_environment(&slug("staging")).await).await;
    assert!(matches!(used, Err(StoreError::Database(_))), "{used:?}");
    assert_eq!(t.read(async |tx| tx.signing_keys(&slug("staging")).await).await.len(), 1, "with its keys");
}

async fn a_deleted_client_s_registration_still_counts_as_history(t: TestDb) {
    t.write(seed_client).await;
    t.write(async |tx| tx.delete_client(&client_id(1), at(9)).await).await;
    let counts = async |text| t.read(async |tx| tx.environment_has_registrations(&slug(text)).await).await;
    assert!(counts("staging").await);
    assert!(!counts("development").await);
}

async fn signing_keys_come_in_the_order_in_which_they_become_active(t: TestDb) {
    t.write(seed).await;
    let keys = [
        key("first", "staging", SigningAlg::ES256, 10),
        key("second", "staging", SigningAlg::EdDSA, 20),
        key("third", "staging", SigningAlg::RS256, 30),
    ];
    t.write(async |tx| {
        for key in keys.iter().rev() {
            tx.insert_signing_key(key, at(1)).await?;
        }
        tx.insert_signing_key(&key("other", "production", SigningAlg::ES256, 0), at(1)).await
    })
    .await;
    let stored = t.read(async |tx| tx.signing_keys(&slug("staging")).await).await;
    assert_same(&stored, &keys.to_vec());
}

async fn a_removed_key_is_forgotten_at_its_time_and_not_before(t: TestDb) {
    t.write(seed).await;
    t.write(async |tx| {
        tx.insert_signing_key(&key("old", "staging", SigningAlg::ES256, 0), at(0)).await?;
        tx.insert_signing_key(&key("new", "staging", SigningAlg::ES256, 9), at(9)).await?;
        tx.remove_signing_key_at("old", at(50)).await
    })
    .await;
    let forget = async |now| t.write(async |tx| tx.delete_removed_signing_keys(now).await).await;
    assert_eq!(forget(at(50).before(MICRO)).await, 0);
    let keys = t.read(async |tx| tx.signing_keys(&slug("staging")).await).await;
    assert_eq!(keys[0].times.removed_at, Some(at(50)));
    assert_eq!(forget(at(50)).await, 1);
    let keys = t.read(async |tx| tx.signing_keys(&slug("staging")).await).await;
    assert_eq!(keys.iter().map(|key| key.kid.as_str()).collect::<Vec<_>>(), ["new"]);
}
