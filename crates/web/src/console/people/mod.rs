//! People and programs, and their roles.

pub(super) mod access;
pub(super) mod list;
pub(super) mod user;

use crossfade_core::{
    api::{Grant, UserKind},
    roles::Role,
};

/// Returns the scope of a role in words, without names.
fn coverage(grant: &Grant) -> String {
    let place = match (&grant.property_id, &grant.client_id) {
        (_, Some(_)) => " of a client",
        (Some(_), None) => " of a property",
        (None, None) => "",
    };
    let environments = match &grant.environments {
        Some(list) => format!(" in {}", list.join(", ")),
        None => String::new(),
    };
    format!("{}{place}{environments}", grant.role.name())
}

fn kind_word(kind: &UserKind) -> &'static str {
    match kind {
        UserKind::Person => "Person",
        UserKind::Program => "Program",
    }
}

fn kind_icon(kind: &UserKind) -> &'static str {
    match kind {
        UserKind::Person => "account",
        UserKind::Program => "program",
    }
}

/// Returns roles as options of a form.
pub(super) fn role_options(roles: &[Role]) -> Vec<(&'static str, &'static str)> {
    roles.iter().map(|role| (role.as_str(), role.name())).collect()
}

#[cfg(test)]
pub(super) mod samples {
    use crossfade_core::{
        ClientId, GrantId, PropertyId, Timestamp, UserId,
        api::{Grant, User, UserKind},
        roles::Role,
    };

    pub(super) fn grant(n: u32, role: Role) -> Grant {
        Grant {
            id: GrantId::parse(&format!("grant_{n:022}")).unwrap(),
            role,
            property_id: None,
            client_id: None,
            environments: None,
            provider_id: None,
            group: None,
            created_at: Timestamp::from_seconds(1_795_525_500),
            activation_link: None,
        }
    }

    pub(super) fn user(n: u32, kind: UserKind, name: &str) -> User {
        let property = PropertyId::parse("prop_0000000000000000000001").unwrap();
        let client = ClientId::parse("cl_0000000000000000000001").unwrap();
        User {
            id: UserId::parse(&format!("usr_{n:022}")).unwrap(),
            kind,
            name: name.into(),
            email: (kind == UserKind::Person).then(|| format!("{n}@example.com")),
            second_factor: kind == UserKind::Person,
            activated: n % 2 == 1,
            created_at: Timestamp::from_seconds(1_795_525_500),
            grants: vec![
                grant(1, Role::Owner),
                Grant { property_id: Some(property), ..grant(2, Role::ApplicationManager) },
                Grant {
                    client_id: Some(client),
                    environments: Some(vec!["staging".into(), "production".into()]),
                    ..grant(3, Role::SecretRotator)
                },
            ],
            identities: Vec::new(),
            activation_link: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_told_with_what_it_covers() {
        let user = samples::user(1, UserKind::Person, "Ada");
        let words: Vec<_> = user.grants.iter().map(coverage).collect();
        assert_eq!(
            words,
            [
                "Owner",
                "Application Manager of a property",
                "Secret Rotator of a client in staging, production"
            ]
        );
    }
}
