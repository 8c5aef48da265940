//! Second factors of a person: adding and removing them, recovery codes, and the check of a code. What is decided about a
//! code is decided in the transaction that uses it up, so that no code is used twice, whatever runs at the same time.

use crate::{
    app::App,
    error::Error,
    frame::{
        act::Act,
        entry::{About, Author},
        principal::{Intent, Principal, signed_out},
    },
    keys::place::SealPlace,
    node::throttle::Subject,
    people::{
        devices::Knows,
        passkeys::{Proof, Purpose, unless_full},
        sessions::{Begun, Session, Visitor, author_in},
        sign_in::{NewSession, SignIn},
    },
};
use crossfade_core::{
    Code, FactorId, Problem, SessionId, Timestamp, UserId,
    audit::{Actor, Event},
    second_factor::{CONFIRMED_WITHIN, EnteredCode, FactorKind, RECOVERY_CODES, RecoveryCode, SharedSecret},
    secret::{SecretKind, SecretValue},
    text::Name,
};
use crossfade_store::{FactorRow, Tx, User};
use serde_json::json;
use std::time::Duration;

/// How long a sign-in waits for a code.
pub const CODE_WITHIN: Duration = Duration::from_secs(5 * 60);
/// Number of wrong codes that end a sign-in that waits for one.
const MAX_WRONG_CODES: i64 = 5;
/// Name of the service in a code generator.
const ISSUER: &str = "Crossfade";

/// A confirmed factor of the signed-in person.
#[derive(Clone, Debug)]
pub struct FactorSummary {
    /// ID.
    pub id: FactorId,
    /// Kind.
    pub kind: FactorKind,
    /// Name.
    pub name: String,
    /// When it was added.
    pub created_at: Timestamp,
    /// When a code of it was last accepted.
    pub last_used_at: Option<Timestamp>,
}

/// The second factors of the signed-in person.
#[derive(Clone, Debug, Default)]
pub struct OwnFactors {
    /// Confirmed factors, oldest first.
    pub factors: Vec<FactorSummary>,
    /// Number of unused recovery codes.
    pub recovery_codes: u64,
    /// Whether the policy asks the person for a factor, so that the last one cannot be removed.
    pub is_asked: bool,
}

/// What a sign-in after the password waits for, besides a recovery code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitsFor {
    /// The code of an authenticator app.
    pub app: bool,
    /// A passkey.
    pub passkey: bool,
}

/// A factor that is being added. Its shared secret is shown until it is confirmed.
pub struct Enrolment {
    /// ID.
    pub id: FactorId,
    /// Name.
    pub name: String,
    secret: SharedSecret,
    account: String,
    issuer: String,
}

impl Enrolment {
    /// Returns the shared secret as text to type. The caller is responsible for where it goes.
    pub fn reveal_text(&self) -> String {
        self.secret.reveal_text()
    }

    /// Returns the address that a code generator reads from a QR code.
    pub fn reveal_address(&self) -> String {
        let encoded = |text: &str| text.bytes().map(encoded_byte).collect::<String>();
        let (issuer, account) = (encoded(&self.issuer), encoded(&self.account));
        let secret = self.secret.reveal_text();
        format!("otpauth://totp/{issuer}:{account}?secret={secret}&issuer={issuer}")
    }
}

/// Returns a byte as it is written in an address (RFC 3986 §2.3).
fn encoded_byte(byte: u8) -> String {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    }
}

/// Outcome of the first code of a factor.
pub enum Added {
    /// The first factor counts from now on.
    First {
        /// Recovery codes, which are shown only this once.
        codes: Vec<RecoveryCode>,
        /// Values in the cookie of the known browser, which the other browsers have lost.
        devices: Vec<SecretValue>,
    },
    /// A further factor counts from now on.
    Further,
    /// The code was wrong. The factor can still be confirmed.
    Wrong,
}

/// Outcome of the code of a sign-in.
pub enum CodeEntered {
    /// The code was right.
    Done(NewSession),
    /// The code was wrong, and this many more can be entered. With none, the sign-in is over.
    Wrong(u64),
    /// Too many codes of the account were wrong; the next one is checked from this time on. A recovery code is checked now.
    Wait(Timestamp),
    /// No sign-in waits for a code in this browser: it took too long, or its password was replaced.
    Over,
}

/// Result of checking a code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Checked {
    /// The account has no factor, or the code was right.
    Right,
    /// The code was wrong.
    Wrong,
    /// Too many codes were wrong; the next one is checked from this time on.
    Wait(Timestamp),
}

impl App {
    /// Returns the machine's time, which code generators show codes of.
    fn code_time(&self) -> Timestamp {
        self.clock.machine()
    }

    fn open_factor(&self, factor: &FactorRow) -> Result<SharedSecret, Error> {
        let place = SealPlace::Factor { user: &factor.user_id, factor: &factor.id };
        let opened = self.vault.open(&place, &factor.sealed)?;
        SharedSecret::from_bytes(&opened)
            .ok_or_else(|| Error::internal(format!("{place} has another length")))
    }

    /// Checks the code of an account that has a second factor, and uses it up. Wrong codes are counted for `subject`:
    /// beyond its limit no code of a generator is checked. A recovery code is always checked, because none can be
    /// guessed, so that nobody can lock a person out.
    pub(crate) async fn check_code(
        &self,
        act: &mut Act<'_>,
        user: &User,
        typed: &str,
        subject: Option<&Subject>,
    ) -> Result<Checked, Error> {
        let mut factors = act.tx.factors(&user.id).await?;
        factors.retain(|factor| factor.confirmed_at.is_some());
        if factors.is_empty() {
            return Ok(Checked::Right);
        }
        let code = match EnteredCode::parse(typed) {
            None => return Ok(Checked::Wrong),
            Some(EnteredCode::Recovery(code)) => {
                let is_right = self.use_recovery_code(act, user, &code).await?;
                return Ok(if is_right { Checked::Right } else { Checked::Wrong });
            }
            Some(EnteredCode::Generated(code)) => code,
        };
        let mut stored = None;
        if let Some(subject) = subject {
            stored = self
                .stored_failures(act.tx, std::slice::from_ref(subject))
                .await?
                .into_iter()
                .flatten()
                .next();
            if let Some(until) = subject.free_at(stored, act.now) {
                return Ok(Checked::Wait(until));
            }
        }
        let now = self.code_time();
        for factor in factors.iter().filter(|factor| factor.kind == FactorKind::Totp) {
            let step = self.open_factor(factor)?.step_of(&code, now, factor.last_step);
            let Some(step) = step else { continue };
            if act.tx.use_step(&factor.id, step, act.now).await? {
                if let (Some(subject), Some(_)) = (subject, stored) {
                    self.forgive_stored(act.tx, subject).await?;
                }
                return Ok(Checked::Right);
            }
        }
        if let Some(subject) = subject {
            self.count_failure(act.tx, subject, stored, act.now).await?;
        }
        Ok(Checked::Wrong)
    }

    /// Checks the proof of a second factor in a session that is asked for one.
    pub(crate) async fn check_proof_in(
        &self,
        act: &mut Act<'_>,
        user: &User,
        (session, proof): (&SessionId, Proof<'_>),
        visitor: &Visitor,
    ) -> Result<Checked, Error> {
        match proof {
            Proof::Code(code) => self.check_code(act, user, code, Some(&Subject::of_codes_in(session))).await,
            Proof::Passkey(answer) => {
                self.check_passkey(act, user, (Purpose::Confirm(session), answer), visitor).await
            }
        }
    }

    /// Uses up a recovery code, records that and tells the person. Returns whether it was one of the account.
    async fn use_recovery_code(
        &self,
        act: &mut Act<'_>,
        user: &User,
        code: &RecoveryCode,
    ) -> Result<bool, Error> {
        let digest = self.digests.recovery_code(&user.id, code);
        if !act.tx.use_recovery_code(&user.id, &digest).await? {
            return Ok(false);
        }
        let left = act.tx.recovery_codes_left(&user.id).await?.unsigned_abs();
        let event = Event::RecoveryCodeUsed { left };
        act.audit(&event, About::target(&user.id)).await?;
        self.tell_of_factor(act, &event, user).await?;
        Ok(true)
    }

    /// Tells a person about a change of the second factors of their account.
    pub(crate) async fn tell_of_factor(
        &self,
        act: &mut Act<'_>,
        event: &Event,
        user: &User,
    ) -> Result<(), Error> {
        let facts = (json!({"account": user.email}), None);
        act.tell_person(self.random.as_ref(), event, user.email.as_deref(), facts).await.map(drop)
    }

    /// Begins a session of an account whose password was right, or a sign-in that waits for the code of its second
    /// factor.
    pub(crate) async fn begin_or_ask(
        &self,
        act: &mut Act<'_>,
        id: SessionId,
        user: &User,
        visitor: &Visitor,
    ) -> Result<SignIn, Error> {
        if !act.tx.factor_standing(&user.id).await?.has_factor {
            return Ok(SignIn::Done(self.begin_session(act, id, user, (visitor, Begun::Password)).await?));
        }
        let value = SecretValue::generate(SecretKind::SignIn, self.random.as_ref());
        let is_known = self.knows(act.tx, &user.id, visitor, act.now).await? != Knows::Nobody;
        let digest = self.digests.sign_in(value.reveal());
        let times = (act.now, act.now.after(CODE_WITHIN));
        act.tx.insert_pending_sign_in(&digest, &user.id, is_known, times).await?;
        self.node.strangers.know(&digest);
        Ok(SignIn::NeedsCode(value))
    }

    /// Returns what a sign-in with this cookie waits for; `None` if it does not wait.
    pub async fn waits_for(&self, value: &str, visitor: &Visitor) -> Result<Option<WaitsFor>, Error> {
        let Some(value) = SecretValue::parse(SecretKind::SignIn, value) else { return Ok(None) };
        let (digest, now) = (self.digests.sign_in(value.reveal()), self.clock.now());
        let look = async |tx: &mut Tx| {
            let pending = tx.pending_sign_in(&digest, now).await?.ok_or_else(signed_out)?;
            let factors = tx.factors(&pending.user_id).await?;
            let has = |kind| factors.iter().any(|it| it.kind == kind && it.confirmed_at.is_some());
            Ok(WaitsFor { app: has(FactorKind::Totp), passkey: has(FactorKind::Passkey) })
        };
        // Known since the password was right, so that no queue of strangers holds it up.
        match self.look_up(&digest, visitor.origin.ip, Intent::Change, look).await {
            Ok(waits) => Ok(Some(waits)),
            Err(error) if error.problem.code == Code::Unauthenticated => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Finishes a sign-in with the code of a second factor, a recovery code, or a passkey.
    pub async fn enter_code(
        &self,
        value: &str,
        proof: Proof<'_>,
        visitor: &Visitor,
    ) -> Result<CodeEntered, Error> {
        // Looked up before anything is written, in the queue of strangers.
        if self.waits_for(value, visitor).await?.is_none() {
            return Ok(CodeEntered::Over);
        }
        let digest = self.digests.sign_in(value);
        let (entered, user) = self
            .node
            .transact(async |tx, now| {
                let Some(pending) = tx.pending_sign_in(&digest, now).await? else {
                    return Ok((CodeEntered::Over, None));
                };
                let Some(user) = tx.user(&pending.user_id).await? else {
                    return Ok((CodeEntered::Over, None));
                };
                let knows = self.knows(tx, &user.id, visitor, now).await?;
                // From a known browser, what others fail with does not count.
                let subject = (knows == Knows::Nobody).then(|| Subject::of_codes(&user.id));
                let session = SessionId::generate(self.random.as_ref());
                let mut act = self.act(tx, now, author_in(&session, &user, visitor));
                let checked = match proof {
                    Proof::Code(code) => self.check_code(&mut act, &user, code, subject.as_ref()).await?,
                    Proof::Passkey(answer) => {
                        let answer = (Purpose::Finish(&digest), answer);
                        self.check_passkey(&mut act, &user, answer, visitor).await?
                    }
                };
                let entered = match checked {
                    Checked::Right => {
                        act.tx.end_pending_sign_in(&digest).await?;
                        let is_new_browser = knows == Knows::Nobody;
                        let new =
                            self.begin_session(&mut act, session, &user, (visitor, Begun::Password)).await?;
                        self.tell_of_sign_in(&mut act, &user, visitor, is_new_browser).await?;
                        CodeEntered::Done(new)
                    }
                    Checked::Wait(until) => CodeEntered::Wait(until),
                    Checked::Wrong => {
                        if let Knows::Browser(device) = &knows {
                            let actor = Actor::Unknown {
                                id: user.email.clone().unwrap_or_default(),
                                name: user.name.clone(),
                            };
                            let mut act = act.on_behalf_of(Author::from(actor).at(&visitor.origin));
                            self.count_wrong_attempt(&mut act, device, &user.id).await?;
                        }
                        let wrong = pending.wrong_codes + 1;
                        match wrong >= MAX_WRONG_CODES {
                            true => act.tx.end_pending_sign_in(&digest).await?,
                            false => act.tx.count_wrong_code(&digest).await?,
                        }
                        CodeEntered::Wrong(MAX_WRONG_CODES.saturating_sub(wrong).max(0).unsigned_abs())
                    }
                };
                Ok::<_, Error>((entered, Some(user)))
            })
            .await?;
        match &entered {
            CodeEntered::Wrong(_) => {
                self.audit_refused_sign_in(user.as_ref(), proof.reason(), 1, visitor, None).await?
            }
            CodeEntered::Wait(_) => {
                self.audit_refused_sign_in(user.as_ref(), "throttled", 1, visitor, None).await?;
            }
            CodeEntered::Done(_) | CodeEntered::Over => {}
        }
        Ok(entered)
    }

    /// Returns the second factors of the signed-in person.
    pub async fn own_factors(&self, session: &Session) -> Result<OwnFactors, Error> {
        let now = self.clock.now();
        self.read(async |tx| {
            let principal = session.principal.refreshed(tx, now).await?;
            let factors = tx.factors(&principal.user).await?;
            let summary = |factor: FactorRow| FactorSummary {
                id: factor.id,
                kind: factor.kind,
                name: factor.name,
                created_at: factor.created_at,
                last_used_at: factor.last_used_at,
            };
            let confirmed = factors.into_iter().filter(|factor| factor.confirmed_at.is_some());
            Ok(OwnFactors {
                factors: confirmed.map(summary).collect(),
                recovery_codes: tx.recovery_codes_left(&principal.user).await?.unsigned_abs(),
                is_asked: principal.is_asked_for_factor(),
            })
        })
        .await
    }

    /// Begins to add a factor. It counts for nothing until its first code is entered, and is forgotten after 15 minutes.
    pub async fn begin_factor(&self, session: &Session, name: &str) -> Result<Enrolment, Error> {
        self.node.unless_quarantined()?;
        let name = Name::parse("name", name)?;
        let secret = SharedSecret::generate(self.random.as_ref());
        let id = FactorId::generate(self.random.as_ref());
        self.change_own(&session.principal, async |act, principal| {
            let user = own_user(act.tx, principal).await?;
            unless_full(&act.tx.factors(&user.id).await?, name.as_str())?;
            let place = SealPlace::Factor { user: &user.id, factor: &id };
            let row = FactorRow {
                id: id.clone(),
                user_id: user.id.clone(),
                kind: FactorKind::Totp,
                name: name.to_string(),
                sealed: self.vault.seal(&place, secret.reveal())?,
                created_at: act.now,
                confirmed_at: None,
                last_used_at: None,
                last_step: 0,
            };
            act.tx.insert_factor(&row, act.now.before(CONFIRMED_WITHIN)).await?;
            Ok(())
        })
        .await?;
        Ok(self.enrolment(id, name.to_string(), secret, session))
    }

    fn enrolment(&self, id: FactorId, name: String, secret: SharedSecret, session: &Session) -> Enrolment {
        let host = self.admin_url.split("//").last().unwrap_or_default();
        let issuer = format!("{ISSUER} {}", host.split(':').next().unwrap_or_default());
        Enrolment { id, name, secret, account: session.email.clone(), issuer }
    }

    /// Returns a factor that can still be confirmed.
    async fn unconfirmed(
        &self,
        tx: &mut Tx,
        principal: &Principal,
        id: &FactorId,
        now: Timestamp,
    ) -> Result<FactorRow, Error> {
        let factors = tx.factors(&principal.user).await?;
        let is_open = |factor: &FactorRow| {
            factor.id == *id
                && factor.confirmed_at.is_none()
                && now < factor.created_at.after(CONFIRMED_WITHIN)
        };
        factors.into_iter().find(is_open).ok_or_else(|| {
            let text = "This second factor can no longer be confirmed. Nothing was changed. Add it again.";
            Problem::new(Code::NotFound, text).into()
        })
    }

    /// Returns a factor that is being added, to show its shared secret again.
    pub async fn read_enrolment(&self, session: &Session, id: &str) -> Result<Enrolment, Error> {
        let (id, now) = (FactorId::parse(id).map_err(|_| Problem::not_found())?, self.clock.now());
        let row = self
            .db
            .read::<_, Error>(async |tx| {
                let principal = session.principal.refreshed(tx, now).await?;
                self.unconfirmed(tx, &principal, &id, now).await
            })
            .await?;
        let secret = self.open_factor(&row)?;
        Ok(self.enrolment(id, row.name, secret, session))
    }

    /// Adds a factor with its first code. With the first one, every other session of the account ends, because it began
    /// with the password alone, and every browser but this one is no longer known. Recovery codes are created.
    pub async fn add_factor(
        &self,
        session: &Session,
        id: &str,
        code: &str,
        visitor: &Visitor,
    ) -> Result<Added, Error> {
        self.node.unless_quarantined()?;
        let id = FactorId::parse(id).map_err(|_| Problem::not_found())?;
        self.change_own(&session.principal, async |act, principal| {
            let user = own_user(act.tx, principal).await?;
            let factor = self.unconfirmed(act.tx, principal, &id, act.now).await?;
            // Others may have been added since this one was begun.
            unless_full(&act.tx.factors(&user.id).await?, &factor.name)?;
            let step = match EnteredCode::parse(code) {
                Some(EnteredCode::Generated(code)) => {
                    self.open_factor(&factor)?.step_of(&code, self.code_time(), factor.last_step)
                }
                _ => None,
            };
            let Some(step) = step else { return Ok(Added::Wrong) };
            let is_first = !act.tx.factor_standing(&user.id).await?.has_factor;
            if !act.tx.confirm_factor(&id, &user.id, act.now, step).await? {
                return Err(Problem::not_found().into());
            }
            self.count_factor(act, principal, (&user, &factor), (is_first, visitor)).await
        })
        .await
    }

    /// Records that a factor counts from now on, and tells the person. With the first one, every other session of the account
    /// ends, every browser but this one is no longer known, and recovery codes are created.
    pub(crate) async fn count_factor(
        &self,
        act: &mut Act<'_>,
        principal: &Principal,
        (user, factor): (&User, &FactorRow),
        (is_first, visitor): (bool, &Visitor),
    ) -> Result<Added, Error> {
        let ended_sessions = match is_first {
            true => act.tx.end_sessions(&user.id, principal.session(), act.now).await?,
            false => 0,
        };
        let event = Event::FactorAdded {
            factor_id: factor.id.clone(),
            kind: factor.kind,
            name: factor.name.clone(),
            ended_sessions,
        };
        act.audit(&event, About::target(&user.id)).await?;
        self.tell_of_factor(act, &event, user).await?;
        if !is_first {
            return Ok(Added::Further);
        }
        let codes = self.make_recovery_codes(act, user).await?;
        let devices = self.know_browser(act.tx, &user.id, visitor, act.now).await?;
        Ok(Added::First { codes, devices })
    }

    /// Removes a factor of the signed-in person; with the last one, the recovery codes. Every other session of the account
    /// ends, because whoever had the factor may have begun it, and every browser but this one is no longer known. Returns what
    /// this browser is known by. Refused for the last one while the policy asks for it.
    pub async fn remove_factor(
        &self,
        session: &Session,
        id: &str,
        visitor: &Visitor,
    ) -> Result<Vec<SecretValue>, Error> {
        self.node.unless_quarantined()?;
        let id = FactorId::parse(id).map_err(|_| Problem::not_found())?;
        self.change_own(&session.principal, async |act, principal| {
            let user = own_user(act.tx, principal).await?;
            let factors = act.tx.factors(&user.id).await?;
            let confirmed: Vec<&FactorRow> = factors.iter().filter(|it| it.confirmed_at.is_some()).collect();
            let factor = confirmed.iter().find(|factor| factor.id == id).ok_or_else(Problem::not_found)?;
            if confirmed.len() == 1 && principal.is_asked_for_factor() {
                let text = "Your account must have a second factor, and this is the only one. Nothing was changed. Add \
                    another one first.";
                return Err(Problem::new(Code::SecondFactorRequired, text).into());
            }
            let names = vec![factor.name.clone()];
            match confirmed.len() {
                1 => drop(act.tx.remove_factors(&user.id).await?),
                _ => drop(act.tx.remove_factor(&id).await?),
            }
            let ended_sessions = act.tx.end_sessions(&user.id, principal.session(), act.now).await?;
            let event =
                Event::FactorRemoved { user_id: user.id.clone(), names, ended_sessions, ended_tokens: 0 };
            act.audit(&event, About::target(&user.id)).await?;
            self.tell_of_factor(act, &event, &user).await?;
            self.know_browser(act.tx, &user.id, visitor, act.now).await
        })
        .await
    }

    /// Replaces the recovery codes of the signed-in person. They are returned only this once.
    pub async fn create_recovery_codes(&self, session: &Session) -> Result<Vec<RecoveryCode>, Error> {
        self.node.unless_quarantined()?;
        self.change_own(&session.principal, async |act, principal| {
            let user = own_user(act.tx, principal).await?;
            if !act.tx.factor_standing(&user.id).await?.has_factor {
                let text = "Your account has no second factor. Nothing was changed. Add one first.";
                return Err(Problem::new(Code::InvalidBody, text).into());
            }
            self.make_recovery_codes(act, &user).await
        })
        .await
    }

    async fn make_recovery_codes(&self, act: &mut Act<'_>, user: &User) -> Result<Vec<RecoveryCode>, Error> {
        let codes: Vec<RecoveryCode> =
            (0..RECOVERY_CODES).map(|_| RecoveryCode::generate(self.random.as_ref())).collect();
        let digests: Vec<Vec<u8>> =
            codes.iter().map(|code| self.digests.recovery_code(&user.id, code)).collect();
        act.tx.set_recovery_codes(&user.id, &digests, act.now).await?;
        let event = Event::RecoveryCodesCreated { count: codes.len() as u64 };
        act.audit(&event, About::target(&user.id)).await?;
        self.tell_of_factor(act, &event, user).await?;
        Ok(codes)
    }

    /// Records a wrong code, or a wrong answer of a passkey, of a session that is asked to confirm.
    pub(crate) async fn audit_wrong_code(
        &self,
        session: &Session,
        (checked, reason): (Checked, &'static str),
        visitor: &Visitor,
    ) -> Result<(), Error> {
        let reason = match checked {
            Checked::Right => return Ok(()),
            Checked::Wrong => reason,
            Checked::Wait(_) => "throttled",
        };
        let user: UserId = session.principal.user().clone();
        let user = self.db.read::<_, Error>(async |tx| Ok(tx.user(&user).await?)).await?;
        let via = Some(session.principal.via());
        self.audit_refused_sign_in(user.as_ref(), reason, 1, visitor, via).await
    }
}

/// Returns the account of a principal.
pub(crate) async fn own_user(tx: &mut Tx, principal: &Principal) -> Result<User, Error> {
    Ok(tx.user(&principal.user).await?.ok_or_else(Problem::not_found)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_names_the_account_and_the_service() {
        let enrolment = Enrolment {
            id: FactorId::parse(&format!("fac_{:022}", 1)).unwrap(),
            name: "phone".into(),
            secret: SharedSecret::from_bytes(b"12345678901234567890").unwrap(),
            account: "ada+1@example.com".into(),
            issuer: "Crossfade auth.example.com".into(),
        };
        assert_eq!(
            enrolment.reveal_address(),
            "otpauth://totp/Crossfade%20auth.example.com:ada%2B1%40example.com\
             ?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Crossfade%20auth.example.com"
        );
    }
}
