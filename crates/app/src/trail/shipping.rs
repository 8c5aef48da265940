//! Ships the audit trail to its destinations, at least once and in order, from events that are already stored. A
//! destination that is slow or down holds up nothing: its events wait in the database.

use super::sinks::{AuditSink, Link, Shipped};
use crate::{app::App, error::Error};
use crossfade_core::{Timestamp, api, audit::chain::ChainHash};
use crossfade_store::AuditFilter;
use std::{
    io,
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
    /// History that the positions are about: the number of times the tables were loaded from another one.
    epoch: u64,
    /// The last event that was sent, and its hash if this process sent it.
    sent: i64,
    sent_hash: Option<ChainHash>,
    /// An event that was sent, and when. It is confirmed after a while without a fault.
    waiting: Option<(i64, Duration)>,
    /// The last event that has arrived, as far as the destination can tell.
    confirmed: i64,
    /// The last event whose sending was stored.
    stored: i64,
    stored_at: Duration,
    /// Maximum number of events sent together. Halved after a timeout.
    batch: i64,
    pause: Duration,
    retry_at: Duration,
}

impl Course {
    fn new(seq: i64, epoch: u64, now: Duration) -> Self {
        Self {
            link: None,
            epoch,
            sent: seq,
            sent_hash: None,
            waiting: None,
            confirmed: seq,
            stored: seq,
            stored_at: now,
            batch: SENT_AT_ONCE,
            pause: RETRY_AFTER,
            retry_at: Duration::ZERO,
        }
    }

    /// Notes that the connection had no fault until now.
    fn confirm(&mut self, now: Duration) {
        let after = self.link.as_ref().map_or(Duration::ZERO, Link::confirms_after);
        let (seq, at) = *self.waiting.get_or_insert((self.sent, now));
        if now.saturating_sub(at) >= after {
            (self.confirmed, self.waiting) = (seq, None);
        }
        if after.is_zero() {
            self.confirmed = self.sent;
        }
    }

    /// Goes back to what is stored, because what was sent since then may be lost with the connection.
    fn fail(&mut self, is_late: bool, now: Duration) {
        if !self.link.as_ref().is_some_and(Link::is_busy) {
            self.link = None;
        }
        (self.sent, self.confirmed, self.sent_hash, self.waiting) = (self.stored, self.stored, None, None);
        if is_late {
            self.batch = (self.batch / 2).max(1);
        }
        self.retry_at = now + self.pause;
        self.pause = (self.pause * 2).min(RETRY_AT_MOST);
    }
}

/// Result of sending the next events.
enum Sent {
    /// They were sent. Contains the number of events that are left.
    Left(i64),
    /// The database does not continue what was sent: a failover lost events.
    OtherHistory,
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

/// Why events were not sent.
enum Failed {
    Link(io::Error),
    Here(Error),
}

impl Failed {
    /// Whether the destination took too long.
    fn is_late(&self) -> bool {
        matches!(self, Self::Link(error) if error.kind() == io::ErrorKind::TimedOut)
    }

    fn into_error(self) -> Error {
        match self {
            Self::Link(error) => Error::internal(error),
            Self::Here(error) => error,
        }
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Link(error)
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Here(error)
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
                match self.node.leads() {
                    true => self.ship_to(at, course).await,
                    // Another node ships it, and stores how far.
                    false => *course = None,
                }
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

    /// Returns the number of the history that positions are about: the tables were loaded from another one, or another node
    /// has shipped meanwhile.
    fn shipping_epoch(&self) -> u64 {
        self.node.feed.epoch() + self.node.led()
    }

    async fn ship_to(&self, at: usize, slot: &mut Option<Course>) {
        let Some(sink) = self.shipping.sinks.get(at) else { return };
        let course = match slot {
            Some(course) => course,
            None => {
                let (name, epoch) = (sink.to_string(), self.shipping_epoch());
                let read = async |tx: &mut crossfade_store::Tx| {
                    // A position after the end is of a history that was lost.
                    Ok(tx.audit_position(&name).await?.min(tx.last_audit_event().await?))
                };
                let Ok(seq) = self.node.read(read).await else { return };
                slot.insert(Course::new(seq, epoch, self.clock.elapsed()))
            }
        };
        if self.clock.elapsed() < course.retry_at {
            return;
        }
        while self.node.leads() {
            match self.send_some(sink, course).await {
                Ok(Sent::OtherHistory) => {
                    tracing::warn!(
                        sink = %sink,
                        sent = course.sent,
                        "the database does not continue the audit trail that was shipped; it is shipped from the stored position"
                    );
                    *slot = None;
                    return;
                }
                Ok(Sent::Left(behind)) => {
                    self.shipping.note(at, |state| {
                        if state.is_failing {
                            tracing::info!(sink = %sink, "the audit trail is shipped again");
                        }
                        *state = SinkState { kind: state.kind, behind, is_failing: false };
                    });
                    course.pause = RETRY_AFTER;
                    course.confirm(self.clock.elapsed());
                    if course.stored < course.confirmed
                        && self.clock.elapsed().saturating_sub(course.stored_at) >= STORE_EVERY
                    {
                        self.store_position(at, course).await;
                    }
                    if behind == 0 {
                        return;
                    }
                }
                Err(error) => {
                    course.fail(error.is_late(), self.clock.elapsed());
                    let error = error.into_error();
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

    /// Sends the next events, unless they do not continue what was sent.
    async fn send_some(&self, sink: &AuditSink, course: &mut Course) -> Result<Sent, Failed> {
        if course.epoch != self.shipping_epoch() {
            return Ok(Sent::OtherHistory);
        }
        let (after, at_once) = (course.sent, course.batch);
        let (events, end) = self
            .node
            .read(async |tx| {
                let end = tx.last_audit_event().await?;
                let events = tx.export_audit_events(&AuditFilter::default(), after, end, at_once).await?;
                Ok((events, end))
            })
            .await?;
        if end < after {
            return Ok(Sent::OtherHistory);
        }
        if let Some(link) = &course.link {
            link.check()?;
        }
        let Some(last) = events.last().map(|event| event.seq) else { return Ok(Sent::Left(0)) };
        let mut shipped = Vec::with_capacity(events.len());
        for event in events {
            let event = api::AuditEvent::from(event);
            if event.seq == after + 1 && course.sent_hash.is_some() && event.previous_hash != course.sent_hash
            {
                return Ok(Sent::OtherHistory);
            }
            let mut line = serde_json::to_vec(&event).map_err(Error::internal)?;
            line.push(b'\n');
            shipped.push(Shipped { event, line });
        }
        let link = match &mut course.link {
            Some(link) => link,
            none => none.insert(Link::open(sink).await?),
        };
        link.send(&self.host(), &shipped).await?;
        course.sent = last;
        course.sent_hash = shipped.last().and_then(|shipped| shipped.event.hash);
        Ok(Sent::Left(end - last))
    }

    /// Stores how far a destination is, unless the database does not have that event.
    async fn store_position(&self, at: usize, course: &mut Course) {
        let Some(sink) = self.shipping.sinks.get(at) else { return };
        if course.confirmed == course.stored {
            return;
        }
        let _turn = self.node.background_turn().await;
        let (name, seq, epoch) = (sink.to_string(), course.confirmed, course.epoch);
        let stored = self.node.transact(async |tx, now: Timestamp| {
            let is_known = self.shipping_epoch() == epoch && seq <= tx.last_audit_event().await?;
            if is_known {
                tx.set_audit_position(&name, seq, now).await?;
            }
            Ok(is_known)
        });
        match stored.await {
            Ok(true) => {
                (course.stored, course.stored_at) = (seq, self.clock.elapsed());
                // Only now, so that a batch that is too large does not undo what a smaller one has achieved.
                course.batch = (course.batch * 2).min(SENT_AT_ONCE);
            }
            Ok(false) => {}
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

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    #[test]
    fn a_batch_is_halved_after_a_timeout_and_only_then() {
        let mut course = Course::new(7, 0, seconds(0));
        course.fail(false, seconds(1));
        assert_eq!(course.batch, SENT_AT_ONCE);
        for expected in [100, 50, 25, 12, 6, 3, 1, 1] {
            (course.sent, course.confirmed) = (99, 98);
            course.fail(true, seconds(1));
            assert_eq!((course.batch, course.sent, course.confirmed), (expected, 7, 7));
        }
    }

    #[test]
    fn what_was_sent_without_a_connection_to_confirm_it_is_confirmed_immediately() {
        let mut course = Course::new(7, 0, seconds(0));
        course.sent = 9;
        course.confirm(seconds(0));
        assert_eq!(course.confirmed, 9);
    }

    #[tokio::test]
    async fn events_over_tcp_are_confirmed_after_a_while_without_a_fault() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sink = AuditSink::SyslogTcp(listener.local_addr().unwrap().to_string());
        let mut course = Course::new(7, 0, seconds(0));
        course.link = Some(Link::open(&sink).await.unwrap());
        let mut at = |sent, now| {
            course.sent = sent;
            course.confirm(seconds(now));
            course.confirmed
        };
        assert_eq!([at(9, 0), at(12, 14), at(12, 15), at(12, 16), at(12, 31)], [7, 7, 9, 9, 12]);
    }
}
