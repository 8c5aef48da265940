//! What a message about an event says: what happened, until when, and what to do next. Written when it is sent, from the
//! facts that were stored with the event.

mod digest;
mod handed_over;
mod personal;

use crossfade_core::{
    TimeZone, Timestamp,
    audit::Action,
    messages::{Class, Switch},
    webhook::WEBHOOK_NAMES,
};
use crossfade_outbound::Letter;
use crossfade_store::Notification;
use serde_json::Value;

/// Maximum length of a client's name in a subject.
const MAX_NAME: usize = 60;
/// Maximum number of callers that are named.
const MAX_CALLERS: usize = 5;

/// Maximum number of callers of an ended secret that are named.
const MAX_PRESENTING: usize = 3;
/// Maximum number of owners that are named.
const MAX_OWNERS: usize = 20;

/// Where a person switches a kind of message off.
const SWITCH_OFF: &str = "People with an account can switch off messages of this kind on their account page.";

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
    /// Whether the subject begins with the client, because a phone cuts off its end.
    names_client_first: bool,
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
            names_client_first: false,
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

    fn client_first(self) -> Self {
        Self { names_client_first: true, ..self }
    }

    fn fact(mut self, label: &'static str, value: impl Into<String>) -> Self {
        self.facts.push((label, value.into()));
        self
    }

    fn button(self, button: &'static str) -> Self {
        Self { button, ..self }
    }
}

/// Returns the letter to one recipient; `None` if the stored facts cannot be read. `base` is the base of the Console,
/// `zone` the time zone of the recipient.
pub(crate) fn letter(message: &Notification, to: &str, base: &str, zone: &TimeZone) -> Option<Letter> {
    if message.client_id.is_none() && message.details["webhook_id"].is_null() {
        return digest::letter(message, base, zone)
            .or_else(|| handed_over::letter(message, base, zone))
            .or_else(|| personal::letter(message, base, zone));
    }
    let named = message.client_name.as_deref().or_else(|| message.details["name"].as_str());
    let name = named.unwrap_or("a client");
    let facts = Facts(&message.details);
    let said = match message.event {
        Action::SecretRotated if message.actor_kind.as_deref() == Some("client") => {
            rotated_itself(&facts, zone)?
        }
        Action::SecretRotated => rotated(&facts, message.created_at, zone)?,
        Action::SecretRevoked => revoked(&facts, message.created_at, zone),
        Action::SecretExtended => extended(&facts, zone)?,
        Action::SecretRolledBack => rolled_back(message.created_at, zone),
        Action::SecretExpired => expired(&facts, zone)?,
        Action::DeadlineNear => near(&facts, zone)?,
        Action::DrillScheduled => drill_scheduled(&facts, zone)?,
        Action::DrillStopped => drill_stopped(&facts),
        Action::DrillFinished => drill_finished(&facts)?,
        Action::RegistrationUpdated => switched(&facts),
        Action::ClientUpdated => owners(&facts, to),
        Action::ClientMessagesUpdated => messages_switched(&facts),
        Action::ClientHandedOver => handed_over(&facts, to)?,
        Action::LeakReported => leak(&facts)?,
        Action::EndedSecretPresented => presented(&facts, zone)?,
        Action::ClientDeleted => Said::new(
            "Client deleted",
            "A client was deleted",
            "All secrets of the client are refused from now on. Check that nothing still uses the client.",
        )
        .button("View all clients"),
        Action::WebhookTested => tested(&facts)?,
        Action::WebhookDisabled => webhook_disabled(&facts, to)?,
        _ => return None,
    };
    // The whole name is among the facts.
    let short = isolated(&short_name(name));
    let of = match &message.environment {
        Some(environment) => format!("{short} in {environment}"),
        None => short.clone(),
    };
    let is_about_webhook = matches!(message.event, Action::WebhookTested | Action::WebhookDisabled);
    let mut facts = vec![(if is_about_webhook { "Webhook" } else { "Client" }, name.to_owned())];
    facts.extend(message.environment.iter().map(|environment| ("Environment", environment.to_string())));
    facts.extend(said.facts);
    facts.extend(message.actor_name.iter().map(|actor| ("Done by", actor.clone())));
    facts.extend(message.source.iter().map(|source| ("From", source.clone())));
    facts.extend(message.reason.iter().map(|reason| ("Reason", reason.clone())));
    facts.push(("Time", zone.at(message.created_at)));
    Some(Letter {
        subject: match said.names_client_first {
            true => format!("{of}: {}", said.subject),
            false => format!("{}: {of}", said.subject),
        },
        heading: format!("{}: {of}", said.heading),
        is_urgent: said.is_urgent,
        facts,
        groups: Vec::new(),
        next: said.next,
        button: said.button,
        url: match message.details["client_id"].as_str().filter(|_| is_about_webhook) {
            Some(client) if !may_manage(&Facts(&message.details), to) => {
                format!("{base}/console/clients/{client}")
            }
            _ => url(message, base),
        },
        has_link: false,
        times: zone.sentence(),
        because: match is_owner(message, to) {
            _ if is_about_webhook => {
                "You receive this message because you manage the webhook or are an owner of its client."
                    .to_owned()
            }
            _ if is_manager(message, to) => {
                format!(
                    "You receive this message because you manage {short}, and no owner has marked the transition as seen. {SWITCH_OFF}"
                )
            }
            true if can_be_switched_off(message.event) => {
                format!("You receive this message because you are an owner of {short}. {SWITCH_OFF}")
            }
            true => format!("You receive this message because you are an owner of {short}."),
            false => format!("You receive this message because you were an owner of {short}."),
        },
    })
}

/// Returns a name that does not change the order of the sentence around it: a name that is written from right to left is put
/// between the characters that isolate it (Unicode UAX #9).
fn isolated(name: &str) -> String {
    let is_right_to_left = |c: char| matches!(u32::from(c), 0x0590..=0x08ff | 0xfb1d..=0xfdff | 0xfe70..=0xfeff | 0x1_0800..=0x1_0fff | 0x1_e800..=0x1_efff);
    match name.chars().any(is_right_to_left) {
        true => format!("\u{2068}{name}\u{2069}"),
        false => name.to_owned(),
    }
}

/// Returns a name, cut off if it is long.
fn short_name(name: &str) -> String {
    match name.char_indices().nth(MAX_NAME) {
        None => name.to_owned(),
        Some((end, _)) => format!("{}…", name[..end].trim_end()),
    }
}

/// Returns the page that a letter leads to.
pub(super) fn url(message: &Notification, base: &str) -> String {
    if let Some(webhook) = message.details["webhook_id"].as_str() {
        return format!("{base}/console/webhooks/{webhook}");
    }
    match (&message.client_id, &message.environment) {
        (Some(client), Some(environment)) if message.event == Action::DeadlineNear => {
            format!("{base}/console/clients/{client}/environments/{environment}/security#seen")
        }
        (Some(client), Some(environment)) => {
            let page = format!("{base}/console/clients/{client}/environments/{environment}");
            let facts = Facts(&message.details);
            match (message.event, facts.text("secret_id")) {
                // Opens the dialog that ends the secret.
                (Action::LeakReported, Some(secret)) => format!("{page}/security?leaked={secret}"),
                // The switch of self-rotation.
                (Action::RegistrationUpdated, _) if is_self_rotation_alone(&facts) => {
                    format!("{page}/settings")
                }
                _ => format!("{page}/security"),
            }
        }
        (Some(client), None) if message.event != Action::ClientDeleted => {
            format!("{base}/console/clients/{client}")
        }
        _ => format!("{base}/console/clients"),
    }
}

/// Whether a message about a client can be switched off.
fn can_be_switched_off(event: Action) -> bool {
    !matches!(event, Action::ClientUpdated | Action::ClientMessagesUpdated | Action::ClientHandedOver)
}

/// Whether a recipient is told of a warning as a manager, and not as an owner.
fn is_manager(message: &Notification, to: &str) -> bool {
    message.event == Action::DeadlineNear && !message.recipients.iter().any(|owner| owner == to)
}

/// Whether a recipient is an owner after the event.
fn is_owner(message: &Notification, to: &str) -> bool {
    let facts = Facts(&message.details);
    match message.event {
        Action::ClientUpdated => has_owner(&facts.part("after"), to),
        Action::ClientHandedOver => has_owner(&facts, to),
        _ => true,
    }
}

fn has_owner(client: &Facts<'_>, to: &str) -> bool {
    client.list("owners").iter().any(|owner| owner.as_str() == Some(to))
}

fn rotated(facts: &Facts<'_>, at: Timestamp, zone: &TimeZone) -> Option<Said> {
    let deadline = facts.time("outgoing_expires_at")?;
    let said = match (facts.number("transition_hours")?, facts.0["superseded_secret_id"].is_string()) {
        (0, _) => Said::new(
            "Secret rotated, the old one is refused",
            "The secret was rotated, and the old secret is refused",
            "Change every caller to the new secret now.",
        )
        .urgent(true)
        .fact("Old secret", format!("refused since {}", zone.at(deadline))),
        (_, true) => Said::new(
            "Secret rotated, which ends the one before it",
            "The secret was rotated during a transition, and the secret before it is refused",
            format!(
                "Change every caller that still presents the secret of two rotations ago now, and all others before {}.",
                zone.at(deadline)
            ),
        )
        .urgent(true)
        .fact("Old secret", format!("valid until {}", zone.at(deadline)))
        .fact("Secret before that", format!("refused since {}", zone.at(at))),
        (hours, false) => Said::new(
            "Secret rotated",
            "The secret was rotated",
            format!(
                "Change every caller to the new secret before {}. The old secret is refused from then on.",
                zone.at(deadline)
            ),
        )
        .fact("Old secret", format!("valid until {}", zone.at(deadline)))
        .fact("Transition", count(hours, "hour")),
    };
    Some(if facts.flag("compromised") { said.fact("Old secret leaked", "yes") } else { said })
}

/// What is said when a client rotated its own secret, which whoever has stolen the secret can do, too.
fn rotated_itself(facts: &Facts<'_>, zone: &TimeZone) -> Option<Said> {
    let deadline = zone.at(facts.time("outgoing_expires_at")?);
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

fn revoked(facts: &Facts<'_>, at: Timestamp, zone: &TimeZone) -> Said {
    let next = "Callers that still present the old secret are refused. Check that every caller uses the current secret.";
    let said = Said::new("Old secret revoked", "The old secret was revoked", next)
        .fact("Old secret", format!("refused since {}", zone.at(at)));
    if facts.flag("compromised") { said.fact("Old secret leaked", "yes") } else { said }
}

fn extended(facts: &Facts<'_>, zone: &TimeZone) -> Option<Said> {
    let deadline = facts.time("expires_at")?;
    let next = format!("Change the remaining callers to the new secret before {}.", zone.at(deadline));
    let said = Said::new("Deadline extended", "The deadline of the old secret was extended", next)
        .fact("Old secret", format!("valid until {}", zone.at(deadline)));
    Some(match facts.time("expires_at_before") {
        Some(before) => said.fact("Earlier deadline", zone.at(before)),
        None => said,
    })
}

fn rolled_back(at: Timestamp, zone: &TimeZone) -> Said {
    let next =
        "Use the earlier secret, which is current again. Callers that present the new secret are refused.";
    Said::new("Rotation rolled back", "The rotation was rolled back", next)
        .urgent(true)
        .fact("New secret", format!("refused since {}", zone.at(at)))
}

fn expired(facts: &Facts<'_>, zone: &TimeZone) -> Option<Said> {
    let next = "Nothing needs to be done if every caller uses the new secret. Callers that still present the old secret are refused.";
    Some(
        Said::new("Old secret expired", "The old secret has expired", next)
            .fact("Old secret", format!("refused since {}", zone.at(facts.time("expires_at")?))),
    )
}

fn leak(facts: &Facts<'_>) -> Option<Said> {
    let (state, next) = match facts.0["state"].as_str()? {
        "retiring" => ("retiring", "Revoke the old secret now, and state that it has leaked."),
        _ => (
            "current",
            "Rotate the secret now with a transition period of 0, and state that it has leaked. The leaked secret is refused \
            from then on.",
        ),
    };
    let said = Said::new("Leaked secret reported", "A secret was reported as leaked", next).urgent(true);
    Some(
        said.fact("Leaked secret", state)
            .fact("Secret", facts.0["secret_id"].as_str()?)
            .button("View the secret"),
    )
}

fn presented(facts: &Facts<'_>, zone: &TimeZone) -> Option<Said> {
    let callers: Vec<String> =
        facts.list("callers").iter().take(MAX_PRESENTING).map(described_caller).collect();
    let count_of_callers = facts.number("caller_count").unwrap_or(0);
    let more = count_of_callers.saturating_sub(i64::try_from(callers.len()).unwrap_or(i64::MAX));
    let next = match (facts.flag("compromised"), callers.is_empty(), more > 0) {
        (false, true, _) => {
            "Find the callers under the change-over, or with crossfade audit failures if a newer transition runs, and change \
            them to the current secret. They are refused now."
        }
        (false, false, false) => "Change these callers to the current secret. They are refused now.",
        (false, false, true) => {
            "Change these callers to the current secret, and find the others under the change-over, or with crossfade audit \
            failures if a newer transition runs. They are refused now."
        }
        (true, ..) => {
            "The secret had leaked, so these can be attempts to misuse it. If they are callers of yours, change them to the \
            current secret. This is reported once."
        }
    };
    let minutes = facts.number("within_seconds")? / 60;
    let said = Said::new("Ended secret still presented", "An ended secret is still presented", next)
        .urgent(true)
        .fact("Old secret", format!("refused since {}", zone.at(facts.time("ended_at")?)))
        .fact(
            "Refused",
            format!("{} in {}", count(facts.number("tries")?, "time"), count(minutes, "minute")),
        );
    if callers.is_empty() {
        return Some(said);
    }
    let more = (more > 0).then(|| format!("and {more} more"));
    Some(said.fact("Callers", callers.into_iter().chain(more).collect::<Vec<_>>().join(";\n")))
}

/// Returns address, user agent and instance of a refused caller.
fn described_caller(caller: &Value) -> String {
    let parts = ["source_ip", "user_agent", "instance"].map(|name| caller[name].as_str());
    let parts: Vec<&str> = parts.into_iter().flatten().filter(|part| !part.is_empty()).collect();
    if parts.is_empty() { "others".to_owned() } else { parts.join(", ") }
}

fn near(facts: &Facts<'_>, zone: &TimeZone) -> Option<Said> {
    let deadline = zone.at(facts.time("expires_at")?);
    let or_never =
        |time: Option<Timestamp>| time.map_or_else(|| "none recorded".to_owned(), |time| zone.at(time));
    let next =
        format!("Change the remaining callers to the new secret before {deadline}, or extend the deadline.");
    let said = Said::new(
        &format!("old secret expires {deadline} and is still needed"),
        "The old secret expires soon and is still needed",
        next,
    )
    .client_first()
    .urgent(facts.number("hours_before")? <= 4)
    .fact("Old secret", format!("valid until {deadline}"))
    .fact("Callers left on the old secret", facts.number("callers_left")?.to_string())
    .fact("Last use of the old secret", or_never(facts.time("last_used_at")))
    .fact("First use of the new secret", or_never(facts.time("new_first_used_at")))
    .button("View and mark as seen");
    Some(said)
}

fn drill_scheduled(facts: &Facts<'_>, zone: &TimeZone) -> Option<Said> {
    let (starts, ends) = (facts.time("starts_at")?, facts.time("ends_at")?);
    let length = match facts.number("length_seconds")? {
        seconds if seconds % 60 == 0 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    };
    let next = "The old secret is refused in each window. Stop the drill if that causes an outage.";
    Some(
        Said::new("Drill scheduled", "A drill was scheduled for the old secret", next)
            .fact("First window begins", zone.at(starts))
            .fact("Last window ends", zone.at(ends))
            .fact("Windows", format!("{} of {length}", facts.number("repeat")?))
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
        said = said.fact("Refused caller", described_caller(caller));
    }
    let unrecorded = facts.number("unrecorded_seconds").unwrap_or(0);
    Some(match unrecorded {
        0 => said,
        seconds => said.fact("Without evidence", format!("{seconds} s of the windows")),
    })
}

/// Whether a registration was neither enabled nor disabled.
fn is_self_rotation_alone(facts: &Facts<'_>) -> bool {
    facts.part("before").flag("enabled") == facts.part("after").flag("enabled")
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
            "Anyone who has the secret can replace it from now on. If this was not intended, turn self-rotation off under OAuth settings.",
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
    said.fact("Owners", owner_names(after.list("owners"), facts)).button("View the client")
}

fn messages_switched(facts: &Facts<'_>) -> Said {
    let next = "Check that the owners still hear of what they must know.";
    Said::new("Messages switched on or off", "Messages about a client were switched on or off", next)
        .fact("Switched off", switched_off(facts.list("off")))
        .fact("Switched off before", switched_off(facts.list("off_before")))
        .button("View the client")
}

fn handed_over(facts: &Facts<'_>, to: &str) -> Option<Said> {
    let name = facts.text("user_name")?;
    let why = match facts.text("cause")? {
        "address_changed" => format!("The email address of {name} was changed."),
        _ => format!("The account of {name} was deleted."),
    };
    let was_owner = facts.list("owners_before").iter().any(|owner| owner.as_str() == Some(to));
    let said = match (was_owner, has_owner(facts, to)) {
        (false, true) => Said::new(
            "You take over a client",
            "You are now an owner of a client",
            "You are notified of rotations, deadlines and drills of this client from now on.",
        ),
        (true, false) if facts.text("cause")? == "account_deleted" => Said::new(
            "You are no longer an owner",
            "You are no longer an owner of a client",
            "You are not notified about this client any more. If this is wrong, tell a person who manages accounts now.",
        )
        .urgent(true),
        (true, false) => Said::new(
            "Messages go to another address",
            "Messages about a client go to another address",
            "If you did not ask for another address, tell a person who manages accounts now.",
        )
        .urgent(true),
        _ => Said::new(
            "An owner has gone",
            "The owners of a client were changed",
            "Check that the list is right. All owners are notified about the client.",
        ),
    };
    Some(
        said.fact("Owners", owner_names(facts.list("owners"), facts))
            .fact("Why", why)
            .button("View the client"),
    )
}

/// Returns the switches of a list as a text, in the words of the Console.
fn switched_off(words: &[Value]) -> String {
    let title = |word: &Value| {
        let word = word.as_str()?;
        let title = match Switch::parse(word) {
            Some(Switch::Class(Class::Wake)) => "All urgent messages",
            Some(Switch::Class(Class::Today)) => "All messages of the day",
            Some(Switch::Class(Class::Digest)) => "The weekly digest",
            Some(Switch::Kind(kind)) => kind.title().trim_end_matches('.'),
            // A word of another version.
            None => word,
        };
        Some(Value::from(title))
    };
    joined(&words.iter().filter_map(title).collect::<Vec<_>>())
}

/// Returns owners as a text, with the names of webhooks.
fn owner_names(owners: &[Value], facts: &Facts<'_>) -> String {
    let name = |owner: &Value| {
        let name = owner.as_str().and_then(|id| facts.0[WEBHOOK_NAMES][id].as_str());
        name.map_or_else(|| owner.clone(), |name| format!("{name} (webhook)").into())
    };
    joined(&owners.iter().map(name).collect::<Vec<_>>())
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

fn tested(facts: &Facts<'_>) -> Option<Said> {
    let next = "Nothing needs to be done. Messages about your clients look like this one.";
    facts.text("webhook_id")?;
    Some(Said::new("Test of a webhook", "This is a test of a webhook", next).button("View the webhook"))
}

/// Whether a recipient manages the webhook that a message is about. An owner of its client may not.
fn may_manage(facts: &Facts<'_>, to: &str) -> bool {
    let is_known = facts.0["managers"].is_array();
    !is_known || facts.list("managers").iter().any(|manager| manager.as_str() == Some(to))
}

fn webhook_disabled(facts: &Facts<'_>, to: &str) -> Option<Said> {
    let why = match facts.text("disabled_as")? {
        "gone" => "the receiver answered that it is gone (410)",
        _ => "all attempts of 5 days failed",
    };
    let (next, button) = match may_manage(facts, to) {
        true => (
            "Correct the URL or the receiver, enable the webhook, and replay the deliveries that are missing.",
            "View the webhook",
        ),
        false => (
            "The webhook gets no messages about the client. Ask a person who manages the webhook to correct and enable it.",
            "View the client",
        ),
    };
    let said = Said::new("Webhook disabled", "A webhook was disabled", next).urgent(true);
    let said = match facts.text("client") {
        Some(client) => said.fact("Client", client),
        None => said,
    };
    Some(
        said.fact("Receiver", facts.text("host")?)
            .fact("Why", why)
            .fact("Last failure", facts.text("last_error")?)
            .button(button),
    )
}

/// Returns a count such as `3 hours`.
fn count(number: i64, thing: &str) -> String {
    crate::wording::count(number.unsigned_abs(), thing)
}

#[cfg(test)]
mod tests;
