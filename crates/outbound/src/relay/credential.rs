//! The credential with which a request is forwarded, and what the issuer says about it.

use crossfade_core::{
    RegistrationId, Timestamp,
    upstream::{BasicEncoding, CredentialMethod, Slot, SlotState},
};
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{
    sync::OnceCell,
    time::{Duration, Instant},
};
use zeroize::Zeroizing;

/// How long the outcome of a test is used.
const TEST_EVERY: Duration = Duration::from_secs(60);
/// Number of outcomes from which old ones are removed.
const TIDY_AT: usize = 1024;
/// Maximum length of an `error` of an issuer that is repeated.
const MAX_ERROR: usize = 64;

/// The upstream credential of a registration, opened for one request. Nothing prints it.
pub struct SentCredential<'a> {
    /// Registration that it belongs to.
    pub registration: &'a RegistrationId,
    /// `client_id` at the issuer.
    pub client_id: &'a str,
    /// How it is sent.
    pub method: CredentialMethod,
    /// How it is written into the `Authorization` header.
    pub encoding: BasicEncoding,
    /// Its secrets, in the order in which they are tried.
    pub secrets: Vec<SentSecret>,
}

/// A secret of an upstream credential.
pub struct SentSecret {
    /// Which of the two it is.
    pub slot: Slot,
    /// The secret.
    pub value: Zeroizing<String>,
    /// When it was set.
    pub set_at: Timestamp,
}

/// What the issuer said about a secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tried {
    /// Slot of the secret.
    pub slot: Slot,
    /// When the secret was set.
    pub set_at: Timestamp,
    /// What is known about it now.
    pub state: SlotState,
    /// How the issuer refused it, such as `401 invalid_client`; `None` if it did not.
    pub error: Option<String>,
}

impl fmt::Debug for SentCredential<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SentCredential").field("registration", self.registration).finish_non_exhaustive()
    }
}

/// Returns how an issuer refused something. Its `error` is repeated only if it looks like one.
pub(super) fn describe_refusal(status: u16, error: Option<&str>) -> String {
    let is_plain = |error: &&str| {
        (1..=MAX_ERROR).contains(&error.len())
            && error.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    match error.filter(is_plain) {
        Some(error) => format!("{status} {error}"),
        None => status.to_string(),
    }
}

/// A secret of a registration, as it was set at this time.
type Key = (RegistrationId, Slot, i64);

/// What the test of a secret said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tested {
    /// The issuer accepts the secret.
    Accepted,
    /// The issuer refuses the secret.
    Refused,
    /// The answer of the issuer does not tell.
    Silent,
    /// There was no answer, or none of the kind that would be the same a moment later.
    Failed,
}

/// A test that runs or has ended.
struct Test {
    begun: Instant,
    said: OnceCell<Tested>,
}

/// The tests of secrets within the last minute.
#[derive(Default)]
pub(super) struct Tests(Mutex<HashMap<Key, Arc<Test>>>);

impl Tests {
    /// Returns what the test of a secret said that began less than a minute ago, or runs one. Requests that come while it runs
    /// wait for it. If the request that runs it is given up, one of them goes on; a test that failed is forgotten at once.
    pub(super) async fn run(&self, key: &Key, test: impl Future<Output = Tested>) -> Tested {
        let current = self.current(key);
        let said = *current.said.get_or_init(|| test).await;
        if said == Tested::Failed {
            let mut tests = self.locked();
            if tests.get(key).is_some_and(|last| Arc::ptr_eq(last, &current)) {
                tests.remove(key);
            }
        }
        said
    }

    /// Returns the test of a secret that began less than a minute ago, or a new one.
    fn current(&self, key: &Key) -> Arc<Test> {
        let mut tests = self.locked();
        if let Some(test) = tests.get(key).filter(|test| test.begun.elapsed() < TEST_EVERY) {
            return test.clone();
        }
        if tests.len() >= TIDY_AT {
            tests.retain(|_, test| test.begun.elapsed() < TEST_EVERY);
        }
        let test = Arc::new(Test { begun: Instant::now(), said: OnceCell::new() });
        tests.insert(key.clone(), test.clone());
        test
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<Key, Arc<Test>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the key of a secret.
pub(super) fn key(credential: &SentCredential<'_>, secret: &SentSecret) -> Key {
    (credential.registration.clone(), secret.slot, secret.set_at.as_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_an_issuer_is_repeated_only_if_it_looks_like_one() {
        assert_eq!(describe_refusal(401, Some("invalid_client")), "401 invalid_client");
        for strange in
            ["", "login.example.com", "Crossfade_live_x", "<b>", "a b", "a\n", &"x".repeat(65), "abc123"]
        {
            assert_eq!(describe_refusal(401, Some(strange)), "401", "{strange}");
        }
        assert_eq!(describe_refusal(403, None), "403");
    }
}
