//! Clients that are not registered in an environment in front of another issuer.

use crate::engines::on_both_engines;
use crate::harness::*;
use crossfade_core::{
    OauthClientId, Timestamp,
    environment::Slug,
    unregistered::{PassedMethod, PassedOutcome, PassedRequests},
};
use crossfade_store::{PageStart, UnregisteredClient};
use std::collections::BTreeMap;

on_both_engines! {
    requests_of_several_nodes_are_added_up,
    a_client_is_kept_by_name_only_if_the_issuer_gave_it_a_token,
    clients_beyond_the_limit_are_part_of_the_sum_and_known_ones_go_on,
    pages_list_the_latest_tokens_first_and_the_sum_last,
    a_client_is_forgotten_when_it_is_old_or_registered,
    an_environment_is_deleted_with_its_unregistered_clients,
    any_client_id_survives_storage,
}

const TOKEN: PassedOutcome = PassedOutcome::Accepted { status: 200, is_token: true };

fn staging() -> Slug {
    Slug::parse("environment", "staging").unwrap()
}

fn id(text: &str) -> OauthClientId {
    OauthClientId::parse(text).unwrap()
}

fn one(seconds: u32, outcome: PassedOutcome) -> PassedRequests {
    PassedRequests::one(at(seconds), outcome, PassedMethod::ClientSecretPost, "192.0.2.1".into())
}

async fn add_most(
    t: &TestDb,
    clients: &[(&str, PassedRequests)],
    others: Option<PassedRequests>,
    most: usize,
) {
    let clients: BTreeMap<_, _> = clients.iter().map(|(name, it)| (id(name), it.clone())).collect();
    t.write(async |tx| tx.add_unregistered_clients(&staging(), clients, others, most).await).await;
}

async fn add(t: &TestDb, clients: &[(&str, PassedRequests)], others: Option<PassedRequests>) {
    add_most(t, clients, others, 100).await;
}

async fn list(t: &TestDb, environment: &Slug) -> Vec<UnregisteredClient> {
    let page = PageStart { after: None, limit: 2000 };
    t.read(async |tx| tx.unregistered_clients(environment, &page).await).await
}

/// The names in their order, `-` for the sum, with the numbers of accepted and refused requests.
async fn numbers(t: &TestDb) -> Vec<(String, i64, i64)> {
    let name = |it: &UnregisteredClient| it.client_id.as_ref().map_or("-", OauthClientId::as_str).to_owned();
    let listed = list(t, &staging()).await;
    listed.iter().map(|it| (name(it), it.requests.accepted, it.requests.refused)).collect()
}

fn row(name: &str, accepted: i64, refused: i64) -> (String, i64, i64) {
    (name.to_owned(), accepted, refused)
}

async fn requests_of_several_nodes_are_added_up(t: TestDb) {
    t.write(seed).await;
    add(&t, &[("portal", one(5, TOKEN))], None).await;
    let other = PassedRequests::one(at(3), TOKEN, PassedMethod::Assertion, "198.51.100.2".into());
    add(&t, &[("portal", other.clone())], None).await;
    add(&t, &[("portal", one(9, PassedOutcome::Refused(401)))], None).await;
    let mut expected = one(5, TOKEN);
    expected.merge(other);
    expected.merge(one(9, PassedOutcome::Refused(401)));
    let listed = list(&t, &staging()).await;
    assert_eq!(listed, [UnregisteredClient { client_id: Some(id("portal")), requests: expected }]);
    assert_eq!(listed[0].requests.sources.len(), 2);
    assert!(list(&t, &Slug::parse("environment", "production").unwrap()).await.is_empty());
}

async fn a_client_is_kept_by_name_only_if_the_issuer_gave_it_a_token(t: TestDb) {
    t.write(seed).await;
    let accepted = PassedOutcome::Accepted { status: 200, is_token: false };
    add(&t, &[("made-up", one(1, PassedOutcome::Refused(401))), ("revoker", one(2, accepted))], None).await;
    assert_eq!(numbers(&t).await, [row("-", 1, 1)]);
    let sum = &list(&t, &staging()).await[0].requests;
    assert!(sum.sources.is_empty() && sum.methods.is_empty() && sum.last_status.is_none(), "{sum:?}");
    add(&t, &[("revoker", one(3, TOKEN))], Some(one(4, PassedOutcome::Failed))).await;
    add(&t, &[("revoker", one(5, PassedOutcome::Refused(400)))], None).await;
    assert_eq!(numbers(&t).await, [row("revoker", 1, 1), row("-", 1, 1)]);
    assert_eq!(list(&t, &staging()).await[1].requests.failed, 1);
}

async fn clients_beyond_the_limit_are_part_of_the_sum_and_known_ones_go_on(t: TestDb) {
    t.write(seed).await;
    add_most(&t, &[("a", one(1, TOKEN)), ("b", one(1, TOKEN)), ("c", one(1, TOKEN))], None, 2).await;
    assert_eq!(numbers(&t).await, [row("a", 1, 0), row("b", 1, 0), row("-", 1, 0)]);
    add_most(&t, &[("0", one(2, TOKEN)), ("b", one(2, TOKEN))], None, 2).await;
    assert_eq!(numbers(&t).await, [row("b", 2, 0), row("a", 1, 0), row("-", 2, 0)]);
}

async fn pages_list_the_latest_tokens_first_and_the_sum_last(t: TestDb) {
    t.write(seed).await;
    let names: Vec<String> = (0..7).map(|n| format!("app-{n}")).collect();
    let clients: Vec<_> = (0..7).map(|n| (&*names[n as usize], one(n / 2, TOKEN))).collect();
    add(&t, &clients, Some(one(90, PassedOutcome::Refused(401)))).await;
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = PageStart { after: after.clone(), limit: 3 };
        let rows = t.read(async |tx| tx.unregistered_clients(&staging(), &page).await).await;
        assert!(rows.len() <= 3);
        let Some(last) = rows.last() else { break };
        after = Some(last.key());
        found.extend(rows);
    }
    assert_eq!(found, list(&t, &staging()).await);
    let names: Vec<_> = found.iter().map(|it| it.client_id.as_ref().map(OauthClientId::as_str)).collect();
    let expected = ["app-6", "app-4", "app-5", "app-2", "app-3", "app-0", "app-1"].map(Some);
    assert_eq!(names, [&expected[..], &[None]].concat());
}

async fn a_client_is_forgotten_when_it_is_old_or_registered(t: TestDb) {
    t.write(seed_client).await;
    let given = registration(1, 1, "staging").oauth_client_id;
    add(
        &t,
        &[
            ("old", one(1, TOKEN)),
            ("new", one(9, TOKEN)),
            ("taken", one(9, TOKEN)),
            (given.as_str(), one(9, TOKEN)),
        ],
        Some(one(1, PassedOutcome::Refused(401))),
    )
    .await;
    // A stranger who uses the name does not keep it.
    add(&t, &[("old", one(9, PassedOutcome::Refused(401)))], None).await;
    t.write(async |tx| tx.delete_unregistered_client(&staging(), &id("taken")).await).await;
    t.write(async |tx| tx.forget_unregistered_clients(at(1)).await).await;
    assert_eq!(numbers(&t).await, [row("new", 1, 0), row("old", 1, 1), row("-", 0, 1)]);
    t.write(async |tx| tx.forget_unregistered_clients(at(2)).await).await;
    assert_eq!(numbers(&t).await, [row("new", 1, 0)]);
}

async fn an_environment_is_deleted_with_its_unregistered_clients(t: TestDb) {
    t.write(seed).await;
    add(&t, &[("portal", one(1, TOKEN))], Some(one(1, PassedOutcome::Failed))).await;
    t.write(async |tx| tx.delete_environment(&staging()).await).await;
    assert!(list(&t, &staging()).await.is_empty());
}

async fn any_client_id_survives_storage(t: TestDb) {
    t.write(seed).await;
    let all: String = (' '..='~').collect();
    let names =
        [&*all, " ", "'; DROP TABLE environments; --", "=1+1", "%_", &"x".repeat(256), "A", "a", " a"];
    let clients: Vec<_> = names.iter().map(|name| (*name, one(1, TOKEN))).collect();
    add(&t, &clients, None).await;
    let listed = list(&t, &staging()).await;
    assert_eq!(listed.len(), names.len());
    for name in names {
        assert!(listed.iter().any(|it| it.client_id == Some(id(name))), "{name}");
    }
    let latest: Option<Timestamp> = listed[0].requests.last_token_at;
    assert_eq!(latest, Some(at(1)));
}
