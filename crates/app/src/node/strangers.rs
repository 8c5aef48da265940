//! The queue for looking up unknown callers: callers with a token, a session, a link or an email address that has not
//! worked on this node before. One is looked up at a time, on a separate connection. Known callers skip the queue, so
//! the change that ends a leaked secret does not wait in it.

use crate::{
    error::Error,
    node::lanes::{Lane, Turn},
};
use crossfade_core::{Code, Problem, address::wide_network};
use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Maximum number of waiting look-ups.
const MAX_WAITING: usize = 128;
/// The longest wait for a turn.
const MAX_WAIT: Duration = Duration::from_secs(3);
/// How long an unknown caller without a place waits for the refusal. A client that is refused immediately asks again
/// immediately, and thousands of them would leave no CPU time for the change that ends a secret.
const REFUSED_AFTER: Duration = Duration::from_secs(2);
/// Maximum number of digests in each half of the memory.
const MAX_KNOWN: usize = 16_384;

/// Digests of credentials that worked, and the queue for all others.
pub(crate) struct Strangers {
    lane: Arc<Lane>,
    known: Mutex<Known>,
    refused_after: Duration,
}

/// Known credentials, in two halves: when the newer half is full, the older one is forgotten. Only credentials that
/// worked are added, so unknown callers displace nothing.
#[derive(Default)]
struct Known {
    newer: HashSet<Vec<u8>>,
    older: HashSet<Vec<u8>>,
}

impl Known {
    fn add(&mut self, digest: &[u8]) {
        if self.newer.len() >= MAX_KNOWN {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(digest.to_vec());
    }

    fn has(&mut self, digest: &[u8]) -> bool {
        if self.newer.contains(digest) {
            return true;
        }
        let found = self.older.remove(digest);
        if found {
            self.add(digest);
        }
        found
    }

    fn remove(&mut self, digest: &[u8]) {
        self.newer.remove(digest);
        self.older.remove(digest);
    }
}

impl Default for Strangers {
    fn default() -> Self {
        Self::refusing_after(REFUSED_AFTER)
    }
}

impl Strangers {
    fn refusing_after(refused_after: Duration) -> Self {
        Self { lane: Lane::new(MAX_WAITING), known: Mutex::default(), refused_after }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers the digest of a credential that was issued or that worked.
    pub(crate) fn know(&self, digest: &[u8]) {
        self.known().add(digest);
    }

    /// Whether a credential has worked before. The database decides whether it still works.
    pub(crate) fn is_known(&self, digest: &[u8]) -> bool {
        self.known().has(digest)
    }

    /// Forgets a credential that no longer works.
    pub(crate) fn forget(&self, digest: &[u8]) {
        self.known().remove(digest);
    }

    /// Waits for the turn of an unknown caller. In a full queue, a network with many requests gives way to another
    /// network.
    pub(crate) async fn turn(&self, address: Option<IpAddr>) -> Result<Turn, Error> {
        let network = wide_network(address.unwrap_or(Ipv4Addr::UNSPECIFIED.into())).to_string();
        let turn = match self.lane.enter(&network, &|_| 0) {
            Some(place) => place.turn(MAX_WAIT).await,
            None => None,
        };
        if turn.is_none() {
            tokio::time::sleep(self.refused_after).await;
        }
        turn.ok_or_else(too_many)
    }
}

fn too_many() -> Error {
    let text = "Too many requests are waiting to be authenticated. Nothing was changed. Try again in 1 \
        second.";
    Problem::new(Code::Unavailable, text).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_credentials_are_bounded_and_the_used_ones_stay() {
        let strangers = Strangers::default();
        let digest = |number: usize| number.to_be_bytes().to_vec();
        for number in 0..3 * MAX_KNOWN {
            strangers.know(&digest(number));
            assert!(strangers.is_known(&digest(0)), "in use");
        }
        let known = strangers.known();
        assert!(known.newer.len() + known.older.len() <= 2 * MAX_KNOWN);
        drop(known);
        assert!(!strangers.is_known(&digest(1)), "unused");
        strangers.forget(&digest(0));
        assert!(!strangers.is_known(&digest(0)));
    }

    #[tokio::test]
    async fn a_network_of_strangers_cannot_fill_the_queue_for_another_network() {
        let strangers = Strangers::refusing_after(Duration::ZERO);
        let address = |third: u8| Some(IpAddr::from([203, 0, third, 1]));
        let first = strangers.turn(address(1)).await.unwrap();
        let mut flood: Vec<_> = (0..MAX_WAITING).map(|_| Box::pin(strangers.turn(address(1)))).collect();
        for it in &mut flood {
            assert!(tokio::time::timeout(Duration::ZERO, it).await.is_err(), "waits");
        }
        let refused = strangers.turn(address(1)).await.err().unwrap();
        assert_eq!(refused.problem.code, Code::Unavailable);
        let mut other = Box::pin(strangers.turn(address(2)));
        assert!(tokio::time::timeout(Duration::ZERO, &mut other).await.is_err(), "waits");
        drop(first);
        drop(tokio::time::timeout(Duration::ZERO, &mut flood[0]).await.unwrap().unwrap());
        assert!(
            tokio::time::timeout(Duration::ZERO, other).await.unwrap().is_ok(),
            "before the second of the flood"
        );
    }
}
