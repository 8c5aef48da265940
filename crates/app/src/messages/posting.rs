//! Sends deliveries to webhooks from their rows, at least once and under one id. Each webhook has a lane of its own, so one
//! that is slow or dead holds up no other, and the number of lanes and of requests in a lane is bounded.

use super::body::body;
use crate::{app::App, error::Error, keys::place::SealPlace};
use crossfade_core::{
    PropertyId, SecretId, Timestamp, WebhookId,
    audit::{Action, Actor},
    drill::{self, StoppedAs},
    messages::{AbandonedAs, is_in_time},
    rotation::state_at,
    webhook::{DisabledAs, Failing, Incident, WebhookFormat, retry_after, still_signs},
};
use crossfade_outbound::{Answer, Post, Poster, SigningSecret};
use crossfade_store::{Attempt, Delivery, DueWebhook, Notification, Secret, Tx, Webhook};
use futures_util::{StreamExt, stream, stream::FuturesUnordered};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// Pause between two looks for deliveries that are due.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Number of webhooks that are sent to at the same time.
const MAX_LANES: usize = 32;
/// Number of requests to one webhook at the same time.
const MAX_IN_LANE: usize = 2;
/// Number of deliveries of a webhook leased at a time.
const LEASED_AT_ONCE: i64 = 50;
/// Number of results stored at a time.
const STORED_AT_ONCE: usize = 25;
/// How long a result waits for others, to be stored together with them.
const STORED_WITHIN: Duration = Duration::from_millis(500);
/// How long deliveries are leased. Afterwards they are sent again if their results are not stored.
const LEASE: Duration = Duration::from_secs(600);
/// How long before the end of the lease no attempt begins: longer than any attempt takes.
const MARGIN: Duration = Duration::from_secs(120);
/// How long a lane begins attempts. Afterwards it gives back what is left, so that others get their turn.
const LANE_TIME: Duration = Duration::from_secs(30);
/// Number of lanes of the webhooks of one property, or of the platform.
const MAX_LANES_OF_SCOPE: usize = 4;
/// Pause of a webhook after a batch that failed. Doubled for each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// Maximum pause of a webhook.
const MAX_PAUSE: Duration = Duration::from_secs(300);

/// What this process knows of its deliveries to webhooks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WebhookState {
    /// Deliveries since the start that a receiver took.
    pub sent: u64,
    /// Attempts since the start that failed.
    pub failed: u64,
    /// Deliveries since the start that were given up, refused for good, or late.
    pub lost: u64,
}

/// The deliveries of this process.
pub(crate) struct Posting {
    pub(crate) poster: Arc<Poster>,
    state: Mutex<WebhookState>,
    /// Webhooks that failed, so that a long queue is not tried in vain, one delivery after the other.
    paused: Mutex<BTreeMap<WebhookId, Pause>>,
    /// Held while a test or the worker sends what is due.
    turn: tokio::sync::Mutex<()>,
}

/// Pause of a webhook.
#[derive(Clone, Copy)]
struct Pause {
    /// Number of batches that failed, one after the other.
    failures: u32,
    until: Timestamp,
}

/// A webhook, the version that it was leased as, and the lease.
type LeasedAs<'a> = (&'a WebhookId, i64, &'a str);

/// What became of a leased delivery.
enum Outcome {
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
struct Done {
    id: String,
    outcome: Outcome,
    attempt: Option<Attempt>,
}

/// What ends a lane before its deliveries do.
struct Lane {
    /// Until when its deliveries are leased.
    until: Timestamp,
    /// When it began.
    begun: Instant,
    /// The first failure ends the attempts of the others.
    fails: AtomicBool,
}

impl Lane {
    /// Whether no further attempt begins at `now`.
    fn is_over(&self, now: Timestamp) -> bool {
        now >= self.until.before(MARGIN)
            || self.begun.elapsed() >= LANE_TIME
            || self.fails.load(Ordering::Relaxed)
    }
}

/// A webhook with its secrets, opened for a batch of deliveries.
struct Receiver {
    webhook: Webhook,
    signing: SigningSecret,
    previous: Option<SigningSecret>,
    routing_key: Option<String>,
}

impl Posting {
    pub(crate) fn new(poster: Arc<Poster>) -> Self {
        let (state, paused, turn) = Default::default();
        Self { poster, state, paused, turn }
    }

    /// Ends the pause of a webhook, because a person has changed something or wants to see something.
    pub(crate) fn end_pause(&self, id: &WebhookId) {
        self.paused.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    fn is_paused(&self, id: &WebhookId, now: Timestamp) -> bool {
        let paused = self.paused.lock().unwrap_or_else(PoisonError::into_inner);
        paused.get(id).is_some_and(|pause| now < pause.until)
    }

    /// Notes whether a batch of a webhook failed.
    fn note_batch(&self, id: &WebhookId, done: &[Done], now: Timestamp) {
        let mut paused = self.paused.lock().unwrap_or_else(PoisonError::into_inner);
        if done.iter().any(|done| matches!(done.outcome, Outcome::Sent)) {
            paused.remove(id);
            return;
        }
        let asked = done.iter().filter_map(|done| match done.outcome {
            Outcome::Failed { asked, .. } => Some(asked.unwrap_or_default()),
            _ => None,
        });
        let Some(asked) = asked.max() else { return };
        let failures = paused.get(id).map_or(0, |pause| pause.failures);
        let pause = FIRST_PAUSE.saturating_mul(1 << failures.min(16)).max(asked).min(MAX_PAUSE);
        paused.insert(id.clone(), Pause { failures: failures.saturating_add(1), until: now.after(pause) });
    }

    pub(crate) fn state(&self) -> WebhookState {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, work: impl FnOnce(&mut WebhookState)) {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl App {
    /// Sends deliveries to webhooks until the process ends.
    pub(crate) async fn send_webhooks(&self) {
        let _turn = self.posting.turn.lock().await;
        let (mut lanes, mut busy) = (FuturesUnordered::new(), BTreeMap::new());
        while !self.sending_ends() {
            match self.due_webhooks().await {
                Ok(due) => {
                    for id in begin(&mut busy, due) {
                        lanes.push(async move {
                            let sent = self.send_lane(&id).await;
                            (id, sent)
                        });
                    }
                }
                Err(error) => tracing::warn!(%error, "cannot read which deliveries to webhooks are due"),
            }
            // Looks again when a lane is free, or after a while.
            let (id, sent) = tokio::select! {
                Some(ended) = lanes.next() => ended,
                _ = self.pause_sending(LOOK_EVERY) => continue,
            };
            busy.remove(&id);
            if !log_lane(&id, sent) {
                self.pause_sending(LOOK_EVERY).await;
            }
        }
        while let Some((id, sent)) = lanes.next().await {
            log_lane(&id, sent);
        }
    }

    /// Sends deliveries to webhooks that are due, at most as many of each webhook as are leased at a time. Returns whether
    /// there were any. A database in quarantine sends nothing.
    pub async fn send_due_webhooks(&self) -> Result<bool, Error> {
        let _turn = self.posting.turn.lock().await;
        let due = self.due_webhooks().await?;
        let was_due = !due.is_empty();
        let mut lanes = stream::iter(due.into_iter().map(|due| due.id))
            .map(|id| async move { self.send_lane(&id).await })
            .buffer_unordered(MAX_LANES);
        while let Some(sent) = lanes.next().await {
            sent?;
        }
        Ok(was_due)
    }

    /// Returns the webhooks with deliveries that are due, the longest due first.
    async fn due_webhooks(&self) -> Result<Vec<DueWebhook>, Error> {
        if self.node.quarantine().is_some() || self.is_held_here().await? {
            return Ok(Vec::new());
        }
        self.release_doubtful_leases().await?;
        let now = self.clock.now();
        let mut due = self.node.read(async |tx| Ok(tx.due_webhooks(now).await?)).await?;
        due.retain(|due| !self.posting.is_paused(&due.id, now));
        Ok(due)
    }

    /// Sends a batch of deliveries of one webhook.
    async fn send_lane(&self, id: &WebhookId) -> Result<(), Error> {
        let lease = self.new_lease();
        let leased = self.lease_of(id, &lease).await;
        let Some((until, webhook, leased)) = self.note_doubtful(&lease, leased)? else { return Ok(()) };
        let leased_as = (id, webhook.version, &*lease);
        // The end of an incident is sent after its beginning.
        let in_lane = if webhook.format == WebhookFormat::Pagerduty { 1 } else { MAX_IN_LANE };
        let receiver = self.open_receiver(webhook);
        let lane = Lane { until, begun: Instant::now(), fails: AtomicBool::new(false) };
        let attempts = stream::iter(leased)
            .map(|delivery| self.attempt_post(leased_as, receiver.as_ref(), delivery, &lane));
        let mut attempts = attempts.buffer_unordered(in_lane);
        let (mut done, mut stored_at) = (Vec::new(), Instant::now());
        while let Some(one) = attempts.next().await {
            done.push(one);
            if done.len() >= STORED_AT_ONCE || stored_at.elapsed() >= STORED_WITHIN {
                self.store_posts(leased_as, &done).await?;
                done.clear();
                stored_at = Instant::now();
            }
        }
        if done.is_empty() { Ok(()) } else { self.store_posts(leased_as, &done).await }
    }

    /// Leases deliveries of a webhook. Returns until when, the webhook and the deliveries; `None` if there are none.
    async fn lease_of(
        &self,
        id: &WebhookId,
        lease: &str,
    ) -> Result<Option<(Timestamp, Webhook, Vec<Delivery>)>, Error> {
        let _turn = self.node.background_turn().await;
        self.change_as(Actor::machine("serve"), async |act| {
            if act.tx.quarantine().await?.is_some() || !self.may_send_from_here(act).await? {
                return Ok(None);
            }
            let webhook = act.tx.webhook(id).await?.filter(|webhook| webhook.disabled.is_none());
            let Some(webhook) = webhook else { return Ok(None) };
            let until = act.now.after(LEASE);
            let leased = act.tx.lease_deliveries_of(id, lease, (act.now, until), LEASED_AT_ONCE).await?;
            Ok(Some((until, webhook, leased)))
        })
        .await
    }

    /// Opens the secrets of a webhook; `None` if they cannot be opened.
    fn open_receiver(&self, webhook: Webhook) -> Option<Receiver> {
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

    async fn attempt_post(
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
    /// resolves one.
    async fn is_still_so(&self, message: &Notification) -> bool {
        let Some(Incident { severity: Some(_), .. }) = Incident::of(message.event, &message.details) else {
            return true;
        };
        let now = self.clock.now();
        let read = self.node.read(async |tx| still_so(tx, message, now).await).await;
        read.unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot read whether an incident is over");
            true
        })
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
        if webhook.format == WebhookFormat::Pagerduty && !self.is_still_so(message).await {
            return (Outcome::Abandoned(AbandonedAs::Late, None), None);
        }
        let Some(body) = body(message, webhook.format, receiver.routing_key.as_deref(), &self.admin_url)
        else {
            return unreadable("the facts of the event cannot be read");
        };
        let to = match self.posting.poster.destination(&webhook.url) {
            Ok(to) => to,
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

    /// Stores what became of deliveries, and disables a webhook whose receiver is gone or has failed for days. What a newer
    /// lease, a replay or a quarantine has taken over stays as it is.
    async fn store_posts(&self, leased_as: LeasedAs<'_>, done: &[Done]) -> Result<(), Error> {
        let (id, version, lease) = leased_as;
        self.posting.note(|state| {
            for done in done {
                match done.outcome {
                    Outcome::Sent => state.sent += 1,
                    Outcome::Failed { again, .. } => {
                        state.failed += 1;
                        state.lost += u64::from(again.is_none());
                    }
                    Outcome::Gone => {
                        state.failed += 1;
                        state.lost += 1;
                    }
                    Outcome::Abandoned(AbandonedAs::Late, _) => state.lost += 1,
                    Outcome::Abandoned(..) | Outcome::Left => {}
                }
            }
        });
        let _turn = self.node.background_turn().await;
        let judged = self
            .node
            .transact(async |tx, now| {
                for done in done {
                    store_post(tx, lease, done, now).await?;
                }
                // What an earlier URL answered, or one with an earlier secret, says nothing of the present one.
                if tx.enabled_version_of(id).await? != Some(version) {
                    return Ok(None);
                }
                Ok(Some(judge(tx, id, done, now).await?))
            })
            .await?;
        let Some(judged) = judged else { return Ok(()) };
        self.posting.note_batch(id, done, self.clock.now());
        match judged {
            Judged::Same => Ok(()),
            Judged::Fails(said) => {
                tracing::warn!(webhook = %id, error = %said, "a webhook fails; its deliveries are repeated");
                Ok(())
            }
            Judged::Works => {
                tracing::info!(webhook = %id, "a webhook that failed takes deliveries again");
                Ok(())
            }
            Judged::Disabled(reason, said) => self.disable_webhook(id, version, reason, &said).await,
        }
    }
}

/// Logs a lane that could not be read or stored. Returns whether it could.
fn log_lane(id: &WebhookId, sent: Result<(), Error>) -> bool {
    if let Err(error) = &sent {
        tracing::warn!(webhook = %id, %error, "cannot read or store what became of deliveries to a webhook");
    }
    sent.is_ok()
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
        (Action::RegistrationUpdated, _) => Ok(registration.disabled_at.is_some()),
        _ => Ok(true),
    }
}

/// Returns what becomes of a delivery after a failed attempt.
fn failed(delivery: &Delivery, asked: Option<Duration>, said: String) -> Outcome {
    Outcome::Failed { again: retry_after(delivery.attempts, asked), asked, said }
}

async fn store_post(tx: &mut Tx, lease: &str, done: &Done, now: Timestamp) -> Result<(), Error> {
    if let Some(attempt) = done.attempt {
        tx.note_attempt(&done.id, lease, attempt).await?;
    }
    match &done.outcome {
        Outcome::Sent => tx.delivery_sent(&done.id, lease, now).await?,
        Outcome::Failed { again: Some(pause), said, .. } => {
            tx.delivery_failed(&done.id, lease, (now.after(*pause), said)).await?
        }
        Outcome::Failed { again: None, said, .. } => {
            tx.abandon_delivery(&done.id, lease, (now, AbandonedAs::GaveUp, Some(said))).await?
        }
        Outcome::Gone => {
            tx.abandon_delivery(&done.id, lease, (now, AbandonedAs::Refused, Some(GONE))).await?
        }
        Outcome::Abandoned(reason, said) => {
            tx.abandon_delivery(&done.id, lease, (now, *reason, said.as_deref())).await?
        }
        Outcome::Left => tx.release_delivery(&done.id, lease).await?,
    };
    Ok(())
}

const GONE: &str = "status 410, the receiver is gone";

/// What a batch of deliveries says about a webhook.
enum Judged {
    /// Nothing new.
    Same,
    /// It has begun to fail.
    Fails(String),
    /// It works again.
    Works,
    /// It must be disabled, with the last failure.
    Disabled(DisabledAs, String),
}

/// Records whether a webhook works.
async fn judge(tx: &mut Tx, id: &WebhookId, done: &[Done], now: Timestamp) -> Result<Judged, Error> {
    let said = done.iter().rev().find_map(|done| match &done.outcome {
        Outcome::Failed { said, .. } => Some(said.clone()),
        _ => None,
    });
    if done.iter().any(|done| matches!(done.outcome, Outcome::Gone)) {
        return Ok(Judged::Disabled(DisabledAs::Gone, GONE.to_owned()));
    }
    if done.iter().any(|done| matches!(done.outcome, Outcome::Sent)) {
        return Ok(if tx.webhook_works(id).await? { Judged::Works } else { Judged::Same });
    }
    let Some(said) = said else { return Ok(Judged::Same) };
    let Some(webhook) = tx.webhook(id).await? else { return Ok(Judged::Same) };
    let failing = Failing::after(webhook.failing, now);
    tx.webhook_fails(id, failing).await?;
    let gave_up = done.iter().any(|done| matches!(done.outcome, Outcome::Failed { again: None, .. }));
    Ok(match webhook.failing {
        _ if gave_up && failing.is_too_long() => Judged::Disabled(DisabledAs::Failing, said),
        None => Judged::Fails(said),
        Some(_) => Judged::Same,
    })
}

/// Begins lanes: adds to the busy webhooks those that get one, and returns them. `due` is in the order of their turn, and
/// no property has more than its share.
fn begin(busy: &mut BTreeMap<WebhookId, Option<PropertyId>>, due: Vec<DueWebhook>) -> Vec<WebhookId> {
    let mut begun = Vec::new();
    for DueWebhook { id, property } in due {
        let of_scope = busy.values().filter(|scope| **scope == property).count();
        if busy.len() < MAX_LANES && of_scope < MAX_LANES_OF_SCOPE && !busy.contains_key(&id) {
            busy.insert(id.clone(), property);
            begun.push(id);
        }
    }
    begun
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(scope: Option<u32>, number: u32) -> DueWebhook {
        let property = scope.map(|scope| PropertyId::parse(&format!("prop_{scope:022}")).unwrap());
        DueWebhook { id: WebhookId::parse(&format!("wh_{number:022}")).unwrap(), property }
    }

    #[test]
    fn no_property_has_more_than_its_share_of_lanes() {
        let mut busy = BTreeMap::new();
        let many: Vec<_> = (0..40).map(|number| due(Some(1), number)).chain([due(Some(2), 99)]).collect();
        let begun = begin(&mut busy, many.clone());
        assert_eq!(begun, [0, 1, 2, 3, 99].map(|number| due(None, number).id));
        assert!(begin(&mut busy, many.clone()).is_empty(), "while they run");
        busy.remove(&begun[0]);
        assert_eq!(begin(&mut busy, many[1..].to_vec()), [due(None, 4).id]);
    }

    #[test]
    fn all_properties_together_have_the_lanes_that_there_are() {
        let mut busy = BTreeMap::new();
        let many = (0..100).map(|number| due(Some(number % 25), number)).collect();
        assert_eq!(begin(&mut busy, many).len(), MAX_LANES);
    }
}
