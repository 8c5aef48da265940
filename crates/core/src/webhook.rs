//! Webhooks: which messages one gets, when a failed delivery is tried again, when a webhook is disabled, and which
//! signing secrets sign. Pure functions of what is stored and the time.

mod open;

pub use open::{INCIDENT, OpenIncident, OpenWhile};

use crate::{
    RegistrationId, SecretId, Timestamp,
    audit::{Action, Event, details_schemas},
    environment::Slug,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;

/// Version of the payloads.
pub const PAYLOAD_VERSION: u32 = 1;
/// Maximum number of webhooks of the platform, of one property or of one client.
pub const MAX_WEBHOOKS: i64 = 20;
/// Maximum length of a URL in bytes.
pub const MAX_URL: usize = 2000;
/// Maximum hours for which an earlier signing secret signs beside the new one.
pub const MAX_OVERLAP_HOURS: u64 = 168;
/// Number of random bytes of a signing secret.
pub const SIGNING_SECRET_BYTES: usize = 32;
/// Where PagerDuty takes events, unless another URL is set.
pub const PAGERDUTY_URL: &str = "https://events.pagerduty.com/v2/enqueue";
/// How long a delivery can wait for its attempts. The schedule takes three days and a few hours.
pub const TRIED_FOR: Duration = Duration::from_secs(5 * 86_400);
/// How long every attempt must have failed until the webhook is disabled.
pub const DISABLED_AFTER: Duration = Duration::from_secs(5 * 86_400);

/// How long a webhook fails before people are told on the Overview.
pub const TOLD_AFTER: Duration = Duration::from_secs(15 * 60);
/// Maximum time that a receiver can ask to wait.
const MAX_ASKED: Duration = Duration::from_secs(86_400);
/// Seconds from each failed attempt to the next.
const SCHEDULE: [u64; 9] = [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400];

/// Member of the facts of an end that names the subject of an incident which it resolves, and nothing else.
pub const RESOLVES: &str = "resolves";

/// Member of the facts of a message with the names of the webhooks among the owners, by their IDs, each with the recipients
/// who can manage it. For their mail alone, and in no payload.
pub const WEBHOOK_NAMES: &str = "webhook_names";

/// Member of the facts of a message with the URL that it is sent to once, instead of the present one of its webhook. In no
/// payload.
pub const EARLIER_URL: &str = "earlier_url";

/// Member of the facts of a message to a person with the names of all clients that it is about. In no payload.
pub const CLIENT_NAMES: &str = "client_names";

/// Beginning of the subject of the incident that a leaked secret opens. The secret alone is the subject of its deadline.
const LEAK: &str = "leak:";

/// Beginning of the subject of the incident that ended secrets open which are still presented. The registration alone is the
/// subject of its being disabled.
const PRESENTED: &str = "presented:";

/// Beginning of the subject of the incident that a refused upstream credential opens.
const UPSTREAM: &str = "upstream:";

/// Returns the subject of the incident that ended secrets of a registration open which are still presented.
pub fn presented_subject(registration: &RegistrationId) -> String {
    format!("{PRESENTED}{registration}")
}

/// Returns the subject of the incident that a leaked secret opens.
pub fn leak_subject(secret: &SecretId) -> String {
    format!("{LEAK}{secret}")
}

/// Returns the secrets that have ended with an event.
pub fn secrets_ended_by(event: &Event) -> Vec<&SecretId> {
    match event {
        Event::SecretRevoked { secret_id, .. } | Event::SecretExpired { secret_id, .. } => vec![secret_id],
        Event::SecretRolledBack { revoked_secret_id, .. } => vec![revoked_secret_id],
        Event::SecretRotated { transition_hours, outgoing_secret_id, superseded_secret_id, .. } => {
            let outgoing = (transition_hours.hours() == 0).then_some(outgoing_secret_id);
            outgoing.into_iter().chain(superseded_secret_id).collect()
        }
        _ => Vec::new(),
    }
}

/// Form of the body of a delivery.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WebhookFormat {
    /// A JSON payload with the facts of the event, for programs.
    #[default]
    Standard,
    /// A message for an incoming webhook of Slack.
    Slack,
    /// A card for a workflow of Microsoft Teams.
    Teams,
    /// An event for PagerDuty (Events API v2).
    Pagerduty,
}

impl WebhookFormat {
    /// All formats.
    pub const ALL: [Self; 4] = [Self::Standard, Self::Slack, Self::Teams, Self::Pagerduty];

    /// Returns the word that is stored and sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Slack => "slack",
            Self::Teams => "teams",
            Self::Pagerduty => "pagerduty",
        }
    }

    /// Reads the word for a format.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.as_str() == text)
    }

    /// Whether it can say everything that happens to a client. PagerDuty gets incidents, and a rotation is none.
    pub fn says_everything(self) -> bool {
        self != Self::Pagerduty
    }
}

/// Why a webhook is disabled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DisabledAs {
    /// A person or program disabled it.
    Disabled,
    /// The receiver answered 410 Gone.
    Gone,
    /// Every attempt of 5 days failed.
    Failing,
}

impl DisabledAs {
    /// Returns the word that is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Gone => "gone",
            Self::Failing => "failing",
        }
    }

    /// Reads a stored word.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Disabled, Self::Gone, Self::Failing].into_iter().find(|reason| reason.as_str() == text)
    }
}

/// Kinds of messages that a webhook can choose.
pub const KINDS: &[Action] = &[
    Action::SecretRotated,
    Action::SecretExtended,
    Action::SecretRevoked,
    Action::SecretRolledBack,
    Action::SecretExpired,
    Action::DeadlineNear,
    Action::DrillScheduled,
    Action::DrillStopped,
    Action::DrillFinished,
    Action::RegistrationUpdated,
    Action::ClientUpdated,
    Action::ClientHandedOver,
    Action::ClientOwnerUpdated,
    Action::ClientMessagesUpdated,
    Action::ClientDeleted,
    Action::LeakReported,
    Action::EndedSecretPresented,
    Action::UpstreamCredentialRefused,
    Action::UpstreamCredentialAccepted,
];

/// Returns the kind of a message that a webhook can choose.
pub fn parse_kind(text: &str) -> Option<Action> {
    KINDS.iter().copied().find(|kind| kind.as_str() == text)
}

/// Returns the type of the payload of a message.
pub fn payload_type(event: Action) -> &'static str {
    match event {
        Action::WebhookTested => "webhook.test",
        event => event.as_str(),
    }
}

/// What a webhook has chosen.
#[derive(Clone, Copy, Debug)]
pub struct Choice<'a> {
    /// Environments; empty: all.
    pub environments: &'a [Slug],
    /// Kinds; empty: all.
    pub events: &'a [Action],
    /// Form of its bodies.
    pub format: WebhookFormat,
}

impl Choice<'_> {
    /// Whether the webhook gets a message about this event. With a list of environments, messages about the client as a
    /// whole are left out.
    pub fn includes(&self, event: Action, environment: Option<&Slug>, details: &Value) -> bool {
        let in_environment =
            self.environments.is_empty() || environment.is_some_and(|it| self.environments.contains(it));
        let is_chosen = self.events.is_empty() || self.events.contains(&event);
        if self.format.says_everything() {
            return in_environment && is_chosen;
        }
        // PagerDuty is for what opens or closes an incident, and what opens one is chosen with all that closes it.
        let Some(incident) = Incident::of(event, details) else { return false };
        let closes_chosen = incident.severity.is_none()
            && opened_by(event, details).iter().any(|it| self.events.contains(it));
        in_environment && (is_chosen || closes_chosen)
    }
}

/// Whether a message still leaves to a webhook with this choice, whenever it was queued: whoever manages the chosen environments
/// manages the webhook and its URL. A test is about none, and what resolves an incident at PagerDuty is sent wherever it was
/// opened.
pub fn may_leave(choice: Choice<'_>, event: Action, environment: Option<&Slug>, details: &Value) -> bool {
    let resolves = || {
        !choice.format.says_everything()
            && Incident::of(event, details).is_some_and(|incident| incident.severity.is_none())
    };
    choice.environments.is_empty()
        || environment.is_some_and(|it| choice.environments.contains(it))
        || event == Action::WebhookTested
        || resolves()
}

/// Returns the kinds of events whose incidents an event can resolve.
fn opened_by(event: Action, details: &Value) -> &'static [Action] {
    match event {
        _ if details[RESOLVES].as_str().is_some_and(|subject| subject.starts_with(LEAK)) => {
            &[Action::LeakReported]
        }
        _ if details[RESOLVES].as_str().is_some_and(|subject| subject.starts_with(PRESENTED)) => {
            &[Action::EndedSecretPresented]
        }
        _ if details[RESOLVES].as_str().is_some_and(|subject| subject.starts_with(UPSTREAM)) => {
            &[Action::UpstreamCredentialRefused]
        }
        Action::UpstreamCredentialAccepted => &[Action::UpstreamCredentialRefused],
        Action::DrillStopped | Action::DrillFinished => &[Action::DrillScheduled],
        Action::RegistrationUpdated => &[Action::RegistrationUpdated],
        Action::ClientDeleted => &[Action::DeadlineNear, Action::RegistrationUpdated],
        _ => &[Action::DeadlineNear],
    }
}

/// What PagerDuty does with an event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Incident {
    /// Key under which PagerDuty finds the incident again: the subject, which is the same for the event that resolves it.
    pub subject: String,
    /// How urgent the incident is; `None` if the event resolves it.
    pub severity: Option<&'static str>,
}

impl Incident {
    /// Returns what an event opens or resolves; `None` if it does neither. Each that is opened has events that resolve it,
    /// except for a test.
    pub fn of(event: Action, details: &Value) -> Option<Self> {
        let text = |name: &str| details[name].as_str().map(str::to_owned);
        let opens = |subject, severity| Some(Self { subject, severity: Some(severity) });
        let resolves = |subject| Some(Self { subject, severity: None });
        if let Some(subject) = text(RESOLVES) {
            return resolves(subject);
        }
        match event {
            // Anyone who has the secret can use it until it ends.
            Action::LeakReported => opens(format!("{LEAK}{}", text("secret_id")?), "critical"),
            // Callers are refused. Whichever ended secrets they present, it is one incident.
            Action::EndedSecretPresented => {
                opens(format!("{PRESENTED}{}", text("registration_id")?), "error")
            }
            // Callers get no tokens, whatever secret they present.
            Action::UpstreamCredentialRefused => {
                opens(format!("{UPSTREAM}{}", text("registration_id")?), "critical")
            }
            Action::UpstreamCredentialAccepted => resolves(format!("{UPSTREAM}{}", text("registration_id")?)),
            // The old secret is still needed: its deadline is the subject.
            Action::DeadlineNear => {
                let severity = match details["hours_before"].as_i64()? {
                    ..=1 => "critical",
                    2..=4 => "error",
                    _ => "warning",
                };
                opens(text("secret_id")?, severity)
            }
            Action::SecretExtended | Action::SecretRevoked | Action::SecretExpired => {
                resolves(text("secret_id")?)
            }
            // The old secret is current again.
            Action::SecretRolledBack => resolves(text("current_secret_id")?),
            // A newer rotation ended the running transition.
            Action::SecretRotated => resolves(text("superseded_secret_id")?),
            Action::DrillScheduled => opens(text("drill_id")?, "info"),
            Action::DrillStopped | Action::DrillFinished => resolves(text("drill_id")?),
            Action::RegistrationUpdated => {
                let registration = details["after"]["id"].as_str()?.to_owned();
                match details["after"]["enabled"].as_bool()? {
                    false => opens(registration, "warning"),
                    true => resolves(registration),
                }
            }
            Action::WebhookTested => opens(text("webhook_id")?, "info"),
            _ => None,
        }
    }
}

/// Returns the time until the next attempt, after this number of failed ones; `None` if there is none. `asked` is how long
/// the receiver asks to wait.
pub fn retry_after(attempts: i64, asked: Option<Duration>) -> Option<Duration> {
    let index = usize::try_from(attempts.saturating_sub(1)).unwrap_or(0);
    let pause = Duration::from_secs(*SCHEDULE.get(index)?);
    Some(pause.max(asked.unwrap_or_default().min(MAX_ASKED)))
}

/// Failures of a webhook without a success in between.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Failing {
    /// First failure.
    pub since: Timestamp,
    /// Last failure.
    pub last: Timestamp,
}

impl Failing {
    /// Returns the failures after one more at `now`.
    pub fn after(before: Option<Self>, now: Timestamp) -> Self {
        Self { since: before.map_or(now, |before| before.since), last: now }
    }

    /// Whether they have gone on for so long that people are told.
    pub fn is_lasting(self, now: Timestamp) -> bool {
        self.since.after(TOLD_AFTER) <= now
    }

    /// Whether they have gone on for so long that the webhook is disabled.
    pub fn is_too_long(self) -> bool {
        self.last >= self.since.after(DISABLED_AFTER)
    }
}

/// Whether an earlier signing secret that signs until `until` signs at `now`.
pub fn still_signs(until: Option<Timestamp>, now: Timestamp) -> bool {
    until.is_some_and(|until| now < until)
}

/// Body of a delivery in the format `standard`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct WebhookPayload {
    /// Type of the event.
    #[serde(rename = "type")]
    pub kind: String,
    /// Version of the payload of this type. New members can appear within a version.
    pub version: u32,
    /// When the event happened.
    pub timestamp: Timestamp,
    /// Number among the messages about its registration, which shows their order; `null` if the event concerns no single
    /// registration. Numbers can be missing.
    pub number: Option<i64>,
    /// Facts.
    pub data: WebhookData,
}

/// Facts of a delivery.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct WebhookData {
    /// Client that the event concerns; `null` for a test of a webhook that belongs to no client.
    pub client: Option<WebhookClient>,
    /// Environment that the event concerns; `null` if it concerns the client as a whole.
    pub environment: Option<String>,
    /// Name of the person, program or policy that acted.
    pub actor: Option<String>,
    /// Reason that was given.
    pub reason: Option<String>,
    /// Page of the Console about it.
    pub url: String,
    /// Facts of the audit event. Never a secret.
    pub details: Value,
}

/// A client in a delivery.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct WebhookClient {
    /// ID.
    pub id: String,
    /// Name at the time of the event.
    pub name: String,
}

/// Returns the JSON Schema of every payload.
pub fn payload_schemas() -> Value {
    let mut generator = schemars::generate::SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator();
    let details = details_schemas(&mut generator);
    let payload = generator.subschema_for::<WebhookPayload>().to_value();
    let of = |kind: Action| {
        let mut schema = payload.clone();
        let facts = details.iter().find(|(action, _)| *action == kind).map(|(_, schema)| schema);
        schema["title"] = json!(payload_type(kind));
        schema["description"] = json!(kind.title());
        schema["properties"]["type"] = json!({"type": "string", "const": payload_type(kind)});
        schema["properties"]["version"] = json!({"type": "integer", "const": PAYLOAD_VERSION});
        schema["properties"]["data"]["properties"]["details"] = json!(facts);
        schema
    };
    let kinds = KINDS.iter().copied().chain([Action::WebhookTested]);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Crossfade webhooks",
        "description": "Bodies of webhooks in the format standard.",
        "oneOf": kinds.map(of).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    #[test]
    fn attempts_follow_the_schedule_of_standard_webhooks() {
        let minutes = |attempts| retry_after(attempts, None).map(|pause| pause.as_secs());
        assert_eq!([1, 2, 3, 4].map(minutes), [Some(5), Some(300), Some(1800), Some(7200)]);
        assert_eq!([5, 6, 7, 8].map(minutes), [Some(18_000), Some(36_000), Some(50_400), Some(72_000)]);
        assert_eq!([9, 10, 11, i64::MAX].map(minutes), [Some(86_400), None, None, None]);
        assert_eq!([0, -1, i64::MIN].map(minutes), [Some(5); 3]);
        assert!(SCHEDULE.iter().sum::<u64>() < TRIED_FOR.as_secs());
    }

    #[test]
    fn a_receiver_can_ask_for_more_time_but_not_for_less_or_for_ever() {
        let asked = |seconds| retry_after(2, Some(Duration::from_secs(seconds))).unwrap().as_secs();
        assert_eq!(
            [0, 299, 301, 86_400, 86_401, u64::MAX].map(asked),
            [300, 300, 301, 86_400, 86_400, 86_400]
        );
        assert_eq!(retry_after(10, Some(Duration::from_secs(1))), None);
    }

    #[test]
    fn failures_of_five_days_disable_at_that_second() {
        let day = 86_400;
        let mut failing = Failing::after(None, at(0));
        for now in [day, 2 * day, 3 * day, 4 * day] {
            failing = Failing::after(Some(failing), at(now));
            assert!(!failing.is_too_long(), "{now}");
        }
        assert!(!Failing::after(Some(failing), at(5 * day - 1)).is_too_long());
        assert!(Failing::after(Some(failing), at(5 * day)).is_too_long());
        assert!(Failing::after(Some(failing), at(5 * day + 1)).is_too_long());
    }

    #[test]
    fn failures_count_from_the_first_one_however_rare_they_are() {
        let failing = Failing::after(None, at(0));
        let later = Failing::after(Some(failing), at(30 * 86_400));
        assert_eq!((later.since, later.is_too_long()), (at(0), true));
    }

    #[test]
    fn an_earlier_signing_secret_signs_until_its_time() {
        let signs = |now| still_signs(Some(at(100)), at(now));
        assert_eq!([99, 100, 101].map(signs), [true, false, false]);
        assert!(!still_signs(None, at(0)));
    }

    #[test]
    fn an_incident_that_is_chosen_is_chosen_with_its_end() {
        let choice = |events| Choice { environments: &[], events, format: WebhookFormat::Pagerduty };
        let near = choice(&[Action::DeadlineNear]);
        let of_secret = json!({"secret_id": "sec_1", "current_secret_id": "sec_1", "superseded_secret_id": "sec_1", "resolves": "sec_1"});
        for end in [
            Action::SecretExtended,
            Action::SecretRevoked,
            Action::SecretExpired,
            Action::SecretRolledBack,
            Action::SecretRotated,
            Action::ClientDeleted,
        ] {
            assert!(near.includes(end, None, &of_secret), "{end:?}");
            assert!(!choice(&[Action::DrillScheduled]).includes(end, None, &of_secret), "{end:?}");
        }
        let drill = json!({"drill_id": "drl_1"});
        for end in [Action::DrillStopped, Action::DrillFinished] {
            assert!(choice(&[Action::DrillScheduled]).includes(end, None, &drill), "{end:?}");
            assert!(!near.includes(end, None, &drill), "{end:?}");
        }
        assert!(!near.includes(Action::DrillScheduled, None, &drill), "another one is not opened");
        assert!(
            !near.includes(Action::ClientDeleted, None, &json!({"name": "Billing"})),
            "which resolves nothing"
        );
    }

    #[test]
    fn empty_lists_choose_everything() {
        let (staging, production) =
            (Slug::from_stored("staging".into()), Slug::from_stored("production".into()));
        fn choice<'a>(environments: &'a [Slug], events: &'a [Action]) -> Choice<'a> {
            Choice { environments, events, format: WebhookFormat::Standard }
        }
        let (rotated, expired) = (Action::SecretRotated, Action::SecretExpired);
        let none = Value::Null;
        assert!(choice(&[], &[]).includes(rotated, Some(&staging), &none));
        assert!(choice(&[], &[]).includes(Action::ClientDeleted, None, &none));
        let only = [production.clone()];
        assert!(choice(&only, &[]).includes(rotated, Some(&production), &none));
        assert!(!choice(&only, &[]).includes(rotated, Some(&staging), &none));
        assert!(!choice(&only, &[]).includes(Action::ClientDeleted, None, &none));
        assert!(choice(&[], &[rotated]).includes(rotated, None, &none));
        assert!(!choice(&[], &[rotated]).includes(expired, None, &none));
    }

    #[test]
    fn an_incident_is_resolved_by_every_end_of_its_cause() {
        let old = json!({"secret_id": "sec_1", "hours_before": 4});
        let opened = Incident::of(Action::DeadlineNear, &old).unwrap();
        assert_eq!((opened.subject.as_str(), opened.severity), ("sec_1", Some("error")));
        for (event, details) in [
            (Action::SecretExtended, json!({"secret_id": "sec_1"})),
            (Action::SecretRevoked, json!({"secret_id": "sec_1"})),
            (Action::SecretExpired, json!({"secret_id": "sec_1"})),
            (Action::SecretRolledBack, json!({"current_secret_id": "sec_1", "revoked_secret_id": "sec_2"})),
            (Action::SecretRotated, json!({"superseded_secret_id": "sec_1", "outgoing_secret_id": "sec_2"})),
        ] {
            let resolved = Incident { subject: "sec_1".into(), severity: None };
            assert_eq!(Incident::of(event, &details), Some(resolved), "{event:?}");
        }
        let drill = json!({"drill_id": "drill_1", "secret_id": "sec_1"});
        let of = |event| Incident::of(event, &drill).unwrap();
        assert_eq!(of(Action::DrillScheduled).severity, Some("info"));
        for event in [Action::DrillStopped, Action::DrillFinished] {
            assert_eq!(of(event), Incident { subject: "drill_1".into(), severity: None });
        }
        assert_eq!(Incident::of(Action::SecretRotated, &json!({"superseded_secret_id": null})), None);
        assert_eq!(Incident::of(Action::ClientDeleted, &json!({})), None);
    }

    #[test]
    fn ended_secrets_that_are_presented_are_one_incident_of_their_registration() {
        let of = |secret: &str| json!({"secret_id": secret, "registration_id": "reg_1"});
        for secret in ["sec_1", "sec_2"] {
            let opened = Incident::of(Action::EndedSecretPresented, &of(secret)).unwrap();
            assert_eq!((opened.subject.as_str(), opened.severity), ("presented:reg_1", Some("error")));
        }
        let earlier = json!({"secret_id": "sec_1"});
        assert_eq!(
            Incident::of(Action::EndedSecretPresented, &earlier),
            None,
            "an event of an earlier version"
        );
        let over = json!({RESOLVES: "presented:reg_1"});
        let choice = |events| Choice { environments: &[], events, format: WebhookFormat::Pagerduty };
        assert!(choice(&[Action::EndedSecretPresented]).includes(Action::EndedSecretPresented, None, &over));
        assert!(choice(&[Action::EndedSecretPresented]).includes(
            Action::EndedSecretPresented,
            None,
            &of("sec_1")
        ));
        assert!(choice(&[Action::EndedSecretPresented]).includes(Action::ClientDeleted, None, &over));
        assert!(!choice(&[Action::DeadlineNear]).includes(Action::ClientDeleted, None, &over));
    }

    #[test]
    fn a_leak_is_an_incident_of_its_own_until_the_secret_ends() {
        let leaked = json!({"secret_id": "sec_1", "state": "retiring"});
        let opened = Incident::of(Action::LeakReported, &leaked).unwrap();
        assert_eq!((opened.subject.as_str(), opened.severity), ("leak:sec_1", Some("critical")));
        // A longer life does not resolve it, as it resolves the deadline.
        let extended = Incident::of(Action::SecretExtended, &json!({"secret_id": "sec_1"})).unwrap();
        assert_ne!(extended.subject, opened.subject);
        let ended = json!({"secret_id": "sec_1", RESOLVES: "leak:sec_1"});
        for event in
            [Action::SecretRevoked, Action::SecretExpired, Action::SecretRotated, Action::ClientDeleted]
        {
            let resolved = Incident { subject: "leak:sec_1".into(), severity: None };
            assert_eq!(Incident::of(event, &ended), Some(resolved), "{event:?}");
            let chosen = |events: &[Action]| {
                Choice { environments: &[], events, format: WebhookFormat::Pagerduty }
                    .includes(event, None, &ended)
            };
            assert!(chosen(&[Action::LeakReported]), "{event:?}");
            assert!(!chosen(&[Action::DeadlineNear]), "{event:?}");
        }
    }

    #[test]
    fn each_payload_has_a_schema() {
        let schemas = payload_schemas();
        let list = schemas["oneOf"].as_array().unwrap();
        assert_eq!(list.len(), KINDS.len() + 1);
        for schema in list {
            assert!(schema["properties"]["data"]["properties"]["details"].is_object(), "{}", schema["title"]);
            assert!(!schema.to_string().contains("#/$defs"), "{}", schema["title"]);
        }
        assert_eq!(parse_kind("secret.rotated"), Some(Action::SecretRotated));
        assert_eq!(parse_kind("webhook.tested"), None);
    }
}
