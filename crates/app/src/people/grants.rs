//! Roles of users: grant, list, remove.

use crate::{
    app::App,
    error::Error,
    frame::{
        act::Act,
        cursor::{ListQuery, page},
        entry::About,
        idempotency::Repeatable,
        principal::Principal,
        request::{Input, NoInput, Request},
        targets::forbidden,
    },
    people::{
        giving::{closes_account, may_change_roles_of, may_give, may_give_role, missing},
        users::{Account, UserPath},
    },
};
use crossfade_core::{
    Code, GrantId, Operation, Problem, UserId,
    api::{self, CreateGrant, Page},
    audit::{Event, GrantFacts},
    environment::{MAX_ENVIRONMENTS, Slug},
    roles::{Grant, Object, Permission, Role, Scope},
};
use crossfade_store::GrantRow;

impl Repeatable for api::Grant {
    async fn may_have_values(
        &self,
        act: &mut Act<'_>,
        principal: &Principal,
        _: Operation,
    ) -> Result<bool, Error> {
        // The link opens the whole account, and not this one role alone.
        let Some(row) = act.tx.grant(&self.id).await? else { return Ok(false) };
        let held = act.tx.grants(&row.user_id).await?;
        Ok(principal.may(Permission::UserManage, Object::Platform)
            && missing(act.tx, principal.holding(), &held).await?.is_none())
    }

    fn take_values(&mut self) -> Vec<String> {
        self.activation_link.as_mut().and_then(|link| link.url.take()).into_iter().collect()
    }

    fn put_values(&mut self, values: Vec<String>) {
        if let Some(link) = &mut self.activation_link {
            link.url = values.into_iter().next();
        }
    }
}

/// Returns a grant as the API shows it.
pub(crate) fn shown_grant(row: &GrantRow) -> api::Grant {
    let (property_id, client_id) = match &row.grant.scope {
        Scope::Platform => (None, None),
        Scope::Property(property) => (Some(property.clone()), None),
        Scope::Client(client) => (None, Some(client.clone())),
    };
    let words = |list: &Vec<Slug>| list.iter().map(ToString::to_string).collect();
    api::Grant {
        id: row.id.clone(),
        role: row.grant.role,
        property_id,
        client_id,
        environments: row.grant.environments.as_ref().map(words),
        provider_id: row.source.as_ref().map(|source| source.provider.clone()),
        group: row.source.as_ref().map(|source| source.group.clone()),
        created_at: row.created_at,
        activation_link: None,
    }
}

pub(crate) fn holds_owner(grants: &[GrantRow]) -> bool {
    grants.iter().any(|row| row.grant.role == Role::Owner)
}

impl App {
    /// Returns the grants of a user, oldest first.
    pub async fn list_grants(
        &self,
        principal: &Principal,
        path: UserPath<'_>,
        query: &ListQuery,
    ) -> Result<Page<api::Grant>, Error> {
        let start = self.cursors.start(format!("grants {}", path.0), query)?;
        self.view(Operation::ListGrants, principal, path, async |tx, _, account| {
            let rows = tx.grant_page(&account.user.id, &start).await?;
            let key = |row: &GrantRow| (row.created_at.as_micros(), row.id.to_string());
            page(&start, rows, key, |row| shown_grant(&row))
        })
        .await
    }

    /// Grants a role to a user.
    pub async fn create_grant(
        &self,
        request: &Request<'_>,
        path: UserPath<'_>,
        input: Input<'_, CreateGrant>,
    ) -> Result<api::Grant, Error> {
        self.change(Operation::CreateGrant, request, path, async |act, principal, account: Account| {
            may_change_roles_of(act.tx, principal, &account.user.id).await?;
            act.matches_list()?;
            let body = input.read()?;
            may_give_role(principal, body.role)?;
            let grant = grant_from(act, &body).await?;
            may_give(act.tx, principal, &grant).await?;
            if account.grants.iter().any(|row| row.grant == grant && row.source.is_none()) {
                let text = "The user already has this role in this scope. Nothing was changed.";
                return Err(Problem::new(Code::AlreadyGranted, text).into());
            }
            let id = GrantId::generate(self.random.as_ref());
            let row =
                GrantRow { id, user_id: account.user.id.clone(), grant, source: None, created_at: act.now };
            act.tx.insert_grant(&row).await?;
            let mut shown = shown_grant(&row);
            let facts: GrantFacts = shown.clone().into();
            let event = Event::GrantCreated { user_id: account.user.id.clone(), grant: facts.clone() };
            act.audit(&event, About::target(&account.user.id)).await?;
            let closes = closes_account(act.tx, &account.user, &account.grants, &row.grant).await?;
            self.tell_of_grant(act, &event, &account.user, &facts, closes).await?;
            if closes {
                shown.activation_link = self.deactivate(act, principal, &account.user).await?;
            }
            Ok(shown)
        })
        .await
    }

    /// Removes a role. Takes effect on the user's next request.
    pub async fn delete_grant(
        &self,
        request: &Request<'_>,
        path: UserPath<'_>,
        grant: &str,
        input: NoInput<'_>,
    ) -> Result<(), Error> {
        self.change(Operation::DeleteGrant, request, path, async |act, principal, account: Account| {
            let id = GrantId::parse(grant).map_err(|_| Problem::not_found())?;
            let row = account.grants.iter().find(|row| row.id == id).ok_or_else(Problem::not_found)?;
            may_change_roles_of(act.tx, principal, &account.user.id).await?;
            if row.grant.role == Role::Owner && !principal.may(Permission::OwnerManage, Object::Platform) {
                return Err(forbidden(Permission::OwnerManage));
            }
            act.matches_list()?;
            input.check()?;
            unless_by_group(act, row).await?;
            self.keep_an_owner(act, &account.user.id, std::slice::from_ref(row)).await?;
            act.tx.delete_grant(&row.id).await?;
            let facts: GrantFacts = shown_grant(row).into();
            let event = Event::GrantDeleted { user_id: account.user.id.clone(), grant: facts.clone() };
            act.audit(&event, About::target(&account.user.id)).await?;
            self.tell_of_grant(act, &event, &account.user, &facts, false).await
        })
        .await
    }

    /// Refuses to remove these grants from a user if no other person would be an Owner, or if no other Owner could sign in
    /// with a password while passwords are off.
    pub(crate) async fn keep_an_owner(
        &self,
        act: &mut Act<'_>,
        user: &UserId,
        going: &[GrantRow],
    ) -> Result<(), Error> {
        if holds_owner(going) && !act.tx.owners().await?.iter().any(|owner| owner.id != *user) {
            let text = "An instance must have at least one Owner. Nothing was changed. Grant Owner to \
                another person first.";
            return Err(Problem::new(Code::LastOwner, text).into());
        }
        if holds_owner(going) { self.keep_break_glass(act, user).await } else { Ok(()) }
    }

    /// Ends the grants limited to an object that is being deleted.
    pub(crate) async fn end_grants_on(&self, act: &mut Act<'_>, scope: &Scope) -> Result<(), Error> {
        for row in act.tx.grants_on(scope).await? {
            act.tx.delete_grant(&row.id).await?;
            let event = Event::GrantDeleted { user_id: row.user_id.clone(), grant: shown_grant(&row).into() };
            act.audit(&event, About::target(&row.user_id)).await?;
        }
        Ok(())
    }
}

/// Refuses to remove a role that a group gives: the next sign-in would give it again. One that a provider left behind is as any
/// other.
async fn unless_by_group(act: &mut Act<'_>, row: &GrantRow) -> Result<(), Error> {
    let Some(source) = &row.source else { return Ok(()) };
    let provider = act.tx.provider(&source.provider).await?;
    let Some(provider) = provider.filter(|provider| provider.disabled_at.is_none()) else { return Ok(()) };
    let text = format!(
        "The group {} of {} gives this role. Nothing was changed. Remove the person from the group, or the role from the group \
        at the provider's page.",
        source.group, provider.name
    );
    Err(Problem::new(Code::GivenByGroup, text).into())
}

/// Returns the requested grant, on existing objects.
pub(crate) async fn grant_from(act: &mut Act<'_>, body: &CreateGrant) -> Result<Grant, Error> {
    let scope = match (&body.property_id, &body.client_id) {
        (None, None) => Scope::Platform,
        (Some(property), None) => {
            let there = act.tx.property(property).await?.is_some();
            there
                .then(|| Scope::Property(property.clone()))
                .ok_or_else(|| Problem::invalid("property_id", "must be the id of a property"))?
        }
        (None, Some(client)) => {
            let there = act.tx.client(client).await?.is_some();
            there
                .then(|| Scope::Client(client.clone()))
                .ok_or_else(|| Problem::invalid("client_id", "must be the id of a client"))?
        }
        (Some(_), Some(_)) => {
            return Err(Problem::invalid("client_id", "must be omitted when property_id is set").into());
        }
    };
    let environments = match &body.environments {
        None => None,
        Some(list) => Some(environments_from(act, list).await?),
    };
    body.role
        .fits(&scope, environments.is_some())
        .map_err(|what| Problem::invalid("role", &format!("{} {what}", body.role.as_str())))?;
    Ok(Grant { role: body.role, scope, environments })
}

/// Returns the named environments, each once, in their order.
async fn environments_from(act: &mut Act<'_>, list: &[String]) -> Result<Vec<Slug>, Error> {
    let known: Vec<Slug> = act.tx.environments().await?.into_iter().map(|it| it.slug).collect();
    let is_known = |text: &String| known.iter().any(|slug| slug.as_str() == text);
    if list.len() > MAX_ENVIRONMENTS {
        let text = format!("must contain at most {MAX_ENVIRONMENTS} entries");
        return Err(Problem::invalid("environments", &text).into());
    }
    if list.is_empty() || !list.iter().all(is_known) {
        let names: Vec<&str> = known.iter().map(Slug::as_str).collect();
        let text = format!(
            "must contain at least one of {} and nothing else, or be omitted for all environments",
            names.join(", ")
        );
        return Err(Problem::invalid("environments", &text).into());
    }
    Ok(known.into_iter().filter(|slug| list.iter().any(|text| text == slug.as_str())).collect())
}
