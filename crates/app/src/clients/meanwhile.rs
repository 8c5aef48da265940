//! The last change of an object, for a principal who wanted to change it and had read an earlier version.

use crate::{
    app::App,
    error::Error,
    frame::{
        principal::Principal,
        targets::{ClientPath, EnvironmentPath, PropertyPath, RegistrationPath, Site},
    },
};
use crossfade_core::{
    Operation, Timestamp,
    audit::Action,
    environment::Slug,
    roles::{Object, Permission},
};
use crossfade_store::{AuditFilter, Client, Environment, NewAuditEvent, Property, Tx};

/// The last change of an object.
#[derive(Clone, Debug)]
pub struct Meanwhile {
    /// Who created it.
    pub by: String,
    /// Whether the principal made it.
    pub own: bool,
    /// Action, as in the trail.
    pub action: Action,
    /// Time.
    pub at: Timestamp,
}

/// Maximum number of events searched for it.
const LOOKED_THROUGH: i64 = 200;

/// Actions that change the version of a registration, and so of its client.
const OF_REGISTRATION: [Action; 6] = [
    Action::RegistrationCreated,
    Action::RegistrationUpdated,
    Action::SecretRotated,
    Action::SecretRevoked,
    Action::SecretExtended,
    Action::SecretRolledBack,
];

async fn last(
    tx: &mut Tx,
    principal: &Principal,
    filter: AuditFilter,
    is: impl Fn(&NewAuditEvent) -> bool,
) -> Result<Option<Meanwhile>, Error> {
    let filter = AuditFilter { done: Some(true), ..filter };
    let found = tx.audit_events(&filter, None, LOOKED_THROUGH).await?.events;
    let found = found.into_iter().map(|event| event.event).find(is);
    Ok(found.map(|event| Meanwhile {
        own: event.actor.id() == principal.actor.id(),
        by: event.actor.name().to_owned(),
        action: event.action,
        at: event.at,
    }))
}

impl App {
    /// Returns the last change of a client, to a principal who can change it.
    pub async fn last_change_of_client(
        &self,
        principal: &Principal,
        path: ClientPath<'_>,
    ) -> Result<Option<Meanwhile>, Error> {
        self.view(Operation::UpdateClient, principal, path, async |tx, principal, client: Client| {
            let (id, property) = (client.id.clone(), client.property_id);
            let filter = AuditFilter { client: Some(client.id), ..AuditFilter::default() };
            // Changes that this principal cannot read are left out.
            let seen = |slug: &Slug| {
                principal.may(Permission::ClientRead, Object::Registration(&property, &id, slug))
            };
            let is = |event: &NewAuditEvent| {
                (event.action == Action::ClientUpdated || OF_REGISTRATION.contains(&event.action))
                    && event.environment.as_ref().is_none_or(seen)
            };
            last(tx, principal, filter, is).await
        })
        .await
    }

    /// Returns the last change of a registration, to a principal who can change it.
    pub async fn last_change_of_registration(
        &self,
        principal: &Principal,
        path: RegistrationPath<'_>,
    ) -> Result<Option<Meanwhile>, Error> {
        self.view(Operation::UpdateRegistration, principal, path, async |tx, principal, site: Site| {
            let filter = AuditFilter {
                client: Some(site.client.id),
                environment: Some(site.environment.slug),
                ..AuditFilter::default()
            };
            last(tx, principal, filter, |event| OF_REGISTRATION.contains(&event.action)).await
        })
        .await
    }

    /// Returns the last change of a property, to a principal who can change it.
    pub async fn last_change_of_property(
        &self,
        principal: &Principal,
        path: PropertyPath<'_>,
    ) -> Result<Option<Meanwhile>, Error> {
        self.view(Operation::UpdateProperty, principal, path, async |tx, principal, property: Property| {
            let filter = AuditFilter { action: Some(Action::PropertyUpdated), ..AuditFilter::default() };
            last(tx, principal, filter, |event| event.target.as_deref() == Some(property.id.as_str())).await
        })
        .await
    }

    /// Returns the last change of an environment, to a principal who can change it.
    pub async fn last_change_of_environment(
        &self,
        principal: &Principal,
        path: EnvironmentPath<'_>,
    ) -> Result<Option<Meanwhile>, Error> {
        self.view(Operation::UpdateEnvironment, principal, path, async |tx, principal, it: Environment| {
            let filter = AuditFilter {
                action: Some(Action::EnvironmentUpdated),
                environment: Some(it.slug),
                ..AuditFilter::default()
            };
            last(tx, principal, filter, |_| true).await
        })
        .await
    }
}
