//! People and groups that providers provision (SCIM 2.0).

use crate::{StoreError, Tx, catalogue::statements, db::Row, ends::Noted};
use crossfade_core::{
    ProviderId, ScimGroupId, ScimUserId, Timestamp, UserId,
    scim::{GroupBody, UserBody},
    text::folded,
};
use std::collections::HashMap;

/// A stored person.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScimUserRow {
    /// ID.
    pub id: ScimUserId,
    /// Provider that provisions the person.
    pub provider_id: ProviderId,
    /// What the provider says of the person. Active is whoever has an account.
    pub body: UserBody,
    /// The account; `None`: the person is not active.
    pub user_id: Option<UserId>,
    /// Whether a sign-in with the `externalId` leads to the account.
    pub lets_in: bool,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Version, increased by every change.
    pub version: i64,
}

/// A stored group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScimGroupRow {
    /// ID.
    pub id: ScimGroupId,
    /// Provider that provisions the group.
    pub provider_id: ProviderId,
    /// What the provider says of the group.
    pub body: GroupBody,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Version, increased by every change.
    pub version: i64,
}

/// A member of a group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScimMemberRow {
    /// The person.
    pub id: ScimUserId,
    /// The account; `None`: the person is not active.
    pub user_id: Option<UserId>,
}

/// A part of a list: a place in it, and a number of rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slice {
    /// Number of rows before it.
    pub skipped: i64,
    /// Number of rows at most.
    pub limit: i64,
}

macro_rules! user_columns {
    () => {
        "id, provider_id, external_id, user_name, details, user_id, lets_in, created_at, updated_at, version"
    };
}
macro_rules! group_columns {
    () => {
        "id, provider_id, external_id, name, created_at, updated_at, version"
    };
}

statements! {
    INSERT_USER = "INSERT INTO scim_users (id, provider_id, external_id, user_name, details, user_id, lets_in, created_at, updated_at, version)
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1)";
    UPDATE_USER = "UPDATE scim_users SET external_id = $2, user_name = $3, details = $4, user_id = $5, lets_in = $6, updated_at = $7,
                   version = version + 1 WHERE id = $1";
    NOTE_DELETED = "UPDATE providers SET person_deleted_at = $2 WHERE id = (SELECT provider_id FROM scim_users WHERE id = $1)";
    PERSON_DELETED_AT = "SELECT person_deleted_at FROM providers WHERE id = $1";
    DELETE_USER = "DELETE FROM scim_users WHERE id = $1";
    USER = concat!("SELECT ", user_columns!(), " FROM scim_users WHERE provider_id = $1 AND id = $2");
    BY_EXTERNAL_ID = concat!("SELECT ", user_columns!(), " FROM scim_users WHERE provider_id = $1 AND external_id = $2");
    BY_USER_NAME = concat!("SELECT ", user_columns!(), " FROM scim_users WHERE provider_id = $1 AND user_name = $2");
    BY_ACCOUNT = concat!("SELECT ", user_columns!(), " FROM scim_users WHERE provider_id = $1 AND user_id = $2");
    USERS = concat!("SELECT ", user_columns!(), " FROM scim_users WHERE provider_id = $1 ORDER BY created_at, id LIMIT $2 OFFSET $3");
    COUNT_USERS = "SELECT CAST(COUNT(*) AS BIGINT) AS n FROM scim_users WHERE provider_id = $1";
    LINKED = "SELECT u.id FROM scim_users u LEFT JOIN identities i ON i.user_id = u.user_id AND i.provider_id = u.provider_id
              WHERE u.provider_id = $1 AND (u.user_id IS NULL OR i.user_id IS NOT NULL) LIMIT 1";
    DETACH = "UPDATE scim_users SET user_id = NULL, lets_in = 0, version = version + 1 WHERE user_id = $1";
    LET_IN = "SELECT provider_id FROM scim_users WHERE user_id = $1 AND lets_in = 1 AND (CAST($2 AS TEXT) IS NULL OR provider_id <> $2)
              AND NOT EXISTS (SELECT 1 FROM identities i WHERE i.user_id = scim_users.user_id AND i.provider_id = scim_users.provider_id)";
    DISOWN_UNTIL = "UPDATE scim_users SET lets_in = 0 WHERE user_id = $1 AND provider_id = $2 AND updated_at <= $3 AND lets_in = 1";
    DISOWN = "UPDATE scim_users SET lets_in = 0 WHERE user_id = $1 AND (CAST($2 AS TEXT) IS NULL OR provider_id <> $2)";
    INSERT_GROUP = "INSERT INTO scim_groups (id, provider_id, external_id, name, name_key, created_at, updated_at, version) VALUES ($1, $2, $3, $4, $5, $6, $7, 1)";
    UPDATE_GROUP = "UPDATE scim_groups SET external_id = $2, name = $3, name_key = $4, updated_at = $5, version = version + 1 WHERE id = $1";
    TOUCH_GROUP = "UPDATE scim_groups SET updated_at = $2, version = version + 1 WHERE id = $1";
    DELETE_GROUP = "DELETE FROM scim_groups WHERE id = $1";
    GROUP = concat!("SELECT ", group_columns!(), " FROM scim_groups WHERE provider_id = $1 AND id = $2");
    GROUP_BY_NAME = concat!("SELECT ", group_columns!(), " FROM scim_groups WHERE provider_id = $1 AND name_key = $2");
    GROUPS_BY_EXTERNAL_ID = concat!("SELECT ", group_columns!(), " FROM scim_groups WHERE provider_id = $1 AND external_id = $2 ORDER BY created_at, id");
    GROUPS = concat!("SELECT ", group_columns!(), " FROM scim_groups WHERE provider_id = $1 ORDER BY created_at, id LIMIT $2 OFFSET $3");
    COUNT_GROUPS = "SELECT CAST(COUNT(*) AS BIGINT) AS n FROM scim_groups WHERE provider_id = $1";
    MEMBERS = "SELECT m.group_id, u.id, u.user_id FROM scim_members m JOIN scim_users u ON u.id = m.member_id
               JOIN (VALUES {rows:1}) AS v ON m.group_id = v.column1 ORDER BY m.group_id, u.id";
    GROUPS_OF_USERS = "SELECT m.member_id, g.id, g.name FROM scim_members m JOIN scim_groups g ON g.id = m.group_id
                       JOIN (VALUES {rows:1}) AS v ON m.member_id = v.column1 ORDER BY m.member_id, g.id";
    GROUPS_OF_ACCOUNT = "SELECT g.name FROM scim_groups g JOIN scim_members m ON m.group_id = g.id JOIN scim_users u ON u.id = m.member_id
                         WHERE u.provider_id = $1 AND u.user_id = $2 ORDER BY g.id";
    PROVISIONED = "SELECT u.user_id FROM scim_users u JOIN scim_members m ON m.member_id = u.id WHERE u.provider_id = $1 AND u.user_id IS NOT NULL
                   UNION SELECT g.user_id FROM grants g WHERE g.provider_id = $1 ORDER BY user_id";
    KNOWN = "SELECT u.id FROM scim_users u JOIN (VALUES {rows:1}) AS v ON u.id = v.column1 WHERE u.provider_id = $1";
    ADD_MEMBERS = "INSERT INTO scim_members (group_id, member_id, added_at) VALUES {rows:3} ON CONFLICT (group_id, member_id) DO NOTHING";
    REMOVE_MEMBER = "DELETE FROM scim_members WHERE group_id = $1 AND member_id = $2";
    REMOVE_MEMBER_UNTIL = "DELETE FROM scim_members WHERE group_id = $1 AND member_id = $2 AND added_at <= $3";
    MEMBERSHIPS = "SELECT group_id, member_id FROM scim_members WHERE member_id = $1 ORDER BY group_id";
    END_MEMBERS = "DELETE FROM scim_members WHERE group_id IN (SELECT id FROM scim_groups WHERE provider_id = $1)";
    END_GROUPS = "DELETE FROM scim_groups WHERE provider_id = $1";
    END_USERS = "DELETE FROM scim_users WHERE provider_id = $1";
}

fn user(row: &Row) -> Result<ScimUserRow, StoreError> {
    let user_id = row.opt_parsed("user_id", |text| UserId::parse(text).ok())?;
    Ok(ScimUserRow {
        id: scim_user_id(row, "id")?,
        provider_id: row.parsed("provider_id", |text| ProviderId::parse(text).ok())?,
        body: UserBody {
            user_name: row.text("user_name")?,
            external_id: row.text("external_id")?,
            active: user_id.is_some(),
            details: row.parsed("details", |text| serde_json::from_str(text).ok())?,
        },
        user_id,
        lets_in: row.int("lets_in")? != 0,
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
        version: row.int("version")?,
    })
}

fn scim_user_id(row: &Row, column: &'static str) -> Result<ScimUserId, StoreError> {
    row.parsed(column, |text| ScimUserId::parse(text).ok())
}

fn group_id(row: &Row, column: &'static str) -> Result<ScimGroupId, StoreError> {
    row.parsed(column, |text| ScimGroupId::parse(text).ok())
}

fn group(row: &Row) -> Result<ScimGroupRow, StoreError> {
    Ok(ScimGroupRow {
        id: group_id(row, "id")?,
        provider_id: row.parsed("provider_id", |text| ProviderId::parse(text).ok())?,
        body: GroupBody { name: row.text("name")?, external_id: row.opt_text("external_id")? },
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
        version: row.int("version")?,
    })
}

fn details(row: &ScimUserRow) -> Result<String, StoreError> {
    serde_json::to_string(&row.body.details).map_err(|_| StoreError::Unstorable)
}

impl Tx {
    /// Stores a new person.
    pub async fn insert_scim_user(&mut self, new: &ScimUserRow) -> Result<(), StoreError> {
        let args = vec![
            new.id.as_str().into(),
            new.provider_id.as_str().into(),
            new.body.external_id.as_str().into(),
            new.body.user_name.as_str().into(),
            details(new)?.into(),
            new.user_id.as_ref().map(UserId::as_str).into(),
            i64::from(new.lets_in).into(),
            new.created_at.into(),
            new.updated_at.into(),
        ];
        self.execute(INSERT_USER, args).await.map(drop)
    }

    /// Stores the changed members of a person.
    pub async fn update_scim_user(&mut self, new: &ScimUserRow) -> Result<(), StoreError> {
        let args = vec![
            new.id.as_str().into(),
            new.body.external_id.as_str().into(),
            new.body.user_name.as_str().into(),
            details(new)?.into(),
            new.user_id.as_ref().map(UserId::as_str).into(),
            i64::from(new.lets_in).into(),
            new.updated_at.into(),
        ];
        self.execute(UPDATE_USER, args).await.map(drop)
    }

    /// Deletes a person, whose account and groups stay. The person leaves the groups, which are other ones from then on.
    pub async fn delete_scim_user(&mut self, id: &ScimUserId, now: Timestamp) -> Result<(), StoreError> {
        for row in self.rows(MEMBERSHIPS, vec![id.as_str().into()]).await? {
            let group = group_id(&row, "group_id")?;
            self.remove_scim_member(&group, id).await?;
            self.execute(TOUCH_GROUP, vec![group.as_str().into(), now.into()]).await?;
        }
        self.execute(NOTE_DELETED, vec![id.as_str().into(), now.into()]).await?;
        self.execute(DELETE_USER, vec![id.as_str().into()]).await.map(drop)
    }

    /// Returns a person of a provider.
    pub async fn scim_user(
        &mut self,
        provider: &ProviderId,
        id: &ScimUserId,
    ) -> Result<Option<ScimUserRow>, StoreError> {
        let args = vec![provider.as_str().into(), id.as_str().into()];
        self.optional(USER, args).await?.as_ref().map(user).transpose()
    }

    /// Returns the person with this `externalId`.
    pub async fn scim_user_by_external_id(
        &mut self,
        provider: &ProviderId,
        external_id: &str,
    ) -> Result<Option<ScimUserRow>, StoreError> {
        let args = vec![provider.as_str().into(), external_id.into()];
        self.optional(BY_EXTERNAL_ID, args).await?.as_ref().map(user).transpose()
    }

    /// Returns the person with this `userName`, in lower case.
    pub async fn scim_user_by_name(
        &mut self,
        provider: &ProviderId,
        name: &str,
    ) -> Result<Option<ScimUserRow>, StoreError> {
        let args = vec![provider.as_str().into(), name.into()];
        self.optional(BY_USER_NAME, args).await?.as_ref().map(user).transpose()
    }

    /// Returns the person who has this account.
    pub async fn scim_user_of(
        &mut self,
        provider: &ProviderId,
        account: &UserId,
    ) -> Result<Option<ScimUserRow>, StoreError> {
        let args = vec![provider.as_str().into(), account.as_str().into()];
        self.optional(BY_ACCOUNT, args).await?.as_ref().map(user).transpose()
    }

    /// Returns a part of the people of a provider, oldest first.
    pub async fn scim_users(
        &mut self,
        provider: &ProviderId,
        slice: Slice,
    ) -> Result<Vec<ScimUserRow>, StoreError> {
        let args = vec![provider.as_str().into(), slice.limit.into(), slice.skipped.into()];
        self.rows(USERS, args).await?.iter().map(user).collect()
    }

    /// Returns the number of people of a provider.
    pub async fn count_scim_users(&mut self, provider: &ProviderId) -> Result<i64, StoreError> {
        self.one(COUNT_USERS, vec![provider.as_str().into()]).await?.int("n")
    }

    /// Returns when the provider last deleted a person.
    pub async fn scim_user_deleted_at(
        &mut self,
        provider: &ProviderId,
    ) -> Result<Option<Timestamp>, StoreError> {
        self.one(PERSON_DELETED_AT, vec![provider.as_str().into()]).await?.opt_time("person_deleted_at")
    }

    /// Whether an account of a person of a provider is linked with an identity there.
    pub async fn has_linked_scim_users(&mut self, provider: &ProviderId) -> Result<bool, StoreError> {
        Ok(self.optional(LINKED, vec![provider.as_str().into()]).await?.is_some())
    }

    /// Makes the people of a deleted account inactive.
    pub(crate) async fn detach_scim_users(&mut self, account: &UserId) -> Result<(), StoreError> {
        self.execute(DETACH, vec![account.as_str().into()]).await.map(drop)
    }

    /// Lets no sign-in lead to the account by its `externalId` any more, except at one provider: somebody else may be in it.
    pub(crate) async fn disown_scim_users(
        &mut self,
        account: &UserId,
        except: Option<&ProviderId>,
    ) -> Result<(), StoreError> {
        let args = || vec![account.as_str().into(), except.map(ProviderId::as_str).into()];
        for row in self.rows(LET_IN, args()).await? {
            let provider = row.parsed("provider_id", |text| ProviderId::parse(text).ok())?;
            // It ends like an identity, also where nobody has signed in with it: no copy of the database may undo it.
            self.note(Noted::Identity(provider, account.clone()));
        }
        self.execute(DISOWN, args()).await.map(drop)
    }

    /// Lets no sign-in lead to the account by an `externalId` that a copy of the database still contains, as the journal says.
    pub(crate) async fn disown_scim_user_until(
        &mut self,
        account: &UserId,
        provider: &ProviderId,
        at: Timestamp,
    ) -> Result<u64, StoreError> {
        let args = vec![account.as_str().into(), provider.as_str().into(), at.into()];
        self.execute(DISOWN_UNTIL, args).await
    }

    /// Stores a new group.
    pub async fn insert_scim_group(&mut self, new: &ScimGroupRow) -> Result<(), StoreError> {
        let args = vec![
            new.id.as_str().into(),
            new.provider_id.as_str().into(),
            new.body.external_id.clone().into(),
            new.body.name.as_str().into(),
            folded(&new.body.name).into(),
            new.created_at.into(),
            new.updated_at.into(),
        ];
        self.execute(INSERT_GROUP, args).await.map(drop)
    }

    /// Stores the changed members of a group, and increases its version.
    pub async fn update_scim_group(&mut self, new: &ScimGroupRow) -> Result<(), StoreError> {
        let args = vec![
            new.id.as_str().into(),
            new.body.external_id.clone().into(),
            new.body.name.as_str().into(),
            folded(&new.body.name).into(),
            new.updated_at.into(),
        ];
        self.execute(UPDATE_GROUP, args).await.map(drop)
    }

    /// Deletes a group without members.
    pub async fn delete_scim_group(&mut self, id: &ScimGroupId) -> Result<(), StoreError> {
        self.execute(DELETE_GROUP, vec![id.as_str().into()]).await.map(drop)
    }

    /// Returns a group of a provider.
    pub async fn scim_group(
        &mut self,
        provider: &ProviderId,
        id: &ScimGroupId,
    ) -> Result<Option<ScimGroupRow>, StoreError> {
        let args = vec![provider.as_str().into(), id.as_str().into()];
        self.optional(GROUP, args).await?.as_ref().map(group).transpose()
    }

    /// Returns the group with this name, whatever its case.
    pub async fn scim_group_by_name(
        &mut self,
        provider: &ProviderId,
        name: &str,
    ) -> Result<Option<ScimGroupRow>, StoreError> {
        let args = vec![provider.as_str().into(), folded(name).into()];
        self.optional(GROUP_BY_NAME, args).await?.as_ref().map(group).transpose()
    }

    /// Returns the groups with this `externalId`, oldest first. Several can have it.
    pub async fn scim_groups_by_external_id(
        &mut self,
        provider: &ProviderId,
        external_id: &str,
    ) -> Result<Vec<ScimGroupRow>, StoreError> {
        let args = vec![provider.as_str().into(), external_id.into()];
        self.rows(GROUPS_BY_EXTERNAL_ID, args).await?.iter().map(group).collect()
    }

    /// Returns a part of the groups of a provider, oldest first.
    pub async fn scim_groups(
        &mut self,
        provider: &ProviderId,
        slice: Slice,
    ) -> Result<Vec<ScimGroupRow>, StoreError> {
        let args = vec![provider.as_str().into(), slice.limit.into(), slice.skipped.into()];
        self.rows(GROUPS, args).await?.iter().map(group).collect()
    }

    /// Returns the number of groups of a provider.
    pub async fn count_scim_groups(&mut self, provider: &ProviderId) -> Result<i64, StoreError> {
        self.one(COUNT_GROUPS, vec![provider.as_str().into()]).await?.int("n")
    }

    /// Returns the members of each of these groups, in one statement.
    pub async fn scim_members(
        &mut self,
        groups: &[&ScimGroupId],
    ) -> Result<HashMap<ScimGroupId, Vec<ScimMemberRow>>, StoreError> {
        let keys: Vec<_> = groups.iter().map(|id| vec![id.as_str().into()]).collect();
        let mut all: HashMap<_, Vec<_>> = HashMap::new();
        for row in self.look_up(MEMBERS, &keys).await? {
            let member = ScimMemberRow {
                id: scim_user_id(&row, "id")?,
                user_id: row.opt_parsed("user_id", |text| UserId::parse(text).ok())?,
            };
            all.entry(group_id(&row, "group_id")?).or_default().push(member);
        }
        Ok(all)
    }

    /// Returns the groups of each of these people, with their names, in one statement.
    pub async fn scim_groups_of(
        &mut self,
        people: &[&ScimUserId],
    ) -> Result<HashMap<ScimUserId, Vec<(ScimGroupId, String)>>, StoreError> {
        let keys: Vec<_> = people.iter().map(|id| vec![id.as_str().into()]).collect();
        let mut all: HashMap<_, Vec<_>> = HashMap::new();
        for row in self.look_up(GROUPS_OF_USERS, &keys).await? {
            let group = (group_id(&row, "id")?, row.text("name")?);
            all.entry(scim_user_id(&row, "member_id")?).or_default().push(group);
        }
        Ok(all)
    }

    /// Returns the names of the groups of the person who has this account.
    pub async fn scim_group_names(
        &mut self,
        provider: &ProviderId,
        account: &UserId,
    ) -> Result<Vec<String>, StoreError> {
        let args = vec![provider.as_str().into(), account.as_str().into()];
        self.rows(GROUPS_OF_ACCOUNT, args).await?.iter().map(|row| row.text("name")).collect()
    }

    /// Returns the accounts of a provider that are in a group, or have a role by one.
    pub async fn accounts_in_scim_groups(
        &mut self,
        provider: &ProviderId,
    ) -> Result<Vec<UserId>, StoreError> {
        let rows = self.rows(PROVISIONED, vec![provider.as_str().into()]).await?;
        rows.iter().map(|row| row.parsed("user_id", |text| UserId::parse(text).ok())).collect()
    }

    /// Returns the number of these people whom the provider provisions.
    pub async fn count_known_scim_users(
        &mut self,
        provider: &ProviderId,
        people: &[ScimUserId],
    ) -> Result<usize, StoreError> {
        let mut known = 0;
        for people in people.chunks(500) {
            let keys: Vec<_> = people.iter().map(|id| vec![id.as_str().into()]).collect();
            let rows = self.rows_with(KNOWN, vec![provider.as_str().into()], &keys).await?;
            let found: std::collections::HashSet<_> =
                rows.iter().map(|row| scim_user_id(row, "id")).collect::<Result<_, _>>()?;
            known += found.len();
        }
        Ok(known)
    }

    /// Adds people to a group.
    pub async fn add_scim_members(
        &mut self,
        group: &ScimGroupId,
        people: &[ScimUserId],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let row = |id: &ScimUserId| vec![group.as_str().into(), id.as_str().into(), now.into()];
        self.many(ADD_MEMBERS, &people.iter().map(row).collect::<Vec<_>>()).await.map(drop)
    }

    /// Removes a person from a group.
    pub async fn remove_scim_member(
        &mut self,
        group: &ScimGroupId,
        member: &ScimUserId,
    ) -> Result<(), StoreError> {
        self.note(Noted::ScimMember(group.clone(), member.clone()));
        self.execute(REMOVE_MEMBER, vec![group.as_str().into(), member.as_str().into()]).await.map(drop)
    }

    /// Notes that these people are not in a group of the name that it had. A copy of the database that has the name would give
    /// them its roles again.
    pub fn end_members_by_name(&mut self, group: &ScimGroupId, members: &[ScimMemberRow]) {
        for member in members {
            self.note(Noted::ScimMember(group.clone(), member.id.clone()));
        }
    }

    /// Removes a person from a group whom a copy of the database still contains there, as the journal says.
    pub(crate) async fn remove_scim_member_until(
        &mut self,
        group: &ScimGroupId,
        member: &ScimUserId,
        at: Timestamp,
    ) -> Result<u64, StoreError> {
        let args = vec![group.as_str().into(), member.as_str().into(), at.into()];
        self.execute(REMOVE_MEMBER_UNTIL, args).await
    }

    /// Forgets the people and the groups that a provider has provisioned.
    pub async fn end_scim(&mut self, provider: &ProviderId) -> Result<(), StoreError> {
        for statement in [END_MEMBERS, END_GROUPS, END_USERS] {
            self.execute(statement, vec![provider.as_str().into()]).await?;
        }
        Ok(())
    }
}
