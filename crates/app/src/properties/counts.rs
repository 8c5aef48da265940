//! The lists of properties and of environments with the numbers of their clients and overdue secrets, for the Console.

use super::property::properties_page;
use crate::{
    app::App,
    error::Error,
    frame::{cursor::ListQuery, principal::Principal},
};
use crossfade_core::{
    Operation, Timestamp, api,
    environment::Slug,
    roles::{Object, Permission, Scope},
    rotation::{due_at, is_overdue, overdue_if_created_by},
};
use crossfade_store::{Environment, RegisteredCount, Tx};
use std::collections::HashMap;

/// A page of properties.
#[derive(Clone, Debug)]
pub struct PropertyList {
    /// Time of the snapshot.
    pub now: Timestamp,
    /// The properties that the principal can read, oldest first.
    pub items: Vec<(api::Property, Numbers)>,
    /// Where the next page starts.
    pub next_cursor: Option<String>,
}

/// What belongs to a property or an environment, as far as the principal can read it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Numbers {
    /// Clients.
    pub clients: u64,
    /// Overdue secrets.
    pub overdue: u64,
}

impl App {
    /// Returns the properties that the principal can read, with their numbers.
    pub async fn read_property_list(
        &self,
        principal: &Principal,
        query: &ListQuery,
    ) -> Result<PropertyList, Error> {
        let start = self.cursors.start("properties", query)?;
        let _turns = self.costly(Operation::ListProperties, principal).await?;
        self.read(async |tx| {
            let now = self.clock.now();
            let principal = &principal.refreshed(tx, now).await?;
            let page = properties_page(tx, principal, &start).await?;
            let ids: Vec<_> = page.items.iter().map(|it| &it.id).collect();
            let clients = tx.clients_of_properties(&ids).await?;
            let environments = tx.environments().await?;
            let mut overdue = HashMap::new();
            for it in registered(tx, principal, &environments, now).await? {
                *overdue.entry(it.property_id).or_insert(0) += it.overdue;
            }
            let numbers = |property: api::Property| {
                let clients = clients.get(&property.id).copied().unwrap_or_default();
                let overdue = overdue.get(&property.id).copied().unwrap_or_default();
                (property, Numbers { clients, overdue })
            };
            let items = page.items.into_iter().map(numbers).collect();
            Ok(PropertyList { now, items, next_cursor: page.next_cursor })
        })
        .await
    }

    /// Returns all environments in their order, with the numbers of what the principal can read in them.
    pub async fn read_environment_list(
        &self,
        principal: &Principal,
    ) -> Result<Vec<(api::Environment, Numbers)>, Error> {
        let _turns = self.costly(Operation::ListClients, principal).await?;
        self.read(async |tx| {
            let now = self.clock.now();
            let principal = &principal.refreshed(tx, now).await?;
            let environments = tx.environments().await?;
            let mut numbers: HashMap<Slug, Numbers> = HashMap::new();
            let counts = registered(tx, principal, &environments, now).await?;
            for it in counts.into_iter().chain(single_clients(tx, principal, &environments, now).await?) {
                let sum = numbers.entry(it.environment).or_default();
                sum.clients += it.clients;
                sum.overdue += it.overdue;
            }
            let shown = self.shown_environments(tx, &environments, now).await?;
            let of = |slug: &Slug| numbers.get(slug).copied().unwrap_or_default();
            Ok(shown.into_iter().zip(environments.iter().map(|it| of(&it.slug))).collect())
        })
        .await
    }
}

/// Returns the numbers of the properties in those environments in which the principal can read all their clients.
async fn registered(
    tx: &mut Tx,
    principal: &Principal,
    environments: &[Environment],
    now: Timestamp,
) -> Result<Vec<RegisteredCount>, Error> {
    let bounds: Vec<_> =
        environments.iter().map(|it| (&it.slug, overdue_if_created_by(it.max_age_days, now))).collect();
    let mut counts = tx.registered_counts(&bounds).await?;
    counts
        .retain(|it| principal.may(Permission::ClientRead, Object::Place(&it.property_id, &it.environment)));
    Ok(counts)
}

/// Returns the numbers of the clients that the principal can read through grants for single clients alone.
async fn single_clients(
    tx: &mut Tx,
    principal: &Principal,
    environments: &[Environment],
    now: Timestamp,
) -> Result<Vec<RegisteredCount>, Error> {
    let scope = |scope: &Scope| match scope {
        Scope::Client(client) => Some(client.clone()),
        _ => None,
    };
    let mut ids: Vec<_> = principal.grants.iter().filter_map(|grant| scope(&grant.scope)).collect();
    ids.sort();
    ids.dedup();
    let ids: Vec<_> = ids.iter().collect();
    let properties = tx.properties_of_clients(&ids).await?;
    let mut counts = Vec::new();
    for (client, registrations) in tx.registrations_of(&ids).await? {
        let Some(property) = properties.get(&client) else { continue };
        for it in registrations {
            let may = |object| principal.may(Permission::ClientRead, object);
            let is_single = !may(Object::Place(property, &it.environment));
            if !is_single || !may(Object::Registration(property, &client, &it.environment)) {
                continue;
            }
            let environment = environments.iter().find(|environment| environment.slug == it.environment);
            let max_age = environment.and_then(|environment| environment.max_age_days);
            let due = it.current_since.and_then(|since| due_at(since, max_age));
            counts.push(RegisteredCount {
                property_id: property.clone(),
                clients: 1,
                overdue: is_overdue(due, now).into(),
                environment: it.environment,
            });
        }
    }
    Ok(counts)
}
