//! Passwords of people: Argon2id, off the async threads, a few at a time.

mod guessable;

use crate::{app::App, error::Error};
use argon2::{Algorithm, Argon2, Params, PasswordHash, PasswordHasher, PasswordVerifier, Version};
use crossfade_core::{Problem, text};
use std::sync::Arc;
use tokio::sync::Semaphore;

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

/// How many passwords are hashed at a time: each takes 19 MiB, and a core for a while.
const PARALLEL_HASHES: usize = 2;

/// Where passwords are hashed. Whoever hangs up does not make room: the work goes on, and so does its permit.
#[derive(Clone)]
pub(crate) struct Hashing(Arc<Semaphore>);

impl Default for Hashing {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(PARALLEL_HASHES)))
    }
}

impl Hashing {
    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        let permit = self.0.clone().acquire_owned().await.map_err(Error::internal)?;
        let worked = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(permit);
            done
        });
        worked.await.map_err(Error::internal)
    }
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
        let hash = move || argon2().hash_password(password.as_bytes()).map(|hash| hash.to_string());
        self.hashing.run(hash).await?.map_err(|error| Error::internal(error.to_string()))
    }

    /// Whether a password is the one with this hash. Without a hash it is not, after the same work.
    pub(crate) async fn verify_password(&self, password: &str, hash: Option<&str>) -> Result<bool, Error> {
        if password.len() > LONGEST {
            return Ok(false);
        }
        let known = hash.is_some();
        let hash = hash.unwrap_or(NOBODY).to_owned();
        let password = text::password(password);
        let verify = move || match PasswordHash::new(&hash) {
            Ok(hash) => Ok(argon2().verify_password(password.as_bytes(), &hash).is_ok()),
            Err(error) => Err(Error::internal(format!("a stored password hash cannot be read: {error}"))),
        };
        Ok(self.hashing.run(verify).await?? && known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        sync::atomic::{AtomicUsize, Ordering::SeqCst},
        thread::sleep,
        time::Duration,
    };
    use tokio::task::JoinSet;

    #[tokio::test]
    async fn as_many_passwords_are_hashed_at_a_time_as_there_is_room_for_also_when_callers_hang_up() {
        let (hashing, running, most) =
            (Hashing::default(), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let one = || {
            let (hashing, running, most) = (hashing.clone(), running.clone(), most.clone());
            async move {
                let work = move || {
                    most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
                    sleep(Duration::from_millis(20));
                    running.fetch_sub(1, SeqCst)
                };
                hashing.run(work).await.unwrap();
            }
        };
        // These hang up while they are served; the others wait for them nevertheless.
        let mut gone: JoinSet<_> = (0..PARALLEL_HASHES).map(|_| one()).collect();
        while running.load(SeqCst) < PARALLEL_HASHES {
            tokio::task::yield_now().await;
        }
        gone.abort_all();
        (0..6).map(|_| one()).collect::<JoinSet<_>>().join_all().await;
        assert_eq!(most.load(SeqCst), PARALLEL_HASHES);
    }

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
