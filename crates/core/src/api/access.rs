//! API types of the access review: who holds which role, where, and why.

use super::Grant;
use crate::{Timestamp, UserId, account::UserKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A role of an account, with everything that a review asks about it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Access {
    /// The account that holds the role.
    pub user: AccessUser,
    /// The role, where it applies, since when, and the group that gives it.
    pub grant: Grant,
    /// Name of the property that the role is limited to.
    pub property_name: Option<String>,
    /// Name of the client that the role is limited to.
    pub client_name: Option<String>,
    /// Name of the provider whose group gives the role; `null`: the role was granted manually.
    pub provider_name: Option<String>,
    /// Words of the permissions that the role gives there.
    pub permissions: Vec<String>,
}

/// An account in the access review.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AccessUser {
    /// ID.
    pub id: UserId,
    /// Person or program.
    pub kind: UserKind,
    /// Display name.
    pub name: String,
    /// The email address of a person.
    pub email: Option<String>,
    /// Last request in a session or with an API token, to the minute; `null`: never, or before this was recorded.
    pub last_active_at: Option<Timestamp>,
}
