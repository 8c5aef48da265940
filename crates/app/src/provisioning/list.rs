//! Lists of people and groups: filtered, and a part at a time.

use super::{caller::Provisioner, shown::ScimResource};
use crate::{app::App, error::Error};
use crossfade_core::{
    Code, Problem, ProviderId, ScimGroupId, ScimUserId,
    scim::{Equal, Filter, LIST_SCHEMA, MAX_MEMBERS, MAX_RESULTS, Resource},
};
use crossfade_store::{Provider, ScimGroupRow, ScimUserRow, Slice, Tx};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit},
    time::timeout,
};

/// Number of rows that a filter reads at a time.
const AT_A_TIME: i64 = 500;

/// How long a list waits for another one that is filtered.
const SEARCHED_WITHIN: Duration = Duration::from_secs(10);

/// Number of lists of all providers that are filtered at once.
const SEARCHES_AT_ONCE: usize = 2;

/// Lists that are filtered without an index: one of each provider at a time, so that none waits for the lists of another, and few
/// of all.
pub(crate) struct Searches {
    all: Semaphore,
    of_providers: Mutex<HashMap<ProviderId, Arc<Semaphore>>>,
}

impl Default for Searches {
    fn default() -> Self {
        Self { all: Semaphore::new(SEARCHES_AT_ONCE), of_providers: Mutex::default() }
    }
}

impl Searches {
    /// Waits until the provider may filter a list, for as long as it holds what is returned; `None`: for too long.
    async fn turn(&self, provider: &ProviderId) -> Option<(OwnedSemaphorePermit, SemaphorePermit<'_>)> {
        let own = {
            let mut of_providers = self.of_providers.lock().unwrap_or_else(PoisonError::into_inner);
            // Nobody waits for those that only the map has.
            of_providers.retain(|_, own| Arc::strong_count(own) > 1);
            of_providers.entry(provider.clone()).or_insert_with(|| Arc::new(Semaphore::new(1))).clone()
        };
        let both = async { Some((own.acquire_owned().await.ok()?, self.all.acquire().await.ok()?)) };
        timeout(SEARCHED_WITHIN, both).await.ok().flatten()
    }
}

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
        Resource::Group => &["id", "externalId", "displayName"],
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
            true => Some(self.provisioning_searches.turn(&by.id).await.ok_or_else(|| {
                let text = "Too many lists are being filtered. Try again in 5 seconds.";
                Problem::new(Code::TooManyRequests, text).retry_after(5)
            })?),
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
            let (mut total, mut members, mut resources) = (0, 0, Vec::new());
            let mut take = |found: Vec<ScimResource>| {
                for found in found.into_iter().filter(|found| filter.matches(&found.shown)) {
                    if total >= part.skipped && resources.len() < part.count && members < MAX_MEMBERS {
                        members += members_of(&found);
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
            let slice = Slice { skipped, limit: AT_A_TIME };
            let read = match of {
                Resource::User => {
                    let rows = tx.scim_users(&provider.id, slice).await?;
                    let read = rows.len();
                    take(self.shown_users(tx, rows).await?);
                    read
                }
                Resource::Group => {
                    let rows = tx.scim_groups(&provider.id, slice).await?;
                    let read = rows.len();
                    // The members of one group at a time, because each can have thousands.
                    let at_a_time = if query.with_members { 1 } else { rows.len().max(1) };
                    for rows in rows.chunks(at_a_time) {
                        take(self.shown_groups(tx, rows, query).await?);
                    }
                    read
                }
            };
            let is_last = (read as i64) < AT_A_TIME;
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
                    "externalId" => {
                        let found = tx.scim_groups_by_external_id(&provider.id, value).await?;
                        return Ok(Some(self.shown_groups(tx, &found, query).await?));
                    }
                    _ => return Ok(None),
                };
                Ok(Some(self.shown_groups(tx, found.as_slice(), query).await?))
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
                self.shown_groups(tx, &rows, query).await
            }
        }
    }

    async fn shown_users(&self, tx: &mut Tx, rows: Vec<ScimUserRow>) -> Result<Vec<ScimResource>, Error> {
        let mut groups = tx.scim_groups_of(&rows.iter().map(|row| &row.id).collect::<Vec<_>>()).await?;
        let shown =
            |row: &ScimUserRow| self.scim_user_shown(row, &groups.remove(&row.id).unwrap_or_default());
        Ok(rows.iter().map(shown).collect())
    }

    /// Returns groups as they are shown. With members, it ends where they are enough for one answer, whatever was asked for.
    async fn shown_groups(
        &self,
        tx: &mut Tx,
        rows: &[ScimGroupRow],
        query: &ScimQuery,
    ) -> Result<Vec<ScimResource>, Error> {
        let (mut shown, mut held) = (Vec::new(), 0);
        for row in rows {
            if held >= MAX_MEMBERS {
                break;
            }
            let mut members = match query.with_members {
                true => tx.scim_members(&[&row.id]).await?,
                false => Default::default(),
            };
            let found = self.scim_group_shown(row, &members.remove(&row.id).unwrap_or_default());
            held += members_of(&found);
            shown.push(found);
        }
        Ok(shown)
    }
}

/// Returns the number of members of a group that are shown.
fn members_of(found: &ScimResource) -> usize {
    found.shown.get("members").and_then(Value::as_array).map_or(0, Vec::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_provider_waits_for_the_lists_of_another() {
        let id = |n: u32| ProviderId::parse(&format!("idp_{n:022}")).unwrap();
        let (searches, soon) = (Searches::default(), Duration::from_millis(50));
        let first = searches.turn(&id(1)).await;
        assert!(first.is_some());
        assert!(timeout(soon, searches.turn(&id(1))).await.is_err(), "two lists of one provider");
        let second = searches.turn(&id(2)).await;
        assert!(second.is_some());
        assert!(timeout(soon, searches.turn(&id(3))).await.is_err(), "more lists than are filtered at once");
        drop(first);
        assert!(searches.turn(&id(1)).await.is_some());
        drop(second);
        drop(searches.turn(&id(3)).await);
        assert_eq!(searches.of_providers.lock().unwrap().len(), 1, "only who asked last is remembered");
    }
}
