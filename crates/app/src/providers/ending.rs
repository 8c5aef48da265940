//! Ends what a provider has begun: sessions, and the roles that its groups gave.

use super::fields::grant_of;
use crate::{
    app::App,
    error::Error,
    frame::{act::Act, entry::About, principal::Principal},
    people::{
        giving::{may_give, may_give_role},
        grants::{grant_from, shown_grant},
    },
};
use crossfade_core::{
    ProviderId, SessionId,
    api::GroupGrant,
    audit::Event,
    roles::{Grant, Role},
};
use crossfade_store::{GrantRow, Provider, User};

impl App {
    /// Ends the sessions that were begun with a provider, or those of one account. Returns their number.
    pub(crate) async fn end_provider_sessions(
        &self,
        act: &mut Act<'_>,
        provider: &ProviderId,
        of: Option<(&User, Option<&SessionId>)>,
    ) -> Result<u64, Error> {
        let (account, except) = of.map_or((None, None), |(user, except)| (Some(&user.id), except));
        let mut ended = 0;
        for session in act.tx.provider_sessions(provider, account, None).await? {
            if except == Some(&session.id) {
                continue;
            }
            if act.tx.end_session(&session.id, &session.user_id, act.now).await? {
                act.tx.end_links_by_session(&session.id).await?;
                ended += 1;
            }
        }
        Ok(ended)
    }

    /// Removes the roles that groups of a provider gave, except those that `kept` still gives.
    pub(super) async fn end_provider_grants(
        &self,
        act: &mut Act<'_>,
        provider: &Provider,
        kept: &[GroupGrant],
    ) -> Result<(), Error> {
        let kept = self.grants_of_groups(act, kept).await?;
        for row in act.tx.grants_by_provider(&provider.id).await? {
            let group = row.source.as_ref().map(|source| source.group.as_str());
            if !kept.iter().any(|(of, grant)| Some(of.as_str()) == group && *grant == row.grant) {
                self.end_group_grant(act, provider, &row).await?;
            }
        }
        Ok(())
    }

    /// Removes a role that a group gave, unless its person is the last Owner.
    pub(super) async fn end_group_grant(
        &self,
        act: &mut Act<'_>,
        provider: &Provider,
        row: &GrantRow,
    ) -> Result<(), Error> {
        let facts: crossfade_core::audit::GrantFacts = shown_grant(row).into();
        if row.grant.role == Role::Owner && self.is_last_owner(act, row).await? {
            let event = Event::GrantKept { user_id: row.user_id.clone(), grant: facts };
            tracing::warn!(account = %row.user_id, provider = %provider.id, "kept the role of the last Owner, who is no longer in its group");
            return act.audit(&event, About::target(&row.user_id)).await;
        }
        act.tx.delete_grant(&row.id).await?;
        let event = Event::GrantDeleted { user_id: row.user_id.clone(), grant: facts.clone() };
        act.audit(&event, About::target(&row.user_id)).await?;
        match act.tx.user(&row.user_id).await? {
            Some(user) => self.tell_of_grant(act, &event, &user, &facts, false).await,
            None => Ok(()),
        }
    }

    /// Whether nobody would be an Owner without this grant.
    async fn is_last_owner(&self, act: &mut Act<'_>, row: &GrantRow) -> Result<bool, Error> {
        let others = act.tx.owners().await?.iter().any(|owner| owner.id != row.user_id);
        let held = act.tx.grants(&row.user_id).await?;
        let has_another = held.iter().any(|it| it.id != row.id && it.grant.role == Role::Owner);
        Ok(!others && !has_another)
    }

    /// Returns the roles that groups give, each with its group. An entry about something that was deleted gives nothing.
    pub(super) async fn grants_of_groups(
        &self,
        act: &mut Act<'_>,
        list: &[GroupGrant],
    ) -> Result<Vec<(String, Grant)>, Error> {
        let mut grants = Vec::new();
        for entry in list {
            match grant_from(act, &grant_of(entry)).await {
                Ok(grant) => grants.push((entry.group.clone(), grant)),
                Err(error) if error.is_about_input() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(grants)
    }

    /// Returns the entries of a list that was stored before, if the principal could grant the role of each.
    pub(crate) async fn still_giveable(
        &self,
        act: &mut Act<'_>,
        principal: &Principal,
        list: &[GroupGrant],
    ) -> Result<Vec<GroupGrant>, Error> {
        for (_, grant) in self.grants_of_groups(act, list).await? {
            may_give_role(principal, grant.role)?;
            may_give(act.tx, principal, &grant).await?;
        }
        Ok(list.to_vec())
    }
}
