//! Messages to the owners of clients.

use crate::{StoreError, Tx, catalogue::statements, db::Row};
use crossfade_core::{ClientId, Timestamp, audit::Action, environment::Slug};

/// A message to the owners of a client.
#[derive(Clone, Debug)]
pub struct Notification {
    /// Its id, which a repeated delivery keeps.
    pub id: String,
    /// When it was queued.
    pub created_at: Timestamp,
    /// Action it reports.
    pub event: Action,
    /// Client it concerns.
    pub client_id: Option<ClientId>,
    /// Environment it concerns.
    pub environment: Option<Slug>,
    /// Email addresses of the recipients.
    pub recipients: Vec<String>,
    /// What happened. Never a secret.
    pub details: serde_json::Value,
}

statements! {
    INSERT = "INSERT INTO notifications (id, created_at, event, client_id, environment, recipients, details) VALUES ($1, $2, $3, $4, $5, $6, $7)";
    LIST = "SELECT id, created_at, event, client_id, environment, recipients, details FROM notifications
            WHERE CAST($1 AS TEXT) IS NULL OR client_id = $1 ORDER BY created_at DESC, id LIMIT 500";
    DELETE = "DELETE FROM notifications WHERE created_at < $1";
}

fn notification(row: &Row) -> Result<Notification, StoreError> {
    Ok(Notification {
        id: row.text("id")?,
        created_at: row.time("created_at")?,
        event: row.parsed("event", Action::parse)?,
        client_id: row.opt_parsed("client_id", |text| ClientId::parse(text).ok())?,
        environment: row.opt_text("environment")?.map(Slug::from_stored),
        recipients: row.parsed("recipients", |text| serde_json::from_str(text).ok())?,
        details: row.parsed("details", |text| serde_json::from_str(text).ok())?,
    })
}

impl Tx {
    /// Queues a message.
    pub async fn insert_notification(&mut self, new: &Notification) -> Result<(), StoreError> {
        let args = vec![
            new.id.as_str().into(),
            new.created_at.into(),
            new.event.as_str().into(),
            new.client_id.as_ref().map(ClientId::as_str).into(),
            new.environment.as_ref().map(Slug::as_str).into(),
            serde_json::Value::from(new.recipients.clone()).to_string().into(),
            new.details.to_string().into(),
        ];
        self.execute(INSERT, args).await.map(drop)
    }

    /// Returns the queued messages, newest first: all, or those about one client.
    pub async fn notifications(
        &mut self,
        client: Option<&ClientId>,
    ) -> Result<Vec<Notification>, StoreError> {
        self.rows(LIST, vec![client.map(ClientId::as_str).into()]).await?.iter().map(notification).collect()
    }

    /// Forgets messages queued before `before`.
    pub async fn delete_notifications(&mut self, before: Timestamp) -> Result<u64, StoreError> {
        self.execute(DELETE, vec![before.into()]).await
    }
}
