//! API tokens: create (from the machine or the Console), list, end.

use crate::{
    app::App,
    clients::find::find_client,
    error::Error,
    frame::{
        act::Act,
        cursor::{ListQuery, page},
        entry::About,
        principal::Principal,
        request::{NoInput, Request},
        targets::{Names, Target, forbidden},
    },
    people::sessions::Session,
};
use crossfade_core::{
    Code, Operation, Problem, Timestamp, TokenId, UserId,
    api::{self, Page},
    audit::{Actor, Event},
    environment::Slug,
    operations::Access,
    roles::{Object, OneRegistration, Permission},
    secret::{SecretKind, SecretValue},
    text::Name,
};
use crossfade_store::{Client, TokenRow, Tx, User};
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;

/// Input for a new token.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// Owner: an email address, or the id of a user.
    pub user: String,
    /// Name given by its owner.
    pub name: String,
    /// Days until it expires.
    pub expires_days: Option<u32>,
    /// Permissions it is limited to; empty: all permissions of its owner, or [`OneRegistration::PERMISSIONS`] with a
    /// registration.
    pub scope: Vec<String>,
    /// Registration it is limited to.
    pub only: Option<NamedRegistration>,
}

/// A registration as a person names it.
#[derive(Clone, Debug)]
pub struct NamedRegistration {
    /// ID of the client, or its name if no other client has it.
    pub client: String,
    /// Slug of the environment.
    pub environment: String,
}

/// A [`NewToken`] with parsed and validated fields.
pub(super) struct CheckedToken {
    name: Name,
    lives: Option<Duration>,
    scope: Option<Vec<String>>,
}

impl CheckedToken {
    pub(super) fn new(
        name: &str,
        expires_days: Option<u32>,
        scope: &[String],
        only: Option<&NamedRegistration>,
    ) -> Result<Self, Problem> {
        let name = Name::parse("name", name)?;
        let unknown = scope.iter().find(|word| Permission::parse(word).is_none());
        if let Some(unknown) = unknown {
            let words: Vec<&str> = Permission::ALL.iter().map(|permission| permission.as_str()).collect();
            let problem =
                Problem::invalid("scope", &format!("contains {unknown}, which is not a permission"));
            return Err(problem.advise(&format!("The permissions are {}.", words.join(", "))));
        }
        let lives = expires_days.map(|days| Duration::from_secs(u64::from(days) * 86_400));
        let narrow = || OneRegistration::PERMISSIONS.map(|it| it.as_str().to_owned()).to_vec();
        let scope = match (scope, only) {
            ([], None) => None,
            ([], Some(_)) => Some(narrow()),
            _ => Some(scope.to_vec()),
        };
        Ok(Self { name, lives, scope })
    }
}

/// What happens to the API tokens of an account when its person ends the other ways into it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AccountTokens {
    /// All of them end.
    End,
    /// They stay: the person knows that nobody else created one.
    Keep,
}

/// Ends the API tokens of an account. Returns an event for each token that had not expired.
pub(crate) async fn end_tokens_of(
    tx: &mut Tx,
    user: &UserId,
    now: Timestamp,
) -> Result<Vec<(TokenId, Event)>, Error> {
    let mut ended = tx.delete_tokens_of(user, now).await?;
    ended.retain(|token| token.expires_at.is_none_or(|expires_at| now < expires_at));
    ended.sort_by_key(place);
    let event = |TokenRow { id, name, user_id, .. }| (id, Event::TokenDeleted { name, user_id });
    Ok(ended.into_iter().map(event).collect())
}

/// Ends the API tokens of a principal if requested, and records each. Returns their number.
pub(crate) async fn end_own_tokens(
    act: &mut Act<'_>,
    principal: &Principal,
    tokens: AccountTokens,
) -> Result<u64, Error> {
    if tokens == AccountTokens::Keep {
        return Ok(0);
    }
    let ended = end_tokens_of(act.tx, &principal.user, act.now).await?;
    for (id, event) in &ended {
        act.audit(event, About::target(id)).await?;
    }
    Ok(ended.len() as u64)
}

/// Returns the account with this ID or this email address.
async fn named_user(tx: &mut Tx, named: &str) -> Result<User, Error> {
    let user = match UserId::parse(named.trim()) {
        Ok(id) => tx.user(&id).await?,
        Err(_) => tx.user_by_email(&named.trim().to_lowercase()).await?,
    };
    let missing = || Problem::new(Code::NotFound, format!("There is no user {named}.")).with_field("user");
    Ok(user.ok_or_else(missing)?)
}

/// Returns the registration that a person names, among those that `may_read` lets through.
async fn find_registration(
    tx: &mut Tx,
    named: Option<&NamedRegistration>,
    may_read: impl Fn(Object<'_>) -> bool,
) -> Result<Option<OneRegistration>, Error> {
    let Some(named) = named else { return Ok(None) };
    let is_readable = |client: &Client| may_read(Object::Client(&client.property_id, &client.id));
    let client = find_client(tx, "client", &named.client, is_readable).await?;
    let missing =
        || Problem::invalid("environment", "must be an environment in which the client is registered");
    let environment = Slug::parse("environment", named.environment.trim()).map_err(|_| missing())?;
    let object = Object::Registration(&client.property_id, &client.id, &environment);
    if !may_read(object) || tx.registration(&client.id, &environment).await?.is_none() {
        return Err(missing().into());
    }
    Ok(Some(OneRegistration { client: client.id, environment }))
}

fn created(row: TokenRow) -> Event {
    let (client_id, environment) = row.only.map(|only| (only.client, only.environment.to_string())).unzip();
    Event::TokenCreated {
        name: row.name,
        user_id: row.user_id,
        expires_at: row.expires_at,
        scope: row.scope,
        client_id,
        environment,
    }
}

/// Returns the sort key of a token.
fn place(row: &TokenRow) -> (i64, String) {
    (row.created_at.as_micros(), row.id.to_string())
}

fn shown(row: TokenRow) -> api::Token {
    let (client_id, environment) = row.only.map(|only| (only.client, only.environment.to_string())).unzip();
    api::Token {
        client_id,
        environment,
        id: row.id,
        user_id: row.user_id,
        name: row.name,
        scope: row.scope,
        created_at: row.created_at,
        expires_at: row.expires_at,
        // Noted to the minute.
        last_used_at: row.last_used_at.map(|at| at.max(row.created_at)),
    }
}

impl App {
    /// Creates an API token on the server machine and returns its value, only this once.
    pub async fn create_token(&self, new: &NewToken) -> Result<SecretValue, Error> {
        let checked = CheckedToken::new(&new.name, new.expires_days, &new.scope, new.only.as_ref())?;
        let value = SecretValue::generate(SecretKind::ApiToken, self.random.as_ref());
        self.change_as(Actor::machine("token create"), async |act| {
            let user = named_user(act.tx, &new.user).await?;
            let only = find_registration(act.tx, new.only.as_ref(), |_| true).await?;
            let row = self.token_row(&checked, user.id, only, act.now);
            act.tx.insert_token(&row, &self.digests.token(value.reveal())).await?;
            let about = About::target(&row.id);
            act.audit(&created(row), about).await
        })
        .await?;
        Ok(value)
    }

    /// Returns the permissions that an account has on any object, for a local command. Its tokens have no others.
    pub async fn permissions_held_by(&self, user: &str) -> Result<Vec<Permission>, Error> {
        self.read(async |tx| {
            let user = named_user(tx, user).await?;
            let grants = tx.grants(&user.id).await?;
            let is_held =
                |it: &Permission| grants.iter().any(|row| row.grant.role.permissions().contains(it));
            Ok(Permission::ALL.iter().copied().filter(is_held).collect())
        })
        .await
    }

    /// Creates an API token for the signed-in person and returns its value, only this once. A token cannot create a
    /// token.
    pub async fn create_own_token(
        &self,
        session: &Session,
        name: &str,
        expires_days: Option<u32>,
        scope: &[String],
        only: Option<&NamedRegistration>,
    ) -> Result<(api::Token, SecretValue), Error> {
        self.node.unless_quarantined()?;
        let checked = CheckedToken::new(name, expires_days, scope, only)?;
        self.admit_new_token(session)?;
        let value = SecretValue::generate(SecretKind::ApiToken, self.random.as_ref());
        let row = self
            .change_own(&session.principal, async |act, principal| {
                principal.unless_factor_missing()?;
                let may_read = |object: Object<'_>| principal.may(Permission::ClientRead, object);
                let only = find_registration(act.tx, only, may_read).await?;
                let user = act.tx.user(&principal.user).await?.ok_or_else(Problem::not_found)?;
                self.insert_own_token(act, (&checked, only), &user, &value).await
            })
            .await?;
        Ok((shown(row), value))
    }

    /// Refuses a person who creates tokens too fast.
    pub(super) fn admit_new_token(&self, session: &Session) -> Result<(), Problem> {
        if self.new_tokens.admit(session.principal.user(), Instant::now()) {
            return Ok(());
        }
        let text =
            "Your account has created many API tokens lately. Nothing was changed. Try again in 30 seconds.";
        Err(Problem::new(Code::TooManyRequests, text).retry_after(30))
    }

    /// Stores a token of a person, records it, and tells the person.
    pub(super) async fn insert_own_token(
        &self,
        act: &mut Act<'_>,
        (new, only): (&CheckedToken, Option<OneRegistration>),
        user: &User,
        value: &SecretValue,
    ) -> Result<TokenRow, Error> {
        let row = self.token_row(new, user.id.clone(), only, act.now);
        let digest = self.digests.token(value.reveal());
        act.tx.insert_token(&row, &digest).await?;
        self.node.strangers.know(&digest);
        let event = created(row.clone());
        act.audit(&event, About::target(&row.id)).await?;
        let facts = (json!({"account": user.email}), None);
        act.tell_person(self.random.as_ref(), &event, user.email.as_deref(), facts).await?;
        Ok(row)
    }

    fn token_row(
        &self,
        new: &CheckedToken,
        user_id: UserId,
        only: Option<OneRegistration>,
        now: Timestamp,
    ) -> TokenRow {
        TokenRow {
            only,
            id: TokenId::generate(self.random.as_ref()),
            user_id,
            name: new.name.to_string(),
            scope: new.scope.clone(),
            created_at: now,
            expires_at: new.lives.map(|lives| now.after(lives)),
            last_used_at: None,
        }
    }

    /// Returns the tokens of the signed-in person, oldest first.
    pub async fn list_own_tokens(
        &self,
        session: &Session,
        query: &ListQuery,
    ) -> Result<Page<api::Token>, Error> {
        let start = self.cursors.start("own tokens", query)?;
        self.read(async |tx| {
            let principal = session.principal.refreshed(tx, self.clock.now()).await?;
            page(&start, tx.tokens(Some(&principal.user), &start).await?, place, shown)
        })
        .await
    }

    /// Returns the principal's own tokens; for an Owner, everyone's.
    pub async fn list_tokens(
        &self,
        principal: &Principal,
        query: &ListQuery,
    ) -> Result<Page<api::Token>, Error> {
        let start = self.cursors.start("tokens", query)?;
        self.view(Operation::ListTokens, principal, OwnTokens, async |tx, _, owner: Option<UserId>| {
            let rows = tx.tokens(owner.as_ref(), &start).await?;
            page(&start, rows, place, shown)
        })
        .await
    }

    /// Ends one of the principal's own tokens; an Owner can end anyone's.
    pub async fn delete_token(
        &self,
        request: &Request<'_>,
        token: &str,
        input: NoInput<'_>,
    ) -> Result<(), Error> {
        self.change(Operation::DeleteToken, request, OwnToken(token), async |act, _, token: TokenRow| {
            act.matches_list()?;
            input.check()?;
            act.tx.delete_token(&token.id, act.now).await?;
            let about = About::target(&token.id);
            act.audit(&Event::TokenDeleted { name: token.name, user_id: token.user_id }, about).await
        })
        .await
    }
}

/// Target: the principal's own tokens, or everyone's (`None`) for a principal who manages tokens.
#[derive(Clone, Copy)]
struct OwnTokens;

impl Target for OwnTokens {
    type Loaded = Option<UserId>;

    async fn load(&self, _: &mut Tx, principal: &Principal, access: Access) -> Result<Option<UserId>, Error> {
        Ok((!manages(principal, access)).then(|| principal.user.clone()))
    }
}

/// Target: one of the principal's own tokens, or any token for a principal who manages tokens.
#[derive(Clone, Copy)]
struct OwnToken<'a>(&'a str);

impl Target for OwnToken<'_> {
    type Loaded = TokenRow;

    async fn load(&self, tx: &mut Tx, principal: &Principal, access: Access) -> Result<TokenRow, Error> {
        let id = TokenId::parse(self.0).map_err(|_| Problem::not_found())?;
        let token = tx.token(&id).await?.ok_or_else(Problem::not_found)?;
        if manages(principal, access) || principal.may_end_token(&token.id, &token.user_id) {
            Ok(token)
        } else if token.user_id == principal.user {
            // A limited token can end only itself; otherwise anyone who finds it could lock its owner out.
            Err(forbidden(Permission::TokenManage))
        } else {
            Err(Error::hidden())
        }
    }

    fn names(&self) -> Names {
        Names { target: TokenId::parse(self.0).ok().map(String::from), ..Names::default() }
    }
}

fn manages(principal: &Principal, access: Access) -> bool {
    matches!(access, Access::OwnOr(permission) if principal.may(permission, Object::Platform))
}

impl App {
    /// Writes when tokens were last used. Only the worker does this: a read must not cause a write.
    pub(crate) async fn write_token_uses(&self) -> Result<(), Error> {
        let touched = self.node.touched.take(self.clock.now());
        if touched.is_empty() {
            return Ok(());
        }
        let written = self.node.write(async |tx, _| {
            for (token, at) in &touched {
                tx.touch_token(token, *at).await?;
            }
            Ok(())
        });
        let written = written.await;
        if written.is_err() {
            self.node.touched.put_back(&touched);
        }
        written.map(drop)
    }
}
