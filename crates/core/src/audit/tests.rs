use super::*;
use crate::{SessionId, TokenId};

#[test]
fn actors_survive_storage() {
    let user = UserId::parse("usr_0000000000000000000001").unwrap();
    let client = OauthClientId::parse("0000000000000000000001").unwrap();
    for actor in [
        Actor::User { id: user.clone(), name: "Ada".into() },
        Actor::Program { id: user, name: "CI".into() },
        Actor::policy("deadline", "Deadline"),
        Actor::Client { id: client, name: "Billing".into() },
        Actor::machine("init"),
        Actor::Unknown { id: String::new(), name: "unknown client".into() },
    ] {
        let parts = Actor::from_parts(actor.kind(), actor.id().into(), actor.name().into());
        assert_eq!(parts, Some(actor));
    }
    assert_eq!(Actor::from_parts("robot", "x".into(), "y".into()), None);
}

#[test]
fn what_was_acted_through_survives_storage() {
    let token = TokenId::parse("tok_0000000000000000000001").unwrap();
    let session = SessionId::parse("ses_0000000000000000000001").unwrap();
    let all = [
        Via::Token { id: token },
        Via::Session { id: session },
        Via::Machine { id: "token create".into() },
        Via::Policy { id: "deadline".into() },
    ];
    assert_eq!(all.each_ref().map(Via::kind), Via::KINDS);
    for via in all {
        assert_eq!(Via::from_parts(via.kind(), via.id().into()), Some(via));
    }
    assert_eq!(Via::from_parts("robot", "x".into()), None);
    assert_eq!(Via::from_parts("token", "sec_0000000000000000000001".into()), None);
}

#[test]
fn the_details_of_an_event_are_its_facts_alone() {
    let event = Event::PropertyUpdated { name: "New".into(), name_before: "Old".into() };
    assert_eq!(event.action().as_str(), "property.updated");
    assert_eq!(event.details(), serde_json::json!({"name": "New", "name_before": "Old"}));
    assert_eq!(
        Event::SessionCreated { provider_id: None, passkey_id: None }.details(),
        serde_json::json!({"provider_id": null, "passkey_id": null})
    );
}

/// The API can change; what was recorded cannot.
#[test]
fn no_event_embeds_a_type_of_the_api() {
    let mut generator = schemars::SchemaGenerator::default();
    details_schemas(&mut generator);
    let definitions = generator.definitions();
    assert!(definitions.contains_key("EnvironmentFacts"));
    for (name, schema) in definitions {
        if schema.get("type").is_some_and(|kind| kind == "object") {
            assert!(name.ends_with("Facts"), "{name} is not a type of the trail");
        }
    }
}

#[test]
fn actions_survive_storage() {
    for action in Action::ALL {
        assert_eq!(Action::parse(action.as_str()), Some(*action));
    }
}
