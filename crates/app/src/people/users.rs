//! Accounts of people and programs.

use crate::{
    app::App,
    error::Error,
    frame::{
        act::Act,
        cursor::{ListQuery, page},
        entry::About,
        idempotency::Repeatable,
        principal::Principal,
        request::{Input, Request},
        targets::{Names, Platform, Target, forbidden},
        versioned::Versioned,
    },
    messages::personal::MailedLink,
    people::{
        giving::{missing, within_reach},
        grants::{holds_owner, shown_grant},
        hand_over::confirm_user,
        sessions::Session,
        tokens::end_tokens_of,
    },
    providers::identities::unlink_linked,
};
use crossfade_core::{
    Code, Operation, Problem, UserId,
    api::{self, CreateLink, CreateUser, DeleteUser, Page, RemoveFactors, UpdateUser, UserKind},
    audit::{Event, UserFacts},
    operations::Access,
    roles::{Object, Permission},
    text::{self, Name, Reason},
};
use crossfade_store::{GrantRow, Tx, User};
use serde_json::json;

/// A user by its id, as sent.
#[derive(Clone, Copy, Debug)]
pub struct UserPath<'a>(pub &'a str);

/// A user with its roles.
pub(crate) struct Account {
    pub(crate) user: User,
    pub(crate) grants: Vec<GrantRow>,
    pub(crate) identities: Vec<api::Identity>,
    pub(crate) has_factor: bool,
}

impl Account {
    fn facts(&self) -> UserFacts {
        UserFacts { name: self.user.name.clone(), email: self.user.email.clone() }
    }

    pub(crate) fn shown(&self) -> api::User {
        api::User {
            id: self.user.id.clone(),
            kind: self.user.kind,
            name: self.user.name.clone(),
            email: self.user.email.clone(),
            activated: self.user.password_hash.is_some(),
            second_factor: self.has_factor,
            created_at: self.user.created_at,
            grants: self.grants.iter().map(shown_grant).collect(),
            identities: self.identities.clone(),
            activation_link: None,
        }
    }
}

/// An account that the principal can take over. The target checks this, and not the use case, so that a repeated
/// request is refused, too.
#[derive(Clone, Copy)]
struct WithinReach<'a>(UserPath<'a>);

impl Target for WithinReach<'_> {
    type Loaded = Account;

    async fn load(&self, tx: &mut Tx, principal: &Principal, access: Access) -> Result<Account, Error> {
        let account = self.0.load(tx, principal, access).await?;
        within_reach(tx, &account.grants, principal).await?;
        Ok(account)
    }

    fn names(&self) -> Names {
        self.0.names()
    }
}

/// Another account that the principal can take over, and what the principal cannot do to the own account instead. A link
/// to it would let the holder of a stolen session or token back in after its end, without the password.
#[derive(Clone, Copy)]
struct AnotherWithinReach<'a>(UserPath<'a>, &'static str);

impl Target for AnotherWithinReach<'_> {
    type Loaded = Account;

    async fn load(&self, tx: &mut Tx, principal: &Principal, access: Access) -> Result<Account, Error> {
        let account = WithinReach(self.0).load(tx, principal, access).await?;
        if account.user.id == principal.user {
            let text =
                format!("You cannot {}. Nothing was changed. Use the account page of the Console.", self.1);
            return Err(Problem::new(Code::Forbidden, text).into());
        }
        Ok(account)
    }

    fn names(&self) -> Names {
        self.0.names()
    }
}

impl Target for UserPath<'_> {
    type Loaded = Account;

    async fn load(&self, tx: &mut Tx, principal: &Principal, access: Access) -> Result<Account, Error> {
        let id = UserId::parse(self.0).map_err(|_| Problem::not_found())?;
        crate::frame::targets::check(principal, access, Permission::UserRead, Object::Platform)?;
        let user = tx.user(&id).await?.ok_or_else(Problem::not_found)?;
        let (grants, identities) = (tx.grants(&user.id).await?, tx.identities(&user.id).await?);
        let has_factor = tx.factor_standing(&user.id).await?.has_factor;
        Ok(Account { user, grants, identities, has_factor })
    }

    fn names(&self) -> Names {
        Names { target: UserId::parse(self.0).ok().map(String::from), ..Names::default() }
    }
}

impl Repeatable for Versioned<api::User> {
    async fn may_have_values(
        &self,
        act: &mut Act<'_>,
        principal: &Principal,
        _: Operation,
    ) -> Result<bool, Error> {
        let grants = act.tx.grants(&self.object.id).await?;
        Ok(missing(act.tx, principal.holding(), &grants).await?.is_none())
    }

    fn take_values(&mut self) -> Vec<String> {
        self.object.activation_link.as_mut().and_then(|link| link.url.take()).into_iter().collect()
    }

    fn put_values(&mut self, values: Vec<String>) {
        if let (Some(link), Some(url)) = (&mut self.object.activation_link, values.into_iter().next()) {
            link.url = Some(url);
        }
    }
}

impl Repeatable for api::FactorsRemoved {
    fn is_change(&self) -> bool {
        self.removed_count > 0
    }
}

impl Repeatable for api::OneTimeLink {
    fn take_values(&mut self) -> Vec<String> {
        self.url.take().into_iter().collect()
    }

    fn put_values(&mut self, values: Vec<String>) {
        self.url = values.into_iter().next();
    }
}

/// Maximum length of a search in characters; SQLite limits the length of a pattern.
const LONGEST_SEARCH: usize = 200;

fn email_taken() -> Problem {
    Problem::new(Code::NameTaken, "Another user already has this email address. Nothing was changed.")
        .with_field("email")
}

impl App {
    /// Returns the account of the principal, and what its token is limited to.
    pub async fn read_me(&self, principal: &Principal) -> Result<api::Me, Error> {
        self.view(Operation::ReadMe, principal, Platform, async |tx, principal, ()| {
            let user = tx.user(&principal.user).await?.ok_or_else(Problem::not_found)?;
            // A token of one registration is for a program, which has no use for the roles of the account.
            let grants = if principal.only().is_some() { Vec::new() } else { tx.grants(&user.id).await? };
            let has_factor = tx.factor_standing(&user.id).await?.has_factor;
            // Who the person is elsewhere is for those who read accounts; the account page shows one's own.
            let account = Account { grants, user, identities: Vec::new(), has_factor };
            let words = |limit: &[Permission]| limit.iter().map(|it| it.as_str().to_owned()).collect();
            Ok(api::Me {
                user: account.shown(),
                scope: principal.limit().map(words),
                token_id: principal.token().cloned(),
                client_id: principal.only().map(|only| only.client.clone()),
                environment: principal.only().map(|only| only.environment.to_string()),
            })
        })
        .await
    }

    /// Returns the accounts, oldest first; `q` is part of a name or of an email address.
    pub async fn list_users(
        &self,
        principal: &Principal,
        q: Option<&str>,
        query: &ListQuery,
    ) -> Result<Page<api::User>, Error> {
        let start = self.cursors.start("users", query)?;
        if q.is_some_and(|q| q.chars().count() > LONGEST_SEARCH) {
            let text = format!("q must be at most {LONGEST_SEARCH} characters long.");
            return Err(Problem::new(Code::InvalidQuery, text).with_field("q").into());
        }
        let q = q.map(str::trim).filter(|q| !q.is_empty());
        let _turns = self.costly(Operation::ListUsers, principal).await?;
        self.view(Operation::ListUsers, principal, Platform, async |tx, _, ()| {
            let users = tx.users(q, &start).await?;
            let ids = users.iter().map(|it| &it.id).collect::<Vec<_>>();
            let (mut grants, mut identities) = (tx.grants_of(&ids).await?, tx.identities_of(&ids).await?);
            let with_factor = tx.with_factor(&ids).await?;
            let account = |user: User| Account {
                grants: grants.remove(&user.id).unwrap_or_default(),
                identities: identities.remove(&user.id).unwrap_or_default(),
                has_factor: with_factor.contains(&user.id),
                user,
            };
            let accounts = users.into_iter().map(account).collect();
            let key = |it: &Account| (it.user.created_at.as_micros(), it.user.id.to_string());
            page(&start, accounts, key, |account| account.shown())
        })
        .await
    }

    /// Returns an account and its version.
    pub async fn read_user(
        &self,
        principal: &Principal,
        path: UserPath<'_>,
    ) -> Result<Versioned<api::User>, Error> {
        self.view(Operation::ReadUser, principal, path, async |_, _, account| {
            Ok(Versioned::new(account.shown(), account.user.version))
        })
        .await
    }

    /// Creates a person, with a link to set a password, or a program.
    pub async fn create_user(
        &self,
        request: &Request<'_>,
        input: Input<'_, CreateUser>,
    ) -> Result<Versioned<api::User>, Error> {
        self.change(Operation::CreateUser, request, Platform, async |act, principal, ()| {
            act.matches_list()?;
            let body = input.read()?;
            let kind = body.kind.unwrap_or(UserKind::Person);
            let email = match (kind, &body.email) {
                (UserKind::Person, Some(email)) => Some(text::email("email", email)?),
                (UserKind::Person, None) => {
                    return Err(
                        Problem::invalid("email", "is required for a person, who signs in with it").into()
                    );
                }
                (UserKind::Program, None) => None,
                (UserKind::Program, Some(_)) => {
                    return Err(Problem::invalid(
                        "email",
                        "must be omitted for a program, which does not sign in",
                    )
                    .into());
                }
            };
            let name = match (&body.name, &email) {
                (Some(name), _) => Name::parse("name", name)?,
                (None, Some(email)) => Name::parse("email", email.split('@').next().unwrap_or(email))?,
                (None, None) => return Err(Problem::invalid("name", "is required").into()),
            };
            free_email(act, email.as_deref(), None).await?;
            if kind == UserKind::Person {
                self.unless_many_messages(principal, 1)?;
            }
            let user = User {
                id: UserId::generate(self.random.as_ref()),
                kind,
                email,
                name: name.to_string(),
                password_hash: None,
                created_at: act.now,
                created_by: Some(principal.user.clone()),
                version: 1,
            };
            act.tx.insert_user(&user).await?;
            let account = Account { user, grants: Vec::new(), identities: Vec::new(), has_factor: false };
            let UserFacts { name, email } = account.facts();
            act.audit(&Event::UserCreated { kind, name, email }, About::target(&account.user.id)).await?;
            let mut reply = account.shown();
            if kind == UserKind::Person {
                reply.activation_link =
                    Some(self.make_link(act, principal, &account.user, MailedLink::Invitation).await?);
            }
            Ok(Versioned::new(reply, account.user.version))
        })
        .await
    }

    /// Changes the name or the email address of an account.
    pub async fn update_user(
        &self,
        request: &Request<'_>,
        path: UserPath<'_>,
        input: Input<'_, UpdateUser>,
    ) -> Result<Versioned<api::User>, Error> {
        self.change(
            Operation::UpdateUser,
            request,
            WithinReach(path),
            async |act, principal, mut account: Account| {
                act.matches(account.user.version)?;
                let body = input.read()?;
                let before = account.facts();
                if let Some(name) = &body.name {
                    account.user.name = Name::parse("name", name)?.to_string();
                }
                if let Some(email) = &body.email {
                    let email = text::email("email", email)?;
                    if account.user.kind == UserKind::Program {
                        return Err(Problem::invalid(
                            "email",
                            "must be omitted for a program, which does not sign in",
                        )
                        .into());
                    }
                    free_email(act, Some(&email), Some(&account.user.id)).await?;
                    if account.user.email.as_ref() != Some(&email) {
                        // A link that went to the wrong address must not open the account of the right one.
                        act.tx.end_links(&account.user.id).await?;
                        // And who signed in with a provider may be another person than the one of this address.
                        act.tx.disown_identities(&account.user.id, None).await?;
                        let confirmed = body.confirm_user_name.as_deref();
                        self.follow_address(act, principal, &account.user, &email, confirmed).await?;
                    }
                    account.user.email = Some(email);
                }
                act.tx.update_user(&account.user).await?;
                let earlier = before.email.clone().filter(|_| before.email != account.user.email);
                let event = Event::UserUpdated { before, after: account.facts() };
                act.audit(&event, About::target(&account.user.id)).await?;
                let facts = (json!({"account": earlier}), None);
                act.tell_person(self.random.as_ref(), &event, earlier.as_deref(), facts).await?;
                Ok(Versioned::new(account.shown(), account.user.version + 1))
            },
        )
        .await
    }

    /// Changes the name of the signed-in person.
    pub async fn update_own_name(&self, session: &Session, name: &str) -> Result<(), Error> {
        self.node.unless_quarantined()?;
        let name = Name::parse("name", name)?.to_string();
        self.change_own(&session.principal, async |act, principal| {
            let mut user = act.tx.user(&principal.user).await?.ok_or_else(Problem::not_found)?;
            if user.name == name {
                return Ok(());
            }
            let facts = |user: &User| UserFacts { name: user.name.clone(), email: user.email.clone() };
            let before = facts(&user);
            user.name = name.clone();
            act.tx.update_user(&user).await?;
            let event = Event::UserUpdated { before, after: facts(&user) };
            act.audit(&event, About::target(&user.id)).await
        })
        .await
    }

    /// Deletes an account: its sessions, tokens, links and grants end now. Its clients are handed over.
    pub async fn delete_user(
        &self,
        request: &Request<'_>,
        path: UserPath<'_>,
        input: Input<'_, DeleteUser>,
    ) -> Result<api::HandedOver, Error> {
        self.change(Operation::DeleteUser, request, path, async |act, principal, account: Account| {
            // Taking rights away hands no secret out; but only an Owner may remove an Owner.
            if holds_owner(&account.grants) && !principal.may(Permission::OwnerManage, Object::Platform) {
                return Err(forbidden(Permission::OwnerManage));
            }
            act.matches(account.user.version)?;
            let body = input.read()?;
            let chosen = self.chosen_owner(act, &account.user, body.hand_over_to.as_deref()).await?;
            let confirmed = body.confirm_user_name.as_deref();
            if chosen.is_some() || confirmed.is_some() {
                confirm_user(&account.user, confirmed)?;
            }
            self.keep_an_owner(act, &account.user.id, &account.grants).await?;
            self.end_account(act, &account.user, &account.grants).await?;
            self.hand_over(act, principal, &account.user, chosen.as_deref(), confirmed).await
        })
        .await
    }

    /// Deletes an account with everything that lets in to it, and records that. Its clients are not handed over yet.
    pub(crate) async fn end_account(
        &self,
        act: &mut Act<'_>,
        user: &User,
        grants: &[GrantRow],
    ) -> Result<(), Error> {
        self.end_tokens(act, &user.id).await?;
        act.tx.delete_user(&user.id, act.now).await?;
        let grants = grants.iter().map(|row| shown_grant(row).into()).collect();
        let event = Event::UserDeleted { name: user.name.clone(), email: user.email.clone(), grants };
        act.audit(&event, About::target(&user.id)).await
    }

    /// Creates a one-time link with which a person sets a password. It replaces any earlier link.
    pub async fn create_link(
        &self,
        request: &Request<'_>,
        path: UserPath<'_>,
        input: Input<'_, CreateLink>,
    ) -> Result<api::OneTimeLink, Error> {
        let target = AnotherWithinReach(path, "create a link to your own account");
        self.change(Operation::CreateLink, request, target, async |act, principal, account: Account| {
            act.matches(account.user.version)?;
            let CreateLink {} = input.read()?;
            if account.user.kind == UserKind::Program {
                let text = "Programs have no password. Create an API token instead: crossfade token create.";
                return Err(Problem::new(Code::NotAPerson, text).into());
            }
            self.unless_many_messages(principal, 1)?;
            let how = MailedLink::to_account(&account.grants, principal);
            self.make_link(act, principal, &account.user, how).await
        })
        .await
    }

    /// Ends every way into an account before it gets a role that closes it. Until now every manager of users could get
    /// into the account, and may have kept a way in (docs/decisions/0010). A person gets in again with the link, which
    /// only this principal sees.
    pub(crate) async fn deactivate(
        &self,
        act: &mut Act<'_>,
        principal: &Principal,
        user: &User,
    ) -> Result<Option<api::OneTimeLink>, Error> {
        act.tx.end_links(&user.id).await?;
        let had_password = act.tx.clear_password(&user.id).await?;
        // Someone else may have added them, and the person could not sign in with their own password.
        let names = act.tx.remove_factors(&user.id).await?;
        if !names.is_empty() {
            let user_id = user.id.clone();
            let event = Event::FactorRemoved { user_id, names, ended_sessions: 0, ended_tokens: 0 };
            act.audit(&event, About::target(&user.id)).await?;
        }
        let ended_sessions = act.tx.end_sessions(&user.id, None, act.now).await?;
        let ended_tokens = self.end_tokens(act, &user.id).await?;
        // Anyone who was in the account can have linked it with an identity of theirs.
        let ended_identities = act.tx.delete_linked_identities(&user.id, None).await?;
        if had_password || ended_sessions + ended_tokens + ended_identities > 0 {
            let event =
                Event::UserDeactivated { had_password, ended_sessions, ended_tokens, ended_identities };
            act.audit(&event, About::target(&user.id)).await?;
        }
        let may_link = principal.may(Permission::UserManage, Object::Platform);
        match user.kind {
            UserKind::Person if may_link => {
                Ok(Some(self.make_link(act, principal, user, MailedLink::Withheld).await?))
            }
            UserKind::Person | UserKind::Program => Ok(None),
        }
    }

    /// Removes every second factor of another person who has lost them, and ends every session, API token and link.
    pub async fn remove_factors(
        &self,
        request: &Request<'_>,
        path: UserPath<'_>,
        input: Input<'_, RemoveFactors>,
    ) -> Result<api::FactorsRemoved, Error> {
        let target = AnotherWithinReach(path, "remove the second factors of your own account this way");
        self.change(Operation::RemoveFactors, request, target, async |act, principal, account: Account| {
            act.matches(account.user.version)?;
            let body = input.read()?;
            let reason = Reason::parse(body.reason.as_deref())?;
            if account.user.kind == UserKind::Program {
                let text = "Programs have no second factor. Nothing was changed.";
                return Err(Problem::new(Code::NotAPerson, text).into());
            }
            self.unless_many_messages(principal, 1)?;
            self.end_factors(act, &account.user, Some(reason.as_str())).await
        })
        .await
    }

    /// Removes every second factor of an account, and ends its sessions, API tokens and links. Does nothing if there is
    /// none. The person is told.
    pub(crate) async fn end_factors(
        &self,
        act: &mut Act<'_>,
        user: &User,
        reason: Option<&str>,
    ) -> Result<api::FactorsRemoved, Error> {
        // Whoever added a factor may have linked a provider, too.
        let unlinked = unlink_linked(act, user).await?;
        let names = act.tx.remove_factors(&user.id).await?;
        if names.is_empty() && unlinked == 0 {
            return Ok(api::FactorsRemoved { removed_count: 0, ended_sessions: 0, ended_tokens: 0 });
        }
        act.tx.end_links(&user.id).await?;
        let ended_sessions = act.tx.end_sessions(&user.id, None, act.now).await?;
        let ended_tokens = self.end_tokens(act, &user.id).await?;
        let removed_count = names.len() as u64;
        let event = Event::FactorRemoved { user_id: user.id.clone(), names, ended_sessions, ended_tokens };
        act.audit(&event, About { reason, ..About::target(&user.id) }).await?;
        self.tell_of_factor(act, &event, user).await?;
        Ok(api::FactorsRemoved { removed_count, ended_sessions, ended_tokens })
    }

    /// Ends the API tokens of an account, and records each. Returns their number.
    pub(crate) async fn end_tokens(&self, act: &mut Act<'_>, user: &UserId) -> Result<u64, Error> {
        let ended = end_tokens_of(act.tx, user, act.now).await?;
        for (id, event) in &ended {
            act.audit(event, About::target(id)).await?;
        }
        Ok(ended.len() as u64)
    }

    async fn make_link(
        &self,
        act: &mut Act<'_>,
        principal: &Principal,
        user: &User,
        how: MailedLink,
    ) -> Result<api::OneTimeLink, Error> {
        act.tx.end_devices(&user.id).await?;
        let link = self.insert_password_link(act.tx, &user.id, principal, act.now).await?;
        let event = Event::LinkCreated { user_id: user.id.clone(), expires_at: link.expires_at };
        act.audit(&event, About::target(&user.id)).await?;
        let mailed = self.tell_of_link(act, user, &link, how).await?;
        Ok(api::OneTimeLink { url: Some(link.url), expires_at: link.expires_at, mailed })
    }
}

async fn free_email(act: &mut Act<'_>, email: Option<&str>, own: Option<&UserId>) -> Result<(), Error> {
    let Some(email) = email else { return Ok(()) };
    match act.tx.user_by_email(email).await? {
        Some(other) if own != Some(&other.id) => Err(email_taken().into()),
        _ => Ok(()),
    }
}
