//! Lists of people and groups: filtered, and a part at a time.

use super::{caller::Provisioner, shown::ScimResource};
use crate::{app::App, error::Error};
use crossfade_core::{
    Code, Problem, ScimGroupId, ScimUserId,
    scim::{Equal, Filter, LIST_SCHEMA, MAX_RESULTS, Resource},
};
use crossfade_store::{Provider, ScimGroupRow, ScimUserRow, Slice, Tx};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::timeout;

/// Number of rows that a filter reads at a time.
const AT_A_TIME: i64 = 500;

/// How long a list waits for another one that is filtered.
const SEARCHED_WITHIN: Duration = Duration::from_secs(10);

/// What a list is asked for.
#[derive(Clone, Debug)]
pub struct ScimQuery {
    /// Filter; `None`: all.
    pub filter: Option<Filter>,
    /// Number of the first resource, from 1.
    pub start_index: usize,
    /// Number of resources at most.
    pub count: usize,
    /// Whether the members of groups are shown or filtered by.
    pub with_members: bool,
}

/// A part of a list.
#[derive(Clone, PartialEq, Debug)]
pub struct ScimPage {
    /// Resources of this part.
    pub resources: Vec<Value>,
    /// Number of all resources that match.
    pub total: usize,
    /// Number of the first resource of this part, from 1.
    pub start_index: usize,
}

impl ScimPage {
    /// Returns it as it is sent (RFC 7644 §3.4.2).
    pub fn shown(self) -> Value {
        json!({
            "schemas": [LIST_SCHEMA], "totalResults": self.total, "startIndex": self.start_index,
            "itemsPerPage": self.resources.len(), "Resources": self.resources,
        })
    }
}

/// Whether an index finds what a filter asks for. Every row is read otherwise.
fn is_indexed(filter: &Filter, of: Resource) -> bool {
    let names = match of {
        Resource::User => &["id", "externalId", "userName"][..],
        Resource::Group => &["id", "displayName"],
    };
    filter.equal().is_some_and(|equal| names.contains(&equal.attribute))
}

/// Where a list begins and ends.
#[derive(Clone, Copy)]
struct Part {
    skipped: usize,
    count: usize,
}

impl ScimQuery {
    fn part(&self) -> Part {
        Part { skipped: self.start_index.max(1) - 1, count: self.count.min(MAX_RESULTS) }
    }
}

impl App {
    /// Returns a part of the people of a provider, oldest first.
    pub async fn list_scim_users(&self, by: &Provisioner, query: &ScimQuery) -> Result<ScimPage, Error> {
        self.list(by, query, Resource::User).await
    }

    /// Returns a part of the groups of a provider, oldest first.
    pub async fn list_scim_groups(&self, by: &Provisioner, query: &ScimQuery) -> Result<ScimPage, Error> {
        self.list(by, query, Resource::Group).await
    }

    async fn list(&self, by: &Provisioner, query: &ScimQuery, of: Resource) -> Result<ScimPage, Error> {
        let _turn = match query.filter.as_ref().is_some_and(|filter| !is_indexed(filter, of)) {
            true => {
                Some(timeout(SEARCHED_WITHIN, self.provisioning_searches.acquire()).await.map_err(|_| {
                    let text = "Too many lists are being filtered. Try again in 5 seconds.";
                    Problem::new(Code::TooManyRequests, text).retry_after(5)
                })?)
            }
            false => None,
        };
        self.provisioned(by, async |tx, provider| {
            let part = query.part();
            let start_index = part.skipped + 1;
            let Some(filter) = &query.filter else {
                let total = match of {
                    Resource::User => tx.count_scim_users(&provider.id).await?,
                    Resource::Group => tx.count_scim_groups(&provider.id).await?,
                };
                let limit = i64::try_from(part.count).unwrap_or(i64::MAX);
                let slice = Slice { skipped: i64::try_from(part.skipped).unwrap_or(i64::MAX), limit };
                let rows = if part.count == 0 {
                    Vec::new()
                } else {
                    self.rows(tx, provider, of, slice, query).await?
                };
                let resources = rows.into_iter().map(|it| it.shown).collect();
                return Ok(ScimPage {
                    resources,
                    total: usize::try_from(total).unwrap_or_default(),
                    start_index,
                });
            };
            let (mut total, mut resources) = (0, Vec::new());
            let mut take = |found: Vec<ScimResource>| {
                for found in found.into_iter().filter(|found| filter.matches(&found.shown)) {
                    if total >= part.skipped && resources.len() < part.count {
                        resources.push(found.shown);
                    }
                    total += 1;
                }
            };
            match filter.equal() {
                Some(equal) if is_indexed(filter, of) => {
                    match self.look_up_equal(tx, provider, of, equal, query).await? {
                        Some(found) => take(found),
                        None => self.each_slice(tx, provider, of, query, &mut take).await?,
                    }
                }
                _ => self.each_slice(tx, provider, of, query, &mut take).await?,
            }
            Ok(ScimPage { resources, total, start_index })
        })
        .await
    }

    async fn each_slice(
        &self,
        tx: &mut Tx,
        provider: &Provider,
        of: Resource,
        query: &ScimQuery,
        take: &mut impl FnMut(Vec<ScimResource>),
    ) -> Result<(), Error> {
        let mut skipped = 0;
        loop {
            let found = self.rows(tx, provider, of, Slice { skipped, limit: AT_A_TIME }, query).await?;
            let is_last = (found.len() as i64) < AT_A_TIME;
            take(found);
            if is_last {
                return Ok(());
            }
            skipped += AT_A_TIME;
        }
    }

    /// Looks up what a provider asks for again and again; `None` if no index has it.
    async fn look_up_equal(
        &self,
        tx: &mut Tx,
        provider: &Provider,
        of: Resource,
        Equal { attribute, value }: Equal<'_>,
        query: &ScimQuery,
    ) -> Result<Option<Vec<ScimResource>>, Error> {
        match of {
            Resource::User => {
                let found = match attribute {
                    "id" => match ScimUserId::parse(value) {
                        Ok(id) => tx.scim_user(&provider.id, &id).await?,
                        Err(_) => None,
                    },
                    "externalId" => tx.scim_user_by_external_id(&provider.id, value).await?,
                    "userName" => tx.scim_user_by_name(&provider.id, &value.to_lowercase()).await?,
                    _ => return Ok(None),
                };
                Ok(Some(self.shown_users(tx, found.into_iter().collect()).await?))
            }
            Resource::Group => {
                let found = match attribute {
                    "id" => match ScimGroupId::parse(value) {
                        Ok(id) => tx.scim_group(&provider.id, &id).await?,
                        Err(_) => None,
                    },
                    "displayName" => tx.scim_group_by_name(&provider.id, value).await?,
                    _ => return Ok(None),
                };
                Ok(Some(self.shown_groups(tx, found.into_iter().collect(), query).await?))
            }
        }
    }

    async fn rows(
        &self,
        tx: &mut Tx,
        provider: &Provider,
        of: Resource,
        slice: Slice,
        query: &ScimQuery,
    ) -> Result<Vec<ScimResource>, Error> {
        match of {
            Resource::User => {
                let rows = tx.scim_users(&provider.id, slice).await?;
                self.shown_users(tx, rows).await
            }
            Resource::Group => {
                let rows = tx.scim_groups(&provider.id, slice).await?;
                self.shown_groups(tx, rows, query).await
            }
        }
    }

    async fn shown_users(&self, tx: &mut Tx, rows: Vec<ScimUserRow>) -> Result<Vec<ScimResource>, Error> {
        let mut groups = tx.scim_groups_of(&rows.iter().map(|row| &row.id).collect::<Vec<_>>()).await?;
        let shown =
            |row: &ScimUserRow| self.scim_user_shown(row, &groups.remove(&row.id).unwrap_or_default());
        Ok(rows.iter().map(shown).collect())
    }

    async fn shown_groups(
        &self,
        tx: &mut Tx,
        rows: Vec<ScimGroupRow>,
        query: &ScimQuery,
    ) -> Result<Vec<ScimResource>, Error> {
        let mut members = match query.with_members {
            true => tx.scim_members(&rows.iter().map(|row| &row.id).collect::<Vec<_>>()).await?,
            false => Default::default(),
        };
        let shown =
            |row: &ScimGroupRow| self.scim_group_shown(row, &members.remove(&row.id).unwrap_or_default());
        Ok(rows.iter().map(shown).collect())
    }
}
