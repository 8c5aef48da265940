//! API types of the policy for passwords.

use crate::{UserId, account::Passwords};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who can sign in with a password.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PasswordPolicy {
    /// Who can sign in with a password.
    pub passwords: Passwords,
    /// Owners who can sign in with a password when nobody else can.
    pub break_glass: Vec<UserId>,
}

/// Changes who can sign in with a password. An absent member stays as it is.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdatePasswordPolicy {
    /// Who can sign in with a password. With `break_glass`, the sessions of everyone else that were begun with a password end,
    /// and one-time links of people let nobody in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passwords: Option<Passwords>,
    /// Owners who can sign in with a password when nobody else can. With `break_glass`, at least one, and each has a password.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20))]
    pub break_glass: Option<Vec<UserId>>,
}
