//! Properties.

use crate::engines::on_both_engines;
use crate::harness::*;
use crossfade_store::{Property, StoreError};

on_both_engines! {
    a_property_is_created_renamed_and_deleted,
    names_that_differ_in_case_alone_are_one_name,
    properties_are_listed_oldest_first_page_by_page,
    a_property_whose_clients_were_all_deleted_still_has_their_history,
}

async fn a_property_is_created_renamed_and_deleted(t: TestDb) {
    let odd = "O'Brien \"%_!\\ 請求書 💸";
    t.write(async |tx| tx.insert_property(&property_id(1), &name(odd), at(5)).await).await;
    let stored = t.read(async |tx| tx.property(&property_id(1)).await).await.unwrap();
    let expected = Property { id: property_id(1), name: name(odd), created_at: at(5), version: 1 };
    assert_same(&stored, &expected);
    t.write(async |tx| tx.rename_property(&property_id(1), &name("Shop")).await).await;
    let renamed = t.read(async |tx| tx.property(&property_id(1)).await).await.unwrap();
    assert_same(&renamed, &Property { name: name("Shop"), version: 2, ..expected });
    t.write(async |tx| tx.delete_property(&property_id(1)).await).await;
    assert!(t.read(async |tx| tx.property(&property_id(1)).await).await.is_none());
}

async fn names_that_differ_in_case_alone_are_one_name(t: TestDb) {
    t.write(async |tx| tx.insert_property(&property_id(1), &name("Ölmühle"), at(0)).await).await;
    let named = t.read(async |tx| tx.property_named(&name("ÖLMÜHLE")).await).await;
    assert_eq!(named, Some(property_id(1)));
    assert_eq!(t.read(async |tx| tx.property_named(&name("Olmuhle")).await).await, None);
    let twice = t.try_write(async |tx| tx.insert_property(&property_id(2), &name("ölmühle"), at(1)).await);
    assert!(matches!(twice.await, Err(StoreError::Duplicate)));
    t.write(async |tx| tx.insert_property(&property_id(2), &name("Mill"), at(1)).await).await;
    let onto = t.try_write(async |tx| tx.rename_property(&property_id(2), &name("ÖLmühle")).await).await;
    assert!(matches!(onto, Err(StoreError::Duplicate)));
    t.write(async |tx| tx.rename_property(&property_id(2), &name("MILL")).await).await;
}

async fn properties_are_listed_oldest_first_page_by_page(t: TestDb) {
    // Two of each second: the id decides between them.
    t.write(async |tx| {
        for n in (1..=7).rev() {
            tx.insert_property(&property_id(n), &name(&format!("P{n}")), at(n as u32 / 2)).await?;
        }
        Ok(())
    })
    .await;
    let (mut page, mut seen) = (first(3), Vec::new());
    loop {
        let rows = t.read(async |tx| tx.properties(&page).await).await;
        let Some(last) = rows.last() else { break };
        page = after(last.created_at.as_micros(), last.id.as_str(), 3);
        seen.extend(rows.into_iter().map(|row| row.id));
    }
    assert_eq!(seen, (1..=7).map(property_id).collect::<Vec<_>>());
}

async fn a_property_whose_clients_were_all_deleted_still_has_their_history(t: TestDb) {
    t.write(seed).await;
    assert!(!t.read(async |tx| tx.property_has_clients(&property_id(1)).await).await);
    t.write(async |tx| {
        tx.insert_client(&client(1, "Billing")).await?;
        tx.delete_client(&client_id(1), at(9)).await
    })
    .await;
    assert!(t.read(async |tx| tx.property_has_clients(&property_id(1)).await).await);
}
