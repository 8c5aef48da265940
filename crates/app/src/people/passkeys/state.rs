//! What a browser brings back with the answer of a passkey, sealed. The server stores nothing when it asks, so strangers have
//! nothing to fill, and each node can check the answer.

use crate::{
    error::Error,
    keys::{
        place::SealPlace,
        seal::{SealKey, derived},
    },
};
use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use crossfade_core::{SessionId, Timestamp};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long a passkey can take to answer.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(5 * 60);
/// Label that separates this key from other keys derived from the same root.
const LABEL: &[u8] = b"crossfade: challenges of passkeys";

/// What an answer is for. It is accepted for nothing else.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose<'a> {
    /// To sign in, whoever it is.
    SignIn,
    /// To finish the sign-in with this digest, which has passed the check of its password.
    Finish(&'a [u8]),
    /// To confirm this session.
    Confirm(&'a SessionId),
    /// To add the passkey in this session.
    Add(&'a SessionId),
}

/// What was asked.
#[derive(Serialize, Deserialize)]
pub(crate) struct AskedFor {
    /// What the answer is checked against.
    pub(crate) state: String,
    /// The handle of the account that a passkey is added to; empty otherwise.
    pub(crate) handle: String,
    /// When it was asked.
    pub(crate) at: Timestamp,
}

impl AskedFor {
    /// Returns the digest of the challenge, which is in the state.
    pub(crate) fn digest(&self) -> Vec<u8> {
        digest(&SHA256, self.state.as_bytes()).as_ref().to_vec()
    }

    /// Returns until when it can be answered.
    pub(crate) fn until(&self) -> Timestamp {
        self.at.after(ANSWER_WITHIN)
    }
}

/// Seals and opens what browsers bring back. The key is not that of stored values, because strangers can have any number sealed.
pub(crate) struct PasskeyStates(SealKey);

impl PasskeyStates {
    /// Creates the seal. `root` is a key that every process of this database has.
    pub(crate) fn new(root: &[u8]) -> Self {
        Self(SealKey::new(*b"passkey1", &derived(root, LABEL)))
    }

    pub(crate) fn seal(&self, purpose: Purpose<'_>, asked: &AskedFor) -> Result<String, Error> {
        let text = serde_json::to_vec(asked).map_err(Error::internal)?;
        let sealed = purpose.with_place(|place| self.0.seal(place, &text))?;
        Ok(URL_SAFE_NO_PAD.encode(sealed))
    }

    /// Opens what was sealed for this purpose, while it can still be answered.
    pub(crate) fn open(&self, purpose: Purpose<'_>, text: &str, now: Timestamp) -> Option<AskedFor> {
        let sealed = URL_SAFE_NO_PAD.decode(text).ok()?;
        let opened = purpose.with_place(|place| self.0.open(place, &sealed))?;
        let asked: AskedFor = serde_json::from_slice(&opened).ok()?;
        (asked.at <= now && now < asked.until()).then_some(asked)
    }
}

impl Purpose<'_> {
    fn with_place<T>(self, work: impl FnOnce(&SealPlace<'_>) -> T) -> T {
        let place = |purpose, holder: &str| work(&SealPlace::Passkey { purpose, holder });
        match self {
            Self::SignIn => place("sign_in", ""),
            Self::Finish(digest) => place("finish", &URL_SAFE_NO_PAD.encode(digest)),
            Self::Confirm(session) => place("confirm", session.as_str()),
            Self::Add(session) => place("add", session.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_belongs_to_its_purpose_and_ends_after_five_minutes() {
        let session = |n: u32| SessionId::parse(&format!("ses_{n:022}")).unwrap();
        let (one, other) = (session(1), session(2));
        let states = PasskeyStates::new(b"root");
        let at = Timestamp::from_seconds(1000);
        let asked = AskedFor { state: "state".into(), handle: String::new(), at };
        let text = states.seal(Purpose::Confirm(&one), &asked).unwrap();
        let opened = states.open(Purpose::Confirm(&one), &text, at).unwrap();
        assert_eq!((opened.state.as_str(), opened.digest()), ("state", asked.digest()));
        for purpose in [
            Purpose::Confirm(&other),
            Purpose::Add(&one),
            Purpose::SignIn,
            Purpose::Finish(one.as_str().as_bytes()),
        ] {
            assert!(states.open(purpose, &text, at).is_none(), "{purpose:?}");
        }
        assert!(PasskeyStates::new(b"other").open(Purpose::Confirm(&one), &text, at).is_none());
        let last = at.after(ANSWER_WITHIN).before(Duration::from_micros(1));
        assert!(states.open(Purpose::Confirm(&one), &text, last).is_some());
        assert!(states.open(Purpose::Confirm(&one), &text, asked.until()).is_none(), "too late");
        let earlier = at.before(Duration::from_secs(1));
        assert!(states.open(Purpose::Confirm(&one), &text, earlier).is_none(), "from the future");
        for broken in ["", "%", &text[..text.len() - 2], &format!("{text}=")] {
            assert!(states.open(Purpose::Confirm(&one), broken, at).is_none(), "{broken}");
        }
    }
}
