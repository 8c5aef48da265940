//! Sessions in the Console: finding them by cookie, confirming, listing and ending them.

use crate::{
    app::App,
    error::Error,
    frame::{
        act::Act,
        entry::{About, Author},
        principal::{Intent, Principal, by_session_digest, signed_out},
    },
    node::throttle::Subject,
    people::{
        factors::Checked,
        passkeys::Proof,
        session_limits::{ABSOLUTE_LIMIT, IDLE_LIMIT},
        sign_in::NewSession,
        sign_in_policy::accepts_password,
        tokens::{AccountTokens, end_own_tokens},
    },
    providers::provider::OfferedProvider,
};
use crossfade_core::{
    Code, FactorId, Problem, ProviderId, SessionId, Timestamp,
    audit::{Actor, Event, Origin, Via},
    secret::{SecretKind, SecretValue},
    text,
};
use crossfade_store::{SessionRow, Tx, User};
use serde_json::json;
use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

/// How often the last request is saved. Rare enough to be cheap; a stale value only ends a session early.
const NOTED_EVERY: Duration = Duration::from_secs(60);
/// How long a page waits for saving the last request.
const NOTED_WITHIN: Duration = Duration::from_secs(1);
/// How long rows of ended sessions are kept.
const KEPT: Duration = Duration::from_secs(30 * 86_400);
/// Maximum number of sessions listed.
const LISTED: i64 = 100;
/// Maximum length of a stored user agent in characters.
const AGENT_CHARACTERS: usize = 300;

/// A visitor of the Console who is not yet identified.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// Origin of the request.
    pub origin: Origin,
    /// User agent.
    pub user_agent: String,
    /// Values in the cookie of the known browser.
    pub devices: Vec<SecretValue>,
}

impl Visitor {
    pub(crate) fn address(&self) -> IpAddr {
        self.origin.ip.unwrap_or(Ipv4Addr::UNSPECIFIED.into())
    }
}

/// A valid session.
#[derive(Clone, Debug)]
pub struct Session {
    /// ID.
    pub id: SessionId,
    /// The signed-in principal.
    pub principal: Principal,
    /// Their name.
    pub name: String,
    /// Their email address.
    pub email: String,
    /// Whether the person authenticated recently enough for dangerous actions.
    pub is_fresh: bool,
    /// Provider that the session was begun with, and that confirms it; `None`: the password does.
    pub provider: Option<OfferedProvider>,
    /// Whether the account has a second factor, whose code is asked for with the password.
    pub has_factor: bool,
    /// Whether the account has a passkey.
    pub has_passkey: bool,
    /// Whether the person must add a second factor before anything else.
    pub must_add_factor: bool,
    /// Time at which this was read.
    pub now: Timestamp,
}

/// A session in the list of a person's own sessions.
#[derive(Clone, Debug)]
pub struct SessionSummary {
    /// ID.
    pub id: SessionId,
    /// Whether it is the session of this request.
    pub is_this: bool,
    /// Start.
    pub created_at: Timestamp,
    /// Last request.
    pub last_seen_at: Timestamp,
    /// Address it was started from.
    pub source_ip: String,
    /// User agent it was started with.
    pub user_agent: String,
}

/// Outcome of confirming the password.
pub enum Confirmed {
    /// The password was correct. The cookie gets a new value.
    Yes {
        /// New value of the cookie.
        value: SecretValue,
        /// The confirmed session.
        session: Box<Session>,
    },
    /// The password was wrong.
    Wrong,
    /// The password was correct, and the code of the second factor was wrong.
    WrongCode,
    /// The answer of the passkey was wrong.
    WrongPasskey,
    /// Too many passwords or codes were wrong; the next attempt is allowed at this time.
    Wait(Timestamp),
}

/// What a session begins with.
pub(crate) enum Begun {
    /// A password or a one-time link.
    Password,
    /// A passkey alone.
    Passkey(FactorId),
    /// A provider.
    Provider {
        id: ProviderId,
        /// When the person authenticated there; `None` if the provider does not say, so that the session is not fresh.
        authenticated_at: Option<Timestamp>,
    },
}

/// Returns the author of what a person does in a session that begins with it.
pub(crate) fn author_in(session: &SessionId, user: &User, visitor: &Visitor) -> Author {
    let actor = Actor::User { id: user.id.clone(), name: user.name.clone() };
    Author::from(actor).at(&visitor.origin).with(Via::Session { id: session.clone() })
}

impl App {
    /// Returns the session whose cookie contains `value`. `seen` records activity. Automatic requests of a page do not
    /// set it, because otherwise a session with an open page would never end.
    pub async fn session(
        &self,
        value: &str,
        origin: &Origin,
        seen: bool,
        intent: Intent,
    ) -> Result<Session, Error> {
        let value = SecretValue::parse(SecretKind::Session, value).ok_or_else(signed_out)?;
        let digest = self.digests.session(value.reveal());
        let now = self.clock.now();
        let look = async |tx: &mut Tx| {
            let found = by_session_digest(tx, &digest, origin, now).await?;
            let provider = provider_of(tx, &found.1).await?;
            Ok((found, provider))
        };
        let ((principal, row, user), provider) = self.look_up(&digest, origin.ip, intent, look).await?;
        if seen && row.last_seen_at.after(NOTED_EVERY) <= now && self.node.changes.failing().is_none() {
            // A session that is not noted ends earlier than it could. No page waits long for that.
            let noted = self.node.write(async |tx, now| Ok(tx.touch_session(&row.id, now).await?));
            match tokio::time::timeout(NOTED_WITHIN, noted).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => tracing::warn!(%error, "cannot save the last use of a session"),
                Err(_) => tracing::warn!("cannot save the last use of a session within 1 s"),
            }
        }
        Ok(Session { provider, ..self.seen_as(principal, &row, user, now) })
    }

    pub(crate) fn seen_as(
        &self,
        principal: Principal,
        row: &SessionRow,
        user: User,
        now: Timestamp,
    ) -> Session {
        Session {
            provider: None,
            id: row.id.clone(),
            has_factor: principal.has_factor(),
            has_passkey: principal.has_passkey(),
            must_add_factor: principal.must_add_factor(),
            principal,
            name: user.name,
            email: user.email.unwrap_or_default(),
            is_fresh: now < row.authenticated_at.after(self.fresh_sign_in),
            now,
        }
    }

    /// Begins the session `id` of an authenticated account, as [`author_in`] it, and makes its browser known.
    pub(crate) async fn begin_session(
        &self,
        act: &mut Act<'_>,
        id: SessionId,
        user: &User,
        (visitor, begun): (&Visitor, Begun),
    ) -> Result<NewSession, Error> {
        let (provider_id, passkey_id, authenticated_at) = match begun {
            Begun::Password => (None, None, act.now),
            Begun::Passkey(id) => (None, Some(id), act.now),
            // A provider that does not say when may have known the person for weeks.
            Begun::Provider { id, authenticated_at } => {
                (Some(id), None, authenticated_at.unwrap_or(Timestamp::from_micros(0)))
            }
        };
        let value = SecretValue::generate(SecretKind::Session, self.random.as_ref());
        let agent: String = text::shown(&visitor.user_agent).chars().take(AGENT_CHARACTERS).collect();
        let row = SessionRow {
            id,
            user_id: user.id.clone(),
            created_at: act.now,
            authenticated_at,
            last_seen_at: act.now,
            source_ip: visitor.origin.stored.clone().unwrap_or_default(),
            user_agent: agent,
            provider_id: provider_id.clone(),
        };
        let digest = self.digests.session(value.reveal());
        act.tx.insert_session(&row, &digest, act.now.before(KEPT)).await?;
        self.node.strangers.know(&digest);
        act.audit(&Event::SessionCreated { provider_id, passkey_id }, About::target(&row.id)).await?;
        let devices = self.know_browser(act.tx, &user.id, visitor, act.now).await?;
        Ok(NewSession { value, devices, user: user.id.clone() })
    }

    /// Returns the person's own valid sessions, newest first.
    pub async fn list_sessions(&self, session: &Session) -> Result<Vec<SessionSummary>, Error> {
        let now = self.clock.now();
        self.read(async |tx| {
            let principal = session.principal.refreshed(tx, now).await?;
            let (began, seen) = (now.before(ABSOLUTE_LIMIT), now.before(IDLE_LIMIT));
            let rows = tx.sessions_of(&principal.user, began, seen, LISTED).await?;
            Ok(rows
                .into_iter()
                .map(|row| SessionSummary {
                    is_this: row.id == session.id,
                    id: row.id,
                    created_at: row.created_at,
                    last_seen_at: row.last_seen_at,
                    source_ip: row.source_ip,
                    user_agent: row.user_agent,
                })
                .collect())
        })
        .await
    }

    /// Ends one of the principal's own sessions; ending the current one signs out. Another session may be a thief's, so
    /// its one-time links end, too.
    pub async fn end_session(&self, session: &Session, id: &str) -> Result<(), Error> {
        let id = SessionId::parse(id).map_err(|_| Problem::not_found())?;
        self.change_own(&session.principal, async |act, principal| {
            if !act.tx.end_session(&id, &principal.user, act.now).await? {
                return Err(Problem::not_found().into());
            }
            if id != session.id {
                act.tx.end_links_by_session(&id).await?;
            }
            act.audit(&Event::SessionEnded { sessions: 1, ended_tokens: 0 }, About::target(&id)).await
        })
        .await
    }

    /// Ends all sessions of the principal, including this one, the one-time links created in them and those to the
    /// account and, if requested, the principal's API tokens, because anyone who had a cookie may have created one.
    pub async fn end_sessions(&self, session: &Session, tokens: AccountTokens) -> Result<(), Error> {
        self.node.unless_quarantined()?;
        self.change_own(&session.principal, async |act, principal| {
            let sessions = act.tx.end_sessions(&principal.user, None, act.now).await?;
            act.tx.end_links(&principal.user).await?;
            let ended_tokens = end_own_tokens(act, principal, tokens).await?;
            act.audit(&Event::SessionEnded { sessions, ended_tokens }, About::target(&principal.user)).await
        })
        .await
    }

    /// Confirms a session with the password, and with the code of the second factor, if the account has one. Its cookie
    /// gets a new value, so that a stolen copy is worthless (OWASP ASVS 7.2.4).
    pub async fn confirm_session(
        &self,
        session: &Session,
        password: &str,
        code: &str,
        visitor: &Visitor,
    ) -> Result<Confirmed, Error> {
        let hash = match self.check_own_password(session, password, visitor).await? {
            CheckedPassword::Right(hash) => hash,
            CheckedPassword::Wrong => return Ok(Confirmed::Wrong),
            CheckedPassword::Wait(until) => return Ok(Confirmed::Wait(until)),
        };
        let value = SecretValue::generate(SecretKind::Session, self.random.as_ref());
        let digest = self.digests.session(value.reveal());
        let confirmed = self
            .change_own(&session.principal, async |act, principal| {
                let user = act.tx.user(&principal.user).await?.ok_or_else(Problem::not_found)?;
                if user.password_hash.as_deref() != Some(hash.as_str()) {
                    return Err(changed_meanwhile());
                }
                let row = act.tx.session(&session.id).await?.ok_or_else(signed_out)?;
                if row.provider_id.is_some() || !accepts_password(act.tx, &user.id).await? {
                    let text = "A password does not confirm this session. Nothing was changed. Sign in with your provider again.";
                    return Err(Problem::new(Code::Forbidden, text).into());
                }
                let subject = Subject::of_codes_in(&session.id);
                let checked = self.check_code(act, &user, code, Some(&subject)).await?;
                if checked != Checked::Right {
                    return Ok(Err(checked));
                }
                act.tx.confirm_session(&session.id, &digest, act.now).await?;
                self.node.strangers.know(&digest);
                let found = by_session_digest(act.tx, &digest, &visitor.origin, act.now).await?;
                let (principal, row, user) = found;
                let provider = provider_of(act.tx, &row).await?;
                Ok(Ok(Session { provider, ..self.seen_as(principal, &row, user, act.now) }))
            })
            .await?;
        match confirmed {
            Ok(session) => Ok(Confirmed::Yes { value, session: Box::new(session) }),
            Err(checked) => {
                self.audit_wrong_code(session, (checked, "code"), visitor).await?;
                Ok(match checked {
                    Checked::Wait(until) => Confirmed::Wait(until),
                    Checked::Right | Checked::Wrong => Confirmed::WrongCode,
                })
            }
        }
    }

    /// Sets another password with the current one and a proof of the second factor, if the account has one: the session
    /// is fresh afterwards. Ends every other session, every one-time link and, if requested, every API token of
    /// the account. Returns a new value for the cookie, so that a copy of the old one is worthless. The cookie of the
    /// known browser also gets a new value.
    pub async fn change_password(
        &self,
        session: &Session,
        (current, proof): (&str, Proof<'_>),
        new: &str,
        tokens: AccountTokens,
        visitor: &Visitor,
    ) -> Result<NewSession, Error> {
        self.node.unless_quarantined()?;
        let hash = match self.check_own_password(session, current, visitor).await? {
            CheckedPassword::Right(hash) => hash,
            CheckedPassword::Wrong => {
                return Err(Problem::invalid("current_password", "does not match your password").into());
            }
            CheckedPassword::Wait(_) => {
                let problem = Problem::invalid("current_password", "was wrong too many times");
                return Err(problem.advise("Wait 1 minute and try again, or sign in again.").into());
            }
        };
        let place = self.node.hashing.known(session.principal.key())?;
        let new = self.hash_password(place, new, &[&session.email, &session.name]).await?;
        let value = SecretValue::generate(SecretKind::Session, self.random.as_ref());
        let digest = self.digests.session(value.reveal());
        let devices = self.change_own(&session.principal, async |act, principal| {
            let user = act.tx.user(&principal.user).await?.ok_or_else(Problem::not_found)?;
            if user.password_hash.as_deref() != Some(hash.as_str()) {
                return Err(changed_meanwhile());
            }
            let row = act.tx.session(&session.id).await?.ok_or_else(signed_out)?;
            let is_fresh = act.now < row.authenticated_at.after(self.fresh_sign_in);
            if row.provider_id.is_some() && !is_fresh || !accepts_password(act.tx, &user.id).await? {
                let text = "A password does not confirm this session. Nothing was changed. Sign in with your provider again.";
                return Err(Problem::new(Code::Forbidden, text).into());
            }
            let checked = self.check_proof_in(act, &user, (&session.id, proof), visitor).await?;
            if checked != Checked::Right {
                return Ok(Err(checked));
            }
            act.tx.set_password(&user.id, &new).await?;
            act.tx.confirm_session(&session.id, &digest, act.now).await?;
            self.node.strangers.know(&digest);
            act.tx.end_links(&user.id).await?;
            let ended_sessions = act.tx.end_sessions(&user.id, principal.session(), act.now).await?;
            let ended_tokens = end_own_tokens(act, principal, tokens).await?;
            let event = Event::UserPasswordChanged { ended_sessions, ended_tokens };
            act.audit(&event, About::target(&user.id)).await?;
            let facts = json!({"account": user.email, "source_ip": visitor.origin.stored});
            act.tell_person(self.random.as_ref(), &event, user.email.as_deref(), (facts, None)).await?;
            Ok(Ok(self.know_browser(act.tx, &user.id, visitor, act.now).await?))
        });
        let devices = match devices.await? {
            Ok(devices) => devices,
            Err(checked) => {
                self.audit_wrong_code(session, (checked, proof.reason()), visitor).await?;
                return Err(match checked {
                    _ if matches!(proof, Proof::Passkey(_)) => {
                        Problem::invalid("code", "is required, because the passkey was not accepted")
                    }
                    Checked::Wait(_) => Problem::invalid("code", "was wrong too many times")
                        .advise("Wait 1 hour and try again, or enter a recovery code."),
                    Checked::Right | Checked::Wrong => {
                        Problem::invalid("code", "is wrong or was used before")
                    }
                }
                .into());
            }
        };
        Ok(NewSession { value, devices, user: session.principal.user().clone() })
    }

    /// Checks the password of a signed-in person. Wrong ones count only for the session, so that a stolen cookie cannot
    /// be used to guess and others cannot delay the person.
    async fn check_own_password(
        &self,
        session: &Session,
        password: &str,
        visitor: &Visitor,
    ) -> Result<CheckedPassword, Error> {
        let now = self.clock.now();
        let admitted = match self.node.throttle.enter_session(&session.id, now) {
            Ok(admitted) => admitted,
            Err(held) => {
                self.audit_held_up(&held, visitor, Some(session.principal.via())).await?;
                return Ok(CheckedPassword::Wait(held.until));
            }
        };
        let place = self.node.hashing.known(session.principal.key())?;
        let subjects = [Subject::of_session(&session.id)];
        let read = self.db.read::<_, Error>(async |tx| {
            let principal = session.principal.refreshed(tx, now).await?;
            let user = tx.user(&principal.user).await?.ok_or_else(Problem::not_found)?;
            Ok((user, self.stored_failures(tx, &subjects).await?))
        });
        let (user, stored) = read.await?;
        let stored = stored.into_iter().flatten().next();
        if let Err(held) = self.node.throttle.learn_session(&session.id, stored, now) {
            self.audit_held_up(&held, visitor, Some(session.principal.via())).await?;
            return Ok(CheckedPassword::Wait(held.until));
        }
        if !self.verify_password(place, password, user.password_hash.as_deref()).await? {
            self.store_failure(&subjects).await?;
            let via = Some(session.principal.via());
            self.audit_refused_sign_in(Some(&user), "password", admitted.unseen + 1, visitor, via).await?;
            return Ok(CheckedPassword::Wrong);
        }
        self.node.throttle.session_succeeded(&session.id);
        if stored.is_some() {
            let [subject] = &subjects;
            self.node.write(async |tx, _| self.forgive_stored(tx, subject).await).await?;
        }
        Ok(CheckedPassword::Right(user.password_hash.unwrap_or_default()))
    }
}

/// Returns the provider that a session was begun with.
async fn provider_of(tx: &mut Tx, row: &SessionRow) -> Result<Option<OfferedProvider>, Error> {
    let Some(id) = &row.provider_id else { return Ok(None) };
    let provider = tx.provider(id).await?.filter(|it| it.disabled_at.is_none());
    Ok(provider.map(|it| OfferedProvider { id: it.id, name: it.name.to_string() }))
}

/// Result of checking a password, with the hash that it matched.
enum CheckedPassword {
    Right(String),
    Wrong,
    Wait(Timestamp),
}

/// Returns the error for a password that was changed between its check and the change it permits.
fn changed_meanwhile() -> Error {
    Problem::new(
        Code::PreconditionFailed,
        "Your password was changed in another session. Nothing else was changed. Sign in again.",
    )
    .into()
}
