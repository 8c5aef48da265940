//! Known browsers. A browser in which an account has signed in has a cookie for 90 days. A sign-in to that account with
//! the cookie is not delayed by failures from its network or by failures at the account. Ten wrong passwords end the
//! cookie, so a stolen one allows at most ten guesses.

use crate::{
    app::App,
    error::Error,
    frame::{
        act::Act,
        entry::{About, Author},
    },
    node::password_checks::PasswordCheck,
    people::sessions::Visitor,
};
use crossfade_core::{
    Timestamp, UserId,
    audit::{Actor, Event},
    secret::{SecretKind, SecretValue},
};
use crossfade_store::{Tx, User};
use std::time::Duration;

/// How long a browser is known after a sign-in.
pub const KNOWN_FOR: Duration = Duration::from_secs(90 * 86_400);
/// Wrong passwords that end the cookie of a known browser.
const MAX_WRONG_PASSWORDS: i64 = 10;
/// Maximum number of accounts that know one browser.
const MAX_ACCOUNTS: usize = 4;
/// Separator of the accounts' values in the cookie. No value contains it.
const SEPARATOR: char = '.';

/// A known browser signing in to its account.
pub(crate) struct KnownBrowser(PasswordCheck);

/// Whether an account knows the browser of a visitor.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Knows {
    /// The browser with this digest.
    Browser(Vec<u8>),
    /// It does not.
    Nobody,
}

/// Parses the values in the cookie of known browsers.
pub fn parse_devices(cookie: &str) -> Vec<SecretValue> {
    let values = cookie.split(SEPARATOR).take(MAX_ACCOUNTS);
    values.filter_map(|value| SecretValue::parse(SecretKind::Device, value)).collect()
}

/// Writes the cookie of a known browser.
pub fn join_devices(values: &[SecretValue]) -> String {
    values.iter().map(SecretValue::reveal).collect::<Vec<_>>().join(&SEPARATOR.to_string())
}

impl App {
    /// Returns the known browser of a sign-in; `None` if its cookie does not belong to this account, or has no guess
    /// left.
    pub(crate) async fn known_browser(
        &self,
        user: Option<&User>,
        visitor: &Visitor,
        now: Timestamp,
    ) -> Result<Option<KnownBrowser>, Error> {
        let Some(user) = user else { return Ok(None) };
        for value in &visitor.devices {
            // Counted before the row is read: two guesses at the same time are two.
            let (guess, running) = self.node.password_checks.begin(self.digests.device(value.reveal()));
            let look = async |tx: &mut Tx| Ok(tx.device(&guess.digest, now).await?);
            let device = self.look_up_visitor(visitor, look).await?;
            match &device {
                Some(_) => self.node.strangers.know(&guess.digest),
                None => self.node.strangers.forget(&guess.digest),
            }
            let is_left = |wrong: i64| wrong.saturating_add(running) <= MAX_WRONG_PASSWORDS;
            if device.is_some_and(|it| it.user_id == user.id && is_left(it.wrong_passwords)) {
                return Ok(Some(KnownBrowser(guess)));
            }
        }
        Ok(None)
    }

    /// Whether a browser is known to an account.
    pub(crate) async fn knows_browser(
        &self,
        tx: &mut Tx,
        user: &UserId,
        visitor: &Visitor,
        now: Timestamp,
    ) -> Result<bool, Error> {
        for value in &visitor.devices {
            let device = tx.device(&self.digests.device(value.reveal()), now).await?;
            if device.is_some_and(|device| device.user_id == *user) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Runs a look-up for a sign-in. Unless the browser has a known cookie, the look-up waits in the queue for unknown
    /// callers.
    pub(crate) async fn look_up_visitor<T>(
        &self,
        visitor: &Visitor,
        work: impl AsyncFnOnce(&mut Tx) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut devices = visitor.devices.iter();
        match devices.any(|value| self.node.strangers.is_known(&self.digests.device(value.reveal()))) {
            true => self.read(work).await,
            false => self.look_up_for(visitor.origin.ip, work).await,
        }
    }

    /// Counts a wrong password from a known browser. The last allowed one ends its cookie.
    pub(crate) async fn count_wrong_password(
        &self,
        browser: KnownBrowser,
        user: &User,
        visitor: &Visitor,
    ) -> Result<(), Error> {
        let KnownBrowser(guess) = browser;
        let _turn = self.node.background_turn().await;
        let actor = Actor::Unknown { id: user.email.clone().unwrap_or_default(), name: user.name.clone() };
        self.change_as(Author::from(actor).at(&visitor.origin), async |act| {
            self.count_wrong_attempt(act, &guess.digest, &user.id).await
        })
        .await
    }

    /// Counts a wrong password or a wrong code from a known browser. The last allowed one ends its cookie.
    pub(crate) async fn count_wrong_attempt(
        &self,
        act: &mut Act<'_>,
        device: &[u8],
        user: &UserId,
    ) -> Result<(), Error> {
        let wrong = act.tx.count_wrong_password(device).await?;
        let Some(wrong) = wrong.filter(|wrong| *wrong >= MAX_WRONG_PASSWORDS) else { return Ok(()) };
        act.tx.end_device(device).await?;
        let event = Event::DeviceEnded { wrong_passwords: wrong.unsigned_abs() };
        act.audit(&event, About::target(user)).await
    }

    /// Returns whether the browser of a visitor is known to an account, with the digest of its cookie.
    pub(crate) async fn knows(
        &self,
        tx: &mut Tx,
        user: &UserId,
        visitor: &Visitor,
        now: Timestamp,
    ) -> Result<Knows, Error> {
        for value in &visitor.devices {
            let digest = self.digests.device(value.reveal());
            if tx.device(&digest, now).await?.is_some_and(|device| device.user_id == *user) {
                return Ok(Knows::Browser(digest));
            }
        }
        Ok(Knows::Nobody)
    }

    /// Makes the browser of a visitor known to an account that has just signed in. Returns the new content of its
    /// cookie: a new value for this account, and the values of the other accounts that know it.
    pub(crate) async fn know_browser(
        &self,
        tx: &mut Tx,
        user: &UserId,
        visitor: &Visitor,
        now: Timestamp,
    ) -> Result<Vec<SecretValue>, Error> {
        let value = SecretValue::generate(SecretKind::Device, self.random.as_ref());
        let mut values = Vec::with_capacity(MAX_ACCOUNTS);
        for old in &visitor.devices {
            let digest = self.digests.device(old.reveal());
            match tx.device(&digest, now).await? {
                Some(device) if device.user_id == *user => drop(tx.end_device(&digest).await?),
                Some(_) => values.push(old.clone()),
                None => {}
            }
        }
        let digest = self.digests.device(value.reveal());
        tx.insert_device(user, &digest, now, now.after(KNOWN_FOR)).await?;
        self.node.strangers.know(&digest);
        values.insert(0, value);
        values.truncate(MAX_ACCOUNTS);
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_read_as_it_was_written_and_is_bounded() {
        let random = crossfade_authority::SystemRandom;
        let values: Vec<_> = (0..6).map(|_| SecretValue::generate(SecretKind::Device, &random)).collect();
        let read = parse_devices(&join_devices(&values));
        let texts =
            |values: &[SecretValue]| values.iter().map(|it| it.reveal().to_owned()).collect::<Vec<_>>();
        assert_eq!(texts(&read), texts(&values[..4]));
        let session = SecretValue::generate(SecretKind::Session, &random);
        assert!(parse_devices(session.reveal()).is_empty() && parse_devices("").is_empty());
    }
}
