//! Each kind of letter, from facts as they are stored.

use super::*;
use crossfade_core::{ClientId, environment::Slug};
use serde_json::json;

const AT: &str = "2026-11-24T13:05:59.000000Z";
const BASE: &str = "https://auth.example.com";

fn message(event: Action, details: Value) -> Notification {
    let is_about_client = [Action::ClientUpdated, Action::ClientDeleted].contains(&event);
    Notification {
        id: "0123456789abcdefghijkl".into(),
        created_at: Timestamp::from_seconds(1_795_525_500),
        number: Some(1),
        event,
        client_id: Some(ClientId::parse("cl_0000000000000000000001").unwrap()),
        client_name: Some("Billing API".into()),
        environment: (!is_about_client).then(|| Slug::from_stored("production".into())),
        recipients: vec!["ada@example.com".into()],
        actor_name: Some("Grace Hopper".into()),
        reason: Some("quarterly rotation".into()),
        details,
    }
}

/// One message of each kind.
fn samples() -> Vec<Notification> {
    let rotated = |hours: i64, compromised: bool| json!({"transition_hours": hours, "compromised": compromised, "outgoing_expires_at": AT});
    let near = json!({"expires_at": AT, "hours_before": 4, "callers_left": 2, "last_used_at": AT, "new_first_used_at": null});
    let scheduled = json!({"starts_at": AT, "ends_at": AT, "length_seconds": 300, "repeat": 3});
    let caller = json!({"source_ip": "192.0.2.1", "user_agent": "billing/1.4", "instance": "blue"});
    let others = json!({"source_ip": null, "user_agent": null, "instance": null});
    let finished = |callers: Vec<Value>| json!({"caller_count": callers.len(), "refusal_count": 3, "unrecorded_seconds": 7, "callers": callers});
    let switched = |enabled: bool| json!({"before": {"enabled": !enabled}, "after": {"enabled": enabled}});
    let owners =
        |before: &[&str], after: &[&str]| json!({"before": {"owners": before}, "after": {"owners": after}});
    let (ada, grace) = ("ada@example.com", "grace@example.com");
    vec![
        message(Action::SecretRotated, rotated(24, false)),
        message(Action::SecretRotated, rotated(0, true)),
        message(Action::SecretRevoked, json!({"compromised": true})),
        message(Action::SecretExtended, json!({"expires_at": AT, "expires_at_before": AT})),
        message(Action::SecretRolledBack, json!({})),
        message(Action::SecretExpired, json!({"expires_at": AT})),
        message(Action::DeadlineNear, near),
        message(Action::DrillScheduled, scheduled),
        message(Action::DrillStopped, json!({})),
        message(Action::DrillFinished, finished(vec![caller, others])),
        message(Action::DrillFinished, finished(vec![])),
        message(Action::RegistrationUpdated, switched(false)),
        message(Action::RegistrationUpdated, switched(true)),
        message(Action::ClientUpdated, owners(&[], &[ada])),
        message(Action::ClientUpdated, owners(&[ada], &[grace])),
        message(Action::ClientUpdated, owners(&[ada], &[ada, grace])),
        message(Action::ClientDeleted, json!({"name": "Billing API"})),
        message(Action::LeakReported, json!({"secret_id": "sec_0000000000000000000001", "state": "current"})),
        message(
            Action::EndedSecretPresented,
            json!({"ended_at": AT, "tries": 20, "within_seconds": 900, "compromised": false}),
        ),
    ]
}

/// A message to one person, or to those who manage the platform.
fn own(event: Action, details: Value) -> Notification {
    Notification {
        number: None,
        client_id: None,
        client_name: None,
        environment: None,
        reason: None,
        ..message(event, details)
    }
}

/// One message of each kind that is not about one client.
fn own_samples() -> Vec<Notification> {
    let account = "ada@example.com";
    let link = |invitation: bool, with_link: bool, has_password: bool| {
        own(
            Action::LinkCreated,
            json!({"account": account, "expires_at": AT, "invitation": invitation, "with_link": with_link, "has_password": has_password}),
        )
    };
    let signed_in = |new_browser: bool| {
        let details = json!({"account": account, "source_ip": "192.0.2.1", "user_agent": "Mozilla/5.0 (X11; Linux x86_64)", "new_browser": new_browser});
        own(Action::SessionCreated, details)
    };
    let token = |scope: Value, expires_at: Value| {
        let details = json!({"account": account, "name": "laptop", "scope": scope, "expires_at": expires_at});
        own(Action::TokenCreated, details)
    };
    let role = json!({"role": "secret_rotator", "client_id": "cl_1", "property_id": null, "environments": ["staging"]});
    let line = |number: usize| json!({"client_id": "cl_1", "client": format!("Client {number}"), "environment": "production", "at": AT, "times": 3});
    let list =
        |lines: usize, more: usize| json!({"lines": (0..lines).map(line).collect::<Vec<_>>(), "more": more});
    let digest = |lists: [(usize, usize); 5]| {
        let [overdue, due, first_used, revealed, ownerless] = lists.map(|(lines, more)| list(lines, more));
        let details = json!({"week": "2026-W48", "overdue": overdue, "due": due, "first_used": first_used, "revealed": revealed, "ownerless": ownerless});
        Notification { actor_name: None, ..own(Action::DigestsQueued, details) }
    };
    let evidence = |until: Value| {
        let details = json!({"since": AT, "until": until});
        Notification { actor_name: None, ..own(Action::EvidenceUnwritten, details) }
    };
    vec![
        link(true, true, false),
        link(false, true, true),
        link(false, true, false),
        link(false, false, true),
        signed_in(true),
        signed_in(false),
        own(
            Action::UserPasswordChanged,
            json!({"account": account, "ended_sessions": 2, "ended_tokens": 0, "source_ip": "192.0.2.1"}),
        ),
        own(Action::UserActivated, json!({"account": account, "source_ip": null})),
        token(Value::Null, Value::Null),
        token(json!(["client:read", "secret:rotate"]), json!(AT)),
        own(
            Action::GrantCreated,
            json!({"account": account, "grant": role, "client": "Billing API", "property": null}),
        ),
        own(
            Action::GrantDeleted,
            json!({"account": account, "grant": role, "client": null, "property": null}),
        ),
        own(
            Action::UserUpdated,
            json!({"account": account, "before": {"email": account}, "after": {"email": "new@example.com"}}),
        ),
        digest([(3, 0), (2, 0), (1, 0), (1, 0), (0, 0)]),
        digest([(20, 17), (20, 1), (0, 0), (0, 0), (20, 3)]),
        digest([(0, 0), (0, 0), (1, 0), (0, 0), (0, 0)]),
        evidence(Value::Null),
        evidence(json!(AT)),
    ]
}

/// Messages with what people can type, at its worst.
fn edges() -> Vec<Notification> {
    let hostile = "<img src=x onerror=alert(1)> <a href=\"https://evil.example\">Click here</a>\r\nBcc: eve@example.com\n\nhttps://evil.example/reset \"quoted\" & 'more'";
    let names = [
        "W".repeat(200),
        "A name of two hundred letters ".repeat(7).trim().to_owned(),
        "صندوق الدفع (الإنتاج) 2026".to_owned(),
        "תשלומים – ספרים (ישן) 12".to_owned(),
        "\"Quotes\" <b>&amp; 'more'".to_owned(),
        "支払い・決済サービス".to_owned(),
    ];
    let mut edges = Vec::new();
    for name in names {
        for sample in [0, 6, 9] {
            let mut message = samples().swap_remove(sample);
            message.client_name = Some(name.clone());
            message.actor_name = Some(name.clone());
            message.reason = Some(hostile.to_owned());
            edges.push(message);
        }
        let line = json!({"client_id": "cl_1", "client": name, "environment": "production", "at": AT});
        let (some, none) =
            (json!({"lines": [line.clone(), line], "more": 4}), json!({"lines": [], "more": 0}));
        let details = json!({"week": "2026-W48", "overdue": some, "due": some, "first_used": none, "revealed": none, "ownerless": none});
        edges.push(Notification { actor_name: None, ..own(Action::DigestsQueued, details) });
    }
    let owners: Vec<String> =
        (0..20).map(|number| format!("a-rather-long-address-{number}@department.example.com")).collect();
    edges
        .push(message(Action::ClientUpdated, json!({"before": {"owners": []}, "after": {"owners": owners}})));
    edges
}

/// Writes every letter for a browser: `tests/console/letters.mjs` takes pictures of them.
#[test]
fn every_letter_is_written_for_a_browser() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/test/letters");
    std::fs::create_dir_all(&folder).unwrap();
    let all = [("client", samples()), ("own", own_samples()), ("edge", edges())];
    for (kind, messages) in all {
        for (number, message) in messages.iter().enumerate() {
            let mut letter =
                letter(message, "ada@example.com", BASE).unwrap_or_else(|| panic!("{message:?}"));
            if letter.has_link {
                letter.url = format!("{BASE}/console/link#crossfade_link_{}", "0".repeat(49));
            }
            let (html, text) = letter.render().unwrap();
            assert!(!html.contains("<img") && !html.contains("href=\"https://evil"), "{html}");
            for line in text.lines() {
                let is_long = line.chars().count() > 80;
                assert!(!is_long || line.split_whitespace().count() <= 2, "{line}");
            }
            let name = format!("{kind}-{number:02}-{}", message.event.as_str().replace('.', "-"));
            std::fs::write(folder.join(format!("{name}.html")), html).unwrap();
            std::fs::write(folder.join(format!("{name}.txt")), text).unwrap();
        }
    }
}

#[test]
fn a_letter_to_a_person_says_what_to_do_if_it_was_not_them() {
    for message in own_samples() {
        let letter = letter(&message, "ada@example.com", BASE).unwrap();
        let (html, text) = letter.render().unwrap();
        assert!(letter.next.ends_with('.'), "{letter:?}");
        assert_eq!(html.matches("class=\"button\"").count(), 1, "one button");
        assert_eq!(letter.has_link, letter.url.is_empty(), "a link is filled in when it is sent");
        assert_eq!(text.contains("never mails a secret"), !letter.has_link, "{text}");
        assert!(letter.subject.chars().count() <= 120, "{}", letter.subject);
    }
}

#[test]
fn a_name_from_right_to_left_is_isolated() {
    let mut message = samples().remove(0);
    message.client_name = Some("תשלומים".into());
    let letter = letter(&message, "ada@example.com", BASE).unwrap();
    assert_eq!(letter.subject, "Secret rotated: \u{2068}תשלומים\u{2069} in production");
    assert!(letter.heading.ends_with("\u{2068}תשלומים\u{2069} in production"), "{}", letter.heading);
    message.client_name = Some("Crédit".into());
    let letter = super::letter(&message, "ada@example.com", BASE).unwrap();
    assert_eq!(letter.subject, "Secret rotated: Crédit in production");
}

#[test]
fn each_kind_of_message_says_what_happened_and_what_to_do() {
    let mut subjects = Vec::new();
    for message in samples() {
        let letter = letter(&message, "ada@example.com", BASE).unwrap();
        let (html, text) = letter.render().unwrap();
        for part in ["Billing API", "Grace Hopper", "quarterly rotation", "24 Nov 2026, 13:05 UTC"] {
            assert!(html.contains(part) && text.contains(part), "{part}: {text}");
        }
        assert!(letter.next.ends_with('.') && letter.heading.contains(": Billing API"), "{letter:?}");
        assert!(letter.url.starts_with(BASE) && html.contains(&letter.url) && text.contains(&letter.url));
        assert_eq!(html.matches("class=\"button\"").count(), 1, "one button");
        subjects.push(letter.subject);
    }
    subjects.sort();
    subjects.dedup();
    assert_eq!(subjects.len(), samples().len(), "each has a subject of its own: {subjects:?}");
}

#[test]
fn a_long_name_is_cut_in_the_subject_and_markup_is_text() {
    let mut message = samples().remove(0);
    message.client_name = Some("é".repeat(200));
    message.reason = Some("<script>alert(1)</script>".into());
    let letter = letter(&message, "ada@example.com", BASE).unwrap();
    assert!(letter.subject.chars().count() < 120, "{}", letter.subject);
    let (html, _) = letter.render().unwrap();
    assert!(!html.contains("<script") && html.contains(&"é".repeat(200)), "{html}");
}

#[test]
fn facts_that_cannot_be_read_make_no_letter() {
    for event in [Action::SecretRotated, Action::DeadlineNear, Action::DrillFinished, Action::OwnerCreated] {
        assert_eq!(letter(&message(event, json!({"expires_at": "soon"})), "ada@example.com", BASE), None);
    }
}

#[test]
fn an_owner_who_was_removed_is_told_so() {
    let message =
        samples().into_iter().find(|it| it.details["after"]["owners"] == json!(["grace@example.com"]));
    let message = message.unwrap();
    let to = |who| letter(&message, who, BASE).unwrap();
    assert!(to("ada@example.com").because.contains("you were an owner"));
    assert!(to("grace@example.com").because.contains("you are an owner"));
}
