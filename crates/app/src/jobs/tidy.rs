//! Deletes what has been kept long enough, and wipes the stored values of ended secrets.

use crate::{
    app::App,
    error::Error,
    frame::{
        entry::About,
        idempotency::{ANSWERS_REMEMBERED, VALUES_REMEMBERED},
    },
    jobs::queue_digests::{DIGEST, DIGEST_MOVED},
};
use crossfade_authority::Moment;
use crossfade_core::{
    Timestamp,
    api::Grain,
    audit::{Actor, Event},
    forget::TOKENS_LIVE_ON,
    messages::{Channel, TRIED_FOR},
    rotation::{DECIDED_WITHIN, wiped_if_ended_by},
    unregistered, webhook,
};
use crossfade_store::{StoreError, Tx};
use std::{sync::PoisonError, time::Duration};

/// How long per-minute use is kept.
const MINUTES_LIVE: Duration = Duration::from_secs(3 * 3600);
/// How long per-minute use is kept for a registration with a running or recent transition.
const MINUTES_OF_TRANSITIONS_LIVE: Duration = DECIDED_WITHIN;
/// How long hourly use is kept.
const HOURS_LIVE: Duration = Duration::from_secs(30 * 86_400);
/// How long daily use is kept.
const DAYS_LIVE: Duration = Duration::from_secs(400 * 86_400);
/// How long failed authentications are kept.
const FAILURES_LIVE: Duration = Duration::from_secs(90 * 86_400);
/// How long queued messages are kept.
const NOTIFICATIONS_LIVE: Duration = Duration::from_secs(30 * 86_400);
/// How long is known what was told, and from which networks a person signs in.
const TOLD_LIVES: Duration = Duration::from_secs(90 * 86_400);
/// How long is known who has got a digest.
const DIGESTS_LIVE: Duration = Duration::from_secs(14 * 86_400);
/// How long a node is known whose lease has ended.
const NODES_LIVE: Duration = Duration::from_secs(86_400);
/// Number of changes that stay in the log although every table has applied them.
const CHANGES_KEPT: i64 = 10_000;
/// Number of ends that stay in the database although they are in the journal.
const ENDS_KEPT: i64 = 10_000;

impl App {
    /// Deletes and wipes what has been kept long enough.
    pub(crate) async fn tidy(&self) -> Result<(), Error> {
        let (applied, ran, mut forgotten) = (self.node.applied(), self.take_run_time(), None);
        self.change_as(Actor::policy("wipe", "Wiping of stored values"), async |act| {
            for slug in act.tx.environment_slugs().await? {
                let environment = match act.tx.environment(&slug).await {
                    // Its settings cannot be read: the values of the others are wiped all the same.
                    Ok(None) | Err(StoreError::Corrupt { .. }) => continue,
                    Ok(Some(environment)) => environment,
                    Err(error) => return Err(error.into()),
                };
                let before = wiped_if_ended_by(environment.wipe_after_days, act.now);
                for secret in act.tx.wipe_ended_secrets(&environment.slug, before).await? {
                    let about =
                        About { target: Some(secret.to_string()), ..About::environment(&environment.slug) };
                    let event = Event::SecretWiped {
                        secret_id: secret,
                        wipe_after_days: environment.wipe_after_days,
                    };
                    act.audit(&event, about).await?;
                }
            }
            let (tx, now) = (&mut *act.tx, act.now);
            tx.tidy_remembered(now.before(VALUES_REMEMBERED), now.before(ANSWERS_REMEMBERED)).await?;
            forgotten = self.forget_revocations(tx, ran).await?;
            tx.delete_failures(now.before(FAILURES_LIVE)).await?;
            for (grain, kept) in [
                (Grain::Minute, MINUTES_OF_TRANSITIONS_LIVE),
                (Grain::Hour, HOURS_LIVE),
                (Grain::Day, DAYS_LIVE),
            ] {
                tx.delete_usage_series(grain, now.before(kept)).await?;
            }
            let minutes = (now.before(MINUTES_LIVE * 2), now.before(MINUTES_LIVE));
            tx.thin_usage_series(Grain::Minute, minutes, now.before(MINUTES_LIVE)).await?;
            tx.delete_evidence_gaps(now.before(DAYS_LIVE)).await?;
            for (channel, tried_for) in [(Channel::Mail, TRIED_FOR), (Channel::Webhook, webhook::TRIED_FOR)] {
                tx.abandon_old_deliveries(channel, now, now.before(tried_for)).await?;
            }
            tx.delete_webhooks_of_deleted_clients().await?;
            tx.tidy_message_links(now).await?;
            tx.forget_told(now.before(TOLD_LIVES)).await?;
            tx.forget_sign_in_failures(now).await?;
            tx.forget_unregistered_clients(now.before(unregistered::KEPT_FOR)).await?;
            for subject in [DIGEST, DIGEST_MOVED] {
                tx.forget_told_about(subject, now.before(DIGESTS_LIVE)).await?;
            }
            tx.delete_notifications(now.before(NOTIFICATIONS_LIVE)).await?;
            // Leases of nodes end by the clock of the database.
            let at = tx.clock().await?.unwrap_or(now);
            tx.forget_nodes(at.before(NODES_LIVE)).await?;
            tx.release_leases_of_others(self.node.own.id.as_str(), at).await?;
            let slowest =
                tx.nodes().await?.into_iter().filter(|node| node.may_decide(at)).map(|node| node.applied);
            let applied_everywhere = slowest.fold(applied, i64::min);
            tx.trim_changes(applied_everywhere.saturating_sub(CHANGES_KEPT)).await?;
            if let Some(journal) = &self.node.journal {
                tx.trim_ends(journal.synced().min(tx.last_end()).saturating_sub(ENDS_KEPT)).await?;
            }
            tx.delete_removed_signing_keys(now).await?;
            Ok(())
        })
        .await?;
        if let Some(journal) = &self.node.journal {
            journal.remove_old_seals(self.clock.now()).await;
        }
        if let Some(ended_by) = forgotten {
            self.authority.forget_revocations(ended_by);
        }
        Ok(())
    }

    /// Forgets, on a node that does not lead, revocations of tokens that have ended by now.
    pub(crate) fn forget_revocations_here(&self) {
        self.take_run_time();
        if let Some(ended_by) = self.measured_end(self.clock.read()) {
            self.authority.forget_revocations(ended_by);
        }
    }

    /// Returns the expiry of tokens that have ended by now: a token that this process issued has ended when its lifetime was
    /// measured, and by now every older one has ended.
    fn measured_end(&self, moment: Moment) -> Option<Timestamp> {
        (self.clock.elapsed() >= TOKENS_LIVE_ON).then_some(moment.earliest)
    }

    /// Returns how long the clock has run since the last call.
    fn take_run_time(&self) -> Duration {
        let elapsed = self.clock.elapsed();
        let mut noted = self.node.ran_until.lock().unwrap_or_else(PoisonError::into_inner);
        elapsed.saturating_sub(std::mem::replace(&mut *noted, elapsed))
    }

    /// Forgets revocations of tokens that have expired by every clock, even if this machine's clock was wrong at the
    /// start. Returns the expiry up to which they are forgotten.
    async fn forget_revocations(&self, tx: &mut Tx, ran: Duration) -> Result<Option<Timestamp>, Error> {
        let moment = self.clock.read();
        let (passed, outlived) = tx.passed().await?.go_on(moment.machine, ran);
        tx.set_passed(passed).await?;
        let Some(ended_by) = outlived.max(self.measured_end(moment)) else { return Ok(None) };
        tx.forget_revoked_access_tokens(ended_by).await?;
        Ok(Some(ended_by))
    }
}
