//! Clients that are not registered in an environment in front of another issuer, and whose requests it passes on: what is
//! kept about them, so that operators know which ones are left to register.
//!
//! Anyone can send any name. So a client is kept by its name only if the issuer gave it a token, with the addresses and the
//! authentication of accepted requests alone, and all other requests are one sum.

use crate::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, time::Duration};

/// Maximum number of clients of an environment that are kept by name. Those beyond it are part of the sum.
pub const MAX_CLIENTS: usize = 1000;
/// Maximum number of addresses of a client that are kept: those with the latest accepted requests.
pub const MAX_SOURCES: usize = 5;
/// How long a client is kept after its last accepted request, and the sum after its last request.
pub const KEPT_FOR: Duration = Duration::from_secs(90 * 86_400);

/// How a client that is not registered authenticates at the issuer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PassedMethod {
    /// With a secret in the `Authorization` header.
    ClientSecretBasic,
    /// With a secret in the form.
    ClientSecretPost,
    /// With a signed assertion.
    Assertion,
    /// Not at all, as public clients do, or in another way, such as a token in the header.
    None,
}

impl PassedMethod {
    /// All methods, in the order in which they are listed.
    pub const ALL: [Self; 4] = [Self::ClientSecretBasic, Self::ClientSecretPost, Self::Assertion, Self::None];

    /// Returns its name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
            Self::Assertion => "assertion",
            Self::None => "none",
        }
    }

    /// Reads a name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|own| own.as_str() == text)
    }
}

/// What became of a request that was passed on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PassedOutcome {
    /// The issuer did what it was asked, with this status. Only a token proves that the client is one of the issuer.
    Accepted {
        /// Status of the response.
        status: u16,
        /// Whether the response has an access token.
        is_token: bool,
    },
    /// The issuer answered with this status and did not do it.
    Refused(u16),
    /// The issuer did not answer, or its response could not be passed on.
    Failed,
}

/// Requests of one client, or of all that are not kept by name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PassedRequests {
    /// First request.
    pub first_seen_at: Timestamp,
    /// Last request.
    pub last_seen_at: Timestamp,
    /// Last request for which the issuer gave a token; `None` if it gave none.
    pub last_token_at: Option<Timestamp>,
    /// Number of accepted requests.
    pub accepted: i64,
    /// Number of refused requests.
    pub refused: i64,
    /// Number of requests without a response that could be passed on.
    pub failed: i64,
    /// Status of the last response; `None` before the first one.
    pub last_status: Option<u16>,
    /// How the client authenticated when it got tokens.
    pub methods: BTreeSet<PassedMethod>,
    /// The addresses, in their stored form, from which the client last got tokens, latest first. Those of a public client are
    /// not kept.
    pub sources: Vec<PassedSource>,
}

/// An address from which a client got tokens.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PassedSource {
    /// Its stored form.
    pub ip: String,
    /// When the issuer last gave it a token.
    pub last_at: Timestamp,
}

impl PassedRequests {
    /// Returns one request.
    pub fn one(at: Timestamp, outcome: PassedOutcome, method: PassedMethod, ip: String) -> Self {
        let is_token = matches!(outcome, PassedOutcome::Accepted { is_token: true, .. });
        // A public client runs in the browsers of people, whose addresses are nobody's business here.
        let has_source = is_token && method != PassedMethod::None;
        Self {
            first_seen_at: at,
            last_seen_at: at,
            last_token_at: is_token.then_some(at),
            accepted: i64::from(matches!(outcome, PassedOutcome::Accepted { .. })),
            refused: i64::from(matches!(outcome, PassedOutcome::Refused(_))),
            failed: i64::from(outcome == PassedOutcome::Failed),
            last_status: match outcome {
                PassedOutcome::Accepted { status, .. } | PassedOutcome::Refused(status) => Some(status),
                PassedOutcome::Failed => None,
            },
            methods: is_token.then_some(method).into_iter().collect(),
            sources: has_source.then_some(PassedSource { ip, last_at: at }).into_iter().collect(),
        }
    }

    /// Whether the issuer gave the client a token, so that its name is not made up.
    pub fn is_proven(&self) -> bool {
        self.last_token_at.is_some()
    }

    /// Adds requests of the same client, also older ones, or those of another node.
    pub fn merge(&mut self, other: Self) {
        if other.last_status.is_some()
            && (self.last_status.is_none() || other.last_seen_at >= self.last_seen_at)
        {
            self.last_status = other.last_status;
        }
        self.first_seen_at = self.first_seen_at.min(other.first_seen_at);
        self.last_seen_at = self.last_seen_at.max(other.last_seen_at);
        self.last_token_at = self.last_token_at.max(other.last_token_at);
        self.accepted = self.accepted.saturating_add(other.accepted);
        self.refused = self.refused.saturating_add(other.refused);
        self.failed = self.failed.saturating_add(other.failed);
        self.methods.extend(other.methods);
        for source in other.sources {
            match self.sources.iter_mut().find(|own| own.ip == source.ip) {
                Some(own) => own.last_at = own.last_at.max(source.last_at),
                None => self.sources.push(source),
            }
        }
        self.sources.sort_by(|a, b| b.last_at.cmp(&a.last_at).then_with(|| a.ip.cmp(&b.ip)));
        self.sources.truncate(MAX_SOURCES);
    }

    /// Returns the requests as a part of the sum, which has only numbers and times.
    pub fn unnamed(self) -> Self {
        Self { last_token_at: None, last_status: None, methods: BTreeSet::new(), sources: Vec::new(), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    const TOKEN: PassedOutcome = PassedOutcome::Accepted { status: 200, is_token: true };

    fn one(seconds: i64, outcome: PassedOutcome, ip: &str) -> PassedRequests {
        PassedRequests::one(at(seconds), outcome, PassedMethod::ClientSecretBasic, ip.to_owned())
    }

    #[test]
    fn only_a_token_proves_a_name_and_shows_an_address() {
        for outcome in [
            PassedOutcome::Refused(401),
            PassedOutcome::Failed,
            PassedOutcome::Accepted { status: 200, is_token: false },
        ] {
            let seen = one(1, outcome, "192.0.2.1");
            assert!(!seen.is_proven() && seen.sources.is_empty() && seen.methods.is_empty(), "{outcome:?}");
        }
        let seen = one(1, TOKEN, "192.0.2.1");
        assert!(seen.is_proven() && seen.sources.len() == 1 && seen.methods.len() == 1);
    }

    #[test]
    fn addresses_of_people_who_use_a_public_client_are_not_kept() {
        let seen = PassedRequests::one(at(1), TOKEN, PassedMethod::None, "192.0.2.1".to_owned());
        assert!(seen.is_proven() && seen.sources.is_empty());
        assert_eq!(seen.methods.into_iter().collect::<Vec<_>>(), [PassedMethod::None]);
    }

    #[test]
    fn a_stranger_who_uses_a_name_changes_neither_its_addresses_nor_how_long_it_is_kept() {
        let mut seen = one(1, TOKEN, "192.0.2.1");
        let before = seen.clone();
        for second in 2..100 {
            seen.merge(PassedRequests::one(
                at(second),
                PassedOutcome::Refused(401),
                PassedMethod::ClientSecretPost,
                format!("198.51.100.{second}"),
            ));
        }
        assert_eq!((seen.sources, seen.methods), (before.sources, before.methods));
        assert_eq!((seen.last_token_at, seen.refused, seen.last_status), (Some(at(1)), 98, Some(401)));
    }

    #[test]
    fn the_latest_addresses_are_kept_in_whatever_order_nodes_report_them() {
        let seen: Vec<_> = (0..20).map(|n| one(n, TOKEN, &format!("192.0.2.{}", n % 10))).collect();
        let sum = |order: Vec<PassedRequests>| {
            order.into_iter().reduce(|mut sum, next| {
                sum.merge(next);
                sum
            })
        };
        let (ahead, mut back) = (sum(seen.clone()).unwrap(), seen);
        back.reverse();
        assert_eq!(Some(&ahead), sum(back).as_ref());
        let ips: Vec<_> = ahead.sources.iter().map(|source| (&*source.ip, source.last_at)).collect();
        let expected = [("192.0.2.9", at(19)), ("192.0.2.8", at(18)), ("192.0.2.7", at(17))];
        assert_eq!((ips.len(), &ips[..3]), (MAX_SOURCES, &expected[..]));
        assert_eq!((ahead.accepted, ahead.first_seen_at, ahead.last_seen_at), (20, at(0), at(19)));
    }

    #[test]
    fn the_last_status_is_that_of_the_last_response() {
        let mut seen = one(5, PassedOutcome::Refused(400), "a");
        seen.merge(one(4, TOKEN, "a"));
        assert_eq!(seen.last_status, Some(400), "an older one");
        seen.merge(one(6, PassedOutcome::Failed, "a"));
        assert_eq!((seen.last_status, seen.failed), (Some(400), 1), "no response");
        seen.merge(one(7, TOKEN, "a"));
        assert_eq!(seen.last_status, Some(200));
    }

    #[test]
    fn the_sum_has_only_numbers_and_times() {
        let sum = one(1, TOKEN, "192.0.2.1").unnamed();
        assert!(!sum.is_proven() && sum.sources.is_empty() && sum.methods.is_empty());
        assert_eq!((sum.accepted, sum.last_status, sum.last_seen_at), (1, None, at(1)));
    }
}
