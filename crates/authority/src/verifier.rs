//! The record that decides for one registration, and the keyed hash that it is decided by.

use crate::evidence::Failure;
use aws_lc_rs::hmac;
use crossfade_core::{
    OauthClientId, RegistrationId, SecretId, Timestamp,
    environment::Slug,
    registration::{AuthMethod, AuthMethods, Scopes, TokenTtl},
    rotation::{SecretState, state_at},
};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

/// The length of a digest: HMAC-SHA-256.
pub(crate) const DIGEST: usize = 32;

/// How many secrets a record compares with: the two that may be valid, and the two that ended last, so
/// that the trail can tell an ended secret from a wrong one.
const SLOTS: usize = 4;

/// The keys of the hash that secrets are verified by, each with its id. Normally one; while keys roll over,
/// two. The work is the same for every caller: one hash a key.
pub struct VerifierKeys(Vec<(String, hmac::Key)>);

impl VerifierKeys {
    /// From ids and key bytes; the last key is the one that new digests are made with.
    pub fn new(keys: impl IntoIterator<Item = (String, [u8; 32])>) -> Self {
        let keyed = |(id, key): (String, [u8; 32])| (id, hmac::Key::new(hmac::HMAC_SHA256, &key));
        Self(keys.into_iter().map(keyed).collect())
    }

    /// The digest of a new secret, and the id of its key. `None` when there is no key.
    pub fn digest(&self, client_id: &OauthClientId, secret: &str) -> Option<(String, [u8; DIGEST])> {
        self.0.last().map(|(id, key)| (id.clone(), digest(key, client_id.as_str(), secret)))
    }

    fn index(&self, id: &str) -> Option<u8> {
        self.0.iter().position(|(own, _)| own == id).and_then(|index| u8::try_from(index).ok())
    }
}

/// HMAC over length, `client_id` and secret. The `client_id` is unique over all environments, so a digest
/// copied to another registration or environment matches nothing there.
fn digest(key: &hmac::Key, client_id: &str, secret: &str) -> [u8; DIGEST] {
    let mut context = hmac::Context::with_key(key);
    context.update(&(client_id.len() as u64).to_be_bytes());
    context.update(client_id.as_bytes());
    context.update(secret.as_bytes());
    let mut out = [0; DIGEST];
    out.copy_from_slice(context.sign().as_ref());
    out
}

/// A registration as the change log delivers it.
#[derive(Clone, Debug)]
pub struct Registration {
    /// The registration.
    pub id: RegistrationId,
    /// What callers present.
    pub client_id: OauthClientId,
    /// The environment that it belongs to.
    pub environment: Slug,
    /// Whether it refuses everything.
    pub disabled: bool,
    /// How it may present its secret.
    pub methods: AuthMethods,
    /// The scopes that it may ask for.
    pub scopes: Scopes,
    /// The audience of its tokens, where it is not the issuer.
    pub audience: Option<String>,
    /// How long its tokens live.
    pub ttl: TokenTtl,
    /// Whether it may introspect every token of its environment.
    pub may_introspect: bool,
    /// Its secrets, in any order; only the four that matter most are kept.
    pub secrets: Vec<SecretSlot>,
}

/// One secret of a registration.
#[derive(Clone, Debug)]
pub struct SecretSlot {
    /// The secret.
    pub id: SecretId,
    /// Its digest.
    pub digest: [u8; DIGEST],
    /// The id of the digest's key.
    pub digest_key: String,
    /// Its absolute deadline.
    pub expires_at: Option<Timestamp>,
    /// When it was ended before its time.
    pub revoked_at: Option<Timestamp>,
}

impl SecretSlot {
    /// The end that it has or will have; a current secret sorts last of all.
    fn end(&self) -> Timestamp {
        self.revoked_at.or(self.expires_at).unwrap_or(Timestamp::from_micros(i64::MAX))
    }
}

struct Slot {
    digest: [u8; DIGEST],
    key: u8,
    secret: SecretId,
    expires_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
}

/// What an empty slot is compared with instead.
const NOTHING: [u8; DIGEST] = [0; DIGEST];
/// A key that is not there.
const NO_KEY: u8 = u8::MAX;

/// A registration prepared for the request path.
pub(crate) struct Verifier {
    pub(crate) registration: RegistrationId,
    pub(crate) client_id: OauthClientId,
    pub(crate) environment: Slug,
    pub(crate) scopes: Scopes,
    pub(crate) audience: Option<Box<str>>,
    pub(crate) ttl: TokenTtl,
    pub(crate) may_introspect: bool,
    pub(crate) disabled: bool,
    methods: AuthMethods,
    slots: Box<[Slot]>,
}

impl Verifier {
    pub(crate) fn new(registration: Registration, keys: &VerifierKeys) -> Self {
        Self {
            slots: slots(registration.secrets, keys),
            registration: registration.id,
            client_id: registration.client_id,
            environment: registration.environment,
            scopes: registration.scopes,
            audience: registration.audience.map(Into::into),
            ttl: registration.ttl,
            may_introspect: registration.may_introspect,
            disabled: registration.disabled,
            methods: registration.methods,
        }
    }

    /// Decides a secret at `now`.
    pub(crate) fn verify(
        &self,
        keys: &VerifierKeys,
        secret: &str,
        method: AuthMethod,
        now: Timestamp,
    ) -> Result<&SecretId, (Failure, Option<&SecretId>)> {
        let slot = matching(keys, &self.slots, self.client_id.as_str(), secret);
        let ended = slot.map(|slot| &slot.secret);
        if self.disabled {
            return Err((Failure::Disabled, ended));
        }
        if !self.methods.allows(method) {
            return Err((Failure::Method, ended));
        }
        let Some(slot) = slot else { return Err((Failure::Wrong, None)) };
        match state_at(slot.expires_at, slot.revoked_at, now) {
            SecretState::Current | SecretState::Retiring => Ok(&slot.secret),
            SecretState::Expired => Err((Failure::Expired, ended)),
            SecretState::Revoked => Err((Failure::Revoked, ended)),
        }
    }
}

/// Does for an unknown `client_id` what is done for a known one, and finds nothing.
pub(crate) fn verify_unknown(keys: &VerifierKeys, client_id: &str, secret: &str) {
    std::hint::black_box(matching(keys, &[], client_id, secret).is_some());
}

/// The slot whose secret was presented. Whatever it finds, it computes one hash a key and compares it with
/// all slots there could be, so that the time tells nothing about the registration (product rule 16).
fn matching<'a>(keys: &VerifierKeys, slots: &'a [Slot], client_id: &str, secret: &str) -> Option<&'a Slot> {
    let mut found = SLOTS as u8;
    for (index, (_, key)) in keys.0.iter().enumerate() {
        let presented = digest(key, client_id, secret);
        for at in 0..SLOTS {
            let (digest, key) = slots.get(at).map_or((&NOTHING, NO_KEY), |slot| (&slot.digest, slot.key));
            let same = presented.ct_eq(digest) & Choice::from(u8::from(key as usize == index));
            found.conditional_assign(&(at as u8), same);
        }
    }
    slots.get(found as usize)
}

fn slots(mut secrets: Vec<SecretSlot>, keys: &VerifierKeys) -> Box<[Slot]> {
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.end()));
    secrets.truncate(SLOTS);
    let slot = |secret: SecretSlot| Slot {
        key: keys.index(&secret.digest_key).unwrap_or(NO_KEY),
        digest: secret.digest,
        secret: secret.id,
        expires_at: secret.expires_at,
        revoked_at: secret.revoked_at,
    };
    secrets.into_iter().map(slot).collect()
}
