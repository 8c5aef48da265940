//! Bodies in each format, also of hostile names and reasons.

use super::*;
use crossfade_core::{ClientId, Timestamp, audit::Action, environment::Slug};

const BASE: &str = "https://auth.example.com";

fn message(event: Action, details: Value) -> Notification {
    Notification {
        id: "0123456789abcdefghijkl".into(),
        created_at: Timestamp::from_seconds(1_795_525_500),
        number: Some(3),
        event,
        client_id: Some(ClientId::parse("cl_0000000000000000000001").unwrap()),
        client_name: Some("<!channel> \"Billing\" & é".repeat(9)),
        environment: Some(Slug::from_stored("production".into())),
        recipients: Vec::new(),
        actor_name: Some("Grace".into()),
        actor_kind: Some("user".into()),
        source: None,
        reason: Some("[x](https://evil.example)\u{202e}".repeat(200)),
        details,
    }
}

fn rotated() -> Notification {
    let details = json!({"transition_hours": 24, "compromised": false, "outgoing_expires_at": "2026-11-24T13:05:59.000000Z", "superseded_secret_id": "sec_1"});
    message(Action::SecretRotated, details)
}

fn json_of(message: &Notification, format: WebhookFormat, key: Option<&str>) -> Option<Value> {
    serde_json::from_slice(&body(message, format, key, BASE)?).unwrap()
}

#[test]
fn a_standard_body_has_the_facts_as_they_are_stored() {
    let message = rotated();
    let body = json_of(&message, WebhookFormat::Standard, None).unwrap();
    assert_eq!(
        (&body["type"], &body["number"], &body["version"]),
        (&json!("secret.rotated"), &json!(3), &json!(1))
    );
    assert_eq!(body["data"]["details"], message.details);
    assert_eq!(body["timestamp"], "2026-11-24T13:05:00.000000Z");
    assert!(body["data"]["url"].as_str().unwrap().ends_with("/environments/production/security"));
    let again = super::body(&message, WebhookFormat::Standard, None, BASE);
    assert_eq!(again, super::body(&message, WebhookFormat::Standard, None, BASE), "the same bytes");
}

#[test]
fn a_message_to_slack_keeps_its_limits_and_has_no_markup() {
    let body = json_of(&rotated(), WebhookFormat::Slack, None).unwrap();
    let text = body["text"].as_str().unwrap();
    assert!(text.contains("&lt;!channel&gt;") && !text.contains('<'), "{text}");
    let blocks = body["blocks"].as_array().unwrap();
    assert!(blocks[0]["text"]["text"].as_str().unwrap().chars().count() <= 150);
    for fields in blocks.iter().filter_map(|block| block["fields"].as_array()) {
        assert!(fields.len() <= 10);
        for field in fields {
            assert_eq!(field["type"], "plain_text");
            assert!(field["text"].as_str().unwrap().chars().count() <= 2000);
        }
    }
    assert_eq!(body.to_string().matches("mrkdwn").count(), 0);
}

#[test]
fn a_card_for_teams_has_runs_alone() {
    let body = json_of(&rotated(), WebhookFormat::Teams, None).unwrap();
    assert_eq!(body["type"], "message");
    let card = &body["attachments"][0]["content"];
    for block in card["body"].as_array().unwrap() {
        assert_eq!(block["type"], "RichTextBlock", "{block}");
    }
    assert!(body.to_string().len() < 28_000, "the limit of Teams");
}

#[test]
fn pagerduty_is_told_to_open_and_to_resolve_one_incident() {
    let details = json!({"secret_id": "sec_1", "expires_at": "2026-11-24T13:05:59.000000Z", "hours_before": 1, "callers_left": 2, "last_used_at": null, "new_first_used_at": null});
    let near =
        json_of(&message(Action::DeadlineNear, details), WebhookFormat::Pagerduty, Some("key")).unwrap();
    assert_eq!((&near["event_action"], &near["dedup_key"]), (&json!("trigger"), &json!("crossfade:sec_1")));
    assert_eq!((&near["payload"]["severity"], &near["routing_key"]), (&json!("critical"), &json!("key")));
    assert!(near["payload"]["summary"].as_str().unwrap().chars().count() <= 1024);
    assert!(near["payload"]["custom_details"]["Next"].is_string());
    let ended = json_of(&rotated(), WebhookFormat::Pagerduty, Some("key")).unwrap();
    assert_eq!(
        ended,
        json!({"routing_key": "key", "dedup_key": "crossfade:sec_1", "event_action": "resolve"})
    );
    assert_eq!(json_of(&rotated(), WebhookFormat::Pagerduty, None), None, "without a key");
}

#[test]
fn a_test_has_a_body_in_each_format() {
    let details = json!({"webhook_id": "wh_0000000000000000000001", "name": "Hook"});
    let test = Notification {
        client_id: None,
        client_name: None,
        environment: None,
        ..message(Action::WebhookTested, details)
    };
    for format in WebhookFormat::ALL {
        let body = json_of(&test, format, Some("key")).unwrap();
        assert!(body.to_string().contains("/console/webhooks/wh_0000000000000000000001"), "{body}");
    }
    assert_eq!(json_of(&test, WebhookFormat::Standard, None).unwrap()["type"], "webhook.test");
}

#[test]
fn facts_that_cannot_be_read_make_no_body_for_people() {
    let broken = message(Action::SecretRotated, json!({}));
    for format in [WebhookFormat::Slack, WebhookFormat::Teams] {
        assert_eq!(json_of(&broken, format, None), None);
    }
}

#[test]
fn a_text_is_cut_at_a_character() {
    assert_eq!((cut("éééé", 4), cut("ééééé", 4), cut("", 4)), ("éééé".into(), "ééé…".into(), String::new()));
}
