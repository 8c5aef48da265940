//! Registrations that were created without a secret.

use crate::engines::on_both_engines;
use crate::harness::*;
use crossfade_core::secret::SecretOrigin;
use crossfade_store::{Adoption, ClientFilter, ClientOrder, SecretRow};

on_both_engines! {
    what_is_known_of_a_registration_that_learns_is_recorded_once,
    a_registration_without_a_secret_is_found_until_it_has_one,
}

async fn what_is_known_of_a_registration_that_learns_is_recorded_once(t: TestDb) {
    t.write(seed_client).await;
    let get = async |n| t.read(async |tx| tx.adoption(&registration_id(n)).await).await;
    assert_eq!(get(1).await, None);
    t.write(async |tx| tx.insert_adoption(&registration_id(1), at(3)).await).await;
    let begun = Adoption { begun_at: at(3), tested_at: None, is_public: false };
    assert_eq!((get(1).await, get(2).await), (Some(begun), None));
    for (seconds, is_public, is_first) in [(5, true, true), (6, false, false)] {
        let set =
            t.write(async |tx| tx.set_adoption_tested(&registration_id(1), at(seconds), is_public).await);
        assert_eq!(set.await, is_first);
        assert_eq!(get(1).await, Some(Adoption { tested_at: Some(at(5)), is_public: true, ..begun }));
    }
}

async fn a_registration_without_a_secret_is_found_until_it_has_one(t: TestDb) {
    t.write(seed_client).await;
    t.write(async |tx| tx.insert_adoption(&registration_id(1), at(3)).await).await;
    let found = async || {
        let filter = ClientFilter { without_secret: true, ..ClientFilter::default() };
        let of_api = t.read(async |tx| tx.clients(&filter, &all()).await).await.len();
        let lines =
            t.read(async |tx| tx.client_lines(&filter, ClientOrder::Name, None, 9, at(9)).await).await;
        (of_api, lines.len())
    };
    let state = async || {
        let row = t.read(async |tx| tx.verifier(&registration_id(1)).await).await.unwrap().row.unwrap();
        (row.adopts, row.secrets.iter().map(|it| it.origin).collect::<Vec<_>>())
    };
    assert_eq!((found().await, state().await), ((1, 1), (true, vec![])));
    let learned = SecretRow { origin: SecretOrigin::Imported, sealed: None, ..secret(1, 1, 1) };
    t.write(async |tx| tx.insert_secret(&learned).await).await;
    assert_eq!((found().await, state().await), ((0, 0), (true, vec![SecretOrigin::Imported])));
    let stored = t.read(async |tx| tx.secret(&registration_id(1), &secret_id(1)).await).await.unwrap();
    assert_eq!(stored.origin, SecretOrigin::Imported);
}
