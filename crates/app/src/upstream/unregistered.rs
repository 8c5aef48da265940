//! Clients that are not registered and whose requests are passed on: noted in memory by requests, stored by the worker, and
//! listed, so that operators know which ones are left to register.

use crate::{
    app::App,
    error::Error,
    frame::{
        cursor::{ListQuery, Scan},
        principal::Principal,
        targets::EnvironmentPath,
    },
};
use crossfade_core::{
    Code, OauthClientId, Operation,
    api::{self, Page},
    environment::Slug,
    unregistered::{MAX_CLIENTS, PassedRequests},
};
use crossfade_store::{Environment, UnregisteredClient};
use std::{
    collections::{BTreeMap, btree_map::Entry},
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Maximum number of names of an environment that are held until the next storing although the issuer gave them no token
/// since the last one: of known clients, and of strangers.
const MAX_UNPROVEN: usize = 1000;

/// Requests that wait to be stored.
#[derive(Default)]
pub(crate) struct Unregistered(Mutex<BTreeMap<Slug, Waiting>>);

/// Requests of one environment. Its size does not depend on the number of requests, nor on the names in them.
#[derive(Default)]
struct Waiting {
    /// Clients to which the issuer gave tokens.
    proven: BTreeMap<OauthClientId, PassedRequests>,
    /// Other names. Whether they are known is looked up when they are stored.
    unproven: BTreeMap<OauthClientId, PassedRequests>,
    /// All others.
    others: Option<PassedRequests>,
}

impl Waiting {
    fn note(&mut self, client_id: Option<OauthClientId>, mut requests: PassedRequests) {
        let Some(client_id) = client_id else { return self.note_other(requests) };
        if let Some(own) = self.proven.get_mut(&client_id) {
            return own.merge(requests);
        }
        if requests.is_proven() {
            if let Some(earlier) = self.unproven.remove(&client_id) {
                requests.merge(earlier);
            }
            if self.proven.len() < MAX_CLIENTS {
                self.proven.insert(client_id, requests);
                return;
            }
            return self.note_other(requests);
        }
        let has_room = self.unproven.len() < MAX_UNPROVEN;
        match self.unproven.entry(client_id) {
            Entry::Occupied(mut own) => own.get_mut().merge(requests),
            Entry::Vacant(place) if has_room => drop(place.insert(requests)),
            Entry::Vacant(_) => self.note_other(requests),
        }
    }

    fn note_other(&mut self, requests: PassedRequests) {
        let requests = requests.unnamed();
        match &mut self.others {
            Some(others) => others.merge(requests),
            None => self.others = Some(requests),
        }
    }
}

impl Unregistered {
    fn all(&self) -> MutexGuard<'_, BTreeMap<Slug, Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note(
        &self,
        environment: &Slug,
        client_id: Option<OauthClientId>,
        requests: PassedRequests,
    ) {
        let mut all = self.all();
        if !all.contains_key(environment) {
            all.insert(environment.clone(), Waiting::default());
        }
        if let Some(waiting) = all.get_mut(environment) {
            waiting.note(client_id, requests);
        }
    }

    fn take(&self) -> BTreeMap<Slug, Waiting> {
        mem::take(&mut *self.all())
    }

    /// Puts back what could not be stored, within the same limits.
    fn put_back(&self, environment: &Slug, waiting: Waiting) {
        for (client_id, requests) in waiting.proven.into_iter().chain(waiting.unproven) {
            self.note(environment, Some(client_id), requests);
        }
        if let Some(others) = waiting.others {
            self.note(environment, None, others);
        }
    }
}

impl App {
    /// Stores the requests of clients that are not registered, in one transaction for each environment.
    pub(crate) async fn store_unregistered_clients(&self) -> Result<(), Error> {
        let mut failed: Option<Error> = None;
        for (environment, waiting) in self.unregistered.take() {
            // A row that cannot be read does not hold up other environments.
            if failed.as_ref().is_some_and(|error| !error.is_corrupt()) {
                self.unregistered.put_back(&environment, waiting);
                continue;
            }
            if let Err(error) = self.store_unregistered_in(&environment, &waiting).await {
                // What may have been stored is not counted a second time.
                if error.problem.code != Code::OutcomeUnknown {
                    self.unregistered.put_back(&environment, waiting);
                }
                failed = Some(error);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    async fn store_unregistered_in(&self, environment: &Slug, waiting: &Waiting) -> Result<(), Error> {
        self.node
            .write(async |tx, _| {
                // It may have been deleted, or issue its own tokens by now.
                let stored = tx.environment(environment).await?;
                if stored.is_none_or(|stored| stored.upstream.is_none()) {
                    return Ok(());
                }
                let clients = waiting.proven.iter().chain(&waiting.unproven);
                let clients = clients.filter(|(client_id, _)| !self.was_given(environment, client_id));
                let clients = clients.map(|(client_id, requests)| (client_id.clone(), requests.clone()));
                let (clients, others) = (clients.collect(), waiting.others.clone());
                Ok(tx.add_unregistered_clients(environment, clients, others, MAX_CLIENTS).await?)
            })
            .await
            .map(drop)
    }

    /// Whether a `client_id` is or was that of a registration.
    fn was_given(&self, environment: &Slug, client_id: &OauthClientId) -> bool {
        let environment = self.authority.environment(environment.as_str());
        environment.is_some_and(|own| self.authority.was_given(&own, client_id.as_str()))
    }

    /// Returns the clients of an environment that are not registered and to which its issuer gave tokens, those with the
    /// latest tokens first, and then the sum of all other requests that were passed on.
    pub async fn list_unregistered_clients(
        &self,
        principal: &Principal,
        path: EnvironmentPath<'_>,
        query: &ListQuery,
    ) -> Result<Page<api::UnregisteredClient>, Error> {
        let start = self.cursors.start(format!("unregistered clients of {}", path.0), query)?;
        let operation = Operation::ListUnregisteredClients;
        self.view(operation, principal, path, async |tx, _, environment: Environment| {
            let mut scan = Scan::new(&start, true);
            while let Some(from) = scan.next() {
                let rows = tx.unregistered_clients(&environment.slug, &from).await?;
                scan.read(rows.len(), rows.last().map(UnregisteredClient::key));
                // Another form of a name that is registered, or one that was registered just now.
                let is_left = |row: &UnregisteredClient| {
                    row.client_id.as_ref().is_none_or(|own| !self.was_given(&environment.slug, own))
                };
                rows.into_iter().filter(is_left).for_each(|row| scan.keep(row));
            }
            let (rows, next_cursor) = scan.rows(UnregisteredClient::key)?;
            Ok(Page { items: rows.into_iter().map(shown).collect(), next_cursor })
        })
        .await
    }
}

fn shown(row: UnregisteredClient) -> api::UnregisteredClient {
    let UnregisteredClient { client_id, requests } = row;
    let sources = requests.sources.into_iter();
    api::UnregisteredClient {
        client_id,
        first_seen_at: requests.first_seen_at,
        last_seen_at: requests.last_seen_at,
        last_token_at: requests.last_token_at,
        accepted_count: requests.accepted,
        refused_count: requests.refused,
        failed_count: requests.failed,
        last_status: requests.last_status,
        authentication_methods: requests.methods.into_iter().collect(),
        sources: sources
            .map(|it| api::UnregisteredSource { source_ip: it.ip, last_token_at: it.last_at })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossfade_core::{
        Timestamp,
        unregistered::{MAX_SOURCES, PassedMethod, PassedOutcome},
    };

    const TOKEN: PassedOutcome = PassedOutcome::Accepted { status: 200, is_token: true };
    const REFUSED: PassedOutcome = PassedOutcome::Refused(401);

    fn here() -> Slug {
        Slug::from_stored("here".into())
    }

    fn note(unregistered: &Unregistered, name: &str, outcome: PassedOutcome, at: i64) {
        let ip = format!("192.0.2.{}", at % 200);
        let requests = PassedRequests::one(Timestamp::from_micros(at), outcome, PassedMethod::Assertion, ip);
        unregistered.note(&here(), OauthClientId::parse(name).ok(), requests);
    }

    fn total(waiting: &Waiting) -> i64 {
        let all = waiting.proven.values().chain(waiting.unproven.values()).chain(&waiting.others);
        all.map(|it| it.accepted + it.refused + it.failed).sum()
    }

    #[test]
    fn names_of_strangers_take_a_bounded_place_and_none_from_clients() {
        let unregistered = Unregistered::default();
        for n in 0..20_000 {
            note(&unregistered, &format!("stranger-{n}"), REFUSED, n);
        }
        for n in 0..500 {
            note(&unregistered, &format!("client-{n}"), TOKEN, n);
        }
        let waiting = unregistered.take().remove(&here()).unwrap();
        assert_eq!((waiting.proven.len(), waiting.unproven.len()), (500, MAX_UNPROVEN));
        assert_eq!(total(&waiting), 20_500, "no request is lost from the sum");
        assert!(waiting.others.unwrap().sources.is_empty());
    }

    #[test]
    fn clients_that_an_issuer_lets_anyone_create_take_a_bounded_place() {
        let unregistered = Unregistered::default();
        for n in 0..5000 {
            note(&unregistered, &format!("client-{n}"), TOKEN, n);
        }
        let waiting = unregistered.take().remove(&here()).unwrap();
        assert_eq!((waiting.proven.len(), total(&waiting)), (MAX_CLIENTS, 5000));
    }

    #[test]
    fn one_client_takes_the_same_place_however_often_it_calls() {
        let unregistered = Unregistered::default();
        note(&unregistered, "portal", REFUSED, 1);
        for n in 0..10_000 {
            note(&unregistered, "portal", TOKEN, n);
        }
        let waiting = unregistered.take().remove(&here()).unwrap();
        let portal = &waiting.proven[&OauthClientId::parse("portal").unwrap()];
        assert_eq!((portal.accepted, portal.refused, portal.sources.len()), (10_000, 1, MAX_SOURCES));
        assert!(waiting.unproven.is_empty() && waiting.others.is_none());
    }

    #[test]
    fn what_could_not_be_stored_is_added_to_what_came_since() {
        let unregistered = Unregistered::default();
        for (name, outcome) in [("portal", TOKEN), ("stranger", REFUSED), ("", REFUSED)] {
            note(&unregistered, name, outcome, 5);
        }
        let taken = unregistered.take().remove(&here()).unwrap();
        assert!(unregistered.take().is_empty());
        note(&unregistered, "portal", REFUSED, 9);
        unregistered.put_back(&here(), taken);
        let waiting = unregistered.take().remove(&here()).unwrap();
        let portal = &waiting.proven[&OauthClientId::parse("portal").unwrap()];
        assert_eq!((portal.accepted, portal.refused, portal.last_status), (1, 1, Some(401)));
        assert_eq!((waiting.unproven.len(), total(&waiting)), (1, 4));
    }
}
