//! Each kind of letter, from facts as they are stored.

use super::*;
use aws_lc_rs::digest as sha;
use crossfade_core::{ClientId, environment::Slug, webhook::WebhookFormat};
use serde_json::json;

const AT: &str = "2026-11-24T13:05:59.000000Z";
const BASE: &str = "https://auth.example.com";

fn message(event: Action, details: Value) -> Notification {
    let is_about_client = [
        Action::ClientUpdated,
        Action::ClientHandedOver,
        Action::ClientOwnerUpdated,
        Action::ClientMessagesUpdated,
        Action::ClientDeleted,
    ]
    .contains(&event);
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
        actor_kind: Some("user".into()),
        source: Some("192.0.2.7".into()),
        reason: Some("quarterly rotation".into()),
        details,
    }
}

/// One message of each kind.
fn samples() -> Vec<Notification> {
    let (first, second) = ("sec_0000000000000000000001", "sec_0000000000000000000002");
    let rotated = |hours: i64, compromised: bool| json!({"transition_hours": hours, "compromised": compromised, "outgoing_secret_id": second, "outgoing_expires_at": AT});
    let superseding = |hours: i64, compromised: bool| {
        let mut facts = rotated(hours, compromised);
        facts["superseded_secret_id"] = json!(first);
        facts
    };
    let itself = Notification {
        actor_kind: Some("client".into()),
        ..message(Action::SecretRotated, rotated(24, false))
    };
    let near = json!({"secret_id": first, "expires_at": AT, "hours_before": 4, "callers_left": 2, "last_used_at": AT, "new_first_used_at": null});
    let imminent = json!({"secret_id": first, "expires_at": "2026-11-24T14:05:59.000000Z", "hours_before": 1, "callers_left": 0, "last_used_at": AT, "new_first_used_at": null});
    let scheduled =
        json!({"secret_id": first, "starts_at": AT, "ends_at": AT, "length_seconds": 5, "repeat": 3});
    let caller = json!({"source_ip": "192.0.2.1", "user_agent": "billing/1.4", "instance": "blue"});
    let others = json!({"source_ip": null, "user_agent": null, "instance": null});
    let finished = |callers: Vec<Value>| json!({"secret_id": first, "caller_count": callers.len(), "refusal_count": 3, "unrecorded_seconds": 7, "callers": callers});
    let callers = vec![caller.clone(), json!({"source_ip": "192.0.2.9"}), others.clone()];
    let presented = json!({"secret_id": first, "ended_at": AT, "tries": 20, "within_seconds": 900, "compromised": false, "callers": callers, "caller_count": 5});
    let switched = |enabled: bool| json!({"before": {"enabled": !enabled}, "after": {"enabled": enabled}});
    let self_rotation = |on: bool| json!({"before": {"enabled": true, "self_rotation": !on}, "after": {"enabled": true, "self_rotation": on}});
    let owners =
        |before: &[&str], after: &[&str]| json!({"before": {"owners": before}, "after": {"owners": after}});
    let owner_updated = |change: &str, is_heard: bool| json!({"webhook_id": "wh_1", "change": change, "is_heard": is_heard, "client_names": ["Billing API", "Ledger"]});
    let handed_over = |cause: &str, before: &[&str], after: &[&str]| json!({"user_name": "Alan Turing", "cause": cause, "heirs": "chosen", "owners_before": before, "owners": after});
    let (ada, grace) = ("ada@example.com", "grace@example.com");
    vec![
        message(Action::SecretRotated, rotated(24, false)),
        message(Action::SecretRotated, rotated(0, true)),
        message(Action::SecretRotated, superseding(24, false)),
        itself,
        message(Action::SecretRevoked, json!({"secret_id": first, "compromised": true})),
        message(
            Action::SecretExtended,
            json!({"secret_id": first, "expires_at": AT, "expires_at_before": AT}),
        ),
        message(Action::SecretRolledBack, json!({"current_secret_id": first, "revoked_secret_id": second})),
        message(Action::SecretExpired, json!({"secret_id": first, "expires_at": AT})),
        message(Action::DeadlineNear, near),
        message(Action::DrillScheduled, scheduled),
        message(Action::DrillStopped, json!({"secret_id": first})),
        message(Action::DrillFinished, finished(vec![caller, others])),
        message(Action::DrillFinished, finished(vec![])),
        message(Action::RegistrationUpdated, switched(false)),
        message(Action::RegistrationUpdated, switched(true)),
        message(Action::RegistrationUpdated, self_rotation(true)),
        message(Action::RegistrationUpdated, self_rotation(false)),
        message(Action::ClientUpdated, owners(&[], &[ada])),
        message(Action::ClientUpdated, owners(&[ada], &[grace])),
        message(Action::ClientUpdated, owners(&[ada], &[ada, grace])),
        message(Action::ClientHandedOver, handed_over("account_deleted", &[grace], &[ada])),
        message(Action::ClientHandedOver, handed_over("address_changed", &[grace], &[ada])),
        message(Action::ClientHandedOver, handed_over("account_deleted", &[ada, grace], &[ada])),
        message(Action::ClientOwnerUpdated, owner_updated("moved", true)),
        message(Action::ClientOwnerUpdated, owner_updated("disabled", true)),
        message(Action::ClientOwnerUpdated, owner_updated("gone", false)),
        message(Action::ClientMessagesUpdated, json!({"off_before": [], "off": ["wake"]})),
        message(Action::ClientDeleted, json!({"name": "Billing API"})),
        message(Action::WebhookTested, json!({"webhook_id": "wh_1", "name": "Hook"})),
        message(
            Action::WebhookDisabled,
            json!({"webhook_id": "wh_1", "host": "hooks.example.com", "disabled_as": "gone", "last_error": "status 410"}),
        ),
        message(Action::LeakReported, json!({"secret_id": first, "state": "current"})),
        message(Action::LeakReported, json!({"secret_id": first, "state": "retiring"})),
        message(Action::EndedSecretPresented, presented),
        message(
            Action::UpstreamCredentialRefused,
            json!({"registration_id": "reg_1", "since": AT, "last_error": "401 invalid_client"}),
        ),
        message(
            Action::UpstreamCredentialAccepted,
            json!({"registration_id": "reg_1", "refused_since": AT, "slot": "next"}),
        ),
        message(Action::DeadlineNear, imminent),
        message(Action::SecretRotated, superseding(0, false)),
        message(Action::SecretRotated, superseding(0, true)),
        message(Action::SecretRevoked, json!({"secret_id": first, "compromised": false})),
        message(
            Action::SecretRolledBack,
            json!({"current_secret_id": first, "revoked_secret_id": second, "compromised": true}),
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
    let clients = |count: u64| {
        let shown = (0..count.min(20))
            .map(|n| json!({"id": format!("cl_{n:022}"), "name": format!("Billing API {n}")}));
        json!({"count": count, "clients": shown.collect::<Vec<_>>()})
    };
    let handed_over = |cause: &str, left: u64, taken: u64, kept: u64| {
        let details = json!({"user_name": "Alan Turing", "cause": cause, "left": clients(left), "taken": clients(taken), "kept": clients(kept)});
        own(Action::ClientHandedOver, details)
    };
    let token = |scope: Value, expires_at: Value| {
        let details = json!({"account": account, "name": "laptop", "scope": scope, "expires_at": expires_at});
        own(Action::TokenCreated, details)
    };
    let role = json!({"role": "secret_rotator", "client_id": "cl_1", "property_id": null, "environments": ["staging"]});
    let line = |number: usize| json!({"client_id": "cl_1", "client": format!("Client {number}"), "environment": "production", "secret_id": "sec_0000000000000000000001", "at": AT, "times": 3});
    let list =
        |lines: usize, more: usize| json!({"lines": (0..lines).map(line).collect::<Vec<_>>(), "more": more});
    let digest = |lists: [(usize, usize); 5]| {
        let [overdue, due, first_used, revealed, ownerless] = lists.map(|(lines, more)| list(lines, more));
        let details = json!({"week": "2026-W48", "overdue": overdue, "due": due, "first_used": first_used, "revealed": revealed, "ownerless": ownerless});
        Notification { actor_name: None, ..own(Action::DigestsQueued, details) }
    };
    let failing = |number: usize, what: &str| json!({"webhook_id": format!("wh_{number}"), "webhook": "Alerts", "what": what, "at": AT});
    let webhooks = json!({"lines": [failing(1, "disabled"), failing(2, "failing")], "more": 0});
    let webhooks = json!({"week": "2026-W48", "webhooks": webhooks});
    let webhooks = Notification { actor_name: None, ..own(Action::DigestsQueued, webhooks) };
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
        own(
            Action::IdentityLinked,
            json!({"account": account, "provider_name": "Example", "source_ip": "192.0.2.1"}),
        ),
        own(Action::FactorAdded, json!({"account": account, "name": "<b>phone</b>", "ended_sessions": 1})),
        own(
            Action::FactorRemoved,
            json!({"account": account, "names": ["phone"], "ended_sessions": 0, "ended_tokens": 0}),
        ),
        own(
            Action::FactorRemoved,
            json!({"account": account, "names": ["phone", "tablet"], "ended_sessions": 2, "ended_tokens": 3}),
        ),
        own(Action::FactorSuspected, json!({"account": account, "name": "<b>key</b>"})),
        own(Action::RecoveryCodesCreated, json!({"account": account, "count": 10})),
        own(Action::RecoveryCodeUsed, json!({"account": account, "left": 9})),
        own(
            Action::SignInPolicyUpdated,
            json!({"after": {"second_factor": "everyone"}, "tokens_refused_from": AT}),
        ),
        token(Value::Null, Value::Null),
        token(json!(["client:read", "secret:rotate"]), json!(AT)),
        own(
            Action::GrantCreated,
            json!({"account": account, "grant": role, "client": "Billing API", "property": null}),
        ),
        own(
            Action::GrantCreated,
            json!({"account": account, "grant": role, "client": null, "property": null, "closes_account": true}),
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
        webhooks,
        evidence(Value::Null),
        evidence(json!(AT)),
        Notification {
            actor_name: None,
            ..own(
                Action::NodeWithoutLease,
                json!({"node_id": "node_0000000000000000000001", "name": "east-1", "lease_ended_at": AT}),
            )
        },
        handed_over("account_deleted", 1000, 0, 0),
        handed_over("address_changed", 0, 2, 0),
        handed_over("account_deleted", 0, 12, 3),
        handed_over("account_deleted", 0, 0, 2),
        own(
            Action::OwnMessagesUpdated,
            json!({"account": account, "before": {"off": ["wake"]}, "after": {"off": ["wake", "secret.rotated"]}}),
        ),
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
        let is_wake =
            |it: &Notification| it.event == Action::EndedSecretPresented || it.details["hours_before"] == 1;
        for mut message in samples().into_iter().filter(is_wake) {
            message.client_name = Some(name.clone());
            message.actor_name = Some(name.clone());
            message.reason = Some(hostile.to_owned());
            if message.event == Action::EndedSecretPresented {
                let of = |agent: &str, instance: &str| json!({"source_ip": "192.0.2.1", "user_agent": agent, "instance": instance});
                message.details["callers"] = json!([of(hostile, &name), of(&name, hostile)]);
            }
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

/// Writes every letter for a browser, and as a card of Teams: `tests/console/letters.mjs` reads them.
#[test]
fn every_letter_is_written_for_a_browser() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/test/letters");
    // Those of an earlier version would be read as well.
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let all = [("client", samples()), ("own", own_samples()), ("edge", edges())];
    for (kind, messages) in all {
        for (number, message) in messages.iter().enumerate() {
            let mut letter = letter(message, "ada@example.com", BASE, &TimeZone::UTC)
                .unwrap_or_else(|| panic!("{message:?}"));
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
            // Messages to a person go to no webhook.
            if kind != "own" {
                let card = crate::messages::body::body(message, WebhookFormat::Teams, None, BASE).unwrap();
                std::fs::write(folder.join(format!("{name}.teams.json")), card).unwrap();
            }
        }
    }
}

/// The rows of the part `letters` of tests/faults, with what arrives. This test fails if the committed file differs, and
/// writes it again, to be reviewed and committed. Letters with a link need a link, and that part sends them otherwise.
#[test]
fn the_letters_that_are_sent_over_starttls_are_these() {
    let row = |message: &Notification| {
        let letter = letter(message, "ada@example.com", BASE, &TimeZone::UTC)?;
        let (html, text) = letter.render().ok()?;
        // What people type can have line ends of both kinds, and mail has one.
        let [html, text] = [html.replace("\r\n", "\n"), text].map(|it| {
            let digest = sha::digest(&sha::SHA256, it.as_bytes());
            digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        });
        (!letter.has_link).then(|| {
            json!({
                "created_at": message.created_at.as_micros(), "number": message.number, "event": message.event.as_str(),
                "client_id": message.client_id.as_ref().map(ClientId::as_str), "client_name": message.client_name,
                "environment": message.environment.as_ref().map(Slug::as_str), "actor_name": message.actor_name,
                "actor_kind": message.actor_kind, "source": message.source, "reason": message.reason,
                "details": message.details, "subject": letter.subject, "text_sha256": text,
                "html_sha256": html,
            })
        })
    };
    let all = [samples(), own_samples(), edges()].concat();
    let rows: Vec<_> = all.iter().filter_map(row).collect();
    let text = format!("{}\n", serde_json::to_string_pretty(&rows).unwrap());
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/faults/letters.json");
    if std::fs::read_to_string(&path).ok().as_deref() != Some(text.as_str()) {
        std::fs::write(&path, text).unwrap();
        panic!("written again; review the diff and commit it: {}", path.display());
    }
}

#[test]
fn a_letter_to_a_person_says_what_to_do_if_it_was_not_them() {
    for message in own_samples() {
        let letter = letter(&message, "ada@example.com", BASE, &TimeZone::UTC).unwrap();
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
    let letter = letter(&message, "ada@example.com", BASE, &TimeZone::UTC).unwrap();
    assert_eq!(letter.subject, "Secret rotated: \u{2068}תשלומים\u{2069} in production");
    assert!(letter.heading.ends_with("\u{2068}תשלומים\u{2069} in production"), "{}", letter.heading);
    message.client_name = Some("Crédit".into());
    let letter = super::letter(&message, "ada@example.com", BASE, &TimeZone::UTC).unwrap();
    assert_eq!(letter.subject, "Secret rotated: Crédit in production");
}

#[test]
fn each_kind_of_message_says_what_happened_and_what_to_do() {
    let mut subjects = Vec::new();
    // The last warning has the subject of the earlier ones.
    let is_last_warning = |it: &Notification| it.details["hours_before"] == 1;
    let samples: Vec<_> = samples().into_iter().filter(|it| !is_last_warning(it)).collect();
    for message in &samples {
        let letter = letter(message, "ada@example.com", BASE, &TimeZone::UTC).unwrap();
        let (html, text) = letter.render().unwrap();
        for part in ["Billing API", "Grace Hopper", "quarterly rotation", "24 Nov 2026, 13:05 UTC"] {
            // Nobody does what an ended secret is refused for.
            let is_there = part != "Grace Hopper" || !has_no_author(message.event);
            assert_eq!((html.contains(part), text.contains(part)), (is_there, is_there), "{part}: {text}");
        }
        assert!(letter.next.ends_with('.') && letter.heading.contains(": Billing API"), "{letter:?}");
        assert!(letter.url.starts_with(BASE) && html.contains(&letter.url) && text.contains(&letter.url));
        assert_eq!(html.matches("class=\"button\"").count(), 1, "one button");
        subjects.push(letter.subject);
    }
    subjects.sort();
    subjects.dedup();
    assert_eq!(subjects.len(), samples.len(), "each has a subject of its own: {subjects:?}");
}

#[test]
fn a_long_name_is_cut_in_the_subject_and_markup_is_text() {
    let mut message = samples().remove(0);
    message.client_name = Some("é".repeat(200));
    message.reason = Some("<script>alert(1)</script>".into());
    let letter = letter(&message, "ada@example.com", BASE, &TimeZone::UTC).unwrap();
    assert!(letter.subject.chars().count() < 120, "{}", letter.subject);
    let (html, _) = letter.render().unwrap();
    assert!(!html.contains("<script") && html.contains(&"é".repeat(200)), "{html}");
}

#[test]
fn what_weakens_a_client_or_ends_a_secret_is_told_as_such() {
    let told = |sample: Notification| letter(&sample, "ada@example.com", BASE, &TimeZone::UTC).unwrap();
    let find = |part: &str| samples().into_iter().map(told).find(|it| it.subject.contains(part)).unwrap();
    let superseded = find("ends the one before it");
    assert!(superseded.is_urgent && superseded.next.contains("two rotations ago"), "{superseded:?}");
    let refused =
        |secret: &str| format!("refused since 24 Nov 2026, 13:05 UTC (sec_000000000000000000000{secret})");
    assert!(superseded.facts.contains(&("Secret before that", refused("1"))), "{superseded:?}");
    let both = find("Secret rotated, both earlier ones are refused");
    for fact in [("Old secret", refused("2")), ("Secret before that", refused("1"))] {
        assert!(both.facts.contains(&fact), "{both:?}");
    }
    let itself = find("rotated its own secret");
    assert!(itself.is_urgent && itself.next.contains("roll the rotation back"), "{itself:?}");
    assert!(itself.facts.contains(&("IP address", "192.0.2.7".into())));
    let on = find("Self-rotation turned on");
    assert!(on.is_urgent && on.next.contains("turn self-rotation off"), "{on:?}");
    assert!(!find("Self-rotation turned off").is_urgent);
    let both = json!({"before": {"enabled": false}, "after": {"enabled": true, "self_rotation": true}});
    let both = told(message(Action::RegistrationUpdated, both));
    assert!(both.is_urgent && both.facts.contains(&("Self-rotation", "turned on".into())), "{both:?}");
}

#[test]
fn a_leak_is_in_the_subject_and_in_the_first_sentence() {
    let leaked = |it: &Notification| it.event == Action::LeakReported || it.details["compromised"] == true;
    let leaks: Vec<_> = samples().into_iter().filter(leaked).collect();
    assert_eq!(leaks.len(), 6);
    for message in leaks {
        let letter = letter(&message, "ada@example.com", BASE, &TimeZone::UTC).unwrap();
        assert!(letter.subject.to_lowercase().contains("leaked"), "{letter:?}");
        assert!(letter.heading.contains("leaked"), "{letter:?}");
    }
}

#[test]
fn a_letter_about_a_secret_has_its_id() {
    for message in samples().into_iter().filter(|it| it.details.to_string().contains("\"sec_")) {
        let (html, text) =
            letter(&message, "ada@example.com", BASE, &TimeZone::UTC).unwrap().render().unwrap();
        for id in message.details.as_object().unwrap().values().filter_map(Value::as_str) {
            assert!(!id.starts_with("sec_") || html.contains(id) && text.contains(id), "{id}: {text}");
        }
    }
}

#[test]
fn facts_that_cannot_be_read_make_no_letter() {
    for event in [Action::SecretRotated, Action::DeadlineNear, Action::DrillFinished, Action::OwnerCreated] {
        assert_eq!(
            letter(&message(event, json!({"expires_at": "soon"})), "ada@example.com", BASE, &TimeZone::UTC),
            None
        );
    }
}

#[test]
fn an_owner_who_was_removed_is_told_so() {
    let message =
        samples().into_iter().find(|it| it.details["after"]["owners"] == json!(["grace@example.com"]));
    let message = message.unwrap();
    let to = |who| letter(&message, who, BASE, &TimeZone::UTC).unwrap();
    assert!(to("ada@example.com").because.contains("you were an owner"));
    assert!(to("grace@example.com").because.contains("you are an owner"));
}

#[test]
fn a_reader_in_a_time_zone_gets_its_times_and_those_of_utc() {
    let zone = TimeZone::parse("time_zone", "Europe/Berlin").unwrap();
    for message in samples() {
        let letter = letter(&message, "ada@example.com", BASE, &zone).unwrap();
        let (html, text) = letter.render().unwrap();
        for written in [html, text.replace('\n', " ")] {
            assert!(written.contains("24 Nov 2026, 14:05 in Berlin (13:05 UTC)"), "{written}");
            assert!(written.contains("Times are in Berlin and UTC."), "{written}");
        }
    }
}

#[test]
fn a_letter_leads_to_the_place_where_something_can_be_done() {
    let url = |sample: Notification| letter(&sample, "ada@example.com", BASE, &TimeZone::UTC).unwrap().url;
    let changed = |before: Value, after: Value| {
        url(message(Action::RegistrationUpdated, json!({"before": before, "after": after})))
    };
    let on = json!({"enabled": true, "self_rotation": true});
    assert!(changed(json!({"enabled": true}), on.clone()).ends_with("/environments/production/settings"));
    assert!(changed(json!({"enabled": false}), on).ends_with("/environments/production/security"));
    let leak = json!({"state": "current", "secret_id": "sec_0000000000000000000001"});
    assert!(
        url(message(Action::LeakReported, leak)).ends_with("/security?leaked=sec_0000000000000000000001")
    );
}

#[test]
fn an_ended_secret_that_is_still_presented_names_its_first_callers() {
    let told = |more: Value| {
        let mut details = json!({"ended_at": AT, "tries": 20, "within_seconds": 900, "compromised": false});
        details.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let letter =
            letter(&message(Action::EndedSecretPresented, details), "ada@example.com", BASE, &TimeZone::UTC);
        let letter = letter.unwrap();
        let callers =
            letter.facts.iter().find(|(label, _)| *label == "Callers").map(|(_, value)| value.clone());
        (callers, letter.next)
    };
    let caller = |ip: &str| json!({"source_ip": ip, "user_agent": "billing/1.4", "instance": "blue"});
    let (callers, next) = told(json!({"callers": null, "caller_count": null}));
    assert!(callers.is_none() && next.contains("crossfade audit failures"), "{next}");
    assert_eq!(told(json!({})), (None, next), "an event of an earlier version");
    let (callers, next) = told(json!({"callers": [caller("192.0.2.1")], "caller_count": 1}));
    assert_eq!(callers.as_deref(), Some("192.0.2.1, \"billing/1.4\", \"blue\""));
    assert_eq!(next, "Change these callers to the current secret. They are refused now.");
    let four = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"].map(caller);
    let (callers, next) = told(json!({"callers": four, "caller_count": 12}));
    let callers = callers.unwrap();
    assert!(callers.ends_with("192.0.2.3, \"billing/1.4\", \"blue\";\nand 9 more"), "{callers}");
    assert!(next.contains("find the others"), "{next}");
    let (callers, next) =
        told(json!({"callers": [caller("192.0.2.1")], "caller_count": 1, "compromised": true}));
    assert!(callers.is_some() && next.contains("misuse"), "{next}");
}

#[test]
fn what_a_stranger_has_sent_is_quoted_and_is_no_link() {
    for (sent, shown) in [
        ("billing/1.4", "billing/1.4"),
        ("Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101", "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101"),
        ("see https://evil.example/a?b=c", "see https[:]//evil[.]example/a?b=c"),
        ("www.evil.example or team@evil.example", "www[.]evil[.]example or team[@]evil[.]example"),
        ("mailto:x javascript:/x", "mailto:x javascript[:]/x"),
        ("x\"; and 9 more\r\nReset your password:\u{2028}now", "x'; and 9 more  Reset your password: now"),
        ("“x” «y»", "'x' 'y'"),
        ("", ""),
    ] {
        assert_eq!(quoted(sent), format!("\"{shown}\""));
    }
    let long = quoted(&"é".repeat(500));
    assert_eq!((long.chars().count(), long.ends_with("é…\"")), (MAX_STRANGER + 3, true), "{long}");
    // Wherever one is named, in each form.
    let hostile = "\", Crossfade says: https://evil.example\n- Link: <!channel> [x](https://evil.example)";
    let caller = json!({"source_ip": "192.0.2.1", "user_agent": hostile, "instance": hostile});
    let presented = json!({"secret_id": "sec_1", "ended_at": AT, "tries": 20, "within_seconds": 900, "compromised": false,
        "callers": [caller], "caller_count": 1});
    let finished = json!({"drill_id": "drill_1", "caller_count": 1, "refusal_count": 2, "unrecorded_seconds": 0, "callers": [caller]});
    let signed_in = json!({"account": "ada@example.com", "source_ip": "192.0.2.1", "user_agent": hostile, "new_browser": true});
    for message in [
        message(Action::EndedSecretPresented, presented),
        message(Action::DrillFinished, finished),
        own(Action::SessionCreated, signed_in),
    ] {
        let letter = letter(&message, "ada@example.com", BASE, &TimeZone::UTC).unwrap();
        let (html, text) = letter.render().unwrap();
        for body in [html, text] {
            assert!(!body.contains("//evil") || !body.contains("https://evil"), "{body}");
            assert!(!body.contains("evil.example") && body.contains("evil[.]example"), "{body}");
        }
        let value = letter.facts.iter().map(|(_, value)| value).find(|value| value.contains("evil")).unwrap();
        assert!(!value.contains('\n'), "{value}");
    }
}

#[test]
fn an_owner_who_cannot_manage_a_disabled_webhook_is_led_to_the_client() {
    let facts = json!({
        "webhook_id": "wh_1", "name": "Alerts", "host": "hooks.example.com", "disabled_as": "gone", "last_error": "410 Gone",
        "client": "Billing", "client_id": "cl_1", "managers": ["grace@example.com"],
    });
    let message = own(Action::WebhookDisabled, facts);
    let to = |who| letter(&message, who, BASE, &TimeZone::UTC).unwrap();
    let (owner, manager) = (to("ada@example.com"), to("grace@example.com"));
    assert_eq!(
        (owner.button, owner.url.replace(BASE, "").as_str()),
        ("View the client", "/console/clients/cl_1")
    );
    assert!(owner.next.contains("Ask a person who manages the webhook"), "{owner:?}");
    assert_eq!(
        (manager.button, manager.url.replace(BASE, "").as_str()),
        ("View the webhook", "/console/webhooks/wh_1")
    );
    for letter in [&owner, &manager] {
        assert!(letter.facts.contains(&("Client", "Billing".into())), "{letter:?}");
    }
    // In the API, the webhook does not exist for the owner.
    assert_eq!(owner.subject, "Webhook disabled: wh_1");
    let hidden = ["Alerts", "hooks.example.com", "410 Gone"];
    assert!(hidden.iter().all(|hidden| !format!("{owner:?}").contains(hidden)), "{owner:?}");
    assert!(hidden.iter().all(|shown| format!("{manager:?}").contains(shown)), "{manager:?}");
}

#[test]
fn a_letter_names_the_webhooks_among_the_owners_to_their_managers_alone() {
    let hook = "wh_0000000000000000000001";
    let owners = [json!(hook), json!("ada@example.com"), json!("wh_0000000000000000000001 <x@example.com>")];
    let names = json!({hook: {"name": "Alerts of the shop", "to": ["grace@example.com"]}});
    let updated = json!({"before": {"owners": []}, "after": {"owners": owners}, "webhook_names": names});
    let handed = json!({"user_name": "Eve", "cause": "account_deleted", "owners_before": [], "owners": owners, "webhook_names": names});
    for (event, details) in [(Action::ClientUpdated, updated), (Action::ClientHandedOver, handed)] {
        let message = message(event, details);
        let listed = |to| {
            let letter = letter(&message, to, BASE, &TimeZone::UTC).unwrap();
            letter.facts.into_iter().find(|(label, _)| *label == "Owners").unwrap().1
        };
        assert!(listed("grace@example.com").starts_with("Alerts of the shop (webhook),\nada@example.com"));
        // Chat is for nobody in particular.
        for to in ["ada@example.com", ""] {
            assert!(listed(to).starts_with(&format!("{hook} (webhook),\nada@example.com")), "{}", listed(to));
        }
    }
}

#[test]
fn the_most_urgent_subject_begins_with_the_client() {
    let message = samples().into_iter().find(|it| it.event == Action::DeadlineNear).unwrap();
    let letter = letter(&message, "ada@example.com", BASE, &TimeZone::UTC).unwrap();
    assert!(letter.subject.starts_with("Billing API in production: old secret expires 24 Nov"), "{letter:?}");
}

#[test]
fn a_letter_says_where_it_is_switched_off_unless_it_cannot_be() {
    for message in [samples(), own_samples()].concat() {
        let letter = letter(&message, "ada@example.com", BASE, &TimeZone::UTC).unwrap();
        let is_personal = letter.because.contains("It cannot be switched off");
        let cannot = [
            Action::ClientUpdated,
            Action::ClientMessagesUpdated,
            Action::ClientHandedOver,
            Action::ClientOwnerUpdated,
        ];
        let cannot = cannot.contains(&message.event)
            || matches!(message.event, Action::WebhookTested | Action::WebhookDisabled)
            || message.actor_kind.as_deref() == Some("client");
        assert_eq!(letter.because.contains(SWITCH_OFF), !is_personal && !cannot, "{letter:?}");
    }
}

#[test]
fn a_digest_of_webhooks_or_of_clients_leads_to_them() {
    let list = |lines: Vec<Value>| json!({"lines": lines, "more": 0});
    let client = json!({"client_id": "cl_1", "client": "Billing", "environment": null});
    let webhook = json!({"webhook_id": "wh_1", "webhook": "Alerts", "what": "failing", "at": AT});
    let digest = |facts: Value| {
        let message =
            Notification { client_id: None, environment: None, ..message(Action::DigestsQueued, facts) };
        let letter = letter(&message, "ada@example.com", BASE, &TimeZone::UTC).unwrap();
        (letter.subject, letter.url.replace(BASE, ""))
    };
    let (webhooks, ownerless) = (list(vec![webhook.clone(), webhook]), list(vec![client]));
    assert_eq!(
        digest(json!({"week": "2026-W48", "webhooks": webhooks})),
        ("Webhooks this week: 2 failing webhooks".into(), "/console/webhooks".into())
    );
    assert_eq!(
        digest(json!({"week": "2026-W48", "ownerless": ownerless})),
        ("Clients this week: 1 client without owners".into(), "/console/clients?ownerless=true".into())
    );
    assert_eq!(
        digest(json!({"week": "2026-W48", "ownerless": ownerless, "webhooks": webhooks})),
        ("Secrets this week: 1 client without owners, 2 failing webhooks".into(), "/console/clients".into())
    );
}

#[test]
fn a_letter_to_a_person_names_the_address_of_who_did_it() {
    for message in own_samples().into_iter().filter(|it| it.source.is_some()) {
        let letter = letter(&message, "ada@example.com", BASE, &TimeZone::UTC).unwrap();
        let is_shown = letter.facts.iter().filter(|(label, _)| *label == "IP address").count();
        let is_of_nobody = matches!(
            message.event,
            Action::DigestsQueued | Action::EvidenceUnwritten | Action::NodeWithoutLease
        );
        assert!(is_of_nobody || is_shown == 1, "{letter:?}");
    }
}

#[test]
fn a_warning_leads_to_the_button_and_tells_a_manager_why() {
    let message = samples().into_iter().find(|it| it.event == Action::DeadlineNear).unwrap();
    let to = |who| letter(&message, who, BASE, &TimeZone::UTC).unwrap();
    assert!(to("ada@example.com").because.contains("you are an owner"));
    let manager = to("manager@example.com");
    assert!(manager.because.contains("you manage Billing API, and no owner has marked"), "{manager:?}");
    // A link that acted would be followed by scanners of mail; this one leads to the page.
    assert!(manager.url.ends_with("/environments/production/security#seen"), "{manager:?}");
}

#[test]
fn a_person_is_told_of_what_was_switched_off() {
    let facts = json!({"account": "ada@example.com", "before": {"off": []}, "after": {"off": ["wake", "secret.rotated"]}});
    let message = Notification {
        client_id: None,
        client_name: None,
        environment: None,
        ..message(Action::OwnMessagesUpdated, facts)
    };
    let letter = letter(&message, "ada@example.com", BASE, &TimeZone::UTC).unwrap();
    let (_, text) = letter.render().unwrap();
    assert!(
        text.contains("All urgent messages, A secret was rotated")
            && letter.url.ends_with("/console/account"),
        "{text}"
    );
    assert_eq!(
        super::letter(&Notification { event: Action::SecretRotated, ..message }, "a@b", BASE, &TimeZone::UTC),
        None
    );
}

#[test]
fn messages_are_switched_off_or_on_by_what_is_sent() {
    let done = |before: Value, now: Value| {
        let (before, now) = (before.as_array().unwrap().clone(), now.as_array().unwrap().clone());
        clients::how_switched(&before, &now)
    };
    assert_eq!(done(json!([]), json!(["today"])), "switched off");
    assert_eq!(
        done(json!(["secret.expired"]), json!(["today"])),
        "switched off",
        "a class has all its kinds"
    );
    assert_eq!(done(json!(["today"]), json!(["secret.expired"])), "switched on");
    assert_eq!(done(json!(["wake"]), json!(["today"])), "changed");
    assert_eq!(done(json!(["today"]), json!(["today", "secret.expired"])), "changed", "without an effect");
}
