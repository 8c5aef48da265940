//! Deliveries: one message to one recipient. A process sends what it has leased, at least once.

use crate::{
    Notification, StoreError, Tx, Value,
    catalogue::statements,
    db::Row,
    messages::{columns, notification},
};
use crossfade_core::{Timestamp, messages::AbandonedAs};

/// Deliveries of one message to write.
#[derive(Clone, Debug)]
pub struct NewDelivery<'a> {
    /// Its id, which every attempt has.
    pub id: String,
    /// The message.
    pub notification: &'a str,
    /// Email address.
    pub recipient: &'a str,
    /// What it is about. A second delivery to this recipient with the same cause is not written.
    pub cause: &'a str,
    /// When it was queued.
    pub created_at: Timestamp,
    /// From this time on it is not sent; `None`: it always is.
    pub not_after: Option<Timestamp>,
}

/// A leased delivery.
#[derive(Debug)]
pub struct Delivery {
    /// Its id, which every attempt has.
    pub id: String,
    /// Email address.
    pub recipient: String,
    /// From this time on it is not sent; `None`: it always is.
    pub not_after: Option<Timestamp>,
    /// Number of attempts, with this one.
    pub attempts: i64,
    /// The message. One that cannot be read does not hide the others.
    pub message: Result<Notification, StoreError>,
}

/// The queue.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DeliveryQueue {
    /// Deliveries that are neither sent nor abandoned.
    pub queued: i64,
    /// When the oldest of them was queued.
    pub oldest: Option<Timestamp>,
    /// The last failure of the one that is tried next.
    pub last_error: Option<String>,
}

macro_rules! open {
    ($prefix:literal) => {
        concat!($prefix, "sent_at IS NULL AND ", $prefix, "abandoned_at IS NULL")
    };
}
/// Condition for the row that this lease may still change.
macro_rules! leased {
    () => {
        concat!("id = $1 AND leased_by = $2 AND ", open!(""))
    };
}
macro_rules! due {
    ($now:literal) => {
        concat!(
            open!(""),
            " AND next_attempt_at <= ",
            $now,
            " AND (leased_until IS NULL OR leased_until <= ",
            $now,
            ")"
        )
    };
}

statements! {
    INSERT = "INSERT INTO deliveries (id, notification_id, channel, recipient, cause, created_at, not_after, next_attempt_at)
              VALUES ($1, $2, 'mail', $3, $4, $5, $6, $5) ON CONFLICT (channel, recipient, cause) DO NOTHING";
    DUE = concat!("SELECT id FROM deliveries WHERE ", due!("$1"), " LIMIT 1");
    LEASE = concat!("UPDATE deliveries SET leased_by = $2, leased_until = $3, attempts = attempts + 1
             WHERE id IN (SELECT id FROM deliveries WHERE ", due!("$1"), " ORDER BY next_attempt_at, id LIMIT $4)");
    LEASED = concat!("SELECT d.id AS delivery, d.recipient, d.not_after, d.attempts, ", columns!(),
             " FROM deliveries d JOIN notifications n ON n.id = d.notification_id
             WHERE ", open!("d."), " AND d.next_attempt_at <= $1 AND d.leased_by = $2 ORDER BY d.next_attempt_at, d.id");
    SENT = concat!("UPDATE deliveries SET sent_at = $3, leased_by = NULL, leased_until = NULL, last_error = NULL WHERE ", leased!());
    FAILED = concat!("UPDATE deliveries SET next_attempt_at = $3, last_error = $4, leased_by = NULL, leased_until = NULL WHERE ", leased!());
    ABANDON = concat!("UPDATE deliveries SET abandoned_at = $3, abandoned_as = $4, last_error = $5, leased_by = NULL, leased_until = NULL WHERE ", leased!());
    ABANDON_OLD = concat!("UPDATE deliveries SET abandoned_at = $1, abandoned_as = CASE WHEN not_after <= $1 THEN CAST($3 AS TEXT) ELSE CAST($4 AS TEXT) END
             WHERE ", open!(""), " AND (not_after <= $1 OR created_at <= $2) AND (leased_until IS NULL OR leased_until <= $1)");
    ABANDON_BEFORE = concat!("UPDATE deliveries SET abandoned_at = $1, abandoned_as = $2, leased_by = NULL, leased_until = NULL WHERE created_at <= $3 AND ", open!(""));
    ABANDON_ALL = concat!("UPDATE deliveries SET abandoned_at = $1, abandoned_as = $2, leased_by = NULL, leased_until = NULL WHERE ", open!(""));
    QUEUE = concat!("SELECT CAST(COUNT(*) AS BIGINT) AS queued, CAST(MIN(created_at) AS BIGINT) AS oldest FROM deliveries WHERE ", open!(""));
    LAST_ERROR = concat!("SELECT last_error FROM deliveries WHERE ", open!(""), " AND last_error IS NOT NULL ORDER BY next_attempt_at, id LIMIT 1");
    LOST = "SELECT CAST(COUNT(*) AS BIGINT) AS lost FROM deliveries WHERE abandoned_at >= $1 AND abandoned_as IN ($2, $3)";
}

fn delivery(row: &Row) -> Result<Delivery, StoreError> {
    Ok(Delivery {
        id: row.text("delivery")?,
        recipient: row.text("recipient")?,
        not_after: row.opt_time("not_after")?,
        attempts: row.int("attempts")?,
        message: notification(row),
    })
}

impl Tx {
    /// Writes a delivery, unless the recipient has one with this cause.
    pub async fn insert_delivery(&mut self, new: &NewDelivery<'_>) -> Result<(), StoreError> {
        let args = vec![
            new.id.as_str().into(),
            new.notification.into(),
            new.recipient.into(),
            new.cause.into(),
            new.created_at.into(),
            new.not_after.into(),
        ];
        self.execute(INSERT, args).await.map(drop)
    }

    /// Whether any delivery is due and not leased.
    pub async fn has_due_delivery(&mut self, now: Timestamp) -> Result<bool, StoreError> {
        Ok(self.optional(DUE, vec![now.into()]).await?.is_some())
    }

    /// Leases deliveries that are due until `until`, the longest due first, at most `limit`. `lease` must be new: only
    /// its holder can say what became of them.
    pub async fn lease_deliveries(
        &mut self,
        lease: &str,
        (now, until): (Timestamp, Timestamp),
        limit: i64,
    ) -> Result<Vec<Delivery>, StoreError> {
        self.execute(LEASE, vec![now.into(), lease.into(), until.into(), limit.into()]).await?;
        self.rows(LEASED, vec![now.into(), lease.into()]).await?.iter().map(delivery).collect()
    }

    /// Records that a leased delivery was sent. Returns whether the lease was still held.
    pub async fn delivery_sent(&mut self, id: &str, lease: &str, now: Timestamp) -> Result<bool, StoreError> {
        let is_held = self.execute(SENT, vec![id.into(), lease.into(), now.into()]).await? == 1;
        self.delete_message_link(id).await?;
        Ok(is_held)
    }

    /// Records that a leased delivery failed, and when it is tried again. Returns whether the lease was still held.
    pub async fn delivery_failed(
        &mut self,
        id: &str,
        lease: &str,
        (again, error): (Timestamp, &str),
    ) -> Result<bool, StoreError> {
        Ok(self.execute(FAILED, vec![id.into(), lease.into(), again.into(), error.into()]).await? == 1)
    }

    /// Abandons a leased delivery. Returns whether the lease was still held.
    pub async fn abandon_delivery(
        &mut self,
        id: &str,
        lease: &str,
        (now, reason, error): (Timestamp, AbandonedAs, Option<&str>),
    ) -> Result<bool, StoreError> {
        let args = vec![
            id.into(),
            lease.into(),
            now.into(),
            reason.as_str().into(),
            error.map(str::to_owned).into(),
        ];
        let is_held = self.execute(ABANDON, args).await? == 1;
        self.delete_message_link(id).await?;
        Ok(is_held)
    }

    /// Abandons deliveries that are of no use any more, and those queued at `tried_since` or before.
    pub async fn abandon_old_deliveries(
        &mut self,
        now: Timestamp,
        tried_since: Timestamp,
    ) -> Result<u64, StoreError> {
        let reasons = [AbandonedAs::Late, AbandonedAs::GaveUp].map(|reason| Value::from(reason.as_str()));
        let args = [now.into(), tried_since.into()].into_iter().chain(reasons).collect();
        self.execute(ABANDON_OLD, args).await
    }

    /// Abandons every delivery.
    pub async fn abandon_deliveries(
        &mut self,
        now: Timestamp,
        reason: AbandonedAs,
    ) -> Result<u64, StoreError> {
        self.execute(ABANDON_ALL, vec![now.into(), reason.as_str().into()]).await
    }

    /// Abandons every delivery that was queued at `until` or before.
    pub async fn abandon_deliveries_until(
        &mut self,
        now: Timestamp,
        until: Timestamp,
        reason: AbandonedAs,
    ) -> Result<u64, StoreError> {
        self.execute(ABANDON_BEFORE, vec![now.into(), reason.as_str().into(), until.into()]).await
    }

    /// Returns the queue.
    pub async fn delivery_queue(&mut self) -> Result<DeliveryQueue, StoreError> {
        let row = self.one(QUEUE, vec![]).await?;
        let error = self.optional(LAST_ERROR, vec![]).await?;
        Ok(DeliveryQueue {
            queued: row.int("queued")?,
            oldest: row.opt_time("oldest")?,
            last_error: error.map(|row| row.text("last_error")).transpose()?,
        })
    }

    /// Returns the number of messages since `since` that a server refused, or that were tried in vain.
    pub async fn lost_deliveries(&mut self, since: Timestamp) -> Result<i64, StoreError> {
        let reasons = [AbandonedAs::Refused, AbandonedAs::GaveUp].map(|reason| Value::from(reason.as_str()));
        let args = [since.into()].into_iter().chain(reasons).collect();
        self.one(LOST, args).await?.int("lost")
    }
}
