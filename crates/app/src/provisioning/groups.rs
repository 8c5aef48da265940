//! Groups: create, read, replace, change, delete. The roles that they give are settled in the same transaction.

use super::{
    caller::Provisioner,
    shown::ScimResource,
    users::{missing, unless_overtaken},
};
use crate::{
    app::App,
    error::Error,
    frame::{act::Act, entry::About, if_match::IfMatch},
};
use crossfade_core::{
    ScimGroupId, ScimUserId, UserId,
    audit::Event,
    scim::{GroupBody, MAX_MEMBERS, MAX_RESOURCES, MemberChange, Operation, ScimType, patch_group},
};
use crossfade_store::{Provider, ScimGroupRow, ScimMemberRow, Tx};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Number of members that an event names.
const MOST_NAMED: usize = 100;

/// Refuses a name that another group of the provider has.
async fn check_unique(
    tx: &mut Tx,
    provider: &Provider,
    name: &str,
    own: Option<&ScimGroupId>,
) -> Result<(), Error> {
    let found = tx.scim_group_by_name(&provider.id, name).await?;
    if found.is_some_and(|found| own != Some(&found.id)) {
        let text = "Another group of this provider has this displayName. Nothing was changed.";
        return Err(ScimType::Uniqueness.refuse(text).with_field("displayName").into());
    }
    Ok(())
}

/// Refuses members whom the provider does not provision, and too many.
async fn check_members(
    tx: &mut Tx,
    provider: &Provider,
    added: &BTreeSet<ScimUserId>,
    total: usize,
) -> Result<(), Error> {
    if total > MAX_MEMBERS {
        let text = format!("A group can have at most {MAX_MEMBERS} members. Nothing was changed.");
        return Err(ScimType::TooMany.refuse(text).into());
    }
    let added: Vec<ScimUserId> = added.iter().cloned().collect();
    if tx.count_known_scim_users(&provider.id, &added).await? != added.len() {
        let text =
            "members must contain only IDs of people whom this provider provisions. Nothing was changed.";
        return Err(ScimType::InvalidValue.refuse(text).with_field("members").into());
    }
    Ok(())
}

fn named(ids: &BTreeSet<ScimUserId>) -> Vec<ScimUserId> {
    ids.iter().take(MOST_NAMED).cloned().collect()
}

impl App {
    /// Returns a group, with its members if they are wanted.
    pub async fn read_scim_group(
        &self,
        by: &Provisioner,
        id: &str,
        with_members: bool,
    ) -> Result<ScimResource, Error> {
        let id = ScimGroupId::parse(id).map_err(|_| missing())?;
        self.provisioned(by, async |tx, provider| {
            let row = tx.scim_group(&provider.id, &id).await?.ok_or_else(missing)?;
            let members = if with_members { members(tx, &id).await? } else { Vec::new() };
            Ok(self.scim_group_shown(&row, &members))
        })
        .await
    }

    /// Creates a group.
    pub async fn create_scim_group(
        &self,
        by: &Provisioner,
        body: &Map<String, Value>,
    ) -> Result<ScimResource, Error> {
        self.node.unless_quarantined()?;
        let created = self
            .provision(by, async |act, provider| {
                let (body, listed) = GroupBody::read(body)?;
                check_unique(act.tx, provider, &body.name, None).await?;
                if act.tx.count_scim_groups(&provider.id).await? >= MAX_RESOURCES {
                    let text = format!(
                        "A provider can provision at most {MAX_RESOURCES} groups. Nothing was changed."
                    );
                    return Err(ScimType::TooMany.refuse(text).into());
                }
                let added: BTreeSet<ScimUserId> = listed.unwrap_or_default().into_iter().collect();
                check_members(act.tx, provider, &added, added.len()).await?;
                let row = ScimGroupRow {
                    id: ScimGroupId::generate(self.random.as_ref()),
                    provider_id: provider.id.clone(),
                    body,
                    created_at: act.now,
                    updated_at: act.now,
                    version: 1,
                };
                act.tx.insert_scim_group(&row).await?;
                act.tx.add_scim_members(&row.id, &added.iter().cloned().collect::<Vec<_>>(), act.now).await?;
                let event = Event::ScimGroupCreated {
                    provider_id: provider.id.clone(),
                    name: row.body.name.clone(),
                    members: added.len() as u64,
                };
                act.audit(&event, About::target(&row.id)).await?;
                let members = members(act.tx, &row.id).await?;
                self.settle_members(act, provider, &[&row.body.name], accounts_of(&members)).await?;
                Ok(self.scim_group_shown(&row, &members))
            })
            .await;
        self.noted(by, created).await
    }

    /// Replaces a group and its members.
    pub async fn replace_scim_group(
        &self,
        by: &Provisioner,
        id: &str,
        body: &Map<String, Value>,
        if_match: IfMatch<'_>,
    ) -> Result<ScimResource, Error> {
        let read = |_: &GroupBody| {
            let (body, listed) = GroupBody::read(body)?;
            // What is left out of a replacement is gone (RFC 7644 §3.5.1).
            Ok((body, vec![MemberChange::Set(listed.unwrap_or_default())]))
        };
        self.change_scim_group(by, id, read, if_match).await
    }

    /// Changes a group, or its members.
    pub async fn update_scim_group(
        &self,
        by: &Provisioner,
        id: &str,
        operations: &[Operation],
        if_match: IfMatch<'_>,
    ) -> Result<ScimResource, Error> {
        self.change_scim_group(by, id, |body| Ok(patch_group(body, operations)?), if_match).await
    }

    async fn change_scim_group(
        &self,
        by: &Provisioner,
        id: &str,
        read: impl FnOnce(&GroupBody) -> Result<(GroupBody, Vec<MemberChange>), Error>,
        if_match: IfMatch<'_>,
    ) -> Result<ScimResource, Error> {
        let id = ScimGroupId::parse(id).map_err(|_| missing())?;
        let changed = self
            .provision(by, async |act, provider| {
                let mut row = act.tx.scim_group(&provider.id, &id).await?.ok_or_else(missing)?;
                unless_overtaken(if_match, row.version)?;
                let (body, changes) = read(&row.body)?;
                let present = members(act.tx, &id).await?;
                let before: BTreeSet<ScimUserId> = present.iter().map(|it| it.id.clone()).collect();
                let mut after = before.clone();
                for change in changes {
                    match change {
                        MemberChange::Add(ids) => after.extend(ids),
                        MemberChange::Remove(ids) => {
                            let ids: BTreeSet<_> = ids.into_iter().collect();
                            after.retain(|id| !ids.contains(id));
                        }
                        MemberChange::Set(ids) => after = ids.into_iter().collect(),
                    }
                }
                let added: BTreeSet<_> = after.difference(&before).cloned().collect();
                let removed: BTreeSet<_> = before.difference(&after).cloned().collect();
                if body == row.body && added.is_empty() && removed.is_empty() {
                    return Ok(self.scim_group_shown(&row, &present));
                }
                if body != row.body || !added.is_empty() {
                    self.node.unless_quarantined()?;
                }
                check_unique(act.tx, provider, &body.name, Some(&id)).await?;
                check_members(act.tx, provider, &added, after.len()).await?;
                act.tx.add_scim_members(&id, &added.iter().cloned().collect::<Vec<_>>(), act.now).await?;
                for member in &removed {
                    act.tx.remove_scim_member(&id, member).await?;
                }
                let name_before = std::mem::replace(&mut row.body, body).name;
                row.updated_at = act.now;
                act.tx.update_scim_group(&row).await?;
                row.version += 1;
                let event = Event::ScimGroupUpdated {
                    provider_id: provider.id.clone(),
                    name_before: name_before.clone(),
                    name: row.body.name.clone(),
                    added: named(&added),
                    added_count: added.len() as u64,
                    removed: named(&removed),
                    removed_count: removed.len() as u64,
                };
                act.audit(&event, About::target(&id)).await?;
                let now = members(act.tx, &id).await?;
                let is_renamed = name_before != row.body.name;
                // A restore may bring back a role that this name gave.
                if is_renamed {
                    act.tx.end_members_by_name(&id, &present);
                }
                let is_affected =
                    |it: &&ScimMemberRow| is_renamed || added.contains(&it.id) || removed.contains(&it.id);
                let affected: Vec<_> = now.iter().chain(&present).filter(is_affected).cloned().collect();
                let names = [name_before.as_str(), row.body.name.as_str()];
                self.settle_members(act, provider, &names, accounts_of(&affected)).await?;
                Ok(self.scim_group_shown(&row, &now))
            })
            .await;
        self.noted(by, changed).await
    }

    /// Deletes a group. Its members lose its roles.
    pub async fn delete_scim_group(
        &self,
        by: &Provisioner,
        id: &str,
        if_match: IfMatch<'_>,
    ) -> Result<(), Error> {
        let id = ScimGroupId::parse(id).map_err(|_| missing())?;
        self.provision(by, async |act, provider| {
            let row = act.tx.scim_group(&provider.id, &id).await?.ok_or_else(missing)?;
            unless_overtaken(if_match, row.version)?;
            let members = members(act.tx, &id).await?;
            for member in &members {
                act.tx.remove_scim_member(&id, &member.id).await?;
            }
            act.tx.delete_scim_group(&id).await?;
            let event = Event::ScimGroupDeleted {
                provider_id: provider.id.clone(),
                name: row.body.name.clone(),
                members: members.len() as u64,
            };
            act.audit(&event, About::target(&id)).await?;
            self.settle_members(act, provider, &[&row.body.name], accounts_of(&members)).await
        })
        .await
    }

    /// Settles the roles of these accounts, if a group of one of these names gives any.
    async fn settle_members(
        &self,
        act: &mut Act<'_>,
        provider: &Provider,
        names: &[&str],
        accounts: BTreeSet<UserId>,
    ) -> Result<(), Error> {
        if provider.group_grants.iter().any(|it| names.contains(&it.group.as_str())) {
            for account in &accounts {
                self.settle_account(act, provider, account).await?;
            }
        }
        Ok(())
    }
}

async fn members(tx: &mut Tx, id: &ScimGroupId) -> Result<Vec<ScimMemberRow>, Error> {
    Ok(tx.scim_members(&[id]).await?.remove(id).unwrap_or_default())
}

fn accounts_of(members: &[ScimMemberRow]) -> BTreeSet<UserId> {
    members.iter().filter_map(|member| member.user_id.clone()).collect()
}
