//! What needs someone now: ended secrets that are still presented, and evidence that cannot be written.

use crate::node::state::Node;
use crossfade_core::{
    SecretId, Timestamp,
    messages::{MANY_TRIES, Tries},
};
use std::{
    collections::HashMap,
    sync::{MutexGuard, PoisonError},
    time::Duration,
};

/// Maximum number of ended secrets whose attempts are counted.
const MAX_PRESENTED: usize = 10_000;
/// How long evidence cannot be written before the managers of the platform are told.
const UNWRITTEN_FOR: Duration = Duration::from_secs(300);

/// Attempts with ended secrets, by secret.
pub(crate) type Presented = HashMap<SecretId, Tries>;

/// Whether evidence can be written.
#[derive(Debug, Default)]
pub(crate) struct EvidenceOutage {
    /// Since when it cannot; `None` if it can.
    since: Option<Timestamp>,
    /// Whether the managers have been told of this outage.
    is_told: bool,
    /// Beginning and end of an outage that nobody could be told of before its end.
    over: Option<(Timestamp, Timestamp)>,
}

impl EvidenceOutage {
    /// Notes whether evidence could be written.
    pub(crate) fn note(&mut self, is_written: bool, now: Timestamp) {
        match (is_written, self.since) {
            (false, None) => (self.since, self.is_told) = (Some(now), false),
            (true, Some(since)) => {
                if !self.is_told && now.since(since) >= UNWRITTEN_FOR {
                    self.over = Some((since, now));
                }
                self.since = None;
            }
            (false, Some(_)) | (true, None) => {}
        }
    }

    /// Returns what is to be told: the beginning of an outage, and its end unless it lasts.
    pub(crate) fn due(&self, now: Timestamp) -> Option<(Timestamp, Option<Timestamp>)> {
        let over = self.over.map(|(since, until)| (since, Some(until)));
        let lasts = |since: &Timestamp| !self.is_told && now.since(*since) >= UNWRITTEN_FOR;
        over.or_else(|| self.since.filter(lasts).map(|since| (since, None)))
    }

    /// Notes that this was told.
    pub(crate) fn told(&mut self, until: Option<Timestamp>) {
        match until {
            Some(_) => self.over = None,
            None => self.is_told = true,
        }
    }
}

impl Node {
    fn presented(&self) -> MutexGuard<'_, Presented> {
        self.presented.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn evidence_outage(&self) -> MutexGuard<'_, EvidenceOutage> {
        self.evidence_outage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts attempts with an ended secret.
    pub(crate) fn count_presented(&self, secret: &SecretId, between: (Timestamp, Timestamp), count: u64) {
        let mut presented = self.presented();
        if presented.len() < MAX_PRESENTED || presented.contains_key(secret) {
            presented.entry(secret.clone()).or_default().add(between, count);
        }
    }

    /// Returns the ended secrets that are presented often, and how often. Forgets those that are not presented any more.
    pub(crate) fn presented_often(&self, now: Timestamp) -> Vec<(SecretId, u64)> {
        let mut often = Vec::new();
        self.presented().retain(|secret, tries| {
            let count = tries.count(now);
            if count >= MANY_TRIES {
                often.push((secret.clone(), count));
            }
            count > 0
        });
        often.sort();
        often
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    #[test]
    fn an_outage_is_told_once_while_it_lasts() {
        let mut outage = EvidenceOutage::default();
        outage.note(false, at(0));
        outage.note(false, at(299));
        assert_eq!(outage.due(at(299)), None);
        assert_eq!(outage.due(at(300)), Some((at(0), None)));
        outage.told(None);
        outage.note(false, at(400));
        assert_eq!(outage.due(at(400)), None);
        outage.note(true, at(500));
        assert_eq!(outage.due(at(500)), None);
        outage.note(false, at(600));
        assert_eq!(outage.due(at(900)), Some((at(600), None)), "the next one is told again");
    }

    #[test]
    fn an_outage_of_which_nobody_could_be_told_is_told_afterwards() {
        let mut outage = EvidenceOutage::default();
        outage.note(false, at(0));
        outage.note(true, at(299));
        assert_eq!(outage.due(at(299)), None, "a short one is told to nobody");
        outage.note(false, at(300));
        outage.note(true, at(600));
        assert_eq!(outage.due(at(601)), Some((at(300), Some(at(600)))));
        outage.told(Some(at(600)));
        assert_eq!(outage.due(at(602)), None);
    }
}
