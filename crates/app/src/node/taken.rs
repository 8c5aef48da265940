//! Evidence on its way from memory to the database, in batches.

use crate::{
    error::Error,
    node::{evidence::Recorded, state::Node},
};
use crossfade_authority::{FailureCount, RefusedBy, SourceCount};
use crossfade_core::Code;
use crossfade_store::UsageRow;
use std::{ops::Range, sync::atomic::AtomicBool};

/// Maximum number of rows of evidence written in one transaction.
const ROWS_AT_ONCE: usize = 500;

/// One row of evidence: what refused the caller, if anything, and the indexes of the counts in it.
pub(crate) type EvidenceRow = (Option<RefusedBy>, UsageRow, Vec<usize>);

/// Evidence on its way to the database. Dropping it puts back what was not written, even if the waiting caller
/// disconnects.
pub(crate) struct Taken<'a> {
    node: &'a Node,
    pub(crate) recorded: &'a mut Recorded,
    sources: Vec<SourceCount>,
    failures: Vec<FailureCount>,
    rows: Vec<EvidenceRow>,
    /// Numbers of rows and failures that need not be put back.
    written: (usize, usize),
    /// Whether the current batch may be committed.
    pub(crate) is_committing: AtomicBool,
    /// Maximum number of rows and failures in the next batch. Lower after the database has refused one of them.
    at_once: usize,
}

/// Rows and failures of one transaction.
pub(crate) struct Batch {
    rows: Range<usize>,
    failures: Range<usize>,
}

impl<'a> Taken<'a> {
    pub(crate) fn take(node: &'a Node, recorded: &'a mut Recorded) -> Self {
        let (sources, failures) = node.drain_evidence();
        let rows = node.rows(&sources);
        Self {
            node,
            recorded,
            sources,
            failures,
            rows,
            written: (0, 0),
            is_committing: AtomicBool::new(false),
            at_once: ROWS_AT_ONCE,
        }
    }

    pub(crate) fn next_batch(&self) -> Option<Batch> {
        let (rows, failures) = self.written;
        let rows = rows..self.rows.len().min(rows + self.at_once);
        // A single row is alone in its batch: a refusal is of that row, and of no failure.
        let failures_at_once = if self.at_once == 1 && !rows.is_empty() { 0 } else { self.at_once };
        let failures = failures..self.failures.len().min(failures + failures_at_once);
        let batch = Batch { rows, failures };
        (!batch.rows.is_empty() || !batch.failures.is_empty()).then_some(batch)
    }

    pub(crate) fn rows_of(&self, batch: &Batch) -> (&[EvidenceRow], &[FailureCount]) {
        (&self.rows[batch.rows.clone()], &self.failures[batch.failures.clone()])
    }

    /// Makes the next batch smaller than one that the database refused; `false` if that was a single row.
    pub(crate) fn narrow(&mut self, batch: &Batch) -> bool {
        let most = batch.rows.len().max(batch.failures.len());
        let is_single = batch.rows.len() + batch.failures.len() < 2;
        self.at_once = (most / 2).max(1);
        !is_single
    }

    /// Continues after a batch.
    pub(crate) fn pass(&mut self, batch: &Batch) {
        self.written = (batch.rows.end, batch.failures.end);
        self.at_once = (self.at_once * 4).min(ROWS_AT_ONCE);
    }

    /// Records the outcome of a batch. A batch that may already be stored is not retried: evidence can be incomplete
    /// but never overstated.
    pub(crate) fn settle(&mut self, batch: &Batch, error: Option<&Error>) {
        self.is_committing = AtomicBool::new(false);
        let in_doubt = error.is_some_and(|error| error.problem.code == Code::OutcomeUnknown);
        self.recorded.in_doubt |= in_doubt;
        if error.is_none() || in_doubt {
            self.pass(batch);
        }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if *self.is_committing.get_mut()
            && let Some(batch) = self.next_batch()
        {
            self.recorded.in_doubt = true;
            self.written = (batch.rows.end, batch.failures.end);
        }
        let (rows, failures) = self.written;
        let left = self.rows[rows..].iter().flat_map(|(.., counts)| counts);
        let sources = left.map(|at| self.sources[*at].clone()).collect();
        self.node.authority.evidence().restore(sources, self.failures[failures..].to_vec());
        self.node.unflushed().clear();
    }
}
