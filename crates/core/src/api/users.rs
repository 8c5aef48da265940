//! Accounts, their links, roles and tokens, as the API tells them.

use crate::{
    ClientId, GrantId, PropertyId, Timestamp, TokenId, UserId,
    environment::{MAX_ENVIRONMENTS, Slug},
    text::{EMAIL_PATTERN, NAME_PATTERN},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Whether an account is a person's or a program's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UserKind {
    /// A person, who signs in with an e-mail address and a password.
    Person,
    /// A program, which holds API tokens and nothing else.
    Program,
}

impl UserKind {
    /// The word that is stored and sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Program => "program",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Person, Self::Program].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// An account: a person's or a program's.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct User {
    /// Its id.
    pub id: UserId,
    /// Whose it is.
    pub kind: UserKind,
    /// The shown name.
    pub name: String,
    /// The e-mail address that a person signs in with; a program has none.
    pub email: Option<String>,
    /// Whether a password is set. A program has none.
    pub activated: bool,
    /// When it was created.
    pub created_at: Timestamp,
    /// The roles that it holds.
    pub grants: Vec<Grant>,
    /// The link with which a new person sets a password: only in the answer that creates the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activation_link: Option<OneTimeLink>,
}

/// A link that works once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OneTimeLink {
    /// The whole address; whoever holds it may use it. Absent when it has been delivered before and is not shown
    /// again here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// When it ends by itself.
    pub expires_at: Timestamp,
}

impl std::fmt::Debug for OneTimeLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OneTimeLink").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// Creates an account.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = person_or_program)]
pub struct CreateUser {
    /// A person when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<UserKind>,
    /// The e-mail address of a person. A program has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 254), regex(pattern = EMAIL_PATTERN))]
    pub email: Option<String>,
    /// The shown name; what stands before the `@` when a person's is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200), regex(pattern = NAME_PATTERN))]
    pub name: Option<String>,
}

/// A person signs in with an e-mail address; a program has none, and no part of one to be called by.
fn person_or_program(schema: &mut schemars::Schema) {
    schema.insert("if".into(), json!({"properties": {"kind": {"const": "program"}}, "required": ["kind"]}));
    let program =
        json!({"properties": {"email": {"type": "null"}, "name": {"type": "string"}}, "required": ["name"]});
    schema.insert("then".into(), program);
    schema.insert("else".into(), json!({"properties": {"email": {"type": "string"}}, "required": ["email"]}));
}

/// Makes a one-time link. Takes no members.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateLink {}

/// Changes an account. An absent member stays as it is.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateUser {
    /// The shown name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200), regex(pattern = NAME_PATTERN))]
    pub name: Option<String>,
    /// The e-mail address of a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 254), regex(pattern = EMAIL_PATTERN))]
    pub email: Option<String>,
}

/// A role that a user holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Grant {
    /// Its id.
    pub id: GrantId,
    /// The role.
    pub role: crate::roles::Role,
    /// The property that it is limited to.
    pub property_id: Option<PropertyId>,
    /// The client that it is limited to.
    pub client_id: Option<ClientId>,
    /// The environments that it is limited to; `null`: all.
    pub environments: Option<Vec<String>>,
    /// When it was given.
    pub created_at: Timestamp,
    /// The link with which a person sets a new password: only in the answer to a grant that closed the
    /// account first, to a caller who may make links. Everything that let somebody into the account before has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activation_link: Option<OneTimeLink>,
}

/// Gives a role: on the whole platform, or on one property or one client; in all environments, or in some.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = one_scope)]
pub struct CreateGrant {
    /// The role. Owner and Operations Manager are roles of the whole platform, Application Manager is one of a
    /// property or of a client.
    pub role: crate::roles::Role,
    /// The property that it is limited to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub property_id: Option<PropertyId>,
    /// The client that it is limited to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<ClientId>,
    /// The environments that it is limited to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = MAX_ENVIRONMENTS), inner(regex(pattern = Slug::PATTERN)))]
    pub environments: Option<Vec<String>>,
}

/// A grant is on the platform, or on one property, or on one client. What fits its role is said in words.
fn one_scope(schema: &mut schemars::Schema) {
    let both = json!({
        "properties": {"property_id": {"type": "string"}, "client_id": {"type": "string"}},
        "required": ["property_id", "client_id"],
    });
    schema.insert("not".into(), both);
}

/// Who asks.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Me {
    /// The account.
    pub user: User,
    /// The permissions that this token is limited to; `null`: whatever the account may.
    pub scope: Option<Vec<String>>,
    /// ID of this API token: the audit trail finds what was done through it.
    pub token_id: Option<TokenId>,
}

/// An API token, without its value.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Token {
    /// Its id.
    pub id: TokenId,
    /// Whose it is.
    pub user_id: UserId,
    /// What its owner calls it.
    pub name: String,
    /// What it is limited to; `null`: whatever its owner may.
    pub scope: Option<Vec<String>>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// Its last use.
    pub last_used_at: Option<Timestamp>,
}
