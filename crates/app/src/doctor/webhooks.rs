//! Check of webhooks: whether any fails or was disabled because of its receiver, and whether deliveries wait or were given up.

use super::{Check, count, shown};
use crate::messages::sending::DELIVERED_WITHIN;
use crossfade_core::{Timestamp, messages::Channel};
use crossfade_store::{StoreError, Tx};
use std::time::Duration;

const NAME: &str = "webhooks";
/// How far back lost deliveries are searched.
const LOOKED_BACK: Duration = Duration::from_secs(7 * 86_400);
const MEND: &str = "Look at the deliveries with crossfade webhook list and crossfade webhook deliveries WEBHOOK, and correct \
    the URL or the receiver.";
const MEND_DISABLED: &str = "Look at the deliveries with crossfade webhook list and crossfade webhook deliveries WEBHOOK, correct \
    the URL or the receiver, and enable the webhook with crossfade webhook update WEBHOOK --enable.";

/// Looks for webhooks that fail or were disabled, and for deliveries that wait or were not taken.
pub(super) async fn webhooks(tx: &mut Tx, now: Timestamp) -> Result<Check, StoreError> {
    let disabled = tx.count_disabled_webhooks().await?;
    if disabled > 0 {
        let disabled = count(disabled.unsigned_abs(), "webhook");
        let sentence = format!("{disabled} disabled because the receiver was gone or failed for days.");
        return Ok(Check::warn(NAME, sentence, MEND_DISABLED));
    }
    let queue = tx.delivery_queue(Channel::Webhook).await?;
    if let (failing, Some(since)) = tx.failing_webhooks().await? {
        let why = queue.last_error.map(|said| format!(" The last failure: {said}.")).unwrap_or_default();
        let since = shown(since);
        let sentence = match failing {
            1 => format!("1 webhook has taken no delivery since its first failure at {since}.{why}"),
            failing => {
                format!("{failing} webhooks take no deliveries, the first since its failure at {since}.{why}")
            }
        };
        return Ok(Check::warn(NAME, sentence, MEND));
    }
    if let Some(oldest) = queue.oldest.filter(|oldest| *oldest < now.before(DELIVERED_WITHIN)) {
        let waiting = count(queue.queued.unsigned_abs(), "delivery");
        let why = queue.last_error.map(|said| format!(" The last failure: {said}.")).unwrap_or_default();
        let sentence = format!("{waiting} in the queue, the oldest since {}.{why}", shown(oldest));
        return Ok(Check::warn(NAME, sentence, MEND));
    }
    let lost = tx.lost_deliveries(Channel::Webhook, now.before(LOOKED_BACK)).await?;
    if lost > 0 {
        let lost = count(lost.unsigned_abs(), "delivery");
        let sentence = format!("{lost} of the last 7 days could not be made.");
        return Ok(Check::warn(NAME, sentence, MEND));
    }
    Ok(Check::ok(NAME, "Every webhook takes its deliveries, and none is late."))
}
