//! Letters about the settings and the owners of a client.

use super::{Facts, Said, has_owner};
use crossfade_core::{
    WebhookId,
    messages::{Class, Switch, stops_more},
    webhook::{CLIENT_NAMES, WEBHOOK_NAMES},
};
use serde_json::Value;

/// Maximum number of owners that are named.
const MAX_OWNERS: usize = 20;

/// Whether a registration was neither enabled nor disabled.
pub(super) fn is_self_rotation_alone(facts: &Facts<'_>) -> bool {
    facts.part("before").flag("enabled") == facts.part("after").flag("enabled")
}

pub(super) fn switched(facts: &Facts<'_>) -> Said {
    let (before, after) = (facts.part("before"), facts.part("after"));
    let enabled = before.flag("enabled") != after.flag("enabled");
    let said = match (enabled, after.flag("enabled")) {
        (true, true) => Said::new(
            "Registration enabled",
            "The registration was enabled",
            "Callers are accepted again. Nothing needs to be done.",
        ),
        (true, false) => Said::new(
            "Registration disabled",
            "The registration was disabled",
            "All its callers are refused. If this was not intended, enable the registration.",
        )
        .urgent(true),
        (false, _) if after.flag("self_rotation") => Said::new(
            "Self-rotation turned on",
            "The client can now rotate its own secret",
            "Anyone who has the secret can replace it from now on. If this was not intended, turn self-rotation off under OAuth settings.",
        )
        .urgent(true),
        (false, _) => Said::new(
            "Self-rotation turned off",
            "The client can no longer rotate its own secret",
            "Check that no program of the client depends on it.",
        ),
    };
    // One change can do both.
    let said = match (before.flag("self_rotation"), after.flag("self_rotation")) {
        (false, true) if enabled => said.urgent(true).fact("Self-rotation", "turned on"),
        (true, false) if enabled => said.fact("Self-rotation", "turned off"),
        _ => said,
    };
    said.button("View the registration")
}

pub(super) fn owners(facts: &Facts<'_>, to: &str) -> Said {
    let (before, after) = (facts.part("before"), facts.part("after"));
    let said = match (has_owner(&before, to), has_owner(&after, to)) {
        (false, true) => Said::new(
            "You are an owner",
            "You are now an owner of a client",
            "You are notified of rotations, deadlines and drills of this client from now on.",
        ),
        (true, false) => Said::new(
            "You are no longer an owner",
            "You are no longer an owner of a client",
            "You are not notified about this client any more. If this is wrong, ask the person who changed the owners.",
        ),
        _ => Said::new(
            "Owners changed",
            "The owners of a client were changed",
            "Check that the list is right. All owners are notified about the client.",
        ),
    };
    said.fact("Owners", owner_names(after.list("owners"), facts, to)).button("View the client")
}

/// A webhook among the owners was moved or disabled. Its name is only for those who manage it, so its ID is said.
pub(super) fn owner_updated(facts: &Facts<'_>) -> Option<Said> {
    let is_moved = facts.text("change")? == "moved";
    let is_heard = facts.flag("is_heard");
    let next = match (is_moved, is_heard) {
        (true, _) => {
            "The messages of this webhook go to another receiver now. If this was not intended, tell a person who manages the \
             client, and replace the webhook among the owners."
        }
        (false, true) => {
            "The webhook gets no messages any more, and the other owners get them. If this was not intended, enable the webhook, or \
             replace it among the owners."
        }
        (false, false) => {
            "No owner is notified about this client any more, not even of a rotation by the client itself. Add an owner that is, \
             or enable the webhook."
        }
    };
    let said = match (is_moved, is_heard) {
        (true, _) => Said::new("Owner moved", "A webhook that is an owner was moved", next),
        (false, true) => Said::new("Owner disabled", "A webhook that is an owner was disabled", next),
        (false, false) => {
            Said::new("No owner is notified", "The last owner that was notified was disabled", next)
        }
    };
    let said = said.urgent(!is_heard).fact("Webhook", facts.text("webhook_id")?);
    let said = match facts.text("change")? {
        "gone" => said.fact("Why", "the receiver answered that it is gone (410)"),
        "failing" => said.fact("Why", "all attempts of 5 days failed"),
        _ => said,
    };
    let clients: Vec<&str> = facts.list(CLIENT_NAMES).iter().filter_map(Value::as_str).collect();
    let said = match clients.len() {
        0 | 1 => said,
        _ => said.fact("Clients", some_of(&clients)),
    };
    Some(said.button("View the client"))
}

/// Returns the first of these names, and how many more there are.
fn some_of(names: &[&str]) -> String {
    let named = names[..names.len().min(MAX_OWNERS)].join(", ");
    match names.len().saturating_sub(MAX_OWNERS) {
        0 => named,
        more => format!("{named} and {more} others"),
    }
}

pub(super) fn messages_switched(facts: &Facts<'_>) -> Said {
    let (before, now) = (facts.list("off_before"), facts.list("off"));
    let done = how_switched(before, now);
    let next = "Check that the owners still hear of what they must know.";
    Said::new(&format!("Messages {done}"), &format!("Messages about a client were {done}"), next)
        .fact("Switched off", switched_off(now))
        .fact("Switched off before", switched_off(before))
        .button("View the client")
}

pub(super) fn handed_over(facts: &Facts<'_>, to: &str) -> Option<Said> {
    let name = facts.text("user_name")?;
    let why = match facts.text("cause")? {
        "address_changed" => format!("The email address of {name} was changed."),
        _ => format!("The account of {name} was deleted."),
    };
    let was_owner = facts.list("owners_before").iter().any(|owner| owner.as_str() == Some(to));
    let said = match (was_owner, has_owner(facts, to)) {
        (false, true) if facts.text("cause")? == "address_changed" => Said::new(
            "Messages come to this address",
            "Messages about a client come to this address",
            "You are notified of rotations, deadlines and drills at this address from now on.",
        ),
        (false, true) => Said::new(
            "You take over a client",
            "You are now an owner of a client",
            "You are notified of rotations, deadlines and drills of this client from now on.",
        ),
        (true, false) => Said::new(
            "You are no longer an owner",
            "You are no longer an owner of a client",
            "You are not notified about this client any more. If this is wrong, tell a person who manages accounts now.",
        )
        .urgent(true),
        _ => Said::new(
            if facts.text("cause")? == "address_changed" { "An owner has another address" } else { "An owner has gone" },
            "The owners of a client were changed",
            "Check that the list is right. All owners are notified about the client.",
        ),
    };
    Some(
        said.fact("Owners", owner_names(facts.list("owners"), facts, to))
            .fact("Why", why)
            .button("View the client"),
    )
}

/// Returns what was done to messages whose switches were `before` and are `now`.
pub(super) fn how_switched(before: &[Value], now: &[Value]) -> &'static str {
    let read = |words: &[Value]| -> Vec<Switch> {
        words.iter().filter_map(|word| Switch::parse(word.as_str()?)).collect()
    };
    let (before, now) = (read(before), read(now));
    match (stops_more(&before, &now), stops_more(&now, &before)) {
        (true, false) => "switched off",
        (false, true) => "switched on",
        _ => "changed",
    }
}

/// Returns the switches of a list as a text, in the words of the Console.
pub(super) fn switched_off(words: &[Value]) -> String {
    let title = |word: &Value| {
        let word = word.as_str()?;
        let title = match Switch::parse(word) {
            Some(Switch::Class(Class::Wake)) => "All urgent messages",
            Some(Switch::Class(Class::Today)) => "All messages for today",
            Some(Switch::Class(Class::Digest)) => "The weekly digest",
            Some(Switch::Kind(kind)) => kind.title().trim_end_matches('.'),
            // A word of another version.
            None => word,
        };
        Some(Value::from(title))
    };
    joined(&words.iter().filter_map(title).collect::<Vec<_>>())
}

/// Returns owners as a text, with the names of those webhooks that the recipient can manage.
fn owner_names(owners: &[Value], facts: &Facts<'_>, to: &str) -> String {
    let name = |owner: &Value| {
        let id = owner.as_str().filter(|owner| WebhookId::parse(owner).is_ok())?;
        let named = Facts(&facts.0[WEBHOOK_NAMES][id]);
        let is_known = named.list("to").iter().any(|reader| reader.as_str() == Some(to));
        let shown = named.text("name").filter(|_| is_known).unwrap_or(id);
        Some(Value::from(format!("{shown} (webhook)")))
    };
    let named = |owner: &Value| name(owner).unwrap_or_else(|| owner.clone());
    joined(&owners.iter().map(named).collect::<Vec<_>>())
}

/// Returns the entries of a list as a text.
fn joined(entries: &[Value]) -> String {
    let list: Vec<&str> = entries.iter().filter_map(Value::as_str).collect();
    let more = list.len().saturating_sub(MAX_OWNERS);
    let mut shown = list[..list.len() - more].join(",\n");
    if more > 0 {
        shown.push_str(&format!("\nand {more} more"));
    }
    if list.is_empty() { "none".to_owned() } else { shown }
}
