//! Targets of operations. Loading a target authorises it: unreadable targets are not found, readable but forbidden ones
//! are refused, and only permitted ones are returned.

use crate::{
    error::Error,
    frame::{act::Act, entry::About, principal::Principal},
};
use crossfade_core::{
    ClientId, Code, Problem, PropertyId, Random,
    audit::Event,
    environment::Slug,
    operations::Access,
    roles::{Object, Permission},
};
use crossfade_store::{Client, Environment, Property, Registration, Tx};

/// An object that a principal with the required permission can load.
pub(crate) trait Target {
    /// The loaded object.
    type Loaded;

    /// Loads the target, or returns that it is missing or forbidden.
    async fn load(&self, tx: &mut Tx, principal: &Principal, access: Access) -> Result<Self::Loaded, Error>;

    /// Returns the ids to record when access is refused, as far as the request's text parses as ids.
    fn names(&self) -> Names {
        Names::default()
    }
}

/// The objects named in a request. They need not exist.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    pub(crate) client: Option<ClientId>,
    pub(crate) environment: Option<Slug>,
    pub(crate) target: Option<String>,
}

/// The platform as a whole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Platform;

/// A property by its id, as sent.
#[derive(Clone, Copy, Debug)]
pub struct PropertyPath<'a>(pub &'a str);

/// An environment by its slug, as sent.
#[derive(Clone, Copy, Debug)]
pub struct EnvironmentPath<'a>(pub &'a str);

/// A property in an environment, as sent.
#[derive(Clone, Copy, Debug)]
pub struct PlacePath<'a> {
    /// The property's id.
    pub property: &'a str,
    /// The environment's slug.
    pub environment: &'a str,
}

/// A property in an environment.
pub(crate) struct PropertyPlace {
    pub(crate) property: Property,
    pub(crate) environment: Environment,
}

/// A client by its id, as sent.
#[derive(Clone, Copy, Debug)]
pub struct ClientPath<'a>(pub &'a str);

/// A client in an environment, as sent.
#[derive(Clone, Copy, Debug)]
pub struct RegistrationPath<'a> {
    /// The client's id.
    pub client: &'a str,
    /// The environment's slug.
    pub environment: &'a str,
}

impl RegistrationPath<'_> {
    /// Returns the name of a list of this registration, for its cursors.
    pub(crate) fn list(&self, what: &str) -> String {
        format!("{what} of {} in {}", self.client, self.environment)
    }
}

/// A registration with its client, property and environment.
pub(crate) struct Site {
    pub(crate) client: Client,
    pub(crate) registration: Registration,
    pub(crate) environment: Environment,
}

/// Returns 404 for an object that the principal cannot read, and 403 for one that the principal can read but not change
/// this way.
pub(crate) fn check(
    principal: &Principal,
    access: Access,
    read: Permission,
    object: Object<'_>,
) -> Result<(), Error> {
    let (Access::Needs(permission) | Access::OwnOr(permission)) = access else { return Ok(()) };
    if principal.may(permission, object) {
        Ok(())
    } else if principal.may(read, object) {
        Err(forbidden_on(permission, object))
    } else {
        Err(Error::hidden())
    }
}

pub(crate) fn forbidden(permission: Permission) -> Error {
    let text = format!("This action requires the permission {}. Nothing was changed.", permission.as_str());
    forbidden_because(permission, &text)
}

/// Returns a 403 that names the environment in which the permission is missing.
pub(crate) fn forbidden_on(permission: Permission, object: Object<'_>) -> Error {
    let (Object::Place(_, environment) | Object::Registration(_, _, environment)) = object else {
        return forbidden(permission);
    };
    let word = permission.as_str();
    let text = format!(
        "This action requires the permission {word} in the environment {environment}. Nothing was changed."
    );
    forbidden_because(permission, &text)
}

/// Refuses a principal who requires the value of a new secret but is not permitted to see it.
pub(crate) fn check_value(principal: &Principal, required: bool, object: Object<'_>) -> Result<(), Error> {
    let permission = Permission::SecretReveal;
    if !required || principal.may(permission, object) {
        return Ok(());
    }
    let place = match object {
        Object::Place(_, environment) | Object::Registration(_, _, environment) => {
            format!(" in the environment {environment}")
        }
        _ => String::new(),
    };
    let word = permission.as_str();
    let text =
        format!("Receiving the new secret requires the permission {word}{place}. Nothing was changed.");
    Err(forbidden_because(permission, &text))
}

/// Returns a 403 with this sentence.
pub(crate) fn forbidden_because(permission: Permission, text: &str) -> Error {
    Problem::new(Code::Forbidden, text).with("permission", permission.as_str()).into()
}

impl Target for Platform {
    type Loaded = ();

    async fn load(&self, _: &mut Tx, principal: &Principal, access: Access) -> Result<(), Error> {
        // The platform itself is not secret; permissions on it are checked.
        let (Access::Needs(permission) | Access::OwnOr(permission)) = access else { return Ok(()) };
        if principal.may(permission, Object::Platform) { Ok(()) } else { Err(forbidden(permission)) }
    }
}

impl Target for PropertyPath<'_> {
    type Loaded = Property;

    async fn load(&self, tx: &mut Tx, principal: &Principal, access: Access) -> Result<Property, Error> {
        let id = PropertyId::parse(self.0).map_err(|_| Problem::not_found())?;
        let property = tx.property(&id).await?.ok_or_else(Problem::not_found)?;
        check(principal, access, Permission::ClientRead, Object::Property(&property.id))?;
        Ok(property)
    }

    fn names(&self) -> Names {
        Names { target: PropertyId::parse(self.0).ok().map(String::from), ..Names::default() }
    }
}

impl Target for EnvironmentPath<'_> {
    type Loaded = Environment;

    async fn load(&self, tx: &mut Tx, principal: &Principal, access: Access) -> Result<Environment, Error> {
        let slug = Slug::parse("environment", self.0).map_err(|_| Problem::not_found())?;
        let environment = tx.environment(&slug).await?.ok_or_else(Problem::not_found)?;
        // Every known principal can read the list of environments.
        Platform.load(tx, principal, access).await?;
        Ok(environment)
    }

    fn names(&self) -> Names {
        Names { environment: Slug::parse("environment", self.0).ok(), ..Names::default() }
    }
}

impl Target for PlacePath<'_> {
    type Loaded = PropertyPlace;

    async fn load(&self, tx: &mut Tx, principal: &Principal, access: Access) -> Result<PropertyPlace, Error> {
        let id = PropertyId::parse(self.property).map_err(|_| Problem::not_found())?;
        let property = tx.property(&id).await?.ok_or_else(Problem::not_found)?;
        let slug = Slug::parse("environment", self.environment).map_err(|_| Problem::not_found())?;
        let checked = check(principal, access, Permission::ClientRead, Object::Place(&property.id, &slug));
        if checked.as_ref().is_err_and(|error| error.hidden) {
            return Err(Error::hidden());
        }
        let environment = tx.environment(&slug).await?.ok_or_else(Problem::not_found)?;
        checked?;
        Ok(PropertyPlace { property, environment })
    }

    fn names(&self) -> Names {
        Names {
            environment: Slug::parse("environment", self.environment).ok(),
            target: PropertyId::parse(self.property).ok().map(String::from),
            ..Names::default()
        }
    }
}

impl Target for ClientPath<'_> {
    type Loaded = Client;

    async fn load(&self, tx: &mut Tx, principal: &Principal, access: Access) -> Result<Client, Error> {
        let id = ClientId::parse(self.0).map_err(|_| Problem::not_found())?;
        let client = tx.client(&id).await?.ok_or_else(Problem::not_found)?;
        check(principal, access, Permission::ClientRead, Object::Client(&client.property_id, &client.id))?;
        Ok(client)
    }

    fn names(&self) -> Names {
        Names { client: ClientId::parse(self.0).ok(), ..Names::default() }
    }
}

impl Target for RegistrationPath<'_> {
    type Loaded = Site;

    async fn load(&self, tx: &mut Tx, principal: &Principal, access: Access) -> Result<Site, Error> {
        let id = ClientId::parse(self.client).map_err(|_| Problem::not_found())?;
        let client = tx.client(&id).await?.ok_or_else(Problem::not_found)?;
        let slug = Slug::parse("environment", self.environment).map_err(|_| Problem::not_found())?;
        let object = Object::Registration(&client.property_id, &client.id, &slug);
        let checked = check(principal, access, Permission::ClientRead, object);
        // A principal without read access takes the same path whether or not anything exists.
        if checked.as_ref().is_err_and(|error| error.hidden) {
            return Err(Error::hidden());
        }
        let registration = tx.registration(&client.id, &slug).await?.ok_or_else(Problem::not_found)?;
        let environment = tx.environment(&slug).await?.ok_or_else(Problem::not_found)?;
        checked?;
        Ok(Site { client, registration, environment })
    }

    fn names(&self) -> Names {
        Names {
            client: ClientId::parse(self.client).ok(),
            environment: Slug::parse("environment", self.environment).ok(),
            target: None,
        }
    }
}

impl Site {
    pub(crate) fn object(&self) -> Object<'_> {
        Object::Registration(&self.client.property_id, &self.client.id, &self.environment.slug)
    }

    /// Requires the client's name as confirmation for a change that callers depend on (rule 10).
    pub(crate) fn confirm(&self, typed: Option<&str>) -> Result<(), Problem> {
        confirm(&self.client, typed)
    }
}

impl Act<'_> {
    /// Appends an event about a registration to the audit trail, and queues a message to the owners of its client.
    pub(crate) async fn tell(
        &mut self,
        random: &dyn Random,
        event: &Event,
        site: &Site,
        target: &str,
        reason: &str,
    ) -> Result<(), Error> {
        let about = About {
            client: Some(&site.client.id),
            environment: Some(&site.environment.slug),
            target: Some(target.to_owned()),
            reason: Some(reason),
        };
        self.audit(event, about).await?;
        self.notify(random, event, &site.client, Some(&site.environment.slug), Some(reason)).await
    }
}

pub(crate) fn confirm(client: &Client, typed: Option<&str>) -> Result<(), Problem> {
    if typed.is_some_and(|typed| client.name.is_typed_as(typed)) {
        return Ok(());
    }
    Err(Problem::new(
        Code::ConfirmationMismatch,
        "confirm_client_name must match the client's name exactly. Nothing was changed.",
    )
    .with_field("confirm_client_name"))
}
