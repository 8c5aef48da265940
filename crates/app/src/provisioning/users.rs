//! People: create, read, replace, change, delete.

use super::{
    accounts::{Attached, check_domain},
    caller::Provisioner,
    shown::ScimResource,
};
use crate::{
    app::App,
    error::Error,
    frame::{act::Act, entry::About, if_match::IfMatch},
};
use crossfade_core::{
    Code, Problem, ScimUserId,
    audit::{Event, ScimUserFacts},
    scim::{self, MAX_RESOURCES, Operation, ScimType, UserBody, patch_user},
};
use crossfade_store::{Provider, ScimUserRow, Tx, User};
use serde_json::{Map, Value};

/// How a person changes.
#[derive(Clone, Copy, Debug)]
enum Change<'a> {
    Replace(&'a Map<String, Value>),
    Patch(&'a [Operation]),
}

fn facts(body: &UserBody, is_active: bool) -> ScimUserFacts {
    let name = body.name().map(|name| name.to_string()).unwrap_or_default();
    ScimUserFacts {
        user_name: body.user_name.clone(),
        external_id: body.external_id.clone(),
        name,
        active: is_active,
    }
}

pub(super) fn missing() -> Error {
    Problem::new(Code::NotFound, "This provider has no resource with this ID.").into()
}

pub(super) fn unless_overtaken(if_match: IfMatch<'_>, version: i64) -> Result<(), Problem> {
    if if_match.holds(version) {
        return Ok(());
    }
    let text = "The resource has changed since it was read. Nothing was changed. Read it again.";
    Err(Problem::new(Code::PreconditionFailed, text))
}

/// Refuses an `externalId` or a `userName` that another person of the provider has.
async fn check_unique(
    tx: &mut Tx,
    provider: &Provider,
    body: &UserBody,
    own: Option<&ScimUserId>,
) -> Result<(), Error> {
    let is_other = |row: Option<ScimUserRow>| row.is_some_and(|row| own != Some(&row.id));
    for (attribute, found) in [
        ("externalId", tx.scim_user_by_external_id(&provider.id, &body.external_id).await?),
        ("userName", tx.scim_user_by_name(&provider.id, &body.user_name).await?),
    ] {
        if is_other(found) {
            let text = format!("Another person of this provider has this {attribute}. Nothing was changed.");
            return Err(ScimType::Uniqueness.refuse(text).with_field(attribute).into());
        }
    }
    Ok(())
}

impl App {
    /// Returns a person.
    pub async fn read_scim_user(&self, by: &Provisioner, id: &str) -> Result<ScimResource, Error> {
        let id = ScimUserId::parse(id).map_err(|_| missing())?;
        self.provisioned(by, async |tx, provider| {
            let row = tx.scim_user(&provider.id, &id).await?.ok_or_else(missing)?;
            let mut groups = tx.scim_groups_of(&[&id]).await?;
            Ok(self.scim_user_shown(&row, &groups.remove(&id).unwrap_or_default()))
        })
        .await
    }

    /// Creates a person, and their account, unless they linked theirs with the provider before.
    pub async fn create_scim_user(
        &self,
        by: &Provisioner,
        body: &Map<String, Value>,
    ) -> Result<ScimResource, Error> {
        // A restored database may lack the end of this person.
        self.node.unless_quarantined()?;
        let created = self
            .provision(by, async |act, provider| {
                let body = UserBody::read(body, &provider.external_id_claim, true)?;
                check_domain(provider, &body)?;
                check_unique(act.tx, provider, &body, None).await?;
                if act.tx.count_scim_users(&provider.id).await? >= MAX_RESOURCES {
                    let text = format!(
                        "A provider can provision at most {MAX_RESOURCES} people. Nothing was changed."
                    );
                    return Err(ScimType::TooMany.refuse(text).into());
                }
                let attached = match body.active {
                    true => Some(self.attach(act, provider, &body).await?),
                    false => {
                        self.end_linked_account(act, provider, &body).await?;
                        None
                    }
                };
                let row = ScimUserRow {
                    id: ScimUserId::generate(self.random.as_ref()),
                    provider_id: provider.id.clone(),
                    user_id: attached.as_ref().map(|it| it.user.id.clone()),
                    lets_in: attached.as_ref().is_some_and(|it| !it.existed),
                    created_at: act.now,
                    updated_at: act.now,
                    version: 1,
                    body,
                };
                act.tx.insert_scim_user(&row).await?;
                let event = Event::ScimUserCreated {
                    provider_id: provider.id.clone(),
                    user: facts(&row.body, row.body.active),
                    user_id: row.user_id.clone(),
                    account_existed: attached.is_some_and(|it| it.existed),
                };
                act.audit(&event, About::target(&row.id)).await?;
                if let Some(user) = &row.user_id {
                    self.settle_account(act, provider, user).await?;
                }
                Ok(self.scim_user_shown(&row, &[]))
            })
            .await;
        self.noted(by, created).await
    }

    /// Replaces what the provider says of a person.
    pub async fn replace_scim_user(
        &self,
        by: &Provisioner,
        id: &str,
        body: &Map<String, Value>,
        if_match: IfMatch<'_>,
    ) -> Result<ScimResource, Error> {
        self.change_scim_user(by, id, Change::Replace(body), if_match).await
    }

    /// Changes what the provider says of a person.
    pub async fn update_scim_user(
        &self,
        by: &Provisioner,
        id: &str,
        operations: &[Operation],
        if_match: IfMatch<'_>,
    ) -> Result<ScimResource, Error> {
        self.change_scim_user(by, id, Change::Patch(operations), if_match).await
    }

    async fn change_scim_user(
        &self,
        by: &Provisioner,
        id: &str,
        change: Change<'_>,
        if_match: IfMatch<'_>,
    ) -> Result<ScimResource, Error> {
        let id = ScimUserId::parse(id).map_err(|_| missing())?;
        let changed = self
            .provision(by, async |act, provider| {
                let mut row = act.tx.scim_user(&provider.id, &id).await?.ok_or_else(missing)?;
                unless_overtaken(if_match, row.version)?;
                let claim = &provider.external_id_claim;
                let body = match change {
                    Change::Replace(body) => UserBody::read(body, claim, row.body.active)?,
                    Change::Patch(operations) => patch_user(&row.body, operations, claim)?,
                };
                if body != row.body {
                    self.apply_change(act, provider, &mut row, body).await?;
                }
                let mut groups = act.tx.scim_groups_of(&[&id]).await?;
                Ok(self.scim_user_shown(&row, &groups.remove(&id).unwrap_or_default()))
            })
            .await;
        self.noted(by, changed).await
    }

    async fn apply_change(
        &self,
        act: &mut Act<'_>,
        provider: &Provider,
        row: &mut ScimUserRow,
        body: UserBody,
    ) -> Result<(), Error> {
        // A quarantine does not keep a leaver in.
        if body.active {
            self.node.unless_quarantined()?;
        }
        if body.user_name != row.body.user_name {
            check_domain(provider, &body)?;
        }
        check_unique(act.tx, provider, &body, Some(&row.id)).await?;
        let before = facts(&row.body, row.user_id.is_some());
        let account = match &row.user_id {
            Some(id) => act.tx.user(id).await?,
            None => None,
        };
        let mut is_new = false;
        match (account, body.active) {
            (Some(user), false) => {
                self.end_account_of(act, &user).await?;
                (row.user_id, row.lets_in) = (None, false);
            }
            (Some(user), true) => {
                if body.external_id != row.body.external_id {
                    self.end_other_identity(act, provider, &user, &body.external_id).await?;
                    // Whoever is meant now did not get the roles of this account, and links it as its person or not at all.
                    row.lets_in = false;
                }
                let is_renamed = body.user_name != row.body.user_name || body.name()? != row.body.name()?;
                if is_renamed {
                    // What a manager has set since stays, unless the provider changes that part itself.
                    let mut wanted = body.clone();
                    if body.user_name == row.body.user_name {
                        wanted.user_name = user.email.clone().unwrap_or_default();
                    }
                    if body.name()? == row.body.name()? {
                        wanted.details.display_name = Some(user.name.clone());
                    }
                    self.rename(act, provider, user, &wanted, row.lets_in).await?;
                }
            }
            (None, true) => {
                check_domain(provider, &body)?;
                let Attached { user, existed } = self.attach(act, provider, &body).await?;
                (row.user_id, row.lets_in, is_new) = (Some(user.id), !existed, true);
            }
            (None, false) => {
                self.end_linked_account(act, provider, &body).await?;
                (row.user_id, row.lets_in) = (None, false);
            }
        }
        row.body = UserBody { active: row.user_id.is_some(), ..body };
        row.updated_at = act.now;
        act.tx.update_scim_user(row).await?;
        row.version += 1;
        let event = Event::ScimUserUpdated {
            provider_id: provider.id.clone(),
            before,
            after: facts(&row.body, row.body.active),
            user_id: row.user_id.clone(),
        };
        act.audit(&event, About::target(&row.id)).await?;
        match &row.user_id {
            Some(user) if is_new => self.settle_account(act, provider, user).await,
            _ => Ok(()),
        }
    }

    /// Deletes the account that a person has linked with the provider before it provisioned them, because they are not active
    /// there. If only the address is known, whose account it is cannot be told, and the provider must not take it for deleted.
    async fn end_linked_account(
        &self,
        act: &mut Act<'_>,
        provider: &Provider,
        body: &UserBody,
    ) -> Result<(), Error> {
        let Some(own) = act.tx.identity_by_external_id(&provider.id, &body.external_id).await? else {
            return match act.tx.user_by_email(&body.user_name).await? {
                Some(_) => {
                    let text = "An account has this userName as its address, and is not known by this externalId. Nothing was changed. If the person has left, delete the account here.";
                    Err(ScimType::Uniqueness.refuse(text).with_field("userName").into())
                }
                None => Ok(()),
            };
        };
        match act.tx.user(&own.user_id).await? {
            Some(user) => self.end_account_of(act, &user).await,
            None => Ok(()),
        }
    }

    /// Unlinks an account from the provider, if it is linked with somebody else there than its person is from now on.
    async fn end_other_identity(
        &self,
        act: &mut Act<'_>,
        provider: &Provider,
        user: &User,
        external_id: &str,
    ) -> Result<(), Error> {
        let own = act.tx.identity_by_external_id(&provider.id, external_id).await?;
        if own.is_some_and(|own| own.user_id == user.id) {
            return Ok(());
        }
        if act.tx.delete_identity(&user.id, &provider.id).await? {
            let event = Event::IdentityUnlinked {
                user_id: user.id.clone(),
                provider_id: provider.id.clone(),
                provider_name: provider.name.to_string(),
            };
            act.audit(&event, About::target(&user.id)).await?;
        }
        self.end_provider_sessions(act, &provider.id, Some((user, None))).await.map(drop)
    }

    /// Deletes a person and their account.
    pub async fn delete_scim_user(
        &self,
        by: &Provisioner,
        id: &str,
        if_match: IfMatch<'_>,
    ) -> Result<(), Error> {
        let id = ScimUserId::parse(id).map_err(|_| missing())?;
        let deleted = self
            .provision(by, async |act, provider| {
                let row = act.tx.scim_user(&provider.id, &id).await?.ok_or_else(missing)?;
                unless_overtaken(if_match, row.version)?;
                if let Some(account) = &row.user_id
                    && let Some(user) = act.tx.user(account).await?
                {
                    self.end_account_of(act, &user).await?;
                }
                act.tx.delete_scim_user(&row.id, act.now).await?;
                let user = facts(&row.body, row.user_id.is_some());
                let event = Event::ScimUserDeleted { provider_id: provider.id.clone(), user };
                act.audit(&event, About::target(&row.id)).await
            })
            .await;
        self.noted(by, deleted).await
    }

    /// Records a kept account, and says a race of two requests in the words of the standard.
    pub(super) async fn noted<T>(&self, by: &Provisioner, result: Result<T, Error>) -> Result<T, Error> {
        let Err(mut error) = result else { return result };
        self.record_kept(by, &error).await;
        if error.problem.code == Code::NameTaken && !error.problem.members.contains_key(scim::SCIM_TYPE) {
            error.problem = ScimType::Uniqueness
                .refuse("Another request has just created something with this value. Nothing was changed.");
        }
        Err(error)
    }
}
