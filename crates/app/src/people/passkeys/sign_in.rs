//! Signing in with a passkey alone. It is both factors: the device has the key, and has checked who the person is.

use super::{
    answers::{PasskeyAnswer, PasskeyRequest, can_use_passkey, not_offered},
    ceremony::{Assertion, Names},
    state::{AskedFor, Purpose},
};
use crate::{
    app::App,
    error::Error,
    node::throttle::{Held, Subject},
    people::{
        devices::KnownBrowser,
        factors::Checked,
        sessions::{Begun, Visitor, author_in},
        sign_in::NewSession,
    },
};
use crossfade_core::{SessionId, Timestamp, account::UserKind};
use crossfade_store::{FactorRow, Tx, User};

/// What failures with passkeys count for in the place of an account: nothing is typed, so nobody can be delayed.
const NO_ACCOUNT: &str = "a passkey";

/// Outcome of a sign-in with a passkey.
pub enum PasskeySignIn {
    /// A session has begun.
    Done(NewSession),
    /// The answer was not accepted.
    Wrong,
    /// The passkey is right, and its account cannot use a password.
    Off,
    /// The passkey is right, and was not used with the password that the account has now.
    NeedsPassword,
    /// The network of the address has failed too often; the next attempt is checked from this time on.
    Wait(Timestamp),
}

/// How an attempt is counted.
enum Counted {
    /// From a known browser, for that.
    Known(KnownBrowser),
    /// From a stranger, for the network. Attempts before it were refused without a check.
    Stranger { unseen: u64 },
}

impl App {
    /// Asks for a passkey, whoever it is.
    pub fn begin_passkey_sign_in(&self) -> Result<PasskeyRequest, Error> {
        let ceremonies = self.passkeys.as_ref().ok_or_else(not_offered)?;
        self.request(ceremonies.begin_asking(&[])?, Purpose::SignIn, self.clock.now())
    }

    /// Signs in with a passkey.
    pub async fn sign_in_with_passkey(
        &self,
        answer: PasskeyAnswer<'_>,
        visitor: &Visitor,
    ) -> Result<PasskeySignIn, Error> {
        self.passkeys.as_ref().ok_or_else(not_offered)?;
        // A restored copy may have a passkey that was removed since then, and it signs in alone.
        self.node.unless_quarantined()?;
        let now = self.clock.now();
        let asked = self.passkey_states.open(Purpose::SignIn, answer.state, now);
        let assertion = Assertion::parse(answer.credential);
        let found = match &assertion {
            Some(assertion) => self.holder(&assertion.passkey_id(), visitor).await?,
            None => None,
        };
        let user = found.as_ref().map(|(_, user)| user);
        let counted = match self.known_browser(user, visitor, now).await? {
            Some(browser) => Counted::Known(browser),
            None => match self.count_stranger(visitor).await? {
                Ok(unseen) => Counted::Stranger { unseen },
                Err(held) => {
                    self.audit_held_up(&held, visitor, None).await?;
                    return Ok(PasskeySignIn::Wait(held.until));
                }
            },
        };
        // Before a transaction that changes something begins, so that no stranger takes the turn of a change.
        let right = match (&asked, &assertion, &found) {
            (Some(asked), Some(assertion), Some((row, user))) if self.is_signed(row, asked, assertion)? => {
                Some((asked, assertion, row, user))
            }
            _ => None,
        };
        let Some((asked, assertion, row, user)) = right else {
            self.count_wrong(counted, user, visitor).await?;
            return Ok(PasskeySignIn::Wrong);
        };
        let is_stranger = matches!(counted, Counted::Stranger { .. });
        let begun = self
            .node
            .transact(async |tx, now| {
                let Some(user) = tx.user(&user.id).await? else { return Ok(PasskeySignIn::Wrong) };
                let id = SessionId::generate(self.random.as_ref());
                let mut act = self.act(tx, now, author_in(&id, &user, visitor));
                let signed = (asked, assertion, Names::Itself);
                if self.accept(&mut act, &user, signed, visitor).await? != Checked::Right {
                    return Ok(PasskeySignIn::Wrong);
                }
                if !can_use_passkey(act.tx, &user).await? {
                    return Ok(PasskeySignIn::Off);
                }
                // Whoever was in the account before its password was replaced can have added it.
                if !act.tx.is_passkey_alone(&assertion.passkey_id()).await? {
                    return Ok(PasskeySignIn::NeedsPassword);
                }
                let new = self
                    .begin_session(&mut act, id, &user, (visitor, Begun::Passkey(row.id.clone())))
                    .await?;
                self.tell_of_sign_in(&mut act, &user, visitor, is_stranger).await?;
                Ok::<_, Error>(PasskeySignIn::Done(new))
            })
            .await?;
        match &begun {
            PasskeySignIn::Done(_) => {
                if is_stranger {
                    self.node.throttle.succeeded(visitor.address(), NO_ACCOUNT);
                }
            }
            PasskeySignIn::Off => {
                self.audit_refused_sign_in(Some(user), "passwords_off", 1, visitor, None).await?;
            }
            PasskeySignIn::NeedsPassword => {
                self.audit_refused_sign_in(Some(user), "passkey", 1, visitor, None).await?;
            }
            PasskeySignIn::Wrong | PasskeySignIn::Wait(_) => {
                self.count_wrong(counted, Some(user), visitor).await?;
            }
        }
        Ok(begun)
    }

    /// Returns the passkey with this ID and its person.
    async fn holder(&self, id: &str, visitor: &Visitor) -> Result<Option<(FactorRow, User)>, Error> {
        let look = async |tx: &mut Tx| {
            let Some(row) = tx.passkey(id).await? else { return Ok(None) };
            let user = tx.user(&row.user_id).await?;
            Ok(user.filter(|user| user.kind == UserKind::Person).map(|user| (row, user)))
        };
        self.look_up_visitor(visitor, look).await
    }

    /// Whether an answer is signed by this passkey; also if its counter went back, which is recorded with the change.
    fn is_signed(&self, row: &FactorRow, asked: &AskedFor, assertion: &Assertion) -> Result<bool, Error> {
        use super::ceremony::AnswerFault::Copied;
        let Some(ceremonies) = &self.passkeys else { return Ok(false) };
        let mut passkey = self.open_passkey(row)?;
        let checked = ceremonies.check(assertion, &asked.state, &mut passkey, Names::Itself);
        Ok(matches!(checked, Ok(()) | Err(Copied)))
    }

    /// Counts an attempt as a failure of its networks until it has succeeded. Returns how many before it were refused without a
    /// check, or refuses it.
    async fn count_stranger(&self, visitor: &Visitor) -> Result<Result<u64, Held>, Error> {
        let address = visitor.address();
        let admitted = match self.node.throttle.enter(address, NO_ACCOUNT, self.clock.now()) {
            Ok(admitted) => admitted,
            Err(held) => return Ok(Err(held)),
        };
        let subjects = networks(visitor);
        let look = async |tx: &mut Tx| self.stored_failures(tx, &subjects).await;
        let stored = self.look_up_visitor(visitor, look).await?;
        let learned = self.node.throttle.learn((address, NO_ACCOUNT), &stored, self.clock.now());
        Ok(learned.map(|_| admitted.unseen))
    }

    /// Counts and records a sign-in that was refused.
    async fn count_wrong(
        &self,
        counted: Counted,
        user: Option<&User>,
        visitor: &Visitor,
    ) -> Result<(), Error> {
        let unseen = match counted {
            Counted::Known(browser) => {
                if let Some(user) = user {
                    self.count_wrong_password(browser, user, visitor).await?;
                }
                0
            }
            Counted::Stranger { unseen } => {
                self.store_failure(&networks(visitor)).await?;
                unseen
            }
        };
        self.audit_refused_sign_in(user, "passkey", unseen + 1, visitor, None).await
    }
}

/// Returns what a failure counts for: the networks of the address, and no account.
fn networks(visitor: &Visitor) -> Vec<Subject> {
    let mut subjects = Subject::of_sign_in(visitor.address(), NO_ACCOUNT);
    subjects.pop();
    subjects
}
