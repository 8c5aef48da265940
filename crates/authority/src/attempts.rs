//! Recent failed client authentications, in a table of fixed size. Each is forgiven after a second, one after the other.
//!
//! It is asked only after a secret was found wrong, so a right one is never refused nor delayed. Two cells count each
//! client and network, and both must be full: a stranger whose attempts share one of them changes nothing.

use crossfade_core::{address::prefix, environment::Slug};
use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    net::IpAddr,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Number of failures of one client from one network that are answered as such in a row.
const BURST: u64 = 100;
/// Time after which one more failure is answered as such.
const EVERY: Duration = Duration::from_secs(1);
/// Number of cells: 512 KiB.
const CELLS: usize = 1 << 16;

/// Counts recent failed client authentications per client and network.
pub(crate) struct Attempts {
    /// For each cell, when all its failures are forgiven, in microseconds of running time.
    forgiven: Box<[AtomicU64]>,
    hashes: [RandomState; 2],
}

impl Attempts {
    pub(crate) fn new() -> Self {
        Self {
            forgiven: (0..CELLS).map(|_| AtomicU64::new(0)).collect(),
            hashes: [RandomState::new(), RandomState::new()],
        }
    }

    /// Counts a failed attempt at `running`, a time that never runs back. Returns whether there were too many. What is
    /// counted is the `client_id` as sent, so that an answer does not tell whether it exists, and the network: /24 of
    /// IPv4, /64 of IPv6.
    pub(crate) fn are_too_many(
        &self,
        environment: &Slug,
        client_id: &str,
        ip: IpAddr,
        running: Duration,
    ) -> bool {
        let key = (environment.as_str(), client_id, prefix(ip, 24, 64));
        let now = micros(running);
        let full = self.hashes.iter().filter(|hash| {
            let cell = usize::try_from(hash.hash_one(key) % CELLS as u64).unwrap_or_default();
            let forgiven = &self.forgiven[cell];
            forgiven.fetch_update(Relaxed, Relaxed, |before| later(before, now)).is_err()
        });
        full.count() == self.hashes.len()
    }
}

/// Returns when the failures of a cell are forgiven after one more; `None` if it is full.
fn later(forgiven: u64, now: u64) -> Option<u64> {
    let later = forgiven.max(now) + micros(EVERY);
    (later - now <= BURST * micros(EVERY)).then_some(later)
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slug(text: &str) -> Slug {
        Slug::parse("slug", text).unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Fails until it is too much; tells how often that took.
    fn fill(attempts: &Attempts, client_id: &str, from: &str, at: Duration) -> u64 {
        (0..).find(|_| attempts.are_too_many(&slug("production"), client_id, ip(from), at)).unwrap()
    }

    #[test]
    fn a_burst_is_allowed_and_then_one_failure_a_second() {
        let attempts = Attempts::new();
        let begun = Duration::from_secs(1000);
        assert_eq!(fill(&attempts, "a", "192.0.2.1", begun), BURST);
        assert_eq!(fill(&attempts, "a", "192.0.2.1", begun + Duration::from_millis(999)), 0);
        assert_eq!(fill(&attempts, "a", "192.0.2.1", begun + EVERY), 1);
        assert_eq!(fill(&attempts, "a", "192.0.2.1", begun + EVERY * 3), 2);
        assert_eq!(fill(&attempts, "a", "192.0.2.1", begun + Duration::from_secs(3600)), BURST);
    }

    #[test]
    fn another_client_network_or_environment_counts_for_itself() {
        let attempts = Attempts::new();
        let now = Duration::ZERO;
        assert_eq!(fill(&attempts, "a", "192.0.2.1", now), BURST);
        assert_eq!(fill(&attempts, "a", "192.0.2.254", now), 0, "the same /24");
        assert_eq!(fill(&attempts, "a", "::ffff:192.0.2.9", now), 0, "the same /24");
        assert_eq!(fill(&attempts, "a", "192.0.3.1", now), BURST);
        assert_eq!(fill(&attempts, "A", "192.0.2.1", now), BURST);
        assert_eq!(fill(&attempts, "a", "2001:db8::1", now), BURST);
        assert_eq!(fill(&attempts, "a", "2001:db8::ffff:1", now), 0, "the same /64");
        assert_eq!(fill(&attempts, "a", "2001:db8:0:1::1", now), BURST);
        assert!(!attempts.are_too_many(&slug("staging"), "a", ip("192.0.2.1"), now));
    }

    /// Strangers who fill a tenth of the table do not make others' failures too many.
    #[test]
    fn strangers_do_not_fill_the_cells_of_others() {
        let attempts = Attempts::new();
        for stranger in 0..CELLS / 20 {
            fill(&attempts, &format!("stranger-{stranger}"), "192.0.2.1", Duration::ZERO);
        }
        let hit = (0..1000).filter(|other| {
            let client_id = format!("client-{other}");
            attempts.are_too_many(&slug("production"), &client_id, ip("192.0.2.1"), Duration::ZERO)
        });
        // A tenth of the cells is full, so that both are for one in a hundred.
        let hit = hit.count();
        assert!(hit < 40, "{hit} of 1000");
    }
}
