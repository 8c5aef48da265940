//! The access review: who holds which role, where, since when and why. It answers what a person may do, and who may do
//! something to a client.

use crate::{
    app::App,
    clients::find::find_client,
    error::Error,
    frame::{
        cursor::{ListQuery, invalid, page},
        entry::About,
        principal::Principal,
        targets::Platform,
    },
    people::grants::shown_grant,
};
use crossfade_core::{
    Code, Operation, Problem, UserId,
    api::{self, Page},
    audit::Event,
    environment::Slug,
    roles::{Object, Permission, Role},
};
use crossfade_store::{Client, HolderFilter, HolderRow, PageStart, Tx};

/// Filters of the access review, as sent.
#[derive(Clone, Debug, Default)]
pub struct AccessQuery {
    /// Limit and cursor.
    pub list: ListQuery,
    /// ID of an account.
    pub user: Option<String>,
    /// A client that the roles cover: its ID, or its name if no other client has it.
    pub client: Option<String>,
    /// Slug of an environment that the roles cover.
    pub environment: Option<String>,
    /// A permission that the roles have.
    pub permission: Option<String>,
}

impl AccessQuery {
    /// Returns the name of the list with these filters, for its cursors.
    fn name(&self) -> String {
        let parts = [&self.user, &self.client, &self.environment, &self.permission];
        let parts: Vec<&str> = parts.into_iter().map(|it| it.as_deref().unwrap_or_default()).collect();
        format!("access {}", parts.join(" "))
    }

    /// Returns the filters as text, for the event of an export.
    fn words(&self) -> String {
        let filters = [
            ("user", &self.user),
            ("client", &self.client),
            ("environment", &self.environment),
            ("permission", &self.permission),
        ];
        let set = filters.iter().filter_map(|(name, value)| value.as_ref().map(|it| format!("{name}={it}")));
        set.collect::<Vec<_>>().join(" ")
    }

    async fn filter(&self, tx: &mut Tx, principal: &Principal) -> Result<HolderFilter, Error> {
        let user = match &self.user {
            None => None,
            Some(id) => Some(UserId::parse(id).map_err(|_| invalid("user", "must be the ID of a user"))?),
        };
        let client = match &self.client {
            None => None,
            Some(typed) => {
                let may_read = |it: &Client| {
                    principal.may(Permission::ClientRead, Object::Client(&it.property_id, &it.id))
                };
                let found = find_client(tx, "client", typed, may_read).await;
                let client = found.map_err(|error| match error.problem.code {
                    // Of a body it would be.
                    Code::InvalidBody => {
                        Problem::new(Code::InvalidQuery, error.problem.detail).with_field("client").into()
                    }
                    _ => error,
                })?;
                Some((client.property_id, client.id))
            }
        };
        let environment = match &self.environment {
            None => None,
            Some(slug) => {
                let unknown = || invalid("environment", "must be the slug of an environment");
                let slug = Slug::parse("environment", slug).map_err(|_| unknown())?;
                tx.environment(&slug).await?.ok_or_else(unknown)?;
                Some(slug)
            }
        };
        Ok(HolderFilter { user, client, environment, roles: self.roles()? })
    }

    /// Returns the roles that have the permission.
    fn roles(&self) -> Result<Vec<Role>, Problem> {
        let Some(word) = &self.permission else { return Ok(Role::ALL.to_vec()) };
        let permission = Permission::parse(word).ok_or_else(|| {
            let words: Vec<&str> = Permission::ALL.iter().map(|it| it.as_str()).collect();
            invalid("permission", &format!("must be one of {}", words.join(", ")))
        })?;
        Ok(Role::ALL.into_iter().filter(|role| role.permissions().contains(&permission)).collect())
    }
}

impl App {
    /// Returns the roles of all accounts that pass the filters, by account.
    pub async fn list_access(
        &self,
        principal: &Principal,
        query: &AccessQuery,
    ) -> Result<Page<api::Access>, Error> {
        let start = self.cursors.start(query.name(), &query.list)?;
        let _turns = self.costly(Operation::ListAccess, principal).await?;
        self.view(Operation::ListAccess, principal, Platform, async |tx, principal, ()| {
            let filter = query.filter(tx, principal).await?;
            let rows = tx.holders(&filter, &start).await?;
            // A token can be limited to reading users.
            let names_objects = principal.may(Permission::ClientRead, Object::Platform);
            page(&start, rows, place, |row| shown(row, names_objects))
        })
        .await
    }
}

impl App {
    /// Returns the roles of all accounts that pass the filters, on one snapshot. The export is recorded as an event.
    pub async fn export_access(
        &self,
        principal: &Principal,
        query: &AccessQuery,
    ) -> Result<Vec<api::Access>, Error> {
        let _turns = self.costly(Operation::ListAccess, principal).await?;
        let read = async |tx: &mut Tx, principal: &Principal, ()| {
            let filter = query.filter(tx, principal).await?;
            let names_objects = principal.may(Permission::ClientRead, Object::Platform);
            let (mut exported, mut start) = (Vec::new(), PageStart { after: None, limit: EXPORTED_AT_ONCE });
            loop {
                let rows = tx.holders(&filter, &start).await?;
                let is_last = (rows.len() as i64) < EXPORTED_AT_ONCE;
                start.after = rows.last().map(place);
                exported.extend(rows.into_iter().map(|row| shown(row, names_objects)));
                if is_last {
                    return Ok(exported);
                }
            }
        };
        let exported = self.view(Operation::ListAccess, principal, Platform, read).await?;
        let event = Event::AccessExported { filter: query.words(), roles: exported.len() as u64 };
        self.change_as(principal.author(), async |act| act.audit(&event, About::default()).await).await?;
        Ok(exported)
    }
}

/// Number of rows that are read at a time for an export.
const EXPORTED_AT_ONCE: i64 = 1000;

/// Returns the sort key of a row.
fn place(row: &HolderRow) -> (i64, String) {
    (row.account_created_at.as_micros(), format!("{} {}", row.grant.user_id, row.grant.id))
}

fn shown(row: HolderRow, names_objects: bool) -> api::Access {
    let permissions = row.grant.grant.role.permissions().iter().map(|it| it.as_str().to_owned()).collect();
    api::Access {
        grant: shown_grant(&row.grant),
        user: api::AccessUser {
            id: row.grant.user_id,
            kind: row.kind,
            name: row.name,
            email: row.email,
            last_active_at: row.last_active_at,
        },
        property_name: row.property_name.filter(|_| names_objects),
        client_name: row.client_name.filter(|_| names_objects),
        provider_name: row.provider_name,
        permissions,
    }
}
