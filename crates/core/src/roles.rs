//! Who may do what: permissions, the roles that hold them, and the scope of a grant. One table.

use crate::{ClientId, PropertyId, environment::Slug};
use serde::{Deserialize, Serialize};

macro_rules! permissions {
    ($(#[doc = $doc:literal] $name:ident = $text:literal;)+) => {
        /// One thing that a caller may do. The words are those of the operations.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Permission { $(#[doc = $doc] $name,)+ }

        impl Permission {
            /// All permissions.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The word for it, as tokens are limited to it.
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

permissions! {
    /// Read clients, registrations, the metadata of secrets and rotations, and evidence.
    ClientRead = "client:read";
    /// Create, change, disable and delete clients and registrations.
    ClientManage = "client:manage";
    /// See the value of a secret.
    SecretReveal = "secret:reveal";
    /// Rotate a secret.
    SecretRotate = "secret:rotate";
    /// Revoke a retiring secret.
    SecretRevoke = "secret:revoke";
    /// Extend the deadline of a retiring secret.
    SecretExtend = "secret:extend";
    /// Roll back the latest rotation.
    SecretRollback = "secret:rollback";
    /// Schedule and stop drills.
    SecretDrill = "secret:drill";
    /// Read, create, change, test and delete webhooks.
    WebhookManage = "webhook:manage";
    /// Create, rename and delete properties.
    PropertyManage = "property:manage";
    /// Change environments and their signing keys.
    EnvironmentManage = "environment:manage";
    /// Set which issuer an environment is in front of.
    UpstreamManage = "upstream:manage";
    /// Read users and grants.
    UserRead = "user:read";
    /// Create, change and delete users.
    UserManage = "user:manage";
    /// Grant Viewer, Application Manager and Operations Manager, and remove any role except Owner.
    GrantManage = "grant:manage";
    /// Grant Owner, Auditor and the roles that see secrets, and manage the accounts that hold them.
    OwnerManage = "owner:manage";
    /// Manage the OpenID Connect providers with which people sign in, and the roles that their groups give.
    ProviderManage = "provider:manage";
    /// Read and export the audit trail.
    AuditRead = "audit:read";
    /// List and delete other users' API tokens.
    TokenManage = "token:manage";
    /// See what a restored database holds as valid, release the quarantine, and let a moved database send mail.
    QuarantineManage = "quarantine:manage";
}

impl Permission {
    /// Reads the word for a permission.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|permission| permission.as_str() == text)
    }
}

/// A named set of permissions that a grant gives.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads; sees no secrets.
    Viewer,
    /// Reads and sees secrets.
    SecretViewer,
    /// Sees and changes secrets.
    SecretRotator,
    /// Manages clients; sees no secrets.
    ApplicationManager,
    /// Manages everything but secrets, the audit trail, and the accounts that see either.
    OperationsManager,
    /// Reads the audit trail.
    Auditor,
    /// Everything.
    Owner,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 7] = [
        Self::Viewer,
        Self::SecretViewer,
        Self::SecretRotator,
        Self::ApplicationManager,
        Self::OperationsManager,
        Self::Auditor,
        Self::Owner,
    ];

    /// The word that is stored and sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::SecretViewer => "secret_viewer",
            Self::SecretRotator => "secret_rotator",
            Self::ApplicationManager => "application_manager",
            Self::OperationsManager => "operations_manager",
            Self::Auditor => "auditor",
            Self::Owner => "owner",
        }
    }

    /// Reads the word for a role.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }

    /// What the role may do: the table of the product, row by row.
    pub fn permissions(self) -> &'static [Permission] {
        use Permission::*;
        match self {
            Self::Viewer => &[ClientRead],
            Self::SecretViewer => &[ClientRead, SecretReveal],
            Self::SecretRotator => &[
                ClientRead,
                SecretReveal,
                SecretRotate,
                SecretRevoke,
                SecretExtend,
                SecretRollback,
                SecretDrill,
            ],
            Self::ApplicationManager => &[ClientRead, ClientManage, WebhookManage],
            Self::OperationsManager => &[
                ClientRead,
                ClientManage,
                WebhookManage,
                PropertyManage,
                EnvironmentManage,
                UserRead,
                UserManage,
                GrantManage,
            ],
            Self::Auditor => &[ClientRead, AuditRead],
            Self::Owner => Permission::ALL,
        }
    }

    /// Whether holding this role lets somebody see secret values. Only an Owner may grant such a role.
    pub fn sees_secrets(self) -> bool {
        self.permissions().contains(&Permission::SecretReveal)
    }

    /// Returns the permission that it takes to give this role. The giver also holds what the role holds
    /// ([`crate::giving`]).
    pub fn given_by(self) -> Permission {
        if self.sees_secrets() || self == Self::Auditor {
            Permission::OwnerManage
        } else {
            Permission::GrantManage
        }
    }

    /// Whether the role can be given within this scope and these environments. `Err` says where it can.
    pub fn fits(self, scope: &Scope, limited: bool) -> Result<(), &'static str> {
        self.fits_on(*scope == Scope::Platform, limited)
    }

    /// Whether the role can be given on the whole platform (or on a property or client) and in these environments.
    /// `Err` says where it can.
    pub fn fits_on(self, is_platform: bool, limited: bool) -> Result<(), &'static str> {
        match (self, is_platform) {
            (Self::Owner | Self::OperationsManager, true) if !limited => Ok(()),
            (Self::Owner | Self::OperationsManager, _) => Err(
                "applies to the whole platform, so property_id, client_id and environments must be omitted",
            ),
            (Self::ApplicationManager, true) => {
                Err("applies to one property or client, so property_id or client_id is required")
            }
            _ => Ok(()),
        }
    }

    /// What the role is for, in a sentence.
    pub fn title(self) -> &'static str {
        match self {
            Self::Viewer => {
                "Reads clients, secret metadata, rotations and evidence. Cannot see secret values."
            }
            Self::SecretViewer => "Viewer permissions, plus revealing secrets.",
            Self::SecretRotator => {
                "Secret Viewer permissions, plus rotating, revoking, extending, rolling back and drilling \
                secrets."
            }
            Self::ApplicationManager => {
                "Manages the clients, registrations and webhooks of a property or client. Cannot see or rotate \
                secrets."
            }
            Self::OperationsManager => {
                "Manages properties, clients, webhooks, environments, users and grants. Cannot see or rotate \
                secrets. Can grant only Viewer, Application Manager and Operations Manager."
            }
            Self::Auditor => {
                "Reads and exports the audit trail. Cannot change anything or see secret values."
            }
            Self::Owner => {
                "Can do everything. Only Owners grant Owner, Auditor and the roles that see secrets."
            }
        }
    }

    /// The role as people write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "Viewer",
            Self::SecretViewer => "Secret Viewer",
            Self::SecretRotator => "Secret Rotator",
            Self::ApplicationManager => "Application Manager",
            Self::OperationsManager => "Operations Manager",
            Self::Auditor => "Auditor",
            Self::Owner => "Owner",
        }
    }
}

/// What a grant covers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Scope {
    /// The whole platform.
    Platform,
    /// One property and its clients.
    Property(PropertyId),
    /// One client.
    Client(ClientId),
}

/// A role within a scope, optionally in some environments only.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grant {
    /// The role.
    pub role: Role,
    /// What it covers.
    pub scope: Scope,
    /// `None` means every environment.
    pub environments: Option<Vec<Slug>>,
}

/// One registration: a client in an environment. An API token can be limited to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OneRegistration {
    /// The client.
    pub client: ClientId,
    /// The environment.
    pub environment: Slug,
}

impl OneRegistration {
    /// Permissions of a token that is limited to a registration and to nothing else.
    pub const PERMISSIONS: [Permission; 2] = [Permission::ClientRead, Permission::SecretRotate];

    /// Returns the part of `grants` that covers the registration. `property` is the property of its client.
    pub fn part_of(&self, grants: &[Grant], property: &PropertyId) -> Vec<Grant> {
        let object = Object::Registration(property, &self.client, &self.environment);
        let part = |grant: &Grant| Grant {
            role: grant.role,
            scope: Scope::Client(self.client.clone()),
            environments: Some(vec![self.environment.clone()]),
        };
        grants.iter().filter(|grant| grant.covers(object)).map(part).collect()
    }
}

/// What an operation is about.
#[derive(Clone, Copy, Debug)]
pub enum Object<'a> {
    /// The platform as a whole: properties, environments, users, the trail.
    Platform,
    /// A property.
    Property(&'a PropertyId),
    /// A property in one environment.
    Place(&'a PropertyId, &'a Slug),
    /// A client as a whole.
    Client(&'a PropertyId, &'a ClientId),
    /// A client in one environment.
    Registration(&'a PropertyId, &'a ClientId, &'a Slug),
}

impl Grant {
    fn covers(&self, object: Object<'_>) -> bool {
        let (property, client, environment) = match object {
            Object::Platform => (None, None, None),
            Object::Property(property) => (Some(property), None, None),
            Object::Place(property, environment) => (Some(property), None, Some(environment)),
            Object::Client(property, client) => (Some(property), Some(client), None),
            Object::Registration(property, client, environment) => {
                (Some(property), Some(client), Some(environment))
            }
        };
        let in_scope = match &self.scope {
            Scope::Platform => true,
            Scope::Property(own) => property == Some(own),
            Scope::Client(own) => client == Some(own),
        };
        // A grant limited to environments gives no rights on the client, property or platform, except to read them on
        // the way to those environments.
        let in_environment = match (&self.environments, environment) {
            (None, _) => true,
            (Some(list), Some(environment)) => list.contains(environment),
            (Some(_), None) => false,
        };
        in_scope && in_environment
    }

    /// Whether this grant lets its holder do `permission` to `object`.
    pub fn allows(&self, permission: Permission, object: Object<'_>) -> bool {
        if !self.role.permissions().contains(&permission) {
            return false;
        }
        let reads_way_down = permission == Permission::ClientRead
            && match (&self.scope, object) {
                (Scope::Platform, Object::Property(_) | Object::Client(..)) => true,
                (Scope::Property(own), Object::Property(property) | Object::Client(property, _)) => {
                    own == property
                }
                (Scope::Client(own), Object::Client(_, client)) => own == client,
                _ => false,
            };
        self.covers(object) || reads_way_down
    }
}

/// Whether any of `grants` lets its holder do `permission` to `object`.
pub fn allows(grants: &[Grant], permission: Permission, object: Object<'_>) -> bool {
    grants.iter().any(|grant| grant.allows(permission, object))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn property(n: usize) -> PropertyId {
        PropertyId::parse(&format!("prop_{n:022}")).unwrap()
    }
    fn client(n: usize) -> ClientId {
        ClientId::parse(&format!("cl_{n:022}")).unwrap()
    }
    fn slug(text: &str) -> Slug {
        Slug::parse("slug", text).unwrap()
    }
    fn grant(role: Role, scope: Scope, environments: Option<&[&str]>) -> Grant {
        Grant { role, scope, environments: environments.map(|list| list.iter().map(|s| slug(s)).collect()) }
    }

    #[test]
    fn the_roles_table() {
        use Permission::*;
        let may = |role: Role, permission| role.permissions().contains(&permission);
        for role in Role::ALL {
            assert!(may(role, ClientRead), "{role:?} reads");
            assert_eq!(Role::parse(role.as_str()), Some(role));
            let changes_secrets = may(role, SecretRotate);
            assert_eq!(changes_secrets, matches!(role, Role::SecretRotator | Role::Owner), "{role:?}");
            assert_eq!(may(role, AuditRead), matches!(role, Role::Auditor | Role::Owner), "{role:?}");
            assert_eq!(
                may(role, ClientManage),
                matches!(role, Role::ApplicationManager | Role::OperationsManager | Role::Owner)
            );
            for together in [SecretRevoke, SecretExtend, SecretRollback, SecretDrill] {
                assert_eq!(may(role, together), changes_secrets);
            }
        }
        let seeing: Vec<_> = Role::ALL.into_iter().filter(|role| role.sees_secrets()).collect();
        assert_eq!(seeing, [Role::SecretViewer, Role::SecretRotator, Role::Owner]);
    }

    #[test]
    fn scopes_and_environments_limit_a_grant() {
        let (p1, p2, c1, c2) = (property(1), property(2), client(1), client(2));
        let (staging, production) = (slug("staging"), slug("production"));
        let rotate = Permission::SecretRotate;
        let own = Object::Registration(&p1, &c1, &staging);
        let cases = [
            (grant(Role::SecretRotator, Scope::Platform, None), [true, true, true, true]),
            (grant(Role::SecretRotator, Scope::Property(p1.clone()), None), [true, true, true, false]),
            (grant(Role::SecretRotator, Scope::Client(c1.clone()), None), [true, true, false, false]),
            (
                grant(Role::SecretRotator, Scope::Client(c1.clone()), Some(&["staging"])),
                [true, false, false, false],
            ),
            (grant(Role::Viewer, Scope::Platform, None), [false; 4]),
        ];
        for (grant, expected) in cases {
            let got = [
                own,
                Object::Registration(&p1, &c1, &production),
                Object::Registration(&p1, &c2, &staging),
                Object::Registration(&p2, &c2, &staging),
            ]
            .map(|object| grant.allows(rotate, object));
            assert_eq!(got, expected, "{grant:?}");
        }
    }

    #[test]
    fn a_part_of_grants_covers_one_registration_and_never_more_than_they_do() {
        let (p1, p2, c1, c2) = (property(1), property(2), client(1), client(2));
        let (staging, production) = (slug("staging"), slug("production"));
        let only = OneRegistration { client: c1.clone(), environment: staging.clone() };
        let scopes = [
            Scope::Platform,
            Scope::Property(p1.clone()),
            Scope::Property(p2.clone()),
            Scope::Client(c1.clone()),
            Scope::Client(c2.clone()),
        ];
        for role in Role::ALL {
            for scope in scopes.clone() {
                for environments in [None, Some(&["staging"][..]), Some(&["production"]), Some(&[])] {
                    let held = [grant(role, scope.clone(), environments)];
                    let part = only.part_of(&held, &p1);
                    for permission in Permission::ALL.iter().copied() {
                        let own = Object::Registration(&p1, &c1, &staging);
                        let same = allows(&held, permission, own);
                        assert_eq!(allows(&part, permission, own), same, "{held:?} {permission:?}");
                        for other in [
                            Object::Platform,
                            Object::Property(&p1),
                            Object::Place(&p1, &staging),
                            Object::Registration(&p1, &c1, &production),
                            Object::Registration(&p1, &c2, &staging),
                            Object::Client(&p1, &c2),
                        ] {
                            assert!(!allows(&part, permission, other), "{held:?} {permission:?} {other:?}");
                        }
                        // The client is read on the way, and never managed.
                        let client = allows(&part, permission, Object::Client(&p1, &c1));
                        assert_eq!(client, permission == Permission::ClientRead && !part.is_empty());
                    }
                }
            }
        }
    }

    #[test]
    fn a_grant_for_one_environment_finds_its_way_down_but_manages_nothing_above() {
        let (p1, p2, c1) = (property(1), property(2), client(1));
        let held = grant(Role::ApplicationManager, Scope::Property(p1.clone()), Some(&["staging"]));
        assert!(held.allows(Permission::ClientRead, Object::Client(&p1, &c1)));
        assert!(held.allows(Permission::ClientRead, Object::Property(&p1)));
        assert!(!held.allows(Permission::ClientRead, Object::Property(&p2)));
        assert!(!held.allows(Permission::ClientManage, Object::Client(&p1, &c1)));
        assert!(held.allows(Permission::ClientManage, Object::Registration(&p1, &c1, &slug("staging"))));
        assert!(!held.allows(Permission::ClientRead, Object::Registration(&p1, &c1, &slug("production"))));
    }

    #[test]
    fn a_property_in_an_environment_is_read_where_the_grant_holds() {
        let (p1, p2, staging, production) = (property(1), property(2), slug("staging"), slug("production"));
        let places = [(&p1, &staging), (&p1, &production), (&p2, &staging)];
        for (scope, environments, expected) in [
            (Scope::Platform, None, [true; 3]),
            (Scope::Platform, Some(&["staging"][..]), [true, false, true]),
            (Scope::Property(p1.clone()), None, [true, true, false]),
            (Scope::Property(p1.clone()), Some(&["staging"][..]), [true, false, false]),
            (Scope::Client(client(1)), None, [false; 3]),
        ] {
            let held = grant(Role::Viewer, scope, environments);
            let read = |(property, slug)| held.allows(Permission::ClientRead, Object::Place(property, slug));
            assert_eq!(places.map(read), expected, "{held:?}");
        }
    }

    #[test]
    fn a_property_s_grant_reaches_nothing_of_the_platform() {
        let owner_of_one = grant(Role::Owner, Scope::Property(property(1)), None);
        assert!(!owner_of_one.allows(Permission::UserManage, Object::Platform));
        assert!(!owner_of_one.allows(Permission::EnvironmentManage, Object::Platform));
    }

    /// The table of the product, written down a second time: a permission more or less in any row fails.
    #[test]
    fn each_role_has_these_permissions_and_no_others() {
        let expected: [(Role, &[&str]); 7] = [
            (Role::Viewer, &["client:read"]),
            (Role::SecretViewer, &["client:read", "secret:reveal"]),
            (
                Role::SecretRotator,
                &[
                    "client:read",
                    "secret:reveal",
                    "secret:rotate",
                    "secret:revoke",
                    "secret:extend",
                    "secret:rollback",
                    "secret:drill",
                ],
            ),
            (Role::ApplicationManager, &["client:read", "client:manage", "webhook:manage"]),
            (
                Role::OperationsManager,
                &[
                    "client:read",
                    "client:manage",
                    "webhook:manage",
                    "property:manage",
                    "environment:manage",
                    "user:read",
                    "user:manage",
                    "grant:manage",
                ],
            ),
            (Role::Auditor, &["client:read", "audit:read"]),
            (
                Role::Owner,
                &[
                    "client:read",
                    "client:manage",
                    "secret:reveal",
                    "secret:rotate",
                    "secret:revoke",
                    "secret:extend",
                    "secret:rollback",
                    "secret:drill",
                    "webhook:manage",
                    "property:manage",
                    "environment:manage",
                    "upstream:manage",
                    "user:read",
                    "user:manage",
                    "grant:manage",
                    "owner:manage",
                    "provider:manage",
                    "audit:read",
                    "token:manage",
                    "quarantine:manage",
                ],
            ),
        ];
        for (role, words) in expected {
            let held: Vec<_> = role.permissions().iter().map(|permission| permission.as_str()).collect();
            assert_eq!(held, words, "{role:?}");
        }
    }

    /// No other role holds the permission.
    #[test]
    fn owner_auditor_and_roles_that_see_secrets_are_given_by_owners_alone() {
        let given: Vec<_> =
            Role::ALL.into_iter().filter(|role| role.given_by() == Permission::OwnerManage).collect();
        assert_eq!(given, [Role::SecretViewer, Role::SecretRotator, Role::Auditor, Role::Owner]);
        let givers = |permission| {
            Role::ALL.into_iter().filter(|role| role.permissions().contains(&permission)).collect::<Vec<_>>()
        };
        assert_eq!(givers(Permission::OwnerManage), [Role::Owner]);
        assert_eq!(givers(Permission::GrantManage), [Role::OperationsManager, Role::Owner]);
    }

    #[test]
    fn a_role_is_given_where_it_means_something() {
        let scopes = [Scope::Platform, Scope::Property(property(1)), Scope::Client(client(1))];
        for role in Role::ALL {
            let fits = |limited| scopes.clone().map(|scope| role.fits(&scope, limited).is_ok());
            let expected = match role {
                Role::Owner | Role::OperationsManager => ([true, false, false], [false; 3]),
                Role::ApplicationManager => ([false, true, true], [false, true, true]),
                _ => ([true; 3], [true; 3]),
            };
            assert_eq!((fits(false), fits(true)), expected, "{role:?}");
        }
    }

    #[test]
    fn each_word_names_one_permission() {
        for permission in Permission::ALL {
            assert_eq!(Permission::parse(permission.as_str()), Some(*permission));
        }
        for unknown in ["", "client", "client:write", "Client:read", "client:read "] {
            assert_eq!(Permission::parse(unknown), None, "{unknown:?}");
        }
    }

    /// A caller who can read an object can read its parents, but not its siblings.
    #[test]
    fn the_way_down_leads_only_to_what_is_held() {
        let (p1, p2, c1, c2) = (property(1), property(2), client(1), client(2));
        let read = Permission::ClientRead;
        let only = Some(&["staging"][..]);
        let objects = [
            Object::Platform,
            Object::Property(&p1),
            Object::Property(&p2),
            Object::Client(&p1, &c1),
            Object::Client(&p1, &c2),
            Object::Client(&p2, &c2),
        ];
        for (scope, environments, expected) in [
            (Scope::Platform, None, [true; 6]),
            (Scope::Platform, only, [false, true, true, true, true, true]),
            (Scope::Property(p1.clone()), None, [false, true, false, true, true, false]),
            (Scope::Property(p1.clone()), only, [false, true, false, true, true, false]),
            (Scope::Client(c1.clone()), None, [false, false, false, true, false, false]),
            (Scope::Client(c1.clone()), only, [false, false, false, true, false, false]),
        ] {
            let held = grant(Role::Owner, scope, environments);
            assert_eq!(objects.map(|object| held.allows(read, object)), expected, "{held:?}");
            // The way down is for reading alone.
            for permission in Permission::ALL.iter().filter(|permission| **permission != read) {
                for object in objects {
                    let limited = held.environments.is_some();
                    assert!(!(limited && held.allows(*permission, object)), "{permission:?} {object:?}");
                }
            }
        }
    }

    #[test]
    fn any_one_grant_is_enough_and_grants_do_not_combine() {
        let (p1, p2, c1, c2) = (property(1), property(2), client(1), client(2));
        let staging = slug("staging");
        let grants = [
            grant(Role::Viewer, Scope::Platform, None),
            grant(Role::SecretRotator, Scope::Client(c1.clone()), None),
        ];
        let (own, other) =
            (Object::Registration(&p1, &c1, &staging), Object::Registration(&p2, &c2, &staging));
        assert!(allows(&grants, Permission::SecretRotate, own));
        assert!(allows(&grants, Permission::ClientRead, other));
        // Viewer everywhere and Rotator of one client are not Rotator everywhere.
        assert!(!allows(&grants, Permission::SecretRotate, other));
        assert!(!allows(&[], Permission::ClientRead, own));
    }
}
