//! Opens the upstream credential of an authenticated client for one request.

use crate::{app::App, keys::place::SealPlace};
use crossfade_core::{
    RegistrationId, Timestamp,
    upstream::{BasicEncoding, CredentialMethod, Slot},
};
use std::{error, fmt};
use zeroize::Zeroizing;

/// The upstream credential of a registration, opened for one request. Has no `Debug`, which would show it.
pub struct OpenedCredential {
    /// Registration it belongs to.
    pub registration: RegistrationId,
    /// How it is sent.
    pub method: CredentialMethod,
    /// How it is written into the `Authorization` header.
    pub encoding: BasicEncoding,
    /// The secret to try first.
    pub first: OpenedSecret,
    /// The secret to try once if the issuer refuses the first one.
    pub second: Option<OpenedSecret>,
}

/// A secret of an upstream credential. Has no `Debug`, which would show it.
pub struct OpenedSecret {
    /// Slot it is in.
    pub slot: Slot,
    /// When it was set.
    pub set_at: Timestamp,
    /// The secret.
    pub value: Zeroizing<String>,
}

/// Why there is no upstream credential for a request. Callers get 503.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoCredential {
    /// None is set.
    NotSet,
    /// The credential was not set or confirmed for this server.
    NotConfirmed,
    /// The credential cannot be decrypted.
    Unreadable,
}

impl fmt::Display for NoCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotSet => "no upstream credential is set",
            Self::NotConfirmed => "the upstream credential is not confirmed for this server",
            Self::Unreadable => "the upstream credential cannot be opened",
        })
    }
}

impl error::Error for NoCredential {}

impl App {
    /// Opens the upstream credential of an authenticated client for a request to this scheme, host and port. What the issuer says about it is
    /// noted with [`App::note_upstream_outcome`].
    pub fn open_upstream_credential(
        &self,
        registration: &RegistrationId,
        origin: &str,
    ) -> Result<OpenedCredential, NoCredential> {
        let credential = self.authority.upstream_credential(registration).ok_or(NoCredential::NotSet)?;
        if !credential.is_for(origin) {
            return Err(NoCredential::NotConfirmed);
        }
        let open = |slot: &crossfade_authority::SealedSlot| {
            let place = SealPlace::UpstreamCredential { registration, slot: slot.slot };
            let opened = self.vault.open(&place, &slot.sealed).map_err(|_| NoCredential::Unreadable)?;
            let value = std::str::from_utf8(&opened).map_err(|_| NoCredential::Unreadable)?;
            let value = Zeroizing::new(value.to_owned());
            Ok(OpenedSecret { slot: slot.slot, set_at: slot.set_at, value })
        };
        let leading = credential.leading().ok_or(NoCredential::NotSet)?;
        let second = credential.slot(leading.slot.other()).map(open).transpose()?;
        let (registration, method) = (registration.clone(), credential.method());
        let encoding = credential.encoding();
        Ok(OpenedCredential { registration, method, encoding, first: open(leading)?, second })
    }
}
