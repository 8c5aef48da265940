//! Signing in with an email address and a password.

use crate::{
    app::App,
    error::Error,
    frame::entry::{About, Author},
    node::{
        lanes::{Place, busy},
        throttle::{Admitted, Held, Subject},
    },
    people::{
        devices::KnownBrowser,
        sessions::{Visitor, author_in},
        sign_in_policy::accepts_password,
    },
};
use crossfade_core::{
    SessionId, Timestamp, UserId,
    address::wide_network,
    api::UserKind,
    audit::{Actor, Event, Via},
    secret::SecretValue,
    text,
};
use crossfade_store::{Tx, User};
use std::time::Duration;

/// A new session.
pub struct NewSession {
    /// Value of its cookie.
    pub value: SecretValue,
    /// Values in the cookie of the known browser.
    pub devices: Vec<SecretValue>,
    /// Owner.
    pub user: UserId,
}

/// Outcome of a sign-in.
pub enum SignIn {
    /// The password was correct, and a session has begun.
    Done(NewSession),
    /// The password was correct. A session begins with the code of the second factor: the value is that of the cookie of
    /// the sign-in that waits for it.
    NeedsCode(SecretValue),
    /// The email address or the password was wrong. Whether the account exists is not revealed.
    Wrong,
    /// The password was correct, but passwords are switched off for the account.
    Off,
    /// The network of the address has failed too often; the next attempt is checked from this time on.
    Wait(Timestamp),
}

/// An attempt that is allowed to be checked.
struct Attempt {
    place: Place,
    /// Number of attempts before it that were refused without a check.
    unseen: u64,
    /// The known browser it comes from.
    browser: Option<KnownBrowser>,
}

impl App {
    /// Signs in with a password. With a second factor, [`App::enter_code`] follows.
    pub async fn sign_in(&self, email: &str, password: &str, visitor: &Visitor) -> Result<SignIn, Error> {
        let email = text::email("email", email).unwrap_or_default();
        let known = match visitor.devices.is_empty() {
            true => None,
            false => {
                let now = self.clock.now();
                let user = self.person(&email, visitor).await?;
                self.known_browser(user.as_ref(), visitor, now).await?
            }
        };
        let entered = match known {
            Some(browser) => {
                let place = self.node.hashing.known(&email);
                Ok(Attempt { place: self.placed(place, visitor).await?, unseen: 0, browser: Some(browser) })
            }
            None => self.enter_as_stranger(&email, visitor).await?,
        };
        let Attempt { place, unseen, browser } = match entered {
            Ok(entered) => entered,
            Err(held) => {
                self.audit_held_up(&held, visitor, None).await?;
                return Ok(SignIn::Wait(held.until));
            }
        };
        let is_stranger = browser.is_none();
        let user = self.person(&email, visitor).await?;
        let hash = user.as_ref().and_then(|user| user.password_hash.clone());
        let right = self.verify_password(place, password, hash.as_deref()).await?;
        let user = match user {
            Some(user) if right => user,
            user => {
                let why = match (&user, hash) {
                    (None, _) => "unknown_account",
                    (Some(_), None) => "no_password",
                    (Some(_), Some(_)) => "password",
                };
                if is_stranger {
                    self.node.throttle.fail(visitor.address(), &email, self.clock.now());
                    self.store_failure(&Subject::of_sign_in(visitor.address(), &email)).await?;
                }
                if let (Some(browser), Some(user)) = (browser, &user) {
                    self.count_wrong_password(browser, user, visitor).await?;
                }
                self.audit_refused_sign_in(user.as_ref(), why, unseen + 1, visitor, None).await?;
                return Ok(SignIn::Wrong);
            }
        };
        if is_stranger {
            self.node.throttle.succeeded(visitor.address(), &email);
        }
        // Only whoever has the password learns that it is of no use.
        let accepts = async |tx: &mut Tx| Ok(accepts_password(tx, &user.id).await?);
        if !self.look_up_visitor(visitor, accepts).await? {
            self.audit_refused_sign_in(Some(&user), "passwords_off", unseen + 1, visitor, None).await?;
            return Ok(SignIn::Off);
        }
        let begun = self
            .node
            .transact(async |tx, now| {
                // Read again under the lock, because the account may have been deleted or its password changed since
                // then.
                match tx.user(&user.id).await? {
                    Some(again) if again.password_hash == hash && accepts_password(tx, &again.id).await? => {
                        let id = SessionId::generate(self.random.as_ref());
                        let mut act = self.act(tx, now, author_in(&id, &again, visitor));
                        let begun = self.begin_or_ask(&mut act, id, &again, visitor).await?;
                        if is_stranger {
                            self.forgive_stored(act.tx, &Subject::of_account(&email)).await?;
                        }
                        if matches!(begun, SignIn::Done(_)) {
                            self.tell_of_sign_in(&mut act, &again, visitor, is_stranger).await?;
                        }
                        Ok(Some(begun))
                    }
                    _ => Ok(None),
                }
            })
            .await?;
        Ok(begun.unwrap_or(SignIn::Wrong))
    }

    /// Admits a sign-in from an unknown browser. Failures of its network can refuse it, and failures at its account
    /// delay it.
    async fn enter_as_stranger(
        &self,
        email: &str,
        visitor: &Visitor,
    ) -> Result<Result<Attempt, Held>, Error> {
        // Counted by what was typed, so that a missing account is treated like an existing one.
        let admitted = self.node.throttle.enter(visitor.address(), email, self.clock.now());
        let unseen = match admitted {
            Ok(Admitted { unseen, .. }) => unseen,
            Err(held) => return Ok(Err(held)),
        };
        let subjects = Subject::of_sign_in(visitor.address(), email);
        let look = async |tx: &mut Tx| self.stored_failures(tx, &subjects).await;
        let stored = self.look_up_visitor(visitor, look).await?;
        let wait = match self.node.throttle.learn((visitor.address(), email), &stored, self.clock.now()) {
            Ok(wait) => wait,
            Err(held) => return Ok(Err(held)),
        };
        if !wait.is_zero() {
            let at_account = |network: &str| self.node.throttle.failures_at(email, network, self.clock.now());
            let displaced = self.node.throttle.waits.enter(visitor.address(), email, &at_account);
            let displaced = self.placed(displaced.ok_or_else(busy), visitor).await?;
            let lost = tokio::select! {
                () = self.pause(wait) => false,
                _ = displaced => true,
            };
            if lost {
                return Err(self.placed::<()>(Err(busy()), visitor).await.err().unwrap_or_else(busy));
            }
        }
        // This try itself is counted already, and is no failure yet.
        let own = wide_network(visitor.address()).to_string();
        let failures_of = |network: &str| {
            let failures = self.node.throttle.failures_of(network, self.clock.now());
            failures.saturating_sub(u64::from(network == own))
        };
        let place = self.node.hashing.stranger(visitor.address(), &failures_of);
        Ok(Ok(Attempt { place: self.placed(place, visitor).await?, unseen, browser: None }))
    }

    /// Returns the place for a sign-in. If there is none, records that in the trail.
    async fn placed<T>(&self, place: Result<T, Error>, visitor: &Visitor) -> Result<T, Error> {
        if place.is_err() {
            self.audit_refused_sign_in(None, "busy", 1, visitor, None).await?;
        }
        place
    }

    /// Waits for a duration of real time or, in a simulation, of simulated time.
    async fn pause(&self, span: Duration) {
        if !self.clock.is_manual() {
            return tokio::time::sleep(span).await;
        }
        let until = self.clock.now().after(span);
        while self.clock.now() < until {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Returns the person with this email address.
    async fn person(&self, email: &str, visitor: &Visitor) -> Result<Option<User>, Error> {
        let look = async |tx: &mut Tx| Ok(tx.user_by_email(email).await?);
        let user = self.look_up_visitor(visitor, look).await?;
        Ok(user.filter(|user| user.kind == UserKind::Person))
    }

    /// Records a failed sign-in, or a failed confirmation of the session `via`. The typed text is not recorded unless
    /// it is an account's email address, because people mistakenly type passwords there.
    pub(crate) async fn audit_refused_sign_in(
        &self,
        user: Option<&User>,
        reason: &str,
        count: u64,
        visitor: &Visitor,
        via: Option<Via>,
    ) -> Result<(), Error> {
        let id = user.and_then(|user| user.email.clone()).unwrap_or_default();
        let name = user.map_or_else(|| "somebody unknown".to_owned(), |user| user.name.clone());
        let target = user.map(|user| user.id.to_string());
        self.audit_refused_arrival((Actor::Unknown { id, name }, target), (reason, count), visitor, via).await
    }

    /// Records a failed sign-in by an actor about a target.
    pub(crate) async fn audit_refused_arrival(
        &self,
        (actor, target): (Actor, Option<String>),
        (reason, count): (&str, u64),
        visitor: &Visitor,
        via: Option<Via>,
    ) -> Result<(), Error> {
        let Some(count) = self.node.throttle.tell(count, self.clock.now()) else { return Ok(()) };
        let about = About { target, ..About::default() };
        let event = Event::SessionRefused { reason: reason.to_owned(), count };
        let _turn = self.node.background_turn().await;
        let author = Author { via, ..Author::from(actor).at(&visitor.origin) };
        self.change_as(author, async |act| act.audit_refused(&event, about).await).await
    }

    /// Records once that a source is throttled. The number of its further attempts is recorded with the next event.
    pub(crate) async fn audit_held_up(
        &self,
        held: &Held,
        visitor: &Visitor,
        via: Option<Via>,
    ) -> Result<(), Error> {
        match held.is_first {
            true => self.audit_refused_sign_in(None, "throttled", 1, visitor, via).await,
            false => Ok(()),
        }
    }
}
