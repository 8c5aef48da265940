//! Counts of recent failures that are forgiven over time (the generic cell rate algorithm).

use crossfade_core::Timestamp;
use std::{collections::HashMap, hash::Hash, time::Duration};

/// Number of failures allowed in a burst, and the time after which one of them is forgiven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limit {
    pub(super) burst: u32,
    pub(super) forgiven_after: Duration,
}

impl Limit {
    /// Returns the time at which one more failure is allowed, if all are forgiven at `forgiven`; `None` if it is allowed now.
    pub(super) fn free_at(self, forgiven: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let free = forgiven.before(self.forgiven_after * self.burst.saturating_sub(1));
        (now < free).then_some(free)
    }

    /// Returns the time at which all failures are forgiven after one more, up to `burst`.
    pub(super) fn after_failure(self, forgiven: Option<Timestamp>, now: Timestamp) -> Timestamp {
        let most = now.after(self.forgiven_after * self.burst);
        forgiven.map_or(now, |at| at.max(now)).after(self.forgiven_after).min(most)
    }
}

/// The recent failures of one key.
struct Cell {
    /// Time at which every failure is forgiven.
    forgiven: Timestamp,
    /// Number of attempts refused without a check since the last admitted one.
    unseen: u64,
}

/// The recent failures of many keys; at most `most` keys are remembered.
pub(super) struct Cells<K> {
    cells: HashMap<K, Cell>,
    most: usize,
}

impl<K: Hash + Eq> Cells<K> {
    pub(super) fn new(most: usize) -> Self {
        Self { cells: HashMap::new(), most }
    }

    /// Returns the time at which one more failure is allowed; `None` if it is allowed now.
    pub(super) fn free_at(&self, key: &K, limit: Limit, now: Timestamp) -> Option<Timestamp> {
        limit.free_at(self.cells.get(key)?.forgiven, now)
    }

    /// Returns the number of failures that are not forgiven yet.
    pub(super) fn failures(&self, key: &K, limit: Limit, now: Timestamp) -> u64 {
        let left = self.cells.get(key).map_or(Duration::ZERO, |cell| cell.forgiven.since(now));
        left.as_micros().div_ceil(limit.forgiven_after.as_micros()).try_into().unwrap_or(u64::MAX)
    }

    /// Counts an attempt refused without a check. Returns whether it is the first one.
    pub(super) fn refuse(&mut self, key: &K) -> bool {
        let Some(cell) = self.cells.get_mut(key) else { return true };
        cell.unseen += 1;
        cell.unseen == 1
    }

    /// Counts a failure, up to `burst`. Returns the number of attempts refused without a check before.
    pub(super) fn fail(&mut self, key: K, limit: Limit, now: Timestamp) -> u64 {
        let cell = self.cells.entry(key).or_insert(Cell { forgiven: now, unseen: 0 });
        cell.forgiven = limit.after_failure(Some(cell.forgiven), now);
        let unseen = std::mem::take(&mut cell.unseen);
        if self.cells.len() > self.most {
            self.forget(now);
        }
        unseen
    }

    /// Counts failures that other nodes know of: all are forgiven at `forgiven` at the earliest.
    pub(super) fn learn(&mut self, key: K, forgiven: Timestamp) {
        let cell = self.cells.entry(key).or_insert(Cell { forgiven, unseen: 0 });
        cell.forgiven = cell.forgiven.max(forgiven);
    }

    /// Removes one failure.
    pub(super) fn take_back(&mut self, key: &K, limit: Limit) {
        if let Some(cell) = self.cells.get_mut(key) {
            cell.forgiven = cell.forgiven.before(limit.forgiven_after);
        }
    }

    /// Forgives every failure of a key.
    pub(super) fn forgive(&mut self, key: &K) {
        self.cells.remove(key);
    }

    /// Forgets forgiven keys; if that is not enough, the half that would be forgiven first.
    fn forget(&mut self, now: Timestamp) {
        self.cells.retain(|_, cell| cell.forgiven > now);
        if self.cells.len() > self.most {
            let mut times: Vec<_> = self.cells.values().map(|cell| cell.forgiven).collect();
            let (_, middle, _) = times.select_nth_unstable(self.most / 2);
            let middle = *middle;
            self.cells.retain(|_, cell| cell.forgiven > middle);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.cells.len()
    }
}
