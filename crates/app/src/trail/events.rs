//! The audit trail and the failed client authentications: lists, export, retention.

use crate::{
    app::App,
    error::Error,
    frame::{
        cursor::{ListQuery, Scan, invalid, time},
        entry::About,
        principal::Principal,
        targets::{Target, forbidden},
    },
    trail::verify::export_statement,
};
use aws_lc_rs::digest::{Context, SHA256};
use crossfade_authority::Failure;
use crossfade_core::{
    ClientId, Operation, Problem, PropertyId, Timestamp,
    api::{self, Page},
    audit::{
        Action, Actor, Event, Via,
        chain::ChainHash,
        ocsf::to_ocsf,
        statement::{Statement, StatementKind},
    },
    environment::Slug,
    operations::Access,
    roles::{Object, Permission},
    secret::looks_like_secret,
};
use crossfade_store::{AuditEvent, AuditFilter, FailureFilter, KnownFailure, Tx};
use serde::Serialize;
use std::{collections::HashMap, sync::Arc, time::Duration};

/// Filter for reading the trail, as sent.
#[derive(Clone, Debug, Default)]
pub struct AuditQuery {
    /// Limit and cursor.
    pub list: ListQuery,
    /// An actor's id.
    pub actor: Option<String>,
    /// An action.
    pub action: Option<String>,
    /// A client's id.
    pub client: Option<String>,
    /// An environment's slug.
    pub environment: Option<String>,
    /// Start, inclusive.
    pub since: Option<String>,
    /// End, exclusive.
    pub until: Option<String>,
    /// `done` or `refused`.
    pub outcome: Option<String>,
    /// ID of an API token or a session, a local command, or a policy.
    pub via: Option<String>,
    /// `token`, `session`, `machine` or `policy`.
    pub via_kind: Option<String>,
    /// Leaves out the beginning and the end of sessions.
    pub without_sessions: bool,
}

/// Filter for a list of failed authentications, as sent.
#[derive(Clone, Debug, Default)]
pub struct FailureQuery {
    /// Limit and cursor.
    pub list: ListQuery,
    /// A client's id.
    pub client: Option<String>,
    /// An environment's slug.
    pub environment: Option<String>,
    /// A reason.
    pub reason: Option<String>,
    /// Only rows whose last failure is not older.
    pub since: Option<String>,
}

/// Number of events in one page of an export.
const EXPORTED_AT_ONCE: i64 = 500;
const DAY: Duration = Duration::from_secs(86_400);

fn client_in(text: Option<&str>) -> Result<Option<ClientId>, Problem> {
    text.map(ClientId::parse).transpose().map_err(|_| invalid("client", "must be the id of a client"))
}

fn environment_in(text: Option<&str>) -> Result<Option<Slug>, Problem> {
    let slug = text.map(|text| Slug::parse("environment", text)).transpose();
    slug.map_err(|_| invalid("environment", "must be the slug of an environment"))
}

fn at_most(field: &str, text: Option<&str>, longest: usize) -> Result<(), Problem> {
    if text.is_some_and(|text| text.chars().count() > longest) {
        return Err(invalid(field, &format!("must be at most {longest} characters long")));
    }
    Ok(())
}

impl AuditQuery {
    fn filter(&self) -> Result<AuditFilter, Problem> {
        let action = self.action.as_deref().map(|text| {
            Action::parse(text)
                .ok_or_else(|| invalid("action", "must be an audit action, such as secret.rotated"))
        });
        if self.actor.as_deref().is_some_and(looks_like_secret) {
            return Err(invalid("actor", "must be an actor id, not a secret"));
        }
        at_most("actor", self.actor.as_deref(), 200)?;
        if self.via.as_deref().is_some_and(looks_like_secret) {
            return Err(invalid("via", "must be the id of a token, such as tok_…, not its value"));
        }
        at_most("via", self.via.as_deref(), 200)?;
        if self.via_kind.as_deref().is_some_and(|kind| !Via::KINDS.contains(&kind)) {
            return Err(invalid("via_kind", &format!("must be one of {}", Via::KINDS.join(", "))));
        }
        Ok(AuditFilter {
            actor: self.actor.clone(),
            action: action.transpose()?,
            client: client_in(self.client.as_deref())?,
            environment: environment_in(self.environment.as_deref())?,
            since: time("since", self.since.as_deref())?,
            until: time("until", self.until.as_deref())?,
            done: match self.outcome.as_deref() {
                None => None,
                Some("done") => Some(true),
                Some("refused") => Some(false),
                Some(_) => return Err(invalid("outcome", "must be done or refused")),
            },
            via: self.via.clone(),
            via_kind: self.via_kind.clone(),
            without_sessions: self.without_sessions,
        })
    }

    /// Returns the filter as text, for the event of an export.
    fn words(&self) -> String {
        let parts = [
            ("actor", &self.actor),
            ("action", &self.action),
            ("client", &self.client),
            ("environment", &self.environment),
            ("since", &self.since),
            ("until", &self.until),
            ("outcome", &self.outcome),
            ("via", &self.via),
            ("via_kind", &self.via_kind),
        ];
        let given = parts.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", value.as_ref()?)));
        given
            .chain(self.without_sessions.then(|| "without_sessions".to_owned()))
            .collect::<Vec<_>>()
            .join(" ")
    }
}

impl FailureQuery {
    fn filter(&self) -> Result<FailureFilter, Problem> {
        // An unknown reason would find nothing, as if there were no failures.
        let words = Failure::ALL.map(Failure::as_str);
        if self.reason.as_deref().is_some_and(|reason| !words.contains(&reason)) {
            return Err(invalid("reason", &format!("must be one of {}", words.join(", "))));
        }
        Ok(FailureFilter {
            client: client_in(self.client.as_deref())?,
            environment: environment_in(self.environment.as_deref())?,
            reason: self.reason.clone(),
            since: time("since", self.since.as_deref())?,
        })
    }
}

/// Target: the trail, for a principal who can audit anything. Each event is checked separately.
#[derive(Clone, Copy)]
pub(super) struct Trail;

impl Target for Trail {
    type Loaded = ();

    async fn load(&self, _: &mut Tx, principal: &Principal, access: Access) -> Result<(), Error> {
        let (Access::Needs(permission) | Access::OwnOr(permission)) = access else { return Ok(()) };
        if principal.may_somewhere(permission) { Ok(()) } else { Err(forbidden(permission)) }
    }
}

/// Decides which events a principal can read, and caches the property of each client.
struct Readable<'a> {
    principal: &'a Principal,
    everything: bool,
    properties: HashMap<ClientId, Option<PropertyId>>,
}

impl<'a> Readable<'a> {
    fn new(principal: &'a Principal) -> Self {
        let everything = principal.may(Permission::AuditRead, Object::Platform);
        Self { principal, everything, properties: HashMap::new() }
    }

    async fn allows(
        &mut self,
        tx: &mut Tx,
        client: Option<&ClientId>,
        environment: Option<&Slug>,
    ) -> Result<bool, Error> {
        if self.everything {
            return Ok(true);
        }
        let Some(client) = client else { return Ok(false) };
        if !self.properties.contains_key(client) {
            let property = tx.property_of_client(client).await?;
            self.properties.insert(client.clone(), property);
        }
        let Some(Some(property)) = self.properties.get(client) else { return Ok(false) };
        let object = match environment {
            Some(environment) => Object::Registration(property, client, environment),
            None => Object::Client(property, client),
        };
        Ok(self.principal.may(Permission::AuditRead, object))
    }
}

/// Maximum number of events deleted in one transaction.
const MOST_TRIMMED: i64 = 10_000;

impl App {
    /// Returns the part of the audit trail that the principal can audit, newest first.
    pub async fn list_audit_events(
        &self,
        principal: &Principal,
        query: &AuditQuery,
    ) -> Result<Page<api::AuditEvent>, Error> {
        // A query that cannot be read is refused before any evidence is stored.
        self.cursors.start("audit events", &query.list)?;
        query.filter()?;
        // Include the failures up to now.
        self.view_evidence(Operation::ListAuditEvents, principal, Trail, async |tx, principal, ()| {
            self.events_page(tx, principal, query).await
        })
        .await
    }

    /// Returns a page of the trail, within a read.
    pub(super) async fn events_page(
        &self,
        tx: &mut Tx,
        principal: &Principal,
        query: &AuditQuery,
    ) -> Result<Page<api::AuditEvent>, Error> {
        let start = self.cursors.start("audit events", &query.list)?;
        let filter = query.filter()?;
        let mut readable = Readable::new(principal);
        let key = |row: &AuditEvent| (row.seq, "audit".to_owned());
        let mut scan = Scan::new(&start, readable.everything);
        while let Some(from) = scan.next() {
            let before = from.after.map(|(seq, _)| seq);
            let found = tx.audit_events(&filter, before, from.limit).await?;
            let next = found.next.map(|seq| (seq, "audit".to_owned()));
            scan.looked(found.events.len(), found.looked, next);
            for row in found.events {
                let event = &row.event;
                if readable.allows(tx, event.client_id.as_ref(), event.environment.as_ref()).await? {
                    scan.keep(row);
                }
            }
        }
        let (rows, next_cursor) = scan.rows(key)?;
        Ok(Page { items: rows.into_iter().map(api::AuditEvent::from).collect(), next_cursor })
    }

    /// Begins an export of the trail as it is now. The export is itself recorded as an event.
    pub async fn export_audit_events(
        self: &Arc<Self>,
        principal: &Principal,
        query: &AuditQuery,
        format: ExportFormat,
    ) -> Result<AuditExport, Error> {
        let filter = query.filter()?;
        let operation = Operation::ExportAuditEvents;
        let known = self.node.chain_end.marked();
        let last = async |tx: &mut Tx, principal: &Principal, ()| {
            self.node.check_chain(tx, known).await?;
            let end = tx.audit_chain_end().await?;
            let everything = principal.may(Permission::AuditRead, Object::Platform);
            Ok(((end.seq, end.hash.unwrap_or(ChainHash::START)), everything))
        };
        let (end, everything) = self.judge_evidence(operation, principal, Trail, last).await?;
        let event = Event::AuditExported { filter: query.words(), up_to_seq: end.0 };
        self.change_as(principal.author(), async |act| act.audit(&event, About::default()).await).await?;
        let parts = [query.words(), if everything { "" } else { "permitted=part" }.to_owned()];
        let words = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
        Ok(AuditExport {
            app: self.clone(),
            principal: principal.clone(),
            filter,
            words,
            after: 0,
            end,
            written: 0,
            hash: Context::new(&SHA256),
            format,
            state: ExportState::Events,
        })
    }

    /// Returns failed client authentications of the clients that the principal can audit, latest hour first.
    pub async fn list_authentication_failures(
        &self,
        principal: &Principal,
        query: &FailureQuery,
    ) -> Result<Page<api::AuthenticationFailure>, Error> {
        let start = self.cursors.start("authentication failures", &query.list)?;
        let filter = query.filter()?;
        self.view_evidence(
            Operation::ListAuthenticationFailures,
            principal,
            Trail,
            async |tx, principal, ()| {
                let mut readable = Readable::new(principal);
                let key = |row: &KnownFailure| (row.hour.as_micros(), row.key.clone());
                let mut scan = Scan::new(&start, readable.everything);
                while let Some(from) = scan.next() {
                    let rows = tx.authentication_failures(&filter, &from).await?;
                    scan.read(rows.len(), rows.last().map(key));
                    for row in rows {
                        let client = row.client.as_ref().map(|(_, client)| client);
                        if readable.allows(tx, client, row.environment.as_ref()).await? {
                            scan.keep(row);
                        }
                    }
                }
                let (rows, next_cursor) = scan.rows(key)?;
                Ok(Page { items: rows.into_iter().map(shown_failure).collect(), next_cursor })
            },
        )
        .await
    }

    /// Deletes events older than the retention, by complete days, so that there is usually one event per day about it.
    /// The first deletion can cover years, so it works in batches, each with its own event, so that no other change
    /// waits long for the lock.
    pub(crate) async fn trim_trail(&self) -> Result<(), Error> {
        let Some(days) = self.audit_retention_days else { return Ok(()) };
        if self.node.chain_end.altered_after().is_some() {
            // What was there before is needed to find out what was altered.
            return Ok(());
        }
        loop {
            let known = self.node.chain_end.marked();
            let actor = Actor::policy("audit_retention", "Retention of the audit trail");
            let trimmed = self.change_as(actor, async |act| {
                let day = DAY.as_micros() as i64;
                let before = Timestamp::from_micros(act.now.before(DAY * days).as_micros() / day * day);
                let last = act.tx.last_audit_event_to_trim(before, MOST_TRIMMED).await?;
                let Some(up_to_seq) = last else { return Ok(0) };
                // Before the events are gone, so that the chain goes on from them.
                self.sign_trim(act.tx, known, up_to_seq, act.now).await?;
                let events = act.tx.trim_audit_events(up_to_seq).await?;
                let event = Event::AuditTrimmed { events, up_to_seq, retention_days: days };
                act.audit(&event, About::default()).await?;
                Ok(events)
            });
            if trimmed.await? < MOST_TRIMMED.unsigned_abs() {
                return Ok(());
            }
        }
    }
}

/// A running export. Each page is read separately, so that a long export keeps no snapshot open. The pages fit together
/// because events are only appended to the trail.
pub struct AuditExport {
    app: Arc<App>,
    principal: Principal,
    filter: AuditFilter,
    /// The filter as text; empty for a complete export.
    words: String,
    after: i64,
    /// The last event that it can contain, and its hash.
    end: (i64, ChainHash),
    written: u64,
    /// Hash of the lines of the events.
    hash: Context,
    format: ExportFormat,
    state: ExportState,
}

/// Format of an export.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ExportFormat {
    /// Events as the API lists them, then signed statements.
    #[default]
    Jsonl,
    /// Events as OCSF.
    Ocsf,
}

impl ExportFormat {
    /// Parses the parameter of the API.
    pub fn parse(text: Option<&str>) -> Result<Self, Problem> {
        match text {
            None | Some("jsonl") => Ok(Self::Jsonl),
            Some("ocsf") => Ok(Self::Ocsf),
            Some(_) => Err(invalid("format", "must be jsonl or ocsf")),
        }
    }
}

/// How far an export has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ExportState {
    Events,
    Statements,
    Done,
}

impl AuditExport {
    /// Returns the next lines; `None` at the end. Fails if the principal's permission has been removed since then.
    ///
    /// After the events come the signed statements that make the export verifiable: for a complete one where the chain
    /// begins, was cut off and forked, and for each a statement about the export.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let lines = match self.state {
            ExportState::Events => match self.events().await? {
                Some(events) if self.format == ExportFormat::Ocsf => ocsf_lines(&events)?,
                Some(events) => {
                    let lines = json_lines(&events)?;
                    self.hash.update(&lines);
                    self.written += events.len() as u64;
                    lines
                }
                None if self.format == ExportFormat::Ocsf => {
                    self.state = ExportState::Done;
                    return Ok(None);
                }
                None => {
                    self.state = ExportState::Statements;
                    self.statements().await?
                }
            },
            ExportState::Statements => {
                self.state = ExportState::Done;
                return Ok(None);
            }
            ExportState::Done => return Ok(None),
        };
        Ok(Some(lines))
    }

    async fn statements(&mut self) -> Result<Vec<u8>, Error> {
        let mut signed = Vec::new();
        if self.words.is_empty() {
            let up_to = self.end.0;
            signed = self.app.node.read(async |tx| Ok(tx.audit_milestones(up_to).await?)).await?;
        }
        let now = self.app.clock.now();
        let statement = Statement::new(StatementKind::Export, self.end, now);
        let statement = export_statement(statement, self.words.clone(), self.written, self.hash.clone());
        signed.push(self.app.audit_key.sign(statement)?);
        json_lines(&signed)
    }

    async fn events(&mut self) -> Result<Option<Vec<api::AuditEvent>>, Error> {
        let (filter, from, up_to) = (&self.filter, self.after, self.end.0);
        let operation = Operation::ExportAuditEvents;
        let _turns = self.app.reads.part(self.principal.user()).await?;
        let (rows, last) = self
            .app
            .view(operation, &self.principal, Trail, async |tx, principal, ()| {
                let mut readable = Readable::new(principal);
                let rows = tx.export_audit_events(filter, from, up_to, EXPORTED_AT_ONCE).await?;
                let last = rows.last().map(|row| row.seq);
                let mut seen = Vec::new();
                for row in rows {
                    let event = &row.event;
                    if readable.allows(tx, event.client_id.as_ref(), event.environment.as_ref()).await? {
                        seen.push(api::AuditEvent::from(row));
                    }
                }
                Ok((seen, last))
            })
            .await?;
        let Some(last) = last else { return Ok(None) };
        self.after = last;
        Ok(Some(rows))
    }
}

fn json_lines(rows: &[impl Serialize]) -> Result<Vec<u8>, Error> {
    let mut lines = Vec::new();
    for row in rows {
        serde_json::to_writer(&mut lines, row).map_err(Error::internal)?;
        lines.push(b'\n');
    }
    Ok(lines)
}

fn ocsf_lines(events: &[api::AuditEvent]) -> Result<Vec<u8>, Error> {
    let ocsf = |event| Ok(to_ocsf(event, &serde_json::to_string(event).map_err(Error::internal)?));
    json_lines(&events.iter().map(ocsf).collect::<Result<Vec<_>, Error>>()?)
}

fn shown_failure(row: KnownFailure) -> api::AuthenticationFailure {
    api::AuthenticationFailure {
        hour: row.hour,
        client_id: row.client.map(|(_, client)| client),
        environment: row.environment.map(|slug| slug.to_string()),
        secret_id: row.secret_id,
        reason: row.reason,
        source_ip: Some(row.source_ip).filter(|text| !text.is_empty()),
        first_at: row.usage.first_used_at,
        last_at: row.usage.last_used_at,
        count: row.usage.use_count,
    }
}
