//! Asking for the signature of a passkey, and checking it, for an account that is known.

use super::{
    ceremony::{AnswerFault, Assertion, BegunCeremony, Names, StoredPasskey},
    state::{AskedFor, Purpose},
};
use crate::{
    app::App,
    error::Error,
    frame::{
        act::Act,
        entry::{About, Author},
        principal::{by_session_digest, signed_out},
    },
    keys::place::SealPlace,
    node::throttle::Subject,
    people::{
        factors::{Checked, own_user},
        sessions::{Confirmed, Session, Visitor},
        sign_in_policy::accepts_password,
    },
};
use crossfade_core::{
    Code, Problem, Timestamp,
    audit::{Actor, Event},
    second_factor::FactorKind,
    secret::{SecretKind, SecretValue},
};
use crossfade_store::{FactorRow, Tx, User};
use serde_json::Value;

/// What a browser is asked for.
pub struct PasskeyRequest {
    /// Options of the request, as a browser reads them.
    pub options: Value,
    /// What the browser brings back with the answer.
    pub state: String,
}

/// What a browser brings back.
#[derive(Clone, Copy)]
pub struct PasskeyAnswer<'a> {
    /// The answer of the passkey as JSON.
    pub credential: &'a str,
    /// The state of the request.
    pub state: &'a str,
}

/// What shows that a person has a second factor.
#[derive(Clone, Copy)]
pub enum Proof<'a> {
    /// A code of a code generator, or a recovery code.
    Code(&'a str),
    /// An answer of a passkey.
    Passkey(PasskeyAnswer<'a>),
}

impl Proof<'_> {
    /// Returns the reason that the trail has for a wrong one.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Code(_) => "code",
            Self::Passkey(_) => "passkey",
        }
    }
}

/// Returns the refusal where no browser offers passkeys.
pub(super) fn not_offered() -> Problem {
    let text = "Passkeys need a Console with a host name and https. Nothing was changed. Use a code of an app, or ask the \
        people who run Crossfade to set such an address.";
    Problem::new(Code::Forbidden, text)
}

impl StoredPasskey {
    /// Returns the text that is sealed.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        serde_json::to_vec(self).map_err(Error::internal)
    }
}

impl App {
    /// Whether the Console is at an address at which browsers offer passkeys.
    pub fn offers_passkeys(&self) -> bool {
        self.passkeys.is_some()
    }

    pub(super) fn open_passkey(&self, row: &FactorRow) -> Result<StoredPasskey, Error> {
        let place = SealPlace::Factor { user: &row.user_id, factor: &row.id };
        let opened = self.vault.open(&place, &row.sealed)?;
        serde_json::from_slice(&opened)
            .map_err(|error| Error::internal(format!("{place} cannot be read: {error}")))
    }

    /// Opens the passkeys among the factors of an account.
    pub(super) fn open_passkeys(&self, factors: &[FactorRow]) -> Result<Vec<StoredPasskey>, Error> {
        factors.iter().filter(|it| it.kind == FactorKind::Passkey).map(|it| self.open_passkey(it)).collect()
    }

    /// Seals what is brought back.
    pub(super) fn request(
        &self,
        begun: BegunCeremony,
        purpose: Purpose<'_>,
        now: Timestamp,
    ) -> Result<PasskeyRequest, Error> {
        let asked = AskedFor { state: begun.state, handle: String::new(), at: now };
        Ok(PasskeyRequest { options: begun.options, state: self.passkey_states.seal(purpose, &asked)? })
    }

    /// Asks for a passkey that finishes a sign-in after the password; `None` if no sign-in waits for that.
    pub async fn begin_passkey_code(
        &self,
        value: &str,
        visitor: &Visitor,
    ) -> Result<Option<PasskeyRequest>, Error> {
        let ceremonies = self.passkeys.as_ref().ok_or_else(not_offered)?;
        if self.waits_for(value, visitor).await?.is_none() {
            return Ok(None);
        }
        let (digest, now) = (self.digests.sign_in(value), self.clock.now());
        let factors = self
            .read(async |tx| match tx.pending_sign_in(&digest, now).await? {
                Some(pending) => Ok(Some(tx.factors(&pending.user_id).await?)),
                None => Ok(None),
            })
            .await?;
        let Some(factors) = factors else { return Ok(None) };
        let begun = ceremonies.begin_asking(&self.open_passkeys(&factors)?)?;
        self.request(begun, Purpose::Finish(&digest), now).map(Some)
    }

    /// Asks for a passkey that confirms a session.
    pub async fn begin_passkey_confirmation(&self, session: &Session) -> Result<PasskeyRequest, Error> {
        let ceremonies = self.passkeys.as_ref().ok_or_else(not_offered)?;
        let now = self.clock.now();
        let factors = self
            .read(async |tx| {
                let principal = session.principal.refreshed(tx, now).await?;
                Ok(tx.factors(&principal.user).await?)
            })
            .await?;
        let begun = ceremonies.begin_asking(&self.open_passkeys(&factors)?)?;
        self.request(begun, Purpose::Confirm(&session.id), now)
    }

    /// Confirms a session with a passkey alone: it has checked who the person is. The cookie gets a new value, as with a
    /// password.
    pub async fn confirm_with_passkey(
        &self,
        session: &Session,
        answer: PasskeyAnswer<'_>,
        visitor: &Visitor,
    ) -> Result<Confirmed, Error> {
        let (via, now) = (Some(session.principal.via()), self.clock.now());
        let subjects = [Subject::of_session(&session.id)];
        // Counted as wrong until it was right, together with wrong passwords.
        let held = match self.node.throttle.enter_session(&session.id, now) {
            Ok(_) => {
                let stored = self.read(async |tx| self.stored_failures(tx, &subjects).await).await?;
                let stored = stored.into_iter().flatten().next();
                self.node.throttle.learn_session(&session.id, stored, now).err()
            }
            Err(held) => Some(held),
        };
        if let Some(held) = held {
            self.audit_held_up(&held, visitor, via).await?;
            return Ok(Confirmed::Wait(held.until));
        }
        let value = SecretValue::generate(SecretKind::Session, self.random.as_ref());
        let digest = self.digests.session(value.reveal());
        let confirmed = self
            .change_own(&session.principal, async |act, principal| {
                let user = own_user(act.tx, principal).await?;
                let row = act.tx.session(&session.id).await?.ok_or_else(signed_out)?;
                if row.provider_id.is_some() || !can_use_passkey(act.tx, &user).await? {
                    let text = "A passkey does not confirm this session. Nothing was changed. Sign in with your provider again.";
                    return Err(Problem::new(Code::Forbidden, text).into());
                }
                let purpose = Purpose::Confirm(&session.id);
                if self.check_passkey(act, &user, (purpose, answer), visitor).await? != Checked::Right {
                    return Ok(None);
                }
                let [subject] = &subjects;
                self.forgive_stored(act.tx, subject).await?;
                act.tx.confirm_session(&session.id, &digest, act.now).await?;
                self.node.strangers.know(&digest);
                let (principal, row, user) =
                    by_session_digest(act.tx, &digest, &visitor.origin, act.now).await?;
                Ok(Some(self.seen_as(principal, &row, user, act.now)))
            })
            .await?;
        match confirmed {
            Some(session) => {
                self.node.throttle.session_succeeded(&session.id);
                Ok(Confirmed::Yes { value, session: Box::new(session) })
            }
            None => {
                self.store_failure(&subjects).await?;
                let user = session.principal.user().clone();
                let user = self.db.read::<_, Error>(async |tx| Ok(tx.user(&user).await?)).await?;
                self.audit_refused_sign_in(user.as_ref(), "passkey", 1, visitor, via).await?;
                Ok(Confirmed::WrongPasskey)
            }
        }
    }

    /// Checks the answer of a passkey of an account that is known, and uses the challenge up.
    pub(crate) async fn check_passkey(
        &self,
        act: &mut Act<'_>,
        user: &User,
        (purpose, answer): (Purpose<'_>, PasskeyAnswer<'_>),
        visitor: &Visitor,
    ) -> Result<Checked, Error> {
        let asked = self.passkey_states.open(purpose, answer.state, act.now);
        let (Some(asked), Some(assertion)) = (asked, Assertion::parse(answer.credential)) else {
            return Ok(Checked::Wrong);
        };
        let checked = self.accept(act, user, (&asked, &assertion, Names::Nobody), visitor).await?;
        if checked == Checked::Right
            && matches!(purpose, Purpose::Finish(..))
            && let Some(row) = act.tx.passkey(&assertion.passkey_id()).await?
        {
            act.tx.let_passkey_alone(&row.id).await?;
        }
        Ok(checked)
    }

    /// Checks a signed answer against the passkey as it is stored now, and uses the challenge up. Nothing is written for a wrong
    /// one.
    pub(super) async fn accept(
        &self,
        act: &mut Act<'_>,
        user: &User,
        (asked, assertion, names): (&AskedFor, &Assertion, Names),
        visitor: &Visitor,
    ) -> Result<Checked, Error> {
        let Some(ceremonies) = &self.passkeys else { return Ok(Checked::Wrong) };
        let row = act.tx.passkey(&assertion.passkey_id()).await?.filter(|row| row.user_id == user.id);
        let Some(row) = row else { return Ok(Checked::Wrong) };
        let mut passkey = self.open_passkey(&row)?;
        let checked = ceremonies.check(assertion, &asked.state, &mut passkey, names);
        // It can have expired while the change waited for its turn, and then it is noted as used no more.
        if act.now >= asked.until()
            || matches!(checked, Err(AnswerFault::Wrong | AnswerFault::NotVerified))
            || !act.tx.take_passkey_challenge(&asked.digest(), asked.until(), act.now).await?
        {
            return Ok(Checked::Wrong);
        }
        if checked.is_err() {
            let actor =
                Actor::Unknown { id: user.email.clone().unwrap_or_default(), name: user.name.clone() };
            let mut act = act.on_behalf_of(Author::from(actor).at(&visitor.origin));
            let event = Event::FactorSuspected { factor_id: row.id, name: row.name };
            act.audit(&event, About::target(&user.id)).await?;
            self.tell_of_factor(&mut act, &event, user).await?;
            return Ok(Checked::Wrong);
        }
        let place = SealPlace::Factor { user: &row.user_id, factor: &row.id };
        let sealed = self.vault.seal(&place, &passkey.to_bytes()?)?;
        act.tx.use_passkey(&row.id, &sealed, act.now).await?;
        Ok(Checked::Right)
    }
}

/// Whether an account can do with a passkey alone what it could with its password. A passkey is no way in of its own: what ends the
/// password, or switches passwords off, ends that, too.
pub(super) async fn can_use_passkey(tx: &mut Tx, user: &User) -> Result<bool, Error> {
    Ok(user.password_hash.is_some() && accepts_password(tx, &user.id).await?)
}
