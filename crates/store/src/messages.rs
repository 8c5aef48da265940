//! Messages to the owners of clients.

use crate::{StoreError, Tx, Value, catalogue::statements, db::Row};
use crossfade_core::{ClientId, Timestamp, audit::Action, environment::Slug};

/// A message to the owners of a client.
#[derive(Clone, Debug)]
pub struct Notification {
    /// Its id.
    pub id: String,
    /// When it was queued.
    pub created_at: Timestamp,
    /// Number among the messages about its registration; `None` if it is about the client as a whole.
    pub number: Option<i64>,
    /// Action it reports.
    pub event: Action,
    /// Client it concerns.
    pub client_id: Option<ClientId>,
    /// Name of the client when it was queued; `None` in messages of earlier versions.
    pub client_name: Option<String>,
    /// Environment it concerns.
    pub environment: Option<Slug>,
    /// Email addresses of the recipients.
    pub recipients: Vec<String>,
    /// Name of the actor; `None` in messages of earlier versions.
    pub actor_name: Option<String>,
    /// Kind of the actor, such as `client`; `None` in messages of earlier versions.
    pub actor_kind: Option<String>,
    /// Stored form of the address that the actor used; `None` for Crossfade itself and in messages of earlier versions.
    pub source: Option<String>,
    /// Reason that the actor gave.
    pub reason: Option<String>,
    /// What happened. Never a secret.
    pub details: serde_json::Value,
}

macro_rules! columns {
    () => {
        "n.id, n.created_at, n.number, n.event, n.client_id, n.client_name, n.environment, n.recipients, n.actor_name, n.actor_kind, n.source, n.reason, n.details"
    };
}
pub(crate) use columns;

statements! {
    INSERT = "INSERT INTO notifications (id, created_at, number, event, client_id, client_name, environment, recipients, actor_name, actor_kind, source, reason, details)
              VALUES {rows:13}";
    NEXT_NUMBER = "UPDATE registrations SET message_count = message_count + 1 WHERE client_id = $1 AND environment = $2 RETURNING message_count";
    LIST = concat!("SELECT ", columns!(), " FROM notifications n
            WHERE CAST($1 AS TEXT) IS NULL OR n.client_id = $1 ORDER BY n.created_at DESC, n.id LIMIT 500");
    DELETE_DELIVERIES = "DELETE FROM deliveries WHERE notification_id IN (SELECT id FROM notifications WHERE created_at < $1)";
    DELETE = "DELETE FROM notifications WHERE created_at < $1";
}

pub(crate) fn notification(row: &Row) -> Result<Notification, StoreError> {
    Ok(Notification {
        id: row.text("id")?,
        created_at: row.time("created_at")?,
        number: row.opt_int("number")?,
        event: row.parsed("event", Action::parse)?,
        client_id: row.opt_parsed("client_id", |text| ClientId::parse(text).ok())?,
        client_name: row.opt_text("client_name")?,
        environment: row.opt_text("environment")?.map(Slug::from_stored),
        recipients: row.parsed("recipients", |text| serde_json::from_str(text).ok())?,
        actor_name: row.opt_text("actor_name")?,
        actor_kind: row.opt_text("actor_kind")?,
        source: row.opt_text("source")?,
        reason: row.opt_text("reason")?,
        details: row.parsed("details", |text| serde_json::from_str(text).ok())?,
    })
}

fn notification_row(new: &Notification) -> Vec<Value> {
    vec![
        new.id.as_str().into(),
        new.created_at.into(),
        new.number.into(),
        new.event.as_str().into(),
        new.client_id.as_ref().map(ClientId::as_str).into(),
        new.client_name.clone().into(),
        new.environment.as_ref().map(Slug::as_str).into(),
        serde_json::Value::from(new.recipients.clone()).to_string().into(),
        new.actor_name.clone().into(),
        new.actor_kind.clone().into(),
        new.source.clone().into(),
        new.reason.clone().into(),
        new.details.to_string().into(),
    ]
}

impl Tx {
    /// Returns the number of the next message about a registration; `None` if there is no such registration.
    pub async fn next_message_number(
        &mut self,
        client: &ClientId,
        environment: &Slug,
    ) -> Result<Option<i64>, StoreError> {
        let row =
            self.optional(NEXT_NUMBER, vec![client.as_str().into(), environment.as_str().into()]).await?;
        row.map(|row| row.int("message_count")).transpose()
    }

    /// Queues a message.
    pub async fn insert_notification(&mut self, new: &Notification) -> Result<(), StoreError> {
        self.insert_notifications(std::slice::from_ref(new)).await
    }

    /// Queues messages.
    pub async fn insert_notifications(&mut self, new: &[Notification]) -> Result<(), StoreError> {
        let rows: Vec<_> = new.iter().map(notification_row).collect();
        self.many(INSERT, &rows).await.map(drop)
    }

    /// Returns the queued messages, newest first: all, or those about one client.
    pub async fn notifications(
        &mut self,
        client: Option<&ClientId>,
    ) -> Result<Vec<Notification>, StoreError> {
        self.rows(LIST, vec![client.map(ClientId::as_str).into()]).await?.iter().map(notification).collect()
    }

    /// Forgets messages queued before `before`, and their deliveries.
    pub async fn delete_notifications(&mut self, before: Timestamp) -> Result<u64, StoreError> {
        self.delete_old_message_links(before).await?;
        self.execute(DELETE_DELIVERIES, vec![before.into()]).await?;
        self.execute(DELETE, vec![before.into()]).await
    }
}
