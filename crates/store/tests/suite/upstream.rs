//! Upstream credentials: what is stored of them, and what issuers said about them.

use crate::engines::on_both_engines;
use crate::harness::*;
use crossfade_core::{
    ended::End,
    upstream::{BasicEncoding, CredentialMethod, Refused, Slot, SlotState},
};
use crossfade_store::{SlotOutcome, StoreError, Tx, UpstreamCredential};

on_both_engines! {
    a_credential_survives_storage_and_a_new_secret_is_untested,
    an_outcome_is_about_the_secret_that_was_sent,
    a_registration_in_front_of_an_issuer_is_read_with_its_credential,
    every_sealed_secret_is_passed_on,
    a_deleted_client_leaves_no_credential_also_where_its_end_is_applied_again,
    a_credential_is_limited_to_the_servers_that_stay,
    a_refused_credential_is_listed_until_it_is_accepted_or_deleted,
}

fn credential(registration: usize) -> UpstreamCredential {
    UpstreamCredential {
        registration_id: registration_id(registration),
        method: CredentialMethod::ClientSecretPost,
        encoding: BasicEncoding::Percent,
        origins: vec!["https://id.example".into(), "https://id.example:8443".into()],
        leading_slot: Slot::Current,
        version: 1,
        refused: Refused::default(),
        slots: Vec::new(),
    }
}

async fn get(t: &TestDb, registration: usize) -> Option<UpstreamCredential> {
    t.read(async |tx| tx.upstream_credential(&registration_id(registration)).await).await
}

async fn set(t: &TestDb, registration: usize, slot: Slot, sealed: &[u8], seconds: u32) {
    t.write(async |tx| {
        tx.set_upstream_credential(&credential(registration)).await?;
        tx.set_upstream_slot(&registration_id(registration), slot, sealed, at(seconds)).await
    })
    .await;
}

fn outcome(slot: Slot, set_at: u32, state: SlotState) -> SlotOutcome {
    SlotOutcome {
        registration_id: registration_id(1),
        slot,
        set_at: at(set_at),
        state,
        last_ok_at: (state == SlotState::Ok).then(|| at(50)),
        last_error: (state == SlotState::Refused).then(|| "401 invalid_client".into()),
    }
}

async fn a_credential_survives_storage_and_a_new_secret_is_untested(t: TestDb) {
    t.write(seed_client).await;
    assert!(get(&t, 1).await.is_none());
    set(&t, 1, Slot::Next, &[2, 255], 2).await;
    set(&t, 1, Slot::Current, &[1, 0], 3).await;
    let stored = get(&t, 1).await.unwrap();
    assert_eq!((stored.version, &stored.origins), (2, &credential(1).origins));
    assert_eq!(stored.method, CredentialMethod::ClientSecretPost);
    let slots: Vec<_> =
        stored.slots.iter().map(|it| (it.slot, it.sealed.clone(), it.set_at, it.state)).collect();
    assert_eq!(
        slots,
        [
            (Slot::Current, vec![1, 0], at(3), SlotState::Untested),
            (Slot::Next, vec![2, 255], at(2), SlotState::Untested),
        ]
    );
    for is_other in [true, false] {
        let raw = async |tx: &mut Tx| tx.set_upstream_encoding(&registration_id(1), BasicEncoding::Raw).await;
        assert_eq!(t.write(raw).await, is_other);
    }
    let stored = get(&t, 1).await.unwrap();
    assert_eq!((stored.encoding, stored.version), (BasicEncoding::Raw, 3));
    t.write(async |tx| tx.delete_upstream_slot(&registration_id(1), Slot::Next).await).await;
    assert_eq!(get(&t, 1).await.unwrap().slots.len(), 1);
    assert!(get(&t, 2).await.is_none());
}

async fn an_outcome_is_about_the_secret_that_was_sent(t: TestDb) {
    t.write(seed_client).await;
    set(&t, 1, Slot::Current, &[1], 3).await;
    let note =
        async |outcome: SlotOutcome| t.write(async |tx| tx.note_upstream_outcome(&outcome).await).await;
    assert!(!note(outcome(Slot::Current, 2, SlotState::Refused)).await, "an earlier secret");
    assert!(!note(outcome(Slot::Next, 3, SlotState::Ok)).await);
    assert_eq!(get(&t, 1).await.unwrap().slots[0].state, SlotState::Untested);
    assert!(note(outcome(Slot::Current, 3, SlotState::Ok)).await);
    assert!(note(outcome(Slot::Current, 3, SlotState::Refused)).await);
    let slot = get(&t, 1).await.unwrap().slots.remove(0);
    assert_eq!(slot.state, SlotState::Refused);
    assert_eq!((slot.last_ok_at, slot.last_error.as_deref()), (Some(at(50)), Some("401 invalid_client")));
    set(&t, 1, Slot::Current, &[1], 4).await;
    let slot = get(&t, 1).await.unwrap().slots.remove(0);
    assert_eq!((slot.state, slot.last_ok_at, slot.last_error), (SlotState::Untested, None, None));
    t.write(async |tx| tx.lead_with_upstream_slot(&registration_id(1), Slot::Next).await).await;
    let stored = get(&t, 1).await.unwrap();
    assert_eq!((stored.leading_slot, stored.version), (Slot::Next, 2), "no change of a person");
}

async fn a_registration_in_front_of_an_issuer_is_read_with_its_credential(t: TestDb) {
    t.write(seed_client).await;
    set(&t, 1, Slot::Current, &[1], 3).await;
    let read = async || {
        let read = t.read(async |tx| tx.verifiers(None, 100).await).await;
        read.into_iter().map(|it| it.row.unwrap().upstream_credential.is_some()).collect::<Vec<_>>()
    };
    assert_eq!(read().await, [false, false], "the environment issues its own tokens");
    let issuer = r#"'{"kind": "okta", "servers": []}'"#;
    t.place.raw(&format!("UPDATE environments SET issuer_mode = 'upstream', upstream = {issuer}")).await;
    // In front of another issuer, the form of a generated client_id is one of many.
    assert_eq!(read().await, [true, false]);
    t.place.raw("UPDATE upstream_slots SET state = 'maybe'").await;
    let read = t.read(async |tx| tx.verifiers(None, 100).await).await;
    assert!(read[0].row.as_ref().unwrap().upstream_credential.is_none());
    assert!(matches!(read[0].unreadable_secrets[..], [StoreError::Corrupt { .. }]), "{read:?}");
    assert!(read[1].unreadable_secrets.is_empty());
    // What was given is known even if the registration cannot be read.
    t.place.raw("UPDATE registrations SET access_token_ttl_seconds = -1").await;
    let read = t.read(async |tx| tx.verifiers(None, 100).await).await;
    let given = read[0].given.as_ref().map(|(environment, _)| environment.as_str());
    assert!(read[0].row.is_err() && given.is_some(), "{read:?}");
}

async fn every_sealed_secret_is_passed_on(t: TestDb) {
    t.write(seed_client).await;
    set(&t, 1, Slot::Current, &[1], 3).await;
    set(&t, 2, Slot::Next, &[2], 3).await;
    let mut passed = t
        .read(async |tx| {
            let mut passed = Vec::new();
            tx.each_sealed_upstream_secret(|id, slot, sealed| {
                passed.push((id.clone(), slot, sealed.to_vec()));
                Ok::<_, StoreError>(())
            })
            .await?;
            Ok(passed)
        })
        .await;
    passed.sort();
    let expected = [(registration_id(1), Slot::Current, vec![1]), (registration_id(2), Slot::Next, vec![2])];
    assert_eq!(passed, expected);
}

async fn a_deleted_client_leaves_no_credential_also_where_its_end_is_applied_again(t: TestDb) {
    t.write(async |tx| {
        seed_client(tx).await?;
        tx.insert_client(&client(2, "Other")).await?;
        tx.insert_registration(&registration(3, 2, "staging")).await
    })
    .await;
    let rows = async || t.place.number("SELECT COUNT(*) FROM upstream_slots").await;
    for registration in [1, 2, 3] {
        set(&t, registration, Slot::Current, &[1], 3).await;
        set(&t, registration, Slot::Next, &[2], 3).await;
    }
    t.write(async |tx| tx.delete_client(&client_id(1), at(9)).await).await;
    assert!(get(&t, 1).await.is_none() && get(&t, 2).await.is_none());
    assert_eq!((get(&t, 3).await.unwrap().slots.len(), rows().await), (2, 2), "another client's stay");
    let end = End::Client { id: client_id(2), at: at(10) };
    t.write(async |tx| tx.apply_end(&end).await).await;
    assert_eq!((get(&t, 3).await, rows().await), (None, 0));
}

async fn a_credential_is_limited_to_the_servers_that_stay(t: TestDb) {
    t.write(seed_client).await;
    for registration in [1, 2] {
        set(&t, registration, Slot::Current, &[1], 3).await;
    }
    let keep = async |kept: &[&str]| {
        let kept = kept.iter().map(|origin| (*origin).to_owned()).collect();
        t.write(async |tx| tx.keep_upstream_origins(&slug("staging"), &kept).await).await
    };
    assert!(keep(&["https://id.example", "https://id.example:8443", "https://new.example"]).await.is_empty());
    assert_eq!(get(&t, 1).await.unwrap().version, 1);
    assert_eq!(keep(&["https://id.example", "https://new.example"]).await, [registration_id(1)]);
    let stored = get(&t, 1).await.unwrap();
    assert_eq!((stored.origins, stored.version), (vec!["https://id.example".to_owned()], 2));
    assert_eq!(get(&t, 2).await.unwrap().origins.len(), 2, "another environment's stay");
}

async fn a_refused_credential_is_listed_until_it_is_accepted_or_deleted(t: TestDb) {
    t.write(seed_client).await;
    let both = [registration_id(1), registration_id(2)];
    for registration in [1, 2] {
        set(&t, registration, Slot::Current, &[1], 3).await;
    }
    let listed = async |limit| t.read(async |tx| tx.refused_upstream_credentials(limit).await).await;
    let refused = async || t.read(async |tx| tx.upstream_refused_of(&both).await).await;
    let note = async |registration, since: Option<u32>| {
        let refused = Refused { since: since.map(at), recorded_at: Some(at(9)) };
        t.write(async |tx| tx.set_upstream_refused(&registration_id(registration), refused).await).await;
    };
    assert!(listed(9).await.is_empty() && refused().await.is_empty());
    note(1, Some(8)).await;
    note(2, Some(7)).await;
    let found = listed(9).await;
    let found: Vec<_> = found.iter().map(|it| (it.environment.as_str(), it.since)).collect();
    assert_eq!(found, [("production", at(7)), ("staging", at(8))]);
    assert_eq!((listed(1).await.len(), refused().await.len()), (1, 2));
    // A secret that a person sets does not tell whether it works.
    set(&t, 1, Slot::Current, &[2], 10).await;
    assert_eq!(get(&t, 1).await.unwrap().refused, Refused { since: Some(at(8)), recorded_at: Some(at(9)) });
    note(1, None).await;
    assert_eq!((listed(9).await.len(), refused().await), (1, vec![registration_id(2)]));
    t.write(async |tx| tx.delete_client(&client_id(1), at(11)).await).await;
    assert!(listed(9).await.is_empty() && refused().await.is_empty());
}
