//! What attempts mean: for the deliveries, for their webhook, and for the counters of this process.

use super::{
    LeasedAs,
    attempt::{Done, Outcome},
};
use crate::{app::App, error::Error};
use crossfade_core::{
    Timestamp, WebhookId,
    messages::AbandonedAs,
    webhook::{DisabledAs, Failing},
};
use crossfade_store::Tx;

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

impl App {
    /// Stores what became of deliveries, and disables a webhook whose receiver is gone or has failed for days. What a newer
    /// lease, a replay or a quarantine has taken over stays as it is.
    pub(super) async fn store_posts(&self, leased_as: LeasedAs<'_>, done: &[Done]) -> Result<(), Error> {
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
