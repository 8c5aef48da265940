//! What a command names: by its id, or by what people know it by.

use super::http::{Api, form_encode};
use crate::failure::Failure;
use crossfade_core::{
    ClientId, PropertyId, UserId,
    api::{Client, Property, User},
};

impl Api {
    /// The client with this id, this name, or this OAuth `client_id`.
    pub(crate) async fn find_client(&self, name: &str) -> Result<Client, Failure> {
        if ClientId::parse(name).is_ok() {
            return self.get(&format!("/clients/{name}")).await;
        }
        let clients: Vec<Client> =
            self.list(&format!("/clients?{}", form_encode("q", name)), usize::MAX).await?;
        let is_meant = |client: &Client| {
            client.name == name || client.registrations.iter().any(|it| it.client_id.as_str() == name)
        };
        let mut exact: Vec<Client> = clients.into_iter().filter(is_meant).collect();
        match (exact.pop(), exact.pop()) {
            (Some(only), None) => Ok(only),
            (None, _) => Err(Failure::not_found(format!("There is no client named {name}."))),
            (Some(one), Some(two)) => Err(Failure::failed(format!(
                "More than one client is named {name}; say which by its id: {}, {}, …",
                two.id, one.id
            ))),
        }
    }

    /// The same as an id. One that is given as an id is not looked for: a deleted client still has a history.
    pub(crate) async fn find_client_id(&self, name: &str) -> Result<ClientId, Failure> {
        match ClientId::parse(name) {
            Ok(id) => Ok(id),
            Err(_) => Ok(self.find_client(name).await?.id),
        }
    }

    /// The property with this id or this name.
    pub(crate) async fn find_property(&self, name: &str) -> Result<Property, Failure> {
        if PropertyId::parse(name).is_ok() {
            return self.get(&format!("/properties/{name}")).await;
        }
        let properties: Vec<Property> = self.list("/properties", usize::MAX).await?;
        properties
            .into_iter()
            .find(|property| property.name == name)
            .ok_or_else(|| Failure::not_found(format!("There is no property named {name}.")))
    }

    /// The id of the user with this id or this e-mail address.
    pub(crate) async fn find_user(&self, name: &str) -> Result<UserId, Failure> {
        if let Ok(id) = UserId::parse(name) {
            return Ok(id);
        }
        if !name.contains('@') {
            return Err(Failure::usage(format!(
                "{name} is neither the id of a user nor an e-mail address; crossfade user list shows both."
            )));
        }
        let users: Vec<User> = self.list(&format!("/users?{}", form_encode("q", name)), usize::MAX).await?;
        let is_meant =
            |user: &User| user.email.as_ref().is_some_and(|it| it.to_lowercase() == name.to_lowercase());
        users
            .into_iter()
            .find(is_meant)
            .map(|user| user.id)
            .ok_or_else(|| Failure::not_found(format!("There is no user with the e-mail address {name}.")))
    }
}
