//! Sends deliveries to webhooks from their rows, at least once and under one id. Each webhook has a lane of its own, so one
//! that is slow or dead holds up no other, and the number of lanes and of requests in a lane is bounded.

mod attempt;
mod results;

use crate::{app::App, error::Error};
use attempt::{Done, Outcome};
use crossfade_core::{PropertyId, Timestamp, WebhookId, audit::Actor, webhook::WebhookFormat};
use crossfade_outbound::Poster;
use crossfade_store::{Delivery, DueWebhook, Webhook};
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
        if !self.node.leads() || self.node.quarantine().is_some() || self.is_held_here().await? {
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
}

/// Logs a lane that could not be read or stored. Returns whether it could.
fn log_lane(id: &WebhookId, sent: Result<(), Error>) -> bool {
    if let Err(error) = &sent {
        tracing::warn!(webhook = %id, %error, "cannot read or store what became of deliveries to a webhook");
    }
    sent.is_ok()
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
