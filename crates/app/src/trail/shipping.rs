//! Ships the audit trail to its destinations, at least once and in order, from events that are already stored. A
//! destination that is slow or down holds up nothing: its events wait in the database.

use super::sinks::{AuditSink, Link, Shipped};
use crate::{app::App, error::Error};
use crossfade_core::{Timestamp, api};
use crossfade_store::AuditFilter;
use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Pause between two looks for new events.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Pause after a failure, doubled after each further one.
const RETRY_AFTER: Duration = Duration::from_secs(1);
const RETRY_AT_MOST: Duration = Duration::from_secs(60);
/// Number of events sent at once.
const SENT_AT_ONCE: i64 = 200;
/// How often a position is stored, because storing takes the lock that every change waits for.
const STORE_EVERY: Duration = Duration::from_secs(10);

/// How far a destination is behind the trail.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SinkState {
    /// Kind: `file` or `syslog`.
    pub kind: &'static str,
    /// Events that are not sent.
    pub behind: i64,
    /// Whether the last attempt failed.
    pub is_failing: bool,
}

/// The destinations of this process.
#[derive(Default)]
pub(crate) struct Shipping {
    sinks: Vec<AuditSink>,
    states: Mutex<Vec<SinkState>>,
    courses: tokio::sync::Mutex<Vec<Option<Course>>>,
}

/// One destination, as the task knows it.
struct Course {
    link: Option<Link>,
    /// The last event that was sent, and the last whose sending was stored.
    sent: i64,
    stored: i64,
    stored_at: Duration,
    pause: Duration,
    retry_at: Duration,
}

impl Shipping {
    pub(crate) fn new(sinks: Vec<AuditSink>) -> Self {
        let state = |sink: &AuditSink| SinkState { kind: sink.kind(), behind: 0, is_failing: false };
        let states = Mutex::new(sinks.iter().map(state).collect());
        let courses = tokio::sync::Mutex::new(sinks.iter().map(|_| None).collect());
        Self { sinks, states, courses }
    }

    /// Returns how far each destination is.
    pub(crate) fn states(&self) -> Vec<SinkState> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, at: usize, work: impl FnOnce(&mut SinkState)) {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = states.get_mut(at) {
            work(state);
        }
    }
}

impl App {
    /// Ships the trail to every destination until the process ends.
    pub(crate) async fn ship_trail(&self) {
        if self.shipping.sinks.is_empty() {
            return std::future::pending().await;
        }
        loop {
            for (at, course) in self.shipping.courses.lock().await.iter_mut().enumerate() {
                self.ship_to(at, course).await;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Sends what is new to every destination once, and stores how far each is. For the end of a process, and tests.
    pub async fn ship_trail_once(&self) {
        for (at, course) in self.shipping.courses.lock().await.iter_mut().enumerate() {
            self.ship_to(at, course).await;
            if let Some(course) = course {
                self.store_position(at, course).await;
            }
        }
    }

    async fn ship_to(&self, at: usize, slot: &mut Option<Course>) {
        let Some(sink) = self.shipping.sinks.get(at) else { return };
        let course = match slot {
            Some(course) => course,
            None => {
                let name = sink.to_string();
                let read = async |tx: &mut crossfade_store::Tx| Ok(tx.audit_position(&name).await?);
                let Ok(seq) = self.node.read(read).await else { return };
                slot.insert(Course {
                    link: None,
                    sent: seq,
                    stored: seq,
                    stored_at: self.clock.elapsed(),
                    pause: RETRY_AFTER,
                    retry_at: Duration::ZERO,
                })
            }
        };
        if self.clock.elapsed() < course.retry_at {
            return;
        }
        loop {
            match self.send_some(sink, course).await {
                Ok(behind) => {
                    self.shipping.note(at, |state| {
                        if state.is_failing {
                            tracing::info!(sink = %sink, "the audit trail is shipped again");
                        }
                        *state = SinkState { kind: state.kind, behind, is_failing: false };
                    });
                    course.pause = RETRY_AFTER;
                    if course.stored < course.sent
                        && self.clock.elapsed().saturating_sub(course.stored_at) >= STORE_EVERY
                    {
                        self.store_position(at, course).await;
                    }
                    if behind == 0 {
                        return;
                    }
                }
                Err(error) => {
                    // What was sent since the position was stored may be lost with the connection.
                    course.link = None;
                    course.sent = course.stored;
                    course.retry_at = self.clock.elapsed() + course.pause;
                    course.pause = (course.pause * 2).min(RETRY_AT_MOST);
                    self.shipping.note(at, |state| {
                        if !state.is_failing {
                            tracing::error!(sink = %sink, %error, "cannot ship the audit trail; its events wait in the database");
                        }
                        state.is_failing = true;
                    });
                    return;
                }
            }
        }
    }

    /// Sends the next events. Returns how many are left.
    async fn send_some(&self, sink: &AuditSink, course: &mut Course) -> Result<i64, Error> {
        let after = course.sent;
        let (events, end) = self
            .node
            .read(async |tx| {
                let end = tx.last_audit_event().await?;
                let events =
                    tx.export_audit_events(&AuditFilter::default(), after, end, SENT_AT_ONCE).await?;
                Ok((events, end))
            })
            .await?;
        if let Some(link) = &course.link {
            link.check().map_err(Error::internal)?;
        }
        let Some(last) = events.last().map(|event| event.seq) else { return Ok(0) };
        let mut shipped = Vec::with_capacity(events.len());
        for event in events {
            let event = api::AuditEvent::from(event);
            let mut line = serde_json::to_vec(&event).map_err(Error::internal)?;
            line.push(b'\n');
            shipped.push(Shipped { event, line });
        }
        let link = match &mut course.link {
            Some(link) => link,
            none => none.insert(Link::open(sink).await.map_err(Error::internal)?),
        };
        link.send(&self.host(), &shipped).await.map_err(Error::internal)?;
        course.sent = last;
        Ok(end - last)
    }

    /// Stores how far a destination is, after its connection has proved to be alive.
    async fn store_position(&self, at: usize, course: &mut Course) {
        let Some(sink) = self.shipping.sinks.get(at) else { return };
        if course.sent == course.stored {
            return;
        }
        let _turn = self.node.background_turn().await;
        let (name, seq) = (sink.to_string(), course.sent);
        let stored =
            self.node.transact(async |tx, now: Timestamp| Ok(tx.set_audit_position(&name, seq, now).await?));
        match stored.await {
            Ok(()) => (course.stored, course.stored_at) = (seq, self.clock.elapsed()),
            Err(error) => {
                tracing::warn!(sink = %sink, %error, "cannot store how far the audit trail was shipped")
            }
        }
    }

    /// Returns the host that syslog messages name.
    fn host(&self) -> String {
        let host = self.public_url.split("://").nth(1).unwrap_or("-");
        let host = host.split('/').next().unwrap_or("-");
        let host: String = host.chars().filter(char::is_ascii_graphic).take(255).collect();
        if host.is_empty() { "-".to_owned() } else { host }
    }
}
