//! Who acted, from where, and through which credential.

use crate::{OauthClientId, SessionId, TokenId, UserId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Origin of a request, for the trail.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Origin {
    /// Address of the caller; `None` for actions of Crossfade itself or of a local command.
    pub ip: Option<IpAddr>,
    /// Stored form of the address, which follows the policy for addresses.
    pub stored: Option<String>,
    /// ID of the request in the log.
    pub request_id: Option<String>,
}

/// Who performs an action.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Actor {
    /// A person.
    User {
        /// Their id.
        id: UserId,
        /// Their name at the time.
        name: String,
    },
    /// A program with an account of its own.
    Program {
        /// The account's id.
        id: UserId,
        /// Its name at the time.
        name: String,
    },
    /// A rule of Crossfade itself: a deadline, a retention.
    Policy {
        /// The rule's name.
        id: String,
        /// Display name.
        name: String,
    },
    /// The OAuth client itself, authenticated by its secret.
    Client {
        /// Its OAuth `client_id`; in front mode the ID of its registration.
        id: OauthClientId,
        /// The client's name.
        name: String,
    },
    /// Someone on the server machine, using a local command.
    Machine {
        /// The command.
        id: String,
        /// Display name.
        name: String,
    },
    /// An unknown caller.
    Unknown {
        /// The identity they claimed, if known.
        id: String,
        /// Display name.
        name: String,
    },
}

impl Actor {
    /// Returns the kind as it is stored and filtered by.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::User { .. } => "user",
            Self::Program { .. } => "program",
            Self::Policy { .. } => "policy",
            Self::Client { .. } => "client",
            Self::Machine { .. } => "machine",
            Self::Unknown { .. } => "unknown",
        }
    }

    /// Returns the id within that kind.
    pub fn id(&self) -> &str {
        match self {
            Self::User { id, .. } | Self::Program { id, .. } => id.as_str(),
            Self::Client { id, .. } => id.as_str(),
            Self::Policy { id, .. } | Self::Machine { id, .. } | Self::Unknown { id, .. } => id,
        }
    }

    /// Returns the name at the time.
    pub fn name(&self) -> &str {
        match self {
            Self::User { name, .. }
            | Self::Program { name, .. }
            | Self::Policy { name, .. }
            | Self::Client { name, .. }
            | Self::Machine { name, .. }
            | Self::Unknown { name, .. } => name,
        }
    }

    /// Combines an actor from its stored parts.
    pub fn from_parts(kind: &str, id: String, name: String) -> Option<Self> {
        Some(match kind {
            "user" => Self::User { id: UserId::parse(&id).ok()?, name },
            "program" => Self::Program { id: UserId::parse(&id).ok()?, name },
            "policy" => Self::Policy { id, name },
            "client" => Self::Client { id: OauthClientId::parse(&id).ok()?, name },
            "machine" => Self::Machine { id, name },
            "unknown" => Self::Unknown { id, name },
            _ => return None,
        })
    }

    /// Returns the actor for a rule of Crossfade itself.
    pub fn policy(id: &str, name: &str) -> Self {
        Self::Policy { id: id.to_owned(), name: name.to_owned() }
    }

    /// Returns a local command.
    pub fn machine(command: &str) -> Self {
        Self::Machine { id: command.to_owned(), name: format!("crossfade {command}") }
    }
}

/// Credential, command or policy that an action was done with (rule 19).
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Via {
    /// An API token.
    Token {
        /// The token's ID.
        id: TokenId,
    },
    /// A session in the Console.
    Session {
        /// The session's ID.
        id: SessionId,
    },
    /// A local command.
    Machine {
        /// The command, such as `token create`.
        id: String,
    },
    /// A policy of Crossfade.
    Policy {
        /// The policy, such as `deadline`.
        id: String,
    },
}

impl Via {
    /// Kinds that events can be filtered by.
    pub const KINDS: [&str; 4] = ["token", "session", "machine", "policy"];

    /// Returns the kind as it is stored and filtered by.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Token { .. } => "token",
            Self::Session { .. } => "session",
            Self::Machine { .. } => "machine",
            Self::Policy { .. } => "policy",
        }
    }

    /// Returns the ID within that kind.
    pub fn id(&self) -> &str {
        match self {
            Self::Token { id } => id.as_str(),
            Self::Session { id } => id.as_str(),
            Self::Machine { id } | Self::Policy { id } => id,
        }
    }

    /// Combines the stored parts.
    pub fn from_parts(kind: &str, id: String) -> Option<Self> {
        Some(match kind {
            "token" => Self::Token { id: TokenId::parse(&id).ok()? },
            "session" => Self::Session { id: SessionId::parse(&id).ok()? },
            "machine" => Self::Machine { id },
            "policy" => Self::Policy { id },
            _ => return None,
        })
    }

    /// Returns the local command or policy of an actor; `None` for accounts, OAuth clients and unknown callers.
    pub fn of(actor: &Actor) -> Option<Self> {
        match actor {
            Actor::Machine { id, .. } => Some(Self::Machine { id: id.clone() }),
            Actor::Policy { id, .. } => Some(Self::Policy { id: id.clone() }),
            Actor::User { .. } | Actor::Program { .. } | Actor::Client { .. } | Actor::Unknown { .. } => None,
        }
    }
}
