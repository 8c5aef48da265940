//! Owners of clients: who they are, who manages a client, and who owns it after an owner has gone. Pure functions.

use crate::{
    ClientId, Problem, PropertyId, UserId, WebhookId,
    roles::{Grant, Object, Permission, Role},
    text,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// Maximum number of owners of a client.
pub const MAX_OWNERS: usize = 50;

/// Maximum number of clients that one request hands over.
pub const MAX_HANDED_OVER: usize = 1000;

/// What an owner of a client is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OwnerKind {
    /// The email address of an account.
    User,
    /// Any other email address, for example of a mailing list.
    Group,
    /// A webhook.
    Webhook,
}

impl OwnerKind {
    /// Returns the word that is sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Group => "group",
            Self::Webhook => "webhook",
        }
    }
}

/// Reads an owner: an email address, or the ID of a webhook.
pub fn parse(field: &'static str, owner: &str) -> Result<String, Problem> {
    if let Ok(webhook) = WebhookId::parse(owner.trim()) {
        return Ok(webhook.into());
    }
    text::email(field, owner).map_err(|problem| match problem.detail.contains(text::NOT_AN_EMAIL) {
        true => Problem::invalid(
            field,
            "must be an email address such as ada@example.com, or the ID of a webhook (wh_…)",
        ),
        false => problem,
    })
}

/// Reads a list of owners. Each is kept once, in the order of the list.
pub fn parse_all(list: &[String]) -> Result<Vec<String>, Problem> {
    if list.len() > MAX_OWNERS {
        return Err(Problem::invalid("owners", &format!("must contain at most {MAX_OWNERS} entries")));
    }
    let parsed = list.iter().map(|owner| parse("owners", owner)).collect::<Result<Vec<_>, _>>()?;
    Ok(each_once(parsed))
}

/// Whether two lists name the same owners, in any order.
pub fn are_same(one: &[String], other: &[String]) -> bool {
    one.len() == other.len() && one.iter().all(|owner| other.contains(owner))
}

/// Whether an owner is notified of everything that happens to a client: an email address, or one of `hearing`, the webhooks
/// that are enabled and whose format says everything. Where mail is not set up, no owner of any client is notified at an
/// address, and an address counts all the same: the Overview and the doctor report it for the whole instance.
pub fn hears(owner: &str, hearing: &HashSet<WebhookId>) -> bool {
    WebhookId::parse(owner).map_or(true, |webhook| hearing.contains(&webhook))
}

/// Whether any of these owners is notified of everything that happens to their client.
pub fn is_heard(owners: &[String], hearing: &HashSet<WebhookId>) -> bool {
    owners.iter().any(|owner| hears(owner, hearing))
}

fn each_once(list: Vec<String>) -> Vec<String> {
    let mut unique = Vec::new();
    for owner in list {
        if !unique.contains(&owner) {
            unique.push(owner);
        }
    }
    unique
}

/// A person with a role that manages clients somewhere.
#[derive(Clone, Debug)]
pub struct Manager {
    /// Account.
    pub user: UserId,
    /// Email address.
    pub email: String,
    /// The roles that manage clients.
    pub grants: Vec<Grant>,
}

/// Returns the managers of a client: the Application Managers of the client or of its property, or, if there are none,
/// everyone who manages clients of the whole platform. A role that is limited to environments does not count, because
/// its holder does not manage the client as a whole.
pub fn managers_of<'a>(
    managers: &'a [Manager],
    property: &PropertyId,
    client: &ClientId,
) -> Vec<&'a Manager> {
    let manage = |grant: &&Grant| grant.allows(Permission::ClientManage, Object::Client(property, client));
    let is_near = |grant: &Grant| grant.role == Role::ApplicationManager;
    let of = |near: bool| -> Vec<&Manager> {
        let manages = |it: &&Manager| it.grants.iter().filter(manage).any(|grant| is_near(grant) == near);
        managers.iter().filter(manages).collect()
    };
    let near = of(true);
    if near.is_empty() { of(false) } else { near }
}

/// What happened to a webhook that is an owner of a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OwnerChange {
    /// Its messages go to another URL, or to another service of PagerDuty.
    Moved,
    /// A person or program disabled it.
    Disabled,
    /// It was disabled, because the receiver answered 410 Gone.
    Gone,
    /// It was disabled, because all attempts of 5 days failed.
    Failing,
}

/// Why an owner is no longer reached at an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HandOverCause {
    /// The owner's account was deleted.
    AccountDeleted,
    /// The owner's account has another address.
    AddressChanged,
}

/// Who owns a client after an owner has gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Heirs {
    /// The owner that was named.
    Chosen,
    /// The other owners of the client.
    OtherOwners,
    /// The managers of the client, beside any owners that are webhooks and are not notified.
    Managers,
    /// Nobody: the client has no owner.
    Nobody,
}

/// Returns the owners of a client after `gone` has left: `chosen` in its place, or else the other owners, or, if none of them
/// is notified, `managers` before them. `hearing` are the webhooks that are notified of everything.
pub fn after<'a>(
    owners: &[String],
    gone: &str,
    chosen: Option<&str>,
    managers: impl IntoIterator<Item = &'a str>,
    hearing: &HashSet<WebhookId>,
) -> (Vec<String>, Heirs) {
    if let Some(chosen) = chosen {
        let in_place = |owner: &String| if owner == gone { chosen.to_owned() } else { owner.clone() };
        return (each_once(owners.iter().map(in_place).collect()), Heirs::Chosen);
    }
    let others: Vec<String> = owners.iter().filter(|owner| *owner != gone).cloned().collect();
    if is_heard(&others, hearing) {
        return (others, Heirs::OtherOwners);
    }
    let managers = managers.into_iter().filter(|manager| *manager != gone).map(str::to_owned);
    let managers: Vec<String> = managers.collect();
    let heirs = match (managers.is_empty(), others.is_empty()) {
        (false, _) => Heirs::Managers,
        (true, false) => Heirs::OtherOwners,
        (true, true) => Heirs::Nobody,
    };
    let mut owners = each_once(managers.into_iter().chain(others).collect());
    owners.truncate(MAX_OWNERS);
    (owners, heirs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{environment::Slug, roles::Scope};

    fn property(n: u8) -> PropertyId {
        PropertyId::parse(&format!("prop_{n:022}")).unwrap()
    }

    fn client(n: u8) -> ClientId {
        ClientId::parse(&format!("cl_{n:022}")).unwrap()
    }

    fn manager(n: u8, role: Role, scope: Scope) -> Manager {
        let grants = vec![Grant { role, scope, environments: None }];
        let user = UserId::parse(&format!("usr_{n:022}")).unwrap();
        Manager { user, email: format!("m{n}@example.com"), grants }
    }

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    fn names(found: Vec<&Manager>) -> Vec<&str> {
        found.into_iter().map(|it| it.email.as_str()).collect()
    }

    #[test]
    fn a_text_that_is_no_owner_is_refused_with_both_kinds() {
        let refused = parse("owners", "wh_short").unwrap_err();
        assert!(refused.detail.contains("email address") && refused.detail.contains("wh_…"), "{refused:?}");
        let webhook = "wh_0123456789abcdefghijkl";
        assert_eq!(parse("owners", webhook).unwrap(), webhook);
    }

    #[test]
    fn owners_are_addresses_each_once_and_not_too_many() {
        let parsed = parse_all(&texts(&["Ada@example.com", "team@example.com", "ada@example.com"])).unwrap();
        assert_eq!(parsed, ["ada@example.com", "team@example.com"]);
        assert_eq!(parse_all(&texts(&["ada"])).unwrap_err().field.as_deref(), Some("owners"));
        let many = |count: usize| (0..count).map(|n| format!("a{n}@example.com")).collect::<Vec<_>>();
        assert!(parse_all(&many(MAX_OWNERS)).is_ok() && parse_all(&many(MAX_OWNERS + 1)).is_err());
    }

    #[test]
    fn managers_of_the_client_or_property_come_before_those_of_the_platform() {
        let all = [
            manager(1, Role::Owner, Scope::Platform),
            manager(2, Role::OperationsManager, Scope::Platform),
            manager(3, Role::ApplicationManager, Scope::Property(property(1))),
            manager(4, Role::ApplicationManager, Scope::Client(client(1))),
            manager(5, Role::ApplicationManager, Scope::Property(property(2))),
        ];
        let of = |p, c| names(managers_of(&all, &property(p), &client(c)));
        assert_eq!(of(1, 1), ["m3@example.com", "m4@example.com"]);
        assert_eq!(of(1, 2), ["m3@example.com"]);
        assert_eq!(of(3, 3), ["m1@example.com", "m2@example.com"]);
        assert_eq!(names(managers_of(&all[2..], &property(3), &client(3))), [""; 0]);
    }

    #[test]
    fn who_manages_one_environment_or_only_reads_does_not_manage_the_client() {
        let mut limited = manager(1, Role::ApplicationManager, Scope::Property(property(1)));
        limited.grants[0].environments = Some(vec![Slug::from_stored("staging".into())]);
        let others = [limited, manager(2, Role::SecretRotator, Scope::Platform)];
        assert_eq!(names(managers_of(&others, &property(1), &client(1))), [""; 0]);
    }

    #[test]
    fn the_chosen_owner_takes_the_place_and_appears_once() {
        let owners = texts(&["ada@example.com", "bob@example.com"]);
        let none = HashSet::new();
        let after = |chosen| super::after(&owners, "ada@example.com", Some(chosen), ["m@example.com"], &none);
        assert_eq!(after("new@example.com").0, ["new@example.com", "bob@example.com"]);
        assert_eq!(after("bob@example.com"), (texts(&["bob@example.com"]), Heirs::Chosen));
    }

    #[test]
    fn other_owners_stay_managers_inherit_and_nobody_is_said() {
        let ada = "ada@example.com";
        let after = |owners: &[&str], managers: &[&'static str]| {
            super::after(&texts(owners), ada, None, managers.iter().copied(), &HashSet::new())
        };
        let both = after(&[ada, "bob@example.com"], &["m@example.com"]);
        assert_eq!(both, (texts(&["bob@example.com"]), Heirs::OtherOwners));
        let managers = after(&[ada], &["m@example.com", ada, "m@example.com"]);
        assert_eq!(managers, (texts(&["m@example.com"]), Heirs::Managers), "never the one who has gone");
        assert_eq!(after(&[ada], &[ada]), (Vec::new(), Heirs::Nobody));
    }
    #[test]
    fn a_webhook_that_hears_nothing_is_no_heir_and_stays() {
        let (ada, hook) = ("ada@example.com", "wh_0123456789abcdefghijkl");
        let hearing = HashSet::from([WebhookId::parse(hook).unwrap()]);
        let after = |hearing: &HashSet<WebhookId>, managers: &[&'static str]| {
            super::after(&texts(&[ada, hook]), ada, None, managers.iter().copied(), hearing)
        };
        assert_eq!(after(&hearing, &["m@example.com"]), (texts(&[hook]), Heirs::OtherOwners));
        let deaf = HashSet::new();
        assert_eq!(after(&deaf, &["m@example.com"]), (texts(&["m@example.com", hook]), Heirs::Managers));
        assert_eq!(after(&deaf, &[]), (texts(&[hook]), Heirs::OtherOwners));
        assert!(is_heard(&texts(&[hook]), &hearing) && !is_heard(&texts(&[hook]), &deaf));
        assert!(is_heard(&texts(&[ada, hook]), &deaf) && !is_heard(&[], &hearing));
    }
}
