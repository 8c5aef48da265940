//! The audit trail's vocabulary: who acted, what they did, and how it came out.

use crate::{OauthClientId, UserId};
use serde::{Deserialize, Serialize};

/// Who does something.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
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
        /// The same in words.
        name: String,
    },
    /// The OAuth client itself, authenticated by its secret.
    Client {
        /// Its OAuth `client_id`.
        id: OauthClientId,
        /// The client's name.
        name: String,
    },
    /// Somebody at the machine itself, through a local command.
    Machine {
        /// The command.
        id: String,
        /// The same in words.
        name: String,
    },
}

impl Actor {
    /// The kind as it is stored and filtered by.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::User { .. } => "user",
            Self::Program { .. } => "program",
            Self::Policy { .. } => "policy",
            Self::Client { .. } => "client",
            Self::Machine { .. } => "machine",
        }
    }

    /// The id within that kind.
    pub fn id(&self) -> &str {
        match self {
            Self::User { id, .. } | Self::Program { id, .. } => id.as_str(),
            Self::Client { id, .. } => id.as_str(),
            Self::Policy { id, .. } | Self::Machine { id, .. } => id,
        }
    }

    /// The name at the time.
    pub fn name(&self) -> &str {
        match self {
            Self::User { name, .. }
            | Self::Program { name, .. }
            | Self::Policy { name, .. }
            | Self::Client { name, .. }
            | Self::Machine { name, .. } => name,
        }
    }

    /// Puts an actor together from its stored parts.
    pub fn from_parts(kind: &str, id: String, name: String) -> Option<Self> {
        Some(match kind {
            "user" => Self::User { id: UserId::parse(&id).ok()?, name },
            "program" => Self::Program { id: UserId::parse(&id).ok()?, name },
            "policy" => Self::Policy { id, name },
            "client" => Self::Client { id: OauthClientId::parse(&id).ok()?, name },
            "machine" => Self::Machine { id, name },
            _ => return None,
        })
    }

    /// A rule of Crossfade itself.
    pub fn policy(id: &str, name: &str) -> Self {
        Self::Policy { id: id.to_owned(), name: name.to_owned() }
    }

    /// A local command.
    pub fn machine(command: &str) -> Self {
        Self::Machine { id: command.to_owned(), name: format!("crossfade {command}") }
    }
}

macro_rules! actions {
    ($(#[doc = $doc:literal] $name:ident = $text:literal;)+) => {
        /// What was done. The words of the operations, in the past tense.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Action { $(#[doc = $doc] $name,)+ }

        impl Action {
            /// Every action there is.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The word that is stored, filtered by and exported.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// What it means, in a sentence.
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => str::trim_start($doc),)+ }
            }
        }
    };
}

actions! {
    /// The first Owner was created.
    OwnerCreated = "owner.created";
    /// A one-time link was made for a locked-out Owner.
    OwnerRecovered = "owner.recovered";
    /// A one-time link was used to set a password.
    UserActivated = "user.activated";
    /// An API token was created.
    TokenCreated = "token.created";
    /// An API token was ended.
    TokenDeleted = "token.deleted";
    /// A property was created.
    PropertyCreated = "property.created";
    /// A property was renamed.
    PropertyUpdated = "property.updated";
    /// A property was deleted.
    PropertyDeleted = "property.deleted";
    /// An environment was created.
    EnvironmentCreated = "environment.created";
    /// An environment's settings were changed.
    EnvironmentUpdated = "environment.updated";
    /// An environment was deleted.
    EnvironmentDeleted = "environment.deleted";
    /// An environment got a new signing key.
    SigningKeyRotated = "signing_key.rotated";
    /// A client was created.
    ClientCreated = "client.created";
    /// A client's name, description or owners were changed.
    ClientUpdated = "client.updated";
    /// A client was deleted, and with it every secret of it.
    ClientDeleted = "client.deleted";
    /// A client was registered in a further environment.
    RegistrationCreated = "registration.created";
    /// A registration's settings were changed.
    RegistrationUpdated = "registration.updated";
    /// A secret was rotated.
    SecretRotated = "secret.rotated";
    /// A secret's value was shown.
    SecretRevealed = "secret.revealed";
    /// A retiring secret was ended.
    SecretRevoked = "secret.revoked";
    /// A retiring secret's deadline was moved later.
    SecretExtended = "secret.extended";
    /// A rotation was undone.
    SecretRolledBack = "secret.rolled_back";
    /// A retiring secret's deadline passed.
    SecretExpired = "secret.expired";
    /// The stored value of an ended secret was wiped.
    SecretWiped = "secret.wiped";
    /// An access token was revoked by its client (RFC 7009).
    AccessTokenRevoked = "access_token.revoked";
    /// The database was restored from a backup.
    DatabaseRestored = "database.restored";
    /// Somebody known was refused something.
    AccessRefused = "access.refused";
}

impl Action {
    /// Reads a stored word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|action| action.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actors_survive_storage() {
        let user = UserId::parse("usr_0000000000000000000001").unwrap();
        let client = OauthClientId::parse("0000000000000000000001").unwrap();
        for actor in [
            Actor::User { id: user.clone(), name: "Ada".into() },
            Actor::Program { id: user, name: "CI".into() },
            Actor::policy("deadline", "Deadline"),
            Actor::Client { id: client, name: "Billing".into() },
            Actor::machine("init"),
        ] {
            let parts = Actor::from_parts(actor.kind(), actor.id().into(), actor.name().into());
            assert_eq!(parts, Some(actor));
        }
        assert_eq!(Actor::from_parts("robot", "x".into(), "y".into()), None);
    }

    #[test]
    fn actions_survive_storage() {
        for action in Action::ALL {
            assert_eq!(Action::parse(action.as_str()), Some(*action));
        }
    }
}
