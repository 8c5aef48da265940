//! Passwords of people: Argon2id, outside the async threads, two at a time.

mod guessable;
mod memory;

pub use memory::PasswordCost;

use crate::{app::App, error::Error, node::lanes::Place};
use crossfade_core::{Problem, text};

/// Minimum length of a password in characters: it is the only factor (NIST SP 800-63B-4 §3.1.1.2).
const SHORTEST: usize = 15;
/// Maximum length of a password in bytes; hashing more would only cost time.
const LONGEST: usize = 1024;

/// Hash that is verified if an account has no password or does not exist, so that the time is the same. It was computed
/// from a random value that was not kept, at the [recommended cost](PasswordCost::RECOMMENDED).
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$Uudv+tBjVpxWKAHnVCEbww$n5dDYXybiy46Ftk9aJtrcxxbNO4SiJEkD/0uNPEymuQ";

impl App {
    /// Hashes a new password if it is allowed. `about` contains words that an attacker would try first: the email
    /// address, the name.
    pub(crate) async fn hash_password(
        &self,
        place: Place,
        password: &str,
        about: &[&str],
    ) -> Result<String, Error> {
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
            let problem = Problem::invalid("password", why);
            return Err(problem
                .advise("Choose another password, for example a sentence of your own.")
                .into());
        }
        let password = text::password(password);
        let mut salt = [0; memory::SALT_BYTES];
        self.random.fill(&mut salt);
        let cost = self.password_cost;
        place.run(move || memory::hash(cost, password.as_bytes(), salt)).await?.map_err(Error::internal)
    }

    /// Whether a password matches this hash; without a hash `false`, after the same work.
    pub(crate) async fn verify_password(
        &self,
        place: Place,
        password: &str,
        hash: Option<&str>,
    ) -> Result<bool, Error> {
        if password.len() > LONGEST {
            return Ok(false);
        }
        let known = hash.is_some();
        let hash = hash.unwrap_or(NOBODY).to_owned();
        let password = text::password(password);
        let verified = place.run(move || memory::verify(password.as_bytes(), &hash)).await?;
        let right = verified
            .map_err(|error| Error::internal(format!("a stored password hash cannot be read: {error}")))?;
        Ok(right && known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use argon2::PasswordHash;

    /// A missing account must cost what an existing one costs.
    #[test]
    fn the_hash_of_a_missing_account_has_the_usual_parameters() {
        let nobody = PasswordHash::new(NOBODY).unwrap();
        let (cost, salt) = (PasswordCost::RECOMMENDED, [1; memory::SALT_BYTES]);
        let somebody = memory::hash(cost, b"a sentence that nobody guesses", salt).unwrap();
        let somebody = PasswordHash::new(&somebody).unwrap();
        assert_eq!(nobody.algorithm, somebody.algorithm);
        assert_eq!(nobody.version, somebody.version);
        assert_eq!(nobody.params, somebody.params);
        assert_eq!(nobody.salt.map(|salt| salt.len()), somebody.salt.map(|salt| salt.len()));
        assert_eq!(nobody.hash.map(|hash| hash.len()), somebody.hash.map(|hash| hash.len()));
    }
}
