//! Revocations of access tokens that wait for the next transaction.

use crate::node::transaction::Stored;
use crossfade_core::{Problem, RegistrationId, SecretId, Timestamp, audit::Origin};
use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::oneshot;

/// Maximum number of revocations in one transaction, so that a flood of one client does not hold the lock for long.
const MAX_AT_ONCE: usize = 64;

/// Revocations waiting for the next transaction. A request that finds no transaction running stores all waiting
/// revocations, so a flood costs one commit for many and takes only one place in the queue for the lock.
#[derive(Default)]
pub(crate) struct Revocations {
    waiting: Mutex<VecDeque<WaitingRevocation>>,
    pub(crate) storing: tokio::sync::Mutex<()>,
}

/// A revocation whose request waits for the outcome.
pub(crate) struct WaitingRevocation {
    pub(crate) jti: String,
    pub(crate) expires_at: Timestamp,
    pub(crate) registration: RegistrationId,
    pub(crate) secret: SecretId,
    pub(crate) origin: Origin,
    pub(crate) done: oneshot::Sender<Result<Stored, Problem>>,
}

impl Revocations {
    pub(crate) fn add(&self, waiting: WaitingRevocation) {
        self.lock().push_back(waiting);
    }

    pub(crate) fn take(&self) -> Vec<WaitingRevocation> {
        let mut waiting = self.lock();
        let count = waiting.len().min(MAX_AT_ONCE);
        waiting.drain(..count).collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<WaitingRevocation>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_taken_in_parts_and_in_order() {
        let revocations = Revocations::default();
        for n in 0..150 {
            revocations.add(WaitingRevocation {
                jti: n.to_string(),
                expires_at: Timestamp::from_seconds(0),
                registration: RegistrationId::parse("reg_0000000000000000000001").unwrap(),
                secret: SecretId::parse("sec_0000000000000000000001").unwrap(),
                origin: Origin::default(),
                done: oneshot::channel().0,
            });
        }
        let sizes: Vec<Vec<String>> = std::iter::from_fn(|| Some(revocations.take()))
            .take(4)
            .map(|part| part.into_iter().map(|it| it.jti).collect())
            .collect();
        assert_eq!(sizes.iter().map(Vec::len).collect::<Vec<_>>(), [64, 64, 22, 0]);
        assert!(sizes.concat().into_iter().eq((0..150).map(|n: u32| n.to_string())));
    }
}
