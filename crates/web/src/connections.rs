//! Counts of connections. The program that accepts them notes them; the metrics read them.

use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
};
use tokio::sync::OwnedSemaphorePermit;

/// Why the server ended a connection, or refused it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// Refused: as many as are allowed are open, and all of them answer.
    Limit,
    /// Refused: the same of its source.
    SourceLimit,
    /// It had nothing to answer and gave way to a new one.
    Displaced,
    /// Its headers took too long.
    Headers,
    /// Nothing was asked for too long.
    Idle,
    /// Its client took nothing of an answer for too long.
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

/// Connections that are open, and those that the server ended.
#[derive(Clone, Default)]
pub struct Connections(Arc<Counts>);

#[derive(Default)]
struct Counts {
    open: AtomicI64,
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

    /// Connections that are open now.
    pub(crate) fn open(&self) -> i64 {
        self.0.open.load(Relaxed)
    }

    /// Connections that were ended for a reason.
    pub(crate) fn ended_for(&self, reason: Ended) -> u64 {
        self.0.ended[reason as usize].load(Relaxed)
    }
}

/// Held in the extensions of a request while its handler runs, also when the client has given up the request: what a
/// client may have running on one connection is bounded by it.
#[derive(Clone)]
pub struct Running(#[expect(dead_code, reason = "held, not read")] Arc<OwnedSemaphorePermit>);

impl Running {
    /// Holds a permit until the last handler that runs for the request has ended.
    pub fn new(permit: OwnedSemaphorePermit) -> Self {
        Self(Arc::new(permit))
    }
}
