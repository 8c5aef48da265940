//! Owners of clients, people who manage them, who has seen a transition, and what is switched off.

use crate::engines::on_both_engines;
use crate::harness::*;
use crossfade_core::{
    messages::Switch,
    roles::{Grant, Role, Scope},
};
use crossfade_store::{Client, ClientFilter, ClientOrder, SwitchedFor};

on_both_engines! {
    the_clients_of_an_owner_are_found_by_the_whole_address,
    clients_without_an_owner_are_counted_and_listed_in_every_order,
    managers_are_the_people_whose_role_manages_clients,
    a_transition_is_seen_once_by_each_person_until_the_account_is_deleted,
    switches_are_kept_for_each_subject_and_end_with_the_account,
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

async fn the_clients_of_an_owner_are_found_by_the_whole_address(t: TestDb) {
    t.write(seed).await;
    let owners = [
        texts(&["ada@example.com", "team_1@example.com"]),
        texts(&["xada@example.com"]),
        texts(&["ada@example.com.org", "team-1@example.com"]),
        texts(&["\"a\\\"@example.com", "100%@example.com"]),
        texts(&["ada@example.com"]),
    ];
    for (n, owners) in owners.into_iter().enumerate() {
        let owned = Client { owners, ..client(n + 1, &format!("Client {n}")) };
        t.write(async |tx| tx.insert_client(&owned).await).await;
    }
    t.write(async |tx| tx.delete_client(&client_id(5), at(9)).await).await;
    let of = async |owner: &str| -> Vec<usize> {
        let found = t.read(async |tx| tx.clients_owned_by(owner).await).await;
        (1..=5).filter(|n| found.iter().any(|client| client.id == client_id(*n))).collect()
    };
    assert_eq!(of("ada@example.com").await, [1]);
    assert_eq!(of("team_1@example.com").await, [1], "an underscore is no pattern");
    assert_eq!(of("\"a\\\"@example.com").await, [4]);
    assert_eq!(of("100%@example.com").await, [4]);
    assert_eq!(of("1%@example.com").await, [0; 0]);
}

async fn clients_without_an_owner_are_counted_and_listed_in_every_order(t: TestDb) {
    t.write(seed_client).await;
    t.write(async |tx| {
        tx.insert_secret(&secret(1, 1, 1)).await?;
        tx.insert_client(&Client { owners: vec![], ..client(2, "Ledger") }).await?;
        tx.insert_registration(&registration(3, 2, "staging")).await?;
        tx.insert_secret(&secret(3, 3, 1)).await?;
        tx.insert_client(&Client { owners: vec![], ..client(3, "Gone") }).await?;
        tx.delete_client(&client_id(3), at(9)).await
    })
    .await;
    assert_eq!(t.read(async |tx| tx.ownerless_clients().await).await, 1);
    let filter = ClientFilter { ownerless: true, ..ClientFilter::default() };
    let listed = t.read(async |tx| tx.clients(&filter, &all()).await).await;
    assert_eq!(listed.iter().map(|client| client.id.clone()).collect::<Vec<_>>(), [client_id(2)]);
    for once in [false, true] {
        let filter = ClientFilter { once, ..filter.clone() };
        for order in [
            ClientOrder::Name,
            ClientOrder::NameReversed,
            ClientOrder::OldestSecret,
            ClientOrder::NewestSecret,
        ] {
            let lines = t.read(async |tx| tx.client_lines(&filter, order, None, 9, at(10)).await).await;
            assert_eq!(
                lines.iter().map(|line| line.id.clone()).collect::<Vec<_>>(),
                [client_id(2)],
                "{order:?}"
            );
        }
    }
    t.write(async |tx| tx.update_client(&Client { owners: vec![], ..client(1, "Billing") }).await).await;
    assert_eq!(t.read(async |tx| tx.ownerless_clients().await).await, 2);
}

async fn managers_are_the_people_whose_role_manages_clients(t: TestDb) {
    t.write(seed_client).await;
    let grant = |role, scope| Grant { role, scope, environments: None };
    t.write(async |tx| {
        for (n, email) in [(1, Some("a@x.org")), (2, Some("b@x.org")), (3, None), (4, Some("d@x.org"))] {
            tx.insert_user(&user(n, email)).await?;
        }
        let manager = Role::ApplicationManager;
        for (n, user, grant) in [
            (1, 1, grant(manager, Scope::Property(property_id(1)))),
            (2, 1, grant(Role::Viewer, Scope::Platform)),
            (3, 1, grant(manager, Scope::Client(client_id(9)))),
            (4, 2, grant(Role::SecretRotator, Scope::Platform)),
            (5, 3, grant(Role::Owner, Scope::Platform)),
            (6, 4, grant(Role::OperationsManager, Scope::Platform)),
        ] {
            tx.insert_grant(&grant_row(n, user, grant, at(n as u32))).await?;
        }
        Ok(())
    })
    .await;
    let of = async |client: Option<usize>| -> Vec<(String, usize)> {
        let (property, client) = (property_id(1), client.map(client_id));
        let of = client.as_ref().map(|client| (&property, client));
        let found = t.read(async |tx| tx.managers(of).await).await;
        found.into_iter().map(|it| (it.email, it.grants.len())).collect()
    };
    let pair = |email: &str, grants| (email.to_owned(), grants);
    assert_eq!(of(None).await, [pair("a@x.org", 2), pair("d@x.org", 1)], "no program, no reader");
    assert_eq!(of(Some(1)).await, [pair("a@x.org", 1), pair("d@x.org", 1)]);
    t.write(async |tx| tx.delete_user(&user_id(4), at(9)).await).await;
    assert_eq!(of(Some(1)).await, [pair("a@x.org", 1)]);
    let accounts = t.read(async |tx| tx.accounts_at(&["a@x.org", "d@x.org", "team@x.org"]).await).await;
    assert_eq!(accounts.into_values().map(|(id, _)| id).collect::<Vec<_>>(), [user_id(1)]);
}

async fn a_transition_is_seen_once_by_each_person_until_the_account_is_deleted(t: TestDb) {
    t.write(async |tx| {
        seed_client(tx).await?;
        tx.insert_secret(&secret(1, 1, 1)).await?;
        tx.set_secret_end(&secret_id(1), Some(at(5000)), None).await?;
        tx.insert_secret(&secret(2, 1, 2)).await?;
        tx.insert_rotation(&rotation(1, 1, 1, 1, 2)).await?;
        tx.insert_user(&user(1, Some("a@x.org"))).await?;
        tx.insert_user(&user(2, Some("b@x.org"))).await
    })
    .await;
    let (rotation, other) = (rotation_id(1), rotation_id(2));
    let owners = ["a@x.org".to_owned(), "team@x.org".to_owned()];
    let is_seen = async || t.read(async |tx| tx.is_seen_by(&rotation, &owners).await).await;
    assert!(!is_seen().await);
    for (user, time, is_new) in [(2, 3, true), (1, 4, true), (2, 5, false)] {
        let added = t.write(async |tx| tx.insert_seen(&rotation, &user_id(user), at(time)).await).await;
        assert_eq!(added, is_new);
        assert_eq!(is_seen().await, time > 3, "the first one is no owner");
    }
    let seen = async || t.read(async |tx| tx.seen_by(&[&rotation, &other]).await).await;
    let found = seen().await;
    let names: Vec<_> = found[&rotation].iter().map(|row| (row.name.as_str(), row.seen_at)).collect();
    assert_eq!(names, [("user 2", at(3)), ("user 1", at(4))]);
    assert!(!found.contains_key(&other) && is_seen().await);
    t.write(async |tx| tx.delete_user(&user_id(2), at(9)).await).await;
    assert!(is_seen().await);
    t.write(async |tx| tx.delete_user(&user_id(1), at(9)).await).await;
    assert!(!is_seen().await, "nobody is left who looks after it");
    assert_eq!(seen().await[&rotation].len(), 2, "its history stays");
    t.write(async |tx| tx.forget_seen(&secret_id(1)).await).await;
    assert!(seen().await.is_empty(), "another deadline is to be seen again");
}

async fn switches_are_kept_for_each_subject_and_end_with_the_account(t: TestDb) {
    t.write(async |tx| {
        seed_client(tx).await?;
        tx.insert_user(&user(1, Some("a@x.org"))).await?;
        tx.insert_user(&user(2, Some("b@x.org"))).await
    })
    .await;
    let [wake, rotated] = ["wake", "secret.rotated"].map(|word| Switch::parse(word).unwrap());
    let (person, of_client) = (user_id(1), client_id(1));
    let of = async |subject: SwitchedFor<'_>| t.read(async |tx| tx.switches(subject).await).await;
    let set = async |subject: SwitchedFor<'_>, off: &[Switch]| {
        t.write(async |tx| tx.set_switches(subject, off, at(3)).await).await;
    };
    set(SwitchedFor::Person(&person), &[rotated, wake]).await;
    set(SwitchedFor::Client(&of_client), &[wake]).await;
    assert_eq!(of(SwitchedFor::Person(&person)).await, [wake, rotated]);
    assert_eq!(of(SwitchedFor::Client(&of_client)).await, [wake]);
    assert_eq!(t.read(async |tx| tx.client(&of_client).await).await.unwrap().version, 2);
    // A word of another version stays in the row, and stops nothing.
    t.place
        .raw("INSERT INTO messages_off (subject, word, since) VALUES ('cl_0000000000000000000001', 'fax', 1)")
        .await;
    assert_eq!(of(SwitchedFor::Client(&of_client)).await.len(), 1);
    let at_addresses = ["a@x.org", "b@x.org", "team@x.org"];
    let found = t.read(async |tx| tx.switches_at(&at_addresses).await).await;
    assert_eq!(found.keys().collect::<Vec<_>>(), ["a@x.org"]);
    assert_eq!(found["a@x.org"].len(), 2);
    t.write(async |tx| tx.set_time_zone(&person, Some("Europe/Berlin")).await).await;
    assert_eq!(t.read(async |tx| tx.time_zone(&person).await).await.as_deref(), Some("Europe/Berlin"));
    let zones = t.read(async |tx| tx.time_zones_at(&at_addresses).await).await;
    assert_eq!(zones.into_iter().collect::<Vec<_>>(), [("a@x.org".to_owned(), "Europe/Berlin".to_owned())]);
    set(SwitchedFor::Client(&of_client), &[]).await;
    assert_eq!(of(SwitchedFor::Client(&of_client)).await, []);
    t.write(async |tx| tx.delete_user(&person, at(9)).await).await;
    assert_eq!(t.place.number("SELECT COUNT(*) FROM messages_off").await, 0);
    assert_eq!(t.place.number("SELECT COUNT(*) FROM users WHERE time_zone IS NOT NULL").await, 0);
}
