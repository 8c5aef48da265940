//! What an account or one of its tokens can grant to another account (rule 24): pure functions of grants.
//!
//! [`Role::given_by`] names the permission needed to grant a role. This file also limits the giver to what it has itself.

use crate::{
    PropertyId,
    environment::Slug,
    roles::{Grant, Object, Permission, Role, Scope, allows},
};

/// The grants of an account, within the limit of the token it acts with.
#[derive(Clone, Copy, Debug)]
pub struct Holding<'a> {
    /// The grants of the account.
    pub grants: &'a [Grant],
    /// Permissions the token is limited to; `None`: all permissions of the account.
    pub limit: Option<&'a [Permission]>,
}

impl Holding<'_> {
    /// Whether `permission` can be done to `object`.
    pub fn allows(self, permission: Permission, object: Object<'_>) -> bool {
        self.is_within_limit(permission) && allows(self.grants, permission, object)
    }

    /// Whether a role can be granted at all. `Err` names the missing permission.
    pub fn may_give_role(self, role: Role) -> Result<(), Permission> {
        let giver = role.given_by();
        if !self.allows(giver, Object::Platform) {
            return Err(giver);
        }
        let missing = role.permissions().iter().find(|permission| !self.is_within_limit(**permission));
        missing.map_or(Ok(()), |permission| Err(*permission))
    }

    /// Whether a grant can be given: its role can be granted, and the account has each of its permissions wherever the
    /// grant would apply. `property` is the property of the grant's client. `Err` names the missing permission.
    pub fn may_give(self, grant: &Grant, property: Option<&PropertyId>) -> Result<(), Permission> {
        self.may_give_role(grant.role)?;
        let missing =
            grant.role.permissions().iter().find(|permission| !self.covers(**permission, grant, property));
        missing.map_or(Ok(()), |permission| Err(*permission))
    }

    fn is_within_limit(self, permission: Permission) -> bool {
        self.limit.is_none_or(|limit| limit.contains(&permission))
    }

    fn covers(self, permission: Permission, wanted: &Grant, property: Option<&PropertyId>) -> bool {
        let holds = |environment: Option<&Slug>| {
            self.grants.iter().any(|held| {
                let in_environment = match (&held.environments, environment) {
                    (None, _) => true,
                    (Some(list), Some(environment)) => list.contains(environment),
                    // A grant for all environments also applies to later ones.
                    (Some(_), None) => false,
                };
                in_environment
                    && held.role.permissions().contains(&permission)
                    && contains(&held.scope, &wanted.scope, property)
            })
        };
        match &wanted.environments {
            None => holds(None),
            // A row without any environment still reads the way down.
            Some(list) if list.is_empty() => holds(None),
            Some(list) => list.iter().all(|environment| holds(Some(environment))),
        }
    }
}

/// Whether everything in the scope `inner` is in `outer`. `property` is the property of the client that `inner` names.
fn contains(outer: &Scope, inner: &Scope, property: Option<&PropertyId>) -> bool {
    match (outer, inner) {
        (Scope::Platform, _) => true,
        (Scope::Property(outer), Scope::Property(inner)) => outer == inner,
        (Scope::Property(outer), Scope::Client(_)) => property == Some(outer),
        (Scope::Client(outer), Scope::Client(inner)) => outer == inner,
        (Scope::Property(_) | Scope::Client(_), Scope::Platform) | (Scope::Client(_), Scope::Property(_)) => {
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ClientId;
    use proptest::prelude::*;

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
    fn platform(role: Role) -> Grant {
        grant(role, Scope::Platform, None)
    }

    #[test]
    fn an_operations_manager_gives_what_it_holds_and_nothing_else() {
        let held = [platform(Role::OperationsManager)];
        let holding = Holding { grants: &held, limit: None };
        for (role, expected) in [
            (Role::Viewer, Ok(())),
            (Role::OperationsManager, Ok(())),
            (Role::SecretViewer, Err(Permission::OwnerManage)),
            (Role::SecretRotator, Err(Permission::OwnerManage)),
            (Role::Auditor, Err(Permission::OwnerManage)),
            (Role::Owner, Err(Permission::OwnerManage)),
        ] {
            assert_eq!(holding.may_give(&platform(role), None), expected, "{role:?}");
        }
        let of_a_property = grant(Role::ApplicationManager, Scope::Property(property(1)), None);
        assert_eq!(holding.may_give(&of_a_property, None), Ok(()));
        // Only an Owner can grant Auditor, even if the caller has that role.
        let both = [platform(Role::OperationsManager), platform(Role::Auditor)];
        let holding = Holding { grants: &both, limit: None };
        assert_eq!(holding.may_give(&platform(Role::Auditor), None), Err(Permission::OwnerManage));
    }

    #[test]
    fn a_limited_token_gives_no_role_beyond_its_limit() {
        let held = [platform(Role::Owner)];
        let narrow = [Permission::UserManage, Permission::GrantManage, Permission::OwnerManage];
        for role in Role::ALL {
            let holding = Holding { grants: &held, limit: Some(&narrow) };
            assert_eq!(holding.may_give(&platform(role), None), Err(Permission::ClientRead), "{role:?}");
            let whole = Holding { grants: &held, limit: None };
            assert_eq!(whole.may_give(&platform(role), None), Ok(()), "{role:?}");
        }
        let viewing = [Permission::GrantManage, Permission::ClientRead];
        let holding = Holding { grants: &held, limit: Some(&viewing) };
        assert_eq!(holding.may_give(&platform(Role::Viewer), None), Ok(()));
        assert_eq!(holding.may_give(&platform(Role::OperationsManager), None), Err(Permission::ClientManage));
    }

    /// No role that gives is held in a part of the platform today; the rule holds for stored rows of any shape.
    #[test]
    fn a_grant_is_given_only_within_scope_and_environments_of_a_held_one() {
        let reveal = Permission::SecretReveal;
        let cases = [
            (Scope::Property(property(1)), None, Scope::Client(client(1)), Some(1), None, true),
            (Scope::Property(property(1)), None, Scope::Client(client(1)), Some(2), None, false),
            (Scope::Property(property(1)), None, Scope::Property(property(1)), None, None, true),
            (Scope::Property(property(1)), None, Scope::Property(property(2)), None, None, false),
            (Scope::Property(property(1)), None, Scope::Platform, None, None, false),
            (Scope::Client(client(1)), None, Scope::Client(client(1)), Some(1), None, true),
            (Scope::Client(client(1)), None, Scope::Client(client(2)), Some(1), None, false),
            (Scope::Client(client(1)), None, Scope::Property(property(1)), None, None, false),
            (Scope::Platform, Some("staging"), Scope::Platform, None, Some("staging"), true),
            (Scope::Platform, Some("staging"), Scope::Platform, None, Some("production"), false),
            (Scope::Platform, Some("staging"), Scope::Platform, None, None, false),
            (Scope::Platform, None, Scope::Platform, None, Some("production"), true),
        ];
        for (outer, in_outer, inner, of, in_inner, expected) in cases {
            let slugs = |slug: Option<&str>| slug.map(|text| vec![self::slug(text)]);
            let held = [Grant { role: Role::SecretViewer, scope: outer, environments: slugs(in_outer) }];
            let wanted = Grant { role: Role::SecretViewer, scope: inner, environments: slugs(in_inner) };
            let of = of.map(property);
            let holding = Holding { grants: &held, limit: None };
            assert_eq!(holding.covers(reveal, &wanted, of.as_ref()), expected, "{held:?} {wanted:?}");
        }
    }

    fn any_grant() -> impl Strategy<Value = Grant> {
        let scope = prop_oneof![
            Just(Scope::Platform),
            (1..3usize).prop_map(|n| Scope::Property(property(n))),
            (1..5usize).prop_map(|n| Scope::Client(client(n))),
        ];
        let environments = prop_oneof![
            Just(None),
            Just(Some(vec![slug("staging")])),
            Just(Some(vec![slug("staging"), slug("production")])),
        ];
        (prop::sample::select(Role::ALL.to_vec()), scope, environments)
            .prop_map(|(role, scope, environments)| Grant { role, scope, environments })
    }

    /// Clients 1 and 2 belong to property 1, clients 3 and 4 to property 2.
    fn property_of(grant: &Grant) -> Option<PropertyId> {
        let Scope::Client(id) = &grant.scope else { return None };
        (1..5usize).find(|n| client(*n) == *id).map(|n| property(n.div_ceil(2)))
    }

    /// Returns everything that grants allow, asked object by object, without using `covers`.
    fn reach(grants: &[Grant]) -> Vec<(Permission, String)> {
        let slugs = ["staging", "production", "later"].map(slug);
        let mut reached = Vec::new();
        for permission in Permission::ALL {
            let mut ask = |object: Object<'_>| {
                if allows(grants, *permission, object) {
                    reached.push((*permission, format!("{object:?}")));
                }
            };
            ask(Object::Platform);
            for n in 1..5usize {
                let (property, client) = (property(n.div_ceil(2)), client(n));
                ask(Object::Property(&property));
                ask(Object::Client(&property, &client));
                slugs.iter().for_each(|slug| ask(Object::Registration(&property, &client, slug)));
            }
        }
        reached
    }

    proptest! {
        // Each case asks a thousand objects of each account.
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Accounts that give to each other, with limited tokens or without, never reach more than before.
        #[test]
        fn accounts_that_collude_reach_no_more_than_together_before_rule_24(
            start in prop::collection::vec(prop::collection::vec(any_grant(), 0..3), 2..5),
            steps in prop::collection::vec(
                (any::<prop::sample::Index>(), any::<prop::sample::Index>(), any_grant(), any::<Option<u32>>()),
                0..40,
            ),
        ) {
            let mut accounts = start;
            let before: std::collections::HashSet<_> = accounts.iter().flat_map(|held| reach(held)).collect();
            for (giver, taker, wanted, limit) in steps {
                let limit = limit.map(|bits| {
                    let all = Permission::ALL.iter().enumerate();
                    all.filter(|(n, _)| bits >> n & 1 == 1).map(|(_, it)| *it).collect::<Vec<_>>()
                });
                let holding = Holding { grants: &accounts[giver.index(accounts.len())], limit: limit.as_deref() };
                if holding.may_give(&wanted, property_of(&wanted).as_ref()).is_ok() {
                    let place = taker.index(accounts.len());
                    accounts[place].push(wanted);
                }
            }
            for reached in accounts.iter().flat_map(|held| reach(held)) {
                prop_assert!(before.contains(&reached), "{reached:?}");
            }
        }
    }
}
