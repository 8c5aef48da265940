//! Credentials for the issuers that environments are in front of, sealed as they are stored: they are opened for one
//! request at a time, so that a copy of the memory has the few that are in use.

use crossfade_core::{
    Timestamp,
    upstream::{BasicEncoding, CredentialMethod, Slot},
};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};

/// The upstream credential of a registration.
pub struct UpstreamCredential {
    method: CredentialMethod,
    encoding: BasicEncoding,
    origins: Box<[String]>,
    slots: Box<[SealedSlot]>,
    next_leads: AtomicBool,
}

/// A sealed secret of an upstream credential.
pub struct SealedSlot {
    /// Which of the two it is.
    pub slot: Slot,
    /// The sealed secret.
    pub sealed: Box<[u8]>,
    /// When it was set.
    pub set_at: Timestamp,
    /// The minute in which it was last noted that the issuer accepts it.
    accepted_minute: AtomicI64,
}

/// No minute.
const NEVER: i64 = i64::MIN;

impl SealedSlot {
    /// Creates a slot of which nothing is noted yet.
    pub fn new(slot: Slot, sealed: Vec<u8>, set_at: Timestamp) -> Self {
        Self { slot, sealed: sealed.into(), set_at, accepted_minute: AtomicI64::new(NEVER) }
    }

    /// Notes that the issuer accepts it. Returns whether that was not noted in this minute before.
    pub fn accept(&self, now: Timestamp) -> bool {
        let minute = now.as_seconds().div_euclid(60);
        self.accepted_minute.load(Relaxed) != minute && self.accepted_minute.swap(minute, Relaxed) != minute
    }

    /// Notes that the issuer refuses it, or does not tell.
    pub fn doubt(&self) {
        self.accepted_minute.store(NEVER, Relaxed);
    }
}

impl UpstreamCredential {
    /// Creates a credential that is sent to these origins.
    pub fn new(
        (method, encoding): (CredentialMethod, BasicEncoding),
        origins: Vec<String>,
        slots: Vec<SealedSlot>,
        leading: Slot,
    ) -> Self {
        Self {
            method,
            encoding,
            origins: origins.into(),
            slots: slots.into(),
            next_leads: AtomicBool::new(leading == Slot::Next),
        }
    }

    /// Returns how it is sent.
    pub fn method(&self) -> CredentialMethod {
        self.method
    }

    /// Returns how it is written into the `Authorization` header.
    pub fn encoding(&self) -> BasicEncoding {
        self.encoding
    }

    /// Whether it was set or confirmed for this scheme, host and port.
    pub fn is_for(&self, origin: &str) -> bool {
        self.origins.iter().any(|own| own == origin)
    }

    /// Returns the slot.
    pub fn slot(&self, slot: Slot) -> Option<&SealedSlot> {
        self.slots.iter().find(|own| own.slot == slot)
    }

    /// Returns the slot that is tried first, and is filled.
    pub fn leading(&self) -> Option<&SealedSlot> {
        let leading = if self.next_leads.load(Relaxed) { Slot::Next } else { Slot::Current };
        self.slot(leading).or_else(|| self.slot(leading.other()))
    }

    /// Lets a slot be tried first. Returns whether it was not before.
    pub fn lead_with(&self, slot: Slot) -> bool {
        self.next_leads.swap(slot == Slot::Next, Relaxed) != (slot == Slot::Next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(1_795_525_500 + seconds)
    }

    fn credential(slots: &[Slot], leading: Slot) -> UpstreamCredential {
        let slots = slots.iter().map(|slot| SealedSlot::new(*slot, vec![1], at(0))).collect();
        let origins = vec!["https://id.example".to_owned()];
        UpstreamCredential::new(
            (CredentialMethod::ClientSecretBasic, BasicEncoding::Percent),
            origins,
            slots,
            leading,
        )
    }

    #[test]
    fn a_credential_is_for_the_origins_that_it_was_confirmed_for() {
        let credential = credential(&[Slot::Current], Slot::Current);
        assert!(credential.is_for("https://id.example"));
        for other in ["http://id.example", "https://id.example:8443", "https://id.example.org", ""] {
            assert!(!credential.is_for(other), "{other}");
        }
    }

    #[test]
    fn the_slot_that_worked_leads_and_an_empty_one_never_does() {
        let both = credential(&[Slot::Current, Slot::Next], Slot::Current);
        let leading = |it: &UpstreamCredential| it.leading().map(|slot| slot.slot);
        assert_eq!(leading(&both), Some(Slot::Current));
        assert!(both.lead_with(Slot::Next));
        assert!(!both.lead_with(Slot::Next));
        assert_eq!(leading(&both), Some(Slot::Next));
        assert_eq!(leading(&credential(&[Slot::Current], Slot::Next)), Some(Slot::Current));
        assert_eq!(leading(&credential(&[], Slot::Current)), None);
    }

    #[test]
    fn an_accepted_secret_is_noted_once_a_minute_and_again_after_a_doubt() {
        let slot = SealedSlot::new(Slot::Current, vec![1], at(0));
        assert_eq!([0, 1, 30].map(|seconds| slot.accept(at(seconds))), [true, false, false]);
        assert!(slot.accept(at(60)));
        slot.doubt();
        assert!(slot.accept(at(61)));
    }
}
