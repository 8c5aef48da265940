//! Sign-ins to the Console while they last: found by what a cookie holds, kept fresh, listed, ended.

use crate::{
    act::About,
    app::App,
    caller::{Caller, Intent, by_session_digest, signed_out},
    error::Error,
    sign_in::NewSession,
    tokens::{AccountTokens, end_own_tokens},
};
use crossfade_core::{
    Code, Problem, SessionId, Timestamp,
    audit::{Actor, Event, Origin, Via},
    secret::{SecretKind, SecretValue},
    text,
};
use crossfade_store::{SessionRow, Tx, User};
use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

/// A sign-in that is not used ends after this long.
pub const IDLE_LIMIT: Duration = Duration::from_secs(60 * 60);
/// A sign-in ends after this long, used or not.
pub const ABSOLUTE_LIMIT: Duration = Duration::from_secs(12 * 60 * 60);
/// The last request is noted this often: seldom enough to cost nothing, and always to the shorter side.
const NOTED_EVERY: Duration = Duration::from_secs(60);
/// How long a page waits for that note.
const NOTED_WITHIN: Duration = Duration::from_secs(1);
/// Rows of sign-ins are kept this long, for whoever looks into a database.
const KEPT: Duration = Duration::from_secs(30 * 86_400);
/// Sign-ins that are listed.
const LISTED: i64 = 100;
/// The longest user agent that is stored, in characters.
const AGENT_CHARACTERS: usize = 300;

/// Whoever comes to the Console, before anything is known of them.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// Where the request comes from.
    pub origin: Origin,
    /// What they call their browser.
    pub user_agent: String,
    /// What the cookie of their known browser holds.
    pub devices: Vec<SecretValue>,
}

impl Visitor {
    pub(crate) fn address(&self) -> IpAddr {
        self.origin.ip.unwrap_or(Ipv4Addr::UNSPECIFIED.into())
    }
}

/// A sign-in that lasts.
#[derive(Clone, Debug)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Who it is, and what they may do.
    pub caller: Caller,
    /// Their name.
    pub name: String,
    /// Their e-mail address.
    pub email: String,
    /// Whether the password was given lately enough for what is dangerous.
    pub is_fresh: bool,
    /// When all of this was so.
    pub now: Timestamp,
}

/// A sign-in in the list of one's own.
#[derive(Clone, Debug)]
pub struct SessionSummary {
    /// Its id.
    pub id: SessionId,
    /// Whether it is the one that asks.
    pub is_this: bool,
    /// When it began.
    pub created_at: Timestamp,
    /// The last request.
    pub last_seen_at: Timestamp,
    /// The address that it began from.
    pub source_ip: String,
    /// The user agent that it began with.
    pub user_agent: String,
}

/// How a fresh sign-in was answered.
pub enum Confirmed {
    /// It was the right password. The cookie holds another value from now on.
    Yes {
        /// What the cookie holds now.
        value: SecretValue,
        /// The sign-in, fresh.
        session: Box<Session>,
    },
    /// It was not.
    Wrong,
    /// Too many were wrong; the next may be tried at this time.
    Wait(Timestamp),
}

/// When a sign-in ends if nothing more happens.
pub(crate) fn ends_at(session: &SessionRow) -> Timestamp {
    session.last_seen_at.after(IDLE_LIMIT).min(session.created_at.after(ABSOLUTE_LIMIT))
}

impl App {
    /// The sign-in whose cookie holds `value`. `seen` notes that somebody is there; what a page asks for by
    /// itself does not, or a page that is left open would never end.
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
        let look = async |tx: &mut Tx| by_session_digest(tx, &digest, origin, now).await;
        let (caller, row, user) = self.look_up(&digest, origin.ip, intent, look).await?;
        if seen && row.last_seen_at.after(NOTED_EVERY) <= now && self.changes.failing().is_none() {
            // A session that is not noted ends earlier than it could. No page waits long for that.
            let noted = self.write(async |tx, now| Ok(tx.touch_session(&row.id, now).await?));
            match tokio::time::timeout(NOTED_WITHIN, noted).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => tracing::warn!(%error, "cannot note the last use of a session"),
                Err(_) => tracing::warn!("cannot note the last use of a session within 1 s"),
            }
        }
        Ok(self.seen_as(caller, &row, user, now))
    }

    fn seen_as(&self, caller: Caller, row: &SessionRow, user: User, now: Timestamp) -> Session {
        Session {
            id: row.id.clone(),
            caller,
            name: user.name,
            email: user.email.unwrap_or_default(),
            is_fresh: now < row.authenticated_at.after(self.fresh_sign_in),
            now,
        }
    }

    /// Begins the session `id` of an account that has proved who it is, and makes its browser known.
    pub(crate) async fn begin_session(
        &self,
        tx: &mut Tx,
        id: SessionId,
        user: &User,
        visitor: &Visitor,
        now: Timestamp,
    ) -> Result<NewSession, Error> {
        let value = SecretValue::generate(SecretKind::Session, self.random.as_ref());
        let agent: String = text::shown(&visitor.user_agent).chars().take(AGENT_CHARACTERS).collect();
        let row = SessionRow {
            id,
            user_id: user.id.clone(),
            created_at: now,
            authenticated_at: now,
            last_seen_at: now,
            source_ip: visitor.address().to_string(),
            user_agent: agent,
        };
        let digest = self.digests.session(value.reveal());
        tx.insert_session(&row, &digest, now.before(KEPT)).await?;
        self.strangers.know(&digest);
        let actor = Actor::User { id: user.id.clone(), name: user.name.clone() };
        let written = About::target(&row.id).event(now, actor, &Event::SessionCreated {});
        tx.append_audit(&written.from(&visitor.origin).through(Via::Session { id: row.id })).await?;
        let devices = self.know_browser(tx, &user.id, visitor, now).await?;
        Ok(NewSession { value, devices, user: user.id.clone() })
    }

    /// One's own sign-ins that last, newest first.
    pub async fn list_sessions(&self, session: &Session) -> Result<Vec<SessionSummary>, Error> {
        let now = self.clock.now();
        self.read(async |tx| {
            let caller = session.caller.refreshed(tx, now).await?;
            let (began, seen) = (now.before(ABSOLUTE_LIMIT), now.before(IDLE_LIMIT));
            let rows = tx.sessions_of(&caller.user, began, seen, LISTED).await?;
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

    /// Ends one of the caller's own sign-ins; the current one signs out. Another sign-in may be a thief's, so its one-time
    /// links end, too.
    pub async fn end_session(&self, session: &Session, id: &str) -> Result<(), Error> {
        let id = SessionId::parse(id).map_err(|_| Problem::not_found())?;
        self.transact(async |tx, now| {
            let caller = session.caller.refreshed(tx, now).await?;
            if !tx.end_session(&id, &caller.user, now).await? {
                return Err(Problem::not_found().into());
            }
            if id != session.id {
                tx.end_links_by_session(&id).await?;
            }
            let event = Event::SessionEnded { sessions: 1, ended_tokens: 0 };
            Ok(tx.append_audit(&caller.event(now, &event, About::target(&id))).await?)
        })
        .await
    }

    /// Ends every sign-in of one's own, this one too, the one-time links that were made in them and those to the account,
    /// and one's API tokens where asked: whoever had a cookie can have made one.
    pub async fn end_sessions(&self, session: &Session, tokens: AccountTokens) -> Result<(), Error> {
        self.transact(async |tx, now| {
            let caller = session.caller.refreshed(tx, now).await?;
            let sessions = tx.end_sessions(&caller.user, None, now).await?;
            tx.end_links(&caller.user).await?;
            let ended_tokens = end_own_tokens(tx, &caller, tokens, now).await?;
            let event = Event::SessionEnded { sessions, ended_tokens };
            Ok(tx.append_audit(&caller.event(now, &event, About::target(&caller.user))).await?)
        })
        .await
    }

    /// Makes a sign-in fresh with the password. Its cookie gets another value, so that one that was taken before
    /// is worth nothing now (OWASP ASVS 7.2.4).
    pub async fn confirm_session(
        &self,
        session: &Session,
        password: &str,
        visitor: &Visitor,
    ) -> Result<Confirmed, Error> {
        let hash = match self.check_own_password(session, password, visitor).await? {
            Checked::Right(hash) => hash,
            Checked::Wrong => return Ok(Confirmed::Wrong),
            Checked::Wait(until) => return Ok(Confirmed::Wait(until)),
        };
        let value = SecretValue::generate(SecretKind::Session, self.random.as_ref());
        let digest = self.digests.session(value.reveal());
        let confirmed = self
            .transact(async |tx, now| {
                let caller = session.caller.refreshed(tx, now).await?;
                let user = tx.user(&caller.user).await?.ok_or_else(Problem::not_found)?;
                if user.password_hash.as_deref() != Some(hash.as_str()) {
                    return Err(changed_meanwhile());
                }
                tx.confirm_session(&session.id, &digest, now).await?;
                self.strangers.know(&digest);
                let (caller, row, user) = by_session_digest(tx, &digest, &visitor.origin, now).await?;
                Ok(self.seen_as(caller, &row, user, now))
            })
            .await?;
        Ok(Confirmed::Yes { value, session: Box::new(confirmed) })
    }

    /// Sets another password, and ends every other sign-in, every one-time link and, where asked, every API token of the
    /// account. The cookie gets another value, which is given back: a copy of it is worth nothing. So does the cookie of the
    /// known browser.
    pub async fn change_password(
        &self,
        session: &Session,
        current: &str,
        new: &str,
        tokens: AccountTokens,
        visitor: &Visitor,
    ) -> Result<NewSession, Error> {
        let hash = match self.check_own_password(session, current, visitor).await? {
            Checked::Right(hash) => hash,
            Checked::Wrong => {
                return Err(Problem::invalid(
                    "current_password",
                    "is not your password. Nothing was changed",
                )
                .into());
            }
            Checked::Wait(_) => {
                let what =
                    "was wrong too often. Nothing was changed. Wait a minute and try again, or sign in again";
                return Err(Problem::invalid("current_password", what).into());
            }
        };
        let place = self.hashing.known(session.caller.key())?;
        let new = self.hash_password(place, new, &[&session.email, &session.name]).await?;
        let value = SecretValue::generate(SecretKind::Session, self.random.as_ref());
        let digest = self.digests.session(value.reveal());
        let devices = self.transact(async |tx, now| {
            let caller = session.caller.refreshed(tx, now).await?;
            let user = tx.user(&caller.user).await?.ok_or_else(Problem::not_found)?;
            if user.password_hash.as_deref() != Some(hash.as_str()) {
                return Err(changed_meanwhile());
            }
            tx.set_password(&user.id, &new).await?;
            tx.confirm_session(&session.id, &digest, now).await?;
            self.strangers.know(&digest);
            tx.end_links(&user.id).await?;
            let ended_sessions = tx.end_sessions(&user.id, caller.session(), now).await?;
            let ended_tokens = end_own_tokens(tx, &caller, tokens, now).await?;
            let event = Event::UserPasswordChanged { ended_sessions, ended_tokens };
            tx.append_audit(&caller.event(now, &event, About::target(&user.id))).await?;
            self.know_browser(tx, &user.id, visitor, now).await
        });
        let devices = devices.await?;
        Ok(NewSession { value, devices, user: session.caller.user().clone() })
    }

    /// Checks the password of a person who is signed in. Wrong ones count for the session alone: a stolen cookie must
    /// not be a way to guess, and strangers must not be able to delay the person.
    async fn check_own_password(
        &self,
        session: &Session,
        password: &str,
        visitor: &Visitor,
    ) -> Result<Checked, Error> {
        let now = self.clock.now();
        let admitted = match self.throttle.enter_session(&session.id, now) {
            Ok(admitted) => admitted,
            Err(held) => {
                self.audit_held_up(&held, visitor, Some(session.caller.via())).await?;
                return Ok(Checked::Wait(held.until));
            }
        };
        let place = self.hashing.known(session.caller.key())?;
        let user = self.db.read::<_, Error>(async |tx| {
            let caller = session.caller.refreshed(tx, now).await?;
            Ok(tx.user(&caller.user).await?.ok_or_else(Problem::not_found)?)
        });
        let user = user.await?;
        if !self.verify_password(place, password, user.password_hash.as_deref()).await? {
            let via = Some(session.caller.via());
            self.audit_refused_sign_in(Some(&user), "password", admitted.unseen + 1, visitor, via).await?;
            return Ok(Checked::Wrong);
        }
        self.throttle.session_succeeded(&session.id);
        Ok(Checked::Right(user.password_hash.unwrap_or_default()))
    }
}

/// What came of checking a password; with the hash that it was right for.
enum Checked {
    Right(String),
    Wrong,
    Wait(Timestamp),
}

/// Between the look at a password and the change that it permits, another password was set.
fn changed_meanwhile() -> Error {
    Problem::new(
        Code::PreconditionFailed,
        "Your password was changed meanwhile. Nothing else was changed. Sign in again.",
    )
    .into()
}
