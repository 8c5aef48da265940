//! What a message about an event says: what happened, until when, and what to do next. Written when it is sent, from the
//! facts that were stored with the event.

mod clients;
mod digest;
mod drills;
mod handed_over;
mod personal;
mod secrets;
mod upstream;
mod webhooks;

use crossfade_core::{TimeZone, Timestamp, audit::Action};
use crossfade_outbound::Letter;
use crossfade_store::Notification;
use serde_json::Value;

/// Maximum length of a client's name in a subject.
const MAX_NAME: usize = 60;
/// Maximum number of characters of a text that anyone can have sent.
const MAX_STRANGER: usize = 120;

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
    let facts = Facts(&message.details);
    let is_about_webhook = matches!(message.event, Action::WebhookTested | Action::WebhookDisabled);
    // Only those who manage a webhook see more of it than its ID.
    let is_for_manager = !is_about_webhook || webhooks::may_manage(&facts, to);
    let named = message.client_name.as_deref().or_else(|| match is_for_manager {
        true => facts.text("name"),
        false => facts.text("webhook_id"),
    });
    let name = named.unwrap_or("a client");
    let said = match message.event {
        Action::SecretRotated if is_by_client(message) => secrets::rotated_itself(&facts, zone)?,
        Action::SecretRotated => secrets::rotated(&facts, message.created_at, zone)?,
        Action::SecretRevoked => secrets::revoked(&facts, message.created_at, zone),
        Action::SecretExtended => secrets::extended(&facts, zone)?,
        Action::SecretRolledBack => secrets::rolled_back(&facts, message.created_at, zone),
        Action::SecretExpired => secrets::expired(&facts, zone)?,
        Action::DeadlineNear => secrets::near(&facts, zone)?,
        Action::DrillScheduled => drills::scheduled(&facts, zone)?,
        Action::DrillStopped => drills::stopped(&facts),
        Action::DrillFinished => drills::finished(&facts)?,
        Action::RegistrationUpdated => clients::switched(&facts),
        Action::ClientUpdated => clients::owners(&facts, to),
        Action::ClientMessagesUpdated => clients::messages_switched(&facts),
        Action::ClientHandedOver => clients::handed_over(&facts, to)?,
        Action::ClientOwnerUpdated => clients::owner_updated(&facts)?,
        Action::LeakReported => secrets::leak(&facts)?,
        Action::EndedSecretPresented => secrets::presented(&facts, zone)?,
        Action::UpstreamCredentialRefused => upstream::refused(&facts, zone)?,
        Action::UpstreamCredentialAccepted => upstream::accepted(&facts, zone)?,
        Action::ClientDeleted => Said::new(
            "Client deleted",
            "A client was deleted",
            "All secrets of the client are refused from now on. Check that nothing still uses the client.",
        )
        .button("View all clients"),
        Action::WebhookTested => webhooks::tested(&facts)?,
        Action::WebhookDisabled => webhooks::disabled(&facts, to)?,
        _ => return None,
    };
    // The whole name is among the facts.
    let short = isolated(&short_name(name));
    let of = match &message.environment {
        Some(environment) => format!("{short} in {environment}"),
        None => short.clone(),
    };
    let mut facts = vec![(if is_about_webhook { "Webhook" } else { "Client" }, name.to_owned())];
    facts.extend(message.environment.iter().map(|environment| ("Environment", environment.to_string())));
    facts.extend(said.facts);
    if !has_no_author(message.event) {
        facts.extend(message.actor_name.iter().map(|actor| ("Done by", actor.clone())));
    }
    facts.extend(message.source.iter().map(|source| ("IP address", source.clone())));
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
        url: match message.details["client_id"].as_str() {
            Some(client) if !is_for_manager => format!("{base}/console/clients/{client}"),
            _ => url(message, base),
        },
        has_link: false,
        times: zone.sentence(),
        because: match is_owner(message, to) {
            _ if is_about_webhook => {
                "You receive this message because you manage the webhook or are an owner of its client."
                    .to_owned()
            }
            _ if message.event == Action::ClientOwnerUpdated && !is_recorded_owner(message, to) => {
                format!(
                    "You receive this message because you manage {short}, and no owner of it is notified any more."
                )
            }
            _ if is_manager(message, to) => {
                let why = match message.recipients.is_empty() {
                    true => "it has no owner who is notified",
                    false => "no owner has marked the transition as seen",
                };
                format!("You receive this message because you manage {short}, and {why}. {SWITCH_OFF}")
            }
            true if can_be_switched_off(message) => {
                format!("You receive this message because you are an owner of {short}. {SWITCH_OFF}")
            }
            true => format!("You receive this message because you are an owner of {short}."),
            false => format!("You receive this message because you were an owner of {short}."),
        },
    })
}

/// Whether a message is about an event that nobody caused on purpose.
fn has_no_author(event: Action) -> bool {
    matches!(
        event,
        Action::EndedSecretPresented | Action::UpstreamCredentialRefused | Action::UpstreamCredentialAccepted
    )
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
    if let Some(webhook) =
        message.details["webhook_id"].as_str().filter(|_| message.event != Action::ClientOwnerUpdated)
    {
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
                (Action::UpstreamCredentialRefused | Action::UpstreamCredentialAccepted, _) => {
                    format!("{page}/settings#upstream-credential")
                }
                (Action::RegistrationUpdated, _) if clients::is_self_rotation_alone(&facts) => {
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
fn can_be_switched_off(message: &Notification) -> bool {
    match message.event {
        Action::ClientUpdated
        | Action::ClientMessagesUpdated
        | Action::ClientHandedOver
        | Action::ClientOwnerUpdated => false,
        Action::SecretRotated => !is_by_client(message),
        _ => true,
    }
}

/// Whether the client itself did what the message is about.
fn is_by_client(message: &Notification) -> bool {
    message.actor_kind.as_deref() == Some("client")
}

/// Whether a recipient is told of a warning as a manager, and not as an owner.
fn is_manager(message: &Notification, to: &str) -> bool {
    message.event == Action::DeadlineNear && !is_recorded_owner(message, to)
}

/// Whether a recipient was an owner when the message was queued. A webhook is none by this, and has no line that says why.
fn is_recorded_owner(message: &Notification, to: &str) -> bool {
    message.recipients.iter().any(|owner| owner == to)
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

/// Returns address, user agent and instance of a refused caller.
fn described_caller(caller: &Value) -> String {
    let text = |name: &str| caller[name].as_str().filter(|text| !text.is_empty());
    let address = text("source_ip").map(str::to_owned);
    let sent = ["user_agent", "instance"].into_iter().filter_map(text).map(quoted);
    let parts: Vec<String> = address.into_iter().chain(sent).collect();
    if parts.is_empty() { "others".to_owned() } else { parts.join(", ") }
}

/// Returns text that anyone can have sent in quotes, cut off if it is long, so that nobody takes it for words of Crossfade, for
/// another line, or for a link: mail programs and chats make links of addresses that they find in a text.
fn quoted(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(MAX_STRANGER + 1)
        .map(|it| match it {
            '"' | '“' | '”' | '„' | '«' | '»' => '\'',
            it if it.is_control() || it.is_whitespace() => ' ',
            it => it,
        })
        .collect();
    if let Some((end, _)) = shown.char_indices().nth(MAX_STRANGER) {
        shown.truncate(end);
        shown.push('…');
    }
    format!("\"{}\"", unlinked(&shown))
}

/// Returns text that no program makes a link of: schemes and addresses are broken, and the dots before a letter, which hosts
/// have and versions have not.
fn unlinked(text: &str) -> String {
    let mut broken = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '.' | '。' | '．' | '｡' if rest.peek().is_some_and(|next| next.is_alphabetic()) => {
                broken.push_str("[.]")
            }
            ':' if rest.peek() == Some(&'/') => broken.push_str("[:]"),
            '@' => broken.push_str("[@]"),
            c => broken.push(c),
        }
    }
    broken
}

/// Returns a count such as `3 hours`.
fn count(number: i64, thing: &str) -> String {
    crate::wording::count(number.unsigned_abs(), thing)
}

#[cfg(test)]
mod tests;
