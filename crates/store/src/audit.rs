//! The audit trail, and messages to owners.

use crate::{StoreError, Tx, catalogue::statements, db::Row, secrets::actor};
use crossfade_core::{
    ClientId, Timestamp,
    audit::{Action, Actor},
    environment::Slug,
};

/// An event to append.
#[derive(Clone, Debug)]
pub struct NewAuditEvent {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// What.
    pub action: Action,
    /// Whether it was done or refused.
    pub done: bool,
    /// The client that it concerns.
    pub client_id: Option<ClientId>,
    /// The environment that it concerns.
    pub environment: Option<Slug>,
    /// The object that it concerns.
    pub target: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// Further facts.
    pub details: serde_json::Value,
}

/// An event as it is stored.
#[derive(Clone, Debug)]
pub struct AuditEvent {
    /// Its place in the trail.
    pub seq: i64,
    /// The event.
    pub event: NewAuditEvent,
}

/// What a reading of the trail is limited to.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// An actor's id.
    pub actor: Option<String>,
    /// An action.
    pub action: Option<Action>,
    /// A client.
    pub client: Option<ClientId>,
    /// An environment.
    pub environment: Option<Slug>,
    /// From this time on.
    pub since: Option<Timestamp>,
    /// Up to, and not including, this time.
    pub until: Option<Timestamp>,
}

/// A message to the owners of a client.
#[derive(Clone, Debug)]
pub struct Notification {
    /// Its id, which a repeated delivery keeps.
    pub id: String,
    /// When it was queued.
    pub created_at: Timestamp,
    /// The action that it tells of.
    pub event: Action,
    /// The client that it concerns.
    pub client_id: Option<ClientId>,
    /// The environment that it concerns.
    pub environment: Option<Slug>,
    /// Who is told.
    pub recipients: Vec<String>,
    /// What happened. Never a secret.
    pub details: serde_json::Value,
}

statements! {
    INSERT = "INSERT INTO audit_events (seq, at, actor_kind, actor_id, actor_name, action, outcome, client_id, environment, target, reason, details)
              VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
    LIST = "SELECT seq, at, actor_kind, actor_id, actor_name, action, outcome, client_id, environment, target, reason, details FROM audit_events
            WHERE (CAST($1 AS BIGINT) IS NULL OR seq < $1)
              AND (CAST($3 AS TEXT) IS NULL OR actor_id = $3)
              AND (CAST($4 AS TEXT) IS NULL OR action = $4)
              AND (CAST($5 AS TEXT) IS NULL OR client_id = $5)
              AND (CAST($6 AS TEXT) IS NULL OR environment = $6)
              AND (CAST($7 AS BIGINT) IS NULL OR at >= $7)
              AND (CAST($8 AS BIGINT) IS NULL OR at < $8)
            ORDER BY seq DESC LIMIT $2";
    INSERT_NOTIFICATION = "INSERT INTO notifications (id, created_at, event, client_id, environment, recipients, details) VALUES ($1, $2, $3, $4, $5, $6, $7)";
    NOTIFICATIONS = "SELECT id, created_at, event, client_id, environment, recipients, details FROM notifications
                     WHERE CAST($1 AS TEXT) IS NULL OR client_id = $1 ORDER BY created_at DESC, id LIMIT 500";
    DELETE_NOTIFICATIONS = "DELETE FROM notifications WHERE created_at < $1";
}

fn event(row: &Row) -> Result<AuditEvent, StoreError> {
    Ok(AuditEvent {
        seq: row.int("seq")?,
        event: NewAuditEvent {
            at: row.time("at")?,
            actor: actor(row)?,
            action: row.parsed("action", Action::parse)?,
            done: row.parsed("outcome", |text| match text {
                "done" => Some(true),
                "refused" => Some(false),
                _ => None,
            })?,
            client_id: row.opt_parsed("client_id", |text| ClientId::parse(text).ok())?,
            environment: row.opt_text("environment")?.map(Slug::from_stored),
            target: row.opt_text("target")?,
            reason: row.opt_text("reason")?,
            details: row.parsed("details", |text| serde_json::from_str(text).ok())?,
        },
    })
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
    /// Appends an event to the trail.
    pub async fn append_audit(&mut self, new: &NewAuditEvent) -> Result<(), StoreError> {
        let args = vec![
            self.next_audit().into(),
            new.at.into(),
            new.actor.kind().into(),
            new.actor.id().into(),
            new.actor.name().into(),
            new.action.as_str().into(),
            if new.done { "done" } else { "refused" }.into(),
            new.client_id.as_ref().map(ClientId::as_str).into(),
            new.environment.as_ref().map(Slug::as_str).into(),
            new.target.clone().into(),
            new.reason.clone().into(),
            new.details.to_string().into(),
        ];
        self.execute(INSERT, args).await.map(drop)
    }

    /// Events of the trail, newest first, before `before`.
    pub async fn audit_events(
        &mut self,
        filter: &AuditFilter,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<AuditEvent>, StoreError> {
        let args = vec![
            before.into(),
            limit.into(),
            filter.actor.clone().into(),
            filter.action.map(Action::as_str).into(),
            filter.client.as_ref().map(ClientId::as_str).into(),
            filter.environment.as_ref().map(Slug::as_str).into(),
            filter.since.into(),
            filter.until.into(),
        ];
        self.rows(LIST, args).await?.iter().map(event).collect()
    }

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
        self.execute(INSERT_NOTIFICATION, args).await.map(drop)
    }

    /// The queued messages, newest first: all, or those about one client.
    pub async fn notifications(
        &mut self,
        client: Option<&ClientId>,
    ) -> Result<Vec<Notification>, StoreError> {
        self.rows(NOTIFICATIONS, vec![client.map(ClientId::as_str).into()])
            .await?
            .iter()
            .map(notification)
            .collect()
    }

    /// Forgets messages queued before `before`.
    pub async fn delete_notifications(&mut self, before: Timestamp) -> Result<u64, StoreError> {
        self.execute(DELETE_NOTIFICATIONS, vec![before.into()]).await
    }
}
