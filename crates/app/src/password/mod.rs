//! Passwords of people: Argon2id, off the async threads, a few at a time.

mod guessable;

use crate::{app::App, error::Error};
use argon2::{Algorithm, Argon2, Params, PasswordHash, PasswordHasher, PasswordVerifier, Version};
use crossfade_core::{Problem, text};

/// The shortest password, in characters: it is the only factor (NIST SP 800-63B-4 §3.1.1.2).
const SHORTEST: usize = 15;
/// The longest, in bytes; hashing more would only cost.
const LONGEST: usize = 1024;

/// What is verified where an account has no password or is not there, so that it takes as long. Of a random value
/// that nobody kept; the parameters are those of [`argon2`].
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$Uudv+tBjVpxWKAHnVCEbww$n5dDYXybiy46Ftk9aJtrcxxbNO4SiJEkD/0uNPEymuQ";

/// 19 MiB, two passes, one lane: the OWASP recommendation for Argon2id.
fn argon2() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(19 * 1024, 2, 1, None).unwrap_or_default())
}

impl App {
    /// Hashes a new password, if it is one that may be chosen. `about` are words that a guesser would try first:
    /// the e-mail address, the name.
    pub(crate) async fn hash_password(&self, password: &str, about: &[&str]) -> Result<String, Error> {
        if password.chars().count() < SHORTEST || password.len() > LONGEST {
            return Err(Problem::invalid(
                "password",
                &format!(
                    "must have at least {SHORTEST} characters and at most {LONGEST} bytes; a sentence is fine"
                ),
            )
            .into());
        }
        let host = self.public_url.split("//").last().unwrap_or_default();
        let about: Vec<&str> = about.iter().copied().chain([host]).collect();
        if let Some(why) = guessable::why(password, &about) {
            let what = format!("{why}. Choose another; a sentence of your own is fine");
            return Err(Problem::invalid("password", &what).into());
        }
        let password = text::password(password);
        let _permit = self.hashing.acquire().await.map_err(Error::internal)?;
        tokio::task::spawn_blocking(move || {
            argon2().hash_password(password.as_bytes()).map(|hash| hash.to_string())
        })
        .await
        .map_err(Error::internal)?
        .map_err(|error| Error::internal(error.to_string()))
    }

    /// Whether a password is the one with this hash. Without a hash it is not, after the same work.
    pub(crate) async fn verify_password(&self, password: &str, hash: Option<&str>) -> Result<bool, Error> {
        if password.len() > LONGEST {
            return Ok(false);
        }
        let known = hash.is_some();
        let hash = hash.unwrap_or(NOBODY).to_owned();
        let password = text::password(password);
        let _permit = self.hashing.acquire().await.map_err(Error::internal)?;
        let verified = tokio::task::spawn_blocking(move || match PasswordHash::new(&hash) {
            Ok(hash) => Ok(argon2().verify_password(password.as_bytes(), &hash).is_ok()),
            Err(error) => Err(Error::internal(format!("a stored password hash cannot be read: {error}"))),
        });
        Ok(verified.await.map_err(Error::internal)?? && known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An account that is not there must cost what one that is there costs.
    #[test]
    fn nobody_s_hash_has_the_parameters_of_everybody_s() {
        let nobody = PasswordHash::new(NOBODY).unwrap();
        let somebody = argon2().hash_password(b"a sentence that nobody guesses").unwrap();
        assert_eq!(nobody.algorithm, somebody.algorithm);
        assert_eq!(nobody.version, somebody.version);
        assert_eq!(nobody.params, somebody.params);
        assert_eq!(nobody.salt.map(|salt| salt.len()), somebody.salt.map(|salt| salt.len()));
        assert_eq!(nobody.hash.map(|hash| hash.len()), somebody.hash.map(|hash| hash.len()));
    }
}
