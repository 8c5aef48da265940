//! What a message to a person about their own account says: what happened, who did it, and what to do if that is not right.

use super::{
    Facts,
    clients::{how_switched, switched_off},
    count, quoted,
};
use crossfade_core::{TimeZone, audit::Action, roles::Role};
use crossfade_outbound::Letter;
use crossfade_store::Notification;
use serde_json::Value;

/// Maximum number of permissions that are named.
const MAX_PERMISSIONS: usize = 10;

/// What is said about one kind of event.
struct Said {
    heading: String,
    is_urgent: bool,
    facts: Vec<(&'static str, String)>,
    next: String,
    button: &'static str,
    path: &'static str,
}

impl Said {
    fn new(heading: &str, next: impl Into<String>) -> Self {
        Self {
            heading: heading.to_owned(),
            is_urgent: false,
            facts: Vec::new(),
            next: next.into(),
            button: "View your account",
            path: "/console/account",
        }
    }

    fn fact(mut self, label: &'static str, value: impl Into<String>) -> Self {
        self.facts.push((label, value.into()));
        self
    }

    fn fact_if(self, label: &'static str, value: Option<&str>) -> Self {
        match value.filter(|value| !value.is_empty()) {
            Some(value) => self.fact(label, value),
            None => self,
        }
    }

    fn button(self, button: &'static str, path: &'static str) -> Self {
        Self { button, path, ..self }
    }
}

/// Returns the letter to a person about their account; `None` if it is about something else, or the stored facts cannot be
/// read. A letter with a link has no address for its button yet.
pub(super) fn letter(message: &Notification, base: &str, zone: &TimeZone) -> Option<Letter> {
    let facts = Facts(&message.details);
    let host = base.split_once("://").map_or(base, |(_, host)| host);
    let said = match message.event {
        Action::LinkCreated => link(&facts, host, zone)?,
        Action::SessionCreated => signed_in(&facts),
        Action::UserPasswordChanged => Said::new(
            "Your password was changed",
            "If this was not you, ask an Owner or an Operations Manager for a new link to set your password now.",
        )
        .fact("Other sessions", ended(facts.number("ended_sessions")?, "session"))
        .fact("API tokens", ended(facts.number("ended_tokens")?, "API token"))
        .fact_if("IP address", text(&facts, "source_ip")),
        Action::IdentityLinked => Said::new(
            &format!("You can sign in with {} now", text(&facts, "provider_name")?),
            "If this was not you, unlink it on your account page now, change your password, and end all sessions and API tokens.",
        )
        .fact_if("IP address", text(&facts, "source_ip"))
        .button("Open your account", "/console/account"),
        Action::UserActivated => Said::new(
            "Your password was set with a one-time link",
            "If this was not you, ask an Owner or an Operations Manager for a new link to set your password now.",
        )
        .fact_if("IP address", text(&facts, "source_ip")),
        Action::FactorAdded => Said::new(
            "A second factor was added to your account",
            "From now on, the password alone signs nobody in. If this was not you, ask an Owner to remove the second factors of \
            your account now, and then for a link to set your password.",
        )
        .fact("Second factor", quoted(text(&facts, "name")?))
        .fact("Other sessions", ended(facts.number("ended_sessions")?, "session")),
        Action::FactorRemoved => removed(&facts)?,
        Action::FactorSuspected => Said::new(
            "A passkey of your account may have been copied",
            "It was refused, because its counter went back. A copy of the passkey does that. Remove the passkey on your \
            account page now, which also ends your other sessions. Then look there for API tokens, providers and other factors that you \
            did not add, and create new recovery codes.",
        )
        .fact("Passkey", quoted(text(&facts, "name")?))
        .button("Open your account", "/console/account"),
        Action::RecoveryCodesCreated => Said::new(
            "Recovery codes were created for your account",
            "Earlier recovery codes no longer work. If this was not you, change your password now, and ask an Owner to remove \
            the second factors of your account.",
        )
        .fact("Recovery codes", count(facts.number("count")?, "code")),
        Action::RecoveryCodeUsed => Said::new(
            "A recovery code of your account was used",
            "If this was you, nothing needs to be done, as long as codes are left. Otherwise change your password now, and \
            create new recovery codes on your account page.",
        )
        .fact("Recovery codes", format!("{} left", count(facts.number("left")?, "code"))),
        Action::SignInPolicyUpdated => policy(&facts, zone)?,
        Action::TokenCreated => token(&facts, zone)?,
        Action::GrantCreated => Said::new(
            "You were granted a role",
            match facts.flag("closes_account") {
                true => {
                    "Set a new password with the new link that the person who granted the role has. Earlier links, your \
                    password, sessions and API tokens have ended."
                }
                false => "Nothing needs to be done. The role takes effect with your next request.",
            },
        )
        .button("Open the Console", "/console"),
        Action::GrantDeleted => Said::new(
            "A role of yours was removed",
            "If you still need the role, ask the person who removed it.",
        )
        .button("Open the Console", "/console"),
        Action::UserUpdated => address(&facts)?,
        Action::OwnMessagesUpdated => {
            let (before, after) = (facts.part("before"), facts.part("after"));
            let (before, now) = (before.list("off"), after.list("off"));
            Said::new(
                &format!("Your messages were {}", how_switched(before, now)),
                "If this was not you, change your password now, and end all sessions and API tokens on your account page.",
            )
            .fact("Switched off", switched_off(now))
            .fact("Switched off before", switched_off(before))
        }
        _ => return None,
    };
    let said = match message.event {
        Action::GrantCreated | Action::GrantDeleted => grant(said, &facts)?,
        _ => said,
    };
    let has_link = facts.flag("with_link");
    let mut list = Vec::new();
    list.extend(text(&facts, "account").map(|account| ("Account", account.to_owned())));
    let names_address = said.facts.iter().any(|(label, _)| *label == "IP address");
    list.extend(said.facts);
    list.extend(message.actor_name.iter().map(|actor| ("Done by", actor.clone())));
    let source = message.source.iter().filter(|_| !names_address);
    list.extend(source.map(|source| ("IP address", source.clone())));
    list.push(("Time", zone.at(message.created_at)));
    Some(Letter {
        subject: format!("{} ({host})", said.heading),
        heading: said.heading,
        is_urgent: said.is_urgent,
        facts: list,
        groups: Vec::new(),
        next: said.next,
        button: said.button,
        url: if has_link { String::new() } else { format!("{base}{}", said.path) },
        because: "You receive this message because it is about your account. It cannot be switched off."
            .to_owned(),
        times: zone.sentence(),
        has_link,
    })
}

fn text<'a>(facts: &Facts<'a>, name: &str) -> Option<&'a str> {
    facts.0[name].as_str()
}

fn ended(number: i64, thing: &str) -> String {
    if number == 0 { "none ended".to_owned() } else { format!("{} ended", count(number, thing)) }
}

fn removed(facts: &Facts<'_>) -> Option<Said> {
    let names: Vec<String> = facts.list("names").iter().filter_map(Value::as_str).map(quoted).collect();
    let heading = match names.len() {
        1 => "A second factor of your account was removed",
        _ => "The second factors of your account were removed",
    };
    let next = "If you did not do or ask for this, change your password now, and add a second factor on your account page.";
    Some(
        Said::new(heading, next)
            .fact("Removed", names.join(", "))
            .fact("Sessions", ended(facts.number("ended_sessions")?, "session"))
            .fact("API tokens", ended(facts.number("ended_tokens")?, "API token")),
    )
}

fn policy(facts: &Facts<'_>, zone: &TimeZone) -> Option<Said> {
    let until = zone.at(facts.time("tokens_refused_from")?);
    let next = format!(
        "Add a second factor on your account page: until then, a session leads only there. From {until} on, your API tokens are \
        refused without one."
    );
    Some(Said::new("Your account must have a second factor", next).fact("Second factor", "none"))
}

fn link(facts: &Facts<'_>, host: &str, zone: &TimeZone) -> Option<Said> {
    let until = zone.at(facts.time("expires_at")?);
    if !facts.flag("with_link") {
        let next = "The person who created the link sends it to you. If you do not expect a link, tell an Owner now: anyone \
            who has the link can set your password.";
        return Some(
            Said::new("A link to set your password was created", next)
                .fact("Link", format!("valid until {until}"))
                .button("Open the Console", "/console"),
        );
    }
    let said = match (facts.flag("invitation"), facts.flag("has_password")) {
        (true, _) => Said::new(
            "You were invited to Crossfade",
            format!(
                "Set a password before {until} to use your account at {host}. The link works once. If you do not expect this \
                invitation, delete this message."
            ),
        ),
        (false, true) => Said::new(
            "Set a new password for Crossfade",
            format!(
                "Set a new password before {until}. The link works once, and your present password works until then. If you \
                did not ask for this, tell the person named above."
            ),
        ),
        (false, false) => Said::new(
            "Set your password for Crossfade",
            format!("Set a password before {until}. The link works once, and replaces earlier links."),
        ),
    };
    Some(said.fact("Link", format!("valid until {until}")).button("Set password", "/console"))
}

fn signed_in(facts: &Facts<'_>) -> Said {
    let next = "If this was you, nothing needs to be done. Otherwise change your password now, and end all sessions on your \
        account page.";
    let heading = match facts.flag("new_browser") {
        true => "New sign-in to your account",
        false => "Sign-in to your account from a new network",
    };
    Said::new(heading, next)
        .fact_if("IP address", text(facts, "source_ip"))
        .fact_if("Browser", text(facts, "user_agent").map(quoted).as_deref())
}

fn token(facts: &Facts<'_>, zone: &TimeZone) -> Option<Said> {
    let next = "If this was not you, delete the token on your account page, and change your password now.";
    let expires = match &facts.0["expires_at"] {
        Value::Null => "never".to_owned(),
        _ => zone.at(facts.time("expires_at")?),
    };
    let permissions: Vec<&str> = facts.list("scope").iter().filter_map(Value::as_str).collect();
    let permissions = match permissions.len() {
        0 => "all of yours".to_owned(),
        length if length > MAX_PERMISSIONS => {
            format!("{} and {} more", permissions[..MAX_PERMISSIONS].join(", "), length - MAX_PERMISSIONS)
        }
        _ => permissions.join(", "),
    };
    let said = Said::new("An API token was created for your account", next)
        .fact("Token", text(facts, "name")?)
        .fact("Permissions", permissions)
        .fact("Expires", expires);
    Some(said.fact_if("Environment", text(facts, "environment")))
}

fn grant(said: Said, facts: &Facts<'_>) -> Option<Said> {
    let grant = facts.part("grant");
    let role = Role::parse(text(&grant, "role")?)?;
    let scope = match (text(facts, "client"), text(facts, "property")) {
        (Some(client), _) => format!("client {client}"),
        (None, Some(property)) => format!("property {property}"),
        (None, None) if text(&grant, "client_id").or(text(&grant, "property_id")).is_some() => {
            "a client or property that was deleted".to_owned()
        }
        (None, None) => "whole platform".to_owned(),
    };
    let environments: Vec<&str> = grant.list("environments").iter().filter_map(Value::as_str).collect();
    let environments = if environments.is_empty() { "all".to_owned() } else { environments.join(", ") };
    Some(said.fact("Role", role.name()).fact("Scope", scope).fact("Environments", environments))
}

fn address(facts: &Facts<'_>) -> Option<Said> {
    let next = "This address receives no more messages about the account and its clients. If this is wrong, tell an Owner or an Operations \
        Manager now: you can no longer sign in with this address.";
    let after = facts.part("after");
    Some(
        Said::new("The email address of your account was changed", next)
            .fact("New address", text(&after, "email")?)
            .button("Open the Console", "/console"),
    )
}
