//! Who acts in the Console, the API and the CLI: an account with its permissions. The trail names a principal as an
//! [`Actor`], and also policies, OAuth clients and local commands. A program that presents a secret is a source, not a
//! principal; evidence lists the sources of a registration as its callers.

use crate::{
    app::App,
    error::Error,
    frame::entry::Author,
    people::{session_limits, sign_in_policy::accepts_password},
};
use crossfade_core::{
    Code, Operation, Problem, SessionId, Timestamp, TokenId, UserId,
    api::UserKind,
    audit::{Actor, Origin, Via},
    giving::Holding,
    roles::{Grant, Object, OneRegistration, Permission, allows},
    second_factor::{Asked, FactorPolicy, TOKENS_WORK_FOR},
    secret::{SecretKind, SecretValue},
};
use crossfade_store::{FactorStanding, GrantRow, SessionRow, StoreError, Tx, User};

/// A known principal and its permissions.
#[derive(Clone, Debug)]
pub struct Principal {
    pub(crate) actor: Actor,
    pub(crate) user: UserId,
    pub(crate) grants: Vec<Grant>,
    /// Origin of the request.
    pub(crate) origin: Origin,
    /// Permissions that the API token is limited to.
    limit: Option<Vec<Permission>>,
    /// Registration that the API token is limited to. The grants are their part there.
    only: Option<OneRegistration>,
    /// Whether its account has a second factor.
    has_factor: bool,
    /// Whether one of them is a passkey.
    has_passkey: bool,
    /// Since when its account is asked for one; `None` if it is not.
    asked_since: Option<Timestamp>,
    /// Whether it can go no further than to its own account, because its account must have a second factor and has none.
    must_add_factor: bool,
    by: By,
}

/// Credential of a principal, with the digest that finds it again.
#[derive(Clone, Debug)]
enum By {
    Token(TokenId, Vec<u8>),
    Session(SessionId, Vec<u8>),
}

impl Principal {
    /// Returns the actor, for the trail.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// Whether the principal has `permission` on `object`.
    pub(crate) fn may(&self, permission: Permission, object: Object<'_>) -> bool {
        self.holding().allows(permission, object)
    }

    /// Returns the principal's grants, within the limit of its token.
    pub(crate) fn holding(&self) -> Holding<'_> {
        Holding { grants: &self.grants, limit: self.limit.as_deref() }
    }

    /// Returns the limit of its token as words; `None` if there is none.
    pub(crate) fn limit_words(&self) -> Option<Vec<String>> {
        let words = |limit: &Vec<Permission>| limit.iter().map(|it| it.as_str().to_owned()).collect();
        self.limit.as_ref().map(words)
    }

    /// Whether the principal has `permission` on the platform.
    pub fn may_on_platform(&self, permission: Permission) -> bool {
        self.may(permission, Object::Platform)
    }

    /// Returns the account of the principal.
    pub fn user(&self) -> &UserId {
        &self.user
    }

    /// Whether the principal has `permission` on any object.
    pub fn may_somewhere(&self, permission: Permission) -> bool {
        let within_limit = self.limit.as_ref().is_none_or(|limit| limit.contains(&permission));
        within_limit && self.grants.iter().any(|grant| grant.role.permissions().contains(&permission))
    }

    /// Returns the permissions its token is limited to.
    pub(crate) fn limit(&self) -> Option<&[Permission]> {
        self.limit.as_deref()
    }

    /// Returns the registration its token is limited to.
    pub(crate) fn only(&self) -> Option<&OneRegistration> {
        self.only.as_ref()
    }

    /// Whether the principal is given the value of a secret that it generates on `object`. A token that is limited to
    /// one registration needs no permission to reveal secrets for that; its owner does.
    pub(crate) fn may_receive(&self, object: Object<'_>) -> bool {
        let by_rotating = self.only.is_some() && self.may(Permission::SecretRotate, object);
        self.may(Permission::SecretReveal, object)
            || by_rotating && allows(&self.grants, Permission::SecretReveal, object)
    }

    /// Whether its account has a second factor.
    pub fn has_factor(&self) -> bool {
        self.has_factor
    }

    /// Whether its account has a passkey.
    pub fn has_passkey(&self) -> bool {
        self.has_passkey
    }

    /// Whether the policy asks its account for a second factor.
    pub fn is_asked_for_factor(&self) -> bool {
        self.asked_since.is_some()
    }

    /// Whether it must add a second factor before anything else.
    pub fn must_add_factor(&self) -> bool {
        self.must_add_factor
    }

    /// Refuses everything beyond the own account to a person who must add a second factor first.
    pub(crate) fn unless_factor_missing(&self) -> Result<(), Error> {
        if self.must_add_factor { Err(factor_required().into()) } else { Ok(()) }
    }

    /// Refuses what is not about the own account to a person who must add a second factor first, and to a limited token
    /// what is not about its registration.
    pub(crate) fn may_begin(&self, operation: Operation) -> Result<(), Error> {
        if !operation.needs_no_factor() {
            self.unless_factor_missing()?;
        }
        self.is_within_registration(operation)
    }

    /// Refuses what is not about the registration that the token is limited to, but for reading and ending the token
    /// itself. The grants decide about which client an operation is. The upstream credential is that of the registration
    /// at another issuer: whoever rotates secrets here does not decide about it, nor to which hosts it is sent.
    fn is_within_registration(&self, operation: Operation) -> Result<(), Error> {
        let is_open = matches!(operation, Operation::ReadMe | Operation::DeleteToken)
            || operation.path().starts_with("/clients");
        let is_of_issuer = matches!(
            operation,
            Operation::UpdateUpstreamCredential
                | Operation::TestUpstreamCredential
                | Operation::ReleaseUpstreamCredential
        );
        if self.only.is_none() || is_open && !is_of_issuer {
            return Ok(());
        }
        let text = "This API token is limited to one registration. Nothing was changed. Use a token without \
            this limit.";
        Err(Problem::new(Code::Forbidden, text).into())
    }

    /// Whether the principal can end this token of this account without permission to manage tokens. It can end the
    /// tokens of its own account; a limited token can end only itself.
    pub(crate) fn may_end_token(&self, token: &TokenId, user: &UserId) -> bool {
        let itself = matches!(&self.by, By::Token(own, _) if own == token);
        *user == self.user && (self.limit.is_none() && self.only.is_none() || itself)
    }

    /// Returns the API token or session it acts with.
    pub(crate) fn via(&self) -> Via {
        match &self.by {
            By::Token(id, _) => Via::Token { id: id.clone() },
            By::Session(id, _) => Via::Session { id: id.clone() },
        }
    }

    /// Returns the principal as the author of what it does or is refused.
    pub(crate) fn author(&self) -> Author {
        Author::from(self.actor.clone()).at(&self.origin).with(self.via())
    }

    /// Returns the key of its remembered responses. A token that is limited to one registration has its own, so that it
    /// never gets a value that its owner received.
    pub(crate) fn key(&self) -> &str {
        match (&self.only, &self.by) {
            (Some(_), By::Token(id, _)) => id.as_str(),
            _ => self.actor.id(),
        }
    }

    /// Reads the principal's rights again inside a transaction, so that removed rights no longer count.
    pub(crate) async fn refreshed(&self, tx: &mut Tx, now: Timestamp) -> Result<Self, Error> {
        match &self.by {
            By::Token(_, digest) => by_token_digest(tx, digest, &self.origin, now).await,
            By::Session(_, digest) => Ok(by_session_digest(tx, digest, &self.origin, now).await?.0),
        }
    }

    /// Returns its API token; `None` for a session.
    pub(crate) fn token(&self) -> Option<&TokenId> {
        match &self.by {
            By::Token(id, _) => Some(id),
            By::Session(..) => None,
        }
    }

    /// Returns its session; `None` for an API token.
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
        "Send a valid API token as Authorization: Bearer. This token is unknown, expired or deleted.",
    )
    .with_field("Authorization")
    .into()
}

/// Returns the refusal of a person who must have a second factor and has none.
pub(crate) fn factor_required() -> Problem {
    let text = "Your account must have a second factor, and has none. Nothing was changed. Sign in to the Console and add \
        one on your account page.";
    Problem::new(Code::SecondFactorRequired, text)
}

/// The roles of an account, and whether it must have a second factor.
struct Held {
    grants: Vec<Grant>,
    has_factor: bool,
    has_passkey: bool,
    asked_since: Option<Timestamp>,
}

async fn held(tx: &mut Tx, user: &User) -> Result<Held, StoreError> {
    let rows = tx.grants(&user.id).await?;
    let standing = match user.kind {
        UserKind::Person => tx.factor_standing(&user.id).await?,
        // A program has no second factor, and is never asked for one.
        UserKind::Program => FactorStanding {
            policy: FactorPolicy::default(),
            passwords_on_since: None,
            has_factor: false,
            has_passkey: false,
            has_identity: false,
        },
    };
    let asked_since = standing.policy.asked_since(&asked(user.kind, user.created_at, &rows));
    // The provider asks for its own second factor, so only a password needs one here, and only since it could be used.
    let asked_since = match asked_since {
        Some(since) if standing.has_identity => {
            let by_password = user.password_hash.is_some() && accepts_password(tx, &user.id).await?;
            by_password.then(|| standing.passwords_on_since.map_or(since, |on| on.max(since)))
        }
        asked_since => asked_since,
    };
    let grants = rows.into_iter().map(|row| row.grant).collect();
    let FactorStanding { has_factor, has_passkey, .. } = standing;
    Ok(Held { grants, has_factor, has_passkey, asked_since })
}

/// Returns what decides whether an account with these roles is asked for a second factor.
pub(crate) fn asked(kind: UserKind, created_at: Timestamp, grants: &[GrantRow]) -> Asked {
    let seeing = grants.iter().filter(|row| row.grant.role.sees_secrets());
    Asked { kind, created_at, sees_secrets_since: seeing.map(|row| row.created_at).min() }
}

/// Whether a session can go no further than to the own account, until its person has added a second factor. The one place
/// that decides this. One that began with a provider needs none: the provider asks for its own.
fn needs_second_factor(held: &Held, session: &SessionRow) -> bool {
    held.asked_since.is_some() && !held.has_factor && session.provider_id.is_none()
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
) -> Result<Principal, Error> {
    let owner = tx.token_owner(digest).await?.ok_or_else(unauthenticated)?;
    if owner.token.expires_at.is_some_and(|expires_at| expires_at <= now) {
        return Err(unauthenticated());
    }
    let limit = owner
        .token
        .scope
        .as_ref()
        .map(|words| words.iter().filter_map(|word| Permission::parse(word)).collect::<Vec<_>>());
    let Held { grants: all, has_factor, has_passkey, asked_since } = held(tx, &owner.user).await?;
    if !has_factor && asked_since.is_some_and(|since| since.after(TOKENS_WORK_FOR) <= now) {
        return Err(factor_required().into());
    }
    let grants = match &owner.token.only {
        None => all,
        // Without its client, nothing is left that the token is for.
        Some(only) => match tx.client(&only.client).await? {
            Some(client) => only.part_of(&all, &client.property_id),
            None => Vec::new(),
        },
    };
    Ok(Principal {
        actor: actor(&owner.user),
        grants,
        only: owner.token.only,
        has_factor,
        has_passkey,
        asked_since,
        must_add_factor: false,
        user: owner.user.id,
        origin: origin.clone(),
        limit,
        by: By::Token(owner.token.id, digest.to_vec()),
    })
}

/// Returns the principal of a session that has not ended, and the session itself.
pub(crate) async fn by_session_digest(
    tx: &mut Tx,
    digest: &[u8],
    origin: &Origin,
    now: Timestamp,
) -> Result<(Principal, SessionRow, User), Error> {
    let session = tx.session_by_digest(digest).await?.ok_or_else(signed_out)?;
    let (principal, user) = of_session(tx, &session, digest, (origin, now)).await?;
    Ok((principal, session, user))
}

/// Returns the principal of the session `id`, if it has not ended. Its digest is not known, so it cannot be read again.
pub(crate) async fn by_session_id(
    tx: &mut Tx,
    id: &SessionId,
    origin: &Origin,
    now: Timestamp,
) -> Result<(Principal, User), Error> {
    let session = tx.session(id).await?.ok_or_else(signed_out)?;
    of_session(tx, &session, &[], (origin, now)).await
}

async fn of_session(
    tx: &mut Tx,
    session: &SessionRow,
    digest: &[u8],
    (origin, now): (&Origin, Timestamp),
) -> Result<(Principal, User), Error> {
    if now >= session_limits::ends_at(session) {
        return Err(signed_out());
    }
    let user = tx.user(&session.user_id).await?.ok_or_else(signed_out)?;
    let held = held(tx, &user).await?;
    let principal = Principal {
        actor: actor(&user),
        has_factor: held.has_factor,
        has_passkey: held.has_passkey,
        asked_since: held.asked_since,
        must_add_factor: needs_second_factor(&held, session),
        grants: held.grants,
        user: user.id.clone(),
        origin: origin.clone(),
        limit: None,
        only: None,
        by: By::Session(session.id.clone(), digest.to_vec()),
    };
    Ok((principal, user))
}

pub(crate) fn signed_out() -> Error {
    Problem::new(
        Code::Unauthenticated,
        "You are not signed in, or your session has ended. Sign in and try again.",
    )
    .into()
}

/// Purpose of a request. Known principals are authenticated for a change without waiting for reads.
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

    /// Authenticates an API token sent from `origin`.
    pub async fn authenticate(
        &self,
        token: &str,
        origin: Origin,
        intent: Intent,
    ) -> Result<Principal, Error> {
        let value = SecretValue::parse(SecretKind::ApiToken, token).ok_or_else(unauthenticated)?;
        let digest = self.digests.token(value.reveal());
        let now = self.clock.now();
        let look = async |tx: &mut Tx| by_token_digest(tx, &digest, &origin, now).await;
        let principal = self.look_up(&digest, origin.ip, intent, look).await?;
        if let By::Token(token, _) = &principal.by {
            self.node.touched.note(token, now);
        }
        Ok(principal)
    }
}
