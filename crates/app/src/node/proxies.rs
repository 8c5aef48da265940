//! Declared proxies that send unreadable addresses, reported in the log and stored for `crossfade doctor`.

use crate::{error::Error, node::state::Node};
use crossfade_core::Timestamp;
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Interval for reporting each proxy.
const TOLD_EVERY: Duration = Duration::from_secs(3600);
/// How long a proxy is reported after it was last recorded.
const REMEMBERED_FOR: Duration = Duration::from_secs(86_400);
/// Maximum number of recorded proxies.
const MOST: usize = 32;

/// Recorded proxies, and when they were last reported.
#[derive(Default)]
pub(crate) struct UnreadableProxies(Mutex<HashMap<IpAddr, Noted>>);

#[derive(Clone, Copy)]
struct Noted {
    told_at: Timestamp,
    is_stored: bool,
}

impl UnreadableProxies {
    /// Records a proxy. Returns whether to report it now.
    fn note(&self, proxy: IpAddr, now: Timestamp) -> bool {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.get(&proxy).is_some_and(|it| now < it.told_at.after(TOLD_EVERY)) {
            return false;
        }
        if noted.len() >= MOST {
            noted.retain(|_, it| now < it.told_at.after(TOLD_EVERY));
        }
        let is_told = noted.len() < MOST;
        if is_told {
            noted.insert(proxy, Noted { told_at: now, is_stored: false });
        }
        is_told
    }

    /// Returns the proxies that are not stored yet.
    fn unstored(&self) -> Vec<(IpAddr, Timestamp)> {
        let noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noted.iter().filter(|(_, it)| !it.is_stored).map(|(proxy, it)| (*proxy, it.told_at)).collect()
    }

    fn stored(&self, proxies: &[(IpAddr, Timestamp)]) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (proxy, told_at) in proxies {
            if let Some(it) = noted.get_mut(proxy).filter(|it| it.told_at == *told_at) {
                it.is_stored = true;
            }
        }
    }
}

impl Node {
    /// Records that the caller's address in a request from this declared proxy could not be read, so that the proxy
    /// counts as the caller.
    pub(crate) fn note_unreadable_proxy(&self, proxy: IpAddr) {
        if self.unreadable_proxies.note(proxy, self.clock.now()) {
            tracing::warn!(
                %proxy,
                "a trusted proxy sends no readable X-Forwarded-For, so its callers count as one; each hop \
                must be an address, with or without port, and Forwarded (RFC 7239) is not read"
            );
        }
    }

    /// Stores the recorded proxies.
    pub(crate) async fn store_unreadable_proxies(&self) -> Result<(), Error> {
        let proxies = self.unreadable_proxies.unstored();
        if proxies.is_empty() {
            return Ok(());
        }
        self.transact(async |tx, now| {
            for (proxy, at) in &proxies {
                tx.note_unreadable_proxy(&proxy.to_string(), *at).await?;
            }
            tx.forget_unreadable_proxies(now.before(REMEMBERED_FOR)).await?;
            Ok(())
        })
        .await?;
        self.unreadable_proxies.stored(&proxies);
        Ok(())
    }
}

/// Returns the time since which a recorded proxy is still reported.
pub(crate) fn told_since(now: Timestamp) -> Timestamp {
    now.before(REMEMBERED_FOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_told_of_once_an_hour_and_a_flood_of_proxies_is_bounded() {
        let (noted, now) = (UnreadableProxies::default(), Timestamp::from_seconds(1_795_525_500));
        let proxy = |number: u8| IpAddr::from([10, 0, 0, number]);
        assert!(noted.note(proxy(0), now));
        assert!(!noted.note(proxy(0), now));
        assert_eq!(noted.unstored(), [(proxy(0), now)]);
        noted.stored(&[(proxy(0), now)]);
        assert_eq!(noted.unstored(), []);
        assert!(noted.note(proxy(0), now.after(TOLD_EVERY)));
        assert_eq!(noted.unstored(), [(proxy(0), now.after(TOLD_EVERY))]);
        let told = (0..=255).filter(|number| noted.note(proxy(*number), now.after(TOLD_EVERY))).count();
        assert_eq!(told, MOST - 1);
        assert!(noted.note(proxy(200), now.after(TOLD_EVERY * 2)), "the next hour has room again");
    }
}
