//! The audit trail's vocabulary: who acted, what they did, and how it came out.

use crate::{
    DrillId, OauthClientId, PropertyId, RegistrationId, RotationId, SecretId, SessionId, Timestamp, TokenId,
    TransitionHours, UserId,
    api::{self, UserKind},
    change_over::Verdict,
    drill::StoppedAs,
    environment::{EnvironmentKind, SigningAlg},
    rotation::SecretState,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Where a request came from, for the trail.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Origin {
    /// The address of the caller; `None` for what Crossfade does by itself or somebody does at the machine.
    pub ip: Option<IpAddr>,
    /// The id under which the request stands in the log.
    pub request_id: Option<String>,
}

/// Who does something.
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
    /// Nobody who is known.
    Unknown {
        /// What they said they were, as far as that is known.
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
            Self::Unknown { .. } => "unknown",
        }
    }

    /// The id within that kind.
    pub fn id(&self) -> &str {
        match self {
            Self::User { id, .. } | Self::Program { id, .. } => id.as_str(),
            Self::Client { id, .. } => id.as_str(),
            Self::Policy { id, .. } | Self::Machine { id, .. } | Self::Unknown { id, .. } => id,
        }
    }

    /// The name at the time.
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

    /// Puts an actor together from its stored parts.
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

    /// A rule of Crossfade itself.
    pub fn policy(id: &str, name: &str) -> Self {
        Self::Policy { id: id.to_owned(), name: name.to_owned() }
    }

    /// A local command.
    pub fn machine(command: &str) -> Self {
        Self::Machine { id: command.to_owned(), name: format!("crossfade {command}") }
    }
}

/// Credential, command or policy through which something was done (rule 19).
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
    /// Kinds that events are filtered by.
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

    /// Returns what an actor that is not an account acts through; `None` for accounts, OAuth clients and strangers.
    pub fn of(actor: &Actor) -> Option<Self> {
        match actor {
            Actor::Machine { id, .. } => Some(Self::Machine { id: id.clone() }),
            Actor::Policy { id, .. } => Some(Self::Policy { id: id.clone() }),
            Actor::User { .. } | Actor::Program { .. } | Actor::Client { .. } | Actor::Unknown { .. } => None,
        }
    }
}

macro_rules! events {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal { $($(#[doc = $field_doc:literal])+ $field:ident: $type:ty,)* })+) => {
        /// What was done. The words of the operations, in the past tense.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Action { $($(#[doc = $doc])+ $name,)+ }

        impl Action {
            /// Every action there is.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The word that is stored, filtered by and exported.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// What it means, in a sentence.
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => str::trim_start(concat!($($doc),+)),)+ }
            }
        }

        /// An event of the trail: what was done, and the facts that belong to it. Never a secret or its digest.
        #[derive(Clone, Debug, Serialize, JsonSchema)]
        #[serde(tag = "action", content = "details")]
        pub enum Event {
            $($(#[doc = $doc])+ #[serde(rename = $text)] $name { $($(#[doc = $field_doc])+ $field: $type,)* },)+
        }

        impl Event {
            /// What was done.
            pub fn action(&self) -> Action {
                match self { $(Self::$name { .. } => Action::$name,)+ }
            }
        }
    };
}

events! {
    /// The first Owner was created.
    OwnerCreated = "owner.created" {
        /// Their e-mail address.
        email: String,
    }
    /// A one-time link was made for a locked-out Owner.
    OwnerRecovered = "owner.recovered" {
        /// Their e-mail address.
        email: String,
    }
    /// A user was created.
    UserCreated = "user.created" {
        /// `person` or `program`.
        kind: UserKind,
        /// The shown name.
        name: String,
        /// The e-mail address; a program has none.
        email: Option<String>,
    }
    /// A user's name or e-mail address was changed.
    UserUpdated = "user.updated" {
        /// As it was.
        before: UserFacts,
        /// As it is.
        after: UserFacts,
    }
    /// A user was deleted, and with them their sign-ins, tokens, links and grants.
    UserDeleted = "user.deleted" {
        /// The shown name.
        name: String,
        /// The e-mail address.
        email: Option<String>,
        /// The roles that they held.
        grants: Vec<api::Grant>,
    }
    /// A one-time link to set a password was made for a user.
    LinkCreated = "link.created" {
        /// Whose it is.
        user_id: UserId,
        /// When it ends by itself.
        expires_at: Timestamp,
    }
    /// A one-time link was used to set a password.
    UserActivated = "user.activated" {
        /// Sign-ins that ended with it.
        ended_sessions: u64,
        /// API tokens that ended with it.
        ended_tokens: u64,
    }
    /// An account was closed before it got a role: everything that had let somebody into the account ended.
    UserDeactivated = "user.deactivated" {
        /// Whether it had a password.
        had_password: bool,
        /// Sign-ins that ended.
        ended_sessions: u64,
        /// API tokens that ended.
        ended_tokens: u64,
    }
    /// A person changed their own password.
    UserPasswordChanged = "user.password_changed" {
        /// Other sign-ins that ended with it.
        ended_sessions: u64,
        /// API tokens that ended with it, where the person chose so.
        ended_tokens: u64,
    }
    /// A role was given.
    GrantCreated = "grant.created" {
        /// To whom.
        user_id: UserId,
        /// The grant.
        grant: api::Grant,
    }
    /// A role was taken away.
    GrantDeleted = "grant.deleted" {
        /// From whom.
        user_id: UserId,
        /// The grant.
        grant: api::Grant,
    }
    /// An API token was created.
    TokenCreated = "token.created" {
        /// What its owner calls it.
        name: String,
        /// Whose it is.
        user_id: UserId,
        /// When it ends by itself.
        expires_at: Option<Timestamp>,
        /// What it is limited to; `null`: whatever its owner may.
        scope: Option<Vec<String>>,
    }
    /// An API token was ended.
    TokenDeleted = "token.deleted" {
        /// What its owner called it.
        name: String,
        /// Whose it was.
        user_id: UserId,
    }
    /// A person signed in to the Console.
    SessionCreated = "session.created" {}
    /// Sign-ins were ended by their person.
    SessionEnded = "session.ended" {
        /// How many.
        sessions: u64,
        /// API tokens that ended with them, where the person chose so.
        ended_tokens: u64,
    }
    /// Signing in failed, or confirming a sign-in did.
    SessionRefused = "session.refused" {
        /// Why: `password`, `unknown_account`, `no_password`, `throttled`, or `busy` when too many sign-ins were waiting.
        reason: String,
        /// How often since the last event of this kind.
        count: u64,
    }
    /// A browser is no longer known to an account, because too many wrong passwords came with its cookie.
    DeviceEnded = "device.ended" {
        /// How many wrong passwords.
        wrong_passwords: u64,
    }
    /// A property was created.
    PropertyCreated = "property.created" {
        /// Its name.
        name: String,
    }
    /// A property was renamed.
    PropertyUpdated = "property.updated" {
        /// Its name now.
        name: String,
        /// Its name before.
        name_before: String,
    }
    /// A property was deleted.
    PropertyDeleted = "property.deleted" {
        /// Its name.
        name: String,
    }
    /// The limits of a property in an environment were set.
    LimitsUpdated = "limits.updated" {
        /// As they were.
        before: api::Limits,
        /// As they are.
        after: api::Limits,
    }
    /// An environment was created.
    EnvironmentCreated = "environment.created" {
        /// Its shown name.
        name: String,
        /// Whether it serves real users.
        kind: EnvironmentKind,
        /// The algorithm of its access tokens.
        signing_alg: SigningAlg,
    }
    /// An environment's settings were changed.
    EnvironmentUpdated = "environment.updated" {
        /// As it was.
        before: Box<api::Environment>,
        /// As it is.
        after: Box<api::Environment>,
        /// Its new place in the list, if it was moved.
        position: Option<u64>,
        /// Stored values that the change destroys.
        destroyed_values: u64,
    }
    /// An environment was deleted.
    EnvironmentDeleted = "environment.deleted" {
        /// Its shown name.
        name: String,
    }
    /// An environment got a new signing key.
    SigningKeyRotated = "signing_key.rotated" {
        /// The new key's algorithm.
        alg: SigningAlg,
        /// Whether it signs at once.
        immediate: bool,
        /// Whether the old keys had leaked.
        compromised: bool,
    }
    /// A client was created.
    ClientCreated = "client.created" {
        /// Its name.
        name: String,
        /// The property that it belongs to.
        property_id: PropertyId,
        /// The environments that it was registered in.
        environments: Vec<String>,
    }
    /// A client's name, description or owners were changed.
    ClientUpdated = "client.updated" {
        /// As it was.
        before: ClientFacts,
        /// As it is.
        after: ClientFacts,
    }
    /// A client was deleted, and with it every secret of it.
    ClientDeleted = "client.deleted" {
        /// Its name.
        name: String,
    }
    /// A client was registered in a further environment.
    RegistrationCreated = "registration.created" {
        /// The OAuth `client_id`.
        oauth_client_id: OauthClientId,
        /// The first secret.
        secret_id: SecretId,
        /// Whether its value was in the answer.
        secret_shown: bool,
    }
    /// A registration's settings were changed.
    RegistrationUpdated = "registration.updated" {
        /// As it was.
        before: Box<api::Registration>,
        /// As it is.
        after: Box<api::Registration>,
    }
    /// A secret was rotated.
    SecretRotated = "secret.rotated" {
        /// The rotation.
        rotation_id: RotationId,
        /// The transition period.
        transition_hours: TransitionHours,
        /// Whether the old secret had leaked.
        compromised: bool,
        /// Whether the tokens of the secrets that ended were ended, too.
        revoke_tokens: bool,
        /// The secret that was replaced.
        outgoing_secret_id: SecretId,
        /// Its deadline.
        outgoing_expires_at: Timestamp,
        /// The new secret.
        incoming_secret_id: SecretId,
        /// The secret of a running transition that was ended.
        superseded_secret_id: Option<SecretId>,
    }
    /// A secret's value was shown.
    SecretRevealed = "secret.revealed" {
        /// The secret.
        secret_id: SecretId,
        /// What it was then.
        state: Option<SecretState>,
        /// The operation whose repeated request was answered with the value again.
        replayed: Option<String>,
    }
    /// A retiring secret was ended.
    SecretRevoked = "secret.revoked" {
        /// The secret.
        secret_id: SecretId,
        /// Whether it had leaked.
        compromised: bool,
        /// Whether its tokens were ended, too.
        revoke_tokens: bool,
    }
    /// A retiring secret's deadline was moved later.
    SecretExtended = "secret.extended" {
        /// The secret.
        secret_id: SecretId,
        /// Its deadline now.
        expires_at: Timestamp,
        /// Its deadline before.
        expires_at_before: Option<Timestamp>,
    }
    /// A rotation was undone.
    SecretRolledBack = "secret.rolled_back" {
        /// The rotation.
        rotation_id: RotationId,
        /// The secret that is current again.
        current_secret_id: SecretId,
        /// The newer one, which was revoked.
        revoked_secret_id: SecretId,
        /// Whether it was known that the newer one had been used.
        acknowledge_in_use: bool,
        /// Whether the newer one had leaked.
        compromised: bool,
        /// Whether its tokens were ended, too.
        revoke_tokens: bool,
    }
    /// Windows were scheduled in which a retiring secret is refused.
    DrillScheduled = "drill.scheduled" {
        /// The drill.
        drill_id: DrillId,
        /// The secret that it refuses.
        secret_id: SecretId,
        /// When its first window begins.
        starts_at: Timestamp,
        /// When its last window ends.
        ends_at: Timestamp,
        /// How long a window is.
        length_seconds: i64,
        /// How many windows there are.
        repeat: i64,
        /// Seconds from the beginning of a window to that of the next.
        every_seconds: Option<i64>,
    }
    /// A drill ended before its last window did.
    DrillStopped = "drill.stopped" {
        /// The drill.
        drill_id: DrillId,
        /// The secret that it refused.
        secret_id: SecretId,
        /// Why: `stopped` by somebody, or because its secret was `revoked`, `rolled_back` or `superseded`, its
        /// registration `disabled`, or its client deleted (`client_deleted`).
        stopped_as: StoppedAs,
    }
    /// A drill that had begun is over: whom it found.
    DrillFinished = "drill.finished" {
        /// The drill.
        drill_id: DrillId,
        /// The secret that it refused.
        secret_id: SecretId,
        /// When it was over.
        ended_at: Timestamp,
        /// Whether it ended before its last window did.
        stopped: bool,
        /// How many callers it refused.
        caller_count: i64,
        /// How often.
        refusal_count: i64,
        /// For how many seconds of its windows nothing was recorded: who came then was not found.
        unrecorded_seconds: u64,
        /// The callers, those that were refused last first; the first 20.
        callers: Vec<api::RefusedCaller>,
    }
    /// The deadline of a secret is near, and it is still needed: callers are left on it, or the new one has never been
    /// used. Told once at each mark of a deadline.
    DeadlineNear = "transition.deadline_near" {
        /// The rotation.
        rotation_id: RotationId,
        /// The old secret.
        secret_id: SecretId,
        /// Its deadline.
        expires_at: Timestamp,
        /// How many hours before the deadline this mark stands: 24, 4 or 1. Told later where nobody could tell it then.
        hours_before: i64,
        /// How the change-over stands.
        verdict: Verdict,
        /// How many callers would fail, as far as is known, if the old secret ended now.
        callers_left: u64,
        /// The last use of the old secret.
        last_used_at: Option<Timestamp>,
        /// The first use of the new secret.
        new_first_used_at: Option<Timestamp>,
    }
    /// A retiring secret's deadline passed.
    SecretExpired = "secret.expired" {
        /// The secret.
        secret_id: SecretId,
        /// Its deadline.
        expires_at: Timestamp,
    }
    /// The stored value of an ended secret was wiped.
    SecretWiped = "secret.wiped" {
        /// The secret.
        secret_id: SecretId,
        /// Days after its end.
        wipe_after_days: i64,
    }
    /// An OAuth client revoked an access token (RFC 7009): one of its first 20 in an hour.
    AccessTokenRevoked = "access_token.revoked" {
        /// Registration that the token was issued to.
        registration_id: RegistrationId,
        /// Secret that the token was issued under.
        secret_id: SecretId,
        /// When the token would have expired.
        expires_at: Timestamp,
    }
    /// Sum of an hour in which an OAuth client revoked more access tokens than are recorded one by one.
    AccessTokenRevocations = "access_token.revocations" {
        /// Registration that the tokens were issued to.
        registration_id: RegistrationId,
        /// Secret that the tokens were issued under.
        secret_id: SecretId,
        /// When the hour began.
        since: Timestamp,
        /// Time of the last revocation.
        last_at: Timestamp,
        /// Number of tokens revoked from `source_ip`, or from all other addresses where that is `null`; with those that
        /// are recorded one by one.
        count: i64,
    }
    /// Client authentication failed: the first time in an hour for this client, secret, reason and source.
    AuthenticationFailed = "authentication.failed" {
        /// Why: `malformed`, `unknown_client`, `disabled`, `method`, `wrong`, `expired`, `revoked` or `drill`.
        reason: String,
        /// The secret that was presented, where it is known: an ended one, or one that a drill refused.
        secret_id: Option<SecretId>,
        /// The address; `null` where there were too many to tell apart.
        source_ip: Option<String>,
        /// How often so far. `authentication.failures` has the sum of the hour.
        count: i64,
    }
    /// The sum of an hour in which a client failed to authenticate.
    AuthenticationFailures = "authentication.failures" {
        /// Why.
        reason: String,
        /// When the hour began.
        since: Timestamp,
        /// How often.
        count: i64,
        /// From how many sources that were told apart.
        sources: i64,
    }
    /// Somebody known was refused something.
    AccessRefused = "access.refused" {
        /// The operation.
        operation: String,
        /// The code of the refusal.
        code: String,
        /// The member or parameter at fault.
        field: Option<String>,
        /// How often since the last event of this kind. More than one where refusals came too fast to be written
        /// down one by one.
        count: u64,
    }
    /// The database was restored from a backup. What happened after the backup is not in it.
    DatabaseRestored = "database.restored" {
        /// When the backup was taken.
        backup_created_at: Timestamp,
        /// The engine that it was taken from.
        engine: String,
        /// The version of the program that took it.
        program_version: String,
    }
    /// The database lacks changes that were answered and applied: a failover to a standby that was behind, or an older copy.
    ChangesLost = "database.changes_lost" {
        /// The first lost change.
        first_seq: i64,
        /// The last lost change that this server had applied.
        last_seq: i64,
        /// How many registrations are decided otherwise since.
        registrations: u64,
        /// The `client_id` of each of them, at most 50: check their secrets, and end again what has leaked.
        client_ids: Vec<String>,
    }
    /// The audit trail was exported.
    AuditExported = "audit.exported" {
        /// What the export was limited to.
        filter: String,
        /// The last event that it could hold.
        up_to_seq: i64,
    }
    /// Events that are older than the retention were deleted from the trail.
    AuditTrimmed = "audit.trimmed" {
        /// How many.
        events: u64,
        /// The last one of them: the trail begins behind it.
        up_to_seq: i64,
        /// The retention, in days.
        retention_days: u32,
    }
}

/// What of a user can be changed.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct UserFacts {
    /// The shown name.
    pub name: String,
    /// The e-mail address.
    pub email: Option<String>,
}

/// What of a client can be changed.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ClientFacts {
    /// The name.
    pub name: String,
    /// What it is.
    pub description: String,
    /// The people who are told of what concerns it.
    pub owners: Vec<String>,
}

impl Event {
    /// The facts, as they are stored and exported.
    pub fn details(&self) -> serde_json::Value {
        let mut event = serde_json::to_value(self).unwrap_or_default();
        event.get_mut("details").map(serde_json::Value::take).unwrap_or_default()
    }
}

/// The schema of the facts: those of one action or another. Which action's they are is told by `action`.
pub fn details_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let any: Vec<_> = details_schemas(generator).into_iter().map(|(_, schema)| schema).collect();
    schemars::json_schema!({"type": "object", "anyOf": any})
}

/// The schema of the facts of every action.
pub fn details_schemas(generator: &mut schemars::SchemaGenerator) -> Vec<(Action, schemars::Schema)> {
    let event = Event::json_schema(generator);
    let variants = event.get("oneOf").and_then(serde_json::Value::as_array).cloned().unwrap_or_default();
    let facts = |variant: &serde_json::Value| {
        let properties = variant.get("properties")?;
        let action = Action::parse(properties.get("action")?.get("const")?.as_str()?)?;
        Some((action, properties.get("details")?.clone().try_into().ok()?))
    };
    variants.iter().filter_map(facts).collect()
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
            Actor::Unknown { id: String::new(), name: "unknown client".into() },
        ] {
            let parts = Actor::from_parts(actor.kind(), actor.id().into(), actor.name().into());
            assert_eq!(parts, Some(actor));
        }
        assert_eq!(Actor::from_parts("robot", "x".into(), "y".into()), None);
    }

    #[test]
    fn what_was_acted_through_survives_storage() {
        let token = TokenId::parse("tok_0000000000000000000001").unwrap();
        let session = SessionId::parse("ses_0000000000000000000001").unwrap();
        let all = [
            Via::Token { id: token },
            Via::Session { id: session },
            Via::Machine { id: "token create".into() },
            Via::Policy { id: "deadline".into() },
        ];
        assert_eq!(all.each_ref().map(Via::kind), Via::KINDS);
        for via in all {
            assert_eq!(Via::from_parts(via.kind(), via.id().into()), Some(via));
        }
        assert_eq!(Via::from_parts("robot", "x".into()), None);
        assert_eq!(Via::from_parts("token", "sec_0000000000000000000001".into()), None);
    }

    #[test]
    fn the_details_of_an_event_are_its_facts_alone() {
        let event = Event::PropertyUpdated { name: "New".into(), name_before: "Old".into() };
        assert_eq!(event.action().as_str(), "property.updated");
        assert_eq!(event.details(), serde_json::json!({"name": "New", "name_before": "Old"}));
        assert_eq!(Event::SessionCreated {}.details(), serde_json::json!({}));
    }

    #[test]
    fn actions_survive_storage() {
        for action in Action::ALL {
            assert_eq!(Action::parse(action.as_str()), Some(*action));
        }
    }
}
