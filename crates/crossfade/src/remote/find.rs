//! Finding the object that a command names, by its id or by its name.

use super::http::{Api, form_encode};
use crate::failure::Failure;
use crossfade_core::{
    ClientId, PropertyId, UserId,
    api::{Client, Me, Property, User},
    roles::Permission,
};
use serde::de::DeserializeOwned;

impl Api {
    /// Returns the client with this id, this name, or this OAuth `client_id`.
    pub(crate) async fn find_client(&self, name: &str) -> Result<Client, Failure> {
        let found = match ClientId::parse(name) {
            Ok(_) => self.get(&format!("/clients/{name}")).await,
            Err(_) => self.client_named(name).await,
        };
        self.if_readable(found).await
    }

    async fn client_named(&self, name: &str) -> Result<Client, Failure> {
        let clients: Vec<Client> =
            self.list(&format!("/clients?{}", form_encode("q", name)), usize::MAX).await?;
        let is_meant = |client: &Client| {
            client.name == name || client.registrations.iter().any(|it| it.client_id.as_str() == name)
        };
        let mut exact: Vec<Client> = clients.into_iter().filter(is_meant).collect();
        match (exact.pop(), exact.pop()) {
            (Some(only), None) => Ok(only),
            (None, _) => Err(Failure::not_found(format!("No client that you can read is named {name}."))),
            (Some(one), Some(two)) => Err(Failure::failed(format!(
                "More than one client is named {name}. Use an ID instead: {}, {}, …",
                two.id, one.id
            ))),
        }
    }

    /// Finds a client's id by id, name or OAuth `client_id`. An id is returned without a lookup, because deleted
    /// clients still have a history.
    pub(crate) async fn find_client_id(&self, name: &str) -> Result<ClientId, Failure> {
        match ClientId::parse(name) {
            Ok(id) => Ok(id),
            Err(_) => Ok(self.find_client(name).await?.id),
        }
    }

    /// Returns the property with this id or this name.
    pub(crate) async fn find_property(&self, name: &str) -> Result<Property, Failure> {
        let found = match PropertyId::parse(name) {
            Ok(_) => self.get(&format!("/properties/{name}")).await,
            Err(_) => self.property_named(name).await,
        };
        self.if_readable(found).await
    }

    async fn property_named(&self, name: &str) -> Result<Property, Failure> {
        let properties: Vec<Property> = self.list("/properties", usize::MAX).await?;
        let text = || format!("No property that you can read is named {name}.");
        properties
            .into_iter()
            .find(|property| property.name == name)
            .ok_or_else(|| Failure::not_found(text()))
    }

    /// Reports a missing permission if that is why nothing was found.
    async fn if_readable<T>(&self, found: Result<T, Failure>) -> Result<T, Failure> {
        match found {
            Err(failure) if failure.is_not_found() => {
                Err(self.why_nothing_is_readable().await.unwrap_or(failure))
            }
            found => found,
        }
    }

    /// Reads a list of clients or properties. Fails if it is empty because of a missing permission.
    pub(crate) async fn list_readable<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, Failure> {
        let items: Vec<T> = self.list(path, usize::MAX).await?;
        match items.is_empty() {
            true => self.why_nothing_is_readable().await.map_or(Ok(items), Err),
            false => Ok(items),
        }
    }

    /// Returns why this caller finds no client and no property at all.
    async fn why_nothing_is_readable(&self) -> Option<Failure> {
        let me: Me = self.get("/me").await.ok()?;
        if me.client_id.is_some() {
            // It can read one registration, and does not see the roles of its account.
            return None;
        }
        let permission = Permission::ClientRead;
        let is_limited = me.scope.is_some_and(|scope| scope.iter().all(|word| word != permission.as_str()));
        let may_read = me.user.grants.iter().any(|grant| grant.role.permissions().contains(&permission));
        let why = match (is_limited, may_read) {
            (true, _) => {
                "This API token cannot find clients or properties because its scope lacks client:read. \
                Nothing was changed. Create a token whose --scope includes client:read, or one without \
                --scope."
            }
            (false, false) => {
                "Your account cannot find clients or properties because it has no role with client:read. \
                Nothing was changed. Ask an Owner or an Operations Manager for a role."
            }
            (false, true) => return None,
        };
        Some(Failure::not_permitted(why, permission))
    }

    /// Returns the id of the user with this id or this email address.
    pub(crate) async fn find_user(&self, name: &str) -> Result<UserId, Failure> {
        if let Ok(id) = UserId::parse(name) {
            return Ok(id);
        }
        if !name.contains('@') {
            return Err(Failure::usage(format!(
                "{name} is not a user ID or an email address. To find both, run crossfade user list."
            )));
        }
        let users: Vec<User> = self.list(&format!("/users?{}", form_encode("q", name)), usize::MAX).await?;
        let is_meant =
            |user: &User| user.email.as_ref().is_some_and(|it| it.to_lowercase() == name.to_lowercase());
        users
            .into_iter()
            .find(is_meant)
            .map(|user| user.id)
            .ok_or_else(|| Failure::not_found(format!("No user has the email address {name}.")))
    }
}
