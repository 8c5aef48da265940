//! What an operation is about. Loading a target is authorising it: what may not be read is not found, what
//! may be read but not done is forbidden, and only what is permitted is handed out.

use crate::{app::App, caller::Caller, error::Error};
use crossfade_core::{
    ClientId, Code, Problem, PropertyId,
    environment::Slug,
    roles::{Object, Permission},
};
use crossfade_store::{Client, Environment, Property, Registration, Tx};

/// Something that can be loaded by a caller who may do `permission` to it.
pub(crate) trait Target {
    /// What is handed out.
    type Loaded;

    /// Loads it, or says that it is not there, or not theirs.
    async fn load(&self, tx: &mut Tx, caller: &Caller, permission: Permission)
    -> Result<Self::Loaded, Error>;
}

/// The platform as a whole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Platform;

/// A property by its id, as it was sent.
#[derive(Clone, Copy, Debug)]
pub struct PropertyPath<'a>(pub &'a str);

/// An environment by its slug, as it was sent.
#[derive(Clone, Copy, Debug)]
pub struct EnvironmentPath<'a>(pub &'a str);

/// A client by its id, as it was sent.
#[derive(Clone, Copy, Debug)]
pub struct ClientPath<'a>(pub &'a str);

/// A client in an environment, as they were sent.
#[derive(Clone, Copy, Debug)]
pub struct RegistrationPath<'a> {
    /// The client's id.
    pub client: &'a str,
    /// The environment's slug.
    pub environment: &'a str,
}

/// A registration with what it belongs to.
pub(crate) struct Site {
    pub(crate) client: Client,
    pub(crate) registration: Registration,
    pub(crate) environment: Environment,
}

/// 404 for what the caller may not read, 403 for what they may read but not do.
fn check(caller: &Caller, permission: Permission, read: Permission, object: Object<'_>) -> Result<(), Error> {
    if !caller.may(read, object) && !caller.may(permission, object) {
        return Err(Problem::not_found().into());
    }
    if !caller.may(permission, object) {
        return Err(forbidden(permission));
    }
    Ok(())
}

pub(crate) fn forbidden(permission: Permission) -> Error {
    let text = format!(
        "You may read this, but not do that: it needs the permission {}. Nothing was changed.",
        permission.as_str()
    );
    Problem::new(Code::Forbidden, text).with("permission", permission.as_str()).into()
}

impl Target for Platform {
    type Loaded = ();

    async fn load(&self, _: &mut Tx, caller: &Caller, permission: Permission) -> Result<(), Error> {
        // The platform is no secret; whether somebody may do a thing to it is.
        if caller.may(permission, Object::Platform) { Ok(()) } else { Err(forbidden(permission)) }
    }
}

impl Target for PropertyPath<'_> {
    type Loaded = Property;

    async fn load(&self, tx: &mut Tx, caller: &Caller, permission: Permission) -> Result<Property, Error> {
        let id = PropertyId::parse(self.0).map_err(|_| Problem::not_found())?;
        let property = tx.property(&id).await?.ok_or_else(Problem::not_found)?;
        check(caller, permission, Permission::ClientRead, Object::Property(&property.id))?;
        Ok(property)
    }
}

impl Target for EnvironmentPath<'_> {
    type Loaded = Environment;

    async fn load(&self, tx: &mut Tx, caller: &Caller, permission: Permission) -> Result<Environment, Error> {
        let slug = Slug::parse("environment", self.0).map_err(|_| Problem::not_found())?;
        let environment = tx.environment(&slug).await?.ok_or_else(Problem::not_found)?;
        // Everybody who is known may read the list of environments.
        if permission != Permission::ClientRead && !caller.may(permission, Object::Platform) {
            return Err(forbidden(permission));
        }
        Ok(environment)
    }
}

impl Target for ClientPath<'_> {
    type Loaded = Client;

    async fn load(&self, tx: &mut Tx, caller: &Caller, permission: Permission) -> Result<Client, Error> {
        let id = ClientId::parse(self.0).map_err(|_| Problem::not_found())?;
        let client = tx.client(&id).await?.ok_or_else(Problem::not_found)?;
        check(caller, permission, Permission::ClientRead, Object::Client(&client.property_id, &client.id))?;
        Ok(client)
    }
}

impl Target for RegistrationPath<'_> {
    type Loaded = Site;

    async fn load(&self, tx: &mut Tx, caller: &Caller, permission: Permission) -> Result<Site, Error> {
        let id = ClientId::parse(self.client).map_err(|_| Problem::not_found())?;
        let client = tx.client(&id).await?.ok_or_else(Problem::not_found)?;
        let slug = Slug::parse("environment", self.environment).map_err(|_| Problem::not_found())?;
        let registration = tx.registration(&client.id, &slug).await?.ok_or_else(Problem::not_found)?;
        let environment = tx.environment(&slug).await?.ok_or_else(Problem::not_found)?;
        let object = Object::Registration(&client.property_id, &client.id, &slug);
        check(caller, permission, Permission::ClientRead, object)?;
        Ok(Site { client, registration, environment })
    }
}

impl Site {
    pub(crate) fn object(&self) -> Object<'_> {
        Object::Registration(&self.client.property_id, &self.client.id, &self.environment.slug)
    }

    /// The name must be typed to change something that callers depend on (product rule 10).
    pub(crate) fn confirm(&self, typed: Option<&str>) -> Result<(), Problem> {
        confirm(&self.client, typed)
    }
}

pub(crate) fn confirm(client: &Client, typed: Option<&str>) -> Result<(), Problem> {
    if typed.is_some_and(|typed| client.name.is_typed_as(typed)) {
        return Ok(());
    }
    Err(Problem::new(
        Code::ConfirmationMismatch,
        "confirm_client_name must be the client's name, exactly as it is shown. Nothing was changed.",
    )
    .with_field("confirm_client_name"))
}

impl App {
    /// Reads `target` on one consistent snapshot for a caller who may.
    pub(crate) async fn view<T: Target, R>(
        &self,
        caller: &Caller,
        permission: Permission,
        target: T,
        work: impl AsyncFnOnce(&mut Tx, T::Loaded) -> Result<R, Error>,
    ) -> Result<R, Error> {
        self.db
            .read(async |tx| {
                // Read again: a right that was taken away while the request was on its way is gone.
                let caller = caller.refreshed(tx, self.clock.now()).await?;
                let loaded = target.load(tx, &caller, permission).await?;
                work(tx, loaded).await
            })
            .await
    }
}
