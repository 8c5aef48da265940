//! Signing in with an e-mail address and a password.

use crate::{act::About, app::App, error::Error, sessions::Visitor, throttle::Held};
use crossfade_core::{
    Timestamp, UserId,
    api::UserKind,
    audit::{Actor, Event},
    secret::SecretValue,
    text,
};
use crossfade_store::{NewAuditEvent, User};

/// A sign-in that has just begun.
pub struct NewSession {
    /// What its cookie holds.
    pub value: SecretValue,
    /// Whose it is.
    pub user: UserId,
}

/// How signing in was answered.
pub enum SignIn {
    /// It was the right password of an account.
    Done(NewSession),
    /// It was not; whether there is such an account is nobody's business.
    Wrong,
    /// Too many were wrong; the next may be tried at this time.
    Wait(Timestamp),
}

impl App {
    /// Signs in.
    pub async fn sign_in(&self, email: &str, password: &str, visitor: &Visitor) -> Result<SignIn, Error> {
        let email = text::email("email", email).unwrap_or_default();
        let now = self.clock.now();
        // Counted by what was typed, so that an account that is not there is held up like one that is.
        let admitted = match self.throttle.enter(visitor.address(), &email, now) {
            Ok(admitted) => admitted,
            Err(held) => {
                self.audit_held_up(&held, visitor).await?;
                return Ok(SignIn::Wait(held.until));
            }
        };
        let user = self.db.read::<_, Error>(async |tx| Ok(tx.user_by_email(&email).await?)).await?;
        let user = user.filter(|user| user.kind == UserKind::Person);
        let hash = user.as_ref().and_then(|user| user.password_hash.clone());
        let right = self.verify_password(password, hash.as_deref()).await?;
        let user = match user {
            Some(user) if right => user,
            user => {
                let why = match (&user, hash) {
                    (None, _) => "unknown_account",
                    (Some(_), None) => "no_password",
                    (Some(_), Some(_)) => "password",
                };
                self.audit_refused_sign_in(user.as_ref(), why, admitted.unseen + 1, visitor).await?;
                return Ok(SignIn::Wrong);
            }
        };
        self.throttle.succeeded(visitor.address(), &email);
        let begun = self
            .transact(async |tx, now| {
                // Read again under the lock: an account may be gone, or have another password, by now.
                match tx.user(&user.id).await? {
                    Some(again) if again.password_hash == hash => {
                        let value = self.begin_session(tx, &again, visitor, now).await?;
                        Ok(Some(NewSession { value, user: again.id }))
                    }
                    _ => Ok(None),
                }
            })
            .await?;
        Ok(begun.map_or(SignIn::Wrong, SignIn::Done))
    }

    /// A failed sign-in stands in the trail. What was typed does not, where it is no account's e-mail address:
    /// people type passwords there.
    pub(crate) async fn audit_refused_sign_in(
        &self,
        user: Option<&User>,
        reason: &str,
        count: u64,
        visitor: &Visitor,
    ) -> Result<(), Error> {
        let Some(count) = self.throttle.tell(count, self.clock.now()) else { return Ok(()) };
        let id = user.and_then(|user| user.email.clone()).unwrap_or_default();
        let name = user.map_or_else(|| "somebody unknown".to_owned(), |user| user.name.clone());
        let about = About { target: user.map(|user| user.id.to_string()), ..About::default() };
        let event = Event::SessionRefused { reason: reason.to_owned(), count };
        let _turn = self.background_turn().await;
        self.transact(async |tx, now| {
            let written = about.event(now, Actor::Unknown { id, name }, &event).from(&visitor.origin);
            Ok(tx.append_audit(&NewAuditEvent { done: false, ..written }).await?)
        })
        .await
    }

    /// That somebody is held up stands in the trail once; how often they tried meanwhile, with what follows.
    pub(crate) async fn audit_held_up(&self, held: &Held, visitor: &Visitor) -> Result<(), Error> {
        match held.is_first {
            true => self.audit_refused_sign_in(None, "throttled", 1, visitor).await,
            false => Ok(()),
        }
    }
}
