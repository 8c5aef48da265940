//! What provisioning does to accounts: creates, finds, changes and deletes them.

use super::caller::Provisioner;
use crate::{
    app::App,
    error::Error,
    frame::{act::Act, entry::About},
    people::{
        grants::holds_owner,
        hand_over::{follow_address_of, hand_over_ended},
    },
};
use crossfade_core::{
    Code, Problem, UserId,
    account::Passwords,
    api::UserKind,
    audit::{Event, UserFacts},
    provider::{GroupsFrom, is_in_domains},
    scim::{ScimType, UserBody},
};
use crossfade_store::{Provider, User};
use serde_json::json;

/// Member of a problem that names the account that was kept.
pub(super) const KEPT: &str = "kept_account";

/// The account of a person who becomes active.
pub(super) struct Attached {
    pub(super) user: User,
    /// Whether the account existed.
    pub(super) existed: bool,
}

fn facts(user: &User) -> UserFacts {
    UserFacts { name: user.name.clone(), email: user.email.clone() }
}

fn address_taken(provider: &Provider) -> Problem {
    let text = format!(
        "Another account has this userName as its address. Nothing was changed. The person signs in to that account and links it with \
         {} on the account page. Then it is found by its externalId.",
        provider.name
    );
    ScimType::Uniqueness.refuse(text).with_field("userName")
}

/// Refuses an address outside the domains of the provider.
pub(super) fn check_domain(provider: &Provider, body: &UserBody) -> Result<(), Problem> {
    if is_in_domains(&body.user_name, &provider.domains) {
        return Ok(());
    }
    let text = match provider.domains.is_empty() {
        true => "The provider has no email domains here, so it can provision nobody. Nothing was changed. Add its domains to the \
            settings of the provider."
            .to_owned(),
        false => format!(
            "userName must be an email address in one of the domains {}. Nothing was changed.",
            provider.domains.join(", ")
        ),
    };
    Err(ScimType::InvalidValue.refuse(text).with_field("userName"))
}

impl App {
    /// Finds the account of a person who becomes active, by who they are at the provider and never by the address alone, or
    /// creates it.
    pub(super) async fn attach(
        &self,
        act: &mut Act<'_>,
        provider: &Provider,
        body: &UserBody,
    ) -> Result<Attached, Error> {
        let identity = act.tx.identity_by_external_id(&provider.id, &body.external_id).await?;
        if let Some(identity) = identity {
            let missing = || Error::internal("an identity without account");
            let user = act.tx.user(&identity.user_id).await?.ok_or_else(missing)?;
            if act.tx.scim_user_of(&provider.id, &user.id).await?.is_some() {
                let text = "Another person of this provider has the account that this externalId signs in to. Nothing was changed.";
                return Err(ScimType::Uniqueness.refuse(text).with_field("externalId").into());
            }
            let user = self.rename(act, provider, user, body, true).await?;
            return Ok(Attached { user, existed: true });
        }
        if act.tx.user_by_email(&body.user_name).await?.is_some() {
            return Err(address_taken(provider).into());
        }
        let user = User {
            id: UserId::generate(self.random.as_ref()),
            kind: UserKind::Person,
            email: Some(body.user_name.clone()),
            name: body.name()?.to_string(),
            password_hash: None,
            created_at: act.now,
            created_by: None,
            version: 1,
        };
        act.tx.insert_user(&user).await?;
        let UserFacts { name, email } = facts(&user);
        act.audit(&Event::UserCreated { kind: user.kind, name, email }, About::target(&user.id)).await?;
        Ok(Attached { user, existed: false })
    }

    /// Gives an account the name and the address of its person. `is_own`: whether the provider itself says who signs in to the
    /// account, so that its identity stays one of this person.
    pub(super) async fn rename(
        &self,
        act: &mut Act<'_>,
        provider: &Provider,
        mut user: User,
        body: &UserBody,
        is_own: bool,
    ) -> Result<User, Error> {
        let before = facts(&user);
        // A provider that says no name keeps the one that the account has.
        let name = match body.details.said_name() {
            Some(_) => body.name()?.to_string(),
            None => user.name.clone(),
        };
        let has_other_address = user.email.as_ref() != Some(&body.user_name);
        if user.name == name && !has_other_address {
            return Ok(user);
        }
        if has_other_address {
            let other = act.tx.user_by_email(&body.user_name).await?;
            if other.is_some_and(|other| other.id != user.id) {
                return Err(address_taken(provider).into());
            }
            if self.is_break_glass(act, &user).await? {
                return Err(kept(&user, "break_glass").into());
            }
            // As when a manager changes the address: a link that went to the earlier one opens nothing, and whoever signed in
            // another way may be another person.
            act.tx.end_links(&user.id).await?;
            act.tx.disown_identities(&user.id, is_own.then_some(&provider.id)).await?;
            follow_address_of(act, self.random.as_ref(), &user, &body.user_name).await?;
        }
        user.name = name;
        user.email = Some(body.user_name.clone());
        act.tx.update_user(&user).await?;
        let earlier = before.email.clone().filter(|_| has_other_address);
        let event = Event::UserUpdated { before, after: facts(&user) };
        act.audit(&event, About::target(&user.id)).await?;
        let told = (json!({"account": earlier}), None);
        act.tell_person(self.random.as_ref(), &event, earlier.as_deref(), told).await?;
        Ok(user)
    }

    /// Deletes the account of a person who is not active any more: its sessions, tokens, links, identities and roles end, and
    /// its clients are handed over. An account without which nobody could manage the instance is kept.
    pub(super) async fn end_account_of(&self, act: &mut Act<'_>, user: &User) -> Result<(), Error> {
        let grants = act.tx.grants(&user.id).await?;
        let has_other_owner = act.tx.owners().await?.iter().any(|owner| owner.id != user.id);
        if holds_owner(&grants) && !has_other_owner {
            return Err(kept(user, "last_owner").into());
        }
        if self.is_break_glass(act, user).await? {
            return Err(kept(user, "break_glass").into());
        }
        self.end_account(act, user, &grants).await?;
        hand_over_ended(act, self.random.as_ref(), user).await
    }

    /// Whether an account is one of the Owners who can sign in with a password when no provider works.
    async fn is_break_glass(&self, act: &mut Act<'_>, user: &User) -> Result<bool, Error> {
        let policy = act.tx.sign_in_policy().await?;
        Ok(policy.passwords == Passwords::BreakGlass && policy.break_glass.contains(&user.id))
    }

    /// Gives an account the roles of its provisioned groups, if the provider gives roles by them.
    pub(super) async fn settle_account(
        &self,
        act: &mut Act<'_>,
        provider: &Provider,
        user: &UserId,
    ) -> Result<(), Error> {
        if provider.groups_from != GroupsFrom::Provisioning {
            return Ok(());
        }
        let Some(user) = act.tx.user(user).await? else { return Ok(()) };
        let groups = act.tx.scim_group_names(&provider.id, &user.id).await?;
        if self.node.unless_quarantined().is_err() {
            return self.take_group_roles(act, provider, &user, &groups).await;
        }
        self.settle_groups(act, provider, &user, &groups, None).await
    }

    /// Records that an account was kept, if that is why a change was refused. The change itself was rolled back.
    pub(super) async fn record_kept(&self, by: &Provisioner, error: &Error) {
        let Some(account) = error.problem.members.get(KEPT).and_then(|it| it.as_str()) else { return };
        let Ok(user_id) = UserId::parse(account) else { return };
        let cause = if error.problem.code == Code::LastOwner { "last_owner" } else { "break_glass" };
        let recorded = async {
            let provider = self.read(async |tx| Ok(tx.provider(&by.id).await?)).await?;
            let Some(provider) = provider else { return Ok(()) };
            tracing::warn!(account = %user_id, provider = %provider.id, cause, "kept an account that its provider deactivates");
            let event = Event::UserKept {
                provider_id: provider.id.clone(),
                user_id: user_id.clone(),
                cause: cause.to_owned(),
            };
            let author = self.author_of(by, &provider);
            self.change_as(author, async |act| act.audit_refused(&event, About::target(&user_id)).await).await
        };
        let recorded: Result<(), Error> = recorded.await;
        if let Err(error) = recorded {
            tracing::warn!(%error.problem, "cannot write a kept account to the audit trail");
        }
    }
}

fn kept(user: &User, cause: &str) -> Problem {
    let (code, text) = match cause {
        "last_owner" => (
            Code::LastOwner,
            "The account is that of the last Owner. Nothing was changed. Grant Owner to another person first.",
        ),
        _ => (
            Code::InUse,
            "The account is that of an Owner who can sign in with a password when no provider works. Nothing was changed. Remove it \
             from the sign-in policy first.",
        ),
    };
    Problem::new(code, text).with(KEPT, user.id.as_str())
}
