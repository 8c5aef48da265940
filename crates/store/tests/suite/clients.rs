//! Clients, their registrations, and the list of clients with its filters.

use crate::engines::on_both_engines;
use crate::harness::*;
use crossfade_core::{
    ClientId, OauthClientId, RegistrationId, Timestamp,
    networks::Networks,
    registration::{AuthMethod, AuthMethods, Scopes, TokenTtl},
};
use crossfade_store::{Client, ClientFilter, Environment, PageStart, Registration, StoreError};
use std::time::Duration;

on_both_engines! {
    a_client_is_created_changed_and_deleted,
    a_name_is_unique_in_its_property_among_living_clients,
    every_setting_of_a_registration_survives_storage,
    registrations_come_in_the_order_of_the_environments,
    an_oauth_client_id_is_never_given_again_rule_14,
    a_search_takes_what_was_typed_literally_and_ignores_case,
    a_search_finds_a_whole_oauth_client_id_and_no_part_of_it,
    the_list_is_limited_by_property_and_environment_together,
    a_client_is_overdue_exactly_when_its_secret_reaches_the_maximum_age,
    pages_skip_and_repeat_nothing_while_clients_come_and_go,
    registrations_of_a_missing_client_are_none,
}

async fn list(t: &TestDb, filter: ClientFilter) -> Vec<String> {
    let clients = t.read(async |tx| tx.clients(&filter, &all()).await).await;
    clients.into_iter().map(|client| client.name.as_str().to_owned()).collect()
}

async fn search(t: &TestDb, q: &str) -> Vec<String> {
    list(t, ClientFilter { q: Some(q.into()), ..ClientFilter::default() }).await
}

async fn a_client_is_created_changed_and_deleted(t: TestDb) {
    t.write(seed).await;
    let created = client(1, "Billing \"API\" 💸");
    t.write(async |tx| tx.insert_client(&created).await).await;
    let stored = t.read(async |tx| tx.client(&client_id(1)).await).await.unwrap();
    assert_same(&stored, &created);
    let changed = Client {
        name: name("Accounts"),
        description: String::new(),
        owners: Vec::new(),
        version: 2,
        ..created
    };
    t.write(async |tx| tx.update_client(&changed).await).await;
    let stored = t.read(async |tx| tx.client(&client_id(1)).await).await.unwrap();
    assert_same(&stored, &changed);
    t.write(async |tx| tx.delete_client(&client_id(1), at(9)).await).await;
    assert!(t.read(async |tx| tx.client(&client_id(1)).await).await.is_none());
    assert_eq!(list(&t, ClientFilter::default()).await, [""; 0]);
    assert_eq!(t.place.number("SELECT COUNT(*) FROM clients").await, 1, "its history stays");
}

async fn a_name_is_unique_in_its_property_among_living_clients(t: TestDb) {
    t.write(seed).await;
    t.write(async |tx| tx.insert_client(&client(1, "Billing")).await).await;
    let named = async |text| t.read(async |tx| tx.client_named(&property_id(1), &name(text)).await).await;
    assert_eq!(named("BILLING").await, Some(client_id(1)));
    assert_eq!(named("Billin").await, None);
    let twice = t.try_write(async |tx| tx.insert_client(&client(2, "billing")).await).await;
    assert!(matches!(twice, Err(StoreError::Duplicate)));
    t.write(async |tx| {
        tx.insert_property(&property_id(2), &name("Other"), at(0)).await?;
        tx.insert_client(&Client { property_id: property_id(2), ..client(3, "Billing") }).await?;
        tx.delete_client(&client_id(1), at(9)).await?;
        tx.insert_client(&client(2, "billing")).await
    })
    .await;
    assert_eq!(named("Billing").await, Some(client_id(2)), "a deleted client's name is free");
}

async fn every_setting_of_a_registration_survives_storage(t: TestDb) {
    t.write(seed).await;
    let created = Registration {
        methods: AuthMethods::parse(&[AuthMethod::ClientSecretPost]).unwrap(),
        scopes: Scopes::from_stored(String::new()),
        audience: Some("https://api.example.com".into()),
        ttl: TokenTtl::parse(60).unwrap(),
        may_introspect: true,
        allowed_networks: Networks::parse("", &["10.0.0.0/8".to_owned()]).ok(),
        ..registration(1, 1, "staging")
    };
    t.write(async |tx| {
        tx.insert_client(&client(1, "Billing")).await?;
        tx.insert_registration(&created).await
    })
    .await;
    let get =
        async || t.read(async |tx| tx.registration(&client_id(1), &slug("staging")).await).await.unwrap();
    assert_same(&get().await, &created);
    let changed = Registration {
        methods: AuthMethods::parse(&[AuthMethod::ClientSecretBasic]).unwrap(),
        scopes: Scopes::from_stored("a b c".into()),
        audience: None,
        ttl: TokenTtl::LONGEST,
        may_introspect: false,
        self_rotation: true,
        allowed_networks: Networks::parse("", &["192.0.2.0/24".to_owned(), "2001:db8::/32".to_owned()]).ok(),
        disabled_at: Some(at(20)),
        enabled_at: Some(at(21)),
        earlier_tokens_end_at: Some(at(30)),
        version: 2,
        ..created
    };
    t.write(async |tx| tx.update_registration(&changed).await).await;
    assert_same(&get().await, &changed);
    t.write(async |tx| tx.insert_secret(&secret(5, 1, 1)).await).await;
    assert_eq!(get().await.current_since, Some(at(5)), "when its current secret was generated");
    t.write(async |tx| tx.set_secret_end(&secret_id(5), Some(at(99)), None).await).await;
    assert_eq!(get().await.current_since, None, "a retiring secret is not current");
    let none = t.read(async |tx| tx.registration(&client_id(1), &slug("production")).await).await;
    assert!(none.is_none());
}

async fn registrations_come_in_the_order_of_the_environments(t: TestDb) {
    t.write(seed_client).await;
    t.write(async |tx| {
        tx.insert_registration(&registration(3, 1, "development")).await?;
        tx.insert_client(&client(2, "Other")).await?;
        tx.insert_registration(&registration(4, 2, "staging")).await
    })
    .await;
    let of = async |n| {
        let rows = t.read(async |tx| tx.registrations(&client_id(n)).await).await;
        rows.into_iter().map(|row| row.id).collect::<Vec<_>>()
    };
    assert_eq!(of(1).await, [3, 1, 2].map(registration_id));
    assert_eq!(of(2).await, [registration_id(4)]);
}

async fn an_oauth_client_id_is_never_given_again_rule_14(t: TestDb) {
    t.write(seed_client).await;
    t.write(async |tx| {
        tx.delete_client(&client_id(1), at(9)).await?;
        tx.insert_client(&client(2, "Billing")).await
    })
    .await;
    let taken = Registration { oauth_client_id: oauth_id(1), ..registration(3, 2, "staging") };
    let again = t.try_write(async |tx| tx.insert_registration(&taken).await).await;
    assert!(matches!(again, Err(StoreError::Duplicate)), "{again:?}");
    let elsewhere = Registration { oauth_client_id: oauth_id(1), ..registration(5, 2, "development") };
    t.write(async |tx| tx.insert_registration(&elsewhere).await).await;
    t.write(async |tx| tx.insert_registration(&registration(3, 2, "staging")).await).await;
    let second = t.try_write(async |tx| tx.insert_registration(&registration(4, 2, "staging")).await).await;
    assert!(matches!(second, Err(StoreError::Duplicate)), "one registration in each environment");
}

async fn a_search_takes_what_was_typed_literally_and_ignores_case(t: TestDb) {
    t.write(seed).await;
    let names =
        ["100% sure", "1000 sure", "a_b", "axb", "wow!", "wow", "back\\slash", "Ölmühle", "O'Brien \"x\""];
    t.write(async |tx| {
        for (n, text) in names.into_iter().enumerate() {
            tx.insert_client(&client(n + 1, text)).await?;
        }
        Ok(())
    })
    .await;
    for (q, found) in [
        ("%", vec!["100% sure"]),
        ("0% s", vec!["100% sure"]),
        ("_", vec!["a_b"]),
        ("A_B", vec!["a_b"]),
        ("a%b", vec![]),
        ("!", vec!["wow!"]),
        ("!!", vec![]),
        ("!%", vec![]),
        ("\\", vec!["back\\slash"]),
        ("\\s", vec!["back\\slash"]),
        ("WOW", vec!["wow!", "wow"]),
        ("ölMÜHLE", vec!["Ölmühle"]),
        ("olmuhle", vec![]),
        ("o'brien \"X", vec!["O'Brien \"x\""]),
        ("sure", vec!["100% sure", "1000 sure"]),
        ("sure ", vec![]),
        ("", names.to_vec()),
        ("'; DROP TABLE clients; --", vec![]),
    ] {
        assert_eq!(search(&t, q).await, found, "{q:?}");
    }
}

async fn a_search_finds_a_whole_oauth_client_id_and_no_part_of_it(t: TestDb) {
    t.write(seed_client).await;
    let oauth = OauthClientId::parse("AbCdEfGhIjKlMnOpQrStUv").unwrap();
    t.write(async |tx| {
        tx.insert_client(&client(2, "Other")).await?;
        let registered = Registration { oauth_client_id: oauth, ..registration(3, 2, "staging") };
        tx.insert_registration(&registered).await
    })
    .await;
    assert_eq!(search(&t, "AbCdEfGhIjKlMnOpQrStUv").await, ["Other"]);
    assert_eq!(search(&t, oauth_id(2).as_str()).await, ["Billing"], "of any environment");
    let given = OauthClientId::parse("web:app \"1\" %_!").unwrap();
    t.write(async |tx| {
        for (n, client) in [(4, 1), (5, 2)] {
            let environment = if n == 4 { "development" } else { "production" };
            let registered =
                Registration { oauth_client_id: given.clone(), ..registration(n, client, environment) };
            tx.insert_registration(&registered).await?;
        }
        Ok(())
    })
    .await;
    let both = search(&t, given.as_str()).await;
    assert_eq!(both, ["Billing", "Other"], "a given one, in each environment that has it");
    for part in ["AbCdEfGhIjKlMnOpQrStU", "abcdefghijklmnopqrstuv", "AbCdEfGhIjKlMnOpQrStU_"] {
        assert_eq!(search(&t, part).await, [""; 0], "{part}");
    }
}

async fn the_list_is_limited_by_property_and_environment_together(t: TestDb) {
    t.write(seed_client).await;
    t.write(async |tx| {
        tx.insert_property(&property_id(2), &name("Other"), at(0)).await?;
        tx.insert_client(&Client { property_id: property_id(2), ..client(2, "Ledger") }).await?;
        tx.insert_registration(&registration(3, 2, "staging")).await?;
        tx.insert_client(&client(3, "Nowhere")).await
    })
    .await;
    let filter = |property: Option<usize>, environment: Option<&str>| ClientFilter {
        property_id: property.map(property_id),
        environment: environment.map(slug),
        ..ClientFilter::default()
    };
    for (property, environment, found) in [
        (None, None, vec!["Billing", "Ledger", "Nowhere"]),
        (Some(1), None, vec!["Billing", "Nowhere"]),
        (Some(2), None, vec!["Ledger"]),
        (Some(3), None, vec![]),
        (None, Some("staging"), vec!["Billing", "Ledger"]),
        (None, Some("production"), vec!["Billing"]),
        (None, Some("development"), vec![]),
        (Some(2), Some("staging"), vec!["Ledger"]),
        (Some(2), Some("production"), vec![]),
    ] {
        assert_eq!(list(&t, filter(property, environment)).await, found, "{property:?} {environment:?}");
    }
    let both = ClientFilter { q: Some("ED".into()), ..filter(None, Some("staging")) };
    assert_eq!(list(&t, both).await, ["Ledger"]);
}

async fn a_client_is_overdue_exactly_when_its_secret_reaches_the_maximum_age(t: TestDb) {
    t.write(seed_client).await;
    let overdue = async |now: Timestamp| {
        !list(&t, ClientFilter { overdue_at: Some(now), ..ClientFilter::default() }).await.is_empty()
    };
    let far = at(0).after(DAY * 9999);
    assert!(!overdue(far).await, "without a secret nothing is overdue");
    // Secret 1 stands in staging, secret 2 in production, a second later.
    t.write(async |tx| {
        tx.insert_secret(&secret(1, 1, 1)).await?;
        tx.insert_secret(&secret(2, 2, 1)).await
    })
    .await;
    let limit = |seconds| at(seconds).after(DAY * 90);
    assert!(!overdue(limit(1).before(MICRO)).await);
    assert!(overdue(limit(1)).await);
    let max_age = async |days| {
        t.write(async |tx| {
            tx.update_environment(&Environment { max_age_days: days, ..environment("staging", 1) }).await
        })
        .await
    };
    max_age(None).await;
    assert!(!overdue(limit(2).before(MICRO)).await, "staging knows no age any more");
    assert!(overdue(limit(2)).await, "production does");
    max_age(Some(0)).await;
    assert!(overdue(at(1)).await && !overdue(at(1).before(MICRO)).await);
    max_age(Some(365_000)).await;
    // Rotated in production: the retiring secret does not count, the new one does.
    t.write(async |tx| {
        tx.set_secret_end(&secret_id(2), Some(far), None).await?;
        tx.insert_secret(&secret(100, 2, 2)).await
    })
    .await;
    assert!(!overdue(limit(100).before(MICRO)).await);
    assert!(overdue(limit(100)).await);
}

/// Every client of the list, page by page, with `between` run behind each page.
async fn paged(t: &TestDb, limit: i64, mut between: impl AsyncFnMut(&Client)) -> Vec<ClientId> {
    let (mut page, mut seen) = (first(limit), Vec::new());
    loop {
        let rows = t.read(async |tx| tx.clients(&ClientFilter::default(), &page).await).await;
        assert!(rows.len() <= limit as usize);
        let Some(last) = rows.last() else { return seen };
        page = PageStart { after: Some((last.created_at.as_micros(), last.id.as_str().into())), limit };
        between(last).await;
        seen.extend(rows.into_iter().map(|row| row.id));
    }
}

async fn pages_skip_and_repeat_nothing_while_clients_come_and_go(t: TestDb) {
    t.write(seed).await;
    // Of the same microsecond three at a time, with ids that differ in case alone: the hardest order there is.
    let id = |text: &str| ClientId::parse(&format!("cl_000000000000000000000{text}")).unwrap();
    let letters = ["a", "A", "b", "B", "c", "C", "0", "z", "Z"];
    t.write(async |tx| {
        for (n, text) in letters.iter().enumerate() {
            let client = Client { id: id(text), created_at: at(n as u32 / 3), ..client(1, &format!("c{n}")) };
            tx.insert_client(&client).await?;
        }
        Ok(())
    })
    .await;
    let mut expected: Vec<ClientId> = letters.iter().map(|text| id(text)).collect();
    let everything = t.read(async |tx| tx.clients(&ClientFilter::default(), &all()).await).await;
    let order: Vec<ClientId> = everything.iter().map(|client| client.id.clone()).collect();
    assert!(everything.is_sorted_by_key(|client| client.created_at));
    expected.sort();
    let mut sorted = order.clone();
    sorted.sort();
    assert_eq!(sorted, expected);
    for limit in [1, 2, 4, 8, 9, 10] {
        assert_eq!(paged(&t, limit, async |_| ()).await, order, "pages of {limit}");
    }
    // Now others appear before and behind the cursor, and the last client of each page goes.
    let mut new = 0;
    let seen = paged(&t, 2, async |last| {
        t.write(async |tx| {
            tx.delete_client(&last.id, at(99)).await?;
            if new < 8 {
                for time in [Duration::ZERO, Duration::from_secs(2)] {
                    new += 1;
                    let at = at(0).before(HOUR).after(time * 3600 * new);
                    tx.insert_client(&Client {
                        created_at: at,
                        ..client(new as usize + 50, &format!("new {new}"))
                    })
                    .await?;
                }
            }
            Ok(())
        })
        .await;
    })
    .await;
    let of_old: Vec<&ClientId> = seen.iter().filter(|id| order.contains(id)).collect();
    assert_eq!(of_old, order.iter().collect::<Vec<_>>(), "each of the old ones once, in order");
    let mut unique = seen.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), seen.len(), "nothing twice");
}

async fn registrations_of_a_missing_client_are_none(t: TestDb) {
    t.write(seed).await;
    let none: Vec<RegistrationId> = t
        .read(async |tx| tx.registrations(&client_id(1)).await)
        .await
        .into_iter()
        .map(|row| row.id)
        .collect();
    assert!(none.is_empty());
    assert!(t.read(async |tx| tx.client(&client_id(1)).await).await.is_none());
}
