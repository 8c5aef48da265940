//! What a message about an event says: what happened, until when, and what to do next. Written when it is sent, from the
//! facts that were stored with the event.

use crossfade_core::{Timestamp, audit::Action};
use crossfade_outbound::Letter;
use crossfade_store::Notification;
use serde_json::Value;

/// Maximum length of a client's name in a subject.
const MAX_NAME: usize = 60;
/// Maximum number of callers that are named.
const MAX_CALLERS: usize = 5;

/// Facts of an event, as stored.
struct Facts<'a>(&'a Value);

impl<'a> Facts<'a> {
    fn time(&self, name: &str) -> Option<Timestamp> {
        Timestamp::parse(self.0[name].as_str()?).ok()
    }

    fn number(&self, name: &str) -> Option<i64> {
        self.0[name].as_i64()
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        self.0[name].as_str()
    }

    fn flag(&self, name: &str) -> bool {
        self.0[name].as_bool().unwrap_or(false)
    }

    fn part(&self, name: &str) -> Facts<'a> {
        Facts(&self.0[name])
    }

    fn list(&self, name: &str) -> &'a [Value] {
        self.0[name].as_array().map_or(&[], Vec::as_slice)
    }
}

/// What is said about one kind of event.
struct Said {
    /// Subject, before the client and the environment.
    subject: String,
    /// Heading, after which the client and the environment are named.
    heading: String,
    is_urgent: bool,
    facts: Vec<(&'static str, String)>,
    next: String,
    button: &'static str,
}

impl Said {
    fn new(subject: &str, heading: &str, next: impl Into<String>) -> Self {
        Self {
            subject: subject.to_owned(),
            heading: heading.to_owned(),
            is_urgent: false,
            facts: Vec::new(),
            next: next.into(),
            button: "View the change-over",
        }
    }

    fn urgent(self, is_urgent: bool) -> Self {
        Self { is_urgent, ..self }
    }

    fn fact(mut self, label: &'static str, value: impl Into<String>) -> Self {
        self.facts.push((label, value.into()));
        self
    }

    fn button(self, button: &'static str) -> Self {
        Self { button, ..self }
    }
}

/// Returns the letter to one recipient; `None` if the stored facts cannot be read. `base` is the base of the Console.
pub(crate) fn letter(message: &Notification, to: &str, base: &str) -> Option<Letter> {
    let named = message.client_name.as_deref().or_else(|| message.details["name"].as_str());
    let name = named.unwrap_or("a client");
    let facts = Facts(&message.details);
    let said = match message.event {
        Action::SecretRotated if message.actor_kind.as_deref() == Some("client") => rotated_itself(&facts)?,
        Action::SecretRotated => rotated(&facts, message.created_at)?,
        Action::SecretRevoked => revoked(&facts, message.created_at),
        Action::SecretExtended => extended(&facts)?,
        Action::SecretRolledBack => rolled_back(message.created_at),
        Action::SecretExpired => expired(&facts)?,
        Action::DeadlineNear => near(&facts)?,
        Action::DrillScheduled => drill_scheduled(&facts)?,
        Action::DrillStopped => drill_stopped(&facts),
        Action::DrillFinished => drill_finished(&facts)?,
        Action::RegistrationUpdated => switched(&facts),
        Action::ClientUpdated => owners(&facts, to),
        Action::ClientDeleted => Said::new(
            "Client deleted",
            "A client was deleted",
            "All secrets of the client are refused from now on. Check that nothing still uses the client.",
        )
        .button("View all clients"),
        Action::WebhookTested => tested(&facts)?,
        Action::WebhookDisabled => webhook_disabled(&facts)?,
        _ => return None,
    };
    let short: String = name.chars().take(MAX_NAME).collect();
    let short = if short.len() < name.len() { format!("{}…", short.trim_end()) } else { short };
    let (of, place) = match &message.environment {
        Some(environment) => (format!("{short} in {environment}"), format!("{name} in {environment}")),
        None => (short, name.to_owned()),
    };
    let is_about_webhook = matches!(message.event, Action::WebhookTested | Action::WebhookDisabled);
    let mut facts = vec![(if is_about_webhook { "Webhook" } else { "Client" }, name.to_owned())];
    facts.extend(message.environment.iter().map(|environment| ("Environment", environment.to_string())));
    facts.extend(said.facts);
    facts.extend(message.actor_name.iter().map(|actor| ("Done by", actor.clone())));
    facts.extend(message.source.iter().map(|source| ("From", source.clone())));
    facts.extend(message.reason.iter().map(|reason| ("Reason", reason.clone())));
    facts.push(("Time", utc(message.created_at)));
    Some(Letter {
        subject: format!("{}: {of}", said.subject),
        heading: format!("{}: {place}", said.heading),
        is_urgent: said.is_urgent,
        facts,
        next: said.next,
        button: said.button,
        url: url(message, base),
        because: match is_owner(message, to) {
            _ if is_about_webhook => {
                "You receive this message because you manage the webhook or are an owner of its client."
                    .to_owned()
            }
            true => format!("You receive this message because you are an owner of {name}."),
            false => format!("You receive this message because you were an owner of {name}."),
        },
    })
}

/// Returns the page that a letter leads to.
pub(super) fn url(message: &Notification, base: &str) -> String {
    if let Some(webhook) = message.details["webhook_id"].as_str() {
        return format!("{base}/console/webhooks/{webhook}");
    }
    match (&message.client_id, &message.environment) {
        (Some(client), Some(environment)) => {
            format!("{base}/console/clients/{client}/environments/{environment}/security")
        }
        (Some(client), None) if message.event != Action::ClientDeleted => {
            format!("{base}/console/clients/{client}")
        }
        _ => format!("{base}/console/clients"),
    }
}

/// Whether a recipient is an owner after the event.
fn is_owner(message: &Notification, to: &str) -> bool {
    message.event != Action::ClientUpdated || has_owner(&Facts(&message.details).part("after"), to)
}

fn has_owner(client: &Facts<'_>, to: &str) -> bool {
    client.list("owners").iter().any(|owner| owner.as_str() == Some(to))
}

fn rotated(facts: &Facts<'_>, at: Timestamp) -> Option<Said> {
    let deadline = facts.time("outgoing_expires_at")?;
    let said = match (facts.number("transition_hours")?, facts.0["superseded_secret_id"].is_string()) {
        (0, _) => Said::new(
            "Secret rotated, the old one is refused",
            "The secret was rotated, and the old secret is refused",
            "Change every caller to the new secret now.",
        )
        .urgent(true)
        .fact("Old secret", format!("refused since {}", utc(deadline))),
        (_, true) => Said::new(
            "Secret rotated, which ends the one before it",
            "The secret was rotated during a transition, and the secret before it is refused",
            format!(
                "Change every caller that still presents the secret of two rotations ago now, and all others before {}.",
                utc(deadline)
            ),
        )
        .urgent(true)
        .fact("Old secret", format!("valid until {}", utc(deadline)))
        .fact("Secret before that", format!("refused since {}", utc(at))),
        (hours, false) => Said::new(
            "Secret rotated",
            "The secret was rotated",
            format!(
                "Change every caller to the new secret before {}. The old secret is refused from then on.",
                utc(deadline)
            ),
        )
        .fact("Old secret", format!("valid until {}", utc(deadline)))
        .fact("Transition", count(hours, "hour")),
    };
    Some(if facts.flag("compromised") { said.fact("Old secret leaked", "yes") } else { said })
}

/// What is said when a client rotated its own secret, which whoever has stolen the secret can do, too.
fn rotated_itself(facts: &Facts<'_>) -> Option<Said> {
    let deadline = utc(facts.time("outgoing_expires_at")?);
    let next = format!(
        "If the client did not do this, roll the rotation back, and then rotate with the old secret marked as leaked. Otherwise \
         change its other instances to the new secret before {deadline}."
    );
    Some(
        Said::new("The client rotated its own secret", "The client rotated its own secret", next)
            .urgent(true)
            .fact("Old secret", format!("valid until {deadline}")),
    )
}

fn revoked(facts: &Facts<'_>, at: Timestamp) -> Said {
    let next = "Callers that still present the old secret are refused. Check that every caller uses the current secret.";
    let said = Said::new("Old secret revoked", "The old secret was revoked", next)
        .fact("Old secret", format!("refused since {}", utc(at)));
    if facts.flag("compromised") { said.fact("Old secret leaked", "yes") } else { said }
}

fn extended(facts: &Facts<'_>) -> Option<Said> {
    let deadline = facts.time("expires_at")?;
    let next = format!("Change the remaining callers to the new secret before {}.", utc(deadline));
    let said = Said::new("Deadline extended", "The deadline of the old secret was extended", next)
        .fact("Old secret", format!("valid until {}", utc(deadline)));
    Some(match facts.time("expires_at_before") {
        Some(before) => said.fact("Earlier deadline", utc(before)),
        None => said,
    })
}

fn rolled_back(at: Timestamp) -> Said {
    let next =
        "Use the earlier secret, which is current again. Callers that present the new secret are refused.";
    Said::new("Rotation rolled back", "The rotation was rolled back", next)
        .urgent(true)
        .fact("New secret", format!("refused since {}", utc(at)))
}

fn expired(facts: &Facts<'_>) -> Option<Said> {
    let next = "Nothing needs to be done if every caller uses the new secret. Callers that still present the old secret are refused.";
    Some(
        Said::new("Old secret expired", "The old secret has expired", next)
            .fact("Old secret", format!("refused since {}", utc(facts.time("expires_at")?))),
    )
}

fn near(facts: &Facts<'_>) -> Option<Said> {
    let deadline = utc(facts.time("expires_at")?);
    let or_never = |time: Option<Timestamp>| time.map_or_else(|| "none recorded".to_owned(), utc);
    let next =
        format!("Change the remaining callers to the new secret before {deadline}, or extend the deadline.");
    let said = Said::new(
        &format!("Old secret expires {deadline} and is still needed"),
        "The old secret expires soon and is still needed",
        next,
    )
    .urgent(facts.number("hours_before")? <= 4)
    .fact("Old secret", format!("valid until {deadline}"))
    .fact("Callers left on the old secret", facts.number("callers_left")?.to_string())
    .fact("Last use of the old secret", or_never(facts.time("last_used_at")))
    .fact("First use of the new secret", or_never(facts.time("new_first_used_at")));
    Some(said)
}

fn drill_scheduled(facts: &Facts<'_>) -> Option<Said> {
    let (starts, ends) = (facts.time("starts_at")?, facts.time("ends_at")?);
    let minutes = facts.number("length_seconds")? / 60;
    let next = "The old secret is refused in each window. Stop the drill if that causes an outage.";
    Some(
        Said::new("Drill scheduled", "A drill was scheduled for the old secret", next)
            .fact("First window begins", utc(starts))
            .fact("Last window ends", utc(ends))
            .fact("Windows", format!("{} of {minutes} min", facts.number("repeat")?))
            .button("View the drill"),
    )
}

fn drill_stopped(facts: &Facts<'_>) -> Said {
    let next = match facts.text("stopped_as") {
        None | Some("stopped") => {
            "The old secret is accepted again until its deadline. Nothing needs to be done."
        }
        Some(_) => "Another change of the secret or of its client ended the drill. Nothing needs to be done.",
    };
    Said::new("Drill stopped", "The drill was stopped", next).button("View the drill")
}

fn drill_finished(facts: &Facts<'_>) -> Option<Said> {
    let callers = facts.number("caller_count")?;
    let next = match callers {
        0 => "No caller was refused. Check the change-over before you end the old secret.".to_owned(),
        _ => "Change these callers to the new secret before the deadline.".to_owned(),
    };
    let found = match callers {
        0 => "The drill has ended and refused no caller".to_owned(),
        _ => format!("The drill has ended and refused {}", count(callers, "caller")),
    };
    let mut said = Said::new(&format!("Drill ended, {} refused", count(callers, "caller")), &found, next)
        .urgent(callers > 0)
        .fact("Refusals", facts.number("refusal_count")?.to_string())
        .button("View the drill");
    for caller in facts.list("callers").iter().take(MAX_CALLERS) {
        let parts = ["source_ip", "user_agent", "instance"].map(|name| caller[name].as_str());
        let parts: Vec<&str> = parts.into_iter().flatten().filter(|part| !part.is_empty()).collect();
        said = said
            .fact("Refused caller", if parts.is_empty() { "others".to_owned() } else { parts.join(", ") });
    }
    let unrecorded = facts.number("unrecorded_seconds").unwrap_or(0);
    Some(match unrecorded {
        0 => said,
        seconds => said.fact("Without evidence", format!("{seconds} s of the windows")),
    })
}

fn switched(facts: &Facts<'_>) -> Said {
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
            "The client may rotate its own secret",
            "Whoever has the secret can replace it from now on. If this was not intended, turn it off.",
        )
        .urgent(true),
        (false, _) => Said::new(
            "Self-rotation turned off",
            "The client may not rotate its own secret any more",
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

fn owners(facts: &Facts<'_>, to: &str) -> Said {
    let (before, after) = (facts.part("before"), facts.part("after"));
    let said = match (has_owner(&before, to), has_owner(&after, to)) {
        (false, true) => Said::new(
            "You are an owner",
            "You are now an owner of a client",
            "You are notified of rotations, deadlines and drills of this client from now on.",
        ),
        (true, false) => Said::new(
            "You are no owner any more",
            "You are no longer an owner of a client",
            "You are not notified about this client any more. If this is wrong, ask the person who changed the owners.",
        ),
        _ => Said::new(
            "Owners changed",
            "The owners of a client were changed",
            "Check that the list is right. All owners are notified about the client.",
        ),
    };
    let list: Vec<&str> = after.list("owners").iter().filter_map(Value::as_str).collect();
    let list = if list.is_empty() { "none".to_owned() } else { list.join(", ") };
    said.fact("Owners", list).button("View the client")
}

fn tested(facts: &Facts<'_>) -> Option<Said> {
    let next = "Nothing needs to be done. Messages about your clients look like this one.";
    facts.text("webhook_id")?;
    Some(Said::new("Test of a webhook", "This is a test of a webhook", next).button("View the webhook"))
}

fn webhook_disabled(facts: &Facts<'_>) -> Option<Said> {
    let why = match facts.text("disabled_as")? {
        "gone" => "the receiver answered that it is gone (410)",
        _ => "all attempts of 5 days failed",
    };
    let next =
        "Correct the URL or the receiver, enable the webhook, and replay the deliveries that are missing.";
    Some(
        Said::new("Webhook disabled", "A webhook was disabled", next)
            .urgent(true)
            .fact("Receiver", facts.text("host")?)
            .fact("Why", why)
            .fact("Last failure", facts.text("last_error")?)
            .button("View the webhook"),
    )
}

/// Returns a count such as `3 hours`.
fn count(number: i64, thing: &str) -> String {
    crate::wording::count(number.unsigned_abs(), thing)
}

/// Returns a time such as `24 Nov 2026, 13:05 UTC`. Seconds are cut off, so that no shown deadline is too late.
fn utc(time: Timestamp) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let text = time.to_string();
    let month = text[5..7].parse::<usize>().ok().and_then(|month| MONTHS.get(month.wrapping_sub(1)));
    let day = text[8..10].trim_start_matches('0');
    format!("{day} {} {}, {} UTC", month.unwrap_or(&""), &text[..4], &text[11..16])
}

#[cfg(test)]
mod tests;
