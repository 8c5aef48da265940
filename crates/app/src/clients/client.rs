//! Clients: list, read, create, change, delete.

use super::{
    owners::{KnownOwners, addresses, known_owners, owner_details},
    query::{ClientQuery, is_found_by},
};
use crate::{
    app::App,
    error::Error,
    frame::{
        act::Act,
        cursor::{Scan, Start, invalid},
        entry::About,
        idempotency::Repeatable,
        principal::Principal,
        request::{Input, Request},
        targets::{ClientPath, PropertyPath, Target, confirm},
        versioned::Versioned,
    },
    registrations::registration::shown_registration,
    webhooks::owners::{check_webhook_owners, hearing_among},
};
use crossfade_core::{
    ClientId, Code, Operation, Problem, PropertyId, SecretId,
    api::{self, CreateClient, DeleteClient, Enforced, Page, UpdateClient},
    audit::{ClientFacts, Event},
    drill::StoppedAs,
    environment::{MAX_ENVIRONMENTS, Slug},
    messages::QUIET_AFTER,
    operations::Access,
    owners::{self, is_heard},
    roles::{Object, Permission, Scope},
    text::{self, Name, REASON_CHARACTERS, Reason},
    webhook::presented_subject,
};
use crossfade_store::{ChangeKind, Client, ClientFilter, Environment, Registration, Tx};

/// `None` is the response that an earlier version remembered, which has no body.
impl Repeatable for Option<api::ClientDeleted> {
    fn set_enforced(&mut self, enforced: Enforced) {
        *self = Some(api::ClientDeleted { enforced: Some(enforced) });
    }
}

impl Repeatable for Versioned<api::Client> {
    async fn may_be_given(&self, principal: &Principal, operation: Operation) -> Result<(), Error> {
        // The property and the environments of a new client are in the body, so its target does not ask for them.
        if operation != Operation::CreateClient {
            return Ok(());
        }
        let (property, client) = (&self.object.property_id, &self.object.id);
        if !principal.may(Permission::ClientRead, Object::Client(property, client)) {
            let what = "must be the id of a property that you can read";
            return Err(Problem::invalid("property_id", what).into());
        }
        for registration in &self.object.registrations {
            let environment = Slug::from_stored(registration.environment.clone());
            let object = Object::Registration(property, client, &environment);
            if !principal.may(Permission::ClientManage, object) {
                return Err(crate::frame::targets::forbidden_on(Permission::ClientManage, object));
            }
        }
        Ok(())
    }

    fn secrets(&self) -> Vec<SecretId> {
        self.object.registrations.iter().filter_map(|it| it.secret.as_ref()).map(|it| it.id.clone()).collect()
    }

    fn take_values(&mut self) -> Vec<String> {
        self.object.registrations.iter_mut().filter_map(|it| it.secret.as_mut()?.value.take()).collect()
    }

    fn put_values(&mut self, values: Vec<String>) {
        let secrets = self.object.registrations.iter_mut().filter_map(|it| it.secret.as_mut());
        for (secret, value) in secrets.zip(values) {
            secret.value = Some(value);
        }
    }
}

fn name_taken() -> Problem {
    Problem::new(
        Code::NameTaken,
        "This property already has a client with this name. Nothing was changed. Choose another name.",
    )
    .with_field("name")
}

pub(super) fn facts(client: &Client) -> ClientFacts {
    ClientFacts {
        name: client.name.to_string(),
        description: client.description.clone(),
        owners: client.owners.clone(),
    }
}

/// Returns a client as the API shows it to this principal, with the registrations that the principal can read.
async fn shown(app: &App, tx: &mut Tx, principal: &Principal, client: &Client) -> Result<api::Client, Error> {
    let (environments, registrations) = (tx.environments().await?, tx.registrations(&client.id).await?);
    let owners = known_owners([client], tx).await?;
    Ok(shown_with(app, principal, client, &registrations, (&environments, &owners)))
}

pub(crate) fn shown_with(
    app: &App,
    principal: &Principal,
    client: &Client,
    registrations: &[Registration],
    (environments, owners): (&[Environment], &KnownOwners),
) -> api::Client {
    let shown = |registration: &Registration| {
        let object = Object::Registration(&client.property_id, &client.id, &registration.environment);
        let environment = environments.iter().find(|it| it.slug == registration.environment)?;
        let may = principal.may(Permission::ClientRead, object);
        may.then(|| shown_registration(app, registration, environment))
    };
    let registrations = registrations.iter().filter_map(shown).collect();
    api::Client {
        id: client.id.clone(),
        name: client.name.to_string(),
        description: client.description.clone(),
        property_id: client.property_id.clone(),
        owners: client.owners.clone(),
        owner_details: owner_details(principal, client, owners),
        created_at: client.created_at,
        registrations,
    }
}

/// Refuses to remove the last owner of a client that hears of its self-rotations, if the client can rotate its own secret:
/// nobody would be notified of them. Other changes of such a client are allowed.
async fn unless_self_rotating(tx: &mut Tx, client: &Client, after: &[String]) -> Result<(), Error> {
    let hearing = hearing_among(tx, client.owners.iter().chain(after)).await?;
    if is_heard(after, &hearing) || !is_heard(&client.owners, &hearing) {
        return Ok(());
    }
    let registrations = tx.registrations(&client.id).await?;
    let Some(on) = registrations.into_iter().find(|it| it.self_rotation) else { return Ok(()) };
    let text = format!(
        "This client can rotate its own secret in {}, and each self-rotation is reported to the owners. Nothing was changed. \
        Keep an email address or an enabled webhook in another format than PagerDuty's, or turn self-rotation off first.",
        on.environment
    );
    Err(Problem::new(Code::InUse, text).with_field("owners").into())
}

/// Returns the version of a client for this principal. It covers the registrations that the principal can see; each of their
/// versions starts at 1 and increases.
pub(crate) async fn version(tx: &mut Tx, principal: &Principal, client: &Client) -> Result<i64, Error> {
    Ok(version_for(principal, client, &tx.registrations(&client.id).await?))
}

/// Returns the version of a client whose registrations have been read.
pub(crate) fn version_for(principal: &Principal, client: &Client, registrations: &[Registration]) -> i64 {
    let seen = registrations.iter().filter(|registration| {
        let object = Object::Registration(&client.property_id, &client.id, &registration.environment);
        [Permission::ClientRead, Permission::ClientManage].iter().any(|it| principal.may(*it, object))
    });
    client.version + seen.map(|registration| registration.version).sum::<i64>()
}

impl App {
    /// Returns the clients that the principal can read, oldest first.
    pub async fn list_clients(
        &self,
        principal: &Principal,
        query: &ClientQuery,
    ) -> Result<Page<api::Client>, Error> {
        let start = self.cursors.start("clients", &query.list)?;
        let filter = query.filter(self)?;
        let _turns = self.costly(Operation::ListClients, principal).await?;
        self.read(async |tx| {
            let principal = &principal.refreshed(tx, self.clock.now()).await?;
            if let Some(slug) = &filter.environment
                && tx.environment(slug).await?.is_none()
            {
                return Err(invalid(
                    "environment",
                    &format!("must be an existing environment. There is no {slug}"),
                )
                .into());
            }
            self.clients_page(tx, principal, &filter, &start).await
        })
        .await
    }

    /// Returns a page of the clients that the principal can read, oldest first, within a read.
    pub(crate) async fn clients_page(
        &self,
        tx: &mut Tx,
        principal: &Principal,
        filter: &ClientFilter,
        start: &Start<'_>,
    ) -> Result<Page<api::Client>, Error> {
        let key = |(row, _): &(Client, _)| (row.created_at.as_micros(), row.id.to_string());
        let everything = principal.may(Permission::ClientRead, Object::Platform);
        let environments = tx.environments().await?;
        let mut scan = Scan::new(start, everything);
        while let Some(from) = scan.next() {
            let rows = tx.clients(filter, &from).await?;
            let ids: Vec<_> = rows.iter().map(|row| &row.id).collect();
            let mut registrations = tx.registrations_of(&ids).await?;
            let of = |row: Client| (registrations.remove(&row.id).unwrap_or_default(), row);
            let rows: Vec<_> = rows.into_iter().map(of).map(|(of, row)| (row, of)).collect();
            scan.read(rows.len(), rows.last().map(key));
            for (row, registrations) in rows {
                let object = Object::Client(&row.property_id, &row.id);
                let readable = principal.may(Permission::ClientRead, object);
                let found = || is_found_by(principal, filter, &row, &registrations, &environments);
                if everything || readable && found() {
                    scan.keep((row, registrations));
                }
            }
        }
        let (rows, next_cursor) = scan.rows(key)?;
        let owners = known_owners(rows.iter().map(|(row, _)| row), tx).await?;
        let shown = |(row, registrations): &(Client, Vec<Registration>)| {
            shown_with(self, principal, row, registrations, (&environments, &owners))
        };
        Ok(Page { items: rows.iter().map(shown).collect(), next_cursor })
    }

    /// Returns a client and its version.
    pub async fn read_client(
        &self,
        principal: &Principal,
        path: ClientPath<'_>,
    ) -> Result<Versioned<api::Client>, Error> {
        self.view(Operation::ReadClient, principal, path, async |tx, principal, client: Client| {
            Ok(Versioned::new(
                shown(self, tx, principal, &client).await?,
                version(tx, principal, &client).await?,
            ))
        })
        .await
    }

    /// Creates a client with a registration and a first secret in each environment.
    pub async fn create_client(
        &self,
        request: &Request<'_>,
        input: Input<'_, CreateClient>,
    ) -> Result<Versioned<api::Client>, Error> {
        self.change(Operation::CreateClient, request, NewClient, async |act, principal, ()| {
            act.matches_list()?;
            let body = input.read()?;
            let property = self.property_of_new_client(act, principal, &body.property_id).await?;
            let name = Name::parse("name", &body.name)?;
            let description = text::line(
                "description",
                body.description.as_deref().unwrap_or_default(),
                REASON_CHARACTERS,
            )?;
            let environments = chosen(act, &body.environments).await?;
            let fronts = environments.iter().filter(|it| it.upstream.is_some()).count();
            if fronts > 1 {
                let what = "must contain at most one environment in front of another issuer, because the client has another \
                    client_id at each. Register it in the others later";
                return Err(Problem::invalid("environments", what).into());
            }
            if body.adopt && fronts == 0 {
                let what = "must be omitted, because none of the environments is in front of another issuer";
                return Err(Problem::invalid("adopt", what).into());
            }
            let client = Client {
                id: ClientId::generate(self.random.as_ref()),
                property_id: property,
                name,
                description,
                owners: owners::parse_all(&body.owners)?,
                created_at: act.now,
                version: 1,
            };
            for environment in &environments {
                let object = Object::Registration(&client.property_id, &client.id, &environment.slug);
                if !principal.may(Permission::ClientManage, object) {
                    return Err(crate::frame::targets::forbidden_on(Permission::ClientManage, object));
                }
                crate::frame::targets::check_value(principal, body.require_value, object)?;
            }
            if act.tx.client_named(&client.property_id, &client.name).await?.is_some() {
                return Err(name_taken().into());
            }
            check_webhook_owners(act.tx, &client).await?;
            act.tx.insert_client(&client).await?;
            let about =
                About { client: Some(&client.id), target: Some(client.id.to_string()), ..About::default() };
            let event = Event::ClientCreated {
                name: client.name.to_string(),
                property_id: client.property_id.clone(),
                environments: environments.iter().map(|it| it.slug.to_string()).collect(),
            };
            act.audit(&event, about).await?;
            self.tell_new_owners(act, principal, &client).await?;
            let mut registrations = Vec::new();
            for environment in &environments {
                let given = body.client_id.as_deref().filter(|_| environment.upstream.is_some() || fronts == 0);
                let given = (given, body.adopt && environment.upstream.is_some());
                registrations.push(self.register(act, principal, &client, environment, given).await?);
            }
            let mut reply = shown(self, act.tx, principal, &client).await?;
            for (shown, secret) in reply.registrations.iter_mut().zip(registrations) {
                shown.secret = secret;
            }
            Ok(Versioned::new(reply, version(act.tx, principal, &client).await?))
        })
        .await
    }

    /// Returns the property for a new client, if it exists and the principal can create clients there.
    async fn property_of_new_client(
        &self,
        act: &mut Act<'_>,
        principal: &Principal,
        id: &PropertyId,
    ) -> Result<PropertyId, Error> {
        match PropertyPath(id.as_str()).load(act.tx, principal, Operation::CreateClient.access()).await {
            Ok(property) => Ok(property.id),
            Err(error) if error.problem.code == Code::NotFound => {
                Err(Problem::invalid("property_id", "must be the id of a property that you can read").into())
            }
            Err(error) => Err(error),
        }
    }

    /// Changes name, description or owners.
    pub async fn update_client(
        &self,
        request: &Request<'_>,
        path: ClientPath<'_>,
        input: Input<'_, UpdateClient>,
    ) -> Result<Versioned<api::Client>, Error> {
        self.change(Operation::UpdateClient, request, path, async |act, principal, mut client: Client| {
            let read = version(act.tx, principal, &client).await?;
            act.matches(read)?;
            let body = input.read()?;
            let (before, client_before) = (facts(&client), client.clone());
            if let Some(name) = &body.name {
                client.name = Name::parse("name", name)?;
            }
            if let Some(description) = &body.description {
                client.description = text::line("description", description, REASON_CHARACTERS)?;
            }
            if let Some(list) = &body.owners {
                let after = owners::parse_all(list)?;
                // Messages go elsewhere then: the name must be typed (rule 24).
                if !owners::are_same(&after, &client.owners) {
                    confirm(&client_before, body.confirm_client_name.as_deref())?;
                    let left = client.owners.iter().filter(|owner| !after.contains(owner)).cloned();
                    let told: Vec<_> = after.iter().cloned().chain(left).collect();
                    self.unless_many_messages(principal, addresses(&told))?;
                }
                unless_self_rotating(act.tx, &client, &after).await?;
                client.owners = after;
                check_webhook_owners(act.tx, &client).await?;
            }
            if act
                .tx
                .client_named(&client.property_id, &client.name)
                .await?
                .is_some_and(|other| other != client.id)
            {
                return Err(name_taken().into());
            }
            act.tx.update_client(&client).await?;
            let about =
                About { client: Some(&client.id), target: Some(client.id.to_string()), ..About::default() };
            let event = Event::ClientUpdated { before, after: facts(&client) };
            act.audit(&event, about).await?;
            if !owners::are_same(&client.owners, &client_before.owners) {
                // Who is no owner any more is told as well.
                let mut told = client.clone();
                let left = client_before.owners.iter().filter(|owner| !client.owners.contains(owner));
                told.owners.extend(left.cloned());
                act.notify(self.random.as_ref(), &event, &told, None, None).await?;
            }
            client.version += 1;
            Ok(Versioned::new(
                shown(self, act.tx, principal, &client).await?,
                version(act.tx, principal, &client).await?,
            ))
        })
        .await
    }

    /// Deletes a client: its secrets and tokens end, its history stays, and its `client_id`s are never used again.
    pub async fn delete_client(
        &self,
        request: &Request<'_>,
        path: ClientPath<'_>,
        input: Input<'_, DeleteClient>,
    ) -> Result<api::ClientDeleted, Error> {
        let deleted: Option<api::ClientDeleted> = self
            .change(Operation::DeleteClient, request, path, async |act, principal, client: Client| {
                let read = version(act.tx, principal, &client).await?;
                act.matches(read)?;
                let body = input.read()?;
                let reason = Reason::required(Some(&body.reason))?;
                confirm(&client, Some(&body.confirm_client_name))?;
                let event = Event::ClientDeleted { name: client.name.to_string() };
                for registration in act.tx.registrations(&client.id).await? {
                    let (random, environment) = (self.random.as_ref(), &registration.environment);
                    if registration.disabled_at.is_some() {
                        act.resolve(random, &event, &client, environment, registration.id.as_str()).await?;
                    }
                    let id = std::slice::from_ref(&registration.id);
                    if !act.tx.presented_of(id, act.now.before(QUIET_AFTER), act.now).await?.is_empty() {
                        let subject = presented_subject(&registration.id);
                        act.resolve(random, &event, &client, environment, &subject).await?;
                    }
                    // Also one whose deadline has passed, and is not noted yet.
                    for secret in act.tx.unended_secrets(&registration.id).await? {
                        act.stop_drill_of(random, &secret.id, StoppedAs::ClientDeleted, &client, environment)
                            .await?;
                        act.resolve_leak(random, &event, &client, environment, &secret.id).await?;
                        if secret.expires_at.is_some() {
                            act.resolve(random, &event, &client, environment, secret.id.as_str()).await?;
                        }
                    }
                    act.tx.end_all_secrets(&registration.id, act.now).await?;
                    act.changed(ChangeKind::Registration(registration.id)).await?;
                }
                act.tx.delete_client(&client.id, act.now).await?;
                self.end_grants_on(act, &Scope::Client(client.id.clone())).await?;
                let about = About {
                    client: Some(&client.id),
                    target: Some(client.id.to_string()),
                    reason: Some(reason.as_str()),
                    ..About::default()
                };
                act.audit(&event, about).await?;
                act.notify(self.random.as_ref(), &event, &client, None, Some(reason.as_str())).await?;
                Ok(Some(api::ClientDeleted::default()))
            })
            .await?;
        Ok(deleted.unwrap_or_default())
    }
}

/// Target of a new client. Its property and environments, which are in the body, determine whether it can be created.
#[derive(Clone, Copy)]
struct NewClient;

impl Target for NewClient {
    type Loaded = ();

    async fn load(&self, _: &mut Tx, principal: &Principal, access: Access) -> Result<(), Error> {
        let (Access::Needs(permission) | Access::OwnOr(permission)) = access else { return Ok(()) };
        if principal.may_somewhere(permission) {
            Ok(())
        } else {
            Err(crate::frame::targets::forbidden(permission))
        }
    }
}

/// Returns the named environments, each once, in their order.
async fn chosen(act: &mut Act<'_>, slugs: &[String]) -> Result<Vec<Environment>, Error> {
    let known = act.tx.environments().await?;
    let unknown =
        slugs.iter().find(|slug| !known.iter().any(|environment| environment.slug.as_str() == slug.as_str()));
    if slugs.len() > MAX_ENVIRONMENTS {
        let text = format!("must contain at most {MAX_ENVIRONMENTS} entries");
        return Err(Problem::invalid("environments", &text).into());
    }
    if slugs.is_empty() || unknown.is_some() {
        let names: Vec<&str> = known.iter().map(|environment| environment.slug.as_str()).collect();
        return Err(Problem::invalid(
            "environments",
            &format!("must contain at least one of {}, and nothing else", names.join(", ")),
        )
        .into());
    }
    Ok(known
        .into_iter()
        .filter(|environment| slugs.iter().any(|slug| slug == environment.slug.as_str()))
        .collect())
}
