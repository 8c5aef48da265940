//! One attempt to deliver to a webhook: what is checked immediately before it, and what becomes of it.

use super::{Lane, LeasedAs};
use crate::{app::App, error::Error, keys::place::SealPlace, messages::body::body};
use crossfade_core::{
    SecretId, Timestamp,
    audit::Action,
    drill::{self, StoppedAs},
    messages::{AbandonedAs, QUIET_AFTER, is_in_time},
    rotation::state_at,
    webhook::{EARLIER_URL, Incident, WebhookFormat, may_leave, retry_after, still_signs},
};
use crossfade_outbound::{Answer, Post, SigningSecret};
use crossfade_store::{Attempt, Delivery, Notification, Secret, Tx, Webhook};
use std::{sync::atomic::Ordering, time::Duration};
use tokio::time::Instant;

/// What became of a leased delivery.
pub(super) enum Outcome {
    Sent,
    /// It failed.
    Failed {
        /// Time until the next attempt; `None`: there is none.
        again: Option<Duration>,
        /// How long the receiver asks to wait.
        asked: Option<Duration>,
        said: String,
    },
    /// The receiver is gone for good.
    Gone,
    Abandoned(AbandonedAs, Option<String>),
    /// There was no attempt.
    Left,
}

/// A delivery, what became of it, and its attempt.
pub(super) struct Done {
    pub(super) id: String,
    pub(super) outcome: Outcome,
    pub(super) attempt: Option<Attempt>,
}

/// A webhook with its secrets, opened for a batch of deliveries.
pub(super) struct Receiver {
    webhook: Webhook,
    signing: SigningSecret,
    previous: Option<SigningSecret>,
    routing_key: Option<String>,
}

impl App {
    /// Opens the secrets of a webhook; `None` if they cannot be opened.
    pub(super) fn open_receiver(&self, webhook: Webhook) -> Option<Receiver> {
        let open = |secret: &'static str, sealed: &[u8]| {
            let opened = self.vault.open(&SealPlace::Webhook { id: &webhook.id, secret }, sealed);
            opened.inspect_err(|error| tracing::error!(webhook = %webhook.id, %error, "cannot open a secret of a webhook")).ok()
        };
        let signing = SigningSecret::from_bytes(&open("signing", &webhook.signing_secret)?);
        let previous = match &webhook.previous_secret {
            Some(sealed) => Some(SigningSecret::from_bytes(&open("signing", sealed)?)),
            None => None,
        };
        let routing_key = match &webhook.routing_key {
            Some(sealed) => Some(String::from_utf8(open("routing", sealed)?.to_vec()).ok()?),
            None => None,
        };
        Some(Receiver { signing, previous, routing_key, webhook })
    }

    pub(super) async fn attempt_post(
        &self,
        leased_as: LeasedAs<'_>,
        receiver: Option<&Receiver>,
        delivery: Delivery,
        lane: &Lane,
    ) -> Done {
        let (outcome, attempt) = self.try_post(leased_as, receiver, &delivery, lane).await;
        if matches!(outcome, Outcome::Failed { .. } | Outcome::Gone) {
            lane.fails.store(true, Ordering::Relaxed);
        }
        Done { id: delivery.id, outcome, attempt }
    }

    /// Whether a webhook is as it was leased: enabled, with the same URL and secrets, and outside a quarantine. What
    /// cannot be read is not.
    async fn is_as_leased(&self, (id, version, _): LeasedAs<'_>) -> bool {
        let read = async |tx: &mut Tx| {
            let is_quarantined = tx.quarantine().await?.is_some();
            Ok(!is_quarantined && tx.enabled_version_of(id).await? == Some(version))
        };
        match self.node.read(read).await {
            Ok(is_as_leased) => is_as_leased,
            Err(error) => {
                tracing::warn!(webhook = %id, %error, "cannot read whether a webhook has changed");
                false
            }
        }
    }

    /// Whether what an incident is about still holds, so that no incident is opened after its end. Always true of what
    /// resolves one. Fails if that cannot be read.
    async fn is_still_so(&self, message: &Notification) -> Result<bool, Error> {
        let Some(Incident { severity: Some(_), .. }) = Incident::of(message.event, &message.details) else {
            return Ok(true);
        };
        let now = self.clock.now();
        self.node.read(async |tx| still_so(tx, message, now).await).await
    }

    async fn try_post(
        &self,
        leased_as: LeasedAs<'_>,
        receiver: Option<&Receiver>,
        delivery: &Delivery,
        lane: &Lane,
    ) -> (Outcome, Option<Attempt>) {
        let now = self.clock.now();
        if !is_in_time(delivery.not_after, now) {
            return (Outcome::Abandoned(AbandonedAs::Late, None), None);
        }
        // A change of the webhook, a quarantine and the end of the process reach a lane that has begun.
        if lane.is_over(now) || !self.may_begin() || !self.is_as_leased(leased_as).await {
            return (Outcome::Left, None);
        }
        let unreadable =
            |what: &str| (Outcome::Abandoned(AbandonedAs::Unreadable, Some(what.to_owned())), None);
        let message = match &delivery.message {
            Ok(message) => message,
            Err(error) => return unreadable(&error.to_string()),
        };
        let Some(receiver) = receiver else {
            return unreadable("the secrets of the webhook cannot be opened");
        };
        let webhook = &receiver.webhook;
        if !may_leave(webhook.choice(), message.event, message.environment.as_ref(), &message.details) {
            return (Outcome::Abandoned(AbandonedAs::NotChosen, None), None);
        }
        let earlier_url = message.details[EARLIER_URL].as_str();
        if webhook.format == WebhookFormat::Pagerduty {
            match self.is_still_so(message).await {
                Ok(true) => {}
                Ok(false) => return (Outcome::Abandoned(AbandonedAs::Over, None), None),
                Err(error) if error.is_corrupt() => {
                    return unreadable("the rows that it is about cannot be read");
                }
                // An incident that is opened after its end may never be resolved.
                Err(error) => {
                    tracing::warn!(webhook = %webhook.id, %error, "cannot read whether an incident is over");
                    return (Outcome::Left, None);
                }
            }
        }
        let Some(body) = body(message, webhook.format, receiver.routing_key.as_deref(), &self.admin_url)
        else {
            return unreadable("the facts of the event cannot be read");
        };
        let to = match self.posting.poster.destination(earlier_url.unwrap_or(&webhook.url)) {
            Ok(to) => to,
            Err(what) if earlier_url.is_some() => return (gave_up(format!("the URL {what}")), None),
            // A setting that allowed it has changed.
            Err(what) => return (failed(delivery, None, format!("the URL {what}")), None),
        };
        let earlier = receiver.previous.as_ref().filter(|_| still_signs(webhook.previous_until, now));
        let secrets = [Some(&receiver.signing), earlier];
        let secrets: Vec<_> =
            secrets.into_iter().flatten().map(|it| SigningSecret::from_bytes(it.bytes())).collect();
        let begun = Instant::now();
        // Receivers compare it with their own clocks, which no stored time can be ahead of.
        let post = Post { id: &delivery.id, to: &to, at: self.clock.machine(), body, secrets: &secrets };
        let answer = self.posting.poster.post(post).await;
        let attempt = Attempt {
            status: answer.as_ref().ok().map(|answer| answer.status),
            duration_ms: i64::try_from(begun.elapsed().as_millis()).unwrap_or(i64::MAX),
        };
        let outcome = match answer {
            // Once, and what an earlier receiver answers says nothing of the present one.
            _ if earlier_url.is_some() => match answer {
                Ok(Answer { status: 200..=299, .. }) => Outcome::Sent,
                Ok(Answer { status, .. }) => gave_up(format!("status {status} of the earlier URL")),
                Err(failure) => gave_up(format!("the earlier URL: {failure}")),
            },
            Ok(Answer { status: 200..=299, .. }) => Outcome::Sent,
            Ok(Answer { status: 410, .. }) => Outcome::Gone,
            Ok(Answer { status, retry_after }) => {
                let said = match status {
                    300..=399 => format!("status {status}, a redirect, which is not followed"),
                    _ => format!("status {status}"),
                };
                failed(delivery, retry_after, said)
            }
            Err(failure) => failed(delivery, None, failure.to_string()),
        };
        (outcome, Some(attempt))
    }
}

/// Whether the cause of an incident that a message opens still holds at `now`.
async fn still_so(tx: &mut Tx, message: &Notification, now: Timestamp) -> Result<bool, Error> {
    let (Some(client), Some(environment)) = (&message.client_id, &message.environment) else {
        return Ok(true);
    };
    let text = |name: &str| message.details[name].as_str();
    let secret = text("secret_id").and_then(|id| SecretId::parse(id).ok());
    if tx.client(client).await?.is_none() {
        return Ok(false);
    }
    let Some(registration) = tx.registration(client, environment).await? else { return Ok(false) };
    match (message.event, secret) {
        (Action::DeadlineNear, Some(secret)) => {
            let deadline = text("expires_at").and_then(|time| Timestamp::parse(time).ok());
            let secret = tx.secret(&registration.id, &secret).await?;
            Ok(secret.is_some_and(|secret| {
                secret.rule.revoked_at.is_none() && secret.rule.expires_at == deadline && deadline > Some(now)
            }))
        }
        (Action::LeakReported, Some(secret)) => {
            let secret = tx.secret(&registration.id, &secret).await?;
            let state = |secret: Secret| state_at(secret.rule.expires_at, secret.rule.revoked_at, now);
            Ok(secret.is_some_and(|secret| state(secret).is_valid()))
        }
        (Action::DrillScheduled, Some(secret)) => {
            let drill = tx.latest_drill(&secret).await?.map(|drill| drill.rule);
            let drill = drill.filter(|drill| text("drill_id") == Some(drill.id.as_str()));
            Ok(drill.is_some_and(|drill| drill::stop(&drill, StoppedAs::Stopped, now).is_ok()))
        }
        (Action::EndedSecretPresented, _) => {
            let since = now.before(QUIET_AFTER);
            Ok(!tx.presented_of(&[registration.id], since, now).await?.is_empty())
        }
        (Action::UpstreamCredentialRefused, _) => {
            Ok(!tx.upstream_refused_of(&[registration.id]).await?.is_empty())
        }
        (Action::RegistrationUpdated, _) => Ok(registration.disabled_at.is_some()),
        _ => Ok(true),
    }
}

/// Returns what becomes of a delivery that is tried once.
fn gave_up(said: String) -> Outcome {
    Outcome::Abandoned(AbandonedAs::GaveUp, Some(said))
}

/// Returns what becomes of a delivery after a failed attempt.
fn failed(delivery: &Delivery, asked: Option<Duration>, said: String) -> Outcome {
    Outcome::Failed { again: retry_after(delivery.attempts, asked), asked, said }
}
