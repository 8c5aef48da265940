//! Whether changes work at the moment, for the log, metrics and readiness.

use crate::error::{Error, what_fails};
use crossfade_store::Fault;
use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

/// Outcomes of this process's changes.
#[derive(Default)]
pub(crate) struct Changes {
    /// What prevents changes from being stored; `None` while they work.
    failing: Mutex<Option<Fault>>,
    /// Number of changes that failed since the start, in the order of `Fault::ALL`.
    failed: [AtomicU64; Fault::ALL.len()],
}

impl Changes {
    /// Records the outcome of a change. A refusal by a rule says nothing about the database.
    pub(crate) fn note<T>(&self, ended: &Result<T, Error>) {
        let fault = match ended {
            Ok(_) => None,
            Err(Error { fault: Some(fault), .. }) => Some(*fault),
            Err(_) => return,
        };
        let before = {
            let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *failing, fault)
        };
        match (ended, fault) {
            (Err(error), Some(fault)) => {
                self.failed[fault as usize].fetch_add(1, Ordering::Relaxed);
                if before != Some(fault) {
                    tracing::error!(fault = fault.as_str(), %error, "changes fail: {}", what_fails(fault));
                }
            }
            _ if before.is_some() => tracing::info!("changes are stored again"),
            _ => {}
        }
    }

    /// Returns what prevents changes from being stored; `None` while they work.
    pub(crate) fn failing(&self) -> Option<Fault> {
        *self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number of changes that failed since the start, by kind of failure.
    pub(crate) fn failed(&self) -> Vec<(&'static str, u64)> {
        let counts = self.failed.iter().map(|count| count.load(Ordering::Relaxed));
        Fault::ALL.iter().map(|fault| fault.as_str()).zip(counts).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::unavailable;
    use crossfade_core::{Code, Problem};

    fn failed(fault: Fault) -> Result<(), Error> {
        Err(Error { fault: Some(fault), ..unavailable(fault).into() })
    }

    #[test]
    fn changes_fail_until_the_next_one_is_stored() {
        let changes = Changes::default();
        changes.note(&Ok::<_, Error>(()));
        assert_eq!(changes.failing(), None);
        changes.note(&failed(Fault::Full));
        changes.note(&failed(Fault::Busy));
        assert_eq!(changes.failing(), Some(Fault::Busy), "the latest");
        changes.note(&Err::<(), _>(Problem::new(Code::RotationConflict, "refused").into()));
        assert_eq!(changes.failing(), Some(Fault::Busy), "a refusal stores nothing");
        changes.note(&Ok::<_, Error>(()));
        assert_eq!(changes.failing(), None);
        let counted: u64 = changes.failed().iter().map(|(_, count)| count).sum();
        assert_eq!((changes.failed()[0], counted), (("full", 1), 2));
    }

    #[test]
    fn the_faults_stand_in_the_order_of_their_numbers() {
        for (at, fault) in Fault::ALL.into_iter().enumerate() {
            assert_eq!(fault as usize, at);
        }
    }
}
