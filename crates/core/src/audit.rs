//! Vocabulary of the audit trail: who acted, what they did, and the outcome.

mod actor;
pub mod chain;
mod facts;
pub mod line;
pub mod ocsf;
pub mod statement;
pub mod verify;

pub use actor::{Actor, Origin, Via};
pub use facts::{
    ClientFacts, EnvironmentFacts, GrantFacts, GroupGrantFacts, LimitsFacts, OwnMessagesFacts, ProviderFacts,
    RefusedCallerFacts, RegistrationFacts, ScimUserFacts, SignInFacts, UpstreamFacts, UpstreamServerFacts,
    UserFacts, WebhookFacts,
};

use crate::{
    ClientId, DeliveryId, DrillId, FactorId, NodeId, OauthClientId, PropertyId, ProviderId,
    ProvisioningTokenId, RegistrationId, RotationId, ScimUserId, SecretId, Timestamp, TransitionHours,
    UserId, WebhookId,
    account::UserKind,
    change_over::Verdict,
    drill::StoppedAs,
    ended::Cause,
    environment::{EnvironmentKind, SigningAlg},
    owners::{HandOverCause, Heirs, OwnerChange},
    rotation::SecretState,
    second_factor::FactorKind,
    upstream::{BasicEncoding, CredentialMethod, Slot},
    webhook::DisabledAs,
};
use schemars::JsonSchema;
use serde::Serialize;

macro_rules! events {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal { $($(#[doc = $field_doc:literal])+ $field:ident: $type:ty,)* })+) => {
        /// Actions: the words of the operations, in the past tense.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Action { $($(#[doc = $doc])+ $name,)+ }

        impl Action {
            /// All actions.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Returns the word that is stored, filtered by and exported.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// Returns what it means, in a sentence.
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => str::trim_start(concat!($($doc),+)),)+ }
            }
        }

        /// An event of the trail: the action and its facts. Never contains a secret or its digest.
        #[derive(Clone, Debug, Serialize, JsonSchema)]
        #[serde(tag = "action", content = "details")]
        pub enum Event {
            $($(#[doc = $doc])+ #[serde(rename = $text)] $name { $($(#[doc = $field_doc])+ $field: $type,)* },)+
        }

        impl Event {
            /// Action.
            pub fn action(&self) -> Action {
                match self { $(Self::$name { .. } => Action::$name,)+ }
            }
        }
    };
}

events! {
    /// The first Owner was created.
    OwnerCreated = "owner.created" {
        /// Their email address.
        email: String,
    }
    /// A one-time link was created for a locked-out Owner.
    OwnerRecovered = "owner.recovered" {
        /// Their email address.
        email: String,
    }
    /// A user was created.
    UserCreated = "user.created" {
        /// `person` or `program`.
        kind: UserKind,
        /// Display name.
        name: String,
        /// The email address; a program has none.
        email: Option<String>,
    }
    /// A user's name or email address was changed.
    UserUpdated = "user.updated" {
        /// Before the change.
        before: UserFacts,
        /// After the change.
        after: UserFacts,
    }
    /// A user was deleted, together with their sessions, tokens, links and grants.
    UserDeleted = "user.deleted" {
        /// Display name.
        name: String,
        /// The email address.
        email: Option<String>,
        /// Their roles.
        grants: Vec<GrantFacts>,
    }
    /// A one-time link to set a password was created for a user.
    LinkCreated = "link.created" {
        /// Account it belongs to.
        user_id: UserId,
        /// When it expires.
        expires_at: Timestamp,
    }
    /// A one-time link was used to set a password.
    UserActivated = "user.activated" {
        /// Sessions that ended with it.
        ended_sessions: u64,
        /// API tokens that ended with it.
        ended_tokens: u64,
    }
    /// An account was closed before it got a role: its password, sessions, tokens and links ended.
    UserDeactivated = "user.deactivated" {
        /// Whether it had a password.
        had_password: bool,
        /// Sessions that ended.
        ended_sessions: u64,
        /// API tokens that ended.
        ended_tokens: u64,
        /// Identities at providers that were unlinked.
        ended_identities: u64,
    }
    /// A person changed their own password.
    UserPasswordChanged = "user.password_changed" {
        /// Other sessions that ended with it.
        ended_sessions: u64,
        /// API tokens that ended with it, if the person chose to end them.
        ended_tokens: u64,
    }
    /// A person added a second factor to their account.
    FactorAdded = "factor.added" {
        /// The factor.
        factor_id: FactorId,
        /// Kind of the factor.
        kind: FactorKind,
        /// Name given by its owner.
        name: String,
        /// Other sessions that ended with it, because they began with the password alone.
        ended_sessions: u64,
    }
    /// Second factors of an account were removed: one by its owner, or all of them by an Owner or a local command.
    FactorRemoved = "factor.removed" {
        /// Account they belonged to.
        user_id: UserId,
        /// Their names.
        names: Vec<String>,
        /// Sessions that ended with them.
        ended_sessions: u64,
        /// API tokens that ended with them.
        ended_tokens: u64,
    }
    /// A passkey was refused because its counter went back, which a copy of it does.
    FactorSuspected = "factor.suspected" {
        /// The factor.
        factor_id: FactorId,
        /// Name given by its owner.
        name: String,
    }
    /// A person created recovery codes, which replace earlier ones.
    RecoveryCodesCreated = "recovery_codes.created" {
        /// Number of codes.
        count: u64,
    }
    /// A recovery code was used instead of a second factor.
    RecoveryCodeUsed = "recovery_code.used" {
        /// Number of codes that are left.
        left: u64,
    }
    /// The sign-in policy was changed: whom it asks for a second factor, or who can sign in with a password.
    SignInPolicyUpdated = "sign_in_policy.updated" {
        /// Before the change.
        before: SignInFacts,
        /// After the change.
        after: SignInFacts,
        /// Number of people who were told that they must add a second factor.
        told: u64,
        /// When the API tokens of those people are refused without one; `null`: never.
        tokens_refused_from: Option<Timestamp>,
        /// Sessions that ended with the change.
        ended_sessions: u64,
    }
    /// A person switched their own messages on or off, or set their time zone.
    OwnMessagesUpdated = "user.messages_updated" {
        /// Before the change.
        before: OwnMessagesFacts,
        /// After the change.
        after: OwnMessagesFacts,
    }
    /// A role was granted.
    GrantCreated = "grant.created" {
        /// User who got the role.
        user_id: UserId,
        /// The grant.
        grant: GrantFacts,
    }
    /// A role was removed.
    GrantDeleted = "grant.deleted" {
        /// User who lost the role.
        user_id: UserId,
        /// The grant.
        grant: GrantFacts,
    }
    /// A role of a group was kept although the person is no longer in the group, because they are the last Owner.
    GrantKept = "grant.kept" {
        /// User who keeps the role.
        user_id: UserId,
        /// The grant.
        grant: GrantFacts,
    }
    /// A provider for single sign-on was created.
    ProviderCreated = "provider.created" {
        /// The provider.
        provider: Box<ProviderFacts>,
    }
    /// A provider for single sign-on was changed, disabled or enabled.
    ProviderUpdated = "provider.updated" {
        /// Before the change.
        before: Box<ProviderFacts>,
        /// After the change.
        after: Box<ProviderFacts>,
        /// Whether its client secret was replaced.
        client_secret_replaced: bool,
        /// Sessions that ended with it.
        ended_sessions: u64,
        /// Identities that ended with it, because they are of another issuer.
        ended_identities: u64,
    }
    /// A provider for single sign-on was deleted.
    ProviderDeleted = "provider.deleted" {
        /// The provider.
        provider: Box<ProviderFacts>,
        /// Sessions that ended with it.
        ended_sessions: u64,
    }
    /// A token with which a provider provisions people was created.
    ProvisioningTokenCreated = "provisioning_token.created" {
        /// The provider.
        provider_id: ProviderId,
        /// Name of the provider.
        provider_name: String,
        /// The token.
        provisioning_token_id: ProvisioningTokenId,
        /// When it expires.
        expires_at: Timestamp,
        /// Networks it can be used from; `null`: any.
        allowed_networks: Option<Vec<String>>,
    }
    /// A token with which a provider provisions people was ended.
    ProvisioningTokenDeleted = "provisioning_token.deleted" {
        /// The provider.
        provider_id: ProviderId,
        /// Name of the provider.
        provider_name: String,
        /// The token.
        provisioning_token_id: ProvisioningTokenId,
    }
    /// A provider provisioned a person.
    ScimUserCreated = "scim_user.created" {
        /// The provider.
        provider_id: ProviderId,
        /// The person.
        user: ScimUserFacts,
        /// The account; `null`: the person is not active.
        user_id: Option<UserId>,
        /// Whether the account existed: the person had linked it with the provider.
        account_existed: bool,
    }
    /// A provider changed a person whom it provisions.
    ScimUserUpdated = "scim_user.updated" {
        /// The provider.
        provider_id: ProviderId,
        /// Before the change.
        before: ScimUserFacts,
        /// After the change.
        after: ScimUserFacts,
        /// The account; `null`: the person is not active.
        user_id: Option<UserId>,
    }
    /// A provider no longer provisions a person.
    ScimUserDeleted = "scim_user.deleted" {
        /// The provider.
        provider_id: ProviderId,
        /// The person.
        user: ScimUserFacts,
    }
    /// An account was kept although its provider has deactivated the person: nobody else is an Owner, or could sign in with a
    /// password when no provider works.
    UserKept = "user.kept" {
        /// The provider.
        provider_id: ProviderId,
        /// The account.
        user_id: UserId,
        /// Why: `last_owner` or `break_glass`.
        cause: String,
    }
    /// A provider provisioned a group.
    ScimGroupCreated = "scim_group.created" {
        /// The provider.
        provider_id: ProviderId,
        /// Name of the group.
        name: String,
        /// Number of its members.
        members: u64,
    }
    /// A provider changed a group that it provisions.
    ScimGroupUpdated = "scim_group.updated" {
        /// The provider.
        provider_id: ProviderId,
        /// Name before the change.
        name_before: String,
        /// Name of the group.
        name: String,
        /// People who were added, at most 100 of them.
        added: Vec<ScimUserId>,
        /// Number of people who were added.
        added_count: u64,
        /// People who were removed, at most 100 of them.
        removed: Vec<ScimUserId>,
        /// Number of people who were removed.
        removed_count: u64,
    }
    /// A provider no longer provisions a group.
    ScimGroupDeleted = "scim_group.deleted" {
        /// The provider.
        provider_id: ProviderId,
        /// Name of the group.
        name: String,
        /// Number of its members.
        members: u64,
    }
    /// An account can be signed in to with a provider.
    IdentityLinked = "identity.linked" {
        /// The account.
        user_id: UserId,
        /// The provider.
        provider_id: ProviderId,
        /// Name of the provider.
        provider_name: String,
        /// Whether the account was created with it, at the first sign-in.
        created_account: bool,
    }
    /// An account cannot be signed in to with a provider any more.
    IdentityUnlinked = "identity.unlinked" {
        /// The account.
        user_id: UserId,
        /// The provider.
        provider_id: ProviderId,
        /// Name of the provider.
        provider_name: String,
    }
    /// An API token was created.
    TokenCreated = "token.created" {
        /// Name given by its owner.
        name: String,
        /// Account it belongs to.
        user_id: UserId,
        /// When it expires; `null`: never.
        expires_at: Option<Timestamp>,
        /// Permissions it is limited to; `null`: all permissions of its owner.
        scope: Option<Vec<String>>,
        /// Client it is limited to; `null`: none.
        client_id: Option<ClientId>,
        /// Environment it is limited to; `null`: none.
        environment: Option<String>,
    }
    /// An API token was ended.
    TokenDeleted = "token.deleted" {
        /// Name given by its owner.
        name: String,
        /// Whose it was.
        user_id: UserId,
    }
    /// A person signed in to the Console.
    SessionCreated = "session.created" {
        /// Provider that the person signed in with; `null`: with a password or a one-time link.
        provider_id: Option<ProviderId>,
        /// Passkey that signed in alone; `null`: otherwise.
        passkey_id: Option<FactorId>,
    }
    /// A provider ended sessions by back-channel logout.
    SessionLoggedOut = "session.logged_out" {
        /// The provider.
        provider_id: ProviderId,
        /// Number.
        sessions: u64,
    }
    /// A person ended their own sessions.
    SessionEnded = "session.ended" {
        /// Number.
        sessions: u64,
        /// API tokens that ended with them, if the person chose to end them.
        ended_tokens: u64,
    }
    /// A sign-in or a confirmation failed.
    SessionRefused = "session.refused" {
        /// Reason: `password`, `unknown_account`, `no_password`, `passwords_off`, `code` if the code of the second factor was
        /// wrong, `passkey` if a passkey was not accepted, `verifier` if someone presented a code of the command line without its verifier, `throttled`, or `busy` if too many sign-ins were waiting; at a provider, one of the reasons in the guide to
        /// single sign-on, such as `provider_unreachable`, `token_nonce` or `address_taken`.
        reason: String,
        /// Number of times since the last event of this kind.
        count: u64,
    }
    /// A browser is no longer known to an account, because it sent too many wrong passwords with its cookie.
    DeviceEnded = "device.ended" {
        /// Number of wrong passwords.
        wrong_passwords: u64,
    }
    /// A property was created.
    PropertyCreated = "property.created" {
        /// Name.
        name: String,
    }
    /// A property was renamed.
    PropertyUpdated = "property.updated" {
        /// New name.
        name: String,
        /// Earlier name.
        name_before: String,
    }
    /// A property was deleted.
    PropertyDeleted = "property.deleted" {
        /// Name.
        name: String,
    }
    /// The limits of a property in an environment were set.
    LimitsUpdated = "limits.updated" {
        /// Before the change.
        before: LimitsFacts,
        /// After the change.
        after: LimitsFacts,
    }
    /// An environment was created.
    EnvironmentCreated = "environment.created" {
        /// Display name.
        name: String,
        /// Whether it serves real users.
        kind: EnvironmentKind,
        /// Signing algorithm of its access tokens.
        signing_alg: SigningAlg,
    }
    /// An environment's settings were changed.
    EnvironmentUpdated = "environment.updated" {
        /// Before the change.
        before: Box<EnvironmentFacts>,
        /// After the change.
        after: Box<EnvironmentFacts>,
        /// Its new position in the list, if it was moved.
        position: Option<u64>,
        /// Stored values that the change destroys.
        destroyed_values: u64,
    }
    /// An environment was deleted.
    EnvironmentDeleted = "environment.deleted" {
        /// Display name.
        name: String,
    }
    /// An environment got a new signing key.
    SigningKeyRotated = "signing_key.rotated" {
        /// The new key's algorithm.
        alg: SigningAlg,
        /// Whether it signs immediately.
        immediate: bool,
        /// Whether the old keys had leaked.
        compromised: bool,
    }
    /// A client was created.
    ClientCreated = "client.created" {
        /// Name.
        name: String,
        /// Property it belongs to.
        property_id: PropertyId,
        /// Environments it was registered in.
        environments: Vec<String>,
    }
    /// A client's name, description or owners were changed.
    ClientUpdated = "client.updated" {
        /// Before the change.
        before: ClientFacts,
        /// After the change.
        after: ClientFacts,
    }
    /// The owners of a client were changed, because an owner's account was deleted or has another address.
    ClientHandedOver = "client.handed_over" {
        /// Account of the owner.
        user_id: UserId,
        /// Display name of the owner.
        user_name: String,
        /// What happened to the account.
        cause: HandOverCause,
        /// Who owns the client now.
        heirs: Heirs,
        /// Owners before the change.
        owners_before: Vec<String>,
        /// Owners after the change.
        owners: Vec<String>,
    }
    /// A webhook that is an owner of a client was moved or disabled.
    ClientOwnerUpdated = "client.owner_updated" {
        /// The webhook.
        webhook_id: WebhookId,
        /// What happened to it.
        change: OwnerChange,
        /// Whether any owner of the client is notified of everything now.
        is_heard: bool,
    }
    /// Messages about a client were switched on or off, for all its owners.
    ClientMessagesUpdated = "client.messages_updated" {
        /// Kinds and classes of messages that were switched off before.
        off_before: Vec<String>,
        /// Kinds and classes that are switched off now.
        off: Vec<String>,
    }
    /// A client was deleted, together with all its secrets.
    ClientDeleted = "client.deleted" {
        /// Name.
        name: String,
    }
    /// A client was registered in a further environment.
    RegistrationCreated = "registration.created" {
        /// The OAuth `client_id`.
        oauth_client_id: OauthClientId,
        /// The first secret; `null` if the registration learns it.
        secret_id: Option<SecretId>,
        /// Whether its value was in the response.
        secret_shown: bool,
    }
    /// A registration without a secret learned one, because the issuer accepted it.
    SecretLearned = "secret.learned" {
        /// The secret.
        secret_id: SecretId,
        /// How its caller sent it.
        method: CredentialMethod,
        /// The secret that was learned before, which stays valid until `previous_expires_at`; `null` if it is the first.
        previous_secret_id: Option<SecretId>,
        /// Deadline of the secret that was learned before.
        previous_expires_at: Option<Timestamp>,
    }
    /// The issuer accepts any secret of a client: the client is public, and its registration learns nothing.
    PublicClientFound = "registration.public_client_found" {
        /// The registration.
        registration_id: RegistrationId,
    }
    /// A registration's settings were changed.
    RegistrationUpdated = "registration.updated" {
        /// Before the change.
        before: Box<RegistrationFacts>,
        /// After the change.
        after: Box<RegistrationFacts>,
        /// Number of known callers that new allowed networks locked out. It was acknowledged.
        locked_out_count: u64,
    }
    /// An upstream credential was set, or confirmed for the servers of its environment.
    UpstreamCredentialSet = "upstream_credential.set" {
        /// How it is sent.
        method: CredentialMethod,
        /// Slots that got a secret.
        set_slots: Vec<Slot>,
        /// Slots that were emptied.
        removed_slots: Vec<Slot>,
        /// Scheme, host and port of each server that it is sent to.
        confirmed_origins: Vec<String>,
    }
    /// An upstream credential was tested.
    UpstreamCredentialTested = "upstream_credential.tested" {
        /// Slots that were tested.
        slots: Vec<Slot>,
    }
    /// A person asked how the callers of a client go back to the upstream issuer.
    UpstreamReleaseRead = "upstream_credential.release_read" {
        /// Whether a secret of the registration had been rotated here.
        rotated: bool,
    }
    /// A test found that the upstream issuer reads the credential in another way.
    UpstreamCredentialEncodingFound = "upstream_credential.encoding_found" {
        /// How it was written into the `Authorization` header before.
        before: BasicEncoding,
        /// How it is written now.
        after: BasicEncoding,
    }
    /// An upstream issuer refuses all secrets of an upstream credential. Recorded once until the issuer accepts one, and at most
    /// once in 10 minutes.
    UpstreamCredentialRefused = "upstream_credential.refused" {
        /// The registration.
        registration_id: RegistrationId,
        /// Since when.
        since: Timestamp,
        /// How the issuer refused it, such as `401 invalid_client`.
        last_error: Option<String>,
    }
    /// An upstream issuer accepts an upstream credential again whose refusal was recorded.
    UpstreamCredentialAccepted = "upstream_credential.accepted" {
        /// The registration.
        registration_id: RegistrationId,
        /// Since when it was refused.
        refused_since: Timestamp,
        /// Slot of the secret that is accepted.
        slot: Slot,
    }
    /// A webhook was created.
    WebhookCreated = "webhook.created" {
        /// The webhook.
        webhook: WebhookFacts,
    }
    /// A webhook was changed.
    WebhookUpdated = "webhook.updated" {
        /// Before the change.
        before: WebhookFacts,
        /// After the change.
        after: WebhookFacts,
        /// Whether its routing key was replaced.
        routing_key_replaced: bool,
        /// Waiting deliveries that were abandoned.
        abandoned_deliveries: u64,
    }
    /// A webhook was deleted, together with its deliveries.
    WebhookDeleted = "webhook.deleted" {
        /// The webhook.
        webhook: WebhookFacts,
    }
    /// A webhook got a new signing secret.
    WebhookSecretRotated = "webhook.secret_rotated" {
        /// Hours for which the earlier secret signs as well.
        overlap_hours: u64,
    }
    /// A test message to a webhook was queued.
    WebhookTested = "webhook.tested" {
        /// The webhook.
        webhook_id: WebhookId,
        /// Its name.
        name: String,
    }
    /// A delivery of a webhook was queued again.
    WebhookReplayed = "webhook.replayed" {
        /// The delivery.
        delivery_id: DeliveryId,
    }
    /// A webhook was disabled, because its receiver is gone or has failed for days.
    WebhookDisabled = "webhook.disabled" {
        /// The webhook.
        webhook_id: WebhookId,
        /// Its name.
        name: String,
        /// Host of its URL.
        host: String,
        /// Why: `gone` or `failing`.
        disabled_as: DisabledAs,
        /// Why the last attempt failed.
        last_error: String,
        /// Waiting deliveries that were abandoned.
        abandoned_deliveries: u64,
    }
    /// A secret was rotated.
    SecretRotated = "secret.rotated" {
        /// The rotation.
        rotation_id: RotationId,
        /// The transition period.
        transition_hours: TransitionHours,
        /// Whether the old secret had leaked.
        compromised: bool,
        /// Whether the tokens of the ended secrets were also ended.
        revoke_tokens: bool,
        /// Secret that was replaced.
        outgoing_secret_id: SecretId,
        /// Its deadline.
        outgoing_expires_at: Timestamp,
        /// The new secret.
        incoming_secret_id: SecretId,
        /// Secret of the running transition that the rotation ended.
        superseded_secret_id: Option<SecretId>,
    }
    /// A secret's value was shown.
    SecretRevealed = "secret.revealed" {
        /// The secret.
        secret_id: SecretId,
        /// Its state at that time.
        state: Option<SecretState>,
        /// Operation whose repeated request got the value again.
        replayed: Option<String>,
    }
    /// A text was searched for client secrets. Its content is not recorded.
    SecretsIdentified = "secrets.identified" {
        /// Number of places in the text that have the form of a client secret.
        found: u64,
        /// Number of these that were identified for the account. If all are one secret, that secret is the target.
        identified: u64,
    }
    /// A valid secret was found in a text that was reported as leaked. Recorded once for each secret.
    LeakReported = "leak.reported" {
        /// The secret.
        secret_id: SecretId,
        /// Its state at that time.
        state: SecretState,
    }
    /// An ended secret is still presented in numbers. Recorded at most once a day for each registration, and once for a
    /// secret that was marked as leaked.
    EndedSecretPresented = "secret.still_presented" {
        /// The secret.
        secret_id: SecretId,
        /// Its registration; `null` in events of earlier versions.
        registration_id: Option<RegistrationId>,
        /// When it ended.
        ended_at: Timestamp,
        /// Number of attempts.
        tries: u64,
        /// Seconds in which they were made.
        within_seconds: u64,
        /// Whether it was marked as leaked.
        compromised: bool,
        /// Callers that made them, the latest refusal first, and rows that group callers last. At most 3; `null` if they are not known.
        callers: Option<Vec<RefusedCallerFacts>>,
        /// Number of these callers; `null` if they are not known.
        caller_count: Option<u64>,
    }
    /// Evidence of use cannot be written, or could not for a while. Recorded once for each outage.
    EvidenceUnwritten = "evidence.unwritten" {
        /// Since when.
        since: Timestamp,
        /// Until when; `null` if the outage lasts.
        until: Option<Timestamp>,
    }
    /// A node has had no lease for a minute, and did not give it up. Recorded once for each time, by another node.
    NodeWithoutLease = "node.without_lease" {
        /// The process.
        node_id: NodeId,
        /// Its name.
        name: String,
        /// When its lease ended.
        lease_ended_at: Timestamp,
    }
    /// Weekly digests were queued.
    DigestsQueued = "digest.weekly" {
        /// The ISO week.
        week: String,
        /// Number of recipients.
        recipients: u64,
    }
    /// A retiring secret was ended.
    SecretRevoked = "secret.revoked" {
        /// The secret.
        secret_id: SecretId,
        /// Whether it had leaked.
        compromised: bool,
        /// Whether its tokens were also ended.
        revoke_tokens: bool,
    }
    /// The deadline of a retiring secret was extended.
    SecretExtended = "secret.extended" {
        /// The secret.
        secret_id: SecretId,
        /// New deadline.
        expires_at: Timestamp,
        /// Earlier deadline.
        expires_at_before: Option<Timestamp>,
    }
    /// A rotation was rolled back.
    SecretRolledBack = "secret.rolled_back" {
        /// The rotation.
        rotation_id: RotationId,
        /// The secret that is current again.
        current_secret_id: SecretId,
        /// New secret, which was revoked.
        revoked_secret_id: SecretId,
        /// Whether the caller acknowledged that the new secret had been used.
        acknowledge_in_use: bool,
        /// Whether the new secret had leaked.
        compromised: bool,
        /// Whether its tokens were also ended.
        revoke_tokens: bool,
    }
    /// A drill was scheduled.
    DrillScheduled = "drill.scheduled" {
        /// The drill.
        drill_id: DrillId,
        /// Secret that it refuses.
        secret_id: SecretId,
        /// When its first window begins.
        starts_at: Timestamp,
        /// When its last window ends.
        ends_at: Timestamp,
        /// Length of a window in seconds.
        length_seconds: i64,
        /// Number of windows.
        repeat: i64,
        /// Seconds from the start of a window to the start of the next.
        every_seconds: Option<i64>,
    }
    /// A drill ended before its last window.
    DrillStopped = "drill.stopped" {
        /// The drill.
        drill_id: DrillId,
        /// Secret that it refused.
        secret_id: SecretId,
        /// Reason: `stopped` by a person or program, its secret `revoked`, `rolled_back` or `superseded`, its
        /// registration `disabled`, or its client deleted (`client_deleted`).
        stopped_as: StoppedAs,
    }
    /// A drill ended, with the callers it found.
    DrillFinished = "drill.finished" {
        /// The drill.
        drill_id: DrillId,
        /// Secret that it refused.
        secret_id: SecretId,
        /// When it ended.
        ended_at: Timestamp,
        /// Whether it ended before its last window.
        stopped: bool,
        /// Number of refused callers.
        caller_count: i64,
        /// Number of times.
        refusal_count: i64,
        /// Seconds of its windows without evidence. Callers of these seconds are missing.
        unrecorded_seconds: u64,
        /// Refused callers, the latest refusal first. At most 20.
        callers: Vec<RefusedCallerFacts>,
    }
    /// A secret is close to its deadline and still needed: callers are left on it, or the new secret has never been
    /// used. Recorded once for each warning time.
    DeadlineNear = "transition.deadline_near" {
        /// The rotation.
        rotation_id: RotationId,
        /// The old secret.
        secret_id: SecretId,
        /// Its deadline.
        expires_at: Timestamp,
        /// Hours from the warning time to the deadline: 24, 4 or 1. The warning itself can be later.
        hours_before: i64,
        /// Verdict of the change-over.
        verdict: Verdict,
        /// Number of known callers that would fail if the old secret ended now.
        callers_left: u64,
        /// The last use of the old secret.
        last_used_at: Option<Timestamp>,
        /// The first use of the new secret.
        new_first_used_at: Option<Timestamp>,
    }
    /// A person said that they know of a running transition.
    TransitionSeen = "transition.seen" {
        /// The rotation.
        rotation_id: RotationId,
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
        /// Days after the secret's end.
        wipe_after_days: i64,
    }
    /// An OAuth client revoked an access token (RFC 7009), one of its first 20 in an hour.
    AccessTokenRevoked = "access_token.revoked" {
        /// Registration the token was issued to.
        registration_id: RegistrationId,
        /// Secret the token was issued under.
        secret_id: SecretId,
        /// When the token would have expired.
        expires_at: Timestamp,
    }
    /// Total for an hour in which an OAuth client revoked more access tokens than are recorded individually.
    AccessTokenRevocations = "access_token.revocations" {
        /// Registration the tokens were issued to.
        registration_id: RegistrationId,
        /// Secret the tokens were issued under.
        secret_id: SecretId,
        /// When the hour began.
        since: Timestamp,
        /// Time of the last revocation.
        last_at: Timestamp,
        /// Number of tokens revoked from `source_ip`, or from all other addresses if `source_ip` is `null`. Includes
        /// the tokens recorded individually.
        count: i64,
    }
    /// Client authentication failed for the first time in an hour for this client, secret, reason and source.
    AuthenticationFailed = "authentication.failed" {
        /// Reason: `malformed`, `unknown_client`, `disabled`, `method`, `network`, `wrong`, `expired`, `revoked`, `drill` or `throttled`.
        reason: String,
        /// Presented secret, if it was recognised: an ended one, or one that a drill refused.
        secret_id: Option<SecretId>,
        /// Address; `null` if there were too many to distinguish.
        source_ip: Option<String>,
        /// Number of failures so far. `authentication.failures` has the total for the hour.
        count: i64,
    }
    /// Total for an hour in which a client failed to authenticate.
    AuthenticationFailures = "authentication.failures" {
        /// Reason.
        reason: String,
        /// When the hour began.
        since: Timestamp,
        /// Number of times.
        count: i64,
        /// Number of distinct sources.
        sources: i64,
    }
    /// A known account was refused an operation.
    AccessRefused = "access.refused" {
        /// The operation.
        operation: String,
        /// The code of the refusal.
        code: String,
        /// The member or parameter at fault.
        field: Option<String>,
        /// Number of times since the last event of this kind. More than one if refusals came too fast to be recorded
        /// individually.
        count: u64,
    }
    /// The database was restored from a backup. Everything after the backup is missing.
    DatabaseRestored = "database.restored" {
        /// When the backup was taken.
        backup_created_at: Timestamp,
        /// Database engine it was taken from.
        engine: String,
        /// Version of the program that took it.
        program_version: String,
    }
    /// Sending of messages was held, because the database is in another place than before.
    MailHeld = "mail.held" {
        /// Place that messages were sent from.
        place_before: String,
        /// Place of the database.
        place: String,
    }
    /// Sending of messages was released.
    MailReleased = "mail.released" {
        /// Place that messages were sent from.
        place_before: String,
        /// Place that messages are sent from now.
        place: String,
        /// Number of messages that were queued before and are not sent.
        abandoned: u64,
    }
    /// A test message by mail was requested. Recorded before it is sent, so without the answer of the mail server.
    MailTested = "mail.tested" {
        /// Email address that it was sent to.
        recipient: String,
    }
    /// A quarantine began: nothing is decided from the database until it is released.
    QuarantineStarted = "quarantine.started" {
        /// Why.
        cause: Cause,
    }
    /// The quarantine ended, because the journal proved that the database lacks nothing that had ended.
    QuarantineEnded = "quarantine.ended" {
        /// Why it had begun.
        cause: Cause,
    }
    /// The quarantine was released. What the database held as valid is valid again.
    QuarantineReleased = "quarantine.released" {
        /// Why it had begun.
        cause: Cause,
        /// When it had begun.
        since: Timestamp,
        /// Number of current secrets.
        current_secrets: i64,
        /// Number of retiring secrets.
        retiring_secrets: i64,
        /// IDs of what was ended instead of released.
        except: Vec<String>,
    }
    /// Ends that the database lacked were applied from the journal.
    JournalApplied = "journal.applied" {
        /// First end.
        first_seq: i64,
        /// Last end.
        last_seq: i64,
        /// Number of ends whose subject is in the database.
        applied: u64,
        /// Number of ends whose subject is not in the database.
        missing: u64,
        /// Messages that waited in the database, and are not sent: they may have been sent since.
        abandoned: u64,
    }
    /// The keys of the instance were sealed under another master key.
    MasterKeyRotated = "master_key.rotated" {
        /// ID of the master key that seals them now.
        key_id: String,
        /// IDs of the master keys that sealed them before. They seal nothing any more.
        old_key_ids: Vec<String>,
        /// Whether the master key was created for this.
        is_new: bool,
        /// Number of values that were sealed again.
        resealed: u64,
    }
    /// New data keys were created. Values and digests use them from now on.
    DataKeysCreated = "data_keys.created" {
        /// ID of the key that seals values.
        seal_key_id: String,
        /// ID of the key that verifies secrets.
        verifier_key_id: String,
    }
    /// A data key that held nothing was deleted.
    DataKeyDeleted = "data_key.deleted" {
        /// ID of the key.
        key_id: String,
        /// Number of ended secrets whose digests it held. They are no longer recognised.
        ended_digests: u64,
    }
    /// The database lacks changes that were acknowledged and applied, after a failover to a standby that was behind or
    /// because it is an older copy.
    ChangesLost = "database.changes_lost" {
        /// First lost change.
        first_seq: i64,
        /// Last lost change that this server had applied.
        last_seq: i64,
        /// Number of registrations that are decided differently since then.
        registrations: u64,
        /// The `client_id` of each of them, at most 50. Check their secrets, and end leaked ones again.
        client_ids: Vec<String>,
    }
    /// The audit trail was exported.
    AuditExported = "audit.exported" {
        /// Filter of the export.
        filter: String,
        /// Last event that it could contain.
        up_to_seq: i64,
    }
    /// The access review was exported.
    AccessExported = "access.exported" {
        /// Filter of the export.
        filter: String,
        /// Number of roles in it.
        roles: u64,
    }
    /// Events older than the retention were deleted from the trail.
    AuditTrimmed = "audit.trimmed" {
        /// Number.
        events: u64,
        /// The last deleted event: the trail begins after it.
        up_to_seq: i64,
        /// The retention, in days.
        retention_days: u32,
    }
}

impl Event {
    /// Returns the facts, as they are stored and exported.
    pub fn details(&self) -> serde_json::Value {
        let mut event = serde_json::to_value(self).unwrap_or_default();
        event.get_mut("details").map(serde_json::Value::take).unwrap_or_default()
    }
}

/// Returns the schema of the facts of any action. The member `action` says which action they belong to.
pub fn details_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let any: Vec<_> = details_schemas(generator).into_iter().map(|(_, schema)| schema).collect();
    schemars::json_schema!({"type": "object", "anyOf": any})
}

/// Returns the schema of the facts of every action.
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
    /// Parses a stored word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|action| action.as_str() == text)
    }
}

#[cfg(test)]
mod tests;
