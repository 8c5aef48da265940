//! Events as OCSF 1.5 (Open Cybersecurity Schema Framework): sign-ins and failed client authentications as Authentication
//! (3002), everything else as Entity Management (3004).

use crate::{api, audit::Actor};
use serde_json::{Map, Value, json};

/// Version of the schema.
pub const OCSF_VERSION: &str = "1.5.0";

/// Class of an event.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Authentication,
    EntityManagement,
}

/// Returns an event as OCSF. `line` is the event as JSON Lines export it; it stays verifiable as `raw_data`.
pub fn to_ocsf(event: &api::AuditEvent, line: &str) -> Value {
    let (object, verb) = event.action.split_once('.').unwrap_or((&event.action, ""));
    let class = match object {
        "session" | "authentication" => Class::Authentication,
        _ => Class::EntityManagement,
    };
    let (activity, activity_name) = activity(class, verb);
    let (class_uid, class_name) = match class {
        Class::Authentication => (3002, "Authentication"),
        Class::EntityManagement => (3004, "Entity Management"),
    };
    let is_done = event.outcome == "done"
        && !matches!(event.action.as_str(), "authentication.failed" | "authentication.failures");
    let actor = actor(&event.actor);
    let mut ocsf = json!({
        "activity_id": activity,
        "activity_name": activity_name,
        "category_uid": 3,
        "category_name": "Identity & Access Management",
        "class_uid": class_uid,
        "class_name": class_name,
        "type_uid": class_uid * 100 + activity,
        "type_name": format!("{class_name}: {activity_name}"),
        "severity_id": if is_done { 1 } else { 2 },
        "severity": if is_done { "Informational" } else { "Low" },
        "status_id": if is_done { 1 } else { 2 },
        "status": if is_done { "Success" } else { "Failure" },
        "time": event.at.as_micros() / 1000,
        "message": format!("{} {}", event.action, event.outcome),
        "actor": {"user": actor.clone(), "app_name": "crossfade"},
        "metadata": {
            "version": OCSF_VERSION,
            "product": {"name": "Crossfade", "vendor_name": "Crossfade", "version": env!("CARGO_PKG_VERSION")},
            "log_name": "audit",
            "event_code": event.action,
            "sequence": event.seq,
            "uid": event.hash.map_or_else(|| event.seq.to_string(), |hash| hash.to_string()),
            "correlation_uid": event.request_id,
        },
        "raw_data": line,
        "unmapped": {
            "client_id": event.client_id, "environment": event.environment, "via": event.via, "details": event.details,
        },
    });
    let own = match class {
        Class::Authentication => ("user", actor),
        Class::EntityManagement => ("entity", entity(event, object)),
    };
    if let Some(members) = ocsf.as_object_mut() {
        members.insert(own.0.to_owned(), own.1);
        if let Some(address) = &event.source_ip {
            // A hashed address is no IP address.
            let name = if address.parse::<std::net::IpAddr>().is_ok() { "ip" } else { "uid" };
            members.insert(
                "src_endpoint".to_owned(),
                Value::Object(Map::from_iter([(name.to_owned(), address.clone().into())])),
            );
        }
        if let Some(reason) = &event.reason {
            let name = if class == Class::EntityManagement { "comment" } else { "status_detail" };
            members.insert(name.to_owned(), reason.clone().into());
        }
    }
    ocsf
}

fn actor(actor: &Actor) -> Value {
    let type_name = if matches!(actor, Actor::User { .. }) { (1, "User") } else { (3, "System") };
    json!({"uid": actor.id(), "name": actor.name(), "type_id": type_name.0, "type": type_name.1})
}

/// Returns the object of an event: its target, or the client or environment that it concerns.
fn entity(event: &api::AuditEvent, object: &str) -> Value {
    let client = event.client_id.as_ref().map(ToString::to_string);
    let uid = event.target.clone().or(client).or_else(|| event.environment.clone());
    let uid = uid.unwrap_or_else(|| object.to_owned());
    json!({"uid": uid.clone(), "name": uid, "type": object, "type_id": 99})
}

fn activity(class: Class, verb: &str) -> (i64, &'static str) {
    match (class, verb) {
        (Class::Authentication, "ended") => (2, "Logoff"),
        (Class::Authentication, _) => (1, "Logon"),
        (_, "created" | "scheduled") => (1, "Create"),
        (_, "revealed" | "exported") => (2, "Read"),
        (
            _,
            "deleted" | "revoked" | "expired" | "wiped" | "trimmed" | "ended" | "deactivated" | "revocations",
        ) => (4, "Delete"),
        (_, "refused" | "deadline_near" | "finished") => (99, "Other"),
        _ => (3, "Update"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Timestamp, audit::Action};

    #[test]
    fn every_action_has_a_class_and_keeps_the_event() {
        for action in Action::ALL {
            let event = api::AuditEvent {
                seq: 7,
                at: Timestamp::from_seconds(1_795_525_500),
                actor: Actor::machine("init"),
                action: action.as_str().to_owned(),
                outcome: "done".into(),
                client_id: None,
                environment: Some("staging".into()),
                target: None,
                source_ip: Some("192.0.2.1".into()),
                request_id: None,
                via: None,
                reason: Some("quarterly".into()),
                details: json!({}),
                previous_hash: None,
                hash: None,
            };
            let ocsf = to_ocsf(&event, "{}");
            let type_uid = ocsf["class_uid"].as_i64().unwrap() * 100 + ocsf["activity_id"].as_i64().unwrap();
            assert_eq!(
                (ocsf["type_uid"].as_i64(), ocsf["time"].as_i64()),
                (Some(type_uid), Some(1_795_525_500_000))
            );
            assert!(ocsf["entity"].is_object() || ocsf["user"].is_object(), "{ocsf}");
            assert_eq!((&ocsf["raw_data"], &ocsf["src_endpoint"]["ip"]), (&json!("{}"), &json!("192.0.2.1")));
        }
    }
}
