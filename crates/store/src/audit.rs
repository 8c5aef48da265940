//! The audit trail.

use crate::{
    StoreError, Tx,
    catalogue::{Statement, statements},
    db::{Row, Value},
    secrets::actor,
};
use crossfade_core::{
    ClientId, Timestamp,
    audit::{Action, Actor, Origin, Via, chain::ChainHash},
    environment::Slug,
};

/// An event to append.
#[derive(Clone, Debug)]
pub struct NewAuditEvent {
    /// Time.
    pub at: Timestamp,
    /// Actor.
    pub actor: Actor,
    /// Origin of the request.
    pub origin: Origin,
    /// Credential, command or policy it was done with; `None` if there was none.
    pub via: Option<Via>,
    /// Action.
    pub action: Action,
    /// Whether it was done or refused.
    pub done: bool,
    /// Client it concerns.
    pub client_id: Option<ClientId>,
    /// Environment it concerns.
    pub environment: Option<Slug>,
    /// Object it concerns.
    pub target: Option<String>,
    /// Reason.
    pub reason: Option<String>,
    /// Further facts.
    pub details: serde_json::Value,
}

/// A stored event.
#[derive(Clone, Debug)]
pub struct AuditEvent {
    /// Its place in the trail.
    pub seq: i64,
    /// The event.
    pub event: NewAuditEvent,
    /// Hash of the event before and its own; `None` for events recorded before the trail had a chain.
    pub chained: Option<(ChainHash, ChainHash)>,
}

/// Filter for reading the trail.
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
    /// Start, inclusive.
    pub since: Option<Timestamp>,
    /// End, exclusive.
    pub until: Option<Timestamp>,
    /// Only completed actions, or only refused ones.
    pub done: Option<bool>,
    /// ID of a token or session, a local command, or a policy.
    pub via: Option<String>,
    /// One of [`Via::KINDS`].
    pub via_kind: Option<String>,
    /// Leaves out the beginning and the end of sessions.
    pub without_sessions: bool,
}

/// Number of events that one statement searches for matches of a filter.
pub const LOOKED_AT_ONCE: i64 = 10_000;

/// Events found by a search.
#[derive(Clone, Debug)]
pub struct AuditPage {
    /// The events, newest first.
    pub events: Vec<AuditEvent>,
    /// Number of events searched.
    pub looked: i64,
    /// Continue the search before this event; `None` if there are no more events.
    pub next: Option<i64>,
}

macro_rules! columns {
    () => {
        "seq, at, actor_kind, actor_id, actor_name, action, outcome, client_id, environment, target, reason, details, source_ip, request_id, via_kind, via_id, previous_hash, hash"
    };
}

macro_rules! filters {
    () => {
        "(CAST($3 AS TEXT) IS NULL OR actor_id = $3)
              AND (CAST($4 AS TEXT) IS NULL OR action = $4)
              AND (CAST($5 AS TEXT) IS NULL OR client_id = $5)
              AND (CAST($6 AS TEXT) IS NULL OR environment = $6)
              AND (CAST($7 AS BIGINT) IS NULL OR at >= $7)
              AND (CAST($8 AS BIGINT) IS NULL OR at < $8)
              AND (CAST($9 AS TEXT) IS NULL OR outcome = $9)
              AND (CAST($10 AS TEXT) IS NULL OR via_id = $10)
              AND (CAST($11 AS TEXT) IS NULL OR via_kind = $11)
              AND (CAST($13 AS BIGINT) = 0 OR action NOT IN ('session.created', 'session.ended'))"
    };
}

/// A page of matches, newest first, from the next $12 events found by an index. An “absent or equal” condition cannot
/// use an index, so each indexed filter has its own statement.
macro_rules! list {
    ($lead:literal) => {
        concat!(
            "WITH looked AS (SELECT ",
            columns!(),
            " FROM audit_events WHERE ",
            $lead,
            "seq < $1 ORDER BY seq DESC LIMIT $12)
             SELECT ",
            columns!(),
            " FROM looked WHERE ",
            filters!(),
            " ORDER BY seq DESC LIMIT $2"
        )
    };
}

/// How far the matching `list!` statement searched, and whether everything before that is older than $3. Events of
/// deadlines and refusals can be dated back; all other events were written when they happened.
macro_rules! looked {
    ($lead:literal) => {
        concat!(
            "WITH looked AS (SELECT seq, at, action FROM audit_events WHERE ", $lead, "seq < $1 ORDER BY seq DESC LIMIT $2)
             SELECT CAST(COUNT(*) AS BIGINT) AS looked, CAST(MIN(seq) AS BIGINT) AS seq,
                    CAST(COUNT(CASE WHEN at < $3 AND action NOT IN ('secret.expired', 'access.refused') THEN 1 END) AS BIGINT) AS older FROM looked"
        )
    };
}

statements! {
    INSERT = "INSERT INTO audit_events (seq, at, actor_kind, actor_id, actor_name, action, outcome, client_id, environment, target, reason, details, source_ip, request_id, via_kind, via_id, previous_hash, hash)
              VALUES {rows:18}";
    TRAIL = list!("");
    TRAIL_OF_CLIENT = list!("client_id = $5 AND ");
    TRAIL_OF_VIA = list!("via_id = $10 AND ");
    TRAIL_OF_ACTOR = list!("actor_id = $3 AND ");
    TRAIL_OF_ACTION = list!("action = $4 AND ");
    LOOKED = looked!("");
    LOOKED_OF_CLIENT = looked!("client_id = $4 AND ");
    LOOKED_OF_VIA = looked!("via_id = $4 AND ");
    LOOKED_OF_ACTOR = looked!("actor_id = $4 AND ");
    LOOKED_OF_ACTION = looked!("action = $4 AND ");
    EXPORT = concat!("SELECT ", columns!(), " FROM audit_events WHERE seq > $1 AND seq <= $12 AND ", filters!(), " ORDER BY seq LIMIT $2");
    LAST = "SELECT CAST(COALESCE(MAX(seq), 0) AS BIGINT) AS seq FROM audit_events";
    FIRST_KEPT = "SELECT CAST(MIN(seq) AS BIGINT) AS seq FROM audit_events WHERE at >= $1";
    OLDEST = "SELECT CAST(MIN(seq) AS BIGINT) AS seq FROM audit_events";
    TRIM = "DELETE FROM audit_events WHERE seq < $1";
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
            origin: Origin {
                ip: None,
                stored: row.opt_text("source_ip")?,
                request_id: row.opt_text("request_id")?,
            },
            via: via(row)?,
        },
        chained: chained(row)?,
    })
}

fn via(row: &Row) -> Result<Option<Via>, StoreError> {
    let id = row.opt_text("via_id")?.unwrap_or_default();
    row.opt_parsed("via_kind", |kind| Via::from_parts(kind, id.clone()))
}

fn chained(row: &Row) -> Result<Option<(ChainHash, ChainHash)>, StoreError> {
    let hash = |column| Ok::<_, StoreError>(row.opt_blob(column)?.as_deref().and_then(ChainHash::from_bytes));
    Ok(hash("previous_hash")?.zip(hash("hash")?))
}

fn outcome(done: bool) -> &'static str {
    if done { "done" } else { "refused" }
}

impl AuditFilter {
    /// Returns the statements for the indexed condition of this filter, and the value of that condition.
    fn lead(&self) -> (Statement, Statement, Option<&str>) {
        match (&self.client, &self.via, &self.actor, self.action) {
            (Some(client), ..) => (TRAIL_OF_CLIENT, LOOKED_OF_CLIENT, Some(client.as_str())),
            (None, Some(via), ..) => (TRAIL_OF_VIA, LOOKED_OF_VIA, Some(via)),
            (None, None, Some(actor), _) => (TRAIL_OF_ACTOR, LOOKED_OF_ACTOR, Some(actor)),
            (None, None, None, Some(action)) => (TRAIL_OF_ACTION, LOOKED_OF_ACTION, Some(action.as_str())),
            (None, None, None, None) => (TRAIL, LOOKED, None),
        }
    }

    /// Whether the filter has conditions beyond the indexed one.
    fn asks_more_than(&self, lead: bool) -> bool {
        let asked = [
            self.actor.is_some(),
            self.action.is_some(),
            self.client.is_some(),
            self.environment.is_some(),
            self.since.is_some(),
            self.until.is_some(),
            self.done.is_some(),
            self.via.is_some(),
            self.via_kind.is_some(),
            self.without_sessions,
        ];
        asked.into_iter().filter(|it| *it).count() > usize::from(lead)
    }

    fn args(&self, from: i64, limit: i64) -> Vec<Value> {
        vec![
            from.into(),
            limit.into(),
            self.actor.clone().into(),
            self.action.map(Action::as_str).into(),
            self.client.as_ref().map(ClientId::as_str).into(),
            self.environment.as_ref().map(Slug::as_str).into(),
            self.since.into(),
            self.until.into(),
            self.done.map(outcome).into(),
            self.via.clone().into(),
            self.via_kind.clone().into(),
        ]
    }
}

impl Tx {
    /// Appends an event to the trail.
    pub async fn append_audit(&mut self, new: &NewAuditEvent) -> Result<(), StoreError> {
        self.append_audits(std::slice::from_ref(new)).await
    }

    /// Appends events to the trail, in this order.
    pub async fn append_audits(&mut self, new: &[NewAuditEvent]) -> Result<(), StoreError> {
        let mut rows = Vec::with_capacity(new.len());
        for event in new {
            rows.push(self.audit_row(event).await?);
        }
        self.many(INSERT, &rows).await.map(drop)
    }

    async fn audit_row(&mut self, new: &NewAuditEvent) -> Result<Vec<Value>, StoreError> {
        let seq = self.next_audit();
        let (previous, own) = self.chain_event(seq, new).await?;
        Ok(vec![
            seq.into(),
            new.at.into(),
            new.actor.kind().into(),
            new.actor.id().into(),
            new.actor.name().into(),
            new.action.as_str().into(),
            outcome(new.done).into(),
            new.client_id.as_ref().map(ClientId::as_str).into(),
            new.environment.as_ref().map(Slug::as_str).into(),
            new.target.clone().into(),
            new.reason.clone().into(),
            new.details.to_string().into(),
            new.origin.stored.clone().into(),
            new.origin.request_id.clone().into(),
            new.via.as_ref().map(Via::kind).into(),
            new.via.as_ref().map(Via::id).into(),
            previous.as_bytes().into(),
            own.as_bytes().into(),
        ])
    }

    /// Returns the events of the trail before `before`, newest first: those found among the next [`LOOKED_AT_ONCE`].
    pub async fn audit_events(
        &mut self,
        filter: &AuditFilter,
        before: Option<i64>,
        limit: i64,
    ) -> Result<AuditPage, StoreError> {
        let before = before.unwrap_or(i64::MAX);
        let (list, looked, lead) = filter.lead();
        // Where nothing else is asked for, what is found is the page.
        let span = if filter.asks_more_than(lead.is_some()) { LOOKED_AT_ONCE.max(limit) } else { limit };
        let mut args = filter.args(before, limit);
        args.extend([span.into(), filter.without_sessions.into()]);
        let events = self.rows(list, args).await?.iter().map(event).collect::<Result<Vec<_>, _>>()?;
        if events.len() as i64 >= limit {
            return Ok(AuditPage { looked: limit, next: events.last().map(|event| event.seq), events });
        }
        let mut args = vec![before.into(), span.into(), filter.since.into()];
        args.extend(lead.map(Value::from));
        let row = self.one(looked, args).await?;
        let looked = row.int("looked")?;
        let more = looked == span && row.int("older")? == 0;
        Ok(AuditPage { looked, next: row.opt_int("seq")?.filter(|_| more), events })
    }

    /// Returns the events of the trail after `after` and up to `up_to`, oldest first.
    pub async fn export_audit_events(
        &mut self,
        filter: &AuditFilter,
        after: i64,
        up_to: i64,
        limit: i64,
    ) -> Result<Vec<AuditEvent>, StoreError> {
        let mut args = filter.args(after, limit);
        args.extend([up_to.into(), filter.without_sessions.into()]);
        self.rows(EXPORT, args).await?.iter().map(event).collect()
    }

    /// Returns the number of the newest event; 0 in an empty trail.
    pub async fn last_audit_event(&mut self) -> Result<i64, StoreError> {
        self.one(LAST, vec![]).await?.int("seq")
    }

    /// Deletes the events up to this one. Returns their number.
    pub async fn trim_audit_events(&mut self, up_to: i64) -> Result<u64, StoreError> {
        self.execute(TRIM, vec![up_to.saturating_add(1).into()]).await
    }

    /// Returns the last of at most `most` events at the beginning of the trail that precede the first event that is from
    /// `before` or later; `None` if there is no such event.
    pub async fn last_audit_event_to_trim(
        &mut self,
        before: Timestamp,
        most: i64,
    ) -> Result<Option<i64>, StoreError> {
        let Some(oldest) = self.one(OLDEST, vec![]).await?.opt_int("seq")? else { return Ok(None) };
        let first = match self.one(FIRST_KEPT, vec![before.into()]).await?.opt_int("seq")? {
            Some(first) => first,
            None => self.last_audit_event().await? + 1,
        };
        let first = first.min(oldest.saturating_add(most));
        Ok((first > oldest).then(|| first - 1))
    }
}
