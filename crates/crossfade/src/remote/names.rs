//! Names for IDs in tables. JSON has the IDs.

use super::http::Api;
use crate::failure::Failure;
use crossfade_core::api::{Client, Me, Property, User};
use std::collections::HashMap;

/// Maximum number of objects looked up for one table; further ones are shown by their IDs.
const MAX_LOOKUPS: usize = 100;

/// Names that the caller can read. An object without a readable name keeps its ID.
pub(super) struct Names<'a> {
    api: &'a Api,
    known: HashMap<String, String>,
    lookups: usize,
    /// Kinds of objects that this caller cannot read.
    forbidden: Vec<&'static str>,
}

impl<'a> Names<'a> {
    pub(super) fn new(api: &'a Api) -> Self {
        Self { api, known: HashMap::new(), lookups: 0, forbidden: Vec::new() }
    }

    /// Loads the caller's own account, whose name is always readable.
    pub(super) async fn learn_own(&mut self) -> Result<(), Failure> {
        let me: Me = self.api.get("/me").await?;
        self.learn_user(&me.user);
        Ok(())
    }

    pub(super) fn learn_user(&mut self, user: &User) {
        self.known.insert(user.id.to_string(), name_of(user));
    }

    /// Returns the name of an object, or its ID.
    pub(super) async fn name(&mut self, id: &str) -> String {
        if let Some(name) = self.known.get(id) {
            return name.clone();
        }
        let found = self.look_up(id).await.unwrap_or_else(|| id.to_owned());
        self.known.insert(id.to_owned(), found.clone());
        found
    }

    async fn look_up(&mut self, id: &str) -> Option<String> {
        let kind = ["usr_", "prop_", "cl_"].into_iter().find(|kind| id.starts_with(kind))?;
        if self.lookups == MAX_LOOKUPS || self.forbidden.contains(&kind) {
            return None;
        }
        self.lookups += 1;
        let found = match kind {
            "usr_" => self.api.get::<User>(&format!("/users/{id}")).await.map(|user| name_of(&user)),
            "prop_" => self.api.get::<Property>(&format!("/properties/{id}")).await.map(|it| it.name),
            _ => self.api.get::<Client>(&format!("/clients/{id}")).await.map(|it| it.name),
        };
        if found.as_ref().is_err_and(Failure::is_forbidden) {
            self.forbidden.push(kind);
        }
        found.ok()
    }
}

/// Returns the email address of a person, which the commands accept, or the name of a program.
fn name_of(user: &User) -> String {
    user.email.clone().unwrap_or_else(|| user.name.clone())
}
