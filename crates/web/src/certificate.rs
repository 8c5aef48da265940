//! What the metrics show of the TLS certificate. The program that uses it records it here.

use crossfade_core::Timestamp;
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed},
};

/// The TLS certificate in use; by default none.
#[derive(Clone, Default)]
pub struct Certificate(Arc<State>);

#[derive(Default)]
struct State {
    /// In seconds; 0 without TLS.
    not_after: AtomicI64,
    is_refused: AtomicBool,
    handshakes_failed: AtomicU64,
}

impl Certificate {
    /// Records that a certificate is in use, with its end.
    pub fn in_use_until(&self, not_after: Timestamp) {
        self.0.not_after.store(not_after.as_seconds(), Relaxed);
    }

    /// Records whether its files now hold something that cannot be used.
    pub fn refused(&self, is_refused: bool) {
        self.0.is_refused.store(is_refused, Relaxed);
    }

    /// Counts a handshake that failed.
    pub fn handshake_failed(&self) {
        self.0.handshakes_failed.fetch_add(1, Relaxed);
    }

    /// Returns the end of the certificate in use, in seconds, or `None` without TLS.
    pub(crate) fn not_after(&self) -> Option<i64> {
        Some(self.0.not_after.load(Relaxed)).filter(|seconds| *seconds != 0)
    }

    pub(crate) fn is_refused(&self) -> bool {
        self.0.is_refused.load(Relaxed)
    }

    pub(crate) fn handshakes_failed(&self) -> u64 {
        self.0.handshakes_failed.load(Relaxed)
    }
}
