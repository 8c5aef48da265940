//! The operations of the admin API, in one table. The router, the permission that a use case checks, the documentation,
//! the names in logs and metrics, and the tests of roles are generated from it. An operation that is not here does not
//! exist; one without an access does not compile.

use crate::{Code, roles::Permission};

/// HTTP method of an operation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Method {
    /// Reads an object.
    Get,
    /// Creates something or performs an action.
    Post,
    /// Replaces the named object.
    Put,
    /// Changes the named object.
    Patch,
    /// Deletes the named object.
    Delete,
}

impl Method {
    /// Returns the method as it is sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// Who is permitted to perform an operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Any signed-in account.
    Known,
    /// Accounts with the permission on the operation's target.
    Needs(Permission),
    /// Any account for its own objects; accounts with the permission for those of others.
    OwnOr(Permission),
}

macro_rules! operations {
    ($($(#[doc = $doc:literal])+ $name:ident = $id:literal $method:ident $path:literal $access:expr, [$($code:ident),*];)+) => {
        /// One operation of the API.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Operation { $($(#[doc = $doc])+ $name,)+ }

        impl Operation {
            /// All operations, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Returns its id: the name of its use case, also used in the trail, the logs and the metrics.
            pub fn id(self) -> &'static str {
                match self { $(Self::$name => $id,)+ }
            }

            /// Returns its method.
            pub fn method(self) -> Method {
                match self { $(Self::$name => Method::$method,)+ }
            }

            /// Returns its path under `/api/v1`, with parameters in braces.
            pub fn path(self) -> &'static str {
                match self { $(Self::$name => $path,)+ }
            }

            /// Returns who is permitted to perform it.
            pub fn access(self) -> Access {
                use {Access::*, Permission::*};
                match self { $(Self::$name => $access,)+ }
            }

            /// Returns its description: one sentence or more.
            pub fn description(self) -> &'static str {
                match self { $(Self::$name => str::trim_start(concat!($($doc),+)),)+ }
            }

            fn own_codes(self) -> &'static [Code] {
                match self { $(Self::$name => &[$(Code::$code),*],)+ }
            }
        }
    };
}

operations! {
    /// Reads your account, your roles and the limits of this token.
    ReadMe = "read_me" Get "/me" Known, [];
    /// Reads which messages you get, and your time zone. A limited API token cannot.
    ReadOwnMessages = "read_own_messages" Get "/me/messages" Known, [Forbidden];
    /// Sets which messages you get, and your time zone. You are notified when messages are switched on or off. A limited
    /// API token cannot.
    UpdateOwnMessages = "update_own_messages" Put "/me/messages" Known, [Forbidden, TooManyRequests];

    /// Lists the properties you can read, oldest first.
    ListProperties = "list_properties" Get "/properties" Needs(ClientRead), [];
    /// Creates a property.
    CreateProperty = "create_property" Post "/properties" Needs(PropertyManage), [NameTaken];
    /// Reads a property.
    ReadProperty = "read_property" Get "/properties/{property}" Needs(ClientRead), [];
    /// Renames a property.
    UpdateProperty = "update_property" Patch "/properties/{property}" Needs(PropertyManage), [NameTaken];
    /// Deletes a property that has never had a client. Grants on it end.
    DeleteProperty = "delete_property" Delete "/properties/{property}" Needs(PropertyManage), [InUse];
    /// Reads the limits for the audiences and scopes of a property's clients in an environment.
    ReadLimits = "read_limits" Get "/properties/{property}/environments/{environment}/limits" Needs(ClientRead), [];
    /// Sets the limits for the audiences and scopes of a property's clients in an environment. Registrations keep their
    /// present audience and scopes until these are changed.
    UpdateLimits = "update_limits" Put "/properties/{property}/environments/{environment}/limits" Needs(EnvironmentManage), [NotInFrontMode];

    /// Lists all environments in their order.
    ListEnvironments = "list_environments" Get "/environments" Known, [Forbidden];
    /// Creates an environment at the end of the list, with a signing key.
    CreateEnvironment = "create_environment" Post "/environments" Needs(EnvironmentManage), [NameTaken];
    /// Reads an environment.
    ReadEnvironment = "read_environment" Get "/environments/{environment}" Known, [Forbidden];
    /// Changes the settings of an environment or its position in the list. A change that destroys stored values
    /// requires `confirm_environment_slug`.
    UpdateEnvironment = "update_environment" Patch "/environments/{environment}" Needs(EnvironmentManage), [ConfirmationMismatch, InUse, NotInFrontMode];
    /// Deletes an environment that never had a registration.
    DeleteEnvironment = "delete_environment" Delete "/environments/{environment}" Needs(EnvironmentManage), [InUse];
    /// Lists the signing keys that an environment publishes, in the order in which they become active.
    ListSigningKeys = "list_signing_keys" Get "/environments/{environment}/signing-keys" Known, [Forbidden];
    /// Creates a new signing key for an environment. The key is published now and signs once every cached key set has
    /// expired.
    RotateSigningKey = "rotate_signing_key" Post "/environments/{environment}/signing-keys/rotate" Needs(EnvironmentManage), [NotInFrontMode];
    /// Lists the clients that are not registered in an environment in front of another issuer and that get tokens through
    /// it, those with the latest tokens first. The last item, without a `client_id`, is the sum of all other requests that
    /// were passed on. Empty in an environment with its own tokens. Requires a role on the platform.
    ListUnregisteredClients = "list_unregistered_clients" Get "/environments/{environment}/unregistered-clients" Needs(ClientRead), [];

    /// Lists the clients you can read, oldest first.
    ListClients = "list_clients" Get "/clients" Needs(ClientRead), [];
    /// Creates a client with a registration and a first secret in each named environment. The response contains the
    /// values, only this once, if you have permission to reveal them. Owners other than you are told that they own it.
    CreateClient = "create_client" Post "/clients" Needs(ClientManage), [NameTaken, TooManyRequests];
    /// Reads a client and those of its registrations that you can read.
    ReadClient = "read_client" Get "/clients/{client}" Needs(ClientRead), [];
    /// Changes a client's name, description or owners. Changing the owners requires `confirm_client_name`.
    UpdateClient = "update_client" Patch "/clients/{client}" Needs(ClientManage), [NameTaken, ConfirmationMismatch, TooManyRequests, InUse];
    /// Deletes a client. Its secrets and tokens end, its history stays, its OAuth client_ids are never used again, and
    /// grants on it end.
    DeleteClient = "delete_client" Delete "/clients/{client}" Needs(ClientManage), [ConfirmationMismatch];
    /// Reads which messages about a client its owners get.
    ReadClientMessages = "read_client_messages" Get "/clients/{client}/messages" Needs(ClientRead), [];
    /// Sets which messages about a client its owners get. The owners are notified. Switching off more than before requires
    /// `confirm_client_name`.
    UpdateClientMessages = "update_client_messages" Put "/clients/{client}/messages" Needs(ClientManage), [ConfirmationMismatch, TooManyRequests];
    /// Registers a client in a further environment, with a first secret.
    CreateRegistration = "create_registration" Post "/clients/{client}/environments" Needs(ClientManage), [NameTaken];
    /// Reads a registration.
    ReadRegistration = "read_registration" Get "/clients/{client}/environments/{environment}" Needs(ClientRead), [];
    /// Changes the settings of a registration, or disables or enables it. Never changes its secrets. A new audience and
    /// new scopes must be within the limits of its property in its environment. Allowed networks that lock out callers of
    /// the last 30 days require `acknowledge_locked_out`.
    UpdateRegistration = "update_registration" Patch "/clients/{client}/environments/{environment}" Needs(ClientManage), [ConfirmationMismatch, CallersLockedOut, TooManyRequests, NotInFrontMode];

    /// Reads which upstream credential a registration has, without its secrets. Only in front of another issuer.
    ReadUpstreamCredential = "read_upstream_credential" Get "/clients/{client}/environments/{environment}/upstream-credential" Needs(ClientRead), [NotInFrontMode];
    /// Sets the upstream credential of a registration, or confirms it for the servers that its environment has now. Only in
    /// front of another issuer.
    UpdateUpstreamCredential = "update_upstream_credential" Put "/clients/{client}/environments/{environment}/upstream-credential" Needs(SecretRotate), [NotInFrontMode];
    /// Tests the upstream credential of a registration at its issuer, without requesting a token. Also finds how the issuer
    /// reads it in the `Authorization` header. At most 3 times in a row, then once in 20 seconds.
    TestUpstreamCredential = "test_upstream_credential" Post "/clients/{client}/environments/{environment}/upstream-credential/test" Needs(SecretRotate), [NotInFrontMode, TooManyRequests];
    /// Says how the callers of a client go back to the upstream issuer. Changes nothing, and is recorded in the audit trail.
    ReleaseUpstreamCredential = "release_upstream_credential" Post "/clients/{client}/environments/{environment}/upstream-credential/release" Needs(UpstreamManage), [NotInFrontMode];

    /// Lists the secrets of a registration, newest first, without values.
    ListSecrets = "list_secrets" Get "/clients/{client}/environments/{environment}/secrets" Needs(ClientRead), [];
    /// Replaces the current secret of a registration. The old one stays valid for the transition period.
    RotateSecret = "rotate_secret" Post "/clients/{client}/environments/{environment}/secrets/rotate" Needs(SecretRotate),
        [TransitionOutOfRange, ConfirmationMismatch, CompromisedNeedsZero, TransitionInProgress, RotationConflict, NotInFrontMode];
    /// Shows the stored value of a secret.
    RevealSecret = "reveal_secret" Post "/clients/{client}/environments/{environment}/secrets/{secret}/reveal" Needs(SecretReveal), [SecretNotStored];
    /// Ends a retiring secret now.
    RevokeSecret = "revoke_secret" Post "/clients/{client}/environments/{environment}/secrets/{secret}/revoke" Needs(SecretRevoke), [NotRetiring, NotSafeToEnd, NotInFrontMode];
    /// Extends the deadline of a retiring secret, to at most 168 hours after its rotation.
    ExtendSecret = "extend_secret" Post "/clients/{client}/environments/{environment}/secrets/{secret}/extend" Needs(SecretExtend), [NotRetiring, ExtensionOutOfRange];
    /// Lists the rotations of a registration, newest first.
    ListRotations = "list_rotations" Get "/clients/{client}/environments/{environment}/rotations" Needs(ClientRead), [];
    /// Rolls back the latest rotation: the retiring secret is current again, and the new one is revoked.
    RollbackSecret = "rollback_secret" Post "/clients/{client}/environments/{environment}/rotations/{rotation}/rollback" Needs(SecretRollback), [NotRetiring, NewerSecretInUse, NotInFrontMode];
    /// Records that you know of the running transition of a rotation. You are an owner of the client, or can rotate its
    /// secret. Until somebody has, the managers of the client are warned before the deadline, too. Does nothing if you have
    /// done it before.
    MarkSeen = "mark_seen" Post "/clients/{client}/environments/{environment}/rotations/{rotation}/seen" OwnOr(SecretRotate), [NotRetiring, NotAPerson];
    /// Schedules short windows that refuse the retiring secret, so that forgotten callers show up before its deadline.
    /// Refused callers get the same 401 as for an ended secret.
    ScheduleDrill = "schedule_drill" Post "/clients/{client}/environments/{environment}/drills" Needs(SecretDrill),
        [ConfirmationMismatch, NotRetiring, RegistrationDisabled, DrillInProgress];
    /// Lists the drills of a registration, newest first, each with its windows and refused callers.
    ListDrills = "list_drills" Get "/clients/{client}/environments/{environment}/drills" Needs(ClientRead), [];
    /// Stops a drill immediately; the secret is accepted again before the response is sent. The response contains the
    /// callers stored so far. The list of drills is complete.
    StopDrill = "stop_drill" Delete "/clients/{client}/environments/{environment}/drills/{drill}" Needs(SecretDrill), [DrillOver];
    /// Lists the sources of each secret of a registration: newest secret first, then latest use first.
    ListUsage = "list_usage" Get "/clients/{client}/environments/{environment}/usage" Needs(ClientRead), [];
    /// Lists the number of uses of a registration's secrets over time, by minute, hour or day, oldest first. Intervals
    /// in which a secret was not used are left out.
    ListUsageSeries = "list_usage_series" Get "/clients/{client}/environments/{environment}/usage/series" Needs(ClientRead), [];
    /// Reads the change-over of the latest rotation: which callers still use the old secret, how long it has been
    /// quiet, whether it is safe to end, why, and what the verdict cannot see.
    ReadChangeOver = "read_change_over" Get "/clients/{client}/environments/{environment}/change-over" Needs(ClientRead), [NotRetiring];

    /// Identifies the client secrets in a text that was found somewhere: the registration and the state of each secret
    /// that you can read. Every other one is `null`, whether or not it exists. The text is not stored.
    IdentifySecrets = "identify_secrets" Post "/leaks" Needs(ClientRead), [];

    /// Lists the webhooks that you can manage, oldest first.
    ListWebhooks = "list_webhooks" Get "/webhooks" Needs(WebhookManage), [];
    /// Creates a webhook, which gets messages about a client, a property or the platform. The response contains its signing
    /// secret, which is not shown later.
    CreateWebhook = "create_webhook" Post "/webhooks" Needs(WebhookManage), [ConfirmationMismatch];
    /// Reads a webhook.
    ReadWebhook = "read_webhook" Get "/webhooks/{webhook}" Needs(WebhookManage), [];
    /// Changes, disables or enables a webhook. A new URL or routing key, more environments and more events require
    /// `confirm_name`.
    UpdateWebhook = "update_webhook" Patch "/webhooks/{webhook}" Needs(WebhookManage), [ConfirmationMismatch, InUse, TooManyRequests];
    /// Deletes a webhook and its deliveries. A webhook that is an owner of a client is not deleted.
    DeleteWebhook = "delete_webhook" Delete "/webhooks/{webhook}" Needs(WebhookManage), [InUse];
    /// Generates a new signing secret for a webhook. The earlier one signs as well for the chosen hours. The response
    /// contains the new one, which is not shown later.
    RotateWebhookSecret = "rotate_webhook_secret" Post "/webhooks/{webhook}/rotate-secret" Needs(WebhookManage), [OverlapInProgress];
    /// Queues a test message to a webhook.
    TestWebhook = "test_webhook" Post "/webhooks/{webhook}/test" Needs(WebhookManage), [WebhookDisabled, TooManyRequests];
    /// Lists the deliveries of a webhook, newest first. They are kept for 30 days.
    ListDeliveries = "list_deliveries" Get "/webhooks/{webhook}/deliveries" Needs(WebhookManage), [];
    /// Queues a delivery again under the same ID, whatever became of it.
    ReplayDelivery = "replay_delivery" Post "/webhooks/{webhook}/deliveries/{delivery}/replay" Needs(WebhookManage), [WebhookDisabled, TooManyRequests];

    /// Lists users, oldest first.
    ListUsers = "list_users" Get "/users" Needs(UserRead), [];
    /// Lists who holds which role: where, since when, granted manually or by a group, and when the account was last active. The
    /// filters answer what a user can do, and who can do something to a client in an environment.
    ListAccess = "list_access" Get "/access" Needs(UserRead), [];
    /// Creates a person, with a one-time link to set a password, or a program, which uses API tokens.
    CreateUser = "create_user" Post "/users" Needs(UserManage), [NameTaken, TooManyRequests];
    /// Reads a user.
    ReadUser = "read_user" Get "/users/{user}" Needs(UserRead), [];
    /// Changes a user's name or email address. If the user owns clients, a new address requires `confirm_user_name` and
    /// the permission `client:manage` for these clients, and replaces the old one among their owners: at most 1,000 clients.
    UpdateUser = "update_user" Patch "/users/{user}" Needs(UserManage), [NameTaken, ConfirmationMismatch, InUse];
    /// Deletes a user. The user's sessions, tokens, links and grants end. The record of what the user did stays in the
    /// trail. Clients that the user owns are handed over: to `hand_over_to`, or to the other owners or the managers of each
    /// client. This requires `confirm_user_name` and the permission `client:manage` for these clients, at most 1,000.
    DeleteUser = "delete_user" Delete "/users/{user}" Needs(UserManage), [LastOwner, ConfirmationMismatch, InUse];
    /// Returns the clients that a user owns, and who would own each of them if the user was deleted now without
    /// `hand_over_to`. Clients that you cannot read are only counted.
    ReadHandOver = "read_hand_over" Get "/users/{user}/hand-over" Needs(UserRead), [];
    /// Creates a one-time link with which a person sets a password. It replaces any earlier link.
    CreateLink = "create_link" Post "/users/{user}/link" Needs(UserManage), [NotAPerson, TooManyRequests];
    /// Lists the grants of a user.
    ListGrants = "list_grants" Get "/users/{user}/grants" Needs(UserRead), [];
    /// Grants a user a role on the platform, a property or a client. You can grant only permissions that you and your
    /// token have there, and nothing to the account that created yours or its last link. The first role that sees
    /// secrets closes the account, and so does a role that the creator of the account's last used link could not grant:
    /// password, sessions, API tokens and links end. The response contains a link with which a person sets a new
    /// password.
    CreateGrant = "create_grant" Post "/users/{user}/grants" Needs(GrantManage), [AlreadyGranted];
    /// Removes a role. A role that a group of a provider gives is removed at the provider.
    DeleteGrant = "delete_grant" Delete "/users/{user}/grants/{grant}" Needs(GrantManage), [LastOwner, GivenByGroup];

    /// Lists the OpenID Connect providers with which people sign in, oldest first.
    ListProviders = "list_providers" Get "/providers" Needs(ProviderManage), [];
    /// Creates a provider. Its issuer is asked for its metadata when the first person signs in.
    CreateProvider = "create_provider" Post "/providers" Needs(ProviderManage), [NameTaken];
    /// Reads a provider.
    ReadProvider = "read_provider" Get "/providers/{provider}" Needs(ProviderManage), [];
    /// Changes, disables or enables a provider. A new issuer requires `confirm_name` and ends the identities of the earlier
    /// one. A provider that is disabled or gets a new issuer ends its sessions and removes the roles that its groups gave;
    /// the last Owner keeps theirs.
    UpdateProvider = "update_provider" Patch "/providers/{provider}" Needs(ProviderManage), [NameTaken, ConfirmationMismatch];
    /// Deletes a provider. Its sessions end, and the roles that its groups gave are removed; the last Owner keeps theirs.
    /// Accounts stay, and list the identity until they are deleted.
    DeleteProvider = "delete_provider" Delete "/providers/{provider}" Needs(ProviderManage), [];
    /// Lists the tokens with which a provider provisions people and groups, oldest first.
    ListProvisioningTokens = "list_provisioning_tokens" Get "/providers/{provider}/provisioning-tokens" Needs(ProviderManage), [];
    /// Creates a token with which a provider provisions people and groups. The response contains its value, only this once. A
    /// provider has at most two, so that one can be replaced without a pause.
    CreateProvisioningToken = "create_provisioning_token" Post "/providers/{provider}/provisioning-tokens" Needs(ProviderManage), [InUse];
    /// Ends a token with which a provider provisions people and groups.
    DeleteProvisioningToken = "delete_provisioning_token" Delete "/providers/{provider}/provisioning-tokens/{token}" Needs(ProviderManage), [];

    /// Removes every second factor and every recovery code of another person who has lost them, and ends the person's
    /// sessions, API tokens and links. Only Owners can. The password stays, and the person is notified.
    RemoveFactors = "remove_factors" Delete "/users/{user}/factors" Needs(OwnerManage), [NotAPerson, TooManyRequests];
    /// Reads whom the instance asks for a second factor, and who can sign in with a password. Only Owners can.
    ReadSignInPolicy = "read_sign_in_policy" Get "/sign-in-policy" Needs(OwnerManage), [];
    /// Sets whom the instance asks for a second factor, and who can sign in with a password. People who must add a factor are
    /// notified. Until they have, a session leads only to their account page, and their API tokens are refused 7 days after
    /// they were notified. Tokens of programs are not. An Owner who has no second factor cannot ask others for one.
    UpdateSignInPolicy = "update_sign_in_policy" Patch "/sign-in-policy" Needs(OwnerManage), [InUse, TooManyRequests];

    /// Lists your API tokens. With permission to manage tokens, lists everyone's.
    ListTokens = "list_tokens" Get "/tokens" OwnOr(TokenManage), [];
    /// Ends an API token.
    DeleteToken = "delete_token" Delete "/tokens/{token}" OwnOr(TokenManage), [];

    /// Lists the audit trail, newest first: the complete trail, or the events of the clients you audit.
    ListAuditEvents = "list_audit_events" Get "/audit-events" Needs(AuditRead), [];
    /// Exports the audit trail as it is now, as JSON Lines, oldest first. Signed statements follow the events, so that the
    /// file can be verified.
    ExportAuditEvents = "export_audit_events" Get "/audit-events/export" Needs(AuditRead), [];
    /// Reads a signed statement about the last event of the trail. Keep it outside the instance: it proves later that the
    /// trail up to that event was not changed.
    ReadAuditCheckpoint = "read_audit_checkpoint" Get "/audit-events/checkpoint" Needs(AuditRead), [];
    /// Lists failed client authentications by hour, client, secret, reason and source, latest first.
    ListAuthenticationFailures = "list_authentication_failures" Get "/authentication-failures" Needs(AuditRead), [];

    /// Lists the nodes, oldest first: the serving processes, and until when each can decide. On SQLite there is one.
    ListNodes = "list_nodes" Get "/nodes" Needs(ClientRead), [];

    /// Reads whether the instance is in quarantine because its database was restored or replaced, and what the database
    /// holds as valid.
    ReadQuarantine = "read_quarantine" Get "/quarantine" Needs(QuarantineManage), [];
    /// Ends the quarantine. The secrets, API tokens, accounts and roles that the database holds as valid are valid again,
    /// except those that are named. Access tokens issued before are inactive.
    ReleaseQuarantine = "release_quarantine" Post "/quarantine/release" Needs(QuarantineManage), [NotQuarantined, LastOwner];

    /// Reads where messages are sent from, and whether sending is held because the database is in another place.
    ReadMail = "read_mail" Get "/mail" Needs(QuarantineManage), [];
    /// Lets a database that is in another place than before send messages. Messages that were queued before it was there
    /// are not sent.
    ReleaseMail = "release_mail" Post "/mail/release" Needs(QuarantineManage), [MailNotHeld];
    /// Sends a test message to the email address of the caller's account, and returns the answer of the mail server. At
    /// most 3 immediately, and then one every 20 seconds.
    TestMail = "test_mail" Post "/mail/test" Needs(QuarantineManage), [MailNotSetUp, NotAPerson, TooManyRequests];
}

impl Operation {
    /// Reads an id.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|operation| operation.id() == text)
    }

    /// Whether it changes or reveals something, and therefore accepts a body, `Idempotency-Key` and `If-Match`.
    pub fn is_mutation(self) -> bool {
        self.method() != Method::Get
    }

    /// Whether its cost grows with the stored data, so that it is limited in total and per account. It can be refused
    /// with `too_many_requests`.
    pub fn is_costly(self) -> bool {
        use Operation::*;
        matches!(
            self,
            // Evidence of thousands of callers.
            ReadChangeOver | ListUsage | ListUsageSeries | ListDrills | ListSecrets | ListRotations
            // Scans of the trail, which is kept for years.
            | ListAuditEvents | ExportAuditEvents | ListAuthenticationFailures
            // Scans for a part of a name, and for what one may read.
            | ListClients | ListProperties | ListUsers | ListAccess | ReadHandOver
            // Look-ups of a thousand secrets.
            | IdentifySecrets
        )
    }

    /// Whether a person can do it who must add a second factor and has none: it is about the own account, or only ends
    /// something.
    pub fn needs_no_factor(self) -> bool {
        matches!(
            self,
            Self::ReadMe
                | Self::ReadOwnMessages
                | Self::UpdateOwnMessages
                | Self::ListTokens
                | Self::DeleteToken
        )
    }

    /// Returns the parameters of its path, in order.
    pub fn parameters(self) -> impl Iterator<Item = &'static str> {
        self.path().split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
    }

    /// Returns the permission that it may require.
    pub fn permission(self) -> Option<Permission> {
        match self.access() {
            Access::Known => None,
            Access::Needs(permission) | Access::OwnOr(permission) => Some(permission),
        }
    }

    /// Returns all codes that it can be refused with.
    pub fn codes(self) -> Vec<Code> {
        let mut codes = vec![
            Code::Unauthenticated,
            Code::SecondFactorRequired,
            Code::InvalidQuery,
            Code::InvalidBody,
            Code::BodyTooLarge,
        ];
        if self.permission().is_some() {
            codes.push(Code::Forbidden);
        }
        if self.parameters().next().is_some() {
            codes.push(Code::NotFound);
        }
        if self.is_mutation() {
            codes.extend([
                Code::InvalidJson,
                Code::UnsupportedEncoding,
                Code::PreconditionFailed,
                Code::IdempotencyMismatch,
                Code::IdempotencyInFlight,
                Code::OutcomeUnknown,
            ]);
            if self != Self::ReleaseQuarantine {
                codes.push(Code::Quarantined);
            }
        }
        if self.is_costly() {
            codes.push(Code::TooManyRequests);
        }
        codes.extend(self.own_codes());
        codes.extend([Code::Unavailable, Code::Internal]);
        codes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_and_routes_are_unique_and_ids_are_read_back() {
        let ids: HashSet<_> = Operation::ALL.iter().map(|it| it.id()).collect();
        let routes: HashSet<_> = Operation::ALL.iter().map(|it| (it.method(), it.path())).collect();
        assert_eq!((ids.len(), routes.len()), (Operation::ALL.len(), Operation::ALL.len()));
        for operation in Operation::ALL {
            assert_eq!(Operation::parse(operation.id()), Some(*operation));
        }
    }

    #[test]
    fn every_mutation_needs_a_permission_and_every_permission_opens_an_operation() {
        // What is one's own alone needs none.
        let own = Operation::UpdateOwnMessages;
        for operation in Operation::ALL.iter().filter(|it| it.is_mutation() && **it != own) {
            assert!(operation.permission().is_some(), "{operation:?}");
        }
        let used: HashSet<_> = Operation::ALL.iter().filter_map(|it| it.permission()).collect();
        // What guards a part of an operation, beyond the operation itself.
        let parts = [Permission::OwnerManage, Permission::UpstreamManage];
        for permission in Permission::ALL {
            assert!(used.contains(permission) || parts.contains(permission), "{permission:?}");
        }
    }

    #[test]
    fn codes_have_no_repetition() {
        for operation in Operation::ALL {
            let codes = operation.codes();
            assert_eq!(codes.iter().collect::<HashSet<_>>().len(), codes.len(), "{operation:?}");
        }
    }
}
