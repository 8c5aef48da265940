//! What a browser keeps while its person is at a provider, sealed. The server keeps nothing, so strangers have nothing to fill.

use crate::{
    error::Error,
    keys::{
        place::SealPlace,
        seal::{SealKey, derived},
    },
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use crossfade_core::{ProviderId, Random, SessionId, Timestamp};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long a sign-in at a provider can take.
pub const SIGN_IN_WITHIN: Duration = Duration::from_secs(600);
/// Label that separates this key from other keys derived from the same root.
const LABEL: &[u8] = b"crossfade: sign-ins with providers";
/// Number of characters of the state that name its cookie, so that two tabs keep theirs apart.
const NAMING: usize = 8;

/// Why a person goes to a provider.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ProviderPurpose {
    /// To sign in.
    SignIn,
    /// To confirm this session.
    Confirm(SessionId),
    /// To link the account of this session with the provider.
    Link(SessionId),
}

/// What a browser keeps.
#[derive(Serialize, Deserialize)]
pub(crate) struct Pending {
    pub(crate) state: String,
    pub(crate) nonce: String,
    pub(crate) verifier: String,
    pub(crate) purpose: ProviderPurpose,
    /// Page to return to.
    pub(crate) to: String,
    /// When the person was sent to the provider.
    pub(crate) at: Timestamp,
}

impl Pending {
    pub(crate) fn new(random: &dyn Random, purpose: ProviderPurpose, to: String, at: Timestamp) -> Self {
        let text = || {
            let mut bytes = [0; 32];
            random.fill(&mut bytes);
            URL_SAFE_NO_PAD.encode(bytes)
        };
        Self { state: text(), nonce: text(), verifier: text(), purpose, to, at }
    }

    /// Returns the hash of the verifier (RFC 7636 §4.2).
    pub(crate) fn challenge(&self) -> String {
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, self.verifier.as_bytes());
        URL_SAFE_NO_PAD.encode(hash.as_ref())
    }

    /// Whether it is still in time.
    pub(crate) fn is_current(&self, now: Timestamp) -> bool {
        self.at <= now && now < self.at.after(SIGN_IN_WITHIN)
    }
}

/// Returns what names the cookie of a state; `None` if the text cannot be one.
pub fn cookie_of_state(state: &str) -> Option<&str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    state.get(..NAMING).filter(|_| state.len() == 43 && state.bytes().all(is_plain))
}

/// Seals and opens what browsers keep. The key is not that of stored values, because strangers can have any number sealed.
pub(crate) struct SignInStates(SealKey);

impl SignInStates {
    /// Creates the seal. `root` is a key that every process of this database has.
    pub(crate) fn new(root: &[u8]) -> Self {
        Self(SealKey::new(*b"signins1", &derived(root, LABEL)))
    }

    pub(crate) fn seal(&self, provider: &ProviderId, pending: &Pending) -> Result<String, Error> {
        let text = serde_json::to_vec(pending).map_err(Error::internal)?;
        Ok(URL_SAFE_NO_PAD.encode(self.0.seal(&SealPlace::SignIn { provider }, &text)?))
    }

    pub(crate) fn open(&self, provider: &ProviderId, cookie: &str) -> Option<Pending> {
        let sealed = URL_SAFE_NO_PAD.decode(cookie).ok()?;
        let text = self.0.open(&SealPlace::SignIn { provider }, &sealed)?;
        serde_json::from_slice(&text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossfade_authority::SystemRandom;

    #[test]
    fn a_sign_in_belongs_to_its_provider_and_ends_after_ten_minutes() {
        let provider = |n: u32| ProviderId::parse(&format!("idp_{n:022}")).unwrap();
        let states = SignInStates::new(b"root");
        let at = Timestamp::from_seconds(1000);
        let pending = Pending::new(&SystemRandom, ProviderPurpose::SignIn, "/console".into(), at);
        let cookie = states.seal(&provider(1), &pending).unwrap();
        let opened = states.open(&provider(1), &cookie).unwrap();
        assert_eq!((&opened.state, &opened.verifier), (&pending.state, &pending.verifier));
        assert!(states.open(&provider(2), &cookie).is_none(), "a mix-up of providers");
        assert!(SignInStates::new(b"other").open(&provider(1), &cookie).is_none());
        assert!(states.open(&provider(1), &cookie[..cookie.len() - 2]).is_none());
        assert!(states.open(&provider(1), "").is_none());
        assert!(pending.is_current(at) && !pending.is_current(at.after(SIGN_IN_WITHIN)));
        assert!(!pending.is_current(at.before(Duration::from_secs(1))), "from the future");
        assert_eq!(cookie_of_state(&pending.state), pending.state.get(..8));
        assert_eq!((cookie_of_state("short"), cookie_of_state(&"ü".repeat(22))), (None, None));
        assert_eq!(pending.challenge().len(), 43);
    }
}
