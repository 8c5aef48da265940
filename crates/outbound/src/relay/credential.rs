//! The credential with which requests are forwarded.

use crossfade_core::upstream::{CredentialMethod, Slot};
use std::{
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::time::{Duration, Instant};
use zeroize::Zeroizing;

/// How long the answer to a test of a secret is used.
const TEST_EVERY: Duration = Duration::from_secs(60);

/// The upstream credential of a registration, opened. No caller knows it; nothing prints it.
pub struct UpstreamCredential {
    client_id: String,
    method: CredentialMethod,
    current: Zeroizing<String>,
    next: Option<Zeroizing<String>>,
    /// Whether the secret in `next` is tried first, because it was the last that the issuer accepted.
    next_leads: AtomicBool,
    /// The last test of each secret.
    tested: Mutex<[Option<Tested>; 2]>,
}

/// A test of a secret: when it began, and whether the secret was accepted; `None` if the issuer did not tell.
type Tested = (Instant, Option<bool>);

impl fmt::Debug for UpstreamCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamCredential").field("method", &self.method).finish_non_exhaustive()
    }
}

impl UpstreamCredential {
    /// Returns a credential with one secret or two.
    pub fn new(client_id: &str, method: CredentialMethod, current: &str, next: Option<&str>) -> Self {
        Self {
            client_id: client_id.to_owned(),
            method,
            current: Zeroizing::new(current.to_owned()),
            next: next.map(|next| Zeroizing::new(next.to_owned())),
            next_leads: AtomicBool::new(false),
            tested: Mutex::default(),
        }
    }

    /// Returns the `client_id` at the issuer.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    pub(super) fn method(&self) -> CredentialMethod {
        self.method
    }

    pub(super) fn secret(&self, slot: Slot) -> Option<&str> {
        match slot {
            Slot::Current => Some(&self.current),
            Slot::Next => self.next.as_ref().map(|next| next.as_str()),
        }
    }

    /// Returns the slot that is tried first.
    pub fn leading(&self) -> Slot {
        if self.next_leads.load(Ordering::Relaxed) { Slot::Next } else { Slot::Current }
    }

    pub(super) fn lead(&self, slot: Slot) {
        // Each forwarded request ends here, so the line of memory is written only when something changes.
        if self.leading() != slot {
            self.next_leads.store(slot == Slot::Next, Ordering::Relaxed);
        }
    }

    /// Returns what the last test of a slot said, if that is less than a minute ago. Otherwise the caller tests it, and others
    /// are told that nothing is known until then.
    pub(super) fn begin_test(&self, slot: Slot) -> Option<Option<bool>> {
        let mut tested = self.tested.lock().unwrap_or_else(PoisonError::into_inner);
        let last = &mut tested[index(slot)];
        match last {
            Some((at, said)) if at.elapsed() < TEST_EVERY => Some(*said),
            _ => {
                *last = Some((Instant::now(), None));
                None
            }
        }
    }

    pub(super) fn end_test(&self, slot: Slot, said: Option<bool>) {
        let mut tested = self.tested.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, last)) = &mut tested[index(slot)] {
            *last = said;
        }
    }
}

fn index(slot: Slot) -> usize {
    usize::from(slot == Slot::Next)
}
