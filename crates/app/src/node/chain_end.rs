//! The end of the audit trail, as this process wrote it itself or verified it. A chain whose end was written again in the
//! database does not continue it, and is not signed.

use crate::{error::Error, node::state::Node};
use crossfade_core::{Code, Problem, audit::chain::ChainHash};
use crossfade_store::Tx;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// An event of the trail and its hash.
pub(crate) type End = (i64, ChainHash);

/// What this process knows of the end of the trail.
#[derive(Default)]
pub(crate) struct KnownEnd(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// Number of times the end was forgotten.
    epoch: u64,
    /// The last event that it wrote or verified; `None` before the first.
    end: Option<End>,
    /// Event after which the trail in the database is another one.
    altered_after: Option<i64>,
}

impl KnownEnd {
    fn state(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a committed change of this process that found the trail at `before` and left it at `after`. Events of other
    /// processes in between are verified when the trail is signed.
    pub(crate) fn follow(&self, before: Option<End>, after: Option<End>) {
        let mut known = self.state();
        match (known.end, before) {
            (Some(end), Some(before)) if end.0 == before.0 && end != before => known.alter(end.0),
            (Some(end), before) if Some(end) != before => {}
            _ => known.end = after,
        }
    }

    /// Forgets the end, because the database is on another server, which may have lost it. On the same server, the trail
    /// must continue it whatever else was changed there.
    pub(crate) fn forget(&self) {
        let mut known = self.state();
        (known.end, known.epoch) = (None, known.epoch + 1);
    }

    /// Returns what is known now, to be compared with a transaction that begins later.
    pub(crate) fn marked(&self) -> Marked {
        let known = self.state();
        Marked { end: known.end, epoch: known.epoch }
    }

    /// Returns the event after which the trail was written again; `None` as far as is known.
    pub(crate) fn altered_after(&self) -> Option<i64> {
        self.state().altered_after
    }
}

/// What this process knew of the end of the trail at some moment.
#[derive(Clone, Copy)]
pub(crate) struct Marked {
    end: Option<End>,
    epoch: u64,
}

impl Known {
    fn alter(&mut self, seq: i64) {
        if self.altered_after.is_none() {
            tracing::error!(
                seq,
                "the audit trail was written again in the database; nothing is signed until it was verified"
            );
        }
        self.altered_after.get_or_insert(seq);
    }
}

impl Node {
    /// Checks that the trail continues what this process knew of it before the transaction began. Must succeed before
    /// anything about the trail is signed.
    pub(crate) async fn check_chain(&self, tx: &mut Tx, known: Marked) -> Result<(), Error> {
        let stored = tx.audit_chain_end().await?;
        let Some(end) = stored.hash.map(|hash| (stored.seq, hash)) else { return Ok(()) };
        let continued = match known.end {
            Some((seq, hash)) if seq < end.0 => tx.audit_hash_after((seq, hash), end.0).await? == end.1,
            Some(known) => known == end,
            None => true,
        };
        let mut state = self.chain_end.state();
        match (continued, known.end) {
            _ if state.epoch != known.epoch => {}
            (false, Some((seq, _))) => state.alter(seq),
            // This process may have gone on meanwhile.
            _ if state.end == known.end => state.end = Some(end),
            _ => {}
        }
        match state.altered_after {
            None => Ok(()),
            Some(seq) => Err(altered(seq)),
        }
    }
}

fn altered(seq: i64) -> Error {
    let text = format!(
        "The audit trail in the database is not the one that this server wrote: it differs at or before event {seq}. \
        Nothing was signed. Run crossfade audit verify, and compare with an export or a shipped copy."
    );
    Problem::new(Code::Unavailable, text).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seq: i64, byte: u8) -> Option<End> {
        ChainHash::from_bytes(&[byte; 32]).map(|hash| (seq, hash))
    }

    #[test]
    fn an_end_moves_on_only_with_changes_that_continue_it() {
        let known = KnownEnd::default();
        known.follow(at(3, 3), at(4, 4));
        assert_eq!(known.state().end, at(4, 4));
        known.follow(at(4, 4), at(6, 6));
        known.follow(at(7, 7), at(8, 8));
        assert_eq!(known.state().end, at(6, 6), "event 7 is another process's, and verified later");
        assert_eq!(known.altered_after(), None);
        known.follow(at(6, 9), at(7, 9));
        assert_eq!(known.altered_after(), Some(6));
        assert_eq!(known.state().end, at(6, 6));
    }
}
