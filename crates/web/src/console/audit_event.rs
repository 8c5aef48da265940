//! One event of the trail with all its details: each member as a label and a value, in words if possible.

use super::{clients::Badges, words};
use crossfade_app::Named;
use crossfade_core::{
    Timestamp,
    api::AuditEvent,
    audit::{Action, Actor, Via},
};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};

/// An event as a row and its details.
pub(super) struct Line {
    pub(super) event: AuditEvent,
    /// Subject of the event, if it is not a client.
    pub(super) about: Option<Known>,
    /// Name of the client.
    pub(super) client: Option<String>,
    /// The environment.
    pub(super) environment: Option<Known>,
    /// Title of the event in a few words.
    pub(super) title: String,
    pub(super) facts: Vec<Fact>,
}

/// An ID, with the object's name if the reader can know it.
pub(super) struct Known {
    pub(super) id: String,
    pub(super) name: Option<String>,
    /// Kind of the object, if the name does not show it.
    pub(super) kind: Option<String>,
    pub(super) path: Option<String>,
}

/// A member of an event.
pub(super) struct Fact {
    pub(super) label: String,
    pub(super) value: FactValue,
}

pub(super) enum FactValue {
    Nothing,
    Text(String),
    Code(String),
    At(Timestamp),
    Known(Known),
}

/// Returns an ID with its name.
fn known(id: &str, names: &HashMap<String, Named>) -> Known {
    let (name, kind, path) = match names.get(id) {
        None => (None, None, None),
        Some(Named::Account(name, is_there)) => {
            (Some(name.clone()), None, is_there.then(|| format!("/console/people/{id}")))
        }
        Some(Named::Token(name, owner)) => (Some(name.clone()), Some(format!("API token of {owner}")), None),
        Some(Named::Session(owner)) => (Some(format!("Session of {owner}")), None, None),
        Some(Named::Client(name)) => (Some(name.clone()), None, Some(format!("/console/clients/{id}"))),
        Some(Named::Secret(client, name, environment)) => {
            let path = format!("/console/clients/{client}/environments/{environment}/security");
            (Some(name.clone()), Some("Secret".to_owned()), Some(path))
        }
        Some(Named::Property(name)) => (Some(name.clone()), None, Some(format!("/console/properties/{id}"))),
    };
    Known { id: id.to_owned(), name, kind, path }
}

impl Line {
    pub(super) fn new(event: AuditEvent, names: &HashMap<String, Named>, environments: &Badges) -> Self {
        let environment = event.environment.as_deref().map(|slug| place(slug, environments));
        let about = event.target.as_deref().map(|target| known(target, names));
        let client = event.client_id.as_ref().and_then(|id| known(id.as_str(), names).name);
        let title = words::event(&event.action);
        Self { facts: facts(&event, names, environments), about, client, environment, title, event }
    }
}

/// Returns an environment with its name, unless it has been deleted.
fn place(slug: &str, environments: &Badges) -> Known {
    let name = environments.get(slug).map(|known| known.badge.name().to_owned());
    let path = name.as_ref().map(|_| format!("/console/environments/{slug}"));
    Known { id: slug.to_owned(), name, kind: None, path }
}

fn facts(event: &AuditEvent, names: &HashMap<String, Named>, environments: &Badges) -> Vec<Fact> {
    let text = |text: &Option<String>| text.clone().map_or(FactValue::Nothing, FactValue::Text);
    let code = |text: &Option<String>| text.clone().map_or(FactValue::Nothing, FactValue::Code);
    let id = |id: &str| FactValue::Known(known(id, names));
    let environment = |slug: &str| FactValue::Known(place(slug, environments));
    let title = Action::parse(&event.action).map(|action| FactValue::Text(action.title().to_owned()));
    let who = match &event.actor {
        Actor::User { .. } => "Person",
        Actor::Program { .. } => "Program",
        Actor::Policy { .. } => "Policy",
        Actor::Client { .. } => "OAuth client",
        Actor::Machine { .. } => "Local command",
        Actor::Unknown { .. } => "Unknown caller",
    };
    let via = match &event.via {
        None => FactValue::Nothing,
        Some(Via::Token { .. } | Via::Session { .. }) => id(event.via.as_ref().map_or("", Via::id)),
        Some(Via::Machine { id }) => FactValue::Text(format!("Local command {id}")),
        Some(Via::Policy { id }) => FactValue::Text(format!("Policy {id}")),
    };
    let mut all = vec![
        ("Meaning", title.unwrap_or(FactValue::Nothing)),
        ("Event code", FactValue::Code(event.action.clone())),
        ("Time", FactValue::At(event.at)),
        ("Exact time", FactValue::Code(event.at.to_string())),
        (who, FactValue::Text(event.actor.name().to_owned())),
        ("Actor ID", code(&Some(event.actor.id().to_owned()).filter(|id| !id.is_empty()))),
        ("Via", via),
        ("Source address", code(&event.source_ip)),
        ("Request ID", code(&event.request_id)),
        ("Client", event.client_id.as_ref().map_or(FactValue::Nothing, |client| id(client.as_str()))),
        ("Environment", event.environment.as_deref().map_or(FactValue::Nothing, environment)),
        ("Target", event.target.as_deref().map_or(FactValue::Nothing, id)),
        ("Reason", text(&event.reason)),
        ("Outcome", FactValue::Text(if event.outcome == "done" { "Done" } else { "Refused" }.to_owned())),
        ("Event number", FactValue::Code(event.seq.to_string())),
    ]
    .into_iter()
    // The details of a refused sign-in have a reason of their own.
    .filter(|(label, _)| *label != "Reason" || event.details.get("reason").is_none())
    .map(|(label, value)| Fact { label: label.to_owned(), value })
    .collect();
    flatten("", &event.details, names, &mut all);
    all
}

/// Appends the members of an event's details, each with the words of its name.
fn flatten(label: &str, value: &Value, names: &HashMap<String, Named>, all: &mut Vec<Fact>) {
    match value {
        Value::Object(members) => match (members.get("before"), members.get("after")) {
            (Some(Value::Object(before)), Some(Value::Object(after))) => {
                let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
                for key in keys {
                    let (old, new) = (before.get(key), after.get(key));
                    let shown = |value: Option<&Value>| value.map_or("none".to_owned(), in_line);
                    let changed = format!("{} → {}", shown(old), shown(new));
                    match old == new {
                        true => flatten(&words(label, key), new.unwrap_or(&Value::Null), names, all),
                        false => {
                            all.push(Fact { label: words(label, key), value: FactValue::Text(changed) });
                        }
                    }
                }
                let others = members.iter().filter(|(key, _)| !["before", "after"].contains(&key.as_str()));
                others.for_each(|(key, member)| flatten(&words(label, key), member, names, all));
            }
            _ => members.iter().for_each(|(key, member)| flatten(&words(label, key), member, names, all)),
        },
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (at, item) in items.iter().enumerate() {
                flatten(&format!("{label} {}", at + 1), item, names, all);
            }
        }
        _ => all.push(Fact { label: label.to_owned(), value: single(value, names) }),
    }
}

/// Returns a value that is one: a time, an ID, a text or a number.
fn single(value: &Value, names: &HashMap<String, Named>) -> FactValue {
    match value {
        Value::Null => FactValue::Nothing,
        Value::String(text) if text.is_empty() => FactValue::Nothing,
        Value::String(text) if names.contains_key(text) => FactValue::Known(known(text, names)),
        Value::String(text) => match Timestamp::parse(text) {
            Ok(time) => FactValue::At(time),
            Err(_) if is_id(text) => FactValue::Code(text.clone()),
            Err(_) => FactValue::Text(text.clone()),
        },
        Value::Array(items) if items.is_empty() => FactValue::Nothing,
        _ => FactValue::Text(in_line(value)),
    }
}

fn is_id(text: &str) -> bool {
    let id = text.split_once('_').filter(|(kind, _)| kind.len() <= 5);
    id.is_some_and(|(_, rest)| rest.len() == 22 && rest.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// Returns a value in one line.
fn in_line(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Value::String(text) if text.is_empty() => "none".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => items.iter().map(in_line).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// Returns the words of a member below others: "Grant role" for `role` in `grant`.
fn words(above: &str, key: &str) -> String {
    let word = |word| match word {
        "id" => "ID",
        "ip" => "IP",
        "alg" => "algorithm",
        other => other,
    };
    let key = key.split('_').map(word).collect::<Vec<_>>().join(" ");
    if !above.is_empty() {
        return format!("{above} {key}");
    }
    let mut letters = key.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}", letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(details: &Value, names: &HashMap<String, Named>) -> Vec<(String, String)> {
        let mut all = Vec::new();
        flatten("", details, names, &mut all);
        let value = |value: FactValue| match value {
            FactValue::Nothing => "-".to_owned(),
            FactValue::Text(text) => text,
            FactValue::Code(text) => format!("`{text}`"),
            FactValue::At(time) => format!("at {time}"),
            FactValue::Known(it) => format!("{} {}", it.name.unwrap_or_default(), it.id),
        };
        all.into_iter().map(|fact| (fact.label, value(fact.value))).collect()
    }

    #[test]
    fn every_member_of_the_details_has_a_label_and_a_value() {
        let user = "usr_0000000000000000000001";
        let names = HashMap::from([(user.to_owned(), Named::Account("Ada".into(), true))]);
        let details = json!({
            "user_id": user, "grant": {"role": "viewer", "environments": ["staging", "qa"], "client_id": null},
            "secret_id": "sec_0000000000000000000001", "expires_at": "2026-11-24T13:05:00.000000Z", "immediate": false,
            "callers": [{"source_ip": "192.0.2.1"}, {"source_ip": "192.0.2.2"}], "reason": "", "scope": [], "count": 3,
        });
        let all: HashMap<_, _> = shown(&details, &names).into_iter().collect();
        for (label, value) in [
            ("User ID", "Ada usr_0000000000000000000001"),
            ("Grant role", "viewer"),
            ("Grant environments", "staging, qa"),
            ("Grant client ID", "-"),
            ("Secret ID", "`sec_0000000000000000000001`"),
            ("Expires at", "at 2026-11-24T13:05:00.000000Z"),
            ("Immediate", "no"),
            ("Callers 1 source IP", "192.0.2.1"),
            ("Callers 2 source IP", "192.0.2.2"),
            ("Reason", "-"),
            ("Scope", "-"),
            ("Count", "3"),
        ] {
            assert_eq!(all.get(label).map(String::as_str), Some(value), "{label} of {all:?}");
        }
        assert_eq!(all.len(), 12);
    }

    #[test]
    fn a_change_shows_what_was_and_what_is() {
        let details = json!({"before": {"name": "A", "kind": "test"}, "after": {"name": "B", "kind": "test", "max_age_days": 90}, "position": null});
        let shown = shown(&details, &HashMap::new());
        let expected =
            [("Kind", "test"), ("Max age days", "none → 90"), ("Name", "A → B"), ("Position", "-")];
        assert_eq!(shown, expected.map(|(label, value)| (label.to_owned(), value.to_owned())));
    }
}
