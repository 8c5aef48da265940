//! Roles by groups: at each sign-in, an account has exactly those that its groups give.

use crate::{
    app::App,
    error::Error,
    frame::{act::Act, entry::About},
    people::{giving::closes_account, grants::shown_grant},
};
use crossfade_core::{
    GrantId, SessionId,
    audit::{Event, GrantFacts},
    roles::Grant,
};
use crossfade_store::{GrantRow, GrantSource, Provider, User};

impl App {
    /// Gives an account the roles of its groups, and removes those of groups that it is no longer in. `session` is the one
    /// that is being confirmed, which does not end.
    pub(crate) async fn settle_groups(
        &self,
        act: &mut Act<'_>,
        provider: &Provider,
        user: &User,
        groups: &[String],
        session: Option<&SessionId>,
    ) -> Result<(), Error> {
        let given: Vec<_> = self
            .grants_of_groups(act, &provider.group_grants)
            .await?
            .into_iter()
            .filter(|(group, _)| groups.contains(group))
            .collect();
        let held = act.tx.grants(&user.id).await?;
        let (own, mut all): (Vec<GrantRow>, Vec<GrantRow>) = (
            held.iter()
                .filter(|row| row.source.as_ref().is_some_and(|it| it.provider == provider.id))
                .cloned()
                .collect(),
            held,
        );
        let is_given = |row: &GrantRow| {
            let group = row.source.as_ref().map(|source| source.group.as_str());
            given.iter().any(|(of, grant)| Some(of.as_str()) == group && *grant == row.grant)
        };
        let mut kept: Vec<Grant> =
            own.iter().filter(|row| is_given(row)).map(|row| row.grant.clone()).collect();
        // First what is given, so that an Owner whose group was renamed is one all the time.
        for (group, grant) in &given {
            if kept.contains(grant) {
                continue;
            }
            kept.push(grant.clone());
            let row = GrantRow {
                id: GrantId::generate(self.random.as_ref()),
                user_id: user.id.clone(),
                grant: grant.clone(),
                source: Some(GrantSource { provider: provider.id.clone(), group: group.clone() }),
                created_at: act.now,
            };
            act.tx.insert_grant(&row).await?;
            let facts: GrantFacts = shown_grant(&row).into();
            let event = Event::GrantCreated { user_id: user.id.clone(), grant: facts.clone() };
            act.audit(&event, About::target(&user.id)).await?;
            // Others may have kept a way into an account that they made (docs/decisions/0010). The provider is none of theirs.
            let closes = closes_account(act.tx, user, &all, grant).await?;
            let had_other_ways = closes && self.close_but_for(act, user, provider, session).await?;
            self.tell_of_grant(act, &event, user, &facts, had_other_ways).await?;
            all.push(row);
        }
        for row in own.iter().filter(|row| !is_given(row)) {
            self.end_group_grant(act, provider, row).await?;
        }
        Ok(())
    }

    /// Removes the roles of groups that an account is no longer in, and gives none.
    pub(crate) async fn take_group_roles(
        &self,
        act: &mut Act<'_>,
        provider: &Provider,
        user: &User,
        groups: &[String],
    ) -> Result<(), Error> {
        for row in act.tx.grants(&user.id).await? {
            let is_left =
                |source: &GrantSource| source.provider == provider.id && !groups.contains(&source.group);
            if row.source.as_ref().is_some_and(is_left) {
                self.end_group_grant(act, provider, &row).await?;
            }
        }
        Ok(())
    }

    /// Ends every way into an account but for that of a provider. If there was another one, somebody else may have been in the
    /// account, so its sessions and API tokens end, too. Returns whether there was.
    async fn close_but_for(
        &self,
        act: &mut Act<'_>,
        user: &User,
        provider: &Provider,
        session: Option<&SessionId>,
    ) -> Result<bool, Error> {
        // A link that was not used has let nobody in yet.
        act.tx.end_links(&user.id).await?;
        let ended_identities = act.tx.delete_linked_identities(&user.id, Some(&provider.id)).await?;
        // Someone else may have added them, and the person could not sign in with a password of their own.
        let names = act.tx.remove_factors(&user.id).await?;
        let had_factors = !names.is_empty();
        if had_factors {
            let user_id = user.id.clone();
            let event = Event::FactorRemoved { user_id, names, ended_sessions: 0, ended_tokens: 0 };
            act.audit(&event, About::target(&user.id)).await?;
        }
        if user.password_hash.is_none() && ended_identities == 0 && !had_factors {
            return Ok(false);
        }
        let had_password = act.tx.clear_password(&user.id).await?;
        let ended_sessions = act.tx.end_sessions(&user.id, session, act.now).await?;
        let ended_tokens = self.end_tokens(act, &user.id).await?;
        let event = Event::UserDeactivated { had_password, ended_sessions, ended_tokens, ended_identities };
        act.audit(&event, About::target(&user.id)).await?;
        Ok(true)
    }
}
