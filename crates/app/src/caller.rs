//! Who asks: an authenticated account with its grants, or a local command.

use crate::{act::About, app::App, error::Error, sessions};
use crossfade_core::{
    Code, Problem, SessionId, Timestamp, TokenId, UserId,
    api::UserKind,
    audit::{Actor, Event, Origin, Via},
    giving::Holding,
    roles::{Grant, Object, Permission},
    secret::{SecretKind, SecretValue},
};
use crossfade_store::{NewAuditEvent, SessionRow, StoreError, Tx, User};

/// Somebody known, and what they may do.
#[derive(Clone, Debug)]
pub struct Caller {
    pub(crate) actor: Actor,
    pub(crate) user: UserId,
    pub(crate) grants: Vec<Grant>,
    /// Where the request came from.
    pub(crate) origin: Origin,
    /// What an API token is limited to.
    limit: Option<Vec<Permission>>,
    by: By,
}

/// What somebody was known by, with the digest that it is found by again.
#[derive(Clone, Debug)]
enum By {
    Token(TokenId, Vec<u8>),
    Session(SessionId, Vec<u8>),
}

impl Caller {
    /// Who it is, for the trail.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// Whether it may do `permission` to `object`.
    pub(crate) fn may(&self, permission: Permission, object: Object<'_>) -> bool {
        self.holding().allows(permission, object)
    }

    /// The grants that it holds, within the limit of its token.
    pub(crate) fn holding(&self) -> Holding<'_> {
        Holding { grants: &self.grants, limit: self.limit.as_deref() }
    }

    /// The limit of its token, as words; `None` if there is none.
    pub(crate) fn limit_words(&self) -> Option<Vec<String>> {
        let words = |limit: &Vec<Permission>| limit.iter().map(|it| it.as_str().to_owned()).collect();
        self.limit.as_ref().map(words)
    }

    /// Whether it may do `permission` to the platform as a whole.
    pub fn may_on_platform(&self, permission: Permission) -> bool {
        self.may(permission, Object::Platform)
    }

    /// The account that it is.
    pub fn user(&self) -> &UserId {
        &self.user
    }

    /// Whether it may do `permission` to anything at all.
    pub fn may_somewhere(&self, permission: Permission) -> bool {
        let within_limit = self.limit.as_ref().is_none_or(|limit| limit.contains(&permission));
        within_limit && self.grants.iter().any(|grant| grant.role.permissions().contains(&permission))
    }

    /// The permissions that its token is limited to.
    pub(crate) fn limit(&self) -> Option<&[Permission]> {
        self.limit.as_deref()
    }

    /// Whether it may end this token of this account without managing tokens: its own account's, unless it is
    /// itself a limited token; then only itself.
    pub(crate) fn may_end_token(&self, token: &TokenId, user: &UserId) -> bool {
        let itself = matches!(&self.by, By::Token(own, _) if own == token);
        *user == self.user && (self.limit.is_none() || itself)
    }

    /// API token or session that it acts through.
    pub(crate) fn via(&self) -> Via {
        match &self.by {
            By::Token(id, _) => Via::Token { id: id.clone() },
            By::Session(id, _) => Via::Session { id: id.clone() },
        }
    }

    /// Returns the event of what this caller did or was refused.
    pub(crate) fn event(&self, at: Timestamp, event: &Event, about: About<'_>) -> NewAuditEvent {
        about.event(at, self.actor.clone(), event).from(&self.origin).through(self.via())
    }

    /// Who it is as a key of remembered answers.
    pub(crate) fn key(&self) -> &str {
        self.actor.id()
    }

    /// Reads the caller's rights again, inside a transaction: what was taken away since is gone.
    pub(crate) async fn refreshed(&self, tx: &mut Tx, now: Timestamp) -> Result<Self, Error> {
        match &self.by {
            By::Token(_, digest) => by_token_digest(tx, digest, &self.origin, now).await,
            By::Session(_, digest) => Ok(by_session_digest(tx, digest, &self.origin, now).await?.0),
        }
    }

    /// API token that it is known by, if it is not a session.
    pub(crate) fn token(&self) -> Option<&TokenId> {
        match &self.by {
            By::Token(id, _) => Some(id),
            By::Session(..) => None,
        }
    }

    /// The sign-in that it is known by, if it is not an API token.
    pub(crate) fn session(&self) -> Option<&SessionId> {
        match &self.by {
            By::Session(id, _) => Some(id),
            By::Token(..) => None,
        }
    }
}

fn unauthenticated() -> Error {
    Problem::new(
        Code::Unauthenticated,
        "Send a valid API token as Authorization: Bearer. This one is unknown, expired or ended.",
    )
    .with_field("Authorization")
    .into()
}

async fn grants(tx: &mut Tx, user: &UserId) -> Result<Vec<Grant>, StoreError> {
    Ok(tx.grants(user).await?.into_iter().map(|row| row.grant).collect())
}

pub(crate) fn actor(user: &User) -> Actor {
    let (id, name) = (user.id.clone(), user.name.clone());
    match user.kind {
        UserKind::Person => Actor::User { id, name },
        UserKind::Program => Actor::Program { id, name },
    }
}

async fn by_token_digest(
    tx: &mut Tx,
    digest: &[u8],
    origin: &Origin,
    now: Timestamp,
) -> Result<Caller, Error> {
    let owner = tx.token_owner(digest).await?.ok_or_else(unauthenticated)?;
    if owner.token.expires_at.is_some_and(|expires_at| expires_at <= now) {
        return Err(unauthenticated());
    }
    let limit = owner
        .token
        .scope
        .as_ref()
        .map(|words| words.iter().filter_map(|word| Permission::parse(word)).collect::<Vec<_>>());
    Ok(Caller {
        actor: actor(&owner.user),
        grants: grants(tx, &owner.user.id).await?,
        user: owner.user.id,
        origin: origin.clone(),
        limit,
        by: By::Token(owner.token.id, digest.to_vec()),
    })
}

/// Whoever holds a sign-in that has not ended, and the sign-in itself.
pub(crate) async fn by_session_digest(
    tx: &mut Tx,
    digest: &[u8],
    origin: &Origin,
    now: Timestamp,
) -> Result<(Caller, SessionRow, User), Error> {
    let session = tx.session_by_digest(digest).await?.ok_or_else(signed_out)?;
    if now >= sessions::ends_at(&session) {
        return Err(signed_out());
    }
    let user = tx.user(&session.user_id).await?.ok_or_else(signed_out)?;
    let caller = Caller {
        actor: actor(&user),
        grants: grants(tx, &user.id).await?,
        user: user.id.clone(),
        origin: origin.clone(),
        limit: None,
        by: By::Session(session.id.clone(), digest.to_vec()),
    };
    Ok((caller, session, user))
}

pub(crate) fn signed_out() -> Error {
    Problem::new(Code::Unauthenticated, "You are not signed in, or not any more. Sign in and try again.")
        .into()
}

/// What a request is for. Known callers are authenticated for a change without a wait for reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Intent {
    /// To read.
    Read,
    /// To change something.
    Change,
}

impl App {
    /// Runs `work` on one consistent snapshot.
    pub(crate) async fn read_for<T>(
        &self,
        intent: Intent,
        work: impl AsyncFnOnce(&mut Tx) -> Result<T, Error>,
    ) -> Result<T, Error> {
        match intent {
            Intent::Read => self.read(work).await,
            Intent::Change => self.db.read(work).await,
        }
    }

    /// Authenticates an API token that came from `origin`.
    pub async fn authenticate(&self, token: &str, origin: Origin, intent: Intent) -> Result<Caller, Error> {
        let value = SecretValue::parse(SecretKind::ApiToken, token).ok_or_else(unauthenticated)?;
        let digest = self.digests.token(value.reveal());
        let now = self.clock.now();
        let look = async |tx: &mut Tx| by_token_digest(tx, &digest, &origin, now).await;
        let caller = self.look_up(&digest, origin.ip, intent, look).await?;
        if let By::Token(token, _) = &caller.by {
            self.touched.note(token, now);
        }
        Ok(caller)
    }
}
