//! Passwords of people: Argon2id, off the async threads, a few at a time.

use crate::{app::App, error::Error};
use argon2::{Algorithm, Argon2, Params, Version, password_hash::PasswordHasher};
use crossfade_core::Problem;
use zeroize::Zeroizing;

/// The shortest password, in characters: it is the only factor (NIST SP 800-63B-4 §3.1.1.2).
const SHORTEST: usize = 15;
/// The longest, in bytes; hashing more would only cost.
const LONGEST: usize = 1024;

/// 19 MiB, two passes, one lane: the OWASP recommendation for Argon2id.
fn argon2() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(19 * 1024, 2, 1, None).unwrap_or_default())
}

impl App {
    /// Hashes a new password, if it is one that may be chosen.
    pub(crate) async fn hash_password(&self, password: &str) -> Result<String, Error> {
        if password.chars().count() < SHORTEST || password.len() > LONGEST {
            return Err(Problem::invalid(
                "password",
                &format!(
                    "must have at least {SHORTEST} characters and at most {LONGEST} bytes; a sentence is fine"
                ),
            )
            .into());
        }
        let password = Zeroizing::new(password.as_bytes().to_vec());
        let _permit = self.hashing.acquire().await.map_err(Error::internal)?;
        tokio::task::spawn_blocking(move || argon2().hash_password(&password).map(|hash| hash.to_string()))
            .await
            .map_err(Error::internal)?
            .map_err(|error| Error::internal(error.to_string()))
    }
}
