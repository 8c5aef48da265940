//! Counts of connections. The program that accepts them counts them; the metrics read the counts.

use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
};
use tokio::sync::OwnedSemaphorePermit;

/// Why the server ended or refused a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// Refused: the limit is reached, and all connections are answering requests.
    Limit,
    /// Refused: the limit of its source is reached, and all its connections are answering requests.
    SourceLimit,
    /// It was answering nothing and was replaced by a new one.
    Displaced,
    /// Its headers took too long.
    Headers,
    /// No request came for too long.
    Idle,
    /// Its client did not read a response for too long.
    Stalled,
}

impl Ended {
    /// All reasons.
    pub const ALL: [Self; 6] =
        [Self::Limit, Self::SourceLimit, Self::Displaced, Self::Headers, Self::Idle, Self::Stalled];

    /// Returns the label in the metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::SourceLimit => "source_limit",
            Self::Displaced => "displaced",
            Self::Headers => "headers",
            Self::Idle => "idle",
            Self::Stalled => "stalled",
        }
    }
}

/// Numbers of open connections, and of those that the server ended.
#[derive(Clone, Default)]
pub struct Connections(Arc<Counts>);

#[derive(Default)]
struct Counts {
    open: AtomicI64,
    limit: AtomicI64,
    ended: [AtomicU64; Ended::ALL.len()],
}

impl Connections {
    /// Counts a connection that was accepted.
    pub fn opened(&self) {
        self.0.open.fetch_add(1, Relaxed);
    }

    /// Counts a connection that is closed.
    pub fn closed(&self) {
        self.0.open.fetch_sub(1, Relaxed);
    }

    /// Counts a connection that the server ended or refused.
    pub fn ended(&self, reason: Ended) {
        self.0.ended[reason as usize].fetch_add(1, Relaxed);
    }

    /// Adds to the maximum number of open connections.
    pub fn allow(&self, more: usize) {
        self.0.limit.fetch_add(i64::try_from(more).unwrap_or(i64::MAX), Relaxed);
    }

    /// Returns the maximum number of open connections.
    pub(crate) fn limit(&self) -> i64 {
        self.0.limit.load(Relaxed)
    }

    /// Returns the number of open connections.
    pub(crate) fn open(&self) -> i64 {
        self.0.open.load(Relaxed)
    }

    /// Returns the number of connections that were ended for a reason.
    pub(crate) fn ended_for(&self, reason: Ended) -> u64 {
        self.0.ended[reason as usize].load(Relaxed)
    }
}

/// Kept in the extensions of a request while its handler runs, even if the client has cancelled the request. It limits
/// what a client can have running on one connection.
#[derive(Clone)]
pub struct Running(#[expect(dead_code, reason = "held, not read")] Arc<OwnedSemaphorePermit>);

impl Running {
    /// Keeps a permit until the last handler of the request has ended.
    pub fn new(permit: OwnedSemaphorePermit) -> Self {
        Self(Arc::new(permit))
    }
}
