//! The two ceremonies of WebAuthn: a browser makes a passkey, and a browser signs with one. The library checks origin, host,
//! challenge, flags, signature and counter; nothing of that is decided here.

use crate::error::Error;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use crossfade_core::second_factor::RelyingParty;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::time::Duration;
use webauthn_rs_core::{
    WebauthnCore,
    error::WebauthnError,
    proto::{
        AuthenticationState, Credential, PublicKeyCredential, RegisterPublicKeyCredential, RegistrationState,
        UserVerificationPolicy,
    },
};

/// Name of the service in a password manager.
const NAME: &str = "Crossfade";
/// Maximum length of the ID of a passkey in bytes (WebAuthn §4).
const MAX_ID: usize = 1023;

/// What is stored of a passkey, sealed.
#[derive(Serialize, Deserialize)]
pub(crate) struct StoredPasskey {
    /// Random value that stands for the account in its passkeys, base64url. It says nothing about the account.
    pub(crate) handle: String,
    credential: Credential,
}

impl StoredPasskey {
    /// Returns the ID, as it is stored and sent: base64url.
    pub(crate) fn id(&self) -> String {
        URL_SAFE_NO_PAD.encode(&self.credential.cred_id)
    }
}

/// A ceremony that has begun.
pub(crate) struct BegunCeremony {
    /// What the browser is asked for, as it reads it.
    pub(crate) options: Value,
    /// What the answer is checked against.
    pub(crate) state: String,
}

/// For whom a passkey is made.
pub(crate) struct Holder<'a> {
    /// Random value that stands for the account.
    pub(crate) handle: &'a [u8],
    /// Email address, as a password manager shows it.
    pub(crate) email: &'a str,
    /// Name, as a password manager shows it.
    pub(crate) name: &'a str,
}

/// Why an answer is not accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AnswerFault {
    /// It is no answer of a browser, or not the one to this challenge, or the signature is wrong.
    Wrong,
    /// The device has not checked who the person is.
    NotVerified,
    /// The signature is right, and the counter went back: there may be a copy of the passkey.
    Copied,
}

/// What is wrong with a signed answer.
fn fault(error: &WebauthnError) -> AnswerFault {
    tracing::debug!(%error, "an answer of a passkey was refused");
    match error {
        WebauthnError::UserNotVerified => AnswerFault::NotVerified,
        WebauthnError::CredentialPossibleCompromise => AnswerFault::Copied,
        _ => AnswerFault::Wrong,
    }
}

/// A signed answer of a browser.
pub(crate) struct Assertion(PublicKeyCredential);

impl Assertion {
    /// Reads the answer.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        parse(text).map(Self)
    }

    /// Returns the ID of the passkey that signed, as it is stored.
    pub(crate) fn passkey_id(&self) -> String {
        URL_SAFE_NO_PAD.encode(&self.0.raw_id)
    }
}

/// What a browser says of the page that asked.
#[derive(Deserialize)]
struct ClientData {
    /// Whether the page was in a frame of another site (WebAuthn §5.8.1).
    #[serde(rename = "crossOrigin", default)]
    crosses_origins: bool,
}

fn parse<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_str(text).ok()
}

/// Whether an answer has to say whose passkey it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Names {
    /// It says so: nobody is known yet.
    Itself,
    /// The account is known. What the answer says must still be right.
    Nobody,
}

/// Begins ceremonies and checks answers, for one relying party.
pub(crate) struct Ceremonies(WebauthnCore);

impl Ceremonies {
    pub(crate) fn new(party: &RelyingParty, answer_within: Duration) -> Self {
        // No subdomain and no other port: another program there could ask for signatures.
        let (subdomains, any_port) = (Some(false), Some(false));
        let origins = vec![party.origin.clone()];
        Self(WebauthnCore::new_unsafe_experts_only(
            NAME,
            &party.id,
            origins,
            answer_within,
            subdomains,
            any_port,
        ))
    }

    /// Begins to make a passkey that a browser finds without being told an account, and that checks who the person is.
    /// Devices with one of `known` make no second one.
    pub(crate) fn begin_adding(
        &self,
        holder: &Holder<'_>,
        known: &[StoredPasskey],
    ) -> Result<BegunCeremony, Error> {
        let known = known.iter().map(|it| it.credential.cred_id.clone()).collect();
        let begun = self
            .0
            .new_challenge_register_builder(holder.handle, holder.email, holder.name)
            .and_then(|it| {
                let it = it
                    .user_verification_policy(UserVerificationPolicy::Required)
                    .require_resident_key(true)
                    .exclude_credentials(Some(known));
                self.0.generate_challenge_register(it)
            })
            .map_err(Error::internal)?;
        BegunCeremony::new(&begun.0, &begun.1)
    }

    /// Checks the answer, and returns the passkey.
    pub(crate) fn finish_adding(
        &self,
        answer: &str,
        state: &str,
        handle: String,
    ) -> Result<StoredPasskey, AnswerFault> {
        let answer: RegisterPublicKeyCredential = parse(answer).ok_or(AnswerFault::Wrong)?;
        let state: RegistrationState = parse(state).ok_or(AnswerFault::Wrong)?;
        let credential = self.0.register_credential(&answer, &state, None).map_err(|error| fault(&error))?;
        let has_id = (1..=MAX_ID).contains(&credential.cred_id.len()) && credential.cred_id == answer.raw_id;
        match has_id && credential.user_verified {
            true => Ok(StoredPasskey { handle, credential }),
            false => Err(AnswerFault::NotVerified),
        }
    }

    /// Begins to ask for a signature with one of `passkeys`; without any, with one that the person chooses.
    pub(crate) fn begin_asking(&self, passkeys: &[StoredPasskey]) -> Result<BegunCeremony, Error> {
        let credentials = passkeys.iter().map(|it| it.credential.clone()).collect();
        let policy = Some(UserVerificationPolicy::Required);
        let (options, mut state) = self
            .0
            .new_challenge_authenticate_builder(credentials, policy)
            .and_then(|it| {
                // A password manager can begin to synchronise a passkey.
                self.0.generate_challenge_authenticate(it.allow_backup_eligible_upgrade(true))
            })
            .map_err(Error::internal)?;
        // The passkey is read again when the answer comes.
        state.set_allowed_credentials(Vec::new());
        BegunCeremony::new(&options, &state)
    }

    /// Checks a signature. The counter of the passkey moves on if it is right.
    pub(crate) fn check(
        &self,
        Assertion(answer): &Assertion,
        state: &str,
        passkey: &mut StoredPasskey,
        names: Names,
    ) -> Result<(), AnswerFault> {
        let mut state: AuthenticationState = parse(state).ok_or(AnswerFault::Wrong)?;
        let is_own = match &answer.response.user_handle {
            Some(handle) => URL_SAFE_NO_PAD.encode(handle) == passkey.handle,
            None => names == Names::Nobody,
        };
        // The library looks at this when a passkey is made, and not when it signs.
        let client: ClientData =
            serde_json::from_slice(&answer.response.client_data_json).map_err(|_| AnswerFault::Wrong)?;
        if !is_own || client.crosses_origins {
            return Err(AnswerFault::Wrong);
        }
        state.set_allowed_credentials(vec![passkey.credential.clone()]);
        let checked = self.0.authenticate_credential(answer, &state).map_err(|error| fault(&error))?;
        if !checked.user_verified() {
            return Err(AnswerFault::NotVerified);
        }
        passkey.credential.counter = checked.counter();
        passkey.credential.backup_state = checked.backup_state();
        passkey.credential.backup_eligible = checked.backup_eligible();
        Ok(())
    }
}

impl BegunCeremony {
    fn new(options: &impl Serialize, state: &impl Serialize) -> Result<Self, Error> {
        let options = serde_json::to_value(options).map_err(Error::internal)?;
        Ok(Self { options, state: serde_json::to_string(state).map_err(Error::internal)? })
    }
}
