//! One-time links, with which people set their passwords, and the commands on the server machine for the first Owner
//! and for locked-out Owners.

use crate::{
    app::App,
    error::Error,
    frame::{
        act::Act,
        entry::{About, Author},
        principal::{self, Principal},
    },
    people::{
        giving,
        sessions::{Visitor, author_in},
        sign_in::SignIn,
        sign_in_policy::accepts_password,
        tokens::end_tokens_of,
    },
    providers::identities::unlink_linked,
};
use crossfade_core::{
    Code, GrantId, Problem, SessionId, Timestamp, UserId,
    api::UserKind,
    audit::{Actor, Event},
    giving::Holding,
    roles::{Grant, Object, Permission, Role, Scope},
    secret::{SecretKind, SecretValue},
    text::{self, Name},
};
use crossfade_store::{GrantRow, Link, LinkPurpose, Maker, StoreError, Tx, User};
use serde_json::json;
use std::{net::IpAddr, sync::atomic::Ordering, time::Duration};

/// How long a one-time link is valid.
const LINK_LIVES: Duration = Duration::from_secs(24 * 3600);

/// A link that works once.
pub struct OneTimeLink {
    /// The complete URL. Anyone who has it can use it.
    pub url: String,
    /// When it expires.
    pub expires_at: Timestamp,
}

/// What happens to the second factors of an Owner who is recovered on the server machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OwnerFactors {
    /// They stay: the Owner has lost only the password.
    Keep,
    /// All of them are removed.
    Remove,
}

/// What a link allows, for the page it leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkKind {
    /// Create the first Owner.
    SetUp,
    /// Set the password of this account.
    Password {
        /// Its email address.
        email: String,
    },
}

impl App {
    /// Whether the platform has an Owner. The last one cannot be removed, so this is checked only until there is one.
    pub async fn has_owner(&self) -> Result<bool, Error> {
        if self.has_owner.load(Ordering::Relaxed) {
            return Ok(true);
        }
        let found = self.look_up_for(None, async |tx| Ok(!tx.owners().await?.is_empty())).await?;
        self.has_owner.store(found, Ordering::Relaxed);
        Ok(found)
    }

    /// Creates the first Owner. Refused if there already is one.
    pub async fn create_owner(&self, email: &str, password: &str) -> Result<UserId, Error> {
        let email = text::email("email", email)?;
        let place = self.node.hashing.known("machine")?;
        let hash = self.hash_password(place, password, &[&email]).await?;
        let owner =
            self.change_as(Actor::machine("init"), async |act| self.insert_owner(act, &email, &hash).await);
        let owner = owner.await?;
        Ok(owner.id)
    }

    async fn insert_owner(&self, act: &mut Act<'_>, email: &str, hash: &str) -> Result<User, Error> {
        if !act.tx.owners().await?.is_empty() {
            return Err(Problem::new(
                Code::InUse,
                "This instance already has an Owner. Nothing was changed. To recover a locked-out Owner, use \
                crossfade owner recover.",
            )
            .into());
        }
        let name = email.split('@').next().unwrap_or(email);
        let user = User {
            id: UserId::generate(self.random.as_ref()),
            kind: UserKind::Person,
            email: Some(email.to_owned()),
            name: Name::parse("email", name)?.to_string(),
            password_hash: Some(hash.to_owned()),
            created_at: act.now,
            created_by: None,
            version: 1,
        };
        act.tx.insert_user(&user).await?;
        let grant = Grant { role: Role::Owner, scope: Scope::Platform, environments: None };
        let id = GrantId::generate(self.random.as_ref());
        let row = GrantRow { id, user_id: user.id.clone(), grant, source: None, created_at: act.now };
        act.tx.insert_grant(&row).await?;
        let event = Event::OwnerCreated { email: email.to_owned() };
        act.audit(&event, About::target(&user.id)).await?;
        Ok(user)
    }

    /// Creates a link for creating the first Owner. It replaces any earlier link.
    pub async fn create_set_up_link(&self) -> Result<OneTimeLink, Error> {
        self.node
            .transact(async |tx, now| {
                self.insert_link(tx, LinkPurpose::SetUp, None, Maker::default(), now).await
            })
            .await
    }

    /// Creates a link with which a locked-out Owner sets a new password. If requested, removes the Owner's second factors,
    /// and ends the sessions and API tokens.
    pub async fn recover_owner(&self, email: &str, factors: OwnerFactors) -> Result<OneTimeLink, Error> {
        let email = text::email("email", email)?;
        self.change_as(Actor::machine("owner recover"), async |act| {
            let owners = act.tx.owners().await?;
            let Some(owner) = owners.iter().find(|owner| owner.email.as_deref() == Some(&email)) else {
                // The address may have been changed. Anyone who reads this output can also read the database.
                let known: Vec<&str> = owners.iter().filter_map(|owner| owner.email.as_deref()).collect();
                let text = format!(
                    "No Owner has the email address {email}. Owners: {}.",
                    if known.is_empty() { "none".to_owned() } else { known.join(", ") }
                );
                return Err(Problem::new(Code::NotFound, text).with_field("email").into());
            };
            let event = Event::OwnerRecovered { email: email.clone() };
            act.audit(&event, About::target(&owner.id)).await?;
            if factors == OwnerFactors::Remove {
                self.end_factors(act, owner, None).await?;
            }
            let user = Some(owner.id.clone());
            self.insert_link(act.tx, LinkPurpose::Password, user, Maker::default(), act.now).await
        })
        .await
    }

    /// Creates a link with which a person sets a password. It replaces any earlier link. It ends with its creator's
    /// permission, and with the session or token it was created with.
    pub(crate) async fn insert_password_link(
        &self,
        tx: &mut Tx,
        user: &UserId,
        maker: &Principal,
        now: Timestamp,
    ) -> Result<OneTimeLink, Error> {
        let maker = Maker {
            account: Some(maker.user.clone()),
            scope: maker.limit_words(),
            session: maker.session().cloned(),
            token: maker.token().cloned(),
        };
        self.insert_link(tx, LinkPurpose::Password, Some(user.clone()), maker, now).await
    }

    async fn insert_link(
        &self,
        tx: &mut Tx,
        purpose: LinkPurpose,
        user: Option<UserId>,
        maker: Maker,
        now: Timestamp,
    ) -> Result<OneTimeLink, Error> {
        let value = SecretValue::generate(SecretKind::Link, self.random.as_ref());
        let link = Link { purpose, user_id: user, maker, expires_at: now.after(LINK_LIVES) };
        tx.insert_link(&link, &self.digests.link(value.reveal()), now).await?;
        // Behind the `#`: a browser sends it to no server and writes it to no log of a proxy.
        let url = format!("{}/console/link#{}", self.admin_url, value.reveal());
        Ok(OneTimeLink { url, expires_at: link.expires_at })
    }

    /// Returns what a link allows, if it can still be used. `address` is the source of the request.
    pub async fn read_link(&self, value: &str, address: Option<IpAddr>) -> Result<LinkKind, Error> {
        SecretValue::parse(SecretKind::Link, value).ok_or_else(gone)?;
        let now = self.clock.now();
        self.look_up_for(address, async |tx| {
            let Usable { link, user, .. } = self.usable_link(tx, value, now).await?;
            Ok(match (link.purpose, user) {
                (LinkPurpose::SetUp, _) => LinkKind::SetUp,
                (LinkPurpose::Password, user) => {
                    LinkKind::Password { email: user.and_then(|user| user.email).unwrap_or_default() }
                }
            })
        })
        .await
    }

    /// Uses a link: creates the first Owner or sets the password of the account, and signs in, or asks for the code of the
    /// second factor. Does so in one transaction, because a role granted in between would find the account closed while a
    /// sign-in is still to come.
    pub async fn use_link(
        &self,
        value: &str,
        email: Option<&str>,
        password: &str,
        visitor: &Visitor,
    ) -> Result<SignIn, Error> {
        // Checked first, so that a request without a valid link cannot make the server hash.
        let kind = self.read_link(value, visitor.origin.ip).await?;
        let email = match (&kind, email) {
            (LinkKind::SetUp, email) => text::email("email", email.unwrap_or_default())?,
            (LinkKind::Password { email }, _) => email.clone(),
        };
        // The link proves that this is a known person.
        let place = self.node.hashing.known(&email)?;
        let hash = self.hash_password(place, password, &[&email]).await?;
        self.node
            .transact(async |tx, now| {
                let Usable { link, user, by_owner } = self.usable_link(tx, value, now).await?;
                tx.use_link(&self.digests.link(value), now).await?;
                let session = SessionId::generate(self.random.as_ref());
                let user = match user {
                    None => {
                        let server = Author::from(Actor::machine("serve")).at(&visitor.origin);
                        self.insert_owner(&mut Act::new(tx, now, server), &email, &hash).await?
                    }
                    Some(user) => {
                        // One that was made on the machine is the way back in, and one of an Owner the way to link a provider.
                        let has_provider = !by_owner || tx.has_usable_identity(&user.id).await?;
                        if link.maker.account.is_some() && has_provider && !accepts_password(tx, &user.id).await? {
                            let text = "Passwords are switched off here. Nothing was changed. Sign in with a provider.";
                            return Err(Problem::new(Code::Forbidden, text).into());
                        }
                        tx.set_password(&user.id, &hash).await?;
                        tx.set_entered_by(&user.id, &link.maker).await?;
                        if by_owner {
                            tx.forget_earlier_makers(&user.id).await?;
                        }
                        // End all existing sessions and tokens.
                        let ended_sessions = tx.end_sessions(&user.id, None, now).await?;
                        // Anyone who was in the account can have linked it with an identity of theirs.
                        let policy = Author::from(Actor::policy("links", "One-time links")).at(&visitor.origin);
                        unlink_linked(&mut Act::new(tx, now, policy), &user).await?;
                        let mut events: Vec<(String, Event)> = end_tokens_of(tx, &user.id, now)
                            .await?
                            .into_iter()
                            .map(|(id, event)| (id.to_string(), event))
                            .collect();
                        let ended_tokens = events.len() as u64;
                        events.push((
                            user.id.to_string(),
                            Event::UserActivated { ended_sessions, ended_tokens },
                        ));
                        // The link ends with its use, so the session that begins with it names the way in. With a
                        // second factor, none begins yet.
                        let author = match tx.factor_standing(&user.id).await?.has_factor {
                            true => Author::from(principal::actor(&user)).at(&visitor.origin),
                            false => author_in(&session, &user, visitor),
                        };
                        let mut act = self.act(tx, now, author);
                        for (target, event) in &events {
                            act.audit(event, About::target(target)).await?;
                        }
                        if let Some((_, event)) = events.last() {
                            let facts = json!({"account": user.email, "source_ip": visitor.origin.stored});
                            let email = user.email.as_deref();
                            act.tell_person(self.random.as_ref(), event, email, (facts, None)).await?;
                        }
                        user
                    }
                };
                let mut act = self.act(tx, now, author_in(&session, &user, visitor));
                self.note_network(&mut act, &user, visitor).await?;
                // A new password removes no second factor: the code is asked for, as after any other sign-in.
                self.begin_or_ask(&mut act, session, &user, visitor).await
            })
            .await
    }

    async fn usable_link(&self, tx: &mut Tx, value: &str, now: Timestamp) -> Result<Usable, Error> {
        SecretValue::parse(SecretKind::Link, value).ok_or_else(gone)?;
        let link = tx.link(&self.digests.link(value), now).await?.ok_or_else(gone)?;
        let user = match &link.user_id {
            Some(id) => Some(tx.user(id).await?.ok_or_else(gone)?),
            None => None,
        };
        let by_owner = match (&link.maker.account, &user) {
            (Some(maker), Some(user)) => {
                may_still_make(tx, &link, maker, &user.id).await?.ok_or_else(gone)?
            }
            _ => true,
        };
        Ok(Usable { link, user, by_owner })
    }
}

/// A usable link.
struct Usable {
    link: Link,
    user: Option<User>,
    /// Whether the link was created by an Owner or on the server machine.
    by_owner: bool,
}

fn gone() -> Problem {
    Problem::new(Code::NotFound, "This link is invalid, used or expired. Ask for a new one.")
}

/// Returns whether the creator of a link is an Owner, if the creator could still create the link with a token of the
/// same limit.
async fn may_still_make(
    tx: &mut Tx,
    link: &Link,
    maker: &UserId,
    account: &UserId,
) -> Result<Option<bool>, StoreError> {
    let grants = giving::grants_of(tx, maker).await?;
    let limit = link.maker.scope.as_deref().map(giving::permissions);
    let holding = Holding { grants: &grants, limit: limit.as_deref() };
    let held = tx.grants(account).await?;
    let may = holding.allows(Permission::UserManage, Object::Platform)
        && giving::missing(tx, holding, &held).await?.is_none();
    Ok(may.then(|| holding.allows(Permission::OwnerManage, Object::Platform)))
}
