//! Deliveries: one message to one recipient. A process sends what it has leased, at least once.

use crate::{
    Notification, PageStart, StoreError, Tx, Value,
    catalogue::statements,
    db::Row,
    messages::{columns, notification},
};
use crossfade_core::{
    ClientId, Timestamp, WebhookId,
    audit::Action,
    environment::Slug,
    messages::{AbandonedAs, Channel, Class},
};
use std::ops::RangeInclusive;

/// Deliveries of one message to write.
#[derive(Clone, Debug)]
pub struct NewDelivery<'a> {
    /// Its id, which every attempt has.
    pub id: String,
    /// The message.
    pub notification: &'a str,
    /// How it reaches the recipient.
    pub channel: Channel,
    /// Email address, or the id of a webhook.
    pub recipient: &'a str,
    /// What it is about. A second delivery to this recipient with the same cause is not written.
    pub cause: &'a str,
    /// How soon it must be seen: the most urgent mail is sent first.
    pub class: Class,
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
    /// Email address, or the id of a webhook.
    pub recipient: String,
    /// From this time on it is not sent; `None`: it always is.
    pub not_after: Option<Timestamp>,
    /// Number of attempts, with this one.
    pub attempts: i64,
    /// The message. One that cannot be read does not hide the others.
    pub message: Result<Notification, StoreError>,
}

/// What became of a delivery to a webhook so far.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoggedDelivery {
    /// Its id.
    pub id: String,
    /// Event that it reports.
    pub event: Action,
    /// Number among the messages about its registration.
    pub number: Option<i64>,
    /// Client that it concerns.
    pub client_id: Option<ClientId>,
    /// Environment that it concerns.
    pub environment: Option<Slug>,
    /// When it was queued.
    pub created_at: Timestamp,
    /// Number of attempts.
    pub attempts: i64,
    /// When it is tried next, unless it was sent or abandoned.
    pub next_attempt_at: Timestamp,
    /// When it was sent.
    pub sent_at: Option<Timestamp>,
    /// Why it was abandoned.
    pub abandoned_as: Option<String>,
    /// Last failure.
    pub last_error: Option<String>,
    /// Status of the last answer.
    pub last_status: Option<i64>,
    /// Duration of the last attempt in milliseconds.
    pub last_duration_ms: Option<i64>,
}

/// The last attempt of a delivery to a webhook.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attempt {
    /// Status of the answer; `None` if there was none.
    pub status: Option<u16>,
    /// Duration in milliseconds.
    pub duration_ms: i64,
}

/// The queue of a channel.
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

macro_rules! logged {
    () => {
        "d.id, n.event, n.number, n.client_id, n.environment, d.created_at, d.attempts, d.next_attempt_at, d.sent_at, d.abandoned_as, d.last_error, d.last_status, d.last_duration_ms"
    };
}

statements! {
    INSERT = "INSERT INTO deliveries (id, notification_id, channel, recipient, cause, urgency, created_at, not_after, next_attempt_at)
              VALUES {rows:9} ON CONFLICT (channel, recipient, cause) DO NOTHING";
    DUE = concat!("SELECT id FROM deliveries WHERE channel = $2 AND urgency BETWEEN $3 AND $4 AND ", due!("$1"), " LIMIT 1");
    LEASE = concat!("UPDATE deliveries SET leased_by = $2, leased_until = $3, attempts = attempts + 1
             WHERE id IN (SELECT id FROM deliveries WHERE channel = $5 AND urgency BETWEEN $6 AND $7 AND ", due!("$1"), " ORDER BY urgency, next_attempt_at, id LIMIT $4) RETURNING id");
    LEASE_OF = concat!("UPDATE deliveries SET leased_by = $2, leased_until = $3, attempts = attempts + 1
             WHERE id IN (SELECT id FROM deliveries WHERE channel = $5 AND recipient = $6 AND ", due!("$1"), " ORDER BY next_attempt_at, id LIMIT $4) RETURNING id");
    LEASED = concat!("SELECT d.id AS delivery, d.recipient, d.not_after, d.attempts, ", columns!(),
             " FROM deliveries d JOIN notifications n ON n.id = d.notification_id
             JOIN (VALUES {rows:1}) AS v ON d.id = v.column1 ORDER BY d.urgency, d.next_attempt_at, d.id");
    LEASED_OF = concat!("SELECT d.id AS delivery, d.recipient, d.not_after, d.attempts, ", columns!(),
             " FROM deliveries d JOIN notifications n ON n.id = d.notification_id
             JOIN (VALUES {rows:1}) AS v ON d.id = v.column1 ORDER BY d.next_attempt_at, d.id");
    SENT = concat!("UPDATE deliveries SET sent_at = $3, leased_by = NULL, leased_until = NULL, last_error = NULL WHERE ", leased!());
    FAILED = concat!("UPDATE deliveries SET next_attempt_at = $3, last_error = $4, leased_by = NULL, leased_until = NULL WHERE ", leased!());
    ABANDON = concat!("UPDATE deliveries SET abandoned_at = $3, abandoned_as = $4, last_error = $5, leased_by = NULL, leased_until = NULL WHERE ", leased!());
    RELEASE = concat!("UPDATE deliveries SET attempts = attempts - 1, leased_by = NULL, leased_until = NULL WHERE ", leased!());
    RETRY_MAIL = concat!("UPDATE deliveries SET next_attempt_at = $1 WHERE channel = $2 AND next_attempt_at > $1 AND leased_by IS NULL AND ", open!(""));
    NOTE_ATTEMPT = "UPDATE deliveries SET last_status = $3, last_duration_ms = $4 WHERE id = $1 AND leased_by = $2";
    ABANDON_OLD = concat!("UPDATE deliveries SET abandoned_at = $1, abandoned_as = CASE WHEN not_after <= $1 THEN CAST($3 AS TEXT) ELSE CAST($4 AS TEXT) END
             WHERE ", open!(""), " AND channel = $5 AND (not_after <= $1 OR COALESCE(replayed_at, created_at) <= $2) AND (leased_until IS NULL OR leased_until <= $1)");
    ABANDON_BEFORE = concat!("UPDATE deliveries SET abandoned_at = $1, abandoned_as = $2, leased_by = NULL, leased_until = NULL WHERE created_at <= $3 AND ", open!(""));
    ABANDON_ALL = concat!("UPDATE deliveries SET abandoned_at = $1, abandoned_as = $2, leased_by = NULL, leased_until = NULL WHERE ", open!(""));
    ABANDON_TO = concat!("UPDATE deliveries SET abandoned_at = $2, abandoned_as = $3, leased_by = NULL, leased_until = NULL WHERE channel = 'mail' AND recipient = $1 AND ", open!(""));
    RELEASE_LEASE = concat!("UPDATE deliveries SET attempts = attempts - 1, leased_by = NULL, leased_until = NULL WHERE leased_by = $1 AND ", open!(""));
    RELEASE_OTHERS = concat!("UPDATE deliveries SET leased_by = NULL, leased_until = NULL WHERE leased_by IS NOT NULL AND leased_by NOT LIKE $1
             AND NOT EXISTS (SELECT 1 FROM nodes n WHERE n.released_at IS NULL AND n.lease_until > $2 AND deliveries.leased_by LIKE n.id || '%') AND ", open!(""));
    QUEUE = concat!("SELECT CAST(COUNT(*) AS BIGINT) AS queued, CAST(MIN(created_at) AS BIGINT) AS oldest FROM deliveries WHERE channel = $1 AND ", open!(""));
    LAST_ERROR = concat!("SELECT last_error FROM deliveries WHERE channel = $1 AND ", open!(""), " AND last_error IS NOT NULL ORDER BY next_attempt_at, id LIMIT 1");
    LOST = "SELECT CAST(COUNT(*) AS BIGINT) AS lost FROM deliveries WHERE channel = $4 AND abandoned_at >= $1 AND abandoned_as IN ($2, $3, $5)";
    LOG = concat!("SELECT ", logged!(), " FROM deliveries d JOIN notifications n ON n.id = d.notification_id
            WHERE d.channel = $4 AND d.recipient = $5 AND (CAST($1 AS BIGINT) IS NULL OR d.created_at < $1 OR (d.created_at = $1 AND d.id < $2))
            ORDER BY d.created_at DESC, d.id DESC LIMIT $3");
    LOGGED = concat!("SELECT ", logged!(), " FROM deliveries d JOIN notifications n ON n.id = d.notification_id
            WHERE d.id = $1 AND d.channel = $2 AND d.recipient = $3");
    REPLAY = "UPDATE deliveries SET replayed_at = $2, next_attempt_at = $2, attempts = 0, not_after = NULL, sent_at = NULL, abandoned_at = NULL,
             abandoned_as = NULL, last_error = NULL, leased_by = NULL, leased_until = NULL WHERE id = $1";
}

/// Returns the ids of leased rows, to look them up: a search for the lease would read the whole queue.
fn keys(leased: &[Row]) -> Result<Vec<Vec<Value>>, StoreError> {
    leased.iter().map(|row| Ok(vec![row.text("id")?.into()])).collect()
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

fn logged_delivery(row: &Row) -> Result<LoggedDelivery, StoreError> {
    Ok(LoggedDelivery {
        id: row.text("id")?,
        event: row.parsed("event", Action::parse)?,
        number: row.opt_int("number")?,
        client_id: row.opt_parsed("client_id", |text| ClientId::parse(text).ok())?,
        environment: row.opt_text("environment")?.map(Slug::from_stored),
        created_at: row.time("created_at")?,
        attempts: row.int("attempts")?,
        next_attempt_at: row.time("next_attempt_at")?,
        sent_at: row.opt_time("sent_at")?,
        abandoned_as: row.opt_text("abandoned_as")?,
        last_error: row.opt_text("last_error")?,
        last_status: row.opt_int("last_status")?,
        last_duration_ms: row.opt_int("last_duration_ms")?,
    })
}

impl Tx {
    /// Writes a delivery, unless the recipient has one with this cause.
    pub async fn insert_delivery(&mut self, new: &NewDelivery<'_>) -> Result<(), StoreError> {
        self.insert_deliveries(std::slice::from_ref(new)).await
    }

    /// Writes the deliveries to recipients who have none with this cause.
    pub async fn insert_deliveries(&mut self, new: &[NewDelivery<'_>]) -> Result<(), StoreError> {
        let args = |new: &NewDelivery<'_>| {
            vec![
                new.id.as_str().into(),
                new.notification.into(),
                new.channel.as_str().into(),
                new.recipient.into(),
                new.cause.into(),
                (new.class as i64).into(),
                new.created_at.into(),
                new.not_after.into(),
                new.created_at.into(),
            ]
        };
        let rows: Vec<_> = new.iter().map(args).collect();
        self.many(INSERT, &rows).await.map(drop)
    }

    /// Lets mail that waits for its next attempt be tried now.
    pub async fn retry_mail(&mut self, now: Timestamp) -> Result<u64, StoreError> {
        self.execute(RETRY_MAIL, vec![now.into(), Channel::Mail.as_str().into()]).await
    }

    /// Whether any mail of these classes is due and not leased.
    pub async fn has_due_mail(
        &mut self,
        now: Timestamp,
        classes: RangeInclusive<Class>,
    ) -> Result<bool, StoreError> {
        let args = vec![
            now.into(),
            Channel::Mail.as_str().into(),
            (*classes.start() as i64).into(),
            (*classes.end() as i64).into(),
        ];
        Ok(self.optional(DUE, args).await?.is_some())
    }

    /// Leases mail of these classes that is due until `until`, the most urgent and the longest due first, at most `limit`. `lease`
    /// must be new: only its holder can say what became of them.
    pub async fn lease_mail(
        &mut self,
        lease: &str,
        (now, until): (Timestamp, Timestamp),
        classes: RangeInclusive<Class>,
        limit: i64,
    ) -> Result<Vec<Delivery>, StoreError> {
        let channel = Channel::Mail.as_str();
        let args = vec![
            now.into(),
            lease.into(),
            until.into(),
            limit.into(),
            channel.into(),
            (*classes.start() as i64).into(),
            (*classes.end() as i64).into(),
        ];
        let leased = keys(&self.rows(LEASE, args).await?)?;
        self.look_up(LEASED, &leased).await?.iter().map(delivery).collect()
    }

    /// Leases deliveries of a webhook that are due, as [`Tx::lease_mail`] does, the longest due first: receivers ignore a
    /// message that a later one about the registration has overtaken.
    pub async fn lease_deliveries_of(
        &mut self,
        webhook: &WebhookId,
        lease: &str,
        (now, until): (Timestamp, Timestamp),
        limit: i64,
    ) -> Result<Vec<Delivery>, StoreError> {
        let channel = Channel::Webhook.as_str();
        let args = vec![
            now.into(),
            lease.into(),
            until.into(),
            limit.into(),
            channel.into(),
            webhook.as_str().into(),
        ];
        let leased = keys(&self.rows(LEASE_OF, args).await?)?;
        self.look_up(LEASED_OF, &leased).await?.iter().map(delivery).collect()
    }

    /// Ends the leases of other processes: those that do not begin with `process`, nor with a node that may decide at `now`.
    pub async fn release_leases_of_others(
        &mut self,
        process: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.execute(RELEASE_OTHERS, vec![format!("{process}%").into(), now.into()]).await.map(drop)
    }

    /// Ends a lease under which nothing was tried.
    pub async fn release_lease(&mut self, lease: &str) -> Result<(), StoreError> {
        self.execute(RELEASE_LEASE, vec![lease.into()]).await.map(drop)
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

    /// Gives a leased delivery back without an attempt. Returns whether the lease was still held.
    pub async fn release_delivery(&mut self, id: &str, lease: &str) -> Result<bool, StoreError> {
        Ok(self.execute(RELEASE, vec![id.into(), lease.into()]).await? == 1)
    }

    /// Records the last attempt of a leased delivery to a webhook.
    pub async fn note_attempt(&mut self, id: &str, lease: &str, attempt: Attempt) -> Result<(), StoreError> {
        let status = attempt.status.map(i64::from);
        let args = vec![id.into(), lease.into(), status.into(), attempt.duration_ms.into()];
        self.execute(NOTE_ATTEMPT, args).await.map(drop)
    }

    /// Returns a page of the deliveries of a webhook, newest first.
    pub async fn deliveries_of(
        &mut self,
        webhook: &WebhookId,
        page: &PageStart,
    ) -> Result<Vec<LoggedDelivery>, StoreError> {
        let mut args = page.args();
        args.extend([Channel::Webhook.as_str().into(), webhook.as_str().into()]);
        self.rows(LOG, args).await?.iter().map(logged_delivery).collect()
    }

    /// Returns a delivery of a webhook.
    pub async fn delivery_of(
        &mut self,
        webhook: &WebhookId,
        id: &str,
    ) -> Result<Option<LoggedDelivery>, StoreError> {
        let args = vec![id.into(), Channel::Webhook.as_str().into(), webhook.as_str().into()];
        self.optional(LOGGED, args).await?.as_ref().map(logged_delivery).transpose()
    }

    /// Queues a delivery again under its id, whatever became of it.
    pub async fn replay_delivery(&mut self, id: &str, now: Timestamp) -> Result<(), StoreError> {
        self.execute(REPLAY, vec![id.into(), now.into()]).await.map(drop)
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

    /// Abandons deliveries of a channel that are of no use any more, and those queued at `tried_since` or before.
    pub async fn abandon_old_deliveries(
        &mut self,
        channel: Channel,
        now: Timestamp,
        tried_since: Timestamp,
    ) -> Result<u64, StoreError> {
        let reasons = [AbandonedAs::Late, AbandonedAs::GaveUp].map(|reason| Value::from(reason.as_str()));
        let args = [now.into(), tried_since.into()].into_iter().chain(reasons);
        self.execute(ABANDON_OLD, args.chain([channel.as_str().into()]).collect()).await
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

    /// Abandons what was queued for an address whose account was deleted.
    pub async fn abandon_deliveries_to(&mut self, address: &str, now: Timestamp) -> Result<u64, StoreError> {
        let reason = AbandonedAs::Deleted.as_str();
        self.execute(ABANDON_TO, vec![address.into(), now.into(), reason.into()]).await
    }

    /// Returns the queue of a channel.
    pub async fn delivery_queue(&mut self, channel: Channel) -> Result<DeliveryQueue, StoreError> {
        let row = self.one(QUEUE, vec![channel.as_str().into()]).await?;
        let error = self.optional(LAST_ERROR, vec![channel.as_str().into()]).await?;
        Ok(DeliveryQueue {
            queued: row.int("queued")?,
            oldest: row.opt_time("oldest")?,
            last_error: error.map(|row| row.text("last_error")).transpose()?,
        })
    }

    /// Returns the number of messages since `since` that a server refused, or that were tried in vain.
    pub async fn lost_deliveries(&mut self, channel: Channel, since: Timestamp) -> Result<i64, StoreError> {
        let reasons = [AbandonedAs::Refused, AbandonedAs::GaveUp].map(|reason| Value::from(reason.as_str()));
        let late = AbandonedAs::Late.as_str().into();
        let args = [since.into()].into_iter().chain(reasons).chain([channel.as_str().into(), late]).collect();
        self.one(LOST, args).await?.int("lost")
    }
}
